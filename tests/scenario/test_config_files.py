"""xd's own configuration: xd.toml, [tool.xd] of pyproject.toml, the user's config.toml, XD_ variables, profiles, lists of hosts; `xdctl config show`."""
import json
import os

import pytest

PASSES = "def test_a(): pass\ndef test_b(): pass\n"


@pytest.fixture(autouse=True)
def files(project):
    """Files count here; a home folder of the test has that of the user."""
    home = project.home = project.path / "home"
    (home / ".config" / "xd").mkdir(parents=True)
    environment = project.environment
    project.environment = lambda **more: environment(**dict(dict(HOME=str(home), XD_CONFIG=""), **more))
    return home / ".config" / "xd" / "config.toml"


@pytest.fixture
def user(files):
    return files


def show(project, *args, **more):
    """{option: (value, origin)}, of lists [(value, origin)]"""
    done = project.xdctl("config", "show", "--json", *args, **more)
    assert done.rc == 0, done
    pair = lambda one: (one["value"], one["origin"])  # noqa: E731
    project.notes = done.err
    return {k: [pair(o) for o in v] if isinstance(v, list) else pair(v) for k, v in json.loads(done.out).items()}


def refused(project, *args, **more):
    """The one line; xdctl run says the same."""
    done = project.xdctl("config", "show", *args, **more)
    assert (done.rc, done.out, done.err.count("\n")) == (4, "", 1) and done.err.startswith("xdctl: "), done
    return done.err[len("xdctl: "):].rstrip("\n")


# ---- where values come from


def test_each_origin(project, user):
    project.write(**{"xd.toml": 'dist = "loadfile"\ngrace = "2s"\n[profile.ci]\nmaxprocesses = 3\n'})
    user.write_text('runs-keep = 7\ngrace = "1s"\n')
    options = show(project, "--profile", "ci", "-n4", env=dict(XD_OUTPUT_LIMIT="2M"))
    assert options["numprocesses"] == ("4", "command line")
    assert options["output-limit"] == ("2M", "XD_OUTPUT_LIMIT")
    assert options["maxprocesses"] == ("3", "profile ci (xd.toml:4)")
    assert options["dist"] == ("loadfile", "xd.toml:1")
    assert options["runs-keep"] == ("7", "~/.config/xd/config.toml:1")
    assert options["grace"] == ("2s", "xd.toml:2")
    assert options["runs-age"] == ("30d", "default")
    assert options["no-fork"] == (False, "default") and options["stats"] == (None, "default") and options["px"] == []


def test_as_a_table(project):
    project.write(**{"xd.toml": 'no-fork = true\ntx = ["popen", "2*popen//env:A=b"]\n'})
    done = project.xdctl("config", "show")
    assert done.rc == 0 and done.err == "", done
    rows = [line.split() for line in done.out.splitlines()]
    assert ["no-fork", "true", "xd.toml:1"] in rows and ["d", "false", "default"] in rows and ["px", "-", "default"] in rows
    assert [r for r in rows if r[0] == "tx"] == [["tx", "popen", "xd.toml:2"], ["tx", "2*popen//env:A=b", "xd.toml:2"]]
    assert [r[0] for r in rows if r[0] != "tx"] == [r[0] for r in (line.split() for line in project.xdctl("config", "show").out.splitlines()) if r[0] != "tx"]


LEVELS = ["command line", "XD_GRACE", "profile p (xd.toml:3)", "xd.toml:1", "~/.config/xd/config.toml:1", "default"]


@pytest.mark.parametrize("most", range(len(LEVELS) - 1), ids=lambda n: LEVELS[n].split()[0])
def test_each_level_counts_more_than_all_below_it(project, user, most):
    """Of each level and those below it, the first one is what counts."""
    own = 'grace = "%ds"\n' % 3 if most <= 3 else "\n"
    project.write(**{"xd.toml": own + "[profile.p]\n" + ('grace = "2s"\n' if most <= 2 else "")})
    user.write_text('grace = "4s"\n')
    options = show(project, "--profile=p", *(["--grace=0s"] if most == 0 else []), env=dict(XD_GRACE="1s") if most <= 1 else {})
    assert options["grace"] == ("%ds" % most, LEVELS[most])


