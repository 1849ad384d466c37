"""Ctrl-C once, twice, three times; Ctrl-Z; TERM, HUP, QUIT: what still runs, what is reported, what is left behind."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import XDCTL, junit_cases
from faults import Terminal, all_gone, children, exit_code, kill_at_once, living, stat_of, tree, wait_until
from test_run_faults import SLEEPERS, accounted, events_so_far

# Each running test says so in a file, and when it was let to its end.
SUITE = """
    import os, time
    import pytest

    def mark(name):
        open(name, "w").close()

    def test_quick(): pass

    @pytest.mark.parametrize("i", range(%d))
    def test_slow(i):
        mark("begun%%d" %% i)
        time.sleep(%s)
        mark("ended%%d" %% i)
"""
ARGS = ["-n2", "-p", "no:cacheprovider", "--junitxml=report.xml"]


class Interrupted(object):
    """A run on a terminal, in which both workers are inside a slow test."""

    def __init__(self, project, seconds, *options, count=6):
        self.project = project
        project.write(test_i=SUITE % (count, seconds))
        self.jsonl = str(project.path / "i.jsonl")
        self.terminal = Terminal(project, "run", "--python", project.python, "--jsonl", self.jsonl, *(list(options) + ARGS))
        wait_until(lambda: len(self.marks("begun")) == 2, "two tests that run")
        self.processes = tree(self.terminal.process.pid)

    def marks(self, what):
        return sorted(name[5:] for name in os.listdir(str(self.project.root)) if name.startswith(what))

    def running(self):
        return ["test_i.py::test_slow[%s]" % i for i in self.marks("begun")]

    def end(self, seconds=30):
        from conftest import Result
        rc = self.terminal.end(seconds)
        result = Result(rc, self.terminal.output.decode(errors="replace"), "", None, self.jsonl)
        all_gone(self.processes)
        return result


def check_interrupted(run, result, nodeids):
    """Terminal, JUnit XML and JSON lines name what was running, where and for how long."""
    named = {e["nodeid"]: e for e in result.events if e["event"] == "interrupted"}
    assert sorted(named) == sorted(nodeids)
    lines = re.findall(r"xd: warning: interrupted while running: (\S+) \((gw\d+), for ([\d.msh]+)\)", result.out)
    assert sorted((nodeid, worker) for nodeid, worker, _ in lines) == sorted((n, e["worker"]) for n, e in named.items()), result
    cases = {c.get("name"): c for c in ElementTree.parse(str(run.project.root / "report.xml")).getroot().iter("testcase")}
    for nodeid, event in named.items():
        assert 0 < event["duration"] < 60
        case = cases[nodeid.split("::")[1]]
        error, = case.findall("error")
        assert error.get("message") == "interrupted while running" and nodeid in error.text and "'%s'" % event["worker"] in error.text
        assert abs(float(case.get("time")) - event["duration"]) < 0.01
    suite = ElementTree.parse(str(run.project.root / "report.xml")).getroot().find("testsuite")
    assert int(suite.get("errors")) == len(nodeids) and int(suite.get("tests")) == len(cases)


def check_reports(run, result, outcomes, interrupted=()):
    end = accounted(result)
    check_interrupted(run, result, interrupted)
    assert result.rc == end["exit_status"] == 2
    assert "!! KeyboardInterrupt !!" in result.out
    assert result.outcomes == outcomes
    assert len(junit_cases(run.project.root / "report.xml")) == len(outcomes) + len(interrupted)
    shown = run.project.xdctl("show", "latest")
    assert shown.rc == 2 and "!! KeyboardInterrupt !!" in shown.out


def test_ctrl_c_once_lets_running_tests_end(project):
    run = Interrupted(project, 2)
    run.terminal.press(b"\x03")
    run.terminal.wait_for(b"Ctrl-C again kills them")
    result = run.end()
    begun = run.marks("begun")
    assert len(begun) <= 4  # at most one more for each worker
    assert begun == run.marks("ended")
    outcomes = {"test_i.py::test_slow[%s]" % i: "passed" for i in begun}
    outcomes["test_i.py::test_quick"] = "passed"
    check_reports(run, result, outcomes)
    assert "%d passed" % len(outcomes) in result.out


def test_ctrl_c_once_and_the_grace_is_over(project):
    run = Interrupted(project, 60, "--grace=1s")
    begin = time.monotonic()
    run.terminal.press(b"\x03")
    result = run.end()
    assert 1 <= time.monotonic() - begin < 15
    assert run.marks("ended") == []
    check_reports(run, result, {"test_i.py::test_quick": "passed"}, run.running())


def test_ctrl_c_twice_kills(project):
    run = Interrupted(project, 60)
    begin = time.monotonic()
    run.terminal.press(b"\x03")
    run.terminal.wait_for(b"Ctrl-C again kills them")
    assert run.terminal.process.poll() is None
    run.terminal.press(b"\x03")
    result = run.end()
    assert time.monotonic() - begin < 9  # the grace is 10 s
    assert run.marks("ended") == []
    check_reports(run, result, {"test_i.py::test_quick": "passed"}, run.running())


def test_ctrl_c_three_times_leaves(project):
    """The agent is held still, so that only the third can end xdctl."""
    run = Interrupted(project, 60)
    wait_until(lambda: "test_quick" in open(run.jsonl).read(), "the result of the quick test")
    held = [pid for pid in run.processes if os.path.basename(os.readlink("/proc/%d/exe" % pid)) == "xdagent"]
    assert len(held) == 2
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    run.terminal.press(b"\x03")
    run.terminal.wait_for(b"Ctrl-C again kills them")
    run.terminal.press(b"\x03")
    time.sleep(0.5)
    assert run.terminal.process.poll() is None
    begin = time.monotonic()
    run.terminal.press(b"\x03")
    assert run.terminal.end() == 2
    assert time.monotonic() - begin < 5
    for pid in held:
        with contextlib.suppress(ProcessLookupError):  # the first that goes on may have ended the other
            os.kill(pid, signal.SIGCONT)
    all_gone(run.processes)
    shown = project.xdctl("show", "latest")
    assert shown.rc == 7, shown
    assert "the journal ends before the run did: 1 of 7 tests" in shown.out + shown.err


@pytest.mark.parametrize("where", ["conftest.py", "test_c.py"])
def test_ctrl_c_while_it_collects(project, where):
    project.write(**{"test_c.py": "def test_c(): pass", where: """
        import time
        open("begun", "w").close()
        time.sleep(60)
    """})
    terminal = Terminal(project, "run", "--python", project.python, *ARGS)
    wait_until(lambda: (project.root / "begun").exists(), "the start of the collection")
    processes = tree(terminal.process.pid)
    begin = time.monotonic()
    terminal.press(b"\x03")
    terminal.wait_for(b"Ctrl-C again kills them")
    terminal.press(b"\x03")
    assert terminal.end() == 2
    assert time.monotonic() - begin < 10
    all_gone(processes)


def test_ctrl_c_while_it_collects_blames_nobody(project):
    """The agent itself has changed the page that it shares with the processes of the suite."""
    project.write(test_c="""
        import os, time
        open("begun", "w").close()
        while not os.path.exists("go"): time.sleep(0.01)
        def test_c(): pass
    """)
    terminal = Terminal(project, "run", "--python", project.python, "--grace=30s", *ARGS)
    wait_until(lambda: (project.root / "begun").exists(), "the start of the collection")
    terminal.press(b"\x03")
    terminal.wait_for(b"Ctrl-C again kills them")
    time.sleep(1.5)  # the agent looks at the page once a second
    (project.root / "go").touch()
    assert terminal.end() == 2 and b"wrote over the memory" not in terminal.output, terminal.output


def stopped(pid):
    stat = stat_of(pid)
    return stat and stat[1] == "T"


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_ctrl_z_stops_all_and_goes_on(project, way):
    project.write(test_z=SLEEPERS % (20, 0.2))
    jsonl = str(project.path / "z.jsonl")
    terminal = Terminal(project, "run", "--python", project.python, "--jsonl", jsonl, *(way + ARGS))
    xdctl = terminal.process.pid

    def done():
        return [e for e in events_so_far(jsonl) if e["event"] == "test"]

    wait_until(lambda: len(done()) >= 2, "two tests that have ended")
    terminal.press(b"\x1a")
    wait_until(lambda: stopped(xdctl), "xdctl stopped")
    workers = [e["pid"] for e in events_so_far(jsonl) if e["event"] == "worker_up"]
    wait_until(lambda: all(stopped(pid) for pid in workers), "workers stopped")
    before = len(done())
    time.sleep(1)
    assert len(done()) == before < 20
    assert all(stopped(pid) for pid in workers + [xdctl])
    os.kill(xdctl, signal.SIGCONT)
    assert terminal.end() == 0
    assert sorted(e["outcome"] for e in done()) == ["passed"] * 20


def test_ctrl_z_then_ctrl_c(project):
    """Stopped workers hear of the end, too."""
    run = Interrupted(project, 3)
    run.terminal.press(b"\x1a")
    wait_until(lambda: stopped(run.terminal.process.pid), "xdctl stopped")
    os.kill(run.terminal.process.pid, signal.SIGCONT)
    run.terminal.press(b"\x03")
    result = run.end()
    assert result.rc == 2
    assert run.marks("begun") == run.marks("ended")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signal_drains(project, name):
    """Without a terminal; the agent is in a group of its own, so the group's signal is ours alone."""
    project.write(test_i=SUITE % (6, 2))
    jsonl = str(project.path / "s.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, *ARGS, start_new_session=True)
    wait_until(lambda: (project.root / "begun0").exists() or (project.root / "begun3").exists(), "a test that runs")
    processes = tree(process.pid)
    os.killpg(process.pid, getattr(signal, name))
    result = project.finish(process, jsonl)
    assert accounted(result)["exit_status"] == result.rc == 2, result
    all_gone(processes)
    marks = os.listdir(str(project.root))
    assert [m[5:] for m in sorted(marks) if m.startswith("begun")] == [m[5:] for m in sorted(marks) if m.startswith("ended")]
    assert "!! KeyboardInterrupt !!" in result.out and len(junit_cases(project.root / "report.xml")) >= 1


@pytest.mark.parametrize("agent", ["exec sleep 100", "trap '' HUP TERM; while :; do sleep 1; done"], ids=["silent", "deaf"])
def test_ctrl_c_while_an_agent_is_dialled(project, agent):
    """What takes its place says nothing and does not see the end of its pipe: the user does not wait for it."""
    program = project.path / "agent"
    program.write_text("#!/bin/sh\necho $$ > '%s/pid.new'; mv '%s/pid.new' '%s/pid'\n%s\n" % ((project.path,) * 3 + (agent,)))
    program.chmod(0o755)
    project.write(test_one="def test_one(): pass")
    process = project.start("run", "--python", project.python, "--agent", str(program), *ARGS)
    wait_until(lambda: (project.path / "pid").exists(), "the agent's program")
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert exit_code(process) == 2
    assert time.monotonic() - begin < 3  # 0.3 s for the program, and the end of xdctl on a busy machine
    pid = int((project.path / "pid").read_text())
    wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the end of the program")


def test_sigquit_kills_at_once(project):
    project.write(test_i=SUITE % (6, 60))
    process = project.start("run", "--python", project.python, *ARGS)
    wait_until(lambda: any(n.startswith("begun") for n in os.listdir(str(project.root))), "a test that runs")
    processes = tree(process.pid)
    begin = time.monotonic()
    process.send_signal(signal.SIGQUIT)
    assert exit_code(process) == 2
    assert time.monotonic() - begin < 9
    assert not living(processes)


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_killed_run_names_its_culprit(project, way):
    """xdctl itself is killed: the journal tells which tests were running, for at least how long, and `show` and `report` say so."""
    project.write(test_i=SUITE % (6, 60))
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, *(way + ARGS))
    wait_until(lambda: len({e["nodeid"] for e in events_so_far(jsonl) if e["event"] == "still_running"}) == 2, "two tests that run for a second")
    processes = tree(process.pid)
    process.kill()
    process.wait()
    all_gone(processes, 35)
    named = {e["nodeid"]: e["worker"] for e in events_so_far(jsonl) if e["event"] == "still_running"}
    assert len(named) == 2
    shown = project.xdctl("show", "latest")
    assert shown.rc == 7
    lines = re.findall(r"xd: warning: was still running: (\S+) \((gw\d), for at least [1-9][\d.]*s\)", shown.out)
    assert dict(lines) == named and len(lines) == 2, shown
    made = project.xdctl("report", "junit", "latest")
    errors = [e for e in ElementTree.fromstring(made.out).iter("error") if e.get("message") == "interrupted while running"]
    assert len(errors) == 2 and all("after at least" in e.text for e in errors), made


