"""Whose plugin is it, and what is its name?"""
from __future__ import absolute_import, division, print_function

import os
import sys


def module_of(thing):
    if isinstance(thing, type(sys)):
        return thing.__name__
    return getattr(thing, "__module__", None) or type(thing).__module__


def is_pytests(thing):
    name = module_of(thing) or ""
    return name == "pytest" or name.startswith(("_pytest.", "xd_pytest."))


def plugin_name(config, plugin):
    path = getattr(plugin, "__file__", None)
    if path and os.path.basename(path).startswith("conftest."):
        return os.path.relpath(path, str(config.rootpath))
    for known, dist in config.pluginmanager.list_plugin_distinfo():
        if known is plugin:
            return getattr(dist, "project_name", None) or plugin.__name__
    name = config.pluginmanager.get_canonical_name(plugin)
    return name if not name.isdigit() else module_of(plugin)


def foreign_plugins(config, hook_name):
    """Plugins that implement a hook and are neither pytest's own nor ours."""
    hook = getattr(config.hook, hook_name, None)
    return [] if hook is None else [impl.plugin for impl in hook.get_hookimpls() if not is_pytests(impl.plugin)]
