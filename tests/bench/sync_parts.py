"""The parts of bench sync.  Each adds rows; a goal is that of the sync's issue, as a ratio to rsync -a in the same rounds."""
import os
import re
import subprocess
from contextlib import nullcontext
from statistics import median

import measure
import sync_edits
import sync_place
from sync_opens import Opens

EIGHT = 8
MIB = 1 << 20
SCAN = re.compile(r"(elapsed|processor) +bare walk +[\d.]+ \(median +([\d.]+)\), +scan +[\d.]+ \(median +([\d.]+)\): x +[\d.]+ \(x +([\d.]+)\)")


def column(results, key="wall"):
    return [r[key] for r in results]


def cells_of(results, key="wall", names=("xd", "rsync", "tar", "execnet")):
    return {side: column(results[side], key) for side in names if side in results and results[side][0].get(key) is not None}


def kinds(b):
    return ("django",) if b.options.quick else ("django", "cpython")


# first copies

def first_copy(b, kind, sides, count=None):
    snapshot = sync_place.snapshot(b.tree(kind)[0])

    def one(side):
        sync_place.snapshot(b.tree(kind)[0])  # warm
        sync_place.warm_memory()
        return b.sync(side, kind, first=True, snapshot=snapshot)
    results = b.rounds(sides, one, count=count)
    cells = cells_of(results)
    b.row("first copy, %s" % kind, "s", cells, "rsync", 0.5)
    b.row("  the same, to tar over ssh", "s", {"xd": cells["xd"], "tar": cells["tar"]}, "tar", 0.8)
    if "pipe" in results:
        b.row("  the same, agent running; rsync over pipes", "s", {"xd": column(results["xd"], "warm"), "rsync": column(results["pipe"])}, "rsync", 0.5)
    b.row("  bytes", "B", cells_of(results, "bytes"), "rsync")
    return results


def part_first(b):
    for kind in kinds(b):
        first_copy(b, kind, ("xd", "rsync", "tar", "execnet") + (() if b.options.quick else ("pipe",)))


# what comes later

def later(b, kind, name, edit, goals, sides=None, count=None):
    """goals: with a running agent, connection included."""
    sides = sides or ("xd", "rsync", "pipe", "popen") + (() if b.options.quick else ("execnet",))
    state = {}

    def before():
        if edit:
            edit()
        state["snapshot"] = sync_place.snapshot(b.tree(kind)[0])

    def one(side):
        sync_place.snapshot(b.tree(kind)[0])  # warm
        return b.sync(side, kind, snapshot=state["snapshot"])
    prepared(b, kind, sides)
    results = b.rounds(sides, one, before, count)
    warm = {"xd": [min(over_ssh["warm"], here["wall"]) for over_ssh, here in zip(results["xd"], results["popen"])], "rsync": column(results["pipe"])}
    b.row("%s, %s, agent running; rsync over pipes" % (name, kind), "s", warm, "rsync", goals[0])
    b.row("  connection included", "s", cells_of(results), "rsync", goals[1])
    b.row("  xdctl sync popen:DIR, its whole process; rsync over pipes", "s", {"xd": column(results["popen"]), "rsync": column(results["pipe"])}, "rsync")
    return results


def prepared(b, kind, sides):
    """Every side stands at the tree as it is now."""
    snapshot = sync_place.snapshot(b.tree(kind)[0])
    for side in sides:
        os.makedirs(os.path.dirname(b.sides.folder(side, kind, "h1")[1]), exist_ok=True)
        b.sync(side, kind, snapshot=snapshot)


def part_noop(b):
    for kind in kinds(b):
        results = later(b, kind, "no-op", None, (0.25, 0.5))
        payload = column(results["xd"], "bytes")
        b.row("  bytes, both ways", "B", cells_of(results, "bytes"), goal=100, value=median(payload))
        told = results["xd"][-1]["stats"][0]
        b.row("  files read again", "files", {"xd": [told["hashed_files"]]}, goal=0, value=told["hashed_files"])


