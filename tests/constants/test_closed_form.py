"""The constant of affine networks from their own matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import NODES, Maker, input_shape
from truth.networks import jacobians, matrix_norm

from certify.constants.closed_form import closed_form, radius_norm, why_not
from certify.core.errors import HypothesisError
from certify.core.graph import Graph, GraphBuilder

norms = pytest.mark.parametrize("norm", ("l2", "linf", "l1"))
AFFINE = "dense conv conv_transpose batch_norm scale divide add sub concat slice gather reshape transpose expand pad avg_pool upsample".split()


def affine_graph(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    m = Maker(rng, float(rng.choice([1.0, 1e-4, 30.0])))
    x = m.add("input", attrs={"shape": input_shape(rng)})
    for _ in range(5):
        x = NODES[m.pick(AFFINE)](m, x) or x
    return m.b.build(x)


@norms
@given(seed=st.integers(0, 2**32 - 1))
def test_the_matrix_norm_of_random_affine_networks_is_enclosed(norm, seed):
    graph = affine_graph(seed)
    truth = matrix_norm(jacobians(graph, np.zeros((1, *graph.input_shape)))[0], norm)
    bound = closed_form(graph, norm)
    assert bound.lower <= truth * (1 + 1e-11) + 1e-290 and truth <= bound.upper * (1 + 1e-11)
    assert bound.upper <= truth * (1 + 1e-5) + 1e-9 * max(1.0, truth), "the closed form is exact up to rounding"


@norms
def test_a_linear_residual_block_is_one_map(norm):
    weight = -0.5 * np.eye(3)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    graph = b.build(b.add("add", [x, b.add("dense", [x], arrays={"weight": weight})]))
    assert 0.5 <= closed_form(graph, norm).upper <= 0.5 * (1 + 1e-6)  # the sum rule says 1.5


def test_what_is_not_affine_is_refused_with_its_name():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    graph = b.build(b.add("activation", [x], {"kind": "relu"}, name="act"))
    assert "act" in why_not(graph)
    with pytest.raises(HypothesisError, match="act"):
        closed_form(graph, "l2")


@norms
def test_radius_norms_are_upper_ends(norm):
    radius = np.abs(np.random.default_rng(0).normal(size=(4, 3)))  # transposed: 4 inputs, 3 outputs
    assert matrix_norm(radius.T, norm) <= radius_norm(radius, norm) * (1 + 1e-15)
    assert radius_norm(np.full((2, 2), np.nan), norm) == np.inf
