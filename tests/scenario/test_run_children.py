"""Tests, fixtures, conftests and plugins that fork.  A child that comes back into pytest says nothing for its parent; plugins that run tests in a child
of their own get what plain pytest gives them."""
import json
import re

import pytest

import wheels
from conftest import junit_cases

# How a child ends, and the exit status that its parent gets: that of a pytest which ran no more than this.
CHILDREN = {
    "assert": ("assert False, 'only in the child'", 1),
    "raise": ("raise ValueError('only in the child')", 1),
    "fail": ("pytest.fail('only in the child')", 1),
    "sys.exit": ("sys.exit(3)", 1),
    "pytest.exit": ("pytest.exit('only in the child')", 2),
    "interrupt": ("raise KeyboardInterrupt", 2),
    "return": ("return", 0),
    "skip": ("pytest.skip('only in the child')", 0),
    "later": ("import time; time.sleep(0.2); assert False, 'only in the child'", 1),
    "_exit": ("os._exit(5)", 5),
}
FORKING = '''
    import ctypes, os, sys
    import pytest

    %s

    def status_of(pid):
        return os.WEXITSTATUS(os.waitpid(pid, 0)[1])

    @pytest.mark.parametrize("how", sorted(CHILDREN))
    def test_call(how, record_property):
        record_property("whose", "parent's")
        print("said by the parent")
        pid = os.fork()
        if pid == 0:
            record_property("whose", "child's")
            return CHILDREN[how]()
        assert status_of(pid) == STATUS[how]

    @pytest.fixture
    def in_setup(request):
        pid = os.fork()
        if pid == 0:
            CHILDREN[request.param]()
        else:
            status_of(pid)
        yield

    @pytest.fixture
    def in_teardown(request):
        yield
        pid = os.fork()
        if pid == 0:
            CHILDREN[request.param]()
        else:
            assert status_of(pid) == STATUS[request.param]

    @pytest.mark.parametrize("in_setup", sorted(CHILDREN), indirect=True)
    def test_setup(in_setup): pass
    @pytest.mark.parametrize("in_teardown", sorted(CHILDREN), indirect=True)
    def test_teardown(in_teardown): pass

    def test_fork_of_the_c_library():
        pid = ctypes.CDLL(None).fork()  # no handler of Python's runs
        if pid == 0:
            assert 0, "only in the child"
        assert status_of(pid) == 1

    def test_forkpty():
        pid, fd = os.forkpty()
        if pid == 0:
            assert 0, "only in the child"
        try:
            while os.read(fd, 4096): pass
        except OSError: pass
        assert status_of(pid) == 1

    @pytest.mark.xfail(strict=True)
    def test_the_parent_fails():
        if os.fork() == 0: return
        assert 0
    def test_nobody_waits():
        if os.fork() == 0: assert 0, "only in the child"
    def test_last(): pass
    '''


def forking():
    functions = ["def child_%d():\n        %s" % (n, CHILDREN[name][0]) for n, name in enumerate(sorted(CHILDREN))]
    tables = "CHILDREN = {%s}\n    STATUS = %r" % (", ".join("%r: child_%d" % (name, n) for n, name in enumerate(sorted(CHILDREN))),
                                                {name: status for name, (_code, status) in CHILDREN.items()})
    return FORKING % "\n    ".join(functions + [tables])


@pytest.mark.parametrize("options", [["-n2"], ["-n3", "-x"], ["-n1", "--maxfail=2"], ["--no-fork", "-n2", "-x"], ["-n2", "-s"]], ids=" ".join)
def test_the_outcome_is_the_parents(project, options):
    project.write(test_a=forking(), **{"pytest.ini": "[pytest]\njunit_family = xunit1\n"})
    xd = project.run(*(options + ["--junitxml=xd.xml", "-rA"]))
    count = 3 * len(CHILDREN) + 5
    assert (xd.rc, xd.summary) == (0, {"passed": count - 1, "xfailed": 1}), xd
    assert set(xd.outcomes.values()) == {"passed", "xfailed"} and len(xd.tests) == count == xd.events[-1]["recorded"]
    cases = junit_cases(project.root / "xd.xml")
    assert len(cases) == count and all(not children or children[0][0] == "skipped" for _attributes, children, _properties in cases), cases
    said = re.findall(r"xd: (\S+) forked, and its child \(process \d+\) (.*): the child is ended here", xd.out)
    told = {name for name, _how in said}
    for name, (code, _status) in CHILDREN.items():
        for test in ("call", "setup", "teardown"):
            assert ("test_a.py::test_%s[%s]" % (test, name) in told) == (name != "_exit"), (name, said)
    assert ("test_a.py::test_call[raise]", "failed (ValueError: only in the child)") in said
    assert len(said) == len(told), "one line for each"
    if "-s" not in options:
        assert "child's" not in json.dumps(xd.tests)


