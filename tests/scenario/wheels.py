"""Packages of the index for scenarios: each pinned in wheels.txt, unpacked once into a folder of its own below build/wheels, and put on PYTHONPATH.
Many folders share one interpreter, so another pytest costs a second and no virtual environment."""
import concurrent.futures
import fcntl
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "wheels")
# What a pytest may need; packages that it does not need stand in nobody's way.
NEEDED = ("pluggy==1.5.0", "iniconfig==2.0.0", "packaging==24.0", "pygments==2.18.0", "attrs==23.2.0", "tomli==2.0.1", "py==1.11.0", "exceptiongroup==1.2.2")


def pins():
    """Requirement -> its line with the hash."""
    with open(os.path.join(HERE, "wheels.txt")) as f:
        return {line.split()[0]: line.strip() for line in f if not line.startswith("#")}


def folder(requirement):
    """The folder with this requirement and nothing that it needs.  Skips the test where there is no index."""
    where = os.path.join(FOLDER, requirement.replace("==", "-"))
    os.makedirs(FOLDER, exist_ok=True)
    with open(where + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(where + ".ready"):
            with open(where + ".txt", "w") as f:
                f.write(pins()[requirement] + "\n")
            pip = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--no-compile",
                                  "--require-hashes", "--upgrade", "--only-binary", ":all:", "--target", where, "-r", where + ".txt"],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
            if pip.returncode != 0:
                pytest.skip("%s cannot be installed: %s" % (requirement, pip.stdout.strip()[-300:]))
            open(where + ".ready", "w").close()
    return where


def folders(*requirements):
    """The same for several, side by side."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(folder, requirements))


def with_needed(*requirements):
    """Requirements behind what a pytest needs (it has a py.py of its own, where there is no py), other releases of the same projects left out."""
    named = {r.split("==")[0] for r in requirements}
    return [r for r in NEEDED if r.split("==")[0] not in named] + list(requirements)
