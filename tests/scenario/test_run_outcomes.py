"""Outcomes, counts, exit codes and reports of a run are those of plain pytest on the same suite."""
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest

import wheels
from conftest import XDCTL, counts_of, junit_cases, junit_suite_properties

RICH = dict(
    test_plain='''
        import pytest, warnings, unittest

        @pytest.fixture
        def broken_setup(): raise RuntimeError("in setup")
        @pytest.fixture
        def broken_teardown():
            yield
            raise RuntimeError("in teardown")

        def test_passes(): print("heard")
        def test_fails(): assert [1, 2, 3] == [1, 2, 4]
        def test_raises(): {}["nothing"]
        def test_setup(broken_setup): pass
        def test_teardown(broken_teardown): pass
        def test_both(broken_teardown): assert 0
        def test_skips(): pytest.skip("not today")
        @pytest.mark.skip(reason="never")
        def test_marked_skip(): pass
        @pytest.mark.xfail(reason="known")
        def test_xfails(): assert 0
        @pytest.mark.xfail
        def test_xpasses(): pass
        @pytest.mark.xfail(strict=True)
        def test_strict(): pass
        @pytest.mark.xfail(raises=ValueError)
        def test_other_fault(): raise KeyError(1)
        def test_warns(): warnings.warn("mind the gap")
        @pytest.mark.parametrize("n", range(8))
        def test_many(n): assert n != 5
        @pytest.mark.parametrize("text", ["a b", "a::b", "\\u00e9", "[x]"])
        def test_names(text): pass
        def test_properties(record_property, record_testsuite_property):
            record_property("colour", "green")
            record_testsuite_property("material", 7)
        def test_more_properties(record_testsuite_property, record_property):
            record_testsuite_property("material", 7)
            record_testsuite_property("<size>", "large \\x00")
            record_property("shape", "round")
            assert 0
        def test_attributes(record_xml_attribute):
            record_xml_attribute("assertions", "REQ-1 & \\x1b")
            record_xml_attribute("classname", "another.Class")
            record_xml_attribute("time", "ignored")
        def test_attributes_twice(record_xml_attribute, broken_teardown):
            record_xml_attribute("assertions", 1)
            record_xml_attribute("assertions", 2)
            assert 0
        class TestClass:
            def setup_method(self): self.n = 1
            def test_in(self): assert self.n == 1
            class TestInner:
                def test_deep(self): pass
        class TestUnit(unittest.TestCase):
            def test_one(self): self.assertEqual(1, 1)
            def test_two(self): self.assertEqual(1, 2)
            @unittest.skip("unit skip")
            def test_three(self): pass
            @unittest.expectedFailure
            def test_four(self): self.fail("expected")
        ''',
    documented='''
        def double(n):
            """
            >>> double(2)
            4
            >>> double(3)
            7
            """
            return 2 * n
        ''')
SUBTESTS = '''
    import unittest
    class TestSub(unittest.TestCase):
        def test_parts(self):
            for n in range(4):
                with self.subTest(n=n):
                    self.assertNotEqual(n, 2)
        def test_all_well(self):
            with self.subTest("one"): pass
    '''


@pytest.mark.parametrize("options", [["-n2"], ["-n1"], ["-n2", "--no-fork"], ["--dist=no"], ["-n3", "--dist=loadfile"]], ids=" ".join)
def test_same_as_plain(project, options):
    project.write(**RICH)
    args = ["--doctest-modules", "-rA"]
    plain, xd = project.plain(*args), project.run(*(options + args))
    assert xd.categories == plain.categories, xd
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) and xd.rc == 1, xd
    assert len(xd.tests) == len(xd.outcomes) == len(plain.categories)


def short_summary(result):
    return sorted(re.sub(r"0x[0-9a-f]+", "", line) for line in result.out.splitlines() if re.match("(FAILED|ERROR|XFAIL|XPASS|SKIPPED|PASSED) ", line))


def test_short_summary_and_failures(project):
    """-rA says the same lines; each failure has its section with the same text."""
    project.write(**RICH)
    plain, xd = project.plain("-rA"), project.run("-n2", "-rA")
    assert short_summary(xd) == short_summary(plain)
    sections = lambda r: sorted(re.findall(r"^_{3,} (.+?) _{3,}$", r.out, re.M))
    assert sections(xd) == sections(plain) and len(sections(xd)) > 8
    for text in ("assert [1, 2, 3] == [1, 2, 4]", "KeyError: 'nothing'", "RuntimeError: in teardown", "mind the gap"):
        assert text in plain.out and text in xd.out


