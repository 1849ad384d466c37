"""Golden vectors of the wire protocol: tests/wire/vectors.txt, one frame a line, read by the tests of the C and of the Python codec.

    python3 tests/wire/make_vectors.py          writes vectors.txt again

The encoder here knows nothing of engine/wire.def and of what is made from it: the table below was written down once, so that a change of the
definition that was not meant is found.  Whoever means one changes both; wire.def says how the protocol may grow.  vectors-1.txt is what this
made when version 1 was new: it is kept as it is, and every later xd reads it.
"""
import collections
import os
import struct

# record, number of its frame (0 = only inside lists), fields in order; a field is a number, bytes, or a list of a record
TABLE = """
TEXT 0 text:bytes
PAIR 0 name:bytes value:bytes
PACKAGE 0 name:bytes version:bytes flags:u8
INDEX 0 item:u32
RANGE 0 first:u32 count:u32 attempt:u16 flags:u16 group:u32 expected_us:u64
NODEID 0 shared:u16 id:bytes line:i32 file:bytes group:bytes
NAMED 0 worker:u16 name:bytes
RUNNING 0 worker:u16 item:u32 age_ms:u32
COPY 0 root:u16 path:bytes
SYNC_RECORD 0 shared:u16 path:bytes type:u8 pushed:u8 mode:u16 size:u64 mtime_ns:u64 lo:u64 hi:u64 target:bytes
SYNC_PIECE 0 file:u32 op:u8 at:u64 base_at:u64 count:u32 data:bytes
SYNC_RANGE 0 first:u32 count:u32 whole:u8
HELLO 1 version_min:u16 version_max:u16 capabilities:u64 build_id:bytes host:bytes system:bytes pid:u32 cpus:u32 memory_bytes:u64 session:u64 last:u64 token:bytes
WELCOME 2 version:u16 capabilities:u64 session:u64 window_frames:u32 window_bytes:u32 last:u64 reconnect_ms:u32 token:bytes
ACK 3 acked:u64
REFUSE 4 version_min:u16 version_max:u16 reason:bytes
BYE 5 status:i32
PING 6
PONG 7
ENV_START 16 python:bytes chdir:bytes env:PAIR args:TEXT run_uid:bytes spec:bytes cache_dir:bytes scratch_dir:bytes workers_expected:u16 first_worker:u16 flags:u32 runner:bytes nice:bytes project:bytes names:TEXT synced:bytes paths:TEXT
WORKERS_START 17 first:u16 count:u16 total:u16 maxfail:u32 max_restarts:u16 stride:u16
LEASE 18 ranges:RANGE
NO_MORE 19 final:u8
TAKE_BACK 20 request:u32 count:u32
CANCEL 21 how:u8 grace_ms:u32 leaving:u8
FINISH 22 failed:INDEX not_run:INDEX exit_status:i32 shutdown_ms:u64 digest_lo:u64 digest_hi:u64
PAUSE 23
RESUME 24
SEND_LIST 25
REORDER 26 places:INDEX
CHECK 27 start:bytes packages:u8
CONFIG 32 python:bytes python_version:bytes pytest_version:bytes rootdir:bytes invocation_dir:bytes header:TEXT options:PAIR notes:TEXT
COLLECT_IDS 33 first:u32 ids:NODEID
COLLECTED 34 count:u32 deselected:u32 errors:u32 digest_lo:u64 digest_hi:u64 exit_status:i32 stop_reason:bytes way:u8 why:bytes duration_us:u64 in_order:u8 lines:TEXT room:u32
REPORT 35 item:u32 attempt:u16 worker:u16 nodeid:bytes when:bytes category:bytes letter:bytes word:bytes outcome:bytes text:bytes message:bytes path:bytes line:i32 subtest:bytes heading:bytes duration_us:u64 start_us:u64 sections:PAIR properties:PAIR attributes:PAIR flags:u32
WARNING 36 item:u32 worker:u16 when:bytes category:bytes nodeid:bytes text:bytes file:bytes line:u32
SUITE_PROPERTY 45 worker:u16 name:bytes value:bytes
SUMMARY 46 worker:u16 text:bytes
AGENT_NOTE 48 level:u8 failed:u8 text:bytes
ENV_FACTS 49 program:bytes found:bytes folder:bytes cache_dir:bytes scratch_dir:bytes copies:COPY
HOST_CHECKED 50 failed:u8 text:bytes build_id:bytes folder:bytes free_bytes:u64 memory_bytes:u64 program:bytes found:bytes version:bytes framework:bytes listed:u8 packages:PACKAGE unlisted:bytes
RESULT 64 item:u32 attempt:u16 outcome:u8 flags:u8 setup_us:u32 call_us:u32 teardown_us:u32 position:u32 start_us:u64
RESULTS 37 worker:u16 results:RESULT
OUTPUT 38 worker:u16 stream:u8 item:u32 data:bytes dropped_bytes:u64
WORKER_UP 39 worker:u16 pid:u32 way:u8 replaces:u16
WORKER_DOWN 40 worker:u16 expected:u8 exit_status:i32 signal:i32 item:u32 session_status:i32 stopped:u8 reason:bytes last_output:bytes will_restart:u8 age_ms:u32
RETURNED 41 request:u32 ranges:RANGE
ENV_FAILED 42 exit_status:i32 text:bytes
PROGRESS 43 running:RUNNING files:u32 items:u32 last:u8 brought:u32 to_bring:u32 brought_bytes:u64
ENV_DONE 44 exit_status:i32 agent_cpu_us:u64 workers_cpu_us:u64 stream_bytes:u64
HOST_READY 65 collector_pid:u32
FORK 66 worker:u16 slot:u16 total:u16 become:u8 maxfail:u32 name:bytes
FORKED 67 worker:u16 pid:u32 error:bytes
REAP 68 pid:u32
REAPED 69 pid:u32 exit_status:i32 signal:i32
RUN 70 first:u32 last:u8 ranges:RANGE
QUIT 71
WORKER_READY 72 pid:u32 count:u32 same:u8
WORKER_DONE 73 exit_status:i32 reason:bytes stopped:u8
SAVED 74 fault:u8
ORDER 75 places:INDEX
SYNC_OPEN 128 flags:u32 lo:u64 hi:u64 folder:bytes
SYNC_RECORDS 129 base_lo:u64 base_hi:u64 last:u8 codec:u8 plain_bytes:u32 inner:bytes
SYNC_DATA 130 codec:u8 plain_bytes:u32 inner:bytes
SYNC_AMEND 131 file:u32 gone:u8 mode:u16 size:u64 mtime_ns:u64 lo:u64 hi:u64
SYNC_KEEP 132 paths:INDEX last:u8
SYNC_END 133
SYNC_LOOK 134 project:u8 folder:bytes
SYNC_SAME 144
SYNC_NEED_ALL 145
SYNC_WANT 146 ranges:SYNC_RANGE last:u8
SYNC_EXTRA 147 paths:TEXT last:u8
SYNC_TAKEN 148 bytes:u64
SYNC_SAY 149 level:u8 text:bytes
SYNC_CHANGE 150 type:u8 was:u8 path:bytes
SYNC_DONE 151 lo:u64 hi:u64 written:u32 removed:u32 reused:u32 reused_bytes:u64 written_bytes:u64
SYNC_FAILED 152 text:bytes
SYNC_RECORD_LIST 153 records:SYNC_RECORD
SYNC_PIECE_LIST 154 pieces:SYNC_PIECE
TUNNEL_OPEN 160 version_min:u16 version_max:u16 build_id:bytes who:bytes output_limit:u64 agent:bytes
TUNNEL_RESUME 161 token:bytes
TUNNEL_OPENED 162 version:u16 build_id:bytes token:bytes
TUNNEL_REFUSED 163 code:u16 reason:bytes
TUNNEL_DATA 164 at:u64 bytes:bytes
TUNNEL_TAKEN 165 at:u64 text_at:u64
TUNNEL_TEXT 166 at:u64 bytes:bytes
TUNNEL_CLOSE 167
TUNNEL_ENDED 168 how:bytes
TUNNEL_BEAT 169
TUNNEL_JOIN 170 version_min:u16 version_max:u16 build_id:bytes who:bytes host:bytes cpus:u32 memory_bytes:u64 workers:u32 tags:TEXT interpreters:TEXT token:bytes
TUNNEL_JOINED 171 version:u16 build_id:bytes token:bytes output_limit:u64 run:bytes
TUNNEL_LEAVE 172
RUN_START 96 run_id:bytes version:bytes wall_us:u64 cwd:bytes argv:TEXT options:PAIR each:u8 base:bytes
GATEWAY_UP 97 gateway:u16 spec:bytes host:bytes system:bytes cpus:u32
GATEWAY_DOWN 98 gateway:u16 expected:u8 reason:bytes broke:u8
GRANT 99 gateway:u16 ranges:RANGE
NOTE 100 level:u8 text:bytes
WORKER_NAMES 104 workers:NAMED
STILL_RUNNING 103 worker:u16 item:u32 age_ms:u32 slow:u8
COLLECTION 101 count:u32 deselected:u32 workers:u32 digest_lo:u64 digest_hi:u64 expected_us:u64 collection:u16 owner:u16
RUN_END 102 exit_status:i32 reason:bytes wall_us:u64 duration_us:u64 collected:u32 recorded:u32 not_run:u32 passed:u32 failed:u32 skipped:u32 xfailed:u32 xpassed:u32 errors:u32 crashed:u32 counted:u8
"""

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.txt")
FORMATS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i32": "<i"}
BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i32": 31}
EVERY_BYTE = bytes(bytearray(range(256)))


