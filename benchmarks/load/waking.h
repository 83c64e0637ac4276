/* What becomes of the sleepers when they read again: each catches up, or is told of a gap, or of the end of its
 * connection. One that misses something without a word is counted as `silent`, one that gets nothing as `behind`. */
static int awake_again(uint32_t newest) {
    int done = 0;
    for (int i = 0; i < asleep; i++)
        if (conns[i].fd < 0 || conns[i].told || conns[i].last == newest) done++;
    return done;
}

static void wake(void) {
    uint32_t newest = next_seq - 1;
    int caught_up = 0, told = 0, ended = 0, silent = 0, behind = 0, live = 0;
    publishing = 0;
    for (int i = 0; i < asleep; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        if (conns[i].fd >= 0) epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev);
    }
    for (double end = now() + 20; now() < end && awake_again(newest) < asleep;) turn(20);
    for (int i = 0; i < asleep; i++) {
        struct conn *c = &conns[i];
        if (c->fd < 0) ended++;
        else if (c->holes) silent++;
        else if (c->told) told++;
        else if (c->last == newest) caught_up++;
        else behind++;
    }
    publish(now());                                     /* and all who are here go on with the next one */
    flush_outbox();
    newest = next_seq - 1;
    for (double end = now() + 5; now() < end && live < ready;) {
        turn(20);
        live = 0;
        for (int i = 0; i < count; i++) live += conns[i].fd >= 0 && conns[i].last == newest;
    }
    char more[300];
    sprintf(more, "\"caught_up\":%d,\"told\":%d,\"ended\":%d,\"silent\":%d,\"behind\":%d,\"live\":%d,",
            caught_up, told, ended, silent, behind, live);
    report(more);
}
