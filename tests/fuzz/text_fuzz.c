/* Any bytes as text: what was made harmless has no control bytes but colours where they are allowed, is UTF-8, stays as it is a
 * second time, and is no command in the log of a CI system; numbers, times, sizes and command lines are refused or read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/ci_guard.h"
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

static size_t color(const uint8_t *p, size_t len)
{
    size_t i = 2;
    while (len > 2 && p[1] == '[' && i < len && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
        i++;
    return len > 2 && i < len && p[i] == 'm' ? i + 1 : 0;
}

/* Colours left out, as a reader of the log may do. */
static void no_command(xd_bytes out)
{
    xd_autobuf  plain = XD_BUF_INIT;
    const char *found[] = { "##[", "##vso", "##teamcity[" };
    for (size_t i = 0, n; i < out.len; i += n ? n : 1) {
        n = out.ptr[i] == 0x1b ? color(out.ptr + i, out.len - i) : 0;
        if (!n)
            assert(xd_buf_add_byte(&plain, out.ptr[i]) == 0);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(found); i++)
        assert(!xd_bytes_find(xd_buf_view(&plain), found[i]));
    bool blank = true;
    for (size_t i = 0; i < plain.len; i++) {
        assert(!blank || plain.data[i] != ':' || i + 1 == plain.len || plain.data[i + 1] != ':');
        blank = plain.data[i] == '\n' || plain.data[i] == '\r' || (blank && strchr(" \t\v\f", plain.data[i]));
    }
}

/* As a report shows it: colours or none, in pieces as long as the first byte says. */
static void in_a_log(xd_bytes in, bool colors)
{
    xd_autobuf  shown = XD_BUF_INIT, out = XD_BUF_INIT, again = XD_BUF_INIT;
    xd_ci_guard g = { .systems = XD_CI_GITHUB | XD_CI_AZURE | XD_CI_TEAMCITY }, h = g;
    assert(xd_text_harmless_lines(&shown, in, colors) == 0);
    for (size_t i = 0; i < shown.len; i++)
        assert(shown.data[i] >= 32 || shown.data[i] == '\n' || shown.data[i] == '\t' ||
               (colors && shown.data[i] == 0x1b && color(shown.data + i, shown.len - i)));
    const size_t step =
        xd_text_printable(shown.data, shown.len) == shown.len && in.len ? in.ptr[0] % 7u + 1 : shown.len;
    for (size_t i = 0; i < shown.len; i += step)
        assert(xd_ci_guard_add(&g, &out, (xd_bytes){ shown.data + i, XD_MIN(step, shown.len - i) }) == 0);
    no_command(xd_buf_view(&out));
    assert(xd_ci_guard_add(&h, &again, xd_buf_view(&out)) == 0);
    assert(xd_bytes_eq(xd_buf_view(&out), xd_buf_view(&again)));
    xd_buf_clear(&again);
    if (!colors)
        assert(xd_text_harmless_lines(&again, xd_buf_view(&out), false) == 0 &&
               xd_bytes_eq(xd_buf_view(&out), xd_buf_view(&again)));
    xd_buf_clear(&out);
    h = (xd_ci_guard){ .systems = XD_CI_GITHUB | XD_CI_AZURE | XD_CI_TEAMCITY };
    assert(xd_ci_guard_add(&h, &out, in) == 0); /* also what was not made harmless */
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
    in_a_log(in, false);
    in_a_log(in, true);
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
