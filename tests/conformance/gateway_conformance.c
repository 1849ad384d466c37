#include "tests/conformance/gateway_conformance.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/actor.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/broker.h"
#include "engine/journal.h"

static const xd_gateway_case *all_cases;
static uint32_t               cuts_max;
static uint32_t reconnect_ms = 30000; /* of the gateway that a test sets up; each is a process of its own */

/* ---- what is left of a test --------------------------------------------------------------------------------- */

/* Of this process. */
typedef struct left {
    int fds, threads;
} left;

static int count_in(const char *folder)
{
    int  n = 0;
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static left what_is_there(void)
{
    return (left){ count_in("/proc/self/fd"), count_in("/proc/self/task") };
}

static void show_descriptors(void)
{
    for (int fd = 0; fd < 256; fd++) {
        char    path[64], to[256];
        ssize_t n;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if ((n = readlink(path, to, sizeof(to))) >= 0)
            fprintf(stderr, "%d: %.*s\n", fd, (int)n, to);
    }
}

/* A thread that asks the resolver is waited for by nobody. */
static void nothing_is_left(const left *before)
{
    left now = what_is_there();
    for (int i = 0; i < 300 && (now.fds != before->fds || now.threads != before->threads); i++) {
        usleep(10000);
        now = what_is_there();
    }
    if (now.fds != before->fds)
        show_descriptors();
    ck_assert_msg(now.fds == before->fds, "%d descriptors were left", now.fds - before->fds);
    ck_assert_msg(now.threads == before->threads, "%d threads were left", now.threads - before->threads);
    ck_assert_msg(xd_os_children(getpid(), NULL, 0) == 0, "a process was left");
}

/* Nobody on this machine, which is the far end's, too, has this among the words that it was started with; soon. */
static int who_runs(const char *word, char *ret, size_t size)
{
    int            n = 0;
    struct dirent *e;
    DIR           *d = opendir("/proc");
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d))) {
        char       path[300];
        xd_autobuf line = XD_BUF_INIT;
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || strtol(e->d_name, NULL, 10) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
        if (xd_path_read_file(path, 1 << 20, &line, NULL) != 0 ||
            !memmem(line.data, line.len, word, strlen(word)))
            continue;
        n++;
        for (size_t i = 0; i < line.len; i++)
            line.data[i] = line.data[i] ? line.data[i] : ' ';
        snprintf(ret, size, "%s", xd_buf_cstr(&line));
    }
    closedir(d);
    return n;
}

static void nobody_runs(const char *word)
{
    char one[300] = "";
    for (int i = 0; i < 500 && who_runs(word, one, sizeof(one)); i++)
        usleep(10000);
    ck_assert_msg(who_runs(word, one, sizeof(one)) == 0, "it still runs: %s", one);
}

/* ---- the scheduler's place: keeps what comes ---------------------------------------------------------- */

typedef struct kept {
    uint16_t type;
    bool     journaled;
    xd_buf   frame;
} kept;

typedef struct fixture {
    pthread_mutex_t  lock;
    pthread_cond_t   news;
    kept            *at;
    size_t           count;
    _Atomic uint32_t delay_us; /* per message: a slow scheduler */
    bool             begins;   /* ENV_START and FINISH follow GATEWAY_UP */
    char             dir[64];
    xd_bus          *bus;
    xd_broker       *broker;
    xd_actor        *sched, *gateway;
    left             before;
} fixture;

typedef struct sched {
    fixture  *f;
    xd_actor *actor;
} sched;

static int sched_init(void *state, xd_actor *actor, const void *args)
{
    *(sched *)state = (sched){ .f = *(fixture *const *)args, .actor = actor };
    return 0;
}

/* Its collection and its workers, so that a peer may say what agents say. */
static int begin(const sched *self)
{
    xd_autobuf env = XD_BUF_INIT, finish = XD_BUF_INIT;
    xd_auto(xd_msg) *first = NULL, *second = NULL;
    XD_TRY(xd_wire_ENV_START_frame(&env, 0, 0, &(xd_wire_ENV_START){ 0 }));
    XD_TRY(xd_wire_FINISH_frame(&finish, 0, 0, &(xd_wire_FINISH){ 0 }));
    XD_TRY(xd_msg_new_take(&first, XD_MSG_ENV_START, &env));
    XD_TRY(xd_msg_new_take(&second, XD_MSG_FINISH, &finish));
    XD_TRY(xd_actor_send(self->actor, "gateway.3", &first));
    return xd_actor_send(self->actor, "gateway.3", &second);
}

static int sched_other(void *state, const xd_msg *in)
{
    fixture *f = ((sched *)state)->f;
    kept     k = { .type = in->type, .journaled = (in->flags & XD_FLAG_JOURNAL) != 0, .frame = XD_BUF_INIT };
    uint32_t delay_us = atomic_load(&f->delay_us);
    if (delay_us)
        usleep(delay_us);
    XD_TRY(xd_buf_add_bytes(&k.frame, in->body));
    pthread_mutex_lock(&f->lock);
    kept *more = realloc(f->at, (f->count + 1) * sizeof(*more));
    if (more) {
        f->at = more;
        f->at[f->count++] = k;
    }
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
    if (more && f->begins && in->type == XD_MSG_GATEWAY_UP)
        return begin(state);
    return more ? 0 : -ENOMEM;
}

