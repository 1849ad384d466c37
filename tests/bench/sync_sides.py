"""The programs that bench sync compares, and one measured call of one of them.

  xd        xdctl sync SRC/ ssh=h1:DEST, connection and all
  popen     xdctl sync SRC/ popen:DEST, without ssh
  rsync     rsync -a --delete over ssh;  rsync-z: with -z;  pipe: over two pipes, its remote shell being a stand-in that runs the command here
  tar       tar | ssh host tar: always all
  execnet   execnet's RSync, with the start of its interpreter: what pytest-xdist does"""
import json
import os
import subprocess
import threading
import time

import measure
from ssh import lab_cpu

LIMIT_S = 180
PIPE = '#!/bin/sh\nshift # the host\nexec sh -c "$*"\n'
EXECNET = """import sys, execnet
spec, source, destination = sys.argv[1:]
gateway = execnet.makegateway(spec)
rsync = execnet.RSync(source, verbose=False)
rsync.add_target(gateway, destination, delete=True)
rsync.send()
execnet.default_group.terminate(timeout=2)
"""


class Sides(object):
    """Command lines."""

    def __init__(self, lab, work, xdctl, python):
        self.lab, self.work, self.xdctl, self.python = lab, work, xdctl, python
        self.stand_in, self.driver = os.path.join(work, "stand-in"), os.path.join(work, "rsync.py")
        for path, text in ((self.stand_in, PIPE), (self.driver, EXECNET)):
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)

    def folder(self, side, tree, host):
        """(as the host calls it, as seen from here)"""
        host = self.lab[host]
        here = str(host.home / "to" / side / tree)
        return (here if side in ("pipe", "popen") else os.path.join(host.home_there, "to", side, tree)), here

    def argv(self, side, source, tree, host="h1", more=()):
        there = self.folder(side, tree, host)[0]
        ssh = " ".join(self.lab.ssh_argv(host)[:-1])
        if side in ("xd", "popen"):
            return self.xd(source, [("%s:%s" % (self.lab.spec(host), there)) if side == "xd" else "popen:" + there], more)
        if side == "tar":
            return ["sh", "-c", "tar -C %s -cf - . | %s %s 'mkdir -p %s && tar -C %s -xf -'" % (source, ssh, host, there, there)]
        if side == "execnet":
            return [self.python, self.driver, self.lab.spec(host, python="python3"), source, there]
        shell = self.stand_in if side == "pipe" else ssh
        return ["rsync", "-a" + ("z" if side == "rsync-z" else ""), "--delete", "--stats", "-e", shell] + list(more) + [source + "/", "%s:%s/" % (host, there)]

    def xd(self, source, destinations, more=()):
        return [self.xdctl, "sync", "--stats=json"] + list(more) + [source + "/"] + [word for one in destinations for word in ("--to", one)]


def told_by_xd(text):
    """What --stats=json says of each destination."""
    return json.loads(text)["destinations"]


def told_by_rsync(text):
    """Bytes that it sent and received, before ssh."""
    found = [line.rpartition(": ")[2].replace(",", "") for line in text.splitlines() if line.startswith(("Total bytes sent", "Total bytes received"))]
    return sum(map(int, found)) if len(found) == 2 else None


class Peaks(object):
    """The greatest memory of xdctl (or another program) and of what runs on a host, by a thread that looks at /proc; each process's VmHWM only
    grows, so the last look before its end counts."""

    def __init__(self, pid, hosts):
        self.pid, self.hosts, self.found, self.end = pid, hosts, {}, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        known, n = {}, 0
        while not self.end.is_set():
            if n % 20 == 0:
                known = {pid: line for host in self.hosts for pid, line in host.processes().items()}
            for pid, name in [(self.pid, "home")] + list(known.items()):
                kib = measure.peak_kib(pid)
                if kib:
                    self.found[(pid, name)] = max(kib, self.found.get((pid, name), 0))
            n += 1
            time.sleep(0.003)

    def close(self):
        self.end.set()
        self.thread.join()
        return self.found


def call(lab, argv, env, output, stdin=None, hosts=()):
    """One call, from outside: {"wall", "others_cpu", "out", "peaks"}."""
    own, busy, theirs = measure.children_cpu(), measure.machine_cpu(), lab_cpu(lab.process.pid)
    with open(output, "wb") as out, open(output + ".err", "wb") as err:
        start = time.monotonic()
        process = lab.popen(argv, cwd="/", env=env, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err)
        peaks = Peaks(process.pid, hosts) if hosts else None
        try:
            process.wait(timeout=LIMIT_S)
            wall = time.monotonic() - start
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise measure.Failure("no end after %d s: %s" % (LIMIT_S, " ".join(argv)))
        finally:
            found = peaks.close() if peaks else {}
    others = measure.machine_cpu() - busy - (measure.children_cpu() - own) - (lab_cpu(lab.process.pid) - theirs)
    with open(output, errors="replace") as f, open(output + ".err", errors="replace") as g:
        text, said = f.read(), g.read()
    if process.returncode != 0:
        raise measure.Failure("%s: exit code %s: %s" % (" ".join(argv)[:300], process.returncode, (said.strip() or text.strip())[-400:]))
    return {"wall": wall, "others_cpu": max(0, others), "out": text, "peaks": found}