def test_killed_run_names_what_had_just_begun(project):
    """The journal has none of them so far: the agent tells, beside it, what ran when xdctl was killed."""
    project.write(test_i="""
        import os, time
        def test_first(): run("a", "b")
        def test_second(): run("b", "a")
        def run(name, other):
            open(name, "w").close()
            while not os.path.exists(other): time.sleep(0.001)
            os.kill(int(os.environ["VICTIM"]), 9) if name == "a" else None
            time.sleep(60)
        """)
    # The one that is killed is known before it starts: a shell that becomes xdctl.
    jsonl = str(project.path / "k.jsonl")
    process = subprocess.Popen(["sh", "-c", 'VICTIM=$$ exec "$0" "$@"', XDCTL, "run", "--python", project.python, "--jsonl", jsonl] + ARGS, cwd=str(project.root),
                               env=project.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    project.started.append(process)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not [e for e in events_so_far(jsonl) if e["event"] == "still_running"]
    files = wait_until(lambda: [f for f in os.listdir(str(project.latest())) if f.endswith(".last")], "the agent's last words")
    shown = project.xdctl("show", "latest")
    lines = re.findall(r"xd: warning: was still running: test_i.py::(\S+) \((gw\d), for at least ([\d.]+m?s)\)", shown.out)
    assert (shown.rc, files) == (7, ["env-0.last"]) and {line[0] for line in lines} == {"test_first", "test_second"} and len({line[1] for line in lines}) == 2, shown
    made = project.xdctl("report", "junit", "latest")
    assert len([e for e in ElementTree.fromstring(made.out).iter("error") if e.get("message") == "interrupted while running"]) == 2, made


LAST_FAILED = """
    import os, time
    import pytest

    def test_passes(): pass
    def test_fails(): assert os.path.exists("repaired")
    @pytest.fixture
    def broken():
        yield
        assert os.path.exists("repaired")
    def test_breaks_at_its_end(broken): pass
    def test_crashes():
        if not os.path.exists("repaired"):
            os._exit(3)
    def test_runs():
        if not os.path.exists("repaired"):
            open("begun", "w").close()
            time.sleep(60)
    def test_comes_last(): pass
"""
WAYS_OF_WORKERS = {
    "collected": "",
    "warm": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
}


@pytest.mark.parametrize("way", sorted(WAYS_OF_WORKERS))
@pytest.mark.parametrize("killed", ["xdctl", "guard"])
def test_last_failed_after_a_killed_run(project, way, killed):
    """pytest's own cache knows what failed until then, of this run and of those before: --lf of xdctl and of plain pytest."""
    project.write(test_l=LAST_FAILED, test_o="def test_old(): pass", conftest=WAYS_OF_WORKERS[way])
    cache = project.root / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text(json.dumps({"test_o.py::test_gone": True, "test_l.py::test_passes": True, "test_l.py::test_comes_last": True}))
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n1", "test_l.py")
    wait_until(lambda: (project.root / "begun").exists(), "the long test")
    wait_until(lambda: sum(e["event"] == "test" for e in events_so_far(jsonl)) == 4, "four results")
    assert {e["way"] for e in events_so_far(jsonl) if e["event"] == "worker_up"} <= {"collected", "warm", "fresh"}
    processes = tree(process.pid)
    os.kill(process.pid if killed == "xdctl" else children(process.pid)[0], signal.SIGKILL)
    process.communicate()
    all_gone(processes, 35)
    failed = {"test_l.py::test_fails", "test_l.py::test_breaks_at_its_end", "test_l.py::test_crashes"}
    known = json.loads((cache / "lastfailed").read_text())
    assert set(known) == failed | {"test_o.py::test_gone", "test_l.py::test_comes_last"}, known
    (project.root / "repaired").write_text("")
    again = project.run("--lf", "-n1")
    assert set(again.outcomes) == failed | {"test_l.py::test_comes_last"} and again.rc == 0, again


@pytest.mark.parametrize("options", [[], ["--no-fork"]], ids=["forked", "fresh"])
@pytest.mark.parametrize("killed", ["xdctl", "all"])
def test_last_failed_from_the_journal(project, options, killed):
    """Where nobody was left that could write pytest's cache, the next run reads the journal."""
    project.write(test_l=LAST_FAILED, test_o="def test_old(): pass")
    cache = project.root / ".pytest_cache" / "v" / "cache" / "lastfailed"
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, *(options + ["-n1", "test_l.py"]))
    wait_until(lambda: (project.root / "begun").exists(), "the long test")
    wait_until(lambda: sum(e["event"] == "test" for e in events_so_far(jsonl)) == 4, "four results")
    processes = tree(process.pid)
    kill_at_once([process.pid] if killed == "xdctl" else processes)
    process.communicate()
    all_gone(processes, 35)
    assert killed == "xdctl" or not cache.exists()
    failed = {"test_l.py::test_fails", "test_l.py::test_breaks_at_its_end", "test_l.py::test_crashes"}
    (project.root / "repaired").write_text("")
    again = project.run("--lf", "-n1")
    assert set(again.outcomes) == failed and again.rc == 0, again
    assert json.loads(cache.read_text()) == {}
    assert all((project.root / ".pytest_cache" / name).exists() for name in (".gitignore", "CACHEDIR.TAG"))
    assert len(project.run("--lf", "-n1").outcomes) == 7  # nothing is recovered twice


