/* needs: engine. Any text as HOST:PORT: refused in one line, or it has a host and a port, and its text is taken again as the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_address a, again;
    xd_error   err = { 0 };
    char      *text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = 0;
    int r = xd_address_parse(&a, text, 8888, &err);
    assert(r == 0 || r == -EINVAL);
    if (r < 0) {
        assert(err.text[0] && !strchr(err.text, '\n') && !strchr(err.text, '\x1b'));
    } else {
        assert(a.host[0] && a.port);
        for (const char *c = a.text; *c; c++) /* a word of a line in known_brokers */
            assert(*c > ' ' && *c < 0x7f && *c != '"' && *c != '#' && *c != ',');
        assert(strchr(a.text, ':'));
        r = xd_address_parse(&again, a.text, 1, &err);
        assert(r == 0 && strcmp(again.text, a.text) == 0 && strcmp(again.host, a.host) == 0 &&
               again.port == a.port);
    }
    free(text);
    return 0;
}
