"""Slopes that a box leaves: between two free points of the region (constants), and between x0 and a point of it (radii).

Claims, for z0 in [z, Z] and increments d in [l, u], 0 in [l, u]:
- free: (phi(a) - phi(b)) / (a - b) lies in [lo, hi] for all a, b in [z + l, Z + u].
- anchored: (phi(z0 + d) - phi(z0)) / d lies in [lo, hi] for d != 0. One end of the chord is z0: the slopes are NOT valid between two points of the region.
Proof of the anchored rectifier. h = max(., 0) is convex, so its chord slope from z0 to z0 + d does not fall with d: it lies between that at l and that at u.
At l < 0 it is 1 if z0 + l >= 0, 0 if z0 <= 0, else z0 / (-l) (h(z0) - h(z0 + l) = z0): clip(z0 / (-l), 0, 1). At u > 0 it is 1 if z0 >= 0, 0 if z0 + u <= 0,
else (z0 + u) / u: clip(1 + z0 / u, 0, 1). Both do not fall with z0: lo takes z, hi takes Z. Without d < 0 (l = 0) the least slope is the right derivative at z0, 1 if
z0 > 0, else 0 (z0 = 0 gives 0/0: the bound 0 is used); likewise u = 0. []
Example: z0 > 0, l < -z0: [z0 / (-l), 1] instead of [0, 1]. Other activations take the free slopes of the hull, which hold for any two points.
Source: methods/network_lipschitz.md section 6 (chord slopes are monotone for convex functions).
"""

from __future__ import annotations

import numpy as np

from ...core.rounding import down, up
from .form import Form
from .lines import slopes_on

Ends = tuple[np.ndarray, np.ndarray]


def slopes(form: Form, z: Ends, box: Ends, anchored: bool) -> Ends:
    """(lo, hi), each float64 (n, entries), of every z entry; groups keep what their layer says.

    Args:
        z: enclosures (n, entries) at the centres; box: the stored increments (n, entries).
    """
    lo, hi = np.empty(z[0].shape), np.empty(z[0].shape)
    l, u = box[0].astype(np.float64), box[1].astype(np.float64)
    with np.errstate(all="ignore"):
        for step, p in zip(form.steps, form.places):
            if step.kind == "groups":
                lo[:, p], hi[:, p] = step.layer.lo, step.layer.hi
            elif step.kind == "relu":
                lo[:, p], hi[:, p] = (_anchored if anchored else _free)(z[0][:, p], z[1][:, p], l[:, p], u[:, p])
            else:
                lo[:, p], hi[:, p] = slopes_on(step, down(z[0][:, p] + l[:, p]), up(z[1][:, p] + u[:, p]))
    return lo, hi


def _free(z: np.ndarray, top: np.ndarray, l: np.ndarray, u: np.ndarray) -> Ends:
    """The rectifier between two points of [z + l, top + u]."""
    return (down(z + l) >= 0).astype(np.float64), (~(up(top + u) <= 0)).astype(np.float64)


def _anchored(z: np.ndarray, top: np.ndarray, l: np.ndarray, u: np.ndarray) -> Ends:
    """The rectifier between z0 and z0 + d; 0/0 and anything not known give 0 and 1."""
    known, dead = down(z + l) >= 0, up(top + u) <= 0
    least, most = down(z / -l), up(1.0 + up(top / u))
    lo = np.where(known, 1.0, np.where(least > 0, np.minimum(least, 1.0), 0.0))
    hi = np.where(dead, 0.0, np.where(most < 1.0, np.maximum(most, 0.0), 1.0))
    return np.where(dead, 0.0, lo), np.where(known, 1.0, hi)
