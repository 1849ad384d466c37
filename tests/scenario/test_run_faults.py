"""Workers, agents and xdctl itself that die: who is blamed, what still runs, what is left behind."""
import json
import os
import re
import resource
import signal
import time

import pytest

from faults import all_gone, children, exit_code, living, tree, wait_until

CRASHES = """
    import ctypes, os, signal, sys
    import pytest

    def test_first(): pass

    def test_exits():
        os._exit(3)

    def test_between(): pass

    def test_segfault():
        ctypes.string_at(0)

    def test_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.fixture
    def dies_at_its_end():
        yield
        os._exit(5)

    def test_teardown(dies_at_its_end): pass

    def test_last(): pass
"""
BLAME = {"test_exits": "exited with status 3", "test_segfault": "killed by SIGSEGV", "test_killed": "killed by SIGKILL",
         "test_teardown": "exited with status 5"}
SLEEPERS = """
    import time
    import pytest

    @pytest.mark.parametrize("i", range(%d))
    def test_sleeps(i):
        time.sleep(%s)
"""


def events_so_far(path):
    """Whole lines of a jsonl file that is still written."""
    try:
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f.read().split("\n")[:-1]]
    except FileNotFoundError:
        return []


def start(project, *args, **more):
    """A run left running, and its jsonl; returns once a test has ended."""
    jsonl = str(project.path / "live.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-p", "no:cacheprovider", *args, **more)
    wait_until(lambda: any(e["event"] == "test" for e in events_so_far(jsonl)), "the first outcome")
    return process, jsonl


def accounted(result):
    """Every collected item has exactly one outcome, or is counted as not run."""
    collected = [e for e in result.events if e["event"] == "collected"][0]["count"]
    end = result.events[-1]
    assert end["event"] == "run_end"
    names = [t["nodeid"] for t in result.tests if t["outcome"] != "not_run"]
    assert len(names) == len(set(names)), names
    assert (end["collected"], end["recorded"], end["recorded"] + end["not_run"]) == (collected, len(names), collected)
    return end


def test_crash_is_blamed_on_its_test(project):
    project.write(test_c=CRASHES)
    result = project.run("-n2", "-p", "no:cacheprovider")
    assert result.rc == 1, result
    assert accounted(result)["not_run"] == 0
    assert result.outcomes == {"test_c.py::" + name: "crashed" if name in BLAME else "passed"
                               for name in re.findall(r"def (test_\w+)", CRASHES)}
    for test in result.tests:
        if test["outcome"] != "crashed":
            continue
        reason = BLAME[test["nodeid"].partition("::")[2]]
        assert test["crash"]["reason"] == reason
        assert "worker '%s' crashed while running '%s': %s" % (test["worker"], test["nodeid"], reason) in result.out
    downs = {e["nodeid"]: e for e in result.events if e["event"] == "worker_down" and not e["expected"]}
    assert {n.partition("::")[2]: d["reason"] for n, d in downs.items()} == BLAME
    replaced = {e["replaces"] for e in result.events if e["event"] == "worker_up" and e["replaces"]}
    assert len(replaced) >= 2 and replaced <= {d["worker"] for d in downs.values()}  # which worker meets which crash is open
    assert result.summary == {"crashed": 4, "passed": 3}
    assert "Fatal Python error: Segmentation fault" in result.out


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
@pytest.mark.parametrize("how", ["-s", "--capture=sys", "--capture=fd"])
def test_crash_shows_last_output(project, how, way):
    project.write(test_w="""
        import os, sys
        def test_before():
            print("old words")
        def test_words():
            print("some words" if sys.argv else "")
            sys.stdout.flush()
            os.write(2, b"last words \\x1b[31m\\n")
            os._exit(3)
    """)
    temporary = project.path / "temporary"
    temporary.mkdir()
    result = project.run(*(way + ["-n1", how]), env={"TMPDIR": str(temporary)})
    assert result.rc == 1, result
    crash, = [t for t in result.tests if t["outcome"] == "crashed"]
    assert crash["crash"]["exit_status"] == 3
    assert "last words" in crash["crash"]["last_output"]
    failures = result.out.partition("= FAILURES =")[2]
    assert "last words" in failures and "\x1b" not in result.out
    if how == "--capture=fd":
        assert crash["crash"]["last_output"].splitlines() == ["some words", "last words \x1b[31m"]
    assert not [name for name in os.listdir(str(temporary)) if name.startswith("xd-capture")]
    assert not [name for name in os.listdir(str(result.folder)) if name.startswith("gw")]


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_all_is_run_after_many_crashes(project, way):
    """Each crash costs a worker: the last one is replaced as often as the budget says."""
    project.write(test_m="""
        import os
        import pytest
        @pytest.mark.parametrize("i", range(6))
        def test_m(i):
            if i % 2:
                os._exit(i)
    """)
    result = project.run(*(way + ["-n1"]))
    assert result.rc == 1, result
    assert accounted(result)["not_run"] == 0
    assert sorted(result.outcomes.values()) == ["crashed"] * 3 + ["passed"] * 3
    assert sum(e["event"] == "worker_up" and e["replaces"] is not None for e in result.events) == 2
    assert sorted(t["crash"]["exit_status"] for t in result.tests if t["outcome"] == "crashed") == [1, 3, 5]


