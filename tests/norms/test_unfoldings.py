"""All 2^D unfoldings: each above the truth and above its own matrix, named as in the paper, and the class takes their minimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from strategies.layers import Layer, conv_layer, layers
from truth.norms import true_norm

from certify.core.errors import HypothesisError
from certify.linear.adjoint import AdjointMap
from certify.linear.axis import Axis
from certify.linear.conv import ConvMap
from certify.linear.dense import DenseMap
from certify.norms.fantastic_four import FantasticFour, unfoldings
from certify.norms.polyphase import convolution_of

RNG = np.random.default_rng(3)


@given(layer=layers(80))
def test_every_unfolding_is_above_the_truth(layer: Layer):
    if FantasticFour().supports(layer.map):
        with pytest.raises(HypothesisError, match="unfoldings"):
            unfoldings(layer.map)
        return
    found, truth = unfoldings(layer.map), true_norm(layer)
    conv = convolution_of(layer.map)
    assert conv is not None and len(found) == 2 ** len(conv.axes) == len({f.name for f in found}) == len({f.subset for f in found})
    for f in found:
        assert f.upper >= truth * (1 - 1e-12), f
    bound = FantasticFour().enclose(layer.map)
    assert bound.upper == min(f.upper for f in found)


def published(weight: np.ndarray) -> dict[str, float]:
    """sqrt(h w) times the norms of the four matrices of Theorem 1 of the paper (stride 1), by LAPACK."""
    o, i, h, w = weight.shape
    matrices = {
        "R": weight.transpose(0, 2, 1, 3).reshape(o * h, i * w),
        "S": weight.transpose(0, 3, 1, 2).reshape(o * w, i * h),
        "T": weight.reshape(o, i * h * w),
        "U": weight.transpose(0, 2, 3, 1).reshape(o * h * w, i),
    }
    return {name: math.sqrt(h * w) * float(np.linalg.norm(m, 2)) for name, m in matrices.items()}


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (2, 7, 5, 3), (3, 3, 1, 4), (5, 2, 1, 1)])
def test_names_and_values_are_those_of_the_paper(shape):
    layer = conv_layer(RNG.standard_normal(shape), n=8, padding=2)
    for (name, _, upper), (same, value) in zip(unfoldings(layer.map), published(layer.weight).items(), strict=True):
        assert name == same and value * (1 - 1e-12) <= upper <= value * (1 + 1e-6), name


def test_the_largest_group_and_the_adjoint():
    weight = RNG.standard_normal((6, 2, 3, 3))
    weight[3:] *= 5
    grouped = conv_layer(weight, n=6, padding=1, groups=2)
    second = conv_layer(weight[3:], n=6, padding=1)
    assert [f.upper for f in unfoldings(grouped.map)] == [f.upper for f in unfoldings(second.map)]
    assert unfoldings(AdjointMap(grouped.map)) == unfoldings(grouped.map)


@pytest.mark.parametrize("factor", [2.0**-900, 2.0**900])
def test_any_scale_and_zero(factor: float):
    weight = RNG.standard_normal((3, 2, 3))
    plain, scaled = (unfoldings(conv_layer(w, n=6, padding=1).map) for w in (weight, weight * factor))
    assert [f.name for f in plain] == ["T", "U"]
    assert [f.upper * factor for f in plain] == [f.upper for f in scaled]
    assert [f.upper for f in unfoldings(conv_layer(0 * weight, n=6, padding=1).map)] == [0.0, 0.0]


def test_roundings_in_the_weights_are_paid_for():
    axes = (Axis(6, 6, 3, low=1), Axis(6, 6, 3, low=1))
    weight = RNG.standard_normal((3, 2, 3, 3))
    exact, rounded = unfoldings(ConvMap(weight, axes)), unfoldings(ConvMap(weight, axes, perturbation=0.125))
    worst = true_norm(conv_layer(1.125 * weight, n=6, padding=1))  # all weights off by the most in one direction
    for before, after in zip(exact, rounded):
        assert after.upper > before.upper and after.upper >= worst


def test_three_dimensions_have_eight():
    found = unfoldings(conv_layer(RNG.standard_normal((2, 2, 2, 2, 2)), n=3, padding=1).map)
    assert [f.name for f in found] == ["{0}", "{1}", "{2}", "{0,1}", "{0,2}", "{1,2}", "T", "U"]


def test_dense_maps_have_none():
    with pytest.raises(HypothesisError, match="not a convolution"):
        unfoldings(DenseMap(np.ones((2, 2))))
