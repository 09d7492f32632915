"""The certified norm with a gradient: value, Euler's identity, finite differences of the bound itself, states, drift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from certify.core.errors import HypothesisError, InputError, UnsupportedLayerError
from certify.norms.base import methods
from certify.norms.differentiable import drift_bound, norm_bound, round_up
from certify.norms.public import as_linear_graph, layer_map, operator_norm
from certify.norms.taps import map_of

CASES = [
    (nn.Linear(5, 3), (5,)),
    (nn.Linear(4, 2), (3, 4)),
    (nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 7)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 4)),
    (nn.Conv2d(2, 4, 3, padding="same", dilation=2, groups=2), (2, 5, 5)),
    (nn.Conv2d(2, 3, (2, 4), padding="same"), (2, 6, 5)),
    (nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular"), (2, 4, 4)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    (nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 4)),
    (nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 3)),
    (nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2)),
]
NO_VALUE = ("power_iteration", "auto", "gram")  # no upper end; the others in turn; Gram iteration's own gradient is not that of the norm


def weights_of(layer: nn.Module, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
    return layer.weight.detach().numpy().copy()


def random_module(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A small layer of any kind, float64."""
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(1, 4))
    transposed, groups = bool(rng.integers(0, 2)), int(rng.integers(1, 3))
    kinds = {False: (nn.Conv1d, nn.Conv2d, nn.Conv3d), True: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)}
    kernel, stride, dilation = ([int(rng.integers(1, top)) for _ in range(dims)] for top in ((4, 3, 2)[dims - 1] + 1, 4, 3))
    channels = (groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)))
    layer = kinds[transposed][dims - 1](*channels, kernel, stride=stride, dilation=dilation, groups=groups, bias=False).double()
    weights_of(layer, seed)
    n = [d * (k - 1) + int(rng.integers(1, 4)) for d, k in zip(dilation, kernel)]
    return layer, (channels[0], *n)


def slope(layer: nn.Module, shape: tuple[int, ...], method: str, move: torch.Tensor, h: float = 1e-4) -> float:
    """Central difference of the certified upper end itself."""
    at = layer.weight.detach().clone()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight.copy_(at + sign * h * move)
        ends.append(operator_norm(layer, shape, method=method).upper)
    with torch.no_grad():
        layer.weight.copy_(at)
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=lambda v: str(v)[:40])
def test_every_method_has_its_own_gradient(layer: nn.Module, shape: tuple[int, ...]):
    """Value = operator_norm; <D, W> = value; D is the slope of the bound itself (away from ties), for every method that applies."""
    layer = layer.double()
    weight = weights_of(layer, 7)
    map = layer_map(as_linear_graph(layer, shape))
    direct = map_of(layer, shape, weight)
    assert direct.stored.shape == map.stored.shape and np.array_equal(direct.dense(), map.dense())
    torch.manual_seed(1)
    move = torch.randn_like(layer.weight)
    known = [name for name, method in methods().items() if name not in NO_VALUE and not method.supports(map)]
    assert "dense" in known
    for method in known:
        value, _ = norm_bound(layer, shape, method=method)
        (gradient,) = torch.autograd.grad(value, layer.weight)
        assert value.item() == operator_norm(layer, shape, method=method).upper
        assert (gradient * layer.weight).sum().item() == pytest.approx(value.item(), rel=1e-9)
        assert (gradient * move).sum().item() == pytest.approx(slope(layer, shape, method, move), rel=1e-3, abs=1e-4 * value.item()), method


@given(st.integers(0, 2**32 - 1))
def test_value_and_euler_on_random_layers(seed: int):
    layer, shape = random_module(seed)
    value, state = norm_bound(layer, shape)
    (gradient,) = torch.autograd.grad(value, layer.weight)
    assert value.item() >= np.linalg.norm(map_of(layer, shape, layer.weight.detach().numpy()).dense(), 2)
    assert (gradient * layer.weight).sum().item() == pytest.approx(value.item(), rel=1e-9)
    assert np.isfinite(gradient.numpy()).all() and state.upper == value.item()


@pytest.mark.parametrize("method", ["fft", "auto", "fantastic_four", "frobenius", "induced"])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales(method: str, scale: float):
    """The gradient of a norm does not depend on the scale of the weights; the value is proportional to it."""
    layer = nn.Conv2d(2, 2, 3, padding=1, bias=False).double()
    weight = torch.from_numpy(weights_of(layer, 3))
    plain, _ = norm_bound(layer, (2, 9, 9), method=method)
    (expected,) = torch.autograd.grad(plain, layer.weight)
    with torch.no_grad():
        layer.weight.copy_(weight * scale)
    value, _ = norm_bound(layer, (2, 9, 9), method=method)
    (gradient,) = torch.autograd.grad(value, layer.weight)
    assert value.item() == pytest.approx(plain.item() * scale, rel=1e-9)
    assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounded_up_into_the_dtype(dtype: torch.dtype):
    for seed in range(5):
        layer = nn.Conv1d(2, 2, 3, bias=False).to(dtype)
        weights_of(layer, seed)
        value, state = norm_bound(layer, (2, 6))
        upper = operator_norm(layer, (2, 6)).upper
        assert value.dtype == dtype and value.shape == () and value.double().item() >= upper == state.upper
        value.backward()
        assert layer.weight.grad.dtype == dtype
        assert (layer.weight.grad.double() * layer.weight.double()).sum().item() == pytest.approx(upper, rel=1e-6)
    like = torch.zeros((), dtype=torch.float32)
    assert round_up(1.0, like) == 1.0 and round_up(1.0 + 2.0**-40, like).item() == 1.0 + 2.0**-23 and round_up(1e39, like) == torch.inf


