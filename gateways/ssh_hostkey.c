/* gateways/ssh_hostkey.c - see ssh_state.h: known_hosts.  libssh reads one file of the user and one of the system and knows no
 * @revoked; it also goes on when it has found that a key has changed. So the files are read here, line by line (libssh takes a
 * line apart and compares names, hashed ones too), and only a key that is known is gone on with. */
#include <ctype.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/ssh_state.h"

#define FILE_MAX (64u << 20)
#define USER_FILES "~/.ssh/known_hosts ~/.ssh/known_hosts2"
#define SYSTEM_FILES "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"

typedef enum mark { PLAIN, BY_HOST, REVOKED, AUTHORITY } mark;

typedef struct known {
    mark    is; /* BY_HOST: of the host's name without its port */
    ssh_key key;
    char   *where; /* "FILE:LINE" */
} known;

struct xd_ssh_hosts {
    char  *name;  /* as it stands in known_hosts: host, [host]:port */
    char  *plain; /* host; NULL when that is the same */
    known *at;
    size_t n;
};

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int add(xd_ssh_hosts *h, mark is, ssh_key key, const char *file, unsigned line)
{
    xd_autobuf where = XD_BUF_INIT;
    known     *more = realloc(h->at, (h->n + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    h->at = more;
    XD_TRY(xd_buf_printf(&where, "%s:%u", file, line));
    known k = { .is = is, .key = ssh_key_dup(key), .where = xd_bytes_dup(xd_buf_view(&where)) };
    if (!k.key || !k.where) {
        ssh_key_free(k.key);
        free(k.where);
        return -ENOMEM;
    }
    h->at[h->n++] = k;
    return 0;
}

/* "!name" in a list of names: libssh passes over it, but it takes the host out of the list. */
static bool is_excepted(const char *name, const char *line)
{
    char         names[1024];
    const size_t len = strcspn(line, " ");
    if (len >= sizeof(names) || !memchr(line, '!', len))
        return false;
    memcpy(names, line, len);
    names[len] = 0;
    return !xd_ssh_match_list(name, names, ",", true);
}

static int look_for(xd_ssh_hosts *h, const char *name, mark is, const char *line, const char *file,
                    unsigned number)
{
    struct ssh_knownhosts_entry *entry = NULL;
    if (is_excepted(name, line) || ssh_known_hosts_parse_line(name, line, &entry) != SSH_OK)
        return 1; /* of another host, or no such line */
    int r = add(h, is, entry->publickey, file, number);
    ssh_knownhosts_entry_free(entry);
    return r;
}

static int read_line(xd_ssh_hosts *h, char *line, const char *file, unsigned number)
{
    mark is = PLAIN;
    for (char *p = line; *p; p++)
        if (*p == '\t' || *p == '\r')
            *p = ' ';
    line += strspn(line, " ");
    if (!*line || *line == '#')
        return 0;
    if (*line == '@') {
        const size_t len = strcspn(line, " ");
        is = len == 8 && memcmp(line, "@revoked", len) == 0           ? REVOKED
             : len == 15 && memcmp(line, "@cert-authority", len) == 0 ? AUTHORITY
                                                                      : PLAIN;
        if (is == PLAIN)
            return 0;
        line += len;
        line += strspn(line, " ");
    }
    int r = look_for(h, h->name, is, line, file, number);
    if (r == 1 && h->plain)
        r = look_for(h, h->plain, is == PLAIN ? BY_HOST : is, line, file, number);
    return XD_MIN(r, 0);
}

static int read_file(xd_ssh_hosts *h, const char *file)
{
    xd_autobuf text = XD_BUF_INIT;
    if (xd_path_read_file(file, FILE_MAX, &text, NULL) < 0)
        return 0; /* as ssh: a file that cannot be read has no keys */
    char    *rest = (char *)(uintptr_t)xd_buf_cstr(&text);
    unsigned number = 0;
    for (char *line = rest; line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        XD_TRY(read_line(h, line, file, ++number));
    }
    return 0;
}

static int read_files(xd_ssh_hosts *h, const xd_ssh_conf *c, const char *list)
{
    for (;;) {
        xd_autofree char *file = xd_ssh_conf_next_file(c, &list);
        if (!file)
            return 0;
        if (strcasecmp(file, "none") != 0)
            XD_TRY(read_file(h, file));
    }
}

static int names(xd_ssh_hosts *h, const xd_ssh_conf *c)
{
    const char *alias = xd_ssh_conf_get(c, "hostkeyalias", NULL);
    xd_autobuf  name = XD_BUF_INIT;
    if (alias) {
        XD_TRY(xd_buf_add_str(&name, alias));
        for (size_t i = 0; i < name.len; i++)
            name.data[i] = (uint8_t)tolower(name.data[i]);
    } else if (xd_ssh_conf_port(c) == 22) {
        XD_TRY(xd_buf_add_str(&name, xd_ssh_conf_host(c)));
    } else {
        XD_TRY(xd_buf_printf(&name, "[%s]:%u", xd_ssh_conf_host(c), (unsigned)xd_ssh_conf_port(c)));
        if (!(h->plain = strdup(xd_ssh_conf_host(c))))
            return -ENOMEM;
    }
    h->name = xd_bytes_dup(xd_buf_view(&name));
    return h->name ? 0 : -ENOMEM;
}

int xd_ssh_hosts_new(xd_ssh_hosts **ret, xd_ssh *s)
{
    const xd_ssh_conf *c = s->conf;
    xd_ssh_hosts      *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    int r = names(h, c);
    if (r == 0)
        r = read_files(h, c, xd_ssh_conf_get(c, "userknownhostsfile", USER_FILES));
    if (r == 0)
        r = read_files(h, c, xd_ssh_conf_get(c, "globalknownhostsfile", SYSTEM_FILES));
    if (r < 0)
        h = xd_ssh_hosts_free(h);
    *ret = h;
    return r;
}

xd_ssh_hosts *xd_ssh_hosts_free(xd_ssh_hosts *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->n; i++) {
        ssh_key_free(h->at[i].key);
        free(h->at[i].where);
    }
    free(h->at);
    free(h->name);
    free(h->plain);
    free(h);
    return NULL;
}

/* ---- which key is asked for -------------------------------------------------------------------------------------- */

static const struct {
    enum ssh_keytypes_e type;
    const char         *algorithms;
} types[] = { { SSH_KEYTYPE_ED25519, "ssh-ed25519" },
              { SSH_KEYTYPE_ECDSA_P521, "ecdsa-sha2-nistp521" },
              { SSH_KEYTYPE_ECDSA_P384, "ecdsa-sha2-nistp384" },
              { SSH_KEYTYPE_ECDSA_P256, "ecdsa-sha2-nistp256" },
              { SSH_KEYTYPE_RSA, "rsa-sha2-512,rsa-sha2-256" } };

static bool has_type(const xd_ssh_hosts *h, enum ssh_keytypes_e type)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->at[i].is <= BY_HOST && ssh_key_type(h->at[i].key) == type)
            return true;
    return false;
}

