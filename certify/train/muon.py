"""Muon: momentum whose matrices are replaced by (nearly) their polar factors, so that a step changes every singular direction equally."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..core.errors import InputError
from .settings import number, whole

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, and [0.68, 1.14] for singular values that have arrived


class Muon(torch.optim.Optimizer):
    """W <- W - lr * O(m G_t + G_t'), G_t = m G_(t-1) + G, with O(X) the polar factor of X, approximated by `polar_estimate`.

    The steepest descent in the spectral norm. On weights with orthonormal columns that are retracted after each step (`RetractedFrame`,
    method="retraction"), lr is the angle in radians by which a step turns them: 0.1 is large, and works. Measured on MNIST with orthogonal
    networks, one epoch of it does what four of Adam do.

    Args:
        params: tensors (..., rows, columns) with at least two axes, or groups of them; a tensor with more axes is a stack of matrices, or, in a group with
            flatten=True, one matrix (first axis, everything else): a kernel.
        lr: step length in the spectral norm. momentum: m, in [0, 1). steps: of the iteration for O.
    Guarantee: none. With `steps` = 5 the singular values of a step lie in lr * [0.68, 1.21] where those of the momentum are above 2e-3 of its norm; below, they are smaller.
    Raises:
        InputError: a parameter that is no matrix, a rate, momentum or number of steps out of range.
    Cost: per matrix (m, n), m >= n: two products of cost m n^2 and a few of n^3.
    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks; Bernstein & Newhouse 2024, arXiv:2409.20325 (steepest descent).

    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = Muon([weight], lr=0.5, momentum=0.0)
    >>> weight.grad = torch.tensor([[3.0, 0.0], [0.0, -2.0]])
    >>> optimizer.step()
    >>> 2 * weight * torch.tensor([-1.0, 1.0]) > 0.6            # the polar factor of the gradient is diag(1, -1)
    tensor([[ True, False],
            [False,  True]])
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.05, momentum: float = 0.95, steps: int = 5):
        number("lr", lr, least=0.0)
        number("momentum", momentum, least=0.0, most=1.0)
        whole("steps", steps)
        super().__init__(params, {"lr": lr, "momentum": momentum, "steps": steps, "flatten": False})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group, as in any optimizer of torch; the first ones pass through here too."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim < 2 or not parameter.numel():
                raise InputError("Muon steps matrices", where="argument params", found=f"a parameter of shape {tuple(parameter.shape)}", expected="(..., rows, columns)")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            m = group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].mul_(m).add_(parameter.grad)
                ahead = torch.add(parameter.grad, average, alpha=m)
                step = polar_estimate(ahead.flatten(1) if group["flatten"] else ahead, group["steps"])
                parameter.sub_(step.reshape(parameter.shape), alpha=group["lr"])
        return loss


def polar_estimate(matrices: Tensor, steps: int = 5) -> Tensor:
    """About U V' for U S V' = X, of each matrix of a stack (..., m, n): p(XX') X with an odd polynomial p of degree 5^steps that is near 1 / s on most of (0, |X|].

    The polynomial is evaluated in the small Gram matrix, which needs two products with X whatever `steps` is. Singular values below about 2e-3 |X|_F come
    out smaller, zero stays zero. An estimate.
    """
    wide = matrices.shape[-2] < matrices.shape[-1]
    x = matrices.mT if wide else matrices
    peak = x.abs().amax(dim=(-2, -1), keepdim=True)  # gradients of 1e-25 have squares that are 0 in float32
    x = x / torch.where(peak > 0, peak, torch.ones_like(peak))
    gram = x.mT @ x
    size = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]  # |X|_F^2
    size = torch.where(size > 0, size, torch.ones_like(size))
    gram = gram / size
    a, b, c = _QUINTIC
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = eye
    for step in range(steps):
        factor = a * eye + b * gram + c * (gram @ gram)
        product = factor if step == 0 else product @ factor
        if step < steps - 1:
            gram = factor @ gram @ factor  # all of them polynomials in one matrix: they commute
    x = x @ (product / size.sqrt())
    return x.mT if wide else x
