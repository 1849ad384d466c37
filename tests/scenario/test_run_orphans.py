"""Processes that tests leave without a parent: the agent adopts them, and one that ends is gone at once, as it is below plain pytest and init."""
import pytest

from faults import children, stat_of, wait_until

HELPERS = """
    import os, signal, subprocess, sys, time
    import pytest

    def daemonize(body):
        '''The process id of a daemon, whose parent has ended.'''
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            daemon = os.fork()
            if daemon == 0:
                try:
                    os.close(w)
                    body()
                finally:
                    os._exit(0)
            os.write(w, b"%%d" %% daemon)
            os._exit(0)
        os.close(w)
        os.waitpid(pid, 0)
        with os.fdopen(r) as f:
            return int(f.read())

    def gone(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return not os.path.exists("/proc/%%d" %% pid)
        return False

    def check_gone(pids):
        end = time.monotonic() + %d
        while not all(gone(pid) for pid in pids):
            assert time.monotonic() < end, [open("/proc/%%d/stat" %% pid).read() for pid in pids if not gone(pid)]
            time.sleep(0.01)
"""
SECONDS = 5
SUITE = HELPERS % SECONDS + """
    def test_it_ends_by_itself():
        check_gone([daemonize(lambda: None)])

    def test_it_is_killed():
        pid = daemonize(lambda: time.sleep(1000))
        assert not gone(pid)
        os.kill(pid, signal.SIGKILL)
        check_gone([pid])

    def test_it_is_a_program():
        script = "import subprocess; print(subprocess.Popen(['sleep', '1000'], stdout=subprocess.DEVNULL, start_new_session=True).pid)"
        pid = int(subprocess.check_output([sys.executable, "-S", "-c", script]))
        assert not gone(pid)
        os.kill(pid, signal.SIGTERM)
        check_gone([pid])

    @pytest.fixture(scope="module")
    def server():
        pid = daemonize(lambda: time.sleep(1000))
        yield pid
        os.kill(pid, signal.SIGTERM)
        check_gone([pid])

    def test_server(server):
        assert not gone(server)
"""
MANY = HELPERS % 20 + """
    @pytest.mark.parametrize("i", range(25))
    def test_orphans(i):
        pids = [daemonize(lambda: time.sleep(0.01 * (n % 3))) for n in range(20)]
        check_gone(pids)

    @pytest.mark.parametrize("i", range(4))
    def test_crashes(i):
        for n in range(5):
            daemonize(lambda: None)
        os.kill(os.getpid(), [signal.SIGSEGV, signal.SIGKILL][i % 2])
"""
LEAVING = HELPERS % SECONDS + """
    def test_leaves_some():
        for n in range(50):
            daemonize(lambda: None)
        open("left", "w").close()
        while not os.path.exists("end"):
            time.sleep(0.01)
"""
WARM = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
WAYS = {
    "collected": (["-n2"], ""),
    "warm": (["-n2"], WARM),
    "fresh": (["-n2", "--no-fork"], ""),
    "plain": (["-n0"], ""),
    "one": (["-n1"], ""),
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_orphan_that_ends_is_gone(project, way):
    options, conftest = WAYS[way]
    project.write(test_o=SUITE, conftest=conftest)
    result = project.run(*options)
    assert result.rc == 0 and set(result.outcomes.values()) == {"passed"} and len(result.outcomes) == 4, result


def test_collection_leaves_one(project):
    """A daemon that a conftest starts and a test ends."""
    project.write(daemons=HELPERS % SECONDS, conftest="import time\nfrom daemons import daemonize\npid = daemonize(lambda: time.sleep(1000))\n", test_o="""
        import os, signal
        from conftest import pid
        from daemons import check_gone, gone

        def test_server():
            assert not gone(pid)
            os.kill(pid, signal.SIGTERM)
            check_gone([pid])
    """)
    result = project.run("-n2")
    assert result.rc == 0 and result.summary == {"passed": 1}, result


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--no-fork"]], ids=" ".join)
def test_many_orphans_leave_no_zombies(project, options):
    """Also while workers crash and are replaced, whose statuses must not be lost."""
    project.write(test_o=MANY)
    result = project.run(*(options + ["--max-worker-restart=8"]))
    assert result.rc == 1, result
    by_name = {nodeid.partition("::")[2]: outcome for nodeid, outcome in result.outcomes.items()}
    assert {by_name["test_orphans[%d]" % i] for i in range(25)} == {"passed"}, result
    assert {by_name["test_crashes[%d]" % i] for i in range(4)} == {"crashed"}, result
    downs = [e for e in result.events if e["event"] == "worker_down" and not e["expected"]]
    assert sorted(e["signal"] for e in downs) == [9, 9, 11, 11], downs


@pytest.mark.parametrize("way", ["collected", "warm", "fresh"])
def test_nothing_waits_to_be_reaped(project, way):
    options, conftest = WAYS[way]
    project.write(conftest=conftest, test_o=LEAVING)
    process = project.start("run", "--python", project.python, *options)
    wait_until(lambda: (project.root / "left").exists(), "the orphans")
    guard, = children(process.pid)
    agent, = children(guard)

    def no_zombie():
        return not [pid for pid in children(agent) if (stat_of(pid) or (0, ""))[1] == "Z"]
    wait_until(no_zombie, "the end of all zombies", SECONDS)
    (project.root / "end").touch()
    result = project.finish(process)
    assert result.rc == 0 and result.summary["passed"] == 1, result
