/* engine/address.h - HOST:PORT as users type it. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

#define XD_PORT 8888u      /* of xdctl serve, as it was that of execnet's socketserver.py */
#define XD_JOIN_PORT 7400u /* of a run that listens, where none is said */
#define XD_ADDRESS_HOST 256u

typedef struct xd_address {
    char     host[XD_ADDRESS_HOST]; /* a name or a numeric address, without brackets */
    uint16_t port;
    char     text
        [XD_ADDRESS_HOST +
         16]; /* HOST:PORT, [HOST]:PORT of IPv6, in small letters but for a zone: by this a key is known */
} xd_address;

/* Without the tcp:// in front that ZeroMQ has: where a user names a place to listen at, or who listens there. */
const char *xd_address_plain(const char *text);
/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT, IPV6. -EINVAL: err quotes it and says what is expected. */
int xd_address_parse(xd_address *ret, const char *text, uint16_t default_port, xd_error *err) XD_MUST;