static void sched_fini(void *state)
{
    (void)state;
}

static const xd_actor_spec sched_spec = { .name = "sched",
                                          .size = sizeof(sched),
                                          .window = 65536,
                                          .init = sched_init,
                                          .fini = sched_fini,
                                          .other = sched_other };

/* The n-th message of this type (from 0), or NULL after so many seconds. */
static const kept *await(fixture *f, uint16_t type, size_t nth, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec +=
        seconds < 5 ? seconds : 6 * seconds; /* long ones wait for what comes: a busy machine has time */
    pthread_mutex_lock(&f->lock);
    const kept *found = NULL;
    for (int r = 0; !found && r == 0;) {
        size_t seen = 0;
        for (size_t i = 0; i < f->count && !found; i++)
            if (f->at[i].type == type && seen++ == nth)
                found = &f->at[i];
        if (!found)
            r = pthread_cond_timedwait(&f->news, &f->lock, &until);
    }
    static _Thread_local kept copy; /* `at` moves when it grows */
    if (found)
        copy = *found;
    pthread_mutex_unlock(&f->lock);
    return found ? &copy : NULL;
}

static const uint8_t *body_of(const kept *k, size_t *len)
{
    *len = k->frame.len - XD_FRAME_HEADER;
    return k->frame.data + XD_FRAME_HEADER;
}

/* ---- start and end ------------------------------------------------------------------------------------- */

