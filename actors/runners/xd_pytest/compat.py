"""All that the adapter uses of pytest and Python without a promise that it stays: private modules, names with a leading underscore, attributes of private classes.

Each is a Use, with what is lost where it is missing: a shortcut, a part of the output, or the fork after the collection.  Nothing of it may end a session.
missing() looks at all of them when a session starts, and again when all is collected; notes() says the same in lines for the user.  Other modules take
what they need from here, or through here, so that a rename in pytest is found in this file alone."""
from __future__ import absolute_import, division, print_function

import atexit
import operator
import os
import sys
import threading

from xd_pytest.pythons import COUNTS_REFERENCES, PY2

OLDEST = (4, 6)  # pytest
NO_FORK = "workers are not forked after the collection"
WAITS = "a test starts only when its successor is known"
LONGER = "collecting takes a little longer"


class Use(object):
    """name: of an attribute, with dots of an attribute's attribute, with | of either.  where: of a module, or of what OWNERS finds.  since: the first
    pytest that has it; in those before, what is said with it here does without.  forks: no process may be copied without it."""
    used = []

    def __init__(self, where, name, lost, since=OLDEST, forks=False, late=False):
        """late: it comes when plugins are configured, and is missed only where there is a session."""
        self.where, self.name, self.lost, self.since, self.forks, self.late = where, name, lost, since, forks, late
        self.names = [alternative.split(".") for alternative in name.split("|")]
        self.used.append(self)

    def of(self, owner):
        """The thing itself, or None."""
        for names in self.names:
            found = owner
            try:
                for name in names:
                    found = getattr(found, name)
                return found
            except AttributeError:
                pass
        return None

    def get(self):
        """The same of a module."""
        return self.of(sys.modules.get(self.where))

    def is_there(self, config, session):
        if self.late and session is None:
            return True
        find = OWNERS.get(self.where)
        owner = sys.modules.get(self.where) if find is None else find(config, session)
        if owner is None:  # no part of this session, but pytest's own modules always are
            return find is not None or not self.where.startswith("_pytest.")
        return any(has(owner, names) for names in self.names)

    def is_pytests(self):
        return self.where.startswith("_pytest.") or self.where in OWNERS and self.where != "os.environ"

    def full_name(self):
        return "%s.%s" % (self.where, self.name.replace("|", " or "))


def has(owner, names):
    for name in names:
        if not hasattr(owner, name):
            return False
        owner = getattr(owner, name)
    return True


def plugin(name):
    return lambda config, session: config.pluginmanager.get_plugin(name)


def first_item(config, session):
    """A test function of pytest's own kind, once there is one."""
    kind = getattr(sys.modules.get("pytest"), "Function", None)
    for item in getattr(session, "items", None) or ():
        return item if type(item) is kind else None
    return None


def capture(config, session):
    """pytest's capture of stdout where it is one of the descriptor."""
    return captures(config)["out"] if getattr(config.option, "capture", None) == "fd" else None


def stepwise(config, session):
    """Before pytest 6.1 it is there without --stepwise, too."""
    found = config.pluginmanager.get_plugin("stepwiseplugin")
    return found if getattr(found, "active", True) else None


def temporary(config, session):
    return TMP_PATH_FACTORY.of(config) if config.pluginmanager.has_plugin("tmpdir") else None


OWNERS = {
    "config": lambda config, session: config,
    "session": lambda config, session: session,
    "item": first_item,
    "cache": lambda config, session: getattr(config, "cache", None),
    "capture": capture,
    "capturemanager": plugin("capturemanager"),
    "captures": lambda config, session: GLOBAL_CAPTURE.of(plugin("capturemanager")(config, session)),
    "os.environ": lambda config, session: os.environ,
    "parser": lambda config, session: PARSER.of(config),
    "setupstate": lambda config, session: SETUP_STATE.of(session),
    "writer": lambda config, session: REPORTER_WRITER.of(plugin("terminalreporter")(config, session)),
    "lfplugin": plugin("lfplugin"),
    "logging-plugin": plugin("logging-plugin"),
    "nfplugin": plugin("nfplugin"),
    "stepwiseplugin": stepwise,
    "terminalreporter": plugin("terminalreporter"),
    "tmp_path_factory": temporary,
}

# ---- configuration and options

