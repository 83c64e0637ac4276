/* The physical limit: what one core can deliver when nothing but the kernel costs anything.
 *
 *     fanout PORT
 *
 * Every text frame that comes from anybody goes to all who connected to /sub, with one send(2) per message and
 * subscriber. With COALESCE (fanout_coalesce.c) what came in one turn of the loop leaves together: one send(2) per turn
 * and subscriber. It is no WebSocket server: the accept key is that of the one client it knows, load.c, and a frame must
 * arrive whole or be waited for in 64 KiB. What the kernel does not take is kept and sent when there is room.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536
#define ROOM 65536

struct conn {
    int fd, open, at;                       /* at: index among the subscribers, or -1 */
    char *in;
    size_t in_len;
    char *out;
    size_t out_len, out_cap;
};

static int ep, subscribers;
static struct conn *subscriber[MOST];
static char *turn_out;
static size_t turn_len;
static struct conn *ending[MOST];
static int endings;

static const char *OPEN =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void keep(char **to, size_t *len, size_t *cap, const char *data, size_t n) {
    if (*len + n > *cap) {
        *cap = (*len + n) * 2;
        *to = realloc(*to, *cap);
        if (!*to) abort();
    }
    memcpy(*to + *len, data, n);
    *len += n;
}

static void watch(struct conn *c, uint32_t events, int how) {
    struct epoll_event ev = {.events = events, .data.ptr = c};
    epoll_ctl(ep, how, c->fd, &ev);
}

static void end(struct conn *c) {
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1;
    if (c->at >= 0) {
        subscriber[c->at] = subscriber[--subscribers];
        subscriber[c->at]->at = c->at;
    }
    ending[endings++] = c;                  /* freed after the turn: an event may still name it */
}

static void deliver(struct conn *c, const char *data, size_t len) {
    ssize_t n = 0;
    if (!c->out_len) {
        n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n == (ssize_t)len) return;
        if (n < 0) n = 0;                   /* EAGAIN; of an error the next read tells */
        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    keep(&c->out, &c->out_len, &c->out_cap, data + n, len - n);
}

static void drain(struct conn *c) {
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n <= 0) return;
    c->out_len -= n;
    memmove(c->out, c->out + n, c->out_len);
    if (!c->out_len) watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void broadcast(const char *text, size_t n) {
    char out[4096];
    size_t head = n < 126 ? 2 : 4;
    out[0] = (char)0x81;
    out[1] = (char)(n < 126 ? n : 126);
    if (n >= 126) out[2] = (char)(n >> 8), out[3] = (char)n;
    memcpy(out + head, text, n);
#ifdef COALESCE
    static size_t turn_cap;
    keep(&turn_out, &turn_len, &turn_cap, out, head + n);
#else
    for (int i = 0; i < subscribers; i++) deliver(subscriber[i], out, head + n);
#endif
}

/* Take whole frames; how much was taken, or -1 to end the connection. */
static long frames(char *p, size_t len) {
    size_t at = 0;
    while (len - at >= 6) {
        unsigned char *f = (unsigned char *)p + at;
        size_t n = f[1] & 127, head = 2;
        if (n == 127 || !(f[1] & 128)) return -1;
        if (n == 126) n = f[2] << 8 | f[3], head = 4;
        if (n > 4000) return -1;
        if (len - at < head + 4 + n) break;
        unsigned char *mask = f + head, *body = mask + 4;
        for (size_t i = 0; i < n; i++) body[i] ^= mask[i & 3];
        if ((f[0] & 15) == 8) return -1;
        if ((f[0] & 15) == 1) broadcast((char *)body, n);
        at += head + 4 + n;
    }
    return (long)at;
}

static void readable(struct conn *c) {
    static char buffer[ROOM];
    memcpy(buffer, c->in, c->in_len);
    ssize_t n = recv(c->fd, buffer + c->in_len, ROOM - c->in_len, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { end(c); return; }
    size_t len = c->in_len + n, at = 0;
    if (!c->open) {
        char *stop = memmem(buffer, len, "\r\n\r\n", 4);
        if (stop) {
            at = stop + 4 - buffer;
            c->open = 1;
            if (!strncmp(buffer, "GET /sub", 8) && subscribers < MOST) {
                c->at = subscribers;
                subscriber[subscribers++] = c;
            }
            deliver(c, OPEN, strlen(OPEN));
        }
    }
    if (c->open) {
        long more = frames(buffer + at, len - at);
        if (more < 0) { end(c); return; }
        at += more;
    }
    c->in_len = len - at;
    if (c->in_len) {
        c->in = realloc(c->in, c->in_len);
        memcpy(c->in, buffer + at, c->in_len);
    } else if (c->in) {
        free(c->in);
        c->in = NULL;
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[512];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (argc != 2) return 2;
    to.sin_port = htons(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&to, sizeof to) || listen(listener, 4096)) { perror("fanout"); return 1; }
    ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    struct conn *new = calloc(1, sizeof *new);
                    new->fd = fd;
                    new->at = -1;
                    watch(new, EPOLLIN, EPOLL_CTL_ADD);
                }
                continue;
            }
            if (c->fd >= 0 && events[i].events & EPOLLOUT) drain(c);
            if (c->fd >= 0 && events[i].events & ~EPOLLOUT) readable(c);
        }
        if (turn_len) {
            for (int i = 0; i < subscribers; i++) deliver(subscriber[i], turn_out, turn_len);
            turn_len = 0;
        }
        while (endings) {
            struct conn *c = ending[--endings];
            free(c->in);
            free(c->out);
            free(c);
        }
    }
}
