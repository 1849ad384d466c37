"""Serves the agent when all is collected: forks workers, keeps what only the collector knows."""
from __future__ import absolute_import, division, print_function

import os
import signal
import struct
import sys

from xd_pytest import wire
from xd_pytest.cache import save_cache
from xd_pytest.channel import Gone
from xd_pytest.collection import put_in_order
from xd_pytest.constants import ENV_KEEPS_CACHE, WAY_COLLECTED, WAY_FRESH, WAY_WARM
from xd_pytest.forksafety import why_not_collected
from xd_pytest.forkstate import mmap_users, renew_epolls
from xd_pytest.frozen import collect_frozen
from xd_pytest.leash import Leash
from xd_pytest.process import own_group, quiet_fork, reap, wait_until_taken
from xd_pytest.pythons import set_inheritable, write_start
from xd_pytest.text import encode


class Collector(object):
    def __init__(self, adapter, start_fds, page_inode, no_fork):
        self.adapter = adapter
        self.start_fds = start_fds  # descriptors that were open before the user's code
        self.page_inode = page_inode
        self.mmap_users = mmap_users()
        self.no_fork = no_fork      # why no worker may be forked at all, or None
        self.epolls = []            # descriptors of epoll instances that each worker makes anew
        self.control = None         # socket to the agent
        self.own_control = None     # of a collector that became a worker and had nobody to leave it to
        self.served = False         # it has been in serve()
        self.capture_links = []     # by which the agent finds what is captured; empty: it has
        self.collecting = None      # descriptor of a file that names what is collected, for the agent if this process dies in it
        self.finish = None          # (failed, not run) of FINISH
        self.known_ids = 0          # by pytest's cache, before the collection

    def capture_link(self, target):
        return self.adapter.scratch("collector.out" if target == 1 else "collector.err")

    def collects(self, node):
        import pytest
        path = self.adapter.scratch("collecting")
        if not isinstance(node, pytest.File) or not path:
            return
        self.adapter.owner.check()
        wait_until_taken(self.capture_links)
        self.capture_links = []
        try:
            if self.collecting is None:
                self.collecting = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                set_inheritable(self.collecting, False)
            name = encode(node.nodeid)[:4000]
            write_start(self.collecting, struct.pack("<I", len(name)) + name)
        except OSError:
            pass

    def has_collected(self):
        if self.collecting is not None:
            try:
                os.close(self.collecting)
                os.unlink(self.adapter.scratch("collecting"))
            except OSError:
                pass  # the agent has taken it, or the suite closed what it did not open
            self.collecting = None

    def objection(self):
        adapter = self.adapter
        against, self.epolls = why_not_collected(adapter.config, self.start_fds, self.page_inode, adapter)
        return against

    def choose_way(self):
        if self.adapter.plain:
            return WAY_WARM, "the process that collected runs the tests, as in plain pytest"
        if self.no_fork is not None:
            return WAY_FRESH, self.no_fork
        against = self.objection()
        if against and against.perhaps_garbage:
            collect_frozen()
            against = self.objection()
        if against:
            return WAY_WARM, against.text
        return WAY_COLLECTED, "nothing in the collected process prevents forking it"

    def serve(self, session):
        """Serves the agent until the end (False), or as a worker returns to run items (True)."""
        adapter = self.adapter
        adapter.owner.check()
        if adapter.seed_watch is not None:
            adapter.seed_watch.stop()
            adapter.call_watch.stop()
        self.has_collected()
        adapter.way, why = self.choose_way()
        adapter.reads.end(adapter.input)
        adapter.send_collection(session.items)
        adapter.basetemp.share(session.config, session.items)
        adapter.send_collected(-1, why=why)
        self.served = True
        while True:
            adapter.owner.check()  # before a command of the parent's is read
            try:
                kind, record = self.control.next()
            except Gone:
                break
            if kind == wire.FORK:
                if self.on_fork(record):
                    return True
            elif kind == wire.REAP:
                reap(self.control, record.pid)
            elif kind == wire.ORDER:
                adapter.items = put_in_order(session.items, record.places)
            elif kind == wire.FINISH:
                self.on_finish(record)
            elif kind == wire.QUIT:
                break
        if self.finish is None or self.finish[0]:
            session.testsfailed += 1  # pytest keeps the temporary folders of a failed run, and so must we
        return False

    def on_fork(self, record):
        fds = self.control.take_fds(4)
        if fds is None:
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=b"no descriptors came with FORK"))
            return False
        if record.become:
            self.become(record, fds)
            return True
        try:
            pid = quiet_fork()
        except OSError as e:
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=0, error=encode(e)))
            pid = -1
        if pid == 0:
            self.control.close()
            renew_epolls(self.epolls)
            self.adapter.worker.reborn(record, fds, forked=True)
            return True
        for fd in fds:
            os.close(fd)
        if pid > 0:
            own_group(pid)
            self.control.send(wire.pack_FORKED(worker=record.worker, pid=pid, error=b""))
        return False

    def become(self, record, fds):
        """This process is the worker now.  A child with nothing but the control socket keeps what only the collector knows: pytest's cache."""
        self.control.send(wire.pack_FORKED(worker=record.worker, pid=os.getpid(), error=b""))
        if self.no_fork is None and not self.adapter.plain:
            try:
                pid = quiet_fork()
            except OSError:
                pass
            else:
                if pid == 0:
                    self.keep_cache_alone()
                own_group(pid)
            self.control.close()
        else:
            self.own_control = self.control
        self.adapter.worker.reborn(record, fds, forked=False)

    def finish_late(self):
        """The collector that became a worker where no keeper could be forked: FINISH is sent together with the worker's QUIT."""
        self.own_control.sock.settimeout(0.2)
        try:
            while self.finish is None:
                kind, record = self.own_control.next()
                if kind == wire.FINISH:
                    self.on_finish(record)
                elif kind == wire.QUIT:
                    break
        except (Gone, EnvironmentError):
            pass

    def keep_cache_alone(self):
        try:
            own_group(0)  # that of the worker ends with the worker
            Leash.renew()
            begin = 0
            for fd in sorted(fd for fd in (self.control.fd, Leash.fd) if fd is not None):
                os.closerange(begin, fd)
                begin = fd + 1
            os.closerange(begin, os.sysconf("SC_OPEN_MAX") if "SC_OPEN_MAX" in os.sysconf_names else 65536)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            while True:
                kind, record = self.control.next()
                if kind == wire.FINISH:
                    self.on_finish(record)
                elif kind == wire.REAP:
                    reap(self.control, record.pid)
                elif kind == wire.QUIT:
                    break
        except BaseException:
            pass
        os._exit(0)

    def keeps_cache(self):
        """In a plain session pytest does it itself."""
        return self.adapter.flags & ENV_KEEPS_CACHE and not self.adapter.plain

    def on_finish(self, record):
        self.finish = ([i.item for i in record.failed], [i.item for i in record.not_run])
        fault = 0
        if self.keeps_cache():
            try:
                save_cache(self.adapter.config, self.adapter.session, self.finish[0], self.finish[1], self.known_ids, self.adapter.items)
            except Exception as e:
                sys.stderr.write("xd: pytest's cache could not be written: %s: %s\n" % (type(e).__name__, e))
                fault = 1
        try:
            self.control.send(wire.pack_SAVED(fault=fault))
        except OSError:
            pass  # an agent that is not there any more does not wait for it

    def end_early(self, session):
        """A session that ended before it served (errors, no tests) keeps its cache like plain pytest."""
        if not self.served and self.keeps_cache():
            save_cache(self.adapter.config, session, (), range(len(session.items)), self.known_ids)
