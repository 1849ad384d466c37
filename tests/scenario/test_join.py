"""Hosts that join a run: `xdctl run --listen`, `xdctl join`, `xdctl token`.  Runs and joins are real ones on 127.0.0.1, each with folders of its own; whatever a
test starts ends with it."""
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import SECONDS, XDCTL, Result, clean_environment, end
from faults import marked, wait_until
from test_socket import SUITE, Proxy, one_line

HOLD = """
import os, time, pytest
@pytest.mark.parametrize("n", range(%d))
def test_n(n):
    with open(os.path.join(os.environ["MARKS"], "%%d.%%s" %% (n, os.environ["NAME"])), "w"): pass
    while os.path.exists(os.path.join(os.environ["MARKS"], "hold")): time.sleep(0.01)
"""


class Run(object):
    """`xdctl run --listen` of a project, left running."""
    def __init__(self, project, keys, *args, **more):
        project.count += 1
        self.project, self.keys = project, keys
        self.jsonl = str(project.path / ("run%d.jsonl" % project.count))
        self.out, self.err, self.changed = b"", b"", threading.Condition()
        listen = more.pop("listen", "tcp://127.0.0.1:0")
        self.process = project.start("run", "--jsonl=" + self.jsonl, "--python=" + project.python, "--keys=%s" % keys, "--listen=" + listen, "--testrunuid=uid",
                                     *(list(args) + ["-p", "no:cacheprovider"]), **more)
        self.readers = [threading.Thread(target=self.read, args=one) for one in (("out", self.process.stdout), ("err", self.process.stderr))]
        for one in self.readers:
            one.start()

    def read(self, name, pipe):
        while True:
            some = os.read(pipe.fileno(), 65536)
            with self.changed:
                setattr(self, name, getattr(self, name) + some)
                self.changed.notify_all()
            if not some:
                return

    def says(self, pattern, seconds=20):
        """What the pattern matched in what was printed so far."""
        return wait_until(lambda: re.search(pattern, (self.out + self.err).decode(errors="replace")), "%r in %r" % (pattern, self.out + self.err), seconds)

    @property
    def at(self):
        return self.says(r"tcp://(127\.0\.0\.1:\d+|\[::1\]:\d+)").group(1)

    @property
    def id(self):
        return self.says(r"\(run (\w+),").group(1)

    def ends(self):
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail("the run did not end: %r %r" % (self.out[-3000:], self.err))
        for one in self.readers:
            one.join()
        return Result(self.process.returncode, self.out.decode(errors="replace"), self.err.decode(errors="replace"), self.project.latest(), self.jsonl)


class Join(object):
    """One `xdctl join`, with a home, a cache and a working folder of its own."""
    count = 0

    def __init__(self, project, *args, **more):
        Join.count += 1
        self.name = "join%d" % Join.count
        self.mark = "%s-%d" % (self.name, os.getpid())
        self.folder = project.path / self.name
        self.folder.mkdir()
        token, env = more.pop("token", None), more.pop("env", {})
        env = dict({"XD_TOKEN": token} if token else {}, **env)
        self.log = open(str(self.folder / "log"), "wb")
        program = more.pop("program", [XDCTL])
        self.process = subprocess.Popen(program + ["join"] + [str(a) for a in args], cwd=str(self.folder), stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        env=clean_environment(HOME=str(self.folder), XDG_CACHE_HOME=str(self.folder / "cache"), XD_MARK=self.mark, NAME=self.name, **env))

    @property
    def said(self):
        return (self.folder / "log").read_text(errors="replace")

    def joined(self, seconds=20):
        wait_until(lambda: "joined run " in self.said or self.process.poll() is not None, "%s has joined: %s" % (self.name, self.said), seconds)
        assert "joined run " in self.said, self.said
        return self

    def ends(self, seconds=30):
        """Its exit code."""
        wait_until(lambda: self.process.poll() is not None, "the end of %s: %s" % (self.name, self.said), seconds)
        return self.process.returncode

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self

    @property
    def left(self):
        return marked(self.mark, self.process.pid)


