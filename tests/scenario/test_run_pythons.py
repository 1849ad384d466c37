"""Interpreters and pytests: CPython 3.8 to 3.13, pytest 7 to the newest, each in a virtual environment of its own below build/."""
import fcntl
import glob
import os
import subprocess

import pytest

from conftest import ROOT, Project, end, junit_cases, junit_suite_properties
from test_run_heap import HEAP
from test_run_outcomes import RICH, SUBTESTS, short_summary

# The oldest and the newest pytest that xd is for, and what lies between: one for each interpreter; "" is the newest.
PAIRS = [("3.8", "==7.0.1"), ("3.8", ""), ("3.9", "==7.4.4"), ("3.10", "==8.0.2"), ("3.11", "==8.3.5"), ("3.13", "")]
SESSION_HOOK = "def pytest_sessionfinish(session): pass\n"  # a reason to start workers before the collection


def interpreter(version):
    found = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/%s.*/bin/python" % version)))
    for python in found + ["python" + version]:
        try:
            if subprocess.run([python, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            pass
    pytest.skip("no CPython %s with venv on this machine" % version)


def environment(version, wanted="", *more):
    """The python of build/pythons/<version>-<pytest>[-<package>...], made once; `more` are packages to install beside pytest."""
    python = interpreter(version)
    folder = os.path.join(ROOT, "build", "pythons", "-".join([version + (wanted or "==newest").replace("==", "-")] + [m.replace("==", "-") for m in more]))
    made = os.path.join(folder, "bin", "python")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, "ready")):
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True, stdout=subprocess.DEVNULL)
            install = [made, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "pytest" + wanted] + list(more)
            pip = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
            if pip.returncode != 0:
                pytest.skip("%s for CPython %s cannot be installed: %s" % (" ".join(("pytest" + wanted,) + more), version, pip.stdout.strip()[-200:]))
            open(os.path.join(folder, "ready"), "w").close()
    return made


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: "python%s-pytest%s" % (pair[0], pair[1] or "-newest"))
def python(request):
    return environment(*request.param)


@pytest.fixture
def project(tmp_path, python):
    p = Project(tmp_path, python)
    yield p
    for process in p.started:
        end(process)


def names(result):
    """Of the short summary, without reasons: older pytests tell fewer."""
    return [line.split(" - ")[0].rstrip() for line in short_summary(result)]


@pytest.mark.parametrize("options, conftest, way", [(["-n2"], "", "collected"), (["-n2"], SESSION_HOOK, "warm"), (["-n2", "--no-fork"], "", "fresh")],
                         ids=["collected", "warm", "fresh"])
def test_same_as_plain(project, options, conftest, way):
    project.write(**dict(RICH, test_sub=SUBTESTS, conftest=conftest))
    args = ["--doctest-modules", "-rA"]
    plain, xd = project.plain(*(args + ["--junitxml=plain.xml"])), project.run(*(options + args + ["--junitxml=xd.xml"]))
    assert {e["way"] for e in xd.events if e["event"] == "worker_up"} == {way}, xd
    assert xd.categories == plain.categories, xd
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) and xd.rc == 1, xd
    assert names(xd) == names(plain)
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    assert junit_suite_properties(project.root / "xd.xml") == junit_suite_properties(project.root / "plain.xml") != set()


def test_heap(project, tmp_path):
    """What the module gc tells in a worker, whose heap is frozen, is what it tells in plain pytest."""
    project.write(**dict(HEAP, way=""))
    told = []
    for run in (project.plain, project.run):
        result = run(*([] if run == project.plain else ["-n1"]), env=dict(TOLD=str(tmp_path / "told.json")))
        assert result.rc == 0 and set(result.summary) == {"passed"}, result
        told.append((tmp_path / "told.json").read_text())
    assert told[0] == told[1]


def test_faults(project):
    """A crash, a failing collection, pytest.exit: told and ended the same with every pytest."""
    project.write(test_a="import os, pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_n(n):\n    if n == 2: os._exit(9)\n")
    crash = project.run("-n2")
    assert crash.rc == 1 and crash.summary == {"passed": 5, "crashed": 1} and "exited with status 9" in crash.out, crash
    project.write(test_a="import nothing_like_it\n")
    plain, xd = project.plain(), project.run("-n2")
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (2, {"error": 1}), xd
    project.write(test_a="import pytest\ndef test_a(): pytest.exit('enough', returncode=7)\n")
    assert project.run("-n2").rc == project.plain().rc == 7
