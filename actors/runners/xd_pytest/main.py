"""Processes that the agent starts: collector, runner host, fresh workers."""
from __future__ import absolute_import, division, print_function

import os
import signal
import sys

from xd_pytest import codefile

codefile.begin(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from xd_pytest import wire
from xd_pytest.channel import Commands, Control, Gone, wait_for
from xd_pytest.constants import ENV_NO_FORK, WAY_FRESH, WAY_WARM
from xd_pytest.forksafety import why_start_forks_not
from xd_pytest.forkstate import inode_of, open_fds
from xd_pytest.leash import Leash
from xd_pytest.page import Page
from xd_pytest.plugin import Adapter, mark_hooks
from xd_pytest.process import flush_stdio, leave, own_group, quiet_fork, reap
from xd_pytest.pythons import dup2, set_inheritable
from xd_pytest.startup import begin, import_pytest
from xd_pytest.text import as_text, encode


def why_never_forked(start, known_fds):
    """What stands against any fork, before pytest is imported; None = nothing."""
    if start.flags & ENV_NO_FORK:
        return "forking is switched off"
    if not hasattr(os, "fork"):
        return "this platform cannot fork"
    return why_start_forks_not(known_fds)


def reason_of(session):
    if session is None:
        return ""
    return as_text(session.shouldfail or session.shouldstop or "")


def start_adapter(start, page_fd, no_fork):
    mark_hooks()
    return Adapter(start, Page(page_fd), open_fds(), inode_of(page_fd), no_fork)


def collect(start, control, page_fd, no_fork=None):
    failure = import_pytest(start)
    if failure is not None:
        control.send(wire.pack_ENV_FAILED(exit_status=failure[0], text=encode(failure[1])))
        leave(failure[0])
    adapter = start_adapter(start, page_fd, no_fork)
    adapter.collector.control = control
    adapter.output = control.fd
    status = adapter.run_session()
    if adapter.is_worker:
        adapter.worker.done(status)
        if adapter.collector.own_control is not None:
            adapter.collector.finish_late()
        leave(status, adapter.worker.ends)
    adapter.own_loop(status)
    adapter.send_collected(status, adapter.reason or reason_of(adapter.session))
    leave(status)


def work(start, page_fd, record, fds, way):
    """A worker that collects by itself; fds: commands, results."""
    adapter = start_adapter(start, page_fd, "this is a worker")
    adapter.way = way
    adapter.worker.take_fork(record, fds)
    status = adapter.run_session()
    if not adapter.collected_sent:
        adapter.send_collected(status, adapter.reason)
    adapter.worker.done(status)
    leave(status, adapter.worker.ends)


def collector(first, control_fd, page_fd):
    set_inheritable(page_fd, False)
    control = Control(control_fd)
    start = control.wait(wire.ENV_START)
    begin(start, first)
    no_fork = why_never_forked(start, [0, 1, 2, control_fd, page_fd, Leash.fd] + codefile.descriptors())
    control.send(wire.pack_HOST_READY(collector_pid=0 if no_fork else os.getpid()))
    collect(start, control, page_fd, no_fork)


def host(first, control_fd, page_fd):
    """Workers are forked from here, behind the import of pytest, where the collector is not to be copied."""
    set_inheritable(page_fd, False)
    control = Control(control_fd)
    interrupt = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent says when to stop
    start = control.wait(wire.ENV_START)
    begin(start, first)
    import_pytest(start)  # if it cannot, the answer to FORK says why
    while True:
        kind, record = control.next()
        if kind == wire.FORK:
            host_fork(start, control, page_fd, record, interrupt)
        elif kind == wire.REAP:
            reap(control, record.pid)
        elif kind == wire.QUIT:
            return 0


def host_fork(start, control, page_fd, record, interrupt):
    fds = control.take_fds(4)
    if fds is None:
        control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=b"no descriptors came with FORK"))
        return
    failure = import_pytest(start)
    pid, error = -1, encode(failure[1] if failure else "")
    if failure is None:
        try:
            pid = quiet_fork()
        except OSError as e:
            error = encode(e)
    if pid == 0:
        signal.signal(signal.SIGINT, interrupt)
        control.close()
        dup2(fds[2], 1, True)
        dup2(fds[3], 2, True)
        os.close(fds[2])
        os.close(fds[3])
        work(start, page_fd, record, fds[:2], WAY_WARM)
    for fd in fds:
        os.close(fd)
    if pid > 0:
        own_group(pid)
    control.send(wire.pack_FORKED(worker=record.worker, pid=max(pid, 0), error=error))


def fresh(first, control_fd, cmd_fd, res_fd, page_fd):
    """A worker in a process of its own.  ENV_START and FORK come on the control socket, or without one on the command pipe."""
    for fd in (cmd_fd, res_fd, page_fd):
        set_inheritable(fd, False)
    commands = Commands(cmd_fd)
    source = commands if control_fd is None else Control(control_fd)
    start = wait_for(source, wire.ENV_START)
    record = wait_for(source, wire.FORK)
    begin(start, first)
    failure = import_pytest(start)
    if failure is not None:  # the host could; what a worker writes last is told with its end
        sys.stderr.write(failure[1] + "\n")
        return failure[0]
    if control_fd is not None:
        source.close()
    work(start, page_fd, record, [cmd_fd, res_fd], WAY_FRESH)


class NoStart(object):
    """ENV_START where there is no run."""
    chdir, env, args, flags = b"", (), (), 0


def check_host(first, what):
    """Lines for tools/xdagent/look.c; nothing of the project is looked at."""
    begin(NoStart, first)
    sys.stdout.write("interpreter %d.%d.%d\n" % sys.version_info[:3])
    failure = import_pytest(NoStart)
    if failure is not None:
        sys.stdout.write("failed %s\n" % failure[1].replace("\n", " "))
    else:
        import pytest
        sys.stdout.write("framework pytest %s\n" % pytest.__version__)
    if "packages" in what:
        from xd_pytest import installed
        sys.stdout.flush()
        installed.say(write_out)
    return 0


def write_out(data):
    while data:
        data = data[os.write(1, data):]


def check_project(first, what, args):
    from xd_pytest.check import check
    begin(NoStart, first)
    failure = import_pytest(NoStart)
    if failure is not None:
        sys.stderr.write(failure[1] + "\n")
        return failure[0]
    return check(what, args)


def main(argv, first):
    """first: sys.path[0] was the current folder, where that of the program belongs (see pytest.c)."""
    role, rest, leash = argv[0], argv[1:], None
    if rest and rest[0].startswith("--leash="):
        leash = int(rest.pop(0).partition("=")[2])
    try:
        Leash.take(leash)
    except OSError:  # a program in front of the interpreter passes on standard input and output alone
        sys.exit("%s was started without the descriptors that xd gives it, as 'conda run' does: name the interpreter itself, with --python or python=" % sys.executable)
    try:
        if role == "check":
            status = check_host(first, rest[1:]) if rest[0] == "host" else check_project(first, rest[0], rest[1:])
        elif role == "collector":
            status = collector(first, *[int(n) for n in rest])
        elif role == "host":
            status = host(first, *[int(n) for n in rest])
        else:
            numbers = [int(n) for n in rest]
            status = fresh(first, *([None] + numbers if len(numbers) == 3 else numbers))
    except Gone:
        status = 0
    except KeyboardInterrupt:
        status = 2
    flush_stdio()
    os._exit(status)
