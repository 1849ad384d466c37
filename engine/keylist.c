/* engine/keylist.c - see keylist.h. */
#define _XOPEN_SOURCE 700
#include "engine/keylist.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define FILE_MAX_BYTES (16u << 20)

static void line_release(xd_key_line *l)
{
    free(l->address);
    free(l->comment);
    free(l->command);
    free(l->from);
    *l = (xd_key_line){ 0 };
}

void xd_keylist_release(xd_keylist *l)
{
    for (size_t i = 0; i < l->count; i++)
        line_release(&l->at[i]);
    free(l->at);
    *l = XD_KEYLIST_INIT;
}

/* ---- one line ------------------------------------------------------------------------------------------------ */

typedef struct reader {
    const uint8_t *at, *end;
    const char    *name; /* of the file */
    uint32_t       line;
    xd_error      *err;
} reader;

static int bad(const reader *r, const char *what, xd_bytes word)
{
    return xd_error_set(r->err, -EINVAL, "%s, line %u: %s%s%.*s%s", r->name, (unsigned)r->line, what,
                        word.ptr ? " '" : "", (int)XD_MIN(word.len, (size_t)80),
                        word.ptr ? (const char *)word.ptr : "", word.ptr ? "'" : "");
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

/* Up to the next blank. */
static xd_bytes word(reader *r)
{
    const uint8_t *from = r->at;
    while (r->at < r->end && !is_blank(*r->at))
        r->at++;
    return (xd_bytes){ from, (size_t)(r->at - from) };
}

static int read_netmask(xd_netmask *ret, xd_bytes in)
{
    char       text[64];
    uint64_t   bits = 0;
    xd_netmask m = { 0 };
    if (in.len && in.ptr[0] == '!') {
        m.except = true;
        in = (xd_bytes){ in.ptr + 1, in.len - 1 };
    }
    if (in.len == 0 || in.len >= sizeof(text) || memchr(in.ptr, 0, in.len))
        return -EINVAL;
    memcpy(text, in.ptr, in.len);
    text[in.len] = 0;
    char *slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    const bool four = inet_pton(AF_INET, text, m.at + 12) == 1;
    if (four)
        m.at[10] = m.at[11] = 0xff;
    else if (inet_pton(AF_INET6, text, m.at) != 1)
        return -EINVAL;
    if (slash && xd_text_u64(slash + 1, 0, four ? 32 : 128, &bits) < 0)
        return -EINVAL;
    m.bits = (uint8_t)(slash ? bits + (four ? 96 : 0) : 128);
    *ret = m;
    return 0;
}

static int read_from(reader *r, xd_key_line *l, xd_bytes value)
{
    for (size_t at = 0; at <= value.len;) {
        const uint8_t *comma = memchr(value.ptr + at, ',', value.len - at);
        const size_t   end = comma ? (size_t)(comma - value.ptr) : value.len;
        xd_bytes       one = { value.ptr + at, end - at };
        xd_netmask    *more = realloc(l->from, (l->n_from + 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        l->from = more;
        if (read_netmask(&l->from[l->n_from], one) < 0)
            return bad(r,
                       "from= takes addresses such as 10.0.0.0/8 or 2001:db8::/32, with ! in front of those "
                       "to refuse, not",
                       one);
        l->n_from++;
        at = end + 1;
    }
    return 0;
}

static int read_expires(reader *r, xd_key_line *l, xd_bytes value)
{
    static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d" };
    char                     text[32], same[32];
    if (value.len >= sizeof(text) || memchr(value.ptr, 0, value.len))
        return bad(r, "expires= takes a time of UTC such as 2026-12-31 or 2026-12-31T18:00Z, not", value);
    memcpy(text, value.ptr, value.len);
    text[value.len] = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(forms); i++) {
        struct tm   tm = { 0 };
        const char *end = strptime(text, forms[i], &tm);
        if (!end || *end)
            continue;
        const time_t t = timegm(&tm);
        if (tm.tm_year < 0 || strftime(same, sizeof(same), forms[i], &tm) == 0 || strcmp(same, text) != 0)
            break; /* 31 February, a year of two digits, blanks */
        l->expires_s = (int64_t)t;
        return 0;
    }
    return bad(r, "expires= takes a time of UTC such as 2026-12-31 or 2026-12-31T18:00Z, not", value);
}

static int read_max_workers(reader *r, xd_key_line *l, xd_bytes value)
{
    xd_autofree char *text = xd_bytes_dup(value);
    uint64_t          n;
    if (!text)
        return -ENOMEM;
    if (xd_text_u64(text, 1, UINT32_MAX, &n) < 0)
        return bad(r, "max-workers= takes a number from 1 on, not", value);
    l->max_workers = (uint32_t)n;
    return 0;
}

static int read_command(reader *r, xd_key_line *l, xd_bytes value)
{
    xd_autofree char **words = NULL;
    size_t             at;
    char              *text = xd_bytes_dup(value);
    if (!text)
        return -ENOMEM;
    free(l->command);
    l->command = text;
    int split = xd_text_command_split(text, &words, &at);
    if (split == -ENOMEM)
        return split;
    if (split < 0 || !words[0])
        return bad(r, "command= takes a program and its arguments, which no shell reads, not", value);
    return 0;
}

static int read_option(reader *r, xd_key_line *l, xd_bytes name, xd_bytes value)
{
    static const struct {
        const char *name;
        int (*read)(reader *r, xd_key_line *l, xd_bytes value);
    } options[] = {
        { "from", read_from },
        { "expires", read_expires },
        { "max-workers", read_max_workers },
        { "command", read_command },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(options); i++)
        if (xd_bytes_eq_str(name, options[i].name))
            return value.ptr ? options[i].read(r, l, value) : bad(r, "a value is missing behind", name);
    return bad(r, "from=, expires=, max-workers= and command= are the options, not", name);
}

/* A value in quotes, without them; its memory is `scratch`. */
static int quoted(reader *r, xd_buf *scratch, xd_bytes *ret)
{
    xd_buf_clear(scratch);
    for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
        if (*r->at == '\\' && r->at + 1 < r->end && r->at[1] == '"')
            r->at++;
        XD_TRY(xd_buf_add_byte(scratch, *r->at));
    }
    if (r->at == r->end)
        return bad(r, "a quote is not closed", (xd_bytes){ 0 });
    r->at++;
    XD_TRY(xd_buf_reserve(scratch, 1)); /* a pointer also to an empty value */
    *ret = xd_buf_view(scratch);
    return 0;
}

/* Options, up to a blank outside of quotes. */
static int read_options(reader *r, xd_key_line *l)
{
    xd_autobuf scratch = XD_BUF_INIT;
    for (;;) {
        xd_bytes       name, value = { 0 };
        const uint8_t *from = r->at;
        while (r->at < r->end && !is_blank(*r->at) && *r->at != '=' && *r->at != ',')
            r->at++;
        name = (xd_bytes){ from, (size_t)(r->at - from) };
        if (r->at < r->end && *r->at == '=') {
            r->at++;
            if (r->at < r->end && *r->at == '"') {
                XD_TRY(quoted(r, &scratch, &value));
            } else {
                from = r->at;
                while (r->at < r->end && !is_blank(*r->at) && *r->at != ',')
                    r->at++;
                value = (xd_bytes){ from, (size_t)(r->at - from) };
            }
        }
        XD_TRY(read_option(r, l, name, value));
        if (r->at == r->end || is_blank(*r->at))
            return 0;
        if (*r->at != ',')
            return bad(r, "options are separated by commas; there is something behind", name);
        r->at++;
    }
}

static int read_line(reader *r, xd_keylist_kind kind, xd_key_line *l)
{
    const uint8_t *from = r->at;
    xd_bytes       first = word(r);
    if (kind == XD_KEYLIST_KNOWN) {
        if (first.len > 300 || !memchr(first.ptr, ':', first.len))
            return bad(r, "a line begins with HOST:PORT, not", first);
        if (!(l->address = xd_bytes_dup(first)))
            return -ENOMEM;
        skip_blanks(r);
        first = word(r);
    } else if (!xd_bytes_eq_str(first, XD_KEY_WORD)) {
        r->at = from;
        XD_TRY(read_options(r, l));
        skip_blanks(r);
        first = word(r);
    }
    if (!xd_bytes_eq_str(first, XD_KEY_WORD))
        return bad(r, "`xdk1 KEY` is expected, as xdctl keygen prints it, not", first);
    skip_blanks(r);
    first = word(r);
    if (xd_pubkey_parse(&l->key, first) < 0)
        return bad(r, "a key has 40 characters of Z85, not", first);
    skip_blanks(r);
    while (r->end > r->at && is_blank(r->end[-1]))
        r->end--;
    l->comment = xd_bytes_dup((xd_bytes){ r->at, (size_t)(r->end - r->at) });
    return l->comment ? 0 : -ENOMEM;
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

/* One line at a time, with what ends it. false: there is none any more. */
static bool next_line(xd_bytes text, size_t *at, xd_bytes *ret)
{
    if (*at >= text.len)
        return false;
    const uint8_t *nl = memchr(text.ptr + *at, '\n', text.len - *at);
    const size_t   end = nl ? (size_t)(nl - text.ptr) + 1 : text.len;
    *ret = (xd_bytes){ text.ptr + *at, end - *at };
    *at = end;
    return true;
}

static xd_bytes without_end(xd_bytes line)
{
    if (line.len && line.ptr[line.len - 1] == '\n')
        line.len--;
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool counts(xd_bytes line)
{
    size_t i = 0;
    while (i < line.len && is_blank(line.ptr[i]))
        i++;
    return i < line.len && line.ptr[i] != '#';
}

int xd_keylist_parse(xd_keylist *ret, xd_keylist_kind kind, xd_bytes text, const char *name, xd_error *err)
{
    xd_keylist l = XD_KEYLIST_INIT;
    size_t     at = 0, cap = 0;
    xd_bytes   line;
    int        r = 0;
    for (uint32_t number = 1; r == 0 && next_line(text, &at, &line); number++) {
        line = without_end(line);
        reader in = { .at = line.ptr, .end = line.ptr + line.len, .name = name, .line = number, .err = err };
        if (!counts(line))
            continue;
        if (memchr(line.ptr, 0, line.len))
            r = bad(&in, "there is a NUL byte", (xd_bytes){ 0 });
        else if (l.count == XD_KEYLIST_LINES_MAX)
            r = bad(&in, "there are too many keys", (xd_bytes){ 0 });
        if (r == 0 && l.count == cap) {
            cap = cap ? cap * 2 : 16;
            xd_key_line *more = realloc(l.at, cap * sizeof(*more));
            if (more)
                l.at = more;
            else
                r = -ENOMEM;
        }
        if (r < 0)
            break;
        l.at[l.count] = (xd_key_line){ .expires_s = INT64_MAX, .line = number };
        skip_blanks(&in);
        r = read_line(&in, kind, &l.at[l.count]);
        l.count++; /* also a half one, to be released */
    }
    if (r < 0) {
        xd_keylist_release(&l);
        return r == -ENOMEM ? xd_error_set(err, r, "%s: %s", name, xd_error_name(r)) : r;
    }
    *ret = l;
    return 0;
}

static int not_of_others(const struct stat *st, const char *what, xd_error *err)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return xd_error_set(err, -EPERM, "%s belongs to another user, who could change whom it trusts", what);
    if (st->st_mode & 022)
        return xd_error_set(err, -EPERM,
                            "%s has mode %04o: others could change whom it trusts; chmod go-w it", what,
                            (unsigned)st->st_mode & 07777);
    return 0;
}

static int folder_is_ours(const char *path, xd_error *err)
{
    struct stat       st;
    xd_autofree char *folder = xd_path_dir(path);
    if (!folder)
        return -ENOMEM;
    if (stat(folder, &st) < 0)
        return errno == ENOENT ? 0 : xd_error_set(err, -errno, "%s: %s", folder, xd_error_name(-errno));
    return not_of_others(&st, folder, err);
}

/* Who may write the file, or put another one in its place, decides who is trusted. */
static int only_ours(int fd, const char *path, xd_error *err)
{
    struct stat       st;
    xd_autofree char *real = realpath(path, NULL);
    if (!real || fstat(fd, &st) < 0)
        return xd_error_set(err, -errno, "%s: %s", path, xd_error_name(-errno));
    if (!S_ISREG(st.st_mode))
        return xd_error_set(err, -EINVAL, "%s is no file", path);
    XD_TRY(not_of_others(&st, path, err));
    return folder_is_ours(real, err); /* where a link leads */
}

/* The text of the file; empty when there is none. */
static int read_text(const char *path, xd_buf *ret, xd_error *err)
{
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const int        r = fd < 0 ? -errno : 0;
    XD_TRY(folder_is_ours(path, err)); /* also of none: they could make one, or have taken it away */
    if (r < 0)
        return r == -ENOENT ? 0 : xd_error_set(err, r, "%s: %s", path, xd_error_name(r));
    XD_TRY(only_ours(fd, path, err));
    return xd_path_read_file(path, FILE_MAX_BYTES, ret, err);
}

int xd_keylist_read(xd_keylist *ret, xd_keylist_kind kind, const char *path, xd_error *err)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(read_text(path, &text, err));
    return xd_keylist_parse(ret, kind, xd_buf_view(&text), path, err);
}

/* ---- questions ------------------------------------------------------------------------------------------------ */

const xd_key_line *xd_keylist_find(const xd_keylist *l, const xd_pubkey *key)
{
    const xd_key_line *found = NULL;
    for (size_t i = 0; i < l->count; i++)
        if (xd_pubkey_eq(&l->at[i].key, key))
            found = &l->at[i];
    return found;
}

const xd_key_line *xd_keylist_find_address(const xd_keylist *l, const char *address)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->at[i].address && strcasecmp(l->at[i].address, address) == 0)
            return &l->at[i];
    return NULL;
}

