/* actors/inifile.c - see inifile.h. */
#include "actors/inifile.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

static const char *const names[XD_INI_NAMES] = { [XD_INI_RSYNCDIRS] = "rsyncdirs",
                                                 [XD_INI_RSYNCIGNORE] = "rsyncignore",
                                                 [XD_INI_TESTPATHS] = "testpaths",
                                                 [XD_INI_ADDOPTS] = "addopts" };

void xd_inifile_release(xd_inifile *ini)
{
    for (size_t i = 0; i < XD_INI_NAMES; i++)
        xd_placed_release(&ini->values[i]);
    *ini = XD_INIFILE_INIT;
}

static xd_bytes strip(xd_bytes v)
{
    while (v.len && strchr(" \t\r\n\f\v", v.ptr[0]))
        v = (xd_bytes){ v.ptr + 1, v.len - 1 };
    while (v.len && strchr(" \t\r\n\f\v", v.ptr[v.len - 1]))
        v.len--;
    return v;
}

static int name_of(xd_bytes word)
{
    for (int i = 0; i < XD_INI_NAMES; i++)
        if (xd_bytes_eq_str(word, names[i]))
            return i;
    return -1;
}

/* Where a value stands in its file. */
typedef struct range {
    xd_bytes text; /* the file */
    size_t   begin, end;
    bool     comments; /* lines of it that begin with # or ; are none of the value */
} range;

static bool in_comment(const range *at, size_t where)
{
    size_t begin = where;
    while (begin > at->begin && at->text.ptr[begin - 1] != '\n')
        begin--;
    while (begin < where && strchr(" \t", at->text.ptr[begin]))
        begin++;
    return at->comments && (at->text.ptr[begin] == '#' || at->text.ptr[begin] == ';');
}

static uint32_t lines_between(const range *at, size_t begin, size_t end)
{
    return xd_line_of((xd_bytes){ at->text.ptr + begin, end - begin }, end - begin) - 1;
}

/* The line on which this word stands; at->begin and *line move behind it. One that quotes or escapes made stands nowhere as it is: then it has the line of the one
 * before it. */
static uint32_t follow(range *at, const char *word, uint32_t *line)
{
    for (size_t from = at->begin; from < at->end;) {
        const uint8_t *found = xd_bytes_find((xd_bytes){ at->text.ptr + from, at->end - from }, word);
        if (!found)
            break;
        const size_t where = (size_t)(found - at->text.ptr), behind = where + strlen(word);
        from = where + 1;
        if (in_comment(at, where))
            continue;
        const uint32_t here = *line + lines_between(at, at->begin, where);
        *line = here + lines_between(at, where, behind);
        at->begin = behind;
        return here;
    }
    return *line;
}

/* The words of a value that is one text. */
static int set_words(xd_inifile *ini, int which, const char *text, range at)
{
    xd_autofree char **words = NULL;
    const int          r = xd_text_shell_split(text, &words);
    uint32_t           line = at.text.len ? xd_line_of(at.text, at.begin) : 0;
    xd_placed_release(&ini->values[which]);
    if (r == -EINVAL) {
        ini->bad = names[which];
        return 0;
    }
    XD_TRY(r);
    for (size_t i = 0; words[i]; i++) {
        const uint32_t here = follow(&at, words[i], &line);
        XD_TRY(xd_placed_add(&ini->values[which], words[i], here));
    }
    return 0;
}

int xd_inifile_override(xd_inifile *ini, const char *text)
{
    const char *equal = strchr(text, '=');
    const int   which = equal ? name_of((xd_bytes){ (const uint8_t *)text, (size_t)(equal - text) }) : -1;
    if (which < 0)
        return 0;
    if (ini->bad == names[which])
        ini->bad = NULL;
    ini->told[which] = true;
    return set_words(ini, which, equal + 1, (range){ .begin = 0 });
}

/* ---- ini ------------------------------------------------------------------------------------------------ */

