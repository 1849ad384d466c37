/* gateways/ssh_keys.c - see ssh_state.h: the user's keys, in files and with the key agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/ssh_state.h"

#define TRIES 3u /* at a passphrase */
#define USUAL                                                                                              \
    "~/.ssh/id_rsa\n~/.ssh/id_ecdsa\n~/.ssh/id_ecdsa_sk\n~/.ssh/id_ed25519\n~/.ssh/id_ed25519_sk\n~/.ssh/" \
    "id_xmss"

/* ---- the key agent ------------------------------------------------------------------------------------------------ */

/* Malloc'ed path of its socket; NULL = there is none. */
static char *agent_path(const xd_ssh *s)
{
    const char *value = xd_ssh_conf_get(s->conf, "identityagent", "SSH_AUTH_SOCK");
    if (strcasecmp(value, "none") == 0)
        return NULL;
    const char *name = strcmp(value, "SSH_AUTH_SOCK") == 0  ? value
                       : value[0] == '$' && value[1] != '{' ? value + 1
                                                            : NULL;
    if (!name)
        return xd_ssh_conf_expand(s->conf, value);
    const char *path = getenv(name);
    return path && *path ? strdup(path) : NULL;
}

static int agent_connect(const xd_ssh *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    xd_autofree char  *path = agent_path(s);
    if (!path || strlen(path) >= sizeof(to.sun_path))
        return -ENOENT;
    memcpy(to.sun_path, path, strlen(path));
    xd_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        return -errno;
    const int ret = fd;
    fd = -1;
    return ret;
}

/* libssh waits for the agent, and the agent may wait for the user. hang_up ends that by shutting the socket down. */
static int set_agent_end(xd_ssh *s, int fd)
{
    pthread_mutex_lock(&s->lock);
    const int  old = s->agent_end;
    const bool cut = s->cut || s->closed;
    s->agent_end = fd;
    pthread_mutex_unlock(&s->lock);
    if (old >= 0)
        close(old);
    return cut ? -ECANCELED : 0;
}

int xd_ssh_auth_agent(xd_ssh *s)
{
    int       rc = SSH_AUTH_DENIED;
    const int fd = agent_connect(s);
    if (fd < 0)
        return SSH_AUTH_DENIED;
    int r = set_agent_end(s, dup(fd));
    if (ssh_set_agent_socket(s->session, fd) != SSH_OK) {
        close(fd);
        r = r < 0 ? r : -ENOMEM;
    }
    while (r == 0 && (rc = ssh_userauth_agent(s->session, NULL)) == SSH_AUTH_AGAIN)
        r = xd_ssh_step(s, "to a key of the agent");
    const int ended = set_agent_end(s, -1);
    XD_TRY(r);
    XD_TRY(ended);
    if (rc == SSH_AUTH_DENIED)
        XD_TRY(xd_ssh_tried(s, "the keys of the agent"));
    return xd_ssh_auth_outcome(s, rc);
}

/* ---- files ---------------------------------------------------------------------------------------------------------- */

/* libssh calls it for a key that is encrypted. */
static int wants_passphrase(const char *prompt, char *to, size_t size, int echo, int verify, void *arg)
{
    (void)prompt;
    (void)to;
    (void)size;
    (void)echo;
    (void)verify;
    *(bool *)arg = true;
    return -1;
}

/* A certificate beside the key goes with it. */
static void add_certificate(const char *path, ssh_key key)
{
    xd_autobuf name = XD_BUF_INIT;
    ssh_key    cert = NULL;
    if (xd_buf_printf(&name, "%s-cert.pub", path) < 0 || access(xd_buf_cstr(&name), R_OK) != 0)
        return;
    if (ssh_pki_import_cert_file(xd_buf_cstr(&name), &cert) == SSH_OK)
        (void)ssh_pki_copy_cert_to_privkey(cert, key);
    ssh_key_free(cert);
}

static int offer(xd_ssh *s, const char *path, ssh_key key)
{
    int rc;
    add_certificate(path, key);
    while ((rc = ssh_userauth_publickey(s->session, NULL, key)) == SSH_AUTH_AGAIN)
        XD_TRY(xd_ssh_step(s, "to a key"));
    if (rc == SSH_AUTH_DENIED)
        XD_TRY(xd_ssh_tried(s, "%s", path));
    return xd_ssh_auth_outcome(s, rc);
}

