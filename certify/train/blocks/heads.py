"""Last layers: orthonormal rows, or rows of unit norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...core.errors import InputError
from .shared import Sigma, constant_one


class _OrthonormalRows(nn.Module):
    """X -> Q' of X' = Q R with a positive diagonal of R (of X itself, where X has more rows than columns)."""

    lipschitz = 1.0  # for estimates in training

    def forward(self, weight: Tensor) -> Tensor:
        wide = weight.shape[0] <= weight.shape[1]
        matrix = weight.mT if wide else weight
        q, r = torch.linalg.qr(matrix if weight.dtype == torch.float64 else matrix.float())
        signs = r.diagonal().detach()
        q = (q * torch.where(signs < 0, -1.0, 1.0).to(q)).to(weight.dtype)  # Q is a continuous function of X only with fixed signs
        return q.mT if wide else q


class _UnitRows(nn.Module):
    """Each row divided by its norm; a zero row stays zero."""

    def forward(self, weight: Tensor) -> Tensor:
        peak = weight.detach().abs().amax(dim=1, keepdim=True)
        scaled = weight / torch.where(peak > 0, peak, 1.0).to(weight)  # squares of 1e-30 vanish in float32; the factor does not change the result
        size = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
        return scaled / torch.where(size > 0, size, 1.0)


class _Head(nn.Linear):
    """An nn.Linear with a parametrized weight that is exported as an nn.Linear."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError("a layer needs a positive number of features", where=f"{type(self).__name__}, argument {name}", found=repr(value), expected="an integer >= 1")
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)

    @torch.no_grad()
    def exported(self) -> nn.Linear:
        """An nn.Linear with the weight and bias as they are now."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, device=self.weight.device, dtype=self.weight.dtype)
        layer.weight.copy_(self.weight)
        if self.bias is not None:
            layer.bias.copy_(self.bias)
        return layer


class OrthogonalLinear(_Head):
    """A linear layer whose rows are orthonormal (its columns, if it has more outputs than inputs).

    Claim: W W' = I, so ||W||_2 = 1 and |w_i - w_j| = sqrt 2 for all logits i, j, in exact arithmetic. W' is the factor Q of a QR decomposition of the
    stored matrix transposed; its gradient passes through the decomposition.

    Args:
        in_features, out_features, bias, device, dtype: as nn.Linear.
    Guarantee: none before `certify.operator_norm`; measured, ||W||_2 <= 1 + 1e-6 in float32 and 1 + 2e-15 in float64. A stored matrix without full rank has
        an arbitrary, still orthonormal, completion and no gradient.
    Raises:
        InputError: no positive number of features.
    Cost: a QR decomposition of (in, out) per forward pass: small for a head.
    Source: Golub, Van Loan: Matrix Computations, 4th edition, section 5.2.

    >>> head = OrthogonalLinear(4, 2)
    >>> torch.allclose(head.weight @ head.weight.mT, torch.eye(2), atol=1e-6)
    True
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(in_features, out_features, bias, device, dtype)
        parametrize.register_parametrization(self, "weight", _OrthonormalRows())

    def lipschitz_estimate(self, sigma: Sigma) -> Tensor:
        """1; `sigma` is not needed."""
        return constant_one()


class UnitNormLinear(_Head):
    """A linear layer whose rows have l2 norm 1: the last-layer normalization of certified training.

    Claim: every logit is 1-Lipschitz, every difference of two is |w_i - w_j| <= 2 times, often far less; ||W||_2 is between 1 and sqrt(outputs). The
    certificate should use |w_i - w_j| (`certify.radius` does), not 2.

    Args:
        in_features, out_features, bias, device, dtype: as nn.Linear.
    Guarantee: none before `certify.radius`; the rows are normalized in the layer's dtype. A zero row stays zero.
    Raises:
        InputError: no positive number of features.
    Cost: one pass over the weight per forward pass.
    Source: Singla, Singla, Feizi: Improved deterministic l2 robustness on CIFAR-10 and CIFAR-100, ICLR (2022), section 5.

    >>> [round(norm, 5) for norm in UnitNormLinear(4, 2).weight.norm(dim=1).tolist()]
    [1.0, 1.0]
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(in_features, out_features, bias, device, dtype)
        parametrize.register_parametrization(self, "weight", _UnitRows())

    def lipschitz_estimate(self, sigma: Sigma) -> Tensor:
        """sigma(self), the estimate for the matrix with its unit rows."""
        return sigma(self)
