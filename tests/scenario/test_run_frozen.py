"""An agent that is stopped, or a machine that is frozen, while nothing is asked of it: its environment is given up.  Nobody else's standstill counts."""
import os
import re
import signal
import time

import pytest

from faults import Terminal, all_gone, children, tree, wait_until
from test_run_faults import events_so_far

# The first test of each worker holds it until the file is there.
SUITE = """
    import os, time
    import pytest

    @pytest.mark.parametrize("i", range(4))
    def test_waits(i):
        open("started%d-%d" % (i, os.getpid()), "w").close()
        while not os.path.exists("go"):
            time.sleep(0.02)
"""
TWO = ["--tx", "popen//env:WHICH=1", "--tx", "popen//env:WHICH=2"]
SILENT = r"the agent is silent: for \d+ s it has not (answered|acknowledged its commands)"


def start(project, *options):
    project.write(test_f=SUITE)
    return project.start("run", "--python", project.python, "-p", "no:cacheprovider", *options)


def two_run(project):
    wait_until(lambda: len(list(project.root.glob("started*"))) >= 2, "two running tests")


def agents(process):
    return [children(guard)[0] for guard in children(process.pid)]


@pytest.mark.parametrize("guard", [False, True], ids=["agent", "guard and agent"])
def test_a_frozen_agent_ends_the_run(project, guard):
    process = start(project, "-n2", "--agent-timeout", "2s")
    two_run(project)
    ours = tree(process.pid)
    agent, = agents(process)
    for pid in [agent] + (children(process.pid) if guard else []):
        os.kill(pid, signal.SIGSTOP)
    result = project.finish(process)
    assert result.rc == 6, result
    assert len(re.findall(SILENT, " ".join(result.out.split()))) == 1, result
    all_gone(ours)


def test_others_go_on_without_it(project):
    process = start(project, *(TWO + ["--agent-timeout", "2s"]))
    two_run(project)
    os.kill(agents(process)[0], signal.SIGSTOP)
    assert len(children(process.pid)) == 2
    wait_until(lambda: len(children(process.pid)) == 1, "the end of the frozen agent's processes", 30)
    (project.root / "go").touch()
    result = project.finish(process)
    assert result.rc == 0 and result.summary["passed"] == 4, result
    assert re.search(SILENT, " ".join(result.out.split())), result


@pytest.mark.parametrize("limit", ["1s", "none"])
def test_quiet_tests_are_no_silence(project, limit):
    """Tests that run and say nothing for longer than the limit."""
    process = start(project, "-n2", "--agent-timeout", limit)
    two_run(project)
    time.sleep(4)
    assert process.poll() is None
    (project.root / "go").touch()
    result = project.finish(process)
    assert result.rc == 0 and result.summary == {"passed": 4}, result


@pytest.mark.parametrize("everyone", [False, True], ids=["xdctl", "all"])
def test_a_controller_that_was_stopped(project, everyone):
    """Ctrl-Z of another program, a debugger, a frozen machine: how long xdctl itself stood still says nothing about agents."""
    process = start(project, "-n2", "--agent-timeout", "1s")
    two_run(project)
    ours = list(tree(process.pid)) if everyone else [process.pid]
    for round in range(2):
        for pid in ours:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        for pid in ours:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
    (project.root / "go").touch()
    result = project.finish(process)
    assert result.rc == 0 and result.summary == {"passed": 4}, result


def test_a_paused_run(project):
    project.write(test_f=SUITE)
    t = Terminal(project, "run", "-n2", "--agent-timeout", "1s", "--python", project.python, "-p", "no:cacheprovider")
    two_run(project)
    t.press(b"\x1a")
    wait_until(lambda: os.waitid(os.P_PID, t.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), "the stop")
    time.sleep(4)
    (project.root / "go").touch()
    os.kill(t.process.pid, signal.SIGCONT)
    assert t.end() == 0, t.output[-2000:]
    assert b"4 passed" in t.output


def test_an_idle_agent_is_asked_too(project):
    """One without an item left, which waits for the others."""
    project.write(test_f="""
        import os, time

        def test_waits():
            open("started-%d" % os.getpid(), "w").close()
            while not os.path.exists("go"):
                time.sleep(0.02)
    """)
    jsonl = str(project.path / "live.jsonl")
    process = project.start("run", "--python", project.python, "-p", "no:cacheprovider", "--agent-timeout", "2s", "--jsonl", jsonl, *TWO)
    wait_until(lambda: list(project.root.glob("started*")), "the test")
    wait_until(lambda: sum(e["event"] == "worker_up" for e in events_so_far(jsonl)) == 2, "both workers: an environment that was lost before it had one is a reason for exit code 6")
    running = int(list(project.root.glob("started*"))[0].name.partition("-")[2])
    assert len(agents(process)) == 2
    idle, = [agent for agent in agents(process) if running not in tree(agent)]
    os.kill(idle, signal.SIGSTOP)
    wait_until(lambda: len(children(process.pid)) == 1, "the end of the frozen agent's processes", 30)
    (project.root / "go").touch()
    result = project.finish(process)
    assert result.rc == 0 and result.summary["passed"] == 1, result
    assert re.search(SILENT, " ".join(result.out.split())), result
