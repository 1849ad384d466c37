"""No process of the environment outlives the agent, even if other processes are killed with it.

The agent holds the only writing end of a pipe and never writes.  When that end closes, the kernel sends SIGKILL to the process group that owns the
reading end: nobody has to be alive, or listening, for it to happen.  PR_SET_PDEATHSIG would not do: it reports the death of the parent, which a
worker is to survive.  The owner belongs to the open file, which a fork shares, so each process opens the pipe anew."""
from __future__ import absolute_import, division, print_function

import os
import signal

from xd_pytest.pythons import O_CLOEXEC, set_inheritable

try:
    import fcntl
except ImportError:
    fcntl = None


class Leash(object):
    fd = None
    pipe = None  # what it is: the number may be another file's by now, when the suite closed what it did not open

    @classmethod
    def take(cls, fd):
        if fd is not None:
            set_inheritable(fd, False)
            cls.fd, cls.pipe = fd, cls.identity(fd)
            cls.renew()

    @staticmethod
    def identity(fd):
        try:
            status = os.fstat(fd)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @classmethod
    def renew(cls):
        """For a process that was forked, or that now leads a process group of its own."""
        if cls.fd is None or fcntl is None or cls.identity(cls.fd) != cls.pipe:
            return
        try:
            fd = os.open("/proc/self/fd/%d" % cls.fd, os.O_RDONLY | os.O_NONBLOCK | O_CLOEXEC)
            set_inheritable(fd, False)
        except OSError:
            return  # it was closed, or there is no /proc: the guard and the agent remain
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        except (EnvironmentError, AttributeError):
            os.close(fd)
            return
        os.close(cls.fd)
        cls.fd = fd
