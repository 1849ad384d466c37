"""Hosts whose connection dies: silently, in one direction, again and again, in every phase of a run, and by each way that leads to them (libssh, the ssh
program, a command).  What was cut and comes back costs nothing; what does not come back is found, told, and run elsewhere, and nothing of ours stays there."""
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import Result
from test_run_lab import FOUND_S, GONE_S, Hosts

# libssh leaves to the ssh program what it cannot do.
WAYS = {"libssh": "ssh=%s//chdir=proj", "openssh": "ssh=-o RekeyLimit=1G %s//chdir=proj", "command": "command=ssh %s//chdir=proj"}
NOTE = """
import os, time, pytest
HERE = os.uname().nodename
def note(file, what):
    fd = os.open(os.path.expanduser("~/" + file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (str(what) + "\\n").encode())
    os.close(fd)
"""


class Ways(Hosts):
    """Hosts named WAY-WHAT, each reached in that way; one called `here` if asked for, to which nothing happens."""

    def __init__(self, lab, project, whats, here=True, suite="", conftest="", ways=tuple(WAYS), plan=None):
        plans = [dict(plan or {}, name="%s-%s" % (way, what)) for way in ways for what in whats] + ([{"name": "here"}] if here else [])
        self.lab, self.project = lab(plans, project=project), project
        self.names = [p["name"] for p in plans if p["name"] != "here"]
        for host in self.lab.hosts:
            (host.home / "proj").mkdir()
            (host.home / "proj" / "test_a.py").write_text(NOTE + suite)
            (host.home / "proj" / "conftest.py").write_text(NOTE + conftest)
        self.jsonl = str(project.path / "run.jsonl")

    def spec(self, name, workers=1, more=""):
        way = name.split("-")[0]
        return "--tx=%d*%s//python=python3%s" % (workers, WAYS.get(way, WAYS["libssh"]) % name, more)

    def start(self, *args, **more):
        workers = more.pop("workers", 1)
        tx = [self.spec(host.name, workers) for host in self.lab.hosts]
        self.process = self.project.start("run", "-v", "--jsonl", self.jsonl, *(tx + list(args) + ["-p", "no:cacheprovider"]), stderr=subprocess.STDOUT)
        self.lines, self.begin = [], time.monotonic()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.decode(errors="replace")))

    def end(self, seconds=90):
        self.reader.join(seconds)
        hangs = self.reader.is_alive()
        if hangs:
            self.process.kill()
            self.reader.join(10)
        rc = self.process.wait()
        result = Result(rc, "".join(line for _, line in self.lines), "", jsonl=self.jsonl)
        assert not hangs, [line for _, line in self.lines if "PASSED" not in line]
        return result

    def lost_at(self, name):
        """When the user was told that this host is lost, and in which words."""
        for at, line in list(self.lines):
            if re.search(r"lost .*\b%s\b" % name, line):
                return at, line
        return None, ""

    def wait(self, what, seconds=40):
        until = time.monotonic() + seconds
        while not what():
            if time.monotonic() > until or not self.reader.is_alive():
                pytest.fail("not within %s s: %s" % (seconds, "".join(line for _, line in self.lines)[-3000:]))
            time.sleep(0.02)

    def noted(self, file, *names):
        """{host: lines} of what the tests noted."""
        files = {n: self.lab[n].home / file for n in names or self.names}
        return {n: path.read_text().split() if path.exists() else [] for n, path in files.items()}

    def wait_for_note(self, file, count=1, *names):
        self.wait(lambda: all(len(lines) >= count for lines in self.noted(file, *names).values()))

    def pids(self, name, words, without="listener"):
        return [pid for pid, line in self.lab[name].processes().items() if words in line and without not in line]

    def kill(self, name, words, sig=signal.SIGKILL, without="listener"):
        killed = 0
        for pid in self.pids(name, words, without):
            try:
                os.kill(pid, sig)
                killed += 1
            except ProcessLookupError:
                pass
        return killed

    def start_sshd(self, name):
        self.lab[name].run(["/usr/sbin/sshd", "-E", "/run/lab/sshd.log", "-f", "/run/lab/sshd_config"])

    def watch_ends(self, names, since, seconds):
        """{host: seconds after `since` when nothing of ours was left on it}"""
        gone = {}
        while len(gone) < len(names) and time.monotonic() < since + seconds:
            for name in names:
                if name not in gone and not self.left(name):
                    gone[name] = time.monotonic() - since
            time.sleep(0.2)
        return gone, {name: self.left(name) for name in names if name not in gone}


