"""Terminal and JUnit reports against pytest's own, on one real run each: pytest writes its report, a plugin (reporter_journal.py) the frames a
journal of that run would hold, and the reporters make theirs from the frames.

    python3 tests/scenario/test_reporters.py [-v]
    environment: XD_XDCTL (build/bin/xdctl: tests/reporter_test of the same build is used), XD_TEST_PYTHON (a python with pytest)
"""
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.dirname(os.path.dirname(os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")))
PROGRAM = os.path.join(BUILD, "tests", "reporter_test")

SUITE = {
    "test_a.py": r'''
        import logging, sys, unittest, warnings
        import pytest
        def test_ok(): pass
        def test_fail():
            print("out"); print("err", file=sys.stderr)
            x = 1
            assert x == 2, "boo"
        @pytest.mark.skip(reason="no way")
        def test_skip(): pass
        @pytest.mark.skipif(True, reason="no way")
        def test_skip_too(): pass
        @pytest.mark.xfail(reason="bug")
        def test_xfail(): assert 0
        @pytest.mark.xfail(reason="bug2")
        def test_xpass(): pass
        @pytest.mark.xfail(reason="strict one", strict=True)
        def test_xpass_strict(): pass
        @pytest.mark.xfail(run=False, reason="not run")
        def test_norun(): pass
        @pytest.fixture
        def noisy():
            print("setup out"); logging.getLogger().warning("setup log")
            yield
            print("teardown out"); print("teardown err", file=sys.stderr)
        @pytest.fixture
        def bad(noisy): raise RuntimeError("setup bad")
        def test_setup_error(bad): pass
        @pytest.fixture
        def bad_end(noisy):
            yield
            raise OSError("teardown bad")
        def test_teardown_error(bad_end): pass
        def test_both(bad_end): assert [1, 2] == [1, 3]
        def test_skip_then_error(bad_end): pytest.skip("then a bad teardown")
        def test_noise(noisy): logging.getLogger().error("call log")
        def test_noise_fail(noisy):
            print("call out"); raise ValueError("x" * 700 + "\nline2 <&>")
        def test_warn(): warnings.warn("hey there")
        def test_warn_too(): warnings.warn("hey there")
        def test_many_lines(): raise ValueError("\n".join("line %d of text" % i for i in range(100)))
        @pytest.mark.parametrize("a", ["x/y.py", "q::z", "\x1b[31m", "\xe9", "["])
        def test_param(a, record_property):
            record_property("key", a); record_property("list", [1, "<"])
        class TestClass:
            def test_method(self): print("hi")
            def test_raise(self): raise KeyError("multi\nline\nmessage")
        class Unit(unittest.TestCase):
            @unittest.expectedFailure
            def test_expected(self): assert 0
            @unittest.expectedFailure
            def test_unexpected(self): pass
            @unittest.skip("unit")
            def test_skipped(self): pass
        ''',
    "sub/test_b.py": r'''
        import pytest
        @pytest.mark.parametrize("i", range(100))
        def test_many(i): pass
        def test_skip(): pytest.skip("a 'quoted' reason")
        def test_imperative(): pytest.xfail("imperative")
        ''',
    "test_skipped_module.py": 'import pytest\npytest.skip("whole", allow_module_level=True)\n',
    "test_broken.py": "import no_such_module_at_all\n",
}


def suites_python():
    for path in (os.environ.get("XD_TEST_PYTHON"), os.path.join(ROOT, "build", "venv", "bin", "python"), sys.executable):
        if path and os.path.exists(path) and subprocess.call([path, "-c", "import pytest"], stderr=subprocess.DEVNULL) == 0:
            return path
    raise unittest.SkipTest("no python with pytest: set XD_TEST_PYTHON")


def shape(path):
    """The document as lines; times rounded, test cases sorted (pytest has them in order of running)."""
    out = []

    def walk(element, depth):
        attributes = dict(element.attrib)
        if element.tag == "testsuite":
            del attributes["time"], attributes["timestamp"]
        if element.tag == "testcase":
            attributes["time"] = "%.1f" % float(attributes["time"])
        out.append("%s%s %r %r" % ("  " * depth, element.tag, sorted(attributes.items()), element.text))
        children = list(element)
        if element.tag == "testsuite":
            children.sort(key=lambda c: (c.get("classname", ""), c.get("name")))
        for child in children:
            walk(child, depth + 1)

    walk(ElementTree.parse(path).getroot(), 0)
    return out


def sections(text):
    """From the first summary section on; times, and what only a report without workers has, made equal."""
    text = re.sub(r" in \d+\.\d\ds", " in N.NNs", text)
    text = re.sub(r"0x[0-9a-f]+", "0x0", text)
    text = text.replace("\x1b", "\\x1b")
    found = re.search(r"^=+ (ERRORS|FAILURES|warnings summary|PASSES) =+$", text, re.M)
    lines = text[found.start():].split("\n") if found else text.split("\n")[-3:]
    # the last line is as long as the screen: a time of other length shifts it
    return [re.sub(r"^=+ | =+$", "", line) if "N.NNs" in line else line for line in lines if not line.startswith("- generated xml")]


@unittest.skipUnless(os.path.exists(PROGRAM), "no reporter_test: build first")
class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.python = suites_python()
        cls.dir = tempfile.TemporaryDirectory()
        for name, text in SUITE.items():
            path = os.path.join(cls.dir.name, "suite", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(textwrap.dedent(text))
        open(os.path.join(cls.dir.name, "suite", "pytest.ini"), "w").write("[pytest]\n")

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def compare(self, *options, terminal=True, cwd="suite"):
        frames, xml, mine = (os.path.join(self.dir.name, n) for n in ("frames", "pytest.xml", "xd.xml"))
        env = {k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "FORCE_COLOR")}
        env.update(PYTHONPATH=HERE, COLUMNS="80")
        ran = subprocess.run([self.python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "reporter_journal", "-p", "no:randomly", "--frames", frames,
                              "--junitxml", xml, "--continue-on-collection-errors"] + list(options),
                             cwd=os.path.join(self.dir.name, cwd), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertIn(ran.returncode, (0, 1), ran.stdout.decode(errors="replace"))

        def render(kind):
            return subprocess.run([PROGRAM, frames, kind], env=env, stdout=subprocess.PIPE, check=True).stdout

        with open(mine, "wb") as f:
            f.write(render("junit"))
        self.maxDiff = None
        self.assertEqual(shape(xml), shape(mine))
        if terminal:
            self.assertEqual(sections(ran.stdout.decode("utf-8", "replace")), sections(render("terminal").decode()))

    def test_plain(self):
        self.compare()

    def test_all_of_the_short_summary(self):
        self.compare("-rA")

    def test_teardowns_that_are_told_later(self):
        self.compare("--late", "-rA")

    def test_quiet(self):
        self.compare("-q", "-ra", "--tb=short")

    def test_verbose(self):
        self.compare("-vv", "-ra", "-l")

    def test_line_tracebacks(self):
        self.compare("--tb=line")

    def test_no_tracebacks(self):
        self.compare("--tb=no", "-rN")

    def test_no_summary(self):
        self.compare("--no-summary", "--no-header")

    def test_captured_output(self):
        self.compare("--show-capture=stderr", "--tb=native")
        self.compare("--show-capture=no", "--disable-warnings")

    def test_from_a_folder_below(self):
        self.compare("..", "-ra", cwd="suite/sub")

    def test_xunit1_with_all_output(self):
        self.compare("-o", "junit_family=xunit1", "-o", "junit_logging=all", "-o", "junit_suite_name=mine", "--junit-prefix=pre")

    def test_output_of_failures_only(self):
        self.compare("-o", "junit_logging=out-err", "-o", "junit_log_passing_tests=false")
        self.compare("-o", "junit_logging=log")
        self.compare("-o", "junit_logging=system-err", "-o", "junit_duration_report=call")


if __name__ == "__main__":
    unittest.main()
