"""What older Pythons and PyPy lack, under one name each: no other module has to know which Python it runs in.

CPython 2.7, 3.6 and newer, PyPy 3.  The rule: what is missing is done in another way, which may be slower and has the same result.  Where there is no other
way the process is not copied (compat.py), which is slower, too.  README.md has the list of what each of them lacks."""
from __future__ import absolute_import, division, print_function

import errno
import fcntl
import io
import os
import select
import socket
import struct
import sys
import time

PY2 = sys.version_info[0] == 2
Text = type(u"")
STRINGS = (str, Text)  # in Python 2 a string may be either
ESCAPES = "replace" if PY2 else "surrogateescape"  # of bytes that are no UTF-8
GONE = (errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN)
O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
MSG_CMSG_CLOEXEC = 0x40000000
BASE_PREFIX = getattr(sys, "base_prefix", None) or getattr(sys, "real_prefix", None) or sys.prefix  # real_prefix: of virtualenv, before Python 3.3
COUNTS_REFERENCES = hasattr(sys, "getrefcount")  # PyPy does not: nobody can tell who holds what

if PY2:
    import ctypes  # main.py says so where there is none
    LIBC = ctypes.CDLL(None, use_errno=True)


# ---- system calls

def persistent(call):
    """In Python 2 a handler of a signal ends the system call that it interrupts."""
    if not PY2:
        return call

    def function(*args):
        while True:
            try:
                return call(*args)
            except (EnvironmentError, select.error) as e:
                if e.args[0] != errno.EINTR:
                    raise
    return function


def set_flag(fd, get, set, flag, wanted):
    flags = fcntl.fcntl(fd, get)
    fcntl.fcntl(fd, set, flags | flag if wanted else flags & ~flag)


def set_inheritable(fd, inheritable):
    if hasattr(os, "set_inheritable"):
        os.set_inheritable(fd, inheritable)
    else:
        set_flag(fd, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.FD_CLOEXEC, not inheritable)


def get_inheritable(fd):
    return os.get_inheritable(fd) if hasattr(os, "get_inheritable") else not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def dup2(fd, number, inheritable):
    os.dup2(fd, number)
    set_inheritable(number, inheritable)


def set_blocking(fd):
    if hasattr(os, "set_blocking"):
        os.set_blocking(fd, True)
    else:
        set_flag(fd, fcntl.F_GETFL, fcntl.F_SETFL, os.O_NONBLOCK, False)


def write_start(fd, data):
    """At the start of a file."""
    if hasattr(os, "pwrite"):
        os.pwrite(fd, data, 0)
    else:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, data)


def has_child():
    """Whether this process has a child that runs, or has ended and was not asked for its status."""
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            return False
        return True
    if not PY2:
        return False
    room = ctypes.create_string_buffer(256)  # siginfo_t
    return LIBC.waitid(0, 0, room, 0x1000000 | 4 | 1) == 0  # P_ALL; WNOWAIT, WEXITED, WNOHANG


def poll(fd, events, seconds):
    """Whether one of the events is there before so many seconds are over."""
    asked, deadline = Kept.poll(), Kept.monotonic() + seconds
    asked.register(fd, events)
    while True:
        try:
            return bool(asked.poll(max(0, int((deadline - Kept.monotonic()) * 1000))))
        except (EnvironmentError, select.error) as e:
            if e.args[0] != errno.EINTR:
                raise


