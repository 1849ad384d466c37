"""Names of workers (id= of a spec): tests see them, and so does whoever reads a report, now or later; and hosts that are reached by way of those
that they name (via=)."""
import json
import os
import re
import xml.etree.ElementTree as ElementTree

import pytest

from test_old_journals import keep, first_version  # noqa: F401 (a fixture)

NAMES = ["--tx=popen//id=Alpha", "--tx=popen", "--tx=popen//env:A=b//id=b.2"]  # two environments; the second worker has no name
WAYS = {"collected": ([], ""), "warm": ([], "def pytest_sessionfinish(session): pass\n"), "fresh": (["--no-fork"], "")}
# Each test waits for the first one of each other worker, so all take part.
SEEN = """
    import glob, os, pytest, time
    @pytest.mark.parametrize("n", range(12))
    def test_it(n, worker_id, request, tmp_path, record_property):
        given = (worker_id, os.environ["PYTEST_XDIST_WORKER"], request.config.workerinput["workerid"], tmp_path.parent.name.replace("popen-", ""))
        assert len(set(given)) == 1 and os.environ["PYTEST_XDIST_WORKER_COUNT"] == "3", given
        record_property("worker", worker_id)
        open("ran.%s.%d" % (worker_id, n), "w").close()
        until = time.monotonic() + 30
        while len({name.split(".")[1] for name in glob.glob("ran.*")}) < 3 and time.monotonic() < until: time.sleep(0.01)
"""


def workers(result):
    return {e["worker"] for e in result.tests}


def rebuilt(project, result, junit=None):
    """Every report that can be made from the journal again is what the run wrote, byte by byte."""
    run = result.folder.name
    with open(result.jsonl) as f:
        assert project.xdctl("report", "jsonl", run).out == f.read()
    if junit:
        assert project.xdctl("report", "junit", run).out == (project.root / junit).read_text()
    return project.xdctl("show", run, "-v").out


# ---- what a worker is called


@pytest.mark.parametrize("way", sorted(WAYS))
def test_tests_and_reports_see_the_name(project, way):
    options, conftest = WAYS[way]
    project.write(conftest=conftest, test_a=SEEN)
    result = project.run(*NAMES + options + ["-v", "--junitxml=x.xml"])
    assert result.rc == 0 and workers(result) == {"Alpha", "gw1", "b.2"}, result
    shown = rebuilt(project, result, "x.xml")
    for e in result.tests:
        n = re.search(r"\[(\d+)\]", e["nodeid"]).group(1)
        assert (project.root / ("ran.%s.%s" % (e["worker"], n))).exists()
        for text in (result.out, shown):
            assert re.search(r"^\[%s\] \[ *\d+%%\] PASSED %s *$" % (re.escape(e["worker"]), re.escape(e["nodeid"])), text, re.M), text
    assert {e["worker"] for e in result.events if e["event"] == "worker_up"} == {"Alpha", "gw1", "b.2"}
    properties = [p.get("value") for p in ElementTree.parse(str(project.root / "x.xml")).iter("property")]
    assert set(properties) == {"Alpha", "gw1", "b.2"} and len(properties) == 12


@pytest.mark.parametrize("copy", ["dict(os.environ)", "{k: v.lower() for k, v in os.environ.items()}", "{k: v.startswith('b.') for k, v in os.environ.items()}"])
def test_copies_of_the_environment_that_the_collection_made(project, copy):
    """Each worker has its own name in them, whatever was made of it."""
    project.write(test_a="""
        import os, pytest
        COPY = %s
        @pytest.mark.parametrize("n", range(9))
        def test_it(n):
            assert COPY["PYTEST_XDIST_WORKER"] == (%s)["PYTEST_XDIST_WORKER"]
        """ % (copy, copy))
    result = project.run(*NAMES)
    assert result.rc == 0 and result.summary == {"passed": 9}, result


def test_a_crash_is_blamed_on_the_name_and_the_next_worker_has_a_number(project):
    """As in pytest-xdist: nobody takes what the second one does for what the first one did."""
    project.write(test_a="""
        import os, pytest
        def test_crash(): print("last words", flush=True); os._exit(3)
        @pytest.mark.parametrize("n", range(8))
        def test_it(n, worker_id): assert worker_id != "alpha"
        """)
    result = project.run("--tx=popen//id=alpha", "-v", "--junitxml=x.xml")
    said = "worker 'alpha' crashed while running 'test_a.py::test_crash': exited with status 3"
    assert result.rc == 1 and result.summary == {"passed": 8, "crashed": 1}, result
    for line in ("[alpha] node down: exited with status 3", "replacing crashed worker alpha", said):
        assert line in result.out.splitlines(), result
    assert re.search(r"^\[alpha\] \[ *\d+%\] CRASHED test_a.py::test_crash", result.out, re.M), result
    assert re.search(r"^\[alpha\] linux -- Python", result.out, re.M), result
    assert [(e["worker"], e["replaces"]) for e in result.events if e["event"] == "worker_up"] == [("alpha", None), ("gw1", "alpha")]
    assert workers(result) == {"alpha", "gw1"}
    assert said in (project.root / "x.xml").read_text()
    assert said in rebuilt(project, result, "x.xml")


