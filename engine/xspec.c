/* engine/xspec.c - see xspec.h. */
#include "engine/xspec.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/names.h"
#include "engine/ssh_args.h"

#define KNOWN_KEYS                                                                                 \
    "popen, ssh, socket, command, ssh_config, via, python, chdir, env:NAME, id, nice, cpus=auto, " \
    "dont_write_bytecode, execmodel"

static int bad(xd_error *err, const char *spec, const char *why)
{
    return xd_error_set(err, -EINVAL, "bad spec '%.200s': %s", spec, why);
}

void xd_xspec_release(xd_xspec *s)
{
    char *texts[] = { s->text, s->target, s->python, s->chdir, s->id, s->nice, s->ssh_config, s->via };
    for (size_t i = 0; i < XD_ARRAY_LEN(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < s->n_env; i++)
        free(s->env[i]);
    free(s->env);
    if (s->jump)
        xd_xspec_release(s->jump);
    free(s->jump);
    *s = (xd_xspec){ 0 };
}

static int add_env(xd_xspec *s, const char *name, const char *value)
{
    char **env = realloc(s->env, (s->n_env + 1) * sizeof(*env));
    if (!env)
        return -ENOMEM;
    s->env = env;
    xd_autobuf line = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&line, "%s=%s", name, value));
    env[s->n_env] = xd_bytes_dup(xd_buf_view(&line));
    if (!env[s->n_env])
        return -ENOMEM;
    s->n_env++;
    return 0;
}

static int set_once(char **at, const char *value, const char *key, const char *spec, xd_error *err)
{
    if (*at)
        return xd_error_set(err, -EINVAL, "bad spec '%.200s': the key '%s' is given twice", spec, key);
    *at = strdup(value);
    return *at ? 0 : -ENOMEM;
}

typedef struct parse {
    xd_xspec   *s;
    const char *spec;
    xd_error   *err;
    unsigned    kinds;
    bool        counted; /* NUM* is there */
} parse;

static int set_kind(parse *p, xd_xspec_kind kind, const char *value)
{
    if (p->kinds++)
        return bad(p->err, p->spec, "it names more than one of popen, ssh, socket, command");
    p->s->kind = kind;
    if (kind == XD_SPEC_POPEN)
        return value ? bad(p->err, p->spec, "popen takes no value") : 0;
    if (!value || !value[0])
        return bad(p->err, p->spec,
                   "ssh, socket and command need a value: ssh=USER@HOST, socket=HOST:PORT, command=PROGRAM "
                   "ARGUMENTS");
    return set_once(&p->s->target, value, "ssh", p->spec, p->err);
}

static int set_env(parse *p, const char *name, const char *value)
{
    if (!name[0] || !value)
        return bad(p->err, p->spec, "an environment entry is env:NAME=value");
    for (size_t i = 0; i < p->s->n_env; i++)
        if (strncmp(p->s->env[i], name, strlen(name)) == 0 && p->s->env[i][strlen(name)] == '=')
            return xd_error_set(p->err, -EINVAL, "bad spec '%.200s': env:%s is given twice", p->spec, name);
    return add_env(p->s, name, value);
}

static int set_cpus(parse *p, const char *value)
{
    if (!value || strcmp(value, "auto") != 0)
        return bad(p->err, p->spec, "cpus= takes only auto; a number of workers stands in front, as in 4*");
    if (p->counted)
        return bad(p->err, p->spec, "NUM* and cpus=auto both say how many workers");
    if (!p->s->count)
        return bad(p->err, p->spec, "the key 'cpus' is given twice");
    p->s->count = 0;
    return 0;
}

