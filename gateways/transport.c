/* gateways/transport.c - see transport.h. */
#include "gateways/transport.h"

const xd_transport *xd_transport_find(const xd_xspec *spec)
{
    return spec->kind == XD_SPEC_POPEN ? &xd_transport_popen : NULL;
}
