"""The library from outside: an installed prefix, a program built against it by pkg-config and by CMake, what it exports."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import HERE, ROOT, clean_environment

BUILD = os.path.dirname(os.path.dirname(os.environ.get("XD_XDCTL") or os.path.join(ROOT, "build", "bin", "xdctl")))
CMAKELISTS = """
cmake_minimum_required(VERSION 3.25)
project(embed C)
find_package(xd REQUIRED)
add_executable(embed embed.c)
target_link_libraries(embed PRIVATE xd::%s)
"""


def call(*command, **more):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **more)
    assert done.returncode == 0, "%s\n%s\n%s" % (command, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode()


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    if not shutil.which("cmake"):
        pytest.skip("no cmake on this machine")
    where = tmp_path_factory.mktemp("prefix")
    call("cmake", "--install", BUILD, "--prefix", where)
    return where


def library_dir(prefix):
    return next(p for p in prefix.rglob("libxd.so")).parent


@pytest.fixture(scope="module")
def embed(prefix, tmp_path_factory):
    """Built by pkg-config."""
    where = tmp_path_factory.mktemp("embed") / "embed"
    env = dict(os.environ, PKG_CONFIG_PATH=str(library_dir(prefix) / "pkgconfig"))
    flags = call("pkg-config", "--cflags", "--libs", "xd", env=env).split()
    call("cc", "-Wall", "-Wextra", "-Werror", os.path.join(HERE, "embed.c"), "-o", where, *(flags + ["-Wl,-rpath," + str(library_dir(prefix))]))
    return where


@pytest.fixture
def suite(tmp_path):
    root = tmp_path / "suite"
    root.mkdir()
    (root / "test_a.py").write_text("import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n):\n    import time; time.sleep(0.01)\n    assert n != 3\n")
    return root


def run(program, *args, **more):
    tmp = str(args[-1]) if not more.get("tmp") else str(more["tmp"])
    env = clean_environment(XDG_STATE_HOME=tmp + "-state", XDG_CACHE_HOME=tmp + "-cache", **more.get("env", {}))
    return subprocess.run([str(program)] + [str(a) for a in args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)


def test_the_prefix_is_whole(prefix, suite):
    lib = library_dir(prefix)
    for path in (prefix / "bin" / "xdctl", prefix / "libexec" / "xd" / "xdagent", prefix / "include" / "xd.h", lib / "pkgconfig" / "xd.pc",
                 lib / "cmake" / "xd" / "xdConfig.cmake"):
        assert path.exists(), path
    assert [p.name for p in (prefix / "include").rglob("*.h")] == ["xd.h"]
    done = run(prefix / "bin" / "xdctl", "run", "-n2", "--python=" + sys.executable, suite, tmp=suite)
    assert done.returncode == 1 and b"1 failed, 19 passed" in done.stdout, done


def test_configuration_files(embed, suite):
    """A program reads what xdctl does, when it asks for it."""
    (suite / "xd.toml").write_text('dist = "loadfile"\n[profile.a]\ntx = "@lab"\n[hosts]\nlab = "2*popen"\n')
    (suite / "pyproject.toml").write_text("[tool.xd]\n")
    done = run(embed, "--configured", suite, "--no-fork", tmp=suite, env=dict(XD_CONFIG="", HOME=str(suite), XD_NO_HISTORY="1"))
    assert done.returncode == 0 and done.stdout.decode().splitlines() == [
        "before: option --profile: 'a' chooses among options of files, which were not read",
        "dist = loadfile: xd.toml:1", "tx = 2*popen: @lab, profile a (xd.toml:3), a list", "profile = a: program", "no-fork = true: command line, a flag",
        "no-history = true: XD_NO_HISTORY, a flag", "grace = 3s: program", "7", "note: xd.toml counts: the table tool.xd of pyproject.toml is not read", "run: 0"], done
    (suite / "xd.toml").write_text("dits = 1\n")
    done = run(embed, "--configured", suite, tmp=suite, env=dict(XD_CONFIG="", HOME=str(suite)))
    assert done.stdout.decode().endswith("refused: xd.toml:1: unknown key 'dits'; is dist meant?\n"), done


def test_by_pkg_config(embed, suite):
    done = run(embed, sys.executable, suite, tmp=suite)
    out = done.stdout.decode()
    assert done.returncode == 1, done
    tests = re.findall(r"^test (test_a.py::test_n\[\d+\]) \d+ gw[01] \d+ us: ", out, re.M)
    assert len(tests) == len(set(tests)) == 20 and "by callback 1: 20 tests told" in out, done


def test_what_an_event_of_a_test_tells(embed, tmp_path):
    """Worker, duration and message; of a failure the first line of the first one, of a skip the reason."""
    root = tmp_path / "suite"
    root.mkdir()
    (root / "test_a.py").write_text('''
import os, time, pytest

def test_passes(worker_id):
    time.sleep(0.2)
    with open(os.path.join(os.path.dirname(__file__), "ran-in"), "w") as f:
        f.write(worker_id)

def test_fails():
    assert 1 == 2, "first line\\nsecond line"

@pytest.fixture
def torn():
    yield
    raise ValueError("later")

def test_fails_twice(torn):
    raise KeyError("sooner")

def test_skips():
    pytest.skip("not \N{SNOWMAN} today")

@pytest.mark.xfail(reason="known")
def test_expected():
    assert 0

def test_long():
    assert 0, "\N{SNOWMAN}" * 2000

def test_crashes():
    os._exit(3)
''')
    done = run(embed, sys.executable, root, tmp=root)
    told = {name: (int(value), worker, int(us), message) for name, value, worker, us, message in
            re.findall(r"^test test_a.py::test_(\w+) (\d+) gw(\d+) (\d+) us: (.*)$", done.stdout.decode(), re.M)}
    assert len(told) == 7, done
    value, worker, us, message = told["passes"]
    assert (value, message) == (1, "-") and 200000 <= us < 5000000 and "gw" + worker == (root / "ran-in").read_text(), told
    assert told["fails"][0] == 2 and told["fails"][3] == "AssertionError: first line", told
    assert told["fails_twice"][0] in (2, 6) and told["fails_twice"][3] == "KeyError: 'sooner'", told
    assert told["skips"][0] == 3 and told["skips"][3] == "not \N{SNOWMAN} today", told
    assert told["expected"][0] == 4 and told["expected"][3] == "known", told
    assert told["long"][3].startswith("AssertionError: \N{SNOWMAN}") and 900 < len(told["long"][3].encode()) <= 1000, told
    assert told["crashes"][0] == 7 and re.match(r"worker 'gw\d' crashed while running 'test_a.py::test_crashes'", told["crashes"][3]), told
    assert not re.search("\ufffd", done.stdout.decode()), done


def other_header(prefix, where, version):
    """xd.h as another version had it, or will have it."""
    text = (prefix / "include" / "xd.h").read_text()
    for name, least in (("event", 4), ("result", 11)):
        if version == "older":
            text, n = re.subn(r"    /\* Up to here: all versions\.[^}]*(\} xd_%s;)" % name, r"\1", text)
            init = "#define XD_%s_INIT { sizeof(xd_%s)%s }\n" % (name.upper(), name, ", 0" * least)
        else:
            text, n = re.subn(r"(\} xd_%s;)" % name, r"    uint64_t later[8];\n\1", text)
            init = "#define XD_%s_INIT { .size = sizeof(xd_%s) }\n" % (name.upper(), name)
        text, m = re.subn(r"#define XD_%s_INIT(.*\\\n)*.*\n" % name.upper(), lambda _: init, text)
        assert (n, m) == (1, 1), text
    where.mkdir()
    (where / "xd.h").write_text(text)
    return where


@pytest.mark.parametrize("sanitize", (False, True), ids=("plain", "asan"))
@pytest.mark.parametrize("version", ("older", "newer"))
def test_programs_of_other_versions(prefix, suite, tmp_path, version, sanitize):
    """Neither writes the library past the structures of a program that has less, nor does one that has more misread it."""
    program, lib = tmp_path / "embed_sized", library_dir(prefix)
    call("cc", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", *(["-fsanitize=address"] if sanitize else []), "-D" + version.upper(),
         "-I", other_header(prefix, tmp_path / "include", version), os.path.join(HERE, "embed_sized.c"), "-o", program, "-L", lib, "-lxd",
         "-Wl,-rpath," + str(lib))
    done = run(program, sys.executable, suite, env=dict(ASAN_OPTIONS="detect_leaks=0"))
    assert done.returncode == 1 and not done.stderr, done
    assert done.stdout.decode().splitlines() == ["taken 1: 1 events, 19 of 20 passed, untouched", "called 1: 20 events, 19 of 20 passed, untouched"], done


@pytest.mark.parametrize("compiler", (("cc", "-std=c99", "-xc"), ("c++", "-std=c++11", "-xc++")), ids=("c99", "c++"))
def test_the_header_is_strict(prefix, tmp_path, compiler):
    if not shutil.which(compiler[0]):
        pytest.skip("no %s on this machine" % compiler[0])
    (tmp_path / "a.c").write_text("#include <xd.h>\nint a(void);\nint a(void)\n{\n    xd_event e = XD_EVENT_INIT;\n    xd_result r = XD_RESULT_INIT;\n"
                                  "    return XD_HAS(&e, collection) && XD_HAS(&r, run_dir) && r.size == sizeof(r);\n}\n")
    call(*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", prefix / "include", "-c", tmp_path / "a.c", "-o", tmp_path / "a.o")


@pytest.mark.parametrize("library", ("xd", "xd_static"))
def test_by_cmake(prefix, suite, tmp_path, library):
    shutil.copy(os.path.join(HERE, "embed.c"), str(tmp_path))
    (tmp_path / "CMakeLists.txt").write_text(CMAKELISTS % library)
    call("cmake", "-S", tmp_path, "-B", tmp_path / "b", "-DCMAKE_PREFIX_PATH=" + str(prefix))
    call("cmake", "--build", tmp_path / "b")
    env = dict(XD_AGENT=str(prefix / "libexec" / "xd" / "xdagent")) if library == "xd_static" else {}  # the shared one looks from where it lies
    done = run(tmp_path / "b" / "embed", sys.executable, suite, "-k", "not 3", tmp=suite, env=env)
    assert done.returncode == 0, done


def test_stopped_from_a_callback(embed, suite):
    done = run(embed, sys.executable, suite, tmp=suite, env=dict(STOP_AFTER="4"))
    assert done.returncode == 2, done
    assert 4 <= len(re.findall("^test ", done.stdout.decode(), re.M)) < 20


def test_two_runs_in_one_process(embed, suite):
    done = run(embed, "--twice", sys.executable, suite, tmp=suite)
    assert done.returncode == 1 and done.stdout.decode().count("finished 1: 20 collected, 19 passed, 1 failed, 0 not run") == 2, done
    assert done.stdout.decode().count("started 20 tests, 2 workers") == 2


def test_two_runs_in_folders_of_their_own(embed, tmp_path):
    """Without a chdir: each takes place in its folder, keeps what it keeps below it, and finds its own run again."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for i, folder in enumerate(folders):
        folder.mkdir()
        (folder / "test_a.py").write_text("import os\n" + "def test_where():\n    assert os.getcwd() == %r\n" % str(folder) +
                                          "".join("def test_%d(): pass\n" % n for n in range(i)))
    done = run(embed, "--apart", sys.executable, *folders, tmp=tmp_path / "x")
    out = done.stdout.decode()
    assert done.returncode == 0 and not done.stderr, done
    assert re.findall("^apart.*", out, re.M) == ["apart 0: %d passed, 0 not run, 1 runs, the latest is this one" % n for n in (1, 2)], out
    for folder in folders:
        assert re.search("^run [0-9a-f]{32} in %s/kept/state/runs/" % folder, out, re.M), out
        assert list((folder / "kept" / "cache").glob("one-*/history.db" if folder.name == "one" else "two-*/history.db"))
    assert not (tmp_path / "x-state").exists() and not (tmp_path / "x-cache").exists()


