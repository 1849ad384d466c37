"""`xdctl serve` under attack (attackers.py): by strangers, and by who has a good key and breaks the protocol.  Each time one who keeps to it gets in within 2 s,
the server's memory stays below 64 MiB, it lives and answers afterwards, and its descriptors are as many as before.  The figures are printed (pytest -rP)."""
import collections
import contextlib
import fcntl
import json
import math
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

import attackers
import curve
from conftest import HERE, Project, clean_environment
from faults import memory_peak, wait_until
from test_socket import Controller, Server

GETS_IN_S = 2
MEMORY = 64 << 20
SPARE_FDS = 8  # of the server, that may be more than before
OPEN, RESUME, OPENED, REFUSED, DATA, TAKEN, TEXT, CLOSE, ENDED, BEAT = range(160, 170)
PROTOCOL = 8
Frame = collections.namedtuple("Frame", "type body")


def frame(kind, body=b"", says=None):
    return struct.pack("<IHHQ", len(body) if says is None else says, kind, 0, 0) + body


def text(data):
    return struct.pack("<I", len(data)) + data


def data(at, content):
    return frame(DATA, struct.pack("<Q", at) + text(content))


OPENING = frame(OPEN, struct.pack("<HH", 1, 1) + text(b"") + text(b"a test") + struct.pack("<Q", 2 ** 64 - 1) + text(b""))


class Peer(object):
    """A connection with the key of `me`; as xd's own client, it is not made again when it was cut."""
    context = None

    def __init__(self, attacked, address="127.0.0.1"):
        Peer.context = Peer.context or zmq.Context()
        s = self.socket = Peer.context.socket(zmq.DEALER)
        s.curve_serverkey, s.curve_publickey, s.curve_secretkey = attacked.server_key, attacked.public, attacked.secret
        s.linger, s.reconnect_ivl, s.sndhwm = 0, -1, 0
        self.monitor = s.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        s.connect("tcp://%s:0;%s" % (address, attacked.server.at))

    def say(self, *messages):
        for message in messages:
            self.socket.send(message)
        return self

    def hear(self, *kinds, seconds=5):
        """The first frame of one of these types; None: there is none in time."""
        end = time.monotonic() + seconds
        while self.socket.poll(max(0, (end - time.monotonic()) * 1000)):
            message = self.socket.recv()
            length, kind = struct.unpack_from("<IH", message)
            assert length + 16 == len(message), message
            if kind in kinds:
                return Frame(kind, message[16:])
        return None

    def opened(self, seconds=5, by=OPENING):
        found = self.say(by).hear(OPENED, REFUSED, seconds=seconds)
        if found is not None and found.type == OPENED:
            self.token = found.body[-16:]
            return True
        return False

    def is_cut(self, seconds=5):
        return bool(self.monitor.poll(seconds * 1000)) and recv_monitor_message(self.monitor)["event"] == zmq.EVENT_DISCONNECTED

    def close(self):
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()


class Bystander(threading.Thread):
    """One who is there all the time, with an agent, and is not to notice anything."""

    def __init__(self, attacked):
        super(Bystander, self).__init__(daemon=True)
        self.peer = Peer(attacked)
        assert self.peer.opened()
        self.said, self.over = [], threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set() and not self.said:
            self.peer.say(frame(BEAT))
            heard = self.peer.hear(REFUSED, ENDED, CLOSE, seconds=2)
            if heard or self.peer.is_cut(0):
                self.said.append(heard or "cut")

    def leave(self):
        self.over.set()
        self.join()
        with contextlib.closing(self.peer):
            assert not self.said and self.peer.say(frame(CLOSE)).hear(ENDED), self.said


