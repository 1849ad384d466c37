#!/usr/bin/env python3
"""Socket workers beside popen and beside bare ZeroMQ.  Called by `tools/dev bench socket`.

    python3 tests/bench/socket_run.py [--rounds N] [--part run|dial|idle|many|join|hundred|agents]

run:  10,000 empty tests on two workers, `2*socket=` through a server on 127.0.0.1 beside `2*popen`, in pairs; the ratio is the median of the pairs.
dial: connect, handshake and a first answer: xd's client through the front of its server beside a DEALER and a ROUTER of ZeroMQ with CURVE, in one process.
idle: connections that say nothing: memory of the server for each, and its processor time.
join: from `xdctl join` typed, to a run that listens, to the first test that begins there; beside from `xdctl run` typed with popen and with an sshd on 127.0.0.1.
hundred: 100 workers of 10 hosts that have joined, tests that sleep for 0.5 to 1.5 s, whose times are known from a run before: from the first test's begin to the
      last one's end, beside what no schedule can go below.
agents: 1,000 simulated agents, each with a CURVE connection of its own, and 1,000 items for each, in one real run that listens.
many: 10,000 peers of a real `xdctl serve`, each with its beats, or as many as the hard limit of open files allows (three for each).
Exit code: 0 all goals met, 1 some missed, 2 could not be measured.
"""
import argparse
import json
import os
import random
import re
import resource
import socket
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


