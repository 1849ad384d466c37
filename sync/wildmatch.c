#include "sync/wildmatch.h"

#include <string.h>

static int add(xd_buf *ops, uint16_t op)
{
    return xd_buf_add(ops, &op, sizeof(op));
}

/* ---- sets: [...] ------------------------------------------------------------------------------------------------ */

typedef struct set {
    uint16_t word[XD_WILD_SET_WORDS];
} set;

static void put(set *s, unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++)
        s->word[c / 16] = (uint16_t)(s->word[c / 16] | 1u << c % 16);
}

/* What git takes these names for: ASCII alone, and neither \v nor \f is a space. */
static bool put_class(set *s, xd_bytes name)
{
    static const struct {
        const char *name;
        uint8_t     ranges[8]; /* from, to, from, to ...; 0 ends them, except at the beginning */
    } classes[] = {
        { "alnum", { '0', '9', 'A', 'Z', 'a', 'z' } },
        { "alpha", { 'A', 'Z', 'a', 'z' } },
        { "blank", { '\t', '\t', ' ', ' ' } },
        { "cntrl", { 0, 31, 127, 127 } },
        { "digit", { '0', '9' } },
        { "graph", { '!', '~' } },
        { "lower", { 'a', 'z' } },
        { "print", { ' ', '~' } },
        { "punct", { '!', '/', ':', '@', '[', '`', '{', '~' } },
        { "space", { '\t', '\n', '\r', '\r', ' ', ' ' } },
        { "upper", { 'A', 'Z' } },
        { "xdigit", { '0', '9', 'A', 'F', 'a', 'f' } },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(classes); i++) {
        if (!xd_bytes_eq_str(name, classes[i].name))
            continue;
        const uint8_t *r = classes[i].ranges;
        for (size_t k = 0; k < sizeof(classes[i].ranges) && r[k + 1]; k += 2)
            put(s, r[k], r[k + 1]);
        return true;
    }
    return false;
}

/* `at` is behind `[:`. Where the class ends (its `]`); 0 = it is no class but plain `[`; the pattern's length = it is
 * one that does not exist, or has no end. */
static size_t named_class(set *s, xd_bytes p, size_t at)
{
    const uint8_t *close = memchr(p.ptr + at, ']', p.len - at);
    if (!close)
        return p.len;
    size_t end = (size_t)(close - p.ptr);
    if (end == at || close[-1] != ':')
        return 0;
    return put_class(s, (xd_bytes){ p.ptr + at, end - 1 - at }) ? end : p.len;
}

/* *at is behind `[`, and goes behind the `]`. False: it has no end, or a class that does not exist. */
static bool parse_set(xd_bytes p, size_t *at, set *s)
{
    size_t i = *at;
    bool   negated = i < p.len && (p.ptr[i] == '!' || p.ptr[i] == '^');
    int    before = -1; /* what a range can begin with */
    i += negated;
    for (bool first = true;; first = false, i++) {
        if (i >= p.len)
            return false;
        uint8_t c = p.ptr[i];
        size_t  end;
        if (c == ']' && !first)
            break;
        if (c == '-' && before >= 0 && i + 1 < p.len && p.ptr[i + 1] != ']') {
            i++;
            if (p.ptr[i] == '\\' && ++i >= p.len)
                return false;
            put(s, (unsigned)before, p.ptr[i]);
            before = -1;
        } else if (c == '[' && i + 1 < p.len && p.ptr[i + 1] == ':' &&
                   (end = named_class(s, p, i + 2)) != 0) {
            i = end;
            before = -1;
        } else {
            if (c == '\\' && ++i >= p.len)
                return false;
            before = p.ptr[i];
            put(s, p.ptr[i], p.ptr[i]);
        }
    }
    *at = i + 1;
    for (size_t k = 0; negated && k < XD_WILD_SET_WORDS; k++)
        s->word[k] = (uint16_t)~s->word[k];
    s->word['/' / 16] = (uint16_t)(s->word['/' / 16] & ~(1u << '/' % 16));
    return true;
}

