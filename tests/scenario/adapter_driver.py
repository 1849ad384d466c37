"""tests/scenario/adapter_driver.py - plays the agent for the pytest adapter: starts it, hands out items, reads what it says.

Standard library only.  Also a program: `adapter_driver.py [-n N] [--python P] [ARGS...]` runs a suite and prints counts and times."""
import array
import atexit
import collections
import mmap
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def unpacked():
    """The adapter as an agent unpacks it: byte code is kept beside it, and not in the source tree."""
    folder = tempfile.mkdtemp(prefix="xd-adapter-")
    atexit.register(shutil.rmtree, folder, True)
    shutil.copytree(os.path.join(ROOT, "actors", "runners", "xd_pytest"), os.path.join(folder, "xd_pytest"))
    return folder


ADAPTER = os.environ.get("XD_ADAPTER_DIR") or unpacked()
sys.path.insert(0, ADAPTER)
sys.path.insert(1, os.path.join(ROOT, "tools"))

import wiregen  # noqa: E402

wire = wiregen.codec()

NONE = wire.NO_INDEX
MAGIC = 0x58445047
SLOTS = 16
CLAIMED, LIMIT, FAILURES, ITEM, DONE, PID, RUNS = 0, 1, 2, 3, 6, 8, 9
START = "import sys; sys.path[:1] = [%r]; import xd_pytest.main; xd_pytest.main.main(sys.argv[1:], True)"
COLLECTED, WARM, FRESH = wire.WAY_COLLECTED, wire.WAY_WARM, wire.WAY_FRESH
AS_MODULE, NO_FORK, CACHE, TYPED = wire.ENV_AS_MODULE, wire.ENV_NO_FORK, wire.ENV_KEEPS_CACHE, wire.ENV_OWN_WORKERS
NO_COLLECTED = 1 << 31  # of this driver alone: a plugin that prevents forking the process that collected
OUTCOMES = dict((getattr(wire, "OUT_" + name), name.lower().replace("_", "-")) for name in "PASSED FAILED SKIPPED XFAILED XPASSED ERROR NOT_RUN".split())


def frames_of(reader, data):
    return [(kind, wire.unpack(kind, body)) for kind, _flags, _sequence, body in reader.feed(data)]


def text(data):
    return bytes(data).decode("utf-8", "surrogateescape")


def plugin_with_session_hook(folder):
    """Environment entries that load it."""
    with open(os.path.join(folder, "with_session_hook.py"), "w") as f:
        f.write("def pytest_sessionfinish(session): pass\n")
    return [("PYTEST_PLUGINS", "with_session_hook"), ("PYTHONPATH", folder)]


class Page(object):
    def __init__(self, maxfail):
        self.fd = os.memfd_create("page")
        size = 64 * (1 + SLOTS)
        os.ftruncate(self.fd, size)
        self.words = memoryview(mmap.mmap(self.fd, size)).cast("I")
        self.words[0], self.words[1], self.words[2], self.words[3] = MAGIC, 1, SLOTS, maxfail
        for slot in range(SLOTS):
            self.set(slot, LIMIT, NONE)

    def get(self, slot, field):
        return self.words[16 * (1 + slot) + field]

    def set(self, slot, field, value):
        self.words[16 * (1 + slot) + field] = value


