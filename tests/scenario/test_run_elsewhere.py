"""An agent that shares nothing with the controller's host but the kernel and /usr: in a mount namespace and a root of its own, where no path of the
controller's exists.  It gets frames over its pipe and has to find everything else where it is."""
import os
import subprocess
import sys

import pytest

from conftest import ROOT, junit_cases

sys.path.insert(0, os.path.join(ROOT, "tools"))
import wiregen  # noqa: E402

AGENT = os.environ.get("XD_AGENT") or os.path.join(ROOT, "build", "bin", "xdagent")
SUITE = "/elsewhere/suite"  # all paths that begin like this are inside the other root
PYTHON = "/elsewhere/python"
VENV = "/elsewhere/venv"
# Where a file system of the host is seen in the other root.  What is missing on this host is left out.
SEEN = [(path, path) for path in ("/usr", "/proc", "/dev")]

# Runs as root of a mount namespace: makes the other root and starts the agent in it, with nothing of the environment that it got.
ENTER = """#!/bin/sh
# ROOT, mounts as "SOURCE TARGET" lines, the agent's arguments
root=$1; shift
while read -r source target; do
    mount --rbind "$source" "$root$target" || exit 9
done < "$root/mounts"
exec chroot "$root" /bin/sh -c 'cd %s && exec env -i HOME=/elsewhere/home PATH=/elsewhere/bin:/usr/bin:/bin LD_LIBRARY_PATH=%s/lib $(cat /elsewhere/environment) /elsewhere/xdagent "$@"' sh "$@"
""" % (SUITE, PYTHON)


