"""Reading is noticed: who asks for the worker id while it is not final, who gives `random` a seed."""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest.compat import can_watch_environ, environ_data
from xd_pytest.late import COUNT, ID, LateBytes, LateText, places_of, put
from xd_pytest.pythons import BASE_PREFIX, PY2, own_function
from xd_pytest.real import Real
from xd_pytest.tested import Tested

BETWEEN = frozenset(("os", "_collections_abc", "collections.abc", "_weakrefset", "UserDict", "_abcoll", "copy", __name__))
# Modules that ask for the key, look whether there is one, and keep it for later in an attribute.
KEEPING_READERS = frozenset(("pytest_benchmark.session",))
DIGITS = "0123456789"
INPUT_KEYS = {ID: "workerid", COUNT: "workercount"}


def reader():
    """The module that reads os.environ just now."""
    frame = Real.frame(1)
    while frame is not None and frame.f_globals.get("__name__") in BETWEEN:
        frame = frame.f_back
    return None if frame is None else frame.f_globals.get("__name__")


class Entry(object):
    """PYTEST_XDIST_WORKER or PYTEST_XDIST_WORKER_COUNT while collecting.  Asking for the key is a read.  Code that takes all entries gets a key of our own,
    and what he looks up with that very object is no read: it is a value that tells when it is used."""

    def __init__(self, reads, name, value, names):
        """names: characters of the names that workers here have in place of gw and a number."""
        self.reads, self.name, self.value = reads, name, value
        self.given = {str: "".join(list(name)), bytes: bytes(bytearray(name.encode()))}  # equal to the name, but no other object is the same
        self.late = [LateText(value), LateBytes(value.encode())]
        self.places = [[], []]
        for late in self.late:
            late.characters = DIGITS if name == COUNT else "gw" + DIGITS + names
            late.note = self.used

    def used(self, who):
        self.reads.note(self.name, "a copy of os.environ by %s" % who)

    def asked(self, key):
        """The value for a key that somebody looks up."""
        as_bytes = isinstance(key, bytes)
        if key is self.given[bytes if as_bytes else str]:
            return self.late[as_bytes]
        who = reader()
        if who in KEEPING_READERS and Tested.is_tested(who):
            return self.late[as_bytes]
        self.reads.note(self.name, "os.environ by %s" % who if who else "os.environ")
        return self.value.encode() if as_bytes else self.value

    def in_environ(self):
        return environ_data().get(self.name.encode()) is self.late[1]

    def settle(self, worker_input):
        """All is collected: where are the copies?  False: in a place that is unknown or cannot be changed."""
        ours = [self.late, environ_data(), worker_input]
        known = [dict.get(worker_input, INPUT_KEYS[self.name]) is self.late[0], self.in_environ()]
        for n in (0, 1):
            late = self.late[n]
            count = sys.getrefcount(late) - 3 - known[n]  # of these: the list, the local name, the argument
            self.places[n] = places_of(late, ours, count) if count > 0 else []
            if self.places[n] is None:
                self.places = [[], []]
                return False
        return True

    def end(self):
        for late in self.late:
            late.note = None

    def put(self, value):
        for late, places in zip(self.late, self.places):
            put(places, late, value if late is self.late[0] else value.encode())


