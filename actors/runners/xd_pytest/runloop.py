"""Runs the items that RUN tells."""
from __future__ import absolute_import, division, print_function

import collections
import functools

from xd_pytest import compat, wire
from xd_pytest.collection import Lines, put_in_order
from xd_pytest.constants import NO_INDEX, RES_AGAIN, RES_OPEN, RUN_FINAL, RUN_LAST
from xd_pytest.frozen import heap
from xd_pytest.outlive import Closing, Neighbour, only_shells
from xd_pytest.page import DONE, ITEM, LIMIT, PAGE_ELSEWHERE, PAGE_MAXFAIL, PAGE_STOP, PID, RUNS, SINCE
from xd_pytest.plugins import foreign_plugins
from xd_pytest.real import Real
from xd_pytest.settings import wants_output
from xd_pytest.terminal import hear_live_log
from xd_pytest.unread import Unread

UNRESOLVED = object()  # the successor was not asked for
UNKNOWN = object()     # the agent has named no successor, and has not said that none comes


class RunLoop(object):
    """Runs what RUN tells.  Positions count the items of this worker; told maps those not yet started to (item, attempt)."""

    def __init__(self, adapter, session):
        self.ramp_delay = adapter.input.get("rampdelay")
        self.reports = reports = adapter.reports
        self.session = session
        self.items = adapter.items or session.items
        self.lines = Lines()
        self.commands = adapter.worker.commands
        self.told = {}
        self.end = 0          # positions below it are told
        self.last = False     # none comes after them as far as is known
        self.final = False    # and none will come
        self.quit = False
        self.runs = 0
        self.position = 0
        page = adapter.page
        self.longs = page.longs
        self.words = reports.words = page.words
        self.base = reports.base = page.slot(adapter.worker.slot_number)
        self.all_failures = page.failures()
        self.maxfail = adapter.worker.maxfail
        self.guess = None
        self.next = UNRESOLVED
        self.running = False
        self.torn_for = None
        self.owed = None      # (item, index, position) whose fixtures of wider scopes are still set up, for want of a successor
        self.spent = False    # all fixtures were torn down, for good as it was told
        self.original_teardown = None
        self.owner = adapter.owner
        self.unread = Unread(session.config)
        self.words[self.base + PID] = self.owner.pid
        reports.config = session.config
        reports.plain_type = compat.test_report()
        reports.plain_status = not foreign_plugins(session.config, "pytest_report_teststatus")
        reports.want_output = wants_output(session.config)
        hear_live_log(session.config, reports)
        self.wrap_teardown()

    def wrap_teardown(self):
        """From here on `state.teardown_exact` asks us, when it is looked up, what to call.  A function in its place would be a frame in the
        traceback of each failing teardown, and pytest chooses by the frames what it shows."""
        if not compat.can_tear_down_late(self.session):
            return
        state = compat.SETUP_STATE.of(self.session)
        original = state.teardown_exact
        loop, plain = self, type(state)

        class Lookup(object):
            def __get__(self, instance, owner=None):
                return original if instance is not state else loop.teardown_function(Real.frame(1))

        try:
            state.__class__ = type(plain.__name__, (plain,), {"teardown_exact": Lookup(), "__module__": plain.__module__})
        except TypeError:
            return
        self.original_teardown = original

    def teardown_function(self, caller):
        """What tears down for the item that comes next."""
        name = caller.f_code.co_name
        if name == "pytest_sessionfinish" or self.owner.is_copy():
            return self.original_teardown  # a child of a test must not read commands that are meant for its parent
        if name != "pytest_runtest_teardown":
            return self.tear_down
        given = caller.f_locals.get("nextitem")
        following = self.following(given)
        if following is given:
            return self.original_teardown
        # A callable that knows its argument better, and has no frame.
        return collections.defaultdict(functools.partial(self.original_teardown, following)).__getitem__

    def tear_down(self, nextitem=None):
        __tracebackhide__ = True
        return self.original_teardown(self.following(nextitem))

    def following(self, nextitem):
        """The successor that a teardown is for: what was given, unless that is what we gave and know better by now."""
        session = self.session
        if self.running:
            if nextitem is self.guess and not (session.shouldfail or session.shouldstop):
                try:
                    nextitem = self.resolve()
                except Exception:
                    self.reports.fault()
                    nextitem = None
            item, self.owed = self.reports.item, None
            if nextitem is UNKNOWN:
                self.owed = item, self.reports.index, self.position
                self.torn_for = None
                return Neighbour(item)
        self.torn_for = nextitem
        self.spent = nextitem is None
        return nextitem

    def resolve(self):
        """The successor of the running item, claimed at this moment.  None: none will come.  UNKNOWN: the agent has named none so far."""
        if self.next is UNRESOLVED or self.next is UNKNOWN:
            self.next = None
            self.next = self.look(self.position + 1)
        return self.next if self.next is None or self.next is UNKNOWN else self.items[self.next[0]]

    def look(self, position):
        """What stands at this position, without waiting for it."""
        while True:
            if position in self.told:
                if self.claim(position):
                    return self.told.pop(position)
            elif self.none_comes():
                return None
            if self.quit or self.halted():
                return None
            if not self.hear(0):
                return UNKNOWN

    def none_comes(self):
        """No item that the agent named is left (the caller knows), and the agent has said that no more will come."""
        return self.final and self.runs >= self.words[self.base + RUNS]

    def tear_down_owed(self, nextitem):
        """What outlived the item before, now that its successor is known (None: none comes)."""
        item, index, position = self.owed
        reports = self.reports
        self.owed = None
        if only_shells(compat.SETUP_STATE.of(self.session)):
            self.tear_down(nextitem)
            return
        closing = Closing(item, reports.want_output or not reports.plain)
        reports.resume(index)
        self.show(index)
        try:
            closing.run(item, nextitem)
        finally:
            self.owner.check()
            self.unread.wait()
            reports.close(position, closing.duration_s)
            self.words[self.base + ITEM] = 0

    # ---- what the agent says

    def hear(self, timeout_s=None):
        """Reads one command; False: none came in time."""
        self.owner.check()
        got = self.commands.next(timeout_s)
        if got is None:
            return False
        kind, record = got
        if kind == wire.QUIT:
            self.quit = True
        elif kind == wire.ORDER:
            self.items = put_in_order(self.session.items, record.places)
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
            self.last = bool(record.last & RUN_LAST)
            self.final = bool(record.last & RUN_FINAL)
        return True

    def halted(self):
        """No further item may start: the run was stopped, or enough tests have failed."""
        words = self.words
        if words[PAGE_STOP]:
            return True
        most = words[PAGE_MAXFAIL] or self.maxfail
        return bool(most) and words[PAGE_ELSEWHERE] + sum(self.all_failures) >= most  # in this order: see xd_page_move_failures

    def claim(self, position):
        """Position is ours from here on, or was not claimed at all (ARCHITECTURE.md, "Claiming an item")."""
        words, base = self.words, self.base
        words[base] = position + 1
        if position >= words[base + LIMIT] or self.runs < words[base + RUNS] or self.halted():
            words[base] = position
            return False
        return True

    def take(self, position):
        """(item, attempt) of a position, claimed, as soon as there is one.  None: the session is to end."""
        while True:
            if position in self.told:
                if self.claim(position):
                    return self.told.pop(position)
            elif self.owed and self.none_comes():
                self.tear_down_owed(None)
                self.end_if_asked()
            if self.quit:
                return None
            self.hear()

    def hear_of_next(self, position):
        """An item starts when its successor is known, or when none comes."""
        while position >= self.end and not (self.last or self.quit or self.words[PAGE_STOP]):
            self.hear(0.1)

    # ---- the loop

    def run(self):
        if self.ramp_delay:
            Real.sleep(self.ramp_delay)
        current = self.take(0)
        while current is not None:
            if self.position + 1 >= self.end:
                self.hear_of_next(self.position + 1)
            self.one(current)
            if heap.restless:
                heap.between_tests(compat.setup_stack(self.session))
            self.end_if_asked()
            current = self.next
            self.position += 1
            if current is None or current is UNRESOLVED or current is UNKNOWN:
                current = self.take(self.position)
            if self.owed:
                self.tear_down_owed(current and self.items[current[0]])
                self.end_if_asked()

    def end_if_asked(self):
        session = self.session
        if self.owed and (session.shouldfail or session.shouldstop):
            self.tear_down_owed(None)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def show(self, index):
        """On the page: this item runs, from now on."""
        self.longs[(self.base + SINCE) >> 1] = Real.monotonic_ns()
        self.words[self.base + ITEM] = index + 1

    def finish(self, ended, marks):
        """The RESULT of the running item, and the page after it."""
        words, base = self.words, self.base
        self.unread.wait()
        self.reports.flush(self.position, ended, marks)
        words[base + ITEM] = 0
        words[base + DONE] += 1
        self.reports.index = NO_INDEX

    def one(self, current):
        index, attempt = current
        item = self.items[index]
        following = self.told.get(self.position + 1)
        self.guess = guess = None if following is None else self.items[following[0]]
        self.reports.begin(index, attempt, item)
        if self.torn_for is not item and self.torn_for is not None:
            self.tear_down_late(item)
        self.lines.give(item)
        self.next = UNRESOLVED
        marks = RES_AGAIN if self.spent else 0
        if self.original_teardown is None:
            while self.resolve() is UNKNOWN:
                self.hear()
            guess = self.resolve()
            self.spent = guess is None
        self.show(index)
        self.running = True
        ended = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=guess)
            ended = True
        finally:
            self.owner.check()
            self.running = False
            if self.owed and not only_shells(compat.SETUP_STATE.of(self.session)):
                marks |= RES_OPEN
            self.finish(ended, marks)
            if not ended:
                self.words[self.base] = self.position + 1

    def tear_down_late(self, item):
        """The teardown before was for another successor than `item`; what fails in it now is an error of `item`."""
        import pytest
        self.torn_for = item
        call = compat.call_info().from_call(functools.partial(self.original_teardown, item), when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt))
        if call.excinfo is not None:
            hook = item.ihook
            hook.pytest_runtest_logreport(report=hook.pytest_runtest_makereport(item=item, call=call))
