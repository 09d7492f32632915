"""Radii by curvature, proved again: bounds on the Hessians of the margins from their multipliers, and the dual certificate at the stored points.

Arrays of the certificate (k classes, n inputs; zeros where an input's method is another):
    curvature_lower (k, k) float64: K[y, j], claimed: z_y - z_j + K |x|^2 / 2 is convex on the whole input space (z: the logits);
    curvature_tau (k, k, groups) float64: what proves it, one number >= 0 per entry of every block in the order of `parts.read`;
    curvature_eta (n, k) float64 and curvature_points (n, k, *input shape) float32: eta and y of the dual certificate against each class.
Claim 1. F = gradient of m = z_y - z_j with respect to a block's output lies in the range that signed intervals give, backward from the logits. Along any direction dx, with
phi = f'(z) o dz, the second derivative of m is the sum over all neurons of F f''(z) dz^2. Where w q(f'(z)) >= -F f''(z), q(s) = a + b s - c s^2 (`MAJORANTS`), the matrix
    M = K E_0 - sum w (a z^2 + b z phi - c phi^2) + sum tau (phi - lo z)(phi - hi z)
in the coordinates (dx, phi of all blocks) being positive definite, for tau >= 0, gives 0 <= K |dx|^2 + d^2 m. A block without any tau > 0 takes the constant q = peak.
Claim 2. For eta >= 0, mu = 1 - eta K > 0, l(x) = |x - x0|^2/2 + eta m(x) is mu-strongly convex, so min l >= q = l(y) - |grad l(y)|^2/(2 mu) for any y; a point with
m <= 0 is at least sqrt(2 q) away from x0. The radius r is proved if r^2/2 <= q for every class but the label.
Source: Singla and Feizi 2020; methods/network_lipschitz.md, section 9. Nothing of the search is looked at.
"""

from __future__ import annotations

import numpy as np

from ..core.graph import Graph
from ..core.midrad import MidRad
from ..core.posdef import verified_pd
from ..core.rounding import U, down, up
from . import fields
from .chain import scaled_rows, symmetric
from .curvature_points import Backward, Points
from .curvature_table import Majorant, majorants
from .ends import Ending
from .parts import Reading, read
from .sdp_inequality import Inequality, _multipliers, _Sum

_ROWS = 256  # inputs at a time


