"""A small terminal: what stands on it after a program wrote to it and the window was resized."""
import fcntl
import re
import struct
import termios

PART = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b])")


class Screen(object):
    """Rows without a limit at the bottom.  flows: on a resize long lines are broken anew, as many terminals do; else they are cut."""

    def __init__(self, columns=80, flows=True):
        self.columns, self.flows = columns, flows
        self.rows, self.wrapped = [[]], [False]  # wrapped: this row goes on in the next one
        self.row = self.column = 0
        self.wraps = True

    def write(self, text):
        for part in PART.finditer(text):
            private, numbers, what, control, character = part.groups()
            if what:
                self.escape(private, numbers, what)
            elif control:
                self.control(control)
            else:
                self.put(character)
        return self

    def control(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\b":
            self.column = max(self.column - 1, 0)
        else:
            self.column = 0  # the line discipline makes \r\n of it
            self.down()

    def down(self):
        self.row += 1
        while len(self.rows) <= self.row:
            self.rows.append([])
            self.wrapped.append(False)

    def put(self, c):
        if self.column >= self.columns:
            if self.wraps:
                self.wrapped[self.row] = True
                self.down()
                self.column = 0
            else:
                self.column = self.columns - 1
        row = self.rows[self.row]
        row.extend(" " * (self.column + 1 - len(row)))
        row[self.column] = c
        self.column += 1

    def escape(self, private, numbers, what):
        number = int(numbers.split(";")[0] or 0)
        if private:
            assert what in "hl" and number == 7, (numbers, what)
            self.wraps = what == "h"
        elif what == "K":
            assert number == 0
            del self.rows[self.row][self.column:]
        elif what == "J":
            assert number == 0
            del self.rows[self.row][self.column:]
            del self.rows[self.row + 1:]
            del self.wrapped[self.row + 1:]
            self.wrapped[self.row] = False
        elif what == "A":
            self.row = max(self.row - (number or 1), 0)
        elif what == "G":
            self.column = min((number or 1) - 1, self.columns - 1)
        else:
            assert what == "m", what

    def resize(self, columns):
        if not self.flows:
            self.rows = [row[:columns] for row in self.rows]
            self.column = min(self.column, columns - 1)
            self.columns = columns
            return
        lines, cursor = [[]], None
        for number, row in enumerate(self.rows):
            if number == self.row:
                cursor = len(lines) - 1, len(lines[-1]) + self.column
            lines[-1].extend(row)
            if not self.wrapped[number]:
                lines.append([])
        self.rows, self.wrapped, self.columns = [], [], columns
        for number, line in enumerate(lines[:-1]):
            parts = [line[i:i + columns] for i in range(0, len(line), columns)] or [[]]
            if number == cursor[0]:
                self.row = len(self.rows) + min(cursor[1] // columns, len(parts) - 1)
                self.column = min(cursor[1] - columns * (self.row - len(self.rows)), columns)
            self.rows += parts
            self.wrapped += [True] * (len(parts) - 1) + [False]

    @property
    def lines(self):
        return ["".join(row).rstrip() for row in self.rows]


def set_size(fd, columns, lines=24):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
