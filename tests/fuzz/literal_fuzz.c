/* needs: actors/literal.c engine/config.c. Any bytes as a conftest.py: what it assigns to a name is the same each time, and the strings of a list, written as a Python list, are
 * read as the same; no reader goes back, or beyond the end.
 * Input: the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/literal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool same(const xd_strings *a, const xd_strings *b)
{
    bool is = a->count == b->count;
    for (size_t i = 0; is && i < a->count; i++)
        is = strcmp(a->at[i], b->at[i]) == 0;
    return is;
}

static void add_quoted(xd_buf *out, const char *s)
{
    int r = xd_buf_add_byte(out, '"');
    for (; r == 0 && *s; s++) {
        r = *s == '"' || *s == '\\' || *s == '\n' ? xd_buf_add_byte(out, '\\') : 0;
        if (r == 0)
            r = xd_buf_add_byte(out, *s == '\n' ? 'n' : (uint8_t)*s);
    }
    if (r == 0)
        r = xd_buf_add_str(out, "\", ");
    assert(r == 0);
}

static void round_trip(const xd_strings *strings)
{
    xd_autobuf text = XD_BUF_INIT;
    xd_placed  again = { 0 }, list = { 0 };
    uint32_t   line;
    size_t     at = strlen("rsyncdirs = ");
    int        r = xd_buf_add_str(&text, "rsyncdirs = [");
    assert(r == 0);
    for (size_t i = 0; i < strings->count; i++)
        add_quoted(&text, strings->at[i]);
    r = xd_buf_add_str(&text, "]\n");
    assert(r == 0);
    r = xd_literal_assigned(xd_buf_view(&text), "rsyncdirs", &again, &line);
    assert(r == XD_ASSIGNED_LIST && line == 1 && same(strings, &again.words));
    r = xd_literal_list(xd_buf_view(&text), &at, XD_LANGUAGE_TOML, &list);
    assert(r == 1 && at == text.len - 1 && same(strings, &list.words));
    xd_placed_release(&again);
    xd_placed_release(&list);
}

static void assigned(xd_bytes in)
{
    xd_placed strings = { 0 }, again = { 0 };
    uint32_t  line = 0, line2 = 0, lines = 1;
    for (size_t i = 0; i < in.len; i++)
        lines += in.ptr[i] == '\n';
    int r = xd_literal_assigned(in, "rsyncdirs", &strings, &line);
    assert(r >= XD_ASSIGNED_NOT && r <= XD_ASSIGNED_OTHER);
    assert(r == XD_ASSIGNED_LIST || strings.words.count == (r == XD_ASSIGNED_STRING));
    for (size_t i = 0; i < strings.words.count; i++)
        assert(strings.lines[i] >= 1 && strings.lines[i] <= lines);
    assert(r == XD_ASSIGNED_NOT || (line >= 1 && line <= lines && xd_bytes_find(in, "rsyncdirs")));
    int r2 = xd_literal_assigned(in, "rsyncdirs", &again, &line2);
    assert(r == r2 && line == line2 && same(&strings.words, &again.words));
    if (r == XD_ASSIGNED_LIST)
        round_trip(&strings.words);
    xd_placed_release(&strings);
    xd_placed_release(&again);
}

/* Over all of it, line by line, and over what each line begins with. */
static void walk(xd_bytes in, xd_language language)
{
    for (size_t at = 0; at < in.len;) {
        xd_autobuf one = XD_BUF_INIT;
        xd_placed  list = { 0 };
        size_t     begin = at, next = at;
        xd_literal_blanks(in, &begin);
        assert(begin >= at && begin <= in.len);
        size_t string = begin, end = begin;
        int    r = xd_literal_string(in, &string, language, &one);
        assert(r == 0 ? string == begin : r == 1 && string >= begin + 2 && string <= in.len);
        r = xd_literal_list(in, &end, language, &list);
        assert((r == 0 || r == 1) && end >= begin && end <= in.len);
        xd_placed_release(&list);
        bool whole = xd_literal_line(in, &next, language);
        assert(next <= in.len && next >= at && (!whole || next > at));
        if (!whole)
            return;
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_bytes in = { data, len };
    if (len > 16384)
        return 0;
    assigned(in);
    walk(in, XD_LANGUAGE_PYTHON);
    walk(in, XD_LANGUAGE_TOML);
    return 0;
}
