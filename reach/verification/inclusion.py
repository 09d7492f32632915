"""The two questions about patches: is every state inside the region, is every state outside of it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from certify.core.rounding import down, up

from ..sets.cuts import cut_rows
from ..sets.ring import Ring
from .models import Model, StateModel, affine_model
from .patches import Patch
from .regions import Affine, Region
from .separate import ranges, separate
from .settle import Engine, Settled, Test, settle

BUDGET = 4000


class Answer(NamedTuple):
    """ok: shown for all patches, with the least slack, in units of the constraint's formula. Otherwise the earliest patch that was not shown, and its slack."""

    ok: bool
    slack: float
    patch: Patch | None
    clause: int


class _Affine:
    """Half-spaces: the violations themselves are cut."""

    def __init__(self, rows: np.ndarray, error: np.ndarray, curved: bool):
        self.rows, self.error, self.curved = rows, error, curved

    def model(self, r: Ring, rows: np.ndarray, cut: np.ndarray, root: np.ndarray) -> Model:
        error = np.where(cut == 0, self.error[root], up(self.error[root] + cut))
        return Model(rows, error, np.full(error.shape, -np.inf), np.full(error.shape, np.inf))

    def values(self, rows: np.ndarray, powers: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            v, e = np.swapaxes(rows @ powers.T, 1, 2), self.error[root][:, None]
            return v - e, v + e


class _States:
    """Formulas: the states are cut, and the violations made anew."""

    curved = False

    def __init__(self, region: Region, patches: list[Patch], inner: bool):
        self.region, self.make = region, StateModel(region, patches, inner)
        self.rows = self.make.rows

    def model(self, r: Ring, rows: np.ndarray, cut: np.ndarray, root: np.ndarray) -> Model:
        return self.make(r, rows, cut, root)

    def values(self, rows: np.ndarray, powers: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            states = np.swapaxes(rows @ powers.T, 1, 2)
            v = np.stack([c.violation(states) for c in self.region.constraints], axis=-1)
        return v, v


def inside(patches: Sequence[Patch], region: Region, budget: int = BUDGET) -> Answer:
    """Whether every state of every patch is in the region, in all readings of its numbers."""
    worst = Answer(True, np.inf, None, -1)
    for some in _groups(patches):
        for k, engine in _clauses(some, region):
            worst = _worse(worst, settle(some[0].ring, engine, Test(_held, _broken), budget), some, k)
    return worst


def outside(patches: Sequence[Patch], region: Region, budget: int = BUDGET) -> Answer:
    """Whether no state of any patch is in the region, in any reading of its numbers: on each part some clause is violated, or a positive combination of two."""
    worst = Answer(True, np.inf, None, -1)
    for some in _groups(patches):
        engine, test = _avoiding(some, region)
        worst = _worse(worst, settle(some[0].ring, engine, test, budget), some, -1)
    return worst


def look(patches: Sequence[Patch], region: Region, inner: bool) -> np.ndarray:
    """(P,) slacks of `inside` (inner) or `outside` by the plain ranges alone: positive is a proof, negative says how far from one."""
    slack = np.full(len(patches), np.inf)
    where = {id(patch): i for i, patch in enumerate(patches)}
    for some in _groups(patches):
        found = [(engine, Test(_held, _broken)) for _, engine in _clauses(some, region)] if inner else [_avoiding(some, region)]
        rows = [where[id(patch)] for patch in some]
        for engine, test in found:
            model = engine.model(some[0].ring, engine.rows, np.zeros(engine.rows.shape[:2]), np.arange(len(some)))
            slack[rows] = np.minimum(slack[rows], test.proved(some[0].ring, model)[1])
    return slack


def excess(patch: Patch, region: Region, clause: int, parts: int = 512) -> float:
    """An upper end of the violation of a clause on a patch, finer than the plain range: the patch is cut on a grid of at most so many parts."""
    part = _alone(region, clause)
    slack = float(look([patch], part, True)[0])
    f = patch.ring.variables
    if not part.affine or not f or not np.isfinite(slack):
        return -slack
    rows, error = affine_model(part.constraints, [patch], True)  # type: ignore[arg-type]
    cuts, more = cut_rows(patch.ring, rows[0], max(1, int(parts ** (1 / f) + 1e-9)))
    upper = up(ranges(patch.ring, cuts)[1] + up(error[0] + more))
    return min(-slack, float(upper.min(axis=1).max()))


def _alone(region: Region, clause: int) -> Region:
    """One clause as a region."""
    some = region.clauses[clause]
    return Region(tuple(region.constraints[i] for i in some), (tuple(range(len(some))),), region.dimension)


def broken(patch: Patch, region: Region) -> str:
    """The condition that the patch violates most, for a reader."""
    return region.describe(int(np.argmax([look([patch], _alone(region, k), False)[0] for k in range(len(region.clauses))])))


def _clauses(patches: list[Patch], region: Region) -> Iterator[tuple[int, Engine]]:
    """An engine for the violations of every clause, half-spaces combined with the patches at once."""
    flat = [i for i, c in enumerate(region.constraints) if isinstance(c, Affine)]
    rows, error = affine_model(tuple(region.constraints[i] for i in flat), patches, True) if flat else (None, None)  # type: ignore[misc]
    for k, clause in enumerate(region.clauses):
        if set(clause) <= set(flat):
            at = [flat.index(i) for i in clause]
            yield k, _Affine(rows[:, at], error[:, at], len(at) == 1)  # type: ignore[index]
        else:
            yield k, _States(_alone(region, k), patches, True)


def _avoiding(patches: list[Patch], region: Region) -> tuple[Engine, Test]:
    """The engine of all violations together, and the test that some clause is violated or two are separated."""
    single = [clause[0] for clause in region.clauses if len(clause) == 1]

    def proved(r: Ring, model: Model) -> tuple[np.ndarray, np.ndarray]:
        lower = _lower(r, model)
        slack = np.stack([lower[:, list(clause)].min(axis=1) for clause in region.clauses], axis=1)
        best = np.where(np.isnan(slack), -np.inf, slack).max(axis=1)
        for q in np.flatnonzero(~(best > 0)):
            best[q] = max(best[q], separate(r, model.rows[q, single], model.error[q, single]))
        return best > 0, best

    def lost(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        holds = np.stack([(low[..., list(clause)] <= 0).any(axis=-1) for clause in region.clauses], axis=-1)
        return np.any(holds.all(axis=-1), axis=1)

    if region.affine:
        return _Affine(*affine_model(region.constraints, patches, False), False), Test(proved, lost)  # type: ignore[arg-type]
    return _States(region, patches, False), Test(proved, lost)


def _groups(patches: Sequence[Patch]) -> list[list[Patch]]:
    """Patches of one ring together, in order of time."""
    groups: dict[int, list[Patch]] = {}
    for patch in patches:
        groups.setdefault(id(patch.ring), []).append(patch)
    return list(groups.values())


def _worse(a: Answer, found: Settled, patches: list[Patch], clause: int) -> Answer:
    """The answer that a reader should see: a failure before a proof, then the earlier time, then the smaller slack."""
    patch = patches[found.patch] if found.patch >= 0 else None
    b = Answer(found.ok, found.slack, patch, clause)
    if a.ok != b.ok:
        return a if b.ok else b
    if a.ok:
        return a if a.slack <= b.slack else b
    if a.patch.start != b.patch.start:  # type: ignore[union-attr]
        return a if a.patch.start < b.patch.start else b  # type: ignore[union-attr]
    return a if a.slack <= b.slack else b


def _held(r: Ring, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """One clause: the best alternative's largest violation is at most 0."""
    with np.errstate(all="ignore"):
        value = np.fmin(up(ranges(r, model.rows)[1] + model.error), model.upper)
    value = np.where(np.isnan(value), np.inf, value).min(axis=1)
    return value <= 0, -value


def _broken(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """One clause: at some point every alternative is violated, whatever is cut."""
    return np.any((high > 0).all(axis=-1), axis=1)


def _lower(r: Ring, model: Model) -> np.ndarray:
    """(P, J) lower ends of the violations."""
    with np.errstate(all="ignore"):
        return np.fmax(down(ranges(r, model.rows)[0] - model.error), model.lower)