def row(what, figure, unit, goal, least=False):
    """goal: the most that it may be; `least`: the least."""
    good = goal is None or (figure >= goal if least else figure <= goal)
    rows.append(good)
    print("%-64s %10.3f %-24s %-10s %s" % (what, figure, unit, "" if goal is None else "%s %g" % (">=" if least else "<=", goal),
                                           "" if goal is None else "yes" if good else "NO"), flush=True)


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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Listening(object):
    """`xdctl run --listen`, and what one needs to join it."""

    def __init__(self, folder, env, *options, cwd=None):
        self.xdctl, self.folder, self.env = os.path.join(BIN, "xdctl"), folder, env
        self.at, keys = "127.0.0.1:%d" % free_port(), folder + "/keys"
        subprocess.run([self.xdctl, "keygen", "--keys", keys], env=env, capture_output=True, check=True)
        self.token = subprocess.run([self.xdctl, "token", "--keys", keys, "--run", "bench", "--uses", "0"], env=env, capture_output=True, text=True, check=True).stdout.strip()
        self.log = open(folder + "/run.log", "w+")
        self.process = subprocess.Popen([self.xdctl, "run", "--keys", keys, "--listen", self.at, "--testrunuid", "bench", "-q"] + list(options), env=env, cwd=cwd or folder,
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.joins = []
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as s:
                if s.connect_ex(tuple([self.at.split(":")[0], int(self.at.split(":")[1])])) == 0:
                    return
            time.sleep(0.01)
        sys.exit("socket_run: it does not listen\n" + self.said())

    def join(self, workers):
        home = "%s/host%d" % (self.folder, len(self.joins))
        os.makedirs(home)
        env = dict(self.env, XD_TOKEN=self.token, HOME=home, XDG_CACHE_HOME=home + "/cache")
        self.joins.append(subprocess.Popen([self.xdctl, "join", self.at, "--workers", str(workers)], env=env, cwd=home, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def said(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def finish(self, seconds=300):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for one in self.joins:
            one.wait(30)
        if code != 0:
            sys.exit("socket_run: the run ended with %d\n%s" % (code, self.said()))


FIRST = """
import os, time
def test_first():
    with open(os.environ["FIRST"], "w") as f: f.write(repr(time.monotonic()))
"""


def part_join(folder, rounds):
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    from lab import Lab, Unavailable
    env = dict(environment(folder), FIRST=folder + "/first")
    os.makedirs(folder + "/suite")
    with open(folder + "/suite/test_a.py", "w") as f:
        f.write(FIRST)

    def first(begun):
        with open(folder + "/first") as f:
            return float(f.read()) - begun

    def run(options, lab=None):
        begun = time.monotonic()
        subprocess.run([os.path.join(BIN, "xdctl"), "run", "--no-history", "-q"] + options + ["test_a.py"], env=lab.environment(env) if lab else env,
                       cwd=folder + "/suite", capture_output=True, check=True)
        return first(begun)

    def joined(n):
        place = "%s/joined%d" % (folder, n)
        os.makedirs(place)
        listening = Listening(place, env, "--python", PYTHON, "--no-history", "test_a.py", cwd=folder + "/suite")
        begun = time.monotonic()
        listening.join(1)
        listening.finish()
        return first(begun)

    found = {"popen": [], "join": [], "ssh": []}
    try:
        lab = Lab(1, namespaces=False)
    except Unavailable as e:
        print("ssh: %s" % e)
        lab = None
    try:
        for n in range(rounds + 1):  # the first one warms up
            found["popen"].append(run(["--tx", "popen", "--python", PYTHON]))
            found["join"].append(joined(n))
            if lab:
                found["ssh"].append(run(["--tx", lab.spec("h1", python=PYTHON, **{"env:FIRST": env["FIRST"]})], lab))
    finally:
        if lab:
            lab.close()
    row("to the first test: xdctl run --tx popen", 1000 * median(found["popen"][1:]), "ms", None)
    row("to the first test: xdctl join, to a run that listens", 1000 * median(found["join"][1:]), "ms", None)
    if lab:
        row("to the first test: xdctl run --tx ssh=, on this machine", 1000 * median(found["ssh"][1:]), "ms", None)


SLEEPS = """
import pytest, time
SECONDS = %r
@pytest.mark.parametrize("n", range(len(SECONDS)))
def test_sleeps(n): time.sleep(SECONDS[n])
"""


def best(seconds, workers):
    """No schedule ends before that."""
    return max(sum(seconds) / workers, max(seconds))


def part_hundred(folder, _rounds):
    hosts, each, chance = 10, 10, random.Random(13)
    env = environment(folder)
    seconds = [round(chance.uniform(0.5, 1.5), 3) for _ in range(20 * hosts * each)]
    os.makedirs(folder + "/suite")
    for n in range(0, len(seconds), 10):
        with open("%s/suite/test_%d.py" % (folder, n), "w") as f:
            f.write(SLEEPS % seconds[n:n + 10])
    for n in range(2):  # the first one tells how long the tests take
        place, jsonl = "%s/run%d" % (folder, n), "%s/run%d.jsonl" % (folder, n)
        os.makedirs(place)
        listening = Listening(place, env, "--python", PYTHON, "--min-workers", str(hosts * each), "--jsonl", jsonl, cwd=folder + "/suite")
        for _ in range(hosts):
            listening.join(each)
        listening.finish()
    with open(jsonl) as f:
        tests = [e for e in map(json.loads, f) if e["event"] == "test"]
    begun, ended = min(t["start"] for t in tests), max(t["start"] + t["setup"] + t["call"] + t["teardown"] for t in tests)
    assert len(tests) == len(seconds) and len({t["worker"] for t in tests}) == hosts * each
    row("100 joined workers, 2,000 tests of 0.5-1.5 s", ended - begun, "s", None)
    row("  to the bound", (ended - begun) / best(seconds, hosts * each), "of the bound", 1.03)
    starts = {}
    for t in tests:
        starts[t["worker"]] = min(starts.get(t["worker"], t["start"]), t["start"])
    late = sum(starts.values()) / len(starts) - begun
    row("  first tests of the workers begin, on average, behind the first", late, "s", None)
    row("  to the bound with that", (ended - begun) / (best(seconds, hosts * each) + late), "of the bound", None)


def part_agents(folder, _rounds):
    agents, items = 1000, 1000000
    listening = Listening(folder, environment(folder), "--join-max", str(agents), "--min-workers", str(agents), "--no-sync", "--no-history")
    bench = subprocess.Popen([os.path.join(ROOT, "build", "tests", "agents_bench"), "127.0.0.1", listening.at.split(":")[1], listening.token, str(agents), str(items), "4"],
                             stdout=subprocess.PIPE, text=True)
    pid, kb, ticks = listening.process.pid, 0, 0
    while listening.process.poll() is None:
        try:
            with open("/proc/%d/status" % pid) as f:
                kb = max([kb] + [int(line.split()[1]) for line in f if line.startswith("VmHWM")])
            with open("/proc/%d/stat" % pid) as f:
                ticks = max(ticks, sum(map(int, f.read().rpartition(")")[2].split()[11:13])))
        except OSError:
            pass
        time.sleep(0.1)
    listening.finish()
    found = json.loads(bench.communicate(timeout=60)[0])
    assert found["results"] == items and found["joined"] == agents
    row("1,000 simulated agents: all have joined after", found["joined_s"], "s", None)
    row("1,000 agents x 1,000 items: from the first lease to the last", items / found["run_s"], "items/s", 100000, least=True)
    row("  memory of the run, for each item", kb / items, "KiB", 1)
    row("  processor time of the run, for each item", 1e6 * ticks / os.sysconf("SC_CLK_TCK") / items, "us", None)
    row("  items in a lease", items / found["leases"], "items", None)



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
    parts = {"run": part_run, "dial": part_dial, "idle": part_idle, "many": part_many, "join": part_join, "hundred": part_hundred, "agents": part_agents}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--part", choices=sorted(parts), action="append")
    o = p.parse_args()
    for name in o.part or list(parts):
        with tempfile.TemporaryDirectory(prefix="xd-bench-") as folder:
            parts[name](folder, o.rounds)
    sys.exit(not all(rows))


if __name__ == "__main__":
    main()
