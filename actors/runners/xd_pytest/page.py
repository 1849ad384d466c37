"""The progress page (engine/base/page.h)."""
from __future__ import absolute_import, division, print_function

import mmap
import os

from xd_pytest.pythons import every, words_of

# In 4-byte words.
PAGE_HEADER, PAGE_SLOT, PAGE_SLOTS, PAGE_MAXFAIL, PAGE_STOP, PAGE_ELSEWHERE, PAGE_FILES, PAGE_ITEMS = 16, 16, 2, 3, 4, 5, 6, 7
CLAIMED, LIMIT, FAILURES, ITEM, SINCE, DONE, PID, RUNS, ENDING = 0, 1, 2, 3, 4, 6, 8, 9, 15
# What ENDING says: the agent tells who waits for the end of a session.
IN_SESSIONFINISH, IN_UNCONFIGURE, IN_THREADS, IN_EXIT_HANDLERS = 1, 2, 3, 4


class Page(object):
    """The progress page: native 4-byte loads and stores, so that no number is ever seen half written."""

    def __init__(self, fd):
        self.map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words = words_of(self.map, "I")
        self.longs = words_of(self.map, "Q")

    def slot(self, number):
        return PAGE_HEADER + PAGE_SLOT * number

    def failures(self):
        """The failure counts of all slots in use."""
        return every(self.words, slice(PAGE_HEADER + FAILURES, PAGE_HEADER + PAGE_SLOT * self.words[PAGE_SLOTS], PAGE_SLOT))
