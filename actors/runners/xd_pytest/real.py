"""What the adapter needs while a test has patched it: references of our own, out of reach of monkeypatch (which changes the modules os and time) and
of what freezes time (which looks through the attributes of all modules, but not into classes)."""
from __future__ import absolute_import, division, print_function

import fcntl
import os
import select
import termios
import time

from xd_pytest import compat


def nanoseconds():
    return int(time.monotonic() * 1e9)


class Real(object):
    monotonic = staticmethod(time.monotonic)
    monotonic_ns = staticmethod(getattr(time, "monotonic_ns", nanoseconds))
    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    getpid = staticmethod(os.getpid)
    exit = staticmethod(os._exit)
    frame = staticmethod(compat.frame)
    ioctl = staticmethod(fcntl.ioctl)
    FIONREAD = termios.FIONREAD
    poll = staticmethod(select.poll) if hasattr(select, "poll") else None
    epoll = staticmethod(select.epoll) if hasattr(select, "epoll") else None