class Place(object):
    """A project, the keys of its controller, runs that listen, hosts that join."""
    def __init__(self, project):
        self.project, self.keys, self.runs, self.joins = project, project.path / "keys", [], []
        self.marks = project.path / "marks"
        self.marks.mkdir()
        assert project.xdctl("keygen", "--keys", self.keys).rc == 0

    def run(self, *args, **more):
        self.runs.append(Run(self.project, self.keys, *args, **more))
        return self.runs[-1]

    def token(self, *args, **more):
        done = self.project.xdctl("token", "--keys", more.get("keys", self.keys), "--run", more.get("run", "uid"), *args)
        assert done.rc == 0 and re.match(r"xdt1\.[\w-]{131}\n$", done.out), done
        return done.out.strip()

    def join(self, run, *args, **more):
        if "token" not in more:
            more["token"] = self.token()
        more["env"] = dict({"MARKS": str(self.marks)}, **more.get("env", {}))
        self.joins.append(Join(self.project, *((run.at if isinstance(run, Run) else run,) + args), **more))
        return self.joins[-1]

    def ran(self, name):
        """Numbers of the tests of HOLD that have begun at this host."""
        return sorted(int(m.split(".")[0]) for m in os.listdir(str(self.marks)) if m.endswith("." + name))

    def hold(self):
        (self.marks / "hold").write_text("")

    def let_go(self):
        (self.marks / "hold").unlink()


@pytest.fixture
def place(project):
    p = Place(project)
    yield p
    for run in p.runs:
        end(run.process)
    for one in p.joins:
        if one.process.poll() is None:
            one.stop()
            time.sleep(0.05)
            one.stop()
    for one in p.joins:
        wait_until(lambda one=one: not one.left, "the end of what %s started: %s" % (one.name, one.left), 30)
        end(one.process)
        one.log.close()


# ---- as users go about it


def test_a_host_joins_with_a_token(place):
    """Outcomes and exit code as with popen; files are brought; the token, which is in the environment of the join, is not in that of its tests."""
    place.project.write(test_a=SUITE, test_env="import os\ndef test_env(): assert 'XD_TOKEN' not in os.environ\n")
    run = place.run("-v")
    one = place.join(run, "--workers", "2", "--tag", "linux", "--tag", "gpu=1")
    result, here = run.ends(), place.project.run("--tx=popen", "-p", "no:cacheprovider")
    assert result.rc == here.rc == 1 and result.outcomes == here.outcomes and result.categories == here.categories and result.summary == here.summary, result
    assert {t["worker"] for t in result.tests} <= {"gw0", "gw1"}
    assert re.search(r"joins: 2 workers of \S+@\S+ at 127\.0\.0\.1 \(\d+ processors?, [\d.]+ [GM]iB, .*python3\.\d+.*, tags linux gpu=1\)", result.out), result
    assert one.ends() == 0 and "joined run %s with 2 workers" % run.id in one.said, one.said
    assert result.folder.name in run.id or run.id in result.folder.name


def test_a_host_joins_with_its_key(place):
    """Its key is authorized as that of a controller is; the run's is trusted, as that of a server."""
    project = place.project
    project.write(test_a="def test_a(): pass\n")
    run = place.run()
    mine = project.path / "mine"
    line = project.xdctl("keygen", "--keys", mine, "-C", "worker").out.strip()
    unknown = place.join(run, "--keys", mine, token=None)
    assert unknown.ends() == 6 and "the key of %s is not known here: `xdctl trust %s`" % (run.at, run.at) in unknown.said, unknown.said
    assert project.xdctl("trust", "--keys", mine, "--yes", "tcp://" + run.at).rc == 0
    refused = place.join(run, "--keys", mine, "--wait", "1s", token=None)
    assert refused.ends() == 6 and "refused by the run: it does not know your key; add this line to its file authorized_workers: xdk1 " in refused.said, refused.said
    assert project.xdctl("keys", "authorize", "--worker", "--keys", place.keys, line).rc == 0
    assert "authorized_workers" in project.xdctl("keys", "list", "--keys", place.keys).out
    time.sleep(1.5)  # the lists are read each second
    one = place.join(run, "--keys", mine, "--workers", "1", token=None)
    result = run.ends()
    assert result.rc == 0 and "1 passed" in result.out and one.ends() == 0, (result, one.said)


