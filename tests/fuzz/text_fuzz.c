/* Any bytes as text: what was made harmless has no control bytes and is UTF-8; numbers, times, sizes and
 * command lines are refused or read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void harmless(xd_bytes in, bool lines)
{
    xd_autobuf out = XD_BUF_INIT;
    int        r = xd_text_harmless(&out, in, lines);
    assert(r == 0 && xd_text_is_utf8(xd_buf_view(&out)));
    for (size_t i = 0; i < out.len; i++)
        assert((out.data[i] >= 32 && out.data[i] != 127) ||
               (lines && (out.data[i] == '\n' || out.data[i] == '\t')));
    for (size_t i = 0; i + 1 < out.len; i++) /* C1 controls */
        assert(out.data[i] != 0xc2 || out.data[i + 1] >= 0xa0);
}

static void command_line(const char *text)
{
    char **words = NULL;
    if (xd_text_shell_split(text, &words) < 0 || !words)
        return;
    xd_autobuf joined = XD_BUF_INIT;
    size_t     n = 0;
    for (; words[n]; n++) {
        if (n)
            assert(xd_buf_add_byte(&joined, ' ') == 0);
        assert(xd_text_shell_quote(&joined, words[n]) == 0);
    }
    char **again = NULL;
    assert(xd_text_shell_split(xd_buf_cstr(&joined), &again) >= 0 && again);
    for (size_t i = 0; i < n; i++)
        assert(again[i] && strcmp(again[i], words[i]) == 0);
    assert(!again[n]);
    free(words);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_bytes   in = { data, len };
    xd_autobuf out = XD_BUF_INIT;
    uint64_t   n;
    char      *text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = 0;
    harmless(in, false);
    harmless(in, true);
    assert(xd_text_to_utf8(&out, in) == 0 && xd_text_is_utf8(xd_buf_view(&out)));
    xd_buf_clear(&out);
    assert(xd_text_strip_ansi(&out, in) == 0 && out.len <= len);
    if (xd_text_u64(text, 5, 1000, &n) == 0)
        assert(n >= 5 && n <= 1000);
    (void)!xd_text_duration(text, &n);
    (void)!xd_text_size(text, &n);
    command_line(text);
    free(text);
    return 0;
}