/* Each 0: the default. */
static void setup_with(fixture *f, const char *spec_text, const xd_transport *transport, const char *agent,
                       uint32_t timeout_ms, uint32_t silence_ms)
{
    xd_error    err = { 0 };
    xd_xspec    spec;
    char        path[128];
    xd_journal *journal = NULL;
    fixture    *self = f;
    *f = (fixture){ .lock = PTHREAD_MUTEX_INITIALIZER,
                    .news = PTHREAD_COND_INITIALIZER,
                    .begins = strstr(agent, "/xd-peer-"),
                    .before = what_is_there() };
    snprintf(f->dir, sizeof(f->dir), "/tmp/xd-gateway-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    snprintf(path, sizeof(path), "%s/journal", f->dir);
    ck_assert_int_eq(xd_journal_open(&journal, path, "0123456789abcdef0123456789abcdef", false, &err), 0);
    xd_broker_run_args run = { .id = "0123456789abcdef0123456789abcdef",
                               .owner = "sched",
                               .journal = &journal };
    ck_assert_msg(xd_broker_start(&f->broker, NULL, &err) == 0, "%s", err.text);
    ck_assert_msg(xd_broker_open(f->broker, &run, &f->bus, &err) == 0, "%s", err.text);
    ck_assert_msg(xd_actor_start(&f->sched, f->bus, &sched_spec, "sched", &self, &err) == 0, "%s", err.text);
    ck_assert_msg(xd_xspec_parse(&spec, spec_text, &err) == 0, "%s", err.text);
    xd_gateway_args args = {
        .choice = { .transport = transport },
        .number = 3,
        .sched = "sched",
        .collector = "sched",
        .target = { .spec = &spec, .agent = agent, .cache_dir = f->dir, .output_limit = XD_OUTPUT_DEFAULT },
        .session = 77,
        .timeout_ms = timeout_ms,
        .silence_ms = silence_ms,
        .reconnect_ms = reconnect_ms,
        .cuts_max = cuts_max,
    };
    char address[XD_ADDRESS_LEN];
    xd_gateway_address(3, address, sizeof(address));
    ck_assert_msg(xd_actor_start(&f->gateway, f->bus, &xd_gateway_spec, address, &args, &err) == 0, "%s",
                  err.text);
    xd_xspec_release(&spec);
}

static void setup(fixture *f, int which, const char *agent, uint32_t silence_ms)
{
    setup_with(f, all_cases[which].spec, all_cases[which].transport, agent, 0, silence_ms);
}

static void end_actor(xd_actor **a)
{
    int reason = -1;
    if (!*a)
        return;
    xd_actor_ask_stop(*a);
    ck_assert_int_eq(xd_actor_join(*a, xd_clock_ns() + 20 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    *a = xd_actor_free(*a);
}

static void teardown(fixture *f)
{
    end_actor(&f->gateway);
    end_actor(&f->sched);
    f->broker = xd_broker_stop(f->broker);
    f->bus = xd_bus_free(f->bus);
    for (size_t i = 0; i < f->count; i++)
        xd_buf_release(&f->at[i].frame);
    free(f->at);
    (void)xd_path_remove_tree(f->dir);
    nothing_is_left(&f->before);
}

/* GATEWAY_DOWN, with this in its reason. */
static void expect_down(fixture *f, bool expected, const char *text, int seconds)
{
    size_t      len;
    const kept *k = await(f, XD_MSG_GATEWAY_DOWN, 0, seconds);
    ck_assert_msg(k != NULL, "no GATEWAY_DOWN");
    ck_assert(k->journaled);
    xd_wire_GATEWAY_DOWN down;
    const uint8_t       *body = body_of(k, &len);
    ck_assert_int_eq(xd_wire_GATEWAY_DOWN_decode(body, len, &down), 0);
    ck_assert_int_eq(down.gateway, 3);
    ck_assert_int_eq(down.expected, expected);
    xd_autofree char *reason = xd_bytes_dup(down.reason);
    ck_assert_msg(!text || strstr(reason, text) != NULL, "reason is: %s", reason);
}

/* ---- dumb peers: agents of a few lines of Python ------------------------------------------------------- */

static const char PEER[] =
    "import os, socket, struct, sys, time\n"
    "def option(name): return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None\n"
    /* Standard input and output, or those of another pipe, as a socket would be. */
    "class Pair:\n"
    "    def __init__(self, pair=(0, 1)): self.pair = pair\n"
    "    def recv(self, n): return os.read(self.pair[0], n)\n"
    "    def setblocking(self, on): os.set_blocking(self.pair[0], on)\n"
    /* Both streams are closed: sshd reports the end of a command only when its standard error has ended, too. */
    "    def close(self):\n"
    "        for fd in self.pair: os.close(fd)\n"
    "        if self.pair == (0, 1): os.dup2(os.open('/dev/null', os.O_RDWR), 2)\n"
    "        elif by: by.close()\n"
    "        self.pair = ()\n"
    "    def sendall(self, data):\n"
    "        while data: data = data[os.write(self.pair[1], data):]\n"
    "fd, name, by = option('--fd'), option('--reconnect'), None\n"
    "place = '\\0xd-peer-%s' % (name or option('--attach'))\n"
    "if '--attach' in sys.argv:\n"
    "    unix = socket.socket(socket.AF_UNIX)\n"
    "    gone = unix.connect_ex(place)\n"
    "    os.write(1, b'xd:%s:%s\\n' % (option('--attach').encode(), b'gone' if gone else b'attached'))\n"
    "    if not gone:\n"
    "        socket.send_fds(unix, [b'x'], [0, 1])\n"
    "        os.close(0)\n"
    "        os.close(1)\n"
    "        unix.recv(1)\n"
    "    sys.exit(0)\n"
    "sock = socket.socket(fileno=int(fd)) if fd else Pair()\n"
    "redial = socket.socket(fileno=int(option('--redial'))) if fd else socket.socket(socket.AF_UNIX)\n"
    "if not fd:\n"
    "    redial.bind(place)\n"
    "    redial.listen()\n"
    /* The next pipe that is brought. */
    "def take():\n"
    "    global by\n"
    "    redial.settimeout(60)\n" /* no gateway of these tests is away for so long: it does not come back */
    "    try:\n"
    "        if not fd: by = redial.accept()[0]\n"
    "        fds = socket.recv_fds(redial if fd else by, 1, 2)[1]\n"
    "    except socket.timeout: sys.exit(0)\n"
    "    if not fds: sys.exit(0)\n"
    "    return socket.socket(fileno=fds[0]) if fd else Pair(fds)\n"
    /* Until the gateway hangs up; where that cannot be heard, at once. */
    "def wait_end():\n"
    "    if fd: redial.recv(1)\n"
    "def frame(kind, body, seq=0): sock.sendall(struct.pack('<IHHQ', len(body), kind, 0, seq) + body)\n"
    "def text(b): return struct.pack('<I', len(b)) + b\n"
    "def exactly(n):\n"
    "    data = b''\n"
    "    while len(data) < n:\n"
    "        more = sock.recv(n - len(data))\n"
    "        if not more: sys.exit(0)\n"
    "        data += more\n"
    "    return data\n"
    "def get():\n"
    "    n, kind, flags, seq = struct.unpack('<IHHQ', exactly(16))\n"
    "    return kind, seq, exactly(n)\n"
    "PREAMBLE, TOKEN = b'\\x89xd\\r\\n\\x1a\\n\\x01', b'0123456789abcdef'\n"
    "def say_hello(low=1, high=1, caps=0, session=0, last=0, token=TOKEN):\n"
    "    sock.sendall(PREAMBLE)\n"
    "    frame(1, struct.pack('<HHQ', low, high, caps) + text(b'peer') + text(b'host') + text(b'system') + "
    "struct.pack('<IIQQQ', os.getpid(), 2, 1, session, last) + text(token))\n"
    "def hello(*args, **more):\n"
    "    say_hello(*args, **more)\n"
    "    exactly(8)\n"
    /* Another pipe, after its end of this one is closed: the number up to which the gateway has taken its records. */
    "def another():\n"
    "    global sock\n"
    "    sock.close()\n"
    "    sock = take()\n"
    "    assert exactly(8) == PREAMBLE\n"
    "    kind, seq, body = get()\n"
    "    assert (kind, seq, body[-16:]) == (2, 0, TOKEN)\n"
    "    assert struct.unpack_from('<Q', body, 10)[0] == 77\n"
    "    return struct.unpack_from('<Q', body, 26)[0]\n"
    "def again(last=2, session=77, token=TOKEN):\n"
    "    taken = another()\n"
    "    say_hello(caps=2, session=session, last=last, token=token)\n"
    "    return taken\n"
    "def output(n, seq, data): frame(38, struct.pack('<HBI', 65535, 1, n) + text(data) + struct.pack('<Q', "
    "0), "
    "seq)\n"
    "def done(seq):\n"
    "    frame(44, struct.pack('<iQQQ', 0, 0, 0, 0), seq)\n"
    "    frame(5, struct.pack('<i', 0), seq + 1)\n"
    "    wait_ack(seq + 1)\n"
    "def begin():\n"
    "    for kind in (2, 16, 22): assert get()[0] == kind\n"
    "    frame(3, struct.pack('<Q', 2))\n"
    "def wait_ack(last):\n"
    "    while True:\n"
    "        kind, seq, body = get()\n"
    "        if kind == 3 and struct.unpack('<Q', body)[0] >= last: return\n";

/* The first python3 on PATH that is no script: those that look for the right interpreter take their time, also to hear that nobody waits for it any more. */
static const char *python_program(void)
{
    static char       found[300] = "";
    xd_autofree char *path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin");
    char             *rest = path;
    for (char *dir; !*found && (dir = strsep(&rest, ":"));) {
        char file[300], begin[2] = "#!";
        snprintf(file, sizeof(file), "%s/python3", dir);
        xd_autoclose int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && access(file, X_OK) == 0 && read(fd, begin, 2) == 2 && memcmp(begin, "#!", 2) != 0)
            snprintf(found, sizeof(found), "%s", file);
    }
    return *found ? found : "/usr/bin/env python3";
}

/* Writes the peer's program into a new folder with such a name. */
static void make_peer_in(const char *folder, const char *rest, char *path, size_t size)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s", folder);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, size, "%s/agent", dir);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fprintf(out, "#!%s\n", python_program());
    fputs(PEER, out);
    fputs(rest, out);
    fclose(out);
    ck_assert_int_eq(chmod(path, 0700), 0);
}

static void make_peer(const char *rest, char *path, size_t size)
{
    make_peer_in("/tmp/xd-peer-XXXXXX", rest, path, size);
}

static void remove_peer(const char *path)
{
    xd_autofree char *dir = xd_path_dir(path);
    (void)xd_path_remove_tree(dir);
}

static void real_agent(char *path, size_t size)
{
    const char *env = getenv("XD_AGENT");
    snprintf(path, size, "%s", env ? env : XD_TEST_BIN_DIR "/xdagent");
}

#define WITH_PEER(f, program, silence_ms)   \
    fixture f;                              \
    char    path[128];                      \
    make_peer(program, path, sizeof(path)); \
    setup(&f, _i, path, silence_ms)
#define END_PEER(f) \
    teardown(&f);   \
    remove_peer(path)

/* ---- the suite ----------------------------------------------------------------------------------------- */

#define SKIP(why)                                                                                      \
    do {                                                                                               \
        printf("SKIP %s: %.*s: %s\n", all_cases[_i].name, (int)strlen(__func__) - 3, __func__, (why)); \
        return;                                                                                        \
    } while (0)

START_TEST(dials_the_agent)
{
    fixture f;
    char    path[512];
    size_t  len;
    real_agent(path, sizeof(path));
    setup(&f, _i, path, 0);
    const kept *k = await(&f, XD_MSG_GATEWAY_UP, 0, 10);
    ck_assert_msg(k != NULL, "no GATEWAY_UP");
    ck_assert(k->journaled);
    xd_wire_GATEWAY_UP up;
    const uint8_t     *body = body_of(k, &len);
    ck_assert_int_eq(xd_wire_GATEWAY_UP_decode(body, len, &up), 0);
    ck_assert_int_eq(up.gateway, 3);
    ck_assert_uint_ge(up.cpus, 1);
    ck_assert_uint_gt(up.host.len, 0);
    teardown(&f);
}
END_TEST

START_TEST(names_what_it_tried)
{
    fixture f;
    if (all_cases[_i].faultless)
        SKIP(all_cases[_i].faultless);
    setup(&f, _i, "/nowhere/xdagent", 0);
    expect_down(&f, false, "/nowhere/xdagent", 10);
    teardown(&f);
}
END_TEST

START_TEST(refuses_another_version)
{
    WITH_PEER(f, "hello(7, 9)\nkind, seq, body = get()\nsys.stderr.write('peer got %d\\n' % kind)\n", 0);
    expect_down(&f, false, "versions 7 to 9 of the protocol, this program 1 to 1", 10);
    END_PEER(f);
}
END_TEST

START_TEST(skips_a_banner)
{
    WITH_PEER(f, "sock.sendall(b'Welcome to this host\\r\\n' * 20)\nhello()\nget()\ntime.sleep(60)\n", 0);
    ck_assert_ptr_nonnull(await(&f, XD_MSG_GATEWAY_UP, 0, 10));
    /* It neither reads nor ends when it is hung up on: it is killed. */
    END_PEER(f);
}
END_TEST

START_TEST(drops_what_is_no_agent)
{
    WITH_PEER(f, "sock.sendall(b'login: ' * 50000)\n", 0);
    expect_down(&f, false, "does not speak xd's protocol", 10);
    END_PEER(f);
}
END_TEST

START_TEST(does_not_wait_for_ever)
{
    fixture f;
    char    path[128];
    make_peer("exactly(9)\n", path, sizeof(path));
    setup_with(&f, all_cases[_i].spec, all_cases[_i].transport, path, 4000, 0);
    expect_down(&f, false, "HELLO in time", 10);
    END_PEER(f);
}
END_TEST

START_TEST(tells_of_an_end_in_the_middle)
{
    WITH_PEER(f,
              "hello()\nbegin()\noutput(0xffffffff, 1, b'first')\nsock.sendall(struct.pack('<IHHQ', 1000, "
              "38, 0, 2) + "
              "b'half')\nsys.exit(9)\n",
              0);
    expect_down(&f, false, "status 9", 10);
    ck_assert_ptr_nonnull(await(&f, XD_MSG_OUTPUT, 0, 1)); /* what was whole arrived */
    ck_assert_ptr_null(await(&f, XD_MSG_OUTPUT, 1, 0));
    END_PEER(f);
}
END_TEST

START_TEST(shows_the_stderr_of_the_agent)
{
    WITH_PEER(f, "sys.stderr.write('no library\\x1b[31m here\\n')\nsys.exit(3)\n", 0);
    const kept *k = await(&f, XD_MSG_NOTE, 0, 10);
    ck_assert_ptr_nonnull(k);
    xd_buf frame = k->frame;
    ck_assert_ptr_nonnull(memmem(frame.data, frame.len, "no library\\x1b", 13)); /* made harmless */
    expect_down(&f, false, "status 3", 10);
    END_PEER(f);
}
END_TEST

/* They come later than the end of its pipe, whose other end it leaves first. */
static void last_words(int which, int caps)
{
    fixture f;
    char    path[128], program[400];
    snprintf(program, sizeof(program),
             "hello(caps=%d)\nbegin()\nif fd:\n    redial.close()\n    sock.close()\nelse:\n    "
             "os.close(0)\n    os.close(1)\n"
             "time.sleep(0.3)\nsys.stderr.write('out of ideas\\n')\nsys.exit(3)\n",
             caps);
    make_peer(program, path, sizeof(path));
    setup(&f, which, path, 0);
    expect_down(&f, false, "the connection to the agent ended", 10);
    const kept *k = await(&f, XD_MSG_NOTE, 0, 0);
    ck_assert_ptr_nonnull(k);
    ck_assert_ptr_nonnull(memmem(k->frame.data, k->frame.len, "out of ideas", 12));
    END_PEER(f);
}

START_TEST(hears_the_last_words)
{
    last_words(_i, 0);
}
END_TEST

START_TEST(hears_the_last_words_of_one_that_could_return)
{
    last_words(_i, 2);
}
END_TEST

static void drops_within(int which, const char *program, const char *text, int seconds)
{
    fixture f;
    char    path[128];
    make_peer(program, path, sizeof(path));
    setup(&f, which, path, 0);
    expect_down(&f, false, text, seconds);
    END_PEER(f);
}

static void drops_bad_frames(int which, const char *program, const char *text)
{
    drops_within(which, program, text, 10);
}

START_TEST(drops_a_malformed_record)
{
    drops_bad_frames(_i, "hello()\nbegin()\nframe(38, b'xx', 1)\nexactly(99)\n", "OUTPUT: malformed");
}
END_TEST

START_TEST(drops_a_record_of_the_other_direction)
{
    drops_bad_frames(_i, "hello()\nbegin()\nframe(18, b'\\0\\0\\0\\0', 1)\nexactly(99)\n",
                     "which agents may not send");
}
END_TEST

START_TEST(drops_who_leaves_a_record_out)
{
    drops_bad_frames(_i, "hello()\nget()\noutput(0, 2, b'x')\nexactly(99)\n", "missing");
}
END_TEST

START_TEST(drops_what_is_no_frame)
{
    drops_bad_frames(_i, "hello()\nbegin()\nsock.sendall(b'\\xff' * 16)\nexactly(99)\n",
                     "not a frame of the protocol");
}
END_TEST

START_TEST(drops_who_numbers_no_record)
{
    drops_bad_frames(_i, "hello()\nbegin()\noutput(0xffffffff, 0, b'x')\nexactly(99)\n",
                     "outside of the sequence");
}
END_TEST

START_TEST(drops_an_early_bye)
{
    drops_bad_frames(_i, "hello()\nbegin()\nframe(5, struct.pack('<i', 0), 1)\nexactly(99)\n",
                     "BYE: it may not come");
}
END_TEST

START_TEST(drops_who_floods)
{
    drops_bad_frames(_i,
                     "hello()\nbegin()\nfor n in range(9999): frame(43, struct.pack('<I', 0))\nexactly(99)\n",
                     "flood");
}
END_TEST

/* ---- a dial that waits ---------------------------------------------------------------------------------- */

/* Ended within a second, whatever it waits for; teardown() looks whether something is left. */
static void ends_at_once(fixture *f)
{
    uint64_t begun = xd_clock_ns();
    end_actor(&f->gateway);
    uint64_t ms = (xd_clock_ns() - begun) / XD_MS_NS;
    ck_assert_msg(ms < 1000, "it took %u ms", (unsigned)ms);
    teardown(f);
}

static void wait_for_file(const char *path)
{
    for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++)
        usleep(10000);
    ck_assert_int_eq(access(path, F_OK), 0);
}

