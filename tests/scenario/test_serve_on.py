"""`xdctl serve --on ssh=HOST`: xdserve is brought to a host of the lab, started there, found again, replaced and stopped.  What a test has started there ends with it."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from conftest import ROOT, XDCTL
from faults import wait_until

XDSERVE = os.path.join(os.path.dirname(XDCTL), "xdserve")
if not os.path.exists(XDSERVE):
    pytest.skip("%s is not there: a static libzmq or libsodium is missing, or this is a build with sanitizers" % XDSERVE, allow_module_level=True)
WAYS = ["libssh", "openssh"]
SLOW = "import time\ndef test_slow(): time.sleep(%s)\n"
SUITE = "import os\ndef test_a(): assert not [n for n in os.environ if n.startswith('SSH_')]\ndef test_b(): pass\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class There(object):
    """A host, and this user's keys.  `serve` calls xdctl serve --on; `state` has the files of the server there."""

    def __init__(self, lab, project, name="h1"):
        self.lab, self.project, self.host = lab, project, lab[name]
        self.keys = project.path / "keys"
        self.spec = lab.spec(name)
        self.port = 8888 if lab.namespaces else free_port()
        self.bind = [] if lab.namespaces else ["--bind", "127.0.0.1:%d" % self.port]
        self.address = "%s:%d" % (name if lab.namespaces else self.host.address, self.port)

    def keygen(self):
        self.line = self.project.xdctl("keygen", "--keys", self.keys).out.strip()
        return self

    def serve(self, *args, **more):
        bind = [] if "--bind" in args or "--stop" in args else self.bind
        return self.project.xdctl("serve", "--on", more.pop("spec", self.spec), "--keys", self.keys, *(bind + list(args)), **more)

    def started(self, *args, **more):
        done = self.serve(*args, **more)
        assert done.rc == 0 and "started" in done.out.splitlines()[0], done
        return done

    def run(self, *args, **more):
        return self.project.run("--tx=socket=%s//python=python3" % self.address, "--keys", self.keys, "--rsyncdir", self.project.root, *args, python=False, **more)

    def state(self, name=""):
        folders = list((self.host.home / ".cache/xd/server").glob("*"))
        assert len(folders) <= 1, folders
        return folders[0] / name if folders else None

    def pid(self, name="xdserve.pid"):
        return int(self.state(name).read_text())

    def is_alive(self, pid):
        """A zombie is not: it has no program any more."""
        return self.host.run(["readlink", "/proc/%d/exe" % pid]).returncode == 0

    def end(self):
        """Also a server that a test has left: of a host without namespaces it would outlive the lab."""
        for name in ("xdserve.pid", "xdserve.old"):
            if self.state() and self.state(name).exists() and not self.lab.namespaces:
                try:
                    if os.path.basename(os.readlink("/proc/%d/exe" % self.pid(name))).startswith("xdserve-"):
                        os.kill(self.pid(name), signal.SIGKILL)
                except OSError:
                    pass


@pytest.fixture
def places(lab, project):
    """places([{...}, ...]) makes hosts, and gives a There for each."""
    made = []

    def make(hosts=1, namespaces=None):
        one = lab(hosts, namespaces=namespaces, project=project)
        made.extend(There(one, project, host.name) for host in one.hosts)
        made[0].keygen()
        return made
    yield make
    for there in made:
        there.end()


@pytest.fixture
def there(places):
    return places()[0]


def one_line(done, code=6):
    assert done.rc == code and not done.out, done
    assert done.err.startswith("xdctl: ") and done.err.count("\n") == 1 and len(done.err) < 700, done
    return done.err


def told(done, word):
    return re.findall(r"^%s +(.*)$" % word, done.out, re.M)


# ---- it is put there, and stays


