"""Runs the fuzz targets (libFuzzer), and measures which lines of the parsers the kept inputs reach.  tools/dev fuzz --help

tests/fuzz/corpus/NAME   the kept inputs, replayed by each test run (replay.c)
tests/fuzz/dict/NAME     words that libFuzzer puts together, where there are some
build/fuzz/corpus/NAME   all inputs that reached something new here; the next run goes on from them
build/fuzz/found/NAME    the few among them that reach more than the kept ones do; beside it: what crashed
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/fuzz"
BUILD = ROOT / "build/fuzz"
COVERED = ROOT / "build/fuzz-coverage"
LANES = min(2, os.cpu_count() or 1)
INPUT_MAX = 16384
KEEP_MAX = 16000  # bytes of a kept input

# The sources that read what others wrote, each with the target that feeds it, and functions in it that read nothing, or not here: (pattern, why).
PARSERS = [
    ("wire", "engine/wire.c", None),
    ("stream", "engine/stream.c", None),
    ("session", "engine/session.c", None),
    ("xspec", "engine/xspec.c", None),
    ("xspec", "engine/xspec_via.c", None),
    ("xspec", "engine/ssh_args.c", None),
    ("config", "engine/config.c", None),
    ("config", "engine/config_parse.c", None),
    ("toml", "actors/toml_file.cpp", None),
    ("toml", "actors/config_file.c", None),
    ("toml", "actors/config_file_profile.c", None),
    ("toml", "actors/config_file_hosts.c", ("read_file", "what opens a file")),
    ("hosts", "engine/hosts.c", None),
    ("journal", "engine/journal.c", ("put_u32|commit|committer|wake|write_header|start|write_record|xd_journal_(open|finish|close|append|limit|full|end|durable|commit_fd|fault)", "what writes it")),
    ("ignore", "sync/ignore.c", None),
    ("ignore", "sync/wildmatch.c", None),
    ("ignore", "sync/fnmatch.c", None),
    ("manifest", "sync/manifest_read.c", None),
    ("receive", "sync/receive.c", None),
    ("receive", "sync/receive_stream.c", ("wait_for", "what waits")),
    ("receive", "sync/receive_ask.c", None),
    ("send", "sync/answers.c", None),
    ("text", "engine/base/text.c", None),
    ("literal", "actors/literal.c", None),
    ("inifile", "actors/inifile.c", None),
    ("ssh_config", "gateways/ssh_config.c", None),
    ("ssh_config", "gateways/ssh_words.c", None),
    ("ssh_config", "gateways/ssh_expand.c", None),
    ("known_hosts", "gateways/ssh_hostkey.c", None),
    ("keys", "engine/keys.c", None),
    ("keys", "engine/keylist.c", None),
    ("keys", "engine/trust.c", None),
    ("tunnel", "engine/tunnel.c", None),
    ("address", "engine/address.c", None),
    ("join", "engine/token.c", None),
    ("join", "gateways/join.c", ("say|read_stops|is_cancelled|add_interpreters?|nothing|watch|carry|drop_connection|come_back|end_agent|how_it_ended|serve_run|xd_join_tag_valid|check_words|find_keys|begin|connect_first|xd_join", "what dials, and what waits")),
    ("listen", "gateways/listen.c", ("is_closed|on_wake|turn|turn_away|is_stopped|listen_main|copy_texts|free_texts|make_seats|begin|xd_listen_.*|free_seats", "the thread, its start and its end")),
    ("listen", "gateways/listen_guest.c", None),
]
GOAL = 90


def names():
    return sorted(p.name[: -len("_fuzz.c")] for p in HERE.glob("*_fuzz.c"))


def arguments():
    p = argparse.ArgumentParser(prog="tools/dev fuzz", description="Runs the fuzz targets with libFuzzer, ASan and UBSan, two side by side.",
                                epilog="Targets: " + " ".join(names()) + ". Exit code: 0; 1 = one crashed, leaked or took more than 10 s (its last "
                                "line is the path of the input); 4 = bad arguments; 130 = interrupted. What was found lies in build/fuzz/found.")
    p.error = lambda text: (print(f"tools/dev fuzz: {text}; --help names the options", file=sys.stderr), sys.exit(4))
    p.add_argument("names", nargs="*", metavar="NAME", help="a target; default: all of them")
    p.add_argument("--minutes", type=float, default=10, metavar="N", help="time for all of them together (default 10)")
    p.add_argument("--keep", action="store_true", help="afterwards, add inputs that reach further code to tests/fuzz/corpus")
    p.add_argument("--coverage", action="store_true", help="run nothing but the kept inputs, and print which part of each parser's lines they reach; 1 = below 90 %%")
    p.add_argument("--lines", action="store_true", help="the same, and name the lines that are not reached")
    args = p.parse_args()
    unknown = [n for n in args.names if n not in names()]
    if unknown:
        p.error(f"there is no target {unknown[0]}: they are {' '.join(names())}")
    if not 0 < args.minutes <= 100000:
        p.error("--minutes is a number above 0")
    args.names = list(dict.fromkeys(args.names)) or names()
    return args


def build(preset, targets):
    log = ROOT / f"build/log/{preset}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not shutil.which("clang"):
        sys.exit("tools/dev fuzz: clang is missing (Debian: clang, llvm, libclang-rt-dev)")
    print(f"building {len(targets)} targets: {log.relative_to(ROOT)}", flush=True)
    with log.open("w") as out:
        for command in (["cmake", "--preset", preset],
                        ["cmake", "--build", f"build/{preset}", "-j", str(os.cpu_count()), "--target", *[f"{n}_fuzz" for n in targets]]):
            if subprocess.run(command, cwd=ROOT, stdout=out, stderr=out).returncode:
                print("".join(log.read_text(errors="replace").splitlines(True)[-30:]), end="")
                sys.exit(f"tools/dev fuzz: {' '.join(command[:3])} failed; all of its output: {log}")


def count(folder):
    files = [p for p in folder.iterdir() if p.is_file()]
    return len(files), sum(p.stat().st_size for p in files)


class Target:
    """One libFuzzer process, with its folders."""

    def __init__(self, name):
        self.name = name
        self.program = BUILD / f"tests/{name}_fuzz"
        self.kept = HERE / "corpus" / name
        self.seen = BUILD / "corpus" / name
        self.found = BUILD / "found" / name
        self.log = BUILD / f"{name}.log"
        self.process = None
        for folder in (self.kept, self.seen, self.found.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def command(self, *options):
        return [str(self.program), f"-artifact_prefix={self.found.parent}/{self.name}-", "-timeout=10", "-rss_limit_mb=2048", f"-max_len={INPUT_MAX}", *options]

    def environment(self):
        # No descriptor of a terminal and no core file; libFuzzer looks for leaks itself.
        return dict(os.environ, ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")

    def spawn(self, command, log):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=BUILD, env=self.environment(), start_new_session=True)

    def start(self, seconds):
        for old in self.found.parent.glob(f"{self.name}-*"):
            old.unlink()
        words = HERE / "dict" / self.name
        command = self.command(f"-max_total_time={seconds}", "-print_final_stats=1", *([f"-dict={words}"] if words.exists() else []))
        with self.log.open("wb") as log:
            self.process = self.spawn([*command, str(self.seen), str(self.kept)], log)

    def text(self):
        return self.log.read_text(errors="replace")

    def reproducer(self):
        found = sorted(self.found.parent.glob(f"{self.name}-*"))
        return found[0] if found else None

    def failed(self):
        return self.process.returncode not in (0, -signal.SIGINT, -signal.SIGTERM, 72)  # 72: it was interrupted

    def merge(self, to, *sources, options=()):
        with self.log.open("ab") as log:
            self.process = self.spawn(self.command("-merge=1", *options, str(to), *map(str, sources)), log)
            return self.process.wait()

    def minimise(self):
        """What reaches more than the kept inputs, into found/NAME."""
        shutil.rmtree(self.found, ignore_errors=True)
        self.found.mkdir()
        with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
            whole = Path(scratch)
            for p in self.kept.iterdir():
                shutil.copy(p, whole)
            before = set(os.listdir(whole))
            self.merge(whole, self.seen)
            for name in set(os.listdir(whole)) - before:
                shutil.move(whole / name, self.found)
        return count(self.found)[0]

    def keep(self):
        """Those that reach other code, not only other counts, into the kept ones."""
        for p in self.found.iterdir():
            if p.stat().st_size > KEEP_MAX:
                p.unlink()
        before = count(self.kept)[0]
        self.merge(self.kept, self.found, options=("-use_counters=0",))
        return count(self.kept)[0] - before

    def say(self, found, kept):
        text = self.text()
        stat = dict(re.findall(r"^stat::(\w+):\s+(\d+)", text, re.M))
        reached = [int(n) for n in re.findall(r"^#\d+\s+\S+\s+cov: (\d+)", text, re.M)]
        first = re.search(r"^#\d+\s+INITED cov: (\d+)", text, re.M)
        cov = reached[-1] if reached else 0
        new = cov - int(first[1]) if first else 0
        n, size = count(self.kept)
        print(f"{self.name:12} {int(stat.get('number_of_executed_units', 0)):>11,} runs {int(stat.get('average_exec_per_sec', 0)):>8,} /s"
              f"  coverage {cov:>5} ({new:+})  corpus {n:>3} inputs, {size / 1024:>5.1f} KiB  found {found:>4}{f', kept {kept}' if kept is not None else ''}", flush=True)


def stop(targets):
    """Ends what runs; libFuzzer writes what it has on SIGINT."""
    running = [t.process for t in targets if t.process and t.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGINT)
    for process in running:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def finish(target, keep):
    """Says what came of it.  The path of the input it failed on, or None."""
    if target.failed():
        bad = target.reproducer()
        summary = re.findall(r"^(?:SUMMARY: .*|.*Assertion .*)", target.text(), re.M)
        print(f"{target.name:12} FAILED: {summary[0] if summary else 'exit code %d' % target.process.returncode}; its output: {target.log}", flush=True)
        return bad or target.log
    kept = None
    found = target.minimise()
    if keep:
        kept = target.keep()
    target.say(found, kept)
    return None


def fuzz(args):
    build("fuzz", args.names)
    seconds = max(1, int(args.minutes * 60 * LANES / len(args.names)))
    waiting, running, done, bad = [Target(n) for n in args.names], [], [], []
    print(f"{len(waiting)} targets, {LANES} side by side, {seconds} s each", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown = sys.stdout.isatty()
    try:
        while waiting or running:
            while waiting and len(running) < LANES:
                running.append(waiting.pop(0))
                running[-1].start(seconds)
            time.sleep(0.2)
            if shown:
                print(f"\r{', '.join(t.name for t in running)}: {len(waiting)} to come\x1b[K\r", end="", flush=True)
            for t in [t for t in running if t.process.poll() is not None]:
                done.append(t)
                running.remove(t)
                if found := finish(t, args.keep):
                    bad.append(found)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop(running + done)
        print("interrupted: what was seen stays in build/fuzz/corpus")
        return 130
    for path in bad:
        print(path)
    return 1 if bad else 0


# ---- coverage -----------------------------------------------------------------------------------------------


def covered(name, folder):
    """Runs the kept inputs through a target; its profile."""
    raw = folder / f"{name}.profraw"
    corpus = HERE / "corpus" / name
    result = subprocess.run([str(COVERED / f"tests/{name}_fuzz"), "-runs=0", f"-artifact_prefix={folder}/", f"-max_len={1 << 20}", str(corpus)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, LLVM_PROFILE_FILE=str(raw)), cwd=COVERED)
    if result.returncode:
        sys.exit(f"{result.stdout.decode(errors='replace')[-3000:]}\ntools/dev fuzz: the kept inputs of {name} failed")
    return raw


def lines_of(text):
    """Of llvm-cov's lcov output: source -> ({line: count}, [(first line, function)])."""
    files = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            lines, functions = files.setdefault(rest.rpartition("/./")[2], ({}, []))  # -ffile-prefix-map
        elif kind == "FN":
            first, _, function = rest.partition(",")
            functions.append((int(first), function.rpartition(":")[2]))
        elif kind == "DA":
            number, _, n = rest.partition(",")
            lines[int(number)] = max(lines.get(int(number), 0), int(n.partition(",")[0]))
    return files


