/* The loop, and what is measured between start and stop. */
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
    if (measuring && !c->publisher) bytes_in += n;
    if (c->dialect == RTSTREAM) {                       /* events end with a line, and none is cut by a chunk */
        char *line = memrchr(reading, '\n', len);
        if (c->state == OPENING && has(reading, len, "\"subscribed\"")) is_ready(c);
        if (c->state == READY && line) {
            at = line + 1 - reading;
            arrived(c, reading, at, t);
        }
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
        if (now() - since > 25) die("%d of %d ready, and nothing for 25 s", ready, count);
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
        if (interval) poll_those_due(t);
        if (publisher.fd < 0 && publishing) die("the publisher's connection ended");
        turn(rate > 0 || interval > 0 ? 1 : 20);
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

static double wall, cpu_used;

static void stop(void) {
    wall = now() - measure_start, cpu_used = own_cpu() - cpu_start;
    measuring = 0;
    printf("stop\n");
    fflush(stdout);
}

static void report(const char *more) {
    printf("{\"mode\":\"%s\",\"wall\":%.4f,\"load_share\":%.3f,\"ready\":%d,\"failed\":%d,\"published\":%llu,\"deliveries\":%llu,"
           "\"answers\":%llu,\"answer_bytes\":%llu,\"status\":%d,\"other_status\":%llu,\"lost\":%llu,\"repeated\":%llu,"
           "\"stalls\":%llu,\"connects\":%llu,\"gaps\":%llu,\"overruns\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,"
           "\"retries\":%llu,%s\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f}\n",
           mode, wall, cpu_used / wall, ready, failed, (unsigned long long)published, (unsigned long long)deliveries,
           (unsigned long long)answers, (unsigned long long)answer_bytes, last_status, (unsigned long long)other_status,
           (unsigned long long)lost, (unsigned long long)repeated, (unsigned long long)stalls, (unsigned long long)connects,
           (unsigned long long)gaps, (unsigned long long)overruns, (unsigned long long)bytes_in,
           (unsigned long long)bytes_out, (unsigned long long)retries, more,
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

