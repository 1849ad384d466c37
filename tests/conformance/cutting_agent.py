"""An agent whose pipe is cut: `--agent` of xdctl is a link to this program, which starts the real one behind itself and carries the bytes of both
directions, until it has carried so many of one of them; then both ends are closed in the middle of whatever was on its way.

XD_CUT_REAL: the real agent.  XD_CUT_SEED: of the places.  XD_CUT_UP, XD_CUT_DOWN: "CUTS BYTES", so many cuts in that direction, each at a random one of the next
BYTES bytes.  XD_CUT_LOG: a file that gets a line for each cut.  XD_CUT_WHEN: nothing is cut before this file is there.  XD_CUT_HOLD: seconds for which no new pipe is carried after the last cut (late returns);
XD_CUT_LOCK: a file: whoever makes it cuts, whoever finds it is the real agent, so that one of two environments is cut."""
import os
import random
import select
import socket
import subprocess
import sys
import time

UP, DOWN = 0, 1


class Direction(object):
    def __init__(self, text):
        self.cuts, self.reach = map(int, text.split())
        self.left = self.draw()

    def draw(self):
        return dice.randint(1, self.reach) if self.cuts else None


class Relay(object):
    def __init__(self, fd, redial, rest):
        real = os.environ["XD_CUT_REAL"]
        self.directions = [Direction(os.environ.get(name, "0 1")) for name in ("XD_CUT_UP", "XD_CUT_DOWN")]
        self.when = os.environ.get("XD_CUT_WHEN")
        self.hold = float(os.environ.get("XD_CUT_HOLD", "0"))
        self.from_xdctl = socket.socket(fileno=redial)
        self.to_agent, agents_redial = socket.socketpair()
        self.near, (self.far, agents) = socket.socket(fileno=fd), socket.socketpair()
        self.near.setblocking(True)
        self.late = []
        self.agent = subprocess.Popen([real, "--fd", str(agents.fileno()), "--redial", str(agents_redial.fileno())] + rest,
                                      pass_fds=(agents.fileno(), agents_redial.fileno()))
        agents.close()
        agents_redial.close()

    def cut(self, direction):
        """Both ends; one of them may see it later than the other, the agent even after it has got another pipe."""
        d = self.directions[direction]
        d.cuts -= 1
        d.left = d.draw()
        with open(os.environ["XD_CUT_LOG"], "a") as log:
            log.write("%s\n" % ("up", "down")[direction])
        last = not any(x.cuts for x in self.directions)
        if dice.random() < 0.3:
            self.late.append(self.far)
        else:
            self.far.close()
        self.near.close()
        self.near = self.far = None
        if last and self.hold:
            time.sleep(self.hold)

    def carry(self, direction, source, sink):
        data = source.recv(1 << 16)
        if not data:
            self.over()
        left = self.directions[direction].left if not self.when or os.path.exists(self.when) else None
        try:
            sink.sendall(data[:left])
        except OSError:
            pass  # the other end has closed: its end is found by reading
        if left is not None and len(data) >= left:
            self.cut(direction)
        elif left is not None:
            self.directions[direction].left -= len(data)

    def take_up(self):
        _byte, fds, _flags, _address = socket.recv_fds(self.from_xdctl, 1, 4)
        if not _byte:
            self.over()
        if not fds:
            return
        for old in (self.near, self.far):
            if old:
                old.close()
        self.near = socket.socket(fileno=fds[0])
        self.near.setblocking(True)
        self.far, agents = socket.socketpair()
        socket.send_fds(self.to_agent, [b"\0"], [agents.fileno()])
        agents.close()
        while self.late:
            self.late.pop().close()

    def over(self):
        """One of them has ended: so has the other, when it sees the end of all that it had."""
        for s in (self.near, self.far, self.to_agent):
            if s:
                s.close()
        sys.exit(self.agent.wait())

    def run(self):
        while True:
            ready = select.select([s for s in (self.near, self.far, self.from_xdctl) if s], [], [])[0]
            if self.from_xdctl in ready:
                try:
                    self.take_up()
                except OSError:
                    self.over()
                continue
            try:
                if self.far in ready:
                    self.carry(UP, self.far, self.near)
                elif self.near in ready:
                    self.carry(DOWN, self.near, self.far)
            except ConnectionResetError:
                self.over()


def main():
    real, lock = os.environ["XD_CUT_REAL"], os.environ.get("XD_CUT_LOCK")
    if "--redial" not in sys.argv:
        os.execv(real, [real] + sys.argv[1:])
    if lock:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os.execv(real, [real] + sys.argv[1:])
    rest = sys.argv[1:]
    fds = []
    for name in ("--fd", "--redial"):
        at = rest.index(name)
        fds.append(int(rest[at + 1]))
        del rest[at:at + 2]
    Relay(fds[0], fds[1], rest).run()


if __name__ == "__main__":
    dice = random.Random(int(os.environ["XD_CUT_SEED"]))
    main()
