"""The checker's own walk through a controller's graph: what each tensor can be on a stored set, for many steps at once.

A Value stands for z = P(s) + A (E eps) + sum over blocks N_b nu_b + diag(v) nu': S steps at a time, on tensors of `shape`. eps are the symbols of the state, E its
generators (A has one column per state), nu_b symbols of the network shared by every tensor that carries block b, nu' symbols of this tensor alone. All
symbols are in [-1, 1]; v covers roundings and fit errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from certify.core.rounding import TINY, U, gamma, up

from .monomials import Monomials, ranges

Blocks = dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Value:
    """P (S, q, M), A (S, q, n), blocks {id: (S, q, width)}, v (S, q); q the entries of the flattened tensor, `shape` its shape."""

    shape: tuple[int, ...]
    P: np.ndarray
    A: np.ndarray
    blocks: Blocks
    v: np.ndarray


@dataclass(frozen=True, eq=False)
class Sets:
    """What the walk is over: the table of the polynomials, the generators of every step, and |E| 1 (S, n)."""

    table: Monomials
    generators: list[np.ndarray]
    e0: np.ndarray


def sizes(z: Value, sets: Sets) -> np.ndarray:
    """(S, q): upper ends of |P|_1 + |A| e0 + |N| 1 + v, what products and sums of z are rounded relative to."""
    total = np.abs(z.P).sum(-1) + np.einsum("sqn,sn->sq", np.abs(z.A), sets.e0) + z.v
    for block in z.blocks.values():
        total = total + np.abs(block).sum(-1)
    return total * _grow(z, sets)


def _grow(z: Value, sets: Sets) -> float:
    return 1 + 4 * gamma(z.P.shape[-1] + z.A.shape[-1] + sum(b.shape[-1] for b in z.blocks.values()) + 64)


def shared(z: Value, sets: Sets) -> np.ndarray:
    """(S, q): upper ends of |A E| 1 + |N| 1, the deviation on shared symbols."""
    n, total = z.A.shape[-1], np.zeros(z.v.shape)
    for s, E in enumerate(sets.generators):
        total[s] = np.abs(z.A[s] @ E).sum(-1) * (1 + 4 * gamma(E.shape[1] + 8)) if E.shape[1] else 0.0
    total += gamma(n + 2) * np.einsum("sqn,sn->sq", np.abs(z.A), sets.e0)
    for block in z.blocks.values():
        total += np.abs(block).sum(-1)
    return total * _grow(z, sets) + TINY


def bounds(z: Value, sets: Sets, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper), each (S, q): ranges of z, its polynomial part's widened by the deviation and v."""
    s, q, m = z.P.shape
    lower, upper = ranges(sets.table, z.P.reshape(-1, m).T)
    total = up(np.asarray(deviation + z.v))
    return np.nextafter(lower.reshape(s, q) - total, -np.inf), np.nextafter(upper.reshape(s, q) + total, np.inf)


def matrix(z: Value, weight: np.ndarray, bias: np.ndarray | None, sets: Sets, fresh: int, moved: tuple[int, float] = (0, 0.0)) -> Value:
    """W z + b for a vector z; the symbols of z alone become block `fresh`.

    Each float product is within gamma_q |W||z| of the exact one, taken from the entries' sizes; the bias adds one rounding of a sum. `moved` = (k, b): the exact
    weights are within k units in the last place of the stored ones, the exact bias within b (`certify.core.fold`; decimals of a controller's processing).
    """
    q = weight.shape[1]
    size = sizes(z, sets) @ np.abs(weight).T
    v = gamma(q + 2 + 2 * moved[0]) * (size if bias is None else size + np.abs(bias)) + moved[1]
    P = np.matmul(weight, z.P)
    if bias is not None:
        P[..., 0] += bias
    blocks = {key: np.matmul(weight, block) for key, block in z.blocks.items()}
    some = z.v.any(0)
    if some.any():
        blocks[fresh] = weight[:, some] * z.v[:, None, some]
    return Value((len(weight),), P, np.matmul(weight, z.A), blocks, v * (1 + 4 * gamma(q + 16)) + TINY)


