"""Codec of xd's protocol for Python 2.7 and 3.6+.  Made by tools/wiregen.py from engine/wire.def: do not edit.

pack_NAME(field, ...)    a whole frame (header and body, sequence 0) of record NAME; bytes fields take bytes or text, lists take tuples
unpack(kind, body)       named tuple of that record; lists hold named tuples.  ValueError: not a well-formed body
FrameReader().feed(b)    list of (kind, flags, sequence, body) completed by these bytes
"""
import struct
from operator import itemgetter as _at

VERSION = 1
HEADER = struct.Struct("<IHHQ")
FRAME_MAX = 16 << 20
PREAMBLE = b"\x89xd\r\n\x1a\n\x01"
NONE32 = 0xffffffff
NONE16 = 0xffff
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


def _read_TEXT(body, at):
    text, at = _get_bytes(body, at)
    return TEXT_((text, )), at



class PAIR_(_Record):
    __slots__ = ()
    _fields = ("name", "value", )
    name = property(_at(0))
    value = property(_at(1))




def _write_PAIR(name, value):
    return _bytes(name) + _bytes(value)


def _read_PAIR(body, at):
    name, at = _get_bytes(body, at)
    value, at = _get_bytes(body, at)
    return PAIR_((name, value, )), at



class INDEX_(_Record):
    __slots__ = ()
    _fields = ("item", )
    item = property(_at(0))


_INDEX_0 = struct.Struct("<I")


def _write_INDEX(item):
    return _INDEX_0.pack(item)


def _read_INDEX(body, at):
    (item,), at = _get(body, at, _INDEX_0)
    return INDEX_((item, )), at



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


def _write_RANGE(first, count, attempt, flags, group, expected_us):
    return _RANGE_0.pack(first, count, attempt, flags, group, expected_us)


def _read_RANGE(body, at):
    (first, count, attempt, flags, group, expected_us,), at = _get(body, at, _RANGE_0)
    return RANGE_((first, count, attempt, flags, group, expected_us, )), at



class NODEID_(_Record):
    __slots__ = ()
    _fields = ("shared", "id", "line", "file", "group", )
    shared = property(_at(0))
    id = property(_at(1))
    line = property(_at(2))
    file = property(_at(3))
    group = property(_at(4))


_NODEID_0 = struct.Struct("<H")
_NODEID_2 = struct.Struct("<i")


def _write_NODEID(shared, id, line, file, group):
    return _NODEID_0.pack(shared) + _bytes(id) + _NODEID_2.pack(line) + _bytes(file) + _bytes(group)


def _read_NODEID(body, at):
    (shared,), at = _get(body, at, _NODEID_0)
    id, at = _get_bytes(body, at)
    (line,), at = _get(body, at, _NODEID_2)
    file, at = _get_bytes(body, at)
    group, at = _get_bytes(body, at)
    return NODEID_((shared, id, line, file, group, )), at



class RUNNING_(_Record):
    __slots__ = ()
    _fields = ("worker", "item", "age_ms", )
    worker = property(_at(0))
    item = property(_at(1))
    age_ms = property(_at(2))


_RUNNING_0 = struct.Struct("<HII")


def _write_RUNNING(worker, item, age_ms):
    return _RUNNING_0.pack(worker, item, age_ms)


def _read_RUNNING(body, at):
    (worker, item, age_ms,), at = _get(body, at, _RUNNING_0)
    return RUNNING_((worker, item, age_ms, )), at


HELLO = 1


class HELLO_(_Record):
    __slots__ = ()
    _fields = ("version_min", "version_max", "capabilities", "build_id", "host", "system", "pid", "cpus", "memory_bytes", )
    version_min = property(_at(0))
    version_max = property(_at(1))
    capabilities = property(_at(2))
    build_id = property(_at(3))
    host = property(_at(4))
    system = property(_at(5))
    pid = property(_at(6))
    cpus = property(_at(7))
    memory_bytes = property(_at(8))


_HELLO_0 = struct.Struct("<HHQ")
_HELLO_4 = struct.Struct("<IIQ")


def _write_HELLO(version_min, version_max, capabilities, build_id, host, system, pid, cpus, memory_bytes):
    return _HELLO_0.pack(version_min, version_max, capabilities) + _bytes(build_id) + _bytes(host) + _bytes(system) + _HELLO_4.pack(pid, cpus, memory_bytes)


def _read_HELLO(body, at):
    (version_min, version_max, capabilities,), at = _get(body, at, _HELLO_0)
    build_id, at = _get_bytes(body, at)
    host, at = _get_bytes(body, at)
    system, at = _get_bytes(body, at)
    (pid, cpus, memory_bytes,), at = _get(body, at, _HELLO_4)
    return HELLO_((version_min, version_max, capabilities, build_id, host, system, pid, cpus, memory_bytes, )), at


def pack_HELLO(version_min, version_max, capabilities, build_id, host, system, pid, cpus, memory_bytes):
    return _frame(1, _write_HELLO(version_min, version_max, capabilities, build_id, host, system, pid, cpus, memory_bytes))


WELCOME = 2


class WELCOME_(_Record):
    __slots__ = ()
    _fields = ("version", "capabilities", "session", "window_frames", "window_bytes", )
    version = property(_at(0))
    capabilities = property(_at(1))
    session = property(_at(2))
    window_frames = property(_at(3))
    window_bytes = property(_at(4))


_WELCOME_0 = struct.Struct("<HQQII")


def _write_WELCOME(version, capabilities, session, window_frames, window_bytes):
    return _WELCOME_0.pack(version, capabilities, session, window_frames, window_bytes)


def _read_WELCOME(body, at):
    (version, capabilities, session, window_frames, window_bytes,), at = _get(body, at, _WELCOME_0)
    return WELCOME_((version, capabilities, session, window_frames, window_bytes, )), at


_frame_WELCOME = struct.Struct("<IHHQHQQII")


def pack_WELCOME(version, capabilities, session, window_frames, window_bytes):
    return _frame_WELCOME.pack(_frame_WELCOME.size - 16, 2, 0, 0, version, capabilities, session, window_frames, window_bytes)


ACK = 3


