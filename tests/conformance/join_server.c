#include "tests/conformance/join_server.h"

#include <signal.h>
#include <sys/un.h>

#include "engine/token.h"
#include "engine/trust.h"
#include "gateways/join.h"
#include "gateways/listen.h"

#define JOINS_MAGIC 0x10133d02u
#define JOINS_FOLDER "XD_TEST_JOINS"
#define JOINS_RUN "a run"

struct xd_join_server {
    char dir[64];
    int  alive; /* the process beside ends with it */
};

/* ---- the process beside ------------------------------------------------------------------------------------------- */

static int place(const char *folder, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/joins", folder);
    return n < (int)sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

int xd_join_server_begin(const char *folder)
{
    xd_error         err = { 0 };
    xd_proc          proc = XD_PROC_NONE;
    const char      *argv[] = { "/proc/self/exe", "--joiner", folder, NULL };
    const xd_proc_fd fds[] = { { STDIN_FILENO, STDIN_FILENO }, { STDERR_FILENO, STDERR_FILENO } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true };
    return xd_proc_spawn(&args, &proc, &err) < 0;
}

static void start_join(int from)
{
    char             text[1024];
    size_t           len = 0;
    ssize_t          n;
    const char      *argv[6] = { "/proc/self/exe", "--join" };
    xd_error         err = { 0 };
    xd_proc          proc = XD_PROC_NONE;
    const xd_proc_fd fds[] = { { STDERR_FILENO, STDERR_FILENO } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = 1, .new_group = true };
    while (len < sizeof(text) - 1 && (n = read(from, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    char *rest = text;
    for (int i = 2; i < 5; i++)
        argv[i] = strsep(&rest, "\n");
    if (!argv[4] || xd_proc_spawn(&args, &proc, &err) < 0)
        fprintf(stderr, "nobody joins: %s\n", err.text);
    xd_proc_close(&proc);
}

int xd_join_server_main(const char *folder)
{
    struct sockaddr_un at;
    const int          fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    signal(SIGCHLD, SIG_IGN);
    if (fd < 0 || place(folder, &at) < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fd, 64) < 0)
        return EXIT_FAILURE;
    struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    while (poll(p, XD_ARRAY_LEN(p), -1) >= 0 && !p[1].revents) {
        const int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (one < 0)
            continue;
        start_join(one);
        close(one);
    }
    return EXIT_SUCCESS;
}

int xd_join_server_join(const char *address, const char *token, const char *agent)
{
    xd_error           err = { 0 };
    const xd_join_args args = {
        .address = address, .token = token, .agent = agent, .workers = 2, .wait_ms = 10000, .stop_fd = -1
    };
    signal(SIGPIPE, SIG_IGN);
    int r = xd_join(&args, &err);
    if (r < 0 && getenv("XD_TEST_SHOW"))
        fprintf(stderr, "join: %s\n", err.text);
    return r < 0;
}

int xd_join_server_start(xd_join_server **ret, xd_error *err)
{
    xd_join_server    *s = calloc(1, sizeof(*s));
    struct sockaddr_un at;
    xd_proc            proc = XD_PROC_NONE;
    xd_proc_status     status;
    int                alive[2];
    if (!s)
        return -ENOMEM;
    *s = (xd_join_server){ .dir = "/tmp/xd-joins-XXXXXX", .alive = -1 };
    *ret = s;
    if (!mkdtemp(s->dir))
        return xd_error_set(err, -errno, "no folder");
    XD_TRY(xd_os_pipe(alive, 0, 0));
    const char      *argv[] = { "/proc/self/exe", "--joins", s->dir, NULL };
    const xd_proc_fd fds[] = { { alive[0], STDIN_FILENO }, { STDERR_FILENO, STDERR_FILENO } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = XD_ARRAY_LEN(fds) };
    int              r = xd_proc_spawn(&args, &proc, err);
    if (r == 0)
        r = xd_proc_wait(&proc, true, &status);
    xd_proc_close(&proc);
    close(alive[0]);
    s->alive = alive[1];
    XD_TRY(r);
    XD_TRY(place(s->dir, &at));
    for (int i = 0; i < 500 && access(at.sun_path, F_OK) != 0; i++)
        usleep(10000);
    return setenv(JOINS_FOLDER, s->dir, 1) < 0 ? -errno : 0;
}

xd_join_server *xd_join_server_stop(xd_join_server *s)
{
    if (!s)
        return NULL;
    if (s->alive >= 0)
        close(s->alive);
    if (!strstr(s->dir, "XXXXXX"))
        (void)xd_path_remove_tree(s->dir);
    free(s);
    return NULL;
}

/* ---- the transport ---------------------------------------------------------------------------------------------------- */

typedef struct joins_pipe {
    xd_pipe    pipe;
    uint32_t   magic;
    xd_listen *listen;
    xd_pipe   *inner;
} joins_pipe;

static joins_pipe *joins_of(xd_pipe *p)
{
    return XD_CAST(p, joins_pipe, JOINS_MAGIC);
}

static void joins_joined(void *arg, const xd_joined *j)
{
    (void)arg;
    (void)j;
}

static void joins_leaves(void *arg, uint16_t seat)
{
    (void)arg;
    (void)seat;
}

static int make_token(const char *keys, char text[XD_RUN_TOKEN_TEXT], xd_error *err)
{
    xd_run_token token;
    xd_trust    *trust = NULL;
    XD_TRY(xd_trust_open(&trust, keys, XD_KEYLIST_WORKERS, true, err));
    int r = xd_run_token_make(&token, xd_trust_key(trust), JOINS_RUN, (uint64_t)time(NULL) + 600, 1);
    trust = xd_trust_free(trust);
    if (r == 0)
        xd_run_token_text(&token, text);
    return r;
}

static int ask_to_join(const char *folder, const char *address, const char *token, const char *agent)
{
    struct sockaddr_un at;
    char               text[1024];
    xd_autoclose int   fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    XD_TRY(place(folder, &at));
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return -errno;
    const int len = snprintf(text, sizeof(text), "%s\n%s\n%s", address, token, agent);
    return write(fd, text, (size_t)len) == len ? 0 : -EIO;
}

static int joins_begin(xd_pipe **ret, const xd_target *target, xd_error *err, bool somebody)
{
    static const char *const bind[] = { "127.0.0.1:0", NULL }, *const runs[] = { JOINS_RUN, NULL };
    const char          *folder = getenv(JOINS_FOLDER);
    char                 keys[128], token[XD_RUN_TOKEN_TEXT];
    const xd_listen_args args = { .keys = keys,
                                  .bind = bind,
                                  .runs = runs,
                                  .first = 3,
                                  .seats = 1,
                                  .output_limit = target->output_limit,
                                  .joined = joins_joined,
                                  .leaves = joins_leaves };
    if (!folder)
        return xd_error_set(err, -EINVAL, "nobody can join");
    snprintf(keys, sizeof(keys), "%s/keys", folder);
    joins_pipe *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    *j = (joins_pipe){ .pipe = { somebody ? &xd_transport_joins : &xd_transport_joins_never },
                       .magic = JOINS_MAGIC };
    xd_target inner = *target;
    int       r = make_token(keys, token, err);
    if (r == 0)
        r = xd_listen_start(&j->listen, &args, err);
    inner.listen = j->listen;
    inner.seat = args.first;
    if (r == 0)
        r = xd_transport_joined.open(&j->inner, &inner, err);
    if (r == 0 && somebody)
        r = ask_to_join(folder, xd_listen_bound(j->listen, 0), token, target->agent);
    if (r < 0) {
        if (j->inner)
            xd_transport_joined.hang_up(&j->inner, 0, NULL, 0);
        xd_listen_free(j->listen);
        free(j);
        return r;
    }
    *ret = &j->pipe;
    return 0;
}

static int joins_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    return joins_begin(ret, target, err, true);
}

static int joins_open_never(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    return joins_begin(ret, target, err, false);
}

static int joins_opened(xd_pipe *p, xd_error *err)
{
    return xd_transport_joined.opened(joins_of(p)->inner, err);
}

static int joins_reopen(xd_pipe *p, xd_error *err)
{
    return xd_transport_joined.reopen(joins_of(p)->inner, err);
}

static void joins_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    xd_transport_joined.wait(joins_of(p)->inner, want, ret);
}

static ssize_t joins_read(xd_pipe *p, void *to, size_t room)
{
    return xd_transport_joined.read(joins_of(p)->inner, to, room);
}

static ssize_t joins_write(xd_pipe *p, const void *from, size_t len)
{
    return xd_transport_joined.write(joins_of(p)->inner, from, len);
}

static ssize_t joins_text(xd_pipe *p, void *to, size_t room)
{
    return xd_transport_joined.text(joins_of(p)->inner, to, room);
}

static void joins_close(xd_pipe *p)
{
    xd_transport_joined.close(joins_of(p)->inner);
}

static void joins_part(xd_pipe *p)
{
    xd_transport_joined.part(joins_of(p)->inner);
}

static void joins_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    joins_pipe *j = joins_of(*p);
    xd_transport_joined.hang_up(&j->inner, grace_ms, how, how_size);
    xd_listen_free(j->listen);
    free(j);
    *p = NULL;
}

#define JOINS_REST                                                                          \
    .opened = joins_opened, .reopen = joins_reopen, .wait = joins_wait, .read = joins_read, \
    .write = joins_write, .text = joins_text, .close = joins_close, .part = joins_part,     \
    .hang_up = joins_hang_up
const xd_transport xd_transport_joins = { .name = "join", .open = joins_open, JOINS_REST };
const xd_transport xd_transport_joins_never = { .name = "join", .open = joins_open_never, JOINS_REST };
