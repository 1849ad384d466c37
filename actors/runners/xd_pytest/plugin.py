"""Our plugin in the session of a collector or of a worker: configuration and collection."""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import autocount, compat, wire
from xd_pytest.basetemp import BaseTemp
from xd_pytest.channel import write_all
from xd_pytest.cache import known_ids
from xd_pytest.collection import CollectProgress, collection_frames
from xd_pytest.collector import Collector
from xd_pytest.constants import ENV_AS_MODULE, ENV_KEEPS_CACHE, ENV_OWN_WORKERS, ENV_PLAIN, ENV_PROGRESS, ENV_TTY, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, NO_INDEX, NO_WORKER, WAY_COLLECTED
from xd_pytest.frozen import collection_begins, collection_ended
from xd_pytest.hosted import Host, HostedLoop, NoLoop
from xd_pytest.home import late_values, refusal, who_misses
from xd_pytest.junitxml import hear
from xd_pytest.outcome import ItemReports
from xd_pytest.outlive import Closing
from xd_pytest.owner import Owner
from xd_pytest.page import IN_SESSIONFINISH, IN_UNCONFIGURE
from xd_pytest.plugins import foreign_plugins, plugin_name
from xd_pytest.process import flush_stdio, name_captures
from xd_pytest.pythons import fsdecode, own_function
from xd_pytest.real import Real
from xd_pytest.reads import CallWatch, Reads, SeedWatch, WorkerInput
from xd_pytest.reports import Screen, report_frame, warning_frame
from xd_pytest.runloop import RunLoop
from xd_pytest.settings import OPTIONS, all_notes, collection_lines, config_frame
from xd_pytest.terminal import count_for, hear_live_log, plugin_summary, silence
from xd_pytest.text import as_text, bounded, encode, microseconds
from xd_pytest.worker import Worker
from xd_pytest.xdistlike import NOT_GIVEN, XDIST, add_xdist_options, make_fixtures, make_hookspecs, ramp_seconds, switch_off_xdist, wants_plain

# Arguments with which pytest tells something instead of running tests: nothing of a worker may be seen then.
TELLING_ARGS = frozenset(("--collect-only", "--collectonly", "--co", "-h", "--help", "-V", "--version", "--fixtures", "--funcargs",
                          "--fixtures-per-test", "--markers", "--cache-show"))
