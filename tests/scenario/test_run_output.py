"""What a suite prints and is called, and who reads the report: much output, control bytes, slow and closed readers, terminals; and the journal
read again."""
import json
import os
import re
import shutil
import time
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import Result, junit_cases
from faults import Terminal, children, exit_code, memory_peak, wait_until
from test_run_faults import accounted, events_so_far

MIB = 1 << 20
PRINTS = """
    import sys
    import pytest

    LINE = "x" * 1023 + "\\n"

    @pytest.mark.parametrize("i", range(%d))
    def test_prints(i):
        for n in range(%d):
            sys.stdout.write(LINE)
        sys.stdout.write("the end\\n")

    def test_fails():
        print("said before it failed")
        assert 0
"""
FAILING = """
    import pytest

    @pytest.mark.parametrize("i", range(%d))
    def test_n(i):
        assert i %% 10, "a text that fills the pipe " * 20
"""
NO_CACHE = ["-p", "no:cacheprovider"]


def run_to_file(project, *args):
    """The report into a file; the highest memory of xdctl, of the guard and of the agent."""
    out, jsonl, peaks = project.path / "out", str(project.path / "o.jsonl"), {}
    with open(str(out), "wb") as f:
        process = project.start("run", "--python", project.python, "--jsonl", jsonl, *(list(args) + NO_CACHE), stdout=f)
        end = time.monotonic() + 60
        agents = []
        while process.poll() is None and time.monotonic() < end:
            if len(agents) < 2:
                guard = children(process.pid)
                agents = guard + [c for g in guard for c in children(g)]
            for pid in [process.pid] + agents[:2]:
                peaks[pid] = max(peaks.get(pid, 0), memory_peak(pid))
            time.sleep(0.005)
    rc = exit_code(process)
    return Result(rc, out.read_bytes().decode(), "", project.latest(), jsonl), peaks


@pytest.mark.parametrize("tests, options", [(1, []), (1, ["-s"]), (100, ["-s"]), (100, [])],
                         ids=["one-captured", "one-s", "many-s", "many-captured"])
