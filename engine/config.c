/* engine/config.c - option table, and what an option's text is made into. */
#include "engine/config.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/config_table.h"
#include "engine/xspec.h"

#define CONFIG_MAGIC 0xc0f16001u

int xd_strings_add(xd_strings *s, const char *text)
{
    if (s->count + 2 > s->room) {
        const size_t room = XD_MAX(2 * s->room, s->count + 2);
        char       **at = realloc(s->at, room * sizeof(*at));
        if (!at)
            return -ENOMEM;
        s->at = at;
        s->room = room;
    }
    s->at[s->count] = strdup(text);
    if (!s->at[s->count])
        return -ENOMEM;
    s->at[++s->count] = NULL;
    return 0;
}

void xd_strings_release(xd_strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->at[i]);
    free(s->at);
    *s = (xd_strings){ 0 };
}

int xd_strings_prepend(xd_strings *at, xd_strings *first)
{
    const size_t room = first->count + at->count + 1;
    char       **all = at->count && first->count ? realloc(first->at, room * sizeof(*all)) : NULL;
    if (!first->count)
        return 0;
    if (at->count && !all)
        return -ENOMEM;
    if (at->count) {
        memcpy(all + first->count, at->at, (at->count + 1) * sizeof(*all));
        first->at = all;
        first->room = room;
    }
    free(at->at);
    *at = (xd_strings){ .at = first->at, .count = first->count + at->count, .room = first->room };
    *first = (xd_strings){ 0 };
    return 0;
}

/* OPTION(long name, letter, argument, default, help, kind, member, still read by xd among pytest's
 * arguments) */
