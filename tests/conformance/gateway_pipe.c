/* tests/conformance/gateway_pipe.c - a part of gateway_conformance.c: a transport without a gateway, as transport.h says that it is: what
 * it starts, the bytes both ways, the ends, what it says when it cannot, and what is left of it. */
#include <zlib.h>

#include "engine/base/proc.h"

#define MIB (1u << 20)
#define MUCH (64u * MIB)
#define HELD (16u * MIB) /* more than that is not kept for a far end that does not read */
#define TABLE 65521u     /* prime: no period of a buffer's */

/* ---- a pipe and who drives it ---------------------------------------------------------------------------- */

typedef struct wire {
    const xd_transport *transport;
    xd_pipe            *pipe;
    char                path[256]; /* of the peer */
    left                before;
    uint8_t             table[TABLE];
    uint64_t            late_ns;
} wire;

/* Every value of a byte, what ssh and terminals take for orders, then anything. */
static void fill_table(uint8_t *table)
{
    static const char orders[] = "\n~.\n~?\r\n~&\r\xff\xf4\xff\xfd\x06\x03\x04\x11\x13\x1a\x1c";
    uint32_t          x = 2463534242u;
    for (uint32_t i = 0; i < TABLE; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        table[i] = i < 256 ? (uint8_t)i : i < 256 + sizeof(orders) ? (uint8_t)orders[i - 256] : (uint8_t)x;
    }
}

/* What is of use to be called, after at most so long. */
static uint32_t ready_of(xd_pipe *pipe, uint32_t want, int ms)
{
    xd_pipe_wait  on;
    struct pollfd p[XD_PIPE_FDS];
    pipe->transport->wait(pipe, want, &on);
    for (uint32_t i = 0; i < on.n; i++)
        p[i] = (struct pollfd){ .fd = on.on[i].events ? on.on[i].fd : -1,
                                .events = (short)((on.on[i].events & XD_POLL_IN ? POLLIN : 0) |
                                                  (on.on[i].events & XD_POLL_OUT ? POLLOUT : 0)) };
    (void)poll(p, on.n, on.ready ? 0 : ms);
    for (uint32_t i = 0; i < on.n; i++)
        if (p[i].revents)
            on.ready |= on.on[i].uses;
    return on.ready;
}

static uint32_t ready(wire *w, uint32_t want, int ms)
{
    ck_assert_msg(xd_clock_ns() < w->late_ns, "it takes for ever");
    return ready_of(w->pipe, want, ms);
}

static int open_spec(wire *w, const xd_transport *transport, const char *text, const char *agent,
                     uint32_t timeout_ms, xd_error *err)
{
    xd_xspec spec;
    ck_assert_msg(xd_xspec_parse(&spec, text, err) == 0, "%s", err->text);
    xd_target target = { .spec = &spec, .agent = agent, .output_limit = 12345, .timeout_ms = timeout_ms };
    w->transport = transport;
    w->late_ns = xd_clock_ns() + 100 * XD_S_NS;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &pipe, NULL), 0); /* as in a gateway's thread */
    int r = transport->open(&w->pipe, &target, err);
    xd_xspec_release(&spec);
    if (r < 0)
        ck_assert_ptr_null(w->pipe);
    while (r == 0 && (r = transport->opened(w->pipe, err)) == 0)
        (void)ready(w, XD_PIPE_READ | XD_PIPE_WRITE, 100);
    return r;
}

static void open_wire(wire *w, int which, const char *program)
{
    xd_error err = { 0 };
    *w = (wire){ .before = what_is_there() };
    fill_table(w->table);
    make_peer_in("/tmp/xd-peer-XXXXXX", program, w->path, sizeof(w->path));
    int r = open_spec(w, all_cases[which].transport, all_cases[which].spec, w->path, 20000, &err);
    ck_assert_msg(r == 1, "%s", err.text);
}

