/* gateways/lookup.h - addresses of a host, found by a thread that nobody has to wait for: nothing can interrupt the resolver. */
#pragma once
#include <netdb.h>
#include <stdint.h>

#include "engine/base/error.h"

typedef struct xd_lookup xd_lookup;

/* family: AF_UNSPEC, AF_INET, AF_INET6. A numeric host is there at once. */
int                    xd_lookup_begin(xd_lookup **ret, const char *host, uint16_t port, int family) XD_MUST;
int                    xd_lookup_fd(const xd_lookup *l);     /* readable when it is done */
int                    xd_lookup_result(const xd_lookup *l); /* once it is: 0, or as of getaddrinfo */
const struct addrinfo *xd_lookup_found(const xd_lookup *l);
/* Forgets it, done or not. NULL ok; returns NULL. */
xd_lookup *xd_lookup_drop(xd_lookup *l);
