/* actors/keys.c - keys for users of the library: see xd.h, and engine/keys.h, engine/keylist.h. */
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/address.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/trust.h"
#include "engine/xd.h"
#include "gateways/server_key.h"

#define PUB_FILE XD_KEY_FILE ".pub"

static int said(int r, const xd_error *e, char *err)
{
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%s", *e->text ? e->text : xd_error_name(r));
    return r;
}

/* *ret: a file of the folder, malloc'ed. */
static int path_of(const char *folder, const char *name, char **ret, xd_error *e)
{
    xd_autofree char *found = NULL;
    XD_TRY(xd_keys_folder(folder, &found, e));
    *ret = xd_path_join(found, name);
    return *ret ? 0 : -ENOMEM;
}

static void tell(xd_key_fn fn, void *arg, const char *file, const xd_pubkey *key, const xd_key_line *line,
                 const char *comment)
{
    char        text[XD_KEY_Z85 + 1], print[XD_FINGERPRINT_SIZE];
    xd_key_info info = { .size = sizeof(info), .file = file, .key = text, .fingerprint = print };
    xd_pubkey_text(key, text);
    xd_pubkey_fingerprint(key, print);
    info.address = line ? line->address : NULL;
    info.comment = line ? line->comment : comment;
    info.expires = line ? line->expires_s : INT64_MAX;
    info.max_workers = line ? line->max_workers : 0;
    fn(arg, &info);
}

/* ---- the own key ---------------------------------------------------------------------------------------------- */

/* What is in id.pub behind the key; "" without such a file. */
static int pub_comment(const char *folder, xd_buf *ret, xd_error *e)
{
    xd_autobuf        text = XD_BUF_INIT;
    xd_keylist        l = XD_KEYLIST_INIT;
    xd_autofree char *path = NULL;
    XD_TRY(path_of(folder, PUB_FILE, &path, e));
    int r = 0;
    if (xd_path_read_file(path, 4096, &text, NULL) == 0 &&
        xd_keylist_parse(&l, XD_KEYLIST_AUTHORIZED, xd_buf_view(&text), path, NULL) == 0 && l.count)
        r = xd_buf_add_str(ret, l.at[0].comment);
    xd_keylist_release(&l);
    return r;
}

static int own_comment(const char *given, xd_buf *ret)
{
    return given ? xd_text_harmless(ret, xd_bytes_str(given), false) : xd_keys_owner(ret);
}

static int write_pub(const char *folder, const xd_pubkey *key, const char *comment, xd_error *e)
{
    char              text[XD_KEY_Z85 + 1];
    xd_autobuf        line = XD_BUF_INIT;
    xd_autofree char *path = NULL;
    xd_pubkey_text(key, text);
    XD_TRY(path_of(folder, PUB_FILE, &path, e));
    XD_TRY(xd_buf_printf(&line, XD_KEY_WORD " %s %s\n", text, comment));
    return xd_path_write_file(path, xd_buf_view(&line), 0644, e);
}

static int make(const char *folder, const char *comment, xd_key_fn fn, void *arg, xd_error *e)
{
    xd_keypair        k;
    xd_autobuf        words = XD_BUF_INIT;
    xd_autofree char *path = NULL, *dir = NULL;
    XD_TRY(path_of(folder, XD_KEY_FILE, &path, e));
    int        r = xd_keypair_read(&k, path, e);
    const bool there = r == 0;
    if (there) {
        r = pub_comment(folder, &words, e);
    } else if (r == -ENOENT) {
        dir = xd_path_dir(path);
        r = dir ? xd_path_mkdirs(dir, 0700, e) : -ENOMEM;
        if (r == 0)
            r = own_comment(comment, &words);
        if (r == 0)
            r = xd_keypair_make(&k);
        if (r == 0)
            r = xd_keypair_write(&k, path, xd_buf_cstr(&words), e);
        if (r == 0)
            r = write_pub(folder, &k.pub, xd_buf_cstr(&words), e);
    }
    if (r == 0)
        tell(fn, arg, XD_KEY_FILE, &k.pub, NULL, xd_buf_cstr(&words));
    xd_keypair_wipe(&k);
    return r < 0 ? r : there;
}

