"""`xdctl run --runner command --list FILE`: one command line per test."""
import contextlib
import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import Result
from faults import Terminal, all_gone, stat_of, tree, wait_until


def write_list(project, *lines, name="tests.txt"):
    (project.root / name).write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return name


def run(project, *lines, options=(), **more):
    """Runs these command lines."""
    more.setdefault("python", False)
    return project.run("--runner=command", "--list", write_list(project, *lines), *options, **more)


def report(result, nodeid):
    """The one report of a test, and its sections."""
    (one,) = [t for t in result.tests if t["nodeid"] == nodeid]
    (only,) = one["reports"]
    return only


def sections(result, nodeid):
    return dict(report(result, nodeid)["sections"])


def commands_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes_named(root, words):
    """Processes below `root` whose command line is this."""
    return [p for p in tree(root) if commands_of(p) == words]


# ---- outcomes


def test_outcomes(project):
    result = run(project, "# the suite", "", "true", "  false  ", "exit 77", "exit 3", "kill -SEGV $$", "./missing", "sh -c 'exit 0'", "\t# not this")
    assert result.outcomes == {"true": "passed", "false": "failed", "exit 77": "skipped", "exit 3": "failed", "kill -SEGV $$": "failed",
                               "./missing": "failed", "sh -c 'exit 0'": "passed"}
    assert result.rc == 1
    assert report(result, "exit 3")["message"] == "exited with status 3"
    assert report(result, "kill -SEGV $$")["message"] == "killed by SIGSEGV"
    assert report(result, "./missing")["message"] == "exited with status 127"
    assert "not found" in sections(result, "./missing")["Captured stderr call"]
    assert "FAILED kill -SEGV $$ - killed by SIGSEGV" in result.out
    assert "4 failed, 2 passed, 1 skipped" in result.out


def test_all_pass(project):
    result = run(project, "true", "true", "/bin/true", options=["-n2"])
    assert result.rc == 0, result
    assert sorted(result.outcomes) == ["/bin/true", "true", "true [2]"]


def test_a_test_that_is_killed_is_no_crash_of_its_worker(project):
    result = run(project, "kill -9 $$", "true", options=["-n1"])
    assert result.outcomes == {"kill -9 $$": "failed", "true": "passed"}
    assert report(result, "kill -9 $$")["message"] == "killed by SIGKILL"
    assert not [e for e in result.events if e["event"] == "worker_down" and not e.get("expected", True)]


def test_skips_say_why(project):
    result = run(project, "echo first; echo no network >&2; exit 77", "exit 77", options=["-rs"])
    assert result.rc == 0
    assert "no network" in result.out and result.summary == {"skipped": 2}


# ---- output


def test_output_is_kept_by_stream(project):
    result = run(project, "echo seen; echo heard >&2; exit 1", "echo quiet; true", options=["-rP"])
    assert sections(result, "echo seen; echo heard >&2; exit 1") == {"Captured stdout call": "seen\n", "Captured stderr call": "heard\n"}
    assert sections(result, "echo quiet; true") == {"Captured stdout call": "quiet\n"}
    failures, passes = result.out.split("= PASSES =")
    assert "seen" in failures and "heard" in failures and "quiet" in passes


def test_much_output_is_cut_in_the_middle(project):
    result = run(project, "seq 1 2000000; exit 1", "seq 1 2000000 >&2", options=["-n2"])
    for line, name in (("seq 1 2000000; exit 1", "Captured stdout call"), ("seq 1 2000000 >&2", "Captured stderr call")):
        text = sections(result, line)[name]
        assert text.startswith("1\n2\n3\n") and text.endswith("1999999\n2000000\n")
        assert re.search(r"\n\[\d+ bytes are left out here: --output-limit\]\n", text)
        assert 900_000 < len(text) < 1_100_000


