"""command=...: workers behind any command line whose standard input and output lead to a shell, where no agent is.  Each far end here has a home, or a
root, of its own; its agent is sent over the pipe.  Nothing of it may be left, whoever is killed."""
import glob
import gzip
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from conftest import ROOT, XDCTL
from faults import kill

AGENTS = os.path.join(os.path.dirname(XDCTL), "agents")
SUITE = """
import os, pytest
@pytest.mark.parametrize("n", range(12))
def test_ok(n): pass
def test_bad(): assert 1 == 2
def test_where(): print("in %s with STAGE=%s HOME=%s" % (os.getcwd(), os.environ.get("STAGE"), os.environ.get("HOME"))); assert not os.environ.get("SHOW")
"""
SLOW = """
import time, pytest
@pytest.mark.parametrize("n", range(40))
def test_slow(n):
    open("began", "a").write("%d\\n" % n)
    time.sleep(0.25)
"""


class Far(object):
    """A far end with a home of its own, below which everything lies that is of ours."""
    def __init__(self, project):
        self.project = project
        self.home = project.path / "home"
        self.home.mkdir()
        self.sent = project.path / "sent"

    def spec(self, command="sh", *keys, **more):
        """More: entries of the far end's environment.  The command is what follows them."""
        entries = dict({"HOME": self.home}, **more)
        words = "env -u XDG_CACHE_HOME -u XDG_STATE_HOME %s %s" % (" ".join("%s=%s" % pair for pair in entries.items()), command)
        if not any(key.startswith("chdir=") for key in keys):
            keys += ("chdir=%s" % self.project.root,)
        return "//".join((words,) + keys)

    def run(self, command="sh", *keys, **more):
        args, python = more.pop("args", ()), more.pop("python", True)
        number = more.pop("number", 2)
        return self.project.run("--tx=%d*command=%s" % (number, self.spec(command, *keys, **more)), *(("-p", "no:cacheprovider") if python else ()), *args, python=python)

    @property
    def agents(self):
        return sorted(glob.glob(str(self.home / "**" / "xdagent-*"), recursive=True) + glob.glob(str(self.home / ".cache" / "xd" / "agent" / "*" / "xdagent-*")))

    def alive(self):
        """Processes whose program is an agent that was sent here."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink("/proc/%s/exe" % pid).startswith((str(self.project.path), str(self.home))):
                    found.append((int(pid), open("/proc/%s/cmdline" % pid).read().replace("\0", " ")))
            except OSError:
                pass
        return found

    def wait_gone(self, seconds):
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(0.1)
        assert self.alive() == []


@pytest.fixture
def far(project):
    if not glob.glob(os.path.join(AGENTS, "*.sums")):
        pytest.skip("no agents for other hosts were built in %s" % AGENTS)
    other = Far(project)
    yield other
    for process in project.started:
        if process.poll() is None:
            process.kill()
    other.wait_gone(40)


def as_usual(result, workers=2):
    assert result.rc == 1 and "2 failed, 12 passed" in result.out, result
    assert "test_bad" in result.out and "lost" not in result.out, result


def test_sh(project, far):
    project.write(test_a=SUITE)
    result = far.run("sh", "env:STAGE=qa", "env:SHOW=1")
    as_usual(result)
    assert "STAGE=qa HOME=%s" % far.home in result.out, result
    assert len(far.agents) == 1, far.agents
    far.wait_gone(5)
    again = far.run("sh", "env:SHOW=1")
    as_usual(again)
    assert len(far.agents) == 1, far.agents


@pytest.mark.parametrize("command", ["sh -c", "sh -c 'exec sh'", "bash", "bash --norc", "nice -n 1"])
def test_forms_of_a_command(project, far, command):
    project.write(test_a="def test_a(): pass")
    result = far.run(command)
    assert result.rc == 0 and "1 passed" in result.out, result


def test_an_agent_that_is_there(project, far):
    project.write(test_a="def test_a(): pass")
    agent = os.path.join(os.path.dirname(XDCTL), "xdagent")
    result = far.run(agent)
    assert result.rc == 0 and "1 passed" in result.out and far.agents == [], result
    result = far.run("sh", args=["--agent=" + agent])
    assert result.rc == 0 and "1 passed" in result.out and far.agents == [], result


def test_keys_count_from_the_far_side(project, far):
    project.write(test_a=SUITE)
    os.mkdir(str(project.path / "elsewhere"))
    shutil.copy(str(project.root / "test_a.py"), str(project.path / "elsewhere"))
    result = far.run("sh -c 'cd %s; exec sh'" % project.path, "chdir=elsewhere", "env:SHOW=1", "nice=3")
    as_usual(result)
    assert "in %s with" % (project.path / "elsewhere") in result.out, result


def test_beside_popen(project, far):
    project.write(test_a="import pytest\n@pytest.mark.parametrize('n', range(60))\ndef test_a(n): pass\n")
    result = project.run("--tx=2*command=" + far.spec(), "--tx=2*popen", "-p", "no:cacheprovider")
    assert result.rc == 0 and "60 passed" in result.out, result


def test_another_user(open_folder, project, far):  # the folder is there until the processes have ended
    """One who cannot read a clone in somebody's home, nor Python there: tests are command lines."""
    if os.geteuid() != 0 or not shutil.which("sudo"):
        pytest.skip("needs root and sudo")
    far.home = open_folder / "home"
    far.home.mkdir()
    os.chown(str(far.home), 65534, 65534)
    # What runs a command is the agent's own program: whose file it is.
    (project.root / "tests.txt").write_text('sh -c "test $(id -u) = 65534 -a $HOME = %s -a $(stat -Lc %%u /proc/$PPID/exe) = 65534"\ntrue\nfalse\n' % far.home)
    shutil.copy(str(project.root / "tests.txt"), str(far.home))
    os.chmod(str(far.home / "tests.txt"), 0o644)
    result = project.run("--tx=2*command=sudo -n -u nobody env -u XDG_CACHE_HOME HOME=%s sh//chdir=%s" % (far.home, far.home), "--runner=command", "--list", "tests.txt", python=False)
    assert result.rc == 1 and "1 failed, 2 passed" in result.out, result
    for agent in far.agents:  # none: one of this build that another test brought to /tmp/xd-65534 was used
        assert os.stat(agent).st_uid == 65534