class Attacked(object):
    """A server, a key that it trusts, and a bystander."""

    def __init__(self, path):
        self.project = Project(path, sys.executable)
        self.project.write(test_a="def test_a(): pass\n")
        self.server = Server(path)
        self.me = Controller(self.project, server=self.server)
        self.server.start()
        self.me.trusts(self.server.at)
        keys = dict(re.findall(r'(public|secret)-key = "(.{40})"', (self.me.keys / "id").read_text()))
        self.public, self.secret = keys["public"].encode(), keys["secret"].encode()
        self.server_key = self.server.said[1].split()[2].encode()
        self.bystander = Bystander(self)
        mute = Peer(self)
        assert mute.opened()
        self.ungreeted, self.left_at = self.last_agent, time.monotonic()
        mute.close()

    @property
    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.server.process.pid))

    @property
    def agents(self):
        """Those that are there, but for the one that nobody has greeted.  Each has a guard beside it."""
        return [pid for pid, line in self.server.left if "--guarded-by" not in line and pid != self.ungreeted]

    @property
    def last_agent(self):
        return int(re.findall(r"agent \d+ \(pid (\d+)\)", self.server.logged)[-1])

    def curve(self):
        """One that has shown its key, byte by byte."""
        if not curve.sodium():
            pytest.skip("there is no libsodium to load")
        return contextlib.closing(curve.Curve(self.server.port, z85.decode(self.server_key), z85.decode(self.public), z85.decode(self.secret)))

    def ends(self, token):
        """An agent whose connection was cut: it is taken up again, and closed."""
        peer = Peer(self)
        assert peer.opened(by=frame(RESUME, text(token))) and peer.say(frame(CLOSE)).hear(ENDED)
        peer.close()

    @property
    def peak(self):
        return memory_peak(self.server.process.pid)

    def gets_in(self, address="127.0.0.1"):
        """Seconds until one who asks for an agent has it; math.inf: it does not get one."""
        begun = time.monotonic()
        peer = Peer(self, address)
        try:
            if not peer.opened(GETS_IN_S * 2):
                return math.inf
            took = time.monotonic() - begun
            peer.say(frame(CLOSE)).hear(ENDED)
            return took
        finally:
            peer.close()

    def tries(self):
        """Three, from the begin of an attack to its end: from an address that is another one's, too, and from one of its own."""
        found = []
        for address in ("127.0.0.1", "127.5.5.5", "127.5.5.5"):
            found.append(self.gets_in(address))
            time.sleep(0.4)
        return found

    def as_before(self, fds):
        """It lives, nobody has noticed anything, and it has kept nothing."""
        assert self.server.process.poll() is None, self.server.logged[-2000:]
        assert self.gets_in() <= GETS_IN_S
        assert not self.bystander.said
        wait_until(lambda: len(self.agents) == 1 and self.fds <= fds + SPARE_FDS, "as many descriptors as before, %d, and one agent" % fds, 12)
        assert self.peak < MEMORY

    def end(self):
        try:
            self.bystander.leave()
        finally:
            self.server.stop()
        self.server.waits()


@pytest.fixture(scope="module")
def server_of_all(tmp_path_factory):
    one = Attacked(tmp_path_factory.mktemp("attacked"))
    yield one
    one.end()