def test_output_of_what_is_left_behind_is_whole(project):
    """A filter at the end of a pipe has more to write than a pipe holds, and is quick about it."""
    lines = ["(seq 1 100000 &)", "(seq 1 100000 >&2 &)"]
    result = run(project, *lines, options=["-rP", "-n1"])
    texts = [sections(result, line)["Captured %s call" % name] for line, name in zip(lines, ("stdout", "stderr"))]
    assert result.rc == 0 and [len(text) for text in texts] == [588895] * 2 and all(text.endswith("99999\n100000\n") for text in texts)


def test_a_worker_has_no_descriptor_twice(project):
    """The first worker, which was the collector, and another one."""
    lines = ["ls -l /proc/$PPID/fd; sleep 0.%d; exit 1" % n for n in (5, 6)]
    result = run(project, *lines, options=["-n2"])
    assert len({t["worker"] for t in result.tests}) == 2
    for line in lines:
        pipes = re.findall(r"(?m)^([lrwx-]+) .* (pipe:\[\d+\])$", sections(result, line)["Captured stdout call"])
        assert len(pipes) == len(set(pipes)) == 8, pipes


def test_the_limit_of_output_can_be_set(project):
    result = project.run("--runner=command", "--output-limit=1000", "--list", write_list(project, "seq 1 5000; exit 1"), python=False)
    assert len(sections(result, "seq 1 5000; exit 1")["Captured stdout call"]) < 1200


def test_output_that_is_no_text(project):
    result = run(project, r"printf '\377\033[2Jx\000y'; exit 1")
    assert result.rc == 1 and "\033[2J" not in result.out and r"\x1b[2Jx" in result.out.replace("\\xff", "")


def test_standard_input_is_empty(project):
    assert run(project, "test -z \"$(cat)\"").rc == 0


# ---- time


def test_timeout_ends_the_group_of_the_test(project):
    began = time.monotonic()
    result = run(project, "sh -c 'sleep 1000 & sleep 1001; true'", "true", options=["--timeout", "0.5", "-n1"])
    assert time.monotonic() - began < 30
    assert result.outcomes == {"sh -c 'sleep 1000 & sleep 1001; true'": "timeout", "true": "passed"} and result.rc == 1
    assert "ran out of time: ended after 0.5 s (--timeout)" in result.out


def test_timeout_of_a_test_that_hears_no_term(project):
    result = run(project, "trap '' TERM; echo begun; while :; do sleep 1000; done", "true", options=["--timeout=300ms", "-n1"])
    assert sorted(result.outcomes.values()) == ["passed", "timeout"]
    assert "begun" in result.out


# ---- what a test leaves behind


LEFT = ["sleep 4001 & true", "setsid sleep 4002 & sleep 0.1", "(setsid sh -c 'sleep 4003 & wait' &) ; sleep 0.1",
        "nohup sleep 4004 >/dev/null 2>&1 & exit 1"]


def test_nothing_of_a_test_lives_on(project):
    """Each test looks for what the one before it has left."""
    look = "! ps -e -o args= | grep '^sleep 400[0-9]$'"
    lines = [line for left in LEFT for line in (left, look)]
    result = run(project, *lines, options=["-n1"])
    assert {line: outcome for line, outcome in result.outcomes.items() if outcome != "passed"} == {LEFT[3]: "failed"}, result


def test_what_a_test_leaves_keeps_nobody_waiting(project):
    began = time.monotonic()
    assert run(project, *(["sleep 1000 & true"] * 3), options=["-n1"]).rc == 0
    assert time.monotonic() - began < 30


def test_the_end_of_a_pipe_is_heard(project):
    """What ends by itself within a moment may write before."""
    result = run(project, "(sleep 0.02; echo late) & true", options=["-rP"])
    assert "late" in result.out


# ---- lines


