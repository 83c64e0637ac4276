/* The load: WebSocket subscribers and a publisher, parked long polls, repeated requests, a rate of connects.
 *
 *     load MODE key=value ...        MODE: fanout | longpoll | idle | http | connect | recover | listen
 *
 * One thread, epoll, loopback only, bounded by `seconds` and by `limit` (all told). It prints "start" and "stop" around
 * what is measured, so that whoever started it can read the server's CPU time at both, and then one line of JSON.
 *
 * A publication is a text of `size` bytes that begins with ~ and eight digits, its number. Whatever a dialect wraps
 * around it, what arrives is searched for the ~: so each delivery is counted, timed and checked for order and loss in
 * the same way for every server. The pieces are in the files beside this one, in the order they are included. Frames are masked with a key of zero, which a server cannot know beforehand.
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


#include "state.h"
#include "sockets.h"
#include "publishing.h"
#include "websocket.h"
#include "http.h"
#include "turns.h"
#include "waking.h"
#include "recovery.h"
#include "listening.h"

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
    report("");
}

static enum dialect named(const char *name) {
    static const char *names[] = {"raw", "rt", "sio", "nchan", "eio", "site", "rtget", "rtpoll", "rtstream", "http"};
    for (int i = 0; i < 10; i++)
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
        else if (!strcmp(key, "interval")) interval = atof(value);
        else if (!strcmp(key, "wait")) wait = atoi(value);
        else if (!strcmp(key, "until")) until = atoi(value);
        else if (!strcmp(key, "missed")) missed = atoi(value);
        else if (!strcmp(key, "first")) first_seq = next_seq = atoi(value);
        else if (!strcmp(key, "channel")) channel = value;
        else if (!strcmp(key, "cut")) cut = value;
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
        if (asleep) wake();
        else report("");
    } else if (!strcmp(mode, "recover")) {
        recover();
    } else if (!strcmp(mode, "listen")) {
        listen_until();
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
            report("");
        }
    } else if (!strcmp(mode, "connect")) {
        connect_for(warm);
        start();
        connect_for(seconds);
        stop();
        report("");
    } else if (!strcmp(mode, "idle")) {
        idle();
    } else die("no mode %s", mode);
    return 0;
}
