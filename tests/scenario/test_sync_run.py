"""xdctl run brings the project's files to other hosts: the seed's command lines, typed literally, over real sshds, and what may stand there already."""
import contextlib
import os
import signal
import time

import pytest

from faults import kill, wait_until

ALL_HERE = """
import os
def test_here():
    import mypkg
    assert mypkg.VALUE == %d
    assert "/work/" in os.path.abspath(mypkg.__file__)
"""


@pytest.fixture
def at_home(project):
    """A project with a package, its tests inside of it, data and caches, in a git working tree."""
    root = project.root
    (root / ".git").mkdir()
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    package = root / "mypkg"
    (package / "tests" / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("VALUE = 1\n")
    (package / "tests" / "__init__.py").write_text("")
    (package / "tests" / "test_a.py").write_text(ALL_HERE % 1)
    (package / "tests" / "data" / "big.dat").write_bytes(os.urandom(100000))
    return project


def copies(host):
    """Folders of projects that were brought to a host."""
    work = host.home / ".cache" / "xd" / "work"
    return sorted(p for p in work.iterdir() if p.is_dir()) if work.exists() else []


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".xd-"))


def run(project, *args, **more):
    return project.xdctl("run", "--python", "python3", *args, **more)


def test_the_seeds_line(lab, at_home):
    """xdctl run -d --tx ssh=myhostpopen --rsyncdir mypkg mypkg, as the page has it"""
    hosts = lab([{"name": "myhostpopen"}], project=at_home)
    if not hosts.namespaces:
        pytest.skip("names of hosts are the lab's only in namespaces")
    result = at_home.xdctl(*"run -d --tx ssh=myhostpopen --rsyncdir mypkg mypkg".split())
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    copy, = copies(hosts["myhostpopen"])
    assert files(copy) == ["mypkg/__init__.py", "mypkg/tests/__init__.py", "mypkg/tests/data/big.dat", "mypkg/tests/test_a.py", "pytest.ini"]


def test_a_user_and_a_host(lab, at_home):
    hosts = lab([{"name": "myhost", "user": "tester"}], project=at_home)
    result = at_home.xdctl("run", "-d", "--tx", "ssh=tester@myhost", "--rsyncdir", "mypkg", "mypkg")
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    copy, = copies(hosts["myhost"])
    assert "mypkg/__init__.py" in files(copy)


