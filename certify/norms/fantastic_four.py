"""The unfoldings of the kernel ("fantastic four"): a bound for every input size from 2^D matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..core.errors import HypothesisError
from ..core.posdef import max_eigenvalue_upper
from ..core.rounding import add_up, gamma, mul_up, require_ieee, sqrt_up
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import TINY, Ends, NormMethod, room, scale_up, spread_up
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
        found = _stored_unfoldings(conv)
        best = min((f for f in found if f.subset == f.read), key=lambda f: f.upper)  # `verify` names the axes that matter, no others
        if best.upper == 0.0:
            return Ends(0.0, 0.0, {"by": "zero"})
        verify = {"by": "unfolding", "subset": list(best.read), "claim": "zeros" if conv.mode == "zeros" else "circular"}
        return Ends(0.0, best.upper, verify, {"unfoldings": [{"name": f.name, "subset": list(f.subset), "upper": f.upper} for f in found]})


class Unfolding(NamedTuple):
    """One of the 2^D bounds: ||A|| <= upper. `subset`: the spatial axes whose taps go to the rows; `name`: R, S, T, U in two dimensions."""

    name: str
    subset: tuple[int, ...]
    upper: float


def unfoldings(map: LinearMap) -> list[Unfolding]:
    """All 2^D bounds ||A||_2 <= sqrt(prod J_i) ||R unfolded at S||, one for each subset S of the D spatial axes; `FantasticFour` takes their minimum.

    The names of Singla & Feizi for kernels h x w: R has rows (out, h) and columns (in, w), S rows (out, w) and columns (in, h), T rows (out) and columns
    (in, h, w), U rows (out, h, w) and columns (in). T and U in every dimension; the other subsets in 1 or 3 dimensions are named by their axes, "{0,2}".
    For a transposed convolution: of the convolution whose adjoint it is.

    Guarantee: each `upper` is an upper end for the exact real matrix of `map`, rounding and the roundings in its weights included. Unlike the published code
    no power iteration: a value below the unfolding's norm proves nothing.

    Raises:
        HypothesisError: not a convolution, or a padding for which the theorem is false (see `FantasticFour`).

    Cost: 2^D certified norms, of matrices whose smaller side is at most about c sqrt(taps); equal ones (an axis with one shift) once.

    >>> from certify.linear.axis import Axis
    >>> from certify.linear.conv import ConvMap
    >>> averaging = ConvMap(np.full((1, 1, 3, 3), 1 / 9), (Axis(8, 8, 3, low=1), Axis(8, 8, 3, low=1)))
    >>> [(name, round(upper, 6)) for name, _, upper in unfoldings(averaging)]
    [('R', 1.0), ('S', 1.0), ('T', 1.0), ('U', 1.0)]
    """
    if reason := FantasticFour().supports(map):
        raise HypothesisError("the unfoldings bound no norm of this map", where=repr(map), found=reason)
    require_ieee()
    spread = spread_up(map, "l2")
    return [Unfolding(f.name, f.subset, add_up(f.upper, spread)) for f in _stored_unfoldings(require_convolution(map))]


class _Stored(NamedTuple):
    """A bound on the stored matrix; `read` is the subset without the axes that have one shift, where rows and columns are alike."""

    name: str
    subset: tuple[int, ...]
    read: tuple[int, ...]
    upper: float


def _stored_unfoldings(conv: ConvMap) -> list[_Stored]:
    """R, S, T, U (or their like) of the stored weights, each different matrix once; all 0 for a map that is zero."""
    circular = conv.mode != "zeros"
    plans = [circular_plan(a) if circular else embedding_plan(a) for a in conv.axes]
    known = [plan for plan in plans if plan is not None]
    named = _named_subsets(len(plans))
    if len(known) < len(plans) or not conv.stored.any():
        return [_Stored(name, subset, subset, 0.0) for name, subset in named]
    scaled, e = conv.scaled()
    kernels = [symbol_taps(block.weight, known) for block in require_convolution(scaled).parts]
    degrees = kernels[0].shape[2:]
    root = sqrt_up(float(math.prod(degrees)))
    read = {subset: tuple(k for k in subset if degrees[k] > 1) for _, subset in named}
    bounds = {kept: scale_up(mul_up(root, _largest(kernels, kept)), e) for kept in sorted(set(read.values()))}
    return [_Stored(name, subset, read[subset], bounds[read[subset]]) for name, subset in named]


def _named_subsets(dimensions: int) -> list[tuple[str, tuple[int, ...]]]:
    """The 2^D subsets with their names, the mixed ones first.

    >>> _named_subsets(2)
    [('R', (0,)), ('S', (1,)), ('T', ()), ('U', (0, 1))]
    """
    everything = tuple(range(dimensions))
    mixed = [subset for r in range(1, dimensions) for subset in combinations(everything, r)]
    names = ["R", "S"] if dimensions == 2 else ["{" + ",".join(map(str, subset)) + "}" for subset in mixed]
    return [*zip(names, mixed), ("T", ()), ("U", everything)]


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
