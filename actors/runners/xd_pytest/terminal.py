"""The terminal reporter that stays quiet."""
from __future__ import absolute_import, division, print_function

import threading

from xd_pytest import compat
from xd_pytest.plugins import foreign_plugins, is_pytests
from xd_pytest.real import Real
from xd_pytest.reports import Screen
from xd_pytest.text import as_text, shown


class QuietFile(object):
    """Takes what pytest would write to the terminal.  Another thread than the one that runs the tests does not report: it is a watchdog that
    tells why it is about to end the process (pytest-timeout), and is heard on stderr."""
    encoding = "utf-8"

    def __init__(self):
        self.main = threading.current_thread()

    def write(self, text):
        if threading.current_thread() is not self.main:
            try:
                Real.write(2, shown(text))
            except OSError:
                pass
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


class LiveLog(object):
    """Where pytest's live log (log_cli) writes: the process's own stdout, which is shown as it comes, with the worker in front.  It writes
    while capture is off."""

    def __init__(self, reports):
        self.reports = reports

    def write(self, text):
        text = as_text(text).strip("\n")
        if text:
            try:
                Real.write(1, shown(text + "\n"))
            except OSError:
                pass

    def section(self, title, sep="-", **_markup):
        item = self.reports.item
        self.write("%s %s%s %s" % (4 * sep, title, "" if item is None else " of " + as_text(item.nodeid), 4 * sep))

    def flush(self):
        pass


def hear_live_log(config, reports):
    """pytest's handler for it, where there is one, writes to the terminal reporter, which is quiet."""
    handler = compat.LIVE_LOG.of(config.pluginmanager.get_plugin("logging-plugin"))
    if type(getattr(handler, "stream", None)) in (QuietReporter, LiveLog):
        handler.stream = LiveLog(reports)


class QuietReporter(object):
    """Stands in for pytest's terminal reporter in workers: everything can be asked and called, nothing is shown, no hook costs time.
    The header lines are asked of the real one, so that they come in pytest's order."""

    def __init__(self, real, loud):
        object.__setattr__(self, "_real", real)
        writer = compat.REPORTER_WRITER.of(real)
        if writer is not None:
            writer.hasmarkup = False  # escape sequences would get into assertion texts
            if not loud:
                compat.replace_file(writer, QuietFile())

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


class CountingReporter(QuietReporter):
    """Of a plain session: it keeps reports and warnings (`stats`), for what plugins say in pytest_terminal_summary."""

    def __init__(self, real, loud):
        QuietReporter.__init__(self, real, loud)
        object.__setattr__(self, "_report", compat.test_report())
        object.__setattr__(self, "_usual", None)
        compat.count_quietly(real)

    def pytest_plugin_registered(self, plugin):
        object.__setattr__(self, "_usual", None)

    def is_usual(self):
        """Nobody but pytest says what a report counts as."""
        if self._usual is None:
            object.__setattr__(self, "_usual", not foreign_plugins(self._real.config, "pytest_report_teststatus"))
        return self._usual

    def pytest_runtest_logreport(self, report):
        """Nine in ten reports say that a phase passed: they are kept as pytest keeps them, without asking all plugins what to call that."""
        real = self._real
        if type(report) is self._report and report.outcome == "passed" and not hasattr(report, "wasxfail") and self.is_usual():
            kept = real.stats.get("passed" if report.when == "call" else "")
            if kept is not None:  # pytest's own reporter has seen one of these
                kept.append(report)
                return
        real.pytest_runtest_logreport(report=report)

    def pytest_collectreport(self, report):
        return self._real.pytest_collectreport(report=report)

    def pytest_deselected(self, items):
        return self._real.pytest_deselected(items=items)

    def pytest_warning_recorded(self, warning_message, nodeid):
        return self._real.pytest_warning_recorded(warning_message=warning_message, nodeid=nodeid)

    def pytest_warning_captured(self, warning_message, item):
        return self._real.pytest_warning_captured(warning_message=warning_message, item=item)

    def __dir__(self):
        return ["pytest_report_header", "pytest_plugin_registered", "pytest_runtest_logreport", "pytest_collectreport", "pytest_deselected", compat.warning_hook()]


def silence(plugin, manager, counts):
    """Puts the quiet one in the place of pytest's reporter, when that is what was registered."""
    if type(plugin) in (QuietReporter, CountingReporter) or not isinstance(plugin, compat.REPORTER.get() or object):
        return
    if manager.get_plugin("terminalreporter") is plugin:
        manager.unregister(plugin)
        stand_in = CountingReporter if counts and compat.reporter_counts(plugin) else QuietReporter
        manager.register(stand_in(plugin, loud=plugin.config.getoption("setupshow", False)), "terminalreporter")


def count_for(session):
    """Of a reporter that counts: what it would have noted when it showed the start of the session."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if type(reporter) is CountingReporter:
        compat.begins(reporter, session)


def plugin_summary(config, exitstatus):
    """What plugins and conftests write in pytest_terminal_summary; pytest's own summary is xd's to show."""
    manager = config.pluginmanager
    reporter = manager.get_plugin("terminalreporter")
    if reporter is None or not foreign_plugins(config, "pytest_terminal_summary"):
        return ""
    own = [impl.plugin for impl in config.hook.pytest_terminal_summary.get_hookimpls() if is_pytests(impl.plugin)]
    screen = Screen()
    quiet, writer = compat.REPORTER_WRITER.of(reporter), screen.writer()
    if quiet is None or writer is None:
        return ""
    compat.writes_to(reporter, writer)
    reporter.currentfspath = None  # no line of tests is open there
    try:
        manager.subset_hook_caller("pytest_terminal_summary", own)(terminalreporter=reporter, exitstatus=exitstatus, config=config)
        return screen.getvalue()
    finally:
        compat.writes_to(reporter, quiet)
