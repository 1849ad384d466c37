/* Any bytes as the body of any record: it is refused, or it can be shown, and its fields lie inside of it.
 * Input: type (u16, little endian), body. */
#include <assert.h>

#include "engine/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_autobuf line = XD_BUF_INIT;
    if (len < 2)
        return 0;
    uint16_t type = (uint16_t)(data[0] | data[1] << 8);
    int      r = xd_wire_check(type, data + 2, len - 2);
    assert(r == 0 || r == -EPROTO || r == -ENOENT);
    int shown = xd_wire_dump(type, data + 2, len - 2, &line);
    assert(shown == r);
    const char *text = xd_buf_cstr(&line);
    for (; r == 0 && *text; text++)
        assert((unsigned char)*text >= 32 && *text != 127);
    return 0;
}