static int set_key(parse *p, const char *key, const char *value)
{
    xd_xspec *s = p->s;
    if (strcmp(key, "popen") == 0)
        return set_kind(p, XD_SPEC_POPEN, value);
    if (strcmp(key, "ssh") == 0)
        return set_kind(p, XD_SPEC_SSH, value);
    if (strcmp(key, "socket") == 0)
        return set_kind(p, XD_SPEC_SOCKET, value);
    if (strcmp(key, "command") == 0)
        return set_kind(p, XD_SPEC_COMMAND, value);
    if (strncmp(key, "env:", 4) == 0)
        return set_env(p, key + 4, value);
    if (strcmp(key, "cpus") == 0)
        return set_cpus(p, value);
    if (strcmp(key, "dont_write_bytecode") == 0) {
        if (value && strcmp(value, "1") != 0 && strcmp(value, "True") != 0)
            return bad(p->err, p->spec, "dont_write_bytecode takes no value");
        s->dont_write_bytecode = true;
        return add_env(s, "PYTHONDONTWRITEBYTECODE", "1");
    }
    if (strcmp(key, "execmodel") == 0) {
        /* Tests always run in the main thread here, which is what these two models mean for them. */
        if (!value || (strcmp(value, "main_thread_only") != 0 && strcmp(value, "thread") != 0))
            return bad(p->err, p->spec,
                       "execmodel is thread or main_thread_only; eventlet and gevent are not supported");
        return 0;
    }
    if (strcmp(key, "installvia") == 0)
        return bad(p->err, p->spec,
                   "installvia= is not needed: nothing has to be installed there first; leave it out");
    static const struct {
        const char *name;
        size_t      offset;
    } texts[] = { { "python", offsetof(xd_xspec, python) },
                  { "chdir", offsetof(xd_xspec, chdir) },
                  { "id", offsetof(xd_xspec, id) },
                  { "nice", offsetof(xd_xspec, nice) },
                  { "ssh_config", offsetof(xd_xspec, ssh_config) },
                  { "via", offsetof(xd_xspec, via) } };
    for (size_t i = 0; i < XD_ARRAY_LEN(texts); i++) {
        if (strcmp(key, texts[i].name) != 0)
            continue;
        if (!value || !value[0])
            return xd_error_set(p->err, -EINVAL, "bad spec '%.200s': the key '%s' needs a value", p->spec,
                                key);
        return set_once((char **)((char *)s + texts[i].offset), value, key, p->spec, p->err);
    }
    return xd_error_set(p->err, -EINVAL, "bad spec '%.200s': unknown key '%.100s'%s; known are " KNOWN_KEYS,
                        p->spec, key, p->kinds || value ? "" : " (a host is ssh=HOST)");
}

/* NUM* in front: *ret_rest is what follows. */
static int take_count(parse *p, const char **ret_rest)
{
    const char *star = strchr(p->spec, '*');
    size_t      digits = strspn(p->spec, "0123456789");
    p->s->count = 1;
    *ret_rest = p->spec;
    if (!star || p->spec + digits != star)
        return 0;
    xd_autofree char *number = strndup(p->spec, digits);
    uint64_t          n;
    if (!number)
        return -ENOMEM;
    if (xd_text_u64(number, 1, XD_XSPEC_MAX_COUNT, &n) < 0)
        return bad(p->err, p->spec, "the number before * is from 1 to 1024");
    p->s->count = (uint32_t)n;
    p->counted = true;
    *ret_rest = star + 1;
    return 0;
}

static int parse_keys(parse *p, const char *rest)
{
    if (!rest[0])
        return bad(p->err, p->spec, "it is empty; the simplest one is popen");
    for (;;) {
        const char       *end = strstr(rest, "//");
        xd_autofree char *word = end ? strndup(rest, (size_t)(end - rest)) : strdup(rest);
        if (!word)
            return -ENOMEM;
        if (!word[0])
            return bad(p->err, p->spec, "there is nothing between or after //");
        char *value = strchr(word, '=');
        if (value)
            *value++ = 0;
        XD_TRY(set_key(p, word, value));
        if (!end)
            return p->kinds ? 0 : bad(p->err, p->spec, "it says none of popen, ssh=, socket= and command=");
        rest = end + 2;
    }
}

static int check_ssh(parse *p)
{
    const xd_xspec *s = p->s;
    xd_autossh_args args = { 0 };
    char            why[256] = "";
    if (s->ssh_config && s->kind != XD_SPEC_SSH)
        return bad(p->err, p->spec, "ssh_config= goes with ssh= only");
    if (s->via && (s->kind == XD_SPEC_SOCKET || s->kind == XD_SPEC_COMMAND))
        return bad(p->err, p->spec, "via= goes with ssh= and popen only");
    if (s->kind != XD_SPEC_SSH)
        return 0;
    int r = xd_ssh_args_parse(&args, s->target, why, sizeof(why));
    return r == -EINVAL ? bad(p->err, p->spec, why) : r;
}

static int check_nice(parse *p)
{
    if (!p->s->nice)
        return 0;
    const char *digits = p->s->nice[0] == '-' ? p->s->nice + 1 : p->s->nice;
    uint64_t    n;
    return xd_text_u64(digits, 0, 20, &n) < 0 ? bad(p->err, p->spec, "nice is a number from -20 to 20") : 0;
}

