/* actors/project.c - see project.h. */
#include "actors/project.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/command.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/folders.h"
#include "gateways/agent_program.h"

#define ANSWER_LIMIT 65536u

/* The question is put where and to whom the run would be: what stands among pytest's arguments counts too. */
static int asked_of(const xd_config *cfg, xd_config **ret, xd_folders *where, xd_error *err)
{
    static const char *const names[] = { "python", "work-dir", "cache-dir" };
    XD_TRY(xd_config_copy(ret, cfg));
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        const char *value = xd_config_get(cfg, names[i]) ? NULL : xd_config_misplaced_value(cfg, names[i]);
        if (value && *value)
            XD_TRY(xd_config_set(*ret, names[i], value, NULL));
    }
    XD_TRY(xd_folders_init(where, *ret, err));
    return xd_folders_apply(where, *ret);
}

static int ask(const xd_config *own, const xd_folders *where, const char *const *args, xd_buf *out,
               xd_error *err)
{
    xd_autofree char  *found = NULL, *agent = NULL;
    xd_autofree char **argv = NULL;
    XD_TRY(xd_agent_program_find(own->agent, &found, err));
    XD_TRY(xd_path_absolute(found, &agent));
    /* Wishes: the agent looks where it is. */
    const char *const check[] = { agent, "--check", own->python ? own->python : "",
                                  where->cache ? where->cache : "" };
    const xd_words    words[] = { { check, XD_ARRAY_LEN(check) }, xd_words_of(args) };
    XD_TRY(xd_text_words_join(words, XD_ARRAY_LEN(words), &argv));
    return xd_command_output((const char *const *)argv, own->work_dir ? where->work : NULL, XD_COMMAND_NS,
                             ANSWER_LIMIT, out, err);
}

int xd_project_ask(const xd_config *cfg, const char *const *args, xd_buf *out, xd_error *err)
{
    xd_config *own = NULL;
    xd_folders where = { 0 };
    int        r = asked_of(cfg, &own, &where, err);
    if (r == 0)
        r = ask(own, &where, args, out, err);
    xd_folders_release(&where);
    xd_config_free(own);
    return r;
}

/* Each line "free OPTION" names an option that is xd's. */
static int take_free(xd_config *cfg, char *answer, xd_error *err)
{
    char *rest = NULL;
    for (char *line = strtok_r(answer, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, "free --", 7) == 0)
            XD_TRY(xd_config_take(cfg, line + 7, err));
    return 0;
}

int xd_project_take_options(xd_config *cfg, xd_error *err)
{
    if (!xd_config_is_pytest(cfg) || !xd_config_misplaced(cfg))
        return 0;
    xd_autobuf               out = XD_BUF_INIT;
    xd_autofree const char **args = calloc(cfg->args.count + 2, sizeof(*args));
    if (!args)
        return -ENOMEM;
    args[0] = "options";
    memcpy(args + 1, cfg->args.at, cfg->args.count * sizeof(*args));
    int r = xd_project_ask(cfg, args, &out, err);
    if (r < 0)
        return r;
    XD_TRY(xd_buf_add_byte(&out, 0));
    return take_free(cfg, (char *)out.data, err); /* no answer: pytest says what is wrong */
}

int xd_config_settle(xd_config *cfg, char *err)
{
    xd_error e = { 0 };
    int      r = xd_config_fits(cfg, &e);
    if (r == 0)
        r = xd_project_take_options(cfg, &e);
    if (err && r < 0)
        snprintf(err, XD_TEXT, "%.1000s", e.text[0] ? e.text : xd_error_name(r));
    return r;
}
