"""A green exit, and reports without an error, only where every collected test has an outcome; and what a start that fails leaves."""
import os
import resource
import shutil
import signal
import xml.etree.ElementTree as ElementTree

import pytest

from faults import children, wait_until

FEW = """
    import pytest
    @pytest.mark.parametrize("i", range(12))
    def test_f(i): pass
"""
SLOW = """
    import os, time
    import pytest
    @pytest.mark.parametrize("i", range(4))
    def test_s(i):
        open(os.environ["STARTED"] + str(i), "w").close()
        while not os.path.exists(os.environ["STARTED"] + ".go"):
            time.sleep(0.01)
"""


def suites(path):
    """(errors, failures, tests) of the whole file, and its errors' messages."""
    root = ElementTree.parse(str(path)).getroot()
    counted = [sum(int(s.get(name)) for s in root.iter("testsuite")) for name in ("errors", "failures", "tests")]
    return counted, [e.get("message") for e in root.iter("error")]


@pytest.mark.parametrize("says", ["", "return True", "return None if session.config.option.collectonly else True"], ids=["none", "all", "asked"])
def test_a_plugin_that_runs_the_tests_by_itself(project, says):
    project.write(conftest="import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtestloop(session):\n    %s\n" % (says or "return None"), test_f=FEW)
    result = project.run("-n2", "--junitxml", project.path / "j.xml")
    if not says:
        assert (result.rc, result.summary) == (0, {"passed": 12}), result
        return
    assert result.rc == 7, result
    assert "conftest.py ran the tests itself (pytest_runtestloop), or ran none: xd did not see the outcomes of 12 tests" in " ".join(result.out.split()), result
    assert suites(project.path / "j.xml")[0] == [1, 0, 1]


@pytest.mark.parametrize("option", ["--collect-only", "--fixtures", "--setup-plan"])
def test_options_that_tell_still_end_with_0(project, option):
    project.write(test_f=FEW)
    assert project.run("-n2", option).rc == 0


def test_agent_killed_while_the_sessions_end(project):
    """All tests have passed; what the workers do at their end is lost."""
    project.write(conftest="""
        import os, time
        def pytest_sessionfinish(session):
            open(os.environ["STARTED"], "w").close()
            time.sleep(60)
    """, test_f=FEW)
    started = project.path / "started"
    process = project.start("run", "-n2", "--python", project.python, env={"STARTED": str(started)})
    wait_until(started.exists, "the end of the sessions")
    guard, = children(process.pid)
    os.kill(children(guard)[0], signal.SIGKILL)
    result = project.finish(process)
    assert result.rc == 1 and result.summary["passed"] == 12, result
    assert "while its sessions ended; what they do last may be missing" in " ".join(result.out.split())


def old_report(project):
    path = project.path / "junit.xml"
    path.write_text('<testsuites><testsuite errors="0" failures="0" tests="3"/></testsuites>')
    return path


@pytest.mark.parametrize("how", ["equals", "word", "old name", "environment", "relative"])
def test_an_old_junit_file_does_not_stand_for_a_run_that_did_not_begin(project, how):
    project.write(test_f=FEW)
    path = old_report(project)
    args = {"equals": ["--junitxml=%s" % path], "word": ["--junitxml", path], "old name": ["--junit-xml", path], "environment": [],
            "relative": ["--junitxml=../junit.xml"]}[how]
    env = {"PYTEST_ADDOPTS": "-q '--junitxml=%s'" % path} if how == "environment" else {}
    result = project.xdctl("run", "--python", "/nonexistent/python", *args, env=env)
    assert result.rc == 6, result
    counted, messages = suites(path)
    assert counted == [1, 0, 1] and "/nonexistent/python" in messages[0], messages


