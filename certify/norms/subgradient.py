"""Directions D with <D, W> = c ||..|| for the closed-form and dense bounds: the gradient of the piece of a bound that is active. Search only."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from ..linear.dense import DenseMap
from .polyphase import require_convolution
from .search import top_vector
from .taps import Taps

_DECOMPOSED = 1 << 18  # entries up to which a full singular value decomposition is cheaper than a search
_STEPS = 60


def weight_outer(map: LinearMap, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """d <u, A(W) v> / dW, shaped like `map.stored`; taps that read no pixel get 0. For a DenseMap, a ConvMap or the adjoint of one.

    >>> weight_outer(DenseMap(np.ones((1, 2))), np.array([2.0]), np.array([3.0, 4.0]))
    array([[6., 8.]])
    """
    if isinstance(map, AdjointMap):
        return weight_outer(map.inner, v, u)
    if isinstance(map, DenseMap):
        return u.reshape(-1, map.weight.shape[0]).T @ v.reshape(-1, map.weight.shape[1])
    conv = require_convolution(map)
    padded = v.reshape(conv.input_shape)
    for k, axis in enumerate(conv.axes):
        shape = (-1, *(1,) * (len(conv.axes) - 1 - k))
        padded = np.where((axis.source >= 0).reshape(shape), np.take(padded, np.maximum(axis.source, 0), axis=k + 1), 0.0)
    rows = u.reshape(conv.groups, conv.weight.shape[0] // conv.groups, -1)
    out = np.empty((*rows.shape[:2], *conv.weight.shape[1:]))
    for tap in product(*(range(a.taps) for a in conv.axes)):
        window = tuple(slice(a.dilation * t, a.dilation * t + a.stride * (a.outputs - 1) + 1, a.stride) for a, t in zip(conv.axes, tap))
        at: Any = (..., *tap)
        out[at] = rows @ padded[(slice(None), *window)].reshape(conv.groups, conv.weight.shape[1], -1).swapaxes(1, 2)
    return out.reshape(conv.weight.shape)


def singular_pair(map: LinearMap, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(D, v): D = d <u, A v> / dW at the top singular pair of A, that of one block where A is a direct sum; `start` is the v of an earlier call."""
    blocks = map.blocks()
    best, found, chosen = 0.0, start, 0
    pair = np.zeros(0), np.zeros(0)
    sizes = [float(np.square(b.stored).sum()) for b in blocks]
    for k in sorted(range(len(blocks)), key=lambda i: -sizes[i]):
        block = blocks[k]
        if block.stored.any() and _at_most(block) > best:
            v = _top(block, start if start is not None and start.size == block.input_size else None)
            u = block.apply(v[None])[0]
            size = float(np.linalg.norm(u))
            if size > best:
                best, found, chosen, pair = size, v, k, (u / size, v / float(np.linalg.norm(v)))
    inner = blocks[chosen]
    part = weight_outer(inner, *pair) if best > 0 else np.zeros_like(inner.stored)
    out = np.zeros_like(map.stored)
    out.reshape(-1)[chosen * part.size : (chosen + 1) * part.size] = part.ravel()  # the groups follow each other in the weight
    return out, found if found is not None else np.zeros(0)


def _at_most(block: LinearMap) -> float:
    if block.entry_sums != 1:
        return np.inf
    return float(np.sqrt(block.squares().row_sums().sum()))


def _top(block: LinearMap, start: np.ndarray | None) -> np.ndarray:
    if block.input_size * block.output_size <= _DECOMPOSED:
        return np.linalg.svd(block.dense(), full_matrices=False)[2][0].reshape(block.input_shape)
    return top_vector(block, _STEPS, start, tolerance=1e-6)[0]


def frobenius(map: LinearMap) -> np.ndarray:
    """W times how often each weight appears, in the group with the largest Frobenius norm."""
    count = weight_outer(map, np.ones(map.output_size), np.ones(map.input_size))
    out = map.stored * count
    groups = require_convolution(map).groups if not isinstance(map, DenseMap) else 1
    rows = (out * map.stored).reshape(groups, -1).sum(1)
    out.reshape(groups, -1)[np.arange(groups) != rows.argmax()] = 0.0
    return out


def row_or_column(map: LinearMap, kind: str) -> np.ndarray:
    """d of the largest 2-norm of a row ("rows") or column ("columns"), up to a factor."""
    squares = map.squares()
    unit, ones = _units(squares, kind == "rows")
    return map.stored * (weight_outer(map, unit, ones) if kind == "rows" else weight_outer(map, ones, unit))


def row_and_column(map: LinearMap) -> np.ndarray:
    """d sqrt(largest row sum * largest column sum of the majorant) / d W, up to a factor; sign(0) = 0."""
    majorant = map.absolute()
    row, ones_in = _units(majorant, True)
    column, ones_out = _units(majorant, False)
    rows, columns = float(majorant.majorant_rows.max()), float(majorant.majorant_columns.max())
    return np.sign(map.stored) * (columns * weight_outer(map, row, ones_in) + rows * weight_outer(map, ones_out, column))


def _units(map: LinearMap, rows: bool) -> tuple[np.ndarray, np.ndarray]:
    """(the unit vector of the largest row or column sum, ones on the other side)."""
    sums = (map.row_sums() if rows else map.column_sums()).ravel()
    unit = np.zeros(sums.size)
    unit[int(sums.argmax())] = 1.0
    return unit, np.ones(map.input_size if rows else map.output_size)


def unfolding(conv: ConvMap, taps: Taps, verify: dict[str, Any]) -> np.ndarray:
    """u v' of the active unfolding of the polyphase kernel, in the group where it is largest, read back at each live tap."""
    at = [np.unique(np.array(taps.shifts)[:, k], return_inverse=True)[1].ravel() for k in range(len(conv.axes))]
    live = [t for t, r in enumerate(taps.column) if r >= 0]
    kernels = conv.weight.reshape(conv.groups, conv.weight.shape[0] // conv.groups, conv.weight.shape[1], -1)
    g, a, c, _ = kernels.shape
    sizes = tuple(int(i.max()) + 1 for i in at)
    inside = list(verify["subset"])
    outside = [k for k in range(len(sizes)) if k not in inside]
    order = (0, *(k + 3 for k in inside), 1, 2, *(k + 3 for k in outside))
    best, out = -1.0, np.zeros_like(kernels)
    for k in range(g):
        full = np.zeros((a, c, taps.columns, *sizes))
        for t in live:
            full[(slice(None), slice(None), taps.column[t], *(i[t] for i in at))] = kernels[k][:, :, t]
        moved = full.transpose(order)
        matrix = moved.reshape(a * int(np.prod([sizes[i] for i in inside], dtype=int)), -1)
        v = _top(DenseMap(matrix), None)
        u = matrix @ v
        if np.linalg.norm(u) > best:
            best = float(np.linalg.norm(u))
            back = np.outer(u, v).reshape(moved.shape).transpose(np.argsort(order))
            out[:] = 0.0
            for t in live:
                out[k][:, :, t] = back[(slice(None), slice(None), taps.column[t], *(i[t] for i in at))]
    return out.reshape(conv.weight.shape)