/* clang-format off */
#define OPTIONS \
    OPTION("numprocesses", 'n', "N|auto|logical", "auto", "Number of workers on this machine; auto takes the processors this process may use.", KIND_WORKERS, workers, true) \
    OPTION("maxprocesses", 0, "N", "", "Upper limit for the number that -n gives.", KIND_NUMBER, max_workers, true) \
    OPTION("dist", 0, "MODE", "load", "How tests are distributed: load, worksteal (the same), loadfile, loadscope, loadgroup, no (one plain session, if neither -n nor --tx gives a number); each: every environment of --tx runs all tests, on its workers (each:loadfile and the like say how); each-worker: every worker does.", KIND_DIST, dist, true) \
    OPTION("", 'd', NULL, "", "Short for --dist load; for use with --tx.", KIND_FLAG, load, true) \
    OPTION("tx", 0, "SPEC", "popen", "A place to run workers: [NUM*]popen, ssh=HOST or command=COMMAND, then [//python=PY][//chdir=DIR][//env:NAME=VALUE][//nice=N][//cpus=auto]. May be given more than once; -n overrides it.", KIND_LIST, tx, true) \
    OPTION("px", 0, "SPEC", "", "A host on the way to others, where no worker runs: ssh=HOST//id=ID, which --tx names with via=ID. May be given more than once.", KIND_LIST, px, true) \
    OPTION("hosts", 0, "FILE", "", "A list of hosts to run workers on, one a line: [NUM/]HOST, as GNU parallel has it; - reads it from standard input. Each line is one more --tx.", KIND_TEXT, hosts, false) \
    OPTION("rsyncdir", 0, "DIR", "the project", "A folder or file to bring to the hosts, besides those of rsyncdirs in pytest's configuration and in conftest.py. May be given more than once.", KIND_NAMES, rsyncdir, true) \
    OPTION("rsyncignore", 0, "GLOB", "", "What is not brought: names or absolute paths that match GLOB. May be given more than once.", KIND_NAMES, rsyncignore, true) \
    OPTION("no-sync", 0, NULL, "", "Bring nothing to the hosts, whatever else is said.", KIND_FLAG, no_sync, false) \
    OPTION("min-workers", 0, "N", "all", "The run begins without environments that fail (a host that is not reached, no pytest there) if at least N workers can start; else it ends with exit code 6, and no test is run.", KIND_NUMBER_OR_ALL, min_workers, false) \
    OPTION("listen", 0, "ADDRESS:PORT", "", "Listen there for hosts that join this run (xdctl join), before and while it runs; tcp:// may stand in front, the port is 7400 if none is said. May be given more than once. Workers on this machine run only if -n or --tx says so.", KIND_NAMES, listen, false) \
    OPTION("wait", 0, "TIME", "10m", "With --listen: how long to wait for --min-workers (1, if not given), and for others when all have left; none: for ever.", KIND_TIME_OR_NONE, wait_ns, false) \
    OPTION("require", 0, "WORD", "", "With --listen: a capability word (xdctl join --tag) that a host must have to join. May be given more than once.", KIND_NAMES, require, false) \
    OPTION("join-max", 0, "N", "1024", "With --listen: how many hosts may join.", KIND_NUMBER, join_max, false) \
    OPTION("slurm", 0, "OPTIONS", "", "Workers come from Slurm: a job array is submitted with these options of sbatch (which may be empty), and its tasks join this run. -n says how many workers there are to be, -c among the options how many a task has. The job is cancelled when the run is over.", KIND_OPTIONS, slurm, false) \
    OPTION("slurm-address", 0, "HOST", "this host's name", "With --slurm: where compute nodes reach this host.", KIND_TEXT, slurm_address, false) \
    OPTION("slurm-join", 0, "COMMAND", "this xdctl join", "With --slurm: what a task starts, up to the address: xdctl join with its options, or another program that can join, as a shell reads it.", KIND_TEXT, slurm_join, false) \
    OPTION("max-worker-restart", 0, "N", "4 per worker", "How many crashed workers are replaced in each environment; after that the others continue.", KIND_COUNT, max_worker_restart, true) \
    OPTION("testrunuid", 0, "TEXT", "the run's id", "The run id that tests see (fixture testrun_uid).", KIND_TEXT, run_uid, true) \
    OPTION("jsonl", 0, "FILE", "", "Write one JSON object per event to FILE during the run; xd-jsonl(5) describes the fields.", KIND_TEXT, jsonl, true) \
    OPTION("runner", 0, "pytest|command", "pytest", "What runs the tests; command: a list with one command line per test (--list FILE, --timeout TIME).", KIND_WORD, runner, false) \
    OPTION("python", 0, "PY", "found", "Interpreter (or a command line that ends in one) for specs that name none; else that of $VIRTUAL_ENV, of the pytest on PATH, python3.", KIND_TEXT, python, false) \
    OPTION("live", 0, "auto|always|never", "auto", "A status line at the bottom that shows what is running; auto: on a terminal, unless $CI is set or the terminal is dumb.", KIND_WORD, live, false) \
    OPTION("slow-after", 0, "TIME", "60s", "Without a live line, name a test once it has run this long, and again each time its running time has doubled; none or 0: never.", KIND_TIME_OR_NONE, slow_after_ns, false) \
    OPTION("profile", 0, "NAME", "default", "Options of this profile in xd.toml or pyproject.toml count, above those that stand outside of profiles.", KIND_TEXT, profile, false) \
    OPTION("as-module", 0, NULL, "", "Set up sys.path and sys.argv as `python -m pytest` does, not as `pytest` does.", KIND_FLAG, as_module, false) \
    OPTION("no-fork", 0, NULL, "", "Start each worker as a new process; slower, for suites that do not work after a fork.", KIND_FLAG, no_fork, false) \
    OPTION("no-history", 0, NULL, "", "Neither read nor record the durations of tests.", KIND_FLAG, no_history, false) \
    OPTION("grace", 0, "TIME", "10s", "Time for running tests to finish after the first Ctrl-C.", KIND_GRACE, grace_ns, false) \
    OPTION("shutdown-timeout", 0, "TIME", "none", "Time for the workers' sessions to end when all tests are done; those that take longer are killed, and the exit code is 1.", KIND_TIME_OR_NONE, shutdown_ns, false) \
    OPTION("agent-timeout", 0, "TIME", "60s", "An environment whose agent answers nothing for this long is given up; none or 0: never.", KIND_TIME_OR_NONE, agent_timeout_ns, false) \
    OPTION("reconnect-timeout", 0, "TIME", "30s", "How long an environment whose connection is cut is dialled again, while its tests run on; none or 0: it is lost at once.", KIND_TIME_OR_NONE, reconnect_ns, false) \
    OPTION("on-lost", 0, "rerun|fail", "rerun", "What becomes of tests that had begun in an environment that is lost: rerun, once; fail: their outcome is lost.", KIND_WORD, on_lost, false) \
    OPTION("ssh", 0, "auto|libssh|openssh", "auto", "What carries ssh=: libssh, in this program; openssh, the user's ssh program; auto: libssh where it can do what ssh_config asks for.", KIND_WORD, ssh, false) \
    OPTION("ssh-accept-new", 0, NULL, "", "Take and write down the key of a host that is not in known_hosts; a key that has changed is refused all the same.", KIND_FLAG, ssh_accept_new, false) \
    OPTION("keys", 0, "DIR", "~/.config/xdctl", "Folder of the keys of socket= and --listen: the own one (id), those of servers (known_brokers), and those of hosts that may join (authorized_workers).", KIND_TEXT, keys, false) \
    OPTION("output-limit", 0, "SIZE", "1M", "How much output that bypasses pytest's capture is kept, per test, for each of stdout and stderr.", KIND_SIZE, output_limit, false) \
    OPTION("journal-limit", 0, "SIZE", "4G", "How large a run's journal may become; then the run ends with exit code 7. 0: no limit.", KIND_SIZE, journal_limit, false) \
    OPTION("runs-keep", 0, "N", "100", "How many runs of each project are kept under $XDG_STATE_HOME/xd/runs.", KIND_SIZE, runs_keep, false) \
    OPTION("runs-size", 0, "SIZE", "1G", "How many bytes they may take; the oldest runs are removed first.", KIND_SIZE, runs_bytes, false) \
    OPTION("runs-age", 0, "TIME", "30d", "Age at which a run is removed.", KIND_TIME, runs_age_ns, false) \
    OPTION("work-dir", 0, "DIR", "the current one", "Run as if started in DIR: relative paths in other options and arguments start there.", KIND_TEXT, work_dir, false) \
    OPTION("state-dir", 0, "DIR", "$XDG_STATE_HOME/xd", "Folder for the kept runs; `show`, `report` and `runs` take this option too.", KIND_TEXT, state_dir, false) \
    OPTION("cache-dir", 0, "DIR", "$XDG_CACHE_HOME/xd", "Folder for the durations of tests and the agent's Python code.", KIND_TEXT, cache_dir, false) \
    OPTION("stats", 0, "FILE", "", "Write counters of the run (CPU time, bytes) as JSON to FILE.", KIND_TEXT, stats, false) \
    OPTION("agent", 0, "PATH", "found", "The xdagent program; by default the one beside this program, else the installed one.", KIND_TEXT, agent, false)

