"""Turn what an attack found into a proof: a point whose misclassification holds in exact arithmetic, and its distance rounded up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.rounding import norms_up, up
from .margins import Margins

# The attack leaves its points about one part in 2^10 .. 2^23 from the boundary, on one side or the other: stretch until one is proved.
STRETCHES = (1.0 + 2.0**-40, 1.0 + 2.0**-20, 1.0 + 2.0**-12, 1.0 + 2.0**-7, 1.0 + 2.0**-5, 1.125)


def proved_distances(enclose: Callable[[np.ndarray, np.ndarray], Margins], inputs: np.ndarray, labels: np.ndarray, perturbations: np.ndarray, norm: str) -> np.ndarray:
    """Upper ends of the distance from each input to the nearest input of another class; inf where the attack proved nothing.

    Claim: where the result is finite there is a float64 point x' with |x' - x|_p <= result at which, in exact real arithmetic, some
    other logit is larger than that of the label.

    Args:
        enclose: points, classes -> Margins of z_class - z_j.
        inputs: (n, *shape) float64; labels: (n,).
        perturbations: (n, *shape), NaN where nothing was found.
    Cost: one forward pass over the inputs, and further ones over those that it left unproved.
    """
    distance = np.full(len(inputs), np.inf)
    open_ = np.flatnonzero(np.isfinite(perturbations).reshape(len(inputs), -1).all(axis=1))
    for stretch in STRETCHES:
        if not len(open_):
            break
        with np.errstate(all="ignore"):
            points = inputs[open_] + stretch * perturbations[open_]
            usable = np.isfinite(points).reshape(len(points), -1).all(axis=1)
        open_, points = open_[usable], points[usable]
        if not len(open_):
            break
        proved = (enclose(points, labels[open_]).upper < 0).any(axis=1)  # z_label - z_j < 0 for some j; NaN proves nothing
        # the point is the float x', whatever rounding made it; its distance is that of x' - x, rounded once per entry
        with np.errstate(over="ignore"):
            steps = norms_up(points[proved] - inputs[open_[proved]], norm)
        distance[open_[proved]] = up(steps * (1.0 + 2.0**-50))
        open_ = open_[~proved]
    return distance
