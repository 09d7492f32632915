"""The covariance recursion in floats: metrics carried through a chain, the closed forms, and multipliers made feasible. Search: proves nothing.

A metric of a tensor t is S >= 0 with |c'dt|^2 <= c'Sc |dx_0|^2 for all c. With multipliers u > 0 and Q = diag(u / r^2) - W S W' > 0,
    S_next = K (S + S W' Q^-1 W S) K' + G diag(u) G',   K = H + G diag(m) W,   is a metric of the next state   (Theorem 1; proof in `layers`).
u / r^2 = 2 lambda_max(W S W') 1 is the closed form of ECLipsE-Fast (Xu and Sivaranjani 2024); u_i proportional to (W S W')_ii is another, better on wide random nets and
worse on most trained ones (`best_closed_form` takes the better).
Metrics are kept scaled: after each layer S is multiplied by 4^k with k from its mean diagonal, so that fifty layers do not overflow.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg as sl

from ...core.midrad import full
from .chain import Chain, Layer

ROOM = 1e-6  # relative distance of u from infeasibility


def exponent(metric: np.ndarray) -> int:
    """k with the mean diagonal of 4^k S in [1, 4); 0 for a zero metric."""
    mean = float(np.trace(metric)) / max(1, len(metric))
    return -math.floor(math.log2(mean) / 2) if 0 < mean < math.inf else 0


def top(a: np.ndarray) -> float:
    """About the largest eigenvalue of a symmetric matrix."""
    n = len(a)
    if not n:
        return 0.0
    try:
        return float(sl.eigvalsh(a, subset_by_index=[n - 1, n - 1])[0])
    except np.linalg.LinAlgError:  # the quick routine gives up on some tiny or clustered spectra
        return float(np.linalg.eigvalsh(a)[-1])


def gram(layer: Layer, metric: np.ndarray) -> np.ndarray:
    """W S W' with the slopes' half widths on both sides: r W S W' r."""
    z = layer.half[:, None] * full(layer.weight.mid @ metric)
    g = full((layer.weight.mid @ z.T).T) * layer.half
    return 0.5 * (g + g.T)


def feasible(layer: Layer, scaled: np.ndarray, u: np.ndarray, room: float = ROOM) -> np.ndarray:
    """u enlarged by one factor until diag(u) - r W S W' r is positive definite with relative room: the repair of any multipliers."""
    if not len(u):
        return u
    s = 1.0 / np.sqrt(layer.spread(u)[0])
    return u * max(1.0, top(s[:, None] * scaled * s) * (1.0 + room))


def proportional(layer: Layer, scaled: np.ndarray, uniform: bool = False) -> np.ndarray:
    """The shape of the closed forms: the largest diagonal entry of each group, floored at 1e-6 of the largest (near-dead neurons); or one."""
    if uniform:
        return np.ones(layer.groups)
    d = np.diag(scaled)
    if layer.weight.rad is not None:  # a row that is 0 up to rounding moves by its radius
        d = d + 1e4 * (layer.half * np.linalg.norm(layer.weight.radius(), axis=1)) ** 2 * np.sqrt(layer.weight.shape[1])
    d = np.maximum(d, max(1e-6 * float(d.max(initial=0.0)), 1e-100))
    if layer.inside is None:
        return d
    most = np.zeros(layer.groups)
    np.maximum.at(most, layer.inside, d)
    return most


def advance(layer: Layer, metric: np.ndarray, u: np.ndarray, scaled: np.ndarray | None = None) -> np.ndarray:
    """The next metric, not rescaled, for feasible u."""
    if not layer.groups:
        nxt = full(layer.through().mid @ full(layer.through().mid @ metric).T)
        return 0.5 * (nxt + nxt.T)
    scaled = gram(layer, metric) if scaled is None else scaled
    inside, outside = layer.spread(u)
    ks = full(layer.through().mid @ metric)
    wk = layer.half[:, None] * full(layer.weight.mid @ ks.T)
    root = sl.cholesky(np.diag(inside) - scaled, lower=True)
    k = sl.solve_triangular(root, wk, lower=True)
    g = full(layer.inject.mid)
    nxt = full(layer.through().mid @ ks.T) + k.T @ k + (g * outside) @ g.T
    return 0.5 * (nxt + nxt.T)


def closed_form(chain: Chain, uniform: bool = False, factor: float = 2.0) -> tuple[list[np.ndarray], list[int], np.ndarray]:
    """(u per layer, relative to the scaled metrics; exponents; the last scaled metric)."""
    metric, us, exponents = np.eye(chain.input_size), [], []
    for layer in chain.layers:
        scaled = gram(layer, metric)
        d = proportional(layer, scaled, uniform)
        s = 1.0 / np.sqrt(layer.spread(d)[0])
        largest = top(s[:, None] * scaled * s)
        u = factor * (largest if largest > 1e-100 else 1.0) * d
        metric = advance(layer, metric, u, scaled)
        k = exponent(metric)
        metric = np.ldexp(metric, 2 * k)
        us.append(u)
        exponents.append(k)
    return us, exponents, metric


def best_closed_form(chain: Chain) -> tuple[list[np.ndarray], list[int], np.ndarray]:
    """The closed form, of the two, that gives the last rows of the chain the smaller bound."""
    found = [closed_form(chain), closed_form(chain, uniform=True)]
    c = full(chain.last.mid)

    def size(form: tuple[list[np.ndarray], list[int], np.ndarray]) -> float:
        value = top(c @ form[2] @ c.T)
        return math.log2(value) / 2 - sum(form[1]) if value > 0 else -math.inf

    return min(found, key=size)


def absolute(us: list[np.ndarray], exponents: list[int]) -> list[np.ndarray]:
    """Multipliers for the unscaled metrics."""
    total, found = 0, []
    for u, k in zip(us, exponents, strict=True):
        found.append(np.ldexp(u, -2 * total))
        total += k
    return found


def value(chain: Chain, us: list[np.ndarray], exponents: list[int]) -> float:
    """The bound in floats that these multipliers give (u as they are: they must be feasible)."""
    metric = np.eye(chain.input_size)
    for layer, u, k in zip(chain.layers, us, exponents, strict=True):
        metric = np.ldexp(advance(layer, metric, u), 2 * k)
    c = full(chain.last.mid)
    return math.ldexp(math.sqrt(top(c @ metric @ c.T)), -sum(exponents))