def test_before_and_while_it_runs(place):
    """One waits for the run to be there; another comes when tests run, and gets some of them."""
    place.project.write(test_a=HOLD % 30)
    place.hold()
    run = place.run("--min-workers=1")
    at = run.at
    port = at.rpartition(":")[2]
    end(run.process)
    early = place.join(at, "--workers", "1", "--wait", "30s")
    time.sleep(0.5)
    assert early.process.poll() is None and "joined" not in early.said, early.said
    run = place.run("--min-workers=1", listen="127.0.0.1:" + port)
    early.joined()
    wait_until(lambda: place.ran(early.name), "the first test")
    late = place.join(run, "--workers", "2").joined()
    wait_until(lambda: len(place.ran(late.name)) == 2, "two tests at the late one")
    place.let_go()
    result = run.ends()
    assert result.rc == 0 and "30 passed" in result.out and early.ends() == late.ends() == 0, result
    assert {t["worker"] for t in result.tests} == {"gw0", "gw1", "gw2"} and len(set(place.ran(early.name) + place.ran(late.name))) == 30
    assert not set(place.ran(early.name)) & set(place.ran(late.name))


def test_min_workers_and_workers_here(place):
    """It begins when as many are there as are wanted, with those of this machine."""
    place.project.write(test_a=HOLD % 12)
    run = place.run("--min-workers=4", "-n", "1", env={"MARKS": str(place.marks), "NAME": "here"})
    first = place.join(run, "--workers", "1").joined()
    time.sleep(1)
    assert not os.listdir(str(place.marks))
    place.hold()
    second = place.join(run, "--workers", "2").joined()
    wait_until(lambda: place.ran("here") and place.ran(first.name) and len(place.ran(second.name)) == 2, "tests everywhere")
    place.let_go()
    result = run.ends()
    assert result.rc == 0 and "12 passed" in result.out and "4 workers [12 items]" in result.out and {t["worker"] for t in result.tests} == {"gw0", "gw1", "gw2", "gw3"}, result


def test_who_has_joined_may_collect_for_longer_than_others_are_waited_for(place):
    """--wait is for hosts to come."""
    place.project.write(test_a="def test_a(): pass\n", conftest="import time\ntime.sleep(3)\n")
    run = place.run("--wait=2s")
    one = place.join(run, "--workers", "1")
    result = run.ends()
    assert result.rc == 0 and "1 passed" in result.out and one.ends() == 0, result


def test_workers_that_crash_are_replaced(place):
    """Of each host, as often as it is said; their numbers are those of no other worker."""
    place.project.write(test_a="import os, pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n): os.kill(os.getpid(), 9)\n")
    run = place.run("--min-workers=3", "--max-worker-restart=12")
    joins = [place.join(run, "--workers", "1") for _ in range(3)]
    result = run.ends()
    assert result.rc == 1 and "20 crashed" in result.out and "lost" not in result.out + result.err, result
    assert [one.ends() for one in joins] == [0, 0, 0]
    run = place.run("--max-worker-restart=40", "--wait=1s")
    one = place.join(run, "--workers", "1")
    result = run.ends()
    assert result.rc == 6 and "15 crashed" in result.out and "no worker is left" in result.out, result
    assert one.ends() == 0


