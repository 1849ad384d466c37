"""What the kernel keeps for a process (xd(7), "WHAT A FORK SHARES"): each entry both ways, made with its own system calls. Where this kernel, or its limits, refuse one,
the test is skipped and says with what."""
import platform
import re

import pytest

from test_run_forks import NOTHING, TESTS, expect, reason, ways

CALLS = '''
import ctypes, mmap, os
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = LIBC.shmat.restype = ctypes.c_void_p
def must(value, bad=-1):
    if value in (bad, None, ctypes.c_void_p(-1).value):
        raise OSError("refused by this kernel: %s" % os.strerror(ctypes.get_errno()))
    return value
def syscall(number, *arguments): return must(LIBC.syscall(ctypes.c_long(number), *arguments))
def ring(): return syscall(425, ctypes.c_uint(8), ctypes.byref((ctypes.c_char * 256)()))
def queue(): return must(LIBC.mq_open(b"/xd-%d" % os.getppid(), os.O_RDWR | os.O_CREAT, 0o600, None))
def segment():
    number = must(LIBC.shmget(0, ctypes.c_size_t(4096), 0o1600))
    place = must(LIBC.shmat(number, None, 0))
    must(LIBC.shmctl(number, 0, None))
    return place
def fault_handler(): return syscall({"x86_64": 323, "aarch64": 282}[os.uname().machine], 1)
def unshare(flags): must(LIBC.unshare(flags))
def raw(): return (ctypes.c_ulong * 1)()
AIO_SETUP, AIO_DESTROY = {"x86_64": (206, 207), "aarch64": (0, 1)}[os.uname().machine]
'''
UNSAFE = {
    "io_uring": ("R = ring()", "left a descriptor open: anon_inode:[io_uring]"),
    "ring of io_uring": ("R = ring(); M = must(LIBC.mmap(None, ctypes.c_size_t(4096), 3, 1, R, ctypes.c_long(0))); os.close(R)", "left shared memory mapped: "),
    "asynchronous I/O": ("C = raw(); syscall(AIO_SETUP, ctypes.c_uint(1), C)", "left shared memory mapped: "),
    "POSIX message queue": ("Q = queue(); LIBC.mq_unlink(b'/xd-%d' % os.getppid())", "left a descriptor open: "),
    "System V shared memory": ("P = segment()", "left shared memory mapped: /SYSV00000000"),
    "pidfd": ("F = os.pidfd_open(os.getppid())", "left a descriptor open: "),
    "userfaultfd": ("F = fault_handler()", "left a descriptor open: anon_inode:[userfaultfd]"),
    "pid namespace": ("unshare(0x20000000)", "set a pid namespace for children"),
    "time namespace": ("unshare(0x80)", "set a time namespace for children"),
    "traced by its parent": ("must(LIBC.ptrace(0, 0, None, None))", "is traced by its parent"),
}
SAFE = {
    "io_uring that was closed": "os.close(ring())",
    "asynchronous I/O that was ended": "C = raw(); syscall(AIO_SETUP, ctypes.c_uint(1), C); syscall(AIO_DESTROY, ctypes.c_ulong(C[0]))",
    "POSIX message queue that was closed": "Q = queue(); LIBC.mq_close(Q); LIBC.mq_unlink(b'/xd-%d' % os.getppid())",
    "System V shared memory that was detached": "must(LIBC.shmdt(ctypes.c_void_p(segment())))",
    "System V message queue": "import atexit; Q = must(LIBC.msgget(0, 0o600)); atexit.register(LIBC.msgctl, Q, 0, None)",
    "System V semaphores": "import atexit; S = must(LIBC.semget(0, 1, 0o600)); atexit.register(LIBC.semctl, S, 0, 0)",
    "System V shared memory that nobody has attached": "import atexit; S = must(LIBC.shmget(0, ctypes.c_size_t(4096), 0o600)); atexit.register(LIBC.shmctl, S, 0, None)",
    "pidfd that was closed": "os.close(os.pidfd_open(os.getppid()))",
    "userfaultfd that was closed": "os.close(fault_handler())",
    "namespaces of its own": "unshare(0x04000000); unshare(0x08000000); unshare(0x40000000); unshare(0x20000)",  # uts, ipc, network, mounts
    "user namespace": "unshare(0x10000000)",
    "what it shares with nobody": "unshare(0x200 | 0x400 | 0x40000)",  # file system data, descriptors, SEM_UNDO
}
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the numbers of system calls of this machine are not known here")


def skip_refused(xd):
    refused = re.search(r"OSError: (refused by this kernel: .*)", xd.out + xd.err)
    if refused or "has no attribute 'pidfd_open'" in xd.out:
        pytest.skip(refused.group(1) if refused else "this Python has no os.pidfd_open")


@pytest.mark.parametrize("what", sorted(UNSAFE))
def test_what_may_not_be_left(project, what):
    source, why = UNSAFE[what]
    project.write(conftest=CALLS + source + "\n", test_a=TESTS)
    xd = project.run("-n2", "-v")
    skip_refused(xd)
    assert xd.rc == 0 and ways(xd) == {"warm"} and "collection " in reason(xd) and why in reason(xd), xd


@pytest.mark.parametrize("what", sorted(SAFE))
def test_what_may_be_left(project, what):
    project.write(conftest=CALLS + SAFE[what] + "\n", test_a=TESTS)
    xd = project.run("-n2", "-v")
    skip_refused(xd)
    assert xd.rc == 0 and ways(xd) == {"collected"} and NOTHING in reason(xd), xd
