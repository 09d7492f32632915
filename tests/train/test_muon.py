"""Muon: its steps against the polar factor by SVD, at every scale and shape; what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from certify.train import Plan, models
from certify.train.muon import Muon, polar_estimate
from certify.train.optimizers import build
from certify.train.parametrizations import bjorck, retract_


def polar(x: torch.Tensor) -> torch.Tensor:
    u, _, vh = torch.linalg.svd(x.double(), full_matrices=False)
    return u @ vh


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), stack=st.integers(1, 3), seed=st.integers(0, 2**20), scale=st.sampled_from([1e-30, 1e-4, 1.0, 1e18]))
def test_a_step_is_near_the_polar_factor_at_every_scale(rows, columns, stack, seed, scale):
    x = torch.randn(stack, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    x = u @ torch.diag_embed(s.clamp_min(0.01 * s[..., :1])) @ vh  # singular values that five steps lift: above 2e-3 of the norm
    found = polar_estimate((scale * x).float()).double()
    inner = (u.mT @ found @ vh.mT).diagonal(dim1=-2, dim2=-1)
    assert float(inner.min()) >= 0.68 and float(inner.max()) <= 1.21
    assert float((found - u @ torch.diag_embed(inner) @ vh).abs().max()) <= 1e-3, "the singular vectors are those of the gradient"


def test_zero_gradients_make_no_step_and_nan_stays_visible():
    assert float(polar_estimate(torch.zeros(2, 4, 3)).abs().max()) == 0
    assert bool(polar_estimate(torch.full((4, 3), float("nan"))).isnan().all())


def test_wide_matrices_step_as_their_transposes_do():
    x = torch.randn(3, 7, dtype=torch.float64)
    assert torch.equal(polar_estimate(x), polar_estimate(x.mT).mT)


def test_momentum_is_nesterovs():
    weight = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    optimizer = Muon([weight], lr=1.0, momentum=0.5)
    first, second = torch.eye(2, dtype=torch.float64), torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    weight.grad = first
    optimizer.step()
    before = weight.detach().clone()
    weight.grad = second
    optimizer.step()
    step = polar_estimate(second + 0.5 * (0.5 * first + second))
    assert torch.allclose(weight.detach(), before - step)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize("arguments", [{"lr": -0.1}, {"lr": float("nan")}, {"momentum": 2.0}, {"steps": 0}])
def test_settings_out_of_range_are_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Muon([torch.nn.Parameter(torch.zeros(2, 2))], **arguments)


def test_vectors_in_a_later_group_are_refused_too():
    with pytest.raises(InputError, match=r"\(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(2, 2))]).add_param_group({"params": [torch.nn.Parameter(torch.zeros(3))]})


def test_a_step_turns_an_orthogonal_layer_by_its_rate():
    """The loss <C, W> on orthogonal W has its minimum at -polar(C); the way there is steps of one angle."""
    torch.manual_seed(0)
    layer = bjorck(torch.nn.Linear(6, 6, bias=False).double(), method="retraction")
    target = polar(torch.randn(6, 6))
    if torch.linalg.det(target) * torch.linalg.det(layer.weight) < 0:
        target = target @ torch.diag(torch.tensor([-1.0, 1, 1, 1, 1, 1], dtype=torch.float64))  # no path leads from one component to the other
    optimizers = build(layer, Plan(optimizer="muon", learning_rate=0.1, momentum=0.5))
    for step in range(200):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
            optimizer.zero_grad()
        (-(target * layer.weight).sum()).backward()
        before = layer.weight.detach().clone()
        for optimizer in optimizers:
            optimizer.step()
        retract_(layer)
        assert float(torch.linalg.matrix_norm(layer.weight.detach() - before, 2)) <= 0.15
    assert float((layer.weight.detach() - target).abs().max()) <= 0.02


def test_build_gives_frames_to_muon_and_all_else_to_adam():
    model = models.patch_network((1, 8, 8), patch=2, channels=8, dense=(6,), classes=3)
    muon, adam = build(model, Plan(optimizer="muon"))
    assert isinstance(muon, Muon) and isinstance(adam, torch.optim.Adam)
    counted = sum(p.numel() for optimizer in (muon, adam) for group in optimizer.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in model.parameters())
    assert all(p.ndim == 1 for group in adam.param_groups for p in group["params"])
    assert adam.param_groups[0]["lr"] < muon.param_groups[0]["lr"]


def test_build_takes_all_matrices_of_a_plain_model():
    muon, adam = build(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(2, 2)), Plan(optimizer="muon"))
    assert [p.ndim for p in muon.param_groups[0]["params"]] == [4, 2] and muon.param_groups[0]["flatten"]


def test_kernels_step_as_matrices_with_one_row_per_output():
    kernel = torch.nn.Parameter(torch.zeros(4, 2, 3, 3, dtype=torch.float64))
    kernel.grad = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    Muon([{"params": [kernel], "flatten": True}], lr=1.0, momentum=0.0).step()
    assert torch.allclose(kernel.detach().flatten(1), -polar_estimate(kernel.grad.flatten(1)))


def test_weight_decay_is_refused():
    with pytest.raises(InputError, match="weight decay"):
        build(torch.nn.Linear(2, 2), Plan(optimizer="muon", weight_decay=0.1))
