"""Which hosts a run has, and what a user sees of them: --hosts, cpus=auto."""
import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT, XDCTL, junit_cases

AGENT = os.environ.get("XD_AGENT") or os.path.join(ROOT, "build", "bin", "xdagent")
SUITE = "import os, pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_it(n, worker_id): assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '%d'\n"


def ran_on(result):
    return sorted({e["worker"] for e in result.events if e["event"] == "worker_up"})


def test_a_list_of_hosts(project):
    """Together with --tx, in this order; the list counts from --work-dir."""
    project.write(test_a=SUITE % 5, **{"hosts.txt": "# all of them\n\n2/:   # this machine\n1/://env:PLACE=b\n"})
    result = project.run("--hosts", "hosts.txt", "--tx", "2*popen//env:PLACE=a", "--work-dir", project.root, cwd=str(project.path))
    assert result.rc == 0 and ran_on(result) == ["gw%d" % n for n in range(5)], result
    assert sorted(e["spec"] for e in result.events if e["event"] == "environment") == ["popen", "popen//env:PLACE=a", "popen//env:PLACE=b"], result


def test_a_list_from_standard_input(project):
    project.write(test_a=SUITE % 3)
    with open(str(project.path / "list"), "w+") as f:
        f.write("3/:\n")
        f.seek(0)
        result = project.run("--hosts=-", stdin=f)
    assert result.rc == 0 and ran_on(result) == ["gw0", "gw1", "gw2"], result


def test_a_host_that_is_named_twice(project):
    project.write(test_a=SUITE % len(os.sched_getaffinity(0)), **{"hosts.txt": "\ufeff:\r\n:   # again\r\n"})
    result = project.run("--hosts=hosts.txt")
    assert result.rc == 0 and len(ran_on(result)) == len(os.sched_getaffinity(0)), result


@pytest.mark.parametrize("text,said", [
    ("2/:\n\n0/hostA\n", "xdctl: option --hosts: hosts.txt:3: '0/hostA': the number before / is from 1 to 1024; a line is [NUM/]HOST, "),
    ("hostA//colour=red", "xdctl: option --hosts: hosts.txt:1: bad spec 'ssh=hostA//cpus=auto//colour=red': unknown key 'colour'; known are "),
    ("# nobody\n", "xdctl: option --hosts: there is no host in hosts.txt; a line is [NUM/]HOST, "),
    (None, "xdctl: option --hosts: cannot read hosts.txt: No such file or directory\n"),
])
def test_a_bad_list(project, text, said):
    project.write(test_a=SUITE % 1)
    if text is not None:
        project.write(**{"hosts.txt": text})
    result = project.xdctl("run", "--hosts", "hosts.txt")
    assert result.rc == 4 and result.err.startswith(said) and result.err.count("\n") == 1 and result.out == "", result


