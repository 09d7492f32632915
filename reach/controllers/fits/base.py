"""What a fit is, and the checks of what it is asked for."""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from certify.core.activation import Activation
from certify.core.errors import InputError

from ...errors import ReachError
from ...sets.jit import jit
from .chebyshev import TOP

METHODS = ("auto", "chebyshev", "minimax", "bernstein", "taylor")
WIDEST = 2.0**1000  # ends beyond this are refused: sums of coefficients would overflow


class Fits(NamedTuple):
    """Polynomials in place of an activation, one row per neuron.

    Claim, in the real numbers, for the floats stored here: for neuron i and every z in [lower_i, upper_i], t = (z - centre_i) / radius_i satisfies
    |t| <= 1 and |sum_j coefficients[i, j] t^j - act(z)| <= error_i, and (act(a) - act(b)) / (a - b) lies in [slope_lower_i, slope_upper_i] for all a != b there.
    """

    centre: np.ndarray
    radius: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    slope_lower: np.ndarray
    slope_upper: np.ndarray


@jit
def usable(lower, upper):
    """Whether every range is an interval of floats of size at most WIDEST."""
    for i in range(len(lower)):
        if not (-WIDEST <= lower[i] <= upper[i] <= WIDEST):
            return False
    return True


def checked(lower: ArrayLike, upper: ArrayLike, degree: int, method: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Flat float64 ends and the degree, or the error that says what is wrong with them."""
    lower, upper = (np.ascontiguousarray(a, dtype=np.float64).reshape(-1) for a in (lower, upper))
    if method not in METHODS:
        raise InputError("unknown way of fitting an activation", where="fit(method=)", found=repr(method), expected=", ".join(METHODS))
    try:
        degree = operator.index(degree)
    except TypeError as error:
        raise InputError("the degree of a fit is an integer", where="fit(degree=)", found=repr(degree)) from error
    if not 1 <= degree <= TOP:
        raise InputError("no fit of this degree", where="fit(degree=)", found=degree, expected=f"1 to {TOP}")
    if lower.shape != upper.shape:
        raise InputError("lower and upper ends differ in number", where="fit", found=f"{lower.shape} and {upper.shape}")
    if not usable(lower, upper):
        bad = int(np.argmin((-WIDEST <= lower) & (lower <= upper) & (upper <= WIDEST)))
        raise ReachError(
            "the inputs of an activation have no usable range",
            where=f"neuron {bad}",
            found=f"[{lower[bad]!r}, {upper[bad]!r}]",
            expected=f"finite ends, in order, of size at most {WIDEST:.3g}",
            hint="the set has grown too much: shorter steps or a smaller initial set",
        )
    return lower, upper, degree


def finite(activation: Activation, lower: np.ndarray, upper: np.ndarray, fits: Fits) -> None:
    """Refuse a fit with a coefficient or an error that is not finite, naming its range."""
    good = np.isfinite(fits.error) & np.isfinite(fits.coefficients).all(1) & np.isfinite(fits.slope_lower) & np.isfinite(fits.slope_upper)
    if not good.all():
        bad = int(np.argmin(good))
        raise ReachError("an activation has no finite fit on a range", where=f"activation {activation.kind}, neuron {bad}", found=f"[{lower[bad]!r}, {upper[bad]!r}]")
