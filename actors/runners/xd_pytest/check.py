"""Looks at the configuration of a project without running anything.  Lines on standard output:
    check project            "refused TEXT": a run would end with it at once; "left-out TEXT": it would run without that part
    check options ARG ...    "free OPTION": of these arguments, an option that neither pytest nor a plugin knows"""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import compat
from xd_pytest.home import notes, refusal
from xd_pytest.pythons import ESCAPES, open_text, own_function
from xd_pytest.text import as_text
from xd_pytest.xdistlike import add_xdist_options, make_hookspecs, switch_off_xdist


class Checker(object):
    """In the place of the adapter: what it brings to a session of xd, no more."""

    def __init__(self, say, args):
        self.say, self.args = say, args

    def pytest_addhooks(self, pluginmanager):
        switch_off_xdist(pluginmanager)
        pluginmanager.add_hookspecs(make_hookspecs())

    def pytest_addoption(self, parser):
        add_xdist_options(parser)

    def around_load_initial_conftests(self, early_config):
        """All plugins and the first conftests are here now, and nothing has been refused yet."""
        yield
        if self.args is not None:
            parse = compat.UNKNOWN_ARGS.of(compat.PARSER.of(early_config))
            for word in parse(list(self.args))[1] if parse is not None else ():
                if word.startswith("--"):
                    self.say("free", word.partition("=")[0])
            sys.stdout.flush()
            os._exit(0)


def mark_hooks():
    import pytest
    Checker.pytest_load_initial_conftests = pytest.hookimpl(hookwrapper=True, tryfirst=True)(
        own_function(Checker, "around_load_initial_conftests"))


class Looker(Checker):
    """In the place of a run, where a configuration cannot be made without one."""

    @staticmethod
    def looks(config):
        pass

    def pytest_cmdline_main(self, config):
        self.looks(config)
        return 0


def look(config, say):
    compat.tell_worker(config, {})
    text = refusal(config)
    if text:
        say("refused", text)
    for text in notes(config) + compat.notes(config):
        say("left-out", text)


def check(what, args):
    """The exit status: 0, also where something is refused; 4 = the configuration cannot be read, which is said."""
    import pytest
    out = open_text(os.dup(1), "w", ESCAPES, 1)

    def say(kind, text):
        out.write(u"%s %s\n" % (kind, u" ".join(as_text(text).split())))

    mark_hooks()
    args = list(args) if what == "options" else []
    prepare = compat.PREPARE_CONFIG.get()
    if prepare is None:
        looker = Looker(say, args if what == "options" else None)
        looker.looks = lambda config: look(config, say)
        if pytest.main(args, plugins=[looker]) == 0:
            return 0
        say("refused", "pytest cannot read its configuration")
        return 4
    try:
        config = prepare(args, [Checker(say, args if what == "options" else None)])
    except pytest.UsageError as e:
        say("refused", "pytest's configuration: %s" % e)
        return 4
    look(config, say)
    out.flush()
    unconfigure = compat.UNCONFIGURE.of(config)
    if unconfigure is not None:
        unconfigure()
    return 0
