"""`fit`: which way is taken for which activation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from certify.core.activation import Activation
from certify.core.activations.piecewise import Hardswish, Prelu, Relu
from certify.core.activations.sigmoids import Sigmoid, Tanh
from certify.core.errors import InputError

from .base import Fits, checked
from .generic import generic_fits
from .hinge import relu_fits
from .piecewise import PIECEWISE_LINEAR, hardswish_fits, piecewise_fits
from .smooth import sigmoid_fits
from .table import relu_table


def fit(activation: Activation, lower: ArrayLike, upper: ArrayLike, degree: int, method: str = "auto") -> Fits:
    """Polynomials of one degree in place of an activation on the ranges [lower_i, upper_i], neuron by neuron, with proved errors.

    Claim, in the real numbers and for the floats returned: for every z in [lower_i, upper_i], t = (z - centre_i) / radius_i satisfies |t| <= 1 and
    |sum_j coefficients[i, j] t^j - act(z)| <= error_i; every secant slope of act on [lower_i, upper_i] is in [slope_lower_i, slope_upper_i].

    Args:
        activation: from `certify.core.activation`; any kind with finite slopes on the ranges.
        lower, upper: ends of the ranges, one per neuron (any shape, read flat); lower = upper is legal.
        degree: 1 to 8.
        method: "auto": table for one knot, Chebyshev series levelled by exchange otherwise. "chebyshev": without the exchange, faster. "minimax": as auto.
            "bernstein": the Bernstein polynomial, monotone or convex where the activation is. "taylor": tanh and sigmoid, for comparison.

    Guarantee: an enclosure, rounding included; tanh, sigmoid and the piecewise linear kinds rest on IEEE 754 alone, the others also on the assumption LIBM of
    `certify.core.elementary` through the activation's description.

    Raises:
        InputError: an unknown method, a degree out of range, unequal numbers of ends, a Taylor fit of another activation.
        ReachError: a range that is empty, not finite, or beyond 1e301; no finite fit on a range.

    Cost: per neuron ReLU 0.05 us, tanh and sigmoid 0.5 to 2 us (radius above 4.5 or 9: 5 to 10), others 100 to 300 us; piecewise linear 0.2 ms per call.
    Source: methods/reach.md section 3; Trefethen, Approximation Theory and Approximation Practice, chapters 4, 8 and 10.

    >>> from certify.core.activation import activation
    >>> fits = fit(activation("relu"), [-1.0, 0.0], [1.0, 3.0], degree=4)
    >>> fits.coefficients[1].tolist(), float(fits.error[1]), bool(fits.error[0] < 0.034)
    ([1.5, 1.5, 0.0, 0.0, 0.0], 0.0, True)
    """
    shape = np.shape(lower)
    lower, upper, degree = checked(lower, upper, degree, method)
    kind = type(activation)
    if kind is Relu and method in ("auto", "minimax"):
        table = relu_table(degree)
        return Fits(*relu_fits(lower, upper, table.coefficients, table.error))
    if kind in (Tanh, Sigmoid):
        return sigmoid_fits(activation, lower, upper, degree, method)
    if method == "taylor":
        raise InputError(
            "Taylor fits need the derivatives of the activation, which its description does not give",
            where=f"activation {activation.kind}",
            expected="tanh or sigmoid",
            hint="method='auto' fits it with a smaller error",
        )
    if isinstance(activation, Prelu):
        activation = flat(activation, shape)
    if kind in PIECEWISE_LINEAR:
        return piecewise_fits(activation, lower, upper, degree, method)
    if kind is Hardswish:
        return hardswish_fits(activation, lower, upper, degree, method)
    return generic_fits(activation, lower, upper, degree, method)


def flat(activation: Prelu, shape: tuple[int, ...]) -> Prelu:
    """The same function with one slope per neuron, for neurons of that shape."""
    try:
        return Prelu(np.broadcast_to(activation.slope, shape).reshape(-1))
    except ValueError as error:
        raise InputError(
            "the slopes of a prelu do not fit the neurons",
            where="fit(activation=prelu)",
            found=f"slopes {activation.slope.shape}, neurons {shape}",
            expected="ends in the shape of the layer, or one slope per neuron",
        ) from error
