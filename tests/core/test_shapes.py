"""infer_shape says what evaluation gives, and answers hostile attributes with InputError: the ONNX loader is fuzzed through it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.networks import NODES, sample_inputs, single_node

from certify.core.errors import CertifyError, InputError, UnsupportedLayerError
from certify.core.graph import VOCABULARY, Graph, GraphBuilder, Node
from certify.core.shape_fields import RULES
from certify.core.shapes import infer_shape


def test_every_operator_has_a_rule():
    assert set(RULES) == VOCABULARY


# One legal call of every operator: (input shapes, attrs, array shapes, output).
CONV = {"stride": (2,), "padding": ((1, 2),), "dilation": (2,), "groups": 2, "mode": "zeros"}
LEGAL = {
    "input": ([], {"shape": (2, 3)}, {}, (2, 3)),
    "constant": ([], {}, {"value": (4,)}, (4,)),
    "dense": ([(5, 3)], {}, {"weight": (2, 3), "bias": (2,)}, (5, 2)),
    "conv": ([(4, 9)], CONV, {"weight": (6, 2, 3), "bias": (6,)}, (6, 4)),
    "conv_transpose": ([(4, 5)], {"stride": (2,), "padding": ((1, 0),), "output_padding": (1,), "dilation": (1,), "groups": 2}, {"weight": (4, 3, 3)}, (6, 11)),
    "batch_norm": ([(3, 4, 4)], {"eps": 1e-5}, {"mean": (3,), "var": (3,), "weight": (3,)}, (3, 4, 4)),
    "scale": ([(3, 4)], {}, {"value": (3, 1)}, (3, 4)),
    "divide": ([(3, 4)], {}, {"value": ()}, (3, 4)),
    "add": ([(3,), (3,)], {}, {}, (3,)),
    "sub": ([(3,), (3,)], {}, {}, (3,)),
    "multiply": ([(3,), (3,)], {}, {}, (3,)),
    "maximum": ([(3,), (3,)], {}, {}, (3,)),
    "minimum": ([(3,), (3,)], {}, {}, (3,)),
    "matmul": ([(2, 3, 4), (2, 4, 5)], {}, {}, (2, 3, 5)),
    "activation": ([(3,)], {"kind": "elu", "alpha": 0.5}, {}, (3,)),
    "group_sort": ([(6, 2)], {"axis": 0, "size": 3, "layout": "halves", "descending": True}, {}, (6, 2)),
    "concat": ([(2, 3), (2, 4)], {"axis": 1}, {}, (2, 7)),
    "slice": ([(2, 9)], {"axis": 1, "start": 1, "stop": 8, "step": 3}, {}, (2, 3)),
    "gather": ([(2, 9)], {"axis": 1}, {"index": (4,)}, (2, 4)),
    "reshape": ([(2, 6)], {"shape": (3, 4)}, {}, (3, 4)),
    "transpose": ([(2, 3, 4)], {"perm": (2, 0, 1)}, {}, (4, 2, 3)),
    "expand": ([(1, 3)], {"shape": (5, 2, 3)}, {}, (5, 2, 3)),
    "pad": ([(2, 5)], {"pads": ((0, 0), (4, 4)), "mode": "reflect", "value": 0.0}, {}, (2, 13)),
    "max_pool": ([(2, 7)], {"kernel": (3,), "stride": (2,), "padding": ((1, 1),), "dilation": (1,)}, {}, (2, 4)),
    "avg_pool": ([(2, 7)], {"kernel": (3,), "stride": (2,), "padding": ((0, 1),)}, {"divisor": (3,)}, (2, 3)),
    "reduce": ([(2, 3, 4)], {"kind": "mean", "axes": (2, 0), "keepdims": False}, {}, (3,)),
    "softmax": ([(2, 3)], {"axis": 1}, {}, (2, 3)),
    "log_softmax": ([(2, 3)], {"axis": 0}, {}, (2, 3)),
    "logsumexp": ([(2, 3)], {"axis": 0}, {}, (3,)),
    "upsample": ([(2, 3, 4)], {"factors": (2, 1)}, {}, (2, 6, 4)),
    "layer_norm": ([(2, 3, 4)], {"dims": 2, "eps": 1e-5, "center": True}, {"weight": (3, 4), "bias": (3, 4)}, (2, 3, 4)),
    "attention": ([(2, 5, 3), (2, 4, 3), (2, 4, 6)], {"scale": 0.5, "causal": False}, {}, (2, 5, 6)),
}


@pytest.mark.parametrize("op", sorted(VOCABULARY))
def test_legal_calls(op):
    shapes, attrs, arrays, expected = LEGAL[op]
    assert infer_shape(op, shapes, attrs, arrays) == expected


@pytest.mark.parametrize("op", sorted(set(NODES) - {"constant"}))
@settings(max_examples=settings.default.max_examples // 2)
@given(st.integers(0, 2**32 - 1))
def test_evaluation_gives_the_inferred_shape(op, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op)
    assert graph(sample_inputs(rng, graph, 2)).shape == (2, *graph.output_shape)


class Hostile:
    """Equal to nothing, ordered with nothing, and its repr raises."""

    def __repr__(self):
        raise RuntimeError("no")


HOSTILE = [
    None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**63, 10**400, -(10**30), 0.5, math.nan, math.inf, -math.inf, "", "zeros", "same", "relu", b"x", (), (0,), (1,), (-1,), (2**40,),
    (1.5,), (1, 1), (2**20, 2**20), ((0, 0),), ((-1, 5),), ((2**40, 2**40),), ((0,),), ((1, 1), (1, 1)), ((2**31, 0), (0, 2**31)), [1], [[0, 0]], {}, {"a": 1}, np.int64(2),
    np.float32(1.0), np.array([1, 2]), tuple(range(40)), ("a",), (None,), (True,), ((None, 1),), object(), Hostile(),
]  # fmt: skip
hostile_values = st.one_of(st.sampled_from(HOSTILE), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(-3, 2**33), max_size=4).map(tuple))
hostile_shapes = st.lists(st.integers(0, 6) | st.sampled_from([2**16, 2**31, 2**40]), max_size=5).map(tuple)


@settings(max_examples=settings.default.max_examples * 8)
@given(st.sampled_from(sorted(VOCABULARY)), st.data())
def test_hostile_calls_raise_certify_errors_only(op, data):
    shapes, attrs, arrays, _ = LEGAL[op]
    shapes, attrs, arrays = list(shapes), dict(attrs), dict(arrays)
    for _ in range(data.draw(st.integers(1, 2))):
        kind = data.draw(st.sampled_from(["attr", "attr", "attr", "missing", "unknown", "array", "shape"]))
        if kind in ("attr", "missing") and attrs:
            key = data.draw(st.sampled_from(sorted(attrs)))
            if kind == "attr":
                attrs[key] = data.draw(hostile_values)
            else:
                del attrs[key]
        elif kind == "unknown":
            attrs[data.draw(st.sampled_from(["x", "kind", "perturbation", "axis"]))] = data.draw(hostile_values)
        elif kind == "array" and arrays:
            arrays[data.draw(st.sampled_from(sorted(arrays)))] = data.draw(hostile_shapes)
        elif kind == "shape":
            shapes = data.draw(st.lists(hostile_shapes, max_size=3))
    try:
        shape = infer_shape(op, shapes, attrs, arrays, where="somewhere")
    except CertifyError as error:
        assert isinstance(error, InputError | UnsupportedLayerError)
        assert error.what and "somewhere" in str(error.where)
        assert len(str(error)) < 3000
    else:
        assert all(isinstance(n, int) and n >= 1 for n in shape) and math.prod(shape) <= 2**31


@pytest.mark.parametrize("op", sorted(VOCABULARY))
def test_odd_input_shapes_and_every_hostile_value(op):
    shapes, attrs, arrays, _ = LEGAL[op]
    cases = [([odd] * len(shapes), attrs, arrays) for odd in ((), (1,), (0,), (2**40,), (3,) * 20, (2, 2), (5, 5, 5, 5, 5))] + [
        ([], attrs, arrays),
        ([*shapes, (3,)], attrs, arrays),
    ]
    cases += [(shapes, {**attrs, key: value}, arrays) for key in attrs for value in HOSTILE]
    cases += [(shapes, attrs, {**arrays, key: odd}) for key in arrays for odd in ((), (0,), (1,), (7, 7), (2**40,), (1,) * 20)]
    for case in cases:
        try:
            infer_shape(op, *case)
        except (InputError, UnsupportedLayerError) as error:
            assert error.where


REFUSED = {
    "negative stride": ("conv", {"stride": (-1,)}),
    "zero stride": ("conv", {"stride": (0,)}),
    "zero dilation": ("conv", {"dilation": (0,)}),
    "negative padding": ("conv", {"padding": ((-1, 0),)}),
    "too few strides": ("conv", {"stride": ()}),
    "kernel larger than the input": ("conv", {"dilation": (20,)}),
    "absurd padding": ("conv", {"padding": ((2**31, 0),)}),
    "padding that a stride would hide": ("conv", {"padding": ((2**31, 2**31),), "stride": (2**31,)}),
    "unknown mode": ("conv", {"mode": "mirror"}),
    "groups": ("conv", {"groups": 3}),
    "float groups": ("conv", {"groups": 2.0}),
    "reflection wider than the input": ("pad", {"pads": ((0, 0), (5, 0))}),
    "circular twice around": ("pad", {"pads": ((0, 0), (6, 0)), "mode": "circular"}),
    "negative reflection": ("pad", {"pads": ((0, 0), (-1, 0))}),
    "nan value": ("pad", {"value": math.nan}),
    "window of padding only": ("max_pool", {"padding": ((3, 0),)}),
    "window behind the end": ("max_pool", {"padding": ((0, 4),)}),
    "dilated window over nothing": ("max_pool", {"kernel": (2,), "dilation": (9,), "padding": ((1, 9),)}),
    "transposed to nothing": ("conv_transpose", {"padding": ((6, 6),)}),
    "empty slice": ("slice", {"start": 4, "stop": 4}),
    "slice beyond the end": ("slice", {"stop": 10}),
    "step zero": ("slice", {"step": 0}),
    "axis": ("softmax", {"axis": 2}),
    "negative axis": ("softmax", {"axis": -1}),
    "axes twice": ("reduce", {"axes": (0, 0)}),
    "no axes": ("reduce", {"axes": ()}),
    "group size": ("group_sort", {"size": 4}),
    "reshape": ("reshape", {"shape": (5, 2)}),
    "reshape to minus one": ("reshape", {"shape": (-1, 4)}),
    "perm": ("transpose", {"perm": (0, 0, 1)}),
    "expand": ("expand", {"shape": (1, 4)}),
    "upsample": ("upsample", {"factors": (2**20, 2**20)}),
    "kind": ("activation", {"kind": "swoosh"}),
    "unknown parameter": ("activation", {"beta": 1.0}),
    "parameter": ("activation", {"alpha": "big"}),
    "bool for an integer": ("softmax", {"axis": True}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_field(name):
    op, change = REFUSED[name]
    shapes, attrs, arrays, _ = LEGAL[op]
    with pytest.raises((InputError, UnsupportedLayerError)) as caught:
        infer_shape(op, shapes, {**attrs, **change}, arrays, where="layer 7")
    assert "layer 7" in str(caught.value.where)


def test_a_max_pool_window_sees_a_pixel_in_every_case():
    """Against counting: every (length, kernel, stride, padding, dilation) of a small grid is accepted exactly when each window holds a pixel."""
    for n in range(1, 5):
        for k in range(1, 4):
            for s in range(1, 4):
                for d in range(1, 5):
                    for low in range(6):
                        for high in range(4):
                            m = (n + low + high - d * (k - 1) - 1) // s + 1
                            seen = m >= 1 and all(any(0 <= s * o - low + d * t < n for t in range(k)) for o in range(m))
                            try:
                                infer_shape("max_pool", [(1, n)], {"kernel": (k,), "stride": (s,), "padding": ((low, high),), "dilation": (d,)}, {})
                                accepted = True
                            except InputError:
                                accepted = False
                            assert accepted == seen, (n, k, s, d, low, high)


def test_the_graph_refuses_a_wrong_stored_shape():
    x = Node("x", "input", (), (3,), {"shape": (3,)})
    with pytest.raises(InputError, match="stored shape"):
        Graph((x, Node("y", "activation", ("x",), (4,), {"kind": "relu"})), "y")


def test_numpy_integers_and_lists_are_legal():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": [np.int64(2), 3]})
    assert b[b.add("transpose", [x], {"perm": [np.int32(1), 0]})].shape == (3, 2)
