"""Workers on hosts that are reached by ssh: what a run promises holds there too, each way that ssh= can be carried; hosts that cannot be
reached, or answer oddly; and the deaths of all that takes part."""
import collections
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from conftest import XDCTL, junit_cases
from faults import kill
from lab import linux

WAYS = ["openssh", "libssh"]


class Far(object):
    """A lab with a suite on each of its hosts; `run` runs it there."""

    def __init__(self, lab, project, way):
        self.make, self.project, self.way = lab, project, way

    def hosts(self, plans=1, **files):
        self.lab = self.make(plans, project=self.project)
        for host in self.lab.hosts:
            self.write(host, **files)
        return self.lab

    def write(self, host, **files):
        (host.home / "proj").mkdir(exist_ok=True)
        self.project.write(**files)
        for file in self.project.root.iterdir():
            if file.is_file():
                target = host.home / "proj" / file.name
                target.write_text(file.read_text())
                os.chmod(str(target), 0o644)

    def tx(self, workers=1, **parts):
        return ["--tx=%d*%s" % (workers, self.lab.spec(h.name, chdir="proj", **parts)) for h in self.lab.hosts]

    def run(self, *args, **more):
        return self.project.run("--ssh=" + self.way, *args, python=False, **more)

    def start(self, *args, **more):
        return self.project.start("run", "--ssh=" + self.way, *args, **more)


@pytest.fixture(params=WAYS)
def far(request, lab, project):
    return Far(lab, project, request.param)


def seconds_until(what, most):
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < most, "not within %s s" % most
        time.sleep(0.05)
    return time.monotonic() - begin


def ours(host):
    """What runs on a host that is neither its sshd nor somebody's shell there."""
    return {pid: line for pid, line in host.processes().items() if "xdagent" in line or "pytest" in line or "sleep" in line or "python" in line}


def lost_lines(result):
    return [line for line in (result.out + result.err).splitlines() if "lost ssh=" in line or "error: " in line]


SUITE = '''
    import os, pytest, sys
    def test_pass(): pass
    def test_fail(): print("said"); assert [1] == [2]
    @pytest.mark.skip(reason="not here")
    def test_skip(): pass
    @pytest.mark.xfail
    def test_xfail(): assert 0
    @pytest.mark.xfail
    def test_xpass(): pass
    def test_error(nothing): pass
    @pytest.fixture
    def bad_end():
        yield
        raise ValueError("end")
    def test_teardown(bad_end): pass
    @pytest.mark.parametrize("n", range(40))
    def test_n(n): pass
'''


# ---- a run's promises ------------------------------------------------------------------------------------------------------------


def test_outcomes_are_those_of_plain_pytest(far, project):
    far.hosts(2, test_it=SUITE)
    result = far.run(*(far.tx(2) + ["--tx=2*popen//python=" + project.python, "--", "--junitxml=out.xml"]))
    plain = project.plain("--junitxml=plain.xml")
    assert (result.rc, result.summary) == (plain.rc, plain.summary), result
    assert result.categories == plain.categories
    assert len({e["worker"] for e in result.tests}) >= 3
    here, there = (junit_cases(project.root / name) for name in ("plain.xml", "out.xml"))
    assert [c[0] for c in there] == [c[0] for c in here]
    for host in far.lab.hosts:
        assert seconds_until(lambda: not ours(host), 5) < 5


def test_a_crash_is_blamed_and_the_worker_replaced(far):
    far.hosts(1, test_it="""
        import os, signal, pytest
        @pytest.mark.parametrize("n", range(20))
        def test_n(n): pass
        def test_crash(): print("last words", flush=True); os.kill(os.getpid(), signal.SIGSEGV)
        """)
    result = far.run(*far.tx(2))
    assert result.rc == 1 and result.outcomes["test_it.py::test_crash"] == "crashed", result
    assert result.summary == {"passed": 20, "crashed": 1}, result
    assert "SIGSEGV" in result.out