def test_pytests_configuration_counts_less(project):
    project.write(test_a=PASSES, **{"pytest.ini": "[pytest]\naddopts = -n 3 --dist loadscope\n", "xd.toml": "numprocesses = 2\n"})
    assert "2 workers [" in project.run().out
    (project.root / "xd.toml").write_text("")
    assert "3 workers [" in project.run(env=dict(PYTEST_ADDOPTS="")).out
    assert "1 worker [" in project.run(env=dict(XD_NUMPROCESSES="1")).out


def test_pytests_configuration_is_shown(project):
    """With the places that a run counts them from: what pytest's files say is below all that xd's say, and what counts nothing is not shown."""
    project.write(conftest="option_tx = ['popen//env:A=1',\n  'popen//env:A=2']\noption_dist = True\n", test_a=PASSES,
                  **{"pytest.ini": "[pytest]\naddopts = -v\n  --tx popen//env:A=3\n  --maxprocesses 5 --max-worker-restart=7 --dist=loadfile\n"})
    options = show(project, "--tx", "popen//env:A=5", env=dict(PYTEST_ADDOPTS="--tx popen//env:A=4 --testrunuid mine"))
    assert options["tx"] == [("popen//env:A=1", "conftest.py:1"), ("popen//env:A=2", "conftest.py:2"), ("popen//env:A=3", "pytest.ini:3"),
                             ("popen//env:A=4", "$PYTEST_ADDOPTS"), ("popen//env:A=5", "command line")]
    assert options["dist"] == ("loadfile", "pytest.ini:4") and options["testrunuid"] == ("mine", "$PYTEST_ADDOPTS")
    assert options["maxprocesses"] == ("5", "pytest.ini:4") and options["max-worker-restart"] == ("7", "pytest.ini:4")
    options = show(project, "--dist=load", "--maxprocesses=2", "--max-worker-restart=1")
    assert [options[k] for k in ("dist", "maxprocesses", "max-worker-restart")] == [("load", "command line"), ("2", "command line"), ("1", "command line")]
    # a number of workers, and what it does to specs
    for args, env, said in (([], {}, (None, "default")), ([], dict(PYTEST_ADDOPTS="-n 3"), ("3", "$PYTEST_ADDOPTS")), (["-n2"], dict(PYTEST_ADDOPTS="-n 3"), ("2", "command line")),
                            (["--tx=popen"], dict(PYTEST_ADDOPTS="-n 3"), (None, "default"))):
        options = show(project, *args, env=env)
        assert options["numprocesses"] == (said if said[0] else ("auto", "default")), (args, env)
        below = [] if env else ["conftest.py:1", "conftest.py:2", "pytest.ini:3"]  # a number overrides those of its own place and below
        assert [origin for _, origin in options["tx"]] == (["default"] if said[0] else below + ["command line"] * len(args))
    (project.root / "xd.toml").write_text('dist = "worksteal"\n')
    assert show(project)["dist"] == ("worksteal", "xd.toml:1")
    # what cannot be read, and what is not valid
    project.write(conftest="option_tx = [x]\n")
    assert "conftest.py:1: option_tx is not" in project.xdctl("config", "show").err
    project.write(conftest="\noption_tx = ['popen//colour=red']\n")
    assert refused(project).startswith("conftest.py:2: ")


def test_lists_add_up(project, user):
    project.write(**{"xd.toml": 'tx = ["popen//env:A=1"]\nrsyncdir = "src"\n[profile.default]\ntx = "popen//env:A=2"\n'})
    user.write_text('tx = "popen//env:A=0"\n')
    options = show(project, "--tx", "popen//env:A=4", "--rsyncdir=lib", env=dict(XD_TX="popen//env:A=3"))
    assert options["tx"] == [("popen//env:A=0", "~/.config/xd/config.toml:1"), ("popen//env:A=1", "xd.toml:1"), ("popen//env:A=2", "profile default (xd.toml:4)"),
                             ("popen//env:A=3", "XD_TX"), ("popen//env:A=4", "command line")]
    assert options["rsyncdir"] == [(str(project.root / "src"), "xd.toml:2"), ("lib", "command line")]
    (project.root / "xd.toml").write_text("tx = []\n")
    assert show(project)["tx"] == [("popen", "default")]