def test_subtests(project):
    project.write(test_sub=SUBTESTS)
    plain, xd = project.plain(), project.run("-n2")
    if "subtests" not in plain.out:
        pytest.skip("this pytest does not report subtests: %s" % pytest.__version__)
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary), xd
    failed = [r for t in xd.tests for r in t.get("reports", ()) if r["outcome"] == "failed" and r.get("subtest")]
    assert len(failed) == 1 and xd.outcomes["test_sub.py::TestSub::test_parts"] == "failed"


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_junit_is_that_of_pytest(project, family):
    project.write(**dict(RICH, **{"pytest.ini": "[pytest]\njunit_family = %s\n" % family}))
    project.plain("--junitxml=plain.xml")
    xd = project.run("-n2", "--junitxml=xd.xml")
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    assert junit_suite_properties(project.root / "xd.xml") == junit_suite_properties(project.root / "plain.xml") != set()
    again = project.xdctl("report", "junit", "latest")
    (project.root / "again.xml").write_text(again.out, encoding="utf-8")
    assert junit_cases(project.root / "again.xml") == junit_cases(project.root / "xd.xml")
    assert xd.rc == 1 and again.rc in (0, 1)


ODD_REPORTS = {
    "conftest": """
        from _pytest.reports import TestReport
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            hook = item.ihook
            if "again" in item.name:  # as pytest-rerunfailures
                hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
                for report in runtestprotocol(item, nextitem=item, log=False):
                    if report.when == "call":
                        report.outcome = "rerun"
                    hook.pytest_runtest_logreport(report=report)
                item._initrequest()
                runtestprotocol(item, nextitem=nextitem)
                hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
                return True
            if "elsewhere" in item.name:  # as pytest-forked
                hook.pytest_runtest_logreport(report=TestReport(item.nodeid, item.location, {}, "failed", "CRASHED there", "???", []))
                return True

        def pytest_report_teststatus(report, config):
            if report.outcome == "rerun":
                return "rerun", "R", "RERUN"
        """,
    "test_odd": """
        import unittest

        tries = []

        def test_again():
            tries.append(1)
            assert len(tries) > 1

        def test_elsewhere():
            pass

        class T(unittest.TestCase):
            def test_subs(self):
                for i in range(4):
                    with self.subTest(i=i):
                        if i == 1:
                            self.skipTest("not this one")
                        self.assertNotEqual(i, 2)
        """,
    "test_whole": "import pytest\npytestmark = pytest.mark.skip(reason='the whole module')\ndef test_a(): pass\nclass TestB:\n    def test_b(self): pass",
    "test_broken": "import nowhere_to_be_found",
}


def test_what_was_collected_beside_errors(project):
    project.write(test_bad="raise ValueError", test_good="def test_a(): pass\ndef test_b(): pass", test_skip="import pytest\npytest.skip('no', allow_module_level=True)")
    for options in ([], ["-k", "a"]):
        plain, xd = project.plain(*options), project.run("-n2", *options)
        said = [[line for line in r.out.splitlines() if line.startswith("collected ")] for r in (plain, xd)]
        assert said[0] == said[1] != [] and "not run" not in xd.out, said


def test_headings(project):
    """Above each failure stands what the item says of its place, not what its node id is made of."""
    project.write(conftest="""
        import pytest

        class Item(pytest.Item):
            def runtest(self): raise ValueError(self.name)
            def reportinfo(self): return self.path, 4, "table: " + self.name

        class File(pytest.File):
            def collect(self): return [Item.from_parent(self, name="one"), Item.from_parent(self, name="two[::x]")]

        def pytest_collect_file(file_path, parent):
            return File.from_parent(parent, path=file_path) if file_path.suffix == ".table" else None
        """, test_a="""
        class TestA:
            def test_b(self): assert 0
            def test_d(self):
                '''
                >>> 1
                2
                '''
        """, **{"some.table": ""})
    plain, xd = (run(*(options + ["--doctest-modules", "-p", "no:cacheprovider"])) for run, options in ((project.plain, []), (project.run, ["-n2"])))
    found = [sorted(line for line in r.out.splitlines() if re.match("_+ .* _+$", line)) for r in (plain, xd)]
    assert found[0] == found[1] and len(found[0]) == 4


