"""The ends of sessions are waited for as plain pytest waits; and after a first Ctrl-C nothing lasts, whatever a worker is at."""
import os
import signal
import time

import pytest

from faults import all_gone, children, of_role, tree, wait_until
from test_run_faults import accounted, events_so_far

ARGS = ["-p", "no:cacheprovider"]
TESTS = "import pytest\n@pytest.mark.parametrize('i', range(4))\ndef test_quick(i): pass\n"
SLOW = """
import atexit, os, signal, threading, time
def last_words(*args):
    %s
    open("began%%d" %% os.getpid(), "w").close()
    time.sleep(%s)
    open("ended%%d" %% os.getpid(), "w").close()
"""
HOW = {
    "pytest_sessionfinish": "pytest_sessionfinish = last_words\n",
    "pytest_unconfigure": "pytest_unconfigure = last_words\n",
    "exit handlers": "def pytest_sessionstart(): atexit.register(last_words)\n",
    "threads that are no daemons": "def pytest_runtest_teardown(item):\n    if not hasattr(item.config, 'told'):\n"
                                   "        item.config.told = threading.Thread(target=last_words).start()\n",
}


def marks(project, what):
    return [name for name in os.listdir(str(project.root)) if name.startswith(what)]


def notes(result, text):
    return [e for e in result.events if e["event"] == "note" and text in e["text"]]


@pytest.mark.parametrize("what", sorted(HOW))
def test_last_words_of_six_seconds(project, what):
    project.write(test_q=TESTS, conftest=SLOW % ("pass", 6) + HOW[what])
    result = project.run("-n2", *ARGS)
    assert result.rc == 0 and result.summary == {"passed": 4}, result
    assert len(marks(project, "began")) == len(marks(project, "ended")) >= 1
    said = notes(result, "waiting for 5 s for the end of gw")
    assert len(said) == 1 and "(%s)" % what in said[0]["text"], result
    assert "xd: %s" % said[0]["text"] in result.out


def test_it_is_said_again_what_is_waited_for(project):
    project.write(test_q=TESTS, conftest=SLOW % ("pass", 11) + HOW["pytest_sessionfinish"])
    result = project.run("-n2", *ARGS)
    assert result.rc == 0, result
    assert [n["text"].split("waiting for ")[1].split(" ")[0] for n in notes(result, "waiting for")] == ["5", "10"], result


@pytest.mark.parametrize("stubborn", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["", "stubborn"])
@pytest.mark.parametrize("what", ["pytest_sessionfinish", "exit handlers"])
def test_shutdown_timeout(project, what, stubborn):
    project.write(test_q=TESTS, conftest=SLOW % (stubborn, 60) + HOW[what])
    begin = time.monotonic()
    result = project.run("--shutdown-timeout=1s", "-n2", *ARGS)
    assert time.monotonic() - begin < 20
    assert result.rc == accounted(result)["exit_status"] == 1 and result.summary == {"passed": 4}, result
    assert marks(project, "ended") == []
    said = notes(result, "which is the limit of --shutdown-timeout")
    assert said and "gw" in said[0]["text"] and "(%s)" % what in said[0]["text"], result
    assert "xd: warning: %s" % said[0]["text"] in result.out


def test_shutdown_timeout_that_is_kept(project):
    project.write(test_q=TESTS, conftest=SLOW % ("pass", 1) + HOW["pytest_sessionfinish"])
    result = project.run("--shutdown-timeout=30s", "-n2", *ARGS)
    assert result.rc == 0 and notes(result, "shutdown") == [] and len(marks(project, "ended")) == len(marks(project, "began")), result


# ---- a first Ctrl-C, whatever a worker is at

IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
LONG_TEST = """
import os, signal, time
def test_quick(): pass
def test_long():
    %s
    open("began%%d" %% os.getpid(), "w").close()
    time.sleep(300)
"""
STATES = {  # what stops there, files, options
    "collecting": ("import time\nopen('began', 'w').close()\ntime.sleep(300)\n", TESTS, []),
    "collecting, deaf": ("import signal, time\n%s\nopen('began', 'w').close()\ntime.sleep(300)\n" % IGNORES, TESTS, []),
    "forked by a stuck collector": ("import os, time\ndef stay():\n    open('began', 'w').close()\n    time.sleep(300)\n"
                                    "os.register_at_fork(before=stay)\n", TESTS, []),
    "born stuck": ("import os, time\ndef stay():\n    open('began', 'w').close()\n    time.sleep(300)\n"
                   "os.register_at_fork(after_in_child=stay)\n", TESTS, []),
    "starting": ("import os, threading, time\nif os.environ['PYTEST_XDIST_WORKER'] != 'gw0':\n    open('began', 'w').close()\n    time.sleep(300)\n",
                 TESTS, ["--no-fork"]),
    "in a test": ("", LONG_TEST % "pass", []),
    "in a test, deaf": ("", LONG_TEST % IGNORES, []),
    "in a test, stopped": ("", LONG_TEST % "open('began', 'w').close(); os.kill(os.getpid(), signal.SIGSTOP)", []),
    "in a test of a new process, deaf": ("", LONG_TEST % IGNORES, ["--no-fork"]),
    "its session ends, deaf": (SLOW % (IGNORES, 300) + HOW["pytest_sessionfinish"], TESTS, []),
    "its threads end, deaf": (SLOW % ("pass", 300) + "def pytest_sessionstart(): %s\n" % IGNORES + HOW["threads that are no daemons"], TESTS, []),
    "its exit handlers, deaf": (SLOW % (IGNORES, 300) + HOW["exit handlers"], TESTS, []),
}


@pytest.mark.parametrize("state", sorted(STATES))
def test_first_ctrl_c(project, state):
    conftest, tests, options = STATES[state]
    project.write(conftest=conftest, test_q=tests)
    jsonl = str(project.path / "s.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "--grace=1s", *(options + ["-n2"] + ARGS))
    wait_until(lambda: marks(project, "began"), "that it is %s" % state)
    processes = tree(process.pid)
    time.sleep(0.3)  # so that no state before it is meant
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    result = project.finish(process, jsonl)
    assert time.monotonic() - begin < 6, result
    assert result.rc == 2 and result.events[-1]["event"] == "run_end" and result.events[-1]["exit_status"] == 2, result
    shown = project.xdctl("show", "latest")
    assert shown.rc == 2 and "the journal ends before" not in shown.out + shown.err
    all_gone(processes)
    assert marks(project, "ended") == []


def test_first_ctrl_c_while_the_status_of_a_worker_is_awaited(project):
    """Its parent, which alone can tell, is stopped."""
    project.write(test_q=LONG_TEST % "pass")
    jsonl = str(project.path / "s.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "--grace=1s", "-n2", *ARGS)
    wait_until(lambda: marks(project, "began"), "the long test")
    processes = tree(process.pid)
    guard, = children(process.pid)
    agent, = children(guard)
    collector, = of_role(agent, "collector")
    os.kill(collector, signal.SIGSTOP)
    os.kill(int(marks(project, "began")[0][5:]), signal.SIGKILL)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    result = project.finish(process, jsonl)
    assert time.monotonic() - begin < 6, result
    assert result.rc == accounted(result)["exit_status"] == 2, result
    all_gone(processes)


def test_ctrl_c_ends_the_wait_for_last_words(project):
    """The tests are done and counted; the session that is cut is named."""
    project.write(test_q=TESTS, conftest=SLOW % ("pass", 300) + HOW["pytest_sessionfinish"])
    jsonl = str(project.path / "s.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "--grace=1s", "-n2", *ARGS)
    wait_until(lambda: len(marks(project, "began")) == 2, "two sessions that end")
    process.send_signal(signal.SIGINT)
    result = project.finish(process, jsonl)
    assert result.rc == accounted(result)["exit_status"] == 2 and result.summary == {"passed": 4}, result
    assert [n for n in notes(result, "because the run was interrupted") if "gw0 (pytest_sessionfinish), gw1 (pytest_sessionfinish)" in n["text"]], result
    assert events_so_far(jsonl)[-1]["event"] == "run_end"
