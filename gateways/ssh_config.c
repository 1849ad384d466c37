/* gateways/ssh_config.c - see ssh_config.h: files, blocks and values. What the keywords mean is in ssh_words.c. */
#include "gateways/ssh_config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <glob.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/ssh_args.h"
#include "gateways/ssh_config_state.h"
#include "gateways/ssh_words.h"

#define CONFIG_MAX (1u << 20)
#define DEPTH_MAX 16

/* ---- what is read -------------------------------------------------------------------------------------- */

typedef struct reading {
    xd_ssh_conf *c;
    xd_error    *err;
    const char  *file;
    unsigned     line;
    bool         active;             /* the block that is read is of this host */
    bool         of_user, of_system; /* ~/.ssh/config, /etc/ssh/ssh_config, and what they include */
    int          depth;
} reading;

static int wrong(const reading *r, const char *what, const char *word)
{
    return xd_error_set(r->err, -EINVAL, "%s:%u: %s%s%s", r->file, r->line, what, word ? " " : "",
                        word ? word : "");
}

/* Leaves this host to the ssh program; the first reason counts. */
static void leave(xd_ssh_conf *c, const char *what, const char *where)
{
    if (*c->unsuited)
        return;
    snprintf(c->unsuited, sizeof(c->unsuited), "%s%s%.180s", what, where ? " in " : "", where ? where : "");
    xd_error_one_line(c->unsuited); /* it may quote the file */
}

static int where(const reading *r, char **ret)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(r->line ? xd_buf_printf(&text, "%s:%u", r->file, r->line) : xd_buf_add_str(&text, r->file));
    *ret = xd_bytes_dup(xd_buf_view(&text));
    return *ret ? 0 : -ENOMEM;
}

/* A line of which ssh itself has to say what is wrong with it, or what it means. */
static int leave_line(reading *r, const char *what)
{
    xd_autofree char *place = NULL;
    XD_TRY(where(r, &place));
    leave(r->c, what, place);
    return 0;
}

/* One word as it is: a value of the command line, which ssh does not take apart. */
static int set_word(reading *r, int word, const char *value)
{
    setting   *s = &r->c->at[word];
    const bool each = xd_ssh_words[word].kind == XD_SSH_WORD_EACH;
    xd_autobuf text = XD_BUF_INIT;
    if (s->value && !each)
        return 0;
    XD_TRY(s->value ? xd_buf_printf(&text, "%s\n%s", s->value, value) : xd_buf_add_str(&text, value));
    char *copy = xd_bytes_dup(xd_buf_view(&text));
    if (!copy)
        return -ENOMEM;
    free(s->value);
    s->value = copy;
    return s->where ? 0 : where(r, &s->where);
}

/* "-NAME" in SendEnv takes names out of those before. */
static int send_less(xd_buf *text, const char *pattern)
{
    xd_autofree char *all = xd_bytes_dup(xd_buf_view(text));
    if (!all)
        return -ENOMEM;
    xd_buf_clear(text);
    for (char *name, *rest = all; (name = strsep(&rest, "\n"));)
        if (*name && !xd_ssh_match_list(name, pattern, "\n", false))
            XD_TRY(xd_buf_printf(text, "%s%s", text->len ? "\n" : "", name));
    return 0;
}

static int set(reading *r, int word, const char *rest)
{
    setting               *s = &r->c->at[word];
    const xd_ssh_word_kind kind = xd_ssh_words[word].kind;
    const bool             many = kind == XD_SSH_WORD_MANY || kind == XD_SSH_WORD_EACH;
    xd_autobuf             text = XD_BUF_INIT;
    int                    n = 0;
    if (s->value && many)
        XD_TRY(xd_buf_add_str(&text, s->value));
    if (kind == XD_SSH_WORD_LINE) { /* its words are taken apart when it is used */
        XD_TRY(xd_buf_add_str(&text, rest));
        n = *rest ? 1 : 0;
    } else {
        for (const char *p = rest;;) {
            xd_autofree char *w = NULL;
            int               got = xd_ssh_next_word(&p, &w);
            if (got < 0)
                return got == -EINVAL ? wrong(r, "a quote that is not closed, after",
                                              *xd_ssh_words[word].shown ? xd_ssh_words[word].shown
                                                                        : xd_ssh_words[word].name)
                                      : got;
            if (got == 0)
                break;
            if (n && xd_ssh_word_single(word))
                return leave_line(r, xd_ssh_words[word].shown);
            if (n && kind != XD_SSH_WORD_MANY && kind != XD_SSH_WORD_WORDS)
                break;
            n++;
            if (kind == XD_SSH_WORD_MANY && *w == '-')
                XD_TRY(send_less(&text, w + 1));
            else
                XD_TRY(xd_buf_printf(&text, "%s%s", text.len ? "\n" : "", w));
        }
    }
    if (!n)
        return wrong(r, "there is no value after",
                     *xd_ssh_words[word].shown ? xd_ssh_words[word].shown : xd_ssh_words[word].name);
    if (s->value && !many)
        return 0;
    char *value = xd_bytes_dup(xd_buf_view(&text));
    if (!value)
        return -ENOMEM;
    free(s->value);
    s->value = value;
    return s->where ? 0 : where(r, &s->where);
}