@pytest.mark.parametrize("killed", ["xdctl", "all"])
def test_last_failed_of_the_second_environment(project, killed):
    """Each environment fails in four tests and hangs in its fifth, however late the other one is."""
    project.write(test_l="""
        import os, time
        import pytest
        ran = []
        @pytest.mark.parametrize("i", range(10))
        def test_it(i):
            if os.path.exists("repaired"):
                return
            ran.append(i)
            if len(ran) == 5:
                open("begun" + os.environ["WHICH"], "w").close()
                time.sleep(60)
            assert False
        """)
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "--tx=popen//env:WHICH=a", "--tx=popen//env:WHICH=b")
    wait_until(lambda: all((project.root / ("begun" + which)).exists() for which in "ab"), "a long test in each environment")
    done = wait_until(lambda: [t for t in [[e for e in events_so_far(jsonl) if e["event"] == "test"]] if len(t) == 8], "eight results")[0]
    assert sorted(e["worker"] for e in done) == ["gw0"] * 4 + ["gw1"] * 4
    processes = tree(process.pid)
    kill_at_once([process.pid] if killed == "xdctl" else processes)
    process.communicate()
    all_gone(processes, 35)
    (project.root / "repaired").write_text("")
    again = project.run("--lf", "-n1")
    assert set(again.outcomes) == {e["nodeid"] for e in done} and again.rc == 0, again


