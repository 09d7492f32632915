"""Two lines around each activation's increment on a box: low d + low0 <= g(d) <= high d + high0 for d in [l, u], g(d) = phi(z0 + d) - phi(z0).

z0 is known to lie in [z, Z]; [l, u] contains 0; L = down(z + l), U = up(Z + u), so that z0 + d lies in [L, U].
- "relu", L >= 0: g(d) = d. U <= 0: g = 0. Else (L < 0 < U), phi convex: above, s (z0 + d - L) - max(z0, 0) with s >= U / (U - L), the chord (0 at L, at least U at U);
  below, a (z0 + d) - max(z0, 0) with a = 1 if U > -L, else 0 (any a in [0, 1] is a bound). The intercepts are taken at the worse end of [z, Z].
- "slopes": g(d) lies between a d and b d, [a, b] the slopes of phi on [L, U]. max(a d, b d) is convex, so the line through its values at l and u is above it; for min likewise.
- "groups": |g_i(d)| <= |(reach o d)_g| <= rho_g: slope 0, intercepts -rho_g, rho_g.
`size` >= |g(d)| on the box, for the error terms. Where a box is not finite the lines are NaN or infinite, and whatever uses them proves nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...core.rounding import down, norms_up, up
from .form import Step


class Lines(NamedTuple):
    """Slopes (n, entries; None for groups) and intercepts (n, entries of phi), and size."""

    low: np.ndarray | None
    high: np.ndarray | None
    low0: np.ndarray
    high0: np.ndarray
    size: np.ndarray


def lines_of(step: Step, z: tuple[np.ndarray, np.ndarray], box: tuple[np.ndarray, np.ndarray]) -> Lines:
    """The lines of one step for n points: z, box: pairs of float64 (n, entries)."""
    with np.errstate(all="ignore"):
        if step.kind == "groups":
            return _groups(step, box)
        first, last = down(z[0] + box[0]), up(z[1] + box[1])
        return _relu(z, box, first, last) if step.kind == "relu" else _sector(step, box, first, last)


def _relu(z, box, first, last) -> Lines:
    bent = ~((first >= 0) | (last <= 0))
    identity = first >= 0
    plain = np.where(identity, 1.0, 0.0)
    chord = up(last / down(last - first))
    high = np.where(bent, chord, plain)
    high0 = np.where(bent, up(up(chord * up(z[1] - first)) - np.maximum(z[0], 0.0)), 0.0)
    low = np.where(bent, np.where(last > -first, 1.0, 0.0), plain)
    low0 = np.where(bent, down(low * z[0] - np.maximum(z[1], 0.0)), 0.0)
    size = np.where(identity | bent, np.maximum(-box[0], box[1]), 0.0)
    return Lines(low, high, low0, high0, size)


def _sector(step: Step, box, first, last) -> Lines:
    a, b = slopes_on(step, first, last)
    l, u = box
    width = u - l
    flat = ~(width > 0)
    width = np.where(flat, 1.0, width)
    high = np.where(flat, a, (b * u - a * l) / width)
    low = np.where(flat, a, (a * u - b * l) / width)
    high0 = np.maximum(up(up(a - high) * l), up(up(b - high) * u))
    high0 = np.maximum(high0, np.maximum(up(down(a - high) * l), up(down(b - high) * u)))
    low0 = np.minimum(down(up(b - low) * l), down(up(a - low) * u))
    low0 = np.minimum(low0, np.minimum(down(down(b - low) * l), down(down(a - low) * u)))
    size = up(np.maximum(np.abs(a), np.abs(b)) * np.maximum(-l, u))
    return Lines(low, high, low0, high0, size)


def slopes_on(step: Step, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (n, entries) of a step of scalar slopes between any two points of [first, last]."""
    if step.activation is None:
        return np.broadcast_to(step.layer.lo, first.shape), np.broadcast_to(step.layer.hi, first.shape)
    unknown = ~(first <= last)  # NaN: nothing is known of this entry
    return step.activation.slope_range_on(np.where(unknown, -np.inf, first), np.where(unknown, np.inf, last))


def _groups(step: Step, box) -> Lines:
    reach = up(step.layer.half * np.maximum(-box[0], box[1]))
    inside, outside = step.layer.inside, step.layer.outside
    if inside is None or outside is None:
        raise ValueError("a step of groups without groups")
    rho = np.stack([norms_up(reach[:, inside == g], "l2") for g in range(step.layer.groups)], axis=1)[:, outside]
    return Lines(None, None, -rho, rho, rho)
