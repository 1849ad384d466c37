/* actors/literal.c - see literal.h. */
#include "actors/literal.h"

#include <stdlib.h>
#include <string.h>

#define BRACKETS_MAX 16u /* around a value */

int xd_placed_add(xd_placed *p, const char *word, uint32_t line)
{
    uint32_t *lines = realloc(p->lines, (p->words.count + 1) * sizeof(*lines));
    if (!lines)
        return -ENOMEM;
    p->lines = lines;
    lines[p->words.count] = line;
    return xd_strings_add(&p->words, word);
}

void xd_placed_release(xd_placed *p)
{
    xd_strings_release(&p->words);
    free(p->lines);
    *p = (xd_placed){ 0 };
}

static uint32_t newlines(xd_bytes text, size_t from, size_t to)
{
    uint32_t n = 0;
    for (size_t i = from; i < XD_MIN(to, text.len); i++)
        n += text.ptr[i] == '\n';
    return n;
}

uint32_t xd_line_of(xd_bytes text, size_t at)
{
    return 1 + newlines(text, 0, at);
}

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

static int hex_of(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int add_utf8(xd_buf *out, uint32_t cp)
{
    if (cp < 0x80)
        return xd_buf_add_byte(out, (uint8_t)cp);
    if (cp >= 0x800)
        XD_TRY(cp >= 0x10000 ? xd_buf_add_byte(out, (uint8_t)(0xf0 | cp >> 18)) : 0);
    if (cp >= 0x800)
        XD_TRY(xd_buf_add_byte(out, (uint8_t)(cp >= 0x10000 ? 0x80 | (cp >> 12 & 0x3f) : 0xe0 | cp >> 12)));
    XD_TRY(xd_buf_add_byte(out, (uint8_t)(cp >= 0x800 ? 0x80 | (cp >> 6 & 0x3f) : 0xc0 | cp >> 6)));
    return xd_buf_add_byte(out, (uint8_t)(0x80 | (cp & 0x3f)));
}

/* "\x41", "\u00e9", "\U0001f600": *at is at the letter, and moves to the last digit. 0 = it is none of a character. */
static int add_coded(xd_bytes text, size_t *at, xd_buf *out)
{
    const int    letter = at_of(text, *at);
    const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    uint32_t     cp = 0;
    for (size_t i = 1; i <= digits; i++) {
        const int digit = hex_of(at_of(text, *at + i));
        if (digit < 0 || cp > 0x10ffffu)
            return 0;
        cp = cp << 4 | (uint32_t)digit;
    }
    *at += digits;
    if (!cp || cp > 0x10ffffu || (cp >= 0xd800u && cp < 0xe000u))
        return 0;
    XD_TRY(add_utf8(out, cp));
    return 1;
}

/* "\101" of Python: one to three digits. */
static int add_octal(xd_bytes text, size_t *at, xd_buf *out)
{
    uint32_t cp = 0;
    for (size_t n = 0; n < 3; n++, ++*at) {
        const int c = at_of(text, *at);
        if (c < '0' || c > '7')
            break;
        cp = cp << 3 | (uint32_t)(c - '0');
    }
    --*at;
    if (!cp)
        return 0;
    XD_TRY(add_utf8(out, cp));
    return 1;
}

/* What a backslash and the letter at *at stand for; *at moves to the last byte of it. 0 = the language does not have it. */
static int add_escaped(xd_bytes text, size_t *at, xd_language language, xd_buf *out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const bool        python = language == XD_LANGUAGE_PYTHON;
    const int         c = at_of(text, *at);
    const char       *found = c > 0 ? strchr(from, c) : NULL;
    if (c <= 0)
        return 0;
    if (found && (python || !strchr("'av", c)))
        return xd_buf_add_byte(out, (uint8_t)to[found - from]) < 0 ? -ENOMEM : 1;
    if (c == 'x' || c == 'u' || c == 'U')
        return add_coded(text, at, out);
    if (!python || c == 'N')
        return 0;
    if (c >= '0' && c <= '7')
        return add_octal(text, at, out);
    XD_TRY(xd_buf_add_byte(out, '\\')); /* it is none: both stay */
    return xd_buf_add_byte(out, (uint8_t)c) < 0 ? -ENOMEM : 1;
}

/* Of a string with three quotes: behind a backslash that ends a line. In TOML the blanks of the next lines go as well. */
static bool skip_end_of_line(xd_bytes text, size_t *at, xd_language language)
{
    size_t i = *at + 1;
    while (language == XD_LANGUAGE_TOML && is_blank(at_of(text, i)))
        i++;
    i += at_of(text, i) == '\r';
    if (at_of(text, i) != '\n')
        return false;
    for (i++; language == XD_LANGUAGE_TOML && (is_blank(at_of(text, i)) || at_of(text, i) == '\n');)
        i++;
    *at = i;
    return true;
}

/* The text between quotes, from *at to the closing ones, which it moves behind. */
typedef struct string {
    xd_bytes    text;
    xd_language language;
    int         quote;
    bool        raw, triple;
} string;

static bool closes(const string *s, size_t at)
{
    if (at_of(s->text, at) != s->quote)
        return false;
    /* Two more quotes may stand in front of the closing three in TOML. */
    return !s->triple || (is_triple(s->text, at) &&
                          !(s->language == XD_LANGUAGE_TOML && at_of(s->text, at + 3) == s->quote));
}

/* One character, or what stands for it. */
static int add_character(const string *s, size_t *at, xd_buf *out)
{
    int c = at_of(s->text, *at);
    if (c <= 0 || (c == '\n' && !s->triple))
        return 0;
    if (c == '\\' && !s->raw) {
        if ((s->triple || s->language == XD_LANGUAGE_PYTHON) && skip_end_of_line(s->text, at, s->language))
            return 1;
        ++*at;
        const int r = add_escaped(s->text, at, s->language, out);
        ++*at;
        return r;
    }
    if (c == '\\' &&
        s->language ==
            XD_LANGUAGE_PYTHON) { /* it stays, and a quote or the end of a line behind it as well */
        XD_TRY(xd_buf_add_byte(out, '\\'));
        c = at_of(s->text, ++*at);
        if (c <= 0)
            return 0;
    }
    ++*at;
    if (c == '\r' && at_of(s->text, *at) == '\n') /* as Python reads files */
        return 1;
    return xd_buf_add_byte(out, (uint8_t)c) < 0 ? -ENOMEM : 1;
}

int xd_literal_string(xd_bytes text, size_t *at, xd_language language, xd_buf *out)
{
    size_t    i = *at;
    const int prefix = at_of(text, i);
    string    s = { .text = text, .language = language };
    s.raw = language == XD_LANGUAGE_TOML ? prefix == '\'' : prefix == 'r' || prefix == 'R';
    if (language == XD_LANGUAGE_PYTHON && (s.raw || prefix == 'u' || prefix == 'U'))
        i++;
    s.quote = at_of(text, i);
    if (s.quote != '"' && s.quote != '\'')
        return 0;
    s.triple = is_triple(text, i);
    i += s.triple ? 3 : 1;
    if (s.triple && language == XD_LANGUAGE_TOML) {
        i += at_of(text, i) == '\r' && at_of(text, i + 1) == '\n';
        i += at_of(text, i) == '\n';
    }
    while (!closes(&s, i)) {
        const int r = add_character(&s, &i, out);
        if (r <= 0)
            return r;
    }
    *at = i + (s.triple ? 3 : 1);
    return 1;
}

/* Strings that stand side by side are one. 1 = there is one at least. */
static int joined_strings(xd_bytes text, size_t *at, xd_language language, xd_buf *out)
{
    size_t i = *at;
    int    any = 0;
    for (int got; (got = xd_literal_string(text, &i, language, out)) != 0; any = 1) {
        if (got < 0)
            return got;
        if (any && language == XD_LANGUAGE_TOML)
            return 0;
        *at = i;
        xd_literal_blanks(text, &i);
    }
    return any;
}

int xd_literal_list(xd_bytes text, size_t *at, xd_language language, xd_placed *ret)
{
    xd_autobuf one = XD_BUF_INIT;
    size_t     i = *at, items = 0, counted = *at;
    uint32_t   line = xd_line_of(text, *at);
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
        line += newlines(text, counted, i);
        counted = i;
        xd_buf_clear(&one);
        const int got = joined_strings(text, &i, language, &one);
        if (got <= 0)
            return got;
        XD_TRY(xd_placed_add(ret, xd_buf_cstr(&one), line));
        items++;
        xd_literal_blanks(text, &i);
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

/* In brackets lines do not end: blanks go as in a list. */
static void skip_blanks_of(xd_bytes text, size_t *at, bool bracketed)
{
    if (bracketed)
        xd_literal_blanks(text, at);
    else
        while (is_blank(at_of(text, *at)) || skip_join(text, at))
            *at += is_blank(at_of(text, *at));
}

/* Strings that stand side by side are one; those without brackets around them stand on one line. */
static int take_string(xd_bytes text, size_t *at, bool bracketed, xd_placed *ret)
{
    xd_autobuf one = XD_BUF_INIT;
    size_t     i = *at;
    bool       any = false;
    for (int got; (got = xd_literal_string(text, &i, XD_LANGUAGE_PYTHON, &one)) != 0; any = true) {
        if (got < 0)
            return got;
        skip_blanks_of(text, &i, bracketed);
    }
    if (any)
        XD_TRY(xd_placed_add(ret, xd_buf_cstr(&one), xd_line_of(text, *at)));
    *at = i;
    return any;
}

/* brackets: that are open around it. XD_ASSIGNED_OTHER: it is none that is read. */
static int take_value(xd_bytes text, size_t *at, unsigned brackets, xd_placed *ret)
{
    static const struct {
        const char *word;
        xd_assigned what;
    } words[] = { { "True", XD_ASSIGNED_TRUE },
                  { "False", XD_ASSIGNED_FALSE },
                  { "None", XD_ASSIGNED_NONE } };
    for (size_t i = 0; i < XD_ARRAY_LEN(words); i++)
        if (begins_with(text, *at, words[i].word)) {
            *at += strlen(words[i].word);
            return (int)words[i].what;
        }
    size_t i = *at;
    int    got = xd_literal_list(text, &i, XD_LANGUAGE_PYTHON, ret), what = XD_ASSIGNED_LIST;
    if (got == 0) {
        xd_placed_release(ret);
        i = *at;
        what = XD_ASSIGNED_STRING;
        got = take_string(text, &i, brackets > 0, ret);
    }
    if (got == 0 && at_of(text, i) == '(' && brackets < BRACKETS_MAX) {
        i++;
        xd_literal_blanks(text, &i);
        what = take_value(text, &i, brackets + 1, ret);
        xd_literal_blanks(text, &i);
        got = what < 0 ? what : at_of(text, i++) == ')';
    }
    *at = i;
    return got < 0 ? got : got ? what : XD_ASSIGNED_OTHER;
}

/* "name =", "name: annotation =": behind the =. False: the line does not go on so. */
static bool skip_target(xd_bytes text, size_t *at)
{
    size_t i = *at;
    while (is_word(at_of(text, i)) || (i > *at && at_of(text, i) == '.'))
        i++;
    if (i == *at)
        return false;
    i = behind_name(text, i);
    if (!is_assign(text, i))
        return false;
    for (i++; is_blank(at_of(text, i)) || skip_join(text, &i);)
        i += is_blank(at_of(text, i));
    *at = i;
    return true;
}

/* A line that begins with the name, or with other names that get the same value ("a = name = ..."): the value is behind the last of them. */
static int take_assignment(const seeker *s, size_t at, xd_placed *ret)
{
    bool named = false;
    for (;;) {
        const size_t target = at;
        if (!skip_target(s->text, &at))
            break;
        named |= target == s->found;
    }
    if (!named) {
        at = behind_name(s->text, s->found + s->name.len);
        return at_of(s->text, at) == '\n' || at_of(s->text, at) < 0 ? XD_ASSIGNED_NOT : XD_ASSIGNED_OTHER;
    }
    const int got = take_value(s->text, &at, 0, ret);
    if (got < 0)
        return got;
    skip_blank(s->text, &at);
    const int end = at_of(s->text, at);
    return end < 0 || end == '\n' || end == '#' ? got : XD_ASSIGNED_OTHER;
}

/* The names that a line assigns to are in front of its value, and this one is among them. */
static bool is_target(const seeker *s, size_t begin)
{
    while (begin < s->found && skip_target(s->text, &begin))
        ;
    return begin == s->found;
}

/* What a line with the name in it does to it; `begin`: where its code begins. */
static int judge(const seeker *s, size_t begin, bool indented, xd_placed *ret)
{
    if (!indented && is_target(s, begin))
        return take_assignment(s, begin, ret);
    if (begins_with(s->text, begin, "from") || begins_with(s->text, begin, "import"))
        return XD_ASSIGNED_OTHER;
    size_t behind = behind_name(s->text, s->found + s->name.len);
    if (at_of(s->text, behind) == '+')
        behind++;
    return is_assign(s->text, behind) ? XD_ASSIGNED_OTHER : XD_ASSIGNED_NOT;
}

int xd_literal_assigned(xd_bytes text, const char *name, xd_placed *ret, uint32_t *ret_line)
{
    seeker      s = { .text = text, .name = xd_bytes_str(name) };
    xd_assigned all = XD_ASSIGNED_NOT;
    bool        apart = false; /* in a function or class */
    uint32_t    line = 1;
    size_t      at = text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < text.len) {
        const size_t start = at;
        size_t       begin = at;
        xd_placed    placed = { 0 };
        const bool   whole = seek_line(&s, &at);
        skip_blank(text, &begin);
        const bool indented = begin > start;
        const int  first = at_of(text, begin);
        if (!indented && first != '\n' && first != '#')
            apart = begins_with(text, begin, "def") || begins_with(text, begin, "class") ||
                    begins_with(text, begin, "async");
        int got = s.found == SIZE_MAX || apart ? XD_ASSIGNED_NOT : judge(&s, begin, indented, &placed);
        if (got > 0) {
            xd_placed_release(ret);
            *ret_line = line;
            all = all == XD_ASSIGNED_OTHER ? all : (xd_assigned)got;
        }
        if (all != XD_ASSIGNED_OTHER && got > 0)
            *ret = placed;
        else
            xd_placed_release(&placed);
        if (got < 0)
            return got;
        if (!whole) { /* what follows cannot be told from what is in a string */
            if (!xd_bytes_find((xd_bytes){ text.ptr + start, text.len - start }, name))
                break;
            xd_placed_release(ret);
            *ret_line = line;
            return XD_ASSIGNED_OTHER;
        }
        for (size_t i = start; i < at; i++)
            line += text.ptr[i] == '\n';
    }
    return (int)all;
}