static bool next_line(xd_bytes text, size_t *at, xd_bytes *ret)
{
    if (*at >= text.len)
        return false;
    const uint8_t *begin = text.ptr + *at, *end = memchr(begin, '\n', text.len - *at);
    ret->ptr = begin;
    ret->len = end ? (size_t)(end - begin) : text.len - *at;
    *at += ret->len + 1;
    return true;
}

/* "[name]", behind which a comment may stand. */
static bool is_section(xd_bytes line, const char *name)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] == '#' || line.ptr[i] == ';')
            line.len = i;
    line = strip(line);
    return line.len > 2 && line.ptr[line.len - 1] == ']' &&
           xd_bytes_eq_str((xd_bytes){ line.ptr + 1, line.len - 2 }, name);
}

/* "name = value"; which value it is, or -1. */
static int split_line(xd_bytes line, xd_bytes *ret_value)
{
    const uint8_t *equal = memchr(line.ptr, '=', line.len), *colon = memchr(line.ptr, ':', line.len);
    const uint8_t *at = equal && (!colon || equal < colon) ? equal : colon;
    if (!at)
        return -1;
    const size_t before = (size_t)(at - line.ptr);
    *ret_value = strip((xd_bytes){ at + 1, line.len - before - 1 });
    return name_of(strip((xd_bytes){ line.ptr, before }));
}

/* values: of each name, as they stand there, continuation lines too. */
static int collect_ini(xd_inifile *ini, const char *section, xd_bytes text, xd_buf *values, range *ranges)
{
    xd_bytes line, part;
    bool     inside = false;
    int      which = -1;
    for (size_t at = 0; next_line(text, &at, &line);) {
        const xd_bytes bare = strip(line);
        if (!bare.len || bare.ptr[0] == '#' || bare.ptr[0] == ';')
            continue;
        if (line.ptr[0] == '[') {
            inside = is_section(line, section);
            ini->counts |= inside;
            which = -1;
        } else if (strchr(" \t\f\v", line.ptr[0])) {
            XD_TRY(which >= 0 ? xd_buf_add_byte(&values[which], '\n') : 0);
            XD_TRY(which >= 0 ? xd_buf_add_bytes(&values[which], bare) : 0);
            if (which >= 0)
                ranges[which].end = (size_t)(bare.ptr + bare.len - text.ptr);
        } else if (inside && (which = split_line(line, &part)) >= 0) {
            xd_buf_clear(&values[which]);
            XD_TRY(xd_buf_add_bytes(&values[which], part));
            ranges[which] = (range){ .text = text,
                                     .begin = (size_t)(part.ptr - text.ptr),
                                     .end = (size_t)(part.ptr + part.len - text.ptr),
                                     .comments = true };
        }
    }
    return 0;
}

static int read_ini(xd_inifile *ini, const char *section, xd_bytes text)
{
    xd_buf values[XD_INI_NAMES] = { 0 };
    range  ranges[XD_INI_NAMES] = { 0 };
    int    r = collect_ini(ini, section, text, values, ranges);
    for (int i = 0; i < XD_INI_NAMES; i++) {
        if (r == 0)
            r = set_words(ini, i, xd_buf_cstr(&values[i]), ranges[i]);
        xd_buf_release(&values[i]);
    }
    return r;
}

/* ---- TOML ----------------------------------------------------------------------------------------------- */

/* "a.b" or "a . 'b'", up to `end`, without quotes and blanks. False: something else stands there. */
static bool read_key(xd_bytes text, size_t *at, uint8_t end, xd_buf *out, int *r)
{
    for (; *at < text.len && *r == 0; ++*at) {
        const uint8_t c = text.ptr[*at];
        if (c == end)
            return true;
        if (c == '\n' || c == '#')
            return false;
        if (c != '"' && c != '\'' && c != ' ' && c != '\t')
            *r = xd_buf_add_byte(out, c);
    }
    return false;
}

