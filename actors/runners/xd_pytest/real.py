"""What the adapter needs while a test has patched it: references of our own, out of reach of monkeypatch (which changes the modules os and time) and
of what freezes time (which looks through the attributes of all modules, but not into classes)."""
from __future__ import absolute_import, division, print_function

import fcntl
import os
import select
import termios
import time

from xd_pytest import compat
from xd_pytest.pythons import Kept, persistent


def nanoseconds():
    return int(Kept.monotonic() * 1e9)


class Real(object):
    monotonic = staticmethod(Kept.monotonic)
    monotonic_ns = staticmethod(getattr(time, "monotonic_ns", nanoseconds))
    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)
    read = staticmethod(persistent(os.read))
    write = staticmethod(persistent(os.write))
    waitpid = staticmethod(persistent(os.waitpid))
    getpid = staticmethod(os.getpid)
    exit = staticmethod(os._exit)
    frame = staticmethod(compat.frame)
    ioctl = staticmethod(fcntl.ioctl)
    FIONREAD = termios.FIONREAD
    epoll = staticmethod(select.epoll) if hasattr(select, "epoll") else None