def test_a_run_uses_what_a_file_says(project):
    project.write(test_a="import os\ndef test_a(): assert os.environ['A'] == 'b'\ndef test_b(): pass\n",
                  **{"xd.toml": 'tx = "2*popen//env:A=b"\ntestrunuid = "mine"\n'})
    xd = project.run()
    assert xd.rc == 0 and "2 workers [" in xd.out, xd
    assert "3 workers [" in project.run(env=dict(XD_TX="popen//env:A=b//env:C=d")).out


@pytest.mark.parametrize("where, text", [("xd.toml", "numprocesses = 3\n"), ("env", None)])
def test_specs_on_the_command_line_over_a_number_below(project, where, text):
    if text:
        project.write(**{where: text})
    options = show(project, "--tx", "2*popen", env={} if text else dict(XD_NUMPROCESSES="3"))
    assert options["numprocesses"] == ("auto", "default") and options["tx"] == [("2*popen", "command line")]
    assert show(project, "--tx", "2*popen", "-n5")["numprocesses"] == ("5", "command line")


# ---- which files


def test_pyproject(project):
    project.write(**{"pyproject.toml": '[project]\nname = "p"\n[tool.xd]\ndist = "loadgroup"\n[tool.xd.profile.ci]\ngrace = "3s"\n[tool.xd.hosts]\nlab = "3*popen"\n'})
    options = show(project, "--profile=ci", "--tx=@lab")
    assert options["dist"] == ("loadgroup", "pyproject.toml:4") and options["grace"] == ("3s", "profile ci (pyproject.toml:6)")
    assert options["tx"] == [("3*popen", "@lab, command line")]
    (project.root / "sub").mkdir()
    assert show(project, cwd=project.root / "sub")["dist"][0] == "loadgroup"


@pytest.mark.parametrize("text", ['[project]\nname = "pytest-xdist"\n', "[tool.xdist]\na = 1\n", "[tool.pytest.ini_options]\naddopts = 'xd\n", "broken xdist ="], ids=repr)
def test_a_pyproject_that_is_not_xds(project, text):
    if "'xd\n" in text:  # xd stands in it as a word: it is read, and its fault told
        project.write(**{"pyproject.toml": text})
        assert refused(project).startswith("pyproject.toml:2:")
        return
    project.write(**{"pyproject.toml": text})
    assert show(project)["dist"] == ("load", "default")


def test_both_files(project):
    project.write(test_a=PASSES, **{"xd.toml": 'dist = "loadfile"\n', "pyproject.toml": '[tool.xd]\ndist = "loadgroup"\nnonsense = 1\n'})
    note = "xd.toml counts: the table tool.xd of pyproject.toml is not read"
    assert show(project)["dist"] == ("loadfile", "xd.toml:1") and project.notes == "xdctl: %s\n" % note
    xd = project.run("-n1")
    assert xd.rc == 0 and xd.out.count(note) == 1, xd
    (project.root / "pyproject.toml").write_text("[project]\n")
    show(project)
    assert project.notes == ""


def test_which_folder(project):
    """pytest's rootdir; where nothing says which that is, the nearest above."""
    deep = project.root / "a" / "b"
    deep.mkdir(parents=True)
    project.write(**{"xd.toml": "runs-keep = 1\n"})
    assert show(project, cwd=deep)["runs-keep"] == ("1", str(project.root / "xd.toml") + ":1")
    assert show(project, "a/b")["runs-keep"] == ("1", "xd.toml:1")
    (project.root / "a" / "pytest.ini").write_text("[pytest]\n")
    assert show(project, cwd=deep)["runs-keep"] == ("100", "default")
    (project.root / "a" / "xd.toml").write_text("runs-keep = 2\n")
    assert show(project, cwd=deep)["runs-keep"][0] == "2"
    assert show(project, "a/b")["runs-keep"] == ("2", "a/xd.toml:1")
    assert show(project, "--rootdir", ".", "a/b")["runs-keep"] == ("1", "xd.toml:1")
    assert show(project, env=dict(PYTEST_ADDOPTS="a/b"))["runs-keep"][0] == "2"
    assert show(project, "--work-dir", "a", cwd=project.root)["runs-keep"] == ("2", "xd.toml:1")
    assert show(project, env=dict(XD_WORK_DIR="a"))["runs-keep"] == ("2", "xd.toml:1")


