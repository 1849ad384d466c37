/* xd.h - the one installed header: run a test suite from your own program.
 *
 *     xd_config *cfg;  xd_engine *run;  xd_result res;  char err[XD_TEXT];
 *     xd_config_new(&cfg);
 *     xd_config_set(cfg, "numprocesses", "4", err);
 *     xd_config_add_arg(cfg, "tests/");
 *     xd_engine_new(&run, cfg, err);
 *     if (xd_engine_start(run, err) == 0)
 *         xd_engine_wait(run, -1, &res);
 *     xd_engine_free(run);  xd_config_free(cfg);
 *
 * Rules for all functions: they return 0, a documented value > 0, or -errno; `err` (XD_TEXT bytes, may be NULL) gets one
 * line for a human.  The library installs no signal handler, changes no environment, directory or umask, and prints only to
 * the descriptors it is given.  Several engines may run in one process; one engine is used by one thread at a time,
 * except xd_engine_stop, which any thread may call. */
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

/* Exit codes: pytest's own for pytest suites, and two more. */
enum xd_exit {
    XD_EXIT_OK = 0,
    XD_EXIT_FAILED = 1,
    XD_EXIT_INTERRUPTED = 2,
    XD_EXIT_INTERNAL = 3,
    XD_EXIT_USAGE = 4,
    XD_EXIT_NO_TESTS = 5,
    XD_EXIT_INFRASTRUCTURE = 6, /* no worker could be had */
    XD_EXIT_INCOMPLETE = 7      /* results are missing or could not be recorded */
};

XD_API const char *xd_version(void);

/* ---- configuration ------------------------------------------------------------------------------------------- */

typedef struct xd_config xd_config;

XD_API int  xd_config_new(xd_config **ret);
XD_API void xd_config_free(xd_config *cfg); /* NULL ok */

/* Sets one option by its long name without dashes (xd_config_options lists them).  A list option appends.  A flag takes "1" or
 * "0".  -EINVAL: unknown name or bad value, err says which and what is allowed. */
XD_API int xd_config_set(xd_config *cfg, const char *name, const char *value, char *err);

/* Value of a text option (jsonl, python, stats, ...), NULL when it was not set or is no text; valid until the next change. */
XD_API const char *xd_config_get(const xd_config *cfg, const char *name);

/* Appends one argument for the test framework (pytest), untouched. */
XD_API int xd_config_add_arg(xd_config *cfg, const char *arg);

/* Reads a command line as `xdctl run` does: xd's own options first; the first argument xd does not know begins pytest's
 * arguments, in which only xdist's option names and --jsonl are still read by xd; `--` ends xd's options for good.
 * argv[0] is the first argument.  -EINVAL as xd_config_set. */
XD_API int xd_config_parse(xd_config *cfg, int argc, char *const *argv, char *err);

typedef struct xd_option {
    const char *name;     /* long name without dashes */
    char        letter;   /* short option or 0 */
    const char *argument; /* NULL = a flag */
    const char *fallback; /* default as text, may be "" */
    const char *help;     /* one sentence */
} xd_option;
/* Table of all options, ended by name = NULL; static storage. */
XD_API const xd_option *xd_config_options(void);

/* ---- a run ------------------------------------------------------------------------------------------------------- */

typedef struct xd_engine xd_engine;

enum xd_stop {
    XD_STOP_DRAIN = 1, /* running tests get 10 s, then are killed; reports are written; exit code 2 */
    XD_STOP_NOW = 2,   /* kill workers at once; reports are written; exit code 2 */
    XD_STOP_PAUSE = 3, /* stop the processes of all workers (job control) */
    XD_STOP_RESUME = 4
};

enum xd_event_type {
    XD_EVENT_STARTED = 1, /* first test may run: text = run id, count = tests, value = workers */
    XD_EVENT_TEST = 2,    /* a test has its outcome: text = node id, value = outcome number, count = index */
    XD_EVENT_NOTE = 3,    /* a line for the user: text, value = level 1 detail .. 4 error */
    XD_EVENT_FINISHED = 4, /* value = exit code; nothing follows */
    XD_EVENT_PAUSED = 5    /* XD_STOP_PAUSE is on its way to all agents: this process may be stopped now */
};

