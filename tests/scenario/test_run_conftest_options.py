"""Where and how tests run, as a project says it itself: addopts of its configuration, $PYTEST_ADDOPTS, and the options in conftest.py of py.test 1.0.

No conftest.py is imported for it: what is refused is refused before an interpreter starts."""
import json
import os
import sys

import pytest

PASSES = "def test_a(): pass\n"
# Each test says which worker it is, and what it sees there; none ends before all workers have one.
SAYS = """
import glob, json, os, sys, time, pytest

@pytest.mark.parametrize("n", range(%d))
def test_it(n, record_property, worker_id, testrun_uid, request):
    record_property("saw", json.dumps([worker_id, os.environ.get("A"), os.getcwd(), sys.flags.no_user_site]))
    mark, end = os.path.join(str(request.config.rootdir), "seen-%%s-" %% testrun_uid), time.time() + 20
    open(mark + worker_id, "w").close()
    while len(glob.glob(mark + "*")) < int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) and time.time() < end:
        time.sleep(0.01)
"""


def saw(result):
    """Of each worker: A, the current folder, whether Python has -s."""
    found = {}
    for test in result.tests:
        for report in test.get("reports", ()):
            for _, value in report.get("properties", ()):
                worker, rest = json.loads(value)[0], tuple(json.loads(value)[1:])
                assert found.setdefault(worker, rest) == rest, result
    return found


def workers(result):
    return sorted(e["worker"] for e in result.events if e["event"] == "worker_up")


def details(result):
    """The lines of -v that say what was read where."""
    return [line[4:] for line in result.out.splitlines() if line.startswith(("xd: --tx ", "xd: --px ", "xd: --dist "))]


def refused(project, said, *args, **more):
    result = project.xdctl("run", "--python", project.python, *args, **more)
    assert result.rc == 4 and not result.out and result.err.count("\n") == 1, result
    assert result.err.startswith("xdctl: " + said), result


def passes(result, count):
    assert result.rc == 0 and result.summary == {"passed": count}, result
    return result


# ---- the page of py.test 1.0, as it was typed

def test_the_conftest_of_the_page(project):
    """pytest_option_tx = ['ssh=myhost//python=python2.5', 'popen//python=python2.5'], pytest_option_dist = True"""
    (project.root / "mypkg").mkdir()
    project.write(**{"mypkg/conftest.py": "pytest_option_tx = ['ssh=myhost//python=python2.5', 'popen//python=python2.5']\npytest_option_dist = True\n",
                     "mypkg/test_a.py": PASSES})
    result = project.run("mypkg", python=False)
    assert [e["text"] for e in result.events if e["event"] == "note" and e["level"] == "detail"][:3] == [
        "--tx ssh=myhost//python=python2.5 (mypkg/conftest.py:1)", "--tx popen//python=python2.5 (mypkg/conftest.py:1)", "--dist load (mypkg/conftest.py:2)"], result
    assert result.rc == 6 and "myhost" in result.out and "python2.5" in result.out and not result.tests, result


@pytest.mark.parametrize("line", ["-d --tx popen//python=python2.4", "-d --tx 3*popen//python=python2.4", "-d --tx socket=127.0.0.1:1 --rsyncdir mypkg mypkg"])
def test_command_lines_of_the_page(project, line):
    """Of an interpreter and a server that are not there: one line says so."""
    (project.root / "mypkg").mkdir()
    project.write(**{"mypkg/test_a.py": PASSES})
    result = project.run(*line.split())
    assert result.rc == 6 and ("python2.4" in result.out or "127.0.0.1:1" in result.out + result.err) and not result.tests, result


def test_hosts_of_a_conftest_get_its_files(lab, project):
    """All of the page's mypkg/conftest.py at once: where to run, what to bring, what not."""
    hosts = lab([{"name": "myhost"}], project=project)
    if not hosts.namespaces:
        pytest.skip("names of hosts are the lab's only in namespaces")
    for folder in ("mypkg/_cache", "plugins"):
        (project.root / folder).mkdir(parents=True)
    project.write(**{"mypkg/conftest.py": "option_tx = ['ssh=myhost//id=far']\nrsyncdirs = ['.', '../plugins']\nrsyncignore = '_cache'\n",
                     "mypkg/_cache/x.py": "", "plugins/p.py": "", "mypkg/test_a.py": """
                         import os
                         here = os.path.dirname(os.path.abspath(__file__))
                         def test_a(worker_id):
                             assert worker_id == "far" and "/work/" in here
                             assert os.path.exists(os.path.join(here, "..", "plugins", "p.py")) and not os.path.exists(os.path.join(here, "_cache"))
                         """})
    passes(project.xdctl("run", "--python", "python3", "mypkg"), 1)


