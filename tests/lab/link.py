"""A link with a round-trip time and loss, in user space: for kernels without netem.

Two TAP devices, one in the host's network namespace and one on the bridge; this process carries the frames from one to the
other, each half the round-trip time after it came."""
import collections
import fcntl
import json
import os
import random
import select
import struct
import time

from . import linux

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
QUEUE = 20000  # frames under way in one direction; more are lost, as in a router


def open_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def open_pair(inside, there, outside):
    """TAP `there` in the network namespace of the path `inside`, TAP `outside` in this one."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux.setns(inside)
    try:
        first = open_tap(there)
    finally:
        linux.setns("/proc/self/fd/%d" % here)
        os.close(here)
    return first, open_tap(outside)


def carry(pair, control, link):
    """Until `control` ends.  It gives lines of JSON: what `link` becomes, {"rtt_ms": , "loss": }."""
    chance = random.Random(11)
    other = {pair[0]: pair[1], pair[1]: pair[0]}
    queues = {fd: collections.deque() for fd in pair}  # by the device that they go to
    while True:
        now = time.monotonic()
        for fd, queue in queues.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(fd, queue.popleft()[1])
                except OSError:
                    pass  # the device is down, or its queue is full: lost, as on a wire
        due = [queue[0][0] for queue in queues.values() if queue]
        ready = select.select([control, pair[0], pair[1]], [], [], max(0, min(due) - now) if due else None)[0]
        now = time.monotonic()
        for fd in ready:
            if fd == control:
                line = os.read(control, 4096)
                if not line:
                    return
                link = json.loads(line.splitlines()[-1])
                continue
            to = other[fd]
            try:
                for _ in range(64):
                    frame = os.read(fd, 65536)
                    if len(queues[to]) < QUEUE and chance.random() >= link["loss"]:
                        queues[to].append((now + link["rtt_ms"] / 2000, frame))
            except OSError:
                pass  # EAGAIN: all read; or the device is down