def test_the_seeds_conftest(lab, at_home):
    """rsyncdirs and rsyncignore of mypkg/conftest.py, relative to it."""
    hosts = lab(1, project=at_home)
    root = at_home.root
    (root / "mypkg" / "conftest.py").write_text("rsyncdirs = ['.', '../plugins']\nrsyncignore = ['_cache']\n")
    for folder in ("plugins", "mypkg/_cache", "other"):
        (root / folder).mkdir()
        (root / folder / "x.py").write_text("X = 1\n")
    (root / "mypkg" / "tests" / "test_a.py").write_text("import sys, os\ndef test_a():\n    sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..', 'plugins'))\n"
                                                       "    import x\n    assert x.X == 1\n")
    result = run(at_home, "-d", "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    copy, = copies(hosts["h1"])
    there = files(copy)
    assert "plugins/x.py" in there and "mypkg/conftest.py" in there and not any("_cache/" in f or "other" in f for f in there), there


def test_several_hosts_and_folders(lab, at_home):
    hosts = lab(2, project=at_home)
    (at_home.root / "src").mkdir()
    (at_home.root / "src" / "lib.py").write_text("X = 3\n")
    result = run(at_home, "-d", "--tx", hosts.spec("h1"), "--tx", "2*" + hosts.spec("h2"), "--rsyncdir", "mypkg", "--rsyncdir", "src", "--rsyncignore", "*.dat", "mypkg")
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    for host in hosts.hosts:
        copy, = copies(host)
        assert files(copy) == ["mypkg/__init__.py", "mypkg/tests/__init__.py", "mypkg/tests/test_a.py", "pytest.ini", "src/lib.py"]


def test_a_change_and_a_removal_get_there(lab, at_home):
    hosts = lab(1, project=at_home)
    more = at_home.root / "mypkg" / "tests" / "test_b.py"
    more.write_text("def test_b(): pass\n")
    assert run(at_home, "--tx", hosts.spec("h1"), "mypkg").summary == {"passed": 2}
    copy, = copies(hosts["h1"])
    (copy / "left_by_a_test.txt").write_text("x")
    (at_home.root / "mypkg" / "__init__.py").write_text("VALUE = 2\n")
    (at_home.root / "mypkg" / "tests" / "test_a.py").write_text(ALL_HERE % 2)
    more.unlink()
    result = run(at_home, "-v", "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    assert "2 written, 1 removed" in result.out + result.err, result
    assert (copy / "left_by_a_test.txt").exists() and not (copy / "mypkg" / "tests" / "test_b.py").exists()


def test_a_change_that_looks_as_before_gets_there(lab, at_home):
    """Python tells by size and time, in seconds, whether what it compiled there is of use; who keeps times, or is quick, has the same ones."""
    hosts = lab(1, project=at_home)
    init = at_home.root / "mypkg" / "__init__.py"
    os.utime(str(init), (1000, 1000))
    assert run(at_home, "--tx", hosts.spec("h1"), "mypkg").summary == {"passed": 1}
    init.write_text("VALUE = 2\n")
    os.utime(str(init), (1000, 1000))
    (at_home.root / "mypkg" / "tests" / "test_a.py").write_text(ALL_HERE % 2)
    result = run(at_home, "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def test_nothing_named_brings_the_project(lab, at_home):
    """The top of the git working tree; the working folder may lie below it."""
    hosts = lab(1, project=at_home)
    result = run(at_home, "--tx", hosts.spec("h1"), "tests", cwd=str(at_home.root / "mypkg"))
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    copy, = copies(hosts["h1"])
    assert "mypkg/tests/data/big.dat" in files(copy) and "pytest.ini" in files(copy)


def test_paths_are_the_users_own(lab, at_home):
    hosts = lab(1, project=at_home)
    (at_home.root / "mypkg" / "tests" / "test_a.py").write_text("import mypkg\ndef test_a():\n    assert mypkg.__file__ == 3\n")
    result = run(at_home, "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc == 1 and str(at_home.root) in result.out and ".cache/xd/work" not in result.out, result


def test_a_folder_that_is_not_there_is_named(lab, at_home):
    result = at_home.xdctl("run", "--tx", "ssh=nobody.invalid", "--rsyncdir", "nosuch", "mypkg")
    assert result.rc == 4 and "nosuch" in result.err, result


def test_a_full_disk_is_one_line(lab, at_home):
    hosts = lab([{"storage": {"~": "full"}}], project=at_home)
    result = run(at_home, "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc == 6, result


def test_no_sync_brings_nothing(lab, at_home):
    hosts = lab(1, project=at_home)
    result = run(at_home, "--no-sync", "--tx", hosts.spec("h1"), "mypkg")
    assert result.rc != 0 and not any("mypkg" in f for c in copies(hosts["h1"]) for f in files(c)), result


def test_a_run_over_a_folder_of_its_own(lab, at_home):
    """chdir= with --rsyncdir: the files come there."""
    hosts = lab(1, project=at_home)
    result = run(at_home, "--tx", hosts.spec("h1", chdir="ci"), "--rsyncdir", "mypkg", "mypkg")
    there = hosts["h1"].home / "ci"
    assert (there / "mypkg" / "__init__.py").exists(), (result, list(there.rglob("*")) if there.exists() else None)


def test_two_runs_at_once_have_folders_of_their_own(lab, at_home):
    hosts = lab(1, project=at_home)
    (at_home.root / "mypkg" / "tests" / "test_a.py").write_text("import time\ndef test_a(): time.sleep(3)\n")
    args = ["run", "--python", "python3", "--tx", hosts.spec("h1"), "mypkg"]
    running = [at_home.start(*args) for _ in range(2)]
    for process in running:
        result = at_home.finish(process, None)
        assert result.rc == 0, result
    assert len(copies(hosts["h1"])) == 2


def cut_connections(host):
    """Ends the sshd processes of its sessions, as a broken network does."""
    cut = 0
    for pid, line in host.processes().items():
        if line.startswith("sshd: ") and "listener" not in line:
            try:
                os.kill(pid, signal.SIGKILL)
                cut += 1
            except ProcessLookupError:
                pass
    return cut


def receivers(host):
    return [pid for pid, line in host.processes().items() if "--receive" in line]


@pytest.fixture
def large(at_home):
    """Enough for some seconds on the link of `slow`."""
    data = at_home.root / "mypkg" / "data"
    data.mkdir()
    for n in range(60):
        (data / ("%d.bin" % n)).write_bytes(os.urandom(200000))
    return at_home


@pytest.mark.parametrize("ssh", ["libssh", "openssh"])
def test_a_connection_that_is_cut_meanwhile(lab, large, ssh):
    """Both halves begin anew on the next one; what was brought is not brought again, and the tests run."""
    hosts = lab(1, project=large)
    hosts.set_link("h1", rtt_ms=80)
    process = large.start("run", "-v", "--python", "python3", "--ssh=" + ssh, "--tx", hosts.spec("h1"), "mypkg")
    until, cuts = time.monotonic() + 30, 0
    while cuts < 2 and time.monotonic() < until and process.poll() is None:
        if receivers(hosts["h1"]) and cut_connections(hosts["h1"]):
            cuts += 1
            time.sleep(1.0)
        time.sleep(0.05)
    result = large.finish(process)
    assert cuts and result.rc == 0 and result.summary == {"passed": 1}, result
    assert "taken up again" in result.out and not receivers(hosts["h1"]), result
    copy, = copies(hosts["h1"])
    for n in range(60):
        name = "mypkg/data/%d.bin" % n
        assert (copy / name).read_bytes() == (large.root / name).read_bytes()


def test_a_receiver_that_is_killed_is_one_line(lab, large):
    hosts = lab(1, project=large)
    hosts.set_link("h1", rtt_ms=80)
    process = large.start("run", "--python", "python3", "--tx", hosts.spec("h1"), "mypkg")
    until = time.monotonic() + 30
    while not receivers(hosts["h1"]) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    kill(receivers(hosts["h1"]))
    result = large.finish(process)
    assert result.rc == 6 and "receives the files was killed by SIGKILL" in result.err + result.out, result


def test_ctrl_c_while_files_are_brought(lab, large):
    """Nothing of ours stays on the host, and no temporary file."""
    hosts = lab(1, project=large)
    hosts.set_link("h1", rtt_ms=80)
    process = large.start("run", "--python", "python3", "--tx", hosts.spec("h1"), "mypkg")
    until = time.monotonic() + 30
    while not receivers(hosts["h1"]) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    result = large.finish(process)
    assert result.rc == 2 and time.monotonic() - began < 20, result
    until = time.monotonic() + 20
    while any("xdagent" in line for line in hosts["h1"].processes().values()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any("xdagent" in line for line in hosts["h1"].processes().values())


def test_one_host_that_cannot_take_files_and_one_that_can(lab, at_home):
    """The run says which, and with --min-workers it goes on without it."""
    hosts = lab([{}, {"storage": {"~": "full"}}], project=at_home)
    args = ["--tx", hosts.spec("h1"), "--tx", hosts.spec("h2"), "mypkg"]
    result = run(at_home, *args)
    assert result.rc == 6 and "h2" in result.out + result.err, result
    result = run(at_home, "--min-workers=1", *args)
    assert result.rc == 0 and result.summary["passed"] == 1 and "h2" in result.out + result.err, result


HELD = """
import os, pytest, time
@pytest.mark.parametrize("n", range(12))
def test_n(n):
    home = os.path.expanduser("~")
    with open(home + "/began", "a") as f: f.write("%d\\n" % n)
    while not os.path.exists(home + "/go"): time.sleep(0.02)
"""


class OneIsSlow(object):
    """A run on two hosts. On h2 the process that receives the files is stopped (SIGSTOP) until the test continues it; each test of the suite waits for the file `go`."""

    def __init__(self, lab, large, *args):
        (large.root / "mypkg" / "tests" / "test_a.py").write_text(HELD)
        self.project, self.hosts = large, lab(2, project=large)
        self.hosts.set_link("h2", rtt_ms=80)
        self.process = large.start("run", "--python", "python3", "--tx", self.hosts.spec("h1"), "--tx", self.hosts.spec("h2"), *args, "mypkg")
        self.receivers = wait_until(lambda: receivers(self.hosts["h2"]), "files are sent to h2", 30)
        for pid in self.receivers:
            os.kill(pid, signal.SIGSTOP)

    def began(self, name):
        with contextlib.suppress(FileNotFoundError):
            return (self.hosts[name].home / "began").read_text().split()
        return []

    def go(self):
        for name in ("h1", "h2"):
            (self.hosts[name].home / "go").write_text("")
        return self.project.finish(self.process)


def test_a_host_that_is_still_sent_files_holds_up_nobody(lab, large):
    """Tests begin where the files are; the other one gets its share when it has them, too."""
    run = OneIsSlow(lab, large)
    wait_until(lambda: run.began("h1"), "a test on h1", 30)
    for pid in run.receivers:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: run.began("h2"), "a test on h2", 30)
    result = run.go()
    assert result.rc == 0 and result.summary == {"passed": 12}, result
    assert sorted(map(int, run.began("h1") + run.began("h2"))) == list(range(12))


@pytest.mark.parametrize("least,rc", [(None, 6), (1, 0), (2, 6)])
def test_a_host_that_does_not_get_its_files_after_tests_began(lab, large, least, rc):
    """It is named, the others run all there is, and the exit code says whether that was enough."""
    run = OneIsSlow(lab, large, *(["--min-workers=%d" % least] if least else ["--ssh=openssh"]))
    if least == 2:
        time.sleep(1)
        assert not run.began("h1")
    else:
        wait_until(lambda: run.began("h1"), "a test on h1", 30)
    kill(run.receivers)
    result = run.go()
    assert result.rc == rc and "h2" in result.out and "receives the files was killed by SIGKILL" in result.out + result.err, result
    assert (len(run.began("h1")), run.began("h2")) == (0 if least == 2 else 12, []), result
