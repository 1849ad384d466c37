#include <unistd.h>

#include "engine/base/clock.h"
#include "tools/xdagent/agent.h"

/* Keeps the last bytes of a stream for the report about a crash. */
static int remember(xd_buf *last, xd_bytes data)
{
    if (data.len > AGENT_LAST_OUTPUT) {
        data.ptr += data.len - AGENT_LAST_OUTPUT;
        data.len = AGENT_LAST_OUTPUT;
    }
    XD_TRY(xd_buf_add_bytes(last, data));
    if (last->len > 2 * AGENT_LAST_OUTPUT)
        xd_buf_consume(last, last->len - AGENT_LAST_OUTPUT);
    return 0;
}

static int emit(agent_output *o, xd_bytes data, uint64_t dropped)
{
    xd_autobuf     body = XD_BUF_INIT;
    xd_wire_OUTPUT out = { .worker = o->worker ? o->worker->number : XD_NO_WORKER,
                           .stream = o->stream,
                           .item = o->item,
                           .data = data,
                           .dropped_bytes = dropped };
    XD_TRY(xd_wire_OUTPUT_encode(&body, &out));
    return agent_link_send(o->agent, XD_MSG_OUTPUT, xd_buf_view(&body));
}

/* Sends what was kept of the item's end, and counts anew. */
static int flush_tail(agent_output *o)
{
    size_t at = 0, half = (size_t)(o->agent->output_limit / 2);
    if (o->tail.len > half) { /* it is cut now and then only, so it may have grown past what is kept */
        o->dropped += o->tail.len - half;
        xd_buf_consume(&o->tail, o->tail.len - half);
    }
    while (at < o->tail.len || o->dropped) {
        size_t n = XD_MIN(o->tail.len - at, (size_t)AGENT_SCRATCH);
        XD_TRY(emit(o, (xd_bytes){ o->tail.data + at, n }, o->dropped));
        o->dropped = 0;
        at += n;
    }
    xd_buf_release(&o->tail);
    o->bytes = 0;
    return 0;
}

static uint32_t item_now(const agent_output *o)
{
    if (!o->worker || !o->agent->env.page_made)
        return XD_NO_INDEX;
    return xd_page_get(&o->agent->env.page.slot[o->worker->slot].item_plus_1) - 1u;
}

static int take(agent_output *o, uint32_t item, xd_bytes data)
{
    size_t half = (size_t)(o->agent->output_limit / 2);
    XD_TRY(remember(o->last, data));
    if (item != o->item) {
        XD_TRY(flush_tail(o));
        o->item = item;
    }
    o->bytes += data.len;
    if (o->bytes - data.len < half && o->tail.len == 0) {
        size_t n = (size_t)XD_MIN((uint64_t)data.len, half - (o->bytes - data.len));
        XD_TRY(emit(o, (xd_bytes){ data.ptr, n }, 0));
        data.ptr += n;
        data.len -= n;
    }
    if (data.len == 0)
        return 0;
    XD_TRY(xd_buf_add_bytes(&o->tail, data));
    if (o->tail.len > 2 * half + AGENT_SCRATCH) {
        size_t over = o->tail.len - half;
        o->dropped += over;
        xd_buf_consume(&o->tail, over);
    }
    return 0;
}

/* A worker stays with its item until the pipe is empty: what is in there is of the item that runs before it is read. */
static void on_readable(void *arg, int fd, uint32_t events)
{
    agent_output  *o = arg;
    const uint32_t item = item_now(o);
    (void)events;
    ssize_t n = read(fd, o->agent->scratch, AGENT_SCRATCH);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        xd_poller_remove(o->agent->poller, fd);
        close(fd);
        o->fd = -1;
        agent_fault(o->agent, flush_tail(o));
        return;
    }
    agent_fault(o->agent, take(o, item, (xd_bytes){ o->agent->scratch, (size_t)n }));
}

int agent_output_open(agent_output *o, agent *a, agent_worker *w, int fd, uint8_t stream, xd_buf *last)
{
    *o = (agent_output){ .agent = a,
                         .worker = w,
                         .fd = fd,
                         .stream = stream,
                         .item = XD_NO_INDEX,
                         .last = last,
                         .reading = !a->muted };
    return xd_poller_set(a->poller, fd, o->reading ? XD_POLL_IN : 0, on_readable, o);
}

void agent_output_read(agent_output *o, bool on)
{
    if (!o->agent || o->fd < 0 || o->reading == on)
        return;
    o->reading = on;
    agent_fault(o->agent, xd_poller_set(o->agent->poller, o->fd, on ? XD_POLL_IN : 0, on_readable, o));
}

int agent_output_item_over(agent_output *o, uint32_t item)
{
    return o->agent && o->item == item && o->tail.len ? flush_tail(o) : 0;
}

/* A process that the user started may keep the pipe open for ever: only what is there now is taken, and of
 * that at most what a pipe holds. */
void agent_output_drain(agent_output *o)
{
    for (int turn = 0; o->agent && o->fd >= 0 && turn < 32; turn++) {
        const uint32_t item = item_now(o);
        ssize_t        n = read(o->fd, o->agent->scratch, AGENT_SCRATCH);
        if (n <= 0)
            break;
        agent_fault(o->agent, take(o, item, (xd_bytes){ o->agent->scratch, (size_t)n }));
    }
}

void agent_output_close(agent_output *o)
{
    if (!o->agent)
        return;
    agent_output_drain(o);
    agent_fault(o->agent, flush_tail(o));
    if (o->fd >= 0) {
        xd_poller_remove(o->agent->poller, o->fd);
        close(o->fd);
    }
    xd_buf_release(&o->tail);
    *o = (agent_output){ .fd = -1 };
}