def part_one(b):
    for kind in kinds(b):
        later(b, kind, "1 file", lambda: b.tree(kind)[1].change(1), (0.25, 0.5))


def part_hundred(b):
    for kind in kinds(b):
        sides = ("xd", "rsync", "rsync-z", "pipe", "popen") + (() if b.options.quick else ("execnet",))
        results = later(b, kind, "100 files", lambda: b.tree(kind)[1].change(100), (0.3, 0.5), sides)
        b.row("  bytes; rsync -z", "B", {"xd": column(results["xd"], "bytes"), "rsync": column(results["rsync-z"], "bytes")}, "rsync", 1.0)


def part_rename(b):
    for kind in kinds(b):
        results = later(b, kind, "rename", lambda: b.tree(kind)[1].rename(), (0.25, 0.5))
        b.row("  bytes", "B", cells_of(results, "bytes"), "rsync")


def part_big(b):
    """One file of 1 GiB that does not compress."""
    path = os.path.join(b.tree("big")[0], "big.bin")
    count = min(5, b.options.rounds)
    results = first_copy(b, "big", ("xd", "rsync", "tar"), count)
    bulk(b, path, results["xd"])
    seeds = iter(range(1000))
    for name, edit, goal in (("1 % of the blocks of 1 GiB", lambda: sync_edits.rewrite_blocks(path, next(seeds)), 0.35),
                             ("100 bytes inserted into 1 GiB", lambda: sync_edits.insert(path, next(seeds)), 0.5)):
        results = big_edit(b, name, edit, goal, count)
        b.row("  bytes", "B", cells_of(results, "bytes"), "rsync")
    b.drop("big")


def big_edit(b, name, edit, goal, count):
    state = {}

    def before():
        edit()
        state["snapshot"] = sync_place.snapshot(b.tree("big")[0])
        sync_place.settle(b.folder)

    def one(side):
        sync_place.snapshot(b.tree("big")[0])
        sync_place.warm_memory()
        return b.sync(side, "big", snapshot=state["snapshot"])
    results = b.rounds(("xd", "rsync"), one, before, count)
    b.row(name, "s", cells_of(results), "rsync", goal)
    return results


def bulk(b, path, first):
    """What libssh itself moves, to `cat >/dev/null` on the same host, beside the first copies of the same file, from the standing connection on."""
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "tests", "libssh_bench")
    seconds = []
    if os.access(program, os.X_OK):
        host = b.lab["h1"]
        for _ in range(len(first)):
            sync_place.snapshot(os.path.dirname(path))
            found = b.call("libssh", [program, host.address, str(host.port), host.user, str(b.lab.key), str(b.lab.known_hosts), path])
            seconds.append(float(found["out"].split()[0]))
    else:
        b.note("bulk: build/tests/libssh_bench is not built: beside ssh's own program")
        for _ in range(len(first)):
            with open(path, "rb") as f:
                seconds.append(b.call("ssh", b.lab.ssh_argv("h1") + ["cat >/dev/null"], stdin=f)["wall"])
    size = os.path.getsize(path)
    mine = [one["stats"][0]["duration_us"] / 1e6 for one in first]
    b.row("bulk: MiB/s, from the standing connection on", "MiB/s", {"xd": [size / s / MIB for s in mine]})
    b.row("  time, to that of libssh alone (%.0f MiB/s)" % (size / median(seconds) / MIB), "s", {"xd": mine}, goal=1.25, ratios=[median(mine) / median(seconds)])


def part_fifty(b):
    count = min(3, b.options.rounds)
    first_copy(b, "fifty", ("xd", "rsync", "tar"), count)
    later(b, "fifty", "no-op", None, (0.25, 0.5), ("xd", "rsync", "pipe", "popen"), count)
    b.drop("fifty")


# many hosts, hosts far away