def proves(graph: Graph, norm: str, end: Ending, arrays: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """For the places `inputs`: True only if the label's logit is the strictly largest on the open l2 ball of the stored radius.

    Raises:
        CertificateError: evidence of the wrong shape, an activation with a kink, or a curvature bound that its multipliers do not prove.
    """
    if norm != "l2":
        raise fields.refuse("curvature proves radii in the l2 norm only", "norm", norm, "l2")
    name, k = end.logits.name, end.classes
    reading = read(graph, name)
    groups = sum(block.groups for _, block in reading.blocks)
    shapes = {"curvature_lower": (k, k), "curvature_tau": (k, k, groups), "curvature_eta": (len(arrays["radii"]), k)}
    shapes["curvature_points"] = (len(arrays["radii"]), k, *graph.input_shape)
    for key, shape in shapes.items():
        wanted = "float32" if key == "curvature_points" else "float64"
        if key not in arrays or arrays[key].shape != shape or arrays[key].dtype.name != wanted:
            raise fields.refuse(
                "the evidence of a curvature radius is missing or of another shape", f"arrays/{key}", arrays[key].shape if key in arrays else None, f"{wanted} {shape}"
            )
    labels = arrays["labels"][inputs]
    curvature = Curvature(graph, reading)
    lower, taus = arrays["curvature_lower"], arrays["curvature_tau"]
    for y in np.unique(labels).tolist():
        for j in range(k):
            if j != y and not curvature.holds(y, j, float(lower[y, j]), taus[y, j]):
                raise fields.refuse("a curvature bound is not proved by its multipliers", f"arrays/curvature_lower[{y}, {j}]", float(lower[y, j]), "M > 0 and tau >= 0")
    points = Points(graph, reading, curvature.backward)
    found = np.zeros(len(inputs), bool)
    for a in range(0, len(inputs), _ROWS):
        found[a : a + _ROWS] = _radii(points, arrays, inputs[a : a + _ROWS], k)
    return found


def _radii(points: Points, arrays: dict[str, np.ndarray], which: np.ndarray, k: int) -> np.ndarray:
    """Claim 2 for some inputs, all classes at once."""
    n = len(which)
    labels = np.repeat(arrays["labels"][which], k)
    others = np.tile(np.arange(k), n)
    x0 = np.repeat(arrays["inputs"][which].astype(np.float64).reshape(n, -1), k, axis=0)
    y = arrays["curvature_points"][which].astype(np.float64).reshape(n * k, -1)
    eta, bound = arrays["curvature_eta"][which].reshape(-1), arrays["curvature_lower"][labels, others]
    radius = np.repeat(arrays["radii"][which], k)
    with np.errstate(all="ignore"):
        margin, gradient = points.margins(y, labels, others)
        mu = down(1.0 - up(eta * bound))
        offset = y - x0
        slope = offset + eta[:, None] * gradient.mid
        size = np.abs(offset) + np.abs(eta[:, None] * gradient.mid)
        error = up((np.abs(eta)[:, None] * gradient.radius() + 4 * U * size) * (1 + 16 * U)) + 2.0**-1000
        residual = _squares_up(np.abs(slope) + error)
        half = 0.5 * _squares_down(np.abs(offset))
        q = down(down(half + down(eta * margin)) - up(residual / np.where(mu > 0, 2.0 * mu, np.nan)))
        legal = (eta >= 0) & (mu > 0) & (bound >= 0) & (0.5 * up(radius * radius) <= q)
    return (legal | (others == labels)).reshape(n, k).all(axis=1)


def _squares_up(size: np.ndarray) -> np.ndarray:
    """Upper ends of the sums of squares of the rows of nonnegative numbers that were rounded once (n <= 2^20 terms: n + 4 roundings each)."""
    return up((size * size).sum(axis=1) * (1.0 + 2.0 * (size.shape[1] + 16) * U)) + 2.0**-900


def _squares_down(size: np.ndarray) -> np.ndarray:
    """Lower ends of the sums of squares of exact differences that were rounded once."""
    return np.maximum(down((size * size).sum(axis=1) * (1.0 - 2.0 * (size.shape[1] + 16) * U)) - 2.0**-900, 0.0)


class Curvature:
    """Claim 1, for one network; `backward` holds the matrices between its blocks."""

    def __init__(self, graph: Graph, reading: Reading):
        self.kinds: list[tuple[Majorant, Majorant]] = []
        for name, block in reading.blocks:
            if block.inside is not None or name not in graph.by_name or graph[name].op != "activation":
                raise fields.refuse("an operator has no curvature bound", name, expected="smooth activations only")
            self.kinds.append(majorants(graph[name]))
        self.backward = Backward(reading)
        self.matrix = Inequality(reading)

    def holds(self, y: int, j: int, bound: float, tau: np.ndarray) -> bool:
        """Whether z_y - z_j + bound |x|^2/2 is proved convex."""
        if not (np.isfinite(tau).all() and (tau >= 0).all() and np.isfinite(bound) and bound >= 0):
            return False
        row = np.zeros((1, self.backward.classes))
        row[0, y], row[0, j] = 1.0, -1.0
        ranges = self.backward.ranges(row)
        total, first, curved = _Sum(self.matrix.size), 0, False
        places = {entry[0]: entry for entry in self.matrix.inner}
        for kinds, (low, high) in zip(self.kinds, ranges, strict=True):
            n = low.shape[1]
            mine = tau[first : first + n]
            if first in places:
                _, block, live, phi, own, z, columns = places[first]
                a, b, c = (part[live] for part in weights(low[0], high[0], kinds, not mine.any()))
                curved |= bool(a.any() or b.any())
                if mine.any():
                    _multipliers(total, mine, block, live, phi, own, z, columns)
                _curve(total, (a, b, c), own, z, columns)
            first += n
        return not curved or self._positive(total, bound)

    def _positive(self, total: _Sum, bound: float) -> bool:
        start = np.arange(self.matrix.start)
        total.mid[start, start] += bound
        total.rad[start, start] = up(total.rad[start, start] + U * np.abs(total.mid[start, start]))
        used = (total.mid != 0).any(axis=1) | (total.rad != 0).any(axis=1)  # phi of the blocks without multipliers stands nowhere in M
        used[start] = True
        place = np.ix_(used, used)
        mid, rad = total.mid[place], total.rad[place]
        return bound > 0 and bool(np.isfinite(mid).all()) and verified_pd(np.tril(mid) + np.tril(mid, -1).T, np.maximum(rad, rad.T))


def weights(low: np.ndarray, high: np.ndarray, kinds: tuple[Majorant, Majorant], constant: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(w a, w b, w c) with w q(f'(z)) >= -F f''(z) for every F in [low, high]; a and b rounded up, c down (z phi >= 0 where b is used: slopes >= 0 there)."""
    plus, minus = kinds
    falling, rising = np.maximum(-low, 0.0), np.maximum(high, 0.0)
    if constant or plus != minus:
        a = np.maximum(_product(falling, plus.peak), _product(rising, minus.peak))
        b = c = np.zeros_like(a)
        if constant:
            return a, b, c
        for w, q, other in ((falling, plus, _product(rising, minus.peak)), (rising, minus, _product(falling, plus.peak))):
            alone = (_product(w, q.peak) > 0) & (other == 0)
            a, b, c = np.where(alone, _product(w, q.a), a), np.where(alone, _product(w, q.b), b), np.where(alone, np.maximum(down(w * q.c), 0.0), c)
        return a, b, c
    w = np.maximum(falling, rising)
    return _product(w, plus.a), _product(w, plus.b), np.maximum(down(w * plus.c), 0.0)


def _product(w: np.ndarray, value: float) -> np.ndarray:
    return np.where(w > 0, up(w * value), 0.0) if value > 0 else np.zeros_like(w)


def _curve(total: _Sum, pieces: tuple[np.ndarray, np.ndarray, np.ndarray], own: slice, z: MidRad, columns: np.ndarray) -> None:
    """Subtract sum (a z^2 + b z phi - c phi^2)."""
    a, b, c = pieces
    place = np.arange(own.start, own.stop)
    if a.any():
        total.add(columns, columns, symmetric(z.T @ scaled_rows(z, a)), -1.0)
    if b.any():
        cross = scaled_rows(z, 0.5 * b, 2.0**-1000)
        total.add(place, columns, cross, -1.0)
        total.add(columns, place, cross.T, -1.0)
    if c.any():
        total.diagonal(place, c)
