"""Interpreters and pytests: CPython 2.7, 3.6 to 3.14, free-threaded builds, PyPy, pytest 4.6 to the newest, each in a virtual environment of its own below build/."""
import os
import re
import shutil
import sys

import pytest

import pythons
from conftest import Project, counts_of, end, junit_cases, junit_suite_properties
from test_run_heap import HEAP
from test_run_outcomes import RICH, SUBTESTS, short_summary

# Pytests that have all that xd uses, from the oldest to the newest: one for each interpreter; "" is the newest.
PAIRS = [("3.8", "==7.0.1"), ("3.8", ""), ("3.9", "==7.4.4"), ("3.10", "==8.0.2"), ("3.11", "==8.3.5"), ("3.12", "==8.1.2"), ("3.13", ""), ("3.13t", ""), ("3.14", ""), ("3.14t", "")]
# Interpreters and pytests that lack some of it: what is missing is done in another way.
OLDER = [("2.7", ""), ("3.6", ""), ("3.7", ""), ("3.6", "==4.6.11"), ("3.7", "==5.4.3"), ("3.8", "==6.2.5"), ("pypy3", "")]
SESSION_HOOK = "def pytest_sessionfinish(session): pass\n"  # a reason to start workers before the collection


def interpreter(version):
    try:
        return pythons.interpreter(version)
    except pythons.Unavailable as e:
        pytest.skip(str(e))


def environment(version, wanted="", *more):
    """The python of a virtual environment, see pythons.py; skips where there is none."""
    try:
        return pythons.environment(version, wanted, *more)
    except pythons.Unavailable as e:
        pytest.skip(str(e))


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


# ---- older interpreters and pytests

TEXTS = '''
    # -*- coding: utf-8 -*-
    from __future__ import print_function
    import os, pytest, sys, warnings

    @pytest.mark.parametrize("text", [u"\\u00e9", u"\\u4e2d", "plain"])
    def test_text(text): print(u"caf\\u00e9 " + text)
    def test_differs(): assert u"caf\\u00e9" == u"th\\u00e9"
    def test_fails():
        print(u"sortie \\u00e9")
        sys.stderr.write("oh\\n")
        pytest.fail(u"d\\u00e9j\\u00e0 vu")
    def test_warns(): warnings.warn(u"gr\\u00fc\\u00df")
    def test_folders(tmpdir, tmp_path, tmpdir_factory): assert tmpdir.check() and tmp_path.exists()
    @pytest.mark.skipif(sys.version_info > (3, 0), reason="bytes")
    def test_bytes(): print("\\xc3\\xa9 \\xff"); assert "\\xff" == "\\xc3\\xa9"
    '''
ALIKE = '''
    import os, pytest, time
    from _pytest.monkeypatch import MonkeyPatch

    @pytest.fixture(scope="session")
    def once(worker_id):
        with open(os.environ["TOLD"], "a") as f: f.write("begin %s\\n" % worker_id)
        yield worker_id
        with open(os.environ["TOLD"], "a") as f: f.write("end %s\\n" % worker_id)

    @pytest.mark.parametrize("n", range(12))
    def test_worker(n, once, worker_id, testrun_uid, request, tmpdir):
        given = request.config.workerinput
        assert once == worker_id == os.environ["PYTEST_XDIST_WORKER"] == given["workerid"] and len(testrun_uid) == 32
        assert "popen-" + worker_id in str(tmpdir) and os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2" and given["workercount"] == 2
        import _pytest, pytest
        assert hasattr(request.config, "slaveinput") == (int(pytest.__version__.split(".")[0]) < 6)
        time.sleep(0.02)
    '''


@pytest.fixture(scope="module", params=OLDER, ids=lambda pair: "python%s-pytest%s" % (pair[0], pair[1] or "-newest"))
def older(request):
    return environment(*request.param)


@pytest.fixture
def old(tmp_path, older):
    p = Project(tmp_path, older)
    yield p
    for process in p.started:
        end(process)


def counts(result):
    """Of the last line, as any pytest has it ("in 0.12 seconds")."""
    return counts_of([line for line in result.out.splitlines() if re.search(r" in [0-9.]+ ?s", line)][-1])


def one_line(cases):
    """Before pytest 6 the ends of lines in a message were written so that XML reads them as blanks."""
    return [(attributes, [tuple(text and text.replace("\n", " ") for text in child) for child in children], properties) for attributes, children, properties in cases]


@pytest.mark.parametrize("options, conftest", [([], ""), (["--no-fork"], "")], ids=["forked", "fresh"])
def test_older_same_as_plain(old, options, conftest):
    rich = dict(RICH, test_plain=RICH["test_plain"].replace('record_xml_attribute("time", "ignored")', "pass"))  # plain pytest 5 ends with a TypeError
    old.write(**dict(rich, test_texts=TEXTS, conftest=conftest))
    args, env = ["--doctest-modules", "-rA"], dict(PYTHONIOENCODING="utf-8")  # Python 2 knows no encoding of a pipe
    plain = old.plain(*(args + ["--junitxml=plain.xml"]), env=env)
    xd = old.run("-n2", *(options + args + ["--junitxml=xd.xml"]), env=env)
    ways = {e["way"] for e in xd.events if e["event"] == "worker_up"}
    assert ways == {"fresh" if options else "warm" if "pypy" in old.python else "collected"}, xd
    assert xd.categories == plain.categories, xd
    assert (xd.rc, counts(xd)) == (plain.rc, counts(plain)) and xd.rc == 1, xd
    assert one_line(junit_cases(old.root / "xd.xml")) == one_line(junit_cases(old.root / "plain.xml"))
    assert junit_suite_properties(old.root / "xd.xml") == junit_suite_properties(old.root / "plain.xml") != set()
    for text in ("caf\u00e9", "d\u00e9j\u00e0 vu", "sortie \u00e9", "assert [1, 2, 3] == [1, 2, 4]", "RuntimeError: in teardown", "mind the gap"):
        assert (text in xd.out) == (text in plain.out), (text, xd)
    assert "Traceback" not in xd.err and "xd: " not in xd.err, xd


