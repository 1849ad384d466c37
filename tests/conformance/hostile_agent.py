"""An agent that does one wrong thing, for test_agents.py: `--agent` of xdctl is a link to this program.

XD_HOSTILE names the mode (a key of MODES), XD_HOSTILE_REAL the real agent, XD_HOSTILE_LOCK a file: whoever makes it is hostile, whoever finds
it becomes the real agent, so that a run of two environments has one of each. Until its wrong step it behaves as an agent does: it collects
the 20 tests of SUITE, starts the workers that it is told to, and reports that what it was given has passed.
Then it reads on until the controller closes the stream.

Which of the two environments is first: each may wait until a text is in the file XD_HOSTILE_FILE. XD_HOSTILE_TESTS is the text that the tests of SUITE
wait for, XD_HOSTILE_REAL_START the one that the real agent waits for before it starts, and XD_HOSTILE_START the hostile one."""
import os
import socket
import struct
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTS = 20
SUITE = """import os, sys, pytest
sys.path.insert(0, %r)
import hostile_agent
@pytest.mark.parametrize('n', range(%d))
def test_a(n): hostile_agent.wait_for('TESTS')
""" % (os.path.dirname(os.path.abspath(__file__)), TESTS)
IDS = [("test_a.py::test_a[%d]" % n).encode() for n in range(TESTS)]
TOKEN = b"a hostile token!"
DIGEST = (0xb1a76fcbca475df1, 0xc5e4b35a9807cde6)  # XXH3-128 of IDS, each followed by a NUL: low and high half
NEVER = "it never collects"
NONE32, NONE16 = 0xffffffff, 0xffff
START, CONFIGURED, COLLECTED, UP, LEASED, MIDDLE, FINISH, DONE, BYE, TAKE_BACK = (
    "start", "configured", "collected", "up", "leased", "middle", "finish", "done", "bye", "take back")


def wait_for(who):
    text = os.environ.get("XD_HOSTILE_" + who)
    end = time.monotonic() + 20
    while text:
        with open(os.environ["XD_HOSTILE_FILE"], errors="replace") as f:
            if text in f.read():
                return
        assert time.monotonic() < end, "'%s' has not been printed" % text
        time.sleep(0.01)


