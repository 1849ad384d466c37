"""One plain session (-n 0, --dist no), and what is said of parts that only such a session runs."""
import os
import re
import subprocess
import textwrap

import pytest

from conftest import SECONDS, junit_cases, junit_suite_properties
from test_run_pythons import environment

CONTROLLING = """
import os

def is_controller(config):
    return not hasattr(config, "workerinput")

def pytest_configure(config):
    if is_controller(config):
        os.environ["MY_SERVER"] = "here"

def pytest_runtest_logreport(report):
    pass

def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        open("finished", "a").write("x")

def pytest_terminal_summary(terminalreporter, exitstatus, config):
    terminalreporter.section("my summary")
    terminalreporter.write_line("%d passed, %d failed, %d warnings, exit %d" % (
        tuple(len(terminalreporter.stats.get(name, ())) for name in ("passed", "failed", "warnings")) + (exitstatus,)))
"""
TESTS = """
import os, warnings

def test_server(): assert os.environ["MY_SERVER"] == "here"
def test_worker(request):
    assert not hasattr(request.config, "workerinput") and not hasattr(request.config, "workeroutput")
    assert not [name for name in os.environ if name.startswith("PYTEST_XDIST")]
def test_warns(): warnings.warn("one")
def test_properties(record_property, record_testsuite_property):
    record_property("p", 1)
    record_testsuite_property("s", 2)
def test_fails(): assert 0
"""
WAYS = {"typed": (["-n0"], {}), "long": (["--numprocesses=0"], {}), "dist": (["--dist", "no"], {}), "addopts": ([], {"PYTEST_ADDOPTS": "-n 0"}),
        "addopts-dist": ([], {"PYTEST_ADDOPTS": "--dist=no"}), "no-fork": (["-n0", "--no-fork"], {})}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_as_plain_pytest(project, way):
    options, env = WAYS[way]
    project.write(conftest=CONTROLLING, test_a=TESTS)
    plain = project.plain("--junitxml=plain.xml")
    os.unlink(str(project.root / "finished"))
    xd = project.run(*(options + ["-v", "--junitxml=xd.xml"]), env=env)
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) and xd.rc == 1 and xd.summary["failed"] == 1, xd
    assert xd.categories == plain.categories
    assert (project.root / "finished").read_text() == "x"
    summary = re.search(r"^4 passed, 1 failed, \d+ warnings, exit 1$", plain.out, re.M).group()
    assert "= my summary =" in xd.out and summary in xd.out.splitlines(), xd
    assert xd.out.index("my summary") < xd.out.index("short test summary info")
    assert "in a controlling pytest process" not in xd.out and "xd: the process that collected runs the tests, as in plain pytest" in xd.out
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    assert junit_suite_properties(project.root / "xd.xml") == junit_suite_properties(project.root / "plain.xml") == {("s", "2")}
    assert summary in project.xdctl("show").out.splitlines()


def test_fixtures_of_xdist(project):
    project.write(test_a="def test_a(worker_id, testrun_uid): assert worker_id == 'master' and len(testrun_uid) == 32\n")
    assert project.run("-n0").rc == 0