def test_older_workers(old, tmp_path):
    """Fixtures of the session, what a worker knows, its folders; a crash; -x."""
    old.write(test_alike=ALIKE)
    told = str(tmp_path / "told")
    result = old.run("-n2", env=dict(TOLD=told))
    assert result.rc == 0 and counts(result) == {"passed": 12}, result
    with open(told) as f:
        lines = sorted(f.read().splitlines())
    assert lines in (["begin gw0", "begin gw1", "end gw0", "end gw1"], ["begin gw0", "end gw0"]), lines  # a worker may be too late for any test
    old.write(test_alike="import os, pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_n(n):\n    if n == 2: os._exit(9)\n")
    crash = old.run("-n2")
    assert crash.rc == 1 and crash.summary == {"passed": 5, "crashed": 1} and "exited with status 9" in crash.out, crash
    old.write(test_alike="import pytest, time\n@pytest.mark.parametrize('n', range(60))\ndef test_n(n):\n    time.sleep(0.01)\n    assert n\n")
    stopped = old.run("-n2", "-x")
    assert stopped.rc in (1, 2) and counts(stopped)["failed"] == 1 and counts(stopped).get("passed", 0) < 50, stopped


def test_two_pythons_in_one_run(tmp_path):
    """Python 2 and 3 share the tests of one run, found by name on PATH."""
    two, three = environment("2.7"), environment("3.13")
    project = Project(tmp_path, None)
    project.write(test_a="import pytest, sys, time\n@pytest.mark.parametrize('n', range(40))\ndef test_n(n):\n    time.sleep(0.01); print(sys.version_info[0])\n")
    path = os.pathsep.join([os.path.dirname(two), os.path.dirname(three), os.environ["PATH"]])
    specs = ["--tx", "popen//python=python2.7", "--tx", "popen//python=python3.13"]
    result = project.run("-rP", *specs, python=False, env=dict(PATH=path))
    assert result.rc == 0 and result.summary == {"passed": 40}, result
    assert {"2", "3"} <= set(result.out.splitlines()), result
    each = project.run("--dist", "each", *specs, python=False, env=dict(PATH=path))
    assert each.rc == 0 and each.summary == {"passed": 80}, each


def test_an_interpreter_that_is_too_old(project_of_any, tmp_path):
    project = project_of_any
    project.write(test_a="def test_a(): pass\n")
    gone = project.run("--tx", "popen//python=python2.4", python=False)
    assert gone.rc == 6 and re.search(r"python python2\.4 does not exist, and would be too old: no pytest that xd knows runs with Python 2\.4 "
                                      r"\(xd runs pytest with Python 2\.7, and with 3\.6 and newer\); tried PATH=", gone.out + gone.err), gone
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nshift\ncode="$1"\nshift\nexec %s -c "import sys; sys.version_info = (2, 6, 9, \'final\', 0); exec(sys.argv.pop(1))" "$code" "$@"\n' % shutil.which("python3"))
    fake.chmod(0o755)
    there = project.run("--tx", "popen//python=%s" % fake, python=False)
    assert there.rc == 6 and "is Python 2.6: xd runs pytest with Python 2.7, and with 3.6 and newer" in there.out + there.err, there
    assert "Traceback" not in there.err + there.out
    doctor = project.xdctl("doctor", "--python", str(fake))
    assert doctor.rc == 6 and re.search(r"^FAIL  python: .*, version 2\.6\.9; xd runs pytest with Python 2\.7, and with 3\.6 and newer$", doctor.out, re.M), doctor


def test_a_shim_of_pyenv_that_starts_nothing(project_of_any, tmp_path):
    shims, versions = tmp_path / "pyenv" / "shims", tmp_path / "pyenv" / "versions" / "2.7.18" / "bin"
    for folder in (shims, versions):
        folder.mkdir(parents=True)
    (shims / "python2.7").write_text("#!/bin/sh\n[ \"$PYENV_VERSION\" = 3 ] && exec python3 \"$@\"\necho 'pyenv: python2.7: command not found'\nexit 127\n")
    (versions / "python2.7").write_text("")
    for file in (shims / "python2.7", versions / "python2.7"):
        file.chmod(0o755)
    project_of_any.write(test_a="def test_a(): pass\n")
    path = os.pathsep.join([str(shims), os.path.dirname(project_of_any.python), os.environ["PATH"]])
    result = project_of_any.run("--tx", "popen//python=python2.7", python=False, env=dict(PATH=path))
    assert result.rc == 6 and "starts no interpreter (pyenv: python2.7: command not found): name the interpreter itself, such as %s" % (versions / "python2.7") in (
        result.out + result.err), result
    chosen = project_of_any.run("--tx", "popen//python=python2.7//env:PYENV_VERSION=3", python=False, env=dict(PATH=path))
    assert chosen.rc == 0, chosen


@pytest.fixture
def project_of_any(tmp_path):
    p = Project(tmp_path, sys.executable)
    yield p
    for process in p.started:
        end(process)