def test_x_stops_after_the_first_failure(far):
    far.hosts(1, test_it="""
        import pytest, time
        def test_fails(): assert 0
        @pytest.mark.parametrize("n", range(300))
        def test_n(n): time.sleep(0.02)
        """)
    result = far.run(*(far.tx(2) + ["--", "-x"]))
    assert result.rc == 1 and len(result.outcomes) < 60, result


def test_ctrl_c_lets_running_tests_end(far):
    far.hosts(1, test_it="""
        import pytest, time
        @pytest.mark.parametrize("n", range(100))
        def test_n(n): time.sleep(1)
        """)
    host = far.lab["h1"]
    process = far.start("--jsonl=j", *far.tx(2))
    seconds_until(lambda: os.path.exists(str(far.project.root / "j")) and '"event":"test"' in (far.project.root / "j").read_text().replace(" ", ""), 30)
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    result = far.project.finish(process)
    assert result.rc == 2 and time.monotonic() - begin < 8, result
    assert " passed" in result.out and "crashed" not in result.out, result
    seconds_until(lambda: not ours(host), 5)


def test_what_is_said_arrives_from_there(far):
    far.hosts(1, test_it="""
        import os, sys
        def test_quiet(): os.write(1, b"past the capture\\\\n"); os.write(2, b"\\\\xff bytes\\\\n")
        def test_loud(): print("captured"); sys.stderr.write("beside\\\\n"); assert 0
        """.replace("\\\\", "\\"))
    result = far.run(*far.tx())
    assert result.rc == 1, result
    assert "captured" in result.out and "beside" in result.out


def test_the_collected_process_is_forked_there(far):
    far.hosts(1, conftest="""
        import os
        with open(os.path.expanduser("~/collected"), "a") as f: f.write("x")
        """, test_it="""
        import pytest
        @pytest.mark.parametrize("n", range(50))
        def test_n(n): pass
        """)
    result = far.run(*(far.tx(4) + ["--", "-v"]))
    assert result.rc == 0 and "workers are forked after the collection" in result.out, result
    assert (far.lab["h1"].home / "collected").read_text() == "x"
    assert len({e["worker"] for e in result.tests}) > 1


def test_folder_environment_and_interpreter(far):
    here = os.nice(0)
    far.hosts(1, test_it="""
        import os, sys
        def test_it(tmp_path):
            assert os.environ["STAGE"] == "qa b" and os.getcwd() == os.path.expanduser("~/proj")
            assert os.nice(0) == NICE and sys.executable == "/srv/venv/bin/python3"
            assert os.uname().nodename == "h1"
        """.replace("NICE", str(min(19, here + 7))))
    result = far.run("--tx=" + far.lab.spec("h1", chdir="proj", python="python3") + "//env:STAGE=qa b//nice=7", "--", "-v", "-s")
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def test_paths_are_the_users_own(far):
    """In the project's folder on each host, which holds a copy of the user's."""
    far.hosts(2)
    far.project.write(test_it="""
        import os, time, warnings, pytest
        @pytest.mark.parametrize("n", range(10))
        def test_n(n):
            time.sleep(0.05)
            warnings.warn("beware")
            print("printed", os.getcwd())
            assert n < 8
        """)
    specs = ["--tx=" + far.lab.spec(host.name) for host in far.lab.hosts]
    hosts = json.loads(far.project.xdctl("hosts", "check", "--json", "--ssh=" + far.way, *specs).out)
    for found in hosts:
        assert found["ok"] and "/.cache/xd/work/project-" in found["folder"], found
    result = far.run(*(specs + ["--", "--tb=native"]))
    here = os.path.realpath(str(far.project.root))
    assert result.rc == 1 and result.summary["failed"] == 2, result
    assert result.out.count('  File "%s/test_it.py", line 8, in test_n\n' % here) == 2 and "rootdir: %s\n" % here in result.out, result
    assert result.out.count("%s/test_it.py:6: UserWarning: beware\n" % here) == 1 and len({e["gateway"] for e in result.events if e["event"] == "worker_up"}) == 2, result
    assert {line.partition(" ")[0] for line in result.out.splitlines() if "/.cache/xd/work/" in line} == {"printed"}, result