def test_odd_lines(project):
    long = "true " + "x" * 65536
    lines = ["echo 'a  b' \"c\" | grep -q 'a  b c'", "test 'ä' = $(printf '\\303\\244')", "true # ü 漢字", long, "FOO=1 env | grep -qx FOO=1",
             "sh  -c   true", "echo a\\ ", "grep -q --regexp=^x$ x.txt", "true [2]", "true", "true", "cd / && test $PWD = /"]
    (project.root / "x.txt").write_text("x\n")
    result = run(project, *lines, options=["-n2"])
    assert result.rc == 0, result
    assert set(lines) <= set(result.outcomes) and len(result.outcomes) == len(lines)
    assert "true [3]" in result.outcomes  # "true [2]" is a line of its own


def test_lines_that_are_no_utf8_and_end_as_on_windows(project):
    result = run(project, b"true \xff\xfe\r", b"exit 1\r")
    assert result.rc == 1 and sorted(result.outcomes.values()) == ["failed", "passed"] and "exit 1" in result.outcomes


def test_a_list_that_begins_with_a_byte_order_mark(project):
    """In each list, and a comment behind it is a comment."""
    write_list(project, b"\xef\xbb\xbftrue\r", b"exit 1\r", name="a")
    write_list(project, b"\xef\xbb\xbf# a comment", "true b", name="b")
    result = project.run("--runner=command", "--list=a", "--list=b", python=False)
    assert result.rc == 1 and result.outcomes == {"true": "passed", "exit 1": "failed", "true b": "passed"}, result


@pytest.mark.parametrize("line, said", [(b"true \0", "NUL"), (b"true " + b"x" * 140000, "140005 bytes")])
def test_lines_that_cannot_be(project, line, said):
    result = run(project, "true", line)
    assert result.rc == 4 and said in result.out + result.err and "tests.txt, line 2" in result.out + result.err, result


def test_many_lines(project):
    result = run(project, *(["/bin/true"] * 2000 + ["/bin/true %d" % i for i in range(1000)]), options=["-n2"])
    assert result.rc == 0 and len(result.outcomes) == 3000


# ---- the list


def test_empty_list(project):
    result = run(project, "# nothing", "")
    assert result.rc == 5 and "no tests ran" in result.out


def one_line(result):
    lines = [line for line in (result.out + result.err).splitlines() if line.strip("= ") and "no tests ran" not in line]
    lines = [line for line in lines if not line.startswith(("platform", "rootdir")) and "test session starts" not in line]
    assert len(lines) == 1, result
    return lines[0]


def test_missing_list(project):
    result = project.run("--runner", "command", "--list", "none.txt", python=False)
    assert result.rc == 4 and "the list none.txt cannot be read: No such file or directory" in one_line(result)


def test_unreadable_list(project):
    (project.root / "folder").mkdir()
    result = project.run("--runner", "command", "--list", "folder", python=False)
    assert result.rc == 4 and "the list folder cannot be read: Is a directory" in one_line(result)


def test_standard_input_is_no_list(project):
    result = project.run("--runner", "command", "--list", "-", python=False)
    assert result.rc == 4 and "standard input is not read" in one_line(result)


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/7"])
def test_a_descriptor_is_no_list(project, name):
    """The agent's descriptors are not those of the user's shell: standard input would be an empty list, exit code 5."""
    result = project.run("--runner", "command", "--list", name, python=False)
    assert result.rc == 4 and "option --list: %s is a descriptor of another process" % name in one_line(result)


def test_a_list_from_a_named_pipe(project):
    os.mkfifo(str(project.root / "pipe"))
    with subprocess.Popen(["sh", "-c", "printf 'true\nfalse\n' > pipe"], cwd=str(project.root)):
        result = project.run("--runner", "command", "--list", "pipe", python=False)
    assert result.rc == 1 and result.outcomes == {"true": "passed", "false": "failed"}


@pytest.mark.parametrize("options, said", [
    (["--list=a", "-"], "there is no such test in the list: -"),
    ([], "needs --list FILE"), (["--list"], "--list needs a value"), (["--list=a", "-k", "x"], "option -k does not apply to --runner command"),
    (["--list=a", "--lf"], "option --lf does not apply"), (["--list=a", "--timeout=soon"], "option --timeout: 'soon' is not valid"),
    (["--list=a", "--maxfail=-1"], "option --maxfail"), (["--list=a", "-s"], "option -s does not apply")])
