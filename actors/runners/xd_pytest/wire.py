"""Codec of xd's protocol for Python.  Made by tools/wiregen.py from engine/wire.def: do not edit.

pack_NAME(field, ...)    a whole frame (header and body, sequence 0) of record NAME; bytes fields take bytes or text, lists take tuples
unpack(kind, body)       named tuple of that record; lists hold named tuples.  ValueError: not a well-formed body; bytes behind it are passed over
FrameReader().feed(b)    list of (kind, flags, sequence, body) completed by these bytes
"""
import struct
from operator import itemgetter as _at

VERSION = 1
HEADER = struct.Struct("<IHHQ")
FRAME_MAX = 16 << 20
PREAMBLE = b"\x89xd\r\n\x1a\n\x01"
_u32 = struct.Struct("<I")
_pack_u32 = _u32.pack
_text = type(u"")


class _Record(tuple):
    """As a named tuple; made by hand, because forty calls of namedtuple() take longer than all the rest of a worker's start."""
    __slots__ = ()
    _fields = ()

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % pair for pair in zip(self._fields, self)))

    def _asdict(self):
        return dict(zip(self._fields, self))


def _bytes(value):
    if isinstance(value, _text):
        try:
            value = value.encode("utf-8")
        except UnicodeEncodeError:
            value = value.encode("utf-8", "surrogatepass")
    return _pack_u32(len(value)) + value


def _list(values, write):
    return _pack_u32(len(values)) + b"".join([write(*v) for v in values])


def _frame(kind, body):
    if len(body) > FRAME_MAX:
        raise ValueError("frame of %d bytes is over the limit" % len(body))
    return HEADER.pack(len(body), kind, 0, 0) + body


def _get(body, at, number):
    end = at + number.size
    if end > len(body):
        raise ValueError("body is too short")
    return number.unpack_from(body, at), end


def _get_bytes(body, at):
    (size,), at = _get(body, at, _u32)
    if at + size > len(body):
        raise ValueError("length of a field is beyond the body")
    return bytes(body[at:at + size]), at + size


def _get_list(body, at, read):
    (count,), at = _get(body, at, _u32)
    if count > len(body) - at:
        raise ValueError("count of a list is beyond the body")
    values = []
    for _ in range(count):
        value, at = read(body, at)
        values.append(value)
    return values, at


class TEXT_(_Record):
    __slots__ = ()
    _fields = ("text", )
    text = property(_at(0))


def _write_TEXT(text):
    return _bytes(text)


def _read_TEXT(body_, at_):
    text, at_ = _get_bytes(body_, at_)
    return TEXT_((text, )), at_


class PAIR_(_Record):
    __slots__ = ()
    _fields = ("name", "value", )
    name = property(_at(0))
    value = property(_at(1))


def _write_PAIR(name, value):
    return _bytes(name) + _bytes(value)


def _read_PAIR(body_, at_):
    name, at_ = _get_bytes(body_, at_)
    value, at_ = _get_bytes(body_, at_)
    return PAIR_((name, value, )), at_


class INDEX_(_Record):
    __slots__ = ()
    _fields = ("item", )
    item = property(_at(0))


_INDEX_0 = struct.Struct("<I")


def _read_INDEX(body_, at_):
    (item,), at_ = _get(body_, at_, _INDEX_0)
    return INDEX_((item, )), at_


class RANGE_(_Record):
    __slots__ = ()
    _fields = ("first", "count", "attempt", "flags", "group", "expected_us", )
    first = property(_at(0))
    count = property(_at(1))
    attempt = property(_at(2))
    flags = property(_at(3))
    group = property(_at(4))
    expected_us = property(_at(5))


_RANGE_0 = struct.Struct("<IIHHIQ")


def _read_RANGE(body_, at_):
    (first, count, attempt, flags, group, expected_us,), at_ = _get(body_, at_, _RANGE_0)
    return RANGE_((first, count, attempt, flags, group, expected_us, )), at_


ENV_START = 16


