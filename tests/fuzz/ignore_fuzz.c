/* needs: sync */
/* Any bytes as rules and paths. The input is split at NUL bytes: .gitignore, .xdignore, of a folder's .gitignore, a
 * glob, then paths. The same question has the same answer, with the rules made a second time, too; what is always left
 * out is, whatever the rules say; globs only leave out; equal rules have equal digests. */
#include <assert.h>
#include <string.h>

#include "sync/ignore.h"

#define TEXTS 4
#define PATHS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static xd_bytes cut(xd_bytes *from)
{
    const uint8_t *nul = from->len ? memchr(from->ptr, 0, from->len) : NULL;
    xd_bytes       part = { from->ptr, nul ? (size_t)(nul - from->ptr) : from->len };
    size_t         taken = part.len + (nul != NULL);
    from->ptr += taken, from->len -= taken;
    return part;
}

static xd_ignore *make(const xd_bytes text[TEXTS], bool globs)
{
    xd_auto(xd_ignore) *first = NULL, *base = NULL, *folder = NULL;
    assert(xd_ignore_new("/base", &first) == 0 && xd_ignore_add_defaults(first) == 0);
    if (globs) {
        assert(xd_ignore_add_glob(first, NULL, text[3]) == 0);
        assert(xd_ignore_add_glob(first, "a/b", text[3]) == 0);
    }
    assert(xd_ignore_child(first, (xd_bytes){ NULL, 0 }, text[0], text[1], &base) == 0);
    assert(xd_ignore_child(base, XD_BYTES_LIT("a"), text[2], text[0], &folder) == 0);
    return xd_take(&folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_bytes in = { data, len }, text[TEXTS];
    char     path[4096];
    if (len > 65536)
        return 0;
    for (size_t i = 0; i < TEXTS; i++)
        text[i] = cut(&in);
    xd_auto(xd_ignore) *rules = make(text, true), *again = make(text, true), *without = make(text, false);
    assert(xd_digest_eq(xd_ignore_digest(rules), xd_ignore_digest(again)));
    for (int i = 0; i < PATHS && in.len; i++) {
        xd_bytes p = cut(&in);
        if (p.len + 8 > sizeof(path))
            continue;
        memcpy(path, "a/", 2);
        if (p.len)
            memcpy(path + 2, p.ptr, p.len);
        for (unsigned from = 0; from <= 2; from += 2) {
            bool file = xd_ignore_match(rules, path + from, p.len + 2 - from, false);
            bool folder = xd_ignore_match(rules, path + from, p.len + 2 - from, true);
            assert(file == xd_ignore_match(again, path + from, p.len + 2 - from, false));
            assert(file || !xd_ignore_match(without, path + from, p.len + 2 - from, false));
            assert(folder || !xd_ignore_match(without, path + from, p.len + 2 - from, true));
        }
        memcpy(path + 2 + p.len, "/.git", 5);
        assert(xd_ignore_match(rules, path, p.len + 7, true));
        memcpy(path + 2 + p.len, "/.xd-", 5);
        assert(xd_ignore_match(rules, path, p.len + 7, false));
    }
    return 0;
}
