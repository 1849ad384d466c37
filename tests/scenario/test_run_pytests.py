"""Every release of pytest from 7.0 on: collection and one test of each outcome, as with plain pytest of the same release."""
import concurrent.futures
import os
import re
import subprocess
import sys
import threading

import pytest

import wheels
from conftest import junit_cases, junit_suite_properties

EACH = '''
    import pytest

    @pytest.fixture
    def bad_setup(): raise RuntimeError("in setup")
    @pytest.fixture
    def bad_teardown():
        yield
        raise RuntimeError("in teardown")
    @pytest.fixture
    def worse_teardown():
        yield
        raise ValueError("in another teardown")

    def test_passed(): print("heard")
    def test_failed(): assert [1, 2] == [1, 3]
    def test_skipped(): pytest.skip("not today")
    @pytest.mark.xfail(reason="known")
    def test_xfailed(): assert 0
    def test_xfailed_inside(): pytest.xfail("reason: odd")
    @pytest.mark.xfail
    def test_xpassed(): pass
    @pytest.mark.xfail(strict=True)
    def test_xpassed_strict(): pass
    def test_setup(bad_setup): pass
    def test_teardown(bad_teardown): pass
    def test_failed_and_teardown(bad_teardown): assert 0
    def test_setup_and_teardown(bad_teardown, bad_setup): pass
    def test_two_teardowns(bad_teardown, worse_teardown): pass
    @pytest.mark.parametrize("n", range(20))
    def test_many(n, record_property): record_property("n", n)
    '''
ALONE = '''
    import pytest

    @pytest.fixture(scope="module")
    def bad_teardown():
        yield
        raise RuntimeError("in teardown")
    @pytest.fixture(scope="module")
    def worse_teardown():
        yield
        raise ValueError("in another teardown")

    def test_of_wider_scope(bad_teardown, worse_teardown): pass
    '''
RELEASES = [r.split("==")[1] for r in wheels.pins() if r.startswith("pytest==")]
# The oldest pluggy that some of them take: its hook wrappers are of another kind.
OLD_PLUGGY = {"7.0.0": "pluggy==1.0.0", "8.0.0": "pluggy==1.3.0"}


def wanted(release):
    return wheels.with_needed("pytest==" + release, *([OLD_PLUGGY[release]] if release in OLD_PLUGGY else []))


@pytest.fixture(scope="module", autouse=True)
def installed(request):
    """The next releases are unpacked while one is tried."""
    alone = not hasattr(request.config, "workerinput")  # else they are spread over workers
    chosen = [i.callspec.params["release"] for i in request.session.items if alone and "[" in i.name and i.function is test_each_outcome]
    stop = threading.Event()

    def prepare(release):
        if not stop.is_set():
            for requirement in wanted(release):
                wheels.folder(requirement)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for release in chosen:
            pool.submit(prepare, release)
        yield
        stop.set()


def sections(result):
    """Heading -> text of each failure, without the lines that name a worker."""
    parts = re.split(r"^_{3,} (.+?) _{3,}$", re.split(r"^-{3,} generated|^={3,} (?:short test|warnings) summary", result.out, flags=re.M)[0], flags=re.M)
    return {heading: [line for line in text.splitlines() if not line.startswith(("[gw", "====="))] for heading, text in zip(parts[1::2], parts[2::2])}


def short_lines(result):
    return sorted(line.rstrip() for line in result.out.splitlines() if re.match("(FAILED|ERROR|XFAIL|XPASS|SKIPPED) ", line))


@pytest.mark.parametrize("release", RELEASES)
def test_each_outcome(project, release):
    project.packages = [wheels.folder(r) for r in wanted(release)]
    is_as_plain(project, release)


def is_as_plain(project, release):
    project.write(test_each=EACH, test_alone=ALONE)
    options = ["-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", "-rfE" if numbers(release) < (8, 3) else "-rfEsxX"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # side by side
        plain = pool.submit(project.plain, "--junitxml=plain.xml", *options)
        xd = project.run("-n2", "--junitxml=xd.xml", *options)
        plain = plain.result()
    assert "pytest-" + release in xd.out and "pytest-" + release in plain.out, xd
    assert "which this version of xd counts on" not in xd.out, xd  # compat.py knows all of them
    assert xd.categories == plain.categories, xd
    assert (xd.rc, xd.summary) == (plain.rc, plain.summary) and xd.rc == 1 and xd.summary["error"] == 7, xd
    assert sections(xd) == sections(plain) != {}
    assert short_lines(xd) == short_lines(plain) != []
    assert junit_cases(project.root / "xd.xml") == junit_cases(project.root / "plain.xml")
    assert junit_suite_properties(project.root / "xd.xml") == junit_suite_properties(project.root / "plain.xml")


def numbers(release):
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", release).groups())


def pip(*args):
    return subprocess.run([sys.executable, "-m", "pip"] + list(args) + ["-q", "--disable-pip-version-check", "--retries", "1"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=300)


def test_newest_with_pre_releases(project, tmp_path, capsys):
    """What the next release of pytest changes is seen before it is out, where the index has a pre-release of it."""
    wheel, packages = tmp_path / "wheel", tmp_path / "packages"
    got = pip("download", "--pre", "--no-deps", "--only-binary", ":all:", "--dest", str(wheel), "pytest")
    if got.returncode != 0:
        pytest.skip("the index does not give the newest pytest: %s" % got.stdout.strip()[-200:])
    [file] = os.listdir(str(wheel))
    release = re.match("pytest-(.+?)-", file).group(1)
    got = pip("install", "--only-binary", ":all:", "--target", str(packages), str(wheel / file))
    if got.returncode != 0:
        pytest.skip("what pytest %s needs cannot be installed: %s" % (release, got.stdout.strip()[-200:]))
    with capsys.disabled():
        if re.match(r"[\d.]+$", release):
            print("\nthe index has no pre-release of pytest that is newer than its newest release: pytest %s was taken" % release)
        else:
            print("\ntaken: pytest %s, a pre-release" % release)
    project.packages = [str(packages)]
    is_as_plain(project, release)


def test_no_release_is_missing():
    """What the index has and wheels.txt does not."""
    asked = subprocess.run([sys.executable, "-m", "pip", "index", "versions", "pytest", "--disable-pip-version-check", "--retries", "1"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    found = re.search("Available versions: (.*)", asked.stdout)
    if found is None:
        pytest.skip("the index does not say which releases of pytest there are: %s" % asked.stdout.strip()[-200:])
    there = [v for v in found.group(1).split(", ") if int(v.split(".")[0]) >= 7]
    missing = sorted(set(there) - set(RELEASES))
    if missing:
        pytest.skip("wheels.txt does not pin pytest %s, which the index has" % ", ".join(missing))
    assert len(there) > 30
