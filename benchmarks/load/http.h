/* The dialects of requests and answers: long polls, polls at an interval, one request repeated. */
static const char *HEAD =
    "Host: 127.0.0.1\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"142\", \"Not=A?Brand\";v=\"24\"\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    "Referer: http://127.0.0.1/photos/2026/november\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: sessionid=3k9x2m7q1w8e5r4t6y0u; csrftoken=b1n2m3k4j5h6g7f8d9s0\r\n";

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

static void ask(struct conn *c) {
    char out[8192], body[6000];
    int at = 0;
    c->busy = 1;
    if (c->dialect == HTTP) {
        put(c, request, request_len);
        return;
    }
    if (c->dialect == RTGET) {
        char waiting[20] = "";
        if (wait) sprintf(waiting, "&wait=%d", wait);
        if (c->step) at = sprintf(out, "GET %s?after=%s%s HTTP/1.1\r\n%s\r\n", path, c->cursor, waiting, HEAD);
        else at = sprintf(out, "GET %s HTTP/1.1\r\n%s\r\n", path, HEAD);
    } else if (c->dialect == SITE) {
        at = sprintf(out, "GET %s HTTP/1.1\r\n%s\r\n", path, HEAD);
    } else if (c->dialect == NCHAN) {
        at = sprintf(out, "GET %s HTTP/1.1\r\n%s", path, HEAD);
        if (c->step) at += sprintf(out + at, "If-Modified-Since: %s\r\nIf-None-Match: %s\r\n", c->cursor2, c->cursor);
        at += sprintf(out + at, "\r\n");
    } else if (c->dialect == RTPOLL) {
        unsigned number = (unsigned)(c - conns) + 1;
        if (!c->step) sprintf(body, "{\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"poll%08u\"},"
                              "{\"type\":\"subscribe\",\"id\":2,\"channel\":\"%s\"}]}", number, channel);
        else sprintf(body, "{\"wait\":%d,\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"poll%08u\",\"token\":\"%s\"},"
                     "{\"type\":\"subscribe\",\"channel\":\"%s\",\"position\":\"%s\"}]}", wait, number, c->token, channel, c->cursor);
        at = sprintf(out, "POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     path, HEAD, strlen(body), body);
    } else if (c->dialect == RTSTREAM) {
        const char *accept = strstr(HEAD, "*/*");
        sprintf(body, "{\"commands\":[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"stream%06u\"},"
                "{\"type\":\"subscribe\",\"id\":2,\"channel\":\"%s\"}]}", (unsigned)(c - conns) + 1, channel);
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
        else if (c->dialect == SITE || c->dialect == RTGET) begins_at(c, body, n, t);
        if (has(body, n, "\"recovered\":false") || has(body, n, "\"type\":\"gap\"")) gaps++;
        if (c->dialect == NCHAN) {
            for (char *line = p; (line = memchr(line, '\n', head - (line - p))) && ++line < body - 2;) {
                char *to = !strncasecmp(line, "etag:", 5) ? c->cursor : !strncasecmp(line, "last-modified:", 14) ? c->cursor2 : NULL;
                if (!to) continue;
                char *a = strchr(line, ':') + 1, *b = strchr(line, '\r');
                while (*a == ' ') a++;
                if (b - a < 60) memcpy(to, a, b - a), to[b - a] = 0;
            }
            if (!*c->cursor) { fail(c, "no Etag"); return; }
        } else if (c->dialect == SITE) {
            if (c->state != READY) is_ready(c);
        } else {
            if (last_between(body, n, "\"token\":\"", "\"", value, sizeof value) && (!c->token || strcmp(c->token, value)))
                free(c->token), c->token = strdup(value);
            if (!last_between(body, n, "\"position\":\"", "\"", c->cursor, sizeof c->cursor) && !c->step) { fail(c, "no position"); return; }
            if (c->state != READY) is_ready(c);
        }
        c->step = 1;
    }
    c->busy = 0;
    if (c->fd < 0) return;
    if (!interval || c->late) c->late = 0, ask(c);
}

/* Polls at an interval: each connection has its moment in it, evenly spread. One whose answer is still to come asks as
 * soon as it is there. */
static void poll_those_due(double t) {
    static double base;
    static uint64_t turns;
    double step = interval / count;
    if (!base) base = t;
    for (; base + turns * step <= t; turns++) {
        struct conn *c = &conns[turns % count];
        if (c->fd < 0 || c->state != READY) continue;
        if (c->busy) {
            if (measuring && !c->late) overruns++;
            c->late = 1;
        } else ask(c);
    }
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
            publish_answers++;
        } else on_answer(c, p + at, all, body, n, status, t);
        at += all;
    }
    return c->fd < 0 ? len : at;
}

