"""The byte code of Python's and pytest's modules in one file, read at once: finding and reading 250 modules one by one costs 15 ms a start.

The file is ours, beside our own byte code, one for each interpreter and sys.path.  It is filled in a start that found none, or an outdated one, and used
only for what the usual search would find:

    - the first folder on sys.path with a module of that name is the same (a folder that was modified since is listed);
    - a package's folder has the times that it had;
    - the source has the size and the times that it had, in nanoseconds: that of its modification, which an image or an archive may have set to that of
      another text, and that of its inode, which only the system sets.

All else is found and loaded as ever, and so is everything from the moment on when pytest is imported: then the finder is gone, and no module shows
that it was here (__spec__, __loader__ and __cached__ are the usual ones).

The methods of data classes and named tuples are compiled from text whenever their module is imported, 10 ms for pytest's: that byte code is in the
file, too, under its text."""
from __future__ import absolute_import, division, print_function

import marshal
import mmap
import os
import sys
import time

try:
    import builtins
    from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, all_suffixes
except ImportError:  # Python 2 imports in a way of its own: begin() does nothing there
    PathFinder, SourceFileLoader = None, object

COMPILERS = {"dataclasses": "exec", "collections": "eval"}  # module -> the builtin that it compiles text with
FORMAT = b"xdcode1\n"  # then the length of the table in 8 bytes, the table, code after code
FRESH_NS = 2 * 10**9  # what was modified just before this start could be modified again within one tick of the clock
KEPT = 16  # files of other interpreters and paths
PREFIX, SUFFIX = "code-", ".bin"


def stamp(path):
    """What tells that a file or folder is still the same; None where there is none."""
    try:
        st = os.stat(path)
    except (OSError, TypeError, ValueError):
        return None
    return st.st_ctime_ns, st.st_mtime_ns, st.st_size


def name_of(text):
    """FNV-1a, 64 bits: hash() is another one in each process, and hashlib costs more than all of this."""
    value = 0xcbf29ce484222325
    for byte in text.encode("utf-8", "surrogateescape"):
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return "%s%016x%s" % (PREFIX, value, SUFFIX)


class Loader(SourceFileLoader):
    """Loads once, and leaves a SourceFileLoader in its place.  stored: the code's bytes, or None: it is read as ever, and noted.
    The module is run by importlib's own exec_module(): a frame of ours would be the one that a warning about the import names."""

    def __init__(self, name, path, stored, finder):
        SourceFileLoader.__init__(self, name, path)
        self.stored, self.finder = stored, finder

    def get_code(self, fullname):
        module = sys.modules[fullname]
        module.__spec__.loader = module.__loader__ = SourceFileLoader(self.name, self.path)
        if fullname in COMPILERS:
            self.finder.texts.serve(fullname, module)
        if self.stored is not None:
            try:
                code = marshal.loads(self.stored)
            except (EOFError, TypeError, ValueError):
                pass  # a damaged file
            else:
                self.finder.served.append(fullname)
                return code
        before = stamp(self.path)
        code = SourceFileLoader.get_code(self, fullname)
        if before is not None and before == stamp(self.path):
            self.finder.noted[fullname] = self.path, before, module.__spec__.submodule_search_locations is not None, module.__spec__.cached, code
        return code


class Table(object):
    """key: interpreter, path.  tops: top-level name -> (folder on sys.path that has it first, its files there, see Files).
    entries: folder on sys.path -> (stamp, {top-level name: its files there}).  folders: of packages -> stamp.
    modules: name -> (source, its stamp, is a package, path of the byte code, offset, length).  texts: (mode, text) -> code as bytes."""

    def __init__(self, key):
        self.key, self.tops, self.entries, self.folders, self.modules, self.texts, self.codes = key, {}, {}, {}, {}, {}, None
        self.mapped = None  # what fstat says of it

    def load(self, path):
        try:
            with open(path, "rb") as f:
                self.mapped = os.fstat(f.fileno())
                data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
            size = int.from_bytes(data[8:16], "little")
            if data[:8] != FORMAT or len(data) < 16 + size:
                return
            view = memoryview(data)  # the last one that goes away unmaps it
            key, tops, entries, folders, modules, texts, length = marshal.loads(view[16:16 + size])
        except (OSError, EOFError, TypeError, ValueError):
            return
        if key != self.key or len(data) != 16 + size + length:
            return
        self.tops, self.entries, self.folders, self.modules, self.texts, self.codes = tops, entries, folders, modules, texts, view[16 + size:]

    def write(self, path):
        head = marshal.dumps((self.key, self.tops, self.entries, self.folders, self.modules, self.texts, len(self.codes)))
        temporary = "%s.%d" % (path, os.getpid())
        with open(temporary, "wb") as f:
            f.write(FORMAT + len(head).to_bytes(8, "little") + head + self.codes)
        os.rename(temporary, path)

    def code(self, name):
        at, length = self.modules[name][4:]
        return self.codes[at:at + length]