def test_no_replacement(project):
    project.write(test_a="import os\ndef test_crash(): os._exit(3)\ndef test_b(): pass\n", **{"pytest.ini": "[pytest]\naddopts = --max-worker-restart=0\n"})
    result = project.run("--tx=popen//id=alpha")
    assert result.rc == 6 and "worker alpha crashed and worker restarting disabled" in result.out, result


def test_what_a_worker_writes_and_long_tests(project):
    project.write(test_a="import os, time\ndef test_it():\n    os.write(2, b'from outside\\n')\n    time.sleep(1.6)\n")
    result = project.run("--tx=popen//id=alpha", "--slow-after=1s", "-s")
    assert result.rc == 0 and "[alpha] from outside" in result.out and re.search(r"xd: slow: test_a.py::test_it has run for 1\.\ds on alpha", result.out), result
    assert [e["worker"] for e in result.events if e["event"] == "still_running"][:1] == ["alpha"]


def test_enough_failures(project):
    """--maxfail counts those of workers with a name like all others."""
    project.write(test_a="import pytest\n@pytest.mark.parametrize('n', range(60))\ndef test_it(n): assert 0\n")
    result = project.run(*NAMES + ["--maxfail=2"])
    assert result.rc == 1 and result.summary["failed"] < 10 and re.search(r"stopping after \d failures", result.out), result


@pytest.mark.parametrize("options", [["--tx=popen//id=alpha", "--tx=popen"], ["--tx=popen", "--tx=popen//id=alpha"]], ids=["first", "second"])
def test_lists_that_differ(project, options):
    """An agent names them, too."""
    project.write(test_a="""
        import os, pytest, time
        @pytest.mark.parametrize("v", [os.environ["PYTEST_XDIST_WORKER"]])
        def test_it(v): pass
        @pytest.mark.parametrize("n", range(8))
        def test_n(n): time.sleep(0.5)
        """)
    result = project.run("--no-fork", *options)
    names = ("alpha", "gw1") if options[0].endswith("alpha") else ("gw0", "alpha")
    assert result.rc == 1 and "Different tests were collected between %s and %s" % names in result.out, result
    assert all("\n  %s: test_a.py::test_it[%s]\n" % (name, name) in result.out for name in names), result
    assert "ERROR collecting %s" % names[1] in result.out, result


def test_a_session_that_does_not_end(project):
    project.write(conftest="import time\ndef pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'): time.sleep(30)\n", test_a="def test_a(): pass\n")
    result = project.run("--tx=popen//id=alpha", "--shutdown-timeout=1s")
    assert result.rc == 1 and re.search(r"xd: warning: alpha[^\n]*: ended after 1\.\d s, which is the limit of --shutdown-timeout", result.out + result.err), result


def test_commands(project):
    (project.root / "l").write_text("".join('echo %d $XD_WORKER $XD_WORKER_COUNT >> ran\n' % n for n in range(12)) + "kill -9 $PPID\n")
    result = project.run("--runner=command", "--list=l", *NAMES + ["-v"], python=False)
    lines = [line.split() for line in (project.root / "ran").read_text().splitlines()]
    assert len(lines) == 12 and {count for _, _, count in lines} == {"3"}, lines
    at = {int(n): worker for n, worker, _ in lines}
    assert set(at.values()) >= {"Alpha", "b.2"} or len(set(at.values())) > 1, at
    for e in result.tests:
        if e["nodeid"].startswith("echo"):
            assert e["worker"] == at[int(e["nodeid"].split()[1])], result
    crash, = [e for e in result.tests if e["outcome"] == "crashed"]
    assert "worker '%s' crashed while running 'kill -9 $PPID'" % crash["worker"] in result.out, result
    rebuilt(project, result)


def test_the_order_of_the_specs(project):
    """A named worker has the place of its spec among those of its environment, and the others keep their numbers."""
    project.write(test_a=SEEN.replace("< 3", "< 4").replace("== \"3\"", "== \"4\""))
    result = project.run("--tx=2*popen", "--tx=popen//id=alpha", "--tx=popen")
    assert result.rc == 0 and workers(result) == {"gw0", "gw1", "alpha", "gw3"}, result
    assert [e["spec"] for e in result.events if e["event"] == "environment"] == ["popen"]  # it is the spec of all four


def test_one_session_without_workers(project):
    project.write(test_a="def test_it(worker_id): assert worker_id == 'master'\n")
    result = project.run("--tx=popen//id=alpha", "--dist=no")
    assert result.rc == 0, result


