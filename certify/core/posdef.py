"""Verified positive definiteness, and the certified bound on the largest eigenvalue that follows from it.

The proof of the criterion and the residual mode are in `cholesky`; the eigenvalue estimates, which prove nothing, in `lanczos`.
"""

from __future__ import annotations

import math

import numpy as np

from .cholesky import ROWS, definite, exactly_hermitian, residual_lower, spectral_radius_up, square
from .errors import InputError
from .lanczos import largest
from .rounding import TINY, U, add_up, down, exact_float64, ldexp_up, norms_up, up

__all__ = ["max_eigenvalue_upper", "residual_lower", "spectral_radius_up", "verified_pd", "verified_pd_hermitian"]

_ROOM = 2.0**-30


def verified_pd(a: np.ndarray, radius: np.ndarray | None = None, radius_norm: float = 0.0) -> bool:
    """True only if every symmetric A' = A + E + F with |E| <= radius entrywise and |F|_2 <= radius_norm is positive definite.

    Args:
        a: real (n, n), exactly symmetric; any scale, also badly scaled rows (the criterion scales by powers of two).
        radius: nonnegative (n, n), entrywise uncertainty; an asymmetric one is enlarged to be symmetric.
        radius_norm: bound on the spectral norm of a further symmetric uncertainty; subtracted from the diagonal.

    Returns:
        True: proved. False: not proved (also for a matrix that is not finite or not exactly symmetric); no statement.

    Raises:
        InputError: not a square real matrix, a negative or NaN uncertainty. SoundnessError: the arithmetic is not IEEE 754.

    Cost: one n x n copy and n^3 / 3 flops: 25 ms at n = 1000, 1 s at 4096 on one thread. Slack: about 2 (n + 1) u tr(S).

    >>> verified_pd(np.array([[2.0, 1.0], [1.0, 2.0]])), verified_pd(np.array([[1.0, 1.0], [1.0, 1.0]]))
    (True, False)
    """
    a = square(a)
    if np.iscomplexobj(a):
        raise InputError("verified_pd takes a real matrix", found=a.dtype, hint="use verified_pd_hermitian")
    return _proved(a, radius, radius_norm)


def verified_pd_hermitian(h: np.ndarray, radius_norm: float = 0.0) -> bool:
    """True only if every Hermitian H' with |H' - H|_2 <= radius_norm is positive definite.

    H = X + iY is positive definite if and only if its real twin [[X, -Y], [Y, X]] (symmetric, size 2n, the same eigenvalues twice) is:
    `verified_pd` of the twin, so nothing about complex kernels is assumed. Arguments, errors and guarantee as there; a real
    matrix is taken as it is. Cost: 4 times the memory and 8 / 3 n^3 flops.

    >>> verified_pd_hermitian(np.array([[2.0, 1.0j], [-1.0j, 2.0]])), verified_pd_hermitian(np.array([[1.0, 1.0j], [-1.0j, 1.0]]))
    (True, False)
    """
    return _proved(square(h), None, radius_norm)


def _proved(a: np.ndarray, radius: np.ndarray | None, radius_norm: float) -> bool:
    if not radius_norm >= 0.0:
        raise InputError("an uncertainty cannot be negative or NaN", found=radius_norm, expected="radius_norm >= 0")
    if radius is not None:
        radius = exact_float64(radius, "the radius")
        if radius.shape != a.shape or not (radius >= 0).all():
            raise InputError("the radius of a matrix is nonnegative and of its shape", found=f"{radius.shape}, least {radius.min(initial=0.0)}", expected=a.shape)
    if not exactly_hermitian(a):
        return False
    diagonal = np.diagonal(a).real.copy()
    if radius_norm > 0.0:
        diagonal = down(diagonal - float(radius_norm))
    return definite(a, diagonal, 1.0, 0, radius)


