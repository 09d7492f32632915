"""Many complex shifted Cholesky factorisations at once: lambda_max(G(w)) <= Lambda on a whole frequency grid (R3, R4)."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.linalg import lapack

from ..core.cholesky import definite, substitution
from ..core.rounding import U, add_up, div_up, down, gamma, mul_up, sub_down, up
from .base import TINY
from .symbol import Symbol

_CHUNK = 1 << 23  # bytes of Gram matrices at a time
_BATCHED = 24  # below this size NumPy's batched factorisation is faster than one call each


def with_slack(shift: float, a: int, slack: float) -> float:
    """Lambda with lambda_max(G) <= Lambda for every G with || Gh - G || <= slack whose shift I - Gh was factorised, size a.

    If the factorisation of M = fl(shift I - Gh) finishes with finite factors, M >= -kappa tr(M) I with kappa = sqrt2 gamma_(2a+8) / (1 - gamma_(2a+8))
    [R3], tr M <= a (shift + slack)(1 + 4u), hence lambda_max(G) <= shift (1 + u) + kappa tr M + slack + TINY [R4]; times (1 + 8u). A success
    at a smaller shift is one at a larger shift. Hypothesis: triangular solves by substitution.
    """
    root2 = up(math.sqrt(2.0))
    g = gamma(2 * a + 8)
    kappa = div_up(mul_up(root2, g), sub_down(1.0, g))
    trace = mul_up(mul_up(float(a), add_up(shift, slack)), up(1.0 + 4.0 * U))
    total = add_up(add_up(mul_up(shift, up(1.0 + U)), mul_up(kappa, trace)), add_up(slack, TINY))
    return mul_up(total, up(1.0 + 8.0 * U))


def chunk_rows(symbol: Symbol) -> int:
    """How many Gram matrices are made at a time: what stays in the cache, at least a few (each needs a pass over the lag table)."""
    return max(6, _CHUNK // (16 * symbol.a * max(symbol.a, 0 if symbol.by_lags else symbol.b)))


def unfinished(negated: np.ndarray, shift: float) -> np.ndarray:
    """Which factorisations of shift I + `negated` = shift I - Gh do not finish with a finite, positive diagonal; NaN counts as one. Destroys the stack.

    The diagonal is enough: an entry that is not finite enters the diagonal of its column, r_jj = sqrt(b_jj - sum_k |r_kj|^2), in whatever
    order it is computed, and makes it NaN or not positive. Size 1: Gh <= shift is the statement itself. Where a library does
    not solve triangular systems by substitution (`core.cholesky.substitution`), the criterion on the real twin decides.
    """
    a = negated.shape[1]
    if a == 1:
        return ~(-negated[:, 0, 0].real <= shift)
    if not (substitution() and _numpy_substitution()):
        return np.array([not definite(h, down(shift - np.diagonal(h).real), -1.0, 0) for h in map(_hermitian, -negated)])
    diagonal = np.arange(a)
    negated[:, diagonal, diagonal] = shift + negated[:, diagonal, diagonal].real
    if a < _BATCHED:
        try:
            return ~_finished(np.diagonal(np.linalg.cholesky(negated), axis1=1, axis2=2))
        except np.linalg.LinAlgError:  # at least one: find out which
            pass
    done, pivots = np.zeros(len(negated), dtype=bool), np.zeros((len(negated), a), dtype=np.complex128)
    for k, matrix in enumerate(negated):  # matrix.T of a C-ordered array is Fortran order: factorised in place, from the triangle we call lower
        factor, info = lapack.zpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
        done[k], pivots[k] = info == 0, factor.diagonal()
    return ~(done & _finished(pivots))


def _finished(diagonal: np.ndarray) -> np.ndarray:
    return (np.isfinite(diagonal.real) & (diagonal.real > 0)).all(axis=1)


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
