/* Publications: sent with a number, and found again in whatever arrives. */
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

/* Count the publications in a piece of text. They may stand in any order, and be there again (a view that lists the
 * newest does both): what counts is which are newer than all that this connection has seen. */
static void arrived(struct conn *c, const char *p, size_t len, double t) {
    const char *end = p + len;
    uint32_t floor = c->last, newest = floor, fresh = 0;
    while (p < end && (p = memchr(p, '~', end - p)) && end - p >= 9) {
        uint32_t seq = 0;
        for (int i = 1; i < 9; i++) seq = seq * 10 + (p[i] - '0');
        if (seq < first_seq || seq >= next_seq) {
            p++;
            continue;
        }
        int again = c->bits ? c->bits[seq >> 3] >> (seq & 7) & 1 : seq <= floor;
        if (c->bits && !again) c->bits[seq >> 3] |= 1 << (seq & 7), c->came++;
        if (again) {
            if (measuring) repeated++;
        } else {
            fresh++;
            if (seq > newest) newest = seq;
            last_progress = t;
            if (measuring) {
                double sent = end - p >= 26 && p[9] == '@' ? strtoull(p + 10, NULL, 10) * 1e-6 : sent_at[seq % RING];
                if (!first_sent || sent < first_sent) first_sent = sent;
                deliveries++;
                record(t - sent);
            }
            if (++got[seq % RING] == (uint32_t)(ready - asleep) && outstanding) outstanding--;
        }
        p += size;
    }
    if (floor && !c->bits && newest - floor > fresh) {
        if (measuring) lost += newest - floor - fresh;
        c->holes += newest - floor - fresh;
    }
    c->last = newest;
}

/* The first answer of a view or a channel holds what is old: it says where this connection begins. */
static void begins_at(struct conn *c, const char *p, size_t len, double t) {
    int before = measuring;
    measuring = 0;
    arrived(c, p, len, t);
    measuring = before;
}
