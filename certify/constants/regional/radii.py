"""Certified radii of single inputs, by what the network does near them: backward linear bounds, and one matrix inequality per class that they leave open.

For an input x0 with label y and proved margins m_j at x0 (m_j <= z_y - z_j): boxes of all pre-activation increments on a ball of radius R; a class is closed by
the linear bound ((e_y - e_j) dz > -m_j on the whole ball, mode 0) or by `onesided` for a radius r_j (mode 1). Then z_y > z_j for every j on |dx| <= r,
r = min(R, min r_j). The boxes hold on the smaller ball too, so that the evidence is one set of boxes (of radius R >= r), one theta per class, and modes.
R is searched: the attack's distance first, then between what came out and what went in. In linf and l1 only the linear bounds are used, bisected.
Each input is worked on by itself: no result depends on the batch. Source: methods/network_lipschitz.md, sections 10 and 11; module docstrings of `boxes`, `onesided`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.fold import fold_affine
from ...core.graph import Graph
from ...core.midrad import MidRad
from ...core.rounding import up
from ..sdp.chain import Chain, chain_of
from ..sdp.primitives import Parts, parts_of
from .boxes import Backward, Reach, boxes
from .farthest import Farthest, start
from .form import Form, form_of
from .onesided import KINDS, Facts, Problem, holds, problem
from .slopes import slopes
from .values import values_of

ROOM = 1e-6  # relative: every proof is made for a radius larger by this than the one that is claimed
GAIN, NEAR = 5e-3, 0.9  # a radius is worth a search from this relative gain on; and is near the boxes' radius from this share on
_SMALL = 300  # multipliers from which the sector alone is tried first
_LARGEST = {"fast": 0, "balanced": 900, "tight": 3000}  # multipliers of a problem
_BISECTIONS = 14


@dataclass(frozen=True, eq=False)
class Network:
    """What all inputs of a graph share."""

    graph: Graph
    parts: Parts
    chain: Chain
    form: Form

    @property
    def groups(self) -> int:
        return sum(layer.groups for layer in self.chain.layers)


@dataclass(frozen=True, eq=False)
class RegionalRadii:
    """radii (n,): 0 where nothing beyond the start was proved, and then zeros in all the rest. Evidence, fixed shapes per input (k classes, Z entries, G groups):

    lower, upper (n, Z) float32: increments of z on a ball at least that large; theta (n, k, 1 + KINDS G) float32: multipliers of `onesided`, the margin's first,
    then kind * G + group; mode (n, k) int8: 0 the linear bound closes the class (or it is the label), 1 the inequality does."""

    radii: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    theta: np.ndarray
    mode: np.ndarray


def network_of(graph: Graph) -> Network:
    """The parts, chain and form of a graph.

    Raises:
        UnsupportedLayerError, HypothesisError: as `chain_of`."""
    chain = chain_of(graph)
    folded = fold_affine(graph).pruned()
    return Network(graph, parts_of(graph), chain, form_of(folded, chain))


def regional_radii(
    graph: Graph, inputs: np.ndarray, labels: np.ndarray, margins: np.ndarray, begin: np.ndarray, end: np.ndarray,
    norm: str = "l2", effort: str = "balanced", stop: Callable[[], bool] = lambda: False,
) -> RegionalRadii:  # fmt: skip
    """The largest radii that can be proved beyond `begin`.

    Claim: for radii_i > 0, in exact real arithmetic and for every |d|_norm <= radii_i, the logit labels_i is strictly larger than every other at inputs_i + d.

    Args:
        graph: input to logits (`Head.graph`); inputs: (n, *input shape); labels: (n,).
        margins: (n, k) lower ends of z_y - z_j at the inputs; NaN or <= 0 in another column than the label's proves nothing: radius 0.
        begin: (n,) radii that are certified already; end: (n,) distances of adversarial inputs, inf where none is known.
        effort: "fast" linear bounds alone; "balanced", "tight": matrix inequalities with up to 900 and 3000 multipliers, larger ones by the sector alone.
        stop: asked between inputs; True ends the search, what is found stays.
    Raises: as `network_of`. Cost: 0.1 to 0.5 s (2x50), 3 to 20 s (5x100) per input.
    """
    network = network_of(graph)
    points = np.asarray(inputs, dtype=np.float64).reshape(len(inputs), *graph.input_shape)
    n, k = margins.shape
    out = RegionalRadii(
        np.zeros(n), np.zeros((n, network.form.entries), np.float32), np.zeros((n, network.form.entries), np.float32),
        np.zeros((n, k, 1 + KINDS * network.groups), np.float32), np.zeros((n, k), np.int8),
    )  # fmt: skip
    for i in range(n):
        others = np.arange(k) != labels[i]
        if stop():
            break
        if not ((margins[i][others] > 0).all() and end[i] > begin[i]):  # NaN fails
            continue
        found = Point(network, points[i], int(labels[i]), margins[i], norm, effort).search(float(begin[i]), float(end[i]))
        if found is not None and found.radius > begin[i]:
            out.radii[i], out.lower[i], out.upper[i], out.mode[i] = found.radius, found.lower, found.upper, found.mode
            for j, theta in found.theta.items():
                out.theta[i, j] = theta
    return out


@dataclass(frozen=True, eq=False)
class Proof:
    """What one evaluation proved."""

    radius: float
    lower: np.ndarray
    upper: np.ndarray
    mode: np.ndarray
    theta: dict[int, np.ndarray]


class Point:
    """One input."""

    def __init__(self, network: Network, point: np.ndarray, label: int, margins: np.ndarray, norm: str, effort: str):
        self.network, self.label, self.margins, self.norm, self.most = network, label, margins, norm, _LARGEST[effort] if norm == "l2" else 0
        self.z = values_of(network.graph, network.parts, network.chain.blocks, point[None])
        k = len(margins)
        rows = np.zeros((k, k))
        rows[:, label] = 1.0
        rows[np.arange(k), np.arange(k)] -= 1.0
        self.rows, self.last = rows, MidRad(rows) @ network.form.last
        self.facts = Facts((self.z[0][0], self.z[1][0]), np.concatenate([np.full(s.size, s.kind == "relu") for s in network.form.steps]), [s.size for s in network.form.steps])

    def search(self, begin: float, end: float) -> Proof | None:
        """The best proof found for a radius in (begin, end)."""
        best = self.bisected(begin, end)
        floor = begin if best is None else best.radius
        if not self.most:
            return best
        trial = end if np.isfinite(end) else 1.5 * floor
        for _ in range(4):
            found = self.proof(trial, floor * (1 + GAIN))
            if found is not None and found.radius > floor:
                best, floor = found, found.radius
            if floor > NEAR * trial and np.isfinite(end):  # larger boxes cost little: this is about what they allow
                break
            trial = min(1.5 * trial, end) if floor > NEAR * trial else 0.5 * (trial + floor)
            if not trial > floor * (1 + 2 * GAIN):
                break
        return best

    def bisected(self, begin: float, end: float) -> Proof | None:
        """By the linear bounds alone. Larger balls need not be harder (the lines are heuristic): the largest that was verified is kept."""
        low, high, best = begin, end, None
        if not np.isfinite(high):
            high = max(2.0 * begin, 1e-3)
            while (step := self.linear(high)) is not None and high < 1e6:
                best, low, high = step, high, 2.0 * high
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            step = self.linear(middle)
            if step is None:
                high = middle
            else:
                best, low = step, middle
        return best

    def bounded(self, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes on the ball, and which classes the linear bounds close there."""
        grown = np.array([up(radius * (1 + ROOM))])
        lower, upper, passed = boxes(self.network.form, self.z, Reach(self.norm, grown))
        return lower, upper, self._closed(passed)

    def _closed(self, passed: Backward) -> np.ndarray:
        rad = None if self.last.rad is None else self.last.rad[None]
        worst = passed.lower(self.last.mid[None], rad)[0]
        with np.errstate(all="ignore"):
            closed = worst > -self.margins * (1 - ROOM)
        closed[self.label] = True
        return closed

    def linear(self, radius: float) -> Proof | None:
        lower, upper, closed = self.bounded(radius)
        return Proof(radius, lower[0], upper[0], np.zeros(len(closed), np.int8), {}) if closed.all() else None

    def proof(self, radius: float, floor: float) -> Proof | None:
        """Boxes of this radius; the radius that they prove, or None if it is not above `floor`."""
        lower, upper, closed = self.bounded(radius)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            return None
        ends = slopes(self.network.form, self.z, (lower, upper), anchored=True)
        chain = self.network.form.chain(ends[0][0], ends[1][0])
        best, thetas = radius, {}
        for j in self._order(closed):
            found = self.farthest(chain, int(j), radius, best, floor)
            if found is None or not found[0] > floor:
                return None
            best = min(best, found[0])
            thetas[int(j)] = found[1]
        return Proof(best, lower[0], upper[0], (~closed).astype(np.int8), thetas)

    def _order(self, closed: np.ndarray) -> np.ndarray:
        """Open classes, the smallest margin first: it is likely to decide, and then the others may stop early."""
        return np.array([j for j in np.argsort(self.margins, kind="stable") if not closed[j]], dtype=int)

    def farthest(self, chain: Chain, j: int, radius: float, best: float, floor: float) -> tuple[float, np.ndarray] | None:
        """(proved radius, stored theta) for one class, at most about `best`."""
        reduced, alive = chain.towards(self.rows[j : j + 1]).reduced()
        margin = float(self.margins[j])
        if not reduced.layers:
            return None
        p = problem(reduced, alive, self.facts, margin)
        enough = (1.01 * best) ** 2
        for trial in (p.sectors(), p) if len(p.place) > _SMALL else (p,):
            if len(trial.place) > self.most:
                continue
            reached = Farthest(trial, radius).solve(start(reduced, trial, margin), enough=enough, hopeless=floor**2)
            if reached is not None and reached.rho > floor**2 and (reached.rho > best**2 or trial is p or len(p.place) > self.most):
                stored = np.zeros(1 + KINDS * p.groups, np.float32)
                place = np.concatenate([[0], 1 + trial.place])
                with np.errstate(over="ignore"):  # infinite multipliers prove nothing
                    stored[place] = reached.theta
                return self._proved(trial, stored[place].astype(np.float64), min(float(np.sqrt(reached.rho)), best), floor, stored)
        return None

    @staticmethod
    def _proved(p: Problem, theta: np.ndarray, radius: float, floor: float, stored: np.ndarray) -> tuple[float, np.ndarray] | None:
        for cut in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
            claim = radius * (1 - cut)
            if claim > floor and holds(p, theta, claim * (1 + ROOM)):
                return claim, stored
        return None
