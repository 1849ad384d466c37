"""The units of systemd, as systemd reads them: nothing that it does not know, and as little exposed as running tests allows."""
import configparser
import glob
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, XDCTL

FOLDER = os.path.join(ROOT, "tools", "systemd")
SYSTEM = ("xdctl-serve.service", "xdctl-join@.service")
UNITS = SYSTEM + ("user/xdctl-serve.service",)
EXPOSED = {"xdctl-serve.service": 40, "xdctl-join@.service": 40, "user/xdctl-serve.service": 80}  # tenths, at most, of what `systemd-analyze security` says


@pytest.fixture
def analyze(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (package systemd)")

    def run(*args):
        return subprocess.run(["systemd-analyze", "--no-pager"] + [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, timeout=60, env=dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path)))
    return run


def text(name):
    with open(os.path.join(FOLDER, name + ".in"), encoding="utf-8") as f:
        return f.read().replace("@CMAKE_INSTALL_FULL_BINDIR@/xdctl", XDCTL)


def unit(name):
    """[Service] of it: {setting: value}."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(text(name))
    return dict(parser["Service"])


def write(name, folder):
    path = folder / os.path.basename(name)
    path.write_text(text(name))
    return path


def test_all_units_are_looked_at():
    found = {os.path.relpath(p, FOLDER)[:-3] for p in glob.glob(FOLDER + "/**/*.in", recursive=True)}
    assert found == set(UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_it(analyze, tmp_path, name):
    scope = ["--user"] if name.startswith("user/") else ["--system"]
    done = analyze(*scope, "--man=no", "--recursive-errors=no", "verify", write(name, tmp_path))
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout


def test_systemd_refuses_what_it_does_not_know(analyze, tmp_path):
    """So that the test above says something."""
    path = write("xdctl-serve.service", tmp_path)
    path.write_text(path.read_text().replace("PrivateTmp=yes", "PrivateTmp=perhaps\nPrivateNothing=yes"))
    done = analyze("--man=no", "--recursive-errors=no", "verify", path)
    assert "PrivateNothing" in done.stdout and "perhaps" in done.stdout, done.stdout


@pytest.mark.parametrize("name", UNITS)
def test_it_is_hardened(analyze, tmp_path, name):
    done = analyze("security", "--offline=true", "--threshold=%d" % EXPOSED[name], write(name, tmp_path))
    if "unrecognized option" in done.stdout:
        pytest.skip("this systemd-analyze does not look at files (--offline)")
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout


def test_what_is_restricted_is_the_same_for_both_of_the_system():
    of_one = ("ExecStart", "Environment", "EnvironmentFile", "Restart")
    serve, join = ({k: v for k, v in unit(name).items() if k not in of_one} for name in SYSTEM)
    assert serve == join and "NoNewPrivileges" in serve


@pytest.mark.parametrize("name", UNITS)
def test_stopping_has_the_time_of_the_drain(name):
    """The signal is for the program alone, which needs its time; what it then has not ended is killed."""
    settings = unit(name)
    shown = subprocess.run([XDCTL, "join" if "join" in name else "serve", "--help"], stdout=subprocess.PIPE, universal_newlines=True, timeout=20).stdout
    drain = int(re.search(r"--drain.*?\b(\d+)s? without", shown, re.S).group(1))
    assert settings["KillMode"] == "mixed" and drain < int(settings["TimeoutStopSec"]) <= drain + 30


@pytest.mark.parametrize("name", UNITS)
def test_a_wrong_command_line_is_not_tried_again(name):
    command = "join" if "join" in name else "serve"
    wrong = subprocess.run([XDCTL, command, "--no-such-option"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    assert str(wrong.returncode) == unit(name)["RestartPreventExitStatus"]


@pytest.mark.parametrize("name", UNITS)
def test_its_command_is_one_of_xdctl(name):
    """All options of the unit are known; $XDCTL_OPTIONS are the user's."""
    words = unit(name)["ExecStart"].split()
    shown = subprocess.run([XDCTL, words[1], "--help"], stdout=subprocess.PIPE, universal_newlines=True, timeout=20)
    assert words[0] == XDCTL and shown.returncode == 0
    assert all(w in shown.stdout for w in words if w.startswith("--"))


def test_what_is_not_restricted_is_said():
    """Each setting of the list is one that is not set."""
    said = re.findall(r"^#   ([A-Z]\w+(?:=[@\w-]+)?(?:, [A-Z]\w+)*)  ", text("xdctl-serve.service"), re.M)
    names = {n.split("=")[0] for words in said for n in words.split(", ")}
    assert len(names) > 10 and names & set(unit("xdctl-serve.service")) == {"SystemCallFilter"}
