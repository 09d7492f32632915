"""Layer by layer: metrics of stacked states, carried through the blocks and verified one after the other.

A metric of a state s is S with |c'ds|^2 <= 4^e c'Sc |dx_0|^2 for all c and any two runs. Claim: S a metric, dz = W ds, dphi = m dz + psi, |psi_g| <= |(r dz)_g|,
ds+ = H ds + G dphi, K = H + G m W, u > 0 on the groups, and
    B = [[ diag(u) - (rW) S (rW)',  (rW) S K' ], [ K S (rW)',  S+ - K S K' - G diag(u) G' ]] > 0
make S+ a metric of s+ (same e). Proof: ds = S^(1/2) w with |w| <= |dx_0| (scaled by 2^e), 0 <= sum_g (|r dz|_g^2 - |psi|_g^2)/u_g, so (w, psi) lies in the ellipsoid
|w|^2 - |U^(-1/2) r W S^(1/2) w|^2 + |U^(-1/2) psi|^2 <= |dx_0|^2, positive definite since the corner of B is. c'ds+ = c'K S^(1/2) w + c'G psi has the
square c'(K S K' + K S (rW)' Q^-1 (rW) S K' + G U G')c at most (Woodbury), Q the corner, and B > 0 says that this is below c'S+c (Schur). []
Whatever S+ is: the checker takes its own float matrix, enlarged by the stored delta of its diagonal, and proves B > 0 with every radius.
Source: methods/network_lipschitz.md, sections 5 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.midrad import MidRad, full
from ..core.posdef import verified_pd
from ..core.rounding import TINY, U, down, gamma, up
from . import fields
from .chain import Values, part_of_rows, plus, scaled_rows, symmetric
from .parts import Block, Reading

LARGEST = 7500  # rows of B: 450 MB an array
_TRIES = 6
_PAIR_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Metric:
    """Of the whole output tensor: |c'dy|^2 <= 4^exponent c'(last S last')c |dx_0|^2."""

    matrix: np.ndarray
    exponent: int
    last: MidRad


def carried(reading: Reading, u: np.ndarray, exponents: list[int], deltas: list[float], states: list[list[str]]) -> Metric:
    """The metric of the last state.

    Args:
        u: (groups of all blocks,), relative to the metrics scaled so far; not looked at where there is nothing to search (r = 0, or z exactly constant).
        exponents, deltas, states: one per block.
    Raises:
        CertificateError: a state from which something later does not follow, a size beyond the limits, or a block that is not positive definite.
    """
    blocks = reading.blocks
    if not len(blocks) == len(exponents) == len(deltas) == len(states):
        raise fields.refuse("the evidence is not about the blocks of this network", "proofs", f"{len(exponents)}, {len(deltas)}, {len(states)}", f"{len(blocks)} blocks")
    if u.shape != (sum(block.groups for _, block in blocks),) or not (np.isfinite(u).all() and (u >= 0).all()):
        raise fields.refuse("the multipliers are not one finite number >= 0 per group", "proofs", u.shape, f"{sum(block.groups for _, block in blocks)} groups")
    _sizes(reading, states)
    state, metric, total, first = [reading.input], np.eye(reading.input_size), 0, 0
    reach = np.ones(reading.input_size, bool)
    for (name, block), k, delta, after in zip(blocks, exponents, deltas, states, strict=True):
        values = Values(reading, state)
        weight = values.beside(block.before, state)
        values.add_source(name)
        rows = [values.beside(t, [*state, name]) for t in after]
        mid = np.vstack([r.mid for r in rows])
        rad = None if all(r.rad is None for r in rows) else np.vstack([r.radius() for r in rows])
        split = weight.shape[1]
        keep, inject = MidRad(mid[:, :split], None if rad is None else rad[:, :split]), MidRad(mid[:, split:], None if rad is None else rad[:, split:])
        following = _step(block, weight, inject, keep, metric, u[first : first + block.groups], delta, reach)
        if following is None:
            raise fields.refuse("a layer's metric is not proved", f"proofs, block {name}", f"delta {delta!r}", "B > 0; wrong multipliers, exponents or states, or another model")
        (found, reach), state, total, first = following, after, total - k, first + block.groups
        metric = _scaled(found, k)
    return Metric(metric, total, Values(reading, state).beside(reading.output, state))


def _sizes(reading: Reading, states: list[list[str]]) -> None:
    """Refuse states that are not tensors, or matrices beyond LARGEST, before anything is allocated."""
    before = reading.input_size
    for (name, block), state in zip(reading.blocks, states, strict=True):
        for t in state:
            if t != reading.input and t not in reading.parts:
                raise fields.refuse("a state names a tensor that the network does not have", "proofs.states", t)
        if len(set(state)) != len(state) or not state:
            raise fields.refuse("a state names a tensor twice, or none", "proofs.states", state)
        after = sum(reading.size(t) for t in state)
        if max(len(block.lo) + after, before) > LARGEST:
            raise fields.refuse("a layer's metric is too large for the checker", f"proofs, block {name}", f"{len(block.lo) + after} rows", f"at most {LARGEST}")
        before = after


def _step(block: Block, weight: MidRad, inject: MidRad, keep: MidRad, metric: np.ndarray, u: np.ndarray, delta: float, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A proved next metric, not scaled, and which entries of the next state can move at all, given those of this one; None if there is none."""
    moves, kept = _reached(weight, reach), _reached(keep, reach)
    if block.inside is None or block.outside is None:
        middle = np.where(block.lo < block.hi, 0.5 * block.lo + 0.5 * block.hi, block.lo)
        half = up(np.maximum(up(block.hi - middle), up(middle - block.lo)))  # around this very float; exact in the cases that matter:
        half = np.where((block.lo == 0) & (2.0 * middle == block.hi), middle, np.where(block.lo == -block.hi, block.hi, half))
        half = np.where(block.lo < block.hi, half, 0.0)
        keep = plus(keep, inject @ scaled_rows(weight, middle)) if middle.any() else keep
        live = phi = moves & (half > 0)
        follows = moves & (middle != 0)
        own = lifted = u[live]
    else:
        half, live = block.hi, moves & (block.hi > 0)
        phi = np.bincount(block.inside, live, block.groups)[block.outside] > 0
        follows = np.zeros(len(phi), bool)
        own, lifted = u[block.inside[live]], u[block.outside[phi]]
    after = kept | _reached(inject, phi | follows if len(phi) == len(follows) else phi)
    if not ((own > 0).all() and (lifted > 0).all()):
        return None
    z = scaled_rows(part_of_rows(weight, np.flatnonzero(live)), half[live])
    g = MidRad(inject.mid[:, phi], None if inject.rad is None else inject.rad[:, phi])
    s = MidRad(metric)
    zs, ks = z @ s, keep @ s
    spread = scaled_rows(g.T, lifted)  # diag(u) G'
    corner = symmetric(zs @ z.T)
    corner = MidRad(np.diag(own) - corner.mid, up(corner.radius() + U * np.abs(np.diag(own) - corner.mid)))
    side, inner, outer = zs @ keep.T, symmetric(ks @ keep.T), symmetric(g @ spread)
    rest = symmetric(plus(inner, outer))
    candidate = rest.mid + _correction(corner.mid, side.mid)
    found = _proved(corner, side, rest, 0.5 * (candidate + candidate.T), delta)
    return None if found is None else (found, after)


def _reached(matrix: MidRad, columns: np.ndarray) -> np.ndarray:
    """Which rows have an entry, within its radius, that may differ from 0 in one of the columns."""
    return (np.abs(full(matrix.mid))[:, columns].max(axis=1, initial=0.0) > 0) | (matrix.radius()[:, columns].max(axis=1, initial=0.0) > 0)


def _correction(q: np.ndarray, side: np.ndarray) -> np.ndarray:
    """side' Q^-1 side in floats: a guess, like all of the candidate. Through the factor, so that an ill-conditioned Q gives no negative squares."""
    try:
        half = np.linalg.solve(np.linalg.cholesky(q), side) if len(q) else side
    except np.linalg.LinAlgError:
        return np.zeros((side.shape[1], side.shape[1]))  # Q is not positive definite: B will not be either
    return half.T @ half


def _proved(corner: MidRad, side: MidRad, rest: MidRad, candidate: np.ndarray, delta: float) -> np.ndarray | None:
    """The candidate enlarged by delta, or by a little more where this program's rounding asks for it, with B > 0 verified."""
    n = len(corner.mid)
    mid, rad = np.empty((n + len(candidate),) * 2), np.empty((n + len(candidate),) * 2)
    mid[:n, :n], rad[:n, :n] = corner.mid, corner.radius()
    mid[:n, n:], rad[:n, n:] = side.mid, side.radius()
    mid[n:, :n], rad[n:, :n] = side.mid.T, side.radius().T
    diagonal = np.maximum(np.diag(candidate), 1e-6 * float(np.diag(candidate).max(initial=0.0)))
    for _ in range(_TRIES):
        enlarged = candidate + np.diag(delta * diagonal + 2.0**-500)
        low = enlarged - rest.mid
        mid[n:, n:], rad[n:, n:] = low, up(rest.radius() + U * np.abs(low))
        if verified_pd(mid, rad):
            return enlarged
        delta = 4.0 * max(delta, 2.0**-42)
    return None


def _scaled(metric: np.ndarray, k: int) -> np.ndarray:
    """4^k S, or a little more where entries are lost below the smallest float."""
    with np.errstate(over="ignore"):
        scaled = np.ldexp(metric, 2 * k)
    if not np.isfinite(scaled).all():
        raise fields.refuse("an exponent scales a metric out of the range of floats", "proofs.exponents", k)
    if (np.ldexp(scaled, -2 * k) != metric).any():
        scaled[np.diag_indices(len(scaled))] = up(np.diag(scaled) + len(scaled) * TINY)
    return scaled


def output_gram(metric: Metric) -> MidRad:
    """C S C', enclosed."""
    return symmetric(metric.last @ MidRad(metric.matrix) @ metric.last.T)


def scaled_down(bound: np.ndarray | float, exponent: int) -> np.ndarray:
    """A lower end of 2^-exponent bound."""
    value = np.ldexp(np.asarray(bound, dtype=np.float64), -exponent)
    return np.where(np.ldexp(value, exponent) == bound, value, np.maximum(down(value), 0.0))


def whole_below(metric: Metric, gram: MidRad, bound: float) -> bool:
    """True only if |dy| <= bound |dx_0| is proved: mu I - C S C' > 0 with mu <= (2^-exponent bound)^2."""
    with np.errstate(over="ignore"):
        mu = float(down(np.square(scaled_down(bound, metric.exponent))))
    if not (0 < bound < np.inf and 0 < mu < np.inf):
        return False
    mid = np.diag(np.full(len(gram.mid), mu)) - gram.mid
    return verified_pd(mid, up(gram.radius() + U * np.abs(mid)))


def pairs_below(metric: Metric, gram: MidRad, bounds: np.ndarray) -> np.ndarray:
    """(k, k) True only where |d(y_i - y_j)| <= bounds[i, j] |dx_0| is proved; the diagonal is always."""
    with np.errstate(over="ignore"):
        limit = down(np.square(scaled_down(bounds, metric.exponent)))
        d, rad = np.diag(gram.mid), np.diag(gram.radius())
        sums = up(up(up(d + rad)[:, None] + up(d + rad)[None, :]) + up(2.0 * up(gram.radius() - gram.mid)))
        proved = (sums <= limit) | np.eye(len(d), dtype=bool)
        rows, columns = np.nonzero(np.triu(~proved))  # cancellation, or false: once more by the rows themselves
        step = max(1, _PAIR_ENTRIES // max(1, metric.last.shape[1]))
        radius = metric.last.radius()
        for a in range(0, len(rows), step):
            i, j = rows[a : a + step], columns[a : a + step]
            mid = metric.last.mid[i] - metric.last.mid[j]
            difference = MidRad(mid, up(up(radius[i] + radius[j]) + U * np.abs(mid)))
            product = difference @ MidRad(metric.matrix)
            value = _row_products(product, difference)
            proved[i, j] = proved[j, i] = value <= limit[i, j]
    return proved


def _row_products(a: MidRad, b: MidRad) -> np.ndarray:
    """Upper ends of the inner products of the rows of a with those of b: n products each, gamma_n |a||b| and both radii."""
    n = a.shape[1]
    mid = np.einsum("ij,ij->i", a.mid, b.mid)
    size_a, size_b = np.abs(a.mid), np.abs(b.mid)
    radius = gamma(n + 4) * np.einsum("ij,ij->i", size_a, size_b) + np.einsum("ij,ij->i", size_a, b.radius()) + np.einsum("ij,ij->i", a.radius(), size_b + b.radius())
    return up(mid + (up(radius * (1 + 4 * gamma(n + 8))) + TINY))
