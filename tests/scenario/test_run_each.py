"""Every environment with a collection of its own (tests/scenario/each.c): two of them in one run, in every report."""
import os
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import XDCTL

EACH = os.path.join(os.path.dirname(os.path.dirname(XDCTL)), "tests", "each")
pytestmark = pytest.mark.skipif(not os.path.exists(EACH), reason="no tests/each: build first")
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


def run(project, *args, specs=SPECS, workers=2):
    project.count += 1
    jsonl = str(project.path / ("run%d.jsonl" % project.count))
    own = ["--jsonl=" + jsonl, "--python=" + project.python]
    own += ["--tx=%d*%s" % (workers, spec) for spec in specs]
    return project.finish(project.start(*(own + list(args)), program=EACH), jsonl)


def events(result, name):
    return [e for e in result.events if e["event"] == name]


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
    assert [(e["collection"], e["count"], e["workers"]) for e in events(xd, "collected")] == [(0, COUNTS[0], 2), (1, COUNTS[1], 2)]
    told = [(e["collection"], e["nodeid"]) for e in xd.tests]
    assert len(told) == len(set(told)) == 12
    assert sorted(n for n, _ in told) == [0] * 4 + [1] * 8
    workers = {number: {e["worker"] for e in xd.tests if e["collection"] == number and e["outcome"] != "not-run"} for number in (0, 1)}
    assert workers[0] <= {"gw0", "gw1"} and workers[1] <= {"gw2", "gw3"}, workers
    assert {(e["collection"], e["outcome"]) for e in xd.tests if e["nodeid"] == "test_each.py::test_only_b"} == {(1, "failed")}
    end = xd.events[-1]
    assert (end["collected"], end["recorded"], end["not_run"]) == (12, 12, 0)
    # JUnit: names that a reader can tell apart
    suite = ElementTree.parse(str(project.root / "xd.xml")).getroot()[0]
    cases = [(c.get("classname"), c.get("name")) for c in suite.iter("testcase")]
    assert (suite.get("tests"), suite.get("failures"), len(cases), len(set(cases))) == ("12", "1", 12, 12)
    assert {name for _, name in cases if name.startswith("test_same")} == {"test_same[%s]" % spec for spec in SPECS}


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
    assert {(e["collection"], e["nodeid"].split("::")[1]): e["outcome"] for e in xd.tests} == {
        (0, "test_first"): "passed", (0, "test_dies"): "passed", (0, "test_last"): "passed",
        (1, "test_first"): "passed", (1, "test_dies"): "crashed", (1, "test_last"): "passed"}
    down, = [e for e in events(xd, "worker_down") if not e["expected"]]
    assert (down["collection"], down["nodeid"]) == (1, "test_each.py::test_dies")


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


def test_an_environment_without_tests(project):
    """It ends the run as it would end pytest, before any test has begun."""
    project.write(test_each="def test_a(): pass\n",
                  conftest="import os\ndef pytest_collection_modifyitems(items):\n    if os.environ['WHICH'] == 'b': del items[:]\n")
    xd = run(project)
    assert xd.rc == 5 and not xd.tests, xd