HANGS = """
@pytest.mark.parametrize("n", range(%d))
def test_a(n):
    note("ran", n)
    time.sleep(0.02 if HERE == "here" else 300)
"""


def attempts(result):
    return {int(re.search(r"\[(\d+)\]", e["nodeid"]).group(1)): e["attempt"] for e in result.tests}


def all_ran(hosts, result, tests, lost):
    """Each test passed; nothing ran twice but what `lost` hosts had begun, which is attempt 2."""
    assert result.rc == 0 and result.summary == {"passed": tests}, result
    ran = {name: sorted(map(int, numbers)) for name, numbers in hosts.noted("ran", *[h.name for h in hosts.lab.hosts]).items()}
    begun = {n for name in lost for n in ran[name]}
    rest = [n for name, numbers in ran.items() if name not in lost for n in numbers]
    assert sorted(rest) == list(range(tests)), (ran, result)
    assert all(len(set(numbers)) == len(numbers) for numbers in ran.values()), ran
    assert begun <= {n for n, attempt in attempts(result).items() if attempt == 2}, (begun, attempts(result))
    assert max(attempts(result).values()) <= 2


def test_a_connection_that_is_dead_is_found(lab, project):
    """All packets are dropped, or those in one direction, or the host loses its power, and nobody says so: it is told within 45 s, and what the host had runs elsewhere."""
    whats = ("both", "to", "from", "power")
    hosts = Ways(lab, project, whats, suite=HANGS % 40)
    hosts.start()
    hosts.wait_for_note("ran", 1)
    cut = time.monotonic()
    for name in hosts.names:
        what = name.split("-")[1]
        hosts.lab.power_off(name) if what == "power" else hosts.lab.partition(name, way=None if what == "both" else what)
    took = time.monotonic() - cut
    alive = [name for name in hosts.names if not name.endswith("-power")]
    gone, rest = hosts.watch_ends(alive, cut, FOUND_S + took + 5)
    result = hosts.end()
    found = {name: hosts.lost_at(name)[0] for name in hosts.names}
    assert all(at and at - cut < FOUND_S + took for at in found.values()), ({n: at and at - cut for n, at in found.items()}, result)
    assert not rest, rest
    assert all(seconds < (GONE_S if not name.endswith("-from") else FOUND_S) + took + 1 for name, seconds in gone.items()), gone
    all_ran(hosts, result, 40, hosts.names)
    assert "nothing has come from there for" in result.out and "attempt 2" in result.out, result


LOUD = """
import hashlib
@pytest.mark.parametrize("n", range(%d))
def test_a(n):
    note("ran", n)
    os.write(2, b"loud %%03d " %% n + b"x" * 60000 + b"\\n")
    print("begin" + "y" * 100000 + "the end of %%d." %% n)
    time.sleep(0.4)
    assert n %% 10, hashlib.md5(b"%%d" %% n).hexdigest()
"""
SLOW_COLLECTION = """
def pytest_collection_modifyitems():
    note("collecting", 1)
    time.sleep(1.5)
"""


