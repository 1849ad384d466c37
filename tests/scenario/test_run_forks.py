"""What fork(2) shares or leaves behind (xd(7), "WHAT A FORK SHARES"): each entry both ways.  What is safe keeps the fastest way, all else takes the next one, -v says why;
tests pass in each."""
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig

import pytest

from test_run_pythons import environment

TESTS = '''
    import os, pytest
    @pytest.mark.parametrize("n", range(8))
    def test_n(n, worker_id): assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
    '''
NOTHING = "nothing in the collected process prevents forking it"


def ways(result):
    return {e["way"] for e in result.events if e["event"] == "worker_up"}


def reason(result):
    lines = [line for line in result.out.splitlines() if line.startswith("xd: workers")]
    assert len(lines) == 1, result
    return lines[0]


def expect(project, way, why, *options, **more):
    """A passing run whose workers start that way, for that reason."""
    xd = project.run("-n2", *(options + ("-v",)), **more)
    assert xd.rc == 0 and set(xd.summary) == {"passed"}, xd
    assert ways(xd) == {way} and why in reason(xd), xd
    return xd


# ---- native threads

STACK = ("numpy", "scipy", "pandas", "scikit-learn")
PRODUCTS = '''
    import numpy, pytest
    from conftest import A, B
    @pytest.mark.parametrize("n", range(8))
    def test_product(n): assert numpy.allclose(A @ A, B)
    def test_pool():
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(numpy.allclose(c, B) for c in pool.map(A.dot, [A, A]))
    '''


@pytest.mark.parametrize("version, packages", [
    ("3.12", STACK), ("3.13", ("numpy",)), ("3.9", ("numpy<2",)),
], ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_pools_that_end_for_a_fork(project, version, packages):
    """OpenBLAS ends its threads in a fork handler: numpy, scipy and pandas keep the fork after collection, and compute right behind it."""
    project.python = environment(version, "", *packages)
    project.write(conftest='''
        import numpy, os
        A = numpy.random.rand(300, 300)
        B = A @ A
        assert len(os.listdir("/proc/self/task")) > 1, "OpenBLAS has no pool: this tests nothing"
        %s
        ''' % ("import scipy.linalg, pandas\n        scipy.linalg.inv(A)" if "scipy" in packages else ""),
        test_a=PRODUCTS)
    expect(project, "collected", NOTHING, env=dict(OPENBLAS_NUM_THREADS="3"))


LIBRARY = r'''
#include <pthread.h>
#include <unistd.h>
static pthread_t thread;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int stop, running;
static void *run(void *arg)
{
    pthread_mutex_lock(&mutex);
    while (!stop)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}
static void end(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&mutex);
    stop = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, 0);
    running = stop = 0;
}
static void never(void) { for (;;) pause(); }
static void fail(void) { _exit(3); }
int begin(int how)
{
    if (how == 1)
        pthread_atfork(end, 0, 0);
    if (how == 2)
        pthread_atfork(0, 0, never);
    if (how == 3)
        pthread_atfork(0, 0, fail);
    running = pthread_create(&thread, 0, run, 0) == 0;
    return running;
}
'''


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "threads.c").write_text(LIBRARY)
    subprocess.run([cc, "-shared", "-fPIC", "-pthread", "-o", str(folder / "threads.so"), str(folder / "threads.c")], check=True)
    return str(folder / "threads.so")


@pytest.mark.parametrize("how, way, why", [
    (0, "warm", "collection left 1 native thread running that a fork does not end: "),
    (1, "collected", NOTHING),
    (3, "warm", "a copy of it ends with status 768"),
], ids=["goes on", "ends", "fails"])
def test_native_threads(project, library, how, way, why):
    project.write(conftest="import ctypes\nassert ctypes.CDLL(%r).begin(%d)\n" % (library, how), test_a=TESTS)
    expect(project, way, why)


def test_native_threads_of_a_real_library(project):
    """The OpenMP of gcc keeps its pool, and a child of that process waits for it for ever."""
    project.python = environment("3.12", "", *STACK)
    project.write(conftest='''
        import numpy
        from sklearn.cluster import KMeans
        POINTS = numpy.random.rand(3000, 2)
        def fit(): return KMeans(4, n_init=2, algorithm="lloyd").fit(POINTS).cluster_centers_.shape
        assert fit() == (4, 2)
        ''', test_a="from conftest import fit\ndef test_a(): assert fit() == (4, 2)\ndef test_b(): test_a()\n")
    expect(project, "warm", "native thread", env=dict(OMP_NUM_THREADS="3"))


