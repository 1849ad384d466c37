/* engine/base/ci_guard.c - see ci_guard.h.
 * How the systems find commands, as their sources and manuals have it: GitHub's runner trims white space, as Unicode
 * has it, before it looks for `::`, and looks for `##[` in the whole line; Azure's agent looks for `##vso[` in the whole line and
 * complains of a `##vso` that is none; TeamCity takes messages behind other text, too. */
#include "engine/base/ci_guard.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

enum { HEAD_BLANK, HEAD_COLON, HEAD_OVER };
enum { ESCAPE_NONE, ESCAPE_BEGAN, ESCAPE_NUMBERS };

static const struct {
    const char *text; /* begins with ##, and differs in the next character */
    unsigned    systems;
} tokens[] = { { "##[", XD_CI_GITHUB | XD_CI_AZURE },
               { "##vso", XD_CI_AZURE },
               { "##teamcity[", XD_CI_TEAMCITY } };

unsigned xd_ci_systems(const char *(*env)(const void *arg, const char *name), const void *arg)
{
    static const struct {
        const char *name;
        unsigned    system;
    } table[] = { { "GITHUB_ACTIONS", XD_CI_GITHUB },
                  { "TF_BUILD", XD_CI_AZURE },
                  { "TEAMCITY_VERSION", XD_CI_TEAMCITY } };
    unsigned systems = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        const char *value = env(arg, table[i].name);
        systems |= value && *value ? table[i].system : 0;
    }
    return systems;
}

static const char *own_env(const void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

unsigned xd_ci_systems_here(void)
{
    return xd_ci_systems(own_env, NULL);
}

void xd_ci_guard_line(xd_ci_guard *g)
{
    g->head = HEAD_BLANK;
    g->matched = 0;
}

void xd_ci_guard_pass(xd_ci_guard *g)
{
    g->head = HEAD_OVER;
    g->matched = 0;
}

/* White space as Unicode has it. */
static bool is_blank(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

/* Whether the character is of a colour: ESC [ 1 ; 31 m. */
static bool in_color(xd_ci_guard *g, uint8_t c)
{
    switch (g->escape) {
    case ESCAPE_NONE:
        g->escape = c == 0x1b ? ESCAPE_BEGAN : ESCAPE_NONE;
        return c == 0x1b;
    case ESCAPE_BEGAN:
        g->escape = c == '[' ? ESCAPE_NUMBERS : c == 0x1b ? ESCAPE_BEGAN : ESCAPE_NONE;
        return c == '[' || c == 0x1b;
    default:
        if ((c >= '0' && c <= '9') || c == ';')
            return true;
        g->escape = c == 0x1b ? ESCAPE_BEGAN : ESCAPE_NONE;
        return c == 'm' || c == 0x1b;
    }
}

/* Whether the character completes `::` at the head of a line. */
static bool completes_head(xd_ci_guard *g, uint32_t cp)
{
    if (cp == '\n' || cp == '\r') {
        g->head = HEAD_BLANK;
        return false;
    }
    if (g->head == HEAD_OVER || (g->head == HEAD_BLANK && is_blank(cp)))
        return false;
    const bool second = g->head == HEAD_COLON && cp == ':';
    g->head = g->head == HEAD_BLANK && cp == ':' ? HEAD_COLON : HEAD_OVER;
    return second && (g->systems & XD_CI_GITHUB);
}

/* Whether the character completes one of the tokens. */
static bool completes_token(xd_ci_guard *g, uint32_t cp)
{
    if (g->matched == 2)
        for (size_t t = 0; t < XD_ARRAY_LEN(tokens); t++)
            if ((uint32_t)tokens[t].text[2] == cp)
                g->token = (uint8_t)t;
    const char *text = tokens[g->token].text;
    if (cp == '#') {
        g->matched = g->matched == 1 || g->matched == 2 ? 2 : 1;
        return false;
    }
    if (g->matched < 2 || (uint32_t)text[g->matched] != cp) {
        g->matched = 0;
        return false;
    }
    if (text[++g->matched])
        return false;
    g->matched = 0;
    return (tokens[g->token].systems & g->systems) != 0;
}

int xd_ci_guard_add(xd_ci_guard *g, xd_buf *out, xd_bytes in)
{
    size_t start = 0, n;
    if (!g->systems)
        return xd_buf_add_bytes(out, in);
    for (size_t i = 0; i < in.len; i += n) {
        uint32_t cp = in.ptr[i];
        n = 1;
        if (in_color(g, in.ptr[i]))
            continue;
        if (cp >= 0x80 && (n = xd_text_utf8(in.ptr + i, in.len - i, &cp)) == 0) {
            n = 1;
            cp = 0xfffd;
        }
        const bool head = completes_head(g, cp), token = completes_token(g, cp);
        if (!head && !token)
            continue;
        XD_TRY(xd_buf_add(out, in.ptr + start, i - start));
        XD_TRY(xd_buf_printf(out, "\\x%02x", (unsigned)cp));
        start = i + n;
    }
    return xd_buf_add(out, in.ptr + start, in.len - start);
}