def test_ten_cuts_of_all_hosts_cost_nothing(lab, project):
    """While they collect, while workers start, and with much output on its way: all sessions of sshd are killed, or the connections reset, at the same moment."""
    tests = 150
    hosts = Ways(lab, project, ("a",), here=False, suite=LOUD % tests, conftest=SLOW_COLLECTION)
    chance = random.Random(os.environ.get("XD_CUT_SEED") or 11)

    def cut(how):
        for name in hosts.names:
            hosts.kill(name, "sshd: root@notty") if how == "kill" else hosts.lab.reset(name)

    hosts.start("-s", workers=2)
    hosts.wait_for_note("collecting")
    for number in range(10):
        cut("kill" if number % 3 else "reset")
        time.sleep(0.3 + 0.6 * chance.random())
        if not hosts.reader.is_alive():
            break
    result = hosts.end()
    ran = sorted(int(n) for numbers in hosts.noted("ran").values() for n in numbers)
    assert ran == list(range(tests)), (number, ran, result)
    assert result.rc == 1 and result.summary == {"passed": tests - tests // 10, "failed": tests // 10} and set(attempts(result).values()) == {1}, result
    assert all(result.out.count("the end of %d." % n) >= 1 for n in range(0, tests, 10)), result
    assert number >= 6 and result.out.count("taken up again") >= 9 and "lost " not in result.out, (number, result)
    all_gone = hosts.watch_ends(hosts.names, time.monotonic(), GONE_S)[1]
    assert not all_gone, all_gone


QUICK = """
@pytest.mark.parametrize("n", range(%d))
def test_a(n):
    note("ran", n)
    time.sleep(0.25)
"""


def test_a_link_that_is_down_for_some_seconds_costs_nothing(lab, project):
    """Both ways, or in one direction: for 5 s, which TCP bridges, and for 20 s, which it does not."""
    hosts = Ways(lab, project, ("both", "to", "from"), here=False, suite=QUICK % 700)
    hosts.start()
    hosts.wait_for_note("ran", 2)
    for seconds in (5, 20):
        for name in hosts.names:
            what = name.split("-")[1]
            hosts.lab.partition(name, way=None if what == "both" else what)
        time.sleep(seconds)
        hosts.lab.heal(*hosts.names)
        time.sleep(1)
    result = hosts.end()
    assert "lost " not in result.out, result
    all_ran(hosts, result, 700, [])
    assert set(attempts(result).values()) == {1}, result


ENDS = """
@pytest.fixture(scope="session", autouse=True)
def session():
    yield
    note("teardown", 1)
    time.sleep(0.7)
def pytest_sessionfinish():
    note("finish", 1)
    time.sleep(0.7)
def pytest_unconfigure():
    note("unconfigure", 1)
    time.sleep(0.3)
"""


def test_cuts_in_the_last_second(lab, project):
    """The results are there, the sessions end; then nothing but goodbye is to be said."""
    hosts = Ways(lab, project, ("a",), here=False, suite=QUICK % 12, conftest=ENDS)
    hosts.start("--reconnect-timeout=10s")
    for file in ("teardown", "finish", "unconfigure"):
        hosts.wait_for_note(file)
        for name in hosts.names:
            hosts.kill(name, "sshd: root@notty")
    last = time.monotonic()
    while hosts.reader.is_alive() and time.monotonic() < last + 3:
        time.sleep(0.08)
        for name in hosts.names:
            hosts.kill(name, "sshd: root@notty")
    result = hosts.end()
    assert "lost " not in result.out and time.monotonic() - last < 25, result
    all_ran(hosts, result, 12, [])
    rest = hosts.watch_ends(hosts.names, time.monotonic(), 15)[1]  # one whose last acknowledgement was cut off waits for another pipe
    assert not rest, rest


def test_without_time_to_come_back(lab, project):
    """--reconnect-timeout=none --on-lost=fail: what the hosts had begun is lost, once and at once; what they had not runs elsewhere."""
    hosts = Ways(lab, project, ("a",), suite=HANGS % 20)
    hosts.start("--reconnect-timeout=none", "--on-lost=fail")
    hosts.wait_for_note("ran")
    assert hosts.kill("libssh-a", "--guarded-by") == 1
    assert hosts.kill("openssh-a", "xdagent-", without="--guarded-by") == 1
    assert hosts.kill("command-a", "sshd: root@notty") == 1
    result = hosts.end()
    assert result.rc == 1, result
    lost = {e["nodeid"] for e in result.tests if e["outcome"] == "lost"}
    begun = {"test_a.py::test_a[%s]" % n for numbers in hosts.noted("ran").values() for n in numbers}
    everywhere = [n for numbers in hosts.noted("ran", *[h.name for h in hosts.lab.hosts]).values() for n in numbers]
    assert begun <= lost and len(result.tests) == 20, (begun, lost, result)
    assert len(everywhere) == len(set(everywhere)) and len(everywhere) >= 20 - len(lost) + len(begun), (everywhere, result)
    assert all(hosts.lost_at(name)[0] for name in hosts.names) and "--on-lost=fail" in result.out, result
    rest = hosts.watch_ends(hosts.names, time.monotonic(), GONE_S)[1]
    assert not rest, rest


def test_another_host_answers(lab, project):
    """The host that is dialled again has another key, has been started anew, has no ssh server any more, or is slow to have one."""
    hosts = Ways(lab, project, ("key", "anew", "refuses", "late"), suite=HANGS.replace("300", "(12 if HERE.endswith('-late') else 300)") % 60)
    hosts.start("--reconnect-timeout=16s")
    hosts.wait_for_note("ran")
    cut = time.monotonic()
    for name in hosts.names:
        what, etc = name.split("-")[1], hosts.lab[name].folder / "etc"
        if what == "key":
            os.unlink(str(etc / "host_key"))
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(etc / "host_key")], check=True)
        hosts.kill(name, "[listener]", signal.SIGTERM if what == "refuses" else signal.SIGKILL, without="nothing")
        hosts.kill(name, "sshd: root@notty")
        if what == "anew":
            for pid in hosts.left(name):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if what in ("key", "anew"):
            hosts.start_sshd(name)
    time.sleep(5)
    late = [name for name in hosts.names if name.endswith("-late")]
    for name in late:
        hosts.start_sshd(name)
    result = hosts.end()
    told = {name: (hosts.lost_at(name)[0] or cut + 99) - cut for name in hosts.names}
    lines = {name: hosts.lost_at(name)[1] for name in hosts.names}
    all_ran(hosts, result, 60, [name for name in hosts.names if name not in late])
    for way in WAYS:
        assert told[way + "-anew"] < 13 and "no agent of this run is there any more" in lines[way + "-anew"], (told, lines)
        assert 10 < told[way + "-refuses"] < 25 and "refused" in lines[way + "-refuses"], (told, lines)
        assert not lines[way + "-late"], lines
        assert "host key" in lines[way + "-key"].lower() or "IDENTIFICATION HAS CHANGED" in lines[way + "-key"], lines
    for way in ("libssh", "openssh"):
        assert told[way + "-key"] < 13 and "CHANGED" in lines[way + "-key"], (told, lines)


