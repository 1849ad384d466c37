"""pytest's reports and warnings as frames."""
from __future__ import absolute_import, division, print_function

from io import StringIO

from xd_pytest import compat, wire
from xd_pytest.constants import NO_WORKER, REP_CUT, REP_FOLDED, REP_MARKUP, REP_NOTRUN, REP_STRICT, REP_WASXFAIL
from xd_pytest.pythons import PY2, STRINGS
from xd_pytest.text import TEXT_LIMIT, as_text, bounded, encode, encode_id, microseconds

REPORT_LIMIT = 8 << 20  # bytes of all sections and properties of one report (a frame has at most 16 MiB)


def description_of_subtest(report):
    describe = compat.subtest_description(report)
    try:
        return "" if describe is None else as_text(describe())
    except Exception:
        return "(<subtest>)"


class Screen(StringIO):
    """What pytest takes for the terminal that xd writes to."""
    tty = markup = highlight = False

    def isatty(self):
        return self.tty

    if PY2:
        def write(self, text):
            return StringIO.write(self, as_text(text))

    @classmethod
    def configure(cls, config, tty):
        """Asked once: tests change the environment that says something of colours."""
        cls.tty = tty
        try:
            writer = compat.writer_for(config, cls())
        except AttributeError:  # -p no:terminal takes the options away
            return
        if writer is not None:
            cls.markup, cls.highlight = writer.hasmarkup, getattr(writer, "code_highlight", False)

    def writer(self):
        """None: it is unknown how."""
        writer = compat.terminal_writer(self)
        if writer is not None:
            writer.hasmarkup, writer.code_highlight = self.markup, self.highlight
        return writer


def text_of(report):
    """(longrepr as the terminal shows it, whether it has colours)"""
    longrepr = report.longrepr
    if longrepr is None or (report.outcome == "skipped" and isinstance(longrepr, tuple)):
        return "", False
    try:  # not longreprtext: its strip() takes the indent of the first source line
        screen = Screen()
        report.toterminal(screen.writer())
        return screen.getvalue(), Screen.markup
    except Exception:
        return as_text(longrepr), False


def usual_status(report):
    """What pytest's terminal plugin says of a report; it may be switched off."""
    outcome = "error" if report.outcome == "failed" and report.when in ("collect", "setup", "teardown") else report.outcome
    return outcome, {"passed": ".", "skipped": "s"}.get(report.outcome, "F"), outcome.upper()


def short_of(report):
    """(message, path, line 0-based, whether the short summary shows no line), as pytest has them."""
    longrepr = report.longrepr
    path, line, folded = "", -1, False
    crash = getattr(longrepr, "reprcrash", None)
    if isinstance(longrepr, tuple) and len(longrepr) == 3:
        path, number, message = longrepr
        message = as_text(message)
        if message.startswith("Skipped: "):
            message = message[len("Skipped: "):]
        elif message == "Skipped":
            message = ""
        keywords = getattr(report, "keywords", ())
        folded = report.when == "setup" and "skip" in keywords and "pytestmark" not in keywords
        line = number - 1 if isinstance(number, int) else -1
    elif crash is not None:
        path, line, message = crash.path, crash.lineno - 1, as_text(crash.message)
    elif isinstance(longrepr, STRINGS):
        message = as_text(longrepr)
    else:
        message = ""
    wasxfail = getattr(report, "wasxfail", None)
    if wasxfail is not None and report.outcome != "failed":
        message = as_text(wasxfail)
    return message, as_text(path), line, folded


def heading_of(report):
    """What pytest writes above the text of a failure, if that is not made of the node id."""
    location = getattr(report, "location", None)
    if not location or report.when == "collect":
        return ""
    names, bracket, parameters = as_text(report.nodeid).partition("[")
    usual = names.partition("::")[2].replace("::", ".") + bracket + parameters
    given = as_text(location[2] or "")
    return "" if given == usual else given


def report_frame(report, status, item, attempt, nodeid, sections, properties, attributes=(), flags=0):
    category, letter, word = status
    if isinstance(word, (tuple, list)):
        word = word[0]
    wasxfail = getattr(report, "wasxfail", None)
    message, path, line, folded = short_of(report)
    flags |= REP_FOLDED if folded else 0
    if wasxfail is not None:
        flags |= REP_WASXFAIL
        if as_text(wasxfail).startswith("[NOTRUN]") or message.startswith("[NOTRUN]"):
            flags |= REP_NOTRUN
    if report.outcome == "failed" and isinstance(report.longrepr, STRINGS) and report.longrepr.startswith("[XPASS(strict)]"):
        flags |= REP_STRICT
    whole, colored = text_of(report)
    flags |= REP_MARKUP if colored else 0
    body, cut = bounded(whole)
    budget = REPORT_LIMIT
    parts, pairs, others = [], [], []
    for given, into in ((sections, parts), (properties, pairs), (attributes, others)):
        for pair in given:
            try:
                name, value = pair
            except Exception:
                name, value = "property", repr(pair)
            if budget < 1024:
                cut = True
                break
            (name, _cut), (value, shortened) = bounded(name, 512), bounded(value, min(TEXT_LIMIT, budget))
            cut = cut or shortened
            budget -= len(name) + len(value) + 8
            into.append((name, value))
    return wire.pack_REPORT(
        item=item, attempt=attempt, worker=NO_WORKER, nodeid=encode_id(nodeid), when=encode(report.when or ""), category=encode(category or ""),
        letter=encode(letter or ""), word=encode(word or ""), outcome=encode(report.outcome), text=body, message=bounded(message)[0],
        path=encode(path), line=line, subtest=encode(description_of_subtest(report)),
        heading=encode(heading_of(report)),
        duration_us=microseconds(getattr(report, "duration", 0) or 0), start_us=microseconds(getattr(report, "start", 0) or 0),
        sections=parts, properties=pairs, attributes=others, flags=flags | (REP_CUT if cut else 0))


def fault_frame(text, item, attempt, flags):
    """An exception in our own code, as an error of the item; made without anything that could fail again."""
    message = text.strip().split("\n")[-1]
    return wire.pack_REPORT(
        item=item, attempt=attempt, worker=NO_WORKER, nodeid=b"", when=b"teardown", category=b"error", letter=b"E", word=b"ERROR", outcome=b"failed",
        text=bounded("xd failed to report this test (please report this):\n" + text)[0], message=bounded("xd: " + message)[0], path=b"", line=-1,
        subtest=b"", heading=b"", duration_us=0, start_us=0, sections=[], properties=[], attributes=[], flags=flags)


def warning_frame(message, when, nodeid, item):
    try:
        text = compat.warning_text(message)
    except Exception as e:
        text = "<unprintable warning: %s>" % type(e).__name__
    category = getattr(message.category, "__name__", "")
    return wire.pack_WARNING(item=item, worker=NO_WORKER, when=encode(when), category=encode(category), nodeid=encode_id(nodeid or ""),
                             text=bounded(text)[0], file=encode(message.filename or ""), line=max(0, int(message.lineno or 0)))
