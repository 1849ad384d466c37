/* gateways/openssh.c - see openssh.h: the transport.
 *
 *   TRYING: ssh runs, the agent is brought there (deliver.h) -> OPEN
 *   -> ENDING: the far end has closed; ssh's last words and its status tell why
 *   -> PAUSING: the host had no room; later TRYING again
 *   -> QUEUING: ssh has to ask; as soon as the terminal is free, TRYING with it
 *   -> REFUSED: ssh asked in vain, or Ctrl-C, which reaches this program as well, made it stop asking: that shall be heard first
 *   PARTING: the pipe was cut; how its ssh has ended is of interest -> TRYING
 *
 * A pipe that was cut is dialled in the same way, but asks nobody: the user does something else by then. */
#include "gateways/openssh.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/deliver.h"
#include "gateways/fdpipe.h"
#include "gateways/terminal.h"

#define OPENSSH_MAGIC 0x0be55a1eu
#define DEFAULT_MS 20000u
#define SAID_MAX (16u * 1024u) /* of ssh's messages, kept while it dials */
#define SAID_SHOWN 300u
#define PAUSE_FIRST_MS 100u
#define PAUSE_MOST_MS 2000u
#define LAST_WORDS_MS 2000u /* that ssh may take to end after it has closed its output */
#define INTERRUPT_MS 300u
#define PARTING_MS 500u
#define AGAIN_CONNECT_S 6u /* when it was reached before: the next attempt may find it again */
#define SSH_FAILED 255     /* its status when it is not that of the program at the far end */

typedef enum state { TRYING, OPEN, ENDING, PAUSING, QUEUING, REFUSED, PARTING, FAILED } state;

typedef struct openssh {
    xd_pipe     pipe;
    uint32_t    magic;
    state       state;
    xd_xspec    spec;       /* owned */
    bool        accept_new; /* keys of unknown hosts */
    uint32_t    timeout_ms;
    uint64_t    output_limit;
    char       *agent;   /* at the far end; owned; NULL = one is brought there */
    char       *by_hand; /* owned */
    xd_pipe    *ssh;     /* NULL = none runs */
    xd_deliver *deliver;
    bool        again;                 /* it is not the first pipe */
    bool        asks;                  /* ssh may ask on the terminal */
    int         terminal;              /* held while it may; -1 = not */
    bool        ended;                 /* the far end has closed */
    bool        rest;                  /* deliver may have bytes of the agent's */
    xd_buf      said;                  /* by ssh, and by what runs at the far end, beside the pipe */
    size_t      said_told;             /* of that, once it is open: the rest is read as its text */
    xd_buf      words;                 /* last ones beside a pipe that was cut, to be read as text */
    xd_error    why;                   /* deliver gave up */
    uint64_t    deadline_ns, until_ns; /* of the dial; of the state */
    uint32_t    pause_ms;
    char        how[64]; /* the ssh of the pipe that was cut has ended */

    const xd_server_there *server; /* of the target */
} openssh;

/* ---- ssh is started ------------------------------------------------------------------------------------------ */

/* Two pipes: ssh closes its output alone when the far end has, and the end of one socket would not be seen. */
static int make_pipes(int ret_ours[3], int ret_theirs[3], xd_error *err)
{
    int r = 0;
    for (int i = 0; i < 3 && r == 0; i++) {
        const int ours = i == 0; /* the writing end */
        int       pair[2];
        r = xd_os_pipe(pair, ours, 0);
        if (r == 0) {
            ret_ours[i] = pair[ours];
            ret_theirs[i] = pair[!ours];
        }
    }
    return r < 0 ? xd_error_set(err, r, "no descriptors: %s", xd_error_name(r)) : 0;
}

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++)
        xd_autoclose_fn(&fds[i]);
}

