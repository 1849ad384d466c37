/* engine/base/poller.h - wait for descriptors and a deadline (epoll on Linux).  One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

#define XD_POLL_IN 1u
#define XD_POLL_OUT 2u
#define XD_POLL_HUP 4u /* reported only */

typedef struct xd_poller xd_poller;
typedef void (*xd_poll_fn)(void *arg, int fd, uint32_t events);

int        xd_poller_new(xd_poller **ret) XD_MUST;
xd_poller *xd_poller_free(xd_poller *p);
/* events = 0 keeps it registered but silent (level triggered).  The same fd may be set again to change it. */
int xd_poller_set(xd_poller *p, int fd, uint32_t events, xd_poll_fn fn, void *arg) XD_MUST;
int xd_poller_remove(xd_poller *p, int fd); /* before close(fd); safe inside callbacks */
/* Waits until something is ready or deadline_ns (monotonic; UINT64_MAX = none) and calls back. >= 0: number
 * of callbacks; -errno. EINTR is retried. */
int xd_poller_wait(xd_poller *p, uint64_t deadline_ns) XD_MUST;
