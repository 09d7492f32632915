"""What a name of an ONNX graph can stand for while it is read: a constant, or a tensor that depends on the input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import InputError, UnsupportedLayerError
from .onnx_tensors import decode_tensor


class _Batch:
    """The size of a symbolic batch axis inside a shape computation: it may be moved about, never computed with."""

    def _refuse(self, *_: object) -> Any:
        raise TypeError("the size of the batch enters an arithmetic operation")

    def __mul__(self, other: object) -> _Batch:
        return self if other == 1 else self._refuse()

    def __eq__(self, other: object) -> bool:
        if other is self or (isinstance(other, int | np.integer) and other <= 0):
            return other is self
        return self._refuse()

    __rmul__ = __floordiv__ = __mul__
    __add__ = __radd__ = __sub__ = __rsub__ = __rfloordiv__ = __neg__ = __lt__ = __le__ = __gt__ = __ge__ = __int__ = __index__ = __bool__ = __float__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "batch"


BATCH = _Batch()


def has_batch(values: Iterable[Any]) -> bool:
    """Is the symbol among the values? (`in` would compare, which the symbol refuses.)"""
    return any(v is BATCH for v in values)


@dataclass(frozen=True, eq=False)
class Const:
    """A value that is known from the file alone. `array` has the ONNX shape; integer shapes with a symbolic batch are object arrays."""

    array: np.ndarray

    @property
    def is_float(self) -> bool:
        return self.array.dtype.kind == "f"


@dataclass(frozen=True)
class Tensor:
    """A node of the graph being built.

    `lead`: the ONNX tensor has one more axis in front than the node, of size 1 or symbolic: the batch. With `lead` false the
    ONNX shape is the node's shape.
    """

    name: str
    lead: bool


Value = Const | Tensor


@dataclass
class Call:
    """One ONNX node with its inputs resolved: what an operator's handler gets.

    Every attribute must be read by the handler; `finish` refuses what is left, so that nothing in the file is passed over in silence.
    """

    op: str
    opset: int
    inputs: list[Value | None]
    attributes: dict[str, Any]
    where: str
    file: str
    outputs: int = 1
    read: set[str] = field(default_factory=set)

    def attr(self, name: str, default: Any = None, kind: type | None = None) -> Any:
        """The attribute, or `default`. `kind` (float, int, str, list) defaults to the type of `default`."""
        self.read.add(name)
        if name not in self.attributes:
            return default
        value, kind = self.attributes[name], kind or type(default)
        if kind is not type(None) and type(value) is not kind:
            raise self.invalid(f"attribute '{name}' has a wrong type", found=f"{type(value).__name__} {str(value)[:60]}", expected=kind.__name__)
        return value

    def number(self, name: str, default: float) -> float:
        """A finite float attribute; `default` as the float32 that the operator's schema stores."""
        value = self.attr(name, float(np.float32(default)))
        if not np.isfinite(value):
            raise self.invalid(f"attribute '{name}' is not finite", found=value)
        return value

    def flag(self, name: str, default: int = 0) -> bool:
        value = self.attr(name, default)
        if value not in (0, 1):
            raise self.unsupported(f"attribute '{name}' has a value that is not known", found=value, expected="0 or 1")
        return bool(value)

    def finish(self) -> None:
        left = sorted(set(self.attributes) - self.read)
        if left:
            raise self.unsupported("an attribute that is not known for this operator and opset", found=", ".join(left), expected=", ".join(sorted(self.read)) or "no attributes")

    def input(self, i: int) -> Value:
        """Input `i`, which must be there."""
        if i >= len(self.inputs) or self.inputs[i] is None:
            raise self.invalid(f"input {i} is missing", found=f"{len(self.inputs)} inputs")
        return self.inputs[i]  # type: ignore[return-value]

    def optional(self, i: int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def count(self, low: int, high: int) -> None:
        """Refuse a node with fewer or more inputs than the operator has."""
        if not low <= len(self.inputs) <= high:
            raise self.invalid("a wrong number of inputs", found=len(self.inputs), expected=low if low == high else f"{low} to {high}")

    def weight(self, i: int, what: str) -> np.ndarray:
        """Input `i` as a float array that the file stores."""
        value = self.input(i)
        if not isinstance(value, Const):
            raise self.unsupported(
                f"the {what} is computed, not stored in the file",
                expected="an initializer or a Constant",
                hint="simplify the file first (constant folding by the exporter or onnxsim)",
            )
        if not value.is_float:
            raise self.invalid(f"the {what} is not a float tensor", found=value.array.dtype)
        return value.array

    def integers(self, i: int, what: str) -> list[Any] | None:
        """Input `i` as a list of ints (or BATCH), None if it is absent; it must be known from the file alone."""
        value = self.optional(i)
        if value is None:
            return None
        if not isinstance(value, Const):
            raise self.unsupported(f"{what} depends on the input", expected="a constant", hint="the shape of every tensor must be known from the file")
        if value.array.dtype.kind not in "iO" or value.array.ndim > 1:
            raise self.invalid(f"{what} is not a list of integers", found=f"{value.array.dtype} {value.array.shape}")
        return [v if v is BATCH else int(v) for v in np.atleast_1d(value.array).tolist()]

    def axes(self, values: Sequence[Any], rank: int) -> list[int]:
        """Axis numbers, counted from the front; each at most once."""
        axes = [self.axis(v, rank) for v in values]
        if len(set(axes)) != len(axes):
            raise self.invalid("an axis is named twice", found=list(values))
        return axes

    def axis(self, value: Any, rank: int) -> int:
        if not isinstance(value, int) or not -rank <= value < rank:
            raise self.invalid("an axis is out of range", found=value, expected=f"{-rank} .. {rank - 1}")
        return value % rank

    def unsupported(self, what: str, found: object = None, expected: object = None, hint: object = None) -> UnsupportedLayerError:
        return UnsupportedLayerError(f"ONNX {self.op}: {what}", where=self.where, found=found, expected=expected, hint=hint)

    def invalid(self, what: str, found: object = None, expected: object = None, hint: object = None) -> InputError:
        return InputError(f"ONNX {self.op}: {what}", where=self.where, found=found, expected=expected, hint=hint)


# AttributeProto.AttributeType -> how its value is read
_READ = {
    1: lambda a: float(a.f),
    2: lambda a: int(a.i),
    3: lambda a: a.s.decode("utf-8", "replace"),
    6: lambda a: [float(v) for v in a.floats],
    7: lambda a: [int(v) for v in a.ints],
    8: lambda a: [s.decode("utf-8", "replace") for s in a.strings],
}


_MOST_NUMBERS = 1 << 20  # in the list of one attribute; weights are tensors


def read_attributes(node: Any, where: str) -> dict[str, Any]:
    """The attributes of a NodeProto: float, int, str, list or numpy array; subgraphs, sparse tensors and references are refused."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        place = f"{where}, attribute '{attribute.name[:100]}'"
        if attribute.name in found:
            raise InputError(f"ONNX {node.op_type}: an attribute is given twice", where=place)
        if attribute.type == 4 and not attribute.ref_attr_name:
            found[attribute.name] = decode_tensor(attribute.t, None, place)
        elif max(len(attribute.ints), len(attribute.floats), len(attribute.strings)) > _MOST_NUMBERS:
            raise InputError(f"ONNX {node.op_type}: an attribute holds too many numbers", where=place, expected=f"at most {_MOST_NUMBERS}")
        elif attribute.type in _READ and not attribute.ref_attr_name:
            found[attribute.name] = _READ[attribute.type](attribute)
        else:
            raise UnsupportedLayerError(
                f"ONNX {node.op_type}: an attribute of a kind that is not supported",
                where=place,
                found=f"attribute type {attribute.type}",
                expected="numbers, strings and tensors (no subgraphs, sparse tensors or references)",
            )
    return found
