"""CONFIG.toml -> Recipe: network, data and plan of `certify train`; every complaint names file, line and key. docs/train.md describes every key."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..core.errors import CertifyError, InputError
from ..core.toml_lines import key_lines
from . import losses, penalties
from .factory import factory, resolved
from .plan import Plan
from .recipes import Recipe

SECTIONS = {"model": ("name", "arguments"), "data": ("source", "scale")}
DATA = ("digits", "mnist", "cifar10")
_LARGEST = 1 << 20
_KINDS = {str: "text in quotes", dict: "a table { ... }", float: "a number"}


def load_config(path: str | Path) -> Recipe:
    """The recipe that a TOML file describes.

    Raises:
        InputError: not there, not TOML, an unknown or missing key, a value of a wrong type or out of range, a network that does not exist.
    """
    source = _Source(Path(path))
    source.only((), ("name", *SECTIONS, "plan", "loss", "penalty"), needed=("model", "data"))
    for name, keys in SECTIONS.items():
        source.only((name,), keys, needed=keys[:1])
    reference = resolved(source.get(("model", "name"), str), source.path.parent)
    arguments = source.get(("model", "arguments"), dict, {})
    try:
        inspect.signature(factory(reference)).bind(**arguments)
    except CertifyError as error:
        raise source.relocated(("model", "name"), error) from None
    except TypeError as error:
        source.fail(("model", "arguments"), "the network does not take these arguments", str(error), str(inspect.signature(factory(reference))))
    except ValueError:
        pass  # a function that does not say what it takes
    data = source.get(("data", "source"), str)
    scale = source.get(("data", "scale"), float, None)
    if scale is not None and not 0 < scale < float("inf"):
        source.fail(("data", "scale"), "the scale is out of range", scale, "a positive number")
    if scale is not None and data == "digits":
        source.fail(("data", "scale"), "the digits have their scale: 0 to 1", scale, "no scale")
    where = data if data in DATA else str((source.path.parent / data).resolve())
    return Recipe(source.get(("name",), str, source.path.stem), reference, where, _plan(source), arguments, scale)


def _plan(source: _Source) -> Plan:
    """[plan], [loss] and [penalty]."""
    allowed = tuple(f.name for f in dataclasses.fields(Plan) if f.name not in ("loss", "penalty", "out"))
    values = dict(source.only(("plan",), allowed))
    for section, family in (("loss", losses), ("penalty", penalties)):
        if section in source.data:
            values[section] = _made(source, section, family)
    try:
        return Plan(**values)
    except InputError as error:
        field = str(error.where).removeprefix("Plan.")
        raise source.relocated(("plan", field), error) from None


def _made(source: _Source, section: str, family: Any) -> Any:
    """The loss or penalty that a section names, with its other keys as arguments."""
    classes = {name: value for name in family.__all__ if _constructible(value := getattr(family, name))}
    table = source.table((section,))
    name = source.get((section, "name"), str)
    if name not in classes:
        close = difflib.get_close_matches(name, classes, 1)
        source.fail((section, "name"), f"unknown {section} {name!r}", expected=", ".join(classes), hint=f"did you mean {close[0]!r}?" if close else None)
    known = tuple(inspect.signature(classes[name]).parameters)
    source.only((section,), ("name", *known), needed=("name",))
    try:
        return classes[name](**{key: value for key, value in table.items() if key != "name"})
    except InputError as error:
        guilty = re.sub(r"^(argument|field) ", "", str(error.where)).rpartition(".")[2]
        raise source.relocated((section, guilty), error) from None
    except (TypeError, ValueError) as error:
        return source.fail((section,), f"{name} cannot be made", str(error), f"{name}{inspect.signature(classes[name])}")


def _constructible(value: Any) -> bool:
    """Whether it is a loss or penalty, and not an interface or a helper: a class with __call__ that can be made without arguments."""
    if not isinstance(value, type) or inspect.isabstract(value) or getattr(value, "_is_protocol", False) or "__call__" not in vars(value):
        return False
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in inspect.signature(value).parameters.values())


class _Source:
    """The file as data, with the line of every key."""

    def __init__(self, path: Path):
        self.path = path
        try:
            if path.stat().st_size > _LARGEST:
                raise InputError("the configuration is too large", where=path, found=f"{path.stat().st_size} bytes", expected=f"at most {_LARGEST}")
            text = path.read_text(encoding="utf-8-sig")
            self.data: dict[str, Any] = tomllib.loads(text)
        except OSError as error:
            raise InputError("the configuration cannot be read", where=path, found=error.strerror or str(error), expected="a TOML file", hint="docs/train.md has one") from None
        except UnicodeDecodeError as error:
            raise InputError("the configuration is not text in UTF-8", where=path, found=f"byte {error.start}") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
            where = f"{path}, line {place[1]}, column {place[2]}" if place else f"{path}, at its end"
            raise InputError("the configuration is not TOML", where=where, found=str(error)[: place.start() if place else 200], hint="text needs quotes, lists need [ ]") from None
        self.lines = key_lines(text)

    def place(self, path: Sequence[str]) -> str:
        """`train.toml, line 7 (plan.epochs)`: the line of the nearest key that is there."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        return f"{self.path}" + (f", line {self.lines[known]}" if known else "") + (f" ({'.'.join(path)})" if path else "")

    def fail(self, path: Sequence[str], what: str, found: object = None, expected: object = None, hint: object = None) -> NoReturn:
        raise InputError(what, where=self.place(path), found=found, expected=expected, hint=hint)

    def relocated(self, path: tuple[str, ...], error: CertifyError) -> CertifyError:
        """An error of the library with the place in this file instead of its own."""
        return type(error)(error.what, where=self.place(path if path in self.lines else path[:-1]), found=error.found, expected=error.expected, hint=error.hint)

    def table(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        """The section at `path`, empty if it is absent."""
        value: Any = self.data
        for part in path:
            value = value.get(part, {})
        if not isinstance(value, dict):
            self.fail(path, "a section is a table", repr(value)[:60], f"[{'.'.join(path)}]")
        return value

    def only(self, path: tuple[str, ...], known: Sequence[str], needed: Sequence[str] = ()) -> Mapping[str, Any]:
        """The section, if it has no keys but known ones and all that are needed."""
        table = self.table(path)
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                self.fail((*path, key), f"unknown key {key!r}", expected=f"one of {', '.join(known)}", hint=f"did you mean {close[0]!r}?" if close else None)
        for key in needed:
            if key not in table:
                self.fail((*path, key), f"{key!r} is missing", ", ".join(table) or "nothing", f"[{key}]" if not path else f"{key} = ...", hint="docs/train.md describes every key")
        return table

    def get(self, path: tuple[str, ...], kind: type, *default: Any) -> Any:
        """The value of a key of the wanted kind; whole numbers count as numbers."""
        table = self.table(path[:-1])
        if path[-1] not in table:
            return default[0] if default else self.only(path[:-1], tuple(table), (path[-1],))
        value = table[path[-1]]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            self.fail(path, f"{path[-1]!r} has a value of the wrong type", f"{value!r} ({type(value).__name__})"[:80], _KINDS[kind])
        return value
