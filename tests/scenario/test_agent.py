"""The agent, alone: this program plays the controller (codec: tools/wiregen.py) against the built xdagent and the real adapter.

    python3 tests/scenario/test_agent.py [-v]        environment: XD_XDCTL (build/bin/xdctl: the agent is beside it), XD_TEST_PYTHON (a python with pytest)
"""
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import wiregen  # noqa: E402

wire = wiregen.codec()

PREAMBLE = b"\x89xd\r\n\x1a\n\x01"
PASSED, FAILED, SKIPPED, CRASHED = wire.OUT_PASSED, wire.OUT_FAILED, wire.OUT_SKIPPED, wire.OUT_CRASHED
SESSION_HOOK = "def pytest_sessionfinish(session): pass\n"  # prevents forking the process that collected


def agent_program():
    return os.path.join(os.path.dirname(os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")), "xdagent")


def suites_python():
    for path in (os.environ.get("XD_TEST_PYTHON"), os.path.join(ROOT, "build", "venv", "bin", "python"), sys.executable):
        if path and os.path.exists(path):
            if subprocess.call([path, "-c", "import pytest"], stderr=subprocess.DEVNULL) == 0:
                return path
    raise unittest.SkipTest("no python with pytest: set XD_TEST_PYTHON")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Agent(object):
    """One agent and the frames that came from it."""

    def __init__(self, window_frames=1000, window_bytes=4 << 20, ack=True, welcome=True, options=(), **popen):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen([agent_program(), "--fd", "%d" % theirs.fileno()] + list(options), pass_fds=[theirs.fileno()],
                                        start_new_session=True, stdin=subprocess.DEVNULL, **popen)
        theirs.close()
        self.sock = ours
        self.reader = wire.FrameReader()
        self.frames = []
        self.last_sequence = 0
        self.ack = ack
        self.raw = b""
        self.bytes = 0
        self.ended = False
        self.sock.sendall(PREAMBLE)
        while len(self.raw) < 8:
            self.raw += self.sock.recv(8 - len(self.raw))
        assert self.raw == PREAMBLE, self.raw
        self.hello = self.wait(wire.HELLO)
        if welcome:
            self.send(wire.pack_WELCOME(version=1, capabilities=0, session=1, window_frames=window_frames, window_bytes=window_bytes, last=0, reconnect_ms=0, token=b""))

    def send(self, frame):
        self.sock.sendall(frame)

    def pump(self, timeout):
        if not select.select([self.sock], [], [], timeout)[0]:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            return False
        self.bytes += len(data)
        newest = 0
        for kind, _flags, sequence, body in self.reader.feed(data):
            if sequence:
                assert sequence == self.last_sequence + 1, (sequence, self.last_sequence)
                self.last_sequence = newest = sequence
            self.frames.append((kind, wire.unpack(kind, body)))
        if newest and self.ack:
            self.acknowledge()
        return True

    def acknowledge(self):
        try:
            self.send(wire.pack_ACK(acked=self.last_sequence))
        except ConnectionError:
            pass

    def wait(self, kind, timeout=30, test=lambda record: True):
        """The next record of this kind; it and what came before it is taken out of `frames` into `seen`."""
        deadline = time.monotonic() + timeout
        while True:
            for i, (got, record) in enumerate(self.frames):
                if got == kind and test(record):
                    return self.frames.pop(i)[1]
            left = deadline - time.monotonic()
            if left <= 0 or self.ended:
                raise AssertionError("no %s within %s s (ended: %s); got %r" % (kind, timeout, self.ended, self.frames[-20:]))
            self.pump(left)

    def all(self, kind):
        return [record for got, record in self.frames if got == kind]

    def results(self):
        return dict((r.item, r) for m in self.all(wire.RESULTS) for r in m.results)

    def wait_results(self, count, timeout=60):
        deadline = time.monotonic() + timeout
        while len(self.results()) < count and time.monotonic() < deadline and not self.ended:
            self.pump(0.5)
        return self.results()

    def start(self, folder, args=(), python=None, flags=wire.ENV_KEEPS_CACHE, env=(), **more):
        self.send(wire.pack_ENV_START(
            python=(suites_python() if python is None else python).encode(), chdir=folder.encode(), env=list(env), args=[(a.encode(),) for a in args],
            run_uid=b"0123456789abcdef0123456789abcdef", spec=b"popen", cache_dir=b"", scratch_dir=b"", runner=more.get("runner", b""),
            nice=more.get("nice", b""), project=more.get("project", b""), workers_expected=more.get("expected", 0), first_worker=0, flags=flags,
            names=[(name.encode(),) for name in more.get("names", ())], synced=b"", paths=[]))

    def workers(self, count, maxfail=0, max_restarts=8):
        self.send(wire.pack_WORKERS_START(first=0, count=count, total=count, maxfail=maxfail, max_restarts=max_restarts, stride=0))
        return [self.wait(wire.WORKER_UP) for _ in range(count)]

    def lease(self, first, count, no_more=True):
        self.send(wire.pack_LEASE(ranges=[(first, count, 1, 0, 0, 0)]))
        if no_more:
            self.send(wire.pack_NO_MORE(final=1))

    def finish(self, failed=(), not_run=(), status=0, **more):
        self.send(wire.pack_FINISH(failed=[(i,) for i in failed], not_run=[(i,) for i in not_run], exit_status=status, shutdown_ms=more.get("shutdown_ms", 0), digest_lo=0, digest_hi=0))
        done = self.wait(wire.ENV_DONE)
        self.wait(wire.BYE)
        return done

    def close(self):
        self.sock.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class AgentTest(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(agent_program()):
            self.skipTest("no agent at %s" % agent_program())
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="xd-agent-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.agents = []

    def tearDown(self):
        for a in self.agents:
            try:
                a.close()
            except AssertionError:
                pass

    def suite(self, **files):
        for name, text in files.items():
            with open(os.path.join(self.folder, name + ".py"), "w") as f:
                f.write(textwrap.dedent(text))

    def agent(self, **kw):
        kw.setdefault("options", ["--cache-dir", os.path.join(self.folder, ".xdcache")])
        a = Agent(**kw)
        self.agents.append(a)
        return a

    def collected(self, **kw):
        a = self.agent(**kw.pop("agent", {}))
        a.start(self.folder, **kw)
        a.wait(wire.CONFIG)
        return a, a.wait(wire.COLLECTED)

    def tree(self, a):
        """All processes below the agent."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open("/proc/%s/stat" % name) as f:
                        parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        below, more = set(), {a.process.pid}
        while more:
            below |= more
            more = set(p for p, parent in parents.items() if parent in below) - below
        return below

    def assert_gone(self, pids, seconds=8):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(alive(p) for p in pids):
            time.sleep(0.05)
        self.assertEqual([p for p in pids if alive(p)], [])

    # ---- the session

    def test_hello(self):
        a = self.agent()
        self.assertEqual((a.hello.version_min, a.hello.version_max), (1, 1))
        self.assertIn(a.hello.pid, self.tree(a))
        self.assertGreaterEqual(a.hello.cpus, 1)
        self.assertGreater(a.hello.memory_bytes, 1 << 20)

    def test_garbage_ends_the_agent(self):
        a = self.agent()
        a.send(b"\xff" * 64)
        self.assertEqual(a.process.wait(10), 6)

    def test_version_of_the_controller(self):
        a = self.agent(welcome=False)
        a.send(wire.pack_WELCOME(version=7, capabilities=0, session=1, window_frames=1, window_bytes=1, last=0, reconnect_ms=0, token=b""))
        no = a.wait(wire.REFUSE)
        self.assertEqual((no.version_min, no.version_max), (1, 1))
        self.assertEqual(a.process.wait(10), 6)

    # ---- a suite

    def run_all(self, workers=2, **kw):
        a, c = self.collected(**kw)
        a.workers(workers)
        a.lease(0, c.count)
        return a, c, a.wait_results(c.count)

    def test_small_suite(self):
        self.suite(test_a="""
            import pytest
            @pytest.mark.parametrize("n", range(40))
            def test_ok(n): pass
            def test_bad(): assert 0, "reason"
            def test_skip(): pytest.skip("why")
            """)
        a, c, results = self.run_all()
        self.assertEqual((c.count, c.exit_status), (42, -1))
        self.assertEqual(sorted(results), list(range(42)))
        self.assertEqual([results[i].outcome for i in range(40, 42)], [FAILED, SKIPPED])
        self.assertTrue(all(results[i].outcome == PASSED for i in range(40)))
        a.send(wire.pack_SEND_LIST())
        ids = []
        for n in a.wait(wire.COLLECT_IDS).ids:
            ids.append((ids[-1][:n.shared] if ids else b"") + n.id)
        self.assertEqual((len(ids), ids[41]), (42, b"test_a.py::test_skip"))
        pids = self.tree(a)
        done = a.finish(failed=[40], status=1)
        self.assertGreater(done.workers_cpu_us, 1000)
        self.assertEqual(len([w for w in a.all(wire.WORKER_DOWN) if w.expected == 1]), 2)
        self.assertEqual(a.process.wait(5), 0)
        self.assert_gone(pids)
        self.assertTrue(os.path.exists(os.path.join(self.folder, ".pytest_cache", "v", "cache", "lastfailed")))

    def test_digest(self):
        self.suite(test_a="def test_1(): pass\ndef test_2(): pass\n")
        _a, c = self.collected()
        try:
            import xxhash
        except ImportError:
            self.assertNotEqual((c.digest_lo, c.digest_hi), (0, 0))
            return
        d = xxhash.xxh3_128_intdigest(b"test_a.py::test_1\0test_a.py::test_2\0")
        self.assertEqual((c.digest_lo, c.digest_hi), (d & (1 << 64) - 1, d >> 64))

    def test_ways(self):
        test_a = "def test_1(worker_id): print(worker_id)\ndef test_2(): pass\ndef test_3(): pass\n"
        for flag, conftest, way in ((0, "", wire.WAY_COLLECTED), (0, SESSION_HOOK, wire.WAY_WARM), (wire.ENV_NO_FORK, "", wire.WAY_FRESH)):
            self.suite(test_a=test_a, conftest=conftest)
            a, c, results = self.run_all(flags=wire.ENV_KEEPS_CACHE | flag)
            self.assertEqual(c.way, way, c.why)
            self.assertEqual([results[i].outcome for i in sorted(results)], [PASSED] * 3)
            a.finish()
            self.assertEqual(a.process.wait(5), 0)

    def test_interrupt_of_a_test_by_pytest_exit(self):
        self.suite(test_a="""
            import pytest
            def test_1(): pass
            def test_2(): pytest.exit("enough", returncode=7)
            """)
        a, c = self.collected()
        a.workers(1)
        a.lease(0, c.count)
        down = a.wait(wire.WORKER_DOWN)
        self.assertEqual((down.expected, down.session_status, down.will_restart), (1, 7, 0))
        self.assertIn(b"enough", down.reason)
        a.finish(not_run=[1])

    def test_take_back(self):
        self.suite(test_a="""
            import time
            def test_long(): time.sleep(1.5)
            """ + "".join("\n            def test_%d(): pass" % i for i in range(20)))
        a, c = self.collected()
        a.workers(1)
        a.lease(0, c.count, no_more=False)
        time.sleep(0.5)
        began = time.monotonic()
        a.send(wire.pack_TAKE_BACK(request=5, count=wire.NO_INDEX))
        back = a.wait(wire.RETURNED)
        self.assertLess(time.monotonic() - began, 0.8)  # not after the long test
        returned = set(i for r in back.ranges for i in range(r.first, r.first + r.count))
        self.assertEqual(back.request, 5)
        self.assertGreaterEqual(len(returned), 19)
        self.assertNotIn(0, returned)
        a.send(wire.pack_NO_MORE(final=1))
        rest = set(range(c.count)) - returned
        self.assertEqual(set(a.wait_results(len(rest), 10)), rest)
        a.finish(not_run=sorted(returned))

    def test_progress(self):
        self.suite(test_a="import time\ndef test_long(): time.sleep(2.2)\n")
        a, c = self.collected()
        a.workers(1)
        a.lease(0, 1)
        now = a.wait(wire.PROGRESS)
        self.assertEqual([(r.worker, r.item) for r in now.running], [(0, 0)])
        self.assertGreaterEqual(now.running[0].age_ms, 1000)
        a.wait_results(1)
        a.finish()

    # ---- crashes

    CRASHY = """
        import os, signal, sys, time
        def test_0(): pass
        def test_segv():
            os.write(2, b"last words\\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        def test_2(): time.sleep(0.01)
        def test_exit(): os._exit(3)
        def test_kill(): os.kill(os.getpid(), signal.SIGKILL)
        def test_5(): pass
        """

    def crash(self, conftest="", **kw):
        self.suite(test_a=self.CRASHY, conftest=conftest)
        a, c, results = self.run_all(args=["-s"], **kw)
        self.assertEqual([results[i].outcome for i in range(6)], [PASSED, CRASHED, PASSED, CRASHED, CRASHED, PASSED])
        reports = dict((r.item, r) for r in a.all(wire.REPORT))
        self.assertEqual(sorted(reports), [1, 3, 4])
        self.assertTrue(all(r.category == b"crashed" and r.letter == b"C" and r.word == b"CRASHED" for r in reports.values()))
        self.assertIn(b"crashed while running 'test_a.py::test_segv': killed by SIGSEGV", reports[1].text)
        self.assertIn(b"last words", reports[1].text)
        self.assertIn(b"exited with status 3", reports[3].text)
        self.assertIn(b"killed by SIGKILL", reports[4].text)
        downs = a.all(wire.WORKER_DOWN)
        self.assertEqual(sorted((d.signal, d.exit_status, d.item) for d in downs if not d.expected), [(0, 3, 3), (9, -1, 4), (11, -1, 1)])
        a.finish(failed=[1, 3, 4], status=1)
        self.assertEqual(a.process.wait(5), 0)
        return a

    def test_crash_collected(self):
        self.crash()

    def test_crash_warm(self):
        self.crash(conftest=SESSION_HOOK)

    def test_crash_fresh(self):
        self.crash(flags=wire.ENV_KEEPS_CACHE | wire.ENV_NO_FORK)

    def test_replacement_has_next_number(self):
        self.suite(test_a="import os\ndef test_0(): os._exit(1)\ndef test_1(): pass\n")
        a, c = self.collected()
        a.workers(1)
        a.lease(0, 2)
        up = a.wait(wire.WORKER_UP)
        self.assertEqual((up.worker, up.replaces), (1, 0))
        self.assertEqual(a.wait_results(2)[1].outcome, PASSED)
        a.finish(failed=[0], status=1)

    def test_budget(self):
        self.suite(test_a="import os\nimport pytest\n@pytest.mark.parametrize('n', range(6))\ndef test(n): os._exit(1)\n")
        a, c = self.collected()
        a.workers(1, max_restarts=2)
        a.lease(0, 6)
        back = a.wait(wire.RETURNED)
        self.assertEqual(len(a.results()), 3)
        self.assertEqual(sum(r.count for r in back.ranges), 3)
        a.wait(wire.WORKER_DOWN, test=lambda d: d.will_restart == wire.DOWN_NO_BUDGET)
        a.finish(failed=[0, 1, 2], not_run=[3, 4, 5], status=1)

    # ---- what it finds on its host

    def own_agent(self, **environment):
        """One that gets no wish on its command line."""
        environment = dict(os.environ, TMPDIR=self.folder, XDG_CACHE_HOME=os.path.join(self.folder, "cache"), **environment)
        return self.agent(options=[], env=environment, cwd=self.folder)

    def scratch_folders(self):
        """Names below what the agents share, scratch folders alone."""
        shared = os.path.join(self.folder, "xd-%d" % os.geteuid())
        return {os.path.join(shared, name) for name in os.listdir(shared)} if os.path.isdir(shared) else set()

    def test_facts(self):
        self.suite(test_a="import os\ndef test(): assert os.path.basename(os.getcwd()) == 'below' and os.nice(0) == %d\n" % min(os.nice(0) + 3, 19))
        os.mkdir(os.path.join(self.folder, "below"))
        os.rename(os.path.join(self.folder, "test_a.py"), os.path.join(self.folder, "below", "test_a.py"))
        a = self.own_agent(VIRTUAL_ENV=self.folder)
        a.start("below", nice=b"3", runner=b"pytest")
        facts, _config, collected = a.wait(wire.ENV_FACTS), a.wait(wire.CONFIG), a.wait(wire.COLLECTED)
        self.assertEqual((facts.found, facts.folder), (b"as told", os.path.join(self.folder, "below").encode()))
        self.assertTrue(facts.program.endswith(b"nice -n 3 " + suites_python().encode()), facts.program)
        self.assertTrue(facts.cache_dir.startswith(os.path.join(self.folder, "cache", "xd", "adapter-").encode()), facts.cache_dir)
        self.assertEqual({facts.scratch_dir.decode()}, self.scratch_folders())
        self.assertEqual(os.stat(facts.scratch_dir).st_mode & 0o7777, 0o700)
        a.workers(1)
        a.lease(0, collected.count)
        self.assertEqual([r.outcome for r in a.wait_results(1).values()], [PASSED])
        a.finish()
        self.assertEqual((a.process.wait(5), self.scratch_folders()), (0, set()))

    def test_interpreter_of_its_own_environment(self):
        """What env: names comes before the one that the agent runs in, and nothing takes its place where it is none."""
        venv = os.path.dirname(os.path.dirname(suites_python()))
        for own, named, found in ((venv, [], b"of $VIRTUAL_ENV"), ("/nowhere", [(b"VIRTUAL_ENV", venv.encode())], b"of $VIRTUAL_ENV"),
                                  ("/nowhere", [(b"VIRTUAL_ENV", b"")], b"on PATH")):
            a = self.own_agent(VIRTUAL_ENV=own, PATH=os.path.dirname(suites_python()) + os.pathsep + os.environ["PATH"])
            a.start(self.folder, python="", env=named)
            facts = a.wait(wire.ENV_FACTS)
            self.assertTrue(facts.found.endswith(found), facts.found)
            self.assertTrue(found != b"of $VIRTUAL_ENV" or facts.program.startswith(venv.encode()), facts.program)
            a.wait(wire.COLLECTED)
            a.finish()
        a = self.own_agent(VIRTUAL_ENV=venv)
        a.start(self.folder, python="", env=[(b"VIRTUAL_ENV", b"/nowhere")])
        said = a.wait(wire.ENV_FAILED)
        self.assertEqual(said.exit_status, 6)
        self.assertIn(b"env:VIRTUAL_ENV=/nowhere is no virtual environment here: tried /nowhere/bin/python: No such file or directory", said.text)

    def test_wishes_for_folders(self):
        wish = os.path.join(self.folder, "env-0")
        self.suite(test_a="def test(): pass\n")
        a = self.agent(options=["--cache-dir", os.path.join(self.folder, "c"), "--scratch-dir", wish])
        a.start(self.folder)
        facts = a.wait(wire.ENV_FACTS)
        self.assertEqual((facts.scratch_dir.decode(), os.path.dirname(facts.cache_dir).decode()), (wish, os.path.join(self.folder, "c")))
        a.wait(wire.COLLECTED)
        self.assertTrue(os.path.isdir(wish))
        a.finish()
        self.assertEqual((a.process.wait(5), os.path.exists(wish)), (0, False))

    def test_scratch_of_the_killed(self):
        """The guard removes it for an agent that was killed; for both of them the next agent does."""
        self.suite(test_a="def test(): pass\n")
        for both in (False, True):
            a = self.own_agent()
            a.start(self.folder)
            left = a.wait(wire.ENV_FACTS).scratch_dir.decode()
            a.wait(wire.COLLECTED)
            os.kill(a.hello.pid, signal.SIGSTOP)  # or it ends when it sees the guard's end, and tidies up
            for pid in ([a.process.pid] if both else []) + [a.hello.pid]:
                os.kill(pid, signal.SIGKILL)
            a.process.wait(20)
            self.assertEqual(os.path.exists(left), both)
        b = self.own_agent()
        b.start(self.folder)
        facts = b.wait(wire.ENV_FACTS)
        self.assertEqual(self.scratch_folders(), {facts.scratch_dir.decode()})
        b.wait(wire.COLLECTED)
        b.finish()

    # ---- what cannot start

    def test_no_such_runner(self):
        a, m = self.failed(runner=b"cargo")
        self.assertEqual((m.exit_status, m.text.split(b"; ")[0]), (6, b"popen: this agent has no runner named cargo"))
        a.finish(status=6)

    def test_folder_that_cannot_be_made(self):
        a = self.agent()
        path = os.path.join(self.folder, "a_file", "in_it")
        with open(os.path.dirname(path), "w"):
            pass
        a.start(path)
        self.assertEqual(a.wait(wire.ENV_FAILED).text, b"popen: chdir=%s: Not a directory" % path.encode())

    def test_an_empty_folder_is_told_to_another_host_alone(self):
        for project, told in ((b"", False), (b"proj-1", True)):
            a = self.agent()
            a.start(os.path.join(self.folder, "made%d" % told), project=project)
            self.assertEqual(a.wait(wire.COLLECTED).count, 0)
            self.assertEqual(any(b"was empty" in m.text for m in a.all(wire.AGENT_NOTE)), told)

    def failed(self, **kw):
        a = self.agent()
        a.start(self.folder, **kw)
        return a, a.wait(wire.ENV_FAILED)

    def test_no_such_python(self):
        _a, m = self.failed(python="/nowhere/python")
        self.assertEqual(m.exit_status, 6)
        self.assertIn(b"/nowhere/python", m.text)
        self.assertNotIn(b"\n", m.text)
        _a, m = self.failed(python="no-such-python -X dev")
        self.assertIn(b"no-such-python", m.text)
        self.assertIn(b"PATH", m.text)

    def test_python_without_pytest(self):
        bare = [p for p in ("/usr/bin/python3", sys.executable) if os.path.exists(p) and
                subprocess.call([p, "-S", "-c", "import pytest"], stderr=subprocess.DEVNULL)]
        a, m = self.failed(python="%s -S" % bare[0])
        self.assertEqual(m.exit_status, 6)
        self.assertIn(b"pytest", m.text)
        a.finish(status=6)

    def test_python_dies(self):
        bad = os.path.join(self.folder, "python")
        with open(bad, "w") as f:
            f.write("#!/bin/sh\necho something is wrong >&2\nexit 9\n")
        os.chmod(bad, 0o755)
        _a, m = self.failed(python=bad)
        self.assertEqual(m.exit_status, 6)
        self.assertIn(b"the process that collects the tests (python with pytest) could not start: it ended with status 9", m.text)
        self.assertIn(b"something is wrong", m.text)

    def test_collector_dies(self):
        self.suite(conftest="import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
        a, m = self.failed()
        self.assertEqual(m.exit_status, 6)
        self.assertIn(b"SIGABRT", m.text)
        a.finish(status=6)
        self.assertEqual(a.process.wait(5), 0)

    def test_different_collections(self):
        self.suite(test_a="""
            import os, pytest
            @pytest.mark.parametrize("n", range(3))
            def test(n): pass
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
                def test_more(): pass
            """, conftest=SESSION_HOOK)
        a, c = self.collected()
        a.send(wire.pack_WORKERS_START(first=0, count=2, total=2, maxfail=0, max_restarts=8, stride=0))
        m = a.wait(wire.ENV_FAILED)
        self.assertEqual(m.exit_status, 1)
        self.assertIn(b"Different tests were collected between gw0 and gw1", m.text)
        told, = [r for r in a.all(wire.REPORT) if r.category == b"error"]
        self.assertEqual((told.nodeid, told.when, told.item), (b"gw1", b"collect", wire.NO_INDEX))
        self.assertIn(b"test_a.py::test_more", told.text)
        a.finish(status=1)

    # ---- output

    def test_output(self):
        self.suite(test_a="""
            import os
            def test_loud():
                os.write(1, b"hello " * 10)
                for i in range(100): os.write(2, b"x" * 65536)
                os.write(2, b"the end")
            """)
        a, c, results = self.run_all(workers=1, args=["-s"])
        a.finish()
        out = a.all(wire.OUTPUT)
        self.assertIn(b"hello hello", b"".join(o.data for o in out if o.stream == wire.OUTPUT_STDOUT and o.worker == 0))
        err = [o for o in out if o.stream == wire.OUTPUT_STDERR and o.worker == 0]
        data = b"".join(o.data for o in err)
        self.assertLess(len(data), 2 << 20)
        self.assertTrue(data.endswith(b"the end"), data[-20:])
        self.assertEqual(sum(o.dropped_bytes for o in err) + len(data), 100 * 65536 + 7)

    # ---- the end

    SLEEPY = "import time\nimport pytest\n@pytest.mark.parametrize('n', range(4))\ndef test(n): time.sleep(60)\n"

    def sleeping(self, **kw):
        self.suite(test_a=kw.pop("text", self.SLEEPY))
        a, c = self.collected(**kw)
        a.workers(2)
        a.lease(0, c.count)
        time.sleep(0.5)
        return a

    def test_cancel(self):
        for how, least, most in ((3, 0, 3), (2, 1, 5)):
            a = self.sleeping()
            began = time.monotonic()
            a.send(wire.pack_CANCEL(how=how, grace_ms=1000, leaving=1))
            downs = [a.wait(wire.WORKER_DOWN) for _ in range(2)]
            took = time.monotonic() - began
            self.assertTrue(least <= took <= most, took)
            self.assertEqual([d.expected for d in downs], [1, 1])
            self.assertEqual(sum(r.count for m in a.all(wire.RETURNED) for r in m.ranges), 4)
            a.finish(not_run=[0, 1, 2, 3], status=2)
            self.assertEqual(a.process.wait(5), 0)

    def test_cancel_lets_running_tests_end(self):
        a = self.sleeping(text=self.SLEEPY.replace("60", "1.5"))
        a.send(wire.pack_CANCEL(how=1, grace_ms=0, leaving=1))
        self.assertEqual(sorted(a.wait_results(2, 10)), sorted(a.results()))
        self.assertEqual(sum(r.count for m in a.all(wire.RETURNED) for r in m.ranges), 2)
        a.finish(not_run=[1, 3], status=2)

    def test_pause(self):
        a = self.sleeping()
        a.send(wire.pack_PAUSE())
        time.sleep(0.3)
        states = []
        for p in self.tree(a) - {a.process.pid, a.hello.pid}:
            with open("/proc/%d/stat" % p) as f:
                states.append(f.read().rpartition(")")[2].split()[0])
        self.assertEqual(set(states), {"T"})
        a.send(wire.pack_RESUME())
        a.send(wire.pack_CANCEL(how=3, grace_ms=0, leaving=1))
        a.wait(wire.WORKER_DOWN)
        a.finish(status=2)

    DAEMON = """
        import os, time, subprocess, sys
        def test():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
            {}
        """

    def test_daemon_of_a_test_is_ended(self):
        self.suite(test_a=self.DAEMON.format("time.sleep(0.3)"))
        a, c = self.collected()
        a.workers(1)
        a.lease(0, 1)
        a.wait_results(1)
        pids = self.tree(a)
        self.assertGreaterEqual(len(pids), 5)
        a.finish()
        self.assert_gone(pids, 5)

    def test_controller_dies(self):
        a = self.sleeping(text=self.DAEMON.format("time.sleep(60)"))
        pids = self.tree(a)
        a.sock.close()
        self.assert_gone(pids)

    def test_controller_dies_and_worker_ignores_sigterm(self):
        a = self.sleeping(text="import signal, time\ndef test():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)\n")
        pids = self.tree(a)
        a.sock.close()
        self.assert_gone(pids)

    def test_agent_is_killed(self):
        for victim in ("guard", "agent"):
            a = self.sleeping(text=self.DAEMON.format("time.sleep(60)") + "\n\n        def test_more(): time.sleep(60)\n")
            pids = self.tree(a)
            self.assertGreaterEqual(len(pids), 6)
            os.kill(a.process.pid if victim == "guard" else a.hello.pid, signal.SIGKILL)
            a.process.wait()
            self.assert_gone(pids)

    def test_maxfail_stops_all_workers(self):
        self.suite(test_a="""
            import pytest, time
            @pytest.mark.parametrize("n", range(60))
            def test(n):
                time.sleep(0.02)
                assert n != 5
            """)
        for workers in (1, 3):
            a, c = self.collected()
            a.workers(workers, maxfail=1)
            a.lease(0, c.count)
            a.wait(wire.REPORT, test=lambda r: r.item == 5)
            told_us = time.time() * 1e6  # the failure was on the page before it was told
            time.sleep(0.5)
            a.send(wire.pack_CANCEL(how=1, grace_ms=0, leaving=1))
            a.pump(0.5)
            done = len(a.results())
            a.finish(failed=[5], status=1)
            results = a.results()
            self.assertEqual(len(results), done)
            self.assertLess(done, c.count)
            self.assertLessEqual(len([r for r in results.values() if r.start_us > told_us]), workers)
            back = sum(r.count for m in a.all(wire.RETURNED) for r in m.ranges)
            self.assertEqual(done + back, c.count)

    # ---- credit

    def test_backpressure(self):
        self.suite(test_a="import pytest\n@pytest.mark.parametrize('n', range(60))\ndef test(n): assert 0, 'x' * 20000\n")
        a, c = self.collected(agent=dict(window_frames=8, window_bytes=100000))
        a.workers(2)
        a.ack = False
        a.lease(0, c.count)
        for _ in range(20):
            a.pump(0.1)
        before = a.last_sequence
        self.assertLess(a.bytes, 60 * 20000)  # it stopped
        a.pump(0.5)
        self.assertEqual(a.last_sequence, before)
        a.ack = True
        a.acknowledge()
        self.assertEqual(len(a.wait_results(60)), 60)
        a.finish(failed=range(60), status=1)


if __name__ == "__main__":
    unittest.main()