def test_it_starts_and_stays(there):
    first = there.started()
    assert "socket=" + there.address in told(first, "address")
    assert told(first, "fingerprint")[0].startswith("SHA256:") and "authorized there" in first.err
    assert told(first, "pid") == [str(there.pid())] and told(first, "log") and told(first, "to stop it"), first
    (program,) = told(first, "program")
    assert program.startswith(there.host.home_there + "/.cache/xd/server/")
    assert oct(there.state().stat().st_mode & 0o777) == "0o700" and oct(there.state("xdserve.log").stat().st_mode & 0o777) == "0o600"
    assert there.project.xdctl("keys", "list", "--keys", there.keys).out.count("known_brokers") == len(told(first, "address"))

    there.project.write(test_a=SUITE)
    for _ in range(2):
        result = there.run()
        assert result.rc == 0 and result.summary == {"passed": 2}, result

    before = {f.name: f.stat().st_mtime_ns for f in there.state().iterdir()}
    again = there.serve()
    assert again.rc == 0 and "runs there already" in again.out and told(again, "pid") == told(first, "pid") and not again.err, again
    assert told(again, "fingerprint") == told(first, "fingerprint") and told(again, "address") == told(first, "address")
    assert {f.name: f.stat().st_mtime_ns for f in there.state().iterdir()} == before

    pid = there.pid()
    stopped = there.serve("--stop")
    assert stopped.rc == 0 and "has ended (pid %d)" % pid in stopped.out and not there.is_alive(pid), stopped
    nothing = there.serve("--stop")
    assert nothing.rc == 0 and "no server of yours runs there" in nothing.out, nothing
    there.started()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_ssh(there, way):
    there.started("--ssh=" + way)
    assert "runs there already" in there.serve("--ssh=" + way).out
    assert "has ended" in there.serve("--ssh=" + way, "--stop").out


def test_by_way_of_another_host(places):
    """-J: that is for the ssh program."""
    there = places(2, namespaces=True)[0]
    there.started(spec="ssh=-J h2 h1")
    assert "has ended" in there.serve("--stop", spec="ssh=-J h2 h1").out


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "mksh", "ksh", "zsh"])
def test_each_shell(places, shell):
    """As /bin/sh of the host."""
    program = shutil.which(shell)
    if not program:
        pytest.skip("%s is not installed" % shell)
    there = places(1, namespaces=True)[0]
    done = there.host.run(["mount", "--bind", os.path.realpath(program), os.path.realpath("/bin/sh")])
    assert done.returncode == 0, done.stderr
    there.started()
    assert "runs there already" in there.serve().out
    there.started("--replace")
    assert "has ended" in there.serve("--stop").out
    assert "no server of yours" in there.serve("--stop").out


def test_without_a_key(there):
    there.keys = there.project.path / "none"
    assert "xdctl keygen" in one_line(there.serve())
    assert not there.state()


def test_limits_of_a_key_stay(there):
    """A line that the host's owner has given limits is not replaced by one without."""
    folder = there.host.home / ".config" / "xdctl"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "authorized_controllers").write_text("# %s\nmax-workers=1 %s\n" % (there.line, there.line))
    (folder / "authorized_controllers").chmod(0o600)
    assert "authorized" not in there.started().err
    assert "max-workers=1 " + there.line in (folder / "authorized_controllers").read_text()


def test_keys_elsewhere(there):
    folder = there.host.home / "its keys"
    there.started("--keys-there", there.host.there(folder))
    assert there.line in (folder / "authorized_controllers").read_text() and (folder / "id").exists()
    assert not (there.host.home / ".config/xdctl").exists()
    there.project.write(test_a=SUITE)
    assert there.run().rc == 0


# ---- another one


def another_build(project):
    """xdctl with an xdserve beside it that is not the same, though it does the same."""
    folder = project.path / "another"
    shutil.copytree(os.path.dirname(XDCTL), str(folder), ignore=lambda _, names: [n for n in names if n not in ("xdctl", "xdserve", "xdagent")])
    with open(str(folder / "xdserve"), "ab") as f:
        f.write(b"another")
    return str(folder / "xdctl")


def test_another_build_is_said_and_replaced(there):
    there.started()
    pid, other = there.pid(), another_build(there.project)
    assert "another build" in one_line(there.serve(program=other)) and "--replace" in one_line(there.serve(program=other))
    assert there.pid() == pid and there.is_alive(pid)
    there.started("--replace", program=other)
    wait_until(lambda: not there.is_alive(pid), 10)
    assert there.is_alive(there.pid()) and len(list(there.state().glob("xdserve-*"))) <= 2
    assert "runs there already" in there.serve(program=other).out
    there.started("--replace")
    there.started("--replace")
    assert len(list(there.state().glob("xdserve-*"))) == 1, "what no process runs is gone"


def test_other_options_are_said_and_replaced(there):
    there.started("--drain", "7")
    said = one_line(there.serve())
    assert "--drain 7" in said and "--replace" in said
    there.started("--replace")
    assert "runs there already" in there.serve().out


