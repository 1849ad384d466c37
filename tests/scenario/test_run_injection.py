"""Text of tests, workers and hosts in a terminal and in the log of a CI system: nothing of it acts there, and files have it as it was.

COMMANDS are what GitHub's runner, Azure's agent and TeamCity read out of a log; ESCAPES what a terminal obeys.  A suite says both in all places that
it has; each CI system is played by what it does with the log (commands_of)."""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import Project, end
from faults import Terminal

NO_CACHE = ["-p", "no:cacheprovider"]
GITHUB = ["::error file=a.py,line=1::forged", "::stop-commands::forged", "  ::add-mask::forged", "##[error]forged", "::set-output name=a::forged"]
AZURE = ["##vso[task.setvariable variable=a]forged", "##[section]forged"]
TEAMCITY = ["##teamcity[buildStatus text='forged']"]
GITLAB = ["section_start:1:forged\r\x1b[0Kforged"]
COMMANDS = GITHUB + AZURE + TEAMCITY
ESCAPES = ["\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;http://evil\x1b\\link", "\x1b[2J\x1b[1;1H", "\x9b2J", "over\rwritten", "\u202eevil", "\x85\x90", "\x7f"]
SYSTEMS = {"GITHUB_ACTIONS": ("true", "github"), "TF_BUILD": ("True", "azure"), "TEAMCITY_VERSION": ("2024.1", "teamcity"), "GITLAB_CI": ("true", "gitlab")}
COLOR = re.compile("\x1b\\[[0-9;]*m")


def commands_of(system, log):
    """What this CI system would take as commands, as its source or its manual has it."""
    found = []
    for line in re.split("[\r\n]", log):
        if system == "github" and re.match(r"::[a-z-]+( [^:]*)?::", line.lstrip()):  # str.lstrip: white space of Unicode, as there
            found.append(line)
        found += [line for token in {"github": ["##["], "azure": ["##vso", "##["], "teamcity": ["##teamcity["]}.get(system, ()) if token in line]
    if system == "gitlab":
        found += re.findall("section_(?:start|end):[0-9]+:[^\r\n]*\r\x1b\\[0K", log)
    return found


def assert_tame(log, colors=False):
    """Nothing but newlines, tabs and colours acts on a terminal."""
    plain = (COLOR.sub("", log) if colors else log).replace("\ufffd2J lone", "")  # pytest reads it so
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]", plain), re.findall(".{0,40}[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e].{0,20}", plain)


SUITE = r"""
import logging, os, sys, warnings
import pytest

COMMANDS, ESCAPES = %r, %r
EVIL = COMMANDS + ESCAPES

def say(to=sys.stdout):
    for text in EVIL:
        to.write(text + "\n")
        to.flush()

def test_captured():
    say(sys.stdout)
    say(sys.stderr)
    logging.getLogger("x").warning("x\n" + "\n".join(EVIL))
    assert 0

def test_in_pieces():
    for text in EVIL:
        for c in text + "\n":
            os.write(1, c.encode())
    os.write(2, b"\x9b2J lone\n\x1b[31m::error file=c.py::forged\x1b[0m\n")
    assert 0

@pytest.mark.parametrize("x", range(len(EVIL)), ids=EVIL)
def test_ids(x):
    assert x %% 3

def test_message():
    raise ValueError("\n".join([""] + EVIL))

def test_skipped():
    pytest.skip("\n".join(EVIL))

@pytest.mark.xfail(reason="\n".join(EVIL))
def test_xfailed():
    assert 0

def test_warned():
    for text in EVIL:
        warnings.warn(text)
    warnings.warn("\n".join(EVIL))

def test_crash():
    os.write(1, "\n".join(EVIL).encode())
    os.abort()
""" % (COMMANDS + GITLAB, ESCAPES)

