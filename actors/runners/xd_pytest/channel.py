"""Sockets and pipes to the agent."""
from __future__ import absolute_import, division, print_function

import errno
import select

from xd_pytest import wire
from xd_pytest.constants import EXIT_INTERNAL
from xd_pytest.pythons import GONE, Socket, poll, set_blocking, set_inheritable
from xd_pytest.real import Real


class Gone(Exception):
    """The agent's end of a descriptor is closed."""


def write_all(fd, data):
    try:
        n = Real.write(fd, data)
        while n < len(data):
            data = memoryview(data)[n:]
            n = Real.write(fd, data)
    except OSError as e:
        if e.errno in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
            Real.exit(EXIT_INTERNAL)  # nobody is there to hear a result: go on with nothing
        raise


def take_frames(reader, data):
    return [(kind, wire.unpack(kind, body)) for kind, _flags, _sequence, body in reader.feed(data)]


def readable(fd, seconds):
    return poll(fd, select.POLLIN, seconds)


class Control(object):
    """A socket pair's end: frames both ways, descriptors with FORK."""

    def __init__(self, fd):
        set_inheritable(fd, False)
        set_blocking(fd)
        self.fd = fd
        self.sock = Socket(fd)
        self.reader = wire.FrameReader()
        self.ready = []
        self.fds = []

    def next(self):
        """(type, record); raises Gone."""
        while not self.ready:
            try:
                data, fds = self.sock.receive(65536, 16)
            except EnvironmentError as e:
                if e.errno in GONE:
                    raise Gone()
                raise
            self.fds.extend(fds)
            if not data:
                raise Gone()
            self.ready.extend(take_frames(self.reader, data))
        return self.ready.pop(0)

    def idle(self, seconds):
        """Waits so long for a frame; True: none came."""
        return not self.ready and not readable(self.sock.fileno(), seconds)

    def wait(self, kind):
        while True:
            got, record = self.next()
            if got == kind:
                return record

    def take_fds(self, count):
        if len(self.fds) < count:
            return None
        fds, self.fds = self.fds[:count], self.fds[count:]
        for fd in fds:
            set_inheritable(fd, False)
        return fds

    def send(self, data):
        write_all(self.fd, data)

    def close(self):
        self.sock.close()


class Commands(object):
    """The command pipe of a worker: read only when something is missing, so the usual item costs no system call."""

    def __init__(self, fd):
        set_blocking(fd)
        self.fd = fd
        self.reader = wire.FrameReader()
        self.ready = []

    def next(self, timeout_s=None):
        """(type, record), or None after timeout_s.  A closed pipe is QUIT."""
        deadline = None if timeout_s is None else Real.monotonic() + timeout_s
        while not self.ready:
            if deadline is not None and not readable(self.fd, deadline - Real.monotonic()):
                return None
            data = Real.read(self.fd, 65536)
            if not data:
                return wire.QUIT, None
            self.ready.extend(take_frames(self.reader, data))
        return self.ready.pop(0)


def wait_for(source, kind):
    while True:
        got, record = source.next()
        if got == kind:
            return record
        if got == wire.QUIT:
            raise Gone()
