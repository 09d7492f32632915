"""Each activation's mathematics, once: `activation_of(node)` turns a graph node into its `Activation`.

The kinds live in `core/activations/`, one small class each; a class with a `kind` in any file of that folder is found here by
itself. Rules, relaxations and reachability derive what they need from the description; the checker has its own table.

>>> gelu = activation("gelu", approximate="none")
>>> gelu.slope_range()
(-0.1289041451851548, 1.128904145185155)
>>> activation("relu").slope_range_on([-1.0, 0.5], [1.0, 2.0])
(array([0., 1.]), array([1., 1.]))
"""

from __future__ import annotations

import importlib
import keyword
import pkgutil
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from . import activations
from .activations.base import Activation, Break
from .errors import InputError, UnsupportedLayerError

__all__ = ["KINDS", "Activation", "Break", "activation", "activation_of"]


def _found() -> dict[str, type[Activation]]:
    kinds: dict[str, type[Activation]] = {}
    for info in pkgutil.iter_modules(activations.__path__):
        module = importlib.import_module(f"{activations.__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Activation) and value.__module__ == module.__name__ and "kind" in vars(value):
                if value.kind in kinds:
                    raise InputError("two classes describe one activation kind", where=value.kind)
                kinds[value.kind] = value
    return kinds


KINDS = MappingProxyType(_found())


def activation(kind: str, **parameters: Any) -> Activation:
    """The activation of that kind with the named parameters (missing ones take the framework's defaults).

    Raises:
        UnsupportedLayerError: no such kind, or no finite slope with these parameters.
        InputError: a parameter that the kind does not have, or a value outside its domain.
    """
    if kind not in KINDS:
        raise UnsupportedLayerError(
            "an activation without a description",
            where=f"activation kind '{kind}'",
            expected=", ".join(sorted(KINDS)),
            hint="add a class to certify/core/activations (value, slopes, rounding); the rules then follow",
        )
    cls = KINDS[kind]
    given = {name + "_" if keyword.iskeyword(name) else name: value for name, value in parameters.items()}
    known = {field.name for field in fields(cls)}
    if not set(given) <= known:
        unknown, names = ", ".join(sorted(set(given) - known)), ", ".join(sorted(known)) or "no parameters"
        raise InputError("an activation got a parameter that it does not have", where=f"activation {kind}", found=unknown, expected=names)
    plain = {name: float(value) if isinstance(value, int | bool) else value for name, value in given.items()}
    try:
        return cls(**plain)
    except TypeError as error:
        raise InputError("an activation's parameter is missing or has a wrong type", where=f"activation {kind}", found=str(error)) from error


def activation_of(node) -> Activation:
    """The `Activation` of a graph node of op "activation", its parameters read from attrs and arrays."""
    if node.op != "activation" or "kind" not in node.attrs:
        raise InputError("not an activation node", where=node.name, found=node.op, expected="op 'activation' with attrs['kind']")
    parameters = {name: value for name, value in node.attrs.items() if name != "kind"}
    try:
        return activation(node.attrs["kind"], **parameters, **{name: node.float64(name) for name in node.arrays})
    except (InputError, UnsupportedLayerError) as error:
        raise type(error)(error.what, where=f"{node.source or node.name}: {error.where}", found=error.found, expected=error.expected, hint=error.hint) from error