def part_eight(b):
    """Eight hosts at once, all on this machine: one xdctl, eight rsyncs."""
    hosts = [host.name for host in b.lab.hosts][:EIGHT]
    source = b.tree("django")[0]
    snapshot = sync_place.snapshot(source)
    destinations = ["%s:%s" % (b.lab.spec(name), b.sides.folder("xd", "django", name)[0]) for name in hosts]
    opened = {}

    def xd(count, first=False):
        for name in hosts if first else ():
            b.empty("xd", "django", name)
        sync_place.snapshot(source)
        with Opens(source) if first else nullcontext() as opens:
            found = b.call("xd", b.sides.xd(source, destinations[:count]))
        if first:
            opened[count] = opens.count
        for name in hosts[:count]:
            sync_place.check(snapshot, b.sides.folder("xd", "django", name)[1], "xd")
        return found

    def rsyncs():
        sync_place.snapshot(source)
        for name in hosts:
            os.makedirs(os.path.dirname(b.sides.folder("rsync", "django", name)[1]), exist_ok=True)
        lines = [" ".join("'%s'" % word for word in b.sides.argv("rsync", source, "django", name)) for name in hosts]
        found = b.call("rsync", ["sh", "-c", " & ".join(lines) + " & wait"])
        for name in hosts:
            sync_place.check(snapshot, b.sides.folder("rsync", "django", name)[1], "rsync")
        return found
    rsyncs()
    files = xd(1, first=True)["stats"][0]["scanned_files"]
    hashed = max(one["hashed_files"] for one in xd(EIGHT, first=True)["stats"])
    if None in opened.values():
        b.note("eight: it could not be counted how often files were opened")
    else:
        b.row("8 hosts, first copy: files opened at the source; 1 host: %d" % opened[1], "files", {"xd": [opened[EIGHT]]}, goal=1.05 * opened[1], value=opened[EIGHT])
    b.row("  files hashed, of %d" % files, "files", {"xd": [hashed]}, goal=files, value=hashed)
    results = b.rounds(("xd", "rsync"), lambda side: xd(EIGHT) if side == "xd" else rsyncs())
    b.row("8 hosts at once, no-op, django; 8 rsyncs", "s", cells_of(results), "rsync", 0.35)


def part_rtt(b):
    """Over links with a round-trip time.  What is said in trips is the time beyond that of the same call on a link without delay."""
    if not b.lab.namespaces:
        b.note("rtt: needs network namespaces, and there are none here")
        return
    snapshot = sync_place.snapshot(b.tree("django")[0])
    count = min(3, b.options.rounds)
    prepared(b, "django", ("xd", "rsync"))

    def one(name):
        side, what, rtt = name.split()
        b.lab.set_link("h1", rtt_ms=int(rtt))
        try:
            if side == "ssh":
                return b.call("ssh", b.lab.ssh_argv("h1") + ["true"])
            return b.sync(side, "django", first=what == "first", snapshot=snapshot)
        finally:
            b.lab.set_link("h1", rtt_ms=0)
    for rtt in (50, 100):
        sides = tuple("%s %s %d" % (side, what, ms) for side, what in (("xd", "noop"), ("rsync", "noop"), ("ssh", "true")) for ms in (0, rtt))
        results = b.rounds(sides, one, count=count)
        trips = {side: [(far["wall"] - near["wall"]) * 1000 / rtt for far, near in zip(results["%s %s %d" % (side, what, rtt)], results["%s %s 0" % (side, what)])]
                 for side, what in (("xd", "noop"), ("rsync", "noop"), ("ssh", "true"))}
        own = [r["stats"][0]["duration_us"] / 1000 / rtt for r in results["xd noop %d" % rtt]]
        b.row("%d ms away, no-op, django" % rtt, "s", {side: column(results["%s noop %d" % (side, rtt)]) for side in ("xd", "rsync")}, "rsync")
        b.row("  round trips from the standing connection to the end", "trips", {"xd": own}, goal=1.2, value=median(own))
        b.row("  round trips in all (ssh host true: %.1f)" % median(trips["ssh"]), "trips", {side: trips[side] for side in ("xd", "rsync")})
    first_far(b, one, count)


