"""Float64 bounds that hold: gamma_n, norms and product radii of arrays, and the one door to `scalar` and `ieee`.

Every rounding argument of the toolkit lives here, in `scalar`, `exact`, `ieee`, `interval`, `elementary`, `cholesky` and `posdef`; one found elsewhere is a
defect. Notation: u = 2^-53 is the unit roundoff, eta = 2^-1074 the smallest subnormal, fl(.) the computed value. Assumed: IEEE 754
binary64, round to nearest, no flush to zero (`require_ieee` probes both), and sums that are sums (any order, any tree, fma allowed).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), chapters 2 and 3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError, SoundnessError
from .exact import exact_float64, fraction_down, fraction_up, ldexp_up, sum_down, sum_up
from .ieee import require_ieee
from .scalar import ETA, MAX, TINY, U, add_down, add_up, div_down, div_up, down, mul_down, mul_up, sqrt_down, sqrt_up, sub_down, sub_up, up

__all__ = [
    "ETA",
    "MAX",
    "NORMS",
    "TINY",
    "U",
    "add_down",
    "add_up",
    "div_down",
    "div_up",
    "down",
    "dual_norm",
    "exact_float64",
    "fraction_down",
    "fraction_up",
    "gamma",
    "ldexp_up",
    "mul_down",
    "mul_up",
    "norm_down",
    "norm_up",
    "norms_up",
    "exact_difference",
    "product_radius",
    "require_ieee",
    "sqrt_down",
    "sqrt_up",
    "sub_down",
    "sub_up",
    "sum_down",
    "sum_up",
    "up",
]

NORMS = ("l2", "linf", "l1")
_CHUNK = 2**22


def gamma(n: int) -> float:
    """Upper end of gamma_n = n u / (1 - n u), for an integer 0 <= n < 2^50 (gamma_0 = 0).

    A product of n factors (1 + d_i)^(+-1) is 1 + t with |t| <= gamma_n. An inner product of length n, in any order and with any use of
    fma, obeys |fl(x.y) - x.y| <= gamma_n |x|.|y| + n eta; a sum of n terms |fl - s| <= gamma_(n-1) sum |x_i| without an eta term.
    gamma_a + gamma_b + gamma_a gamma_b <= gamma_(a+b) and c gamma_n <= gamma_(cn) (Higham 2002, Lemmas 3.1 and 3.3). n u is exact here.

    Raises:
        InputError: n is not an integer in [0, 2^50).
    """
    if n != int(n) or not 0 <= n < 2**50:
        raise InputError("gamma_n needs an integer 0 <= n < 2^50", found=n)
    return 0.0 if n == 0 else up(up(int(n) * U) / down(1.0 - int(n) * U))


def dual_norm(norm: str) -> str:
    """The norm q with |<x, y>| <= |x|_p |y|_q and equality attained: l2 -> l2, linf -> l1, l1 -> linf.

    >>> dual_norm("linf")
    'l1'
    """
    _known(norm)
    return {"l2": "l2", "linf": "l1", "l1": "linf"}[norm]


def _known(norm: str) -> None:
    if norm not in NORMS:
        raise InputError("this is not the name of a norm", found=repr(norm), expected=", ".join(NORMS))


def _tree_sum(terms: np.ndarray, squared: bool) -> tuple[np.ndarray, int]:
    """Row sums of nonnegative (n, m) terms (or of their squares), and the number of roundings that a term can meet.

    Two levels of about sqrt(m): a term meets at most b - 1 additions in its block, q among the block sums (the rest counted as
    one more), and one for its square. So the count is about 2 sqrt(m), not m.
    """
    n, m = terms.shape
    b = math.isqrt(m)
    q = m // b
    head, tail = terms[:, : q * b].reshape(n, q, b), terms[:, q * b :]
    if squared:
        total = np.einsum("nqb,nqb->nq", head, head).sum(1) + np.einsum("nr,nr->n", tail, tail)
    else:
        total = head.sum(2).sum(1) + tail.sum(1)
    return total, max(b, m - q * b) + q + 1 + squared


def _row_norms(rows: np.ndarray, norm: str, upward: bool) -> np.ndarray:
    """One end of the norm of each row of (n, m); the claim is proved in `norms_up`."""
    n, m = rows.shape
    if n == 0 or m == 0:
        return np.zeros(n)
    size = np.abs(rows)
    peak = size.max(1)
    if np.isnan(peak).any():
        raise SoundnessError("a norm has no value: an entry is NaN", where=f"row {int(np.isnan(peak).argmax())}")
    if norm == "linf":
        return peak
    e = np.where(np.isinf(peak), 0, np.frexp(peak)[1])
    np.ldexp(size, -e[:, None], out=size)  # the largest entry is in [1/2, 1); an entry changes by eta/2 at most, where it underflows
    total, k = _tree_sum(size, norm == "l2")
    if upward:
        value = up(up(total + TINY) / down(1.0 - gamma(k)))
        value = up(np.sqrt(value)) if norm == "l2" else value
    else:
        value = np.maximum(down(down(total - TINY) / up(1.0 + gamma(k))), 0.0)
        value = np.maximum(down(np.sqrt(value)), 0.0) if norm == "l2" else value
    with np.errstate(over="ignore"):
        back = np.ldexp(value, e)
    inexact = np.ldexp(back, -e) != value  # only a subnormal or overflowing result
    back = np.where(inexact, up(back) if upward else np.maximum(down(back), 0.0), back)
    back = np.where(peak == 0.0, 0.0, back if upward else np.minimum(back, MAX))
    return np.where(np.isinf(peak), math.inf, back)


def norms_up(batch: ArrayLike, norm: str) -> np.ndarray:
    """Upper ends (n,) of the vector norms of the n flattened rows of a batch (n, ...), for any scale of each row.

    Claim: |x_i|_p <= result_i. linf is exact; a zero row gives 0; an infinite entry gives inf.

    Proof. A row is scaled by a power of two so that its largest entry lies in [1/2, 1). A sum of nonnegative terms that each meet at most k
    roundings satisfies fl >= (1 - gamma_k) s - (underflow), so s <= (fl + underflow) / (1 - gamma_k); k is what `_tree_sum` counted.
    Underflow: scaling moves an entry by at most eta/2, hence its square by at most 2 eta, and squaring loses eta/2 more, amplified by at
    most 2 in the sum: below 4 m eta <= TINY = 2^-1000 for m <= 2^72. Then sqrt and the two divisions and sums are rounded up, and ldexp
    back is exact unless the result is subnormal (rounded up) or overflows (inf, a true end).

    Args:
        batch: real array (n, ...), dtype exact in float64.
        norm: "l2", "linf" or "l1".

    Raises:
        SoundnessError: an entry is NaN. InputError: unknown norm, no batch axis, or a dtype that float64 cannot hold.

    Cost: one pass in chunks of 2^22 entries; the relative width is about 2 sqrt(m) u.

    >>> norms_up([[3.0, 4.0], [0.0, 0.0]], "l1").tolist()[1], bool(5.0 <= norms_up([[3.0, 4.0]], "l2")[0] < 5.00000000000001)
    (0.0, True)
    """
    _known(norm)
    a = exact_float64(batch, "a batch")
    if a.ndim == 0:
        raise InputError("a batch needs an axis of samples", found="a scalar", expected="an array (n, ...)")
    rows = a.reshape(len(a), math.prod(a.shape[1:]))
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    ends = [_row_norms(rows[i : i + step], norm, True) for i in range(0, len(rows), step)]
    return np.concatenate(ends) if ends else np.zeros(0)


def norm_up(array: ArrayLike, norm: str) -> float:
    """Upper end of the vector norm of the flattened array: |x|_p <= result, safe from 1e-320 to 1e300; empty and zero give 0.

    Proof, arguments and errors as in `norms_up`. A matrix is flattened: this is the Frobenius norm for l2, not the operator norm.

    >>> norm_up([1.0, -2.0], "linf")
    2.0
    """
    _known(norm)
    return float(_row_norms(exact_float64(array).reshape(1, -1), norm, True)[0])


def norm_down(array: ArrayLike, norm: str) -> float:
    """Lower end of the vector norm of the flattened array: 0 <= result <= |x|_p.

    As `norms_up` with s >= (fl - TINY) / (1 + gamma_k), rounded down; a norm beyond the range of float64 gives the largest float.
    """
    _known(norm)
    return float(_row_norms(exact_float64(array).reshape(1, -1), norm, False)[0])


def exact_difference(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Where fl(a - b) = a - b exactly, entrywise. False where that is not known (overflow, NaN).

    Proof: Knuth's TwoSum of x = a, y = -b: the computed error (x - xx) + (y - yy) is the exact x + y - fl(x + y) without overflow, sums having no
    underflow error (Knuth, The Art of Computer Programming 2, 4.2.2, Theorem B).

    >>> exact_difference([1.0, 1.0], [0.5, 2.0**-60]).tolist()
    [True, False]
    """
    x, y = np.asarray(a, dtype=np.float64), -np.asarray(b, dtype=np.float64)
    with np.errstate(all="ignore"):
        s = x + y
        yy = s - x
        return ((x - (s - yy)) + (y - yy) == 0.0) & np.isfinite(s)