static bool is_in(const xd_netmask *m, const uint8_t at[16])
{
    const size_t whole = m->bits / 8;
    const int    rest = m->bits % 8;
    return memcmp(m->at, at, whole) == 0 && (rest == 0 || (m->at[whole] ^ at[whole]) >> (8 - rest) == 0);
}

static bool comes_from(const xd_key_line *l, const char *address)
{
    uint8_t at[16] = { 0 };
    bool    in = false;
    if (!address)
        return false;
    if (inet_pton(AF_INET, address, at + 12) == 1)
        at[10] = at[11] = 0xff;
    else if (inet_pton(AF_INET6, address, at) != 1)
        return false;
    bool only_except = true;
    for (size_t i = 0; i < l->n_from; i++) {
        only_except = only_except && l->from[i].except;
        if (!is_in(&l->from[i], at))
            continue;
        if (l->from[i].except)
            return false;
        in = true;
    }
    return in || only_except;
}

xd_key_verdict xd_key_line_check(const xd_key_line *l, const char *address, int64_t now_s)
{
    if (now_s >= l->expires_s)
        return XD_KEY_EXPIRED;
    return l->n_from && !comes_from(l, address) ? XD_KEY_ELSEWHERE : XD_KEY_GOOD;
}

/* ---- changes ---------------------------------------------------------------------------------------------------- */

