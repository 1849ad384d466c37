"""actors/runners/pytest_adapter.py - the far end in Python: runner host, collector and workers of one environment.

Started by the agent as
    python -c "import sys; sys.path.insert(0, DIR); import pytest_adapter; pytest_adapter.main(sys.argv[1:])" host H C PAGE
    ... fresh [CONTROL] COMMANDS RESULTS PAGE
with the numbers of inherited descriptors.  Standard library only; the real pytest runs in-process with one plugin of ours.

    host H         in  ENV_START, FORK (4 descriptors), REAP, QUIT     out HOST_READY, FORKED, REAPED, ENV_FAILED
    collector C    in  FORK (4 descriptors), REAP, FINISH, QUIT        out CONFIG, COLLECT_IDS, REPORT, WARNING, COLLECTED, ENV_FAILED,
                                                                           FORKED, REAPED
    worker         in  RUN, QUIT                                       out WORKER_READY, RESULT (REPORT, WARNING before it), WORKER_DONE

C is forked from H before anything of the user's is imported and stops inside pytest_runtestloop.  Workers are forked from C ("collected") or
from H ("warm", C becomes the first of them), or are new processes ("fresh").  ARCHITECTURE.md tells the rest: the progress page, how an item is
claimed, why nextitem is resolved when the item before it is torn down."""
from __future__ import absolute_import, division, print_function

import atexit
import errno
import gc
import mmap
import os
import signal
import socket
import struct
import sys
import time

import pytest_wire as wire

HERE = os.path.dirname(os.path.abspath(__file__))
NONE32 = 0xFFFFFFFF
NONE16 = 0xFFFF

ENV_AS_MODULE, ENV_NO_FORK, ENV_NO_COLLECTED, ENV_OUTPUT, ENV_CACHE, ENV_TYPED = 1, 2, 4, 8, 16, 32
WAY_COLLECTED, WAY_WARM, WAY_FRESH = 1, 2, 3
PASSED, FAILED, SKIPPED, XFAILED, XPASSED, ERROR, NOT_RUN = 1, 2, 3, 4, 5, 6, 10
EXIT_INTERNAL, EXIT_USAGE, EXIT_INFRASTRUCTURE = 3, 4, 6

TEXT_LIMIT = 1 << 20          # bytes of one text field; head and tail are kept
REPORT_LIMIT = 8 << 20        # bytes of all sections and properties of one report (a frame has at most 16 MiB)
IDS_LIMIT = 60 * 1024         # bytes of one COLLECT_IDS frame
TEARDOWN_WAIT_S = 1.0         # how long a teardown waits to hear which item comes next
GC_WHILE_COLLECTING = 200000  # gc threshold: most of what collection allocates stays anyway

# Entry of the progress page in 4-byte words (engine/base/page.h).
PAGE_HEADER, PAGE_SLOT, PAGE_SLOTS, PAGE_MAXFAIL, PAGE_STOP, PAGE_ELSEWHERE = 16, 16, 2, 3, 4, 5
CLAIMED, LIMIT, FAILURES, ITEM, SINCE, DONE, PID, RUNS = 0, 1, 2, 3, 4, 6, 8, 9

# A whole RESULT frame: written once per item, so made without the generic codec (tests compare the two).
RESULT_FRAME = struct.Struct("<IHHQ" "IHBBIIIIQ")
RESULT_BODY_BYTES = RESULT_FRAME.size - 16
FRAME_HEADER = struct.Struct("<IHHQ")
NOTHING_SHARED = b"\0\0"      # the agent shortens what travels on
LENGTH, LENGTHS, LINE_LENGTH = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<iI")

ID_KEYS = ("PYTEST_XDIST_WORKER", b"PYTEST_XDIST_WORKER")
COUNT_KEYS = ("PYTEST_XDIST_WORKER_COUNT", b"PYTEST_XDIST_WORKER_COUNT")

# Arguments with which pytest tells something instead of running tests: nothing of a worker may be seen then.
TELLING_ARGS = frozenset(("--collect-only", "--collectonly", "--co", "-h", "--help", "-V", "--version", "--fixtures", "--funcargs",
                          "--fixtures-per-test", "--markers", "--cache-show"))