def two_folders(tmp_path, tests, body="pass"):
    """Two projects whose tests have the same names, and say where they ran."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "test_a.py").write_text("import os, time, pytest\n@pytest.mark.parametrize('n', range(%d))\ndef test_n(n):\n"
                                          "    assert os.getcwd() == %r\n    %s\n" % (tests, str(folder), body))
    return folders


def outcomes_in_journals(folder, prefix):
    """For each run below the folder, what its own journal says of each test."""
    told = []
    for where in sorted((folder / "kept" / "state" / "runs").glob("*/journal")):
        out = call(prefix / "bin" / "xdctl", "report", "jsonl", str(where.parent))
        tests = [json.loads(line) for line in out.splitlines()]
        told.append({e["nodeid"]: e["outcome"] for e in tests if e["event"] == "test"})
        assert {e["cwd"] for e in tests if e["event"] == "run_start"} == {str(folder)}
    return told


def test_two_runs_through_one_broker(prefix, embed, tmp_path):
    """At once, and two more after them: each has its own journal with its own tests, and its own result."""
    folders = two_folders(tmp_path, 30, "time.sleep(0.01)")
    (folders[1] / "test_b.py").write_text("def test_fails(): assert 0\n")
    done = run(embed, "--shared", sys.executable, *folders, tmp=tmp_path / "x")
    out = done.stdout.decode()
    assert done.returncode == 1 and not done.stderr, done
    assert re.findall("^(?:apart|[0-9]).*", out, re.M) == [
        "1 brokers", "apart 0: 30 passed, 0 not run, 1 runs, the latest is this one", "apart 1: 30 passed, 0 not run, 1 runs, the latest is this one",
        "1 brokers", "apart 0: 30 passed, 0 not run, 2 runs, the latest is this one", "apart 1: 30 passed, 0 not run, 2 runs, the latest is this one",
        "0 brokers at the end"], out
    passed = {"test_a.py::test_n[%d]" % n: "passed" for n in range(30)}
    assert outcomes_in_journals(folders[0], prefix) == [passed] * 2
    assert outcomes_in_journals(folders[1], prefix) == [dict(passed, **{"test_b.py::test_fails": "failed"})] * 2


def test_a_run_that_is_stopped_leaves_the_other_alone(prefix, embed, tmp_path):
    folders = two_folders(tmp_path, 40, "time.sleep(0.05)")
    done = run(embed, "--shared", sys.executable, *folders, tmp=tmp_path / "x", env={"STOP_AFTER": "3"})
    out = done.stdout.decode()
    assert done.returncode == 2, done
    stopped = re.findall(r"^apart 2: \d+ passed, (\d+) not run", out, re.M)
    assert len(stopped) == 2 and all(int(n) > 20 for n in stopped), out
    assert out.count("apart 0: 40 passed, 0 not run, ") == 2, out
    assert [len(t) for t in outcomes_in_journals(folders[1], prefix)] == [40, 40]


def test_an_agent_that_dies_is_lost_to_its_own_run(prefix, embed, tmp_path):
    folders = two_folders(tmp_path, 40, "time.sleep(0.02)")
    (folders[0] / "test_b.py").write_text('''
import os, signal, time

def test_kills():
    pid = os.getppid()
    while open("/proc/%d/comm" % pid).read().strip() != "xdagent":
        pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    time.sleep(30)
''')
    done = run(embed, "--shared", sys.executable, *folders, tmp=tmp_path / "x")
    out = done.stdout.decode()
    assert done.returncode == 6, done
    assert len(re.findall("^apart 6: ", out, re.M)) == 2 and out.count("apart 0: 40 passed, 0 not run, ") == 2, done


def test_what_is_set_too_late_is_ignored_and_an_early_stop_is_not_lost(embed, suite, tmp_path):
    """A stop before the start was taken for one of the run: it was abandoned after 15 s. One by a callback before
    xd_engine_start had returned did nothing."""
    (suite / "test_a.py").write_text("import time\ndef test_long(): time.sleep(16)\n")
    (tmp_path / "x-state").write_text("a file: the run's folder is elsewhere, and a note says so")
    done = run(embed, "--misused", sys.executable, suite, tmp=tmp_path / "x")
    assert (done.returncode, done.stdout.decode().splitlines()) == (0, [
        "start 0", "changed while it runs: exit code 0, 1 passed, 0 not run",
        "start 0", "stopped by the first note: exit code 2, 0 passed, 0 not run"]), done


def test_too_few_descriptors_are_told_and_end_no_program(embed, tmp_path):
    """libzmq aborts the process where it finds none; the next run on another broker has all it needs."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_a.py").write_text("def test_a(): pass\n")
    done = run(embed, "--crowded", sys.executable, tmp_path / "suite")
    out = done.stdout.decode().splitlines()
    assert done.returncode == 0, (done.returncode, out[-3:], done.stderr)
    told = {(how, int(left)): said for how, left, said in re.findall(r"^(alone|shared), (\d+) left: (.*)", "\n".join(out), re.M)}
    assert len(told) == 2 * 21, out
    limit = "the limit of open files is 256, of which %d can be opened now; %s: raise it (ulimit -n 1024)"
    for left in range(10):
        assert told["alone", left] == "0 -24 " + limit % (left, "this run needs 37"), told
        if left < 7:
            assert told["shared", left] == "-24 0 " + limit % (left, "a broker needs 7"), told
    assert [said for said in told.values() if said not in ("0 0 ", ) and "the limit of open files" not in said] == [], told
    assert told["alone", 60] == told["shared", 60] == "0 0 " and out.count("crowded: exit code 0, 1 passed, 0 not run") == 2, out
    assert not [line for line in out if "files are open" in line], out