static int spawn_with(openssh *o, char *const *argv, int ours[3], const int theirs[3], xd_error *err)
{
    /* A signal that ends the dial or the run shall not end the connection first: when ssh asks, it must be in the group of
     * this program, which is the terminal's, and a shell has it ignore Ctrl-C. */
    static const char *const shielded[] = { "/bin/sh", "-c", "trap '' INT QUIT; exec \"$@\"", "ssh" };
    const xd_words           words[] = { { shielded, o->asks ? XD_ARRAY_LEN(shielded) : 0 },
                                         xd_words_of((const char *const *)argv) };
    xd_autofree char       **all = NULL;
    XD_TRY(xd_text_words_join(words, XD_ARRAY_LEN(words), &all));
    const xd_proc_fd fds[] = { { theirs[0], 0 }, { theirs[1], 1 }, { theirs[2], 2 } };
    xd_proc_args     args = {
            .argv = (const char *const *)all, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = !o->asks
    };
    xd_fdpipe_parts parts = { .in = ours[1],
                              .out = ours[0],
                              .text = ours[2],
                              .redial = -1,
                              .proc = { .pidfd = -1 },
                              .name = "ssh",
                              .group = !o->asks };
    XD_TRY(xd_proc_spawn(&args, &parts.proc, err));
    int r = xd_fdpipe_new(&o->ssh, o->pipe.transport, &parts);
    if (r < 0) {
        xd_proc_status status;
        (void)xd_proc_kill(&parts.proc, SIGKILL);
        (void)!xd_proc_wait(&parts.proc, true, &status);
        xd_proc_close(&parts.proc);
        return r;
    }
    ours[0] = ours[1] = ours[2] = -1;
    return 0;
}

static int spawn(openssh *o, char *const *argv, xd_error *err)
{
    int ours[3] = { -1, -1, -1 }, theirs[3] = { -1, -1, -1 };
    int r = make_pipes(ours, theirs, err);
    if (r == 0)
        r = spawn_with(o, argv, ours, theirs, err);
    close_all(ours);
    close_all(theirs);
    return r;
}

static uint64_t left_ms(const openssh *o)
{
    const uint64_t now = xd_clock_ns();
    return now < o->deadline_ns ? (o->deadline_ns - now) / XD_MS_NS : 0;
}

/* Of a new agent, or of the one that runs there. */
static int delivery(openssh *o, xd_error *err)
{
    const xd_target target = { .spec = &o->spec,
                               .agent = o->agent,
                               .output_limit = o->output_limit,
                               .timeout_ms = o->timeout_ms,
                               .server = o->server };
    if (o->again)
        return xd_deliver_again(o->deliver, err);
    o->deliver = xd_deliver_free(o->deliver);
    return xd_deliver_new(&o->deliver, &target, err);
}

static int dial(openssh *o, xd_error *err)
{
    /* It gives up before this transport does: it can say better what it waited for. */
    const uint64_t       most_s = o->again ? AGAIN_CONNECT_S : UINT32_MAX;
    const xd_openssh_how how = { .asks = o->asks,
                                 .accept_new = o->accept_new,
                                 .connect_s =
                                     (uint32_t)XD_MIN(XD_MAX(left_ms(o) * 3 / 4000, (uint64_t)1), most_s) };
    char               **argv = NULL;
    XD_TRY(xd_openssh_argv(&argv, &o->spec, &how, err));
    o->ended = o->rest = false;
    xd_buf_clear(&o->said);
    o->why = (xd_error){ 0 };
    int r = delivery(o, err);
    if (r == 0 && (r = spawn(o, argv, err)) == -ENOENT)
        (void)xd_error_set(err, r,
                           "there is no ssh program on PATH here: install OpenSSH's client (openssh-client)");
    xd_openssh_argv_free(argv);
    XD_TRY(r);
    o->state = TRYING;
    return 0;
}

/* Gives up what runs; the far end sees the end of its input. */
static void drop_ssh(openssh *o, uint32_t grace_ms, char *how, size_t how_size)
{
    if (o->ssh && o->state != OPEN)
        xd_fdpipe_signal(o->ssh,
                         SIGTERM); /* while it asks, the terminal has no echo until it is told to end */
    if (o->ssh)
        xd_fdpipe_hang_up(&o->ssh, grace_ms, how, how_size);
    if (o->terminal >= 0)
        close(o->terminal);
    o->terminal = -1;
}

static int start_over(openssh *o, xd_error *err)
{
    o->deadline_ns = xd_clock_ns() + o->timeout_ms * XD_MS_NS;
    o->pause_ms = PAUSE_FIRST_MS;
    o->asks = false;
    return dial(o, err);
}

