"""`xdctl hosts check` over ssh: twenty hosts at once, of which many fail, each in a way of its own; every cause is named, in the column of what is missing."""
import glob
import json
import os
import re
import subprocess
import sys
import time

import pytest

COLUMNS = ("reach", "key", "agent", "python", "pytest", "disk")
G, B, N = True, False, None  # good, bad, not looked at

# name of a host, what it is, its row, what is said of it
HOSTS = [
    ("good", {}, (G, G, G, G, G, G), None),
    ("refused", {"server": "none"}, (B, N, N, N, N, N), "refused"),
    ("mute", {"server": "mute"}, (B, N, N, N, N, N), "does not answer|timed out|in time"),
    ("cut", {"server": "cut"}, None, "closed|broke off|reset"),
    ("unknown", {}, (G, B, N, N, N, N), "Host key verification failed|--ssh-accept-new"),
    ("changed", {}, (G, B, N, N, N, N), "CHANGED"),
    ("denied", {"sshd": ["DenyUsers root"]}, (G, B, N, N, N, N), "Permission denied"),
    ("nokey", {"sshd": ["PubkeyAuthentication no", "PasswordAuthentication no"]}, (G, B, N, N, N, N), "Permission denied"),
    ("nologin", {"shell": "/usr/sbin/nologin"}, (G, G, B, N, N, N), "not available"),
    ("forced", {"sshd": ["ForceCommand echo only this"]}, (G, G, B, N, N, N), "only this"),
    ("nosession", {"sshd": ["MaxSessions 0"]}, (G, G, B, N, N, N), "MaxSessions|session"),
    ("nopython", {"python": None}, (G, G, G, B, N, G), "no Python interpreter|python3 does not exist"),
    ("nopytest", {"python": "bare"}, (G, G, G, G, B, G), "has no pytest"),
    ("full", {"storage": {"~": "full"}}, (G, G, G, G, G, B), "there is no room on the disk of /root/here: less than 1 MiB is free"),
    ("readonly", {"storage": {"~": "readonly"}}, (G, G, G, N, N, B), "chdir=here: Read-only file system"),
    ("noisy", {"banner": 50, "profile": "echo hello"}, (G, G, G, G, G, G), None),
]


@pytest.fixture(params=["openssh", "libssh"])
def way(request):
    return request.param


def test_every_cause_is_named(lab, project, way):
    made = lab([dict(plan, name=name) for name, plan, _row, _said in HOSTS] + [{} for _ in range(4)], project=project)
    lines = made.known_hosts.read_text().splitlines()
    key = made.key.with_suffix(".pub").read_text().split()[1]
    of = {host.name: host for host in made.hosts}

    keys = {name: next(line.split()[2] for line in lines if line.startswith("[%s]:" % name)) for name in ("unknown", "changed")}
    lines = [line.replace(keys["changed"], key) for line in lines if keys["unknown"] not in line]
    made.known_hosts.write_text("".join(line + "\n" for line in lines))
    rest = [host.name for host in made.hosts if host.name not in {name for name, *_ in HOSTS}]
    names = [name for name, *_ in HOSTS] + rest + ["nowhere.invalid"]
    project.write(**{"hosts.txt": "# twenty-one\r\n" + "".join("%s\r\n" % made.spec(name, chdir="here").replace("ssh=", "2*ssh=") for name in names)})
    args = ["--ssh=" + way, "--hosts=hosts.txt"]
    begin = time.monotonic()
    result = project.xdctl("hosts", "check", "--json", *args)
    assert time.monotonic() - begin < 40 and result.rc == 6 and result.err == "", result
    found = dict(zip(names, json.loads(result.out)))
    for name, _plan, row, said in HOSTS + [(name, {}, (G, G, G, G, G, G), None) for name in rest] + [("nowhere.invalid", {}, (B, N, N, N, N, N), "resolve")]:
        host = found[name]
        assert host["ok"] == (said is None), host
        assert row is None or tuple(host[c] for c in COLUMNS) == row, (name, host)
        assert said is None or (re.search(said, host["error"]) and "\n" not in host["error"]), (name, host)
        assert host["workers"] == 2 and (host["host"] == name or not host["reach"] or not host["agent"]), (name, host)
    assert len(of) == 20 and found["good"]["cpus"] >= 1 and found["good"]["framework"] == "pytest " + pytest.__version__
    table = project.xdctl("hosts", "check", *args).out.splitlines()
    notes = [line for line in table if ": packages " in line]
    table = [line for line in table if line not in notes]
    assert all(h["packages"] for h in found.values() if h["python"]) and not any(h["packages"] for h in found.values() if not h["python"]), found
    (bare,) = [h["packages"] for h in found.values() if h["python"] and not h["pytest"]]
    assert {"pytest", "pluggy"} < {p["name"] for p in bare["missing"]}, bare
    assert len(table) == 1 + 21 + sum(not h["ok"] for h in found.values())
    place = table[0].index("REACH")
    for line, name in zip(table[1:22], names):
        assert line.startswith("ssh=%s//" % name) and line[place - 2:place] == "  " and line[place] != " " and len(line) == len(table[0]), line
    assert [line.partition("//")[0] for line in table[22:]] == ["ssh=" + name for name in names if not found[name]["ok"]]


