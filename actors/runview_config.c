/* actors/runview_config.c - see runview_config.h. */
#include "actors/runview_config.h"

#include <stdlib.h>

void xd_runview_config_release(xd_runview_config *c)
{
    free(c->options);
    free(c->header);
    *c = XD_RUNVIEW_CONFIG_INIT;
}

static int keep_options(xd_runview_config *c, xd_runview_texts *texts, const xd_wire_CONFIG *in)
{
    xd_wire_list list = in->options;
    xd_wire_PAIR pair;
    while (xd_wire_PAIR_next(&list, &pair) == 1) {
        XD_TRY(xd_runview_room(&c->options, &c->options_cap, c->option_count + 1, sizeof *c->options));
        XD_TRY(xd_runview_texts_keep(texts, pair.name, &c->options[c->option_count].name));
        XD_TRY(xd_runview_texts_keep(texts, pair.value, &c->options[c->option_count].value));
        c->option_count++;
    }
    list = in->header;
    xd_wire_TEXT line;
    while (xd_wire_TEXT_next(&list, &line) == 1) {
        XD_TRY(xd_runview_room(&c->header, &c->header_cap, c->header_count + 1, sizeof *c->header));
        XD_TRY(xd_runview_texts_keep(texts, line.text, &c->header[c->header_count]));
        c->header_count++;
    }
    return 0;
}

int xd_runview_config_run(xd_runview_config *c, xd_wire_list options)
{
    xd_wire_PAIR pair;
    while (xd_wire_PAIR_next(&options, &pair) == 1)
        if (xd_bytes_eq_str(pair.name, "runner")) {
            xd_autobuf name = XD_BUF_INIT;
            XD_TRY(xd_buf_add_bytes(&name, pair.value));
            c->grammar = xd_grammar_find(xd_buf_cstr(&name));
        }
    return 0;
}

int xd_runview_config_take(xd_runview_config *c, xd_runview_texts *texts, const xd_wire_CONFIG *in,
                           const xd_runview_env *env, uint16_t gateway)
{
    if (c->home != XD_NO_INDEX)
        return XD_RUNVIEW_IGNORED;
    c->home = gateway;
    c->python = env->python;
    c->python_version = env->python_version;
    XD_TRY(xd_runview_texts_keep(texts, in->pytest_version, &c->pytest_version));
    XD_TRY(xd_runview_texts_keep(texts, in->rootdir, &c->rootdir));
    XD_TRY(xd_runview_texts_keep(texts, in->invocation_dir, &c->invocation_dir));
    XD_TRY(keep_options(c, texts, in));
    c->grammar = xd_grammar_find(xd_runview_config_option(c, "runner"));
    return 0;
}

bool xd_runview_config_of_another(const xd_runview_config *c, uint16_t gateway)
{
    return c->home != XD_NO_INDEX && c->home != gateway;
}

const char *xd_runview_config_option(const xd_runview_config *c, const char *name)
{
    for (uint32_t i = 0; i < c->option_count; i++)
        if (xd_bytes_eq_str(c->options[i].name, name))
            return (const char *)c->options[i].value.ptr;
    return NULL;
}

bool xd_runview_config_pytest_from(const xd_runview_config *c, unsigned major, unsigned minor)
{
    unsigned number[2] = { 0 };
    size_t   i = 0;
    for (int part = 0; part < 2; part++, i++)
        for (; i < c->pytest_version.len && c->pytest_version.ptr[i] >= '0' &&
               c->pytest_version.ptr[i] <= '9' && number[part] < 10000;
             i++)
            number[part] = number[part] * 10 + (unsigned)(c->pytest_version.ptr[i] - '0');
    return !c->pytest_version.len || number[0] > major || (number[0] == major && number[1] >= minor);
}
