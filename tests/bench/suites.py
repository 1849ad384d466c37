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


def empty(folder, files, tests):
    write(folder, [("test_%04d.py" % n, "".join(EMPTY % k for k in range(tests // files))) for n in range(files)])


def first(folder):
    write(folder, [("test_%04d.py" % n, "".join(FIRST % k for k in range(10))) for n in range(16)])


def tail(folder, scale):
    """The long test is collected last."""
    short = [("test_%04d.py" % n, "".join(SLEEP % (k, SHORT_S * scale) for k in range(20))) for n in range(SHORT_COUNT // 20)]
    write(folder, short + [("test_zz_long.py", SLEEP % (0, LONG_S * scale))])
