"""LiResNetBlock against its formula: the dense matrix of the residual, its batch mean, and identities at wrong taps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from train.slopes import jacobian

import certify
from certify.train.blocks import LiResNetBlock
from certify.train.blocks.liresnet import ResidualKernel

settings = st.fixed_dictionaries(
    {
        "kernel_size": st.integers(1, 5),
        "depth": st.integers(1, 9),
        "groups": st.sampled_from([1, 2, 4]),
        "padding_mode": st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
        "centering": st.booleans(),
    }
)


def linear_block(seed: int = 0, **kwargs) -> LiResNetBlock:
    """Without an activation, random gamma, bias and mean, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = LiResNetBlock(4, activation=nn.Identity(), **kwargs).double()
        with torch.no_grad():
            for tensor in [*block.parameters(), *block.buffers()]:
                tensor.add_(torch.randn_like(tensor))
    return block


def branch(block: LiResNetBlock, x: Tensor) -> Tensor:
    """s gamma W * x as a convolution of its own, padded by hand."""
    parametrized = block.conv.parametrizations.weight
    kernel = parametrized.original * (block.depth**-0.5 * parametrized[0].gamma).reshape(-1, 1, 1, 1)
    k = kernel.shape[-1]
    low, high = (k - 1) // 2, k - 1 - (k - 1) // 2
    mode = {"zeros": "constant"}.get(block.conv.padding_mode, block.conv.padding_mode)
    return F.conv2d(F.pad(x, (low, high, low, high), mode=mode), kernel, groups=block.conv.groups)


def wrong(block: LiResNetBlock) -> bool:
    """Whether the block's matrix is another than I + that of its branch, built from unit vectors."""
    x = torch.zeros(1, 4, 5, 6, dtype=torch.float64)
    truth = torch.eye(x.numel(), dtype=torch.float64) + jacobian(lambda v: branch(block, v), x)
    return not torch.allclose(jacobian(block.eval(), x), truth, atol=1e-12)


@given(kwargs=settings, seed=st.integers(0, 99))
def test_the_matrix_is_the_identity_plus_the_branch(kwargs, seed):
    block = linear_block(seed, **kwargs)
    assert not wrong(block)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    shift = block.bias - (block.running_mean if kwargs["centering"] else 0)
    assert torch.allclose(block(x), x + branch(block, x) + shift.reshape(-1, 1, 1), atol=1e-12)
    plain = block.exported()
    assert type(plain) is nn.Conv2d and torch.allclose(plain(x), block(x), atol=1e-12)


@given(kwargs=settings, seed=st.integers(0, 99))
def test_training_subtracts_the_mean_of_the_branch(kwargs, seed):
    block = linear_block(seed, **kwargs).train()
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    before = block.running_mean.clone() if kwargs["centering"] else None
    moved = branch(block, x)
    mean = moved.mean((0, 2, 3)) if kwargs["centering"] else torch.zeros(4, dtype=torch.float64)
    assert torch.allclose(block(x), x + moved + (block.bias - mean).reshape(-1, 1, 1), atol=1e-12)
    if kwargs["centering"]:
        assert torch.allclose(block.running_mean, 0.9 * before + 0.1 * mean, atol=1e-12)


def test_the_norm_is_that_of_the_folded_kernel():
    """operator_norm and the dense matrix agree, and stay far below 1 + ||branch||."""
    block, x = linear_block(depth=4), torch.zeros(1, 4, 6, 6, dtype=torch.float64)
    true = torch.linalg.matrix_norm(jacobian(block.eval(), x), 2).item()
    bound = certify.operator_norm(block.conv, (4, 6, 6))
    assert bound.lower <= true * (1 + 1e-12) and true <= bound.upper and bound.upper <= true * 1.05
    assert bound.upper < 1 + torch.linalg.matrix_norm(jacobian(lambda v: branch(block, v), x), 2).item()


def test_starts_near_the_identity():
    x = torch.randn(2, 16, 8, 8)
    block = LiResNetBlock(16, depth=12, activation=nn.Identity()).eval()
    assert (block(x) - x).norm() < 0.1 * x.norm()


# ---- identities that look right


class HighTap(ResidualKernel):
    """The tap k // 2: right for odd kernels only."""

    def forward(self, weight: Tensor) -> Tensor:
        right = super().forward(weight)
        return right.roll((1, 1), (2, 3)) if weight.shape[-1] % 2 == 0 else right


class GlobalChannel(ResidualKernel):
    """Channel o of the whole input in place of channel o of the group."""

    def forward(self, weight: Tensor) -> Tensor:
        identity = super().forward(torch.zeros_like(weight))
        wrong_channel = torch.zeros_like(identity)
        for o in range(len(weight)):
            wrong_channel[o, min(o, weight.shape[1] - 1)] = identity[o].sum(0)
        return super().forward(weight) - identity + wrong_channel


class Unscaled(ResidualKernel):
    def forward(self, weight: Tensor) -> Tensor:
        return super().forward(weight / self.scale)


class NoIdentity(ResidualKernel):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (self.scale * self.gamma).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "kwargs"), [(HighTap, {"kernel_size": 4}), (HighTap, {"kernel_size": 2}), (GlobalChannel, {"groups": 2}), (Unscaled, {"depth": 4}), (NoIdentity, {})]
)
def test_broken_kernels_are_caught(kind, kwargs):
    block = linear_block(**kwargs)
    block.conv.parametrizations.weight[0].__class__ = kind
    with parametrize.cached():
        assert wrong(block)