static void hang_up(wire *w, uint32_t grace_ms, const char *how_says)
{
    char     how[128] = "";
    uint64_t begun = xd_clock_ns();
    w->transport->hang_up(&w->pipe, grace_ms, how, sizeof(how));
    uint64_t ms = (xd_clock_ns() - begun) / XD_MS_NS;
    ck_assert_ptr_null(w->pipe);
    ck_assert_msg(ms < grace_ms + 2500, "it took %u ms", (unsigned)ms);
    ck_assert_msg(!how_says || strstr(how, how_says), "of its end it says: %s", how);
    nothing_is_left(&w->before);
}

/* Beside the peer: path.NAME, once it is there. */
static void read_beside(const wire *w, const char *name, xd_buf *ret)
{
    char path[300];
    snprintf(path, sizeof(path), "%s.%s", w->path, name);
    wait_for_file(path);
    ck_assert_int_eq(xd_path_read_file(path, MIB, ret, NULL), 0);
}

static void close_wire(wire *w)
{
    if (w->pipe)
        hang_up(w, 5000, NULL);
    nobody_runs(w->path);
    remove_peer(w->path);
}

/* Takes what there is; false at the end. */
static bool take_some(wire *w, uint32_t *got, uint32_t most)
{
    static uint8_t bytes[256 * 1024];
    for (;;) {
        ssize_t n = w->transport->read(w->pipe, bytes, sizeof(bytes));
        if (n == -EAGAIN)
            return true;
        if (n <= 0)
            return false;
        ck_assert_msg(*got + (size_t)n <= most, "more came than was sent");
        for (ssize_t i = 0; i < n; i++, ++*got)
            if (bytes[i] != w->table[*got % TABLE])
                ck_abort_msg("byte %u is another one", *got);
    }
}

/* 0, or what write said. */
static int give_some(wire *w, uint32_t *sent, uint32_t most)
{
    while (*sent < most) {
        const uint32_t at = *sent % TABLE;
        ssize_t        n = w->transport->write(w->pipe, w->table + at, XD_MIN(TABLE - at, most - *sent));
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return (int)n;
        ck_assert_int_gt(n, 0);
        *sent += (uint32_t)n;
    }
    return 0;
}

static void read_to_the_end(wire *w, uint32_t expected)
{
    uint32_t got = 0;
    while (take_some(w, &got, expected))
        (void)ready(w, XD_PIPE_READ, 1000);
    ck_assert_uint_eq(got, expected);
}

static void write_all(wire *w, uint32_t bytes)
{
    uint32_t sent = 0;
    while (sent < bytes) {
        ck_assert_int_eq(give_some(w, &sent, bytes), 0);
        if (sent < bytes)
            (void)ready(w, XD_PIPE_WRITE, 1000);
    }
}

static uint64_t memory_kib(void)
{
    xd_autobuf status = XD_BUF_INIT;
    ck_assert_int_eq(xd_path_read_file("/proc/self/status", 16384, &status, NULL), 0);
    const char *at = strstr(xd_buf_cstr(&status), "VmRSS:");
    return at ? strtoull(at + 6, NULL, 10) : 0;
}

/* To the peer: what it shall send. */
static void give_table(const wire *w)
{
    char made[300], there[300];
    snprintf(made, sizeof(made), "%s.new-table", w->path);
    snprintf(there, sizeof(there), "%s.table", w->path);
    ck_assert_int_eq(xd_path_write_file(made, (xd_bytes){ w->table, TABLE }, 0600, NULL), 0);
    ck_assert_int_eq(rename(made, there), 0);
}

/* "COUNT CRC" of so many bytes of the table. */
static void expect_sum(const wire *w, xd_buf *said, uint32_t bytes)
{
    uLong crc = crc32(0, NULL, 0);
    char  want[64];
    for (uint32_t at = 0; at < bytes; at += TABLE)
        crc = crc32(crc, w->table, XD_MIN(TABLE, bytes - at));
    snprintf(want, sizeof(want), "%u %lu", bytes, crc);
    ck_assert_str_eq(xd_buf_cstr(said), want);
}

