/* Answers questions about ignore rules (tests/scenario/test_ignore.py). stdin is a sequence of requests, each a line
 * "LETTER n n.. \n" and then texts of these lengths, one behind the other:
 *   B base                    begin anew, with this base
 *   D                         the defaults
 *   G dir glob                a glob of this folder; R glob: as --rsyncignore
 *   N dir gitignore xdignore  the files of a folder; a folder after those above it
 *   P path, Q path            a file, a folder: writes 1 or 0, whether it or a folder on the way is left out */
#include <stdio.h>
#include <string.h>

#include "sync/ignore.h"

#define TEXTS 3

typedef struct node {
    char       dir[4096];
    size_t     len;
    xd_ignore *ig;
} node;

static struct {
    xd_ignore *first;
    node       at[256];
    size_t     n;
} tree;

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "ignore_ask: %s\n", what);
    exit(4);
}

/* The rules that hold in a folder. */
static const xd_ignore *rules_of(const char *dir, size_t len)
{
    const xd_ignore *best = tree.first;
    size_t           best_len = 0;
    for (size_t i = 0; i < tree.n; i++) {
        const node *n = &tree.at[i];
        bool        above = n->len <= len && !memcmp(n->dir, dir, n->len) &&
                     (n->len == len || n->len == 0 || dir[n->len] == '/');
        if (above && n->len >= best_len)
            best = n->ig, best_len = n->len;
    }
    return best;
}

static bool left_out(const char *path, size_t len, bool is_folder)
{
    size_t dir = 0; /* of what is asked about */
    for (size_t i = 0; i < len; i++) {
        if (path[i] != '/')
            continue;
        if (xd_ignore_match(rules_of(path, dir), path, i, true))
            return true;
        dir = i;
    }
    return xd_ignore_match(rules_of(path, dir), path, len, is_folder);
}

static void begin(const char *base)
{
    for (size_t i = 0; i < tree.n; i++)
        xd_ignore_free(tree.at[i].ig);
    tree.n = 0;
    tree.first = xd_ignore_free(tree.first);
    check(xd_ignore_new(base, &tree.first) == 0, "base");
}

static void add_node(const char *dir, const xd_bytes text[TEXTS])
{
    node *n = &tree.at[tree.n];
    check(tree.n < XD_ARRAY_LEN(tree.at) && text[0].len < sizeof(n->dir), "too many, or too long");
    memcpy(n->dir, dir, text[0].len);
    n->len = text[0].len;
    check(xd_ignore_child(rules_of(dir, n->len), text[0], text[1], text[2], &n->ig) == 0, "child");
    tree.n++;
}

static void answer(char what, char *const at[TEXTS], const xd_bytes text[TEXTS])
{
    if (what == 'B')
        begin(at[0]);
    else if (what == 'D')
        check(xd_ignore_add_defaults(tree.first) == 0, "defaults");
    else if (what == 'G')
        check(xd_ignore_add_glob(tree.first, at[0], text[1]) == 0, "glob");
    else if (what == 'R')
        check(xd_ignore_add_glob(tree.first, NULL, text[0]) == 0, "glob");
    else if (what == 'N')
        add_node(at[0], text);
    else if (what == 'P' || what == 'Q')
        putchar(left_out(at[0], text[0].len, what == 'Q') ? '1' : '0');
    else
        check(false, "unknown request");
}

int main(void)
{
    char line[256];
    while (fgets(line, sizeof(line), stdin)) {
        char    *at[TEXTS] = { NULL }, *next = line + 1;
        xd_bytes text[TEXTS] = { 0 };
        for (size_t i = 0; i < TEXTS && *next == ' '; i++) {
            size_t len = strtoul(next + 1, &next, 10);
            at[i] = calloc(1, len + 1);
            check(at[i] && fread(at[i], 1, len, stdin) == len, "a text is cut");
            text[i] = (xd_bytes){ (const uint8_t *)at[i], len };
        }
        answer(line[0], at, text);
        for (size_t i = 0; i < TEXTS; i++)
            free(at[i]);
    }
    begin("/");
    tree.first = xd_ignore_free(tree.first);
    return 0;
}