def make_debian(folder, tar):
    if not shutil.which("debootstrap"):
        pytest.skip("needs debootstrap, or a root in %s" % tar)
    indexes = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"], stdout=subprocess.PIPE, text=True).stdout
    mirrors = [line.split()[0] for line in indexes.splitlines() if line.split()[1:] == ["bookworm"]]
    if not mirrors:
        pytest.skip("apt has no index of bookworm here: apt-get update")
    done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(folder), mirrors[0]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    if done.returncode:
        pytest.skip("debootstrap cannot make a root here: %s" % done.stdout.strip().splitlines()[-1:])
    os.makedirs(os.path.dirname(tar), exist_ok=True)
    subprocess.run(["tar", "-C", str(folder), "--one-file-system", "--exclude=./dev/*", "-cf", tar + ".%d" % os.getpid(), "."], check=True)
    os.rename(tar + ".%d" % os.getpid(), tar)
    shutil.rmtree(str(folder))


def test_a_debian_root(project, far):
    """A minimal Debian, made by debootstrap once: it has no agent, no xz and no Python; tests are command lines."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root and mount namespaces")
    root = os.path.join(ROOT, "build", "fresh", "minbase.tar")
    if not os.path.exists(root):
        make_debian(project.path / "new", root)
    inside = project.path / "debian"
    inside.mkdir()
    subprocess.run(["tar", "-C", str(inside), "-xf", root], check=True)
    subprocess.run(["touch", str(inside / "dev" / "null"), str(inside / "dev" / "zero"), str(inside / "dev" / "urandom")], check=True)
    script = project.path / "enter"
    script.write_text("set -e\nfor d in null zero urandom; do mount --bind /dev/$d %s/dev/$d; done\nmount -t proc proc %s/proc\nexec chroot %s /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin /bin/sh\n" % ((inside,) * 3))
    (project.root / "tests.txt").write_text("test -e /etc/debian_version\ntrue\nfalse\n")
    shutil.copy(str(project.root / "tests.txt"), str(inside / "tests.txt"))
    result = project.run("--tx=2*command=unshare --mount --pid --fork sh %s//chdir=/" % script, "--runner=command", "--list", "tests.txt", python=False)
    assert result.rc == 1 and "1 failed, 2 passed" in result.out, result
    assert glob.glob(str(inside / "root" / ".cache" / "xd" / "agent" / "*" / "xdagent-*")), result


SLURM = """ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={b}/state
SlurmdSpoolDir={b}/spool/%n
SlurmctldPidFile={b}/slurmctld.pid
SlurmdPidFile={b}/slurmd.%n.pid
SlurmctldLogFile={b}/slurmctld.log
SlurmdLogFile={b}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=1000,batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=500 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def slurm(far):
    """A real Slurm of one node, on the loopback; gives what runs a command in it."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "srun", "setpriv"))):
        pytest.skip("needs Slurm (apt-get install --no-install-recommends slurmctld slurmd slurm-client)")
    own, user = far.project.path / "slurm", pwd.getpwuid(os.geteuid()).pw_name
    (own / "spool" / "n1").mkdir(parents=True)
    (own / "state").mkdir()
    as_user = []
    if os.geteuid() == 0:
        user = "nobody"
        as_user = ["setpriv", "--reuid=nobody", "--regid=%d" % pwd.getpwnam(user).pw_gid, "--clear-groups"]
        for path in (own, own / "spool", own / "spool" / "n1", own / "state", far.home):
            os.chown(str(path), pwd.getpwnam(user).pw_uid, -1)
        above = far.home.parent
        while str(above) != "/":
            os.chmod(str(above), os.stat(str(above)).st_mode | 0o011)
            above = above.parent
    config = own / "slurm.conf"
    config.write_text(SLURM.format(host=socket.gethostname().split(".")[0], user=user, b=own, port=free_port(), node=free_port()))
    env = as_user + ["env", "SLURM_CONF=%s" % config, "HOME=%s" % far.home]
    daemons = [["slurmctld", "-D", "-c", "-f", str(config)], ["slurmd", "-D", "-N", "n1", "-f", str(config)]]
    log = open(str(own / "out"), "wb")
    running = [subprocess.Popen(env + argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL) for argv in daemons]
    try:
        end = time.monotonic() + 30
        state = lambda: subprocess.run(env + ["sinfo", "-h", "-N", "-o", "%t"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
        while state() != "idle" and time.monotonic() < end:
            time.sleep(0.2)
        if state() != "idle":
            pytest.skip("Slurm does not come up here: %s" % (own / "out").read_text()[-300:])
        yield " ".join(env)
    finally:
        for process in running[::-1]:
            process.terminate()
            process.wait()
        log.close()


def test_srun(project, far, slurm):
    """In a job of Slurm's; what it ends leaves nothing."""
    tests = far.home / "tests.txt"
    tests.write_text("sh -c 'test $SLURMD_NODENAME = n1'\ntrue\nfalse\n")
    (project.root / "tests.txt").write_text(tests.read_text())
    result = project.run("--tx=2*command=%s srun -n1//chdir=%s" % (slurm, far.home), "--runner=command", "--list", "tests.txt", python=False)
    assert result.rc == 1 and "1 failed, 2 passed" in result.out, result
    far.wait_gone(10)