/* Of pytest's table: 1 = in it, or it itself; its name is what is left of `key` then. */
static bool in_table(const char *table, const char *key, const char **ret)
{
    const size_t len = strlen(table);
    if (strncmp(key, table, len) != 0 || (key[len] && key[len] != '.'))
        return false;
    *ret = key[len] ? key + len + 1 : "";
    return true;
}

/* A list of strings, or one string with words in it. */
static int read_value(xd_inifile *ini, int which, xd_bytes text, size_t at)
{
    xd_autobuf one = XD_BUF_INIT;
    xd_literal_blanks(text, &at);
    const size_t begin = at;
    xd_placed_release(&ini->values[which]);
    int got = xd_literal_list(text, &at, XD_LANGUAGE_TOML, &ini->values[which]);
    if (got == 1)
        return 0;
    xd_placed_release(&ini->values[which]);
    if (got == 0)
        got = xd_literal_string(text, &at, XD_LANGUAGE_TOML, &one);
    if (got == 0)
        ini->bad = names[which];
    return got == 1
               ? set_words(ini, which, xd_buf_cstr(&one), (range){ .text = text, .begin = begin, .end = at })
               : got;
}

static int take_key(xd_inifile *ini, bool own, const char *key, xd_bytes text, size_t at)
{
    const char *name = "";
    /* The second one lies in the third, which pytest reads since release 9. */
    const bool inside =
        own ? in_table("pytest", key, &name)
            : in_table("tool.pytest.ini_options", key, &name) || in_table("tool.pytest", key, &name);
    ini->counts |= inside;
    const int which = inside ? name_of(xd_bytes_str(name)) : -1;
    return which >= 0 && at < text.len ? read_value(ini, which, text, at) : 0;
}

static int read_toml(xd_inifile *ini, bool own, xd_bytes text)
{
    xd_autobuf table = XD_BUF_INIT, key = XD_BUF_INIT;
    int        r = 0;
    for (size_t at = 0; xd_literal_blanks(text, &at), at < text.len && r == 0;) {
        const bool head = text.ptr[at] == '[';
        xd_buf_clear(&key);
        if (head) {
            at += text.len - at > 1 && text.ptr[at + 1] == '[' ? 2 : 1;
            xd_buf_clear(&table);
            if (read_key(text, &at, ']', &table, &r) && r == 0)
                r = take_key(ini, own, xd_buf_cstr(&table), text, text.len);
        } else {
            XD_TRY(xd_buf_add_bytes(&key, xd_buf_view(&table)));
            XD_TRY(table.len ? xd_buf_add_byte(&key, '.') : 0);
            if (read_key(text, &at, '=', &key, &r) && r == 0)
                r = take_key(ini, own, xd_buf_cstr(&key), text, ++at);
        }
        if (!xd_literal_line(text, &at, XD_LANGUAGE_TOML))
            break;
    }
    return r;
}

/* ---------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    const size_t len = strlen(name), n = strlen(end);
    return len >= n && strcmp(name + len - n, end) == 0;
}

static bool is_own(const char *name, const char *own)
{
    return strcmp(name + (name[0] == '.'), own) == 0;
}

int xd_inifile_read(xd_inifile *ret, const char *name, xd_bytes text)
{
    xd_inifile ini = XD_INIFILE_INIT;
    int        r = 0;
    ini.counts = is_own(name, "pytest.ini") || is_own(name, "pytest.toml");
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        text = (xd_bytes){ text.ptr + 3, text.len - 3 };
    if (ends_with(name, ".toml"))
        r = read_toml(&ini, is_own(name, "pytest.toml"), text);
    else if (ends_with(name, ".cfg"))
        r = read_ini(&ini, "tool:pytest", text);
    else if (ends_with(name, ".ini"))
        r = read_ini(&ini, "pytest", text);
    if (r < 0)
        xd_inifile_release(&ini);
    *ret = ini;
    return r;
}
