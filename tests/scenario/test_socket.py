"""socket=HOST:PORT: workers behind `xdctl serve`, with the keys that both ends need.  Real servers on 127.0.0.1, each with folders of its own; whatever a test
starts ends with it."""
import collections
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from conftest import XDCTL, clean_environment, end
from faults import marked, wait_until

SUITE = """
import os, pytest
@pytest.mark.parametrize("n", range(12))
def test_ok(n): pass
def test_bad(): assert 1 == 2
def test_skips(): pytest.skip("not today")
@pytest.mark.xfail
def test_expected(): assert 0
@pytest.fixture
def torn():
    yield
    assert 0, "teardown"
def test_errs(torn): pass
def test_printed(): print("printed in", os.getcwd()); assert 0
"""
# Each test says that it ran, as a line of the file; then it takes its time.
SLOW = """
import os, time, pytest
def ran(n):
    fd = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%%d %%d %%d\\n" %% (n, os.getpid(), time.time() * 1000))
    os.close(fd)
@pytest.mark.parametrize("n", range(%d))
def test_slow(n):
    ran(n)
    time.sleep(%s)
"""
DIALS = 15  # seconds, at most, for what has to be said at once
Ran = collections.namedtuple("Ran", "n pid ms")


class Server(object):
    """One `xdctl serve`, with a folder of keys, a home and a cache of its own.  It starts when somebody asks for its address: keys that are authorized before
    are there from its start, and nobody has to wait until it reads them."""
    count = 0

    def __init__(self, folder, *args, **env):
        Server.count += 1
        self.name = "server%d" % Server.count
        self.folder = folder / self.name
        self.folder.mkdir()
        self.keys = self.folder / "keys"
        self.ran_file = folder / "ran"
        self.env = clean_environment(HOME=str(self.folder), XDG_CACHE_HOME=str(self.folder / "cache"), RAN=str(self.ran_file), XD_MARK=self.mark, **env)
        self.args, self.process, self.log = args, None, None

    @property
    def mark(self):
        return "%s-%d" % (self.name, os.getpid())

    def start(self, port=0):
        """port: of one that was there before."""
        self.log = open(str(self.folder / "log"), "ab")
        self.process = subprocess.Popen([XDCTL, "serve", "--keys", str(self.keys), "--bind", "127.0.0.1:%d" % port] + list(self.args), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log, env=self.env)
        self.said = [self.process.stdout.readline().decode() for _ in range(4)]
        found = re.match(r"listening on 127\.0\.0\.1:(\d+)\n", self.said[0])
        assert found, (self.said, self.logged)
        self.port = int(found.group(1))
        self.fingerprint = self.said[2].split()[1]
        return self

    @property
    def at(self):
        if not self.process:
            self.start()
        return "127.0.0.1:%d" % self.port

    @property
    def logged(self):
        return (self.folder / "log").read_text() if self.process else ""

    @property
    def ran(self):
        lines = self.ran_file.read_text().splitlines() if self.ran_file.exists() else []
        return [Ran(*map(int, line.split())) for line in lines]

    @property
    def left(self):
        """What was started here and is alive: agents, and what they started."""
        return marked(self.mark, self.process and self.process.pid)

    def waits(self, seconds=20):
        """For those of a run that has ended."""
        wait_until(lambda: not self.left, "the end of %s" % self.left, seconds)

    @property
    def reads(self):
        """How often the lists of keys were read again."""
        return self.logged.count("the lists of keys were read again")

    def stop(self):
        if self.process:
            end(self.process)
            self.log.close()


