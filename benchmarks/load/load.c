/* The load: WebSocket subscribers and a publisher, parked long polls, repeated requests, a rate of connects.
 *
 *     load MODE key=value ...        MODE: fanout | idle | longpoll | http | connect
 *
 * One thread, epoll, loopback only, bounded by `seconds` and by `limit` (all told). It prints "start" and "stop" around
 * what is measured, so that whoever started it can read the server's CPU time at both, and then one line of JSON.
 *
 * A publication is a text of `size` bytes that begins with ~ and eight digits, its number. Whatever a dialect wraps
 * around it, what arrives is searched for the ~: so each delivery is counted, timed and checked for order and loss in
 * the same way for every server. Frames are masked with a key of zero, which a server cannot know beforehand.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum dialect { RAW, RT, SIO, NCHAN, EIOPOLL, RTGET, RTPOLL, RTSTREAM, HTTP };
enum state { CONNECTING, OPENING, JOINING, READY, CLOSED };

struct conn {
    int fd;
    enum dialect dialect;
    enum state state;
    int publisher, step, busy;
    uint32_t last;               /* the newest publication seen; 0: none yet */
    char *rest;                  /* the beginning of a frame or an answer that is not all here */
    size_t rest_len, rest_cap;
    char *token;                 /* poll dialects: session id or token */
    char cursor[160];            /* poll dialects: position, or nchan's Etag */
    char cursor2[64];            /* nchan's Last-Modified */
};

#define RING (1u << 16)
#define READ (1 << 20)

static int port, count = 1000, window = 1, size = 128, parallel = 64, limit = 120, asleep = 0;
static double seconds = 2, warm = 0.5, rate = 0, hold = 30;
static const char *mode, *path = "/", *pub_path = "/", *request_file;
static enum dialect dialect = RAW, pub_dialect = RAW;

static int ep, opened, ready, failed, opening;
static struct conn *conns;
static struct conn publisher;
static char *reading;
static double sent_at[RING];
static uint32_t got[RING];
static uint32_t next_seq = 1;
static int outstanding, measuring, publishing;
static uint64_t deliveries, answers, answer_bytes, lost, repeated, stalls, connects, other_status, published;
static int last_status;
static double begun, last_progress, measure_start;
static uint64_t histogram[64 * 64];
static char *outbox;
static size_t outbox_len, outbox_cap;
static char *request;
static size_t request_len;

static const char *HEAD =
    "Host: 127.0.0.1\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"142\", \"Not=A?Brand\";v=\"24\"\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    "Referer: http://127.0.0.1/photos/2026/november\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: sessionid=3k9x2m7q1w8e5r4t6y0u; csrftoken=b1n2m3k4j5h6g7f8d9s0\r\n";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6 + u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6;
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    exit(1);
}

/* Latency, in a histogram of microseconds whose steps grow with the value: at most 1.6 % wrong. */
static void record(double t) {
    uint64_t us = t > 0 ? (uint64_t)(t * 1e6) : 0;
    int shift = us < 64 ? 0 : 58 - __builtin_clzll(us);
    unsigned at = shift * 64 + (us >> shift);
    histogram[at < 64 * 64 ? at : 64 * 64 - 1]++;
}

static double percentile(double share) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < 64 * 64; i++) total += histogram[i];
    if (!total) return 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += histogram[i];
        if (seen >= share * total) {
            int shift = i / 64;
            return (double)((uint64_t)(i - shift * 64) << shift) / 1000;
        }
    }
    return 0;
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static void shut(struct conn *c) {
    struct linger hard = {1, 0};
    if (c->fd < 0) return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* no TIME_WAIT: ports are few */
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->rest_len = 0;
}

static void fail(struct conn *c, const char *why) {
    if (c->state == CLOSED) return;
    if (failed++ < 3) fprintf(stderr, "load: a connection ended in state %d: %s\n", c->state, why);
    if (c->state < READY) opening--;
    else ready--;
    shut(c);
}

