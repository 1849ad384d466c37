"""Peers of a server that have a good key, say no more than beats, and stay: `python socket_hold.py COUNT PORT SERVER PUBLIC SECRET`.  Prints "ready" when all are
there, and what it counted, as JSON, when its standard input ends.  Called by socket_run.py."""
import json
import resource
import struct
import sys
import threading
import time

import zmq

PER_SOCKET = 250
AT_ONCE = 24  # of one socket, that have not shown their key yet
BEAT = struct.pack("<IHHQ", 0, 169, 0, 0)
BEAT_S = 5


class Peers(object):
    """Connections of one socket: what it sends goes to each in turn.  Each from an address of its own, else ZeroMQ takes it for the one that is there already."""

    def __init__(self, context, n, count, port, keys):
        self.endpoint = "tcp://127.2.%d.%%d:0;127.0.0.1:%s" % (n, port)
        self.wanted, self.made, self.up, self.cut, self.heard = count, 0, 0, 0, 0
        s = self.socket = context.socket(zmq.DEALER)
        s.curve_serverkey, s.curve_publickey, s.curve_secretkey = keys
        s.linger = 0
        self.monitor = s.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self.beat_at = None

    def turn(self, now):
        while self.monitor.poll(0):
            event = struct.unpack_from("<H", self.monitor.recv_multipart()[0])[0]
            self.up += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.cut += event == zmq.EVENT_DISCONNECTED
        while self.socket.poll(0):
            self.socket.recv()
            self.heard += 1
        while self.made < self.wanted and self.made - self.up < AT_ONCE:
            self.made += 1
            self.socket.connect(self.endpoint % self.made)
            self.socket.send(BEAT)
        if self.beat_at is None and self.up >= self.wanted:
            self.beat_at = now
        if self.beat_at is not None and now >= self.beat_at:
            self.beat_at = now + BEAT_S
            for _ in range(self.made):
                self.socket.send(BEAT)


def main(count, port, *keys):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ended, ready, context = [], False, zmq.Context()
    threading.Thread(target=lambda: ended.append(sys.stdin.read()), daemon=True).start()
    left, sockets = int(count), []
    while left:
        sockets.append(Peers(context, len(sockets), min(left, PER_SOCKET), port, [k.encode() for k in keys]))
        left -= sockets[-1].wanted
    while not ended:
        for s in sockets:
            s.turn(time.monotonic())
        if not ready and all(s.up >= s.wanted for s in sockets):
            ready = True
            print("ready", flush=True)
        time.sleep(0.05 if ready else 0.002)
    print(json.dumps({"cut": sum(s.cut for s in sockets), "heard": sum(s.heard for s in sockets)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
