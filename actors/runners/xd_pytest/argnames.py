"""Names of the fixtures that a function asks for, from its code object.

pytest takes them from inspect.signature(), which makes an object of each parameter: a tenth of the time of a collection.  For plain functions the code
object says the same; all others, and whatever looks unusual, go to pytest's own function."""
from __future__ import absolute_import, division, print_function

import sys

from xd_pytest import compat

FunctionType = type(lambda: None)
OTHER_SIGNATURE = ("__wrapped__", "__signature__", "_partialmethod", "__partialmethod__")  # where inspect.signature() looks before the code object


def shortcut(original):
    def getfuncargnames(function, name=None, cls=None, **more):
        found = None if more else names_of_plain(function, name or getattr(function, "__name__", ""), cls)
        if found is not None:
            return found
        if name is not None:  # before pytest 5.3 it is not asked with one
            more["name"] = name
        return original(function, cls=cls, **more)
    return getfuncargnames


# Counts of parameters that are not like others, as far as this Python has them.
OTHER_COUNTS = [name for name in ("co_kwonlyargcount", "co_posonlyargcount") if hasattr(shortcut.__code__, name)]


def names_of_plain(function, name, cls):
    """None: ask pytest."""
    if type(function) is not FunctionType:
        return None
    code = function.__code__
    for count in OTHER_COUNTS:
        if getattr(code, count):
            return None
    for other in OTHER_SIGNATURE:
        if hasattr(function, other):
            return None
    names = code.co_varnames[:code.co_argcount - len(function.__defaults__ or ())]
    if ".0" in names:  # a tuple in Python 2
        return None
    if cls is None:
        return names
    if type(cls) is not type:  # a metaclass may have an opinion
        return None
    for base in cls.__mro__:
        if name in base.__dict__:
            return names[1:] if base.__dict__[name] is function else None  # a static method is none of the function itself
    return None


def samples():
    class Case(object):
        def method(self, a, b=1): pass

        @staticmethod
        def static(a, b): pass

    def plain(a, b, c=1, *args, **kwargs): pass

    def empty(): pass
    return [(plain, "plain", None), (empty, "empty", None), (Case.method, "method", Case), (Case.static, "static", Case)]


def asked(original, function, name, cls):
    try:
        return original(function, name=name, cls=cls)
    except TypeError:  # before pytest 5.3
        return original(function, cls=cls)


def install():
    """If this pytest asks as the ones do that we know."""
    try:
        original = compat.ARGUMENT_NAMES.get()
        if getattr(original, "__module__", None) == "_pytest.compat" and all(
                names_of_plain(*sample) in (None, asked(original, *sample)) for sample in samples()):
            setattr(sys.modules[compat.ARGUMENT_NAMES.where], compat.ARGUMENT_NAMES.name, shortcut(original))
    except Exception:
        pass
