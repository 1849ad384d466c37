"""`--dist each`: every environment of --tx has a collection of its own and runs all of it on its workers; in every report."""
import json
import os
import signal
import time
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import Project
from test_run_lost import AGENTS
from test_run_pythons import environment

SPECS = ["popen//env:WHICH=a", "popen//env:WHICH=b"]
SUITE = """
import os, signal, time
import pytest
WHICH = os.environ["WHICH"]

def test_same(): print("said by", WHICH)

@pytest.mark.parametrize("n", range(3 if WHICH == "a" else 5))
def test_n(n): pass

if WHICH == "b":
    def test_only_b():
        print("printed in b")
        assert WHICH == "c"
    @pytest.mark.skip(reason="of b")
    def test_skipped(): pass
"""
COUNTS = {0: 4, 1: 8}


def run(project, *args, specs=SPECS, workers=2, dist="each", **more):
    own = ["--dist=" + dist] + ["--tx=%d*%s" % (workers, spec) for spec in specs]
    return project.run(*(own + list(args)), **more)


def events(result, name):
    return [e for e in result.events if e["event"] == name]


def outcomes(result):
    return {(e["collection"], e["nodeid"].split("::")[1]): e["outcome"] for e in result.tests}


def suites(path):
    return {s.get("name"): s for s in ElementTree.parse(str(path)).getroot()}


def section(text, title):
    """The lines below a title of the report, up to the next."""
    lines = text.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith("=") and " %s " % title in line)
    rest = lines[begin + 1:]
    return rest[:next((n for n, line in enumerate(rest) if line.startswith("=")), len(rest))]


def test_two_collections(project):
    project.write(test_each=SUITE)
    xd = run(project, "--junitxml=xd.xml", "-rA", "--durations=0", "-vv")
    assert xd.rc == 1 and xd.summary == {"passed": 10, "failed": 1, "skipped": 1}, xd
    # the terminal: each collection, and of each test whose it is
    for spec, number in zip(SPECS, (0, 1)):
        assert "%s: 2 workers [%d items]" % (spec, COUNTS[number]) in xd.out, xd
        assert "PASSED test_each.py::test_same [%s]" % spec in xd.out, xd
    assert "FAILED test_each.py::test_only_b [popen//env:WHICH=b] - " in xd.out and "_ test_only_b [popen//env:WHICH=b] _" in xd.out, xd
    assert "printed in b" in xd.out, xd
    # JSON lines: an outcome belongs to (collection, item)
    assert [(e["collection"], e["spec"], e["count"], e["workers"]) for e in events(xd, "collected")] == [(0, SPECS[0], COUNTS[0], 2), (1, SPECS[1], COUNTS[1], 2)]
    told = [(e["collection"], e["nodeid"]) for e in xd.tests]
    assert len(told) == len(set(told)) == 12
    assert sorted(n for n, _ in told) == [0] * 4 + [1] * 8
    workers = {number: {e["worker"] for e in xd.tests if e["collection"] == number and e["outcome"] != "not-run"} for number in (0, 1)}
    assert workers[0] <= {"gw0", "gw1"} and workers[1] <= {"gw2", "gw3"}, workers
    assert {(e["collection"], e["outcome"]) for e in xd.tests if e["nodeid"] == "test_each.py::test_only_b"} == {(1, "failed")}
    end = xd.events[-1]
    assert (end["collected"], end["recorded"], end["not_run"]) == (12, 12, 0)
    # JUnit: a suite for each, and names that a reader can tell apart
    found = suites(project.root / "xd.xml")
    assert sorted(found) == ["pytest [%s]" % spec for spec in SPECS]
    for spec, tests, failures, skipped in ((SPECS[0], 4, 0, 0), (SPECS[1], 8, 1, 1)):
        suite = found["pytest [%s]" % spec]
        assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == [str(tests), str(failures), "0", str(skipped)]
        assert suite.get("hostname") == os.uname().nodename and len(list(suite.iter("testcase"))) == tests
        assert {c.get("name") for c in suite.iter("testcase") if c.get("name").startswith("test_same")} == {"test_same[%s]" % spec}
    cases = [(c.get("classname"), c.get("name")) for suite in found.values() for c in suite.iter("testcase")]
    assert len(cases) == len(set(cases)) == 12


