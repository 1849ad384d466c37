"""Where no home folder can be written: a user without an account, a home that does not exist, read-only folders."""
import os
import shutil
import stat
import subprocess
import sys

import pytest

from conftest import SECONDS, XDCTL, clean_environment, programs_for_all

UID = 54321  # no account has it
PURE = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py.py")


class Stranger(object):
    """Commands of a user who owns nothing here: as in `docker run -u 54321`.  Without root's rights: this user."""

    def __init__(self, folder, python):
        self.folder = folder
        self.prefix = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"] if os.geteuid() == 0 else []
        self.uid = UID if self.prefix else os.geteuid()
        self.python, self.pythonpath, self.xdctl = python, "", XDCTL
        if self.prefix:
            if not shutil.which("setpriv"):
                pytest.skip("there is no setpriv here")
            self.python, self.xdctl = "/usr/bin/python3", programs_for_all(folder)
            self.pythonpath = os.path.join(folder, "pure")
            modules = os.path.dirname(os.path.dirname(pytest.__file__))
            for name in PURE:
                if name == "py.py" and os.path.exists(os.path.join(modules, name)):
                    shutil.copy(os.path.join(modules, name), self.pythonpath)
                elif os.path.isdir(os.path.join(modules, name)):
                    shutil.copytree(os.path.join(modules, name), os.path.join(self.pythonpath, name), ignore=shutil.ignore_patterns("__pycache__"))
        self.project = os.path.join(folder, "project")
        os.mkdir(self.project)
        with open(os.path.join(self.project, "test_h.py"), "w") as f:
            f.write("import pytest\n@pytest.mark.parametrize('i', range(12))\ndef test_h(i, tmp_path): pass\n")
        self.tmp = os.path.join(folder, "tmp")
        os.mkdir(self.tmp)
        os.chmod(self.tmp, 0o1777)
        if self.call("import pytest", program=[self.python, "-c"]).returncode:
            pytest.skip("%s cannot be run with pytest by another user" % self.python)
        if self.call("--version").returncode:
            pytest.skip("%s cannot be run by another user" % self.xdctl)

    def call(self, *args, **more):
        env = clean_environment(TMPDIR=self.tmp, PYTHONPATH=self.pythonpath, PYTHONDONTWRITEBYTECODE="1")
        for name, value in more.get("env", {}).items():
            env.pop(name, None)
            if value is not None:
                env[name] = value
        return subprocess.run(self.prefix + more.get("program", [self.xdctl]) + list(args), cwd=self.project, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, universal_newlines=True)

    def run(self, **env):
        return self.call("run", "-n2", "--python", self.python, "-p", "no:cacheprovider", env=env)


@pytest.fixture
def stranger(open_folder):
    return Stranger(str(open_folder), sys.executable)


def private(stranger):
    return os.path.join(stranger.tmp, "xd-%d" % stranger.uid)


HOMES = {
    "no HOME": dict(HOME=None),
    "HOME is not ours": dict(HOME="/proc"),
    "no such HOME": dict(HOME="/nonexistent/home"),
    "HOME is a file": dict(HOME="/dev/null"),
    "XDG folders that cannot be made": dict(HOME="/proc", XDG_STATE_HOME="/proc/state", XDG_CACHE_HOME="/proc/cache"),
    "XDG folders that are files": dict(XDG_STATE_HOME="/dev/null", XDG_CACHE_HOME="/dev/null"),
}


@pytest.mark.parametrize("home", sorted(HOMES))
def test_no_home(stranger, home):
    ours = private(stranger)
    for _ in range(2):  # the second uses what the first made
        result = stranger.run(**HOMES[home])
        assert result.returncode == 0, (result.stdout, result.stderr)
        assert "12 passed" in result.stdout
        text = " ".join(result.stdout.split())
        assert text.count(ours) == 1, text  # one note
    status = os.lstat(ours)
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, stranger.uid)
    assert sorted(os.listdir(ours)) == ["cache", "state"]
    cache = os.path.join(ours, "cache")
    assert [name for name in os.listdir(cache) if name.startswith("adapter-")] and [name for name in os.listdir(cache) if name.startswith("project-")]
    assert [name for name in os.listdir(stranger.tmp) if name.startswith("xd-")] == [os.path.basename(ours)]
    shown = stranger.call("show", env=HOMES[home])
    assert (shown.returncode, "12 passed" in shown.stdout) == (0, True), shown.stderr
    assert len(stranger.call("runs", env=HOMES[home]).stdout.strip().splitlines()) == 2
    doctor = stranger.call("doctor", "--python", stranger.python, env=HOMES[home])
    assert ours in doctor.stdout, doctor.stdout


@pytest.mark.parametrize("trap", ["link", "open folder", "file"])
def test_what_others_put_there_is_not_used(stranger, trap):
    """/tmp is everybody's: who knows the number of a user can make the folder before him."""
    ours = private(stranger)
    bait = os.path.join(stranger.folder, "bait")
    os.mkdir(bait)
    if trap == "link":
        os.symlink(bait, ours)
    elif trap == "file":
        open(ours, "w").close()
    else:
        os.mkdir(ours)
        os.chmod(ours, 0o777)
    elsewhere = "/tmp/xd-%d" % stranger.uid
    existed = os.path.exists(elsewhere)
    try:
        result = stranger.run(HOME="/nonexistent")
        assert result.returncode == 0, (result.stdout, result.stderr)
        assert elsewhere in result.stdout
        assert os.listdir(bait) == []
        assert trap != "open folder" or os.listdir(ours) == []
    finally:
        if not existed:
            shutil.rmtree(elsewhere, ignore_errors=True)


def test_home_that_cannot_be_written(stranger):
    """Its runs of former times can still be shown, until there are newer ones."""
    home = os.path.join(stranger.folder, "home")
    os.mkdir(home)
    if stranger.prefix:
        os.chown(home, UID, UID)
    first = stranger.run(HOME=home)
    assert first.returncode == 0 and private(stranger) not in first.stdout
    runs = os.path.join(home, ".local", "state", "xd")
    for folder in (home, runs, os.path.join(home, ".cache", "xd")):
        os.chmod(folder, 0o500)
    try:
        assert "12 passed" in stranger.call("show", env={"HOME": home}).stdout
        second = stranger.run(HOME=home)
        assert second.returncode == 0 and private(stranger) in second.stdout, second
        assert len(stranger.call("runs", env={"HOME": home}).stdout.strip().splitlines()) == 1
    finally:
        for folder in (home, runs, os.path.join(home, ".cache", "xd")):
            os.chmod(folder, 0o700)
