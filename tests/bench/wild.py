#!/usr/bin/env python3
"""Suites of popular projects, as the package index has them: plain pytest, pytest-xdist -n2 and xdctl run -n2 in turn.

    python3 tests/bench/wild.py [--rounds N] [--sides xd,plain,load] [--prepare] [NAME ...]

Of each suite: how its workers were started and why, wall and CPU time relative to plain pytest and to pytest-xdist (medians of the ratios within each
round; the machine is not waited for), and whether each test had the outcome that it has in plain pytest.  Each project gets a virtual environment of
its own in build/wild/; nothing of a project is kept in the repository.  The versions are pinned below, what they need is not.
Writes build/wild/NAME/result.json and prints the table of all that have one.  Exit code: 0 all outcomes equal, 1 some differ, 2 could not be run.
XD_XDCTL names the xdctl to use [build/bin/xdctl].
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import measure  # noqa: E402

WILD = os.path.join(ROOT, "build", "wild")
XDCTL = os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")
PYTHON = os.path.join(ROOT, "build", "venv", "bin", "python")
SIDES = ("plain", "load", "xd")
BACKENDS = "setuptools wheel hatchling hatch-vcs flit_core poetry-core pdm-backend setuptools-scm hatch-fancy-pypi-readme cython trove-classifiers".split()


class Suite(object):
    """source: the folder is that of the source archive, else site-packages with the installed project.  drop: what of the source would hide the
    installed, compiled package."""

    def __init__(self, requirement, needs="", args="", source=True, drop="", xdist=""):
        self.requirement, self.needs, self.args = requirement, needs.split(), args.split()
        self.source, self.drop, self.xdist = source, drop.split(), xdist.split()
        self.name, self.version = re.match(r"([^\[=]+)(?:\[.*\])?==(.*)", requirement).groups()
        self.folder = os.path.join(WILD, self.name)
        self.python = os.path.join(self.folder, "venv", "bin", "python")

    def path(self, name):
        return os.path.join(self.folder, name)

    def cwd(self):
        if not self.source:
            return subprocess.run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], stdout=subprocess.PIPE, check=True
                                  ).stdout.decode().strip()
        return self.path("source")


SUITES = [
    # asyncio and other event loops
    Suite("anyio==4.16.0", "pytest-mock pytest-timeout trio trustme truststore uvloop psutil hypothesis blockbuster exceptiongroup", args="--ignore=tests/test_sockets.py"),
    Suite("aiohttp==3.14.5", "pytest-mock pytest-cov pytest-timeout pytest-codspeed blockbuster freezegun proxy.py re-assert trustme isal zlib-ng coverage "
          "python-on-whales gunicorn uvloop brotli aiodns zstandard setuptools-git time-machine isal", drop="aiohttp",
          args="-o addopts= -p no:cov tests/test_web_request.py tests/test_client_request.py tests/test_helpers.py tests/test_multipart.py tests/test_web_urldispatcher.py"),
    Suite("starlette==1.10.0", "starlette[full] httpx2 blockbuster importlib-metadata opentelemetry-sdk pytest-codspeed trio anyio"),
    Suite("trio==0.35.0", "pytest-timeout async_generator trustme pyopenssl astor jedi cryptography", source=False, args="-p trio._tests.pytest_plugin trio/_core/_tests/test_run.py trio/_core/_tests/test_parking_lot.py trio/_tests/test_sync.py trio/_tests/test_path.py"),
    Suite("tornado==6.6.1", "pycurl", source=False, args="-p no:logging tornado/test/web_test.py tornado/test/gen_test.py tornado/test/httputil_test.py tornado/test/template_test.py"),
    # servers
    Suite("werkzeug==3.1.9", "cffi cryptography ephemeral-port-reserve pytest-timeout watchdog", args="--ignore=tests/test_serving.py"),
    Suite("urllib3==2.8.0", "anyio[trio] h2 httpx hypercorn pysocks pytest-socket pytest-timeout quart quart-trio trio trustme cryptography",
          args="test/test_util.py test/test_response.py test/test_poolmanager.py test/test_connectionpool.py test/test_collections.py test/test_retry.py"),
    Suite("requests==2.34.2", "requests[socks] pytest-httpbin==2.1.0 httpbin pytest-cov pytest-mock trustme"),
    Suite("flask==3.1.3", "asgiref greenlet python-dotenv pytest<9", args="--ignore=tests/test_cli.py"),
    # databases
    Suite("django-filter==26.2", "django djangorestframework pytest-django coreapi pytz", args="--ds=tests.settings"),
    Suite("djangorestframework==3.18.3", "dj-database-url importlib-metadata pytest-cov pytest-django>=4.5.2,<5 django>=5.2,<6"),
    Suite("sqlalchemy==2.1.9", "sqlalchemy[asyncio] aiosqlite", args="test/engine test/base"),
    # numpy
    Suite("numpy==2.3.5", "hypothesis pytz", source=False, args="numpy/linalg numpy/ma"),
    Suite("scipy==1.16.3", "hypothesis", source=False, args="scipy/sparse/csgraph scipy/spatial scipy/integrate"),
    Suite("pandas==2.3.3", "hypothesis numpy<2.4", source=False, args="pandas/tests/series"),
    Suite("xarray==2025.12.0", "numpy pandas pytz", source=False, args="xarray/tests/test_variable.py"),
    Suite("scikit-learn==1.7.2", "", source=False, args="sklearn/preprocessing/tests"),
    Suite("networkx==3.6.1", "numpy scipy", source=False, args="networkx/classes networkx/generators networkx/linalg networkx/convert_matrix.py networkx/tests"),
    # no other library
    Suite("click==8.5.1"),
    Suite("jinja2==3.1.6", "trio"),
    Suite("marshmallow==4.4.0", "simplejson"),
    Suite("pydantic==2.14.4", "pytz dirty-equals pytest-mock pytest-pretty pytest-examples faker pytest-benchmark pytest-codspeed pytest-run-parallel "
          "packaging jsonschema time-machine email-validator", drop="pydantic", args="-p no:pretty tests/test_main.py tests/test_types.py tests/test_json_schema.py tests/test_validators.py"),
]


def quiet(command, log, **more):
    with open(log, "ab") as out:
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **more).returncode:
            raise measure.Failure("%s: see %s" % (" ".join(command[:6]), log))


def prepare(suite):
    stamp, log = json.dumps([suite.requirement, suite.needs, suite.source, suite.drop]), suite.path("prepare.log")
    try:
        with open(suite.path("ready")) as f:
            if f.read() == stamp:
                return
    except OSError:
        pass
    shutil.rmtree(suite.folder, ignore_errors=True)
    os.makedirs(suite.folder)
    quiet([PYTHON, "-m", "venv", suite.path("venv")], log)
    pip = [suite.python, "-m", "pip", "--disable-pip-version-check", "-q"]
    quiet(pip + ["install", suite.requirement, "pytest", "pytest-xdist"] + suite.needs, log)
    if suite.source:
        quiet([PYTHON, "-m", "venv", suite.path("build")], log)  # metadata of a source archive is asked of the project's build program
        builder = [suite.path("build/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q"]
        quiet(builder + ["install", "-U"] + BACKENDS, log)
        quiet(builder + ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", suite.path("archive"), re.sub(r"\[.*\]", "", suite.requirement)], log)
        archive, = os.listdir(suite.path("archive"))
        os.makedirs(suite.path("source"))
        quiet(["tar", "-xzf", suite.path("archive/" + archive), "-C", suite.path("source"), "--strip-components=1"], log)
        shutil.rmtree(suite.path("build"))
        for name in suite.drop:
            shutil.rmtree(suite.path("source/" + name))
    with open(suite.path("ready"), "w") as f:
        f.write(stamp)


def run(suite, side, number):
    """One run of one side: times, the last line, the outcomes; of xd the way and its reason, too."""
    outcomes, output = suite.path("%s-%d.json" % (side, number)), suite.path("%s-%d.txt" % (side, number))
    own = ["-p", "no:cacheprovider", "-p", "wild_plugin"] + suite.args
    if side == "xd":
        command = [XDCTL, "run", "--python", suite.python, "--as-module", "-n2", "--jsonl", outcomes] + own
    else:
        command = [suite.python, "-m", "pytest"] + (["-p", "no:xdist"] if side == "plain" else ["-n2", "--dist", side]) + own + suite.xdist
    foreign = ("PYTEST_", "XD_", "VIRTUAL_ENV", "PYTHON", "CI", "BUILD_NUMBER", "FORCE_COLOR", "COVERAGE_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    env.update(PYTHONPATH=HERE, COLUMNS="150", WILD_OUTCOMES=outcomes, XDG_STATE_HOME=suite.path("state"), XDG_CACHE_HOME=suite.path("cache"))
    if os.path.exists(outcomes):
        os.unlink(outcomes)
    found = measure.run(command, suite.cwd(), env, output)
    with open(output, errors="replace") as f:
        text = f.read()
    last = re.findall(r"^=* ?(\d+ [a-z].*) in \d+\.\d\ds", text, re.M)
    if not os.path.exists(outcomes) or not last:
        raise measure.Failure("%s %s: exit code %s, see %s" % (suite.name, side, found["code"], output))
    found.update(side=side, last=last[-1])
    if side == "xd":
        with open(outcomes) as f:
            events = [json.loads(line) for line in f]
        found["way"] = "+".join(sorted({e["way"] for e in events if e["event"] == "worker_up"}))
        shown = subprocess.run([XDCTL, "show", "-v", "latest"], cwd=suite.cwd(), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        why = re.findall(r"^xd: (workers are .*)", shown.decode(errors="replace"), re.M)
        found["why"] = why[0] if why else ""
        found["outcomes"] = categories(events)
    else:
        with open(outcomes) as f:
            found["outcomes"] = json.load(f)
    return found


def categories(events):
    counted = {}
    for e in events:
        if e["event"] == "test":
            mine = counted.setdefault(e["nodeid"], [])
            if e["outcome"] == "passed" and not e.get("reports"):
                mine.append("passed")
            mine += [r["category"] for r in e.get("reports", ()) if r["category"]]
            if e["outcome"] not in ("passed", "failed", "skipped", "xfailed", "xpassed", "error"):
                mine.append(e["outcome"])
    return counted


def differing(ones, others):
    """Node ids whose categories no run of the other side has."""
    return sorted(n for one in ones for n in set(one) | set(others[0]) if all(one.get(n) != other.get(n) for other in others))


def measure_suite(suite, rounds, sides, say):
    results = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            results[side].append(run(suite, side, number))
            say("%s: %s %d: %.1f s, CPU %.1f s: %s" % (suite.name, side, number, results[side][-1]["wall"], results[side][-1]["cpu"], results[side][-1]["last"]))
    found = {"version": suite.version, "cells": {side: [[r["wall"], r["cpu"]] for r in ones] for side, ones in results.items()},
             "last": {side: [r["last"] for r in ones] for side, ones in results.items()}}
    if "plain" in sides:
        found["tests"] = len(results["plain"][0]["outcomes"])
        plain = [r["outcomes"] for r in results["plain"]]
        found["unstable"] = sorted(set(differing(plain, plain[:1])))
        found["differ"] = {side: sorted(set(differing([r["outcomes"] for r in results[side]], plain))) for side in sides if side != "plain"}
    if "xd" in sides:
        found["way"], found["why"] = results["xd"][-1]["way"], results["xd"][-1]["why"]
    with open(suite.path("result.json"), "w") as f:
        json.dump(found, f, indent=1)
    return found


def ratio(found, other, column):
    mine, others = found["cells"].get("xd"), found["cells"].get(other)
    return "%.2f" % median(a[column] / b[column] for a, b in zip(mine, others)) if mine and others else "-"


def table(suites):
    lines = ["| suite | tests | plain, s | way | reason | wall/plain | wall/xdist | CPU/plain | CPU/xdist | outcomes |", "|" + "---|" * 10]
    for suite in suites:
        try:
            with open(suite.path("result.json")) as f:
                found = json.load(f)
        except OSError:
            continue
        differ = found.get("differ", {})
        told = "equal" if not differ.get("xd") else "%d differ" % len(differ["xd"])
        if differ.get("load"):
            told += " (xdist: %d)" % len(differ["load"])
        plain = found["cells"].get("plain")
        why = found.get("why", "").partition(": ")[2]
        lines.append("| %s %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |" % (
            suite.name, found["version"], found.get("tests", "-"), "%.1f" % median(wall for wall, _cpu in plain) if plain else "-", found.get("way", "-"), why or "-",
            ratio(found, "plain", 0), ratio(found, "load", 0), ratio(found, "plain", 1), ratio(found, "load", 1), told))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Suites of popular projects by plain pytest, pytest-xdist and xd.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each suite [3]")
    parser.add_argument("--sides", default=",".join(SIDES), help="which to run [%s]" % ",".join(SIDES))
    parser.add_argument("--limit", type=float, default=measure.LIMIT_S, help="seconds that one run may take [%d]" % measure.LIMIT_S)
    parser.add_argument("--prepare", action="store_true", help="only install")
    parser.add_argument("--table", action="store_true", help="only print the table of what was measured before")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of %s [all]" % ", ".join(s.name for s in SUITES))
    options = parser.parse_args()
    chosen = [s for s in SUITES if not options.names or s.name in options.names]
    if set(options.names) - {s.name for s in SUITES} or options.rounds < 1:
        parser.error("unknown suite, or --rounds below 1")
    measure.LIMIT_S = options.limit
    measure.become_subreaper()
    worst = 0
    for suite in [] if options.table else chosen:
        try:
            prepare(suite)
            if not options.prepare:
                found = measure_suite(suite, options.rounds, options.sides.split(","), lambda text: print(text, file=sys.stderr, flush=True))
                worst = max(worst, 1 if found.get("differ", {}).get("xd") else 0)
        except (measure.Failure, OSError, subprocess.SubprocessError) as e:
            print("%s: %s" % (suite.name, e), file=sys.stderr, flush=True)
            worst = 2
    print(table(chosen))
    return worst


if __name__ == "__main__":
    sys.exit(main())
