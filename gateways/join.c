/* gateways/join.c - see join.h. */
#include "gateways/join.h"

#include <errno.h>
#include <stdarg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/token.h"
#include "engine/trust.h"
#include "gateways/agent_program.h"
#include "gateways/agent_tunnel.h"
#include "gateways/dial.h"

#define TAG_MAX 64u
#define TAGS_MAX 64u
#define WORKERS_MOST 1024u
#define AGAIN_NS (200 * XD_MS_NS) /* before another attempt, where the connection was made and cut */
#define PARTING_NS (1 * XD_S_NS)
#define TAKE_OVER_NS (10 * XD_S_NS) /* for the answer to TUNNEL_JOIN */

typedef struct joining {
    const xd_join_args *args;
    xd_dial             dial;
    xd_poller          *poller;
    char               *agent;
    xd_run_token        token; /* all 0 = none */
    xd_agent_tunnel     child;
    bool                started; /* `child` is there */
    bool                over;    /* and all is over with it */
    bool                leaves, told_leave, closed, refused, moved;
    uint32_t            workers;
    unsigned            stops;
    uint8_t             resume[XD_TUNNEL_TOKEN];
    uint64_t            heard_ns, said_ns, end_ns;
    char                run[64];
} joining;

static void say(const joining *j, xd_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(const joining *j, xd_log_level level, const char *fmt, ...)
{
    char    text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    xd_error_one_line(text);
    xd_log_write(&j->args->log, level, "%s", text);
}

/* ---- what stops it ------------------------------------------------------------------------------------------------ */

static void read_stops(joining *j)
{
    struct pollfd p = { .fd = j->args->stop_fd, .events = POLLIN };
    char          bytes[16];
    if (p.fd < 0 || poll(&p, 1, 0) <= 0)
        return;
    const ssize_t n = read(p.fd, bytes, sizeof(bytes));
    if (n == 0)
        j->stops += 2;
    if (n > 0)
        j->stops += (unsigned)n;
    j->moved = true;
}

/* The first stop: what runs here may end; the second: not even that. */
static void follow_stops(joining *j)
{
    read_stops(j);
    if (!j->started || !j->stops || j->leaves)
        return;
    j->leaves = true;
    j->end_ns = xd_clock_ns() + j->args->drain_ms * XD_MS_NS;
    say(j, XD_LOG_INFO, "leaving: what has not begun here goes to others");
}

static bool must_end(const joining *j)
{
    return j->leaves && (j->stops > 1 || xd_clock_ns() >= j->end_ns);
}

/* While it dials, the agent goes on. */
static bool is_cancelled(void *arg)
{
    joining *j = arg;
    uint64_t next;
    follow_stops(j);
    if (!j->started)
        return j->stops > 0;
    if (!j->over && xd_agent_tunnel_care(&j->child, xd_clock_ns(), &next) == 1)
        j->over = true;
    return j->over || must_end(j);
}

/* ---- what is said ------------------------------------------------------------------------------------------------- */

static int send_message(void *arg, xd_bytes message)
{
    joining *j = arg;
    if (!j->dial.curve)
        return -EAGAIN;
    int r = xd_curve_send(j->dial.curve, message);
    if (r == 0)
        j->said_ns = xd_clock_ns();
    return r;
}

/* 0 once it is on its way. */
static int send_first(joining *j, const xd_buf *message)
{
    int r;
    while ((r = send_message(j, xd_buf_view(message))) == -EAGAIN)
        XD_TRY(xd_dial_await_curve(&j->dial, j->dial.deadline_ns));
    return r;
}

static int add_text(xd_buf *list, uint32_t *count, const char *text)
{
    xd_wire_TEXT t = { .text = xd_bytes_str(text) };
    XD_TRY(xd_wire_TEXT_append(list, &t));
    ++*count;
    return 0;
}

static int add_interpreter(xd_buf *list, uint32_t *count, const char *name)
{
    xd_autofree char *path = NULL;
    return xd_path_find_program(name, NULL, &path) == 0 ? add_text(list, count, name) : 0;
}

/* Those that a run may ask for by name. */
static int add_interpreters(xd_buf *list, uint32_t *count)
{
    char name[16];
    XD_TRY(add_interpreter(list, count, "python2.7"));
    for (unsigned minor = 6; minor <= 20; minor++) {
        snprintf(name, sizeof(name), "python3.%u", minor);
        XD_TRY(add_interpreter(list, count, name));
    }
    XD_TRY(add_interpreter(list, count, "pypy3"));
    return 0;
}

static int say_join(joining *j)
{
    xd_autobuf          message = XD_BUF_INIT, who = XD_BUF_INIT, tags = XD_BUF_INIT, found = XD_BUF_INIT;
    char                host[256], system[256];
    const bool          token = j->args->token != NULL;
    xd_wire_TUNNEL_JOIN m = { .version_min = XD_TUNNEL_SPOKEN,
                              .version_max = XD_TUNNEL_SPOKEN,
                              .build_id = xd_bytes_str(XD_BUILD_ID),
                              .cpus = xd_os_cpus(),
                              .memory_bytes = xd_os_memory_bytes(),
                              .workers = j->workers,
                              .token = { j->token.whole, token ? sizeof(j->token.whole) : 0 } };
    XD_TRY(xd_keys_owner(&who));
    xd_os_names(host, sizeof(host), system, sizeof(system));
    for (size_t i = 0; i < j->args->n_tags; i++)
        XD_TRY(add_text(&tags, &m.tags.count, j->args->tags[i]));
    XD_TRY(add_interpreters(&found, &m.interpreters.count));
    m.who = xd_buf_view(&who);
    m.host = xd_bytes_str(host);
    m.tags.ptr = tags.data;
    m.tags.len = tags.len;
    m.interpreters.ptr = found.data;
    m.interpreters.len = found.len;
    XD_TRY(xd_wire_TUNNEL_JOIN_frame(&message, 0, 0, &m));
    return send_first(j, &message);
}

static int say_resume(joining *j)
{
    xd_autobuf            message = XD_BUF_INIT;
    xd_wire_TUNNEL_RESUME m = { .token = { j->resume, sizeof(j->resume) } };
    XD_TRY(xd_wire_TUNNEL_RESUME_frame(&message, 0, 0, &m));
    return send_first(j, &message);
}

static int start_agent(joining *j, uint64_t output_limit)
{
    const xd_agent_child_args args = { .agent = j->agent,
                                       .output_limit = output_limit,
                                       .max_workers = j->workers };
    XD_TRY(xd_agent_tunnel_start(&j->child, &args, j->poller, &j->moved, send_message, j, &j->dial.err));
    j->started = true;
    return 0;
}

static int on_joined(joining *j, const xd_frame *f)
{
    xd_wire_TUNNEL_JOINED m;
    if (xd_wire_TUNNEL_JOINED_decode(f->body, f->len, &m) < 0 || m.version != XD_TUNNEL_SPOKEN ||
        m.token.len != sizeof(j->resume))
        return -EPROTO;
    memcpy(j->resume, m.token.ptr, sizeof(j->resume));
    if (!j->started) {
        xd_autobuf run = XD_BUF_INIT;
        XD_TRY(xd_text_last_words(&run, m.run, sizeof(j->run) - 1));
        snprintf(j->run, sizeof(j->run), "%s", xd_buf_cstr(&run));
        XD_TRY(start_agent(j, m.output_limit));
        if (j->args->joined)
            j->args->joined(j->args->arg, j->run, j->workers);
    } else {
        say(j, XD_LOG_INFO, "connected to %s again", j->dial.at.text);
    }
    return xd_agent_tunnel_connect(&j->child);
}

/* Asks, and waits for the answer: 0 = it has (still) joined. */
static int negotiate(joining *j)
{
    xd_frame f;
    j->dial.deadline_ns = xd_clock_ns() + TAKE_OVER_NS;
    int r = j->started ? say_resume(j) : say_join(j);
    while (r == 0) {
        const bool up = xd_curve_look(j->dial.curve) == XD_CURVE_UP;
        r = xd_curve_receive(j->dial.curve, &f);
        if (r == 1 && f.type == XD_MSG_TUNNEL_JOINED) {
            r = on_joined(j, &f);
            if (r == 0)
                return 0;
        } else if (r == 1 && f.type == XD_MSG_TUNNEL_REFUSED) {
            r = xd_dial_refused(&j->dial, &f, j->started);
            j->refused = j->dial.err.code != 0;
        } else if (r == 1)
            r = f.type == XD_MSG_TUNNEL_BEAT ? 0 : -EPROTO;
        else if (r == 0 && !up)
            r = -ECONNRESET;
        else if (r == 0 && (r = xd_dial_await_curve(&j->dial, j->dial.deadline_ns)) > 0)
            r = 0;
    }
    if (r == -ECANCELED || j->dial.err.code)
        return r;
    return xd_dial_fail(&j->dial, r, "%s %s", j->dial.at.text,
                        r == -ETIMEDOUT    ? "has not answered in time"
                        : r == -EPROTO     ? "does not keep to the protocol"
                        : r == -ECONNRESET ? "closed the connection"
                                           : xd_error_name(r));
}

/* ---- the pipe --------------------------------------------------------------------------------------------------------- */

static void nothing(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    ((joining *)arg)->moved = true;
}

static int watch(joining *j, bool on)
{
    int fds[2];
    xd_curve_fds(j->dial.curve, fds);
    for (int i = 0; i < 2; i++)
        if (on)
            XD_TRY(xd_poller_set(j->poller, fds[i], XD_POLL_IN, nothing, j));
        else
            (void)xd_poller_remove(j->poller, fds[i]);
    return 0;
}

/* What came; 1 = something did. */
static int take(joining *j)
{
    xd_frame f;
    int      r, any = 0;
    while ((r = xd_curve_receive(j->dial.curve, &f)) == 1) {
        j->heard_ns = xd_clock_ns();
        any = 1;
        if (f.type == XD_MSG_TUNNEL_REFUSED) {
            j->refused = true;
            return xd_dial_refused(&j->dial, &f, true);
        }
        if (f.type != XD_MSG_TUNNEL_BEAT)
            XD_TRY(xd_agent_tunnel_frame(&j->child, &f));
    }
    return r < 0 ? r : any;
}

static int beat(joining *j, uint64_t now)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_BEAT m = { 0 };
    if (now - j->heard_ns > XD_TUNNEL_SILENT_NS)
        return -ETIMEDOUT;
    if (now - j->said_ns < XD_TUNNEL_BEAT_NS || (j->child.has_tunnel && j->child.tunnel.held.len))
        return 0;
    XD_TRY(xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &m));
    int r = send_message(j, xd_buf_view(&message));
    return r == -EAGAIN ? 0 : r;
}

