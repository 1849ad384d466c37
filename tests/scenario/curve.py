"""CurveZMQ (ZeroMQ RFC 26) over ZMTP 3 by hand, as a peer can speak it who means no good: libzmq sends nothing of a message before it has all of it."""
import ctypes
import ctypes.util
import os
import socket
import struct

MORE, COMMAND = 1, 2  # flags of a MESSAGE
SHORT = {"HELLO": b"CurveZMQHELLO---", "INITIATE": b"CurveZMQINITIATE", "READY": b"CurveZMQREADY---", "MESSAGE": b"CurveZMQMESSAGEC"}
GREETING = b"\xff" + b"\0" * 8 + b"\x7f\3\0" + b"CURVE".ljust(20, b"\0") + b"\0" * 32


def sodium():
    """The library, or None."""
    name = ctypes.util.find_library("sodium")
    return ctypes.CDLL(name) if name else None


class Curve(object):
    """A client that has shown its key: keys of 32 bytes."""

    def __init__(self, port, server, public, secret):
        self.lib, self.count = sodium(), 0
        self.server, self.own = server, (public, secret)
        self.short = self.keypair()
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.sendall(GREETING)
        self.take(64)
        self.shake()

    def keypair(self):
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
        self.lib.crypto_box_keypair(public, secret)
        return public.raw, secret.raw

    def box(self, text, nonce, public, secret):
        out = ctypes.create_string_buffer(len(text) + 16)
        self.lib.crypto_box_easy(out, text, ctypes.c_ulonglong(len(text)), nonce, public, secret)
        return out.raw

    def unbox(self, boxed, nonce, public, secret):
        out = ctypes.create_string_buffer(len(boxed) - 16)
        assert self.lib.crypto_box_open_easy(out, boxed, ctypes.c_ulonglong(len(boxed)), nonce, public, secret) == 0
        return out.raw

    def nonce(self, name):
        """The next one, in full, and its last 8 bytes, which are sent."""
        self.count += 1
        return SHORT[name] + struct.pack(">Q", self.count), struct.pack(">Q", self.count)

    def take(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise ConnectionError("the server has closed the connection")
            data += more
        return data

    def frame(self):
        flags = self.take(1)[0]
        return self.take(struct.unpack(">Q", self.take(8))[0] if flags & 2 else self.take(1)[0])

    def put(self, body, flags):
        self.socket.sendall((struct.pack(">BQ", flags | 2, len(body)) if len(body) > 255 else struct.pack("BB", flags, len(body))) + body)

    def shake(self):
        nonce, sent = self.nonce("HELLO")
        self.put(b"\5HELLO\1\0" + b"\0" * 72 + self.short[0] + sent + self.box(b"\0" * 64, nonce, self.server, self.short[1]), 4)
        welcome = self.frame()
        assert welcome.startswith(b"\7WELCOME"), welcome
        opened = self.unbox(welcome[24:], b"WELCOME-" + welcome[8:24], self.server, self.short[1])
        self.far, cookie = opened[:32], opened[32:]
        vouch = os.urandom(16)
        vouched = self.box(self.short[0] + self.server, b"VOUCH---" + vouch, self.far, self.own[1])
        nonce, sent = self.nonce("INITIATE")
        about = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        self.put(b"\x08INITIATE" + cookie + sent + self.box(self.own[0] + vouch + vouched + about, nonce, self.far, self.short[1]), 4)
        ready = self.frame()
        assert ready.startswith(b"\5READY"), ready

    def say(self, content, flags=0):
        nonce, sent = self.nonce("MESSAGE")
        self.put(b"\7MESSAGE" + sent + self.box(bytes([flags]) + content, nonce, self.far, self.short[1]), 0)

    def close(self):
        self.socket.close()