MAIN = Use("_pytest.config", "_main", "its usage errors name pytest.main()", since=(9, 1))
DEFAULT_PLUGINS = Use("_pytest.config", "default_plugins", "its modules are imported more often, which takes time")
PREPARE_CONFIG = Use("_pytest.config", "_prepareconfig", "xdctl doctor does not say what is wrong with its configuration")
UNCONFIGURE = Use("config", "_ensure_unconfigure", "xdctl doctor leaves plugins configured")
PARSER = Use("config", "_parser", "options of the command line are not told from those of the configuration")
PARSE = Use("parser", "parse_known_args", "options of the command line are not told from those of the configuration")
UNKNOWN_ARGS = Use("parser", "parse_known_and_unknown_args", "options of xd behind those of pytest are not found")
ADD_OPTION = Use("_pytest.config.argparsing", "OptionGroup._addoption", "-n, -d and -f are known on the command line only")
CONSIDER_PLUGINARG = Use("_pytest.config", "PytestPluginManager.consider_pluginarg", "-p xdist is not ignored")
VALIDATE_PLUGINS = Use("_pytest.config", "Config._validate_plugins", "an installed pytest-xdist is listed among the plugins", since=(6,))
CLEANUPS = Use("config", "_cleanup|_cleanup_stack._exit_callbacks", NO_FORK, forks=True)


def typed_options(config, args):
    """Of these arguments alone.  Without it: of all that pytest was given, where the command line comes last anyway."""
    parse = PARSE.of(PARSER.of(config))
    return config.option if parse is None else parse(list(args))


LONG_NAMES = {"-n": "--numprocesses", "-d": "--dist=load", "-f": "--looponfail"}


def without_plugin(args, names):
    """Before pytest 6, `-p NAME` is carried out when nobody can have blocked that name yet."""
    if version() >= (6,):
        return args
    kept = []
    for arg in args:
        if kept and kept[-1] == "-p" and arg.strip() in names:
            kept.pop()
        elif not (arg.startswith("-p") and arg[2:].strip() in names):
            kept.append(arg)
    return kept


def spelled_out(args):
    """Arguments for a pytest that keeps short lower-case options to itself."""
    if ADD_OPTION.get() is not None:
        return args
    return [LONG_NAMES.get(arg) or (LONG_NAMES["-n"] + "=" + arg[2:].lstrip("=") if arg.startswith("-n") else arg) for arg in args]


def add_option(group, *names, **attributes):
    """OptionGroup.addoption() refuses short lower-case names, which are pytest's."""
    add = getattr(group, "_addoption", None)
    if add is None:
        add, names = group.addoption, [name for name in names if name.startswith("--")] or ["--" + attributes["dest"]]
    add(*names, **attributes)


def cleanups(config):
    """What is to be done when the configuration ends.  Without it no process is copied."""
    for function in list(getattr(config, "_cleanup", None) or ()):
        yield function
    for _is_sync, wrapper in list(getattr(getattr(config, "_cleanup_stack", None), "_exit_callbacks", ())):
        yield getattr(wrapper, "__wrapped__", wrapper)


# ---- fixtures, items, and the order of teardowns

ARGUMENT_NAMES = Use("_pytest.fixtures", "getfuncargnames", LONGER)
FUNCTION = Use("item", "_obj", LONGER)
NAME_IN_MODULE = Use("item", "getmodpath", LONGER)
SECTIONS = Use("item", "_report_sections", WAITS)
LOG_RECORDS = Use("_pytest.logging", "caplog_records_key", WAITS, since=(7,))
TEARDOWN = Use("_pytest.runner", "SetupState.teardown_exact", WAITS, since=(7,))
SETUP_STATE = Use("session", "_setupstate", WAITS)
STACK = Use("setupstate", "stack", WAITS)
LOCATION = Use("_pytest.nodes", "Item.location.func", "each test takes a little longer", since=(5, 4))
SUBTEST = Use("_pytest.subtests", "SubtestReport._sub_test_description", "subtests have no names", since=(9,))

function_of = operator.attrgetter(FUNCTION.name)  # of an item, twice per test
TEARDOWN_USES = (LOG_RECORDS, SETUP_STATE, STACK, TEARDOWN)


def can_tear_down_late(session):
    """Whether what outlives an item can be torn down when its successor is known (outlive.py).  Before pytest 7, teardown_exact() has another argument, and
    the log of an item another place: there a test starts only when its successor is known."""
    items = getattr(session, "items", None)
    return version() >= (7,) and all(use.is_there(session.config, session) for use in TEARDOWN_USES) and (not items or hasattr(items[0], SECTIONS.name))


def setup_stack(session):
    """The nodes that are set up."""
    return STACK.of(SETUP_STATE.of(session)) or ()


def call_info():
    """The class pytest.CallInfo."""
    return sys.modules["_pytest.runner"].CallInfo