/* Would the host take it? Asked before the user is. 1 = yes, or it cannot be asked; SSH_AUTH_DENIED, -errno. */
static int would_take(xd_ssh *s, const char *path)
{
    xd_autobuf name = XD_BUF_INIT;
    ssh_key    key = NULL;
    int        rc = SSH_AUTH_SUCCESS, r = 0;
    XD_TRY(xd_buf_printf(&name, "%s.pub", path));
    if (ssh_pki_import_pubkey_file(xd_buf_cstr(&name), &key) != SSH_OK)
        return 1;
    while (r == 0 && (rc = ssh_userauth_try_publickey(s->session, NULL, key)) == SSH_AUTH_AGAIN)
        r = xd_ssh_step(s, "to a key");
    ssh_key_free(key);
    XD_TRY(r);
    if (rc == SSH_AUTH_DENIED)
        XD_TRY(xd_ssh_tried(s, "%s", path));
    rc = xd_ssh_auth_outcome(s, rc);
    return rc == SSH_AUTH_SUCCESS ? 1 : rc;
}

/* The key of an encrypted file. 0, SSH_AUTH_DENIED, -errno. */
static int unlock(xd_ssh *s, const char *path, ssh_key *ret)
{
    xd_autobuf prompt = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&prompt, "Enter passphrase for key '%s': ", path));
    for (unsigned i = 0; i < TRIES; i++) {
        char        text[sizeof(s->secrets->text)] = "";
        const char *before = xd_ssh_remembered(s, xd_buf_cstr(&prompt));
        int         r = before ? 0 : xd_ssh_ask(s, xd_buf_cstr(&prompt), false, text, sizeof(text));
        if (r == -ENOTTY) {
            s->no_terminal = true;
            XD_TRY(xd_ssh_tried(s, "%s (not unlocked: its passphrase was not given)", path));
            return SSH_AUTH_DENIED;
        }
        XD_TRY(r);
        if (!before && !*text) /* as ssh: on to the next key */
            break;
        bool right = ssh_pki_import_privkey_file(path, before ? before : text, NULL, NULL, ret) == SSH_OK;
        r = right ? xd_ssh_remember(s, xd_buf_cstr(&prompt), before ? before : text) : 0;
        explicit_bzero(text, sizeof(text));
        XD_TRY(r);
        if (right)
            return 0;
    }
    XD_TRY(xd_ssh_tried(s, "%s (not unlocked: a wrong passphrase)", path));
    return SSH_AUTH_DENIED;
}

static bool too_open(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_uid == getuid() && (st.st_mode & 077);
}

/* A key file: those that need a passphrase when `locked`, the others when not. */
static int try_file(xd_ssh *s, const char *path, bool named, bool locked)
{
    ssh_key key = NULL;
    bool    encrypted = false;
    if (access(path, F_OK) != 0) {
        if (named && !locked)
            XD_TRY(xd_ssh_tried(s, "%s (%s)", path, xd_error_name(-errno)));
        return SSH_AUTH_DENIED;
    }
    if (xd_ssh_is_security_key(path)) {
        s->left = "a security key could not be asked, libssh has no way to";
        return SSH_AUTH_DENIED;
    }
    if (too_open(path)) { /* ssh's own rule */
        if (!locked)
            XD_TRY(xd_ssh_tried(s, "%s (ignored: UNPROTECTED PRIVATE KEY FILE, others can read it)", path));
        return SSH_AUTH_DENIED;
    }
    int rc = ssh_pki_import_privkey_file(path, NULL, wants_passphrase, &encrypted, &key);
    if (encrypted != locked || (rc != SSH_OK && !encrypted)) {
        if (!encrypted && !locked)
            XD_TRY(xd_ssh_tried(s, "%s (no key that libssh reads)", path));
        ssh_key_free(key);
        return SSH_AUTH_DENIED;
    }
    if (encrypted) {
        rc = would_take(s, path);
        if (rc != 1)
            return rc;
        rc = unlock(s, path, &key);
        if (rc != 0)
            return rc;
    }
    rc = offer(s, path, key);
    ssh_key_free(key);
    return rc;
}

static int try_files(xd_ssh *s, const char *list, bool named, bool locked)
{
    int rc = SSH_AUTH_DENIED;
    for (const char *p = list; *p && rc == SSH_AUTH_DENIED && xd_ssh_auth_takes_keys(s);) {
        const size_t      len = strcspn(p, "\n");
        xd_autofree char *name = strndup(p, len), *path = NULL;
        if (!name)
            return -ENOMEM;
        path = strcasecmp(name, "none") == 0 ? NULL : xd_ssh_conf_expand(s->conf, name);
        if (path)
            rc = try_file(s, path, named, locked);
        p += len;
        p += *p == '\n';
    }
    return rc;
}

/* A file that is named and open is what the user means: it goes before the keys of the agent, of which a host takes only so many. */
int xd_ssh_auth_files(xd_ssh *s, bool later)
{
    xd_autofree char *agent = agent_path(s);
    const char       *named = xd_ssh_conf_get(s->conf, "identityfile", NULL);
    const char       *list = named ? named : USUAL;
    const bool        first = named || !agent;
    int               rc = first == later ? SSH_AUTH_DENIED : try_files(s, list, named != NULL, false);
    return rc == SSH_AUTH_DENIED && later ? try_files(s, list, named != NULL, true) : rc;
}
