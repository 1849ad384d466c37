/* needs: engine actors gateways */
/* What happens without memory: each allocation of a scenario fails in turn (as SQLite and curl test it). The
 * scenario must give -ENOMEM, or do without; it must not crash, and must give back all that it had. The
 * allocators are wrapped by the linker (tests/CMakeLists.txt); those inside of shared libraries are not ours to
 * test. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/config_environ.h"
#include "actors/config_file.h"
#include "actors/plan.h"
#include "actors/project_options.h"
#include "engine/aqueue.h"
#include "engine/base/arena.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/collect.h"
#include "engine/config.h"
#include "engine/events.h"
#include "engine/folders.h"
#include "engine/journal.h"
#include "engine/nodeid.h"
#include "engine/runs.h"
#include "engine/sched.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "tests/conformance/reporter_fixture.c"

/* ---- the allocators ------------------------------------------------------------------------------------ */

#define LIVE_MAX 65536u /* a power of two, far above what a scenario holds */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *s);
void  __real_free(void *p);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool            watching; /* a scenario runs */
static unsigned long   allocations, fail_at;
static void           *live[LIVE_MAX];
static unsigned        live_count;

static unsigned place(const void *p)
{
    unsigned at = (unsigned)((uintptr_t)p >> 4) * 2654435761u % LIVE_MAX;
    while (live[at] && live[at] != p)
        at = (at + 1) % LIVE_MAX;
    return at;
}

static void *born(void *p)
{
    pthread_mutex_lock(&lock);
    if (watching && p) {
        live[place(p)] = p;
        live_count++;
    }
    pthread_mutex_unlock(&lock);
    return p;
}

static void gone(void *p)
{
    pthread_mutex_lock(&lock);
    unsigned at = p ? place(p) : 0;
    if (p && live[at] == p) {
        live_count--;
        live[at] = NULL; /* what follows in the row is put in anew */
        for (unsigned i = (at + 1) % LIVE_MAX; live[i]; i = (i + 1) % LIVE_MAX) {
            void *other = live[i];
            live[i] = NULL;
            live[place(other)] = other;
        }
    }
    pthread_mutex_unlock(&lock);
}

static bool fails(void)
{
    pthread_mutex_lock(&lock);
    bool now = watching && ++allocations == fail_at;
    pthread_mutex_unlock(&lock);
    return now;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *s);
