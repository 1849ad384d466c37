/* tests/conformance/gateway_conformance.h - one suite that every gateway must pass.
 * A gateway's test program calls xd_gateway_conformance() once per transport and runs the suite. */
#pragma once
#include <check.h>

#include "gateways/gateway.h"

typedef struct xd_gateway_case {
    const xd_gateway_ops *ops;
    const char           *spec; /* for messages */
} xd_gateway_case;

/* `cases` is static; the tests loop over it. */
Suite *xd_gateway_conformance(const xd_gateway_case *cases, int count);
