/* actors/engine_slurm.c - see engine_state.h: the workers of a run come from Slurm (--slurm; slurm.h). */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/engine_state.h"
#include "engine/address.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define TOKEN_S (7 * 86400) /* or the end of the run, with which nobody is there any more who would take it */

/* ---- what the tasks are told ------------------------------------------------------------------------------------------------ */

static bool is_wildcard(const char *host)
{
    return !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* This host, as other hosts know it. */
static void own_name(char *ret, size_t size)
{
    const struct addrinfo wanted = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM };
    struct addrinfo      *found = NULL;
    char                  name[256] = "localhost";
    (void)!gethostname(name, sizeof(name) - 1);
    snprintf(ret, size, "%s", name);
    if (strchr(name, '.') || getaddrinfo(name, NULL, &wanted, &found) != 0)
        return;
    if (found->ai_canonname && strncmp(found->ai_canonname, "localhost", 9) != 0)
        snprintf(ret, size, "%s", found->ai_canonname);
    freeaddrinfo(found);
}

/* Where they dial: the host is --slurm-address, else that of --listen, else this one by its name; the port is the one that the run listens at. */
static int dialled(const xd_engine *x, xd_buf *out, xd_error *err)
{
    xd_address  at;
    xd_error    why = { 0 };
    char        name[XD_ADDRESS_HOST];
    const char *given = x->config->slurm_address, *bound = xd_listen_bound(x->listen, 0);
    int         r = xd_address_parse(&at, bound, XD_JOIN_PORT, &why);
    if (r < 0)
        return xd_error_set(err, r, "%s", why.text);
    const uint16_t port = at.port;
    if (!given && is_wildcard(at.host)) {
        own_name(name, sizeof(name));
        given = name;
    }
    if (given && (r = xd_address_parse(&at, xd_address_plain(given), port, &why)) < 0)
        return xd_error_set(err, r, "option --slurm-address: %s", why.text);
    return xd_buf_printf(out, "tcp://%s", at.text);
}

/* This program, where it is the one that can join. */
static int own_command(xd_buf *out, xd_error *err)
{
    xd_autofree char *self = NULL, *found = NULL;
    const char       *name = xd_path_self(&self) == 0 ? strrchr(self, '/') : NULL;
    if (!name || strcmp(name, "/xdctl") != 0) {
        if (xd_path_find_program("xdctl", NULL, &found) < 0)
            return xd_error_set(
                err, -ENOENT,
                "option --slurm: there is no xdctl on PATH; --slurm-join COMMAND says what the tasks start");
        XD_TRY(xd_text_shell_quote(out, found));
    } else {
        XD_TRY(xd_text_shell_quote(out, self));
    }
    return xd_buf_add_str(out, " join");
}

/* ---- while it runs --------------------------------------------------------------------------------------------------------- */

static void on_say(void *arg, bool over, const char *line)
{
    xd_engine    *x = arg;
    const uint8_t is_over = over && x->config->slurm_alone;
    xd_autobuf    body = XD_BUF_INIT;
    if (xd_buf_add(&body, &is_over, sizeof(is_over)) == 0 && xd_buf_add_str(&body, line) == 0)
        (void)!xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_JOB, body.data, body.len);
}

static void tell_submitted(xd_engine *x, const xd_slurm_job *job, const char *address)
{
    char line[XD_ERROR_TEXT];
    snprintf(line, sizeof(line), "slurm job %s: %u task%s with %u worker%s%s, to join at %s",
             xd_slurm_id(x->slurm), (unsigned)job->tasks, job->tasks == 1 ? "" : "s", (unsigned)job->per_task,
             job->per_task == 1 ? "" : "s", job->tasks == 1 ? "" : " each", address);
    const uint8_t level = XD_NOTE_NOTE;
    xd_autobuf    body = XD_BUF_INIT;
    if (xd_buf_add(&body, &level, sizeof(level)) == 0 && xd_buf_add_str(&body, line) == 0)
        (void)!xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_TELL, body.data, body.len);
}

static int start(xd_engine *x, const xd_slurm_job *job, xd_error *err)
{
    char       token[XD_RUN_TOKEN_TEXT];
    xd_autobuf address = XD_BUF_INIT, command = XD_BUF_INIT, script = XD_BUF_INIT;
    XD_TRY(dialled(x, &address, err));
    XD_TRY(x->config->slurm_join ? xd_buf_add_str(&command, x->config->slurm_join)
                                 : own_command(&command, err));
    XD_TRY(xd_slurm_job_script(job, xd_buf_cstr(&command), xd_buf_cstr(&address), &script));
    XD_TRY(xd_listen_token(x->listen, (uint64_t)time(NULL) + TOKEN_S, token));
    const xd_slurm_args args = {
        .job = job, .script = xd_buf_cstr(&script), .token = token, .came = &x->came, .say = on_say, .arg = x
    };
    int r = xd_slurm_start(&x->slurm, &args, err);
    explicit_bzero(token, sizeof(token));
    if (r == 0)
        tell_submitted(x, job, xd_buf_cstr(&address));
    return r;
}

int xd_engine_slurm(xd_engine *x, xd_error *err)
{
    xd_slurm_job job = { 0 };
    if (!x->config->slurm)
        return 0;
    XD_TRY(xd_slurm_job_read(&job, x->config->slurm, (uint32_t)x->config->slurm_workers, err));
    int r = start(x, &job, err);
    xd_slurm_job_release(&job);
    return r;
}

void xd_engine_slurm_end(xd_engine *x)
{
    char trouble[XD_ERROR_TEXT];
    x->slurm = xd_slurm_free(x->slurm, trouble);
    if (*trouble)
        xd_engine_say_line(x, trouble);
}