def test_options_that_do_not_apply(project, options, said):
    write_list(project, "true", name="a")
    result = project.run("--runner", "command", *options, python=False)
    assert result.rc == 4 and said in one_line(result)


@pytest.mark.parametrize("option", ["--no-fork", "--as-module", "--python=python3", "--dist=loadfile", "--dist=loadgroup"])
def test_options_of_xd_that_do_not_apply(project, option):
    result = project.run("--runner", "command", option, "--list", write_list(project, "true"), python=False)
    assert result.rc == 4 and option.partition("=python3")[0] in one_line(result) and "does not apply to --runner command" in one_line(result)


def test_options_of_xd_anywhere(project):
    """No plugin can have an option of the same name: xd's own are taken behind the runner's, too."""
    result = project.run("--runner=command", "--list", write_list(project, "true"), "--grace", "3s", "--no-history", "-n1", python=False)
    assert result.rc == 0, result


def test_several_lists(project):
    one, two = write_list(project, "true", name="one"), write_list(project, "true", "exit 1", name="two")
    result = project.run("--runner=command", "--list", one, "--list", two, python=False)
    assert sorted(result.outcomes.items()) == [("exit 1", "failed"), ("true", "passed"), ("true [2]", "passed")]


def test_selection(project):
    result = run(project, "true a", "true b", "true a", "false", options=["true b", "true a [2]"])
    assert result.outcomes == {"true b": "passed", "true a [2]": "passed"} and result.rc == 0


def test_selection_of_what_is_not_there(project):
    result = run(project, "true", options=["true x"])
    assert result.rc == 4 and "there is no such test in the list: true x" in one_line(result)


def test_the_working_folder(project):
    (project.root / "sub").mkdir()
    (project.root / "sub" / "l").write_text("test -e here\n")
    (project.root / "sub" / "here").write_text("")
    assert project.run("--runner=command", "--work-dir=sub", "--list=l", python=False).rc == 0
    assert project.run("--runner=command", "--tx", "2*popen//chdir=sub//env:A=b", "--list=l", python=False).rc == 0


def test_environment_of_tests(project):
    result = run(project, "test $XD_WORKER = gw0 && test $XD_WORKER_COUNT = 1 && test ${#XD_RUN_UID} = 32", "test $A = b",
                 options=["--tx", "popen//env:A=b"])
    assert result.rc == 0, result


def test_an_interpreter_does_not_apply(project):
    result = run(project, "true", options=["--tx", "popen//python=python3"])
    assert result.rc == 4 and "option python= does not apply to --runner command" in one_line(result)


# ---- the run


def test_four_workers(project):
    result = run(project, *["test -n \"$XD_WORKER\" && sleep 0.3 # %d" % i for i in range(8)], options=["-n4"])
    assert result.rc == 0 and {t["worker"] for t in result.tests} == {"gw0", "gw1", "gw2", "gw3"}


def test_two_environments(project):
    result = run(project, *["sleep 0.1 # %d" % i for i in range(8)], options=["--tx", "popen//env:A=1", "--tx", "popen//env:A=2"])
    assert result.rc == 0 and len(result.outcomes) == 8 and {t["worker"] for t in result.tests} == {"gw0", "gw1"}


def test_lists_in_another_order(project):
    """The same lines in two folders, in another order: each line runs once, whoever numbers it how; also in a worker that did not read the list."""
    lines = ["sleep 0.05; echo %d >>ran" % i for i in range(20)]
    for folder, order in (("a", lines), ("b", lines[::-1])):
        (project.root / folder).mkdir()
        (project.root / folder / "l").write_text("\n".join(order))
    result = project.run("--runner=command", "--tx", "2*popen//chdir=a", "--tx", "2*popen//chdir=b", "--list=l", python=False)
    assert result.rc == 0, result
    ran = {folder: sorted(int(n) for n in (project.root / folder / "ran").read_text().split()) for folder in "ab"}
    assert ran["a"] and ran["b"] and sorted(ran["a"] + ran["b"]) == list(range(20))
    assert sorted(result.outcomes) == sorted(lines)


