"""Runs one program and measures it from outside: wall time, CPU time of it and of everything it started, its own CPU time, its peak memory."""
import ctypes
import os
import resource
import select
import signal
import subprocess
import time

LIMIT_S = 900
SAMPLE_MS = 20
PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    pass


def become_subreaper():
    """Orphans of a measured program become ours, so that none escapes the CPU account."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_kib(pid):
    """VmHWM; it only grows, so the last look before the end is the peak.  None: too late."""
    try:
        with open("/proc/%d/status" % pid) as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def own_cpu(pid):
    """CPU time of this process alone, of all its threads; still there while it is a zombie.  In ticks of 10 ms."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu():
    """CPU time that all processes of this machine have taken so far, and what the hypervisor gave to others."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(seconds):
    """Until half a second passes in which others take less than a tenth of one processor; at most so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = machine_cpu()
        time.sleep(0.5)
        if machine_cpu() - before <= 0.05:
            return


def reap_orphans():
    """Waits for what the program left behind; kills nothing, gives up after 10 s."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
        except ChildProcessError:
            return
    raise Failure("a process that was started has not ended")


def run(command, cwd, env, output, memory=False):
    """{"start" (monotonic), "wall", "cpu", "own_cpu", "others_cpu" (of other programs at that time), "code"[, "peak_kib"]}, times in
    seconds."""
    with open(output, "wb") as out:
        cpu, busy = children_cpu(), machine_cpu()
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                 start_new_session=True)
    ended, peak = os.pidfd_open(child.pid), None
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    try:
        while not poll.poll(SAMPLE_MS if memory else LIMIT_S * 1000):
            peak = peak_kib(child.pid) or peak
            if time.monotonic() - start > LIMIT_S:
                raise Failure("no end after %d s: %s" % (LIMIT_S, " ".join(command)))
        wall = time.monotonic() - start
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    finally:
        os.close(ended)
    own = own_cpu(child.pid)  # before it is reaped
    code = child.wait()
    reap_orphans()
    cpu = children_cpu() - cpu
    others = max(0, machine_cpu() - busy - cpu)
    found = {"start": start, "wall": wall, "cpu": cpu, "own_cpu": own, "others_cpu": others, "code": code}
    if memory:
        found["peak_kib"] = peak
    return found
