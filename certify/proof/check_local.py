"""Radii from what a network does near single inputs, proved again from the stored boxes, multipliers and modes.

Arrays of the certificate (n inputs, k classes, Z entries of z and G groups of all blocks in the order of `parts.read`; rows of zeros where the method is another):
    local_lower, local_upper (n, Z) float32: increments of every z on a ball of at least the radius around the input;
    local_theta (n, k, 1 + 4 G) float32: multipliers >= 0 of the matrix inequality against each class; local_mode (n, k) int8: 0 the linear bound, 1 the inequality.
Claim, proved for each input with label y and radius r, in exact real arithmetic: z_y > z_j for all j != y on |dx|_p <= r. Steps, each of which refuses by name:
1. every tensor at the input is enclosed (`local_values`), and with it the margins m_j <= z_y - z_j there;
2. block after block, the increments on the ball lie in the stored boxes (`local_boxes`), by lines on the boxes before;
3. mode 0: the backward linear bound of d(z_y - z_j) is above -m_j. Mode 1, l2 only: the matrix of `local_rows` is positive definite for rho >= r^2.
The search that found the arrays is not looked at. Cost per input: a backward pass per block, and one Cholesky factorisation per class of mode 1.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.graph import Graph
from ..core.rounding import down, up
from . import fields
from .ends import Ending
from .local_boxes import Ball, prove_boxes
from .local_rows import KINDS, Rows
from .local_values import LIMIT, Ends, Network, margins

MOST_WORK = 2.0**43  # multiplications per input
_POINTS = 256  # inputs that are enclosed together
_ENTRIES = 1 << 22


def proves(graph: Graph, norm: str, end: Ending, arrays: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """For the places `inputs`: True where the label's logit is the strictly largest on the closed ball of the stored radius; nothing else is returned.

    Args:
        graph: the folded graph; norm: "l2", "linf" or "l1", of the radii; end: the logits; arrays: of the certificate; inputs: int64 places with a radius > 0.
    Raises:
        CertificateError: naming the input and the step that does not hold, or arrays of another shape.
    """
    name, k, n = end.logits.name, end.classes, len(arrays["radii"])
    network = Network(graph, name)
    shapes = {"local_lower": (n, network.entries), "local_upper": (n, network.entries), "local_theta": (n, k, 1 + KINDS * network.groups), "local_mode": (n, k)}
    for key, shape in shapes.items():
        fields.array(arrays, key, ("int8" if key == "local_mode" else "float32",), shape)
    if work(network) > MOST_WORK:
        raise fields.refuse("a network is too large for evidence near single inputs", "methods", f"{work(network):.3g} multiplications per input", f"at most {MOST_WORK:.3g}")
    points = arrays["inputs"].reshape(n, network.reading.input_size)
    step = max(1, min(_POINTS, _ENTRIES // network.width))
    for a in range(0, len(inputs), step):
        some = inputs[a : a + step]
        z, logits = network.at(points[some].astype(np.float64))
        for place, i in enumerate(some.tolist()):
            one = _Input(network, norm, arrays, i, (z[0][place], z[1][place]))
            one.prove(margins(logits, one.label, place))
    return np.ones(len(inputs), bool)


def work(network: Network) -> float:
    """Multiplications of the boxes of one input."""
    before, total = 0.0, 0.0
    for (_, block), into in zip(network.blocks, network.into):
        total += 2.0 * len(block.lo) * before
        before += sum(float(m.mid.size) for m in into.values())
    return total


class _Input:
    """One input and its evidence."""

    def __init__(self, network: Network, norm: str, arrays: dict[str, np.ndarray], i: int, z: Ends):
        self.network, self.norm, self.z, self.where = network, norm, z, f"input {i}"
        self.label, self.radius = int(arrays["labels"][i]), float(arrays["radii"][i])
        self.box = arrays["local_lower"][i].astype(np.float64), arrays["local_upper"][i].astype(np.float64)
        self.theta, self.mode = arrays["local_theta"][i], arrays["local_mode"][i]

    def prove(self, lower: np.ndarray) -> None:
        """lower: (k,) lower ends of the margins at the input."""
        others = np.arange(len(self.mode)) != self.label
        if not (0 < self.radius <= LIMIT and 0 <= self.label < len(self.mode)):
            raise fields.refuse("a radius or label is out of range", self.where, f"{self.radius!r}, label {self.label}")
        if not np.isin(self.mode, (0, 1)).all() or (self.mode[~others] != 0).any():
            raise fields.refuse("a mode of a radius is none", f"arrays/local_mode, {self.where}", self.mode.tolist()[:8], "0 or 1, and 0 for the label")
        if not (np.isfinite(self.theta).all() and (self.theta >= 0).all()):
            raise fields.refuse("a multiplier is negative or not finite", f"arrays/local_theta, {self.where}")
        if self.norm != "l2" and (self.mode != 0).any():
            raise fields.refuse("a matrix inequality proves radii in the l2 norm only", f"arrays/local_mode, {self.where}", self.norm, "l2, or mode 0")
        if not (np.isfinite(self.z[0]).all() and np.isfinite(self.z[1]).all()):
            raise fields.refuse("the pre-activations at an input are not finite", self.where)
        if not (lower[others] > 0).all():  # NaN fails
            j = int(np.argmin((lower > 0) | ~others))
            raise fields.refuse("the label's logit is not proved the largest at an input", f"{self.where}, class {j}", float(lower[j]), "a margin > 0")
        ball = Ball(self.network, self.norm, self.radius)
        prove_boxes(ball, self.z, self.box, f"arrays/local_lower, {self.where}")
        self._by_lines(ball, lower, np.flatnonzero((self.mode == 0) & others))
        self._by_matrices(lower, np.flatnonzero(self.mode == 1))

    def _by_lines(self, ball: Ball, lower: np.ndarray, classes: np.ndarray) -> None:
        if len(classes):
            found = ball.lower(self.network.pair_rows(self.label, classes), len(classes))
            with np.errstate(invalid="ignore"):
                holds = down(found + lower[classes]) > 0
            if not holds.all():
                i = int(np.argmin(holds))
                raise fields.refuse(
                    "a radius is not proved by the linear bound",
                    f"arrays/radii, {self.where}, class {classes[i]}",
                    f"{self.radius!r}: the margin {float(lower[classes[i]])!r} may change by {float(found[i])!r}",
                    "a change above minus the margin",
                )

    def _by_matrices(self, lower: np.ndarray, classes: np.ndarray) -> None:
        if len(classes):
            rows, rho = Rows(self.network, self.z, self.box), float(up(self.radius * self.radius))
            for j in classes.tolist():
                if not (math.isfinite(rho) and rows.holds(self.label, j, float(lower[j]), self.theta[j].astype(np.float64), rho)):
                    raise fields.refuse("a radius is not proved by its matrix inequality", f"arrays/radii, {self.where}, class {j}", self.radius, "M > 0")