def test_as_many_workers_as_a_host_has_processors(project):
    """That host's number: what its agent says, as a real one does of its affinity."""
    project.write(test_a="import os, pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_it(n): pass\n")
    agent = project.path / "agent"
    agent.write_text("#!/bin/sh\nexec taskset -c 0 '%s' \"$@\"\n" % AGENT)
    agent.chmod(0o755)
    one = project.run("--agent", agent, "--tx", "popen//cpus=auto", env={"PYTEST_XDIST_AUTO_NUM_WORKERS": "7"})
    assert one.rc == 0 and ran_on(one) == ["gw0"], one
    all_of_it = project.run("--tx", "popen//cpus=auto//nice=1", "--tx", "popen")
    assert all_of_it.rc == 0 and len(ran_on(all_of_it)) == len(os.sched_getaffinity(0)) + 1, all_of_it
    both = project.run("--tx", "popen//cpus=auto", "--tx", "popen")
    assert both.rc == 4 and "cpus=auto says how many workers it has" in both.err, both


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """An interpreter without pytest."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


# What is said of an environment that fails so, and its spec.
FAILURES = {
    "no python": ("popen//python=/no/such/python", "ERROR: {spec}: python /no/such/python cannot be started: tried /no/such/python: No such file or directory\n"),
    "no pytest": ("popen//python={bare}", "ERROR: {spec}: {bare} (Python %d.%d.%d) has no pytest: run '{bare} -m ensurepip && {bare} -m pip install pytest', "
                  "or name another interpreter with --python or python=\n" % sys.version_info[:3]),
    "no folder": ("popen//chdir=/proc/there/is/none", "ERROR: {spec}: chdir=/proc/there/is/none: No such file or directory\n"),
    "no interpreter": ("popen//python=/etc/passwd", "ERROR: {spec}: python /etc/passwd cannot be started: tried /etc/passwd: Permission denied\n"),
    "dies while it collects": ("popen//env:DIES=1", "ERROR: {spec}: the process that collects the tests "),
}
GOOD = "2*popen//env:GOOD=1"
DIES = "import os\nif os.environ.get('DIES'): os._exit(3)\n\ndef test_a(): pass\ndef test_b(): pass\n"


def failing(bare, names):
    for name in names:
        spec = FAILURES[name][0].format(bare=bare)
        yield spec, FAILURES[name][1].format(bare=bare, spec=spec)


@pytest.mark.parametrize("name", [name for name in FAILURES if not name.startswith("dies")])
def test_a_run_goes_on_without_a_host_that_fails(project, bare_python, name):
    project.write(test_a=DIES)
    (spec, said), = failing(bare_python, [name])
    junit = project.path / "junit.xml"
    result = project.run("--min-workers=2", "--tx", spec, "--tx", GOOD, "--", "--junitxml=%s" % junit)
    assert result.rc == 0 and set(result.outcomes.values()) == {"passed"} and len(result.outcomes) == 2, result
    assert result.out.count(said) == 1 and ran_on(result) == ["gw0", "gw1"], result
    assert len(junit_cases(junit)) == 2 and b"<error" not in junit.read_bytes()


def test_a_run_goes_on_without_a_host_that_dies_while_it_collects(project, bare_python):
    """After it could have started its workers, and while the others' tests run: they wait for what is said of it."""
    log = project.path / "run1.jsonl"
    project.write(test_a=DIES + "\ndef test_c():\n    import time\n    while '\"env_failed\"' not in open(%r).read(): time.sleep(0.01)\n" % str(log))
    (spec, said), = failing(bare_python, ["dies while it collects"])
    result = project.run("--min-workers=2", "--tx", spec, "--tx", GOOD)
    assert result.rc == 0 and set(result.outcomes.values()) == {"passed"} and len(result.outcomes) == 3, result
    assert result.out.count(said) == 1 and "ended with status 3 while it collected test_a.py" in result.out, result


def test_a_host_that_fails_when_the_others_end(project, bare_python):
    """Their tests are over, their sessions are not: the run has what it wanted."""
    over, log, python = project.root / "over", project.path / "run1.jsonl", project.path / "slow-python"
    python.write_text("#!/bin/sh\nwhile [ ! -e '%s' ]; do sleep 0.05; done\nexec '%s' \"$@\"\n" % (over, bare_python))
    python.chmod(0o755)
    project.write(test_a=DIES, conftest="import time\n\ndef pytest_sessionfinish():\n    open(%r, 'w').close()\n    end = time.monotonic() + 5\n"
                  "    while '\"env_failed\"' not in open(%r).read() and time.monotonic() < end: time.sleep(0.01)\n" % (str(over), str(log)))
    result = project.run("--min-workers=1", "--tx", "popen//python=%s" % python, "--tx", GOOD)
    assert '"env_failed"' in log.read_text() and "has no pytest" in result.out, result
    assert result.rc == 0 and len(result.outcomes) == 2, result


def test_hosts_that_fail_are_all_named(project, bare_python):
    """By default all are wanted: one line for each, and no test is run."""
    project.write(test_a=DIES)
    bad = list(failing(bare_python, [name for name in FAILURES if not name.startswith("dies")]))  # that one's workers could start
    junit = project.path / "junit.xml"
    result = project.run("--tx", GOOD, *["--tx=" + spec for spec, _ in bad], "--", "--junitxml=%s" % junit)
    assert result.rc == 6 and not result.outcomes, result
    for spec, said in bad:
        assert result.out.count(said) == 1 and result.out.count(spec + ":") == 1, (spec, result)
    assert result.out.count("no test was run: 4 of 5 environments cannot start; --min-workers N runs without them if N workers can start\n") == 1, result
    assert "/no/such/python cannot be started" in junit.read_text() and "chdir=/proc/there/is/none" in junit.read_text()