TELLING_OPTIONS = ("collectonly", "help", "version", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")

HOME_HOOKS = ("pytest_testnodeready", "pytest_testnodedown", "pytest_handlecrashitem", "pytest_terminal_summary", "pytest_xdist_setupnodes",
              "pytest_xdist_newgateway", "pytest_xdist_rsyncstart", "pytest_xdist_rsyncfinish", "pytest_xdist_getremotemodule",
              "pytest_xdist_node_collection_finished", "pytest_xdist_make_scheduler")

OPTIONS = ("numprocesses", "dist", "tx", "px", "maxprocesses", "maxworkerrestart", "maxschedchunk", "loadscopereorder", "testrunuid", "ramp",
           "rsyncdir", "rsyncignore", "looponfail", "maxfail", "verbose", "reportchars", "tbstyle", "durations", "durations_min", "color",
           "xmlpath", "junitprefix", "showcapture", "no_header", "no_summary", "capture", "disable_warnings", "fold_skipped", "fulltrace",
           "force_short_summary", "xfail_tb", "continue_on_collection_errors", "setupshow", "usepdb")
TYPED_OPTIONS = ("numprocesses", "dist", "tx", "maxprocesses")
INIS = ("junit_family", "junit_suite_name", "junit_logging", "junit_log_passing_tests", "junit_duration_report", "console_output_style",
        "verbosity_test_cases", "verbosity_subtests", "verbosity_assertions")


class Gone(Exception):
    """The agent's end of a descriptor is closed."""


# ---- bytes -------------------------------------------------------------------------------------------------

def as_text(value):
    """Text of anything; a value whose own text fails gives a description."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    try:
        return str(value)
    except Exception as e:
        return "<unprintable %s: %s>" % (type(value).__name__, type(e).__name__)


def encode(value):
    """UTF-8 where it can be; lone surrogates travel as their three bytes, or as the bytes they stand for."""
    if isinstance(value, bytes):
        return value
    text = as_text(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def encode_id(value):
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def bounded(value, limit=TEXT_LIMIT):
    """(bytes, whether they were shortened)"""
    data = encode(value)
    if len(data) <= limit:
        return data, False
    note = ("\n[... %d bytes left out ...]\n" % (len(data) - limit)).encode("ascii")
    half = max(1, (limit - len(note)) // 2)
    head = data[:half].decode("utf-8", "ignore").encode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore").encode("utf-8", "ignore")
    return head + note + tail, True


def microseconds(seconds, most=0xFFFFFFFFFFFFFFFF):
    n = int(seconds * 1e6)
    return 0 if n < 0 else most if n > most else n


def write_all(fd, data):
    try:
        n = os.write(fd, data)
        while n < len(data):
            data = memoryview(data)[n:]
            n = os.write(fd, data)
    except OSError as e:
        if e.errno in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
            os._exit(EXIT_INTERNAL)  # nobody is there to hear a result: go on with nothing
        raise


# ---- channels to the agent ---------------------------------------------------------------------------------

class Control(object):
    """A socket pair's end: frames both ways, descriptors with FORK."""

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        os.set_blocking(fd, True)
        self.fd = fd
        self.sock = socket.socket(fileno=fd)
        self.reader = wire.FrameReader()
        self.ready = []
        self.fds = []

    def next(self):
        """(type, record); raises Gone."""
        while not self.ready:
            room = socket.CMSG_SPACE(16 * 4)
            try:
                data, extra, _flags, _from = self.sock.recvmsg(65536, room, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
            except ConnectionError:
                raise Gone()
            for level, kind, payload in extra:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    whole = len(payload) - len(payload) % 4
                    self.fds.extend(struct.unpack("%di" % (whole // 4), payload[:whole]))
            if not data:
                raise Gone()
            self.ready.extend(take_frames(self.reader, data))
        return self.ready.pop(0)

    def wait(self, kind):
        while True:
            got, record = self.next()
            if got == kind:
                return record

    def take_fds(self, count):
        if len(self.fds) < count:
            return None
        fds, self.fds = self.fds[:count], self.fds[count:]
        for fd in fds:
            os.set_inheritable(fd, False)
        return fds

    def send(self, data):
        write_all(self.fd, data)

    def close(self):
        self.sock.close()


class Commands(object):
    """The command pipe of a worker: read only when something is missing, so the usual item costs no system call."""

    def __init__(self, fd):
        os.set_blocking(fd, True)
        self.fd = fd
        self.reader = wire.FrameReader()
        self.ready = []

    def next(self, timeout_s=None):
        """(type, record), or None after timeout_s.  A closed pipe is QUIT."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.ready:
            if deadline is not None and not self.readable(deadline - time.monotonic()):
                return None
            data = os.read(self.fd, 65536)
            if not data:
                return wire.QUIT, None
            self.ready.extend(take_frames(self.reader, data))
        return self.ready.pop(0)

    def readable(self, seconds):
        import select
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(max(0, int(seconds * 1000))))


def take_frames(reader, data):
    return [(kind, wire.unpack(kind, body)) for kind, _flags, _sequence, body in reader.feed(data)]


class Page(object):
    """The progress page: native 4-byte loads and stores, so that no number is ever seen half written."""

    def __init__(self, fd):
        self.map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words = memoryview(self.map).cast("I")
        self.longs = memoryview(self.map).cast("Q")

    def slot(self, number):
        return PAGE_HEADER + PAGE_SLOT * number

    def failures(self):
        """The failure counts of all slots in use."""
        return self.words[PAGE_HEADER + FAILURES:PAGE_HEADER + PAGE_SLOT * self.words[PAGE_SLOTS]:PAGE_SLOT]


# ---- what the start of the process must look like ----------------------------------------------------------

def set_environment(start):
    for pair in start.env:
        os.environ[os.fsdecode(pair.name)] = os.fsdecode(pair.value)
    chdir = os.fsdecode(start.chdir)
    if chdir and not at_folder(chdir):
        os.chdir(chdir)


def at_folder(chdir):
    """The agent may have started us there already; a relative name must not be followed twice."""
    if os.path.isabs(chdir):
        return False
    return os.getcwd().endswith(os.sep + os.path.normpath(chdir)) and os.environ.get("PWD") != os.getcwd()


def look_like_pytest(args, as_module):
    """sys.path[0] and sys.argv as the pytest program, or python -m pytest, has them."""
    sys.path[:] = [p for p in sys.path if not p or os.path.abspath(p) != HERE]
    if as_module:
        import pytest
        program = os.path.join(os.path.dirname(os.path.abspath(pytest.__file__)), "__main__.py")
        first = os.getcwd()
    else:
        program = pytest_program()
        first = os.path.dirname(os.path.realpath(program) if os.path.islink(program) else program)
    if sys.path and sys.path[0] == "":
        sys.path[0] = first
    sys.argv[:] = [program] + list(args)


def pytest_program():
    beside = os.path.join(os.path.dirname(sys.executable or sys.prefix), "pytest")
    if os.path.exists(beside):
        return beside
    import shutil
    return shutil.which("pytest") or beside


def python_version():
    return "%d.%d.%d" % sys.version_info[:3]


def import_pytest():
    """None, or (exit status, text)."""
    where = "%s (Python %s)" % (sys.executable, python_version())
    try:
        import pytest
    except ImportError as e:
        if getattr(e, "name", None) in ("pytest", None):
            return EXIT_INFRASTRUCTURE, "%s has no pytest: run '%s -m pip install pytest', or name another interpreter with python=" % (
                where, sys.executable)
        return EXIT_INFRASTRUCTURE, "%s cannot import pytest: %s: %s" % (where, type(e).__name__, e)
    except Exception as e:
        return EXIT_INFRASTRUCTURE, "%s cannot import pytest: %s: %s" % (where, type(e).__name__, e)
    version = getattr(pytest, "__version__", "0")
    try:
        major = int(version.split(".")[0])
    except ValueError:
        major = 7
    if major < 7:
        return EXIT_INFRASTRUCTURE, "%s has pytest %s, but xd needs pytest 7 or newer: run '%s -m pip install -U pytest'" % (
            where, version, sys.executable)
    import _pytest.config
    for name in _pytest.config.default_plugins:  # what every session imports anyway: once for all processes
        try:
            __import__("_pytest." + name)
        except ImportError:
            pass
    for name in ("importlib.metadata", "importlib_metadata", "tempfile", "random", "multiprocessing.util", "select"):
        try:
            __import__(name)
        except ImportError:
            pass
    return None


def stdio_as_worker():
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    try:
        sys.stdout.reconfigure(line_buffering=True)  # a pipe, but somebody looks on
    except (AttributeError, ValueError):
        pass


def flush_stdio():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


def quiet_fork():
    """os.fork() without the warning of newer Pythons about threads: where there may be some, the child closes all and computes a little."""
    import warnings
    flush_stdio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def own_group(pid):
    """A worker and what its tests start are one process group, so that the agent can end them together."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it has one, or is gone


def reap(control, pid):
    try:
        _pid, status = os.waitpid(pid, 0)
    except OSError:
        exit_status, number = -2, 0
    else:
        exit_status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    control.send(wire.pack_REAPED(pid=pid, exit_status=exit_status, signal=number))


def leave(status):
    """The end of a process that ran a session: what the interpreter would still do for the user's code, without its slow teardown."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass
    flush_stdio()
    os._exit(status & 0xFF)


# ---- reading is noticed ------------------------------------------------------------------------------------

class Reads(object):
    def __init__(self):
        self.worker_id = None  # how the worker id was read, the first time
        self.count = False
        self.missing = None    # key that a plugin expected from pytest_configure_node

    def note(self, key, how):
        if key in ID_KEYS or key == "workerid":
            self.worker_id = self.worker_id or how
        elif key in COUNT_KEYS or key == "workercount":
            self.count = True

    def note_all(self, how):
        self.note("workerid", how)
        self.note("workercount", how)


class WorkerInput(dict):
    """config.workerinput: says which process reads the worker id before it is final."""
    reads = None

    def __getitem__(self, key):
        if self.reads is not None:
            self.reads.note(key, "config.workerinput")
        return dict.__getitem__(self, key)

    def __missing__(self, key):
        if self.reads is not None and self.reads.missing is None:
            self.reads.missing = key
        raise KeyError(key)

    def get(self, key, default=None):
        if self.reads is not None:
            self.reads.note(key, "config.workerinput")
        return dict.get(self, key, default)

    def _all(self):
        if self.reads is not None:
            self.reads.note_all("config.workerinput")

    def items(self):
        self._all()
        return dict.items(self)

    def values(self):
        self._all()
        return dict.values(self)

    def copy(self):
        self._all()
        return dict.copy(self)

    def __repr__(self):
        self._all()
        return dict.__repr__(self)


class RecordingEnviron(type(os.environ)):
    """os.environ while collecting.  Only the class is exchanged: everybody keeps his object."""

    def __getitem__(self, key):
        if key in ID_KEYS or key in COUNT_KEYS:
            RecordingEnviron.reads.note(key, "os.environ")
        return super(RecordingEnviron, self).__getitem__(key)


def record_environ(reads):
    RecordingEnviron.reads = reads
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is RecordingEnviron.__mro__[1]:
            environ.__class__ = RecordingEnviron


def plain_environ():
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is RecordingEnviron:
            environ.__class__ = RecordingEnviron.__mro__[1]


class SeedWatch(object):
    """Whether the user's code gave `random` a seed of its own: then all workers go on with it, as N xdist workers would."""

    def __init__(self):
        import random
        self.seeded = False
        self.state = None
        self.original = random.seed
        random.seed = self.seed

    def seed(self, *args, **kw):
        if (args and args[0] is not None) or kw.get("a") is not None:
            self.seeded = True
        return self.original(*args, **kw)

    def stop(self):
        import random
        if random.seed == self.seed:
            random.seed = self.original
        if self.seeded:
            self.state = random.getstate()


# ---- is it safe to fork from here? -------------------------------------------------------------------------

def open_fds():
    """{number: what /proc says it is}, or None where there is no /proc."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None
    fds = {}
    for name in names:
        try:
            fds[int(name)] = os.readlink("/proc/self/fd/" + name)
        except (OSError, ValueError):
            pass
    return fds


def pytest_fds(config):
    """Descriptors that pytest itself opened: capture, faulthandler, log file."""
    own = set()
    capman = config.pluginmanager.get_plugin("capturemanager")
    capturing = getattr(capman, "_global_capturing", None)
    for capture in (getattr(capturing, name, None) for name in ("in_", "out", "err")):
        for attribute in ("targetfd", "targetfd_save", "targetfd_invalid"):
            own.add(getattr(capture, attribute, None))
        own.add(fileno(getattr(capture, "tmpfile", None)))
    own.add(fault_fd(config))
    handler = getattr(config.pluginmanager.get_plugin("logging-plugin"), "log_file_handler", None)
    own.add(fileno(getattr(handler, "stream", None)))
    return own


def fileno(stream):
    try:
        return stream.fileno()
    except Exception:
        return None


def fault_fd(config):
    """The descriptor pytest's faulthandler plugin writes to, or None."""
    module = sys.modules.get("_pytest.faulthandler")
    for name in ("fault_handler_stderr_fd_key", "fault_handler_stderr_key"):
        key = getattr(module, name, None)
        stash = getattr(config, "stash", None) or getattr(config, "_store", None)
        if key is not None and stash is not None and key in stash:
            value = stash[key]
            return value if isinstance(value, int) else fileno(value)
    return None


def module_of(thing):
    if isinstance(thing, type(sys)):
        return thing.__name__
    return getattr(thing, "__module__", None) or type(thing).__module__


def is_pytests(thing):
    name = module_of(thing) or ""
    return name == "pytest" or name.startswith("_pytest.") or name == __name__


def plugin_name(config, plugin):
    path = getattr(plugin, "__file__", None)
    if path and os.path.basename(path).startswith("conftest."):
        return os.path.relpath(path, str(config.rootpath))
    for known, dist in config.pluginmanager.list_plugin_distinfo():
        if known is plugin:
            return getattr(dist, "project_name", None) or plugin.__name__
    name = config.pluginmanager.get_canonical_name(plugin)
    return name if not name.isdigit() else module_of(plugin)


def foreign_plugins(config, hook_name):
    """Plugins that implement a hook and are neither pytest's own nor ours."""
    hook = getattr(config.hook, hook_name, None)
    return [] if hook is None else [impl.plugin for impl in hook.get_hookimpls() if not is_pytests(impl.plugin)]


def cleanup_functions(config):
    for function in list(getattr(config, "_cleanup", None) or ()):
        yield function
    for _is_sync, wrapper in list(getattr(getattr(config, "_cleanup_stack", None), "_exit_callbacks", ())):
        yield getattr(wrapper, "__wrapped__", wrapper)


def foreign_cleanup(config):
    for function in cleanup_functions(config):
        function = getattr(function, "func", function)  # functools.partial
        if getattr(getattr(function, "__func__", function), "__module__", None) == "contextlib":
            continue  # pytest's own warning filters
        if not is_pytests(function):
            return function
    return None


def why_not_collected(config, start_fds, reads, count_known):
    """What stands against forking workers from this process, in one line; None = nothing."""
    import threading
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    if others:
        return "collection left a thread running: %s" % as_text(others[0].name)
    if start_fds is None:
        return "no /proc to see open descriptors in"
    if len(os.listdir("/proc/self/task")) > 1:
        return "collection left %d native threads running" % (len(os.listdir("/proc/self/task")) - 1)
    own = pytest_fds(config)
    harmless = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
    harmless.update(start_fds.get(n) for n in (0, 1, 2))
    for fd, what in sorted((open_fds() or {}).items()):
        if fd > 2 and start_fds.get(fd) != what and fd not in own and what not in harmless:
            return "collection left a descriptor open: %s" % what
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return "collection left a child process"
    except (OSError, AttributeError):
        pass
    if reads.worker_id:
        return "the worker id was read before or while collecting, from %s" % reads.worker_id
    if reads.count and not count_known:
        return "the number of workers was read before it was known"
    for hook in ("pytest_sessionstart", "pytest_sessionfinish", "pytest_unconfigure"):
        for plugin in foreign_plugins(config, hook):
            return "%s implements %s" % (plugin_name(config, plugin), hook)
    function = foreign_cleanup(config)
    if function is not None:
        return "%s registered a cleanup of the configuration" % module_of(function)
    return None


# ---- the terminal reporter that stays quiet ----------------------------------------------------------------

class QuietReporter(object):
    """Stands in for pytest's terminal reporter in workers: everything can be asked and called, nothing is shown, no hook costs time.
    The header lines are asked of the real one, so that they come in pytest's order."""

    def __init__(self, real, loud):
        object.__setattr__(self, "_real", real)
        writer = getattr(real, "_tw", None)
        if writer is not None:
            writer.hasmarkup = False  # escape sequences would get into assertion texts
            if not loud:
                writer._file = open(os.devnull, "w")

    def pytest_report_header(self, config):
        return self._real.pytest_report_header(config=config)

    def __dir__(self):
        return ["pytest_report_header"]

    @property
    def __class__(self):
        return type(self._real)  # isinstance() of plugins

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)


# ---- xdist's options, hooks, fixtures ----------------------------------------------------------------------

def number_of_processes(text):
    return text if text in ("auto", "logical") else int(text)


def add_xdist_options(parser):
    group = parser.getgroup("xdist", "distributed and subprocess testing")
    add = group._addoption  # also takes the short lower-case names
    add("-n", "--numprocesses", dest="numprocesses", metavar="numprocesses", action="store", type=number_of_processes,
        help="Number of workers: a number, auto or logical.")
    add("--maxprocesses", dest="maxprocesses", metavar="maxprocesses", action="store", type=int, help="Limit of --numprocesses.")
    add("--max-worker-restart", dest="maxworkerrestart", action="store", default=None, help="Number of crashed workers that are replaced.")
    add("--dist", dest="dist", metavar="distmode", action="store", default="no",
        choices=["each", "load", "loadscope", "loadfile", "loadgroup", "worksteal", "no"], help="How tests are distributed.")
    add("--loadscope-reorder", dest="loadscopereorder", action="store_true", default=True, help="Scopes with many tests first (default).")
    add("--no-loadscope-reorder", dest="loadscopereorder", action="store_false", help="Scopes in the order of collection.")
    add("--tx", dest="tx", action="append", default=[], metavar="xspec", help="Add a test execution environment.")
    add("--px", dest="px", action="append", default=[], metavar="xspec", help="Add a proxy gateway.")
    add("-d", dest="distload", action="store_true", default=False, help="Shortcut for '--dist=load'.")
    add("--rsyncdir", dest="rsyncdir", action="append", default=[], metavar="DIR", help="Add a folder to bring to remote environments.")
    add("--rsyncignore", dest="rsyncignore", action="append", default=[], metavar="GLOB", help="Leave out what matches.")
    add("--testrunuid", dest="testrunuid", action="store", help="Identifier shared by all workers of a run.")
    add("--maxschedchunk", dest="maxschedchunk", action="store", type=int, help="Maximum number of tests handed over in one step.")
    add("--ramp", dest="ramp", action="store", default=None, metavar="DUR", help="Spread the starts of the workers over this time.")
    add("-f", "--looponfail", dest="looponfail", action="store_true", default=False, help="Run failing tests again when files change.")
    parser.addini("rsyncdirs", "folders to bring to remote environments", type="paths")
    parser.addini("rsyncignore", "globs of what is not brought", type="paths")
    parser.addini("looponfailroots", "folders to watch", type="paths")


def ramp_seconds(text):
    if not text:
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    return float(text[:-1]) * unit if unit else float(text)


def make_hookspecs():
    import pytest

    class XdistHooks(object):
        @pytest.hookspec()
        def pytest_xdist_setupnodes(self, config, specs): ""

        @pytest.hookspec()
        def pytest_xdist_newgateway(self, gateway): ""

        @pytest.hookspec()
        def pytest_xdist_rsyncstart(self, source, gateways): ""

        @pytest.hookspec()
        def pytest_xdist_rsyncfinish(self, source, gateways): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_getremotemodule(self): ""

        @pytest.hookspec()
        def pytest_configure_node(self, node): ""

        @pytest.hookspec()
        def pytest_testnodeready(self, node): ""

        @pytest.hookspec()
        def pytest_testnodedown(self, node, error): ""

        @pytest.hookspec()
        def pytest_xdist_node_collection_finished(self, node, ids): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_make_scheduler(self, config, log): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_auto_num_workers(self, config): ""

        @pytest.hookspec(firstresult=True)
        def pytest_handlecrashitem(self, crashitem, report, sched): ""

    return XdistHooks


def make_fixtures():
    import types
    import uuid

    import pytest

    @pytest.fixture(scope="session")
    def worker_id(request):
        """The id of this worker: gw0, gw1, ..., or master outside of a distributed run."""
        given = getattr(request.config, "workerinput", None)
        return "master" if given is None else given["workerid"]

    @pytest.fixture(scope="session")
    def testrun_uid(request):
        """Identifier shared by all workers of this run."""
        given = getattr(request.config, "workerinput", None)
        return uuid.uuid4().hex if given is None else given["testrunuid"]

    module = types.ModuleType("xd_fixtures")
    module.worker_id = worker_id
    module.testrun_uid = testrun_uid
    return module


# ---- reports as records ------------------------------------------------------------------------------------

def description_of_subtest(report):
    for name in ("_sub_test_description", "sub_test_description"):
        describe = getattr(report, name, None)
        if describe is not None:
            try:
                return as_text(describe())
            except Exception:
                return "(<subtest>)"
    return ""


def text_of(report):
    """longrepr as the terminal shows it, without colours."""
    longrepr = report.longrepr
    if longrepr is None or (report.outcome == "skipped" and isinstance(longrepr, tuple)):
        return ""
    try:  # not longreprtext: its strip() takes the indent of the first source line
        from io import StringIO
        from _pytest._io import TerminalWriter
        out = TerminalWriter(StringIO())
        out.hasmarkup = False
        report.toterminal(out)
        return out._file.getvalue()
    except Exception:
        return as_text(longrepr)


def usual_status(report):
    """What pytest's terminal plugin says of a report; it may be switched off."""
    outcome = "error" if report.outcome == "failed" and report.when in ("collect", "setup", "teardown") else report.outcome
    return outcome, {"passed": ".", "skipped": "s"}.get(report.outcome, "F"), outcome.upper()


def short_of(report):
    """(message, path, line 0-based) as the short summary of pytest shows them."""
    longrepr = report.longrepr
    path, line = "", -1
    crash = getattr(longrepr, "reprcrash", None)
    if isinstance(longrepr, tuple) and len(longrepr) == 3:
        path, number, message = longrepr
        message = as_text(message)
        if message.startswith("Skipped: "):
            message = message[len("Skipped: "):]
        elif message == "Skipped":
            message = ""
        keywords = getattr(report, "keywords", ())
        folded = report.when == "setup" and "skip" in keywords and "pytestmark" not in keywords
        line = number - 1 if isinstance(number, int) and not folded else -1
    elif crash is not None:
        path, line, message = crash.path, crash.lineno - 1, as_text(crash.message)
    elif isinstance(longrepr, str):
        message = longrepr
    else:
        message = ""
    wasxfail = getattr(report, "wasxfail", None)
    if wasxfail is not None and report.outcome != "failed":
        message = as_text(wasxfail)
        if message.startswith("reason: "):
            message = message[len("reason: "):]
    return message, as_text(path), line


def report_frame(report, status, item, attempt, nodeid, sections, properties, text=None):
    category, letter, word = status
    if isinstance(word, (tuple, list)):
        word = word[0]
    flags = 0
    wasxfail = getattr(report, "wasxfail", None)
    message, path, line = short_of(report)
    if wasxfail is not None:
        flags |= 2
        if as_text(wasxfail).startswith("[NOTRUN]") or message.startswith("[NOTRUN]"):
            flags |= 1
    if report.outcome == "failed" and isinstance(report.longrepr, str) and report.longrepr.startswith("[XPASS(strict)]"):
        flags |= 4
    body, cut = bounded(text_of(report) if text is None else text)
    budget = REPORT_LIMIT
    parts, pairs = [], []
    for given, into in ((sections, parts), (properties, pairs)):
        for pair in given:
            try:
                name, value = pair
            except Exception:
                name, value = "property", repr(pair)
            if budget < 1024:
                cut = True
                break
            (name, _cut), (value, shortened) = bounded(name, 512), bounded(value, min(TEXT_LIMIT, budget))
            cut = cut or shortened
            budget -= len(name) + len(value) + 8
            into.append((name, value))
    return wire.pack_REPORT(
        item=item, attempt=attempt, worker=NONE16, nodeid=encode_id(nodeid), when=encode(report.when or ""), category=encode(category or ""),
        letter=encode(letter or ""), word=encode(word or ""), outcome=encode(report.outcome), text=body, message=bounded(message)[0],
        path=encode(path), line=line, subtest=encode(description_of_subtest(report)),
        duration_us=microseconds(getattr(report, "duration", 0) or 0), start_us=microseconds(getattr(report, "start", 0) or 0),
        sections=parts, properties=pairs, flags=flags | (8 if cut else 0))


def warning_frame(message, when, nodeid, item):
    from _pytest.warnings import warning_record_to_str
    try:
        text = warning_record_to_str(message)
    except Exception as e:
        text = "<unprintable warning: %s>" % type(e).__name__
    category = getattr(message.category, "__name__", "")
    return wire.pack_WARNING(item=item, worker=NONE16, when=encode(when), category=encode(category), nodeid=encode_id(nodeid or ""),
                             text=bounded(text)[0], file=encode(message.filename or ""), line=max(0, int(message.lineno or 0)))


# ---- the plugin --------------------------------------------------------------------------------------------

class Adapter(object):
    """Our plugin in the session of a collector or of a worker.

    control: socket to the agent (collector), None in a worker that collects itself.  commands, results: pipes (worker).
    A forked worker is the same object in the child: reborn() turns a collector into a worker."""

    def __init__(self, start, page, start_fds, can_fork):
        self.start = start
        self.flags = start.flags
        self.args = [os.fsdecode(t.text) for t in start.args]
        self.page = page
        self.start_fds = start_fds
        self.can_fork = can_fork
        self.telling = bool(TELLING_ARGS.intersection(self.args))
        self.control = None
        self.own_control = None    # of a collector that became a worker and had nobody to leave it to
        self.commands = None
        self.results = -1
        self.worker = start.first_worker
        self.total = start.workers_expected
        self.slot_number = 0
        self.way = WAY_COLLECTED
        self.is_worker = False     # runs items (or will, when it has collected)
        self.reads = Reads()
        self.input = None
        self.config = None
        self.session = None
        self.typed = {}
        self.collected_sent = False
        self.served = False        # the collector has been in its serving loop
        self.failed_env = False    # ENV_FAILED was sent
        self.deselected = 0
        self.collect_errors = 0
        self.collect_started = time.time()
        self.reason = ""
        self.stopped = False
        self.pending = []          # frames that go with the next RESULT
        self.finish = None         # (failed, not run) of FINISH
        self.gc_threshold = None
        self.seed_watch = None
        self.maxfail = 0
        self.ramp = 0.0
        self.asked = {}
        self.basetemp = None
        # the item that runs
        self.words = page.words if page is not None else None
        self.base = 0
        self.item_index = NONE32
        self.attempt = 0
        self.want_output = bool(self.flags & ENV_OUTPUT)
        self.plain_status = False
        self.plain_type = None
        self.reset_item()

    # ---- sending

    def send(self, data):
        write_all(self.results if self.results >= 0 else self.control.fd, data)

    def fail_environment(self, status, text):
        if not self.failed_env:
            self.failed_env = True
            self.send(wire.pack_ENV_FAILED(exit_status=status, text=encode(text)))

    # ---- before and around the session

    def before(self):
        """Everything that must be so before pytest reads its configuration."""
        uid = as_text(self.start.run_uid)
        worker = "gw%d" % self.worker
        self.input = WorkerInput(workerid=worker, workercount=self.total, testrunuid=uid, mainargv=list(sys.argv))
        self.input["rampdelay"] = 0.0
        try:
            self.input["randomly_seed"] = int(uid[:8], 16)  # what pytest-randomly's controller would hand to its workers
        except ValueError:
            self.input["randomly_seed"] = sum(bytearray(encode(uid)))
        if self.telling:
            return
        os.environ["PYTEST_XDIST_WORKER"] = worker
        os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(self.total)
        os.environ["PYTEST_XDIST_TESTRUNUID"] = uid
        if not self.is_worker:
            self.input.reads = self.reads
            record_environ(self.reads)
            self.seed_watch = SeedWatch()

    def collect_gc(self):
        try:
            self.gc_threshold = gc.get_threshold()
            gc.set_threshold(GC_WHILE_COLLECTING, *self.gc_threshold[1:])
        except (AttributeError, NotImplementedError):
            self.gc_threshold = None

    def plain_gc(self):
        """Collected: what there is now is never walked again.  Without gc.collect(), 0.1 s of 10,000 items: of garbage there are at most
        GC_WHILE_COLLECTING objects.  Freezing comes before the usual threshold, which would bring a full collection at once."""
        if hasattr(gc, "freeze"):
            gc.freeze()
        if self.gc_threshold and gc.get_threshold()[0] == GC_WHILE_COLLECTING:
            gc.set_threshold(*self.gc_threshold)
        self.gc_threshold = None

    def run_session(self):
        """The whole pytest session; in a forked worker this returns a second time, in the child.  The exit status."""
        import _pytest.config
        self.before()
        self.collect_gc()
        entry = getattr(_pytest.config, "_main", None)
        try:
            if entry is not None:
                name = "python -m pytest" if self.flags & ENV_AS_MODULE else "pytest"
                status = entry(args=list(self.args), plugins=[self], prog=name)
            else:
                status = _pytest.config.main(list(self.args), plugins=[self])
        except SystemExit as e:  # argparse
            status = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        except BaseException as e:
            import traceback
            traceback.print_exc()
            self.reason = self.reason or "%s: %s" % (type(e).__name__, as_text(e))
            self.stopped = True
            status = EXIT_INTERNAL
        flush_stdio()
        return int(status)

    # ---- hooks: configuration

    def pytest_addoption(self, parser, pluginmanager):
        for name in ("xdist", "xdist.plugin", "xdist.looponfail"):
            pluginmanager.set_blocked(name)
        add_xdist_options(parser)

    def pytest_addhooks(self, pluginmanager):
        pluginmanager.add_hookspecs(make_hookspecs())

    def pytest_plugin_registered(self, plugin, manager):
        reporter = getattr(sys.modules.get("_pytest.terminal"), "TerminalReporter", None)
        if reporter is None or self.telling or type(plugin) is QuietReporter or not isinstance(plugin, reporter):
            return
        if manager.get_plugin("terminalreporter") is plugin:
            manager.unregister(plugin)
            manager.register(QuietReporter(plugin, loud=plugin.config.getoption("setupshow", False)), "terminalreporter")

    def around_cmdline_main(self, config):
        self.config = config
        option = config.option
        self.telling = any(getattr(option, name, False) for name in TELLING_OPTIONS)
        if self.telling:
            for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
                os.environ.pop(name, None)
            yield
            return
        self.check_home(config)
        self.take_options(config)
        config.workerinput = self.input
        config.workeroutput = {}
        yield

    def take_options(self, config):
        """What was asked for is reported; then the options say: this process distributes nothing."""
        import pytest
        option = config.option
        if getattr(option, "usepdb", False):
            raise pytest.UsageError("--pdb is incompatible with distributing tests; run pytest itself for it")
        if option.distload:
            option.dist = "load"
        if self.flags & ENV_TYPED:
            typed = config._parser.parse_known_args(list(self.args))
            if typed.distload:
                typed.dist = "load"
            self.typed = dict((name, getattr(typed, name, None)) for name in TYPED_OPTIONS)
        self.asked = dict((name, getattr(option, name, None)) for name in OPTIONS)
        self.asked.update(self.typed)
        if self.asked.get("numprocesses") in ("auto", "logical") or not self.asked.get("numprocesses"):
            self.ask_for_number(config)
        self.ramp = ramp_seconds(getattr(option, "ramp", None))
        option.loadgroup = option.dist == "loadgroup"
        option.dist = "no"
        option.distload = False
        option.tx = []
        option.numprocesses = None
        option.maxprocesses = None
        option.looponfail = False
        option.pastebin = None
        if self.is_worker:
            self.give_basetemp(config, None)

    def ask_for_number(self, config):
        """-n auto: hooks of plugins and conftests come first, then the environment entry; else the engine counts processors."""
        number = None
        if foreign_plugins(config, "pytest_xdist_auto_num_workers"):
            number = config.hook.pytest_xdist_auto_num_workers(config=config)
        if number is None:
            try:
                number = int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", ""))
            except ValueError:
                return
        self.asked["auto_num_workers"] = number
        if self.asked.get("numprocesses") in ("auto", "logical"):
            self.asked["numprocesses"] = number

    def check_home(self, config):
        """A plugin that hands data from a controlling pytest process to workers cannot be right without one."""
        import pytest
        for plugin in foreign_plugins(config, "pytest_configure_node"):
            name = plugin_name(config, plugin)
            self.fail_environment(EXIT_USAGE, "%s implements pytest_configure_node: it needs a controlling pytest process, which xd does not have "
                                              "yet; run without it (-p no:NAME, or without its options) or with plain pytest" % name)
            raise pytest.UsageError("%s needs a controlling pytest process" % name)

    def pytest_configure(self, config):
        config.addinivalue_line("markers", "xdist_group(name): tests of one group run on the same worker under --dist loadgroup.")
        fixtures = make_fixtures()
        if not config.pluginmanager.has_plugin("xd_fixtures"):
            config.pluginmanager.register(fixtures, "xd_fixtures")

    def around_collection(self, session):
        self.collect_started = time.time()
        yield

    def around_sessionstart(self, session):
        self.session = session
        if not self.telling:
            self.check_home(session.config)  # again: pytest_configure may have brought more plugins
        outcome = yield
        if self.telling or outcome.excinfo is not None:
            return
        if self.is_worker:
            self.fault_file(session.config)
        else:
            self.send(self.config_frame(session.config))

    def config_frame(self, config):
        import pytest
        pairs = []
        for name in OPTIONS + ("auto_num_workers",):
            value = self.asked.get(name)
            if isinstance(value, (list, tuple)):
                pairs.extend((encode(name), encode(v)) for v in value)
            elif value is not None:
                pairs.append((encode(name), encode(int(value) if isinstance(value, bool) else value)))
        for name in INIS:
            try:
                value = config.getini(name)
            except (KeyError, ValueError):
                continue
            pairs.append((encode(name), encode(int(value) if isinstance(value, bool) else value)))
        return wire.pack_CONFIG(python=os.fsencode(sys.executable or ""), python_version=encode(python_version()),
                                pytest_version=encode(pytest.__version__), rootdir=os.fsencode(str(config.rootpath)),
                                invocation_dir=os.fsencode(str(config.invocation_params.dir)), header=[(encode(t),) for t in self.header(config)],
                                options=pairs, notes=[(encode(t),) for t in self.notes(config)])

    def header(self, config):
        lines = []
        if not config.pluginmanager.has_plugin("terminalreporter"):
            return lines  # -p no:terminal: nobody asks the plugins, and they count on its options
        for given in reversed(config.hook.pytest_report_header(config=config, start_path=config.invocation_params.dir)):
            lines.extend([given] if isinstance(given, str) else given)
        return [as_text(line) for line in lines]

    def notes(self, config):
        hooks = {}
        names = {}
        for hook in HOME_HOOKS:
            for plugin in foreign_plugins(config, hook):
                if module_of(plugin).startswith("_hypothesis") and not getattr(config.option, "hypothesis_show_statistics", False):
                    continue  # its summary is empty without this option
                hooks.setdefault(id(plugin), []).append(hook)
                names[id(plugin)] = plugin_name(config, plugin)
        return ["%s implements %s, which is called in a controlling pytest process only: xd does not have one yet, that part is left out" %
                (names[key], ", ".join(found)) for key, found in hooks.items()]

    # ---- hooks: collection

    def pytest_deselected(self, items):
        self.deselected += len(items)

    def pytest_collectreport(self, report):
        if report.outcome == "passed" or self.telling:
            return
        if report.outcome == "failed":
            self.collect_errors += 1
        if not self.is_worker:
            status = ("error", "E", "ERROR") if report.outcome == "failed" else ("skipped", "s", "SKIPPED")
            self.send(report_frame(report, status, NONE32, 0, report.nodeid, report.sections, ()))

    def pytest_warning_recorded(self, warning_message, when, nodeid):
        if self.telling or (self.is_worker and not self.collected_sent):
            return  # while collecting, only the collector tells
        frame = warning_frame(warning_message, when, nodeid, self.item_index)
        if self.is_worker:
            self.pending.append(frame)
        else:
            self.send(frame)

    def send_collection(self, items):
        """COLLECT_IDS, made without the generic codec: there may be a hundred thousand (tests compare the two)."""
        part, size, first = [], 0, 0
        for index, item in enumerate(items):
            nodeid = item.nodeid
            try:
                data = nodeid.encode("utf-8")
            except UnicodeEncodeError:
                data = nodeid.encode("utf-8", "surrogatepass")
            line = plain_line(item, nodeid)
            file = ""
            if line is None:
                file, line, _domain = item.location
            file = b"" if not file or (nodeid.startswith(file) and nodeid[len(file):len(file) + 2] in ("::", "")) else encode_id(file)
            group = group_of(item)
            entry = b"".join((NOTHING_SHARED, LENGTH.pack(len(data)), data, LINE_LENGTH.pack(-1 if line is None else line, len(file)), file,
                              LENGTH.pack(len(group)), group))
            if size + len(entry) > IDS_LIMIT and part:
                self.send_ids(first, part)
                part, size, first = [], 0, index
            size += len(entry)
            part.append(entry)
        if part:
            self.send_ids(first, part)

    def send_ids(self, first, part):
        body = b"".join([LENGTHS.pack(first, len(part))] + part)
        self.send(FRAME_HEADER.pack(len(body), wire.COLLECT_IDS, 0, 0) + body)

    def send_collected(self, status, reason="", why=""):
        if self.collected_sent or self.failed_env:
            return
        self.collected_sent = True
        count = len(self.session.items) if self.session is not None and status < 0 else 0
        self.send(wire.pack_COLLECTED(
            count=count, deselected=self.deselected, errors=self.collect_errors, digest_lo=0, digest_hi=0, exit_status=status,
            stop_reason=bounded(reason)[0], way=self.way, why=encode(why), duration_us=microseconds(time.time() - self.collect_started)))

    def pytest_keyboard_interrupt(self, excinfo):
        self.stopped = True
        self.reason = as_text(excinfo.exconly())

    def pytest_internalerror(self, excrepr):
        self.stopped = True
        self.reason = as_text(excrepr)
        missing = self.reads.missing
        if missing is not None and not self.is_worker and "KeyError" in self.reason and repr(missing) in self.reason:
            self.fail_environment(EXIT_USAGE, "a plugin needs %r in config.workerinput, which a controlling pytest process would give it "
                                              "(pytest_configure_node); xd does not have one yet\n%s" % (missing, self.reason))
            return True
        return self.is_worker or None  # of a worker it travels in WORKER_DONE; else pytest writes it to stderr

    # ---- the loop

    def pytest_runtestloop(self, session):
        if self.telling:
            return None
        option = session.config.option
        if session.testsfailed and not option.continue_on_collection_errors:
            raise session.Interrupted("%d error%s during collection" % (session.testsfailed, "s" if session.testsfailed != 1 else ""))
        self.plain_gc()
        if not self.is_worker:
            if not session.items:
                return True
            if not self.collector(session):
                return True
        else:
            self.send_collection(session.items)
            self.send_collected(-1)
            self.send(wire.pack_WORKER_READY(pid=os.getpid(), count=len(session.items), same=0))
        RunLoop(self, session).run()
        return True

    # ---- the collector

    def why_not(self):
        return why_not_collected(self.config, self.start_fds, self.reads, self.start.workers_expected != 0)

    def choose_way(self):
        if not self.can_fork:
            return WAY_FRESH, "forking is switched off" if self.flags & ENV_NO_FORK else "this platform cannot fork"
        if self.flags & ENV_NO_COLLECTED:
            return WAY_WARM, "forking the collected process is switched off"
        against = self.why_not()
        if against and "descriptor" in against:
            gc.collect()  # it may be held by garbage alone
            against = self.why_not()
        if against:
            return WAY_WARM, against
        return WAY_COLLECTED, "nothing in the collected process stands against forking it"

    def collector(self, session):
        """Serves the agent until the end (False), or as a worker returns to run items (True)."""
        if self.seed_watch is not None:
            self.seed_watch.stop()
        self.way, why = self.choose_way()
        plain_environ()
        self.input.reads = None
        self.send_collection(session.items)
        self.share_basetemp(session.config)
        self.send_collected(-1, why=why)
        self.served = True
        while True:
            try:
                kind, record = self.control.next()
            except Gone:
                break
            if kind == wire.FORK:
                if self.on_fork(record):
                    return True
            elif kind == wire.REAP:
                reap(self.control, record.pid)
            elif kind == wire.FINISH:
                self.on_finish(record)
            elif kind == wire.QUIT:
                break
        if self.finish is None or self.finish[0]:
            session.testsfailed += 1  # pytest keeps the temporary folders of a failed run, and so must we
        return False

    def on_fork(self, record):
        fds = self.control.take_fds(4)
        if fds is None:
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=b"no descriptors came with FORK"))
            return False
        if record.become:
            self.become(record, fds)
            return True
        try:
            pid = quiet_fork()
        except OSError as e:
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=encode(e)))
            pid = -1
        if pid == 0:
            self.control.close()
            self.reborn(record, fds, forked=True)
            return True
        for fd in fds:
            os.close(fd)
        if pid > 0:
            own_group(pid)
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=pid, error=b""))
        return False

    def become(self, record, fds):
        """This process is the worker now.  A child with nothing but the control socket keeps what only the collector knows: pytest's cache."""
        self.control.send(wire.pack_FORKED(worker=record.worker, pid=os.getpid(), error=b""))
        if self.can_fork:
            try:
                if quiet_fork() == 0:
                    self.keep_cache_alone()
            except OSError:
                pass
            self.control.close()
        else:
            self.own_control = self.control
        self.reborn(record, fds, forked=False)

    def finish_late(self):
        """The collector that became a worker where no keeper could be forked: FINISH was sent before the worker's QUIT."""
        self.own_control.sock.settimeout(0.2)
        try:
            while self.finish is None:
                kind, record = self.own_control.next()
                if kind == wire.FINISH:
                    self.on_finish(record)
                elif kind == wire.QUIT:
                    break
        except (Gone, OSError):
            pass

    def keep_cache_alone(self):
        try:
            keep = self.control.fd
            os.closerange(0, keep)
            os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX") if "SC_OPEN_MAX" in os.sysconf_names else 65536)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            while True:
                kind, record = self.control.next()
                if kind == wire.FINISH:
                    self.on_finish(record)
                elif kind == wire.REAP:
                    reap(self.control, record.pid)
                elif kind == wire.QUIT:
                    break
        except BaseException:
            pass
        os._exit(0)

    def on_finish(self, record):
        self.finish = ([i.item for i in record.failed], [i.item for i in record.not_run])
        if self.flags & ENV_CACHE:
            try:
                self.save_cache(*self.finish)
            except Exception as e:
                sys.stderr.write("xd: pytest's cache could not be written: %s: %s\n" % (type(e).__name__, e))

    def save_cache(self, failed, not_run):
        """What cacheprovider does at the end of a session, with the outcomes of all workers."""
        config = self.config
        cache = getattr(config, "cache", None)
        if cache is None or getattr(config.option, "cacheshow", None):
            return
        manager = config.pluginmanager
        last = getattr(manager.get_plugin("lfplugin"), "lastfailed", None)
        if last is not None:
            failed, skip = set(failed), set(not_run)
            current = dict((str(key), value) for key, value in last.items())
            items = self.session.items if self.session is not None else ()
            bad = set(items[i].nodeid for i in failed if i < len(items))
            for index, item in enumerate(items):
                if index not in skip and index not in failed and item.nodeid not in bad:
                    current.pop(item.nodeid, None)
            for nodeid in bad:
                current[nodeid] = True
            if cache.get("cache/lastfailed", {}) != current:
                cache.set("cache/lastfailed", current)
        known = getattr(manager.get_plugin("nfplugin"), "cached_nodeids", None)
        if known is not None:
            cache.set("cache/nodeids", sorted(str(n) for n in known))

    def early_sessionfinish(self, session):
        """A session that ended before it served (errors, no tests) keeps its cache like plain pytest."""
        if not self.telling and not self.is_worker and not self.served and self.flags & ENV_CACHE:
            self.save_cache((), range(len(session.items)))

    # ---- temporary folders

    def share_basetemp(self, config):
        """All workers get folders below one, that this process makes and cleans up: as below xdist's controller."""
        factory = getattr(config, "_tmp_path_factory", None)
        try:
            self.basetemp = None if factory is None else str(factory.getbasetemp())
        except Exception:
            self.basetemp = None  # every worker then makes its own, or says why it cannot
        path = self.scratch("basetemp")
        if path and self.basetemp:
            try:
                with open(path + ".new", "wb") as f:
                    f.write(os.fsencode(self.basetemp))
                os.rename(path + ".new", path)
            except (OSError, IOError):
                pass

    def scratch(self, name):
        folder = os.fsdecode(self.start.scratch_dir)
        return os.path.join(folder, name) if folder else None

    def give_basetemp(self, config, factory):
        base = self.basetemp
        if base is None:
            try:
                with open(self.scratch("basetemp") or os.devnull, "rb") as f:
                    base = os.fsdecode(f.read())
            except (OSError, IOError):
                base = None
        if not base:
            if factory is not None:
                factory._basetemp = None
            return
        mine = os.path.join(base, "popen-gw%d" % self.worker)
        config.option.basetemp = mine
        if factory is not None:
            import pathlib
            factory._given_basetemp = pathlib.Path(mine)
            factory._basetemp = None
            if hasattr(factory, "_exit_stack"):
                factory._exit_stack = type(factory._exit_stack)()
            if hasattr(factory, "_next_number"):
                factory._next_number = {}

    # ---- becoming a worker

    def take_fork(self, record, fds):
        self.is_worker = True
        own_group(0)
        self.worker, self.slot_number, self.total = record.worker, record.slot, record.total
        self.maxfail = record.maxfail
        self.commands = Commands(fds[0])
        self.results = fds[1]
        self.control = None

    def reborn(self, record, fds, forked):
        """A collector turns into worker `record.worker`; forked: it is a copy whose original lives on."""
        config, session = self.config, self.session
        self.take_fork(record, fds)
        worker = "gw%d" % self.worker
        self.input.update(workerid=worker, workercount=self.total, rampdelay=self.ramp_delay())
        os.environ["PYTEST_XDIST_WORKER"] = worker
        os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(self.total)
        redirect_output(config, fds[2], fds[3])
        if forked:
            config.workeroutput = {}
            forget_exit_handlers()
            self.reseed()
        self.give_basetemp(config, getattr(config, "_tmp_path_factory", None))
        self.fault_file(config)
        session.testsfailed = 0
        self.send(wire.pack_WORKER_READY(pid=os.getpid(), count=len(session.items), same=1))

    def ramp_delay(self):
        return self.ramp * self.worker / self.total if self.total and self.worker < self.total else 0.0

    def reseed(self):
        random = sys.modules.get("random")
        if random is not None:  # Python has done it since 3.7, also where the suite chose a seed
            if self.seed_watch is not None and self.seed_watch.state is not None:
                random.setstate(self.seed_watch.state)
            else:
                random.seed()
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            try:
                numpy.seed()
            except Exception:
                pass

    def fault_file(self, config):
        """Tracebacks of a crash go to a file of this worker, which the agent reads when it has to tell of the crash."""
        path = self.scratch("gw%d.fault" % self.worker)
        if not path or not config.pluginmanager.has_plugin("faulthandler"):
            return
        try:
            import faulthandler
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            faulthandler.enable(file=fd)
        except (ImportError, OSError, ValueError, RuntimeError):
            pass

    def done(self, status):
        if self.reason == "" and self.session is not None and (self.session.shouldfail or self.session.shouldstop):
            self.reason = as_text(self.session.shouldfail or self.session.shouldstop)
            self.stopped = True
        frames, self.pending = self.pending, []
        frames.append(wire.pack_WORKER_DONE(exit_status=status, reason=bounded(self.reason, 64 * 1024)[0], stopped=1 if self.stopped else 0))
        self.send(b"".join(frames))

    def around_sessionfinish(self, session, exitstatus):
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["exitstatus"] = int(exitstatus)
            output["shouldfail"] = session.shouldfail
            output["shouldstop"] = session.shouldstop
        self.early_sessionfinish(session)
        yield

    # ---- reports of the item that runs

    def reset_item(self):
        self.setup_s = self.call_s = self.teardown_s = self.start_s = 0.0
        self.plain = True        # nothing but passed phases without anything to say
        self.seen = []           # reports, in order
        self.statuses = []       # of each, once the item is not plain
        self.called = False
        self.outcome = PASSED
        self.result_flags = 0
        self.waited_s = 0.0      # for word of the next item, inside the teardown

    def pytest_runtest_logreport(self, report):
        """The usual report (a passed phase, nothing to say) must cost next to nothing."""
        fields = report.__dict__
        if self.plain and fields["outcome"] == "passed" and type(report) is self.plain_type and "wasxfail" not in fields:
            when = fields["when"]
            if when == "call":
                self.call_s = fields["duration"]
                self.called = True
            elif when == "setup":
                self.setup_s = fields["duration"]
                self.start_s = fields.get("start", 0.0)
            else:
                self.forget_wait(report)
                self.teardown_s = fields["duration"]
            self.seen.append(report)
            if self.plain_status:
                return
            self.seen.pop()
        self.other_report(report)

    def forget_wait(self, report):
        """What the worker waited for word of the next item is no time of this one."""
        if self.waited_s:
            report.duration = max(0.0, report.duration - self.waited_s)
            self.waited_s = 0.0

    def other_report(self, report):
        """Anything else: its status is asked for now, as pytest's terminal does (asking may change the report); the text is made at the end."""
        if report.outcome == "failed" and not hasattr(report, "wasxfail"):
            self.words[self.base + FAILURES] += 1
        config = self.config
        status = config.hook.pytest_report_teststatus(report=report, config=config) or usual_status(report)
        when, outcome = report.when, report.outcome
        subtest = type(report) is not self.plain_type
        if not subtest:
            if when == "setup":
                self.setup_s, self.start_s = report.duration, getattr(report, "start", 0.0)
            elif when == "call":
                self.call_s = report.duration
            elif when == "teardown":
                self.forget_wait(report)
                self.teardown_s = report.duration
        usual = not subtest and outcome == "passed" and not hasattr(report, "wasxfail") and tuple(status) == (
            ("passed", ".", "PASSED") if when == "call" else ("", "", ""))
        if self.plain and not usual:
            self.plain = False
            self.statuses = [("passed", ".", "PASSED") if r.when == "call" else ("", "", "") for r in self.seen]
        self.seen.append(report)
        if self.plain:
            self.called = self.called or when == "call"
            return
        self.statuses.append(status)
        self.judge(report, when, outcome, subtest)

    def judge(self, report, when, outcome, subtest):
        """The one outcome of the item; how it is counted is told by its REPORTs."""
        if outcome == "failed":
            if when == "teardown":
                self.result_flags |= 2
                if self.outcome != FAILED:
                    self.outcome = ERROR
            elif self.outcome not in (FAILED, ERROR):
                self.outcome = ERROR if when == "setup" else FAILED
        elif subtest or self.outcome in (FAILED, ERROR):
            return
        elif outcome == "skipped":
            self.outcome = XFAILED if hasattr(report, "wasxfail") else SKIPPED
        elif outcome == "passed" and hasattr(report, "wasxfail"):
            self.outcome = XPASSED

    def flush_item(self, index, attempt, position, item, ended):
        """RESULT of the item, its REPORTs and WARNINGs before it, in one write."""
        seen = self.seen
        speaks = self.plain and seen and ended and (seen[-1].user_properties or (self.want_output and seen[-1].sections))
        if self.plain and self.called and not speaks:
            outcome, flags = PASSED, 0
        elif self.plain and not self.called:
            outcome, flags = (NOT_RUN, 0) if not ended or not seen else (PASSED, 1)  # 1: as --setup-only, where pytest counts nothing
        else:
            if self.plain:
                self.statuses = [("passed", ".", "PASSED") if r.when == "call" else ("", "", "") for r in seen]
            outcome, flags = self.outcome, self.result_flags | 1
            if not ended and not any(status[0] for status in self.statuses):
                outcome, flags = NOT_RUN, 0
            else:
                self.report_frames(index, attempt, item)
        frame = RESULT_FRAME.pack(
            RESULT_BODY_BYTES, wire.RESULT, 0, 0, index, attempt, outcome, flags, microseconds(self.setup_s, NONE32),
            microseconds(self.call_s, NONE32), microseconds(self.teardown_s, NONE32), position, microseconds(self.start_s))
        if self.pending:
            self.pending.append(frame)
            frame = b"".join(self.pending)
            self.pending = []
        write_all(self.results, frame)

    def report_frames(self, index, attempt, item):
        nodeid, sent, last = item.nodeid, 0, len(self.seen) - 1
        for n, (report, status) in enumerate(zip(self.seen, self.statuses)):
            subtest = type(report) is not self.plain_type
            sections = report.sections[sent:]
            properties = report.user_properties if n == last else ()
            if not (status[0] or status[1] or sections or properties):
                continue
            if not subtest:
                sent = len(report.sections)
            other = "" if report.nodeid == nodeid else report.nodeid
            self.pending.append(report_frame(report, status, index, attempt, other, sections, properties))


