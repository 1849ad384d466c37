"""Fixtures of class, module, package and session scope outlive their item while it is not known which item comes next."""
from __future__ import absolute_import, division, print_function

import functools

from xd_pytest import compat
from xd_pytest.plugins import is_pytests

AROUND = ("timeout",)  # foreign plugins (pytest-timeout) whose wrappers go round this teardown, too


class Neighbour(object):
    """Stands for another item of the same class or module: with it as successor pytest tears down an item and no more."""

    def __init__(self, item):
        self.chain = item.listchain()[:-1] + [self]

    def listchain(self):
        return self.chain


def only_shells(state):
    """Whether what is still set up are modules and classes without any fixture: tearing them down does nothing."""
    import pytest
    try:
        return all(len(finalizers) <= 1 and type(node).teardown is pytest.Item.teardown for node, (finalizers, _failure) in compat.STACK.of(state).items())
    except Exception:  # pytest keeps it in another way
        return False


class Closing(object):
    """Tears down what outlived an item, inside of pytest's own wrappers (warnings, assertions, captured output and log).  Other plugins
    and conftests had their hooks for this item: they hear of an error alone.  A plugin for the time of one call."""

    def __init__(self, item, want_output):
        self.want_output = want_output
        self.duration_s = 0.0
        self.manager = item.config.pluginmanager
        self.others = [plugin for name, plugin in self.manager.list_name_plugin()
                       if plugin is not None and name not in AROUND and not is_pytests(plugin)]

    def run(self, item, nextitem):
        self.manager.register(self, "xd_closing")
        try:
            self.own("pytest_runtest_protocol")(item=item, nextitem=nextitem)
        finally:
            self.manager.unregister(self)

    def own(self, hook):
        return self.manager.subset_hook_caller(hook, self.others)

    def pytest_runtest_protocol(self, item, nextitem):
        import pytest

        teardown = functools.partial(self.own("pytest_runtest_teardown"), item=item, nextitem=nextitem)  # no frame of ours in a traceback
        ready_log(item)
        said = self.said(item)
        call = compat.call_info().from_call(teardown, when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt))
        self.duration_s = call.duration
        if call.excinfo is not None or self.said(item) != said:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)
            if is_interactive(call, report):
                item.ihook.pytest_exception_interact(node=item, call=call, report=report)
        return True

    def said(self, item):
        return len(item.user_properties), len(compat.sections_of(item)) if self.want_output else 0


def is_interactive(call, report):
    """What pytest shows a debugger."""
    import bdb
    import pytest
    return call.excinfo is not None and not hasattr(report, "wasxfail") and not isinstance(call.excinfo.value, (pytest.skip.Exception, bdb.BdbQuit))


def ready_log(item):
    """pytest's log plugin forgets at the end of a teardown that it had begun with this item."""
    compat.stash_of(item).setdefault(compat.LOG_RECORDS.get(), {})  # without it no fixture outlives an item
