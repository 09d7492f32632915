"""Attention has no global constant: the refusal says so, and the slopes grow as it says."""

from __future__ import annotations

import numpy as np
import pytest
from truth.networks import jacobian_norms

from certify.constants.product import walk
from certify.core.errors import UnsupportedLayerError
from certify.core.graph import Graph, GraphBuilder
from certify.rules.base import rule_for


def self_attention(tokens: int, width: int, causal: bool = False) -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (tokens, width)})
    return b.build(b.add("attention", [x, x, x], {"scale": 1.0, "causal": causal}, name="mix", source="block.0 (attention)"))


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_the_refusal_names_the_reason_and_offers_a_region(norm):
    graph = self_attention(3, 2)
    for ask in (lambda: walk(graph, norm), lambda: rule_for("attention").local(graph["mix"], graph.input_shapes(graph["mix"]), norm, "fast")):
        with pytest.raises(UnsupportedLayerError) as caught:
            ask()
        text = str(caught.value)
        for word in ("no finite global constant", "x_1 = 0", "unbounded", "block.0", "Ball", "L2 attention", "region"):
            assert word in text
    assert not rule_for("attention").finite


def test_the_reason_is_true():
    """x_1 = 0 and the others at distance r: the slope grows like r^2."""
    graph = self_attention(3, 2)
    slopes = [jacobian_norms(graph, np.array([[[0.0, 0.0], [r, 0.0], [-r, 0.0]]]), "l2")[0] for r in (1.0, 10.0, 100.0)]
    assert slopes[1] > 40 * slopes[0] and slopes[2] > 90 * slopes[1]
