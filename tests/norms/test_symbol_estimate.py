"""The symbol's warm-started estimate: E(w) against the certified symbol, one-sided against the certified supremum, training, and SpectralNorm on top of it."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.layers import Layer, layers
from torch import nn

from certify.core.errors import HypothesisError, InputError, UnsupportedLayerError
from certify.linear.adjoint import AdjointMap
from certify.linear.conv import ConvMap
from certify.norms.any_size import AnySize
from certify.norms.grid import grid_factor
from certify.norms.polyphase import embedding_plan, symbol_taps
from certify.norms.public import operator_norm
from certify.norms.symbol import Symbol
from certify.norms.symbol_estimate import follow, full_search, symbol_estimate, symbol_estimates, tables_of
from certify.norms.taps import Taps, conv_axes, map_of, supremum_applies
from certify.train.penalties import SpectralNorm

MODULES = [
    (nn.Conv1d(3, 4, 3, stride=2, padding=1), (3, 9)),
    (nn.Conv2d(3, 4, 3, padding=1), (3, 8, 8)),
    (nn.Conv2d(4, 6, (2, 3), stride=(1, 2), dilation=(2, 1), groups=2), (4, 9, 9)),
    (nn.Conv2d(5, 5, 3, padding=1, groups=5), (5, 9, 9)),
    (nn.Conv2d(6, 4, 1, stride=2), (6, 5, 5)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 12, 12)),
    (nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1), (4, 7, 7)),
    (nn.Conv3d(2, 2, 2), (2, 5, 5, 5)),
]


def refresh(layer: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
    return layer


def supremum(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
    """Certified (below, above) ends of sup ||F(w)||: a maximum over a fine grid, and the same times Riesz' factor."""
    map = map_of(layer, shape, layer.weight.detach().double().numpy())
    conv = map.inner if isinstance(map, AdjointMap) else map
    assert isinstance(conv, ConvMap)
    plain = conv if conv.mode == "zeros" else ConvMap(conv.weight, tuple(type(a)(a.inputs + 2, a.inputs, a.taps) for a in conv.axes), conv.groups)
    bound = AnySize(32).enclose(plain)
    degrees = tuple(len(embedding_plan(a).shifts) for a in plain.axes)
    return bound.upper / grid_factor(degrees, tuple(bound.evidence["verify"]["period"])) * (1 - 1e-5), bound.upper


@given(layers(80), st.integers(0, 2**32 - 1))
def test_taps_give_the_certified_symbol(layer: Layer, seed: int):
    """W (I (x) E(w)) has the singular values of norms.symbol's F(w), whatever stride, dilation, cropping and folding did."""
    conv = layer.map.inner if isinstance(layer.map, AdjointMap) else layer.map
    if not isinstance(conv, ConvMap) or conv.mode != "zeros":
        return
    plans = [embedding_plan(a) for a in conv.axes]
    taps = Taps.of(conv.axes, plans)
    if any(p is None for p in plans):
        assert set(taps.column) == {-1}
        return
    block = conv.scaled()[0].parts[0]
    symbol = Symbol(symbol_taps(block.weight, plans), [p.shifts for p in plans])
    period = tuple(1 if j == 1 else 7 for j in symbol.degrees)
    numerators = np.random.default_rng(seed).integers(0, 14, (1, len(period)))
    w = math.pi * numerators[0] / np.array(period)
    places = np.zeros((len(taps.column), taps.columns), dtype=complex)
    for t, r in enumerate(taps.column):
        if r >= 0:
            places[t, r] = np.exp(1j * np.dot(w, taps.shifts[t]))
    f = np.tensordot(block.weight.reshape(*block.weight.shape[:2], -1), places, axes=(2, 0)).reshape(block.weight.shape[0], -1)
    expected = np.linalg.norm(symbol.matrix(numerators, period)[0], 2)
    assert abs(np.linalg.norm(f, 2) - expected) <= 1e-12 * max(1.0, expected)


