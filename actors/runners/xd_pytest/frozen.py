"""The heap of a collection, kept away from the garbage collector (gc.freeze), so that it is never walked again.

gc.get_objects() and gc.get_referrers() do not see what is frozen, so stand-ins thaw the heap for the call and freeze it again at once, unless the tests
have grown it by a quarter; then it stays thawed until they have let go.  A stand-in is no referrer of what it is given.

gc.collect() does not free what is frozen.  A small heap thaws for that.  A large one does so for the first call only, because a call would take longer
than most tests.  The first finds what the import of test modules left (attrs leaves the original of each class with slots, which __subclasses__() shows
until it is freed).  After it, of the collection that is garbage only if a test drops a cycle that was made while test modules were imported.  Objects of
tests that were frozen again with the rest are always found: while there are some, gc.collect() thaws.  pytest's own calls are left out."""
from __future__ import absolute_import, division, print_function

import functools
import gc
import sys

from xd_pytest.real import Real

THRESHOLD_WHILE_COLLECTING = 500000  # most of what collection allocates stays anyway
SMALL_HEAP = 100000                  # objects; a full collection of so many takes 5 to 10 ms
MOST_GROWTH = 1.25
LONGEST_PAUSE = 1024                 # tests between two attempts to freeze a heap that has grown
FEW = 5000                           # CPython 3.12 freezes some immortal objects itself
NAMES = ("collect", "get_objects", "get_referrers", "get_threshold")
ORIGINAL = dict((name, getattr(gc, name, None)) for name in NAMES)  # PyPy has fewer
WHOSE = ("_pytest.", "xd_pytest.")


class Heap(object):
    def __init__(self):
        self.threshold = None  # the suite's own, while ours holds
        self.collecting = True
        self.left = 0          # objects that the collection left frozen; 0: not counted yet
        self.mixed = False     # objects of tests are among the frozen ones
        self.thawed = False    # by us, as it has grown
        self.restless = False  # something is to be done between two tests
        self.littered = False  # what the collection left has not been looked through
        self.pause = self.paused = 0

    def begin(self):
        """The collection begins."""
        self.threshold = ORIGINAL["get_threshold"]()
        gc.set_threshold(THRESHOLD_WHILE_COLLECTING, *self.threshold[1:])

    def settle(self):
        """It is over: what there is now is frozen for good.  Without gc.collect(), 0.1 s of 10,000 items: of garbage there are at most
        THRESHOLD_WHILE_COLLECTING objects.  Freezing comes before the usual threshold, which would bring a full collection at once.  A Python that
        cannot freeze has it here, once for all workers: the next comes when the heap has grown by a quarter."""
        if can_freeze():
            gc.freeze()
        else:
            ORIGINAL["collect"]()
        if self.is_raised():
            gc.set_threshold(*self.threshold)
        self.__init__()
        self.collecting = False
        self.littered = True

    def is_raised(self):
        """Not if the suite has set a threshold itself."""
        return self.threshold is not None and ORIGINAL["get_threshold"]()[0] == THRESHOLD_WHILE_COLLECTING

    def thaw(self):
        """False: it was so already, by us or by the suite."""
        if self.thawed:
            return False
        count = gc.get_freeze_count()
        if count < FEW:
            return False
        self.left = self.left or count
        gc.unfreeze()
        return True

    def freeze(self):
        gc.freeze()
        self.mixed = True
        if not self.collecting and gc.get_freeze_count() > MOST_GROWTH * self.left:
            gc.unfreeze()
            self.thawed = self.restless = True

    def matters(self, generation):
        """Whether gc.collect() has to look at what is frozen."""
        self.left = self.left or gc.get_freeze_count()
        if self.left <= SMALL_HEAP:
            return True
        if self.littered and generation == 2:
            self.littered, self.restless = False, True
            return True
        self.restless = self.restless or self.mixed
        return self.mixed

    def between_tests(self, stack):
        """stack: the nodes whose fixtures are alive.  Freezes a heap that was left thawed; or, as soon as no module has fixtures, tells what tests left
        in the frozen heap from what the collection did.  Either takes a full collection."""
        alive = any(has_fixtures_of_tests(node) for node in stack)
        if not self.thawed:
            if alive:
                return
            gc.unfreeze()
        elif self.paused < self.pause:
            self.paused += 1
            return
        ORIGINAL["collect"]()
        self.thawed = self.restless = False
        self.freeze()
        if self.thawed:
            self.pause, self.paused = min(2 * self.pause + 1, LONGEST_PAUSE), 0
        else:
            self.pause, self.mixed = 0, alive


