"""`xdctl runs`, `latest`, retention and JSON: runs belong to projects."""
import json
import os
import shutil
import signal
import time

import pytest

from conftest import Project

PASS = "def test_one(): pass\ndef test_two(): pass\n"


@pytest.fixture
def other(project):
    """A second project in the same state folder."""
    folder = project.path / "elsewhere"
    folder.mkdir()
    o = Project(folder, project.python)
    o.environment = project.environment
    o.write(test_b="def test_b(): assert 0", **{"pytest.ini": "[pytest]\n"})
    return o


def listed(project, *args, **more):
    r = project.xdctl("runs", "--json", *args, **more)
    assert r.rc == 0 and r.err == "", r
    return json.loads(r.out)


def test_latest_is_that_of_the_project(project, other):
    project.write(test_a=PASS, **{"pytest.ini": "[pytest]\n", "sub/nothing.txt": ""})
    assert project.run("-n", "1").rc == 0
    assert other.run("-n", "1").rc == 1
    for cwd in (project.root, project.root / "sub"):
        r = project.xdctl("show", cwd=cwd)
        assert r.rc == 0 and "2 passed" in r.out, r
        assert "2 passed" in project.xdctl("report", "terminal", "latest", cwd=cwd).out
    assert "1 failed" in other.xdctl("show").out
    assert "1 failed" in project.xdctl("show", "--all").out
    assert "1 failed" in project.xdctl("report", "--all", "terminal").out
    r = project.xdctl("show", cwd=project.path)
    assert r.rc == 4 and "no past run of this project yet" in r.err and r.err.count("\n") == 1, r


def test_a_run_that_was_started_here(project, other):
    """Its rootdir is elsewhere: `show` in the same folder is to find it all the same."""
    project.write(test_a=PASS)
    assert project.run("-n", "1", str(other.root)).rc == 1
    assert "1 failed" in project.xdctl("show").out
    assert "1 failed" in other.xdctl("show").out


def test_what_is_listed(project, other):
    project.write(test_a=PASS, **{"pytest.ini": "[pytest]\n"})
    first = project.run("-n", "1", "-k", "one")
    other.run("-n", "1")
    second = project.run("-n", "1")
    mine = listed(project)
    assert [run["id"] for run in mine] == [second.folder.name, first.folder.name]
    assert [run["dir"] for run in mine] == [str(second.folder), str(first.folder)]
    assert mine[1]["arguments"] == ["-k", "one"] and mine[0]["project"] == str(project.root) == mine[0]["cwd"]
    assert (mine[0]["state"], mine[0]["exit_code"], mine[0]["tests"]["passed"], mine[0]["tests"]["collected"]) == ("finished", 0, 2, 2)
    assert 0 < mine[0]["duration"] < 60 and mine[0]["started"].endswith("Z")
    everything = listed(project, "--all")
    assert len(everything) == 3 and [run["exit_code"] for run in everything] == [0, 1, 0]
    r = project.xdctl("runs", "--all")
    lines = r.out.splitlines()
    assert len(lines) == 3 and " passed " in lines[0] and str(project.root) in lines[0] and "2 passed" in lines[0], r
    assert " failed " in lines[1] and str(other.root) in lines[1] and "1 failed" in lines[1], r
    assert listed(project, cwd=project.path) == []
    assert project.xdctl("runs", "surplus").rc == 4


def test_a_run_that_goes_on_and_one_that_was_killed(project):
    project.write(test_a="""
        import os, time
        def test_first(): pass
        def test_long():
            open("began", "w").close()
            while not os.path.exists("go"): time.sleep(0.02)
    """)
    run = project.start("run", "--python", project.python, "-n", "1", "--no-history")
    deadline = time.monotonic() + 30
    while not (project.root / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    now, = listed(project)
    assert (now["state"], now["exit_code"], now["duration"]) == ("running", None, None) and now["tests"]["collected"] == 2
    assert " running " in project.xdctl("runs").out
    run.send_signal(signal.SIGKILL)
    run.wait()
    now, = listed(project)
    assert (now["state"], now["exit_code"], now["tests"]["passed"]) == ("cut off", None, 1)
    assert " cut off " in project.xdctl("runs").out


def test_a_refused_command_line_is_no_run(project):
    project.write(test_a=PASS)
    assert project.run("-n", "1").rc == 0
    for args in (("no_such_file",), ("--no-such-option",), ("-n", "1", "-p", "no_such_plugin")):
        r = project.run(*args)
        assert r.rc in (1, 4), r
        if r.rc == 4:
            assert len(listed(project)) == 1, args
    r = project.xdctl("show")
    assert r.rc == 0 and "2 passed" in r.out, r


def test_named_by_its_folder(project, other):
    project.write(test_a=PASS)
    run = project.run("-n", "1")
    moved = project.path / "kept"
    shutil.copytree(str(run.folder), str(moved))
    for name, cwd in ((str(moved), project.root), ("../kept", project.root), ("./kept/", project.path), (".", moved)):
        r = project.xdctl("show", name, cwd=cwd)
        assert r.rc == 0 and "2 passed" in r.out, (name, r)
    r = project.xdctl("report", "junit", str(moved))
    assert r.rc == 0 and "test_one" in r.out, r
    r = project.xdctl("show", str(project.root))
    assert r.rc == 4 and "is not the folder of a run: it has no journal" in r.err, r


def test_retention_is_per_project(project, other):
    project.write(test_a=PASS)
    mine = project.run("-n", "1").folder
    for _ in range(4):
        other.run("-n", "1", "--runs-keep", "2")
    assert mine.exists() and [r["dir"] for r in listed(project)] == [str(mine)]
    assert len(listed(other)) == 2


def test_an_unreadable_run_is_listed(project):
    project.write(test_a=PASS)
    run = project.run("-n", "1")
    (run.folder / "journal").write_bytes(b"nonsense")
    one, = listed(project, "--all")
    assert one["state"] == "unreadable" and "is not a journal" in one["reason"]


def test_show_as_json(project):
    project.write(test_a=PASS + "def test_bad(): assert 0, 'boo'\n")
    project.run("-n", "1")
    r = project.xdctl("show", "--json")
    shown = json.loads(r.out)
    assert r.rc == 1 and shown["exit_code"] == 1 and shown["tests"]["failed"] == 1
    assert {t["nodeid"]: t["outcome"] for t in shown["results"]} == {"test_a.py::test_one": "passed", "test_a.py::test_two": "passed",
                                                                     "test_a.py::test_bad": "failed"}
    bad = json.loads(project.xdctl("show", "--json", "--failed").out)["results"]
    assert [t["nodeid"] for t in bad] == ["test_a.py::test_bad"] and "boo" in bad[0]["reports"][0]["message"]


def test_doctor_as_json(project):
    r = project.xdctl("doctor", "--json", "--python", project.python)
    told = json.loads(r.out)
    assert r.rc == 0 and told["ok"] is True and all(check["ok"] for check in told["checks"])
    lines = project.xdctl("doctor", "--python", project.python).out.splitlines()
    assert ["%s: %s" % (c["name"], c["text"]) for c in told["checks"]] == [line[6:] for line in lines]
    r = project.xdctl("doctor", "--json", "--python", "/no/such/python")
    told = json.loads(r.out)
    assert r.rc == 6 and told["ok"] is False and [c["name"] for c in told["checks"] if not c["ok"]] == ["python"]
