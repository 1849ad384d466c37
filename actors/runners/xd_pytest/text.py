"""Text as bytes of bounded length."""
from __future__ import absolute_import, division, print_function

from xd_pytest.pythons import ESCAPES, PY2, Text

TEXT_LIMIT = 1 << 20  # bytes of one text field; head and tail are kept


def as_text(value):
    """Text of anything; a value whose own text fails gives a description."""
    if isinstance(value, Text):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", ESCAPES)
    try:
        return Text(value)
    except Exception as e:
        if PY2 and isinstance(e, UnicodeError):
            return as_text_of_bytes(value)
        return "<unprintable %s: %s>" % (type(value).__name__, type(e).__name__)


def as_text_of_bytes(value):
    """In Python 2: of something whose text is bytes, beyond ASCII."""
    try:
        return bytes(value).decode("utf-8", ESCAPES)
    except Exception as e:
        return "<unprintable %s: %s>" % (type(value).__name__, type(e).__name__)


def shown(text):
    """For a stream that people read."""
    return as_text(text).encode("utf-8", "backslashreplace")


def encode(value):
    """UTF-8 where it can be; lone surrogates travel as their three bytes, or as the bytes they stand for."""
    if isinstance(value, bytes):
        return value
    text = as_text(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def encode_id(value):
    if PY2 and isinstance(value, bytes):
        return value
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def bounded(value, limit=TEXT_LIMIT):
    """(bytes, whether they were shortened)"""
    data = encode(value)
    if len(data) <= limit:
        return data, False
    note = ("\n[... %d bytes left out ...]\n" % (len(data) - limit)).encode("ascii")
    half = max(1, (limit - len(note)) // 2)
    head = data[:half].decode("utf-8", "ignore").encode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore").encode("utf-8", "ignore")
    return head + note + tail, True


def microseconds(seconds, most=0xFFFFFFFFFFFFFFFF):
    try:
        n = int(seconds * 1e6)
    except (TypeError, ValueError, OverflowError):  # a plugin says what it likes: None, nan, inf
        return 0
    return 0 if n < 0 else most if n > most else n