def has_fixtures_of_tests(node):
    """Of a module or less; not of a folder or the session, which may live to the end."""
    import pytest
    return isinstance(node, (pytest.File, pytest.Class, pytest.Item)) and not isinstance(node, pytest.Package)


heap = Heap()


def collect(generation=2):
    if Real.frame(1).f_globals.get("__name__", "").startswith(WHOSE) or not heap.matters(generation) or not heap.thaw():
        return ORIGINAL["collect"](generation)
    try:
        return ORIGINAL["collect"](2 if heap.mixed and generation in (0, 1) else generation)  # the youngest may be frozen with the oldest
    finally:
        heap.freeze()


def get_objects(generation=None):
    thawed = heap.thaw()
    try:
        return ORIGINAL["get_objects"](generation)
    finally:
        if thawed:
            heap.freeze()


def get_referrers(*objs):
    """Since Python 3.13 the original makes a tuple of its arguments and leaves that out; ours is one more.  To be called through partial(): a direct call
    saves the state of the caller's frame, by which a generator that calls becomes a referrer of its variables."""
    thawed = heap.thaw()
    try:
        found = ORIGINAL["get_referrers"](*objs)
    finally:
        if thawed:
            heap.freeze()
    for n in range(len(found) - 1, -1, -1):
        if found[n] is objs:
            del found[n]
    return found


class OneCall(object):
    """Calls the original with the very tuple of arguments that it is given; the end of the call is the end of this object."""
    __slots__ = ()
    __call__ = ORIGINAL["get_referrers"]

    def __del__(self):
        heap.freeze()


class Referrers(object):
    """gc.get_referrers before Python 3.13, which leaves out the tuple that it is called with, often the caller's own.  No function of Python can hand
    that on; but `x(y)` asks the class for `__call__` and hands it to what it gets."""
    @property
    def __call__(self):
        return OneCall() if heap.thaw() else ORIGINAL["get_referrers"]

    def __repr__(self):
        return repr(ORIGINAL["get_referrers"])


def get_threshold():
    return heap.threshold if heap.is_raised() else ORIGINAL["get_threshold"]()


def can_freeze():
    return hasattr(gc, "freeze")


def has_threshold():
    """PyPy has no such thing."""
    return ORIGINAL["get_threshold"] is not None


def freeze():
    """Everything that is there now, before code of the suite runs."""
    if not has_threshold():
        return
    stand_ins = {"get_threshold": get_threshold}
    if can_freeze():
        gc.freeze()
        stand_ins.update(collect=collect, get_objects=get_objects,
                         get_referrers=functools.partial(get_referrers) if sys.version_info >= (3, 13) else Referrers())
    for name, stand_in in stand_ins.items():
        if getattr(gc, name) is ORIGINAL[name]:
            stand_in.__module__, stand_in.__name__, stand_in.__qualname__, stand_in.__doc__ = "gc", name, name, ORIGINAL[name].__doc__
            setattr(gc, name, stand_in)


def collection_begins():
    if has_threshold():
        heap.begin()


def collection_ended():
    if has_threshold():
        heap.settle()


def collect_frozen():
    """A full collection; what is frozen already takes part, and stays."""
    if can_freeze():
        gc.unfreeze()
    ORIGINAL["collect"]()
    collection_ended()
    heap.littered = False