static int read_file(reading *r, const char *path, bool must_be_there);

static int include(reading *r, const char *rest)
{
    for (const char *p = rest;;) {
        xd_autofree char *w = NULL, *path = NULL;
        glob_t            g = { 0 };
        int               got = xd_ssh_next_word(&p, &w);
        if (got <= 0)
            return got == -EINVAL ? wrong(r, "a quote that is not closed", NULL) : got;
        xd_autofree char *expanded = xd_ssh_conf_expand(r->c, w);
        if (!expanded)
            return leave_line(r, "Include of what xd cannot expand");
        xd_autofree char *dir = r->of_system ? strdup("/etc/ssh") : xd_path_join(r->c->home, ".ssh");
        if (!dir || !(path = xd_path_join(dir, expanded)))
            return -ENOMEM;
        reading inner = *r;
        inner.depth++;
        if (inner.depth > DEPTH_MAX)
            return wrong(r, "too many files include each other", NULL);
        int e = glob(path, 0, NULL, &g) == 0 ? 0 : 1;
        for (size_t i = 0; e == 0 && i < g.gl_pathc; i++)
            e = read_file(&inner, g.gl_pathv[i], false);
        globfree(&g);
        XD_TRY(e);
    }
}

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* HostName has two tokens; NULL = it has another one. */
static char *host_name(const xd_ssh_conf *c, const char *text)
{
    xd_autobuf out = XD_BUF_INIT;
    for (; *text; text++) {
        if (*text == '%' && text[1] != '%' && text[1] != 'h')
            return NULL;
        int r = *text == '%' && *++text == 'h' ? xd_buf_add_str(&out, c->given)
                                               : xd_buf_add_byte(&out, (uint8_t)*text);
        if (r < 0)
            return NULL;
    }
    return xd_bytes_dup(xd_buf_view(&out));
}

/* One criterion of Match: 1 it holds, 0 it does not, -errno. "host x", "host=x". */
static int criterion(reading *r, const char *name, const char **rest)
{
    xd_ssh_conf *c = r->c;
    if (strcasecmp(name, "all") == 0)
        return 1;
    if (strcasecmp(name, "canonical") == 0)
        return 0;
    const char *shown = strcasecmp(name, "final") == 0 ? "Match final" : "Match exec";
    if (strcasecmp(name, "final") == 0 || strcasecmp(name, "exec") == 0)
        return leave_line(r, shown);
    xd_autofree char *arg = NULL, *real = NULL;
    *rest += strspn(*rest, " \t");
    *rest += **rest == '=';
    int got = xd_ssh_next_word(rest, &arg);
    if (got <= 0)
        return got < 0 && got != -EINVAL ? got : wrong(r, "Match: there is no value after", name);
    const char *host = xd_ssh_conf_value(c, "hostname"), *user = xd_ssh_conf_value(c, "user");
    if (strcasecmp(name, "host") == 0 || strcasecmp(name, "originalhost") == 0) {
        real = host && strcasecmp(name, "host") == 0 ? host_name(c, host) : NULL;
        if (!real && !(real = strdup(c->given)))
            return -ENOMEM;
        lower(real);
        return xd_ssh_match_list(real, arg, ",", true);
    }
    if (strcasecmp(name, "user") == 0)
        return xd_ssh_match_list(user ? user : c->local_user, arg, ",", false);
    if (strcasecmp(name, "localuser") == 0)
        return xd_ssh_match_list(c->local_user, arg, ",", false);
    return leave_line(r, "Match with a criterion that xd does not know");
}

