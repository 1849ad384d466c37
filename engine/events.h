/* engine/events.h - events of a run on their way to the program that embeds the engine: a locked queue and a
 * descriptor that is readable while it is not empty. */
#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "engine/base/error.h"
#include "engine/xd.h"

#define XD_EVENTS_NOTES 1000u

typedef struct xd_event_node xd_event_node;

typedef struct xd_events {
    pthread_mutex_t lock;
    int             fd; /* eventfd */
    xd_event_node  *first, *last;
    xd_event_node  *given;   /* the one whose text the caller still reads */
    unsigned        notes;   /* waiting */
    bool            paused;  /* one waits: more say no more */
    uint64_t        dropped; /* notes left out, and not told yet */
} xd_events;

int  xd_events_init(xd_events *q) XD_MUST;
void xd_events_release(xd_events *q);
/* Any thread; the text is copied. Nobody may be taking them: of notes at most XD_EVENTS_NOTES wait; how many were left
 * out is `count` of the next one, or a note before XD_EVENT_FINISHED. -ENOMEM. */
int xd_events_add(xd_events *q, const xd_event *ev) XD_MUST;
/* 1 = got one; its text is valid until the next call. 0 = empty. -EINVAL: ret->size was not set. */
int xd_events_next(xd_events *q, xd_event *ret);
