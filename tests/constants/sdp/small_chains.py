"""Small chains with everything a layer may have, and constants that no valid proof about them may go below."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from certify.constants.sdp.layer import Chain, Layer
from certify.core.midrad import MidRad, full

SLOPES = [(0.0, 1.0), (-0.7, 1.0), (0.25, 0.25), (-1.0, 1.0), (0.0, 0.0), (0.1, 0.9), (-1.0, 0.0), (-0.3, -0.1), (0.0, 1.1289)]


def scalar(weight, inject, lo=0.0, hi=1.0, keep=None, group: bool = False) -> Layer:
    """A layer of plain matrices, one slope range for all entries, or one group for all."""
    weight, inject = np.atleast_2d(np.array(weight, float)), np.atleast_2d(np.array(inject, float))
    n = len(weight)
    one = (np.zeros(n, np.int64), np.zeros(inject.shape[1], np.int64)) if group else (None, None)
    keep = None if keep is None else MidRad(np.atleast_2d(np.array(keep, float)))
    return Layer(MidRad(weight), MidRad(inject), keep, np.full(n, float(lo)), np.full(n, float(hi)), *one)


def chain(layers, last) -> Chain:
    return Chain(layers[0].weight.shape[1], tuple(layers), MidRad(np.atleast_2d(np.array(last, float))))


def random_chain(rng: np.random.Generator, depth: int = 2, radius: bool = False, scale: float = 1.0, groups: bool = True) -> Chain:
    """Scalar slopes of every kind, groups with different numbers of z and phi, with and without a residual; `radius`: enclosed weights."""

    def enclosed(a: np.ndarray) -> MidRad:
        return MidRad(a, np.abs(a) * 1e-9 if radius else None)

    size, layers = int(rng.integers(1, 4)), []
    first = size
    for _ in range(depth):
        z, after = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        weight = enclosed(rng.normal(size=(z, size)) * scale)
        keep = enclosed(rng.normal(size=(after, size))) if rng.random() < 0.5 else None
        if groups and rng.random() < 0.4:
            count = int(rng.integers(1, z + 1))
            inside = np.concatenate([np.arange(count), rng.integers(0, count, z - count)]).astype(np.int64)
            outside = np.concatenate([np.arange(count), rng.integers(0, count, int(rng.integers(0, 3)))]).astype(np.int64)
            c = np.full(z, float(rng.choice([1.0, 0.5, 0.3])))
            layers.append(Layer(weight, enclosed(rng.normal(size=(after, len(outside)))), keep, -c, c, inside, outside))
        else:
            lo, hi = np.array([SLOPES[int(i)] for i in rng.integers(0, len(SLOPES), z)]).T
            layers.append(Layer(weight, enclosed(rng.normal(size=(after, z))), keep, lo, hi))
        size = after
    return Chain(first, tuple(layers), enclosed(rng.normal(size=(int(rng.integers(1, 3)), size))))


def slope_matrices(layer: Layer, rng: np.random.Generator, count: int):
    """Maps dz -> dphi that the layer allows: extreme slopes, or contractions of the groups."""
    if layer.inside is None:
        ends = (
            list(itertools.product(*zip(layer.lo, layer.hi)))
            if 2 ** len(layer.lo) <= count
            else [np.where(rng.random(len(layer.lo)) < 0.5, layer.lo, layer.hi) for _ in range(count)]
        )
        return [np.diag(np.array(e)) for e in ends]
    found = []
    for _ in range(count):
        m = np.zeros((len(layer.outside), len(layer.inside)))
        for g in range(layer.groups):
            i, o = np.flatnonzero(layer.inside == g), np.flatnonzero(layer.outside == g)
            q = rng.normal(size=(len(o), len(i))) if rng.random() < 0.5 else np.outer(rng.normal(size=len(o)), rng.normal(size=len(i)))
            u, s, v = np.linalg.svd(q, full_matrices=False)
            m[np.ix_(o, i)] = (u * (s > 0)) @ v * layer.hi[i[0]]
        found.append(m)
    return found


def floor(c: Chain, rng: np.random.Generator, count: int = 40) -> float:
    """The largest gain of maps that the chain allows: a lower end of every constant that may be proved."""
    best = 0.0
    choices = [slope_matrices(layer, rng, 8) for layer in c.layers]
    for picked in itertools.islice(itertools.product(*choices), 0, None, max(1, int(np.prod([len(x) for x in choices])) // count)):
        state = np.eye(c.input_size)
        for layer, m in zip(c.layers, picked, strict=True):
            after = full(layer.inject.mid) @ m @ full(layer.weight.mid) @ state
            state = after if layer.keep is None else after + full(layer.keep.mid) @ state
        best = max(best, float(np.linalg.norm(full(c.last.mid) @ state, 2)))
    return best


def rational(a: np.ndarray) -> np.ndarray:
    return np.vectorize(Fraction, otypes=[object])(np.asarray(a, float)) if np.size(a) else np.zeros(np.shape(a), object)


def exact_inequality(c: Chain, taus, member=lambda a: rational(full(a.mid))) -> np.ndarray:
    """M - rho E_0 in rationals, from the statement: sums of tau (phi - lo z)(phi - hi z)' and tau (phi phi' - r^2 z z') less Y'Y."""
    size = c.input_size + sum(layer.inject.shape[1] for layer in c.layers)
    total, state, place = rational(np.zeros((size, size))), rational(np.eye(c.input_size, size)), c.input_size
    for layer, tau in zip(c.layers, taus, strict=True):
        z, n = member(layer.weight) @ state, layer.inject.shape[1]
        phi = rational(np.eye(n, size, place))
        if layer.inside is None:
            for i, t in enumerate(tau):
                a, b = phi[i] - Fraction(float(layer.lo[i])) * z[i], phi[i] - Fraction(float(layer.hi[i])) * z[i]
                total = total + Fraction(float(t)) * (np.outer(a, b) + np.outer(b, a)) / 2
        else:
            for rows, index, factor in ((phi, layer.outside, np.ones(n)), (z, layer.inside, layer.hi)):
                sign = 1 if rows is phi else -1
                for i, g in enumerate(index):
                    total = total + sign * Fraction(float(tau[g])) * Fraction(float(factor[i])) ** 2 * np.outer(rows[i], rows[i])
        state = (0 if layer.keep is None else member(layer.keep) @ state) + member(layer.inject) @ phi
        place += n
    y = member(c.last) @ state
    return total - y.T @ y


def encloses(mid: np.ndarray, rad: np.ndarray, exact: np.ndarray) -> bool:
    return bool(np.isfinite(mid).all() and all(abs(e - Fraction(m)) <= Fraction(r) for e, m, r in zip(exact.ravel(), mid.ravel().tolist(), rad.ravel().tolist())))
