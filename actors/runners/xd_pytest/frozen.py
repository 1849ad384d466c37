"""The heap of a collection, kept away from the garbage collector (gc.freeze), so that it is never walked again.

gc.get_objects() and gc.get_referrers() do not see what is frozen, and gc.collect() does not free it.  So when the suite itself calls one of them, the
heap thaws for the call.  It is frozen again after the first few calls (hypothesis makes one in each process), but not for ever: what is alive then
and garbage later would pile up in a process that goes on so.  pytest's own gc.collect() at its end is not meant."""
from __future__ import absolute_import, division, print_function

import gc
import sys

NAMES = ("collect", "get_objects", "get_referrers")
ORIGINAL = dict((name, getattr(gc, name)) for name in NAMES)
WHOSE = ("_pytest.", "xd_pytest.")
MOST_CALLS = 8
calls = []


def thaw():
    for name in NAMES:
        if getattr(getattr(gc, name), "xd_stand_in", False):
            setattr(gc, name, ORIGINAL[name])
    gc.unfreeze()


def stand_in(name):
    original = ORIGINAL[name]

    def function(*args, **kw):
        if sys._getframe(1).f_globals.get("__name__", "").startswith(WHOSE):
            return original(*args, **kw)
        calls.append(name)
        if len(calls) > MOST_CALLS:
            thaw()
            return original(*args, **kw)
        gc.unfreeze()
        try:
            return original(*args, **kw)
        finally:
            gc.freeze()

    function.__name__ = name
    function.__doc__ = original.__doc__
    function.xd_stand_in = True
    return function


def freeze():
    """Everything that is there now."""
    if not hasattr(gc, "freeze"):
        return
    gc.freeze()
    for name in NAMES:
        if getattr(gc, name) is ORIGINAL[name]:
            setattr(gc, name, stand_in(name))


def collect_frozen():
    """A full collection; what is frozen already takes part, and stays."""
    if hasattr(gc, "unfreeze"):
        gc.unfreeze()
    ORIGINAL["collect"]()
    freeze()
