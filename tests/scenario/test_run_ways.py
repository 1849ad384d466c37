"""How workers are started: the right way is taken and said, and the results are the same in each; xdist's fixtures, options and modes."""
import json
import os
import subprocess
import sys

import pytest
from test_run_pythons import environment

TESTS = '''
    import os, random, pytest
    @pytest.mark.parametrize("n", range(12))
    def test_n(n, worker_id, testrun_uid, tmp_path, tmp_path_factory, request):
        assert worker_id == os.environ["PYTEST_XDIST_WORKER"] == request.config.workerinput["workerid"]
        assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "3" and request.config.workerinput["workercount"] == 3
        assert testrun_uid == os.environ["PYTEST_XDIST_TESTRUNUID"] and len(testrun_uid) == 32
        assert tmp_path_factory.getbasetemp().name == "popen-" + worker_id
        assert n != 7
        with open(os.environ["SEEN"], "a") as f:
            f.write("%s %s %s %s\\n" % (worker_id, os.getpid(), testrun_uid, random.random()))
    '''
THREAD = '''
    import threading, time
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    '''
DATABASE = '''
    import sqlite3, os
    connection = sqlite3.connect(os.path.join(os.path.dirname(__file__), "suite.db"))
    connection.execute("create table if not exists t (n)")
    '''
WORKER_ID = '''
    import os
    NAME = "db_" + os.environ["PYTEST_XDIST_WORKER"]
    '''
WORKER_INPUT = '''
    def pytest_configure(config):
        config.own_number = config.workerinput["workerid"] if hasattr(config, "workerinput") else "none"
    '''
COPIES = '''
    import wsgiref.handlers
    assert "PYTEST_XDIST_WORKER" in wsgiref.handlers.BaseHandler.os_environ
    '''
ASKS = '''
    import os
    DISTRIBUTED = "PYTEST_XDIST_WORKER" in os.environ
    assert DISTRIBUTED and "NOT_THERE" not in os.environ
    '''
START = '''
    def pytest_sessionstart(session):
        with open(__file__ + ".starts", "a") as f: f.write("x")
    '''
FINISH = '''
    def pytest_sessionfinish(session, exitstatus):
        with open(__file__ + ".finishes", "a") as f: f.write("x")
    '''
GARBAGE = '''
    class Cycle: pass
    cycle = Cycle()
    cycle.itself, cycle.file = cycle, open(__file__)
    del cycle
    '''
SOCKET = '''
    import socket
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    '''


@pytest.mark.parametrize("conftest, options, way, why", [
    ("", [], "collected", "nothing in the collected process"),
    (THREAD, [], "warm", "thread"),
    (DATABASE, [], "warm", "descriptor"),
    (SOCKET, [], "warm", "descriptor"),
    (GARBAGE, [], "collected", "nothing in the collected process"),
    (WORKER_ID, [], "warm", "worker id was read before or while collecting, from os.environ by conftest"),
    (WORKER_INPUT, [], "warm", "worker id was read"),
    (COPIES, [], "collected", "nothing in the collected process"),
    (ASKS, [], "collected", "nothing in the collected process"),
    (START, [], "warm", "pytest_sessionstart"),
    (FINISH, [], "warm", "pytest_sessionfinish"),
    ("", ["--no-fork"], "fresh", "switched off"),
], ids=["plain", "thread", "database", "socket", "garbage", "worker_id", "workerinput", "wsgiref", "asks", "sessionstart", "sessionfinish", "no_fork"])
def test_ways(project, conftest, options, way, why):
    seen = project.path / "seen"
    project.write(conftest=conftest, test_a=TESTS)
    xd = project.run(*(options + ["-n3", "-v"]), env=dict(SEEN=str(seen)))
    assert xd.rc == 1 and xd.summary == {"passed": 11, "failed": 1}, xd
    assert {e["way"] for e in xd.events if e["event"] == "worker_up"} == {way}, xd
    assert len([line for line in xd.out.splitlines() if line.startswith("xd: workers") and why in line]) == 1, xd
    assert "xd: workers" not in project.run(*(options + ["-n3"]), env=dict(SEEN=str(seen))).out  # without -v
    lines = [line.split() for line in seen.read_text().splitlines()[:11]]
    assert len({line[2] for line in lines}) == 1
    assert len({line[3] for line in lines}) == 11, "workers had the same random numbers"
    pids = {line[0]: set() for line in lines}
    for line in lines:
        pids[line[0]].add(line[1])
    assert all(len(p) == 1 for p in pids.values()) and len(set.union(*pids.values())) == len(pids)


