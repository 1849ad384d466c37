/* needs: actors/inifile.c actors/literal.c engine/config.c. Any bytes as one of pytest's configuration files: read the same each time, and what was read, written as a pytest.toml, is read as the same.
 * Input: first byte, which file; the rest is its text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/inifile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const files[] = { "pytest.ini",  "tox.ini",        "setup.cfg", ".pytest.ini",
                                     "pytest.toml", "pyproject.toml", "other" };
static const char *const words[XD_INI_NAMES] = { "rsyncdirs", "rsyncignore", "testpaths", "addopts" };

static bool same(const xd_inifile *a, const xd_inifile *b)
{
    bool is = a->bad == b->bad && a->counts == b->counts;
    for (size_t i = 0; is && i < XD_INI_NAMES; i++) {
        const xd_strings *of_a = &a->values[i].words, *of_b = &b->values[i].words;
        is = of_a->count == of_b->count;
        for (size_t k = 0; is && k < of_a->count; k++)
            is = strcmp(of_a->at[k], of_b->at[k]) == 0;
    }
    return is;
}

static int add_quoted(xd_buf *out, const char *s)
{
    int r = xd_buf_add_byte(out, '"');
    for (; r == 0 && *s; s++) {
        r = *s == '"' || *s == '\\' || *s == '\n' ? xd_buf_add_byte(out, '\\') : 0;
        if (r == 0)
            r = xd_buf_add_byte(out, *s == '\n' ? 'n' : (uint8_t)*s);
    }
    return r < 0 ? r : xd_buf_add_str(out, "\", ");
}

static void round_trip(const xd_inifile *ini)
{
    xd_autobuf text = XD_BUF_INIT;
    xd_inifile again, want = *ini;
    int        r = xd_buf_add_str(&text, "[pytest]\n");
    for (size_t i = 0; i < XD_INI_NAMES; i++) {
        assert(r == 0);
        r = xd_buf_printf(&text, "%s = [", words[i]);
        for (size_t k = 0; r == 0 && k < ini->values[i].words.count; k++)
            r = add_quoted(&text, ini->values[i].words.at[k]);
        if (r == 0)
            r = xd_buf_add_str(&text, "]\n");
    }
    assert(r == 0);
    r = xd_inifile_read(&again, "pytest.toml", xd_buf_view(&text));
    want.bad = NULL, want.counts = true;
    assert(r == 0 && same(&want, &again));
    xd_inifile_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_inifile ini, again;
    if (len < 1 || len > 16384)
        return 0;
    const char *name = files[data[0] % XD_ARRAY_LEN(files)];
    xd_bytes    in = { data + 1, len - 1 };
    int         r = xd_inifile_read(&ini, name, in);
    assert(r == 0);
    r = xd_inifile_read(&again, name, in);
    assert(r == 0 && same(&ini, &again));
    uint32_t lines = 1;
    for (size_t i = 0; i < in.len; i++)
        lines += in.ptr[i] == '\n';
    for (size_t i = 0; i < XD_INI_NAMES; i++)
        for (size_t k = 0; k < ini.values[i].words.count; k++)
            assert(ini.values[i].lines[k] >= 1 && ini.values[i].lines[k] <= lines);
    bool known = !ini.bad;
    for (size_t i = 0; i < XD_INI_NAMES; i++)
        known |= ini.bad && strcmp(ini.bad, words[i]) == 0;
    assert(known);
    round_trip(&ini);
    xd_inifile_release(&ini);
    xd_inifile_release(&again);
    return 0;
}