#define BESIDE                                                                 \
    "import json, signal, zlib\n"                                              \
    "def beside(name, text):\n"                                                \
    "    with open(sys.argv[0] + '.new', 'w') as f: f.write(text)\n"           \
    "    os.rename(sys.argv[0] + '.new', sys.argv[0] + '.' + name)\n"          \
    "beside('pid', str(os.getpid()))\n"                                        \
    "def pattern():\n"                                                         \
    "    while not os.path.exists(sys.argv[0] + '.table'): time.sleep(0.01)\n" \
    "    return open(sys.argv[0] + '.table', 'rb').read()\n"

#define SUM                                   \
    "count = crc = 0\n"                       \
    "while True:\n"                           \
    "    data = sock.recv(65536)\n"           \
    "    if not data: break\n"                \
    "    count += len(data)\n"                \
    "    crc = zlib.crc32(data, crc)\n"       \
    "beside('sum', '%d %d' % (count, crc))\n" \
    "sys.stderr.write('last words\\n')\n"

/* ---- start ----------------------------------------------------------------------------------------------- */

/* Whatever is in its name; its arguments; the environment of a program here is ours, that of another host is not; and no descriptor
 * but those of the pipe, no signal held back. */
START_TEST(starts_what_it_is_told_to)
{
    static const char show[] =
        BESIDE "status = open('/proc/self/status').read()\n"
               "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
               "there = [n for n in fds if os.path.exists('/proc/self/fd/%d' % n)]\n"
               "beside('start', ' '.join(['[%s]' % a for a in sys.argv]) + '\\nSECRET=' + "
               "os.environ.get('XD_CONFORMANCE', '')\n"
               "    + '\\nfds=%s' % ','.join(map(str, there)) + '\\n' + [l for l in status.splitlines() if "
               "l.startswith('SigBlk')][0])\n"
               "sock.sendall(b'up')\n"
               "sock.recv(1)\n";
    const bool far = all_cases[_i].far, by_fd = all_cases[_i].transport->local || all_cases[_i].redials;
    xd_error   err = { 0 };
    xd_autobuf said = XD_BUF_INIT;
    char       path[300];
    wire       w = { .before = what_is_there() };
    ck_assert_int_eq(setenv("XD_CONFORMANCE", "a 'secret'", 1), 0);
    make_peer_in("/tmp/xd peer's \"$HOME\" `x`;\\ & -XXXXXX", show, w.path, sizeof(w.path));
    int r = open_spec(&w, all_cases[_i].transport, all_cases[_i].spec, w.path, 20000, &err);
    ck_assert_msg(r == 1, "%s", err.text);
    read_beside(&w, "start", &said);
    const char *text = xd_buf_cstr(&said);
    snprintf(path, sizeof(path), "[%s]", w.path);
    ck_assert_msg(strncmp(text, path, strlen(path)) == 0, "%s", text);
    ck_assert_msg(strstr(text, "[--output-limit] [12345]"), "%s", text);
    ck_assert_msg(strstr(text, by_fd ? "[--fd]" : "[--reconnect]"), "%s", text);
    ck_assert_msg(strstr(text, far ? "SECRET=\n" : "SECRET=a 'secret'\n"), "%s", text);
    ck_assert_msg(strstr(text, by_fd ? "fds=0,1,2,3,4\n" : "fds=0,1,2,3\n"), "%s", text);
    ck_assert_msg(strstr(text, "SigBlk:\t0000000000000000"), "%s", text);
    close_wire(&w);
}
END_TEST

/* ---- bytes ----------------------------------------------------------------------------------------------- */

/* 64 MiB there and back, at the same time; sshd makes new keys after each MiB of it. */
START_TEST(carries_64_mib_both_ways_whatever_the_bytes)
{
    wire     w;
    uint32_t sent = 0, got = 0;
    open_wire(&w, _i,
              BESIDE "while True:\n"
                     "    data = sock.recv(65536)\n"
                     "    if not data: break\n"
                     "    sock.sendall(data)\n");
    while (got < MUCH) {
        ck_assert_int_eq(give_some(&w, &sent, MUCH), 0);
        ck_assert(take_some(&w, &got, MUCH));
        if (got < MUCH)
            (void)ready(&w, XD_PIPE_READ | (sent < MUCH ? XD_PIPE_WRITE : 0), 1000);
    }
    close_wire(&w);
}
END_TEST

