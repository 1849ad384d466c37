"""A program that joins a run and was written from engine/PROTOCOL.md alone: it shares no code with xd.  Its tests are names; each of them passes.

    stranger.py --keygen                                prints the secret and the public key, in Z85
    stranger.py SECRET HOST PORT WORKERS NODEID ...     joins, and runs what it is given; prints what it hears.  --mute among the
                                                        names: it says nothing at its end
"""
import collections
import os
import socket
import struct
import sys
import time

import xxhash
import zmq

HELLO, WELCOME, ACK, REFUSE, BYE, PING, PONG = 1, 2, 3, 4, 5, 6, 7
ENV_START, WORKERS_START, LEASE, NO_MORE, TAKE_BACK, CANCEL, FINISH, SEND_LIST = 16, 17, 18, 19, 20, 21, 22, 25
CONFIG, COLLECT_IDS, COLLECTED, RESULTS, WORKER_UP, RETURNED, ENV_DONE = 32, 33, 34, 37, 39, 41, 44
RESUME, REFUSED, DATA, TAKEN, CLOSE, ENDED, BEAT, JOIN, JOINED = 161, 163, 164, 165, 167, 168, 169, 170, 171
LOOSE = {HELLO, WELCOME, ACK, REFUSE, PING, PONG}
PREAMBLE = bytes.fromhex("8978640d0a1a0a01")
PASSED, FRESH, NO_WORKER = 1, 3, 0xffff
Range = collections.namedtuple("Range", "first count attempt flags group expected_us")


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(value)) + value


def many(*records):
    return struct.pack("<I", len(records)) + b"".join(records)


def frame(kind, body=b"", sequence=0):
    return struct.pack("<IHHQ", len(body), kind, 0, sequence) + body


def ranges(body, at):
    count, = struct.unpack_from("<I", body, at)
    size = struct.calcsize("<IIHHIQ")
    return [Range(*struct.unpack_from("<IIHHIQ", body, at + 4 + n * size)) for n in range(count)]


class Tunnel(object):
    """The bytes of a stream, over ZeroMQ."""

    def __init__(self, host, port, secret):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.curve_secretkey, self.socket.curve_publickey = secret, zmq.curve_public(secret)
        self.socket.curve_serverkey = self.ask(host, port)
        self.socket.linger = 2000
        self.socket.connect("tcp://%s:%d" % (host, port))
        self.sent = self.got = self.told = self.far = 0
        self.said = time.monotonic()
        self.over = False

    @staticmethod
    def ask(host, port):
        with socket.create_connection((host, port), 10) as s:
            s.sendall(b"xdkey\n")
            word, key, _host = s.makefile("rb").readline().split()
            assert word == b"xdk1"
            return key

    def say(self, kind, body=b""):
        self.said = time.monotonic()
        self.socket.send(frame(kind, body))

    def hear(self, ms):
        """(kind, body), or None."""
        if time.monotonic() - self.said >= 5:
            self.say(BEAT)
        if not self.socket.poll(ms):
            return None
        message = self.socket.recv()
        length, kind, _flags, sequence = struct.unpack_from("<IHHQ", message)
        assert len(message) == 16 + length and sequence == 0
        return kind, message[16:]

    def join(self, workers):
        self.say(JOIN, struct.pack("<HH", 1, 1) + text("stranger 1") + text("nobody@nowhere") + text("nowhere") + struct.pack("<IQI", 1, 1 << 30, workers) +
                 many(text("strange")) + many() + text(b""))
        heard = None
        while not heard or heard[0] == BEAT:
            heard = self.hear(10000)
            assert heard, "no answer"
        kind, body = heard
        if kind == REFUSED:
            sys.exit("refused: %d %s" % (struct.unpack_from("<H", body)[0], body[6:].decode()))
        assert kind == JOINED and struct.unpack_from("<H", body)[0] == 1

    def write(self, data):
        while data:
            part, data = data[:200000], data[200000:]
            while self.sent + len(part) - self.far > 2 << 20:
                self.take(1000)
            self.say(DATA, struct.pack("<Q", self.sent) + text(part))
            self.sent += len(part)

    def take(self, ms):
        """Bytes of the stream, or none."""
        heard = self.hear(ms)
        if not heard:
            return b""
        kind, body = heard
        if kind == TAKEN:
            self.far, _texts = struct.unpack("<QQ", body)
        elif kind == CLOSE:
            self.over = True
        elif kind == DATA:
            at, length = struct.unpack_from("<QI", body)
            assert at == self.got and len(body) == 12 + length
            self.got += length
            if self.got - self.told >= 100000:
                self.say(TAKEN, struct.pack("<QQ", self.got, 0))
                self.told = self.got
            return body[12:]
        elif kind == REFUSED:
            sys.exit("refused: %d %s" % (struct.unpack_from("<H", body)[0], body[6:].decode()))
        else:
            assert kind == BEAT, kind
        return b""

    def end(self):
        self.say(CLOSE)
        self.say(ENDED, text("it had no more to say"))
        self.socket.close()
        zmq.Context.instance().term()