class Controller(object):
    """A folder of keys."""
    def __init__(self, project, name="me", server=None, options=""):
        self.project, self.keys = project, project.path / name
        self.untrusted = server
        assert self.tool("keygen", "-C", name).rc == 0
        if server:
            self.authorized(server, options)

    def trusts(self, at):
        assert self.tool("trust", "--yes", at).rc == 0
        self.untrusted = None

    @property
    def line(self):
        return (self.keys / "id.pub").read_text().strip()

    def tool(self, command, *args, **more):
        return self.project.xdctl(command, "--keys", more.pop("keys", self.keys), *args, **more)

    def authorized(self, server, options=""):
        count = server.reads
        done = self.tool("keys", "authorize", (options + " " + self.line).strip(), keys=server.keys)
        assert done.rc == 0, done
        if server.process and server.process.poll() is None:
            wait_until(lambda: server.reads > count, "the key is read", 5)

    def run(self, tx, *args, **more):
        if self.untrusted:
            self.trusts(self.untrusted.at)
        args = ["--keys=%s" % self.keys] + ["--tx=%s" % one for one in ([tx] if isinstance(tx, str) else tx)] + list(args)
        return self.project.run(*args, "-p", "no:cacheprovider", **more)

    def start(self, tx, *args, **more):
        if self.untrusted:
            self.trusts(self.untrusted.at)
        self.project.count += 1
        jsonl = str(self.project.path / ("run%d.jsonl" % self.project.count))
        process = self.project.start("run", "--jsonl=" + jsonl, "--python=" + self.project.python, "--keys=%s" % self.keys, *(["--tx=%s" % one for one in tx] + list(args)),
                                     "-p", "no:cacheprovider", **more)
        return process, lambda: self.project.finish(process, jsonl)


@pytest.fixture
def serve(tmp_path):
    """A maker of servers: serve("--max-agents=1", NAME=value of its environment)."""
    made = []

    def make(*args, **env):
        made.append(Server(tmp_path, *args, **env))
        return made[-1]
    yield make
    for one in made:
        one.stop()
    for one in made:
        one.waits()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def me(project, server):
    return Controller(project, server=server)


def one_line(result, *said):
    lines = [line for line in (result.err + result.out).splitlines() if line.startswith(("xdctl: ", "xd: error: "))]
    assert len(lines) == 1, result
    for text in said:
        assert text in lines[0], (text, result)
    return lines[0]


# ---- as users go about it


def test_the_way_of_a_user(project, serve):
    """keygen, authorize, trust, run; outcomes and exit code as with popen.  Nothing is said of the folder: it is that of the user."""
    server = serve().start()
    assert "no controller is authorized yet" in server.said[3] and re.match(r"key xdk1 \S{40}\n", server.said[1])
    env = {"XDG_CONFIG_HOME": str(project.path / "config")}
    project.write(test_a=SUITE)
    missing = project.run("--tx=socket=" + server.at, env=env)
    assert missing.rc == 6, missing
    one_line(missing, "there is no key of this user yet", "xdctl keygen makes one")
    made = project.xdctl("keygen", env=env)
    assert made.rc == 0 and re.match(r"xdk1 \S{40} \S+@\S+\n$", made.out) and "fingerprint: SHA256:" in made.err, made
    again = project.xdctl("keygen", env=env)
    assert (again.rc, again.out) == (0, made.out) and "it is kept" in again.err, again
    folder = project.path / "config" / "xdctl"
    assert (folder / "id").stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "id.pub").read_text() == made.out

    unknown = project.run("--tx=socket=" + server.at, env=env)
    assert unknown.rc == 6, unknown
    one_line(unknown, "the key of %s is not known here" % server.at, "xdctl trust " + server.at)
    nobody = project.xdctl("trust", server.at, env=env)
    assert nobody.rc == 6 and "nobody has agreed" in nobody.err and server.fingerprint in nobody.err, nobody
    trusted = project.xdctl("trust", "--yes", server.at, env=env)
    assert trusted.rc == 0 and server.fingerprint in trusted.err and "trusted from now on" in trusted.err, trusted
    assert "it is trusted already" in project.xdctl("trust", server.at, env=env).err
    refused = project.run("--tx=socket=" + server.at, env=env)
    assert refused.rc == 6, refused
    line = one_line(refused, "refused by the server: it does not know your key", "authorized_controllers: ")
    wanted = line.rpartition("authorized_controllers: ")[2]
    assert made.out.startswith(wanted + " "), (line, made)

    assert project.xdctl("keys", "authorize", "--keys", server.keys, wanted + " me").rc == 0
    wait_until(lambda: "1 authorized" in server.logged, "the key is read", 5)
    result, here = project.run("--tx=socket=" + server.at, env=env), project.run("--tx=popen")
    assert result.rc == here.rc == 1 and "lost" not in result.out, result
    assert result.outcomes == here.outcomes and result.categories == here.categories and result.summary == here.summary
    assert "printed in %s" % server.folder in result.out, result
    assert re.search(r"accepted: key SHA256:\S+ \(me\) from 127\.0\.0\.1\n", server.logged) and "for %s" % made.out.split()[2] in server.logged, server.logged
    server.waits()


