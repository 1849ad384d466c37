"""pytest plugin of wild.py: in plain pytest, and in the controlling process of pytest-xdist, the categories of each test's reports go as JSON to the
file that WILD_OUTCOMES names."""
import json
import os


def pytest_configure(config):
    path = os.environ.get("WILD_OUTCOMES")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config, path), "wild-outcomes")


class Outcomes(object):
    def __init__(self, config, path):
        self.config, self.path = config, path
        self.seen = {}

    def pytest_runtest_logreport(self, report):
        category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
        self.seen.setdefault(report.nodeid, [])
        if category:
            self.seen[report.nodeid].append(category)

    def pytest_unconfigure(self):
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump(self.seen, f)