@pytest.mark.skipif(subprocess.call(["unshare", "-u", "true"], stderr=subprocess.DEVNULL) != 0, reason="no other host name can be had here")
def test_each_has_a_name_of_its_own(place):
    """Also where a host is called as one of several others would be."""
    place.project.write(test_a="def test_a(): pass\n")
    run = place.run("--min-workers=3")
    for host in ("h.2", "h", "h"):
        place.join(run, "--workers", "1", program=["unshare", "-u", "sh", "-c", "hostname %s; exec %s \"$@\"" % (host, XDCTL), "sh"]).joined()
    result = run.ends()
    assert result.rc == 0 and sorted(re.findall(r"join=(\S+) joins", result.out + result.err)) == ["h", "h.2", "h.3"], result


# ---- leaving, and being lost


def test_a_host_leaves(place):
    """What it has not begun is run elsewhere; what runs there ends there, and runs once."""
    place.project.write(test_a=HOLD % 40)
    place.hold()
    run = place.run("--min-workers=3")
    stays, leaves = place.join(run, "--workers", "1"), place.join(run, "--workers", "2")
    wait_until(lambda: place.ran(stays.name) and len(place.ran(leaves.name)) == 2, "tests at both")
    leaves.stop()
    run.says(r"leaves: what it has not begun goes to others")
    time.sleep(0.3)
    assert leaves.process.poll() is None
    place.let_go()
    assert leaves.ends() == 0
    result = run.ends()
    assert result.rc == 0 and "40 passed" in result.out and "lost" not in result.out, result
    assert len(place.ran(leaves.name)) <= 4 and len(place.ran(stays.name)) + len(place.ran(leaves.name)) == 40, (place.ran(leaves.name), result)


def test_a_host_leaves_as_soon_as_it_has_joined(place):
    """Its agent is not there yet: it is not waited for until --drain is over."""
    place.project.write(test_a="def test_a(): pass\n")
    run = place.run()
    for _ in range(10):
        one = place.join(run, "--workers", "1").joined().stop()
        assert one.ends(10) == 0, one.said
    run.says(r"(?s)(leaves: .*){10}")
    stays = place.join(run, "--workers", "1")
    result = run.ends()
    assert result.rc == 0 and stays.ends() == 0 and "lost" not in result.out + result.err, result


def test_the_last_one_leaves_and_another_comes(place):
    place.project.write(test_a=HOLD % 20)
    place.hold()
    run = place.run()
    first = place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(first.name), "a test")
    first.stop()
    run.says("leaves: ")
    place.let_go()
    assert first.ends() == 0
    run.says("no worker is left; waiting for hosts to join")
    second = place.join(run, "--workers", "2")
    result = run.ends()
    assert result.rc == 0 and "20 passed" in result.out and second.ends() == 0, result


def test_a_host_leaves_while_it_collects(place):
    """It was to tell the list of tests: another one does."""
    place.project.write(test_a="def test_a(): pass\n", conftest="import os, time\nif os.environ.get('SLEEPS'):\n    open(os.environ['SLEEPS'], 'w').close()\n    time.sleep(60)\n")
    run, flag = place.run(), place.project.path / "sleeps"
    first = place.join(run, "--workers", "1", env={"SLEEPS": str(flag)})
    wait_until(flag.exists, "it collects")
    first.stop()
    run.says("leaves: ")
    second = place.join(run, "--workers", "1")
    result = run.ends()
    assert result.rc == 0 and "1 passed" in result.out and second.ends() == first.ends() == 0, (result, first.said, second.said)


def test_nobody_comes(place):
    place.project.write(test_a=HOLD % 4)
    none = place.run("--wait=1s").ends()
    assert none.rc == 6, none
    assert "no test was run: 0 workers can start, 1 were waited for (--min-workers, --wait)" in none.out, none
    place.hold()
    run = place.run("--wait=1s", "--reconnect-timeout=1s")
    only = place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(only.name), "a test")
    only.stop()
    wait_until(lambda: "leaving: " in only.said, "it leaves")  # two signals at once may be one
    only.stop()
    result = run.ends()
    place.let_go()
    assert result.rc == 6 and "no worker is left to run the remaining tests" in result.out, result