def test_execnets_spellings(far):
    far.hosts(1, test_it="def test_it(): pass")
    host = far.lab["h1"]
    result = far.run("--tx=ssh=-p %d root@h1//chdir=proj" % host.port)
    assert result.rc == 0, result
    config = far.lab.home / "other_config"
    config.write_text("Host myhostpopen\n  HostName h1\n  Port %d\n  User root\n  HostKeyAlias [h1]:%d\n  IdentityFile %s\n" % (host.port, host.port, far.lab.key))
    result = far.run("--tx=ssh=myhostpopen//ssh_config=%s//chdir=proj" % config)
    assert result.rc == 0, result


def test_v_says_what_carries_it_and_why(far):
    far.hosts(1, test_it="def test_it(): pass")
    said = {"openssh": "by the ssh program: --ssh=openssh", "libssh": "by libssh"}
    assert said[far.way] in far.run(*(far.tx() + ["--", "-v"])).out
    assert "xd: ssh=" not in far.run(*far.tx()).out
    with open(str(far.lab.ssh_config), "r+") as f:
        rest = f.read()
        f.seek(0)
        f.write("Host h1\n    BindAddress 10.88.0.1\n" + rest)
    result = far.project.run(*(far.tx() + ["--", "-v"]), python=False)
    assert "by the ssh program: BindAddress" in result.out, result


def test_by_way_of_another_host(far):
    """h2 is not reached from here; h1 reaches it, with the options and the ssh_config of its own spec."""
    far.hosts([{}, {"sshd": ["AllowUsers root@10.88.0.11"]}], test_it="def test_it(): import os; assert os.uname().nodename == 'h2'")
    one, two = far.lab["h1"], far.lab["h2"]
    config = far.lab.home / "gate_config"
    config.write_text("Host gate\n  HostName h1\n  User root\n  HostKeyAlias [h1]:%d\n  IdentityFile %s\n" % (one.port, far.lab.key))
    direct = far.run("--tx=" + far.lab.spec("h2", chdir="proj"))
    assert direct.rc == 6 and "Permission denied" in direct.out, direct
    (one.home / "proj" / "test_it.py").write_text("def test_it(): import os; assert os.uname().nodename in ('h1', 'h2')")
    (two.home / "proj" / "test_it.py").write_text("def test_it(): import os; assert os.uname().nodename in ('h1', 'h2')")
    gate = "--tx=ssh=-p %d gate//ssh_config=%s//id=g//chdir=proj" % (one.port, config)
    result = far.project.run(gate, "--tx=" + far.lab.spec("h2", chdir="proj") + "//via=g", "--", "-v", python=False)
    assert result.rc == 0 and "by the ssh program: via=g" in result.out, result
    assert any("Accepted publickey for root from 10.88.0.11" in line for line in two.log.read_text().splitlines())
    wrong = far.run("--tx=" + far.lab.spec("h2", chdir="proj") + "//via=nobody")
    assert wrong.rc == 4 and "no other spec has id=nobody" in wrong.err, wrong


