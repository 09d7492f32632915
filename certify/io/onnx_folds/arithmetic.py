"""Integers (exact, by Python's own, overflow refused), and float sums, products and quotients that float64 holds exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..error_free import exact_product, exact_quotient, exact_sum
from ..onnx_ops.shape import axes_of
from ..onnx_values import BATCH, Call
from .registry import MOST, MOST_INTEGERS, Folded, folding, limited


@folding("Add", "Sub", "Mul", "Div")
def _arithmetic(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(2, 2)
    a, b = arrays
    shape = limited(call, arrays)
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        if call.op == "Div" and not np.all(b != 0):
            return None
        return {"Add": exact_sum, "Sub": lambda a, b: exact_sum(a, -b), "Mul": exact_product, "Div": exact_quotient}[call.op](a, b)
    if a.dtype.kind not in "iO" or b.dtype.kind not in "iO":
        raise call.invalid("operands of different types", found=f"{a.dtype} and {b.dtype}")
    if math.prod(shape) > MOST_INTEGERS:
        raise call.unsupported("arithmetic with that many integers", found=shape, expected=f"at most {MOST_INTEGERS} entries")
    a, b = a.astype(object), b.astype(object)
    if call.op == "Div":  # ONNX truncates towards zero
        return np.asarray(np.vectorize(_quotient, otypes=[object])(a, b), dtype=object)
    return np.asarray({"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[call.op](a, b), dtype=object)


def _quotient(a: Any, b: Any) -> Any:
    if a is BATCH or b is BATCH:
        return a // b
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


@folding("Neg")
def _negative(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    if arrays[0].dtype.kind == "f":
        return -arrays[0]
    return np.asarray(0 - arrays[0].astype(object), dtype=object) if arrays[0].size <= MOST_INTEGERS else None


@folding("Floor", "Ceil")
def _whole(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    a = arrays[0]
    return a if a.dtype == object else {"Floor": np.floor, "Ceil": np.ceil}[call.op](a)


@folding("Cast")
def _cast(call: Call, arrays: list[np.ndarray]) -> Folded:
    """Exact conversions only; float to integer truncates, as ONNX says. A symbolic shape stays as it is."""
    call.count(1, 1)
    call.attr("saturate", 1)
    a, to = arrays[0], call.attr("to", None, int)
    if a.dtype == object and to in (1, 6, 7, 11):
        return a
    if to in (6, 7) and a.dtype.kind in "ifb":
        whole = np.trunc(a)
        if not np.all(np.abs(whole) < (1 << 31 if to == 6 else 1 << 62)):
            raise call.invalid("a constant does not fit the integer type")
        return whole.astype(np.int64)
    if to == 9:
        return a != 0
    if to in (1, 11) and a.dtype.kind in "ifb":
        target = np.float64 if to == 11 else np.float32
        return a.astype(target) if np.all(a.astype(target) == a) else None
    raise call.unsupported("a conversion of a constant that is not known", found=f"{a.dtype} to data type {to}", expected="float, double, int32, int64 or bool")


@folding("Range")
def _range(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(3, 3)
    if any(a.dtype != np.int64 or a.size != 1 for a in arrays):
        raise call.unsupported("a range of anything but integers", found=[str(a.dtype) for a in arrays])
    values = range(*(int(a.reshape(())) for a in arrays))
    if len(values) > MOST:
        raise call.invalid("a constant grows too large", found=len(values), expected=f"at most {MOST} entries")
    return np.array(values, dtype=np.int64)


@folding("Equal", "Less", "Greater", "And", "Or")
def _compare(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(2, 2)
    a, b = arrays
    limited(call, arrays)
    if (a.dtype.kind == "b") != (call.op in ("And", "Or")) or (b.dtype.kind == "b") != (call.op in ("And", "Or")):
        raise call.invalid("operands of a type that the operator does not take", found=f"{a.dtype} and {b.dtype}")
    compare = {"Equal": np.equal, "Less": np.less, "Greater": np.greater, "And": np.logical_and, "Or": np.logical_or}[call.op]
    return np.asarray(compare(a, b), dtype=bool)


@folding("Not")
def _not(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    if arrays[0].dtype != bool:
        raise call.invalid("the operand is not boolean", found=arrays[0].dtype)
    return ~arrays[0]


@folding("Where")
def _where(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(3, 3)
    condition, a, b = arrays
    limited(call, arrays)
    if condition.dtype != bool or (a.dtype.kind in "iO") != (b.dtype.kind in "iO"):
        raise call.invalid("operands of types that do not fit", found=f"{condition.dtype}, {a.dtype}, {b.dtype}")
    return np.where(condition, a, b)


@folding("ReduceProd")
def _product(call: Call, arrays: list[np.ndarray]) -> Folded:
    if arrays[0].dtype != np.int64 or arrays[0].size > MOST_INTEGERS:
        return None
    axes, keep = axes_of(call, 18, arrays[0].ndim), call.flag("keepdims", 1)
    if call.opset >= 18:
        call.flag("noop_with_empty_axes")
    return np.asarray(np.prod(arrays[0].astype(object), axis=None if axes is None else tuple(axes), keepdims=keep), dtype=object)