# ---- what is in the way -----------------------------------------------------------------------------------------------

def test_a_banner(project, far):
    project.write(test_a="def test_a(): pass")
    (far.home / "login").write_text("for n in $(seq 100); do echo \"Welcome, line $n, xd:\"; done; echo 'noise on stderr' >&2; printf 'no end of line'; exec sh\n")
    result = far.run("sh %s/login sh" % far.home)
    assert result.rc == 0 and "1 passed" in result.out, result


@pytest.mark.parametrize("command, words", [
    ("sh -c 'echo This account is currently not available.; exit 1' sh -x sh", "This account is currently not available."),
    ("sh -c 'echo no such box >&2; exit 125' sh", "no such box"),
    ("false", "closed before the agent ran"),
    ("yes sh", "not as a shell that was asked to start an agent"),
    ("no-such-program-here sh", "no-such-program-here"),
])
def test_broken_shells(project, far, command, words):
    project.write(test_a="def test_a(): pass")
    result = far.run(command)
    assert result.rc == 6 and words in result.out + result.err, result
    assert len([line for line in (result.out + result.err).splitlines() if words in line]) <= 2, result


def test_command_lines_that_are_wrong(project):
    project.write(test_a="def test_a(): pass")
    for command, words in (("sh -c 'oops", "quote at character 7 is not closed"), ("echo | sh", "the | at character 6"), ("", "command need a value")):
        result = project.run("--tx=command=" + command)
        assert result.rc == 4 and words in result.err and len(result.err.splitlines()) == 1, result


