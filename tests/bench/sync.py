#!/usr/bin/env python3
"""The benchmarks of xdctl sync, beside what people use for it: rsync, tar over ssh, execnet's RSync.  Called by `tools/dev bench sync`.

    tools/dev bench sync [--part NAME ...] [--quick]

Real sshds, on hosts of the lab (tests/lab); sources and destinations on one ext4 with a journal (sync_place.py), on trees that are made here
(trees.py, edits: sync_edits.py).  The sides of a row run in turn (A B C, B C A, ...) on the same edit of the same tree, which was read before and so is in the page cache.
After each call its destination is compared with the source by a walk of our own, contents, modes, times and links: a wrong copy fails the bench.
A cell is the median of the rounds; a ratio is the median of the ratios within each round; a round that other programs disturbed is repeated where
time allows, and the least disturbed ones count.

"Agent running" is what a sync within a run takes.  xd: the smaller of two bounds, its scan and then what lies between the standing connection and the
end, as --stats=json tells (in truth they overlap), and the whole process of a sync without ssh.  Beside it: rsync over two pipes, without ssh.  Bytes are those of each program's own account, without ssh.
The goals are those of the sync's issue, in ratios to rsync -a of the same round.  Nothing here gates: exit code 0, or 1 if a copy was wrong or a part
could not be measured.  Writes build/bench-sync.json too.  Parts are those of sync_parts.py.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import measure  # noqa: E402
import sync_edits  # noqa: E402
import sync_parts  # noqa: E402
import sync_place  # noqa: E402
import sync_sides  # noqa: E402
import trees  # noqa: E402
from lab import Lab, Unavailable  # noqa: E402

BUILD = os.path.join(ROOT, "build")
VENV = os.path.join(BUILD, "venv", "bin", "python")
QUIET = 0.15  # processors that others may take during a round
WAITING_S = 150  # in all, for a quiet machine
COLUMNS = ("xd", "rsync", "tar", "execnet")
NEEDED = (os.path.join(BUILD, "bin", "xdctl"), os.path.join(BUILD, "bin", "xdagent"), VENV)


class Bench(object):
    def __init__(self, options, folder, lab):
        self.options, self.folder, self.lab = options, folder, lab
        self.rows, self.notes, self.raw, self.broken, self.loads = [], [], [], [], []
        self.waiting, self.part, self.part_end = 0 if options.quick else WAITING_S, "", 0
        xdctl = os.path.join(folder, "bin", "xdctl")
        foreign = ("XD_", "XDG_", "PYTHON", "VIRTUAL_ENV", "RSYNC_", "SSH_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env.update(XDG_STATE_HOME=os.path.join(folder, "state"), XDG_CACHE_HOME=os.path.join(folder, "cache"))
        self.sides = sync_sides.Sides(lab, folder, xdctl, VENV)
        self.made = {}

    # trees and destinations

    def tree(self, kind):
        """(folder, edits), made once."""
        if kind not in self.made:
            folder = os.path.join(self.folder, "from", kind)
            self.say("makes " + kind)
            trees.make(kind, folder)
            sync_edits.links(folder)
            self.made[kind] = folder, sync_edits.Edits(folder)
        return self.made[kind]

    def empty(self, side, tree, host="h1"):
        """Before a first copy: nothing is there, and xd remembers neither this source nor this destination."""
        shutil.rmtree(self.sides.folder(side, tree, host)[1], ignore_errors=True)
        os.makedirs(os.path.dirname(self.sides.folder(side, tree, host)[1]), exist_ok=True)
        if side in ("xd", "popen"):
            self.forget(side)
        sync_place.settle(self.folder)

    def forget(self, side="xd"):
        shutil.rmtree(os.path.join(self.cache(side), "xd", "sync"), ignore_errors=True)

    def cache(self, side):
        """Each of xd's sides has a memory of its own: none scans for the other."""
        return os.path.join(self.folder, "cache-popen") if side == "popen" else self.env["XDG_CACHE_HOME"]

    def drop(self, *kinds):
        """Sources and destinations that no later part needs."""
        for tree in kinds:
            self.made.pop(tree, None)
            shutil.rmtree(os.path.join(self.folder, "from", tree), ignore_errors=True)
            for host in self.lab.hosts:
                for side in os.listdir(str(host.home / "to")) if (host.home / "to").exists() else ():
                    shutil.rmtree(str(host.home / "to" / side / tree), ignore_errors=True)
        sync_place.settle(self.folder)

    # one call

    def call(self, side, argv, **more):
        env = dict(self.env, XDG_CACHE_HOME=self.cache(side))
        found = sync_sides.call(self.lab, argv, env, os.path.join(self.folder, "output"), **more)
        found["stats"] = sync_sides.told_by_xd(found["out"]) if side in ("xd", "popen") else None
        if found["stats"]:
            found["bytes"] = sum(one["wire_bytes"] + one["wire_back_bytes"] for one in found["stats"])
            found["warm"] = max(one["scan_us"] + one["duration_us"] for one in found["stats"]) / 1e6
            bad = [one for one in found["stats"] if one.get("error")]
            if bad:
                raise sync_place.Wrong("xd says: %s" % bad[0]["error"])
        else:
            found["bytes"] = sync_sides.told_by_rsync(found["out"])
        self.raw.append({"part": self.part, "side": side, **{k: v for k, v in found.items() if k not in ("out", "peaks")}})
        return found

    def sync(self, side, kind, host="h1", first=False, snapshot=None, **more):
        """One synchronisation, checked.  snapshot: of the source, if it is known."""
        source = self.tree(kind)[0]
        if first:
            self.empty(side, kind, host)
        want = snapshot if snapshot is not None else sync_place.snapshot(source)
        found = self.call(side, self.sides.argv(side, source, kind, host), **more)
        sync_place.check(want, self.sides.folder(side, kind, host)[1], side, strict=side not in ("execnet", "tar"))
        return found

    # rounds

    def rounds(self, sides, one, before=None, count=None):
        """{side: [result, ...]}: one(side) for each side in turn, after before(), in each round."""
        count, kept = count or self.options.rounds, []
        for n in range(count + 2):
            if n >= count and (self.waiting <= 0 or sum(r[0] <= QUIET for r in kept) >= count):
                break
            if n and time.monotonic() > min(self.options.deadline, self.part_end):
                break
            begin = time.monotonic()
            measure.wait_for_quiet(min(self.options.wait, self.waiting))
            self.waiting = max(0, self.waiting - (time.monotonic() - begin - 0.5))
            if before:
                before()
            found = {}
            for side in [sides[(n + k) % len(sides)] for k in range(len(sides))]:
                self.say("round %d, %s" % (n + 1, side))
                found[side] = one(side)
            kept.append((max(f["others_cpu"] / f["wall"] for f in found.values()), found))
        kept = sorted(kept, key=lambda r: r[0])[:count]
        self.loads += [load for load, _ in kept]
        return {side: [found[side] for _, found in kept] for side in sides}

    # the table

    def say(self, text):
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K%s: %s" % (self.part, text))
            sys.stderr.flush()

    def row(self, name, unit, cells, to=None, goal=None, value=None, ratios=None):
        """cells: {column: [number, ...]}, in pairs.  With `to`, the figure is the median ratio of xd to it; with value, that."""
        if to:
            ratios = [x / y for x, y in zip(cells["xd"], cells[to]) if y]
        figure = median(ratios) if ratios else value
        self.rows.append({"part": name, "unit": unit, "cells": cells, "to": to, "ratios": ratios, "figure": figure, "goal": goal,
                          "ok": None if goal is None or figure is None else figure <= goal})

    def note(self, text):
        self.notes.append(text)

    def table(self):
        def cell(row, side):
            values = row["cells"].get(side)
            return "-" if not values else number(median(values)) + " " + row["unit"]

        lines = [["part", "xd", "rsync -a", "tar, ssh", "execnet", "figure", "goal", "met?"]]
        for row in self.rows:
            figure = "-" if row["figure"] is None else "%.2f of %s" % (row["figure"], row["to"]) if row["to"] else number(row["figure"]) + ("" if row["ratios"] else " " + row["unit"])
            lines.append([row["part"]] + [cell(row, side) for side in COLUMNS] + [figure, "-" if row["goal"] is None else "<= %g" % row["goal"],
                                                                                 {None: "-", True: "yes", False: "NO"}[row["ok"]]])
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        lines.insert(1, ["-" * w for w in widths])
        return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths)).rstrip() for line in lines)


