"""Teardowns that fail, and faults in the adapter's own code: reported on their item; everything else runs."""
import re

import pytest

from conftest import junit_cases

TWO = '''
    import pytest
    @pytest.fixture
    def a():
        yield
        raise RuntimeError("first")
    @pytest.fixture
    def b():
        yield
        raise ValueError("second")
    def test_two(a, b): pass
    @pytest.mark.parametrize("n", range(20))
    def test_n(n): pass
    '''


def errors(result):
    """The text of each error and failure, without the lines that name a worker, an address or a place in pytest's own files."""
    text = re.split(r"^-+ generated|^=+ (?:short test|warnings) summary", result.out, flags=re.M)[0]
    parts = re.split(r"^_{3,} (.+?) _{3,}$", text, flags=re.M)
    return {heading: [re.sub("0x[0-9a-f]+", "0x", line) for line in body.splitlines() if not line.startswith("[gw")] for heading, body in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("options", [["-n1"], ["-n3"], ["-n2", "--no-fork"]], ids=" ".join)
@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no", "full"])
def test_two_teardowns_fail(project, style, options):
    project.write(test_a=TWO)
    more = ["--full-trace"] if style == "full" else ["--tb=" + style]
    plain, xd = project.plain(*more), project.run(*(options + more))
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (1, {"passed": 21, "error": 1}), xd
    assert errors(xd) == errors(plain) and "xd_pytest" not in xd.out, xd


def test_the_last_teardowns_of_a_session_fail(project):
    project.write(conftest='''
        import pytest
        @pytest.fixture(scope="session")
        def a():
            yield
            raise RuntimeError("first")
        @pytest.fixture(scope="module")
        def b():
            yield
            raise ValueError("second")
        ''', test_a="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_a(n, a, b): pass\n")
    plain, xd = project.plain(), project.run("-n1")
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (1, {"passed": 6, "error": 1}), xd
    assert errors(xd) == errors(plain)


def test_a_plugin_tears_down_by_itself(project):
    """As some that run a test again; with a successor of its own choice, and through a function that it kept."""
    project.write(conftest='''
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            hook, state = item.ihook, item.session._setupstate
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=item, log=False)
            kept = state.teardown_exact
            kept(nextitem=item)
            state.teardown_exact(nextitem)
            item._initrequest()
            runtestprotocol(item, nextitem=nextitem)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        ''', test_a=TWO.replace("raise", "pass #"))
    plain, xd = project.plain(), project.run("-n2")
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (0, {"passed": 21}), xd


def test_a_teardown_left_to_the_next_item(project):
    """A plugin keeps what belongs to a module alive; that its teardown fails later is an error of one item, and no end of the worker."""
    project.write(conftest='''
        import pytest
        from _pytest.runner import runtestprotocol
        @pytest.fixture(scope="module")
        def broken():
            yield
            raise RuntimeError("late")
        def pytest_runtest_protocol(item, nextitem):
            if item.name != "test_keeps": return None
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=item)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        ''', test_a="def test_keeps(broken): pass\n", test_b="def test_b(): pass\ndef test_c(): pass\n")
    xd = project.run("-n1")
    assert xd.rc == 1 and xd.summary == {"passed": 3, "error": 1} and "RuntimeError: late" in xd.out, xd
    assert "INTERNALERROR" not in xd.out


@pytest.mark.parametrize("duration", ["float('nan')", "float('inf')", "-1", "None", "'long'"])
def test_odd_durations(project, duration):
    project.write(conftest="""
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            if report.when == "call": report.duration = %s
        """ % duration, test_a="def test_a(): pass\ndef test_b(): assert 0\n")
    xd = project.run("-n1", "--junitxml=xd.xml")
    assert (xd.rc, xd.summary) == (1, {"passed": 1, "failed": 1}), xd
    assert all(test["call"] == 0 for test in xd.tests)


# How the adapter comes to fail, as no suite should be able to make it: found in the modules of a worker, and broken there.
FAULTS = {
    "a report": "module('reports').short_of = broken",
    "a passed report": "type(loop().reports).plain_type = property(broken)",
    "the flush": "module('outcome').microseconds = broken",
    "the result's frames": "type(loop().reports).report_frames = broken",
    "the next item": "loop().resolve = broken",
    "the location": "module('collection').Lines.of = broken",
}
BREAKING = '''
    import gc, sys
    import pytest
    def broken(*a, **k): raise LookupError("a fault of xd")
    def module(name): return sys.modules["xd_pytest." + name]
    def loop(): return next(o for o in gc.get_objects() if type(o).__name__ == "RunLoop")
    @pytest.mark.parametrize("n", range(12))
    def test_n(n):
        if n == 4: %s
        assert n not in (5, 7), "its own"
    '''


@pytest.mark.parametrize("where", sorted(FAULTS))
def test_own_faults_are_errors_of_their_item(project, where):
    """Each is told with our traceback; every test has its outcome, none is lost."""
    project.write(test_a=BREAKING % FAULTS[where])
    xd = project.run("-n1", "--junitxml=xd.xml")
    last = xd.events[-1]
    assert last["recorded"] == last["collected"] == 12 and not last["not_run"], xd
    assert "INTERNALERROR" not in xd.out + xd.err
    if where == "the location":  # pytest finds it by itself
        assert (xd.rc, xd.summary) == (1, {"passed": 10, "failed": 2}), xd
        return
    assert xd.rc == 1 and "LookupError: a fault of xd" in xd.out and "xd_pytest" in xd.out, xd
    assert [xd.outcomes["test_a.py::test_n[%d]" % n] for n in range(4)] == ["passed"] * 4
    counted = [children for _attributes, children, _properties in junit_cases(project.root / "xd.xml")]
    assert sum(1 for children in counted if children) >= 2
