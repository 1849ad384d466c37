"""What a run promises, on hosts that are reached by ssh: a connection that is cut and cannot be made again, workers that are killed there,
streams, the other runner.  (test_run_over.py repeats scenarios of local runs.)"""
import json
import time

from faults import kill
from test_run_ssh import SLOW, Terminal, far, lost_lines, seconds_until, starts  # noqa: F401 (far is a fixture)
from test_ssh_servers import PASSWORD, TEST, with_password


# ---- after a cut ---------------------------------------------------------------------------------------------------------------------


def cut_off(far):  # noqa: F811
    """The session of a host's sshd is killed, once a test runs there."""
    host = far.lab["h1"]
    pids = [pid for pid, line in host.processes().items() if "sshd: root@notty" in line]
    assert pids, host.processes()
    kill(pids)


def test_a_password_after_a_cut(far):  # noqa: F811
    """libssh has it in memory; the ssh program would have to ask, so the host is given up, and one line says why."""
    with_password(far, "PasswordAuthentication yes", "PubkeyAuthentication no")
    far.write(far.lab["h1"], test_it=SLOW)
    terminal = Terminal(far, *(far.tx(2) + ["--reconnect-timeout=6s", "--", "-v"]))
    terminal.until("password")
    terminal.say(PASSWORD + "\n")
    until = time.monotonic() + 30
    while not (far.lab["h1"].home / "log").exists():
        terminal.read()
        assert time.monotonic() < until, terminal.out
    cut_off(far)
    code = terminal.end(45)
    assert PASSWORD not in terminal.out and terminal.out.count("password: ") == 1, terminal.out
    if far.way == "libssh":
        assert code == 0 and "12 passed" in terminal.out and "taken up again" in terminal.out, (code, terminal.out)
        assert set(starts(far).values()) == {1}, starts(far)
        return
    assert code == 6, (code, terminal.out)
    lost = [line for line in terminal.out.splitlines() if "lost ssh=h1" in line]
    assert lost and all(word in lost[0] for word in ("nothing took it up again", "Permission denied", "ssh-add", "--ssh=libssh")), terminal.out


def test_the_last_attempt_is_told(far):  # noqa: F811
    """A host that is not reached again: what was the matter."""
    far.hosts(1, test_it=SLOW.replace("range(12)", "range(60)"))
    host = far.lab["h1"]
    process = far.start("--reconnect-timeout=4s", "--jsonl=j", *(far.tx(2) + ["--", "-v"]))
    seconds_until(lambda: (host.home / "log").exists(), 30)
    kill([pid for pid, line in host.processes().items() if "sshd" in line and "notty" not in line and "priv" not in line])  # who listens
    cut_off(far)
    result = far.project.finish(process, str(far.project.root / "j"))
    line, = [line for line in lost_lines(result) if "lost ssh=h1" in line]
    assert result.rc == 6 and "nothing took it up again within 4 s" in line and "refused" in line, result


# ---- the rest of a run's promises ------------------------------------------------------------------------------------------------------


def test_labelled_streams(far):  # noqa: F811
    """-s: what tests write arrives at once, line by line, with whose it is; both streams, bytes that are no text too."""
    far.hosts(2, test_it="""
        import os, sys, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_n(n):
            print("out of %d" % n, flush=True)
            os.write(2, b"err of %d \\xff\\n" % n)
        """)
    result = far.run(*(far.tx(1) + ["--", "-s"]))
    assert result.rc == 0, result
    for n in range(8):
        assert result.out.count("out of %d\n" % n) == result.out.count("err of %d " % n) == 1, result


def test_kill_9_of_a_worker_there(far):  # noqa: F811
    far.hosts(1, test_it=SLOW)
    host = far.lab["h1"]
    jsonl = far.project.root / "j"
    process = far.start("--jsonl=j", *far.tx(2))
    pids = lambda: [e["pid"] for e in map(json.loads, jsonl.read_text().split("\n")[:-1]) if e["event"] == "worker_up"]  # noqa: E731
    seconds_until(lambda: (host.home / "log").exists() and (host.home / "log").read_text().count("start") >= 2 and len(pids()) == 2, 30)
    inside = host.run(["kill", "-9", str(min(pids()))])  # as the host numbers it
    assert inside.returncode == 0, inside
    result = far.project.finish(process, str(jsonl))
    assert result.rc == 1 and result.summary == {"passed": 11, "crashed": 1} and "SIGKILL" in result.out, result
    assert len(result.outcomes) == 12 and set(starts(far).values()) == {1}, result


def test_commands_run_there(far):  # noqa: F811
    """The other runner: the list lies there, and so does what its lines start."""
    far.hosts(1, test_it=TEST)
    there = far.lab["h1"].home / "proj" / "list.txt"
    there.write_text("test $(uname -n) = h1\nfalse\ntest $STAGE = qa\necho said >&2; exit 3\nkill -SEGV $$\n")
    result = far.run("--tx=2*" + far.lab.spec("h1", chdir="proj") + "//env:STAGE=qa", "--runner=command", "--list", "list.txt")
    assert result.rc == 1, result
    assert result.outcomes == {"test $(uname -n) = h1": "passed", "false": "failed", "test $STAGE = qa": "passed", "echo said >&2; exit 3": "failed",
                               "kill -SEGV $$": "failed"}
    assert "said" in result.out and "killed by SIGSEGV" in result.out, result
