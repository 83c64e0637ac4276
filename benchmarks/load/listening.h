/* Subscribers alone: other processes publish the numbers 1 to `until`, each with the moment it left. Ends when all have
 * everything, when nothing came for two seconds, or after `seconds`. What did not come is counted as missing. */
static void listen_until(void) {
    int complete = 0;
    open_all();
    for (int i = 0; i < count; i++) conns[i].bits = calloc(until / 8 + 1, 1);
    next_seq = until + 1;
    start();
    last_progress = 0;
    for (double end = now() + seconds, t; complete < ready && (t = now()) < end;) {
        if (last_progress && t - last_progress > 2) break;
        turn(20);
        complete = 0;
        for (int i = 0; i < count; i++) complete += conns[i].came == until;
    }
    stop();
    uint64_t missing = 0;
    for (int i = 0; i < count; i++) missing += until - conns[i].came;
    char more[200];
    sprintf(more, "\"span\":%.4f,\"missing\":%llu,\"complete\":%d,", last_progress - first_sent, (unsigned long long)missing, complete);
    report(more);
}