def test_an_agent_that_dies_beside_another(project):
    """The first one to start says nothing."""
    project.write(test_a=DIES)
    agent = project.path / "agent"
    agent.write_text("#!/bin/sh\nif mkdir '%s' 2>/dev/null; then echo 'the disk is full' >&2; exit 9; fi\nexec '%s' \"$@\"\n" % (project.path / "first", AGENT))
    agent.chmod(0o755)
    specs = ["--tx=popen//env:A=1", "--tx=popen//env:A=2"]
    result = project.run("--agent", agent, "--min-workers=1", *specs)
    assert result.rc == 0 and len(result.outcomes) == 2 and ran_on(result) == ["gw0"], result
    (project.path / "first").rmdir()
    result = project.run("--agent", agent, *specs)
    line, = [line for line in result.out.splitlines() if "lost popen//env:A=" in line]
    assert result.rc == 6 and not result.outcomes and "status 9" in line and line.count("popen//env") == 1, result
    assert "1 of 2 environments cannot start" in result.out, result


def test_too_few_are_left(project, bare_python):
    project.write(test_a=DIES)
    (spec, said), = failing(bare_python, ["no pytest"])
    result = project.run("--min-workers=3", "--tx", "2*" + spec, "--tx", GOOD)
    assert result.rc == 6 and not result.outcomes and said in result.out, result
    assert result.out.count("no test was run: 2 workers can start, --min-workers wants 3\n") == 1, result
    more = project.xdctl("run", "--min-workers=5", "--tx", GOOD)
    assert more.rc == 4 and more.err == "xdctl: option --min-workers: 5 are wanted, and 2 workers are asked for\n", more


def test_a_missing_pytest_is_told_at_once(project, bare_python):
    """While another host collects: it goes on once the line has been read."""
    project.write(test_a="import os, time\nwhile not os.path.exists('told'): time.sleep(0.01)\n\ndef test_a(): pass\n")
    (spec, said), = failing(bare_python, ["no pytest"])
    process = project.start("run", "--python=" + project.python, "--min-workers=1", "--tx=popen", "--tx=" + spec)
    seen = b""
    while said.encode() not in seen:
        line = process.stdout.readline()
        assert line, (seen, process.communicate())
        seen += line
    (project.root / "told").write_text("")
    result = project.finish(process)
    assert result.rc == 0 and "1 passed" in result.out, result


def check(project, *args, **more):
    result = project.xdctl("hosts", "check", "--json", *args, **more)
    return result, json.loads(result.out) if result.rc in (0, 6) else None


def test_hosts_are_checked(project, bare_python):
    """In the order of the specs; nothing of the project is run, and no run is kept."""
    project.write(conftest="raise RuntimeError('not to be run')\n", **{"hosts.txt": "3/:\n"})
    bad = list(failing(bare_python, ["no python", "no pytest", "no folder"]))
    result, hosts = check(project, "--python", project.python, "--tx=popen//env:A=1//cpus=auto", *["--tx=" + spec for spec, _ in bad] + ["--hosts=hosts.txt"])
    assert result.rc == 6 and result.err == "", result
    assert [h["spec"] for h in hosts] == ["popen//env:A=1//cpus=auto"] + [spec for spec, _ in bad] + ["popen"]
    columns = ("reach", "key", "agent", "python", "pytest", "disk")
    assert [[h[c] for c in columns] for h in hosts] == [
        [True, None, True, True, True, True], [True, None, True, False, None, True], [True, None, True, True, False, True],
        [True, None, True, None, None, False], [True, None, True, True, True, True]], hosts
    for host, (spec, said) in zip(hosts[1:4], bad):
        assert "ERROR: %s: %s\n" % (spec, host["error"]) == said and not host["ok"], host
    good = hosts[4]
    assert good["ok"] and good["error"] is None and good["workers"] == 3 and hosts[0]["workers"] is None, good
    assert good["interpreter"] == project.python and good["framework"] == "pytest " + pytest.__version__ and good["version"] == "%d.%d.%d" % sys.version_info[:3], good
    assert good["folder"] == str(project.root) and good["cpus"] >= 1 and good["free_bytes"] > 1 << 20 and good["memory_bytes"] > 1 << 20, good
    assert not (project.path / "state").exists() or not any((project.path / "state").rglob("journal"))


