"""Is it safe to fork from here?"""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest.plugins import foreign_plugins, is_pytests, module_of, plugin_name
from xd_pytest.text import as_text


# Session hooks of plugins that are known: what they did once, in the process that collected, is right in all workers forked from it.
HARMLESS_HOOKS = frozenset((
    ("_hypothesis_pytestplugin", "pytest_sessionstart"),  # counts a global down: the initialization is over
    ("pytest_randomly", "pytest_sessionstart"),  # seeds, with the same number everywhere
    ("pytest_sugar", "pytest_sessionstart"),  # reads its configuration
    ("pytest_pretty", "pytest_sessionstart"), ("pytest_pretty", "pytest_sessionfinish"),  # take the time
    ("pytest_rerunfailures", "pytest_sessionstart"), ("pytest_rerunfailures", "pytest_sessionfinish"),  # looks at items that were run again
    ("pytest_httpserver.pytest_plugin", "pytest_sessionfinish"),  # stops a server that its fixture started
    ("flaky.flaky_pytest_plugin", "pytest_sessionfinish"),  # hands its report to config.workeroutput
    ("pytest_ruff", "pytest_sessionfinish"),  # does nothing in a worker
    ("pytest_django.plugin", "pytest_unconfigure"),  # these undo what they did to modules, in each process for itself
    ("pytest_subtests.plugin", "pytest_unconfigure"),
    ("pytest_recording.plugin", "pytest_unconfigure"),
    ("pytest_bdd.plugin", "pytest_unconfigure"),
    ("pytest_html.plugin", "pytest_unconfigure"),  # and these take away a report that no worker has
    ("pytest_jsonreport.plugin", "pytest_unconfigure"),
    ("pytest_reportlog.plugin", "pytest_unconfigure"),
    ("xprocess.pytest_xprocess", "pytest_unconfigure"),  # a reminder
))


HARMLESS_CLEANUPS = frozenset((
    "pytest_mock.plugin",  # undoes what it did to the assert methods of mocks, in each process for itself
))


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
        if not is_pytests(function) and module_of(function) not in HARMLESS_CLEANUPS:
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
            if (module_of(plugin), hook) not in HARMLESS_HOOKS:
                return "%s implements %s" % (plugin_name(config, plugin), hook)
    function = foreign_cleanup(config)
    if function is not None:
        return "%s registered a cleanup of the configuration" % module_of(function)
    return None
