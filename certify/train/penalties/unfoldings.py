"""Warm-started norms of all unfoldings of a kernel at once, with the gradient of the active one. Estimates from below, never bounds.

A kernel K (a, c, taps) unfolded at a set S of axes is the matrix with rows (a, shifts along S) and columns (c, phases, other shifts). Nothing is
reordered: its product with v is the product of K as (a, c taps) with one vector for every shift along S, v spread over the taps that have it. So a
power step on all 2^D unfoldings is one product of K with prod(J + 1) vectors and one of its transpose, and reads the weights twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import torch
from torch import Tensor

from ...norms.taps import Taps
from .matrix import COLD, Anchored


@dataclass(frozen=True)
class Tables:
    """Where the unfoldings S keep the entries of K: N vectors (one per S and shift along S), entries of v (one per S and column), live pairs (tap, S).

    place: (pairs,) position tap N + vector; sums (pairs, entries): which entry of v stands there; rows (N, S), columns (entries, S): which S they belong
    to; root: sqrt(prod J).
    """

    place: Tensor
    sums: Tensor
    rows: Tensor
    columns: Tensor
    taps: int
    root: float


def unfolding_tables(taps: Taps, like: Tensor) -> Tables:
    """The tables of all different unfoldings of these taps, dtype and device of `like`; axes with one shift make no difference."""
    shifts = np.array(taps.shifts).reshape(len(taps.column), len(taps.degrees))
    at = [np.unique(s, return_inverse=True)[1] if j > 1 else np.zeros(len(s), dtype=int) for s, j in zip(shifts.T, taps.degrees)]  # dilated shifts are not 0, 1, 2, ...
    column, degrees = np.array(taps.column), taps.degrees
    live = np.flatnonzero(column >= 0)
    axes = [k for k, j in enumerate(degrees) if j > 1]
    subsets = list(chain.from_iterable(combinations(axes, r) for r in range(len(axes) + 1)))
    place, entry, vectors, entries = [], [], 0, 0
    rows, columns = [], []
    for k, subset in enumerate(subsets):
        row, other = np.zeros(len(column), dtype=int), column.clip(min=0)
        for i in range(len(degrees)):
            row, other = (row * degrees[i] + at[i], other) if i in subset else (row, other * degrees[i] + at[i])
        place.append((row + vectors)[live])
        entry.append((other + entries)[live])
        count = math.prod(degrees[i] for i in subset)
        size = taps.columns * math.prod(degrees) // count
        vectors, entries = vectors + count, entries + size
        rows += [k] * count
        columns += [k] * size
    flat = np.concatenate(place) + np.tile(live, len(subsets)) * vectors
    choose = np.equal.outer(np.concatenate(entry), np.arange(entries)).astype(np.float64)
    names = np.arange(len(subsets))
    sums, of_rows, of_columns = (torch.from_numpy(x.astype(np.float64)).to(like) for x in (choose, np.equal.outer(rows, names), np.equal.outer(columns, names)))
    return Tables(torch.from_numpy(flat).to(like.device), sums, of_rows, of_columns, len(column), math.sqrt(math.prod(degrees)))


def largest_unfolding(kernel: Tensor, tables: Tables, start: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """(value, v): value = root * max over groups of min over S of sigma_S, sigma_S = |K_S' u| for the unit vectors u that `steps` power steps lead to.

    sigma_S <= ||K_S||_2 up to rounding. u and v are held fixed in the gradient, which is that of the active S of the active group: root u v', so that
    <gradient, K> = value. Zero kernels: 0 with gradient 0, and v stays what it was.

    Args:
        kernel: (groups, a, c taps), with or without a gradient.
        start: the v of an earlier call, (groups, c, entries); random when None, and then more steps.

    Cost: 2 `steps` products of the kernel with prod(J + 1) vectors; backward one more and the gradient's memory. No value is read back to the host.
    """
    fixed = kernel.detach()
    g, _, columns = kernel.shape
    shape = (g, columns // tables.taps, len(tables.columns))
    cold = start is None or start.shape != shape
    if cold:
        start = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        v = old = _unit(start.to(fixed), tables.columns)[0]  # type: ignore[union-attr]
        for _ in range(max(steps, 1) + (COLD if cold else 0)):
            u = _unit(fixed @ _spread(v, tables), tables.rows)[0]
            v, sigma = _unit(_gathered(fixed.transpose(1, 2) @ u, tables), tables.columns)
        least = sigma.min(dim=1)
        group = least.values.argmax()
        at = group * sigma.shape[1] + least.indices[group]
        active = (torch.arange(sigma.numel(), device=at.device) == at).reshape(sigma.shape).to(fixed)
        value = tables.root * (active * sigma).sum()
        left = u * (tables.root * active @ tables.rows.T)[:, None]
        v = torch.where((sigma @ tables.columns.T)[:, None] > 0, v, old)  # a group of zeros now, perhaps not later
    return Anchored.apply(kernel, value, left, _spread(v, tables)), v  # type: ignore[no-untyped-call]


def _spread(v: Tensor, tables: Tables) -> Tensor:
    """(g, c taps, N): entries of v (g, c, entries) where the taps of the kernel meet them, 0 elsewhere."""
    g, c, n = *v.shape[:2], len(tables.rows)
    return v.new_zeros(g, c, tables.taps * n).index_copy_(2, tables.place, v @ tables.sums.T).reshape(g, c * tables.taps, n)


def _gathered(spread: Tensor, tables: Tables) -> Tensor:
    """The transpose of `_spread`."""
    return spread.reshape(len(spread), -1, tables.taps * len(tables.rows)).index_select(2, tables.place) @ tables.sums


def _unit(x: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """x (g, n, entries) with the entries of each unfolding divided by their norm, and the norms (g, S); zero stays zero."""
    squares = x.double().square().sum(dim=1)  # in float32, squares of 1e-30 vanish
    size = (squares @ member.double()).sqrt().to(x)
    return x / (torch.where(size > 0, size, 1.0) @ member.T)[:, None], size