def interpreter_option(name):
    """What `python -X name=value` says; True without a value; None: it is not there."""
    return getattr(sys, "_xoptions", {}).get(name)


def test_report():
    """The class pytest.TestReport."""
    return sys.modules["_pytest.reports"].TestReport


def path_of(item):
    """Where it was found; the same object for all items of a module."""
    try:
        return item.path
    except AttributeError:  # before pytest 7
        return item.fspath


def location_field():
    """The attribute of an item in which its location is kept once somebody has asked for it."""
    return "location" if LOCATION.get() is not None else "_location"


def root_of(config):
    """rootdir, a path of this Python's kind."""
    path = getattr(config, "rootpath", None)  # pytest 6.1
    return str(config.rootdir if path is None else path)


def started_in(config):
    """The folder that pytest was called in."""
    given = getattr(config, "invocation_params", None)  # pytest 5.1
    return config.invocation_dir if given is None else given.dir


def start_of(config):
    """What hooks that write a header are told beside the configuration."""
    return {"start_path": started_in(config)} if version() >= (7,) else {"startdir": config.invocation_dir}


def errors_of_collection(count):
    """How pytest says that these ended the session."""
    return "%d error%s during collection" % (count, "s" if count != 1 or version() < (5, 4) else "")


def kind_of_paths():
    """The type of an ini value with paths."""
    return "paths" if version() >= (7,) else "pathlist"


def stash_of(owner):
    """Where pytest 5.4 and newer keep what plugins note of a configuration, or of an item."""
    found = getattr(owner, "stash", None)  # pytest 7
    return getattr(owner, "_store", None) if found is None else found


def warning_hook():
    """The name of the hook for warnings."""
    return "pytest_warning_recorded" if hasattr(sys.modules["_pytest.hookspec"], "pytest_warning_recorded") else "pytest_warning_captured"  # pytest 6


def warn_of_configuration(config, warning):
    if hasattr(config, "issue_config_time_warning"):  # pytest 6
        config.issue_config_time_warning(warning, 3)
        return
    issue = getattr(sys.modules.get("_pytest.warnings"), "_issue_warning_captured", None)
    if issue is not None:
        issue(warning, config.hook, 3)


def warn_of_family(config):
    """pytest 5 does so of the JUnit family, where it writes the file itself."""
    warning = getattr(sys.modules.get("_pytest.deprecated"), "JUNIT_XML_DEFAULT_FAMILY", None)
    if warning is not None and not config.getini("junit_family"):
        warn_of_configuration(config, warning)


def tell_worker(config, given):
    """config.workerinput and workeroutput; the older names are those that pytest before 6, and plugins of that time, look for."""
    config.workerinput, config.workeroutput = given, {}
    if version() < (6,):
        config.slaveinput, config.slaveoutput = given, config.workeroutput


def sections_of(item):
    return SECTIONS.of(item) or ()


def subtest_description(report):
    """None: it is no subtest.  The other name is that of pytest-subtests."""
    return getattr(report, "_sub_test_description", None) or getattr(report, "sub_test_description", None)


# ---- output

GLOBAL_CAPTURE = Use("capturemanager", "_global_capturing", NO_FORK, forks=True)
CAPTURED = [Use("captures", name, NO_FORK, forks=True) for name in ("out", "err")]
CAPTURED += [Use("capture", name, NO_FORK, forks=True) for name in ("targetfd", "targetfd_save", "tmpfile", "_state")]
FAULT_KEY = Use("_pytest.faulthandler", "fault_handler_stderr_fd_key|fault_handler_stderr_key", NO_FORK, since=(5, 4), forks=True)
LOG_FILE = Use("logging-plugin", "log_file_handler", "with --log-file, " + NO_FORK)
LIVE_LOG = Use("logging-plugin", "log_cli_handler", "its live log is not shown")
REPORTER = Use("_pytest.terminal", "TerminalReporter", "a reporter of a plugin under another name is not silenced")
REPORTER_WRITER = Use("terminalreporter", "_tw", "what plugins write to the terminal is not shown")
REPORTER_SESSION = Use("terminalreporter", "_session", "plugins find no statistics of a run without workers")
REPORTER_PROGRESS = Use("terminalreporter", "_show_progress_info", "plugins find no statistics of a run without workers")
WRITER = Use("_pytest._io", "TerminalWriter", "failures have no colours, and what plugins write at the end is not shown", since=(5, 4))
WRITER_FILE = Use("writer", "_file", "what plugins write to the terminal comes as output of workers")
MAKE_WRITER = Use("_pytest.config", "create_terminal_writer", "failures have no colours")
WARNING_TEXT = Use("_pytest.warnings", "warning_record_to_str", "warnings are shown as Python formats them")


