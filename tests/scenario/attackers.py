"""Strangers that mean no good, each a process: `python attackers.py WHAT PORT SECONDS [KEY ...]`.  It attacks 127.0.0.1:PORT from many addresses of
127.0.0.0/8, prints "ready" once the attack is as large as it gets, and ends with what it counted, as JSON, after SECONDS or when its standard input
ends.  test_socket_attacks.py starts them."""
import collections
import errno
import heapq
import json
import os
import random
import resource
import select
import socket
import struct
import sys
import threading
import time

MUTE = 9000
TWO_GB = (1 << 31) - 1


def greeting(mechanism=b"CURVE", minor=0):
    """Of ZMTP 3 (RFC 23): signature, version, mechanism, who is the server, filler."""
    return b"\xff" + b"\0" * 8 + b"\x7f\3" + bytes([minor]) + mechanism.ljust(20, b"\0") + b"\0" * 32


HELLO = b"\x05HELLO" + b"\1\0" + b"\0" * 72 + os.urandom(120)  # of the right size, and of no key
SHAKING = greeting() + struct.pack("BB", 4, len(HELLO)) + HELLO


# ---- what each says: (bytes at once, seconds before the next ones), the last again and again; None = nothing more


def claims(n):
    """A frame of 2 GB before the handshake is over, and its bytes as fast as they are taken."""
    long_command, long_message, long_v1 = (struct.pack(">BQ", 6, TWO_GB), struct.pack(">BQ", 2, TWO_GB), b"\xff" + struct.pack(">Q", TWO_GB) + b"\0")
    start = [greeting() + long_command, greeting() + long_message, greeting(b"NULL") + long_command, greeting(minor=1) + long_command, long_v1,
             greeting()[:10] + b"\1\5" + long_message][n % 6]
    yield start, 0.01
    while True:
        yield b"\x41" * 65536, 0


def mute(_n):
    yield b"", None


def slow(n):
    """A byte every 100 ms; some have sent the whole greeting before."""
    done = 64 if n % 2 else 0
    if done:
        yield SHAKING[:done], 0.1
    for i in range(done, len(SHAKING)):
        yield SHAKING[i:i + 1], 0.1
    yield b"", None


def garbage(n):
    noise = os.urandom(4096)
    yield [noise, b"\xff" + noise, greeting() + noise, greeting()[:12] + noise, b"xdkey" + noise, b"xdkey\n" + noise, SHAKING + noise,
           greeting() + b"\4\xff" + noise][n % 8], 0.02
    while True:
        yield noise, 0.02