class ACK_(_Record):
    __slots__ = ()
    _fields = ("acked", )
    acked = property(_at(0))


_ACK_0 = struct.Struct("<Q")


def _write_ACK(acked):
    return _ACK_0.pack(acked)


def _read_ACK(body, at):
    (acked,), at = _get(body, at, _ACK_0)
    return ACK_((acked, )), at


_frame_ACK = struct.Struct("<IHHQQ")


def pack_ACK(acked):
    return _frame_ACK.pack(_frame_ACK.size - 16, 3, 0, 0, acked)


REFUSE = 4


class REFUSE_(_Record):
    __slots__ = ()
    _fields = ("version_min", "version_max", "reason", )
    version_min = property(_at(0))
    version_max = property(_at(1))
    reason = property(_at(2))


_REFUSE_0 = struct.Struct("<HH")


def _write_REFUSE(version_min, version_max, reason):
    return _REFUSE_0.pack(version_min, version_max) + _bytes(reason)


def _read_REFUSE(body, at):
    (version_min, version_max,), at = _get(body, at, _REFUSE_0)
    reason, at = _get_bytes(body, at)
    return REFUSE_((version_min, version_max, reason, )), at


def pack_REFUSE(version_min, version_max, reason):
    return _frame(4, _write_REFUSE(version_min, version_max, reason))


BYE = 5


class BYE_(_Record):
    __slots__ = ()
    _fields = ("status", )
    status = property(_at(0))


_BYE_0 = struct.Struct("<i")


def _write_BYE(status):
    return _BYE_0.pack(status)


def _read_BYE(body, at):
    (status,), at = _get(body, at, _BYE_0)
    return BYE_((status, )), at


_frame_BYE = struct.Struct("<IHHQi")


def pack_BYE(status):
    return _frame_BYE.pack(_frame_BYE.size - 16, 5, 0, 0, status)


ENV_START = 16


class ENV_START_(_Record):
    __slots__ = ()
    _fields = ("python", "chdir", "env", "args", "run_uid", "spec", "cache_dir", "scratch_dir", "workers_expected", "first_worker", "flags", )
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


_ENV_START_8 = struct.Struct("<HHI")


def _write_ENV_START(python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags):
    return _bytes(python) + _bytes(chdir) + _list(env, _write_PAIR) + _list(args, _write_TEXT) + _bytes(run_uid) + _bytes(spec) + _bytes(cache_dir) + _bytes(scratch_dir) + _ENV_START_8.pack(workers_expected, first_worker, flags)


def _read_ENV_START(body, at):
    python, at = _get_bytes(body, at)
    chdir, at = _get_bytes(body, at)
    env, at = _get_list(body, at, _read_PAIR)
    args, at = _get_list(body, at, _read_TEXT)
    run_uid, at = _get_bytes(body, at)
    spec, at = _get_bytes(body, at)
    cache_dir, at = _get_bytes(body, at)
    scratch_dir, at = _get_bytes(body, at)
    (workers_expected, first_worker, flags,), at = _get(body, at, _ENV_START_8)
    return ENV_START_((python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags, )), at


def pack_ENV_START(python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags):
    return _frame(16, _write_ENV_START(python, chdir, env, args, run_uid, spec, cache_dir, scratch_dir, workers_expected, first_worker, flags))


WORKERS_START = 17


class WORKERS_START_(_Record):
    __slots__ = ()
    _fields = ("first", "count", "total", "maxfail", "max_restarts", )
    first = property(_at(0))
    count = property(_at(1))
    total = property(_at(2))
    maxfail = property(_at(3))
    max_restarts = property(_at(4))


_WORKERS_START_0 = struct.Struct("<HHHIH")


def _write_WORKERS_START(first, count, total, maxfail, max_restarts):
    return _WORKERS_START_0.pack(first, count, total, maxfail, max_restarts)


def _read_WORKERS_START(body, at):
    (first, count, total, maxfail, max_restarts,), at = _get(body, at, _WORKERS_START_0)
    return WORKERS_START_((first, count, total, maxfail, max_restarts, )), at


_frame_WORKERS_START = struct.Struct("<IHHQHHHIH")


def pack_WORKERS_START(first, count, total, maxfail, max_restarts):
    return _frame_WORKERS_START.pack(_frame_WORKERS_START.size - 16, 17, 0, 0, first, count, total, maxfail, max_restarts)


LEASE = 18


class LEASE_(_Record):
    __slots__ = ()
    _fields = ("ranges", )
    ranges = property(_at(0))




def _write_LEASE(ranges):
    return _list(ranges, _write_RANGE)


def _read_LEASE(body, at):
    ranges, at = _get_list(body, at, _read_RANGE)
    return LEASE_((ranges, )), at


def pack_LEASE(ranges):
    return _frame(18, _write_LEASE(ranges))


NO_MORE = 19


class NO_MORE_(_Record):
    __slots__ = ()
    _fields = ()




def _write_NO_MORE():
    return b""


def _read_NO_MORE(body, at):
    return NO_MORE_(()), at


_frame_NO_MORE = struct.Struct("<IHHQ")


def pack_NO_MORE():
    return _frame_NO_MORE.pack(_frame_NO_MORE.size - 16, 19, 0, 0)


TAKE_BACK = 20


class TAKE_BACK_(_Record):
    __slots__ = ()
    _fields = ("request", "count", )
    request = property(_at(0))
    count = property(_at(1))


_TAKE_BACK_0 = struct.Struct("<II")


def _write_TAKE_BACK(request, count):
    return _TAKE_BACK_0.pack(request, count)


def _read_TAKE_BACK(body, at):
    (request, count,), at = _get(body, at, _TAKE_BACK_0)
    return TAKE_BACK_((request, count, )), at


_frame_TAKE_BACK = struct.Struct("<IHHQII")


def pack_TAKE_BACK(request, count):
    return _frame_TAKE_BACK.pack(_frame_TAKE_BACK.size - 16, 20, 0, 0, request, count)


CANCEL = 21


class CANCEL_(_Record):
    __slots__ = ()
    _fields = ("how", "grace_ms", )
    how = property(_at(0))
    grace_ms = property(_at(1))


_CANCEL_0 = struct.Struct("<BI")