@pytest.mark.parametrize("budget", [0, 1])
def test_restart_budget(project, budget):
    project.write(test_b="""
        import os, time
        import pytest
        @pytest.mark.parametrize("i", range(8))
        def test_dies(i):
            os._exit(3)
    """)
    result = project.run("-n2", "--max-worker-restart=%d" % budget)
    end = accounted(result)
    crashed = 2 + budget
    assert (end["recorded"], end["not_run"]) == (crashed, 8 - crashed), result
    assert set(result.outcomes.values()) == {"crashed"}
    assert "maximum crashed workers reached" in result.out
    assert result.out.count("no worker is left to run the remaining tests") == 2  # when it happens, and at the end
    assert "%d of 8 tests were not run" % (8 - crashed) in result.out
    assert result.rc == end["exit_status"] == 6


@pytest.mark.parametrize("where", ["conftest.py", "test_d.py"])
@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_crash_in_collection(project, where, way):
    project.write(**{"test_d.py": "def test_d(): pass", where: """
        import os, sys
        with open("starts", "a") as f:
            f.write("x")
        os.write(2, b"dying now\\n")
        os._exit(9)
    """})
    begin = time.monotonic()
    result = project.run(*(way + ["-n2"]))
    assert time.monotonic() - begin < 20
    assert result.rc == 6, result
    assert (project.root / "starts").read_text() == "x"
    errors = [line for line in (result.out + result.err).splitlines() if "status 9" in line]
    assert len(errors) == 1, result
    assert result.tests == []


@pytest.mark.parametrize("whom", ["guard", "agent"])
def test_agent_killed(project, whom):
    project.write(test_s=SLEEPERS % (20, 0.3))
    process, jsonl = start(project, "-n2")
    processes = tree(process.pid)
    guard, = children(process.pid)
    victim = guard if whom == "guard" else children(guard)[0]
    os.kill(victim, signal.SIGKILL)
    result = project.finish(process, jsonl)
    del processes[process.pid]
    all_gone(processes)
    end = accounted(result)
    assert 0 < end["not_run"] < 20
    assert "lost popen: " in result.out
    assert "%d of 20 tests were not run" % end["not_run"] in result.out
    assert result.rc == end["exit_status"] == 6


def test_xdctl_killed(project):
    project.write(test_s=SLEEPERS % (60, 0.3) + """
    def test_deaf():
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    """)
    process, jsonl = start(project, "-n3")
    processes = tree(process.pid)
    assert len(processes) > 5
    process.kill()
    process.wait()
    all_gone(processes)
    recorded = [e for e in events_so_far(jsonl) if e["event"] == "test"]
    shown = project.xdctl("show", "latest")
    assert shown.rc == 7, shown
    found = re.search(r"the journal ends before the run did: (\d+) of 61 tests have an outcome", shown.out + shown.err)
    assert len(recorded) <= int(found.group(1)) < 61
    again = project.run("-n2", "-k", "test_sleeps and 1-")  # and the next run is as if nothing had been
    assert again.rc == 5, again


