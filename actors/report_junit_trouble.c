/* What ends a run from outside of any test - no agent, no interpreter, lost tests - as an error in JUnit XML: who reads
 * nothing but that file must not take the run for one without failures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/report_junit_state.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/outcome.h"
#include "engine/xd.h"

#define TROUBLE_BYTES (64u << 10)

static int add(xd_junit *j, xd_bytes text)
{
    if (j->trouble.len + text.len > TROUBLE_BYTES)
        return 0;
    if (j->trouble.len)
        XD_TRY(xd_buf_add_byte(&j->trouble, '\n'));
    return xd_buf_add_bytes(&j->trouble, text);
}

int xd_junit_note_trouble(xd_junit *j, const xd_frame *frame)
{
    xd_wire_ENV_FAILED failed;
    xd_wire_NOTE       note;
    xd_autobuf         text = XD_BUF_INIT;
    if (frame->type == XD_MSG_ENV_FAILED &&
        xd_wire_ENV_FAILED_decode(frame->body, frame->len, &failed) == 0) {
        XD_TRY(xd_env_failed_text(&text, xd_runview_spec(j->view, frame->flags), failed.text));
        return add(j, xd_buf_view(&text));
    }
    if (frame->type == XD_MSG_NOTE && xd_wire_NOTE_decode(frame->body, frame->len, &note) == 0 &&
        note.level == XD_NOTE_ERROR)
        return add(j, note.text);
    return 0;
}

static int write_case(xd_junit *j, xd_bytes all)
{
    xd_bytes first = all;
    for (first.len = 0; first.len < all.len && all.ptr[first.len] != '\n';)
        first.len++;
    XD_TRY(xd_junit_start(j, "testcase"));
    XD_TRY(xd_junit_attribute(j, "classname", XD_BYTES_LIT("xd")));
    XD_TRY(xd_junit_attribute(j, "name", XD_BYTES_LIT("run")));
    XD_TRY(xd_junit_attribute(j, "time", XD_BYTES_LIT("0.000")));
    XD_TRY(xd_junit_start(j, "error"));
    XD_TRY(xd_junit_attribute(j, "message", first));
    XD_TRY(xd_junit_text(j, all));
    XD_TRY(xd_junit_end(j));
    return xd_junit_end(j);
}

int xd_junit_write_trouble(xd_junit *j)
{
    const xd_runview *v = j->view;
    xd_autobuf        text = XD_BUF_INIT;
    /* Who uses pytest wrongly in all environments gets no file, as of pytest. Where each has its own suite, that one says it. */
    const bool usage = v->run.exit_status == XD_EXIT_USAGE && !v->collection.each;
    if (v->run.over && v->run.exit_status != XD_EXIT_INFRASTRUCTURE &&
        v->run.exit_status != XD_EXIT_INCOMPLETE && v->run.exit_status != XD_EXIT_INTERNAL && !usage)
        return 0;
    j->errors++;
    if (!j->writer)
        return 0;
    XD_TRY(xd_buf_add_bytes(&text, j->trouble.len ? xd_buf_view(&j->trouble) : v->run.reason));
    if (usage && !text.len)
        XD_TRY(xd_buf_printf(&text, "the run ended with exit code %d", v->run.exit_status));
    if (!v->run.over)
        XD_TRY(xd_buf_printf(&text, "%sthe run did not come to its end", text.len ? "\n" : ""));
    if (v->collection.collected > v->tests.ended - v->tests.not_run)
        XD_TRY(xd_buf_printf(&text, "%s%u of %u tests were not run", text.len ? "\n" : "",
                             (unsigned)(v->collection.collected - (v->tests.ended - v->tests.not_run)),
                             (unsigned)v->collection.collected));
    if (!text.len)
        XD_TRY(xd_buf_printf(&text, "the run ended with exit code %d", v->run.exit_status));
    return write_case(j, xd_buf_view(&text));
}

/* A failed collection is a test case of its own. */
static bool has_failed_to_collect(const xd_runview *v, uint32_t gateway)
{
    for (uint32_t i = 0; i < v->tests.collect_report_count; i++) {
        const xd_runview_report *r = &v->tests.reports[v->tests.collect_reports[i]];
        if (r->gateway == gateway && r->outcome == 'f')
            return true;
    }
    return false;
}

int xd_junit_write_own_trouble(xd_junit *j, uint32_t gateway)
{
    const xd_runview     *v = j->view;
    const xd_runview_env *env = gateway < v->envs.count ? &v->envs.envs[gateway] : NULL;
    xd_autobuf            text = XD_BUF_INIT;
    if (!env || !env->over || env->exit_status == XD_EXIT_OK || env->exit_status == XD_EXIT_NO_TESTS ||
        has_failed_to_collect(v, gateway))
        return 0;
    j->errors++;
    if (!j->writer)
        return 0;
    XD_TRY(xd_buf_printf(&text, "its session ended with exit code %d%s", env->exit_status,
                         env->reason.len ? ": " : ""));
    XD_TRY(xd_buf_add_bytes(&text, env->reason));
    return write_case(j, xd_buf_view(&text));
}

/* ---- where the file is to be, as long as pytest cannot say -------------------------------------------------- */

/* The last one counts, as in pytest.  *at is a view. */
static void look(const char *const *args, size_t count, const char **at)
{
    static const char *const names[] = { "--junitxml", "--junit-xml" };
    for (size_t i = 0; i < count && strcmp(args[i], "--") != 0; i++) {
        for (size_t k = 0; k < XD_ARRAY_LEN(names); k++) {
            size_t len = strlen(names[k]);
            if (strncmp(args[i], names[k], len) != 0)
                continue;
            if (args[i][len] == '=')
                *at = args[i] + len + 1;
            else if (!args[i][len] && i + 1 < count)
                *at = args[i + 1];
        }
    }
}

int xd_report_junit_named(const char *const *args, size_t count, const char *addopts, const char *cwd,
                          char **ret)
{
    xd_autofree char **words = NULL;
    const char        *path = NULL, *home = getenv("HOME");
    *ret = NULL;
    if (addopts && xd_text_shell_split(addopts, &words) == 0) {
        const xd_words all = xd_words_of((const char *const *)words);
        look(all.at, all.n, &path);
    }
    look(args, count, &path);
    if (!path || !*path ||
        strchr(path, '$')) /* pytest puts variables in; a wrong guess would be another's file */
        return 0;
    if (path[0] == '~') {
        if (path[1] != '/' || !home || home[0] != '/')
            return 0;
        *ret = xd_path_join(home, path + 2);
    } else {
        *ret = xd_path_join(cwd, path);
    }
    return *ret ? 0 : -ENOMEM;
}
