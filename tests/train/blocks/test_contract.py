"""What every block promises: found by themselves, built, and held against difference quotients, proofs, copies and their plain form."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.slopes import largest_quotient

from certify.constants.product import walk
from certify.core.errors import InputError, UnsupportedLayerError
from certify.core.trace import trace
from certify.train import blocks
from certify.train.activations import Householder
from certify.train.blocks import Centering, L2NormPool2d, LiResNetBlock, OrthogonalLinear, ScaledAvgPool2d, UnitNormLinear
from certify.train.penalties import SpectralNorm


@dataclass(frozen=True)
class Case:
    """How to build a block, inputs it takes, an input it refuses, and whether its constant is 1 whatever its parameters are."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    bad: tuple[int, ...]
    one: bool = True


CASES: dict[type[nn.Module], list[Case]] = {
    LiResNetBlock: [
        Case(lambda: LiResNetBlock(4, depth=2), (4, 5, 6), (3, 5, 6), False),
        Case(lambda: LiResNetBlock(4, 2, activation=nn.Identity(), centering=False, groups=2, padding_mode="circular"), (4, 3, 3), (4, 3), False),
        Case(lambda: LiResNetBlock(2, 5, depth=4, activation=Householder(2), padding_mode="circular"), (2, 6, 6), (4, 6, 6), False),
        Case(lambda: LiResNetBlock(2, 1, activation=nn.GELU()), (2, 1, 1), (1, 1, 1), False),
    ],
    OrthogonalLinear: [
        Case(lambda: OrthogonalLinear(6, 3), (6,), (5,)),
        Case(lambda: OrthogonalLinear(2, 5, bias=False), (2,), (3,)),
        Case(lambda: OrthogonalLinear(4, 1), (4,), (3,)),
    ],
    UnitNormLinear: [
        Case(lambda: UnitNormLinear(6, 3), (6,), (5,), False),
        Case(lambda: UnitNormLinear(2, 5, bias=False), (2,), (3,), False),
        Case(lambda: UnitNormLinear(4, 1), (4,), (3,)),
    ],
    ScaledAvgPool2d: [
        Case(lambda: ScaledAvgPool2d(2), (3, 4, 6), (3, 1, 4)),
        Case(lambda: ScaledAvgPool2d(3), (1, 7, 5), (7, 5)),
        Case(lambda: ScaledAvgPool2d(1), (1, 2, 2), (2, 2)),
    ],
    L2NormPool2d: [Case(lambda: L2NormPool2d(2), (3, 4, 6), (3, 1, 4)), Case(lambda: L2NormPool2d(3), (1, 7, 5), (7, 5))],
    Centering: [Case(lambda: Centering(3), (3, 4, 2), (2, 4, 2)), Case(lambda: Centering(3, bias=False), (3,), (4,)), Case(lambda: Centering(2, 0.5), (2, 2, 2, 2), (1, 2, 2, 2))],
}
ALL = [pytest.param(kind, case, id=f"{kind.__name__}-{i}") for kind, cases in CASES.items() for i, case in enumerate(cases)]
CERTIFIED = [p for p in ALL if p.values[0] is not L2NormPool2d]