static int leave(joining *j)
{
    xd_autobuf           message = XD_BUF_INIT;
    xd_wire_TUNNEL_LEAVE m = { 0 };
    if (j->leaves && !j->told_leave && !(j->child.has_tunnel && j->child.tunnel.held.len)) {
        XD_TRY(xd_wire_TUNNEL_LEAVE_frame(&message, 0, 0, &m));
        int r = send_message(j, xd_buf_view(&message));
        j->told_leave = r == 0;
        if (r < 0 && r != -EAGAIN)
            return r;
    }
    if (must_end(j))
        xd_agent_tunnel_end(&j->child);
    return 0;
}

/* 0: all is over; -errno: the connection is. */
static int carry(joining *j)
{
    j->heard_ns = j->said_ns = xd_clock_ns();
    j->told_leave = false;
    XD_TRY(watch(j, true));
    for (;;) {
        uint64_t now, next = UINT64_MAX;
        j->moved = false;
        follow_stops(j);
        now = xd_clock_ns();
        XD_TRY(leave(j));
        int r = xd_agent_tunnel_care(&j->child, now, &next);
        if (r == 1) {
            j->over = true;
            return 0;
        }
        XD_TRY(r);
        j->closed |= j->child.has_tunnel && j->child.tunnel.closed;
        XD_TRY(beat(j, now));
        const bool up = xd_curve_look(j->dial.curve) == XD_CURVE_UP;
        r = take(j); /* behind all else (curve.h) */
        XD_TRY(r);
        if (r == 0 && !up)
            return -ECONNRESET;
        if (r == 1 || j->moved)
            continue;
        if (j->leaves)
            next = XD_MIN(next, j->end_ns);
        XD_TRY(xd_poller_wait(j->poller, XD_MIN(next, now + XD_S_NS)));
    }
}

