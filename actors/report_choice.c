/* actors/report_choice.c - see report_choice.h. */
#include "actors/report_choice.h"

#include <string.h>
#include <unistd.h>

static void init(xd_report_choice *c)
{
    *c = (xd_report_choice){ .term = XD_REPORT_TERM_OPTIONS_INIT,
                             .junit = XD_REPORT_JUNIT_OPTIONS_INIT,
                             .jsonl = XD_REPORT_JSONL_OPTIONS_INIT,
                             .history = XD_REPORT_HISTORY_OPTIONS_INIT,
                             .matrix = XD_REPORT_MATRIX_OPTIONS_INIT };
}

/* --live */
static uint8_t live(const xd_config *cfg)
{
    const char *when = cfg->live ? cfg->live : "auto";
    return strcmp(when, "never") == 0    ? XD_LIVE_NEVER
           : strcmp(when, "always") == 0 ? XD_LIVE_ALWAYS
                                         : XD_LIVE_AUTO;
}

bool xd_report_may_be_live(const xd_config *cfg, int out_fd)
{
    uint8_t when = live(cfg);
    return out_fd >= 0 && when != XD_LIVE_NEVER && (when == XD_LIVE_ALWAYS || isatty(out_fd));
}

void xd_report_choose_run(xd_report_choice *ret, const xd_config *cfg, const xd_report_outputs *to)
{
    init(ret);
    ret->term.fd = to->out_fd;
    ret->term.err_fd = to->err_fd;
    ret->term.shown = to->shown;
    ret->term.live = live(cfg);
    ret->junit.early_path = to->junit_early;
    ret->jsonl.path = cfg->jsonl;
    ret->history.cache = to->cache;
    if (to->out_fd >= 0)
        ret->terminal[ret->terminals++] = (xd_report_want){ &xd_report_term_ops, &ret->term };
    ret->files[ret->n_files++] = (xd_report_want){ &xd_report_junit_ops, &ret->junit };
    if (cfg->jsonl)
        ret->files[ret->n_files++] = (xd_report_want){ &xd_report_jsonl_ops, &ret->jsonl };
    if (!cfg->no_history)
        ret->files[ret->n_files++] = (xd_report_want){ &xd_report_history_ops, &ret->history };
}

int xd_report_choose_again(xd_report_choice *ret, const char *kind, const xd_report_again *how,
                           xd_report_want *ret_want, xd_error *err)
{
    init(ret);
    ret->term.fd = ret->junit.fd = ret->jsonl.fd = how->fd;
    ret->term.color = how->color;
    ret->term.verbose = how->verbose;
    ret->term.live = XD_LIVE_NEVER;
    ret->term.failed_only = how->failed_only;
    ret->term.override = ret->junit.override = how->override;
    ret->matrix = (xd_report_matrix_options){ .fd = how->fd,
                                              .color = how->color == 1,
                                              .json = how->json,
                                              .all = how->verbose > 0,
                                              .failed_only = how->failed_only };
    const xd_report_want all[] = { { &xd_report_term_ops, &ret->term },
                                   { &xd_report_junit_ops, &ret->junit },
                                   { &xd_report_jsonl_ops, &ret->jsonl },
                                   { &xd_report_matrix_ops, &ret->matrix } };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        if (strcmp(all[i].ops->name, kind) != 0)
            continue;
        *ret_want = all[i];
        return 0;
    }
    return xd_error_set(err, -EINVAL, "no report is called '%s': terminal, junit, jsonl, matrix", kind);
}
