"""Finer ranges: a polynomial's variables are cut into pieces, each piece scaled back to the whole domain by precomputed matrices.

On a piece the variable is s = c + r s' with s' in [-1, 1] (tau = c + r tau' with tau' in [0, 1]); s^e becomes sum_i C(e, i) c^(e-i) r^i s'^i, which is one
row of an (M, M) matrix. The range over the pieces' hull is quadratically tighter than the plain one. Used for outputs and specifications only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from certify.core.errors import InputError
from certify.core.rounding import TINY, fraction_down, fraction_up, gamma, norms_up, up

from .base import LARGEST
from .ring import Ring


def cut_rows(ring: Ring, coefficients: np.ndarray, pieces: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(rows, error): the polynomials on every piece of a grid, and what their rounding can change.

    Claim: for each row p_i and each s in the domain there are a piece q and s' in the domain with |p_i(s) - rows[q, i](s')| <= error_i.
    Proof. The pieces of a variable cover [-1, 1] (or [0, 1]) exactly (`_pieces`). With S* the exact matrix of a piece, nu >= its largest row sum of
    absolute values and D the rows before it: an entry of S is S* rounded once, so |fl(D S) - D S*|_1 <= gamma_(M+1) nu |D|_1 + (underflow). If E bounds
    the error before and |D|_1 <= nu^j |p|_1 + E, the error after is at most (nu (1 + gamma))^(j+1) |p|_1 - nu^(j+1) |p|_1 by induction. Underflow: at
    most M^2 products and as many additions of terms below eta for each variable, below TINY = 2^-1000 in all.

    Args:
        coefficients: (n, M). pieces: how many, for every variable or one number for all.
    Returns:
        rows (P, n, M), the last variable's pieces run slowest; error (n,).
    Raises:
        InputError: pieces < 1, of wrong length, or P n M beyond what fits.
    Cost: f matrix products of (P n, M) with (M, M); the matrices are kept for (ring, variable, pieces).
    """
    counts = [int(pieces)] * ring.variables if isinstance(pieces, int | np.integer) else [int(p) for p in pieces]
    total = math.prod(counts)
    if len(counts) != ring.variables or min(counts, default=1) < 1 or total * coefficients.size > LARGEST * 16:
        found = f"{counts} pieces of {ring.variables} variables, {len(coefficients)} rows of {ring.size}"
        raise InputError("a polynomial cannot be cut so", where="pieces", found=found, expected=f"one count >= 1 per variable, {LARGEST * 16} coefficients in all")
    rows, nu, made = np.ascontiguousarray(coefficients)[None], Fraction(1), Fraction(1)
    for variable, count in enumerate(counts):
        if count > 1 and ring.order > 0:
            matrices, norm = substitutions(ring, variable, count)
            with np.errstate(all="ignore"):
                rows = (rows[None] @ matrices[:, None]).reshape(-1, *coefficients.shape)
            nu, made = nu * norm, made * norm * (1 + Fraction(gamma(ring.size + 1)))
        elif count > 1:
            rows = np.concatenate([rows] * count)
    if made == nu:
        return rows, np.zeros(len(coefficients))
    with np.errstate(over="ignore"):
        return rows, up(up(norms_up(coefficients, "l1") * fraction_up(made - nu)) + TINY)


@functools.lru_cache(maxsize=256)
def substitutions(ring: Ring, variable: int, pieces: int) -> tuple[np.ndarray, Fraction]:
    """(matrices (pieces, M, M), nu): row m of each holds the monomial m on that piece, entries rounded once; nu bounds the exact row sums of sizes."""
    matrices = np.zeros((pieces, ring.size, ring.size))
    nu = Fraction(1)
    rows = [tuple(e) for e in ring.exponents.tolist()]
    for j, (c, r) in enumerate(_pieces(ring.time and variable == ring.variables - 1, pieces)):
        nu = max(nu, (abs(c) + r) ** ring.order)
        entry = [[float(math.comb(e, i) * c ** (e - i) * r**i) for i in range(e + 1)] for e in range(ring.order + 1)]
        for m, row in enumerate(rows):
            for i, value in enumerate(entry[row[variable]]):
                matrices[j, m, ring.index[(*row[:variable], i, *row[variable + 1 :])]] = value
    matrices.setflags(write=False)
    return matrices, nu


def _pieces(time: bool, pieces: int) -> list[tuple[Fraction, Fraction]]:
    """(c, r), floats as fractions, such that the sets c + r [-1, 1] (c + r [0, 1] for tau) cover [-1, 1] ([0, 1])."""
    found = []
    for j in range(pieces):
        if time:
            lower, upper = Fraction(j, pieces), Fraction(j + 1, pieces)
            c = Fraction(fraction_down(lower))
            r = upper - c
        else:
            lower, upper = Fraction(2 * j, pieces) - 1, Fraction(2 * j + 2, pieces) - 1
            c = Fraction(float((lower + upper) / 2))
            r = max(upper - c, c - lower)
        found.append((c, Fraction(fraction_up(r))))
    return found