def wants_output(config):
    """Does a report show what passed tests wrote: -rP, -rA, or JUnit XML with junit_logging?"""
    option = config.option
    if set("PA").intersection(getattr(option, "reportchars", "") or ""):
        return True
    try:
        return bool(getattr(option, "xmlpath", None) and config.getini("junit_logging") != "no" and config.getini("junit_log_passing_tests"))
    except (KeyError, ValueError):  # -p no:junitxml
        return False


def plain_line(item, nodeid):
    """item.location[1] of an undecorated test function in the file of its node id, without the file system, which item.location asks;
    None: ask it."""
    function = getattr(item, "_obj", None)
    function = getattr(function, "__func__", function)
    if type(item).__module__ != "_pytest.python" or type(function) is not FunctionType:
        return None
    for name in function.__dict__:
        if name != "pytestmark":
            return None
    code = function.__code__
    path = os.fspath(item.path)
    if code.co_filename != path or "reportinfo" in item.__dict__ or path != os.path.join(root_of(item), nodeid.partition("::")[0]):
        return None
    return code.co_firstlineno - 1


def root_of(item):
    return os.fspath(item.config.rootpath)


def give_location(item):
    """item.location of such a function, before pytest computes the same."""
    if "location" not in item.__dict__:
        nodeid = item.nodeid
        line = plain_line(item, nodeid)
        if line is not None:
            item.__dict__["location"] = (nodeid.partition("::")[0], line, item.getmodpath())


