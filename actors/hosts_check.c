/* actors/hosts_check.c - xd_hosts_check of engine/xd.h: looks at the hosts that a run with this config would use.
 * It opens the gateways of a run on a broker of its own, without a journal. In the place of the scheduler stands an actor that asks each
 * agent to look at its host (CHECK), and ends when all have answered or are lost. Where one of them is another environment than a plain
 * run would have here, such an agent is asked as well, for the packages to compare with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/apart.h"
#include "actors/env_start.h"
#include "actors/gateway_args.h"
#include "actors/limits.h"
#include "actors/packages.h"
#include "actors/scheduler.h"
#include "actors/supervisor.h"
#include "actors/sync_roots.h"
#include "engine/base/clock.h"
#include "engine/base/text.h"
#include "engine/hosts.h"
#include "engine/outcome.h"

#define CHECKER_MAGIC 0xc4ec4001u
#define LOOK_NS (60 * XD_S_NS) /* for an agent's answer: an interpreter on a slow disk */
#define LIST_NS (30 * XD_S_NS) /* more, for the packages: the adapter itself gives up before (installed.py) */

/* One row. The texts are owned. */
typedef struct row {
    xd_host           host;
    const xd_xspec   *spec;
    uint64_t          answer_by_ns; /* 0 = it was not asked yet */
    bool              over;
    bool              local;    /* its agent is started on this host */
    bool              compared; /* its packages are those of another environment than here's */
    bool              listed;
    xd_installed_list installed;
    xd_package       *packages; /* owned */
    char             *texts[24];
    size_t            n_texts;
} row;

typedef struct checking {
    xd_config      *cfg;
    xd_project_told told;
    xd_plan         plan;
    xd_folders      where;
    char            project[XD_PROJECT_NAME];
    xd_xspec        here; /* what a run without specs would use */
    row   *rows; /* one per environment of the plan; then that of `here`, where packages are compared */
    size_t n_rows;
} checking;

static const row *here_of(const checking *c)
{
    return c->n_rows > c->plan.count ? &c->rows[c->plan.count] : NULL;
}

/* ---- rows ----------------------------------------------------------------------------------------------- */

/* A copy that is fit for a terminal; NULL where there is nothing to tell, or no memory. */
static const char *keep(row *r, xd_bytes text)
{
    xd_autobuf out = XD_BUF_INIT;
    if (!text.len || r->n_texts == XD_ARRAY_LEN(r->texts) || xd_text_harmless(&out, text, false) < 0)
        return NULL;
    char *copy = strdup(xd_buf_cstr(&out));
    if (copy)
        r->texts[r->n_texts++] = copy;
    return copy;
}