def number(x):
    return "%.1fM" % (x / 1e6) if x >= 1e6 else "%.0f" % x if x >= 100 else "%.1f" % x if x >= 10 else "%.2f" % x if x >= 0.1 else "%.3f" % x


def machine(where):
    with open("/proc/cpuinfo") as f:
        model = next((line.partition(": ")[2].strip() for line in f if line.startswith("model name")), "?")
    versions = [subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True).stdout.split("\n")[0].split(",")[0].partition("  protocol")[0]
                for argv in (["rsync", "--version"], ["ssh", "-V"], ["tar", "--version"], [VENV, "-c", "import execnet; print('execnet', execnet.__version__)"])]
    return "%s; %d processors (%s), Linux %s, load %.2f before the start; %s" % (
        ", ".join(versions), len(os.sched_getaffinity(0)), model, platform.release(), os.getloadavg()[0], where)


def measure_all(b, parts):
    for name in parts:
        b.part = name
        if time.monotonic() > b.options.deadline:
            b.note("%s was left out: the time is over" % name)
            continue
        begin = time.monotonic()
        b.part_end = begin + b.options.limit / len(parts) if b.options.quick else b.options.deadline
        try:
            sync_parts.PARTS[name](b)
        except (measure.Failure, OSError, subprocess.SubprocessError, ValueError, KeyError) as e:
            b.broken.append(name)
            b.note("%s FAILED: %s: %s" % (name, type(e).__name__, e))
        except KeyboardInterrupt:
            b.broken.append(name)
            b.note("%s was interrupted; what would follow was left out" % name)
            break
        b.note("%s took %.0f s" % (name, time.monotonic() - begin))
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")


