"""Tests that meddle with what the adapter stands on: the clock, system calls, descriptors, processes.  The suite goes on, nothing hangs."""
import pytest

from faults import Terminal

PATCHES = '''
    import os, select, socket, time
    import pytest

    def refused(*a, **k):
        raise RuntimeError("patched by a test")

    @pytest.fixture(params=range(20))
    def no_system(request, monkeypatch):
        for module, names in ((time, ("monotonic", "monotonic_ns", "sleep")), (os, ("read", "write", "getpid", "_exit", "fork")),
                              (select, ("poll", "select")), (socket, ("socket",))):
            for name in names:
                monkeypatch.setattr(module, name, refused)

    def test_patched(no_system): pass

    def test_slow_in_between(monkeypatch):
        monkeypatch.setattr(time, "monotonic", refused)
        end = time.time() + 0.3
        while time.time() < end: pass
    '''


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_patched_functions(project, way):
    project.write(test_a=PATCHES, test_b=PATCHES)
    xd = project.run(*(way + ["-n2"]))
    assert (xd.rc, xd.summary) == (0, {"passed": 42}), xd


def test_frozen_time(project):
    """What freezes time looks through the attributes of all modules for functions of `time`."""
    project.write(conftest='''
        import sys, time
        import pytest
        REAL = [time.time, time.monotonic, time.monotonic_ns, time.sleep, time.perf_counter]
        def frozen(*a): raise RuntimeError("frozen")
        @pytest.fixture
        def freezer():
            changed = []
            for module in list(sys.modules.values()):
                if getattr(module, "__name__", "").startswith(("_pytest", "pytest", "conftest")): continue
                for name, value in list(vars(module).items() if hasattr(module, "__dict__") else ()):
                    if any(value is real for real in REAL):
                        setattr(module, name, frozen)
                        changed.append((module, name, value))
            yield
            for module, name, value in changed: setattr(module, name, value)
        ''', test_a='''
        import pytest
        @pytest.mark.parametrize("n", range(30))
        def test_frozen(n, freezer): pass
        ''')
    xd = project.run("-n2")
    assert (xd.rc, xd.summary) == (0, {"passed": 30}), xd


def test_failing_teardown_shows_no_frame_of_ours(project):
    project.write(test_a='''
        import pytest
        @pytest.fixture
        def broken():
            yield
            raise RuntimeError("in teardown")
        def test_a(broken): pass
        def test_b(): pass
        ''')
    for style in ("auto", "long", "short", "line"):  # native shows all frames of pytest, too
        xd = project.run("-n1", "--tb=" + style)
        assert "in teardown" in xd.out and "xd_pytest" not in xd.out, xd


LOST = '''
    import os
    import pytest
    @pytest.mark.parametrize("n", range(6))
    def test_a(n):
        if n == 2:
            %s
    '''


@pytest.mark.parametrize("what, told", [
    ("null = os.open(os.devnull, os.O_RDWR); [os.dup2(null, fd) for fd in range(3, 60) if fd != null]", "its result was lost"),
    ("os.closerange(3, 256)", ""),
], ids=["replaced", "closed"])
@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_descriptors_are_taken_away(project, what, told, way):
    """The test that took them is blamed (and what ended behind it on the same worker); everything else runs, no item twice."""
    project.write(test_a=LOST % what)
    xd = project.run(*(way + ["-n1"]))
    assert xd.rc == 1, xd
    assert xd.outcomes["test_a.py::test_a[2]"] == "crashed" and set(xd.outcomes.values()) == {"passed", "crashed"}, xd
    assert len(xd.tests) == 6 and told in xd.out, xd


@pytest.mark.parametrize("data", ["b'\\xff' * 64", "b'\\x01\\0\\0\\0' * 512"], ids=["header", "all"])
def test_the_shared_memory_is_written_over(project, data):
    project.write(test_a='''
        import os, time
        import pytest
        @pytest.mark.parametrize("n", range(40))
        def test_a(n):
            time.sleep(0.05)
            if n == 3:
                for fd in os.listdir("/proc/self/fd"):
                    try:
                        if "xd-page" in os.readlink("/proc/self/fd/" + fd): os.pwrite(int(fd), %s, 0)
                    except OSError: pass
        ''' % data)
    xd = project.run("-n2")
    assert xd.rc == 3 and "a test wrote over the memory" in xd.out, xd


@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["forked", "fresh"])
def test_the_terminal_is_set_up_by_a_test(project, way):
    """Workers are no foreground processes: what would stop a background process must not."""
    project.write(test_a='''
        import os, subprocess, termios
        def test_attributes():
            fd = os.open("/dev/tty", os.O_RDWR)
            termios.tcsetattr(fd, termios.TCSANOW, termios.tcgetattr(fd))
            os.write(fd, b"")
        def test_stty(): subprocess.run("stty sane </dev/tty", shell=True, check=True)
        def test_read():
            fd = os.open("/dev/tty", os.O_RDWR)
            try:
                os.read(fd, 1)
            except OSError: pass
        ''')
    terminal = Terminal(project, "run", *(way + ["--python", project.python, "-n2"]))
    assert terminal.end() == 0 and b"3 passed" in terminal.output, terminal.output