def test_lists_that_differ(project):
    # long enough for the other to come: an environment that is still on its way when another has run everything is not waited for
    for folder, line in (("a", "sleep 8; true a"), ("b", "sleep 8; true b")):
        (project.root / folder).mkdir()
        (project.root / folder / "l").write_text(line)
    result = project.run("--runner=command", "--tx", "popen//chdir=a", "--tx", "popen//chdir=b", "--list=l", python=False)
    assert result.rc != 0 and "Different tests were collected" in result.out + result.err


@pytest.mark.parametrize("option, failures", [("-x", 1), ("--maxfail=2", 2)])
def test_stops_after_failures(project, option, failures):
    result = run(project, *["exit 1 # %d" % i for i in range(20)], options=[option, "-n1"])
    assert result.rc == 1 and result.summary == {"failed": failures} and "stopping after %d failures" % failures in result.out


def test_junit(project):
    result = run(project, "echo shown; true", "./a/b.py::c; exit 2", "exit 77", options=["--junitxml=j.xml", "-n2"])
    assert result.rc == 1
    root = ElementTree.parse(str(project.root / "j.xml")).getroot()
    (suite,) = root.findall("testsuite")
    assert suite.get("name") == "command" and (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == ("3", "1", "1", "0")
    cases = {c.get("name"): c for c in suite.findall("testcase")}
    assert sorted(cases) == ["./a/b.py::c; exit 2", "echo shown; true", "exit 77"]
    assert cases["./a/b.py::c; exit 2"].find("failure").get("message") == "exited with status 2"
    assert cases["exit 77"].find("skipped").get("type") == "command.skip"
    assert "pytest" not in (project.root / "j.xml").read_text()
    assert "shown" in cases["echo shown; true"].find("system-out").text


def test_show_and_report(project):
    first = run(project, "echo gone; exit 9", "true")
    shown = project.xdctl("show")
    assert shown.rc == 1 and "FAILED echo gone; exit 9 - exited with status 9" in shown.out and "gone" in shown.out
    made = project.xdctl("report", "junit", "-o", "again.xml")
    assert made.rc in (0, 1) and "echo gone; exit 9" in (project.root / "again.xml").read_text()
    assert "1 failed" in first.out


def test_verbose(project):
    result = run(project, "true a", "exit 1", options=["-v", "-n1"])
    assert re.search(r"^\[gw0\] \[ *\d+%\] PASSED true a *$", result.out, re.M) and re.search(r"FAILED exit 1 *$", result.out, re.M)
    assert "Python" not in result.out


def test_durations_and_history(project):
    lines = ["sleep 0.3", "true"] + ["true %d" % i for i in range(20)]
    result = run(project, *lines, options=["--durations=1", "-n1"])
    assert re.search(r"0\.[3-9]\ds call +sleep 0\.3", result.out)
    again = run(project, *reversed(lines), options=["-n2"])
    assert again.tests[0]["nodeid"] != "sleep 0.3" and {t["nodeid"] for t in again.tests if t["worker"] == "gw0"} != set(lines)
    first = {}
    for t in sorted(again.tests, key=lambda t: t["start"]):
        first.setdefault(t["worker"], t["nodeid"])
    assert "sleep 0.3" in first.values()  # the longest is started first


def test_live_line(project):
    write_list(project, "sleep 3 # live")
    terminal = Terminal(project, "run", "--runner=command", "--live=always", "--list", "tests.txt", "-n1")
    assert terminal.end(30) == 0
    assert b"sleep 3 # live" in terminal.output


# ---- faults


class Slow(object):
    """A run on a terminal whose tests sleep."""

    def __init__(self, project, *lines, options=("-n2",)):
        self.project = project
        self.jsonl = str(project.path / "slow.jsonl")
        write_list(project, *lines)
        self.terminal = Terminal(project, "run", "--runner=command", "--jsonl", self.jsonl, "--list", "tests.txt", *options)
        self.root = self.terminal.process.pid

    def wait_for(self, count, words="sleep 3000"):
        found = wait_until(lambda: [p for p in [processes_named(self.root, words)] if len(p) == count], "%d tests that run" % count)[0]
        self.processes = tree(self.root)
        return found

    def end(self, seconds=30):
        rc = self.terminal.end(seconds)
        all_gone(self.processes)
        return Result(rc, self.terminal.output.decode(errors="replace"), "", None, self.jsonl)


def test_interrupt(project):
    slow = Slow(project, *["sleep 3000"] * 4, options=("-n2", "--grace=1s"))
    slow.wait_for(2)
    slow.terminal.press(b"\x03")
    result = slow.end()
    assert result.rc == 2 and "sleep 3000" in result.out


def test_interrupt_waits_for_short_tests(project):
    slow = Slow(project, "true first", *["sleep 2; echo over >$XD_WORKER.txt", "sleep 2; echo over >$XD_WORKER.txt", "true never"], options=("-n2",))
    slow.wait_for(2, "sleep 2")
    slow.terminal.press(b"\x03")
    assert slow.end().rc == 2
    assert len([n for n in os.listdir(str(project.root)) if n.startswith("gw")]) == 2


def test_killed_worker_is_blamed_on_its_test(project):
    slow = Slow(project, "sleep 3000", *["true %d" % i for i in range(10)], options=("-n1",))
    (test,) = slow.wait_for(1)
    worker = stat_of(test)[0]
    assert "--command-runner" in commands_of(worker)
    os.kill(worker, signal.SIGKILL)
    all_gone({test: stat_of(test)[2]} if stat_of(test) else {})
    result = slow.end()
    assert result.rc == 1 and result.outcomes["sleep 3000"] == "crashed" and len(result.outcomes) == 11
    assert "worker 'gw0' crashed while running 'sleep 3000': killed by SIGKILL" in result.out, result


def test_killed_agent_leaves_nothing(project):
    slow = Slow(project, "setsid sleep 3000", "sleep 3000", options=("-n2",))
    slow.wait_for(2)
    for pid in tree(slow.root):
        words = commands_of(pid)
        if "xdagent" in words.split(" ")[0] and "--command-runner" not in words:
            with contextlib.suppress(ProcessLookupError):  # the guard ends with the agent
                os.kill(pid, signal.SIGKILL)
    assert slow.end().rc != 0


def test_killed_controller_leaves_nothing(project):
    slow = Slow(project, "setsid sleep 3000", "sleep 3000", options=("-n2",))
    slow.wait_for(2)
    slow.terminal.process.kill()
    slow.terminal.process.wait()
    all_gone({p: s for p, s in slow.processes.items() if p != slow.root})


def test_suspend(project):
    """Ctrl-Z stops the tests with the run, and their time does not go on meanwhile."""
    slow = Slow(project, "sleep 3; echo over", options=("-n1", "--timeout=5", "-rP"))
    (test,) = slow.wait_for(1, "sleep 3")
    slow.terminal.press(b"\x1a")
    wait_until(lambda: stat_of(test)[1] == "T" and stat_of(slow.root)[1] == "T", "all to stop")
    time.sleep(4)
    os.kill(slow.root, signal.SIGCONT)
    result = slow.end()
    assert result.rc == 0, result


def test_pytest_is_found_by_its_name(project):
    project.write(test_a="def test_a(): pass")
    assert project.run("--runner=pytest", "-p", "no:cacheprovider").rc == 0
    result = project.run("--runner=nose")
    assert result.rc == 4 and "it is one of pytest|command" in result.err