static bool says(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

/* What was missing, when there was no session with an agent: as far as the transport's words tell it. */
static void blame(row *r, const char *why)
{
    /* Of ssh: a plain "Permission denied" is of a file or a folder. */
    static const char *const key[] = { "host key", "permission denied (", "authenticat", "passphrase",
                                       "password" };
    static const char *const agent[] = { "HELLO",       "agent",      "architecture",
                                         "shell",       "protocol",   "status ",
                                         "open failed", "no session", "starts no program" };
    xd_host                 *h = &r->host;
    if (!r->local && says(why, key, XD_ARRAY_LEN(key))) { /* first: its advice may name ssh's agent */
        h->reach = XD_CHECK_GOOD;
        h->key = XD_CHECK_BAD;
    } else if (r->local || says(why, agent, XD_ARRAY_LEN(agent))) {
        h->reach = XD_CHECK_GOOD;
        h->key = r->local ? XD_CHECK_NONE : XD_CHECK_GOOD;
        h->agent = XD_CHECK_BAD;
    } else {
        h->reach = XD_CHECK_BAD;
    }
}

static void fail(row *r, xd_bytes why)
{
    r->over = true;
    r->host.error = keep(r, xd_reason_without_spec(r->spec->text, why));
    if (!r->host.error)
        r->host.error = "no reason is given";
    if (!r->answer_by_ns)
        blame(r, r->host.error);
    else
        r->host.agent = XD_CHECK_BAD;
}

/* Without a list nothing else of the row is worse. */
static void take_packages(row *r, const xd_wire_HOST_CHECKED *m)
{
    if (m->listed && xd_installed_take(&r->installed, m->packages) < 0) {
        xd_installed_release(&r->installed);
        r->host.packages_error = "the list of its packages cannot be used: it is too long";
    } else if (m->listed) {
        r->listed = true;
    } else if (m->version.len) {
        r->host.packages_error = keep(r, m->unlisted);
        if (!r->host.packages_error)
            r->host.packages_error = "its agent lists none";
    }
}

static void take_answer(row *r, const xd_wire_HOST_CHECKED *m)
{
    xd_host *h = &r->host;
    h->error = m->failed ? keep(r, m->text) : NULL;
    if (m->failed && !h->error)
        h->error = "no reason is given";
    h->build_id = keep(r, m->build_id);
    h->folder = keep(r, m->folder);
    h->interpreter = keep(r, m->program);
    h->found = keep(r, m->found);
    h->version = keep(r, m->version);
    h->framework = keep(r, m->framework);
    h->free_bytes = m->free_bytes;
    h->memory_bytes = m->memory_bytes;
    h->agent = XD_CHECK_GOOD;
    h->disk = m->failed == XD_LOOK_FOLDER || m->failed == XD_LOOK_DISK ? XD_CHECK_BAD : XD_CHECK_GOOD;
    if (m->failed == XD_LOOK_INTERPRETER)
        h->python = XD_CHECK_BAD;
    else if (m->version.len)
        h->python = XD_CHECK_GOOD;
    if (m->failed == XD_LOOK_FRAMEWORK)
        h->pytest = XD_CHECK_BAD;
    else if (m->framework.len)
        h->pytest = XD_CHECK_GOOD;
    if (r->compared)
        take_packages(r, m);
    r->over = true;
}

/* ---- the actor ------------------------------------------------------------------------------------------- */

typedef struct checker {
    uint32_t  magic;
    xd_actor *actor;
    checking *all;
} checker;

static row *row_of(const checker *self, const xd_msg *m)
{
    return m->gateway < self->all->n_rows ? &self->all->rows[m->gateway] : NULL;
}

static int over(const checker *self)
{
    for (size_t i = 0; i < self->all->n_rows; i++)
        if (!self->all->rows[i].over)
            return 0;
    return XD_ACTOR_STOP;
}

static int ask(const checker *self, const row *r, uint16_t number)
{
    xd_autobuf        env = XD_BUF_INIT, body = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_ENV_START start = { 0 };
    char              address[XD_ADDRESS_LEN];
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_env_start_fill(&start, self->all->cfg, r->spec, self->all->project, &env));
    XD_TRY(xd_wire_ENV_START_encode(&body, &start));
    xd_wire_CHECK check = { .start = xd_buf_view(&body), .packages = r->compared };
    XD_TRY(xd_wire_CHECK_frame(&frame, 0, 0, &check));
    XD_TRY(xd_msg_new_take(&m, XD_MSG_CHECK, &frame));
    m->gateway = number;
    xd_gateway_address(number, address, sizeof(address));
    return xd_actor_send(self->actor, address, &m);
}

static int handle_up(void *state, const xd_msg *m)
{
    checker           *self = XD_CAST(state, checker, CHECKER_MAGIC);
    row               *r = row_of(self, m);
    xd_frame           f;
    xd_wire_GATEWAY_UP in;
    if (!r || xd_msg_frame(m, &f) < 0 || xd_wire_GATEWAY_UP_decode(f.body, f.len, &in) < 0)
        return 0;
    r->host.host = keep(r, in.host);
    r->host.system = keep(r, in.system);
    r->host.cpus = in.cpus;
    r->host.reach = XD_CHECK_GOOD;
    r->host.key = r->local ? XD_CHECK_NONE : XD_CHECK_GOOD;
    r->answer_by_ns = xd_clock_ns() + LOOK_NS + (r->compared ? LIST_NS : 0);
    return ask(self, r, m->gateway);
}

static int handle_checked(void *state, const xd_msg *m)
{
    checker             *self = XD_CAST(state, checker, CHECKER_MAGIC);
    row                 *r = row_of(self, m);
    xd_frame             f;
    xd_wire_HOST_CHECKED in;
    if (r && !r->over && xd_msg_frame(m, &f) == 0 && xd_wire_HOST_CHECKED_decode(f.body, f.len, &in) == 0)
        take_answer(r, &in);
    return over(self);
}

static int handle_down(void *state, const xd_msg *m)
{
    checker             *self = XD_CAST(state, checker, CHECKER_MAGIC);
    row                 *r = row_of(self, m);
    xd_frame             f;
    xd_wire_GATEWAY_DOWN in;
    if (r && !r->over && xd_msg_frame(m, &f) == 0 && xd_wire_GATEWAY_DOWN_decode(f.body, f.len, &in) == 0)
        fail(r, in.reason);
    return over(self);
}