/* Goes down without having opened. */
static void does_not_open(const xd_gateway_fault *how, uint32_t timeout_ms)
{
    fixture f;
    char    path[512];
    real_agent(path, sizeof(path));
    setup_with(&f, how->spec, how->transport, how->agent ? how->agent : path, timeout_ms, 0);
    expect_down(&f, false, how->words, 10);
    teardown(&f);
}

START_TEST(is_given_up_at_once_while_it_opens)
{
    fixture                 f;
    char                    path[512];
    const xd_gateway_fault *never = all_cases[_i].never;
    if (!never)
        SKIP("it opens at once");
    real_agent(path, sizeof(path));
    setup_with(&f, never->spec, never->transport, path, 0, 0);
    ck_assert_ptr_null(await(&f, XD_MSG_GATEWAY_DOWN, 0, 1)); /* it has begun, and is at it */
    ends_at_once(&f);
}
END_TEST

START_TEST(does_not_open_for_ever)
{
    if (!all_cases[_i].never)
        SKIP("it opens at once");
    does_not_open(all_cases[_i].never, 1000);
}
END_TEST

START_TEST(says_why_it_does_not_open)
{
    if (all_cases[_i].faultless)
        SKIP(all_cases[_i].faultless);
    ck_assert_ptr_nonnull(all_cases[_i].fails);
    does_not_open(all_cases[_i].fails, 0);
}
END_TEST

