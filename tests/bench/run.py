#!/usr/bin/env python3
"""The benchmarks, xd beside its peers: plain pytest, pytest-xdist --dist load and --dist worksteal.  Called by `tools/dev bench`.

    python3 tests/bench/run.py [--rounds N] [--seconds S] [--scale F] [--quick] [NAME ...]

All sides of a row run in turn (A B C D A B C D ...) on this machine, after one run of each to warm up.  A cell is the median of the rounds, with
the least in brackets where they differ; a ratio is the median of the ratios within each round.  A run during which other programs used the
processors is repeated; what could not be had undisturbed is told below the table.
Writes build/bench.json too.  Exit code: 0 all targets met, 1 some missed, 2 could not be measured.
"""
import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import measure  # noqa: E402
import ssh  # noqa: E402
import suites  # noqa: E402

sys.path.insert(0, os.path.dirname(HERE))
import pythons  # noqa: E402

BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "bench")
PROGRAMS = ("xdctl", "xdagent")
XDCTL = os.path.join(WORK, "bin", "xdctl")  # a copy: a build in between must not change what is measured
VENV = os.path.join(BUILD, "venv", "bin", "python")
PROJECTS = os.path.join(BUILD, "projects")
PROJECT_VENV = os.path.join(PROJECTS, "venv", "bin", "python")
SIDES = ("xd", "plain", "load", "worksteal")


QUIET = 0.1  # processors that other programs may take during a run


def disturbance(found):
    return found["others_cpu"] / found["wall"]


class Bench(object):
    def __init__(self, options):
        self.options = options
        self.rows, self.notes, self.raw, self.kept = [], [], [], {}
        self.broken, self.programs = [], (XDCTL, VENV)
        foreign = ("PYTEST_", "HYPOTHESIS_", "XD_", "VIRTUAL_ENV", "PYTHON", "CI", "BUILD_NUMBER", "FORCE_COLOR", "COVERAGE_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env.update(XDG_STATE_HOME=os.path.join(WORK, "state"), XDG_CACHE_HOME=os.path.join(WORK, "cache"))

    # one run of one side

    def command(self, side, python, workers, extra):
        if side == "xd":
            return [XDCTL, "run", "--python", python, "--as-module", "-n", str(workers), "--stats", os.path.join(WORK, "stats.json")] + extra
        if side == "plain":
            return [python, "-m", "pytest", "-p", "no:xdist"] + extra
        return [python, "-m", "pytest", "-n", str(workers), "--dist", side] + extra

    def run(self, side, cwd, workers, python=VENV, extra=(), passed=None, memory=False, env=None):
        """One measured run; the last line of its report must tell the number of passed tests that is expected."""
        output = os.path.join(WORK, "output.txt")
        found = measure.run(self.command(side, python, workers, list(extra)), cwd, dict(self.env, **(env or {})), output, memory)
        with open(output, errors="replace") as f:
            text = f.read()
        counts = re.findall(r"^=* ?(\d+ [a-z].*) in \d+\.\d\d ?s", text, re.M)
        found["counts"] = counts[-1] if counts else text[-300:]
        if found["code"] not in (0, 1) or not counts or (passed is not None and found["counts"] != "%d passed" % passed):
            raise measure.Failure("%s: exit code %s, its output ends with: %s" % (side, found["code"], text.strip()[-200:]))
        if side == "xd":
            with open(os.path.join(WORK, "stats.json")) as f:
                found["stats"] = json.load(f)
        self.raw.append(dict(found, name=self.current, side=side))
        return found

    def quiet(self, one, side):
        """one(side) while no other program runs, as far as the options let us wait and repeat; else the least disturbed of the runs."""
        best = None
        for _ in range(1 + self.options.retries):
            measure.wait_for_quiet(self.options.wait)
            found = one(side)
            if best is None or disturbance(found) < disturbance(best):
                best = found
            if disturbance(best) <= QUIET:
                break
        self.kept.setdefault(self.current, []).append(disturbance(best))
        return best

    def rounds(self, sides, one, warm=True):
        """one(side) for all sides in turn; {side: [result, ...]} of as many rounds as the options give."""
        if warm and not self.options.quick:
            for side in sides:
                one(side)
        results = {side: [] for side in sides}
        begin, n = time.monotonic(), 0
        while n < self.options.rounds and (n < 3 or time.monotonic() - begin < self.options.seconds):
            for side in sides:
                results[side].append(self.quiet(one, side))
            n += 1
            self.say("round %d of %d" % (n, self.options.rounds))
        return results

    # the table

    def say(self, text):
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K%s: %s" % (self.current, text))
            sys.stderr.flush()

    def row(self, name, unit, cells, ratios=None, target=None, value=None):
        """cells: {side: [number, ...]}.  With ratios the target is one of them, with value one of the figure itself."""
        figure = median(ratios) if ratios else value
        ok = None if target is None or figure is None else figure <= target
        self.rows.append({"benchmark": name, "unit": unit, "cells": cells, "ratio": median(ratios) if ratios else None,
                          "ratios": ratios, "value": value, "target": target, "ok": ok})

    def note(self, text):
        self.notes.append(text)

    def table(self):
        def number(x):
            return "%.0f" % x if x >= 100 else "%.1f" % x if x >= 10 else "%.2f" % x if x >= 0.1 else "%.3f" % x

        def cell(row, side):
            values = row["cells"].get(side)
            if not values:
                return "-"
            middle, least = number(median(values)), number(min(values))
            return "%s %s" % (middle, row["unit"]) if middle == least else "%s (%s) %s" % (middle, least, row["unit"])

        lines = [["benchmark", "xd", "plain", "xdist load", "xdist worksteal", "ratio", "target", "ok?"]]
        for row in self.rows:
            target = "-" if row["target"] is None else "<= %s" % (row["target"] if row["ratios"] else "%g %s" % (row["target"], row["unit"]))
            lines.append([row["benchmark"]] + [cell(row, side) for side in SIDES] +
                         ["%.3f" % row["ratio"] if row["ratio"] is not None else "-", target,
                          {None: "-", True: "yes", False: "NO"}[row["ok"]]])
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        lines.insert(1, ["-" * w for w in widths])
        return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths)).rstrip() for line in lines)