@pytest.mark.parametrize("wait", [0, 1], ids=["left", "awaited"])
@pytest.mark.parametrize("place", ["pytest_configure(config)", "pytest_sessionstart(session)", "pytest_collection_modifyitems(items)",
                                   "pytest_collection_finish(session)", "pytest_runtestloop(session)", "pytest_runtest_logreport(report)",
                                   "pytest_runtest_logfinish(nodeid)", "pytest_sessionfinish(session)", "the file"])
def test_children_of_hooks(project, place, wait):
    """Also a child of the collector, or of a worker outside of its tests."""
    code = "pid = os.fork()\n    if pid and %d: os.waitpid(pid, 0)\n" % wait
    project.write(conftest="import os\n" + ("def %s:\n    " % place if place != "the file" else "if True:\n    ") + code,
                  test_a="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_a(n): pass\n")
    xd = project.run("-n2", "--junitxml=xd.xml")
    assert (xd.rc, xd.summary) == (0, {"passed": 6}), xd
    assert len(junit_cases(project.root / "xd.xml")) == 6 and "INTERNALERROR" not in xd.out + xd.err, xd


def test_fixtures_are_torn_down_in_the_child_as_in_plain_pytest(project):
    project.write(test_a="""
        import os, pytest
        @pytest.fixture
        def log():
            yield
            with open("log", "a") as f: f.write("c" if os.getpid() != parent else "p")
        def test_a(log):
            global parent
            parent = os.getpid()
            pid = os.fork()
            if pid: os.waitpid(pid, 0)
        def test_b(): pass
        """)
    assert project.run("-n1").rc == 0
    assert (project.root / "log").read_text() == "cp"


# ---- plugins that run each test in a child

BOXED = '''
    import os
    import pytest

    made = []

    @pytest.fixture(scope="session")
    def session_wide():
        made.append(1)
        yield len(made)
    @pytest.fixture
    def bad_setup(): raise RuntimeError("in setup")
    @pytest.fixture
    def bad_teardown():
        yield
        raise RuntimeError("in teardown")
    @pytest.fixture
    def worse_teardown():
        yield
        raise ValueError("in another teardown")

    def test_passed(session_wide, tmp_path):
        print("heard")
        assert session_wide == 1
    def test_failed(session_wide): assert [1, 2] == [1, 3]
    def test_skipped(): pytest.skip("not today")
    @pytest.mark.xfail(reason="known")
    def test_xfailed(): assert 0
    @pytest.mark.xfail
    def test_xpassed(): pass
    def test_setup(bad_setup): pass
    def test_teardown(bad_teardown): pass
    def test_two_teardowns(bad_teardown, worse_teardown): assert 0
    def test_exits(): os._exit(3)
    def test_dies(): os.kill(os.getpid(), 11)
    def test_property(record_property): record_property("n", 1)
    @pytest.mark.parametrize("n", range(20))
    def test_many(n, session_wide): assert session_wide == 1
    '''


@pytest.mark.parametrize("way", [["-n2"], ["-n2", "--no-fork"], ["-n1"]], ids=" ".join)
@pytest.mark.parametrize("plugin, option", [(["pytest-forked==1.6.0"], "--forked"), (["pytest-forked==1.7.5"], "--forked"),
                                            (["pytest-isolate==0.0.17", "filelock==3.16.0", "dill==0.3.9"], "--isolate")],
                         ids=["forked-1.6", "forked-1.7", "isolate"])
def test_plugins_that_box_tests(project, plugin, option, way):
    project.packages = wheels.folders(*wheels.with_needed("pytest==8.3.5", *plugin))
    project.write(test_a=BOXED)
    options = ["-p", "no:cacheprovider", option]
    plain = project.plain("--junitxml=plain.xml", *options)
    xd = project.run(*(way + ["--junitxml=xd.xml"] + options))
    assert plain.summary["passed"] == 23, plain
    assert xd.categories == plain.categories, xd
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary), xd
    cases = [[case[:2] for case in junit_cases(project.root / name)] for name in ("xd.xml", "plain.xml")]  # properties: what the child used
    assert cases[0] == cases[1]
    assert "the child is ended" not in xd.out