def first_far(b, one, count):
    """Beyond the transfer itself: `ssh host cat` of as many bytes, which do not compress, over the same link, less ssh host true."""
    rtt = 100
    results = b.rounds(("xd first 0", "xd first 100", "ssh true 100"), one, count=count)
    blob = os.path.join(b.folder, "blob")
    with open(blob, "wb") as f:
        f.write(os.urandom(results["xd first 100"][0]["stats"][0]["wire_bytes"]))
    transfer = []
    b.lab.set_link("h1", rtt_ms=rtt)
    try:
        for _ in range(count):
            with open(blob, "rb") as f:
                transfer.append(b.call("ssh", b.lab.ssh_argv("h1") + ["cat >/dev/null"], stdin=f)["wall"])
    finally:
        b.lab.set_link("h1", rtt_ms=0)
    os.unlink(blob)
    far, near = ([r["stats"][0]["duration_us"] / 1e6 for r in results["xd first %d" % ms]] for ms in (rtt, 0))
    moved = median(transfer) - median(column(results["ssh true 100"]))
    b.row("100 ms away, first copy, django", "s", {"xd": column(results["xd first 100"])})
    b.row("  round trips beyond 0 ms, from the standing connection on", "trips", {"xd": [(x - y) * 1000 / rtt for x, y in zip(far, near)]})
    beyond = [(x - y - moved) * 1000 / rtt for x, y in zip(far, near)]
    b.row("  and beyond the transfer alone (%.2f s by ssh)" % moved, "trips", {"xd": beyond}, goal=4, value=median(beyond))


# memory, scan

def part_memory(b):
    """The largest of each kind of process while 80,000 files are brought, and while nothing is to be brought."""
    snapshot = sync_place.snapshot(b.tree("many")[0])
    for first in (True, False):
        found = {}
        for side in ("xd", "rsync"):
            for (_pid, line), kib in b.sync(side, "many", first=first, snapshot=snapshot, hosts=[b.lab["h1"]])["peaks"].items():
                kind = "home" if line == "home" else "far, --receive" if "--receive" in line else "far" if "xdagent" in line or "rsync --server" in line else None
                if kind:
                    found[(side, kind)] = max(kib / 1024, found.get((side, kind), 0))
        what = "80,000 files, first copy" if first else "80,000 files, no-op"
        for kind in ("home", "far", "far, --receive"):
            cells = {side: [found[(side, kind)]] for side in ("xd", "rsync") if (side, kind) in found}
            if "xd" in cells:
                b.row("memory, %s: %s" % (what, kind), "MiB", cells, goal=25, value=cells["xd"][0])
    b.drop("many")


def part_scan(b):
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "tests", "scan_bench")
    if not os.access(program, os.X_OK):
        b.note("scan: build/tests/scan_bench is not built")
        return
    for kind in ("django", "many"):
        folder = b.tree(kind)[0]
        sync_place.snapshot(folder)
        done = subprocess.run([program, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=120)
        if done.returncode != 0:
            raise measure.Failure("scan_bench: exit code %d: %s" % (done.returncode, done.stdout[-300:]))
        for kind_of_time, walk, scan, ratio in SCAN.findall(done.stdout):
            b.row("scan, %s, %s; beside a bare walk (getdents, statx): %s ms" % (kind, kind_of_time, walk), "ms", {"xd": [float(scan)]}, goal=1.3, ratios=[float(ratio)])
        for line in done.stdout.splitlines():
            b.note("scan, %s: %s" % (kind, " ".join(line.split())))


PARTS = {
    "first": part_first,
    "noop": part_noop,
    "one": part_one,
    "hundred": part_hundred,
    "rename": part_rename,
    "eight": part_eight,
    "rtt": part_rtt,
    "fifty": part_fifty,
    "scan": part_scan,
    "memory": part_memory,
    "big": part_big,
}
QUICK = ["first", "noop", "one", "hundred", "rename"]