def mounted(project, options, size):
    """A small file system, or the reason why there is none."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    place = project.path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s%s" % (size, options), "tmpfs", str(place)], stderr=subprocess.PIPE)
    if done.returncode:
        pytest.skip("no tmpfs here: %s" % done.stderr.decode().strip())
    return place


@pytest.mark.parametrize("options, size, words", [("", "300k", "No space left"), (",noexec", "8m", "noexec"), (",ro", "8m", "Read-only")])
def test_a_home_that_is_of_no_use(project, far, options, size, words):
    project.write(test_a="def test_a(): pass")
    home = mounted(project, options, size)
    other = project.path / "tmp"
    other.mkdir()
    try:
        result = far.run("sh", HOME=home, TMPDIR=other)
        assert result.rc == 0 and "1 passed" in result.out, result
        said = [line for line in (result.out + result.err).splitlines() if "the agent was put into" in line]
        assert said and words in result.out + result.err, result
        assert glob.glob(str(other / "xd-*" / "agent" / "*" / "xdagent-*")), result
        result = far.run("sh", HOME=home, TMPDIR=other)  # once is enough
        assert result.rc == 0 and "the agent was put into" not in result.out + result.err, result
        far.wait_gone(5)
    finally:
        subprocess.run(["umount", "-l", str(home)])


def test_no_folder_at_all(project, far):
    """Even where nothing can be written: one line that says why."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root and mount namespaces")
    project.write(test_a="def test_a(): pass")
    script = project.path / "enter"
    script.write_text("for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o ro tmpfs $d; done\nHOME=/proc exec sh\n")
    where = "/var/lib/xd-test-%d" % os.getpid()  # the test's own folder is below /tmp
    os.mkdir(where)
    try:
        shutil.copy(str(script), where)
        result = project.run("--tx=command=unshare --mount env -u XDG_CACHE_HOME -u TMPDIR sh %s/enter sh" % where)
        assert result.rc == 6 and "no folder there can take the agent" in result.out + result.err and "Read-only" in result.out + result.err, result
    finally:
        shutil.rmtree(where)


def needed(folder, *missing):
    """A PATH with what the delivery can use, but for those."""
    folder.mkdir()
    for name in ("sh", "env", "cat", "chmod", "cksum", "cut", "find", "grep", "gzip", "head", "id", "ls", "mkdir", "mktemp", "mv", "rm", "sha256sum", "tr", "uname", "xz"):
        if name not in missing and shutil.which(name):
            (folder / name).symlink_to(shutil.which(name))
    return folder


@pytest.mark.parametrize("missing, words", [
    (["xz", "gzip"], None), (["sha256sum", "mktemp", "find", "grep", "tr", "cut", "id"], None),
    (["head"], "lacks what the agent needs: the program head"), (["sha256sum", "cksum"], "lacks what the agent needs: the programs sha256sum and cksum"),
    (["uname"], "no agent runs on that host's system"),
], ids=["no-packer", "little", "no-head", "no-sum", "no-uname"])
def test_programs_that_a_host_lacks(project, far, missing, words):
    (project.root / "tests.txt").write_text(shutil.which("true") + "\n")
    path = needed(project.path / "path", *missing)
    result = project.run("--tx=command=" + far.spec("sh", PATH=path), "--runner=command", "--list", "tests.txt", python=False)
    if words:
        assert result.rc == 6 and words in result.out + result.err and "ended with status 1" in result.out + result.err, result
    else:
        assert result.rc == 0 and "1 passed" in result.out and len(far.agents) == 1, result


@pytest.mark.parametrize("place, words", [("/proc", "/proc, which is not mounted"), ("/dev", "/dev/null")])
def test_a_root_without_proc_or_dev(project, far, place, words):
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root and mount namespaces")
    project.write(test_a="def test_a(): pass")
    script = project.path / "enter"
    script.write_text("mount -t tmpfs none %s\nexec sh\n" % place)
    result = far.run("unshare --mount sh %s sh" % script, number=1)
    said = [line for line in (result.out + result.err).splitlines() if "lacks what the agent needs: " + words in line]
    assert result.rc == 6 and said, result


