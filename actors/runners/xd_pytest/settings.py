"""What pytest was configured to: the CONFIG frame."""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest import compat, wire
from xd_pytest.home import notes
from xd_pytest.pythons import STRINGS, fsencode
from xd_pytest.startup import python_version
from xd_pytest.text import as_text, encode

OPTIONS = ("numprocesses", "dist", "tx", "px", "maxprocesses", "maxworkerrestart", "maxschedchunk", "loadscopereorder", "testrunuid", "ramp",
           "rsyncdir", "rsyncignore", "looponfail", "maxfail", "verbose", "reportchars", "tbstyle", "durations", "durations_min", "color",
           "xmlpath", "junitprefix", "showcapture", "no_header", "no_summary", "capture", "disable_warnings", "fold_skipped", "fulltrace",
           "force_short_summary", "xfail_tb", "continue_on_collection_errors", "setupshow", "usepdb")
INIS = ("junit_family", "junit_suite_name", "junit_logging", "junit_log_passing_tests", "junit_duration_report", "console_output_style",
        "verbosity_test_cases", "verbosity_subtests", "verbosity_assertions")


def config_frame(config, asked, told, keeps_cache):
    import pytest
    pairs = []
    for name in OPTIONS + ("auto_num_workers", "cores"):
        value = asked.get(name)
        if name == "xmlpath" and value:
            value = os.path.expanduser(os.path.expandvars(value))  # as LogXML does
        if isinstance(value, (list, tuple)):
            pairs.extend((encode(name), encode(v)) for v in value)
        elif value is not None:
            pairs.append((encode(name), encode(int(value) if isinstance(value, bool) else value)))
    cache = cache_folder(config) if keeps_cache else None
    if cache:
        pairs.append((b"cache_dir", fsencode(cache)))
    most = max_warnings(config)
    if most is not None:
        pairs.append((b"max_warnings", encode(most)))
    for name in INIS:
        try:
            value = config.getini(name)
        except (KeyError, ValueError):
            continue
        pairs.append((encode(name), encode(int(value) if isinstance(value, bool) else value)))
    return wire.pack_CONFIG(python=fsencode(sys.executable or ""), python_version=encode(python_version()),
                            pytest_version=encode(pytest.__version__), rootdir=fsencode(compat.root_of(config)),
                            invocation_dir=fsencode(str(compat.started_in(config))), header=[(encode(t),) for t in header(config)],
                            options=pairs, notes=[(encode(t),) for t in told])


def cache_folder(config):
    """Where pytest keeps lastfailed; None: nowhere."""
    folder = compat.CACHE_FOLDER.of(getattr(config, "cache", None))
    return str(folder) if folder and config.pluginmanager.has_plugin("lfplugin") else None


def max_warnings(config):
    """--max-warnings, or the ini value of this name; None where there is none, and in pytest before 9.1."""
    given = getattr(config.option, "max_warnings", None)
    if given is None:
        try:
            given = config.getini("max_warnings")
        except (KeyError, ValueError):
            return None
    return None if given in (None, "") else int(given)  # "": what 9.1 says where it is not set


def header(config):
    lines = []
    if not config.pluginmanager.has_plugin("terminalreporter"):
        return lines  # -p no:terminal: nobody asks the plugins, and they count on its options
    for given in reversed(config.hook.pytest_report_header(config=config, **compat.start_of(config))):
        lines.extend([given] if isinstance(given, STRINGS) else given)
    return [as_text(line) for line in lines]


def all_notes(session):
    return notes(session.config) + compat.notes(session.config, session)


def collection_lines(session, told):
    """What pytest prints below "collected N items": "run-last-failure: ..." and the like; and notes on conftests that the collection brought."""
    config, items = session.config, session.items
    lines = ["xd: " + line for line in all_notes(session) if line not in told]
    if not config.pluginmanager.has_plugin("terminalreporter"):
        return [(encode(line),) for line in lines]
    for given in reversed(config.hook.pytest_report_collectionfinish(config=config, items=items, **compat.start_of(config))):
        lines.extend([given] if isinstance(given, STRINGS) else given)
    return [(encode(as_text(line)),) for line in lines]


def wants_output(config):
    """Does a report show what passed tests wrote: -rP, -rA, or JUnit XML with junit_logging?"""
    option = config.option
    if set("PA").intersection(getattr(option, "reportchars", "") or ""):
        return True
    try:
        return bool(getattr(option, "xmlpath", None) and config.getini("junit_logging") != "no" and config.getini("junit_log_passing_tests"))
    except (KeyError, ValueError):  # -p no:junitxml
        return False
