"""Numbers and labels that a user hands in, refused by name when they make no sense."""

from __future__ import annotations

import math
from numbers import Integral, Real

import torch
from torch import Tensor

from ..core.errors import InputError


def number(name: str, value: float, least: float = -math.inf, most: float = math.inf, above: float = -math.inf) -> float:
    """`value` as a float.

    Raises:
        InputError: no finite number, below `least`, above `most`, or not above `above`.

    >>> number("epsilon", 1, least=0.0)
    1.0
    """
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most and value > above:
        return float(value)
    ends = [f"at least {least:g}"] * (least > -math.inf) + [f"above {above:g}"] * (above > -math.inf) + [f"at most {most:g}"] * (most < math.inf)
    raise InputError("a setting is out of its range", where=f"argument {name}", found=repr(value)[:100], expected=", ".join(["a finite number", *ends]))


def whole(name: str, value: int, least: int = 1) -> int:
    """`value` as an int.

    Raises:
        InputError: no whole number, or below `least`.

    >>> whole("steps", 2)
    2
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise InputError("a setting is out of its range", where=f"argument {name}", found=repr(value)[:100], expected=f"a whole number, at least {least}")


def require_labels(labels: Tensor, classes: int, count: int | None = None, name: str = "labels") -> Tensor:
    """`labels` (count,) int64 in 0 .. classes - 1; the range is looked at on the CPU only, where that waits for nobody.

    Raises:
        InputError: another type, shape or range.
    """
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1 or (count is not None and len(labels) != count):
        found = f"{tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError("labels are one class index per sample", where=f"argument {name}", found=found, expected=f"a tensor ({'n' if count is None else count},) of torch.int64")
    if labels.device.type == "cpu" and len(labels):
        low, high = (int(end) for end in torch.aminmax(labels))
        if low < 0 or high >= classes:
            raise InputError("a label names no class", where=f"argument {name}", found=low if low < 0 else high, expected=f"0 to {classes - 1}, for {classes} logits")
    return labels