def test_no_room_for_all_that_come_back_at_once(lab, project):
    """MaxStartups refuses most of them at first; MaxSessions is what each needs."""
    hosts = Ways(lab, project, ("a",), here=False, ways=("libssh", "openssh"), suite=QUICK % 150,
                 plan={"sshd": ["MaxStartups 2:100:2", "MaxSessions 1"]})
    one = [hosts.spec(name, 1, "//env:N=%d" % n) for name in hosts.names for n in range(3)]
    hosts.start(*one)
    hosts.wait_for_note("ran", 8)
    for _ in range(2):
        for name in hosts.names:
            seen = [[], []]

            def settled():
                """A connection that is being refused is counted for a moment, too."""
                seen[:] = [seen[1], sorted(hosts.pids(name, "sshd: root@notty"))]
                return seen[0] == seen[1] and len(seen[1]) == 4
            hosts.wait(settled)
            assert hosts.kill(name, "sshd: root@notty") == 4
    result = hosts.end()
    all_ran(hosts, result, 150, [])
    assert set(attempts(result).values()) == {1} and result.out.count("taken up again") >= 8 and "lost " not in result.out, result


def test_processes_that_are_stopped(lab, project):
    """SIGSTOP of an agent, for some seconds or for ever: the process above it lets it go on, and nothing is lost. Of both, as when a machine is frozen: the
    host is lost, and all that was started there ends as soon as it goes on."""
    hosts = Ways(lab, project, ("short", "ever", "frozen"), suite=HANGS.replace("300", "(300 if HERE.endswith('-frozen') else 0.3)") % 900)
    frozen = [name for name in hosts.names if name.endswith("-frozen")]
    hosts.start()
    hosts.wait_for_note("ran")
    begin = time.monotonic()
    for name in hosts.names:
        assert hosts.kill(name, "xdagent-" if name in frozen else "--guarded-by", signal.SIGSTOP) == 1 + (name in frozen)
    time.sleep(12)
    for name in hosts.names:
        if name.endswith("-short"):
            hosts.kill(name, "--guarded-by", signal.SIGCONT)
    hosts.wait(lambda: all(hosts.lost_at(name)[0] for name in frozen), FOUND_S)
    for name in frozen:
        hosts.kill(name, "xdagent-", signal.SIGCONT)
    gone, rest = hosts.watch_ends(frozen, time.monotonic(), 12)
    result = hosts.end()
    assert not rest, (gone, rest, result)
    for name in hosts.names:
        at, line = hosts.lost_at(name)
        assert (at and at - begin < FOUND_S) if name in frozen else not at, (name, at and at - begin, line, [text for _, text in hosts.lines if "PASSED" not in text])
    all_ran(hosts, result, 900, frozen)