def test_an_environment_that_is_lost(project, tmp_path):
    project.write(test_a="""
        import os, signal, time
        def agent():
            pid = os.getpid()
            while True:
                with open("/proc/%d/stat" % pid) as f: parent = int(f.read().rpartition(")")[2].split()[1])
                with open("/proc/%d/comm" % pid) as f:
                    if f.read().strip().startswith("xdagent"): return pid
                pid = parent
        def test_it(worker_id):
            if worker_id == "alpha":
                time.sleep(1.5)
                os.kill(agent(), signal.SIGKILL)
                time.sleep(60)
        """)
    result = project.run("--tx=popen//id=alpha", "--tx=popen//env:A=b//id=beta", "--no-fork")
    lost = "test_a.py::test_it was running there (alpha)"
    if lost in result.out:
        assert result.outcomes == {"test_a.py::test_it": "passed"} and workers(result) == {"beta"}, result
    else:  # it ran on beta at once
        assert result.rc == 0 and workers(result) == {"beta"}, result


@pytest.mark.parametrize("specs,said", [
    (["popen//id=a", "popen//env:X=1//id=a"], "spec 'popen//env:X=1//id=a': id=a is that of another spec, too ('popen//id=a'): each worker needs a name of its own"),
    (["2*popen//id=a"], "id= names one worker, NUM* and cpus=auto make several"),
    (["popen//cpus=auto//id=a"], "id= names one worker, NUM* and cpus=auto make several"),
    (["popen//id=gw7"], "gw and a number are the names of workers without id="),
    (["popen//id=../a"], "id= is made of up to 64 letters, digits and any of ._-"),
    (["ssh=h//via=j"], "spec 'ssh=h//via=j': via=j: no other spec has id=j"),
    (["ssh=h//id=a//via=b", "ssh=i//id=b//via=a"], "via=b leads in a circle"),
    (["command=sh//id=c", "popen//via=c"], "via=c: that is no host of ssh="),
    (["ssh=h//installvia=j"], "installvia= is not needed: nothing has to be installed there first; leave it out"),
])
def test_one_line_for_what_cannot_be(project, specs, said):
    project.write(test_a="def test_a(): pass\n")
    for command in (["run"], ["hosts", "check"]):
        result = project.xdctl(*command + ["--tx=" + spec for spec in specs])
        assert result.rc == 4 and said in result.err and result.err.count("\n") == 1 and not result.out, (command, result)


def test_a_way_without_a_name(project):
    for args, said in ((["--px=ssh=gate"], "option --px: spec 'ssh=gate' has no id=, by which others could name it (via=)"),
                       (["--px=ssh=gate//id=a", "--tx=popen//id=a"], "id=a is that of another spec, too"), (["--px=ssh=gate//id=a//via=b"], "no other spec has id=b")):
        result = project.xdctl("run", *args)
        assert result.rc == 4 and said in result.err and result.err.count("\n") == 1 and not result.out, (args, result)
    project.write(test_a="def test_a(): pass\n", **{"pytest.ini": "[pytest]\naddopts = --px=ssh=gate//id=a\n"})
    assert project.run().rc == 0  # nobody goes that way
    result = project.xdctl("run", "--tx=popen//id=a")
    assert result.rc == 4 and result.err.startswith("xdctl: pytest.ini:2: ") and "id=a is that of another spec, too" in result.err, result


def test_hosts_check_shows_them(project):
    specs = ["--tx=popen//id=alpha", "--tx=popen", "--tx=popen//id=beta", "--tx=popen//env:A=b"]
    result = project.xdctl("hosts", "check", "--json", "--python", project.python, *specs)
    hosts = json.loads(result.out)
    assert result.rc == 0 and [(h["spec"], h["workers"], h["ids"]) for h in hosts] == [("popen", 3, ["alpha", "beta"]), ("popen//env:A=b", 1, None)], result
    lines = [line.split()[:3] for line in project.xdctl("hosts", "check", "--python", project.python, *specs).out.splitlines()]
    assert lines == [["SPEC", "IDS", "REACH"], ["popen", "alpha,beta", "ok"], ["popen//env:A=b", "-", "ok"]], lines


# ---- past runs


def test_a_journal_without_names(project, first_version):  # noqa: F811
    """Of an earlier version: its workers are called by their numbers."""
    shown = project.xdctl("show", keep(project, first_version), "-v")
    assert re.search(r"^\[gw0\] \[ *\d+%\] PASSED", shown.out, re.M), shown


def test_a_journal_that_is_cut_off(project):
    project.write(test_a=SEEN)
    result = project.run(*NAMES)
    journal = result.folder / "journal"
    data = journal.read_bytes()
    journal.write_bytes(data[:len(data) * 9 // 10])
    shown = project.xdctl("show", result.folder.name, "-v")
    assert shown.rc == 7 and re.search(r"^\[(Alpha|b\.2)\] \[ *\d+%\] PASSED", shown.out, re.M), shown