static int openssh_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    xd_autobuf     by_hand = XD_BUF_INIT;
    openssh       *o = calloc(1, sizeof(*o));
    const uint32_t ms = target->timeout_ms ? target->timeout_ms : DEFAULT_MS;
    if (!o)
        return -ENOMEM;
    *o = (openssh){ .pipe = { &xd_transport_openssh },
                    .magic = OPENSSH_MAGIC,
                    .accept_new = target->ssh_accept_new,
                    .timeout_ms = ms - ms / 20,
                    .output_limit = target->output_limit,
                    .server = target->server,
                    .terminal = -1 };
    int r = xd_xspec_copy(&o->spec, target->spec);
    if (r == 0)
        r = xd_openssh_by_hand(&by_hand, target->spec);
    if (r == 0 && (!(o->by_hand = strdup(xd_buf_cstr(&by_hand))) ||
                   (target->agent && !(o->agent = strdup(target->agent)))))
        r = -ENOMEM;
    if (r == 0)
        r = start_over(o, err);
    *ret = &o->pipe;
    if (r < 0) {
        xd_pipe *p = &o->pipe;
        xd_transport_openssh.hang_up(&p, 0, NULL, 0);
        *ret = NULL;
    }
    return r;
}

/* ---- while it dials -------------------------------------------------------------------------------------------- */

static int read_said(openssh *o)
{
    for (;;) {
        XD_TRY(xd_buf_reserve(&o->said, 1024));
        const ssize_t n = xd_fdpipe_text(o->ssh, o->said.data + o->said.len, 1024);
        if (n <= 0)
            return n == -EAGAIN ? 0 : 1;
        o->said.len += (size_t)n;
        if (o->said.len > SAID_MAX) /* the last of it is what counts */
            xd_buf_consume(&o->said, o->said.len - SAID_MAX / 2);
    }
}

static ssize_t io_read(void *arg, void *to, size_t room)
{
    openssh      *o = XD_CAST(arg, openssh, OPENSSH_MAGIC);
    const ssize_t n = xd_fdpipe_read(o->ssh, to, room);
    o->ended |= n != -EAGAIN && n <= 0;
    return n;
}

static ssize_t io_write(void *arg, const void *from, size_t len)
{
    openssh      *o = XD_CAST(arg, openssh, OPENSSH_MAGIC);
    const ssize_t n = xd_fdpipe_write(o->ssh, from, len);
    o->ended |= n < 0 && n != -EAGAIN;
    return n;
}

static int give_up(openssh *o, xd_error *err)
{
    o->state = FAILED;
    *err = o->why;
    return o->why.code < 0 ? o->why.code : -EIO;
}

/* Each host that was refused waits for another time, so that they do not come back all at once. */
static void wait_a_little(openssh *o)
{
    uint32_t any = 0;
    (void)!getrandom(&any, sizeof(any), GRND_NONBLOCK);
    o->state = PAUSING;
    o->until_ns = xd_clock_ns() + (o->pause_ms / 2 + any % o->pause_ms) * XD_MS_NS;
    o->pause_ms = XD_MIN(2 * o->pause_ms, PAUSE_MOST_MS);
}

/* A password, a passphrase, whether a key is the right one. */
static bool may_ask(const openssh *o, xd_openssh_class is)
{
    int        terminal = -1;
    const bool question = is == XD_OPENSSH_AUTH || is == XD_OPENSSH_KEY_UNKNOWN;
    if (!question || o->asks || o->again)
        return false;
    const int r = xd_terminal_take(&terminal);
    if (terminal >= 0)
        close(terminal);
    return r >= 0;
}

static int code_of(xd_openssh_class is)
{
    switch (is) {
    case XD_OPENSSH_AUTH:
        return -EACCES;
    case XD_OPENSSH_KEY_UNKNOWN:
    case XD_OPENSSH_KEY_CHANGED:
    case XD_OPENSSH_KEY_REVOKED:
        return -EKEYREJECTED;
    default:
        return -EHOSTUNREACH;
    }
}

