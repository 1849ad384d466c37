/* engine/keys.c - see keys.h. */
#include "engine/keys.h"

#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define FILE_MAX_BYTES (64u << 10)

int xd_keypair_make(xd_keypair *ret)
{
    if (sodium_init() < 0 || crypto_box_keypair(ret->pub.at, ret->secret) != 0)
        return -EIO;
    return 0;
}

void xd_keypair_wipe(xd_keypair *k)
{
    sodium_memzero(k, sizeof(*k));
}

bool xd_pubkey_eq(const xd_pubkey *a, const xd_pubkey *b)
{
    return sodium_memcmp(a->at, b->at, XD_KEY_BYTES) == 0;
}

static int parse_z85(uint8_t ret[XD_KEY_BYTES], xd_bytes z85)
{
    char    text[XD_KEY_Z85 + 1];
    uint8_t key[XD_KEY_BYTES];
    int     r = -EINVAL;
    if (z85.len != XD_KEY_Z85)
        return -EINVAL;
    memcpy(text, z85.ptr, XD_KEY_Z85);
    text[XD_KEY_Z85] = 0;
    if (strlen(text) == XD_KEY_Z85 && zmq_z85_decode(key, text)) {
        memcpy(ret, key, XD_KEY_BYTES);
        r = 0;
    }
    sodium_memzero(text, sizeof(text)); /* it may be a secret one */
    sodium_memzero(key, sizeof(key));
    return r;
}

int xd_pubkey_parse(xd_pubkey *ret, xd_bytes z85)
{
    return parse_z85(ret->at, z85);
}

void xd_pubkey_text(const xd_pubkey *key, char ret[XD_KEY_Z85 + 1])
{
    (void)zmq_z85_encode(ret, key->at, XD_KEY_BYTES); /* fails for other sizes only */
}

void xd_pubkey_fingerprint(const xd_pubkey *key, char ret[XD_FINGERPRINT_SIZE])
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256(hash, key->at, XD_KEY_BYTES);
    const int n = snprintf(ret, XD_FINGERPRINT_SIZE, "SHA256:");
    (void)sodium_bin2base64(ret + n, XD_FINGERPRINT_SIZE - (size_t)n, hash, sizeof(hash),
                            sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

/* ---- certificates -------------------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The value of `name = value` in a line without its indentation: between quotes, or up to a blank. */
static bool value_of(xd_bytes line, const char *name, xd_bytes *ret)
{
    const size_t n = strlen(name);
    size_t       at = n;
    if (line.len < n || memcmp(line.ptr, name, n) != 0)
        return false;
    while (at < line.len && is_blank(line.ptr[at]))
        at++;
    if (at == line.len || line.ptr[at] != '=')
        return false;
    for (at++; at < line.len && is_blank(line.ptr[at]);)
        at++;
    const bool    quoted = at < line.len && (line.ptr[at] == '"' || line.ptr[at] == '\'');
    const uint8_t quote = quoted ? line.ptr[at++] : 0;
    size_t        end = at;
    while (end < line.len && (quoted ? line.ptr[end] != quote : !is_blank(line.ptr[end])))
        end++;
    if (quoted && end == line.len)
        return false;
    *ret = (xd_bytes){ line.ptr + at, end - at };
    return true;
}

/* `curve`, with nothing but blanks and a comment behind. */
static bool is_curve(xd_bytes line)
{
    size_t at = 5;
    if (line.len < at || memcmp(line.ptr, "curve", at) != 0)
        return false;
    while (at < line.len && is_blank(line.ptr[at]))
        at++;
    return at == line.len || (at > 5 && line.ptr[at] == '#');
}

static int bad(xd_error *err, const char *why)
{
    return xd_error_set(err, -EINVAL, "%s", why);
}

/* Lines of ZPL: a name at the margin begins a section, what is indented belongs to it. */
int xd_keypair_parse(xd_keypair *ret, xd_bytes text, xd_error *err)
{
    xd_bytes   pub = { 0 }, secret = { 0 };
    bool       curve = false;
    xd_keypair k;
    uint8_t    made[XD_KEY_BYTES];
    for (size_t at = 0; at < text.len;) {
        const uint8_t *nl = memchr(text.ptr + at, '\n', text.len - at);
        const size_t   next = nl ? (size_t)(nl - text.ptr) + 1 : text.len;
        xd_bytes       line = { text.ptr + at, (nl ? next - 1 : next) - at };
        at = next;
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        const bool inside = line.len && line.ptr[0] == ' ';
        while (line.len && line.ptr[0] == ' ')
            line = (xd_bytes){ line.ptr + 1, line.len - 1 };
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (!inside)
            curve = is_curve(line);
        else if (curve && !pub.ptr && value_of(line, "public-key", &pub))
            continue;
        else if (curve && !secret.ptr)
            (void)value_of(line, "secret-key", &secret);
    }
    if (!pub.ptr || !secret.ptr)
        return bad(err, "it is no secret certificate: `curve` with `public-key` and `secret-key` is missing");
    int r = parse_z85(k.pub.at, pub);
    if (r == 0)
        r = parse_z85(k.secret, secret);
    if (r < 0)
        r = bad(err, "its keys are not 40 characters of Z85");
    else if (crypto_scalarmult_base(made, k.secret) != 0 || memcmp(made, k.pub.at, sizeof(made)) != 0)
        r = bad(err, "its two keys do not belong together");
    if (r == 0)
        *ret = k;
    xd_keypair_wipe(&k);
    return r;
}

static int private_file(int fd, const char *path, xd_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return xd_error_set(err, -errno, "%s: %s", path, xd_error_name(-errno));
    if (!S_ISREG(st.st_mode))
        return xd_error_set(err, -EINVAL, "%s is no file", path);
    if (st.st_uid != geteuid())
        return xd_error_set(err, -EPERM, "%s belongs to another user: a secret key must be one's own", path);
    if (st.st_mode & 077)
        return xd_error_set(err, -EPERM, "%s has mode %04o: others may use the secret key; chmod 600 it",
                            path, (unsigned)st.st_mode & 07777);
    return 0;
}

int xd_keypair_read(xd_keypair *ret, const char *path, xd_error *err)
{
    uint8_t          text[8192];
    xd_error         why = { 0 };
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return xd_error_set(err, -errno, "%s: %s", path, xd_error_name(-errno));
    XD_TRY(private_file(fd, path, err));
    size_t len = 0;
    for (ssize_t n; len < sizeof(text); len += (size_t)n) {
        n = read(fd, text + len, sizeof(text) - len);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n < 0)
            return xd_error_set(err, -errno, "%s: %s", path, xd_error_name(-errno));
        else if (n == 0)
            break;
    }
    int r = len == sizeof(text) ? bad(&why, "it is too long for a certificate")
                                : xd_keypair_parse(ret, (xd_bytes){ text, len }, &why);
    sodium_memzero(text, sizeof(text));
    return r < 0 ? xd_error_set(err, r, "%s: %s", path, why.text) : 0;
}

