"""Workers on hosts reached by ssh, beside their peers on the same hosts in the same rounds: `ssh host true`, pytest-xdist's ssh workers, xd's own popen.

The hosts are those of the lab (tests/lab): network namespaces of this machine, an sshd each.  All sides run inside the lab, so all pay for nsenter.
pytest-xdist brings its files by rsync, as it always does for ssh; what is measured is a warm host: it has them from the run before, as it has xd's agent."""
import os
import re
import shutil
import subprocess
import sys
import time
from statistics import median

import measure
import suites

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from lab import Lab, Unavailable, linux  # noqa: E402

LIMIT_S = 300
RTT_MS = 50
LONG_RTT_MS = 400
STREAM_MIB = 128
FAR = "/root/suites"  # on the hosts


class Side(object):
    """What runs one suite one way: over ssh or popen, by xd or xdist."""

    def __init__(self, bench, lab, folder, programs):
        self.bench, self.lab, self.folder = bench, lab, folder
        self.name = os.path.basename(folder)
        self.xdctl, self.python = programs
        for host in lab.hosts:
            far = host.home / "suites" / self.name
            shutil.rmtree(str(far), ignore_errors=True)
            shutil.copytree(folder, str(far))

    def xd(self, specs, *extra):
        tx = [word for spec in specs for word in ("--tx", spec)]
        return [self.xdctl, "run"] + tx + list(extra) + ["-p", "no:cacheprovider"], self.folder

    def xd_ssh(self, *counts, **env):
        """counts: workers of h1, h2, ..."""
        parts = "".join("//env:%s=%s" % pair for pair in env.items())
        return self.xd(["%d*%s%s" % (count, self.lab.spec(host.name, chdir=FAR + "/" + self.name, python="python3"), parts)
                        for count, host in zip(counts, self.lab.hosts)])

    def xd_popen(self, count):
        return self.xd(["%d*popen//python=%s" % (count, self.python)])

    def xdist(self, *counts, **env):
        parts = "".join("//env:%s=%s" % pair for pair in env.items())
        tx = [word for count, host in zip(counts, self.lab.hosts)
              for word in ("--tx", "%d*%s%s" % (count, self.lab.spec(host.name, python="python3", chdir="/root/xdist"), parts))]
        return [self.python, "-m", "pytest", "-p", "no:cacheprovider", "-d"] + tx + ["--rsyncdir", self.folder, self.folder], self.folder


def lab_cpu(pid):
    """CPU time of the lab so far, with what its processes have waited for."""
    used = 0
    for one in [pid] + linux.descendants(pid):
        try:
            with open("/proc/%d/stat" % one) as f:
                used += sum(map(int, f.read().rpartition(")")[2].split()[11:15]))
        except OSError:
            pass
    return used / os.sysconf("SC_CLK_TCK")