def test_a_file_that_is_named(project, user):
    project.write(**{"xd.toml": "runs-keep = 1\n", "other.toml": "runs-keep = 2\n"})
    user.write_text("grace = 1\n")
    named = show(project, env=dict(XD_CONFIG="other.toml"))
    assert named["runs-keep"] == ("2", "other.toml:1") and named["grace"] == ("10s", "default")
    none = show(project, env=dict(XD_CONFIG="/dev/null"))
    assert none["runs-keep"] == ("100", "default")
    assert refused(project, env=dict(XD_CONFIG="nix.toml")) == "XD_CONFIG: there is no file nix.toml, or no table tool.xd in it"


def test_relative_paths_count_from_the_file(project, user):
    user.write_text('keys = "k"\nstate-dir = "~/runs"\n')
    project.write(**{"xd.toml": 'stats = "out/stats.json"\n'})
    (project.root / "sub").mkdir()
    options = show(project, cwd=project.root / "sub")
    assert options["stats"][0] == str(project.root / "out/stats.json")
    assert options["keys"][0] == str(user.parent / "k") and options["state-dir"][0] == str(project.home / "runs")


def test_show_and_runs_look_where_a_file_says_that_runs_are_kept(project):
    project.write(test_a=PASSES, **{"xd.toml": 'state-dir = "kept"\n'})
    assert project.xdctl("run", "-n1", "--python", project.python).rc == 0
    assert (project.root / "kept" / "runs").exists() and not (project.path / "state").exists()
    shown = project.xdctl("show")
    assert shown.rc == 0 and "2 passed" in shown.out, shown
    assert project.xdctl("runs", "--json").out.count('"id"') == 1
    assert project.xdctl("show", env=dict(XD_STATE_DIR="elsewhere")).rc == 4


# ---- profiles


def test_profiles_over_two_levels(project):
    project.write(test_a=PASSES, **{"xd.toml": 'dist = "load"\n[profile.a]\ngrace = "1s"\ndist = "loadfile"\nrunner = "pytest"\n[profile.b]\ninherits = "a"\ndist = "loadscope"\n'
                                               '[profile.c]\ninherits = ["b"]\nnumprocesses = 2\n'})
    for how in (dict(env=dict(XD_PROFILE="c")), {}):
        options = show(project, *([] if how else ["--profile", "c"]), **how)
        assert [options[n][1] for n in ("grace", "dist", "numprocesses")] == ["profile a (xd.toml:3)", "profile b (xd.toml:8)", "profile c (xd.toml:11)"]
        assert options["profile"] == ("c", "XD_PROFILE" if how else "command line")
    assert show(project, "--profile=a", env=dict(XD_PROFILE="c"))["numprocesses"] == ("auto", "default")
    assert "2 workers [" in project.run("--profile=c").out


@pytest.mark.parametrize("text, args, line", [
    ('[profile.a]\ninherits = "a"\n', [], "xd.toml:2: profile 'a' inherits itself: a, a"),
    ('[profile.a]\ninherits = ["b"]\n[profile.b]\ninherits = "c"\n[profile.c]\ninherits = ["a"]\n', [], "xd.toml:6: profile 'a' inherits itself: a, b, c, a"),
    ('[profile.a]\ninherits = "nightyl"\n[profile.nightly]\n', [], "xd.toml:2: there is no profile 'nightyl' in xd.toml; is nightly meant?"),
    ('[profile.nightly]\n', ["--profile", "nigthly"], "option --profile: there is no profile 'nigthly' in xd.toml; is nightly meant?"),
    ("", ["--profile=ci"], "option --profile: there is no profile 'ci' in xd.toml"),
], ids=["itself", "circle", "unknown", "mistyped", "none"])
def test_profiles_that_cannot_be(project, text, args, line):
    project.write(**{"xd.toml": text})
    assert refused(project, *args) == line


