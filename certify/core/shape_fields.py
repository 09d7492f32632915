"""Reading an operator's shapes, attributes and array shapes with every check made before use: what `shapes.py` is written in.

Attributes come from files that may be hostile (the ONNX loader is fuzzed through here), so nothing is assumed about their type
or size: whatever does not fit is an InputError that names the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from .errors import InputError

Shape = tuple[int, ...]
Pair = tuple[int, int]

MAX_ELEMENTS = 2**31
MAX_AXES = 16
PAD_MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Fields:
    """One operator with what was handed in; the readers return checked plain Python values or raise InputError."""

    op: str
    shapes: tuple[Shape, ...]
    attrs: Mapping[str, Any]
    arrays: Mapping[str, Shape]
    where: str

    @property
    def x(self) -> Shape:
        return self.shapes[0]

    def fail(self, what: str, field: str = "", *, found: object = None, expected: object = None) -> NoReturn:
        place = self.where or self.op
        raise InputError(f"{self.op}: {what}", where=f"{place}, {field}" if field else place, found=found, expected=expected)

    def value(self, name: str) -> Any:
        if name not in self.attrs:
            self.fail("an attribute is missing", name, found=", ".join(map(str, self.attrs)) or "no attributes", expected=f"attribute '{name}'")
        return self.attrs[name]

    def integer(self, name: str, least: int) -> int:
        return self._integer(self.value(name), name, least)

    def _integer(self, value: Any, name: str, least: int) -> int:
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not least <= value <= MAX_ELEMENTS:
            self.fail("an attribute is not an integer in its range", name, found=short(value), expected=f"an integer from {least} to {MAX_ELEMENTS}")
        return int(value)

    def _sequence(self, value: Any, name: str, count: int | None) -> Sequence:
        if not isinstance(value, tuple | list) or len(value) > MAX_AXES or (count is not None and len(value) != count):
            self.fail("an attribute has a wrong type or length", name, found=short(value), expected=f"a tuple of {'at most 16' if count is None else count} entries")
        return value

    def integers(self, name: str, count: int | None, least: int) -> Shape:
        return tuple(self._integer(v, name, least) for v in self._sequence(self.value(name), name, count))

    def pairs(self, name: str, count: int, least: int) -> tuple[Pair, ...]:
        rows = [self._sequence(v, name, 2) for v in self._sequence(self.value(name), name, count)]
        return tuple((self._integer(low, name, least), self._integer(high, name, least)) for low, high in rows)

    def choice(self, name: str, options: Sequence[str]) -> str:
        value = self.value(name)
        if not isinstance(value, str) or value not in options:
            self.fail("an attribute has an unknown value", name, found=short(value), expected=" or ".join(options))
        return value

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool | np.bool_):
            self.fail("an attribute is not true or false", name, found=short(value), expected="a bool")
        return bool(value)

    def number(self, name: str, least: float = -math.inf) -> float:
        value = self.value(name)
        if isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool):
            size: Any = abs(value)
            if size <= 1e300 and float(value) >= least:
                return float(value)
        self.fail("an attribute is not a finite number in its range", name, found=short(value), expected=f"a number >= {least}")

    def axis(self, name: str = "axis") -> int:
        axis = self.integer(name, 0)
        if axis >= len(self.x):
            self.fail("an axis that the input does not have", name, found=axis, expected=f"0 to {len(self.x) - 1} for shape {self.x}")
        return axis

    def array(self, name: str, *, ndim: Sequence[int] | None = None, shape: Shape | None = None) -> Shape:
        if name not in self.arrays:
            self.fail("an array is missing", name, found=", ".join(map(str, self.arrays)) or "no arrays", expected=f"array '{name}'")
        found = tuple(self.arrays[name])
        if shape is not None and found != shape:
            self.fail("an array has a wrong shape", name, found=found, expected=shape)
        if ndim is not None and len(found) not in ndim:
            self.fail("an array has a wrong number of axes", name, found=found, expected=f"{' or '.join(map(str, ndim))} axes")
        if 0 in found:
            self.fail("an array is empty", name, found=found, expected="at least one entry")
        return found

    def optional(self, name: str, shape: Shape) -> None:
        if name in self.arrays:
            self.array(name, shape=shape)

    def folded(self) -> None:
        """The two numbers that `core.fold` leaves on a layer whose weights carry rounding errors."""
        for name in ("perturbation", "bias_perturbation"):
            if name in self.attrs:
                self.number(name, 0.0)

    def broadcastable(self, name: str) -> None:
        """The array broadcasts to the input without making it larger."""
        if not fits(self.array(name), self.x):
            self.fail("an array does not broadcast to the input", name, found=tuple(self.arrays[name]), expected=f"broadcastable to {self.x}")

    def image(self, spatial: int | None = None) -> Shape:
        """The spatial axes of an image input (channels, *spatial)."""
        count = len(self.x) - 1
        if count not in (1, 2, 3) or (spatial is not None and count != spatial):
            self.fail("the input is not an image of the right dimension", found=f"shape {self.x}", expected=f"(channels, {spatial or '1 to 3'} spatial axes), no batch axis")
        return self.x[1:]

    def sized(self, shape: Shape) -> Shape:
        """`shape`, if it is neither empty nor absurd."""
        if len(shape) > MAX_AXES or not all(n >= 1 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
            limits = f"at most {MAX_AXES} axes, every size at least 1, at most 2^31 elements"
            self.fail("a tensor becomes empty or absurdly large", f"inputs {self.shapes}" if self.shapes else "", found=f"shape {shape}", expected=limits)
        return shape

    def require_padding(self, name: str, length: int, pair: Pair, mode: str) -> None:
        """Reflection needs a pixel beyond the border for each padded one; circular padding goes once around."""
        most = {"reflect": length - 1, "circular": length}.get(mode)
        if most is not None and max(pair) > most:
            self.fail(f"{mode} padding is wider than the input allows", name, found=f"{pair} on an axis of {length}", expected=f"at most {most}")


def fits(small: Shape, large: Shape) -> bool:
    """Does an array of shape `small` broadcast to exactly `large`?"""
    return len(small) <= len(large) and all(s in (1, n) for s, n in zip(reversed(small), reversed(large)))


def short(value: Any) -> str:
    """repr of anything, cut to 80 characters; never fails."""
    try:
        text = repr(value)
    except Exception:  # a hostile object; the message must not fail
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def outputs(length: int, low: int, high: int, kernel: int, stride: int, dilation: int) -> int:
    """Positions of a window on a padded axis (0 or less when the window is larger)."""
    return (length + low + high - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True)
class ShapeRule:
    """One operator's shape function, how many inputs it takes (None: any number from 1), and the names that it knows."""

    function: Callable[[Fields], Shape]
    inputs: int | None
    attrs: frozenset[str] | None  # None: the function checks them itself
    arrays: frozenset[str]


RULES: dict[str, ShapeRule] = {}


def operator(*ops: str, inputs: int | None = 1, attrs: str | None = "", arrays: str = ""):
    """Register a function as the shape rule of the operators `ops`."""

    def register(function: Callable[[Fields], Shape]) -> Callable[[Fields], Shape]:
        RULES.update(dict.fromkeys(ops, ShapeRule(function, inputs, None if attrs is None else frozenset(attrs.split()), frozenset(arrays.split()))))
        return function

    return register