/* Neither HELLO nor the end of its pipe moves this one. */
START_TEST(is_given_up_at_once_before_hello)
{
    char there[160];
    WITH_PEER(f, "open(sys.argv[0] + '.up', 'w').close()\ntime.sleep(60)\n", 0);
    snprintf(there, sizeof(there), "%s.up", path);
    wait_for_file(there);
    ends_at_once(&f);
    remove_peer(path);
}
END_TEST

START_TEST(carries_big_frames_both_ways)
{
    size_t     len;
    xd_autobuf frame = XD_BUF_INIT, list = XD_BUF_INIT;
    WITH_PEER(f,
              "hello()\nbegin()\noutput(0xffffffff, 1, b'x' * (15 << 20))\n"
              "kind, seq, body = get()\n"
              "while kind == 3: kind, seq, body = get()\n"
              "frame(42, struct.pack('<i', 6) + text(b'%d %d %d' % (kind, seq, len(body))), 2)\n"
              "done(3)\n",
              0);
    const kept *k = await(&f, XD_MSG_OUTPUT, 0, 20);
    ck_assert_ptr_nonnull(k);
    ck_assert_uint_gt(k->frame.len, 15u << 20);
    ck_assert_int_eq(xd_buf_fill(&list, 0, 4 * 1000000), 0);
    xd_wire_FINISH m = { .failed = { .count = 1000000, .ptr = list.data, .len = list.len } };
    ck_assert_int_eq(xd_wire_FINISH_frame(&frame, 0, 0, &m), 0);
    char want[32];
    snprintf(want, sizeof(want), "22 3 %zu", frame.len - XD_FRAME_HEADER);
    ck_assert_int_eq(xd_bus_post(f.bus, "", "gateway.3", XD_MSG_FINISH, frame.data, frame.len), 0);
    k = await(&f, XD_MSG_ENV_FAILED, 0, 20);
    ck_assert_ptr_nonnull(k);
    xd_wire_ENV_FAILED back;
    const uint8_t     *body = body_of(k, &len);
    ck_assert_int_eq(xd_wire_ENV_FAILED_decode(body, len, &back), 0);
    ck_assert(xd_bytes_eq_str(back.text, want));
    expect_down(&f, true, NULL, 10);
    END_PEER(f);
}
END_TEST

