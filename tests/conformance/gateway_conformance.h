/* tests/conformance/gateway_conformance.h - one suite that every transport must pass, generated for each: a test case per
 * transport with its name, so that a failure says whose it is, and every test in a process of its own, so that it hides no
 * other. */
#pragma once
#include <check.h>

#include "gateways/gateway.h"

typedef struct xd_gateway_case {
    const char         *name;
    const char         *spec; /* that it is dialled with */
    const xd_transport *transport;
    const xd_transport *never; /* one of its kind that opens for ever; NULL = it opens at once */
    bool slow_again;           /* another pipe is another process: two thousand of them are not waited for */
    bool far;                  /* the agent is not this program's child */
    bool no_status; /* with which status an agent ended is not known any more once it is dialled again */
    const xd_transport *fails; /* one that fails while it opens, with "no route"; NULL = it opens at once */
} xd_gateway_case;

/* `cases` is static. */
Suite *xd_gateway_conformance(const xd_gateway_case *cases, int count);
