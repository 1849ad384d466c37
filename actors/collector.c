/* actors/collector.c - see collector.h. */
#include "actors/collector.h"

#include <stdlib.h>
#include <string.h>

#include "actors/scheduler.h"
#include "engine/collect.h"
#include "gateways/gateway.h"

#define COLLECTOR_MAGIC 0xc011ec70u

typedef struct collector {
    uint32_t          magic;
    xd_actor         *actor; /* borrowed; outlives us */
    xd_collector_args args;
    xd_collect       *core;
    xd_msg          **parts; /* owned: the core looks into them */
    size_t            n_parts, cap;
    bool             *dropped; /* of each gateway: nothing of it is heard any more, except its end */
} collector;

/* ---- out --------------------------------------------------------------------------------------------- */

static int pass_on(collector *self, const xd_msg *in)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_share(&m, in));
    return xd_actor_send(self->actor, XD_SCHEDULER_ADDRESS, &m);
}

static int say(collector *self, uint16_t type, uint16_t gateway, const void *body, size_t len)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, type, body, len));
    m->gateway = gateway;
    return xd_actor_send(self->actor, XD_SCHEDULER_ADDRESS, &m);
}

static int ask_list(collector *self, uint16_t gateway)
{
    xd_autobuf frame = XD_BUF_INIT;
    xd_auto(xd_msg) *m = NULL;
    char address[XD_ADDRESS_LEN];
    XD_TRY(xd_wire_SEND_LIST_frame(&frame, 0, 0, &(xd_wire_SEND_LIST){ 0 }));
    XD_TRY(xd_msg_new_take(&m, XD_MSG_SEND_LIST, &frame));
    m->gateway = gateway;
    xd_gateway_address(gateway, address, sizeof(address));
    return xd_actor_send(self->actor, address, &m);
}

/* As one agent sends its ids. */
static int more(collector *self, const xd_collect_command *c)
{
    xd_autobuf frame = XD_BUF_INIT;
    XD_TRY(xd_wire_COLLECT_IDS_frame(&frame, 0, 0, &c->more));
    return say(self, XD_MSG_MORE, c->gateway, frame.data, frame.len);
}

static int reorder(collector *self, const xd_collect_command *c)
{
    xd_autobuf frame = XD_BUF_INIT;
    XD_TRY(xd_wire_REORDER_frame(&frame, 0, 0, &(xd_wire_REORDER){ .places = c->places }));
    return say(self, XD_MSG_REORDER, c->gateway, frame.data, frame.len);
}

static const char *spec_of(const collector *self, uint16_t gateway)
{
    return gateway < self->args.count ? self->args.specs[gateway] : "";
}

static int different(collector *self, const xd_collect_command *c)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_collect_describe(self->core, c->gateway, spec_of(self, xd_collect_owner(self->core, 0)),
                               spec_of(self, c->gateway), &text));
    return say(self, XD_MSG_DIFFERENT, c->gateway, text.data, text.len);
}

static int follow(collector *self, const xd_collect_command *c)
{
    switch (c->kind) {
    case XD_COLLECT_SEND_LIST:
        return ask_list(self, c->gateway);
    case XD_COLLECT_AGREED:
        return say(self, XD_MSG_AGREED, c->gateway, &c->collection, sizeof(c->collection));
    case XD_COLLECT_REORDER:
        return reorder(self, c);
    case XD_COLLECT_DIFFERENT:
        return different(self, c);
    case XD_COLLECT_MORE:
        return more(self, c);
    case XD_COLLECT_UNKNOWN:
        return say(self, XD_MSG_DIFFERENT, c->gateway, NULL, 0);
    case XD_COLLECT_COMPLETE:
        return say(self, XD_MSG_WHOLE, c->gateway, &c->collection, sizeof(c->collection));
    }
    return 0;
}

static int drain(collector *self)
{
    xd_collect_command c;
    int                r;
    while ((r = xd_collect_next(self->core, &c)) == 1)
        XD_TRY(follow(self, &c));
    return r;
}

static void forget_parts(collector *self)
{
    while (self->n_parts)
        xd_msg_free(self->parts[--self->n_parts]);
}

/* What every event ends with: what follows from it. An agent that contradicts its own words is dropped; GATEWAY_DOWN, which
 * comes of that, brings the rest. */