def test_hosts_in_a_table(project, bare_python):
    bad = "popen//python=" + bare_python
    result = project.xdctl("hosts", "check", "--python", project.python, "--tx=popen", "--tx", bad)
    lines = result.out.splitlines()
    assert result.rc == 6 and lines[0].split() == ["SPEC", "REACH", "KEY", "AGENT", "PYTHON", "PYTEST", "DISK", "CPUS"], result
    assert lines[1].split()[:6] == ["popen", "ok", "-", "ok", "%d.%d.%d" % sys.version_info[:3], pytest.__version__], result
    assert lines[2].split()[0] == bad and lines[2].split()[5] == "FAIL" and lines[3].startswith(bad + ": %s (Python " % bare_python), result
    assert len(lines) == 5 and lines[4].startswith(bad + ": packages differ from here: ") and "pytest missing" in lines[4], result


def test_a_table_of_wide_and_odd_names(project):
    """Columns are counted as a terminal does; what it must not be sent is not."""
    specs = ["popen//env:A=\u65e5\u672c", "popen//env:A=e\u0301\u00e9", b"popen//env:A=\x1b[31mred", b"popen//env:A=\xff", "popen//env:A=plain"]
    process = subprocess.run([XDCTL, "hosts", "check", "--python", project.python] + [b"--tx=" + (s if isinstance(s, bytes) else s.encode()) for s in specs],
                             cwd=str(project.root), env=project.environment(LC_ALL="C"), stdout=subprocess.PIPE, timeout=60)
    lines = process.stdout.decode().splitlines()
    assert process.returncode == 0 and "\x1b" not in "".join(lines) and "\\x1b[31mred" in lines[3] and "\\xff" in lines[4], lines
    extra = [0, 2, -1, 0, 0, 0]  # columns that a line takes beyond its characters
    assert [line.index(word) + more for line, word, more in zip(lines, ["REACH"] + ["ok"] * 5, extra)] == [lines[0].index("REACH")] * 6, lines


@pytest.mark.parametrize("agent,said", [
    ("exit 9", "status 9"), ("exit 0", "before the agent said HELLO"), ("kill -9 $$", "SIGKILL"),
])
def test_a_host_whose_agent_does_not_answer(project, agent, said):
    program = project.path / "agent"
    program.write_text("#!/bin/sh\n%s\n" % agent)
    program.chmod(0o755)
    result, hosts = check(project, "--agent", program)
    assert result.rc == 6 and not hosts[0]["ok"] and hosts[0]["agent"] is False and said in hosts[0]["error"], result


def test_commands_need_no_interpreter(project):
    result, hosts = check(project, "--runner=command", "--tx=popen//chdir=made")
    assert result.rc == 0 and (hosts[0]["python"], hosts[0]["pytest"], hosts[0]["interpreter"]) == (None, None, None) and hosts[0]["disk"], result
    assert hosts[0]["folder"] == str(project.root / "made"), hosts


def test_wrong_usage_of_hosts(project):
    for args, said in ((["hosts"], "what to do is missing"), (["hosts", "list"], "there is no 'list'"), (["hosts", "check", "tests"], "'tests' is not an option of xd"),
                       (["hosts", "check", "--tx=popon"], "unknown key 'popon'"), (["hosts", "check", "--hosts=none"], "cannot read none")):
        result = project.xdctl(*args)
        assert result.rc == 4 and said in result.err and result.err.count("\n") == 1 and result.out == "", (args, result)


# ---- what a spec says of the far side ----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["collected", "fresh"])
def test_niceness_and_environment_are_there_before_the_interpreter_starts(project, way):
    """$PYTHONOPTIMIZE is read when Python starts, so it proves that it was there."""
    nice = min(os.nice(0) + 3, 19)
    project.write(test_a="import os, sys, pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    if os.nice(0) != %d or sys.flags.optimize != 2 or os.environ['A'] != 'b=c':\n"
                  "        pytest.fail('%%r' %% ((os.nice(0), sys.flags.optimize),))\n" % nice)
    result = project.run("--tx=2*popen//nice=3//env:PYTHONOPTIMIZE=2//env:A=b=c", *(["--no-fork"] if way == "fresh" else []))
    assert result.rc == 0 and {e["way"] for e in result.events if e["event"] == "worker_up"} == {way}, result


def test_niceness_of_commands(project):
    project.write(**{"list.txt": "test $(nice) = %d -a \"$A\" = b\n" % min(os.nice(0) + 3, 19)})
    result = project.run("--runner=command", "--list=list.txt", "--tx=popen//nice=3//env:A=b", python=False)
    assert result.rc == 0 and len(result.outcomes) == 1, result


