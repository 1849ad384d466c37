/* actors/doctor.c - xd_doctor of engine/xd.h: checks what a run needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/plan.h"
#include "actors/project.h"
#include "actors/project_options.h"
#include "engine/base/buf.h"
#include "engine/base/ci_guard.h"
#include "engine/base/command.h"
#include "engine/base/page.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "engine/config.h"
#include "engine/folders.h"
#include "engine/interp.h"
#include "engine/xd.h"
#include "gateways/agent_program.h"

typedef struct doctor {
    xd_buf     out;
    bool       ill, color;
    xd_folders where;
} doctor;

static int say(doctor *d, bool good, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int say(doctor *d, bool good, const char *fmt, ...)
{
    va_list     ap;
    xd_ci_guard guard = { .systems = xd_ci_systems_here() };
    xd_autobuf  text = XD_BUF_INIT, line = XD_BUF_INIT;
    d->ill |= !good;
    if (d->color)
        XD_TRY(xd_buf_add_str(&d->out, good ? "\x1b[32mok\x1b[0m    " : "\x1b[31mFAIL\x1b[0m  "));
    else
        XD_TRY(xd_buf_add_str(&d->out, good ? "ok    " : "FAIL  "));
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    XD_TRY(r);
    XD_TRY(xd_text_last_words(&line, xd_buf_view(&text), SIZE_MAX)); /* it quotes programs and the project */
    XD_TRY(xd_ci_guard_add(&guard, &d->out, xd_buf_view(&line)));
    return xd_buf_add_byte(&d->out, '\n');
}

static const char probe[] = "import sys; v='.'.join(map(str, sys.version_info[:3]))\n"
                            "try:\n import pytest; p=pytest.__version__\nexcept ImportError: p=''\n"
                            "sys.stdout.write(v+' '+p)";

static int check_python(doctor *d, const xd_config *cfg)
{
    xd_error           err = { 0 };
    xd_autofree char  *python = NULL;
    xd_autofree char **words = NULL;
    xd_autobuf         out = XD_BUF_INIT;
    const char        *how = "", *argv[16];
    size_t             n = 0;
    if (xd_interp_find(cfg->python, getenv("VIRTUAL_ENV"), NULL, &python, &how, &err) < 0)
        return say(d, false, "python: %s", err.text);
    if (xd_text_shell_split(python, &words) < 0)
        return say(d, false, "python: '%s' is not a command line", python);
    for (; n < 12 && words[n]; n++)
        argv[n] = words[n];
    argv[n] = "-c";
    argv[n + 1] = probe;
    argv[n + 2] = NULL;
    int r = xd_command_output(argv, cfg->work_dir ? d->where.work : NULL, XD_COMMAND_NS, 4096, &out, &err);
    if (r != 0)
        return say(d, false, "python: %s (%s) does not run: %s", python, how,
                   r < 0 ? err.text : xd_buf_cstr(&out));
    const char *text = xd_buf_cstr(&out), *pytest = strchr(text, ' ');
    char       *dot;
    const long  major = strtol(text, &dot, 10), minor = *dot == '.' ? strtol(dot + 1, NULL, 10) : 0;
    const bool  good = xd_interp_runs(major, minor);
    XD_TRY(say(d, good, "python: %s (%s), version %.*s%s%s", python, how, (int)strcspn(text, " "), text,
               good ? "" : "; ", good ? "" : XD_INTERP_OLDEST));
    if (!pytest || !pytest[1])
        return say(d, false,
                   "pytest: not there; make a virtual environment for it: %s -m venv .venv && "
                   ".venv/bin/pip install pytest, then --python .venv/bin/python or activate it",
                   python);
    const long release = strtol(pytest + 1, &dot, 10), part = *dot == '.' ? strtol(dot + 1, NULL, 10) : 0;
    const bool fit = release > 4 || (release == 4 && part >= 6);
    return say(d, fit, "pytest: version %s%s", pytest + 1, fit ? "" : "; xd needs 4.6 or newer");
}

static int check_agent(doctor *d, const xd_config *cfg)
{
    xd_error          err = { 0 };
    xd_autofree char *agent = NULL;
    xd_autobuf        out = XD_BUF_INIT;
    if (xd_agent_program_find(cfg->agent, &agent, &err) < 0)
        return say(d, false, "agent: %s", err.text);
    const char *argv[] = { agent, "--version", NULL };
    int r = xd_command_output(argv, cfg->work_dir ? d->where.work : NULL, XD_COMMAND_NS, 4096, &out, &err);
    if (r != 0)
        return say(d, false, "agent: %s does not run: %s", agent, r < 0 ? err.text : xd_buf_cstr(&out));
    bool ours = strncmp(xd_buf_cstr(&out), "xdagent ", 8) == 0;
    return say(d, ours, "agent: %s%s", agent, ours ? "" : " is not an xdagent");
}

/* `path` is taken; r, err: what finding it came to. */
static int check_folder(doctor *d, const char *what, int r, char *found, xd_error *err)
{
    xd_autofree char *path = found;
    if (r < 0 || xd_path_mkdirs(path, 0700, err) < 0)
        return say(d, false, "%s: %s", what, err->text);
    return say(d, access(path, W_OK) == 0, "%s: %s%s", what, path,
               access(path, W_OK) == 0 ? "" : " cannot be written");
}

