"""Certified l2 radii of a batch of inputs from curvature: the quadratic bound for every class, the dual certificate where it decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.graph import Graph
from ...core.interval import Interval
from ...core.rounding import norms_up
from ..local import slopes_and_values
from .bounds import CurvatureBounds, curvature_bounds
from .dual import dual_values, quadratic_multipliers, radii_of
from .minimise import margin_function, minimise

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class CurvatureRadii:
    """radii (n,): N predicts the label on the open ball. eta (n, k) float64 and points (n, k, *input shape) float32: the evidence per class (eta = 0 on the label).

    per_class (n, k): the radius against each class (inf on the label); bounds: K- per pair and its multipliers.
    """

    radii: np.ndarray
    eta: np.ndarray
    points: np.ndarray
    per_class: np.ndarray
    bounds: CurvatureBounds

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a certificate: curvature_eta, curvature_points, curvature_lower (k, k), curvature_tau (k, k, neurons)."""
        lower = np.where(np.isfinite(self.bounds.lower), self.bounds.lower, 0.0)
        return {"curvature_eta": self.eta, "curvature_points": self.points, "curvature_lower": lower, "curvature_tau": self.bounds.taus}


def curvature_radii(graph: Graph, inputs: np.ndarray, labels: np.ndarray, margins_lower: np.ndarray, bounds: CurvatureBounds | None = None, rounds: int = 4) -> CurvatureRadii:
    """Certify l2 balls on which the label stays strictly ahead of every other logit.

    Claim: for each i and every x with |x - inputs[i]|_2 < radii[i], N_label(x) > N_j(x) for all j != label (exact real arithmetic, the stored weights).

    Args:
        graph: a smooth network with k logits (head.graph). inputs: (n, *input shape), float32 or float64. labels: (n,).
        margins_lower: (n, k) lower ends of N_label - N_j at the inputs; a radius is 0 where one of them is not positive.
        bounds: K- of the pairs; None computes them for the labels.
        rounds: how often the classes that decide the radius are refined by the dual.
    Guarantee: enclosures of values and gradients by certify.constants.local; rounded down with room 1e-9, so that a checker with other last bits agrees.
    Raises: as `curvature_bounds`; InputError: shapes.
    Cost: the bounds; one enclosure of the Jacobian per input and per refined pair; the search about 400 gradients per refined pair (two or three classes an input).
    Source: `dual`.
    """
    n, k, shape = len(inputs), graph.output_shape[0], graph.input_shape
    x0 = np.asarray(inputs).astype(np.float64).reshape(n, -1)
    labels, margins = np.asarray(labels).astype(np.int64), np.asarray(margins_lower, dtype=np.float64)
    if margins.shape != (n, k) or x0.shape[1] != int(np.prod(shape)):
        raise InputError("inputs or margins have another shape than the network asks for", found=f"{np.shape(inputs)}, {margins.shape}", expected=f"(n, *{shape}), (n, {k})")
    own = np.arange(n)
    rivals = np.ones((n, k), bool)
    rivals[own, labels] = False
    right = np.asarray(((margins > 0) | ~rivals).all(axis=1))
    if bounds is None:
        bounds = curvature_bounds(graph, labels[right])
    eta, points = np.zeros((n, k)), np.zeros((n, k, x0.shape[1]), np.float32)
    points[:] = x0.astype(np.float32)[:, None]
    each = np.where(rivals, 0.0, np.inf)
    i, j = np.nonzero(rivals & right[:, None] & np.isfinite(bounds.lower[labels]))
    if len(i):
        work = _Pairs(graph, x0, labels, i, j, bounds)
        with np.errstate(all="ignore"):  # the search may overflow; what is proved is compared so that NaN fails
            work.start()
            for _ in range(rounds):
                if not work.refine(n):
                    break
        eta[i, j], each[i, j] = work.eta, work.radii
        points[i, j] = work.points
    radii = np.where(right, each.min(axis=1), 0.0)
    return CurvatureRadii(radii, eta, points.reshape(n, k, *shape), each, bounds)


