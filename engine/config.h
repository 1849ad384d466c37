/* engine/config.h - the options of a run, as the engine reads them. Public face: xd_config_* in
 * engine/xd.h. */
#pragma once
#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/xd.h"

/* A growing list of malloc'ed strings, NULL-terminated. */
typedef struct xd_strings {
    char **at; /* a NULL behind the last; NULL = none were there ever */
    size_t count, room;
} xd_strings;
int  xd_strings_add(xd_strings *s, const char *text) XD_MUST;
void xd_strings_release(xd_strings *s);

/* What the files of a project and $PYTEST_ADDOPTS say of where and how its tests run (actors/project_options.h): what the command line says more counts more. */
typedef struct xd_found_options {
    xd_strings tx_from,
        px_from; /* where the first so many of tx and px stand; all behind them are the command line's */
    char *dist;  /* --dist; NULL = they say nothing, or it is said elsewhere */
    xd_strings
        known; /* values of --tx and --px that pytest will tell of again: they are taken, or overridden */
} xd_found_options;

#define XD_WORKERS_MAX 1024u /* of one environment */
#define XD_RESTARTS_MAX 65535u
/* Who runs all tests: all workers together, every environment (host, interpreter, folder, variables), or every worker. */
typedef enum xd_each { XD_EACH_RUN, XD_EACH_ENVIRONMENT, XD_EACH_WORKER } xd_each;
/* An option that was set, and by what. */
typedef struct xd_given {
    size_t option; /* its index in the table */
    char  *value;  /* as it was given */
    char  *origin; /* "command line", "xd.toml:3", "XD_DIST"; NULL = by xd_config_set of a program */
} xd_given;

enum { XD_WORKERS_UNSET = -1, XD_WORKERS_AUTO = -2, XD_WORKERS_LOGICAL = -3 };

struct xd_config {
    uint32_t         magic;
    int              workers;               /* -n: count or XD_WORKERS_* */
    bool             load;                  /* -d */
    char            *dist;                  /* --dist; NULL = not given */
    char            *live;                  /* --live: auto, always, never; NULL = not given */
    xd_strings       tx;                    /* --tx */
    xd_strings       px;                    /* --px */
    char            *hosts;                 /* --hosts FILE: more of tx */
    xd_strings       rsyncdir, rsyncignore; /* --rsyncdir, --rsyncignore */
    bool             no_sync;               /* --no-sync */
    int              max_workers;           /* --maxprocesses; 0 = no limit */
    int              min_workers;           /* --min-workers; 0 = all that were asked for */
    xd_strings       listen;                /* --listen: where hosts may join */
    xd_strings       require;               /* --require: words that who joins must have */
    int              join_max;              /* --join-max: hosts that may join; 0 = 1024 */
    uint64_t         wait_ns;               /* --wait: for enough workers; 0 = for ever */
    char            *slurm;                 /* --slurm: options of sbatch; NULL = no job */
    char            *slurm_address;         /* --slurm-address; NULL = this host's name */
    char            *slurm_join;            /* --slurm-join; NULL = this xdctl */
    int              slurm_workers;         /* with it: what -n says (xd_slurm_settle) */
    bool             slurm_alone;           /* and nobody else is expected to join: there was no --listen */
    int              max_worker_restart;    /* -1 = 4 per worker */
    char            *run_uid;               /* --testrunuid; NULL = made */
    char            *runner;                /* --runner; NULL = pytest */
    char            *python;                /* --python; NULL = found */
    char            *agent;                 /* --agent; NULL = found */
    char            *ssh;                   /* --ssh: auto, libssh, openssh; NULL = auto */
    bool             ssh_accept_new;        /* --ssh-accept-new */
    char            *keys;                  /* --keys; NULL = the default (xd_keys_folder) */
    char            *jsonl;                 /* --jsonl FILE */
    char            *stats;                 /* --stats FILE */
    char            *state_dir, *cache_dir, *work_dir; /* NULL = the default; see folders.h */
    bool             as_module, no_fork, no_history;
    uint64_t         runs_keep; /* runs */
    uint64_t         runs_bytes;
    uint64_t         runs_age_ns;
    uint64_t         agent_timeout_ns; /* silence after which an environment is given up; 0 = none */
    char            *on_lost;          /* --on-lost; NULL = rerun */
    uint64_t         reconnect_ns;     /* that a connection which was cut may take to come back; 0 = none */
    uint64_t         slow_after_ns;    /* age of a running test that is worth a line; 0 = none */
    uint64_t         grace_ns;         /* of running tests after a first interrupt */
    uint64_t         shutdown_ns;      /* of the end of sessions; 0 = no limit */
    uint64_t         output_limit;     /* bytes kept of one test's uncaptured output */
    uint64_t         journal_limit;    /* bytes; 0 = none */
    xd_strings       args;             /* pytest's */
    size_t           args_final;       /* so many of them stand before a `--`; SIZE_MAX = all */
    xd_strings       command_line;     /* as typed, for the journal */
    xd_found_options found;

    char       *profile;      /* --profile; NULL = default */
    bool        profile_read; /* xd_config_read was asked for it */
    xd_given   *given;        /* the options that were set, each once; of lists each member, in order */
    size_t      n_given;
    const char *origin; /* of what is being set; borrowed, NULL elsewhere */
    xd_strings  notes;  /* lines for the user, of xd_config_read */
};

/* How tests are distributed: what the command line says, else the project; NULL = neither. */
const char *xd_config_dist(const xd_config *c);
/* Puts `first` in front of the list `at`, and takes its strings. -ENOMEM. */
int xd_strings_prepend(xd_strings *at, xd_strings *first) XD_MUST;

/* Name of an option that is xd's alone and stands among pytest's arguments, where it is pytest's to refuse; NULL:
 * there is none. */
const char *xd_config_misplaced(const xd_config *c);
/* Value of the option of this name that stands there, or NULL. */
const char *xd_config_misplaced_value(const xd_config *c, const char *name);
/* Takes the option of this name out of pytest's arguments, wherever it stands there before a `--`. -EINVAL: a bad
 * value, err names it; it is not there, or no option of xd: 0. */
int  xd_config_take(xd_config *c, const char *name, xd_error *err) XD_MUST;
bool xd_config_is_pytest(const xd_config *c);
/* What --dist says of that. Every environment has a collection of its own unless it is XD_EACH_RUN. */
xd_each xd_config_each(const xd_config *c);
/* How the tests of a collection are distributed, by its name among those of xd_sched_mode_parse(): of --dist, -d; NULL = nothing is
 * said. */
const char *xd_config_mode(const xd_config *c);
/* -EINVAL: an option that does not apply to the runner; err names it. */
int xd_config_fits(const xd_config *c, xd_error *err) XD_MUST;
int xd_config_copy(xd_config **ret, const xd_config *from) XD_MUST;