def ranges(numbers):
    out = []
    for n in numbers:
        if out and n <= out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(f"{a}-{b}" if b > a else str(a) for a, b in out)


def coverage(args):
    parsers = [p for p in PARSERS if p[0] in args.names]
    targets = args.names  # also those of no parser of their own: they reach parts of others
    build("fuzz-coverage", targets)
    with tempfile.TemporaryDirectory(dir=COVERED) as scratch:
        merged = Path(scratch) / "all.profdata"
        raw = [covered(n, Path(scratch)) for n in targets]
        subprocess.run(["llvm-profdata", "merge", "-o", str(merged), *map(str, raw)], check=True)
        programs = [str(COVERED / f"tests/{n}_fuzz") for n in targets]
        text = subprocess.run(["llvm-cov", "export", "-format=lcov", f"-instr-profile={merged}", programs[0], *[f"-object={p}" for p in programs[1:]]],
                              stdout=subprocess.PIPE, check=True, text=True).stdout
    files = lines_of(text)
    below = []
    for target, source, apart in parsers:
        lines, functions = files.get(source, ({}, []))
        functions = sorted(functions)
        skip = re.compile(apart[0]) if apart else None
        counted = {}
        for number, n in sorted(lines.items()):
            inside = [f for first, f in functions if first <= number]
            if not (skip and inside and skip.fullmatch(inside[-1])):
                counted[number] = n
        reached = sum(n > 0 for n in counted.values())
        part = 100 * reached / len(counted) if counted else 0
        print(f"{source:28} {target:12} {reached:>4} of {len(counted):>4} lines  {part:5.1f} %{'   without ' + apart[1] if apart else ''}")
        if part < GOAL:
            below.append(source)
        if args.lines and reached < len(counted):
            print("    not reached:", ranges([n for n in counted if not counted[n]]))
    print(f"below {GOAL} %: {' '.join(below)}" if below else f"all at least {GOAL} %")
    return 1 if below else 0


if __name__ == "__main__":
    wanted = arguments()
    try:
        sys.exit(coverage(wanted) if wanted.coverage or wanted.lines else fuzz(wanted))
    except KeyboardInterrupt:  # while it was built, or measured
        sys.exit(130)
