/* engine/events.c - see events.h. */
#include "engine/events.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/sized.h"

/* No padding at the end: a later member there would seem to be known to libraries that have only the padding. */
_Static_assert(sizeof(void *) != 8 || sizeof(xd_event) == offsetof(xd_event, worker_name) + sizeof(char *),
               "xd_event ends with a member");

struct xd_event_node {
    xd_event_node *next;
    xd_event       ev;
    char           text[];
};

int xd_events_init(xd_events *q)
{
    *q = (xd_events){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (q->fd < 0)
        return -errno;
    return -pthread_mutex_init(&q->lock, NULL);
}

void xd_events_release(xd_events *q)
{
    xd_event ev = XD_EVENT_INIT;
    while (xd_events_next(q, &ev) == 1)
        ;
    free(q->given);
    close(q->fd);
    pthread_mutex_destroy(&q->lock);
}

static xd_event_node *node(const xd_event *ev)
{
    size_t len = ev->text ? strlen(ev->text) + 1 : 0, more = ev->message ? strlen(ev->message) + 1 : 0;
    xd_event_node *n = malloc(sizeof(*n) + len + more);
    if (!n)
        return NULL;
    *n = (xd_event_node){ .ev = *ev };
    if (len)
        n->ev.text = memcpy(n->text, ev->text, len);
    if (more)
        n->ev.message = memcpy(n->text + len, ev->message, more);
    return n;
}

/* Counts the event in: false = there are enough of its kind. Those of other types come once in a run, or somebody
 * takes them (XD_EVENT_TEST). */
static bool admit(xd_events *q, const xd_event *ev)
{
    if (ev->type == XD_EVENT_PAUSED) {
        if (q->paused)
            return false;
        q->paused = true;
    } else if (ev->type == XD_EVENT_NOTE) {
        if (q->notes >= XD_EVENTS_NOTES) {
            q->dropped++;
            return false;
        }
        q->notes++;
    }
    return true;
}

static void append(xd_events *q, xd_event_node *n)
{
    uint64_t one = 1;
    if (q->last)
        q->last->next = n;
    else
        q->first = n;
    q->last = n;
    (void)!write(q->fd, &one, sizeof(one));
}

static void tell_dropped(xd_events *q, xd_event_node *n)
{
    if (!q->dropped)
        return;
    if (n->ev.type == XD_EVENT_NOTE) {
        n->ev.count = q->dropped;
    } else if (n->ev.type == XD_EVENT_FINISHED) {
        xd_event       ev = { .type = XD_EVENT_NOTE,
                              .text = "notes were dropped, because nobody read them",
                              .value = 3,
                              .count = q->dropped };
        xd_event_node *last = node(&ev);
        if (!last)
            return;
        q->notes++;
        append(q, last);
    } else {
        return;
    }
    q->dropped = 0;
}

int xd_events_add(xd_events *q, const xd_event *ev)
{
    xd_event_node *n = node(ev);
    if (!n)
        return -ENOMEM;
    pthread_mutex_lock(&q->lock);
    if (admit(q, ev)) {
        tell_dropped(q, n);
        append(q, n);
        n = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    free(n);
    return 0;
}

int xd_events_next(xd_events *q, xd_event *ret)
{
    uint64_t n;
    XD_TRY(xd_sized_check(ret->size, XD_SIZED_LEAST(xd_event, duration_us)));
    pthread_mutex_lock(&q->lock);
    free(q->given);
    q->given = q->first;
    if (q->first) {
        q->first = q->first->next;
        if (!q->first)
            q->last = NULL;
        xd_sized_fill(ret, ret->size, &q->given->ev, sizeof(xd_event));
        q->notes -= ret->type == XD_EVENT_NOTE;
        q->paused = q->paused && ret->type != XD_EVENT_PAUSED;
    }
    if (!q->first)
        (void)!read(q->fd, &n, sizeof(n));
    pthread_mutex_unlock(&q->lock);
    return q->given ? 1 : 0;
}
