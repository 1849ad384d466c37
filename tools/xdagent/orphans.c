/* Processes that lost their parent become children of this one (subreaper): daemons of tests above all. One that ends
 * is waited for at once, as init does, so that a test that looks for it sees that it is gone. */
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

/* Its status is asked for by number or pidfd, now or as soon as it is our child. */
static bool is_known(const void *arg, pid_t pid)
{
    const agent     *a = arg;
    const agent_env *e = &a->env;
    if (pid == e->collector.pid || pid == e->host.pid || pid == a->look.proc.pid || pid == a->sync.proc.pid)
        return true;
    for (uint32_t i = 0; i < a->slots; i++) {
        const agent_worker *w = &a->worker[i];
        if (pid == w->process.proc.pid || (pid == w->process.reap_pid && !w->end.status_known))
            return true;
    }
    return false;
}

/* A process is being made whose number is not known yet. It becomes our child if the one that makes it dies. */
static bool expects_child(const agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++)
        if (a->worker[i].state == AGENT_WORKER_FORKING)
            return true;
    return false;
}

void agent_orphans_reap(agent *a)
{
    if (!a->orphans || expects_child(a))
        return;
    a->orphans = false;
    /* A worker of such a runner waits for all that its tests leave: what comes to us has lost its worker. */
    if (a->env.runner && a->env.runner->ops->orphans_end_with_worker)
        xd_os_kill_unknown(is_known, a);
    xd_os_reap_unknown(is_known, a);
}

static void on_children(void *arg, int fd, uint32_t events)
{
    agent *a = arg;
    (void)events;
    while (xd_os_signal_take(fd) > 0)
        a->orphans = true;
}

int agent_orphans_watch(agent *a)
{
    a->children = xd_os_child_fd();
    XD_TRY(a->children);
    return xd_poller_set(a->poller, a->children, XD_POLL_IN, on_children, a);
}
