#include "tests/conformance/ssh_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/command.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"

struct xd_ssh_server {
    char     dir[64], spec[128];
    uint16_t port, closed;
    int      mute; /* a listener that nobody accepts from */
    xd_proc  proc;
};

static int connect_to(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    xd_autoclose int   fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in at;
    socklen_t          len = sizeof(at);
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0 ? ntohs(at.sin_port) : 0;
}

static int bound(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static uint16_t free_port(void)
{
    xd_autoclose int fd = bound();
    return port_of(fd);
}
static int make_key(const xd_ssh_server *s, const char *name, xd_buf *public, xd_error *err)
{
    char       path[128];
    xd_autobuf said = XD_BUF_INIT;
    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL };
    int         r = xd_command_output(argv, NULL, XD_COMMAND_NS, 4096, &said, err);
    if (r != 0)
        return r < 0 ? r : xd_error_set(err, -EIO, "ssh-keygen: %s", xd_buf_cstr(&said));
    snprintf(path, sizeof(path), "%s/%s.pub", s->dir, name);
    return xd_path_read_file(path, 4096, public, err);
}

static int write_file(const xd_ssh_server *s, const char *name, xd_buf *text, xd_error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    return xd_path_write_file(path, xd_buf_view(text), 0600, err);
}

static int write_files(xd_ssh_server *s, xd_error *err)
{
    xd_autobuf user_key = XD_BUF_INIT, host_key = XD_BUF_INIT, known = XD_BUF_INIT, server = XD_BUF_INIT,
               client = XD_BUF_INIT, other_key = XD_BUF_INIT;
    const struct passwd *me = getpwuid(getuid());
    XD_TRY(make_key(s, "user", &user_key, err));
    XD_TRY(make_key(s, "host", &host_key, err));
    XD_TRY(xd_buf_printf(&known, "[127.0.0.1]:%u %s", s->port, xd_buf_cstr(&host_key)));
    XD_TRY(xd_buf_printf(
        &server,
        "Port %u\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication "
        "no\nPermitRootLogin "
        "yes\nMaxStartups 100\nRekeyLimit 1M\nPrintMotd no\nPrintLastLog no\nLogLevel ERROR\n",
        s->port, s->dir, s->dir));
    XD_TRY(make_key(s, "other", &other_key, err));
    XD_TRY(xd_buf_printf(&known, "changed %s", xd_buf_cstr(&other_key)));
    XD_TRY(xd_buf_printf(
        &client,
        "Host closed\n  Port %u\nHost nowhere\n  HostName nowhere.invalid\nHost mute\n  Port "
        "%u\nHost stranger\n  HostKeyAlias stranger\nHost changed\n  HostKeyAlias changed\n"
        "Host denied\n  IdentityFile %s/other\nHost * !denied\n  IdentityFile %s/user\n"
        "Host *\n  HostName 127.0.0.1\n  Port %u\n  User %s\n  UserKnownHostsFile %s/known\n"
        "  StrictHostKeyChecking yes\n",
        s->closed, port_of(s->mute), s->dir, s->dir, s->port, me ? me->pw_name : "root", s->dir));
    XD_TRY(write_file(s, "authorized", &user_key, err));
    XD_TRY(write_file(s, "known", &known, err));
    XD_TRY(write_file(s, "sshd_config", &server, err));
    return write_file(s, "config", &client, err);
}

static int start(xd_ssh_server *s, xd_error *err)
{
    xd_autofree char *sshd = NULL;
    char              config[128], log[128];
    if (xd_path_find_program("sshd", "/usr/sbin:/usr/local/sbin:/sbin", &sshd) < 0)
        return xd_error_set(err, -ENOENT, "no sshd here (apt-get install openssh-server)");
    if (getuid() == 0)
        (void)!mkdir("/run/sshd", 0755); /* where it locks itself up; Debian's service makes it */
    s->mute = bound();
    if (!mkdtemp(s->dir) || !(s->port = free_port()) || !(s->closed = free_port()) || s->mute < 0 ||
        listen(s->mute, 64) < 0)
        return xd_error_set(err, -EIO, "no folder or no port");
    XD_TRY(write_files(s, err));
    snprintf(config, sizeof(config), "%s/sshd_config", s->dir);
    snprintf(log, sizeof(log), "%s/log", s->dir);
    const char  *argv[] = { sshd, "-D", "-f", config, "-E", log, NULL };
    xd_proc_args args = { .argv = argv, .new_group = true };
    XD_TRY(xd_proc_spawn(&args, &s->proc, err));
    for (int i = 0; i < 500; i++, usleep(10000))
        if (connect_to(s->port) == 0)
            return 0;
    return xd_error_set(err, -ETIMEDOUT, "sshd does not listen; see %s", log);
}

void xd_ssh_server_spec(const xd_ssh_server *s, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "ssh=%s//ssh_config=%s/config", name, s->dir);
}

int xd_ssh_server_start(xd_ssh_server **ret, const char **spec, xd_error *err)
{
    xd_ssh_server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->proc = XD_PROC_NONE;
    s->mute = -1;
    snprintf(s->dir, sizeof(s->dir), "/tmp/xd-sshd-XXXXXX");
    int r = start(s, err);
    if (r < 0) {
        xd_ssh_server_stop(s);
        return r;
    }
    xd_ssh_server_spec(s, "far", s->spec, sizeof(s->spec));
    *spec = s->spec;
    *ret = s;
    return 0;
}

xd_ssh_server *xd_ssh_server_stop(xd_ssh_server *s)
{
    xd_proc_status status;
    if (!s)
        return NULL;
    if (s->proc.pid > 0) {
        (void)xd_proc_kill_group(&s->proc, SIGTERM);
        (void)!xd_proc_wait(&s->proc, true, &status);
        xd_proc_close(&s->proc);
    }
    if (s->mute >= 0)
        close(s->mute);
    if (!strstr(s->dir, "XXXXXX"))
        (void)xd_path_remove_tree(s->dir);
    free(s);
    return NULL;
}
