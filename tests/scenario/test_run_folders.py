"""Options work-dir, state-dir and cache-dir: where a run takes place, and where its files are kept."""
import json
import os
import sys

import pytest

from conftest import XDCTL

SUITE = """
import os
def test_where():
    with open("made-here", "w") as f:
        f.write(os.getcwd())
def test_fails():
    assert 0
"""


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def elsewhere(project, tmp_path):
    """(project, an empty folder in which xdctl is started)"""
    project.write(test_a=SUITE)
    where = tmp_path / "elsewhere"
    where.mkdir()
    project.cold = True  # what is made in folders that were not named is looked at
    project.suite, project.root = project.root, where
    return project


def test_as_if_started_there(elsewhere):
    """Names in all options count from there; nothing is left where xdctl was started."""
    (elsewhere.suite / "bin").mkdir()
    python = elsewhere.suite / "bin" / "python"
    python.write_text('#!/bin/sh\nexec %s "$@"\n' % sys.executable)
    python.chmod(0o755)
    (elsewhere.suite / "agent").symlink_to(os.path.join(os.path.dirname(XDCTL), "xdagent"))
    result = elsewhere.xdctl("run", "--work-dir", "../" + elsewhere.suite.name, "--python", "bin/python", "--agent", "./agent", "-n2", "--jsonl=out.jsonl",
                             "--state-dir=state", "--cache-dir", "cache", "--stats=stats.json", "--junitxml=out.xml", "test_a.py")
    assert result.rc == 1 and "1 failed, 1 passed" in result.out, result
    suite = elsewhere.suite
    assert names(elsewhere.root) == [], names(elsewhere.root)
    assert (suite / "made-here").read_text() == str(suite)
    assert {"out.jsonl", "out.xml", "stats.json", "state", "cache"} <= set(names(suite))
    assert names(suite / "state") == ["runs"] and len(names(suite / "state" / "runs")) == 1
    cached = names(suite / "cache")
    assert len(cached) == 2 and any(n.startswith("adapter-") for n in cached), cached
    assert any((suite / "cache" / n / "history.db").exists() for n in cached)
    assert not (elsewhere.path / "state").exists() and not (elsewhere.path / "cache").exists()
    assert json.loads((suite / "stats.json").read_text())["exit_code"] == 1
    for folder in (suite / "state", suite / "cache"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_options_behind_pytests_are_asked_for_there(elsewhere):
    """--work-dir may stand among pytest's arguments; the project that may claim it is the one in that folder."""
    (elsewhere.suite / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--state-dir')\n")
    result = elsewhere.xdctl("run", "--python", sys.executable, "-n2", "-q", "--work-dir", elsewhere.suite, "--state-dir=claimed")
    assert result.rc == 1 and "1 failed, 1 passed" in result.out, result
    assert (elsewhere.suite / "made-here").exists() and not (elsewhere.suite / "claimed").exists()


def test_runs_are_found_there(elsewhere, tmp_path):
    kept, there = tmp_path / "kept", ("--work-dir", elsewhere.suite)
    assert elsewhere.xdctl("run", *there, "--state-dir", kept, "-n2", "--python", sys.executable).rc == 1
    state = ("--state-dir", kept)
    assert elsewhere.xdctl("runs").out == "" and elsewhere.xdctl("runs", *state).out == ""
    listed = json.loads(elsewhere.xdctl("runs", *state, *there, "--json").out)
    assert [run["cwd"] for run in listed] == [str(elsewhere.suite)] == [run["project"] for run in listed]
    assert json.loads(elsewhere.xdctl("runs", *state, "--all", "--json").out) == listed
    assert elsewhere.xdctl("show", *state).rc == 4
    shown = elsewhere.xdctl("show", *state, *there)
    assert shown.rc == 1 and "1 failed, 1 passed" in shown.out, shown
    assert elsewhere.xdctl("show", *state, "--all").out == shown.out == elsewhere.xdctl("show", *state, listed[0]["id"][:8]).out
    assert json.loads(elsewhere.xdctl("show", "--json", *state, *there).out)["id"] == listed[0]["id"]
    report = elsewhere.xdctl("report", *there, *state, "-o", "again.xml", "junit")
    assert report.rc == 0 and (elsewhere.suite / "again.xml").exists(), report
    assert "ok    runs: %s\n" % kept in elsewhere.xdctl("doctor", *there, *state, "--python", sys.executable).out


def test_the_history_of_the_cache_is_used(project, tmp_path):
    """Each cache has its own: with the one that knows them, the longest test does not start last."""
    project.write(test_a="import time\n" + "".join("def test_%d():\n    time.sleep(%s)\n" % (i, 0.4 if i == 30 else 0.02) for i in range(31)))
    knows, new = str(tmp_path / "knows"), str(tmp_path / "new")
    firsts = []
    for cache in (knows, knows, new):
        result = project.run("--cache-dir", cache, "-n2")
        assert result.rc == 0, result
        by_start = sorted(result.tests, key=lambda test: test["start"])
        firsts.append("test_a.py::test_30" in [test["nodeid"] for test in by_start[:15]])
    assert firsts == [False, True, False]
    assert len(list((tmp_path / "knows").glob("*/history.db"))) == 1


@pytest.mark.parametrize("option,name,said", [
    ("--work-dir", "missing", "option --work-dir: missing is no folder that can be entered"),
    ("--work-dir", "file", "option --work-dir: file is no folder that can be entered"),
    ("--state-dir", "file", "option --state-dir: {root}/file cannot be made or written"),
    ("--cache-dir", "file/below", "option --cache-dir: {root}/file/below cannot be made or written"),
])
def test_folders_that_cannot_be(project, option, name, said):
    project.write(test_a=SUITE)
    (project.root / "file").write_text("")
    result = project.xdctl("run", option, name)
    assert result.rc == 4 and result.err.count("\n") == 1 and said.format(root=project.root) in result.err, result
    assert not (project.root / "made-here").exists()
    doctor = project.xdctl("doctor", option, name, "--python", sys.executable)
    assert doctor.rc == 6 and "FAIL" in doctor.out, doctor
    if option == "--work-dir":
        for command in (("show",), ("runs",), ("report", "junit")):
            result = project.xdctl(*command, option, name)
            assert result.rc == 4 and result.err.count("\n") == 1 and "option --work-dir: " + name in result.err, result
    assert project.xdctl("run", option + "=").rc == 4


def test_no_note_of_a_home_that_is_not_used(project, tmp_path):
    """Both folders are named: it does not matter that the home folder cannot be written."""
    project.write(test_a="def test_a(): pass\n")
    env = dict(HOME="/nonexistent", XDG_STATE_HOME="", XDG_CACHE_HOME="", TMPDIR=str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    both = ("--state-dir", tmp_path / "s", "--cache-dir", tmp_path / "c")
    result = project.xdctl("run", *both, "-n1", "--python", sys.executable, env=env)
    assert result.rc == 0 and "kept in" not in result.out + result.err, result
    assert not list((tmp_path / "tmp").glob("xd-*"))
    result = project.xdctl("run", *both[:2], "-n1", "--python", sys.executable, env=env)
    assert result.rc == 0 and "durations of tests and the adapter are kept in" in result.out + result.err, result