def test_several_workers_and_popen_beside_them(project, server, me):
    project.write(test_a=SLOW % (24, 0.02))
    result = me.run("2*socket=" + server.at, "--dist=load", env={"RAN": str(server.ran_file)})
    assert result.rc == 0 and "24 passed" in result.out and {t["worker"] for t in result.tests} == {"gw0", "gw1"}, result
    assert len(server.ran) == 24 and len({r.pid for r in server.ran}) == 2
    both = me.run(["2*socket=" + server.at, "popen"], env={"RAN": str(server.ran_file)})
    assert both.rc == 0 and "24 passed" in both.out and {t["worker"] for t in both.tests} == {"gw0", "gw1", "gw2"}, both


def test_a_second_run_has_the_code_of_now(project, server, me):
    """xdist's server kept the modules of the first run."""
    project.write(code="VALUE = 1\n", test_a="import code_of\ndef test_a(): assert code_of.VALUE == 1\n", code_of="VALUE = 1\n")
    assert me.run("socket=" + server.at).rc == 0
    project.write(code_of="VALUE = 2\n")
    changed = me.run("socket=" + server.at)
    assert changed.rc == 1 and "assert 2 == 1" in changed.out, changed
    project.write(test_a="import code_of\ndef test_b(): assert code_of.VALUE == 2\n")
    assert list(me.run("socket=" + server.at).outcomes) == ["test_a.py::test_b"]


def test_rsyncdir(project, server, me):
    """As in the documentation of xdist: --rsyncdir PKG PKG."""
    project.write(**{"pkg/__init__.py": "", "pkg/value.py": "VALUE = 'first'\n", "pkg/test_p.py": "import os\nfrom pkg import value\ndef test_p(): print('is', value.VALUE, os.path.exists('pkg/data.txt'))\n",
                     "other.txt": "not asked for"})
    result = me.run("socket=" + server.at, "--rsyncdir", "pkg", "pkg", "-rP")
    assert result.rc == 0 and "is first False" in result.out, result
    project.write(**{"pkg/value.py": "VALUE = 'second'\n", "pkg/data.txt": "x"})
    result = me.run("socket=" + server.at, "--rsyncdir", "pkg", "pkg", "-rP")
    assert result.rc == 0 and "is second True" in result.out, result
    assert not [p for p in server.folder.rglob("other.txt")]


def test_two_controllers_at_once(project, server, me):
    other = Controller(project, "other", server)
    project.write(test_a=SLOW % (8, 0.1))
    runs = [one.start(["socket=" + server.at], env={"RAN": "ignored"}) for one in (me, other)]
    results = [finish() for _process, finish in runs]
    assert [r.rc for r in results] == [0, 0], results
    spans = {pid: [r.ms for r in server.ran if r.pid == pid] for pid in {r.pid for r in server.ran}}
    assert len(spans) == 2 and all(len(times) == 8 for times in spans.values()), server.ran
    assert max(min(times) for times in spans.values()) < min(max(times) for times in spans.values()), "one waited for the other"
    assert "(me)" in server.logged and "(other)" in server.logged


def test_files_alone_and_the_check_of_hosts(project, server, me):
    project.write(test_a="def test_a(): pass\n")
    me.trusts(server.at)
    source, to = project.path / "source", server.folder / "copy"
    (source / "below").mkdir(parents=True)
    (source / "a.txt").write_text("one")
    (source / "below" / "b.bin").write_bytes(bytes(range(256)) * 4096)
    for text in ("one", "another"):
        (source / "a.txt").write_text(text)
        done = project.xdctl("sync", "--keys=%s" % me.keys, "%s/" % source, "socket=%s:%s" % (server.at, to))
        assert done.rc == 0, done
        found = [p for p in to.rglob("*.txt")]
        assert [p.read_text() for p in found] == [text], done
    assert [p.read_bytes() for p in to.rglob("b.bin")] == [bytes(range(256)) * 4096]
    good = project.xdctl("hosts", "check", "--keys=%s" % me.keys, "--tx", "socket=%s" % server.at, "--python=" + project.python)
    assert good.rc == 0, good
    other = Controller(project, "stranger")
    bad = project.xdctl("hosts", "check", "--keys=%s" % other.keys, "--tx", "socket=%s" % server.at, "--python=" + project.python)
    assert bad.rc == 6 and "is not known here" in bad.out, bad
    server.waits()


