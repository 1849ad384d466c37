"""`python -m xd`, and the scripts xdctl and xdagent: this process becomes the native program."""
import importlib.util
import os
import sys

import xd

COMMANDS_WITH_TESTS = ("run", "doctor")


def arguments(given):
    """Where pytest is installed beside us, its interpreter runs the tests, unless a later --python says otherwise. Specs may lead to hosts
    that have no such path: there the virtual environment is named, which only workers of this machine see."""
    if not given or given[0] not in COMMANDS_WITH_TESTS or not importlib.util.find_spec("pytest"):
        return given
    if any(word.startswith(("--tx", "--hosts")) for word in given):
        if sys.prefix != sys.base_prefix:
            os.environ["VIRTUAL_ENV"] = sys.prefix
        return given
    return [given[0], "--python=" + sys.executable] + given[1:]


def main():
    os.execv(xd.program("xdctl"), ["xdctl"] + arguments(sys.argv[1:]))


def agent():
    os.execv(xd.program("xdagent"), ["xdagent"] + sys.argv[1:])


if __name__ == "__main__":
    main()