def _write_CANCEL(how, grace_ms):
    return _CANCEL_0.pack(how, grace_ms)


def _read_CANCEL(body, at):
    (how, grace_ms,), at = _get(body, at, _CANCEL_0)
    return CANCEL_((how, grace_ms, )), at


_frame_CANCEL = struct.Struct("<IHHQBI")


def pack_CANCEL(how, grace_ms):
    return _frame_CANCEL.pack(_frame_CANCEL.size - 16, 21, 0, 0, how, grace_ms)


FINISH = 22


class FINISH_(_Record):
    __slots__ = ()
    _fields = ("failed", "not_run", "exit_status", )
    failed = property(_at(0))
    not_run = property(_at(1))
    exit_status = property(_at(2))


_FINISH_2 = struct.Struct("<i")


def _write_FINISH(failed, not_run, exit_status):
    return _list(failed, _write_INDEX) + _list(not_run, _write_INDEX) + _FINISH_2.pack(exit_status)


def _read_FINISH(body, at):
    failed, at = _get_list(body, at, _read_INDEX)
    not_run, at = _get_list(body, at, _read_INDEX)
    (exit_status,), at = _get(body, at, _FINISH_2)
    return FINISH_((failed, not_run, exit_status, )), at


def pack_FINISH(failed, not_run, exit_status):
    return _frame(22, _write_FINISH(failed, not_run, exit_status))


PAUSE = 23


class PAUSE_(_Record):
    __slots__ = ()
    _fields = ()




def _write_PAUSE():
    return b""


def _read_PAUSE(body, at):
    return PAUSE_(()), at


_frame_PAUSE = struct.Struct("<IHHQ")


def pack_PAUSE():
    return _frame_PAUSE.pack(_frame_PAUSE.size - 16, 23, 0, 0)


RESUME = 24


class RESUME_(_Record):
    __slots__ = ()
    _fields = ()




def _write_RESUME():
    return b""


def _read_RESUME(body, at):
    return RESUME_(()), at


_frame_RESUME = struct.Struct("<IHHQ")


def pack_RESUME():
    return _frame_RESUME.pack(_frame_RESUME.size - 16, 24, 0, 0)


SEND_LIST = 25


class SEND_LIST_(_Record):
    __slots__ = ()
    _fields = ()




def _write_SEND_LIST():
    return b""


def _read_SEND_LIST(body, at):
    return SEND_LIST_(()), at


_frame_SEND_LIST = struct.Struct("<IHHQ")


def pack_SEND_LIST():
    return _frame_SEND_LIST.pack(_frame_SEND_LIST.size - 16, 25, 0, 0)


CONFIG = 32


class CONFIG_(_Record):
    __slots__ = ()
    _fields = ("python", "python_version", "pytest_version", "rootdir", "invocation_dir", "header", "options", "notes", )
    python = property(_at(0))
    python_version = property(_at(1))
    pytest_version = property(_at(2))
    rootdir = property(_at(3))
    invocation_dir = property(_at(4))
    header = property(_at(5))
    options = property(_at(6))
    notes = property(_at(7))




def _write_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes):
    return _bytes(python) + _bytes(python_version) + _bytes(pytest_version) + _bytes(rootdir) + _bytes(invocation_dir) + _list(header, _write_TEXT) + _list(options, _write_PAIR) + _list(notes, _write_TEXT)


def _read_CONFIG(body, at):
    python, at = _get_bytes(body, at)
    python_version, at = _get_bytes(body, at)
    pytest_version, at = _get_bytes(body, at)
    rootdir, at = _get_bytes(body, at)
    invocation_dir, at = _get_bytes(body, at)
    header, at = _get_list(body, at, _read_TEXT)
    options, at = _get_list(body, at, _read_PAIR)
    notes, at = _get_list(body, at, _read_TEXT)
    return CONFIG_((python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes, )), at


def pack_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes):
    return _frame(32, _write_CONFIG(python, python_version, pytest_version, rootdir, invocation_dir, header, options, notes))


COLLECT_IDS = 33


class COLLECT_IDS_(_Record):
    __slots__ = ()
    _fields = ("first", "ids", )
    first = property(_at(0))
    ids = property(_at(1))


_COLLECT_IDS_0 = struct.Struct("<I")


def _write_COLLECT_IDS(first, ids):
    return _COLLECT_IDS_0.pack(first) + _list(ids, _write_NODEID)


def _read_COLLECT_IDS(body, at):
    (first,), at = _get(body, at, _COLLECT_IDS_0)
    ids, at = _get_list(body, at, _read_NODEID)
    return COLLECT_IDS_((first, ids, )), at


def pack_COLLECT_IDS(first, ids):
    return _frame(33, _write_COLLECT_IDS(first, ids))


COLLECTED = 34


class COLLECTED_(_Record):
    __slots__ = ()
    _fields = ("count", "deselected", "errors", "digest_lo", "digest_hi", "exit_status", "stop_reason", "way", "why", "duration_us", "in_order", "lines", )
    count = property(_at(0))
    deselected = property(_at(1))
    errors = property(_at(2))
    digest_lo = property(_at(3))
    digest_hi = property(_at(4))
    exit_status = property(_at(5))
    stop_reason = property(_at(6))
    way = property(_at(7))
    why = property(_at(8))
    duration_us = property(_at(9))
    in_order = property(_at(10))
    lines = property(_at(11))


_COLLECTED_0 = struct.Struct("<IIIQQi")
_COLLECTED_2 = struct.Struct("<B")
_COLLECTED_4 = struct.Struct("<QB")


def _write_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines):
    return _COLLECTED_0.pack(count, deselected, errors, digest_lo, digest_hi, exit_status) + _bytes(stop_reason) + _COLLECTED_2.pack(way) + _bytes(why) + _COLLECTED_4.pack(duration_us, in_order) + _list(lines, _write_TEXT)


def _read_COLLECTED(body, at):
    (count, deselected, errors, digest_lo, digest_hi, exit_status,), at = _get(body, at, _COLLECTED_0)
    stop_reason, at = _get_bytes(body, at)
    (way,), at = _get(body, at, _COLLECTED_2)
    why, at = _get_bytes(body, at)
    (duration_us, in_order,), at = _get(body, at, _COLLECTED_4)
    lines, at = _get_list(body, at, _read_TEXT)
    return COLLECTED_((count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines, )), at


