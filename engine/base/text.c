/* engine/base/text.c - see text.h. */
#include "engine/base/text.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define EACH_BYTE(n) (UINT64_MAX / 255 * (n))

size_t xd_text_printable(const uint8_t *p, size_t len)
{
    size_t i = 0;
    for (uint64_t v; len - i >= sizeof(v); i += sizeof(v)) {
        memcpy(&v, p + i, sizeof(v));
        const uint64_t del = v ^ EACH_BYTE(0x7f);
        if ((v | ((v - EACH_BYTE(0x20)) & ~v) | ((del - EACH_BYTE(1)) & ~del)) & EACH_BYTE(0x80))
            break;
    }
    while (i < len && p[i] >= 0x20 && p[i] < 0x7f)
        i++;
    return i;
}

size_t xd_text_utf8(const uint8_t *p, size_t len, uint32_t *ret_cp)
{
    if (len == 0)
        return 0;
    uint32_t cp = p[0];
    size_t   need;
    if (cp < 0x80) {
        *ret_cp = cp;
        return 1;
    }
    if (cp >= 0xc2 && cp <= 0xdf) {
        need = 2;
        cp &= 0x1f;
    } else if (cp >= 0xe0 && cp <= 0xef) {
        need = 3;
        cp &= 0x0f;
    } else if (cp >= 0xf0 && cp <= 0xf4) {
        need = 4;
        cp &= 0x07;
    } else {
        return 0;
    }
    if (len < need)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (cp < least[need] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    *ret_cp = cp;
    return need;
}

bool xd_text_is_utf8(xd_bytes in)
{
    uint32_t cp;
    for (size_t i = 0; i < in.len;) {
        size_t n = xd_text_utf8(in.ptr + i, in.len - i, &cp);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

/* What changes how a terminal shows the rest: C0, DEL, C1, bidi controls, line and paragraph separators,
 * BOM. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || (cp >= 0x200e && cp <= 0x200f) ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

int xd_text_harmless(xd_buf *out, xd_bytes in, bool keep_newline)
{
    size_t start = 0;
    for (size_t i = 0; i < in.len;) {
        uint32_t cp = 0;
        i += xd_text_printable(in.ptr + i, in.len - i);
        if (i == in.len)
            break;
        size_t n = xd_text_utf8(in.ptr + i, in.len - i, &cp);
        if (n && (!is_control(cp) || (keep_newline && (cp == '\n' || cp == '\t')))) {
            i += n;
            continue;
        }
        XD_TRY(xd_buf_add(out, in.ptr + start, i - start));
        if (n == 0 || cp < 0x100)
            XD_TRY(xd_buf_printf(out, "\\x%02x", n ? cp : in.ptr[i]));
        else
            XD_TRY(xd_buf_printf(out, "\\u%04x", cp));
        i += n ? n : 1;
        start = i;
    }
    return xd_buf_add(out, in.ptr + start, in.len - start);
}

int xd_text_to_utf8(xd_buf *out, xd_bytes in)
{
    size_t start = 0;
    for (size_t i = 0; i < in.len;) {
        uint32_t cp;
        size_t   n = xd_text_utf8(in.ptr + i, in.len - i, &cp);
        if (n) {
            i += n;
            continue;
        }
        XD_TRY(xd_buf_add(out, in.ptr + start, i - start));
        XD_TRY(xd_buf_add(out, "\xef\xbf\xbd", 3));
        start = ++i;
    }
    return xd_buf_add(out, in.ptr + start, in.len - start);
}

/* Length of the escape sequence at p (p[0] = ESC), at least 1. */
static size_t escape_length(const uint8_t *p, size_t len)
{
    if (len < 2)
        return 1;
    if (p[1] == '[') {
        size_t i = 2;
        while (i < len && p[i] >= 0x20 && p[i] <= 0x3f)
            i++;
        return i < len && p[i] >= 0x40 && p[i] <= 0x7e ? i + 1 : i;
    }
    if (p[1] == ']') {
        for (size_t i = 2; i < len; i++) {
            if (p[i] == 0x07)
                return i + 1;
            if (p[i] == 0x1b)
                return i + 1 < len && p[i + 1] == '\\' ? i + 2 : i;
        }
        return len;
    }
    return 2;
}

/* Length of the colour sequence at p, 0 = there is none. */
static size_t color_length(const uint8_t *p, size_t len)
{
    size_t i = 2;
    if (len < 3 || p[0] != 0x1b || p[1] != '[')
        return 0;
    while (i < len && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
        i++;
    return i < len && p[i] == 'm' ? i + 1 : 0;
}

int xd_text_harmless_lines(xd_buf *out, xd_bytes in, bool colors)
{
    size_t start = 0, n;
    bool   on = false; /* a colour that nothing has ended */
    for (size_t i = 0; i < in.len; i += n ? n : 1) {
        const uint8_t *escape = memchr(in.ptr + i, 0x1b, in.len - i);
        if (!escape)
            break;
        i = (size_t)(escape - in.ptr);
        n = color_length(in.ptr + i, in.len - i);
        if (!n)
            continue;
        XD_TRY(xd_text_harmless(out, (xd_bytes){ in.ptr + start, i - start }, true));
        if (colors) {
            on = !(n == 3 || (n == 4 && in.ptr[i + 2] == '0'));
            XD_TRY(xd_buf_add(out, in.ptr + i, n));
        }
        start = i + n;
    }
    XD_TRY(xd_text_harmless(out, (xd_bytes){ in.ptr + start, in.len - start }, true));
    return on ? xd_buf_add_str(out, "\x1b[0m") : 0;
}

int xd_text_last_words(xd_buf *out, xd_bytes said, size_t most)
{
    const size_t skipped = said.len > most ? said.len - most : 0;
    said = (xd_bytes){ said.ptr + skipped, said.len - skipped };
    while (said.len && (said.ptr[said.len - 1] == '\n' || said.ptr[said.len - 1] == '\r'))
        said.len--;
    while (said.len) {
        const uint8_t *end = memchr(said.ptr, '\n', said.len);
        const size_t   n = end ? (size_t)(end - said.ptr) : said.len;
        XD_TRY(xd_text_harmless(out, (xd_bytes){ said.ptr, n }, false));
        XD_TRY(end ? xd_buf_add_str(out, " | ") : 0);
        said = (xd_bytes){ said.ptr + n + (end != NULL), said.len - n - (end != NULL) };
    }
    return 0;
}

int xd_text_strip_ansi(xd_buf *out, xd_bytes in)
{
    size_t start = 0;
    for (size_t i = 0; i < in.len;) {
        if (in.ptr[i] != 0x1b) {
            i++;
            continue;
        }
        XD_TRY(xd_buf_add(out, in.ptr + start, i - start));
        i += escape_length(in.ptr + i, in.len - i);
        start = i;
    }
    return xd_buf_add(out, in.ptr + start, in.len - start);
}

int xd_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
    if (!s[0] || s[strspn(s, "0123456789")])
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(s, NULL, 10);
    if (errno || v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

double xd_text_real(const char *s, char **ret_end)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double   v = c == (locale_t)0 ? strtod(s, ret_end) : strtod_l(s, ret_end, c);
    if (c != (locale_t)0)
        freelocale(c);
    return v;
}

/* A number with at most nine decimals before a unit: value * 1e9 / 1e9. */
static int scaled(const char *s, const char **ret_unit, double *ret)
{
    char *end;
    if (!(s[0] >= '0' && s[0] <= '9'))
        return -EINVAL;
    if (strspn(s, "0123456789.") == 0)
        return -EINVAL;
    errno = 0;
    double v = xd_text_real(s, &end);
    if (errno || end == s || v < 0 || s + strspn(s, "0123456789.") != end)
        return -EINVAL;
    *ret = v;
    *ret_unit = end;
    return 0;
}

int xd_text_duration(const char *s, uint64_t *ret_ns)
{
    const char *unit;
    double      v;
    XD_TRY(scaled(s, &unit, &v));
    double factor = strcmp(unit, "") == 0 || strcmp(unit, "s") == 0 ? 1e9
                    : strcmp(unit, "ms") == 0                       ? 1e6
                    : strcmp(unit, "m") == 0                        ? 60e9
                    : strcmp(unit, "h") == 0                        ? 3600e9
                    : strcmp(unit, "d") == 0                        ? 86400e9
                                                                    : 0;
    if (factor == 0)
        return -EINVAL;
    if (v * factor >= 9e18)
        return -ERANGE;
    *ret_ns = (uint64_t)(v * factor + 0.5);
    return 0;
}

int xd_text_size(const char *s, uint64_t *ret_bytes)
{
    const char *unit;
    double      v;
    XD_TRY(scaled(s, &unit, &v));
    double factor = 1;
    switch (unit[0]) {
    case 0:
    case 'B':
        break;
    case 'k':
    case 'K':
        factor = 1024.0;
        break;
    case 'M':
        factor = 1024.0 * 1024;
        break;
    case 'G':
        factor = 1024.0 * 1024 * 1024;
        break;
    case 'T':
        factor = 1024.0 * 1024 * 1024 * 1024;
        break;
    default:
        return -EINVAL;
    }
    const char *rest = unit[0] && unit[0] != 'B' ? unit + 1 : unit;
    if (strcmp(rest, "") != 0 && strcmp(rest, "B") != 0 && strcmp(rest, "iB") != 0)
        return -EINVAL;
    if (v * factor >= 9e18)
        return -ERANGE;
    *ret_bytes = (uint64_t)(v * factor + 0.5);
    return 0;
}

int xd_text_shell_split(const char *s, char ***ret)
{
    size_t len = strlen(s);
    /* Each word needs a character and a blank at least: len / 2 + 1 words. */
    size_t slots = len / 2 + 2;
    char **words = malloc(slots * sizeof(*words) + len + 1);
    if (!words)
        return -ENOMEM;
    char  *out = (char *)(words + slots);
    size_t n = 0;
    for (;;) {
        s += strspn(s, " \t\n");
        if (!*s)
            break;
        words[n++] = out;
        char quote = 0;
        for (; *s && (quote || !strchr(" \t\n", *s)); s++) {
            if (quote ? *s == quote : (*s == '\'' || *s == '"'))
                quote = (char)(quote ? 0 : *s);
            else if (*s == '\\' && quote != '\'' && s[1] && (!quote || strchr("\"\\$`", s[1])))
                *out++ = *++s;
            else
                *out++ = *s;
        }
        if (quote) {
            free(words);
            return -EINVAL;
        }
        *out++ = 0;
    }
    words[n] = NULL;
    *ret = words;
    return 0;
}

int xd_text_command_split(const char *s, char ***ret, size_t *ret_at)
{
    size_t open = 0;
    char   quote = 0;
    for (size_t i = 0; s[i]; i++) {
        if (quote ? s[i] == quote : (s[i] == '\'' || s[i] == '"')) {
            quote = (char)(quote ? 0 : s[i]);
            open = i;
        } else if (s[i] == '\\' && quote != '\'' && s[i + 1])
            i++;
        else if (quote != '\'' &&
                 (s[i] == '`' || (s[i] == '$' && s[i + 1] == '(') || (!quote && strchr("|&;<>\n", s[i])))) {
            *ret_at = i;
            return -EINVAL;
        }
    }
    *ret_at = open;
    return xd_text_shell_split(s, ret);
}

int xd_text_words_join(const xd_words *parts, size_t count, char ***ret)
{
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].n; k++, n++)
            bytes += strlen(parts[i].at[k]) + 1;
    char **words = malloc((n + 1) * sizeof(*words) + bytes), **to = words;
    if (!words)
        return -ENOMEM;
    char *text = (char *)(words + n + 1);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].n; k++) {
            const size_t len = strlen(parts[i].at[k]) + 1;
            *to++ = memcpy(text, parts[i].at[k], len);
            text += len;
        }
    *to = NULL;
    *ret = words;
    return 0;
}

int xd_text_shell_quote(xd_buf *out, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
    if (s[0] && !s[strspn(s, plain)])
        return xd_buf_add_str(out, s);
    XD_TRY(xd_buf_add_byte(out, '\''));
    for (; *s; s++)
        XD_TRY(*s == '\'' ? xd_buf_add_str(out, "'\\''") : xd_buf_add_byte(out, (uint8_t)*s));
    return xd_buf_add_byte(out, '\'');
}