FunctionType = type(encode)


def group_of(item):
    """Names of the xdist_group marks, sorted and joined with _; bytes."""
    names = None
    for mark in item.iter_markers("xdist_group"):
        names = names or set()
        names.add(as_text(mark.args[0] if mark.args else mark.kwargs.get("name", "default")))
    return encode("_".join(sorted(names))) if names else b""


def plugin_class():
    """Adapter with its wrappers marked as such: pytest must be imported for that."""
    import pytest
    wrapper = pytest.hookimpl(hookwrapper=True, tryfirst=True)
    Adapter.pytest_cmdline_main = wrapper(Adapter.around_cmdline_main)
    Adapter.pytest_sessionfinish = wrapper(Adapter.around_sessionfinish)
    Adapter.pytest_runtestloop = pytest.hookimpl(tryfirst=True)(Adapter.pytest_runtestloop)
    Adapter.pytest_runtest_logreport = pytest.hookimpl(trylast=True)(Adapter.pytest_runtest_logreport)
    Adapter.pytest_configure = pytest.hookimpl(trylast=True)(Adapter.pytest_configure)
    Adapter.pytest_sessionstart = wrapper(Adapter.around_sessionstart)
    Adapter.pytest_collection = wrapper(Adapter.around_collection)
    return Adapter