@pytest.mark.parametrize("shell", ["bash", "busybox", "ksh", "mksh"])
def test_another_sh(project, far, shell):
    """What stands for /bin/sh, with options and functions that come from the environment."""
    if not shutil.which(shell) or not shutil.which("bash"):
        pytest.skip("no %s here" % shell)
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root and mount namespaces")
    project.write(test_a=SUITE)
    script = project.path / "enter"
    script.write_text("mount --bind %s %s || exit 1\nfor f in mkdir cat mv gzip xz head printf uname ls command umask; do eval \"$f() { echo none; }\"; export -f $f; done\n"
                      "exec /usr/bin/env SHELLOPTS=errexit:nounset:noclobber:noglob sh\n" % (shutil.which(shell), os.path.realpath("/bin/sh")))
    as_usual(far.run("unshare --mount bash %s sh" % script, "env:SHOW=1"))
    assert len(far.agents) == 1


def test_the_umask_is_that_of_the_login(project, far):
    project.write(test_a="import os, pytest\n@pytest.mark.parametrize('n', range(2))\ndef test_a(n): had = os.umask(0); os.umask(had); assert had == 0o27\n")
    for agent in ([], [], ["--agent=" + os.path.join(os.path.dirname(XDCTL), "xdagent")]):  # sent; there; another one
        result = far.run("sh -c 'umask 027; exec sh'", args=agent)
        assert result.rc == 0 and "2 passed" in result.out, result


@pytest.mark.parametrize("agent", ["/etc/passwd", "/tmp", "no-such-agent", "/bin/no-such-agent"])
def test_a_program_that_is_no_agent(project, far, agent):
    project.write(test_a="def test_a(): pass")
    begin = time.monotonic()
    result = far.run("sh", args=["--agent=" + agent], number=1)
    lines = [line for line in (result.out + result.err).splitlines() if "not an executable program there: " + agent in line]
    assert result.rc == 6 and len(lines) == 1 and time.monotonic() - begin < 12, result


def test_what_lies_where_the_agent_belongs(project, far):
    """A folder, a file that was changed or cut short, one that nobody may start, a folder open to all: another one is sent."""
    project.write(test_a="def test_a(): pass")
    assert far.run("sh").rc == 0
    agent, = far.agents
    whole = open(agent, "rb").read()

    def folder(): os.unlink(agent), os.makedirs(agent + "/in/it")
    def changed(): open(agent, "r+b").write(b"#!/bin/sh\n")
    def short(): os.truncate(agent, 1000)
    def closed(): os.chmod(agent, 0o600)
    for harm in (folder, changed, short, closed):
        harm()
        result = far.run("sh")
        assert result.rc == 0 and open(agent, "rb").read() == whole, (harm, result)
    os.chmod(os.path.dirname(agent), 0o777)
    other = project.path / "tmp"
    other.mkdir()
    result = far.run("sh", TMPDIR=other)
    assert result.rc == 0 and "it is not this user only who can write there" in result.out + result.err, result


@pytest.mark.parametrize("home", ["rel", "", "~", "/nowhere-at-all/x/..", "/dev/null"])
def test_a_home_that_is_none(project, far, home):
    project.write(test_a="def test_a(): pass")
    (project.path / "tmp").mkdir()
    before = set(os.listdir(str(project.root))) | {"began"}
    result = project.run("--tx=command=%s//chdir=%s" % (far.spec("sh", HOME=home, TMPDIR=project.path / "tmp").split("//")[0], project.root), "-p", "no:cacheprovider")
    assert result.rc == 0 and "1 passed" in result.out, result
    assert {name for name in os.listdir(str(project.root)) if not name.startswith(".") and name != "__pycache__"} <= before


def test_another_architecture(project, far):
    project.write(test_a="def test_a(): pass")
    (far.home / "bin").mkdir()
    (far.home / "bin" / "uname").write_text("#!/bin/sh\necho Linux riscv64\n")
    (far.home / "bin" / "uname").chmod(0o755)
    result = far.run("sh", PATH="%s/bin:%s" % (far.home, os.environ["PATH"]))
    assert result.rc == 6 and "Linux riscv64" in result.out + result.err and "x86_64" in result.out + result.err, result


BINFMT = r"""
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":aarch64:M::$magic:$mask:$1:F" >/proc/sys/fs/binfmt_misc/register || exit 77
shift
exec "$@"
"""