START_TEST(gives_up_who_does_not_acknowledge)
{
    WITH_PEER(f, "hello()\nwhile True: get()\n", 2000);
    expect_down(&f, false, "the agent is silent", 20);
    END_PEER(f);
}
END_TEST

/* Silence is no fault of an agent that owes nothing. */
START_TEST(waits_for_who_has_acknowledged)
{
    WITH_PEER(f, "hello()\nbegin()\ntime.sleep(4)\ndone(1)\n", 2000);
    expect_down(&f, true, NULL, 20);
    END_PEER(f);
}
END_TEST

/* One that can answer PING is asked when nothing has come for a while, again and again, and given up when it does not. */
START_TEST(asks_who_is_quiet)
{
    WITH_PEER(
        f,
        "hello(caps=1)\nbegin()\nfor n in range(4):\n    kind, seq, body = get()\n    assert (kind, seq, "
        "body) == "
        "(6, 0, b'')\n    frame(7, b'')\ndone(1)\n",
        2000);
    expect_down(&f, true, NULL, 30);
    END_PEER(f);
}
END_TEST

START_TEST(gives_up_who_does_not_answer)
{
    WITH_PEER(f, "hello(caps=1)\nbegin()\nget()\nframe(7, b'')\nwhile True: get()\n", 2000);
    expect_down(&f, false, "the agent is silent: for 2 s it has not answered", 30);
    END_PEER(f);
}
END_TEST