def test_the_virtual_environment_that_a_spec_names(project, bare_python):
    """It comes before the one of the agent's environment."""
    project.write(test_a="def test_a(): pass\n")
    venv = os.path.dirname(os.path.dirname(bare_python))
    result = project.run("--tx=popen//env:VIRTUAL_ENV=" + venv, python=False, env={"VIRTUAL_ENV": sys.prefix})
    assert result.rc == 6 and "ERROR: popen//env:VIRTUAL_ENV=%s: %s (Python " % (venv, bare_python) in result.out, result


@pytest.mark.parametrize("nice", ["", "//nice=3"])
def test_the_interpreter_counts_from_the_agents_folder(project, bare_python, nice):
    """Not from chdir=; ~ is the home folder, as no shell has read it."""
    venv = os.path.dirname(os.path.dirname(bare_python))
    (project.root / "env").symlink_to(venv)
    (project.root / "sub").mkdir()
    for python, more in (("env/bin/python", {}), ("~/env/bin/python", {"HOME": str(project.root)})):
        result = project.run("--tx=popen//chdir=sub//python=" + python + nice, python=False, env=more)
        assert result.rc == 6 and "%s/env/bin/python (Python " % project.root in result.out and "has no pytest" in result.out, result
    result = project.run("--tx=popen//python=env/none" + nice, python=False)
    assert result.rc == 6 and "python env/none cannot be started: tried %s/env/none: No such file or directory" % project.root in result.out, result


def test_niceness_of_commands(project):
    project.write(**{"list.txt": "test $(nice) = %d -a \"$A\" = b\n" % min(os.nice(0) + 3, 19)})
    result = project.run("--runner=command", "--list=list.txt", "--tx=popen//nice=3//env:A=b", python=False)
    assert result.rc == 0 and len(result.outcomes) == 1, result


def test_the_virtual_environment_that_a_spec_names(project, bare_python):
    """It comes before the one of the agent's environment."""
    project.write(test_a="def test_a(): pass\n")
    venv = os.path.dirname(os.path.dirname(bare_python))
    result = project.run("--tx=popen//env:VIRTUAL_ENV=" + venv, python=False, env={"VIRTUAL_ENV": sys.prefix})
    assert result.rc == 6 and "ERROR: popen//env:VIRTUAL_ENV=%s: %s (Python " % (venv, bare_python) in result.out, result


def test_a_virtual_environment_that_is_none(project):
    """It is asked for as an interpreter is: no other takes its place."""
    project.write(test_a="def test_a(): pass\n")
    result = project.run("--tx=popen//env:VIRTUAL_ENV=/nowhere", python=False)
    assert result.rc == 6 and "env:VIRTUAL_ENV=/nowhere is no virtual environment here: tried /nowhere/bin/python: No such file or directory (python3 -m venv /nowhere makes one; " in result.out, result


VALUES = {"PYTHONHASHSEED": "1", "LD_LIBRARY_PATH": "/no where:/else", "QUOTES": "a 'b' \"c\" $d `e` \\f", "EQUALS": "a=b=c", "LINES": "a\nb\t", "EMPTY": "",
          "BYTES": b"\xff\xfe\xc3\xa4"}


