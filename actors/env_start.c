/* actors/env_start.c - see env_start.h. */
#include "actors/env_start.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/path.h"

void xd_env_start_project(const char *work, char ret[XD_PROJECT_NAME])
{
    ret[0] = 0;
    if (work)
        xd_env_start_project_of(work, work, ret);
}

void xd_env_start_project_of(const char *folder, const char *apart, char ret[XD_PROJECT_NAME])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    char              name[XD_PROJECT_NAME - 16] = "project";
    size_t            n = 0;
    for (const char *c = xd_path_base(folder); *c && n + 1 < sizeof(name); c++)
        if (n || (*c != '.' && *c != '-')) /* of which no name may begin */
            name[n++] = (char)(strchr(allowed, *c) ? *c : '_');
    if (n)
        name[n] = 0;
    snprintf(ret, XD_PROJECT_NAME, "%s-%08x", name,
             (unsigned)(XXH3_64bits(apart, strlen(apart)) & 0xffffffffu));
}

static xd_bytes or_empty(const char *text)
{
    return xd_bytes_str(text ? text : "");
}

int xd_env_start_fill(xd_wire_ENV_START *start, const xd_config *cfg, const xd_xspec *spec,
                      const char *project, xd_buf *room)
{
    start->runner = or_empty(cfg->runner);
    start->python = or_empty(spec->python ? spec->python : cfg->python);
    start->nice = or_empty(spec->nice);
    start->chdir = or_empty(spec->chdir);
    start->spec = xd_bytes_str(spec->text);
    start->project = xd_bytes_str(spec->kind != XD_SPEC_POPEN ? project : "");
    start->env.count = 0;
    for (size_t i = 0; i < spec->n_env; i++, start->env.count++) {
        const char  *eq = strchr(spec->env[i], '=');
        xd_wire_PAIR p = { .name = { (const uint8_t *)spec->env[i], (size_t)(eq - spec->env[i]) },
                           .value = xd_bytes_str(eq + 1) };
        XD_TRY(xd_wire_PAIR_append(room, &p));
    }
    start->env.ptr = room->data;
    start->env.len = room->len;
    return 0;
}
