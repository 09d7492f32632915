"""Activations that a file writes out in pieces, and biases beside their layer."""

from __future__ import annotations

import math

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from strategies.onnx_models import model, node, plain_reference, save  # noqa: E402

from certify.io.onnx import load_onnx  # noqa: E402


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def const(value, name):
    """A Constant node."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


# --- written-out activations and biases ------------------------------------------------------------------------------------------
def f32(value):
    return np.float64(np.float32(value))


GATES = {
    "silu": ([node("Sigmoid", "x", "s"), node("Mul", "xs")], {}, "silu"),
    "silu turned": ([node("Sigmoid", "x", "s"), node("Mul", "sx")], {}, "silu"),
    "quick gelu": ([node("Mul", "xk", ["k1"]), node("Sigmoid", ["k1"], "s"), node("Mul", "xs")], {"k": f32(1.702)}, "quick_gelu"),
    "mish": ([node("Softplus", "x", "p"), node("Tanh", "p", "t"), node("Mul", "xt")], {}, "mish"),
    "gelu of torch": (
        [node("Div", "xr", "d"), node("Erf", "d", "e"), node("Add", "eo", "a"), node("Mul", "xa", "m"), node("Mul", "mh")],
        {"r": f32(math.sqrt(2)), "o": 1.0, "h": 0.5},
        "gelu",
    ),
    "gelu, halves first": (
        [node("Mul", "xh", "z"), node("Mul", "xr", "d"), node("Erf", "d", "e"), node("Add", "oe", "a"), node("Mul", "za")],
        {"r": f32(math.sqrt(0.5)), "o": 1.0, "h": 0.5},
        "gelu",
    ),
    "gelu tanh": (
        [
            node("Pow", "xn", "c"),
            node("Mul", "kc", "b"),
            node("Add", "xb", "i"),
            node("Mul", "is", "w"),
            node("Tanh", "w", "t"),
            node("Add", "to", "a"),
            node("Mul", "xh", "z"),
            node("Mul", "za"),
        ],
        {"n": 3.0, "k": f32(0.044715), "s": f32(math.sqrt(2 / math.pi)), "o": 1.0, "h": 0.5},
        "gelu",
    ),
    "hard swish": ([node("Add", "xt", "a"), node("Clip", "azs", "c"), node("Mul", "xc", "m"), node("Div", "ms")], {"t": 3.0, "z": 0.0, "s": 6.0}, "hardswish"),
    "hard swish by hard sigmoid": ([node("HardSigmoid", "x", "s", alpha=float(np.float32(1 / 6)), beta=0.5), node("Mul", "xs")], {}, "hardswish"),
}


@pytest.mark.parametrize("name", GATES)
def test_written_out_activations_are_recognised(tmp_path, name):
    nodes, constants, kind = GATES[name]
    proto = model(nodes, (1, 7), {k: np.array(v) for k, v in constants.items()})
    graph = load_onnx(save(proto, tmp_path))
    assert [n.op for n in graph.nodes] == ["input", "activation"] and graph.nodes[1].attrs["kind"] == kind
    x = weights(1, 7) * 3
    np.testing.assert_allclose(graph(x), plain_reference(proto, x), atol=1e-6)


@pytest.mark.parametrize("name", [n for n in GATES if GATES[n][1]])
def test_a_constant_that_is_off_is_not_taken_for_the_activation(tmp_path, name):
    """One constant moved by 1e-5: the graph must stay the file's function, as a product of two tensors."""
    nodes, constants, _ = GATES[name]
    for moved in constants:
        if constants[moved] in (0.0, 3.0) and moved in "zn":
            continue
        proto = model(nodes, (1, 7), {k: np.array(v * (1 + 1e-5 * (k == moved))) for k, v in constants.items()})
        graph = load_onnx(save(proto, tmp_path))
        assert "multiply" in {n.op for n in graph.nodes}, moved


def test_written_out_activations_of_scaled_and_multiplied_inputs(tmp_path):
    """silu(silu(x) * z) with z = 0.1 x: the gates belong to different tensors, one of them a product."""
    nodes = [
        node("Sigmoid", "x", "s"),
        node("Mul", "xs", "a"),
        node("Mul", "xk", "z"),
        node("Mul", "az", "p"),
        node("Sigmoid", "p", "q"),
        node("Mul", "qp", "r"),
        node("Sigmoid", "z", "t"),
        node("Mul", "zt", "u"),
        node("Add", "ru"),
    ]
    proto = model(nodes, (1, 5), {"k": np.array(0.1)})
    graph = load_onnx(save(proto, tmp_path))
    assert sum(n.op == "activation" and n.attrs["kind"] == "silu" for n in graph.nodes) == 3
    x = weights(1, 5)
    np.testing.assert_allclose(graph(x), plain_reference(proto, x), atol=1e-12)


def test_a_gate_of_another_tensor_is_not_taken_for_the_activation(tmp_path):
    graph = load_onnx(save(model([node("Neg", "x", "n"), node("Sigmoid", "n", "s"), node("Mul", "xs")], (1, 3)), tmp_path))
    assert [n.op for n in graph.nodes] == ["input", "scale", "activation", "multiply"]


@pytest.mark.parametrize(("nodes", "shape", "bias"), [
    ([node("MatMul", "xw", "h"), node("Add", "hb")], (3,), (2,)),
    ([node("MatMul", "xw", "h"), node("Add", "bh")], (4, 3), (2,)),
    ([node("MatMul", "xw", "h"), node("Sub", "hb")], (3,), (1, 2)),
    ([node("Conv", "xk", "h"), node("Add", "hb")], (3, 4, 4), (2, 1, 1)),
    ([node("ConvTranspose", "xk", "h"), node("Add", "hb")], (2, 4, 4), (1, 3, 1, 1)),
])  # fmt: skip
def test_a_bias_beside_its_layer_joins_it(tmp_path, nodes, shape, bias):
    constants = {"w": weights(3, 2), "k": weights(2, 3, 3, 3), "b": weights(*bias)}
    graph = load_onnx(save(model(nodes, (1, *shape), constants), tmp_path))
    assert len(graph.nodes) == 2 and "bias" in graph.nodes[1].arrays


def test_a_bias_stays_where_it_must(tmp_path):
    used_twice = [node("MatMul", "xw", "h"), node("Add", "hb", "a"), node("Mul", "ah")]
    assert "add" in {n.op for n in load_onnx(save(model(used_twice, (1, 3), {"w": weights(3, 2), "b": weights(2)}), tmp_path)).nodes}
    not_per_channel = [node("MatMul", "xw", "h"), node("Add", "hb")]
    assert "add" in {n.op for n in load_onnx(save(model(not_per_channel, (1, 4, 3), {"w": weights(3, 2), "b": weights(4, 1)}), tmp_path)).nodes}
