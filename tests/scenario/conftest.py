"""What the scenarios share: small projects, xdctl and plain pytest on them, outcomes per node id."""
import fcntl
import functools
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import xml.etree.ElementTree as ElementTree

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
from lab import Lab, Unavailable  # noqa: E402
XDCTL = os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")
SECONDS = 60
collect_ignore = ["journals"]  # the suite that old journals were made from
FOREIGN = ("PYTEST_", "GITHUB_", "GITLAB_", "TEAMCITY_", "TF_BUILD", "XD_", "XDG_", "VIRTUAL_ENV", "PY_COLORS", "NO_COLOR", "FORCE_COLOR", "CI", "BUILD_NUMBER")

# Says of each item what plain pytest made of it: the categories of its reports, as the terminal counts them.
OUTCOMES_PLUGIN = """
import json, os, collections
seen = collections.OrderedDict()

def pytest_configure(config):
    config.pluginmanager.register(Outcomes(config), "xd-plain-outcomes")

class Outcomes:
    def __init__(self, config):
        self.config = config
    def pytest_runtest_logreport(self, report):
        category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
        seen.setdefault(report.nodeid, [])
        if category:
            seen[report.nodeid].append(category)
    def pytest_sessionfinish(self):
        with open(os.environ["PLAIN_OUTCOMES"], "w") as f:
            json.dump(seen, f)
"""


# They take minutes: what begins last must not be waited for alone. (A fresh clone knows no durations.)
LONG = ("test_packages.py::test_debian_packages", "test_packages.py::test_uninstall", "test_run_projects.py::", "test_run_cuts.py::")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(long in item.nodeid for long in LONG))


def programs_for_all(folder):
    """xdctl, with its agent beside it, where every user can run it: a clone below a home folder is closed to others.  The path of xdctl."""
    os.mkdir(os.path.join(folder, "bin"))
    os.chmod(os.path.join(folder, "bin"), 0o755)
    for program in (XDCTL, os.environ.get("XD_AGENT") or os.path.join(os.path.dirname(XDCTL), "xdagent")):
        copy = os.path.join(folder, "bin", os.path.basename(program))
        shutil.copy(program, copy)
        os.chmod(copy, 0o755)
    return os.path.join(folder, "bin", os.path.basename(XDCTL))


def clean_environment(**more):
    env = {k: os.environ[k] for k in os.environ if not k.startswith(FOREIGN)}  # not items(): PYTEST_CURRENT_TEST comes and goes while a thread is here
    env.update(dict(dict(COLUMNS="80", XD_CONFIG="/dev/null"), **more))  # no file of who runs the tests counts
    return env