/* What says something is not asked. */
START_TEST(does_not_ask_who_is_heard)
{
    WITH_PEER(f,
              "hello(caps=1)\nbegin()\nfor n in range(60):\n    frame(43, struct.pack('<I', 0))\n    "
              "time.sleep(0.05)\nsock.setblocking(False)\ntry: sock.recv(1); sys.exit(1)\nexcept "
              "BlockingIOError: pass\n"
              "sock.setblocking(True)\ndone(1)\n",
              8000); /* it would be asked after a quarter of that */
    expect_down(&f, true, NULL, 30);
    END_PEER(f);
}
END_TEST

#define MANY 5000

START_TEST(loses_nothing_when_the_scheduler_is_slow)
{
    WITH_PEER(f,
              "hello()\nbegin()\nfor n in range(5000): output(0xffffffff, n + 1, b'%d ' % n + b'y' * "
              "1000)\ndone(5001)\n",
              0);
    atomic_store(&f.delay_us, 200);
    expect_down(&f, true, NULL, 60);
    uint32_t next = 0;
    for (size_t i = 0; i < f.count; i++) {
        size_t         len;
        xd_wire_OUTPUT out;
        if (f.at[i].type != XD_MSG_OUTPUT)
            continue;
        const uint8_t *body = body_of(&f.at[i], &len);
        ck_assert_int_eq(xd_wire_OUTPUT_decode(body, len, &out), 0);
        ck_assert_uint_eq(strtoul((const char *)out.data.ptr, NULL, 10), next++);
    }
    ck_assert_uint_eq(next, MANY);
    END_PEER(f);
}
END_TEST

START_TEST(does_not_record_progress)
{
    WITH_PEER(f, "hello()\nbegin()\nframe(43, struct.pack('<I', 0))\ndone(1)\n", 0);
    const kept *k = await(&f, XD_MSG_PROGRESS, 0, 10);
    ck_assert_ptr_nonnull(k);
    ck_assert(!k->journaled);
    expect_down(&f, true, NULL, 10);
    END_PEER(f);
}
END_TEST

/* A suite's process, as far as the gateway is concerned: sh in the place of python. */
static void start_sleeper(fixture *f)
{
    xd_autobuf        frame = XD_BUF_INIT;
    char              python[128];
    xd_wire_ENV_START m = { .chdir = xd_bytes_str(f->dir), .spec = XD_BYTES_LIT("test") };
    snprintf(python, sizeof(python), "sh -c 'echo $$ > pid.new; mv pid.new pid; sleep 300 & wait'");
    m.python = xd_bytes_str(python);
    ck_assert_int_eq(xd_wire_ENV_START_frame(&frame, 0, 0, &m), 0);
    ck_assert_int_eq(xd_bus_post(f->bus, "", "gateway.3", XD_MSG_ENV_START, frame.data, frame.len), 0);
}

static pid_t sleeper(fixture *f)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/pid", f->dir);
    for (int i = 0; i < 1000; i++, usleep(10000)) {
        xd_autobuf text = XD_BUF_INIT;
        if (xd_path_read_file(path, 64, &text, NULL) == 0)
            return (pid_t)strtol(xd_buf_cstr(&text), NULL, 10);
    }
    ck_abort_msg("the agent did not start what it was told to");
    return -1;
}

static void expect_gone(pid_t pid)
{
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++)
        usleep(10000);
    ck_assert_int_ne(kill(pid, 0), 0);
}

static void runs_a_sleeper(fixture *f, int which)
{
    char path[512];
    real_agent(path, sizeof(path));
    setup(f, which, path, 0);
    ck_assert_ptr_nonnull(await(f, XD_MSG_GATEWAY_UP, 0, 10));
    start_sleeper(f);
}

START_TEST(leaves_nothing_alive)
{
    fixture f;
    runs_a_sleeper(&f, _i);
    pid_t pid = sleeper(&f);
    end_actor(&f.gateway);
    expect_gone(pid);
    teardown(&f);
}
END_TEST

