"""||A|| <= u line by line (methods/layer_norms.md 4.3, 4.7): a twisted embedding of all axes but one, and on each of its frequencies a grid or the exact section.

A zero-padded, real kernel, one group, one tuple of dilation classes. Theorem 1 for the outer axes gives ||A|| <= max ||B(w)|| over their grid, B(w) the one-axis
section with the complex taps K_w[t] = sum over the outer shifts of R exp(i <w, j>). B(-w) = conj B(w): one point of each conjugate pair is enough. For
each w either ||B(w)|| <= u is proved as it is, or by Theorem 1 for B(w), whose symbol is F(w, .): ||F(w, (2 pi k + pi t / 4) / n)|| <= u for 0 <= k < n,
with any n from the least period on and any t, both chosen line by line. Groups share the evidence; the classes of the inner axis share w and F.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..core.rounding import down
from . import fields, section
from .grid import LARGEST_PERIOD, MOST_POINTS, MOST_WORK, PER_POINT, admissible, half_grid, phases, points_below, work_per_point
from .undilated import Reduced, reduced, split
from .windows import Windows

_MOST_LINES = 1 << 16
_FLOPS_PER_PHASE = 6e5  # a table entry of `exact.unit_circle` takes as long as so many flops
_POINTS = 1 << 14


@dataclass(frozen=True)
class Lines:
    """The evidence: inner axis, period and twist per axis (1 and 0 at the inner one), per outer grid point (n, t), (0, 0) for the exact section."""

    inner: int
    period: tuple[int, ...]
    twist: tuple[int, ...]
    lines: tuple[tuple[int, int], ...]

    @property
    def outer(self) -> np.ndarray:
        """(lines, D) numerators 2 k + twist of the outer points, in the order of the evidence; 0 on the inner axis."""
        return half_grid(list(self.period), list(self.twist))


def read(verify: dict, d: int) -> Lines:
    """Untrusted evidence for d spatial axes.

    Raises:
        CertificateError: a field that is missing, not of its type, out of range, or lists that do not fit each other.
    """
    where = "evidence.verify"
    (inner,) = fields.integers([verify.get("inner")], f"{where}.inner", 0, d - 1)
    period = fields.integers(verify.get("period"), f"{where}.period", 1, LARGEST_PERIOD)
    twist = fields.integers(verify.get("twist"), f"{where}.twist", 0, 1)
    if len(period) != d or len(twist) != d:
        raise fields.refuse("a frequency grid needs one period and one twist per axis", where, f"{len(period)}, {len(twist)}", d)
    if (period[inner], twist[inner]) != (1, 0):
        raise fields.refuse("the inner axis of lines has no grid of its own", where, f"{period[inner]}, {twist[inner]}", "period 1, twist 0")
    lines = []
    for i, entry in enumerate(fields.items(verify.get("lines"), f"{where}.lines", _MOST_LINES)):
        pair = fields.integers(entry, f"{where}.lines[{i}]", 0, LARGEST_PERIOD)
        if len(pair) != 2 or pair[1] > 7 or (pair[0] == 0 and pair[1] != 0):
            raise fields.refuse("a line is a period and a twist", f"{where}.lines[{i}]", entry, "[n, t] with 0 <= t <= 7, or [0, 0]")
        lines.append((pair[0], pair[1]))
    count = _points(period, twist)
    if len(lines) != count:
        raise fields.refuse("lines do not fit the grid of the outer axes", f"{where}.lines", len(lines), count)
    return Lines(inner, tuple(period), tuple(twist), tuple(lines))


def _points(period: list[int], twist: list[int]) -> int:
    """Points of the half grid: all of them, and those opposite to themselves (2 k + twist = 0 or period) once more, halved."""
    alone = math.prod((1 if n % 2 else 0) if tau else 2 - n % 2 for n, tau in zip(period, twist))
    return (math.prod(period) + alone) // 2


def lines_below(a: Windows, evidence: Lines, bound: float) -> bool:
    """||A|| <= bound for the scaled map; False if not proved, a hypothesis fails, or it would be too much work."""
    found = None if a.copying else reduced(a)
    rest = max(down(bound - a.slack()), 0.0)
    level = down(rest * rest)
    if found is None or not level > 0:
        return False
    weight, axes = found
    inner = axes[evidence.inner]
    for i, (axis, n) in enumerate(zip(axes, evidence.period, strict=True)):
        if i != evidence.inner and not (admissible(n, axis.least) and (axis.shifts == 1 or n >= axis.least)):
            return False
    for n, _ in evidence.lines:
        if n and not (admissible(n, inner.least) and (inner.shifts == 1 or n >= inner.least)):
            return False
    if not _affordable(weight, axes, evidence):
        return False
    live = weight[weight.any(axis=tuple(range(1, weight.ndim)))]
    kernel, shifts = split(live, [x.stride for x in axes])
    return points_below(kernel, shifts, _grids(evidence), level) and all(_sections_below(w, axes, evidence, level) for w in live)


def _affordable(weight: np.ndarray, axes: list[Reduced], evidence: Lines) -> bool:
    """Whether all groups and lines together stay within the work and the memory of one step, counted before anything is built."""
    inner, groups, rows = axes[evidence.inner], len(weight), weight.shape[1]
    outer = [x for i, x in enumerate(axes) if i != evidence.inner]
    columns = weight.shape[2] * math.prod(x.stride for x in outer)
    count = math.prod(x.shifts for x in outer)
    points = sum(n for n, _ in evidence.lines)
    tables = {_denominator(n, t) for n, t in evidence.lines if n} | set(evidence.period)
    one = work_per_point(count * inner.shifts, *sorted((rows, columns * inner.stride))) + PER_POINT
    work = groups * points * one + sum(2 * n * _FLOPS_PER_PHASE for n in tables)
    exact = sum(n == 0 for n, _ in evidence.lines)
    if exact:
        sizes = [section.cost(x, inner, rows, columns) for x in set(inner.sections)]
        if max((memory for _, memory in sizes), default=0) > section.MOST_BYTES:
            return False
        work += groups * exact * (sum(flops for flops, _ in sizes) + 4.0 * count * inner.taps * rows * columns)
    return points <= MOST_POINTS and work <= MOST_WORK


def _denominator(n: int, t: int) -> int:
    """The angles (2 pi k + pi t / 4) / n are multiples of pi over this."""
    return 4 * n // math.gcd(4, t)


def _grids(evidence: Lines) -> Iterator[tuple[np.ndarray, list[int]]]:
    """All points of the lines with a grid, in batches with common denominators."""
    kinds: dict[int, list[int]] = {}
    for i, (n, t) in enumerate(evidence.lines):
        if n:
            kinds.setdefault(_denominator(n, t), []).append(i)
    outer = evidence.outer
    for denominator, members in kinds.items():
        step = max(1, _POINTS // denominator)
        for first in range(0, len(members), step):
            points = []
            for i in members[first : first + step]:
                n, t = evidence.lines[i]
                line = np.repeat(outer[i : i + 1], n, axis=0)
                line[:, evidence.inner] = (8 * np.arange(n) + t) // math.gcd(4, t)
                points.append(line)
            yield np.concatenate(points), [denominator if i == evidence.inner else n for i, n in enumerate(evidence.period)]


def _sections_below(weight: np.ndarray, axes: list[Reduced], evidence: Lines, level: float) -> bool:
    """||B(w)||^2 <= level on the lines [0, 0] of one group (rows, columns, *taps), for every class of the inner axis."""
    points = evidence.outer[[n == 0 for n, _ in evidence.lines]]
    inner, k = axes[evidence.inner], axes[evidence.inner].taps
    classes = sorted(set(inner.sections))
    kernel, shifts = split(weight[None], [k if i == evidence.inner else x.stride for i, x in enumerate(axes)])  # the inner taps become phases
    parts = kernel[0].reshape(len(shifts), weight.shape[0], weight.shape[1], *(k if i == evidence.inner else x.stride for i, x in enumerate(axes)))
    taps = np.moveaxis(parts, 3 + evidence.inner, 1).reshape(len(shifts), k, weight.shape[0], -1)
    level = down(level - section.error(taps, inner.stride, len(axes)))
    if not level > 0:
        return False
    flat = taps.reshape(len(shifts), -1)
    step = max(1, (1 << 22) // flat.shape[1])
    for first in range(0, len(points), step):
        real, imaginary = (part @ flat for part in phases(points[first : first + step], shifts, list(evidence.period)))
        for x, y in zip(real.reshape(-1, *taps.shape[1:]), imaginary.reshape(-1, *taps.shape[1:])):
            if not all(section.Section(x, y if y.any() else None, *sizes, inner.stride).below(level) for sizes in classes):
                return False
    return True