static int check_kernel(doctor *d)
{
    xd_page       page;
    struct rlimit files;
    int           r = xd_page_create(&page, 1);
    XD_TRY(say(d, r == 0, "shared memory (memfd): %s", r == 0 ? "there" : xd_error_name(r)));
    if (r == 0)
        xd_page_release(&page);
    xd_proc self = XD_PROC_NONE;
    r = xd_proc_open(getpid(), false, &self);
    xd_proc_close(&self);
    XD_TRY(say(d, r == 0, "pidfd: %s", r == 0 ? "there" : xd_error_name(r)));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        XD_TRY(say(d, files.rlim_cur >= 256, "open files: limit %llu%s", (unsigned long long)files.rlim_cur,
                   files.rlim_cur >= 256 ? "" : "; raise it (ulimit -n 1024)"));
    return say(d, true, "processors: %ld online", sysconf(_SC_NPROCESSORS_ONLN));
}

/* What a run of the project in this folder would refuse, and what it would leave out. */
static int check_project(doctor *d, const xd_config *cfg)
{
    static const char *const args[] = { "project", NULL };
    xd_error                 err = { 0 };
    xd_autobuf               out = XD_BUF_INIT;
    int                      r = xd_project_ask(cfg, args, &out, &err);
    bool                     refused = false;
    if (r < 0)
        return say(d, false, "project: %s", err.text[0] ? err.text : xd_error_name(r));
    XD_TRY(xd_buf_add_byte(&out, 0));
    char *rest = NULL, *last = NULL;
    for (char *line = strtok_r((char *)out.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        last = line;
        if (strncmp(line, "refused ", 8) == 0) {
            refused = true;
            XD_TRY(say(d, false, "project: a run is refused: %s", line + 8));
        } else if (strncmp(line, "left-out ", 9) == 0) {
            XD_TRY(say(d, true, "note: %s", line + 9));
        }
    }
    if (r > 0 && !refused)
        return say(d, false, "project: pytest cannot read its configuration: %s",
                   last ? last : "no reason given");
    return refused ? 0 : say(d, true, "project: nothing in its configuration that a run refuses");
}

/* Where its own options have it run, and what of them a run would refuse. */
static int check_specs(doctor *d, const xd_config *cfg)
{
    xd_error        err = { 0 };
    xd_config      *own = NULL;
    xd_project_told told = { 0 };
    xd_plan         plan = XD_PLAN_INIT;
    XD_TRY(xd_config_copy(&own, cfg));
    int r = xd_project_options_take(own, &told, &err);
    if (r == 0)
        r = xd_plan_make(&plan, own, &err);
    if (r == -EINVAL)
        r = say(d, false, "project: a run is refused: %s", err.text);
    for (size_t i = 0; i < told.details.count && r == 0; i++)
        r = say(d, true, "project: %s", told.details.at[i]);
    for (size_t i = 0; i < told.notes.count && r == 0; i++)
        r = say(d, true, "note: %s", told.notes.at[i]);
    xd_plan_release(&plan);
    xd_project_told_release(&told);
    xd_config_free(own);
    return r;
}

static int check_folders(doctor *d)
{
    char    *path = NULL;
    xd_error err = { 0 };
    char     moved[XD_TEXT];
    int      found = xd_folders_state(&d->where, false, &path, &err);
    XD_TRY(check_folder(d, "runs", found, path, &err));
    path = NULL;
    err = (xd_error){ 0 };
    found = xd_folders_cache(&d->where, &path, &err);
    XD_TRY(check_folder(d, "cache", found, path, &err));
    return xd_path_moved(!d->where.state, !d->where.cache, moved, sizeof(moved))
               ? say(d, true, "note: %s", moved)
               : 0;
}

static int check_all(doctor *d, const xd_config *cfg)
{
    xd_error   err = { 0 };
    xd_config *own = NULL;
    XD_TRY(say(d, true, "xd: version %s", xd_version()));
    if (xd_folders_init(&d->where, cfg, &err) < 0)
        return say(d, false, "folders: %s", err.text);
    int r = xd_config_copy(&own, cfg);
    if (r == 0)
        r = xd_folders_apply(&d->where, own);
    if (r == 0)
        r = check_agent(d, own);
    if (r == 0)
        r = check_python(d, own);
    if (r == 0)
        r = check_specs(d, own);
    if (r == 0 && !d->ill)
        r = check_project(d, own);
    xd_config_free(own);
    if (r == 0)
        r = check_folders(d);
    return r == 0 ? check_kernel(d) : r;
}

int xd_doctor(const xd_config *cfg, int fd, char *err)
{
    doctor d = { .color = xd_colors(fd) };
    if (cfg->args.count) {
        if (err)
            snprintf(err, XD_TEXT, "doctor: '%.200s' is not an option of xd, and doctor runs no tests",
                     cfg->args.at[0]);
        return -EINVAL;
    }
    int r = check_all(&d, cfg);
    xd_folders_release(&d.where);
    size_t at = 0;
    while (r == 0 && at < d.out.len) {
        ssize_t n = write(fd, d.out.data + at, d.out.len - at);
        if (n < 0 && errno != EINTR)
            r = -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    xd_buf_release(&d.out);
    if (r < 0) {
        if (err)
            snprintf(err, XD_TEXT, "doctor: %s", xd_error_name(r));
        return r;
    }
    return d.ill ? 1 : 0;
}