def test_stopped_worker_goes_on(project):
    project.write(test_s=SLEEPERS % (16, 0.1))
    process, jsonl = start(project, "-n2")
    worker = [e["pid"] for e in events_so_far(jsonl) if e["event"] == "worker_up"][0]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2)
    assert process.poll() is None and living({worker: tree(worker)[worker]})
    os.kill(worker, signal.SIGCONT)
    result = project.finish(process, jsonl)
    assert result.rc == 0, result
    assert accounted(result)["recorded"] == 16
    assert set(result.outcomes.values()) == {"passed"}


def test_worker_killed_from_outside(project):
    """While it sleeps in a test, and while it has none to run."""
    project.write(test_s=SLEEPERS % (2, 0) + """
    def test_long():
        time.sleep(10)
    """)
    process, jsonl = start(project, "-n2")
    wait_until(lambda: sum(e["event"] == "test" for e in events_so_far(jsonl)) == 2, "the end of the short tests")
    workers = wait_until(lambda: [w for w in [[e["pid"] for e in events_so_far(jsonl) if e["event"] == "worker_up"]] if len(w) == 2], "two workers")[0]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    result = project.finish(process, jsonl)
    assert result.rc == 1, result
    assert accounted(result)["not_run"] == 0
    assert result.outcomes == {"test_s.py::test_sleeps[0]": "passed", "test_s.py::test_sleeps[1]": "passed",
                               "test_s.py::test_long": "crashed"}


def test_processes_left_by_tests_end(project):
    """What a test started and forgot, a daemon with a session of its own too, does not outlive the run."""
    project.write(test_l="""
        import os, subprocess, sys
        def test_leaves():
            for own in (False, True):
                p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=own)
                with open("left", "a") as f:
                    f.write("%d\\n" % p.pid)
    """)
    result = project.run("-n2")
    assert result.rc == 0, result
    pids = [int(line) for line in (project.root / "left").read_text().split()]
    assert len(pids) == 2
    assert not living({pid: stat for pid in pids for stat in [tree(pid).get(pid)] if stat})
    assert exit_code(project.started[-1]) == 0


def test_journal_that_cannot_be_written(project):
    """Where a disk is full, or a limit is reached (here: of file sizes): it is said, the run ends soon, and nothing is called complete."""
    project.write(test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(400))
        def test_a(n): assert n < 0, "x" * 2000
        """)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, 256 * 1024))
    started = time.monotonic()
    result = project.run("--no-history", "-n2", "-p", "no:cacheprovider", preexec_fn=limit, env=dict(PYTHONDONTWRITEBYTECODE="1"))
    assert result.rc == 7 and time.monotonic() - started < 30, result
    assert "the journal cannot be written: " in result.err and "results are incomplete" in result.err, result
    assert len(result.err.splitlines()) <= 3, result


def test_stopped_agent_does_not_hold_up_who_wants_to_leave(project):
    project.write(test_s=SLEEPERS % (200, 0.2))
    process, jsonl = start(project, "-n2")
    processes = tree(process.pid)
    agents = [pid for pid in processes if b"xdagent" in open("/proc/%d/cmdline" % pid, "rb").read()]
    assert len(agents) == 2
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    result = project.finish(process, jsonl)
    assert result.rc == 2 and "popen: an agent does not answer and is abandoned" in result.out, result
    assert accounted(result)["exit_status"] == 2  # RUN_END is written all the same
    all_gone(processes)


def test_internal_error_of_a_worker(project):
    """What a hook raises outside of a test ends the run as with pytest: all of it is shown, and what else failed."""
    project.write(conftest="""
        def pytest_runtest_logfinish(nodeid):
            if "3" in nodeid: raise RuntimeError("from hook")
        """, test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(12))
        def test_a(n): assert n != 1, "its own"
        """)
    result = project.run("-n1")
    assert result.rc == project.plain().rc == 3, result
    assert "INTERNALERROR> RuntimeError: from hook" in result.out and "! internal error: RuntimeError: from hook !" in result.out
    assert "AssertionError: its own" in result.out and "8 of 12 tests were not run" in result.out, result


