"""A process becomes a worker."""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import compat, wire
from xd_pytest.channel import Commands
from xd_pytest.leash import Leash
from xd_pytest.page import ENDING
from xd_pytest.process import own_group, redirect_output
from xd_pytest.text import as_text, bounded


class Worker(object):
    """What FORK says of a worker, and what follows from it.  In a collector: of the worker it may become."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.number = adapter.start.first_worker
        self.id = as_text(adapter.start.names[0].text) if adapter.start.names else ""  # empty: it has none
        self.total = adapter.start.workers_expected
        self.slot_number = 0
        self.maxfail = 0
        self.commands = None
        self.status = 0             # of its session, where pytest's own is 0

    def name(self):
        return self.id or "gw%d" % self.number

    def take_fork(self, record, fds):
        self.adapter.is_worker = True
        self.adapter.owner.take()
        own_group(0)
        Leash.renew()
        self.number, self.id, self.slot_number, self.total = record.worker, as_text(record.name), record.slot, record.total
        self.maxfail = record.maxfail
        self.commands = Commands(fds[0])
        self.adapter.reports.results = self.adapter.output = fds[1]

    def reborn(self, record, fds, forked):
        """A collector turns into worker `record.worker`; forked: it is a copy whose original lives on."""
        adapter = self.adapter
        config, session = adapter.config, adapter.session
        self.take_fork(record, fds)
        adapter.reads.put(self.name(), self.total)
        adapter.input.update(workerid=self.name(), workercount=self.total, rampdelay=self.ramp_delay())
        if not adapter.plain:
            os.environ["PYTEST_XDIST_WORKER"] = self.name()
            os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(self.total)
        redirect_output(config, fds[2], fds[3], self.capture_link)
        if forked:
            compat.tell_worker(config, config.workerinput)
            compat.forget_exit_handlers()
            self.reseed()
        adapter.basetemp.give(config, compat.TMP_PATH_FACTORY.of(config), self.name())
        self.fault_file(config)
        session.testsfailed = 0
        adapter.send(wire.pack_WORKER_READY(pid=os.getpid(), count=len(session.items), same=1))

    def ramp_delay(self):
        return self.adapter.ramp * self.number / self.total if self.total and self.number < self.total else 0.0

    def reseed(self):
        if self.adapter.seed_watch is not None:
            self.adapter.seed_watch.renew()
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            try:
                if getattr(numpy.mtrand._rand._bit_generator, "_seed_seq", True) is not None:  # None: the suite chose a seed, to which all workers keep
                    numpy.seed()
            except Exception:
                pass

    def capture_link(self, target):
        return self.scratch("out" if target == 1 else "err")

    def scratch(self, kind):
        """By number: a name may be any word, and there are other files."""
        return self.adapter.scratch("gw%d.%s" % (self.number, kind))

    def fault_file(self, config):
        """Tracebacks of a crash go to a file of this worker, which the agent reads when it has to tell of the crash."""
        path = self.scratch("fault")
        if not path or not config.pluginmanager.has_plugin("faulthandler"):
            return
        try:
            import faulthandler
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            faulthandler.enable(file=fd)
        except (ImportError, OSError, ValueError, RuntimeError):
            pass

    def ends(self, phase):
        """What the end of this worker is doing, for the process that waits for it."""
        if not self.adapter.owner.is_copy():
            page = self.adapter.page
            page.words[page.slot(self.slot_number) + ENDING] = phase

    def done(self, status):
        adapter, session = self.adapter, self.adapter.session
        if adapter.reason == "" and session is not None and (session.shouldfail or session.shouldstop):
            adapter.reason = as_text(session.shouldfail or session.shouldstop)
            adapter.stopped = True
        frames, adapter.reports.pending = adapter.reports.pending, []
        frames.append(wire.pack_WORKER_DONE(exit_status=status or self.status, reason=bounded(adapter.reason, 64 * 1024)[0], stopped=1 if adapter.stopped else 0))
        adapter.send(b"".join(frames))
