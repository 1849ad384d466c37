"""Processes that collect by themselves and come to another list: an error in every report, or, of the same tests in another order, nothing."""
import xml.etree.ElementTree as ElementTree

import pytest

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
import pytest, time
@pytest.mark.parametrize("n", range(10))
def test_n(n): time.sleep(0.1)
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
    time.sleep(0.01)
    assert request.node.name == "test_value[%%s]" %% value
    assert value not in ("v05", "v20"), "the fault of " + value
def test_last(): pass
""" % ORDERS[order], **{"pytest.ini": "[pytest]\njunit_family = xunit1\n"})
    log = project.path / "ran"
    xd = project.run(*(options + ["-n3", "--junitxml=xd.xml"]), env=dict(RAN=str(log)))
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