static const xd_option shown_options[] = {
#define OPTION(name, letter, argument, fallback, help, kind, member, among) { name, letter, argument, fallback, help },
    OPTIONS
#undef OPTION
    { NULL, 0, NULL, NULL, NULL },
};

typedef xd_config_entry entry;

const entry xd_config_entries[] = {
#define OPTION(name, letter, argument, fallback, help, kind, member, among) { { name, letter, argument, fallback, help }, kind, offsetof(struct xd_config, member), among },
    OPTIONS
#undef OPTION
};
/* clang-format on */
const size_t xd_config_entry_count = XD_ARRAY_LEN(xd_config_entries);

static bool is_list(xd_config_kind k)
{
    return k == KIND_LIST || k == KIND_NAMES;
}

static bool is_text(xd_config_kind k)
{
    return k == KIND_TEXT || k == KIND_OPTIONS || k == KIND_DIST || k == KIND_WORD;
}

const xd_option *xd_config_options(void)
{
    return shown_options;
}

bool xd_config_is_list(const xd_config_entry *e)
{
    return is_list(e->kind);
}

static bool is_named(const char *name, const char *asked)
{
    for (; *name && *asked; name++, asked++)
        if (*name != *asked && !(*name == '-' && *asked == '_'))
            return false;
    return !*name && !*asked;
}

const xd_config_entry *xd_config_entry_named(const char *name)
{
    for (size_t i = 0; i < xd_config_entry_count && *name; i++)
        if (is_named(xd_config_entries[i].shown.name, name))
            return &xd_config_entries[i];
    return NULL;
}

