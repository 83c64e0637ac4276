/* Opening, writing to and ending a connection. */
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
    if (forgiving) retries++;                           /* it is cut, or refused, and will come again */
    else if (failed++ < 3) fprintf(stderr, "load: a connection ended in state %d: %s\n", c->state, why);
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
        if (measuring && !c->publisher) bytes_out += n;
        data += n;
        len -= n;
    }
}


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

