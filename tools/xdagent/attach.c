/* How another pipe comes to an agent on a host that is not the controller's: the controller has a second xdagent started there
 * (--attach NAME), which finds the first one and hands it its own standard input and output.
 * They meet at a socket in Linux's abstract namespace: it has no file that could be left behind, and each asks the kernel whose the
 * other is. NAME is no secret; what the session asks for is its token. The second one stays until the first has done with the
 * pipe, since whoever started it (sshd, docker) takes its end for that of the pipe. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define PREFIX "xd-agent-"
#define READY_S 10 /* that a busy agent may take */

static int address_of(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
    size_t len = strlen(name);
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (len < 16 || sizeof(PREFIX) + len > sizeof(ret->sun_path))
        return -EINVAL;
    memcpy(ret->sun_path + 1, PREFIX, strlen(PREFIX));
    memcpy(ret->sun_path + 1 + strlen(PREFIX), name, len);
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(PREFIX) + len);
    return 0;
}

static bool is_ours(int sock)
{
    struct ucred peer;
    socklen_t    len = sizeof(peer);
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

/* ---- the agent --------------------------------------------------------------------------------------------- */

static void let_go(agent *a)
{
    agent_link *l = &a->link;
    if (l->knocked < 0)
        return;
    xd_poller_remove(a->poller, l->knocked);
    close(l->knocked);
    l->knocked = -1;
}

/* It brings a pipe. */
static void on_brought(void *arg, int fd, uint32_t events)
{
    agent  *a = arg;
    char    byte;
    int     pipe[2] = { -1, -1 };
    size_t  n = 2;
    ssize_t got = xd_os_recv_fds(fd, &byte, 1, pipe, &n);
    (void)events;
    if (got == -EAGAIN)
        return;
    if (got > 0 && n == 2) {
        xd_poller_remove(a->poller, fd);
        a->link.knocked = -1;
        agent_link_bring(a, pipe[0], pipe[1], fd);
        return;
    }
    for (size_t i = 0; got > 0 && i < n; i++)
        close(pipe[i]);
    let_go(a);
}

static void on_knock(void *arg, int fd, uint32_t events)
{
    agent *a = arg;
    int    sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)events;
    if (sock < 0)
        return;
    if (!is_ours(sock) || xd_os_write_some(sock, "", 1) != 1) {
        close(sock);
        return;
    }
    let_go(a); /* the newest one counts */
    a->link.knocked = sock;
    agent_fault(a, xd_poller_set(a->poller, sock, XD_POLL_IN, on_brought, a));
}

int agent_link_knock(agent *a, const char *name)
{
    struct sockaddr_un at;
    socklen_t          len;
    XD_TRY(address_of(name, &at, &len));
    xd_autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&at, len) < 0 || listen(sock, 4) < 0)
        return -errno;
    a->link.knock = sock;
    sock = -1;
    return xd_poller_set(a->poller, a->link.knock, XD_POLL_IN, on_knock, a);
}

/* ---- who brings it ----------------------------------------------------------------------------------------- */

/* A socket to the agent of this name, which has said that it listens. -EBUSY: it is there, but does not (it is stopped). */
static int find_agent(const char *name)
{
    struct sockaddr_un at;
    socklen_t          len;
    char               byte;
    struct timeval     most = { .tv_sec = READY_S };
    XD_TRY(address_of(name, &at, &len));
    xd_autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) < 0 ||
        setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) < 0)
        return -EBUSY;
    if (connect(sock, (struct sockaddr *)&at, len) < 0) /* where nobody accepts, a full queue makes it wait */
        return errno == ECONNREFUSED ? -ESRCH : -EBUSY;
    if (!is_ours(sock))
        return -EPERM;
    if (recv(sock, &byte, 1, 0) != 1)
        return -EBUSY; /* if it has just ended, the next attempt hears that */
    most.tv_sec = 0;
    if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) < 0)
        return -errno;
    int found = sock;
    sock = -1;
    return found;
}

int agent_attach(const char *name)
{
    const int        pipe[] = { STDIN_FILENO, STDOUT_FILENO };
    char             byte;
    xd_autoclose int sock = find_agent(name);
    printf("xd:%s:%s\n", name,
           sock == -EBUSY ? "busy"
           : sock < 0     ? "gone"
                          : "attached"); /* as deliver_script.h says */
    if (fflush(stdout) != 0 || sock < 0 || xd_os_send_fds(sock, "", 1, pipe, 2) != 1)
        return 6;
    close(STDIN_FILENO); /* they are the agent's now */
    close(STDOUT_FILENO);
    while (recv(sock, &byte, 1, 0) < 0 && errno == EINTR)
        ;
    return 0;
}