typedef struct xd_event {
    int         type;  /* xd_event_type */
    const char *text;  /* valid until the next xd_engine_next_event */
    int64_t     value;
    uint64_t    count;
} xd_event;

/* Called on an engine thread, in order, for each event; must return soon.  `ev` is valid during the call. */
typedef void (*xd_event_fn)(void *arg, const xd_event *ev);

typedef struct xd_result {
    int      exit_code;
    uint32_t collected, recorded, not_run;      /* tests; recorded + not_run = collected, else the exit code is 7 */
    uint32_t passed, failed, skipped, xfailed, xpassed, errors, crashed;
    uint64_t duration_us;
    uint64_t controller_cpu_us;                 /* this process, from start to end of the run */
    uint64_t agents_cpu_us, workers_cpu_us;
    uint64_t stream_bytes;                      /* received from all agents */
    char     run_id[33];
    char     run_dir[XD_TEXT];                  /* journal and reports */
} xd_result;

/* cfg is copied.  -EINVAL: a bad spec or option, err names it. */
XD_API int xd_engine_new(xd_engine **ret, const xd_config *cfg, char *err);
/* Where the terminal report goes (a descriptor, borrowed until free; -1 = none) and where complaints go.  Default 1 and 2.  Before start. */
XD_API void xd_engine_output(xd_engine *e, int out_fd, int err_fd);
/* Events by callback; before start.  With a callback, xd_engine_fd and xd_engine_next_event yield nothing. */
XD_API void xd_engine_callback(xd_engine *e, xd_event_fn fn, void *arg);
/* Starts the run and returns.  -EINVAL: a file that the options name cannot be written; other -errno: the engine cannot work here.  Nothing was
 * started then, err says why. */
XD_API int xd_engine_start(xd_engine *e, char *err);
/* Descriptor that is readable while events wait (also XD_EVENT_FINISHED); owned by the engine. */
XD_API int xd_engine_fd(const xd_engine *e);
/* 1 = got one, 0 = none waits now. */
XD_API int xd_engine_next_event(xd_engine *e, xd_event *ret);
/* Any thread. */
XD_API int xd_engine_stop(xd_engine *e, enum xd_stop how);
/* Waits for the end, at most timeout_ms (-1 = for ever).  0 = over, *ret filled; 1 = still runs. */
XD_API int xd_engine_wait(xd_engine *e, int timeout_ms, xd_result *ret);
/* NULL ok.  A run that is still going is stopped with XD_STOP_NOW first. */
XD_API void xd_engine_free(xd_engine *e);

/* ---- runs of the past ------------------------------------------------------------------------------------------------- */

/* Finds the journal of a run: "latest", an id or a unique beginning of one.  *ret_dir is malloc'ed.  -ENOENT, -EEXIST (not unique). */
XD_API int xd_run_find(const char *which, char **ret_dir, char *err);
typedef int (*xd_run_fn)(void *arg, const char *id, const char *dir, uint64_t started_us);
/* Calls back for each run, newest first, until fn returns non-zero (passed on). */
XD_API int xd_run_list(xd_run_fn fn, void *arg, char *err);

enum xd_render_flags { XD_RENDER_FAILED = 1, XD_RENDER_COLOR = 2 };
/* Makes a report again from the journal: kind "terminal", "junit" or "jsonl", written to fd.  options: pytest's report options for the
 * terminal ("-v", "-rA", "--tb=short", ...), NULL-terminated, may be NULL.  Returns the run's exit code (>= 0) or -errno; a torn journal is
 * rendered as far as it goes and gives XD_EXIT_INCOMPLETE. */
XD_API int xd_run_render(const char *dir, const char *kind, const char *const *options, unsigned flags, int fd, char *err);

/* Checks what a run needs (agent, interpreter, pytest, limits) and writes one line each to fd.  0 = all well, 1 = something would fail. */
XD_API int xd_doctor(const xd_config *cfg, int fd, char *err);

#ifdef __cplusplus
}
#endif
#endif