# ---- reading the environment

LOOKS = '''
    import os, pytest
    import conftest
    @pytest.mark.parametrize("n", range(8))
    def test_copy(n, worker_id):
        found = conftest.look()
        assert (found.decode() if isinstance(found, bytes) else found) == worker_id == os.environ["PYTEST_XDIST_WORKER"]
        assert type(found) in (str, bytes)
    '''
KEY = '"PYTEST_XDIST_WORKER"'
COPIES = [  # what the suite keeps of all entries; how a test finds the worker id in it
    ("dict(os.environ)", "KEPT[%s]" % KEY),
    ("{**os.environ}", "KEPT[%s]" % KEY),
    ("os.environ.copy()", "KEPT[%s]" % KEY),
    ("dict(os.environ.items())", "KEPT[%s]" % KEY),
    ("list(os.environ.items())", "dict(KEPT)[%s]" % KEY),
    ("sorted(os.environ.items())", "dict(KEPT)[%s]" % KEY),
    ("tuple(os.environ.values())", "[v for v in KEPT if v[:2] == 'gw' and v[2:].isdigit()][0]"),
    ("list(os.environ.values())", "[v for v in KEPT if v.startswith('gw') and v[2:].isdigit()][0]"),
    ("{k: os.environ[k] for k in os.environ}", "KEPT[%s]" % KEY),
    ("{k: os.environ.get(k, '') for k in os.environ.keys()}", "KEPT[%s]" % KEY),
    ("{k.lower(): v for k, v in os.environ.items() if v != '' and not v.startswith('~')}", "KEPT[%s]" % KEY.lower()),
    ("dict(os.environb)", "KEPT[b%s]" % KEY),
    ("dict(os.environ._data)", "KEPT[b%s]" % KEY),
    ("copy.copy(os.environ)", "KEPT[%s]" % KEY),
    ("copy.deepcopy(os.environ)", "KEPT[%s]" % KEY),
    ("copy.deepcopy(dict(os.environ))", "KEPT[%s]" % KEY),
    ("collections.OrderedDict(os.environ)", "KEPT[%s]" % KEY),
    ("collections.UserDict(os.environ)", "KEPT[%s]" % KEY),
    ("collections.ChainMap({}, os.environ)", "KEPT[%s]" % KEY),
    ("types.SimpleNamespace(**os.environ)", "KEPT.PYTEST_XDIST_WORKER"),
    ("configparser.ConfigParser(os.environ, interpolation=None)", "KEPT.defaults()[%s]" % KEY.lower()),
    ("wsgiref.handlers.BaseHandler.os_environ", "KEPT[%s]" % KEY),
    ("os.environ | {}", "KEPT[%s]" % KEY),
    ("{} | os.environ", "KEPT[%s]" % KEY),
    ("[k for k, v in os.environ.items() if k.startswith('APP_')]", "os.environ[%s]" % KEY),
    ("platform.platform(), platform.uname()", "os.environ[%s]" % KEY),
    ("subprocess.check_output(['sh', '-c', 'echo $HOME'])", "os.environ[%s]" % KEY),
    ("subprocess.check_output(['sh', '-c', 'echo $HOME'], env=dict(os.environ, A='b'))", "os.environ[%s]" % KEY),
    ("subprocess.check_output(['sh', '-c', 'echo $HOME'], env=os.environ)", "os.environ[%s]" % KEY),
    ("subprocess.check_output(['sh', '-c', 'echo $HOME'], env=dict(os.environb))", "os.environ[%s]" % KEY),
    ("mock.patch.dict(os.environ, {'A': 'b'})", "KEPT._original[%s]" % KEY),
    ("%s in os.environ" % KEY, "os.environ[%s]" % KEY),
    ("posix.environ", "os.environ[%s]" % KEY),
    ("dict(CONFIG.workerinput)", "KEPT['workerid']"),
    ("CONFIG.workerinput.copy()", "KEPT['workerid']"),
]
CONFTEST = '''
    import collections, configparser, copy, ctypes, json, os, pickle, platform, posix, subprocess, types, wsgiref.handlers
    from unittest import mock
    def pytest_configure(config):
        global KEPT, CONFIG
        CONFIG = config
        KEPT = %s
        if isinstance(KEPT, mock._patch_dict):
            with KEPT: pass
        %s
    def look(): return %s
    '''


