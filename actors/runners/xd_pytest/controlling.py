"""Which hooks have a part that runs only outside of workers?  Found in their code, as it cannot be seen from a call: `hasattr(config, "workerinput")` leaves no trace."""
from __future__ import absolute_import, division, print_function

import ast
import inspect
import os
import textwrap
import types

from xd_pytest.plugins import is_pytests, module_of, plugin_name
from xd_pytest.pythons import STRINGS, mentions_none, string_of, unwrap
from xd_pytest.tested import Tested

ATTRIBUTES = frozenset(("workerinput", "slaveinput"))
ASK_WORKER = frozenset(("is_xdist_worker",))
ASK_CONTROLLER = frozenset(("is_xdist_controller", "is_xdist_master"))
MARKS = ATTRIBUTES | ASK_WORKER | ASK_CONTROLLER

# Plugins whose part outside of workers home.py reports, xd does itself, or only shows progress.
HARMLESS = frozenset(("xdist", "pytest_randomly", "random_order", "pytest_rerunfailures", "pytest_html", "pytest_jsonreport", "pytest_reportlog", "pytest_instafail",
                      "testmon", "pytest_sugar", "pytest_progress", "pytest_base_url", "pytest_ruff"))
ON_GITHUB = frozenset(("pytest_github_actions_annotate_failures",))  # harmless elsewhere


def mentions(code):
    """Does this code, or code inside of it, name one of MARKS?"""
    if MARKS.intersection(code.co_names):
        return True
    return any(const in MARKS if isinstance(const, STRINGS) else isinstance(const, types.CodeType) and mentions(const) for const in code.co_consts)


def leaves(body):
    return isinstance(body[-1], (ast.Return, ast.Raise))


class Finder(ast.NodeVisitor):
    """Looks for a branch that is taken outside of workers.  askers: functions of the module that answer whether this is a worker."""

    def __init__(self, askers):
        self.marks = MARKS | askers
        self.found = False

    def asks(self, node):
        for n in ast.walk(node):
            name = n.attr if isinstance(n, ast.Attribute) else n.id if isinstance(n, ast.Name) else string_of(n)
            if name is not None and name in self.marks:
                return True
        return False

    def visit_Call(self, node):
        self.found |= getattr(node.func, "attr", getattr(node.func, "id", None)) in ASK_CONTROLLER
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        self.found |= isinstance(node.op, ast.Not) and self.asks(node.operand)
        self.generic_visit(node)

    def visit_Compare(self, node):
        self.found |= self.asks(node) and (isinstance(node.ops[0], ast.NotIn) or
                                           isinstance(node.ops[0], (ast.Is, ast.Eq)) and any(mentions_none(n) for n in [node.left] + node.comparators))
        self.generic_visit(node)

    def visit_If(self, node):
        self.found |= bool(node.orelse) and self.asks(node.test)
        self.generic_visit(node)

    def visit_body(self, node):
        for statement in node.body[:-1]:
            self.found |= isinstance(statement, ast.If) and leaves(statement.body) and self.asks(statement.test)
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_With = visit_Module = visit_body


def has_other_part(function, seen):
    """Does this function, or one of its module that it calls, do something outside of workers?"""
    function = unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return False
    seen.add(code)
    called = [known for known in (function.__globals__.get(name) for name in code.co_names)
              if isinstance(known, types.FunctionType) and known.__globals__ is function.__globals__]
    askers = frozenset(known.__name__ for known in called if mentions(known.__code__))
    if askers or mentions(code):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except (EnvironmentError, TypeError, SyntaxError):
            return True  # no source to tell what it does with the answer
        finder = Finder(askers)
        finder.visit(tree)
        if finder.found:
            return True
    return any(has_other_part(known, seen) for known in called)


def harmless(plugin):
    module = (module_of(plugin) or "").partition(".")[0]
    known = module in HARMLESS or (module in ON_GITHUB and "GITHUB_ACTIONS" not in os.environ)
    return known and (module == "xdist" or Tested.is_tested(plugin))  # xdist is switched off, whatever its release


def parts(config, known_hooks):
    """[(plugin's name, [hooks])] of hooks with such a part, except `known_hooks`, which home.py reports."""
    manager, found = config.pluginmanager, []
    for plugin in manager.get_plugins():
        if is_pytests(plugin) or harmless(plugin):
            continue
        hooks = [caller.name for caller in manager.get_hookcallers(plugin) or () if caller.name not in known_hooks and
                 any(has_other_part(impl.function, set()) for impl in caller.get_hookimpls() if impl.plugin is plugin)]
        if hooks:
            found.append((plugin_name(config, plugin), sorted(hooks)))
    return sorted(found)
