"""The criterion: one float Cholesky factorisation that proves positive definiteness; and the residual mode beside it.

A symmetric, n x n. 1. Scale: S = ldexp(A, e_i + e_j) with diag(S) in [1/4, 1), a congruence, exact up to
eta/2 per entry. 2. g = gamma_(n+1), c >= g / (1 - g) tr(S) + rho + 2^-1000, where rho bounds the spectral radius of the scaled uncertainty
plus n 2^-1000. 3. B = S off the diagonal, B_ii = down(S_ii - c) > 0. 4. R = fl(chol(B)). If it finishes, R is finite and diag(R) > 0,
then A and every symmetric matrix within the uncertainty is positive definite. Failure proves nothing.

Proof. LAPACK computes r_ij (i < j) from b_ij - sum_(k<i) r_ki r_kj in some order, blocked or recursive, with or without fma, then a division by
r_ii or a product with fl(1 / r_ii), and r_jj = fl(sqrt(.)). By Higham's Lemma 8.4, which holds for any order,
|b_ij - sum_(k<=i) r_ki r_kj| <= g sum_(k<=i) |r_ki||r_kj| + t with t <= (n + 1) eta: a division gives gamma_i (i <= n - 1), the reciprocal one more, the
square root two, hence gamma_(n+1) for i = j = n; underflow: at most n - 1 products and one quotient, each eta/2 times at most 2 (r_ii <= 2).
On the diagonal |r_j|^2 (1 - g) <= b_jj + t, so R'R = B + D with |D_ij| <= g / (1 - g) sqrt((b_ii + t)(b_jj + t)) + t by Cauchy-Schwarz, and
|D|_2 <= g / (1 - g) (tr B + n (n + 1) eta) + n (n + 1) eta <= g / (1 - g) tr S + 2^-1000 for n <= 2^36, because a rank-one nonnegative matrix d d' has norm
sum d_i^2. The diagonal was rounded down, so S >= c I + B >= (c - |D|) I (Loewner), and an uncertainty moves eigenvalues by at most its
spectral radius. Same shape as Rump, Verification of positive definiteness, BIT 46 (2006) 433-452.

The proof needs triangular solves by substitution, as reference LAPACK and OpenBLAS do them. With any other library behind SciPy the
residual mode (`residual_lower`) is used, which trusts only products and sums; it needs about n times more margin.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.linalg import lapack

from .errors import InputError
from .rounding import TINY, U, add_up, div_up, down, exact_float64, gamma, ldexp_up, mul_up, require_ieee, sub_down, sum_up, up

ROWS = 256  # a block of rows: whole-matrix temporaries are avoided at n = 4096


def square(a: np.ndarray) -> np.ndarray:
    a = np.asarray(a)
    a = a.astype(np.complex128, copy=False) if a.dtype in (np.complex64, np.complex128) else exact_float64(a, "a matrix")
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise InputError("definiteness is a question about a square matrix", found=f"shape {a.shape}")
    return a


def exactly_hermitian(a: np.ndarray) -> bool:
    """Finite and entry for entry equal to its conjugate transpose; in blocks of rows, so that no copy of the matrix is made."""
    for i in range(0, len(a), ROWS):
        rows = a[i : i + ROWS]
        if not (np.isfinite(rows).all() and (rows == a[:, i : i + ROWS].T.conj()).all()):
            return False
    return True


def exponents(diagonal: np.ndarray) -> np.ndarray:
    """e with 4^e_i diagonal_i in [1/4, 1): e = -ceil(k / 2) for diagonal = f 2^k, 1/2 <= f < 1."""
    return -((np.frexp(diagonal)[1].astype(np.int32) + 1) // 2)


def fill(a: np.ndarray, e: np.ndarray, sign: float, shift: int) -> np.ndarray:
    """sign * 2^(e_i + e_j + shift) * (a or its real twin), each entry rounded at most once (one ldexp with the summed exponent)."""
    n = len(a)
    if np.iscomplexobj(a):
        work = np.empty((2 * n, 2 * n))
        parts = [(0, 0, a.real, sign), (0, n, a.imag, -sign), (n, 0, a.imag, sign), (n, n, a.real, sign)]
    else:
        work, parts = np.empty((n, n)), [(0, 0, a, sign)]
    with np.errstate(over="ignore", under="ignore"):
        for row, column, part, s in parts:
            for i in range(0, n, ROWS):
                block = work[row + i : row + min(i + ROWS, n), column : column + n]
                np.ldexp(part[i : i + ROWS], e[i : i + ROWS, None] + (e + shift)[None, :], out=block)
                if s < 0:
                    np.negative(block, out=block)
    return work


def definite(a: np.ndarray, diagonal: np.ndarray, sign: float, shift: int, radius: np.ndarray | None = None) -> bool:
    """The criterion for M = sign 2^shift A off the diagonal and `diagonal` on it (a lower end of the true one): M > 0, within the radius."""
    require_ieee()
    if len(a) == 0:
        return True
    if not (np.isfinite(diagonal).all() and (diagonal > 0).all()):
        return False
    e = exponents(diagonal)
    scaled = np.ldexp(diagonal, 2 * e)  # in [1/4, 1): exact
    b = fill(a, e, sign, shift)
    n = len(b)
    scaled = np.tile(scaled, n // len(a))
    rho = n * TINY
    if radius is not None:
        if not np.isfinite(radius).all():
            return False
        both = np.maximum(radius, radius.T)
        rho = add_up(rho, spectral_radius_up(fill(both, e, 1.0, shift) + TINY * (both > 0)))
    if not substitution():
        b[np.arange(n), np.arange(n)] = scaled
        return residual_lower(b, 2 * rho + 4 * n * gamma(n + 10)) > add_up(rho, TINY)  # any shift is sound; this one is about 4 |E|
    c = criterion_shift(n, sum_up(scaled), rho)
    b[np.arange(n), np.arange(n)] = down(scaled - c)
    return bool((np.diagonal(b) > 0).all()) and cholesky_finishes(b)


def criterion_shift(n: int, trace: float, rho: float) -> float:
    """The diagonal shift c >= g / (1 - g) trace + rho + 2^-1000 of the criterion, g = gamma_(n+1), rounded up (module docstring)."""
    g = gamma(n + 1)
    return add_up(add_up(mul_up(div_up(g, sub_down(1.0, g)), trace), rho), TINY)


def cholesky_finishes(b: np.ndarray) -> bool:
    """One float Cholesky factorisation in place: finished, finite, positive diagonal. `b` is destroyed."""
    r, info = lapack.dpotrf(b.T, lower=0, clean=0, overwrite_a=1)  # b.T of a C-ordered symmetric b: Fortran order without a copy
    return bool(info == 0 and (np.diagonal(r) > 0).all() and all(np.isfinite(r.T[i : i + ROWS]).all() for i in range(0, len(r), ROWS)))


@functools.cache
def substitution() -> bool:
    """Whether SciPy's BLAS and LAPACK are known to solve triangular systems by substitution (the hypothesis of the proof)."""
    import scipy

    try:
        built = scipy.show_config(mode="dicts")["Build Dependencies"]
        return all(any(known in str(built[part]["name"]).lower() for known in ("openblas", "netlib", "reference")) for part in ("blas", "lapack"))
    except (KeyError, TypeError, AttributeError):
        return False