int xd_keys_make(const char *folder, const char *comment, xd_key_fn fn, void *arg, char *err)
{
    xd_error e = { 0 };
    return said(make(folder, comment, fn, arg, &e), &e, err);
}

int xd_keys_fingerprint(const char *key, char *ret)
{
    xd_pubkey k;
    XD_TRY(xd_pubkey_parse(&k, xd_bytes_str(key)));
    xd_pubkey_fingerprint(&k, ret);
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char     *name;
    xd_keylist_kind kind;
} lists[] = {
    { XD_KEYLIST_CONTROLLERS, XD_KEYLIST_AUTHORIZED },
    { XD_KEYLIST_WORKERS, XD_KEYLIST_AUTHORIZED },
    { XD_KEYLIST_BROKERS, XD_KEYLIST_KNOWN },
    { XD_KEYLIST_REVOKED, XD_KEYLIST_AUTHORIZED },
};

static int read_one(const char *folder, size_t i, xd_keylist *ret, xd_error *e)
{
    xd_autofree char *path = NULL;
    XD_TRY(path_of(folder, lists[i].name, &path, e));
    return xd_keylist_read(ret, lists[i].kind, path, e);
}

static int list_all(const char *folder, xd_key_fn fn, void *arg, xd_error *e)
{
    xd_keypair        k;
    xd_autobuf        words = XD_BUF_INIT;
    xd_autofree char *path = NULL;
    XD_TRY(path_of(folder, XD_KEY_FILE, &path, e));
    int r = xd_keypair_read(&k, path, e);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0 && (r = pub_comment(folder, &words, e)) == 0)
        tell(fn, arg, XD_KEY_FILE, &k.pub, NULL, xd_buf_cstr(&words));
    xd_keypair_wipe(&k);
    for (size_t i = 0; i < XD_ARRAY_LEN(lists); i++) {
        xd_keylist l = XD_KEYLIST_INIT;
        XD_TRY(read_one(folder, i, &l, e));
        for (size_t n = 0; n < l.count; n++)
            tell(fn, arg, lists[i].name, &l.at[n].key, &l.at[n], NULL);
        xd_keylist_release(&l);
    }
    return 0;
}

int xd_keys_list(const char *folder, xd_key_fn fn, void *arg, char *err)
{
    xd_error e = { 0 };
    return said(list_all(folder, fn, arg, &e), &e, err);
}

/* ---- servers ------------------------------------------------------------------------------------------------------- */

static int known(const char *folder, const char *address, const char *key, xd_error *e)
{
    xd_address        at;
    xd_pubkey         k;
    xd_keylist        l = XD_KEYLIST_INIT;
    xd_autofree char *path = NULL;
    XD_TRY(xd_address_parse(&at, xd_address_plain(address), XD_PORT, e));
    if (xd_pubkey_parse(&k, xd_bytes_str(key)) < 0)
        return xd_error_set(e, -EINVAL, "'%.60s' is no key: it has 40 characters of Z85", key);
    XD_TRY(path_of(folder, XD_KEYLIST_BROKERS, &path, e));
    XD_TRY(xd_keylist_read(&l, XD_KEYLIST_KNOWN, path, e));
    const xd_key_line *line = xd_keylist_find_address(&l, at.text);
    int                r = !line ? 0 : xd_pubkey_eq(&line->key, &k) ? 1 : -EKEYREJECTED;
    if (r < 0) {
        char was[XD_FINGERPRINT_SIZE];
        xd_pubkey_fingerprint(&line->key, was);
        (void)xd_error_set(e, r, "%s is known by another key, %s (%s, line %u)", at.text, was, path,
                           (unsigned)line->line);
    }
    xd_keylist_release(&l);
    return r;
}

int xd_keys_known(const char *folder, const char *address, const char *key, char *err)
{
    xd_error e = { 0 };
    return said(known(folder, address, key, &e), &e, err);
}

/* Takes away what the file says of this address. */
static int forget_address(const char *path, const char *address, xd_error *e)
{
    for (;;) {
        xd_keylist l = XD_KEYLIST_INIT;
        XD_TRY(xd_keylist_read(&l, XD_KEYLIST_KNOWN, path, e));
        const xd_key_line *line = xd_keylist_find_address(&l, address);
        int                r = line ? xd_keylist_remove(path, XD_KEYLIST_KNOWN, &line->key, address, e) : 0;
        xd_keylist_release(&l);
        if (r <= 0)
            return r;
    }
}

