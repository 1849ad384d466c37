"""xdserve, the server in one static file: copied alone to a place where nothing else is, and started."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

import pytest

from conftest import ROOT, XDCTL, end

XDSERVE = os.environ.get("XD_XDSERVE") or os.path.join(os.path.dirname(XDCTL), "xdserve")
KEY = "xdk1 rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # of RFC 26
if not os.path.exists(XDSERVE):
    pytest.skip("%s is not there: a static libzmq or libsodium is missing, or this is a build with sanitizers" % XDSERVE, allow_module_level=True)


def call(*args, **more):
    more.setdefault("env", {"PATH": "/nowhere"})
    return subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                          timeout=20, **more)


def one_line(text):
    assert text.startswith("xdserve: ") and text.endswith("\n") and text.count("\n") == 1 and len(text) < 500, text
    return text[9:-1]


class Server(object):
    """One that listens; `before`: a command line that starts it."""

    def __init__(self, program, *args, **more):
        before = more.pop("before", [])
        self.log = more.pop("log")
        with open(str(self.log), "wb") as log:
            self.process = subprocess.Popen([str(a) for a in list(before) + [program, "--bind", "127.0.0.1:0"] + list(args)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, universal_newlines=True, **more)
        self.said = ""
        while "fingerprint " not in self.said:
            line = self.process.stdout.readline()
            if not line:
                end(self.process)
                pytest.fail("xdserve does not listen: %s%s" % (self.said, open(str(self.log)).read()))
            self.said += line
        self.port = int(re.search(r"^listening on 127\.0\.0\.1:(\d+)$", self.said, re.M).group(1))
        self.key = re.search(r"^key (xdk1 \S{40})$", self.said, re.M).group(1)

    def ask(self):
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b"xdkey\n")
            return s.makefile().readline()

    def spec(self, rest=""):
        return "--tx=socket=127.0.0.1:%d%s" % (self.port, rest)


@pytest.fixture
def controller(project):
    """Whose keys are in project.keys, and its line in project.line."""
    project.keys = project.path / "controller"
    project.line = project.xdctl("keygen", "--keys", project.keys).out.strip()
    assert project.line.startswith("xdk1 ")
    return project


def trust(controller, server):
    done = controller.xdctl("trust", "--keys", controller.keys, "--key", server.key, "127.0.0.1:%d" % server.port)
    assert done.rc == 0, done


@pytest.fixture
def serve(tmp_path):
    """Starts servers, and ends them."""
    servers = []

    def start(*args, **more):
        servers.append(Server(*args, **dict(dict(log=tmp_path / ("xdserve%d.log" % len(servers))), **more)))
        return servers[-1]
    yield start
    for server in servers:
        end(server.process)


# ---- the file


def test_it_is_one_static_file():
    with open(XDSERVE, "rb") as f:
        data = f.read()
    assert data[:5] == b"\x7fELF\x02" and len(data) <= 5 << 20
    at, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, at + i * size)[0] for i in range(count)]
    assert 1 in kinds and 3 not in kinds, "PT_INTERP"
    if 2 in kinds:  # static-pie: relocations, and no library
        header = at + kinds.index(2) * size
        offset, length = struct.unpack_from("<Q", data, header + 8)[0], struct.unpack_from("<Q", data, header + 32)[0]
        assert 1 not in [struct.unpack_from("<Q", data, offset + i)[0] for i in range(0, length, 16)], "DT_NEEDED"
    if shutil.which("file"):
        assert "static" in call("file", XDSERVE, env=None).stdout


def test_version_is_that_of_xdctl():
    version = call(XDSERVE, "--version")
    assert version.returncode == 0 and not version.stderr
    assert version.stdout.split() == ["xdserve"] + call(XDCTL, "--version", env=None).stdout.split()[1:]


def test_help():
    done = call(XDSERVE, "--help")
    assert done.returncode == 0 and not done.stderr
    with open(os.path.join(ROOT, "tools", "xdctl", "man", "xdserve.8.scd"), encoding="utf-8") as f:
        defined = f.read().partition("# OPTIONS")[2].partition("\n# ")[0]
    assert set(re.findall(r"--[a-z-]+", done.stdout)) - {"--tx", "--listen"} == set(re.findall(r"\*(--[a-z-]+)\*", defined))
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_xdctl_says_where_it_is():
    done = call(XDCTL, "serve", "--xdserve", env=None)
    assert done.returncode == 0 and os.path.samefile(done.stdout.strip(), XDSERVE)


@pytest.mark.parametrize("line, words", [
    (["--foo"], "no option '--foo'"), (["-xV"], "no option '-x'"), (["--bind"], "--bind takes a value"), (["--bind", "everywhere"], "everywhere"),
    (["--bind=:1"] * 9, "8 times"), (["--max-agents", "0"], "from 1 on"), (["--max-connections=x"], "from 1 on"), (["--drain=soon"], "seconds"), (["--keys="], "folder"),
    (["jo\x1bin"], r"no command 'jo\x1bin'"), (["serve", "x"], "'x'"), (["authorize"], "one LINE"), (["authorize", "xdk1", "x"], "one LINE"),
    (["authorize", "--keys=%s", "xdk1 short"], "line 1"),
])
def test_wrong_command_lines(line, words, tmp_path):
    done = call(XDSERVE, *[word.replace("%s", str(tmp_path)) for word in line], env={"HOME": str(tmp_path)})
    assert done.returncode == 4 and not done.stdout, done
    assert words in one_line(done.stderr)


@pytest.mark.parametrize("home", [None, "/proc/home"])
def test_without_a_place_for_its_key(home, tmp_path):
    done = call(XDSERVE, "--bind=127.0.0.1:0", env={"HOME": home} if home else {})
    assert done.returncode == 6 and not done.stdout, done
    assert "--keys" in one_line(done.stderr)


# ---- runs


def test_a_run_over_it(controller, serve, tmp_path):
    """With nothing beside it but an interpreter; files come to it as to any host."""
    program = shutil.copy(XDSERVE, str(tmp_path / "copied"))
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.path.dirname(sys.executable)}
    done = call(program, "authorize", controller.line, env=environment)
    assert done.returncode == 0 and done.stdout == "authorized\n", done
    server = serve(program, env=environment)
    assert "1 controller authorized" in server.said + server.process.stdout.readline()
    assert server.ask().startswith(server.key)
    trust(controller, server)
    controller.write(test_a="import os\ndef test_a(): assert '/home/.cache/xd/' in os.getcwd()\ndef test_b(): assert 'XD_AGENT' not in os.environ\n")
    result = controller.run(server.spec("//python=python"), "--keys", controller.keys, "--rsyncdir", controller.root, python=False)
    assert result.rc == 0 and result.summary == {"passed": 2}, result
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    log = open(str(server.log)).read()
    assert " accepted: key SHA256:" in log and " agent 1 (pid " in log and "the agent ended" in log, log
    assert sorted(os.listdir(str(home))) == [".cache", ".config"] and not list((home / ".cache/xd").glob("xdagent*")), "the agent ran from memory"


# ---- where there is nothing at all


IN_ROOT = """
mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" || exit 1
[ "$2" = noproc ] || mount -t proc proc "$1/proc" || exit 1
[ "$2" != noexec ] || echo 2 >/proc/sys/vm/memfd_noexec || exit 1
chroot=$3; root=$1; shift 3
exec "$chroot" "$root" "$@"
"""


def in_root(root, lacks=""):
    """A command line that starts another in a root folder of its own, with /proc and /dev.  lacks: noproc; noexec: files in memory are no programs."""
    for program in ("unshare", "chroot", "mount"):
        if not shutil.which(program):
            pytest.skip("there is no program %s" % program)
    line = ["unshare", "--mount", "--pid", "--fork", "--kill-child"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    line += ["sh", "-c", IN_ROOT, "sh", str(root), lacks, shutil.which("chroot")]
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(XDSERVE, str(root / "xdserve"))
    tried = call(*(line + ["/xdserve", "--version"]), env=None)
    if tried.returncode != 0:
        pytest.skip("no root folder of its own can be made here%s: %s" % (lacks and ", with " + lacks, tried.stderr.strip()))
    return line


def run_in_root(controller, server):
    """The tests are command lines, as there is no interpreter; the only program is xdserve itself. It comes with the files, too."""
    trust(controller, server)
    (controller.root / "tests.txt").write_text("/xdserve --version\n/xdserve --nonsense\n")
    (controller.root / "data").write_text("text")
    return controller.run("--runner=command", "--list=tests.txt", server.spec(), "--keys", controller.keys, "--rsyncdir", controller.root, python=False)


def test_in_an_empty_root(controller, serve):
    root = controller.path / "root"
    before = in_root(root)
    (root / "tmp" / "keys").mkdir(mode=0o700)
    assert call(root / "xdserve", "authorize", controller.line, "--keys", root / "tmp" / "keys").returncode == 0
    server = serve("/xdserve", "--keys", "/tmp/keys", before=before, env={"PATH": os.environ["PATH"]})
    assert server.ask().startswith(server.key)
    result = run_in_root(controller, server)
    assert result.outcomes == {"/xdserve --version": "passed", "/xdserve --nonsense": "failed"} and result.rc == 1, result
    assert not list(root.rglob("xdagent-*")), "the agent ran from memory"


@pytest.mark.parametrize("lacks", ["noexec", "noproc"])
def test_where_nothing_starts_from_memory(controller, serve, lacks):
    """Then the agent lies in a file, which is looked at before it is believed."""
    root = controller.path / "root"
    before = in_root(root, lacks)
    (root / "tmp" / "keys").mkdir(mode=0o700)
    assert call(root / "xdserve", "authorize", controller.line, "--keys", root / "tmp" / "keys").returncode == 0
    environment = {"PATH": os.environ["PATH"]}
    first = serve("/xdserve", "--keys", "/tmp/keys", before=before, env=environment)
    (agent,) = root.glob("tmp/xd-*/cache/xdagent-*")
    assert agent.stat().st_mode & 0o777 == 0o700
    end(first.process)
    good = agent.read_bytes()
    agent.write_bytes(good[:-1] + b"x")
    server = serve("/xdserve", "--keys", "/tmp/keys", before=before, env=environment)
    assert agent.read_bytes() == good
    result = run_in_root(controller, server)
    assert result.outcomes == {"/xdserve --version": "passed", "/xdserve --nonsense": "failed"} and result.rc == 1, result


def test_join_with_nothing_but_a_token(project, tmp_path):
    """The same file as a host that joins: no key, no folder for one, no other file."""
    project.write(test_a="def test_a(): pass\ndef test_b(): pass\n")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(XDSERVE, str(alone / "xdserve"))
    assert project.xdctl("keygen", "--keys", project.path / "keys").rc == 0
    process = project.start("run", "--keys=%s" % (project.path / "keys"), "--listen=127.0.0.1:0", "--testrunuid=uid", "--python=" + project.python, "-p", "no:cacheprovider")
    first = process.stdout.readline().decode()
    at = re.search(r"tcp://(127\.0\.0\.1:\d+)", first).group(1)
    token = project.xdctl("token", "--keys", project.path / "keys", "--run", "uid").out.strip()
    done = call(alone / "xdserve", "join", "tcp://" + at, "--workers", "2", "--tag", "bare", cwd=str(alone),
                env={"PATH": os.environ["PATH"], "XD_TOKEN": token, "XDG_CACHE_HOME": str(alone / "cache")})
    assert done.returncode == 0 and re.match(r"joined run \w+ with 2 workers\n$", done.stdout), done
    result = project.finish(process)
    assert result.rc == 0 and "2 passed" in result.out and "tags bare" in result.out, result


@pytest.mark.parametrize("args, words", [
    (["join"], "join takes one run: tcp://HOST:PORT"),
    (["join", "a:1", "b:1"], "join takes one run: tcp://HOST:PORT"),
    (["join", "127.0.0.1:1", "--workers", "many"], "--workers many: a number from 1 to 1024, or auto, is expected"),
])
def test_a_join_that_is_mistyped(args, words):
    done = call(XDSERVE, *args)
    assert done.returncode == 4 and words in one_line(done.stderr), done