# ---- conftest.py

def test_specs_of_a_conftest(project):
    """The command line adds to them; -n is more than they are."""
    project.write(test_a=SAYS % 12, conftest="""
        pytest_option_tx = [
            '2*popen//env:A=b c',   # quotes are Python's
            "popen" "//id=one",
        ]
        """)
    result = passes(project.run("-v"), 12)
    assert details(result) == ["--tx 2*popen//env:A=b c (conftest.py:3)", "--tx popen//id=one (conftest.py:4)"], result
    assert workers(result) == ["gw0", "gw1", "one"] and saw(result)["gw0"][0] == "b c" and saw(result)["one"][0] is None, result
    result = passes(project.run("--tx", "popen//id=two", "test_a.py"), 12)
    assert workers(result) == ["gw0", "gw1", "one", "two"] and "--tx" not in result.out, result
    result = passes(project.run("-v", "-n", "2"), 12)
    assert workers(result) == ["gw0", "gw1"] and saw(result)["gw0"][0] is None, result
    assert "xd: --tx popen//id=one (conftest.py:4) has no effect: -n says how many workers there are" in result.out.splitlines(), result


def test_paths_count_from_the_conftest(project):
    for folder in ("sub/deep", "venv/bin"):
        (project.root / folder).mkdir(parents=True)
    program = project.root / "venv" / "bin" / "python"
    program.write_text("#!/bin/sh\nexec %s -s \"$@\"\n" % sys.executable)
    program.chmod(0o755)
    test = os.path.join(str(project.root), "sub", "deep", "test_a.py")
    project.write(**{"sub/conftest.py": "option_tx = 'popen//python=../venv/bin/python//chdir=../work'\n", "sub/deep/test_a.py": SAYS % 2})
    result = passes(project.run("-v", "-p", "no:cacheprovider", test, python=False), 2)
    assert list(saw(result).values()) == [(None, os.path.realpath(str(project.root / "work")), 1)], result
    assert details(result) == ["--tx popen//python=%s//chdir=%s (sub/conftest.py:1)" % (program, project.root / "work")], result


def test_what_cannot_be_read_is_named(project):
    """One conftest.py for each, in a folder of its own; the run goes on without them."""
    bad = {"name": "import os\noption_tx = os.name\n", "call": "def f(): return ['popen']\noption_tx = f()\n", "fstring": "a = 1\noption_tx = [f'{a}*popen']\n",
           "number": "option_tx = 3\noption_dist = 3\n", "mixed": "\npytest_option_tx = ['popen', 2]\n", "condition": "if True:\n    option_tx = ['popen']\n",
           "sum": "option_tx = ['popen'] + []\n", "changed": "option_tx = []\noption_tx.append('popen')\n"}
    fine = {"empty": "option_tx = []\n", "nothing": "option_tx = None\n", "inside": "def f():\n    option_tx = ['ssh=nowhere']\n"}
    for name, text in list(bad.items()) + list(fine.items()):
        (project.root / name).mkdir()
        project.write(**{name + "/conftest.py": text, name + "/test_%s.py" % name: PASSES})
    result = passes(project.run("--maxprocesses=1", *sorted(bad) + sorted(fine)), len(bad) + len(fine))
    noted = sorted(line for line in result.out.splitlines() if "without running it" in line)
    want = "a list of plain strings, or one string, that could be read without running it: it has no effect; write it out, or give it to xdctl run"
    lines = {"name": 2, "call": 2, "fstring": 2, "number": 1, "condition": 2, "sum": 1, "changed": 2}
    assert noted == sorted(["xd: %s/conftest.py:%d: option_tx is not %s" % (name, line, want) for name, line in lines.items()] +
                           ["xd: mixed/conftest.py:2: pytest_option_tx is not %s" % want,
                            "xd: number/conftest.py:2: option_dist is not True, False or a plain string" + want[want.index(" that could"):]]), result


