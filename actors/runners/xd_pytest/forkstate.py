"""What fork(2) would share with this process, or leave behind in it: descriptors, mappings, threads, children, timers, signals.  xd(7) has the whole list."""
from __future__ import absolute_import, division, print_function

import mmap
import os
import signal
import stat
import sys

from xd_pytest import compat
from xd_pytest.channel import readable
from xd_pytest.process import fileno, quiet_fork
from xd_pytest.pythons import COUNTS_REFERENCES, dup2, get_inheritable, has_child, open_text
from xd_pytest.real import Real
from xd_pytest.text import as_text

TRIAL_S = 5.0         # a child that does nothing but end needs a millisecond
PF_EXITING = 0x4      # of the kernel's flags of a thread
NEVER_SHARED = frozenset(("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"))  # have no position and no state
PR_GET_CHILD_SUBREAPER = 37


class Objection(object):
    """What stands against a fork.  perhaps_garbage: it may be held by an object that nobody needs any more."""

    def __init__(self, text, perhaps_garbage=False):
        self.text, self.perhaps_garbage = text, perhaps_garbage


def read_text(path):
    try:
        with open_text(path, errors="replace") as f:
            return f.read()
    except EnvironmentError:
        return ""


# ---- descriptors

def open_fds():
    """{number: what /proc says it is}, or None where there is no /proc."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None
    fds = {}
    for name in names:
        try:
            fds[int(name)] = os.readlink("/proc/self/fd/" + name)
        except (OSError, ValueError):
            pass
    return fds


def log_fds():
    """Descriptors of the files that handlers of `logging` write; what they hold back is written."""
    found = set()
    for handler in compat.log_handlers():
        fd = fileno(getattr(handler, "stream", None))
        if fd is not None:
            try:
                handler.flush()
                found.add(fd)
            except Exception:
                pass
    return found


def appended_log(fd, logs):
    """A file that `logging` appends to: the kernel moves its position to the end for each record, so several writers do no harm.  A lock on it would be shared."""
    if fd not in logs:
        return False
    import fcntl
    try:
        return (bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND) and stat.S_ISREG(os.fstat(fd).st_mode)
                and "\nlock:" not in read_text("/proc/self/fdinfo/%d" % fd))
    except EnvironmentError:
        return False


def empty_epoll(fd, what):
    """An epoll instance in which nothing is registered: a new one in its place is the same."""
    return what == "anon_inode:[eventpoll]" and "\ntfd:" not in read_text("/proc/self/fdinfo/%d" % fd)


def renew_epolls(fds):
    """In a child: instances of its own.  What would be registered in a shared one wakes the other process."""
    for fd in fds:
        kept = get_inheritable(fd)
        fresh = Real.epoll()
        dup2(fresh.fileno(), fd, kept)
        fresh.close()


def descriptor_left(before, own):
    """before: what was open before the user's code; own: those of pytest and ours.  (Objection or None, epoll instances to be renewed)."""
    harmless = set(NEVER_SHARED)
    harmless.update(before.get(n) for n in (0, 1, 2))
    epolls, logs = [], None
    for fd, what in sorted((open_fds() or {}).items()):
        if fd <= 2 or before.get(fd) == what or fd in own or what in harmless:
            continue
        if empty_epoll(fd, what):
            epolls.append(fd)
            continue
        logs = log_fds() if logs is None else logs
        if not appended_log(fd, logs):
            return Objection("left a descriptor open: %s" % as_text(what), True), []
    return None, epolls


# ---- memory

def mapping_left(page_inode, flags):
    """Shared memory that can be written: a semaphore or a buffer there belongs to all copies at once.  page_inode: of our own page.
    flags: look also for memory that is left out of copies; that takes some milliseconds."""
    name = ""
    for line in (flags and read_text("/proc/self/smaps") or read_text("/proc/self/maps")).splitlines():
        if line.startswith("VmFlags:"):
            if " dc" in line and "dc" in line.split():
                return Objection("left memory that a fork does not copy (MADV_DONTFORK): %s" % (as_text(name) or "anonymous"), True)
            continue
        fields = line.split(None, 5)
        if len(fields) < 5 or len(fields[1]) != 4:
            continue
        name = fields[5] if len(fields) > 5 else ""
        if fields[1][3] == "s" and fields[1][1] == "w" and not (fields[4] == page_inode and name.startswith("/memfd:")):
            return Objection("left shared memory mapped: %s" % (as_text(name) or "anonymous"), True)
    return None


