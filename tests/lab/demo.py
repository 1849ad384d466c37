"""tools/dev demo --hosts N: a real project on N hosts of a lab: its files are brought there, its suite runs on all of them, a source file is changed, and it runs again.

    demo.py PROJECT XDCTL N          with the Python that the hosts are to have
"""
import os
import shutil
import subprocess
import sys

if not __package__:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    __package__ = "lab"

from . import Lab, LabError, Unavailable  # noqa: E402


def show(lab, folder, command, without=None):
    """Runs it as a user of the controller would, and ends with it when it fails.  without: lines with this word are left out."""
    print("\n$ " + " ".join(os.path.basename(w) if os.path.isabs(w) else w for w in command) + (" | grep -v " + without if without else ""), flush=True)
    environment = dict(os.environ)
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    process = lab.popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, universal_newlines=True)
    for line in process.stdout:
        if not without or without not in line:
            sys.stdout.write(line)
            sys.stdout.flush()
    code = process.wait()
    if code:
        raise SystemExit(code if code > 0 else 1)


def main(project, xdctl, hosts):
    with Lab.best(int(hosts)) as lab:
        folder = str(lab.folder / "project")
        shutil.copytree(project, folder, ignore=shutil.ignore_patterns("__pycache__"))
        tx = [word for host in lab.hosts for word in ("--tx", "2*" + lab.spec(host.name))]
        run = [xdctl, "run", "-v", "-d"] + tx + ["-p", "no:cacheprovider", "tests"]
        print("%d hosts, an sshd each; the project is on none of them" % len(lab.hosts))
        show(lab, folder, run, "PASSED")
        source = next(os.path.join(folder, name, "recipes.py") for name in sorted(os.listdir(folder)) if os.path.exists(os.path.join(folder, name, "recipes.py")))
        with open(source, "a") as f:
            f.write("\n# a line more\n")
        print("\none source file is changed: %s" % os.path.relpath(source, folder))
        show(lab, folder, run, "PASSED")
        show(lab, folder, [xdctl, "sync", "--stats", "./"] + [word for host in lab.hosts for word in ("--to", lab.spec(host.name) + ":copy")])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (LabError, Unavailable) as e:
        sys.stderr.write("tools/dev demo --hosts: %s\n" % e)
        sys.exit(2)
