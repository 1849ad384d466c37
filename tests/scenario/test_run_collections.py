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
    assert (case.get("name"), case.find("error").get("message")) == (name, "collection failure")


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