def test_the_folder_of_keys_counts_from_work_dir(project, server, me):
    project.write(test_a="def test_a(): pass\n")
    me.trusts(server.at)
    result = project.run("--work-dir=%s" % project.root, "--keys=../me", "--tx=socket=%s" % server.at, cwd="/")
    assert result.rc == 0, result


# ---- keys that are not good: one line each, all different, and at once


class Garbage(object):
    """A listener that is no server of ours: what it says to everybody."""
    def __init__(self, says, reads=True):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.at = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.says, self.reads = says, reads
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        try:
            while True:
                one, _ = self.listener.accept()
                if self.reads:
                    one.recv(64)
                one.sendall(self.says)
                one.close()
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def at_once(me, at, *said):
    began = time.monotonic()
    result = me.run("socket=" + at)
    assert result.rc == 6 and time.monotonic() - began < DIALS, (time.monotonic() - began, result)
    return one_line(result, *said)


def test_each_bad_key_has_its_own_words(project, serve):
    project.write(test_a="def test_a(): pass\n")
    server = serve()
    me = Controller(project, server=server)
    stranger = Controller(project, "stranger")
    late = Controller(project, "late", server, "expires=2020-01-01")
    far = Controller(project, "far", server, 'from="10.0.0.0/8,2001:db8::/32"')
    gone = Controller(project, "gone", server)
    assert gone.tool("keys", "revoke", "gone", keys=server.keys).rc == 0
    stranger.trusts(server.at)
    lines = [at_once(stranger, server.at, "refused by the server: it does not know your key", "add this line to its file authorized_controllers: " + stranger.line.rpartition(" ")[0])]
    lines.append(at_once(late, server.at, "refused by the server: the key has expired"))
    lines.append(at_once(far, server.at, "refused by the server: the key may not be used from this address"))
    lines.append(at_once(gone, server.at, "refused by the server: the key was revoked"))
    other = Controller(project, "other")
    me.trusts(server.at)
    (me.keys / "known_brokers").write_text("%s %s\n" % (server.at, other.line))
    lines.append(at_once(me, server.at, "THE KEY OF %s HAS CHANGED" % server.at, server.fingerprint, "xdctl trust --replace " + server.at))
    listener = Garbage(b"HTTP/1.0 400 Bad request\r\n\r\n")
    (me.keys / "known_brokers").write_text("%s %s\n" % (listener.at, other.line))
    try:
        lines.append(at_once(me, listener.at, "what answers at %s is no server of xd" % listener.at, "it does not speak CURVE", "it said: HTTP/1.0 400 Bad request"))
    finally:
        listener.close()
    bare = [re.sub(r"127\.0\.0\.1:\d+|SHA256:\S+", "", line) for line in lines]
    assert len(set(bare)) == 6, lines
    assert server.logged.count("refused: key ") == 4 and all(word in server.logged for word in ("is not known", "has expired", "was revoked", "from this address")), server.logged


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + b"\0" * 48, b"\x1b[31m" * 1000], ids=["ssh", "NULL", "much"])
def test_what_is_no_server(project, says):
    """Neither a run nor trust takes it for one; what it says does no harm."""
    listener, me = Garbage(says), Controller(project)
    project.write(test_a="def test_a(): pass\n")
    (me.keys / "known_brokers").write_text("%s %s\n" % (listener.at, me.line))
    try:
        line = at_once(me, listener.at, "what answers at %s is no server of xd (xdctl serve): it does not speak CURVE" % listener.at)
        asked = me.tool("trust", "--yes", listener.at)
    finally:
        listener.close()
    assert asked.rc == 6 and "\x1b" not in line + asked.err, (line, asked)
    one_line(asked, "what answers at %s is no server of xd: it does not say its key" % listener.at)


def test_what_says_nothing_gets_no_trust(project):
    listener, me = Garbage(b""), Controller(project)
    try:
        asked = me.tool("trust", "--yes", listener.at)
    finally:
        listener.close()
    assert asked.rc == 6 and not (me.keys / "known_brokers").exists(), asked
    one_line(asked, "what answers at %s is no server of xd: it does not say its key" % listener.at)