static int begin(struct conn *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (asleep && c >= conns && c < conns + asleep) {   /* little room, so that it is soon full */
        int room = 4096;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    c->state = CONNECTING;
    c->step = 0;
    c->last = 0;
    opening++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        fail(c, strerror(errno));
        return -1;
    }
    struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    return 0;
}

static void put(struct conn *c, const char *data, size_t len) {
    while (len) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) {          /* the publisher is ahead of the server: wait for room */
                usleep(200);
                if (now() - begun > limit) die("out of time while sending");
                continue;
            }
            fail(c, strerror(errno));
            return;
        }
        data += n;
        len -= n;
    }
}

static size_t frame(char *to, int opcode, const char *data, size_t len) {
    size_t at = 0;
    to[at++] = (char)(0x80 | opcode);
    if (len < 126) to[at++] = (char)(0x80 | len);
    else {
        to[at++] = (char)(0x80 | 126);
        to[at++] = (char)(len >> 8);
        to[at++] = (char)len;
    }
    memset(to + at, 0, 4);
    memcpy(to + at + 4, data, len);
    return at + 4 + len;
}

static void put_frame(struct conn *c, int opcode, const char *data, size_t len) {
    char out[4096];
    put(c, out, frame(out, opcode, data, len));
}

static void put_text(struct conn *c, const char *text) { put_frame(c, 1, text, strlen(text)); }

static void enlarge(char **buffer, size_t *cap, size_t need) {
    if (*cap >= need) return;
    *cap = need * 2;
    *buffer = realloc(*buffer, *cap);
    if (!*buffer) die("no memory");
}

static void is_ready(struct conn *c) {
    c->state = READY;
    opening--;
    ready++;
}

/* --- publishing ------------------------------------------------------------------------------------------------- */

static void publish(double t) {
    char text[2048], message[3000], out[3200];
    uint32_t seq = next_seq++;
    size_t len;
    sprintf(text, "~%08u", seq);
    memset(text + 9, 'x', size - 9);
    text[size] = 0;
    sent_at[seq % RING] = t;
    got[seq % RING] = 0;
    outstanding++;
    if (pub_dialect == HTTP) {
        len = sprintf(out, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
                      pub_path, size, text);
    } else {
        if (pub_dialect == RT)
            sprintf(message, "{\"type\":\"call\",\"id\":%u,\"call_id\":\"bench-%08u\",\"name\":\"publish\",\"params\":{\"text\":\"%s\"}}",
                    seq + 10, seq, text);
        else if (pub_dialect == SIO) sprintf(message, "42[\"pub\",\"%s\"]", text);
        else strcpy(message, text);
        len = frame(out, 1, message, strlen(message));
    }
    enlarge(&outbox, &outbox_cap, outbox_len + len);
    memcpy(outbox + outbox_len, out, len);
    outbox_len += len;
    if (measuring) published++;
}

static void flush_outbox(void) {
    if (!outbox_len) return;
    put(&publisher, outbox, outbox_len);
    outbox_len = 0;
}

/* Count the publications in a piece of text. */
static void arrived(struct conn *c, const char *p, size_t len, double t) {
    const char *end = p + len;
    while (p < end && (p = memchr(p, '~', end - p)) && end - p >= 9) {
        uint32_t seq = 0;
        for (int i = 1; i < 9; i++) seq = seq * 10 + (p[i] - '0');
        if (seq == 0 || seq >= next_seq) {
            p++;
            continue;
        }
        if (seq <= c->last) {
            if (measuring) repeated++;
        } else {
            if (c->last && seq != c->last + 1 && measuring) lost += seq - c->last - 1;
            c->last = seq;
            last_progress = t;
            if (measuring) {
                deliveries++;
                record(t - sent_at[seq % RING]);
            }
            if (++got[seq % RING] == (uint32_t)(ready - asleep) && outstanding) outstanding--;
        }
        p += size;
    }
}

/* --- WebSocket -------------------------------------------------------------------------------------------------- */

static int has(const char *p, size_t len, const char *what) { return memmem(p, len, what, strlen(what)) != NULL; }

