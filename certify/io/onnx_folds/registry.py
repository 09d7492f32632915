"""The table of operators that can be computed on constants, and the limits of what may become of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..onnx_values import Call

Folded = np.ndarray | list[np.ndarray] | None
Folder = Callable[[Call, list[np.ndarray]], Folded]
FOLDS: dict[str, Folder] = {}
MOST, MOST_INTEGERS = 1 << 22, 1 << 16  # entries of a constant made by folding; integers are computed as Python objects


def folding(*names: str) -> Callable[[Folder], Folder]:
    """Register a function (call, input arrays) -> array, list of arrays, or None when the result would not be exact."""

    def register(function: Folder) -> Folder:
        FOLDS.update(dict.fromkeys(names, function))
        return function

    return register


def limited(call: Call, arrays: list[np.ndarray], shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The shape (default: what the arrays broadcast to); refused before it is allocated when it has more than `MOST` entries and more than the arrays together."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays)) if shape is None else shape
    if math.prod(shape) > max(MOST, sum(a.size for a in arrays)) or len(shape) > 16:
        raise call.invalid("a constant grows too large", found=shape, expected=f"at most {MOST} entries")
    return shape