@pytest.mark.parametrize("kept, look", COPIES, ids=[kept for kept, _ in COPIES])
def test_copies_of_the_environment(project, kept, look):
    """Taking all entries is no read of the worker id, and the copy is right in each worker."""
    project.write(conftest=CONFTEST % (kept, "", look), test_a=LOOKS)
    expect(project, "collected", NOTHING, env=dict(APP_A="1"))


@pytest.mark.parametrize("kept", [
    "os.environ[%s]" % KEY, "os.environ.get(%s)" % KEY, "os.environ.get(%s, 'master')" % KEY, "os.getenv(%s)" % KEY, "os.getenvb(b%s)" % KEY,
    "os.environb[b%s]" % KEY, "os.environ.setdefault(%s, 'x')" % KEY, "os.environ.pop(%s)" % KEY, "[os.environ[k] for k in (%s,)]" % KEY,
    "['db_' + os.environ[k] for k in os.environ if k.endswith('_WORKER')]",
    "['db_%s' % v for k, v in os.environ.items() if k.endswith('_WORKER')]",
    "[f'db_{v}' for k, v in os.environ.items() if k.endswith('_WORKER')]",
    "dict(os.environ)[%s] == 'gw0'" % KEY, "os.environ.copy()[%s][2:]" % KEY, "int(dict(os.environ)[%s].replace('gw', ''))" % KEY,
    "dict(os.environb)[b%s].decode()" % KEY, "set(os.environ.values())", "repr(dict(os.environ))", "pickle.dumps(dict(os.environ))",
    "'{PYTEST_XDIST_WORKER}'.format(**os.environ)", "os.path.join('a', dict(os.environ)[%s])" % KEY,
    "CONFIG.workerinput['workerid']", "CONFIG.workerinput.get('workerid')", "dict(CONFIG.workerinput)['workerid'] + '_db'",
])
def test_questions_for_the_worker_id(project, kept):
    """Asking for the key, and making something of what a copy holds, are reads: workers are not forked from a process that did so."""
    project.write(conftest=CONFTEST % (kept, "os.environ.setdefault(%s, 'gw0')" % KEY, "os.environ[%s]" % KEY), test_a=TESTS)
    expect(project, "warm", "the worker id was read before or while collecting, from ")


@pytest.mark.parametrize("kept, look", [("(1, tuple(os.environ.values()))", "[v for v in KEPT[1] if v[:2] == 'gw' and v[2:].isdigit()][0]"),
                                        ("type('Settings', (), dict(os.environ))", "KEPT.PYTEST_XDIST_WORKER"),
                                        ("collections.deque(os.environ.items())", "dict(KEPT)[%s]" % KEY)])
def test_copies_that_cannot_be_put_right(project, kept, look):
    project.write(conftest=CONFTEST % (kept, "", look), test_a=LOOKS.replace("assert type(found) in (str, bytes)", ""))
    expect(project, "warm", "a copy of os.environ holds the worker id where no other can be put")


@pytest.mark.parametrize("kept, way", [("dict(os.environ)", "collected"), ("os.environ['PYTEST_XDIST_WORKER_COUNT']", "warm")])
def test_number_of_workers_in_copies(project, kept, way):
    """It is not known yet where an option of the ini file says it."""
    project.write(**{"pytest.ini": "[pytest]\naddopts = -n 3\n", "conftest.py": "import os\nKEPT = %s\n" % kept, "test_a.py": '''
        import os, conftest, pytest
        @pytest.mark.parametrize("n", range(9))
        def test_n(n): assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "3" and (type(conftest.KEPT) is str or conftest.KEPT["PYTEST_XDIST_WORKER_COUNT"] == "3")
        '''})
    xd = project.run("-v")
    assert xd.rc == 0 and ways(xd) == {way}, xd