static void drop_connection(joining *j)
{
    if (j->dial.curve)
        (void)watch(j, false);
    j->dial.curve = xd_curve_free(j->dial.curve);
    if (j->started)
        xd_agent_tunnel_cut(&j->child);
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

/* Dials until the agent has given up waiting; it was told how long when the session began. One that leaves comes back, too: what runs here ends
 * here. */
static int come_back(joining *j)
{
    while (!j->over && !must_end(j)) {
        j->dial.patient_ns = xd_clock_ns() + 3600 * XD_S_NS;
        int r = xd_dial_connect(&j->dial);
        if (r == 0)
            r = negotiate(j);
        if (r == 0)
            return 0;
        if (r != -ECANCELED && r != -ECONNRESET && r != -ETIMEDOUT)
            return r;
        drop_connection(j);
    }
    return -ECANCELED;
}

/* All is said. The run closes the connection once it has read it: who closes it here, with bytes that nobody has read, makes the system drop what is on its
 * way there. */
static void part(joining *j)
{
    const uint64_t until = xd_clock_ns() + PARTING_NS;
    while (xd_clock_ns() < until) {
        xd_frame   f;
        const bool up = xd_curve_look(j->dial.curve) == XD_CURVE_UP;
        int        r;
        while ((r = xd_curve_receive(j->dial.curve, &f)) == 1) {
        }
        if (r < 0 || !up || xd_poller_wait(j->poller, XD_MIN(until, xd_clock_ns() + 50 * XD_MS_NS)) < 0)
            return;
    }
}

/* An agent that is not connected any more: it ends. */
static void end_agent(joining *j)
{
    xd_agent_tunnel_end(&j->child);
    while (!j->over) {
        uint64_t next = UINT64_MAX;
        if (xd_agent_tunnel_care(&j->child, xd_clock_ns(), &next) != 0) {
            j->over = true;
            break;
        }
        read_stops(j);
        if (xd_poller_wait(j->poller, XD_MIN(next, xd_clock_ns() + 100 * XD_MS_NS)) < 0)
            break;
    }
}

static int how_it_ended(const joining *j, int r, const char *lost, xd_error *err)
{
    if (j->refused)
        return xd_error_set(err, r, "%s", j->dial.err.text);
    if (j->leaves || j->closed || j->stops || (r == 0 && j->child.good))
        return 0;
    if (r < 0)
        return xd_error_set(err, r, "the run at %s was lost: %s", j->dial.at.text, lost);
    return xd_error_set(err, -ECONNABORTED, "%s before the run was over",
                        *j->child.how ? j->child.how : "the agent ended");
}

static int serve_run(joining *j, xd_error *err)
{
    char lost[XD_ERROR_TEXT] = "";
    int  r;
    for (;;) {
        r = carry(j);
        if (r == 0 && !j->refused)
            part(j);
        if (r == 0 || j->refused)
            break;
        snprintf(lost, sizeof(lost), "%s", xd_error_name(r));
        drop_connection(j);
        if (j->closed || j->child.phase >= XD_AGENT_ENDS)
            break;
        say(j, XD_LOG_WARNING, "the connection to %s was cut (%s); trying again", j->dial.at.text, lost);
        r = come_back(j);
        if (r < 0) {
            if (*j->dial.err.text)
                snprintf(lost, sizeof(lost), "%s", j->dial.err.text);
            break;
        }
    }
    drop_connection(j);
    if (!j->over)
        end_agent(j);
    return how_it_ended(j, r, lost, err);
}

bool xd_join_tag_valid(const char *tag)
{
    static const char marks[] = "._=:/+-";
    const size_t      len = strlen(tag);
    for (size_t i = 0; i < len; i++) {
        const char c = tag[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(marks, c)))
            return false;
    }
    return len > 0 && len <= TAG_MAX;
}

