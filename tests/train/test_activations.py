"""Every activation of the file: 1-Lipschitz, orthogonal Jacobians, certified constant, names in refusals; broken ones are caught."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.slopes import defect, jacobian, largest_quotient, numeric_jacobian

import certify
from certify.constants.product import walk
from certify.core.errors import InputError
from certify.core.trace import trace
from certify.train import activations
from certify.train.activations import GroupSort, Householder, MaxMin

LAYOUTS = ("halves", "consecutive")
# Class -> (layout, channels, angles' seed) -> the module, and what its channels must be a multiple of.
BUILD: dict[type[nn.Module], tuple[Callable[[str, int, int], nn.Module], int]] = {
    MaxMin: (lambda layout, channels, seed: MaxMin(layout), 2),
    GroupSort: (lambda layout, channels, seed: GroupSort(3, layout), 3),
    Householder: (lambda layout, channels, seed: _turned(Householder(channels, layout), seed), 2),
}
SHAPES = [(), (5,), (2, 3), (1, 2, 2)]
TOLERANCE = 1e-12


def _turned(layer: Householder, seed: int) -> Householder:
    with torch.no_grad():
        layer.theta.copy_(4 * torch.randn(layer.theta.shape, generator=torch.Generator().manual_seed(seed)))
    return layer


def wrong(layer: Callable, shape: tuple[int, ...], seed: int = 0) -> str:
    """What is wrong with an activation, or ""."""
    if not largest_quotient(layer, shape, seed) <= 1 + TOLERANCE:
        return "not 1-Lipschitz"
    x = torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if not defect(numeric_jacobian(layer, x)) <= 1e-8:
        return "loses gradients"
    return "" if torch.allclose(jacobian(layer, x), numeric_jacobian(layer, x), atol=1e-8) else "another gradient"


def proved(layer: nn.Module, shape: tuple[int, ...], norm: str = "l2") -> float:
    """The constant that `certify.lipschitz` proves, without its search for a lower end."""
    return walk(trace(layer, shape), norm)[-1].running


def test_every_activation_is_tried():
    found = {kind for kind in vars(activations).values() if isinstance(kind, type) and issubclass(kind, nn.Module)}
    assert found == set(BUILD), "a new activation needs an entry in BUILD"


@st.composite
def cases(draw) -> tuple[nn.Module, tuple[int, ...], int]:
    kind = draw(st.sampled_from(list(BUILD)))
    make, multiple = BUILD[kind]
    channels, seed = multiple * draw(st.integers(1, 4)), draw(st.integers(0, 99))
    return make(draw(st.sampled_from(LAYOUTS)), channels, seed), (channels, *draw(st.sampled_from(SHAPES))), seed


@given(case=cases())
def test_one_lipschitz_and_orthogonal(case):
    layer, shape, seed = case
    assert wrong(layer.double(), shape, seed) == ""


@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_certified_constant(case, dtype):
    """1 exactly for sorts; for reflections the proved norm of two rotations, and never below the truth. The graph is the layer's own function."""
    layer, shape, seed = case
    layer = layer.to(dtype)
    constant = proved(layer, shape)
    assert constant == 1.0 if not isinstance(layer, Householder) else 1 - 1e-6 <= constant <= 1 + 1e-5
    x = torch.randn(4, *shape, dtype=dtype)
    assert torch.allclose(torch.from_numpy(trace(layer, shape)(x.double().numpy())), layer(x).double(), atol=1e-5)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("layer", [MaxMin(), MaxMin("consecutive"), GroupSort(4), GroupSort(4, "consecutive")], ids=repr)
def test_sorts_have_constant_one_in_every_norm(layer, norm):
    assert proved(layer, (8, 2), norm) == 1.0


@given(case=cases())
def test_copies_keep_the_function(case):
    layer, shape, _ = case
    x = torch.randn(3, *shape)
    twin = type(layer)(layer.channels, layer.layout) if isinstance(layer, Householder) else copy.deepcopy(layer)
    twin.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), twin):
        assert torch.allclose(other(x), layer(x), atol=1e-5)
    assert layer(x).dtype == torch.float32 and layer.double()(x.double()).dtype == torch.float64
    assert torch.allclose(layer(x.double()).float(), layer.float()(x), atol=1e-5)


