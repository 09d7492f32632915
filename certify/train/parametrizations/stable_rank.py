"""stable_rank_normalization: the nearest kernel of a given stable rank, divided by its norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import HypothesisError, InputError
from .base import Geometry, attach, full_precision, require_layer, require_symbol
from .followed_norm import EstimatedNorm, divisor


def stable_rank_normalization(layer: Any, ratio: float = 0.7, k: int = 1, norm: str = "operator", input_shape: Sequence[int] | None = None, steps: int = 2) -> Any:
    """Parametrize a layer by W' = (S + g R) / sigma: the k top singular triplets S of W kept, the rest R shrunk until ||W'||_F^2 / ||W'||_2^2 <= r.

    Claim: the stable rank of the matrix W' (outputs, everything else) is r = max(1, ratio * min(rows, columns)) wherever that of W is larger, and W' = W / sigma elsewhere.
    With s_i the singular values of W, g = sqrt(r s_1^2 - s_1^2 - .. - s_k^2) / ||R||_F. Among all matrices of stable rank r with those k triplets, this is the nearest to W in
    the Frobenius norm. k = 1 is the published method; a k that is not feasible (s_1^2 + .. + s_k^2 > r s_1^2) is lowered to the largest one that is. k = 0 (no triplet
    kept) moves s_1 up and R down in the same proportion g, so after the division by sigma it is the same layer as k = 1; `nearest_stable_rank` tells them apart.

    Args:
        layer: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d (rows are outputs there too), per group.
        ratio: in (0, 1]; 0.7 is SRN-70. A one-output head has ratio * 1 < 1: no matrix has a stable rank below 1, so its target is 1.
        k: 0, 1, 2, ...
        norm: what sigma makes 1. "operator": the norm of the layer, s_1 for matrices and for windows that do not overlap, else an estimate as in
            `spectral_normalization`; s_1(W') <= 1 then as well where a window fits into the image. "reshaped": s_1(W'), as published; the layer's norm may be sqrt(prod kernel).
        input_shape, steps: of the estimate, as in `spectral_normalization`.

    Gradients hold singular vectors fixed, as published: not the derivative of the map where R is shrunk. Returns the same layer.

    Guarantee: stable rank and s_1 from eigenvectors of W W', in float64 to 1e-9 (float32: 1e-5). The operator norm of a convolution: an estimate.

    Raises:
        UnsupportedLayerError: another kind of layer. HypothesisError: padding that copies pixels without an input shape; a target of 1 for a matrix with more than one
            row and column, which leaves u v' and no gradient. InputError: arguments, weights.

    Cost: an eigenvalue decomposition of the smaller side at each evaluation, and the estimate: 64 channels, 3x3: 10 ms; a 512 x 512 matrix: 40 ms.

    Source: Sanyal, Torr & Dokania, Stable rank normalization for improved generalization in neural networks and GANs, ICLR 2020, Theorem 1 and Algorithm 1; training.md 1.3.

    >>> layer = stable_rank_normalization(nn.Linear(20, 10), ratio=0.3)
    >>> s = torch.linalg.svdvals(layer.weight)
    >>> round((s.square().sum() / s[0] ** 2).item(), 3), round(s[0].item(), 3)
    (3.0, 1.0)
    """
    geometry = require_layer(layer)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise InputError("the ratio is a part of the smaller side", where="argument ratio", found=repr(ratio), expected="0 < ratio <= 1")
    for name, value, least in (("k", k, 0), ("steps", steps, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError("not a number of triplets or steps", where=f"argument {name}", found=repr(value), expected=f"an integer from {least} on")
    if norm not in ("operator", "reshaped"):
        raise InputError("unknown kind of spectral norm", where="argument norm", found=repr(norm), expected="'operator' or 'reshaped'")
    weight: Tensor = layer.weight
    least = min(geometry.output_rows(weight).shape[1:])
    if least > 1 and ratio * least <= 1:
        what = "a stable rank of 1 leaves the top singular vectors alone, which the gradient holds fixed: nothing would train"
        raise HypothesisError(what, where=type(layer).__name__, found=f"ratio {ratio} of {least} rows or columns", expected=f"a ratio above {1 / least:.4g}")
    shrink = StableRank(geometry, float(ratio), k)
    if norm == "operator" and (geometry.overlap > 1 or (geometry.convolution and geometry.layer.padding_mode != "zeros")):
        shrink.norm = EstimatedNorm(geometry, shrink(weight).detach(), input_shape, steps)
    else:
        shrink.lipschitz = _by_windows(geometry)
    return attach(layer, shrink)


class StableRank(nn.Module):
    """The parametrization; `norm` gives the operator norm of a kernel, None where that is s_1."""

    def __init__(self, geometry: Geometry, ratio: float, k: int):
        super().__init__()
        self.geometry, self.ratio, self.k = geometry, ratio, k
        self.norm: EstimatedNorm | None = None
        self.lipschitz: float | None = 1.0

    @full_precision
    def forward(self, weight: Tensor) -> Tensor:
        matrices = self.geometry.output_rows(weight)
        target = max(1.0, self.ratio * min(matrices.shape[1:]))
        shrunk = self.geometry.from_output_rows(_normalized(matrices, target, max(self.k, 1)), weight)
        return shrunk if self.norm is None else shrunk / divisor(self.norm(shrunk))

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}, k={self.k}"


def _by_windows(geometry: Geometry) -> float | None:
    """||A|| <= sqrt(overlap) ||W'||, where no pixel is copied; else None: estimates measure the layer."""
    try:
        require_symbol(geometry, None)
    except HypothesisError:
        return None
    return math.sqrt(geometry.overlap)


