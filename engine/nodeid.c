/* engine/nodeid.c - see nodeid.h. */
#include "engine/nodeid.h"

int xd_nodeid_join(xd_buf *scratch, xd_bytes previous, const xd_wire_NODEID *n, xd_bytes *ret)
{
    if (n->shared > previous.len)
        return -EPROTO;
    if (n->shared == 0) {
        *ret = n->id;
        return 0;
    }
    /* `previous` must not lie in the scratch: callers keep it in an arena. */
    xd_buf_clear(scratch);
    XD_TRY(xd_buf_add(scratch, previous.ptr, n->shared));
    XD_TRY(xd_buf_add_bytes(scratch, n->id));
    *ret = xd_buf_view(scratch);
    return 0;
}

uint16_t xd_nodeid_shared(xd_bytes a, xd_bytes b)
{
    size_t limit = XD_MIN(XD_MIN(a.len, b.len), 65535), i = 0;
    while (i < limit && a.ptr[i] == b.ptr[i])
        i++;
    return (uint16_t)i;
}
