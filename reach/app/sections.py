"""A problem file as tables with places: every value is read with its type, and every complaint names file, line and key."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from certify.core.errors import CertifyError, InputError
from certify.core.toml_lines import key_lines

LARGEST_FILE = 1 << 20
_GUILTY = re.compile(r"^(rates|updates|states|inputs|disturbances)(?:\[(?:(\d+)|'([^']*)')\])?")


class Number(float):
    """A float that remembers how it was written."""

    text: str = ""


class Source:
    """The file: its data, and the line of every key."""

    def __init__(self, path: Path, text: str):
        self.path = path
        try:
            self.data = tomllib.loads(text, parse_float=_number)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error), re.DOTALL)
            place = f"{path}, line {found[2]}, column {found[3]}" if found else f"{path}, at its end"
            what = "the problem file is not TOML" if isinstance(error, tomllib.TOMLDecodeError) else "the problem file is nested too deeply"
            raise InputError(what, where=place, found=found[1] if found else str(error), hint="text needs quotes, lists need [ ]; docs/reach.md has an example") from None
        self.lines = key_lines(text)
        self._require_plain_numbers(self.data, ())

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Raises InputError for a file that is absent, too large, or not text."""
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise InputError("the problem file is too large", where=path, found=f"{path.stat().st_size} bytes", expected=f"at most {LARGEST_FILE}")
            return cls(path, path.read_text(encoding="utf-8"))
        except OSError as error:
            hint = "reach demo --out DIR writes one to start from" if isinstance(error, FileNotFoundError) else None
            raise InputError("the problem file cannot be read", where=path, found=error.strerror or str(error), hint=hint) from None
        except UnicodeDecodeError as error:
            raise InputError("the problem file is not text in UTF-8", where=path, found=f"byte {error.start}") from None

    def place(self, path: Sequence[str | int]) -> str:
        """`problem.toml, line 7 (plant.rates[1])`, the line of the nearest key that is there."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")
        line = f", line {self.lines[known]}" if known else ""
        return f"{self.path}{line}" + (f" ({name})" if name else "")

    def fail(self, path: Sequence[str | int], what: str, found: object = None, expected: object = None, hint: object = None) -> NoReturn:
        raise InputError(what, where=self.place(path), found=found, expected=expected, hint=hint)

    def relocated(self, path: Sequence[str | int], error: CertifyError, inner: object = None) -> CertifyError:
        """An error of the library with the place in this file in front of its own."""
        place = self.place(path) + (f", {inner} of the formula" if str(inner or "").startswith("column ") else f": {inner}" if inner else "")
        return type(error)(error.what, where=place, found=error.found, expected=error.expected, hint=error.hint)

    def _require_plain_numbers(self, value: Any, path: tuple[str | int, ...]) -> None:
        """Proofs hold for a number's float64 and for its shortest decimal; a text that is neither would be a third number, silently replaced."""
        if isinstance(value, Mapping | list):
            for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                self._require_plain_numbers(item, (*path, key))
        elif isinstance(value, Number) and math.isfinite(value):
            if Decimal(value.text) not in (Decimal(float(value)), Decimal(repr(float(value)))):
                self.fail(path, "a number has more digits than a float64 keeps", value.text, f"at most 17 digits that mean a float64: {float(value)!r}", f"write {float(value)!r}")
        elif isinstance(value, Number) and "inf" not in value.text and "nan" not in value.text:
            self.fail(path, "a number is beyond the range of float64", value.text)
        elif isinstance(value, int) and abs(value) > 2**53:
            self.fail(path, "a whole number is too large", value, "at most 2**53")


def _number(text: str) -> Number:
    number = Number(text)
    number.text = text
    return number


_NAMES = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number", list: "a list [...]", dict: "a table {...} or a section"}


def kind_of(value: Any) -> str:
    """What a TOML value is, in the file's words."""
    for kind in (bool, int, float, str, list, dict):
        if isinstance(value, kind):
            shown = f"{value!r}"[:60] if not isinstance(value, dict) else "{" + ", ".join(value)[:60] + "}"
            return f"{shown} ({_NAMES[kind].split(' in ')[0].split(' [')[0].split(' {')[0]})"
    return f"{value} (a date or time)"