class Agent(object):
    def __init__(self, wire, fd, redial, mode):
        self.wire, self.mode = wire, mode
        self.point, self.wrong = MODES[mode]
        self.sock, self.redial = socket.socket(fileno=fd), redial
        self.sock.setblocking(True)
        self.reader, self.seq, self.heard = wire.FrameReader(), 0, 0
        self.leased, self.done, self.acted, self.workers, self.request = [], [], False, [], 0
        self.preamble = b""

    # ---- bytes out
    def raw(self, data):
        self.sock.sendall(data)

    def frame(self, kind, body, seq=None):
        if seq is None:
            self.seq += 1
            seq = self.seq
        self.raw(struct.pack("<IHHQ", len(body), kind, 0, seq) + body)

    def say(self, name, seq=None, **fields):
        self.frame(getattr(self.wire, name), getattr(self.wire, "pack_" + name)(**fields)[16:], seq)

    def results(self, items, worker=None, outcome=1, flags=0, attempt=1, seq=None):
        worker = self.workers[0] if worker is None else worker
        self.say("RESULTS", seq=seq, worker=worker, results=[(i, attempt, outcome, flags, 1, 1, 1, 0, 1) for i in items])

    def report(self, item=0, attempt=1, worker=None, seq=None, **more):
        fields = dict(item=item, attempt=attempt, worker=self.workers[0] if worker is None and self.workers else worker or 0, nodeid=b"", when=b"call",
                      category=b"failed", letter=b"F", word=b"FAILED", outcome=b"failed", text=b"no", message=b"no", path=b"", line=1, subtest=b"",
                      heading=b"", duration_us=1, start_us=1, sections=[], properties=[], attributes=[], flags=0)
        fields.update(more)
        self.say("REPORT", seq=seq, **fields)

    def config(self, **options):
        here = os.getcwd().encode()
        self.say("CONFIG", python=b"python3", python_version=b"3.12.1", pytest_version=b"8.0.0", rootdir=here, invocation_dir=here, header=[],
                 options=[(k.encode(), v.encode()) for k, v in options.items()], notes=[])

    def facts(self, path="/nowhere"):
        path = path.encode()
        self.say("ENV_FACTS", program=b"python3\x1b[2J\nFAILED", found=b"x" * 100 + b"\x1b]0;title\x07", folder=path, cache_dir=path, scratch_dir=path, copies=[])

    def collected(self, **more):
        fields = dict(count=TESTS, deselected=0, errors=0, digest_lo=DIGEST[0], digest_hi=DIGEST[1], exit_status=-1, stop_reason=b"", way=1, why=b"",
                      duration_us=1, in_order=0, lines=[], room=0)
        fields.update(more)
        self.say("COLLECTED", **fields)

    def list(self, ids=None, first=0, shared=0):
        self.say("COLLECT_IDS", first=first, ids=[(shared, i, 1, b"", b"") for i in (IDS if ids is None else ids)])

    def output(self, size=100, seq=None, **more):
        fields = dict(worker=NONE16, stream=1, item=NONE32, data=b"x" * size, dropped_bytes=0)
        fields.update(more)
        self.say("OUTPUT", seq=seq, **fields)

    def down(self, worker=None, **more):
        fields = dict(worker=self.workers[0] if worker is None else worker, expected=1, exit_status=0, signal=0, item=NONE32, session_status=0,
                      stopped=0, reason=b"", last_output=b"", will_restart=0, age_ms=0)
        fields.update(more)
        self.say("WORKER_DOWN", **fields)

    def env_done(self):
        self.say("ENV_DONE", exit_status=0, agent_cpu_us=1, workers_cpu_us=1, stream_bytes=1)

    def bye(self):
        self.say("BYE", status=0)

    def up(self, worker, **more):
        self.say("WORKER_UP", **dict(dict(worker=worker, pid=1, way=1, replaces=NONE16), **more))

    def progress(self, running=(), last=0):
        self.say("PROGRESS", seq=0, running=list(running), files=0, items=0, last=last, brought=0, to_bring=0, brought_bytes=0)

    # ---- the life of an agent
    def at(self, point):
        """Does the wrong thing, at its place. True: the life goes on as if nothing had happened."""
        if self.acted or point != self.point:
            return True
        self.acted = True
        if self.wrong(self) is GO_ON:
            return True
        self.wait_for_the_end()
        return False

    def wait_for_the_end(self):
        self.sock.settimeout(40)
        try:
            while self.sock.recv(1 << 16):
                pass
        except OSError:
            pass
        sys.exit(0)

    def run(self):
        self.raw(self.wire.PREAMBLE)
        if self.mode in GREETINGS:
            GREETINGS[self.mode](self)
            self.wait_for_the_end()
        self.hello()
        got = b""
        while len(got) < 8:
            got += self.sock.recv(8 - len(got))
        while True:
            data = self.sock.recv(1 << 18)
            if not data:
                return
            for kind, _flags, seq, body in self.reader.feed(data):
                if seq:
                    self.heard = seq
                self.on_frame(kind, body)
            self.say("ACK", seq=0, acked=self.heard)

    def hello(self, **more):
        self.say("HELLO", seq=0, **dict(dict(version_min=1, version_max=1, capabilities=3, build_id=b"hostile", host=b"h", system=b"s", pid=os.getpid(),
                                             cpus=2, memory_bytes=1 << 30, session=0, last=0, token=TOKEN), **more))

    def cut(self):
        """Its end of the pipe is closed; another one comes. What the controller says there first: its WELCOME."""
        self.sock.close()
        _byte, fds, _flags, _address = socket.recv_fds(self.redial, 1, 1)
        if not fds:
            sys.exit(0)
        self.sock = socket.socket(fileno=fds[0])
        self.reader = self.wire.FrameReader()
        got = b""
        while len(got) < 24:
            more = self.sock.recv(24 - len(got))
            if not more:
                sys.exit(0)
            got += more
        size = struct.unpack_from("<I", got, 8)[0]
        return self.wire.unpack(self.wire.WELCOME, self.sock.recv(size, socket.MSG_WAITALL))

    def again(self, **more):
        """The session goes on over another pipe, with a HELLO that is wrong in one way."""
        welcome = self.cut()
        self.raw(self.wire.PREAMBLE)
        self.hello(**dict(dict(session=welcome.session, last=self.heard), **more))
        return welcome

    def on_frame(self, kind, body):
        wire = self.wire
        if kind == wire.PING:
            self.frame(wire.PONG, b"", 0)
        elif kind == wire.ENV_START:
            self.at(START)
            if self.mode in NEVER_COLLECT:
                print(NEVER, file=sys.stderr, flush=True)
                return
            if self.mode not in ("paths", "facts"):
                self.config()
            self.at(CONFIGURED)
            if self.mode != "collected with 0":
                self.collected()
            self.at(COLLECTED)
        elif kind == wire.SEND_LIST:
            self.list()
        elif kind == wire.WORKERS_START:
            m = wire.unpack(kind, body)
            self.workers = list(range(m.first, m.first + m.count))
            for worker in self.workers:
                self.up(worker)
            self.at(UP)
        elif kind == wire.LEASE:
            new = [i for r in wire.unpack(kind, body).ranges for i in range(r.first, r.first + r.count)]
            self.leased += new
            self.at(LEASED)
            half = len(new) // 2 or 1
            time.sleep(0.05)
            self.results(new[:half])
            self.done += new[:half]
            self.at(MIDDLE)
            self.results(new[half:])
            self.done += new[half:]
        elif kind == wire.TAKE_BACK:
            self.request = wire.unpack(kind, body).request
            self.say("RETURNED", request=self.request, ranges=[])
            self.at(TAKE_BACK)
        elif kind == wire.CANCEL and self.workers:
            left = [i for i in self.leased if i not in self.done]
            self.say("RETURNED", request=0, ranges=[(i, 1, 1, 0, 0, 0) for i in left])
            self.done += left
        elif kind == wire.FINISH:
            self.at(FINISH)
            for worker in self.workers:
                self.down(worker)
            self.env_done()
            self.at(DONE)
            self.bye()
            self.at(BYE)