def timed(b, lab, command, passed=None):
    """One run from outside; its report must tell `passed` tests."""
    argv, cwd = command
    output = os.path.join(os.path.dirname(b.env["XDG_STATE_HOME"]), "output.txt")
    own, busy, theirs = measure.children_cpu(), measure.machine_cpu(), lab_cpu(lab.process.pid)
    with open(output, "wb") as out:
        start = time.monotonic()
        process = lab.popen(argv, cwd=cwd, env=b.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            code = process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise measure.Failure("no end after %d s: %s" % (LIMIT_S, " ".join(argv)))
        wall = time.monotonic() - start
    others = measure.machine_cpu() - busy - (measure.children_cpu() - own) - (lab_cpu(lab.process.pid) - theirs)
    with open(output, errors="replace") as f:
        text = f.read()
    if code != 0 or (passed is not None and not re.search(r"\b%d passed\b" % passed, text)):
        raise measure.Failure("%s: exit code %s, its output ends with: %s" % (" ".join(argv)[:200], code, text.strip()[-400:]))
    found = {"start": start, "wall": wall, "code": code, "others_cpu": max(0, others)}
    b.raw.append(dict(found, name=b.current, side=" ".join(argv[:2])))
    return found


def ssh_true(lab, *names):
    """One ssh, or one to each host at once."""
    if len(names) == 1:
        return lab.ssh_argv(names[0]) + ["true"], "/"
    return ["sh", "-c", " ".join("%s true &" % " ".join(lab.ssh_argv(name)) for name in names) + " wait"], "/"


def to_first(b, lab, command, passed):
    """From the start of the program to the body of the first test, by the clock that all hosts share."""
    mark = lab.hosts[0].home / "mark"
    if mark.exists():
        mark.unlink()
    found = timed(b, lab, command, passed)
    found["first"] = float(mark.read_text()) - found["start"]
    return found


def told(b, name, cells):
    b.note("%s: medians: %s" % (name, ", ".join("%s %.2f s" % (side, median(values)) for side, values in cells.items())))


def rows(b, name, cells, *targets):
    """One row per peer: (side, target)."""
    for side, target in targets:
        b.row("%s, to %s" % (name, side), "s", {"xd": cells["xd"]}, [x / y for x, y in zip(cells["xd"], cells[side])], target)
    told(b, name, cells)


def first_test(b, lab, make):
    """Of pytest, with the start of its interpreter, import and collection; plain pytest started by ssh pays for these too."""
    side = make("first1", suites.first)
    env = {"XD_BENCH_MARK": "/root/mark"}
    plain = "cd %s/first1 && XD_BENCH_MARK=/root/mark python3 -m pytest -p no:xdist -p no:cacheprovider" % FAR
    sides = {"xd": side.xd_ssh(1, **env), "xdist": side.xdist(1, **env), "ssh pytest": (lab.ssh_argv("h1") + [plain], "/")}

    def one(name):
        return timed(b, lab, ssh_true(lab, "h1")) if name == "ssh true" else to_first(b, lab, sides[name], 160)
    results = b.rounds(("xd", "xdist", "ssh pytest", "ssh true"), one)
    cells = {name: [r["wall" if name == "ssh true" else "first"] for r in ones] for name, ones in results.items()}
    rows(b, "ssh, start to the first pytest test", cells, ("ssh true", None), ("ssh pytest", None), ("xdist", 0.5))


def command_run(lab, make):
    """Connection, hand-shake, one test that needs no interpreter, and the end."""
    side = make("command1", lambda folder: suites.write(folder, [("list.txt", "/bin/true\n")]))
    return [side.xdctl, "run", "--runner", "command", "--list", "list.txt", "--tx", lab.spec("h1", chdir=FAR + "/command1")], side.folder


def one_command(b, lab, make):
    argv, cwd = command_run(lab, make)
    sides = {"libssh": (argv + ["--ssh=libssh"], cwd), "openssh": (argv + ["--ssh=openssh"], cwd)}

    def one(name):
        return timed(b, lab, ssh_true(lab, "h1")) if name == "ssh true" else timed(b, lab, sides[name], 1)
    cells = {name: [r["wall"] for r in ones] for name, ones in b.rounds(("libssh", "openssh", "ssh true"), one).items()}
    for side in sides:
        rows(b, "%s, a run of one command test" % side, {"xd": cells[side], "ssh true": cells["ssh true"]}, ("ssh true", 1.3))


def throughput(b, lab, make):
    """What one test writes to its standard output, with -s, less the same run of a test that writes nothing; beside `ssh host cat` of as much."""
    text = "import os\ndef test_a():\n    for _ in range(%d): os.write(1, b'x' * 65535 + b'\\n')\n"
    big, small = (make("stream%d" % mib, lambda folder, mib=mib: suites.write(folder, [("test_a.py", text % (mib * 16))])) for mib in (STREAM_MIB, 0))
    with open(str(lab.hosts[0].home / "stream"), "wb") as f:
        for _ in range(STREAM_MIB * 16):
            f.write(b"x" * 65535 + b"\n")

    def xd(side):
        argv, cwd = side.xd_ssh(1)
        return argv[:2] + ["--output-limit=1G"] + argv[2:] + ["-s"], cwd
    def here(side):
        argv, cwd = side.xd_popen(1)
        return argv[:2] + ["--output-limit=1G"] + argv[2:] + ["-s"], cwd
    sides = {"big": xd(big), "small": xd(small), "big here": here(big), "small here": here(small),
             "cat": (lab.ssh_argv("h1") + ["cat stream"], "/"), "true": ssh_true(lab, "h1")}
    walls = {name: [r["wall"] for r in ones] for name, ones in
             b.rounds(tuple(sides), lambda name: timed(b, lab, sides[name], 1 if name[:3] in ("big", "sma") else None)).items()}
    less = {"xd": ("big", "small"), "ssh cat": ("cat", "true"), "popen": ("big here", "small here")}
    cells = {name: [x - y for x, y in zip(walls[whole], walls[empty])] for name, (whole, empty) in less.items()}
    rows(b, "ssh, %d MiB of output of a test, less a run without" % STREAM_MIB, cells, ("ssh cat", None), ("popen", None))


def sixteen(b, lab, make):
    side = make("first16", suites.first)
    env = {"XD_BENCH_MARK": "/root/mark"}
    sides = {"xd": side.xd_ssh(16, **env), "xdist": side.xdist(16, **env)}
    results = b.rounds(("xd", "xdist"), lambda name: to_first(b, lab, sides[name], 160))
    rows(b, "ssh, 16 workers on one host, start to the first test", {n: [r["first"] for r in ones] for n, ones in results.items()}, ("xdist", 0.5))
    told(b, "ssh, 16 workers on one host, the whole run", {n: [r["wall"] for r in ones] for n, ones in results.items()})


def twenty(b):
    with Lab([{"python": b.programs[1]}] * 20) as lab:
        side = maker(b, lab)("first20", suites.first)
        command = side.xd_ssh(*[1] * 20, XD_BENCH_MARK="/root/mark")
        names = [host.name for host in lab.hosts]

        def one(name):
            return timed(b, lab, ssh_true(lab, *names)) if name == "ssh true to each" else timed(b, lab, command, 160)
        cells = {n: [r["wall"] for r in ones] for n, ones in b.rounds(("xd", "ssh true to each"), one).items()}
        rows(b, "20 ssh hosts at once, a run of 160 tests", cells, ("ssh true to each", None))


def ten_thousand(b, lab, make):
    side = make("ssh10k", lambda folder: suites.empty(folder, 100, 10000))
    sides = {"xd": side.xd_ssh(2), "popen": side.xd_popen(2), "xdist": side.xdist(2)}
    cells = {n: [r["wall"] for r in ones] for n, ones in b.rounds(tuple(sides), lambda name: timed(b, lab, sides[name], 10000)).items()}
    rows(b, "10,000 empty tests, 2 ssh workers", cells, ("popen", 1.1), ("xdist", 0.35))


def round_trips(b, lab, what, rtt_ms, commands, passed, targets):
    """What runs take longer over a link with a round-trip time, in round trips: `ssh h1 true` beside them in the same rounds.  What ssh
    needs by itself is no part of xd's; tests/bench/ROUNDTRIPS.md says which they are."""
    sides = dict(commands, **{"ssh true": ssh_true(lab, "h1")})

    def one(name):
        side, _, where = name.rpartition(", ")
        lab.set_link("h1", rtt_ms=rtt_ms if where == "far" else 0)
        return timed(b, lab, sides[side], passed if side in commands else None)
    results = b.rounds(tuple("%s, %s" % (side, where) for where in ("near", "far") for side in sides), one)
    lab.set_link("h1", rtt_ms=0)
    cells = {name: [r["wall"] for r in ones] for name, ones in results.items()}
    trips = {side: [(far - near) * 1000 / rtt_ms for far, near in zip(cells[side + ", far"], cells[side + ", near"])] for side in sides}
    for side in commands:
        beyond = [mine - theirs for mine, theirs in zip(trips[side], trips["ssh true"])]
        b.row("%s, %s, %d ms away: round trips more than near" % (what, side, rtt_ms), "trips", {"xd": trips[side]}, target=targets[0],
              value=median(trips[side]))
        b.row("the same, less those of ssh true (%.1f)" % median(trips["ssh true"]), "trips", {"xd": beyond}, target=targets[1], value=median(beyond))
    told(b, "%s, %d ms away" % (what, rtt_ms), cells)


def far_away(b, lab, make):
    """The count is steadier on a slower link, where the time that the programs need weighs less."""
    side = make("ssh10k", lambda folder: suites.empty(folder, 100, 10000))
    argv, cwd = side.xd_ssh(2)
    round_trips(b, lab, "10,000 empty tests, 2 ssh workers", RTT_MS,
                {how: (argv + ["--ssh=" + how], cwd) for how in ("libssh", "openssh")}, 10000, (4, 4))
    argv, cwd = command_run(lab, make)
    round_trips(b, lab, "a run of one command test", LONG_RTT_MS,
                {how: (argv + ["--ssh=" + how], cwd) for how in ("libssh", "openssh")}, 1, (None, 4))


def maker(b, lab):
    work = os.path.dirname(b.env["XDG_STATE_HOME"])

    def make(name, suite):
        folder = os.path.join(work, name)
        suite(folder)
        return Side(b, lab, folder, b.programs)
    return make


def bench_ssh(b):
    try:
        # sshd refuses some of 16 connections at once by its own default, and xdist makes 16: it is given them.
        with Lab([{"sshd": ["MaxStartups 100"], "python": b.programs[1]}]) as lab:
            b.note("ssh: %s; links of %d ms by %s" % (subprocess.run(["ssh", "-V"], stderr=subprocess.PIPE).stderr.decode().strip(), RTT_MS,
                                                     "netem" if lab.netem else "the lab's own TAP pair"))
            for part in (one_command, first_test, sixteen, throughput, ten_thousand, far_away):
                attempt(b, part, lab, maker(b, lab))
        attempt(b, twenty)
    except Unavailable as e:
        raise measure.Failure("no lab: %s" % e)


def attempt(b, part, *args):
    """One that cannot be measured does not take the others along."""
    try:
        part(b, *args)
    except measure.Failure as e:
        b.note("ssh: %s could not be measured: %s" % (part.__name__, e))
        b.broken.append("ssh " + part.__name__)