@pytest.mark.parametrize(("layer", "shape"), MODULES, ids=lambda v: str(v)[:40])
def test_near_the_supremum_and_never_above(layer: nn.Module, shape: tuple[int, ...]):
    layer = layer.double()
    for seed in range(3):
        refresh(layer, seed)
        below, above = supremum(layer, shape)
        sigma, state = symbol_estimate(layer, shape)
        (gradient,) = torch.autograd.grad(sigma, layer.weight)
        assert 0.98 * below <= sigma.item() <= above
        assert (gradient * layer.weight).sum().item() == pytest.approx(sigma.item(), rel=1e-9)
        later, _ = symbol_estimate(layer, shape, state, steps=5)
        assert sigma.item() * (1 - 1e-12) <= later.item() <= above


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_follows_changing_weights(dtype: torch.dtype):
    """Short training (every weight moves by about 0.5 % per step): within 1 % of the supremum of each step's weights, never above it by more than rounding."""
    torch.manual_seed(0)
    layers_ = [nn.Conv2d(4, 8, 3, padding=1).to(dtype), nn.Conv2d(8, 8, 3, stride=2, padding=1).to(dtype), nn.Conv2d(8, 8, 3, padding=1, groups=4).to(dtype)]
    shapes, states = [(4, 12, 12), (8, 12, 12), (8, 6, 6)], None
    optimizer = torch.optim.Adam([layer.weight for layer in layers_], lr=5e-4)
    x, y = torch.randn(4, 4, 12, 12, dtype=dtype), torch.randn(4, 8, 6, 6, dtype=dtype)
    rounding = 1 + (1e-5 if dtype == torch.float32 else 1e-12)
    for step in range(24):
        optimizer.zero_grad()
        sigmas, states = symbol_estimates(layers_, shapes, states)
        if step % 4 == 3:
            for layer, shape, sigma in zip(layers_, shapes, sigmas):
                below, above = supremum(layer, shape)
                assert 0.98 * below <= sigma.item() <= above * rounding, (step, layer)
        z = x
        for layer in layers_:
            z = torch.relu(layer(z))
        ((z - y).square().mean() + 0.01 * sum(s.square() for s in sigmas)).backward()
        optimizer.step()


def test_batched_is_the_same_as_one_by_one_and_scale_free():
    group = [refresh(nn.Conv2d(4, 4, 3, padding=1, bias=False), k) for k in range(3)] + [refresh(nn.Conv2d(2, 2, 3, bias=False), 9)]
    shapes = [(4, 8, 8)] * 3 + [(2, 9, 9)]
    together, states = symbol_estimates(group, shapes)
    again, _ = symbol_estimates(group, shapes, states)
    for layer, shape, sigma, later in zip(group, shapes, together, again):
        alone, state = symbol_estimate(layer, shape)
        assert alone.item() == pytest.approx(sigma.item(), rel=1e-5)
        assert symbol_estimate(layer, shape, state)[0].item() == pytest.approx(later.item(), rel=1e-5)
        with torch.no_grad():
            layer.weight *= 1e-30
        tiny, _ = symbol_estimate(layer, shape)  # squares of 1e-30 vanish in float32
        assert tiny.item() == pytest.approx(sigma.item() * 1e-30, rel=1e-3)
        with torch.no_grad():
            layer.weight *= 1e30
    nn.init.zeros_(group[0].weight)
    sigma, _ = symbol_estimate(group[0], shapes[0])
    sigma.backward()
    assert sigma.item() == 0.0 and not group[0].weight.grad.any()
    assert symbol_estimates([], []) == ([], [])
    mixed = [nn.Conv2d(4, 4, 3), nn.Conv2d(8, 8, 3, groups=2)]  # equal kernels per group, another number of peaks followed
    assert [s.shape for s in symbol_estimates(mixed, [(4, 9, 9), (8, 9, 9)])[0]] == [(), ()]


def test_dead_taps_get_no_gradient():
    layer = refresh(nn.Conv1d(1, 1, 5, padding=2, bias=False), 0)
    sigma, _ = symbol_estimate(layer, (1, 1))
    sigma.backward()
    assert sigma.item() == pytest.approx(abs(layer.weight[0, 0, 2].item())) and layer.weight.grad[0, 0, [0, 1, 3, 4]].abs().sum() == 0
    axis = nn.Conv1d(1, 1, 2, stride=5, padding=4, bias=False)  # 3 pixels, outputs at -4, 1: both taps of the second one read
    assert symbol_estimate(axis, (1, 3))[0].item() > 0


def test_refusals():
    for mode in ("reflect", "replicate"):
        with pytest.raises(HypothesisError, match="does not bound"):
            symbol_estimate(nn.Conv1d(1, 1, 3, padding=1, padding_mode=mode), (1, 9))
    with pytest.raises(HypothesisError, match="does not bound"):
        symbol_estimate(nn.Conv1d(1, 1, 3, padding=2, padding_mode="circular"), (1, 9))  # more outputs than pixels
    _, state = symbol_estimate(nn.Conv2d(2, 3, 3), (2, 9, 9))
    with pytest.raises(InputError, match="another layer"):
        symbol_estimate(nn.Conv2d(2, 4, 3), (2, 9, 9), state)


