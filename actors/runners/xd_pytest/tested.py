"""Releases of plugins with which the exemptions of this package were tested.

An exemption (a hook that does no harm in a copy of the process, a part that nobody misses) was found by reading a plugin's code and running it, so it
holds for the releases that were read.  Of another release the plugin is looked at like one that nobody knows: the run may be slower, or a note more, but
not wrong.  What xd refuses, or hands over, does not depend on the release."""
from __future__ import absolute_import, division, print_function

import re

from xd_pytest.plugins import module_of
from xd_pytest.pythons import STRINGS, release_of

# {package or module: (distribution, first, last)}; of the last, all releases that begin like it.
RELEASES = {
    "_hypothesis_pytestplugin": ("hypothesis", "6.30", "6.170"),
    "flaky": ("flaky", "3.7", "3.8"),
    "pytest_base_url": ("pytest-base-url", "2.1", "2.1"),
    "pytest_bdd": ("pytest-bdd", "6.1", "9.0"),
    "pytest_benchmark": ("pytest-benchmark", "4.0", "5.3"),
    "pytest_codspeed": ("pytest-codspeed", "5.0", "5.0"),  # 2.1 switches the profiler's trampolines on
    "pytest_django": ("pytest-django", "4.5", "4.14"),
    "pytest_github_actions_annotate_failures": ("pytest-github-actions-annotate-failures", "0.4", "0.4"),
    "pytest_html": ("pytest-html", "3.2", "4.2"),
    "pytest_httpserver": ("pytest-httpserver", "1.0.6", "1.2"),
    "pytest_instafail": ("pytest-instafail", "0.5", "0.5"),
    "pytest_jsonreport": ("pytest-json-report", "1.5", "1.5"),
    "pytest_memray": ("pytest-memray", "1.11", "1.11"),
    "pytest_metadata": ("pytest-metadata", "3.1", "3.1"),
    "pytest_mock": ("pytest-mock", "3.8", "3.17"),
    "pytest_pretty": ("pytest-pretty", "1.0", "1.3"),
    "pytest_progress": ("pytest-progress", "1.4", "1.4"),
    "pytest_randomly": ("pytest-randomly", "3.11", "5.1"),
    "pytest_recording": ("pytest-recording", "0.12.2", "0.14"),
    "pytest_reportlog": ("pytest-reportlog", "0.2.1", "1.0"),
    "pytest_rerunfailures": ("pytest-rerunfailures", "10.3", "16.7"),
    "pytest_ruff": ("pytest-ruff", "0.1", "0.5"),
    "pytest_subtests": ("pytest-subtests", "0.8", "0.15"),
    "pytest_sugar": ("pytest-sugar", "0.9.5", "1.1"),
    "random_order": ("pytest-random-order", "1.2", "1.2"),
    "testmon": ("pytest-testmon", "2.2", "2.2"),
    "xprocess": ("pytest-xprocess", "0.22.2", "1.0"),
}


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text.partition("+")[0])]


def is_within(release, first, last):
    release, last = numbers(release), numbers(last)
    return numbers(first) <= release and release[:len(last)] <= last


class Tested(object):
    """Asked only of plugins that an exemption names."""
    found = {}  # {package: whether its release is one of those}

    @classmethod
    def is_tested(cls, thing):
        """Whether the exemptions hold for this plugin, function, or module of that name."""
        package = (thing if isinstance(thing, STRINGS) else module_of(thing) or "").partition(".")[0]
        if package not in RELEASES:
            return False
        if package not in cls.found:
            distribution, first, last = RELEASES[package]
            release = release_of(distribution)
            cls.found[package] = release is not None and is_within(release, first, last)
        return cls.found[package]


def untested(thing):
    """For a message: why the exemptions do not hold, where there are some; else nothing."""
    known = RELEASES.get((module_of(thing) or "").partition(".")[0])
    if known is None or Tested.is_tested(thing):
        return ""
    return " (%s is %s; releases that are known to do no harm: %s to %s)" % (known[0], release_of(known[0]) or "of unknown release", known[1], known[2])