def test_native_code_finds_its_own_worker(project):
    """getenv(3) in a worker."""
    project.write(test_a='''
        import ctypes, pytest
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_char_p
        @pytest.mark.parametrize("n", range(8))
        def test_n(n, worker_id): assert libc.getenv(b"PYTEST_XDIST_WORKER").decode() == worker_id
        ''')
    expect(project, "collected", NOTHING)


def test_settings_libraries(project):
    """They read what has their prefix, or copy all of it."""
    project.python = environment("3.12", "", "pydantic-settings", "python-dotenv", "environs", "django-environ")
    project.write(conftest='''
        import dotenv, environ, environs, os, pydantic_settings
        open(os.path.join(os.path.dirname(__file__), ".env"), "w").write("APP_HOST=${HOST_A}:1\\n")
        class Settings(pydantic_settings.BaseSettings, env_prefix="app_"):
            name: str
        SETTINGS = Settings()
        VALUES = dotenv.dotenv_values(os.path.join(os.path.dirname(__file__), ".env"))
        dotenv.load_dotenv(os.path.join(os.path.dirname(__file__), ".env"))
        OTHER = environs.Env()
        DJANGO = environ.Env()
        assert (SETTINGS.name, VALUES["APP_HOST"], OTHER.str("APP_HOST"), DJANGO("APP_HOST")) == ("a", "here:1", "here:1", "here:1")
        ''', test_a='''
        import conftest, pytest, pydantic_settings
        class Worker(pydantic_settings.BaseSettings, env_prefix="pytest_xdist_"):
            worker: str
        @pytest.mark.parametrize("n", range(8))
        def test_n(n, worker_id):
            assert Worker().worker == worker_id == conftest.DJANGO("PYTEST_XDIST_WORKER") == conftest.OTHER.str("PYTEST_XDIST_WORKER")
        ''')
    expect(project, "collected", NOTHING, env=dict(APP_NAME="a", HOST_A="here"))


# ---- signals

SIGNALS = r'''
    import json, os, re, subprocess
    def read(text): return dict(re.findall(r"^(Sig(?:Ign|Blk|Cgt)|ShdPnd):\s*(\w+)", text, re.M))
    def test_a():
        found = {"self": read(open("/proc/self/status").read())}
        for restore in (True, False):
            found["subprocess %s" % restore] = read(subprocess.check_output(["cat", "/proc/self/status"], universal_newlines=True, restore_signals=restore))
        readable, writable = os.pipe()
        for name, run in [("exec", lambda: os.execvp("cat", ["cat", "/proc/self/status"])), ("fork", lambda: os.write(1, open("/proc/self/status", "rb").read()))]:
            readable, writable = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.dup2(writable, 1)
                run()
                os._exit(0)
            os.close(writable)
            os.waitpid(pid, 0)
            with os.fdopen(readable) as f:
                found[name] = read(f.read())
        with open(os.environ["SEEN"], "w") as f:
            json.dump(found, f)
    '''


