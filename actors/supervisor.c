#include "actors/supervisor.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"

/* What is remembered of restarts; a larger budget is cut to it. */
#define RESTARTS_MAX 16u

typedef struct child {
    xd_child  spec;
    char      address[XD_ADDRESS_LEN];
    xd_actor *actor; /* NULL = ended for good */
    int       reason;
    bool      asked;                /* to end */
    uint64_t  faults[RESTARTS_MAX]; /* times of the newest, a ring */
    uint32_t  n_faults;
} child;

struct xd_supervisor {
    xd_bus             *bus;
    xd_supervisor_ended ended;
    void               *arg;
    child              *children; /* in order of start */
    size_t              count, cap;
    struct pollfd      *polls; /* scratch: one per child, and wake_fd */
};

int xd_supervisor_new(xd_supervisor **ret, xd_bus *bus, xd_supervisor_ended ended, void *arg)
{
    xd_supervisor *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (xd_supervisor){ .bus = bus, .ended = ended, .arg = arg };
    *ret = s;
    return 0;
}

static child *find(xd_supervisor *s, const char *address)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->children[i].address, address) == 0)
            return &s->children[i];
    return NULL;
}

static int grow(xd_supervisor *s)
{
    size_t cap = s->cap ? 2 * s->cap : 8;
    if (s->count < s->cap)
        return 0;
    child *more = reallocarray(s->children, cap, sizeof(*more));
    if (!more)
        return -ENOMEM;
    s->children = more;
    struct pollfd *polls = reallocarray(s->polls, cap + 1, sizeof(*polls));
    if (!polls)
        return -ENOMEM;
    s->polls = polls;
    s->cap = cap;
    return 0;
}

int xd_supervisor_start(xd_supervisor *s, const xd_child *spec, xd_error *err)
{
    child c = { .spec = *spec };
    XD_TRY(grow(s));
    snprintf(c.address, sizeof(c.address), "%s", spec->address);
    c.spec.address = NULL; /* the copy counts; the caller's may be gone */
    c.spec.restarts = XD_MIN(spec->restarts, RESTARTS_MAX);
    XD_TRY(xd_actor_start(&c.actor, s->bus, spec->spec, c.address, spec->args, err));
    s->children[s->count++] = c;
    return 0;
}

/* True: this fault is within the budget. */
static bool in_budget(child *c, uint64_t now)
{
    if (!c->spec.restarts)
        return false;
    uint32_t at = c->n_faults % c->spec.restarts;
    bool     within = c->n_faults < c->spec.restarts || now - c->faults[at] > c->spec.within_ns;
    c->faults[at] = now; /* takes the place of the oldest that counts */
    c->n_faults++;
    return within;
}

static void on_end(xd_supervisor *s, child *c)
{
    xd_error err = { 0 };
    if (xd_actor_join(c->actor, 0, &c->reason) < 0)
        return;
    c->actor = xd_actor_free(c->actor);
    bool again = c->reason < 0 && !c->asked && in_budget(c, xd_clock_ns()) &&
                 xd_actor_start(&c->actor, s->bus, c->spec.spec, c->address, c->spec.args, &err) == 0;
    if (!again)
        c->actor = NULL;
    if (!c->asked && s->ended)
        s->ended(s->arg, c->address, c->reason, again);
}

static int timeout_ms(uint64_t deadline_ns)
{
    uint64_t now = xd_clock_ns();
    if (deadline_ns == UINT64_MAX)
        return -1;
    return deadline_ns <= now ? 0 : (int)XD_MIN((deadline_ns - now + XD_MS_NS - 1) / XD_MS_NS, 60000);
}

int xd_supervisor_wait(xd_supervisor *s, const char *address, int wake_fd, uint64_t deadline_ns,
                       int *ret_reason)
{
    for (;;) {
        child *wanted = find(s, address);
        if (!wanted)
            return -ENOENT;
        if (!wanted->actor) {
            *ret_reason = wanted->reason;
            return 0;
        }
        for (size_t i = 0; i < s->count; i++)
            s->polls[i] =
                (struct pollfd){ .fd = s->children[i].actor ? xd_actor_exit_fd(s->children[i].actor) : -1,
                                 .events = POLLIN };
        s->polls[s->count] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
        int timeout = timeout_ms(deadline_ns);
        int n = poll(s->polls, s->count + 1, timeout);
        if (n < 0 && errno != EINTR)
            return -errno;
        for (size_t i = 0; n > 0 && i < s->count; i++)
            if (s->polls[i].revents)
                on_end(s, &s->children[i]);
        if (n > 0 && s->polls[s->count].revents)
            return 1;
        if (n == 0 && xd_clock_ns() >= deadline_ns)
            return -ETIMEDOUT;
    }
}

void xd_supervisor_ask_stop(xd_supervisor *s, const char *address)
{
    child *c = find(s, address);
    if (c && c->actor) {
        c->asked = true;
        xd_actor_ask_stop(c->actor);
    }
}

uint32_t xd_supervisor_stop(xd_supervisor *s, uint64_t                           grace_ns,
                            void (*stuck)(void *arg, const char *address), void *arg)
{
    uint32_t left = 0;
    if (!s)
        return 0;
    for (size_t i = s->count; i-- > 0;) {
        child *c = &s->children[i];
        if (!c->actor)
            continue;
        xd_supervisor_ask_stop(s, c->address);
        if (xd_actor_join(c->actor, xd_clock_ns() + grace_ns, &c->reason) == 0) {
            c->actor = xd_actor_free(c->actor);
            continue;
        }
        left++;
        if (stuck)
            stuck(arg, c->address);
    }
    if (left)
        return left;
    free(s->children);
    free(s->polls);
    free(s);
    return 0;
}
