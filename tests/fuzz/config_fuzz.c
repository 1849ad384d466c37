/* Any words as a command line: refused in one line, or every word is an option of xd or one of pytest's.
 * Input: words, each ended by a newline. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

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
        r = xd_config_copy(&copy, cfg);
        assert(r == 0 && copy->args.count == cfg->args.count && copy->tx.count == cfg->tx.count);
    }
    xd_config_free(copy);
    xd_config_free(cfg);
    free(text);
    return 0;
}