static int after(collector *self, const xd_msg *m, int r)
{
    static const char why[] = "the agent broke the protocol: its collection contradicts what was agreed";
    if (r == -EPROTO) {
        self->dropped[m->gateway] = true;
        r = say(self, XD_MSG_DROP, m->gateway, why, sizeof(why) - 1);
    }
    if (r >= 0)
        r = drain(self);
    if (r == 0 && xd_collect_over(self->core, self->args.count))
        forget_parts(self);
    return r;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

static bool hears(const collector *self, const xd_msg *m)
{
    return m->gateway < self->args.count && !self->dropped[m->gateway];
}

static int take_collected(collector *self, const xd_msg *m)
{
    xd_frame          f;
    xd_wire_COLLECTED in;
    XD_TRY(xd_msg_frame(m, &f));
    XD_TRY(xd_wire_COLLECTED_decode(f.body, f.len, &in));
    XD_TRY(pass_on(self, m));
    return in.exit_status < 0 ? xd_collect_collected(self->core, m->gateway, &in)
                              : xd_collect_lost(self->core, m->gateway); /* it has nothing to run */
}

static int handle_collected(void *state, const xd_msg *m)
{
    collector *self = XD_CAST(state, collector, COLLECTOR_MAGIC);
    return hears(self, m) ? after(self, m, take_collected(self, m)) : 0;
}

static int keep(collector *self, xd_msg **m)
{
    if (self->n_parts == self->cap) {
        const size_t cap = self->cap ? 2 * self->cap : 8;
        xd_msg     **parts = realloc(self->parts, cap * sizeof(*parts));
        if (!parts)
            return -ENOMEM;
        self->parts = parts;
        self->cap = cap;
    }
    self->parts[self->n_parts++] = xd_take(m);
    return 0;
}

static int take_ids(collector *self, const xd_msg *m)
{
    xd_auto(xd_msg) *part = NULL;
    xd_frame            f;
    xd_wire_COLLECT_IDS in;
    XD_TRY(xd_msg_share(&part, m));
    XD_TRY(xd_msg_frame(part, &f));
    XD_TRY(xd_wire_COLLECT_IDS_decode(f.body, f.len, &in));
    XD_TRY(keep(self, &part));
    int r = xd_collect_ids(self->core, m->gateway, &in);
    return r == XD_COLLECT_PART ? pass_on(self, m) : r;
}

static int handle_ids(void *state, const xd_msg *m)
{
    collector *self = XD_CAST(state, collector, COLLECTOR_MAGIC);
    return hears(self, m) ? after(self, m, take_ids(self, m)) : 0;
}

static int handle_down(void *state, const xd_msg *m)
{
    collector *self = XD_CAST(state, collector, COLLECTOR_MAGIC);
    if (m->gateway >= self->args.count)
        return 0;
    self->dropped[m->gateway] = true;
    XD_TRY(pass_on(self, m));
    return after(self, m, xd_collect_lost(self->core, m->gateway));
}

/* A gateway that is gone: the scheduler hears of it, too, and says so. */
static int handle_unknown(void *state, const xd_msg *m)
{
    (void)state;
    (void)m;
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------- */

static int collector_init(void *state, xd_actor *actor, const void *args)
{
    collector *self = state;
    *self = (collector){ .magic = COLLECTOR_MAGIC, .actor = actor, .args = *(const xd_collector_args *)args };
    self->dropped = calloc((size_t)self->args.count + 1, sizeof(*self->dropped));
    if (!self->dropped)
        return -ENOMEM;
    XD_TRY(xd_collect_new(&self->core, self->args.each, self->args.guests));
    return self->args.ahead ? xd_collect_ahead(self->core, 0) : 0;
}

static void collector_fini(void *state)
{
    collector *self = state;
    xd_collect_free(self->core);
    forget_parts(self);
    free(self->parts);
    free(self->dropped);
}

const xd_actor_spec xd_collector_spec = {
    .name = "xd-collector",
    .size = sizeof(collector),
    .window = 65536,
    .init = collector_init,
    .fini = collector_fini,
    .handlers =
        (const xd_handler[]){
            { XD_MSG_COLLECTED, handle_collected },
            { XD_MSG_COLLECT_IDS, handle_ids },
            { XD_MSG_GATEWAY_DOWN, handle_down },
            { XD_MSG_UNKNOWN, handle_unknown },
            { 0, NULL },
        },
};
