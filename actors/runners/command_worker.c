/* A worker of the command runner: the run loop of xd_pytest/runloop.py for tests that need no successor. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "actors/runners/command_process.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "engine/names.h"
#include "engine/span.h"

extern char **environ;

#define SKIPPED 77 /* the exit status that automake and CTest use as well */
#define READ_BYTES 65536u
#define REASON_BYTES 200u
#define ENTRIES 3u /* of the environment that are ours */

typedef struct told {
    uint32_t item;
    uint16_t attempt;
} told;

typedef struct work {
    const xd_command_worker *w;
    xd_command_list         *list;
    xd_command_tester        tester;
    xd_page_slot            *slot;
    xd_stream_in             in;
    xd_names                 names;          /* of this worker */
    char                    *entry[ENTRIES]; /* XD_WORKER=gw0 and so on */
    char                   **env;
    told                    *told; /* of positions first ... end-1 */
    uint32_t                 first, end, cap;
    uint32_t                 runs; /* RUN frames that were read */
    uint32_t                 position;
    uint32_t                 failed;
    bool                     quit, leave;
    bool                     paused; /* Ctrl-Z: no test is to start */
    xd_buf                   out;    /* frames of the test that ended */
} work;

int xd_command_send(int fd, const xd_buf *frames)
{
    for (size_t at = 0; at < frames->len;) {
        ssize_t n = write(fd, frames->data + at, frames->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        at += (size_t)n;
    }
    return 0;
}

/* ---- what the agent says ---------------------------------------------------------------------------------- */

static int on_run(work *k, const xd_frame *f)
{
    xd_wire_RUN   run;
    xd_wire_RANGE r;
    XD_TRY(xd_wire_RUN_decode(f->body, f->len, &run));
    k->runs++;
    if (k->position > k->first) { /* those before it have been run */
        uint32_t over = XD_MIN(k->position, k->end) - k->first;
        memmove(k->told, k->told + over, (k->end - k->first - over) * sizeof(*k->told));
        k->first += over;
    }
    if (run.first < k->first || run.first > k->end)
        return -EPROTO;
    k->end = run.first;
    while (xd_wire_RANGE_next(&run.ranges, &r) > 0)
        for (uint32_t i = 0; i < r.count; i++) {
            if (r.first + i >= k->list->count)
                return -EPROTO;
            if (k->end - k->first == k->cap) {
                uint32_t cap = k->cap ? k->cap * 2 : 1024;
                told    *at = realloc(k->told, cap * sizeof(*at));
                if (!at)
                    return -ENOMEM;
                k->told = at;
                k->cap = cap;
            }
            k->told[k->end++ - k->first] = (told){ r.first + i, r.attempt };
        }
    return 0;
}

static int on_order(work *k, const xd_frame *f)
{
    xd_wire_ORDER order;
    XD_TRY(xd_wire_ORDER_decode(f->body, f->len, &order));
    return xd_command_list_order(k->list, order.places);
}

static int take_frames(work *k)
{
    xd_frame f;
    int      more;
    while ((more = xd_stream_in_next(&k->in, &f)) > 0) {
        int r = f.type == XD_MSG_RUN ? on_run(k, &f) : f.type == XD_MSG_ORDER ? on_order(k, &f) : 0;
        k->quit = k->quit || f.type == XD_MSG_QUIT;
        XD_TRY(r);
    }
    return more;
}

/* Waits for a command, or for the signal that ends this process. */
static int hear(work *k)
{
    struct pollfd           p[] = { { .fd = k->w->commands, .events = POLLIN },
                                    { .fd = k->tester.signals, .events = POLLIN } };
    struct signalfd_siginfo info;
    if (poll(p, 2, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[1].revents && read(k->tester.signals, &info, sizeof(info)) > 0) {
        k->leave = k->leave || info.ssi_signo == SIGTERM;
        k->paused = info.ssi_signo == SIGTSTP || (k->paused && info.ssi_signo != SIGCONT);
    }
    if (!p[0].revents)
        return 0;
    int n = xd_stream_read_fd(&k->in, k->w->commands, READ_BYTES);
    if (n == 0) { /* a closed pipe is QUIT, at once: nothing more starts */
        k->quit = true;
        k->paused = false;
        k->end = k->position;
    }
    return n <= 0 ? (n == -EAGAIN ? 0 : n) : take_frames(k);
}

/* ---- claiming an item (ARCHITECTURE.md) ------------------------------------------------------------------- */

/* No further item may start: the run was stopped, or enough tests have failed. */
static bool halted(const work *k)
{
    const xd_page_header *h = k->w->page.head;
    const uint32_t        most = xd_page_get(&h->maxfail);
    if (xd_page_get(&h->stop))
        return true;
    if (!most)
        return false;
    uint64_t failed = xd_page_get(&h->failures_elsewhere); /* before the slots: see xd_page_move_failures */
    for (uint32_t i = 0; i < xd_page_get(&h->slots); i++)
        failed += xd_page_get(&k->w->page.slot[i].failures);
    return failed >= most;
}

static bool claim(work *k)
{
    xd_page_slot *s = k->slot;
    xd_page_set(&s->claimed, k->position + 1);
    if (k->position >= xd_page_get(&s->limit) || k->runs < xd_page_get(&s->runs) || halted(k)) {
        xd_page_set(&s->claimed, k->position);
        return false;
    }
    return true;
}

/* ---- one test --------------------------------------------------------------------------------------------- */

/* The last line that has something in it: most scripts that skip say why there. */
static xd_bytes last_line(xd_bytes text)
{
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
        text.len--;
    const uint8_t *nl = text.len ? memrchr(text.ptr, '\n', text.len) : NULL;
    size_t         from = nl ? (size_t)(nl - text.ptr) + 1 : 0;
    return (xd_bytes){ text.ptr + from, XD_MIN(text.len - from, REASON_BYTES) };
}

typedef struct shown {
    uint8_t     outcome;
    const char *category, *letter, *word, *said; /* said: report.outcome */
} shown;

static const shown *judge(const xd_command_end *end)
{
    static const shown passed = { XD_OUT_PASSED, "passed", ".", "PASSED", "passed" },
                       failed = { XD_OUT_FAILED, "failed", "F", "FAILED", "failed" },
                       skipped = { XD_OUT_SKIPPED, "skipped", "s", "SKIPPED", "skipped" },
                       timeout = { XD_OUT_TIMEOUT, "timeout", "F", "TIMEOUT", "failed" };
    if (end->timed_out)
        return &timeout;
    return end->status.exit_status == 0 ? &passed : end->status.exit_status == SKIPPED ? &skipped : &failed;
}

static int say_how(const work *k, const xd_command_end *end, xd_buf *out)
{
    char name[32];
    if (end->not_started.code)
        return xd_buf_add_str(out, end->not_started.text);
    if (end->timed_out)
        return xd_buf_printf(out, "it ran out of time: ended after %g s (--timeout)",
                             (double)k->w->timeout_ns / (double)XD_S_NS);
    if (end->status.signal)
        return xd_buf_printf(out, "killed by %s", xd_os_signal_name(end->status.signal, name, sizeof(name)));
    return xd_buf_printf(out, "exited with status %d", end->status.exit_status);
}

static int add_section(xd_buf *to, uint32_t *count, const char *name, const xd_buf *text)
{
    if (text->len == 0)
        return 0;
    ++*count;
    return xd_wire_PAIR_append(to, &(xd_wire_PAIR){ .name = xd_bytes_str(name), .value = xd_buf_view(text) });
}

static int add_report(work *k, const told *now, const xd_command_end *end, const shown *s)
{
    xd_autobuf how = XD_BUF_INIT, out = XD_BUF_INIT, err = XD_BUF_INIT, sections = XD_BUF_INIT;
    uint32_t   n = 0;
    XD_TRY(xd_command_stream_text(&k->tester, &k->tester.stream[0], &out));
    XD_TRY(xd_command_stream_text(&k->tester, &k->tester.stream[1], &err));
    if (s->outcome == XD_OUT_PASSED && !out.len && !err.len)
        return 0;
    XD_TRY(say_how(k, end, &how));
    XD_TRY(add_section(&sections, &n, "Captured stdout call", &out));
    XD_TRY(add_section(&sections, &n, "Captured stderr call", &err));
    bool     failed = xd_bytes_eq_str(xd_bytes_str(s->said), "failed");
    xd_bytes why = failed ? xd_buf_view(&how) : (xd_bytes){ 0 };
    if (s->outcome == XD_OUT_SKIPPED) {
        why = last_line(err.len ? xd_buf_view(&err) : xd_buf_view(&out));
        why = why.len ? why : xd_buf_view(&how);
    }
    xd_wire_REPORT r = { .item = now->item,
                         .attempt = now->attempt,
                         .worker = XD_NO_WORKER,
                         .when = XD_BYTES_LIT("call"),
                         .category = xd_bytes_str(s->category),
                         .letter = xd_bytes_str(s->letter),
                         .word = xd_bytes_str(s->word),
                         .outcome = xd_bytes_str(s->said),
                         .text = failed ? xd_buf_view(&how) : (xd_bytes){ 0 },
                         .message = why,
                         .line = -1,
                         .duration_us = end->duration_us,
                         .start_us = end->start_us,
                         .sections = { .count = n, .ptr = sections.data, .len = sections.len } };
    return xd_wire_REPORT_frame(&k->out, 0, 0, &r);
}

static int tell(work *k, const told *now, const xd_command_end *end)
{
    const shown *s = judge(end);
    xd_buf_clear(&k->out);
    if (s->outcome == XD_OUT_FAILED || s->outcome == XD_OUT_TIMEOUT) {
        k->failed++;
        xd_page_set(&k->slot->failures,
                    xd_page_get(&k->slot->failures) + 1); /* before anything that takes time */
    }
    XD_TRY(add_report(k, now, end, s));
    xd_wire_RESULT r = { .item = now->item,
                         .attempt = now->attempt,
                         .outcome = s->outcome,
                         .flags = k->out.len ? XD_RES_REPORTS : 0,
                         .call_us = (uint32_t)XD_MIN(end->duration_us, (uint64_t)UINT32_MAX),
                         .position = k->position,
                         .start_us = end->start_us };
    XD_TRY(xd_wire_RESULT_frame(&k->out, 0, 0, &r));
    return xd_command_send(k->w->results, &k->out);
}

static int one(work *k)
{
    const told     now = k->told[k->position - k->first];
    xd_command_end end;
    __atomic_store_n(&k->slot->since_ns, xd_clock_ns(), __ATOMIC_RELEASE);
    xd_page_set(&k->slot->item_plus_1, now.item + 1);
    int r = xd_command_test_run(&k->tester, xd_command_line(&k->list->at[now.item]), &end);
    XD_TRY(r);
    if (r == XD_COMMAND_LEAVE) {
        k->leave = true;
        return 0;
    }
    XD_TRY(tell(k, &now, &end));
    xd_page_set(&k->slot->item_plus_1, 0);
    xd_page_set(&k->slot->done, xd_page_get(&k->slot->done) + 1);
    k->position++;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static int make_env(work *k)
{
    size_t have = 0, n = 0;
    while (environ && environ[have])
        have++;
    const xd_name name = xd_names_of(&k->names, k->w->who.worker);
    char          total[16];
    snprintf(total, sizeof(total), "%u", (unsigned)k->w->who.total);
    const struct {
        const char *name;
        xd_bytes    value;
    } own[ENTRIES] = { { "XD_WORKER=", xd_bytes_str(name.text) },
                       { "XD_WORKER_COUNT=", xd_bytes_str(total) },
                       { "XD_RUN_UID=", k->w->run_uid } };
    k->env = calloc(have + ENTRIES + 1, sizeof(char *));
    if (!k->env)
        return -ENOMEM;
    for (size_t i = 0; i < have; i++) {
        bool ours = false; /* of a run around this one */
        for (size_t o = 0; o < ENTRIES; o++)
            ours = ours || strncmp(environ[i], own[o].name, strlen(own[o].name)) == 0;
        if (!ours)
            k->env[n++] = environ[i];
    }
    for (size_t o = 0; o < ENTRIES; o++) {
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(xd_buf_add_str(&text, own[o].name));
        XD_TRY(xd_buf_add_bytes(&text, own[o].value));
        if (!(k->entry[o] = xd_bytes_dup(xd_buf_view(&text))))
            return -ENOMEM;
        k->env[n++] = k->entry[o];
    }
    return 0;
}

static int say_ready(work *k, bool same)
{
    xd_wire_WORKER_READY m = { .pid = (uint32_t)getpid(), .count = k->list->count, .same = same };
    xd_page_set(&k->slot->pid, m.pid);
    if (!same)
        XD_TRY(xd_command_collection(k->list, -1, 0, &k->out));
    XD_TRY(xd_wire_WORKER_READY_frame(&k->out, 0, 0, &m));
    return xd_command_send(k->w->results, &k->out);
}

static int loop(work *k)
{
    while (!k->leave) {
        if (k->position < k->end && !k->paused && claim(k)) {
            XD_TRY(one(k));
            continue;
        }
        if (k->quit && !k->paused)
            return 0;
        XD_TRY(hear(k));
    }
    return 0;
}

static int say_done(work *k)
{
    xd_wire_WORKER_DONE m = { .exit_status = k->failed ? 1 : 0 };
    xd_buf_clear(&k->out);
    XD_TRY(xd_wire_WORKER_DONE_frame(&k->out, 0, 0, &m));
    return xd_command_send(k->w->results, &k->out);
}

/* Ends by SIGTERM itself, with its default action, so that the exit status names the signal. */
static void end_by_term(void)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signal(SIGTERM, SIG_DFL);
    (void)sigprocmask(SIG_UNBLOCK, &term, NULL);
    (void)raise(SIGTERM);
}

int xd_command_work(const xd_command_worker *w, xd_command_list *list, bool same)
{
    work k = { .w = w, .list = list };
    int  r = w->who.slot < w->page.slots ? 0 : -EPROTO;
    xd_stream_in_init(&k.in, false);
    if (r == 0)
        r = xd_names_set(&k.names, w->who.worker, w->who.name);
    if (r == 0) {
        k.slot = &w->page.slot[w->who.slot];
        r = make_env(&k);
    }
    if (r == 0)
        r = xd_command_tester_init(&k.tester, (const char *const *)k.env, w->commands, w->timeout_ns,
                                   w->output_limit);
    if (r == 0)
        r = say_ready(&k, same);
    if (r == 0)
        r = loop(&k);
    if (r == 0 && !k.leave)
        r = say_done(&k);
    if (r < 0 && r != -EPIPE)
        fprintf(stderr, "xd: this worker cannot go on: %s\n", xd_error_name(r));
    xd_command_tester_release(&k.tester);
    xd_stream_in_release(&k.in);
    xd_buf_release(&k.out);
    for (size_t i = 0; i < ENTRIES; i++)
        free(k.entry[i]);
    free(k.env);
    free(k.told);
    xd_names_release(&k.names);
    if (r == 0 && k.leave)
        end_by_term();
    return r < 0 ? 3 : 0;
}