def pack_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines):
    return _frame(34, _write_COLLECTED(count, deselected, errors, digest_lo, digest_hi, exit_status, stop_reason, way, why, duration_us, in_order, lines))


REPORT = 35


class REPORT_(_Record):
    __slots__ = ()
    _fields = ("item", "attempt", "worker", "nodeid", "when", "category", "letter", "word", "outcome", "text", "message", "path", "line", "subtest", "duration_us", "start_us", "sections", "properties", "attributes", "flags", )
    item = property(_at(0))
    attempt = property(_at(1))
    worker = property(_at(2))
    nodeid = property(_at(3))
    when = property(_at(4))
    category = property(_at(5))
    letter = property(_at(6))
    word = property(_at(7))
    outcome = property(_at(8))
    text = property(_at(9))
    message = property(_at(10))
    path = property(_at(11))
    line = property(_at(12))
    subtest = property(_at(13))
    duration_us = property(_at(14))
    start_us = property(_at(15))
    sections = property(_at(16))
    properties = property(_at(17))
    attributes = property(_at(18))
    flags = property(_at(19))


_REPORT_0 = struct.Struct("<IHH")
_REPORT_10 = struct.Struct("<i")
_REPORT_12 = struct.Struct("<QQ")
_REPORT_16 = struct.Struct("<I")


def _write_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, duration_us, start_us, sections, properties, attributes, flags):
    return _REPORT_0.pack(item, attempt, worker) + _bytes(nodeid) + _bytes(when) + _bytes(category) + _bytes(letter) + _bytes(word) + _bytes(outcome) + _bytes(text) + _bytes(message) + _bytes(path) + _REPORT_10.pack(line) + _bytes(subtest) + _REPORT_12.pack(duration_us, start_us) + _list(sections, _write_PAIR) + _list(properties, _write_PAIR) + _list(attributes, _write_PAIR) + _REPORT_16.pack(flags)


def _read_REPORT(body, at):
    (item, attempt, worker,), at = _get(body, at, _REPORT_0)
    nodeid, at = _get_bytes(body, at)
    when, at = _get_bytes(body, at)
    category, at = _get_bytes(body, at)
    letter, at = _get_bytes(body, at)
    word, at = _get_bytes(body, at)
    outcome, at = _get_bytes(body, at)
    text, at = _get_bytes(body, at)
    message, at = _get_bytes(body, at)
    path, at = _get_bytes(body, at)
    (line,), at = _get(body, at, _REPORT_10)
    subtest, at = _get_bytes(body, at)
    (duration_us, start_us,), at = _get(body, at, _REPORT_12)
    sections, at = _get_list(body, at, _read_PAIR)
    properties, at = _get_list(body, at, _read_PAIR)
    attributes, at = _get_list(body, at, _read_PAIR)
    (flags,), at = _get(body, at, _REPORT_16)
    return REPORT_((item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, duration_us, start_us, sections, properties, attributes, flags, )), at


def pack_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, duration_us, start_us, sections, properties, attributes, flags):
    return _frame(35, _write_REPORT(item, attempt, worker, nodeid, when, category, letter, word, outcome, text, message, path, line, subtest, duration_us, start_us, sections, properties, attributes, flags))


WARNING = 36


class WARNING_(_Record):
    __slots__ = ()
    _fields = ("item", "worker", "when", "category", "nodeid", "text", "file", "line", )
    item = property(_at(0))
    worker = property(_at(1))
    when = property(_at(2))
    category = property(_at(3))
    nodeid = property(_at(4))
    text = property(_at(5))
    file = property(_at(6))
    line = property(_at(7))


_WARNING_0 = struct.Struct("<IH")
_WARNING_6 = struct.Struct("<I")


def _write_WARNING(item, worker, when, category, nodeid, text, file, line):
    return _WARNING_0.pack(item, worker) + _bytes(when) + _bytes(category) + _bytes(nodeid) + _bytes(text) + _bytes(file) + _WARNING_6.pack(line)


def _read_WARNING(body, at):
    (item, worker,), at = _get(body, at, _WARNING_0)
    when, at = _get_bytes(body, at)
    category, at = _get_bytes(body, at)
    nodeid, at = _get_bytes(body, at)
    text, at = _get_bytes(body, at)
    file, at = _get_bytes(body, at)
    (line,), at = _get(body, at, _WARNING_6)
    return WARNING_((item, worker, when, category, nodeid, text, file, line, )), at


def pack_WARNING(item, worker, when, category, nodeid, text, file, line):
    return _frame(36, _write_WARNING(item, worker, when, category, nodeid, text, file, line))


SUITE_PROPERTY = 45


class SUITE_PROPERTY_(_Record):
    __slots__ = ()
    _fields = ("worker", "name", "value", )
    worker = property(_at(0))
    name = property(_at(1))
    value = property(_at(2))


_SUITE_PROPERTY_0 = struct.Struct("<H")


def _write_SUITE_PROPERTY(worker, name, value):
    return _SUITE_PROPERTY_0.pack(worker) + _bytes(name) + _bytes(value)


def _read_SUITE_PROPERTY(body, at):
    (worker,), at = _get(body, at, _SUITE_PROPERTY_0)
    name, at = _get_bytes(body, at)
    value, at = _get_bytes(body, at)
    return SUITE_PROPERTY_((worker, name, value, )), at


def pack_SUITE_PROPERTY(worker, name, value):
    return _frame(45, _write_SUITE_PROPERTY(worker, name, value))


RESULT = 64


class RESULT_(_Record):
    __slots__ = ()
    _fields = ("item", "attempt", "outcome", "flags", "setup_us", "call_us", "teardown_us", "position", "start_us", )
    item = property(_at(0))
    attempt = property(_at(1))
    outcome = property(_at(2))
    flags = property(_at(3))
    setup_us = property(_at(4))
    call_us = property(_at(5))
    teardown_us = property(_at(6))
    position = property(_at(7))
    start_us = property(_at(8))


_RESULT_0 = struct.Struct("<IHBBIIIIQ")