# ---- running items -----------------------------------------------------------------------------------------

UNRESOLVED = object()


class RunLoop(object):
    """Runs what RUN tells.  Positions count the items of this worker; told maps those not yet started to (item, attempt)."""

    def __init__(self, adapter, session):
        from _pytest.reports import TestReport
        self.adapter = adapter
        self.session = session
        self.items = session.items
        self.commands = adapter.commands
        self.told = {}
        self.end = 0          # positions below it are told
        self.last = False
        self.quit = False
        self.runs = 0
        self.position = 0
        page = adapter.page
        self.words = page.words
        self.base = adapter.base = page.slot(adapter.slot_number)
        self.all_failures = page.failures()
        self.maxfail = adapter.maxfail
        self.guess = None
        self.next = UNRESOLVED
        self.running = False
        self.torn_for = None
        self.original_teardown = None
        self.words[self.base + PID] = os.getpid()
        adapter.plain_type = TestReport
        adapter.plain_status = not foreign_plugins(session.config, "pytest_report_teststatus")
        adapter.want_output = adapter.want_output or wants_output(session.config)
        self.wrap_teardown()

    def wrap_teardown(self):
        state = getattr(self.session, "_setupstate", None)
        self.original_teardown = getattr(state, "teardown_exact", None)
        if self.original_teardown is not None:
            try:
                state.teardown_exact = self.teardown_exact
            except AttributeError:
                self.original_teardown = None

    def teardown_exact(self, nextitem=None):
        session = self.session
        if self.running and nextitem is self.guess and not (session.shouldfail or session.shouldstop):
            nextitem = self.resolve()
        self.torn_for = nextitem
        return self.original_teardown(nextitem)

    def resolve(self):
        """The successor of the running item, claimed at this moment; None if none is to come (or none is told in good time)."""
        if self.next is UNRESOLVED:
            self.next = None
            self.next = self.take(self.position + 1, TEARDOWN_WAIT_S)
        return None if self.next is None else self.items[self.next[0]]

    # ---- what the agent says

    def hear(self, timeout_s=None):
        """Reads one command; False: none came in time."""
        start = time.monotonic()
        got = self.commands.next(timeout_s)
        self.adapter.waited_s += time.monotonic() - start
        if got is None:
            return False
        kind, record = got
        if kind == wire.QUIT:
            self.quit = True
        elif kind == wire.RUN:
            self.runs += 1
            position = record.first
            for old in range(position, self.end):
                self.told.pop(old, None)
            for span in record.ranges:
                for item in range(span.first, span.first + span.count):
                    self.told[position] = (item, span.attempt)
                    position += 1
            self.end = position
            self.last = bool(record.last)
        return True

    def halted(self):
        """No further item may start: the run was stopped, or enough tests have failed."""
        words = self.words
        if words[PAGE_STOP]:
            return True
        most = words[PAGE_MAXFAIL] or self.maxfail
        return bool(most) and sum(self.all_failures) + words[PAGE_ELSEWHERE] >= most

    def claim(self, position):
        """Position is ours from here on, or was not claimed at all (ARCHITECTURE.md, "Claiming an item")."""
        words, base = self.words, self.base
        words[base] = position + 1
        if position >= words[base + LIMIT] or self.runs < words[base + RUNS] or self.halted():
            words[base] = position
            return False
        return True

    def take(self, position, wait_s=None):
        """(item, attempt) of a position, claimed.  None: none comes (wait_s None: the session is to end), or wait_s passed."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            if position in self.told:
                if self.claim(position):
                    return self.told.pop(position)
            elif wait_s is not None and self.last and self.runs >= self.words[self.base + RUNS]:
                return None
            if self.quit or (wait_s is not None and self.halted()):
                return None
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            self.hear(min(left, 0.1) if wait_s is not None else None)

    def hear_of_next(self, position):
        """An item starts when its successor is known, or when none comes."""
        while position >= self.end and not (self.last or self.quit or self.words[PAGE_STOP]):
            self.hear(0.1)

    # ---- the loop

    def run(self):
        adapter = self.adapter
        if adapter.input.get("rampdelay"):
            time.sleep(adapter.input["rampdelay"])
        current = self.take(0)
        while current is not None:
            if self.position + 1 >= self.end:
                self.hear_of_next(self.position + 1)
            self.one(current)
            if self.session.shouldfail:
                raise self.session.Failed(self.session.shouldfail)
            if self.session.shouldstop:
                raise self.session.Interrupted(self.session.shouldstop)
            current = self.next
            self.position += 1
            if current is None or current is UNRESOLVED:
                current = self.take(self.position)

    def one(self, current):
        adapter, words, base = self.adapter, self.words, self.base
        index, attempt = current
        item = self.items[index]
        following = self.told.get(self.position + 1)
        self.guess = guess = None if following is None else self.items[following[0]]
        if self.torn_for is not item and self.torn_for is not None:
            self.original_teardown(item)  # the teardown before was for another successor than the one that came
            self.torn_for = item
        give_location(item)
        adapter.item_index = index
        adapter.reset_item()
        self.next = UNRESOLVED
        if self.original_teardown is None:
            guess = self.resolve()
        adapter.page.longs[(base + SINCE) >> 1] = time.monotonic_ns()
        words[base + ITEM] = index + 1
        self.running = True
        ended = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=guess)
            ended = True
        finally:
            self.running = False
            adapter.flush_item(index, attempt, self.position, item, ended)
            words[base + ITEM] = 0
            words[base + DONE] += 1
            adapter.item_index = NONE32
            if not ended:
                words[base] = self.position + 1


# ---- processes ---------------------------------------------------------------------------------------------

def redirect_output(config, out, err):
    """stdout and stderr of a worker forked from the collector, below all that holds them: the descriptor numbers stay, what they lead to is new.
    pytest's capture keeps working on files that no other process shares."""
    import tempfile
    capman = config.pluginmanager.get_plugin("capturemanager")
    capturing = getattr(capman, "_global_capturing", None)
    fault = fault_fd(config)
    active = set()
    for target, new in ((1, out), (2, err)):
        capture = getattr(capturing, "out" if target == 1 else "err", None)
        if getattr(capture, "targetfd", None) != target:
            continue
        os.dup2(new, capture.targetfd_save, False)
        fresh = tempfile.TemporaryFile(buffering=0)
        own = fileno(capture.tmpfile)
        if own is not None:
            os.dup2(fresh.fileno(), own, False)
            capture.tmpfile.seek(0)
            if getattr(capture, "_state", "suspended") == "started":
                os.dup2(own, target)
                active.add(target)
        fresh.close()
    if 1 not in active:
        os.dup2(out, 1)
    if 2 not in active:
        os.dup2(err, 2)
    if fault is not None:
        os.dup2(err, fault, False)
    for fd in (out, err):
        os.close(fd)


