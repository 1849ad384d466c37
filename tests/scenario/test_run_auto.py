"""-n auto and -n logical: what counts processors, and what bounds the number (numprocesses_test has the whole table of the rules)."""
import os
import subprocess
import time

import pytest

from conftest import XDCTL
from test_run_pythons import interpreter

RUNNERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "actors", "runners")
CPUS = len(os.sched_getaffinity(0))
SUITE = '''
    import pytest, os
    @pytest.mark.parametrize("n", range(40))
    def test_n(n): assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == os.environ.get("WANTED", os.environ["PYTEST_XDIST_WORKER_COUNT"])
    '''


def workers(result):
    """The number that the tests saw."""
    assert result.rc == 0, result
    line = next(line for line in result.out.splitlines() if line.split()[1:2] in (["worker"], ["workers"]))
    return int(line.split()[0])


class Group(object):
    """Groups of the kernel, one below the other: `xdctl` runs in the last.  No test may leave one behind."""

    def __init__(self, folder, name):
        self.folder, self.name, self.made = str(folder), name, []

    def make(self, controller, depth=1):
        """The folders of groups, the highest first."""
        v2 = "/sys/fs/cgroup/cgroup.controllers"
        if os.path.exists(v2):
            if controller not in open(v2).read().split():
                pytest.skip("no %s controller in this machine's control groups" % controller)
            top = "/sys/fs/cgroup"
        else:
            top = "/sys/fs/cgroup/" + controller
        made = []
        for n in range(depth):
            top = os.path.join(top, self.name)
            try:
                os.mkdir(top)
            except OSError as e:
                pytest.skip("no control group can be made here: %s" % e)
            self.made.append(top)
            made.append(top)
            if os.path.exists(v2) and n + 1 < depth:
                self.put(top, "cgroup.subtree_control", "+" + controller)
        return made

    def has(self, group, name):
        return os.path.exists(os.path.join(group, name))

    def put(self, group, name, text):
        try:
            with open(os.path.join(group, name), "w") as f:
                f.write(text)
        except OSError as e:
            pytest.skip("%s of a control group cannot be set here: %s" % (name, e))

    def program(self):
        path = os.path.join(self.folder, "xdctl-in-group")
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + "".join("echo $$ >%s/cgroup.procs || exit 99\n" % group for group in self.made[-1:]) + 'exec %s "$@"\n' % XDCTL)
        os.chmod(path, 0o755)
        return path

    def close(self):
        for group in reversed(self.made):
            end = time.monotonic() + 10
            while os.path.exists(group):
                try:
                    os.rmdir(group)
                except OSError:
                    assert time.monotonic() < end, "the group %s is still in use" % group
                    time.sleep(0.02)


@pytest.fixture
def group(tmp_path):
    made = Group(tmp_path, "xd-test-%d" % os.getpid())
    yield made
    made.close()


def test_what_tells_python_how_many_processors_there_are(project):
    project.write(test_a=SUITE)
    assert workers(project.run("-n", "auto")) == workers(project.run()) == CPUS
    assert workers(project.run("-n", "auto", env=dict(PYTHON_CPU_COUNT="5"))) == 5
    assert workers(project.run("-n", "logical", env=dict(PYTHON_CPU_COUNT="5", PYTEST_XDIST_AUTO_NUM_WORKERS="4"))) == 4
    assert workers(project.run("-n", "3", env=dict(PYTHON_CPU_COUNT="5"))) == 3
    for wrong in ("0", "-2", "many", "default", ""):
        assert workers(project.run(env=dict(PYTHON_CPU_COUNT=wrong))) == CPUS, wrong


@pytest.mark.skipif(os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0,
                    reason="no mount name space can be had here")
def test_auto_counts_cores_where_psutil_is(project, tmp_path):
    """As xdist does; here psutil is an empty module, since only whether it is there matters, and all processors become threads of one core."""
    script = tmp_path / "one-core"
    script.write_text('#!/bin/sh\nexec unshare --mount sh -c \'for f in /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list; '
                      'do mount --bind %s "$f" || exit 99; done; exec %s "$@"\' sh "$@"\n' % (tmp_path / "all", XDCTL))
    script.chmod(0o755)
    (tmp_path / "all").write_text("0-%d\n" % (CPUS - 1))
    project.write(test_a=SUITE)
    assert workers(project.run("-n", "auto", program=str(script))) == CPUS
    project.write(psutil="", conftest="")
    assert workers(project.run("-n", "auto", program=str(script))) == 1
    assert workers(project.run(program=str(script))) == 1
    assert workers(project.run("-n", "logical", program=str(script))) == CPUS
    project.write(**{"pytest.ini": "[pytest]\naddopts = -n logical\n"})
    assert workers(project.run(program=str(script))) == CPUS


def test_processors_of_a_python_that_cannot_tell_them():
    code = "import sys; sys.path.insert(0, %r); from xd_pytest import pythons; print(sorted(pythons.allowed_processors()))" % RUNNERS
    found = subprocess.run([interpreter("2.7"), "-c", code], stdout=subprocess.PIPE, check=True)
    assert found.stdout.decode().strip() == str(sorted(os.sched_getaffinity(0)))


@pytest.mark.skipif(CPUS < 2, reason="one processor: no quota can make it fewer")
def test_quota_of_a_group_above(project, group):
    above, own = group.make("cpu", 2)
    if group.has(above, "cpu.max"):
        group.put(above, "cpu.max", "100000 100000")
    else:
        group.put(above, "cpu.cfs_quota_us", "100000")
    project.write(test_a=SUITE)
    assert workers(project.run("-n", "auto", program=group.program())) == 1
    assert workers(project.run("-n", "2", program=group.program())) == 2
    assert own.startswith(above)


@pytest.mark.skipif(CPUS < 2, reason="one processor: no memory can make it fewer")
def test_memory_for_fewer_workers(project, group):
    """A suite that keeps 200 MiB, where 450 are allowed: the processors would get a worker each."""
    (own,) = group.make("memory")
    group.put(own, "memory.max" if group.has(own, "memory.max") else "memory.limit_in_bytes", str(450 << 20))
    project.write(test_a=SUITE, conftest="KEPT = [bytearray(b'x' * 1024) for _ in range(200 * 1024)]\n")
    result = project.run("-n", "auto", program=group.program())
    assert workers(result) == 1
    assert "xd: warning: popen has 1 worker, not %d: there is no memory for more; -n N starts as many as you say" % CPUS in result.out + result.err, result
    assert workers(project.run("-n", "2", program=group.program())) == 2
    project.write(conftest="")
    result = project.run("-n", "auto", program=group.program())
    assert workers(result) == CPUS and "no memory" not in result.out + result.err, result
