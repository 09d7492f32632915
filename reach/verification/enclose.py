"""Formulas of specifications on batches of boxes: an undefined box gives no bound instead of an error, and sqrt may start at zero."""

from __future__ import annotations

import numpy as np

from certify.core.interval import Interval

from ..dynamics import opcodes as code
from ..dynamics.series import function_ranges
from ..dynamics.tape import Tape


def enclose(tape: Tape, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (P,): the tape's first output on the boxes [lower, upper] (P, n); (-inf, inf) where it may be undefined somewhere on the box.

    Natural interval evaluation. Unlike the plant's, a formula here need not be differentiable, so sqrt is taken on [0, b] too.
    """
    good = (lower <= upper).all(axis=1) & np.isfinite(lower).all(axis=1) & np.isfinite(upper).all(axis=1)
    low, high = (np.where(good[:, None], x, 0.0) for x in (lower, upper))
    registers = [Interval(low[:, i], high[:, i]) for i in range(low.shape[1])]
    for i, op in enumerate(tape.op.tolist()):
        x = registers[tape.a[i]] if op != code.CONST else None
        registers.append(_apply(tape, i, op, x, registers, good))
    out = registers[int(tape.outputs[0])]
    return np.where(good, out.lower, -np.inf), np.where(good, out.upper, np.inf)


def _apply(tape: Tape, i: int, op: int, x: Interval | None, registers: list[Interval], good: np.ndarray) -> Interval:
    """One instruction on every box; clears `good` where it may be undefined."""
    c, r = float(tape.c[i]), float(tape.r[i])
    number = Interval.point(np.full(len(good), c))
    if r:
        number = number + Interval(np.full(len(good), -r), np.full(len(good), r))
    if x is None:
        return number
    if op == code.ADD:
        return x + registers[tape.b[i]]
    if op == code.MUL:
        return x * registers[tape.b[i]]
    if op == code.SQR:
        return x.square()
    if op in code.HAS_CONSTANT:
        return x * number if op == code.LIN else x + number
    if op == code.SQRT:
        good &= x.lower >= 0
        return Interval(np.where(good, x.lower, 0.0), np.where(good, x.upper, 0.0)).sqrt()
    low, high, fine = function_ranges(op, x.lower, x.upper)
    good &= np.asarray(fine, bool)
    return Interval(np.where(good, low, 0.0), np.where(good, high, 0.0))