def test_hook_that_fails_behind_the_collection(project):
    project.write(conftest="def pytest_report_collectionfinish(config): raise RuntimeError('from hook')\n", test_a="def test_a(): pass\n")
    result = project.run("-n2")
    assert result.rc == project.plain().rc == 3, result
    assert result.out.count("INTERNALERROR> RuntimeError: from hook\n") == result.out.count("! internal error: RuntimeError: from hook !") == 1, result
    assert result.out.count("RuntimeError: from hook") == 2, result


def test_what_failed_before_a_crash_is_not_lost(project):
    project.write(test_a="""
        import os, pytest
        @pytest.fixture
        def dies():
            yield
            os._exit(3)
        def test_a(dies, record_property):
            record_property("p", "q")
            print("heard")
            assert 0, "its own failure"
        def test_b(): pass
        """)
    result = project.run("-n1", "--junitxml=j.xml")
    assert result.rc == 1 and result.summary == {"failed": 1, "crashed": 1, "passed": 1}, result
    assert "AssertionError: its own failure" in result.out and "heard" in result.out and "exited with status 3" in result.out
    test = result.tests[0]
    assert test["outcome"] == "crashed" and [r["category"] for r in test["reports"]] == ["failed", "crashed"]
    junit = (project.root / "j.xml").read_text()
    assert 'tests="2"' in junit and "its own failure" in junit and "exited with status 3" in junit


def test_crash_while_collecting_names_the_file(project):
    project.write(**{"tests/test_a.py": "def test_a(): pass\n", "tests/test_b.py": "import os, sys\nprint('said while importing')\nsys.stdout.flush()\nos._exit(0)\n"})
    for options in ([], ["-s"], ["-p", "no:faulthandler"]):
        result = project.run("-n2", *options)
        assert result.rc == 6 and "ended with status 0 while it collected tests/test_b.py" in result.out and "said while importing" in result.out, result


def test_crash_while_collecting_before_the_agent_has_looked(project):
    """What is captured has no name but one in /proc, which goes with the process: an agent that is slow must not miss it."""
    project.write(conftest="""
        import os, signal, subprocess
        def pytest_sessionstart(session):
            pid = os.getppid()
            while open("/proc/%d/comm" % pid).read().strip() != "xdagent":
                pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
            subprocess.Popen(["sh", "-c", "sleep 0.5; kill -CONT %d" % pid], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            os.kill(pid, signal.SIGSTOP)
        """, **{"tests/test_b.py": "import os, sys\nprint('said while importing')\nsys.stdout.flush()\nos._exit(0)\n"})
    result = project.run("-n2")
    assert result.rc == 6 and "ended with status 0 while it collected tests/test_b.py" in result.out and "said while importing" in result.out, result


@pytest.mark.parametrize("hook, plain", [("pytest_sessionfinish(session)", -6), ("pytest_unconfigure(config)", -6)])
def test_crash_behind_the_last_test(project, hook, plain):
    project.write(conftest="import os\ndef %s: os.abort()\n" % hook, test_a="def test_a(): pass\ndef test_b(): pass\n")
    result = project.run("-n2")
    assert result.rc == 1 and "killed by SIGABRT" in result.out and result.summary == {"passed": 2}, result
    assert project.plain().rc == plain


def test_threads_that_are_no_daemons_are_waited_for(project):
    project.write(test_a="""
        import threading, time
        def late():
            time.sleep(0.7)
            open("written", "a").write("x")
        def test_a(): threading.Thread(target=late).start()
        """)
    assert project.run("-n2").rc == 0
    assert (project.root / "written").read_text() == "x"


def test_last_words_of_a_watchdog(project):
    """pytest-timeout, method thread: another thread writes all stacks to pytest's terminal, and ends the process."""
    project.write(test_a="""
        import os, threading, time

        def test_slow(request):
            def end():
                print("not the test's report")
                request.config.get_terminal_writer().sep("+", title="Timeout")
                request.config.get_terminal_writer().line("stack of \\N{SNOWMAN}")
                os._exit(1)
            request.config.get_terminal_writer().line("of the test itself")
            threading.Timer(0.1, end).start()
            time.sleep(60)
        """)
    result = project.run("-n1")
    assert result.rc == 1 and result.summary == {"crashed": 1}
    assert "+ Timeout +" in result.out and "stack of \N{SNOWMAN}" in result.out and "of the test itself" not in result.out.split("FAILURES")[0], result
