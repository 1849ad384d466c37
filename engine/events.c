/* engine/events.c - see events.h. */
#include "engine/events.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
    xd_event ev;
    while (xd_events_next(q, &ev) == 1)
        ;
    free(q->given);
    close(q->fd);
    pthread_mutex_destroy(&q->lock);
}

int xd_events_add(xd_events *q, const xd_event *ev)
{
    size_t         len = ev->text ? strlen(ev->text) + 1 : 0;
    xd_event_node *n = malloc(sizeof(*n) + len);
    uint64_t       one = 1;
    if (!n)
        return -ENOMEM;
    *n = (xd_event_node){ .ev = *ev };
    if (len)
        memcpy(n->text, ev->text, len);
    n->ev.text = len ? n->text : NULL;
    pthread_mutex_lock(&q->lock);
    if (q->last)
        q->last->next = n;
    else
        q->first = n;
    q->last = n;
    (void)!write(q->fd, &one, sizeof(one));
    pthread_mutex_unlock(&q->lock);
    return 0;
}

int xd_events_next(xd_events *q, xd_event *ret)
{
    uint64_t n;
    pthread_mutex_lock(&q->lock);
    free(q->given);
    q->given = q->first;
    if (q->first) {
        q->first = q->first->next;
        if (!q->first)
            q->last = NULL;
        *ret = q->given->ev;
    }
    if (!q->first)
        (void)!read(q->fd, &n, sizeof(n));
    pthread_mutex_unlock(&q->lock);
    return q->given ? 1 : 0;
}