def test_a_host_dies(place):
    """kill -9 of the join: what ran there runs again elsewhere, marked; nothing of it stays behind."""
    place.project.write(test_a=HOLD % 10)
    place.hold()
    run = place.run("--min-workers=2", "--reconnect-timeout=1s")
    dies, stays = place.join(run, "--workers", "1"), place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(dies.name) and place.ran(stays.name), "a test at both")
    begun = place.ran(dies.name)
    dies.stop(signal.SIGKILL)
    run.says(r"lost join=")
    place.let_go()
    result = run.ends()
    assert result.rc == 0 and "10 passed" in result.out, result
    assert set(begun) <= set(place.ran(stays.name)), (begun, place.ran(stays.name))
    wait_until(lambda: not dies.left, "the end of what it started", 30)


def test_the_controller_dies(place):
    """Its hosts do not stay: their tests are ended when it has not come back, and the join says so."""
    place.project.write(test_a=HOLD % 4)
    place.hold()
    run = place.run("--reconnect-timeout=2s")
    one = place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(one.name), "a test")
    run.process.kill()
    assert one.ends(40) == 6 and "the run at %s was lost" % run.at in one.said, one.said
    wait_until(lambda: not one.left, "the end of what it started", 30)


def test_an_interrupt_ends_all(place):
    place.project.write(test_a=HOLD % 4)
    place.hold()
    run = place.run("--grace=1s")
    one = place.join(run, "--workers", "2")
    wait_until(lambda: place.ran(one.name), "a test")
    run.process.send_signal(signal.SIGINT)
    result = run.ends()
    assert result.rc == 2 and "abandoned" not in result.out + result.err, result
    assert one.ends() == 0, one.said


# ---- who may not


def test_tokens_that_do_not_count(place):
    """Each has words of its own, at once."""
    place.project.write(test_a="def test_a(): pass\n")
    run = place.run("--min-workers=2", "--wait=30s")
    begin = time.monotonic()
    other_keys = place.project.path / "others"
    assert place.project.xdctl("keygen", "--keys", other_keys).rc == 0
    good = place.token()
    flipped = good[:60] + ("A" if good[60] != "A" else "B") + good[61:]
    cases = {"expired": (place.token("--expires", "1s"), "refused by the run: the token has expired"),
             "other": (place.token(run="another"), "refused by the run: the token is for another run"),
             "forged": (place.token(keys=other_keys), "the token was not made by the controller of the run at "),
             "flipped": (flipped, ("refused by the run: the token was not made with the key of this run's controller", "the token"))}
    time.sleep(1.2)
    for name, (token, words) in cases.items():
        one = place.join(run, "--wait", "1s", token=token)
        assert one.ends() == 6, (name, one.said)
        assert any(w in one.said for w in ((words,) if isinstance(words, str) else words)), (name, one.said)
    first = place.join(run, "--workers", "1", token=good).joined()
    again = place.join(run, "--workers", "1", "--wait", "1s", token=good)
    assert again.ends() == 6 and "refused by the run: the token was used before" in again.said, again.said
    assert time.monotonic() - begin < 30
    by_id = place.join(run, "--workers", "1", token=place.token("--uses", "2", run=run.id))
    assert run.ends().rc == 0 and first.ends() == by_id.ends() == 0


def test_words_that_a_run_requires(place):
    place.project.write(test_a="def test_a(): pass\n")
    run = place.run("--require=gpu=1", "--require=linux")
    token = place.token()
    lacks = place.join(run, "--tag", "linux", "--wait", "1s", token=token)
    assert lacks.ends() == 6 and "refused by the run: the run requires --tag gpu=1, which this host does not have" in lacks.said, lacks.said
    has = place.join(run, "--tag", "linux", "--tag", "gpu=1", token=token)  # it was not spent
    assert run.ends().rc == 0 and has.ends() == 0, has.said