/* Those who change one file wait for each other. The lock is a file of its own, as the other is replaced. */
static int lock_folder(const char *path, int *ret, xd_error *err)
{
    xd_autofree char *folder = xd_path_dir(path);
    xd_autofree char *name = folder ? xd_path_join(folder, ".lock") : NULL;
    if (!name)
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(xd_path_mkdirs(folder, 0700, err));
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 || flock(fd, LOCK_EX) < 0 ? -errno : 0;
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return xd_error_set(err, r, "%s: %s", name, xd_error_name(r));
    }
    *ret = fd;
    return 0;
}

int xd_keylist_add(const char *path, const char *line, xd_error *err)
{
    xd_autobuf       text = XD_BUF_INIT;
    xd_autoclose int lock = -1;
    XD_TRY(lock_folder(path, &lock, err));
    XD_TRY(read_text(path, &text, err));
    int r = text.len && text.data[text.len - 1] != '\n' ? xd_buf_add_byte(&text, '\n') : 0;
    if (r == 0)
        r = xd_buf_add_str(&text, line);
    if (r == 0)
        r = xd_buf_add_byte(&text, '\n');
    return r < 0 ? xd_error_set(err, r, "%s: %s", path, xd_error_name(r))
                 : xd_path_write_file(path, xd_buf_view(&text), 0600, err);
}

