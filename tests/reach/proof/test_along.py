"""The checker's bound of deviations at all times (`check_flow._along`) against closed forms, and what happens when a term of it is dropped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import reach.proof.check_flow as check_flow
from reach.proof.transition import transition


def bound(along, a, generators, held, rw, radius=0.0) -> np.ndarray:
    """The bound for h [A, Bv, Bw] = a +- radius (n, n + nu + nw)."""
    n, full = a.shape
    wide, spread = np.zeros((1, full, full)), np.zeros((1, full, full))
    wide[0, :n], spread[0, :n] = a, radius
    t = transition(wide, spread)
    e0 = np.concatenate([check_flow.row_sums(generators), check_flow.row_sums(held), rw])
    return along(check_flow.Linear(a, spread[0, :n], t.middle[0], t.radius[0], t.majorant[0]), generators, held, e0)


def holds(along) -> bool:
    """d' = A d + Bv v + Bw w over one step: growth, decay, rotation, held values, a disturbance, an uncertain rate."""
    one, none = np.array([[1.0]]), np.zeros((0, 1))
    good = bound(along, np.array([[0.5]]), one, none, np.zeros(0))[0] >= math.exp(0.5)
    good &= bound(along, np.array([[-0.5]]), one, none, np.zeros(0))[0] >= 1.0
    good &= bound(along, np.array([[0.0, 0.7]]), np.array([[0.25]]), one, np.zeros(0))[0] >= 0.95  # d = 0.25 e + 0.7 v t, one symbol
    good &= bound(along, np.array([[0.0, 0.7]]), np.array([[0.25]]), none, np.ones(1))[0] >= 0.95  # a disturbance of its own
    good &= bound(along, np.array([[0.5]]), one, none, np.zeros(0), 0.25)[0] >= math.exp(0.75)
    turn, e = np.array([[0.0, 0.6], [-0.6, 0.0]]), np.eye(2)
    sizes = np.max([np.abs(np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])).sum(1) for t in np.linspace(0, 0.6, 50)], axis=0)
    return bool(good and (bound(along, turn, e, np.zeros((0, 2)), np.zeros(0)) >= sizes).all())


def broken(old: str, new: str):
    """`_along` with one piece of its source replaced."""
    text = Path(check_flow.__file__).read_text()
    start = text.index("def _along(")
    body = text[start : text.index("\ndef ", start + 1)]
    assert body.count(old) == 1, f"_along no longer has {old!r}: adapt the mutant"
    space = dict(vars(check_flow))
    exec(body.replace(old, new), space)  # our own source
    return space["_along"]


def test_the_bound_holds_and_sees_the_symbols():
    assert holds(check_flow._along)
    # e and -e cancel: the size of the end is 0.5, where sizes alone would give 1.5
    a = np.array([[0.0, -0.5]])
    assert bound(check_flow._along, a, np.array([[1.0]]), np.array([[1.0]]), np.zeros(0))[0] <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.maximum(row_sums(generators), last)", "last"),
        ("np.maximum(row_sums(generators), last)", "row_sums(generators)"),
        ("lin.r + second", "lin.r"),
        ("lin.r + second", "second"),
        (" + upper_product(np.abs(lin.a[:, k:]), e0[k:])", ""),
        ("generators + lin.a[:, :k] @ both", "generators"),
    ],
)
def test_a_dropped_term_is_caught(old: str, new: str):
    assert not holds(broken(old, new))
