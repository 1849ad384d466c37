"""What `-n auto` and `-n logical` mean in this environment, by xdist's rules: hooks of plugins and conftests come first, then the environment's
PYTEST_XDIST_AUTO_NUM_WORKERS, then what tells Python itself how many processors there are; auto counts cores instead of their threads where psutil
can be imported.  Quota, memory and the number of tests are the engine's to look at (numprocesses.h)."""
import os

from xd_pytest import compat
from xd_pytest.plugins import foreign_plugins
from xd_pytest.pythons import allowed_processors, has_module

SIBLINGS = "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list"  # Linux, Documentation/admin-guide/cputopology.rst


def number_told(config):
    """The number of workers, if anybody tells one; else None."""
    number = None
    if foreign_plugins(config, "pytest_xdist_auto_num_workers"):
        number = config.hook.pytest_xdist_auto_num_workers(config=config)
    if number is None:
        number = of_environment(config)
    return of_python() if number is None else number


def of_environment(config):
    told = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    if not told:
        return None
    try:
        return int(told)
    except ValueError:
        import pytest
        compat.warn_of_configuration(config, pytest.PytestWarning("PYTEST_XDIST_AUTO_NUM_WORKERS is not a number: %r; it is ignored" % told))
        return None


def of_python():
    """`-X cpu_count=N` and $PYTHON_CPU_COUNT, which Python 3.13 and newer read; older ones are held to them as well."""
    told = compat.interpreter_option("cpu_count") or os.environ.get("PYTHON_CPU_COUNT")
    try:
        return int(told) if told and told is not True and int(told) > 0 else None  # True: -X cpu_count without a number
    except ValueError:  # "default", too
        return None


def cores():
    """Cores of the processors that this process may use; None: xdist would count their threads."""
    if not has_module("psutil"):
        return None
    try:
        found = set()
        for cpu in allowed_processors():
            with open(SIBLINGS % cpu) as f:
                found.add(f.read())
        return len(found) or None
    except (EnvironmentError, ValueError):
        return None
