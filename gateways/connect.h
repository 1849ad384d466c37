/* gateways/connect.h - a TCP connection, for whoever has a way of its own to wait: one that can be given up, or that has a limit. */
#pragma once
#include <netdb.h>
#include <stdint.h>

#include "engine/base/error.h"

/* Waits until the descriptor has one of these events (poll.h), or until_ns (monotonic). 1 = it has; 0 = ask again; -ETIMEDOUT; other -errno: give up. */
typedef int (*xd_wait_fn)(void *arg, int fd, short events, uint64_t until_ns);

/* Connects a non-blocking socket of the caller's. 0; -errno, also that of `wait`. */
int xd_connect(int fd, const struct addrinfo *to, xd_wait_fn wait, void *arg, uint64_t until_ns) XD_MUST;