@pytest.mark.parametrize("seconds", [20, 40])
def test_a_controller_that_is_suspended(lab, project, seconds):
    """SIGSTOP of xdctl, as when a laptop sleeps: 20 s cost nothing. After 40 s nothing of ours is left on the hosts; what they had runs here."""
    hosts = Ways(lab, project, ("a",), here=False, suite=HANGS.replace("300", "%d" % (seconds + 3)) % (3 if seconds == 20 else 12))
    for file in ("test_a.py", "conftest.py"):
        project.write(**{file[:-3]: (hosts.lab[hosts.names[0]].home / "proj" / file).read_text().replace('== "here"', "not in %r" % hosts.names)})
    hosts.start(*(["--tx=popen//python=" + project.python] if seconds == 40 else []))
    hosts.wait_for_note("ran")
    os.kill(hosts.process.pid, signal.SIGSTOP)
    begin = time.monotonic()
    gone, rest = hosts.watch_ends(hosts.names, begin, seconds)
    os.kill(hosts.process.pid, signal.SIGCONT)
    result = hosts.end()
    if seconds == 20:
        assert not gone and "lost " not in result.out and set(attempts(result).values()) == {1}, (gone, result)
        all_ran(hosts, result, 3, [])
        return
    assert not rest and all(s < GONE_S + 1 for s in gone.values()), (gone, rest)
    assert result.rc == 0 and result.summary == {"passed": 12} and all(hosts.lost_at(name)[0] for name in hosts.names), result


def test_dead_while_it_begins(lab, project):
    """Packets are dropped while the agent is brought, and while tests are collected: told within 45 s, and nothing of ours stays there."""
    conftest = "\nif not HERE.startswith('here'):\n    note('collecting', 1)\n    time.sleep(300)\n"
    hosts = Ways(lab, project, ("brings", "collects"), suite=HANGS.replace("0.02", "4.5") % 10, conftest=conftest)
    for name in hosts.names:
        if name.endswith("-brings"):  # what the script calls before it asks for the agent's bytes
            mktemp = hosts.lab[name].folder / "bin" / "mktemp"
            mktemp.write_text("#!/bin/sh\necho 1 >>~/bringing\nsleep 2\nexec /usr/bin/mktemp \"$@\"\n")
            mktemp.chmod(0o755)
    hosts.start("--min-workers=1")
    brings = [name for name in hosts.names if name.endswith("-brings")]
    collects = [name for name in hosts.names if name not in brings]
    hosts.wait_for_note("bringing", 1, *brings)
    hosts.lab.partition(*brings)
    begin = time.monotonic()
    hosts.wait_for_note("collecting", 1, *collects)
    hosts.lab.partition(*collects)
    cut = time.monotonic()
    gone, rest = hosts.watch_ends(hosts.names, cut, FOUND_S)
    result = hosts.end()
    told = {name: [at - begin for at, line in hosts.lines if name in line and ("lost" in line or "error" in line or "time" in line)] for name in hosts.names}
    assert all(told.values()) and all(t[0] < FOUND_S + cut - begin for t in told.values()), (told, result)
    assert not rest and all(seconds < GONE_S + 2 for seconds in gone.values()), (gone, rest, result)
    assert result.rc in (0, 6) and result.summary == {"passed": 10}, result


def test_a_disk_that_is_full_when_the_connection_is_cut(lab, project):
    hosts = Ways(lab, project, ("a",), here=False, suite=QUICK.replace('note("ran", n)', 'note("../var/tmp/ran", n)') % 60)
    for name in hosts.names:
        host = hosts.lab[name]
        for place in ("/tmp", "/root/.cache", "/dev/shm"):
            host.run(["mkdir", "-p", place])
            assert host.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=1777", "none", place]).returncode == 0
    ran = {name: hosts.lab[name].folder / "vartmp" / "ran" for name in hosts.names}
    hosts.start()
    hosts.wait(lambda: all(path.exists() and len(path.read_text().split()) >= 2 for path in ran.values()))
    for name in hosts.names:
        for place in ("/tmp", "/root/.cache", "/dev/shm"):
            hosts.lab[name].run(["sh", "-c", "cat /dev/zero >%s/full; cat /dev/zero >>%s/full" % (place, place)])
        hosts.kill(name, "sshd: root@notty")
    result = hosts.end()
    numbers = sorted(int(n) for path in ran.values() for n in path.read_text().split())
    assert result.rc == 0 and numbers == list(range(60)) and result.out.count("taken up again") >= 3 and "lost " not in result.out, (numbers, result)