/* It becomes part of file names and of reports, and may not be taken for a name that is given to another worker. */
static int check_id(parse *p)
{
    const char *id = p->s->id;
    if (!id)
        return 0;
    if (p->s->count != 1)
        return bad(p->err, p->spec, "id= names one worker, NUM* and cpus=auto make several");
    if (xd_names_valid(xd_bytes_str(id)))
        return 0;
    if (xd_names_numbered(xd_bytes_str(id)))
        return bad(p->err, p->spec, "gw and a number are the names of workers without id=");
    return bad(p->err, p->spec,
               "id= is made of up to 64 letters, digits and any of ._- and begins with none of .-");
}

int xd_xspec_parse(xd_xspec *ret, const char *text, xd_error *err)
{
    xd_xspec    s = { 0 };
    parse       p = { .s = &s, .spec = text, .err = err };
    const char *rest = text;
    int         r = take_count(&p, &rest);
    if (r == 0)
        r = parse_keys(&p, rest);
    if (r == 0)
        r = check_nice(&p);
    if (r == 0)
        r = check_id(&p);
    if (r == 0)
        r = check_ssh(&p);
    if (r == 0 && !(s.text = strdup(rest)))
        r = -ENOMEM;
    if (r < 0) {
        xd_xspec_release(&s);
        return r;
    }
    *ret = s;
    return 0;
}

static bool copy_text(char **ret, const char *from)
{
    *ret = from ? strdup(from) : NULL;
    return !from || *ret;
}

int xd_xspec_join(xd_xspec *ret, const char *host)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&text, "join=%s", host));
    xd_xspec s = { .kind = XD_SPEC_JOIN, .text = xd_bytes_dup(xd_buf_view(&text)), .target = strdup(host) };
    if (!s.text || !s.target) {
        xd_xspec_release(&s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

int xd_xspec_copy(xd_xspec *ret, const xd_xspec *from)
{
    xd_xspec s = { .kind = from->kind,
                   .count = from->count,
                   .dont_write_bytecode = from->dont_write_bytecode };
    bool     ok = copy_text(&s.text, from->text) && copy_text(&s.target, from->target) &&
              copy_text(&s.python, from->python) && copy_text(&s.chdir, from->chdir) &&
              copy_text(&s.id, from->id) && copy_text(&s.nice, from->nice) &&
              copy_text(&s.ssh_config, from->ssh_config) && copy_text(&s.via, from->via);
    if (ok && from->jump)
        ok = (s.jump = calloc(1, sizeof(*s.jump))) && xd_xspec_copy(s.jump, from->jump) == 0;
    if (ok && from->n_env && !(s.env = calloc(from->n_env, sizeof(*s.env))))
        ok = false;
    for (size_t i = 0; ok && i < from->n_env; i++, s.n_env++)
        ok = copy_text(&s.env[i], from->env[i]);
    if (!ok) {
        xd_xspec_release(&s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

int xd_xspec_anonymous(xd_xspec *s)
{
    xd_autobuf  text = XD_BUF_INIT;
    const char *rest = s->text;
    while (s->id && rest) {
        const char *end = strstr(rest, "//");
        if (strncmp(rest, "id=", 3) != 0) {
            XD_TRY(text.len ? xd_buf_add_str(&text, "//") : 0);
            XD_TRY(xd_buf_add(&text, rest, end ? (size_t)(end - rest) : strlen(rest)));
        }
        rest = end ? end + 2 : NULL;
    }
    if (!s->id)
        return 0;
    char *without = xd_bytes_dup(xd_buf_view(&text));
    if (!without)
        return -ENOMEM;
    free(s->text);
    s->text = without;
    free(s->id);
    s->id = NULL;
    return 0;
}

int xd_xspec_distinct(const xd_xspec *all, size_t count, xd_error *err)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; all[i].id && k < i; k++)
            if (all[k].id && strcmp(all[i].id, all[k].id) == 0)
                return xd_error_set(err, -EINVAL,
                                    "spec '%.200s': id=%s is that of another spec, too ('%.200s'): each "
                                    "worker needs a name of its own",
                                    all[i].text, all[i].id, all[k].text);
    return 0;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool xd_xspec_same_env(const xd_xspec *a, const xd_xspec *b)
{
    if (a->kind != b->kind || !same(a->target, b->target) || !same(a->python, b->python) ||
        !same(a->chdir, b->chdir) || !same(a->nice, b->nice) || !same(a->ssh_config, b->ssh_config) ||
        !same(a->via, b->via) || a->dont_write_bytecode != b->dont_write_bytecode || a->n_env != b->n_env)
        return false;
    for (size_t i = 0; i < a->n_env; i++)
        if (strcmp(a->env[i], b->env[i]) != 0)
            return false;
    return true;
}