def walls(results):
    return {side: [one["wall"] for one in ones] for side, ones in results.items()}


def over(mine, *others):
    """The ratios of the rounds, to the best of the others in each."""
    return [a / min(b) for a, b in zip(mine, zip(*others))]


# The benchmarks.  Each may add several rows.

def bench_empty10k(b):
    folder = os.path.join(WORK, "empty10k")
    suites.empty(folder, 100, 10000)
    cells = walls(b.rounds(SIDES, lambda side: b.run(side, folder, 2, passed=10000)))
    b.row("10,000 empty tests, -n2, to xdist load", "s", cells, over(cells["xd"], cells["load"]), 0.33)
    b.row("10,000 empty tests, -n2, to plain", "s", cells, over(cells["xd"], cells["plain"]), 0.45)


def bench_empty500(b):
    folder = os.path.join(WORK, "empty500")
    suites.empty(folder, 10, 500)
    cells = walls(b.rounds(SIDES, lambda side: b.run(side, folder, 4, passed=500)))
    b.row("500 empty tests, -n4, to plain", "s", cells, over(cells["xd"], cells["plain"]), 0.70)


def bench_start16(b):
    folder, mark = os.path.join(WORK, "start16"), os.path.join(WORK, "first-test")
    suites.first(folder)

    def one(side):
        if os.path.exists(mark):
            os.unlink(mark)
        found = b.run(side, folder, 16, passed=160, env={"XD_BENCH_MARK": mark})
        with open(mark) as f:
            found["first"] = float(f.read()) - found["start"]
        return found

    results = b.rounds(SIDES, one)
    cells = {side: [r["first"] for r in ones] for side, ones in results.items()}
    b.row("start to first test, -n16, to plain", "s", cells, over(cells["xd"], cells["plain"]), 1.3)