def test_dist_no_with_a_number_has_workers(project):
    """--dist no is one plain session only where neither -n nor --tx gives a number."""
    project.write(test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_a(n, request, worker_id):
            assert request.config.workerinput["workerid"] == worker_id == os.environ["PYTEST_XDIST_WORKER"]
        """)
    for options in (["--tx", "2*popen"], ["--tx", "popen", "--tx", "popen"], ["-n", "2"]):
        done = project.run("--dist", "no", *options)
        assert (done.rc, done.summary) == (0, {"passed": 6}) and "2 workers [6 items]" in done.out, done
    project.write(test_b="def test_b(request): assert not hasattr(request.config, 'workerinput')\n")
    assert project.run("--dist", "no", "--tx", "popen", "--", "test_b.py").rc == 0


def test_more_workers_typed_than_in_addopts(project):
    project.write(test_a="def test_a(worker_id): assert worker_id == 'gw0'\n", **{"pytest.ini": "[pytest]\naddopts = -n 0\n"})
    assert project.run("-n1").rc == 0
    assert project.run().rc == 1


def test_cache_and_last_failed(project):
    project.write(test_a="def test_a(): pass\ndef test_b(): assert 0\n")
    assert project.run("-n0").summary == {"passed": 1, "failed": 1}
    assert project.run("-n0", "--lf").summary == {"failed": 1}
    assert project.run("-n0", "-x", "--ff").out.count("FAILED test_a.py::test_b") == 1


def test_a_crash_is_told_and_the_rest_runs(project):
    project.write(conftest=CONTROLLING, test_a="import os\ndef test_a(): pass\ndef test_b(): os._exit(9)\ndef test_c(): assert os.environ['MY_SERVER']\n")
    xd = project.run("-n0")
    assert xd.rc == 1 and xd.summary == {"passed": 2, "crashed": 1}, xd


def test_interrupted(project):
    project.write(test_a="import os, signal, time\ndef test_a(): pass\ndef test_b():\n    os.kill(os.getppid(), 0)\n    raise KeyboardInterrupt\ndef test_c(): pass\n")
    xd, plain = project.run("-n0"), project.plain()
    assert xd.rc == plain.rc == 2 and xd.summary["passed"] == 1, xd


# ---- what is said where there are workers

PARTS = {
    "hasattr": "def pytest_sessionfinish(session):\n    if not hasattr(session.config, 'workerinput'): print(1)\n",
    "early return": "def pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'):\n        return\n    print(1)\n",
    "getattr": "def pytest_sessionfinish(session):\n    if getattr(session.config, 'workerinput', None) is None: print(1)\n",
    "else": "def pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'): pass\n    else: print(1)\n",
    "helper": "def worker(config): return hasattr(config, 'workerinput')\ndef main(config): return not worker(config)\n"
              "def pytest_sessionfinish(session):\n    if main(session.config): print(1)\n",
    "class": "class Plugin:\n    def pytest_sessionfinish(self, session):\n        if not hasattr(session.config, 'workerinput'): print(1)\n"
             "def pytest_configure(config): config.pluginmanager.register(Plugin(), 'my-plugin')\n",
    "wrapper": "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_sessionfinish(session):\n    yield\n"
               "    if not hasattr(session.config, 'workerinput'): print(1)\n",
}
NO_PARTS = {
    "only of a worker": "def pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'): print(session.config.workerinput['workerid'])\n",
    "name of a log": "import os\ndef pytest_configure(config):\n    name = os.environ.get('PYTEST_XDIST_WORKER')\n    if name is not None: config.my_log = name\n",
    "nothing": "def pytest_sessionfinish(session): pass\n",
}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_for_the_controlling_process_is_named(project, part):
    project.write(conftest=PARTS[part], test_a="def test_a(): pass\n")
    xd = project.run("-n2")
    notes = [line for line in xd.out.splitlines() if line.startswith("xd: ") and "pytest_sessionfinish" in line]
    assert xd.rc == 0 and len(notes) == 1 and "controlling pytest process only" in notes[0] and "-n 0" in notes[0], xd
    assert ("my-plugin" if part == "class" else "conftest.py") in notes[0]


@pytest.mark.parametrize("part", sorted(NO_PARTS))
def test_no_note_without_such_a_part(project, part):
    project.write(conftest=NO_PARTS[part], test_a="def test_a(): pass\n")
    xd = project.run("-n2")
    assert xd.rc == 0 and "controlling" not in xd.out, xd


def test_conftests_that_the_collection_brings_are_named(project):
    project.write(**{"sub/conftest.py": PARTS["hasattr"], "sub/test_a.py": "def test_a(): pass\n", "test_b.py": "def test_b(): pass\n"})
    xd = project.run("-n2")
    assert xd.rc == 0 and len(re.findall(r"^xd: sub/conftest.py has a part for a controlling pytest process only \(pytest_sessionfinish\)", xd.out, re.M)) == 1, xd


def test_a_scheduler_of_the_suite_is_named(project):
    project.write(conftest="def pytest_xdist_make_scheduler(config, log): return None\n", test_a="def test_a(): pass\n")
    assert "conftest.py implements pytest_xdist_make_scheduler" in project.run("-n2").out


# ---- plugins that need the controlling process

@pytest.fixture(scope="module")
def reporting_python():
    return environment("3.12", "==9.2.0", "coverage==7.17.5", "pytest-cov==7.1.0", "pytest-html==4.2.0")


def test_cov_and_html_in_a_plain_session(project, reporting_python):
    project.python = reporting_python
    project.write(mypkg="def f(n):\n    if n:\n        return 1\n    return 2\n", test_a="import mypkg\ndef test_a(): assert mypkg.f(1) == 1\n")
    refused = project.run("-n2", "--cov=mypkg")
    assert refused.rc == 4 and "-n 0" in refused.err + refused.out, refused
    xd = project.run("-n0", "--cov=mypkg", "--html=report.html")
    assert xd.rc == 0 and re.search(r"^mypkg.py +4 +1 +75%", xd.out, re.M), xd
    assert "test_a.py::test_a" in (project.root / "report.html").read_text()


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--no-fork"]], ids=["forked", "fresh"])
def test_coverage_of_several_workers_as_the_manual_tells(project, reporting_python, options):
    """The recipe of xdctl-run(1)."""
    project.python = reporting_python
    project.write(mypkg="def f(n):\n    if n:\n        return 1\n    return 2\n",
                  test_a="import mypkg, time\ndef test_a():\n    time.sleep(0.2)\n    assert mypkg.f(1) == 1\n",
                  test_b="import mypkg, time\ndef test_b():\n    time.sleep(0.2)\n    assert mypkg.f(0) == 2\n",
                  **{".coveragerc": "[run]\nparallel = true\nsource = mypkg\npatch = _exit, fork\n"})
    assert project.run(*options, env=dict(COVERAGE_PROCESS_START=".coveragerc")).rc == 0
    tool = os.path.join(os.path.dirname(reporting_python), "coverage")
    done = subprocess.run(textwrap.dedent("%s combine -q && %s report" % (tool, tool)), shell=True, cwd=str(project.root), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=SECONDS)
    assert re.search(r"^mypkg.py +4 +0 +100%", done.stdout, re.M), done.stdout


COUNTS = '''
    import pytest
    def counts(config):
        return sorted((k, len(v)) for k, v in config.pluginmanager.get_plugin("terminalreporter").stats.items())
    @pytest.fixture
    def seen(request):
        return counts(request.config)
    def pytest_terminal_summary(terminalreporter, config):
        kinds = sorted((k, r.when, r.nodeid) for k, v in terminalreporter.stats.items() for r in v if hasattr(r, "when"))
        terminalreporter.write_line("COUNTS %r %r" % (counts(config), kinds))
    '''
LATE = '''
    import pytest
    class Late(object):
        def pytest_report_teststatus(self, report):
            if report.when == "call" and report.passed:
                return "odd", "o", "ODD"
    @pytest.fixture(scope="module")
    def late(request):
        request.config.pluginmanager.register(Late())
    '''


@pytest.mark.parametrize("more", ["", LATE, "\n    def pytest_report_teststatus(report):\n        if report.when == 'setup' and report.passed: return 'ready', '', ''\n"], ids=["own", "late", "theirs"])
def test_what_a_terminal_reporter_has_counted(project, more):
    """At the end, and while tests run; also of a plugin that comes late and calls what passed something else."""
    project.write(conftest=textwrap.dedent(COUNTS) + textwrap.dedent(more), test_a="""
        import pytest, unittest
        def test_a(): pass
        def test_b(seen): print("SEEN %r" % seen); assert dict(seen).get("passed") == 1
        def test_c(): assert 0
        @pytest.mark.skip
        def test_d(): pass
        @pytest.mark.xfail
        def test_e(): pass
        class TestF(unittest.TestCase):
            def test_f(self): pass
        LATE
        def test_g(): pass
        def test_h(): pass
        """.replace("LATE", '@pytest.mark.usefixtures("late")' if more is LATE else ""))
    xd, plain = project.run("-n0"), project.plain()
    lines = [[line for line in r.out.splitlines() if line.startswith("COUNTS ")] for r in (xd, plain)]
    assert lines[0] == lines[1] and len(lines[0]) == 1, xd
    assert xd.rc == plain.rc == 1
