"""Settle: is a condition true on every patch? Where the plain range does not show it, the patch is cut in two along one variable, again and again, within a budget."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from certify.core.rounding import up

from ..sets.cuts import cut_rows
from ..sets.points import domain_points, monomials
from ..sets.ring import Ring
from .models import Model

_SINGLE = 64  # patches that may be cut one by one after the common budget is spent


class Engine(Protocol):
    """What is cut (rows of polynomials), and the violations that follow from it."""

    rows: np.ndarray
    curved: bool
    """whether only monomials of degree 2 and more make a range too wide"""

    def model(self, r: Ring, rows: np.ndarray, cut: np.ndarray, root: np.ndarray) -> Model: ...

    def values(self, rows: np.ndarray, powers: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (P, K, J): estimates of what a patch around the points cannot do better than."""
        ...


class Test(NamedTuple):
    """`proved(r, model)` -> (P,) slacks, positive or zero where the condition is shown; `lost(low, high)` -> (P,) where no cutting can help."""

    proved: Callable[[Ring, Model], tuple[np.ndarray, np.ndarray]]
    lost: Callable[[np.ndarray, np.ndarray], np.ndarray]


class Settled(NamedTuple):
    """ok, and the smallest slack (a lower bound); else the first patch that was not settled, with its slack on the last attempt."""

    ok: bool
    slack: float
    patch: int


def settle(r: Ring, engine: Engine, test: Test, budget: int) -> Settled:
    """Whether the test holds on every patch of the engine.

    Claim: if `ok`, then for every patch, every s of the domain lies in a part (up to the cut's rounding, which the model adds) on which `proved` showed the
    condition. Proof: a patch leaves the work list only when shown, or when replaced by parts that cover it (`sets.cuts.cut_rows`).

    Args:
        budget: how many parts may be tested beyond the patches themselves: for all patches together first, then for each one that is still open.
    Cost: one model and one range per part; cutting is a product with an (M, M) matrix.
    """
    found, left = _cut(r, engine, test, np.arange(len(engine.rows)), budget)
    if found.ok or not 1 < len(left) <= _SINGLE:
        return found
    worst = found.slack
    for patch in left:
        one, _ = _cut(r, engine, test, np.array([patch]), budget)
        if not one.ok:
            return one
        worst = min(worst, one.slack)
    return Settled(True, worst, -1)


def _cut(r: Ring, engine: Engine, test: Test, root: np.ndarray, budget: int) -> tuple[Settled, list[int]]:
    """The answer for some patches, and those left open because the budget ended (none where a patch is lost). Not ok: slack as in `Settled`, for ok parts too."""
    rows = engine.rows[root]
    cut = np.zeros(rows.shape[:2])
    worst = math.inf
    while True:
        model = engine.model(r, rows, cut, root)
        ok, slack = test.proved(r, model)
        if ok.any():
            worst = min(worst, float(slack[ok].min()))
        bad = np.flatnonzero(~ok)
        if not len(bad):
            return Settled(True, worst, -1), []
        rows, cut, root = rows[bad], cut[bad], root[bad]
        slack = slack[bad]
        budget -= 2 * len(bad)
        stop, axes = np.ones(len(bad), bool), np.zeros(0, int)
        if r.variables and np.isfinite(rows).all():
            axes, possible = _axes(r, engine, model, bad, rows)
            stop = ~possible | test.lost(*engine.values(rows, _probes(r), root))
        if stop.any() or budget < 0:
            first = root[stop].min() if stop.any() else root.min()
            failed = Settled(False, float(slack[root == first].min()), int(first))
            return failed, [] if stop.any() else sorted(set(root.tolist()))
        rows, cut, root = _halves(r, rows, cut, root, axes)


def _axes(r: Ring, engine: Engine, model: Model, bad: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variable that each patch is cut along: the one whose monomials weigh most; and whether there is one."""
    where = (r.exponents > 0) & ((r.degree > 1)[:, None] | (not engine.curved))
    weight = np.abs(model.rows[bad]).sum(axis=1) @ where
    if not engine.curved:
        size = np.abs(rows).sum(axis=2, keepdims=True)
        weight = np.where(weight.max(axis=1, keepdims=True) > 0, weight, np.abs(rows / np.where(size > 0, size, 1)).sum(axis=1) @ where)
    return weight.argmax(axis=1), weight.max(axis=1) > 0


def _halves(r: Ring, rows: np.ndarray, cut: np.ndarray, root: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = []
    for axis in sorted(set(axes.tolist())):
        some = axes == axis
        part = rows[some]
        counts = [2 if v == axis else 1 for v in range(r.variables)]
        pieces, error = cut_rows(r, part.reshape(-1, r.size), counts)
        total = up(cut[some] + error.reshape(part.shape[:2]))
        made += [(piece.reshape(part.shape), total, root[some]) for piece in pieces]
    return tuple(np.concatenate(x) for x in zip(*made, strict=True))  # type: ignore[return-value]


@functools.lru_cache(maxsize=64)
def _probes(r: Ring) -> np.ndarray:
    """(K, M) monomials at points of the domain: the centre, corners, and points inside."""
    rng = np.random.default_rng(0)
    points = [np.where(np.arange(r.variables) == r.variables - 1, 0.5 * r.time, 0.0)[None], domain_points(r, 64, rng)]
    if r.variables <= 5:
        ends = [(0.0, 1.0) if r.time and i == r.variables - 1 else (-1.0, 1.0) for i in range(r.variables)]
        points.append(np.array(list(itertools.product(*ends))))
    return monomials(r, np.concatenate(points))
