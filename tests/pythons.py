"""The interpreters of this machine, and virtual environments for them below build/pythons/, each made once: for scenarios and benchmarks."""
import fcntl
import glob
import importlib.metadata
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "build", "pythons")
VIRTUALENV = "virtualenv==16.7.12"  # the last that is one file, and the last that needs nothing: for Python 2, which has no venv


class Unavailable(Exception):
    """Why there is none."""


def interpreter(version):
    """Of CPython `version` ("3.8"; "3.14t" is the free-threaded build), or of the program of that name ("pypy3")."""
    if version[0].isdigit():
        asked = "import %s" % ("ensurepip" if version.startswith("2.") else "venv, ensurepip")
        number, kind = version.rstrip("t"), "t" if version.endswith("t") else "[0-9]"
        candidates = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/%s.*%s/bin/python" % (number, kind)))) + ["python" + version]
    else:
        asked, candidates = "import venv, ensurepip", [version]
    for python in candidates:
        try:
            if subprocess.run([python, "-c", asked], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            pass
    raise Unavailable("no %s with %s on this machine" % (version if not version[0].isdigit() else "CPython " + version, asked[len("import "):]))


def quietly(command, what):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, universal_newlines=True)
    if done.returncode != 0:
        raise Unavailable("%s: %s" % (what, done.stdout.strip()[-300:]))


def install(pip, packages, what, *options):
    quietly(pip + ["install", "-q", "--disable-pip-version-check", "--retries", "1"] + list(options) + list(packages),
            "%s for %s cannot be installed" % (" ".join(packages), what))


def has_our_pip(version):
    """Whether the pip that runs here can install for that Python: half of the time that an environment takes is for a pip of its own."""
    if not version[0].isdigit() or tuple(int(n) for n in version.rstrip("t").split(".")) < (3, 8):
        return False
    try:
        return int(importlib.metadata.version("pip").split(".")[0]) >= 24  # the first that installs for all others from 3.8 to 3.13
    except importlib.metadata.PackageNotFoundError:
        return False


def make(python, version, folder):
    if not version.startswith("2."):
        quietly([python, "-m", "venv", "--clear"] + (["--without-pip"] if has_our_pip(version) else []) + [folder], "no virtual environment of %s" % version)
        return
    tool = os.path.join(FOLDER, "virtualenv")
    if not os.path.exists(os.path.join(tool, "virtualenv.py")):
        install([sys.executable, "-m", "pip"], [VIRTUALENV], version, "--no-deps", "--target", tool)
    quietly([python, os.path.join(tool, "virtualenv.py"), "-q", "--clear", "--no-download", folder], "no virtual environment of %s" % version)


def environment(version, wanted="", *more):
    """The python of build/pythons/<version>-<pytest>[-<package>...]; wanted: "==4.6.11", or "" for the newest that this Python can have;
    `more` are packages to install beside pytest.  Unavailable: it cannot be had here."""
    python = interpreter(version)
    folder = os.path.join(FOLDER, "-".join([version + (wanted or "==newest").replace("==", "-")] + [m.replace("==", "-") for m in more]))
    made = os.path.join(folder, "bin", "python")
    os.makedirs(FOLDER, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, "ready")):
            make(python, version, folder)
            pip = [sys.executable, "-m", "pip", "--python", made] if has_our_pip(version) else [made, "-m", "pip"]
            install(pip, ["pytest" + wanted] + list(more), version)
            open(os.path.join(folder, "ready"), "w").close()
    return made
