"""A pipe that is cut is taken up again: no result is lost, no test runs twice.  tests/conformance/cutting_agent.py stands between xdctl and the agent, and
cuts at random bytes; the seeds are printed, and XD_CUT_SEED repeats one."""
import collections
import os
import random
import subprocess
import sys
import time

import pytest

from conftest import ROOT, XDCTL, clean_environment

AGENT = os.environ.get("XD_AGENT") or os.path.join(ROOT, "build", "bin", "xdagent")
CUTTER = os.path.join(ROOT, "tests", "conformance", "cutting_agent.py")
TESTS = 600
SUITE = """
import os, pytest
N = %d
@pytest.mark.parametrize("n", range(N))
def test_a(n):
    fd = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%%d\\n" %% n)
    os.close(fd)
    os.write(2, b"%%04d " %% n + b"x" * 700 + b"\\n")
    if n %% 10 == 1: pytest.skip("no")
    if n %% 10 == 2: pytest.xfail("so be it")
    assert n %% 10 != 3, "long " * 50
""" % TESTS
COUNTS = "%d failed, %d passed, %d skipped, %d xfailed" % (TESTS // 10, TESTS * 7 // 10, TESTS // 10, TESTS // 10)


class Cut(object):
    """One run whose pipe is cut; begun: not before the first test runs."""
    def __init__(self, folder, suite=SUITE, args=("-n2",), timeout=120, begun=False, **cuts):
        self.folder = folder
        where = folder / "suite"
        where.mkdir(parents=True)
        (where / "test_a.py").write_text(suite)
        self.log, self.ran_file = folder / "cuts", folder / "ran"
        self.log.touch()
        agent = folder / "agent"
        agent.write_text("#!/bin/sh\nexec '%s' '%s' \"$@\"\n" % (sys.executable, CUTTER))
        agent.chmod(0o755)
        seed = int(os.environ.get("XD_CUT_SEED") or random.randrange(1 << 32))
        print("XD_CUT_SEED=%d" % seed)
        env = clean_environment(XDG_STATE_HOME=str(folder / "state"), XDG_CACHE_HOME=str(folder.parent / "cache"), XD_CUT_REAL=AGENT, XD_CUT_LOG=str(self.log),
                                XD_CUT_SEED=str(seed), RAN=str(self.ran_file), XD_CUT_WHEN=str(self.ran_file) if begun else "", **{"XD_CUT_" + k.upper(): str(v) for k, v in cuts.items()})
        self.process = subprocess.Popen([XDCTL, "run", "--agent", str(agent), "--python", sys.executable] + list(args) + ["-s", "-p", "no:cacheprovider"], cwd=str(where), env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.timeout = timeout

    def end(self):
        try:
            self.out = self.process.communicate(timeout=self.timeout)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.out = self.process.communicate()[0]
            pytest.fail("it hangs:\n" + self.out[-3000:])
        self.rc = self.process.returncode
        return self

    @property
    def cuts(self):
        return collections.Counter(self.log.read_text().split())

    @property
    def ran(self):
        return collections.Counter(map(int, self.ran_file.read_text().split()))

    def __repr__(self):
        return "rc %s, cuts %r\n%s" % (self.rc, self.cuts, self.out[-4000:])


def test_200_cuts_in_each_direction(tmp_path):
    run = Cut(tmp_path / "a", args=("-n2", "-v"), up="200 1500", down="200 300").end()
    assert run.rc == 1 and COUNTS in run.out, run
    assert run.ran == {n: 1 for n in range(TESTS)}, (run.ran, run)
    assert run.cuts == {"up": 200, "down": 200}, run
    assert run.out.count("the connection was cut, and taken up again after") >= 20 and "lost" not in run.out, run


def test_a_crash_is_blamed_as_ever(tmp_path):
    """Workers that crash are blamed and replaced meanwhile."""
    suite = SUITE + """
import signal
@pytest.mark.parametrize("n", range(N, N + 4))
def test_crash(n):
    test_b(n)
    os.kill(os.getpid(), signal.SIGSEGV)
def test_b(n=9999):
    fd = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % n)
    os.close(fd)
"""
    run = Cut(tmp_path / "a", suite, args=("-n2", "--max-worker-restart=9"), up="60 1500", down="60 300").end()
    assert run.rc == 1 and "4 crashed" in run.out and "%d passed" % (TESTS * 7 // 10 + 1) in run.out, run
    assert run.ran == {n: 1 for n in list(range(TESTS + 4)) + [9999]}, (run.ran, run)


KILLER = """
import os, signal, time, pytest
def ran(n):
    fd = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % n)
    os.close(fd)
def agents():
    pid, found = os.getpid(), []
    while pid > 1:
        if open("/proc/%d/comm" % pid).read() == "xdagent\\n": found.append(pid)
        pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
    return found
def wait_for_cuts(n):
    while len(open(os.environ["XD_CUT_LOG"]).read().split()) < n: time.sleep(0.01)
"""


def test_an_agent_that_is_killed_on_its_second_pipe_tells_what_ran(tmp_path):
    suite = KILLER + """
@pytest.mark.parametrize("n", range(20))
def test_a(n):
    ran(n)
    os.write(2, b"x" * 3000)
@pytest.mark.parametrize("n", range(20, 21))
def test_kill(n):
    ran(n)
    wait_for_cuts(3)
    time.sleep(0.5)
    os.kill(agents()[0], signal.SIGKILL)
    time.sleep(60)
"""
    run = Cut(tmp_path / "a", suite, args=("-n1",), up="3 9000", timeout=60).end()
    assert run.rc in (6, 7) and "the agent was killed by SIGKILL" in run.out and "interrupted while running: test_a.py::test_kill[20] (gw0, for 0." in run.out, run
    assert run.ran[20] == 1, run


def lines_with(run, text):
    return [line for line in run.out.splitlines() if text in line]


def test_a_pipe_that_stays_cut_is_a_lost_environment(tmp_path):
    """Nobody carries another pipe for longer than the time for it: one line, and the other environment runs the tests; the agent that is cut ends."""
    run = Cut(tmp_path / "a", args=("--tx=popen", "--tx=popen//env:OTHER=1", "--reconnect-timeout=1s"), begun=True, up="1 60000", hold=6, lock=str(tmp_path / "lock")).end()
    assert len(lines_with(run, "nothing took it up again within 1 s")) >= 1, run
    assert run.rc == 1 and COUNTS in run.out, run
    assert set(run.ran) == set(range(TESTS)) and max(run.ran.values()) <= 2, (run.ran, run)


def test_without_time_a_cut_is_the_end(tmp_path):
    run = Cut(tmp_path / "a", args=("-n2", "--reconnect-timeout=none"), begun=True, up="1 60000").end()
    assert run.rc in (6, 7) and "the connection to the agent ended" in run.out and run.cuts == {"up": 1}, run


SLEEPER = KILLER + """
def test_a():
    ran(1)
    with open(os.environ["RAN"] + ".pid", "w") as f: f.write("%d %d" % (os.getpid(), agents()[0]))
    os.write(2, b"x" * 3000)
    wait_for_cuts(1)
    with open(os.environ["RAN"] + ".cut", "w"): pass
    time.sleep(300)
"""


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("who", ["xdctl", "the relay"])
def test_the_end_of_the_controller_is_no_cut(tmp_path, who):
    """The agent waits for another pipe only while somebody is there who could bring one: killed in the middle of a cut, xdctl leaves nothing alive."""
    run = Cut(tmp_path / "a", SLEEPER, args=("-n1", "--reconnect-timeout=300s"), begun=True, up="1 2000", hold=600)
    try:
        wait_until(lambda: os.path.exists(str(run.ran_file) + ".cut"))
        with open(str(run.ran_file) + ".pid") as f:
            pids = list(map(int, f.read().split()))
        relay = [int(p) for p in os.listdir("/proc") if p.isdigit() and parent_of(int(p)) == run.process.pid]
        assert len(relay) == 1 and all(map(alive, pids)), pids
        began = time.monotonic()
        if who == "xdctl":
            run.process.kill()
        os.kill(relay[0], 9)  # it sleeps, and would not see that xdctl is gone
        wait_until(lambda: not any(map(alive, pids)))
        assert time.monotonic() - began < 20
    finally:
        run.process.kill()
        run.process.communicate()


def parent_of(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