def spectral_radius_up(radius: np.ndarray) -> float:
    """Upper end of the spectral norm of a symmetric nonnegative matrix R: max_i (R x)_i / x_i for one x > 0 (Collatz), x = row sums.

    Hence also a bound on the spectral norm of every symmetric E with |E| <= R. The matrix is scaled so that its largest entry is in
    [1/2, 1) (underflow: n eta in norm); (R x)_i is an inner product of nonnegative numbers, (1 + 2 gamma_(n+2)) makes it an upper
    end, TINY pays for underflow, x >= 2^-60 max(x) keeps TINY / x small. inf for a matrix that is not finite.

    Args:
        radius: nonnegative symmetric (n, n).

    Raises:
        InputError: not square, not symmetric, or a negative entry.

    >>> 2.0 <= spectral_radius_up(np.ones((2, 2))) < 2.00000000000001
    True
    """
    r = square(radius)
    if not np.isfinite(r).all():
        return math.inf
    if not ((r >= 0).all() and (r == r.T).all()):
        raise InputError("a Collatz bound needs a symmetric nonnegative matrix")
    peak = float(r.max(initial=0.0))
    if peak == 0.0:
        return 0.0
    k = math.frexp(peak)[1]
    r = np.ldexp(r, -k)
    x = r.sum(1)
    x = np.maximum(x, x.max() * 2.0**-60)
    y = up((r @ x) * up(1 + 2 * gamma(len(x) + 2))) + TINY
    return ldexp_up(up(float(up(y / x).max())), k)


def residual_lower(a: np.ndarray, shift: float) -> float:
    """Lower end of lambda_min(A), trusting only products and sums: with E = A - shift I - R'R, lambda_min(A) >= shift - |E|_inf, whatever R is.

    Row sums of |E| are bounded by |fl(B - fl(R'R))| 1 + gamma_(n+2) |R'|(|R| 1) + 4 u (|B| 1 + |diag A| + |shift|), times
    (1 + gamma_(4n+8)), plus n 2^-1000: one inner product of length n per entry, one subtraction, one rounding of the diagonal shift; the
    evaluation itself meets at most 2 n + 6 roundings per term. The matrix is first scaled by a power of two (largest entry in [1/2, 1)).

    Args:
        a: real symmetric (n, n).
        shift: any float; a good one is a little below lambda_min.

    Returns:
        The lower end; -inf when the factorisation fails or something is not finite or not symmetric.

    Cost: 3 n x n arrays, 5 to 8 times a Cholesky; needs a margin of about n^2 u |A|.

    >>> 0.9 < residual_lower(np.array([[2.0, 1.0], [1.0, 2.0]]), 0.999) <= 1.0
    True
    """
    require_ieee()
    a = square(a)
    n = len(a)
    if n == 0:
        return math.inf
    if np.iscomplexobj(a) or not exactly_hermitian(a) or not math.isfinite(shift):
        return -math.inf
    k = int(np.frexp(max(float(a.max()), -float(a.min())))[1])
    b = np.ldexp(a, -k)
    s = -ldexp_up(-float(shift), -k)  # rounded down: still the shift that is subtracted and claimed
    diagonal = np.abs(np.diagonal(b))
    b[np.arange(n), np.arange(n)] -= s
    r, info = lapack.dpotrf(b, lower=0, clean=1)
    if info != 0 or not np.isfinite(r).all():
        return -math.inf
    size, one = np.abs(r), np.ones(n)
    rows = np.abs(b - r.T @ r).sum(1) + gamma(n + 2) * (size.T @ (size @ one)) + 4 * U * (np.abs(b).sum(1) + diagonal + abs(s))
    bound = add_up(mul_up(float(rows.max()), up(1 + gamma(4 * n + 8))), n * TINY)
    if not math.isfinite(bound):
        return -math.inf
    return -ldexp_up(-sub_down(s, bound), k)
