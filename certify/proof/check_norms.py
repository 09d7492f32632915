"""Is a stored constant an upper end of the operator norm of a linear node? Decided from the weights, by the way that the evidence names or another.

`linear_below` is a proof when it returns: every branch ends in a comparison that NaN fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..core.graph import Node
from ..core.posdef import max_eigenvalue_upper
from ..core.rounding import TINY, U, add_up, down, gamma, ldexp_up, mul_up, norm_up, norms_up, sqrt_up, up
from . import fields, gram, grid, lines
from .pools import AveragePool
from .windows import Axis, Windows, adds_exactly, scaled, windows_of


@dataclass(frozen=True)
class Norm:
    """What was found: `how` the stored bound was proved ("" = not), and the checker's own best upper end for the message."""

    how: str
    own: float


def linear_below(node: Node, in_shape: tuple[int, ...], norm: str, stored: float, verify: dict) -> Norm:
    """Prove || A ||_p <= stored for a dense, conv, conv_transpose or avg_pool node."""
    if node.op == "dense":
        return _dense(node, norm, stored)
    if node.op == "avg_pool":
        pool = AveragePool(node, in_shape)
        how = pool.below(stored, norm)
        a = None if how or norm != "l2" else windows_of(node, in_shape)
        return Norm(how or ("" if a is None else _windows(a, norm, stored, verify).how), pool.majorant(norm))
    a = windows_of(node, in_shape)
    if a is None:
        raise fields.refuse("a linear layer without weights", node.name)
    return _windows(a, norm, stored, verify)


def _dense(node: Node, norm: str, stored: float) -> Norm:
    """The weight matrix (out, in); on a tensor with more axes the map is a direct sum of equal parts."""
    full = node.float64("weight")
    if full is None:
        raise fields.refuse("a linear layer without weights", node.name)
    weight, e = scaled(full)
    del full  # large layers: at most a few copies of the weights at a time
    if not weight.any():
        return Norm("zero map", 0.0)
    bound, relative = _rescaled(stored, e), float(node.attrs.get("perturbation", 0)) * U
    rows, columns = dense_sums(weight, relative)
    if norm != "l2":
        own = rows if norm == "linf" else columns
        return Norm("row sums" if norm == "linf" and own <= bound else "column sums" if own <= bound else "", ldexp_up(own, e))
    majorant = sqrt_up(mul_up(rows, columns))
    slack = up(mul_up(relative, majorant) + TINY)
    if _disjoint_below(weight, relative, bound):
        return Norm("disjoint rows or columns", stored)
    frobenius = up(norm_up(norms_up(weight, "l2"), "l2") + slack)
    for own, how in ((frobenius, "Frobenius norm"), (majorant, "sqrt(l1 linf)")):
        if own <= bound:
            return Norm(how, ldexp_up(own, e))
    if gram.matrix_below(weight, bound, slack, mul_up(rows, columns)):
        return Norm("Cholesky of u^2 I - A A'", stored)
    a = weight if weight.shape[0] <= weight.shape[1] else weight.T
    return Norm("", ldexp_up(min(frobenius, majorant, _own_upper(gram.symmetric(a @ a.T), slack)), e))


def _disjoint_below(weight: np.ndarray, relative: float, bound: float) -> bool:
    """Rows or columns with disjoint supports: the norm is the largest of their 2-norms, here for equal or single entries, exactly."""
    pattern = weight != 0
    rows, columns = int(pattern.sum(axis=1).max()), int(pattern.sum(axis=0).max())
    if min(rows, columns) > 1:
        return False
    size = np.abs(weight)
    top = float(size.max())
    if max(rows, columns) > 1 and not ((size == 0) | (size == top)).all():
        return False
    return (Fraction(top) * (1 + Fraction(relative))) ** 2 * max(rows, columns) <= Fraction(bound) ** 2


