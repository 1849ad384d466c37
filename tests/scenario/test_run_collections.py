"""Processes that collect by themselves and come to another list: an error in every report, or, of the same tests in another order, nothing."""
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import junit_cases
from test_run_lost import AGENTS

WARM = "def pytest_sessionfinish(session): pass\n"  # a reason to start workers before the collection
RANDOM = {
    "uuid": "import uuid\nVALUES = [uuid.uuid4().hex]\n",
    "random": "import random\nVALUES = [random.random()]\n",
    "worker": "import os\nVALUES = [os.environ['PYTEST_XDIST_WORKER']]\n",
}


def check(xd, project, name, words):
    assert xd.rc == 1 and xd.summary["error"] == 1, xd
    assert "ERROR collecting %s" % name in xd.out and "ERROR %s" % name in xd.out and "!! Different tests were collected !!" in xd.out, xd
    assert all(word in xd.out for word in words), xd
    told, = [e for e in xd.events if e["event"] == "collect_report"]
    assert told["nodeid"] == name and told["report"]["category"] == "error" and "Different tests were collected" in told["report"]["text"]
    assert xd.events[-1]["reason"] == "Different tests were collected" and xd.events[-1]["counts"]["error"] == 1
    suite = ElementTree.parse(str(project.root / "xd.xml")).getroot()[0]
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    case, = [c for c in suite.iter("testcase") if c.find("error") is not None]
    assert (case.get("name"), case.find("error").get("message")) == (name.replace("/", "."), "collection failure")


@pytest.mark.parametrize("options, conftest", [(["--no-fork"], ""), ([], WARM)], ids=["fresh", "warm"])
@pytest.mark.parametrize("values", sorted(RANDOM))
def test_workers_that_differ(project, values, options, conftest):
    project.write(conftest=conftest, test_a=RANDOM[values] + """
import os, pytest, time
open("here-" + os.environ.get("PYTEST_XDIST_WORKER", "collector"), "w").close()
@pytest.mark.parametrize("n", range(10))
def test_n(n):
    end = time.monotonic() + 20
    while not (os.path.exists("here-gw0") and os.path.exists("here-gw1")) and time.monotonic() < end: time.sleep(0.02)
    time.sleep(0.1)
@pytest.mark.parametrize("value", VALUES)
def test_value(value): time.sleep(0.3)
""")
    xd = project.run(*(options + ["-n2", "--junitxml=xd.xml"]))
    check(xd, project, "gw1", ["between gw0 and gw1", "gw1: test_a.py::test_value["])


def test_environments_that_differ(project):
    project.write(test_a='''
        import os
        if os.environ.get("WHICH") == "b":
            def test_only_b(): pass
        def test_a(): pass
        ''')
    xd = project.run("--tx", "popen", "--tx", "popen//env:WHICH=b", "--junitxml=xd.xml")
    name = "popen" if "ERROR popen\n" in xd.out else "popen//env:WHICH=b"
    check(xd, project, name, ["test_a.py::test_only_b"])
    assert xd.outcomes == {"test_a.py::test_a": "passed", "test_a.py::test_only_b": "passed"}, xd
    assert xd.out.count("likely cause: tests or parameters that depend on the host") == 1, xd
    assert [e["text"].rpartition(" and ")[2] for e in xd.events if e["event"] == "note" and e["text"].startswith("Different")] == ["%s (%d tests)." % (name, 1 + ("=b" in name))], xd
    assert sorted(dict(case)["name"] for case, children, _ in junit_cases(project.root / "xd.xml") if not children) == ["test_a", "test_only_b"], xd
    shown = project.xdctl("show", "-rA")
    assert "PASSED test_a.py::test_only_b" in shown.out and "1 error" in shown.out, shown


def test_an_option_that_one_environment_lacks(project):
    """Nothing runs, and who reads JUnit XML alone does not take it for success."""
    project.write(test_a="def test_a(): pass\n", conftest="""
        import os, time
        def pytest_addoption(parser):
            if os.environ["WHICH"] == "a": parser.addoption("--foo")
            else: time.sleep(2)
        """)
    xd = project.run("--tx=popen//env:WHICH=a", "--tx=popen//env:WHICH=b", "--foo=1", "--junitxml=xd.xml")
    assert xd.rc == 4 and not xd.tests, xd
    suite = ElementTree.parse(str(project.root / "xd.xml")).getroot()[0]
    told, = suite.iter("error")
    assert suite.get("errors") == "1" and told.get("message") == "the run ended with exit code 4", xd


