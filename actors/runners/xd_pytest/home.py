"""What a controlling pytest process would do for its workers: xd has none yet.  Some plugins can be given what they want all the same, some
are refused, because what was asked of them would silently be missing, of others a part is left out and told."""
from __future__ import absolute_import, division, print_function

import zlib

from xd_pytest.controlling import parts
from xd_pytest.plugins import distribution_of, foreign_loops, foreign_plugins, module_of, plugin_name
from xd_pytest.tested import Tested
from xd_pytest.text import encode

NO_HOME = "a controlling pytest process, which xd does not have yet"

HOOKS = ("pytest_testnodeready", "pytest_testnodedown", "pytest_handlecrashitem", "pytest_terminal_summary", "pytest_xdist_setupnodes",
         "pytest_xdist_newgateway", "pytest_xdist_rsyncstart", "pytest_xdist_rsyncfinish", "pytest_xdist_getremotemodule",
         "pytest_xdist_node_collection_finished", "pytest_xdist_make_scheduler")

CALLED_THERE = frozenset(("pytest_configure_node", "pytest_xdist_auto_num_workers"))  # answered elsewhere

# Options whose whole work is done where no config.workerinput is: (dest, option, plugin).
REFUSED = (
    ("htmlpath", "--html", "pytest-html"),
    ("json_report", "--json-report", "pytest-json-report"),
    ("report_log", "--report-log", "pytest-reportlog"),
    ("cucumber_json_path", "--cucumberjson", "pytest-bdd"),
    ("store_durations", "--store-durations", "pytest-split"),
    ("testmon", "--testmon", "pytest-testmon"),
    ("testmon_noselect", "--testmon-noselect", "pytest-testmon"),
    ("testmon_forceselect", "--testmon-forceselect", "pytest-testmon"),
    ("tap_stream", "--tap", "pytest-tap"),
    ("tap_files", "--tap-files", "pytest-tap"),
    ("tap_combined", "--tap-combined", "pytest-tap"),
)
LEFT_OUT = (
    ("instafail", "--instafail", "pytest-instafail"),
)

# Hooks that do nothing, or nothing anybody sees, unless this option is given; None: never; a function of the options: where it says so.
QUIET = {
    ("_hypothesis", "pytest_terminal_summary"): "hypothesis_show_statistics",
    ("pytest_metadata", "pytest_testnodedown"): None,
    ("pytest_memray", "pytest_terminal_summary"): "memray",
    ("pytest_benchmark", "pytest_terminal_summary"): None,  # it measures nothing under distribution
    ("pytest_rerunfailures", "pytest_terminal_summary"): lambda option: (
        set("rR").intersection(getattr(option, "reportchars", "") or "") or getattr(option, "rerun_show_tracebacks", False)),
}


def refusal(config):
    """Why this session cannot do without a controlling process; one line, or None."""
    for dest, option, name in REFUSED:
        if getattr(config.option, dest, None):
            return "%s (%s) does its work in %s: leave the option out, or run with -n 0" % (option, name, NO_HOME)
    for plugin in foreign_plugins(config, "pytest_configure_node"):
        if module_of(plugin).startswith("pytest_cov.") and getattr(config.option, "no_cov", False):
            continue
        if value_hook(plugin):
            continue
        return "%s implements pytest_configure_node: it needs %s; leave out the option that asks for it, or run with -n 0" % (
            plugin_name(config, plugin), NO_HOME)
    return None


def value_hook(plugin):
    """Its pytest_configure_node hands over nothing but a value of late_values()."""
    return module_of(plugin).partition(".")[0] in ("pytest_randomly", "random_order")


def who_misses(config, excinfo, key):
    """The same, of a plugin that found no `key` in config.workerinput."""
    module = ""
    for entry in excinfo.traceback:
        name = entry.frame.f_globals.get("__name__") or ""
        if not name.startswith(("xd_pytest.", "pluggy.", "_pytest.")):
            module = name
    return "%s needs %r in config.workerinput, from %s; leave the plugin out, or run with -n 0" % (
        distribution_of(config, module) or module or "a plugin", key, NO_HOME)


def late_values(config, run_uid, writes):
    """What plugins hand to their workers, where that is a number that all of them must share: functions by key, asked when a plugin asks.
    writes: this process keeps pytest's cache."""
    drawn = zlib.crc32(encode(run_uid)) & 0xffffffff

    def randomly_seed():
        seed, cache = config.option.randomly_seed, getattr(config, "cache", None)
        if seed == "last":
            seed = drawn if cache is None else cache.get("randomly_seed", drawn)
        elif seed == "default":
            seed = drawn
        if writes and cache is not None:
            cache.set("randomly_seed", seed)
        return seed

    def random_order_seed():
        seed = config.option.random_order_seed
        return "default:%d" % (drawn % 1000000 + 1) if str(seed).startswith("default:") else seed

    return dict((f.__name__, f) for f in (randomly_seed, random_order_seed) if hasattr(config.option, f.__name__))


def is_asked_for(what, option):
    return what(option) if callable(what) else what is not None and getattr(option, what, False)


def notes(config):
    """Parts that are left out, one line each."""
    if not hasattr(config, "workerinput"):
        return []  # a plain session
    hooks, names = {}, {}
    for hook in HOOKS:
        for plugin in foreign_plugins(config, hook):
            quiet = [dest for (module, known), dest in QUIET.items() if known == hook and module_of(plugin).startswith(module)]
            if quiet and not is_asked_for(quiet[0], config.option) and Tested.is_tested(plugin):
                continue
            hooks.setdefault(id(plugin), []).append(hook)
            names[id(plugin)] = plugin_name(config, plugin)
    lines = ["%s implements %s, which is called in %s: that part is left out" % (names[key], ", ".join(found), NO_HOME)
             for key, found in hooks.items()]
    loops = sorted(set(plugin_name(config, impl.plugin) for impl in foreign_loops(config) if not impl.tryfirst))
    lines += ["%s implements pytest_runtestloop: that hook is not called, because xd has a loop of its own, except with -n 0" % name for name in loops]
    reported = frozenset(HOOKS) | CALLED_THERE | frozenset(["pytest_runtestloop"] if loops else [])
    lines += ["%s has a part for a controlling pytest process only (%s), which xd does not have yet: it does not run, except with -n 0" % (name, ", ".join(found))
              for name, found in parts(config, reported)]
    if getattr(config.option, "maxschedchunk", None) is not None:
        lines.append("--maxschedchunk has no effect: how many tests a worker gets at once is xd's decision, about 20 ms of work")
    return lines + ["%s (%s) shows its part in %s: it is left out" % (option, name, NO_HOME)
                    for dest, option, name in LEFT_OUT if getattr(config.option, dest, None)]
