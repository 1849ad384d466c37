"""The process that a session of ours belongs to.

A test, a fixture or a conftest may fork and let the child come back into pytest.  In plain pytest the child goes on as a second pytest; here it would
speak for its parent, in whose pipes, files and page it has its share.  So everything of ours that writes or reads asks first whether the process is
still the one that it was made for: a real getpid(), because a child of vfork() or of a C library's fork() runs no handler of Python's.  The child
does what it would do in plain pytest until it is asked here, and ends."""
from __future__ import absolute_import, division, print_function

import sys

from xd_pytest.constants import EXIT_FAILED, EXIT_INTERRUPTED, NO_INDEX
from xd_pytest.real import Real
from xd_pytest.text import as_text, shown


class Owner(object):
    def __init__(self):
        self.pid = Real.getpid()
        self.config = None
        self.reports = None  # ItemReports
        self.failure = None  # in a copy: the first failure it reported

    def take(self):
        """This process is a copy that we made ourselves."""
        self.pid = Real.getpid()

    def is_copy(self):
        return Real.getpid() != self.pid

    def check(self):
        if Real.getpid() != self.pid:
            self.end()

    def end(self):
        """The end of a copy that came back, with one line and the exit status of a pytest that had run no more than this."""
        raised = sys.exc_info()[0]
        try:
            self.config.pluginmanager.get_plugin("capturemanager").suspend_global_capture()
        except Exception:  # -p no:capture, closed by the test, or too early
            pass
        how = "did not end" if self.failure is None else "failed (%s)" % self.failure
        reports = self.reports
        who = "the session" if reports is None or reports.index == NO_INDEX else as_text(reports.item.nodeid)
        text = "xd: %s forked, and its child (process %d) %s: the child is ended here\n" % (
            who, Real.getpid(), how)
        try:
            Real.write(2, shown(text))
        except OSError:
            pass
        Real.exit(EXIT_FAILED if self.failure is not None else EXIT_INTERRUPTED if raised else 0)