/* A host that has several keys shows the first that both have: one that is known, if there is one. */
int xd_ssh_hosts_algorithms(const xd_ssh_hosts *h, xd_buf *out)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < XD_ARRAY_LEN(types); i++)
            if (has_type(h, types[i].type) == (round == 0))
                XD_TRY(xd_buf_printf(out, "%s%s", out->len ? "," : "", types[i].algorithms));
    return 0;
}

/* ---- is it the one ----------------------------------------------------------------------------------------------- */

static const known *find(const xd_ssh_hosts *h, mark is, const ssh_key key)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->at[i].is == is && (!key || ssh_key_cmp(h->at[i].key, key, SSH_KEY_CMP_PUBLIC) == 0))
            return &h->at[i];
    return NULL;
}

static const char *type_name(const ssh_key key)
{
    switch (ssh_key_type(key)) {
    case SSH_KEYTYPE_ED25519:
        return "ED25519";
    case SSH_KEYTYPE_RSA:
        return "RSA";
    case SSH_KEYTYPE_DSS:
        return "DSA";
    default:
        return "ECDSA";
    }
}

static void fingerprint(const ssh_key key, char *to, size_t size)
{
    unsigned char *hash = NULL;
    size_t         len = 0;
    char          *text = NULL;
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == SSH_OK)
        text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
    snprintf(to, size, "%s", text ? text : "(no fingerprint)");
    ssh_clean_pubkey_hash(&hash);
    ssh_string_free_char(text);
}

static int refuse_changed(xd_ssh *s, const ssh_key key, const known *k)
{
    char              print[128];
    const char       *colon = strrchr(k->where, ':');
    xd_autofree char *file = strndup(k->where, (size_t)(colon - k->where));
    xd_autobuf        remove = XD_BUF_INIT;
    const bool        same = ssh_key_type(k->key) == ssh_key_type(key);
    fingerprint(key, print, sizeof(print));
    if (!file)
        return -ENOMEM;
    XD_TRY(xd_buf_add_str(&remove, "ssh-keygen -f "));
    XD_TRY(xd_text_shell_quote(&remove, file));
    XD_TRY(xd_buf_add_str(&remove, " -R "));
    XD_TRY(xd_text_shell_quote(&remove, s->hosts->name));
    return xd_ssh_fail(
        s, -EKEYREJECTED,
        "REMOTE HOST IDENTIFICATION HAS CHANGED! The %s key sent by %s is %s; %s%s%s in %s. Host key "
        "verification failed. If the change is right: %s",
        type_name(key), s->hosts->name, print, same ? "Offending " : "the known one is ", type_name(k->key),
        same ? " key" : ",", k->where, xd_buf_cstr(&remove));
}

