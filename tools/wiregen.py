"""Makes what follows from engine/wire.def: actors/runners/xd_pytest/wire.py (Python codec of what a runner hears and says) and
constants.py (its numbers, and the exit codes of engine/xd.h), and engine/PROTOCOL.md (chapter of the manual).

    wiregen.py            writes them
    wiregen.py --check    exit 1 when one of them is not what it would write
    codec()               a module with all records and numbers, for tests
"""
import os
import re
import sys
import types

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NUMBERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i"}
LINE = re.compile(r'^XD_(REC|NUM|STR|LST|LATER|RANGE|WHEN|END|ENUM|VALUE|RETIRED|ENUM_END)\((.*)\)\s*$')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*$')

# What the adapter needs: the rest of the protocol would take a millisecond of each start to import.
RUNNER_HEARS = ("ENV_START", "FORK", "ORDER", "RUN", "REAP", "FINISH", "QUIT")
RUNNER_SAYS = ("HOST_READY", "CONFIG", "COLLECTED", "ENV_FAILED", "FORKED", "REAPED", "WORKER_READY", "WORKER_DONE", "REPORT", "WARNING",
               "SUITE_PROPERTY", "SAVED", "SUMMARY")
RUNNER_WRITES_ITSELF = ("COLLECT_IDS", "RESULT")  # only the number


class Record(object):
    def __init__(self, name, number, doc):
        self.name, self.number, self.doc, self.fields = name, number, doc, []
        self.later = []  # how many fields go before each XD_LATER
        self.ranges = {}  # field -> (lowest, highest), as written
        self.when = ""  # phases of its environment in which an agent may say it

    def fixed(self):
        return all(kind in NUMBERS for kind, _name, _doc in self.fields)

    def format(self):
        return "".join(NUMBERS[kind] for kind, _name, _doc in self.fields)


class Enum(object):
    def __init__(self, name, doc):
        self.name, self.doc = name, doc
        self.values = []   # (name, number as it is written, doc)
        self.retired = []  # (number, doc)


def lines_of(path):
    """(macro, words, doc) of each line that defines something."""
    with open(path) as f:
        for number, line in enumerate(f, 1):
            found = LINE.match(line)
            if not found:
                if line.startswith("XD_"):
                    raise SystemExit("%s:%d: one whole macro per line, please" % (path, number))
                continue
            macro, rest = found.groups()
            doc = STRING.search(rest)
            words = [w.strip() for w in (rest[:doc.start()] if doc else rest).split(",") if w.strip()]
            yield macro, words, doc.group(1).replace('\\"', '"') if doc else ""


def parse_enums(path):
    enums = []
    for macro, words, text in lines_of(path):
        if macro == "ENUM":
            enums.append(Enum(words[0], text))
        elif macro in ("VALUE", "RETIRED"):
            if not enums or words[0] != enums[-1].name:
                raise SystemExit("%s: %s is not inside of XD_ENUM(%s)" % (path, words, words[0]))
            if macro == "VALUE":
                enums[-1].values.append((words[1], words[2], text))
            else:
                enums[-1].retired.append((words[1], text))
    for enum in enums:
        numbers = [int(number, 0) for _name, number, _doc in enum.values] + [int(number, 0) for number, _doc in enum.retired]
        if len(numbers) != len(set(numbers)):
            raise SystemExit("%s: a number of %s has two meanings (retired ones count)" % (path, enum.name))
    return enums


def exit_codes(path):
    """(name, number) of enum xd_exit."""
    with open(path) as f:
        body = re.search(r"^enum xd_exit \{(.*?)^\};", f.read(), re.S | re.M).group(1)
    return re.findall(r"XD_(EXIT_\w+)\s*=\s*(\d+)", re.sub(r"/\*.*?\*/", "", body, flags=re.S))


def parse(path):
    records = []
    for macro, words, text in lines_of(path):
        if macro == "REC":
            records.append(Record(words[0], int(words[1]), text))
        elif macro == "NUM":
            records[-1].fields.append((words[1], words[2], text))
        elif macro == "STR":
            records[-1].fields.append(("bytes", words[1], text))
        elif macro == "LST":
            records[-1].fields.append((words[1], words[2], text))
        elif macro == "LATER":
            records[-1].later.append(len(records[-1].fields))
        elif macro == "RANGE":
            records[-1].ranges[words[1]] = (words[2], words[3])
        elif macro == "WHEN":
            records[-1].when = words[1]
    listed = set(kind for r in records for kind, _name, _doc in r.fields)
    for r in records:
        if r.later and r.name in listed:
            raise SystemExit("%s: %s lies in lists, back to back: it can get no field (how the protocol may grow)" % (path, r.name))
    return records