class ENV_START_(_Record):
    __slots__ = ()
    _fields = ("python", "chdir", "env", "args", "run_uid", "spec", "cache_dir", "scratch_dir", "workers_expected", "first_worker", "flags", "runner", "nice", "project", "names", "synced", "paths", )
    python = property(_at(0))
    chdir = property(_at(1))
    env = property(_at(2))
    args = property(_at(3))
    run_uid = property(_at(4))
    spec = property(_at(5))
    cache_dir = property(_at(6))
    scratch_dir = property(_at(7))
    workers_expected = property(_at(8))
    first_worker = property(_at(9))
    flags = property(_at(10))
    runner = property(_at(11))
    nice = property(_at(12))
    project = property(_at(13))
    names = property(_at(14))
    synced = property(_at(15))
    paths = property(_at(16))


_ENV_START_8 = struct.Struct("<HHI")


def _read_ENV_START(body_, at_):
    python, at_ = _get_bytes(body_, at_)
    chdir, at_ = _get_bytes(body_, at_)
    env, at_ = _get_list(body_, at_, _read_PAIR)
    args, at_ = _get_list(body_, at_, _read_TEXT)
    run_uid, at_ = _get_bytes(body_, at_)
    spec, at_ = _get_bytes(body_, at_)
    cache_dir, at_ = _get_bytes(body_, at_)
    scratch_dir, at_ = _get_bytes(body_, at_)
    (workers_expected, first_worker, flags,), at_ = _get(body_, at_, _ENV_START_8)
    if at_ == len(body_):
        return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, b"", b"", b"", [], b"", [], )), at_
    runner, at_ = _get_bytes(body_, at_)
    nice, at_ = _get_bytes(body_, at_)
    if at_ == len(body_):
        return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, runner, nice, b"", [], b"", [], )), at_
    project, at_ = _get_bytes(body_, at_)
    if at_ == len(body_):
        return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, runner, nice, project, [], b"", [], )), at_
    names, at_ = _get_list(body_, at_, _read_TEXT)
    if at_ == len(body_):
        return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, runner, nice, project, names, b"", [], )), at_
    synced, at_ = _get_bytes(body_, at_)
    paths, at_ = _get_list(body_, at_, _read_TEXT)
    return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, runner, nice, project, names, synced, paths, )), at_


FINISH = 22


class FINISH_(_Record):
    __slots__ = ()
    _fields = ("failed", "not_run", "exit_status", "shutdown_ms", "digest_lo", "digest_hi", )
    failed = property(_at(0))
    not_run = property(_at(1))
    exit_status = property(_at(2))
    shutdown_ms = property(_at(3))
    digest_lo = property(_at(4))
    digest_hi = property(_at(5))


_FINISH_2 = struct.Struct("<i")
_FINISH_3 = struct.Struct("<Q")
_FINISH_4 = struct.Struct("<QQ")


def _read_FINISH(body_, at_):
    failed, at_ = _get_list(body_, at_, _read_INDEX)
    not_run, at_ = _get_list(body_, at_, _read_INDEX)
    (exit_status,), at_ = _get(body_, at_, _FINISH_2)
    if at_ == len(body_):
        return FINISH_((failed, not_run, exit_status, 0, 0, 0, )), at_
    (shutdown_ms,), at_ = _get(body_, at_, _FINISH_3)
    if at_ == len(body_):
        return FINISH_((failed, not_run, exit_status, shutdown_ms, 0, 0, )), at_
    (digest_lo, digest_hi,), at_ = _get(body_, at_, _FINISH_4)
    return FINISH_((failed, not_run, exit_status, shutdown_ms, digest_lo, digest_hi, )), at_


CONFIG = 32


def _write_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes):
    return _bytes(python) + _bytes(python_version) + _bytes(pytest_version) + _bytes(rootdir) + _bytes(invocation_dir) + _list(header, _write_TEXT) + _list(options, _write_PAIR) + _list(notes, _write_TEXT)

def pack_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes):
    return _frame(32, _write_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes))


COLLECT_IDS = 33


COLLECTED = 34


_COLLECTED_0 = struct.Struct("<IIIQQi")
_COLLECTED_2 = struct.Struct("<B")
_COLLECTED_4 = struct.Struct("<QB")
_COLLECTED_6 = struct.Struct("<I")


