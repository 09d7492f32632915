"""Cases for the kernels of polynomial arithmetic: random ones of a seed, and some built against one term of a bound each."""

from __future__ import annotations

import numpy as np
from strategies.polynomials import coefficients, losing_pair, lost, radius, rings
from truth.polynomials import point

from reach.sets.ring import Ring, ring


def multiply_cases(seed: int):
    """(ring, a, ra, b, rb) of one seed."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        made = rings(rng)
        a, b = coefficients(rng, made.size), coefficients(rng, made.size)
        if rng.random() < 0.2:
            b = a.copy()
        yield made, a, radius(rng), b, radius(rng)


def hard_cases():
    """Cases built against one term of the bound each."""
    for size in (2, 9, 12, 35, 60):
        made, a, b = losing_pair(size)
        yield made, a, 0.0, b, 0.0  # rounding of what is kept
        yield ring(1, size - 1), lost(size), 1.0, np.zeros(size), 1.0  # norms of the operands round down
        yield ring(size - 1, 1), lost(size), 0.0, np.zeros(size), 1.0
    for k in (1, 3, 6):
        made = ring(2, k, True)
        yield made, np.ones(made.size), 0.0, np.ones(made.size), 0.0  # most is dropped
        yield made, np.full(made.size, 1e-160), 0.0, np.full(made.size, 3e-162), 0.0  # every product underflows
        yield made, np.full(made.size, 1.0), 0.5, np.full(made.size, -2.0), 0.25
        yield made, np.zeros(made.size), 0.5, np.zeros(made.size), 0.25
        signs = np.where(np.arange(made.size) % 2, 1.0, -1.0)
        yield made, signs, 0.0, signs, 0.0
    for tiny in (5e-324, -3.88661542e-312, 3e-309, 1.1e-307):  # u times the smaller operand underflows, the product does not
        for huge in (1.27930416e150, 3.3e300):
            yield ring(0, 0), np.array([tiny]), 0.0, np.array([huge]), 0.0
            yield ring(0, 0), np.array([huge]), 0.0, np.array([tiny]), 0.0
            yield ring(1, 2), np.array([huge, 0.0, 1e140]), 0.0, np.array([tiny, 1.1 * tiny, tiny]), 0.0
    yield ring(0, 0), np.array([3.0]), 0.5, np.array([-2.0]), 0.25
    yield ring(0, 3), np.array([0.1]), 0.0, np.array([0.3]), 0.0


def range_cases(seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        made = rings(rng)
        yield made, coefficients(rng, made.size), point(made, rng)


def hard_ranges():
    for size in (2, 9, 12, 35, 60):
        for sign in (-1.0, 1.0):
            yield ring(1, size - 1), sign * lost(size), point_of(ring(1, size - 1), 1)  # the running sum loses every term
            yield ring(1, size - 1, True), sign * lost(size), point_of(ring(1, size - 1, True), 1)
    for made in (ring(1, 1), ring(2, 3), ring(1, 1, True), ring(3, 2, True)):
        for sign in (-1, 1):
            yield made, np.ones(made.size), point_of(made, sign)
            yield made, -np.ones(made.size), point_of(made, sign)


def point_of(made: Ring, sign: int):
    from fractions import Fraction

    return [Fraction(sign)] * (made.variables - made.time) + [Fraction(sign + 1, 2)] * made.time


def horner_cases(seed: int):
    rng = np.random.default_rng(seed)
    made = rings(rng, 3, 5, 60)
    degree, n = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    x = np.stack([coefficients(rng, made.size, str(rng.choice(["normal", "integers", "sparse", "cancelling", "lost", "decimal", "tiny"]))) for _ in range(n)])
    outer = np.stack([coefficients(rng, degree + 1, str(rng.choice(["normal", "ones", "sparse", "wild", "zero", "tiny", "huge"]))) for _ in range(n)])
    rx = np.array([float(rng.choice([0.0, 1e-9, 0.1, 1e-300])) for _ in range(n)])
    for _ in range(2):
        yield made, outer, x, rx, point(made, rng)


def hard_horner():
    for constant in (1e16, -1e-3, 0.3):
        made = ring(1, 2)
        x = np.array([[0.1, 0.7, 0.2]])
        yield made, np.array([[constant, 0.1, 0.3]]), x, np.zeros(1), point_of(made, 1)
        yield made, np.array([[constant, 0.1]]), x, np.zeros(1), point_of(made, 1)
        yield made, np.array([[constant, 0.1, 0.3, 2.0]]), x, np.array([0.5]), point_of(made, -1)
        yield made, np.array([[abs(constant), 0.1, 0.3, 2.0]]), x, np.array([0.5]), point_of(made, 1)
        yield made, np.array([[constant, 3.0]]), x, np.array([0.5]), point_of(made, -1)
    for seed in range(40):  # order 0: the whole bound is about roundings of one number
        rng = np.random.default_rng(seed)
        made = ring(0, 0)
        yield made, rng.standard_normal((1, 2)), rng.standard_normal((1, 1)), np.zeros(1), []
        yield made, np.array([[1e6, 1e-9, 1e-9]]) * rng.standard_normal(3), 0.1 * rng.standard_normal((1, 1)), np.zeros(1), []
    yield ring(0, 0), np.array([[0.0, 3e-170]]), np.array([[1.3e-154]]), np.zeros(1), []


HORNER = {  # each kernel as a function of (outer, x, rx, ring)
    "horner": lambda kernel: lambda outer, x, rx, r: kernel(outer, x, rx, *r.tables[:3], r.order),
    "horner_bounded": lambda kernel: lambda outer, x, rx, r: kernel(outer, x, rx, *r.tables),
}
