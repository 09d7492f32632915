"""bjorck: matrices orthonormalised by Bjorck's iteration, or kept orthonormal by retractions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.errors import InputError
from .base import attach, require_layer, require_symbol
from .semi_orthogonal import SemiOrthogonal


def bjorck(layer: Any, method: str = "iteration", input_shape: Sequence[int] | None = None, iterations: int | None = None) -> Any:
    """Parametrize a layer by a matrix with orthonormal rows or columns, found by X <- X (3 I - X'X) / 2.

    Claim: ||A||_2 <= 1 for the layer A without its bias, converged or not: the start is scaled so that min(||X'X||_inf, ||X'X||_F) <= 2, and s -> (3 s - s^3) / 2
    maps [0, sqrt 3] into [0, 1]. A convolution whose windows do not overlap (kernel <= stride) is such a matrix on every window, so it is orthogonal as well. Where they
    overlap, the matrix (outputs, inputs * kernel) is divided by sqrt(prod ceil(kernel / stride)): still ||A|| <= 1 at every input size, but far from orthogonal
    (`orthogonal_convolution` is).

    Args:
        layer: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d with zero padding, or circular with 2 * padding <= dilation * (kernel_size - 1); per group.
        method: "iteration": some steps at each evaluation. "retraction": the weight itself stays on the
            manifold: nothing to compute in the forward pass, and `retract_(model)` after each optimizer step.
        input_shape: of one sample, needed for circular padding with a stride, which fits together only where the stride divides the input size.
        iterations: at most so many steps (12); each multiplies small singular values by 1.5; near the manifold three or four are made.

    The weight starts as the nearest semi-orthogonal matrix to the layer's weight; assigning to `layer.weight` projects likewise. Returns the same layer.

    Guarantee: ||A|| <= 1 in real arithmetic ("retraction": after `retract_`). Rounding: measured at most 1e-6 above 1 in float32, 4e-15 in float64.

    Raises:
        UnsupportedLayerError: another kind of layer. HypothesisError: padding that copies pixels; matrices with one entry. InputError: arguments, weights.

    Cost: 4 m n^2 operations per step for m x n, m >= n, and one and a half times that backward; retraction: 4 m n^2 + O(n^3) once per optimizer step, and no backward.

    Source: Bjorck & Bowie, An iterative algorithm for computing the best estimate of an orthogonal matrix, SIAM J. Numer. Anal. 8 (1971); Anil, Lucas & Grosse, Sorting
    out Lipschitz function approximation, ICML 2019; the factor for overlapping windows: layer_norms.md 2.5.

    >>> import torch
    >>> layer = bjorck(torch.nn.Linear(5, 3))
    >>> bool(torch.allclose(layer.weight @ layer.weight.T, torch.eye(3), atol=1e-5))
    True
    """
    if method not in ("iteration", "retraction"):
        raise InputError("unknown method", where="argument method", found=repr(method), expected="'iteration' or 'retraction'")
    geometry = require_layer(layer)
    require_symbol(geometry, input_shape)
    inner = "bjorck" if method == "iteration" else "retraction"
    return attach(layer, SemiOrthogonal(geometry, layer.weight, inner, iterations))