def test_a_profile_among_pytests_arguments(project):
    project.write(test_a=PASSES, **{"xd.toml": "[profile.ci]\n"})
    late = project.run("test_a.py", "--profile", "ci")
    assert late.rc == 4 and "option --profile: it stands in front of pytest's arguments: xdctl run --profile ci ..." in late.err and late.err.count("\n") == 1, late
    project.write(conftest="def pytest_addoption(parser): parser.addoption('--profile')\n")
    assert project.run("-q", "--profile", "ci").rc == 0  # a plugin's, as pytest-profiling has one


# ---- lists of hosts


def test_a_list_of_hosts_by_its_name(project):
    project.write(test_a=PASSES, hosts="", **{"xd.toml": '[hosts]\nlab = ["popen//env:A=1", "2*popen//env:A=2"]\nall = { file = "list.txt" }\n', "list.txt": "2/:\n"})
    assert show(project, "--tx", "2*@lab//env:B=3")["tx"] == [("2*popen//env:A=1//env:B=3", "@lab, command line"), ("4*popen//env:A=2//env:B=3", "@lab, command line")]
    assert show(project, env=dict(XD_TX="popen @all"))["tx"] == [("popen", "XD_TX"), ("2*popen", "@all, XD_TX")]
    assert "3 workers [" in project.run("--tx=@lab").out
    assert refused(project, "--tx", "@lap") == "option --tx: there is no list of hosts 'lap'; is @lab meant?"
    assert refused(project, env=dict(XD_TX="@lap")) == "XD_TX: there is no list of hosts 'lap'; is @lab meant?"
    (project.root / "xd.toml").write_text('tx = ["@lap"]\n[hosts]\nlab = "popen"\n')
    assert refused(project) == "xd.toml:1: there is no list of hosts 'lap'; is @lab meant?"


# ---- what is not valid


@pytest.mark.parametrize("text, line", [
    ("numproceses = 4\n", "xd.toml:1: unknown key 'numproceses'; is numprocesses meant?"),
    ("\n\n[profile.x]\nmin_worker = 4\n", "xd.toml:4: unknown key 'min_worker'; is min-workers meant?"),
    ("numprocesses = [4]\n", 'xd.toml:1: numprocesses: it takes a whole number, "auto" or "logical", and a list stands there'),
    ("dist = 'lod'\n", "xd.toml:1: dist: 'lod' is not valid: it is one of load, worksteal, loadfile, loadscope, loadgroup, no, each, "
     "each:load (or another of the first five behind the colon), each-worker"),
    ("no-fork = 'true'\n", "xd.toml:1: no-fork: it takes true or false, and a string stands there"),
    ("min-workers = 1\nmin_workers = 2\n", "xd.toml:2: min_workers: it stands there already, in line 1"),
], ids=["unknown", "unknown in a profile", "kind", "value", "flag", "twice"])
def test_mistakes_are_told_with_file_and_line(project, text, line):
    project.write(**{"xd.toml": text})
    assert refused(project) == line
    run = project.xdctl("run", "--python", project.python)
    assert (run.rc, run.out, run.err) == (4, "", "xdctl: %s\n" % line)


@pytest.mark.parametrize("data, begins", [
    (b"dist = \n", "xd.toml:1:"), (b"grace = 1\n\ndist = 'load\n", "xd.toml:3:"), (b"grace = 1\ndist = 'no'\ngrace = 2\n", "xd.toml:3:"), (b"[a]\n[a]\n", "xd.toml:2:"),
    (b"\xff\xfed\0i\0", "xd.toml:1:"), (b"# caf\xe9\ndist = 'no'\n", "xd.toml:1:"), (b"dist = 'n\0o'\n", "xd.toml:1:"), (b"a." * 100000 + b"b = 1\n", "xd.toml:1:"),
    (b"a = " + b"[" * 100000, "xd.toml:1:"), (b"dist = 'no'\x1b[31m\n", "xd.toml:1:")],
    ids=["no value", "open string", "twice", "table twice", "utf-16", "latin-1", "zero byte", "dots", "brackets", "escape"])
