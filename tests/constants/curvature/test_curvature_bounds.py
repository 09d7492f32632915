"""Hessian bounds against eigenvalues of Hessians by automatic differentiation, exact formulas, and the table of majorants against dense search."""

from __future__ import annotations

import curvature_cases as cases
import mpmath
import numpy as np
import pytest
import torch

from certify.constants.curvature import curvature_bounds, hessian_bound
from certify.constants.curvature.bounds import kinds_of, row_curvatures
from certify.constants.curvature.gradients import gradient_ranges
from certify.constants.curvature.majorants import majorants
from certify.constants.sdp.chain import chain_of
from certify.core.activation import activation
from certify.core.errors import UnsupportedLayerError
from certify.core.graph import Node
from certify.core.trace import trace
from certify.proof import curvature_table

CASES = [(kind, shape) for i, kind in enumerate(cases.ACTIVATIONS) for shape in (("1", "2", "3", "residual", "4", "conv")[i % 6], ("2", "residual", "conv", "3")[i % 4])]


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_no_hessian_is_outside_the_bounds(kind, shape):
    net, graph = cases.network(kind, shape, seed=len(kind) + len(shape))
    bounds = curvature_bounds(graph, classes=np.array([0]))
    row = np.array([1.0, -1.0, 0.0])
    low, high = cases.extremes(net, graph.input_shape, row)
    assert np.isfinite(bounds.lower[0, 1])
    assert -low <= bounds.lower[0, 1] * (1 + 1e-9) + 1e-12
    both = hessian_bound(graph, row)
    assert -low <= both[0] * (1 + 1e-9) + 1e-12 and high <= both[1] * (1 + 1e-9) + 1e-12
    apart = row_curvatures(graph, row[None])
    assert max(-low, high) <= apart.product[0] * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("kind", ["softplus", "sigmoid", "tanh"])
def test_one_hidden_layer_is_exact(kind):
    net, graph = cases.network(kind, "1", 3)
    w, v = net[0].weight.detach().numpy(), net[2].weight.detach().numpy()
    c = v[0] - v[1]
    peak = {"softplus": 0.25, "sigmoid": np.sqrt(3) / 18, "tanh": 4 / (3 * np.sqrt(3))}[kind]
    for sign, found in zip((-1.0, 1.0), hessian_bound(graph, [1.0, -1.0, 0.0])):
        d = (np.maximum(sign * c, 0.0) if kind == "softplus" else np.abs(c)) * peak
        exact = np.linalg.eigvalsh(w.T @ (d[:, None] * w))[-1]
        assert exact <= found <= exact * (1 + 1e-6)


def test_two_layers_are_bounded_below_the_sum_of_separate_maxima():
    from certify.constants.sdp.recursion import advance, closed_form, top

    net, graph = cases.network("softplus", "2", 5)
    chain = chain_of(graph)
    row = np.array([[1.0, -1.0, 0.0]])
    us, *_ = closed_form(chain)
    metric, total = np.eye(cases.INPUTS), 0.0
    for layer, u, f in zip(chain.layers, us, gradient_ranges(chain, row)):
        root = np.sqrt(np.maximum(-f[0][0], 0.0) / 4)
        w = layer.weight.mid
        total += top(root[:, None] * (w @ metric @ w.T) * root)
        metric = advance(layer, metric, u)
    assert hessian_bound(graph, row)[0] < 0.9 * total


KINKS = [torch.nn.ReLU(), torch.nn.LeakyReLU(), torch.nn.ELU(2.0), torch.nn.SELU(), torch.nn.Hardswish(), torch.nn.MaxPool1d(2), torch.nn.Softmax(dim=-1)]


@pytest.mark.parametrize("module", KINKS)
def test_kinks_and_unknown_operators_are_refused_by_name(module):
    width = 3 if isinstance(module, torch.nn.MaxPool1d) else 6
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Unflatten(1, (1, 6)), module, torch.nn.Flatten(), torch.nn.Linear(width, 2))
    with pytest.raises(UnsupportedLayerError) as error:
        curvature_bounds(trace(net, (4,)))
    assert "kink" in str(error.value)


def test_an_affine_network_has_no_curvature():
    graph = trace(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 3)), (4,))
    assert hessian_bound(graph, [1.0, 0.0, 0.0]) == (0.0, 0.0)
    assert (curvature_bounds(graph).lower == 0).all()