def test_zero_weights_dead_taps_and_groups():
    zero = nn.Conv2d(2, 2, 3, bias=False).double()
    nn.init.zeros_(zero.weight)
    value, _ = norm_bound(zero, (2, 5, 5))
    value.backward()
    assert value.item() == 0.0 and not zero.weight.grad.any()
    dead = nn.Conv1d(1, 1, 5, padding=2, bias=False).double()  # on one pixel only the middle tap reads anything
    weights_of(dead, 0)
    for method in ("auto", "fft", "fantastic_four", "frobenius", "dense"):
        dead.weight.grad = None
        value, _ = norm_bound(dead, (1, 1), method=method)
        value.backward()
        assert dead.weight.grad[0, 0, [0, 1, 3, 4]].abs().sum() == 0.0 and abs(dead.weight.grad[0, 0, 2]) == pytest.approx(1.0, rel=1e-6)
    grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False).double()
    weights_of(grouped, 0)
    with torch.no_grad():
        grouped.weight[:2] *= 0.1
    for method in ("auto", "fft", "twisted", "fantastic_four", "frobenius", "dense"):
        grouped.weight.grad = None
        norm_bound(grouped, (4, 6, 6), method=method)[0].backward()
        assert not grouped.weight.grad[:2].any() and grouped.weight.grad[2:].any(), method


def test_states_and_drift():
    """Unchanged weights need no pass; with `drift` the certified value follows small steps without one; every value stays above the truth."""
    layer, shape = nn.Conv2d(3, 3, 3, padding=1, bias=False).double(), (3, 6, 6)
    weights_of(layer, 0)
    value, state = norm_bound(layer, shape)
    same, again = norm_bound(layer, shape, state=state)
    assert same == value and again.bound is state.bound
    passes, optimizer = {id(state.bound)}, torch.optim.SGD(layer.parameters(), lr=1e-2)
    for _ in range(8):
        optimizer.zero_grad()
        value, state = norm_bound(layer, shape, state=state, drift=0.02)
        assert value.item() >= np.linalg.norm(map_of(layer, shape, layer.weight.detach().numpy()).dense(), 2)
        value.backward()
        optimizer.step()
        passes.add(id(state.bound))
    assert 1 < len(passes) < 8
    with torch.no_grad():
        assert norm_bound(layer, shape)[0].item() < same.item()  # it trains
    for other, place in ((layer, (3, 7, 7)), (nn.Conv2d(3, 3, 3, bias=False).double(), shape)):
        with pytest.raises(InputError, match="another layer"):
            norm_bound(other, place, state=state)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_drift_bound_holds(seed: int, size: float):
    layer, shape = random_module(seed)
    old = layer.weight.detach().clone()
    bound = operator_norm(layer, shape)
    new = old + size * torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(old.shape)))
    drifted = drift_bound(bound, layer, shape, old, new)
    assert drifted >= np.linalg.norm(map_of(layer, shape, new.numpy()).dense(), 2)
    assert drift_bound(bound, layer, shape, old, old) == bound.upper
    change = map_of(layer, shape, (new - old).numpy())
    assert drifted - bound.upper >= np.linalg.norm(change.dense(), 2) * (1 - 1e-9)  # the change itself is bounded, not only the sum


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_drift_bound_with_copied_pixels(mode: str):
    for seed in range(20):
        layer, shape = nn.Conv1d(1, 2, 3, stride=1 + seed % 2, padding=2, padding_mode=mode, bias=False).double(), (1, 3 + seed % 3)
        new = torch.from_numpy(weights_of(layer, seed))
        assert drift_bound(0.0, layer, shape, torch.zeros_like(new)) >= np.linalg.norm(map_of(layer, shape, new.numpy()).dense(), 2)


def test_parametrized_weights_and_refusals():
    layer = weight_norm(nn.Conv2d(2, 2, 3, bias=False).double())
    value, _ = norm_bound(layer, (2, 6, 6))
    value.backward()
    size = layer.parametrizations.weight.original0  # the value is homogeneous in it
    assert (size.grad * size).sum().item() == pytest.approx(value.item(), rel=1e-9)
    moving = spectral_norm(nn.Linear(6, 6, bias=False)).double().train()  # every look at this weight takes a power step
    with pytest.raises(InputError, match="training mode"):
        norm_bound(moving, (6,))
    value, state = norm_bound(moving.eval(), (6,))
    assert value.item() >= np.linalg.norm(state.weight, 2)
    with torch.no_grad():
        assert not norm_bound(nn.Linear(2, 2), (2,))[0].requires_grad
    with pytest.raises(UnsupportedLayerError, match="ReLU"):
        norm_bound(nn.ReLU(), (3,))
    with pytest.raises(HypothesisError, match="not finite"):
        norm_bound(nn.Linear(2, 2), (2,), method="power_iteration")
    with pytest.raises(InputError, match="different shapes"):
        drift_bound(1.0, nn.Linear(2, 2), (2,), torch.zeros(2, 3))


def test_torch_compile_is_refused_with_the_reason_and_a_way_out():
    layer = nn.Conv1d(2, 2, 3)
    with pytest.raises(HypothesisError, match="torch.compile"):
        torch.compile(lambda: norm_bound(layer, (2, 6))[0], backend="eager")()
    outside = torch.compiler.disable(norm_bound)
    value = torch.compile(lambda x: layer(x).sum() + outside(layer, (2, 6))[0], backend="eager")(torch.zeros(1, 2, 6))
    value.backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", ["abc", 3, (3, 8), (2, 8, 8), (3, 8.5, 8)])
def test_a_shape_that_does_not_fit_is_named(shape):
    with pytest.raises(InputError, match="input shape"):
        norm_bound(nn.Conv2d(3, 4, 3), shape)