@pytest.fixture
def attacked(server_of_all):
    """One attack at a time, also where several processes run these tests: each takes all that there is of the processors."""
    with open(os.path.join(tempfile.gettempdir(), "xd-attacks-%d" % os.getuid()), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fds = server_of_all.fds
        yield server_of_all
        server_of_all.as_before(fds)


@contextlib.contextmanager
def attack(attacked, what, *keys, seconds=15):
    """While it goes on; yields a dictionary that has, after it, what the attacker has counted."""
    counted = {}
    process = subprocess.Popen([sys.executable, os.path.join(HERE, "attackers.py"), what, str(attacked.server.port), str(seconds)] + [k.decode() for k in keys],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment())
    try:
        assert process.stdout.readline() == b"ready\n", "the attack did not get going"
        yield counted
        counted.update(json.loads(process.communicate(timeout=10)[0]))
    finally:
        process.kill()
        process.communicate()


def figures(attacked, what, tries, counted):
    print("%s: in after %s s; memory of the server at most %.1f MiB; %s" % (what, ", ".join("%.2f" % t for t in tries), attacked.peak / 2 ** 20, counted))
    assert min(tries) <= GETS_IN_S, tries
    assert attacked.peak < MEMORY


# ---- strangers


@pytest.mark.parametrize("what", ["claims", "mute", "slow", "garbage"])
def test_strangers(attacked, what):
    if what == "mute" and resource.getrlimit(resource.RLIMIT_NOFILE)[1] < attackers.MUTE + 100:
        pytest.skip("the hard limit of open files is %d: %d connections cannot be made" % (resource.getrlimit(resource.RLIMIT_NOFILE)[1], attackers.MUTE))
    with attack(attacked, what) as counted:
        tries = attacked.tries()
        checked = attacked.project.xdctl("hosts", "check", "--keys=%s" % attacked.me.keys, "--tx=socket=" + attacked.server.at, "--python=" + sys.executable)
    figures(attacked, what, tries, counted)
    assert checked.rc == 0, checked
    if what == "mute":
        assert counted["most"] == attackers.MUTE
    if what == "claims":  # what lies in buffers of the kernel counts, too
        assert counted["bytes"] / counted["connected"] < 4 << 20


# ---- who has a good key


def test_floods_of_messages(attacked):
    with attack(attacked, "flood", attacked.server_key, attacked.public, attacked.secret, OPENING.hex().encode()) as counted:
        tries = attacked.tries()
    figures(attacked, "flood", tries, counted)


NO_FRAME, BROKEN, EXPECTED = b"a message is no frame", b"a message is against the protocol", b"TUNNEL_OPEN or TUNNEL_RESUME was expected"
# What is said, after OPEN or instead of it; what is answered.
BREAKS = {
    "no frame": (False, [b"x" * 10], NO_FRAME),
    "nothing": (False, [b""], NO_FRAME),
    "a length that lies": (False, [frame(OPEN, b"12345", says=100)], NO_FRAME),
    "a length of 4 GiB": (False, [frame(OPEN, b"12345", says=2 ** 32 - 1)], NO_FRAME),
    "an unknown type": (False, [frame(999)], EXPECTED),
    "a frame of the other end": (False, [frame(OPENED, b"\1\0" + text(b"") + text(b"t" * 16))], EXPECTED),
    "OPEN that cannot be read": (False, [frame(OPEN, b"\1")], b"TUNNEL_OPEN cannot be read"),
    "OPEN with a string that ends elsewhere": (False, [frame(OPEN, b"\1\0\1\0" + struct.pack("<I", 2 ** 31) + b"x")], b"TUNNEL_OPEN cannot be read"),
    "OPEN of another version": (False, [frame(OPEN, OPENING[16:].replace(b"\1\0\1\0", b"\7\0\7\0", 1))], b"it speaks versions 7 to 7 of the tunnel"),
    "RESUME that cannot be read": (False, [frame(RESUME, b"\1")], b"TUNNEL_RESUME cannot be read"),
    "RESUME of what is not there": (False, [frame(RESUME, text(b"t" * 16))], b"the agent has ended"),
    "DATA before OPEN": (False, [data(0, b"x")], EXPECTED),
    "TAKEN before OPEN": (False, [frame(TAKEN, struct.pack("<QQ", 0, 0))], EXPECTED),
    "CLOSE before OPEN": (False, [frame(CLOSE)], EXPECTED),
    "then an unknown type": (True, [frame(999)], BROKEN),
    "then another OPEN": (True, [OPENING], BROKEN),
    "then RESUME": (True, [frame(RESUME, text(b"t" * 16))], BROKEN),
    "then no frame": (True, [b"x" * 100], NO_FRAME),
    "then DATA that cannot be read": (True, [frame(DATA, b"\1")], BROKEN),
    "then DATA from elsewhere": (True, [data(5, b"x")], BROKEN),
    "then DATA that is too long": (True, [data(0, b"x" * ((256 << 10) + 1))], BROKEN),
    "then TAKEN of what was not sent": (True, [frame(TAKEN, struct.pack("<QQ", 1 << 40, 0))], BROKEN),
}


def test_breaks_of_the_protocol(attacked):
    """Each is told so, and cut off; their agents end (fixture `attacked`).  All at once: it takes a second each."""
    with contextlib.ExitStack() as stack:
        peers = {what: stack.enter_context(contextlib.closing(Peer(attacked))) for what in BREAKS}
        wrong = {}
        for what, (opens, messages, answer) in BREAKS.items():
            assert not opens or peers[what].opened(), what
            refused = peers[what].say(*messages).hear(REFUSED, seconds=2)
            code = struct.unpack_from("<H", refused.body)[0] if refused else None
            if code != (5 if b"versions" in answer else 7 if b"ended" in answer else PROTOCOL) or answer not in refused.body:
                wrong[what] = refused
        end = time.monotonic() + 5
        wrong.update({what: "is not cut off" for what, peer in peers.items() if not peer.is_cut(max(0, end - time.monotonic()))})
        assert not wrong
    logged = attacked.server.logged
    assert not [answer for _, _, answer in BREAKS.values() if not re.search(r"refused: 127\.0\.0\.1, key SHA256:\S+: .*%s" % re.escape(answer.decode()), logged)]


def test_more_than_the_window(attacked):
    """2 MiB and a byte for an agent that takes nothing."""
    peer = Peer(attacked)
    try:
        assert peer.opened()
        guard = attacked.last_agent
        agent = wait_until(lambda: [pid for pid, line in attacked.server.left if "--guarded-by %d " % guard in line], "the agent beside its guard")
        os.kill(agent[0], signal.SIGSTOP)
        piece = b"x" * (128 << 10)
        peer.say(*[data(i * len(piece), piece) for i in range(16)])
        assert not peer.hear(REFUSED, seconds=0.3)
        refused = peer.say(data(16 * len(piece), piece)).hear(REFUSED)
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent[0], signal.SIGCONT)
        assert refused and BROKEN in refused.body and peer.is_cut(), refused
    finally:
        peer.close()


