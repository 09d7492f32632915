"""Which axis is the batch, and the shape computations of exporters."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from strategies.onnx_models import model, node, plain_reference, save  # noqa: E402

from certify.core.errors import CertifyError, InputError, UnsupportedLayerError  # noqa: E402
from certify.io.onnx import load_onnx  # noqa: E402


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def const(value, name):
    """A Constant node."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


# --- the batch axis --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dims", "batch", "shape"), [((1, 3), None, (3,)), ((None, 3), None, (3,)), ((3,), None, (3,)), ((4, 3), False, (4, 3)), ((1, 3), False, (1, 3)), ((1, 1, 3), None, (1, 3))]
)
def test_which_axis_is_the_batch(tmp_path, dims, batch, shape):
    graph = load_onnx(save(model(node("MatMul", "xw"), dims, {"w": weights(3, 2)}), tmp_path), batch=batch)
    x = weights(5, *shape)
    assert graph.input_shape == shape
    np.testing.assert_allclose(graph(x), x.reshape(5, *shape) @ weights(3, 2) if batch is None or shape != (1, 3) else (x @ weights(3, 2))[:, 0])


@pytest.mark.parametrize(
    ("dims", "options", "error"),
    [
        ((4, 3), {}, "may be a batch of fixed size"),
        ((4, 3), {"batch": True}, "fixes the size of its batch"),
        ((1, None), {}, "sizes of its input open"),
        ((1, 3), {"input_shape": (4,)}, "not the file's"),
    ],
)
def test_unclear_input_shapes_are_refused_with_advice(tmp_path, dims, options, error):
    with pytest.raises(InputError, match=error):
        load_onnx(save(model(node("Relu", "x"), dims), tmp_path), **options)


def test_open_sizes_can_be_given(tmp_path):
    assert load_onnx(save(model(node("Relu", "x"), (None, None, 3)), tmp_path), input_shape=(2, 3)).input_shape == (2, 3)
    proto = model(node("Relu", "x"), (1,))
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert load_onnx(save(proto, tmp_path), input_shape=(2, 3)).input_shape == (2, 3)
    with pytest.raises(InputError, match="does not say the shape"):
        load_onnx(save(proto, tmp_path))


@pytest.mark.parametrize(("nodes", "constants"), [
    (node("Transpose", "x", perm=[1, 0]), {}),
    (node("Reshape", "xs"), {"s": np.array([-1, 1])}),
    (node("Reshape", "xs"), {"s": np.array([1, -1])}),
    (node("ReduceSum", "xa"), {"a": np.array([0])}),
    (node("Softmax", "x", axis=0), {}),
    (node("Concat", "xx", axis=0), {}),
    (node("Gather", "xi", axis=0), {"i": np.array([0])}),
    (node("Add", "xc"), {"c": weights(2, 3)}),
    (node("Flatten", "x", axis=0), {}),
    (node("MatMul", "wx"), {"w": weights(2, 1)}),
])  # fmt: skip
def test_nothing_may_mix_the_samples_of_an_open_batch(tmp_path, nodes, constants):
    with pytest.raises(CertifyError) as caught:
        load_onnx(save(model(nodes, (None, 3), constants), tmp_path))
    assert "batch" in str(caught.value)


def test_a_batch_of_one_may_be_squeezed_and_come_back(tmp_path):
    constants = {"zero": np.array([0]), "w": weights(3, 2), "s": np.array([2, 1]), "t": np.array([1, -1])}
    nodes = [node("Squeeze", ["x", "zero"], "a"), node("MatMul", "aw", "b"), node("Reshape", "bs", "c"), node("Tanh", "c", "d"), node("Reshape", "dt")]
    graph = load_onnx(save(model(nodes, (1, 3), constants), tmp_path))
    x = weights(4, 3)
    np.testing.assert_allclose(graph(x), np.tanh(x @ constants["w"]), atol=1e-12)
    assert [n.op for n in graph.nodes] == ["input", "dense", "activation"] or len(graph.nodes) <= 5