/* ---- compile ---------------------------------------------------------------------------------------------------- */

/* *at is at a star, and goes behind it and those that follow. */
static int add_stars(xd_bytes p, size_t *at, bool path, xd_buf *ops)
{
    size_t from = *at, to = from;
    while (to < p.len && p.ptr[to] == '*')
        to++;
    bool slash = to < p.len && p.ptr[to] == '/';
    bool quoted_slash = to + 1 < p.len && p.ptr[to] == '\\' && p.ptr[to + 1] == '/';
    bool alone = (from == 0 || p.ptr[from - 1] == '/') && (to == p.len || slash || quoted_slash);
    *at = to;
    if (!path || to - from == 1 || !alone)
        return add(ops, XD_WILD_STAR);
    if (!slash)
        return add(ops, XD_WILD_DEEP);
    *at = to + 1;
    return add(ops, XD_WILD_FOLDERS);
}

int xd_wild_compile(xd_bytes p, bool path, xd_buf *ops)
{
    for (size_t i = 0; i < p.len;) {
        set s = { 0 };
        switch (p.ptr[i]) {
        case '*':
            XD_TRY(add_stars(p, &i, path, ops));
            break;
        case '?':
            XD_TRY(add(ops, XD_WILD_ONE));
            i++;
            break;
        case '[':
            i++;
            if (!parse_set(p, &i, &s))
                return XD_WILD_NEVER;
            XD_TRY(add(ops, XD_WILD_SET));
            XD_TRY(xd_buf_add(ops, s.word, sizeof(s.word)));
            break;
        case '\\':
            if (++i == p.len)
                return XD_WILD_NEVER;
            XD_TRY(add(ops, p.ptr[i++]));
            break;
        default:
            XD_TRY(add(ops, p.ptr[i++]));
        }
    }
    return 0;
}

/* ---- match ------------------------------------------------------------------------------------------------------ */

/* How many words the op has that takes this byte; 0 = it does not take it. */
static size_t takes(const uint16_t *op, uint8_t c)
{
    if (*op < 256)
        return *op == c;
    if (*op == XD_WILD_ONE)
        return c != '/';
    return (op[1 + c / 16] & 1u << c % 16) != 0 ? 1 + XD_WILD_SET_WORDS : 0;
}

bool xd_wild_match(const uint16_t *ops, size_t count, const uint8_t *text, size_t len)
{
    const uint16_t *end = ops + count, *p = ops;
    const uint8_t  *text_end = text + len, *t = text;
    /* Where to go on when it does not match: behind the last `*`, and the last `**`, with a later byte. What stands
     * before that was matched as early as it can be, and a star takes whatever lies between. */
    const uint16_t *star = NULL, *deep = NULL;
    const uint8_t  *star_at = NULL, *deep_at = NULL;
    bool            folders = false;
    for (;;) {
        if (p == end) {
            if (t == text_end)
                return true;
        } else if (*p >= XD_WILD_STAR) {
            if (*p == XD_WILD_DEEP && p + 1 == end)
                return true;
            if (*p == XD_WILD_STAR) {
                star = ++p, star_at = t;
            } else {
                folders = *p == XD_WILD_FOLDERS;
                deep = ++p, deep_at = t, star = NULL;
            }
            continue;
        } else if (t == text_end) {
            star = NULL; /* there is less text the later it begins, and no star behind that takes less */
        } else {
            size_t words = takes(p, *t);
            if (words) {
                p += words, t++;
                continue;
            }
        }
#if XD_PLANTED_BUG == 49 /* the simulator must find it: a star takes slashes */
        if (star && star_at < text_end) {
#else
        if (star && star_at < text_end && *star_at != '/') {
#endif
            p = star, t = ++star_at;
            continue;
        }
        if (!deep || deep_at == text_end)
            return false;
        if (folders && !(deep_at = memchr(deep_at, '/', (size_t)(text_end - deep_at))))
            return false;
        p = deep, t = ++deep_at, star = NULL;
    }
}
