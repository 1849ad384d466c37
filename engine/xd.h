/* xd.h - the one installed header: run a test suite from your own program.
 *
 *     xd_config *cfg;  xd_engine *run;  xd_result res = XD_RESULT_INIT;  char err[XD_TEXT];
 *     xd_config_new(&cfg);
 *     xd_config_set(cfg, "numprocesses", "4", err);
 *     xd_config_add_arg(cfg, "tests/");
 *     xd_engine_new(&run, cfg, err);
 *     if (xd_engine_start(run, err) == 0)
 *         xd_engine_wait(run, -1, &res);
 *     xd_engine_free(run);  xd_config_free(cfg);
 *
 * Rules for all functions: an `int` is 0, a documented value > 0, or -errno, of which -ENOMEM is always
 * possible. `err` (XD_TEXT bytes, may be NULL) gets one line for a human when the call fails, and is left
 * alone when it does not. A `ret` is set on success only.
 * What is given as `const` is looked at during the call and copied where it is kept.
 * The library installs no signal handler, changes no environment, directory or umask, and prints only to the
 * descriptors it is given; its threads block all signals. A program that gives it pipes, or may meet a limit
 * of file sizes (ulimit -f), ignores SIGPIPE and SIGXFSZ, as any program that writes does. Several engines may
 * run in one process. One config and one engine are used by one thread at a time, except xd_engine_stop, which
 * any thread may call.
 *
 * Growing structures: xd_event and xd_result begin with `size`. Later versions put members at the end, and take none
 * away and change none; a program that was built with an older or a newer xd.h than the library goes on working.
 *   - A structure that the library fills is made with its XD_..._INIT, which sets `size`. The library never reads or
 *     writes past it: members that are new to the program do not reach it, members that are new to the program's
 *     header and not known to the library stay as they were (0 after XD_..._INIT). `size` stays.
 *   - An event that a callback gets has the size that the library knows. A program that may meet an older library
 *     asks XD_HAS(ev, member) before it reads a member that came later than 0.1.
 *   - -EINVAL: `size` does not even hold the members that all versions have, up to the line that says so. It was not
 *     set. */
#ifndef XD_H
#define XD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define XD_API __attribute__((visibility("default")))
#else
#define XD_API
#endif

#define XD_TEXT 1024 /* size of an error text buffer */

/* Whether the structure that p points to, with its size, holds this member. */
#define XD_HAS(p, member) ((p)->size >= (size_t)((const char *)(&(p)->member + 1) - (const char *)(p)))

/* Exit codes: pytest's own for pytest suites, and two more. */
enum xd_exit {
    XD_EXIT_OK = 0,
    XD_EXIT_FAILED = 1,
    XD_EXIT_INTERRUPTED = 2,
    XD_EXIT_INTERNAL = 3,
    XD_EXIT_USAGE = 4,
    XD_EXIT_NO_TESTS = 5,
    XD_EXIT_INFRASTRUCTURE = 6, /* no worker could be started */
    XD_EXIT_MAX_WARNINGS =
        6,                 /* pytest's own, of --max-warnings (9.1 and newer): all passed, it is said why */
    XD_EXIT_INCOMPLETE = 7 /* results are missing or could not be recorded */
};

/* "0.1.0"; static storage.  Any thread. */
XD_API const char *xd_version(void);

/* ---- configuration ------------------------------------------------------------------------------------- */

typedef struct xd_config xd_config;

/* All options at their defaults.  The caller frees it.  -ENOMEM. */
XD_API int  xd_config_new(xd_config **ret);
XD_API void xd_config_free(xd_config *cfg); /* NULL ok */

/* Sets one option by its long name without dashes (xd_config_options lists them; one that has only a letter,
 * by that letter). The options that may be given more than once append. A flag takes "1" or "0". Sizes and times are texts such as
 * "64M" and "10s". -EINVAL: unknown name or bad value, err says which and what is allowed; the value it had
 * stays. */
XD_API int xd_config_set(xd_config *cfg, const char *name, const char *value, char *err);

/* Value of a text option (agent, cache-dir, dist, hosts, jsonl, live, profile, python, state-dir, stats, testrunuid, work-dir), NULL when it was not set or is no
 * text. The config's own; valid until the next change. */
XD_API const char *xd_config_get(const xd_config *cfg, const char *name);

/* Appends one argument for the test framework (pytest), untouched. It is never looked at for options of
 * xd. */
XD_API int xd_config_add_arg(xd_config *cfg, const char *arg);

