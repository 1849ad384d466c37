"""Reading is noticed: who asks for the worker id while it is not final, who gives `random` a seed."""
from __future__ import absolute_import, division, print_function

import os
import sys

ID_KEYS = ("PYTEST_XDIST_WORKER", b"PYTEST_XDIST_WORKER")
COUNT_KEYS = ("PYTEST_XDIST_WORKER_COUNT", b"PYTEST_XDIST_WORKER_COUNT")


# Modules that copy the whole environment and are known to make nothing of the worker id.
HARMLESS_READERS = frozenset(("wsgiref.handlers", "pytest_env.plugin", "dotenv.main"))
BETWEEN = frozenset(("os", "_collections_abc", "collections.abc", "_weakrefset", __name__))


def reader():
    """The module that reads os.environ just now."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in BETWEEN:
        frame = frame.f_back
    return None if frame is None else frame.f_globals.get("__name__")


class Reads(object):
    def __init__(self):
        self.worker_id = None  # how the worker id was read, the first time
        self.count = False
        self.missing = None    # key that a plugin expected from pytest_configure_node

    def note(self, key, how):
        if key in ID_KEYS or key == "workerid":
            self.worker_id = self.worker_id or how
        elif key in COUNT_KEYS or key == "workercount":
            self.count = True

    def note_all(self, how):
        self.note("workerid", how)
        self.note("workercount", how)


class WorkerInput(dict):
    """config.workerinput: says which process reads the worker id before it is final."""
    reads = None
    late = {}  # functions for values that are made when somebody asks

    def __getitem__(self, key):
        if self.reads is not None:
            self.reads.note(key, "config.workerinput")
        return dict.__getitem__(self, key)

    def __missing__(self, key):
        if key in self.late:
            self[key] = value = self.late[key]()
            return value
        if self.reads is not None and self.reads.missing is None:
            self.reads.missing = key
        raise KeyError(key)

    def get(self, key, default=None):
        if self.reads is not None:
            self.reads.note(key, "config.workerinput")
        return dict.get(self, key, default)

    def _all(self):
        if self.reads is not None:
            self.reads.note_all("config.workerinput")

    def items(self):
        self._all()
        return dict.items(self)

    def values(self):
        self._all()
        return dict.values(self)

    def copy(self):
        self._all()
        return dict.copy(self)

    def __repr__(self):
        self._all()
        return dict.__repr__(self)


class RecordingEnviron(type(os.environ)):
    """os.environ while collecting.  Only the class is exchanged: everybody keeps his object."""

    def __getitem__(self, key):
        if key in ID_KEYS or key in COUNT_KEYS:
            who = reader()
            if who not in HARMLESS_READERS:
                RecordingEnviron.reads.note(key, "os.environ by %s" % who if who else "os.environ")
        return super(RecordingEnviron, self).__getitem__(key)

    def __contains__(self, key):
        """Whether it is there says nothing of its value."""
        try:
            super(RecordingEnviron, self).__getitem__(key)
        except KeyError:
            return False
        return True


def record_environ(reads):
    RecordingEnviron.reads = reads
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is RecordingEnviron.__mro__[1]:
            environ.__class__ = RecordingEnviron


def plain_environ():
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is RecordingEnviron:
            environ.__class__ = RecordingEnviron.__mro__[1]


class SeedWatch(object):
    """Whether the user's code gave `random` a seed of its own: then all workers go on with it, as N xdist workers would."""

    def __init__(self):
        import random
        self.seeded = False
        self.state = None
        self.original = random.seed
        random.seed = self.seed

    def seed(self, *args, **kw):
        if (args and args[0] is not None) or kw.get("a") is not None:
            self.seeded = True
        return self.original(*args, **kw)

    def stop(self):
        import random
        if random.seed == self.seed:
            random.seed = self.original
        if self.seeded:
            self.state = random.getstate()
