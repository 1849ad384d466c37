"""xd as a wheel: the native programs xdctl, xdagent and xdserve, and `python -m xd`."""
import os

PROGRAMS = os.path.dirname(os.path.abspath(__file__))


def program(name):
    """Path of "xdctl", "xdagent" or "xdserve"."""
    return os.path.join(PROGRAMS, "bin" if name == "xdctl" else os.path.join("libexec", "xd"), name)