def test_each_as_plain_pytest_there(project):
    """Every environment has the outcomes that plain pytest has in it, and the exit code is the worst of them."""
    project.write(test_each=SUITE)
    xd, codes = run(project), []
    for number, which in enumerate("ab"):
        plain = project.plain(env=dict(WHICH=which))
        assert {e["nodeid"]: [e["outcome"]] for e in xd.tests if e["collection"] == number} == plain.categories, plain
        codes.append(plain.rc)
    assert codes == [0, 1] and xd.rc == 1, xd


def test_lines_of_progress_and_the_matrix(project):
    """Without -v a line of letters for each environment, with its own percentage; -v: that in the line of each test."""
    project.write(test_each=SUITE)
    xd = run(project)
    lines = xd.out.splitlines()
    assert ("WHICH=a  ....".ljust(73) + "[100%]") in lines, xd
    letters, = [line for line in lines if line.startswith("WHICH=b  ")and line.endswith("[100%]")]
    assert sorted(letters.split()[1]) == sorted("......Fs") and len(letters) == 79, xd
    assert section(xd.out, "environments that differ") == [
        "WHICH=a  WHICH=b",
        "-        passed   test_each.py::test_n[3]",
        "-        passed   test_each.py::test_n[4]",
        "-        failed   test_each.py::test_only_b",
        "-        skipped  test_each.py::test_skipped",
        "4 of 8 tests are equal in 2 environments"], xd
    # again, from the journal
    shown = project.xdctl("show", "--matrix")
    assert shown.rc == 1 and shown.out.splitlines() == section(xd.out, "environments that differ"), shown
    assert len(project.xdctl("show", "--matrix", "-v").out.splitlines()) == 8 + 2
    assert [line.split()[-1] for line in project.xdctl("show", "--matrix", "--failed").out.splitlines()[1:-1]] == ["test_each.py::test_only_b"]
    made = project.xdctl("show", "--matrix", "--json")
    matrix = json.loads(made.out)
    assert made.rc == 1 and (matrix["tests"], matrix["differ"], len(matrix["rows"])) == (8, 4, 4)
    assert [(e["collection"], e["spec"], e["name"], e["tests"]) for e in matrix["environments"]] == [(0, SPECS[0], "WHICH=a", 4), (1, SPECS[1], "WHICH=b", 8)]
    assert {"nodeid": "test_each.py::test_only_b", "outcomes": [None, "failed"]} in matrix["rows"]
    assert project.xdctl("report", "matrix").out == shown.out
    verbose = run(project, "-v", workers=1)
    numbers = [line.split("]")[1].split("[")[1].strip() for line in verbose.out.splitlines() if line.startswith("[gw0]")]
    assert numbers == ["25%", "50%", "75%", "100%"], verbose


def test_many_differences_are_bounded(project):
    project.write(test_each="""
        import os, pytest
        @pytest.mark.parametrize("n", range(60))
        def test_n(n): assert os.environ["WHICH"] != "b"
        """)
    xd = run(project, "--tb=no")
    rows = section(xd.out, "environments that differ")
    assert len(rows) == 1 + 50 + 2 and rows[-2:] == ["(and 10 more: xdctl show --matrix)", "0 of 60 tests are equal in 2 environments"], rows
    assert len(project.xdctl("show", "--matrix").out.splitlines()) == 1 + 60 + 1
    letters = [line for line in xd.out.splitlines() if line.startswith("WHICH=")]
    assert {line[:9] for line in letters} == {"WHICH=a  ", "WHICH=b  "} and max(len(line) for line in letters) <= 80, xd


def test_it_is_shown_again_from_its_journal(project):
    project.write(test_each=SUITE)
    xd = run(project, "--junitxml=xd.xml")
    assert xd.rc == 1, xd
    shown = project.finish(project.start("show", "latest"))
    assert shown.rc == 1, shown
    strip = lambda text: [line.rstrip() for line in text.splitlines() if "xd: " not in line]
    assert strip(shown.out) == strip(xd.out)
    again = project.finish(project.start("report", "junit"))
    assert again.out == (project.root / "xd.xml").read_text(), again


