"""What pytest-xdist has and plugins and suites count on: options, hooks, fixtures, marks."""
from __future__ import absolute_import, division, print_function

import functools

from xd_pytest import compat
from xd_pytest.pythons import release_of
from xd_pytest.real import Real
from xd_pytest.text import as_text, encode


XDIST = ("xdist", "xdist.plugin", "xdist.looponfail")


def switch_off_xdist(manager):
    """An installed xdist takes no part, also where `-p xdist` asks for it; and where ini says required_plugins = pytest-xdist it is there."""
    for name in XDIST:
        manager.set_blocked(name)
    consider, distributions = getattr(manager, "consider_pluginarg", None), manager.list_plugin_distinfo
    asked_by = compat.VALIDATE_PLUGINS.name.rpartition(".")[2] if compat.VALIDATE_PLUGINS.get() is not None else None

    def consider_pluginarg(arg):
        if arg.strip() not in XDIST:
            consider(arg)

    def list_plugin_distinfo():
        found = distributions()
        if asked_by is None or Real.frame(1).f_code.co_name == asked_by:
            found = list(found) + installed_xdist(manager)
        return found

    if consider is not None:
        manager.consider_pluginarg = consider_pluginarg
    manager.list_plugin_distinfo = list_plugin_distinfo


def installed_xdist(manager):
    try:
        release = release_of("pytest-xdist")
    except Exception:
        return []
    if release is None:
        return []

    class Facts(object):
        project_name, version = "pytest-xdist", release
    return [(manager, Facts)]


class Default(str):
    """A default that can be told from the same text on a command line."""


NOT_GIVEN = Default("no")
SHARING = ["load", "loadscope", "loadfile", "loadgroup", "worksteal"]
DIST_MODES = ["each"] + SHARING + ["no", "each-worker"] + ["each:" + mode for mode in SHARING]


def wants_plain(option):
    """-n 0, or --dist no where nothing else tells how many."""
    if option.numprocesses is not None:
        return option.numprocesses == 0
    return option.dist == "no" and option.dist is not NOT_GIVEN and not option.tx and not option.distload


def number_of_processes(text):
    return text if text in ("auto", "logical") else int(text)


def add_xdist_options(parser):
    group = parser.getgroup("xdist", "distributed and subprocess testing")
    add = functools.partial(compat.add_option, group)
    add("-n", "--numprocesses", dest="numprocesses", metavar="numprocesses", action="store", type=number_of_processes,
        help="Number of workers: a number, auto or logical.")
    add("--maxprocesses", dest="maxprocesses", metavar="maxprocesses", action="store", type=int, help="Limit of --numprocesses.")
    add("--max-worker-restart", dest="maxworkerrestart", action="store", default=None, help="Number of crashed workers that are replaced.")
    add("--dist", dest="dist", metavar="distmode", action="store", default=NOT_GIVEN,
        choices=DIST_MODES, help="How tests are distributed.")
    add("--loadscope-reorder", dest="loadscopereorder", action="store_true", default=True, help="Scopes with many tests first (default).")
    add("--no-loadscope-reorder", dest="loadscopereorder", action="store_false", help="Scopes in the order of collection.")
    add("--tx", dest="tx", action="append", default=[], metavar="xspec", help="Add a test execution environment.")
    add("--px", dest="px", action="append", default=[], metavar="xspec", help="Add a proxy gateway.")
    add("-d", dest="distload", action="store_true", default=False, help="Shortcut for '--dist=load'.")
    add("--rsyncdir", dest="rsyncdir", action="append", default=[], metavar="DIR", help="Add a folder to bring to remote environments.")
    add("--rsyncignore", dest="rsyncignore", action="append", default=[], metavar="GLOB", help="Leave out what matches.")
    add("--testrunuid", dest="testrunuid", action="store", help="Identifier shared by all workers of a run.")
    add("--maxschedchunk", dest="maxschedchunk", action="store", type=int, help="Maximum number of tests handed over in one step.")
    add("--ramp", dest="ramp", action="store", default=None, metavar="DUR", help="Spread the starts of the workers over this time.")
    add("-f", "--looponfail", dest="looponfail", action="store_true", default=False, help="Run failing tests again when files change.")
    paths = compat.kind_of_paths()
    parser.addini("rsyncdirs", "folders to bring to remote environments", type=paths)
    parser.addini("rsyncignore", "globs of what is not brought", type=paths)
    parser.addini("looponfailroots", "folders to watch", type=paths)


def ramp_seconds(text):
    if not text:
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):  # false for nan, too
        import pytest
        raise pytest.UsageError("--ramp %s: it must be a time, in seconds, or with s, m or h behind it" % text)
    return seconds


def make_hookspecs():
    import pytest

    class XdistHooks(object):
        @pytest.hookspec()
        def pytest_xdist_setupnodes(self, config, specs): ""

        @pytest.hookspec()
        def pytest_xdist_newgateway(self, gateway): ""

        @pytest.hookspec()
        def pytest_xdist_rsyncstart(self, source, gateways): ""

        @pytest.hookspec()
        def pytest_xdist_rsyncfinish(self, source, gateways): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_getremotemodule(self): ""

        @pytest.hookspec()
        def pytest_configure_node(self, node): ""

        @pytest.hookspec()
        def pytest_testnodeready(self, node): ""

        @pytest.hookspec()
        def pytest_testnodedown(self, node, error): ""

        @pytest.hookspec()
        def pytest_xdist_node_collection_finished(self, node, ids): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_make_scheduler(self, config, log): ""

        @pytest.hookspec(firstresult=True)
        def pytest_xdist_auto_num_workers(self, config): ""

        @pytest.hookspec(firstresult=True)
        def pytest_handlecrashitem(self, crashitem, report, sched): ""

    return XdistHooks


def make_fixtures():
    import types
    import uuid

    import pytest

    @pytest.fixture(scope="session")
    def worker_id(request):
        """The id of this worker: gw0, gw1, ..., or master outside of a distributed run."""
        given = getattr(request.config, "workerinput", None)
        return "master" if given is None else given["workerid"]

    @pytest.fixture(scope="session")
    def testrun_uid(request):
        """Identifier shared by all workers of this run."""
        given = getattr(request.config, "workerinput", None)
        return uuid.uuid4().hex if given is None else given["testrunuid"]

    module = types.ModuleType("xd_fixtures")
    module.worker_id = worker_id
    module.testrun_uid = testrun_uid
    return module


class Groups(object):
    """Names of the xdist_group marks of items, sorted and joined with _; bytes.  Of items with one parent, the marks above are looked at once."""

    def __init__(self):
        self.parent, self.above = None, frozenset()

    def of(self, item):
        if item.parent is not self.parent or self.parent is None:
            self.parent, self.above = item.parent, names_of(item.parent)
        marks = getattr(item, "own_markers", None)
        names = self.above if marks == [] else names_of(item)
        return encode("_".join(sorted(names))) if names else b""


def names_of(node):
    return frozenset() if node is None else frozenset(
        as_text(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in node.iter_markers("xdist_group"))