# ---- hosts that cannot be reached ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan, args, words", [
    ({}, "--tx=ssh=nowhere.invalid", ["resolve", "nowhere.invalid"]),
    ({"server": "none"}, None, ["refused", "2201"]),
    ({"server": "mute"}, None, ["answer"]),
    ({"server": "cut"}, None, ["losed|broke off"]),
    ({"sshd": ["MaxSessions 0"]}, None, ["MaxSessions|no session"]),
    ({"shell": "/usr/sbin/nologin"}, None, ["not available"]),
    ({"sshd": ["ForceCommand echo only this"]}, None, ["only this"]),
    ({"sshd": ["DenyUsers root"]}, None, ["Permission denied", "publickey"]),
    ({"shell": "/bin/rbash"}, None, ["closed before the agent ran", "exec: restricted"]),
    ({"shell": "/bin/bash", "profile": "exec sleep 1000"}, None, ["no shell has answered|its login hangs"]),
    ({"shell": "/bin/bash", "profile": "echo only on Mondays >&2; exit 3"}, None, ["only on Mondays", "status 3"]),
], ids=["resolve", "refused", "mute", "cut", "no-session", "nologin", "forced", "denied", "restricted", "hangs", "exits"])
def test_one_line_says_why_a_host_is_not_there(far, plan, args, words):
    far.hosts([plan], test_it="def test_it(): pass")
    begin = time.monotonic()
    result = far.run(args or far.tx()[0])
    assert result.rc == 6, result
    lines = lost_lines(result)
    assert len(lines) == 1 and all(re.search(w, lines[0]) for w in words), result
    assert not result.tests and time.monotonic() - begin < 25


def known_hosts(far, text):
    far.lab.known_hosts.write_text(text)


def other_key(far):
    lines = far.lab.known_hosts.read_text().splitlines()
    key = far.lab.key.with_suffix(".pub").read_text().split()[1]
    known_hosts(far, "".join(" ".join(line.split()[:2] + [key]) + "\n" for line in lines))


def test_an_unknown_host_key_is_refused(far):
    far.hosts(1, test_it="def test_it(): pass")
    known_hosts(far, "")
    result = far.run(*far.tx())
    assert result.rc == 6 and "Host key verification failed" in result.out and "--ssh-accept-new" in result.out and "ssh h1" in result.out, result
    assert far.lab.known_hosts.read_text() == ""


def test_an_unknown_host_key_is_accepted_when_asked_to(far):
    far.hosts(1, test_it="def test_it(): pass")
    known_hosts(far, "")
    result = far.run("--ssh-accept-new", *far.tx())
    assert result.rc == 0, result
    assert "ssh-ed25519" in far.lab.known_hosts.read_text()
    assert far.run(*far.tx()).rc == 0


@pytest.mark.parametrize("option", [[], ["--ssh-accept-new"]], ids=["plain", "accept-new"])
def test_a_changed_host_key_is_refused_whatever_is_given(far, option):
    far.hosts(1, test_it="def test_it(): pass")
    other_key(far)
    before = far.lab.known_hosts.read_text()
    result = far.run(*(option + far.tx()))
    assert result.rc == 6 and "CHANGED" in result.out and "ssh-keygen" in result.out, result
    assert far.lab.known_hosts.read_text() == before


def test_without_a_terminal_nobody_is_asked(far):
    far.hosts([{"sshd": ["PubkeyAuthentication no", "PasswordAuthentication yes"]}], test_it="def test_it(): pass")
    begin = time.monotonic()
    result = far.run(*far.tx(), start_new_session=True)
    assert result.rc == 6 and "Permission denied" in result.out and "terminal" in result.out, result
    assert time.monotonic() - begin < 15


# ---- odd hosts --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [
    {"sshd": ["PermitTTY no"]}, {"sshd": ["MaxSessions 1"]}, {"sshd": ['ForceCommand sh -c "$SSH_ORIGINAL_COMMAND"']},
    {"banner": 100}, {"profile": "echo hello from the profile; echo and from its stderr >&2"}, {"sshd": ["RekeyLimit 1M"]},
    {"shell": "/bin/bash", "profile": "read answer; read -t 1 answer; echo got $answer"},
    {"shell": "/bin/bash", "profile": "export LD_PRELOAD=/no/such/lib.so SHELLOPTS; set -u; set -o noclobber; trap '' TERM HUP; printf '\\000\\033]0;x\\007'"},
], ids=["no-tty", "one-session", "forced", "banner", "noisy", "rekey", "reads", "options"])
def test_hosts_that_are_odd_but_work(far, plan):
    far.hosts([plan], test_it="""
        import pytest
        @pytest.mark.parametrize("n", range(20))
        def test_n(n): print("x" * 100000); assert n != 7
        """)
    result = far.run(*(far.tx(2) + ["--", "-rP"]))
    assert result.rc == 1 and result.summary == {"passed": 19, "failed": 1}, result
    assert "banner" not in result.out and "profile" not in result.out, result


