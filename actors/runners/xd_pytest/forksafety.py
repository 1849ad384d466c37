"""Is it safe to fork from here?"""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import compat
from xd_pytest.forkstate import Objection, fork_objection, mmap_users, native_thread_left, open_fds
from xd_pytest.plugins import foreign_plugins, is_pytests, module_of, plugin_name
from xd_pytest.process import fault_fd, fileno
from xd_pytest.tested import Tested, untested


# Session hooks of plugins that are known: what they did once, in the process that collected, is right in all workers forked from it.  Of which
# releases: tested.py.
HARMLESS_HOOKS = frozenset((
    ("_hypothesis_pytestplugin", "pytest_sessionstart"),  # counts a global down: the initialization is over
    ("pytest_randomly", "pytest_sessionstart"),  # seeds, with the same number everywhere
    ("pytest_codspeed.plugin", "pytest_sessionstart"), ("pytest_codspeed.plugin", "pytest_sessionfinish"),  # a fixture; a file of each process
    ("pytest_benchmark.session", "pytest_unconfigure"), ("pytest_benchmark.plugin", "pytest_sessionfinish"),  # a warning; sums up what it measured, in each process for itself
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


def pytest_fds(config):
    """Descriptors that pytest itself opened: capture, faulthandler, log file."""
    own = set()
    for capture in compat.captures(config).values():
        own.update(compat.captured_fds(capture))
        own.add(fileno(getattr(capture, "tmpfile", None)))
    own.add(fault_fd(config))
    handler = compat.LOG_FILE.of(config.pluginmanager.get_plugin("logging-plugin"))
    own.add(fileno(getattr(handler, "stream", None)))
    return own


def foreign_cleanup(config):
    for function in compat.cleanups(config):
        function = getattr(function, "func", function)  # functools.partial
        if getattr(getattr(function, "__func__", function), "__module__", None) == "contextlib":
            continue  # pytest's own warning filters
        if not is_pytests(function) and not (module_of(function) in HARMLESS_CLEANUPS and Tested.is_tested(function)):
            return function
    return None


# All that a hook may name which does no more than to carry options of the session into os.environ, or into attributes.
SETTINGS = frozenset(("config", "session", "option", "getoption", "getini", "environ", "getenv", "get", "setdefault", "pop", "update",
                      "os", "sys", "bool", "float", "getattr", "hasattr", "int", "isinstance", "len", "setattr", "str"))


def is_settings_alone(function):
    """Whether its code names nothing else: then what it did once, in the process that collected, is right in all copies of it."""
    import dis
    import inspect
    code = getattr(function, "__code__", None)
    if code is None or not hasattr(dis, "get_instructions") or code.co_freevars or inspect.isgeneratorfunction(function) or any(inspect.iscode(c) for c in code.co_consts):
        return False
    own = function.__globals__
    if any(own.get(name, known) is not known for name, known in (("os", os), ("sys", sys), ("environ", os.environ), ("getenv", os.getenv))):
        return False
    for step in dis.get_instructions(code):
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "STORE_GLOBAL", "DELETE_", "IMPORT_")):
            if step.argval not in SETTINGS or (step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")) and step.argval in own and
                                               step.argval not in ("os", "sys", "environ", "getenv")):
                return False
    return True


def hooks_objection(config):
    """What was done once in the process that collected, and would be undone in each of its copies."""
    for hook in ("pytest_sessionstart", "pytest_sessionfinish", "pytest_unconfigure"):
        for plugin in foreign_plugins(config, hook):
            known = (module_of(plugin), hook) in HARMLESS_HOOKS
            if not (known and Tested.is_tested(plugin)) and not (hook == "pytest_sessionstart" and is_settings_alone(getattr(plugin, hook, None))):
                return Objection("%s implements %s%s" % (plugin_name(config, plugin), hook, untested(plugin) if known else ""))
    function = foreign_cleanup(config)
    return None if function is None else Objection("%s registered a cleanup of the configuration%s" % (
        module_of(function), untested(function) if module_of(function) in HARMLESS_CLEANUPS else ""))


def reads_objection(config, adapter):
    reads = adapter.reads
    if reads.worker_id:
        return Objection("the worker id was read before or while collecting, from %s" % reads.worker_id)
    if reads.count:
        return Objection("the number of workers was read before it was known")
    if not reads.settle(adapter.input):
        return Objection("a copy of os.environ holds the worker id where no other can be put", True)
    called = adapter.call_watch and adapter.call_watch.by_project(compat.root_of(config))
    if called:
        return Objection("%s called %s() while collecting, and what it got would be the same in all workers" % called)
    return None


def why_not_collected(config, start_fds, page_inode, adapter):
    """What stands against forking workers from this process, or None; and the epoll instances that a worker must renew."""
    if start_fds is None:
        return Objection("there is no /proc to check open descriptors"), []
    unknown = compat.against_fork(config, adapter.session)
    if unknown is not None:
        return Objection(unknown), []
    left, epolls = fork_objection(start_fds, pytest_fds(config), page_inode, mmap_users() > adapter.collector.mmap_users)
    other = None if left else reads_objection(config, adapter) or hooks_objection(config)
    if other is not None:
        return other, []
    left = left or native_thread_left()
    if left is not None:
        left.text = "collection " + left.text
    return left, epolls


def why_start_forks_not(known):
    """The same of a process that has just started, where sitecustomize and .pth files alone have run; in one line, or None.  known: the descriptors
    that it was given."""
    fds = open_fds()
    if fds is None:
        return "there is no /proc to check open descriptors"
    found, epolls = fork_objection(dict((fd, what) for fd, what in fds.items() if fd in known), (), "", flags=False)
    if found is None and epolls:
        found = Objection("left a descriptor open: %s" % fds[epolls[0]])
    found = found or native_thread_left()
    return None if found is None else "Python's own start (sitecustomize, a .pth file) %s" % found.text