def bench_project(b, name, extra=()):
    ready = subprocess.run(["bash", os.path.join(ROOT, "tests", "scenario", "projects.sh")], stderr=subprocess.PIPE)
    if ready.returncode != 0:
        raise measure.Failure(ready.stderr.decode(errors="replace").strip())
    folder, short = os.path.join(PROJECTS, name), name.rpartition("-")[0]

    def one(side):
        return b.run(side, folder, 2, python=PROJECT_VENV, extra=extra)

    first = None
    if not b.options.quick:
        one("plain")
        first = one("xd")["wall"]  # byte code is there, a history is not
    results = b.rounds(SIDES, one, warm=False)
    cells = walls(results)
    plain = median(cells["plain"])
    b.row("%s, -n2, to the faster xdist" % short, "s", cells, over(cells["xd"], cells["load"], cells["worksteal"]), 1.0)
    b.row("%s, -n2, to plain" % short, "s", cells, over(cells["xd"], cells["plain"]), 0.55 if plain > 10 else None)
    if plain <= 10:
        b.note("%s: plain pytest takes %.1f s, not longer than 10 s: no target for the wall time" % (short, plain))
    cpu = {side: [r["cpu"] for r in ones] for side, ones in results.items()}
    b.row("%s, CPU of all processes, to plain" % short, "s", cpu, over(cpu["xd"], cpu["plain"]), 1.0)
    if first:
        b.note("%s: xd's first run, without a history of durations: %.1f s, %.2f of plain" % (short, first, first / plain))
    told = {side: sorted({r["counts"] for r in ones}) for side, ones in results.items()}
    if len(set(map(str, told.values()))) > 1:
        b.note("%s: the counts differ: %s" % (short, told))


# (version, its newest pytest, its newest pytest-xdist)
OLD = (("2.7", "==4.6.11", "pytest-xdist==1.34.0"), ("3.6", "==7.0.1", "pytest-xdist==3.0.2"))


def bench_pythons(b):
    """10,000 empty tests with older Pythons, beside the newest xdist of each."""
    folder = os.path.join(WORK, "pythons")
    suites.empty(folder, 100, 10000)
    for version, wanted, xdist in OLD:
        try:
            python = pythons.environment(version, wanted, xdist)
        except pythons.Unavailable as e:
            b.note("Python %s is left out: %s" % (version, e))
            continue
        cells = walls(b.rounds(("xd", "plain", "load"), lambda side: b.run(side, folder, 2, python=python, passed=10000)))
        b.row("10,000 empty tests, -n2, Python %s, to %s" % (version, xdist), "s", cells, over(cells["xd"], cells["load"]), 0.5)


def numpy_python():
    """The interpreter of a virtual environment with numpy, made once."""
    folder = os.path.join(BUILD, "bench-numpy")
    made, ready = os.path.join(folder, "bin", "python"), os.path.join(folder, "ready")
    if not os.path.exists(ready):
        for command in ([VENV, "-m", "venv", "--clear", folder],
                        [made, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "numpy", "pytest", "pytest-xdist"]):
            said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            if said.returncode != 0:
                raise measure.Failure("numpy cannot be installed: %s" % said.stdout.decode(errors="replace").strip()[-200:])
        open(ready, "w").close()
    return made


def bench_numpy(b):
    folder, python = os.path.join(WORK, "numpy"), numpy_python()
    suites.numpy(folder, b.options.scale)
    ways = set()

    def one(side):
        found = b.run(side, folder, 2, python=python, passed=suites.NUMPY_TESTS, extra=["--jsonl", WORK + "/numpy.jsonl"] if side == "xd" else ())
        if side == "xd":
            with open(WORK + "/numpy.jsonl") as f:
                ways.update(event["way"] for event in map(json.loads, f) if event["event"] == "worker_up")
        return found

    results = b.rounds(SIDES, one)
    cells = walls(results)
    b.row("3,000 tests with numpy, -n2, to xdist load", "s", cells, over(cells["xd"], cells["load"]), 0.80)
    b.row("3,000 tests with numpy, -n2, to xdist worksteal", "s", cells, over(cells["xd"], cells["worksteal"]), 0.80)
    cpu = {side: [r["cpu"] for r in ones] for side, ones in results.items()}
    b.row("3,000 tests with numpy, CPU of all processes, to the better xdist", "s", cpu, over(cpu["xd"], cpu["load"], cpu["worksteal"]), 0.80)
    b.row("3,000 tests with numpy, CPU of all processes, to plain", "s", cpu, over(cpu["xd"], cpu["plain"]), 1.0)
    b.note("numpy: workers were %s" % ", ".join(sorted(ways)))


