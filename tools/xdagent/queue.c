#include <stdlib.h>

#include "engine/base/clock.h"
#include "tools/xdagent/agent.h"

/* The queue wants to be asked again within 100 ms as long as there is work. */
#define QUEUE_TICK_NS (50 * XD_MS_NS)

int agent_queue_lease(agent *a, const xd_wire_LEASE *m)
{
    if (!a->queue)
        return -EPROTO;
    xd_autofree xd_span *spans = NULL;
    size_t               n;
    XD_TRY(xd_spans_read(m->ranges, &spans, &n));
    for (size_t i = 0; i < n; i++)
        if (spans[i].count == 0 || !agent_env_has(a, spans[i].first, spans[i].count))
            return -EPROTO; /* an item that was never collected */
    a->queue_dirty = true;
    agent_workers_predicted(a, spans, n);
    int done = xd_aqueue_lease(a->queue, spans, n, xd_clock_ns());
    return done < 0 ? done : 0;
}

/* One barrier answers all limits asked since the last one and opens all pages whose RUN is held back. */
static int settle(agent *a)
{
    bool any = false;
    for (uint32_t i = 0; i < a->slots; i++)
        any = any || a->worker[i].queue.limit_asked || a->worker[i].queue.held.len;
    if (!any)
        return 0;
    xd_page_barrier();
    uint64_t now = xd_clock_ns();
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        xd_page_slot *slot = &a->env.page.slot[i];
        if (w->queue.limit_asked) {
            w->queue.limit_asked = false;
            int r = xd_aqueue_limit_answer(a->queue, i, xd_page_get(&slot->claimed), now);
            XD_TRY(r);
        }
        if (w->queue.held.len) {
            xd_page_set(&slot->limit, XD_AQUEUE_NO_LIMIT);
            int r = w->io.cmd.fd >= 0
                        ? agent_chan_send(&w->io.cmd, XD_MSG_RUN, xd_buf_view(&w->queue.held), NULL, 0)
                        : 0;
            xd_buf_clear(&w->queue.held);
            XD_TRY(r);
        }
    }
    return 0;
}

static int do_run(agent *a, const xd_aqueue_command *c)
{
    agent_worker *w = &a->worker[c->slot];
    xd_autobuf    list = XD_BUF_INIT, body = XD_BUF_INIT;
    uint32_t      told = c->first;
    for (size_t i = 0; i < c->n_spans; i++)
        told += c->spans[i].count;
    XD_TRY(xd_spans_write(&list, c->spans, c->n_spans));
    xd_wire_RUN run = { .first = c->first,
                        .last = (uint8_t)((c->last ? XD_RUN_LAST : 0) | (c->final ? XD_RUN_FINAL : 0)),
                        .ranges = agent_list_of(&list, (uint32_t)c->n_spans) };
    XD_TRY(xd_wire_RUN_encode(&body, &run));
    w->queue.told_end = told;
    if (!agent_worker_alive(w) || w->io.cmd.fd < 0)
        return 0; /* its end is on the way and will be told to the queue */
    if (!c->reopen)
        return agent_chan_send(&w->io.cmd, XD_MSG_RUN, xd_buf_view(&body), NULL, 0);
    xd_page_set(&a->env.page.slot[c->slot].runs, c->runs);
    return xd_buf_add_bytes(&w->queue.held, xd_buf_view(&body));
}

static int do_returned(agent *a, const xd_aqueue_command *c)
{
    xd_autobuf list = XD_BUF_INIT, body = XD_BUF_INIT;
    XD_TRY(xd_spans_write(&list, c->spans, c->n_spans));
    xd_wire_RETURNED m = { .request = c->request, .ranges = agent_list_of(&list, (uint32_t)c->n_spans) };
    XD_TRY(xd_wire_RETURNED_encode(&body, &m));
    if (!a->buried)
        return agent_link_send(a, XD_MSG_RETURNED, xd_buf_view(&body));
    uint32_t len = (uint32_t)body.len;
    XD_TRY(xd_buf_add(&a->returned, &len, sizeof(len)));
    return xd_buf_add_bytes(&a->returned, xd_buf_view(&body));
}

int agent_queue_returned(agent *a)
{
    for (size_t at = 0; at < a->returned.len;) {
        uint32_t len;
        memcpy(&len, a->returned.data + at, sizeof(len));
        at += sizeof(len);
        XD_TRY(agent_link_send(a, XD_MSG_RETURNED, (xd_bytes){ a->returned.data + at, len }));
        at += len;
    }
    xd_buf_clear(&a->returned);
    return 0;
}

static int do_command(agent *a, const xd_aqueue_command *c)
{
    agent_worker *w = &a->worker[c->slot];
    switch (c->kind) {
    case XD_AQUEUE_RUN:
        return do_run(a, c);
    case XD_AQUEUE_LIMIT:
        xd_page_set(&a->env.page.slot[c->slot].limit, c->limit);
        w->queue.limit_asked = true;
        return 0;
    case XD_AQUEUE_RETURNED:
        return do_returned(a, c);
    case XD_AQUEUE_BLAME:
        return xd_buf_add(&w->end.blamed, &(agent_blame){ c->item, c->attempt }, sizeof(agent_blame));
    case XD_AQUEUE_RESTART:
        w->end.fate = AGENT_FATE_RESTART;
        if (w != a->buried)
            agent_worker_again(w); /* what came since its end needs it */
        return 0;
    case XD_AQUEUE_GIVE_UP:
        w->end.fate = c->budget ? AGENT_FATE_BUDGET : AGENT_FATE_END;
        return 0;
    case XD_AQUEUE_DRAINED:
        return 0; /* the controller sees it from what was returned */
    }
    return -EINVAL;
}

int agent_queue_drain(agent *a)
{
    xd_aqueue_command c;
    int               more = 0;
    a->queue_dirty = false;
    if (!a->queue)
        return 0;
    do {
        while ((more = xd_aqueue_next(a->queue, &c)) > 0) {
            bool of_slot = c.kind == XD_AQUEUE_RUN || c.kind == XD_AQUEUE_LIMIT;
            if (of_slot && (a->worker[c.slot].queue.limit_asked || a->worker[c.slot].queue.held.len)) {
                /* settle() calls into the queue and would end the life of c.spans: the command is carried out
                 * on a copy */
                xd_autofree xd_span *copy = malloc(c.n_spans ? c.n_spans * sizeof(xd_span) : 1);
                if (!copy)
                    return -ENOMEM;
                for (size_t i = 0; i < c.n_spans; i++)
                    copy[i] = c.spans[i];
                c.spans = copy;
                XD_TRY(settle(a));
                XD_TRY(do_command(a, &c));
                continue;
            }
            XD_TRY(do_command(a, &c));
        }
        XD_TRY(more);
        for (uint32_t i = 0; i < a->slots && !more; i++)
            more = a->worker[i].queue.limit_asked; /* the answers may bring new commands */
        XD_TRY(settle(a));
    } while (more);
    const xd_aqueue_stats *s = xd_aqueue_stats_get(a->queue);
    a->queue_ns = s->queued || s->told ? xd_clock_ns() + QUEUE_TICK_NS : UINT64_MAX;
    if (!s->queued && !s->told && a->link.flush_ns != UINT64_MAX)
        XD_TRY(agent_workers_flush(a)); /* nothing more will fill the batch: the run may be waiting for it */
    return 0;
}
