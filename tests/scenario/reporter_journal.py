"""Turns a real pytest run into the frames a journal of it would hold: pytest -p reporter_journal --frames=FILE ...

Written apart from the adapter on purpose: it is the second opinion that the reporters are compared with.  Needs only wire.def.
"""
import re
import struct
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXED = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i"}


def records():
    """wire.def: name -> (id, [(kind, type or record, field)])"""
    found, current = {}, None
    for line in (ROOT / "engine/wire.def").read_text().splitlines():
        m = re.match(r'XD_(REC|NUM|STR|LST|END)\((\w+)(?:, (\w+))?(?:, (\w+))?', line)
        if not m or line.startswith(" *"):
            continue
        kind, name, a, b = m.groups()
        if kind == "REC":
            current = found[name] = (int(a), [])
        elif kind == "NUM":
            current[1].append(("NUM", a, b))
        elif kind == "STR":
            current[1].append(("STR", None, a))
        elif kind == "LST":
            current[1].append(("LST", a, b))
    return found


WIRE = records()


def data(value):
    if isinstance(value, bytes):
        return value
    text = str(value)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def body(name, /, **values):
    out = b""
    for kind, of, field in WIRE[name][1]:
        if kind == "NUM":
            out += struct.pack("<" + FIXED[of], int(values.get(field, 0)))
        elif kind == "STR":
            text = data(values.get(field, b""))
            out += struct.pack("<I", len(text)) + text
        else:
            items = values.get(field, [])
            out += struct.pack("<I", len(items)) + b"".join(body(of, **i) for i in items)
    return out


def frame(name, /, **values):
    b = body(name, **values)
    return struct.pack("<IHHQ", len(b), WIRE[name][0], 0, 0) + b


def us(seconds):
    return int(round(seconds * 1e6))


OUTCOMES = {"passed": 1, "failed": 2, "skipped": 3, "xfailed": 4, "xpassed": 5, "error": 6}
OPTIONS = ("verbose reportchars tbstyle durations durations_min color xmlpath junitprefix showcapture no_header no_summary capture "
           "disable_warnings fold_skipped force_short_summary xfail_tb").split()
INIS = ("junit_family junit_suite_name junit_logging junit_log_passing_tests junit_duration_report console_output_style").split()