def _write_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines, room):
    return _COLLECTED_0.pack(count, deselected, errors, digest_lo, digest_hi, exit_status) + _bytes(stop_reason) + _COLLECTED_2.pack(way) + _bytes(why) + _COLLECTED_4.pack(duration_us, in_order) + _list(lines, _write_TEXT) + _COLLECTED_6.pack(room)

def pack_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines, room):
    return _frame(34, _write_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines, room))


REPORT = 35


_REPORT_0 = struct.Struct("<IHH")
_REPORT_10 = struct.Struct("<i")
_REPORT_13 = struct.Struct("<QQ")
_REPORT_17 = struct.Struct("<I")


def _write_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, heading, duration_us, start_us, sections, properties, attributes, flags):
    return _REPORT_0.pack(item, attempt, worker) + _bytes(nodeid) + _bytes(when) + _bytes(category) + _bytes(letter) + _bytes(word) + _bytes(outcome) + _bytes(text) + _bytes(message) + _bytes(path) + _REPORT_10.pack(line) + _bytes(subtest) + _bytes(heading) + _REPORT_13.pack(duration_us, start_us) + _list(sections, _write_PAIR) + _list(properties, _write_PAIR) + _list(attributes, _write_PAIR) + _REPORT_17.pack(flags)

def pack_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, heading, duration_us, start_us, sections, properties, attributes, flags):
    return _frame(35, _write_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, heading, duration_us, start_us, sections, properties, attributes, flags))


WARNING = 36


_WARNING_0 = struct.Struct("<IH")
_WARNING_6 = struct.Struct("<I")


def _write_WARNING(item, worker, when, category, nodeid, text, file, line):
    return _WARNING_0.pack(item, worker) + _bytes(when) + _bytes(category) + _bytes(nodeid) + _bytes(text) + _bytes(file) + _WARNING_6.pack(line)

def pack_WARNING(item, worker, when, category, nodeid, text, file, line):
    return _frame(36, _write_WARNING(item, worker, when, category, nodeid, text, file, line))


SUITE_PROPERTY = 45


_SUITE_PROPERTY_0 = struct.Struct("<H")


def _write_SUITE_PROPERTY(worker, name, value):
    return _SUITE_PROPERTY_0.pack(worker) + _bytes(name) + _bytes(value)

def pack_SUITE_PROPERTY(worker, name, value):
    return _frame(45, _write_SUITE_PROPERTY(worker, name, value))


SUMMARY = 46


_SUMMARY_0 = struct.Struct("<H")


def _write_SUMMARY(worker, text):
    return _SUMMARY_0.pack(worker) + _bytes(text)

def pack_SUMMARY(worker, text):
    return _frame(46, _write_SUMMARY(worker, text))


RESULT = 64


ENV_FAILED = 42


_ENV_FAILED_0 = struct.Struct("<i")


def _write_ENV_FAILED(exit_status, text):
    return _ENV_FAILED_0.pack(exit_status) + _bytes(text)

def pack_ENV_FAILED(exit_status, text):
    return _frame(42, _write_ENV_FAILED(exit_status, text))


HOST_READY = 65


_HOST_READY_0 = struct.Struct("<I")


def _write_HOST_READY(collector_pid):
    return _HOST_READY_0.pack(collector_pid)

_frame_HOST_READY = struct.Struct("<IHHQI")


def pack_HOST_READY(collector_pid):
    return _frame_HOST_READY.pack(_frame_HOST_READY.size - 16, 65, 0, 0, collector_pid)


FORK = 66


class FORK_(_Record):
    __slots__ = ()
    _fields = ("worker", "slot", "total", "become", "maxfail", "name", )
    worker = property(_at(0))
    slot = property(_at(1))
    total = property(_at(2))
    become = property(_at(3))
    maxfail = property(_at(4))
    name = property(_at(5))


_FORK_0 = struct.Struct("<HHHBI")


def _read_FORK(body_, at_):
    (worker, slot, total, become, maxfail,), at_ = _get(body_, at_, _FORK_0)
    if at_ == len(body_):
        return FORK_((worker, slot, total, become, maxfail, b"", )), at_
    name, at_ = _get_bytes(body_, at_)
    return FORK_((worker, slot, total, become, maxfail, name, )), at_


FORKED = 67


_FORKED_0 = struct.Struct("<HI")


