"""Every mode of tests/conformance/hostile_agent.py, once alone and once beside an environment that is good.  What must hold: one clear line that names
the environment, exit code 6 or 7, never 0 with tests that did not run, an end in bounded time, bounded memory and disk; and the other environment
runs on."""
import json
import os
import resource
import subprocess
import sys
import time

import pytest

from conftest import ROOT, XDCTL, clean_environment

sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
import hostile_agent  # noqa: E402

AGENT = os.environ.get("XD_AGENT") or os.path.join(ROOT, "build", "bin", "xdagent")
SECONDS = 30
LOST_LINE = "lost popen"
WAITS = {"XD_HOSTILE_TESTS": LOST_LINE}  # the good environment does not run everything while the other one is on its way
MEMORY = 300 << 20  # of xdctl and whatever it waited for
DISK = 80 << 20     # of the state folder: the flood that is journaled stops at its credit, or at --journal-limit
QUICK = [m for m in hostile_agent.MODES if m not in hostile_agent.SLOW]
# What is said in other words than "broke the protocol".
TOLD = {
    "no HELLO": "did not begin with HELLO", "a malformed HELLO": "did not begin with HELLO", "a HELLO of 100,000 processors": "out of range",
    "version 9": "versions 9 to 9", "a gap": "records of the agent are missing", "sequence number 0": "outside of the sequence",
    "a flood with sequence number 0": "outside of the sequence", "acknowledges what was not sent": "acknowledged what was never sent",
    "a PONG that nobody asked for": "PONG that nobody asked for", "a flood of PONG": "PONG that nobody asked for",
    "the end in the middle": "status 9", "the end while it collects": "status 9", "a truncated frame": "status 9",
    "refuses in the middle": "refused the session", "refuses where it is dialled again": "refused the session",
    "returns with another token": "another token", "returns without a token": "another token", "returns from another session": "another session",
    "returns without its session": "without commands that it had acknowledged", "returns from the past": "without commands that it had acknowledged",
    "returns from the future": "never sent", "returns without HELLO": "did not begin with HELLO", "returns as no agent": "not a frame",
    "returns with a gap": "records of the agent are missing", "is cut for ever": "again and again",
    "an oversized frame": "not a frame", "a frame of 16 MiB and a byte": "not a frame",
    "bytes that are no frame": "not a frame",
}
# An environment that was lost in the middle, without having said what it must not: its tests run elsewhere.
LOST = ("the end in the middle", "a truncated frame", "is cut for ever")
# The environment was done with its part, and said so: what follows costs nothing but its end.
AT_THE_END = ("results after the end", "report after the end", "results after BYE", "BYE without done", "BYE twice")


class Run(object):
    def __init__(self, folder, mode, both, python=sys.executable, args=(), **env_more):
        self.mode, self.both = mode, both
        suite = folder / "suite"
        suite.mkdir(parents=True)
        (suite / "test_a.py").write_text(hostile_agent.SUITE)
        agent = folder / "agent"
        agent.write_text("#!/bin/sh\nexec '%s' '%s' \"$@\"\n" % (sys.executable, hostile_agent.__file__))
        agent.chmod(0o755)
        more = ["--tx=2*popen", "--tx=2*popen//env:OTHER=1"] + ([] if "--min-workers=3" in args else ["--min-workers=2"]) if both else ["-n2"]
        out, jsonl = str(folder / "out"), str(folder / "jsonl")
        env = clean_environment(XDG_STATE_HOME=str(folder / "state"), XDG_CACHE_HOME=str(folder.parent / "cache"), XD_HOSTILE=mode,
                                XD_HOSTILE_REAL=AGENT, XD_HOSTILE_FILE=out, XD_HOSTILE_LOCK=str(folder / "lock"), **env_more)
        began = time.monotonic()
        with open(out, "wb") as f:
            process = subprocess.Popen([XDCTL, "run", "--agent", str(agent), "--python", python, "--jsonl", jsonl] + more + list(args) + ["-p", "no:cacheprovider"],
                                       cwd=str(suite), env=env, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
            self.hung = True
            while time.monotonic() < began + SECONDS:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    self.hung, self.rc, self.memory = False, os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), usage.ru_maxrss * 1024
                    process.returncode = self.rc
                    break
                time.sleep(0.01)
            if self.hung:
                process.kill()
                process.wait()
        with open(out, errors="replace") as f:
            self.out = f.read()
        with open(jsonl) as f:
            self.tests = [e for e in map(json.loads, f) if e["event"] == "test"] if not self.hung else []
        self.disk = sum(os.path.getsize(os.path.join(at, name)) for at, _dirs, names in os.walk(str(folder / "state")) for name in names)

    def __repr__(self):
        return "%s%s: rc %s\n%s" % (self.mode, " beside a good one" if self.both else "", getattr(self, "rc", "none: it hangs"), self.out[-3000:])


# Losses that --min-workers accepts.
ACCEPTED = ("the end while it collects", "the end in place of a collection")


def check_all(run):
    """What holds whatever an agent does."""
    assert not run.hung, run
    assert "Traceback" not in run.out and "INTERNALERROR" not in run.out and "\x1b" not in run.out, run
    assert run.memory < MEMORY and run.disk < DISK, (run.memory, run.disk, run)
    ran = [t["nodeid"] for t in run.tests]
    assert len(ran) == len(set(ran)) <= hostile_agent.TESTS and set(ran) <= {i.decode() for i in hostile_agent.IDS}, run
    assert run.rc != 0 or len(ran) == hostile_agent.TESTS, run


