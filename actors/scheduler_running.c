/* scheduler_running.c - tests that run for long: their age is recorded when it has doubled, so that a journal that
 * is cut off tells what ran, and once more at the ages at which the user is told (option slow-after). */
#include <stdlib.h>

#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

typedef struct scheduler_running {
    uint16_t worker, gateway;
    uint32_t item;
    uint64_t next_ms; /* age at which it is recorded next */
    uint64_t slow_ms; /* age at which it is told of next; UINT64_MAX = never */
} running;

static int tell(scheduler *self, const xd_wire_RUNNING *one, running *r)
{
    xd_autobuf            frame = XD_BUF_INIT;
    xd_wire_STILL_RUNNING m = {
        .worker = one->worker, .item = one->item, .age_ms = one->age_ms, .slow = one->age_ms >= r->slow_ms
    };
    if (one->age_ms < r->next_ms && !m.slow)
        return 0;
    while (r->next_ms <= one->age_ms)
        r->next_ms = r->next_ms ? 2 * r->next_ms : 1000;
    while (r->slow_ms <= one->age_ms)
        r->slow_ms *= 2;
    XD_TRY(xd_wire_STILL_RUNNING_frame(&frame, 0, 0, &m));
    return xd_scheduler_record(self, XD_MSG_STILL_RUNNING, &frame);
}

/* What is known of it, or that it begins now. */
static running of(const scheduler *self, const xd_wire_RUNNING *one, const gateway *g)
{
    uint64_t slow_ms = self->args.config->slow_after_ns / XD_MS_NS;
    for (size_t i = 0; i < self->n_running; i++)
        if (self->long_running[i].worker == one->worker && self->long_running[i].item == one->item)
            return self->long_running[i];
    return (running){ .worker = one->worker,
                      .gateway = g->number,
                      .item = one->item,
                      .slow_ms = self->args.config->slow_after_ns ? XD_MAX(slow_ms, 1) : UINT64_MAX };
}

int xd_scheduler_on_progress(scheduler *self, const gateway *g, const xd_wire_PROGRESS *in)
{
    xd_wire_list    list = in->running;
    xd_wire_RUNNING one;
    size_t          n = 0;
    running        *now = malloc((self->n_running + list.count + 1) * sizeof(*now));
    if (!now)
        return -ENOMEM;
    for (size_t i = 0; i < self->n_running; i++)
        if (self->long_running[i].gateway != g->number)
            now[n++] = self->long_running[i];
    int r = 0;
    while (r == 0 && xd_wire_RUNNING_next(&list, &one) == 1) {
        now[n] = of(self, &one, g);
        r = tell(self, &one, &now[n++]);
    }
    free(self->long_running);
    self->long_running = now;
    self->n_running = n;
    return r;
}
