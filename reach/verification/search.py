"""Search: initial states and constant disturbances whose simulated motions come near to a violation, or violate. Estimates, to be proved elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from ..simulation import simulate, simulate_dense
from ..specification import Bound

_DENSE = 8  # simulated times per period where the specification is about all times
_STARTS, _CORNERS, _KEPT, _ROUNDS, _RANDOM = 64, 64, 2, 10, 4
_SHORT = 10  # characters of a number that can be read aloud


class Candidate(NamedTuple):
    """A point of X0 x W with its score: > 0 when the simulated motion violates the specification."""

    point: np.ndarray
    score: float
    step: int


class Search:
    """The scores of motions, and the point with the largest one.

    `point` is (initial state, constant disturbance) in the box [lower, upper]; `score` is the margin by which the simulated motion violates, in the unit
    of the region's constraints: the largest over the window for Stay and Avoid, at the end for Arrive, the smallest over the window for ArriveWithin.
    """

    def __init__(self, loop: Any, bound: Bound, lower: np.ndarray, upper: np.ndarray, seed: int = 0):
        plant = loop.plant
        self.loop, self.bound, self.n = loop, bound, len(lower)
        self.lower, self.upper = np.concatenate([lower, plant.disturbance_lower]), np.concatenate([upper, plant.disturbance_upper])
        self.rng = np.random.default_rng(seed)

    def scores(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(score, control step it is met at) of every point; -inf where the motion has no value."""
        b = self.bound
        w = points[:, self.n :] if points.shape[1] > self.n else None
        horizon = b.last * self.loop.period
        if b.at == "samples" or b.kind == "arrive" or not self.loop.continuous or b.first == b.last:
            times = simulate(self.loop, points[:, : self.n], horizon, w)[:, b.first :]
            per = 1
        else:
            dense = simulate_dense(self.loop, points[:, : self.n], horizon, _DENSE, w)[:, b.first :]
            times = np.concatenate([dense[:, :, :-1].reshape(len(points), -1, self.n), dense[:, -1:, -1]], axis=1)
            per = _DENSE
        with np.errstate(all="ignore"):
            v = b.region.violation(times)
        v = -v if b.kind == "avoid" else v
        v = np.where(np.isnan(v), np.inf if b.kind == "arrive within" else -np.inf, v)
        if b.kind == "arrive within":
            return np.where(np.isnan(times).any(axis=(1, 2)), -np.inf, v.min(axis=1)), np.full(len(points), b.last)
        v = v[:, -1:] if b.kind == "arrive" else v
        step = np.full(len(points), b.last) if b.kind == "arrive" else b.first + -(-v.argmax(axis=1) // per)
        return v.max(axis=1), step

    def start(self) -> list[Candidate]:
        """The best of the middle and the corners (some of them where there are many), best first."""
        free = np.flatnonzero(self.upper > self.lower)
        if 2 ** len(free) <= _CORNERS:
            t = np.array(list(itertools.product((0.0, 1.0), repeat=len(free)))).reshape(2 ** len(free), len(free))
        else:
            t = np.round(self.rng.random((_CORNERS, len(free))))
        return self._candidates(np.concatenate([np.full((1, len(free)), 0.5), t]))

    def improve(self, found: list[Candidate]) -> Candidate:
        """The best point after random ones and a pattern search: steps along the coordinates and at random, halved where none is better."""
        free = np.flatnonzero(self.upper > self.lower)
        if not len(free):
            return found[0]
        found = sorted(found + self._candidates(self.rng.random((_STARTS, len(free)))), key=lambda c: -c.score)[:_KEPT]
        points, score, step = (np.array(x) for x in zip(*found, strict=True))
        width = np.full(len(points), 0.5)
        for _ in range(_ROUNDS):
            trials, owner = self._trials(points, width)
            new, when = self.scores(trials)
            for i in range(len(points)):
                mine = np.flatnonzero(owner == i)
                j = mine[new[mine].argmax()]
                if new[j] > score[i]:
                    points[i], score[i], step[i] = trials[j], new[j], when[j]
                else:
                    width[i] /= 2
        i = int(score.argmax())
        return Candidate(points[i], float(score[i]), int(step[i]))

    def _candidates(self, t: np.ndarray) -> list[Candidate]:
        """The best _KEPT of points given by t in [0, 1] along the free coordinates."""
        free = np.flatnonzero(self.upper > self.lower)
        points = np.tile(self.lower, (len(t), 1))
        points[:, free] = np.clip((1 - t) * self.lower[free] + t * self.upper[free], self.lower[free], self.upper[free])
        score, step = self.scores(points)
        return [Candidate(points[i], float(score[i]), int(step[i])) for i in np.argsort(-score, kind="stable")[:_KEPT]]

    def _trials(self, points: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each point: a step of +-width along every free coordinate, and steps of random signs; and whose they are."""
        free = np.flatnonzero(self.upper > self.lower)
        size = self.upper - self.lower
        made, owner = [], []
        for i, point in enumerate(points):
            steps = np.zeros((2 * len(free) + _RANDOM, len(point)))
            for k, c in enumerate(free):
                steps[2 * k, c], steps[2 * k + 1, c] = size[c], -size[c]
            steps[2 * len(free) :, free] = self.rng.choice([-1.0, 0.0, 1.0], (_RANDOM, len(free))) * size[free]
            made.append(np.clip(point + width[i] * steps, self.lower, self.upper))
            owner.append(np.full(len(steps), i))
        return np.concatenate(made), np.concatenate(owner)


def rounded(candidate: Candidate, lower: np.ndarray, upper: np.ndarray, scores: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Candidate:
    """The candidate with as few decimals as keep it inside the box and its score above half; unchanged where it is short already, or where none do."""
    if all(len(repr(x)) <= _SHORT for x in candidate.point.tolist()):
        return candidate
    tries = [np.array([shortened(x, a, b, digits) for x, a, b in zip(candidate.point, lower, upper, strict=True)]) for digits in (2, 3, 4, 6, 9, 12)]
    score, step = scores(np.stack(tries))
    for point, s, k in zip(tries, score.tolist(), step.tolist(), strict=True):
        if s > 0.5 * candidate.score > 0:
            return Candidate(point, s, k)
    return candidate


def shortened(x: float, lower: float, upper: float, digits: int) -> float:
    """A float near x in [lower, upper] with about so many digits relative to the width."""
    width = upper - lower
    if not width > 0:
        return x
    places = digits - Decimal(width).adjusted() - 1
    return float(min(max(round(x, places), lower), upper))