def test_refused_for_lack_of_room_is_tried_again(far):
    """Each spec is a connection of its own; the host takes two at a time that are not through with logging in."""
    far.hosts([{"sshd": ["MaxStartups 2:100:2"]}], test_it="""
        import pytest
        @pytest.mark.parametrize("n", range(30))
        def test_n(n): pass
        """)
    result = far.run(*["--tx=" + far.lab.spec("h1", chdir="proj") + "//env:N=%d" % n for n in range(8)])
    assert result.rc == 0 and result.summary == {"passed": 30}, result
    assert "drop connection" in far.lab["h1"].log.read_text()


# ---- deaths ------------------------------------------------------------------------------------------------------------------------------

SLOW = """
    import os, pytest, time
    def note(what):
        with open(os.path.expanduser("~/log"), "a") as f: f.write(what + "\\n")
    @pytest.mark.parametrize("n", range(12))
    def test_n(n):
        note("start %d" % n)
        time.sleep(0.7)
        note("end %d" % n)
"""


def starts(far):
    counted = collections.Counter()
    for host in far.lab.hosts:
        log = host.home / "log"
        if log.exists():
            counted.update(line for line in log.read_text().splitlines() if line.startswith("start"))
    return counted


def until_it_runs(far, host="h1"):
    seconds_until(lambda: (far.lab[host].home / "log").exists(), 30)


@pytest.mark.parametrize("what", ["client", "session", "agent"])
def test_kill_9_of_what_carries_a_host(far, what):
    """A connection that is cut is taken up again, and nothing runs twice. Of a killed agent's tests, the started ones run a second time."""
    far.hosts(2, test_it=SLOW)
    process = far.start("--jsonl=j", *(far.tx(1) + ["--", "-v"]))
    until_it_runs(far)
    host = far.lab["h1"]
    if what == "client":
        if far.way == "libssh":
            pytest.skip("libssh has no process")
        kill([pid for pid in linux.descendants(process.pid) if b"\0h1\0" in open("/proc/%d/cmdline" % pid, "rb").read()])
    else:
        words = "sshd: root@notty" if what == "session" else "xdagent"
        pids = [pid for pid, line in host.processes().items() if words in line]
        assert pids, host.processes()
        kill(pids)
    result = far.project.finish(process, str(far.project.root / "j"))
    assert result.rc == 0 and result.summary == {"passed": 12}, result
    assert set(result.outcomes.values()) == {"passed"} and len(result.outcomes) == 12
    if what == "agent":
        assert "lost ssh=h1" in result.out and "attempt 2" in result.out, result
        assert max(starts(far).values()) == 2
    else:
        assert "taken up again" in result.out and "lost ssh" not in result.out, result
        assert set(starts(far).values()) == {1}, starts(far)
    seconds_until(lambda: not ours(host), 35)


def test_kill_9_of_xdctl_leaves_nothing(far):
    far.hosts(1, test_it="""
        import subprocess, time, os
        def test_it():
            subprocess.Popen(["sleep", "300"], start_new_session=True)
            open(os.path.expanduser("~/log"), "w").close()
            time.sleep(300)
        """)
    process = far.start(*far.tx(2))
    until_it_runs(far)
    host = far.lab["h1"]
    assert ours(host)
    process.kill()
    process.wait()
    assert seconds_until(lambda: not ours(host), 40) < 36


def test_ctrl_c_ends_a_dial_within_a_second(far):
    far.hosts([{"server": "mute"}], test_it="def test_it(): pass")
    process = far.start(*far.tx())
    time.sleep(1.5)
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    result = far.project.finish(process)
    assert time.monotonic() - begin < 1.0 and result.rc == 2, result


