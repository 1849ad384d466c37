/* needs: engine/config.c engine/config_parse.c. Any words as a command line: refused in one line, or every word is an option of xd or one of pytest's.
 * Input: words, each ended by a newline. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What xdctl asks of it once a server or another command has taken options out of pytest's words. */
static void later(xd_config *cfg)
{
    xd_error     err = { 0 };
    const size_t before = cfg->args.count;
    int          r = xd_config_fits(cfg, &err);
    assert(r == 0 || (r == -EINVAL && err.text[0] && !strchr(err.text, '\n')));
    const char *name = xd_config_misplaced(cfg);
    if (!name)
        return;
    (void)xd_config_misplaced_value(cfg, name);
    r = xd_config_take(cfg, name, &err);
    assert(r == 0 || (r == -EINVAL && err.text[0] && !strchr(err.text, '\n')));
    const char *next = xd_config_misplaced(cfg);
    assert(r < 0 || (cfg->args.count < before && (!next || strcmp(next, name) != 0)));
    assert(cfg->args_final == SIZE_MAX || cfg->args_final <= cfg->args.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_config *cfg = NULL, *copy = NULL;
    char       err[XD_TEXT] = "", *argv[64], *text = malloc(len + 1), *save = NULL;
    int        argc = 0;
    memcpy(text, data, len);
    text[len] = 0;
    for (char *word = strtok_r(text, "\n", &save); word && argc < 64; word = strtok_r(NULL, "\n", &save))
        argv[argc++] = word;
    if (xd_config_new(&cfg) == 0) {
        int r = xd_config_parse(cfg, argc, argv, err);
        assert(r == 0 || r == -EINVAL);
        assert(r == 0 || (err[0] && !strchr(err, '\n')));
        assert(cfg->args.count <= (size_t)argc);
        assert(cfg->workers >= XD_WORKERS_LOGICAL && cfg->workers <= 1024);
        later(cfg);
        for (const xd_option *o = xd_config_options(); o->name; o++)
            (void)xd_config_get(cfg, o->name);
        r = xd_config_copy(&copy, cfg);
        assert(r == 0 && copy->args.count == cfg->args.count && copy->tx.count == cfg->tx.count);
    }
    xd_config_free(copy);
    xd_config_free(cfg);
    free(text);
    return 0;
}