def test_the_same_tests_twice(project):
    """Their list travels once; there are two outcomes of each test all the same."""
    project.write(test_each="import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n): pass\n")
    xd = run(project)
    assert xd.rc == 0 and xd.summary == {"passed": 40}, xd
    assert len({(e["collection"], e["nodeid"]) for e in xd.tests}) == 40
    assert xd.events[-1]["collected"] == 40
    assert "all 20 tests are equal in 2 environments\n" in xd.out and "environments that differ" not in xd.out, xd
    assert project.xdctl("show", "--matrix").out == "all 20 tests are equal in 2 environments\n"


def test_a_crash_is_blamed_in_its_own_collection(project):
    project.write(test_each="""
import os, signal
def test_first(): pass
def test_dies():
    if os.environ["WHICH"] == "b":
        os.kill(os.getpid(), signal.SIGKILL)
def test_last(): pass
""")
    xd = run(project)
    assert xd.rc == 1, xd
    assert outcomes(xd) == {
        (0, "test_first"): "passed", (0, "test_dies"): "passed", (0, "test_last"): "passed",
        (1, "test_first"): "passed", (1, "test_dies"): "crashed", (1, "test_last"): "passed"}
    down, = [e for e in events(xd, "worker_down") if not e["expected"]]
    assert (down["collection"], down["nodeid"]) == (1, "test_each.py::test_dies")
    assert "passed   crashed  test_each.py::test_dies" in xd.out, xd


def test_failures_of_both_count(project):
    """--maxfail is the run's: the second failure comes from the other environment, and nothing else is run in either."""
    project.write(test_each="""
import time
def test_fails(): assert 0
def test_slow():
    time.sleep(3)
def test_more(): time.sleep(30)
def test_most(): time.sleep(30)
""")
    xd = run(project, "--maxfail=2", workers=1)
    assert xd.rc == 1, xd
    assert xd.summary["failed"] == 2 and xd.events[-1]["not_run"] >= 4, xd
    assert "stopping after 2 failures" in xd.out, xd


BROKEN = "import os\nif os.environ['WHICH'] == 'b': raise ImportError('none of b')\ndef test_b(): pass\n"


def test_an_environment_that_cannot_collect(project):
    """It ends alone, as plain pytest would end there; the others run, and the worst exit code is the run's."""
    project.write(test_a="def test_a(): pass\n", test_b=BROKEN)
    xd = run(project, "--junitxml=xd.xml")
    assert xd.rc == project.plain(env=dict(WHICH="b")).rc == 2, xd
    assert xd.summary == {"passed": 2, "error": 1} and outcomes(xd) == {(0, "test_a"): "passed", (0, "test_b"): "passed"}, xd
    assert "_ ERROR collecting test_b.py [popen//env:WHICH=b] _" in xd.out and "ERROR test_b.py [popen//env:WHICH=b]" in xd.out, xd
    assert "without tests: popen//env:WHICH=b (exit code 2: Interrupted: 1 error during collection)" in xd.out or "without tests: popen//env:WHICH=b (exit code 2: 1 error during collection)" in xd.out, xd
    ended, = events(xd, "not_collected")
    assert (ended["collection"], ended["spec"], ended["exit_status"]) == (1, SPECS[1], 2) and "1 error during collection" in ended["reason"]
    assert [(e["collection"], e["nodeid"]) for e in events(xd, "collect_report")] == [(1, "test_b.py")]
    found = suites(project.root / "xd.xml")
    assert [found["pytest [%s]" % s].get("tests") for s in SPECS] == ["2", "1"] and found["pytest [%s]" % SPECS[1]].get("errors") == "1"
    # each of those that fail is told; errors of collections are failures for -x
    both = run(project, "-x", specs=[SPECS[1], "popen//env:WHICH=b//env:X=y", SPECS[0]], workers=1)
    assert both.rc == 2 and both.summary == {"error": 2} and both.events[-1]["not_run"] == 2, both
    # a conftest that cannot be imported is wrong usage for pytest, which has run tests elsewhere
    project.write(conftest=BROKEN)
    usage = run(project, "--junitxml=xd.xml", workers=1)
    assert usage.rc == project.plain(env=dict(WHICH="b")).rc == 4 and usage.summary == {"passed": 2}, usage
    assert "without tests: popen//env:WHICH=b (exit code 4)" in usage.out and "it is the pytest of popen//env:WHICH=b that says so" in usage.err, usage
    assert "popen//env:WHICH=b (exit code 4)" in project.xdctl("show").out
    told, = suites(project.root / "xd.xml")["pytest [%s]" % SPECS[1]].iter("error")  # for who reads this file alone
    assert told.get("message") == "its session ended with exit code 4"
    (project.root / "conftest.py").unlink()
    # and where it goes on all the same, it has failed
    on = run(project, "--continue-on-collection-errors", workers=1)
    assert on.rc == 1 and on.summary == {"passed": 3, "error": 1}, on