static int check_words(const xd_join_args *a, xd_error *err)
{
    if (a->n_tags > TAGS_MAX)
        return xd_error_set(err, -EINVAL, "at most %u tags", TAGS_MAX);
    for (size_t i = 0; i < a->n_tags; i++)
        if (!xd_join_tag_valid(a->tags[i]))
            return xd_error_set(
                err, -EINVAL,
                "the tag '%.80s' is not valid: letters, digits and any of ._=:/+- , at most %u of them",
                a->tags[i], TAG_MAX);
    if (a->workers > WORKERS_MOST)
        return xd_error_set(err, -EINVAL, "at most %u workers", WORKERS_MOST);
    return 0;
}

static int find_keys(joining *j, xd_error *err)
{
    xd_autofree char *folder = NULL;
    if (j->args->token) {
        if (xd_run_token_parse(&j->token, xd_bytes_str(j->args->token)) < 0)
            return xd_error_set(
                err, -EINVAL,
                "what is given as a token is none: `xdctl token` prints one, which begins with xdt1.");
        j->dial.server = j->token.server;
        j->dial.by_token = true;
        return xd_keypair_make(&j->dial.own);
    }
    XD_TRY(xd_keys_folder(j->args->keys, &folder, err));
    xd_error why = { 0 };
    int      r = xd_dial_own_key(&j->dial.own, folder, &why);
    if (r < 0)
        return xd_error_set(err, r, "%s%s", *why.text ? why.text : xd_error_name(r),
                            r == -ENOENT ? ", and there is no token (XD_TOKEN, --token-file)" : "");
    return xd_dial_server_key(&j->dial.server, folder, &j->dial.at, err);
}

