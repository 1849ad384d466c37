#include "tests/conformance/socket_server.h"

#include <fcntl.h>

#include "engine/keylist.h"
#include "engine/trust.h"
#include "gateways/serve.h"

struct xd_socket_server {
    char     dir[64], spec[64];
    uint16_t port, strict, closed; /* strict: trusts nobody */
    int      mute;
    xd_proc  proc[2];
};

int xd_socket_server_main(const char *folder, const char *address)
{
    xd_error            err = { 0 };
    const char *const   bind[] = { address };
    const xd_serve_args args = { .keys = folder, .bind = bind, .n_bind = 1, .stop_fd = -1 };
    signal(SIGPIPE, SIG_IGN);
    int r = xd_serve(&args, &err);
    if (r < 0)
        fprintf(stderr, "%s\n", err.text);
    return r < 0;
}

static int add_key(const xd_socket_server *s, const char *folder, const char *list, const char *words,
                   const xd_pubkey *key, xd_error *err)
{
    char path[128], text[XD_KEY_Z85 + 1], line[256];
    snprintf(path, sizeof(path), "%s/%s/%s", s->dir, folder, list);
    xd_pubkey_text(key, text);
    snprintf(line, sizeof(line), "%s%s" XD_KEY_WORD " %s", words, *words ? " " : "", text);
    return xd_keylist_add(path, line, err);
}

static int own_key(const xd_socket_server *s, const char *folder, xd_pubkey *ret, xd_error *err)
{
    char      path[128];
    xd_trust *t = NULL;
    snprintf(path, sizeof(path), "%s/%s", s->dir, folder);
    XD_TRY(xd_trust_open(&t, path, XD_KEYLIST_CONTROLLERS, true, err));
    *ret = xd_trust_key(t)->pub;
    xd_trust_free(t);
    return 0;
}

static int write_keys(xd_socket_server *s, xd_error *err)
{
    xd_pubkey me, server, strict;
    char      at[64];
    XD_TRY(own_key(s, "xdctl", &me, err));
    XD_TRY(own_key(s, "server", &server, err));
    XD_TRY(own_key(s, "strict", &strict, err));
    XD_TRY(add_key(s, "server", XD_KEYLIST_CONTROLLERS, "", &me, err));
    const struct {
        const char      *host;
        uint16_t         port;
        const xd_pubkey *key;
    } known[] = { { "127.0.0.1", s->port, &server },          { "127.0.0.1", s->strict, &strict },
                  { "127.0.0.1", s->closed, &server },        { "nowhere.invalid", s->port, &server },
                  { "127.0.0.1", port_of(s->mute), &server }, { "localhost", s->port, &strict } };
    for (size_t i = 0; i < XD_ARRAY_LEN(known); i++) {
        snprintf(at, sizeof(at), "%s:%u", known[i].host, (unsigned)known[i].port);
        XD_TRY(add_key(s, "xdctl", XD_KEYLIST_BROKERS, at, known[i].key, err));
    }
    return 0;
}

static int start_one(xd_socket_server *s, int which, const char *folder, uint16_t port, xd_error *err)
{
    char path[128], at[32];
    snprintf(path, sizeof(path), "%s/%s", s->dir, folder);
    snprintf(at, sizeof(at), "127.0.0.1:%u", (unsigned)port);
    const char        *argv[] = { "/proc/self/exe", "--serve", path, at, NULL };
    const xd_proc_fd   fds[] = { { STDERR_FILENO, STDERR_FILENO } };
    const xd_proc_args args = { .argv = argv, .fds = fds, .nfds = 1, .new_group = true };
    XD_TRY(xd_proc_spawn(&args, &s->proc[which], err));
    for (int i = 0; i < 500; i++, usleep(10000))
        if (connect_to(port) == 0)
            return 0;
    return xd_error_set(err, -ETIMEDOUT, "the server does not listen");
}

void xd_socket_server_spec(const xd_socket_server *s, const char *name, char *ret, size_t size)
{
    const bool nowhere = strcmp(name, "nowhere") == 0, changed = strcmp(name, "changed") == 0;
    const bool six = strcmp(name, "stranger") == 0;
    uint16_t   port = strcmp(name, "closed") == 0   ? s->closed
                      : strcmp(name, "mute") == 0   ? port_of(s->mute)
                      : strcmp(name, "denied") == 0 ? s->strict
                                                    : s->port;
    snprintf(ret, size, "socket=%s:%u",
             nowhere   ? "nowhere.invalid"
             : changed ? "localhost"
             : six     ? "127.0.0.2"
                       : "127.0.0.1",
             (unsigned)port);
}

int xd_socket_server_start(xd_socket_server **ret, const char **spec, xd_error *err)
{
    xd_socket_server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->proc[0] = s->proc[1] = XD_PROC_NONE;
    s->mute = bound();
    snprintf(s->dir, sizeof(s->dir), "/tmp/xd-keys-XXXXXX");
    int r = mkdtemp(s->dir) && (s->port = free_port()) && (s->strict = free_port()) &&
                    (s->closed = free_port()) && s->mute >= 0 && listen(s->mute, 64) == 0
                ? 0
                : xd_error_set(err, -EIO, "no folder or no port");
    if (r == 0)
        r = write_keys(s, err);
    if (r == 0)
        r = start_one(s, 0, "server", s->port, err);
    if (r == 0)
        r = start_one(s, 1, "strict", s->strict, err);
    if (r < 0) {
        xd_socket_server_stop(s);
        return r;
    }
    (void)setenv("XDG_CONFIG_HOME", s->dir, 1);
    xd_socket_server_spec(s, "far", s->spec, sizeof(s->spec));
    *spec = s->spec;
    *ret = s;
    return 0;
}

xd_socket_server *xd_socket_server_stop(xd_socket_server *s)
{
    xd_proc_status status;
    if (!s)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (s->proc[i].pid > 0) {
            (void)xd_proc_kill_group(&s->proc[i], SIGTERM);
            (void)!xd_proc_wait(&s->proc[i], true, &status);
            xd_proc_close(&s->proc[i]);
        }
    if (s->mute >= 0)
        close(s->mute);
    if (!strstr(s->dir, "XXXXXX"))
        (void)xd_path_remove_tree(s->dir);
    free(s);
    return NULL;
}