class Reads(object):
    def __init__(self):
        self.worker_id = None  # how the worker id was read, the first time
        self.count = False
        self.missing = None    # key that a plugin expected from pytest_configure_node
        self.entries = {}      # by key of the environment; Python 2: there are none
        self.watches_count = False

    def note(self, key, how):
        if key in (ID, "workerid"):
            self.worker_id = self.worker_id or how
        elif key in (COUNT, "workercount"):
            self.count = self.watches_count

    def begin(self, worker_input, count_known, names):
        """The entries are set, and from here on their readers are noted.  Where that cannot be done, no process is copied."""
        if not can_watch_environ():
            return
        watched = (ID,) if count_known else (ID, COUNT)
        self.watches_count = not count_known
        worker_input.reads = self
        if PY2:
            RecordingEnviron.reads = dict.fromkeys(watched, self)
            os.environ.__class__ = RecordingEnviron
            return
        for name in watched:
            entry = self.entries[name] = Entry(self, name, os.environ[name], names)
            environ_data()[name.encode()] = entry.late[1]
            RecordingEnviron.entries[name] = RecordingEnviron.entries[name.encode()] = entry
        worker_input["workerid"] = self.entries[ID].late[0]
        for environ in (os.environ, getattr(os, "environb", None)):
            if type(environ) is RecordingEnviron.__mro__[1]:
                environ.__class__ = RecordingEnviron

    def settle(self, worker_input):
        """Whether each worker can put its own values into all copies of the environment."""
        return all([entry.settle(worker_input) for entry in self.entries.values()])

    def end(self, worker_input):
        """Everything is as Python has it."""
        worker_input.reads = None
        if PY2:
            if os.environ.__class__ is RecordingEnviron:
                os.environ.__class__ = RecordingEnviron.__bases__[0]
            return
        for environ in (os.environ, getattr(os, "environb", None)):
            if type(environ) is RecordingEnviron:
                environ.__class__ = RecordingEnviron.__mro__[1]
        for name, entry in self.entries.items():
            entry.end()
            if entry.in_environ():
                environ_data()[name.encode()] = entry.value.encode()
            if dict.get(worker_input, INPUT_KEYS[name]) is entry.late[0]:
                worker_input[INPUT_KEYS[name]] = entry.value

    def put(self, worker, total):
        """In a worker: what copies of the environment hold."""
        for name, value in ((ID, worker), (COUNT, str(total))):
            if name in self.entries:
                self.entries[name].put(value)


class WorkerInput(dict):
    """config.workerinput: says which process reads the worker id before it is final."""
    reads = None
    late = {}  # functions for values that are made when somebody asks

    def __getitem__(self, key):
        if self.reads is not None and key == "workerid":
            self.reads.note(key, "config.workerinput")
            value = dict.__getitem__(self, key)
            return value.plain() if isinstance(value, LateText) else value
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
        value = dict.get(self, key, default)
        return value.plain() if isinstance(value, LateText) else value

    def pop(self, key, *default):
        value = self.get(key)
        popped = dict.pop(self, key, *default)
        return value if isinstance(popped, LateText) else popped

    def _all(self):
        if self.reads is not None and PY2:
            self.reads.note("workerid", "config.workerinput")
        if self.reads is not None:
            self.reads.note("workercount", "config.workerinput")

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


class RecordingEnviron(os.environ.__class__):
    """os.environ while collecting.  Only the class is exchanged: everybody keeps his object."""
    entries = {}

    def __getitem__(self, key):
        entry = self.entries.get(key) if isinstance(key, (str, bytes)) else None
        if entry is None or not entry.in_environ():
            return super(RecordingEnviron, self).__getitem__(key)
        if isinstance(key, str) is not isinstance(self.decodekey(b""), str):
            return super(RecordingEnviron, self).__getitem__(key)  # raises as it always does
        return entry.asked(key)

    def __setitem__(self, key, value):
        """Who puts back what he copied changes nothing."""
        entry = self.entries.get(key) if isinstance(key, (str, bytes)) else None
        copied = entry is not None and any(value is late for late in entry.late)
        super(RecordingEnviron, self).__setitem__(key, value.plain() if copied else value)
        if copied:
            environ_data()[entry.name.encode()] = entry.late[1]

    def __iter__(self):
        for key in super(RecordingEnviron, self).__iter__():
            entry = self.entries.get(key)
            yield key if entry is None else entry.given[type(key)]

    def __contains__(self, key):
        """Whether it is there says nothing of its value."""
        return self.encodekey(key) in environ_data()