def test_ctrl_c_while_many_hosts_are_dialled(far):
    """So many that those which are there already could run tests before the last one is dialled."""
    far.hosts([{}, {"server": "mute"}, {"server": "none"}, {"shell": "/usr/sbin/nologin"}, {"sshd": ["DenyUsers root"]}, {"python": "bare"}], test_it="""
        import pytest, time
        @pytest.mark.parametrize("n", range(2000))
        def test_n(n): time.sleep(0.05)
        """)
    specs = ["--tx=%s//env:N=%d" % (far.lab.spec(host.name, chdir="proj"), n) for n in range(14) for host in far.lab.hosts]
    process = far.start("--jsonl=j", "--min-workers=1", *specs)
    seconds_until(lambda: os.path.exists(str(far.project.root / "j")) and "run_start" in (far.project.root / "j").read_text(), 30)
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    result = far.project.finish(process)
    assert result.rc == 2 and time.monotonic() - begin < 8, result
    assert (far.project.root / "j").read_text().count('"event":"test"') < 100, result


# ---- questions ---------------------------------------------------------------------------------------------------------------------------


class Terminal(object):
    """xdctl on a terminal of its own."""

    def __init__(self, far, *args):
        argv = far.lab.prefix(str(far.project.root)) + [XDCTL, "run", "--ssh=" + far.way] + list(args)
        env = far.project.environment()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(str(far.project.root))
            os.execvpe(argv[0], argv, env)
        self.out = ""

    def until(self, words, count=1, most=30):
        begin = time.monotonic()
        while self.out.count(words) < count:
            assert time.monotonic() - begin < most, self.out
            self.read()

    def read(self):
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.out += data.decode(errors="replace")
        return bool(data)

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def say(self, text):
        seconds_until(lambda: not self.echoes(), 5)
        os.write(self.fd, text.encode())

    def end(self, most=30):
        begin, code = time.monotonic(), None
        while self.read() and time.monotonic() - begin < most:
            pass
        while time.monotonic() - begin < most:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.WEXITSTATUS(status)
                break
            time.sleep(0.02)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        return code


def lock_key(far):
    """The only key that the hosts take has a passphrase."""
    key = far.lab.home / ".ssh" / "locked"
    subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)])
    for host in far.lab.hosts:
        (host.folder / "etc" / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    far.lab.ssh_config.write_text(far.lab.ssh_config.read_text().replace(str(far.lab.key), str(key)))


def test_two_hosts_ask_one_after_the_other(far):
    far.hosts(2, test_it=SUITE)
    lock_key(far)
    terminal = Terminal(far, *far.tx())
    try:
        for n in (1, 2):
            terminal.until("passphrase", n)
            time.sleep(2.5)  # the live line would have been drawn by now
            terminal.read()
            assert terminal.out.count("passphrase") == n and "starting pytest" not in terminal.out[terminal.out.rindex("passphrase"):], terminal.out
            terminal.say("secret\n")
    finally:
        code = terminal.end()
    assert code == 1 and "2 workers" in terminal.out and "secret" not in terminal.out, terminal.out


def test_ctrl_c_at_a_question(far):
    far.hosts(1, test_it=SUITE)
    lock_key(far)
    terminal = Terminal(far, *far.tx())
    try:
        terminal.until("passphrase")
        terminal.say("\x03")
        begin = time.monotonic()
        terminal.until("stopping")
    finally:
        code = terminal.end()
    assert code == 2 and time.monotonic() - begin < 1.5, (code, terminal.out)


def test_a_wrong_answer_is_a_refusal(far):
    far.hosts(1, test_it=SUITE)
    lock_key(far)
    terminal = Terminal(far, *far.tx())
    try:
        for n in (1, 2, 3):
            terminal.until("passphrase", n)
            terminal.say("wrong\n")
    finally:
        code = terminal.end()
    assert code == 6 and "Permission denied" in terminal.out, (code, terminal.out)
