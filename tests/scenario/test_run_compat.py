"""What the adapter uses of pytest's and Python's private surface (compat.py): each name in turn is another one, in a copy of the code that has it."""
import ast
import functools
import importlib
import os
import re
import shutil
import sys
import sysconfig
import textwrap

import pytest

from conftest import ROOT, junit_cases

ADAPTER = os.path.join(ROOT, "actors", "runners")
SITE = os.path.dirname(os.path.dirname(os.path.abspath(pytest.__file__)))
STDLIB = sysconfig.get_paths()["stdlib"]
# Names that others have, too: the file and what is changed there.  All other names are changed in all of pytest.
CHANGES = {
    "captures.out": [("capture.py", r"(?<=self\.)out\b", "out_renamed")],
    "captures.err": [("capture.py", r"(?<=self\.)err\b", "err_renamed")],
    "setupstate.stack": [("runner.py", r"(?<=self\.)stack\b", "stack_renamed")],
    "lfplugin.lastfailed": [("cacheprovider.py", r"(?<=\.)lastfailed\b", "lastfailed_renamed")],
    "stepwiseplugin.cached_info.last_failed|lastfailed": [("stepwise.py", r"\b(cached_info|lastfailed)\b", r"\1_renamed")],
    "parser.parse_known_args": [("config/argparsing.py", r"def parse_known_args\b", "def parse_known_args_renamed"),
                                ("config/__init__.py", r"_parser\.parse_known_args\b", "_parser.parse_known_args_renamed")],
    "_pytest.nodes.Item.location.func": [("nodes.py", r"@cached_property\n    def location\b", "@property\n    def location")],
    "config._cleanup|_cleanup_stack._exit_callbacks": [("config/__init__.py", r"(?<=\.)(_cleanup|_cleanup_stack)\b", r"\1_renamed")],
}
# Python's own, by what is run when it starts; {module: name} stands for a copy in which the name is another.
AT_START = {
    "sys._getframe": "import sys; del sys._getframe",
    "atexit._clear": "import atexit; del atexit._clear",
    "atexit._run_exitfuncs": "import atexit; del atexit._run_exitfuncs",
    "os.environ": """
        import inspect, os, re
        old = [os.environ, os.environb]
        exec(re.sub(r"\\b%(name)s\\b", "%(name)s_renamed", inspect.getsource(os._Environ)), os.__dict__)
        os.environ, os.environb = [os._Environ(e._data, e.encodekey, e.decodekey, e.encodevalue, e.decodevalue) for e in old]
        """,
}
SUITE = dict(
    test_one="""
        import logging, multiprocessing.util, warnings
        import pytest

        @pytest.fixture(scope="module")
        def resource():
            yield 1
            logging.getLogger().warning("resource ends")

        @pytest.mark.parametrize("n", range(12))
        def test_many(n, resource, tmp_path, caplog):
            (tmp_path / "file").write_text(str(n))
            print("said", n)
            logging.getLogger().warning("logged %d", n)
            assert caplog.records[-1].args == (n,)
        def test_failed(resource, record_xml_attribute):
            print("heard")
            warnings.warn("careful")
            assert [1] == [2]
        @pytest.mark.skip
        def test_skipped(): pass
        """,
    test_two="""
        import os
        def test_folder(tmp_path_factory, capfd):
            assert tmp_path_factory.mktemp("mine").exists()
            os.system("echo there")
            assert capfd.readouterr().out == "there\\n"
        """)
NUMPYS = ("_rand", "_bit_generator", "_seed_seq")  # in a try, of a library that few suites have
PLAIN_TOO = ("_pytest.config", "_pytest.config.argparsing", "_pytest.terminal", "capture", "capturemanager", "terminalreporter", "tmp_path_factory", "writer")
COUNTS = {"failed": 1, "passed": 13, "skipped": 1}


def uses():
    sys.path.insert(0, ADAPTER)
    try:
        from xd_pytest import compat
    finally:
        sys.path.remove(ADAPTER)
    return compat.Use.used, compat.version()


USES, VERSION = uses()


def another_name(text, name):
    """The text where this name is another, also in strings."""
    return re.sub(r"(?<!\w)%s(?!\w)" % name, name + "_renamed", text)


def change(path, how):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    changed = how(text)
    if changed == text:
        return False
    with open(path, "w", encoding="utf-8") as f:
        f.write(changed)
    return True


def python_files(folder):
    return [os.path.join(where, file) for where, _folders, files in os.walk(folder) for file in files if file.endswith(".py")]


def another_pytest(folder, use):
    for name in ("pytest", "_pytest"):
        shutil.copytree(os.path.join(SITE, name), os.path.join(folder, name))  # with the byte code of what is not changed
    changes = CHANGES.get(use.where + "." + use.name)
    if changes:
        found = [change(os.path.join(folder, "_pytest", file), functools.partial(re.sub, old, new)) for file, old, new in changes]
    else:
        names = [alternative.split(".")[-1] for alternative in use.name.split("|")]
        found = [change(path, functools.partial(another_name, name=name)) for path in python_files(folder) for name in names]
    assert any(found), use.full_name()