# ---- packages


def install(folder, name, version, **files):
    """As far as its metadata goes, in a folder that is no site-packages."""
    info = folder / ("%s-%s.dist-info" % (name.replace("-", "_"), version))
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: %s\n\nName: not this\n" % (name, version))
    for name, text in files.items():
        (info / {"plugin": "entry_points.txt", "url": "direct_url.json"}[name]).write_text(text)


PLUGIN = "[console_scripts]\na = b:c\n\n[ pytest11 ]\nfake = fake\n"


@pytest.fixture
def here(project):
    """Folders of packages: what is on $PYTHONPATH here, and there."""
    folder = project.path / "here"
    folder.mkdir()
    project.packages = [str(folder)]
    return folder


@pytest.fixture
def there(project):
    folder = project.path / "there"
    folder.mkdir()
    return folder


def compare(project, there, *args):
    spec = "popen//env:PYTHONPATH=%s" % there
    result = project.xdctl("hosts", "check", "--python", project.python, "--tx", spec, *args)
    assert result.rc == 0 and result.err == "", result
    if "--json" in args:
        return json.loads(result.out)[0]
    assert all(line.startswith(spec + ": packages ") for line in result.out.splitlines()[2:]), result
    return [line[len(spec) + 2:] for line in result.out.splitlines()[2:]]


def test_packages_that_differ_are_named(project, here, there):
    for folder, packages in ((here, "Zope.Interface 1.0, attrs 24.2, same 1, pip 99, only-here 3"), (there, "zope_interface 1.0, attrs 23.1, same 1, other 5.1")):
        for package in packages.split(", "):
            install(folder, *package.split())
    install(here, "pytest-fake", "2.0", plugin=PLUGIN)
    install(there, "pytest-other", "7", plugin=PLUGIN)
    line = "packages differ from here: pytest-fake missing, attrs 23.1 (here 24.2), only-here missing"
    assert compare(project, there) == [line]
    assert compare(project, there, "-v") == [line + "; only there: pytest-other 7, other 5.1"] == compare(project, there, "--verbose")
    host = compare(project, there, "--json")
    version = "%d.%d.%d" % sys.version_info[:3]
    assert host["ok"] and host["packages_error"] is None and host["packages"] == {
        "python": {"here": version, "there": version},
        "missing": [{"name": "pytest-fake", "here": "2.0", "there": None, "plugin": True}, {"name": "only-here", "here": "3", "there": None, "plugin": False}],
        "differ": [{"name": "attrs", "here": "24.2", "there": "23.1", "plugin": False}],
        "extra": [{"name": "pytest-other", "here": None, "there": "7", "plugin": True}, {"name": "other", "here": None, "there": "5.1", "plugin": False}]}, host


def test_equal_packages_need_no_line(project, here, there):
    install(here, "same", "1")
    install(there, "same", "1")
    install(there, "more", "1")
    assert compare(project, there) == []
    assert compare(project, there, "-v") == ["packages differ from here: only there: more 1"]
    result = project.xdctl("hosts", "check", "--python", project.python, "--tx=popen", "--json")
    host, = json.loads(result.out)
    assert (host["packages"], host["packages_error"]) == (None, None), "it is the environment here"


def test_many_packages_are_counted(project, here, there):
    for n in range(20):
        install(here, "package%02d" % n, "1")
    line, = compare(project, there)
    assert line == "packages differ from here: %s, and 12 more (-v names them)" % ", ".join("package%02d missing" % n for n in range(8))
    line, = compare(project, there, "-v")
    assert line == "packages differ from here: %s" % ", ".join("package%02d missing" % n for n in range(20))


