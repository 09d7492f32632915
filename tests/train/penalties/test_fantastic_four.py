"""FantasticFour: the unfoldings by SVD, never below the dense norm once converged, gradient of the active one, what padding adds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from train.penalties.truth import LAYERS, dense, derivative, fresh, norm_of

from certify.core.errors import InputError
from certify.norms.polyphase import embedding_plan
from certify.norms.public import operator_norm
from certify.train.penalties import FantasticFour, fantastic_four, unfoldings

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def converged(layer: nn.Module, shape: tuple[int, ...] | None = None, steps: int = 100) -> Tensor:
    penalty = FantasticFour(steps=steps)
    penalty(layer, shape)
    return penalty(layer, shape)


def unfolded(weight: Tensor) -> list[Tensor]:
    """sqrt(h w) times the norms of R, S, T, U of a kernel with stride 1, the textbook way."""
    o, i, h, w = weight.shape
    matrices = [weight.transpose(1, 2).reshape(o * h, i * w), weight.permute(0, 3, 1, 2).reshape(o * w, i * h), weight.reshape(o, -1), weight.permute(1, 0, 2, 3).reshape(i, -1)]
    return [(h * w) ** 0.5 * torch.linalg.matrix_norm(m, 2) for m in matrices]


def four(weight: Tensor) -> list[float]:
    return [norm.item() for norm in unfolded(weight)]


@pytest.mark.parametrize("name", LAYERS)
def test_never_below_the_norm_of_the_layer(name: str):
    layer, shape = fresh(name)
    value = converged(layer, shape).item()
    truth = norm_of(dense(layer, shape))
    assert truth * (1 - 1e-6) <= value <= 8 * truth


COPYING = ("reflect", "replicate", "odd", "wide")  # there certify bounds another map


@pytest.mark.parametrize("name", [name for name, (layer, _) in LAYERS.items() if not isinstance(layer, nn.Linear) and not name.endswith(COPYING)])
def test_never_above_the_certified_unfoldings(name: str):
    """Where `certify` knows the bound: equal with one group, at most it with several."""
    layer, shape = fresh(name)
    upper = operator_norm(layer, shape, method="fantastic_four").upper
    value = converged(layer, shape).item()
    assert value <= upper * (1 + 1e-9)
    if layer.groups == 1:
        assert value == pytest.approx(upper, rel=1e-5)


@given(out=st.integers(1, 4), inputs=st.integers(1, 4), h=st.integers(1, 4), w=st.integers(1, 4), seed=st.integers(0, 2**20), skew=st.integers(0, 3))
def test_the_smallest_of_the_four(out: int, inputs: int, h: int, w: int, seed: int, skew: int):
    layer = nn.Conv2d(inputs, out, (h, w), padding=(h // 2, w // 2)).double()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(seed))
        layer.weight.mul_(10.0 ** (skew * torch.arange(h, dtype=torch.float64))[:, None])
    value, expected = converged(layer).item(), four(layer.weight.detach())
    assert value <= min(expected) * (1 + 1e-9) and value >= min(expected) * (1 - 1e-3)
    assert value >= norm_of(dense(layer, (inputs, 5, 4))) * (1 - 1e-3)


@pytest.mark.parametrize("name", ["linear tall", "conv2d", "conv2d stride", "conv2d groups", "conv2d circular odd", "conv2d dead taps", "transposed 2d", "conv3d"])
def test_gradient_is_that_of_the_active_unfolding(name: str):
    """<gradient, W> = value, and the derivative along any direction."""
    layer, shape = fresh(name)
    value = converged(layer, shape)
    (gradient,) = torch.autograd.grad(value, layer.weight)
    assert (gradient * layer.weight).sum().item() == pytest.approx(value.item(), rel=1e-9)
    direction = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = derivative(lambda: converged(layer, shape), layer.weight, direction)
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["conv2d", "conv2d stride", "conv2d groups", "linear tall"])
def test_the_gradient_fits_the_value_before_anything_has_converged(name: str):
    layer, _ = fresh(name)
    penalty = FantasticFour(steps=1)
    penalty(layer)
    for seed in range(3):
        with torch.no_grad():
            layer.weight.normal_(generator=torch.Generator().manual_seed(seed))
        value = penalty(layer)
        (gradient,) = torch.autograd.grad(value, layer.weight)
        assert (gradient * layer.weight).sum().item() == pytest.approx(value.item(), rel=1e-12)


def test_a_group_that_was_zero_is_followed_once_it_is_not():
    layer, penalty = nn.Conv2d(4, 4, 3, padding=1, groups=2).double(), FantasticFour(steps=20)
    good = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight[:2] = 0
        layer.weight[2:] *= 0.01
    assert penalty(layer).item() > 0
    with torch.no_grad():
        layer.weight[:2] = good[:2]
    for _ in range(10):
        value = penalty(layer)
    assert value.item() == pytest.approx(converged(layer).item(), rel=1e-6) and value.item() > 0.1


@pytest.mark.parametrize("scales", [(1, 1), (9, 1), (1, 9)])
def test_gradient_against_the_svd(scales: tuple[int, int]):
    """That of torch's own SVD of the smallest unfolding."""
    layer = nn.Conv2d(3, 4, 3, padding=1).double()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(1))
        layer.weight[:, :, 0].mul_(scales[0])
        layer.weight[:, :, :, 0].mul_(scales[1])
    twin = layer.weight.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(min(unfolded(twin), key=lambda t: t.item()), twin)
    (gradient,) = torch.autograd.grad(converged(layer), layer.weight)
    assert torch.allclose(gradient, expected, atol=1e-5 * float(expected.abs().max()))


