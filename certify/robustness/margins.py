"""Margins and radii: how far apart the logits provably are, and how far the input may move before that is used up.

Throughout p is the norm of the input space, q its dual (1/p + 1/q = 1), and every tensor of the network is measured in p.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rounding import TINY, add_up, down, dual_norm, gamma, mul_up, norms_up, sqrt_up, up
from .heads import LastLayer

# The checker evaluates the network by its own code, so its enclosure of a margin differs from ours by up to the sum of both error
# bounds. Ours is widened four times and the radius cut by 2^-40, so that a true certificate is never refused.
ROOM = 4.0
SHRINK = 1.0 - 2.0**-40


def gap_factor(norm: str) -> float:
    """Upper end of c_p = sup |(e_i - e_j).v| over |v|_p <= 1: sqrt 2 (l2), 2 (linf), 1 (l1), the factor of the global bound.

    Proof: |v_i - v_j| <= |e_i - e_j|_q |v|_p by Hölder, and |e_i - e_j|_q is sqrt 2 for q = 2, 2 for q = 1 (p = linf) and 1 for
    q = inf (p = l1). In l1 directly: |v_i - v_j| <= |v_i| + |v_j| <= |v|_1. Each is attained. []

    Source: l2, Tsuzuku, Sato, Sugiyama 2018, Proposition 1.

    >>> gap_factor("linf"), gap_factor("l1")
    (2.0, 1.0)
    """
    return {"l2": sqrt_up(2.0), "linf": 2.0, "l1": 1.0}[norm]


class PairNorms:
    """Upper ends of |w_i - w_j|_q for the rows w of the last layer, one row i at a time and kept (k numbers each).

    Claim: `rows(i)[j] >= |w_i - w_j|_q`, and it is 0 exactly if the two rows are equal and known exactly: the logits i and j then
    differ by a constant, no input changes their order, and only the margin decides.
    """

    def __init__(self, last: LastLayer, norm: str):
        self.last, self._dual = last, dual_norm(norm)
        self.row_norms = norms_up(last.weight, self._dual)
        self._rows: dict[int, np.ndarray] = {}

    def rows(self, classes: np.ndarray) -> np.ndarray:
        """(n, k) upper ends for the classes (n,)."""
        unique, place = np.unique(classes, return_inverse=True)
        return np.stack([self._row(int(i)) for i in unique])[place.reshape(-1)]

    def constants(self, classes: np.ndarray, backbone: float) -> np.ndarray:
        """(n, k) upper ends of L_cj = |w_c - w_j|_q * backbone; 0 for equal rows, whatever the backbone."""
        rows = self.rows(classes)
        with np.errstate(all="ignore"):
            return np.where(rows == 0, 0.0, up(rows * backbone))

    def _row(self, i: int) -> np.ndarray:
        if i not in self._rows:
            with np.errstate(all="ignore"):  # an overflow gives an infinite constant, hence radius 0
                difference = self.last.weight - self.last.weight[i]
                equal = ~difference.any(axis=1)  # x - y = 0 only for x = y: gradual underflow, probed by require_ieee
                norms = up(norms_up(difference, self._dual) * (1.0 + 2.0**-50))  # each difference was rounded once
                if self.last.perturbation:  # weights known to a relative error only
                    norms = up(norms + up(2.0 * self.last.perturbation * up(self.row_norms + self.row_norms[i])))
                    equal = np.arange(len(norms)) == i
                self._rows[i] = np.where(equal, 0.0, norms)
        return self._rows[i]


@dataclass(frozen=True, eq=False)
class Margins:
    """Both ends (n, k) of z_c - z_j in exact real arithmetic, NaN where nothing is known, and the float logits (n, k) between them."""

    logits: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def margin_enclosure(values: np.ndarray, errors: np.ndarray, classes: np.ndarray, norm: str, pairs: PairNorms | None) -> Margins:
    """Enclose z_c - z_j for the class c of each input and every j.

    With a last layer W the margin is (w_c - w_j).a + b_c - b_j; the computed features â satisfy |â - a|_p <= e. Then
      |computed - exact| <= |w_c - w_j|_q e + 2 (gamma(m+2) + 2 slack) (max_i |w_i|_q |â|_p + |b|_inf) + 2 |moved b| + tiny
    (rounding.md 2, network_lipschitz.md 11); without one, c_p e. The error is taken ROOM times; a logit that overflowed gives NaN at both ends, which proves nothing.

    Args:
        values, errors: the output of `Head.body` as computed, (n, m), and its p-norm errors, (n,).
        classes: (n,) the class whose margin is asked for.
        pairs: of the last layer; None where `values` are the logits themselves.
    Cost: one product with W.
    """
    count = len(values)
    with np.errstate(all="ignore"):
        if pairs is None:
            logits = values
            error = np.repeat(up(gap_factor(norm) * ROOM * errors)[:, None], values.shape[1], axis=1)
        else:
            last = pairs.last
            logits = values @ last.weight.T + last.bias
            share = add_up(gamma(last.weight.shape[1] + 2), mul_up(2.0, last.perturbation))
            size = up(up(float(pairs.row_norms.max()) * norms_up(np.where(np.isnan(values), np.inf, values), norm)) + float(np.abs(last.bias).max()))
            rounding = up(up(2.0 * ROOM * share * size) + up(2.0 * ROOM * last.bias_perturbation + TINY))
            error = up(ROOM * up(pairs.rows(classes) * errors[:, None]) + rounding[:, None])
        gap = logits[np.arange(count), classes][:, None] - logits
        known = np.isfinite(logits).all(axis=1, keepdims=True) & (error >= 0)
        lower = np.where(known, down(down(gap) - error), np.nan)
        upper = np.where(known, up(up(gap) + error), np.nan)
    return Margins(logits, lower, upper)


def radii_from_margins(lower: np.ndarray, constants: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """r = min over j != c of lower_j / constants_j, rounded down and cut by 2^-40; 0 unless every margin is proved positive.

    Claim: if z_c - z_j >= lower_j at x and z_c - z_j, as a function of the input, has the Lipschitz constant constants_j, for all
    j != c, then z_c > z_j at x + d for every |d|_p < r and every j. The ball is open. A constant 0 means that the difference never changes: with a proved positive margin the
    quotient is infinite, without one it is 0; so r is infinite only if no other class can ever win, and there is no 0/0.

    Args:
        lower: (n, k) lower ends of the margins; NaN proves nothing.
        constants: (n, k) or scalar, upper ends >= 0; NaN proves nothing.
        classes: (n,) whose own column is left out.
    """
    with np.errstate(all="ignore"):
        proved = (lower > 0) & (constants >= 0)  # both are False for NaN
        quotient = np.maximum(down(down(lower / constants) * SHRINK), 0.0)
        radius = np.where(proved, np.where(constants == 0, np.inf, quotient), 0.0)
    radius[np.arange(len(lower)), classes] = np.inf
    return radius.min(axis=1)


def global_constant(norm: str, lipschitz: float) -> float:
    """Upper end of c_p L: the constant of every difference of two logits, from that of the whole network."""
    return mul_up(gap_factor(norm), lipschitz)
