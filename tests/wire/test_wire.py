"""The generated Python codec against the golden vectors, in this Python and in every other one that is here.

    python3 tests/wire/test_wire.py [-v]
"""
from __future__ import print_function

import glob
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(ROOT, "actors", "runners"))

sys.path.insert(0, os.path.join(ROOT, "tools"))

import make_vectors
import wiregen
from xd_pytest import wire as adapters

wire = wiregen.codec()


def plain(value):
    """Records and lists of the codec as lists of plain values."""
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return bytes(value) if isinstance(value, (bytes, bytearray)) else value


def packed(table, record, given, wire=wire):
    """The frame as the codec makes it; a list of records goes in as tuples."""
    arguments = {}
    for (field, kind), value in zip(table[record][1], given):
        arguments[field] = value if kind in make_vectors.FORMATS or kind == "bytes" else [as_tuple(table, kind, v) for v in value]
    return getattr(wire, "pack_" + record)(**arguments)


def as_tuple(table, record, given):
    return tuple(value if kind in make_vectors.FORMATS or kind == "bytes" else [as_tuple(table, kind, v) for v in value]
                 for (_field, kind), value in zip(table[record][1], given))


class WireTest(unittest.TestCase):
    def setUp(self):
        self.table = make_vectors.records()

    def test_file_is_what_the_encoder_makes(self):
        with open(make_vectors.PATH) as f:
            self.assertTrue(f.read() == make_vectors.text(), "make_vectors.py makes another file")

    def test_all_records_are_there(self):
        known = dict((name, getattr(wire, name)) for name in dir(wire) if hasattr(wire, name + "_") and isinstance(getattr(wire, name), int))
        self.assertEqual(known, dict((name, number) for name, (number, _fields) in self.table.items() if number))
        for name, (_number, fields) in self.table.items():
            if hasattr(wire, name + "_"):
                self.assertEqual(list(getattr(wire, name + "_")._fields), [field for field, _kind in fields], name)

    def test_packs_and_unpacks(self):
        for record, number, which, given, frame in make_vectors.vectors():
            self.assertEqual(packed(self.table, record, given), frame, (record, which))
            got = wire.FrameReader().feed(frame)
            self.assertEqual([g[:3] for g in got], [(number, 0, 0)], (record, which))
            self.assertEqual(plain(wire.unpack(number, bytes(got[0][3]))), plain(given), (record, which))

    def test_adapters_part(self):
        for record, number, which, given, frame in make_vectors.vectors():
            if record in wiregen.RUNNER_SAYS:
                self.assertEqual(packed(self.table, record, given, adapters), frame, (record, which))
            if record in wiregen.RUNNER_HEARS:
                self.assertEqual(plain(adapters.unpack(number, frame[wire.HEADER.size:])), plain(given), (record, which))
            if record in wiregen.RUNNER_SAYS + wiregen.RUNNER_HEARS + wiregen.RUNNER_WRITES_ITSELF:
                self.assertEqual(getattr(adapters, record), number)

    def test_short_bodies(self):
        """Cut at every byte: an error, or (a cut list's end) never more than was there."""
        for record, number, which, _given, frame in make_vectors.vectors():
            body = frame[wire.HEADER.size:]
            for cut in range(len(body)):
                with self.assertRaises(ValueError, msg="%s %s cut at %d" % (record, which, cut)):
                    wire.unpack(number, body[:cut])
            with self.assertRaises(ValueError):
                wire.unpack(number, body + b"\0")

    def test_frames_in_pieces(self):
        stream = b"".join(frame for _record, _number, _which, _given, frame in make_vectors.vectors())
        whole = [tuple(plain(f)) for f in wire.FrameReader().feed(stream)]
        for size in (1, 7, 1000):
            reader, got = wire.FrameReader(), []
            for at in range(0, len(stream), size):
                got += [tuple(plain(f)) for f in reader.feed(stream[at:at + size])]
            self.assertEqual(got, whole)

    def test_text_with_lone_surrogates(self):
        if sys.version_info < (3,):
            return
        frame = wire.pack_NOTE(level=1, text="a\ud800b")
        self.assertEqual(wire.unpack(wire.NOTE, frame[wire.HEADER.size:]).text, b"a\xed\xa0\x80b")


class OtherPythonsTest(unittest.TestCase):
    def test_others(self):
        pythons = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")))
        if not pythons:
            raise unittest.SkipTest("no other Pythons under ~/.pyenv/versions")
        env = dict(os.environ, XD_WIRE_INNER="1", PYTHONDONTWRITEBYTECODE="1")
        for python in pythons:
            done = subprocess.Popen([python, os.path.abspath(__file__)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
            out = done.communicate()[0]
            self.assertEqual(done.returncode, 0, "%s\n%s" % (python, out.decode("utf-8", "replace")))


if os.environ.get("XD_WIRE_INNER"):
    del OtherPythonsTest
if sys.version_info < (3,):  # unittest of 2.7 knows no msg= here
    plain_raises = WireTest.assertRaises
    WireTest.assertRaises = lambda self, kind, *a, **k: plain_raises(self, kind, *a, **dict((n, v) for n, v in k.items() if n != "msg"))

if __name__ == "__main__":
    unittest.main()
