"""The proof layer by layer: metrics that are verified one after the other, for networks too deep or too large for one matrix inequality.

Claim (Theorem 1): S metric of the state s, u >= 0 on the groups, Q = diag(u/r^2) - W S W' > 0  =>  every S+ with
    B = [[ diag(u) - r W S W' r,  r W S K' ], [ K S W' r,  S+ - K S K' - G diag(u) G' ]] > 0,   K = H + G diag(m) W,
is a metric of the next state (W restricted to r > 0; B is the textbook block scaled by r, so that no r^2 is formed). Proof: dphi = m dz + psi with
|psi_g| <= |(r dz)_g|. Write ds = S^(1/2) w, |w| <= |dx_0|. With T = diag(1/u) on the groups, 0 <= sum_g (|r dz|_g^2 - |psi|_g^2)/u_g, so
w'(I - R) w + psi' T psi <= |dx_0|^2, R = S^(1/2) W' r T r W S^(1/2) < I because Q > 0. Hence (w, psi) lies in the ellipsoid with matrix
diag((I - R)^-1, U), and ds+ = K S^(1/2) w + G psi in that with K (S + S W' Q^-1 W S) K' + G U G' (Woodbury), which B > 0 puts below S+ (Schur). []
The stored S+ is a float matrix; a larger metric is a metric, so the candidate fl(S_next) + delta diag may be as large as the proof needs.
Source: methods/network_lipschitz.md, sections 5 and 7; Xu and Sivaranjani 2024 for the layer-wise decomposition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.errors import HypothesisError
from ...core.midrad import MidRad, full
from ...core.posdef import verified_pd
from ...core.rounding import TINY, U, ldexp_up, sqrt_up, up
from .chain import Chain, Layer
from .recursion import ROOM, advance, exponent, feasible, gram

DELTAS = tuple(1e-12 * 4.0**k for k in range(17))


@dataclass(frozen=True, eq=False)
class Metric:
    """|c'ds|^2 <= 4^exponent c'Sc |dx_0|^2 for every c; S exactly symmetric."""

    matrix: np.ndarray
    exponent: int


@dataclass(frozen=True, eq=False)
class Proved:
    """The metrics of the states (the input's first) and what proves them: per layer u relative to the scaled metric before it, and delta."""

    metrics: list[Metric]
    us: list[np.ndarray]
    deltas: list[float]

    @property
    def exponents(self) -> list[int]:
        """k per layer: the metric after it was multiplied by 4^k."""
        return [a.exponent - b.exponent for a, b in zip(self.metrics, self.metrics[1:])]


def prove(chain: Chain, us: list[np.ndarray], room: float = ROOM, exponents: list[int] | None = None) -> Proved:
    """Metrics of all states from multipliers relative to the scaled metrics; infeasible ones are enlarged until they are feasible.

    Args:
        us: per layer, (groups,); those of neurons that leave nothing to search are not looked at.
        exponents: the scaling that us are relative to, per layer; None: that of the metrics as they come.
    Raises:
        HypothesisError: a layer's block could not be verified with any delta.
    """
    metrics, used, deltas, given, moving = [Metric(np.eye(chain.input_size), 0)], [], [], 0, np.ones(chain.input_size, bool)
    for number, (layer, u) in enumerate(zip(chain.layers, us, strict=True)):
        metric, live = metrics[-1], layer.live(moving)
        moving = layer.moved(moving, live)
        part = layer.fixed(live)
        own = np.maximum(u[live], 1e-300) if exponents is None else np.maximum(np.ldexp(u[live], 2 * (given - metric.exponent)), 1e-300)
        scaled = gram(part, metric.matrix)
        own = feasible(part, scaled, own, room)
        following, delta = proved_step(part, metric.matrix, own, advance(part, metric.matrix, own, scaled))
        if following is None:
            raise HypothesisError("a layer of the semidefinite bound could not be verified", where=f"layer {number} ({layer.node})", found="no delta up to 1e-3 was enough")
        k = exponent(following)
        metrics.append(Metric(_scaled(following, k), metric.exponent - k))
        whole = np.full(layer.groups, 1e-13 * float(own.max(initial=1.0)))  # to another program a dropped neuron may move by a rounding error
        whole[live] = own
        used.append(whole)
        deltas.append(delta)
        given -= 0 if exponents is None else exponents[number]
    return Proved(metrics, used, deltas)


def _scaled(metric: np.ndarray, k: int) -> np.ndarray:
    """4^k S, or a matrix above it: entries that fell below the normal range are off by at most 2^-1075 each, which the diagonal then covers."""
    scaled = np.ldexp(metric, 2 * k)
    if (np.ldexp(scaled, -2 * k) != metric).any():
        i = np.arange(len(scaled))
        scaled[i, i] = up(scaled[i, i] + len(scaled) * 2.0**-1073)
    return scaled


def proved_step(layer: Layer, metric: np.ndarray, u: np.ndarray, candidate: np.ndarray) -> tuple[np.ndarray | None, float]:
    """A proved next metric and its delta: four times the first delta of DELTAS for which the block is verified, so that another program can verify it too."""
    block = _Block(layer, metric, u)
    for delta, larger in zip(DELTAS, DELTAS[1:]):
        if block.below(enlarged(candidate, delta)):
            return enlarged(candidate, larger), larger
    return None, math.inf


def enlarged(candidate: np.ndarray, delta: float) -> np.ndarray:
    """candidate + delta diag(candidate), as a float matrix; zeros on the diagonal get the smallest positive share of the largest."""
    d = np.diag(candidate)
    return candidate + np.diag(delta * np.maximum(d, 1e-6 * float(d.max(initial=0.0))) + 2.0**-500)


class _Block:
    """B as midpoint and radius, for several S+."""

    def __init__(self, layer: Layer, metric: np.ndarray, u: np.ndarray):
        s = MidRad(metric)
        inside, outside = layer.spread(u)
        k, w, g = layer.through(), layer.weight.rows(layer.half), layer.inject.dense()
        ws = w @ s
        ks = k @ s
        q, x, y = ws @ w.T, ws @ k.T, ks @ k.T
        z = g @ g.T.rows(outside)
        self.top = np.diag(inside) - full(q.mid)
        self.top_radius = q.radius() + 2 * U * (np.diag(inside) + np.abs(full(q.mid)))
        self.side, self.side_radius = full(x.mid), x.radius()
        self.rest = full(y.mid) + full(z.mid)
        self.rest_radius = y.radius() + z.radius() + 2 * U * (np.abs(full(y.mid)) + np.abs(full(z.mid)))

    def below(self, candidate: np.ndarray) -> bool:
        low = candidate - self.rest
        mid = np.block([[self.top, self.side], [self.side.T, low]])
        low_radius = self.rest_radius + 2 * U * (np.abs(candidate) + np.abs(self.rest))
        rad = np.block([[self.top_radius, self.side_radius], [self.side_radius.T, low_radius]])
        lower = np.tril(mid)
        return verified_pd(lower + np.tril(mid, -1).T, up(np.maximum(rad, rad.T) * (1 + 8 * U)) + TINY)


def row_bound(metric: Metric, row: MidRad) -> float:
    """Upper end of |row ds| / |dx_0|: sqrt(c'Sc) for an enclosed row (1, n)."""
    value = row.dense() @ MidRad(metric.matrix) @ row.dense().T
    square = up(float(value.mid[0, 0]) + float(value.radius()[0, 0]))
    return ldexp_up(sqrt_up(max(square, 0.0)), metric.exponent)


def pair_table(metric: Metric, last: MidRad, room: float = 1.0) -> np.ndarray:
    """Upper ends (k, k), times `room`, of |(c_i - c_j) ds| / |dx_0| for all pairs of rows of `last`; zero diagonal.

    (c_i - c_j)'S(c_i - c_j) = G_ii + G_jj - G_ij - G_ji with G = C S C' enclosed; three roundings of the sum are covered by 4 u of the sizes.
    """
    g = last.dense() @ MidRad(metric.matrix) @ last.dense().T
    d, r = np.diag(g.mid), g.radius()
    sums = d[:, None] + d[None, :] - g.mid - g.mid.T
    slack = np.diag(r)[:, None] + np.diag(r)[None, :] + r + r.T + 4 * U * (np.abs(d)[:, None] + np.abs(d)[None, :] + np.abs(g.mid) + np.abs(g.mid.T))
    square = np.maximum(up(sums + up(slack * (1 + 8 * U))), 0.0)
    found = up(up(np.sqrt(np.maximum(square, square.T))) * room)
    scaled = up(np.ldexp(found, metric.exponent))
    np.fill_diagonal(scaled, 0.0)
    return scaled


def whole_bound(metric: Metric, last: MidRad) -> float:
    """Upper end of |C ds|_2 / |dx_0|: mu I - C S C' > 0."""
    from ...core.posdef import max_eigenvalue_upper, spectral_radius_up

    value = last.dense() @ MidRad(metric.matrix) @ last.dense().T
    lower = np.tril(value.mid)
    radius = np.maximum(value.radius(), value.radius().T)
    asymmetry = up(np.abs(value.mid - value.mid.T))
    mu = max_eigenvalue_upper(lower + np.tril(value.mid, -1).T, radius_norm=spectral_radius_up(up(radius + asymmetry)))
    return ldexp_up(sqrt_up(mu), metric.exponent)