static int refuse_unknown(xd_ssh *s, const ssh_key key)
{
    char       print[128];
    xd_autobuf login = XD_BUF_INIT;
    fingerprint(key, print, sizeof(print));
    XD_TRY(xd_buf_printf(&login, "ssh %s", xd_ssh_conf_words(s->conf)));
    return xd_ssh_fail(
        s, -EKEYREJECTED,
        "No %s host key is known for %s and you have requested strict checking (its fingerprint is "
        "%s). Host key verification failed. To accept it: %s true, or --ssh-accept-new",
        type_name(key), s->hosts->name, print, xd_buf_cstr(&login));
}

/* ---- a new one is written down ------------------------------------------------------------------------------------ */

/* As ssh-keygen -H: |1|salt|HMAC-SHA1(salt, name). */
static int hashed(const char *name, xd_buf *out)
{
    unsigned char salt[20], hash[20], text[2][32];
    unsigned      len = 0;
    if (RAND_bytes(salt, sizeof(salt)) != 1 ||
        !HMAC(EVP_sha1(), salt, sizeof(salt), (const unsigned char *)name, strlen(name), hash, &len))
        return -EIO;
    (void)EVP_EncodeBlock(text[0], salt, sizeof(salt));
    (void)EVP_EncodeBlock(text[1], hash, sizeof(hash));
    return xd_buf_printf(out, "|1|%s|%s", (const char *)text[0], (const char *)text[1]);
}

static int append(const char *file, xd_buf *line)
{
    xd_autofree char *dir = xd_path_dir(file);
    char              last = '\n';
    struct stat       st;
    if (!dir)
        return -ENOMEM;
    (void)mkdir(dir, 0700);
    xd_autoclose int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        (void)!pread(fd, &last, 1, st.st_size - 1);
    const bool join = last == '\n'; /* one write: other programs may append at this moment */
    if (write(fd, line->data + join, line->len - join) != (ssize_t)(line->len - join))
        return errno ? -errno : -EIO;
    return 0;
}

static int accept_new(xd_ssh *s, const ssh_key key)
{
    const char       *list = xd_ssh_conf_get(s->conf, "userknownhostsfile", USER_FILES);
    xd_autofree char *file = xd_ssh_conf_next_file(s->conf, &list);
    xd_autobuf        line = XD_BUF_INIT;
    char             *base64 = NULL;
    XD_TRY(xd_buf_add_byte(&line, '\n'));
    XD_TRY(xd_ssh_conf_is(s->conf, "hashknownhosts", false) ? hashed(s->hosts->name, &line)
                                                            : xd_buf_add_str(&line, s->hosts->name));
    if (!file || ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
        return -ENOMEM;
    const char *type = ssh_key_type(key) == SSH_KEYTYPE_RSA ? "ssh-rsa" : ssh_pki_key_ecdsa_name(key);
    if (ssh_key_type(key) == SSH_KEYTYPE_ED25519)
        type = "ssh-ed25519";
    int r = xd_buf_printf(&line, " %s %s\n", type, base64);
    ssh_string_free_char(base64);
    XD_TRY(r);
    if (strcasecmp(file, "none") == 0)
        return 0;
    r = append(file, &line);
    return r == 0 ? 0
                  : xd_ssh_fail(s, r, "the new host key of %s cannot be added to %s: %s", s->hosts->name,
                                file, xd_error_name(r));
}

static bool takes_new(const xd_ssh *s)
{
    const char *strict = xd_ssh_conf_get(s->conf, "stricthostkeychecking", "ask");
    return s->accept_new || strcasecmp(strict, "accept-new") == 0 || strcasecmp(strict, "no") == 0 ||
           strcasecmp(strict, "off") == 0;
}

static int check(xd_ssh *s, const ssh_key key)
{
    const xd_ssh_hosts *h = s->hosts;
    const known        *k = find(h, REVOKED, key);
    if (k)
        return xd_ssh_fail(
            s, -EKEYREJECTED,
            "REVOKED HOST KEY DETECTED! The %s host key of %s is marked as revoked in %s. Host key "
            "verification failed",
            type_name(key), h->name, k->where);
    if (find(h, PLAIN, key) || find(h, BY_HOST, key))
        return 0;
    if (find(h, AUTHORITY, NULL))
        return xd_ssh_fail(
            s, -EOPNOTSUPP,
            "%s is to show a certificate (@cert-authority in %s), which libssh cannot check; use "
            "--ssh=openssh",
            h->name, find(h, AUTHORITY, NULL)->where);
    for (size_t i = 0; i < h->n; i++)
        if (h->at[i].is == PLAIN && ssh_key_type(h->at[i].key) == ssh_key_type(key))
            return refuse_changed(s, key, &h->at[i]);
    k = find(h, PLAIN, NULL); /* its keys are known, and it was asked for those first */
    if (k)
        return refuse_changed(s, key, k);
    return takes_new(s) ? accept_new(s, key) : refuse_unknown(s, key);
}

int xd_ssh_hosts_check(xd_ssh *s)
{
    ssh_key key = NULL;
    if (ssh_get_server_publickey(s->session, &key) != SSH_OK)
        return xd_ssh_fail(s, -EPROTO, "%s has shown no host key", s->address);
    int r = check(s, key);
    ssh_key_free(key);
    return r;
}