def product_radius(abs_a: np.ndarray, abs_b: np.ndarray) -> np.ndarray:
    """Entrywise radius of a float matrix product: |fl(A B) - A B| <= product_radius(|A|, |B|), any order, any fma, any scale.

    Proof. With n the inner length, |fl(AB) - AB| <= gamma_n |A||B| + n eta, and |A||B| <= fl(|A||B|) / (1 - gamma_n) + 2 n eta. The result
    fl(gamma_n P)(1 + 2 gamma_(n+2)) + (n + 2) 2^-1073 with P = fl(|A||B|) covers 1 / (1 - gamma_n) and its own three roundings because
    2 (n + 2) u >= n u + 4 u + O(n^2 u^2) for n >= 0, and the eta terms because n eta + 3 eta / 2 + ... <= 2 (n + 2) eta. The eta
    term is not pedantry: without it every product at scale 1e-160 is wrong.

    Args:
        abs_a: nonnegative float64 (..., m, n).
        abs_b: nonnegative float64 (..., n, k) or (n,).

    Raises:
        InputError: a negative or NaN entry.
    """
    a, b = np.asarray(abs_a, dtype=np.float64), np.asarray(abs_b, dtype=np.float64)
    if not ((a >= 0).all() and (b >= 0).all()):
        raise InputError("a product radius is taken of absolute values", found="a negative or NaN entry", expected="|A| and |B|")
    n = a.shape[-1]
    with np.errstate(over="ignore"):
        radius = (a @ b) * gamma(n)
        radius *= up(1.0 + 2.0 * gamma(n + 2))
        radius += (n + 2) * 2.0 * ETA
    return radius