/* ---- what was given ------------------------------------------------------------------------------------- */

static void given_release(xd_given *g)
{
    free(g->value);
    free(g->origin);
    *g = (xd_given){ 0 };
}

static void given_release_all(xd_config *c)
{
    for (size_t i = 0; i < c->n_given; i++)
        given_release(&c->given[i]);
    free(c->given);
    c->given = NULL;
    c->n_given = 0;
}

static int given_add(xd_config *c, size_t option, const char *value, const char *origin)
{
    xd_given *all = realloc(c->given, (c->n_given + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    c->given = all;
    all[c->n_given] = (xd_given){ .option = option, .value = strdup(value) };
    if (origin)
        all[c->n_given].origin = strdup(origin);
    if (!all[c->n_given].value || (origin && !all[c->n_given].origin)) {
        given_release(&all[c->n_given]);
        return -ENOMEM;
    }
    c->n_given++;
    return 0;
}

int xd_config_remember_first(xd_config *c, const xd_config_entry *e, const xd_strings *values,
                             const xd_strings *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        XD_TRY(given_add(c, (size_t)(e - xd_config_entries), values->at[i], origins->at[i]));
        const xd_given last = c->given[c->n_given - 1];
        memmove(&c->given[i + 1], &c->given[i], (c->n_given - 1 - i) * sizeof(last));
        c->given[i] = last;
    }
    return 0;
}

static void given_drop(xd_config *c, size_t at)
{
    given_release(&c->given[at]);
    memmove(&c->given[at], &c->given[at + 1], (c->n_given - at - 1) * sizeof(*c->given));
    c->n_given--;
}

/* What was said of it before no longer counts, unless it is a list. */
int xd_config_remember(xd_config *c, const xd_config_entry *e, const char *value)
{
    const size_t option = (size_t)(e - xd_config_entries);
    for (size_t i = 0; i < c->n_given && !is_list(e->kind); i++)
        if (c->given[i].option == option)
            given_drop(c, i--);
    return given_add(c, option, value, c->origin);
}

void xd_config_clear_list(xd_config *c, const xd_config_entry *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n_given; i++) {
        if (c->given[i].option == (size_t)(e - xd_config_entries))
            given_release(&c->given[i]);
        else
            c->given[kept++] = c->given[i];
    }
    c->n_given = kept;
    xd_strings_release((xd_strings *)((char *)c + e->offset));
}

/* A flag is said to be true or false; what has no default, and was not given, is NULL. */
static const char *shown_value(const entry *e, const char *value)
{
    if (e->kind == KIND_FLAG)
        return value && value[0] == '1' ? "true" : "false";
    return value && (value[0] || e->kind == KIND_OPTIONS) ? value : NULL;
}

int xd_config_show(const xd_config *c, xd_setting_fn fn, void *arg)
{
    for (size_t k = 0; k < xd_config_entry_count; k++) {
        const entry *e = &xd_config_entries[k];
        const char   letter[] = { e->shown.letter, 0 };
        xd_setting   s = { .name = e->shown.name[0] ? e->shown.name : letter,
                           .flag = e->kind == KIND_FLAG,
                           .list = is_list(e->kind) };
        bool         given = false;
        for (size_t i = 0; i < c->n_given; i++) {
            if (c->given[i].option != k)
                continue;
            given = true;
            s.value = shown_value(e, c->given[i].value);
            s.origin = c->given[i].origin ? c->given[i].origin : "program";
            int r = fn(arg, &s);
            if (r != 0)
                return r;
        }
        if (given)
            continue;
        s.value = shown_value(e, e->shown.fallback[0] ? e->shown.fallback : NULL);
        s.origin = "default";
        int r = fn(arg, &s);
        if (r != 0)
            return r;
    }
    return 0;
}

const char *xd_config_note(const xd_config *c, size_t number)
{
    return number < c->notes.count ? c->notes.at[number] : NULL;
}

/* ---- a config ------------------------------------------------------------------------------------------- */

const char *xd_version(void)
{
    return XD_VERSION;
}