def told(run):
    lines = [line for line in run.out.splitlines() if line.startswith(("xd: error: lost popen", "xd: warning: lost popen"))]
    assert len(lines) == 1, run
    return lines[0]


@pytest.mark.parametrize("mode", QUICK)
def test_alone(tmp_path, mode):
    run = Run(tmp_path, mode, False)
    check_all(run)
    if mode in AT_THE_END and run.rc in (0, 1):
        assert len(run.tests) == hostile_agent.TESTS, run
        return
    assert run.rc in (6, 7), run
    assert TOLD.get(mode, "broke the protocol") in told(run), run


@pytest.mark.parametrize("mode", QUICK)
def test_beside_a_good_environment(tmp_path, mode):
    run = Run(tmp_path, mode, True, **(WAITS if mode not in AT_THE_END + ("failed twice",) else {}))
    check_all(run)
    if mode in AT_THE_END + ("failed twice",):  # who says that it cannot run is left out, and hung up on
        assert run.rc in (0, 6), run
        return
    assert TOLD.get(mode, "broke the protocol") in told(run), run
    assert run.rc == (0 if mode in LOST + ACCEPTED else 6), run  # --min-workers=2


EARLY = ("collected 4294967295", "BYE at once", "no HELLO", "the end while it collects")


@pytest.mark.parametrize("mode, order", [(m, order) for m in EARLY for order in ("before", "while")] + [(m, "after") for m in hostile_agent.NEVER_COLLECT])
def test_an_environment_lost_before_its_tests_leaves_them_to_the_others(tmp_path, mode, order):
    """All of them, where --min-workers allows it. The exit code says that an agent said what it must not, whether it is lost before the others' tests, while they run, or when all are done."""
    orders = {"before": dict(XD_HOSTILE_REAL_START=LOST_LINE), "while": dict(XD_HOSTILE_START="[%d items]" % hostile_agent.TESTS, **WAITS),
              "after": dict(XD_HOSTILE_TESTS=hostile_agent.NEVER)}
    run = Run(tmp_path / "a", mode, True, **orders[order])
    check_all(run)
    assert (run.rc, len(run.tests)) == (0 if mode in ACCEPTED else 6, hostile_agent.TESTS), run
    assert {t["outcome"] for t in run.tests} == {"passed"}, run


@pytest.mark.parametrize("mode", ["collected 4294967295", "no HELLO"])
def test_an_environment_lost_before_the_tests_is_wanted(tmp_path, mode):
    run = Run(tmp_path / "a", mode, True, args=["--min-workers=3"])
    assert (run.rc, run.tests, run.hung) == (6, [], False) and told(run) and run.out.count("no test was run: 2 workers can start, --min-workers wants 3") == 1, run


@pytest.mark.parametrize("mode, alone, both", [("collected with 0", 0, 7), ("a session that ends with 0", 0, 7), ("a session that ends with 256", 7, 7)])
def test_an_end_with_0(tmp_path, mode, alone, both):
    """pytest.exit(returncode=0) is believed of whoever has all the tests; of the others' tests nobody else may say that they need not run."""
    assert Run(tmp_path / "a", mode, False).rc == alone
    run = Run(tmp_path / "b", mode, True)
    assert run.rc == both and not run.hung, run


def test_paths_are_not_the_agents_to_choose(tmp_path):
    path = tmp_path / "chosen.xml"
    run = Run(tmp_path / "a", "paths", False, XD_HOSTILE_PATH=str(path))
    assert run.rc == 0 and "is not written" in run.out and not list(tmp_path.glob("chosen*")), run
    mine = tmp_path / "mine.xml"
    run = Run(tmp_path / "b", "paths", False, args=["--junitxml=%s" % mine], XD_HOSTILE_PATH=str(path))
    assert run.rc == 0 and mine.exists() and "is not written" not in run.out and not list(tmp_path.glob("chosen*")), run


def test_facts_are_text(tmp_path):
    """What an agent says that it chose is shown, made harmless; it is not used."""
    mine = tmp_path / "mine"
    mine.mkdir()
    run = Run(tmp_path / "a", "facts", False, args=["-v"], XD_HOSTILE_PATH=str(mine))
    line, = [line for line in run.out.splitlines() if line.startswith("xd: interpreter python3")]
    assert run.rc == 0 and mine.is_dir() and "\x1b" not in run.out and "\x07" not in run.out and "FAILED" in line, run


@pytest.mark.parametrize("mode", ["a flood of output", "a flood of reports"])
def test_the_journal_has_a_limit(tmp_path, mode):
    run = Run(tmp_path / "a", mode, False, args=["--journal-limit=20M"])
    assert not run.hung and run.rc == 7 and run.disk < 22 << 20 and run.memory < MEMORY, run
    assert run.out.count("has reached its limit (--journal-limit") == 1, run


@pytest.mark.parametrize("mode", ["silent", "silent and deaf"])
def test_silence(tmp_path, mode):
    """One that acknowledges, and answers nothing; one that does not even do that."""
    run = Run(tmp_path / "a", mode, False, args=["--agent-timeout=1s"])
    assert not run.hung and run.rc == 6 and "the agent is silent" in told(run), run