class Section:
    """One table of the file; what it holds is taken key by key, and what is left is refused by `finish`."""

    def __init__(self, source: Source, path: tuple[str | int, ...], known: Sequence[str], required: Sequence[str] = ()):
        self.source, self.path = source, path
        value: Any = source.data
        for part in path:
            value = value.get(part, {}) if isinstance(value, dict) else value[part]
        if not isinstance(value, dict):
            self.fail("a section is a table", kind_of(value), f"[{path[-1]}] with {', '.join(known)}")
        self.table: dict[str, Any] = value
        for key in self.table:
            if known and key not in known:
                self.unknown(key, known)
        for key in required:
            if key not in self.table:
                self.fail(f"{key!r} is missing", f"{', '.join(self.table) or 'an empty section'}", f"{key} = ...", hint="docs/reach.md describes every key")

    def unknown(self, key: str, known: Sequence[str], what: str = "unknown key") -> NoReturn:
        close = difflib.get_close_matches(key, known, 1)
        self.fail(f"{what} {key!r}", expected=f"one of {', '.join(known)}", hint=f"did you mean {close[0]!r}?" if close else None, at=key)

    def unknown_value(self, key: str, choices: Iterable[str]) -> NoReturn:
        close = difflib.get_close_matches(str(self.table[key]), list(choices), 1)
        self.fail(f"unknown {key}", kind_of(self.table[key]), " or ".join(f'"{c}"' for c in choices), f'did you mean "{close[0]}"?' if close else None, at=key)

    def fail(self, what: str, found: object = None, expected: object = None, hint: object = None, at: Any = ()) -> NoReturn:
        self.source.fail((*self.path, *(at if isinstance(at, tuple) else (at,))), what, found, expected, hint)

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of a key, of the wanted type: str, bool, int, float (whole numbers count, as float), list or dict."""
        if key not in self.table:
            return default
        return self.typed(self.table[key], kind, (key,))

    def typed(self, value: Any, kind: type, at: tuple[str | int, ...]) -> Any:
        good = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not good or (isinstance(value, bool) and kind is not bool):
            self.fail(f"{at[-1] if isinstance(at[-1], str) else at[-2]!r} has a value of the wrong type", kind_of(value), _NAMES[kind], at=at)
        return float(value) if kind is float else value

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        values = self.get(key, list, [])
        return [self.typed(value, str, (key, i)) for i, value in enumerate(values)]

    def pair(self, value: Any, at: tuple[str | int, ...]) -> tuple[float, float]:
        """[low, high]; a single number is both ends."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value), float(value)
        if not isinstance(value, list) or len(value) != 2:
            self.fail("an interval is [low, high]", kind_of(value), "two numbers, or one for a point", at=at)
        low, high = (self.typed(v, float, (*at, i)) for i, v in enumerate(value))
        if math.isnan(low) or math.isnan(high):
            self.fail("an end of an interval is not a number", f"[{low}, {high}]", at=at)
        if not low <= high:
            self.fail("an interval is inverted", f"[{low!r}, {high!r}]", "low <= high", hint=f"[{high!r}, {low!r}]?", at=at)
        return low, high


@contextmanager
def located(source: Source, places: dict[str, tuple[str | int, ...]], default: tuple[str | int, ...]) -> Iterator[None]:
    """Errors of the library get the line of the key that they are about: that of `places[where]`, of a formula, else `default`."""
    try:
        yield
    except CertifyError as error:
        where = str(error.where or "")
        guilty = _GUILTY.match(where)
        name, _, column = where.partition(", ")
        if name in places:
            raise source.relocated(places[name], error, column) from None
        if guilty and default == ("plant",):
            index = int(guilty[2]) if guilty[2] else guilty[3]
            path = ("plant", guilty[1]) if index is None else ("plant", guilty[1], index)
            raise source.relocated(path, error, re.sub(r"^ \(of [^)]*\)", "", where[guilty.end() :]).strip(", ")) from None
        raise source.relocated(default, error, where) from None
