"""`python -m xd`, and the scripts xdctl and xdagent: this process becomes the native program."""
import importlib.util
import os
import sys

import xd

COMMANDS_WITH_TESTS = ("run", "doctor")


def arguments(given):
    """Where pytest is installed beside us, its interpreter runs the tests, unless a later --python says otherwise."""
    if given and given[0] in COMMANDS_WITH_TESTS and importlib.util.find_spec("pytest"):
        return [given[0], "--python=" + sys.executable] + given[1:]
    return given


def main():
    os.execv(xd.program("xdctl"), ["xdctl"] + arguments(sys.argv[1:]))


def agent():
    os.execv(xd.program("xdagent"), ["xdagent"] + sys.argv[1:])


if __name__ == "__main__":
    main()