# ---- what is wrong ----------------------------------------------------------------------------------------------
GO_ON = object()
FOREIGN = TESTS + 80  # an item that no agent has


def forever(what, seconds=30):
    def flood(a):
        end = time.monotonic() + seconds
        a.sock.settimeout(seconds)
        try:
            while time.monotonic() < end:
                what(a)
        except OSError:
            pass
    return flood


def several(*steps):
    def do(a):
        for step in steps:
            step(a)
    return do


def number(name, size, at, value, **fields):
    """A frame whose number at this offset of its body is another one than its encoder would take."""
    def do(a):
        body = bytearray(getattr(a.wire, "pack_" + name)(**fields)[16:])
        body[at:at + size] = int(value).to_bytes(size, "little", signed=value < 0)
        a.frame(getattr(a.wire, name), bytes(body))
    return do


def raw_header(size, kind, seq=1, body=b""):
    return lambda a: a.raw(struct.pack("<IHHQ", size, kind, 0, seq) + body)


def go_on(step):
    def do(a):
        step(a)
        return GO_ON
    return do


def end_now(a):
    a.sock.close()
    sys.exit(9)


def note(a, **more):
    a.say("AGENT_NOTE", **dict(dict(level=2, failed=0, text=b"a note"), **more))


def env_failed(status):
    return lambda a: a.say("ENV_FAILED", exit_status=status, text=b"it says that it cannot go on")