def test_the_program_of_an_agent_is_hardened_and_of_one_locale(tmp_path):
    """It brings parts of a C library of its own (tools/agent_libc.c): what relocations wrote is read-only, and a wrong option is told by getopt()."""
    packed = os.path.join(AGENTS, os.uname().machine + ".gz")
    if not os.path.exists(packed):
        pytest.skip("no agent for this machine was built in %s" % AGENTS)
    program = tmp_path / "xdagent"
    with gzip.open(packed) as f:
        program.write_bytes(f.read())
    program.chmod(0o700)
    wrong = subprocess.run([str(program), "--bogus"], stderr=subprocess.PIPE, env={"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"})
    assert wrong.returncode not in (0, -signal.SIGABRT) and b"unrecognized option '--bogus'" in wrong.stderr, wrong
    data = program.read_bytes()
    at, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, at + size * n) for n in range(count)]
    (begin, length), = [(address, length) for kind, flags, offset, address, _, length in headers if kind == 0x6474e552]  # PT_GNU_RELRO
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdout.read(4) == b"\x89xd\r"
        with open("/proc/%d/maps" % agent.pid) as f:
            maps = [(int(a, 16), int(b, 16), mode) for a, b, mode in re.findall(r"^(\w+)-(\w+) (\S+)", f.read(), re.M)]
        agent.stdin.close()
        agent.stdout.read()
    assert [mode for a, b, mode in maps if a <= begin < b] == ["r--p"] and length > 0, maps


