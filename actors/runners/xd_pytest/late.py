"""Values that copies of the environment hold in place of what only a worker knows (the worker id, perhaps the number of workers).

Libraries copy all of os.environ, or look through it, and make nothing of these entries.  So what such a copy gets is a string that tells when somebody
uses it; and when all is collected, every container that holds one is known, or the process is not forked: each worker puts its own value there.
Only C code that reads the characters directly (json, re, str.join) goes unnoticed."""
from __future__ import absolute_import, division, print_function

import gc
import sys

from xd_pytest.frozen import ORIGINAL
from xd_pytest.real import Real

ID, COUNT = "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"

# What Python's own machinery asks of any object, and what is no use of the value.
NO_USE = frozenset(("__buffer__", "__release_buffer__", "__class__", "__delattr__", "__dir__", "__doc__", "__getattribute__", "__getnewargs__", "__getstate__", "__init__", "__init_subclass__",
                    "__new__", "__reduce__", "__setattr__", "__sizeof__", "__subclasshook__", "fromhex", "maketrans"))
COMPARES = ("__eq__", "__ne__", "__contains__", "startswith", "endswith")  # the same for every worker, if what is looked for has other characters
NO_CHANGE = ("strip", "lstrip", "rstrip", "lower", "casefold", "expandtabs")
CASES = ("lower", "casefold")  # which change the name of a worker with capital letters
KEEPERS = ("configparser",)  # modules that call str() on what they keep
FOR_CHILDREN = ("subprocess",)  # and that make the environment of a child of them


def caller(depth):
    return Real.frame(depth + 1).f_globals.get("__name__")


def other_characters(base, arguments, characters):
    """Whether no argument can be a part of the value."""
    possible = set(characters) if base is str else set(characters.encode())
    for argument in arguments:
        for text in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(text, base) and text and set(base.__iter__(text)) <= possible:
                return False
    return True


def late_class(base):
    def uses(name):
        original = getattr(base, name)

        def method(self, *args, **kw):
            self.used()
            return original(self, *args, **kw)
        return method

    def compares(name):
        original = getattr(base, name)

        def method(self, *args):
            if not other_characters(base, args[:1], self.characters):
                self.used()
            return original(self, *args)
        return method

    def changes_nothing(name):
        original = getattr(base, name)

        def method(self, *args, **kw):
            if (args and not other_characters(base, args, self.characters)) or (name in CASES and self.characters != self.characters.lower()):
                self.used()
                return original(self, *args, **kw)
            return self
        return method

    class Late(base):
        note = None  # called with the name of who used it, while that matters
        characters = ""  # that the value may have

        def used(self):
            who = caller(2)
            if self.note is not None and who not in FOR_CHILDREN:
                self.note(who)

        def plain(self):
            return base.__str__(self) if base is str else base(memoryview(self))

        def __bool__(self):
            return True

        def __copy__(self):
            return self

        def __deepcopy__(self, memo):
            return self

        def __reduce_ex__(self, protocol):
            self.used()
            return base, (self.plain(),)

        def __radd__(self, other):
            self.used()
            return other + self.plain()

    for name in dir(base):
        if name in COMPARES:
            setattr(Late, name, compares(name))
        elif name in NO_CHANGE and hasattr(base, name):
            setattr(Late, name, changes_nothing(name))
        elif name not in NO_USE and name not in Late.__dict__ and callable(getattr(base, name)):
            setattr(Late, name, uses(name))
    return Late


class LateText(late_class(str)):
    def __str__(self):
        if caller(1) in KEEPERS:
            return self
        self.used()
        return self.plain()

    def encode(self, *args):
        if caller(1) != "os" or caller(2) not in FOR_CHILDREN:
            self.used()
        return self.plain().encode(*args)


class LateBytes(late_class(bytes)):
    pass


# ---- where they are

def referrers(thing):
    """Of frozen containers, too."""
    frozen = hasattr(gc, "freeze") and gc.get_freeze_count()
    if frozen:
        gc.unfreeze()
    try:
        return ORIGINAL["get_referrers"](thing)
    finally:
        if frozen:
            gc.freeze()


def places_in(holder, thing):
    """[(container, key, None)] of all that this holder keeps of a thing; None: a kind that cannot be given another."""
    if isinstance(holder, dict):
        if "__module__" in holder and "__dict__" in holder:
            return None  # of a class, which would not hear of it
        return [(holder, key, None) for key, value in dict.items(holder) if value is thing]
    if isinstance(holder, list):
        return [(holder, n, None) for n, value in enumerate(holder) if value is thing]
    attributes = getattr(holder, "__dict__", None)
    if type(attributes) is dict and not isinstance(holder, type):
        return [(attributes, key, None) for key, value in attributes.items() if value is thing]
    return None


def places_of(thing, ours, expected, tuples=True):
    """[(container, key, tuple or None)]: every place that refers to a thing, those in `ours` aside; None, if there is one that is unknown or cannot be changed.
    A tuple is put there anew.  expected: how many references there are.  No closure may be made here: its cells would refer, too."""
    places = []
    known = set(map(id, ours))
    holders = [holder for holder in referrers(thing) if id(holder) not in known]
    ours = list(ours) + [holders]
    for holder in holders:
        pattern = holder if tuples and type(holder) is tuple else None
        if pattern is None:
            found = places_in(holder, thing)
            expected -= len(found or ())
        else:
            count = sys.getrefcount(holder) - 4  # of these: holders, holder, pattern, the argument
            found = places_of(holder, ours, count, False)
            expected -= list(map(id, holder)).count(id(thing))
        if not found:
            return None
        for container, key, _ in found:
            places.append((container, key, pattern))
    return places if expected == 0 else None


def put(places, late, value):
    for container, key, pattern in places:
        old = late if pattern is None else pattern
        new = value if pattern is None else tuple([value if part is late else part for part in pattern])
        if isinstance(container, dict):
            if dict.get(container, key) is old:
                dict.__setitem__(container, key, new)
        elif key < len(container) and container[key] is old:
            container[key] = new
