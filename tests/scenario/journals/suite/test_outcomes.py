import os
import signal
import sys
import unittest
import warnings

import pytest


@pytest.mark.parametrize("n", range(12))
def test_ok(n):
    pass


@pytest.mark.parametrize("text", ["a b", "ä-ü", "[x]", "日本"])
def test_names(text):
    pass


def test_fail():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    x = [1, 2]
    assert x == [1, 3], "not the same"


@pytest.mark.skip(reason="not here")
def test_skip():
    pass


@pytest.mark.xfail(reason="known bug")
def test_xfail():
    assert 0


@pytest.mark.xfail(reason="thought to fail")
def test_xpass():
    pass


@pytest.mark.xfail(reason="strict", strict=True)
def test_xpass_strict():
    pass


def test_setup_error(bad_start):
    pass


def test_teardown_error(bad_end):
    pass


def test_fails_twice(bad_end):
    raise ValueError("line 1\nline 2 <&> \x1b[31m")


def test_warns():
    warnings.warn("a warning of the test")


def test_properties(record_property, record_xml_attribute):
    record_property("key", "value")
    record_xml_attribute("assertions", "7")


def test_writes_past_capture():
    os.write(2, b"captured by descriptor\n")


class TestCase(unittest.TestCase):
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)


def test_output(capfd):
    with capfd.disabled():
        os.write(1, b"past the capture\n")
