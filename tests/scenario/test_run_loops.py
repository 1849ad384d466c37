"""Plugins and conftests with a pytest_runtestloop of their own: in a plain session it is called as in plain pytest, elsewhere the run says that it is not."""
import pytest

from faults import Terminal, wait_until

SUITE = """
    import pytest

    @pytest.fixture(scope="module")
    def wide():
        print("set up")
        yield
        print("torn down")

    @pytest.mark.parametrize("i", range(6))
    def test_one(i, wide):
        assert i != 3, "as it should"

    def test_skipped():
        pytest.skip("no")

    @pytest.mark.xfail
    def test_xfail():
        assert False

    @pytest.fixture
    def fails_late():
        yield
        assert False, "late"

    def test_late(wide, fails_late):
        assert False, "early"

    class TestTwo:
        def test_two(self, wide):
            pass
"""
CALLED = "open('called', 'a').write('x')"
BEFORE = "import pytest\n%sdef pytest_runtestloop(session):\n    " + CALLED + "\n"  # returns None: the loop is pytest's
OWN = BEFORE + """
    if session.testsfailed and not session.config.option.continue_on_collection_errors:
        raise session.Interrupted("errors")
    if session.config.option.collectonly:
        return True
    for i, item in enumerate(session.items):
        nextitem = session.items[i + 1] if i + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True
"""
PLACES = {"": "", "first": "@pytest.hookimpl(tryfirst=True)\n", "last": "@pytest.hookimpl(trylast=True)\n"}
NOTE = "conftest.py implements pytest_runtestloop: that hook is not called, because xd has a loop of its own, except with -n 0"


def said(result):
    return " ".join(result.out.split())


def called(project):
    path = project.root / "called"
    text = path.read_text() if path.exists() else ""
    if text:
        path.unlink()
    return text


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("loop", [BEFORE, OWN], ids=["before", "own"])
@pytest.mark.parametrize("options", [[], ["-x"], ["--maxfail=2"], ["-k", "test_one"], ["-rA"]], ids=" ".join)
def test_a_plain_session_calls_it(project, loop, place, options):
    project.write(conftest=loop % PLACES[place], test_l=SUITE)
    plain = project.plain(*options)
    assert called(project) == ("x" if place != "last" else "")  # pytest's own comes before that
    result = project.run("-n0", *options)
    assert called(project) == ("x" if place != "last" else "")
    assert (result.rc, result.categories, result.summary) == (plain.rc, plain.categories, plain.summary), (result, plain)
    assert NOTE not in said(result), result


@pytest.mark.parametrize("option", [["--dist", "no"], ["-n0", "--no-fork"]], ids=" ".join)
def test_other_plain_sessions(project, option):
    project.write(conftest=OWN % "", test_l=SUITE)
    result, plain = project.run(*option), project.plain()
    assert (result.rc, result.categories) == (plain.rc, plain.categories), result


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("way", [[], ["--no-fork"]], ids=["collected", "fresh"])
def test_it_is_named_where_it_is_not_called(project, place, way):
    """One that comes before our own is called; it may not be a loop, then (test_run_green.py)."""
    project.write(conftest=BEFORE % PLACES[place], test_l=SUITE)
    plain = project.plain()
    called(project)
    result = project.run("-n2", *way)
    assert (result.rc, result.categories) == (plain.rc, plain.categories), result
    assert called(project).startswith("x") == (place == "first"), result
    assert (NOTE in said(result)) == (place == ""), result
    assert result.out.count("pytest_runtestloop") == (place == ""), result


def test_it_is_named_where_collection_brings_it(project):
    """A conftest below the root is imported while tests are collected; plain pytest calls its hook."""
    project.write(test_l=SUITE, **{"below/conftest.py": BEFORE % "", "below/test_m.py": "def test_m(): pass\n"})
    plain = project.plain()
    assert called(project) == "x"
    result = project.run("-n2")
    assert (result.rc, result.categories, called(project)) == (plain.rc, plain.categories, ""), result
    assert "below/" + NOTE in said(result), result
    result = project.run("-n0")
    assert (result.rc, result.categories, called(project)) == (plain.rc, plain.categories, "x"), result