class Journal:
    def __init__(self, config, path):
        self.config, self.file, self.items, self.reports = config, open(path, "wb"), {}, {}
        self.start = time.time()

    def put(self, name, /, **values):
        self.file.write(frame(name, **values))

    def pytest_sessionstart(self, session):
        import platform
        import sys
        import pytest
        c = self.config
        header = []
        for given in reversed(c.hook.pytest_report_header(config=c, start_path=c.invocation_params.dir)):
            header.extend([given] if isinstance(given, str) else given)
        values = [(n, getattr(c.option, n, None)) for n in OPTIONS] + [(n, c.getini(n)) for n in INIS]
        pairs = [dict(name=n, value=int(v) if isinstance(v, bool) else v) for n, v in values if v is not None]
        self.put("RUN_START", run_id="0" * 32, version="test", wall_us=us(self.start), cwd=str(c.invocation_params.dir))
        self.put("GATEWAY_UP", gateway=0, spec="popen", host=platform.node(), system="Linux", cpus=1)
        self.put("CONFIG", python=sys.executable, python_version=platform.python_version(), pytest_version=pytest.__version__,
                 rootdir=str(c.rootpath), invocation_dir=str(c.invocation_params.dir), header=[dict(text=t) for t in header], options=pairs)
        self.deselected = 0

    def pytest_deselected(self, items):
        self.deselected += len(items)

    def pytest_collectreport(self, report):
        if not report.passed:
            self.report(report, 0xffffffff)

    def pytest_collection_finish(self, session):
        self.items = {item.nodeid: n for n, item in enumerate(session.items)}
        ids = [dict(shared=0, id=i.nodeid, line=-1 if i.location[1] is None else i.location[1],
                    file="" if i.location[0] == i.nodeid.split("::")[0] else i.location[0]) for i in session.items]
        self.put("COLLECT_IDS", first=0, ids=ids)
        self.put("COLLECTED", count=len(ids), deselected=self.deselected, exit_status=-1)
        self.put("COLLECTION", count=len(ids), deselected=self.deselected, workers=0)

    def pytest_warning_recorded(self, warning_message, when, nodeid):
        from _pytest.warnings import warning_record_to_str
        self.put("WARNING", item=0xffffffff, when=when, nodeid=nodeid, text=warning_record_to_str(warning_message),
                 file=warning_message.filename, line=warning_message.lineno)

    def report(self, report, item, sent=0, last=False, flags=0):
        from io import StringIO
        from _pytest._io import TerminalWriter
        category, letter, word = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if item == 0xffffffff:
            category = {"failed": "error", "skipped": "skipped"}[report.outcome]
        word = word[0] if isinstance(word, tuple) else word
        out = TerminalWriter(StringIO())
        out.hasmarkup = False
        longrepr, text, message, path, line = report.longrepr, "", "", "", -1
        if isinstance(longrepr, tuple):
            path, line, message = longrepr[0], longrepr[1] - 1, longrepr[2].replace("Skipped: ", "", 1)
        elif longrepr is not None:
            report.toterminal(out)
            text = out._file.getvalue()
            crash = getattr(longrepr, "reprcrash", None)
            message = crash.message if crash else str(longrepr) if isinstance(longrepr, str) else ""
            path, line = (crash.path, crash.lineno - 1) if crash else ("", -1)
        xfail = getattr(report, "wasxfail", None)
        if xfail is not None and report.outcome != "failed":
            message = xfail.replace("reason: ", "", 1) if xfail.startswith("reason: ") else xfail
        sub = report._sub_test_description() if hasattr(report, "_sub_test_description") else (
            report.sub_test_description() if hasattr(report, "sub_test_description") else "")
        self.put("REPORT", item=item, attempt=1, worker=0xffff, nodeid=report.nodeid if item == 0xffffffff else "", when=report.when,
                 category=category, letter=letter, word=word, outcome=report.outcome, text=text, message=message, path=path, line=line,
                 subtest=sub, duration_us=us(getattr(report, "duration", 0)), flags=flags | (2 if xfail is not None else 0),
                 sections=[dict(name=n, value=v) for n, v in report.sections[sent:]],
                 properties=[dict(name=n, value=v) for n, v in report.user_properties] if last else [])

    def pytest_runtest_logreport(self, report):
        self.reports.setdefault(report.nodeid, []).append(report)

    def pytest_runtest_logfinish(self, nodeid):
        seen = self.reports.pop(nodeid)
        if not self.config.option.late or seen[-1].passed or seen[-1].when != "teardown":
            self.item(seen, self.items[nodeid])
            return
        outcome, sent = self.item(seen[:-1], self.items[nodeid], flags=8)  # the teardown is told after the result, as of a worker that waited
        self.report(seen[-1], self.items[nodeid], sent, True, flags=64)
        self.result(self.items[nodeid], "failed" if outcome == "failed" else "error", 4, {r.when: r.duration for r in seen}, seen)

    def item(self, seen, item, flags=0):
        sent, outcome, phases, counted = 0, "passed", {}, False
        statuses = [self.config.hook.pytest_report_teststatus(report=r, config=self.config) for r in seen]
        plain = all(r.passed and not hasattr(r, "wasxfail") and type(r).__name__ == "TestReport" for r in seen)
        speak = seen[-1].user_properties or seen[-1].sections
        for n, (r, s) in enumerate(zip(seen, statuses)):
            subtest = type(r).__name__ != "TestReport"
            if not subtest:
                phases[r.when] = r.duration
            if not plain or speak:
                last = n == len(seen) - 1
                if s[0] or s[1] or r.sections[sent:] or (last and r.user_properties):
                    self.report(r, item, 0 if subtest else sent, last)
                    counted = True
                if not subtest:
                    sent = len(r.sections)
            outcome = s[0] if s[0] in OUTCOMES and not subtest and s[0] != "passed" and outcome != "failed" else outcome
        self.result(item, outcome, flags | (1 if counted else 0), phases, seen)
        return outcome, sent

    def result(self, item, outcome, flags, phases, seen):
        self.put("RESULTS", worker=0, results=[dict(
            item=item, attempt=1, outcome=OUTCOMES[outcome], flags=flags, setup_us=us(phases.get("setup", 0)),
            call_us=us(phases.get("call", 0)), teardown_us=us(phases.get("teardown", 0)), position=0, start_us=us(seen[0].start))])

    def pytest_sessionfinish(self, session, exitstatus):
        reason = str(session.shouldfail or session.shouldstop or "")
        now = time.time()
        self.put("RUN_END", exit_status=int(exitstatus), reason=reason, wall_us=us(now), duration_us=us(now - self.start))
        self.file.close()


def pytest_addoption(parser):
    parser.addoption("--frames")
    parser.addoption("--late", action="store_true", help="failing teardowns are told after their items' results")


def pytest_configure(config):
    if config.option.frames:
        config.pluginmanager.register(Journal(config, config.option.frames), "reporter-journal")