def test_export_is_recorded_too():
    """Control flow on shapes makes the tracer use torch.export, which must see plain operators as well."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(MaxMin(), Householder(4, "consecutive"), GroupSort(4), MaxMin("consecutive"))

        def forward(self, x):
            return self.layers(x) if x.shape[1] > 3 else x

    assert proved(Branching(), (4, 3)) == pytest.approx(1, abs=1e-5)


def test_groups_lie_where_the_layout_says():
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert MaxMin()(x).tolist() == [[3, 4, 1, 2]] and MaxMin("consecutive")(x).tolist() == [[2, 1, 4, 3]]
    assert GroupSort(4)(x).tolist() == [[4, 3, 2, 1]]
    y = torch.randn(2, 12, 3)
    assert torch.equal(GroupSort(3)(y).unflatten(1, (3, 4)), y.unflatten(1, (3, 4)).sort(dim=1, descending=True).values)
    assert torch.equal(GroupSort(2)(y), MaxMin()(y)) and torch.equal(GroupSort(2, "consecutive")(y), MaxMin("consecutive")(y))


@given(seed=st.integers(0, 99), layout=st.sampled_from(LAYOUTS))
def test_householder_is_the_reflection(seed, layout):
    """Pair by pair against I - 2 v v' on the far side of the line; and the plain layers against the module."""
    layer = _turned(Householder(6, layout), seed).double()
    x = torch.randn(5, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = layer(x)
    for i, theta in enumerate(layer.theta.detach()):
        own = [i, i + 3] if layout == "halves" else [2 * i, 2 * i + 1]
        v = torch.stack((torch.sin(theta / 2), -torch.cos(theta / 2)))
        side = torch.einsum("ncs,c->ns", x[:, own], v)[:, None]
        mirrored = torch.einsum("cd,nds->ncs", torch.eye(2, dtype=torch.float64) - 2 * torch.outer(v, v), x[:, own])
        assert torch.allclose(y[:, own], torch.where(side >= 0, x[:, own], mirrored), atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_householder_in_plain_layers(layout, shape):
    layer, x = _turned(Householder(6, layout), 3).double(), torch.randn(3, 6, *shape, dtype=torch.float64)
    assert layer.exported() is layer, "it cannot know the number of axes before it has seen an input"
    y = layer(x)
    plain = layer.exported()
    assert all(type(part).__module__.startswith("torch.nn") for part in plain.modules())
    assert torch.allclose(plain(x), y, atol=1e-14) and proved(plain, (6, *shape)) <= 1 + 1e-5


def test_householder_starts_as_maxmin():
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    assert torch.allclose(Householder(6).double()(x), MaxMin()(x), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: MaxMin("thirds"), "thirds"),
        (lambda: GroupSort(1), "GroupSort"),
        (lambda: GroupSort(2.0), "GroupSort"),
        (lambda: Householder(5), "Householder"),
        (lambda: Householder(0), "Householder"),
        (lambda: MaxMin()(torch.zeros(2, 5)), "MaxMin"),
        (lambda: MaxMin()(torch.zeros(4)), "MaxMin"),
        (lambda: MaxMin()(torch.zeros(2, 0)), "MaxMin"),
        (lambda: GroupSort(3)(torch.zeros(2, 4, 4)), "GroupSort"),
        (lambda: Householder(4)(torch.zeros(2, 8)), "Householder"),
    ],
)
def test_refused_by_name(call, name):
    with pytest.raises(InputError, match=name):
        call()


def test_the_public_door_agrees():
    assert certify.lipschitz(nn.Sequential(MaxMin(), GroupSort(4, "consecutive")), (8,)).upper == 1.0


def test_odd_channels_are_refused_in_a_model():
    with pytest.raises(certify.InputError, match="MaxMin"):
        certify.lipschitz(nn.Sequential(nn.Linear(4, 5), MaxMin()), (4,))


# ---- broken activations that look right


class MaxTwice(MaxMin):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat((torch.maximum(a, b), torch.maximum(a, b)), 1)


class MaxOnly(MaxMin):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat((torch.maximum(a, b), torch.zeros_like(a)), 1)


class Overlapping(MaxMin):
    """Neighbours i, i + 1 compared: every channel is used twice."""

    def forward(self, x):
        return torch.cat((torch.maximum(x, x.roll(1, 1)), torch.minimum(x, x.roll(1, 1))), 1)


class HalfReflected(Householder):
    """One projection instead of a reflection."""

    def forward(self, x):
        return (x + super().forward(x)) / 2


class WholeAngle(Householder):
    """The line at theta, the reflection at theta / 2: it jumps."""

    def forward(self, x):
        a, b = x.chunk(2, 1)
        theta = self.theta.reshape(-1, *(1,) * (x.ndim - 2))
        far = theta.sin() * a - theta.cos() * b < 0
        c, s = theta.cos(), theta.sin()
        return torch.cat((torch.where(far, c * a + s * b, a), torch.where(far, s * a - c * b, b)), 1)


class ForgottenGradient(MaxMin):
    """The right values with the gradient of the identity."""

    def forward(self, x):
        return x + (super().forward(x) - x).detach()


@pytest.mark.parametrize("kind", [MaxTwice, MaxOnly, Overlapping, HalfReflected, WholeAngle, ForgottenGradient])
def test_broken_activations_are_caught(kind):
    layer = _turned(kind(8), 1) if issubclass(kind, Householder) else kind()
    assert wrong(layer.double(), (8, 2))
    assert not math.isnan(largest_quotient(layer, (8, 2)))