void  __wrap_free(void *p);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : born(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : born(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    gone(old);
    return born(__real_realloc(old, size));
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : born(__real_strdup(s));
}

void __wrap_free(void *p)
{
    gone(p);
    __real_free(p);
}

/* ---- scenarios: 0, or what went wrong ------------------------------------------------------------------ */

static xd_fixture everything; /* a journal in memory, made without faults */

static int text_and_arena(void)
{
    xd_autobuf         out = XD_BUF_INIT;
    xd_autofree char **words = NULL;
    xd_autofree char  *path = NULL;
    xd_arena           arena = XD_ARENA_INIT;
    xd_bytes           kept;
    XD_TRY(xd_text_harmless(&out,
                            XD_BYTES_LIT("a\x1b[31m\xff\xe2\x80\xae"
                                         "b"),
                            false));
    XD_TRY(xd_text_to_utf8(&out, XD_BYTES_LIT("\xff\xfe abc")));
    XD_TRY(xd_text_shell_quote(&out, "a b'c"));
    XD_TRY(xd_text_shell_split("nice -n 5 'a b' \"c\"", &words));
    path = xd_path_join("/a", "b");
    if (!path)
        return -ENOMEM;
    int r = xd_arena_bytes(&arena, XD_BYTES_LIT("tests/test_a.py::test_b"), &kept);
    xd_arena_release(&arena);
    return r;
}

static int stream_and_session(void)
{
    xd_session_tx *tx = NULL;
    xd_stream_out  out = { 0 };
    xd_stream_in   in;
    xd_autobuf     frame = XD_BUF_INIT;
    xd_bytes       numbered;
    xd_wire_NOTE   note = { .level = 2,
                            .text = XD_BYTES_LIT("some text that is not short, so that buffers grow") };
    xd_stream_in_init(&in, false);
    int r = xd_session_tx_new(&tx, 100, 1 << 20);
    for (int i = 0; i < 40 && r == 0; i++) {
        xd_buf_clear(&frame);
        r = xd_wire_NOTE_frame(&frame, 0, 0, &note);
        if (r == 0)
            r = xd_session_tx_push(tx, frame.data, frame.len, &numbered);
        if (r == 0)
            r = xd_stream_out_add(&out, numbered.ptr, numbered.len);
    }
    uint8_t *room = NULL;
    size_t   len = 0;
    if (r == 0)
        r = xd_stream_in_space(&in, out.buf.len, &room, &len);
    if (r == 0) {
        memcpy(room, out.buf.data, out.buf.len);
        xd_stream_in_filled(&in, out.buf.len);
        xd_frame f;
        int      n = 0;
        while ((r = xd_stream_in_next(&in, &f)) == 1)
            n++;
        if (r == 0 && n != 40)
            r = -EBADMSG;
    }
    if (r == 0)
        r = xd_session_tx_acked(tx, 40);
    xd_session_tx_free(tx);
    xd_stream_out_release(&out);
    xd_stream_in_release(&in);
    return r;
}

/* Two agents, one of which is lost in the middle; every item must have its outcome at the end. */
static int scheduling(xd_sched_mode mode)
{
    enum { ITEMS = 60 };
    xd_auto(xd_sched) *s = NULL;
    xd_sched_options o = { .mode = mode, .max_attempts = 2, .agents_expected = 2, .workers_expected = 4 };
    xd_sched_item    items[ITEMS];
    xd_sched_command c;
    struct {
        uint16_t agent, attempt;
        bool     leased;
    } at[ITEMS] = { { 0 } };
    for (uint32_t i = 0; i < ITEMS; i++)
        items[i] = (xd_sched_item){ .unit = i / 7,
                                    .group = mode == XD_SCHED_LOADGROUP ? i % 5 : 0,
                                    .expected_us = i * 100 };
    XD_TRY(xd_sched_new(&s, &o));
    XD_TRY(xd_sched_collection(s, items, ITEMS));
    XD_TRY(xd_sched_agent_up(s, 0, 2));
    XD_TRY(xd_sched_agent_up(s, 1, 2));
    uint32_t done = 0;
    for (int turn = 0; turn < 1000; turn++) {
        int r;
        while ((r = xd_sched_next(s, &c)) == 1) {
            if (c.kind == XD_SCHED_ALL_DONE)
                return done == ITEMS ? 0 : -EBADMSG;
            if (c.kind == XD_SCHED_TAKE_BACK)
                XD_TRY(xd_sched_returned(s, c.agent, c.request, NULL, 0));
            for (size_t k = 0; c.kind == XD_SCHED_LEASE && k < c.n_spans; k++)
                for (uint32_t i = c.spans[k].first; i < c.spans[k].first + c.spans[k].count; i++) {
                    at[i].agent = c.agent;
                    at[i].attempt = c.spans[k].attempt;
                    at[i].leased = true;
                }
        }
        XD_TRY(r);
        if (done == ITEMS / 3 && turn)
            XD_TRY(xd_sched_agent_lost(s, 1, NULL, 0, false));
        uint32_t i = 0;
        while (i < ITEMS &&
               !(at[i].leased && !xd_sched_outcome(s, i) && !(done >= ITEMS / 3 && at[i].agent == 1)))
            i++;
        if (i < ITEMS) {
            XD_TRY(xd_sched_result(s, at[i].agent, i, at[i].attempt, 1, 0));
            done++;
        }
    }
    return -EBADMSG;
}

static int scheduling_load(void)
{
    return scheduling(XD_SCHED_LOAD);
}

static int scheduling_groups(void)
{
    return scheduling(XD_SCHED_LOADGROUP);
}

/* Three workers; the first crashes in its second item. */
static int agent_queue(void)
{
    enum { ITEMS = 50, SLOTS = 3 };
    xd_auto(xd_aqueue) *q = NULL;
    xd_aqueue_options o = { .slots = SLOTS, .max_restarts = 1, .workers_expected = SLOTS };
    xd_aqueue_command c;
    uint32_t          told[SLOTS][ITEMS + 1], end[SLOTS] = { 0 }, next[SLOTS] = { 0 }, over = 0;
    uint64_t          now = 0;
    XD_TRY(xd_aqueue_new(&q, &o));
    for (uint32_t w = 0; w < SLOTS; w++)
        XD_TRY(xd_aqueue_worker_up(q, w, now));
    XD_TRY(xd_aqueue_lease(q, &(xd_span){ .count = ITEMS, .attempt = 1 }, 1, now));
    XD_TRY(xd_aqueue_no_more(q, true, now));
    for (int turn = 0; turn < 1000 && over < ITEMS; turn++) {
        int r;
        while ((r = xd_aqueue_next(q, &c)) == 1) {
            if (c.kind == XD_AQUEUE_LIMIT)
                XD_TRY(xd_aqueue_limit_answer(q, c.slot, next[c.slot] + 1, now));
            if (c.kind == XD_AQUEUE_RESTART) {
                XD_TRY(xd_aqueue_worker_up(q, c.slot, now));
                end[c.slot] = next[c.slot] = 0;
            }
            over += c.kind == XD_AQUEUE_BLAME;
            if (c.kind != XD_AQUEUE_RUN)
                continue;
            end[c.slot] = c.first;
            for (size_t k = 0; k < c.n_spans; k++)
                for (uint32_t i = 0; i < c.spans[k].count; i++)
                    told[c.slot][end[c.slot]++] = c.spans[k].first + i;
        }
        XD_TRY(r);
        uint32_t w = (uint32_t)turn % SLOTS;
        now += 1000000;
        if (next[w] >= end[w]) {
            XD_TRY(xd_aqueue_tick(q, now));
        } else if (turn == SLOTS) {
            XD_TRY(xd_aqueue_worker_down(q, w, XD_AQUEUE_CRASHED,
                                         &(xd_aqueue_last){ next[w] + 1, told[w][next[w]] + 1, next[w] },
                                         now));
        } else {
            XD_TRY(xd_aqueue_result(q, w, next[w], told[w][next[w]], 900000, now));
            next[w]++;
            over++;
        }
    }
    return over == ITEMS ? 0 : -EBADMSG;
}

static int ids_of(xd_collect *c, uint16_t gateway, uint32_t count, uint32_t step, xd_buf *list)
{
    xd_wire_COLLECT_IDS in = { 0 };
    xd_wire_COLLECTED   all = { .count = count, .digest_lo = gateway, .exit_status = -1 };
    xd_collect_command  cmd;
    XD_TRY(xd_collect_collected(c, gateway, &all));
    int r = xd_collect_next(c, &cmd);
    if (r != 1 || cmd.kind != XD_COLLECT_SEND_LIST)
        return r < 0 ? r : -EBADMSG;
    for (; in.ids.count < count; in.ids.count++) {
        char id[64];
        snprintf(id, sizeof(id), "tests/test_it.py::test_%u", in.ids.count * step % count);
        xd_wire_NODEID one = { .id = xd_bytes_str(id), .line = -1 };
        XD_TRY(xd_wire_NODEID_append(list, &one));
    }
    in.ids.ptr = list->data;
    in.ids.len = list->len;
    return xd_collect_ids(c, gateway, &in);
}

static int until(xd_collect *c, xd_collect_kind kind)
{
    xd_collect_command cmd = { 0 };
    int                r;
    while ((r = xd_collect_next(c, &cmd)) == 1 && cmd.kind != kind)
        ;
    return r == 1 ? 0 : r < 0 ? r : -EBADMSG;
}

/* Environments that do not agree, in the order or at all. */
static int collections(void)
{
    xd_autobuf text = XD_BUF_INIT, first = XD_BUF_INIT, turned = XD_BUF_INIT, other = XD_BUF_INIT;
    xd_auto(xd_collect) *c = NULL;
    XD_TRY(xd_collect_new(&c, false, UINT16_MAX));
    XD_TRY(ids_of(c, 0, 30, 1, &first));
    XD_TRY(until(c, XD_COLLECT_COMPLETE));
    XD_TRY(ids_of(c, 1, 30, 7, &turned));
    XD_TRY(until(c, XD_COLLECT_REORDER));
    XD_TRY(ids_of(c, 2, 25, 1, &other));
    XD_TRY(until(c, XD_COLLECT_DIFFERENT));
    return xd_collect_describe(c, 2, "popen", "popen//env:A=b", &text);
}

static int configuration(void)
{
    char        err[XD_TEXT];
    const char *argv[] = { "-n4",     "--tx",    "2*popen//env:A=b//python=python3",
                           "--tx",    "popen",   "--jsonl=x",
                           "--grace", "5s",      "tests",
                           "-k",      "not slow" };
    xd_config  *cfg = NULL, *copy = NULL;
    xd_plan     plan = XD_PLAN_INIT;
    xd_error    e = { 0 };
    int         r = xd_config_new(&cfg);
    if (r == 0)
        r = xd_config_parse(cfg, XD_ARRAY_LEN(argv), (char *const *)argv, err);
    if (r == 0)
        r = xd_config_copy(&copy, cfg);
    if (r == 0) {
        copy->workers = XD_WORKERS_UNSET; /* so that --tx counts */
        r = xd_plan_make(&plan, copy, &e);
    }
    xd_plan_release(&plan);
    xd_config_free(copy);
    xd_config_free(cfg);
    return r;
}

/* As xd_config_read does it, without looking for files. */
static int configured(const xd_config_file *f, xd_config_values *values, xd_strings *notes, xd_config *cfg)
{
    char *const variables[] = { (char *)"XD_TX=popen '2*@lab'", (char *)"XD_NO_FORK=1", (char *)"XD_DITS=x",
                                NULL };
    xd_error    err = { 0 };
    XD_TRY(xd_config_file_values(f, values, &err));
    XD_TRY(xd_config_file_profile(f, 1, "ci", "option --profile", values, &err));
    XD_TRY(xd_config_environ(variables, values, notes, &err));
    XD_TRY(xd_config_values_apply(values, cfg, cfg));
    XD_TRY(xd_config_file_hosts(f, 1, cfg, &err));
    return cfg->tx.count == 3 && notes->count == 1 && cfg->no_fork ? 0 : -EBADMSG;
}

static int configuration_file(void)
{
    static const char text[] =
        "dist = 'loadfile'\nrsyncdir = ['a', '/b']\n[profile.a]\ngrace = '1s'\n"
        "[profile.ci]\ninherits = ['a']\nnumprocesses = 2\n[hosts]\nlab = ['ssh=h', '2*ssh=i//chdir=c']\n";
    xd_config_file   f = { .dir = strdup("/p"), .shown = strdup("xd.toml") };
    xd_config_values values = XD_CONFIG_VALUES_INIT;
    xd_strings       notes = { 0 };
    xd_config       *cfg = NULL;
    xd_error         err = { 0 };
    int              r = f.dir && f.shown ? 0 : -ENOMEM;
    if (r == 0)
        r = xd_config_file_read(&f, text, sizeof(text) - 1, NULL, &err);
    if (r == 0)
        r = xd_config_new(&cfg);
    if (r == 0)
        r = configured(&f, &values, &notes, cfg);
    xd_config_free(cfg);
    xd_strings_release(&notes);
    xd_config_values_release(&values);
    xd_config_file_release(&f);
    return r;
}

static int folders(void)
{
    xd_config *cfg = NULL;
    xd_folders where = { 0 };
    xd_error   e = { 0 };
    char      *state = NULL, *cache = NULL;
    XD_TRY(xd_config_new(&cfg));
    int r = xd_config_set(cfg, "work-dir", "/tmp", NULL);
    if (r == 0)
        r = xd_config_set(cfg, "state-dir", "xd-state", NULL);
    if (r == 0)
        r = xd_config_set(cfg, "jsonl", "xd.jsonl", NULL);
    if (r == 0)
        r = xd_folders_init(&where, cfg, &e);
    if (r == 0)
        r = xd_folders_apply(&where, cfg);
    if (r == 0)
        r = xd_folders_state(&where, true, &state, &e);
    if (r == 0)
        r = xd_folders_cache(&where, &cache, &e);
    free(state);
    free(cache);
    xd_folders_release(&where);
    xd_config_free(cfg);
    return r;
}

static int events(void)
{
    xd_events e;
    xd_event  got = XD_EVENT_INIT;
    XD_TRY(xd_events_init(&e));
    int r = 0;
    for (int i = 0; i < 20 && r == 0; i++)
        r = xd_events_add(&e, &(xd_event){ .type = XD_EVENT_NOTE, .text = "a line", .value = i });
    while (xd_events_next(&e, &got) == 1)
        ;
    xd_events_release(&e);
    return r;
}

static int journal(void)
{
    char               path[] = "/tmp/xd-nomem-XXXXXX";
    xd_error           err = { 0 };
    xd_autobuf         frame = XD_BUF_INIT;
    xd_wire_NOTE       note = { .level = 2, .text = XD_BYTES_LIT("a line") };
    xd_frame           f;
    xd_journal        *j = NULL;
    xd_journal_reader *reader = NULL;
    int                r = mkstemp(path), n = 0;
    if (r < 0)
        return -errno;
    close(r);
    unlink(path);
    r = xd_journal_open(&j, path, "0123456789abcdef0123456789abcdef", false, &err);
    for (int i = 0; i < 10 && r == 0; i++) {
        xd_buf_clear(&frame);
        r = xd_wire_NOTE_frame(&frame, 0, 0, &note);
        if (r == 0)
            r = xd_journal_append(j, frame.data, frame.len, 0, NULL);
    }
    xd_journal_close(j);
    if (r == 0)
        r = xd_journal_reader_open(&reader, path, &err);
    while (r == 0 && (r = xd_journal_reader_next(reader, &f, NULL)) == 1) {
        n++;
        r = 0;
    }
    xd_journal_reader_close(reader);
    unlink(path);
    return r < 0 ? r : n == 10 ? 0 : -EBADMSG;
}

static char project[128]; /* a folder with a configuration file and a conftest.py */

static int make_project(const char *dir)
{
    static const struct {
        const char *name, *text;
    } files[] = {
        { "pytest.ini", "[pytest]\naddopts = --tx '2*popen//env:A=b c' --px ssh=g//id=g\n --dist loadfile "
                        "--testrunuid u\n" },
        { "conftest.py", "option_tx = ['popen//python=../py', \"popen//id=\" 'a']\noption_dist = f()\n" },
    };
    snprintf(project, sizeof(project), "%s/project", dir);
    XD_TRY(xd_path_mkdirs(project, 0700, NULL));
    for (size_t i = 0; i < XD_ARRAY_LEN(files); i++) {
        xd_autofree char *path = xd_path_join(project, files[i].name);
        XD_TRY(xd_path_write_file(path, xd_bytes_str(files[i].text), 0600, NULL));
    }
    return 0;
}

static int options_of_a_project(void)
{
    xd_config      *cfg = NULL;
    xd_project_told told = { 0 };
    xd_plan         plan = XD_PLAN_INIT;
    xd_error        err = { 0 };
    int             r = xd_config_new(&cfg);
    if (r == 0)
        r = xd_config_set(cfg, "work-dir", project, NULL);
    if (r == 0)
        r = xd_config_set(cfg, "tx", "popen", NULL);
    if (r == 0)
        r = xd_project_options_take(cfg, &told, &err);
    if (r == 0)
        r = xd_plan_make(&plan, cfg, &err);
    if (r == 0 && (cfg->tx.count != 4 || told.notes.count != 1 || plan.count != 3))
        r = -EBADMSG;
    xd_plan_release(&plan);
    xd_project_told_release(&told);
    xd_config_free(cfg);
    return r;
}

static int report(const char *name)
{
    xd_report_set   *set = NULL;
    xd_error         err = { 0 };
    xd_report_choice choice;
    int              fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int              r = fd < 0 ? -errno : xd_report_set_new(&set, xd_fixture_source(&everything));
    if (r == 0)
        r = xd_report_set_add(set, xd_fixture_want(&choice, name, fd, NULL), &err);
    for (size_t at = 0; r == 0 && at < everything.frames.len;) {
        xd_frame frame;
        r = xd_wire_header(everything.frames.data + at, &frame);
        if (r == 0)
            r = xd_report_set_frame(set, at, &frame);
        at += XD_FRAME_HEADER + frame.len;
    }
    if (r == 0) {
        xd_report_set_finish(set);
        r = xd_report_set_error(set, &err);
    }
    xd_report_set_free(set);
    if (fd >= 0)
        close(fd);
    return r;
}

static int report_terminal(void)
{
    return report("terminal");
}

static int report_junit(void)
{
    return report("junit");
}

static int report_jsonl(void)
{
    return report("jsonl");
}

static int report_history(void)
{
    return report("history");
}

static const struct {
    const char *name;
    int (*run)(void);
    unsigned long least; /* allocations it must make, or it tests nothing */
} scenarios[] = {
    { "text and arena", text_and_arena, 4 },
    { "stream and session", stream_and_session, 16 },
    { "scheduling, load", scheduling_load, 5 },
    { "scheduling, loadgroup", scheduling_groups, 5 },
    { "agent queue", agent_queue, 5 },
    { "collections", collections, 8 },
    { "configuration", configuration, 20 },
    { "configuration file", configuration_file, 60 },
    { "folders", folders, 8 },
    { "options of a project", options_of_a_project, 100 },
    { "events", events, 20 },
    { "journal", journal, 4 },
    { "terminal", report_terminal, 20 },
    { "junit", report_junit, 20 },
    { "jsonl", report_jsonl, 10 },
    { "history", report_history, 10 },
};

/* Runs a scenario with its nth allocation failing (0 = none); its result, and how many there were. */
static int attempt(size_t scenario, unsigned long nth, unsigned long *ret_made)
{
    memset(live, 0, sizeof(live));
    live_count = 0;
    allocations = 0;
    fail_at = nth;
    watching = true;
    int r = scenarios[scenario].run();
    watching = false;
    *ret_made = allocations;
    return r;
}

START_TEST(every_allocation_fails_once)
{
    const char   *name = scenarios[_i].name;
    unsigned long made, again;
    ck_assert_msg(attempt((size_t)_i, 0, &made) == 0, "%s: fails with memory too", name);
    ck_assert_msg(live_count == 0, "%s: %u blocks are not given back", name, live_count);
    ck_assert_msg(made >= scenarios[_i].least, "%s: %lu allocations", name, made);
    for (unsigned long nth = 1; nth <= made; nth++) {
        int r = attempt((size_t)_i, nth, &again);
        ck_assert_msg(r == 0 || r == -ENOMEM, "%s: %s when allocation %lu of %lu fails", name,
                      xd_error_name(r), nth, made);
        ck_assert_msg(live_count == 0, "%s: %u blocks are not given back when allocation %lu of %lu fails",
                      name, live_count, nth, made);
    }
}
END_TEST

int main(void)
{
    char dir[] = "/tmp/xd-nomem-XXXXXX";
    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    setenv("XDG_CACHE_HOME", dir, 1);
    unsetenv("CI");
    unsetenv("PYTEST_ADDOPTS");
    if (make_project(dir) < 0)
        return EXIT_FAILURE;
    char              junit[128];
    const char *const options[] = { "verbose", "1",           "xmlpath", junit, "durations",
                                    "3",       "reportchars", "A",       NULL };
    snprintf(junit, sizeof(junit), "%s/junit.xml", dir);
    xd_fixture_everything(&everything, options);
    Suite *s = suite_create("nomem");
    TCase *t = tcase_create("nomem");
    tcase_set_timeout(t, 240);
    tcase_add_loop_test(t, every_allocation_fails_once, 0, (int)XD_ARRAY_LEN(scenarios));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    xd_fixture_release(&everything);
    (void)xd_path_remove_tree(dir);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
