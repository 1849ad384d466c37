"""A worker sets its session fixtures up once, and those of packages, modules and classes as plain pytest does: its last teardown waits until
no test is left that it may run."""
import collections
import fcntl
import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT, Project, end, junit_cases

SUITE = {
    "conftest": '''
        import os, pytest
        def note(scope, name):
            with open(os.environ["XD_LOG"], "a") as f:
                f.write("%s %s %d %s\\n" % (os.environ.get("PYTEST_XDIST_WORKER", "main"), scope, os.getpid(), name))
        @pytest.fixture(scope="session", autouse=True)
        def session(): note("session", ""); yield; note("over", "")
        @pytest.fixture(scope="package", autouse=True)
        def package(): note("package", ""); yield
    ''',
    "test_one": '''
        import time, pytest
        from conftest import note
        @pytest.fixture(scope="module", autouse=True)
        def module(): note("module", __name__); yield
        @pytest.mark.parametrize("n", range(40))
        def test_short(n): time.sleep(0.005)
        @pytest.mark.parametrize("n", range(2))
        def test_long(n): time.sleep(0.25)
        class TestClass:
            @pytest.fixture(scope="class", autouse=True)
            def klass(self): note("class", __name__); yield
            @pytest.mark.parametrize("n", range(8))
            def test_in_class(self, n): time.sleep(0.01)
        @pytest.mark.xdist_group("a")
        @pytest.mark.parametrize("n", range(3))
        def test_group(n): time.sleep(0.02)
    ''',
}
TESTS = 53


def suite(project, **more):
    project.log = project.path / "log"
    files = dict(SUITE, **more)
    return project.write(**files)


def setups(project, scope="session"):
    """Set-ups of each process, by its worker's name and process id; the log is forgotten."""
    found = collections.Counter()
    for line in project.log.read_text().splitlines():
        worker, what, pid, _name = (line + " ").split(" ")[:4]
        if what == scope:
            found[worker, pid] += 1
    return found


def run(project, *args, **more):
    if project.log.exists():
        project.log.unlink()
    env = dict(more.pop("env", {}), XD_LOG=str(project.log))
    return project.run(*args, env=env, **more)


def check(project, result, scopes=("session",)):
    assert result.rc == 0, result
    assert len(result.outcomes) == TESTS and set(result.outcomes.values()) == {"passed"}, result
    assert not [e for e in result.events if e["event"] == "note" and "again" in e["text"]], result
    for scope in scopes:
        assert set(setups(project, scope).values()) == {1}, (scope, setups(project, scope), result)
    assert setups(project) == setups(project, "over")


@pytest.mark.parametrize("workers", [2, 3, 5, 8])
@pytest.mark.parametrize("dist", ["load", "worksteal", "loadscope", "loadfile", "loadgroup"])
def test_once_per_worker(project, dist, workers):
    """Without a history, then with one."""
    suite(project)
    for _history in range(2):
        result = run(project, "-n", workers, "--dist", dist)
        check(project, result, ("session", "package", "module"))
        assert len({worker for worker, _pid in setups(project)}) == len(setups(project))


@pytest.mark.parametrize("way", ["warm", "fresh"])
def test_once_per_worker_in_other_ways(project, way):
    suite(project)
    if way == "warm":  # what prevents forking it after the collection
        project.write(conftest=SUITE["conftest"].rstrip(" ") + "        os.environ['PYTEST_XDIST_WORKER']\n")
    for _history in range(2):
        result = run(project, "-n", 4, *(["--no-fork"] if way == "fresh" else []))
        assert {e["way"] for e in result.events if e["event"] == "worker_up"} == {way}
        check(project, result, ("session", "package", "module"))


@pytest.mark.parametrize("dist", ["load", "loadgroup"])
def test_once_per_worker_in_two_environments(project, dist):
    suite(project)
    for _history in range(2):
        result = run(project, "--dist", dist, "--tx", "2*popen//env:WHERE=a", "--tx", "2*popen//env:WHERE=b", "--python", project.python, python=False)
        check(project, result, ("session",))


def test_one_worker_is_as_plain_pytest(project):
    suite(project)
    result = run(project, "-n", 1)
    check(project, result, ("session", "package", "module", "class"))
    assert not [e for e in result.events if e["event"] == "test_teardown"]


# ---- the last teardown fails, or is not reached

def check_errors(project, result, workers):
    """Each worker's session ends in one error, of its last test, in every report."""
    assert result.rc == 1, result
    errors = {test for test, outcome in result.outcomes.items() if outcome == "error"}
    assert len(errors) == workers == len(setups(project)), result
    assert result.summary["error"] == workers and result.out.count("ERROR at teardown of") == workers, result
    assert sum(found.count("error") for found in result.categories.values()) == workers
    cases = [case for case in junit_cases(project.path / "out.xml") if case[1]]
    assert len(cases) == workers and all([c[0] for c in case[1]] == ["error"] for case in cases)
    with open(str(project.root / ".pytest_cache" / "v" / "cache" / "lastfailed")) as f:
        assert set(json.load(f)) == errors
    return errors