/* A thread that waits until it can write again is always woken, as long as the far end reads. Pieces of many lengths, so that the buffer fills at every moment of the thread that empties it. */
START_TEST(says_when_there_is_room)
{
    wire       w;
    xd_autobuf said = XD_BUF_INIT;
    uint32_t   sent = 0;
    open_wire(&w, _i, BESIDE SUM);
    for (uint32_t x = 1; sent < MUCH; x = x * 1103515245u + 12345u) {
        const uint32_t until = XD_MIN(MUCH, sent + 1 + (x >> 8) % (x >> 28 ? 3000u : 200000u));
        while (sent < until) {
            ck_assert_int_eq(give_some(&w, &sent, until), 0);
            if (sent < until)
                ck_assert_msg(ready(&w, XD_PIPE_WRITE, 20000) & XD_PIPE_WRITE,
                              "nobody says that there is room");
        }
    }
    w.transport->close(w.pipe);
    read_beside(&w, "sum", &said);
    expect_sum(&w, &said, MUCH);
    close_wire(&w);
}
END_TEST

static uint32_t number_beside(const wire *w, const char *name)
{
    xd_autobuf text = XD_BUF_INIT;
    read_beside(w, name, &text);
    return (uint32_t)strtoul(xd_buf_cstr(&text), NULL, 10);
}

/* The far end is stopped when nobody reads here: no memory, here or there, takes what it says. */
START_TEST(holds_whoever_sends_while_nobody_reads)
{
    wire           w;
    const uint64_t memory = memory_kib();
    open_wire(&w, _i,
              BESIDE "block, sent = pattern() * 2, 0\n"
                     "while sent < 64 << 20:\n"
                     "    part = block[sent % 65521:][:min(8192, (64 << 20) - sent)]\n"
                     "    sock.sendall(part)\n"
                     "    sent += len(part)\n"
                     "    if sent >= 64 << 20 or not sent // 8192 % 8: beside('sent', str(sent))\n"
                     "beside('sent', str(sent))\n"
                     "sock.close()\n"
                     "wait_end()\n");
    give_table(&w);
    uint32_t before = 0;
    for (int still = 0; still < 10; usleep(100000)) {
        uint32_t now = number_beside(&w, "sent");
        (void)ready(&w, 0, 0);
        still = now == before ? still + 1 : 0;
        before = now;
    }
    ck_assert_uint_gt(before, 0);
    ck_assert_msg(before < HELD, "%u bytes were taken that nobody read", before);
    ck_assert_uint_lt(memory_kib(), memory + 32 * 1024);
    read_to_the_end(&w, MUCH);
    ck_assert_uint_eq(number_beside(&w, "sent"), MUCH);
    close_wire(&w);
}
END_TEST