class Agent(object):
    def __init__(self, tunnel, ids):
        self.tunnel, self.mute, self.ids = tunnel, "--mute" in ids, [i.encode() for i in ids if i != "--mute"]
        self.buffer, self.sequence, self.seen, self.acked = b"", 0, 0, 0
        self.outstanding = collections.OrderedDict()  # number -> bytes
        self.window = (1, 1)
        self.waiting = collections.deque()  # no credit for these
        self.wants_list = self.collected = False
        self.leased = collections.deque()
        self.workers, self.position, self.done = [], {}, False

    # -- what is said

    def loose(self, kind, body=b""):
        self.tunnel.write(frame(kind, body))

    def say(self, kind, body=b""):
        self.sequence += 1
        self.waiting.append((self.sequence, frame(kind, body, self.sequence)))
        self.send()

    def send(self):
        while self.waiting:
            number, whole = self.waiting[0]
            frames, size = len(self.outstanding) + 1, sum(self.outstanding.values()) + len(whole)
            if self.outstanding and (frames > self.window[0] or size > self.window[1]):
                return
            self.waiting.popleft()
            self.outstanding[number] = len(whole)
            self.tunnel.write(whole)

    def hello(self):
        self.tunnel.write(PREAMBLE)
        self.loose(HELLO, struct.pack("<HHQ", 1, 1, 0) + text("stranger 1") + text("nowhere") + text("Strange 1 abacus") +
                   struct.pack("<IIQQQ", os.getpid(), 1, 1 << 30, 0, 0) + text(os.urandom(16)))

    def collect(self):
        digest = xxhash.xxh3_128(b"".join(i + b"\0" for i in self.ids)).intdigest()
        self.say(CONFIG, text("/abacus") + text("3") + text("9") + text("/nowhere") + text("/nowhere") + many(text("counted by an abacus")) + many() + many())
        self.say(COLLECTED, struct.pack("<IIIQQi", len(self.ids), 0, 0, digest & (1 << 64) - 1, digest >> 64, -1) + text("") + struct.pack("<B", FRESH) +
                 text("it is all there is") + struct.pack("<QB", 1000, 0) + many())
        self.collected = True
        self.send_list()

    def send_list(self):
        if self.collected and self.wants_list:
            self.say(COLLECT_IDS, struct.pack("<I", 0) + many(*[struct.pack("<H", 0) + text(i) + struct.pack("<i", -1) + text("") + text("") for i in self.ids]))
            self.wants_list = False

    def start(self, first, count):
        self.workers = list(range(first, first + count))
        for worker in self.workers:
            self.say(WORKER_UP, struct.pack("<HIBH", worker, os.getpid(), FRESH, NO_WORKER))

    def work(self):
        """One item; who has the fewest does it."""
        item, attempt = self.leased.popleft()
        worker = min(self.workers, key=lambda w: self.position.get(w, 0))
        begun = int(time.time() * 1e6)
        print("ran", item, "attempt", attempt, flush=True)
        self.say(RESULTS, struct.pack("<H", worker) + many(struct.pack("<IHBBIIIIQ", item, attempt, PASSED, 0, 10, 1000, 10, self.position.get(worker, 0), begun)))
        self.position[worker] = self.position.get(worker, 0) + 1

    def give_back(self, request, count):
        back = [self.leased.pop() for _ in range(min(count, len(self.leased)))]
        self.say(RETURNED, struct.pack("<I", request) + many(*[struct.pack("<IIHHIQ", item, 1, attempt, 0, 0, 0) for item, attempt in back]))

    # -- what is heard

    def on_frame(self, kind, sequence, body):
        print("heard", kind, sequence, flush=True)
        if sequence:
            assert sequence == self.seen + 1 and kind not in LOOSE
            self.seen = sequence
        if kind == WELCOME:
            version, _capabilities, _session, frames, size = struct.unpack_from("<HQQII", body)
            assert version == 1
            self.window = (frames, size)
            self.send()
        elif kind == ACK:
            acked, = struct.unpack("<Q", body)
            for number in [n for n in self.outstanding if n <= acked]:
                del self.outstanding[number]
            self.send()
        elif kind == REFUSE:
            sys.exit("refused: %s" % body[8:].decode())
        elif kind == PING:
            self.loose(PONG)
        elif kind == ENV_START:
            self.collect()
        elif kind == SEND_LIST:
            self.wants_list = True
            self.send_list()
        elif kind == WORKERS_START:
            self.start(*struct.unpack_from("<HH", body))
        elif kind == LEASE:
            for r in ranges(body, 0):
                self.leased.extend((item, r.attempt) for item in range(r.first, r.first + r.count))
        elif kind == TAKE_BACK:
            self.give_back(*struct.unpack("<II", body))
        elif kind == CANCEL:
            self.give_back(0, len(self.leased))
        elif kind == FINISH:
            self.say(ENV_DONE, struct.pack("<iQQQ", 0, 0, 0, 0))
            self.say(BYE, struct.pack("<i", 0))
            self.done = True
        elif kind == BYE:
            sys.exit("the run hung up")

    def frames(self):
        if not self.seen and self.buffer[:8] == PREAMBLE:
            self.buffer = self.buffer[8:]
        while len(self.buffer) >= 16:
            length, kind, _flags, sequence = struct.unpack_from("<IHHQ", self.buffer)
            if len(self.buffer) < 16 + length:
                return
            body, self.buffer = self.buffer[16:16 + length], self.buffer[16 + length:]
            self.on_frame(kind, sequence, body)

    def run(self):
        self.hello()
        while not (self.done and not self.waiting and not self.outstanding):
            self.buffer += self.tunnel.take(0 if self.leased and self.workers else 500)
            self.frames()
            if self.seen > self.acked:
                self.loose(ACK, struct.pack("<Q", self.seen))
                self.acked = self.seen
            if self.leased and self.workers:
                self.work()
            if self.tunnel.over and not self.done:
                sys.exit("the run closed the stream")
            if self.tunnel.over and self.mute:
                os._exit(9)
            if self.tunnel.over:
                break
        self.tunnel.end()


def main(arguments):
    if arguments[0] == "--keygen":
        public, secret = zmq.curve_keypair()
        print(secret.decode(), public.decode())
        return
    tunnel = Tunnel(arguments[1], int(arguments[2]), arguments[0].encode())
    tunnel.join(int(arguments[3]))
    Agent(tunnel, arguments[4:]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