@pytest.mark.parametrize("text,said", [
    ("option_tx = ['popen',\n  'popen//colour=red']\n", "conftest.py:2: bad spec 'popen//colour=red': unknown key 'colour'"),
    ("option_tx = ''\n", "conftest.py:1: bad spec '': it is empty"),
    ("option_tx = ['spec1']\n", "conftest.py:1: bad spec 'spec1': unknown key 'spec1'"),
    ("option_tx = ['popen', '2*@lab']\n", "conftest.py:1: --tx 2*@lab: a list of hosts can be named in xd.toml, in $XD_TX and on the command line"),
    ("option_tx = ['popen//id=\\u00e4']\n", "conftest.py:1: bad spec"),
    ("option_tx = ('popen//id=a',\n'popen//env:A=b//id=a')\n", "conftest.py:2: spec "),
    ("option_tx = 'socket=h:0'\n", "conftest.py:1: spec 'socket=h:0': 'h:0': the port is no number"),
    ("option_tx = 'ssh=h//via=x'\n", "conftest.py:1: spec 'ssh=h//via=x': via=x: no other spec has id=x"),
    ("option_tx = ['popen', '1024*popen']\n", "conftest.py:1: spec 'popen': 1025 workers in one environment"),
    ("\noption_dist = 'sideways'\n", "conftest.py:2: option --dist: 'sideways' is not valid"),
])
def test_bad_values_of_a_conftest(project, text, said):
    project.write(test_a=PASSES, conftest=text + "raise RuntimeError('not to be run')\n")
    refused(project, said)
    checked = project.xdctl("hosts", "check")
    assert checked.rc == 4 and checked.err.startswith("xdctl: " + said) and not checked.out, checked


def test_dist_of_a_conftest(project):
    project.write(conftest="option_dist = False\n", test_a="def test_a(request): assert not hasattr(request.config, 'workerinput')\n")
    result = passes(project.run("-v"), 1)
    assert details(result) == ["--dist no (conftest.py:1)"], result
    assert project.run("--dist=load").rc == 1
    project.write(conftest="option_dist = 'loadfile'\n", test_a="import time, pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_a(n): time.sleep(0.05)\n")
    assert len({t["worker"] for t in passes(project.run("-n2"), 8).tests}) == 1
    project.write(test_a=SAYS % 8)
    assert len(saw(passes(project.run("-n2", env={"PYTEST_ADDOPTS": "--dist=load"}), 8))) == 2


# ---- configuration files and $PYTEST_ADDOPTS