def test_what_the_sync_brings_is_not_compared(project, here, there):
    install(here, "editable", "1", url='{"url": "file:///src", "dir_info": {"editable": true}}')
    install(here, "wheel-of-mine", "1", url='{"url": "file:///src", "dir_info": {}}')
    install(here, "broken-url", "1", url="{")
    install(project.root / "vendor", "vendored", "1")
    install(project.root / "env" / "lib" / "python3" / "site-packages", "ours-not", "1")  # a virtual environment in the project
    linked = project.path / "linked"
    linked.mkdir()
    (linked / "setup.py").write_text("")
    install(linked, "linked", "1")
    project.packages += [str(p) for p in (project.root / "vendor", project.root / "env" / "lib" / "python3" / "site-packages", linked)]
    install(there, "editable", "3")
    assert compare(project, there) == ["packages differ from here: broken-url missing, ours-not missing, wheel-of-mine missing"]
    (project.root / ".git").mkdir()
    (project.root / "deep").mkdir()
    assert compare(project, there, "--work-dir=deep") == ["packages differ from here: broken-url missing, ours-not missing, wheel-of-mine missing"]


def test_odd_metadata(project, here, there):
    """Harmless on a terminal; what cannot be read is no package; the first on sys.path counts."""
    second = project.path / "second"
    install(here, "twice", "1")
    install(second, "twice", "2")
    install(there, "twice", "1")
    project.packages.append(str(second))
    for name, text in (("empty", ""), ("latin", "Name: b\xe9\nVersion: 1\n"), ("nameless", "Version: 1\n")):
        (here / (name + "-1.dist-info")).mkdir()
        (here / (name + "-1.dist-info") / "METADATA").write_bytes(text.encode("latin-1"))
    (here / "versionless-1.dist-info").mkdir()
    (here / "versionless-1.dist-info" / "METADATA").write_text("Name: versionless\n\n")
    (here / "bad-1.dist-info").mkdir()
    (here / "bad-1.dist-info" / "METADATA").write_text("Name: \x1b[31mred\u00e9 one\nVersion: 1\x07  2\n", encoding="utf-8")
    (here / "old-1.egg-info").write_text("Metadata-Version: 1.0\nName: old_style\nVersion: 0.9\n")
    line, = compare(project, there)
    assert line == "packages differ from here: \\x1b[31mred\u00e9-one missing, old-style missing, versionless missing"


def as_sitecustomize(folder, text):
    (folder / "sitecustomize.py").write_text(text)


NO_METADATA = "import sys\nfor name in ('importlib.metadata', 'importlib_metadata', 'pkg_resources'): sys.modules[name] = None\n"


def uncompared(project, there, more=""):
    spec = "popen//env:PYTHONPATH=%s" % there
    result = project.xdctl("hosts", "check", "--python", project.python, "--tx", spec)
    return result, [line[len(spec) + 2:] for line in result.out.splitlines() if ": packages " in line]


def test_an_interpreter_that_cannot_list(project, here, there):
    """pytest itself needs importlib.metadata: that is another line, and the failure."""
    as_sitecustomize(there, NO_METADATA)
    result, lines = uncompared(project, there)
    assert result.rc == 6 and lines == ["packages are not compared with those here: its Python has neither importlib.metadata nor pkg_resources"], result


def test_an_older_interpreter_lists_by_other_means(project, here, there):
    install(there, "by-resources", "2")
    as_sitecustomize(there, NO_METADATA.replace(", 'pkg_resources'", ""))
    (there / "pkg_resources.py").write_text(
        "class One:\n    location = %r\n    def has_metadata(self, name): return name == 'METADATA'\n"
        "    def get_metadata(self, name): return 'Name: By_Resources\\nVersion: 2\\n'\n"
        "def WorkingSet(): return [One()]\n" % str(there))
    install(here, "by-resources", "1")
    _result, (line,) = uncompared(project, there)
    assert line.startswith("packages differ from here: ") and "by-resources 2 (here 1)" in line, line


def test_a_list_that_does_not_come(project, here, there):
    """The host is as good as without it; the wait is shorter here."""
    as_sitecustomize(there, "import importlib.metadata, sys, threading\n"
                            "class Late:\n    def find_spec(self, name, path=None, target=None):\n"
                            "        if name == 'xd_pytest.installed':\n"
                            "            importlib.metadata.distributions = lambda: threading.Event().wait()\n"
                            "            join = threading.Thread.join\n"
                            "            threading.Thread.join = lambda self, seconds=None: join(self, seconds / 100)\n"
                            "sys.meta_path.insert(0, Late())\n")
    result, lines = uncompared(project, there)
    assert result.rc == 0 and lines == ["packages are not compared with those here: its packages could not be read within 20 s"], result