class Swarm(object):
    """Many connections at once from some addresses; one that the server closes is made again after `rest` seconds."""

    def __init__(self, port, says, count, addresses, rest):
        self.port, self.says, self.count, self.rest = port, says, count, rest
        self.addresses = addresses
        self.epoll = select.epoll()
        self.open = {}   # descriptor -> [socket, generator, since]
        self.later = collections.deque()  # (when, number): to be made, in this order
        self.due = []    # (when, descriptor, the same), a heap
        self.counted = collections.Counter()
        self.most = self.longest = 0

    def dial(self, n):
        s = socket.socket()
        s.setblocking(False)
        s.bind(("127.1.%d.1" % (n % self.addresses) if n % self.addresses else "127.0.0.1", 0))  # one is that of the others
        if s.connect_ex(("127.0.0.1", self.port)) not in (0, errno.EINPROGRESS):
            s.close()
            self.later.append((time.monotonic() + self.rest, n))
            return
        self.open[s.fileno()] = [s, None, time.monotonic(), n]
        self.epoll.register(s.fileno(), select.EPOLLOUT)

    def close(self, fd, now):
        s, says, since, n = self.open.pop(fd)
        s.close()
        self.counted["closed"] += 1
        if says:
            self.longest = max(self.longest, now - since)
        self.later.append((now + self.rest, n))

    def say(self, fd, now):
        one = self.open[fd]
        try:
            data, pause = next(one[1])
            if data:
                self.counted["bytes"] += one[0].send(data)
        except BlockingIOError:
            pause = 0.01
        except OSError:
            return self.close(fd, now)
        if pause is not None:
            heapq.heappush(self.due, (now + pause, fd, one[2], one))

    def event(self, fd, events, now):
        one = self.open.get(fd)
        if not one:
            return
        if one[1] is None and not events & (select.EPOLLERR | select.EPOLLHUP):
            one[1] = self.says(one[3])
            one[2] = now
            self.counted["connected"] += 1
            self.epoll.modify(fd, select.EPOLLIN)
            self.say(fd, now)
        else:
            try:
                if one[0].recv(4096):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self.close(fd, now)

    def turn(self):
        now = time.monotonic()
        while self.later and self.later[0][0] <= now and len(self.open) < self.count:
            self.dial(self.later.popleft()[1])
        while self.due and self.due[0][0] <= now:
            _when, fd, _since, one = heapq.heappop(self.due)
            if self.open.get(fd) is one:
                self.say(fd, now)
        for fd, events in self.epoll.poll(0.01, 1000):
            self.event(fd, events, now)
        self.most = max(self.most, len(self.open))

    def run(self, is_over):
        now = time.monotonic()
        self.later.extend((now, n) for n in range(self.count))
        ready = False
        while not is_over():
            self.turn()
            if not ready and self.counted["connected"] >= self.count:
                ready = True
                print("ready", flush=True)
        return dict(self.counted, most=self.most, longest=round(self.longest, 2))


def swarm(port, is_over, says, count, addresses, rest):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Swarm(port, says, count, addresses, rest).run(is_over)


# ---- with a good key


def flood(port, is_over, server, public, secret, opening):
    """Some connections, each with messages as fast as they are taken: beats, empty DATA for an agent, and what is no frame, which has its connection closed
    and made again."""
    import zmq
    context = zmq.Context()
    beat, data = struct.pack("<IHHQ", 0, 169, 0, 0), struct.pack("<IHHQQI", 12, 164, 0, 0, 0, 0)
    messages = [beat, data, beat, b"x" * 1000, beat, os.urandom(100000)]
    peers, sent = [], 0
    for i in range(20):
        s = context.socket(zmq.DEALER)
        s.curve_serverkey, s.curve_publickey, s.curve_secretkey = server.encode(), public.encode(), secret.encode()
        s.linger, s.sndhwm = 0, 1000
        s.connect("tcp://127.1.%d.1:0;127.0.0.1:%d" % (i + 1, port))
        s.send(bytes.fromhex(opening) if i % len(messages) == 1 else beat)
        peers.append(s)
    print("ready", flush=True)
    while not is_over():
        for i, s in enumerate(peers):
            try:
                for _ in range(50):
                    s.send(messages[i % len(messages)], zmq.DONTWAIT)
                    sent += 1
            except zmq.Again:
                pass
    for s in peers[1::len(messages)]:  # the agents that were asked for
        s.send(struct.pack("<IHHQ", 0, 167, 0, 0))
    context.destroy(1000)
    return {"sent": sent}


ATTACKS = {
    "claims": lambda port, is_over: swarm(port, is_over, claims, 300, 6, 0.05),
    "mute": lambda port, is_over: swarm(port, is_over, mute, MUTE, 40, 1),
    "slow": lambda port, is_over: swarm(port, is_over, slow, 2000, 20, 0.2),
    "garbage": lambda port, is_over: swarm(port, is_over, garbage, 200, 10, 0),
    "flood": flood,
}


def main(what, port, seconds, *keys):
    """At low priority: those who attack in earnest have processors of their own."""
    os.nice(10)
    end, ended = time.monotonic() + float(seconds), []
    threading.Thread(target=lambda: ended.append(sys.stdin.read()), daemon=True).start()
    random.seed(13)
    counted = ATTACKS[what](int(port), lambda: bool(ended) or time.monotonic() > end, *keys)
    print(json.dumps(counted), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
