"""The generated suites, each a folder of its own with its own pytest.ini."""
import os
import shutil

EMPTY = "def test_%04d(): pass\n"

# The first test of all says when its body began.
FIRST = '''import os, time
def test_%04d():
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        mark = os.open(os.environ["XD_BENCH_MARK"], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return
    os.write(mark, b"%%r" %% now)
    os.close(mark)
'''

SHORT_S, SHORT_COUNT, LONG_S = 0.05, 200, 3.0
SLEEP = "import time\ndef test_%04d(): time.sleep(%r)\n"


def write(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, text in [("pytest.ini", "[pytest]\n")] + files:
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)


def empty(folder, files, tests, groups=0):
    """groups: so many tests one behind the other are an xdist_group."""
    def text(n):
        lines = ["import pytest\n" if groups else ""]
        for k in range(tests // files):
            lines.append(('@pytest.mark.xdist_group("g%d_%d")\n' % (n, k // groups) if groups else "") + EMPTY % k)
        return "".join(lines)
    write(folder, [("test_%04d.py" % n, text(n)) for n in range(files)])


def first(folder):
    write(folder, [("test_%04d.py" % n, "".join(FIRST % k for k in range(10))) for n in range(16)])


def tail(folder, scale):
    """The long test is collected last."""
    short = [("test_%04d.py" % n, "".join(SLEEP % (k, SHORT_S * scale) for k in range(20))) for n in range(SHORT_COUNT // 20)]
    write(folder, short + [("test_zz_long.py", SLEEP % (0, LONG_S * scale))])


# A suite as those of libraries for data are: numpy, a large heap from the import, tests that compute and build tables, some that call gc.collect().
# What they compute is small enough for one thread each: two workers whose BLAS spins on two processors would measure each other.
NUMPY_TESTS, NUMPY_MODULES = 3000, 60

NUMPY_LIBRARY = '''"""Reads its settings from the environment and makes its tables when it is imported."""
import os
SETTINGS = {key[4:].lower(): value for key, value in os.environ.items() if key.startswith("LIB_")}
UNITS = {"unit_%d" % n: [("factor", float(n)), {"of": [n]}] for n in range(TABLE)}
'''

NUMPY_CONFTEST = '''import numpy
import library
import pytest

@pytest.fixture(scope="session")
def matrix():
    return numpy.random.default_rng(0).random((30, 2000))
'''

NUMPY_MODULE = '''import gc
import numpy
import pytest
import library

@pytest.mark.parametrize("n", range(PER_MODULE))
def test_compute(n, matrix):
    for k in range(LOOPS):
        assert numpy.linalg.norm(numpy.sort(matrix * (n + k + 1), axis=1)) > 0
    rows = [[k, {"values": [k, n]}] for k in range(ROWS)]
    assert rows[-1][1]["values"] == [ROWS - 1, n]
    if n == 7:
        del rows
        gc.collect()
'''


def numpy(folder, scale=1.0):
    """About 60 s of work at scale 1."""
    sizes = {"PER_MODULE": NUMPY_TESTS // NUMPY_MODULES, "LOOPS": max(1, round(2 * scale)), "ROWS": max(10, round(4000 * scale)),
             "TABLE": max(10, round(400000 * scale))}

    def sized(text):
        for name, value in sizes.items():
            text = text.replace(name, str(value))
        return text

    write(folder, [("conftest.py", NUMPY_CONFTEST), ("library.py", sized(NUMPY_LIBRARY))] +
          [("test_%04d.py" % n, sized(NUMPY_MODULE)) for n in range(NUMPY_MODULES)])
