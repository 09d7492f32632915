"""The dual certificate of Singla and Feizi with the term for an inexact minimiser, and the one-sided quadratic radius: numbers to radii, and numbers to proofs.

Claim. Let m >= 0 at x0 and Hess m >= -K I (or m + K |x|^2/2 convex). For eta >= 0 with eta K < 1, mu = 1 - eta K, l(x) = |x - x0|^2/2 + eta m(x) is
mu-strongly convex, so for every point y: min l >= q = l(y) - |grad l(y)|^2 / (2 mu). Every x with m(x) <= 0 has |x - x0|^2/2 >= l(x) >= q, so the radius of the
constant sign of m is at least sqrt(2 max(q, 0)). y may be any float point: being a poor minimiser costs radius, never soundness.
At y = x0, best over eta, this is the one-sided quadratic bound: with g = |grad m(x0)| the r with m0 - g r - K r^2/2 = 0, r = 2 m0 / (g + sqrt(g^2 + 2 K m0)); then
eta = r / (g + K r) (the multiplier of the constraint m <= 0 in min |d|^2/2 subject to m0 - g |d| - K |d|^2/2 <= 0).
Source: Singla and Feizi 2020, Theorem 1 and the dual of section 3; methods/network_lipschitz.md, section 9 (the inexactness term, proved there).
"""

from __future__ import annotations

import numpy as np

from ...core.interval import Interval
from ...core.rounding import TINY, U, down, norms_up, up

ROOM = 1e-9  # relative: what the checker's own enclosures may differ by


def quadratic_radii(margin: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Lower ends of 2 m0 / (g + sqrt(g^2 + 2 K m0)) for m0 lower, g and K upper ends; 0 where m0 <= 0 or something is not known; inf where g = K = 0.

    Claim: m > 0 on the open ball of that radius around x0, if m(x0) >= m0, |grad m(x0)| <= g and Hess m >= -K I.

    >>> float(quadratic_radii(np.array([1.0]), np.array([0.0]), np.array([2.0]))[0]) <= 1.0
    True
    """
    with np.errstate(all="ignore"):
        root = up(np.sqrt(up(up(gradient * gradient) + up(2.0 * up(curvature * margin)))))
        radius = down(2.0 * margin / up(gradient + root))
        return np.where((margin > 0) & (radius >= 0), radius, 0.0)


def quadratic_multipliers(margin: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """About the eta whose certificate at y = x0 gives the quadratic radius; 0 where there is none."""
    with np.errstate(all="ignore"):
        radius = 2.0 * margin / (gradient + np.sqrt(gradient * gradient + 2.0 * curvature * margin))
        eta = radius / (gradient + curvature * radius)
        return np.where((margin > 0) & np.isfinite(eta) & (eta > 0), eta, 0.0)


def dual_values(offsets: Interval, margins: Interval, gradients: Interval, eta: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Lower ends (n,) of q; -inf where eta is out of range (eta < 0, or eta K < 1 not proved) or something is not finite.

    offsets: y - x0 (n, d). margins: m(y) (n,). gradients: grad m(y) (n, d). eta, curvature (n,): exact floats, K an upper end.
    """
    with np.errstate(all="ignore"):
        mu = down(1.0 - up(eta * curvature))
        legal = (eta >= 0) & (mu > 0) & np.isfinite(eta)
        safe = np.where(legal, eta, 0.0)
        finite = np.isfinite(margins.lower) & np.isfinite(gradients.lower).all(axis=1) & np.isfinite(gradients.upper).all(axis=1)
        slope = offsets + Interval.point(safe[:, None]) * _finite(gradients)
        residual = norms_up(np.maximum(np.abs(slope.lower), np.abs(slope.upper)), "l2")
        distance = offsets.square().sum(axis=1).lower * 0.5
        value = down(distance + down(safe * margins.lower))
        lost = up(up(residual * residual) / np.where(legal, 2.0 * mu, 1.0))
        q = down(value - lost)
        return np.where(legal & finite & np.isfinite(q), q, -np.inf)


def _finite(x: Interval) -> Interval:
    good = np.isfinite(x.lower) & np.isfinite(x.upper)
    return Interval(np.where(good, x.lower, 0.0), np.where(good, x.upper, 0.0))


def radii_of(q: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Lower ends of sqrt(2 q), with room: q is lowered by ROOM * scale first (scale: the size of the terms of which q is the difference)."""
    with np.errstate(all="ignore"):
        lowered = down(q * (1.0 - ROOM) - ROOM * scale - TINY)
        return np.where(lowered > 0, np.maximum(down(np.sqrt(np.where(lowered > 0, 2.0 * lowered, 0.0)) * (1.0 - 4 * U)), 0.0), 0.0)