class Socket(object):
    """One end of a socket pair, with the descriptors that come on it."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.fileno, self.close, self.settimeout = self.socket.fileno, self.socket.close, self.socket.settimeout

    def receive(self, size, most):
        """(bytes, [descriptor, ...]): at most so many of each."""
        data, extra, _flags, _from = self.socket.recvmsg(size, socket.CMSG_SPACE(4 * most), getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        fds = []
        for level, kind, payload in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.extend(descriptors(payload))
        return data, fds


def descriptors(payload):
    count = len(payload) // 4
    return struct.unpack("%di" % count, payload[:4 * count])


if PY2:
    class Part(ctypes.Structure):
        """struct iovec"""
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    class Message(ctypes.Structure):
        """struct msghdr"""
        _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("parts", ctypes.POINTER(Part)), ("count", ctypes.c_size_t),
                    ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int)]

    LIBC.recvmsg.restype = ctypes.c_ssize_t
    HEAD = struct.Struct("@Lii")  # struct cmsghdr
    SOL_SOCKET, SCM_RIGHTS = socket.SOL_SOCKET, 1

    class Socket(object):  # noqa: F811
        """The same where the module socket knows of no messages with descriptors."""

        def __init__(self, fd):
            self.fd, self.seconds = fd, None

        def fileno(self):
            return self.fd

        def close(self):
            os.close(self.fd)

        def settimeout(self, seconds):
            self.seconds = seconds

        def receive(self, size, most):
            if self.seconds is not None and not poll(self.fd, select.POLLIN, self.seconds):
                raise socket.timeout("timed out")
            data, control = ctypes.create_string_buffer(size), ctypes.create_string_buffer(HEAD.size + 4 * most + 8)
            part = Part(ctypes.cast(data, ctypes.c_void_p), size)
            message = Message(None, 0, ctypes.pointer(part), 1, ctypes.cast(control, ctypes.c_void_p), len(control), 0)
            count = -1
            while count < 0:
                count = LIBC.recvmsg(self.fd, ctypes.byref(message), MSG_CMSG_CLOEXEC)
                if count < 0 and ctypes.get_errno() != errno.EINTR:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return data.raw[:count], rights(control.raw[:message.control_length])

    def rights(control):
        """The descriptors in the control part of a message."""
        at, fds = 0, []
        while at + HEAD.size <= len(control):
            length, level, kind = HEAD.unpack_from(control, at)
            if length < HEAD.size:
                break
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                fds.extend(descriptors(control[at + HEAD.size:at + length]))
            step = ctypes.sizeof(ctypes.c_size_t)
            at += (length + step - 1) // step * step
        return fds


# ---- time

if PY2:
    class Timespec(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    def find_clock():
        try:
            return LIBC.clock_gettime
        except AttributeError:  # a C library before glibc 2.17
            return ctypes.CDLL("librt.so.1").clock_gettime

    def read_clock(clock=find_clock(), byref=ctypes.byref):
        now = Timespec()
        clock(1, byref(now))  # CLOCK_MONOTONIC, by which the agent reads the progress page
        return now.seconds + now.nanoseconds * 1e-9


class Kept(object):
    """Out of reach of what tests patch, see real.py."""
    monotonic = staticmethod(read_clock if PY2 else time.monotonic)
    poll = staticmethod(select.poll)


# ---- memory

def words_of(mapped, letter):
    """The whole of a mapping as native numbers of 4 ("I") or 8 bytes ("Q"), each of which is read and written at once."""
    if not PY2:
        return memoryview(mapped).cast(letter)
    kind = ctypes.c_uint32 if letter == "I" else ctypes.c_uint64
    return (kind * (len(mapped) // ctypes.sizeof(kind))).from_buffer(mapped)


class Strided(object):
    """Every n-th of some words, as they are when somebody looks: an array of ctypes gives a copy."""

    def __init__(self, words, part):
        self.words, self.part = words, part

    def __iter__(self):
        return iter(self.words[self.part])


def every(words, part):
    """part: a slice."""
    return Strided(words, part) if PY2 else words[part]


# ---- names, paths, programs

def fsencode(path):
    if not PY2:
        return os.fsencode(path)
    return path if isinstance(path, bytes) else path.encode(sys.getfilesystemencoding() or "utf-8")


def fsdecode(path):
    """What the functions of os and the command line of this Python have: text, or in Python 2 bytes."""
    return os.fsdecode(path) if not PY2 else fsencode(path)


def fspath(path):
    return os.fspath(path) if hasattr(os, "fspath") else str(path)


def which(name):
    """The program of this name on PATH, or None."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def quote(text):
    """For a shell."""
    try:
        from shlex import quote as shell_quote
    except ImportError:
        from pipes import quote as shell_quote
    return shell_quote(text)


def has_module(name):
    """Whether a top-level module can be imported, without importing it."""
    import pkgutil
    try:
        return pkgutil.find_loader(name) is not None if PY2 else __import__("importlib.util").util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def allowed_processors():
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    found = set()
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("Cpus_allowed_list:"):
                for part in line.split(":")[1].strip().split(","):
                    first, _, last = part.partition("-")
                    found.update(range(int(first), int(last or first) + 1))
    return found


def unwrap(function):
    import inspect
    if hasattr(inspect, "unwrap"):
        return inspect.unwrap(function)
    seen = set()
    while hasattr(function, "__wrapped__") and id(function) not in seen:
        seen.add(id(function))
        function = function.__wrapped__
    return function


def own_function(cls, name):
    """A method of this very class as the function that it was written as.  In Python 2 the attribute of a class would be another thing."""
    return cls.__dict__[name]


def mentions_none(node):
    """Whether a node of an abstract syntax tree is None."""
    import ast
    if isinstance(node, ast.Name):
        return node.id == "None"  # Python 2
    return type(node).__name__ in ("Constant", "NameConstant") and node.value is None


def string_of(node):
    """The text of a node that is a string, or None."""
    kind = type(node).__name__
    value = node.s if kind == "Str" else node.value if kind == "Constant" else None
    return value if isinstance(value, STRINGS) else None


# ---- streams

def open_text(file, mode="r", errors=None, buffering=-1):
    return io.open(file, mode, encoding="utf-8", errors=errors, buffering=buffering)


def buffer_lines():
    """What a test prints is shown as it comes, although stdout is a pipe."""
    stream = sys.stdout
    try:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
        elif PY2:
            ctypes.pythonapi.PyFile_SetBufSize(ctypes.py_object(stream), 1)
        else:  # 3.6
            encoding, errors = stream.encoding, stream.errors
            sys.stdout = sys.__stdout__ = io.TextIOWrapper(stream.detach(), encoding, errors, "\n", True)
            sys.stdout.mode = "w"
    except (AttributeError, TypeError, ValueError):
        pass


# ---- installed distributions

def metadata():
    """The module importlib.metadata, or the package that stands in for it.  ImportError: there is none."""
    try:
        import importlib.metadata as module  # 3.8
    except ImportError:
        import importlib_metadata as module  # what pytest itself needs before
    return module


def release_of(distribution):
    """The version that is installed, or None."""
    try:
        version = metadata().version
    except ImportError:
        version = old_version
    try:
        return version(distribution)
    except Exception:  # it is not there, or what it says of itself cannot be read
        return None


def old_version(distribution):
    import pkg_resources
    return pkg_resources.get_distribution(distribution).version