/* ssh itself says that it failed, not the program there. */
static int ssh_failed(openssh *o, xd_error *err)
{
    char                   why[700];
    const xd_openssh_class is =
        xd_openssh_cause(xd_buf_cstr(&o->said), o->by_hand, o->asks || o->again, why, sizeof(why));
    const bool asks_again = is == XD_OPENSSH_AUTH && o->again;
    (void)xd_error_set(&o->why, code_of(is), "%s%s", why,
                       asks_again
                           ? "; ssh would have to ask for a password or passphrase again: put a key into "
                             "ssh-agent (ssh-add), or give --ssh=libssh, which remembers the answer"
                           : "");
    if (is == XD_OPENSSH_DROPPED && o->pause_ms + PAUSE_MOST_MS < left_ms(o)) {
        wait_a_little(o);
        return 0;
    }
    if (may_ask(o, is)) {
        o->state = QUEUING;
        return 2;
    }
    if (!o->asks)
        return give_up(o, err);
    o->state = REFUSED;
    o->until_ns = xd_clock_ns() + INTERRUPT_MS * XD_MS_NS;
    return 0;
}

static int ending(openssh *o, xd_error *err)
{
    xd_proc_status status;
    int            all = read_said(o), ended = xd_fdpipe_ended(o->ssh, &status);
    XD_TRY(all);
    /* Its output may be kept open by others (ControlPersist). */
    if (!ended && xd_clock_ns() < o->until_ns)
        return 0;
    drop_ssh(o, 0, NULL, 0);
    if (ended && status.exit_status == SSH_FAILED)
        return ssh_failed(o, err);
    const char *said = xd_buf_cstr(&o->said);
    char        last[200] = "", as[64] = "";
    if (*said)
        (void)xd_openssh_cause(said, o->by_hand, true, last, sizeof(last));
    if (ended && status.exit_status > 0)
        snprintf(as, sizeof(as), " (status %d)", status.exit_status);
    xd_error shell = o->why;
    (void)xd_error_set(&o->why, -EIO, "%.600s%s%s%s", shell.text, as, *last ? "; " : "", last);
    return give_up(o, err);
}

static int late(openssh *o, xd_error *err)
{
    xd_autobuf said = XD_BUF_INIT;
    (void)read_said(o);
    XD_TRY(xd_text_last_words(&said, xd_buf_view(&o->said), SAID_SHOWN));
    return xd_error_set(err, -ETIMEDOUT,
                        "ssh is not through within %.3g s: the host does not answer, or its login hangs%s%s",
                        o->timeout_ms / 1000.0, said.len ? "; it said: " : "", xd_buf_cstr(&said));
}

static int trying(openssh *o, xd_error *err)
{
    const xd_deliver_io io = { .arg = o, .read = io_read, .write = io_write };
    const size_t        before = o->said.len;
    const int           said = read_said(o);
    XD_TRY(said);
    int r = xd_deliver_step(o->deliver, &io, &o->why);
    if (r == 1) {
        o->state = OPEN;
        o->rest = true;
        o->said_told = XD_MIN(before, o->said.len); /* what came at the same time may be the agent's */
        if (o->terminal >= 0)
            close(o->terminal);
        o->terminal = -1;
        return 1;
    }
    if (r < 0 && r != -ESRCH && o->ended) {
        o->state = ENDING;
        o->until_ns = xd_clock_ns() + LAST_WORDS_MS * XD_MS_NS;
        return ending(o, err);
    }
    if (r < 0) {
        o->why.code = r;
        return give_up(o, err);
    }
    if (o->asks)
        return 2;
    return left_ms(o) ? 0 : late(o, err);
}

static int queuing(openssh *o, xd_error *err)
{
    int r = xd_terminal_take(&o->terminal);
    if (r == 0)
        return 2;
    if (r < 0)
        return give_up(o, err);
    o->asks = true;
    r = dial(o, err);
    return r < 0 ? r : 2;
}

static int parting(openssh *o, xd_error *err)
{
    xd_proc_status status;
    int            said = o->ssh ? read_said(o) : 0;
    XD_TRY(said);
    const bool ended = o->ssh && xd_fdpipe_ended(o->ssh, &status);
    if (o->ssh && !ended && xd_clock_ns() < o->until_ns)
        return 0;
    XD_TRY(ended ? read_said(o) : 0); /* what it has written since */
    XD_TRY(xd_buf_add_bytes(&o->words, xd_buf_view(&o->said)));
    xd_buf_clear(&o->said);
    if (ended) /* else it is killed, which tells nothing */
        xd_fdpipe_hang_up(&o->ssh, 0, o->how, sizeof(o->how));
    drop_ssh(o, 0, NULL, 0);
    return start_over(o, err);
}

