"""Reports of the running item become its RESULT."""
from __future__ import absolute_import, division, print_function

import struct

from xd_pytest import wire
from xd_pytest.channel import write_all
from xd_pytest.constants import (NO_INDEX, OUT_ERROR, OUT_FAILED, OUT_NOT_RUN, OUT_PASSED, OUT_SKIPPED, OUT_XFAILED, OUT_XPASSED, REP_CLOSES,
                                 RES_CLOSES, RES_REPORTS, RES_TEARDOWN_ERROR)
from xd_pytest.page import FAILURES
from xd_pytest.reports import fault_frame, report_frame, short_of, usual_status
from xd_pytest.text import microseconds

# A whole RESULT frame: written once per item, so made without the generic codec (tests compare the two).
RESULT_FRAME = struct.Struct("<IHHQ" "IHBBIIIIQ")
RESULT_BODY_BYTES = RESULT_FRAME.size - 16
U32_MAX = 0xFFFFFFFF


class ItemReports(object):
    """Our plugin that hears the reports of items."""

    def __init__(self, owner):
        self.owner = owner
        owner.reports = self
        self.want_output = False        # reports of passed tests go with their sections
        self.config = None
        self.results = -1               # pipe to the agent
        self.words, self.base = None, 0  # slot of this worker on the progress page
        self.plain_status = False       # nobody but pytest says how a report is shown
        self.plain_type = None
        self.pending = []               # frames that go with the next RESULT
        self.index = NO_INDEX           # of the item that runs
        self.attempt = 0
        self.item = None
        self.attributes = {}            # of its test case in JUnit XML
        self.added_properties = []      # of that, besides user_properties
        self.begin(NO_INDEX, 0, None)

    def begin(self, index, attempt, item):
        self.index, self.attempt, self.item = index, attempt, item
        self.setup_s = self.call_s = self.teardown_s = self.start_s = 0.0
        self.plain = True        # nothing but passed phases without anything to say
        self.seen = []           # reports, in order
        self.statuses = []       # of each, once the item is not plain
        self.told = 0            # of these: frames are written
        self.sections = 0        # of the item, told
        self.called = False
        self.outcome = OUT_PASSED
        self.result_flags = 0
        self.faulty = False      # fault() was called
        self.closing = False     # its RESULT is out, and the fixtures that outlived it are torn down
        self.properties = 0      # of the user properties, told
        if self.attributes or self.added_properties:
            self.attributes, self.added_properties = {}, []

    def pytest_runtest_logreport(self, report):
        """The usual report (a passed phase, nothing to say) must cost next to nothing."""
        try:
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
                    self.teardown_s = fields["duration"]
                if self.plain_status:
                    self.seen.append(report)
                    return
        except Exception:
            self.fault()
            return
        if self.words is None:
            return  # a plugin calls the hook where no item runs
        if self.owner.is_copy():
            self.copy_report(report)
            return
        if report.outcome == "failed" and not hasattr(report, "wasxfail"):
            self.words[self.base + FAILURES] += 1  # before anything that takes its time: no other test is to start
        status = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        try:
            self.other_report(report, status or usual_status(report))
        except Exception:
            self.fault()

    def copy_report(self, report):
        """This process is a child of the test: what it makes of the test is no result."""
        if self.owner.failure is None and getattr(report, "outcome", "") == "failed":
            self.owner.failure = short_of(report)[0].strip().split("\n")[0][:300]

    def other_report(self, report, status):
        """Anything else: its status was asked for, as pytest's terminal does (asking may change the report); the text is made
        at the end, of a failure at once."""
        when, outcome = report.when, report.outcome
        subtest = type(report) is not self.plain_type
        if not subtest:
            if when == "setup":
                self.setup_s, self.start_s = report.duration, getattr(report, "start", 0.0)
            elif when == "call":
                self.call_s = report.duration
            elif when == "teardown" and not self.closing:
                self.teardown_s = report.duration
        usual = not subtest and outcome == "passed" and not hasattr(report, "wasxfail") and tuple(status) == (
            ("passed", ".", "PASSED") if when == "call" else ("", "", ""))
        if self.plain and not usual:
            self.make_statuses()
            self.plain = False
        self.seen.append(report)
        if self.plain:
            self.called = self.called or when == "call"
            return
        self.statuses.append(status)
        self.judge(report, when, outcome, subtest)
        if outcome == "failed" and when != "teardown":
            self.report_frames(last=False)  # at once: the worker may not outlive the teardown
            write_all(self.results, b"".join(self.pending))
            self.pending = []

    def fault(self):
        """What is being handled is an exception of our own: an error of the running item, which ends nothing."""
        import traceback
        text = traceback.format_exc()
        self.make_statuses()
        self.plain = False
        if self.outcome in (OUT_FAILED, OUT_ERROR):
            self.result_flags |= RES_TEARDOWN_ERROR
        else:
            self.outcome = OUT_ERROR
        self.faulty = True
        if self.words is not None and not self.owner.is_copy():
            self.words[self.base + FAILURES] += 1
        self.pending.append(fault_frame(text, self.index, self.attempt, REP_CLOSES if self.closing else 0))

    def judge(self, report, when, outcome, subtest):
        """The one outcome of the item; how it is counted is told by its REPORTs."""
        if outcome == "failed":
            if when == "teardown":
                if self.outcome in (OUT_FAILED, OUT_ERROR):
                    self.result_flags |= RES_TEARDOWN_ERROR
                else:
                    self.outcome = OUT_ERROR
            elif self.outcome not in (OUT_FAILED, OUT_ERROR):
                self.outcome = OUT_ERROR if when == "setup" else OUT_FAILED
        elif subtest or self.outcome in (OUT_FAILED, OUT_ERROR):
            return
        elif outcome == "skipped":
            self.outcome = OUT_XFAILED if hasattr(report, "wasxfail") else OUT_SKIPPED
        elif outcome == "passed" and hasattr(report, "wasxfail"):
            self.outcome = OUT_XPASSED

    def flush(self, position, ended, marks=0):
        """RESULT of the item, its REPORTs and WARNINGs before it, in one write.  marks: further flags of RESULT."""
        seen = self.seen
        try:
            speaks = self.plain and seen and ended and (seen[-1].user_properties or self.attributes or self.added_properties or
                                                        (self.want_output and seen[-1].sections))
            if self.plain and self.called and not speaks:
                outcome, flags = OUT_PASSED, 0
            elif self.plain and not self.called:
                outcome, flags = (OUT_PASSED, RES_REPORTS) if ended else (OUT_NOT_RUN, 0)  # as --setup-only, or run by a plugin: pytest counts nothing
            else:
                self.make_statuses()
                if ended or self.faulty or any(status[0] for status in self.statuses):
                    self.report_frames(last=True)
                    outcome, flags = self.outcome, self.result_flags | RES_REPORTS
                else:
                    outcome, flags = OUT_NOT_RUN, 0
        except Exception:
            self.fault()
            outcome, flags = self.outcome, self.result_flags | RES_REPORTS
        self.write_result(position, outcome, flags | marks)

    def make_statuses(self):
        if self.plain:
            self.statuses = [("passed", ".", "PASSED") if r.when == "call" else ("", "", "") for r in self.seen]

    def write_result(self, position, outcome, flags):
        """The run loop has just asked whether this process is the owner."""
        try:
            frame = RESULT_FRAME.pack(
                RESULT_BODY_BYTES, wire.RESULT, 0, 0, self.index, self.attempt, outcome, flags, microseconds(self.setup_s, U32_MAX),
                microseconds(self.call_s, U32_MAX), microseconds(self.teardown_s, U32_MAX), position, microseconds(self.start_s))
        except Exception:
            self.fault()
            frame = RESULT_FRAME.pack(RESULT_BODY_BYTES, wire.RESULT, 0, 0, self.index, self.attempt, self.outcome,
                                      flags | self.result_flags | (0 if self.closing else RES_REPORTS), 0, 0, 0, position, 0)
        if self.pending:
            self.pending.append(frame)
            frame = b"".join(self.pending)
            self.pending = []
        write_all(self.results, frame)

    def resume(self, index):
        """The item that ended last is heard of again: what outlived it is torn down."""
        self.make_statuses()
        self.index, self.plain, self.closing = index, False, True
        self.told = len(self.seen)
        self.result_flags = 0
        self.attributes, self.added_properties = {}, []

    def close(self, position, seconds):
        """The RESULT that ends it for good, with what there is to say of that teardown."""
        try:
            self.report_frames(last=True)
            self.teardown_s += seconds
        except Exception:
            self.fault()
        self.write_result(position, self.outcome, RES_CLOSES | self.result_flags)
        self.index = NO_INDEX

    def report_frames(self, last):
        """Of what has been seen and not told yet.  last: nothing follows, so the last one has the properties."""
        nodeid, last = self.item.nodeid, len(self.seen) - 1 if last else -1
        again = not self.closing and sum(1 for report in self.seen if report.when == "teardown") > 1  # run more than once: each try is a case of its own in JUnit XML
        while self.told < len(self.seen):
            n = self.told
            self.told += 1
            report, status = self.seen[n], self.statuses[n]
            subtest = type(report) is not self.plain_type
            sections = report.sections[self.sections:]
            properties = list(report.user_properties)[self.properties:] + self.added_properties if n == last else ()
            attributes = self.attributes.items() if n == last else ()
            if not (status[0] or status[1] or sections or properties or attributes or again or subtest):
                continue
            if not subtest:
                self.sections = len(report.sections)
            other = "" if report.nodeid == nodeid else report.nodeid
            try:
                frame = report_frame(report, status, self.index, self.attempt, other, sections, properties, attributes,
                                     REP_CLOSES if self.closing else 0)
            except Exception:
                self.fault()
                continue
            self.pending.append(frame)
            if n == last:
                self.properties = len(report.user_properties)
