"""Helpers of the scenarios about faults, interrupts and outputs: processes by /proc, bounded waits, a terminal."""
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest


def wait_until(true, what, seconds=20):
    """Returns what `true` returned once that is true."""
    end = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail("not within %d s: %s" % (seconds, what))
        time.sleep(0.01)


def stat_of(pid):
    """(parent, state, start time) of a process, None when there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            fields = f.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[1]), fields[0].decode(), int(fields[19])


def marked(mark, but=None):
    """(process id, command line) of those that have XD_MARK=mark in their environment and are alive, except `but`."""
    wanted, found = ("XD_MARK=" + mark).encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if wanted in f.read().split(b"\0") and int(pid) != but and stat_of(int(pid))[1] not in "ZX":
                    found.append((int(pid), open("/proc/%s/cmdline" % pid).read().replace("\0", " ")))
        except (OSError, TypeError):  # it has just ended
            pass
    return found


def tree(pid):
    """pid -> start time of this process and all below it."""
    parents, found = {}, {}
    for name in os.listdir("/proc"):
        stat = stat_of(int(name)) if name.isdigit() else None
        if stat:
            parents.setdefault(stat[0], []).append((int(name), stat[2]))
    stat = stat_of(pid)
    todo = [(pid, stat[2])] if stat else []
    while todo:
        one, start = todo.pop()
        found[one] = start
        todo += parents.get(one, [])
    return found


def children(pid):
    return [p for p in tree(pid) if (stat_of(p) or (0,))[0] == pid]


def of_role(agent, role):
    """The processes that the agent started as "collector", "host" or "fresh", by process id."""
    found = []
    for pid in children(agent):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"xd_pytest.main" in b"".join(words) and role.encode() in words:
            found.append(pid)
    return found


def living(processes):
    """Those of tree() that are still there; a zombie is not."""
    return [p for p, start in processes.items() for stat in [stat_of(p)] if stat and stat[2] == start and stat[1] not in "ZX"]


def all_gone(processes, seconds=20):
    wait_until(lambda: not living(processes), "the end of all processes of the run", seconds)


def kill(pids):
    """Those that have just ended by themselves are no fault."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_at_once(processes):
    """None of them sees another one's end. Children first: the kernel continues a stopped group whose last parent outside of it has died."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    kill(list(processes)[::-1])


def memory_peak(pid):
    """Bytes of memory a process held at most, itself and its files mapped; 0 when it is gone."""
    try:
        with open("/proc/%d/status" % pid) as f:
            lines = [line for line in f if line.startswith("VmHWM:")]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(lines[0].split()[1]) * 1024 if lines else 0


def exit_code(process, seconds=30):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        pytest.fail("xdctl did not end in %d s" % seconds)


class Terminal(object):
    """xdctl on a terminal of its own, whose Ctrl-C and Ctrl-Z are real ones: the program below is the leader of the session."""

    def __init__(self, project, *args, columns=80, **env):
        try:
            self.master, slave = pty.openpty()
        except OSError as e:
            pytest.skip("no terminal can be had: %s" % e)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.output = b""

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        from conftest import XDCTL
        self.process = subprocess.Popen([XDCTL] + project.arguments(args, env), cwd=str(project.root), env=project.environment(**dict(dict(TERM="xterm"), **env)),
                                        stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=take_terminal)
        os.close(slave)
        project.started.append(self.process)

    def read(self, seconds):
        """False: the terminal was closed by its last process."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def press(self, key):
        os.write(self.master, key)

    def wait_for(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.output:
            if time.monotonic() > end or not self.read(0.1):
                pytest.fail("%r did not come: %r" % (text, self.output[-2000:]))

    def end(self, seconds=30):
        """Reads until xdctl has ended: exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            self.read(0.05)
            if time.monotonic() > end:
                pytest.fail("xdctl did not end in %d s: %r" % (seconds, self.output[-2000:]))
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        os.close(self.master)
        return self.process.returncode