int xd_config_new(xd_config **ret)
{
    xd_config *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (xd_config){
        .magic = CONFIG_MAGIC,
        .workers = XD_WORKERS_UNSET,
        .args_final = SIZE_MAX,
        .max_worker_restart = -1,
        .runs_keep = 100,
        .runs_bytes = 1ull << 30,
        .runs_age_ns = 30ull * 86400 * 1000000000,
        .wait_ns = 600ull * 1000000000,
        .slow_after_ns = 60ull * 1000000000,
        .grace_ns = 10ull * 1000000000,
        .agent_timeout_ns = 60ull * 1000000000,
        .reconnect_ns = 30ull * 1000000000,
        .output_limit = 1u << 20,
        .journal_limit = 4ull << 30,
    };
    *ret = c;
    return 0;
}

void xd_config_free(xd_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < xd_config_entry_count; i++) {
        void *at = (char *)c + xd_config_entries[i].offset;
        if (is_text(xd_config_entries[i].kind))
            free(*(char **)at);
        if (is_list(xd_config_entries[i].kind))
            xd_strings_release(at);
    }
    xd_strings_release(&c->args);
    xd_strings_release(&c->command_line);
    xd_strings_release(&c->found.tx_from);
    xd_strings_release(&c->found.px_from);
    xd_strings_release(&c->found.known);
    free(c->found.dist);
    xd_strings_release(&c->notes);
    given_release_all(c);
    free(c);
}

/* *s is still that of another config. */
static int own_strings(xd_strings *s)
{
    const xd_strings from = *s;
    *s = (xd_strings){ 0 };
    for (size_t i = 0; i < from.count; i++)
        XD_TRY(xd_strings_add(s, from.at[i]));
    return 0;
}

static int own_text(char **text)
{
    return !*text || (*text = strdup(*text)) ? 0 : -ENOMEM;
}

/* c->given is still that of `from`. */
static int own_given(xd_config *c, const xd_config *from)
{
    c->given = NULL;
    c->n_given = 0;
    c->origin = NULL;
    for (size_t i = 0; i < from->n_given; i++)
        XD_TRY(given_add(c, from->given[i].option, from->given[i].value, from->given[i].origin));
    return 0;
}