def mmap_users():
    """How many hold the module mmap: Python code leaves memory out of a fork through it alone."""
    return sys.getrefcount(mmap) if COUNTS_REFERENCES else 0


def inode_of(fd):
    return str(os.fstat(fd).st_ino)


# ---- the process

def child_left():
    return Objection("left a child process") if has_child() else None


def timer_left():
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"):
        number = getattr(signal, name, None)
        if number is not None and signal.getitimer(number)[0]:
            return Objection("left a timer running: %s" % name)
    if read_text("/proc/self/timers"):
        return Objection("left a POSIX timer")
    return None


def signals_left():
    """A handler of SIGCHLD would meet the ends of workers; signals that wait are not copied; PTRACE_TRACEME stops the process at each of them, for a parent
    that does not know."""
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:
        return Objection("set a handler for SIGCHLD")
    for line in read_text("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key in ("SigPnd", "ShdPnd") and int(value, 16):
            return Objection("left a signal pending")
        if key == "TracerPid" and int(value) == os.getppid() != 0:
            return Objection("is traced by its parent (PTRACE_TRACEME)")
        if key == "VmLck" and value.split()[:1] != ["0"]:
            return Objection("locked memory (mlock)")
    return None


def attributes_left():
    """Of the process: what its children would begin with, or lack."""
    for kind in ("pid", "time"):
        own, childrens = "/proc/self/ns/" + kind, "/proc/self/ns/%s_for_children" % kind
        try:
            if os.readlink(own) != os.readlink(childrens):
                return Objection("set a %s namespace for children" % kind)
        except OSError:
            if os.path.lexists(childrens):  # it cannot be read before the first process is in it
                return Objection("set a %s namespace for children" % kind)
    ctypes = sys.modules.get("ctypes")  # nothing in Python itself makes a process a subreaper
    if ctypes is not None:
        try:
            found = ctypes.c_int(0)
            ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
            if found.value:
                return Objection("made the process a subreaper")
        except Exception:
            pass
    return None


# ---- threads

def python_thread_left():
    threading = sys.modules.get("threading")
    if threading is not None:
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                return Objection("left a thread running: %s" % as_text(thread.name))
    return None


def native_threads():
    """The names of the threads beside the first, without those that are on their way out."""
    names = []
    tids = os.listdir("/proc/self/task")
    if len(tids) > 1:
        first = os.readlink("/proc/self")
        for tid in tids:
            text = read_text("/proc/self/task/%s/stat" % tid)
            head, _, tail = text.rpartition(")")
            if text and tid != first and not int(tail.split()[6]) & PF_EXITING:
                names.append(head.partition("(")[2])
    return names


def native_thread_left():
    """Only asked where nothing else stands against forking.  Libraries that mean to be forked (OpenBLAS) end their threads before, in the parent, and start
    new ones when they need some; whether they do so is seen in a trial.  A thread that goes on is missing in the child, with all that it holds."""
    if not native_threads():
        return None
    trouble = trial_fork()
    if trouble is not None:
        return Objection(trouble)
    left = native_threads()
    if left:
        return Objection("left %d native thread%s running that a fork does not end: %s" % (len(left), "s" if len(left) > 1 else "", as_text(left[0])))
    return None


def trial_fork():
    """Forks a child that ends at once.  None, or what went wrong."""
    mine, childs = os.pipe()
    try:
        pid = quiet_fork()
        if pid == 0:
            os._exit(0)
        os.close(childs)
        childs = -1
        if not readable(mine, TRIAL_S):
            os.kill(pid, signal.SIGKILL)
            Real.waitpid(pid, 0)
            return "left the process so that a copy of it does not end"
        status = Real.waitpid(pid, 0)[1]
        return "left the process so that a copy of it ends with status %d" % status if status else None
    except OSError as e:
        return "left the process so that it cannot be copied: %s" % as_text(e)
    finally:
        os.close(mine)
        if childs >= 0:
            os.close(childs)


# ---- all of it

def fork_objection(before, own, page_inode, flags):
    """What stands against a fork, native threads aside.  (Objection or None, epoll instances that a child must renew)."""
    found = python_thread_left()
    epolls = []
    if found is None:
        found, epolls = descriptor_left(before, own)
    found = found or mapping_left(page_inode, flags) or child_left() or timer_left() or signals_left() or attributes_left()
    return found, epolls