def test_headings_of_passed_tests(project):
    """-rA: the output of a custom item stands below what the item says of itself."""
    project.write(conftest="""
        import pytest

        class Item(pytest.Item):
            def runtest(self): print("said by " + self.name)
            def reportinfo(self): return self.path, 4, "table: " + self.name

        class File(pytest.File):
            def collect(self): return [Item.from_parent(self, name="one"), Item.from_parent(self, name="two[::x]")]

        def pytest_collect_file(file_path, parent):
            return File.from_parent(parent, path=file_path) if file_path.suffix == ".table" else None
        """, test_a="""
        class TestA:
            def test_b(self): print("usual")
        """, **{"some.table": ""})
    plain, xd = project.plain("-rA"), project.run("-n2", "-rA")
    found = [sorted(line for line in r.out.splitlines() if re.match("_+ .* _+$", line)) for r in (plain, xd)]
    assert found[0] == found[1] and len(found[0]) == 3


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--no-fork"]], ids=" ".join)
@pytest.mark.parametrize("release", ["", "9.1.1", "7.4.4"], ids=lambda release: release or "newest")
def test_junit_of_odd_paths(project, family, options, release):
    """Classes and names as pytest makes them: of brackets, dots, blanks, other alphabets, in folders, files and parameters."""
    if release:
        project.packages = wheels.folders(*wheels.with_needed("pytest==" + release))
    source = """
        import pytest
        class TestIn:
            def test_method(self): pass
            class TestInner:
                @pytest.mark.parametrize("p", ["a.b", "a/b.py", "a::b", "[x]", "\u00fc \u4e2d", ""])
                def test_deep(self, p): assert p != "[x]"
        @pytest.mark.parametrize("p", ["x-y.py::z", "]["])
        def test_plain(p): pytest.skip("not now")
        @pytest.fixture
        def broken(): raise ValueError(1)
        def test_error(broken): pass
        """
    places = ["test_one.py", "a.b/test_two.py", "[odd]/test_x[1].py", "with blank/test and more.py", "\u00fcber/test_\u4e2d\u6587.py", "d.py/test_in.py",
              "deep/er/test_.py.py", "-dash/test_-.py", "a&b/test_<x>.py", "test_broken [x].py"]
    project.write(**{place: source if "broken" not in place else "import nowhere" for place in places})
    project.write(**{"pytest.ini": "[pytest]\njunit_family = %s\naddopts = --import-mode=importlib --continue-on-collection-errors\npython_files = test*.py\n" % family})
    plain, xd = project.plain("--junitxml=plain.xml"), project.run(*(options + ["--junitxml=xd.xml"]))
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) and xd.rc == 1, xd
    assert xd.categories == plain.categories
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    assert short_summary(xd) == short_summary(plain)


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--no-fork"], ["-n1", "-s"]], ids=" ".join)
@pytest.mark.parametrize("asked", ["log_cli", "--log-cli-level=INFO"])
def test_live_logs(project, asked, options):
    """They are shown while a test runs, with its name and its worker; the report of a failure has them as well."""
    project.write(test_a="""
        import logging, os, time
        import pytest
        log = logging.getLogger("the.logger")
        @pytest.fixture
        def setup(): log.error("in setup")
        def test_a(setup):
            log.warning("in call \u2603")
            for _ in range(400):  # what waits for it sees it before the test has ended
                if os.path.exists("go"): break
                time.sleep(0.05)
            else: assert 0, "nobody saw it"
        def test_b(): pass
        """, **{"pytest.ini": "[pytest]\nlog_cli = true\n" if asked == "log_cli" else "[pytest]\n"})
    process = project.start("run", "--python=" + project.python, *(options + ([asked] if asked[0] == "-" else [])))
    said = b""
    while "in call \u2603".encode() not in said:
        data = os.read(process.stdout.fileno(), 4096)
        assert data, said
        said += data
    (project.root / "go").write_text("")
    result = project.finish(process)
    said = said.decode() + result.out
    assert result.rc == 0 and "2 passed" in said, said
    assert len(re.findall(r"---- live log setup of test_a.py::test_a ----", said)) == len(re.findall(r"---- live log call of test_a.py::test_a ----", said)) == 1
    assert re.search(r"ERROR +the.logger:test_a.py:\d+ in setup", said) and re.search(r"WARNING +the.logger:test_a.py:\d+ in call", said)
    assert re.search(r"^\[gw\d\].*live log", said, re.M) or "-n1" in options, said


