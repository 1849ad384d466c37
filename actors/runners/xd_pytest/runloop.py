"""Runs the items that RUN tells."""
from __future__ import absolute_import, division, print_function

from xd_pytest import wire
from xd_pytest.collection import give_location
from xd_pytest.constants import EXIT_INTERNAL, NONE32
from xd_pytest.frozen import heap
from xd_pytest.page import DONE, ITEM, LIMIT, PAGE_ELSEWHERE, PAGE_MAXFAIL, PAGE_STOP, PID, RUNS, SINCE
from xd_pytest.plugins import foreign_plugins
from xd_pytest.real import Real
from xd_pytest.settings import wants_output

TEARDOWN_WAIT_S = 1.0  # how long a teardown waits to hear which item comes next
UNRESOLVED = object()


class RunLoop(object):
    """Runs what RUN tells.  Positions count the items of this worker; told maps those not yet started to (item, attempt)."""

    def __init__(self, adapter, session):
        from _pytest.reports import TestReport
        self.ramp_delay = adapter.input.get("rampdelay")
        self.reports = reports = adapter.reports
        self.session = session
        self.items = session.items
        self.commands = adapter.worker.commands
        self.told = {}
        self.end = 0          # positions below it are told
        self.last = False
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
        self.original_teardown = None
        self.pid = Real.getpid()
        self.words[self.base + PID] = self.pid
        reports.config = session.config
        reports.plain_type = TestReport
        reports.plain_status = not foreign_plugins(session.config, "pytest_report_teststatus")
        reports.want_output = reports.want_output or wants_output(session.config)
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
        __tracebackhide__ = True  # a failing teardown shows the suite's frames alone
        session = self.session
        if Real.getpid() != self.pid:
            self.end_copy()  # before it takes from the command pipe what the first is told
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
        start = Real.monotonic()
        got = self.commands.next(timeout_s)
        self.reports.waited_s += Real.monotonic() - start
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
        deadline = None if wait_s is None else Real.monotonic() + wait_s
        while True:
            if position in self.told:
                if self.claim(position):
                    return self.told.pop(position)
            elif wait_s is not None and self.last and self.runs >= self.words[self.base + RUNS]:
                return None
            if self.quit or (wait_s is not None and self.halted()):
                return None
            left = 3600.0 if deadline is None else deadline - Real.monotonic()
            if left <= 0:
                return None
            self.hear(min(left, 0.1) if wait_s is not None else None)

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
                heap.between_tests(getattr(self.session._setupstate, "stack", ()))
            if self.session.shouldfail:
                raise self.session.Failed(self.session.shouldfail)
            if self.session.shouldstop:
                raise self.session.Interrupted(self.session.shouldstop)
            current = self.next
            self.position += 1
            if current is None or current is UNRESOLVED:
                current = self.take(self.position)

    def one(self, current):
        reports, words, base = self.reports, self.words, self.base
        index, attempt = current
        item = self.items[index]
        following = self.told.get(self.position + 1)
        self.guess = guess = None if following is None else self.items[following[0]]
        if self.torn_for is not item and self.torn_for is not None:
            self.original_teardown(item)  # the teardown before was for another successor than the one that came
            self.torn_for = item
        give_location(item)
        reports.begin(index, attempt, item)
        self.next = UNRESOLVED
        if self.original_teardown is None:
            guess = self.resolve()
        self.longs[(base + SINCE) >> 1] = Real.monotonic_ns()
        words[base + ITEM] = index + 1
        self.running = True
        ended = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=guess)
            ended = True
        finally:
            if Real.getpid() != self.pid:
                self.end_copy()
            self.running = False
            reports.flush(self.position, ended)
            words[base + ITEM] = 0
            words[base + DONE] += 1
            reports.index = NONE32
            if not ended:
                words[base] = self.position + 1

    def end_copy(self):
        """A test has forked, and the child came back here as a second worker: it would speak into the pipes of the first."""
        try:
            self.session.config.pluginmanager.get_plugin("capturemanager").suspend_global_capture()
        except Exception:  # -p no:capture, or closed by the test
            pass
        try:
            Real.write(2, ("xd: %s forked and its child (process %d) did not end: it is ended here\n" % (self.reports.item.nodeid, Real.getpid())).encode("utf-8", "replace"))
        except OSError:
            pass
        Real.exit(EXIT_INTERNAL)