class Worker(object):
    def __init__(self, env, number, slot):
        self.env, self.number, self.slot = env, number, slot
        self.cmd_r, self.cmd = os.pipe()
        self.res, self.res_w = os.pipe()
        self.out, self.out_w = os.pipe()
        self.err, self.err_w = os.pipe()
        self.reader = wire.FrameReader()
        self.frames, self.results, self.reports, self.warnings = [], [], [], []
        self.ids = []
        self.pid = None
        self.ready = self.done = None
        self.stdout = self.stderr = b""
        self.position = 0
        self.runs = 0
        self.open = {self.res, self.out, self.err}
        self.process = None

    def theirs(self):
        return [self.cmd_r, self.res_w, self.out_w, self.err_w]

    def close_theirs(self):
        for fd in self.theirs():
            os.close(fd)

    def run(self, items, last=False, first=None, attempt=1):
        """Tells items for the positions from `first` on.  last: True = none will come; 1 = none as far as is known."""
        first = self.position if first is None else first
        ranges = [(i, 1, attempt, 0, 0, 0) for i in items]
        self.position = first + len(items)
        self.runs += 1
        self.command(wire.pack_RUN(first=first, last=3 if last is True else int(last), ranges=ranges))

    def command(self, data):
        try:
            os.write(self.cmd, data)
        except BrokenPipeError:
            pass

    def quit(self):
        self.command(wire.pack_QUIT())

    def take_back(self, keep):
        """Steps of aqueue.h: limit, barrier, claimed, RUN with reopen.  The position from which on all is ours again."""
        self.env.page.set(self.slot, LIMIT, keep)
        time.sleep(0.01)  # the barrier
        return max(keep, self.env.page.get(self.slot, CLAIMED))

    def reopen(self, first, items, last=False):
        self.env.page.set(self.slot, RUNS, self.runs + 1)
        self.env.page.set(self.slot, LIMIT, NONE)
        self.run(items, last=last, first=first)

    def feed(self, fd):
        data = os.read(fd, 1 << 20)
        if not data:
            self.open.discard(fd)
            os.close(fd)
            return
        if fd == self.out:
            self.stdout += data
        elif fd == self.err:
            self.stderr += data
        else:
            for kind, record in frames_of(self.reader, data):
                self.on_frame(kind, record)

    def on_frame(self, kind, record):
        self.frames.append((kind, record))
        if kind == wire.RESULT:
            self.results.append(record)
        elif kind == wire.REPORT:
            self.reports.append(record)
        elif kind == wire.WARNING:
            self.warnings.append(record)
        elif kind == wire.COLLECT_IDS:
            self.ids.extend(text(entry.id) for entry in record.ids)
        elif kind == wire.WORKER_READY:
            self.ready = record
        elif kind == wire.WORKER_DONE:
            self.done = record