CONFTEST = r"""
from test_evil import EVIL

def pytest_report_header():
    return EVIL

def pytest_report_collectionfinish():
    return EVIL

def pytest_report_teststatus(report):
    if report.when == "call" and report.nodeid.endswith("test_warned"):
        return "::error::x\x1b[2J", "\x9b", "##[error]\x1b[2J"

def pytest_terminal_summary(terminalreporter):
    for text in EVIL:
        terminalreporter.write_line(text)
"""


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """One run of that suite for all: what is shown of it is made from its journal again and again."""
    p = Project(tmp_path_factory.mktemp("evil"), sys.executable)
    p.write(test_evil=SUITE, conftest=CONFTEST)
    p.first = p.run("-n2", "-rA", "--junitxml=j.xml", *NO_CACHE, env={"GITHUB_ACTIONS": "true"})
    assert p.first.rc == 1 and "test_captured" in p.first.out, p.first
    yield p
    for process in p.started:
        end(process)


def test_a_run_on_github(evil):
    log = evil.first.out + evil.first.err
    assert commands_of("github", log) == []
    assert_tame(log)
    assert log.count(":\\x3aerror file=a.py,line=1::forged") > 5 and "##\\x5berror]forged" in log
    assert "##vso[task.setvariable variable=a]forged" in log  # means nothing to GitHub: stays as it is


@pytest.mark.parametrize("variable", sorted(SYSTEMS))
def test_shown_again(evil, variable):
    value, system = SYSTEMS[variable]
    shown = {color: evil.xdctl("show", "-v", "-rA", "--color=" + color, env={variable: value}) for color in ("yes", "no")}
    for color, result in shown.items():
        assert commands_of(system, result.out) == [], result
        assert commands_of(system, COLOR.sub("", result.out)) == [], result
        assert_tame(result.out, colors=color == "yes")
        assert "forged" in result.out
    assert evil.xdctl("report", "terminal", env={variable: value}).out == evil.xdctl("show", env={variable: value}).out


def test_elsewhere_as_pytest_shows_it(evil):
    """Without a CI system no character of a command is changed."""
    out = evil.xdctl("show").out
    assert_tame(out)
    lines = out.splitlines()
    for command in COMMANDS:
        assert command in lines and "E       " + command.rstrip() in [line.rstrip() for line in lines], command


def test_files_stay_raw(evil):
    reports = "".join(json.dumps(e, ensure_ascii=False) for e in evil.first.tests)
    text = "".join(t or "" for e in ElementTree.parse(str(evil.root / "j.xml")).iter() for t in [e.text] + list(e.attrib.values()))
    for command in COMMANDS:
        assert command in reports and command.strip() in text, command
    for command in ("\\u001b]52;c;ZXZpbA==\\u0007", "\\x9b2J"):
        assert command in json.dumps(evil.first.tests) or "\u009b2J" in reports
    again = {kind: evil.xdctl("report", kind, env={"GITHUB_ACTIONS": "true", "TF_BUILD": "True"}).out for kind in ("jsonl", "junit")}
    assert again == {kind: evil.xdctl("report", kind).out for kind in ("jsonl", "junit")}
    assert "##vso[task.setvariable" in again["jsonl"] and "##vso[task.setvariable" in again["junit"]


COLLECTING = r"""
import os
def pytest_collection_finish(session):
    os.write(1, b"::stop-commands::of stdout\n\x9b2J##vso[x]##[error]\n")
    os.write(2, b"::stop-commands::of stderr\n  ::error::forged\n\x9b2J##vso[x]##[error]\n")
"""


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "TF_BUILD", None])
def test_uncaptured(project, variable):
    """-s: the lines of workers, and of the process that collects, which begin where the text does."""
    project.write(test_evil=SUITE.replace("assert 0", "pass").replace("os.abort()", "pass"), conftest=COLLECTING)
    for way in (["-n1"], ["-n0"]):
        result = project.xdctl("run", "--python", project.python, "-s", *(way + NO_CACHE), env={variable: "true"} if variable else {})
        for log in (result.out, result.err):
            assert_tame(log)
            assert commands_of(SYSTEMS[variable][1] if variable else None, log) == [], log
        assert "[gw0] ::stop-commands::forged" in result.out, result
        shown = ":\\x3astop-commands::of %s" if variable == "GITHUB_ACTIONS" else "::stop-commands::of %s"
        assert shown % "stdout" in result.out.splitlines() and shown % "stderr" in result.err.splitlines(), result