def test_it_is_named_once(project):
    project.write(conftest="def pytest_runtestloop(session):\n    if not hasattr(session.config, 'workerinput'):\n        print('alone')\n", test_l=SUITE)
    assert project.run("-n2").out.count("pytest_runtestloop") == 1
    doctor = project.xdctl("doctor", "--python", project.python)
    assert doctor.rc == 0 and NOTE in said(doctor), doctor


@pytest.mark.parametrize("options", [["-n0"], ["-n2"]], ids=" ".join)
def test_a_wrapper_is_called_and_not_named(project, options):
    project.write(conftest="import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtestloop(session):\n    %s\n    yield\n    %s\n" % (CALLED, CALLED), test_l=SUITE)
    result = project.run(*options)
    assert called(project).startswith("xx") and "pytest_runtestloop" not in result.out, result


def test_a_wrapper_around_a_loop(project):
    project.write(conftest=OWN % "" + "\n\ndef pytest_configure(config):\n    config.pluginmanager.register(Around())\n\nclass Around:\n    @pytest.hookimpl(hookwrapper=True)\n"
                  "    def pytest_runtestloop(self, session):\n        %s\n        yield\n        %s\n" % (CALLED, CALLED), test_l=SUITE)
    plain = project.plain()
    assert called(project) == "xxx"
    result = project.run("-n0")
    assert (result.rc, result.categories, called(project)) == (plain.rc, plain.categories, "xxx"), result


RUN_ONE = "session.items[%s].config.hook.pytest_runtest_protocol(item=session.items[%s], nextitem=None)"


@pytest.mark.parametrize("body, why", [
    ("return True", "conftest.py (pytest_runtestloop) ended with 9 of 9 tests not run"),
    (RUN_ONE % (0, 0) + "\n    return True", "ended with 8 of 9 tests not run"),
    (RUN_ONE % (2, 2) + "\n    return True", "ran test_l.py::test_one[2] where test_l.py::test_one[0] was next"),
    (RUN_ONE % (0, 0) + "\n    " + RUN_ONE % (0, 0), "ran test_l.py::test_one[0] where test_l.py::test_one[1] was next"),
], ids=["none", "one", "another", "twice"])
def test_a_loop_that_cannot_be_followed_is_no_success(project, body, why):
    project.write(conftest="def pytest_runtestloop(session):\n    %s\n" % body, test_l=SUITE.replace("assert i != 3", "assert True").replace("assert False, \"early\"", "pass").replace(
        "assert False, \"late\"", "pass").replace("class TestTwo", "class Two"))
    result = project.run("-n0")
    assert result.rc == (7 if "ended" in why else 1) and why in said(result), result


def test_ctrl_c_ends_it(project):
    project.write(conftest=OWN % "", test_l="""
        import os, time
        def test_a():
            open("started", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        def test_b():
            pass
        def test_c():
            pass
    """)
    terminal = Terminal(project, "run", "-n0", "--python", project.python, "--grace", "20s")
    wait_until(lambda: (project.root / "started").exists(), "the first test")
    terminal.press(b"\x03")
    terminal.wait_for(b"Ctrl-C again kills")
    (project.root / "go").touch()
    assert terminal.end() == 2
    assert b"1 passed" in terminal.output and b"INTERNALERROR" not in terminal.output, terminal.output


def test_no_tests_and_errors(project):
    project.write(conftest=OWN % "", test_l="x = 1\n")
    assert project.run("-n0").rc == project.plain().rc == 5
    assert called(project) == "xx"
    project.write(test_l="raise ValueError\n", test_m="def test_a(): pass\n")
    result, plain = project.run("-n0"), project.plain()
    assert result.rc == plain.rc == 2, result
    result, plain = project.run("-n0", "--continue-on-collection-errors"), project.plain("--continue-on-collection-errors")
    assert (result.rc, result.summary) == (plain.rc, plain.summary) == (1, {"passed": 1, "error": 1}), result
