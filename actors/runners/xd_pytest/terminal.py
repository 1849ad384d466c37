"""The terminal reporter that stays quiet."""
from __future__ import absolute_import, division, print_function

import sys
import threading

from xd_pytest.real import Real


class QuietFile(object):
    """Takes what pytest would write to the terminal.  Another thread than the one that runs the tests does not report: it is a watchdog that
    tells why it is about to end the process (pytest-timeout), and is heard on stderr."""
    encoding = "utf-8"

    def __init__(self):
        self.main = threading.current_thread()

    def write(self, text):
        if threading.current_thread() is not self.main:
            try:
                Real.write(2, text.encode("utf-8", "backslashreplace"))
            except OSError:
                pass
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


class QuietReporter(object):
    """Stands in for pytest's terminal reporter in workers: everything can be asked and called, nothing is shown, no hook costs time.
    The header lines are asked of the real one, so that they come in pytest's order."""

    def __init__(self, real, loud):
        object.__setattr__(self, "_real", real)
        writer = getattr(real, "_tw", None)
        if writer is not None:
            writer.hasmarkup = False  # escape sequences would get into assertion texts
            if not loud:
                writer._file = QuietFile()

    def pytest_report_header(self, config):
        return self._real.pytest_report_header(config=config)

    def __dir__(self):
        return ["pytest_report_header"]

    @property
    def __class__(self):
        return type(self._real)  # isinstance() of plugins

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)


def silence(plugin, manager):
    """Puts the quiet one in the place of pytest's reporter, when that is what was registered."""
    reporter = getattr(sys.modules.get("_pytest.terminal"), "TerminalReporter", None)
    if reporter is None or type(plugin) is QuietReporter or not isinstance(plugin, reporter):
        return
    if manager.get_plugin("terminalreporter") is plugin:
        manager.unregister(plugin)
        manager.register(QuietReporter(plugin, loud=plugin.config.getoption("setupshow", False)), "terminalreporter")