def _write_FORKED(worker, pid, error):
    return _FORKED_0.pack(worker, pid) + _bytes(error)

def pack_FORKED(worker, pid, error):
    return _frame(67, _write_FORKED(worker, pid, error))


REAP = 68


class REAP_(_Record):
    __slots__ = ()
    _fields = ("pid", )
    pid = property(_at(0))


_REAP_0 = struct.Struct("<I")


def _read_REAP(body_, at_):
    (pid,), at_ = _get(body_, at_, _REAP_0)
    return REAP_((pid, )), at_


REAPED = 69


_REAPED_0 = struct.Struct("<Iii")


def _write_REAPED(pid, exit_status, signal):
    return _REAPED_0.pack(pid, exit_status, signal)

_frame_REAPED = struct.Struct("<IHHQIii")


def pack_REAPED(pid, exit_status, signal):
    return _frame_REAPED.pack(_frame_REAPED.size - 16, 69, 0, 0, pid, exit_status, signal)


RUN = 70


class RUN_(_Record):
    __slots__ = ()
    _fields = ("first", "last", "ranges", )
    first = property(_at(0))
    last = property(_at(1))
    ranges = property(_at(2))


_RUN_0 = struct.Struct("<IB")


def _read_RUN(body_, at_):
    (first, last,), at_ = _get(body_, at_, _RUN_0)
    ranges, at_ = _get_list(body_, at_, _read_RANGE)
    return RUN_((first, last, ranges, )), at_


ORDER = 75


class ORDER_(_Record):
    __slots__ = ()
    _fields = ("places", )
    places = property(_at(0))


def _read_ORDER(body_, at_):
    places, at_ = _get_list(body_, at_, _read_INDEX)
    return ORDER_((places, )), at_


QUIT = 71


class QUIT_(_Record):
    __slots__ = ()
    _fields = ()


def _read_QUIT(body_, at_):
    return QUIT_(()), at_


WORKER_READY = 72


_WORKER_READY_0 = struct.Struct("<IIB")


def _write_WORKER_READY(pid, count, same):
    return _WORKER_READY_0.pack(pid, count, same)

_frame_WORKER_READY = struct.Struct("<IHHQIIB")


def pack_WORKER_READY(pid, count, same):
    return _frame_WORKER_READY.pack(_frame_WORKER_READY.size - 16, 72, 0, 0, pid, count, same)


WORKER_DONE = 73


_WORKER_DONE_0 = struct.Struct("<i")
_WORKER_DONE_2 = struct.Struct("<B")


def _write_WORKER_DONE(exit_status, reason, stopped):
    return _WORKER_DONE_0.pack(exit_status) + _bytes(reason) + _WORKER_DONE_2.pack(stopped)

def pack_WORKER_DONE(exit_status, reason, stopped):
    return _frame(73, _write_WORKER_DONE(exit_status, reason, stopped))


SAVED = 74


_SAVED_0 = struct.Struct("<B")


def _write_SAVED(fault):
    return _SAVED_0.pack(fault)

_frame_SAVED = struct.Struct("<IHHQB")


def pack_SAVED(fault):
    return _frame_SAVED.pack(_frame_SAVED.size - 16, 74, 0, 0, fault)


_READERS = {
    16: _read_ENV_START,
    22: _read_FINISH,
    66: _read_FORK,
    68: _read_REAP,
    70: _read_RUN,
    75: _read_ORDER,
    71: _read_QUIT,
}

class FrameReader(object):
    """Cuts a byte stream into frames."""

    def __init__(self):
        self._rest = b""

    def feed(self, data):
        rest = self._rest + data if self._rest else data
        at, frames = 0, []
        while len(rest) - at >= 16:
            size, kind, flags, sequence = HEADER.unpack_from(rest, at)
            if size > FRAME_MAX:
                raise ValueError("frame of %d bytes is over the limit" % size)
            end = at + 16 + size
            if end > len(rest):
                break
            frames.append((kind, flags, sequence, rest[at + 16:end]))
            at = end
        self._rest = rest[at:]
        return frames


def unpack(kind, body):
    try:
        read = _READERS[kind]
    except KeyError:
        raise ValueError("no record has the number %d" % kind)
    return read(body, 0)[0]  # bytes that are left are fields of a newer xd