@pytest.mark.parametrize("conftest, options, way", [("", [], "collected"), ("def pytest_sessionfinish(): pass", [], "warm"), ("", ["--no-fork"], "fresh"),
                                                    ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\nsignal.signal(signal.SIGALRM, print)", [], "collected")],
                         ids=["collected", "warm", "fresh", "own"])
@pytest.mark.parametrize("ignored", [(), (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGQUIT)], ids=["", "nohup &"])
def test_signals_are_those_of_plain_pytest(project, conftest, options, way, ignored):
    """Of a test and of what it starts: what is ignored, blocked, caught; the same below nohup, or in the background of a script."""
    def before():
        os.setsid()  # without a terminal
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
    project.write(conftest=conftest, test_a=SIGNALS)
    seen = project.path / "seen"
    subprocess.run([project.python, "-m", "pytest", "-q", "-p", "no:xdist"], cwd=str(project.root), env=project.environment(SEEN=str(seen)), check=True, preexec_fn=before)
    plain = json.loads(seen.read_text())
    xd = project.run("-n1", *options, env=dict(SEEN=str(seen)), preexec_fn=before)
    assert xd.rc == 0 and ways(xd) == {way}, xd
    assert json.loads(seen.read_text()) == plain


# ---- the list: what the collection may leave, and what not

SAFE = {
    "memory": "TABLE = bytearray(1 << 20)",
    "private mapping": "import mmap; M = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); M[0] = 1",
    "lock of a thread": "import threading; LOCK = threading.RLock()",
    "thread that has ended": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
    "pool that was closed": "import concurrent.futures as c\nwith c.ThreadPoolExecutor(2) as p: assert list(p.map(abs, [-1, -2])) == [1, 2]",
    "semaphore that is gone": "import multiprocessing, os; L = multiprocessing.Lock(); del L",
    "child that was waited for": "import subprocess; subprocess.check_call(['true'])",
    "loop that was closed": "import asyncio; l = asyncio.new_event_loop(); l.run_until_complete(asyncio.sleep(0)); l.close()",
    "database in memory": "import sqlite3; DB = sqlite3.connect(':memory:'); DB.execute('create table t (n)')",
    "closed database": "import os, sqlite3; d = sqlite3.connect(__file__ + '.db'); d.execute('create table if not exists t (n)'); d.close()",
    "device": "F = [open(p, 'r+b', 0) for p in ('/dev/null', '/dev/zero', '/dev/urandom')]",
    "log file": "import logging; H = logging.FileHandler(__file__ + '.log'); logging.getLogger('own').addHandler(H); logging.getLogger('own').error('x')",
    "selector without entries": "import selectors, select; S = selectors.EpollSelector(); E = select.epoll()",
    "timer that was stopped": "import signal; signal.alarm(60); signal.alarm(0)",
    "signal handler": "import signal; signal.signal(signal.SIGUSR1, print); signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "signal mask": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])",
    "folder, umask, limits": "import os, resource; os.umask(0o27); s, h = resource.getrlimit(resource.RLIMIT_CORE); resource.setrlimit(resource.RLIMIT_CORE, (0, h))",
    "niceness": "import os; os.nice(1)",
    "name of the process": "import ctypes; ctypes.CDLL(None).prctl(15, b'suite', 0, 0, 0)",
    "tracing": "import sys; sys.setprofile(lambda *a: None)",
    "faulthandler": "import faulthandler; faulthandler.enable()",
    "fork handlers": "import os; os.register_at_fork(before=lambda: None, after_in_child=lambda: None)",
}
UNSAFE = {
    "process lock": ("import multiprocessing; LOCK = multiprocessing.RLock()", "left shared memory mapped: /dev/shm/sem."),
    "process queue": ("import multiprocessing; QUEUE = multiprocessing.Queue()", "left "),
    "process value": ("import multiprocessing; VALUE = multiprocessing.Value('i')", "left "),
    "raw value": ("import multiprocessing.sharedctypes as s; VALUE = s.RawValue('i')", "left "),
    "shared memory": ("from multiprocessing import shared_memory, resource_tracker; S = shared_memory.SharedMemory(create=True, size=64); S.unlink()", "left "),
    "anonymous mapping": ("import mmap; M = mmap.mmap(-1, 4096)", "left shared memory mapped: /dev/zero"),
    "file mapping": ("import mmap, os; f = open(__file__ + '.m', 'w+b'); f.truncate(4096); M = mmap.mmap(os.dup(f.fileno()), 4096); f.close()", "left "),
    "memory left out": ("import mmap; M = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); M.madvise(mmap.MADV_DONTFORK)", "left memory that a fork does not copy"),
    "locked memory": ("import ctypes, mmap; M = ctypes.create_string_buffer(8192); assert ctypes.CDLL(None).mlock(M, 4096) == 0", "locked memory"),
    "thread": ("import threading; E = threading.Event(); threading.Thread(target=E.wait, name='waits', daemon=True).start()", "left a thread running: waits"),
    "low thread": ("import _thread, time; _thread.start_new_thread(time.sleep, (3600,))", "native thread"),
    "watchdog": ("import faulthandler; faulthandler.dump_traceback_later(3600)", "native thread"),
    "alarm": ("import signal; signal.signal(signal.SIGALRM, print); signal.alarm(3600)", "left a timer running: ITIMER_REAL"),
    "interval timer": ("import signal; signal.setitimer(signal.ITIMER_PROF, 3600)", "left a timer running: ITIMER_PROF"),
    "posix timer": ("import ctypes; t = ctypes.c_void_p(); assert ctypes.CDLL('librt.so.1').timer_create(1, None, ctypes.byref(t)) == 0", "left a POSIX timer"),
    "pending signal": ("import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1)", "left a signal pending"),
    "handler of SIGCHLD": ("import signal; signal.signal(signal.SIGCHLD, lambda *a: None)", "set a handler for SIGCHLD"),
    "ignored SIGCHLD": ("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "set a handler for SIGCHLD"),
    "child": ("import subprocess; P = subprocess.Popen(['sleep', '3600'])", "left a "),
    "dead child": ("import os\nif os.fork() == 0: os._exit(0)\n", "left a child process"),
    "subreaper": ("import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)", "subreaper"),
    "file": ("F = open(__file__)", "left a descriptor open: "),
    "file that is written": ("F = open(__file__ + '.out', 'a')", "left a descriptor open: "),
    "flock": ("import fcntl; F = open(__file__ + '.lock', 'a'); fcntl.flock(F, fcntl.LOCK_SH)", "left a descriptor open: "),
    "locked log": ("import fcntl, logging, os; H = logging.FileHandler(__file__ + '.%d' % os.getpid()); fcntl.flock(H.stream, fcntl.LOCK_EX)", "left a descriptor open: "),
    "record lock": ("import fcntl, os; F = open(__file__ + '.%d' % os.getpid(), 'w'); fcntl.lockf(F, fcntl.LOCK_EX | fcntl.LOCK_NB)", "left a descriptor open: "),
    "log that is not appended to": ("import logging; H = logging.FileHandler(__file__ + '.log', 'w')", "left a descriptor open: "),
    "pipe": ("import os; P = os.pipe()", "left a descriptor open: pipe:"),
    "socket": ("import socket; S = socket.socket()", "left a descriptor open: socket:"),
    "loop": ("import asyncio; LOOP = asyncio.new_event_loop()", "left a descriptor open: "),
    "selector with an entry": ("import select, os; E = select.epoll(); E.register(os.eventfd(0))", "left a descriptor open: "),
    "eventfd": ("import os; E = os.eventfd(0)", "left a descriptor open: anon_inode:[eventfd]"),
    "inotify": ("import ctypes; N = ctypes.CDLL(None).inotify_init()", "left a descriptor open: anon_inode:inotify"),
    "timerfd": ("import ctypes; N = ctypes.CDLL(None).timerfd_create(1, 0)", "left a descriptor open: anon_inode:[timerfd]"),
    "signalfd": ("import ctypes; m = (ctypes.c_ulong * 16)(); N = ctypes.CDLL(None).signalfd(-1, m, 0)", "left a descriptor open: anon_inode:[signalfd]"),
    "memory file": ("import os; M = os.memfd_create('m')", "left a descriptor open: /memfd:m"),
    "database": ("import os, sqlite3; DB = sqlite3.connect(__file__ + '.%d.db' % os.getpid()); DB.execute('create table t (n)')", "left a descriptor open: "),
}


@pytest.mark.parametrize("what", sorted(SAFE))
def test_what_may_be_left(project, what):
    project.write(conftest=SAFE[what] + "\n", test_a=TESTS)
    expect(project, "collected", NOTHING)


@pytest.mark.parametrize("what", sorted(UNSAFE))
def test_what_may_not_be_left(project, what):
    source, why = UNSAFE[what]
    if "eventfd" in source and not hasattr(os, "eventfd"):
        pytest.skip("this Python has no os.eventfd")
    project.write(conftest=source + "\n", test_a=TESTS)
    xd = project.run("-n2", "-v")
    if "mlock" in source and "assert" in xd.out and xd.rc == 4:
        pytest.skip("mlock is not allowed here")
    assert xd.rc == 0 and ways(xd) == {"warm"} and "collection " in reason(xd) and why in reason(xd), xd


# ---- before pytest: sitecustomize and .pth files

SERVICE = '''
import queue, threading
class Service:
    def __init__(self):
        self.questions, self.answers = queue.Queue(), queue.Queue()
        threading.Thread(target=self.serve, name="service", daemon=True).start()
    def serve(self):
        while True: self.answers.put(self.questions.get() * 2)
    def ask(self, n):
        self.questions.put(n)
        return self.answers.get(timeout=20)
import sys
sys.service = Service()
'''
USES = '''
    import sys, pytest
    assert sys.service.ask(1) == 2
    @pytest.mark.parametrize("n", range(8))
    def test_n(n): assert sys.service.ask(n) == 2 * n
    '''


@pytest.mark.parametrize("options", [["-n1"], ["-n2"], ["-n2", "--no-fork"]], ids=" ".join)
@pytest.mark.parametrize("form", ["sitecustomize.py", "own.pth"])
def test_a_thread_before_pytest(project, options, form):
    """It would be missing in a forked collector, with what it holds."""
    folder = project.path / "site"
    folder.mkdir()
    if form.endswith(".pth"):  # is read in site folders alone
        (folder / "own_service.py").write_text(SERVICE)
        (folder / form).write_text("import own_service\n")
        (folder / "sitecustomize.py").write_text("import site\nsite.addsitedir(%r)\n" % str(folder))
    else:
        (folder / form).write_text(SERVICE)
    project.write(test_a=USES)
    xd = project.run(*(options + ["-v"]), env=dict(PYTHONPATH=str(folder)))
    assert xd.rc == 0 and ways(xd) == {"fresh"} and xd.summary == {"passed": 8}, xd
    if "--no-fork" not in options:
        assert "Python's own start (sitecustomize, a .pth file) left a thread running: service" in reason(xd), xd


@pytest.mark.parametrize("source, way, why", [
    ("import threading; L = threading.Lock()", "collected", NOTHING),
    ("import os; os.environ['A'] = 'b'", "collected", NOTHING),
    ("import logging; H = logging.FileHandler(%r)", "collected", NOTHING),
    (UNSAFE["process lock"][0], "fresh", "left shared memory mapped: "),
    (UNSAFE["low thread"][0], "fresh", "native thread"),
    (UNSAFE["alarm"][0], "fresh", "left a timer running"),
    (UNSAFE["socket"][0], "fresh", "left a descriptor open: socket:"),
    (UNSAFE["dead child"][0], "fresh", "left a child process"),
    (UNSAFE["handler of SIGCHLD"][0], "fresh", "SIGCHLD"),
], ids=lambda value: value if "\n" not in value and len(value) < 60 else "source")
def test_what_python_starts_with(project, source, way, why):
    folder = project.path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text((source % str(folder / "log") if "%r" in source else source) + "\n")
    project.write(test_a=TESTS)
    expect(project, way, why, env=dict(PYTHONPATH=str(folder)))


def test_pool_before_pytest(project):
    """numpy, imported by sitecustomize."""
    project.python = environment("3.12", "", *STACK)
    folder = project.path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import numpy, sys\nsys.A = numpy.random.rand(300, 300)\nsys.B = sys.A @ sys.A\n")
    project.write(conftest="import sys\nA, B = sys.A, sys.B\n", test_a=PRODUCTS)
    expect(project, "collected", NOTHING, env=dict(PYTHONPATH=str(folder), OPENBLAS_NUM_THREADS="3"))


# ---- locks that workers must not share

def test_a_crash_that_holds_a_lock(project):
    """A lock of multiprocessing at module level is each worker's own: one that dies in it stops nobody, one that holds it keeps nobody waiting."""
    project.write(test_a='''
        import multiprocessing, os, time, pytest
        LOCK = multiprocessing.RLock()
        @pytest.mark.parametrize("n", range(12))
        def test_n(n):
            assert LOCK.acquire(timeout=5)
            if n == 1: os._exit(9)
            time.sleep(0.05)
            LOCK.release()
        ''')
    xd = project.run("-n3", "-v")
    assert xd.rc == 1 and xd.summary == {"passed": 11, "crashed": 1} and ways(xd) <= {"warm", "fresh"}, xd


@pytest.mark.parametrize("more", ["", "eventlet.monkey_patch()"])
def test_eventlet(project, more):
    """Its import makes an epoll instance with nothing in it; each worker makes that anew, and wakes nobody else."""
    project.python = environment("3.12", "", "eventlet")
    project.write(conftest="import eventlet\n%s\n" % more, **{"pytest.ini": "[pytest]\nfilterwarnings = ignore\n", "test_a.py": '''
        import eventlet, pytest
        @pytest.mark.parametrize("n", range(12))
        def test_n(n):
            server = eventlet.listen(("127.0.0.1", 0))
            def ask():
                client = eventlet.connect(server.getsockname())
                eventlet.sleep(0.01)
                return client.recv(3)
            answer = eventlet.spawn(ask)
            connection, _ = server.accept()
            connection.send(b"%03d" % n)
            assert answer.wait() == b"%03d" % n
        '''})
    expect(project, "collected", NOTHING)


# ---- random numbers, and what else differs between workers

@pytest.mark.parametrize("source, draw, same", [
    ("", "random.random()", False), ("random.seed(7)", "random.random()", True),
    ("R = random.Random()", "conftest.R.random()", False), ("R = random.Random(7)", "conftest.R.random()", True),
    ("R = random.Random(); R.setstate(random.Random(7).getstate())", "conftest.R.random()", True),
    ("R = random.SystemRandom()", "conftest.R.random()", False),
    ("", "uuid.uuid4()", False), ("", "secrets.token_hex()", False), ("", "ssl.RAND_bytes(8)", False), ("import tempfile; tempfile.gettempdir()", "tempfile.mktemp()", False),
])
def test_random_numbers(project, source, draw, same):
    """As with workers that collect for themselves: the same where the suite chose a seed."""
    project.write(conftest="import random\n%s\n" % source, test_a='''
        import random, secrets, ssl, tempfile, uuid, time, os, pytest, conftest
        NUMBERS = []
        @pytest.mark.parametrize("n", range(6))
        def test_n(n, worker_id):
            if not NUMBERS:
                NUMBERS.append(str(%s))
                with open(os.path.join(os.environ["SEEN"], worker_id), "w") as f: f.write(NUMBERS[0])
            time.sleep(0.1)
        ''' % draw)
    folder = project.path / "seen"
    folder.mkdir()
    expect(project, "collected", NOTHING, env=dict(SEEN=str(folder)))
    numbers = [path.read_text() for path in folder.iterdir()]
    assert len(numbers) == 2 and (numbers[0] == numbers[1]) is same, numbers


@pytest.mark.parametrize("source, same", [("", False), ("numpy.random.seed(7)", True)], ids=["no seed", "seed"])
@pytest.mark.parametrize("version, packages", [("3.12", STACK), ("3.9", ("numpy<2",))], ids=["numpy 2", "numpy 1"])
def test_random_numbers_of_numpy(project, version, packages, source, same):
    project.python = environment(version, "", *packages)
    project.write(conftest="import numpy\n%s\n" % source, test_a='''
        import numpy, time, os, pytest
        NUMBERS = []
        @pytest.mark.parametrize("n", range(6))
        def test_n(n, worker_id):
            if not NUMBERS:
                NUMBERS.append(str(numpy.random.rand()))
                with open(os.path.join(os.environ["SEEN"], worker_id), "w") as f: f.write(NUMBERS[0])
            time.sleep(0.1)
        ''')
    folder = project.path / "seen"
    folder.mkdir()
    expect(project, "collected", NOTHING, env=dict(SEEN=str(folder)))
    numbers = [path.read_text() for path in folder.iterdir()]
    assert len(numbers) == 2 and (numbers[0] == numbers[1]) is same, numbers


@pytest.mark.parametrize("source, way, why", [
    ("import os; PID = os.getpid()", "warm", "conftest.py called os.getpid() while collecting"),
    ("from os import getpid\ndef name(): return 'db_%d' % getpid()\nNAME = name()", "warm", "conftest.py called os.getpid() while collecting"),
    ("import tempfile; FOLDER = tempfile.mkdtemp()", "warm", "conftest.py called tempfile.mkdtemp() while collecting"),
    ("import tempfile; FOLDER = tempfile.TemporaryDirectory()", "warm", "conftest.py called tempfile.mkdtemp() while collecting"),
    ("import logging, uuid, tempfile, threading; logging.getLogger().warning('x'); uuid.uuid1(); tempfile.gettempdir()", "collected", NOTHING),
])
def test_what_is_told_once(project, source, way, why):
    """A process id, or a temporary folder, that the suite keeps: each worker has its own in every other way."""
    project.write(conftest=source + "\n", test_a=TESTS + '''
    import conftest
    def test_pid(): assert getattr(conftest, "PID", os.getpid()) == os.getpid() and os.getpid.__module__ in ("posix", None)
    ''')
    expect(project, way, why)