def built(case: Case, seed: int = 0) -> nn.Module:
    """The block with random parameters and buffers, in float64, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = case.build().double().eval()
        with torch.no_grad():
            for tensor in [*block.parameters(), *block.buffers()]:
                tensor.add_(0.3 * torch.randn_like(tensor))
    return block


def proved(layer: nn.Module, shape: tuple[int, ...]) -> float:
    return walk(trace(layer, shape))[-1].running


def test_every_block_is_tried():
    public = {getattr(blocks, name) for name in blocks.__all__}
    assert public == set(CASES), "a new block needs cases"
    assert all(callable(getattr(kind, name)) for kind in public for name in ("lipschitz_estimate", "exported"))


@pytest.mark.parametrize(("kind", "case"), ALL)
def test_constants(kind, case):
    """Difference quotients <= proved constant <= 1 where the block promises 1; the training estimate is at most the proved constant, and nearly it."""
    block = built(case)
    quotient = largest_quotient(block, case.shape)
    assert quotient <= 1 + 1e-12 or not case.one
    penalty = SpectralNorm(steps=200)
    penalty.record(block, case.shape)
    estimate = block.lipschitz_estimate(penalty.sigma).item()
    if case.one:
        assert estimate == 1 == kind.lipschitz if hasattr(kind, "lipschitz") else estimate == pytest.approx(1)
    if kind is L2NormPool2d:
        return
    constant = proved(block, case.shape)
    assert quotient <= constant * (1 + 1e-12) and estimate <= constant * (1 + 1e-12) and constant <= estimate * 1.05
    assert constant <= 1 + 1e-6 or not case.one


@given(seed=st.integers(0, 999), which=st.sampled_from([p.values for p in ALL]))
def test_one_lipschitz_for_all_parameters(seed, which):
    _, case = which
    if case.one:
        assert largest_quotient(built(case, seed), case.shape, seed, count=20) <= 1 + 1e-12


@pytest.mark.parametrize(("kind", "case"), ALL)
def test_plain_form(kind, case):
    """`exported()` after one call has the same function, layers of torch, and the same dtype."""
    block = built(case)
    x = torch.randn(3, *case.shape, dtype=torch.float64)
    y = block(x)
    plain = block.exported().eval()
    assert torch.allclose(plain(x), y, atol=1e-12)
    assert all(type(part).__module__.startswith("torch.nn") or "activations" in type(part).__module__ for part in plain.modules())
    assert all(t.dtype == torch.float64 for t in plain.state_dict().values()) and not any("parametrizations" in key for key in plain.state_dict())
    kept = copy.deepcopy(plain.state_dict())
    with torch.no_grad():
        for tensor in [*block.parameters(), *block.buffers()]:
            tensor.mul_(3)
    assert all(torch.equal(kept[key], value) for key, value in plain.state_dict().items()), "the export shares memory with the block"


@pytest.mark.parametrize(("kind", "case"), CERTIFIED)
def test_the_block_and_its_plain_form_have_one_constant(kind, case):
    block = built(case)
    block(torch.zeros(1, *case.shape, dtype=torch.float64))
    assert proved(block.exported(), case.shape) == pytest.approx(proved(block, case.shape), rel=1e-6)


@pytest.mark.parametrize(("kind", "case"), ALL)
def test_copies_and_dtypes(kind, case):
    block = built(case)
    x = torch.randn(3, *case.shape, dtype=torch.float64)
    twin = case.build().double().eval()
    twin.load_state_dict(block.state_dict())
    for other in (copy.deepcopy(block), twin):
        assert torch.equal(other(x), block(x))
    assert torch.allclose(copy.deepcopy(block).float()(x.float()).double(), block(x), atol=1e-4)
    leaf = x.clone().requires_grad_()
    block.train()(leaf).square().sum().backward()
    assert leaf.grad.isfinite().all() and all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize(("kind", "case"), [p for p in ALL if p.values[0] not in (OrthogonalLinear, UnitNormLinear)])
def test_wrong_inputs_are_refused_by_name(kind, case):
    with pytest.raises(InputError, match=kind.__name__):
        built(case)(torch.zeros(2, *case.bad, dtype=torch.float64))


@pytest.mark.parametrize("kind", [Centering, LiResNetBlock])
def test_training_mode_is_not_certified(kind):
    with pytest.raises(InputError, match="training mode"):
        trace(kind(2), (2, 3, 3))


def test_the_l2_pool_is_refused_by_name():
    with pytest.raises(UnsupportedLayerError, match="L2NormPool2d"):
        trace(nn.Sequential(L2NormPool2d(2)), (1, 4, 4))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: LiResNetBlock(0), "channels"),
        (lambda: LiResNetBlock(4, 3.0), "kernel_size"),
        (lambda: LiResNetBlock(4, depth=0), "depth"),
        (lambda: LiResNetBlock(4, groups=3), "groups"),
        (lambda: LiResNetBlock(4, padding_mode="same"), "padding_mode"),
        (lambda: LiResNetBlock(2, activation=nn.Softmax2d()).lipschitz_estimate(SpectralNorm().sigma), "Softmax2d"),
        (lambda: OrthogonalLinear(0, 2), "in_features"),
        (lambda: UnitNormLinear(2, -1), "out_features"),
        (lambda: ScaledAvgPool2d((2, 2)), "ScaledAvgPool2d"),
        (lambda: L2NormPool2d(0), "L2NormPool2d"),
        (lambda: Centering(0), "channels"),
        (lambda: Centering(2, momentum=0.0), "momentum"),
        (lambda: Centering(2, momentum=float("nan")), "momentum"),
        (lambda: Centering(2)(torch.zeros(0, 2)), "Centering"),
    ],
)
def test_bad_settings_are_refused_by_name(call, name):
    with pytest.raises((InputError, UnsupportedLayerError), match=name):
        call()
