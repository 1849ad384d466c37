/* scheduler_config.c - what pytest's configuration says: those of its options that are the run's. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/scheduler_state.h"
#include "engine/base/text.h"

/* What xdist can and this version cannot, and what nobody can: said, not ignored. */
static int refuse_option(scheduler *self, const char *text)
{
    xd_scheduler_end_with(self, XD_EXIT_USAGE, "");
    XD_TRY(xd_scheduler_note(self, XD_NOTE_USAGE, "%s", text));
    return xd_scheduler_finish(self);
}

/* A number that stands in pytest's ini or PYTEST_ADDOPTS: those of xd's own command line were looked at before. */
static int take_number(scheduler *self, const char *option, const char *text, uint32_t most, int *at)
{
    uint64_t n;
    char     why[XD_TEXT];
    if (xd_text_u64(text, 0, most, &n) == 0) {
        *at = (int)n;
        return 0;
    }
    snprintf(
        why, sizeof(why),
        "%s=%.100s in pytest's ini, its conftest or the environment: it must be a whole number from 0 to %u",
        option, text, most);
    return refuse_option(self, why);
}

/* --tx of pytest's ini or PYTEST_ADDOPTS: read when its environment stands already, so its number counts and
 * nothing else can. */
static int take_tx(scheduler *self, const char *spec, int *workers)
{
    xd_xspec x;
    xd_error err = { 0 };
    char     text[XD_TEXT];
    if (self->args.config->tx.count)
        return 0; /* the command line wins */
    if (xd_xspec_parse(&x, spec, &err) < 0)
        return refuse_option(self, err.text);
    bool           plain = x.kind == XD_SPEC_POPEN && !x.python && !x.chdir && !x.id && !x.nice && !x.n_env;
    const uint32_t sum = (uint32_t)*workers + x.count;
    *workers = (int)XD_MIN(sum, XD_WORKERS_MAX);
    xd_xspec_release(&x);
    if (sum > XD_WORKERS_MAX) {
        snprintf(text, sizeof(text),
                 "--tx of pytest's ini or PYTEST_ADDOPTS: %u workers; an environment has at most %u", sum,
                 XD_WORKERS_MAX);
        return refuse_option(self, text);
    }
    snprintf(text, sizeof(text),
             "--tx=%.200s is in pytest's ini or PYTEST_ADDOPTS, where only NUM*popen is read: give it to "
             "xdctl run",
             spec);
    return plain ? 0 : refuse_option(self, text);
}

int xd_scheduler_on_config(scheduler *self, gateway *g, const xd_wire_CONFIG *in)
{
    int          tx_workers = 0;
    xd_wire_list options = in->options;
    xd_wire_PAIR p;
    if (self->configured)
        return 0;
    self->configured = true;
    self->home = g->number;
    while (xd_wire_PAIR_next(&options, &p) == 1) {
        xd_autofree char *value = xd_bytes_dup(p.value);
        int               maxfail = 0;
        if (!value)
            return -ENOMEM;
        if (xd_bytes_eq_str(p.name, "maxfail")) {
            if (value[0] == '-') /* pytest: any number of failures is more */
                maxfail = 1;
            else
                XD_TRY(take_number(self, "--maxfail", value, INT_MAX, &maxfail));
            self->options.maxfail = (uint32_t)maxfail;
        } else if (xd_bytes_eq_str(p.name, "max_warnings")) {
            XD_TRY(take_number(self, "--max-warnings", value, INT_MAX, &self->options.max_warnings));
        } else if (xd_bytes_eq_str(p.name, "numprocesses") && value[0]) {
            self->options.workers = strcmp(value, "logical") == 0 ? XD_WORKERS_LOGICAL : XD_WORKERS_AUTO;
            if (strcmp(value, "logical") != 0 && strcmp(value, "auto") != 0)
                XD_TRY(take_number(self, "-n", value, XD_WORKERS_MAX, &self->options.workers));
        } else if (xd_bytes_eq_str(p.name, "auto_num_workers")) {
            XD_TRY(take_number(self, "PYTEST_XDIST_AUTO_NUM_WORKERS", value, XD_WORKERS_MAX,
                               &self->options.auto_workers));
        } else if (xd_bytes_eq_str(p.name, "maxprocesses")) {
            XD_TRY(take_number(self, "--maxprocesses", value, 65535, &self->options.max_workers));
        } else if (xd_bytes_eq_str(p.name, "maxworkerrestart")) {
            XD_TRY(take_number(self, "--max-worker-restart", value, XD_RESTARTS_MAX,
                               &self->options.max_worker_restart));
        } else if (xd_bytes_eq_str(p.name, "dist")) {
            snprintf(self->options.dist, sizeof(self->options.dist), "%s",
                     strcmp(value, "no") == 0 ? "" : value);
        } else if (xd_bytes_eq_str(p.name, "tx")) {
            XD_TRY(take_tx(self, value, &tx_workers));
        } else if (xd_bytes_eq_str(p.name, "px")) {
            return refuse_option(self, "option --px: proxy gateways are not supported yet");
        } else if (xd_bytes_eq_str(p.name, "looponfail") && value[0] == '1') {
            return refuse_option(self, "option -f/--looponfail: xd does not watch files; run it again with "
                                       "--lf, or use a file watcher");
        } else if (xd_bytes_eq_str(p.name, "loadscopereorder")) {
            self->options.keep_scope_order = value[0] == '0' || value[0] == 'F';
        }
    }
    if (tx_workers && self->options.workers == XD_WORKERS_AUTO)
        self->options.workers = XD_MIN(tx_workers, 1024);
    if (self->args.config->no_history)
        return 0;
    xd_autofree char *rootdir = xd_bytes_dup(in->rootdir), *path = NULL;
    xd_error          err = { 0 };
    if (!rootdir)
        return -ENOMEM;
    if (xd_history_path(self->args.cache, rootdir, &path, &err) == 0)
        (void)!xd_history_open(path, &self->history,
                               &err); /* the reporter that writes it tells what is wrong */
    return 0;
}