class _Pairs:
    """The pairs (input i, class j): eta, point and radius of each, best so far."""

    def __init__(self, graph: Graph, x0: np.ndarray, labels: np.ndarray, i: np.ndarray, j: np.ndarray, bounds: CurvatureBounds):
        self.graph, self.x0, self.i, self.j, self.first = graph, x0, i, j, labels[i]
        self.low, self.high = bounds.lower[self.first, j], bounds.upper[self.first, j]
        self.high = np.where(np.isfinite(self.high), self.high, self.low)  # the search's step length only
        self.eta, self.radii = np.zeros(len(i)), np.zeros(len(i))
        self.points = x0[i].astype(np.float32)
        self.refined = np.zeros(len(i), bool)
        self.values = margin_function(graph, self.first, j)

    def start(self) -> None:
        """The quadratic bound of every pair, as a dual certificate at the input itself."""
        m, g = self.values(self.x0[self.i], np.arange(len(self.i)))
        eta = quadratic_multipliers(m, np.sqrt((g * g).sum(1)), self.low)
        self._take(np.arange(len(self.i)), eta, self.points)

    def refine(self, n: int) -> bool:
        """The dual for the pairs that hold an input's radius down; False if there are none."""
        least = np.full(n, np.inf)
        np.minimum.at(least, self.i, self.radii)
        solved = np.full(n, np.inf)
        np.minimum.at(solved, self.i[self.refined], self.radii[self.refined])
        # first the weakest class of each input, then all those below what the refined ones reach
        wanted = ~self.refined & np.where(np.isfinite(solved[self.i]), self.radii < solved[self.i], self.radii <= least[self.i])
        which = np.flatnonzero(wanted)
        if not len(which):
            return False
        for a in range(0, len(which), _CHUNK * 4):
            part = which[a : a + _CHUNK * 4]
            values = margin_function(self.graph, self.first[part], self.j[part])
            eta, y = minimise(values, self.x0[self.i[part]], self.low[part], self.high[part], self.eta[part])
            self._take(part, eta, y.astype(np.float32))
        self.refined[which] = True
        return True

    def _take(self, which: np.ndarray, eta: np.ndarray, points: np.ndarray) -> None:
        for a in range(0, len(which), _CHUNK):
            part, e, y = which[a : a + _CHUNK], eta[a : a + _CHUNK], points[a : a + _CHUNK]
            q, scale = self.proved(part, e, y)
            radii = radii_of(q, scale)
            better = radii > self.radii[part]
            chosen = part[better]
            self.eta[chosen], self.radii[chosen], self.points[chosen] = e[better], radii[better], y[better]

    def proved(self, which: np.ndarray, eta: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower ends of q, and the size of its terms."""
        y = points.astype(np.float64)
        unique, place = np.unique(y, axis=0, return_inverse=True)
        place = place.reshape(-1)
        box = unique.reshape(len(unique), *self.graph.input_shape)
        values, slopes = slopes_and_values(self.graph, box, box)
        rows = np.arange(len(which))
        first, second = self.first[which], self.j[which]
        z = Interval(values.lower.reshape(len(box), -1)[place], values.upper.reshape(len(box), -1)[place])
        m = z[rows, first] - z[rows, second]
        g = Interval(slopes.lower[place, first], slopes.upper[place, first]) - Interval(slopes.lower[place, second], slopes.upper[place, second])
        offsets = Interval.point(y) - Interval.point(self.x0[self.i[which]])
        q = dual_values(offsets, m, g, eta, self.low[which])
        size = norms_up(np.maximum(np.abs(g.lower), np.abs(g.upper)), "l2")
        largest = np.maximum(np.abs(z.lower), np.abs(z.upper)).max(axis=1)
        mu = np.maximum(1.0 - eta * self.low[which], 1e-6)
        return q, eta * (0.1 * largest) + 1e-6 * (eta * size) ** 2 / mu
