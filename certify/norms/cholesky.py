"""Many complex shifted Cholesky factorisations at once: lambda_max(G(w)) <= Lambda on a whole frequency grid (R3, R4)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
from scipy.linalg import lapack

from ..core.cholesky import substitution
from ..core.posdef import max_eigenvalue_upper
from ..core.rounding import U, add_up, div_up, gamma, mul_up, sub_down, up
from .base import TINY
from .eigenpair import rayleigh, top_eigenpair
from .symbol import Symbol

_CHUNK = 1 << 25  # bytes of Gram matrices at a time
_BATCHED = 24  # below this size NumPy's batched factorisation is faster than one call each
_DELTA = 1e-6  # relative height of the first shift above the estimate


def grid_upper(symbol: Symbol, numerators: np.ndarray, period: tuple[int, ...], estimate: float) -> tuple[float, np.ndarray | None]:
    """(Lambda, where) with lambda_max(G(w)) <= Lambda for every grid point w = pi numerators / period; `estimate` of the maximum only saves time.

    `where` is the point whose eigenvalue set the last shift, None if the estimate did; it proves nothing.

    Claim and proof: if the factorisation of M = fl(shift I - Gh) finishes with finite factors, M >= -kappa tr(M) I with
    kappa = sqrt2 gamma_(2a+8) / (1 - gamma_(2a+8)) [R3], tr M <= a (shift + E_G)(1 + 4u), hence
    lambda_max(G(w)) <= shift (1 + u) + kappa tr M + E_G + TINY [R4], E_G = symbol.slack; times (1 + 8u). A success at a smaller shift is one at a
    larger shift, so each point is factorised successfully once and the last shift counts. With a = 1 no factorisation is needed.
    Hypothesis: triangular solves by substitution (OpenBLAS, reference LAPACK); with another library every point goes through the
    real twin of `core.posdef`.
    """
    if symbol.a == 1:
        values = np.concatenate([symbol.gram(part, period).real.ravel() for part in _parts(symbol, numerators)])
        k = int(values.argmax())
        return up(add_up(add_up(float(values[k]), symbol.slack), TINY)), numerators[k]
    if not (substitution() and _numpy_substitution()):
        grams = (g for part in _parts(symbol, numerators) for g in symbol.gram(part, period))
        return max(max_eigenvalue_upper(_hermitian(g), radius_norm=add_up(symbol.slack, TINY)) for g in grams), None
    shift, where = max(estimate, TINY) * (1.0 + _DELTA), None
    for part in _parts(symbol, numerators):
        gram, delta = symbol.gram(part, period), _DELTA
        while (failed := _failures(gram, shift)).any():
            gram, part = gram[failed], part[failed]
            top, k = _largest(gram)
            where = part[k] if top > shift else where
            shift = max(shift, top) * (1.0 + delta)
            delta *= 2.0  # growing: the loop ends
    return _with_slack(shift, symbol.a, symbol.slack), where


def _with_slack(shift: float, a: int, slack: float) -> float:
    root2 = up(math.sqrt(2.0))
    g = gamma(2 * a + 8)
    kappa = div_up(mul_up(root2, g), sub_down(1.0, g))
    trace = mul_up(mul_up(float(a), add_up(shift, slack)), up(1.0 + 4.0 * U))
    total = add_up(add_up(mul_up(shift, up(1.0 + U)), mul_up(kappa, trace)), add_up(slack, TINY))
    return mul_up(total, up(1.0 + 8.0 * U))


def _parts(symbol: Symbol, numerators: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK // (16 * symbol.a * max(symbol.a, 0 if symbol.by_lags else symbol.b)))
    for i in range(0, len(numerators), step):
        yield numerators[i : i + step]


def _failures(gram: np.ndarray, shift: float) -> np.ndarray:
    """Which factorisations of shift I - Gh do not finish with finite entries and a positive diagonal; NaN counts as a failure."""
    a = gram.shape[1]
    moved, diagonal = -gram, np.arange(a)
    moved[:, diagonal, diagonal] = shift - gram[:, diagonal, diagonal].real
    if a < _BATCHED:
        try:
            return ~_finished(np.linalg.cholesky(moved))
        except np.linalg.LinAlgError:  # at least one: find out which
            pass
    failed = np.ones(len(gram), dtype=bool)
    for k, matrix in enumerate(moved):  # matrix.T of a C-ordered array is Fortran order: factorised in place, from the triangle we call lower
        factor, info = lapack.zpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
        failed[k] = info != 0 or not _finished(factor[None])[0]
    return failed


def _finished(factors: np.ndarray) -> np.ndarray:
    finite = np.isfinite(factors.real).all(axis=(1, 2)) & np.isfinite(factors.imag).all(axis=(1, 2))
    return finite & (np.diagonal(factors, axis1=1, axis2=2).real > 0).all(axis=1)


def _largest(gram: np.ndarray) -> tuple[float, int]:
    """Estimate of the largest eigenvalue in a stack of Hermitian matrices, and whose it is: power steps on all, then the most promising ones alone."""
    values, vectors = rayleigh(gram, None, 6)
    return max((top_eigenpair(gram[k], vectors[k])[0], int(k)) for k in np.argsort(values)[-4:])


def _hermitian(g: np.ndarray) -> np.ndarray:
    lower = np.tril(g, -1)
    return lower + lower.conj().T + np.diag(np.diagonal(g).real)


@functools.cache
def _numpy_substitution() -> bool:
    """Whether NumPy's LAPACK is known to solve triangular systems by substitution, as `core.cholesky.substitution` asks of SciPy's."""
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]  # type: ignore[call-overload, index]
        return all(any(known in str(built[part]["name"]).lower() for known in ("openblas", "netlib", "reference")) for part in ("blas", "lapack"))
    except (KeyError, TypeError, AttributeError):
        return False