@pytest.mark.parametrize("name,text,line", [
    ("pytest.ini", "[pytest]\n# workers\naddopts = -q\n  # no: --tx ssh=nowhere\n  --tx \"2*popen//env:A=b c\" -d\n", 5),
    ("tox.ini", "[tox]\n[pytest]\naddopts = --tx='2*popen//env:A=b c'\n", 3),
    ("setup.cfg", "[metadata]\nname = x\n\n[tool:pytest]\naddopts: --tx 2*popen//env:A=b\\ c\n", 5),
    ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = [\n  '--tb=short',\n  '--tx', '2*popen//env:A=b c',\n]\n", 4),
    ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = \"\"\"\n  --tb=short\n  --tx '2*popen//env:A=b c'\n\"\"\"\n", 4),
], ids=["pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "text"])
def test_specs_of_a_configuration_file(project, name, text, line):
    project.write(test_a=SAYS % 6, **{name: text})
    result = passes(project.run("-vv"), 6)
    assert workers(result) == ["gw0", "gw1"] and {a for a, _, _ in saw(result).values()} == {"b c"}, result
    assert details(result)[0] == "--tx 2*popen//env:A=b c (%s:%d)" % (name, line), result


def test_all_places_add_up(project):
    project.write(test_a=SAYS % 12, conftest="option_tx = 'popen//id=a'\noption_dist = 'loadscope'\n", **{
        "pytest.ini": "[pytest]\naddopts = --tx popen//id=b --dist loadfile --testrunuid=mine\n",
        "test_b.py": "def test_b(testrun_uid): assert testrun_uid == 'mine'\n"})
    env = {"PYTEST_ADDOPTS": "--tx popen//id=c --dist=load"}
    result = passes(project.run("-v", "--tx=popen//id=d", env=env), 13)
    assert workers(result) == ["a", "b", "c", "d"], result
    assert details(result) == ["--tx popen//id=a (conftest.py:1)", "--tx popen//id=b (pytest.ini:2)", "--tx popen//id=c ($PYTEST_ADDOPTS)",
                               "--dist load ($PYTEST_ADDOPTS)"], result
    checked = project.xdctl("hosts", "check", "--json", "--python", project.python, env=env)
    assert [(h["spec"], h["workers"], h["ids"]) for h in json.loads(checked.out)] == [("popen", 3, ["a", "b", "c"])], checked


def test_a_configuration_that_options_choose(project):
    (project.root / "etc").mkdir()
    project.write(test_a=SAYS % 4, **{"pytest.ini": "[pytest]\naddopts = --tx popen//env:A=ini\n", "etc/other.ini": "[pytest]\naddopts = --tx popen//env:A=other\n"})
    for args, env, value in (([], {}, "ini"), (["-c", "etc/other.ini"], {}, "other"), (["-o", "addopts=--tx 'popen//env:A=o o'"], {}, "o o"),
                             (["--rootdir=etc", "--override-ini", "addopts="], {"PYTEST_ADDOPTS": "--tx popen//env:A=env"}, "env")):
        result = passes(project.run("test_a.py", *args, env=env), 4)
        assert [a for a, _, _ in saw(result).values()] == [value], (args, result)


@pytest.mark.parametrize("addopts,env,said", [
    ("-q\n  --tx popen//colour=red", {}, "pytest.ini:3: bad spec 'popen//colour=red'"),
    ("--tx 1000*popen --tx 1000*popen", {}, "pytest.ini:2: spec 'popen': 2000 workers in one environment"),
    ("--px=ssh=gate", {}, "pytest.ini:2: option --px: spec 'ssh=gate' has no id="),
    ("--dist=sideways", {}, "pytest.ini:2: option --dist: 'sideways' is not valid"),
    ("", {"PYTEST_ADDOPTS": "--tx=nix"}, "$PYTEST_ADDOPTS: bad spec 'nix'"),
], ids=str)
def test_bad_values_of_a_configuration(project, addopts, env, said):
    project.write(test_a=PASSES, **{"pytest.ini": "[pytest]\naddopts = %s\n" % addopts})
    refused(project, said, env=env)


def test_a_host_of_a_configuration_file(project):
    """Its files are brought there, by way of a command; what is named in addopts, too."""
    project.write(test_a="import os\ndef test_a(worker_id): assert worker_id == 'far' and '/work/' in os.getcwd()\n", **{
        "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider --tx 'command=env sh//id=far' --rsyncdir test_a.py --rsyncignore '*.dat'\n"})
    result = passes(project.run("-v"), 1)
    assert "test_a.py (--rsyncdir in addopts)" in result.out, result


def test_numbers_beside_specs(project):
    """-n is more than the specs of its own place and of those before it; --tx of the command line is more than -n of the configuration."""
    project.write(test_a=SAYS % 4, conftest="option_tx = 'popen//env:A=conftest'\n", **{"pytest.ini": "[pytest]\naddopts = -n 2 --tx popen//env:A=ini\n"})
    result = passes(project.run(), 4)
    assert workers(result) == ["gw0", "gw1"] and saw(result)["gw0"][0] is None, result
    result = passes(project.run("--tx", "popen//env:A=typed"), 4)
    assert saw(result) == {"gw0": ("typed", os.path.realpath(str(project.root)), 0)}, result
    project.write(test_a="def test_a(request): assert not hasattr(request.config, 'workerinput')\n")
    for options, env in (([], {"PYTEST_ADDOPTS": "-n 0"}), (["-n0"], {}), ([], {"PYTEST_ADDOPTS": "-n0 -p no:xdist"})):
        passes(project.run(*options, env=env), 1)


def test_modes_of_the_configuration_with_a_number_of_the_command_line(project):
    """It was not obeyed as soon as -n was typed."""
    project.write(test_a="import time, pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_a(n): time.sleep(0.05)\n",
                  **{"pytest.ini": "[pytest]\naddopts = --dist loadfile --maxprocesses 2\n"})
    result = passes(project.run("-n3"), 8)
    assert len({t["worker"] for t in result.tests}) == 1 and "2 workers [8 items]" in result.out, result


def test_specs_that_come_of_hooks(project):
    """They come when the environments stand: a number is obeyed, anything else refused."""
    hook = "def pytest_load_initial_conftests(args): args[:0] = ['--tx', %r]\n"
    (project.path / "plugins").mkdir()
    project.packages.append(str(project.path / "plugins"))
    project.write(test_a=PASSES)
    for spec in ("2*popen", "popen//env:A=b"):
        (project.path / "plugins" / "mine.py").write_text(hook % spec)
        result = project.run("-p", "mine")
        if spec == "2*popen":
            assert result.rc == 0 and workers(result) == ["gw0", "gw1"], result
        else:
            assert result.rc == 4 and "comes from a hook of a conftest or plugin" in result.out + result.err and not result.tests, result


def test_doctor_reads_them(project):
    project.write(test_a=PASSES, conftest="option_tx = ['2*popen//env:A=b']\n")
    told = project.xdctl("doctor", "--python", project.python)
    assert told.rc == 0 and "ok    project: --tx 2*popen//env:A=b (conftest.py:1)" in told.out.splitlines(), told
    project.write(conftest="option_tx = ['nix']\n")
    told = project.xdctl("doctor", "--python", project.python)
    assert told.rc == 6 and "FAIL  project: a run is refused: conftest.py:1: bad spec 'nix': " in told.out, told