def unshare():
    """The command that gives a mount namespace, or why there is none."""
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--user", "--map-root-user"]):
        try:
            done = subprocess.run(command + ["sh", "-c", "mount --bind /usr /mnt && chroot / true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as e:
            return None, str(e)
        if done.returncode == 0:
            return command, None
    return None, done.stdout.decode(errors="replace").strip()


class Elsewhere(object):
    def __init__(self, project, enter):
        self.project, self.root = project, project.path / "root"
        self.environment = self.inside("/elsewhere/environment")
        self.mounts = []
        for folder in ("/tmp", SUITE, "/elsewhere/home", "/elsewhere/bin"):
            self.inside(folder).mkdir(parents=True, exist_ok=True)
        self.inside("/tmp").chmod(0o1777)
        for source, target in SEEN:
            self.mount(source, target)
        for name in ("bin", "lib", "lib64", "sbin"):  # links into /usr, or folders
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), str(self.inside("/" + name)))
            elif os.path.isdir("/" + name):
                self.mount("/" + name, "/" + name)
        self.mount(AGENT, "/elsewhere/xdagent")
        self.make_python()
        self.inside("/mounts").write_text("".join("%s %s\n" % pair for pair in self.mounts))
        script, agent = project.path / "enter", project.path / "agent"
        script.write_text(ENTER)
        agent.write_text("#!/bin/sh\nexec %s '%s' '%s' \"$@\"\n" % (" ".join(enter), script, self.root))
        for file in (script, agent):
            file.chmod(0o755)
        self.agent = agent
        self.set()

    def inside(self, path):
        return self.root / path.lstrip("/")

    def mount(self, source, target):
        at = self.inside(target)
        if os.path.isdir(source):
            at.mkdir(parents=True, exist_ok=True)
        else:
            at.parent.mkdir(parents=True, exist_ok=True)
            at.touch()
        self.mounts.append((os.path.realpath(source), target))

    def make_python(self):
        """A virtual environment with our pytest, of an interpreter that lies in another place than here."""
        base = os.path.realpath(sys.base_prefix)
        name = "python%d.%d" % sys.version_info[:2]
        where = base if base == "/usr" else PYTHON
        if where == PYTHON:
            self.mount(base, PYTHON)
        self.inside(VENV + "/bin").mkdir(parents=True)
        os.symlink("%s/bin/%s" % (where, name), str(self.inside(VENV + "/bin/python")))
        self.inside(VENV + "/pyvenv.cfg").write_text("home = %s/bin\ninclude-system-site-packages = false\n" % where)
        self.mount(os.path.dirname(os.path.dirname(pytest.__file__)), "%s/lib/%s/site-packages" % (VENV, name))

    def set(self, **environment):
        self.environment.write_text(" ".join("%s=%s" % pair for pair in environment.items()))

    def write(self, **files):
        for name, text in files.items():
            file = self.inside(SUITE) / (name if "." in name else name + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def run(self, *args, **more):
        args = args if "--runner=command" in args else args + ("-p", "no:cacheprovider")
        return self.project.run("--agent", self.agent, *args, python=False, **more)


@pytest.fixture
def elsewhere(project):
    enter, why = unshare()
    if enter is None:
        print("no mount namespaces here: %s" % why)
        pytest.skip("no mount namespaces here: %s" % why)
    other = Elsewhere(project, enter)
    started = subprocess.run([str(other.agent), "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    assert started.stdout.startswith(b"xdagent "), started
    return other


def ours(project):
    """Paths that exist here and must not be needed there."""
    paths = [str(project.root), str(project.path), sys.prefix, os.path.realpath(sys.prefix), str(project.path / "state"), ROOT]
    return [path for path in paths if path != "/usr" and not path.startswith("/usr/")]


HERE = """
import os, sys

def test_nothing_of_the_controllers_host(): assert [p for p in %r if os.path.exists(p)] == []

def test_where_it_is(): assert (os.getcwd(), sys.prefix) == (%r, %r)

def test_environment(): assert not [k for k in os.environ if k.startswith(("XDG_", "VIRTUAL"))] and os.environ["HOME"] == "/elsewhere/home"

def test_bad(tmp_path): assert str(tmp_path) == ""

def test_crash():
    print("last words")
    os.abort()
"""


@pytest.mark.parametrize("way", ["collected", "fresh"])
def test_nothing_of_the_controllers_host_is_needed(project, elsewhere, way):
    elsewhere.set(PATH="%s/bin:/usr/bin:/bin" % VENV)
    os.symlink("python", str(elsewhere.inside(VENV + "/bin/python3")))
    elsewhere.write(test_here=HERE % (ours(project), SUITE, VENV))
    junit = project.path / "junit.xml"
    result = elsewhere.run("-n2", "-v", "--junitxml=%s" % junit, *(["--no-fork"] if way == "fresh" else []))
    assert result.rc == 1, result
    assert sorted(result.outcomes.items()) == [
        ("test_here.py::test_bad", "failed"), ("test_here.py::test_crash", "crashed"), ("test_here.py::test_environment", "passed"),
        ("test_here.py::test_nothing_of_the_controllers_host", "passed"), ("test_here.py::test_where_it_is", "passed")], result
    assert "last words" in result.out and {e["way"] for e in result.events if e["event"] == "worker_up"} == {way}, result
    told, = [e for e in result.events if e["event"] == "environment"]
    assert (told["interpreter"], told["found"], told["folder"]) == (VENV + "/bin/python3", "python3 on PATH", SUITE), told
    assert told["cache_dir"].startswith("/elsewhere/home/.cache/xd/adapter-") and told["scratch_dir"].startswith("/tmp/xd-") and "/scratch-" in told["scratch_dir"], told
    assert "xd: interpreter %s/bin/python3 (python3 on PATH)\n" % VENV in result.out and "rootdir: %s\n" % SUITE in result.out, result
    assert len(junit_cases(junit)) == 5
    # What it made there is gone again, and nothing was made here.
    assert os.listdir(os.path.dirname(str(elsewhere.inside(told["scratch_dir"])))) == []
    assert sorted(os.listdir(str(project.latest()))) == ["journal", "lock"] and os.listdir(str(project.root)) == []


@pytest.mark.parametrize("how", ["VIRTUAL_ENV", "pytest", "told", "spec"])
def test_the_interpreter_is_looked_for_there(project, elsewhere, how):
    """$VIRTUAL_ENV and PATH of this host name others, which are not looked at."""
    elsewhere.write(test_a="def test_a(): pass\n")
    args, found, python = [], "as told", VENV + "/bin/python"
    if how == "VIRTUAL_ENV":
        elsewhere.set(VIRTUAL_ENV=VENV)
        found = "of $VIRTUAL_ENV"
    elif how == "pytest":
        script = elsewhere.inside("/elsewhere/bin/pytest")
        script.write_text("#!%s\nimport pytest\n" % python)
        script.chmod(0o755)
        found = "behind the pytest on PATH"
    elif how == "told":
        args = ["--python", python]
    else:
        args = ["--tx", "popen//python=" + python]
    result = elsewhere.run(*args, env={"VIRTUAL_ENV": sys.prefix})
    told, = [e for e in result.events if e["event"] == "environment"]
    assert result.rc == 0 and (told["interpreter"], told["found"]) == (python, found), (result, told)


def test_commands_run_there(project, elsewhere):
    """A runner without an interpreter; its list is there, too."""
    elsewhere.write(**{"tests.txt": "test \"$PWD\" = %s\n" % SUITE + "".join("test ! -e '%s'\n" % path for path in set(ours(project)))})
    result = elsewhere.run("--runner=command", "--list=tests.txt")
    told, = [e for e in result.events if e["event"] == "environment"]
    assert result.rc == 0 and len(result.outcomes) > 3 and set(result.outcomes.values()) == {"passed"}, result
    assert told["folder"] == SUITE and told["scratch_dir"].startswith("/tmp/xd-") and "interpreter" not in told, told


def test_no_interpreter_there(project, elsewhere):
    """One line that says what was tried, there."""
    elsewhere.set(PATH="/elsewhere/bin")
    elsewhere.inside("/elsewhere/environment").write_text("PATH=/elsewhere/bin VIRTUAL_ENV=/elsewhere/none")
    result = elsewhere.run(env={"VIRTUAL_ENV": sys.prefix})
    line, = [line for line in result.out.splitlines() if line.startswith("ERROR: ")]
    assert result.rc == 6 and "tried $VIRTUAL_ENV (/elsewhere/none), the pytest program, python3 and python on PATH=/elsewhere/bin" in line, result


def test_relative_folder_counts_from_there(project, elsewhere):
    elsewhere.set(VIRTUAL_ENV=VENV)
    elsewhere.write(**{"sub/test_a.py": "import os\n\ndef test_a(): assert os.getcwd() == '%s/sub'\n" % SUITE})
    result = elsewhere.run("--tx", "2*popen//chdir=sub")
    assert result.rc == 0 and [e["folder"] for e in result.events if e["event"] == "environment"] == [SUITE + "/sub"], result


def test_wishes_of_this_host_are_passed_over(project, elsewhere):
    """--state-dir and --cache-dir are folders of this host; the agent gets them as wishes because it was started here."""
    elsewhere.set(VIRTUAL_ENV=VENV)
    elsewhere.write(test_a="def test_a(): pass\n")
    state = project.path / "my state"
    result = elsewhere.run("--state-dir", state)
    told, = [e for e in result.events if e["event"] == "environment"]
    assert result.rc == 0 and told["scratch_dir"].startswith("/tmp/xd-") and not elsewhere.inside(str(state)).exists(), (result, told)


RECORDER = """#!%s
import os, socket, sys
sys.path.insert(0, %r)
import wiregen
wire = wiregen.codec()
sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
sock.sendall(wire.PREAMBLE)
sock.sendall(wire.pack_HELLO(version_min=1, version_max=1, capabilities=0, build_id=b"x", host=b"x", system=b"x", pid=os.getpid(), cpus=1, memory_bytes=1, session=0, last=0, token=b""))
reader, raw = wire.FrameReader(), b""
while len(raw) < 8:
    raw += sock.recv(8 - len(raw))
while True:
    for kind, _flags, _sequence, body in reader.feed(sock.recv(65536)):
        if kind == wire.ENV_START:
            with open(%r, "wb") as f:
                f.write(body)
            sys.exit(0)
"""


def test_no_fact_of_this_host_travels(project):
    """ENV_START byte by byte, where this host has all that could go with it."""
    wire = wiregen.codec()
    said, agent = project.path / "said", project.path / "recorder"
    agent.write_text(RECORDER % (sys.executable, os.path.join(ROOT, "tools"), str(said)))
    agent.chmod(0o755)
    project.write(test_a="def test_a(): pass\n")
    result = project.run("--agent", agent, "--state-dir", project.path / "s", "--cache-dir", project.path / "c", "--tx", "popen//chdir=sub//nice=3", "--work-dir", project.root,
                "-k", "a", python=False, env={"VIRTUAL_ENV": sys.prefix, "TMPDIR": str(project.path), "PYTEST_ADDOPTS": "-v"})
    assert said.exists(), result
    body = said.read_bytes()
    assert str(project.path).encode() not in body and sys.prefix.encode() not in body and b"/" not in body.replace(b"popen//chdir=sub//nice=3", b""), body
    start = wire.unpack(wire.ENV_START, body)
    assert (start.python, start.chdir, start.cache_dir, start.scratch_dir, start.runner, start.nice) == (b"", b"sub", b"", b"", b"", b"3")
    assert [t.text for t in start.args] == [b"-k", b"a"] and list(start.env) == []