def test_replacing_lets_runs_end(there):
    """The old one closes its port at once, and its agents go on."""
    there.started()
    old = there.pid()
    there.project.write(test_a=SLOW % 5)
    jsonl = there.project.path / "slow.jsonl"
    run = there.project.start("run", "--jsonl=%s" % jsonl, "--tx=socket=%s//python=python3" % there.address, "--keys", there.keys, "--rsyncdir", there.project.root)
    wait_until(lambda: jsonl.exists() and '"worker_up"' in jsonl.read_text(), 20)
    there.started("--replace")
    assert there.pid() != old and there.is_alive(old)
    result = there.project.finish(run, str(jsonl))
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    wait_until(lambda: not there.is_alive(old), 10)
    there.project.write(test_a=SUITE)
    assert there.run().rc == 0


def test_stopping_twice_ends_runs(there):
    there.started()
    pid = there.pid()
    there.project.write(test_a=SLOW % 60)
    jsonl = there.project.path / "slow.jsonl"
    run = there.project.start("run", "--jsonl=%s" % jsonl, "--tx=socket=%s//python=python3" % there.address, "--keys", there.keys, "--rsyncdir", there.project.root)
    wait_until(lambda: jsonl.exists() and '"worker_up"' in jsonl.read_text(), 20)
    first = there.serve("--stop")
    assert first.rc == 0 and "once more" in first.out and there.is_alive(pid), first
    second = there.serve("--stop")
    assert second.rc == 0 and "has ended" in second.out and not there.is_alive(pid), second
    assert there.project.finish(run, str(jsonl)).rc == 6


def test_a_number_of_a_stranger_is_nobodys(there):
    """As after a restart of the host: the pid in the file may be that of any process by now."""
    there.started()
    pid = there.pid()
    assert there.is_alive(pid) and there.host.run(["kill", "-KILL", str(pid)]).returncode == 0
    wait_until(lambda: not there.is_alive(pid), 5)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) if not there.lab.namespaces else None
    there.state("xdserve.pid").write_text("%d\n" % (stranger.pid if stranger else 1))
    try:
        assert "no server of yours" in there.serve("--stop").out
        there.started()
        assert not stranger or stranger.poll() is None
    finally:
        if stranger:
            stranger.kill()
            stranger.wait()


# ---- addresses and keys on this side


def test_a_key_that_the_address_had_before_is_forgotten(there):
    other = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    assert there.project.xdctl("trust", "--keys", there.keys, "--key", other, there.address).rc == 0
    done = there.started()
    assert "%s was known by another key" % there.address in done.err, done
    assert other not in (there.keys / "known_brokers").read_text()


def test_a_port_that_cannot_be_reached_from_here(places):
    there = places(1, namespaces=True)[0]
    done = there.serve("--bind", "127.0.0.1:9000")
    assert done.rc == 6 and done.out.startswith("ssh=h1: the server is started"), done
    assert re.match(r"xdctl: ssh=h1: the server runs there, but this host cannot reach it: connect to \S+:9000: Connection refused", done.err.splitlines()[-1]), done
    assert "h1:9000 xdk1 " in (there.keys / "known_brokers").read_text() and "127.0.0.1" not in (there.keys / "known_brokers").read_text()


def test_what_another_server_answers_at_stays_its_own(places):
    """Two users of one host, each with a server: the port that is reached from here is that of one of them."""
    root = places([{"user": "root"}], namespaces=True)[0]
    root.started("--bind", "10.88.0.11:8888")
    (root.host.folder / "tester" / ".ssh").mkdir(exist_ok=True)
    before = (root.keys / "known_brokers").read_text()
    done = root.serve("--bind", "127.0.0.1:8888", spec="ssh=tester@h1")
    assert done.rc == 6 and "another server answers at h1:8888" in done.err, done
    assert (root.keys / "known_brokers").read_text() == before
    assert root.serve("--stop", spec="ssh=tester@h1").rc == 0


# ---- what is in the way