@pytest.mark.parametrize("release", ["14.0", "16.7"])
def test_rerunfailures(project, release):
    """Merely installed it is no news; its summary is left out where it is asked for; a test that fails is run again as with plain pytest."""
    project.packages = wheels.folders(*wheels.with_needed("pytest==8.3.5", "pytest-rerunfailures==" + release))
    project.write(test_a="""
        tries = []
        def test_a():
            tries.append(1)
            assert len(tries) > 2
        def test_b(): assert 0
        def test_c(): pass
        """)
    xd = project.run("-n2", "-k", "test_c")
    assert xd.rc == 0 and not [e for e in xd.events if e["event"] == "note"] and "left out" not in xd.out, xd
    assert "pytest-rerunfailures implements pytest_terminal_summary" in project.run("-n2", "-rR", "-k", "test_c").out
    plain, xd = project.plain("--reruns=3"), project.run("-n2", "--reruns=3")
    assert xd.categories == plain.categories and (xd.rc, xd.summary) == (plain.rc, plain.summary), xd
    assert "left out" not in xd.out


def test_junit_of_what_plugins_report(project):
    """A test that is run twice, one whose only report is of no phase, subtests that say nothing, a file that two collectors read."""
    project.write(**ODD_REPORTS)
    options = ["--doctest-modules", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    plain = project.plain("--junitxml=plain.xml", *options)
    xd = project.run("-n2", "--junitxml=xd.xml", *options)
    assert xd.rc == plain.rc == 1
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    counts = [ElementTree.parse(str(project.root / name)).getroot()[0].attrib for name in ("xd.xml", "plain.xml")]
    assert [[counts[0][k], counts[1][k]] for k in ("tests", "errors", "failures", "skipped")] == [["11", "11"], ["3", "3"], ["1", "1"], ["3", "3"]]


def test_where_junit_goes(project):
    """As pytest: variables and ~ are expanded; a link is followed; the mode of a file that was there stays."""
    project.write(test_a="def test_a(): pass\n")
    home = project.path / "home"
    home.mkdir()
    (home / "link.xml").symlink_to("real.xml")
    (home / "real.xml").write_text("old")
    (home / "real.xml").chmod(0o604)
    for path in ("$WHERE/a.xml", "~/b.xml", "~/link.xml"):
        assert project.run("-n1", "--junitxml=" + path, env=dict(HOME=str(home), WHERE=str(home))).rc == 0
    assert [len(junit_cases(home / name)) for name in ("a.xml", "b.xml", "real.xml")] == [1, 1, 1]
    assert (home / "link.xml").is_symlink() and (home / "real.xml").stat().st_mode & 0o777 == 0o604
    assert sorted(n for n in os.listdir(str(home)) if n[0] != ".") == ["a.xml", "b.xml", "link.xml", "real.xml"]
    assert not {"~", "$WHERE"}.intersection(os.listdir(str(project.root)))


STOPPING = {
    "teardown": "def test_a(broken): pass\ndef test_b(broken): pass\ndef test_c(broken): pass\n",
    "both": "def test_a(broken): assert 0\ndef test_b(broken): assert 0\ndef test_c(): pass\n",
    "xfailed": "@pytest.mark.xfail\ndef test_a(): assert 0\ndef test_b(): assert 0\ndef test_c(): assert 0\ndef test_d(): pass\n",
    "subtests": textwrap.dedent(SUBTESTS) + "    def test_more(self):\n        for n in range(3):\n            with self.subTest(n=n): assert 0\n",
}


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(STOPPING))
def test_maxfail_counts_as_pytest(project, name, most):
    source = "import pytest\n@pytest.fixture\ndef broken():\n    yield\n    assert 0\n" + STOPPING[name]
    project.write(test_a=source)
    plain, xd = project.plain("--maxfail=%d" % most), project.run("-n1", "--maxfail=%d" % most)
    stopping = lambda result: re.findall(r"stopping after \d+ failures", result.out)
    assert (xd.rc, xd.summary, stopping(xd)) == (plain.rc, plain.summary, stopping(plain)), xd