MODES = {
    # frames in the wrong phase of the environment
    "results before the collection": (START, lambda a: a.results([0], worker=0)),
    "results after the collection": (COLLECTED, lambda a: a.results([0], worker=0)),
    "results after the end": (DONE, lambda a: a.results([0])),
    "results after BYE": (BYE, lambda a: a.results([0])),
    "report after the end": (DONE, lambda a: a.report()),
    "worker up while it collects": (START, lambda a: a.up(0)),
    "worker down while it collects": (START, lambda a: a.down(0)),
    "returned while it collects": (START, lambda a: a.say("RETURNED", request=0, ranges=[])),
    "returned after the collection": (COLLECTED, lambda a: a.say("RETURNED", request=0, ranges=[(0, 1, 1, 0, 0, 0)])),
    "summary while it collects": (START, lambda a: a.say("SUMMARY", worker=0, text=b"all is well")),
    "config twice": (CONFIGURED, lambda a: a.config()),
    "facts twice": (START, lambda a: [a.facts(), a.facts()]),
    "facts while tests run": (LEASED, lambda a: a.facts()),
    "config while tests run": (LEASED, lambda a: a.config()),
    "collected twice": (COLLECTED, lambda a: a.collected()),
    "collected while tests run": (LEASED, lambda a: a.collected()),
    "done while it collects": (START, lambda a: a.env_done()),
    "done while tests run": (LEASED, lambda a: a.env_done()),
    "BYE at once": (START, lambda a: a.bye()),
    "BYE after the collection": (COLLECTED, lambda a: a.bye()),
    "BYE while tests run": (MIDDLE, lambda a: a.bye()),
    "BYE without done": (FINISH, lambda a: a.bye()),
    "BYE twice": (BYE, lambda a: a.bye()),
    "hello twice": (START, lambda a: a.hello()),
    "failed twice": (START, several(env_failed(6), env_failed(6))),
    # what only the controller may say, and what nobody may
    "a command": (START, lambda a: a.say("LEASE", ranges=[(0, 20, 1, 0, 0, 0)])),
    "a record of the journal": (LEASED, lambda a: a.say("RUN_END", exit_status=0, reason=b"", wall_us=1, duration_us=1, collected=20, recorded=20, not_run=0,
                                                      passed=20, failed=0, skipped=0, xfailed=0, xpassed=0, errors=0, crashed=0, counted=1)),
    "a grant": (LEASED, lambda a: a.say("GRANT", gateway=0, ranges=[(0, 20, 1, 0, 0, 0)])),
    "a note of the engine": (START, lambda a: a.say("NOTE", level=4, text=b"all tests have passed")),
    "an unknown record": (START, lambda a: a.frame(63, b"?")),
    "the engine's own message": (START, lambda a: a.frame(0x4004, b"\3\0\0\0")),
    # items
    "a result for an item that nobody has": (LEASED, lambda a: a.results([FOREIGN])),
    "results for the whole run": (LEASED, lambda a: a.results(range(200))),
    "an item's result twice": (MIDDLE, lambda a: a.results(a.done[:1])),
    "an item's result twice in a batch": (LEASED, lambda a: a.results(a.leased[:1] * 2)),
    "another attempt": (LEASED, lambda a: a.results(a.leased[:1], attempt=2)),
    "attempt 0": (LEASED, lambda a: a.results(a.leased[:1], attempt=0)),
    "a result of nobody's worker": (LEASED, lambda a: a.results(a.leased[:1], worker=4000 if len(a.workers) < 2 else 65535)),
    "a result after it was given back": (LEASED, several(lambda a: a.say("RETURNED", request=0, ranges=[(a.leased[0], 1, 1, 0, 0, 0)]),
                                                        lambda a: a.results(a.leased[:1]))),
    "closes what was not open": (MIDDLE, lambda a: a.results(a.done[:1], flags=4)),
    "closes what has no outcome": (LEASED, lambda a: a.results(a.leased[:1], flags=4)),
    "closes twice": (LEASED, several(lambda a: a.results(a.leased[:1], flags=8), lambda a: a.results(a.leased[:1] * 2, flags=4))),
    "a report for an item that nobody has": (LEASED, lambda a: a.report(FOREIGN)),
    "a report of another attempt": (LEASED, lambda a: a.report(a.leased[0], attempt=3)),
    "gives back what it has not": (LEASED, lambda a: a.say("RETURNED", request=0, ranges=[(FOREIGN, 1, 1, 0, 0, 0)])),
    "gives back all there can be": (LEASED, lambda a: a.say("RETURNED", request=0, ranges=[(0, NONE32, 1, 0, 0, 0)])),
    "gives back twice": (LEASED, lambda a: a.say("RETURNED", request=0, ranges=[(a.leased[0], 1, 1, 0, 0, 0)] * 2)),
    "gives back what nobody asked for": (LEASED, lambda a: a.say("RETURNED", request=77, ranges=[])),
    "gives back what is done": (MIDDLE, lambda a: a.say("RETURNED", request=0, ranges=[(a.done[0], 1, 1, 0, 0, 0)])),
    "blames an item that nobody has": (LEASED, lambda a: a.down(expected=0, item=FOREIGN)),
    "runs an item that nobody has": (LEASED, lambda a: a.progress([(a.workers[0], FOREIGN, 2000)])),
    "runs more items than workers": (LEASED, lambda a: a.progress([(a.workers[0], a.leased[0], 2000)] * 100)),
    "a warning for no item": (LEASED, lambda a: a.say("WARNING", item=FOREIGN, worker=0, when=b"runtest", category=b"W", nodeid=b"", text=b"", file=b"", line=1)),
    "output of no item": (LEASED, lambda a: a.output(item=FOREIGN)),
    # workers
    "a worker that it was not told to start": (UP, lambda a: a.up(NONE16)),
    "a worker twice": (UP, lambda a: a.up(a.workers[0])),
    "replaces nobody": (UP, lambda a: a.up(a.workers[0] + 1000, replaces=NONE16 - 1) or a.up(a.workers[0])),
    "the end of nobody": (UP, lambda a: a.down(NONE16)),
    "output of nobody": (START, lambda a: a.output(worker=7)),
    # numbers
    "outcome 0": (LEASED, lambda a: a.results(a.leased[:1], outcome=0)),
    "outcome 11": (LEASED, lambda a: a.results(a.leased[:1], outcome=11)),
    "outcome 255": (LEASED, lambda a: a.results(a.leased, outcome=255)),
    "flags of a result": (LEASED, lambda a: a.results(a.leased[:1], flags=128)),
    "flags of a report": (LEASED, lambda a: a.report(a.leased[0], flags=1 << 20)),
    "failed with 0": (LEASED, env_failed(0)),
    "failed with 256": (LEASED, env_failed(256)),
    "failed with -1": (START, env_failed(-1)),
    "failed with 0 while it collects": (START, env_failed(0)),
    "collected 4294967295": (CONFIGURED, lambda a: a.collected(count=NONE32)),
    "deselected 4294967295": (CONFIGURED, lambda a: a.collected(deselected=NONE32)),
    "errors 4294967295": (CONFIGURED, lambda a: a.collected(errors=NONE32)),
    "an unknown way": (CONFIGURED, lambda a: a.collected(way=9)),
    "a stream that is none": (START, lambda a: a.output(stream=3)),
    "a note of usage": (START, lambda a: note(a, level=5)),
    "signal 999": (UP, lambda a: a.down(signal=999)),
    "a worker's way": (UP, lambda a: a.up(a.workers[0], way=200)),
    # the list
    "a list that nobody asked for": (COLLECTED, lambda a: a.list(first=3)),
    "another list than its digest": (CONFIGURED, several(lambda a: a.collected(digest_lo=7), lambda a: time.sleep(0.3), lambda a: a.list())),
    "more items than it counted": (CONFIGURED, several(lambda a: a.collected(count=3, digest_lo=1), lambda a: time.sleep(0.3), lambda a: a.list())),
    "an item left out": (CONFIGURED, several(lambda a: a.collected(digest_lo=1), lambda a: time.sleep(0.3), lambda a: a.list(first=1))),
    "an empty part of the list": (CONFIGURED, several(lambda a: a.collected(digest_lo=1), lambda a: time.sleep(0.3), lambda a: a.list([]))),
    "an empty list after the list": (LEASED, lambda a: a.list([], first=TESTS)),
    "the list twice": (LEASED, lambda a: a.list()),
    "shares more than there is": (CONFIGURED, several(lambda a: a.collected(digest_lo=1), lambda a: time.sleep(0.3), lambda a: a.list(shared=60000))),
    "a bomb of node ids": (CONFIGURED, several(
        lambda a: a.collected(count=1 << 24, digest_lo=1), lambda a: time.sleep(0.3),
        lambda a: [a.say("COLLECT_IDS", first=n * 40001, ids=[(0, b"x" * 65535, 1, b"", b"")] + [(65535, b"", 1, b"", b"")] * 40000) for n in range(1)])),
    # the session
    "sequence number 0": (LEASED, lambda a: a.results(a.leased[:1], seq=0)),
    "a flood with sequence number 0": (LEASED, forever(lambda a: a.output(60000, seq=0))),
    "a gap": (LEASED, lambda a: a.results(a.leased[:1], seq=99)),
    "acknowledges what was not sent": (START, lambda a: a.say("ACK", seq=0, acked=1 << 40)),
    "a PONG that nobody asked for": (START, lambda a: a.frame(7, b"", 0)),
    "a flood of PROGRESS": (LEASED, forever(lambda a: [a.progress([(a.workers[0], a.leased[0], 2000 + n)]) for n in range(500)])),
    "a flood of PONG": (LEASED, forever(lambda a: a.frame(7, b"", 0))),
    "a flood of ACK": (LEASED, forever(lambda a: [a.say("ACK", seq=0, acked=a.heard) for _ in range(500)])),
    "a flood of what it has sent": (LEASED, several(lambda a: a.output(), forever(lambda a: a.output(60000, seq=1)))),
    "the end in the middle": (MIDDLE, end_now),
    # a pipe that is cut and taken up again
    "returns with another token": (MIDDLE, lambda a: a.again(token=b"x" * 16)),
    "returns without a token": (MIDDLE, lambda a: a.again(token=b"")),
    "returns from another session": (MIDDLE, lambda a: a.again(session=7)),
    "returns without its session": (MIDDLE, lambda a: a.again(session=0, last=0)),
    "returns from the future": (MIDDLE, lambda a: a.again(last=1 << 40)),
    "returns from the past": (MIDDLE, lambda a: a.again(last=0)),
    "returns without HELLO": (MIDDLE, several(lambda a: a.cut(), lambda a: a.raw(a.wire.PREAMBLE), lambda a: a.results(a.leased[:1]))),
    "returns as no agent": (MIDDLE, several(lambda a: a.cut(), lambda a: a.raw(b"login: " * 20000))),
    "returns with a gap": (MIDDLE, several(lambda a: a.again(), lambda a: a.results(a.leased[-1:], seq=99))),
    "says again what was taken, as something else": (MIDDLE, several(lambda a: a.again(), lambda a: a.results([FOREIGN], seq=1), lambda a: a.results([FOREIGN]))),
    "refuses where it is dialled again": (MIDDLE, several(lambda a: a.cut(), lambda a: a.raw(a.wire.PREAMBLE),
                                                        lambda a: a.say("REFUSE", seq=0, version_min=1, version_max=1, reason=b"not again"))),
    "is cut for ever": (LEASED, forever(lambda a: a.again())),
    "the end while it collects": (START, end_now),
    "refuses in the middle": (MIDDLE, lambda a: a.say("REFUSE", seq=0, version_min=1, version_max=1, reason=b"I do not want to\x1b[2J any more")),
    # bytes
    "a truncated frame": (LEASED, several(raw_header(1000, 37, 99, b"half"), end_now)),
    "an oversized frame": (LEASED, raw_header(NONE32, 37)),
    "a frame of 16 MiB and a byte": (LEASED, raw_header((16 << 20) + 1, 37)),
    "bytes that are no frame": (LEASED, lambda a: a.raw(os.urandom(64) + b"\xff" * 4096)),
    "a malformed frame": (LEASED, lambda a: a.frame(37, b"\0\0\xff\xff\xff\xff")),
    "an empty frame": (LEASED, lambda a: a.frame(37, b"")),
    "a list that is longer than its frame": (LEASED, lambda a: a.frame(37, struct.pack("<HI", 0, 1 << 30) + b"x" * 64)),
    "a text that is longer than its frame": (START, lambda a: a.frame(38, struct.pack("<HBII", NONE16, 1, NONE32, 1 << 31))),
}
GREETINGS = {
    "no HELLO": lambda a: a.results([0], worker=0, seq=1),
    "a HELLO of 100,000 processors": lambda a: a.hello(cpus=100000),
    "version 9": lambda a: a.hello(version_min=9, version_max=9),
    "a malformed HELLO": lambda a: a.frame(1, b"\1\0", 0),
}
MODES.update((name, (None, None)) for name in GREETINGS)
# Modes of which each has a test of its own.
SLOW = {
    "silent": ("start", lambda a: None),
    "silent and deaf": ("start", lambda a: time.sleep(40)),
    # paths of the controller's host, and an end with 0
    "facts": (START, go_on(several(lambda a: a.facts(os.environ["XD_HOSTILE_PATH"]), lambda a: a.config(verbose="1")))),
    "paths": (START, go_on(lambda a: a.config(xmlpath=os.environ["XD_HOSTILE_PATH"], cache_dir=os.environ["XD_HOSTILE_PATH"] + ".cache"))),
    "collected with 0": (CONFIGURED, go_on(lambda a: a.collected(exit_status=0))),
    "a session that ends with 0": (LEASED, go_on(lambda a: a.down(stopped=1, session_status=0, reason=b"all is well"))),
    "a session that ends with 256": (LEASED, go_on(lambda a: a.down(stopped=1, session_status=256, reason=b"all is well"))),
    "a flood of output": (LEASED, forever(lambda a: a.output(60000))),
    "a flood of reports": (LEASED, forever(lambda a: a.report(a.leased[0], text=b"x" * 60000))),
    # its collection never ends; what comes instead when all is done
    "BYE in place of a collection": (FINISH, lambda a: a.bye()),
    "the end in place of a collection": (FINISH, end_now),
}
NEVER_COLLECT = ("BYE in place of a collection", "the end in place of a collection")
MODES.update(SLOW)


def main():
    real = os.environ["XD_HOSTILE_REAL"]
    if "--fd" not in sys.argv:
        os.execv(real, [real] + sys.argv[1:])
    lock = os.environ.get("XD_HOSTILE_LOCK")
    if lock:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            wait_for("REAL_START")
            os.execv(real, [real] + sys.argv[1:])
    wait_for("START")
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    import wiregen
    fd = int(sys.argv[sys.argv.index("--fd") + 1])
    redial = socket.socket(fileno=int(sys.argv[sys.argv.index("--redial") + 1])) if "--redial" in sys.argv else None
    try:
        Agent(wiregen.codec(), fd, redial, os.environ["XD_HOSTILE"]).run()
    except (BrokenPipeError, ConnectionResetError):
        pass


if __name__ == "__main__":
    main()
