/* The dialects on a WebSocket. */
/* --- WebSocket -------------------------------------------------------------------------------------------------- */

/* For who is to come back: the position, and the newest token, which comes in a reply or in a push of its own. */
static void took_position(struct conn *c, const char *p, size_t len) {
    last_between(p, len, "\"position\":\"", "\"", c->cursor, sizeof c->cursor);
}

static void remember(struct conn *c, const char *p, size_t len, double t) {
    char token[2000];
    if (last_between(p, len, "\"token\":\"", "\"", token, sizeof token)) free(c->token), c->token = strdup(token);
    if (has(p, len, "\"recovered\":false")) c->told++, gaps++;
    took_position(c, p, len);
    arrived(c, p, len, t);
}

static void on_text(struct conn *c, const char *p, size_t len, double t) {
    if (c->state == READY) {
        if (c->dialect == SIO && len == 1 && *p == '2') put_text(c, "3");
        else if (c->dialect == RT && len < 20 && has(p, len, "\"ping\"")) put_text(c, "{\"type\":\"pong\"}");
        else if (c->dialect == RT && has(p, len < 40 ? len : 40, "\"gap\"")) {
            c->told++, gaps++, c->last = 0;
            took_position(c, p, len);
        } else if (c->dialect == RT && has(p, len < 40 ? len : 40, "\"error\""))
            fprintf(stderr, "load: %.*s\n", (int)(len < 300 ? len : 300), p), other_status++;
        else if (!c->publisher) {
            if (c->token) remember(c, p, len, t);
            else arrived(c, p, len, t);
        }
        return;
    }
    if (c->dialect == RT && !c->publisher && !strcmp(mode, "recover")) remember(c, p, len, t);
    if (c->dialect == RT && has(p, len, c->publisher ? "\"hello\"" : "\"subscribed\"")) is_ready(c);
    else if (c->dialect == RT && has(p, len, "\"error\"")) fail(c, "the server answered with an error");
    else if (c->dialect == SIO && len && *p == '0') put_text(c, "40");
    else if (c->dialect == SIO && len > 1 && p[0] == '4' && p[1] == '0') is_ready(c);
}

static void on_open(struct conn *c) {
    static unsigned number;
    if (c->dialect == RT) {
        char text[3000];
        unsigned who = strcmp(mode, "recover") ? ++number : (unsigned)(c - conns);
        int at = sprintf(text, "[{\"type\":\"hello\",\"id\":1,\"version\":1,\"instance\":\"bench%07u\"", who);
        if (c->token) at += sprintf(text + at, ",\"token\":\"%s\"", c->token);
        at += sprintf(text + at, "}");
        if (!c->publisher) at += sprintf(text + at, ",{\"type\":\"subscribe\",\"id\":2,\"channel\":\"%s\"", channel);
        if (!c->publisher && c->token) at += sprintf(text + at, ",\"position\":\"%s\"", c->cursor);
        if (!c->publisher) at += sprintf(text + at, "}");
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