def test_an_environment_that_ends_by_itself_in_junit_xml(project):
    """An exit code of pytest's or of a plugin, for who reads that file alone."""
    project.write(test_each="def test_a(): pass\n", conftest="""
        import os, pytest
        def pytest_sessionstart():
            if os.environ["WHICH"] == "b": pytest.exit("no thanks", returncode=int(os.environ["CODE"]))
        """)
    for code in ("3", "7", "33"):
        xd = run(project, "--junitxml=xd.xml", specs=[SPECS[0], SPECS[1] + "//env:CODE=" + code], workers=1)
        assert xd.rc == int(code), xd
        told = [e.get("message") for e in ElementTree.parse(str(project.root / "xd.xml")).getroot().iter("error")]
        assert all(told) and "its session ended with exit code %s: _pytest.outcomes.Exit: no thanks" % code in told, (told, xd)


def test_an_environment_without_tests(project):
    """It is none of the others' business; exit code 5 where nobody has any."""
    project.write(test_each="def test_a(): pass\n",
                  conftest="import os\ndef pytest_collection_modifyitems(items):\n    if os.environ['WHICH'] in 'bc': del items[:]\n")
    xd = run(project)
    assert xd.rc == 0 and outcomes(xd) == {(0, "test_a"): "passed"}, xd
    assert "without tests: popen//env:WHICH=b (exit code 5" in xd.out, xd
    none = run(project, specs=[SPECS[1], "popen//env:WHICH=c"], workers=1)
    assert none.rc == 5 and not none.tests, none


def test_an_end_that_a_test_asks_for(project):
    """pytest.exit() ends one session; the other environment runs on."""
    project.write(test_each="""
        import os, time, pytest
        def test_exit():
            if os.environ["WHICH"] == "a": pytest.exit("enough", returncode=33)
        @pytest.mark.parametrize("n", range(5))
        def test_n(n): time.sleep(0.05)
        """)
    xd = run(project, workers=1)
    assert xd.rc == 33, xd
    assert [o for (number, _), o in outcomes(xd).items() if number == 1] == ["passed"] * 6, xd
    assert "xd: warning: popen//env:WHICH=a ends with exit code 33: " in xd.out, xd


def test_an_environment_that_cannot_start(project):
    """No test is run without it, unless --min-workers says that fewer are enough; then it has no column."""
    project.write(test_each=SUITE)
    specs = [SPECS[1], "popen//env:WHICH=a//python=/nowhere/python"]
    xd = run(project, specs=specs)
    assert xd.rc == 6 and not xd.tests and "no test was run: 1 of 2 environments cannot start; --min-workers N" in xd.out, xd
    fewer = project.run("--min-workers=2", "--dist=each", "--tx=2*" + specs[0], "--tx=2*" + specs[1])
    assert fewer.rc == 1 and fewer.summary == {"passed": 6, "failed": 1, "skipped": 1}, fewer
    assert "without tests: popen//env:WHICH=a//python=/nowhere/python" in fewer.out, fewer


