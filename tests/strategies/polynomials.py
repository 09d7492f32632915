"""Coefficients that hurt: cancellation, ties, zeros, scales from 1e-300 to 1e150, and rows whose roundings all go one way."""

from __future__ import annotations

import numpy as np

from reach.sets.ring import Ring, ring

KINDS = ("normal", "integers", "sparse", "zero", "ones", "wild", "cancelling", "huge", "tiny", "lost", "decimal")


def coefficients(rng: np.random.Generator, size: int, kind: str | None = None) -> np.ndarray:
    """One row of `size` coefficients of a kind."""
    kind = str(rng.choice(KINDS)) if kind is None else kind
    c = rng.standard_normal(size)
    if kind == "integers":
        return rng.integers(-3, 4, size).astype(float)
    if kind == "sparse":
        return np.where(rng.random(size) < 0.25, c, 0.0)
    if kind == "zero":
        return np.zeros(size)
    if kind == "ones":
        return np.full(size, float(rng.choice([1.0, -1.0, 0.1])))
    if kind == "wild":
        return c * 10.0 ** rng.uniform(-20, 20, size)
    if kind == "cancelling":
        return np.where(np.arange(size) % 2 == 0, 1.0, -1.0) * (1.0 + rng.integers(-2, 3, size) * 2.0**-52)
    if kind == "huge":
        return c * 1e150
    if kind == "tiny":
        return c * 10.0 ** -rng.uniform(150, 320)
    if kind == "lost":
        return lost(size)
    if kind == "decimal":
        return np.round(c, 1)
    return c


def lost(size: int, unit: float = 2.0**-53) -> np.ndarray:
    """1, u, u, ...: a running sum that starts with 1 loses every other term, a half-way case to even each time."""
    c = np.full(size, unit)
    c[:1] = 1.0
    return c


def rings(rng: np.random.Generator, variables: int = 4, order: int = 6, largest: int = 90) -> Ring:
    """A ring of 0 .. `variables` variables and order 0 .. `order`, with or without time, at most `largest` monomials."""
    while True:
        f, k = int(rng.integers(0, variables + 1)), int(rng.integers(0, order + 1))
        made = ring(f, k, bool(f and rng.integers(0, 2)))
        if made.size <= largest:
            return made


def radius(rng: np.random.Generator) -> float:
    return float(rng.choice([0.0, 0.0, 1e-9, 1.0, 0.1, 1e-300, 1e100]))


def losing_pair(size: int) -> tuple[Ring, np.ndarray, np.ndarray]:
    """A ring in one variable and two rows whose product's top coefficient loses `size` - 2 terms of half an ulp each: about M u |a|_1 |b|_1."""
    made = ring(1, size - 1)
    a, b = np.full(size, 2.0**-27), np.full(size, 2.0**-26)
    a[0], b[0], b[-1] = 1.0, 0.0, 1.0
    return made, a, b
