"""The processes that workers are forked from, and that start a run, end before they should: workers go on, others are started another way, and no
test is blamed that did not crash."""
import json
import os
import re
import signal
import time

import pytest

from faults import all_gone, children, of_role, stat_of, tree, wait_until
from test_run_faults import accounted, events_so_far

SUITE = """
    import time
    import pytest

    @pytest.mark.parametrize("i", range(%d))
    def test_sleeps(i):
        time.sleep(%s)
"""
# A thread that collection leaves keeps workers from being forked behind it.
WARM = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
WAYS = {"collected": ([], ""), "warm": ([], WARM)}
LONG = "import time\ntime.sleep(0.7)\n"  # a collection that is long enough for a host to be started beside it
ARGS = ["-p", "no:cacheprovider"]


class Run(object):
    """A run left running, of which a test has ended; its host and its collector by process id."""

    def __init__(self, project, way, *options, count=24, seconds=0.1, conftest="", until="test", hosted=True):
        own, kept = WAYS[way]
        if way == "collected" and hosted:
            kept += LONG
        self.project, self.way = project, way
        project.write(test_p=SUITE % (count, seconds), conftest=kept + conftest)
        project.count += 1
        self.jsonl = str(project.path / ("p%d.jsonl" % project.count))
        self.process = project.start("run", "--python", project.python, "--jsonl", self.jsonl, *(own + ["-n3"] + list(options) + ARGS))
        guard, = wait_until(lambda: children(self.process.pid), "the guard")
        agent, = wait_until(lambda: children(guard), "the agent")
        self.agent = agent
        self.collectors = wait_until(lambda: of_role(agent, "collector"), "the collector")
        if until:
            wait_until(lambda: [e for e in self.events() if e["event"] == until], "the event %s" % until)
        self.host = wait_until(lambda: of_role(agent, "host"), "the host")[0] if hosted else None
        self.processes = tree(self.process.pid)

    def events(self):
        return events_so_far(self.jsonl)

    def workers(self):
        return [e["pid"] for e in self.events() if e["event"] == "worker_up"]

    @property
    def collector(self):
        """The process that collected, where it is none of the workers."""
        return self.collectors[0] if self.way == "collected" else None

    def end(self):
        result = self.project.finish(self.process, self.jsonl)
        all_gone(self.processes)
        return result


def check_all_passed(result, count):
    end = accounted(result)
    assert result.rc == end["exit_status"] == 0, result
    assert (end["recorded"], end["not_run"]) == (count, 0), result
    assert set(result.outcomes.values()) == {"passed"} and result.summary == {"passed": count}, result


def causes(result):
    """The lines that say which process ended."""
    return [line for line in result.out.splitlines() if re.match(r"xd: warning: the (runner host|process that collects the tests) ", line)]


# ---- when there is a host at all

def plugs(role, what):
    """A sitecustomize that does `what` in the processes that the agent starts in this role."""
    return {"sitecustomize.py": "import os, sys\nif %r in sys.argv:\n    %s\n" % (role, what)}


def test_no_host_without_need(project):
    run = Run(project, "collected", hosted=False)
    workers = children(run.collector)
    took = (min(stat_of(pid)[2] for pid in workers) - stat_of(run.collector)[2]) / os.sysconf("SC_CLK_TCK")
    assert set(run.workers()) <= set(workers)
    assert of_role(run.agent, "host") == [] or took > 0.48, took  # on a machine that has much else to do
    check_all_passed(run.end(), 24)


@pytest.mark.parametrize("options", [["-n2", "--no-fork"], ["-n0"], ["-n1"]], ids=" ".join)
def test_no_host_beside_a_long_collection_that_needs_none(project, options):
    """Nothing may be forked from it, or there is one worker, which the collector forks or becomes."""
    project.write(test_p=SUITE % (2, 0), conftest=LONG, **plugs("host", "open('hosted', 'w').close()"))
    check_all_passed(project.run(*(options + ARGS), env=dict(PYTHONPATH=str(project.root))), 2)
    assert not (project.root / "hosted").exists()


@pytest.mark.parametrize("conftest", [LONG, WARM], ids=["long", "warm"])
def test_host_when_it_is_needed(project, conftest):
    project.write(test_p=SUITE % (4, 0.1), conftest=conftest, **plugs("host", "open('hosted', 'w').close()"))
    check_all_passed(project.run("-n2", *ARGS, env=dict(PYTHONPATH=str(project.root))), 4)
    assert (project.root / "hosted").exists()


def test_host_that_does_not_start(project):
    project.write(test_p=SUITE % (12, 0.1), conftest=WARM, **plugs("host", "os._exit(3)"))
    result = project.run("-n3", *ARGS, env=dict(PYTHONPATH=str(project.root)))
    check_all_passed(result, 12)
    line, = causes(result)
    assert "the runner host ended with status 3: workers go on, further ones are started without it" in line
    assert {e["way"] for e in result.events if e["event"] == "worker_up"} == {"warm", "fresh"}


