"""Maxima, pools and sorting rewritten by absolute values and means (the docstring of `primitives` says how)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...core.graph import Node
from ...core.midrad import MidRad, kept
from ...core.rounding import U
from .parts import Block, Parts, identity, rows

Builder = Callable[[Parts, Node, list[tuple[int, ...]]], None]


def _largest(out: Parts, name: str, a: tuple[str, MidRad], b: tuple[str, MidRad], sign: float = 1.0) -> None:
    """name = max(a, b) (sign 1) or min(a, b) (sign -1) of two linear maps: (a + b)/2 + sign |a - b|/2."""
    size = a[1].shape[0]
    out.linear(f"{name}/difference", a, (b[0], b[1].rows(np.full(size, -1.0))))
    out.add(f"{name}/abs", Block(size, f"{name}/difference", np.full(size, -1.0), np.full(size, 1.0)))
    halves = [(t, MidRad(m.mid * 0.5, None if m.rad is None else m.rad * 0.5)) for t, m in (a, b)]
    out.linear(name, *halves, (f"{name}/abs", identity(size, 0.5 * sign)))


def maximum(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    one = identity(math.prod(node.shape))
    _largest(out, node.name, (node.inputs[0], one), (node.inputs[1], one), 1.0 if node.op == "maximum" else -1.0)


def _tree(out: Parts, node: Node, choices: np.ndarray, before: int, sign: float) -> None:
    """The largest (smallest) entry of each row of `choices` (outputs, k), places in the input: halved until one is left."""
    name, width = node.inputs[0], choices.shape[1]
    if width == 1:
        out.linear(node.name, (name, rows(choices[:, 0], before)))
        return
    level = 0
    while width > 1:
        half = (width + 1) // 2
        right = np.where(np.arange(half) + half < width, np.arange(half) + half, np.arange(half))
        new = node.name if half == 1 else f"{node.name}/{level}"
        first, second = choices[:, :half].ravel(), choices[:, right].ravel()
        _largest(out, new, (name, rows(first, before)), (name, rows(second, before)), sign)
        name, before, width, level = new, len(first), half, level + 1
        choices = np.arange(before).reshape(-1, half)


def max_pool(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    shape, a = shapes[0], node.attrs
    places = np.full([shape[0], *(n + lo + hi + 0 for n, (lo, hi) in zip(shape[1:], a["padding"]))], -1)
    inner = (slice(None), *(slice(lo, lo + n) for n, (lo, _) in zip(shape[1:], a["padding"])))
    places[inner] = np.arange(math.prod(shape)).reshape(shape)
    windows = []
    for offset in np.ndindex(*a["kernel"]):
        index = [np.arange(m) * s + k * d for m, s, k, d in zip(node.shape[1:], a["stride"], offset, a["dilation"])]
        inside = np.ix_(np.arange(shape[0]), *(np.minimum(i, n - 1) for i, n in zip(index, places.shape[1:])))
        beyond = np.zeros(node.shape, bool)
        for axis, (i, n) in enumerate(zip(index, places.shape[1:])):
            beyond |= (i >= n).reshape([-1 if j == axis + 1 else 1 for j in range(len(node.shape))])
        windows.append(np.where(beyond, -1, places[inside]).ravel())
    choices = np.stack(windows, axis=1)
    first = np.take_along_axis(choices, (choices >= 0).argmax(axis=1)[:, None], axis=1)  # padding never wins: repeat a real entry
    _tree(out, node, np.where(choices < 0, first, choices), math.prod(shape), 1.0)


def reduce(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    """Of kind max or min."""
    shape = shapes[0]
    axes = tuple(i % len(shape) for i in node.attrs["axes"])
    rest = [i for i in range(len(shape)) if i not in axes]
    places = np.arange(math.prod(shape)).reshape(shape).transpose(*rest, *axes)
    _tree(out, node, places.reshape(math.prod(node.shape), -1), math.prod(shape), 1.0 if node.attrs["kind"] == "max" else -1.0)


def group_sort(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    shape, size, axis = shapes[0], node.attrs["size"], node.attrs["axis"] % len(shapes[0])
    total, n = math.prod(shape), shapes[0][axis]
    places = np.moveaxis(np.arange(total).reshape(shape), axis, -1)
    grouped = places.reshape(-1, n // size, size) if node.attrs["layout"] == "consecutive" else places.reshape(-1, size, n // size).swapaxes(1, 2)
    groups = grouped.reshape(-1, size)
    x = node.inputs[0]
    if size == 1:
        out.linear(node.name, (x, identity(total)))
    elif size == 2:
        low, high = (groups[:, ::-1] if node.attrs["descending"] else groups).T  # where the smaller and the larger entry go
        pairs, where = len(groups), np.empty(total, np.int64)
        where[groups] = np.arange(pairs)[:, None]
        other = np.empty(total, np.int64)
        other[groups[:, 0]], other[groups[:, 1]] = groups[:, 1], groups[:, 0]
        sign = np.empty(total)
        sign[low], sign[high] = -0.5, 0.5
        out.linear(f"{node.name}/difference", (x, rows(groups[:, 0], total) - rows(groups[:, 1], total)))
        out.add(f"{node.name}/abs", Block(pairs, f"{node.name}/difference", np.full(pairs, -1.0), np.full(pairs, 1.0)))
        out.linear(node.name, (x, identity(total, 0.5) + rows(other, total, 0.5)), (f"{node.name}/abs", rows(where, pairs).rows(sign)))
    else:
        _sorted(out, node, groups, total, size)


def _sorted(out: Parts, node: Node, groups: np.ndarray, total: int, size: int) -> None:
    """Groups of more than two: mean + psi."""
    import scipy.sparse as sp

    x, share = node.inputs[0], 1.0 / size
    rows, columns = np.repeat(groups, size, axis=1).ravel(), np.tile(groups, (1, size)).ravel()
    mean = kept(sp.csr_array((np.full(len(rows), share), (rows, columns)), shape=(total, total)))
    mean = MidRad(mean, None if size & (size - 1) == 0 else abs(mean) * (2 * U))
    group = np.empty(total, np.int64)
    group[groups] = np.arange(len(groups))[:, None]
    out.linear(f"{node.name}/centred", (x, identity(total) - mean))
    one = np.ones(total)
    out.add(f"{node.name}/rest", Block(total, f"{node.name}/centred", -one, one, group, group))
    out.linear(node.name, (x, mean), (f"{node.name}/rest", identity(total) - mean))  # psi has mean 0: saying so again makes the bound 1, not sqrt 2