static int match_block(reading *r, const char *rest)
{
    r->active = true;
    if (!rest[strspn(rest, " \t")] || rest[strspn(rest, " \t")] == '#')
        return leave_line(r, "Match");
    for (const char *p = rest;;) {
        p += strspn(p, " \t");
        if (!*p || *p == '#')
            return 0;
        const size_t      len = strcspn(p, " \t=");
        xd_autofree char *name = strndup(p, len);
        if (!name)
            return -ENOMEM;
        p += len;
        const bool negated = *name == '!';
        int        holds = criterion(r, name + negated, &p);
        XD_TRY(holds);
        if ((holds != 0) == negated) {
            r->active = false; /* what follows, a command among it, does not count */
            return 0;
        }
    }
}

static int host_block(reading *r, const char *rest)
{
    xd_autobuf list = XD_BUF_INIT;
    for (const char *p = rest;;) {
        xd_autofree char *w = NULL;
        int               got = xd_ssh_next_word(&p, &w);
        if (got < 0)
            return got == -EINVAL ? wrong(r, "a quote that is not closed", NULL) : got;
        if (got == 0)
            break;
        XD_TRY(xd_buf_printf(&list, "%s ", w));
    }
    if (!list.len)
        return leave_line(r, "Host");
    r->active = xd_ssh_match_list(r->c->given, xd_buf_cstr(&list), " ", false);
    return 0;
}

/* "Keyword value", "Keyword=value". */
static int read_line(reading *r, char *line)
{
    line[strcspn(line, "\r\n")] = 0;
    char *p = line + strspn(line, " \t\f");
    if (!*p || *p == '#')
        return 0;
    for (size_t n = strlen(p); n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\f');)
        p[--n] = 0;
    const size_t len = strcspn(p, " \t=\"");
    char         name[64];
    if (len >= sizeof(name))
        return wrong(r, "this is no keyword of ssh_config:", p);
    memcpy(name, p, len);
    name[len] = 0;
    p += len;
    p += strspn(p, " \t");
    if (*p == '=')
        p++;
    p += strspn(p, " \t");
    if (strcasecmp(name, "host") == 0)
        return host_block(r, p);
    if (strcasecmp(name, "match") == 0)
        return match_block(r, p);
    if (strcasecmp(name, "include") == 0)
        return r->active ? include(r, p) : 0;
    const int word = xd_ssh_word_find(name);
    if (word >= 0)
        return r->active ? set(r, word, p) : 0;
    const char *ignored = xd_ssh_conf_value(r->c, "ignoreunknown");
    char        what[100];
    snprintf(what, sizeof(what), "the keyword %s", name);
    lower(name);
    if (ignored && xd_ssh_match_list(name, ignored, ",", true))
        return 0;
    return leave_line(r, what); /* ssh refuses it in a block for other hosts, too */
}

static int read_lines(reading *r, xd_buf *text)
{
    char *rest = (char *)(uintptr_t)xd_buf_cstr(text);
    for (char *line = rest; line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        r->line++;
        XD_TRY(read_line(r, line));
    }
    return 0;
}

/* ssh refuses a file that others may write. */
static int check_owner(const reading *r, const char *path)
{
    struct stat st;
    if (!r->of_user || stat(path, &st) != 0)
        return 0;
    if ((st.st_uid != 0 && st.st_uid != getuid()) || (st.st_mode & 022))
        return xd_error_set(r->err, -EACCES, "Bad owner or permissions on %s", path);
    return 0;
}

static int read_file(reading *r, const char *path, bool must_be_there)
{
    xd_autobuf text = XD_BUF_INIT;
    int        e = xd_path_read_file(path, CONFIG_MAX, &text, NULL);
    if (e < 0)
        return !must_be_there && (e == -ENOENT || e == -ENOTDIR)
                   ? 0
                   : xd_error_set(r->err, e, "cannot read %s: %s", path, xd_error_name(e));
    XD_TRY(check_owner(r, path));
    r->file = path;
    r->line = 0;
    return read_lines(r, &text);
}

/* ---- the options of the spec ---------------------------------------------------------------------------- */

static int option_line(reading *r, const char *keyword, const char *value)
{
    xd_autobuf line = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&line, "%s%s%s", keyword, *keyword ? " " : "", value));
    (void)!xd_buf_cstr(&line);
    return read_line(r, (char *)line.data);
}