def test_100_megabytes(project, tests, options):
    project.write(test_p=PRINTS % (tests, 100 * 1024 // tests))
    result, peaks = run_to_file(project, "-n2", *options)
    assert result.rc == 1, result
    assert accounted(result)["not_run"] == 0
    assert result.summary == {"failed": 1, "passed": tests}
    assert len(peaks) == 3 and all(0 < peak < 64 * MIB for peak in peaks.values()), peaks
    assert "said before it failed" in result.out
    if options:  # of each test 1 MiB is kept by default
        assert tests * MIB * 0.9 < len(result.out) < tests * MIB * 1.2
        assert result.out.count("the end\n") == tests
    else:
        assert len(result.out) < 10000


def test_output_limit(project):
    project.write(test_p=PRINTS % (1, 4096))
    result, _ = run_to_file(project, "-n1", "--output-limit=256K", "-s")
    assert result.rc == 1, result
    assert 256 * 1024 < len(result.out) < (256 + 16) * 1024
    assert "the end\n" in result.out
    assert re.search(r"3[89][0-9]{5} bytes", result.out), result  # what was left out is told


def test_output_counts_for_the_test_that_wrote_it(project):
    """Each writes as its last act what the limit just allows: counted as the next one's, it would be cut."""
    project.write(test_w="""
        import os
        import pytest

        @pytest.mark.parametrize("i", range(300))
        def test_writes(i):
            os.write(1, b"%03d" % i + b"o" * 900 + b"\\n")
            os.write(2, b"%03d" % i + b"e" * 900 + b"\\n")
    """)
    result = project.run("-n2", "--output-limit=1K", "-s", *NO_CACHE)
    assert result.rc == 0 and result.summary == {"passed": 300}, result
    assert "left out" not in result.out, result
    for letter in "oe":
        assert sorted(re.findall(r"\] (\d{3})%s{900}$" % letter, result.out, re.M)) == ["%03d" % i for i in range(300)]


# ---- control bytes ----------------------------------------------------------------------------------------------------

ODD = """
    import os, sys
    import pytest

    @pytest.mark.parametrize("i", range(4))
    def test_named(i):
        assert i % 2

    def test_odd_output():
        sys.stdout.write("out\\x1b]0;title\\x07 \\x00 \\x1b[2J\\n")
        os.write(1, b"\\xff\\xfe invalid \\x9b31m \\xc3\\x28\\n")
        os.write(2, b"\\xf0\\x9f err \\x1b[31m\\r\\n")
        raise ValueError("bad \\x1b[31m \\0 \\udc80 \\ud83d text\\nline \\x9b2 \\x7f \\u202e")

    class Odd:
        def __repr__(self):
            return "odd\\x1b[31m\\0\\udcff\\x08"

    def test_odd_repr():
        assert Odd() == 3

    def test_odd_crash():
        os.write(2, b"\\x1b[31m last \\xff words \\0\\n")
        os._exit(3)

    @pytest.mark.skip(reason="odd \\x1b[31m reason \\0")
    def test_odd_skip(): pass
"""
ODD_NAMES = """
    NAMES = ["\\x1b[31mred", "a\\nb", "nul\\0 \\x9b", "surrogate \\udc80 del \\x7f \\u202e"]

    def pytest_collection_modifyitems(items):
        for item, name in zip(items, NAMES):
            item.__class__ = type(item.__class__.__name__, (item.__class__,), {"nodeid": "test_o.py::" + name})
"""


@pytest.mark.parametrize("options", [[], ["-s"]], ids=["captured", "s"])
def test_control_bytes(project, options):
    project.write(test_o=ODD, conftest=ODD_NAMES)
    jsonl = str(project.path / "o.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n2", "-v", "-rA", "--junitxml=o.xml",
                            "-o", "junit_logging=all", *(NO_CACHE + options))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1, out
    shown = out.decode("utf-8")  # strict
    raw = sorted({c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c == "\u202e"})
    assert raw == [], raw
    assert "ValueError: bad \\x1b[31m" in shown and "test_o.py::\\x1b[31mred" in shown
    for where in ("report", "show"):
        args = ["report", "terminal", "latest"] if where == "report" else ["show", "latest"]
        again = project.xdctl(*args)
        assert not [c for c in again.out if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c == "\u202e"]
    events = events_so_far(jsonl)
    tests = {e["nodeid"]: e for e in events if e["event"] == "test"}
    assert len(tests) == 8
    assert tests["test_o.py::\x1b[31mred"]["outcome"] == "failed" and tests["test_o.py::a\nb"]["outcome"] == "passed"
    odd, = [t for t in tests.values() if "surrogate" in t["nodeid"]]
    assert bytes.fromhex(odd["nodeid_hex"]) == "test_o.py::surrogate \udc80 del \x7f \u202e".encode("utf-8", "surrogatepass")
    cases = ElementTree.parse(str(project.root / "o.xml")).getroot().iter("testcase")
    names = [case.get("name") for case in cases]
    assert len(names) == 8 and "#x1B[31mred" in names


# ---- readers that lag, end, or are no terminal -----------------------------------------------------------------------------


def test_reader_that_does_not_read(project):
    """Its pipe holds 64 KiB; the report has more.  Tests, journal and files go on without it."""
    project.write(test_f=FAILING % 1000)
    jsonl = str(project.path / "f.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n2", "-v", *NO_CACHE)
    wait_until(lambda: any(e["event"] == "run_end" for e in events_so_far(jsonl)), "the end of the run")
    assert sum(e["event"] == "test" for e in events_so_far(jsonl)) == 1000
    time.sleep(0.5)
    assert process.poll() is None  # the report waits for its reader
    result = project.finish(process, jsonl)
    assert result.rc == 1, result
    assert result.out.count("FAILED test_f.py::test_n[") == 200  # each twice: -v and the short summary
    assert result.summary == {"failed": 100, "passed": 900}


def test_reader_that_is_slow(project):
    project.write(test_f=FAILING % 300)
    process = project.start("run", "--python", project.python, "-n2", "-v", *NO_CACHE)
    out = b""
    while True:
        data = os.read(process.stdout.fileno(), 4096)
        if not data:
            break
        out += data
        time.sleep(0.005)
    assert exit_code(process) == 1
    assert re.search(r"30 failed, 270 passed in", out.decode())


def test_reader_that_ends(project):
    project.write(test_f=FAILING % 1000)
    jsonl = str(project.path / "f.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n2", "-v", "--junitxml=f.xml", *NO_CACHE)
    assert os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    process.stdout = None
    assert exit_code(process) == 1
    events = events_so_far(jsonl)
    assert events[-1]["event"] == "run_end" and events[-1]["recorded"] == 1000
    assert len(junit_cases(project.root / "f.xml")) == 1000
    shown = project.xdctl("show", "latest")
    assert shown.rc == 1 and shown.summary == {"failed": 100, "passed": 900}


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors(project, closed):
    """What xdctl opens next would get their numbers, and the report."""
    project.write(test_f=FAILING % 20)
    jsonl = str(project.path / "f.jsonl")
    process = project.start("run", "--python", project.python, "--jsonl", jsonl, "-n2", *NO_CACHE,
                            preexec_fn=lambda: [os.close(fd) for fd in closed])
    assert exit_code(process) == 1
    assert events_so_far(jsonl)[-1]["recorded"] == 20


def test_full_disk_of_the_report(project):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    project.write(test_f=FAILING % 20)
    with open("/dev/full", "wb") as full:
        process = project.start("run", "--python", project.python, "-n2", *NO_CACHE, stdout=full)
        assert exit_code(process) == 1
    assert project.xdctl("show", "latest").summary == {"failed": 2, "passed": 18}


# ---- colours and the live line ------------------------------------------------------------------------------------------------

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("tty, options, env, colored", [
    (False, [], {}, False),
    (False, ["--color=yes"], {}, True),
    (False, ["--color=yes"], {"NO_COLOR": "1"}, True),
    (True, [], {}, True),
    (True, [], {"NO_COLOR": "1"}, False),
    (True, ["--color=no"], {}, False),
    (True, [], {"TERM": "dumb"}, False),
])
def test_colors(project, tty, options, env, colored):
    project.write(test_f=FAILING % 20)
    if tty:
        terminal = Terminal(project, "run", "--python", project.python, "-n2", *(options + NO_CACHE), **env)
        assert terminal.end() == 1
        out = terminal.output.decode()
    else:
        result = project.xdctl("run", "--python", project.python, "-n2", *(options + NO_CACHE), env=env)
        assert result.rc == 1
        out = result.out
    assert bool(COLOR.search(out)) == colored, out
    assert re.search(r"2 failed.*18 passed.* in ", ESCAPE.sub("", out))
    if not tty:
        assert not set(ESCAPE.findall(out)) - set(COLOR.findall(out))


def test_no_colors_while_pytest_starts(project):
    """What --color says is known when pytest has read its configuration; the line before is plain."""
    project.write(conftest="import time; time.sleep(2.5)\n", test_c="def test_a(): pass\n")
    terminal = Terminal(project, "run", "--python", project.python, "-n2", "--live=always", "--color=no", *NO_CACHE)
    assert terminal.end() == 0
    out = terminal.output.decode()
    assert "starting pytest" in out and not COLOR.search(out), out


def test_colors_of_pytest_and_of_tests(project):
    """Source lines are highlighted as in pytest, and what a test colours is coloured; where there are no colours, none of it is there."""
    project.write(test_c="""
        import logging

        def test_c():
            logging.getLogger("x").warning("careful")
            print("\\x1b[35mmagenta\\x1b[0m and \\x1b[2Jclear")
            assert {"a": 1}["a"] == 2
        """)
    jsonl = str(project.path / "c.jsonl")
    for color, shown, source in (("yes", "\x1b[35mmagenta\x1b[0m and \\x1b[2Jclear", "\x1b[94massert\x1b"), ("no", "magenta and \\x1b[2Jclear", ">       assert {")):
        result = project.xdctl("run", "--python", project.python, "--jsonl", jsonl, "--color=" + color, "--junitxml=c.xml", *NO_CACHE)
        assert shown in result.out and source in result.out, result
        assert "\x1b[2J" not in result.out and ("\x1b" in result.out) == (color == "yes")
        with open(jsonl) as f:
            report = [json.loads(line) for line in f if '"test"' in line][-1]["reports"][0]
        assert "\x1b" not in report["text"] and 'assert {"a": 1}["a"] == 2' in report["text"]
        assert "&gt;       assert {" in (project.root / "c.xml").read_text() and "#x1B" not in (project.root / "c.xml").read_text()


@pytest.mark.parametrize("options, env, line", [
    ([], {"GITHUB_ACTIONS": "true"}, "::error file=a.py::x"),
    (["-s"], {"GITHUB_ACTIONS": "true"}, "[gw0] ::error file=a.py::x"),  # tests may write it, too
    ([], {}, "[gw0] ::error file=a.py::x"),
], ids=["github", "uncaptured", "elsewhere"])
def test_annotations_for_github(project, options, env, line):
    """pytest-github-actions-annotate-failures writes them to stderr; the runner reads them at the start of a line."""
    project.write(test_g="def test_g(): pass", conftest="""
        import os, sys
        def pytest_runtest_logreport(report):
            if report.when == "call":
                os.write(2, b"::error file=a.py::x\\nplain\\n::set-output name=a::b\\n")
        """)
    out = project.xdctl("run", "--python", project.python, "-n1", *(options + NO_CACHE), env=env).out.splitlines()
    assert line in out and "[gw0] plain" in out and "[gw0] ::set-output name=a::b" in out, out


def test_dumb_terminal(project):
    project.write(test_f=FAILING % 20)
    terminal = Terminal(project, "run", "--python", project.python, "-n2", *NO_CACHE, TERM="dumb")
    assert terminal.end() == 1 and b"\x1b" not in terminal.output


def screen_of(text):
    """What stands on a terminal after this text: \\r, \\n, erase to the end of the line, cursor up, column."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n\b]|[^\x1b\r\n\b]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\b":
            column = max(column - 1, 0)
        elif part.startswith("\x1b["):
            if part in ("\x1b[?7l", "\x1b[?7h"):
                continue  # wrapping off, on
            number, what = int(part[2:-1].split(";")[0] or 0), part[-1]
            if what == "K":
                assert number == 0, part
                lines[row] = lines[row][:column]
            elif what == "J":
                assert number == 0, part
                lines[row:] = [lines[row][:column]]
            elif what == "A":
                row = max(row - (number or 1), 0)
            elif what == "G":
                column = (number or 1) - 1
            else:
                assert what == "m", part
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part):]
            column += len(part)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("options", [[], ["-v"], ["-q"]], ids=["dots", "v", "q"])
def test_live_line(project, options):
    """On a terminal the last line tells what runs; at the end it is gone and what stands there is what a pipe gets."""
    project.write(test_l="""
        import os, time
        import pytest
        @pytest.mark.parametrize("i", range(5))
        def test_quick(i): pass
        def test_of_some_length(): time.sleep(float(os.environ.get("NAP", 0)))
    """)
    terminal = Terminal(project, "run", "--python", project.python, "-n2", "--color=no", *(options + NO_CACHE), NAP="2.2")
    terminal.wait_for(b"test_of_some_length 1s", 10)
    live = screen_of(terminal.output.decode())[-1]
    assert "5/6" in live and "test_of_some_length" in live
    assert terminal.end() == 0
    screen = screen_of(terminal.output.decode())
    assert not [line for line in screen if "5/6" in line or "test_of_some_length 1s" in line], screen
    piped = project.xdctl("run", "--python", project.python, "-n2", "--color=no", *(options + NO_CACHE))
    assert piped.rc == 0 and "\x1b" not in piped.out and "\r" not in piped.out

    def comparable(lines):
        return sorted(re.sub(r"in \d+\.\d+s.*|\[ *\d+%\]|\[gw\d\]|=", "", line).strip() for line in lines if line.strip())
    assert comparable(screen) == comparable(piped.out.splitlines())


# ---- the journal read again -----------------------------------------------------------------------------------------------------

MIXED = """
    import warnings
    import pytest

    def test_passes(): pass

    def test_fails():
        print("some output")
        assert [1, 2] == [1, 3]

    @pytest.fixture
    def broken():
        raise RuntimeError("no fixture")

    def test_error(broken): pass

    @pytest.fixture
    def breaks_at_its_end():
        yield
        raise RuntimeError("teardown")

    def test_teardown(breaks_at_its_end): pass

    @pytest.mark.skip(reason="not now")
    def test_skipped(): pass

    @pytest.mark.xfail
    def test_xfailed(): assert 0

    @pytest.mark.xfail
    def test_xpassed(): pass

    def test_warns():
        warnings.warn("careful")

    def test_properties(record_property):
        record_property("key", "value")

    def test_crashes():
        import os
        os._exit(3)
"""


def after_progress(out):
    """From the first section after the lines of letters on."""
    lines = out.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"=+ (FAILURES|ERRORS|\d+ (passed|failed)|short)", line)]
    return lines[starts[0]:]


def test_shown_again(project):
    project.write(test_m=MIXED)
    result = project.run("-n2", "--junitxml=m.xml", *NO_CACHE)
    assert result.rc == 1, result
    shown = project.xdctl("show", "latest")
    assert shown.rc == 1
    both = [[line for line in after_progress(r.out) if "generated xml file" not in line] for r in (result, shown)]
    assert both[0] == both[1]
    assert len(both[0]) > 40
    failed = project.xdctl("show", "latest", "--failed")
    assert failed.rc == 1 and after_progress(failed.out)[-1] == both[0][-1]
    for rendered, written in (("junit", project.root / "m.xml"), ("jsonl", None)):
        file = project.path / ("again." + rendered)
        made = project.xdctl("report", rendered, "latest", "-o", str(file))
        assert made.rc == 0, made
        if written:
            assert junit_cases(file) == junit_cases(written)
            assert len(junit_cases(file)) == 10
        else:
            with open(str(file)) as f:
                assert [json.loads(line) for line in f] == result.events


def test_show_of_a_cut_journal(project):
    project.write(test_m=MIXED, test_n=FAILING % 40)
    result = project.run("-n2", *NO_CACHE)
    assert result.rc == 1, result
    journal = result.folder / "journal"
    whole = journal.read_bytes()
    run, recorded = result.folder.name, []
    shutil.copy(str(journal), str(project.path / "whole"))
    cuts = [0, 1, 15, 16, 17, 100] + [len(whole) * n // 9 for n in range(1, 9)]
    for cut in cuts:
        journal.write_bytes(whole[:cut])
        shown = project.xdctl("show", run)
        text = shown.out + shown.err
        found = re.search(r"the journal ends before the run did: (\d+) of (\d+) tests have an outcome", text)
        recorded.append(int(found.group(1)) if found else 0)
        assert shown.rc == 7 if found else shown.rc > 2 and text.startswith("xdctl: "), (cut, shown)
        if found:
            assert sum((shown.summary or {}).values()) >= recorded[-1], (cut, shown)
    assert recorded == sorted(recorded) and recorded[-1] > 20
    assert len(set(recorded)) > 3
    journal.write_bytes(whole)
    assert project.xdctl("show", run).summary == result.summary


def test_the_trace_of_the_engine(project, tmp_path):
    """$XD_TRACE: what the engine does, line by line, appended; a file that cannot be written is told before anything runs."""
    project.write(test_a="def test_a(): pass\n")
    trace = tmp_path / "trace"
    for runs in (1, 2):
        assert project.run("-n1", env=dict(XD_TRACE=str(trace))).rc == 0
        lines = trace.read_text().splitlines()
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ (debug|info|warning|error) \S", line) for line in lines), lines
        assert len([line for line in lines if line.endswith(" info sched started")]) == runs
        assert len([line for line in lines if " debug sched <- gateway.0 RESULTS (" in line]) >= runs
    assert len({line.split()[1] for line in lines}) == 2
    bad = project.run("-n1", env=dict(XD_TRACE=str(tmp_path / "no" / "where")))
    assert bad.rc == 4 and bad.err == "xdctl: XD_TRACE: cannot write %s: No such file or directory\n" % (tmp_path / "no" / "where"), bad