static int trust(const char *folder, const char *address, const char *key, const char *comment, xd_error *e)
{
    xd_address        at;
    xd_autobuf        line = XD_BUF_INIT;
    xd_autofree char *path = NULL;
    int               r = known(folder, address, key, e);
    if (r == 1)
        return 0;
    if (r < 0 && r != -EKEYREJECTED)
        return r;
    XD_TRY(xd_address_parse(&at, xd_address_plain(address), XD_PORT, e));
    XD_TRY(path_of(folder, XD_KEYLIST_BROKERS, &path, e));
    XD_TRY(forget_address(path, at.text, e));
    XD_TRY(xd_buf_printf(&line, "%s " XD_KEY_WORD " %s", at.text, key));
    if (comment && *comment) {
        XD_TRY(xd_buf_add_byte(&line, ' '));
        XD_TRY(xd_text_harmless(&line, xd_bytes_str(comment), false));
    }
    return xd_keylist_add(path, xd_buf_cstr(&line), e);
}

int xd_keys_trust(const char *folder, const char *address, const char *key, const char *comment, char *err)
{
    xd_error e = { 0 };
    return said(trust(folder, address, key, comment, &e), &e, err);
}

static int wait_for(void *arg, int fd, short events, uint64_t until)
{
    const uint64_t now = xd_clock_ns();
    struct pollfd  p = { .fd = fd, .events = events };
    (void)arg;
    if (now >= until)
        return -ETIMEDOUT;
    return poll(&p, 1, (int)((until - now) / XD_MS_NS) + 1) > 0 ? 1 : -ETIMEDOUT;
}

static int ask(const char *address, int timeout_ms, char *ret, xd_error *e)
{
    xd_address            at;
    xd_pubkey             key;
    char                  port[8], answer[XD_SERVER_KEY_ANSWER];
    struct addrinfo      *found = NULL;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    const uint64_t        wait_ms = timeout_ms > 0 ? (uint64_t)timeout_ms : 1;
    const uint64_t        until = xd_clock_ns() + wait_ms * XD_MS_NS;
    xd_autoclose int      fd = -1;
    XD_TRY(xd_address_parse(&at, xd_address_plain(address), XD_PORT, e));
    snprintf(port, sizeof(port), "%u", (unsigned)at.port);
    int r = getaddrinfo(at.host, port, &hints, &found);
    if (r != 0)
        return xd_error_set(e, -EHOSTUNREACH, "cannot resolve the name %s: %s", at.host, gai_strerror(r));
    r = -EHOSTUNREACH;
    for (const struct addrinfo *a = found; a && r < 0; a = a->ai_next)
        r = xd_server_key_connect(a, wait_for, NULL, until, &fd);
    freeaddrinfo(found);
    if (r < 0)
        return xd_error_set(e, r, "connect to %s: %s%s", at.text, xd_error_name(r),
                            r == -ECONNREFUSED ? "; is xdctl serve running there?" : "");
    r = xd_server_key_ask(fd, wait_for, NULL, until, answer);
    if (r < 0 || xd_server_key_read(answer, &key) < 0)
        return xd_error_set(e, -EPROTO, "what answers at %s is no server of xd: it does not say its key%s",
                            at.text, r == -ETIMEDOUT ? " in time" : "");
    xd_pubkey_text(&key, ret);
    return 0;
}

int xd_keys_ask(const char *address, int timeout_ms, char *ret, char *err)
{
    xd_error e = { 0 };
    return said(ask(address, timeout_ms, ret, &e), &e, err);
}

/* ---- who may connect ------------------------------------------------------------------------------------------------ */