HEAD = '''"""Codec of xd's protocol for Python.  Made by tools/wiregen.py from engine/wire.def: do not edit.

pack_NAME(field, ...)    a whole frame (header and body, sequence 0) of record NAME; bytes fields take bytes or text, lists take tuples
unpack(kind, body)       named tuple of that record; lists hold named tuples.  ValueError: not a well-formed body; bytes behind it are passed over
FrameReader().feed(b)    list of (kind, flags, sequence, body) completed by these bytes
"""
import struct
from operator import itemgetter as _at

VERSION = 1
HEADER = struct.Struct("<IHHQ")
FRAME_MAX = 16 << 20
PREAMBLE = b"\\x89xd\\r\\n\\x1a\\n\\x01"
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

'''

TAIL = '''
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
'''


def runs(record):
    """Fields in groups: ("fixed", [...]) of neighbouring numbers, or (kind, [field])."""
    out = []
    for at, field in enumerate(record.fields):
        if field[0] in NUMBERS:
            if out and out[-1][0] == "fixed" and at not in record.later:
                out[-1][1].append(field)
            else:
                out.append(("fixed", [field]))
        else:
            out.append((field[0], [field]))
    return out


def python_class(record):
    names = [f[1] for f in record.fields]
    lines = ["\n\nclass %s_(_Record):" % record.name, "    __slots__ = ()",
             "    _fields = (%s)" % "".join('"%s", ' % n for n in names)]
    return lines + ["    %s = property(_at(%d))" % (n, i) for i, n in enumerate(names)] + ["\n"]


def python_pack(record):
    name, names = record.name, [f[1] for f in record.fields]
    if record.fixed():  # the hot ones: header and body in one call
        return ["\n_frame_%s = struct.Struct(\"<IHHQ%s\")" % (name, record.format()),
                "\n\ndef pack_%s(%s):" % (name, ", ".join(names)),
                "    return _frame_%s.pack(%s)\n" % (name, ", ".join(["_frame_%s.size - 16" % name, str(record.number), "0", "0"] + names))]
    return ["\ndef pack_%s(%s):" % (name, ", ".join(names)),
            "    return _frame(%d, _write_%s(%s))\n" % (record.number, name, ", ".join(names))]


def python_record(record, reads, writes):
    """Names of its own end with an underscore, as no field's does."""
    name, names = record.name, [f[1] for f in record.fields]
    structs, written, read, values = [], [], [], []
    for i, (kind, fields) in enumerate(runs(record)):
        if len(values) in record.later:
            read.append("    if at_ == len(body_):\n        return %s_((%s)), at_" % (name, "".join("%s, " % v for v in values + [
                "0" if k in NUMBERS else 'b""' if k == "bytes" else "[]" for k, _name, _doc in record.fields[len(values):]])))
        if kind == "fixed":
            struct_name = "_%s_%d" % (name, i)
            structs.append('%s = struct.Struct("<%s")' % (struct_name, "".join(NUMBERS[f[0]] for f in fields)))
            written.append("%s.pack(%s)" % (struct_name, ", ".join(f[1] for f in fields)))
            read.append("    (%s,), at_ = _get(body_, at_, %s)" % (", ".join(f[1] for f in fields), struct_name))
        elif kind == "bytes":
            written.append("_bytes(%s)" % fields[0][1])
            read.append("    %s, at_ = _get_bytes(body_, at_)" % fields[0][1])
        else:
            written.append("_list(%s, _write_%s)" % (fields[0][1], kind))
            read.append("    %s, at_ = _get_list(body_, at_, _read_%s)" % (fields[0][1], kind))
        values += [f[1] for f in fields]
    lines = ["\n%s = %d" % (name, record.number)] if record.number else []
    lines += (python_class(record) if reads else ["\n"] if structs else []) + structs
    if writes:
        lines.append("\n\ndef _write_%s(%s):" % (name, ", ".join(names)))
        lines.append("    return " + (" + ".join(written) if written else 'b""'))
    if reads:
        lines.append("\n\ndef _read_%s(body_, at_):" % name)
        lines += read
        lines.append("    return %s_((%s)), at_\n" % (name, "".join(v + ", " for v in values)))
    if writes and record.number:
        lines += python_pack(record)
    return "\n".join(lines)


def with_parts(records, names):
    """Those records and the ones their lists hold."""
    known = dict((r.name, r) for r in records)
    found = list(names)
    for name in found:
        found.extend(kind for kind, _name, _doc in known[name].fields if kind in known and kind not in found)
    return set(found)