def _write_RESULT(item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us):
    return _RESULT_0.pack(item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us)


def _read_RESULT(body, at):
    (item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us,), at = _get(body, at, _RESULT_0)
    return RESULT_((item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us, )), at


_frame_RESULT = struct.Struct("<IHHQIHBBIIIIQ")


def pack_RESULT(item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us):
    return _frame_RESULT.pack(_frame_RESULT.size - 16, 64, 0, 0, item, attempt, outcome, flags, setup_us, call_us, teardown_us, position, start_us)


RESULTS = 37


class RESULTS_(_Record):
    __slots__ = ()
    _fields = ("worker", "results", )
    worker = property(_at(0))
    results = property(_at(1))


_RESULTS_0 = struct.Struct("<H")


def _write_RESULTS(worker, results):
    return _RESULTS_0.pack(worker) + _list(results, _write_RESULT)


def _read_RESULTS(body, at):
    (worker,), at = _get(body, at, _RESULTS_0)
    results, at = _get_list(body, at, _read_RESULT)
    return RESULTS_((worker, results, )), at


def pack_RESULTS(worker, results):
    return _frame(37, _write_RESULTS(worker, results))


OUTPUT = 38


class OUTPUT_(_Record):
    __slots__ = ()
    _fields = ("worker", "stream", "item", "data", "dropped_bytes", )
    worker = property(_at(0))
    stream = property(_at(1))
    item = property(_at(2))
    data = property(_at(3))
    dropped_bytes = property(_at(4))


_OUTPUT_0 = struct.Struct("<HBI")
_OUTPUT_2 = struct.Struct("<Q")


def _write_OUTPUT(worker, stream, item, data, dropped_bytes):
    return _OUTPUT_0.pack(worker, stream, item) + _bytes(data) + _OUTPUT_2.pack(dropped_bytes)


def _read_OUTPUT(body, at):
    (worker, stream, item,), at = _get(body, at, _OUTPUT_0)
    data, at = _get_bytes(body, at)
    (dropped_bytes,), at = _get(body, at, _OUTPUT_2)
    return OUTPUT_((worker, stream, item, data, dropped_bytes, )), at


def pack_OUTPUT(worker, stream, item, data, dropped_bytes):
    return _frame(38, _write_OUTPUT(worker, stream, item, data, dropped_bytes))


WORKER_UP = 39


class WORKER_UP_(_Record):
    __slots__ = ()
    _fields = ("worker", "pid", "way", "replaces", )
    worker = property(_at(0))
    pid = property(_at(1))
    way = property(_at(2))
    replaces = property(_at(3))


_WORKER_UP_0 = struct.Struct("<HIBH")


def _write_WORKER_UP(worker, pid, way, replaces):
    return _WORKER_UP_0.pack(worker, pid, way, replaces)


def _read_WORKER_UP(body, at):
    (worker, pid, way, replaces,), at = _get(body, at, _WORKER_UP_0)
    return WORKER_UP_((worker, pid, way, replaces, )), at


_frame_WORKER_UP = struct.Struct("<IHHQHIBH")


def pack_WORKER_UP(worker, pid, way, replaces):
    return _frame_WORKER_UP.pack(_frame_WORKER_UP.size - 16, 39, 0, 0, worker, pid, way, replaces)


WORKER_DOWN = 40


class WORKER_DOWN_(_Record):
    __slots__ = ()
    _fields = ("worker", "expected", "exit_status", "signal", "item", "session_status", "stopped", "reason", "last_output", "will_restart", )
    worker = property(_at(0))
    expected = property(_at(1))
    exit_status = property(_at(2))
    signal = property(_at(3))
    item = property(_at(4))
    session_status = property(_at(5))
    stopped = property(_at(6))
    reason = property(_at(7))
    last_output = property(_at(8))
    will_restart = property(_at(9))


_WORKER_DOWN_0 = struct.Struct("<HBiiIiB")
_WORKER_DOWN_3 = struct.Struct("<B")


def _write_WORKER_DOWN(worker, expected, exit_status, signal, item, session_status, stopped, reason, last_output, will_restart):
    return _WORKER_DOWN_0.pack(worker, expected, exit_status, signal, item, session_status, stopped) + _bytes(reason) + _bytes(last_output) + _WORKER_DOWN_3.pack(will_restart)


def _read_WORKER_DOWN(body, at):
    (worker, expected, exit_status, signal, item, session_status, stopped,), at = _get(body, at, _WORKER_DOWN_0)
    reason, at = _get_bytes(body, at)
    last_output, at = _get_bytes(body, at)
    (will_restart,), at = _get(body, at, _WORKER_DOWN_3)
    return WORKER_DOWN_((worker, expected, exit_status, signal, item, session_status, stopped, reason, last_output, will_restart, )), at


def pack_WORKER_DOWN(worker, expected, exit_status, signal, item, session_status, stopped, reason, last_output, will_restart):
    return _frame(40, _write_WORKER_DOWN(worker, expected, exit_status, signal, item, session_status, stopped, reason, last_output, will_restart))


RETURNED = 41


class RETURNED_(_Record):
    __slots__ = ()
    _fields = ("request", "ranges", )
    request = property(_at(0))
    ranges = property(_at(1))


_RETURNED_0 = struct.Struct("<I")


def _write_RETURNED(request, ranges):
    return _RETURNED_0.pack(request) + _list(ranges, _write_RANGE)


def _read_RETURNED(body, at):
    (request,), at = _get(body, at, _RETURNED_0)
    ranges, at = _get_list(body, at, _read_RANGE)
    return RETURNED_((request, ranges, )), at


def pack_RETURNED(request, ranges):
    return _frame(41, _write_RETURNED(request, ranges))


ENV_FAILED = 42


class ENV_FAILED_(_Record):
    __slots__ = ()
    _fields = ("exit_status", "text", )
    exit_status = property(_at(0))
    text = property(_at(1))


_ENV_FAILED_0 = struct.Struct("<i")


def _write_ENV_FAILED(exit_status, text):
    return _ENV_FAILED_0.pack(exit_status) + _bytes(text)


