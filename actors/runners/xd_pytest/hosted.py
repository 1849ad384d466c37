"""The loop over the items of a plain session is a plugin's or a conftest's own pytest_runtestloop: it is called as in plain pytest, and we look
on.  In all other sessions the loop is ours, and theirs is not called (home.py says so)."""
from __future__ import absolute_import, division, print_function

from xd_pytest.compat import setup_stack
from xd_pytest.constants import EXIT_INCOMPLETE
from xd_pytest.frozen import heap
from xd_pytest.plugins import foreign_loops, plugin_name
from xd_pytest.runloop import RunLoop


def loop_names(config):
    return ", ".join(sorted(set(plugin_name(config, impl.plugin) for impl in foreign_loops(config))))


class Over(BaseException):
    """No further item is to start, whatever the loop intends: the run was stopped, or is at its end."""


class NoLoop(object):
    """A plugin in place of HostedLoop where nothing is to run at all."""

    def refuse(self, item, nextitem):
        raise Over()

    def close(self):
        pass


class HostedLoop(RunLoop):
    """A plugin for the time of the loop: what runs between starts() and ends() is the item that the agent has named."""

    def __init__(self, adapter, session):
        RunLoop.__init__(self, adapter, session)
        self.adapter = adapter

    def wrap_teardown(self):
        """The loop of the suite chooses the successor of each item."""

    def starts(self, item):
        current = self.take(self.position)
        if current is None:
            raise Over()
        index, attempt = current
        if self.items[index] is not item:
            self.session.shouldfail = "%s (pytest_runtestloop) ran %s where %s was next: xd cannot follow a loop that changes the order of tests, leaves some out, or runs some again; use plain pytest" % (
                loop_names(item.config), item.nodeid, self.items[index].nodeid)
            raise self.session.Failed(self.session.shouldfail)
        self.reports.begin(index, attempt, item)
        self.show(index)

    def ends(self, ended):
        self.owner.check()
        self.finish(ended, 0)
        self.position += 1
        if heap.restless:
            heap.between_tests(setup_stack(self.session))

    def around_protocol(self, item, nextitem):
        self.starts(item)
        ended = False
        try:
            outcome = yield
            ended = outcome.excinfo is None
        finally:
            self.ends(ended)

    def close(self):
        """The loop has returned by itself."""
        session, adapter = self.session, self.adapter
        left = len(self.items) - self.position
        if left and not (session.shouldfail or session.shouldstop):
            adapter.stopped, adapter.worker.status = True, EXIT_INCOMPLETE
            adapter.reason = "%s (pytest_runtestloop) ended with %d of %d tests not run" % (loop_names(session.config), left, len(self.items))


class Host(object):
    """Our plugin that makes the hook pytest's own again where somebody else has it."""

    def __init__(self, adapter):
        self.adapter = adapter

    def around_runtestloop(self, session):
        if not foreign_loops(session.config):
            yield
            return
        adapter, manager = self.adapter, session.config.pluginmanager
        loop = HostedLoop(adapter, session) if adapter.begin_loop(session) else NoLoop()
        adapter.hosted = True
        manager.register(loop, "xd_hosted_loop")
        try:
            outcome = yield
        finally:
            manager.unregister(loop)
        if outcome.excinfo is None:
            loop.close()
        elif issubclass(outcome.excinfo[0], Over):
            outcome.force_result(True)
