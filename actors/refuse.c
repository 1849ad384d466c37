/* actors/refuse.c - see refuse.h. */
#include "actors/refuse.h"

#include <stdio.h>
#include <string.h>

#include "engine/address.h"
#include "engine/base/text.h"
#include "engine/config.h"

#define WORKERS_OF_ALL 32768u /* their numbers, with those of replacements, have 16 bits */

int xd_refuse_spec(const xd_xspec *spec, bool known, xd_error *err)
{
    xd_address at;
    xd_error   why = { 0 };
    if (!known)
        return xd_error_set(
            err, -EINVAL,
            "spec '%.200s': this version reaches hosts by popen, ssh=, socket= and command= alone",
            spec->text);
    if (spec->kind == XD_SPEC_SOCKET && xd_address_parse(&at, spec->target, XD_PORT, &why) < 0)
        return xd_error_set(err, -EINVAL, "spec '%.200s': %s", spec->text, why.text);
    return 0;
}

int xd_refuse_workers(const xd_xspec *spec, uint32_t of_environment, uint32_t of_all, xd_error *err)
{
    if (of_all > WORKERS_OF_ALL)
        return xd_error_set(err, -EINVAL, "spec '%.200s': %u workers in all; a run has at most %u",
                            spec->text, of_all, WORKERS_OF_ALL);
    if (of_environment > XD_WORKERS_MAX)
        return xd_error_set(err, -EINVAL, "spec '%.200s': %u workers in one environment; it has at most %u",
                            spec->text, of_environment, XD_WORKERS_MAX);
    return 0;
}

int xd_refuse_number(const char *option, const char *text, uint32_t most, int *ret, xd_error *err)
{
    uint64_t n;
    if (xd_text_u64(text, 0, most, &n) < 0)
        return xd_error_set(err, -EINVAL,
                            "%s=%.100s in pytest's ini, its conftest or the environment: it must be a whole "
                            "number from 0 to %u",
                            option, text, most);
    *ret = (int)n;
    return 0;
}

int xd_refuse_option(const char *name, const char *value, xd_error *err)
{
    static const struct {
        const char *name, *value; /* value NULL = any */
        const char *line;
    } table[] = {
        { "px", NULL,
          "--px from a hook of a conftest or plugin, or from an @FILE, is read too late: give it to xdctl "
          "run, or write it in addopts" },
        { "looponfail", "1",
          "option -f/--looponfail: xd does not watch files; run it again with --lf, or use a file watcher" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++)
        if (strcmp(table[i].name, name) == 0 &&
            (!table[i].value || strncmp(table[i].value, value, strlen(table[i].value)) == 0))
            return xd_error_set(err, -EINVAL, "%s", table[i].line);
    return 0;
}

int xd_refuse_project_tx(const char *text, uint32_t before, uint32_t *ret, xd_error *err)
{
    xd_xspec x = { 0 };
    XD_TRY(xd_xspec_parse(&x, text, err));
    bool plain =
        x.kind == XD_SPEC_POPEN && !x.python && !x.chdir && !x.id && !x.nice && !x.n_env && !x.via && x.count;
    uint32_t sum = before + x.count;
    xd_xspec_release(&x);
    if (sum > XD_WORKERS_MAX)
        return xd_error_set(err, -EINVAL,
                            "--tx from a hook of a conftest or plugin, or from an @FILE: %u workers; an "
                            "environment has at most %u",
                            sum, XD_WORKERS_MAX);
    if (!plain)
        return xd_error_set(
            err, -EINVAL,
            "--tx=%.200s comes from a hook of a conftest or plugin, or from an @FILE, where only "
            "NUM*popen is read: give it to xdctl run, or write it in addopts",
            text);
    *ret = sum;
    return 0;
}

int xd_refuse_project_dist(const char *text, xd_sched_mode *ret, xd_error *err)
{
    if (xd_sched_mode_parse(ret, text) == 0)
        return 0;
    if (strncmp(text, "each", 4) == 0)
        return xd_error_set(
            err, -EINVAL,
            "--dist=%s comes from a hook of a conftest or plugin, or from an @FILE, where it is read "
            "too late: give it to xdctl run, or write it in addopts",
            text);
    return xd_error_set(err, -EINVAL, "--dist=%s from pytest's ini or PYTEST_ADDOPTS is not a known mode",
                        text);
}

void xd_refuse_misplaced(const char *option, char *line, size_t size)
{
    snprintf(line, size, "--%s is an option of xd: put it before pytest's arguments", option);
}
