"""Semi-orthogonal matrices as functions of free ones: the Cayley map, Bjorck's iteration, and matrices kept on the manifold themselves.

A frame is a module whose call gives a tensor (..., m, n), m >= n, with orthonormal columns, and `reset_(target)` makes it give a chosen one.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import InputError
from .retraction import newton_schulz, retracted

_ITERATIONS = 12  # of "bjorck"
_OFF = 1e-3  # entries of X'X - I from which on a frame was plainly not retracted: rounding leaves 1e-5


class CayleyFrame(nn.Module):
    """[2 Y - O; -2 B Y] with (I + A - A' + B'B) Y = O, from raw = [A; B]: (I - M)(I + M)^-1 and its rows below, M = A - A' + B'B, turned by O.

    Exactly orthonormal in real arithmetic, whatever A and B [M + M' = 2 B'B is positive semidefinite, so I + M is invertible]. O is a fixed
    orthogonal matrix that `reset_` chooses so that the target has A = 0 and I + M between I and 2 I.
    """

    def __init__(self, target: Tensor):
        super().__init__()
        n = target.shape[-1]
        self.raw = nn.Parameter(torch.zeros_like(target))
        self.register_buffer("turn", torch.eye(n).to(target).expand(*target.shape[:-2], n, n).clone())
        self.reset_(target)

    def forward(self) -> Tensor:
        return cayley(self.raw, self.turn)

    @torch.no_grad()
    def reset_(self, target: Tensor) -> None:
        n = target.shape[-1]
        wide = target.double()
        u, s, vh = torch.linalg.svd(wide[..., :n, :])
        self.turn = (u @ vh).to(self.raw)
        # the target turned back is [S; T] with S = u diag(s) u' >= 0, hence M = (I - S)(I + S)^-1 = M' and B = -T (I + M) / 2 = -T (I + S)^-1
        below = -(wide[..., n:, :] @ (u @ vh).mT @ u / (1 + s)[..., None, :]) @ u.mT
        self.raw.copy_(torch.cat([torch.zeros_like(wide[..., :n, :]), below], dim=-2))


class BjorckFrame(nn.Module):
    """The polar factor of raw by `newton_schulz`."""

    def __init__(self, target: Tensor, iterations: int):
        super().__init__()
        self.raw = nn.Parameter(target.detach().clone())
        self.iterations = iterations

    def forward(self) -> Tensor:
        return newton_schulz(self.raw, self.iterations)

    @torch.no_grad()
    def reset_(self, target: Tensor) -> None:
        self.raw.copy_(target)


class RetractedFrame(nn.Module):
    """raw itself, which `retract_` puts back onto the manifold after each optimizer step. Training without it warns."""

    def __init__(self, target: Tensor):
        super().__init__()
        self.raw = nn.Parameter(target.detach().clone())
        self._known = self.raw._version  # that lies on the manifold, or has been warned about

    @torch.no_grad()
    def reset_(self, target: Tensor) -> None:
        self.raw.copy_(target)

    def forward(self) -> Tensor:
        if self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling() and not self.raw.is_inference() and self.raw._version != self._known:
            self._notice()
        return self.raw

    @torch.no_grad()
    def retract_(self) -> None:
        self.raw.copy_(retracted(self.raw))
        self._known = self.raw._version

    @torch.no_grad()
    def _notice(self) -> None:
        """The matrices were written by somebody else: an optimizer in a loop that forgets `retract_` must not pass for a network of constant 1."""
        self._known = self.raw._version
        defect = self.raw.mT @ self.raw
        defect.diagonal(dim1=-2, dim2=-1).sub_(1)
        if bool((defect.abs() > _OFF).any()):
            what = 'method="retraction": the weights are not orthonormal, so the norm of the layer is not 1'
            warnings.warn(f"{what}; call certify.train.parametrizations.retract_(model) after each optimizer step", RuntimeWarning, stacklevel=2)


def frame_of(method: str, target: Tensor, iterations: int | None) -> CayleyFrame | BjorckFrame | RetractedFrame:
    """A frame that gives `target`.

    Raises:
        InputError: an unknown method, or less than one iteration.
    """
    if method not in ("cayley", "bjorck", "retraction"):
        raise InputError("unknown method", where="argument method", found=repr(method), expected="'cayley', 'bjorck' or 'retraction'")
    if iterations is None:
        iterations = _ITERATIONS
    if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 1:
        raise InputError("the number of iterations is a positive integer", where="argument iterations", found=repr(iterations))
    if method == "cayley":
        return CayleyFrame(target)
    return BjorckFrame(target, iterations) if method == "bjorck" else RetractedFrame(target)


def cayley(raw: Tensor, turn: Tensor) -> Tensor:
    """(..., m, n) with orthonormal columns from any real or complex raw (..., m, n), m >= n, and unitary turn (..., n, n), which gets no gradient."""
    return _Cayley.apply(raw, turn)  # type: ignore[no-untyped-call]


class _Cayley(torch.autograd.Function):
    """Y = (I + M)^-1 O with its inverse kept: backward costs products only, where autograd would solve again and go through a dozen small operations.

    With G = [G_1; G_2] the gradient: g_Y = 2 G_1 - 2 B' G_2, g_M = -X' g_Y Y', g_A = g_M - g_M', g_B = -2 G_2 Y' + B (g_M + g_M').
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, turn: Tensor) -> Tensor:
        n = raw.shape[-1]
        top, rest = raw[..., :n, :], raw[..., n:, :]
        matrix = top - top.mH
        if rest.shape[-2]:
            matrix = matrix + rest.mH @ rest
        matrix.diagonal(dim1=-2, dim2=-1).add_(1)
        inverse = torch.linalg.inv_ex(matrix)[0]  # never singular; a NaN passes through, for the loop to see in the loss
        y = inverse @ turn
        ctx.save_for_backward(rest, inverse, y)
        above = 2 * y - turn
        frame = torch.cat([above, -2 * (rest @ y)], dim=-2) if rest.shape[-2] else above
        defect = frame.mH @ frame
        defect.diagonal(dim1=-2, dim2=-1).sub_(1)
        return frame - 0.5 * (frame @ defect)  # rounding that the inverse magnified: one Newton-Schulz step, invisible to the gradient

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        rest, inverse, y = ctx.saved_tensors
        n = inverse.shape[-1]
        above, below = grad[..., :n, :], grad[..., n:, :]
        with_rest = bool(rest.shape[-2])
        of_y = 2 * (above - rest.mH @ below if with_rest else above)
        of_matrix = (inverse.mH @ of_y) @ y.mH
        of_top = of_matrix.mH - of_matrix
        if not with_rest:
            return of_top, None
        return torch.cat([of_top, -2 * (below @ y.mH) - rest @ (of_matrix + of_matrix.mH)], dim=-2), None


def polar(matrices: Tensor) -> Tensor:
    """The nearest matrices with orthonormal columns (rows where they are wide), by SVD in float64."""
    u, _, vh = torch.linalg.svd(matrices.detach().double(), full_matrices=False)
    return (u @ vh).to(matrices)


def random_frames(*shape: int, like: Tensor) -> Tensor:
    """Uniformly distributed matrices (..., m, n), m >= n, with orthonormal columns, from torch's generator."""
    q, r = torch.linalg.qr(torch.randn(shape, dtype=torch.float64))
    return (q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)[..., None, :]).to(like)