def test_a_key_that_is_revoked_is_cut_off(place):
    project = place.project
    project.write(test_a=HOLD % 6)
    place.hold()
    mine = project.path / "mine"
    line = project.xdctl("keygen", "--keys", mine, "-C", "worker").out.strip()
    assert project.xdctl("keys", "authorize", "--worker", "--keys", place.keys, "max-workers=1 " + line).rc == 0
    run = place.run("--min-workers=2", "--reconnect-timeout=2s")
    assert project.xdctl("trust", "--keys", mine, "--yes", run.at).rc == 0
    one, stays = place.join(run, "--keys", mine, "--workers", "3", token=None), place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(one.name) and place.ran(stays.name), "a test at both")
    assert len(place.ran(one.name)) == 1, "max-workers= is the limit"
    begin = time.monotonic()
    assert project.xdctl("keys", "revoke", "--keys", place.keys, "worker").rc == 0
    assert one.ends() == 6 and "the key was revoked" in one.said and time.monotonic() - begin < 10, one.said
    run.says(r"lost join=")
    place.let_go()
    result = run.ends()
    assert result.rc == 0 and "6 passed" in result.out, result


def test_a_late_host_that_does_not_fit_is_no_matter_of_the_run(place):
    """Other tests are collected there, or none can be: the run goes on without it."""
    place.project.write(test_a=HOLD % 10, conftest="import os, pytest\ndef pytest_collection_modifyitems(items):\n    if os.environ.get('FEWER'): del items[5:]\n"
                                                   "def pytest_configure(config):\n    if os.environ.get('REFUSES'): raise pytest.UsageError('not here')\n")
    place.hold()
    run = place.run()
    good = place.join(run, "--workers", "1")
    wait_until(lambda: place.ran(good.name), "a test")
    for name in ("FEWER", "REFUSES"):
        bad = place.join(run, "--workers", "1", env={name: "1"})
        bad.joined()
        run.says(r"(?s)(lost join=.*){%d}" % (1 if name == "FEWER" else 2))
    place.let_go()
    result = run.ends()
    assert result.rc == 0 and "10 passed" in result.out and len(place.ran(good.name)) == 10, result


def test_a_connection_that_is_cut_is_taken_up_again(place):
    """Not the run, and not the test that runs, notice it."""
    place.project.write(test_a=HOLD % 6)
    place.hold()
    run = place.run()
    proxy = Proxy(int(run.at.rpartition(":")[2]))
    try:
        one = place.join(proxy.at, "--workers", "2")
        wait_until(lambda: len(place.ran(one.name)) == 2, "two tests")
        proxy.cut()
        wait_until(lambda: "connected to %s again" % proxy.at in one.said, "it is connected again: %s" % one.said)
        place.let_go()
        result = run.ends()
        assert result.rc == 0 and "6 passed" in result.out and "lost" not in result.out and one.ends() == 0, (result, one.said)
        assert place.ran(one.name) == list(range(6))
    finally:
        proxy.close()


def test_a_connection_that_is_cut_while_a_host_leaves(place):
    """What runs there ends there all the same."""
    place.project.write(test_a=HOLD % 6)
    place.hold()
    run = place.run()
    proxy = Proxy(int(run.at.rpartition(":")[2]))
    try:
        leaves = place.join(proxy.at, "--workers", "2")
        wait_until(lambda: len(place.ran(leaves.name)) == 2, "two tests")
        stays = place.join(run, "--workers", "1")
        wait_until(lambda: place.ran(stays.name), "a test")
        leaves.stop()
        run.says("leaves: ")
        proxy.cut()
        wait_until(lambda: "again" in leaves.said.partition("trying again")[2], "it is connected again: %s" % leaves.said)
        place.let_go()
        result = run.ends()
        assert result.rc == 0 and "6 passed" in result.out and "lost" not in result.out and leaves.ends() == 0, (result, leaves.said)
    finally:
        proxy.close()


# ---- wrong input


