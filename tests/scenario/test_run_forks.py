"""What fork(2) shares or leaves behind (xd(7), "WHAT A FORK SHARES"): each entry both ways.  What is safe keeps the fastest way, all else takes the next one, -v says why;
tests pass in each."""
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from test_run_pythons import environment

TESTS = '''
    import os, pytest
    @pytest.mark.parametrize("n", range(8))
    def test_n(n, worker_id): assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
    '''
NOTHING = "nothing in the collected process stands against forking it"


def ways(result):
    return {e["way"] for e in result.events if e["event"] == "worker_up"}


def reason(result):
    lines = [line for line in result.out.splitlines() if line.startswith("xd: workers")]
    assert len(lines) == 1, result
    return lines[0]


def expect(project, way, why, *options, **more):
    """A passing run whose workers start that way, for that reason."""
    xd = project.run("-n2", *(options + ("-v",)), **more)
    assert xd.rc == 0 and set(xd.summary) == {"passed"}, xd
    assert ways(xd) == {way} and why in reason(xd), xd
    return xd


# ---- native threads

STACK = ("numpy", "scipy", "pandas", "scikit-learn")
PRODUCTS = '''
    import numpy, pytest
    from conftest import A, B
    @pytest.mark.parametrize("n", range(8))
    def test_product(n): assert numpy.allclose(A @ A, B)
    def test_pool():
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(numpy.allclose(c, B) for c in pool.map(A.dot, [A, A]))
    '''


@pytest.mark.parametrize("version, packages", [
    ("3.12", STACK), ("3.13", ("numpy",)), ("3.9", ("numpy<2",)),
], ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_pools_that_end_for_a_fork(project, version, packages):
    """OpenBLAS ends its threads in a fork handler: numpy, scipy and pandas keep the fork after collection, and compute right behind it."""
    project.python = environment(version, "", *packages)
    project.write(conftest='''
        import numpy, os
        A = numpy.random.rand(300, 300)
        B = A @ A
        assert len(os.listdir("/proc/self/task")) > 1, "OpenBLAS has no pool: this tests nothing"
        %s
        ''' % ("import scipy.linalg, pandas\n        scipy.linalg.inv(A)" if "scipy" in packages else ""),
        test_a=PRODUCTS)
    expect(project, "collected", NOTHING, env=dict(OPENBLAS_NUM_THREADS="3"))


LIBRARY = r'''
#include <pthread.h>
#include <unistd.h>
static pthread_t thread;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int stop, running;
static void *run(void *arg)
{
    pthread_mutex_lock(&mutex);
    while (!stop)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}
static void end(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&mutex);
    stop = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, 0);
    running = stop = 0;
}
static void never(void) { for (;;) pause(); }
static void fail(void) { _exit(3); }
int begin(int how)
{
    if (how == 1)
        pthread_atfork(end, 0, 0);
    if (how == 2)
        pthread_atfork(0, 0, never);
    if (how == 3)
        pthread_atfork(0, 0, fail);
    running = pthread_create(&thread, 0, run, 0) == 0;
    return running;
}
'''


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "threads.c").write_text(LIBRARY)
    subprocess.run([cc, "-shared", "-fPIC", "-pthread", "-o", str(folder / "threads.so"), str(folder / "threads.c")], check=True)
    return str(folder / "threads.so")


@pytest.mark.parametrize("how, way, why", [
    (0, "warm", "collection left 1 native thread running that a fork does not end: "),
    (1, "collected", NOTHING),
    (3, "warm", "a copy of it ends with status 768"),
], ids=["goes on", "ends", "fails"])
def test_native_threads(project, library, how, way, why):
    project.write(conftest="import ctypes\nassert ctypes.CDLL(%r).begin(%d)\n" % (library, how), test_a=TESTS)
    expect(project, way, why)


def test_native_threads_of_a_real_library(project):
    """The OpenMP of gcc keeps its pool, and a child of that process waits for it for ever."""
    project.python = environment("3.12", "", *STACK)
    project.write(conftest='''
        import numpy
        from sklearn.cluster import KMeans
        POINTS = numpy.random.rand(3000, 2)
        def fit(): return KMeans(4, n_init=2, algorithm="lloyd").fit(POINTS).cluster_centers_.shape
        assert fit() == (4, 2)
        ''', test_a="from conftest import fit\ndef test_a(): assert fit() == (4, 2)\ndef test_b(): test_a()\n")
    expect(project, "warm", "native thread", env=dict(OMP_NUM_THREADS="3"))
