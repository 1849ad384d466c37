/* actors/server_there.c - xd_server_on of engine/xd.h: a server on another host (gateways/server_there.h), and the keys on this side. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/address.h"
#include "engine/base/text.h"
#include "engine/config.h"
#include "engine/trust.h"
#include "engine/xd.h"
#include "gateways/agent_program.h"
#include "gateways/server_there.h"
#include "gateways/ssh.h"

#define REACH_MS 40000u /* to connect, and to send the program */
#define ASK_MS 3000     /* for the server's answer to this host */
#define DEFAULT_AGENTS 256u
#define DEFAULT_CONNECTIONS 4096u
#define ARGS_MAX (2 * XD_SERVER_ADDRESSES + 12)
#define WAYS_MAX (3 * XD_SERVER_ADDRESSES)

/* An address of the server, as seen from here. */
typedef struct way {
    xd_address at;
    bool       answers; /* with the server's key */
    bool       other;   /* with another one */
} way;

typedef struct placing {
    const xd_server_place *place;
    xd_xspec               spec;
    char                  *given, *host; /* its names; owned */
    char                  *program;      /* xdserve here; owned */
    xd_buf                 key_line, numbers;
    const char            *args[ARGS_MAX];
    xd_server_report       report;
    way                    ways[WAYS_MAX];
    size_t                 n_ways;
    char                   why[XD_TEXT]; /* the first one does not answer */
    char                   forgotten[sizeof(((xd_address *)0)->text)];
} placing;

/* ---- what is asked for --------------------------------------------------------------------------------------------- */

static int read_spec(placing *p, xd_error *err)
{
    const char *text = p->place->spec ? p->place->spec : "";
    XD_TRY(xd_xspec_parse(&p->spec, text, err));
    const xd_xspec *s = &p->spec;
    if (s->kind != XD_SPEC_SSH)
        return xd_error_set(err, -EINVAL, "'%.200s' does not lead there by ssh: ssh=[USER@]HOST is expected",
                            text);
    if (s->count != 1 || s->python || s->chdir || s->id || s->nice || s->via || s->n_env ||
        s->dont_write_bytecode)
        return xd_error_set(
            err, -EINVAL,
            "'%.200s': a server on a host takes ssh= and ssh_config= alone; the rest belongs to the "
            "runs (--tx socket=HOST//python=...)",
            text);
    const int r = xd_ssh_names(s, &p->given, &p->host, err);
    return r < 0 && r != -ENOMEM ? -EINVAL : r;
}

static void take_key(void *arg, const xd_key_info *k)
{
    xd_buf *line = arg;
    if (!line->len && strcmp(k->file, XD_KEY_FILE) == 0 &&
        xd_buf_printf(line, XD_KEY_WORD " %s%s%s", k->key, *k->comment ? " " : "", k->comment) < 0)
        xd_buf_clear(line);
}

static int own_key(placing *p, xd_error *err)
{
    xd_autofree char *folder = NULL;
    char              why[XD_TEXT] = "";
    XD_TRY(xd_keys_folder(p->place->keys, &folder, err));
    int r = xd_keys_list(folder, take_key, &p->key_line, why);
    if (r < 0)
        return xd_error_set(err, r, "%s", why);
    return p->key_line.len
               ? 0
               : xd_error_set(err, -ENOKEY,
                              "there is no key of this user yet (%s/" XD_KEY_FILE "): xdctl keygen makes one",
                              folder);
}

static int check_bind(const char *bind, xd_error *err)
{
    xd_address at;
    uint8_t    number[16];
    if (*bind == ':')
        return 0;
    XD_TRY(xd_address_parse(&at, bind, XD_PORT, err));
    at.host[strcspn(at.host, "%")] = 0; /* the zone of a link-local one */
    return inet_pton(AF_INET, at.host, number) == 1 || inet_pton(AF_INET6, at.host, number) == 1
               ? 0
               : xd_error_set(err, -EINVAL, "'%.200s' is no numeric address with a port", bind);
}

static int make_args(placing *p, xd_error *err)
{
    const xd_server_place *o = p->place;
    size_t                 n = 0;
    XD_TRY(xd_buf_printf(&p->numbers, "%u", o->max_agents ? o->max_agents : DEFAULT_AGENTS));
    XD_TRY(xd_buf_add_byte(&p->numbers, 0));
    const size_t second = p->numbers.len;
    XD_TRY(xd_buf_printf(&p->numbers, "%u", o->drain_ms / 1000u));
    XD_TRY(xd_buf_add_byte(&p->numbers, 0));
    const size_t third = p->numbers.len;
    XD_TRY(xd_buf_printf(&p->numbers, "%u", o->max_connections ? o->max_connections : DEFAULT_CONNECTIONS));
    XD_TRY(xd_buf_add_byte(&p->numbers, 0));
    for (size_t i = 0; o->bind && o->bind[i]; i++) {
        if (i == XD_SERVER_ADDRESSES)
            return xd_error_set(err, -EINVAL, "a server listens on %u addresses at most",
                                XD_SERVER_ADDRESSES);
        XD_TRY(check_bind(o->bind[i], err));
        p->args[n++] = "--bind";
        p->args[n++] = o->bind[i];
    }
    p->args[n++] = "--max-agents";
    p->args[n++] = (const char *)p->numbers.data;
    p->args[n++] = "--max-connections";
    p->args[n++] = (const char *)p->numbers.data + third;
    p->args[n++] = "--drain";
    p->args[n++] = (const char *)p->numbers.data + second;
    return 0;
}