def test_others_come_while_an_environment_starts(project):
    """The list that counts is whole, and the tests wait for an environment that is not configured yet: what another one brings meanwhile is run, too."""
    project.write(conftest="import os, time\ndef pytest_configure(): time.sleep(5 if os.environ['WHICH'] == 'slow' else 0)\n", test_a="""
        import os, pytest, time
        MORE = os.environ["WHICH"] == "more"
        time.sleep(1.5 if MORE else 0)
        @pytest.mark.parametrize("n", range(5 if MORE else 3))
        def test_n(n): time.sleep(0.05)
        """)
    xd = project.run(*["--tx=popen//env:WHICH=" + which for which in ("slow", "more", "first")])
    assert xd.rc == 1 and xd.outcomes == {"test_a.py::test_n[%d]" % n: "passed" for n in range(5)}, xd
    assert (xd.events[-1]["collected"], xd.events[-1]["recorded"]) == (5, 5) and [e["count"] for e in xd.events if e["event"] == "collected"] == [5], xd
    assert "3 workers [5 items]" in xd.out, xd


@pytest.mark.parametrize("empty", "ab")
def test_an_environment_without_tests(project, empty):
    """Its list differs as any other does: it is no reason to run nothing, with an exit code that says that there is nothing to run."""
    project.write(test_a="import time\ndef test_a(): time.sleep(0.1)\ndef test_b(): time.sleep(0.1)\n",
                  conftest="import os\ndef pytest_collection_modifyitems(items):\n    if os.environ['WHICH'] in %r: del items[:]\n" % (empty + "c"))
    spec = "popen//env:WHICH="
    xd = project.run("--tx", "2*%sa" % spec, "--tx", "2*%sb" % spec, "--junitxml=xd.xml")
    other = "b" if empty == "a" else "a"
    check(xd, project, spec + empty, ["between %s%s (2 tests) and %s%s (0 tests)" % (spec, other, spec, empty), "- test_a.py::test_a"])
    assert xd.outcomes == {"test_a.py::test_a": "passed", "test_a.py::test_b": "passed"}, xd
    none = project.run("--tx", spec + empty, "--tx", spec + "c")
    assert none.rc == 5 and not none.tests and "Different tests" not in none.out, none


THREE = '''
import os, pytest, time
WHICH = os.environ.get("WHICH", "a")
LISTS = {"a": "xyz", "b": "xywv", "c": "wxu"}
def note(n):
    with open(os.environ["RAN"], "a") as f: f.write("%s %s\\n" % (WHICH, n))
    time.sleep(0.02)
@pytest.mark.parametrize("n", range(20))
def test_all(n): note(n)
@pytest.mark.parametrize("which", LISTS[WHICH])
def test_some(which):
    note(which)
    assert which != "v"
'''
ENVIRONMENTS = ["--tx", "popen", "--tx", "2*popen//env:WHICH=b", "--tx", "popen//env:WHICH=c"]


@pytest.mark.parametrize("options", [[], ["--no-fork"], ["--dist=loadscope"], ["--dist=loadfile", "--no-fork"]], ids=" ".join)
def test_what_only_some_have_runs_there(project, options):
    """Each test once, in an environment that has it; --lf runs what failed, where it is."""
    log = project.path / "ran"
    project.write(test_a=THREE)
    xd = project.run(*(ENVIRONMENTS + options), env=dict(RAN=str(log)))
    ran = [line.split() for line in log.read_text().splitlines()]
    assert xd.rc == 1 and xd.summary == {"passed": 25, "failed": 1, "error": 2}, xd
    assert sorted(n for _, n in ran) == sorted([str(n) for n in range(20)] + list("uvwxyz")) and all(n.isdigit() or n in dict(a="xyz", b="xywv", c="wxu")[which] for which, n in ran), ran
    assert xd.events[-1]["not_run"] == 0 and "likely cause: parameters that are not the same in each process" in xd.out, xd
    log.unlink()
    again = project.run(*(ENVIRONMENTS + options + ["--lf"]), env=dict(RAN=str(log)))
    assert again.rc == 1 and again.outcomes["test_a.py::test_some[v]"] == "failed", again


def test_who_has_them_is_lost(project):
    """What nobody else has is not run; the rest is."""
    project.write(test_a=THREE.replace("    note(which)\n", "    note(which)\n    if which == 'w': os.kill(os.getppid(), 9); time.sleep(30)\n"))
    xd = project.run("--tx", "popen", "--tx", "popen//env:WHICH=b", "--no-fork", "--on-lost=fail", env=dict(RAN=str(project.path / "ran")))
    assert xd.rc == 6 and xd.outcomes["test_a.py::test_some[w]"] in ("lost", "crashed") and "test_a.py::test_some[v]" not in xd.outcomes, xd
    assert "1 test is not run: no environment is left that has it (test_a.py::test_some[v])" in xd.out, xd
    assert all(xd.outcomes["test_a.py::test_all[%d]" % n] in ("passed", "lost") for n in range(20)), xd


