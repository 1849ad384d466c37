/* engine/hosts.c - see hosts.h. */
#include "engine/hosts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/xspec.h"

#define ALLOWED                                                                                            \
    "a line is [NUM/]HOST, [NUM/]USER@HOST:PORT, [NUM/]ssh ARGUMENTS HOST or [NUM/]: for this host, with " \
    "//key=value behind it"
#define FILE_MAX (4u << 20)
#define BLANKS " \t\r"
#define BOM "\xef\xbb\xbf" /* which editors of other systems put in front of UTF-8 */

static int bad(xd_error *err, const char *line, const char *why)
{
    return xd_error_set(err, -EINVAL, "'%.200s': %s; " ALLOWED, line, why);
}

/* Cuts off the comment and the blanks around what is left. */
static char *bare(const char *line)
{
    size_t start = strspn(line, BLANKS), end = start;
    for (size_t i = start; line[i] && !(line[i] == '#' && (i == start || strchr(BLANKS, line[i - 1]))); i++)
        if (!strchr(BLANKS, line[i]))
            end = i + 1;
    return strndup(line + start, end - start);
}

/* "host:2222", "[::1]:2222", "[::1]", "::1" -> host and port; *ret_port = NULL without one. Cuts `host` in place. */
static int take_port(char *host, char **ret_host, char **ret_port)
{
    char *name = strrchr(host, '@'), *colon;
    name = name ? name + 1 : host;
    *ret_host = host;
    *ret_port = NULL;
    if (*name == '[') {
        char *end = strchr(name, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -EINVAL;
        colon = end[1] ? end + 1 : NULL;
        memmove(name, name + 1, (size_t)(end - name - 1));
        end[-1] = 0;
        if (!strchr(name, ':'))
            return -EINVAL; /* brackets are for addresses of IPv6 */
    } else {
        colon = strchr(name, ':');
        if (colon && strchr(colon + 1, ':'))
            colon = NULL; /* an address of IPv6, which has no port without brackets */
    }
    if (colon) {
        uint64_t port;
        *colon = 0;
        *ret_port = colon + 1;
        if (xd_text_u64(*ret_port, 1, 65535, &port) < 0)
            return -ERANGE;
    }
    return *name ? 0 : -EINVAL;
}

/* HOST, USER@HOST, with a port. */
static int one_word(xd_buf *out, const char *line, char *word, xd_error *err)
{
    char *host, *port, *at = strrchr(word, '@');
    if (word[0] == '-')
        return bad(err, line, "a host cannot begin with -");
    if (word[0] == '@')
        return bad(err, line, "groups of hosts (@GROUP/) are not supported");
    if (at && memchr(word, ':', (size_t)(at - word)))
        return bad(err, line, "a password does not belong here: ssh asks for it, or uses a key");
    if (strchr(word, '/'))
        return bad(err, line, "what stands before / is a number of workers, and a host has none");
    int r = take_port(word, &host, &port);
    if (r == -ERANGE)
        return bad(err, line, "a port is a number from 1 to 65535");
    if (r < 0)
        return bad(err, line, "that is no name or address of a host");
    return port ? xd_buf_printf(out, "ssh=-p %s %s", port, host) : xd_buf_printf(out, "ssh=%s", host);
}

/* What stands behind NUM/ and before //. */
static int login(xd_buf *out, const char *line, char *text, xd_error *err)
{
    const size_t first = strcspn(text, BLANKS);
    if (!*text)
        return bad(err, line, "it names no host");
    if (strcmp(text, ":") == 0)
        return xd_buf_add_str(out, "popen");
    if (!text[first])
        return one_word(out, line, text, err);
    if (first == 3 && strncmp(text, "ssh", 3) == 0)
        return xd_buf_printf(out, "ssh=%s", text + first + strspn(text + first, BLANKS));
    return bad(err, line,
               "only ssh can stand before its arguments and a host; for another program write command=...");
}

/* A number before /, as in 8/host; 0 = none. */
static int take_number(const char *line, char **text, uint64_t *ret, xd_error *err)
{
    const size_t digits = strspn(*text, "0123456789");
    *ret = 0;
    if (!digits || (*text)[digits] != '/')
        return 0;
    (*text)[digits] = 0;
    if (xd_text_u64(*text, 1, XD_XSPEC_MAX_COUNT, ret) < 0)
        return bad(err, line, "the number before / is from 1 to 1024");
    *text += digits + 1;
    return 0;
}

/* A whole spec: NUM* in front, or a key with its value before the first //, which no host and no option of ssh begins with. */
static bool is_spec(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    const size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    return (digits && text[digits] == '*') || (word && text[word] == '=');
}

static int spec_of(xd_buf *out, const char *line, char *text, xd_error *err)
{
    uint64_t number;
    if (is_spec(text))
        return xd_buf_add_str(out, text);
    XD_TRY(take_number(line, &text, &number, err));
    if (strncmp(text, "//", 2) == 0 || text[0] == '/')
        return bad(err, line, "another program than ssh: write command=...");
    char *keys = strstr(text, "//");
    if (keys)
        *keys = 0;
    if (number)
        XD_TRY(xd_buf_printf(out, "%u*", (unsigned)number));
    XD_TRY(login(out, line, text, err));
    if (!number)
        XD_TRY(xd_buf_add_str(out, "//cpus=auto"));
    return keys ? xd_buf_printf(out, "//%s", keys + 2) : 0;
}

int xd_hosts_line(const char *line, char **ret_spec, xd_error *err)
{
    xd_autofree char *text = bare(line);
    xd_autobuf        out = XD_BUF_INIT;
    xd_xspec          spec;
    if (!text)
        return -ENOMEM;
    if (!*text)
        return 0;
    xd_autofree char *shown = strdup(text);
    if (!shown)
        return -ENOMEM;
    XD_TRY(spec_of(&out, shown, text, err));
    XD_TRY(xd_xspec_parse(&spec, xd_buf_cstr(&out), err)); /* its keys */
    xd_xspec_release(&spec);
    *ret_spec = strdup(xd_buf_cstr(&out));
    return *ret_spec ? 1 : -ENOMEM;
}

/* ---- the file ------------------------------------------------------------------------------------------- */

static int read_all(const char *path, const char *dir, xd_buf *out, xd_error *err)
{
    const bool        input = strcmp(path, "-") == 0;
    xd_autofree char *below = !input && dir && path[0] != '/' ? xd_path_join(dir, path) : strdup(path);
    if (!below)
        return -ENOMEM;
    if (!input)
        return xd_path_read_file(below, FILE_MAX, out, err);
    for (;;) {
        uint8_t       part[4096];
        const ssize_t n = read(STDIN_FILENO, part, sizeof(part));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return xd_error_set(err, -errno, "standard input cannot be read: %s", strerror(errno));
        if (n == 0)
            return 0;
        if (out->len + (size_t)n > FILE_MAX)
            return xd_error_set(err, -EFBIG, "standard input is no list of hosts: it has more than 4 MiB");
        XD_TRY(xd_buf_add(out, part, (size_t)n));
    }
}

/* It ends with a zero byte, and may be changed. */
static char *text_of(xd_buf *b)
{
    return xd_buf_add_byte(b, 0) == 0 ? (char *)b->data : NULL;
}

/* A host without a number of workers. */
typedef struct said_host {
    UT_hash_handle hh;
    char           spec[];
} said_host;

static void forget_said(said_host **said)
{
    said_host *one, *next;
    HASH_ITER(hh, *said, one, next)
    {
        HASH_DEL(*said, one);
        free(one);
    }
}

/* 1 = it is there once more: it has no more processors than before (numbers of one host add up); 0, -ENOMEM. */
static int said_before(said_host **said, const char *spec)
{
    const size_t len = strlen(spec);
    said_host   *one = NULL;
    if (!strstr(spec, "//cpus=auto"))
        return 0;
    HASH_FIND(hh, *said, spec, len, one);
    if (one)
        return 1;
    one = calloc(1, sizeof(*one) + len + 1);
    if (!one)
        return -ENOMEM;
    memcpy(one->spec, spec, len);
    HASH_ADD_KEYPTR(hh, *said, one->spec, len, one);
    if (one->hh.tbl)
        return 0;
    free(one);
    return -ENOMEM;
}

/* Like xd_hosts_line, with file and line in front of the error. */
static int add_line(xd_strings *specs, said_host **said, const char *line, const char *name, unsigned number,
                    xd_error *err)
{
    xd_autofree char *spec = NULL;
    xd_error          why = { 0 };
    int               r = xd_hosts_line(line, &spec, &why);
    if (r == -EINVAL)
        return xd_error_set(err, r, "option --hosts: %.200s:%u: %s", name, number, why.text);
    if (r <= 0)
        return r;
    r = said_before(said, spec);
    return r == 0 ? xd_strings_add(specs, spec) : XD_MIN(r, 0);
}

int xd_hosts_read(const char *path, const char *dir, xd_strings *specs, xd_error *err)
{
    xd_autobuf   all = XD_BUF_INIT;
    xd_error     why = { 0 };
    const char  *name = strcmp(path, "-") == 0 ? "standard input" : path;
    const size_t before = specs->count;
    unsigned     number = 0;
    int          r = read_all(path, dir, &all, &why);
    if (r < 0)
        return xd_error_set(err, r == -ENOMEM ? r : -EINVAL, "option --hosts: %s",
                            why.text[0] ? why.text : xd_error_name(r));
    if (all.len && memchr(all.data, 0, all.len))
        return xd_error_set(err, -EINVAL, "option --hosts: %.200s is no list of hosts: it has zero bytes",
                            name);
    char *rest = text_of(&all);
    if (!rest)
        return -ENOMEM;
    if (strncmp(rest, BOM, strlen(BOM)) == 0)
        rest += strlen(BOM);
    said_host *said = NULL;
    while (rest && r == 0) {
        char *line = rest;
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        r = add_line(specs, &said, line, name, ++number, err);
    }
    forget_said(&said);
    XD_TRY(r);
    return specs->count > before
               ? 0
               : xd_error_set(err, -EINVAL, "option --hosts: there is no host in %.200s; " ALLOWED, name);
}

int xd_hosts_apply(xd_config *c, xd_error *err)
{
    if (!c->hosts)
        return 0;
    XD_TRY(xd_hosts_read(c->hosts, c->work_dir, &c->tx, err));
    free(c->hosts);
    c->hosts = NULL;
    return 0;
}