def _read_ENV_FAILED(body, at):
    (exit_status,), at = _get(body, at, _ENV_FAILED_0)
    text, at = _get_bytes(body, at)
    return ENV_FAILED_((exit_status, text, )), at


def pack_ENV_FAILED(exit_status, text):
    return _frame(42, _write_ENV_FAILED(exit_status, text))


PROGRESS = 43


class PROGRESS_(_Record):
    __slots__ = ()
    _fields = ("running", )
    running = property(_at(0))




def _write_PROGRESS(running):
    return _list(running, _write_RUNNING)


def _read_PROGRESS(body, at):
    running, at = _get_list(body, at, _read_RUNNING)
    return PROGRESS_((running, )), at


def pack_PROGRESS(running):
    return _frame(43, _write_PROGRESS(running))


ENV_DONE = 44


class ENV_DONE_(_Record):
    __slots__ = ()
    _fields = ("exit_status", "agent_cpu_us", "workers_cpu_us", "stream_bytes", )
    exit_status = property(_at(0))
    agent_cpu_us = property(_at(1))
    workers_cpu_us = property(_at(2))
    stream_bytes = property(_at(3))


_ENV_DONE_0 = struct.Struct("<iQQQ")


def _write_ENV_DONE(exit_status, agent_cpu_us, workers_cpu_us, stream_bytes):
    return _ENV_DONE_0.pack(exit_status, agent_cpu_us, workers_cpu_us, stream_bytes)


def _read_ENV_DONE(body, at):
    (exit_status, agent_cpu_us, workers_cpu_us, stream_bytes,), at = _get(body, at, _ENV_DONE_0)
    return ENV_DONE_((exit_status, agent_cpu_us, workers_cpu_us, stream_bytes, )), at


_frame_ENV_DONE = struct.Struct("<IHHQiQQQ")


def pack_ENV_DONE(exit_status, agent_cpu_us, workers_cpu_us, stream_bytes):
    return _frame_ENV_DONE.pack(_frame_ENV_DONE.size - 16, 44, 0, 0, exit_status, agent_cpu_us, workers_cpu_us, stream_bytes)


HOST_READY = 65


class HOST_READY_(_Record):
    __slots__ = ()
    _fields = ("collector_pid", )
    collector_pid = property(_at(0))


_HOST_READY_0 = struct.Struct("<I")


def _write_HOST_READY(collector_pid):
    return _HOST_READY_0.pack(collector_pid)


def _read_HOST_READY(body, at):
    (collector_pid,), at = _get(body, at, _HOST_READY_0)
    return HOST_READY_((collector_pid, )), at


_frame_HOST_READY = struct.Struct("<IHHQI")


def pack_HOST_READY(collector_pid):
    return _frame_HOST_READY.pack(_frame_HOST_READY.size - 16, 65, 0, 0, collector_pid)


FORK = 66


class FORK_(_Record):
    __slots__ = ()
    _fields = ("worker", "slot", "total", "become", "maxfail", )
    worker = property(_at(0))
    slot = property(_at(1))
    total = property(_at(2))
    become = property(_at(3))
    maxfail = property(_at(4))


_FORK_0 = struct.Struct("<HHHBI")


def _write_FORK(worker, slot, total, become, maxfail):
    return _FORK_0.pack(worker, slot, total, become, maxfail)


def _read_FORK(body, at):
    (worker, slot, total, become, maxfail,), at = _get(body, at, _FORK_0)
    return FORK_((worker, slot, total, become, maxfail, )), at


_frame_FORK = struct.Struct("<IHHQHHHBI")


def pack_FORK(worker, slot, total, become, maxfail):
    return _frame_FORK.pack(_frame_FORK.size - 16, 66, 0, 0, worker, slot, total, become, maxfail)


FORKED = 67


class FORKED_(_Record):
    __slots__ = ()
    _fields = ("worker", "pid", "error", )
    worker = property(_at(0))
    pid = property(_at(1))
    error = property(_at(2))


_FORKED_0 = struct.Struct("<HI")


def _write_FORKED(worker, pid, error):
    return _FORKED_0.pack(worker, pid) + _bytes(error)


def _read_FORKED(body, at):
    (worker, pid,), at = _get(body, at, _FORKED_0)
    error, at = _get_bytes(body, at)
    return FORKED_((worker, pid, error, )), at


def pack_FORKED(worker, pid, error):
    return _frame(67, _write_FORKED(worker, pid, error))


REAP = 68


class REAP_(_Record):
    __slots__ = ()
    _fields = ("pid", )
    pid = property(_at(0))


_REAP_0 = struct.Struct("<I")


def _write_REAP(pid):
    return _REAP_0.pack(pid)


def _read_REAP(body, at):
    (pid,), at = _get(body, at, _REAP_0)
    return REAP_((pid, )), at


_frame_REAP = struct.Struct("<IHHQI")


def pack_REAP(pid):
    return _frame_REAP.pack(_frame_REAP.size - 16, 68, 0, 0, pid)


REAPED = 69


class REAPED_(_Record):
    __slots__ = ()
    _fields = ("pid", "exit_status", "signal", )
    pid = property(_at(0))
    exit_status = property(_at(1))
    signal = property(_at(2))


_REAPED_0 = struct.Struct("<Iii")


def _write_REAPED(pid, exit_status, signal):
    return _REAPED_0.pack(pid, exit_status, signal)


def _read_REAPED(body, at):
    (pid, exit_status, signal,), at = _get(body, at, _REAPED_0)
    return REAPED_((pid, exit_status, signal, )), at


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


def _write_RUN(first, last, ranges):
    return _RUN_0.pack(first, last) + _list(ranges, _write_RANGE)


def _read_RUN(body, at):
    (first, last,), at = _get(body, at, _RUN_0)
    ranges, at = _get_list(body, at, _read_RANGE)
    return RUN_((first, last, ranges, )), at


def pack_RUN(first, last, ranges):
    return _frame(70, _write_RUN(first, last, ranges))


QUIT = 71


class QUIT_(_Record):
    __slots__ = ()
    _fields = ()




def _write_QUIT():
    return b""


def _read_QUIT(body, at):
    return QUIT_(()), at


_frame_QUIT = struct.Struct("<IHHQ")