def test_collector_that_does_not_start(project):
    project.write(test_p=SUITE % (1, 0), **plugs("collector", "print('no luck', file=sys.stderr, flush=True); os._exit(3)"))
    result = project.run("-n3", *ARGS, env=dict(PYTHONPATH=str(project.root)))
    assert result.rc == 6 and result.events[-1]["event"] == "run_end", result
    assert "the process that collects the tests (python with pytest) could not start: it ended with status 3; its last output:" in result.out, result
    assert "no luck" in result.out


def test_the_cache_is_kept_by_another_process_than_the_worker(project):
    """The collector becomes the first worker and crashes: what only it knew is still written."""
    project.write(conftest=WARM, test_p="""
        import os
        import pytest
        @pytest.mark.parametrize("i", range(6))
        def test_crashes(i):
            if i == 0:
                os.kill(os.getpid(), 11)
    """)
    result = project.run("-n2", "--max-worker-restart=2")
    assert result.rc == 1, result
    crashed = {e["worker"] for e in result.events if e["event"] == "worker_down" and not e["expected"]}
    up = {e["worker"]: e["pid"] for e in result.events if e["event"] == "worker_up"}
    assert crashed <= set(up) and len(up) == 3
    with open(str(project.root / ".pytest_cache" / "v" / "cache" / "lastfailed")) as f:
        assert json.load(f) == {"test_p.py::test_crashes[0]": True}


# ---- while a fork is under way

DIES_BEFORE = "import os\nos.register_at_fork(before=lambda: os.kill(os.getpid(), 9))\n"
DIES_AFTER = """import os
forks = []
def after():
    forks.append(1)
    if len(forks) == 2:
        os.kill(os.getpid(), 9)
os.register_at_fork(after_in_parent=after)
"""
# The worker that was forked lives, and the collector dies before it can name it.
DIES_AT_ONCE = "import os\nos.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), 9))\n"


@pytest.mark.parametrize("conftest", [DIES_BEFORE, DIES_AFTER, DIES_AT_ONCE], ids=["before", "second", "at-once"])
@pytest.mark.parametrize("options", [[], ["--max-worker-restart=0"]], ids=["", "no-restart"])
def test_collector_dies_in_a_fork(project, conftest, options):
    project.write(test_p=SUITE % (12, 0.1), conftest=conftest)
    result = project.run("-n3", *(options + ARGS))
    check_all_passed(result, 12)
    line, = causes(result)
    assert "was killed by SIGKILL: workers go on, further ones are started another way" in line
    notes = [e for e in result.events if e["event"] == "note" and "killed by SIGKILL" in e["text"]]
    assert len(notes) == 1
    assert "node down" not in result.out and "replacing crashed" not in result.out
    ways = {e["worker"]: e["way"] for e in result.events if e["event"] == "worker_up"}
    assert len(ways) >= 3 and "warm" in ways.values(), ways


def test_host_dies_in_a_fork(project):
    """Workers are to be forked from the host, which ends in the first fork: they are new processes."""
    project.write(test_p=SUITE % (12, 0.3), conftest=WARM, **{"sitecustomize.py": """
        import os, sys
        if "host" in sys.argv:
            os.register_at_fork(before=lambda: os.kill(os.getpid(), 9))
    """})
    result = project.run("-n3", *ARGS, env=dict(PYTHONPATH=str(project.root)))
    check_all_passed(result, 12)
    line, = causes(result)
    assert "the runner host was killed by SIGKILL" in line
    assert {e["way"] for e in result.events if e["event"] == "worker_up"} == {"warm", "fresh"}  # gw0 is the collector itself