def test_nobody_else_has_what_ran_there(project):
    """It is not said to run again."""
    project.write(agents=AGENTS, test_a="""
        import os
        from agents import *
        def test_a(): pass
        if os.environ.get("WHICH") == "b":
            def test_kills(): kill_agent()
        """)
    xd = project.run("--tx", "popen", "--tx", "popen//env:WHICH=b")
    assert xd.rc == 6 and xd.outcomes == {"test_a.py::test_a": "passed"}, xd
    assert "test_a.py::test_kills was running there (gw1)\n" in xd.out and "runs again" not in xd.out, xd
    assert "1 test is not run: no environment is left that has it (test_a.py::test_kills)" in xd.out, xd


LATE = """
    import os, time
    def pytest_collection_modifyitems(items):
        if "WHICH" in os.environ: time.sleep(1.5)
"""


@pytest.mark.parametrize("own", ["has more", "has fewer"])
def test_one_that_comes_late(project, own):
    """It gets its share of what it has, and all that only it has."""
    project.write(conftest=LATE, test_a="""
        import os, pytest, time
        late = "WHICH" in os.environ
        @pytest.mark.parametrize("n", range(%s if late else 40))
        def test_n(n): time.sleep(0.1)
        """ % ("60" if own == "has more" else "20"))
    xd = project.run("--min-workers=1", "--tx", "popen", "--tx", "popen//env:WHICH=b")
    assert xd.rc == 1 and xd.outcomes == {"test_a.py::test_n[%d]" % n: "passed" for n in range(60 if own == "has more" else 40)}, xd
    late = {e["nodeid"] for e in xd.tests if e["worker"] == "gw1"}
    assert late and ({"test_a.py::test_n[%d]" % n for n in range(40, 60)} <= late if own == "has more" else late <= {"test_a.py::test_n[%d]" % n for n in range(20)}), late
    shown = project.xdctl("show")
    assert "%d passed, 1 error" % len(xd.outcomes) in shown.out, shown


def test_the_same_hash_in_each_process(project):
    """A set has the same order everywhere, and what tests start hashes as it would without xd."""
    project.write(test_a="""
        import os, pytest, subprocess, sys
        @pytest.mark.parametrize("n", range(6))
        def test_n(n):
            with open(os.environ["SEEN"], "a") as f: f.write("%d %s\\n" % (hash("x"), os.environ.get("PYTHONHASHSEED")))
            assert "XD_HASHSEED" not in os.environ
        """)
    seen = project.path / "seen"
    for given in (None, "7"):
        seen.write_text("")
        xd = project.run("--no-fork", "--tx", "2*popen", "--tx", "popen//env:A=b", env=dict(dict(SEEN=str(seen)), **({"PYTHONHASHSEED": given} if given else {})))
        assert xd.rc == 0 and set(seen.read_text().splitlines()) == {seen.read_text().splitlines()[0]} and seen.read_text().split()[1] == str(given), (xd, seen.read_text())


@pytest.mark.parametrize("options", [[], ["--no-fork"]], ids=["forked", "fresh"])
@pytest.mark.parametrize("values", ["uuid", "random", "set"])
def test_environments_with_other_parameters(project, values, options):
    """An error, and both run.  The tests take their time: one environment alone may not be through before the other has collected."""
    text = dict(RANDOM, set="import os\nVALUES = {'a', 'b', os.environ.get('WHICH', 'c')}\n")[values]
    project.write(test_a=text + """
import pytest, time
@pytest.mark.parametrize("value", VALUES)
def test_value(value): time.sleep(2)
""")
    xd = project.run("--tx", "popen", "--tx", "popen//env:WHICH=d", "--junitxml=xd.xml", *options)
    check(xd, project, "popen" if "ERROR popen\n" in xd.out else "popen//env:WHICH=d", ["test_a.py::test_value["])


ENVIRONMENT_ORDERS = {
    "reversed": "sorted(VALUES, reverse='WHICH' in os.environ)",
    "shuffled": "random.Random(os.getpid()).sample(VALUES, len(VALUES))",
    "of a set": "set(VALUES)",
}