def pack_QUIT():
    return _frame_QUIT.pack(_frame_QUIT.size - 16, 71, 0, 0)


WORKER_READY = 72


class WORKER_READY_(_Record):
    __slots__ = ()
    _fields = ("pid", "count", "same", )
    pid = property(_at(0))
    count = property(_at(1))
    same = property(_at(2))


_WORKER_READY_0 = struct.Struct("<IIB")


def _write_WORKER_READY(pid, count, same):
    return _WORKER_READY_0.pack(pid, count, same)


def _read_WORKER_READY(body, at):
    (pid, count, same,), at = _get(body, at, _WORKER_READY_0)
    return WORKER_READY_((pid, count, same, )), at


_frame_WORKER_READY = struct.Struct("<IHHQIIB")


def pack_WORKER_READY(pid, count, same):
    return _frame_WORKER_READY.pack(_frame_WORKER_READY.size - 16, 72, 0, 0, pid, count, same)


WORKER_DONE = 73


class WORKER_DONE_(_Record):
    __slots__ = ()
    _fields = ("exit_status", "reason", "stopped", )
    exit_status = property(_at(0))
    reason = property(_at(1))
    stopped = property(_at(2))


_WORKER_DONE_0 = struct.Struct("<i")
_WORKER_DONE_2 = struct.Struct("<B")


def _write_WORKER_DONE(exit_status, reason, stopped):
    return _WORKER_DONE_0.pack(exit_status) + _bytes(reason) + _WORKER_DONE_2.pack(stopped)


def _read_WORKER_DONE(body, at):
    (exit_status,), at = _get(body, at, _WORKER_DONE_0)
    reason, at = _get_bytes(body, at)
    (stopped,), at = _get(body, at, _WORKER_DONE_2)
    return WORKER_DONE_((exit_status, reason, stopped, )), at


def pack_WORKER_DONE(exit_status, reason, stopped):
    return _frame(73, _write_WORKER_DONE(exit_status, reason, stopped))


RUN_START = 96


class RUN_START_(_Record):
    __slots__ = ()
    _fields = ("run_id", "version", "wall_us", "cwd", "argv", "options", )
    run_id = property(_at(0))
    version = property(_at(1))
    wall_us = property(_at(2))
    cwd = property(_at(3))
    argv = property(_at(4))
    options = property(_at(5))


_RUN_START_2 = struct.Struct("<Q")


def _write_RUN_START(run_id, version, wall_us, cwd, argv, options):
    return _bytes(run_id) + _bytes(version) + _RUN_START_2.pack(wall_us) + _bytes(cwd) + _list(argv, _write_TEXT) + _list(options, _write_PAIR)


def _read_RUN_START(body, at):
    run_id, at = _get_bytes(body, at)
    version, at = _get_bytes(body, at)
    (wall_us,), at = _get(body, at, _RUN_START_2)
    cwd, at = _get_bytes(body, at)
    argv, at = _get_list(body, at, _read_TEXT)
    options, at = _get_list(body, at, _read_PAIR)
    return RUN_START_((run_id, version, wall_us, cwd, argv, options, )), at


def pack_RUN_START(run_id, version, wall_us, cwd, argv, options):
    return _frame(96, _write_RUN_START(run_id, version, wall_us, cwd, argv, options))


GATEWAY_UP = 97


class GATEWAY_UP_(_Record):
    __slots__ = ()
    _fields = ("gateway", "spec", "host", "system", "cpus", )
    gateway = property(_at(0))
    spec = property(_at(1))
    host = property(_at(2))
    system = property(_at(3))
    cpus = property(_at(4))


_GATEWAY_UP_0 = struct.Struct("<H")
_GATEWAY_UP_4 = struct.Struct("<I")


def _write_GATEWAY_UP(gateway, spec, host, system, cpus):
    return _GATEWAY_UP_0.pack(gateway) + _bytes(spec) + _bytes(host) + _bytes(system) + _GATEWAY_UP_4.pack(cpus)


def _read_GATEWAY_UP(body, at):
    (gateway,), at = _get(body, at, _GATEWAY_UP_0)
    spec, at = _get_bytes(body, at)
    host, at = _get_bytes(body, at)
    system, at = _get_bytes(body, at)
    (cpus,), at = _get(body, at, _GATEWAY_UP_4)
    return GATEWAY_UP_((gateway, spec, host, system, cpus, )), at


def pack_GATEWAY_UP(gateway, spec, host, system, cpus):
    return _frame(97, _write_GATEWAY_UP(gateway, spec, host, system, cpus))


GATEWAY_DOWN = 98


class GATEWAY_DOWN_(_Record):
    __slots__ = ()
    _fields = ("gateway", "expected", "reason", )
    gateway = property(_at(0))
    expected = property(_at(1))
    reason = property(_at(2))


_GATEWAY_DOWN_0 = struct.Struct("<HB")


def _write_GATEWAY_DOWN(gateway, expected, reason):
    return _GATEWAY_DOWN_0.pack(gateway, expected) + _bytes(reason)


def _read_GATEWAY_DOWN(body, at):
    (gateway, expected,), at = _get(body, at, _GATEWAY_DOWN_0)
    reason, at = _get_bytes(body, at)
    return GATEWAY_DOWN_((gateway, expected, reason, )), at


def pack_GATEWAY_DOWN(gateway, expected, reason):
    return _frame(98, _write_GATEWAY_DOWN(gateway, expected, reason))


GRANT = 99


class GRANT_(_Record):
    __slots__ = ()
    _fields = ("gateway", "ranges", )
    gateway = property(_at(0))
    ranges = property(_at(1))


_GRANT_0 = struct.Struct("<H")


def _write_GRANT(gateway, ranges):
    return _GRANT_0.pack(gateway) + _list(ranges, _write_RANGE)


def _read_GRANT(body, at):
    (gateway,), at = _get(body, at, _GRANT_0)
    ranges, at = _get_list(body, at, _read_RANGE)
    return GRANT_((gateway, ranges, )), at


def pack_GRANT(gateway, ranges):
    return _frame(99, _write_GRANT(gateway, ranges))


NOTE = 100


class NOTE_(_Record):
    __slots__ = ()
    _fields = ("level", "text", )
    level = property(_at(0))
    text = property(_at(1))