@pytest.mark.parametrize("args, words", [
    ([], "which run? xdctl join tcp://HOST:PORT"),
    (["a b:1"], "that is no name of a host"),
    (["localhost:1", "--workers", "0"], "--workers 0: a number from 1 to 1024, or auto, is expected"),
    (["localhost:1", "--wait", "soon"], "--wait soon: a time such as 30s, 5m or 1h is expected"),
    (["localhost:1", "--tag", "two words"], "the tag 'two words' is not valid"),
    (["localhost:1", "--token-file", "/nonexistent"], "--token-file /nonexistent: No such file or directory"),
])
def test_a_join_that_is_mistyped(project, args, words):
    done = project.xdctl("join", *args, env={"XD_TOKEN": ""})
    assert done.rc == 4, done
    one_line(done, words)


def test_other_things_that_keep_a_host_from_joining(project):
    keys = project.path / "keys"
    none = project.xdctl("join", "127.0.0.1:1", "--keys", keys)
    assert none.rc == 6, none
    one_line(none, "there is no key of this user yet", "there is no token (XD_TOKEN, --token-file)")
    bad = project.xdctl("join", "127.0.0.1:1", env={"XD_TOKEN": "xdt1.abc"})
    assert bad.rc == 4, bad
    one_line(bad, "what is given as a token is none")
    assert project.xdctl("keygen", "--keys", keys).rc == 0
    token = project.xdctl("token", "--run", "a", "--keys", keys).out.strip()
    nobody = project.xdctl("join", "127.0.0.1:1", "--wait", "1s", env={"XD_TOKEN": token})
    assert nobody.rc == 6, nobody
    one_line(nobody, "Connection refused", "is xdctl run --listen running there?")
    file = project.path / "token"
    file.write_text(token + "\n")
    file.chmod(0o644)
    wide = project.xdctl("join", "127.0.0.1:1", "--wait", "1s", "--token-file", file)
    assert wide.rc == 4, wide
    one_line(wide, "nobody else may read")
    file.chmod(0o600)
    read = project.xdctl("join", "127.0.0.1:1", "--wait", "1s", "--token-file", file)
    assert read.rc == 6 and "Connection refused" in read.err, read


@pytest.mark.parametrize("args, rc, words", [
    (["--listen=nowhere:port"], 4, "option --listen: 'nowhere:port'"),
    (["--listen=localhost:7400"], 4, "--listen 'localhost:7400': it is no numeric address and port"),
    (["--listen=127.0.0.1:0", "-n0"], 4, "hosts cannot join a run in one plain session (-n 0, --dist no)"),
    (["--listen=127.0.0.1:0", "--dist=no"], 4, "hosts cannot join a run in one plain session (-n 0, --dist no)"),
    (["--require=a"], 4, "option --require: it is of use with --listen alone"),
    (["--join-max=3"], 4, "option --join-max: it is of use with --listen alone"),
    (["--listen=127.0.0.1:0", "--join-max=4000"], 4, "option --join-max: at most 3000 hosts can join"),
    (["--listen=192.0.2.1:7400"], 6, "cannot listen at 192.0.2.1:7400: Cannot assign requested address"),
])
def test_a_run_that_cannot_listen(project, args, rc, words):
    project.write(test_a="def test_a(): pass\n")
    done = project.run("--keys=%s" % (project.path / "keys"), *args)
    assert done.rc == rc, done
    one_line(done, words)


@pytest.mark.parametrize("args, words", [
    ([], "for which run? --run ID"),
    (["--run", "a", "--expires", "never"], "--expires never: a time such as 10m, 1h or 2d is expected"),
    (["--run", "a", "--uses", "-1"], "--uses takes a number"),
    (["--run", "a"], "there is no key of this user yet"),
])
def test_a_token_that_cannot_be_made(project, args, words):
    done = project.xdctl("token", "--keys", project.path / "keys", *args)
    assert done.rc == 4, done
    one_line(done, words)


def test_jsonl_names_hosts_that_joined(place):
    place.project.write(test_a="def test_a(): pass\n")
    run = place.run()
    place.join(run, "--workers", "1")
    result = run.ends()
    with open(result.jsonl) as f:
        events = [json.loads(line) for line in f]
    assert any(e["event"] == "environment_up" and e.get("spec", "").startswith("join=") for e in events) or any("join=" in json.dumps(e) for e in events), events
