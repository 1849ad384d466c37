"""What `tools/dev package` makes: Debian packages that lintian accepts and a wheel, each unpacked and used; and the uninstall target."""
import fcntl
import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, clean_environment

PACKAGES = os.path.join(ROOT, "build", "packages")


def call(*command, **more):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          **dict(dict(timeout=120), **more))


@pytest.fixture(scope="session")
def made():
    """Made once by whichever worker comes first; the others find the stamp of the same sources."""
    for program in ("cpack", "dpkg-shlibdeps", "lintian", "gzip"):
        if not shutil.which(program):
            pytest.skip("%s is not installed: tools/dev deps package" % program)
    stamp = os.path.join(PACKAGES, "tested")
    with open(os.path.join(ROOT, "build", "packages.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = call("sh", "-c", "git ls-files -z | xargs -0 cat | sha256sum", cwd=ROOT).stdout
        if not os.path.exists(stamp) or open(stamp).read() != state:
            done = call(os.path.join(ROOT, "tools", "dev"), "package", timeout=500)
            if "pip install failed" in done.stdout or "Could not find a version" in done.stdout:
                pytest.skip("the tools of the wheel cannot be installed here: " + done.stdout[-300:])
            assert done.returncode == 0, done.stdout[-4000:]
            with open(stamp, "w") as f:
                f.write(state)
    return PACKAGES


def one(pattern):
    found = glob.glob(pattern)
    assert len(found) == 1, (pattern, found)
    return found[0]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_a.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    return tmp_path / "suite"


def run(suite, *command):
    env = clean_environment(XDG_STATE_HOME=str(suite) + "-state", XDG_CACHE_HOME=str(suite) + "-cache")
    return call(*command, cwd=str(suite), env=env)


def assert_agents(folder):
    """Of this machine's architecture, and of each that this machine has a cross compiler for."""
    there = {p.name for p in folder.iterdir()}
    wanted = {os.uname().machine} | {a for a in ("x86_64", "aarch64") if shutil.which(a + "-linux-gnu-gcc")}
    assert there == {"%s.%s" % (a, e) for a in wanted for e in ("gz", "xz", "sums")}
    assert all((folder / (a + ".xz")).stat().st_size <= 400 << 10 for a in wanted)


def assert_xdserve(xdctl):
    """One file, stripped, where xdctl says it is; where it can be built."""
    said = call(xdctl, "serve", "--xdserve")
    if not os.path.exists(os.path.join(ROOT, "build", "bin", "xdserve")):
        assert said.returncode == 6 and "cannot find the program xdserve: tried " in said.stdout, said.stdout
        return
    path = said.stdout.strip()
    assert said.returncode == 0 and path.endswith("libexec/xd/xdserve") and os.path.getsize(path) <= 5 << 20, said.stdout
    alone = call(path, "--version", env={})
    assert alone.returncode == 0 and alone.stdout.split()[0] == "xdserve", alone.stdout


def test_debian_packages(made, tmp_path, suite):
    root = tmp_path / "root"
    for name in ("xdctl", "libxd0", "libxd-dev"):
        deb = one(os.path.join(made, name + "_*.deb"))
        assert call("dpkg-deb", "-x", deb, root).returncode == 0
        fields = call("dpkg-deb", "-f", deb).stdout
        assert re.search(r"^Package: %s$" % name, fields, re.M) and re.search(r"^Depends: .*\S", fields, re.M), fields
        assert (root / "usr/share/doc" / name / "copyright").exists() and (root / "usr/share/doc" / name / "changelog.Debian.gz").exists()
        if name != "libxd-dev":
            assert re.search(r"^Depends: .*\blibssh-4\b", fields, re.M), fields
    assert_agents(root / "usr/libexec/xd/agents")
    assert_xdserve(root / "usr/bin/xdctl")
    for unit in ("system/xdctl-serve.service", "system/xdctl-join@.service", "user/xdctl-serve.service"):
        assert "\nExecStart=/usr/bin/xdctl " in (root / "usr/lib/systemd" / unit).read_text()
    assert (root / "usr/lib/sysusers.d/xdctl.conf").exists() and (root / "usr/lib/tmpfiles.d/xdctl.conf").exists()
    libraries = next((root / "usr/lib").glob("*/libxd.so.0")).parent
    assert (libraries / "libxd.so").is_symlink() and (libraries / "pkgconfig/xd.pc").exists() and (root / "usr/include/xd.h").exists()
    assert (root / "usr/share/man/man1/xdctl-run.1.gz").exists()
    done = run(suite, root / "usr/bin/xdctl", "run", "-n2", "--python", sys.executable)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    with open(os.path.join(ROOT, "build", "log", "lintian.log")) as f:  # tools/dev package has asked it, and would have ended there
        assert not re.search(r"^E:", f.read(), re.M)


def test_pkg_config_gives_no_folders_of_dependencies(made, tmp_path):
    root = tmp_path / "root"
    assert call("dpkg-deb", "-x", one(made + "/libxd-dev_*.deb"), root).returncode == 0
    env = dict(os.environ, PKG_CONFIG_LIBDIR=str(one(str(root / "usr/lib/*/pkgconfig"))))
    flags = call("pkg-config", "--cflags", "--libs", "xd", env=env).stdout.split()
    assert {os.path.normpath(f[2:]) for f in flags if f.startswith("-I")} == {str(root / "usr/include")}, flags
    assert not re.search("pgm|krb5|mit|libxml", " ".join(flags)) and "-lxd" in flags and "-lzmq" not in flags, flags
    assert "-lzmq" in call("pkg-config", "--static", "--libs", "xd", env=env).stdout


def test_wheel(made, tmp_path, suite):
    wheel = one(made + "/xd_engine-*.whl")
    assert re.search(r"-py3-none-manylinux_2_\d+_\w+\.whl$", wheel), "the tag names the oldest glibc"
    assert call(sys.executable, "-m", "venv", tmp_path / "v").returncode == 0
    python = tmp_path / "v" / "bin" / "python"
    installed = call(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps", wheel)
    assert installed.returncode == 0, installed.stdout
    for command in ([tmp_path / "v" / "bin" / "xdctl"], [python, "-m", "xd"]):
        done = run(suite, *(command + ["run", "-n2", "--python", sys.executable]))
        assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    program = call(python, "-c", "import xd; print(xd.program('xdctl'))").stdout.strip()
    assert_agents(tmp_path.__class__(program).parent.parent / "libexec/xd/agents")
    assert_xdserve(program)
    needed = call("ldd", program).stdout
    assert "not found" not in needed and re.search(r"libzmq\S* => \S*xd_engine.libs/", needed), needed
    doctor = run(suite, tmp_path / "v" / "bin" / "xdctl", "doctor", "--python", sys.executable)
    assert str(tmp_path / "v") in doctor.stdout and doctor.returncode == 0, doctor.stdout


def test_wheel_runs_tests_with_its_own_interpreter(made, tmp_path, suite):
    """In an environment that has pytest, wherever PATH leads."""
    assert call(sys.executable, "-m", "venv", tmp_path / "v").returncode == 0
    python = tmp_path / "v" / "bin" / "python"
    assert call(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", one(made + "/xd_engine-*.whl")).returncode == 0
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    pytests = os.path.dirname(os.path.dirname(pytest.__file__))
    with open(os.path.join(site, "other.pth"), "w") as f:
        f.write(pytests + "\n")
    (suite / "test_a.py").write_text("import sys\ndef test_a(): assert sys.prefix == %r\n" % str(tmp_path / "v"))
    done = run(suite, tmp_path / "v" / "bin" / "xdctl", "run", "-n1")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    on_specs = run(suite, tmp_path / "v" / "bin" / "xdctl", "run", "--tx=popen")
    assert on_specs.returncode == 0 and "1 passed" in on_specs.stdout, on_specs.stdout
    told = call(python, "-c", "import xd.__main__ as m; print(m.arguments(['run', '--tx', 'ssh=host']))").stdout.strip()
    assert told == "['run', '--tx', 'ssh=host']", "the host has no such interpreter"
    other = run(suite, tmp_path / "v" / "bin" / "xdctl", "run", "-n1", "--python", sys.executable)
    assert other.returncode == 1 and "1 failed" in other.stdout, other.stdout


def test_uninstall(made, tmp_path):
    build = os.path.join(ROOT, "build", "package")
    prefix = tmp_path / "prefix"
    assert call("cmake", "--install", build, "--prefix", prefix).returncode == 0
    assert (prefix / "bin" / "xdctl").exists()
    (prefix / "bin" / "another").write_text("")
    done = call("cmake", "--build", build, "--target", "uninstall")
    assert done.returncode == 0, done.stdout
    assert [p for p in prefix.rglob("*") if not p.is_dir()] == [prefix / "bin" / "another"]
    again = call("cmake", "--build", build, "--target", "uninstall")
    assert again.returncode != 0 and "nothing was installed from this build folder" in " ".join(again.stdout.split())