def test_aarch64_under_qemu(project, far):
    """A host that starts programs for aarch64 by qemu-user: the kernel knows it in a user namespace of the test's own."""
    qemu = shutil.which("qemu-aarch64-static")
    if not qemu or not os.path.exists(os.path.join(AGENTS, "aarch64.sums")):
        pytest.skip("needs qemu-user-static and an agent for aarch64 (gcc-aarch64-linux-gnu when xd was built)")
    assert os.path.getsize(os.path.join(AGENTS, "aarch64.xz")) <= 400 * 1024
    script = project.path / "binfmt"
    script.write_text(BINFMT)
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", str(script), qemu]
    tried = subprocess.run(enter + ["true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if tried.returncode:
        pytest.skip("no binfmt_misc in a user namespace here: %s" % tried.stdout.decode().strip())
    (far.home / "bin").mkdir()
    (far.home / "bin" / "uname").write_text("#!/bin/sh\necho Linux aarch64\n")
    (far.home / "bin" / "uname").chmod(0o755)
    project.write(test_a=SUITE + "def test_dies(): os.abort()\n")
    result = far.run("%s sh" % " ".join(enter), "env:SHOW=1", "python=" + project.python, PATH="%s/bin:%s" % (far.home, os.environ["PATH"]))
    assert result.rc == 1 and "2 failed, 1 crashed, 12 passed" in result.out and "SIGABRT" in result.out, result
    assert [os.path.basename(agent).split("-")[1] for agent in far.agents] == ["aarch64"]
    (project.root / "tests.txt").write_text("true\nfalse\n")
    far.wait_gone(5)
    result = far.run("%s sh" % " ".join(enter), PATH="%s/bin:%s" % (far.home, os.environ["PATH"]), args=["--runner=command", "--list", "tests.txt"], python=False)
    assert result.rc == 1 and "1 failed, 1 passed" in result.out, result


# ---- several at once, and death ----------------------------------------------------------------------------------------

def test_two_at_once(project, far):
    project.write(test_a=SUITE)
    first = project.start("run", "--python=" + project.python, "--tx=2*command=" + far.spec(), "-p", "no:cacheprovider", env={"XDG_STATE_HOME": str(project.path / "s1")})
    second = project.start("run", "--python=" + project.python, "--tx=2*command=" + far.spec(), "-p", "no:cacheprovider", env={"XDG_STATE_HOME": str(project.path / "s2")})
    for process in (first, second):
        result = project.finish(process)
        assert "1 failed, 13 passed" in result.out, result
    assert len(far.agents) == 1 and not glob.glob(str(far.home / ".cache" / "xd" / "agent" / "*" / ".new*"))


def test_one_that_another_controller_has_put_there_stays(project, far):
    """Its guard, or agent, may be about to start itself again."""
    project.write(test_a="def test_a(): pass")
    assert far.run("sh").rc == 0
    agent, = far.agents
    os.rename(agent, str(project.path / "copy"))
    (project.path / "bin").mkdir()
    other = project.path / "bin" / "chmod"  # of what is to be filled with the agent
    other.write_text("#!/bin/sh\ncp %s %s\nls -i %s > %s\nexec %s \"$@\"\n" % (project.path / "copy", agent, agent, project.path / "inode", shutil.which("chmod")))
    other.chmod(0o755)
    result = far.run("sh", PATH="%s/bin:%s" % (project.path, os.environ["PATH"]))
    assert result.rc == 0 and "1 passed" in result.out, result
    assert os.stat(agent).st_ino == int((project.path / "inode").read_text().split()[0]), far.agents
    assert not glob.glob(os.path.dirname(agent) + "/.new*")


def test_an_agent_whose_file_is_gone(tmp_path):
    agent = tmp_path / "xdagent"
    shutil.copy(os.path.join(os.path.dirname(XDCTL), "xdagent"), str(agent))
    fd = os.open(str(agent), os.O_PATH)
    agent.unlink()
    process = subprocess.Popen(["xdagent"], executable="/proc/self/fd/%d" % fd, pass_fds=(fd,), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(8) == b"\x89xd\r\n\x1a\n\x01", process.communicate()
    process.communicate()


def started(project, far, *args, **far_env):
    project.write(test_a=SLOW)
    process = project.start("run", "-v", "--python=" + project.python, "--tx=2*command=" + far.spec(**far_env), "-p", "no:cacheprovider", *args)
    began = project.root / "began"
    end = time.monotonic() + 40
    while not (began.exists() and len(began.read_text().split()) >= 4) and time.monotonic() < end:
        time.sleep(0.02)
    assert began.exists(), project.finish(process)
    return process


def test_xdctl_is_killed(project, far, tmp_path):
    scratch = str(tmp_path / ("xd-%d" % os.geteuid()) / "scratch-*")
    process = started(project, far, "--reconnect-timeout=3", TMPDIR=tmp_path)
    assert glob.glob(scratch)
    process.kill()
    process.wait()
    far.wait_gone(15)  # the time to wait for another pipe, and a little to end all
    assert not glob.glob(scratch)


def test_ctrl_c_does_not_wait_for_that_time(project, far):
    process = started(project, far)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    result = project.finish(process)
    assert result.rc == 2, result
    far.wait_gone(5)


def parents(processes):
    return [pid for pid, line in processes if "--guarded-by" not in line and "--attach" not in line and "xdagent-" in line]


def test_the_agent_is_killed(project, far):
    process = started(project, far)
    victims = [pid for pid, line in far.alive() if "xdagent-" in line]
    assert len(victims) == 2, far.alive()
    kill(victims)  # the one ends with the other
    result = project.finish(process)
    assert result.rc == 6 and "killed by SIGKILL" in result.out + result.err, result
    far.wait_gone(10)


def test_the_command_is_killed(project, far):
    """The pipe is cut; another one is taken to the same agent, and nothing runs twice."""
    script = project.path / "between"
    script.write_text("import subprocess, sys, threading, os\n"
                      "p = subprocess.Popen(['sh'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)\n"
                      "def carry(a, b):\n"
                      "    while True:\n"
                      "        data = os.read(a, 65536)\n"
                      "        if not data: break\n"
                      "        while data: data = data[os.write(b, data):]\n"
                      "    os.close(b)\n"
                      "threading.Thread(target=carry, args=(0, p.stdin.fileno()), daemon=True).start()\n"
                      "open(%r, 'a').write('%%d\\n' %% os.getpid())\n"
                      "carry(p.stdout.fileno(), 1)\n" % str(project.path / "pids"))
    project.write(test_a=SLOW)
    process = project.start("run", "-v", "--python=" + project.python, "--tx=2*command=" + far.spec("%s %s sh" % (sys.executable, script)), "-p", "no:cacheprovider")
    began = project.root / "began"
    end = time.monotonic() + 40
    while not (began.exists() and len(began.read_text().split()) >= 4) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(int((project.path / "pids").read_text().split()[0]), signal.SIGKILL)
    result = project.finish(process)
    assert result.rc == 0 and "40 passed" in result.out and "taken up again after" in result.out, result
    assert sorted(map(int, began.read_text().split())) == list(range(40)), result
    assert len((project.path / "pids").read_text().split()) == 2
    far.wait_gone(5)


def test_what_is_said_in_time(project, far):
    """A far end that never answers: named, and ended."""
    project.write(test_a="def test_a(): pass")
    process = project.start("run", "--python=" + project.python, "--tx=command=" + far.spec("sh -c 'echo Password: >&2; exec sleep 1000' sh"), "-p", "no:cacheprovider")
    result = project.finish(process)
    assert result.rc == 6 and "no shell has answered there in time" in result.out + result.err and "Password:" in result.out + result.err, result