static int prepare(placing *p, xd_error *err)
{
    const xd_server_place *o = p->place;
    if (o->verb < XD_SERVER_START || o->verb > XD_SERVER_STOP)
        return xd_error_set(err, -EINVAL, "xd_server_place: verb is none");
    if (o->keys_there && *o->keys_there != '/')
        return xd_error_set(err, -EINVAL, "the folder of keys there is an absolute path, not '%.200s'",
                            o->keys_there);
    XD_TRY(read_spec(p, err));
    if (o->verb == XD_SERVER_STOP)
        return 0;
    XD_TRY(make_args(p, err));
    XD_TRY(own_key(p, err));
    return xd_program_find("xdserve", &p->program, err);
}

static int carry_out(placing *p, const xd_config *cfg, xd_error *err)
{
    static const char *const verbs[] = { NULL, "start", "replace", "stop" };
    const bool               stops = p->place->verb == XD_SERVER_STOP;
    const xd_server_there    there = { .verb = verbs[p->place->verb],
                                       .program = p->program,
                                       .key_line = stops ? NULL : xd_buf_cstr(&p->key_line),
                                       .keys = p->place->keys_there,
                                       .args = stops ? NULL : p->args };
    const xd_target          target = { .spec = &p->spec,
                                        .server = &there,
                                        .output_limit = XD_OUTPUT_DEFAULT,
                                        .timeout_ms = REACH_MS,
                                        .ssh_accept_new = cfg && cfg->ssh_accept_new };
    xd_error                 why = { 0 };
    int r = xd_server_there_run(&p->report, &target, cfg ? cfg->ssh : NULL, p->place->stop, &why);
    return r < 0 ? xd_error_set(err, r, "%s: %s", p->spec.text, *why.text ? why.text : xd_error_name(r)) : 0;
}

/* ---- its addresses here -------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static void add_way(placing *p, const char *host, uint16_t port)
{
    char       text[XD_ADDRESS_HOST + 16];
    const bool brackets = strchr(host, ':') != NULL;
    way       *w = &p->ways[p->n_ways];
    snprintf(text, sizeof(text), "%s%.255s%s:%u", brackets ? "[" : "", host, brackets ? "]" : "",
             (unsigned)port);
    if (p->n_ways == WAYS_MAX || xd_address_parse(&w->at, text, XD_PORT, NULL) < 0)
        return;
    for (size_t i = 0; i < p->n_ways; i++)
        if (strcmp(p->ways[i].at.text, w->at.text) == 0)
            return;
    p->n_ways++;
}

/* By the names that ssh knows it by, and by the address that it listens on: one of its own leads to this host from here, and is left out. */
static void find_ways(placing *p)
{
    for (size_t i = 0; p->report.address[i]; i++) {
        xd_address at;
        if (xd_address_parse(&at, p->report.address[i], XD_PORT, NULL) < 0)
            continue;
        add_way(p, p->given, at.port);
        add_way(p, p->host, at.port);
        if (!is_loopback(at.host) && strcmp(at.host, "0.0.0.0") != 0 && strcmp(at.host, "::") != 0)
            add_way(p, at.host, at.port);
    }
}

static bool is_stopped(const placing *p)
{
    return p->place->stop && *p->place->stop;
}

static void try_ways(placing *p)
{
    for (size_t i = 0; i < p->n_ways && !is_stopped(p); i++) {
        way *w = &p->ways[i];
        char key[XD_KEY_Z85 + 1];
        char why[XD_TEXT] = "";
        if (xd_keys_ask(w->at.text, ASK_MS, key, why) == 0) {
            w->answers = strcmp(key, p->report.key) == 0;
            w->other = !w->answers;
            snprintf(why, sizeof(why), "another server answers at %s", w->at.text);
        }
        if (!*p->why)
            snprintf(p->why, sizeof(p->why), "%s", why);
    }
}

static bool any_answers(const placing *p)
{
    for (size_t i = 0; i < p->n_ways; i++)
        if (p->ways[i].answers)
            return true;
    return false;
}