def records():
    """name -> (number, [(field, type)])"""
    table = collections.OrderedDict()
    for line in TABLE.split("\n"):
        words = line.split()
        if words:
            table[words[0]] = (int(words[1]), [tuple(word.split(":")) for word in words[2:]])
    return table


def value(table, kind, which, seed):
    """usual, empty or extreme value of a field."""
    if kind in FORMATS:
        most = (1 << BITS[kind]) - 1
        if kind == "i32" and which == "extreme":
            return -(1 << 31)
        return {"usual": (seed * 2654435761) % (most + 1), "empty": 0, "extreme": most}[which]
    if kind == "bytes":
        return {"usual": (u"text %d \u00e9" % seed).encode("utf-8"), "empty": b"", "extreme": EVERY_BYTE}[which]
    parts = {"usual": ["usual", "usual"], "empty": [], "extreme": ["extreme", "empty", "usual"]}[which]
    return [values(table, kind, part, seed + n + 1) for n, part in enumerate(parts)]


def values(table, record, which, seed=1):
    return [value(table, kind, which, seed + 7 * n) for n, (_field, kind) in enumerate(table[record][1])]


def encode(table, record, given):
    out = b""
    for (_field, kind), v in zip(table[record][1], given):
        if kind in FORMATS:
            out += struct.pack(FORMATS[kind], v)
        elif kind == "bytes":
            out += struct.pack("<I", len(v)) + v
        else:
            out += struct.pack("<I", len(v)) + b"".join(encode(table, kind, one) for one in v)
    return out


def vectors():
    """(record, number, which, values, frame)"""
    table = records()
    for record, (number, _fields) in table.items():
        if number == 0:
            continue
        for which in ("usual", "empty", "extreme"):
            given = values(table, record, which)
            body = encode(table, record, given)
            yield record, number, which, given, struct.pack("<IHHQ", len(body), number, 0, 0) + body


def text():
    lines = ["# made by make_vectors.py: record, number of the frame, which values, the frame in hex"]
    lines += ["%s %d %s %s" % (record, number, which, "".join("%02x" % b for b in bytearray(frame))) for record, number, which, _given, frame in vectors()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with open(PATH, "w") as f:
        f.write(text())
