"""Whose plugin is it, and what is its name?"""
from __future__ import absolute_import, division, print_function

import os
import sys

from xd_pytest.compat import root_of


def module_of(thing):
    if isinstance(thing, type(sys)):
        return thing.__name__
    return getattr(thing, "__module__", None) or type(thing).__module__


def is_pytests(thing):
    name = module_of(thing) or ""
    return name == "pytest" or name.startswith(("_pytest.", "xd_pytest."))


def distribution_of(config, module):
    """The name under which the plugin that this module belongs to is installed; None for other modules."""
    for known, dist in config.pluginmanager.list_plugin_distinfo():
        if module and module_of(known).partition(".")[0] == module.partition(".")[0]:
            return getattr(dist, "project_name", None)
    return None


def plugin_name(config, plugin):
    path = getattr(plugin, "__file__", None)
    if path and os.path.basename(path).startswith("conftest."):
        return os.path.relpath(path, root_of(config))
    installed = distribution_of(config, module_of(plugin))
    if installed:
        return installed
    name = config.pluginmanager.get_name(plugin) or config.pluginmanager.get_canonical_name(plugin)
    return name if not name.isdigit() else module_of(plugin)


def foreign_plugins(config, hook_name):
    """Plugins that implement a hook and are neither pytest's own nor ours."""
    hook = getattr(config.hook, hook_name, None)
    return [] if hook is None else [impl.plugin for impl in hook.get_hookimpls() if not is_pytests(impl.plugin)]


def foreign_loops(config):
    """Their implementations of pytest_runtestloop that are called before pytest's own and are no wrappers: of the first that does not return None
    pytest thinks that it ran the tests."""
    return [impl for impl in config.hook.pytest_runtestloop.get_hookimpls()
            if not (is_pytests(impl.plugin) or impl.trylast or impl.hookwrapper or getattr(impl, "wrapper", False))]
