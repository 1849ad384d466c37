"""Where the report goes and how it looks while the run goes on: errors of usage, the live line, slow tests."""
import os
import re
import signal
import sys
import time

import pytest

from faults import Terminal, stat_of, wait_until
from screen import Screen, set_size
from test_run_faults import events_so_far

NO_CACHE = ["-p", "no:cacheprovider"]
ONE = "def test_one(): pass"

# ---- errors of usage go to stderr --------------------------------------------------------------------------------------------------

USAGE_ERRORS = [
    (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    (["no_such_file.py"], "file or directory not found: no_such_file.py"),
    (["--maxfail=x"], "argument --maxfail: invalid int value"),
    (["-f"], "option -f/--looponfail"),
    (["--grace=soon"], "option --grace: 'soon' is not valid"),
    (["--tx", "teleport=x"], "teleport=x"),
]


@pytest.mark.parametrize("args, text", USAGE_ERRORS, ids=[" ".join(args) for args, _ in USAGE_ERRORS])
def test_usage_errors_on_stderr(project, args, text):
    """As pytest, whose own they mostly are: the report alone goes to stdout."""
    project.write(test_u=ONE)
    result = project.xdctl("run", "--python", project.python, *(args + NO_CACHE))
    assert result.rc == 4
    assert text in result.err and text not in result.out, result
    assert "error:" not in result.out.lower(), result


def test_usage_error_in_a_conftest(project):
    project.write(test_u=ONE, conftest="""
        import pytest
        def pytest_configure(config):
            raise pytest.UsageError("the conftest wants an option")
    """)
    result = project.xdctl("run", "--python", project.python, *NO_CACHE)
    assert result.rc == 4
    assert "ERROR: the conftest wants an option" in result.err and "the conftest wants" not in result.out, result


def test_errors_and_report_in_one_file(project):
    """`xdctl run > all 2>&1`: both are there, whole and in order."""
    project.write(test_u=ONE)
    with open(str(project.path / "all"), "wb") as f:
        process = project.start("run", "--python", project.python, "no_such_file.py", *NO_CACHE, stdout=f, stderr=f)
        assert process.wait(60) == 4
    lines = (project.path / "all").read_text().splitlines()
    assert "ERROR: file or directory not found: no_such_file.py" in lines and "collected 0 items" in lines, lines


def test_internal_error_stays_in_the_report(project):
    project.write(test_u=ONE, conftest="""
        def pytest_collection_modifyitems():
            raise RuntimeError("broken hook")
    """)
    result = project.xdctl("run", "--python", project.python, *NO_CACHE)
    assert result.rc == 3
    assert "INTERNALERROR> RuntimeError: broken hook" in result.out and "INTERNALERROR" not in result.err, result


def test_usage_error_is_no_run(project):
    """`show` shows the run before it."""
    project.write(test_u=ONE)
    assert project.xdctl("run", "--python", project.python, *NO_CACHE).rc == 0
    refused = project.xdctl("run", "--python", project.python, "-f", *NO_CACHE)
    assert refused.rc == 4 and "option -f/--looponfail" in refused.err, refused
    shown = project.xdctl("show", "latest")
    assert shown.rc == 0 and "1 passed" in shown.out, shown


# ---- the live line -------------------------------------------------------------------------------------------------------------

NAPS = """
    import os, time
    import pytest
    @pytest.mark.parametrize("i", range(%d))
    def test_quick(i): pass
    def test_with_a_name_that_is_long_enough_to_fill_a_line_of_the_terminal_nearly():
        while not os.path.exists("go"):
            time.sleep(0.02)
"""
LONG_NAME = "test_with_a_name_that_is_long_enough"


class Watched(object):
    """xdctl on a terminal, and what stands on it; COLUMNS is not set, so that its size counts."""

    def __init__(self, project, *args, flows=True, columns=100, **env):
        self.project, self.seen = project, 0
        env.setdefault("COLUMNS", "")
        self.terminal = Terminal(project, "run", "--python", project.python, *(list(args) + ["--color=no"] + NO_CACHE), columns=columns, **env)
        self.screen = Screen(columns, flows)

    def look(self, seconds=0.05):
        self.terminal.read(seconds)
        return self.paint()

    def paint(self):
        new = self.terminal.output[self.seen:]
        self.seen += len(new)
        self.screen.write(new.decode(errors="replace").replace("\r\n", "\n"))
        return self.screen.lines

    def shows(self, *texts):
        """Waits until the last line has them all."""
        def there():
            last = [line for line in self.look() if line][-1:]
            return last and all(text in last[0] for text in texts)
        wait_until(there, "%r on the last line of %r" % (texts, self.screen.lines[-3:]))

    def resize(self, columns):
        self.look(0)
        set_size(self.terminal.master, columns)
        self.screen.resize(columns)

    def go(self):
        (self.project.root / "go").write_text("")

    def end(self):
        self.go()
        rc = self.terminal.end()
        self.paint()
        return rc


def no_copies(lines, text="/13"):
    return [line for line in lines if text in line and "[" not in line]


@pytest.mark.parametrize("flows", [True, False], ids=["flows", "cuts"])
@pytest.mark.parametrize("options", [[], ["-v"]], ids=["dots", "v"])
def test_live_line_follows_a_resize(project, options, flows):
    """Narrowed and widened again and again: one line, cut to the width there is, and nothing is left of the others."""
    project.write(test_n=NAPS % 12)
    run = Watched(project, "-n2", *options, flows=flows)
    run.shows("12/13", LONG_NAME)
    for columns in (60, 35, 20, 12, 30, 120, 50, 100):
        run.resize(columns)
        age = time.monotonic()
        run.shows("12/13"[:columns - 1])
        while time.monotonic() < age + 1.2:  # redrawn at least once for each second of age
            run.look()
        lines = run.screen.lines
        assert len(no_copies(lines)) == 1, (columns, lines)
        assert all(len(line) <= columns for line in lines[-1:]), (columns, lines)
    assert run.end() == 0
    lines = run.screen.lines
    assert not no_copies(lines), lines
    assert len([line for line in lines if line.startswith("==")]) == 2 and lines[-2].startswith("=="), lines
    assert len(lines[-2]) == 100, lines  # the report's own lines follow, too
    joined = "".join(lines)
    assert "13 passed" in joined
    if not options:
        assert sum(line.count(".") for line in lines if set(line.split(" ")[0]) == {"."}) == 13, lines


@pytest.mark.parametrize("options", [[], ["-v"]], ids=["dots", "v"])
def test_live_lines_of_each_environment(project, options):
    """One for each, one below the other; narrowed and widened, nothing is left of the others."""
    project.write(test_n=NAPS % 3)
    run = Watched(project, "--dist=each", "--tx=popen//env:A=b", "--tx=popen//env:A=c", *options)

    def drawn():
        return [line for line in run.look() if "/4" in line and "[" not in line]
    wait_until(lambda: [line.partition(" |")[0] for line in drawn()] == ["A=b  3/4", "A=c  3/4"] and all(LONG_NAME in line for line in drawn()), "two live lines")
    for columns in (20, 100):
        run.resize(columns)
        begin = time.monotonic()
        while time.monotonic() < begin + 1.2:
            run.look()
        assert [line[:8] for line in drawn()] == ["A=b  3/4", "A=c  3/4"], (columns, run.screen.lines)
    assert run.end() == 0
    lines = run.screen.lines
    assert not [line for line in lines if "/4" in line and "[" not in line], lines
    if not options:
        assert sorted(line.split()[:2] for line in lines if line.startswith("A=")) == [["A=b", "...."], ["A=c", "...."]], lines



def test_live_line_on_a_resize_beside_open_letters(project):
    """Letters that stand in a line which no longer fits: the next ones begin a line, none is lost."""
    project.write(test_n="""
        import os, time
        import pytest
        @pytest.mark.parametrize("i", range(60))
        def test_quick(i): pass
        def test_long():
            while not os.path.exists("go"):
                time.sleep(0.02)
        @pytest.mark.parametrize("i", range(20))
        def test_later(i): pass
    """)
    run = Watched(project, "-n1")
    run.shows("60/81", "test_long")
    run.resize(45)
    run.shows("60/81", "test_long")
    assert run.end() == 0
    lines = run.screen.lines
    letters = [line.split(" ")[0] for line in lines if line.startswith(".")]
    assert sum(map(len, letters)) == 81 and not no_copies(lines, "/81"), lines


def test_live_line_and_job_control(project):
    """Ctrl-Z: the line is gone before the process stops; it comes back when it goes on."""
    project.write(test_n=NAPS % 12)
    run = Watched(project, "-n2")
    run.shows("12/13", LONG_NAME)
    run.terminal.press(b"\x1a")
    pid = run.terminal.process.pid
    wait_until(lambda: run.look() and stat_of(pid)[1] == "T", "xdctl stopped")
    run.look()  # what it wrote between the last look and its stop
    assert not no_copies(run.screen.lines), run.screen.lines
    assert run.screen.lines[-1] == "" and run.screen.column == 0, run.screen.lines  # the shell's text begins a line
    run.screen.write("[1]+  Stopped\n")
    os.kill(pid, signal.SIGCONT)
    run.shows("12/13", LONG_NAME)
    assert run.end() == 0
    lines = run.screen.lines
    assert not no_copies(lines) and "[1]+  Stopped" in lines, lines
    assert sum(line.count(".") for line in lines if set(line.split(" ")[0]) == {"."}) == 13, lines


def test_live_line_and_ctrl_c(project):
    """What xdctl says then stands on a line of its own, and neither the line nor a letter is written over it."""
    project.write(test_n=NAPS % 12)
    run = Watched(project, "-n2", "--grace=30s")
    run.shows("12/13", LONG_NAME)
    run.terminal.press(b"\x03")
    said = "xdctl: stopping: running tests get some time; Ctrl-C again kills them"
    wait_until(lambda: said in run.look(), said)
    run.shows("12/13", LONG_NAME)
    assert len(no_copies(run.screen.lines)) == 1, run.screen.lines
    assert run.end() == 2
    lines = run.screen.lines
    assert not no_copies(lines) and lines.count(said) == 1, lines
    assert sum(line.count(".") for line in lines if set(line.split(" ")[0]) == {"."}) == 13, lines


@pytest.mark.parametrize("options, env, live", [
    ([], {}, True),
    ([], {"CI": "true"}, False),
    ([], {"BUILD_NUMBER": "7"}, False),
    ([], {"TERM": "dumb"}, False),
    (["--live=auto"], {"CI": "true"}, False),
    (["--live=never"], {}, False),
    (["--live", "always"], {"CI": "true", "TERM": "dumb"}, True),
], ids=str)
def test_live_when(project, options, env, live):
    project.write(test_n=NAPS % 3)
    run = Watched(project, *options, **env)
    if live:
        run.shows("3/4", LONG_NAME)
    else:
        wait_until(lambda: "..." in "".join(run.look()), "three letters")
    assert run.end() == 0
    assert ("\x1b[J" in run.terminal.output.decode()) == live


def test_live_without_a_terminal(project):
    project.write(test_n=NAPS % 3)
    (project.root / "go").write_text("")
    assert "\x1b" not in project.xdctl("run", "--python", project.python, *NO_CACHE).out
    always = project.xdctl("run", "--python", project.python, "--live=always", *NO_CACHE)
    assert always.rc == 0 and "4 passed" in always.out


def test_live_refuses_other_words(project):
    result = project.xdctl("run", "--live=sometimes")
    assert result.rc == 4 and result.err == "xdctl: option --live: 'sometimes' is not valid: it is one of auto|always|never\n", result


def test_live_line_while_it_collects(project):
    project.write(test_a="\n    def test_1(): pass\n    def test_2(): pass\n", test_b="def test_3(): pass", test_c="""
        import os, time
        while not os.path.exists("go"):
            time.sleep(0.02)
        def test_4(): pass
    """)
    run = Watched(project)
    run.shows("collecting: ", " 2s")
    run.shows("collecting: ", " files, ", " items, ")  # what it has found may be told a second later
    seconds = int(re.search(r"collecting: [23] files, [23] items, (\d+)s", run.screen.lines[-1])[1])
    run.shows("collecting: ", " %ds" % (seconds + 1))
    assert run.end() == 0
    assert not [line for line in run.screen.lines if "collecting" in line], run.screen.lines
    assert "\x1b[K" not in run.terminal.output.decode()


# ---- slow tests ---------------------------------------------------------------------------------------------------------------

SLOW = """
    import time
    def test_quick(): pass
    def test_slow(): time.sleep(2.7)
"""
SLOW_LINE = re.compile(r"xd: slow: test_s.py::test_slow has run for ([\d.]+)s on gw\d")


def test_slow_tests_are_named_while_they_run(project):
    project.write(test_s=SLOW)
    jsonl = str(project.path / "s.jsonl")
    process = project.start("run", "--python", project.python, "-n2", "--jsonl", jsonl, "--slow-after", "1s", *NO_CACHE)
    wait_until(lambda: b"xd: slow: test_s.py::test_slow has run for 1." in os.read(process.stdout.fileno(), 65536), "the line")
    assert not [e for e in events_so_far(jsonl) if e["event"] == "test" and e["nodeid"] == "test_s.py::test_slow"]
    result = project.finish(process, jsonl)
    assert result.rc == 0
    ages = [float(age) for age in SLOW_LINE.findall(result.out)]
    assert len(ages) == 1 and 2 <= ages[0] < 2.7, result  # the second: the first was read above
    events = [e for e in result.events if e["event"] == "still_running"]
    assert [e["slow"] for e in events] == [True, True] and {e["nodeid"] for e in events} == {"test_s.py::test_slow"}
    assert not [e for e in result.events if e["event"] == "interrupted"]
    shown = project.xdctl("show", "latest")
    assert len(SLOW_LINE.findall(shown.out)) == 2 and shown.summary == {"passed": 2}


@pytest.mark.parametrize("value, lines", [("none", 0), ("0", 0), ("60s", 0), ("500ms", 2)])
def test_slow_after(project, value, lines):
    project.write(test_s=SLOW)
    result = project.run("-n2", "--slow-after=" + value, *NO_CACHE)
    assert result.rc == 0 and len(SLOW_LINE.findall(result.out)) == lines, result


def test_slow_after_refuses_other_words(project):
    result = project.xdctl("run", "--slow-after=never")
    assert result.rc == 4 and result.err == "xdctl: option --slow-after: 'never' is not valid: it is a time such as 10s or 5m, or none\n"


@pytest.mark.parametrize("live", ["auto", "never"])
def test_slow_tests_on_a_terminal(project, live):
    """The live line names them all the time."""
    project.write(test_s=SLOW)
    terminal = Terminal(project, "run", "--python", project.python, "--live", live, "--slow-after", "1s", *NO_CACHE)
    assert terminal.end() == 0
    assert len(SLOW_LINE.findall(terminal.output.decode())) == (2 if live == "never" else 0)


# ---- `show` takes pytest's display options --------------------------------------------------------------------------------------

MIXED = """
    import time
    import pytest

    def test_passes(): time.sleep(0.5)

    def test_fails():
        print("said on stdout")
        assert [1] == [2]

    @pytest.mark.skip(reason="not now")
    def test_skipped(): pass
"""


@pytest.mark.parametrize("how", ["as told", "of $VIRTUAL_ENV"])
def test_verbose_header_names_the_interpreter(project, how):
    """And says how it was found, in the run and when that is shown again."""
    project.write(test_one=ONE)
    told = how == "as told"
    result = project.run("-v", python=told, env={} if told else {"VIRTUAL_ENV": sys.prefix})
    line = "xd: interpreter %s (%s)\n" % (project.python, how)
    assert result.rc == 0 and line in result.out and line in project.xdctl("show", "-v").out, result
    environment, = [e for e in result.events if e["event"] == "environment"]
    assert (environment["gateway"], environment["spec"], environment["interpreter"], environment["found"]) == (0, "popen", project.python, how)
    assert environment["folder"] == str(project.root) and os.path.isdir(environment["cache_dir"]) and not os.path.exists(environment["scratch_dir"])
    assert "xd: interpreter" not in project.run().out


@pytest.fixture
def shown(project):
    project.write(test_m=MIXED)
    assert project.xdctl("run", "--python", project.python, "-n2", *NO_CACHE).rc == 1

    def show(*options, **env):
        return project.xdctl("show", *options, env=env)
    return show


def test_show_display_options(shown):
    usual = shown()
    assert usual.rc == 1 and "FAILURES" in usual.out and "test session starts" in usual.out and "PASSED" not in usual.out
    assert "said on stdout" in usual.out and "slowest" not in usual.out and "SKIPPED [1]" not in usual.out
    quiet = shown("-q").out
    assert "test session starts" not in quiet and "1 failed, 1 passed, 1 skipped in" in quiet.splitlines()[-1]
    assert shown("-qq").out.splitlines()[-1].startswith("FAILED ")
    verbose = shown("-v").out
    assert "PASSED test_m.py::test_passes" in verbose
    assert shown("-v", "-q").out == usual.out == shown("--verbose", "--quiet").out
    assert "assert [1] == [2]" not in shown("--tb=no").out.replace("FAILED test_m.py::test_fails - assert [1] == [2]", "")
    assert re.search(r"^\S*test_m.py:\d+: ", shown("--tb", "line").out, re.M)
    assert "Captured stdout call" in usual.out and "Captured stdout call" not in shown("--show-capture=no").out
    assert "SKIPPED [1]" in shown("-rs").out and "PASSED test_m.py::test_passes" in shown("-rA").out
    slowest = shown("--durations=1", "--durations-min=0.01").out
    assert "slowest 1 durations" in slowest and "test_m.py::test_passes" in slowest
    assert "rootdir: " not in shown("--no-header").out
    assert "short test summary" not in shown("--no-summary").out
    assert "\x1b[" in shown("--color=yes").out and "\x1b[" not in shown("--color=no", FORCE_COLOR="1").out


def test_show_in_the_style_of_the_run(project):
    project.write(test_m=MIXED)
    assert project.xdctl("run", "--python", project.python, "-n2", "--tb=short", *NO_CACHE).rc == 1
    short = project.xdctl("show", "--tb=short")
    assert short.rc == 1 and short.out == project.xdctl("show").out and re.search(r"^test_m.py:\d+: in test_fails$", short.out, re.M), short
    other = project.xdctl("show", "--tb=long")
    assert other.rc == 4 and "as the run made them (short)" in other.err, other


@pytest.mark.parametrize("options, text", [
    (["--tb=long"], "option --tb: long tracebacks cannot be made of a run's journal, which has them as the run made them (auto): it is auto, line or no here; "
                    "or run the tests with --tb=long"),
    (["--tb=short"], "option --tb: short tracebacks cannot be made of a run's journal"),
    (["--tb=native"], "or run the tests with --tb=native"),
    (["--tb=odd"], "option --tb: 'odd' is not valid"),
    (["--color=maybe"], "option --color: 'maybe' is not valid: it is one of yes|no|auto"),
    (["--show-capture", "some"], "option --show-capture: 'some' is not valid: it is one of no|stdout|stderr|log|all"),
    (["--durations=many"], "option --durations: 'many' is not valid: it is a whole number"),
    (["--durations="], "option --durations: '' is not valid"),
    (["--durations-min=1.2.3"], "option --durations-min: '1.2.3' is not valid: it is a number of seconds"),
], ids=lambda value: value[0] if isinstance(value, list) else "")
def test_show_refuses_other_values(shown, options, text):
    result = shown(*options)
    assert result.rc == 4 and result.out == "" and text in result.err and result.err.count("\n") == 1, result


# ---- colours by the environment, as pytest's ------------------------------------------------------------------------------------

COLORS = [({}, False), ({"FORCE_COLOR": "1"}, True), ({"PY_COLORS": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
          ({"PY_COLORS": "0", "FORCE_COLOR": "1"}, False), ({"PY_COLORS": "1", "NO_COLOR": "1"}, True), ({"FORCE_COLOR": ""}, False),
          ({"CLICOLOR_FORCE": "1"}, False)]


@pytest.mark.parametrize("env, colored", COLORS, ids=str)
def test_colors_by_the_environment(project, env, colored):
    """run, show, report, doctor and errors, without a terminal; and plain pytest agrees."""
    project.write(test_m=MIXED)
    commands = [("run", "--python", project.python, *NO_CACHE), ("show", "latest"), ("report", "terminal", "latest"), ("show", "nothing"),
                ("doctor", "--python", project.python)]
    for command in commands:
        result = project.xdctl(*command, env=env)
        assert ("\x1b[" in result.out + result.err) == colored, (command, result)
        assert result.out or result.err
    assert ("\x1b[" in project.plain(env=env).out) == colored


def test_a_report_in_a_file_has_no_colors(project):
    project.write(test_m=MIXED)
    project.xdctl("run", "--python", project.python, *NO_CACHE)
    file = project.path / "report.txt"
    assert project.xdctl("report", "terminal", "latest", "-o", str(file), env={"FORCE_COLOR": "1"}).rc == 0
    assert "\x1b" not in file.read_text() and "1 failed" in file.read_text()