if PY2:
    class RecordingEnviron(os.environ.__class__):  # noqa: F811
        """The same where a string cannot tell that it is used: whoever takes all entries has read these, too."""
        reads = {}

        def __getitem__(self, key):
            if key in self.reads:
                self.reads[key].note(key, "os.environ by %s" % reader())
            return self.data[key]

        def pop(self, key, *default):
            if key in self.reads and key in self.data:
                self[key]
            return self.__class__.__bases__[0].pop(self, key, *default)

    def taking_all(name):
        def method(self, *args):
            for key, reads in self.reads.items():
                reads.note(key, "a copy of os.environ by %s" % reader())
            return getattr(self.data, name)(*args)
        return method

    for method_name in ("items", "values", "iteritems", "itervalues", "popitem", "__repr__", "__cmp__"):
        setattr(RecordingEnviron, method_name, taking_all(method_name))


class SeedWatch(object):
    """Whether the user's code gave `random` a seed of its own: then all workers go on with it, as N xdist workers would.  Generators beside it that got none
    are told by their own seed()."""

    def __init__(self):
        import random
        import weakref
        self.seeded = False
        self.state = None
        self.unseeded = unseeded = weakref.WeakSet()
        self.original, self.methods = random.seed, seed_methods(random.Random)
        seed_of, setstate_of = self.methods

        def seed(generator, a=None, *version, **named):
            (unseeded.add if a is None else unseeded.discard)(generator)
            return seed_of(generator, a, *version, **named)

        def setstate(generator, state):
            unseeded.discard(generator)
            return setstate_of(generator, state)

        random.seed, random.Random.seed, random.Random.setstate = self.seed, seed, setstate
        self.stand_ins = (seed, setstate)

    def seed(self, *args, **kw):
        if (args and args[0] is not None) or kw.get("a") is not None:
            self.seeded = True
        return self.original(*args, **kw)

    def stop(self):
        import random
        if random.seed == self.seed:
            random.seed = self.original
        if seed_methods(random.Random) == self.stand_ins:
            random.Random.seed, random.Random.setstate = self.methods
        if self.seeded:
            self.state = random.getstate()

    def renew(self):
        """In a worker: what no seed was given for differs from the others'."""
        random = sys.modules["random"]
        if self.state is not None:
            random.setstate(self.state)
        else:
            random.seed()
        for generator in list(self.unseeded):
            try:
                generator.seed()
            except Exception:
                pass  # a class of the suite's own


def seed_methods(cls):
    return own_function(cls, "seed"), own_function(cls, "setstate")


class CallWatch(object):
    """Who asks for what differs from worker to worker under any other way of starting them: the process id, and the names of temporary files."""

    def __init__(self):
        import tempfile
        self.callers = {}  # {file: what was called}
        self.originals = [(os, "getpid", os.getpid), (tempfile, "mkdtemp", tempfile.mkdtemp), (tempfile, "mkstemp", tempfile.mkstemp)]
        self.stand_ins = [self.stand_in(module.__name__ + "." + name, original) for module, name, original in self.originals]
        for (module, name, _), stand_in in zip(self.originals, self.stand_ins):
            setattr(module, name, stand_in)

    def stand_in(self, name, original):
        callers = self.callers

        def function(*args, **kw):
            frame = Real.frame(1)
            while frame is not None and frame.f_globals.get("__name__") == "tempfile":
                frame = frame.f_back
            if frame is not None:
                callers.setdefault(frame.f_code.co_filename, name)
            return original(*args, **kw)

        function.__name__, function.__doc__ = original.__name__, original.__doc__
        return function

    def stop(self):
        for (module, name, original), stand_in in zip(self.originals, self.stand_ins):
            if getattr(module, name) is stand_in:
                setattr(module, name, original)

    def by_project(self, root):
        """(file, function) of a caller below the suite's own folder: libraries know that processes fork.  None = there is none."""
        for path, name in sorted(self.callers.items()):
            if path.startswith(root.rstrip(os.sep) + os.sep) and "site-packages" not in path and not path.startswith((sys.prefix + os.sep, BASE_PREFIX + os.sep)):
                return os.path.relpath(path, root), name
        return None