def test_maxfail_counts_errors_of_the_collection(project):
    project.write(test_a_bad="raise ValueError('broken')", test_b="import pytest\n@pytest.mark.parametrize('i', range(20))\ndef test_b(i): assert i % 5")
    for most in (1, 3, 4, 9):
        args = ["--maxfail=%d" % most, "--continue-on-collection-errors"]
        plain, xd = project.plain(*args), project.run("-n1", *args)
        stopping = lambda result: re.findall(r"stopping after \d+ failures", result.out)
        assert (xd.rc, xd.summary, stopping(xd)) == (plain.rc, plain.summary, stopping(plain)), xd


@pytest.mark.parametrize("skip", [[], ["--sw-skip"]], ids=["sw", "sw-skip"])
def test_stepwise_goes_on_where_it_stopped(project, skip):
    source = "import os\ndef test_a(): pass\ndef test_b(): assert os.environ.get('B')\ndef test_c(): pass\ndef test_d(): assert os.environ.get('D')\ndef test_e(): pass\n"
    def runs(run):
        (project.root / ".pytest_cache").exists() and shutil.rmtree(str(project.root / ".pytest_cache"))
        return [sorted(run(dict(env, PYTEST_ADDOPTS="-p cacheprovider")).items()) for env in ({}, {}, {"B": "1"}, {"B": "1", "D": "1"}, {})]
    project.write(test_a=source)
    def plain(env):
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", "--sw"] + skip, cwd=str(project.root), env=project.environment(**env),
                              stdout=subprocess.PIPE, universal_newlines=True)
        return dict(counts_of(done.stdout.splitlines()[-1]), rc=done.returncode)
    def mine(env):
        xd = project.run("-n1", "--sw", *skip, env=env)
        return dict(xd.summary, rc=xd.rc)
    assert runs(mine) == runs(plain)


@pytest.mark.parametrize("code, words", [
    ("request.session.shouldfail = 'fail me'", "fail me"),
    ("request.session.shouldstop = 'stop me'", "stop me"),
    ("pytest.exit('enough', returncode=0)", "enough"),
    ("pytest.exit('enough', returncode=9)", "enough"),
    ("pytest.exit('enough')", "enough"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
], ids=["shouldfail", "shouldstop", "exit0", "exit9", "exit", "interrupt"])
def test_a_test_that_ends_the_session(project, code, words):
    project.write(test_a="import pytest, time\ndef test_a(): pass\ndef test_b(request): %s\n@pytest.mark.parametrize('n', range(30))\ndef test_c(n): time.sleep(0.05)\n" % code)
    plain, xd = project.plain(), project.run("-n2")
    assert xd.rc == plain.rc, (xd, plain)
    assert re.search("!!! .*" + words, xd.out) and re.search("!!! .*" + words, plain.out), xd
    assert xd.events[-1]["not_run"] > 10, "the others were ended, too"


ORDER = """
    import os, time, pytest
    @pytest.mark.parametrize("n", range(6))
    def test_n(n):
        with open(os.environ["SEEN"], "a") as f: f.write(str(n))
        time.sleep(0.6 if n == 5 else 0.03 * n + 0.05)
        assert n != 2 or "FIXED" in os.environ
    """


@pytest.mark.parametrize("options, conftest, early, alone", [
    ([], "", "5", "012345"),
    (["--ff"], "", "2", "201345"),
    ([], "def pytest_collection_modifyitems(items): items.sort(key=lambda i: i.name[-2] in '14')", "0", "023514"),
    ([], "def pytest_collection_modifyitems(items): del items[3]", "5", "01245"),
], ids=["plain", "ff", "sorted", "deselected"])
def test_order_that_is_asked_for(project, options, conftest, early, alone):
    """The longest go first from the second run on, but not where an option or a plugin sorts the items, and not where one worker runs them all."""
    project.write(test_a=ORDER, conftest=conftest)

    def begun(workers):
        (project.path / "seen").write_text("")
        project.run(workers, *options, env=dict(SEEN=str(project.path / "seen")))
        return (project.path / "seen").read_text()

    begun("-n2")
    assert early in begun("-n2")[:2]
    assert begun("-n1") == alone


@pytest.mark.parametrize("most", [0, 2, 3, 4])
def test_max_warnings(project, most):
    if tuple(map(int, pytest.__version__.split(".")[:2])) < (9, 1):
        pytest.skip("this pytest has no --max-warnings")
    project.write(test_a="import warnings, pytest\n@pytest.mark.parametrize('n', range(3))\ndef test_a(n): warnings.warn('w%d' % n)\n")
    plain, xd = project.plain("--max-warnings=%d" % most), project.run("-n2", "--max-warnings=%d" % most)
    said = lambda result: [line for line in result.out.splitlines() if "maximum allowed warnings" in line]
    assert (xd.rc, xd.summary, said(xd)) == (plain.rc, plain.summary, said(plain)), xd


@pytest.mark.parametrize("code", ["def pytest_sessionfinish(session): session.exitstatus = 1", "def pytest_sessionfinish(session): session.exitstatus = 9",
                                  "def pytest_runtest_protocol(item): return True if 'b' in item.name else None"])
def test_exit_codes_that_plugins_make(project, code):
    project.write(conftest=code, test_a="def test_a(): pass\ndef test_b(): pass\n")
    plain, xd = project.plain(), project.run("-n2")
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary), xd