def test_another_key_at_a_known_address(project, server, me):
    """trust refuses it, too, until the user says that it is meant."""
    me.trusts(server.at)
    server.stop()
    (server.keys / "id").unlink()
    server.start(server.port)
    project.write(test_a="def test_a(): pass\n")
    assert "HAS CHANGED" in one_line(me.run("socket=" + server.at))
    refused = me.tool("trust", "--yes", server.at)
    assert refused.rc == 6, refused
    one_line(refused, "THE KEY HAS CHANGED", "known_brokers, line 1", "--replace")
    assert me.tool("trust", "--yes", "--replace", server.at).rc == 0
    assert me.run("socket=" + server.at).rc == 0
    assert len((me.keys / "known_brokers").read_text().splitlines()) == 1


def test_trust_by_a_key_that_is_given(project, server):
    """Nobody is asked; a key that is none is refused."""
    me = Controller(project)
    me.authorized(server)
    wrong = me.tool("trust", "--key", "x" * 39, "127.0.0.1")
    assert wrong.rc == 4 and "40 characters" in one_line(wrong), wrong
    server.start()
    assert me.tool("trust", "--key", server.said[1].split(" ", 1)[1].strip(), server.at).rc == 0
    project.write(test_a="def test_a(): pass\n")
    assert me.run("socket=" + server.at).rc == 0


@pytest.mark.parametrize("by", ["the tool", "hand", "time"])
def test_a_key_that_is_taken_away_cuts_its_run(project, server, by):
    """Within 5 seconds, with the reason; what ran at the server ends."""
    project.write(test_a=SLOW % (2, 60))
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    me = Controller(project, server=server, options="expires=" + soon if by == "time" else "")
    _process, finish = me.start(["socket=" + server.at], "--on-lost=fail")
    wait_until(lambda: server.ran, "a test runs")
    began = time.monotonic()
    if by == "the tool":
        assert me.tool("keys", "revoke", "me", keys=server.keys).rc == 0
    elif by == "hand":
        (server.keys / "authorized_controllers").write_text("")
    result = finish()
    assert time.monotonic() - began < 5 + 2, result
    words = {"the tool": "the key was revoked", "hand": "it does not know your key", "time": "the key has expired"}[by]
    assert result.rc in (6, 7) and words in result.out + result.err, result
    assert "cut off: key SHA256:" in server.logged
    server.waits(12)


# ---- what a line of authorized_controllers allows


def test_limits_of_a_key(project, server):
    project.write(test_a="import os\ndef test_a(): print('niceness', os.nice(0))\ndef test_b(): pass\ndef test_c(): pass\n")
    me = Controller(project, server=server, options='max-workers=1,command="nice -n 5"')
    result = me.run("2*socket=" + server.at, "-rP")
    assert result.rc == 0 and "3 passed" in result.out and len({t["worker"] for t in result.tests}) == 1, result
    assert "niceness %d" % (os.nice(0) + 5) in result.out, result
    assert "1 of 2 workers are started: the key that was used may have no more here" in result.out + result.err, result


def test_a_command_that_cannot_be_started(project, server):
    project.write(test_a="def test_a(): pass\n")
    me = Controller(project, server=server, options='command="/nonexistent/program with words"')
    result = me.run("socket=" + server.at)
    assert result.rc == 6, result
    one_line(result, "refused by the server: the agent cannot be started", "/nonexistent/program")


def test_as_many_agents_as_may_be(project, serve):
    server = serve("--max-agents=1")
    me = Controller(project, server=server)
    project.write(test_a=SLOW % (1, 60))
    me.start(["socket=" + server.at])
    wait_until(lambda: server.ran, "a test runs")
    result = me.run("socket=" + server.at)
    assert result.rc == 6, result
    one_line(result, "1 agents run there already, and no more may")


# ---- ends


def test_a_server_that_is_told_to_stop(project, serve):
    """The first signal: no new ones, and those that run come to their end; so does the server."""
    server = serve("--drain=30")
    me = Controller(project, server=server)
    project.write(test_a=SLOW % (6, 0.3))
    _process, finish = me.start(["socket=" + server.at])
    wait_until(lambda: server.ran, "a test runs")
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    late = me.run("socket=" + server.at)
    assert late.rc == 6, late
    one_line(late, "Connection refused", "is xdctl serve running there?")
    result = finish()
    assert result.rc == 0 and "6 passed" in result.out, result
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("how", ["a second signal", "the time is over"])
def test_a_server_that_has_to_stop_now(project, serve, how):
    server = serve("--drain=%d" % (60 if how == "a second signal" else 1))
    me = Controller(project, server=server)
    project.write(test_a=SLOW % (2, 60))
    _process, finish = me.start(["socket=" + server.at], "--reconnect-timeout=1s")
    wait_until(lambda: server.ran, "a test runs")
    server.process.send_signal(signal.SIGTERM)
    if how == "a second signal":
        time.sleep(0.5)
        assert server.process.poll() is None and server.left
        server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(12) == 0
    result = finish()
    assert result.rc in (6, 7) and "lost socket=" + server.at in result.out + result.err, result
    server.waits(5)


