"""Handlers of concat, stack, max, min and sort, and the recognition of MaxMin and GroupSort written by hand.

`cat([max(a, b), min(a, b)])` of two halves of one tensor is a sort of pairs, with constant 1 in every norm; as separate maxima and
minima it would be charged sqrt 2. Recognised only when a and b are disjoint slices that together are the whole axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .graph import Node
from .trace_arithmetic import pair
from .trace_emit import Call, Traced, Unusable, translates
from .trace_moves import sliced
from .trace_pools import reduced

INDICES = Unusable("the indices of a sort, maximum or minimum jump and have no Lipschitz constant")


def _parts(call: Call, tensors: Sequence[Any]) -> list[str]:
    if not isinstance(tensors, list | tuple):
        call.refuse(f"'{call.op}' needs a list of tensors", found=type(tensors).__name__)
    ndim = next(t.value.ndim for t in tensors if isinstance(t, Traced))
    names = []
    for t in tensors:
        if isinstance(t, Traced):
            names.append(t.name)
        elif t.numel():
            names.append(call.constant(_rows(call, t, ndim)))
    return names


def _rows(call: Call, constant: Any, ndim: int) -> np.ndarray:
    """A constant part of a concatenation: it has the batch axis, whose rows must be equal."""
    if constant.ndim != ndim or constant.shape[0] != call.batch:
        call.refuse_batch("joins a constant with another batch size")
    return call.per_sample(constant, ndim)


@translates("cat", several=True)
def concat(call: Call, tensors: Any, dim: int = 0, axis: Any = None) -> str:
    names = _parts(call, tensors)
    place = call.axis(dim if axis is None else axis, len(call.shape(names[0])) + 1)
    found = _sorted_pair(call, names, place, stacked=False)
    return found or (names[0] if len(names) == 1 else call.add("concat", names, {"axis": place}))


@translates("stack", several=True)
def stack(call: Call, tensors: Any, dim: int = 0) -> str:
    names = _parts(call, tensors)
    shape = call.shape(names[0])
    place = call.axis(dim, len(shape) + 2)
    found = _sorted_pair(call, names, place, stacked=True)
    if found:
        return found
    lifted = [call.reshape(name, (*shape[:place], 1, *shape[place:]), part="lift") for name in names]
    return lifted[0] if len(lifted) == 1 else call.add("concat", lifted, {"axis": place})


def _sorted_pair(call: Call, names: list[str], axis: int, stacked: bool) -> str:
    """The group_sort that cat or stack of (max(a, b), min(a, b)) is, or "".

    The sort of pairs leaves entry i of rank r at (r, i) when a, b are the halves of the axis, at (i, r) when they are its even and odd
    entries; cat along the axis and stack in front of it want (r, i), stack behind it (i, r).
    """
    if len(names) != 2:
        return ""
    first, second = (call.builder[name] for name in names)
    if {first.op, second.op} != {"maximum", "minimum"}:
        return ""
    parts, others = ({_part(call.builder[name]) for name in node.inputs} for node in (first, second))
    if parts != others or len(parts) != 2 or () in parts:
        return ""
    source, layout, cut = _halves_or_pairs(call, *sorted(parts))
    behind = stacked and axis == cut + 1
    if not layout or not (axis == cut or behind):
        return ""
    shape = call.shape(source)
    head, half, tail = shape[:cut], shape[cut] // 2, shape[cut + 1 :]
    wanted = (half, 2) if behind else (2, half)
    final = (*head, *wanted, *tail) if stacked else shape
    done = call.add("group_sort", [source], {"axis": cut, "size": 2, "layout": layout, "descending": first.op == "maximum"}, part="sort")
    if (layout == "consecutive") == behind:
        return call.reshape(done, final, part="")
    pairs = call.reshape(done, (*head, *wanted[::-1], *tail), part="pairs")
    turned = call.add("transpose", [pairs], {"perm": (*range(cut), cut + 1, cut, *range(cut + 2, len(shape) + 1))}, part="turn")
    return call.reshape(turned, final, part="")


def _part(node: Node) -> tuple:
    """What a slice takes, (source, axis, start, step, stop); equal for two slices that take the same; () for other nodes."""
    a = node.attrs
    return (node.inputs[0], a["axis"], a["start"], a["step"], a["stop"]) if node.op == "slice" else ()


def _halves_or_pairs(call: Call, a: tuple, b: tuple) -> tuple[str, str, int]:
    """(source, "halves" | "consecutive" | "", axis) for two slices, the one that starts first in front."""
    source, axis, n = a[0], a[1], call.shape(a[0])[a[1]]
    if (b[0], b[1]) != (source, axis) or n % 2:
        return source, "", -2
    counts = [len(range(start, stop, step)) for _, _, start, step, stop in (a, b)]
    starts = [(start, step) for _, _, start, step, _ in (a, b)]
    if counts != [n // 2, n // 2] or starts not in ([(0, 1), (n // 2, 1)], [(0, 2), (1, 2)]):
        return source, "", -2
    return source, "halves" if starts[0][1] == 1 else "consecutive", axis


def _extreme(call: Call, kind: str, x: Any, other: Any, keepdim: Any) -> Any:
    """torch.max(a, b), or values (and indices) along an axis."""
    values = call.result[0] if isinstance(call.result, tuple) else call.result
    if not isinstance(call.result, tuple) and other is not None:
        names, _ = pair(call, x, other)
        return call.add({"max": "maximum", "min": "minimum"}[kind], names)
    if other is None or not isinstance(x, Traced) or values.ndim < 1:
        call.refuse_batch("reduces over all axes, the batch axis too")
    return reduced(call, x, kind, other, keepdim), INDICES


@translates("max", several=True)
def max_(call: Call, x: Any, other: Any = None, keepdim: Any = False, *, dim: Any = None) -> Any:
    return _extreme(call, "max", x, other if dim is None else dim, keepdim)


@translates("min", several=True)
def min_(call: Call, x: Any, other: Any = None, keepdim: Any = False, *, dim: Any = None) -> Any:
    return _extreme(call, "min", x, other if dim is None else dim, keepdim)


def _sort(call: Call, x: Traced, dim: int, descending: bool, part: str = "") -> str:
    axis = call.axis(dim, x.value.ndim)
    return call.add("group_sort", [x.name], {"axis": axis, "size": x.shape[axis], "layout": "consecutive", "descending": bool(descending)}, part=part)


@translates("sort")
def sort(call: Call, x: Traced, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple:
    return _sort(call, x, dim, descending), INDICES


@translates("msort")
def msort(call: Call, x: Traced) -> str:
    call.refuse_batch("sorts along the batch axis")


@translates("topk")
def topk(call: Call, x: Traced, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple:
    """The k largest (or smallest) values in order; without `sorted` torch promises no order, so nothing can be said."""
    if not sorted:
        call.refuse("'topk' without sorted=True returns an order that is not defined")
    name = _sort(call, x, dim, largest, part="sort")
    return sliced(call, name, call.axis(dim, x.value.ndim), 0, k), INDICES