def test_a_list_that_is_cut_off(project, here, there):
    """Half a list would name the rest as missing."""
    as_sitecustomize(there, "import os\nos.write_once = os.write\nos.write = lambda fd, data: os.write_once(fd, data if not data.startswith(b'package ') else data[:30]) * 1000\n")
    install(there, "a", "1")
    result, lines = uncompared(project, there)
    assert result.rc == 0 and lines == ["packages are not compared with those here: the list of its packages is not complete"], result


@pytest.mark.parametrize("count,size,listed", [(9000, 20, True), (10001, 10, False), (9000, 190, False)])
def test_very_many_packages(project, here, there, count, size, listed):
    as_sitecustomize(there, "import importlib.metadata\n"
                            "class One:\n    def __init__(self, n): self.n = n\n"
                            "    def read_text(self, name): return 'Name: %%s%%d\\nVersion: 1\\n' %% ('x' * %d, self.n) if name == 'METADATA' else None\n"
                            "    def locate_file(self, name): return '/nowhere'\n"
                            "def many(*args, **more): return [One(n) for n in range(%d)] if not more else ()\n"
                            "importlib.metadata.distributions = many\n" % (size, count))
    host, = json.loads(project.xdctl("hosts", "check", "--json", "--python", project.python, "--tx", "popen//env:PYTHONPATH=%s" % there).out)
    if listed:
        assert len(host["packages"]["extra"]) == count and host["ok"], (host["packages_error"], host["error"])
    else:
        assert host["packages"] is None and host["packages_error"] == "its Python has more than 10,000 packages, or very long names", host["packages_error"]


def test_two_virtual_environments(project):
    """Real ones, of which one has no pytest: nothing that a run here could be compared with."""
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(project.path / name)], check=True)
    one, two = (project.path / name for name in ("one", "two"))
    site = next((two / "lib").iterdir()) / "site-packages"
    (site / "tests.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    install(site, "attrs", "1")
    spec = "popen//python=%s" % (one / "bin" / "python")
    result = project.xdctl("hosts", "check", "--json", "--tx", spec, env={"VIRTUAL_ENV": str(two)})
    host, = json.loads(result.out)
    missing = {p["name"]: p["here"] for p in host["packages"]["missing"]}
    assert result.rc == 6 and missing["attrs"] == "1" and missing["pytest"] == pytest.__version__, host
    specs = ["--tx=popen//python=%s" % (two / "bin" / "python"), "--tx=popen//chdir=x//python=%s" % (two / "bin" / "python")]
    result = project.xdctl("hosts", "check", *specs, env={"VIRTUAL_ENV": str(one)})
    line, = [line for line in result.out.splitlines() if ": packages " in line]
    assert result.rc == 0 and re.search(r"^popen//python=\S+ and 1 more: packages are not compared with those here: here: \S+ \(Python \S+\) has no pytest", line), result


def test_another_python(project, here):
    """Only its version is another: the minor one counts."""
    result = project.xdctl("hosts", "check", "--json", "--python", project.python, "--tx=popen//env:A=b")
    assert "Python" not in result.out
    others = [p for p in ["/usr/bin/python3"] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python")))
              if subprocess.run([p, "-c", "import sys; sys.exit(sys.version_info[:2] == %r)" % (tuple(sys.version_info[:2]),)]).returncode == 0]
    if not others:
        pytest.skip("no other Python here")
    line = next(line for line in project.xdctl("hosts", "check", "--python", project.python, "--tx=popen//python=" + others[0]).out.splitlines() if "packages" in line)
    assert re.search(r"packages differ from here: Python 3\.\d+\.\d+ \(here %d\.%d\.%d\), " % sys.version_info[:3], line), line


def test_it_leaves_no_folder_behind(lab, project):
    """Those that a run would make are made to look at, and removed."""
    hosts = lab(1, project=project)
    for spec in (hosts.spec("h1"), hosts.spec("h1", chdir="deep/er")):
        done = project.xdctl("hosts", "check", "--tx", spec)
        assert done.rc == 0, done
    work = hosts["h1"].home / ".cache" / "xd" / "work"
    assert not (hosts["h1"].home / "deep" / "er").exists() and (not work.exists() or not list(work.iterdir()))
