"""pytest plugin of test_run_projects.py, loaded by plain pytest and by xd alike: the same hypothesis examples in both;
and where XD_PLAIN_OUTCOMES names a file (plain pytest only), one JSON line per test there: node id, outcome, and of
each report its phase, category, message and text."""
import json
import os

import pytest


@pytest.hookimpl(trylast=True)  # after the projects' own
def pytest_configure(config):
    path = os.environ.get("XD_PLAIN_OUTCOMES")
    if path:
        config.pluginmanager.register(Outcomes(config, path))
    try:
        from hypothesis import settings
    except ImportError:
        return
    # no example may depend on a seed, the clock or an earlier run
    settings.register_profile("scenario", parent=settings.default, derandomize=True, deadline=None, database=None)
    settings.load_profile("scenario")


def words_of(report):
    """Its message and text; of a skip only the reason, of an expected failure the reason and the text."""
    if isinstance(report.longrepr, tuple):
        message = report.longrepr[2]
        return [message[len("Skipped: "):] if message.startswith("Skipped: ") else message, ""]
    crash = getattr(report.longrepr, "reprcrash", None)
    return [getattr(report, "wasxfail", crash.message if crash else ""), report.longreprtext]


class Outcomes(object):
    def __init__(self, config, path):
        self.config = config
        self.file = open(path, "w", encoding="utf-8")
        self.reports = []

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        status = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if status[0]:
            self.reports.append([report.when, status[0]] + words_of(report))

    def pytest_runtest_logfinish(self, nodeid):
        categories = {category for _, category, _, _ in self.reports}
        order = ("failed", "error", "xfailed", "xpassed", "skipped", "passed")
        outcome = next((c for c in order if c in categories), "none")
        self.file.write(json.dumps([nodeid, outcome, self.reports]) + "\n")
        self.reports = []

    def pytest_unconfigure(self):
        self.file.close()