def test_one_file_for_both(project):
    """> log 2>&1: a command whose halves go to stdout and stderr."""
    project.write(test_evil=r"""
        import os
        def test_halves():
            for _ in range(50):
                os.write(2, b"x")
                os.write(1, b"\n")
                os.write(2, b"::error::forged\n")
                os.write(2, b":")
                os.write(2, b":warning::forged\n")
        """)
    with open(str(project.path / "log"), "wb") as f:
        process = project.start("run", "--python", project.python, "-s", "-n0", *NO_CACHE, stdout=f, stderr=f, env={"GITHUB_ACTIONS": "true"})
        assert process.wait(60) == 0
    log = (project.path / "log").read_text()
    assert "forged" in log and commands_of("github", log) == [], log


BANNER = b"::error::banner\n##vso[task.complete result=Failed;]\n##teamcity[x]\n\x1b]52;c;ZXZpbA==\x07\x9b2J \xe2\x80\xae over\rwritten\n"


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "TF_BUILD"])
def test_a_host_speaks(project, variable):
    """What a far end says beside its pipe, in notes, in errors, and in what hosts check and doctor say."""
    value, system = SYSTEMS[variable]
    env = {variable: value}
    (project.path / "banner").write_bytes(BANNER)
    (project.path / "login").write_text("cat %s >&2; exec sh\n" % (project.path / "banner"))
    (project.path / "refuse").write_text("cat %s >&2; exit 9\n" % (project.path / "banner"))
    (project.path / "home").mkdir()
    project.write(test_ok="def test_ok(): pass")
    spec = "--tx=command=env -u XDG_CACHE_HOME HOME=%s sh %s//chdir=." % (project.path / "home", project.path / "login")
    refused = "--tx=command=sh %s" % (project.path / "refuse")
    results = [project.xdctl("run", "--runner=command", "--list", "list", spec, env=env) if (project.root / "list").write_text("true\n") else None,
               project.xdctl("run", "--python", project.python, refused, env=env),
               project.xdctl("hosts", "check", spec, refused, env=env)]
    assert "1 passed" in results[0].out, results[0]
    for result in results:
        for log in (result.out, result.err):
            assert commands_of(system, log) == [], result
            assert_tame(log)
    assert "vs\\x6f[task" in results[0].out if system == "azure" else "##vso[task" in results[0].out, results[0]


def test_words_of_xdctl(project):
    """What a user or a project is called, in errors, in doctor and in the list of runs; of hosts, in notes of sync."""
    env = {"TF_BUILD": "True"}
    name = "##vso\u202e\u009b2J"
    folder = project.path / name
    folder.mkdir()
    (folder / "test_x.py").write_text("def test_x(): pass")
    (folder / "::error::x").write_text("x")
    python = project.path / "python"
    python.write_text("#!/bin/sh\nprintf '##vso[x]\\n\\033[2J\\233'\nexit 3\n")
    python.chmod(0o755)
    results = [project.xdctl("run", "--python", project.python, *NO_CACHE, cwd=folder, env=env), project.xdctl("runs", cwd=folder, env=env),
               project.xdctl("show", name, env=env), project.xdctl("doctor", "--python", str(python), env=env),
               project.xdctl("sync", "-v", str(folder), "popen:" + str(project.path / "to"), env=env),
               project.xdctl(name, env=env), project.xdctl("run", "--tx", "popen//id=" + name, env=env)]
    for result in results:
        for log in (result.out, result.err):
            assert_tame(log)
            assert commands_of("azure", log) == [], result
    assert "##vs\\x6f\\u202e\\x9b2J" in results[1].out, results[1]
    result = project.xdctl("sync", "-v", str(folder) + "/", "popen:" + str(project.path / "two"), env={"GITHUB_ACTIONS": "true"})
    assert ":\\x3aerror::x" in result.out.splitlines() and commands_of("github", result.out) == [], result


def test_the_live_line(project):
    """It names the tests that run."""
    project.write(test_evil="import pytest, time\n@pytest.mark.parametrize('x', [0, 1], ids=['##[error]', '##vso[x]'])\ndef test_x(x): time.sleep(2.6)")
    terminal = Terminal(project, "run", "--python", project.python, "-n2", "--live=always", *NO_CACHE, TF_BUILD="True", COLUMNS="200")
    assert terminal.end() == 0
    log = terminal.output.decode()
    assert commands_of("azure", log) == [] and "##\\x5berror]" in log, log
