"""The unfoldings of the kernel ("fantastic four"): a bound for every input size from 2^D matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from ..core.posdef import max_eigenvalue_upper
from ..core.rounding import add_up, gamma, mul_up, sqrt_up
from ..linear.base import LinearMap
from .base import TINY, Ends, NormMethod, room, scale_up
from .majorant import size_up
from .polyphase import circular_plan, convolution_of, embedding_plan, is_block_circulant, require_convolution, symbol_taps


@dataclass(frozen=True)
class FantasticFour(NormMethod):
    """||A|| <= sqrt(prod J_i) min over subsets S of the axes of || R reshaped to rows (out, taps of S) and columns (in, taps not in S) ||.

    R is the polyphase kernel (stride and dilation removed), J_i its shifts. Each unfolding norm is an upper end, certified by a Cholesky
    factorisation (published code takes power iterations and returns less than the truth). Groups: the maximum, for each subset.

    Hypotheses: zero padding, any amount; or circular padding with s | n and m = n / s on every axis. False otherwise (0.35 of the truth for
    replicate padding), hence refused. Any input size. Cost: 2^D certificates of size about c sqrt(taps). Typical ratio 1.6-1.75 at 3x3.

    Source: Singla & Feizi, Fantastic Four, ICLR 2021, Theorem 1; with stride: layer_norms.md 2.5.
    """

    name = "fantastic_four"
    cite = ("Singla & Feizi, Fantastic Four: differentiable bounds on singular values of convolution layers, ICLR 2021",)
    own_scale = True
    hypotheses = ("zero padding, or circular padding with s | n and m = n / s",)

    def _refuses(self, map: LinearMap, norm: str) -> str:
        conv = convolution_of(map)
        if conv is None:
            return "the map is not a convolution"
        return "" if conv.mode == "zeros" else is_block_circulant(conv)

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        conv = require_convolution(map)
        circular = conv.mode != "zeros"
        plans = [circular_plan(a) if circular else embedding_plan(a) for a in conv.axes]
        if any(plan is None for plan in plans):
            return Ends(0.0, 0.0, {"by": "zero"})
        scaled, e = conv.scaled()
        kernels = [symbol_taps(block.weight, [p for p in plans if p is not None]) for block in require_convolution(scaled).parts]
        degrees = kernels[0].shape[2:]
        root = sqrt_up(float(math.prod(degrees)))
        axes = [k for k, j in enumerate(degrees) if j > 1]  # an axis with one shift makes no difference
        subsets = list(chain.from_iterable(combinations(axes, r) for r in range(len(axes) + 1)))
        bounds = {subset: scale_up(mul_up(root, _largest(kernels, subset)), e) for subset in subsets}
        best = min(subsets, key=lambda s: bounds[s])
        verify = {"by": "unfolding", "subset": list(best), "claim": "circular" if circular else "zeros"}
        return Ends(0.0, bounds[best], verify, {"unfoldings": [{"subset": list(s), "upper": bounds[s]} for s in subsets]})


def _largest(kernels: list[np.ndarray], subset: tuple[int, ...]) -> float:
    """Upper end of the largest unfolding norm over the groups."""
    upper = 0.0
    for kernel in sorted(kernels, key=lambda r: -float(np.square(r).sum())):
        if size_up(kernel) > upper:  # the Frobenius norm of every unfolding
            upper = max(upper, unfolding_norm(kernel, subset))
    return upper


def unfolding_norm(kernel: np.ndarray, subset: tuple[int, ...]) -> float:
    """Upper end of the spectral norm of R (a, b, *J) as a matrix with rows (a, taps of the axes in `subset`), scaled weights, room included."""
    others = tuple(k for k in range(kernel.ndim - 2) if k not in subset)
    order = (0, *(k + 2 for k in subset), 1, *(k + 2 for k in others))
    rows = kernel.shape[0] * math.prod(kernel.shape[k + 2] for k in subset)
    matrix = kernel.transpose(order).reshape(rows, -1)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    gram = matrix @ matrix.T
    if not (gram == gram.T).all():
        gram = np.tril(gram) + np.tril(gram, -1).T
    frobenius = size_up(matrix)
    radius = add_up(mul_up(gamma(matrix.shape[1]), mul_up(frobenius, frobenius)), TINY)
    return room(sqrt_up(max_eigenvalue_upper(gram, radius_norm=radius)))