def test_bad_configuration_is_one_line(embed, suite):
    done = run(embed, "/nowhere/python", suite, tmp=suite)
    assert done.returncode == 6 and b"/nowhere/python" in done.stderr + done.stdout, done
    done = run(embed, sys.executable, suite, "--tx=popen//colour=red", tmp=suite)
    assert done.returncode == 3 and done.stderr.count(b"\n") == 1 and b"colour" in done.stderr, done


def test_exports_are_the_headers(prefix):
    if not shutil.which("nm"):
        pytest.skip("no nm on this machine")
    exported = {line.split()[-1].partition("@")[0] for line in call("nm", "-D", "--defined-only", library_dir(prefix) / "libxd.so").splitlines()}
    exported = {name for name in exported if not re.match("XD_[0-9.]+$|libxd", name)}
    header = (prefix / "include" / "xd.h").read_text()
    assert exported == set(re.findall(r"^XD_API [^;]*?\b(xd_\w+)\(", header, re.M))


def test_no_mutable_globals(prefix):
    """Several engines live in one process: the library holds no state of its own."""
    if not shutil.which("objdump"):
        pytest.skip("no objdump on this machine")
    archive = next(prefix.rglob("libxd*.a"))
    found = [line for line in call("objdump", "-t", archive).splitlines() if re.search(r" O \.(data|bss|tdata|tbss)(\.(?!rel\.ro)\S*)?\s", line)]
    # Where the unwinder of C++ (actors/toml_file.cpp) finds its own functions: the compiler makes these pointers, and nothing changes them.
    found = [line for line in found if not line.split()[-1].startswith("DW.ref.")]
    assert not found, found
