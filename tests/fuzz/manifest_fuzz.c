/* needs: sync. Any bytes as the records of a tree, and as changes of it: they are refused with one line, or what they make can be written out and read again, whole and as
 * changes, with the same digest.
 * Input: length of the first list (u16, little endian), body of a SYNC_RECORD_LIST (a whole tree), the rest: another one (its changes). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int append(void *arg, xd_bytes body, bool last)
{
    (void)last;
    xd_records              *r = arg;
    xd_wire_SYNC_RECORD_LIST list;
    xd_error                 err = { 0 };
    int                      e = xd_wire_SYNC_RECORD_LIST_decode(body.ptr, body.len, &list);
    assert(e == 0);
    e = xd_records_add(r, &list, &err);
    assert(e == 0);
    return 0;
}

/* The changes from one tree to the other, written and read, lead to it. */
static void leads_to(const xd_manifest *from, const xd_manifest *to)
{
    xd_records  *r = NULL;
    xd_manifest *again = NULL;
    int          e = xd_records_new(&r, from);
    assert(e == 0);
    e = xd_manifest_write(from, to, NULL, NULL, NULL, 200, append, r);
    assert(e == 0);
    e = xd_records_end(&r, &again, NULL, NULL, NULL);
    assert(e == 0 && again->count == to->count && again->files == to->files);
    assert(xd_digest_eq(xd_manifest_digest(again), xd_manifest_digest(to)));
    xd_manifest_free(again);
}

static xd_manifest *take(const uint8_t *body, size_t len, const xd_manifest *base)
{
    xd_wire_SYNC_RECORD_LIST list;
    xd_records              *r = NULL;
    xd_manifest             *m = NULL;
    xd_error                 err = { 0 };
    uint8_t                 *pushed = NULL;
    xd_autobuf               kept = XD_BUF_INIT;
    if (xd_wire_SYNC_RECORD_LIST_decode(body, len, &list) < 0)
        return NULL;
    int e = xd_records_new(&r, base);
    assert(e == 0);
    e = xd_records_add(r, &list, &err);
    if (e == 0)
        e = xd_records_end(&r, &m, &pushed, &kept, &err);
    assert(e == 0 || (e == -EPROTO && err.text[0] && !strchr(err.text, '\n')));
    xd_records_free(r);
    free(pushed);
    assert((e == 0) == (m != NULL));
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t first = len < 2 ? 0 : (size_t)(data[0] | data[1] << 8);
    if (len < 2 || first > len - 2)
        return 0;
    xd_manifest *m = take(data + 2, first, NULL), *changed = NULL;
    if (m) {
        for (uint32_t i = 1; i < m->count; i++) {
            xd_bytes name = xd_entry_name(m, &m->entry[i]);
            assert(m->entry[i].parent < i && name.len && !memchr(name.ptr, '/', name.len));
        }
        leads_to(NULL, m);
        changed = take(data + 2 + first, len - 2 - first, m);
    }
    if (changed) {
        leads_to(NULL, changed);
        leads_to(m, changed);
        leads_to(changed, m);
    }
    xd_manifest_free(m);
    xd_manifest_free(changed);
    return 0;
}
