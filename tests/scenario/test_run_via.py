"""Workers with names on hosts of the lab (ssh=HOST//id=NAME), and hosts that are reached by way of those (via=NAME): h1 is the jump host, and what
is behind it answers nobody but h1, or the host in front of it."""
import re
import time

import pytest

from faults import kill
from lab import CONTROLLER
from test_run_ids import rebuilt, workers

# Each test waits for the first one of each other worker of its host, writes who ran it into the host's home folder, and takes a moment.
SUITE = """
    import os, pytest, time
    @pytest.mark.parametrize("n", range(%d))
    def test_it(n, worker_id, tmp_path):
        assert worker_id == os.environ["PYTEST_XDIST_WORKER"] and tmp_path.parent.name == "popen-" + worker_id
        with open(os.path.expanduser("~/ran"), "a") as f: f.write("%%s %%d\\n" %% (worker_id, n))
        time.sleep(%r)
"""


class Behind(object):
    """A chain of hosts: h1 is reached from here, h2 from h1 alone, h3 from h2 alone."""

    def __init__(self, lab, project, hosts, tests=30, wait=0.2):
        self.lab, self.project = lab(hosts, project=project), project
        project.write(test_a=SUITE % (tests, wait))
        for host in self.lab.hosts:
            (host.home / "proj").mkdir()
            (host.home / "proj" / "test_a.py").write_text((project.root / "test_a.py").read_text())
        for number, host in enumerate(self.lab.hosts):
            away = [CONTROLLER] + [other.address for n, other in enumerate(self.lab.hosts) if abs(n - number) > 1]
            if number:
                self.close(host, away)
        assert self.lab.ssh("h1", "true").returncode == 0
        for host in self.lab.hosts[1:]:
            direct = self.lab.ssh(host.name, "true", "-o", "ConnectTimeout=1")
            assert direct.returncode == 255, direct

    @staticmethod
    def close(host, addresses):
        """It answers none of these any more: no packet finds the way back."""
        for address in addresses:
            done = host.run(["ip", "route", "add", "blackhole", address])
            assert done.returncode == 0, done

    def tx(self, name, count="", **parts):
        return "--tx=%s%s" % (count, self.lab.spec(name, chdir="proj", **parts))

    def ran(self, name):
        """[worker] of each test that ran on a host."""
        path = self.lab[name].home / "ran"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def nothing_left(self):
        until = time.monotonic() + 10
        while any("xdagent" in line or "pytest" in line or " -W " in line for host in self.lab.hosts for line in host.processes().values()):
            assert time.monotonic() < until, [host.processes() for host in self.lab.hosts]
            time.sleep(0.05)


@pytest.fixture
def behind(lab, project):
    return lambda *args, **more: Behind(lab, project, *args, **more)


@pytest.mark.parametrize("way", ["openssh", "libssh"])
def test_names_on_another_host(behind, way):
    b = behind(1)
    result = b.project.run("--ssh=" + way, b.tx("h1", id="alpha"), b.tx("h1"), "-v", "--", "--junitxml=x.xml", python=False)
    assert result.rc == 0 and set(b.ran("h1")) == workers(result) == {"alpha", "gw1"}, result
    shown = rebuilt(b.project, result, "x.xml")
    for text in (result.out, shown):
        assert len(re.findall(r"^\[alpha\] \[ *\d+%\] PASSED", text, re.M)) == b.ran("h1").count("alpha"), text
    b.nothing_left()


def test_an_inner_host(behind):
    """The jump host runs tests as well, and so does a popen by way of it: on the jump host, beside its worker."""
    b = behind(2)
    result = b.project.run(b.tx("h1", id="j"), "--tx=popen//via=j//chdir=proj", b.tx("h2", "2*", via="j"), "-v", python=False)
    assert result.rc == 0 and result.summary == {"passed": 30}, result
    assert set(b.ran("h1")) == {"j", "gw1"} and set(b.ran("h2")) == {"gw2", "gw3"}, result
    assert sorted(b.ran("h1") + b.ran("h2")) == sorted(e["worker"] for e in result.tests)
    assert "by the ssh program: via=j" in result.out, result
    accepted = [line for line in b.lab["h2"].log.read_text().splitlines() if "Accepted publickey" in line]
    assert accepted and all("from %s " % b.lab["h1"].address in line for line in accepted), accepted
    b.nothing_left()


