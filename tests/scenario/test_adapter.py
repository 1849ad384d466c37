"""Scenarios of the pytest adapter: real processes, the agent played by adapter_driver.  Run by pytest:

    python -m pytest tests/scenario/test_adapter.py
    XD_TEST_PYTHONS=/venv/a/bin/python:/venv/b/bin/python ...     the same under other interpreters and versions of pytest"""
import os
import re
import subprocess
import sys
import textwrap
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import adapter_driver as driver  # noqa: E402
from adapter_driver import Env, run, text, wire  # noqa: E402

PYTHONS = [p for p in os.environ.get("XD_TEST_PYTHONS", "").split(":") if p] or [sys.executable]


@pytest.fixture(params=PYTHONS)
def python(request):
    return request.param


@pytest.fixture
def suite(tmp_path):
    """Writes files of a suite: suite(name=source, ...), a double underscore in a name is a dot."""
    root = tmp_path / "suite"
    root.mkdir()

    def write(**files):
        for name, source in files.items():
            path = root / (name.replace("__", ".") if "__" in name else name + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(source), encoding="utf-8")
        return root
    write.root = root
    return write


def plain(python, root, *args):
    """(exit status, counts) of plain pytest."""
    env = dict((k, os.environ[k]) for k in os.environ if not k.startswith("PYTEST_"))
    done = subprocess.run([python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"] + list(args), cwd=str(root), env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.stdout.decode("utf-8", "replace")
    counts = dict((name.rstrip("s") if name.startswith("error") else name, int(n)) for n, name in re.findall(
        r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?|subtests passed)", out.strip().splitlines()[-1]))
    return done.returncode, counts


MIXED = '''
    import sys, warnings
    import pytest

    @pytest.fixture(scope="module")
    def module():
        yield 1

    def test_passes(module): pass

    def test_fails(module):
        print("to stdout")
        sys.stderr.write("to stderr\\n")
        x = 1
        assert x == 2, "the reason"

    @pytest.mark.skip(reason="not here")
    def test_skipped(): pass

    @pytest.mark.xfail(reason="known")
    def test_xfails(): assert 0

    @pytest.mark.xfail(reason="was known")
    def test_xpasses(): pass

    @pytest.mark.xfail(strict=True, reason="strict")
    def test_strict(): pass

    @pytest.mark.xfail(run=False, reason="never")
    def test_not_run(): pass

    @pytest.fixture
    def broken(): raise ValueError("broken fixture")

    def test_error(broken): pass

    @pytest.fixture
    def breaks():
        yield
        raise ValueError("breaks at teardown")

    def test_teardown_error(breaks): pass

    def test_fails_twice(breaks): assert False

    @pytest.mark.parametrize("n", range(3))
    def test_property(n, record_property): record_property("n", n)

    def test_warns(): warnings.warn("beware")

    def test_skips_inside(): pytest.skip("inside")
'''
WAYS = [(0, driver.COLLECTED), (driver.NO_COLLECTED, driver.WARM), (driver.NO_FORK, driver.FRESH)]


def report_of(env, part, when="call"):
    for worker in env.workers:
        for report in worker.reports:
            if part in env.ids[report.item] and text(report.when) == when:
                return report
    raise AssertionError("no report of %s" % part)


# ---- ways, counts, records

@pytest.mark.parametrize("flags, way", WAYS)
def test_counts_as_pytest(python, suite, flags, way):
    root = suite(test_mixed=MIXED)
    env = run([], root, python=python, flags=flags)
    assert env.collected.way == way, text(env.collected.why)
    status, counts = plain(python, root)
    assert env.counts() == counts
    assert status == 1 == max(w.done.exit_status for w in env.workers)
    assert [w.ready.same for w in env.workers] == ([1, 1] if way == driver.COLLECTED else [1, 0] if way == driver.WARM else [0, 0])
    for worker in env.workers:
        if not worker.ready.same:
            assert worker.ids == env.ids
    assert not any(worker.done.stopped for worker in env.workers)
    assert len(env.outcomes()) == len(env.ids) == sum(len(w.results) for w in env.workers)


def test_records(python, suite):
    env = run([], suite(test_mixed=MIXED), python=python)
    failed = report_of(env, "test_fails")
    assert (text(failed.category), text(failed.letter), text(failed.word)) == ("failed", "F", "FAILED")
    assert "assert x == 2" in text(failed.text) and text(failed.text).endswith("test_mixed.py:15: AssertionError\n")
    assert text(failed.message).startswith("AssertionError: the reason")
    assert text(failed.path).endswith("test_mixed.py") and failed.line == 14
    assert dict((text(s.name), text(s.value)) for s in failed.sections) == {
        "Captured stdout call": "to stdout\n", "Captured stderr call": "to stderr\n"}
    skipped = report_of(env, "test_skipped", "setup")
    assert (text(skipped.message), text(skipped.text), skipped.line) == ("not here", "", 16)
    assert text(report_of(env, "test_skips_inside").message) == "inside" and report_of(env, "test_skips_inside").line > 0
    assert text(report_of(env, "test_xfails").message) == "known" and report_of(env, "test_xfails").flags & 2
    assert text(report_of(env, "test_xpasses").message) == "was known"
    assert report_of(env, "test_strict").flags & 4
    assert report_of(env, "test_not_run", "setup").flags & 1 or report_of(env, "test_not_run", "call").flags & 1
    assert text(report_of(env, "test_error", "setup").category) == "error"
    prop = report_of(env, "test_property[2]", "teardown")
    assert [(text(p.name), text(p.value)) for p in prop.properties] == [("n", "2")]
    warnings = [w for worker in env.workers for w in worker.warnings]
    assert [text(w.category) for w in warnings] == ["UserWarning"]
    assert "UserWarning: beware" in text(warnings[0].text) and text(warnings[0].when) == "runtest"
    assert "test_warns" in env.ids[warnings[0].item]
    assert env.header[0] == "rootdir: %s" % env.cwd
    assert env.options["dist"] == ["no"] and text(env.config.rootdir) == env.cwd


def test_hot_codec_is_the_generated_one():
    sys.path.insert(0, driver.ADAPTER)
    from xd_pytest import outcome
    from xd_pytest.text import bounded, encode
    values = dict(item=1, attempt=2, outcome=3, flags=4, setup_us=5, call_us=6, teardown_us=7, position=8, start_us=9)
    assert outcome.RESULT_FRAME.pack(outcome.RESULT_BODY_BYTES, wire.RESULT, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9) == wire.pack_RESULT(**values)
    assert bounded("x" * 3000, 1000)[1] and len(bounded("x" * 3000, 1000)[0]) <= 1000
    assert encode("\udcff\udc80") == b"\xff\x80" and encode("\ud800") == b"\xed\xa0\x80"


def test_output_of_passed_tests(python, suite):
    root = suite(test_a='''
        def test_prints(): print("hello")
    ''')
    assert not run([], root, workers=1, python=python).workers[0].reports
    env = run(["-rP"], root, workers=1, python=python)
    assert text(report_of(env, "test_prints").sections[0].value) == "hello\n"
    assert env.counts() == {"passed": 1}


def test_no_capture(python, suite):
    env = run(["-s"], suite(test_a='''
        import sys
        def test_a(): print("out of a"); sys.stderr.write("err of a\\n")
        def test_b(): print("out of b")
    '''), python=python)
    assert [text(w.stdout) for w in env.workers] == ["out of a\n", "out of b\n"]
    assert text(env.workers[0].stderr) == "err of a\n"


def test_capture_is_not_shared(python, suite):
    """Workers forked from one process print at the same time; each sees its own."""
    env = run([], suite(test_a='''
        import os, subprocess, sys, pytest
        @pytest.mark.parametrize("n", range(20))
        def test_a(n, capfd, worker_id):
            os.write(1, b"mine %s\\n" % worker_id.encode())
            subprocess.call([sys.executable, "-c", "print('child')"] if n == 0 else ["true"])
            assert capfd.readouterr().out == "mine %s\\n" % worker_id + ("child\\n" if n == 0 else "")
        @pytest.mark.parametrize("n", range(20))
        def test_b(n, worker_id):
            print("b", worker_id, n)
            assert n % 2
    '''), python=python, workers=3)
    assert env.collected.way == driver.COLLECTED
    assert env.counts() == {"passed": 30, "failed": 10}
    for worker in env.workers:
        for report in worker.reports:
            if report.sections:
                assert [text(s.value) for s in report.sections] == ["b gw%d %s\n" % (
                    worker.number, env.ids[report.item].split("[")[1].rstrip("]"))]


@pytest.mark.parametrize("flags, way", WAYS)
def test_what_a_worker_sees(python, suite, flags, way):
    env = run(["-v"], suite(test_a='''
        import os, sys, pytest, random
        @pytest.mark.parametrize("n", range(2))
        def test_a(n, worker_id, testrun_uid, request, tmp_path, tmp_path_factory):
            config = request.config
            assert worker_id == "gw%d" % n == config.workerinput["workerid"] == os.environ["PYTEST_XDIST_WORKER"]
            assert testrun_uid == "0123456789abcdef0123456789abcdef" == os.environ["PYTEST_XDIST_TESTRUNUID"]
            assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2" and config.workerinput["workercount"] == 2
            assert config.workeroutput == {} and hasattr(config, "workerinput")
            assert tmp_path_factory.getbasetemp().name == "popen-" + worker_id and tmp_path.parent == tmp_path_factory.getbasetemp()
            assert os.path.basename(sys.argv[0]) == "pytest" and os.path.dirname(sys.argv[0]) in sys.path[:3]
            assert config.invocation_params.args == ("-v",)
            reporter = config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line("nothing of this is seen")
            assert reporter.verbosity == 1 and config.option.verbose == 1
            assert sys.stdin.read() == "" if not config.pluginmanager.get_plugin("capturemanager") else True
            with open(os.path.join(str(tmp_path.parent.parent), "r%d" % n), "w") as f: f.write(str(random.random()))
        def test_random(): pass
    '''), python=python, flags=flags)
    assert env.collected.way == way
    assert env.counts() == {"passed": 3}, [text(r.text) for w in env.workers for r in w.reports]
    assert not any(w.stdout or w.stderr for w in env.workers), [w.stdout + w.stderr for w in env.workers]


def test_random_differs_between_workers(python, suite):
    source = '''
        import random, pytest
        %s
        @pytest.mark.parametrize("n", range(3))
        def test_a(n, record_property): record_property("r", random.random())
    '''
    def numbers():
        env = run([], suite.root, workers=3, python=python)
        return [text(w.reports[-1].properties[0].value) for w in env.workers]
    suite(test_a=source % "")
    assert len(set(numbers())) == 3
    suite(test_a=source % "random.seed(7)")  # asked for by the suite: every worker goes on from it
    assert len(set(numbers())) == 1


def test_as_module(python, suite):
    env = run([], suite(test_a='''
        import os, sys
        def test_a(): assert sys.argv[0].endswith(os.path.join("pytest", "__main__.py")) and sys.path[0] == os.getcwd()
    '''), workers=1, python=python, flags=driver.AS_MODULE)
    assert env.counts() == {"passed": 1}


# ---- which way

@pytest.mark.parametrize("conftest, why", [
    ("import threading, time; threading.Thread(target=time.sleep, args=(30,), daemon=True).start()", "thread"),
    ("import socket; s = socket.socket()", "descriptor"),
    ("import sqlite3; db = sqlite3.connect('file.db'); db.execute('select 1 from sqlite_master')", "descriptor"),
    ("import select, os; e = select.epoll(); e.register(os.pipe()[0])", "descriptor"),
    ("import os; os.environ.get('PYTEST_XDIST_WORKER')", "worker id"),
    ("import os; copy = (tuple(os.environ.values()),)", "worker id"),
    ("def pytest_configure(config): config.workerinput['workerid']", "worker id"),
    ("def pytest_sessionstart(session): session.config.begun = open('begun', 'w').close()", "pytest_sessionstart"),
    ("def pytest_sessionfinish(session): pass", "pytest_sessionfinish"),
    ("def pytest_unconfigure(config): pass", "pytest_unconfigure"),
    ("def pytest_configure(config): config.add_cleanup(lambda: None)", "cleanup"),
    ("import subprocess; p = subprocess.Popen(['sleep', '20'])", "child"),
])
def test_warm_when_forking_could_harm(python, suite, conftest, why):
    root = suite(conftest=conftest, test_a='''
        import pytest, os
        @pytest.mark.parametrize("n", range(6))
        def test_a(n, worker_id): assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
    ''')
    env = run([], root, python=python)
    assert env.collected.way == driver.WARM and why in text(env.collected.why)
    assert env.counts() == {"passed": 6}


@pytest.mark.parametrize("conftest", ["x = 1", "import tempfile; f = open(__file__); f.close()", "import os; os.environ['A'] = os.environ.get('HOME', '')",
                                      "def pytest_configure(config): 'workerid' in getattr(config, 'workerinput', {})",
                                      "import os; copy = dict(os.environ)",
                                      "import logging; logging.getLogger().warning('hello')"])
def test_collected_when_nothing_is_against_it(python, suite, conftest):
    env = run([], suite(conftest=conftest, test_a="def test_a(): pass"), python=python)
    assert env.collected.way == driver.COLLECTED, text(env.collected.why)
    assert env.counts() == {"passed": 1}


def test_worker_count_read_while_unknown(python, suite):
    root = suite(conftest="import os; n = os.environ['PYTEST_XDIST_WORKER_COUNT']", test_a="def test_a(): pass")
    assert run([], root, python=python).collected.way == driver.COLLECTED
    assert run([], root, python=python, expected=0).collected.way == driver.WARM


# ---- sessions, fixtures, the end

@pytest.mark.parametrize("flags, way", WAYS)
def test_one_session_per_worker(python, suite, tmp_path, flags, way):
    log = tmp_path / "log"
    hooks = "" if way == driver.COLLECTED else '''
        def pytest_sessionstart(session): note("start")
        def pytest_sessionfinish(session): note("finish")
    '''
    root = suite(conftest='''
        import os, pytest, atexit
        def note(what):
            with open(%r, "a") as f: f.write("%%s %%s\\n" %% (os.environ.get("PYTEST_XDIST_WORKER"), what))
        %s
        @pytest.fixture(scope="session", autouse=True)
        def session():
            atexit.register(note, "exit")
            note("session up"); yield; note("session down")
        @pytest.fixture(scope="module")
        def module(): note("module up"); yield; note("module down")
    ''' % (str(log), hooks), test_a='''
        def test_1(module): pass
        def test_2(module): pass
        def test_3(module): pass
        def test_4(module): pass
    ''')
    env = run([], root, python=python, flags=flags)
    assert env.counts() == {"passed": 4} and env.collected.way == way
    lines = log.read_text().splitlines()
    for worker in ("gw0", "gw1"):
        mine = [line.split(" ", 1)[1] for line in lines if line.startswith(worker)]
        expected = ["session up", "module up", "module down", "session down", "exit"]
        if hooks:
            expected = ["start"] + expected[:-1] + ["finish", "exit"]
            if way == driver.FRESH and worker == "gw0":  # the collector had a session of its own
                expected = sorted(expected + ["start", "finish"])
                mine = sorted(mine)
        assert mine == expected, (worker, lines)


def test_exit_handlers_of_the_collector_run_once(python, suite, tmp_path):
    log = tmp_path / "log"
    run([], suite(conftest='''
        import atexit, os, shutil, weakref
        class Folder:
            def __init__(self):
                self.name = %r
                os.mkdir(self.name)
                weakref.finalize(self, shutil.rmtree, self.name)
        folder = Folder()
        def note():
            with open(%r, "a") as f: f.write("exit %%s\\n" %% os.path.isdir(folder.name))
        atexit.register(note)
    ''' % (str(tmp_path / "folder"), str(log)), test_a='''
        import conftest, os
        def test_a(): assert os.path.isdir(conftest.folder.name)
        def test_b(): assert os.path.isdir(conftest.folder.name)
    '''), python=python)
    assert log.read_text().splitlines() == ["exit True"]


def test_shared_basetemp_is_cleaned_up_once(python, suite, tmp_path):
    base = tmp_path / "base"
    env = run(["--basetemp=%s" % base], suite(test_a='''
        import pytest
        @pytest.mark.parametrize("n", range(4))
        def test_a(n, tmp_path): (tmp_path / "f").write_text("x")
    '''), python=python)
    assert env.counts() == {"passed": 4}
    assert sorted(p.name for p in base.iterdir()) == ["popen-gw0", "popen-gw1"]


# ---- claiming, taking back, late nextitem

SLEEPY = '''
    import pytest, time, os
    LOG = os.environ["XD_LOG"]
    def note(what):
        with open(LOG, "a") as f: f.write(what + "\\n")
    @pytest.fixture(scope="module")
    def module(): note("up"); yield; note("down")
    @pytest.mark.parametrize("n", range(6))
    def test_a(n, module):
        note("item %d" % n)
        if n == 0: time.sleep(1.0)
'''


def until_running(env, worker, item):
    env.until(lambda: env.page.get(worker.slot, driver.ITEM) == item + 1)


def test_successor_is_taken_back_from_a_long_test(python, suite, tmp_path):
    log = tmp_path / "log"
    env = Env([], suite(test_a=SLEEPY, test_b="def test_b(): pass"), python=python, workers=1, env=[("XD_LOG", str(log))]).collect()
    worker, = env.start_workers()
    worker.run([0, 1, 2])
    until_running(env, worker, 0)
    assert worker.take_back(1) == 1                 # even the promised successor
    worker.reopen(1, [5, 6], last=True)             # 6 is test_b: its module comes after
    env.until(lambda: len(worker.results) == 3)
    assert [r.item for r in worker.results] == [0, 5, 6] and [r.position for r in worker.results] == [0, 1, 2]
    env.finish()
    assert log.read_text().split("\n")[:-1] == ["up", "item 0", "item 5", "down"]


def test_nothing_comes_after_a_take_back(python, suite, tmp_path):
    log = tmp_path / "log"
    env = Env([], suite(test_a=SLEEPY), python=python, workers=1, env=[("XD_LOG", str(log))]).collect()
    worker, = env.start_workers()
    worker.run([0, 1], last=True)
    until_running(env, worker, 0)
    assert worker.take_back(1) == 1
    worker.reopen(1, [], last=True)
    env.until(lambda: len(worker.results) == 1)
    assert log.read_text().split("\n")[:-1] == ["up", "item 0", "down"]
    worker.run([3], last=True, first=1)
    env.until(lambda: len(worker.results) == 2)
    assert env.finish().by_id()["test_a.py::test_a[3]"] == "passed"


def test_claimed_stays(python, suite, tmp_path):
    env = Env([], suite(test_a=SLEEPY), python=python, workers=1, env=[("XD_LOG", str(tmp_path / "log"))]).collect()
    worker, = env.start_workers()
    worker.run([0, 1, 2])
    until_running(env, worker, 0)
    assert worker.take_back(0) == 1
    worker.reopen(1, [2], last=True)
    env.until(lambda: len(worker.results) == 2)
    assert [r.item for r in worker.results] == [0, 2]
    env.finish()


def test_no_item_starts_before_its_successor_is_known(python, suite):
    env = Env([], suite(test_a='''
        import pytest
        @pytest.mark.parametrize("n", range(3))
        def test_a(n): pass
    '''), python=python, workers=1).collect()
    worker, = env.start_workers()
    worker.run([0])
    for _ in range(6):
        env.pump(0.05)
    assert not worker.results
    worker.run([1])
    env.until(lambda: len(worker.results) == 1)
    worker.run([], last=True)
    env.until(lambda: len(worker.results) == 2)
    worker.run([2], last=True)
    env.until(lambda: len(worker.results) == 3)
    env.finish()


# ---- fixtures that outlive their item

OUTLIVING = '''
    import os, pytest, warnings
    def note(what):
        with open(os.environ["XD_LOG"], "a") as f: f.write(what + "\\n")
    @pytest.fixture(scope="session", autouse=True)
    def session(): note("session up"); yield; note("session down")
    @pytest.fixture(scope="module", autouse=True)
    def module(request):
        yield
        note("module down")
        if "fails" in request.node.name:
            print("printed by the module"); warnings.warn("warned by the module")
            assert [1] == [2]
    @pytest.fixture(autouse=True)
    def function(): yield; note("function down")
'''
RESULT_CLOSES, RESULT_OPEN, RESULT_AGAIN, REPORT_CLOSES = 4, 8, 16, 64


def outliving(suite, python, tmp_path, **files):
    env = Env([], suite(conftest=OUTLIVING, **files), python=python, workers=1, env=[("XD_LOG", str(tmp_path / "log"))]).collect()
    worker, = env.start_workers()
    return env, worker, lambda: (tmp_path / "log").read_text().splitlines()


def test_wider_fixtures_wait_for_a_successor(python, suite, tmp_path):
    env, worker, log = outliving(suite, python, tmp_path, test_a="def test_a(): pass\ndef test_b(): pass")
    worker.run([0], last=1)
    env.until(lambda: worker.results)
    first, = worker.results  # it counts at once
    assert first.flags == RESULT_OPEN and first.outcome == 1
    env.until(lambda: env.page.get(worker.slot, driver.ITEM) == 0)
    for _ in range(12):  # longer than any wait for a word of the agent
        env.pump(0.1)
    assert log() == ["session up", "function down"] and len(worker.results) == 1
    worker.run([1], last=True)
    env.until(lambda: len(worker.results) == 3)
    closing, second = worker.results[1:]
    assert (closing.item, closing.flags, closing.outcome, closing.position) == (0, RESULT_CLOSES, 1, 0) and second.flags == 0
    assert log() == ["session up", "function down", "function down", "module down", "session down"]
    worker.run([0], last=True, attempt=2)  # after a crash elsewhere
    env.until(lambda: len(worker.results) == 4)
    assert worker.results[3].flags == RESULT_AGAIN
    env.finish()


def test_none_comes_while_wider_fixtures_wait(python, suite, tmp_path):
    env, worker, log = outliving(suite, python, tmp_path, test_a="def test_a(): pass")
    worker.run([0], last=1)
    env.until(lambda: worker.results)
    worker.run([], last=True)
    env.until(lambda: len(worker.results) == 2)
    assert worker.results[1].flags == RESULT_CLOSES and log()[-2:] == ["module down", "session down"]
    assert env.finish().counts() == {"passed": 1}


def test_quit_while_wider_fixtures_wait(python, suite, tmp_path):
    env, worker, log = outliving(suite, python, tmp_path, test_a="def test_a(): pass")
    worker.run([0], last=1)
    env.until(lambda: worker.results)
    env.finish()
    assert [r.flags for r in worker.results] == [RESULT_OPEN, RESULT_CLOSES] and log()[-2:] == ["module down", "session down"]
    assert worker.done.exit_status == 0


def test_a_waiting_teardown_fails(python, suite, tmp_path):
    env, worker, log = outliving(suite, python, tmp_path, test_fails="def test_a(): pass", test_z="def test_z(): pass")
    worker.run([0], last=1)
    env.until(lambda: worker.results)
    assert not worker.reports
    worker.run([1], last=True)
    env.until(lambda: len(worker.results) == 3)
    report, = worker.reports
    assert (report.item, report.attempt, text(report.when), text(report.category), report.flags & REPORT_CLOSES) == (0, 1, "teardown", "error", 64)
    assert text(report.text).lstrip().startswith("request = <SubRequest") and "assert [1] == [2]" in text(report.text)
    assert "At index 0 diff: 1 != 2" in text(report.text)  # pytest's own words for a comparison
    assert [(text(s.name), text(s.value)) for s in report.sections] == [("Captured stdout teardown", "printed by the module\n")]
    assert ["warned by the module" in text(w.text) for w in worker.warnings] == [True]
    assert [(r.item, r.outcome, r.flags) for r in worker.results] == [(0, 1, RESULT_OPEN), (0, 6, RESULT_CLOSES), (1, 1, 0)]
    assert env.page.get(worker.slot, driver.FAILURES) == 1
    assert env.finish().counts() == {"passed": 2, "error": 1}
    assert worker.done.exit_status == 1


def test_nothing_waits_that_has_no_fixtures(python, suite):
    env = Env([], suite(test_a="class Test:\n    def test_a(self): pass\n    def test_b(self): pass"), python=python, workers=1).collect()
    worker, = env.start_workers()
    worker.run([0], last=1)
    env.until(lambda: worker.results)
    worker.run([1], last=True)
    env.until(lambda: len(worker.results) == 2)
    assert [r.flags for r in worker.results] == [0, 0]
    env.finish()


def test_stop_and_maxfail(python, suite):
    source = '''
        import pytest, time
        @pytest.mark.parametrize("n", range(100))
        def test_a(n): time.sleep(0.02); assert n != 3
    '''
    env = run(["-x"], suite(test_a=source), python=python, maxfail=1)
    assert env.counts()["failed"] == 1
    assert len(env.workers[1].results) < 45  # of 50
    down = env.workers[0].done
    assert (down.exit_status, down.stopped, text(down.reason)) == (1, 1, "stopping after 1 failures")
    assert env.workers[1].done.stopped == 0


def test_maxfail_counts_all_workers(python, suite):
    env = run([], suite(test_a='''
        import pytest, time
        @pytest.mark.parametrize("n", range(100))
        def test_a(n): time.sleep(0.02); assert n not in (3, 52)
    '''), python=python, maxfail=2)
    assert env.counts()["failed"] == 2 and sum(len(w.results) for w in env.workers) < 20


# ---- ends

def test_crash_and_replacement(python, suite):
    env = Env([], suite(test_a='''
        import os, pytest, ctypes
        def test_0(): pass
        def test_1(): os._exit(9)
        def test_2(): os.kill(os.getpid(), 11)
        def test_3(): pass
    '''), python=python, workers=3).collect()
    a, b, c = env.start_workers()
    a.run([0, 1], last=True)
    b.run([2], last=True)
    env.until(lambda: a.res not in a.open and b.res not in b.open)
    assert env.page.get(0, driver.ITEM) == 2 and env.page.get(1, driver.ITEM) == 3
    assert env.reap(a) == (9, 0) and env.reap(b) == (-1, 11)
    with open(os.path.join(env.scratch, "gw1.fault"), "rb") as f:
        assert b"Segmentation fault" in f.read()
    d = env.start_worker(3)
    env.until(lambda: d.ready)
    c.run([], last=True)
    d.run([3], last=True)
    env.until(lambda: d.results)
    assert env.finish().by_id() == {"test_a.py::test_0": "passed", "test_a.py::test_3": "passed"}


@pytest.mark.parametrize("flags, way", WAYS)
def test_pytest_exit(python, suite, flags, way):
    env = run([], suite(test_a='''
        import pytest
        def test_0(): pass
        def test_1(): pytest.exit("enough", returncode=7)
        def test_2(): pass
    '''), python=python, workers=1, flags=flags)
    done = env.workers[0].done
    assert (done.exit_status, done.stopped) == (7, 1) and "enough" in text(done.reason)
    assert [driver.OUTCOMES[r.outcome] for r in env.workers[0].results] == ["passed", "not-run"]


def test_keyboard_interrupt_and_internal_error(python, suite):
    env = run([], suite(test_a="def test_0(): raise KeyboardInterrupt"), python=python, workers=1)
    assert (env.workers[0].done.exit_status, env.workers[0].done.stopped, text(env.workers[0].done.reason)) == (2, 1, "KeyboardInterrupt")
    env = run([], suite(test_a="def test_0(): pass", conftest="def pytest_runtest_logreport(report): 1 / 0"), python=python, workers=1)
    assert env.workers[0].done.exit_status == 3 and "ZeroDivisionError" in text(env.workers[0].done.reason)


@pytest.mark.parametrize("files, args, flags", [
    ({"test_a": "def test_a(): pass", "test_b": "import nothing_like_this"}, [], 0),
    ({"test_a": "def test_a(): pass"}, ["missing.py"], 0),
    ({"test_a": "def test_a(): pass"}, ["--no-such-option"], 0),
    ({"test_a": "def test_a(): pass"}, ["test_a.py::test_b"], 0),
    ({"test_a": "x = 1"}, [], 0),
    ({"test_a": "def test_a(): pass"}, ["-k", "nothing"], 0),
    ({"test_a": "def test_a(): pass", "conftest": "1 / 0"}, [], 0),
    ({"test_a": "import pytest; pytest.exit('now', returncode=9)"}, [], 0),
    ({"test_a": "import nothing_like_this"}, ["-x"], 0),
    ({"test_a": "def test_a(): pass", "conftest": "def pytest_collection_modifyitems(): 1 / 0"}, [], 0),
    ({"test_a": "def test_a(): pass"}, ["--collect-only", "-q"], 0),
    ({"test_a": "def test_a(): pass"}, ["--version"], 0),
    ({"test_a": "def test_a(): pass"}, ["--markers"], 0),
    ({"test_a": "import nothing_like_this"}, [], driver.NO_FORK),
])
def test_collection_ends_as_in_pytest(python, suite, files, args, flags):
    root = suite(**files)
    status, _counts = plain(python, root, *args)
    env = run(args, root, python=python, flags=flags)
    assert env.failed is None
    assert env.collected.exit_status == status, text(env.host_out)
    assert not env.workers
    if "--collect-only" in args:
        assert "test_a.py::test_a" in text(env.host_out)
    if status == 4:
        assert text(env.host_out).strip()
    if status == 2:
        assert env.collected.errors or text(env.collected.stop_reason)


def test_continue_on_collection_errors(python, suite):
    env = run(["--continue-on-collection-errors"], suite(test_a="def test_a(): pass", test_b="import nothing_like_this"), python=python)
    assert env.collected.errors == 1 and env.counts() == {"passed": 1, "error": 1}
    report, = env.reports
    assert report.item == driver.NONE and text(report.when) == "collect" and text(report.nodeid) == "test_b.py"
    assert "nothing_like_this" in text(report.text)


# ---- names

def test_odd_names(python, suite):
    root = suite(test_a='''
        import pytest
        @pytest.mark.parametrize("x", [1, 2, 3, 4], ids=["\\udcff", "tab\\there", "\\x1b[31m", "\\u00e9\\U0001f600"])
        def test_a(x, record_property):
            record_property("\\ud800", "\\udc80")
            print("\\udcff")
            assert x != 1, "\\ud800"
    ''')
    env = run([], root, python=python)
    assert len(env.ids) == 4 and env.counts() == {"failed": 1, "passed": 3}
    status, counts = plain(python, root)
    assert (env.counts(), status) == (counts, 1)


def test_duplicate_ids(python, suite):
    root = suite(test_a="def test_a(): pass\n")
    env = run(["--keep-duplicates", "test_a.py", "test_a.py"], root, python=python)
    status, counts = plain(python, root, "--keep-duplicates", "test_a.py", "test_a.py")
    assert env.counts() == counts and len(env.ids) == counts["passed"]


def test_many_ids_come_in_parts(python, suite):
    env = Env([], suite(test_a='''
        import pytest
        @pytest.mark.parametrize("n", range(500), ids=["x" * 500 + str(n) for n in range(500)])
        def test_a(n): pass
    '''), python=python).collect()
    parts = [record for kind, record in env.frames if kind == wire.COLLECT_IDS]
    assert len(parts) > 3 and len(env.ids) == 500 == env.collected.count
    env.finish()


def test_locations_are_those_of_pytest(python, suite):
    """Places are found by a short cut where one is allowed."""
    root = suite(conftest='''
        def pytest_collection_modifyitems(items):
            with open(LOG, "a") as f:
                for item in items: f.write("%r\\n" % (type(item).location.func(item) if hasattr(type(item).location, "func") else item.location,))
        LOG = __file__ + ".all"
        def pytest_runtest_logstart(nodeid, location):
            with open(LOG + ".run", "a") as f: f.write("%r\\n" % (location,))
    ''', test_a='''
        import functools, pytest, unittest
        from helper import test_borrowed, Base
        def wraps(f):
            @functools.wraps(f)
            def inner(): return f()
            return inner
        def test_a(): pass
        @pytest.mark.parametrize("n", [1, 2])
        def test_b(n): pass
        @wraps
        def test_c(): pass
        class TestD(Base):
            def test_d(self): pass
            class TestE:
                @staticmethod
                def test_e(): pass
        class TestF(unittest.TestCase):
            def test_f(self): pass
        test_g = lambda: None
    ''', helper='''
        def test_borrowed(): pass
        class Base:
            def test_base(self): pass
    ''')
    env = run([], root, python=python, workers=1)
    assert env.counts() == {"passed": len(env.ids)}
    wanted = (root / "conftest.py.all").read_text().splitlines()
    assert (root / "conftest.py.all.run").read_text().splitlines() == wanted and len(wanted) == len(env.ids) > 8
    assert [e.line for e in env.entries] == [eval(w)[1] for w in wanted]
    assert [text(e.file) or env.ids[n].split("::")[0] for n, e in enumerate(env.entries)] == [eval(w)[0] for w in wanted]


def test_groups_and_lines(python, suite):
    env = run(["--dist", "loadgroup", "-n", "3"], suite(test_a='''
        import pytest, unittest
        pytestmark = pytest.mark.xdist_group("m")
        @pytest.mark.xdist_group(name="a")
        def test_a(): pass
        class TestB:
            def test_b(self): pass
        class TestC(unittest.TestCase):
            def test_c(self): pass
    '''), python=python)
    assert [text(e.group) for e in env.entries] == ["a_m", "m", "m"]
    assert [e.line for e in env.entries] == [3, 6, 8]
    assert [text(e.file) for e in env.entries] == ["", "", ""]
    assert env.options["dist"] == ["loadgroup"] and env.options["numprocesses"] == ["3"]


# ---- options, plugins

def test_xdist_options_everywhere(python, suite):
    root = suite(pytest__ini='''
        [pytest]
        addopts = -n 2 --dist loadfile --maxschedchunk 3 -p no:xdist --max-worker-restart=1 --no-loadscope-reorder
        rsyncdirs = .
        looponfailroots = .
    ''', test_a='''
        def test_a(request):
            assert request.config.option.dist == "no" and request.config.option.tx == []
    ''')
    env = run(["--tx", "popen", "--rsyncdir", ".", "--testrunuid", "u", "-d"], root, python=python)
    assert env.counts() == {"passed": 1}
    assert env.options["numprocesses"] == ["2"] and env.options["maxworkerrestart"] == ["1"] and env.options["tx"] == ["popen"]
    assert env.options["dist"] == ["load"] and env.options["loadscopereorder"] == ["0"]
    env = run(["-n", "5"], root, python=python, flags=driver.TYPED)
    assert env.options["numprocesses"] == ["5"] and env.options["dist"] == ["no"] and env.options["tx"] == []


def test_number_of_workers_from_a_hook(python, suite):
    root = suite(conftest="def pytest_xdist_auto_num_workers(config): return 7", test_a="def test_a(): pass")
    assert run(["-n", "auto"], root, python=python).options["numprocesses"] == ["7"]


def test_plugin_that_needs_the_home_session(python, suite):
    env = run([], suite(conftest="def pytest_configure_node(node): node.workerinput['x'] = 1", test_a="def test_a(): pass"), python=python)
    assert env.failed.exit_status == 4 and "conftest.py implements pytest_configure_node" in text(env.failed.text)
    env = run([], suite(conftest="def pytest_sessionstart(session): session.config.workerinput['given_by_home']"), python=python)
    assert env.failed.exit_status == 4 and "given_by_home" in text(env.failed.text)
    assert "conftest needs 'given_by_home'" in text(env.failed.text) and "Traceback" not in text(env.failed.text)
    html = "def pytest_addoption(parser): parser.addoption('--html', dest='htmlpath')"  # as pytest-html
    env = run(["--html=r.html"], suite(conftest=html, test_a="def test_a(): pass"), python=python)
    assert env.failed.exit_status == 4 and text(env.failed.text).startswith("--html (pytest-html) does its work in a controlling")
    assert run([], suite(conftest=html, test_a="def test_a(): pass"), python=python).counts() == {"passed": 1}
    env = run([], suite(conftest="def pytest_terminal_summary(): pass"), python=python)
    assert [text(n.text) for n in env.config.notes][0].startswith("conftest.py implements pytest_terminal_summary")


def test_seeds_that_a_home_session_would_give(python, suite):
    """pytest-randomly and pytest-random-order: one seed for all workers, the one that was asked for, the last one."""
    root = suite(conftest="""
        def pytest_addoption(parser):
            parser.addoption("--randomly-seed", default="default")
            parser.addoption("--random-order-seed", default="default:1")
        def pytest_configure(config):
            config.option.randomly_seed = config.workerinput["randomly_seed"]
            config.option.random_order_seed = config.workerinput["random_order_seed"]
        """, test_a="""
        import pytest
        @pytest.mark.parametrize("i", range(6))
        def test_a(i, request, record_property):
            record_property("seeds", [request.config.option.randomly_seed, request.config.option.random_order_seed])
        """)

    def seeds(*args, **more):
        env = run(list(args), root, python=python, workers=2, **more)
        assert env.counts() == {"passed": 6}
        found = set(text(p.value) for w in env.workers for r in w.reports for p in r.properties if text(p.name) == "seeds")
        assert len(found) == 1, found
        return eval(found.pop())

    assert seeds("--randomly-seed=42", "--random-order-seed=7") == ["42", "7"]
    assert seeds("--randomly-seed=last")[0] == "42"
    first = seeds(flags=driver.NO_COLLECTED)
    assert first[0] > 999 and first[1].startswith("default:") and first[1] != "default:1"
    assert seeds("--randomly-seed=last")[0] == first[0]


def test_pdb_is_refused(python, suite):
    for option in ("--pdb", "--trace"):
        env = run([option], suite(test_a="def test_a(): pass"), python=python)
        assert env.collected.exit_status == 4 and option in text(env.host_out)


def test_no_terminal_and_other_plugins_off(python, suite):
    root = suite(test_a="def test_a(): pass\ndef test_b(): assert 0")
    for args in (["-p", "no:terminal"], ["-p", "no:faulthandler", "-p", "no:logging", "-p", "no:cacheprovider", "-p", "no:warnings"],
                 ["--setup-show"], ["-qq"], ["--tb=no", "-rA"], ["--capture=sys"], ["--capture=tee-sys"], ["--color=yes"]):
        env = run(args, root, python=python)
        assert env.counts() == {"passed": 1, "failed": 1}, args
        assert ("\x1b" in text(report_of(env, "test_b").text)) == ("--color=yes" in args)


def test_custom_status(python, suite):
    env = run([], suite(conftest='''
        def pytest_report_teststatus(report):
            if report.when == "call" and report.nodeid.endswith("test_a"): return "odd", "o", ("ODD", {"red": True})
    ''', test_a="def test_a(): pass\ndef test_b(): pass"), python=python)
    assert env.counts() == {"odd": 1, "passed": 1}
    assert text(report_of(env, "test_a").word) == "ODD"


def test_subtests(python, suite):
    root = suite(test_a='''
        import unittest
        class TestA(unittest.TestCase):
            def test_a(self):
                for n in range(3):
                    with self.subTest("sub", n=n):
                        self.assertNotEqual(n, 1)
    ''')
    status, counts = plain(python, root)
    env = run([], root, python=python, workers=1)
    assert env.counts() == counts and status == 1
    if subprocess.run([python, "-c", "import _pytest.subtests"], stderr=subprocess.DEVNULL).returncode == 0:
        report, = [r for r in env.workers[0].reports if text(r.subtest) and text(r.outcome) == "failed"]
        assert text(report.subtest) == "[sub] (n='1')" or text(report.subtest) == "[sub] (n=1)"
    assert env.outcomes() == {0: "failed"}


def test_unprintable_things(python, suite):
    env = run([], suite(test_a='''
        class Bad:
            def __repr__(self): raise ValueError("no repr")
        def test_a(record_property):
            record_property("bad", Bad())
        def test_b():
            b = Bad()
            assert b == 1
        def test_c(): print("x" * 3000000); assert 0
        def test_d(record_property):
            for n in range(40): record_property("p%d" % n, "y" * 1000000)
    '''), python=python, workers=1)
    assert env.counts() == {"passed": 2, "failed": 2}
    assert report_of(env, "test_d", "teardown").flags & 8 and len(report_of(env, "test_d", "teardown").properties) == 9
    big = report_of(env, "test_c")
    assert big.flags & 8 and len(big.sections[0].value) <= 1 << 20 and b"bytes left out" in bytes(big.sections[0].value)


# ---- pytest's cache

def test_cache(python, suite):
    root = suite(test_a='''
        def test_0(): pass
        def test_1(): assert 0
        def test_2(): pass
    ''')
    run([], root, python=python)
    assert not (root / ".pytest_cache" / "v" / "cache" / "lastfailed").exists()
    ways = (driver.CACHE, False), (driver.CACHE | driver.NO_COLLECTED, False), (driver.CACHE | driver.NO_FORK, False), (driver.CACHE | driver.NO_FORK, True)
    for flags, become in ways:
        lastfailed = root / ".pytest_cache" / "v" / "cache" / "lastfailed"
        if lastfailed.exists():
            lastfailed.unlink()
        env = run([], root, python=python, flags=flags, become=become)
        assert env.counts() == {"passed": 2, "failed": 1}
        deadline = time.time() + 5
        while not (root / ".pytest_cache" / "v" / "cache" / "nodeids").exists() and time.time() < deadline:
            time.sleep(0.05)
        assert "test_a.py::test_1" in lastfailed.read_text() and "test_0" not in lastfailed.read_text(), flags
    env = run(["--lf"], root, python=python, flags=driver.CACHE)
    assert env.ids == ["test_a.py::test_1"] 
    (root / "test_a.py").write_text("def test_0(): pass\ndef test_1(): pass\ndef test_2(): pass\n")
    run([], root, python=python, flags=driver.CACHE)
    assert lastfailed.read_text().strip() == "{}"


# ---- interpreters

def test_no_pytest(tmp_path):
    bare = os.path.realpath(sys.executable)
    for name in ("python3", "/usr/bin/python3"):
        if subprocess.run([name, "-c", "import pytest"], stderr=subprocess.DEVNULL).returncode:
            bare = name
            break
    else:
        pytest.skip("every python here has pytest")
    env = run([], tmp_path, python=bare)
    assert env.failed.exit_status == 6 and "has no pytest" in text(env.failed.text) and "pip install pytest" in text(env.failed.text)


def test_old_pytest(tmp_path):
    (tmp_path / "pytest.py").write_text("__version__ = '4.5.0'\n")
    env = run([], tmp_path, env=[("PYTHONPATH", str(tmp_path))])
    assert env.failed.exit_status == 6 and "4.5.0" in text(env.failed.text) and "4.6" in text(env.failed.text)


def test_environment_and_folder(python, suite):
    root = suite(test_a='''
        import os
        def test_a(): assert os.environ["XD_GIVEN"] == "yes"
    ''')
    assert run([], root, python=python, env=[("XD_GIVEN", "yes")]).counts() == {"passed": 1}


def test_no_module_of_the_adapter_is_in_the_way(python, suite):
    """Modules of the suite that are named like ours are the suite's, and ours cannot be imported without their package."""
    names = [n[:-3] for n in os.listdir(os.path.join(driver.ADAPTER, "xd_pytest")) if n.endswith(".py") and n != "__init__.py"]
    taken, left = sorted(names)[::2], sorted(names)[1::2]
    root = suite(test_a='''
        import sys
        import pytest
        FOLDER = %r
        @pytest.mark.parametrize("name", %r)
        def test_ours(name):
            assert __import__(name).WHOSE == "the suite's"
        @pytest.mark.parametrize("name", %r)
        def test_none(name):
            with pytest.raises(ImportError):
                __import__(name)
        def test_path():
            assert FOLDER not in sys.path
            ours = [n for n, m in sys.modules.items() if (getattr(m, "__file__", None) or "").startswith(FOLDER)]
            assert "xd_pytest.main" in ours and all(n.split(".")[0] == "xd_pytest" for n in ours)
    ''' % (driver.ADAPTER, taken, left), **dict((n, "WHOSE = \"the suite's\"\n") for n in taken))
    assert run([], root, python=python).counts() == {"passed": len(names) + 1}


def test_overhead_per_test(suite):
    """What the adapter adds to a passing test: its two hooks and the frame.  A bound far above the usual, for loaded machines."""
    sys.path.insert(0, driver.ADAPTER)
    from xd_pytest.outcome import ItemReports
    from xd_pytest.owner import Owner
    from _pytest.reports import TestReport
    words = memoryview(bytearray(64 * 17)).cast("I")
    quiet = ItemReports(Owner())
    quiet.plain_status, quiet.plain_type = True, TestReport
    quiet.words, quiet.base, quiet.results = words, 16, os.open(os.devnull, os.O_WRONLY)
    reports = [TestReport("a.py::t", ("a.py", 1, "t"), {}, "passed", None, when, duration=0.001) for when in ("setup", "call", "teardown")]
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for n in range(200):
            quiet.begin(n, 1, None)
            for report in reports:
                quiet.pytest_runtest_logreport(report)
            quiet.flush(n, True)
        best = min(best, (time.perf_counter() - start) / 200)
    assert best < 20e-6, best
    os.close(quiet.results)
