"""Collected items as COLLECT_IDS frames, and where they are in the source."""
from __future__ import absolute_import, division, print_function

import os
import struct

from xd_pytest import wire
from xd_pytest.compat import function_of, location_field, path_of, root_of
from xd_pytest.constants import NO_INDEX
from xd_pytest.page import PAGE_FILES, PAGE_ITEMS
from xd_pytest.pythons import PY2, fspath
from xd_pytest.text import encode_id
from xd_pytest.xdistlike import Groups

IDS_LIMIT = 60 * 1024     # bytes of one COLLECT_IDS frame
FRAME_HEADER = struct.Struct("<IHHQ")
LENGTH, LENGTHS, LINE_LENGTH, LINE_ALONE = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<iI"), struct.Struct("<iII")
NOT_SHARED = struct.Struct("<HI")  # the agent shortens what travels on

FunctionType = type(encode_id)
ELSEWHERE = ("__wrapped__", "__pytest_wrapped__", "place_as", "compat_co_firstlineno")  # attributes by which pytest finds another place of a function


class CollectProgress(object):
    """Keeps on the page, where the agent looks, how far the collection is."""

    def __init__(self, page):
        import pytest
        self.words, self.file_type, self.folder_type, self.item_type = page.words, pytest.File, pytest.Package, pytest.Item

    def begins(self, node):
        if isinstance(node, self.file_type) and not isinstance(node, self.folder_type):
            self.words[PAGE_FILES] += 1

    def found(self, nodes):
        self.words[PAGE_ITEMS] += sum(isinstance(node, self.item_type) for node in nodes or ())


def collection_frames(items):
    """COLLECT_IDS, made without the generic codec: there may be a hundred thousand (tests compare the two)."""
    part, size, first = [], 0, 0
    groups, lines = Groups(), Lines()
    for index, item in enumerate(items):
        nodeid = item.nodeid
        data = encode_id(nodeid)
        line = lines.of(item, nodeid)
        file = b""
        if line is None:
            named, line, _domain = item.location
            if named and not (nodeid.startswith(named) and nodeid[len(named):len(named) + 2] in ("::", "")):
                file = encode_id(named)
        group = groups.of(item)
        if file or group:
            end = b"".join((LINE_LENGTH.pack(-1 if line is None else line, len(file)), file, LENGTH.pack(len(group)), group))
        else:
            end = LINE_ALONE.pack(-1 if line is None else line, 0, 0)
        entry = NOT_SHARED.pack(0, len(data)) + data + end
        if size + len(entry) > IDS_LIMIT and part:
            yield ids_frame(first, part)
            part, size, first = [], 0, index
        size += len(entry)
        part.append(entry)
    if part:
        yield ids_frame(first, part)


def ids_frame(first, part):
    body = b"".join([LENGTHS.pack(first, len(part))] + part)
    return FRAME_HEADER.pack(len(body), wire.COLLECT_IDS, 0, 0) + body


def put_in_order(items, places):
    """ORDER: `items` in the order in which they are numbered in the run.  Returns them by their numbers: None = there is no such test here."""
    numbered = [None if place.item == NO_INDEX else items[place.item] for place in places]
    items[:] = [item for item in numbered if item is not None]
    return items if len(items) == len(numbered) else numbered


class Lines(object):
    """item.location[1] of undecorated test functions in the file of their node id, without the file system, which item.location asks.  Of items
    with one path, the path is looked at once.  Asking for __dict__ would make a dictionary of each function and item, which all workers copy."""

    def __init__(self):
        self.path = self.name = None
        self.start = ""  # of the node ids of what is at that path
        self.field = location_field()

    def of(self, item, nodeid):
        """None: ask item.location."""
        try:
            function = function_of(item)
        except AttributeError:
            return None
        if PY2 and not isinstance(nodeid, str):
            return None
        if type(function) is not FunctionType:
            function = getattr(function, "__func__", None)
            if type(function) is not FunctionType:
                return None
        if type(item).__module__ != "_pytest.python":
            return None
        for name in ELSEWHERE:
            if hasattr(function, name):
                return None
        path = path_of(item)
        if path is not self.path:
            self.path, self.name, self.start = path, fspath(path), None
        code = function.__code__
        if code.co_filename != self.name or getattr(item.reportinfo, "__module__", None) != "_pytest.python":
            return None
        if self.start is None or not nodeid.startswith(self.start):
            file = nodeid.partition("::")[0]
            if self.name != os.path.join(root_of(item.config), file):
                return None
            self.start = file + "::"
        return code.co_firstlineno - 1

    def give(self, item):
        """item.location of such a function, before pytest computes the same."""
        fields = item.__dict__
        if self.field in fields:
            return
        nodeid = item.nodeid
        try:
            line = self.of(item, nodeid)
            if line is not None:
                fields[self.field] = (self.start[:-2], line, path_in_module(item))
        except Exception:  # an item that is like none of pytest's
            pass


def path_in_module(item):
    name = item.name
    if type(item).__module__ == type(item.parent).__module__ and type(item.parent).__name__ == "Module" and ".[" not in name:
        return name  # what getmodpath() finds
    return item.getmodpath()