/* Written down are the addresses that lead there from here; if none does, those that may from elsewhere. What another server answers at stays its own. */
static bool is_wanted(const placing *p, const way *w)
{
    return any_answers(p) ? w->answers : !w->other;
}

static int trust_ways(placing *p, xd_error *err)
{
    char why[XD_TEXT] = "";
    for (size_t i = 0; i < p->n_ways; i++) {
        const char *at = p->ways[i].at.text;
        if (!is_wanted(p, &p->ways[i]))
            continue;
        int r = xd_keys_known(p->place->keys, at, p->report.key, why);
        if (r == -EKEYREJECTED)
            snprintf(p->forgotten, sizeof(p->forgotten), "%s", at);
        if (r == 0 || r == -EKEYREJECTED)
            r = xd_keys_trust(p->place->keys, at, p->report.key, NULL, why);
        if (r < 0)
            return xd_error_set(err, r, "%s", why);
    }
    return 0;
}

/* ---- what is told -------------------------------------------------------------------------------------------------- */

static int state_of(const char *word)
{
    static const struct {
        const char *word;
        int         state;
    } states[] = { { "started", XD_SERVER_STARTED },   { "replaced", XD_SERVER_REPLACED },
                   { "runs", XD_SERVER_RUNS },         { "other", XD_SERVER_BUILD },
                   { "otherwise", XD_SERVER_OPTIONS }, { "stopped", XD_SERVER_STOPPED },
                   { "stopping", XD_SERVER_STOPPING }, { "none", XD_SERVER_NONE } };
    for (size_t i = 0; i < XD_ARRAY_LEN(states); i++)
        if (strcmp(states[i].word, word) == 0)
            return states[i].state;
    return 0;
}

static int tell(placing *p, int state, xd_server_fn fn, void *arg)
{
    const xd_server_report *r = &p->report;
    const char             *addresses[WAYS_MAX + 1] = { NULL };
    uint64_t                pid = 0;
    size_t                  n = 0;
    for (size_t i = 0; i < p->n_ways; i++)
        if (is_wanted(p, &p->ways[i]))
            addresses[n++] = p->ways[i].at.text;
    if (r->pid && xd_text_u64(r->pid, 1, INT32_MAX, &pid) < 0)
        pid = 0;
    const xd_server_found found = { .size = sizeof(found),
                                    .state = state,
                                    .pid = (int64_t)pid,
                                    .file = r->file,
                                    .log = r->log,
                                    .options = r->args,
                                    .bound = r->address,
                                    .key = r->key,
                                    .fingerprint = r->fingerprint,
                                    .authorized = r->authorized,
                                    .addresses = addresses,
                                    .forgotten = *p->forgotten ? p->forgotten : NULL,
                                    .unreached = p->n_ways && !any_answers(p) ? p->why : NULL };
    fn(arg, &found);
    return found.unreached || state == XD_SERVER_BUILD || state == XD_SERVER_OPTIONS;
}

static int place_it(placing *p, const xd_config *cfg, xd_server_fn fn, void *arg, xd_error *err)
{
    char print[XD_FINGERPRINT_SIZE];
    XD_TRY(prepare(p, err));
    XD_TRY(carry_out(p, cfg, err));
    const int  state = state_of(p->report.state);
    const bool usable = state == XD_SERVER_STARTED || state == XD_SERVER_REPLACED || state == XD_SERVER_RUNS;
    if (!state)
        return xd_error_set(err, -EPROTO, "%s: the host's answer is not known: %s", p->spec.text,
                            p->report.state);
    if (usable && (!p->report.key || xd_keys_fingerprint(p->report.key, print) < 0))
        return xd_error_set(err, -EPROTO, "%s: the server runs there, but its key cannot be read",
                            p->spec.text);
    if (usable) {
        find_ways(p);
        try_ways(p);
        if (is_stopped(p))
            return -ECANCELED;
        XD_TRY(trust_ways(p, err));
    }
    return tell(p, state, fn, arg);
}

static void release(placing *p)
{
    xd_server_report_release(&p->report);
    xd_xspec_release(&p->spec);
    xd_buf_release(&p->key_line);
    xd_buf_release(&p->numbers);
    free(p->given);
    free(p->host);
    free(p->program);
}

int xd_server_on(const xd_config *cfg, const xd_server_place *place, xd_server_fn fn, void *arg, char *err)
{
    placing  p = { .place = place };
    xd_error e = { 0 };
    int      r = place->size < sizeof(*place) ? xd_error_set(&e, -EINVAL, "xd_server_place: size is not set")
                                              : place_it(&p, cfg, fn, arg, &e);
    if (r < 0 && r != -ECANCELED && err)
        snprintf(err, XD_TEXT, "%s", *e.text ? e.text : xd_error_name(r));
    release(&p);
    return r == -ECANCELED ? 2 : r;
}