@pytest.mark.parametrize("workers", [1, 4])
def test_a_failing_last_teardown_is_an_error_of_the_last_test(project, workers):
    suite(project, conftest=SUITE["conftest"].replace('note("over", "")', 'note("over", ""); assert 0'),
          test_one="import pytest\n@pytest.mark.parametrize('n', range(400))\ndef test_quick(n): pass\n")
    result = run(project, "-n", workers, "--", "--junitxml=%s" % (project.path / "out.xml"))
    check_errors(project, result, workers)
    assert result.summary["passed"] == 400


@pytest.mark.parametrize("workers", [1, 4])
def test_a_crash_in_the_last_teardown(project, workers):
    """Of the test that the teardown belongs to; its worker is not replaced, and nothing runs twice."""
    suite(project, conftest=SUITE["conftest"].replace('note("over", "")', 'note("over", ""); os.kill(os.getpid(), 11)'),
          test_one="import pytest\n@pytest.mark.parametrize('n', range(400))\ndef test_quick(n): pass\n")
    result = run(project, "-n", workers)
    assert result.rc == 1, result
    bad = [test for test, outcome in result.outcomes.items() if outcome in ("error", "crashed")]
    assert len(result.outcomes) == 400 and len(bad) == workers == len(setups(project)), result
    blamed = [e["nodeid"] for e in result.events if e["event"] == "worker_down"]
    assert sorted(blamed) == sorted(bad)


def test_stop_after_a_failure(project):
    suite(project, test_one=SUITE["test_one"].replace("def test_in_class(self, n):", "def test_in_class(self, n): assert n != 3;"))
    result = run(project, "-n", 3, "--", "-x")
    assert result.rc == 1 and "failed" in result.outcomes.values(), result
    assert set(setups(project).values()) == {1} and setups(project) == setups(project, "over"), result


def test_a_replacement_sets_up_its_own(project):
    suite(project, test_one=SUITE["test_one"].replace("def test_in_class(self, n):", "def test_in_class(self, n): n == 3 and __import__('os')._exit(3);"))
    result = run(project, "-n", 3, "--", "-v")
    assert result.rc == 1 and list(result.outcomes.values()).count("crashed") == 1 and len(result.outcomes) == TESTS, result
    again = [e["text"] for e in result.events if e["event"] == "note" and "sets its fixtures up again" in e["text"]]
    assert sum(setups(project).values()) == len(setups(project)) + len(again), result
    assert all(("xd: " + text) in result.out for text in again)


def test_items_given_after_the_last_teardown_are_told(project):
    """gw0 has ended its session's fixtures when gw1 crashes, and there is no replacement for gw1: gw0 gets what gw1 had."""
    suite(project, test_one='''
        import os, time, pytest
        def until(name):
            end = time.time() + 50
            while name not in open(os.environ["XD_LOG"]).read():
                assert time.time() < end
                time.sleep(0.01)
        @pytest.mark.xdist_group("a")
        def test_first(): pass
        @pytest.mark.xdist_group("b")
        def test_crash(): until(" over "); os._exit(3)
        @pytest.mark.xdist_group("b")
        def test_behind(): pass
    ''')
    result = run(project, "-n", 2, "--dist", "loadgroup", "--", "-v", "--max-worker-restart=0")
    assert sorted(result.outcomes.values()) == ["crashed", "passed", "passed"], result
    text, = [e["text"] for e in result.events if e["event"] == "note" and "sets its fixtures up again" in e["text"]]
    assert text == ("gw%s sets its fixtures up again: it was given test_one.py::test_behind after its last teardown, because a worker was lost"
                    % [e["worker"] for e in result.tests if "behind" in e["nodeid"]][0][2:])
    assert "xd: " + text in result.out


# ---- pytest-django

def django_python():
    """The python of build/pythons/django, made once: pytest-django and what it needs."""
    folder = os.path.join(ROOT, "build", "pythons", "django")
    made = os.path.join(folder, "bin", "python")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, "ready")):
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, stdout=subprocess.DEVNULL)
            install = [made, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "pytest", "pytest-django==4.11.1", "django==5.2.8"]
            pip = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
            if pip.returncode != 0:
                pytest.skip("pytest-django cannot be installed: %s" % pip.stdout.strip()[-200:])
            open(os.path.join(folder, "ready"), "w").close()
    return made


def test_a_test_database_is_made_once_per_worker(tmp_path):
    project = Project(tmp_path, django_python())
    project.write(**{"pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = settings\npythonpath = .\n"})
    project.write(settings='''
        SECRET_KEY = "x"
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r, "TEST": {"NAME": %r}}}
    ''' % (str(tmp_path / "db"), str(tmp_path / "test_db")), test_it='''
        import time, pytest
        from django.contrib.auth.models import User
        from django.db import connection
        @pytest.mark.parametrize("n", range(30))
        def test_db(db, n, record_property):
            record_property("database", connection.settings_dict["NAME"])
            User.objects.create(username="only one")
            time.sleep(0.6 if n == 29 else 0.01)
    ''')
    try:
        for _history in range(2):
            result = project.run("-n", 3)
            assert result.rc == 0 and len(result.outcomes) == 30, result
            found = {(e["worker"], p[1]) for e in result.tests for r in e["reports"] for p in r.get("properties", ())}
            assert len(found) == 3 and all(name.endswith("test_db_" + worker) for worker, name in found), found
    finally:
        for process in project.started:
            end(process)