@pytest.mark.parametrize("plan, words", [
    ({"storage": {"~": "readonly"}}, "Read-only file system"), ({"storage": {"~": "full"}}, "No space left on device"),
    ({"storage": {"~": "noexec"}}, "noexec"), ({"server": "none"}, "Connection refused"), ({"sshd": ["ForceCommand echo not for you"]}, "not for you"),
    ({"sshd": ["PubkeyAuthentication no"]}, "Permission denied"),
], ids=lambda x: re.sub(r"\W+", "-", str(x))[:40])
@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_cannot(places, plan, words, way):
    there = places([plan], namespaces=True)[0]
    said = one_line(there.serve("--ssh=" + way))
    assert words in said and said.startswith("xdctl: ssh=h1: "), said
    wait_until(lambda: not [line for line in there.host.processes().values() if "xdserve" in line], 10)  # nor the script


def test_a_host_that_is_not_there(there):
    assert re.search("resolve|not known", one_line(there.serve(spec="ssh=no.such.host.invalid")))


def test_another_architecture(places):
    there = places(1, namespaces=True)[0]
    uname = there.host.folder / "bin" / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" != -sm ] || { echo Linux riscv64; exit; }\nexec /usr/bin/uname "$@"\n')
    uname.chmod(0o755)
    assert "Linux riscv64; this installation has servers for Linux on " in one_line(there.serve())
    assert not there.state() or not list(there.state().iterdir())


def test_a_port_that_is_taken(there):
    """By what is no server of ours."""
    code = "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('%s', %d)); s.listen(); print(1, flush=True); sys.stdin.read()" % (
        "0.0.0.0" if there.lab.namespaces else "127.0.0.1", there.port)
    enter = ["nsenter", "--target", str(there.host.pid), "--net"] if there.lab.namespaces else []
    taker = subprocess.Popen(enter + [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        taker.stdout.readline()
        said = one_line(there.serve())
        assert "cannot listen at" in said and "Address already in use" in said, said
        assert not there.state("xdserve.pid").exists()
    finally:
        taker.communicate(b"")
    there.started()


def test_a_folder_that_others_can_write(there):
    there.started()
    assert there.serve("--stop").rc == 0
    there.state().chmod(0o777)
    for verb in ((), ("--replace",), ("--stop",)):
        assert "it is not this user only who can write there" in one_line(there.serve(*verb))


def test_keys_that_others_can_write(there):
    folder = there.host.home / ".config" / "xdctl"
    folder.mkdir(parents=True)
    (folder / "authorized_controllers").write_text("")
    (folder / "authorized_controllers").chmod(0o666)
    assert "authorized_controllers" in one_line(there.serve())
    assert not there.state("xdserve.pid").exists()


def test_an_interrupt_ends_it(places):
    there = places([{"server": "mute"}], namespaces=True)[0]
    process = there.project.start("serve", "--on", there.spec, "--keys", there.keys)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    assert there.project.finish(process).rc == 2 and time.monotonic() - begin < 5


@pytest.mark.parametrize("line, words", [
    (["--on", "popen"], "ssh=[USER@]HOST"), (["--on", "socket=h:1"], "ssh=[USER@]HOST"), (["--on", "host"], "a host is ssh=HOST"), (["--on", ""], "spec"),
    (["--on", "2*ssh=h"], "takes ssh= and ssh_config= alone"), (["--on", "ssh=h//python=python3"], "--tx socket=HOST//python="),
    (["--on", "ssh=h", "--ssh=rsh"], "auto|libssh|openssh"), (["--on", "ssh=h", "--keys-there", "keys"], "absolute"),
    (["--on", "ssh=h", "--bind", "name:80"], "name:80"), (["--on", "ssh=h", "--replace", "--stop"], "--replace and --stop"), (["--on", "ssh=h", "--agent=x"], "--agent"),
    (["--on", "ssh=h", "--drain=-1"], "--drain"), (["--stop"], "--on ssh=HOST"), (["--replace"], "--on ssh=HOST"), (["--keys-there", "/k"], "--on ssh=HOST"),
    (["--on", "ssh=h//ssh_config=/no/such/file"], "/no/such/file"),
])
def test_wrong_command_lines(project, line, words):
    keys = project.path / "keys"
    assert project.xdctl("keygen", "--keys", keys).rc == 0
    assert words in one_line(project.xdctl("serve", "--keys", keys, *line), 4)


def test_the_manual_names_the_files():
    with open(os.path.join(ROOT, "tools", "xdctl", "man", "xdctl-serve.1.scd"), encoding="utf-8") as f:
        text = f.read()
    assert all(name in text for name in (".cache/xd/server", "xdserve.log", "xdserve.pid"))
