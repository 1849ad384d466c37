"""What a run on another host shows of paths, where the folder there is known to be a copy of the user's: they are the user's own, in every report; what
tests print, and folders that are not known to be copies, stay as they are."""
import json
import os
import re
import shutil
import sys

import pytest

from test_run_command_gateway import far  # noqa: F401: a fixture

SUITE = """
import os, sys, warnings
import pytest
import helper

HERE = os.path.dirname(os.path.abspath(__file__))

def test_fails(): helper.fail()
def test_opens(): open(os.path.join(HERE, "none"))
def test_values(): assert HERE == "/nowhere"
def test_prints(): print("printed " + __file__); sys.stderr.write("wrote %s/x" % HERE); assert 0
def test_warns(): warnings.warn("beware")
@pytest.mark.skip(reason="not here")
def test_skip(): pass
def test_fixture(nothing): pass
def test_records(record_property): record_property("place", HERE)
def test_crashes():
    print("last " + __file__, flush=True)
    os.kill(os.getpid(), 11)
def test_beside(): helper.beside()
"""
HELPER = """
import sys, os
sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

def fail(): raise RuntimeError("it is in " + __file__)
def beside():
    import besides
    besides.fail()
"""
FILES = dict(test_it=SUITE, helper=HELPER, test_syntax="def broken(:\n", test_import="import nothing_there\n")


class Copy(object):
    """The project's folder on the far end, to which each run brings the project."""
    def __init__(self, far):
        self.far, self.project = far, far.project
        keys = [] if self.project.python is None else ["python=" + self.project.python]
        spec = far.spec("sh", "chdir=x", *keys)
        self.spec = spec.replace("//chdir=x", "")
        result = self.project.xdctl("hosts", "check", "--json", "--tx=command=" + self.spec)
        self.folder = json.loads(result.out)[0]["folder"]
        assert self.folder.startswith("%s/.cache/xd/work/" % far.home), result
        self.here = os.path.realpath(str(self.project.root))

    def write(self, **files):
        self.project.write(**files)

    def run(self, *args, **more):
        more.setdefault("python", False)
        return self.project.run("--tx=2*command=" + self.spec, "-p", "no:cacheprovider", *args, **more)


@pytest.fixture
def copy(far):  # noqa: F811
    return Copy(far)


ALLOWED = re.compile(r"printed |wrote |^last |/\.cache/xd/adapter-|property name=|user_properties|\"environment\"")


def lines_with(text, what):
    return [line for line in text.splitlines() if what in line and not ALLOWED.search(line)]


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native"])
def test_paths_are_the_users_own(copy, style):
    copy.write(**FILES)
    result = copy.run("--tb=" + style, "--continue-on-collection-errors", "-rA", "-v", "--junitxml=out.xml", "-W", "always", "--color=no")
    assert result.rc == 1 and result.summary["failed"] == 5 and result.summary["crashed"] == 1, result
    assert "rootdir: %s\n" % copy.here in result.out
    assert lines_with(result.out, copy.folder) == []
    junit = (copy.project.root / "out.xml").read_text()  # below the user's folder, too
    assert "not here" in junit and lines_with(junit, copy.folder) == []
    assert "\n  %s/test_it.py:12: UserWarning: beware\n" % copy.here in result.out
    assert "SKIPPED [1] test_it.py:13: not here" in result.out
    assert "%s/test_it.py:13: not here" % copy.here in junit
    if style == "native":
        assert '  File "%s/helper.py", line 5, in fail\n' % copy.here in result.out
    if style in ("auto", "long"):
        assert "\nhelper.py:5: RuntimeError\n" in result.out
        assert "\n%s/besides.py:1: AssertionError\n" % os.path.dirname(copy.folder) not in result.out
        assert "ImportError while importing test module '%s/test_import.py'." % copy.here in result.out
        assert '\nE     File "%s/test_syntax.py", line 1\n' % copy.here in result.out
    # The crash: what xd and Python say of it; what the test wrote is its own.
    assert 'File "%s/test_it.py", line 19 in test_crashes\n' % copy.here in result.out or style == "line"
    assert "printed %s/test_it.py\n" % copy.folder in result.out and "wrote %s/x" % copy.folder in result.out
    if style != "line":
        assert "last %s/test_it.py\n" % copy.folder in result.out
    assert 'value="%s"' % copy.folder in junit


def test_json_lines(copy):
    """They have the user's paths where the report has them; what the host has said of itself stays."""
    copy.write(**FILES)
    result = copy.run("--continue-on-collection-errors")
    environment, = [e for e in result.events if e["event"] == "environment"]
    assert environment["folder"] == copy.folder
    tests = {e["nodeid"]: e for e in result.tests}
    assert tests["test_it.py::test_fails"]["reports"][0]["message"] == "RuntimeError: it is in %s/helper.py" % copy.here
    printed = tests["test_it.py::test_prints"]["reports"][0]
    assert copy.folder in json.dumps(printed["sections"]) and copy.here not in json.dumps(printed["sections"])
    config, = [e for e in result.events if e["event"] == "config"]
    assert config["rootdir"] == copy.here