int xd_config_copy(xd_config **ret, const xd_config *from)
{
    xd_config *c = malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = *from;
    /* All of them, also after a failure: what is not its own must not be freed. */
    bool whole = own_strings(&c->args) == 0;
    whole &= own_strings(&c->command_line) == 0;
    whole &= own_strings(&c->found.tx_from) == 0;
    whole &= own_strings(&c->found.px_from) == 0;
    whole &= own_strings(&c->found.known) == 0;
    whole &= own_text(&c->found.dist) == 0;
    whole &= own_strings(&c->notes) == 0;
    whole &= own_given(c, from) == 0;
    for (size_t i = 0; i < xd_config_entry_count; i++) {
        void *at = (char *)c + xd_config_entries[i].offset;
        if (is_text(xd_config_entries[i].kind))
            whole &= own_text(at) == 0;
        if (is_list(xd_config_entries[i].kind))
            whole &= own_strings(at) == 0;
    }
    if (!whole) {
        xd_config_free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

static int complain(char *err, const char *name, char letter, const char *value, const char *want)
{
    if (err) {
        char shown[64];
        if (name[0])
            snprintf(shown, sizeof(shown), "--%s", name);
        else
            snprintf(shown, sizeof(shown), "-%c", letter);
        snprintf(err, XD_TEXT, "option %s: '%.200s' is not valid: %s", shown, value, want);
        xd_error_one_line(err);
    }
    return -EINVAL;
}

int xd_config_refuse_value(const xd_config_entry *e, const char *value, char *err)
{
    return complain(err, e->shown.name, e->shown.letter, value, "a flag takes no value");
}

static int replace_text(char **at, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

/* The values of --dist. Each alone honours the groups that tests are marked with, as a worker of its own would. */
static const struct {
    const char *name;
    xd_each     each;
    const char *mode;
} dist_modes[] = {
    { "load", XD_EACH_RUN, "load" },
    { "worksteal", XD_EACH_RUN, "worksteal" },
    { "loadfile", XD_EACH_RUN, "loadfile" },
    { "loadscope", XD_EACH_RUN, "loadscope" },
    { "loadgroup", XD_EACH_RUN, "loadgroup" },
    { "no", XD_EACH_RUN, "no" },
    { "each", XD_EACH_ENVIRONMENT, "loadgroup" },
    { "each:load", XD_EACH_ENVIRONMENT, "load" },
    { "each:worksteal", XD_EACH_ENVIRONMENT, "worksteal" },
    { "each:loadfile", XD_EACH_ENVIRONMENT, "loadfile" },
    { "each:loadscope", XD_EACH_ENVIRONMENT, "loadscope" },
    { "each:loadgroup", XD_EACH_ENVIRONMENT, "loadgroup" },
    { "each-worker", XD_EACH_WORKER, "load" },
};

static size_t find_dist(const char *name)
{
    size_t i = 0;
    while (i < XD_ARRAY_LEN(dist_modes) && strcmp(name, dist_modes[i].name) != 0)
        i++;
    return i;
}

static int set_dist(const entry *e, void *at, const char *value, char *err)
{
    if (find_dist(value) < XD_ARRAY_LEN(dist_modes))
        return replace_text(at, value);
    return complain(err, e->shown.name, 0, value,
                    "it is one of load, worksteal, loadfile, loadscope, loadgroup, no, each, each:load (or "
                    "another of the first five behind the colon), each-worker");
}

xd_each xd_config_each(const xd_config *c)
{
    const char *dist = xd_config_dist(c);
    return dist ? dist_modes[find_dist(dist)].each : XD_EACH_RUN; /* it was looked at when it was set */
}

const char *xd_config_mode(const xd_config *c)
{
    const char *dist = xd_config_dist(c);
    return dist ? dist_modes[find_dist(dist)].mode : NULL;
}

static const char *next_word(const char *word)
{
    const char *bar = strchr(word, '|');
    return bar ? bar + 1 : NULL;
}

static int set_word(const entry *e, void *at, const char *value, char *err)
{
    char   want[128];
    size_t len = strlen(value);
    for (const char *word = e->shown.argument; len && word; word = next_word(word))
        if (strncmp(word, value, len) == 0 && (word[len] == '|' || !word[len]))
            return replace_text(at, value);
    snprintf(want, sizeof(want), "it is one of %s", e->shown.argument);
    return complain(err, e->shown.name, 0, value, want);
}

static int set_number(const entry *e, int *at, const char *value, char *err)
{
    const bool or_all = e->kind == KIND_NUMBER_OR_ALL;
    uint64_t   n = 0;
    if (!(or_all && strcmp(value, "all") == 0) &&
        xd_text_u64(value, e->kind == KIND_COUNT ? 0 : 1, 65535, &n) < 0)
        return complain(err, e->shown.name, 0, value,
                        or_all                  ? "it is a whole number from 1 to 65535, or all"
                        : e->kind == KIND_COUNT ? "it is a whole number from 0 to 65535"
                                                : "it is a whole number from 1 to 65535");
    *at = (int)n;
    return 0;
}

static int put(xd_config *c, const entry *e, const char *value, char *err)
{
    void    *at = (char *)c + e->offset;
    uint64_t n = 0;
    switch (e->kind) {
    case KIND_FLAG:
        if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
            return complain(err, e->shown.name, e->shown.letter, value, "a flag takes no value");
        *(bool *)at = value[0] == '1';
        return 0;
    case KIND_TEXT:
        if (!*value)
            return complain(err, e->shown.name, 0, value, "it must not be empty");
        return replace_text(at, value);
    case KIND_OPTIONS:
        return replace_text(at, value);
    case KIND_NAMES:
        if (!*value)
            return complain(err, e->shown.name, 0, value, "it must not be empty");
        return xd_strings_add(at, value);
    case KIND_LIST:
        return xd_strings_add(at, value);
    case KIND_DIST:
        return set_dist(e, at, value, err);
    case KIND_WORD:
        return set_word(e, at, value, err);
    case KIND_WORKERS:
        if (strcmp(value, "auto") == 0 || strcmp(value, "logical") == 0) {
            *(int *)at = value[0] == 'a' ? XD_WORKERS_AUTO : XD_WORKERS_LOGICAL;
            return 0;
        }
        if (xd_text_u64(value, 0, XD_WORKERS_MAX, &n) < 0)
            return complain(err, e->shown.name, 0, value, "it is a number from 0 to 1024, auto or logical");
        *(int *)at = (int)n;
        return 0;
    case KIND_NUMBER_OR_ALL:
    case KIND_NUMBER:
    case KIND_COUNT:
        return set_number(e, at, value, err);
    case KIND_SIZE:
        if (xd_text_size(value, at) < 0)
            return complain(err, e->shown.name, 0, value,
                            "it is a number such as 100, 64M or 1G, below 8192P");
        return 0;
    case KIND_TIME_OR_NONE:
        if (strcmp(value, "none") == 0) {
            *(uint64_t *)at = 0;
            return 0;
        }
        if (xd_text_duration(value, at) < 0)
            return complain(err, e->shown.name, 0, value, "it is a time such as 10s or 5m, or none");
        return 0;
    case KIND_TIME:
        if (xd_text_duration(value, at) < 0)
            return complain(err, e->shown.name, 0, value,
                            "it is a time such as 10s, 5m or 30d, at most 100000d");
        return 0;
    case KIND_GRACE: /* travels as 32 bits of milliseconds */
        if (xd_text_duration(value, &n) < 0 || n > 40ull * 86400 * 1000000000)
            return complain(err, e->shown.name, 0, value, "it is a time such as 10s, 5m or 1h, at most 40d");
        *(uint64_t *)at = n;
        return 0;
    }
    return -EINVAL;
}

int xd_config_set_entry(xd_config *c, const xd_config_entry *e, const char *value, char *err)
{
    XD_TRY(put(c, e, value, err));
    return xd_config_remember(c, e, value);
}

int xd_config_set(xd_config *c, const char *name, const char *value, char *err)
{
    for (size_t i = 0; i < xd_config_entry_count; i++) {
        const entry *e = &xd_config_entries[i];
        if (e->shown.name[0] ? strcmp(e->shown.name, name) == 0 : (name[0] == e->shown.letter && !name[1]))
            return xd_config_set_entry(c, e, value, err);
    }
    if (err)
        snprintf(err, XD_TEXT, "there is no option named '%.100s'", name);
    return -EINVAL;
}

const char *xd_config_get(const xd_config *c, const char *name)
{
    for (size_t i = 0; i < xd_config_entry_count; i++)
        if (strcmp(xd_config_entries[i].shown.name, name) == 0 && is_text(xd_config_entries[i].kind))
            return *(char *const *)((const char *)c + xd_config_entries[i].offset);
    return NULL;
}

int xd_config_add_arg(xd_config *c, const char *arg)
{
    return xd_strings_add(&c->args, arg);
}

const char *xd_config_dist(const xd_config *c)
{
    return c->dist ? c->dist : c->load ? "load" : c->found.dist;
}

bool xd_config_is_pytest(const xd_config *c)
{
    return !c->runner || strcmp(c->runner, "pytest") == 0;
}

int xd_config_fits(const xd_config *c, xd_error *err)
{
    const char *unfit = c->as_module ? "--as-module"
                        : c->no_fork ? "--no-fork"
                        : c->python  ? "--python"
                                     : NULL;
    if (c->profile && !c->profile_read)
        return xd_error_set(err, -EINVAL,
                            "option --profile: '%.200s' chooses among options of files, which were not read",
                            c->profile);
    if (xd_config_is_pytest(c))
        return 0;
    const char *colon = c->dist ? strchr(c->dist, ':') : NULL, *mode = colon ? colon + 1 : c->dist;
    if (!unfit && mode && strncmp(mode, "load", 4) == 0 && mode[4]) /* loadfile, loadscope, loadgroup */
        return xd_error_set(err, -EINVAL,
                            "option --dist=%s does not apply to --runner %s: its tests have no files",
                            c->dist, c->runner);
    for (size_t i = 0; !unfit && i < c->tx.count; i++) {
        xd_xspec spec;
        XD_TRY(xd_xspec_parse(&spec, c->tx.at[i], err));
        unfit = spec.python ? "python=" : NULL;
        xd_xspec_release(&spec);
    }
    return unfit ? xd_error_set(err, -EINVAL, "option %s does not apply to --runner %s", unfit, c->runner)
                 : 0;
}
