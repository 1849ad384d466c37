/* engine/trust.c - see trust.h. */
#include "engine/trust.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"

#define FAILURES_MAX 20u /* of one address within the time below; then it waits */
#define FAILURES_S 60
#define ADDRESSES 512u /* that are remembered; the one that failed longest ago goes */

typedef struct failures {
    char     address[48];
    uint32_t count;
    int64_t  since_s;
} failures;

/* What a file was when it was read. */
typedef struct version {
    bool            there;
    dev_t           dev;
    ino_t           ino;
    off_t           size;
    struct timespec mtime, ctime;
} version;

struct xd_trust {
    xd_keypair key;
    char      *list, *revoked; /* paths */
    xd_keylist authorized, withdrawn;
    version    seen[2];
    failures   failed[ADDRESSES];
};

static version version_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (version){ 0 };
    return (version){ true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const version *a, const version *b)
{
    return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

static int read_list(const char *path, xd_keylist *into, version *seen, xd_error *err)
{
    xd_keylist l = XD_KEYLIST_INIT;
    version    now = version_of(path);
    if (same(&now, seen))
        return 0;
    *seen = now; /* also of one that cannot be used: that is said once */
    XD_TRY(xd_keylist_read(&l, XD_KEYLIST_AUTHORIZED, path, err));
    xd_keylist_release(into);
    *into = l;
    return 1;
}

int xd_trust_refresh(xd_trust *t, xd_error *err)
{
    int a = read_list(t->list, &t->authorized, &t->seen[0], err);
    int b = read_list(t->revoked, &t->withdrawn, &t->seen[1], a < 0 ? NULL : err);
    if (a < 0 && b < 0)
        t->seen[1] = (version){ 0 }; /* report that error at the next refresh */
    return a < 0 ? a : b < 0 ? b : a || b;
}

static int own_key(xd_trust *t, const char *folder, bool make, xd_error *err)
{
    char              host[256], system[256];
    xd_autofree char *path = xd_path_join(folder, XD_KEY_FILE);
    if (!path)
        return -ENOMEM;
    int r = xd_keypair_read(&t->key, path, err);
    if (r != -ENOENT || !make)
        return r;
    XD_TRY(xd_path_mkdirs(folder, 0700, err));
    r = xd_keypair_make(&t->key);
    if (r < 0)
        return xd_error_set(err, r, "no key can be made: %s", xd_error_name(r));
    xd_os_names(host, sizeof(host), system, sizeof(system));
    r = xd_keypair_write(&t->key, path, host, err);
    return r == -EEXIST ? xd_keypair_read(&t->key, path, err) : r; /* another one was faster */
}

int xd_trust_open(xd_trust **ret, const char *folder, const char *list, bool make, xd_error *err)
{
    xd_auto(xd_trust) *t = calloc(1, sizeof(*t));
    if (!t)
        return xd_error_set(err, -ENOMEM, "out of memory");
    t->list = xd_path_join(folder, list);
    t->revoked = xd_path_join(folder, XD_KEYLIST_REVOKED);
    if (!t->list || !t->revoked)
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(own_key(t, folder, make, err));
    XD_TRY(xd_trust_refresh(t, err));
    *ret = xd_take(&t);
    return 0;
}

xd_trust *xd_trust_free(xd_trust *t)
{
    if (!t)
        return NULL;
    xd_keypair_wipe(&t->key);
    xd_keylist_release(&t->authorized);
    xd_keylist_release(&t->withdrawn);
    free(t->list);
    free(t->revoked);
    free(t);
    return NULL;
}

const xd_keypair *xd_trust_key(const xd_trust *t)
{
    return &t->key;
}

size_t xd_trust_count(const xd_trust *t)
{
    return t->authorized.count;
}

/* ---- failures ------------------------------------------------------------------------------------------------ */

static failures *failures_of(xd_trust *t, const char *address, int64_t now_s)
{
    failures *oldest = &t->failed[0];
    for (size_t i = 0; i < ADDRESSES; i++) {
        failures *f = &t->failed[i];
        if (strncmp(f->address, address, sizeof(f->address)) == 0) {
            if (now_s - f->since_s >= FAILURES_S || now_s < f->since_s)
                f->count = 0;
            return f;
        }
        if (f->since_s < oldest->since_s)
            oldest = f;
    }
    *oldest = (failures){ 0 };
    memcpy(oldest->address, address, XD_MIN(strlen(address), sizeof(oldest->address) - 1));
    return oldest;
}

/* ---- the verdict ----------------------------------------------------------------------------------------------- */

static xd_trust_verdict judge(const xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s,
                              const xd_key_line **ret_line)
{
    const xd_key_line *line = xd_keylist_find(&t->authorized, key);
    if (ret_line)
        *ret_line = line;
    if (xd_keylist_find(&t->withdrawn, key))
        return XD_TRUST_REVOKED;
    if (!line)
        return XD_TRUST_UNKNOWN;
    switch (xd_key_line_check(line, address, now_s)) {
    case XD_KEY_EXPIRED:
        return XD_TRUST_EXPIRED;
    case XD_KEY_ELSEWHERE:
        return XD_TRUST_ELSEWHERE;
    default:
        return XD_TRUST_GOOD;
    }
}

xd_trust_verdict xd_trust_still(const xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s)
{
    return judge(t, key, address, now_s, NULL);
}

static uint32_t count_failure(failures *f, int64_t now_s)
{
    if (f->count == 0)
        f->since_s = now_s;
    return ++f->count;
}

xd_trust_verdict xd_trust_ask(xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s,
                              const xd_key_line **ret_line)
{
    failures              *f = failures_of(t, address, now_s);
    const xd_trust_verdict v = judge(t, key, address, now_s, ret_line);
    if (v == XD_TRUST_GOOD)
        return v; /* others at its address, behind one gateway, do not lock it out */
    return count_failure(f, now_s) > FAILURES_MAX ? XD_TRUST_OFTEN : v;
}

xd_trust_verdict xd_trust_ask_first(xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s,
                                    const xd_key_line **ret_line)
{
    if (judge(t, key, address, now_s, ret_line) != XD_TRUST_UNKNOWN)
        return xd_trust_ask(t, key, address, now_s, ret_line);
    return failures_of(t, address, now_s)->count > FAILURES_MAX ? XD_TRUST_OFTEN : XD_TRUST_UNKNOWN;
}

void xd_trust_failed(xd_trust *t, const char *address, int64_t now_s)
{
    (void)count_failure(failures_of(t, address, now_s), now_s);
}

const char *xd_trust_words(xd_trust_verdict v)
{
    static const char *const words[] = {
        [XD_TRUST_GOOD] = "the key is trusted",
        [XD_TRUST_UNKNOWN] = "the key is not known",
        [XD_TRUST_REVOKED] = "the key was revoked",
        [XD_TRUST_EXPIRED] = "the key has expired",
        [XD_TRUST_ELSEWHERE] = "the key may not be used from this address",
        [XD_TRUST_OFTEN] = "too many keys of this address were refused within a minute",
    };
    return words[v];
}