def forget_exit_handlers():
    """What was to happen at the exit of the original process must not happen at that of its copies."""
    import weakref
    atexit._clear()
    for finalizer in list(weakref.finalize._registry):
        finalizer.detach()
    weakref.finalize._registered_with_atexit = False
    if "logging" in sys.modules:
        atexit.register(sys.modules["logging"].shutdown)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
        atexit.register(util._exit_function)


def start_adapter(start, page_fd, can_fork):
    page = Page(page_fd)
    return plugin_class()(start, page, open_fds(), can_fork)


def collect(start, control, page_fd, can_fork):
    adapter = start_adapter(start, page_fd, can_fork)
    adapter.control = control
    status = adapter.run_session()
    if adapter.is_worker:
        adapter.done(status)
        if adapter.own_control is not None:
            adapter.finish_late()
        leave(status)
    adapter.send_collected(status, adapter.reason or reason_of(adapter.session))
    leave(status)


def reason_of(session):
    if session is None:
        return ""
    return as_text(session.shouldfail or session.shouldstop or "")


def work(start, page_fd, record, fds, way):
    """A worker that collects by itself; fds: commands, results."""
    adapter = start_adapter(start, page_fd, can_fork=False)
    adapter.way = way
    adapter.take_fork(record, fds)
    status = adapter.run_session()
    if not adapter.collected_sent:
        adapter.send_collected(status, adapter.reason)
    adapter.done(status)
    leave(status)


