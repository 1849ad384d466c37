"""Journals that earlier versions of xd wrote: every command that reads journals reads them.  journals/README.md says how they were made."""
import collections
import json
import os
import shutil
import struct
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import HERE

JOURNALS = os.path.join(HERE, "journals")
OUTCOMES = dict(passed=21, failed=4, skipped=1, xfailed=1, xpassed=1, error=2, crashed=1)


def keep(project, data, run_id="01a220ac43e33657524cd44124862ba6"):
    """As a run in the project's state folder; its id."""
    folder = project.path / "state" / "xd" / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "journal").write_bytes(data)
    return run_id


@pytest.fixture
def first_version():
    with open(os.path.join(JOURNALS, "version-1.journal"), "rb") as f:
        return f.read()


def test_shown(project, first_version):
    run = keep(project, first_version)
    r = project.xdctl("show", run, "-rA")
    assert r.rc == 1 and r.err == "", r
    assert r.summary == dict(failed=4, crashed=1, passed=23, skipped=1, deselected=1, xfailed=1, xpassed=1, warning=4, error=3), r
    for text in ("header of the suite", "AssertionError: not the same", "to stderr", "OSError: teardown went wrong", "killed by SIGSEGV",
                 "last words", "a warning of the test", "SKIPPED [1] test_outcomes.py:27: not here", "SUBFAILED(i=1)", "past the capture"):
        assert text in r.out, (text, r)


def test_reported(project, first_version):
    run = keep(project, first_version)
    r = project.xdctl("report", "jsonl", run)
    assert r.rc == 0 and r.err == "", r
    events = [json.loads(line) for line in r.out.splitlines()]
    assert collections.Counter(e["outcome"] for e in events if e["event"] == "test") == OUTCOMES
    assert [e["exit_status"] for e in events if e["event"] == "run_end"] == [1]
    r = project.xdctl("report", "junit", run)
    assert r.rc == 0 and r.err == "", r
    suite = ElementTree.fromstring(r.out).find("testsuite")
    assert len(set((c.get("classname"), c.get("name")) for c in suite.iter("testcase"))) == sum(OUTCOMES.values()), suite.attrib
    assert {(p.get("name"), p.get("value")) for p in suite.findall("properties/property")} == {("suite-key", "suite-value")}
    case, = [c for c in suite.iter("testcase") if c.get("name") == "test_properties"]
    assert case.find("properties/property").get("name") == "key"


def test_listed(project, first_version):
    run = keep(project, first_version)
    r = project.xdctl("runs", "--all")
    assert r.rc == 0 and run in r.out and "/tmp/xd-journal  21 passed, 4 failed, " in r.out and " failed " in r.out, r
    told, = json.loads(project.xdctl("runs", "--all", "--json").out)
    assert told["exit_code"] == 1 and told["state"] == "finished"
    assert {k: n for k, n in told["tests"].items() if n} == dict(OUTCOMES, collected=31)


def test_cut_off(project, first_version):
    """As a controller that was killed leaves it."""
    run = keep(project, first_version[:len(first_version) * 2 // 3])
    r = project.xdctl("show", run)
    assert r.rc == 7 and "passed" in r.out, r


def test_other_versions(project, first_version):
    for version in (0, 2, 1 << 31):
        run = keep(project, first_version[:8] + struct.pack("<I", version) + first_version[12:], "%032x" % (version + 1))
        r = project.xdctl("show", run)
        assert r.rc == 3 and "is of version %d, this xd reads versions 1 to 1" % version in r.err, r
        assert r.err.count("\n") == 1 and ("a newer xd wrote it" in r.err) == (version > 1), r
        shutil.rmtree(str(project.path / "state"))