/* Reads a command line as `xdctl run` does: xd's own options first; the first argument xd does not know
 * begins pytest's arguments, in which only xdist's option names and --jsonl are still read by xd; `--` ends
 * xd's options for good.
 * argv[0] is the first argument, not the name of the program. -EINVAL as xd_config_set; what was read before
 * the bad one stays set. */
XD_API int xd_config_parse(xd_config *cfg, int argc, char *const *argv, char *err);

/* The same, and below the command line what configuration files and the environment say, as `xdctl run` reads them: the user's
 * config.toml, the project's xd.toml or the table tool.xd of its pyproject.toml, the profile that is chosen, $XD_... variables,
 * and last the command line (xd(7), CONFIGURATION). What was set in cfg before counts least. Reads files, starts nothing. -EINVAL: one of
 * these has something that is not valid, err names file and line, or the variable; cfg is good for xd_config_free alone then. */
XD_API int xd_config_read(xd_config *cfg, int argc, char *const *argv, char *err);

/* Below all that, what pytest's own configuration says of pytest-xdist's options: addopts, $PYTEST_ADDOPTS, conftest.py. For xd_config_show: a run reads it by
 * itself, and cfg is good for no run any more. Reads files, starts nothing; leaves lines for xd_config_note. -EINVAL: one of these has something that is not valid, err
 * names file and line. */
XD_API int xd_config_read_project(xd_config *cfg, char *err);

/* An option as it stands in a config. This structure stays as it is. Texts are valid during the call. */
typedef struct xd_setting {
    const char *name; /* as xd_config_set takes it */
    const char *
        value; /* as it was given, or the default as text; of a flag "true" or "false"; NULL = there is none */
    const char *
        origin; /* "default", "command line", "XD_DIST", "xd.toml:3", "profile ci (xd.toml:12)", "pytest.ini:2", "$PYTEST_ADDOPTS", or "program": xd_config_set */
    int flag;   /* 1 = it takes no value on the command line */
    int list;   /* 1 = it may be given more than once: this is one of its values */
} xd_setting;

/* Non-zero ends the calls and is passed on. */
typedef int (*xd_setting_fn)(void *arg, const xd_setting *setting);
/* Tells the value of each option and where it comes from, in the order of xd_config_options. Else 0. */
XD_API int xd_config_show(const xd_config *cfg, xd_setting_fn fn, void *arg);
/* Lines for the user that xd_config_read left, from 0 on; NULL: there are no more. A run with this config reports them, too. The
 * config's own. */
XD_API const char *xd_config_note(const xd_config *cfg, size_t number);

/* Takes those of xd's options that stand among pytest's arguments, unless pytest, a plugin or a conftest of the
 * project in work-dir (else the current folder) has an option of that name. Starts the interpreter once when there are any, for
 * at most 20 s; else it does nothing. Between xd_config_parse or xd_config_read and xd_engine_new; `xdctl run` does so. -EINVAL: a
 * bad value; other -errno: the interpreter or the agent could not be started. */
XD_API int xd_config_settle(xd_config *cfg, char *err);

typedef struct xd_option {
    const char *name;     /* long name without dashes */
    char        letter;   /* short option or 0 */
    const char *argument; /* NULL = a flag */
    const char *fallback; /* default as text, may be "" */
    const char *help;     /* one sentence */
} xd_option;
/* Table of all options, ended by name = NULL; static storage. Its entries never grow. */
XD_API const xd_option *xd_config_options(void);

/* ---- a broker for several runs -------------------------------------------------------------------------- */

/* What carries the messages of a run. Several runs can share one, one after the other and side by side: a thread and
 * a ZeroMQ context serve them all, which saves two threads, four descriptors and the start of them for each run. Runs do not see each
 * other: each has its journal, its limits and its end. */
typedef struct xd_broker xd_broker;
/* Starts one. The caller frees it after the engines that use it. -errno: the system has no threads or descriptors left, err
 * says so. */
XD_API int  xd_broker_new(xd_broker **ret, char *err);
XD_API void xd_broker_free(xd_broker *b); /* NULL ok; stays when a part of a run on it could not be ended */

/* ---- a run --------------------------------------------------------------------------------------------- */

typedef struct xd_engine xd_engine;

enum xd_stop {
    XD_STOP_DRAIN =
        1, /* running tests get the time of option grace (10 s), then are killed; reports are written; exit code 2 */
    XD_STOP_NOW = 2,   /* kill workers at once; reports are written; exit code 2 */
    XD_STOP_PAUSE = 3, /* stop the processes of all workers (job control) */
    XD_STOP_RESUME = 4 /* let them go on */
};

