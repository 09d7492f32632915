"""The section [controller] of a problem file: the network, the processing around it, and how it is abstracted."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..controllers.controller import Controller
from .networks import load_network
from .sections import Section, Source, kind_of, located

CONTROLLER = ("file", "weights", "activations", "inputs", "offset", "scale", "clamp", "abstraction")


def read_controller(source: Source, plant: Any) -> tuple[Any, Any, dict[str, Any]]:
    """[controller]: (Controller, abstraction, its settings)."""
    section = Section(source, ("controller",), CONTROLLER, ("file",))
    file, weights = section.get("file", str), section.get("weights", str)
    activations = section.texts("activations") if "activations" in section.table else None
    places: dict[str, tuple[str | int, ...]] = {key: ("controller", key) for key in ("activations", "weights")}
    places |= {f"activations[{i}]": ("controller", "activations", i) for i in range(len(activations or ()))}
    with located(source, places, ("controller", "file")):
        network = load_network(file, source.path.parent, weights, activations)
    keys: dict[str, Any] = {}
    if "inputs" in section.table:
        keys["inputs"] = [_formula(section, value, ("inputs", i)) for i, value in enumerate(section.get("inputs", list))]
    for key in ("offset", "scale"):
        if key in section.table:
            value = section.table[key]
            keys[key] = [_formula(section, v, (key, i)) for i, v in enumerate(value)] if isinstance(value, list) else _formula(section, value, (key,))
    if "clamp" in section.table:
        keys["clamp"] = section.pair(section.table["clamp"], ("clamp",))
    controller = Controller(network, **keys)
    place: dict[str, tuple[str | int, ...]] = {key: ("controller", key) for key in ("offset", "scale", "clamp")}
    place["controller"] = ("controller", "file")
    place |= {f"controller inputs[{i}]": ("controller", "inputs", i) for i in range(len(keys.get("inputs", ())))}
    with located(source, {**place, "controller inputs": ("controller", "inputs")}, ("controller", "file")):
        controller = controller.bind(plant.states, len(plant.inputs))
    return controller, *read_abstraction(section)


def _formula(section: Section, value: Any, at: tuple[str | int, ...]) -> Any:
    """A number or text of one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        section.fail("this is neither a number nor text", kind_of(value), 'a number such as 0.5, or text such as "1/3"', at=at)
    return value if isinstance(value, str | int) else float(value)


def read_abstraction(section: Section) -> tuple[Any, dict[str, Any]]:
    """abstraction = "auto", "layerwise", "bernstein", or a table { method = ..., and the fields of that method }."""
    given = section.table.get("abstraction", "auto")
    if isinstance(given, str):
        given = {"method": given}
        at: tuple[str | int, ...] = ("abstraction",)
    elif isinstance(given, dict):
        at = ("abstraction", "method")
    else:
        section.fail("an abstraction is a name or a table", kind_of(given), '"auto", "layerwise", "bernstein" or { method = "bernstein", ... }', at="abstraction")
    method, rest = given.get("method", "auto"), {k: v for k, v in given.items() if k != "method"}
    if method not in ("auto", "layerwise", "bernstein"):
        section.fail("unknown abstraction", repr(method), '"auto", "layerwise" or "bernstein"', at=at)
    if method == "auto":
        for key in rest:
            section.fail(f"the abstraction 'auto' has no setting {key!r}", at=("abstraction", key), hint='choose method = "layerwise" or "bernstein" first')
        return "auto", {"method": "auto"}
    if method == "layerwise":
        from ..controllers.layerwise import Layerwise as chosen
    else:
        from ..controllers.bernstein import Bernstein as chosen  # type: ignore[assignment]
    inner = Section(section.source, ("controller", "abstraction"), ("method", *setting_names(chosen))) if rest else None
    values = {key: plain(section, value, ("abstraction", key)) for key, value in rest.items() if inner}
    with located(section.source, {f"{chosen.__name__}.{key}": ("controller", "abstraction", key) for key in values}, ("controller", "abstraction")):
        return chosen(**values), {"method": method, **values}


def setting_names(settings: Any) -> tuple[str, ...]:
    """The names of a frozen settings object's fields."""
    return tuple(field.name for field in dataclasses.fields(settings) if field.init)


def plain(section: Section, value: Any, at: tuple[str | int, ...]) -> Any:
    """The value of a setting: a number, text, true or false, or a list of these."""
    if isinstance(value, dict) or value is None:
        section.fail("a setting is a number, text or a list", kind_of(value), at=at)
    if isinstance(value, list):
        return tuple(plain(section, v, (*at, i)) for i, v in enumerate(value))
    return float(value) if isinstance(value, float) else value