static int certificate(xd_buf *to, const xd_keypair *k, const char *comment)
{
    char       pub[XD_KEY_Z85 + 1], secret[XD_KEY_Z85 + 1], when[32] = "";
    time_t     now = time(NULL);
    struct tm  tm;
    xd_autobuf name = XD_BUF_INIT;
    xd_pubkey_text(&k->pub, pub);
    (void)zmq_z85_encode(secret, k->secret, XD_KEY_BYTES);
    if (gmtime_r(&now, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    int r = xd_text_harmless(&name, xd_bytes_str(comment), false);
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == '"')
            name.data[i] = '\'';
    if (r == 0)
        r = xd_buf_printf(to,
                          "#   ****  Made %s by xdctl; a secret certificate of ZeroMQ CURVE  ****\n"
                          "#   Anyone who can read this file can act as its owner: keep it private.\n"
                          "\n"
                          "metadata\n"
                          "    name = \"%s\"\n"
                          "curve\n"
                          "    public-key = \"%s\"\n"
                          "    secret-key = \"%s\"\n",
                          when, xd_buf_cstr(&name), pub, secret);
    sodium_memzero(secret, sizeof(secret));
    return r;
}

int xd_keypair_write(const xd_keypair *k, const char *path, const char *comment, xd_error *err)
{
    xd_buf text = XD_BUF_INIT;
    int    r = xd_buf_reserve(&text, 4096); /* so that no copy of the secret is left behind by growing */
    if (r == 0)
        r = certificate(&text, k, comment);
    int fd = r == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (r == 0 && fd < 0)
        r = -errno;
    const bool made = fd >= 0;
    for (size_t at = 0; r == 0 && at < text.len;) {
        ssize_t n = write(fd, text.data + at, text.len - at);
        if (n < 0 && errno != EINTR)
            r = -errno;
        else if (n > 0)
            at += (size_t)n;
    }
    if (r == 0 && fsync(fd) < 0 && errno != EINVAL)
        r = -errno;
    if (fd >= 0 && close(fd) < 0 && r == 0)
        r = -errno;
    if (r < 0 && made)
        (void)unlink(path);
    sodium_memzero(text.data, text.data ? text.cap : 0);
    xd_buf_release(&text);
    return r < 0 ? xd_error_set(err, r, "%s: %s", path, xd_error_name(r)) : 0;
}

/* ---- folder ---------------------------------------------------------------------------------------------- */

int xd_keys_folder(const char *given, char **ret, xd_error *err)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char       *path = NULL;
    if (given && !*given)
        return xd_error_set(err, -EINVAL, "--keys names no folder");
    if (given) {
        path = strdup(given);
    } else if (base && base[0] == '/') { /* relative values are to be ignored, says the specification */
        path = xd_path_join(base, "xdctl");
    } else if (home && home[0] == '/') {
        xd_autofree char *below = xd_path_join(home, ".config/xdctl");
        path = xd_take(&below);
    } else {
        return xd_error_set(err, -ENOENT,
                            "neither $XDG_CONFIG_HOME nor $HOME names a folder for keys: --keys FOLDER does");
    }
    if (!path)
        return xd_error_set(err, -ENOMEM, "out of memory");
    *ret = path;
    return 0;
}

int xd_keys_owner(xd_buf *to)
{
    char          host[256], system[256], room[1024];
    struct passwd p, *found = NULL;
    const char   *user = getenv("USER");
    if (!user || !*user)
        user = getpwuid_r(geteuid(), &p, room, sizeof(room), &found) == 0 && found ? found->pw_name : "?";
    xd_os_names(host, sizeof(host), system, sizeof(system));
    return xd_buf_printf(to, "%s@%s", user, host);
}