def make_warm(folder):
    """What runs leave in a cache folder for every project: the adapter, and the byte code of pytest, written once the adapter is two seconds old."""
    os.makedirs(os.path.join(folder, "suite"))
    with open(os.path.join(folder, "suite", "test_a.py"), "w") as f:
        f.write("def test_a(): pass\n")
    env = clean_environment(XDG_STATE_HOME=os.path.join(folder, "state"), XDG_CACHE_HOME=os.path.join(folder, "cache"))
    for wait in (2.1, 0):
        done = subprocess.run([XDCTL, "run", "-n1", "--python", sys.executable], cwd=os.path.join(folder, "suite"), env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
        if done.returncode != 0:
            return
        time.sleep(wait)


@functools.lru_cache(maxsize=None)
def warm_cache():
    """A folder whose cache/xd has what a second run finds, for sys.executable; made once by whichever worker comes first.  None: no run ends well here,
    which the tests will say.  Nearly all runs of a user are such, and a first one costs half as much again."""
    try:
        made = [os.stat(p).st_mtime_ns for p in (XDCTL, os.path.join(os.path.dirname(XDCTL), "xdagent"), pytest.__file__)]
    except OSError:
        return None
    key = hashlib.sha256(repr((XDCTL, sys.executable, made)).encode()).hexdigest()[:16]
    top = os.path.join(ROOT, "build", "warm")
    os.makedirs(top, exist_ok=True)
    with open(os.path.join(top, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = os.path.join(top, key)
        if not os.path.exists(os.path.join(folder, "done")):
            shutil.rmtree(folder, ignore_errors=True)
            make_warm(folder)
            with open(os.path.join(folder, "done"), "w"):
                pass
    return folder if glob.glob(os.path.join(folder, "cache", "xd", "adapter-*", "code-*.bin")) else None


def link_or_copy(source, to):
    """These files are never written in place: copies for each of thousands of tests would keep the disk busy."""
    try:
        os.link(source, to)
    except OSError:  # another disk; the byte code is 6 MB, which a run makes for itself
        if not source.endswith(".bin"):
            shutil.copy2(source, to)
    return to


class Result(object):
    """What a finished program left: rc, out, err; of xdctl also `events` (--jsonl) and `categories` per node id."""

    def __init__(self, rc, out, err, folder=None, jsonl=None):
        self.rc, self.out, self.err, self.folder = rc, out, err, folder
        self.jsonl = jsonl

    @property
    def events(self):
        with open(self.jsonl, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    @property
    def tests(self):
        return [e for e in self.events if e["event"] == "test"]

    @property
    def outcomes(self):
        return {e["nodeid"]: e["outcome"] for e in self.events if e["event"] in ("test", "test_teardown")}

    @property
    def categories(self):
        """As OUTCOMES_PLUGIN of plain pytest: what each test counts."""
        counted = {}
        for e in self.events:
            if e["event"] not in ("test", "test_teardown"):
                continue
            counted.setdefault(e["nodeid"], [])
            if e["event"] == "test" and e["outcome"] == "passed" and not e.get("reports"):
                counted[e["nodeid"]].append("passed")
            counted[e["nodeid"]] += [r["category"] for r in e.get("reports", ()) if r["category"]]
        return counted

    @property
    def summary(self):
        """The counts of the last line."""
        lines = [line for line in self.out.splitlines() if re.search(r" in \d+\.\d\ds", line)]
        return counts_of(lines[-1]) if lines else None

    def __repr__(self):
        return "rc %s\n--- out\n%s\n--- err\n%s" % (self.rc, self.out[-6000:], self.err[-3000:])


def counts_of(line):
    return {word.rstrip("s") if word in ("errors", "warnings") else word: int(n) for n, word in
            re.findall(r"(\d+) (passed|failed|skipped|deselected|xfailed|xpassed|errors?|warnings?|crashed|subtests passed)", line)}


def end(process):
    """Ends a program of ours and what it started (agents end by themselves when it is gone)."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


class Project(object):
    def __init__(self, path, python):
        self.path, self.python = path, python
        self.root = path / "project"
        self.root.mkdir()
        self.count = 0
        self.cold = False   # its first run finds an empty cache
        self.started = []
        self.packages = []  # folders in front of what the interpreter has
        self.lab = None     # xdctl runs on the controller's side of it

    def write(self, **files):
        """name="text" makes name.py; names with dots are taken as they are: write(**{"pytest.ini": ...})."""
        for name, text in files.items():
            file = self.root / (name if "." in name else name + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def environment(self, **more):
        own = dict(XDG_STATE_HOME=str(self.path / "state"), XDG_CACHE_HOME=str(self.path / "cache"))
        if self.packages:
            own["PYTHONPATH"] = os.pathsep.join(self.packages)
        environment = clean_environment(**dict(own, **more))
        return self.lab.environment(environment) if self.lab else environment

    def arguments(self, args, env):
        """Of xdctl: those of a test, here unchanged (test_run_over.py)."""
        return [str(a) for a in args]

    def warm_up(self):
        there, template = self.path / "cache", None if self.cold else warm_cache()
        if template and not there.exists():
            for adapter in glob.glob(os.path.join(template, "cache", "xd", "adapter-*")):
                shutil.copytree(adapter, str(there / "xd" / os.path.basename(adapter)), copy_function=link_or_copy)

    def start(self, *args, **more):
        """xdctl itself, started and left running: Popen.  more: env=, cwd=, program= (another one), and what Popen takes."""
        self.warm_up()
        env = more.pop("env", {})
        args, env = self.arguments(args, env), self.environment(**env)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        more.setdefault("stdin", subprocess.DEVNULL)
        argv, cwd = [more.pop("program", XDCTL)] + args, str(more.pop("cwd", self.root))
        if self.lab:
            argv = self.lab.prefix(cwd) + argv
        process = subprocess.Popen(argv, cwd=cwd, env=env, **more)
        self.started.append(process)
        return process

    def finish(self, process, jsonl=None):
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail("xdctl did not end in %d s:\n%s\n%s" % (SECONDS, out.decode(errors="replace")[-3000:], err.decode(errors="replace")))
        return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), self.latest(), jsonl)

    def xdctl(self, *args, **more):
        return self.finish(self.start(*args, **more))

    def run(self, *args, **more):
        """`xdctl run` with this project's Python and --jsonl."""
        self.count += 1
        jsonl = str(self.path / ("run%d.jsonl" % self.count))
        own = ["--jsonl=" + jsonl]
        if more.pop("python", True):
            own.append("--python=" + self.python)
        return self.finish(self.start("run", *(own + list(args)), **more), jsonl)

    def plain(self, *args, **more):
        """Plain pytest on the same project; `categories` per node id by a plugin."""
        plugin = self.path / "plugins"
        plugin.mkdir(exist_ok=True)
        (plugin / "xd_plain_outcomes.py").write_text(OUTCOMES_PLUGIN)
        outcomes = str(self.path / "plain.json")
        env = clean_environment(PLAIN_OUTCOMES=outcomes, PYTHONPATH=os.pathsep.join(self.packages + [str(plugin)]), **more.pop("env", {}))
        process = subprocess.run([self.python, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "xd_plain_outcomes"] +
                                 [str(a) for a in args], cwd=str(self.root), env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
        result = PlainResult(process.returncode, process.stdout.decode(errors="replace"), process.stderr.decode(errors="replace"))
        if os.path.exists(outcomes):
            with open(outcomes) as f:
                result.plain_categories = json.load(f)
        return result

    def latest(self):
        runs = self.path / "state" / "xd" / "runs"
        names = sorted(os.listdir(str(runs))) if runs.exists() else []
        names = [n for n in names if (runs / n / "journal").exists()]
        return runs / names[-1] if names else None


class PlainResult(Result):
    plain_categories = {}

    @property
    def categories(self):
        return self.plain_categories


def junit_cases(path):
    """(class, name, what happened, properties) of each test case, sorted: without times."""
    cases = []
    for case in ElementTree.parse(str(path)).getroot().iter("testcase"):
        children = [(c.tag, c.get("message"), c.get("type"), c.text if c.tag == "skipped" else None) for c in case if c.tag not in ("properties", "system-out", "system-err")]
        properties = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        attributes = {k: v for k, v in case.attrib.items() if k != "time"}
        cases.append((sorted(attributes.items()), children, properties))
    return sorted(cases, key=repr)


def junit_suite_properties(path):
    return {(p.get("name"), p.get("value")) for p in ElementTree.parse(str(path)).getroot().findall("testsuite/properties/property")}


@pytest.fixture
def project(tmp_path):
    p = Project(tmp_path, sys.executable)
    yield p
    for process in p.started:
        end(process)


@pytest.fixture
def open_folder():
    """A folder that every user may enter: each new session of pytest closes its own to others again, also while a test of another session runs."""
    folder = tempfile.mkdtemp(prefix="xd-open-", dir="/tmp")
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab():
    """A maker of labs (tests/lab): lab(3), lab([{"sshd": ["MaxSessions 1"]}, {}]): hosts h1, h2 ... in network namespaces, an sshd each.

    lab(..., namespaces=False): sshds on 127.0.0.1.  namespaces=None: with them where they can be made.  lab(..., project=project) makes
    project.run and its kin start xdctl on the controller's side.  All labs end with the test.  Skips with the reason where none can be."""
    made = []

    def make(hosts=1, namespaces=True, project=None):
        try:
            made.append((Lab.best if namespaces is None else Lab)(hosts, **({} if namespaces is None else {"namespaces": namespaces})))
        except Unavailable as e:
            pytest.skip(str(e))
        if project:
            project.lab = made[-1]
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def one_host(lab):
    """A lab of one host, h1; an sshd on 127.0.0.1 where namespaces cannot be made.  lab.spec("h1", chdir=...) makes a spec for --tx."""
    return lab(1, namespaces=None)