def dense_sums(weight: np.ndarray, relative: float) -> tuple[float, float]:
    """Upper ends of the largest row and column sum of |A|."""
    size = np.abs(weight)
    ends = []
    for axis in (1, 0):
        end = float(size.sum(axis=axis).max(initial=0.0))
        if not adds_exactly(size, int((size > 0).sum(axis=axis).max(initial=0))):
            end = up(up(end * (1 + 2 * gamma(size.shape[axis] + 3))) + TINY)
        ends.append(add_up(end, mul_up(end, relative)) if relative else end)
    return ends[0], ends[1]


def _rescaled(stored: float, e: int) -> float:
    """A float <= 2^-e stored."""
    return -ldexp_up(-stored, -e)


def _own_upper(matrix: np.ndarray, slack: float) -> float:
    """About the norm itself, for a message; inf where that would cost much."""
    return up(sqrt_up(max_eigenvalue_upper(matrix)) * (1 + 1e-9) + slack) if len(matrix) <= 1024 else math.inf


def _windows(a: Windows, norm: str, stored: float, verify: dict) -> Norm:
    if a.zero:
        return Norm("zero map", 0.0)
    bound = _rescaled(stored, a.exponent)
    if norm != "l2":
        rows, columns = a.sums
        own = rows if norm == "linf" else columns
        how = ("row sums" if norm == "linf" else "column sums") if own <= bound else ""
        if not how and a.copying and a.rows * a.columns <= 4_000_000:
            own, how = _exact_sums(a, norm, bound)
        return Norm(how, ldexp_up(own, a.exponent))
    tried = [_evidence(a, verify), *_others(a)]
    for attempt in tried:
        how = attempt(bound)
        if how:
            return Norm(how, stored)
    own = min(a.majorant("l2"), up(sqrt_up(a.squares) + a.slack()) if not a.copying else math.inf)
    if not a.copying and min(a.rows, a.columns) <= 512:
        own = min(own, max(_own_upper(_full_gram(w, a), a.slack()) for w in a.weight))
    return Norm("", ldexp_up(own, a.exponent))


def _full_gram(weight: np.ndarray, a: Windows) -> np.ndarray:
    return gram.symmetric(gram.row_gram(weight, a) if a.rows <= a.columns else gram.column_gram(weight, a))


def _exact_sums(a: Windows, norm: str, bound: float) -> tuple[float, str]:
    """Row or column sums of the assembled matrix, where padding copies pixels and several weights meet in one entry."""
    taps = math.prod(axis.taps for axis in a.axes)
    axis = 1 if (norm == "linf") != a.transposed else 0
    own = 0.0
    for weight in a.weight:
        matrix = np.abs(gram.assembled(weight, a))
        own = max(own, float(matrix.sum(axis=axis).max()))
    own = up(own * (1 + 2 * gamma(matrix.shape[axis] + taps + 3)))
    own = up(own + up(a.majorant(norm) * up(a.relative + 2 * gamma(taps))) + TINY)  # cancelling weights lose relative to their sizes
    return own, "sums of the assembled matrix" if own <= bound else ""


def _evidence(a: Windows, verify: dict) -> Callable[[float], str]:
    """The way the prover names, if the checker knows it; its parameters are read as untrusted data."""
    by, d = verify.get("by"), len(a.axes)
    if by == "unfolding":
        subset = fields.integers(verify.get("subset"), "evidence.verify.subset", 0, d - 1)
        return lambda bound: f"unfolding {sorted(set(subset))}" if _unfolding(a, sorted(set(subset)), bound) else ""
    if by == "grid":
        period = fields.integers(verify.get("period"), "evidence.verify.period", 1, grid.LARGEST_PERIOD)
        claim = fields.text(verify.get("claim"), "evidence.verify.claim", ("circular", "circular_rows", "embedding", "any_size"))
        twist = _twist(verify.get("twist"), a.groups, d, claim)
        if len(period) != d:
            raise fields.refuse("a frequency grid needs one period per axis", "evidence.verify.period", len(period), d)
        return lambda bound: f"{claim} grid {period}" if _grid(a, claim, period, twist, bound) else ""
    if by == "lines":
        read = lines.read(verify, d)
        return lambda bound: f"lines along axis {read.inner}, outer grid {list(read.period)}" if lines.lines_below(a, read, bound) else ""
    if by == "copies":
        inner = verify.get("of")
        return lambda bound: _copies(a, bound, inner if isinstance(inner, dict) else {})
    return lambda bound: ""