def test_random_kills_of_the_collector_while_it_forks(project):
    """At twelve moments from the collection's end on, whatever is under way then."""
    for moment in range(12):
        run = Run(project, "collected", count=40, seconds=0.005, until="collected", hosted=False)
        time.sleep(0.003 * moment)
        try:
            os.kill(run.collector, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has done its work
        result = run.end()
        check_all_passed(result, 40)
        assert len(causes(result)) <= 1


# ---- while tests run

@pytest.mark.parametrize("way, whom", [("collected", "host"), ("collected", "collector"), ("collected", "both"), ("warm", "host")])
def test_killed_while_tests_run(project, way, whom):
    run = Run(project, way)
    for pid in [run.host] * (whom != "collector") + [run.collector] * (whom != "host"):
        os.kill(pid, signal.SIGKILL)
    result = run.end()
    check_all_passed(result, 24)
    named = causes(result)
    assert len([line for line in named if "runner host" in line]) == (whom != "collector"), result
    assert len([line for line in named if "process that collects" in line]) == (whom != "host"), result
    assert not [e for e in result.events if e["event"] == "worker_down" and not e["expected"]]


@pytest.mark.parametrize("whom", ["host", "collector", "both"])
def test_replacements_without_their_parents(project, whom):
    """Crashes behind the loss: each is blamed on its own test, with its own cause, and the next worker is started another way."""
    run = Run(project, "collected", count=6, seconds=0.1, conftest="""
import os, time
def pytest_runtest_call(item):
    if item.callspec.params["i"] in (2, 4):
        while not os.path.exists("lost"):
            time.sleep(0.01)
        os.kill(os.getpid(), 11)
""")
    for pid in [run.host] * (whom != "collector") + [run.collector] * (whom != "host"):
        os.kill(pid, signal.SIGKILL)
    all_gone({pid: run.processes[pid] for pid in [run.host] * (whom != "collector") + [run.collector] * (whom != "host")})
    wait_until(lambda: [e for e in run.events() if e["event"] == "note" and "killed by SIGKILL" in e["text"]], "the cause")
    (project.root / "lost").write_text("")
    result = run.end()
    end = accounted(result)
    assert result.rc == end["exit_status"] == 1 and end["not_run"] == 0, result
    crashed = {t["nodeid"]: t["crash"]["reason"] for t in result.tests if t["outcome"] == "crashed"}
    assert crashed == {"test_p.py::test_sleeps[2]": "killed by SIGSEGV", "test_p.py::test_sleeps[4]": "killed by SIGSEGV"}, result
    expected = {"host": "collected", "collector": "warm", "both": "fresh"}[whom]
    ways = {e["way"] for e in result.events if e["event"] == "worker_up" and e["replaces"]}
    assert ways <= {expected}, ways


def test_a_test_kills_the_parent_of_its_worker(project):
    """As the kernel's OOM killer may: the status is known, the workers' own ones too."""
    project.write(test_k="""
        import os, time
        def test_kills():
            os.kill(os.getppid(), 9)
            time.sleep(0.3)
    """, test_p=SUITE % (20, 0.05))
    result = project.run("-n3", *ARGS)
    check_all_passed(result, 21)
    assert len(causes(result)) == 1
    up = {e["worker"] for e in result.events if e["event"] == "worker_up"}
    downs = [e for e in result.events if e["event"] == "worker_down" and e["worker"] in up]
    assert len(downs) == len(up) >= 3 and all(e["expected"] and e["exit_status"] == 0 for e in downs), downs


# ---- before, and after

def test_host_killed_while_it_collects(project):
    """The collector needs it no more: the collection goes on, and its workers are its own."""
    run = Run(project, "collected", count=6, seconds=0.01, until=None, conftest="time.sleep(1)\n")
    os.kill(run.host, signal.SIGKILL)
    result = run.end()
    check_all_passed(result, 6)
    assert len(causes(result)) == 1


@pytest.mark.parametrize("whom", ["collector", "both"])
def test_collector_killed_while_it_collects(project, whom):
    run = Run(project, "collected", count=6, until=None, conftest="time.sleep(20)\n")
    for pid in [run.host] * (whom == "both") + run.collectors:
        os.kill(pid, signal.SIGKILL)
    result = run.end()
    assert result.rc == 6 and result.events[-1]["event"] == "run_end", result
    assert "the process that collects the tests was killed by SIGKILL" in result.out, result


LAST_WORDS = """
import os, time
def last_words(*args):
    with open("ending", "a") as f:
        f.write("%d\\n" % os.getpid())
    time.sleep(1)
    with open("ended", "a") as f:
        f.write("x")
"""
# A hook of a conftest that a session's end calls is one reason for the warm way.
AT_THE_END = {"collected": "def pytest_runtest_teardown(item):\n    if not hasattr(item.config, 'told'):\n"
                           "        item.config.told = item.config.add_cleanup(last_words)\n",
              "warm": "pytest_sessionfinish = last_words\n"}


@pytest.mark.parametrize("whom", ["host", "collector", "both"])
@pytest.mark.parametrize("way", sorted(AT_THE_END))
def test_killed_while_sessions_end(project, way, whom):
    run = Run(project, way, count=6, seconds=0.3, conftest=LAST_WORDS + AT_THE_END[way])
    wait_until(lambda: (project.root / "ending").exists() and len((project.root / "ending").read_text().split()) >= 3, "sessions that end")
    for pid in [run.host] * (whom != "collector") + [run.collector] * (whom != "host" and run.collector is not None):
        os.kill(pid, signal.SIGKILL)
    result = run.end()
    check_all_passed(result, 6)
    assert len((project.root / "ended").read_text()) >= 3
    assert {e["way"] for e in result.events if e["event"] == "worker_up"} == {way}
