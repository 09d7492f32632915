"""The LinearMap contract, for every structure: adjoint, dense, sparse, majorant, scaling, blocks, roundings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.layers import Layer, conv_layer, layers
from truth.norms import dense_matrix, scale_of

from certify.core.errors import HypothesisError, InputError
from certify.core.graph import GraphBuilder
from certify.linear.adjoint import AdjointMap
from certify.linear.axis import Axis
from certify.linear.base import LinearMap, exponent_of
from certify.linear.build import linear_map
from certify.linear.compose import Composition
from certify.linear.conv import ConvMap
from certify.linear.dense import DenseMap


def node_map(op: str, shape: tuple[int, ...], attrs: dict | None = None, arrays: dict | None = None) -> LinearMap | None:
    builder = GraphBuilder()
    x = builder.add("input", attrs={"shape": shape})
    graph = builder.build(builder.add(op, [x], attrs, arrays, name="node"))
    return linear_map(graph["node"], shape)


def assert_contract(m: LinearMap, exact: np.ndarray | None = None) -> None:
    """Everything `LinearMap` promises, against its own dense matrix (and `exact` if given), at any scale."""
    dense = m.dense()
    assert dense.shape == (m.output_size, m.input_size)
    top = np.abs(m.stored).max(initial=0.0) or 1.0
    if exact is not None:
        assert np.abs(dense - exact).max() <= (m.entry_sums - 1) * 2e-16 * np.abs(m.absolute().dense()).max()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, *m.input_shape)), rng.standard_normal((2, *m.output_shape))
    ax, ay = m.apply(x), m.adjoint(y)
    assert ax.shape == y.shape and ay.shape == x.shape
    majorant = m.absolute().dense()
    assert (majorant >= np.abs(dense) * (1 - 1e-15)).all()
    room = 3e-16 * (m.terms + m.adjoint_terms + m.entry_sums + 3) / 2
    assert (np.abs(ax.reshape(2, -1) - x.reshape(2, -1) @ dense.T) <= room * (np.abs(x).reshape(2, -1) @ majorant.T) + 1e-300).all()
    assert (np.abs(ay.reshape(2, -1) - y.reshape(2, -1) @ dense) <= room * (np.abs(y).reshape(2, -1) @ majorant) + 1e-300).all()
    left, right = (ax / top * y).sum(), (x * ay / top).sum()
    assert abs(left - right) <= 1e-11 * (np.abs(ax / top) * np.abs(y)).sum() + 1e-11 * (np.abs(x) * np.abs(ay / top)).sum()
    assert np.abs(m.sparse().toarray() - dense).max() <= room * np.abs(majorant).max()
    if m.entry_sums == 1:
        assert (m.squares().dense() == dense**2).all()
        assert (majorant == np.abs(dense)).all()
    assert np.allclose(m.absolute().row_sums().ravel(), majorant.sum(1), rtol=1e-13, atol=0)
    assert np.allclose(m.absolute().column_sums().ravel(), majorant.sum(0), rtol=1e-13, atol=0)
    scaled, e = m.scaled()
    assert (np.ldexp(scaled.dense(), e) == dense).all()
    norms = [np.linalg.norm(b.dense() / top, 2) for b in m.blocks()]
    assert math.isclose(max(norms), np.linalg.norm(dense / top, 2), rel_tol=1e-12, abs_tol=1e-12)


@given(layers())
def test_layers_agree_with_torch(layer: Layer):
    matrix = np.ldexp(dense_matrix(layer), scale_of(layer))
    assert_contract(layer.map, matrix)


@given(layers(), st.integers(0, 2**32 - 1))
def test_apply_is_the_torch_layer(layer: Layer, seed: int):
    x = np.random.default_rng(seed).standard_normal((3, *layer.input_shape))
    want = layer.in_torch(torch.from_numpy(x), torch.from_numpy(layer.weight)).numpy()
    size = layer.map.absolute().apply(np.abs(x))
    assert (np.abs(layer.map.apply(x) - want) <= 1e-14 * (layer.map.terms + 1) * size + 1e-300).all()


@given(layers())
def test_adjoint_map_swaps_everything(layer: Layer):
    inner, m = layer.map, AdjointMap(layer.map)
    assert_contract(m, inner.dense().T)


@pytest.mark.parametrize(
    ("op", "shape", "attrs", "arrays"),
    [
        ("batch_norm", (3, 4), {"eps": 1e-5}, {"mean": np.zeros(3), "var": np.array([1.0, 0.5, 3.0]), "weight": np.array([1.0, -2.0, 0.0])}),
        ("batch_norm", (2,), {"eps": 0.25}, {"mean": np.ones(2), "var": np.array([0.0, 1.0])}),
        ("scale", (2, 3), None, {"value": np.array([[2.0], [-3.0]])}),
        ("divide", (2, 3), None, {"value": np.array([3.0, 4.0, -7.0])}),
        ("avg_pool", (2, 5, 5), {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}, {"divisor": np.full((2, 2), 4.0)}),
        ("avg_pool", (2, 5), {"kernel": (3,), "stride": (2,), "padding": ((1, 1),)}, {"divisor": np.array([2.0, 3.0, 2.0])}),
        ("reduce", (2, 3, 4), {"kind": "mean", "axes": (1, 2), "keepdims": False}, None),
        ("reduce", (2, 3, 4), {"kind": "sum", "axes": (0,), "keepdims": True}, None),
        ("reduce", (2, 3, 4), {"kind": "mean", "axes": (2,), "keepdims": False}, None),
        ("expand", (1, 3), {"shape": (4, 3)}, None),
        ("pad", (2, 3), {"pads": ((1, 0), (2, 1)), "mode": "constant", "value": 5.0}, None),
        ("pad", (1, 4), {"pads": ((0, 0), (2, 3)), "mode": "reflect", "value": 0.0}, None),
        ("pad", (1, 4), {"pads": ((0, 0), (2, 3)), "mode": "replicate", "value": 0.0}, None),
        ("pad", (1, 4), {"pads": ((0, 0), (3, 4)), "mode": "circular", "value": 0.0}, None),
        ("reshape", (2, 3), {"shape": (6,)}, None),
        ("transpose", (2, 3, 4), {"perm": (2, 0, 1)}, None),
        ("slice", (2, 7), {"axis": 1, "start": 1, "stop": 6, "step": 2}, None),
        ("gather", (4, 2), {"axis": 0}, {"index": np.array([0, 0, 3])}),
        ("upsample", (2, 3, 2), {"factors": (2, 3)}, None),
    ],
)
def test_every_linear_operator(op, shape, attrs, arrays):
    """The map equals the operator itself (graph evaluation minus its value at zero), within the stated perturbation."""
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, [builder.add("input", attrs={"shape": shape})], attrs, arrays, name="node"))
    m = linear_map(graph["node"], shape)
    assert m is not None
    size = math.prod(shape)
    eye = np.eye(size).reshape(size, *shape)
    exact = (graph(eye) - graph(np.zeros((1, *shape)))).reshape(size, -1).T
    assert np.abs(m.dense() - exact).max() <= m.perturbation * np.abs(exact).max() + 1e-15 * np.abs(graph(np.zeros((1, *shape)))).max() + 4e-16 * np.abs(exact).max()
    assert_contract(m)


def test_perturbation_covers_the_exact_weights():
    """1/3, gamma / sqrt(var + eps) and folded weights: |exact - stored| <= perturbation |stored| in rationals (squared for the root)."""
    from fractions import Fraction

    third = node_map("divide", (2,), None, {"value": np.array([3.0, 4.0])})
    assert third is not None and third.perturbation > 0
    stored = Fraction(float(third.stored[0]))
    assert abs(Fraction(1, 3) - stored) <= Fraction(third.perturbation) * stored
    assert node_map("divide", (2,), None, {"value": np.array([2.0, 4.0])}).perturbation == 0
    assert node_map("reduce", (4,), {"kind": "mean", "axes": (0,), "keepdims": False}).perturbation == 0
    assert node_map("reduce", (3,), {"kind": "mean", "axes": (0,), "keepdims": False}).perturbation > 0
    rng = np.random.default_rng(0)
    gain, var = rng.standard_normal(200), rng.random(200) * 10.0 ** rng.integers(-6, 6, 200)
    eps = 1e-5
    norm = node_map("batch_norm", (200,), {"eps": eps}, {"mean": np.zeros(200), "var": var, "weight": gain})
    rho = Fraction(norm.perturbation)
    for g, v, s in zip(gain, var, norm.stored.ravel()):
        exact_squared = Fraction(g) ** 2 / (Fraction(v) + Fraction(eps))
        assert Fraction(float(s)) ** 2 * (1 - rho) ** 2 <= exact_squared <= Fraction(float(s)) ** 2 * (1 + rho) ** 2
    tiny = node_map("batch_norm", (1,), {"eps": 0.0}, {"mean": np.zeros(1), "var": np.ones(1), "weight": np.array([5e-324])})
    assert tiny.underflow > 0


def test_what_is_not_linear_has_no_map():
    assert node_map("activation", (2,), {"kind": "relu"}) is None
    assert node_map("reduce", (2, 2), {"kind": "max", "axes": (0,), "keepdims": False}) is None
    with pytest.raises(InputError, match="zero"):
        node_map("divide", (2,), None, {"value": np.array([0.0, 1.0])})


@given(layers(60), st.integers(0, 2**32 - 1))
def test_composition(layer: Layer, seed: int):
    rng = np.random.default_rng(seed)
    first, rows = layer.map.scaled()[0], layer.map.output_size
    flat = node_map("reshape", first.output_shape, {"shape": (rows,)})
    second = DenseMap(rng.standard_normal((3, rows)), perturbation=2.0**-52)
    m = Composition.of([first, Composition.of([flat, second])])
    assert isinstance(m, Composition) and len(m.maps) == 3 and m.entry_sums > 1 and m.perturbation >= 2.0**-52
    want = second.dense() @ first.dense()
    majorant = np.abs(second.dense()) @ first.absolute().dense()
    assert (np.abs(m.dense() - want) <= 2.3e-16 * (m.entry_sums + 1) * majorant).all()
    x = rng.standard_normal((2, *m.input_shape))
    assert (np.abs(m.apply(x) - x.reshape(2, -1) @ want.T) <= 3e-16 * (m.terms + 2) * (np.abs(x.reshape(2, -1)) @ majorant.T)).all()
    with pytest.raises(HypothesisError):
        m.squares()


def test_composition_refuses_what_it_cannot_bound():
    with pytest.raises(InputError, match="fit"):
        Composition.of([DenseMap(np.ones((2, 3))), DenseMap(np.ones((2, 3)))])
    with pytest.raises(HypothesisError, match="too many"):
        Composition.of([DenseMap(np.ones((256, 256)))] * 20)
    with pytest.raises(HypothesisError, match="subnormal"):
        Composition.of([DenseMap(np.ones((2, 2)), underflow=1e-320), DenseMap(np.ones((2, 2)))])


def test_kernel_larger_than_the_image_and_dead_taps():
    m = conv_layer(np.arange(7.0).reshape(1, 1, 7), n=2, padding=3).map
    assert_contract(m)
    far = ConvMap(np.ones((1, 1, 2)), (Axis(3, 3, 2, 1, 1, low=7),))  # reads nothing but padding
    assert not far.dense().any() and not far.axes[0].live.any()


def test_axis_refuses_nonsense():
    with pytest.raises(InputError):
        Axis(3, 0, 3)
    with pytest.raises(InputError, match="beyond"):
        Axis(3, 5, 3, low=1, high=1, mode="reflect")
    with pytest.raises(InputError):
        Axis(3, 1, 3, mode="mirror")


def test_exponents_survive_the_extremes():
    for value in (5e-324, 1e-300, 1.0, 1.7e308):
        e = exponent_of(np.array([value]))
        assert 0.5 <= np.ldexp(value, -e) < 1.0
    m = DenseMap(np.array([[5e-324, 1e-323]])).scaled()
    assert m[0].stored.max() == 0.5 and m[1] == -1072