def test_no_junit_file_where_nobody_asked_for_one(project):
    project.write(test_f=FEW)
    before = sorted(os.listdir(str(project.root)))
    assert project.xdctl("run", "--python", "/nonexistent/python", "-k", "--junitxml-like").rc == 6
    assert sorted(os.listdir(str(project.root))) == before
    path = old_report(project)
    before = path.read_text()
    assert project.xdctl("run", "--python", "/nonexistent/python", "--", "--junitxml=%s.other" % path).rc == 6
    assert path.read_text() == before


def test_a_start_that_fails_is_no_run(project):
    """It wrote its JUnit file, and `latest` is the run before it."""
    project.write(test_f=FEW)
    assert project.run("-n2").rc == 0
    first = project.latest()
    path = old_report(project)
    failed = project.xdctl("run", "--junitxml=%s" % path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
    assert failed.rc == 6 and suites(path)[0] == [1, 0, 1], failed
    assert project.run("--jsonl=%s/no/such/folder" % project.path).rc == 4
    assert os.listdir(str(first.parent)) == [first.name]
    shown = project.xdctl("show", "latest")
    assert shown.rc == 0 and "12 passed" in shown.out


def test_two_runs_do_not_write_one_file_of_events(project):
    project.write(test_s=SLOW)
    started = project.path / "started"
    jsonl = project.path / "shared.jsonl"
    first = project.start("run", "-n2", "--python", project.python, "--jsonl", jsonl, env={"STARTED": str(started)})
    wait_until(lambda: list(project.path.glob("started*")), "a running test")
    second = project.xdctl("run", "-n2", "--python", project.python, "--jsonl", jsonl, env={"STARTED": str(started)})
    assert second.rc == 4 and "another run writes" in second.err, second
    (project.path / "started.go").write_text("")
    result = project.finish(first, str(jsonl))
    assert result.rc == 0 and result.events[-1]["event"] == "run_end" and len(result.tests) == 4
    assert project.xdctl("run", "-n2", "--python", project.python, "--jsonl", jsonl, env={"STARTED": str(started)}).rc == 0


def test_the_folder_of_the_run_is_removed_while_it_runs(project):
    project.write(test_s=SLOW)
    started = project.path / "started"
    process = project.start("run", "-n2", "--python", project.python, env={"STARTED": str(started)})
    wait_until(lambda: list(project.path.glob("started*")), "a running test")
    state = project.path / "state"
    wait_until(lambda: shutil.rmtree(str(state), ignore_errors=True) or not state.exists(), "the end of the folder")
    (project.path / "started.go").write_text("")
    result = project.finish(process)
    assert result.rc == 7 and result.summary == {"passed": 4}, result
    assert "was removed while it ran" in result.err


def test_a_damaged_history_is_announced_once(project):
    project.write(test_f=FEW)
    assert project.run("-n2").rc == 0
    database, = (project.path / "cache" / "xd").glob("project-*/history.db")
    database.write_bytes(b"no database" * 100)
    result = project.run("-n2")
    assert result.rc == 0, result
    told = [line for line in (result.out + result.err).splitlines() if "history.db" in line]
    assert len(told) == 1, told


def test_output_of_the_collector_is_called_so(project):
    project.write(conftest="import os\nos.write(1, b'x' * 3000000)\n", test_f=FEW)
    result = project.run("-n2", "--output-limit", "10K", "-s")
    assert result.rc == 0 and "65535" not in result.out, result.out[-2000:]
    assert "xd: the collector: " in result.out and "bytes of output left out here" in result.out


def test_the_test_in_which_a_session_ended_is_named(project):
    project.write(test_i="""
        import pytest
        class Broken(list):
            def __iter__(self): raise ValueError("no properties")
        @pytest.mark.parametrize("i", range(8))
        def test_i(i, request):
            if i == 3:
                request.node.user_properties = Broken([1])
    """)
    result = project.run("-n1", "-p", "no:cacheprovider")
    assert result.rc == 3, result
    assert "xd: warning: the session of gw0 ended in test_i.py::test_i[3]" in result.out, result