START_TEST(is_held_by_a_far_end_that_does_not_read)
{
    wire       w;
    xd_autobuf said = XD_BUF_INIT;
    uint32_t   sent = 0;
    open_wire(&w, _i, BESIDE "while not os.path.exists(sys.argv[0] + '.go'): time.sleep(0.01)\n" SUM);
    for (uint64_t since = xd_clock_ns(); xd_clock_ns() < since + XD_S_NS;) {
        const uint32_t before = sent;
        ck_assert_int_eq(give_some(&w, &sent, MUCH), 0);
        if (sent != before)
            since = xd_clock_ns();
        (void)ready(&w, XD_PIPE_WRITE, 50);
    }
    ck_assert_uint_gt(sent, 0);
    ck_assert_msg(sent < HELD, "%u bytes were taken that nobody read", sent);
    char go[300];
    snprintf(go, sizeof(go), "%s.go", w.path);
    ck_assert_int_eq(xd_path_write_file(go, (xd_bytes){ 0 }, 0600, NULL), 0);
    w.transport->close(w.pipe);
    read_beside(&w, "sum", &said);
    expect_sum(&w, &said, sent);
    close_wire(&w);
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------------------ */

/* What was taken arrives before the end does; what is said after that beside the pipe can still be heard. */
START_TEST(sends_all_before_it_closes)
{
    wire       w;
    xd_autobuf said = XD_BUF_INIT, beside = XD_BUF_INIT;
    open_wire(&w, _i, BESIDE SUM "beside('done', '')\n");
    write_all(&w, 4 * MIB + 7);
    w.transport->close(w.pipe);
    w.transport->close(w.pipe); /* again: nothing */
    for (;;) {
        char    text[256];
        ssize_t n = w.transport->text(w.pipe, text, sizeof(text));
        if (n == 0 || (n < 0 && n != -EAGAIN))
            break;
        if (n > 0)
            ck_assert_int_eq(xd_buf_add(&beside, text, (size_t)n), 0);
        else
            (void)ready(&w, 0, 1000);
    }
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&beside), "last words"));
    read_beside(&w, "sum", &said);
    expect_sum(&w, &said, 4 * MIB + 7);
    hang_up(&w, 5000, "ended");
    close_wire(&w);
}
END_TEST

/* It takes no more, but what it sends is read to its end; and how it ended is told. */
START_TEST(hears_a_far_end_that_listens_no_more)
{
    wire     w;
    uint32_t sent = 0, got = 0;
    bool     deaf = false;
    open_wire(&w, _i,
              BESIDE "if fd: sock.shutdown(socket.SHUT_RD)\n"
                     "else: os.close(0)\n"
                     "pattern()\n"
                     "time.sleep(0.3)\n"
                     "sock.sendall((pattern() * 65)[:4 << 20])\n"
                     "if fd: sock.close()\n"
                     "os._exit(7)\n");
    give_table(&w);
    while (take_some(&w, &got, 4 * MIB)) {
        deaf = deaf || give_some(&w, &sent, MUCH) < 0;
        (void)ready(&w, XD_PIPE_READ, 100);
    }
    ck_assert_uint_eq(got, 4 * MIB);
    hang_up(&w, 5000, "status 7");
    close_wire(&w);
}
END_TEST

START_TEST(hears_the_last_of_a_far_end_that_is_killed)
{
    wire w;
    open_wire(&w, _i,
              BESIDE "pattern()\n"
                     "time.sleep(0.1)\n"
                     "sock.sendall((pattern() * 2)[:100000])\n"
                     "os.kill(os.getpid(), signal.SIGKILL)\n");
    give_table(&w);
    read_to_the_end(&w, 100000);
    hang_up(&w, 5000, all_cases[_i].killed_says);
    close_wire(&w);
}
END_TEST

/* This end is killed: the far end hears that nobody is there any more, and nothing that carried the pipe stays. */
START_TEST(lets_go_when_this_end_is_killed)
{
    char       peer[256], eof[300], pid[300], number[16];
    char       line[3] = "";
    int        out[2];
    xd_error   err = { 0 };
    xd_proc    holder = XD_PROC_NONE;
    const left before = what_is_there();
    make_peer_in("/tmp/xd-peer-XXXXXX", BESIDE "sock.recv(1)\nbeside('eof', '')\n", peer, sizeof(peer));
    snprintf(number, sizeof(number), "%d", _i);
    ck_assert_int_eq(xd_os_pipe(out, 0, 0), 0);
    const char      *argv[] = { "/proc/self/exe", "--hold", number, all_cases[_i].spec, peer, NULL };
    const xd_proc_fd fds[] = { { out[1], 1 }, { 2, 2 } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true };
    ck_assert_msg(xd_proc_spawn(&args, &holder, &err) == 0, "%s", err.text);
    close(out[1]);
    (void)poll(&(struct pollfd){ .fd = out[0], .events = POLLIN }, 1, 20000);
    ck_assert_int_eq(read(out[0], line, 3), 3);
    close(out[0]);
    snprintf(eof, sizeof(eof), "%s.eof", peer);
    snprintf(pid, sizeof(pid), "%s.pid", peer);
    wait_for_file(pid); /* a pipe may stand before there is an agent at its far end */
    ck_assert_int_ne(access(eof, F_OK), 0);
    xd_proc_status status;
    ck_assert_int_eq(xd_proc_kill(&holder, SIGKILL), 0);
    ck_assert_int_eq(xd_proc_wait(&holder, true, &status), 1);
    xd_proc_close(&holder);
    wait_for_file(eof);
    nobody_runs(peer);
    nothing_is_left(&before);
    remove_peer(peer);
}
END_TEST