def can_fork_here(start):
    return hasattr(os, "fork") and hasattr(socket, "CMSG_SPACE") and not start.flags & ENV_NO_FORK


def begin(start):
    """Environment, folder, pytest; None or (exit status, text)."""
    stdio_as_worker()
    set_environment(start)
    sys.path[:] = [p for p in sys.path if not p or os.path.abspath(p) != HERE]
    failure = import_pytest()
    if failure is None:
        look_like_pytest([os.fsdecode(t.text) for t in start.args], start.flags & ENV_AS_MODULE)
    return failure


def host(h_fd, c_fd, page_fd):
    os.set_inheritable(page_fd, False)
    os.set_inheritable(c_fd, False)
    control = Control(h_fd)
    start = control.wait(wire.ENV_START)
    failure = begin(start)
    if failure is not None:
        control.send(wire.pack_ENV_FAILED(exit_status=failure[0], text=encode(failure[1])))
        return failure[0]
    import pytest
    ready = dict(python_version=encode(python_version()), pytest_version=encode(pytest.__version__))
    if not can_fork_here(start):
        control.send(wire.pack_HOST_READY(collector_pid=0, **ready))
        collect(start, Control(c_fd), page_fd, can_fork=False)
    if hasattr(gc, "freeze"):
        gc.freeze()  # what is imported here stays, in all processes
    interrupt = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent says when to stop
    pid = quiet_fork()
    if pid == 0:
        signal.signal(signal.SIGINT, interrupt)
        control.close()
        collect(start, Control(c_fd), page_fd, can_fork=True)
    os.close(c_fd)
    control.send(wire.pack_HOST_READY(collector_pid=pid, **ready))
    while True:
        kind, record = control.next()
        if kind == wire.FORK:
            host_fork(start, control, page_fd, record, interrupt)
        elif kind == wire.REAP:
            reap(control, record.pid)
        elif kind == wire.QUIT:
            return 0