@pytest.mark.parametrize("way", ["collected", "fresh", "command"])
def test_values_of_the_environment(project, way):
    """Any bytes but zero, also behind a shell, and before the interpreter starts."""
    values = dict(VALUES, TMPDIR=str(project.path), PYTHONPATH=str(project.path / "one") + ":" + str(project.path / "two"))
    project.write(test_a="""
        import os, sys, tempfile, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_it(n):
            for name, value in %r.items():
                assert os.environb[name.encode()] == (value if isinstance(value, bytes) else value.encode()), name
            assert tempfile.gettempdir() == os.environ["TMPDIR"] and hash("a") == %s and set(os.environ["PYTHONPATH"].split(":")) <= set(sys.path)
        """ % (values, subprocess.check_output([sys.executable, "-c", "print(hash('a'))"], env=dict(os.environ, PYTHONHASHSEED="1")).decode().strip()))
    entries = b"".join(b"//env:%s=%s" % (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in values.items())
    spec = b"--tx=2*popen" if way != "command" else b"--tx=2*command=env -u XDG_CACHE_HOME HOME=%s sh" % str(project.path).encode()
    process = subprocess.run([XDCTL, "run"] + (["--no-fork"] if way == "fresh" else []) + ["-p", "no:cacheprovider"] +
                             [spec + entries + b"//chdir=%s//python=%s" % (str(project.root).encode(), project.python.encode())],
                             cwd=str(project.root), env=project.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert process.returncode == 0 and b"4 passed" in process.stdout, process.stdout.decode(errors="replace")


def test_the_path_of_a_spec_finds_its_interpreter(project):
    """Also with nice=, whose program is not on it."""
    project.write(test_a="import os, sys\ndef test_a(): assert os.path.realpath(sys.prefix) == %r\n" % os.path.realpath(sys.prefix))
    for keys in ("", "//python=python3", "//python=python3//nice=19"):
        result = project.run("--tx=popen%s//env:PATH=%s" % (keys, os.path.join(sys.prefix, "bin")), python=False)
        assert result.rc == 0, (keys, result)
    result = project.run("--tx=popen//python=python9//nice=19", python=False)
    assert result.rc == 6 and "python python9 does not exist: tried PATH=" in result.out, result


def test_folders_below_home(project):
    """~ is the home of that host; folders are made with those above them."""
    project.write(**{"test_a.py": "import os\ndef test_a(): assert os.getcwd() == %r\n" % os.path.realpath(str(project.path / "a" / "b"))})
    result = project.run("--tx=popen//chdir=~/a/b", "-p", "no:cacheprovider", str(project.root / "test_a.py"), env={"HOME": str(project.path)})
    assert result.rc == 0, result
    (project.path / "py").symlink_to(project.python)
    result = project.run("--tx=popen//python=~/nothing", python=False, env={"HOME": str(project.path)})
    assert result.rc == 6 and "python ~/nothing cannot be started: tried %s/nothing: No such file or directory" % project.path in result.out, result


PROGRAMS = {
    "says nothing": ("#!/bin/sh\nexit 0\n", "does not run as a Python does: it ended with status 0", "could not start: it ended with status 0"),
    "dies": ("#!/bin/sh\nkill -11 $$\n", "was killed by SIGSEGV", "could not start: it was killed by SIGSEGV"),
    "fails": ("#!/bin/sh\necho first; echo no licence >&2; exit 3\n", "it ended with status 3; its last output: no licence", "could not start: it ended with status 3; its last output:\nfirst\nno licence"),
    "closes descriptors": ("#!%s\nimport subprocess, sys\nsys.exit(subprocess.call([sys.executable] + sys.argv[1:], close_fds=True))\n" % sys.executable,
                           "was started without the descriptors that xd gives it, as 'conda run' does: name the interpreter itself", "name the interpreter itself"),
    "is no program": ("\x7fELF and no more", "Exec format error", "Exec format error"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_interpreter_that_is_none(project, name):
    text, checked, said = PROGRAMS[name]
    program = project.path / "program"
    program.write_text(text)
    program.chmod(0o755)
    project.write(test_a="def test_a(): pass\n")
    result, hosts = check(project, "--tx=popen//python=%s" % program)
    assert result.rc == 6 and hosts[0]["python"] is False and checked in hosts[0]["error"] and "\\x0a" not in hosts[0]["error"], hosts
    run = project.run("--tx=popen//python=%s" % program, python=False)
    assert run.rc == 6 and said in run.out and "Traceback" not in run.out, run


def test_a_shell_in_front_of_the_interpreter(project):
    """One that stays, and says something."""
    program = project.path / "program"
    program.write_text("#!/bin/sh\necho activated\n%s \"$@\"\n" % sys.executable)
    program.chmod(0o755)
    project.write(test_a="def test_a(): pass\n")
    result, hosts = check(project, "--tx=popen//python=%s" % program)
    assert result.rc == 0 and hosts[0]["framework"] == "pytest " + pytest.__version__, hosts
    assert project.run("--tx=popen//python=%s" % program, python=False).rc == 0


def test_a_plugin_that_one_host_does_not_have(project):
    """pytest's own words do not name the host."""
    (project.path / "plugins").mkdir()
    (project.path / "plugins" / "mine.py").write_text("def pytest_addoption(parser): parser.addoption('--mine', action='store_true')\n")
    project.write(test_a="def test_a(): pass\n", **{"pytest.ini": "[pytest]\naddopts = --mine\n"})
    result = project.run("--tx=popen//env:PYTHONPATH=%s//env:PYTEST_PLUGINS=mine" % (project.path / "plugins"), "--tx=popen//nice=0")
    assert result.rc == 4 and "unrecognized arguments: --mine" in result.err, result
    assert "it is the pytest of popen//nice=0 that says so: if another's does not, it may have a plugin that is missing there" in result.err, result
