"""Options and texts at the border of what is allowed; outputs that are replaced whole; children that are waited for a bounded time."""
import os
import re
import shutil
import stat
import subprocess
import sys
import time

import pytest

from conftest import HERE, ROOT, XDCTL, clean_environment

SUITE = """
    import os
    def test_uid(testrun_uid): assert len(testrun_uid) == int(os.environ["UID_LENGTH"])
    def test_other(): pass
"""


def program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("addopts, env, words", [
    ("-n 2000", {}, "-n=2000 .*whole number from 0 to 1024"),
    ("-n=1025", {}, "-n=1025 .*whole number from 0 to 1024"),
    ("--maxprocesses=70000", {}, "--maxprocesses=70000 .*from 0 to 65535"),
    ("--max-worker-restart=65536", {}, "--max-worker-restart=65536 .*from 0 to 65535"),
    ("--tx 1000*popen --tx 1000*popen", {}, "pytest.ini:2: spec 'popen': 2000 workers in one environment; it has at most 1024"),
    ("", {"PYTEST_XDIST_AUTO_NUM_WORKERS": "1000000"}, "AUTO_NUM_WORKERS=1000000 .*from 0 to 1024"),
])
def test_numbers_of_the_ini(project, addopts, env, words):
    project.write(test_a="def test(): pass", **{"pytest.ini": "[pytest]\naddopts = %s\n" % addopts})
    r = project.run(env=env)
    assert r.rc == 4 and re.search(words, r.out + r.err), r
    assert "Protocol error" not in r.out + r.err


@pytest.mark.parametrize("args, words", [
    (("--tx", "1024*popen", "--tx", "popen"), "1025 workers in one environment; it has at most 1024"),
    (["--tx=1024*popen//env:A=%d" % i for i in range(33)], "workers in all; a run has at most 32768"),
    (("--grace", "41d"), "at most 40d"), (("-n", "1025"), "from 0 to 1024"), (("--max-worker-restart", "65536"), "from 0 to 65535"),
    (("--runs-size", "9000P"), "such as 100"),
])
def test_numbers_of_the_command_line(project, args, words):
    project.write(test_a="def test(): pass")
    r = project.xdctl("run", *args)
    assert r.rc == 4 and words in r.err and r.err.count("\n") == 1, r


@pytest.mark.parametrize("length", [63, 64, 5000])
def test_a_long_testrunuid(project, length):
    project.write(test_a=SUITE)
    r = project.run("-n", "2", "--testrunuid", "u" * length, env={"UID_LENGTH": str(length)})
    assert r.rc == 0, r


def test_no_output_is_kept(project):
    project.write(test_a="""
        import os
        def test_writes(capfd):
            with capfd.disabled():
                os.write(1, b"loud" * 100)
    """)
    assert "loudloud" in project.run("-n", "1").out
    r = project.run("--output-limit", "0", "-n", "1")
    assert r.rc == 0 and "loudloud" not in r.out and "400 bytes of output left out" in r.out, r


def test_a_report_replaces_its_file_when_it_is_complete(project, tmp_path):
    project.write(test_a="def test(): pass")
    first = project.run("-n", "1")
    out = tmp_path / "out.xml"
    out.write_text("old")
    journal = first.folder / "journal"
    good = journal.read_bytes()
    for bad in (b"not a journal", b""):
        journal.write_bytes(bad)
        r = project.xdctl("report", "-o", out, "junit", first.folder.name)
        assert r.rc == 3 and "is not a journal of xd" in r.err, r
        assert out.read_text() == "old" and os.listdir(str(tmp_path)).count("out.xml") == 1
    journal.write_bytes(good)
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith("out.xml.")]
    r = project.xdctl("report", "-o", out, "junit")
    assert r.rc == 0 and out.read_text().startswith("<?xml"), r
    r = project.xdctl("report", "-o", tmp_path / "no" / "out.xml", "junit")
    assert r.rc != 0 and "cannot write" in r.err, r


def test_stats_are_replaced_whole(project, tmp_path):
    project.write(test_a="def test(): pass")
    (tmp_path / "stats").write_text("old" * 1000)
    assert project.run("--stats", str(tmp_path / "stats"), "-n", "1").rc == 0
    assert (tmp_path / "stats").read_text().endswith("}\n")
    r = project.run("--stats", str(tmp_path / "no" / "stats"), "-n", "1")
    assert r.rc == 3 and "cannot write" in r.err, r


def test_a_named_agent_is_looked_for_on_path(project):
    """As a shell does: a file of that name in this folder is not meant."""
    project.write(test_a="def test(): pass")
    program(project.root / "myagent", "#!/bin/sh\necho here >&2; exit 1\n")
    r = project.run("--agent", "myagent")
    assert r.rc == 6 and "myagent is not a program on PATH (for one in this folder, write ./myagent)" in r.err + r.out, r
    folder = project.path / "bin"
    folder.mkdir()
    agent = os.path.join(os.path.dirname(XDCTL), "xdagent")
    program(folder / "myagent", "#!/bin/sh\nexec '%s' \"$@\"\n" % agent)
    r = project.run("--agent", "myagent", env={"PATH": "%s:%s" % (folder, os.environ["PATH"])})
    assert r.rc == 0, r
    r = project.run("--agent", "./myagent")
    assert r.rc == 6, r
    r = project.run("--agent", str(folder))
    assert r.rc == 6 and "is not an executable program" in r.err + r.out, r


def runs(pid):
    """Not merely waiting for whoever adopted it."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("script, least, most, words", [
    ("(sleep 100 >&1 & echo $! >%s/pid); printf '3.12.1 9.2.0'", 0, 15, None),  # somebody else holds its output open
    ("echo $$ >%s/pid; exec >&- 2>&-; exec sleep 100", 19, 35, "it did not end within 20 s"),
])
def test_doctor_waits_a_bounded_time(project, script, least, most, words):
    fake = program(project.path / "python", "#!/bin/sh\n" + script % project.path + "\n")
    started = time.monotonic()
    r = project.xdctl("doctor", "--python", fake)
    took = time.monotonic() - started
    assert least <= took <= most, (took, r)
    assert words is None or (r.rc == 6 and words in r.out), r
    pid = int((project.path / "pid").read_text())
    deadline = time.monotonic() + 10
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(pid)


@pytest.fixture(scope="module")
def comma(tmp_path_factory):
    """Environment of a locale that writes 0,5; made here, because few machines have one."""
    folder = tmp_path_factory.mktemp("locale")
    if not shutil.which("localedef") or not os.path.exists("/usr/share/i18n/locales/de_DE"):
        pytest.skip("no localedef with its sources (Debian: locales)")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not (folder / "de_DE.UTF-8").exists():
        pytest.skip("localedef made nothing")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.UTF-8"}


def test_numbers_in_another_locale(comma):
    done = subprocess.run([os.path.join(ROOT, "build", "tests", "text_test")], env=clean_environment(**comma), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0 and "decimal comma" not in done.stdout, done.stdout