static void on_text(struct conn *c, const char *p, size_t len, double t) {
    if (c->state == READY) {
        if (c->dialect == SIO && len == 1 && *p == '2') put_text(c, "3");
        else if (c->dialect == RT && len < 20 && has(p, len, "\"ping\"")) put_text(c, "{\"type\":\"pong\"}");
        else if (c->dialect == RT && (has(p, len < 40 ? len : 40, "\"error\"") || has(p, len < 40 ? len : 40, "\"gap\"")))
            fprintf(stderr, "load: %.*s\n", (int)(len < 300 ? len : 300), p), other_status++;
        else if (!c->publisher) arrived(c, p, len, t);
        return;
    }
    if (c->dialect == RT && has(p, len, c->publisher ? "\"hello\"" : "\"subscribed\"")) is_ready(c);
    else if (c->dialect == RT && has(p, len, "\"error\"")) fail(c, "the server answered with an error");
    else if (c->dialect == SIO && len && *p == '0') put_text(c, "40");
    else if (c->dialect == SIO && len > 1 && p[0] == '4' && p[1] == '0') is_ready(c);
}

static void on_open(struct conn *c) {
    static unsigned number;
    if (c->dialect == RT) {
        char text[500];
        int at = sprintf(text, "[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"bench%07u\"}", ++number);
        if (!c->publisher) at += sprintf(text + at, ",{\"type\":\"subscribe\",\"id\":2,\"channel\":\"feed\"}");
        strcpy(text + at, "]");
        c->state = JOINING;
        put_text(c, text);
    } else if (c->dialect == SIO) c->state = JOINING;
    else is_ready(c);
}

/* Take whole frames from the front of what was read; how much was taken. */
static size_t frames(struct conn *c, char *p, size_t len, double t) {
    size_t at = 0;
    while (len - at >= 2 && c->fd >= 0) {
        unsigned char *f = (unsigned char *)p + at;
        size_t n = f[1] & 127, head = 2;
        if (f[1] & 128) { fail(c, "a masked frame from the server"); return len; }
        if (n == 126) {
            if (len - at < 4) break;
            n = f[2] << 8 | f[3];
            head = 4;
        } else if (n == 127) {
            if (len - at < 10) break;
            n = (size_t)f[6] << 24 | f[7] << 16 | f[8] << 8 | f[9];
            head = 10;
        }
        if (len - at < head + n) break;
        char *body = p + at + head;
        int opcode = f[0] & 15;
        if (opcode <= 2) on_text(c, body, n, t);
        else if (opcode == 8) {
            char why[64];
            snprintf(why, sizeof why, "closed with code %d", n >= 2 ? (unsigned char)body[0] << 8 | (unsigned char)body[1] : 0);
            fail(c, why);
            return len;
        } else if (opcode == 9) put_frame(c, 10, body, n);
        at += head + n;
    }
    return at;
}

/* --- HTTP ------------------------------------------------------------------------------------------------------- */