static int begin(joining *j, xd_error *err)
{
    const xd_join_args *a = j->args;
    xd_error            why = { 0 };
    xd_autofree char   *found = NULL;
    if (xd_address_parse(&j->dial.at, xd_address_plain(a->address), XD_JOIN_PORT, &why) < 0)
        return xd_error_set(err, -EINVAL, "%s", why.text);
    XD_TRY(check_words(a, err));
    XD_TRY(find_keys(j, err));
    XD_TRY(xd_agent_program_find(a->agent, &found, err));
    XD_TRY(xd_path_absolute(found, &j->agent));
    XD_TRY(xd_poller_new(&j->poller));
    if (a->stop_fd >= 0)
        XD_TRY(xd_poller_set(j->poller, a->stop_fd, XD_POLL_IN, nothing, j));
    j->workers = a->workers ? a->workers : XD_MIN(XD_MAX(xd_os_cpus(), 1u), WORKERS_MOST);
    return 0;
}

/* The first time: until the run is there, and takes it. */
static int connect_first(joining *j, xd_error *err)
{
    int r;
    j->dial.program = "xdctl run --listen";
    j->dial.refuser = "the run";
    j->dial.wake_fd = j->args->stop_fd;
    j->dial.cancelled = is_cancelled;
    j->dial.arg = j;
    j->dial.patient_ns = xd_clock_ns() + j->args->wait_ms * XD_MS_NS;
    for (;;) {
        r = xd_dial_connect(&j->dial);
        if (r == 0)
            r = negotiate(j);
        if (r < 0 && !j->started)
            j->dial.curve = xd_curve_free(j->dial.curve);
        if (r != -ECONNRESET || j->started || xd_clock_ns() >= j->dial.patient_ns)
            break;
        const uint64_t until = xd_clock_ns() + AGAIN_NS;
        while (xd_dial_await(&j->dial, NULL, 0, until) >= 0) {
        }
    }
    if (r == 0 || r == -ECANCELED)
        return r;
    return xd_error_set(err, r, "%s", *j->dial.err.text ? j->dial.err.text : xd_error_name(r));
}

int xd_join(const xd_join_args *args, xd_error *err)
{
    joining j = { .args = args };
    int     r = begin(&j, err);
    if (r == 0)
        r = connect_first(&j, err);
    if (r == 0)
        r = serve_run(&j, err);
    else if (r == -ECANCELED)
        r = 0;
    drop_connection(&j);
    if (j.started)
        xd_agent_tunnel_release(&j.child);
    j.poller = xd_poller_free(j.poller);
    xd_keypair_wipe(&j.dial.own);
    xd_run_token_wipe(&j.token);
    free(j.agent);
    if (r < 0 && err && !*err->text)
        (void)xd_error_set(err, r, "%s", xd_error_name(r));
    return r;
}
