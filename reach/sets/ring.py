"""Ring: the monomials of total degree <= k in f variables, their products and their ranges, as tables for the kernels."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from certify.core.errors import InputError

_LARGEST = 5000  # monomials: the product table has that many squared entries


@dataclass(frozen=True, eq=False)
class Ring:
    """Polynomials of total degree <= order in `variables` variables over [-1, 1]; with `time`, the last variable tau is over [0, 1].

    Args:
        variables: number of variables f >= 0, tau included. order: k >= 0. time: whether the last variable is tau.
    Attributes:
        exponents (M, f): graded order, the constant first. degree (M,). index: exponents -> position.
        product (M, M): position of the product of monomials i and j; meaningful for degree[i] + degree[j] <= order only.
        end (order + 1,): number of monomials of degree <= d.
        even (M,): the monomial ranges over [0, 1]: every exponent of a variable over [-1, 1] is even (the constant excluded).
        tables: (product, end, degree, even, order), the arguments of the kernels.

    Cost: M = C(f + k, k) monomials, M^2 table entries. Use `ring(...)`, which keeps one of each.

    >>> r = ring(2, 3)
    >>> r.size, r.exponents[:4].tolist(), int(r.product[1, 2])
    (10, [[0, 0], [1, 0], [0, 1], [2, 0]], 4)
    """

    variables: int
    order: int
    time: bool = False
    size: int = field(init=False)
    exponents: np.ndarray = field(init=False, repr=False)
    degree: np.ndarray = field(init=False, repr=False)
    index: dict = field(init=False, repr=False)
    end: np.ndarray = field(init=False, repr=False)
    product: np.ndarray = field(init=False, repr=False)
    even: np.ndarray = field(init=False, repr=False)
    tables: tuple = field(init=False, repr=False)

    def __post_init__(self):
        f, k = self.variables, self.order
        if f < 0 or k < 0 or math.comb(f + k, k) > _LARGEST or (self.time and f < 1):
            raise InputError("a polynomial ring of this size is not supported", found=f"{f} variables, order {k}", expected=f"at most {_LARGEST} monomials", hint="lower the order")
        rows = [e for d in range(k + 1) for e in _monomials(f, d)]
        exponents = np.array(rows, np.int64).reshape(len(rows), f)
        degree = exponents.sum(1)
        index = {e: i for i, e in enumerate(rows)}
        end = np.searchsorted(degree, np.arange(k + 1), side="right").astype(np.int64)
        product = np.zeros((len(rows), len(rows)), np.int32)
        for i, a in enumerate(rows):
            for j in range(end[k - degree[i]]):
                product[i, j] = index[tuple(x + y for x, y in zip(a, rows[j]))]
        symmetric = exponents[:, : f - 1] if self.time else exponents
        even = (symmetric % 2 == 0).all(axis=1) & (degree > 0)
        values = {"size": len(rows), "exponents": exponents, "degree": degree, "index": index, "end": end, "product": product, "even": even}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "tables", (product, end, degree, even, k))

    def __reduce__(self):
        return ring, (self.variables, self.order, self.time)

    def variable(self, i: int) -> int:
        """Position of the monomial x_i."""
        return self.index[tuple(int(j == i) for j in range(self.variables))]


def _monomials(variables: int, degree: int):
    """Exponents of one total degree, the first variable's highest power first."""
    for cut in itertools.combinations_with_replacement(range(variables), degree):
        row = [0] * variables
        for i in cut:
            row[i] += 1
        yield tuple(row)


@functools.lru_cache(maxsize=64)
def ring(variables: int, order: int, time: bool = False) -> Ring:
    """The ring of that size; the same object for the same arguments."""
    return Ring(variables, order, time)


@dataclass(frozen=True, eq=False)
class Lift:
    """How a ring in s and the ring in (s, tau) of the same order map into each other.

    Attributes:
        embed (M,): position in the time ring of each monomial of the space ring.
        at_end (M_time,): position in the space ring of each monomial at tau = 1.
        raise_time (M_time,): position of monomial * tau, -1 where that has degree order + 1.
        time_power (M_time,): exponent of tau.
    """

    space: Ring
    time: Ring
    embed: np.ndarray
    at_end: np.ndarray
    raise_time: np.ndarray
    time_power: np.ndarray


@functools.lru_cache(maxsize=64)
def lift(variables: int, order: int) -> Lift:
    """The maps between ring(variables, order) and ring(variables + 1, order, time=True)."""
    space, time = ring(variables, order), ring(variables + 1, order, True)
    rows = [tuple(int(x) for x in row) for row in time.exponents]
    embed = np.array([time.index[tuple(int(x) for x in row) + (0,)] for row in space.exponents])
    at_end = np.array([space.index[row[:-1]] for row in rows])
    raise_time = np.array([time.index.get(row[:-1] + (row[-1] + 1,), -1) for row in rows])
    return Lift(space, time, embed, at_end, raise_time, time.exponents[:, -1].copy())