def test_a_host_that_is_only_on_the_way(behind):
    """--px: no worker runs there, no agent is brought there; it need not even have Python."""
    b = behind([{"python": None}, {}])
    result = b.project.run("--px=" + b.lab.spec("h1", id="j"), b.tx("h2", "2*", via="j"), python=False)
    assert result.rc == 0 and set(b.ran("h2")) == workers(result) == {"gw0", "gw1"} and not b.ran("h1"), result
    assert not (b.lab["h1"].home / ".cache").exists()
    b.nothing_left()


def test_a_chain(behind):
    b = behind(3)
    result = b.project.run(b.tx("h1", id="a"), b.tx("h2", id="b", via="a"), b.tx("h3", id="c", via="b"), "-v", python=False)
    assert result.rc == 0 and [set(b.ran(name)) for name in ("h1", "h2", "h3")] == [{"a"}, {"b"}, {"c"}], result
    b.nothing_left()


def test_hosts_check_goes_the_same_way(behind):
    b = behind(2)
    checked = b.project.xdctl("hosts", "check", b.tx("h1", id="j"), b.tx("h2", via="j"))
    lines = [line.split() for line in checked.out.splitlines() if "packages differ" not in line]
    assert checked.rc == 0 and [line[1:5] for line in lines] == [["IDS", "REACH", "KEY", "AGENT"], ["j", "ok", "ok", "ok"], ["-", "ok", "ok", "ok"]], checked


def test_by_way_of_this_machine(behind):
    """As in execnet: from there the host is reached as from here."""
    b = behind(1)
    result = b.project.run("--tx=popen//id=here//python=" + b.project.python, b.tx("h1", via="here"), "-v", python=False)
    assert result.rc == 0 and set(b.ran("h1")) == {"gw1"} and workers(result) == {"here", "gw1"}, result


@pytest.mark.parametrize("ssh", ["auto", "openssh"])
def test_a_jump_host_that_is_away(behind, ssh):
    """Each host that is not reached is named, with the cause, once."""
    b = behind(2)
    kill([pid for pid, line in b.lab["h1"].processes().items() if "sshd" in line])
    result = b.project.run("--ssh=" + ssh, "--min-workers=1", "--tx=popen//python=" + b.project.python, b.tx("h1", id="j"), b.tx("h2", via="j"), python=False)
    lost = [line for line in result.out.splitlines() if re.search(r"lost ssh=h\d", line)]
    assert result.rc == 0 and result.summary["passed"] == 30 and workers(result) == {"gw0"}, result
    assert len(lost) == 2 and sorted(re.search(r"ssh=(h\d)", line).group(1) for line in lost) == ["h1", "h2"], result


def test_the_way_is_cut(behind):
    """A connection by way of another host is taken up again like any other, and no test runs twice."""
    b = behind(2, tests=20, wait=0.5)
    jsonl = str(b.project.path / "cut.jsonl")
    process = b.project.start("run", "--jsonl=" + jsonl, b.tx("h1", id="j"), b.tx("h2", via="j", id="inner"), "-v")
    until = time.monotonic() + 40
    while not b.ran("h2"):
        assert time.monotonic() < until and process.poll() is None, b.project.finish(process)
        time.sleep(0.02)
    sessions = [pid for pid, line in b.lab["h2"].processes().items() if "sshd: root@notty" in line]
    assert sessions
    kill(sessions)
    result = b.project.finish(process, jsonl)
    assert result.rc == 0 and result.summary == {"passed": 20} and "taken up again" in result.out and "lost ssh" not in result.out, result
    assert len(b.ran("h1")) + len(b.ran("h2")) == 20 and set(b.ran("h2")) == {"inner"}, result
    b.nothing_left()