def test_a_controller_that_is_killed_leaves_nothing(project, server, me):
    project.write(test_a=SLOW % (4, 60))
    process, _finish = me.start(["2*socket=" + server.at], "--reconnect-timeout=2s")
    wait_until(lambda: len(server.ran) == 2, "both tests run")
    assert server.left
    process.kill()
    process.wait()
    server.waits(35)
    wait_until(lambda: "the agent ended" in server.logged or "the agent was killed" in server.logged, "it is said", 5)
    project.write(test_a="def test_a(): pass\n")
    assert me.run("socket=" + server.at).rc == 0


class Proxy(object):
    """Between a controller and a server.  cut(): whoever is connected is not any more."""
    def __init__(self, to):
        self.to = to
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.at = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.pairs = []
        self.open = True
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        try:
            while True:
                one, _ = self.listener.accept()
                if not self.open:
                    one.close()
                    continue
                other = socket.create_connection(("127.0.0.1", self.to))
                self.pairs.append((one, other))
                for a, b in ((one, other), (other, one)):
                    threading.Thread(target=self.carry, args=(a, b), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def carry(a, b):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                try:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


@pytest.fixture
def proxy(server, me):
    """me: its key is there when the server starts."""
    one = Proxy(int(server.at.rpartition(":")[2]))
    yield one
    one.close()


def test_a_connection_that_is_cut_is_taken_up_again(project, server, me, proxy):
    """Again and again: nothing is lost, and nothing runs twice."""
    me.trusts(proxy.at)
    project.write(test_a=SLOW % (60, 0.1) + "    print('x' * 20000)\n    assert n % 10 != 3\n")
    _process, finish = me.start(["2*socket=" + proxy.at], "-v")
    for cuts in range(5):
        wait_until(lambda: len(server.ran) >= 8 * (cuts + 1), "more tests run")
        proxy.cut()
    result = finish()
    assert result.rc == 1 and "6 failed, 54 passed" in result.out and "lost" not in result.out, result
    assert collections.Counter(r.n for r in server.ran) == {n: 1 for n in range(60)}, server.ran
    assert result.out.count("the connection was cut, and taken up again after") >= 4, result
    assert server.logged.count("is connected again, from 127.0.0.1") >= 4 and server.logged.count("agent 2") == 0, server.logged
    server.waits()


def test_a_connection_that_stays_cut(project, server, me, proxy):
    """The other environment runs what was lost, and at the server nothing is left."""
    me.trusts(proxy.at)
    project.write(test_a=SLOW % (20, 0.1))
    _process, finish = me.start(["socket=" + proxy.at, "popen"], "--reconnect-timeout=1s", env={"RAN": str(server.ran_file)})
    wait_until(lambda: len(server.ran) >= 4, "tests run")
    proxy.open = False
    proxy.cut()
    result = finish()
    assert result.rc == 0 and "20 passed" in result.out and "lost socket=" + proxy.at in result.out, result
    server.waits(15)


@pytest.mark.parametrize("on_lost", ["rerun", "fail"])
def test_a_server_that_is_killed(project, server, me, on_lost):
    """What ran there runs again elsewhere, or is lost, as --on-lost says; its agents end by themselves."""
    project.write(test_a=SLOW % (12, "0.1 if os.environ.get('HERE') else 30"))
    _process, finish = me.start(["socket=" + server.at, "popen//env:HERE=1"], "--on-lost=" + on_lost, "--reconnect-timeout=1s", env={"RAN": str(server.ran_file)})
    wait_until(lambda: len(server.ran) >= 6, "tests run")
    server.process.kill()
    server.process.wait()
    result = finish()
    counts = collections.Counter(result.outcomes.values())
    assert "lost socket=" + server.at in result.out and sum(counts.values()) == 12, result
    if on_lost == "rerun":
        assert result.rc == 0 and counts == {"passed": 12}, result
    else:  # nobody can tell which of those that the agent had were begun
        assert result.rc == 1 and set(counts) == {"passed", "lost"} and counts["lost"] <= 6, result
    server.waits(35)


# ---- wrong use: one clear line


KEY = "xdk1 " + "0" * 40


@pytest.mark.parametrize("command,said", [
    (("serve", "extra"), "one argument too many: 'extra'"),
    (("serve", "--nix"), "--nix: unknown option"),
    (("serve", "--bind", "nowhere"), "--bind 'nowhere': ADDRESS:PORT"),
    (("serve", "--bind", "localhost:0"), "it is no numeric address"),
    (("serve", "--bind", "127.0.0.1:99999"), "ADDRESS:PORT, [ADDRESS]:PORT or :PORT is expected"),
    (("serve", "--bind", "127.0.0.1:-1"), "ADDRESS:PORT, [ADDRESS]:PORT or :PORT is expected"),
    (("serve", "--bind="), "--bind '': ADDRESS:PORT"),
    (("serve", "--max-agents=0"), "--max-agents takes a number from 1 on"),
    (("serve", "--max-agents=-1"), "--max-agents takes a number from 1 on"),
    (("serve", "--max-agents=many"), "invalid numeric value"),
    (("serve", "--max-connections=0"), "--max-connections takes a number from 1 on"),
    (("serve", "--max-connections=-1"), "--max-connections takes a number from 1 on"),
    (("serve", "--drain=-1"), "--drain takes seconds, 0 to 86400"),
    (("serve", "--drain=soon"), "invalid numeric value"),
    (("serve", "--keys="), "--keys names no folder"),
    (("keygen", "extra"), "one argument too many: 'extra'"),
    (("keygen", "--nix"), "--nix: unknown option"),
    (("keygen", "--keys="), "--keys names no folder"),
    (("trust",), "which server? xdctl trust HOST[:PORT]"),
    (("trust", "a", "b"), "one argument too many: 'b'"),
    (("trust", "host:port"), "the port is no number from 1 to 65535"),
    (("trust", "host:0"), "the port is no number from 1 to 65535"),
    (("trust", ":9"), "the host is missing"),
    (("trust", "--key", "x", "host:9"), "'x' is no key: it has 40 characters of Z85"),
    (("trust", "--keys=", "host"), "--keys names no folder"),
    (("keys",), "xdctl keys list, xdctl keys authorize LINE or xdctl keys revoke KEY is expected"),
    (("keys", "nix"), "is expected"),
    (("keys", "list", "all"), "is expected"),
    (("keys", "authorize"), "is expected"),
    (("keys", "authorize", ""), "a key is expected"),
    (("keys", "authorize", "nix"), "from=, expires=, max-workers= and command= are the options, not 'nix'"),
    (("keys", "authorize", "from=10.0.0.0/33 " + KEY), "from= takes addresses such as 10.0.0.0/8"),
    (("keys", "authorize", "expires=2026-02-30 " + KEY), "expires= takes a time of UTC such as 2026-12-31"),
    (("keys", "authorize", "max-workers=0 " + KEY), "max-workers= takes a number from 1 on"),
    (("keys", "authorize", 'command="" ' + KEY), "command= takes a program and its arguments"),
    (("keys", "authorize", 'command="nice ' + KEY), "a quote is not closed"),
    (("keys", "authorize", "xdk1 short"), "a key has 40 characters of Z85, not 'short'"),
    (("keys", "authorize", KEY + "\n" + KEY), "one line is expected"),
    (("keys", "revoke"), "is expected"),
    (("keys", "revoke", "nobody"), "no key here is, has the fingerprint, or the comment 'nobody'"),
    (("keys", "--keys=", "list"), "--keys names no folder"),
    (("run", "--keys=", "--tx", "popen"), "it must not be empty"),
    (("run", "--tx", "popen", "--tx", "socket=host:port"), "the port is no number from 1 to 65535"),
], ids=lambda v: " ".join(v)[:40] if isinstance(v, tuple) else "")
def test_wrong_usage(project, command, said):
    project.write(test_a="def test_a(): pass\n")
    result = project.xdctl(*command, env={"XDG_CONFIG_HOME": str(project.path / "config")})
    assert result.rc == 4 and result.out == "", result
    assert said in result.err and result.err.count("\n") == 1 and result.err.startswith("xdctl: "), result
    assert sorted(os.listdir(str(project.root))) == ["test_a.py"]


def test_files_that_others_may_use(project, server, me):
    """Said with the file and what to do, at both ends, as ssh does."""
    project.write(test_a="def test_a(): pass\n")
    me.trusts(server.at)
    (me.keys / "id").chmod(0o644)
    line = one_line(me.run("socket=" + server.at), "%s has mode 0644: others may use the secret key; chmod 600 it" % (me.keys / "id"))
    one = me.tool("keygen")
    assert one.rc == 6 and line.rpartition(": lost ")[2].partition(": ")[2] in one_line(one), one
    (me.keys / "id").chmod(0o600)
    (me.keys / "known_brokers").chmod(0o666)
    one_line(me.run("socket=" + server.at), "known_brokers has mode 0666: others could change whom it trusts; chmod go-w it")
    (me.keys / "known_brokers").chmod(0o644)
    listed = server.keys / "authorized_controllers"
    listed.chmod(0o620)
    wait_until(lambda: "the keys stay as they were" in server.logged, "it is said", 5)
    assert "authorized_controllers has mode 0620" in server.logged and me.run("socket=" + server.at).rc == 0
    time.sleep(1.2)
    assert server.logged.count("the keys stay as they were") == 1
    port = server.port
    server.stop()
    started = me.tool("serve", "--bind=127.0.0.1:%d" % port, keys=server.keys)
    assert started.rc == 6 and started.out == "", started
    one_line(started, "authorized_controllers has mode 0620: others could change whom it trusts; chmod go-w it")
    listed.chmod(0o600)
    (server.keys / "id").chmod(0o640)
    started = me.tool("serve", "--bind=127.0.0.1:%d" % port, keys=server.keys)
    assert started.rc == 6, started
    one_line(started, "id has mode 0640: others may use the secret key; chmod 600 it")


def test_a_line_that_cannot_be_read_keeps_the_others_as_they_were(project, server, me):
    project.write(test_a="def test_a(): pass\n")
    me.trusts(server.at)
    with open(str(server.keys / "authorized_controllers"), "a") as f:
        f.write("# a remark\n\nmax-worker=1 %s typo\n" % KEY)
    wait_until(lambda: "the keys stay as they were" in server.logged, "it is said", 5)
    assert "authorized_controllers, line 4: from=, expires=, max-workers= and command= are the options, not 'max-worker'" in server.logged
    assert me.run("socket=" + server.at).rc == 0


def test_a_port_that_is_taken(project, server):
    at = server.at
    again = project.xdctl("serve", "--keys", server.keys, "--bind", at)
    assert again.rc == 6 and again.out == "", again
    one_line(again, "cannot listen at %s: Address already in use" % at)


def test_keys_are_listed(project, server, me):
    import json
    other = Controller(project, "other", server, 'expires=2099-12-31,max-workers=3')
    me.trusts(server.at)
    told = {line.split()[0]: line for line in me.tool("keys", "list").out.splitlines()}
    assert set(told) == {"id", "known_brokers"} and server.at in told["known_brokers"] and told["id"].endswith(" me")
    listed = json.loads(me.tool("keys", "--json", "list", keys=server.keys).out)
    assert [(k["file"], k["comment"]) for k in listed][1:] == [("authorized_controllers", "me"), ("authorized_controllers", "other")]
    assert listed[2]["expires"] == "2099-12-31T00:00:00Z" and listed[2]["max_workers"] == 3 and listed[2]["key"] == other.line.split()[1]
    print_ = listed[2]["fingerprint"]
    assert me.tool("keys", "revoke", print_, keys=server.keys).rc == 0
    after = json.loads(me.tool("keys", "--json", "list", keys=server.keys).out)
    assert {(k["file"], k["fingerprint"]) for k in after} >= {("revoked_keys", print_)} and ("authorized_controllers", print_) not in {(k["file"], k["fingerprint"]) for k in after}
    assert other.tool("keys", "authorize", other.line, keys=server.keys).rc == 0
    assert not [k for k in json.loads(me.tool("keys", "--json", "list", keys=server.keys).out) if k["file"] == "revoked_keys"]