TELLING_OPTIONS = ("collectonly", "help", "version", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")
SORTING_OPTIONS = ("failedfirst", "newfirst", "stepwise")
TYPED_OPTIONS = ("numprocesses", "dist", "tx", "maxprocesses")


class Adapter(object):
    """A forked worker is the same object in the child: Worker.reborn() turns a collector into a worker."""

    def __init__(self, start, page, start_fds, page_inode, no_fork):
        self.start = start
        self.flags = start.flags
        self.args = compat.without_plugin(compat.spelled_out([fsdecode(t.text) for t in start.args]), XDIST)
        self.page = page
        self.plain = bool(self.flags & ENV_PLAIN)  # one session without workers, as pytest's own (-n 0)
        self.noted = []            # lines of CONFIG.notes
        self.telling = bool(TELLING_ARGS.intersection(self.args))
        self.owner = Owner()
        self.output = -1           # where frames go: the collector's socket, a worker's pipe of results
        self.way = WAY_COLLECTED
        self.is_worker = False     # runs items (or will, when it has collected)
        self.reads = Reads()
        self.input = None
        self.config = None
        self.session = None
        self.items = None          # by their numbers, where those are not their places in session.items
        self.typed = {}
        self.asked = {}
        self.ramp = 0.0
        self.collected_sent = False
        self.failed_env = False    # ENV_FAILED was sent
        self.deselected = 0
        self.collect_errors = 0
        self.in_order = False      # somebody sorted the items
        self.collect_started = Real.time()
        self.reason = ""
        self.stopped = False
        self.hosted = False        # the loop is not ours
        self.seed_watch = self.call_watch = None
        self.basetemp = BaseTemp(self.scratch("basetemp"))
        self.collector = Collector(self, start_fds, page_inode, no_fork)
        self.progress = None       # of a collection that somebody watches
        self.worker = Worker(self)
        self.reports = ItemReports(self.owner)

    def scratch(self, name):
        folder = fsdecode(self.start.scratch_dir)
        return os.path.join(folder, name) if folder else None

    # ---- sending

    def send(self, data):
        self.owner.check()
        write_all(self.output, data)

    def tell(self, frame):
        """Of a worker it goes with the running item's RESULT, or with WORKER_DONE."""
        if self.is_worker:
            self.reports.pending.append(frame)
        else:
            self.send(frame)

    def fail_environment(self, status, text):
        if not self.failed_env:
            self.failed_env = True
            self.send(wire.pack_ENV_FAILED(exit_status=status, text=encode(text)))

    def own_loop(self, status):
        """A plugin that runs the tests by itself, in its own pytest_runtestloop, reports them to nobody here: that must not look like success."""
        items = getattr(self.session, "items", ())
        if status != 0 or not items or self.telling or self.reason or self.collector.served or self.collected_sent:
            return
        names = [plugin_name(self.config, p) for p in foreign_plugins(self.config, "pytest_runtestloop")]
        self.fail_environment(EXIT_INCOMPLETE, "%s ran the tests itself (pytest_runtestloop), or ran none: xd did not see the outcomes of %d tests; "
                              "leave out what asks for it, or use plain pytest" % (", ".join(names) or "a plugin", len(items)))

    def send_collection(self, items):
        for frame in collection_frames(items):
            self.send(frame)

    def send_collected(self, status, reason="", why=""):
        if self.collected_sent or self.failed_env:
            return
        count = len(getattr(self.session, "items", ()))
        frame = wire.pack_COLLECTED(
            count=count, deselected=self.deselected, errors=self.collect_errors, digest_lo=0, digest_hi=0, exit_status=status,
            in_order=1 if self.in_order else 0, stop_reason=bounded(reason)[0], way=self.way, why=encode(why), duration_us=microseconds(Real.time() - self.collect_started),
            lines=collection_lines(self.session, self.noted) if status < 0 and not self.is_worker else [], room=0)
        self.collected_sent = True  # not before: the hook behind the lines may fail, and that ends the collection
        self.send(frame)

    # ---- before and around the session

    def before(self):
        """Everything that must be so before pytest reads its configuration."""
        uid = as_text(self.start.run_uid)
        worker = self.worker.name()
        self.input = WorkerInput(workerid=worker, workercount=self.worker.total, testrunuid=uid, mainargv=list(sys.argv))
        self.input["rampdelay"] = 0.0
        if self.telling or self.plain:
            return
        os.environ["PYTEST_XDIST_WORKER"] = worker
        os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(self.worker.total)
        os.environ["PYTEST_XDIST_TESTRUNUID"] = uid
        if not self.is_worker:
            self.reads.begin(self.input, self.start.workers_expected != 0, as_text(b"".join(name.text for name in self.start.names)))
            self.seed_watch, self.call_watch = SeedWatch(), CallWatch()

    def run_session(self):
        """The whole pytest session; in a forked worker this returns a second time, in the child.  The exit status."""
        import pytest
        self.before()
        collection_begins()
        entry = compat.MAIN.get()
        try:
            if entry is not None:
                name = "python -m pytest" if self.flags & ENV_AS_MODULE else "pytest"
                status = entry(args=list(self.args), plugins=[self, self.reports], prog=name)
            else:
                status = pytest.main(list(self.args), plugins=[self, self.reports])
        except SystemExit as e:  # argparse
            status = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        except BaseException as e:
            import traceback
            traceback.print_exc()
            self.reason = self.reason or "%s: %s" % (type(e).__name__, as_text(e))
            self.stopped = True
            status = EXIT_FAILED  # as of any Python program that ends so
        flush_stdio()
        return int(status)

    # ---- hooks: configuration

    def pytest_addhooks(self, pluginmanager):
        switch_off_xdist(pluginmanager)
        pluginmanager.add_hookspecs(make_hookspecs())

    def pytest_addoption(self, parser):
        add_xdist_options(parser)

    def pytest_load_initial_conftests(self, early_config):
        """-n 0 or --dist no in ini or $PYTEST_ADDOPTS: known now, before a conftest can ask for anything of a worker."""
        option = early_config.known_args_namespace
        if not (self.plain or self.telling or self.flags & ENV_OWN_WORKERS) and wants_plain(option):
            self.plain = True
            self.reads.end(self.input)
            self.forget_worker()

    def forget_worker(self):
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
            os.environ.pop(name, None)

    def pytest_plugin_registered(self, plugin, manager):
        if not self.telling:
            silence(plugin, manager, counts=self.plain)

    def around_cmdline_main(self, config):
        self.config = self.owner.config = config
        option = config.option
        self.telling = any(getattr(option, name, False) for name in TELLING_OPTIONS)
        if self.telling:
            self.forget_worker()
        else:
            self.check_home(config)
            self.take_options(config)
            if not self.plain:
                self.input.late = late_values(config, as_text(self.start.run_uid), writes=not self.is_worker)
                compat.tell_worker(config, self.input)
        yield

    def take_options(self, config):
        """What was asked for is reported; then the options say: this process distributes nothing."""
        import pytest
        option = config.option
        for name, given in (("usepdb", "--pdb"), ("trace", "--trace")):
            if getattr(option, name, False):
                raise pytest.UsageError("%s is incompatible with distributing tests; run pytest itself for it" % given)
        if option.distload:
            option.dist = "load"
        if self.flags & ENV_OWN_WORKERS:
            typed = compat.typed_options(config, self.args)
            if typed.distload:
                typed.dist = "load"
            self.typed = dict((name, getattr(typed, name, None)) for name in TYPED_OPTIONS)
        self.asked = dict((name, getattr(option, name, None)) for name in OPTIONS)
        self.asked.update(self.typed)
        if option.dist.startswith("each") and self.typed.get("dist", NOT_GIVEN) is NOT_GIVEN:
            self.asked["dist"] = option.dist  # of ini: a number of workers does not stand in for it
        if self.plain:
            self.asked["numprocesses"] = 0
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
            self.basetemp.give(config, None, self.worker.name())

    def ask_for_number(self, config):
        """-n auto: what is told; else the engine counts processors."""
        number = autocount.number_told(config)
        if number is None:
            self.asked["cores"] = autocount.cores()
            return
        self.asked["auto_num_workers"] = number
        if self.asked.get("numprocesses") in ("auto", "logical"):
            self.asked["numprocesses"] = number

    def check_home(self, config):
        """A plugin that hands data from a controlling pytest process to workers cannot be right without one."""
        import pytest
        text = None if self.plain else refusal(config)
        if text is not None:
            self.fail_environment(EXIT_USAGE, text)
            raise pytest.UsageError()  # it is told, once

    def pytest_configure(self, config):
        config.addinivalue_line("markers", "xdist_group(name): tests of one group run on the same worker under --dist loadgroup.")
        if not self.telling:
            hear(self, config)
        if self.plain and not self.telling and not self.is_worker:  # a worker in place of one that crashed begins in the middle
            config.pluginmanager.register(Host(self), "xd_host")
        fixtures = make_fixtures()
        if not config.pluginmanager.has_plugin("xd_fixtures"):
            config.pluginmanager.register(fixtures, "xd_fixtures")

    def around_sessionstart(self, session):
        self.session = session
        if not self.telling:
            Screen.configure(session.config, bool(self.flags & ENV_TTY))
            if self.plain:
                count_for(session)
            self.check_home(session.config)  # again: pytest_configure may have brought more plugins
            if not self.is_worker:  # that would repeat what the collector logs
                hear_live_log(session.config, self.reports)
        outcome = yield
        if self.telling or outcome.excinfo is not None:
            return
        if self.is_worker:
            name_captures(session.config, self.worker.capture_link)
            self.worker.fault_file(session.config)
        else:
            self.collector.capture_links = name_captures(session.config, self.collector.capture_link)
            self.noted = all_notes(session)
            self.send(config_frame(session.config, self.asked, self.noted, bool(self.flags & ENV_KEEPS_CACHE)))

    # ---- hooks: collection

    def around_collection(self, session):
        self.collect_started = Real.time()
        self.collector.known_ids = known_ids(session.config)
        if self.flags & ENV_PROGRESS and not self.is_worker and not self.telling:
            self.progress = CollectProgress(self.page)
        yield
        self.progress = None

    def pytest_collectstart(self, collector):
        if not self.is_worker and not self.telling:
            self.collector.collects(collector)
        if self.progress is not None:
            self.progress.begins(collector)

    def pytest_deselected(self, items):
        self.deselected += len(items)

    def around_modifyitems(self, session, config, items):
        """Whoever sorts the items wants them in that order; pytest's own sorting by fixtures is not told from it where others take part."""
        option = config.option
        self.in_order = any(getattr(option, name, False) for name in SORTING_OPTIONS)
        if self.in_order or not foreign_plugins(config, "pytest_collection_modifyitems"):
            yield
            return
        places = dict((id(item), n) for n, item in enumerate(items))
        outcome = yield
        if outcome.excinfo is None:
            found = [places.get(id(item), -1) for item in items]
            self.in_order = any(a > b for a, b in zip(found, found[1:]))

    def pytest_collectreport(self, report):
        if self.progress is not None:
            self.progress.found(report.result)
        if report.outcome == "passed" or self.telling:
            return
        if report.outcome == "failed":
            self.collect_errors += 1
        if not self.is_worker:
            status = ("error", "E", "ERROR") if report.outcome == "failed" else ("skipped", "s", "SKIPPED")
            self.send(report_frame(report, status, NO_INDEX, 0, report.nodeid, report.sections, ()))

    def warning_recorded(self, warning_message, when, nodeid):
        if self.telling or (self.is_worker and not self.collected_sent):
            return  # while collecting, only the collector tells
        self.tell(warning_frame(warning_message, when, nodeid, self.reports.index))

    def warning_captured(self, warning_message, when, item):
        """The same before pytest 6."""
        self.warning_recorded(warning_message, when, "" if item is None else item.nodeid)

    # ---- hooks: the loop and the end

    def begin_loop(self, session):
        """Collection is over: True in the process that is to run items."""
        option = session.config.option
        if session.testsfailed and not option.continue_on_collection_errors:
            raise session.Interrupted(compat.errors_of_collection(session.testsfailed))
        collection_ended()
        if not self.is_worker:
            return bool(session.items) and self.collector.serve(session)
        self.send_collection(session.items)
        self.send_collected(-1)
        self.send(wire.pack_WORKER_READY(pid=os.getpid(), count=len(session.items), same=0))
        return True

    def pytest_runtestloop(self, session):
        if self.telling or self.hosted:
            return None
        if self.begin_loop(session):
            RunLoop(self, session).run()
        return True

    def pytest_keyboard_interrupt(self, excinfo):
        self.stopped = True
        self.reason = as_text(excinfo.exconly())

    def pytest_internalerror(self, excrepr, excinfo):
        """pytest writes the whole of it to stderr, which is shown; the run ends with its last line."""
        self.stopped = True
        self.reason = "internal error: " + as_text(excinfo.exconly()).strip().split("\n")[-1]
        missing = self.reads.missing
        if missing is not None and not self.is_worker and excinfo.errisinstance(KeyError) and excinfo.value.args == (missing,):
            self.fail_environment(EXIT_USAGE, who_misses(self.config, excinfo, missing))
            return True
        return None

    def around_sessionfinish(self, session, exitstatus):
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["exitstatus"] = int(exitstatus)
            output["shouldfail"] = session.shouldfail
            output["shouldstop"] = session.shouldstop
        if self.is_worker:
            self.worker.ends(IN_SESSIONFINISH)
        elif not self.telling:
            self.owner.check()
            self.collector.end_early(session)
        outcome = yield
        if self.plain and self.is_worker and outcome.excinfo is None:
            text = plugin_summary(session.config, exitstatus)
            if text:
                self.tell(wire.pack_SUMMARY(worker=NO_WORKER, text=bounded(text)[0]))

    def first_unconfigure(self):
        if self.is_worker:
            self.worker.ends(IN_UNCONFIGURE)


# (class, hook, its function, how that is marked)
WRAPPER, FIRST, LAST = {"hookwrapper": True, "tryfirst": True}, {"tryfirst": True}, {"trylast": True}
MARKS = (
    (Adapter, "pytest_cmdline_main", "around_cmdline_main", WRAPPER),
    (Adapter, "pytest_sessionstart", "around_sessionstart", WRAPPER),
    (Adapter, "pytest_collection", "around_collection", WRAPPER),
    (Adapter, "pytest_collection_modifyitems", "around_modifyitems", WRAPPER),
    (Adapter, "pytest_sessionfinish", "around_sessionfinish", WRAPPER),
    (Adapter, "pytest_load_initial_conftests", "pytest_load_initial_conftests", FIRST),
    (Adapter, "pytest_configure", "pytest_configure", LAST),
    (Adapter, "pytest_runtestloop", "pytest_runtestloop", FIRST),
    (Adapter, "pytest_unconfigure", "first_unconfigure", FIRST),
    (Host, "pytest_runtestloop", "around_runtestloop", WRAPPER),
    (HostedLoop, "pytest_runtest_protocol", "around_protocol", WRAPPER),
    (NoLoop, "pytest_runtest_protocol", "refuse", FIRST),
    (Closing, "pytest_runtest_protocol", "pytest_runtest_protocol", FIRST),
    (ItemReports, "pytest_runtest_logreport", "pytest_runtest_logreport", LAST),
)


def mark_hooks():
    """Wrappers and places among the hooks of others: pytest must be imported to say so.  The wrappers are of the kind that all its releases know, which
    Python 2 can read, too: `yield` gives a result that may hold an exception."""
    import pytest
    for cls, hook, name, how in MARKS:
        setattr(cls, hook, pytest.hookimpl(**how)(own_function(cls, name)))
    hook = compat.warning_hook()
    setattr(Adapter, hook, own_function(Adapter, hook[len("pytest_"):]))