/* ssh's own options that say the same as a keyword; those of `alone` take no value. */
static int option(reading *r, char letter, const char *value, char **ret_file)
{
    static const struct {
        char        letter;
        const char *keyword;
    } with[] = { { 'p', "Port" }, { 'l', "User" },        { 'i', "IdentityFile" },
                 { 'o', "" },     { 'J', "ProxyJump" },   { 'c', "Ciphers" },
                 { 'm', "MACs" }, { 'b', "BindAddress" }, { 'S', "ControlPath" } };
    char      what[64];
    const int family = xd_ssh_word_find("addressfamily");
    switch (letter) {
    case 'i': { /* ssh goes on without a file that is not there */
        xd_autofree char *path = value ? xd_ssh_conf_expand(r->c, value) : NULL;
        if (path && access(path, F_OK) != 0)
            return 0;
        break;
    }
    case '4':
    case '6': /* the last one counts */
        free(r->c->at[family].value);
        r->c->at[family].value = NULL;
        return set_word(r, family, letter == '4' ? "inet" : "inet6");
    case 'C':
        return option_line(r, "Compression", "yes");
    case 'A':
        return option_line(r, "ForwardAgent", "yes");
    case 'F':
        if (!value)
            return -EINVAL;
        free(*ret_file);
        *ret_file = strdup(value);
        return *ret_file ? 0 : -ENOMEM;
    default:
        break;
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(with); i++)
        if (with[i].letter == letter)
            return *with[i].keyword ? set_word(r, xd_ssh_word_find(with[i].keyword), value)
                                    : option_line(r, "", value);
    if (strchr("TaxqvnkGg", letter)) /* of no meaning for a command without a terminal */
        return 0;
    snprintf(what, sizeof(what), "the option -%c", letter);
    leave(r->c, what, NULL);
    return 0;
}

#define WITH_VALUE "BbcDEeFIiJLlmOoPpQRSWw"

/* The words that are options (engine/ssh_args.h has looked at them). */
static int read_options(reading *r, const xd_ssh_args *args, char **ret_file)
{
    for (size_t i = 0; i < args->count; i++) {
        if (i == args->host)
            continue;
        for (const char *p = args->words[i] + 1; *p; p++) {
            if (!strchr(WITH_VALUE, *p)) {
                XD_TRY(option(r, *p, NULL, ret_file));
                continue;
            }
            const char *value = p[1] ? p + 1 : args->words[++i];
            XD_TRY(value ? option(r, *p, value, ret_file) : -EINVAL);
            break;
        }
    }
    return 0;
}

/* What a user would type for the same connection. */
static int say_words(xd_ssh_conf *c, char **words, const char *file)
{
    xd_autobuf out = XD_BUF_INIT;
    if (file) {
        XD_TRY(xd_buf_add_str(&out, "-F "));
        XD_TRY(xd_text_shell_quote(&out, file));
    }
    for (; *words; words++) {
        XD_TRY(xd_buf_add_str(&out, out.len ? " " : ""));
        XD_TRY(xd_text_shell_quote(&out, *words));
    }
    c->words = xd_bytes_dup(xd_buf_view(&out));
    return c->words ? 0 : -ENOMEM;
}