def reporter_counts(reporter):
    """Whether it can be asked to keep reports and show no progress."""
    return all(use.of(reporter) is not None or hasattr(reporter, use.name) for use in (REPORTER_SESSION, REPORTER_PROGRESS))


def count_quietly(reporter):
    reporter._show_progress_info = False


def begins(reporter, session):
    reporter._session = session


def writes_to(reporter, writer):
    reporter._tw = writer


def replace_file(writer, file):
    """What a terminal writer writes to, if it is known how."""
    if hasattr(writer, WRITER_FILE.name):
        writer._file = file


def knows_capture(config):
    """Whether it is known which descriptors pytest captures."""
    return all(use.is_there(config, None) for use in [GLOBAL_CAPTURE] + CAPTURED)


def captures(config):
    """{name: pytest's capture of stdin, stdout or stderr}"""
    capturing = GLOBAL_CAPTURE.of(config.pluginmanager.get_plugin("capturemanager"))
    return dict((name, getattr(capturing, name, None)) for name in ("in_", "out", "err"))


def is_capturing(captured):
    """Of descriptors: whether it does so now."""
    return getattr(captured, "_state", "suspended") in ("started", "resumed")  # resumed: before pytest 6


def captured_fds(captured):
    """Descriptors that one of captures() holds, its file aside."""
    return [getattr(captured, name, None) for name in ("targetfd", "targetfd_save", "targetfd_invalid")]


def fault_stream(config):
    """What pytest's faulthandler plugin writes to: a descriptor, a file, or None."""
    key, stash = FAULT_KEY.get(), stash_of(config)
    if key is None or stash is None:
        return getattr(config, "fault_handler_stderr", None)  # pytest 5.0 to 5.3
    return stash.get(key, None)


def warning_text(message):
    text = WARNING_TEXT.get()
    if text is not None:
        return text(message)
    import warnings
    return warnings.formatwarning(message.message, message.category, message.filename, message.lineno, message.line)


def terminal_writer(file):
    """None: reports give their text without."""
    made = WRITER.get()
    if made is None and version() < WRITER.since:
        from py.io import TerminalWriter as made
    return None if made is None else made(file)


def writer_for(config, file):
    """The same with the colours that the options ask for."""
    make = MAKE_WRITER.get()
    return None if make is None else make(config, file)


# ---- what pytest keeps

CACHE_FOLDER = Use("cache", "_cachedir", "after a run that was killed, --lf knows nothing of it")
CACHE_PATH = Use("cache", "_getvaluepath", "its list of node ids is written in each run")
LAST_FAILED = Use("lfplugin", "lastfailed", "--lf and --ff know nothing of this run")
KNOWN_IDS = Use("nfplugin", "cached_nodeids", "--nf knows nothing of this run")
STEPWISE = Use("stepwiseplugin", "cached_info.last_failed|lastfailed", "--stepwise knows nothing of this run")
XML_KEY = Use("_pytest.junitxml", "xml_key", "JUnit XML has nothing from record_xml_attribute and record_testsuite_property", since=(5, 4))
XML_CHECK = Use("_pytest.junitxml", "_check_record_param_type", "record_testsuite_property does not look at the types of names")
TMP_PATH_FACTORY = Use("config", "_tmp_path_factory", NO_FORK, forks=True, late=True)
TMP_PATH = [Use("tmp_path_factory", name, NO_FORK, since, True) for name, since in (
    ("_basetemp", OLDEST), ("_given_basetemp", OLDEST), ("_exit_stack", (9, 1)), ("_next_number", (9, 2)))]


class XmlPlace(object):
    """Where pytest keeps its LogXML: in the stash, or before 5.4 as an attribute of the configuration."""

    def __init__(self, config):
        key, stash = XML_KEY.get(), stash_of(config)
        self.known = version() < XML_KEY.since or (key is not None and stash is not None)
        self.key, self.kept = ("_xml", vars(config)) if version() < XML_KEY.since else (key, stash)

    def get(self):
        return self.kept[self.key] if self.known and self.key in self.kept else None

    def put(self, what):
        self.kept[self.key] = what

    def clear(self):
        del self.kept[self.key]


def knows_temporary_folders(config):
    return TMP_PATH_FACTORY.of(config) is not None and all(use.is_there(config, None) for use in TMP_PATH if version() >= use.since)


