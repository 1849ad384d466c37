"""Counts how often files of a tree are opened, by inotify: independent of what a program says of itself."""
import ctypes
import os
import select
import struct
import threading

OPEN, CLOSE_NOWRITE, ISDIR, OVERFLOW = 0x20, 0x10, 0x40000000, 0x4000
HEAD = struct.Struct("iIII")


class Opens(object):
    """with Opens(folder) as opens: ...; then opens.count, or None if some were missed."""

    def __init__(self, folder):
        self.libc, self.folder, self.count = ctypes.CDLL(None, use_errno=True), folder, 0

    def __enter__(self):
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for at, _, _ in os.walk(self.folder):
            if self.libc.inotify_add_watch(self.fd, os.fsencode(at), OPEN | CLOSE_NOWRITE) < 0:
                self.count = None  # more folders than may be watched
        self.drain()
        self.count = None if self.count is None else 0
        self.ended = os.pipe()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while self.ended[0] not in select.select([self.fd, self.ended[0]], [], [])[0]:
            self.drain()
        self.drain()

    def drain(self):
        while True:
            try:
                data = os.read(self.fd, 1 << 20)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                _, mask, _, length = HEAD.unpack_from(data, at)
                at += HEAD.size + length
                if mask & OVERFLOW:
                    self.count = None
                elif mask & OPEN and not mask & ISDIR and self.count is not None:
                    self.count += 1

    def __exit__(self, *_):
        os.close(self.ended[1])
        self.thread.join()
        os.close(self.ended[0])
        os.close(self.fd)