def test_jsonl(project):
    """Every line is an object with the version; one outcome per collected item; the report made again is the same file."""
    project.write(**RICH)
    xd = project.run("-n2")
    assert all(e["version"] == 1 and e["event"] for e in xd.events)
    assert xd.events[0]["event"] == "run_start" and xd.events[-1]["event"] == "run_end"
    assert xd.events[-1]["collected"] == xd.events[-1]["recorded"] == len(xd.tests)
    with open(xd.jsonl, encoding="utf-8") as f:
        assert project.xdctl("report", "jsonl", "latest").out == f.read()


# ---- exit codes

def test_zero_tests(project):
    project.write(test_none="x = 1")
    assert project.run().rc == project.plain().rc == 5


def test_all_deselected(project):
    project.write(test_a="def test_a(): pass")
    xd, plain = project.run("-k", "nothing"), project.plain("-k", "nothing")
    assert xd.rc == plain.rc == 5 and xd.summary == plain.summary == {"deselected": 1}


def test_collection_error(project):
    project.write(test_a="import nothing_of_the_kind", test_b="def test_b(): pass")
    xd, plain = project.run("-n2"), project.plain()
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (2, {"error": 1}), xd
    assert "nothing_of_the_kind" in xd.out and "ERROR test_a.py" in xd.out
    args = ["--continue-on-collection-errors"]
    xd, plain = project.run("-n2", *args), project.plain(*args)
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (1, {"passed": 1, "error": 1}), xd


def test_missing_path(project):
    xd, plain = project.run("no_such_folder"), project.plain("no_such_folder")
    assert xd.rc == plain.rc == 4
    assert "no_such_folder" in xd.out + xd.err


@pytest.mark.parametrize("options", [["-n2"], ["-n1", "--no-fork"]], ids=" ".join)
def test_pytest_exit(project, options):
    project.write(test_a='''
        import pytest
        def test_a(): pass
        def test_b(): pytest.exit("enough", returncode=7)
        def test_c(): pass
        ''')
    xd = project.run(*options)
    assert xd.rc == 7 and "enough" in xd.out, xd


def test_usage_errors_are_one_line(project):
    project.write(test_a="def test_a(): pass")
    for args, words in ((["--tx", "popen//colour=red"], "colour"), (["-n", "many"], "many"), (["--dist", "sideways"], "sideways"),
                        (["--tx", "0*popen"], "0*popen"), (["--grace", "soon"], "soon"), (["--tx", "socket=there:99999"], "socket=there:99999")):
        xd = project.run(*args)
        assert xd.rc == 4 and words in xd.err and len(xd.err.splitlines()) == 1 and not xd.out, xd


def test_interpreters_that_cannot(project):
    project.write(test_a="def test_a(): pass")
    bare = project.path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    for python, words in (("/nowhere/python", "/nowhere/python"), (str(bare / "bin" / "python"), "has no pytest")):
        xd = project.run("--python=" + python, python=False)
        assert xd.rc == 6 and words in xd.out + xd.err, xd
        errors = [line for line in (xd.out + xd.err).splitlines() if "ERROR" in line or "error" in line]
        assert len(errors) == 1, xd


