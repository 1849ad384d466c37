"""Runs on several hosts of the lab at once: twenty of them, a slow and lossy link, a controller that is killed.  Connections that die: test_run_cuts.py."""
import collections
import os
import time

import pytest

# Each test writes its number into the home folder of the host that it runs on, and takes WAIT seconds.
SUITE = """
import os, time, pytest
@pytest.mark.parametrize("n", range(%d))
def test_a(n):
    fd = os.open(os.path.expanduser("~/ran"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%%d\\n" %% n)
    os.close(fd)
    time.sleep(%r)
    print("ran on", os.uname().nodename)
"""
FOUND_S = 45  # a host that is cut off is found within
GONE_S = 35   # and nothing of ours is alive on it after


class Hosts(object):
    """A suite on all hosts of a lab, and what ran where."""

    def __init__(self, lab, project, tests, wait=0.0):
        self.lab, self.project = lab, project
        project.write(test_a=SUITE % (tests, wait))
        for host in lab.hosts:
            (host.home / "proj").mkdir()
            (host.home / "proj" / "test_a.py").write_text(SUITE % (tests, wait))
        self.jsonl = str(project.path / "run.jsonl")

    def start(self, *args):
        tx = [word for host in self.lab.hosts for word in ("--tx", self.lab.spec(host.name, chdir="proj", python="python3"))]
        return self.project.start("run", "--jsonl", self.jsonl, *(tx + list(args) + ["-p", "no:cacheprovider"]))

    def finish(self, process):
        return self.project.finish(process, self.jsonl)

    def run(self, *args):
        return self.finish(self.start(*args))

    def ran(self, *names):
        """{number: how often} on these hosts, or on all."""
        count = collections.Counter()
        for host in self.lab.hosts:
            if not names or host.name in names:
                path = host.home / "ran"
                count.update(map(int, path.read_text().split()) if path.exists() else ())
        return count

    def wait_for(self, name, count, process):
        until = time.monotonic() + 40
        while len(self.ran(name)) < count:
            if time.monotonic() > until or process.poll() is not None:
                pytest.fail("%d tests did not begin on %s: %r" % (count, name, self.finish(process)))
            time.sleep(0.02)

    def left(self, name):
        """What runs on a host beside its sshd."""
        return {pid: line for pid, line in self.lab[name].processes().items() if not line.startswith("sshd: ")}

    def all_gone(self, *names, within=GONE_S):
        until = time.monotonic() + within
        while any(self.left(name) for name in names) and time.monotonic() < until:
            time.sleep(0.1)
        return not any(self.left(name) for name in names), {name: self.left(name) for name in names}


def all_gone(hosts, within=GONE_S):
    gone, rest = hosts.all_gone(*[host.name for host in hosts.lab.hosts], within=within)
    assert gone, rest


def test_twenty_hosts_in_one_run(lab, project):
    hosts = Hosts(lab(20, project=project), project, 400, 0.02)
    result = hosts.run("-v")
    assert result.rc == 0 and result.summary == {"passed": 400}, result
    assert hosts.ran() == {n: 1 for n in range(400)}
    assert "20 workers [400 items]" in result.out, result
    all_gone(hosts)


@pytest.mark.parametrize("link", [{"rtt_ms": 50}, {"rtt_ms": 20, "loss": 0.02}], ids=["50ms", "lossy"])
def test_a_slow_link(lab, project, link):
    two = lab(2, project=project)
    two.set_link("h1", "h2", **link)
    hosts = Hosts(two, project, 500)
    result = hosts.run()
    assert result.rc == 0 and result.summary == {"passed": 500}, result
    assert hosts.ran() == {n: 1 for n in range(500)}
    all_gone(hosts, within=15)  # an agent that has not heard of the end waits twice as long for another connection


def test_the_controller_does_not_wait_for_the_end_of_a_host_far_away(lab, project):
    """What it says last gets there all the same, and ends the agent."""
    one = lab(1, project=project)
    one.set_link("h1", rtt_ms=1000)
    hosts = Hosts(one, project, 3)
    process = hosts.start("--ssh=libssh")
    result = hosts.finish(process)
    assert result.rc == 0 and result.summary == {"passed": 3}, result
    assert any("xdagent" in line for line in hosts.left("h1").values()), "it waited"
    all_gone(hosts, within=15)


def test_a_controller_that_is_killed_leaves_nothing_on_the_hosts(lab, project):
    two = lab(2, project=project)
    hosts = Hosts(two, project, 40, 1.0)
    process = hosts.start()
    hosts.wait_for("h1", 2, process)
    hosts.wait_for("h2", 2, process)
    process.kill()
    process.wait()
    all_gone(hosts)


def test_a_controller_behind_a_partition_leaves_nothing_on_the_host(lab, project):
    """The host hears nothing of the controller's death: the agent ends by itself."""
    one = lab(1, project=project)
    hosts = Hosts(one, project, 100, 1.0)
    process = hosts.start()
    hosts.wait_for("h1", 2, process)
    one.partition("h1")
    process.kill()
    process.wait()
    all_gone(hosts)
