/* actors/literal.c - see literal.h. */
#include "actors/literal.h"

#include <string.h>

static int at_of(xd_bytes text, size_t at)
{
    return at < text.len ? text.ptr[at] : -1;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\f' || c == '\r';
}

static bool is_word(int c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c >= 0x80;
}

static void skip_blank(xd_bytes text, size_t *at)
{
    while (is_blank(at_of(text, *at)))
        ++*at;
}

static void skip_comment(xd_bytes text, size_t *at)
{
    while (*at < text.len && text.ptr[*at] != '\n')
        ++*at;
}

/* Behind a backslash that ends a line; false: it is none. */
static bool skip_join(xd_bytes text, size_t *at)
{
    size_t end = *at + 1 + (at_of(text, *at + 1) == '\r');
    if (at_of(text, *at) != '\\' || at_of(text, end) != '\n')
        return false;
    *at = end + 1;
    return true;
}

void xd_literal_blanks(xd_bytes text, size_t *at)
{
    for (;;) {
        const int c = at_of(text, *at);
        if (is_blank(c) || c == '\n')
            ++*at;
        else if (c == '#')
            skip_comment(text, at);
        else if (!skip_join(text, at))
            return;
    }
}

/* ---- strings ------------------------------------------------------------------------------------------- */

static bool is_triple(xd_bytes text, size_t at)
{
    const int quote = at_of(text, at);
    return at_of(text, at + 1) == quote && at_of(text, at + 2) == quote;
}

/* Behind the string whose first quote is at *at. */
static bool skip_string(xd_bytes text, size_t *at, xd_language language)
{
    const int    quote = at_of(text, *at);
    const bool   escapes = language == XD_LANGUAGE_PYTHON || quote == '"';
    const bool   triple = is_triple(text, *at);
    const size_t quotes = triple ? 3 : 1;
    for (size_t i = *at + quotes; i < text.len; i++) {
        if (text.ptr[i] == '\\' && escapes)
            i++;
        else if (!triple && text.ptr[i] == '\n')
            break;
        else if (text.ptr[i] == quote && (!triple || is_triple(text, i))) {
            *at = i + quotes;
            return true;
        }
    }
    return false;
}

/* -1: not one that is read. */
static int escaped(int c)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char       *found = c > 0 ? strchr(from, c) : NULL;
    return found ? to[found - from] : -1;
}

int xd_literal_string(xd_bytes text, size_t *at, xd_language language, xd_buf *out)
{
    size_t    i = *at;
    const int prefix = at_of(text, i);
    bool      raw = language == XD_LANGUAGE_TOML ? prefix == '\'' : prefix == 'r' || prefix == 'R';
    if (language == XD_LANGUAGE_PYTHON && (raw || prefix == 'u' || prefix == 'U'))
        i++;
    const int quote = at_of(text, i);
    if ((quote != '"' && quote != '\'') || is_triple(text, i))
        return 0;
    for (i++; at_of(text, i) != quote; i++) {
        int c = at_of(text, i);
        if (c <= 0 || c == '\n')
            return 0;
        if (c == '\\' && raw &&
            language == XD_LANGUAGE_PYTHON) { /* it stays, and a quote behind it as well */
            XD_TRY(xd_buf_add_byte(out, '\\'));
            c = at_of(text, ++i);
            if (c <= 0 || c == '\n')
                return 0;
        } else if (c == '\\' && !raw && (c = escaped(at_of(text, ++i))) < 0) {
            return 0;
        }
        XD_TRY(xd_buf_add_byte(out, (uint8_t)c));
    }
    *at = i + 1;
    return 1;
}

int xd_literal_list(xd_bytes text, size_t *at, xd_language language, xd_strings *ret)
{
    xd_autobuf one = XD_BUF_INIT;
    size_t     i = *at, items = 0;
    const bool tuple = at_of(text, i) == '(';
    bool       comma = true; /* one more may follow */
    if (at_of(text, i) != '[' && (!tuple || language != XD_LANGUAGE_PYTHON))
        return 0;
    for (i++;;) {
        xd_literal_blanks(text, &i);
        if (at_of(text, i) == (tuple ? ')' : ']')) {
            *at = i + 1;
            return !tuple || !items || items > 1 || comma; /* ("a") is a string */
        }
        if (!comma)
            return 0;
        int got;
        xd_buf_clear(&one);
        for (bool any = false; (got = xd_literal_string(text, &i, language, &one)) == 1; any = true) {
            if (any && language == XD_LANGUAGE_TOML)
                return 0;
            xd_literal_blanks(text, &i);
            if (at_of(text, i) == ',' || at_of(text, i) == ']' || at_of(text, i) == ')')
                break;
        }
        if (got <= 0)
            return got;
        XD_TRY(xd_strings_add(ret, xd_buf_cstr(&one)));
        items++;
        comma = at_of(text, i) == ',';
        i += comma;
    }
}

/* ---- a module ------------------------------------------------------------------------------------------- */

/* What is looked for in a line of a module. */
typedef struct seeker {
    xd_bytes    text;
    xd_bytes    name;
    xd_language language;
    size_t      found; /* where it first stands outside of strings and brackets; SIZE_MAX = nowhere */
} seeker;

