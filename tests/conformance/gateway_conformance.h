/* tests/conformance/gateway_conformance.h - one suite that every transport must pass, generated for each: a test case per
 * transport with its name, so that a failure says whose it is, and every test in a process of its own, so that it hides no
 * other. */
#pragma once
#include <check.h>

#include "gateways/gateway.h"

/* A way that leads nowhere, and what is said of it. */
typedef struct xd_gateway_fault {
    const xd_transport *transport; /* of `never` and `fails` */
    const char         *spec;      /* NULL = that of the case */
    const char         *words;     /* in the error; NULL ends a list */
    const char         *agent;     /* NULL = any */
    int                 code;      /* of the error; 0 = any */
    bool                late;      /* its time has to run out */
} xd_gateway_fault;

typedef struct xd_gateway_case {
    const char             *name;
    const char             *spec; /* that it is dialled with */
    const xd_transport     *transport;
    const xd_gateway_fault *never;       /* opens for ever; NULL = it opens at once */
    const xd_gateway_fault *fails;       /* while it opens */
    const xd_gateway_fault *faults;      /* all kinds of them */
    const char             *faultless;   /* why there are none of both */
    const char             *killed_says; /* of a program at the far end that was killed */
    bool slow_again; /* another pipe is another process: two thousand of them are not waited for */
    bool redials;    /* its agent gets its pipes as sockets, like one of this program's own */
    bool far;        /* the agent is not this program's child */
} xd_gateway_case;

/* `cases` is static. */
Suite *xd_gateway_conformance(const xd_gateway_case *cases, int count);
/* Opens a pipe, says so on standard output, and holds it until it is killed: a part of a test, in a program of its own. */
int xd_gateway_hold(const xd_transport *transport, const char *spec, const char *agent);