class Env(object):
    """One environment: collector, workers, and a host when there is one to be forked from it."""

    def __init__(self, args, cwd, flags=0, python=None, env=(), maxfail=0, workers=2, first=0, expected=None):
        self.python = python or sys.executable
        self.page = Page(maxfail)
        self.maxfail, self.total = maxfail, workers
        self.scratch = tempfile.mkdtemp(prefix="xd-scratch-")
        if flags & NO_COLLECTED:
            flags, env = flags & ~NO_COLLECTED, plugin_with_session_hook(self.scratch) + list(env)
        self.frames, self.reports, self.warnings, self.entries = [], [], [], []
        self.config = self.collected = self.failed = self.host_ready = None
        self.become = False  # the agent's way: where nothing can be forked, the collector becomes the first worker too
        self.workers = []
        self.forked, self.reaped = {}, {}
        self.host_out = b""
        self.start_frame = wire.pack_ENV_START(
            python=self.python.encode(), chdir=b"", env=[(k.encode(), v.encode()) for k, v in env], args=[(os.fsencode(a),) for a in args],
            run_uid=b"0123456789abcdef0123456789abcdef", spec=b"popen", cache_dir=b"", scratch_dir=self.scratch.encode(),
            workers_expected=workers if expected is None else expected, first_worker=first, flags=flags, runner=b"", nice=b"", project=b"", names=[], synced=b"", paths=[])
        self.cwd = str(cwd)
        self.environ = dict(os.environ, **dict(env))
        for name in list(self.environ):
            if name.startswith(("PYTEST_", "COV_")):
                del self.environ[name]
        self.environ.update(env)
        self.out, self.out_w = os.pipe()
        self.h = None
        self.h_reader, self.c_reader = wire.FrameReader(), wire.FrameReader()
        self.processes = []
        self.open = {self.out: None}
        self.started = time.monotonic()
        self.c = self.spawn("collector")

    def spawn(self, role):
        """Collector or host; the socket to it."""
        here, there = socket.socketpair()
        fds = (there.fileno(), self.page.fd)
        self.processes.append(subprocess.Popen([self.python, "-c", START % ADAPTER, role] + [str(fd) for fd in fds], pass_fds=fds, cwd=self.cwd,
                                               env=self.environ, stdin=subprocess.DEVNULL, stdout=self.out_w, stderr=self.out_w, start_new_session=True))
        there.close()
        self.open[here.fileno()] = here
        here.sendall(self.start_frame)
        return here

    def host(self):
        if self.h is None:
            self.h = self.spawn("host")
        return self.h

    def no_more_output(self):
        """No process is started any more: the output ends with those that there are."""
        if self.out_w is not None:
            os.close(self.out_w)
            self.out_w = None

    # ---- reading

    def pump(self, seconds=0.1):
        poll = select.poll()
        where = {}
        for fd in self.open:
            poll.register(fd, select.POLLIN)
            where[fd] = None
        for worker in self.workers:
            for fd in worker.open:
                poll.register(fd, select.POLLIN)
                where[fd] = worker
        for fd, _event in poll.poll(max(0, int(seconds * 1000))):
            if where[fd] is not None:
                where[fd].feed(fd)
            else:
                self.feed(fd)

    def feed(self, fd):
        sock = self.open[fd]
        try:
            data = os.read(fd, 1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            del self.open[fd]
            return
        if sock is None:
            self.host_out += data
            return
        for kind, record in frames_of(self.h_reader if sock is self.h else self.c_reader, data):
            self.on_frame(kind, record)

    def on_frame(self, kind, record):
        self.frames.append((kind, record))
        if kind == wire.CONFIG:
            self.config = record
            for name in ("collector.out", "collector.err"):  # the collector waits until they have been taken
                try:
                    os.unlink(os.path.join(self.scratch, name))
                except OSError:
                    pass
        elif kind == wire.COLLECTED:
            self.collected = record
        elif kind == wire.COLLECT_IDS:
            assert record.first == len(self.entries)
            self.entries.extend(record.ids)
        elif kind == wire.REPORT:
            self.reports.append(record)
        elif kind == wire.WARNING:
            self.warnings.append(record)
        elif kind == wire.ENV_FAILED:
            self.failed = record
        elif kind == wire.HOST_READY:
            self.host_ready = record
        elif kind == wire.FORKED:
            self.forked[record.worker] = record
        elif kind == wire.REAPED:
            self.reaped[record.pid] = record

    def until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "nothing came: %r, host said %r, workers said %r" % (
                self.frames[-3:], text(self.host_out)[-3000:], [(w.frames[-2:], text(w.stderr)[-2000:]) for w in self.workers])
            self.pump(0.05)

    def collect(self, seconds=60):
        self.until(lambda: self.collected is not None or self.failed is not None or self.c.fileno() not in self.open, seconds)
        if self.c.fileno() not in self.open:  # it has ended: all that it wrote is read
            self.no_more_output()
            self.until(lambda: self.out not in self.open, seconds)
        self.ids = [text(entry.id) for entry in self.entries]
        return self

    @property
    def options(self):
        found = collections.defaultdict(list)
        for pair in self.config.options:
            found[text(pair.name)].append(text(pair.value))
        return found

    @property
    def header(self):
        return [text(line.text) for line in self.config.header]

    # ---- workers

    def start_worker(self, number, slot=None):
        worker = Worker(self, number, number if slot is None else slot)
        way = self.collected.way
        fork = dict(worker=number, slot=worker.slot, total=self.total, become=0, maxfail=self.maxfail, name=b"")
        if way == FRESH and not (self.become and not self.workers):
            here, there = socket.socketpair()
            fds = (there.fileno(), worker.cmd_r, worker.res_w, self.page.fd)
            worker.process = subprocess.Popen([self.python, "-c", START % ADAPTER, "fresh"] + [str(fd) for fd in fds], pass_fds=fds, cwd=self.cwd,
                                              env=self.environ, stdin=subprocess.DEVNULL, stdout=worker.out_w, stderr=worker.err_w)
            worker.pid = worker.process.pid
            here.sendall(self.start_frame)
            here.sendall(wire.pack_FORK(**fork))
            there.close()
            worker.control = here
        else:
            to = self.c
            if way != COLLECTED:
                if self.workers:
                    to = self.host()
                else:
                    fork["become"] = 1
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", worker.theirs()))]
            to.sendmsg([wire.pack_FORK(**fork)], ancillary)
        worker.close_theirs()
        self.workers.append(worker)
        return worker

    def start_workers(self, count=None, seconds=60):
        for number in range(count or self.total):
            self.start_worker(number)
        self.until(lambda: all(w.ready or w.done for w in self.workers), seconds)
        return self.workers

    def reap(self, worker):
        pid = self.forked[worker.number].pid if worker.process is None else None
        if pid is None:
            return worker.process.wait(), 0
        to = self.h if self.collected.way == WARM else self.c
        to.sendall(wire.pack_REAP(pid=pid))
        self.until(lambda: pid in self.reaped)
        return self.reaped[pid].exit_status, self.reaped[pid].signal

    def finish(self, failed=(), not_run=(), seconds=120):
        """FINISH to the collector, then workers, collector and host are ended: in the agent's order."""
        self.say(self.c, wire.pack_FINISH(failed=[(i,) for i in failed], not_run=[(i,) for i in not_run], exit_status=0, shutdown_ms=0, digest_lo=0, digest_hi=0))
        for worker in self.workers:
            worker.quit()
        self.until(lambda: all(worker.res not in worker.open for worker in self.workers), seconds)
        self.say(self.c, wire.pack_QUIT())
        if self.h is not None:
            self.say(self.h, wire.pack_QUIT())
        self.no_more_output()
        self.until(lambda: not self.open and not any(w.open for w in self.workers), seconds)
        self.close()
        return self

    def say(self, sock, data):
        try:
            sock.sendall(data)
        except OSError:
            pass  # it has ended

    def close(self):
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.wait(10)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run_all(self, split=None, seconds=120):
        """Gives out the whole collection in contiguous shares and waits for the end."""
        count = len(self.ids)
        n = len(self.workers)
        for k, worker in enumerate(self.workers):
            items = split[k] if split is not None else range(count * k // n, count * (k + 1) // n)
            worker.run(list(items), last=True)
        want = sum(len(s) for s in split) if split is not None else count
        deadline = time.monotonic() + seconds
        while sum(len(w.results) for w in self.workers) < want and not all(w.done for w in self.workers) and not self.enough():
            time.sleep(0.002)  # like the agent: looking now and then spares the workers a wake-up of ours at every write
            self.pump(0.05)
            assert time.monotonic() < deadline, [(w.frames[-2:], text(w.stderr)[-2000:]) for w in self.workers]
        return self

    def enough(self):
        """So many failures that nothing starts any more, and nothing runs."""
        slots = range(len(self.workers))
        return bool(self.maxfail) and sum(self.page.get(s, FAILURES) for s in slots) >= self.maxfail and not any(
            self.page.get(s, ITEM) for s in slots)

    # ---- looking at it

    def outcomes(self):
        found = collections.OrderedDict()
        for worker in self.workers:
            for result in worker.results:
                found[result.item] = OUTCOMES[result.outcome]
        return found

    def by_id(self):
        return dict((self.ids[item], outcome) for item, outcome in self.outcomes().items())

    def counts(self):
        """As pytest counts: RESULT, or the REPORTs that went before it."""
        found = collections.Counter()
        for report in self.reports:
            found[text(report.category)] += 1
        for worker in self.workers:
            for result in worker.results:
                if not result.flags & 5:  # 4: said again
                    found[OUTCOMES[result.outcome]] += 1
            for report in worker.reports:
                if report.category:
                    found[text(report.category)] += 1
        return dict(found)


def run(args, cwd, workers=2, become=False, **kw):
    """A whole run; the environment after its end."""
    env = Env(args, cwd, workers=workers, **kw).collect()
    env.become = become
    if env.failed is None and env.collected is not None and env.collected.exit_status < 0:
        env.start_workers(workers)
        env.run_all()
    outcomes = env.outcomes() if env.workers else {}
    bad = [i for i, outcome in outcomes.items() if outcome in ("failed", "error")]
    not_run = [i for i in range(len(env.ids)) if i not in outcomes]
    return env.finish(bad, not_run)


def main(argv):
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=2)
    parser.add_argument("--python", default=None)
    parser.add_argument("--flags", type=int, default=0)
    parser.add_argument("args", nargs="*")
    given, rest = parser.parse_known_args(argv)
    begin = time.monotonic()
    env = Env(given.args + rest, os.getcwd(), python=given.python, workers=given.n, flags=given.flags).collect(600)
    collected = time.monotonic()
    if env.failed is not None:
        print(text(env.failed.text))
        return env.failed.exit_status
    print("way %d: %s" % (env.collected.way, text(env.collected.why)))
    if env.collected.exit_status < 0:
        env.start_workers(given.n, 600)
        ready = time.monotonic()
        env.run_all(seconds=3600)
        ran = time.monotonic()
        env.finish()
        print("collect %.3f s, workers ready %.3f s, run %.3f s, end %.3f s, whole %.3f s" % (
            collected - begin, ready - collected, ran - ready, time.monotonic() - ran, time.monotonic() - begin))
        print(sorted(env.counts().items()))
        return max(w.done.exit_status if w.done else 1 for w in env.workers)
    sys.stdout.write(text(env.host_out))
    env.finish()
    return env.collected.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
