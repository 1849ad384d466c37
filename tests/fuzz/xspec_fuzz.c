/* Any text as a spec: refused in one line, or its parts are strings, and its text is taken again as the same; so is a copy. Several of them, one a line: their ways
 * (via=) are refused in one line, or end.
 * Input: lines, each a spec. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/xspec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SPECS 12

static void same(const xd_xspec *a, const xd_xspec *b)
{
    assert(xd_xspec_same_env(a, b) && xd_xspec_same_env(b, a));
    assert(strcmp(a->text, b->text) == 0);
}

static int one(const char *text, xd_xspec *spec)
{
    xd_xspec again;
    xd_error err = { 0 };
    int      r = xd_xspec_parse(spec, text, &err);
    assert(r == 0 || r == -EINVAL);
    if (r < 0) {
        assert(err.text[0] && !strchr(err.text, '\n') && !strchr(err.text, '\x1b'));
        return r;
    }
    assert(spec->count <= XD_XSPEC_MAX_COUNT);
    for (size_t i = 0; i < spec->n_env; i++)
        assert(strchr(spec->env[i], '=') > spec->env[i]);
    r = xd_xspec_parse(&again, spec->text, &err);
    assert(r == 0 && again.count <= 1);
    same(spec, &again);
    r = xd_xspec_anonymous(&again);
    assert(r == 0 && !again.id && (spec->id || strcmp(again.text, spec->text) == 0));
    xd_xspec_release(&again);
    r = xd_xspec_copy(&again, spec);
    assert(r == 0 && again.count == spec->count);
    same(spec, &again);
    r = xd_xspec_anonymous(&again);
    assert(r == 0);
    xd_xspec_release(&again);
    return 0;
}

static void ways(xd_xspec *all, size_t n)
{
    xd_error err = { 0 };
    int      r = xd_xspec_distinct(all, n, &err);
    assert(r == 0 || (r == -EINVAL && err.text[0] && !strchr(err.text, '\n')));
    for (size_t i = 0; i < n; i++) {
        xd_xspec s;
        r = xd_xspec_copy(&s, &all[i]);
        assert(r == 0);
        r = xd_xspec_route(&s, all, n, &err);
        assert(r == 0 || (r == -EINVAL && err.text[0] && !strchr(err.text, '\n')));
        unsigned far = 0;
        for (const xd_xspec *at = s.jump; at; at = at->jump)
            assert(at->kind == XD_SPEC_SSH && ++far <= 8);
        if (r == 0) { /* what has been routed can be copied as well */
            xd_xspec copy;
            r = xd_xspec_copy(&copy, &s);
            assert(r == 0 && xd_xspec_same_env(&copy, &s) && !copy.jump == !s.jump);
            xd_xspec_release(&copy);
        }
        xd_xspec_release(&s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_xspec all[SPECS];
    size_t   n = 0;
    if (len > 16384)
        return 0;
    char *text = malloc(len + 1), *save = NULL;
    memcpy(text, data, len);
    text[len] = 0;
    if (one(text, &all[0]) == 0) /* as it is, with newlines in it */
        xd_xspec_release(&all[0]);
    for (char *line = strtok_r(text, "\n", &save); line && n < SPECS; line = strtok_r(NULL, "\n", &save))
        n += one(line, &all[n]) == 0;
    ways(all, n);
    for (size_t i = 0; i < n; i++)
        xd_xspec_release(&all[i]);
    free(text);
    return 0;
}
