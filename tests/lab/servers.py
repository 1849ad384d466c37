"""Hosts that answer badly, as small programs: `mute PORT` accepts and says nothing; `cut PORT BEHIND` stands in front of the
sshd on port BEHIND and cuts each connection during authentication: after the key exchange, before sshd says yes or no."""
import select
import socket
import struct
import sys
import threading

NEWKEYS = 21


def mute(listener):
    kept = []
    while True:
        kept.append(listener.accept()[0])
        if len(kept) > 64:
            kept.pop(0).close()


class Packets(object):
    """Follows one direction of an SSH connection as far as it is in the clear; `done` = NEWKEYS went by."""

    def __init__(self):
        self.data, self.line, self.done = b"", True, False

    def feed(self, data):
        self.data += data
        while not self.done:
            if self.line:
                line, end, rest = self.data.partition(b"\n")
                if not end:
                    return
                self.data, self.line = rest, not line.startswith(b"SSH-")
                continue
            if len(self.data) < 6:
                return
            length, _, kind = struct.unpack(">IBB", self.data[:6])
            if len(self.data) < 4 + length:
                return
            self.data, self.done = self.data[4 + length:], kind == NEWKEYS


def cut(client, behind):
    server = socket.create_connection(("127.0.0.1", behind))
    up = Packets()
    answered = False  # since the client's keys are in use, which may come in one piece with its request for the service
    with client, server:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is client:
                    if answered:
                        return  # it was the first try to log in
                    up.feed(data)
                    server.sendall(data)
                else:
                    answered |= up.done
                    client.sendall(data)


def main(kind, port, behind=0):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", int(port)))
    listener.listen(64)
    if kind == "mute":
        mute(listener)
    while True:
        threading.Thread(target=cut, args=(listener.accept()[0], int(behind)), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
