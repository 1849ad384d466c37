"""codefile.py: what is imported from its file is what the usual search would find, whatever happened to folders, sources and the file since."""
import glob
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time

import pytest

from conftest import ROOT, clean_environment
from test_run_pythons import environment, interpreter

ADAPTER = os.path.join(ROOT, "actors", "runners")
LONG_AGO = 1500000000

# One start.  Arguments: folder of the file, modules to import; each entry of sys.path in front comes from $FRONT.
START = '''
    import json, os, sys
    sys.path.insert(0, %r)
    from xd_pytest import codefile
    sys.path[:2] = [p for p in os.environ["FRONT"].split(os.pathsep) if p]
    codefile.FRESH_NS = int(os.environ["FRESH_NS"])
    exec(os.environ.get("BEFORE", ""))
    codefile.begin(sys.argv[1])
    finder = codefile.active[0] if codefile.active else None
    failed = {}
    for name in sys.argv[2:]:
        try:
            __import__(name)
        except Exception as e:
            failed[name] = type(e).__name__ + ": " + str(e)
    noted = sorted(finder.noted) if finder else None
    codefile.end(True)
    finder = None

    def told(module):
        spec = module.__spec__
        return [repr(getattr(module, name, None)) for name in ("__file__", "__cached__", "__path__", "__package__", "__loader__")] + [
            repr(spec), type(spec.loader).__name__, spec.cached, spec.origin, spec.has_location, spec.parent]

    with open("/proc/self/maps") as f:
        mapped = [line for line in f if "/code-" in line]
    print(json.dumps({
        "values": {name: getattr(sys.modules[name], "VALUE", None) for name in sys.argv[2:] if name in sys.modules},
        "told": {name: [t.split(" at 0x")[0] if isinstance(t, str) else t for t in told(sys.modules[name])] for name in sys.argv[2:] if name in sys.modules},
        "noted": noted, "failed": failed, "left": [repr(f) for f in sys.meta_path if "codefile" in repr(f)], "mapped": mapped,
        "hooked": [m for m, n in codefile.COMPILERS.items() if n in vars(sys.modules.get(m, sys))]}))
''' % ADAPTER
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
NAMES = ["alpha", "pack", "pack.inner", "records"]
RECORDS = '''
    import collections, dataclasses
    Pair = collections.namedtuple("Pair", "left right")

    @dataclasses.dataclass(order=True, frozen=True)
    class Point:
        x: int
        y: int = 7
    VALUE = [repr(Point(1)), Point(1) < Point(2), hash(Point(1)) == hash(Point(1)), repr(Pair(1, right=2)), Pair.__new__.__code__.co_filename,
             Point.__init__.__code__.co_filename, Point.__init__.__qualname__]
    '''


