"""Limits of the system, and peers that say nothing: a clear line, the right exit code, no abort inside of a library."""
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from conftest import SECONDS, XDCTL, clean_environment, programs_for_all
from faults import children, exit_code, living, of_role, tree, wait_until

FEW = """
    import pytest
    @pytest.mark.parametrize("i", range(12))
    def test_f(i): pass
"""


def limited(*limits):
    def apply():
        for limit, value in limits:
            resource.setrlimit(limit, (value, value))
    return apply


def refused(result, *words):
    """Exit 6, and nothing but one line about the cause."""
    assert result.rc == 6, result
    line, = (result.out + result.err).strip().splitlines()
    assert line.startswith("xdctl: ") and all(word in line for word in words), line


def test_size_of_files(project):
    project.write(test_f=FEW)
    refused(project.run(preexec_fn=limited((resource.RLIMIT_FSIZE, 1000))), "1000 bytes", "ulimit -f")


def test_journal_that_grows_over_the_limit(project):
    project.write(test_f="""
        import pytest
        @pytest.mark.parametrize("i", range(600))
        def test_f(i): assert 0, "y" * 2000
    """)
    result = project.xdctl("run", "-n2", "--python", project.python, "-p", "no:cacheprovider", "--tb=no", preexec_fn=limited((resource.RLIMIT_FSIZE, 256 * 1024)))
    assert result.rc in (1, 7), result  # 1: pytest's, for what failed before
    assert "File too large" in result.out + result.err


@pytest.mark.parametrize("megabytes", [60, 80, 100, 120])
def test_address_space(project, megabytes):
    project.write(test_f=FEW)
    result = project.run(preexec_fn=limited((resource.RLIMIT_AS, megabytes << 20)))
    if result.rc == 127 and "shared libraries" in result.err:
        pytest.skip("not even the libraries can be mapped")
    if result.rc != 0:
        refused(result, "ulimit -v")


def test_open_files_of_the_soft_limit(project):
    project.write(test_f=FEW)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    result = project.run("-n2", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard)))
    assert (result.rc, result.summary) == (0, {"passed": 12}), result


def test_open_files_of_the_hard_limit(project):
    project.write(test_f=FEW)
    refused(project.run("-n2", preexec_fn=limited((resource.RLIMIT_NOFILE, 30))), "open files is 30", "ulimit -n")


def test_fewer_workers_than_asked_for(project):
    project.write(test_f="""
        import time
        import pytest
        @pytest.mark.parametrize("i", range(60))
        def test_f(i): time.sleep(0.1)
    """)
    result = project.run("-n40", preexec_fn=limited((resource.RLIMIT_NOFILE, 128)))
    assert (result.rc, result.summary) == (0, {"passed": 60}), result
    assert "8 of 40 workers are started: the limit of open files is 128; raise it (ulimit -n 384)" in " ".join(result.out.split())
    assert not [e for e in result.events if e["event"] == "worker_down" and not e["expected"]]


@pytest.fixture
def stranger(open_folder):
    """(command prefix, folder): a user with no other process, so that a limit of processes counts those of the run alone."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("another user's limit of processes needs root and setpriv")
    open_folder.chmod(0o777)
    (open_folder / "test_f.py").write_text("def test_f(): pass\n")
    return ["setpriv", "--reuid", "54322", "--regid", "54322", "--clear-groups"], str(open_folder)


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 6, 8, 10, 11, 12])
def test_processes(stranger, processes):
    prefix, folder = stranger
    env = clean_environment(XDG_STATE_HOME=folder, XDG_CACHE_HOME=folder, TMPDIR=folder)
    xdctl = programs_for_all(folder)
    if subprocess.run(prefix + [xdctl, "--version"], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("%s cannot be run by another user" % xdctl)
    run = subprocess.run(prefix + ["prlimit", "--nproc=%d:%d" % (processes, processes), xdctl, "run", "-n2", "--python", "/usr/bin/python3"], cwd=folder, env=env,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, universal_newlines=True)
    assert run.returncode == 6, run.stdout
    assert "Resource temporarily unavailable" in run.stdout and "thread.cpp" not in run.stdout and "Traceback" not in run.stdout, run.stdout
    assert processes > 9 or ("ulimit -u" in run.stdout and len(run.stdout.splitlines()) == 1)


@pytest.mark.parametrize("args", [["--help"], ["--grace", "nonsense"]], ids=["help", "usage"])
def test_a_pipe_without_a_reader_before_the_run(project, args):
    """SIGPIPE must find its handler from the first byte on."""
    read, write = os.pipe()
    os.close(read)
    process = project.start("run", *args, stdout=write, stderr=write)
    os.close(write)
    assert exit_code(process) in (3, 4)


def test_host_killed_while_it_collects(project):
    project.write(test_c="""
        import os, time
        open(os.environ["STARTED"], "w").close()
        while not os.path.exists(os.environ["STARTED"] + ".go"):
            time.sleep(0.01)
        def test_c(): pass
    """)
    started = project.path / "started"
    process = project.start("run", "-n2", "--python", project.python, "-p", "no:cacheprovider", env={"STARTED": str(started)})
    wait_until(started.exists, "the collection")
    ours = tree(process.pid)
    guard, = children(process.pid)
    agent, = children(guard)
    host, = wait_until(lambda: of_role(agent, "host"), "the host")
    os.kill(host, signal.SIGKILL)
    wait_until(lambda: host not in living(ours), "the end of the host")
    (project.path / "started.go").write_text("")
    result = project.finish(process)
    assert "INTERNALERROR" not in result.out and "Traceback" not in result.out, result
    assert result.rc == 0 and result.summary == {"passed": 1} and "the runner host was killed by SIGKILL" in result.out, result


SILENT_AGENT = """#!%s
# No agent: a fake for tests, which says HELLO as one does, and then nothing.
import os, socket, struct, sys, time
if sys.argv[1:] != ["--version"]:
    def text(data):
        return struct.pack("<I", len(data)) + data
    body = struct.pack("<HHQ", %d, %d, 0) + text(b"fake") + text(b"host") + text(b"system") + struct.pack("<IIQ", os.getpid(), 2, 1 << 30)
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    sock.setblocking(True)
    sock.sendall(b"\\x89xd\\r\\n\\x1a\\n\\x01" + struct.pack("<IHHQ", len(body), 1, 0, 0) + body)
    while sock.recv(65536):
        pass
"""


def test_agent_that_is_silent_after_hello(project):
    project.write(test_f=FEW)
    agent = project.path / "fake-agent"
    agent.write_text(SILENT_AGENT % (sys.executable, 1, 99))
    agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
    process = project.start("run", "-n2", "--agent", agent, "--python", project.python)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 6, (out, err)
    assert "popen: the agent is silent: for 60 s it has not acknowledged its commands" in " ".join(out.decode().split())