# --- shape computations ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", [(1, 2, 3, 4), (None, 2, 3, 4)])
def test_the_flatten_of_exporters_is_folded(tmp_path, dims):
    """x.view(x.size(0), -1) and x.flatten(1) as torch and tf2onnx write them."""
    nodes = [
        node("Shape", "x", ["shape"]), const(0, "zero"), node("Gather", ["shape", "zero"], ["n"], axis=0), const([0], "axes"), node("Unsqueeze", ["n", "axes"], ["n1"]),
        const([-1], "rest"), node("Concat", ["n1", "rest"], ["target"], axis=0), node("Cast", ["target"], ["cast"], to=TensorProto.INT64), node("Reshape", ["x", "cast"], ["y"]),
    ]  # fmt: skip
    graph = load_onnx(save(model(nodes, dims), tmp_path))
    assert [n.op for n in graph.nodes] == ["input", "reshape"] and graph.output_shape == (24,)


def test_arithmetic_on_shapes_is_exact_integers(tmp_path):
    nodes = [
        node("Shape", "x", ["s"], start=1), node("Gather", ["s", "i0"], ["c"]), node("Gather", ["s", "i1"], ["h"]), node("Mul", ["c", "h"], ["ch"]),
        node("Sub", ["ch", "two"], ["u"]),
        node("Add", ["u", "two"], ["v"]), node("Div", ["v", "c"], ["w"]), node("Range", ["i0", "w", "i1"], ["r"]), node("ReduceProd", ["s"], ["p"], keepdims=1),
        node("Concat", ["one", "p"], ["t"], axis=0), node("Reshape", ["x", "t"], ["y0"]), node("Size", ["r"], ["size"]),
        node("Equal", ["size", "h"], ["eq"]), node("Not", ["eq"], ["ne"]),
        node("Where", ["ne", "nan", "half"], ["k"]), node("Mul", ["y0", "k"], ["y"]),
    ]  # fmt: skip
    constants = {"i0": np.array(0), "i1": np.array(1), "two": np.array(2), "one": np.array([1]), "nan": np.array(np.nan), "half": np.array(0.5)}
    graph = load_onnx(save(model(nodes, (1, 2, 6), constants, opset=15), tmp_path))
    assert [n.op for n in graph.nodes] == ["input", "reshape", "scale"] and float(graph.nodes[-1].arrays["value"]) == 0.5


@pytest.mark.parametrize("dims", [(1, 2), (None, 2)])
def test_constants_of_the_size_of_the_batch(tmp_path, dims):
    """zeros_like and expand as torch exports them: ConstantOfShape and Expand of shapes with the batch inside."""
    nodes = [
        node("Shape", "x", ["s"]), node("ConstantOfShape", ["s"], ["fill"], value=numpy_helper.from_array(np.array([0.25]))), node("Add", ["x", "fill"], ["a"]),
        node("Expand", ["c", "s"], ["e"]), node("Equal", ["s", "minus"], ["eq"]), node("Where", ["eq", "minus", "s"], ["w"]), node("Expand", ["d", "w"], ["f"]),
        node("Mul", ["a", "e"], ["b"]), node("Sub", ["b", "f"], ["y"]),
    ]  # fmt: skip
    constants = {"c": weights(1, 2), "d": weights(2, seed=3), "minus": np.array([-1, -1])}
    graph = load_onnx(save(model(nodes, dims, constants), tmp_path))
    x = weights(3, 2, seed=1)
    np.testing.assert_allclose(graph(x), (x + 0.25) * constants["c"] - constants["d"], atol=1e-14)