def test_gradient_ranges_hold_sampled_gradients_and_are_exact_where_they_should_be():
    net, graph = cases.network("tanh", "3", 1)
    chain, row = chain_of(graph), np.array([[1.0, -1.0, 0.0]])
    ranges = gradient_ranges(chain, row)
    weights = [layer.weight.detach().numpy() for layer in net if isinstance(layer, torch.nn.Linear)]
    rng = np.random.default_rng(0)
    last = row @ weights[3]
    assert (ranges[2][0] <= last + 1e-15).all() and (ranges[2][1] >= last - 1e-15).all() and np.abs(ranges[2][1] - ranges[2][0]).max() < 1e-12
    for _ in range(300):
        s3, s2 = np.round(rng.random(6)), np.round(rng.random(6))
        f2 = (last * s3) @ weights[2]
        f1 = (f2 * s2) @ weights[1]
        for f, (low, high) in zip((f1, f2), ranges):
            assert (low <= f + 1e-12).all() and (f <= high + 1e-12).all()
    most = np.maximum(last.T * weights[2], 0.0).sum(axis=0)
    np.testing.assert_allclose(ranges[1][1][0], most, rtol=1e-12, atol=1e-12)


KINDS = [(kind, {}) for kind in "tanh sigmoid tanhshrink sin cos softsign logsigmoid silu quick_gelu mish erf".split()]
KINDS += [("softplus", {"beta": beta}) for beta in (1.0, 3.7, -2.0)]
KINDS += [("celu", {"alpha": 0.3}), ("elu", {"alpha": 1.0}), ("gelu", {"approximate": "none"}), ("gelu", {"approximate": "tanh"})]


@pytest.mark.parametrize(("kind", "parameters"), KINDS)
def test_majorants_hold_and_the_checker_has_the_same(kind, parameters):
    f = activation(kind, **parameters)
    x = np.concatenate([np.linspace(-12, 12, 4001), np.linspace(-1e-3, 1e-3, 11) + 1e-5, [-60.0, 60.0]])
    x = x[x != 0]  # one-sided values at a jump are limits of these
    step = 1e-4
    second = (-f.derivative(x + 2 * step) + 8 * f.derivative(x + step) - 8 * f.derivative(x - step) + f.derivative(x - 2 * step)) / (12 * step)
    smooth_there = (np.abs(x) > 3 * step) | (kind not in ("celu", "elu", "softsign"))
    s, second = f.derivative(x)[smooth_there], second[smooth_there]
    node = Node("a", "activation", ("x",), (3,), {"kind": kind, **parameters})
    for q, own, sign in zip(majorants(f), curvature_table.majorants(node), (1.0, -1.0)):
        part = np.maximum(sign * second, 0.0)
        for m in (q, own):
            assert m.c >= 0 and (m.b == 0 or s.min() >= 0)
            assert (m.a + m.b * s - m.c * s * s >= part - 1e-9).all()
            assert (part <= m.peak + 1e-9).all() and part.max() >= m.peak * 0.99 - 1e-8
        np.testing.assert_allclose([q.a, q.b, q.c, q.peak], [own.a, own.b, own.c, own.peak], rtol=1e-12, atol=1e-290)


def test_the_tanh_quadratic_touches_in_high_precision():
    q = majorants(activation("tanh"))[0]
    gaps = []
    with mpmath.workdps(40):
        for t in mpmath.linspace(0, 1, 2001):
            s = 1 - t * t
            gaps.append(q.a + q.b * s - q.c * s * s - 2 * t * s)
        assert min(gaps) >= 0 and min(gaps) < 1e-3


def test_the_refusal_names_the_layer():
    with pytest.raises(UnsupportedLayerError) as error:
        kinds_of(trace(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), (2,)), "", "pool/abs")
    assert "pool/abs" in str(error.value)


def test_large_networks_share_multipliers_and_stay_sound(monkeypatch):
    from certify.constants.curvature import bounds

    monkeypatch.setattr(bounds, "SINGLE", 0)
    net, graph = cases.network("softplus", "3", 8)
    shared = curvature_bounds(graph).lower
    monkeypatch.setattr(bounds, "SINGLE", 400)
    own = curvature_bounds(graph).lower
    assert np.isfinite(shared).all() and (shared >= own * (1 - 1e-3)).all() and (shared <= 3 * own + 1e-12).all()
    low, _ = cases.extremes(net, graph.input_shape, np.array([1.0, -1.0, 0.0]), 20)
    assert -low <= shared[0, 1]