@pytest.mark.parametrize("option", ["--lf", "--ff"])
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_last_failed_with_a_cache_elsewhere(project, workers, option):
    """The folder is that of the ini file; the next run is started from a folder below, with another order of the files."""
    project.write(**{"pytest.ini": "[pytest]\ncache_dir = made/cache\ntestpaths = tests\n", "tests/test_a.py": "def test_a(): pass\n", "tests/test_l.py": """
        import os, time
        def test_fails(): assert os.path.exists(os.environ["REPAIRED"])
        def test_runs():
            if not os.path.exists(os.environ["REPAIRED"]):
                open(os.environ["REPAIRED"] + ".begun", "w").close()
                time.sleep(60)
        """})
    env = dict(REPAIRED=str(project.path / "repaired"))
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, workers, env=env)
    wait_until(lambda: (project.path / "repaired.begun").exists() and sum(e["event"] == "test" for e in events_so_far(jsonl)) == 2, "two results, and the long test")
    processes = tree(process.pid)
    kill_at_once(processes)
    process.communicate()
    all_gone(processes, 35)
    (project.path / "repaired").write_text("")
    again = project.run(option, "-n1", env=env, cwd=str(project.root / "tests"))
    assert again.rc == 0 and again.tests[0]["nodeid"] == "tests/test_l.py::test_fails" and len(again.tests) == (1 if option == "--lf" else 3), again
    assert (project.root / "made" / "cache" / "v" / "cache" / "lastfailed").exists() and not (project.root / ".pytest_cache").exists()


def test_last_failed_of_a_later_session(project):
    """What a session found after the run that was cut off is newer than its journal."""
    project.write(test_l=LAST_FAILED)
    jsonl = str(project.path / "k.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n1")
    wait_until(lambda: sum(e["event"] == "test" for e in events_so_far(jsonl)) == 4, "four results")
    processes = tree(process.pid)
    kill_at_once(processes)
    process.communicate()
    all_gone(processes, 35)
    (project.root / "repaired").write_text("")
    subprocess.run([project.python, "-m", "pytest", "-q", "-p", "no:xdist"], cwd=str(project.root), env=project.environment(), check=True, stdout=subprocess.DEVNULL)
    assert len(project.run("--lf", "-n1").outcomes) == 6