static int openssh_opened(xd_pipe *p, xd_error *err)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    switch (o->state) {
    case TRYING:
        return trying(o, err);
    case ENDING:
        return ending(o, err);
    case PAUSING:
        return xd_clock_ns() >= o->until_ns ? dial(o, err) : 0;
    case QUEUING:
        return queuing(o, err);
    case PARTING:
        return parting(o, err);
    case REFUSED:
        if (xd_clock_ns() < o->until_ns)
            return 0;
        break;
    case OPEN:
        return 1;
    case FAILED:
        break;
    }
    return give_up(o, err);
}

static int openssh_reopen(xd_pipe *p, xd_error *err)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    (void)err;
    o->again = true;
    o->state = PARTING;
    o->until_ns = xd_clock_ns() + PARTING_MS * XD_MS_NS;
    xd_buf_consume(&o->said, o->said_told);
    o->said_told = 0;
    if (o->ssh)
        xd_fdpipe_close(o->ssh);
    return 0;
}

/* ---- the open pipe ---------------------------------------------------------------------------------------------- */

static void openssh_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    const openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    *ret = (xd_pipe_wait){ 0 };
    if (o->state == TRYING)
        want = xd_deliver_wants(o->deliver);
    else if (o->state != OPEN)
        want = 0;
    if (o->ssh)
        xd_fdpipe_wait(o->ssh, want, ret);
    if (o->ssh && o->state == OPEN && o->rest && (want & XD_PIPE_READ))
        ret->ready |= XD_PIPE_READ;
    if (o->words.len || (o->ssh && o->state == OPEN && o->said_told < o->said.len))
        ret->ready |= XD_PIPE_TEXT;
}

static ssize_t openssh_read(xd_pipe *p, void *to, size_t room)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    if (o->rest) {
        const size_t n = xd_deliver_rest(o->deliver, to, room);
        o->rest = n > 0;
        if (n)
            return (ssize_t)n;
    }
    return o->ssh ? xd_fdpipe_read(o->ssh, to, room) : 0;
}

static ssize_t openssh_write(xd_pipe *p, const void *from, size_t len)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    return o->ssh && o->state == OPEN ? xd_fdpipe_write(o->ssh, from, len) : -EPIPE;
}

static ssize_t openssh_text(xd_pipe *p, void *to, size_t room)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    if (o->words.len) {
        room = XD_MIN(room, o->words.len);
        memcpy(to, o->words.data, room);
        xd_buf_consume(&o->words, room);
        return (ssize_t)room;
    }
    const size_t n = o->state == OPEN ? XD_MIN(room, o->said.len - o->said_told) : 0;
    if (n) {
        memcpy(to, o->said.data + o->said_told, n);
        o->said_told += n;
        return (ssize_t)n;
    }
    if (!o->ssh)
        return 0;
    return o->state == OPEN ? xd_fdpipe_text(o->ssh, to, room)
                            : -EAGAIN; /* else it tells why it does not open */
}

static void openssh_close(xd_pipe *p)
{
    openssh *o = XD_CAST(p, openssh, OPENSSH_MAGIC);
    if (o->ssh)
        xd_fdpipe_close(o->ssh);
}

static void openssh_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    openssh *o = XD_CAST(*p, openssh, OPENSSH_MAGIC);
    if (how_size)
        snprintf(how, how_size, "%s", o->how);
    drop_ssh(o, grace_ms, how, o->state == OPEN ? how_size : 0);
    o->deliver = xd_deliver_free(o->deliver);
    xd_xspec_release(&o->spec);
    xd_buf_release(&o->said);
    xd_buf_release(&o->words);
    free(o->by_hand);
    free(o->agent);
    free(o);
    *p = NULL;
}

const xd_transport xd_transport_openssh = { .name = "ssh",
                                            .open = openssh_open,
                                            .opened = openssh_opened,
                                            .reopen = openssh_reopen,
                                            .wait = openssh_wait,
                                            .read = openssh_read,
                                            .write = openssh_write,
                                            .text = openssh_text,
                                            .close = openssh_close,
                                            .hang_up = openssh_hang_up };
