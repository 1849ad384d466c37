"""What the start of the process must look like: environment, folder, sys.path and sys.argv as the pytest program has them."""
from __future__ import absolute_import, division, print_function

import gc
import os
import signal
import sys

from xd_pytest import argnames, codefile, compat
from xd_pytest.constants import ENV_AS_MODULE, EXIT_INFRASTRUCTURE
from xd_pytest.frozen import freeze
from xd_pytest.pythons import BASE_PREFIX, PY2, buffer_lines, fsdecode, has_module, quote, which

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # where this package is

imported = []  # pytest, by us: sitecustomize may do so before


def begin(start, first):
    """Environment and folder.  first: sys.path has the folder of the program, or of -m, in front."""
    stdio_as_worker()
    ignore_job_control()
    set_environment(start)
    set_sys_path(first, start.flags & ENV_AS_MODULE)


def stdio_as_worker():
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    buffer_lines()


def ignore_job_control():
    """Workers are process groups of their own, so never that of the terminal: a test that sets it up, or `stty`, would be stopped for ever.  What tests
    start ignores these signals, too, so only where there is a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return
    for name in ("SIGTTOU", "SIGTTIN"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def set_environment(start):
    given = os.environ.pop("XD_HASHSEED", None)
    if given == os.environ.get("PYTHONHASHSEED"):  # ours (pytest.c): what tests start hashes as it would
        os.environ.pop("PYTHONHASHSEED", None)
    for pair in start.env:
        os.environ[fsdecode(pair.name)] = fsdecode(pair.value)
    chdir = fsdecode(start.chdir)
    if chdir:
        os.chdir(chdir)


def set_sys_path(first, as_module):
    """As pytest has it before it is imported; the folder of this package is none of the user's business."""
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != FOLDER]
    if first:
        program = pytest_program()
        sys.path.insert(0, os.getcwd() if as_module else os.path.dirname(os.path.realpath(program) if os.path.islink(program) else program))


def program_of_module():
    import pytest
    file = os.path.abspath(pytest.__file__)
    if not hasattr(pytest, "__path__"):  # before pytest 5.4 it is one module
        return file[:-1] if file.endswith((".pyc", ".pyo")) else file
    return os.path.join(os.path.dirname(file), "__main__.py")


def be_main(program, as_module):
    """__main__ tells what multiprocessing and others start in their children: this process's own program."""
    main = sys.modules["__main__"]
    if as_module:
        package = hasattr(sys.modules["pytest"], "__path__")
        main.__package__ = "pytest" if package else ""
        main.__file__ = program
        if not PY2:
            import importlib.util
            main.__spec__ = importlib.util.find_spec("pytest.__main__" if package else "pytest")
    elif is_python(program):
        main.__file__ = program


def is_python(program):
    """Not where `pytest` is a program of another kind, such as a shell script that chooses a Python."""
    try:
        with open(program, "rb") as f:
            head = f.read(4096)
    except (OSError, IOError):
        return False
    return head.startswith(b"#!") and b"import" in head and b"pytest" in head


def pytest_program():
    beside = os.path.join(os.path.dirname(sys.executable or sys.prefix), "pytest")
    if os.path.exists(beside):
        return beside
    return which("pytest") or beside


def python_version():
    return "%d.%d.%d" % sys.version_info[:3]


def import_pytest(start):
    """None, or (exit status, text).  Then sys.argv and __main__ are pytest's, too."""
    if imported:
        return None
    failure = import_resting()
    if failure is None:
        imported.append(True)
        as_module = start.flags & ENV_AS_MODULE
        program = program_of_module() if as_module else pytest_program()
        sys.argv[:] = [program] + [fsdecode(t.text) for t in start.args]
        be_main(program, as_module)
    return failure


def import_resting():
    """The garbage collector rests meanwhile, as imports leave no garbage worth its time, and never walks what they made."""
    enabled = gc.isenabled()
    failure = 1, "interrupted"
    gc.disable()
    try:
        failure = import_all()
        return failure
    finally:
        codefile.end(failure is None)
        freeze()  # before enable(), which would walk it all once more
        if enabled:
            gc.enable()


OTHER = "or name another interpreter with --python or python="


def get_pytest():
    """The command that gives this interpreter a pytest, as far as it can have one."""
    program = quote(sys.executable)
    pip, ensurepip = has_module("pip"), has_module("ensurepip")
    if sys.prefix != BASE_PREFIX:  # a virtual environment, whose packages are nobody else's business
        if not pip and not ensurepip:
            return "and no pip: make another virtual environment, %s" % OTHER
        return "run '%s%s -m pip install pytest', %s" % ("" if pip else program + " -m ensurepip && ", program, OTHER)
    if PY2:  # the release of pytest that pip takes for it is 4.6
        return "make a virtual environment for it (virtualenv -p %s ~/.venv && ~/.venv/bin/pip install pytest) and name it with python=~/.venv/bin/python, %s" % (program, OTHER)
    debian = "" if ensurepip else "; Debian has that in the package python%d.%d-venv" % sys.version_info[:2]
    return "make a virtual environment for it (%s -m venv ~/.venv && ~/.venv/bin/pip install pytest%s) and name it with python=~/.venv/bin/python, %s" % (
        program, debian, OTHER)


def import_all():
    where = "%s (Python %s)" % (sys.executable, python_version())
    try:
        import pytest
    except ImportError as e:
        if getattr(e, "name", None) in ("pytest", None) and (not PY2 or str(e) == "No module named pytest"):
            remedy = get_pytest()
            return EXIT_INFRASTRUCTURE, "%s has no pytest%s %s" % (where, "," if remedy.startswith("and ") else ":", remedy)
        return EXIT_INFRASTRUCTURE, "%s cannot import pytest: %s: %s" % (where, type(e).__name__, e)
    except Exception as e:
        return EXIT_INFRASTRUCTURE, "%s cannot import pytest: %s: %s" % (where, type(e).__name__, e)
    if compat.version() < compat.OLDEST:
        return EXIT_INFRASTRUCTURE, "%s has pytest %s, but xd needs pytest 4.6 or newer: run '%s -m pip install -U pytest', %s" % (
            where, getattr(pytest, "__version__", "of unknown version"), quote(sys.executable), OTHER)
    for name in compat.DEFAULT_PLUGINS.get() or ():  # what every session imports anyway: once for all processes
        try:
            __import__("_pytest." + name)
        except ImportError:
            pass
    for name in ("importlib.metadata", "importlib_metadata", "tempfile", "random", "select"):
        try:
            __import__(name)
        except ImportError:
            pass
    argnames.install()
    return None