def test_what_is_no_toml(project, data, begins):
    (project.root / "xd.toml").write_bytes(data)
    line = refused(project)
    assert line.startswith(begins) and "\x1b" not in line and len(line) < 600, line


def test_bytes_of_editors(project):
    (project.root / "xd.toml").write_bytes(b"\xef\xbb\xbfdist = 'no'\r\n[profile.default]\r\ngrace = '1s'\r\n")
    options = show(project)
    assert options["dist"] == ("no", "xd.toml:1") and options["grace"] == ("1s", "profile default (xd.toml:3)")


def test_what_is_no_file(project, user):
    own = project.root / "xd.toml"
    own.mkdir()
    assert refused(project) == "xd.toml: it is a folder, and no file"
    own.rmdir()
    os.mkfifo(str(own))
    assert refused(project) == "xd.toml: it is a device or a pipe, and no file"
    own.unlink()
    own.symlink_to("nowhere")
    assert refused(project) == "xd.toml: it is a symbolic link that leads nowhere"
    own.unlink()
    (project.path / "real.toml").write_text("runs-keep = 3\nstats = 's'\n")
    own.symlink_to("../real.toml")
    assert show(project)["runs-keep"] == ("3", "xd.toml:1") and show(project)["stats"][0] == str(project.root / "s")
    own.unlink()
    own.write_bytes(b"# " + b"x" * (1 << 20) + b"\n")
    assert refused(project) == "xd.toml: it has more than 1 MiB, which no configuration has"
    own.unlink()
    user.mkdir()
    assert refused(project) == "~/.config/xd/config.toml: it is a folder, and no file"


def test_a_file_that_cannot_be_read(project):
    if os.geteuid() == 0:
        pytest.skip("root can read all files")
    project.write(**{"xd.toml": ""})
    (project.root / "xd.toml").chmod(0)
    assert refused(project) == "xd.toml: it cannot be read: Permission denied"


def test_variables(project):
    assert refused(project, env=dict(XD_DIST="lod")).startswith("XD_DIST: 'lod' is not valid: it is one of ")
    assert refused(project, env=dict(XD_NO_FORK="2")) == "XD_NO_FORK: '2' is not valid: it is 1, true, yes, 0, false or no"
    options = show(project, env=dict(XD_NO_FORK="1", XD_TRACE="", XD_TOKEN="x", XD_MINE="1", XD_NUMPROCESES="3", XD_GRACE=""))
    assert options["no-fork"] == (True, "XD_NO_FORK") and options["grace"] == ("10s", "default")
    assert project.notes == "xdctl: environment variable XD_NUMPROCESES: xd does not know it; is XD_NUMPROCESSES meant?\n"
    assert show(project, env=dict(XD_AGENT="/a/b"))["agent"] == ("/a/b", "XD_AGENT")


def test_usage(project):
    for args, said in (((), "config: what to do is missing"), (("list",), "config: there is no 'list'"), (("--json",), "config: what to do is missing"),
                       (("show", "--dist=lod"), "option --dist: 'lod' is not valid"), (("show", "-n"), "option -n needs a value")):
        done = project.xdctl("config", *args)
        assert done.rc == 4 and said in done.err and done.err.count("\n") == 1, done


def test_doctor_and_hosts_check_read_them(project):
    project.write(**{"xd.toml": 'agent = "nix"\n[profile.good]\nagent = "/bin/cat"\n'})
    assert "FAIL  agent: the agent %s" % "nix" in project.xdctl("doctor").out
    assert "/bin/cat is not an xdagent" in project.xdctl("doctor", "--profile", "good").out
    project.write(**{"xd.toml": 'tx = ["3*popen//chdir=nix"]\n'})
    hosts = project.xdctl("hosts", "check", "--json")
    assert [h["spec"] for h in json.loads(hosts.out)] == ["popen//chdir=nix"], hosts
    project.write(**{"xd.toml": "nix = 1\n"})
    for command in (("doctor",), ("hosts", "check"), ("show",), ("runs",)):
        assert project.xdctl(*command).err.startswith("xdctl: xd.toml:1: unknown key 'nix'"), command