class Texts(object):
    """In the place of exec and eval in the modules that compile text."""

    def __init__(self, stored):
        self.stored = stored
        self.used = {}       # (mode, text) -> code as bytes, or the code that was compiled
        self.new = False
        self.served = []     # (module, name)

    def code(self, mode, text):
        stored = self.stored.get((mode, text))
        if stored is not None:
            self.used[mode, text] = stored
            return marshal.loads(stored)
        code = compile(text, "<string>", mode, 0, True)
        self.used[mode, text] = code
        self.new = True
        return code

    def serve(self, name, module):
        mode = COMPILERS[name]
        if mode in vars(module):
            return

        def run(text, *scopes):
            return original(self.code(mode, text) if isinstance(text, str) else text, *scopes)

        original = getattr(builtins, mode)
        setattr(module, mode, run)
        self.served.append((module, mode))

    def end(self):
        for module, name in self.served:
            delattr(module, name)
        self.served = []


class Finder(object):
    """In front of PathFinder on sys.meta_path while our modules and pytest's are imported."""

    def __init__(self, folder):
        self.folder = folder
        self.key = repr((sys.executable, sys.version, sys.flags.optimize, getattr(sys, "pycache_prefix", None), [p for p in sys.path if p != folder]))
        self.path = os.path.join(folder, name_of(self.key))
        self.table = Table(self.key)
        self.table.load(self.path)
        self.settled_ns = time.time() * 1e9 - FRESH_NS  # what was modified later may be modified meanwhile
        self.checked, self.valid = None, False  # the sys.path that was checked, with this result
        self.same = {}  # folder of a package -> it is as it was
        self.served = []
        self.noted = {}  # name -> (source, its stamp, is a package, path of the byte code, code)
        self.texts = Texts(self.table.texts)

    # Whether the usual search would find what is in the table.

    def search(self, names, known):
        """As Python searches: ({name: (the first folder on sys.path that has it, its files there)}, {folder: (stamp, {name: files})}).
        known: of folders listed before.  None: something on sys.path is no folder."""
        files, tops, entries = Files(names), {}, {}
        for entry in sys.path:
            when = stamp(entry)
            here = known[entry][1] if entry in known and known[entry][0] == when else files.of(entry, when)
            if here is None:
                return None
            for name in here:
                tops.setdefault(name, (entry, here[name]))
            entries[entry] = when, here
        return tops, entries

    def check(self):
        found = self.search(self.table.tops, self.table.entries)
        return found is not None and found[0] == self.table.tops

    def is_valid(self):
        if self.checked != sys.path:
            self.checked = list(sys.path)
            self.valid = self.check()
        return self.valid

    def folder_is_same(self, folder):
        if folder not in self.same:
            self.same[folder] = stamp(folder) == self.table.folders.get(folder)
        return self.same[folder]

    def has(self, name, path):
        module = self.table.modules.get(name)
        if module is None or not self.is_valid() or stamp(module[0]) != module[1]:
            return False
        if module[2] and not self.folder_is_same(os.path.dirname(module[0])):
            return False
        home = home_of(module[0], module[2])
        return "." not in name or list(path or ()) == [home] and self.folder_is_same(home)

    # The protocol of importlib.

    def find_spec(self, name, path=None, target=None):
        if self.has(name, path):
            source, _stamp, is_package, cached = self.table.modules[name][:4]
            spec = ModuleSpec(name, Loader(name, source, self.table.code(name), self), origin=source, is_package=is_package)
            spec.has_location = True
            spec.cached = cached
            if is_package:
                spec.submodule_search_locations.append(os.path.dirname(source))
            return spec
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Loader(name, spec.loader.path, None, self)
        return spec

    # What is kept for the next start.

    def is_settled(self, when):
        return when is not None and when[0] < self.settled_ns

    def find_tops(self, new, homes):
        """Fills tops and entries.  False: the next start could not use the file, as modules came from elsewhere than from where they are found first."""
        found = self.search(homes, {})
        if found is None:
            return False
        new.tops = found[0]
        new.entries = {entry: listed for entry, listed in found[1].items() if self.is_settled(listed[0])}
        return {name: top[0] for name, top in new.tops.items()} == homes and all(home in new.entries for home in homes.values())

    def new_table(self):
        """None where it would be of no use to the next start, or something was modified just now."""
        keep = {name: self.table.modules[name][:4] + (self.table.code(name),) for name in self.served}
        keep.update((name, noted) for name, noted in self.noted.items() if os.path.isabs(noted[0]))
        new = Table(self.key)
        if not self.find_tops(new, {name: home_of(m[0], m[2]) for name, m in keep.items() if "." not in name}):
            return None
        for name, (source, when, is_package, _cached, _code) in keep.items():
            for folder in ([os.path.dirname(source)] if is_package else []) + ([home_of(source, is_package)] if "." in name else []):
                if folder not in new.folders:
                    new.folders[folder] = stamp(folder)
                if not self.is_settled(new.folders[folder]):
                    return None
            if not self.is_settled(when):
                return None
        chunks, at = [], 0
        for name, module in sorted(keep.items()):
            code = module[4] if isinstance(module[4], memoryview) else marshal.dumps(module[4])
            new.modules[name] = module[:4] + (at, len(code))
            chunks.append(code)
            at += len(code)
        new.codes = b"".join(chunks)
        new.texts = {key: code if isinstance(code, bytes) else marshal.dumps(code) for key, code in self.texts.used.items()}
        return new

    def save(self):
        new = self.new_table()
        if new is None:
            return
        try:
            new.write(self.path)
            prune(self.folder)
        except (OSError, ValueError):
            pass  # as without the file


