"""Which hosts a run has, and what a user sees of them: --hosts, cpus=auto."""
import os

import pytest

from conftest import ROOT

AGENT = os.environ.get("XD_AGENT") or os.path.join(ROOT, "build", "bin", "xdagent")
SUITE = "import os, pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_it(n, worker_id): assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '%d'\n"


def ran_on(result):
    return sorted({e["worker"] for e in result.events if e["event"] == "worker_up"})


def test_a_list_of_hosts(project):
    """Together with --tx, in this order; the list counts from --work-dir."""
    project.write(test_a=SUITE % 5, **{"hosts.txt": "# all of them\n\n2/:   # this machine\n1/://env:PLACE=b\n"})
    result = project.run("--hosts", "hosts.txt", "--tx", "2*popen//env:PLACE=a", "--work-dir", project.root, cwd=str(project.path))
    assert result.rc == 0 and ran_on(result) == ["gw%d" % n for n in range(5)], result
    assert sorted(e["spec"] for e in result.events if e["event"] == "environment") == ["popen", "popen//env:PLACE=a", "popen//env:PLACE=b"], result


def test_a_list_from_standard_input(project):
    project.write(test_a=SUITE % 3)
    with open(str(project.path / "list"), "w+") as f:
        f.write("3/:\n")
        f.seek(0)
        result = project.run("--hosts=-", stdin=f)
    assert result.rc == 0 and ran_on(result) == ["gw0", "gw1", "gw2"], result


@pytest.mark.parametrize("text,said", [
    ("2/:\n\n0/hostA\n", "xdctl: option --hosts: hosts.txt:3: '0/hostA': the number before / is from 1 to 1024; a line is [NUM/]HOST, "),
    ("hostA//colour=red", "xdctl: option --hosts: hosts.txt:1: bad spec 'ssh=hostA//cpus=auto//colour=red': unknown key 'colour'; known are "),
    ("# nobody\n", "xdctl: option --hosts: there is no host in hosts.txt; a line is [NUM/]HOST, "),
    (None, "xdctl: option --hosts: cannot read hosts.txt: No such file or directory\n"),
])
def test_a_bad_list(project, text, said):
    project.write(test_a=SUITE % 1)
    if text is not None:
        project.write(**{"hosts.txt": text})
    result = project.xdctl("run", "--hosts", "hosts.txt")
    assert result.rc == 4 and result.err.startswith(said) and result.err.count("\n") == 1 and result.out == "", result


def test_as_many_workers_as_a_host_has_processors(project):
    """That host's number: what its agent says, as a real one does of its affinity."""
    project.write(test_a="import os, pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_it(n): pass\n")
    agent = project.path / "agent"
    agent.write_text("#!/bin/sh\nexec taskset -c 0 '%s' \"$@\"\n" % AGENT)
    agent.chmod(0o755)
    one = project.run("--agent", agent, "--tx", "popen//cpus=auto", env={"PYTEST_XDIST_AUTO_NUM_WORKERS": "7"})
    assert one.rc == 0 and ran_on(one) == ["gw0"], one
    all_of_it = project.run("--tx", "popen//cpus=auto//nice=1", "--tx", "popen")
    assert all_of_it.rc == 0 and len(ran_on(all_of_it)) == len(os.sched_getaffinity(0)) + 1, all_of_it
    both = project.run("--tx", "popen//cpus=auto", "--tx", "popen")
    assert both.rc == 4 and "cpus=auto says how many workers it has" in both.err, both