/* Moves on to the end of the line in the sense of Python, and looks for the name. */
static bool seek_line(seeker *s, size_t *at)
{
    size_t depth = 0;
    s->found = SIZE_MAX;
    while (*at < s->text.len) {
        const size_t begin = *at;
        const int    c = s->text.ptr[begin];
        if (c == '"' || c == '\'') {
            if (!skip_string(s->text, at, s->language))
                return false;
        } else if (c == '#') {
            skip_comment(s->text, at);
        } else if (is_word(c)) {
            while (is_word(at_of(s->text, *at)))
                ++*at;
            const xd_bytes word = { s->text.ptr + begin, *at - begin };
            if (s->found == SIZE_MAX && !depth && s->name.len && xd_bytes_eq(word, s->name) &&
                (!begin || s->text.ptr[begin - 1] != '.'))
                s->found = begin;
        } else if (c == '\\' && skip_join(s->text, at)) {
            continue;
        } else {
            ++*at;
            depth += c == '(' || c == '[' || c == '{';
            depth -= depth && (c == ')' || c == ']' || c == '}');
            if (c == '\n' && !depth)
                return true;
        }
    }
    return !depth;
}

bool xd_literal_line(xd_bytes text, size_t *at, xd_language language)
{
    seeker s = { .text = text, .language = language };
    return seek_line(&s, at);
}

static bool begins_with(xd_bytes text, size_t at, const char *word)
{
    const size_t len = strlen(word);
    return text.len - at >= len && memcmp(text.ptr + at, word, len) == 0 && !is_word(at_of(text, at + len));
}

/* A single = at `at`. */
static bool is_assign(xd_bytes text, size_t at)
{
    return at_of(text, at) == '=' && at_of(text, at + 1) != '=';
}

/* An annotation is passed over; to the =, or to what else stands there. */
static size_t behind_name(xd_bytes text, size_t at)
{
    skip_blank(text, &at);
    for (size_t i = at; at_of(text, at) == ':' && at_of(text, i) >= 0 && !strchr("\n#\"'", at_of(text, i));
         i++)
        if (at_of(text, i) == '=')
            return i;
    return at;
}

/* A line that begins with the name. */
static int take_assignment(const seeker *s, size_t at, xd_strings *ret)
{
    at = behind_name(s->text, at + s->name.len);
    if (!is_assign(s->text, at))
        return at_of(s->text, at) == '\n' || at_of(s->text, at) < 0 ? XD_ASSIGNED_NOT : XD_ASSIGNED_OTHER;
    at++;
    while (is_blank(at_of(s->text, at)) || skip_join(s->text, &at))
        at += is_blank(at_of(s->text, at));
    const int got = xd_literal_list(s->text, &at, XD_LANGUAGE_PYTHON, ret);
    if (got < 0)
        return got;
    skip_blank(s->text, &at);
    const int end = at_of(s->text, at);
    return got && (end < 0 || end == '\n' || end == '#') ? XD_ASSIGNED_LIST : XD_ASSIGNED_OTHER;
}

/* What a line with the name in it does to it; `begin`: where its code begins. */
static int judge(const seeker *s, size_t begin, bool indented, xd_strings *ret)
{
    if (s->found == begin && !indented)
        return take_assignment(s, begin, ret);
    if (begins_with(s->text, begin, "from") || begins_with(s->text, begin, "import"))
        return XD_ASSIGNED_OTHER;
    size_t behind = behind_name(s->text, s->found + s->name.len);
    if (at_of(s->text, behind) == '+')
        behind++;
    return is_assign(s->text, behind) ? XD_ASSIGNED_OTHER : XD_ASSIGNED_NOT;
}

int xd_literal_assigned(xd_bytes text, const char *name, xd_strings *ret, uint32_t *ret_line)
{
    seeker      s = { .text = text, .name = xd_bytes_str(name) };
    xd_assigned all = XD_ASSIGNED_NOT;
    bool        apart = false; /* in a function or class */
    uint32_t    line = 1;
    size_t      at = text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < text.len) {
        const size_t start = at;
        size_t       begin = at;
        xd_strings   strings = { 0 };
        const bool   whole = seek_line(&s, &at);
        skip_blank(text, &begin);
        const bool indented = begin > start;
        const int  first = at_of(text, begin);
        if (!indented && first != '\n' && first != '#')
            apart = begins_with(text, begin, "def") || begins_with(text, begin, "class") ||
                    begins_with(text, begin, "async");
        int got = s.found == SIZE_MAX || apart ? XD_ASSIGNED_NOT : judge(&s, begin, indented, &strings);
        if (got > 0) {
            xd_strings_release(ret);
            *ret_line = line;
            all = all == XD_ASSIGNED_OTHER ? all : (xd_assigned)got;
        }
        if (all == XD_ASSIGNED_LIST && got == XD_ASSIGNED_LIST)
            *ret = strings;
        else
            xd_strings_release(&strings);
        if (got < 0)
            return got;
        if (!whole) { /* what follows cannot be told from what is in a string */
            if (!xd_bytes_find((xd_bytes){ text.ptr + start, text.len - start }, name))
                break;
            xd_strings_release(ret);
            *ret_line = line;
            return XD_ASSIGNED_OTHER;
        }
        for (size_t i = start; i < at; i++)
            line += text.ptr[i] == '\n';
    }
    return (int)all;
}
