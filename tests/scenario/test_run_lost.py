"""An environment whose agent dies: what ran there is known, runs once more elsewhere, and is lost when that one dies of it, too."""
import collections

import pytest

from conftest import junit_cases

AGENTS = '''
    import os, signal, time, pytest
    def parent(pid):
        return int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
    def agents():
        """The agent this process belongs to, and its guard."""
        pid, found = os.getpid(), []
        while pid > 1:
            if open("/proc/%d/comm" % pid).read() == "xdagent\\n": found.append(pid)
            pid = parent(pid)
        return found
    def kill_agent():
        os.kill(agents()[0], signal.SIGKILL)
        time.sleep(60)
    def kill_guard():
        os.kill(agents()[1], signal.SIGKILL)
        time.sleep(60)
    def kill_both():
        """At the same moment: neither can tell what ran."""
        agent, guard = agents()[:2]  # above them may be those of the run that this is a test in
        os.kill(agent, signal.SIGSTOP)
        os.kill(guard, signal.SIGKILL)
        os.kill(agent, signal.SIGKILL)
        time.sleep(60)
    def note(what):
        with open(os.environ["XD_LOG"], "a") as f: f.write(what + "\\n")
'''
PYTHONS = ["--tx=popen//env:WHERE=%s" % name for name in "abc"]


def run(project, *args):
    log = project.path / "log"
    result = project.run(*(list(args) or PYTHONS), "--python", project.python, "--", "-v", "--junitxml=%s" % (project.path / "out.xml"), python=False, env={"XD_LOG": str(log)})
    return result, collections.Counter(log.read_text().splitlines())


@pytest.mark.parametrize("how", ["kill_agent", "kill_guard"])
def test_a_test_that_kills_its_agent_takes_two_environments_at_most(project, how):
    project.write(agents=AGENTS, test_it='''
        import pytest, time
        from agents import *
        @pytest.mark.parametrize("n", range(30))
        def test_good(n): note("good %%d" %% n); time.sleep(0.02)
        def test_kills(): note("kills"); %s()
    ''' % how)
    result, starts = run(project)
    assert result.rc == 1, result
    assert starts["kills"] == 2, starts
    kills = [test for test in result.outcomes if "kills" in test]
    assert result.outcomes.pop("test_it.py::test_kills") == "lost" and len(kills) == 1
    assert len(result.outcomes) - 1 == 30 and {o for t, o in result.outcomes.items() if "good" in t} == {"passed"}, result
    notes = [e["text"] for e in result.events if e["event"] == "note" and "test_kills" in e["text"]]
    assert len(notes) == 2 and notes[0].endswith("it runs again (attempt 2 of 2)") and "for the second time: it does not run again" in notes[1], notes
    assert all("test_it.py::test_kills was running there (gw" in text for text in notes)
    assert result.out.count("xd: error: lost popen//env:WHERE=") == 2 and "LOST test_it.py::test_kills" in result.out, result
    lost, = [e for e in result.events if e["event"] == "test" and "kills" in e["nodeid"]]
    assert lost["worker"] in ("gw0", "gw1", "gw2")
    bad = [case for case in junit_cases(project.path / "out.xml") if case[1]]
    assert len(bad) == 1 and ["test_kills"] == [v for k, v in bad[0][0] if k == "name"]


@pytest.mark.parametrize("dist", ["load", "loadfile", "worksteal"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_test_that_leaves_nobody_to_tell(project, workers, dist):
    """Whatever the lost environment had runs again, each test alone in its environment; only the one that did it is lost."""
    good = """
        import time
        from agents import *
        import pytest
        @pytest.mark.parametrize("n", range(12))
        def test_good(n): note("good"); time.sleep(0.02)
        """
    project.write(agents=AGENTS, test_a=good, test_b=good, test_c=good, test_it=good.replace("def test_good", "def test_more") + """
        def test_kills(): note("kills"); kill_both()
        @pytest.mark.parametrize("n", range(12))
        def test_good(n): note("good"); time.sleep(0.02)
        """)
    tx = ["--tx=%d*popen//env:WHERE=%s" % (workers, name) for name in "abcd"]
    result, starts = run(project, *(tx + ["--dist=" + dist]))
    assert result.rc == 1 and starts["kills"] == 2, (result, starts)
    outcomes = result.outcomes
    assert outcomes.pop("test_it.py::test_kills") == "lost"
    assert len(outcomes) == 60 and set(outcomes.values()) == {"passed"}, result
    assert result.out.count("xd: error: lost popen//env:WHERE=") == 2, result
    notes = [e["text"] for e in result.events if e["event"] == "note"]
    assert any("what was running there is not known: " in text and "run again, each of them alone" in text for text in notes) or \
        any(text.startswith("test_it.py::test_kills was all that was there: it runs again") for text in notes), notes
    assert result.out.count("LOST test_it.py::test_kills - ") == 1 and len([line for line in result.out.splitlines() if line.strip("_ ") == "test_kills"]) == 1, result
    assert any(text == "test_it.py::test_kills was all that was there, for the second time: it does not run again" for text in notes), notes


def test_what_ran_with_it_runs_again(project):
    """Beside the one that kills its agent the first time, a long test runs in another worker of that agent: both are named, both pass then."""
    project.write(agents=AGENTS, test_it='''
        import pytest, time
        from agents import *
        def seen(what, times=1): return os.path.exists(os.environ["XD_LOG"]) and open(os.environ["XD_LOG"]).read().count(what) >= times
        def test_long():
            note("long")
            if not seen("kills", 2): time.sleep(60)
        def test_kills():
            note("kills")
            while not seen("long"): time.sleep(0.01)
            if not seen("kills", 2): kill_agent()
        def test_other(): pass
    ''')
    result, starts = run(project, "--tx=2*popen//env:WHERE=a", "--dist=load")
    assert result.rc == 6 and starts == {"kills": 1, "long": 1}, (result, starts)
    for name in ("test_long", "test_kills"):
        assert any("test_it.py::%s was running there" % name in e["text"] for e in result.events if e["event"] == "note"), result