def nearest_stable_rank(matrix: Tensor, stable_rank: float, k: int = 1) -> Tensor:
    """The matrix of stable rank at most `stable_rank` >= 1 nearest to `matrix` in the Frobenius norm, its k largest singular values kept.

    k = 0 may move all of them: s_1 by g_1 = (1 + sqrt(r - 1) ||R|| / s_1) / r, the rest by g g_1 with g = sqrt(r - 1) s_1 / ||R||_F: nearest of all.
    Source: Sanyal et al. 2020, Theorem 1.

    >>> m = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    >>> [round((nearest_stable_rank(m, 1.25, k) - m).norm().item(), 4) for k in (0, 1)]
    [0.3705, 0.4142]
    """
    if not stable_rank >= 1:
        raise InputError("a stable rank is at least 1", where="argument stable_rank", found=repr(stable_rank))
    top = torch.linalg.matrix_norm(matrix, 2)
    unit = _normalized(matrix[None], stable_rank, max(k, 1))[0]
    if k > 0:
        return unit * top
    rest = torch.linalg.svdvals(matrix)[1:].norm() / divisor(top)
    spread = (stable_rank - 1) ** 0.5
    return unit * top * torch.where(rest > spread, (1 + spread * rest) / stable_rank, torch.ones_like(top))


def _normalized(matrices: Tensor, target: float, k: int) -> Tensor:
    """(S + g R) / s_1 of a batch (g, m, n), singular vectors held fixed. The top singular value is 1; a zero matrix stays zero."""
    u, v = _top_vectors(matrices, k)
    values = (u * (matrices @ v)).sum(dim=-2)  # (g, k), the first is s_1
    first = divisor(values[:, :1])
    values, matrices = values / first, matrices / first[..., None]
    with torch.no_grad():  # the largest feasible k; s_1 alone always is
        feasible = values.square().cumsum(dim=-1) <= target
        feasible[:, 0] = True
    values = values * feasible
    kept = (u * values[:, None]) @ v.mT
    rest = matrices - kept
    size = torch.linalg.vector_norm(rest, dim=(-2, -1))
    room = target - values.square().sum(dim=-1)
    room = torch.where(room > 0, torch.where(room > 0, room, torch.ones_like(room)).sqrt(), torch.zeros_like(room))  # the root has no slope at 0
    whole = min(matrices.shape[-2:]) <= target  # nothing to shrink: what is left beside one row is rounding
    factor = torch.where((size > room) & (not whole), room / divisor(size), torch.ones_like(size))
    return kept + factor[:, None, None] * rest


@torch.no_grad()
def _top_vectors(matrices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(u (g, m, k), v (g, n, k)): singular vectors of the k largest singular values, by the Gram matrix of the smaller side."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    tall = matrices.mT if wide else matrices
    tall = tall.nan_to_num(0, 0, 0)  # NaN stays in the matrices, for the loop to see in the loss
    tall = tall / divisor(tall.abs().amax(dim=(-2, -1), keepdim=True))
    k = min(k, tall.shape[-1])
    short = torch.linalg.eigh(tall.mT @ tall)[1].flip(-1)[..., :k]
    long = tall @ short
    long = long / divisor(torch.linalg.vector_norm(long, dim=-2, keepdim=True))
    return (short, long) if wide else (long, short)
