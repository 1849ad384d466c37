"""Options of xd among pytest's arguments; what doctor says of a project's own options."""
import os

import pytest

PASSES = {"test_a": "def test_a(): pass\ndef test_b(): pass\n"}


@pytest.mark.parametrize("args", [
    ["-n", "2", "-q", "--grace", "1s"], ["test_a.py", "--grace=1s", "-n2"], ["-v", "--no-fork"], ["-q", "--runs-keep", "7", "test_a.py", "--no-history"],
    ["-k", "a or b", "--output-limit=1M"]], ids=" ".join)
def test_options_of_xd_behind_pytests(project, args):
    project.write(**PASSES)
    xd = project.run(*args)
    assert xd.rc == 0 and xd.summary == {"passed": 2}, xd
    if "--no-fork" in args:
        assert {e["way"] for e in xd.events if e["event"] == "worker_up"} == {"fresh"}


def test_interpreter_behind_pytests_arguments(project):
    project.write(**PASSES)
    xd = project.run("test_a.py", "--python", project.python, python=False, env=dict(PATH="/usr/bin:/bin"))
    assert xd.rc == 0 and xd.summary == {"passed": 2}, xd


def test_an_option_that_a_plugin_has_is_the_plugins(project):
    project.write(conftest="def pytest_addoption(parser): parser.addoption('--grace', default='none')\n",
                  test_a="def test_a(request): assert request.config.getoption('grace') == '77s'\n")
    assert project.run("-q", "--grace", "77s").rc == 0
    assert project.run("-q", "--grace=77s", "--no-fork").rc == 0


def test_bad_values_and_names(project):
    project.write(**PASSES)
    bad = project.run("-q", "--grace", "soon")
    assert bad.rc == 4 and bad.err.startswith("xdctl: option --grace: 'soon' is not valid") and bad.err.count("\n") == 1, bad
    none = project.run("-q", "--grace")
    assert none.rc == 4 and "--grace needs a value" in none.err, none
    unknown = project.run("-q", "--grace", "1s", "--no-such-option")
    assert unknown.rc == 4 and "--no-such-option" in unknown.err and "--grace" not in unknown.err, unknown


def test_behind_the_dashes_all_is_pytests(project):
    project.write(**PASSES)
    xd = project.run("-q", "--", "--grace", "1s")
    assert xd.rc == 4 and "unrecognized arguments: --grace" in xd.err, xd


# ---- doctor

def test_doctor_names_what_a_run_would_refuse(project):
    project.write(conftest="def pytest_addoption(parser): parser.addoption('--html', dest='htmlpath')\n", **PASSES)
    fine = project.xdctl("doctor", "--python", project.python)
    assert fine.rc == 0 and "ok    project: nothing in its configuration that a run refuses" in fine.out, fine
    project.write(**{"pytest.ini": "[pytest]\naddopts = --html=report.html\n"})
    refused = project.xdctl("doctor", "--python", project.python)
    assert refused.rc == 6 and "FAIL  project: a run is refused: --html (pytest-html) does its work in a controlling pytest process" in refused.out, refused
    run = project.run()
    assert run.rc == 4 and "--html (pytest-html) does its work" in run.err, run


def test_doctor_names_what_is_left_out(project):
    project.write(conftest="def pytest_terminal_summary(terminalreporter): pass\n", **PASSES)
    doctor = project.xdctl("doctor", "--python", project.python)
    assert doctor.rc == 0 and "note: conftest.py implements pytest_terminal_summary" in doctor.out, doctor


@pytest.mark.parametrize("name, text", [("pytest.ini", "[pytest]\naddopts = --nix\n"), ("conftest.py", "import nothing_like_it\n"), ("conftest.py", "import os; os._exit(3)\n")],
                         ids=["unknown option", "broken conftest", "conftest that exits"])
def test_doctor_of_a_project_that_pytest_cannot_read(project, name, text):
    project.write(**dict(PASSES, **{name: text}))
    doctor = project.xdctl("doctor", "--python", project.python)
    assert doctor.rc == 6 and "FAIL  project: " in doctor.out and doctor.out.count("FAIL") == 1, doctor