def renew_temporary_folders(factory, folder):
    """tmp_path_factory begins anew, below this folder; None: where it likes."""
    factory._basetemp = None
    if folder is None:
        return
    factory._given_basetemp = sys.modules["_pytest.pathlib"].Path(folder)  # in Python 2 that of a package
    if hasattr(factory, "_exit_stack"):
        factory._exit_stack = type(factory._exit_stack)()
    if hasattr(factory, "_next_number"):
        factory._next_number = {}


def finish_stepwise(plugin, session):
    """The plugin of --stepwise writes what it knows.  Before pytest 6.1 it wants the session."""
    function = plugin.pytest_sessionfinish
    function(*[session][:function.__code__.co_argcount - 1])


def is_cached(cache, key):
    """Whether the cache holds something under this key."""
    path = CACHE_PATH.of(cache)
    try:
        return path is not None and path(key).is_file()
    except Exception:
        return False


# ---- Python

FRAME = Use("sys", "_getframe", "who calls is found in a slower way")
THREADS_END = Use("threading", "_shutdown", "processes end in Python's own way, which takes longer")
EXIT_HANDLERS = Use("atexit", "_run_exitfuncs", "processes end in Python's own way, which takes longer")
FORGET_EXIT_HANDLERS = Use("atexit", "_exithandlers" if PY2 else "_clear", NO_FORK, forks=True)
FINALIZERS = [] if PY2 else [Use("weakref", "finalize." + name, NO_FORK, forks=True) for name in ("_registry", "_registered_with_atexit")]
MULTIPROCESSING = [Use("multiprocessing.util", name, NO_FORK, forks=True) for name in ("_finalizer_registry", "_run_after_forkers", "_exit_function")]
HANDLERS = Use("logging", "_handlerList", "if logging writes to a file, " + NO_FORK)
ENVIRON = [Use("os.environ", name, NO_FORK, forks=True) for name in (("data",) if PY2 else ("_data", "encodekey", "decodekey"))]


def frame_of_traceback(depth=0):
    try:
        raise KeyError
    except KeyError:
        frame = sys.exc_info()[2].tb_frame.f_back
    for _ in range(depth):
        frame = frame.f_back
    return frame


frame = getattr(sys, FRAME.name, frame_of_traceback)


def can_watch_environ():
    return COUNTS_REFERENCES and all(hasattr(os.environ, use.name) for use in ENVIRON)


def environ_data():
    """The dictionary behind os.environ, bytes to bytes."""
    return os.environ.data if PY2 else os.environ._data


def end_threads():
    """Waits for threads that are no daemons, as the end of the interpreter does.  False: that must do it."""
    if THREADS_END.get() is None or EXIT_HANDLERS.get() is None:
        return False
    if threading.active_count() > 1:
        try:
            threading._shutdown()
        except BaseException:
            pass
    return True


def run_exit_handlers():
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass


def forget_exit_handlers():
    """What was to happen at the exit of the original process must not happen at that of its copies.  Without it no process is copied."""
    import weakref
    if PY2:
        del atexit._exithandlers[:]
    else:
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


def log_handlers():
    """The handlers of `logging` that there are."""
    found = [ref() if callable(ref) else ref for ref in list(HANDLERS.of(sys.modules.get("logging")) or ())]
    return [handler for handler in found if handler is not None]


# ---- the look at all of them


def version():
    """Of pytest.  Before 7 it is text alone."""
    given = getattr(sys.modules["pytest"], "version_tuple", None)
    if given is None:
        given = [int(part) if part.isdigit() else part for part in getattr(sys.modules["pytest"], "__version__", "0").split(".")]
    return tuple(part for part in given if isinstance(part, int))


def missing(config, session=None):
    """What this pytest and this Python lack.  session: None, if there is none yet."""
    release = version()
    return [use for use in Use.used if release >= use.since and not use.is_there(config, session)]


def notes(config, session=None):
    lines = []
    for use in missing(config, session):
        who = "pytest %s" % sys.modules["pytest"].__version__ if use.is_pytests() else "Python %d.%d.%d" % sys.version_info[:3]
        lines.append("%s has no %s, which this version of xd counts on: %s" % (who, use.full_name(), use.lost))
    return lines


def against_fork(config, session):
    """The first line of those that say so, without what is lost; or None."""
    if not COUNTS_REFERENCES:
        import platform
        return "%s does not count references: copies of the worker id could not be found" % platform.python_implementation()
    for use in missing(config, session):
        if use.forks:
            return "this version of xd does not know how to copy the process: there is no %s" % use.full_name()
    return None