/* The first xdagent above a process. */
static pid_t agent_of(pid_t pid)
{
    char  comm[32] = "";
    char  path[64];
    pid_t parent = 0;
    for (; pid > 1; pid = parent) {
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *in = fopen(path, "re");
        ck_assert_ptr_nonnull(in);
        ck_assert_int_eq(fscanf(in, "%*d (%31[^)]) %*c %d", comm, &parent), 2);
        fclose(in);
        if (strcmp(comm, "xdagent") == 0)
            return pid;
    }
    ck_abort_msg("no agent is above it");
    return -1;
}

START_TEST(tells_of_a_killed_agent)
{
    fixture f;
    pid_t   agents[8];
    runs_a_sleeper(&f, _i);
    pid_t pid = sleeper(&f);
    if (all_cases[_i].far) {
        ck_assert_int_eq(kill(agent_of(pid), SIGKILL), 0);
        expect_down(&f, false, "the connection to the agent ended", 15);
    } else {
        ck_assert_int_eq(xd_os_children(getpid(), agents, 8), 1);
        ck_assert_int_eq(kill(agents[0], SIGKILL), 0);
        expect_down(&f, false, "killed by SIGKILL", 15);
    }
    expect_gone(pid);
    teardown(&f);
}
END_TEST

#include "tests/conformance/gateway_cut.c" /* the same program */
#include "tests/conformance/gateway_pipe.c"

#define TESTS(X)                                      \
    X(dials_the_agent)                                \
    X(names_what_it_tried)                            \
    X(refuses_another_version)                        \
    X(skips_a_banner)                                 \
    X(drops_what_is_no_agent)                         \
    X(does_not_wait_for_ever)                         \
    X(tells_of_an_end_in_the_middle)                  \
    X(shows_the_stderr_of_the_agent)                  \
    X(hears_the_last_words)                           \
    X(hears_the_last_words_of_one_that_could_return)  \
    X(drops_a_malformed_record)                       \
    X(drops_a_record_of_the_other_direction)          \
    X(drops_who_leaves_a_record_out)                  \
    X(drops_what_is_no_frame)                         \
    X(drops_who_numbers_no_record)                    \
    X(drops_an_early_bye)                             \
    X(drops_who_floods)                               \
    X(is_given_up_at_once_while_it_opens)             \
    X(does_not_open_for_ever)                         \
    X(says_why_it_does_not_open)                      \
    X(is_given_up_at_once_before_hello)               \
    X(carries_big_frames_both_ways)                   \
    X(gives_up_who_does_not_acknowledge)              \
    X(waits_for_who_has_acknowledged)                 \
    X(asks_who_is_quiet)                              \
    X(gives_up_who_does_not_answer)                   \
    X(does_not_ask_who_is_heard)                      \
    X(loses_nothing_when_the_scheduler_is_slow)       \
    X(does_not_record_progress)                       \
    X(leaves_nothing_alive)                           \
    X(tells_of_a_killed_agent)                        \
    X(takes_up_a_cut_pipe)                            \
    X(sends_again_what_was_not_taken)                 \
    X(takes_up_a_pipe_that_was_cut_in_the_greeting)   \
    X(acknowledges_again)                             \
    X(drops_who_returns_with_another_token)           \
    X(drops_who_returns_from_another_session)         \
    X(drops_who_returns_from_the_future)              \
    X(drops_who_returns_from_the_past)                \
    X(drops_who_returns_without_hello)                \
    X(drops_who_is_cut_for_ever)                      \
    X(drops_who_cannot_return)                        \
    X(gives_up_who_does_not_return)                   \
    X(tells_at_once_of_an_agent_that_has_ended)       \
    X(starts_what_it_is_told_to)                      \
    X(carries_64_mib_both_ways_whatever_the_bytes)    \
    X(says_when_there_is_room)                        \
    X(holds_whoever_sends_while_nobody_reads)         \
    X(is_held_by_a_far_end_that_does_not_read)        \
    X(sends_all_before_it_closes)                     \
    X(hears_a_far_end_that_listens_no_more)           \
    X(hears_the_last_of_a_far_end_that_is_killed)     \
    X(lets_go_when_this_end_is_killed)                \
    X(ends_within_its_time_whatever_the_far_end_does) \
    X(names_each_fault)                               \
    X(leaves_nothing_after_many_dials)

Suite *xd_gateway_conformance(const xd_gateway_case *cases, int count)
{
    Suite      *s = suite_create("gateway conformance");
    const char *only =
        getenv("XD_ONLY"); /* tests with this in their names alone: for a person who looks for a fault */
    all_cases = cases;
    for (int i = 0; i < count; i++) {
        TCase *t = tcase_create(cases[i].name);
        tcase_set_timeout(t, 300);
#define ADD(test)                     \
    if (!only || strstr(#test, only)) \
        tcase_add_loop_test(t, test, i, i + 1);
        TESTS(ADD)
#undef ADD
        suite_add_tcase(s, t);
    }
    return s;
}
