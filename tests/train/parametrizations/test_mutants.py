"""Deliberately broken parametrizations: the questions of this folder must catch every one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train.parametrizations import test_block_convolution, test_norms, test_stable_rank
from train.parametrizations.parametrized import build, disturb, true_norm

from certify.train.parametrizations import base, block_convolution, cayley_map, followed_norm, frames, orthogonal_convolution, orthogonal_kernel


def norm_question(variant: str, layer: str):
    return lambda: test_norms.test_the_norm_stays_at_most_one(variant, layer)


def first_norm(variant: str, layer: str):
    def ask():
        assert true_norm(*build(variant, layer)) <= 1 + 2e-3

    return ask


def orthogonality():
    test_block_convolution.test_square_circular_convolutions_are_orthogonal("cayley", 3)


def far_bjorck():
    layer = orthogonal_convolution(nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), "bjorck")
    disturb(layer, 2.0)
    assert true_norm(layer, (6, 5, 5)) <= 1 + 1e-5


def reshaped_norm(self, weight, state, steps):
    """The norm of the kernel as a matrix, taken for that of the convolution."""
    leaf = weight.clone().requires_grad_()
    with torch.enable_grad():
        self.direction = torch.autograd.grad(torch.linalg.matrix_norm(leaf.flatten(1), 2), leaf)[0]
    for k in range(5):
        self.register_buffer(f"state{k}", torch.zeros(()))


def unscaled(x, iterations):
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * x @ (x.mT @ x)
    return x


def skewed(self, x, factors):
    return block_convolution._Scan.apply(x, factors @ factors.mT.roll(1, -1), self.axes)


def half_factor(self, x, factors):
    return block_convolution._Scan.apply(x, 0.5 * factors @ factors.mT, self.axes)


def permuted(self, matrices, weight):
    """The published code: dimensions moved back in the wrong order."""
    return matrices.reshape(weight.shape[1], weight.shape[0], *weight.shape[2:]).reshape(weight.shape)


def no_rest(raw, turn):
    n = raw.shape[-1]
    top, rest = raw[..., :n, :], raw[..., n:, :]
    y = torch.linalg.solve(torch.eye(n, dtype=raw.dtype) + top - top.mH, turn)
    return torch.cat([2 * y - turn, -2 * rest @ y], dim=-2)


def symmetric(raw, turn):
    n = raw.shape[-1]
    eye = torch.eye(n, dtype=raw.dtype)
    m = raw[..., :n, :] + raw[..., :n, :].mH
    return torch.linalg.solve(eye + m, eye - m) @ turn


MUTANTS = {
    "norm of the reshaped kernel": (followed_norm.EstimatedNorm, "_search", reshaped_norm, first_norm("spectral, any size", "zeros")),
    "Bjorck without a safe start": (frames, "newton_schulz", unscaled, far_bjorck),
    "projector not symmetric": (block_convolution.KernelPlan, "_scan", skewed, orthogonality),
    "projector of norm 1/2": (block_convolution.KernelPlan, "_scan", half_factor, orthogonality),
    "transposed kernel permuted": (base.Geometry, "from_output_rows", permuted, test_stable_rank.test_a_large_target_changes_nothing_but_the_norm),
    "transposed rows taken for outputs": (base.Geometry, "output_rows", base.Geometry.matrices, lambda: test_stable_rank.test_stable_rank_and_norm("transposed", 1)),
    "Cayley without B'B": (frames, "cayley", no_rest, norm_question("cayley", "tall, no bias")),
    "Cayley of a symmetric matrix": (frames, "cayley", symmetric, norm_question("cayley", "square")),
    "frequencies without the conjugate": (
        cayley_map,
        "transform",
        lambda raw, turn: frames.cayley(raw.real, turn.real).to(raw.dtype) if raw.shape[-1] == 1 else raw,
        norm_question("cayley", "circular"),
    ),
    "overlap forgotten": (base.Geometry, "overlap", 1, norm_question("bjorck", "even")),
    "stride taken without the dilation's factor": (base.Geometry, "strides", property(lambda self: tuple(self.layer.stride)), lambda: _dilated()),
    "stride ignored": (base.Geometry, "strides", property(lambda self: (1,) * len(self.layer.stride)), lambda: _strided_orthogonality()),
    "retraction forgotten": (frames.RetractedFrame, "retract_", lambda self: None, norm_question("orthogonal, retraction", "circular, wide, groups")),
    "groups mixed up": (base.Geometry, "groups", 1, lambda: _grouped()),
}


def _dilated():
    """Stride 2 and dilation 2 is stride 1 on a coarser grid: a patch of 2 would be read twice."""
    layer = nn.Conv1d(2, 4, 2, stride=2, dilation=2, padding=1, padding_mode="circular")
    orthogonal_convolution(layer, input_shape=(2, 8))
    assert true_norm(layer, (2, 8)) <= 1 + 1e-5


def _strided_orthogonality():
    layer = nn.Conv2d(2, 8, 2, stride=2)
    orthogonal_convolution(layer)
    assert test_block_convolution.spread(layer, (2, 4, 4)) <= 1e-4


def _grouped():
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, padding_mode="circular")
    orthogonal_convolution(layer)
    assert test_block_convolution.spread(layer, (4, 4, 4)) <= 1e-4


def test_the_questions_are_passed_by_the_real_thing():
    for *_, question in MUTANTS.values():
        question()


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_caught(name: str, monkeypatch):
    owner, attribute, broken, question = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    if owner is frames and attribute in ("cayley", "newton_schulz"):
        assert orthogonal_kernel.frame_of is frames.frame_of  # frames look their maps up in their own module
    with pytest.raises(AssertionError):
        question()