enum xd_event_type {
    XD_EVENT_STARTED =
        1, /* collection is over, tests start: text = run id, count = tests, value = workers.  Not told when collection fails */
    XD_EVENT_TEST =
        2, /* a test has its outcome (a teardown that comes later may still make an error of it: see the result): text = node id, count = its index in the collection, value = 1 passed, 2 failed, 3 skipped,
                              4 xfailed, 5 xpassed, 6 error, 7 crashed, 8 timeout, 9 lost; duration_us, message, worker and attempt are set.
                              Only with a callback: nobody has to fetch them all */
    XD_EVENT_NOTE =
        3, /* a line for the user: text, value = level: 1 detail, 2 note, 3 warning, 4 error; count = how
                          many were left out before it, because 1,000 waited to be taken */
    XD_EVENT_FINISHED = 4, /* value = exit code, count = tests with an outcome; nothing follows */
    XD_EVENT_PAUSED = 5    /* XD_STOP_PAUSE is on its way to all agents: this process may be stopped now */
};

typedef struct xd_event {
    size_t size; /* XD_EVENT_INIT */
    int    type; /* xd_event_type */
    /* NULL when the type has none; valid until the next xd_engine_next_event, or during the callback. */
    const char *text;
    int64_t     value;
    uint64_t    count;
    /* Up to here: all versions. The others are of XD_EVENT_TEST, else 0. */
    uint64_t duration_us; /* set-up, call and teardown, without a teardown that comes later */
    /* One line: how it failed first, or why it was skipped or may fail. NULL: nobody says. As long valid as text. */
    const char *message;
    uint32_t    worker;  /* that ran it: its number; XD_WORKER_NONE: nobody can tell */
    uint32_t    attempt; /* from 1; 2: the first one's agent was lost */
    /* That count is an index of: 0, or the number of the environment where each has a collection of its own. */
    uint64_t collection;
    const char *
        worker_name; /* what reports call that worker: id= of its spec, else gw and its number; NULL: nobody can tell */
} xd_event;
#define XD_EVENT_INIT                                           \
    {                                                           \
        sizeof(xd_event), 0, NULL, 0, 0, 0, NULL, 0, 0, 0, NULL \
    }
#define XD_WORKER_NONE 0xffffu

/* Called on a thread of the engine, in order and never twice at a time, for each event; must return soon, as
 * the run waits for it. `ev` is valid during the call. Of this engine's functions it may call xd_engine_stop
 * alone. */
typedef void (*xd_event_fn)(void *arg, const xd_event *ev);

