"""[[specification]] sections of a problem file as the library's Arrive, ArriveWithin, Stay and Avoid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from certify.core.errors import CertifyError

from ..loop import ClosedLoop
from ..specification import Arrive, ArriveWithin, Avoid, Stay
from .sections import Section, Source, kind_of

KINDS = {"arrive": Arrive, "arrive within": ArriveWithin, "stay": Stay, "avoid": Avoid}
KEYS = {"arrive": ("step",), "arrive within": ("steps",), "stay": ("at", "steps"), "avoid": ("at", "steps")}
_COMMON = ("name", "kind", "set")


@dataclass(frozen=True, eq=False)
class Question:
    """One specification of the file: its name for tables, its kind, the object, and where it stands."""

    name: str
    kind: str
    specification: Any
    place: str


def read_questions(source: Source, loop: ClosedLoop, steps: int) -> tuple[Question, ...]:
    """Every [[specification]], bound once to the loop so that names, sizes and windows are known to fit.

    Raises:
        InputError: with the line: an unknown kind, key or state, a set of another dimension, inverted ends, a window beyond the horizon.
    """
    tables = source.data.get("specification", [])
    if not isinstance(tables, list):
        source.fail(("specification",), "specifications are sections in double brackets", kind_of(tables), "[[specification]]")
    found = tuple(_question(source, i, loop, steps) for i in range(len(tables)))
    names = [question.name for question in found]
    for i, name in enumerate(names):
        if name in names[:i]:
            source.fail(("specification", i, "name"), "two specifications have the same name", repr(name), "different names")
    return found


def _question(source: Source, i: int, loop: ClosedLoop, steps: int) -> Question:
    path = ("specification", i)
    section = Section(source, path, (*_COMMON, "at", "step", "steps"), ("kind", "set"))
    kind = section.get("kind", str).replace("_", " ").lower()
    if kind not in KINDS:
        section.unknown_value("kind", KINDS)
    for key in section.table:
        if key not in (*_COMMON, *KEYS[kind]):
            section.fail(f"{kind!r} has no key {key!r}", expected=f"one of {', '.join((*_COMMON, *KEYS[kind]))}", at=key)
    region = _set(section, loop.states)
    options: dict[str, Any] = {}
    if "at" in section.table:
        options["at"] = section.get("at", str)
    if "step" in section.table:
        options["step"] = section.get("step", int)
    if "steps" in section.table:
        options["steps"] = tuple(section.typed(v, int, ("steps", j)) for j, v in enumerate(section.get("steps", list)))
    try:
        specification = KINDS[kind](region, **options)
        specification.bind(loop, steps)
    except CertifyError as error:
        raise source.relocated((*path, *_guilty(section, str(error.where or ""))), error) from None
    return Question(section.get("name", str) or _described(kind, section.table["set"], options), kind, specification, source.place(path))


def _guilty(section: Section, where: str) -> tuple[str | int, ...]:
    """The key of the section that the library's error is about."""
    for key in ("steps", "step", "at"):
        if key in section.table and re.search(rf"\.{key}\b", where):
            return (key,)
    part = re.search(r"\[(\d+)\]", where)
    if part and isinstance(section.table["set"], list) and int(part[1]) < len(section.table["set"]):
        return ("set", int(part[1]))
    return ("set",)


def _set(section: Section, states: tuple[str, ...]) -> Any:
    """A table {state = [low, high]}, a list of intervals in the order of the states, a text, or a list of texts that all hold."""
    given = section.table["set"]
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        for state in given:
            if state not in states:
                Section(section.source, (*section.path, "set"), ()).unknown(state, states, "unknown state")
        if not given:
            section.fail("a set without any condition", "{}", "{ state = [low, high] }", at="set")
        return {state: section.pair(ends, ("set", state)) for state, ends in given.items()}
    if isinstance(given, list) and given and all(isinstance(row, list) for row in given):
        if len(given) != len(states):
            section.fail("the set has another dimension than the plant", f"{len(given)} intervals", f"{len(states)}: {', '.join(states)}", at="set")
        return {state: section.pair(row, ("set", i)) for i, (state, row) in enumerate(zip(states, given))}
    if isinstance(given, list) and given:
        return [section.typed(row, str, ("set", i)) for i, row in enumerate(given)]
    section.fail("this is not a set", kind_of(given), '{ x1 = [0, 0.2] }, "x1 <= 0.2", or a list of such texts', at="set")


def _described(kind: str, region: Any, options: dict[str, Any]) -> str:
    """A short name for a specification that has none: what it asks, in the words of the file."""
    if isinstance(region, dict):
        text = ", ".join(f"{state} in [{_end(ends[0])}, {_end(ends[1])}]" if isinstance(ends, list) else f"{state} = {_end(ends)}" for state, ends in region.items())
    elif isinstance(region, list):
        text = ", ".join(row if isinstance(row, str) else f"[{_end(row[0])}, {_end(row[1])}]" for row in region)
    else:
        text = region
    window = "".join(f", steps {v[0]} to {v[1]}" if k == "steps" else f", step {v}" if k == "step" else "" if v == "always" else f", at {v}" for k, v in options.items())
    return f"{kind} {text}{window}"


def _end(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
