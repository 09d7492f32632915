"""Where in a TOML file a key stands: tomllib forgets the lines, so the text is scanned once more.

The scanner reads a text that tomllib has accepted already. It knows strings, comments, dotted and quoted keys, inline tables, arrays over
several lines and arrays of tables; it decides nothing about values.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[Path, int]:
    """{path: line}: lines count from 1; a path is made of keys and of positions in arrays.

    >>> key_lines("[a]\\nx = [1,\\n 2]\\n[[s]]\\nk = {y = 0}")
    {('a',): 1, ('a', 'x'): 2, ('a', 'x', 0): 2, ('a', 'x', 1): 3, ('s',): 4, ('s', 0): 4, ('s', 0, 'k'): 5, ('s', 0, 'k', 'y'): 5}
    """
    scanner = _Scanner(text)
    scanner.run()
    return scanner.lines


class _Scanner:
    """One pass over the text; `at` is the position."""

    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.lines: dict[Path, int] = {}
        self.last: dict[Path, int] = {}  # array of tables -> position of its newest table

    def run(self) -> None:
        prefix: Path = ()
        while self.skip():
            if self.text[self.at] == "[":
                prefix = self.header()
            else:
                self.pair(prefix)

    def skip(self) -> bool:
        """Pass blanks, newlines and comments; False at the end."""
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at < len(self.text)

    def note(self, path: Path) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, self.at) + 1)

    def header(self) -> Path:
        """[a.b] or [[a.b]]: the path of the table that begins."""
        many = self.text.startswith("[[", self.at)
        start = self.at
        self.at += 2 if many else 1
        keys = self.keys()
        self.at = self.text.index("]", self.at) + (2 if many else 1)
        end, self.at = self.at, start
        path: Path = ()
        for i, key in enumerate(keys):
            path = (*path, key)
            self.note(path)
            if many and i == len(keys) - 1:
                self.last[path] = self.last.get(path, -1) + 1
            if path in self.last:
                path = (*path, self.last[path])
                self.note(path)
        self.at = end
        return path

    def pair(self, prefix: Path) -> None:
        """key = value, the key perhaps dotted."""
        start = self.at
        keys = self.keys()
        end, self.at = self.at, start
        path = prefix
        for key in keys:
            path = (*path, key)
            self.note(path)
        self.at = self.text.index("=", end) + 1
        self.value(path)

    def keys(self) -> list[str]:
        """The parts of a dotted key."""
        found = []
        while True:
            self.skip()
            if self.text[self.at] in "\"'":
                start = self.at
                self.string()
                found.append(tomllib.loads(f"k = {self.text[start : self.at]}")["k"])
            else:
                bare = _BARE.match(self.text, self.at)
                self.at = bare.end() if bare else self.at + 1
                found.append(bare[0] if bare else "")
            after = _BLANK.match(self.text, self.at)
            if after is None or not self.text.startswith(".", after.end()):
                return found
            self.at = after.end() + 1

    def value(self, path: Path) -> None:
        self.skip()
        first = self.text[self.at]
        if first in "\"'":
            self.string()
        elif first == "[":
            self.entries("]", path)
        elif first == "{":
            self.entries("}", path)
        else:
            scalar = _SCALAR.match(self.text, self.at)
            self.at = scalar.end() if scalar else self.at + 1

    def entries(self, close: str, path: Path) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.at += 1
        count = 0
        while self.skip() and self.text[self.at] != close:
            if self.text[self.at] == ",":
                self.at += 1
            elif close == "}":
                self.pair(path)
            else:
                self.note((*path, count))
                self.value((*path, count))
                count += 1
        self.at += 1

    def string(self) -> None:
        """Pass a string of any of the four kinds."""
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(fence)
        while not self.text.startswith(fence, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(fence)
        while len(fence) == 3 and self.text.startswith(quote, self.at):  # """a""""" ends with quotes of its own
            self.at += 1