/* The broker dropped a gateway, or its actor has ended with a fault. */
static int handle_gone(void *state, const xd_msg *m)
{
    checker *self = XD_CAST(state, checker, CHECKER_MAGIC);
    for (size_t i = 0; i < self->all->n_rows; i++) {
        char address[XD_ADDRESS_LEN];
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        if (strcmp(address, m->from) == 0 && !self->all->rows[i].over)
            fail(&self->all->rows[i],
                 XD_BYTES_LIT("the part of the engine that talks to its agent has ended"));
    }
    return over(self);
}

static int handle_nothing(void *state, const xd_msg *m)
{
    (void)state;
    (void)m;
    return 0;
}

static int checker_tick(void *state)
{
    checker       *self = XD_CAST(state, checker, CHECKER_MAGIC);
    const uint64_t now = xd_clock_ns();
    for (size_t i = 0; i < self->all->n_rows; i++) {
        row *r = &self->all->rows[i];
        if (!r->over && r->answer_by_ns && now >= r->answer_by_ns)
            fail(r, XD_BYTES_LIT("its agent did not answer in time: the interpreter there may hang"));
    }
    return over(self);
}

static int checker_init(void *state, xd_actor *actor, const void *args)
{
    checker *self = state;
    *self = (checker){ .magic = CHECKER_MAGIC, .actor = actor, .all = *(checking *const *)args };
    return xd_actor_set_tick(actor, 200);
}

static void checker_fini(void *state)
{
    (void)state;
}

static const xd_actor_spec checker_spec = {
    .name = "xd-checker",
    .size = sizeof(checker),
    .window = 65536,
    .init = checker_init,
    .tick = checker_tick,
    .fini = checker_fini,
    .handlers =
        (const xd_handler[]){
            { XD_MSG_GATEWAY_UP, handle_up },
            { XD_MSG_HOST_CHECKED, handle_checked },
            { XD_MSG_GATEWAY_DOWN, handle_down },
            { XD_MSG_GONE, handle_gone },
            { XD_MSG_UNKNOWN, handle_gone },
            { 0, NULL },
        },
    .other = handle_nothing,
};

/* ---- around it ------------------------------------------------------------------------------------------- */

/* "alpha,beta"; NULL = none has a name. */
static const char *ids_of(row *r, const xd_plan_gateway *g)
{
    xd_autobuf all = XD_BUF_INIT;
    for (size_t i = 0; i < g->n_ids; i++)
        if (g->ids[i] && xd_buf_printf(&all, "%s%s", all.len ? "," : "", g->ids[i]) < 0)
            return NULL;
    return keep(r, xd_buf_view(&all));
}

/* Where a spec is not as a run without specs: it may have other packages. Other runners have no interpreter. */
static bool compares(const checking *c)
{
    for (size_t i = 0; xd_config_is_pytest(c->cfg) && i < c->plan.count; i++)
        if (!xd_xspec_same_env(&c->plan.gateways[i].spec, &c->here))
            return true;
    return false;
}

static int make_row(checking *c, row *r, const xd_xspec *spec)
{
    r->local = spec->kind == XD_SPEC_POPEN;
    r->spec = spec;
    r->host = (xd_host){ .size = sizeof(xd_host), .spec = keep(r, xd_bytes_str(spec->text)) };
    r->installed = XD_INSTALLED_LIST_INIT;
    r->compared = here_of(c) && (r == here_of(c) || !xd_xspec_same_env(spec, &c->here));
    return r->host.spec ? 0 : -ENOMEM;
}

static int make_rows(checking *c, xd_error *err)
{
    XD_TRY(xd_xspec_parse(&c->here, "popen", err));
    const size_t n_rows = c->plan.count + compares(c);
    XD_TRY(xd_limits_check((uint32_t)n_rows, false, err));
    c->rows = calloc(n_rows ? n_rows : 1, sizeof(*c->rows));
    if (!c->rows)
        return -ENOMEM;
    c->n_rows = n_rows;
    for (size_t i = 0; i < c->plan.count; i++) {
        XD_TRY(make_row(c, &c->rows[i], &c->plan.gateways[i].spec));
        c->rows[i].host.workers = c->plan.gateways[i].workers;
        c->rows[i].host.ids = ids_of(&c->rows[i], &c->plan.gateways[i]);
    }
    return here_of(c) ? make_row(c, &c->rows[c->plan.count], &c->here) : 0;
}