@pytest.mark.parametrize("options, conftest", [([], ""), (["--no-fork"], ""), ([], WARM)], ids=["collected", "fresh", "warm"])
@pytest.mark.parametrize("order", sorted(ENVIRONMENT_ORDERS))
def test_environments_with_another_order(project, order, options, conftest):
    """Each test runs once, under its own name, wherever it runs; the next run knows by name what failed."""
    project.write(conftest=conftest, test_a="""
import os, random, time
import pytest
VALUES = ["v%%02d" %% n for n in range(30)]
@pytest.mark.parametrize("value", %s)
def test_value(value, request):
    with open(os.environ["RAN"], "a") as f: f.write(value + "\\n")
    time.sleep(0.03)
    assert request.node.name == "test_value[%%s]" %% value
    assert value not in ("v05", "v20"), "the fault of " + value
""" % ENVIRONMENT_ORDERS[order])
    log = project.path / "ran"
    xd = project.run("--tx", "2*popen", "--tx", "2*popen//env:WHICH=b", "--tx", "popen//env:WHICH=c", *options, env=dict(RAN=str(log)))
    assert (xd.rc, xd.summary) == (1, {"passed": 28, "failed": 2}), xd
    assert sorted(log.read_text().split()) == ["v%02d" % n for n in range(30)]
    failed = {"test_a.py::test_value[v05]", "test_a.py::test_value[v20]"}
    assert {nodeid for nodeid, outcome in xd.outcomes.items() if outcome == "failed"} == failed
    assert len({e["worker"] for e in xd.tests}) > 2, xd
    again = project.run("-n2", "--lf", env=dict(RAN=str(log)))
    assert (again.rc, set(again.outcomes)) == (1, failed), again


def test_the_first_environment_collects_last(project):
    """It writes pytest's cache: with numbers of the others' list, which are not those of its own."""
    project.write(conftest="""
        import os, time
        def pytest_collection_modifyitems(items):
            if "SLOW" in os.environ:
                time.sleep(1.5)
                if os.environ["SLOW"] == "2": items.reverse()
        """, test_a="def test_a(): assert 0\ndef test_b(): pass\ndef test_c(): pass\n")
    for slow in 1, 2:
        cache = project.root / ".pytest_cache" / "v" / "cache" / "lastfailed"
        xd = project.run("--tx", "popen//env:SLOW=%d" % slow, "--tx", "popen")
        assert (xd.rc, xd.summary) == (1, {"passed": 2, "failed": 1}), xd
        assert "test_a.py::test_a" in cache.read_text() and "test_c" not in cache.read_text()
        cache.unlink()


ORDERS = {
    "by worker": "sorted(VALUES, reverse=os.environ['PYTEST_XDIST_WORKER'] != 'gw0')",
    "shuffled": "random.Random(os.getpid()).sample(VALUES, len(VALUES))",
    "of a set": "set(VALUES)",  # of texts, whose hashes differ from process to process
}


@pytest.mark.parametrize("options, conftest", [(["--no-fork"], ""), ([], WARM)], ids=["fresh", "warm"])
@pytest.mark.parametrize("order", sorted(ORDERS))
def test_workers_with_another_order(project, order, options, conftest):
    """Each test runs once, under its own name, whoever runs it; what it says is its own."""
    project.write(conftest=conftest, test_a="""
import os, random, time
import pytest
VALUES = ["v%%02d" %% n for n in range(30)]
@pytest.mark.parametrize("value", %s)
def test_value(value, request, record_property):
    record_property("value", value)
    with open(os.environ["RAN"], "a") as f: f.write(value + "\\n")
    with open(os.path.join(os.environ["SEEN"], os.environ["PYTEST_XDIST_WORKER"]), "w"): pass
    for n in range(2000):  # until another worker takes part
        if len(os.listdir(os.environ["SEEN"])) > 1: break
        time.sleep(0.01)
    assert request.node.name == "test_value[%%s]" %% value
    assert value not in ("v05", "v20"), "the fault of " + value
def test_last(): pass
""" % ORDERS[order], **{"pytest.ini": "[pytest]\njunit_family = xunit1\n"})
    log, seen = project.path / "ran", project.path / "seen"
    seen.mkdir()
    xd = project.run(*(options + ["-n3", "--junitxml=xd.xml"]), env=dict(RAN=str(log), SEEN=str(seen)))
    assert (xd.rc, xd.summary) == (1, {"passed": 29, "failed": 2}), xd
    assert sorted(log.read_text().split()) == ["v%02d" % n for n in range(30)]
    assert {nodeid for nodeid, outcome in xd.outcomes.items() if outcome == "failed"} == {"test_a.py::test_value[v05]", "test_a.py::test_value[v20]"}
    assert len({e["worker"] for e in xd.tests}) > 1
    for case in ElementTree.parse(str(project.root / "xd.xml")).getroot().iter("testcase"):
        for said in case.iter("property"):
            assert case.get("name") == "test_value[%s]" % said.get("value")


def test_duplicates_in_another_order(project):
    project.write(conftest="""
        import os
        def pytest_collection_modifyitems(items):
            if os.environ["PYTEST_XDIST_WORKER"] != "gw0": items.reverse()
        """, test_a="import time\ndef test_a(): time.sleep(0.05)\ndef test_b(): time.sleep(0.05)\n")
    xd = project.run("--no-fork", "-n2", "--keep-duplicates", "test_a.py", "test_a.py", "test_a.py")
    assert (xd.rc, xd.summary) == (0, {"passed": 6}) and len(xd.tests) == 6, xd