def python_module(records, reads=None, writes=None, numbers=()):
    reads = set(r.name for r in records) if reads is None else with_parts(records, reads)
    writes = set(r.name for r in records) if writes is None else with_parts(records, writes)
    out = [HEAD]
    for r in records:
        if r.name in reads or r.name in writes:
            out.append(python_record(r, r.name in reads, r.name in writes))
        elif r.name in numbers:
            out.append("\n%s = %d\n" % (r.name, r.number))
    out.append("\n_READERS = {")
    out += ["    %d: _read_%s," % (r.number, r.name) for r in records if r.number and r.name in reads]
    out.append("}\n")
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(out) + TAIL)


def python_numbers(enums, exits):
    out = ['"""Numbers shared with the agent.  Made by tools/wiregen.py from engine/wire.def, and from engine/xd.h (EXIT_*): do not edit."""']
    for enum in enums:
        out += ["", "# " + enum.doc]
        out += ["%s_%s = %s%s" % (enum.name, name, number, "  # " + doc if doc else "") for name, number, doc in enum.values]
    out += ["", "# exit code of a run or a session"] + ["%s = %s" % pair for pair in exits]
    return "\n".join(out) + "\n"


def codec():
    module = types.ModuleType("wire")
    definition = os.path.join(ROOT, "engine", "wire.def")
    for text in (python_numbers(parse_enums(definition), exit_codes(os.path.join(ROOT, "engine", "xd.h"))), python_module(parse(definition))):
        exec(compile(text, "<wire.def>", "exec"), module.__dict__)
    return module


def page(path):
    """What the definition says in words."""
    with open(path) as f:
        found = re.search(r"^/\* ---- page: [^\n]*\n(.*?)^---- end of the page", f.read(), re.S | re.M)
    return found.group(1).strip().splitlines()


def manual(words, records, enums):
    out = ["# The protocol", "", "Made by tools/wiregen.py from engine/wire.def: do not edit.", ""] + words
    out += ["", "# Record by record", "", "`OUT.PASSED` below is `XD_OUT_PASSED` in C and `OUT_PASSED` in Python.", ""]
    for enum in enums:
        out += ["## %s: %s" % (enum.name, enum.doc), "", "| number | name | meaning |", "|---|---|---|"]
        rows = [(number, "`%s`" % name, doc) for name, number, doc in enum.values] + [
            (number, "(retired)", doc + "; the number is not used again") for number, doc in enum.retired]
        out += ["| %s | %s | %s |" % row for row in sorted(rows, key=lambda row: int(row[0], 0))] + [""]
    for r in records:
        out += ["## %s%s" % (r.name, " (%d)" % r.number if r.number else ""), "", r.doc + ".", ""]
        if r.when:
            out += ["An agent may say it while its environment is %s." % r.when.replace("XD_PHASE_", "").lower().replace(" |", ","), ""]
        if r.fields:
            out += ["| field | type | meaning |", "|---|---|---|"]
            for at, (kind, name, doc) in enumerate(r.fields):
                doc += " (came later: 0 or empty in an older body)" if r.later and at >= r.later[0] else ""
                doc += " (%s to %s)" % tuple(n.replace("XD_", "") for n in r.ranges[name]) if name in r.ranges else ""
                shown = kind if kind in NUMBERS or kind == "bytes" else "list of %s" % kind
                out.append("| `%s` | %s | %s |" % (name, shown, doc.replace("|", "\\|")))
            out.append("")
    return "\n".join(out)


def main(arguments):
    definition = os.path.join(ROOT, "engine", "wire.def")
    records, enums = parse(definition), parse_enums(definition)
    numbers = [r.number for r in records if r.number]
    if len(numbers) != len(set(numbers)):
        raise SystemExit("engine/wire.def: two records have the same number")
    stale = []
    adapter = python_module(records, RUNNER_HEARS, RUNNER_SAYS, RUNNER_WRITES_ITSELF)
    for path, text in ((os.path.join("actors", "runners", "xd_pytest", "wire.py"), adapter),
                       (os.path.join("actors", "runners", "xd_pytest", "constants.py"),
                        python_numbers(enums, exit_codes(os.path.join(ROOT, "engine", "xd.h")))),
                       (os.path.join("engine", "PROTOCOL.md"), manual(page(definition), records, enums))):
        full = os.path.join(ROOT, path)
        if "--check" in arguments:
            try:
                with open(full) as f:
                    same = f.read() == text
            except IOError:
                same = False
            if not same:
                stale.append(path)
        else:
            with open(full, "w") as f:
                f.write(text)
    if stale:
        print("not what tools/wiregen.py makes of engine/wire.def: " + ", ".join(stale))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