def another_python(folder, use):
    at_start = AT_START.get(use.where + "." + use.name) or AT_START.get(use.where)
    if at_start:
        with open(os.path.join(folder, "sitecustomize.py"), "w") as f:
            f.write(textwrap.dedent(at_start.replace("%(name)s", use.name)))
        return
    name = use.where.split(".")[0]
    if os.path.isdir(os.path.join(STDLIB, name)):
        shutil.copytree(os.path.join(STDLIB, name), os.path.join(folder, name))
    else:
        shutil.copy(os.path.join(STDLIB, name + ".py"), folder)
    assert any([change(path, functools.partial(another_name, name=use.name.split(".")[-1])) for path in python_files(folder)])


def told(result):
    return [line for line in result.out.splitlines() if "which this version of xd counts on" in line]


@pytest.fixture
def changed(project, tmp_path):
    folder = tmp_path / "changed"
    folder.mkdir()
    project.packages = [str(folder)]
    project.write(**SUITE)
    yield project, str(folder)
    shutil.rmtree(str(folder))  # 4 MB each


@pytest.mark.parametrize("use", [u for u in USES if VERSION >= u.since], ids=lambda use: use.where + "." + use.name)
def test_a_name_is_another(changed, use):
    """One line says so, and the run is as it was."""
    project, folder = changed
    (another_pytest if use.is_pytests() else another_python)(folder, use)
    options, counts = ["-v"], COUNTS
    if use.where == "stepwiseplugin":  # there only if asked for
        options, counts = ["-v", "--sw", "-k", "not failed"], {"passed": 13, "skipped": 1, "deselected": 1}
    for workers in ("-n2", "-n0") if use.where in PLAIN_TOO else ("-n2",):
        xd = project.run(workers, "--junitxml=xd.xml", *options)
        assert len(told(xd)) == 1, xd
        assert use.full_name() in told(xd)[0] and told(xd)[0].endswith(": " + use.lost), xd
        assert {key: n for key, n in xd.summary.items() if key != "warning"} == counts, xd
        assert xd.rc == (1 if "failed" in counts else 0), xd
        assert "INTERNALERROR" not in xd.out + xd.err, xd
        if workers == "-n2":
            before = "xd: workers are forked before the collection: this version of xd does not know" in xd.out
            assert before == use.forks, xd
        if counts is COUNTS:
            assert xd.out.count("heard\n") == 1 and "said 3" not in xd.out, xd  # captured, and shown of the failure
            assert len(junit_cases(project.root / "xd.xml")) == 15


@pytest.mark.parametrize("use", [u for u in USES if "doctor" in u.lost or "options of xd" in u.lost], ids=lambda use: use.name)
def test_doctor_without_a_name(changed, use):
    """What it cannot look at it says, and all the rest is looked at."""
    project, folder = changed
    another_pytest(folder, use)
    doctor = project.xdctl("doctor", "--python", project.python)
    assert doctor.rc == 0 and use.full_name() in doctor.out and "Traceback" not in doctor.out + doctor.err, doctor
    project.write(conftest="""
        def pytest_configure_node(node): pass
        """)
    doctor = project.xdctl("doctor", "--python", project.python)
    assert "conftest.py implements pytest_configure_node" in doctor.out, doctor
    os.remove(str(project.root / "conftest.py"))
    xd = project.run("test_two.py", "--no-fork", "-v")  # --no-fork is xd's
    assert (xd.rc == 0) is (use.name != "parse_known_and_unknown_args") and "Traceback" not in xd.err, xd


def test_nothing_is_missing(changed):
    project, _folder = changed
    for options in (["-n2"], ["-n2", "--sw"], ["-n2", "-s"], ["-n0"], ["-n2", "-p", "no:cacheprovider", "-p", "no:logging", "-p", "no:faulthandler"]):
        xd = project.run(*options)
        assert told(xd) == [] and xd.rc in (1, 2), xd
    doctor = project.xdctl("doctor", "--python", project.python)
    assert told(doctor) == [] and doctor.rc == 0, doctor


def test_private_names_are_in_one_module():
    """No other module of the adapter imports a private module of pytest's, or asks an object of somebody else's for a name with a leading underscore."""
    for name in sorted(os.listdir(os.path.join(ADAPTER, "xd_pytest"))):
        if name in ("compat.py", "wire.py") or not name.endswith(".py"):
            continue
        with open(os.path.join(ADAPTER, "xd_pytest", name), encoding="utf-8") as f:
            tree = ast.parse(f.read())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not any(part.startswith("_") and not part.startswith("__") for n in names for part in n.split(".")), (name, node.lineno)
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner == "self" or (owner, node.attr) == ("os", "_exit") or node.attr in NUMPYS, (name, node.lineno, node.attr)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr") and isinstance(node.args[1], ast.Constant):
                asked = node.args[1].value
                assert not asked.startswith("_") or asked.startswith("__") or asked in NUMPYS, (name, node.lineno, asked)