static bool is_meant(const xd_key_line *l, const xd_pubkey *key, const char *address)
{
    return xd_pubkey_eq(&l->key, key) && (!address || (l->address && strcasecmp(l->address, address) == 0));
}

int xd_keylist_remove(const char *path, xd_keylist_kind kind, const xd_pubkey *key, const char *address,
                      xd_error *err)
{
    xd_autobuf       text = XD_BUF_INIT, kept = XD_BUF_INIT;
    xd_keylist       list = XD_KEYLIST_INIT;
    xd_autoclose int lock = -1;
    size_t           at = 0, next = 0;
    xd_bytes         line;
    int              removed = 0;
    XD_TRY(lock_folder(path, &lock, err));
    XD_TRY(read_text(path, &text, err));
    XD_TRY(xd_keylist_parse(&list, kind, xd_buf_view(&text), path, err));
    int r = 0;
    for (uint32_t number = 1; r == 0 && next_line(xd_buf_view(&text), &at, &line); number++) {
        const xd_key_line *l = next < list.count && list.at[next].line == number ? &list.at[next++] : NULL;
        if (l && is_meant(l, key, address))
            removed++;
        else
            r = xd_buf_add_bytes(&kept, line);
    }
    xd_keylist_release(&list);
    if (r < 0)
        return xd_error_set(err, r, "%s: %s", path, xd_error_name(r));
    if (removed)
        r = xd_path_write_file(path, xd_buf_view(&kept), 0600, err);
    return r < 0 ? r : removed;
}