class Files(object):
    """The files of some top-level modules in a folder on sys.path."""

    def __init__(self, names):
        self.names = {name + suffix: name for name in names for suffix in [""] + all_suffixes()}

    def of(self, entry, when):
        """{name: (file, ...)}.  None: it is something else than a folder, such as an archive.  when: its stamp; None: there is nothing."""
        if not isinstance(entry, str) or not os.path.isabs(entry):
            return None
        if when is None:
            return {}
        found = {}
        try:
            for file in sorted(os.listdir(entry)):
                if file in self.names and ("." in file or os.path.isdir(os.path.join(entry, file))):  # bin/pytest is no package
                    found[self.names[file]] = found.get(self.names[file], ()) + (file,)
        except OSError:
            return None
        return found


def home_of(source, is_package):
    """The folder that was searched."""
    return os.path.dirname(os.path.dirname(source) if is_package else source)


def prune(folder):
    files = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(PREFIX)]
    files.sort(key=lambda path: stamp(path) or (0,), reverse=True)
    for path in files[KEPT:]:
        os.unlink(path)


def hooks_are_usual():
    names = [getattr(hook, "__qualname__", "") for hook in sys.path_hooks]
    return names == ["zipimporter", "FileFinder.path_hook.<locals>.path_hook_for_FileFinder"]


active = []  # the finder, from begin() to end()


def begin(folder):
    """folder: where this package is.  Nothing happens where something searches for modules in a way of its own."""
    if PathFinder not in sys.meta_path or not hooks_are_usual():
        return
    finder = Finder(folder)
    active.append(finder)
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    for name in COMPILERS:
        if name in sys.modules:
            finder.texts.serve(name, sys.modules[name])


def end(keep):
    """keep: the imports went well, and what they read goes into the file for the next start."""
    while active:
        finder = active.pop()
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        finder.texts.end()
        if keep and (finder.noted or finder.texts.new):
            finder.save()


def descriptors():
    """Before end(): numbers of the descriptors that keep the file mapped."""
    mapped = active[0].table.mapped if active else None
    found = []
    for name in os.listdir("/proc/self/fd") if mapped else ():
        try:
            if os.path.samestat(os.fstat(int(name)), mapped):
                found.append(int(name))
        except (OSError, ValueError):
            pass
    return found
