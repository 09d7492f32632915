"""The first set contains the initial box, and every next set contains the end of the step before it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from . import fields
from .check_flow import End, row_sums
from .content import StepData
from .monomials import embedding, monomials


def check_initial(box: object, step: StepData, variables: int, states: Sequence[str]) -> None:
    """The first set contains the stored box, in both readings of its numbers.

    The set must be a product: each state its own symbol, at most one; then it is the box of middles and radii, compared in exact rationals.
    """
    n = len(states)
    ends = []
    for key in ("lower", "upper"):
        rows = fields.items(fields.member(box, key, "initial"), f"initial.{key}", n, n)
        ends.append([fields.number(v, f"initial.{key}[{i}]") for i, v in enumerate(rows)])
    fields.only(box, ("lower", "upper"), "initial")  # type: ignore[arg-type]
    if step.kept is not None:
        raise fields.refuse("the first set is a reduction of nothing", "steps[0].kept", len(step.kept), "null")
    t = monomials(variables, step.order)
    for name, matrix, linear in (("coefficients", step.coefficients, t.degree == 1), ("generators", step.generators, np.ones(step.generators.shape[1], bool))):
        used = matrix != 0
        if name == "coefficients":
            used[:, 0] = False
        if (used.sum(0) > 1).any() or used[:, ~linear].any():
            raise fields.refuse("the first set is not a box", f"steps[0], {name}", "a symbol shared by two states, or a power", "each state with its own symbols")
    for i, (low, high) in enumerate(zip(*ends)):
        middle = Fraction(float(step.coefficients[i, 0]))
        radius = sum((Fraction(abs(float(v))) for v in (*step.coefficients[i, 1:], *step.generators[i]) if v), Fraction(0))
        least, greatest = min(Fraction(low), Fraction(repr(low))), max(Fraction(high), Fraction(repr(high)))
        if not (middle - radius <= least <= greatest <= middle + radius):
            raise fields.refuse(
                "the first set does not contain the initial box",
                f"steps[0], {states[i]}",
                f"stored [{float(middle - radius)!r}, {float(middle + radius)!r}]",
                f"at least [{low!r}, {high!r}] as floats and as decimals",
            )


def check_link(end: End, step: StepData, variables: int, order: int, states: Sequence[str], where: str) -> None:
    """The stored set at the start of a step contains the end of the step before it, symbol by symbol.

    Kept generators are compared entry by entry; the differences, the generators that were boxed, the fresh box and the differences of the polynomials must fit into
    the stored set's axis-parallel generators that are reserved for them: the kept columns of the fresh box, and the last n columns of a reduction.
    """
    n, base = len(states), end.generators.shape[1]
    kept = np.arange(base + n) if step.kept is None else step.kept
    if len(kept) and not ((kept >= 0).all() and (kept < base + n).all() and len(np.unique(kept)) == len(kept)):
        raise fields.refuse("the kept generators are not positions in the set before", where, f"{int(kept.min())}..{int(kept.max())}", f"distinct, 0..{base + n - 1}")
    boxes = 0 if step.kept is None else n
    if step.generators.shape[1] != len(kept) + boxes:
        raise fields.refuse("a set has another number of generators than its reduction gives", where, step.generators.shape[1], len(kept) + boxes)
    head, tail = step.generators[:, : len(kept)], step.generators[:, len(kept) :]
    old = kept < base
    room = np.zeros(n)
    for column, position in zip(head[:, ~old].T, kept[~old] - base):
        room[position] += _axis(column, int(position), where)
    for i, column in enumerate(tail.T):
        room[i] += _axis(column, i, where)
    room *= 1 - 2.0**-50
    gone = np.ones(base, bool)
    gone[kept[old]] = False
    apart = row_sums(end.generators[:, kept[old]] - head[:, old]) * (1 + 2.0**-50)
    need = (end.box + apart + row_sums(end.generators[:, gone]) + _polynomials_apart(end.coefficients, step.coefficients, variables, order, step.order)) * (1 + 2.0**-48)
    good = need <= room
    if not good.all():
        i = int(np.argmin(good))
        texts = f"stored room {float(room[i])!r}", f"recomputed {float(need[i])!r}, at most that"
        raise fields.refuse("a stored set does not contain the end of the step before", f"{where}, {states[i]}", *texts)


def _axis(column: np.ndarray, i: int, where: str) -> float:
    """The entry i of a generator along axis i."""
    if np.delete(column, i).any():
        raise fields.refuse("a generator that stands for a box is not axis-parallel", where, np.flatnonzero(column).tolist(), [i])
    return abs(float(column[i]))


def _polynomials_apart(a: np.ndarray, b: np.ndarray, variables: int, order: int, other: int) -> np.ndarray:
    """(n,) upper ends of |p - q|_1 for rows of two orders."""
    top = max(order, other)
    wide = np.zeros((2, len(a), monomials(variables, top).size))
    wide[0][:, embedding(variables, order, top, False)] = a
    wide[1][:, embedding(variables, other, top, False)] = b
    return np.where((wide[0] == wide[1]).all(1), 0.0, row_sums(wide[0] - wide[1]) * (1 + 2.0**-50))