def host_fork(start, control, page_fd, record, interrupt):
    fds = control.take_fds(4)
    if fds is None:
        control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=b"no descriptors came with FORK"))
        return
    pid, error = 0, b""
    try:
        pid = quiet_fork()
    except OSError as e:
        pid, error = -1, encode(e)
    if pid == 0:
        signal.signal(signal.SIGINT, interrupt)
        control.close()
        os.dup2(fds[2], 1)
        os.dup2(fds[3], 2)
        os.close(fds[2])
        os.close(fds[3])
        work(start, page_fd, record, fds[:2], WAY_WARM)
    for fd in fds:
        os.close(fd)
    if pid > 0:
        own_group(pid)
    control.send(wire.pack_FORKED(worker=record.worker, pid=max(pid, 0), error=error))


def fresh(control_fd, cmd_fd, res_fd, page_fd):
    """A worker in a process of its own.  ENV_START and FORK come on the control socket, or without one on the command pipe."""
    for fd in (cmd_fd, res_fd, page_fd):
        os.set_inheritable(fd, False)
    commands = Commands(cmd_fd)
    source = commands if control_fd is None else Control(control_fd)
    start = wait_for(source, wire.ENV_START)
    record = wait_for(source, wire.FORK)
    failure = begin(start)
    if failure is not None:  # the host could; what a worker writes last is told with its end
        sys.stderr.write(failure[1] + "\n")
        return failure[0]
    if control_fd is not None:
        source.close()
    work(start, page_fd, record, [cmd_fd, res_fd], WAY_FRESH)


def wait_for(source, kind):
    while True:
        got, record = source.next()
        if got == kind:
            return record
        if got == wire.QUIT:
            raise Gone()


def main(argv):
    numbers = [int(n) for n in argv[1:]]
    try:
        if argv[0] == "host":
            status = host(*numbers)
        else:
            status = fresh(*([None] + numbers if len(numbers) == 3 else numbers))
    except Gone:
        status = 0
    except KeyboardInterrupt:
        status = 2
    flush_stdio()
    os._exit(status)