/* The whole answer at the front: its length, or 0 if it is not all here. */
static size_t answer(char *p, size_t len, char **body, size_t *body_len, int *status) {
    char *end = memmem(p, len, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = end - p + 4, n = 0;
    *status = atoi(p + 9);
    *body = p + head;
    *body_len = 0;
    if (*status == 204 || *status == 304) return head;
    char *field = NULL;
    for (char *line = p; line < end && (line = memchr(line, '\n', end - line)) && ++line < end;) {
        if (!strncasecmp(line, "content-length:", 15)) field = line + 15;
        if (!strncasecmp(line, "transfer-encoding:", 18)) {
            char *last = memmem(*body, len - head, "0\r\n\r\n", 5);
            if (!last) return 0;
            *body_len = last - *body;
            return last + 5 - p;
        }
    }
    if (field) n = strtoul(field, NULL, 10);
    if (len < head + n) return 0;
    *body_len = n;
    return head + n;
}

/* Copy what stands between two marks. */
static int between(const char *p, size_t len, const char *from, const char *to, char *into, size_t room) {
    char *a = memmem(p, len, from, strlen(from));
    if (!a) return 0;
    a += strlen(from);
    char *b = memmem(a, len - (a - p), to, strlen(to));
    if (!b || (size_t)(b - a) >= room) return 0;
    memcpy(into, a, b - a);
    into[b - a] = 0;
    return 1;
}

/* The same, but the last of them: of tokens and positions the newest is the one to send. */
static int last_between(const char *p, size_t len, const char *from, const char *to, char *into, size_t room) {
    int found = 0;
    for (char *a; (a = memmem(p, len, from, strlen(from))); found = 1) {
        if (!between(a, len - (a - p), from, to, into, room)) break;
        len -= a + strlen(from) - p;
        p = a + strlen(from);
    }
    return found;
}

static void ask(struct conn *c) {
    char out[8192], body[6000];
    int at = 0;
    if (c->dialect == HTTP) {
        put(c, request, request_len);
        return;
    }
    if (c->dialect == RTGET) {
        if (c->step) at = sprintf(out, "GET %s?after=%s&wait=25 HTTP/1.1\r\n%s\r\n", path, c->cursor, HEAD);
        else at = sprintf(out, "GET %s HTTP/1.1\r\n%s\r\n", path, HEAD);
    } else if (c->dialect == NCHAN) {
        at = sprintf(out, "GET %s HTTP/1.1\r\n%s", path, HEAD);
        if (c->step) at += sprintf(out + at, "If-Modified-Since: %s\r\nIf-None-Match: %s\r\n", c->cursor2, c->cursor);
        at += sprintf(out + at, "\r\n");
    } else if (c->dialect == RTPOLL) {
        unsigned number = (unsigned)(c - conns) + 1;
        if (!c->step) sprintf(body, "{\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"poll%08u\"},"
                              "{\"type\":\"subscribe\",\"id\":2,\"channel\":\"feed\"}]}", number);
        else sprintf(body, "{\"wait\":25,\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"poll%08u\",\"token\":\"%s\"},"
                     "{\"type\":\"subscribe\",\"channel\":\"feed\",\"position\":\"%s\"}]}", number, c->token, c->cursor);
        at = sprintf(out, "POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     path, HEAD, strlen(body), body);
    } else if (c->dialect == RTSTREAM) {
        const char *accept = strstr(HEAD, "*/*");
        sprintf(body, "{\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"stream%06u\"},"
                "{\"type\":\"subscribe\",\"id\":2,\"channel\":\"feed\"}]}", (unsigned)(c - conns) + 1);
        at = sprintf(out, "POST %s HTTP/1.1\r\n%.*stext/event-stream%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     path, (int)(accept - HEAD), HEAD, accept + 3, strlen(body), body);
    } else if (c->dialect == EIOPOLL) {
        const char *post = c->step == 1 ? "40" : c->step == 9 ? "3" : NULL;
        if (!c->step) at = sprintf(out, "GET %s?EIO=4&transport=polling HTTP/1.1\r\n%s\r\n", path, HEAD);
        else if (post) at = sprintf(out, "POST %s?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n%sContent-Type: text/plain;charset=UTF-8\r\n"
                                    "Content-Length: %zu\r\n\r\n%s", path, c->token, HEAD, strlen(post), post);
        else at = sprintf(out, "GET %s?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n%s\r\n", path, c->token, HEAD);
    }
    put(c, out, at);
}

static void on_answer(struct conn *c, char *p, size_t len, char *body, size_t n, int status, double t) {
    char value[6000];
    size_t head = body - p;
    (void)len;
    last_status = status;
    if (status != 200 && status != 304) {
        if (other_status++ < 2) fprintf(stderr, "load: status %d: %.*s\n", status, (int)(n < 300 ? n : 300), body);
        if (strcmp(mode, "http")) { fail(c, "unexpected status"); return; }
    }
    if (measuring) {
        answers++;
        answer_bytes += n;
    }
    if (c->dialect == HTTP) {
        if (c->state != READY) is_ready(c);
        if (strcmp(mode, "idle")) ask(c);
        return;
    }
    if (c->dialect == EIOPOLL) {
        if (c->step == 0) {
            if (!between(body, n, "\"sid\":\"", "\"", value, sizeof value)) { fail(c, "no sid"); return; }
            free(c->token);
            c->token = strdup(value);
            c->step = 1;
        } else if (c->step == 1) c->step = 2;
        else if (c->step == 2) {
            c->step = 3;
            if (!has(body, n, "40{")) { fail(c, "no 40"); return; }
            is_ready(c);
        } else if (c->step == 9) c->step = 3;
        else {
            arrived(c, body, n, t);
            if ((n == 1 && *body == '2') || has(body, n, "\x1e" "2\x1e") || (n > 1 && body[n - 1] == '2' && body[n - 2] == '\x1e')) c->step = 9;
        }
    } else {
        if (c->step) arrived(c, body, n, t);
        if (c->dialect == NCHAN) {
            for (char *line = p; (line = memchr(line, '\n', head - (line - p))) && ++line < body - 2;) {
                char *to = !strncasecmp(line, "etag:", 5) ? c->cursor : !strncasecmp(line, "last-modified:", 14) ? c->cursor2 : NULL;
                if (!to) continue;
                char *a = strchr(line, ':') + 1, *b = strchr(line, '\r');
                while (*a == ' ') a++;
                if (b - a < 60) memcpy(to, a, b - a), to[b - a] = 0;
            }
            if (!*c->cursor) { fail(c, "no Etag"); return; }
        } else {
            if (last_between(body, n, "\"token\":\"", "\"", value, sizeof value) && (!c->token || strcmp(c->token, value)))
                free(c->token), c->token = strdup(value);
            if (!last_between(body, n, "\"position\":\"", "\"", c->cursor, sizeof c->cursor) && !c->step) { fail(c, "no position"); return; }
            if (c->state != READY) is_ready(c);
        }
        c->step = 1;
    }
    if (c->fd >= 0) ask(c);
}

static size_t answered(struct conn *c, char *p, size_t len, double t) {
    size_t at = 0;
    while (at < len && c->fd >= 0) {
        char *body;
        size_t n, all;
        int status;
        if (!(all = answer(p + at, len - at, &body, &n, &status))) break;
        if (c->publisher) {
            if (status >= 300) die("publishing was answered with status %d", status);
        } else on_answer(c, p + at, all, body, n, status, t);
        at += all;
    }
    return c->fd < 0 ? len : at;
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static int is_http(struct conn *c) { return c->dialect >= NCHAN; }

static void connected(struct conn *c) {
    char out[2000];
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    int error = 0;
    socklen_t size_of = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size_of);
    if (error) { fail(c, strerror(error)); return; }
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
    c->state = OPENING;
    if (is_http(c)) {
        if (c->publisher) is_ready(c);
        else {
            ask(c);
            if (c->dialect == NCHAN && c->fd >= 0) is_ready(c);
        }
        return;
    }
    int n = sprintf(out, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", c->publisher ? pub_path : path);
    put(c, out, n);
}

static void readable(struct conn *c) {
    size_t have = c->rest_len;
    if (have) memcpy(reading, c->rest, have);
    ssize_t n = recv(c->fd, reading + have, READ - have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { fail(c, n ? strerror(errno) : "closed by the server"); return; }
    double t = now();
    size_t len = have + n, at = 0;
    if (c->dialect == RTSTREAM) {                       /* to be held, not measured: what came is looked at once */
        if (c->state == OPENING && has(reading, len, "\"subscribed\"")) is_ready(c);
        at = c->state == READY ? len : 0;
    } else if (is_http(c)) at = answered(c, reading, len, t);
    else {
        if (c->state == OPENING) {
            char *end = memmem(reading, len, "\r\n\r\n", 4);
            if (end) {
                if (strncmp(reading, "HTTP/1.1 101", 12)) {
                    fprintf(stderr, "load: %.*s\n", (int)(len < 500 ? len : 500), reading);
                    fail(c, "no 101");
                    return;
                }
                at = end + 4 - reading;
                on_open(c);
            }
        }
        if (c->state > OPENING && c->fd >= 0) at += frames(c, reading + at, len - at, t);
    }
    if (c->fd < 0) return;
    c->rest_len = len - at;
    if (c->rest_len) {
        if (c->rest_len >= READ) { fail(c, "an answer too large"); return; }
        enlarge(&c->rest, &c->rest_cap, c->rest_len);
        memcpy(c->rest, reading + at, c->rest_len);
    } else if (c->rest) {
        free(c->rest);
        c->rest = NULL;
        c->rest_cap = 0;
    }
}

static int turn(int milliseconds) {
    struct epoll_event events[512];
    int n = epoll_wait(ep, events, 512, milliseconds);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (!c) return -1;                              /* standard input: whoever started us wants the end */
        if (c->fd < 0) continue;
        if (c->state == CONNECTING) connected(c);
        else readable(c);
    }
    if (now() - begun > limit) die("out of time (%d s): %d of %d ready", limit, ready, count);
    return n;
}

static void open_all(void) {
    double since = now();
    int had = 0;
    opened = 0;
    while (ready < count) {
        while (opened < count && opening < parallel) begin(&conns[opened++]);
        turn(100);
        if (ready != had) had = ready, since = now();
        if (failed > count / 10 + 3) die("%d connections failed, %d ready", failed, ready);
        if (now() - since > 15) die("%d of %d ready, and nothing for 15 s", ready, count);
        if (opened == count && !opening && ready < count) {
            if (ready < count - count / 100) die("%d of %d ready", ready, count);
            break;                                      /* one in a hundred may be refused by a server under load */
        }
    }
}

static void fill(double t) {
    if (!publishing) return;
    if (rate > 0) {
        static double due;
        if (due < t - 1) due = t;
        while (due <= t) publish(due), due += 1 / rate;
        if (outstanding > 10000) outstanding = 0;
    } else {
        if (outstanding && t - last_progress > 1) stalls++, outstanding = 0, last_progress = t;
        while (outstanding < window) publish(t);
    }
    flush_outbox();
}

static void run_for(double duration) {
    double end = now() + duration, t;
    while ((t = now()) < end) {
        fill(t);
        if (publisher.fd < 0 && publishing) die("the publisher's connection ended");
        turn(rate > 0 ? 1 : 20);
    }
}

static double cpu_start;

static void start(void) {
    printf("start\n");
    fflush(stdout);
    usleep(20000);                                      /* whoever listens reads the server's clock now */
    measuring = 1;
    measure_start = now();
    cpu_start = own_cpu();
}

static void stop(void) {
    double wall = now() - measure_start, cpu = own_cpu() - cpu_start;
    measuring = 0;
    printf("stop\n");
    printf("{\"mode\":\"%s\",\"wall\":%.4f,\"load_share\":%.3f,\"ready\":%d,\"failed\":%d,\"published\":%llu,\"deliveries\":%llu,"
           "\"answers\":%llu,\"answer_bytes\":%llu,\"status\":%d,\"other_status\":%llu,\"lost\":%llu,\"repeated\":%llu,"
           "\"stalls\":%llu,\"connects\":%llu,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f}\n",
           mode, wall, cpu / wall, ready, failed, (unsigned long long)published, (unsigned long long)deliveries,
           (unsigned long long)answers, (unsigned long long)answer_bytes, last_status, (unsigned long long)other_status,
           (unsigned long long)lost, (unsigned long long)repeated, (unsigned long long)stalls, (unsigned long long)connects,
           percentile(0.5), percentile(0.95), percentile(0.99));
    fflush(stdout);
}

static void open_publisher(void) {
    publisher.publisher = 1;
    publisher.dialect = pub_dialect;
    int before = ready;
    double end = now() + 10;
    begin(&publisher);
    while (ready == before && now() < end && publisher.fd >= 0) turn(100);
    if (ready == before) die("the publisher could not connect");
    ready = before;                                     /* it is no subscriber */
    publishing = 1;
    last_progress = now();
}

static void connect_for(double duration) {
    double end = now() + duration;
    while (now() < end) {
        for (int i = 0; i < parallel; i++) {
            struct conn *c = &conns[i];
            if (c->fd >= 0 && c->state == READY) {
                if (measuring) connects++;
                shut(c);
                ready--;
            }
            if (c->fd < 0) begin(c);
        }
        turn(20);
        if (failed > 100) die("%d connections failed", failed);
    }
}

/* Hold connections that do nothing, until whoever started us closes our standard input. */
static void idle(void) {
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    open_all();
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &ev);
    start();
    for (double end = now() + hold; now() < end;)
        if (turn(50) < 0) break;
    stop();
}

static enum dialect named(const char *name) {
    static const char *names[] = {"raw", "rt", "sio", "nchan", "eio", "rtget", "rtpoll", "rtstream", "http"};
    for (int i = 0; i < 9; i++)
        if (!strcmp(name, names[i])) return i;
    die("no dialect %s", name);
    return RAW;
}

int main(int argc, char **argv) {
    if (argc < 2) die("load MODE key=value ...");
    mode = argv[1];
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) die("not key=value: %s", argv[i]);
        *value++ = 0;
        const char *key = argv[i];
        if (!strcmp(key, "port")) port = atoi(value);
        else if (!strcmp(key, "count")) count = atoi(value);
        else if (!strcmp(key, "window")) window = atoi(value);
        else if (!strcmp(key, "size")) size = atoi(value);
        else if (!strcmp(key, "parallel")) parallel = atoi(value);
        else if (!strcmp(key, "asleep")) asleep = atoi(value);
        else if (!strcmp(key, "limit")) limit = atoi(value);
        else if (!strcmp(key, "seconds")) seconds = atof(value);
        else if (!strcmp(key, "warm")) warm = atof(value);
        else if (!strcmp(key, "hold")) hold = atof(value);
        else if (!strcmp(key, "rate")) rate = atof(value);
        else if (!strcmp(key, "path")) path = value;
        else if (!strcmp(key, "pub_path")) pub_path = value;
        else if (!strcmp(key, "request")) request_file = value;
        else if (!strcmp(key, "dialect")) dialect = named(value);
        else if (!strcmp(key, "pub")) pub_dialect = named(value);
        else die("no option %s", key);
    }
    if (size < 16 || size > 2000 || count < 1 || count > 60000 || window < 1 || window > 1000 || asleep < 0 || asleep >= count) die("out of range");
    begun = now();
    ep = epoll_create1(0);
    reading = malloc(READ + 1);
    conns = calloc(count > parallel ? count : parallel, sizeof *conns);
    publisher.fd = -1;
    for (int i = 0; i < (count > parallel ? count : parallel); i++) conns[i].fd = -1, conns[i].dialect = dialect;

    if (!strcmp(mode, "fanout") || !strcmp(mode, "longpoll")) {
        open_all();
        for (int i = 0; i < asleep; i++) epoll_ctl(ep, EPOLL_CTL_DEL, conns[i].fd, NULL); /* they stop reading */
        open_publisher();
        publishing = 0;
        run_for(0.3);                                   /* let the last poll be parked */
        publishing = 1;
        last_progress = now();
        run_for(warm);
        start();
        run_for(seconds);
        stop();
    } else if (!strcmp(mode, "http") || (!strcmp(mode, "idle") && dialect == HTTP)) {
        FILE *file = fopen(request_file, "rb");
        if (!file) die("no request file");
        char head[16384];
        size_t n = fread(head, 1, sizeof head - 2000, file);
        fclose(file);
        request = malloc(n + 2000);
        char *line = memmem(head, n, "\r\n", 2);        /* the browser's headers go in after the request line */
        if (!line) die("no request line");
        size_t first = line + 2 - head;
        memcpy(request, head, first);
        memcpy(request + first, HEAD, strlen(HEAD));
        memcpy(request + first + strlen(HEAD), head + first, n - first);
        request_len = n + strlen(HEAD);
        if (!strcmp(mode, "idle")) idle();
        else {
            open_all();
            run_for(warm);
            start();
            run_for(seconds);
            stop();
        }
    } else if (!strcmp(mode, "connect")) {
        connect_for(warm);
        start();
        connect_for(seconds);
        stop();
    } else if (!strcmp(mode, "idle")) {
        idle();
    } else die("no mode %s", mode);
    return 0;
}
