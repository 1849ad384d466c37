#include "actors/runners/command_list.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

/* An id that is taken. Of a line: the number of its last copy so far. */
struct xd_known_line {
    UT_hash_handle hh;
    uint32_t       copies;
};

void xd_command_list_release(xd_command_list *l)
{
    struct xd_known_line *k, *next;
    HASH_ITER(hh, l->known, k, next)
    {
        HASH_DELETE(hh, l->known, k);
        free(k);
    }
    xd_arena_release(&l->arena);
    free(l->at);
    *l = XD_COMMAND_LIST_INIT;
}

static struct xd_known_line *find(const xd_command_list *l, xd_bytes id)
{
    struct xd_known_line *k;
    HASH_FIND(hh, l->known, id.ptr, id.len, k);
    return k;
}

/* `id` lives as long as the list. */
static int know(xd_command_list *l, xd_bytes id)
{
    struct xd_known_line *k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    k->copies = 1;
    HASH_ADD_KEYPTR(hh, l->known, id.ptr, id.len, k);
    if (k->hh.tbl)
        return 0;
    free(k);
    return -ENOMEM;
}

static int append(xd_command_list *l, xd_bytes id, uint32_t line_len)
{
    if (l->count == l->cap) {
        uint32_t    cap = l->cap ? l->cap * 2 : 256;
        xd_command *at = realloc(l->at, cap * sizeof(*at));
        if (!at)
            return -ENOMEM;
        l->at = at;
        l->cap = cap;
    }
    l->at[l->count++] = (xd_command){ .id = id, .line_len = line_len };
    return 0;
}

static int add_line(xd_command_list *l, xd_bytes line)
{
    xd_bytes              id = line;
    xd_autobuf            name = XD_BUF_INIT;
    struct xd_known_line *k = find(l, line);
    while (k) { /* another line may look like a copy */
        xd_buf_clear(&name);
        XD_TRY(xd_buf_add_bytes(&name, line));
        XD_TRY(xd_buf_printf(&name, " [%u]", ++k->copies));
        id = xd_buf_view(&name);
        if (!find(l, id))
            break;
    }
    xd_bytes kept;
    XD_TRY(xd_arena_bytes(&l->arena, id, &kept));
    XD_TRY(know(l, kept));
    return append(l, kept, (uint32_t)line.len);
}

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Without the blanks around it; one behind a backslash is a part of the line. */
static xd_bytes trimmed(xd_bytes line)
{
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    while (line.len && blank(line.ptr[0])) {
        line.ptr++;
        line.len--;
    }
    while (line.len && blank(line.ptr[line.len - 1]) && !(line.len > 1 && line.ptr[line.len - 2] == '\\'))
        line.len--;
    return line;
}

int xd_command_list_add(xd_command_list *l, xd_bytes text, const char *name, xd_error *err)
{
    static const uint8_t mark[] = { 0xef, 0xbb,
                                    0xbf }; /* byte order mark: editors of Windows begin UTF-8 with it */
    if (text.len >= sizeof(mark) && memcmp(text.ptr, mark, sizeof(mark)) == 0) {
        text.ptr += sizeof(mark);
        text.len -= sizeof(mark);
    }
    for (unsigned number = 1; text.len; number++) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        size_t         len = end ? (size_t)(end - text.ptr) : text.len;
        xd_bytes       line = trimmed((xd_bytes){ text.ptr, len });
        text.ptr += XD_MIN(len + 1, text.len);
        text.len -= XD_MIN(len + 1, text.len);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (line.len > XD_COMMAND_LINE_MAX)
            return xd_error_set(err, -EINVAL, "%s, line %u: it has %zu bytes; a command line has at most %u",
                                name, number, line.len, XD_COMMAND_LINE_MAX);
        if (memchr(line.ptr, 0, line.len))
            return xd_error_set(err, -EINVAL, "%s, line %u: it has a NUL byte; the list is not a text file?",
                                name, number);
        if (l->count == XD_ITEMS_MAX)
            return xd_error_set(err, -EINVAL, "%s, line %u: a run has at most %u tests", name, number,
                                XD_ITEMS_MAX);
        int r = add_line(l, line);
        if (r < 0)
            return xd_error_set(err, r, "out of memory");
    }
    return 0;
}