# ---- releases of plugins (tested.py)


def adapter(name):
    sys.path.insert(0, ADAPTER)
    try:
        return importlib.import_module("xd_pytest." + name)
    finally:
        sys.path.remove(ADAPTER)


def install(folder, module, distribution, release, code):
    """A plugin of this release, as pip leaves it.  release: None, where it was copied by hand."""
    top = module.partition(".")[0]
    path = os.path.join(folder, *module.split(".")) + ".py"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(textwrap.dedent(code))
    if release is not None:
        info = os.path.join(folder, "%s-%s.dist-info" % (distribution.replace("-", "_"), release))
        os.mkdir(info)
        with open(os.path.join(info, "METADATA"), "w") as f:
            f.write("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (distribution, release))
        with open(os.path.join(info, "entry_points.txt"), "w") as f:
            f.write("[pytest11]\n%s = %s\n" % (top, module))


@pytest.mark.parametrize("release, tested", [("0.12.2", True), ("0.14.1", True), ("0.14.9", True), ("0.12.1", False), ("0.15.0", False), ("1.0rc1", False), (None, False)])
def test_a_hook_of_another_release_may_do_harm(changed, release, tested):
    project, folder = changed
    install(folder, "pytest_recording.plugin", "pytest-recording", release, "def pytest_unconfigure(): pass\n")
    xd = project.run("-n2", "-v", *([] if release else ["-p", "pytest_recording.plugin"]))
    if tested:
        assert "xd: workers are forked after the collection" in xd.out, xd
    else:
        why = "implements pytest_unconfigure (pytest-recording is %s; releases that are known to do no harm: 0.12.2 to 0.14)" % (release or "of unknown release")
        assert "xd: workers are forked before the collection" in xd.out and why in xd.out, xd
    assert {k: n for k, n in xd.summary.items() if k != "warning"} == COUNTS, xd


@pytest.mark.parametrize("release, tested", [("3.17.0", True), ("9.0", False)])
def test_a_cleanup_of_another_release_may_do_harm(changed, release, tested):
    project, folder = changed
    install(folder, "pytest_mock.plugin", "pytest-mock", release, """
        def undo(): pass
        def pytest_configure(config): config.add_cleanup(undo)
        """)
    xd = project.run("-n2", "-v")
    assert ("pytest_mock.plugin registered a cleanup of the configuration (pytest-mock is 9.0;" in xd.out) is not tested, xd
    assert ("xd: workers are forked after the collection" in xd.out) is tested, xd


@pytest.mark.parametrize("release, tested", [("5.3.1", True), ("6.0", False)])
def test_a_part_of_another_release_may_be_missed(changed, release, tested):
    project, folder = changed
    install(folder, "pytest_benchmark.plugin", "pytest-benchmark", release, "def pytest_terminal_summary(): pass\n")
    xd = project.run("-n2")
    assert ("implements pytest_terminal_summary" in xd.out) is not tested, xd


@pytest.mark.parametrize("release, tested", [("0.5", True), ("0.6", False)])
def test_a_branch_of_another_release_may_be_missed(changed, release, tested):
    project, folder = changed
    install(folder, "pytest_ruff", "pytest-ruff", release, """
        def pytest_collection_finish(session):
            if not hasattr(session.config, "workerinput"):
                print("controlling")
        """)
    xd = project.run("-n2")
    assert ("has a part for a controlling pytest process only (pytest_collection_finish)" in xd.out) is not tested, xd


def test_each_exemption_has_its_releases():
    forksafety, home, controlling, reads = [adapter(name) for name in ("forksafety", "home", "controlling", "reads")]
    modules = [module for module, _hook in forksafety.HARMLESS_HOOKS] + list(forksafety.HARMLESS_CLEANUPS) + list(reads.KEEPING_READERS)
    modules += list(controlling.HARMLESS - {"xdist"}) + list(controlling.ON_GITHUB)
    known = adapter("tested").RELEASES
    assert not [module for module in modules if module.partition(".")[0] not in known]
    assert not [module for module, _hook in home.QUIET if not any(name.startswith(module) for name in known)]


def test_releases_in_order():
    is_within = adapter("tested").is_within
    inside = [("1.0", "1.0", "1.0"), ("1.0.7", "1.0", "1.0"), ("1.9", "1.10", "2"), ("1.12", "1.10", "1.12"), ("2.0.1", "1.10", "2"), ("1.12.3.post1", "1.2", "1.12")]
    assert [is_within(*case) for case in inside] == [True, True, False, True, True, True]
    outside = [("1.13", "1.10", "1.12"), ("1.0.5", "1.0.6", "1.2"), ("0.9", "1.0", "1.0"), ("3", "1.0", "2.0")]
    assert [is_within(*case) for case in outside] == [False] * 4
