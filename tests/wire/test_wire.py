"""The generated Python codec against the golden vectors, in this Python and in every other one that is here.

    python3 tests/wire/test_wire.py [-v]
"""
from __future__ import print_function

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import types
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
later = dict((r.name, r.later) for r in wiregen.parse(os.path.join(ROOT, "engine", "wire.def")))


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


# What each number meant when it was first sent. Written down once, as the vectors are: a later xd may only add to it.
NUMBERS = """
NO WORKER=65535 INDEX=4294967295
GATEWAY NONE=65535
TUNNEL UNKNOWN_KEY=1 REVOKED_KEY=2 EXPIRED_KEY=3 ADDRESS=4 VERSION=5 BUSY=6 NO_AGENT=7 PROTOCOL=8 BAD_TOKEN=9 EXPIRED_TOKEN=10 UNFIT=11 OVER=12
OUT NONE=0 PASSED=1 FAILED=2 SKIPPED=3 XFAILED=4 XPASSED=5 ERROR=6 CRASHED=7 TIMEOUT=8 LOST=9 NOT_RUN=10
RES REPORTS=1 TEARDOWN_ERROR=2 CLOSES=4 OPEN=8 AGAIN=16
REP NOTRUN=1 WASXFAIL=2 STRICT=4 CUT=8 FOLDED=16 MARKUP=32 CLOSES=64
WAY COLLECTED=1 WARM=2 FRESH=3
LOOK GOOD=0 FOLDER=1 INTERPRETER=2 FRAMEWORK=3 DISK=4
ENV AS_MODULE=1 NO_FORK=2 =4 =8 KEEPS_CACHE=16 OWN_WORKERS=32 TTY=64 PROGRESS=128 PLAIN=256
PACKAGE PLUGIN=1 OWN=2
RANGE TOGETHER=1
RUN LAST=1 FINAL=2
CANCEL DRAIN=1 GRACE=2 NOW=3
NOTE DETAIL=1 NOTE=2 WARNING=3 ERROR=4 USAGE=5
OUTPUT STDOUT=1 STDERR=2
DOWN FOR_GOOD=0 REPLACED=1 NO_BUDGET=2
CAP PING=1 RECONNECT=2 BEAT=4 SYNC=8 ZSTD=16
SYNC GONE=0 FILE=1 FOLDER=2 LINK=3 WAY=4 KEPT=5
SYNC_FLAG PROJECT=1 DELETE=2 DRY_RUN=4 TELL=8 ALONE=16
SYNC_CODEC PLAIN=0 ZSTD=1
SYNC_OP DATA=0 COPY=1
"""