int xd_command_list_select(xd_command_list *l, xd_wire_list ids, xd_bytes *ret_missing)
{
    xd_wire_TEXT wanted;
    uint32_t     kept = 0;
    if (ids.count == 0)
        return 0;
    struct xd_known_line *k, *next;
    HASH_ITER(hh, l->known, k, next)
    {
        k->copies = 0;
    }
    while (xd_wire_TEXT_next(&ids, &wanted) > 0) {
        k = find(l, wanted.text);
        if (!k) {
            *ret_missing = wanted.text;
            return -ENOENT;
        }
        k->copies = 1;
    }
    for (uint32_t i = 0; i < l->count; i++)
        if (find(l, l->at[i].id)->copies)
            l->at[kept++] = l->at[i];
    l->count = kept;
    return 0;
}

int xd_command_list_order(xd_command_list *l, xd_wire_list places)
{
    xd_wire_INDEX           place;
    uint32_t                n = 0;
    xd_autofree xd_command *at = calloc(l->count ? l->count : 1, sizeof(*at));
    if (!at)
        return -ENOMEM;
    if (places.count != l->count)
        return -EPROTO;
    while (xd_wire_INDEX_next(&places, &place) > 0) {
        if (place.item >= l->count)
            return -EPROTO;
        at[n++] = l->at[place.item];
    }
    memcpy(l->at, at, n * sizeof(*at));
    return 0;
}

int xd_command_list_pack(const xd_command_list *l, xd_buf *out)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const uint32_t head[] = { l->at[i].line_len, (uint32_t)l->at[i].id.len };
        XD_TRY(xd_buf_add(out, head, sizeof(head)));
        XD_TRY(xd_buf_add_bytes(out, l->at[i].id));
    }
    return 0;
}

int xd_command_list_unpack(xd_command_list *l, xd_bytes packed)
{
    while (packed.len) {
        uint32_t head[2];
        xd_bytes kept;
        if (packed.len < sizeof(head))
            return -EPROTO;
        memcpy(head, packed.ptr, sizeof(head));
        packed.ptr += sizeof(head);
        packed.len -= sizeof(head);
        if (head[1] > packed.len || head[0] > head[1])
            return -EPROTO;
        XD_TRY(xd_arena_bytes(&l->arena, (xd_bytes){ packed.ptr, head[1] }, &kept));
        XD_TRY(append(l, kept, head[0]));
        packed.ptr += head[1];
        packed.len -= head[1];
    }
    return 0;
}

/* ---- words ------------------------------------------------------------------------------------------------ */

/* What a POSIX shell, bash or dash, runs itself or reads as a part of its grammar. */
static bool shells_own(const char *word)
{
    static const char *const names[] = {
        ".",       ":",        "[",       "alias",  "bg",       "bind",    "break",   "builtin", "case",
        "cd",      "chdir",    "command", "coproc", "declare",  "dirs",    "do",      "done",    "echo",
        "elif",    "else",     "enable",  "esac",   "eval",     "exec",    "exit",    "export",  "false",
        "fc",      "fg",       "fi",      "for",    "function", "getopts", "hash",    "help",    "if",
        "in",      "jobs",     "kill",    "let",    "local",    "popd",    "printf",  "pushd",   "pwd",
        "read",    "readonly", "return",  "select", "set",      "shift",   "shopt",   "source",  "test",
        "then",    "time",     "times",   "trap",   "true",     "type",    "typeset", "ulimit",  "umask",
        "unalias", "unset",    "until",   "wait",   "while",
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        if (strcmp(word, names[i]) == 0)
            return true;
    return false;
}

int xd_command_words(xd_bytes line, char ***ret)
{
    size_t words = 1;
    *ret = NULL;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.ptr[i];
        if (c < ' ' && c != '\t')
            return 0;
        if (strchr("|&;<>()$`\\\"'*?[]#~{}!", c))
            return 0;
        words += blank(c);
    }
    char **at = malloc((words + 1) * sizeof(char *) + line.len + 1);
    if (!at)
        return -ENOMEM;
    char  *text = memcpy(at + words + 1, line.ptr, line.len), *rest = NULL;
    size_t n = 0;
    text[line.len] = 0;
    for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
        at[n++] = word;
    at[n] = NULL;
    if (n == 0 || strchr(at[0], '=') || shells_own(at[0])) {
        free(at);
        return 0;
    }
    *ret = at;
    return 0;
}