def bench_cost(b):
    """What a passing test costs, start and end left out: (run of 10,000 - run of 1,000) / 9,000."""
    big, small = os.path.join(WORK, "cost10k"), os.path.join(WORK, "cost1k")
    suites.empty(big, 100, 10000)
    suites.empty(small, 10, 1000)
    results = b.rounds(("big", "small"), lambda kind: b.run("xd", big if kind == "big" else small, 2,
                                                            passed=10000 if kind == "big" else 1000))

    def each(counter):
        return [(x["stats"][counter] - y["stats"][counter]) / 9000 for x, y in zip(results["big"], results["small"])]

    for name, counter, unit, target in (("stream bytes per passing test", "stream_bytes", "B", 64),
                                        ("controller CPU per passing test", "controller_cpu_us", "us", 10),
                                        ("agent CPU per passing test", "agent_cpu_us", "us", 10)):
        values = each(counter)
        b.row(name, unit, {"xd": values}, target=target, value=median(values))
    outside = [(x["own_cpu"] - y["own_cpu"]) * 1e6 / 9000 for x, y in zip(results["big"], results["small"])]
    b.note("cost: from the counters of xdctl --stats; of the controller seen from outside (/proc/PID/stat at its end, 10 ms ticks): %.1f us; "
           "the counters tell %.1f %% of the CPU time that wait4 tells for all processes"
           % (median(outside), 100 * median(sum(x["stats"][k] for k in ("controller_cpu_us", "agent_cpu_us", "workers_cpu_us")) / 1e6 / x["cpu"]
                                            for x in results["big"])))
    b.note("cost: whole run of 10,000: %.1f bytes on the stream and %.1f in the journal per test"
           % (median(x["stats"]["stream_bytes"] for x in results["big"]) / 10000, journal_bytes(b, results["big"][-1]) / 10000))


def journal_bytes(b, found):
    return os.path.getsize(os.path.join(b.env["XDG_STATE_HOME"], "xd", "runs", found["stats"]["run_id"], "journal"))


def bench_memory(b):
    folder = os.path.join(WORK, "empty100k")
    suites.empty(folder, 1000, 100000)
    found = b.run("xd", folder, 2, passed=100000, memory=True)
    mib = found["peak_kib"] / 1024
    b.row("peak memory of the controller, 100,000 items", "MiB", {"xd": [mib]}, target=64, value=mib)
    b.note("memory: the run of 100,000 took %.1f s; controller %.1f us CPU per test, start and end in it (from outside)"
           % (found["wall"], found["own_cpu"] * 10))


def bench_tail(b):
    slow, zero = os.path.join(WORK, "tail"), os.path.join(WORK, "tail0")
    suites.tail(slow, 1)
    suites.tail(zero, 0)
    count = suites.SHORT_COUNT + 1

    def one(kind):
        if kind == "zero":
            return b.run("xd", zero, 8, passed=count)
        return b.run(kind, slow, 8, passed=count)

    b.run("xd", slow, 8, passed=count)  # the first run: makes the history
    results = b.rounds(("zero", "xd", "load", "worksteal"), one, warm=False)
    cells = walls(results)
    ideal = max((suites.SHORT_S * suites.SHORT_COUNT + suites.LONG_S) / 8, suites.LONG_S)
    b.row("200 x 0.05 s and one 3 s test last, 8 workers, to the ideal", "s", {k: cells[k] for k in ("xd", "load", "worksteal")},
          [x / (ideal + zero) for x, zero in zip(cells["xd"], cells["zero"])], 1.05)
    b.note("tail: the ideal is %.2f s + start-up; start-up = wall time of the same suite without sleeps, %.2f s" % (ideal, median(cells["zero"])))


COMMANDS = 1000