def work(options, parts, folder):
    why = None if options.here else sync_place.mount(os.path.join(BUILD, "bench-sync.img"), folder)
    where = "loop-mounted ext4 with a journal" if not why and not options.here else "in %s (%s)" % (folder, why or "as asked for")
    os.makedirs(os.path.join(folder, "bin"))
    for program in NEEDED[:2]:  # copies: a build in between must not change what is measured
        shutil.copy(program, os.path.join(folder, "bin"))
    agents = os.path.join(BUILD, "bin", "agents")
    if os.path.isdir(agents):
        shutil.copytree(agents, os.path.join(folder, "bin", "agents"))
    os.mkdir(os.path.join(folder, "lab"))
    head = machine(where)
    print(head, flush=True)
    with Lab.best([{"python": VENV, "sshd": ["MaxStartups 100"]}] * (sync_parts.EIGHT if "eight" in parts else 1), os.path.join(folder, "lab")) as lab:
        b = Bench(options, folder, lab)
        measure_all(b, parts)
    if sync_place.left_over:
        b.note("xd left %s in %d destinations, as if it had been cut: the next synchronisation looks at all again" % (sync_place.UNFINISHED.decode(), len(sync_place.left_over)))
    print(b.table())
    for note in b.notes:
        print(note)
    if b.loads:
        print("other programs took %.2f processors in the median round, %.2f in the worst; %d of %d rounds more than %g" % (
            median(b.loads), max(b.loads), sum(load > QUIET for load in b.loads), len(b.loads), QUIET))
    with open(os.path.join(BUILD, "bench-sync.json"), "w") as f:
        json.dump({"machine": head, "when": time.time(), "rows": b.rows, "notes": b.notes, "loads": b.loads, "runs": b.raw}, f, indent=1)
    return 1 if b.broken else 0


def main():
    parser = argparse.ArgumentParser(prog="tools/dev bench sync", description="xdctl sync beside rsync, tar over ssh and execnet.")
    parser.add_argument("--part", action="append", default=[], choices=sorted(sync_parts.PARTS), help="only this one; more than one is possible")
    parser.add_argument("--quick", action="store_true", help="3 rounds of the parts %s on one tree, a minute at most" % ", ".join(sync_parts.QUICK))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row, 3 at most of large trees [5]")
    parser.add_argument("--wait", type=float, default=5, help="before each round wait up to so many seconds until the machine is quiet [5]")
    parser.add_argument("--limit", type=float, default=1150, help="no part and no round but a first one begins after so many seconds [1150; 45 with --quick]")
    parser.add_argument("--here", metavar="DIR", help="work in this folder, which must not exist, instead of a loop-mounted file system")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for needed in NEEDED:
        if not os.access(needed, os.X_OK):
            parser.error("%s is missing: use tools/dev bench sync" % needed)
    if options.quick:
        options.rounds, options.wait, options.limit = 3, 0, min(options.limit, 45)
    options.deadline = time.monotonic() + options.limit
    parts = options.part or (sync_parts.QUICK if options.quick else list(sync_parts.PARTS))
    folder = options.here or tempfile.mkdtemp(prefix="xd-bench-sync-")
    os.makedirs(folder, exist_ok=True)
    try:
        return work(options, parts, folder)
    except Unavailable as e:
        print("no lab: %s" % e, file=sys.stderr)
        return 1
    finally:
        subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
