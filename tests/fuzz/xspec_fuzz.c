/* Any text as a spec: refused in one line, or its parts are strings, and its text is taken again as the
 * same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/xspec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_xspec spec, again;
    xd_error err = { 0 };
    char    *text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = 0;
    int r = xd_xspec_parse(&spec, text, &err);
    assert(r == 0 || r == -EINVAL);
    if (r < 0) {
        assert(err.text[0] && !strchr(err.text, '\n') && !strchr(err.text, '\x1b'));
    } else {
        assert(spec.count >= 1 && spec.count <= XD_XSPEC_MAX_COUNT);
        for (size_t i = 0; i < spec.n_env; i++)
            assert(strchr(spec.env[i], '=') > spec.env[i]);
        r = xd_xspec_parse(&again, spec.text, &err);
        assert(r == 0 && xd_xspec_same_env(&spec, &again) && again.count == 1);
        xd_xspec_release(&again);
        xd_xspec_release(&spec);
    }
    free(text);
    return 0;
}
