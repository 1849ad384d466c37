"""Nothing of ours is left, whichever of our processes are killed: processes, files in the folder for temporary files, files of the run."""
import itertools
import os
import signal
import subprocess
import time
import uuid

import pytest

from conftest import XDCTL
from faults import children, kill, living, of_role, stat_of, tree, wait_until

ROLES = ("xdctl", "guard", "agent", "host", "collector", "worker")
SUITE = """
    import os, signal, subprocess, sys, time
    import pytest

    @pytest.mark.parametrize("i", range(8))
    def test_leaves_processes(i):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("captured")
        sleep = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
        subprocess.Popen(sleep)                             # in the worker's process group
        subprocess.Popen(sleep, start_new_session=True)     # a session of its own
        if os.fork() == 0:                                  # a daemon: no parent of ours, no session of ours
            os.setsid()
            if os.fork() == 0:
                os.execv(sys.executable, sleep)
            os._exit(0)
        open(os.environ["STARTED"] + str(i), "w").close()
        time.sleep(600)
"""


def marked(marker):
    """Processes of a run: pid -> start time.  They are known by what is in their environment, whoever their parents are."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as f:
                ours = marker.encode() in f.read()
        except OSError:
            continue
        stat = stat_of(int(name)) if ours else None
        if stat:
            found[int(name)] = stat[2]
    return found


def kill_marked(marker):
    kill(marked(marker))


def first(pids):
    """Not a test's daemon that has yet to become its program."""
    return min(pids, key=lambda pid: (stat_of(pid) or (0, "", float("inf")))[2])


def roles(process):
    """Role -> pid, of a run whose workers are forked from the collector."""
    guard, = children(process.pid)
    agent, = children(guard)
    found = {"xdctl": process.pid, "guard": guard, "agent": agent}
    for role in ("host", "collector"):
        found[role] = first(wait_until(lambda: of_role(agent, role), "the " + role))
    found["worker"] = first(wait_until(lambda: children(found["collector"]), "a worker"))
    return found


@pytest.mark.parametrize("whom", [pair for n in (1, 2) for pair in itertools.combinations(ROLES, n)] + [("xdctl", "guard", "agent")], ids="+".join)
def test_nothing_lives_on(project, whom):
    project.write(test_l=SUITE, conftest="import time\ntime.sleep(0.7)\n")  # so long that there is a host
    temporary = project.path / "temporary"
    temporary.mkdir()
    marker = uuid.uuid4().hex
    process = project.start("run", "-n2", "--python", project.python, "-p", "no:cacheprovider",
                            env={"XD_TEST_MARKER": marker, "STARTED": str(project.path / "started"), "TMPDIR": str(temporary)})
    try:
        wait_until(lambda: len(list(project.path.glob("started*"))) >= 2, "two running tests")
        found = roles(process)
        wait_until(lambda: len(marked(marker)) >= 7 + 2 * 3, "three processes of each test")
        everyone = marked(marker)
        assert set(found.values()) <= set(everyone)
        if len(whom) == 3:  # who left our session cannot be found once nobody is left who would adopt him
            everyone = {pid: start for pid, start in everyone.items() if os.getsid(pid) == os.getsid(process.pid)}
        for role in whom:
            try:
                os.kill(found[role], signal.SIGKILL)
            except ProcessLookupError:
                assert role in ("host", "collector", "worker") and "agent" in whom  # the end of the agent was its end, too
        if not {"xdctl", "guard", "agent"} & set(whom):  # the run goes on; its user wants to leave
            for _ in range(3):
                time.sleep(0.5)
                process.send_signal(signal.SIGINT)
        wait_until(lambda: not living(everyone if len(whom) == 3 else marked(marker)), "the end of all processes", 35)
        process.wait(10)
        if len(whom) < 3:
            assert [name for name in os.listdir(str(temporary)) if name.startswith("xd-")] == []
            told = {"env-0.last"} if "xdctl" in whom else set()  # what ran then, for `show`
            assert set(os.listdir(str(project.latest()))) - told == {"journal", "lock"}
    finally:
        kill_marked(marker)


@pytest.mark.parametrize("cache", ["cache", "no cache"])
@pytest.mark.parametrize("whom", [("agent",), ("guard", "agent"), ("xdctl", "agent")], ids="+".join)
def test_no_file_is_left_by_what_is_killed_while_it_collects(project, whom, cache):
    """Without a cache the adapter is unpacked into the folder for temporary files."""
    project.write(test_c="""
        import os, time
        print("captured")
        open(os.environ["STARTED"], "w").close()
        time.sleep(600)
    """)
    temporary = project.path / "temporary"
    temporary.mkdir()
    marker = uuid.uuid4().hex
    started = project.path / "started"
    env = {"XD_TEST_MARKER": marker, "STARTED": str(started), "TMPDIR": str(temporary)}
    if cache == "no cache":
        env["XDG_CACHE_HOME"] = os.devnull
    process = project.start("run", "-n2", "--python", project.python, "-p", "no:cacheprovider", env=env)
    try:
        wait_until(started.exists, "the collection")
        found = {"xdctl": process.pid, "guard": children(process.pid)[0]}
        found["agent"] = children(found["guard"])[0]
        folder = project.latest()
        assert os.listdir(str(folder / "env-0"))
        for role in whom:
            os.kill(found[role], signal.SIGKILL)
        wait_until(lambda: not living(marked(marker)), "the end of all processes", 35)
        process.wait(10)
        assert [name for name in os.listdir(str(temporary)) if name.startswith("xd-capture") or name.startswith("xd-adapter")] == []
        assert sorted(os.listdir(str(folder))) == ["journal", "lock"]
    finally:
        kill_marked(marker)


def test_children_of_the_shell_before_are_not_ours(project):
    """`server & exec xdctl run`: the server is a child of xdctl, and lives on."""
    project.write(test_f="def test_f(): pass\n")
    script = "%s -c 'import time; time.sleep(600)' > /dev/null 2>&1 & echo $! > server; exec %s run -n2 --python %s" % (project.python, XDCTL, project.python)
    process = subprocess.Popen(["sh", "-c", script], cwd=str(project.root), env=project.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    project.started.append(process)
    out, _ = process.communicate(timeout=60)
    server = int((project.root / "server").read_text())
    try:
        assert process.returncode == 0, out
        assert stat_of(server) and stat_of(server)[1] != "Z"
    finally:
        os.kill(server, signal.SIGKILL)