@pytest.mark.parametrize("opens", [False, True], ids=["at once", "with an agent"])
def test_messages_of_more_than_1_mib(attacked, opens):
    """ZeroMQ itself ends such a connection."""
    peer = Peer(attacked)
    try:
        assert not opens or peer.opened()
        peer.say(data(0, b"x" * (1 << 20)))
        assert peer.is_cut()
    finally:
        peer.close()
    if opens:
        attacked.ends(peer.token)


def test_a_message_of_several_parts(attacked):
    peer = Peer(attacked)
    try:
        peer.socket.send_multipart([OPENING, OPENING])
        refused = peer.hear(REFUSED)
        assert refused and NO_FRAME in refused.body and peer.is_cut(), refused
    finally:
        peer.close()


def sends_until_stopped(peer, *args):
    """How many times it could, of 20,000; the server stops reading, or closes."""
    peer.socket.settimeout(0.3)
    for i in range(20000):
        try:
            peer.say(*args)
        except OSError:
            return i
    return 20000


@pytest.mark.parametrize("size", [0, 1000, 1 << 18])
def test_a_message_of_parts_without_end(attacked, size):
    """ZeroMQ keeps all of them until the last one comes."""
    with attacked.curve() as peer:
        parts = sends_until_stopped(peer, b"x" * size, curve.MORE)
        figures(attacked, "parts of %d bytes" % size, [attacked.gets_in()], {"parts": parts})


def test_commands_without_end(attacked):
    """Those of ZMTP, which ZeroMQ answers itself."""
    with attacked.curve() as peer:
        commands = sends_until_stopped(peer, b"\4PING\0\0", curve.COMMAND)
        figures(attacked, "PING", [attacked.gets_in()], {"commands": commands})


def test_frames_that_claim_2_gb_or_stop_before_their_end(attacked):
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(attacked.curve()) for _ in range(20)]
        for peer in peers[::2]:
            peer.socket.sendall(struct.pack(">BQ", 2, (1 << 31) - 1) + b"x" * 65536)
        for peer in peers[1::2]:
            peer.socket.sendall(struct.pack(">BQ", 2, 1 << 20) + b"x" * ((1 << 20) - 1))
        for peer in peers[::2]:
            with pytest.raises(ConnectionError):
                while True:
                    peer.frame()
        figures(attacked, "frames after the handshake", [attacked.gets_in()], {})


def test_an_agent_that_nobody_has_greeted(server_of_all):
    """Its controller went before that; it has waited since the first of these tests, and ends half a minute later."""
    one = server_of_all
    wait_until(lambda: one.ungreeted not in [pid for pid, _line in one.server.left], "its end", one.left_at + 35 - time.monotonic())
    assert time.monotonic() - one.left_at > 5
