"""What a test has written past pytest's capture, and the agent has not read yet."""
from __future__ import absolute_import, division, print_function

import array
import os
import stat

from xd_pytest import compat
from xd_pytest.process import fileno
from xd_pytest.real import Real

MOST = 1.0  # seconds: of an agent that does not read, or of a pipe into which another process writes all the time


def output_pipes(config):
    """The descriptors that lead to the agent, as they are before the first test."""
    captures = compat.captures(config)
    for name, target in (("out", 1), ("err", 2)):
        saved = getattr(captures[name], "targetfd_save", None)
        fd = target if saved is None else saved if isinstance(saved, int) else fileno(saved)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                yield fd
        except (OSError, TypeError):
            pass


class Unread(object):
    """The agent counts what it reads for the item on the page: it is to have read all when the item leaves that."""

    def __init__(self, config):
        self.pipes = list(output_pipes(config))
        self.count = array.array("i", [0])  # filled in place: that takes a quarter of the time
        self.in_vain = set()  # pipes that were not read to their end last time

    def wait(self):
        for fd in self.pipes:
            try:
                self.wait_for(fd)
            except (IOError, OSError):  # closed, or something else by now
                pass

    def left(self, fd):
        Real.ioctl(fd, Real.FIONREAD, self.count, True)
        return self.count[0]

    def wait_for(self, fd):
        if not self.left(fd):
            self.in_vain.discard(fd)
        elif fd not in self.in_vain:
            deadline = Real.monotonic() + MOST
            while self.left(fd):
                if Real.monotonic() > deadline:
                    self.in_vain.add(fd)
                    break
                Real.sleep(0.00005)