def _twist(value: object, groups: int, d: int, claim: str) -> list[int] | list[list[int]]:
    """One twist per axis, or (claim "embedding") a list of them, one per group."""
    where = "evidence.verify.twist"
    nested = isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], list | tuple)
    rows = [fields.integers(row, f"{where}[{g}]", 0, 1) for g, row in enumerate(fields.items(value, where))] if nested else [fields.integers(value, where, 0, 1)]
    if any(len(row) != d for row in rows) or (nested and (claim != "embedding" or len(rows) != groups)):
        raise fields.refuse("a frequency grid needs one twist per axis, or in an embedding one such list per group", where, value, f"{d} axes, {groups} groups")
    return rows if nested else rows[0]


def _others(a: Windows) -> list[Callable[[float], str]]:
    """What is tried when the evidence is absent, unknown or does not carry: the cheap statements, then the exact ones."""

    def sums(bound: float) -> str:
        return "sqrt(l1 linf)" if a.majorant("l2") <= bound else ""

    def diagonal(bound: float) -> str:
        return "disjoint rows or columns" if a.diagonal_below(bound) else ""

    def frobenius(bound: float) -> str:
        return "Frobenius norm" if not a.copying and up(sqrt_up(a.squares) + a.slack()) <= bound else ""

    def dense(bound: float) -> str:
        return "Cholesky of u^2 I - A A'" if gram.windows_below(a, bound) else ""

    def own_grid(bound: float) -> str:
        symbol = None if a.copying else grid.polyphase(a)
        if symbol is None:
            return ""
        period = [least if largest else 1 for largest, least in symbol.axes]
        return next((f"own grid {period}, twist {tau}" for tau in (1, 0) if _grid(a, "embedding", period, [tau] * len(period), bound)), "")

    def copies(bound: float) -> str:
        return _copies(a, bound, {}) if a.copying else ""

    return [sums, diagonal, frobenius, dense, own_grid, copies]


def _unfolding(a: Windows, subset: list[int], bound: float) -> bool:
    symbol = grid.circular(a) if a.copying else grid.polyphase(a)
    return symbol is not None and grid.unfolding_below(symbol, [largest + 1 for largest, _ in symbol.axes], subset, bound, a.slack())


def _grid(a: Windows, claim: str, period: list[int], twist: list[int] | list[list[int]], bound: float) -> bool:
    if claim.startswith("circular"):
        symbol = grid.circular(a) if claim == "circular" else grid.circular_rows(a)
    else:
        symbol = None if a.copying else grid.polyphase(a)
    return symbol is not None and grid.grid_below(symbol, claim, period, twist, bound, a.slack())


def _copies(a: Windows, bound: float, verify: dict) -> str:
    """Proposition 0: A = V P with V the unpadded map on n + low + high points and ||P||^2 = prod of the largest pixel counts."""
    if not a.copying:
        return ""
    squares = 1
    axes = []
    for axis in a.axes:
        whole = Axis(axis.inputs, axis.inputs + axis.low + axis.high, 1, 1, 1, axis.low, axis.high, axis.mode)
        squares *= int(whole.readers.max(initial=0.0))
        axes.append(replace(axis, inputs=whole.outputs, low=0, high=0, mode="zeros"))
    inner = replace(a, axes=tuple(axes))
    rest = down(bound / sqrt_up(float(squares)))
    ways = [_evidence(inner, verify), *_others(inner)]
    return next((f"copies {squares}, {how}" for way in ways if (how := way(rest))), "")
