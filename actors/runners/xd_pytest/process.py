"""Processes: fork, reap, redirect, leave."""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import compat, wire
from xd_pytest.page import IN_EXIT_HANDLERS, IN_THREADS
from xd_pytest.pythons import dup2
from xd_pytest.real import Real

LINKS_WITHIN = 2.0  # seconds


def flush_stdio():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


def quiet_fork():
    """os.fork() without the warning of newer Pythons about threads: where there may be some, the child closes all and computes a little."""
    import warnings
    flush_stdio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def own_group(pid):
    """A worker and what its tests start are one process group, so that the agent can end them together."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it has one, or is gone


def reap(control, pid):
    try:
        _pid, status = Real.waitpid(pid, 0)
    except OSError:
        exit_status, number = -2, 0
    else:
        exit_status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    control.send(wire.pack_REAPED(pid=pid, exit_status=exit_status, signal=number))


def leave(status, at=lambda phase: None):
    """The end of a process that ran a session: what the interpreter would still do for the user's code, without its slow teardown.
    at: is called with what it waits for."""
    at(IN_THREADS)
    if not compat.end_threads():
        sys.exit(status & 0xFF)
    at(IN_EXIT_HANDLERS)
    compat.run_exit_handlers()
    flush_stdio()
    os._exit(status & 0xFF)


def fileno(stream):
    try:
        return stream.fileno()
    except Exception:
        return None


def fault_fd(config):
    """The descriptor pytest's faulthandler plugin writes to, or None."""
    found = compat.fault_stream(config)
    return found if isinstance(found, int) else fileno(found)


def link_to(fd, path):
    """The agent finds the file under a descriptor of this process by this link.  False: there is none."""
    if not path:
        return False
    try:
        os.symlink("/proc/%d/fd/%d" % (Real.getpid(), fd), path)
    except OSError:
        return False
    return True


def new_capture(own, link):
    """Puts a fresh file under the descriptor that pytest captures with.  The file has no name, so none is left behind when a process is killed; by `link` the
    agent finds it through this process, and can still read it when the process has died inside of a test."""
    import tempfile
    fresh = tempfile.TemporaryFile("w+b", 0)
    dup2(fresh.fileno(), own, False)
    fresh.close()
    link_to(own, link)


def fd_captures(config):
    """(descriptor, pytest's capture of it) where pytest captures descriptors."""
    captures = compat.captures(config)
    for target in (1, 2):
        capture = captures["out" if target == 1 else "err"]
        if getattr(capture, "targetfd", None) == target and fileno(getattr(capture, "tmpfile", None)) is not None:
            yield target, capture


def name_captures(config, link):
    """A process that began by itself: the agent can find what it captures, see new_capture().  The links."""
    made = []
    for target, capture in fd_captures(config):
        path = link(target)
        if link_to(fileno(capture.tmpfile), path):
            made.append(path)
    return made


def wait_until_taken(links):
    """A link leads nowhere once this process has died: nothing that may end it runs before the agent has opened what the links lead to, and taken them
    away.  An agent that does not answer is not waited for."""
    deadline = Real.monotonic() + LINKS_WITHIN
    for link in links:
        while os.path.islink(link) and Real.monotonic() < deadline:
            Real.sleep(0.0002)


def redirect_output(config, out, err, link):
    """stdout and stderr of a worker forked from the collector, below all that holds them: the descriptor numbers stay, what they lead to is new.
    pytest's capture keeps working on files that no other process shares.  Where the capture is unknown, only a collector that goes on as a worker is
    here: it keeps what it has."""
    if not compat.knows_capture(config):
        os.close(out)
        os.close(err)
        return
    fault = fault_fd(config)
    active = set()
    for target, capture in fd_captures(config):
        own = fileno(capture.tmpfile)
        dup2(out if target == 1 else err, capture.targetfd_save, False)
        new_capture(own, link(target))
        capture.tmpfile.seek(0)
        if compat.is_capturing(capture):
            os.dup2(own, target)
            active.add(target)
    if 1 not in active:
        os.dup2(out, 1)
    if 2 not in active:
        os.dup2(err, 2)
    if fault is not None:
        dup2(err, fault, False)
    for fd in (out, err):
        os.close(fd)