def test_float_constants_are_folded_only_where_that_is_exact(tmp_path):
    third = np.float64(1) / 3
    exact = load_onnx(save(model([node("Mul", "ab", "c"), node("Add", "xc")], (1, 2), {"a": np.array([0.5, 2.0]), "b": np.array([third, third])}), tmp_path))
    assert [n.op for n in exact.nodes] == ["input", "constant", "add"]
    rounds = load_onnx(save(model([node("Mul", "ab", "c"), node("Add", "xc")], (1, 2), {"a": np.array([0.1, 3.0]), "b": np.array([third, third])}), tmp_path))
    assert [n.op for n in rounds.nodes] == ["input", "constant", "scale", "add"]
    with pytest.raises(UnsupportedLayerError, match="computed, not stored"):
        load_onnx(save(model([node("Mul", "ab", "c"), node("Conv", "xc")], (1, 1, 2), {"a": weights(1, 1, 2), "b": weights(1, 1, 2)}), tmp_path))


def test_every_folded_operator_occurs_in_these_tests():
    from pathlib import Path

    from certify.io.onnx_folds.registry import FOLDS

    text = Path(__file__).read_text()
    assert not [name for name in FOLDS if f'"{name}"' not in text]


@pytest.mark.parametrize(("nodes", "constants"), [
    ([node("Transpose", "c", "t", perm=[1, 0]), node("MatMul", "xt")], {"c": weights(2, 3)}),
    ([node("Identity", "c", "t"), node("MatMul", "xt")], {"c": weights(3, 2)}),
    ([node("Neg", "c", "t"), node("Add", "xt")], {"c": weights(3)}),
    ([node("Reshape", "cs", "t"), node("MatMul", "xt")], {"c": weights(6), "s": np.array([3, -1])}),
    ([node("Flatten", "c", "t", axis=1), node("MatMul", "xt")], {"c": weights(3, 2, 2)}),
    ([node("Slice", "cab", "t"), node("MatMul", "xt")], {"c": weights(5, 2), "a": np.array([4]), "b": np.array([1])} | {}),
    ([node("Concat", "ccc", "t", axis=0), node("MatMul", "xt")], {"c": weights(1, 2)}),
    ([node("Squeeze", "ca", "t"), node("Unsqueeze", "ta", "u"), node("Squeeze", "ua", "v"), node("MatMul", "xv")], {"c": weights(1, 3, 2), "a": np.array([0])}),
    ([node("Cast", "i", "c", to=TensorProto.DOUBLE), node("Floor", "c", "d"), node("Ceil", "d", "e"), node("Add", "xe")], {"i": np.array([1, 2, 3])}),
    ([node("Less", "ab", "p"), node("Greater", "ab", "q"), node("Or", "pq", "r"), node("And", "rp", "s"), node("Where", "sfg", "t"), node("Add", "xt")],
     {"a": np.array([1, 2, 3]), "b": np.array(2), "f": weights(3), "g": weights(3, seed=2)}),
])  # fmt: skip
def test_folding_agrees_with_the_reference(tmp_path, nodes, constants):
    if nodes[0].op_type == "Slice":
        nodes[0] = node("Slice", ["c", "a", "b", "axis", "step"], "t")
        constants = constants | {"axis": np.array([0]), "step": np.array([-1])}
    proto = model(nodes, (1, 3), constants)
    graph = load_onnx(save(proto, tmp_path))
    x = weights(1, 3, seed=8)
    np.testing.assert_allclose(graph(x), plain_reference(proto, x), atol=1e-12)


def test_an_overflowing_shape_computation_is_refused(tmp_path):
    nodes = [node("Mul", "aa", "b"), node("Mul", "bb", "c"), node("Reshape", "xc")]
    with pytest.raises(InputError, match="overflow"):
        load_onnx(save(model(nodes, (1, 3), {"a": np.array([1 << 40])}), tmp_path))
    with pytest.raises(UnsupportedLayerError, match="size of the batch"):
        load_onnx(save(model([node("Shape", "x", "s"), node("Mul", "sa", "t"), node("Reshape", "xt")], (None, 3), {"a": np.array([2, 3])}), tmp_path))