def max_eigenvalue_upper(a: np.ndarray, estimate: float | None = None, radius_norm: float = 0.0) -> float:
    """Certified upper end of the largest eigenvalue of a symmetric or Hermitian matrix with a spectral-norm uncertainty.

    Claim: lambda_max(A') <= result for every Hermitian A' with |A' - A|_2 <= radius_norm. An eigenvalue estimate lam (search, proves nothing)
    is followed by the proof: M = shift I - A > 0 by `verified_pd`'s criterion at shift = lam + step, the step growing eightfold on failure,
    the diagonal of M rounded down. The value returned lies at least 2^-30 |shift| (about 1e-9, relative) above the shift that was proved, so that
    another program with slightly different rounding can prove it again.

    Args:
        a: (n, n) real symmetric or complex Hermitian, exactly so; float32 is converted. Any scale: a power of two is taken out first.
        estimate: of lambda_max, in the units of a; saves the search. Too high: the result is that much too high. Too low: it is searched after all.
        radius_norm: bound on the spectral norm of the uncertainty of a (for example `spectral_radius_up` of a product radius).

    Returns:
        The upper end: about (1.5e-9 + 2 n^2 u) |lambda_max| above lambda_max for a Gram matrix. The zero or empty matrix gives radius_norm. A
        matrix with an entry that is not finite gives inf (a true, useless end), and so does a NaN-free overflow.

    Raises:
        InputError: not square or not exactly Hermitian; radius_norm negative or NaN. SoundnessError: the arithmetic is not IEEE 754.

    Cost: n <= 300 all eigenvalues, above that at most 300 Lanczos steps; one Cholesky factorisation and one n x n work array as a rule. A complex
    matrix is proved through its real twin (size 2n).

    Source: methods 4.6 and 4.8 of the project; Rump, BIT 46 (2006) 433-452 for the criterion.

    >>> 3.0 <= max_eigenvalue_upper(np.array([[2.0, 1.0], [1.0, 2.0]])) < 3.00000001
    True
    """
    a = square(a)
    if not radius_norm >= 0.0:
        raise InputError("an uncertainty cannot be negative or NaN", found=radius_norm, expected="radius_norm >= 0")
    peak = _peak(a)
    if not math.isfinite(peak):
        return math.inf
    if not exactly_hermitian(a):
        raise InputError("an eigenvalue bound needs an exactly symmetric or Hermitian matrix", hint="use (a + a.T) / 2, or compute one triangle and mirror it")
    if peak == 0.0:
        return float(radius_norm)
    k = math.frexp(peak)[1]
    entries = np.diagonal(a).real
    diagonal = np.ldexp(entries, -k)
    diagonal = np.where(np.ldexp(diagonal, k) == entries, diagonal, up(diagonal))  # an upper end where scaling underflows
    return add_up(ldexp_up(_scaled_upper(a, diagonal, k, estimate), k), float(radius_norm))


def _peak(a: np.ndarray) -> float:
    """Largest absolute value of a real or imaginary part; NaN or inf if one is there."""
    peak = 0.0
    for i in range(0, len(a), ROWS):
        rows = a[i : i + ROWS]
        for part in (rows.real, rows.imag) if np.iscomplexobj(a) else (rows,):
            top = max(float(part.max()), -float(part.min()))
            if not math.isfinite(top):
                return math.inf
            peak = max(peak, top)
    return peak


def _scaled_upper(a: np.ndarray, diagonal: np.ndarray, k: int, estimate: float | None) -> float:
    """Upper end, with room, of lambda_max(2^-k A); `diagonal` holds upper ends of the diagonal of 2^-k A."""
    n = len(a) * (2 if np.iscomplexobj(a) else 1)
    given = estimate is not None and math.isfinite(estimate)
    lam, residual = (ldexp_up(float(estimate), -k), 0.0) if estimate is not None and given else largest(a, k)
    step = _first_step(lam, residual, n)
    if given and definite(a, down(lam + step - diagonal), -1.0, -k):  # a good estimate needs nothing else
        return up(lam + step + max(_ROOM * abs(lam + step), step))
    last = _row_sum_up(a, k)
    tried = 1 if given else 0
    step = 8.0 * step if given else step
    while tried < 40 and lam + step < last:
        shift = lam + step
        if definite(a, down(shift - diagonal), -1.0, -k):
            return up(shift + max(_ROOM * abs(shift), step))
        tried += 1
        if given and tried == 2:  # the estimate was not one
            given, (lam, residual) = False, largest(a, k)
            step = _first_step(lam, residual, n)
        else:
            step *= 8.0
    return up(last + _ROOM * last)  # every eigenvalue is at most the largest absolute row sum


def _first_step(lam: float, residual: float, n: int) -> float:
    """How far above the estimate the first attempt lies: the criterion's own slack, the estimate's error, and at least 2^-31 relative."""
    error = 4 * n * U + (4 * residual * residual / abs(lam) if residual < abs(lam) else residual)
    return max(2.0**-31, 2.0 * n * (n + 1) * U) * abs(lam) + error


def _row_sum_up(a: np.ndarray, k: int) -> float:
    """Upper end of the largest absolute row sum of 2^-k A (complex entries by |x| + |y|)."""
    best = 0.0
    for i in range(0, len(a), ROWS):
        rows = a[i : i + ROWS]
        real = np.concatenate([rows.real, rows.imag], axis=1) if np.iscomplexobj(a) else rows
        best = max(best, float(norms_up(np.ldexp(real, -k), "l1").max()))
    return add_up(best, len(a) * TINY)