@pytest.mark.parametrize("hook, way", [
    ("    if session.config.getoption('mine') is not None: os.environ['MINE'] = str(session.config.getoption('mine'))", "collected"),
    ("    session.config.mine = os.environ.get('MINE', 'unknown')", "collected"),
    ("    pass", "collected"),
    ("    session.config.mine = open(__file__)", "warm"),
    ("    session.config.mine = os.getpid()", "warm"),
    ("    session.config.mine = tempfile.mkdtemp()", "warm"),
    ("    import tempfile", "warm"),
    ("    session.config.mine = [os.environ for _ in range(3)]", "warm"),
    ("    session.config.mine()", "warm"),
    ("    get()", "warm"),
    ("    yield", "warm"),
], ids=lambda text: text.strip())
def test_a_start_that_carries_settings(project, hook, way):
    """Done once for all workers it is right; anything else is done in each of them."""
    project.write(conftest="""
        import os, tempfile
        import pytest
        def get(): pass
        def pytest_addoption(parser): parser.addoption("--mine")
        def pytest_configure(config): config.mine = get
        @pytest.hookimpl(%s)
        def pytest_sessionstart(session):
        %s
        """ % ("hookwrapper=True" if "yield" in hook else "", hook), test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_a(n, pytestconfig):
            assert os.environ.get("MINE") == pytestconfig.getoption("mine")
        """)
    xd = project.run("-n2", "--mine=1" if "is not None" in hook else "-v")
    assert xd.rc == 0 and xd.summary == {"passed": 4}, xd
    assert {e["way"] for e in xd.events if e["event"] == "worker_up"} == {way}, xd


def test_a_known_plugin_that_keeps_the_worker_id(project):
    """pytest-benchmark asks for it when it is configured, and looks at it at its end: each worker has its own by then."""
    info = project.root / "pytest_benchmark-5.1.0.dist-info"  # a release that the adapter knows
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-benchmark\nVersion: 5.1.0\n")
    project.write(**{"conftest": "import pytest_benchmark.session", "pytest_benchmark/__init__.py": "", "pytest_benchmark/session.py": """
        import os
        class Session(object):
            def __init__(self):
                self.worker = os.environ.get("PYTEST_XDIST_WORKER")
                self.active = bool(False or self.worker)
        SESSION = Session()
        """, "test_a": """
        import os, pytest
        from pytest_benchmark.session import SESSION
        @pytest.mark.parametrize("n", range(6))
        def test_a(n, worker_id):
            assert SESSION.active and SESSION.worker == worker_id == os.environ["PYTEST_XDIST_WORKER"]
            assert type(SESSION.worker) is str and (SESSION.worker in (None, "gw0")) == (worker_id == "gw0")
        """})
    xd = project.run("-n3")
    assert xd.rc == 0 and xd.summary == {"passed": 6}, xd
    assert {e["way"] for e in xd.events if e["event"] == "worker_up"} == {"collected"}, xd


def test_a_start_never_meets_many_finishes(project):
    project.write(conftest=START + FINISH.replace("    import", "import"), test_a="def test_a(): pass\ndef test_b(): pass")
    assert project.run("-n2").rc == 0
    starts = len((project.root / "conftest.py.starts").read_text())
    assert starts == len((project.root / "conftest.py.finishes").read_text()) >= 2


def test_session_hooks_of_a_worker_see_its_capture(project):
    """Workers capture into files of their own: nothing of one test is shown with another."""
    project.write(test_a='''
        import pytest, sys, os, logging
        @pytest.mark.parametrize("n", range(40))
        def test_n(n, capfd):
            os.write(1, b"out%d" % n)
            assert capfd.readouterr().out == "out%d" % n
        @pytest.mark.parametrize("n", range(20))
        def test_shown(n):
            print("shown-%d-" % n)
            logging.getLogger().warning("logged-%d-", n)
            assert n % 5
        ''')
    xd = project.run("-n4")
    assert xd.summary == {"passed": 56, "failed": 4}, xd
    for t in xd.tests:
        if t["outcome"] == "failed":
            n = t["nodeid"].split("[")[1].rstrip("]")
            sections = dict((name, text) for r in t["reports"] for name, text in r["sections"])
            assert sections["Captured stdout call"] == "shown-%s-\n" % n and "logged-%s-" % n in sections["Captured log call"]


@pytest.mark.parametrize("mode", ["worksteal", "loadscope", "loadfile", "loadgroup", "each", "no"])
def test_items_of_one_name_all_run(project, mode):
    """pytest-xdist keeps one of each under loadscope, loadfile and loadgroup. Plain pytest does not know the mark, and warns."""
    project.write(test_a='import pytest\n@pytest.mark.xdist_group("g")\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\n')
    args = ["-Wignore", "--keep-duplicates", "test_a.py", "test_a.py", "test_a.py"]
    how = dict(each=["--tx=2*popen"], no=["-n0"]).get(mode, ["-n2"])
    xd, plain = project.run("--dist=" + mode, *how, *args), project.plain(*args)
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) == (1, {"passed": 6, "failed": 3}), xd
    assert len(xd.tests) == 9


@pytest.mark.parametrize("mode, key", [("loadfile", lambda nodeid: nodeid.split("::")[0]), ("loadscope", lambda nodeid: nodeid.rpartition("::")[0]),
                                       ("loadgroup", lambda nodeid: nodeid.partition("@")[2])])
def test_groups_stay_together(project, mode, key):
    module = '''
        import pytest, time
        class TestA:
            @pytest.mark.parametrize("n", range(6))
            def test_a(self, n): time.sleep(0.002)
        class TestB:
            @pytest.mark.parametrize("n", range(6))
            @pytest.mark.xdist_group("shared")
            def test_b(self, n): time.sleep(0.002)
        '''
    project.write(test_x=module, test_y=module, test_z=module)
    xd = project.run("-n3", "--dist", mode)
    assert xd.summary == {"passed": 36}, xd
    where = {}
    for t in xd.tests:
        if mode == "loadgroup" and "TestB" not in t["nodeid"]:
            continue
        where.setdefault("shared" if mode == "loadgroup" else key(t["nodeid"]), set()).add(t["worker"])
    assert all(len(workers) == 1 for workers in where.values()), where
    assert len(where) == {"loadfile": 3, "loadscope": 6, "loadgroup": 1}[mode]


# ---- options in several places

def workers(result):
    return len({e["worker"] for e in result.events if e["event"] == "worker_up"})


@pytest.mark.parametrize("ini, env, options, count", [
    ("addopts = -n 3", {}, [], 3),
    ("addopts = -n 3", {}, ["-n2"], 2),
    ("addopts = -n 3 --dist loadfile", {}, [], 3),
    ("addopts = --tx 3*popen -d", {}, [], 3),
    ("", {"PYTEST_ADDOPTS": "-n 2 --maxprocesses=1"}, [], 1),
    ("", {"PYTEST_ADDOPTS": "-p no:xdist"}, ["-n2"], 2),
    ("", {}, ["-n4", "--maxprocesses=2"], 2),
    ("", {}, ["--tx", "3*popen", "-d"], 3),
    ("", {}, ["-n0"], 1),
    ("", {}, ["-q", "-n", "2", "tests"], 2),
    ("", {}, ["-n2", "--", "tests"], 2),
], ids=repr)
def test_number_of_workers(project, ini, env, options, count):
    project.write(**{"pytest.ini": "[pytest]\n" + ini + "\n", "tests/test_a.py": "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_a(n): pass\n"})
    xd = project.run(*options, env=env)
    assert xd.summary == {"passed": 9} and workers(xd) == count, xd


@pytest.mark.parametrize("env, conftest, options, count", [
    ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "5"}, "", [], 5),
    ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "5"}, "", ["-n", "auto"], 5),
    ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "5"}, "", ["-n", "logical", "--maxprocesses=4"], 4),
    ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "5"}, "", ["-n3"], 3),
    ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "5"}, "def pytest_xdist_auto_num_workers(config): return 4", [], 4),
    ({"PYTEST_ADDOPTS": "-n auto"}, "def pytest_xdist_auto_num_workers(config): return 4", [], 4),
], ids=repr)
def test_what_auto_is(project, env, conftest, options, count):
    project.write(conftest=conftest, test_a="import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_a(n): pass\n")
    xd = project.run(*options, env=env)
    assert xd.summary == {"passed": 9} and workers(xd) == count, xd


def test_bad_numbers_of_ini_and_environment(project):
    project.write(test_a="def test_a(): pass\n")
    for option in ("-n -3", "--maxprocesses=-2", "--max-worker-restart=abc"):
        (project.root / "pytest.ini").write_text("[pytest]\naddopts = %s\n" % option)
        xd = project.run()
        assert xd.rc == 4 and ("whole number" in xd.err or "argument" in xd.err), xd
    (project.root / "pytest.ini").write_text("[pytest]\n")
    xd = project.run(env=dict(PYTEST_XDIST_AUTO_NUM_WORKERS="many"))
    assert xd.rc == 0 and "PYTEST_XDIST_AUTO_NUM_WORKERS is not a number: 'many'" in xd.out, xd


def test_without_xdist(project):
    """xdist is not there: its options work all the same."""
    hide = project.path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text('''
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("xdist", "execnet"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
import importlib.metadata as metadata
everything = metadata.distributions
metadata.distributions = lambda **k: (d for d in everything(**k) if d.metadata["Name"] not in ("pytest-xdist", "execnet"))
''')
    project.write(**{"pytest.ini": "[pytest]\naddopts = -n 2 --dist loadscope\n",
                     "test_a.py": "import sys\ndef test_a(worker_id): assert worker_id[:2] == 'gw' and 'xdist' not in sys.modules\ndef test_b(): pass\n"})
    xd = project.run(env=dict(PYTHONPATH=str(hide)))
    assert xd.rc == 0 and workers(xd) == 2, xd


@pytest.mark.parametrize("ini, env", [
    ("required_plugins = pytest-xdist>=3 pytest-xdist", {}),
    ("addopts = -p xdist -p xdist.looponfail -n2", {}),
    ("addopts = -p xdist -n2", {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
    ("", {"PYTEST_PLUGINS": "xdist"}),
], ids=["required", "asked for", "no autoload", "environment"])
def test_xdist_is_asked_for(project, ini, env):
    project.write(**{"pytest.ini": "[pytest]\n" + ini + "\n", "test_a.py": "def test_a(worker_id): assert worker_id[:2] == 'gw'\ndef test_b(): pass\n"})
    xd = project.run("-n2", env=env)
    assert xd.rc == 0 and xd.summary == {"passed": 2}, xd


def test_plugins_options_are_left_to_them(project):
    project.write(conftest='''
        def pytest_addoption(parser):
            parser.addoption("--jsonl-like", default="no")
            parser.addoption("--stage", type=int)
        ''', test_a='''
        def test_a(request): assert (request.config.option.stage, request.config.getoption("--jsonl-like")) == (3, "yes")
        ''')
    assert project.run("-n2", "--stage=3", "--jsonl-like", "yes").rc == 0


def test_environments(project):
    (project.root / "sub").mkdir()
    project.write(**{"sub/test_a.py": '''
        import os
        def test_where(): assert os.path.basename(os.getcwd()) == "sub"
        def test_entry(): assert os.environ["MODE"] in "ab"
        import pytest, time
        @pytest.mark.parametrize("n", range(30))
        def test_mode(n):
            time.sleep(0.05)
            with open(os.environ["SEEN"], "a") as f: f.write(os.environ["MODE"])
        '''})
    xd = project.run("--tx", "popen//env:MODE=a//chdir=sub", "--tx", "2*popen//env:MODE=b//chdir=sub", "-d", env=dict(SEEN=str(project.path / "seen")))
    assert xd.rc == 0 and xd.summary == {"passed": 32} and workers(xd) == 3, xd
    assert set((project.path / "seen").read_text()) == {"a", "b"}


def test_a_number_overrides_specs(project):
    """As under xdist; what was typed and does not count is named."""
    project.write(test_a="def test_a(): pass\ndef test_b(): pass\n")
    xd = project.run("-n", "2", "--tx", "popen//python=nowhere", "--tx", "ssh=nowhere")
    assert xd.rc == 0 and "-n overrides --tx: nothing runs at popen//python=nowhere and 1 more" in xd.out, xd
    assert "overrides --tx" not in project.run("-n", "2").out + project.run("--tx", "popen").out


def test_two_interpreters(project):
    """The specs' own Pythons run the tests; needs a second interpreter with pytest."""
    other = environment("3.13" if sys.version_info < (3, 13) else "3.11")
    project.write(test_a="import pytest\n@pytest.mark.parametrize('n', range(30))\ndef test_a(n):\n    import time; time.sleep(0.02)\n")
    xd = project.run("--tx", "popen//python=" + sys.executable, "--tx", "popen//python=" + other)
    assert xd.rc == 0 and xd.summary == {"passed": 30} and {t["worker"] for t in xd.tests} == {"gw0", "gw1"}, xd


# ---- the process that the suite finds itself in

PROCESS = '''
    import json, os, sys
    def test_a(request):
        with open(os.environ["SEEN"], "w") as f:
            main = sys.modules["__main__"]
            json.dump([sys.path, sys.argv[0], os.getcwd(), str(request.config.rootpath), os.environ.get("PYTHONPATH"),
                       main.__file__, main.__spec__ and main.__spec__.name, main.__package__ or None], f)
    '''


@pytest.mark.parametrize("options", [[], ["--no-fork"], ["--as-module"], ["--as-module", "--no-fork"]], ids=" ".join)
@pytest.mark.parametrize("env", [{}, {"PYTHONPATH": "lib:"}, {"PYTHONSAFEPATH": "1"}], ids=repr)
def test_paths_are_those_of_plain_pytest(project, options, env):
    """sys.path, sys.argv[0], folders: as the pytest program, or python -m pytest, has them."""
    project.write(**{"tests/test_a.py": PROCESS, "pytest.ini": "[pytest]\npythonpath = src\n"})
    seen = str(project.path / "seen")
    pytest_itself = [os.path.join(os.path.dirname(sys.executable), "pytest")]
    if "--as-module" in options:
        pytest_itself = [sys.executable, "-m", "pytest"]
    subprocess.run(pytest_itself + ["tests", "-p", "no:xdist"], cwd=str(project.root), env=project.environment(SEEN=seen, **env), check=True)
    with open(seen) as f:
        plain = json.load(f)
    assert project.run(*options, "-n1", "tests", env=dict(env, SEEN=seen)).rc == 0
    with open(seen) as f:
        assert json.load(f) == plain


@pytest.mark.parametrize("options", [[], ["--no-fork"]], ids=" ".join)
def test_modules_of_the_project_stand_in_nobodys_way(project, options):
    """The folder where a run starts is not on sys.path of the pytest program: files there that are named like modules of Python are not imported."""
    names = ["socket", "logging", "random", "select", "array", "struct", "pygments", "pluggy", "_pytest"]
    project.write(**dict({"tests/test_a.py": "def test_a(): pass\n"}, **{name: "raise RuntimeError(__file__)\n" for name in names}))
    assert project.run(*options, "-n2", "tests").rc == 0


@pytest.mark.parametrize("options", [[], ["--as-module"], ["--no-fork"]], ids=" ".join)
def test_processes_that_tests_start(project, options):
    project.write(test_a='''
        import multiprocessing, concurrent.futures
        import pytest
        def double(n): return 2 * n
        @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
        def test_pool(method):
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
                assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
        ''')
    xd = project.run(*options, "-n2")
    assert xd.rc == 0 and xd.summary == {"passed": 3}, xd


# ---- what the terminal shows

def test_quiet_verbose_durations_color(project):
    project.write(test_a="import time\ndef test_slow(): time.sleep(0.06)\ndef test_a(): pass\n")
    verbose = project.run("-n2", "-v").out
    assert "PASSED test_a.py::test_a" in verbose and "[gw" in verbose
    quiet = project.run("-n2", "-q").out
    assert "test session starts" not in quiet and "2 passed in" in quiet
    slow = project.run("-n2", "--durations=1").out
    assert "slowest 1 durations" in slow and "s call     test_a.py::test_slow" in slow
    assert "\x1b[" not in verbose and "\x1b[32m" in project.run("-n2", "--color=yes").out
    project.write(test_a="def test_a(): assert 0, 'why not'\n")
    short = project.run("-n2", "--tb=line").out
    assert "test_a.py:1: AssertionError: why not" in short and "def test_a" not in short


def test_no_terminal_plugin(project):
    """-p no:terminal takes the terminal's options away from pytest, and the run goes on."""
    project.write(test_a="def test_a(request): assert not request.config.pluginmanager.has_plugin('terminalreporter')\n")
    xd = project.run("-n2", "-p", "no:terminal")
    assert xd.rc == 0 and xd.outcomes == {"test_a.py::test_a": "passed"}, xd


def test_warnings_summary(project):
    project.write(test_a="import warnings\ndef test_a(): warnings.warn('mind the gap')\ndef test_b(): warnings.warn('mind the gap')\n")
    xd, plain = project.run("-n2"), project.plain()
    assert xd.summary == plain.summary == {"passed": 2, "warning": 2}
    assert "= warnings summary =" in xd.out and xd.out.count("UserWarning: mind the gap") == plain.out.count("UserWarning: mind the gap")


def test_workers_that_would_have_nothing_to_do(project):
    """If recorded durations predict almost no work, no more workers than processors start at once; the others if the prediction was wrong."""
    cpus = len(os.sched_getaffinity(0))
    project.write(test_a='''
        import os, time, pytest
        @pytest.mark.parametrize("n", range(60))
        def test_n(n): time.sleep(float(os.environ["NAP"]))
        ''')
    wanted = "-n%d" % (cpus + 3)
    assert workers(project.run(wanted, env=dict(NAP="0"))) == cpus + 3  # nothing is predicted yet
    little = project.run(wanted, env=dict(NAP="0"))
    assert little.summary == {"passed": 60} and cpus <= workers(little) <= cpus + 3, little
    assert {t["worker"] for t in little.tests} <= {"gw%d" % n for n in range(cpus + 3)}
    wrong = project.run(wanted, env=dict(NAP="0.05"))
    assert wrong.summary == {"passed": 60} and workers(wrong) == cpus + 3, wrong


def test_last_failed_and_a_worker_that_comes_late(project):
    """A worker that collects by itself, and is at it when the others have run all there is, reads pytest's cache while it is written anew."""
    project.write(test_l="def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n", conftest="""
        import os, time
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
            time.sleep(1)
    """)
    cache = project.root / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text('{"test_l.py::test_a": true, "test_l.py::test_b": true}')
    result = project.run("--lf", "-n2")
    assert result.rc == 0 and len(result.outcomes) == 2 and "Different tests" not in result.out, result
    assert (cache / "lastfailed").read_text().strip() == "{}"