def moved(z: Value, index: np.ndarray, shape: tuple[int, ...]) -> Value:
    """The entries `index` of the flattened tensor as a tensor of another shape: slices, transposes and copies."""
    return Value(shape, z.P[:, index], z.A[:, index], {k: b[:, index] for k, b in z.blocks.items()}, z.v[:, index])


def scaled(z: Value, factor: np.ndarray, error: np.ndarray | float, sets: Sets) -> Value:
    """factor * z entrywise, factor (q,) known within error >= 0."""
    size = sizes(z, sets)
    f = factor[:, None]
    v = np.abs(factor) * z.v + (U * np.abs(factor) + error) * size
    return Value(z.shape, z.P * f, z.A * f, {k: b * f for k, b in z.blocks.items()}, v * (1 + 16 * U) + TINY)


def added(a: Value, b: Value, sign: float, sets: Sets) -> Value:
    """a + sign b on the same symbols."""
    blocks = dict(a.blocks)
    for key, block in b.blocks.items():
        blocks[key] = blocks[key] + sign * block if key in blocks else sign * block
    made = Value(a.shape, a.P + sign * b.P, a.A + sign * b.A, blocks, np.zeros(a.v.shape))
    return replace(made, v=(a.v + b.v + U * sizes(made, sets)) * (1 + 16 * U))


def shifted(z: Value, constant: np.ndarray, error: np.ndarray | float = 0.0) -> Value:
    """z + constant (q,), the constant known within error."""
    P = z.P.copy()
    P[..., 0] += constant
    return replace(z, P=P, v=(z.v + U * np.abs(P[..., 0]) + error) * (1 + 4 * U) + TINY)


def promoted(z: Value, fresh: int) -> Value:
    """z with its own symbols as a block: several readers then share them."""
    if not z.v.any():
        return z
    some = z.v.any(0)
    return replace(z, blocks={**z.blocks, fresh: (np.eye(z.v.shape[1])[:, some] * z.v[:, None, some])}, v=np.zeros(z.v.shape))


def joined(parts: list[Value], order: np.ndarray, shape: tuple[int, ...]) -> Value:
    """The parts one after the other, then the entries in the given order."""
    S = len(parts[0].v)
    starts = np.cumsum([0, *(p.v.shape[1] for p in parts)])
    blocks: Blocks = {}
    for i, part in enumerate(parts):
        for key, block in part.blocks.items():
            whole = blocks.setdefault(key, np.zeros((S, starts[-1], block.shape[-1])))
            whole[:, starts[i] : starts[i + 1]] = block
    P, A, v = (np.concatenate([getattr(p, name) for p in parts], 1) for name in ("P", "A", "v"))
    return moved(Value((starts[-1],), P, A, blocks, v), order, shape)


def multiplied(a: Value, b: Value, sets: Sets, product: np.ndarray, lost: np.ndarray) -> Value:
    """(pa + da)(pb + db) = pa pb + mid(pa) db + mid(pb) da + the rest; `product` (S, q, M) is pa pb within `lost` (S, q)."""
    mids, rads, devs = [], [], []
    for z in (a, b):
        s, q, m = z.P.shape
        lower, upper = (e.reshape(s, q) for e in ranges(sets.table, z.P.reshape(-1, m).T))
        mids.append(0.5 * lower + 0.5 * upper)
        rads.append(up(np.asarray(np.maximum(upper - mids[-1], mids[-1] - lower))))
        devs.append(up(np.asarray(shared(z, sets) + z.v)))
    blocks = {key: block * mids[1][..., None] for key, block in a.blocks.items()}
    for key, block in b.blocks.items():
        term = block * mids[0][..., None]
        blocks[key] = blocks[key] + term if key in blocks else term
    A = a.A * mids[1][..., None] + b.A * mids[0][..., None]
    size = np.abs(mids[0]) * sizes(b, sets) + np.abs(mids[1]) * sizes(a, sets)
    v = rads[0] * devs[1] + rads[1] * devs[0] + devs[0] * devs[1] + np.abs(mids[0]) * b.v + np.abs(mids[1]) * a.v + lost + 3 * U * size
    return Value(a.shape, product, A, blocks, v * (1 + 32 * U) + TINY)
