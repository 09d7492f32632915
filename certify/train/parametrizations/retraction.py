"""The polar factor of a matrix by products alone: with a gradient, and in place of a matrix that an optimizer step has moved off the manifold."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_NEAR = 0.05  # entries of I - X'X from which on the cheaper cubic step is good enough
_ROUNDS = 4  # quintic steps on X'X: further away, X'X is too badly conditioned to stand for X
_FAR = 40  # steps on X itself then: singular values of 1e-7 times the largest arrive


@torch.no_grad()
def retracted(x: Tensor) -> Tensor:
    """(..., m, n), m >= n, with orthonormal columns: X (X'X)^-1/2 by Newton-Schulz steps on the Gram matrix.

    With G = X'X a step is F = (15 I - 10 G + 3 G^2) / 8, near the end F = (3 I - G) / 2, then Q <- Q F and G <- F G F: small matrices that are polynomials in one another,
    so they commute, and X Q is what the same steps on X would give. X itself takes part in two products, however many steps there are. Where some singular value is below a
    tenth of the others the steps are made on X itself (`newton_schulz`): X'X has lost it to rounding, and eigenvalues below 0 would grow.

    Claim: every singular value of the result is at most 1 in real arithmetic. [X is scaled so that ||X||^2 <= min(||G||_inf, ||G||_F) <= 2 first. The quintic step
    s -> (15 s - 10 s^3 + 3 s^5) / 8 grows on [0, inf) (its derivative is 15 (1 - s^2)^2 / 8) and maps [0, sqrt 2] into itself (sqrt 2 to 1.24); the last
    step is the cubic one, which maps that into [0, 1].] Where the mean square of the singular values may be 1 within that limit, it is: a multiple of an orthogonal
    matrix arrives at once. Rounding: measured at most 3e-6 above 1 in float32. A zero matrix stays zero, NaN stays NaN.
    """
    if not x.numel():
        return x
    x = x * _unit(x)
    gram = x.mT @ x
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    square = _square(gram)
    gram, product = gram / square, eye * square.rsqrt()
    for _ in range(_ROUNDS + 1):
        if float((gram - eye).abs().amax()) <= _NEAR:
            break
        factor = 1.875 * eye - 1.25 * gram + 0.375 * (gram @ gram)
        product, gram = product @ factor, factor @ gram @ factor
    else:
        return newton_schulz(x, _FAR)
    enough = 4 * x.shape[-1] ** 0.5 * torch.finfo(x.dtype).eps  # of |I - G|_F
    for _ in range(6):  # 0.05 squared again and again
        factor = 1.5 * eye - 0.5 * gram
        product = product @ factor
        if not float(torch.linalg.matrix_norm(gram - eye).amax()) ** 2 > enough:  # the step just made squares it
            break
        gram = factor @ gram @ factor
    return x @ product


def newton_schulz(x: Tensor, iterations: int) -> Tensor:
    """At most `iterations` steps X <- X - X (X'X - I) / 2 from a safe multiple of x (..., m, n), m >= n, towards its polar factor.

    Claim: every singular value s of the result is at most 1, converged or not. [The start has ||X||^2 <= min(||X'X||_inf, ||X'X||_F) <= 2, and
    s -> (3 s - s^3) / 2 maps [0, sqrt 3] into [0, 1]; in real arithmetic, rounding adds a few units in the last place.] Where the mean square of the
    singular values may be 1 within that limit it is: near the manifold nothing is lost to scaling. Stops when the next defect X'X - I would drown in
    rounding, so the number of steps depends on the values. A zero matrix stays zero.

    The gradient is that of the steps with the scale held fixed: exact once converged, where the result does not depend on the scale.
    """
    if not x.numel():
        return x
    with torch.no_grad():
        unit = _unit(x)
        near = x * unit
        scale = unit * _square(near.mT @ near).rsqrt()
    x = x * scale
    flat = x.flatten(0, -3) if x.dim() > 3 else x.reshape(-1, *x.shape[-2:])
    return _NewtonSchulz.apply(flat, iterations).reshape(x.shape)  # type: ignore[no-untyped-call]


class _NewtonSchulz(torch.autograd.Function):
    """The steps on a batch of matrices; backward goes through each in three products: g <- g (3 I - X'X) / 2 - X (X'g + g'X) / 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, iterations: int) -> Tensor:
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        enough = math.sqrt(2 * torch.finfo(x.dtype).eps)  # of ||X'X - I||_F: its square bounds the next one
        saved = []
        for _ in range(iterations):
            defect = torch.baddbmm(eye, x.mT, x, beta=-1)
            saved += [x, defect]
            x = torch.baddbmm(x, x, defect, alpha=-0.5)
            if float(torch.linalg.vector_norm(defect)) <= enough:
                break
        ctx.save_for_backward(*saved)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        saved = ctx.saved_tensors
        for x, defect in zip(saved[-2::-2], saved[-1::-2]):
            inner = x.mT @ grad
            grad = torch.baddbmm(grad, grad, defect, alpha=-0.5)
            grad = torch.baddbmm(grad, x, inner + inner.mT, alpha=-0.5)
        return grad, None


def _unit(x: Tensor) -> Tensor | float:
    """A factor (..., 1, 1) that brings entries to at most 1, where squares could leave the range of the dtype; elsewhere just 1."""
    peak = x.abs().amax(dim=(-2, -1), keepdim=True)
    far = ((peak > 0) & (peak < 1e-12)) | (peak > 1e12)
    return torch.where(far, 1 / torch.where(far, peak, torch.ones_like(peak)), torch.ones_like(peak)) if bool(far.any()) else 1.0


def _square(gram: Tensor) -> Tensor:
    """(..., 1, 1): by what to divide G = X'X so that ||G|| <= 2, and so that the mean eigenvalue is 1 where that is compatible; 1 for a zero matrix."""
    top = torch.minimum(gram.abs().sum(dim=-1).amax(dim=-1), torch.linalg.matrix_norm(gram))
    square = torch.maximum(gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1), top / 2)[..., None, None]
    return torch.where(square > 0, square.clamp_min(torch.finfo(gram.dtype).tiny), torch.ones_like(square))