# ---- which tests run, when it stops

def test_duplicate_node_ids(project):
    project.write(test_a="def test_a(): pass\ndef test_b(): assert 0")
    args = ["--keep-duplicates", "test_a.py", "test_a.py"]
    xd, plain = project.run("-n2", *args), project.plain(*args)
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary), xd
    assert len(xd.tests) == 4


@pytest.mark.parametrize("options, limit", [(["-x"], 1), (["--maxfail=3"], 3), (["--no-fork", "-n4", "--exitfirst"], 1)], ids=repr)
def test_stops_after_failures(project, options, limit):
    """At most one further item per worker starts after the failure that stops the run."""
    project.write(test_a='''
        import pytest, time, os
        @pytest.mark.parametrize("n", range(60))
        def test_n(n):
            with open(os.environ["STARTED"], "a") as f: f.write("x")
            time.sleep(0.15)  # long against the time that the text of a failure takes
            assert n % 10 != 9
        ''')
    log = project.path / "started"
    xd = project.run(*(["-n4"] + options if "--no-fork" not in options else options), env=dict(STARTED=str(log)))
    failed = [t for t in xd.tests if t["outcome"] == "failed"]
    assert xd.rc == 1 and limit <= len(failed) <= limit + 4, xd
    assert "stopping after" in xd.out
    last = sorted(t["start"] + t["setup"] + t["call"] + t["teardown"] for t in failed)[limit - 1]
    late = {}
    for t in xd.tests:
        if t["outcome"] != "not-run" and t["start"] > last:
            late[t["worker"]] = late.get(t["worker"], 0) + 1
    assert all(n <= 1 for n in late.values()), late
    assert len(log.read_text()) == len([t for t in xd.tests if t["outcome"] != "not-run"]) < 60


def test_last_failed(project):
    project.write(test_a="def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass")
    assert project.run("-n2").summary == {"failed": 1, "passed": 2}
    xd = project.run("-n2", "--lf")
    assert xd.summary == {"failed": 1} and "run-last-failure: rerun previous 1 failure" in xd.out, xd
    assert list(project.run("-n1", "--ff").outcomes)[0] == "test_a.py::test_b"


def test_collect_only(project):
    project.write(test_a="def test_a(): pass\nclass TestB:\n    def test_c(self): pass")
    xd, plain = project.run("--collect-only", "-q"), project.plain("--collect-only", "-q")
    nodes = lambda r: [line for line in r.out.splitlines() if "::" in line]
    assert xd.rc == plain.rc == 0 and nodes(xd) == nodes(plain) == ["test_a.py::test_a", "test_a.py::TestB::test_c"], xd


def test_version_and_help():
    for args, words in ((["--version"], "xdctl "), (["--help"], "run"), (["run", "--help"], "--numprocesses"), (["doctor", "--python", sys.executable], "agent")):
        done = subprocess.run([XDCTL] + args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert done.returncode == 0 and words in done.stdout.decode(), done
    bad = subprocess.run([XDCTL, "rnu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    assert bad.returncode == 4 and len(bad.stderr.decode().splitlines()) == 1


def test_show(project):
    """`show` says what the run said."""
    project.write(**RICH)
    xd = project.run("-n2")
    shown = project.xdctl("show", "latest")
    sections = lambda r: r.out[r.out.index("= FAILURES ="):]
    assert sections(shown) == sections(xd) and shown.rc == xd.rc
    failed = project.xdctl("show", "latest", "--failed")
    assert "FAILED test_plain.py::test_fails" in failed.out and "test_passes" not in failed.out
    runs = project.xdctl("runs")
    assert runs.rc == 0 and xd.folder.name in runs.out
    assert project.xdctl("show", "no-such-run").rc == 4
    assert counts_of(shown.out.splitlines()[-1]) == xd.summary
    assert json.loads(project.xdctl("report", "jsonl", xd.folder.name).out.splitlines()[-1])["exit_status"] == 1


def test_retention(project):
    project.write(test_a="def test_a(): pass")
    for _ in range(4):
        assert project.run("-n1", "--runs-keep=2").rc == 0
    assert len(list((project.path / "state" / "xd" / "runs").iterdir())) in (2, 3)  # the one that runs, and two
