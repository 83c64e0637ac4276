/* Everybody comes back at once: all sockets are cut, something is published meanwhile, all reconnect with token and
 * position, and each must get what it missed. Measured: from the first connect until the last one has everything.
 * `cut=load`: we reset the connections. `cut=PATH`: a POST there makes the server end them. The publisher speaks HTTP. */
static void publish_some(int some) {
    uint64_t wanted = publish_answers + some;
    for (int i = 0; i < some; i++) {
        publish(now());
        flush_outbox();
        while (publish_answers + (some - 1 - i) < wanted) turn(20);
    }
}

static void cut_all(void) {
    char out[500];
    forgiving = 1;
    if (!strcmp(cut, "load")) {
        for (int i = 0; i < count; i++)
            if (conns[i].fd >= 0) shut(&conns[i]);
    } else {
        put(&publisher, out, sprintf(out, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n", cut));
        for (int left = count; left;) {
            turn(20);
            left = 0;
            for (int i = 0; i < count; i++) left += conns[i].fd >= 0;
        }
    }
    ready = opening = 0;
    retries = 0;
    for (int i = 0; i < count; i++) conns[i].rest_len = 0;
    for (double end = now() + 1; now() < end;) turn(20); /* let the server notice */
}

static void recover(void) {
    int done = 0, whole = 0, holes = 0;
    open_all();
    open_publisher();
    if (ready != count) die("%d of %d ready", ready, count);
    publish_some(5);
    for (double end = now() + 10; got[(next_seq - 1) % RING] < (uint32_t)count;) {
        turn(20);
        if (now() > end) die("what was published before the cut did not reach everybody");
    }
    cut_all();
    publish_some(missed);
    uint32_t newest = next_seq - 1;
    char *recovered = calloc(count, 1);
    uint32_t *before = calloc(count, sizeof *before);
    for (int i = 0; i < count; i++) before[i] = conns[i].last, conns[i].holes = conns[i].told = 0;
    start();
    for (int i = 0; i < count; i++) begin(&conns[i]), conns[i].last = before[i];
    while (done < count) {
        turn(20);
        double t = now();
        for (int i = 0; i < count; i++) {
            struct conn *c = &conns[i];
            if (c->fd < 0) begin(c), c->last = before[i];
            if (recovered[i] || c->state != READY || (c->last != newest && !c->told)) continue;
            recovered[i] = 1;
            done++;
            whole += !c->told && !c->holes;
            holes += c->holes;
            record(t - measure_start);
        }
    }
    stop();
    char more[200];
    sprintf(more, "\"recovered\":%d,\"holes\":%d,\"missed\":%d,", whole, holes, missed);
    report(more);
}