/* The folder there is named as in a run. What a run would refuse to bring is not this check's business. */
static int name_project(checking *c)
{
    xd_sync_plan                 sync = XD_SYNC_PLAN_INIT;
    xd_error                     ignored = { 0 };
    xd_autofree const xd_xspec **specs = calloc(c->plan.count + 1, sizeof(*specs));
    if (!specs)
        return -ENOMEM;
    for (size_t i = 0; i < c->plan.count; i++)
        specs[i] = &c->plan.gateways[i].spec;
    xd_env_start_project(c->where.work, c->project);
    int r = xd_sync_plan_make(&sync, c->cfg, specs, c->plan.count, &c->where, &ignored);
    if (r == 0 && sync.base)
        snprintf(c->project, sizeof(c->project), "%s", sync.project);
    xd_sync_plan_release(&sync);
    return r == -ENOMEM ? r : 0;
}

static int prepare(checking *c, const xd_config *cfg, xd_error *err)
{
    XD_TRY(xd_config_copy(&c->cfg, cfg));
    if (c->cfg->args.count)
        return xd_error_set(err, -EINVAL, "'%.200s' is not an option of xd, and no tests are run",
                            c->cfg->args.at[0]);
    XD_TRY(xd_hosts_apply(c->cfg, err));
    XD_TRY(xd_config_fits(c->cfg, err));
    XD_TRY(xd_project_options_take(c->cfg, &c->told, err));
    XD_TRY(xd_plan_make(&c->plan, c->cfg, err));
    XD_TRY(xd_folders_init(&c->where, c->cfg, err));
    XD_TRY(xd_folders_apply(&c->where, c->cfg));
    XD_TRY(name_project(c));
    return make_rows(c, err);
}

static int start_all(void *arg, xd_supervisor *s, xd_bus *bus, xd_gateway_args *gateways, xd_error *err)
{
    checking *const c = arg, *const args = c;
    (void)bus;
    xd_child first = { .spec = &checker_spec, .address = XD_SCHEDULER_ADDRESS, .args = &args };
    XD_TRY(xd_supervisor_start(s, &first, err));
    for (size_t i = 0; i < c->n_rows; i++) {
        char address[XD_ADDRESS_LEN];
        XD_TRY(xd_gateway_args_make(&gateways[i], c->cfg, c->rows[i].spec, (uint16_t)i, &c->where, err));
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        xd_child gateway = { .spec = &xd_gateway_spec, .address = address, .args = &gateways[i] };
        XD_TRY(xd_supervisor_start(s, &gateway, err));
    }
    return 0;
}

static int check_all(checking *c, xd_error *err)
{
    const xd_apart all = { .count = c->n_rows, .start = start_all, .arg = c };
    return xd_apart_run(&all, err);
}

static void release(checking *c)
{
    for (size_t i = 0; i < c->n_rows; i++) {
        row *r = &c->rows[i];
        xd_installed_release(&r->installed);
        free(r->packages);
        while (r->n_texts)
            free(r->texts[--r->n_texts]);
    }
    free(c->rows);
    xd_xspec_release(&c->here);
    xd_folders_release(&c->where);
    xd_plan_release(&c->plan);
    xd_project_told_release(&c->told);
    xd_config_free(c->cfg);
}

/* Why the packages here are not known, or are none to compare with: no test runs here. NULL = they are. */
static const char *nothing_here(const row *here)
{
    if (here->listed && here->host.pytest == XD_CHECK_GOOD)
        return NULL;
    return here->host.error ? here->host.error : here->host.packages_error;
}

/* Of a row that has been looked at, as far as its interpreter runs. */
static int compare(const row *here, row *r)
{
    xd_autobuf text = XD_BUF_INIT;
    if (!r->compared || !r->listed)
        return 0;
    if (nothing_here(here)) {
        XD_TRY(xd_buf_printf(&text, "here: %s", nothing_here(here)));
        r->host.packages_error = keep(r, xd_buf_view(&text));
        return 0;
    }
    XD_TRY(xd_installed_compare(&here->installed, &r->installed, &r->packages, &r->host.n_packages));
    r->host.packages = r->packages;
    r->host.version_here = here->host.version;
    return 0;
}

int xd_hosts_check(const xd_config *cfg, xd_host_fn fn, void *arg, char *err)
{
    checking c = { .plan = XD_PLAN_INIT };
    xd_error e = { 0 };
    int      bad = 0;
    int      r = prepare(&c, cfg, &e);
    if (r == 0)
        r = check_all(&c, &e);
    for (size_t i = 0; r == 0 && i < c.plan.count; i++)
        r = here_of(&c) ? compare(here_of(&c), &c.rows[i]) : 0;
    for (size_t i = 0; r == 0 && i < c.plan.count; i++) {
        bad |= c.rows[i].host.error != NULL;
        r = fn(arg, &c.rows[i].host);
    }
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%.1000s", e.text[0] ? e.text : xd_error_name(r));
    if (r != -ETIMEDOUT)
        release(&c);
    return r != 0 ? r : bad;
}
