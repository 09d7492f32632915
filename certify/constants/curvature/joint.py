"""One matrix inequality for the whole Hessian: all layers' curvature terms bounded together, against the multipliers of LipSDP.

Claim. Let m = row . N(x), F_l = dm/dphi_l in [F_lo, F_hi] (`gradients`), q+- the majorants of the activations (`majorants`), and for each neuron w q a
quadratic with w q(s) >= -F f''(z) for every F of its range and every z, s = f'(z). Let v = (dx, phi_1, ..., phi_(L-1)), state s_1 = dx, z_l = W_l s_l,
s_(l+1) = H_l s_l + G_l phi_l. If tau >= 0 and
    M = rho E_0 - sum_l sum_i w_i (a z_i^2 + b z_i phi_i - c phi_i^2) + sum_l sum_i tau_i (phi_i - lo_i z_i)(phi_i - hi_i z_i) > 0
(the last layer with the constant q = peak and no multiplier), then Hess m >= -rho I at every x.
Proof. Fix x, a direction dx, and let phi = f'(z) o dz be the derivative of each layer's output along it: the linearised network obeys exactly the
recursion above, with slopes s_i = f'(z_i) in [lo_i, hi_i]. Differentiating the recursion twice gives d^2 m = sum_l sum_i F_i f''(z_i) (dz_i)^2 (Singla and
Feizi 2020), and -F_i f''(z_i) dz_i^2 <= w_i q(s_i) dz_i^2 = w_i (a dz_i^2 + b dz_i phi_i - c phi_i^2). So v'Mv >= 0 reads
0 <= rho |dx|^2 + d^2 m + sum tau_i (s_i - lo_i)(s_i - hi_i) dz_i^2 <= rho |dx|^2 + d^2 m. []
This is the network-wide inequality of LipSDP for the outputs sqrt(w) z_l of all layers at once, hence never above the sum over layers of the separate maxima at the
same multipliers; and w q(s) < w peak says that the curvature of a neuron is large only where its slope is not (softplus: f'' = s (1 - s) exactly).
Choice of w q: F f'' of one sign only: that sign's q; both, with equal q: the larger |F|; else the constant of the larger product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...core.midrad import MidRad
from ...core.posdef import verified_pd
from ...core.rounding import U, down, up
from ..sdp import inequality
from ..sdp.chain import Chain, Layer
from .gradients import Range
from .majorants import Majorant

Pieces = tuple[np.ndarray, np.ndarray, np.ndarray]  # w a, w b, w c per neuron


def weights(f: Range, kinds: tuple[Majorant, Majorant], last: bool) -> Pieces:
    """(w a, w b, w c) of one layer for -F f''; F (n,) ends. Rounded so that the quadratic only grows: z^2, phi^2 >= 0, and z phi >= 0 where b is used (lo >= 0)."""
    plus, minus = kinds
    falling, rising = np.maximum(-f[0], 0.0), np.maximum(f[1], 0.0)  # -F f'' > 0 for F < 0 where f'' > 0, and for F > 0 where f'' < 0
    if plus == minus and not last:
        w = np.maximum(falling, rising)
        return _times(w, plus.a), _times(w, plus.b), _times_down(w, plus.c)
    a = np.maximum(_times(falling, plus.peak), _times(rising, minus.peak))
    b, c = np.zeros_like(a), np.zeros_like(a)
    if not last:
        for w, q, other, much in ((falling, plus, rising, minus.peak), (rising, minus, falling, plus.peak)):
            alone = (w > 0) & (q.peak > 0) & ((other == 0) | (much == 0))
            a, b, c = np.where(alone, _times(w, q.a), a), np.where(alone, _times(w, q.b), b), np.where(alone, _times_down(w, q.c), c)
    return a, b, c


def _times(w: np.ndarray, value: float) -> np.ndarray:
    """Upper ends of w value; 0 exactly where a factor is."""
    return np.where(w > 0, up(w * value), 0.0) if value > 0 else np.zeros_like(w)


def _times_down(w: np.ndarray, value: float) -> np.ndarray:
    return np.maximum(down(w * value), 0.0) if value > 0 else np.zeros_like(w)


class Joint:
    """The inequality of one chain; the chain's slopes are all live (`reduced`)."""

    def __init__(self, chain: Chain):
        self.chain = chain
        self.head = replace(chain, layers=chain.layers[:-1], last=MidRad(np.zeros((1, chain.layers[-1].weight.shape[1]))))
        self.size = chain.input_size + sum(layer.inject.shape[1] for layer in self.head.layers)
        self.rows = _rows(chain)

    def matrix(self, pieces: Sequence[Pieces], taus: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Midpoint (exactly symmetric) and radius of M - rho E_0."""
        mid, rad = (e.copy() for e in inequality.matrix(self.head, taus))
        place = self.chain.input_size
        for (a, b, c), layer, z in zip(pieces, self.chain.layers, self.rows):
            n = z.shape[1]
            before = slice(0, n)
            if a.any():
                _add(mid, rad, before, before, z.T @ z.rows(a), -1.0)
            count = layer.inject.shape[1]
            if b.any() or c.any():
                own = slice(place, place + count)
                half = z.rows(-0.5 * b)
                _add(mid, rad, own, before, half, 1.0)
                _add(mid, rad, before, own, half.T, 1.0)
                _add(mid, rad, own, own, MidRad(np.diag(c)), 1.0)
            place += count
        lower = np.tril(mid)
        return lower + np.tril(mid, -1).T, np.maximum(rad, rad.T)

    def least(self, rhos: Sequence[float], pieces: Sequence[Pieces], taus: list[np.ndarray]) -> float | None:
        """The first rho for which M > 0 is proved; None for none. rho = 0 only if every piece is zero."""
        if not any(p.any() for piece in pieces for p in piece[:2]):
            return 0.0
        if not all(np.isfinite(t).all() and (t >= 0).all() for t in taus):
            return None
        mid, rad = self.matrix(pieces, taus)
        start = np.arange(self.chain.input_size)
        for rho in rhos:
            whole, radius = mid.copy(), rad.copy()
            whole[start, start] += rho
            radius[start, start] = up(rad[start, start] + 2 * U * np.abs(whole[start, start]))
            if rho > 0 and np.isfinite(whole).all() and verified_pd(whole, radius):
                return float(rho)
        return None


def _rows(chain: Chain) -> list[MidRad]:
    """z_l in the coordinates (dx, phi_1, ..., phi_(l-1))."""
    state, rows = MidRad(np.eye(chain.input_size)), []
    for layer in chain.layers:
        rows.append(layer.weight.dense() @ state)
        old = _old(layer, state)
        inject = layer.inject.dense()
        rad = None if old.rad is None and inject.rad is None else np.hstack([old.radius(), inject.radius()])
        state = MidRad(np.hstack([old.mid, inject.mid]), rad)
    return rows


def _old(layer: Layer, state: MidRad) -> MidRad:
    return MidRad(np.zeros((layer.inject.shape[0], state.shape[1]))) if layer.keep is None else layer.keep.dense() @ state


def _add(mid: np.ndarray, rad: np.ndarray, rows: slice, columns: slice, term: MidRad, sign: float) -> None:
    """mid, rad += sign * term on a block; the rounding of the sum goes into the radius."""
    mid[rows, columns] += sign * term.mid
    rad[rows, columns] = up((rad[rows, columns] + term.radius() + 2 * U * np.abs(mid[rows, columns])) * (1 + 8 * U))