class Start(object):
    def __init__(self, path, python):
        self.path, self.python = path, python
        self.kept, self.site, self.front = path / "kept", path / "site", path / "front"
        for folder in (self.kept, self.site, self.front, self.site / "pack"):
            folder.mkdir()
        self.write(self.site / "alpha.py", "VALUE = 'first'")
        self.write(self.site / "pack" / "__init__.py", "VALUE = 'package'")
        self.write(self.site / "pack" / "inner.py", "VALUE = 'inner'")
        self.write(self.site / "records.py", RECORDS)

    def write(self, path, text, when=LONG_AGO):
        path.write_text(textwrap.dedent(text) + "\n")
        os.utime(str(path), (when, when))

    def __call__(self, *names, **more):
        env = clean_environment(**dict(dict(FRESH_NS="0"), FRONT=os.pathsep.join(str(p) for p in more.pop("path", (self.front, self.site))), **more))
        done = subprocess.run([self.python, "-c", textwrap.dedent(START), str(self.kept)] + list(names or NAMES), env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        told = json.loads(done.stdout.decode())
        assert told["left"] == told["mapped"] == told["hooked"] == []
        return told

    def file(self):
        return glob.glob(str(self.kept / "code-????????????????.bin"))

    def filled(self):
        """The file is there, and a start takes all from it."""
        first = self()
        assert set(NAMES) <= set(first["noted"])
        self()  # the first one may have made folders of byte code
        assert len(self.file()) == 1
        last = self()
        assert last["noted"] == [] and last["values"] == first["values"] and last["told"] == first["told"]
        return last


def no_byte_code(start):
    shutil.rmtree(str(start.site / "__pycache__"), ignore_errors=True)


@pytest.fixture
def start(tmp_path):
    return Start(tmp_path, sys.executable)


@pytest.mark.parametrize("version", VERSIONS)
def test_from_the_file(tmp_path, version):
    """Modules look as usual, and so does what data classes and named tuples are made of."""
    start = Start(tmp_path, interpreter(version))
    usual = start(BEFORE="sys.path_hooks.append(len)")
    assert usual["noted"] is None and start.file() == []
    filled = start.filled()
    assert (filled["values"], filled["told"]) == (usual["values"], usual["told"])
    assert filled["values"]["records"][0] == "Point(x=1, y=7)"


@pytest.mark.parametrize("change, names, value", [
    (lambda s: s.write(s.site / "alpha.py", "VALUE = 'other, longer'"), ["alpha"], "other, longer"),
    (lambda s: s.write(s.site / "alpha.py", "VALUE = 'other'") or no_byte_code(s), ["alpha"], "other"),  # the same time and size: Python's cache is misled
    (lambda s: s.write(s.site / "alpha.py", "VALUE = 'third'", LONG_AGO + 5), ["alpha"], "third"),
    (lambda s: s.write(s.front / "alpha.py", "VALUE = 'in front'"), ["alpha"], "in front"),
    (lambda s: ((s.front / "alpha").mkdir(), s.write(s.front / "alpha" / "__init__.py", "VALUE = 'package in front'")), ["alpha"], "package in front"),
    (lambda s: ((s.site / "alpha").mkdir(), s.write(s.site / "alpha" / "__init__.py", "VALUE = 'package beside'")), ["alpha"], "package beside"),
    (lambda s: ((s.site / "pack" / "inner").mkdir(), s.write(s.site / "pack" / "inner" / "__init__.py", "VALUE = 'folder'")), ["pack.inner"], "folder"),
    (lambda s: s.write(s.site / "pack" / "__init__.py", "VALUE = 1; __path__.insert(0, %r)" % str(s.front)) or s.write(s.front / "inner.py", "VALUE = 'path'"),
     ["pack", "pack.inner"], "path"),
    (lambda s: os.unlink(str(s.site / "alpha.py")) or s.write(s.front / "alpha.py", "VALUE = 'moved'"), ["alpha"], "moved"),
], ids=["size", "same", "time", "front", "front-package", "beside", "inner", "path", "moved"])
def test_what_changed(start, change, names, value):
    """The usual search decides: another module, or another text."""
    start.filled()
    change(start)
    if value != "path":
        usual = start(*names, BEFORE="sys.path_hooks.append(len)")
        assert usual["values"][names[-1]] == value
    told = start(*names)
    assert told["values"][names[-1]] == value
    assert start(*names)["values"][names[-1]] == value  # and so it stays, once the file is new


def test_removed(start):
    start.filled()
    os.unlink(str(start.site / "alpha.py"))
    shutil.rmtree(str(start.site / "__pycache__"), ignore_errors=True)
    assert "ModuleNotFoundError" in start("alpha")["failed"]["alpha"]


def test_names_alike_do_not_shadow(start):
    """A project's pytest.ini is no module, and neither is the program pytest, beside which Python looks first."""
    start.filled()
    for name in ("alpha.ini", "alpha.txt", "alphabet.py", "xalpha.py", "pack"):
        start.write(start.front / name, "VALUE = 0")
    told = start()
    assert told["noted"] == [] and told["values"]["alpha"] == "first"


def test_modified_just_now_is_not_kept(start):
    """What changed within a tick of the clock could change again and look the same."""
    start(FRESH_NS=str(2 * 10**9))
    start(FRESH_NS=str(2 * 10**9))
    assert start.file() == []


def damages():
    def cut(data):
        return data[:len(data) // 2]

    def zeros_at_the_end(data):
        return data[:len(data) // 2] + bytes(len(data) - len(data) // 2)

    def other_words(data):
        return data[:16] + bytes(b ^ 0x55 for b in data[16:80]) + data[80:]

    return [cut, zeros_at_the_end, other_words, lambda data: b"", lambda data: b"xdcode0\n" + data[8:], lambda data: data + b"more", lambda data: bytes(len(data)),
            lambda data: data[:8] + b"\xff" * 8 + data[16:]]


@pytest.mark.parametrize("n", range(len(damages())))
def test_damaged(start, n):
    filled = start.filled()
    [path] = start.file()
    with open(path, "rb") as f:
        data = damages()[n](f.read())
    os.unlink(path)
    with open(path, "wb") as f:
        f.write(data)
    for _ in range(2):
        told = start()
        assert (told["values"], told["told"]) == (filled["values"], filled["told"])
    assert start()["noted"] == []  # it was written anew


def test_read_only(start):
    """Nothing is kept, and nothing is said."""
    start(FRESH_NS=str(10**18))
    os.rmdir(str(start.kept))
    told = start()
    assert told["values"]["alpha"] == "first" and set(NAMES) <= set(told["noted"])


def test_somebody_else_finds_first(start):
    """A finder of sitecustomize in front of Python's own has its say."""
    start.filled()
    before = '''
import types
from importlib.machinery import ModuleSpec
class Own(object):
    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Own) if name == "alpha" else None
    @staticmethod
    def create_module(spec): return None
    @staticmethod
    def exec_module(module): module.VALUE = "own"
sys.meta_path.insert(0, Own)
'''
    assert start("alpha", BEFORE=before)["values"]["alpha"] == "own"


@pytest.mark.parametrize("entry", ["b'/bytes'", "'relative'", "__import__('pathlib').Path('/')"])
def test_odd_entries_of_the_path(start, entry):
    start.filled()
    for _ in range(2):
        assert start(BEFORE="sys.path.insert(0, %s)" % entry)["values"]["alpha"] == "first"


def test_archive_in_front(start):
    """It could hold modules of any name."""
    import zipfile
    start.filled()
    with zipfile.ZipFile(str(start.path / "front.zip"), "w") as z:
        z.writestr("alpha.py", "VALUE = 'archive'")
    for _ in range(2):
        assert start("alpha", path=(start.path / "front.zip", start.site))["values"]["alpha"] == "archive"


def test_old_files_go(start):
    """One for each interpreter and path: the last ones are kept."""
    for n in range(20):
        start.write(start.kept / ("code-%d.bin" % n), "", LONG_AGO + n)
    start.filled()
    kept = sorted(os.listdir(str(start.kept)))
    assert len(kept) == 16 and "code-19.bin" in kept and "code-4.bin" not in kept


def test_warnings_name_who_imports(start):
    """A warning of a module about its import names the importer, not us."""
    start.write(start.site / "old.py", "import warnings; warnings.warn('old', DeprecationWarning, stacklevel=2)")
    start.write(start.site / "asks.py", "import warnings\nwith warnings.catch_warnings(record=True) as w:\n    warnings.simplefilter('always')\n    import old\n"
                                        "VALUE = [w[0].filename, w[0].lineno]")
    for _ in range(3):
        assert start("asks")["values"]["asks"] == [str(start.site / "asks.py"), 4]


# A start of the adapter, with all that pytest imports.
ALL = '''
    import json, sys
    sys.path[:1] = [sys.argv[1]]
    if sys.argv[2:]:
        sys.path_hooks.append(len)
    import xd_pytest.main
    from xd_pytest import codefile, startup
    if codefile.active:
        codefile.active[0].settled_ns += codefile.FRESH_NS
    noted = codefile.active[0].noted if codefile.active else None
    startup.set_sys_path(True, True)
    assert startup.import_resting() is None

    def code(c):
        if not hasattr(c, "co_code"):
            return repr(sorted(c, key=repr)) if isinstance(c, frozenset) else repr(c)
        return [c.co_name, c.co_filename, c.co_firstlineno, c.co_code.hex(), repr(c.co_names), [code(k) for k in c.co_consts]]

    seen = {}
    for name, module in sorted(sys.modules.items()):
        if name == "__main__" or name.startswith("xd_pytest"):
            continue
        spec = getattr(module, "__spec__", None)
        seen[name] = [sorted(n for n in vars(module) if n != "__warningregistry__"), repr(getattr(module, "__file__", None)), getattr(module, "__cached__", None),
                      repr(getattr(module, "__path__", None)), type(getattr(module, "__loader__", None)).__name__, type(getattr(spec, "loader", None)).__name__,
                      getattr(spec, "cached", None)]
        for attribute, value in sorted(vars(module).items()):
            if isinstance(value, type) and value.__module__ == name:
                seen[name].append([attribute, [[n, code(f.__code__)] for n, f in sorted(vars(value).items()) if hasattr(f, "__code__")]])
    print(json.dumps([sorted(noted) if noted is not None else None, seen]))
'''


@pytest.mark.parametrize("version, wanted", [("3.8", "==7.0.1"), ("3.9", "==7.4.4"), ("3.11", "==8.3.5"), ("3.13", "")])
def test_all_that_pytest_imports(tmp_path, version, wanted):
    """Every module, every method of every class: as without the file."""
    python = environment(version, wanted)
    shutil.copytree(os.path.join(ADAPTER, "xd_pytest"), str(tmp_path / "xd_pytest"), ignore=shutil.ignore_patterns("__pycache__"))

    def begin(*how):
        env = clean_environment(PYTHONHASHSEED="0")  # what refers to sets
        done = subprocess.run([python, "-c", textwrap.dedent(ALL), str(tmp_path)] + list(how), env=env, cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout.decode())

    none, usual = begin("usual")
    assert none is None and "_pytest.fixtures" in usual
    noted, seen = begin()
    assert "_pytest.fixtures" in noted and "xd_pytest.plugin" in noted and seen == usual
    noted, seen = begin()
    assert noted == [] and sorted(seen) == sorted(usual)
    for name in usual:
        assert seen[name] == usual[name]


def test_in_runs(project):
    """It is written as soon as the adapter's own folder is old enough, and costs no run the fork after collection."""
    project.cold = True
    project.write(test_a="def test_a(): pass")
    project.run("-n1")
    assert not list((project.path / "cache" / "xd").glob("adapter-*/code-*.bin"))
    time.sleep(2.1)
    for _ in range(2):
        result = project.run("-n1")
        assert result.rc == 0 and {e["way"] for e in result.events if e["event"] == "worker_up"} == {"collected"}, result
        assert len(list((project.path / "cache" / "xd").glob("adapter-*/code-*.bin"))) == 1


def test_folders_of_other_builds(project):
    """They go when nothing has used them for 30 days; one that is used says so."""
    cache = project.path / "cache" / "xd"
    old, newer, link = cache / "adapter-0123456789abcdef", cache / "adapter-fedcba9876543210", cache / "adapter-00"
    (old / "xd_pytest").mkdir(parents=True)
    newer.mkdir()
    link.symlink_to(project.root)
    now = time.time()
    os.utime(str(old), (now - 31 * 86400,) * 2)
    os.utime(str(newer), (now - 29 * 86400,) * 2)
    project.write(test_a="def test_a(): pass")
    assert project.run("-n1").rc == 0
    assert not old.exists() and newer.exists() and link.exists() and (project.root / "test_a.py").exists()
    [own] = set(cache.glob("adapter-*")) - {newer, link}
    os.utime(str(own), (now - 31 * 86400,) * 2)
    assert project.run("-n1").rc == 0
    assert own.stat().st_mtime > now - 86400
