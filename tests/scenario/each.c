/* A run in which every environment has a collection of its own: no option of xdctl asks for it, so this program does.
 *     each [OPTION or argument of pytest, as for xdctl run ...] */
#include <stdio.h>

#include "engine/config.h"

int main(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    xd_engine *run = NULL;
    xd_result  res = XD_RESULT_INIT;
    int        code = XD_EXIT_INTERNAL;
    if (xd_config_new(&cfg) == 0 && xd_config_parse(cfg, argc - 1, argv + 1, err) == 0) {
        cfg->each = true;
        if (xd_engine_new(&run, cfg, err) == 0 && xd_engine_start(run, err) == 0 &&
            xd_engine_wait(run, -1, &res) == 0)
            code = res.exit_code;
    }
    if (err[0])
        fprintf(stderr, "each: %s\n", err);
    xd_engine_free(run);
    xd_config_free(cfg);
    return code;
}