typedef struct xd_result {
    size_t   size; /* XD_RESULT_INIT */
    int      exit_code;
    uint32_t collected, recorded, not_run; /* tests; recorded = they have an outcome, not_run = the others */
    uint32_t passed, failed, skipped, xfailed, xpassed, errors, crashed; /* tests by outcome */
    /* Up to here: all versions. */
    uint64_t duration_us;                   /* from start to the end of the last worker */
    uint64_t controller_cpu_us;             /* this whole process, from start to end of the run */
    uint64_t agents_cpu_us, workers_cpu_us; /* of all agents; of all Python processes they started */
    uint64_t stream_bytes;                  /* received from all agents */
    char     run_id[40];                    /* 32 hexadecimal digits */
    /* Folder of the journal; kept as the options runs-* say. Empty: the command line was refused, that is no run. */
    char run_dir[XD_TEXT];
} xd_result;
#define XD_RESULT_INIT                                                            \
    {                                                                             \
        sizeof(xd_result), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", "" \
    }

/* An engine for one run; nothing is started. cfg is copied. The caller frees it. What may be set before start alone
 * is ignored later. The project's own options (addopts, PYTEST_ADDOPTS, conftest.py) are read here. -EINVAL: a bad spec
 * or option, err names it, and where it stands. */
XD_API int xd_engine_new(xd_engine **ret, const xd_config *cfg, char *err);
/* Where the terminal report goes and where complaints go, one line each: descriptors, borrowed until free; -1
 * = nowhere. Default 1 and 2. Before start. */
XD_API void xd_engine_output(xd_engine *e, int out_fd, int err_fd);
/* Events by callback, with `arg` handed back to it (borrowed until free). Before start. With a callback,
 * xd_engine_fd and xd_engine_next_event yield nothing. */
XD_API void xd_engine_callback(xd_engine *e, xd_event_fn fn, void *arg);
/* The broker that carries the run's messages: one of the program's own, for several engines; borrowed, and freed after the
 * engine. NULL (the default): the engine has its own. Before start. */
XD_API void xd_engine_use_broker(xd_engine *e, xd_broker *b);
/* Processes of a run whose own guard was killed become children of this process (it becomes a subreaper,
 * prctl(2)), and at the end of the run every child of this process is killed: only for a program that has none but
 * those of its run, as xdctl. Before start. -EBUSY: it has children now; other -errno: the system cannot. */
XD_API int xd_engine_adopt_orphans(xd_engine *e);
/* Starts the run and returns; once per engine. It takes place in the folder of option work-dir, else in the current
 * directory. -EINVAL: a file or folder that the options name cannot be written, or is not there; -EALREADY: it was called before; other -errno: the engine cannot work here. Nothing runs
 * then, err says why; what is left is xd_engine_free. */
XD_API int xd_engine_start(xd_engine *e, char *err);
/* Descriptor that is readable while events wait (also XD_EVENT_FINISHED), for poll; owned by the engine,
 * valid until free. Do not read it. */
XD_API int xd_engine_fd(const xd_engine *e);
/* Takes the oldest event.  1 = got one, 0 = none waits now, -EINVAL: ret->size was not set.  Never blocks. */
XD_API int xd_engine_next_event(xd_engine *e, xd_event *ret);
/* Asks the run to stop, pause or go on, and returns at once; the end comes as XD_EVENT_FINISHED. Any thread;
 * not for signal handlers. Before start and after the end of the run: 0, and nothing happens. */
XD_API int xd_engine_stop(xd_engine *e, enum xd_stop how);
/* Shows a line on the terminal between those of the report, of which it is no part. Any thread. -ENOTTY: the report goes
 * to no terminal; -EINVAL: there is no run now. */
XD_API int xd_engine_say(xd_engine *e, const char *line);
/* Waits for the end, at most timeout_ms (-1 = for ever, 0 = only looks). 0 = over, *ret filled, also when
 * called again; 1 = still runs;
 * -EINVAL: it was not started, or ret->size was not set. */
XD_API int xd_engine_wait(xd_engine *e, int timeout_ms, xd_result *ret);
/* NULL ok.  A run that is still going is stopped with XD_STOP_NOW and waited for first. */
XD_API void xd_engine_free(xd_engine *e);

/* ---- runs of the past ---------------------------------------------------------------------------------- */

/* These need no engine and may be called from any thread. cfg: its state-dir is where runs are kept, its work-dir stands for
 * the current directory, and nothing else counts; NULL = the defaults. -EINVAL: there is no such work-dir. */

/* Finds the folder of a run: "latest" (of the project that the current directory is in, or that was started from it),
 * "latest-of-all", the folder itself (with a slash, or "."), an id or a unique beginning of one. The caller frees
 * *ret_dir with free(). -ENOENT: there is none;
 * -EEXIST: several begin so; other -errno: the folder of runs cannot be read. */
XD_API int xd_run_find(const xd_config *cfg, const char *which, char **ret_dir, char *err);

/* id, dir: valid during the call.  started_us: microseconds since 1970, whole milliseconds. */
typedef int (*xd_run_fn)(void *arg, const char *id, const char *dir, uint64_t started_us);
/* Calls back for each run, newest first, in the caller's thread, until fn returns non-zero, which is passed
 * on. Else 0, or -errno: the folder of runs cannot be read. */
XD_API int xd_run_list(const xd_config *cfg, xd_run_fn fn, void *arg, char *err);
/* The same for those of the project that the current directory is in, or that were started from it. */
XD_API int xd_run_list_here(const xd_config *cfg, xd_run_fn fn, void *arg, char *err);
/* What a run is, as one JSON object: id, dir, project, cwd, arguments, version, started, state ("running", "finished",
 * "cut off"), exit_code and duration (null while it runs), reason, tests (collected and a count for each outcome). The
 * caller frees *ret_json. -errno: its journal cannot be read. */
XD_API int xd_run_describe(const char *dir, char **ret_json, char *err);

enum xd_render_flags {
    XD_RENDER_FAILED =
        1, /* terminal: failures and the summary only; matrix: only tests that failed somewhere */
    XD_RENDER_COLOR = 2,      /* terminal, matrix: with colours */
    XD_RENDER_COLOR_AUTO = 4, /* terminal, matrix: with colours where xd_colors says so */
    XD_RENDER_JSON = 8        /* matrix: as one JSON object */
};
/* Makes a report again from the journal in `dir`: kind "terminal", "junit", "jsonl" or "matrix" (of a run in which each environment
 * runs all tests: what became of them where, as far as it differs; with "-v" of all), written to fd; blocks
 * until fd has taken it all. options: pytest's report options for the terminal ("-v", "-q", "-rA",
 * "--tb=line", "--color=yes", "--show-capture=no", "--durations=5", "--durations-min=1", "--no-header",
 * "--no-summary"), NULL-terminated, may be NULL. dir = NULL: only looks whether the options are valid. Returns the
 * run's exit code (>= 0). A journal that ends before the run did (it still runs, or was cut off) is rendered as far as it goes and gives
 * XD_EXIT_INCOMPLETE; only then err is set beside a value >= 0. -EINVAL: unknown kind or option; other
 * -errno: it cannot be read, or fd cannot be written. */
XD_API int xd_run_render(const char *dir, const char *kind, const char *const *options, unsigned flags,
                         int fd, char *err);

/* As xd_run_render, into the file `path`, which is replaced when the report is complete: it stays as it was when that
 * fails, and is written through when it is a link or a device. */
XD_API int xd_run_report(const char *dir, const char *kind, const char *const *options, unsigned flags,
                         const char *path, char *err);

/* Replaces a file by these bytes, in the same way. 0, -errno. */
XD_API int xd_file_replace(const char *path, const void *data, size_t size, char *err);

/* Whether pytest would colour what it writes to fd: 1 or 0. $PY_COLORS, $NO_COLOR, $FORCE_COLOR, then: a terminal that
 * is not dumb. */
XD_API int xd_colors(int fd);

/* Text of others on one line, as it may be shown: what drives a terminal, and bytes that are not UTF-8, as \xNN or \uNNNN;
 * where an environment variable names a CI system that reads commands out of its log ($GITHUB_ACTIONS, $TF_BUILD,
 * $TEAMCITY_VERSION), also a character of each command. The caller frees *ret. 0, -ENOMEM. */
XD_API int xd_harmless(const char *text, size_t size, char **ret);

/* Checks what a run with this config needs (agent, interpreter, pytest, folders, limits) and writes one line
 * each to fd, "ok" or "FAIL" in front.
 * Starts agent and interpreter, at most 20 s each. 0 = all well, 1 = something would fail, -errno: fd cannot
 * be written. */
XD_API int xd_doctor(const xd_config *cfg, int fd, char *err);

enum xd_check {
    XD_CHECK_NONE = 0, /* it was not looked at: something before it failed, or there is none */
    XD_CHECK_GOOD = 1,
    XD_CHECK_BAD = 2
};

/* A package that two interpreters do not have in the same version. This structure stays as it is. */
typedef struct xd_package {
    const char *name;   /* as PEP 503 writes it: lower case, with - between its parts */
    const char *here;   /* version on this host; NULL = it is only there */
    const char *there;  /* version on the other host; NULL = it is missing there */
    int         plugin; /* 1 = a plugin of pytest: it changes what runs */
} xd_package;

/* A host, or what else a spec names, as it was found. Texts are NULL where nothing is known, numbers 0. */
typedef struct xd_host {
    size_t      size;
    const char *spec;
    const char *error; /* one line: what, where, what to do; NULL = a run could use it */
    /* enum xd_check: it was reached; it and the user trust each other; its agent answers; there is an interpreter; there is pytest; its folders
     * can be used, and there is room */
    int         reach, key, agent, python, pytest, disk;
    uint32_t    workers; /* that the specs give it; 0 = as many as it has processors */
    uint32_t    cpus;
    uint64_t    memory_bytes, free_bytes;
    const char *host, *system;       /* name; kernel, its release, machine */
    const char *build_id;            /* of the agent */
    const char *folder;              /* that tests would run in */
    const char *interpreter, *found; /* command line, and where that was found */
    const char *version, *framework; /* "3.12.1", "pytest 9.2.0" */
    const char *ids;                 /* names that id= gives its workers, in order, separated by commas */
    /* Packages that differ from those of the interpreter that a run on this host would use; none of it makes an error. First come plugins,
     * last what is only there; by name. Left out are pip, setuptools and wheel, and what belongs to the project here: it is installed in
     * editable mode, or its files lie there. */
    const xd_package *packages;
    size_t            n_packages;
    const char       *version_here;   /* of that interpreter; NULL = nothing was compared */
    const char       *packages_error; /* why not; NULL also where there was nothing to compare */
} xd_host;

/* Valid during the call. Non-zero ends the calls and is passed on. */
typedef int (*xd_host_fn)(void *arg, const xd_host *host);
/* Looks at the hosts that a run with this config would use (tx, hosts), side by side: starts an agent on each, which looks for
 * folder, interpreter and pytest, and runs nothing of the project. Then calls back for each environment, in the order of the specs, in the caller's
 * thread. Blocks until all have answered or failed: as long as a run would try to reach a host, then at most 90 seconds. Where a spec
 * is not plain popen, an agent on this host looks, too, for the packages to compare with. 0 = all well, 1 = a run would
 * fail on one of them; -EINVAL: a bad option or spec; other -errno: the engine cannot work here; err says it. */
XD_API int xd_hosts_check(const xd_config *cfg, xd_host_fn fn, void *arg, char *err);

/* ---- files on other hosts -------------------------------------------------------------------------------- */

enum xd_sync_flags {
    XD_SYNC_REMOVE =
        1, /* what is in the destination and not in the sources goes, unless it is ignored; else only what was brought goes */
    XD_SYNC_DRY = 2, /* changes nothing; reports what would change */
    XD_SYNC_TELL = 4 /* reports each path that changes */
};

/* A destination after, or during, a synchronisation. Texts are NULL where there is nothing to tell. */
typedef struct xd_sync_host {
    size_t      size;
    const char *destination; /* as it was given */
    const char *error; /* one line: what, where, what to do; NULL = the files are there, or on their way */
    uint64_t    files, bytes;                /* of the sources */
    uint64_t    wanted_files, wanted_bytes;  /* that were lacking there, as far as is known */
    uint64_t    sent_files, sent_bytes;      /* of those; before compression */
    uint64_t    wire_bytes, wire_back_bytes; /* that went there and came back, without what carries them */
    uint64_t    written, removed;            /* files written; files, links and folders removed */
    uint64_t    reused,
        reused_bytes; /* files, and bytes, whose content was there already under another name or in an older version */
    uint32_t round_trips; /* that were waited for, behind those of the connection */
    uint64_t duration_us;
    uint64_t scanned_files, scanned_folders, ignored; /* of the sources: the same for all destinations */
    uint64_t hashed_files, hashed_bytes, scan_us;
    uint64_t
        unreadable; /* names in the sources that could not be read, and so were not brought; a note names each */
} xd_sync_host;

typedef struct xd_sync_calls {
    size_t size; /* sizeof(xd_sync_calls) */
    void  *arg;  /* handed back */
    /* Each may be NULL, must return soon, and may be called by another thread than the caller's; never two at a time. */
    void (*progress)(void *arg, const xd_sync_host *host); /* at most twice a second and destination */
    void (*change)(void *arg, const char *destination, int removed, const char *path,
                   size_t len);                           /* XD_SYNC_DRY, XD_SYNC_TELL */
    void (*note)(void *arg, int level, const char *line); /* as XD_EVENT_NOTE */
    void (*done)(void *arg, const xd_sync_host *host);    /* once per destination, when it is over */
} xd_sync_calls;

/* Brings files and folders to other hosts, or to other folders of this one. sources: paths, NULL-terminated; each keeps its last name below the
 * destination, or with a slash at its end its contents come there. destinations: NULL-terminated, each a spec, a colon and a path: "ssh=me@host:/srv/p",
 * "popen:/other/dir". ignore: globs, NULL-terminated, may be NULL. cfg: options of the connections (ssh, ssh-accept-new, reconnect-timeout, ...), cache-dir, and work-dir for relative
 * sources. stop: NULL, or looked at now and then: non-zero ends it. Blocks. 0 = all destinations have all; 1 = some have not; 2 = stopped; -EINVAL: a bad source,
 * destination or option; other -errno: the engine cannot work here; err says it. */
XD_API int xd_sync_run(const xd_config *cfg, const char *const *sources, const char *const *destinations,
                       const char *const *ignore, unsigned flags, const xd_sync_calls *calls,
                       const volatile int *stop, char *err);

/* ---- keys, and servers that start agents for others --------------------------------------------------------- */

/* A key, or a line of one of the files of keys. Texts are valid during the call that hands it over. */
typedef struct xd_key_info {
    size_t      size;
    const char *file; /* name of the file: id, authorized_controllers, known_brokers, revoked_keys, ... */
    const char *key;  /* 40 characters */
    const char *fingerprint; /* "SHA256:..." */
    const char *address;     /* of a server; NULL elsewhere */
    const char *comment;     /* "" = none */
    int64_t     expires;     /* seconds since 1970; INT64_MAX = never */
    uint32_t    max_workers; /* 0 = no limit */
} xd_key_info;
typedef void (*xd_key_fn)(void *arg, const xd_key_info *key);

/* In all of these `folder` is that of the keys; NULL = $XDG_CONFIG_HOME/xdctl, else ~/.config/xdctl. */

/* Makes the user's key pair, FOLDER/id and FOLDER/id.pub, and reports it to fn. comment: NULL = USER@HOST. 0 = made; 1 = it existed, and is reported unchanged; -errno: err says
 * what is in the way. */
XD_API int xd_keys_make(const char *folder, const char *comment, xd_key_fn fn, void *arg, char *err);
/* Tells the own key, if there is one, and every line of the lists. -EINVAL, -EPERM: a file cannot be used, err names it and the line. */
XD_API int xd_keys_list(const char *folder, xd_key_fn fn, void *arg, char *err);
/* Asks a server for its public key. The answer is not authenticated: compare the fingerprint before trusting it. Blocks, for at most timeout_ms.
 * ret: 41 bytes. -errno: err says why there is no answer. */
XD_API int xd_keys_ask(const char *address, int timeout_ms, char *ret, char *err);
/* Whether the key of this address is known: 1 = it is this one; 0 = none is; -EKEYREJECTED: another one is. -errno. */
XD_API int xd_keys_known(const char *folder, const char *address, const char *key, char *err);
/* From now on the server at this address is known by this key, and by no other. comment may be NULL. -EINVAL: no address, no key. */
XD_API int xd_keys_trust(const char *folder, const char *address, const char *key, const char *comment,
                         char *err);
/* Adds a line to authorized_controllers: [OPTIONS] xdk1 KEY [COMMENT]. 1 = its key was there, and the line takes the place of the other one. -EINVAL: err says what is wrong in it. */
XD_API int xd_keys_authorize(const char *folder, const char *line, char *err);
/* The same for authorized_workers: whose hosts may join runs of this user. */
XD_API int xd_keys_authorize_worker(const char *folder, const char *line, char *err);
/* The key with this text, fingerprint or comment is no longer trusted, and goes into revoked_keys: a server cuts off who uses it. The number of lines that
 * it was removed from, and at least 1 for a key that is given itself; -ENOENT: no such key; -EEXIST: several have that comment. */
XD_API int xd_keys_revoke(const char *folder, const char *which, char *err);
/* "SHA256:..." of a key; ret: 52 bytes. -EINVAL. */
XD_API int xd_keys_fingerprint(const char *key, char *ret);

typedef struct xd_server_options {
    size_t             size;  /* sizeof(xd_server_options) */
    const char        *keys;  /* folder; NULL as above. The own key is made if there is none */
    const char *const *bind;  /* ADDRESS:PORT, numeric, NULL-terminated; NULL = port 8888 of all addresses */
    const char        *agent; /* its program; NULL = found */
    unsigned           max_agents; /* at once; 0 = 256 */
    unsigned           drain_ms;   /* that agents may go on when it is stopped */
    int                stop_fd; /* readable: it stops: no new controllers, and the end when the agents have ended; a second byte, or the end of file, ends those at once */
    void              *arg;
    /* It listens. addresses: NULL-terminated. May be NULL. */
    void (*ready)(void *arg, const char *const *addresses, const xd_key_info *key, size_t authorized);
    /* A line for each decision about a key, each agent, each fault; level: 0 detail, 1 as usual, 2 warning, 3 error. May be NULL. */
    void (*log)(void *arg, int level, const char *line);
    unsigned max_connections; /* at once, also of strangers; 0 = 4096. Fewer if open files are too few */
} xd_server_options;

/* Starts agents for controllers whose keys are in authorized_controllers (xdctl serve), until it is stopped. Blocks. 0; -errno: err says what cannot be
 * used. A program that calls it ignores SIGPIPE. */
XD_API int xd_server_run(const xd_server_options *options, char *err);
/* Where the same server lies as one static file with its agent inside, to be copied to a host where nothing is installed. The caller frees *ret_path.
 * -ENOENT: this installation has none; err says where it was looked for. */
XD_API int xd_server_program(char **ret_path, char *err);

/* ---- a server on another host ---- */

enum xd_server_verb {
    XD_SERVER_START = 1, /* unless it runs already */
    XD_SERVER_REPLACE,   /* also if one runs: that is told to stop, and this one takes its port */
    XD_SERVER_STOP       /* a second time: its agents do not go on */
};
enum xd_server_state {
    XD_SERVER_STARTED = 1,
    XD_SERVER_REPLACED,
    XD_SERVER_RUNS,    /* it did before; nothing was changed, but for the authorized key */
    XD_SERVER_BUILD,   /* one of another build runs; nothing was changed */
    XD_SERVER_OPTIONS, /* it runs with other options; nothing was changed */
    XD_SERVER_STOPPED,
    XD_SERVER_STOPPING, /* it takes no controllers any more; its agents go on, at most for its drain_ms */
    XD_SERVER_NONE      /* there was none to be stopped */
};

typedef struct xd_server_place {
    size_t      size;         /* sizeof(xd_server_place) */
    const char *spec;         /* "ssh=[OPTIONS] [USER@]HOST", "ssh=HOST//ssh_config=FILE" */
    int         verb;         /* of xd_server_verb */
    const char *keys;         /* folder of the caller's keys; NULL as above */
    const char *keys_there;   /* folder of the server's keys on that host, an absolute path; NULL as above */
    const char *const  *bind; /* as in xd_server_options */
    unsigned            max_agents;      /* 0 = 256 */
    unsigned            drain_ms;        /* whole seconds count */
    unsigned            max_connections; /* 0 = 4096 */
    const volatile int *stop;            /* NULL, or looked at now and then: non-zero ends it */
} xd_server_place;

/* Texts are NULL, and numbers 0, where there is nothing to tell; all are valid during the call. */
typedef struct xd_server_found {
    size_t             size;
    int                state; /* of xd_server_state */
    int64_t            pid;   /* there, as what follows */
    const char        *file, *log, *options;
    const char *const *bound; /* addresses it listens on, NULL-terminated */
    const char        *key, *fingerprint;
    int                authorized; /* the caller's key is, since now */
    const char *const         *
        addresses; /* HOST:PORT, NULL-terminated: by these known_brokers has it now; the first one answers from here */
    const char *forgotten; /* one of them, which was known by another key before */
    const char *unreached; /* why none of them answers from here; NULL = one does */
} xd_server_found;
typedef void (*xd_server_fn)(void *arg, const xd_server_found *found);

/* Puts the server of xd_server_program on a host that ssh reaches, below ~/.cache/xd/server there, and starts it so that it stays; has it let the caller's key in, and writes its
 * key, which comes by ssh, into the caller's known_brokers. cfg: options of ssh (ssh, ssh-accept-new); NULL = none. Blocks; the user may be asked on the terminal. Calls fn once, if
 * the host was reached and nothing failed. 0 = all is as it was asked for; 1 = it is not: state is XD_SERVER_BUILD or XD_SERVER_OPTIONS, or unreached says why; 2 = stopped;
 * -EINVAL: a bad spec or option; -ENOKEY: the caller has no key; other -errno; err says it. */
XD_API int xd_server_on(const xd_config *cfg, const xd_server_place *place, xd_server_fn fn, void *arg,
                        char *err);

/* ---- hosts that join a run ------------------------------------------------------------------------------- */

/* A token by which a host whose key is not authorized may join the run of this id, or of this --testrunuid, while it listens. expires: seconds since 1970. uses: how many may join with it; 0 = any number.
 * It is made with the own key, which has to be that of the run. ret: XD_TOKEN_SIZE bytes. -ENOENT: there is no key yet; -EINVAL; err says it. */
#define XD_TOKEN_SIZE 160
XD_API int xd_token_make(const char *folder, const char *run, int64_t expires, unsigned uses, char *ret,
                         char *err);

typedef struct xd_join_options {
    size_t             size;     /* sizeof(xd_join_options) */
    const char        *address;  /* of the run: HOST:PORT, tcp://HOST:PORT; port 7400 where none is said */
    const char        *keys;     /* folder; NULL as above */
    const char        *token;    /* instead of keys; NULL = none */
    const char        *agent;    /* its program; NULL = found */
    const char *const *tags;     /* capability words, NULL-terminated; NULL = none */
    unsigned           workers;  /* that are offered, at most 1024; 0 = one for each processor */
    uint64_t           wait_ms;  /* that the run may take to be there */
    uint64_t           drain_ms; /* that running tests may take when it is stopped */
    int                stop_fd; /* readable: it leaves when what runs has ended; a second byte, or the end of file, ends that at once */
    void              *arg;
    /* It has joined the run of this id, with so many workers. May be NULL. */
    void (*joined)(void *arg, const char *run, unsigned workers);
    /* level as of xd_server_options. May be NULL. */
    void (*log)(void *arg, int level, const char *line);
} xd_join_options;

/* Brings the workers of this host to a run that listens (xdctl join), until that is over. Blocks. 0 = it is, or this host has left; -EINVAL; -errno: err says
 * why it cannot join, or how the run was lost. A program that calls it ignores SIGPIPE. */
XD_API int xd_join_run(const xd_join_options *options, char *err);

#ifdef __cplusplus
}
#endif
#endif
