"""The system calls of the lab that Python has not (in all versions): namespaces, mounts, prctl."""
import ctypes
import os
import signal

_libc = ctypes.CDLL(None, use_errno=True)

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 8, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (what, os.strerror(error)))


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def setns(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        _check(_libc.setns(fd, 0), "setns " + path)
    finally:
        os.close(fd)


def mount(source, target, kind="", flags=0, data=""):
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()), "mount on " + target)


def bind(fd, target):
    """What an open descriptor stands for, mounted on `target`: its path may be covered by now."""
    mount("/proc/self/fd/%d" % fd, target, flags=MS_BIND)


def remount(target, flags):
    mount("none", target, flags=MS_BIND | MS_REMOUNT | flags)


def private_mounts():
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def die_with_parent(parent):
    """Call after fork; `parent` = the pid of before."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")
    if parent and os.getppid() not in (0, parent):  # 0: it is outside of this PID namespace
        os._exit(1)


def adopt_orphans():
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def processes(kind, inode):
    """The pids, as seen from here, of the processes whose namespace `kind` is `inode` ("pid:[4026532]")."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink("/proc/%s/ns/%s" % (name, kind)) == inode:
                    found.append(int(name))
            except OSError:
                pass  # it has ended, or is another user's
    return found


def descendants(pid):
    """All processes below `pid`, children first."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
            except (OSError, ValueError):
                pass
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found
