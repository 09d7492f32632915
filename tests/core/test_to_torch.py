"""GraphModule is the graph: same values, gradients that flow, weights as state, and it travels."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.activations import CASES, IDS
from strategies.models import FINITE, ZOO, build
from strategies.networks import NODES, sample_inputs, single_node

from certify.core.errors import InputError
from certify.core.graph import VOCABULARY, GraphBuilder
from certify.core.to_torch import _OPERATORS, GraphModule
from certify.core.trace import trace

SAMPLE = [name for name in FINITE if not name.startswith(("activation_", "function_", "shape_", "maxmin_", "not_", "looping"))]


def same(graph, module, x, tolerance=1e-11):
    with torch.no_grad():
        value = module(torch.from_numpy(x)).numpy()
    expected = graph(x)
    assert value.shape == expected.shape
    assert np.abs(value - expected).max(initial=0.0) <= tolerance * (1.0 + np.abs(expected).max(initial=0.0))


def test_every_operator_has_a_torch_form():
    assert set(_OPERATORS) == VOCABULARY - {"input", "constant"}


@pytest.mark.parametrize("op", sorted(set(NODES) - {"constant"}))
@settings(max_examples=max(1, settings.default.max_examples // 2))
@given(st.integers(0, 2**32 - 1))
def test_every_operator(op, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op)
    same(graph, graph.to_torch(), sample_inputs(rng, graph, 3))


@pytest.mark.parametrize("kind, parameters", CASES, ids=IDS)
def test_every_activation(kind, parameters):
    arrays = {k: v for k, v in parameters.items() if isinstance(v, np.ndarray)}
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (4,)})
    attrs = {"kind": kind, **{k: v for k, v in parameters.items() if k not in arrays}}
    graph = b.build(b.add("activation", [x], attrs, arrays))
    points = np.array([[-30.0, -1.0, 0.0, 1e-3], [0.5, 2.0, 40.0, -0.25], [-3.0, 3.0, 6.0, -6.5]])
    same(graph, graph.to_torch(), points, 1e-9)


@pytest.mark.parametrize("name", SAMPLE)
def test_networks_and_their_gradients(name):
    shape = ZOO[name].shape
    graph = trace(build(name), shape)
    module = graph.to_torch()
    rng = np.random.default_rng(0)
    same(graph, module, rng.standard_normal((3, *shape)))
    x = torch.from_numpy(rng.standard_normal((2, *shape))).requires_grad_()
    direction = rng.standard_normal((2, *shape))
    y = module(x)
    weights = torch.from_numpy(rng.standard_normal(tuple(y.shape)))
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)
    h = 1e-6
    point = x.detach().numpy()
    difference = ((graph(point + h * direction) - graph(point - h * direction)) * weights.numpy()).sum() / (2 * h)
    assert (gradient.numpy() * direction).sum() == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_float32_double_and_state():
    graph = trace(build("resnet"), (3, 8, 8))
    module = graph.to_torch().float()
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    with torch.no_grad():
        y = module(torch.from_numpy(x).float())
    assert y.dtype == torch.float32 and np.abs(y.numpy() - graph(x)).max() < 1e-4
    state = module.state_dict()
    assert state and all(t.dtype in (torch.float32, torch.int64) for t in state.values())
    other = graph.to_torch().float()
    other.load_state_dict(state)
    assert {p.dtype for p in graph.to_torch().parameters()} == {torch.float64}
    assert any(p.requires_grad for p in module.parameters())


def test_weights_are_copies():
    graph = trace(build("mlp"), (6,))
    before = graph.digest
    module = graph.to_torch()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1.0)
    assert type(graph)(graph.nodes, graph.output).digest == before


def test_it_pickles_copies_and_traces_back():
    graph = trace(build("vgg"), (3, 16, 16))
    module = graph.to_torch()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again(x), module(x)) and torch.equal(copy.deepcopy(module)(x), module(x))
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    back = trace(module.eval(), (3, 16, 16))
    assert np.abs(back(x.numpy()) - graph(x.numpy())).max() < 1e-10


@pytest.mark.parametrize("name", ["resnet", "autoencoder", "padding_circular", "padding_reflect", "depthwise", "activation_softplus", "activation_prelu_channels"])
def test_the_module_traces_back_to_the_same_operators(name):
    graph = trace(build(name), ZOO[name].shape)
    back = trace(graph.to_torch().eval(), graph.input_shape)
    assert [(n.op, n.shape, dict(n.attrs)) for n in back.nodes] == [(n.op, n.shape, dict(n.attrs)) for n in graph.nodes]
    x = np.random.default_rng(0).standard_normal((2, *graph.input_shape))
    assert np.abs(back(x) - graph(x)).max() <= 1e-12 * (1.0 + np.abs(graph(x)).max())


def test_a_wrong_shape_is_an_input_error():
    module = trace(build("mlp"), (6,)).to_torch()
    with pytest.raises(InputError):
        module(torch.zeros(2, 5, dtype=torch.float64))


def test_graph_module_is_what_the_graph_returns():
    assert isinstance(trace(build("mlp"), (6,)).to_torch(), GraphModule)