class NumbersTest(unittest.TestCase):
    def test_none_has_another_meaning(self):
        known = dict((enum.name, enum) for enum in wiregen.parse_enums(os.path.join(ROOT, "engine", "wire.def")))
        self.assertEqual(sorted(known), sorted(line.split()[0] for line in NUMBERS.strip().split("\n")))
        for line in NUMBERS.strip().split("\n"):
            enum, words = known[line.split()[0]], line.split()[1:]
            now = [(name, int(number, 0)) for name, number, _doc in enum.values] + [("", int(number, 0)) for number, _doc in enum.retired]
            self.assertEqual(sorted(now), sorted((word.split("=")[0], int(word.split("=")[1])) for word in words))

    def test_python_has_them(self):
        from xd_pytest import constants
        for module in (wire, constants):
            self.assertEqual((module.NO_WORKER, module.OUT_NOT_RUN, module.RES_OPEN, module.EXIT_INCOMPLETE), (0xffff, 10, 8, 7))
            self.assertFalse(hasattr(module, "ENV_NO_COLLECTED"))

    def test_a_number_is_not_used_again(self):
        with open(os.path.join(ROOT, "engine", "wire.def")) as f:
            text = f.read()
        for line in ('XD_VALUE(ENV, AGAIN, 4, "a retired one")', 'XD_VALUE(ENV, AGAIN, 16, "one in use")', 'XD_VALUE(OUT, AGAIN, 99, "of another")'):
            path = os.path.join(tempfile.mkdtemp(), "wire.def")
            with open(path, "w") as f:
                f.write(text.replace("XD_ENUM_END(ENV)", line + "\nXD_ENUM_END(ENV)"))
            try:
                self.assertRaises(SystemExit, wiregen.parse_enums, path)
            finally:
                shutil.rmtree(os.path.dirname(path))


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
        """Cut at every byte: an error, except where fields begin that came later."""
        for record, number, which, _given, frame in make_vectors.vectors():
            body = frame[wire.HEADER.size:]
            whole = []
            for cut in range(len(body)):
                try:
                    wire.unpack(number, body[:cut])
                    whole.append(cut)
                except ValueError:
                    pass
            self.assertEqual(len(whole), len(later[record]), "%s %s cut at %s was taken as whole" % (record, which, whole))

    def test_fields_of_a_newer_xd(self):
        for _record, number, _which, given, frame in make_vectors.vectors():
            self.assertEqual(plain(wire.unpack(number, frame[wire.HEADER.size:] + b"more")), plain(given))

    def test_bodies_of_the_first_version(self):
        with open(os.path.join(HERE, "vectors-1.txt")) as f:
            lines = [line.split() for line in f if not line.startswith("#")]
        self.assertGreater(len(lines), 100)
        given = dict(((record, which), values) for record, _number, which, values, _frame in make_vectors.vectors())
        for record, number, which, frame in lines:
            got = plain(wire.unpack(int(number), bytes(bytearray.fromhex(frame))[wire.HEADER.size:]))
            at = later[record][0] if later[record] else len(got)
            self.assertEqual(got[:at], plain(given[record, which])[:at], record)
            self.assertTrue(not any(got[at:]), record)

    def test_a_field_that_came_later(self):
        """The generator on a record of its own: older, present and newer bodies."""
        for fields in (("XD_NUM(R, u8, a, \"\")", "XD_NUM(R, u8, b, \"\")"), ("XD_STR(R, a, \"\")", "XD_LST(R, PART, b, \"\")")):
            text = "\n".join(("XD_REC(PART, 0, \"\")", "XD_NUM(PART, u8, x, \"\")", "XD_END(PART)", "XD_REC(R, 1, \"\")", fields[0],
                              "XD_LATER(R)", fields[1], "XD_LATER(R)", "XD_STR(R, c, \"\")", "XD_END(R)")) + "\n"
            module = types.ModuleType("later")
            exec(compile(wiregen.python_module(self.parsed(text)), "<later>", "exec"), module.__dict__)
            first, second = (1, 2) if "u8" in fields[0] else (b"one", [(7,)])
            frame = module.pack_R(a=first, b=second, c="three")[module.HEADER.size:]
            ends = [len(frame)] + [n for n in range(len(frame)) if self.is_whole(module, frame[:n])]
            self.assertEqual(len(ends), 3)
            empty = 0 if "u8" in fields[0] else []
            self.assertEqual(plain(module.unpack(1, frame[:ends[1]])), plain([first, empty, b""]))
            self.assertEqual(plain(module.unpack(1, frame[:ends[2]])), plain([first, second, b""]))
            self.assertEqual(plain(module.unpack(1, frame + b"!")), plain([first, second, b"three"]))
        with self.assertRaises(SystemExit):
            self.parsed("XD_REC(P, 0, \"\")\nXD_LATER(P)\nXD_NUM(P, u8, x, \"\")\nXD_END(P)\n"
                        "XD_REC(R, 1, \"\")\nXD_LST(R, P, ps, \"\")\nXD_END(R)\n")

    @staticmethod
    def parsed(text):
        folder = tempfile.mkdtemp()
        try:
            path = os.path.join(folder, "wire.def")
            with open(path, "w") as f:
                f.write(text)
            return wiregen.parse(path)
        finally:
            shutil.rmtree(folder)

    @staticmethod
    def is_whole(module, body):
        try:
            module.unpack(1, body)
            return True
        except ValueError:
            return False

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