static int authorize(const char *folder, const char *list, const char *line, xd_error *e)
{
    xd_keylist        one = XD_KEYLIST_INIT;
    xd_autofree char *path = NULL, *revoked = NULL;
    if (strchr(line, '\n') || strchr(line, '\r'))
        return xd_error_set(e, -EINVAL, "one line is expected: [OPTIONS] xdk1 KEY [COMMENT]");
    XD_TRY(path_of(folder, list, &path, e));
    XD_TRY(path_of(folder, XD_KEYLIST_REVOKED, &revoked, e));
    XD_TRY(xd_keylist_parse(&one, XD_KEYLIST_AUTHORIZED, xd_bytes_str(line), "the given line", e));
    int r = one.count == 1 ? 0 : xd_error_set(e, -EINVAL, "a key is expected: [OPTIONS] xdk1 KEY [COMMENT]");
    if (r == 0)
        r = xd_keylist_remove(revoked, XD_KEYLIST_AUTHORIZED, &one.at[0].key, NULL, e);
    if (r >= 0)
        r = xd_keylist_remove(path, XD_KEYLIST_AUTHORIZED, &one.at[0].key, NULL, e);
    const int was = r > 0;
    if (r >= 0)
        r = xd_keylist_add(path, line, e);
    xd_keylist_release(&one);
    return r < 0 ? r : was;
}

int xd_keys_authorize(const char *folder, const char *line, char *err)
{
    xd_error e = { 0 };
    return said(authorize(folder, XD_KEYLIST_CONTROLLERS, line, &e), &e, err);
}

int xd_keys_authorize_worker(const char *folder, const char *line, char *err)
{
    xd_error e = { 0 };
    return said(authorize(folder, XD_KEYLIST_WORKERS, line, &e), &e, err);
}

/* The key that is meant: itself, its fingerprint, or its comment. */
static int find_key(const char *folder, const char *which, xd_pubkey *ret, xd_error *e)
{
    const size_t word = strlen(XD_KEY_WORD " ");
    int          found = 0;
    if (strncmp(which, XD_KEY_WORD " ", word) == 0)
        which += word;
    if (xd_pubkey_parse(ret, xd_bytes_str(which)) == 0)
        return 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(lists) - 1; i++) {
        xd_keylist l = XD_KEYLIST_INIT;
        XD_TRY(read_one(folder, i, &l, e));
        for (size_t n = 0; n < l.count; n++) {
            char print[XD_FINGERPRINT_SIZE];
            xd_pubkey_fingerprint(&l.at[n].key, print);
            if (strcmp(which, print) != 0 && strcmp(which, l.at[n].comment) != 0)
                continue;
            found += !found || !xd_pubkey_eq(ret, &l.at[n].key);
            *ret = l.at[n].key;
        }
        xd_keylist_release(&l);
    }
    if (found > 1)
        return xd_error_set(e, -EEXIST, "several keys have the comment '%.80s': name one by its fingerprint",
                            which);
    return found
               ? 0
               : xd_error_set(e, -ENOENT,
                              "no key here is, has the fingerprint, or the comment '%.80s' (xdctl keys list)",
                              which);
}

static int revoke_key(const char *folder, const char *which, xd_error *e)
{
    xd_pubkey         key;
    char              text[XD_KEY_Z85 + 1];
    xd_autobuf        line = XD_BUF_INIT;
    xd_keylist        gone = XD_KEYLIST_INIT;
    xd_autofree char *revoked = NULL;
    int               removed = 0;
    XD_TRY(find_key(folder, which, &key, e));
    XD_TRY(path_of(folder, XD_KEYLIST_REVOKED, &revoked, e));
    XD_TRY(xd_keylist_read(&gone, XD_KEYLIST_AUTHORIZED, revoked, e));
    const bool there = xd_keylist_find(&gone, &key) != NULL;
    xd_keylist_release(&gone);
    xd_pubkey_text(&key, text);
    XD_TRY(xd_buf_printf(&line, XD_KEY_WORD " %s", text));
    if (!there)
        XD_TRY(xd_keylist_add(revoked, xd_buf_cstr(&line),
                              e)); /* first: a fault behind it leaves nothing open */
    for (size_t i = 0; i < XD_ARRAY_LEN(lists) - 1; i++) {
        xd_autofree char *path = NULL;
        XD_TRY(path_of(folder, lists[i].name, &path, e));
        int r = xd_keylist_remove(path, lists[i].kind, &key, NULL, e);
        XD_TRY(r);
        removed += r;
    }
    return XD_MAX(removed, 1);
}

int xd_keys_revoke(const char *folder, const char *which, char *err)
{
    xd_error e = { 0 };
    return said(revoke_key(folder, which, &e), &e, err);
}