def test_an_environment_that_is_lost(project):
    """Nobody else can run its tests; the exit code says so, and the matrix what it had run."""
    project.write(agents=AGENTS, test_it="""
        import os, pytest
        from agents import *
        def test_first(): pass
        def test_kills():
            if os.environ["WHICH"] == "b": kill_agent()
        def test_last(): pass
        """)
    xd = run(project, workers=1)
    assert xd.rc == 6, xd
    assert outcomes(xd) == {(0, "test_first"): "passed", (0, "test_kills"): "passed", (0, "test_last"): "passed",
                            (1, "test_first"): "passed"} or [o for (n, _), o in outcomes(xd).items() if n == 0] == ["passed"] * 3, xd
    assert "no worker is left to run the remaining tests of popen//env:WHICH=b" in xd.out, xd
    assert "passed   not-run  test_it.py::test_last" in xd.out, xd


def test_an_interrupt_is_the_runs(project):
    project.write(test_each="""
        import os, time
        def test_first(): pass
        def test_waits():
            if os.environ["WHICH"] == "b":
                open("waits", "w").close()
                time.sleep(60)
        """)
    process = project.start("run", "--python", project.python, "--grace=1s", "--dist=each", "--tx=" + SPECS[0], "--tx=" + SPECS[1])
    begin = time.monotonic()
    while not (project.root / "waits").exists() and time.monotonic() - begin < 30:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    xd = project.finish(process)
    assert xd.rc == 2 and "KeyboardInterrupt" in xd.out, xd
    assert "passed   not-run  test_each.py::test_waits" in xd.out, xd


def test_groups_within_an_environment(project):
    """Marks of groups are honoured, as a worker of its own would; each:load honours none; each:loadfile keeps files together."""
    project.write(**{"test_%s" % c: """
        import time, pytest
        @pytest.mark.parametrize("n", range(6))
        @pytest.mark.xdist_group("together")
        def test_n(n): time.sleep(0.05)
        """ for c in "xy"})
    workers = {}
    for dist in ("each", "each:load", "each:loadfile"):
        xd = run(project, "--no-history", specs=[SPECS[0]], dist=dist, workers=2) if dist != "each" else run(project, dist=dist, workers=2)
        assert xd.rc == 0, xd
        workers[dist] = {}
        for e in xd.tests:
            workers[dist].setdefault((e["collection"], e["nodeid"].split("::")[0]), set()).add(e["worker"])
    assert all(len(w) == 1 for w in workers["each"].values()) and workers["each"][0, "test_x.py"] == workers["each"][0, "test_y.py"], workers
    assert any(len(w) == 2 for w in workers["each:load"].values()), workers
    assert all(len(w) == 1 for w in workers["each:loadfile"].values()) and len(set.union(*workers["each:loadfile"].values())) == 2, workers


def test_each_worker(project):
    """As pytest-xdist's each: every worker runs everything."""
    project.write(test_each="""
        import os
        def test_a(worker_id): assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "3"
        def test_b(worker_id): assert worker_id != "gw1"
        """)
    xd = run(project, "--tx=popen//id=mine", specs=["popen"], dist="each-worker")
    assert xd.rc == 1 and xd.summary == {"passed": 5, "failed": 1}, xd
    assert {(e["worker"], e["nodeid"].split("::")[1]): e["outcome"] for e in xd.tests if e["outcome"] == "failed"} == {("gw1", "test_b"): "failed"}
    assert {e["worker"] for e in xd.tests} == {"gw0", "gw1", "mine"}
    assert "FAILED test_each.py::test_b [popen #2]" in xd.out and "passed   failed    passed" in xd.out, xd
    auto = project.run("--dist=each-worker", "-n", "auto")
    assert auto.rc == 4 and "each-worker must know how many workers there are" in auto.err, auto


def test_last_failed_in_any_environment(project):
    """What fails in one of them is run again in all."""
    project.write(test_each="""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_n(n): assert (os.environ["WHICH"], n) != ("b", 2)
        """)
    assert run(project, workers=1).rc == 1
    again = run(project, "--lf", workers=1)
    assert again.rc == 1 and outcomes(again) == {(0, "test_n[2]"): "passed", (1, "test_n[2]"): "failed"}, again