/* [USER@]HOST; *ret_user = NULL without a user. */
static int read_host(reading *r, const char *text, char **ret_user)
{
    char *host = r->c->given = strdup(text), *at = host ? strrchr(host, '@') : NULL;
    if (!host)
        return -ENOMEM;
    if (at) {
        *at = 0;
        if (at > host && !(*ret_user = strdup(host)))
            return -ENOMEM;
        host = at + 1;
    }
    if (*host == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = 0;
        host++;
    }
    if (!*host || *host == '-' || strpbrk(host, " \t\"'`$;&|<>\\\n"))
        return xd_error_set(r->err, -EINVAL, "'%s' is no name of a host", host);
    memmove(r->c->given, host, strlen(host) + 1);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static int know_user(xd_ssh_conf *c)
{
    char          text[4096];
    struct passwd pw, *found = NULL;
    const char   *home = getenv("HOME");
    /* ssh asks the system, not $HOME */
    if (getpwuid_r(getuid(), &pw, text, sizeof(text), &found) == 0 && found) {
        c->home = strdup(pw.pw_dir);
        c->local_user = strdup(pw.pw_name);
    } else {
        c->home = strdup(home ? home : "/");
        c->local_user = strdup("unknown");
    }
    return c->home && c->local_user ? 0 : -ENOMEM;
}

/* A key that is held by a security key is named by a file, too. */
static int look_at_keys(xd_ssh_conf *c)
{
    char what[200];
    for (const char *p = xd_ssh_conf_get(c, "identityfile", ""); *p;) {
        const size_t      len = strcspn(p, "\n");
        xd_autofree char *name = strndup(p, len), *path = name ? xd_ssh_conf_expand(c, name) : NULL;
        if (!name)
            return -ENOMEM;
        if (!path)
            leave(c, "IdentityFile, of which xd does not know a token,", NULL);
        if (path && xd_ssh_is_security_key(path)) {
            snprintf(what, sizeof(what), "a security key (%.150s)", path);
            leave(c, what, NULL);
        }
        p += len;
        p += *p == '\n';
    }
    return 0;
}

static int finish(xd_ssh_conf *c, xd_error *err)
{
    uint64_t       port;
    const char    *text = xd_ssh_conf_get(c, "port", "22"), *host = xd_ssh_conf_value(c, "hostname");
    const char    *user = xd_ssh_conf_value(c, "user");
    struct servent of, *service = NULL; /* ssh takes the name of one for a port, too */
    char           room[1024];
    if (getservbyname_r(text, "tcp", &of, room, sizeof(room), &service) == 0 && service)
        port = ntohs((uint16_t)service->s_port);
    else if (xd_text_u64(text, 1, 65535, &port) < 0)
        return xd_error_set(err, -EINVAL, "'%s' is no port: it is a number from 1 to 65535", text);
    c->port = (uint16_t)port;
    c->user = strdup(user ? user : c->local_user);
    c->host = strdup(c->given);
    if (!c->user || !c->host)
        return -ENOMEM;
    if (host) {
        char *expanded = host_name(c, host);
        if (!expanded)
            leave(c, "HostName", c->at[xd_ssh_word_find("hostname")].where);
        else
            free(c->host);
        c->host = expanded ? expanded : c->host;
    }
    lower(c->host);
    for (int i = 0; xd_ssh_words[i].name; i++)
        if (c->at[i].value && !xd_ssh_word_suits(i, c->at[i].value))
            leave(c, xd_ssh_words[i].shown, c->at[i].where);
    static const char *const lists[] = { "userknownhostsfile", "globalknownhostsfile" };
    for (size_t i = 0; i < XD_ARRAY_LEN(lists); i++)
        for (const char *list = xd_ssh_conf_get(c, lists[i], "");;) {
            xd_autofree char *word = NULL, *file = NULL;
            if (xd_ssh_next_word(&list, &word) <= 0)
                break;
            if (!(file = xd_ssh_conf_expand(c, word)))
                leave(c, lists[i], c->at[xd_ssh_word_find(lists[i])].where);
        }
    return look_at_keys(c);
}

static int read_files(reading *r, const char *file)
{
    xd_autofree char *own = file ? xd_ssh_conf_expand(r->c, file) : xd_path_join(r->c->home, ".ssh/config");
    if (!own)
        return -ENOMEM;
    if (strcasecmp(own, "none") == 0)
        return 0;
    r->of_user = !file;
    r->active = true;
    XD_TRY(read_file(r, own, file != NULL));
    r->of_user = false;
    r->of_system = true;
    r->active = true;
    return file ? 0 : read_file(r, "/etc/ssh/ssh_config", false);
}

static int fill(xd_ssh_conf *c, const xd_target *target, xd_error *err)
{
    xd_autossh_args   args = { 0 };
    xd_autofree char *file = NULL, *user = NULL;
    reading           r = { .c = c, .err = err, .file = "the spec", .active = true };
    char              why[200];
    int               n = 0;
    while (xd_ssh_words[n].name)
        n++;
    c->at = calloc((size_t)n + 1, sizeof(*c->at));
    if (!c->at)
        return -ENOMEM;
    XD_TRY(know_user(c));
    int e = xd_ssh_args_parse(&args, target->spec->target, why, sizeof(why));
    if (e < 0)
        return e == -ENOMEM ? e : xd_error_set(err, e, "%s", why);
    XD_TRY(say_words(c, args.words, target->spec->ssh_config));
    XD_TRY(read_host(&r, args.words[args.host], &user)); /* of which options may have tokens */
    XD_TRY(read_options(&r, &args, &file));
    XD_TRY(user ? set_word(&r, xd_ssh_word_find("user"), user) : 0);
    if (target->spec->jump)
        leave(c, "via=", NULL);
    XD_TRY(read_files(&r, file ? file : target->spec->ssh_config));
    return finish(c, err);
}

int xd_ssh_conf_new(xd_ssh_conf **ret, const xd_target *target, xd_error *err)
{
    xd_auto(xd_ssh_conf) *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    XD_TRY(fill(c, target, err));
    *ret = xd_take(&c);
    return 0;
}
