"""The proof by one matrix inequality: given multipliers, |C dx| <= bound |dx_0| follows from the positive definiteness of one enclosed matrix.

Claim: in the coordinates (dx_0, dphi_1, ..., dphi_k), with rows a_i = phi_i - lo z_i, b_i = phi_i - hi z_i for scalar slopes and phi_g, r z_g for groups,
    M = rho E_0 - Y'Y + sum_i tau_i (a_i b_i' + b_i a_i')/2 + sum_g tau_g (phi_g phi_g' - r^2 z_g z_g') > 0  and tau >= 0  imply  |C dx|^2 <= rho |dx_0|^2.
Proof: a_i(d) b_i(d) <= 0 for the difference d of any two runs, since dphi_i lies between lo dz_i and hi dz_i; likewise |phi_g|^2 <= |r z_g|^2. So
0 <= d'M d <= rho |dx_0|^2 - |C dx|^2. [] Only these diagonal multipliers are used: the coupled ones of the literature are false for increments.
Source: Fazlyab, Robey, Hassani, Morari, Pappas 2019 (LipSDP-Neuron); methods/network_lipschitz.md, sections 5 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.errors import InputError
from ...core.midrad import MidRad
from ...core.posdef import verified_pd
from ...core.rounding import U, down, up
from .chain import Chain, Layer

_LEAST = 2.0**-900  # multipliers and rho stay clear of underflow and overflow


def holds(chain: Chain, bound: float, taus: list[np.ndarray]) -> bool:
    """Whether |C dx| <= bound |dx_0| is proved by these multipliers, one array (groups,) per layer. False: no statement."""
    return least(chain, [bound], taus) is not None


def least(chain: Chain, bounds: Sequence[float], taus: list[np.ndarray]) -> float | None:
    """The first of the bounds for which M > 0 is proved with rho = bound^2 (rounded down); None if for none.

    Cost: N^3 / 3 per bound and once the products that make M, N = inputs + neurons.
    """
    taus = [np.asarray(t, dtype=np.float64) for t in taus]  # in float32 the products below would underflow
    if len(taus) != len(chain.layers) or not all(t.shape == (layer.groups,) for t, layer in zip(taus, chain.layers)):
        raise InputError("multipliers do not fit the chain", found=[np.shape(t) for t in taus], expected=[(layer.groups,) for layer in chain.layers])
    if not all(((t == 0) | ((t >= _LEAST) & (t <= 1.0 / _LEAST))).all() for t in taus):  # NaN fails
        return None
    mid, rad = matrix(chain, taus)
    start = np.arange(chain.input_size)
    for bound in bounds:
        bound = float(bound)
        rho = float(down(bound * bound))
        if not (bound > 0 and _LEAST < rho < 1.0 / _LEAST):
            continue
        whole, radius = mid.copy(), rad.copy()
        whole[start, start] += rho
        radius[start, start] = up(rad[start, start] + U * np.abs(whole[start, start]))
        if verified_pd(whole, radius):
            return bound
    return None


def matrix(chain: Chain, taus: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Midpoint (exactly symmetric) and radius of M - rho E_0."""
    size = chain.input_size + sum(layer.inject.shape[1] for layer in chain.layers)
    total = _Sum(size)
    state, place = MidRad(np.eye(chain.input_size)), chain.input_size
    for layer, tau in zip(chain.layers, taus, strict=True):
        z = layer.weight.dense() @ state
        _block(total, layer, tau, z, place)
        count = layer.inject.shape[1]
        old = MidRad(np.zeros((layer.inject.shape[0], place))) if layer.keep is None else layer.keep.dense() @ state
        state = _beside(old, layer.inject.dense())
        place += count
    y = chain.last.dense() @ state
    total.add(slice(None), slice(None), y.T @ y, -1.0)
    return total.symmetric()


def _block(total: _Sum, layer: Layer, tau: np.ndarray, z: MidRad, place: int) -> None:
    """The terms of one layer; z in the coordinates before `place`."""
    inside, outside = layer.spread(tau)
    count = layer.inject.shape[1]
    own, before = slice(place, place + count), slice(0, place)
    total.add(own, own, MidRad(np.diag(outside)), 1.0)
    # What is left out is decided on the slopes themselves, never on a product of floats: one that underflows is not zero.
    if layer.inside is not None:
        if layer.half.any():
            reach = z.rows(layer.half)
            total.add(before, before, reach.T @ reach.rows(inside), -1.0)
        return
    low, high = z.rows(layer.lo), z.rows(layer.hi)
    if (layer.lo != -layer.hi).any():
        cross = (low + high).rows(0.5 * inside)  # exact: `least` refuses multipliers next to the smallest floats
        total.add(own, before, cross, -1.0)
        total.add(before, own, cross.T, -1.0)
    if ((layer.lo != 0) & (layer.hi != 0)).any():
        product = low.T @ high.rows(inside)
        total.add(before, before, MidRad(product.mid * 0.5, product.rad), 1.0)
        total.add(before, before, MidRad(product.mid.T * 0.5, product.T.rad), 1.0)


class _Sum:
    """A sum of enclosed blocks; each addition's rounding goes into the radius."""

    def __init__(self, size: int):
        self.mid, self.rad = np.zeros((size, size)), np.zeros((size, size))

    def add(self, rows: slice, columns: slice, term: MidRad, sign: float) -> None:
        mid = self.mid[rows, columns] + sign * term.mid
        self.rad[rows, columns] = up((self.rad[rows, columns] + term.radius() + U * np.abs(mid)) * (1 + 8 * U))
        self.mid[rows, columns] = mid

    def symmetric(self) -> tuple[np.ndarray, np.ndarray]:
        """The true matrix is symmetric: one triangle, mirrored, with the larger radius."""
        lower = np.tril(self.mid)
        return lower + np.tril(self.mid, -1).T, np.maximum(self.rad, self.rad.T)


def _beside(a: MidRad, b: MidRad) -> MidRad:
    rad = None if a.rad is None and b.rad is None else np.hstack([a.radius(), b.radius()])
    return MidRad(np.hstack([a.mid, b.mid]), rad)