def test_where_else_it_is_said(project):
    project.write(test_each="def test_a(): pass\n", **{"pytest.ini": "[pytest]\naddopts = --dist=each\n"})
    xd = project.run("--tx=popen", "--tx=popen//env:A=b")
    assert xd.rc == 0 and xd.summary == {"passed": 2} and "\nthe only test is equal in 2 environments\n" in xd.out, xd
    for mode, passed in (("each:loadfile", 2), ("each:load", 2), ("each-worker", 3)):
        said = project.run("--tx=popen", "--tx=%d*popen//env:A=b" % (passed - 1), env=dict(PYTEST_ADDOPTS="--dist " + mode))
        assert said.rc == 0 and said.summary == {"passed": passed}, said
    project.write(hooks="def pytest_load_initial_conftests(args): args.append('--dist=each:loadfile')\n", **{"pytest.ini": "[pytest]\naddopts = -p hooks\n"})
    late = project.run("--tx=popen", "--tx=popen//env:A=b", env=dict(PYTHONPATH=str(project.root)))
    assert late.rc == 4 and "--dist=each:loadfile comes from a hook of a conftest or plugin" in late.err and "read too late" in late.err, late
    project.write(**{"pytest.ini": "[pytest]\naddopts = --dist=each\n"})
    bad = project.run("--dist=each:no", "--tx=popen")
    assert bad.rc == 4 and bad.err.count("\n") == 1 and "each-worker" in bad.err, bad
    shared = project.run("--dist=load", "-n1")  # the command line wins
    none = project.xdctl("show", "--matrix")
    assert shared.rc == 0 and none.rc == 4 and "this run has no matrix" in none.err, none


def test_two_pythons(project):
    """The oldest and the newest with pytests of their age: each in its own words, named where they differ."""
    old, new = environment("3.8", "==7.0.1"), environment("3.13", "")
    project.write(test_each="""
        import sys, pytest
        def test_same(): pass
        def test_new(): assert sys.version_info >= (3, 9)
        @pytest.mark.skipif(sys.version_info < (3, 10), reason="too old")
        def test_skipped(): pass
        """)
    specs = ["popen//python=" + python for python in (old, new)]
    xd = run(project, "--junitxml=xd.xml", specs=specs)
    assert xd.rc == 1 and xd.summary == {"passed": 4, "failed": 1, "skipped": 1}, xd
    names = [os.path.basename(os.path.dirname(os.path.dirname(python))) for python in (old, new)]
    assert section(xd.out, "environments that differ") == [
        "  ".join(names),
        "failed".ljust(len(names[0]) + 2) + "passed".ljust(max(len(names[1]), 7) + 2) + "test_each.py::test_new",
        "skipped".ljust(len(names[0]) + 2) + "passed".ljust(max(len(names[1]), 7) + 2) + "test_each.py::test_skipped",
        "1 of 3 tests are equal in 2 environments"], xd
    assert ", Python 3.8." in xd.out and ", Python 3.13." in xd.out, xd
    assert {e["python_version"].rpartition(".")[0] for e in events(xd, "config")} == {"3.8", "3.13"}
    for number, python in enumerate((old, new)):
        (project.path / str(number)).mkdir()
        there = Project(project.path / str(number), python)
        plain = there.write(test_each=(project.root / "test_each.py").read_text()).plain()
        assert {e["nodeid"]: [e["outcome"]] for e in xd.tests if e["collection"] == number} == plain.categories


def test_two_hosts(project, lab):
    """Over ssh: the project is brought to each, and each runs all of it."""
    hosts = lab(2, namespaces=None, project=project)
    project.write(test_each="""
        import os
        def test_same(): pass
        def test_where(): assert os.environ["PLACE"] == "h1"
        """)
    specs = [hosts.spec(host) + "//env:PLACE=" + host for host in ("h1", "h2")]
    xd = run(project, "--junitxml=xd.xml", specs=specs, python=False)
    assert xd.rc == 1 and xd.summary == {"passed": 3, "failed": 1}, xd
    assert [e["spec"] for e in events(xd, "collected")] == specs
    assert "passed".ljust(9) in section(xd.out, "environments that differ")[1] and "failed" in section(xd.out, "environments that differ")[1], xd
    found = suites(project.root / "xd.xml")
    assert sorted(found) == sorted("pytest [%s]" % spec for spec in specs)