def test_a_report_can_be_made_again(copy):
    """From the journal, which has what came: byte for byte, and also of a run that is looked at from another folder."""
    copy.write(**FILES)
    result = copy.run("--tb=native", "--junitxml=out.xml", "--continue-on-collection-errors")
    for kind, made in (("junit", copy.project.root / "out.xml"), ("jsonl", copy.project.path / "run1.jsonl")):
        again = copy.project.xdctl("report", "--all", kind, cwd=str(copy.project.path))
        assert again.rc == 0 and again.out == made.read_text(), (kind, again)
    shown = copy.project.xdctl("show", "--all", cwd=str(copy.project.path))
    assert shown.out.partition("== FAILURES ==")[2] == result.out.partition("== FAILURES ==")[2] != "", shown
    journal = next((copy.project.path / "state").rglob("journal")).read_bytes()
    assert copy.folder.encode() in journal


def test_a_path_beside_the_copy(copy):
    """pytest shows it relative to a folder that the user does not have: it becomes absolute."""
    copy.write(test_it=SUITE, helper=HELPER)
    with open(os.path.join(os.path.dirname(copy.folder), "besides.py"), "w") as f:
        f.write("def fail(): assert 0\n")
    result = copy.run("-k", "beside", "--color=yes")
    plain = re.sub("\x1b\\[[0-9;]*m", "", result.out)
    assert result.rc == 1 and "\n%s/besides.py:1: AssertionError\n" % os.path.dirname(copy.folder) in plain and "../besides.py" not in plain, result


def test_a_folder_that_a_link_leads_to(copy):
    """Processes there know it by its real name."""
    real = copy.project.path / "elsewhere"
    real.mkdir()
    os.makedirs(os.path.dirname(copy.folder), exist_ok=True)
    os.symlink(str(real), copy.folder)
    copy.write(test_it=SUITE, helper=HELPER)
    result = copy.run("--tb=native", "-k", "fails or values")
    assert result.summary["failed"] == 2 and 'File "%s/helper.py", line 5' % copy.here in result.out, result
    assert lines_with(result.out, str(real)) == [] and lines_with(result.out, copy.folder) == [], result


@pytest.mark.parametrize("conftest,rc", [("raise ValueError(__file__)\n", 4), ("import nothing_there\n", 4),
                                         ("def pytest_configure(config): raise KeyError(__file__)\n", 3),
                                         ("import pytest\ndef pytest_runtest_setup(item): pytest.exit('bye ' + __file__)\n", 2)],
                         ids=["raises", "imports", "configure", "exit"])
def test_what_ends_a_run_early(copy, conftest, rc):
    copy.write(test_it="def test_it(): pass\n", conftest=conftest)
    result = copy.run()
    assert result.rc == rc and "%s/conftest.py" % copy.here in result.out + result.err, result
    assert lines_with(result.out + result.err, copy.folder) == [], result


def test_an_error_of_usage(copy):
    copy.write(test_it="def test_it(): pass\n", **{"pytest.ini": "[pytest]\n"})
    result = copy.run("--no-such-option")
    assert result.rc == 4 and "  inifile: %s/pytest.ini\n" % copy.here in result.err and copy.folder not in result.err, result


def test_a_folder_that_is_not_known_to_be_a_copy(copy):
    copy.write(**FILES)
    other = copy.project.path / "other"
    shutil.copytree(str(copy.project.root), str(other))
    result = copy.project.run("--tx=command=%s//chdir=%s" % (copy.spec, other), "--tb=native", "-k", "fails", "--ignore=test_syntax.py", "--ignore=test_import.py", python=False)
    assert result.rc == 1 and 'File "%s/helper.py", line 5' % other in result.out and "rootdir: %s\n" % other in result.out, result


def test_workers_here_and_there(copy):
    """The same warning, and the same skip, are one."""
    copy.write(test_it="""
        import pytest, warnings, time
        @pytest.mark.parametrize("n", range(20))
        def test_warns(n): time.sleep(0.02); warnings.warn("beware")
        @pytest.mark.parametrize("n", range(20))
        def test_skips(n): time.sleep(0.02); pytest.skip("so")
        """)
    result = copy.run("--tx=2*popen//python=%s" % sys.executable, "-rs")
    assert result.rc == 0 and len({e["worker"] for e in result.tests}) == 4, result
    assert "SKIPPED [20] test_it.py:6: so\n" in result.out and result.out.count("%s/test_it.py:4: UserWarning: beware\n" % copy.here) == 1, result


def test_how_long_tests_took_is_known_here_and_there(copy):
    """The history is the project's, wherever its tests ran."""
    copy.write(test_it="def test_a(): pass\n")
    assert copy.run().rc == 0
    copies = list((copy.project.path / "cache").rglob("history.db"))
    assert copy.project.run("-n1").rc == 0
    assert len(copies) == 1 and list((copy.project.path / "cache").rglob("history.db")) == copies, copies
