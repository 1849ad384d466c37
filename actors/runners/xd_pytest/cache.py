"""pytest's cache, written once for all workers."""
from __future__ import absolute_import, division, print_function

from xd_pytest import compat
from xd_pytest.text import as_text


def known_ids(config):
    """How many node ids pytest's cache knows; the set only grows."""
    return len(compat.KNOWN_IDS.of(config.pluginmanager.get_plugin("nfplugin")) or ())


def save_cache(config, session, failed, not_run, known_before, numbered=None):
    """What cacheprovider does at the end of a session, with the outcomes of all workers.  known_before: known_ids() before the collection.
    numbered: the items by their numbers, None = there is no such test here; None = as they are collected."""
    cache = getattr(config, "cache", None)
    if cache is None or getattr(config.option, "cacheshow", None):
        return
    manager = config.pluginmanager
    last = compat.LAST_FAILED.of(manager.get_plugin("lfplugin"))
    if last is not None:
        failed, skip = set(failed), set(not_run)
        current = dict((as_text(key), value) for key, value in last.items())
        items = numbered or (session.items if session is not None else ())
        bad = set(as_text(items[i].nodeid) for i in failed if i < len(items) and items[i] is not None)
        for index, item in enumerate(items if current else ()):
            if item is None:
                continue
            nodeid = as_text(item.nodeid)
            if index not in skip and index not in failed and nodeid not in bad:
                current.pop(nodeid, None)
        for nodeid in bad:
            current[nodeid] = True
        if cache.get("cache/lastfailed", {}) != current:
            cache.set("cache/lastfailed", current)
    save_stepwise(config, session, set(failed), set(not_run), numbered)
    known = compat.KNOWN_IDS.of(manager.get_plugin("nfplugin"))
    if isinstance(known, list):  # before pytest 6.1 it has an order, and is not a set that only grows
        cache.set("cache/nodeids", [as_text(nodeid) for nodeid in known])
    elif known is not None and not (len(known) == known_before and compat.is_cached(cache, "cache/nodeids")):
        cache.set("cache/nodeids", sorted(str(n) for n in known))


class Told(object):
    """As much of a report as --stepwise looks at."""

    def __init__(self, item, failed):
        self.nodeid, self.id, self.when = item.nodeid, getattr(item, "id", item.nodeid), "call"
        self.failed, self.passed = failed, not failed


def set_last_failed(plugin, item):
    if hasattr(plugin, "cached_info"):
        plugin.cached_info.last_failed = getattr(item, "id", item.nodeid)
    else:
        plugin.lastfailed = item.nodeid


def save_stepwise(config, session, failed, not_run, numbered):
    """--stepwise goes on from the first test that failed, in the order of the collection: its own plugin hears what all workers found."""
    plugin = config.pluginmanager.get_plugin("stepwiseplugin")
    if plugin is None or session is None or not hasattr(plugin, "pytest_runtest_logreport") or not compat.STEPWISE.is_there(config, session):
        return
    stopped, plugin.session = session.shouldstop, session
    session.shouldstop = False
    try:
        for index, item in enumerate(numbered or session.items):
            if item is None:
                continue
            if index in not_run:  # another worker stopped the run before it
                set_last_failed(plugin, item)
                break
            plugin.pytest_runtest_logreport(Told(item, index in failed))
            if session.shouldstop:
                break
    finally:
        session.shouldstop = stopped
    given = config.workerinput
    del config.workerinput  # with it the plugin thinks that a controlling process writes
    try:
        compat.finish_stepwise(plugin, session)
    finally:
        config.workerinput = given