def test_the_step_compiles_to_one_graph():
    """`follow` has no branch on a value: torch.compile takes it whole."""
    layer = refresh(nn.Conv2d(3, 4, 3, padding=1), 0)
    taps = Taps.of(conv_axes(layer, (3, 9, 9)), [embedding_plan(a) for a in conv_axes(layer, (3, 9, 9))])
    kernel = layer.weight.reshape(1, 4, 3, 9)
    state, tables = full_search(kernel.detach(), taps), tables_of(taps, kernel)
    compiled = torch.compile(follow, fullgraph=True, backend="eager")
    sigma, after = compiled(kernel, state, tables, 2)
    expected, _ = follow(kernel, state, tables, 2)
    assert sigma.item() == pytest.approx(expected.item(), rel=1e-5) and after.w.shape == state.w.shape
    (gradient,) = torch.autograd.grad(sigma.sum(), layer.weight)
    assert (gradient * layer.weight).sum().item() == pytest.approx(expected.item(), rel=1e-5)


# --- the penalty on top ---------------------------------------------------------------------------------------------------------------


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=4, padding=1), nn.Flatten(), nn.Linear(64, 3)).double()


def test_engines():
    """Wide maps by the symbol, small ones and dense layers by steps; both near the certified norm."""
    net, shape = model(), (2, 16, 16)
    assert supremum_applies(conv_axes(net[0], shape), 4) and not supremum_applies(conv_axes(net[0], (2, 8, 8)), 4)
    assert not supremum_applies(conv_axes(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), (2, 32, 32)), 4)
    norms = [operator_norm(net[0], shape).upper, operator_norm(net[2], (4, 16, 16)).upper, operator_norm(net[4], (64,)).upper]
    for engine in ("auto", "layer", "symbol"):
        penalty = SpectralNorm(2.0, engine=engine)
        for _ in range(30):
            value = penalty(net, input_shape=shape)
        assert value.item() == pytest.approx(sum(s**2 for s in norms), rel=0.03), engine
        assert (net[0] in penalty._peaks) == (engine != "layer") and net[4] not in penalty._peaks
    value.backward()
    assert all(net[k].weight.grad.abs().sum() > 0 for k in (0, 2, 4))
    with pytest.raises(InputError, match="engine"):
        SpectralNorm(engine="fft")
    with pytest.raises(HypothesisError, match="does not bound"):
        SpectralNorm(engine="symbol")(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))


def test_copies_and_pickles_go_on_where_the_original_was():
    net, penalty = model(), SpectralNorm(0.5, steps=1)
    for _ in range(5):
        penalty(net, input_shape=(2, 16, 16))
    expected = copy.deepcopy(penalty)(net).item()  # the copy alone: same layers
    net2, penalty2 = copy.deepcopy((net, penalty))
    penalty3, net3 = pickle.loads(pickle.dumps((penalty, net)))
    assert repr(penalty2) == repr(penalty3) == repr(penalty)
    assert penalty2(net2).item() == pytest.approx(expected, rel=1e-9) and penalty3(net3).item() == pytest.approx(expected, rel=1e-9)
    assert penalty(net).item() == pytest.approx(expected, rel=1e-9)
    alone = pickle.loads(pickle.dumps(penalty))
    assert alone.weight == 0.5 and len(alone._shapes) == len(alone._peaks) == 0
    assert copy.deepcopy(SpectralNorm())(nn.ReLU()).item() == 0.0


def test_peaks_are_searched_again(monkeypatch: pytest.MonkeyPatch):
    """A peak that overtakes all that are followed is found at the next full search."""
    from certify.train.penalties import spectral_norm as module

    monkeypatch.setattr(module, "_REFRESH", 3)
    conv, penalty = nn.Conv2d(1, 1, 3, padding=1, bias=False).double(), SpectralNorm()
    for step in range(7):
        torch.manual_seed(step // 3)
        with torch.no_grad():
            conv.weight.copy_(torch.randn_like(conv.weight))
        sigma = penalty.sigma(conv).item()
        if step % 3 == 0:
            below, above = supremum(conv, (1, 32, 32))
            assert 0.999 * below <= sigma <= above


@pytest.mark.parametrize(
    ("layers_", "shapes", "error"),
    [
        ([nn.ReLU()], [(3,)], UnsupportedLayerError),
        ([nn.Conv2d(3, 4, 3)], [], InputError),
        ([nn.Conv2d(3, 4, 3)], ["abc"], InputError),
        ([nn.Conv2d(3, 4, 3)], [(2, 8, 8)], InputError),
        ([nn.Conv2d(3, 4, 3)], [(3, 8)], InputError),
    ],
)
def test_wrong_layers_and_shapes_are_refused(layers_: list, shapes: list, error: type):
    with pytest.raises(error):
        symbol_estimates(layers_, shapes)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_layer_that_starts_at_zero_is_followed_once_it_moves(groups):
    layer = torch.nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False).double()
    with torch.no_grad():
        layer.weight[: 4 // groups] = 0
    penalty = SpectralNorm(engine="symbol")
    assert penalty.sigma(layer).item() < 20
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    for _ in range(20):
        found = penalty.sigma(layer).item()
    assert found >= 0.9 * operator_norm(layer, (4, 32, 32)).lower