def test_groups_combine_by_the_largest():
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2).double()
    parts = [nn.Conv2d(2, 2, 3, padding=1).double() for _ in range(2)]
    for k, part in enumerate(parts):
        part.weight.data.copy_(layer.weight[2 * k : 2 * k + 2])
    assert converged(layer).item() == pytest.approx(max(converged(part).item() for part in parts), rel=1e-6)


def test_a_warm_start_follows_the_weights():
    """One step per call: close to the truth all along a path of small changes, which a cold start with one step is not."""
    layer, penalty = nn.Conv2d(6, 6, 3, padding=1).double(), FantasticFour()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        penalty(layer)
        with torch.no_grad():
            layer.weight += 0.002 * torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
    assert penalty(layer).item() == pytest.approx(min(four(layer.weight.detach())), rel=2e-2)


def test_input_shapes_matter_where_padding_copies():
    layer = nn.Conv2d(1, 1, 3, stride=2, padding=1, padding_mode="circular").double()
    even, odd = FantasticFour(steps=50), FantasticFour(steps=50)
    assert even(layer, (1, 6, 6)).item() != pytest.approx(odd(layer, (1, 5, 5)).item(), rel=1e-3)
    model = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(1, 1, 3))
    odd.record(model.float(), (1, 9, 9))
    assert odd._shapes[model[2]] == (1, 5, 5)
    with pytest.raises(InputError, match="cannot be run"):
        FantasticFour()(model, (1, 1, 9, 9, 9))
    with pytest.raises(InputError, match="steps"):
        FantasticFour(steps=0)


def test_changed_geometry_and_dtype_start_again():
    layer, penalty = nn.Conv2d(3, 3, 3, padding=1), FantasticFour(steps=100)
    one = penalty(layer).item()
    layer.double()
    assert penalty(layer).item() == pytest.approx(one, rel=1e-4)
    layer.stride = (3, 3)
    assert penalty(layer).item() == pytest.approx(norm_of(layer.weight.detach().flatten(1)), rel=1e-6)  # patches: exact


MUTANTS = {
    "without sqrt(h w)": ("unfolding_tables", lambda *args: dataclasses.replace(unfoldings.unfolding_tables(*args), root=1.0)),
    "copies forgotten": ("_copied", lambda axis: (embedding_plan(dataclasses.replace(axis, mode="zeros")), 1)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_versions_fall_below_the_norm(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fantastic_four, *MUTANTS[name])
    below = 0
    for seed in range(6):
        torch.manual_seed(seed)
        layer = nn.Conv2d(1, 1, 3, padding=1).double() if "sqrt" in name else nn.Conv2d(1, 1, 3, padding=2, padding_mode="replicate").double()
        layer.weight.data.abs_()
        below += converged(layer, (1, 4, 4)).item() < norm_of(dense(layer, (1, 4, 4))) * (1 - 1e-3)
    assert below