int xd_gateway_hold(const xd_transport *transport, const char *text, const char *agent)
{
    xd_error err = { 0 };
    xd_xspec spec;
    xd_pipe *pipe = NULL;
    int      r = xd_xspec_parse(&spec, text, &err);
    if (r == 0) {
        xd_target target = { .spec = &spec, .agent = agent, .output_limit = 12345, .timeout_ms = 20000 };
        r = transport->open(&pipe, &target, &err);
    }
    while (r == 0 && (r = transport->opened(pipe, &err)) == 0)
        (void)ready_of(pipe, XD_PIPE_READ | XD_PIPE_WRITE, 100);
    if (r < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    (void)!write(1, "up\n", 3);
    for (;;)
        (void)ready_of(pipe, XD_PIPE_READ, 1000);
}

/* A far end that hears nothing of the end holds nobody up. */
START_TEST(ends_within_its_time_whatever_the_far_end_does)
{
    wire w;
    open_wire(&w, _i,
              BESIDE
              "for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(n, signal.SIG_IGN)\n"
              "beside('ready', '')\ntime.sleep(60)\n");
    xd_autobuf said = XD_BUF_INIT;
    read_beside(&w, "ready", &said);
    const pid_t pid = (pid_t)number_beside(&w, "pid");
    hang_up(&w, 300, NULL);
    if (all_cases[_i].far) /* it is an agent's own business that it does end */
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
    close_wire(&w);
}
END_TEST

/* ---- faults, and what is left ----------------------------------------------------------------------------- */

/* Each kind has words of its own, and leaves nothing. */
START_TEST(names_each_fault)
{
    const xd_gateway_fault *f = all_cases[_i].faults;
    if (all_cases[_i].faultless)
        SKIP(all_cases[_i].faultless);
    ck_assert_ptr_nonnull(f);
    for (; f->words; f++) {
        xd_error    err = { 0 };
        wire        w = { .before = what_is_there() };
        uint64_t    begun = xd_clock_ns();
        const char *spec = f->spec ? f->spec : all_cases[_i].spec;
        int         r = open_spec(&w, all_cases[_i].transport, spec, f->agent ? f->agent : "/bin/true",
                          f->late ? 2000 : 20000, &err);
        ck_assert_msg(r < 0, "%s: it opened", spec);
        ck_assert_msg(strstr(err.text, f->words), "%s: '%s' is not in: %s", spec, f->words, err.text);
        ck_assert_msg(!strchr(err.text, '\n'), "%s", err.text);
        ck_assert_msg(!f->code || r == f->code, "%s: %d is not %d: %s", spec, r, f->code, err.text);
        ck_assert_uint_lt(xd_clock_ns() - begun, (f->late ? 6 : 15) * XD_S_NS);
        if (w.pipe)
            hang_up(&w, 0, NULL);
        nothing_is_left(&w.before);
    }
}
END_TEST

/* Again and again: what is used for one is used for the next. */
START_TEST(leaves_nothing_after_many_dials)
{
    const left before = what_is_there();
    for (int n = 0; n < 4; n++) {
        wire     w;
        uint32_t got = 0;
        open_wire(&w, _i, BESIDE "while sock.recv(1): pass\n");
        write_all(&w, 1000);
        ck_assert(take_some(&w, &got, 0));
        if (n & 1)
            w.transport->close(w.pipe);
        hang_up(&w, n & 2 ? 0 : 5000, NULL);
        close_wire(&w);
    }
    nothing_is_left(&before);
}
END_TEST