_NOTE_0 = struct.Struct("<B")


def _write_NOTE(level, text):
    return _NOTE_0.pack(level) + _bytes(text)


def _read_NOTE(body, at):
    (level,), at = _get(body, at, _NOTE_0)
    text, at = _get_bytes(body, at)
    return NOTE_((level, text, )), at


def pack_NOTE(level, text):
    return _frame(100, _write_NOTE(level, text))


COLLECTION = 101


class COLLECTION_(_Record):
    __slots__ = ()
    _fields = ("count", "deselected", "workers", "digest_lo", "digest_hi", "expected_us", )
    count = property(_at(0))
    deselected = property(_at(1))
    workers = property(_at(2))
    digest_lo = property(_at(3))
    digest_hi = property(_at(4))
    expected_us = property(_at(5))


_COLLECTION_0 = struct.Struct("<IIIQQQ")


def _write_COLLECTION(count, deselected, workers, digest_lo, digest_hi, expected_us):
    return _COLLECTION_0.pack(count, deselected, workers, digest_lo, digest_hi, expected_us)


def _read_COLLECTION(body, at):
    (count, deselected, workers, digest_lo, digest_hi, expected_us,), at = _get(body, at, _COLLECTION_0)
    return COLLECTION_((count, deselected, workers, digest_lo, digest_hi, expected_us, )), at


_frame_COLLECTION = struct.Struct("<IHHQIIIQQQ")


def pack_COLLECTION(count, deselected, workers, digest_lo, digest_hi, expected_us):
    return _frame_COLLECTION.pack(_frame_COLLECTION.size - 16, 101, 0, 0, count, deselected, workers, digest_lo, digest_hi, expected_us)


RUN_END = 102


class RUN_END_(_Record):
    __slots__ = ()
    _fields = ("exit_status", "reason", "wall_us", "duration_us", "collected", "recorded", "not_run", )
    exit_status = property(_at(0))
    reason = property(_at(1))
    wall_us = property(_at(2))
    duration_us = property(_at(3))
    collected = property(_at(4))
    recorded = property(_at(5))
    not_run = property(_at(6))


_RUN_END_0 = struct.Struct("<i")
_RUN_END_2 = struct.Struct("<QQIII")


def _write_RUN_END(exit_status, reason, wall_us, duration_us, collected, recorded, not_run):
    return _RUN_END_0.pack(exit_status) + _bytes(reason) + _RUN_END_2.pack(wall_us, duration_us, collected, recorded, not_run)


def _read_RUN_END(body, at):
    (exit_status,), at = _get(body, at, _RUN_END_0)
    reason, at = _get_bytes(body, at)
    (wall_us, duration_us, collected, recorded, not_run,), at = _get(body, at, _RUN_END_2)
    return RUN_END_((exit_status, reason, wall_us, duration_us, collected, recorded, not_run, )), at


def pack_RUN_END(exit_status, reason, wall_us, duration_us, collected, recorded, not_run):
    return _frame(102, _write_RUN_END(exit_status, reason, wall_us, duration_us, collected, recorded, not_run))


_READERS = {
    1: _read_HELLO,
    2: _read_WELCOME,
    3: _read_ACK,
    4: _read_REFUSE,
    5: _read_BYE,
    16: _read_ENV_START,
    17: _read_WORKERS_START,
    18: _read_LEASE,
    19: _read_NO_MORE,
    20: _read_TAKE_BACK,
    21: _read_CANCEL,
    22: _read_FINISH,
    23: _read_PAUSE,
    24: _read_RESUME,
    25: _read_SEND_LIST,
    32: _read_CONFIG,
    33: _read_COLLECT_IDS,
    34: _read_COLLECTED,
    35: _read_REPORT,
    36: _read_WARNING,
    45: _read_SUITE_PROPERTY,
    64: _read_RESULT,
    37: _read_RESULTS,
    38: _read_OUTPUT,
    39: _read_WORKER_UP,
    40: _read_WORKER_DOWN,
    41: _read_RETURNED,
    42: _read_ENV_FAILED,
    43: _read_PROGRESS,
    44: _read_ENV_DONE,
    65: _read_HOST_READY,
    66: _read_FORK,
    67: _read_FORKED,
    68: _read_REAP,
    69: _read_REAPED,
    70: _read_RUN,
    71: _read_QUIT,
    72: _read_WORKER_READY,
    73: _read_WORKER_DONE,
    96: _read_RUN_START,
    97: _read_GATEWAY_UP,
    98: _read_GATEWAY_DOWN,
    99: _read_GRANT,
    100: _read_NOTE,
    101: _read_COLLECTION,
    102: _read_RUN_END,
}
NAMES = {
    1: "HELLO",
    2: "WELCOME",
    3: "ACK",
    4: "REFUSE",
    5: "BYE",
    16: "ENV_START",
    17: "WORKERS_START",
    18: "LEASE",
    19: "NO_MORE",
    20: "TAKE_BACK",
    21: "CANCEL",
    22: "FINISH",
    23: "PAUSE",
    24: "RESUME",
    25: "SEND_LIST",
    32: "CONFIG",
    33: "COLLECT_IDS",
    34: "COLLECTED",
    35: "REPORT",
    36: "WARNING",
    45: "SUITE_PROPERTY",
    64: "RESULT",
    37: "RESULTS",
    38: "OUTPUT",
    39: "WORKER_UP",
    40: "WORKER_DOWN",
    41: "RETURNED",
    42: "ENV_FAILED",
    43: "PROGRESS",
    44: "ENV_DONE",
    65: "HOST_READY",
    66: "FORK",
    67: "FORKED",
    68: "REAP",
    69: "REAPED",
    70: "RUN",
    71: "QUIT",
    72: "WORKER_READY",
    73: "WORKER_DONE",
    96: "RUN_START",
    97: "GATEWAY_UP",
    98: "GATEWAY_DOWN",
    99: "GRANT",
    100: "NOTE",
    101: "COLLECTION",
    102: "RUN_END",
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
    value, end = read(body, 0)
    if end != len(body):
        raise ValueError("%d bytes too many" % (len(body) - end))
    return value
