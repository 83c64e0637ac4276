/* What the load knows: its connections, its options, what it counted. */
enum dialect { RAW, RT, SIO, NCHAN, EIOPOLL, SITE, RTGET, RTPOLL, RTSTREAM, HTTP };
enum state { CONNECTING, OPENING, JOINING, READY, CLOSED };

struct conn {
    int fd;
    enum dialect dialect;
    enum state state;
    int publisher, step;
    int busy, late;              /* polls at an interval: an answer is due; so is the next request */
    int told, holes;             /* gaps that the server told of; publications that are missing without a word */
    unsigned char *bits;         /* listen: which numbers came; several publish, so that they may come in any order */
    int came;
    uint32_t last;               /* the newest publication seen; 0: none yet */
    char *rest;                  /* the beginning of a frame or an answer that is not all here */
    size_t rest_len, rest_cap;
    char *token;                 /* poll dialects: session id or token */
    char cursor[160];            /* poll dialects: position, or nchan's Etag */
    char cursor2[64];            /* nchan's Last-Modified */
};

#define RING (1u << 16)
#define READ (1 << 20)

static int port, count = 1000, window = 1, size = 128, parallel = 64, limit = 120, asleep = 0, wait = 25, missed = 20, until = 0;
static double seconds = 2, warm = 0.5, rate = 0, hold = 30, interval = 0;
static const char *mode, *path = "/", *pub_path = "/", *request_file, *channel = "feed", *cut = "load";
static enum dialect dialect = RAW, pub_dialect = RAW;

static int ep, opened, ready, failed, opening;
static struct conn *conns;
static struct conn publisher;
static char *reading;
static double sent_at[RING];
static uint32_t got[RING];
static uint32_t first_seq = 1, next_seq = 1;
static int outstanding, measuring, publishing, forgiving;
static uint64_t deliveries, answers, answer_bytes, lost, repeated, stalls, connects, other_status, published;
static uint64_t bytes_in, bytes_out, gaps, overruns, publish_answers, retries;
static int last_status;
static double begun, last_progress, measure_start, first_sent;
static uint64_t histogram[64 * 64];
static char *outbox;
static size_t outbox_len, outbox_cap;
static char *request;
static size_t request_len;


static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6 + u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6;
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    exit(1);
}

/* Latency, in a histogram of microseconds whose steps grow with the value: at most 1.6 % wrong. */
static void record(double t) {
    uint64_t us = t > 0 ? (uint64_t)(t * 1e6) : 0;
    int shift = us < 64 ? 0 : 58 - __builtin_clzll(us);
    unsigned at = shift * 64 + (us >> shift);
    histogram[at < 64 * 64 ? at : 64 * 64 - 1]++;
}

static double percentile(double share) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < 64 * 64; i++) total += histogram[i];
    if (!total) return 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += histogram[i];
        if (seen >= share * total) {
            int shift = i / 64;
            return (double)((uint64_t)(i - shift * 64) << shift) / 1000;
        }
    }
    return 0;
}

/* --- text ------------------------------------------------------------------------------------------------------- */

static int has(const char *p, size_t len, const char *what) { return memmem(p, len, what, strlen(what)) != NULL; }

/* Copy what stands between two marks. */
static int between(const char *p, size_t len, const char *from, const char *to, char *into, size_t room) {
    char *a = memmem(p, len, from, strlen(from));
    if (!a) return 0;
    a += strlen(from);
    char *b = memmem(a, len - (a - p), to, strlen(to));
    if (!b || (size_t)(b - a) >= room) return 0;
    memcpy(into, a, b - a);
    into[b - a] = 0;
    return 1;
}

/* The same, but the last of them: of tokens and positions the newest is the one to send. */
static int last_between(const char *p, size_t len, const char *from, const char *to, char *into, size_t room) {
    int found = 0;
    for (char *a; (a = memmem(p, len, from, strlen(from))); found = 1) {
        if (!between(a, len - (a - p), from, to, into, room)) break;
        len -= a + strlen(from) - p;
        p = a + strlen(from);
    }
    return found;
}
