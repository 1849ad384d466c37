#!/usr/bin/env python3
"""Socket workers beside popen and beside bare ZeroMQ.  Called by `tools/dev bench socket`.

    python3 tests/bench/socket_run.py [--rounds N] [--part run|dial|idle|many]

run:  10,000 empty tests on two workers, `2*socket=` through a server on 127.0.0.1 beside `2*popen`, in pairs; the ratio is the median of the pairs.
dial: connect, handshake and a first answer: xd's client through the front of its server beside a DEALER and a ROUTER of ZeroMQ with CURVE, in one process.
idle: connections that say nothing: memory of the server for each, and its processor time.
many: 10,000 peers of a real `xdctl serve`, each with its beats, or as many as the hard limit of open files allows (three for each).
Exit code: 0 all goals met, 1 some missed, 2 could not be measured.
"""
import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from statistics import median

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, "build", "bin")
PYTHON = os.path.join(ROOT, "build", "venv", "bin", "python")
BENCH = os.path.join(ROOT, "build", "tests", "curve_bench")
PEERS = 10000
IDLE_S = 20  # that a server bears with a peer that asks for nothing
rows = []


def row(what, figure, unit, goal):
    rows.append((what, figure, unit, goal))
    met = "" if goal is None else "yes" if figure <= goal else "NO"
    print("%-64s %10.3f %-24s %-8s %s" % (what, figure, unit, "" if goal is None else "<= %g" % goal, met), flush=True)


def environment(folder):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "XD_", "VIRTUAL_ENV"))}
    keep.update(XDG_STATE_HOME=folder + "/state", XDG_CACHE_HOME=folder + "/cache", XD_AGENT=os.path.join(BIN, "xdagent"))
    return keep


def suite(folder):
    os.makedirs(folder)
    for k in range(20):
        with open("%s/test_%d.py" % (folder, k), "w") as f:
            f.write("".join("def test_%d(): pass\n" % i for i in range(500)))


class Server(object):
    def __init__(self, folder, env, *args):
        self.xdctl = os.path.join(BIN, "xdctl")
        self.keys, own = folder + "/me", folder + "/server"
        line = subprocess.run([self.xdctl, "keygen", "--keys", self.keys], env=env, capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run([self.xdctl, "keys", "authorize", "--keys", own, line], env=env, check=True, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen([self.xdctl, "serve", "--keys", own, "--bind", "127.0.0.1:0", "--drain", "0"] + list(args), env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().split()[-1]
        self.key = self.process.stdout.readline().split()[-1]
        subprocess.run([self.xdctl, "trust", "--keys", self.keys, "--yes", self.address], env=env, check=True, stderr=subprocess.DEVNULL)

    @property
    def memory_kb(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1))

    @property
    def cpu_s(self):
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def end(self):
        self.process.terminate()
        self.process.wait()


def timed(command, env, folder):
    begun = time.monotonic()
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or "10000 passed" not in done.stdout:
        sys.exit("socket_run: %s\n%s%s" % (" ".join(command), done.stdout[-2000:], done.stderr[-2000:]))
    return time.monotonic() - begun


def part_run(folder, rounds):
    env = environment(folder)
    suite(folder + "/suite")
    server = Server(folder, env)
    try:
        ways = ["2*popen", "2*socket=" + server.address]
        found = []
        for i in range(rounds + 1):
            found.append([timed([server.xdctl, "run", "--python", PYTHON, "--keys", server.keys, "--no-history", "-q", "--tx", way, "suite"],
                                env, folder) for way in ways])
    finally:
        server.end()
    found = found[1:]  # the first one warms up
    row("10,000 empty tests, 2*popen", median(a for a, _ in found), "s", None)
    row("10,000 empty tests, 2*socket=", median(b for _, b in found), "s", None)
    row("  to popen", median(b / a for a, b in found), "of popen", 1.1)


def part_dial(_folder, rounds):
    found = [json.loads(subprocess.run([BENCH, "100"], capture_output=True, text=True, check=True).stdout) for _ in range(rounds)]
    row("connect, handshake, answer: bare DEALER and ROUTER", median(f["bare_us"] for f in found) / 1000, "ms", None)
    row("connect, handshake, answer: xd, through its front", median(f["xd_us"] for f in found) / 1000, "ms", None)
    row("  to bare", median(f["xd_us"] / f["bare_us"] for f in found), "of bare", 1.5)


def part_idle(_folder, _rounds):
    found = json.loads(subprocess.run([BENCH, "idle", "4000"], capture_output=True, text=True, check=True).stdout)
    row("%d idle peers: memory of the server for each" % found["peers"], found["kb_each"], "KiB", None)
    row("%d idle peers: processor time of the server" % found["peers"], found["idle_cpu_ms_per_s"], "ms per s", None)
    row("%d idle peers: all connected after" % found["peers"], found["connect_s"], "s", None)


def part_many(folder, _rounds):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    peers = min(PEERS, (hard - 200) // 3)
    if peers < PEERS:
        print("the hard limit of open files is %d: %d peers instead of %d" % (hard, peers, PEERS))
    env = environment(folder)
    server = Server(folder, env, "--max-connections", str(peers + 10), "--max-agents", "1")
    with open(server.keys + "/id") as f:
        own = dict(re.findall(r'(public|secret)-key = "(.{40})"', f.read()))
    before_kb, before_fds, begun = server.memory_kb, server.fds, time.monotonic()
    hold = subprocess.Popen([PYTHON, os.path.join(ROOT, "tests", "bench", "socket_hold.py"), str(peers), server.address.rpartition(":")[2], server.key,
                             own["public"], own["secret"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if hold.stdout.readline() != "ready\n":
            sys.exit("socket_run: the peers did not get in")
        connect_s = time.monotonic() - begun
        cpu_s, since, left_s = server.cpu_s, time.monotonic(), IDLE_S - 1 - connect_s
        if left_s < 2:
            sys.exit("socket_run: it took %.1f s until all were there: the server ends the first of them soon" % connect_s)
        time.sleep(min(5, left_s))
        cpu_s, since = server.cpu_s - cpu_s, time.monotonic() - since
        memory_kb, there = server.memory_kb - before_kb, (server.fds - before_fds) // 3
        counted = json.loads(hold.communicate(timeout=30)[0])
    finally:
        hold.kill()
        server.end()
    row("%d peers of one server: those that are missing" % peers, peers - there, "peers", 0)
    row("%d peers of one server: connections that were cut" % peers, counted["cut"], "connections", 0)
    row("%d peers of one server: memory of it for each" % peers, memory_kb / peers, "KiB", None)
    row("%d peers of one server: its processor time, with beats" % peers, cpu_s / since * 1000, "ms per s, of %.1f s" % since, None)
    row("%d peers of one server: all connected after" % peers, connect_s, "s", None)


def main():
    parts = {"run": part_run, "dial": part_dial, "idle": part_idle, "many": part_many}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--part", choices=sorted(parts), action="append")
    o = p.parse_args()
    for name in o.part or ["run", "dial", "idle", "many"]:
        with tempfile.TemporaryDirectory(prefix="xd-bench-") as folder:
            parts[name](folder, o.rounds)
    sys.exit(any(goal is not None and figure > goal for _, figure, _, goal in rows))


if __name__ == "__main__":
    main()
