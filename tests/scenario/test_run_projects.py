"""Real projects: each suite by plain pytest and by `xdctl run -n 2`; every node id must have the same outcome in
both, what failed the same message and text, the last line the same counts, the process the same exit code.

    python3 tests/scenario/test_run_projects.py [-v]        environment: XD_XDCTL (build/bin/xdctl)
"""
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROJECTS = os.path.join(ROOT, "build", "projects")
PYTHON = os.path.join(PROJECTS, "venv", "bin", "python")
XDCTL = os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")
SECONDS = 300
OPTIONS = ["-p", "no:cacheprovider", "-p", "projects_plugin"]

# name -> (arguments, tests there must be at least).  Left out for time: packaging's 25,392 false comparisons (its
# true ones with the sides changed) and more-itertools' one test that only counts primes for 14 s.  Left out because it
# fails in plain pytest too where test_tags.py ran before it (a cache of the project): test_glibc_version_string_fail.
SUITES = collections.OrderedDict((
    ("packaging-26.3", (["--deselect=tests/test_version.py::TestVersion::test_comparison_false",
                         "--deselect=tests/test_manylinux.py::test_glibc_version_string_fail"], 37000)),
    ("attrs-26.1.0", ([], 1300)),
    ("more_itertools-11.2.1", (["--deselect=tests/test_recipes.py::PrimeFunctionTests::test_primes"], 700)),
))


def run(command, cwd, log, **more):
    """Exit code and output; a program that hangs is ended."""
    foreign = ("PYTEST_", "HYPOTHESIS_", "XD_", "XDG_", "VIRTUAL_ENV", "CI", "BUILD_NUMBER")
    env = {k: os.environ[k] for k in os.environ if not k.startswith(foreign)}
    env.update(PYTHONPATH=HERE, COLUMNS="120", **more)
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = "killed after %d s" % SECONDS
    with open(log, encoding="utf-8", errors="replace") as out:
        return code, out.read()


def same_objects(text):
    """Addresses differ from process to process."""
    return re.sub(r"0x[0-9a-f]+", "0x0", text.strip())


def last_line(text):
    lines = [line for line in text.splitlines() if re.search(r" in \d+\.\d\ds", line)]
    return re.sub(r" in \d+\.\d\ds.*", "", lines[-1].strip("= ")) if lines else text[-2000:]


def plain_outcomes(path):
    outcomes, told = collections.Counter(), collections.Counter()
    with open(path, encoding="utf-8") as f:
        for line in f:
            nodeid, outcome, reports = json.loads(line)
            outcomes[nodeid, outcome] += 1
            told.update((nodeid, when, category, same_objects(message), same_objects(text))
                        for when, category, message, text in reports if category != "passed")
    return outcomes, told


def xd_outcomes(path):
    outcomes, told = collections.Counter(), collections.Counter()
    with open(path, encoding="utf-8") as f:
        for event in map(json.loads, f):
            if event["event"] != "test":
                continue
            outcomes[event["nodeid"], event["outcome"]] += 1
            told.update((event["nodeid"], r["when"], r["category"], same_objects(r.get("message", "")),
                         same_objects(r.get("text", "")))
                        for r in event.get("reports", ()) if r["category"] not in ("", "passed"))
    return outcomes, told


@unittest.skipUnless(os.access(XDCTL, os.X_OK), "no xdctl: build first")
class Projects(unittest.TestCase):
    """Plain pytest runs the suites side by side with each other, before xd has the processors for itself."""

    @classmethod
    def setUpClass(cls):
        ready = subprocess.run(["bash", os.path.join(HERE, "projects.sh")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
        if ready.returncode != 0:
            reason = ready.stderr.decode(errors="replace").strip()
            if ready.returncode == 2:
                raise unittest.SkipTest(reason)
            raise AssertionError("projects.sh: exit %d: %s" % (ready.returncode, reason))
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.plain = {}
        names = list(SUITES)
        threads = [threading.Thread(target=cls.run_plain, args=(part,)) for part in (names[:1], names[1:])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @classmethod
    def file(cls, name, kind):
        return os.path.join(cls.scratch.name, name + kind)

    @classmethod
    def run_plain(cls, names):
        for name in names:
            cls.plain[name] = run([PYTHON, "-m", "pytest", "-p", "no:xdist"] + OPTIONS + SUITES[name][0],
                                  os.path.join(PROJECTS, name), cls.file(name, ".plain.txt"),
                                  XD_PLAIN_OUTCOMES=cls.file(name, ".plain"))

    def check(self, name):
        arguments, at_least = SUITES[name]
        plain_code, plain_text = self.plain[name]
        code, text = run([XDCTL, "run", "--python", PYTHON, "--as-module", "-n", "2",
                          "--jsonl", self.file(name, ".jsonl")] + OPTIONS + arguments,
                         os.path.join(PROJECTS, name), self.file(name, ".xd.txt"),
                         XDG_STATE_HOME=self.file(name, ".state"), XDG_CACHE_HOME=self.file(name, ".cache"))
        self.assertIn(plain_code, (0, 1), plain_text[-3000:])
        self.assertEqual(plain_code, code, text[-3000:])
        plain, plain_told = plain_outcomes(self.file(name, ".plain"))
        mine, mine_told = xd_outcomes(self.file(name, ".jsonl"))
        self.assertGreater(sum(plain.values()), at_least)
        self.assertEqual([], sorted((plain - mine).items())[:20], "outcomes that only plain pytest has")
        self.assertEqual([], sorted((mine - plain).items())[:20], "outcomes that only xd has")
        self.assertEqual([], sorted((plain_told - mine_told).items()), "reports that only plain pytest has")
        self.assertEqual([], sorted((mine_told - plain_told).items()), "reports that only xd has")
        self.assertEqual(last_line(plain_text), last_line(text))
        with open(self.file(name, ".jsonl"), encoding="utf-8") as f:
            ways = {event["way"] for event in map(json.loads, f) if event["event"] == "worker_up"}
        self.assertEqual({"collected"}, ways, "these suites, and hypothesis, are safe to fork after the collection")

    def test_attrs(self):
        self.check("attrs-26.1.0")

    def test_more_itertools(self):
        self.check("more_itertools-11.2.1")

    def test_packaging(self):
        self.check("packaging-26.3")


if __name__ == "__main__":
    unittest.main()