def test_doctor_changes_nothing_in_the_project(project):
    project.write(conftest="def pytest_configure(config): open('configured', 'w')\n", **PASSES)
    assert project.xdctl("doctor", "--python", project.python).rc == 0
    assert not os.path.exists(str(project.root / "configured"))


def test_verbose_names_the_interpreter_of_each_environment(project):
    project.write(test_a="import time\ndef test_a(): time.sleep(0.3)\ndef test_b(): time.sleep(0.3)\n")
    other = "popen//env:WHICH=b//python=%s -X utf8" % project.python
    result = project.run("--tx=popen", "--tx=" + other, "-v")
    assert result.rc == 0, result
    lines = [line for line in result.out.splitlines() if line.startswith("xd: interpreter ")]
    assert len(lines) == 2, result
    (home,) = [line for line in lines if line.startswith("xd: interpreter of popen: ")]
    (further,) = [line for line in lines if line.startswith("xd: interpreter of popen//env:WHICH=b//")]
    assert project.python in home and "-X utf8" not in home and project.python + " -X utf8" in further, lines
    assert "xd: interpreter" not in project.run("--tx=popen", "--tx=" + other).out


# ---- options of pytest-xdist that pytest reads


def test_ramp_spreads_the_first_tests(project):
    project.write(test_a="import pytest, time\n@pytest.mark.parametrize('n', range(30))\ndef test_a(n): time.sleep(0.05)\n")
    xd = project.run("-n3", "--ramp", "1.5", "--no-history")
    assert xd.rc == 0 and xd.summary == {"passed": 30}, xd
    began = {}
    for e in xd.tests:
        began[e["worker"]] = min(e["start"], began.get(e["worker"], e["start"]))
    assert began["gw1"] - began["gw0"] > 0.3 and began.get("gw2", began["gw0"] + 1) - began["gw0"] > 0.8, began


@pytest.mark.parametrize("text", ["soon", "5x", "-1", "nan", "inf", "s"])
def test_a_ramp_that_is_no_time(project, text):
    project.write(**PASSES)
    for options in ([], ["--no-fork"]):
        xd = project.run("-n2", *(options + ["--ramp=" + text]))
        assert xd.rc == 4 and "--ramp %s: it must be a time" % text in xd.err, xd
        assert "Traceback" not in xd.err + xd.out and "INTERNALERROR" not in xd.err + xd.out, xd


def test_maxschedchunk_says_that_it_has_no_effect(project):
    project.write(**PASSES)
    for args, env in ((["--maxschedchunk=1"], {}), ([], dict(PYTEST_ADDOPTS="--maxschedchunk 1"))):
        xd = project.run("-n2", *args, env=env)
        assert xd.rc == 0 and xd.out.count("xd: --maxschedchunk has no effect") == 1, xd
    assert "has no effect" not in project.run("-n2").out


@pytest.mark.parametrize("mode", ["loadfile", "loadscope", "loadgroup"])
def test_order_of_files(project, mode):
    """By number of tests, or by recorded durations; as they were collected with --no-loadscope-reorder, in the first run and in later ones."""
    text = "import pytest, time\npytestmark = pytest.mark.xdist_group('%s')\n@pytest.mark.parametrize('n', range(%d))\ndef test_n(n): time.sleep(%s)\n"
    project.write(**{"test_" + name: text % (name, 2 + 6 * (name == "h"), 0.08 if name == "h" else 0.02) for name in "abcdefgh"})

    def place_of_the_long_one(*options):
        xd = project.run("-n2", "--dist", mode, *options)
        assert xd.rc == 0, xd
        began = {}
        for e in xd.tests:
            file = e["nodeid"].split("::")[0]
            began[file] = min(e["start"], began.get(file, e["start"]))
        return sorted(began, key=began.get).index("test_h.py")
    assert place_of_the_long_one("--no-loadscope-reorder") > 4  # not quite the last: each of the two workers has a few files at once
    assert place_of_the_long_one() < 3
    assert place_of_the_long_one("--no-loadscope-reorder") > 4
    assert place_of_the_long_one("--loadscope-reorder") < 3