def bench_commands(b):
    """A list of command lines, beside what people run one with; each side starts /bin/true itself, without a shell."""
    folder = os.path.join(WORK, "commands")
    os.makedirs(folder)
    for name, line in (("list.txt", "/bin/true\n"), ("words.txt", "x\n")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(line * COMMANDS)
    with open(os.path.join(folder, "CTestTestfile.cmake"), "w") as f:
        f.writelines('add_test(t%d "/bin/true")\n' % n for n in range(COMMANDS))
    sides = {"xd": [XDCTL, "run", "--runner", "command", "--list", "list.txt", "-n", "2"],
             "xargs": ["xargs", "-a", "words.txt", "-P", "2", "-n", "1", "/bin/true"]}
    said = {"xd": r"%d passed" % COMMANDS, "ctest": r"100%% tests passed, 0 tests failed out of %d" % COMMANDS, "xargs": ""}
    if shutil.which("ctest"):
        sides["ctest"] = ["ctest", "-j", "2"]
    else:
        b.note("commands: ctest is not installed")

    def one(side):
        output = os.path.join(WORK, "output.txt")
        found = measure.run(sides[side], folder, b.env, output, False)
        with open(output, errors="replace") as f:
            text = f.read()
        if found["code"] != 0 or not re.search(said[side], text):
            raise measure.Failure("%s: exit code %s, its output ends with: %s" % (side, found["code"], text.strip()[-200:]))
        b.raw.append(dict(found, name=b.current, side=side))
        return found

    cells = walls(b.rounds(tuple(sides), one))
    for peer in ("xargs", "ctest"):
        if peer in cells:
            b.row("%d x /bin/true, to %s" % (COMMANDS, {"xargs": "xargs -P2", "ctest": "ctest -j2"}[peer]), "s", {"xd": cells["xd"]},
                  over(cells["xd"], cells[peer]), 1.0)
    b.note("commands: medians: " + ", ".join("%s %.2f s" % (side, median(cells[side])) for side in cells))


EACH = """
import pytest
@pytest.mark.parametrize("n", range(%d))
def test_n(n): sum(range(%d))
"""


def bench_each(b):
    """--dist each over two environments, a worker each, beside each of them alone."""
    specs = {"a": "popen//env:SIDE=a", "b": "popen//env:SIDE=b"}
    for name, count, size, target in (("2,000 tests of 1 ms", 2000, 60000, 1.1), ("5,000 empty tests", 5000, 0, None)):
        folder = os.path.join(WORK, "each%d" % size)
        os.makedirs(folder)
        with open(os.path.join(folder, "test_each.py"), "w") as f:
            f.write(EACH % (count, size))

        def one(side):
            output = os.path.join(WORK, "output.txt")
            tx = ["--tx=" + specs[s] for s in (side if side in specs else sorted(specs))]
            command = [XDCTL, "run", "--python", VENV, "--dist", "each"] + tx
            found = measure.run(command, folder, b.env, output, False)
            with open(output, errors="replace") as f:
                text = f.read()
            if found["code"] != 0 or "%d passed" % (count * len(tx)) not in text:
                raise measure.Failure("each: exit code %s, its output ends with: %s" % (found["code"], text.strip()[-200:]))
            b.raw.append(dict(found, name=b.current, side=side))
            return found

        cells = walls(b.rounds(("a", "b", "each"), one))
        slower = [max(x, y) for x, y in zip(cells["a"], cells["b"])]
        b.row("%s in each of two environments, to the slower alone" % name, "s", {"xd": cells["each"], "plain": slower}, over(cells["each"], slower), target)
        b.note("each: %s: medians: alone %.2f s and %.2f s, both %.2f s" % (name, median(cells["a"]), median(cells["b"]), median(cells["each"])))


# What each mode is compared with: two workers under load; of no, which has one process, one worker under load.
MODES = {"load": ["-n2"], "worksteal": ["-n2", "--dist=worksteal"], "loadscope": ["-n2", "--dist=loadscope"], "loadfile": ["-n2", "--dist=loadfile"],
         "loadgroup": ["-n2", "--dist=loadgroup"], "each": ["--dist=each", "--tx=2*popen"], "load, one worker": ["-n1"], "no": ["--dist=no", "-n0"]}


def bench_modes(b):
    """30,000 empty tests under every mode; again with groups of ten, as loadgroup is meant for, which load does not look at."""
    for name, groups, modes in (("", 0, list(MODES)), (" in groups of 10", 10, ["load", "loadgroup"])):
        folder = os.path.join(WORK, "modes%d" % groups)
        suites.empty(folder, 300, 30000, groups)

        def one(side):
            output = os.path.join(WORK, "output.txt")
            found = measure.run([XDCTL, "run", "--python", VENV] + MODES[side], folder, b.env, output, False)
            with open(output, errors="replace") as f:
                text = f.read()
            if found["code"] != 0 or "30000 passed" not in text:
                raise measure.Failure("%s: exit code %s, its output ends with: %s" % (side, found["code"], text.strip()[-200:]))
            b.raw.append(dict(found, name=b.current, side=side))
            return found

        cells = walls(b.rounds(modes, one))
        for mode in modes:
            peer = "load, one worker" if mode == "no" else "load"
            if mode not in ("load", "load, one worker"):
                b.row("30,000 empty tests%s, %s, to %s" % (name, mode, peer), "s", {"xd": cells[mode], "load": cells[peer]}, over(cells[mode], cells[peer]), 1.1)
        b.note("modes: the column of xdist load is xd's own load here")


def bench_broker(b):
    program = os.path.join(BUILD, "tests", "broker_bench")
    said = subprocess.run([program], stdout=subprocess.PIPE, check=True, timeout=300).stdout.decode()
    for line in said.splitlines():
        b.note("broker: " + " ".join(line.split()))


BENCHMARKS = {
    "empty10k": bench_empty10k,
    "empty500": bench_empty500,
    "start16": bench_start16,
    "attrs": lambda b: bench_project(b, "attrs-26.1.0", ["--hypothesis-seed=0"]),
    "more_itertools": lambda b: bench_project(b, "more_itertools-11.2.1"),
    "packaging": lambda b: bench_project(b, "packaging-26.3"),
    "numpy": bench_numpy,
    "pythons": bench_pythons,
    "cost": bench_cost,
    "memory": bench_memory,
    "tail": bench_tail,
    "commands": bench_commands,
    "each": bench_each,
    "modes": bench_modes,
    "ssh": ssh.bench_ssh,
    "broker": bench_broker,
}
NOT_QUICK = ("packaging", "memory", "modes", "numpy", "pythons", "ssh")


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    versions = subprocess.run([VENV, "-c", "import sys, pytest, xdist; print('Python %d.%d.%d, pytest %s, pytest-xdist %s' % "
                               "(sys.version_info[:3] + (pytest.__version__, xdist.__version__)))"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return "%s; %d processors (%s), Linux %s, load %.2f before the start" % (
        versions, len(os.sched_getaffinity(0)), model.group(1) if model else "?", platform.release(), os.getloadavg()[0])


def main():
    parser = argparse.ArgumentParser(description="Benchmarks of xd beside plain pytest and pytest-xdist.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each benchmark [5]")
    parser.add_argument("--seconds", type=float, default=240, help="after 3 rounds, no further one once a benchmark took this long [240]")
    parser.add_argument("--wait", type=float, default=10,
                        help="before each run wait up to so many seconds until the machine is quiet [10]")
    parser.add_argument("--retries", type=int, default=2, help="times that a run disturbed by other programs is repeated [2]")
    parser.add_argument("--quick", action="store_true", help="one round, no warming up, without " + " and ".join(NOT_QUICK))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numpy suite: 1 is some 60 s of work alone [1]")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of %s [all]" % ", ".join(BENCHMARKS))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown or options.rounds < 1:
        parser.error("unknown benchmark: %s" % ", ".join(sorted(unknown)) if unknown else "--rounds must be 1 or more")
    if options.quick:
        options.rounds, options.retries, options.wait = 1, 0, 0
    built = [os.path.join(BUILD, "bin", name) for name in PROGRAMS]
    for needed in built + [VENV]:
        if not os.access(needed, os.X_OK):
            print("%s is missing: use tools/dev bench" % needed, file=sys.stderr)
            return 2
    measure.become_subreaper()
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(os.path.join(WORK, "bin"))
    for program in built:
        shutil.copy(program, os.path.join(WORK, "bin"))
    if os.path.isdir(os.path.join(BUILD, "bin", "agents")):  # what is sent to other hosts
        shutil.copytree(os.path.join(BUILD, "bin", "agents"), os.path.join(WORK, "bin", "agents"))
    b = Bench(options)
    head, broken = machine(), b.broken
    print(head, flush=True)
    for name in options.names or [n for n in BENCHMARKS if not (options.quick and n in NOT_QUICK)]:
        b.current = name
        b.say("begins")
        try:
            BENCHMARKS[name](b)
        except (measure.Failure, OSError, subprocess.SubprocessError) as e:
            broken.append(name)
            b.note("%s could not be measured: %s" % (name, e))
        except KeyboardInterrupt:  # what is there is told
            broken.append(name)
            b.note("%s was interrupted; what would follow was left out" % name)
            break
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    for name, loads in b.kept.items():
        if max(loads) > QUIET:
            b.note("%s: %d of %d runs were disturbed: other programs took up to %.2f processors" %
                   (name, sum(load > QUIET for load in loads), len(loads), max(loads)))
    print(b.table())
    for note in b.notes:
        print(note)
    with open(os.path.join(BUILD, "bench.json"), "w") as f:
        json.dump({"machine": head, "when": time.time(), "rounds": options.rounds, "rows": b.rows, "notes": b.notes, "runs": b.raw}, f, indent=1)
    return 2 if broken else 1 if any(row["ok"] is False for row in b.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
