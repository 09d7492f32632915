"""The walker: exact values that a reader can check by hand, and no violation on random networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import graphs
from truth.networks import JACOBIAN_ROOM, jacobian_norms, pairs

from certify.constants import product
from certify.constants.lower import proved_quotients
from certify.constants.product import combined, walk
from certify.core.errors import InputError, SoundnessError, UnsupportedLayerError
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def build(function, shape=(3,)) -> Graph:
    b = GraphBuilder()
    return b.build(function(b, b.add("input", attrs={"shape": shape})))


def upper(graph: Graph, norm: str) -> float:
    steps = walk(graph, norm, "fast")
    return steps[-1].running if steps else 1.0


@norms
def test_the_identity_has_constant_one_and_no_steps(norm):
    assert walk(build(lambda b, x: x), norm) == []


@norms
def test_x_plus_x_is_exactly_two(norm):
    assert upper(build(lambda b, x: b.add("add", [x, x])), norm) == 2.0
    assert upper(build(lambda b, x: b.add("sub", [x, x])), norm) == 2.0  # the walker does not know that x - x = 0: true, not tight


@norms
def test_concat_of_one_tensor_twice(norm):
    expected = {"l2": math.sqrt(2), "l1": 2.0, "linf": 1.0}[norm]
    found = upper(build(lambda b, x: b.add("concat", [x, x], {"axis": 0})), norm)
    assert expected <= found <= expected * (1 + 4e-16)


@norms
def test_tied_weights_count_every_use(norm):
    weight = np.diag([2.0, 1.0, 0.5])

    def tied(b, x):
        return b.add("dense", [b.add("dense", [x], arrays={"weight": weight})], arrays={"weight": weight})

    assert 4.0 <= upper(build(tied), norm) <= 4.0 * (1 + 1e-6)


@norms
def test_a_residual_block_is_one_plus_its_branch(norm):
    weight = np.diag([3.0, 1.0, 1.0])

    def residual(b, x):
        return b.add("add", [x, b.add("activation", [b.add("dense", [x], arrays={"weight": weight})], {"kind": "relu"})])

    assert 4.0 <= upper(build(residual), norm) <= 4.0 * (1 + 1e-6)


@norms
def test_slopes_above_one_and_negative_multiply(norm):
    for attrs, slope in (({"kind": "leaky_relu", "alpha": -4.0}, 4.0), ({"kind": "elu", "alpha": 3.0}, 3.0), ({"kind": "gelu", "approximate": "none"}, 1.1289041451851549)):
        found = upper(build(lambda b, x, attrs=attrs: b.add("activation", [b.add("activation", [x], attrs)], attrs)), norm)
        assert slope**2 * (1 - 1e-15) <= found <= slope**2 * (1 + 1e-15)


@norms
def test_batch_norm_is_folded_before_the_norm_is_taken(norm):
    """|BN o dense| = 1 here, |BN| |dense| = 100."""

    def block(b, x):
        y = b.add("dense", [x], arrays={"weight": np.diag([10.0, 0.1, 1.0])}, name="fc")
        return b.add("batch_norm", [y], {"eps": 0.0}, {"mean": np.ones(3), "var": np.array([100.0, 0.01, 1.0])}, name="bn")

    steps = walk(build(block), norm)
    assert [s.node for s in steps] == ["fc+bn"] and 1.0 <= steps[-1].running <= 1.0 + 1e-6


@norms
def test_constants_do_not_move(norm):
    value = np.array([1.0, -2.0, 5.0])
    graph = build(lambda b, x: b.add("add", [b.add("constant", arrays={"value": value}), x]))
    assert upper(graph, norm) == 1.0
    graph = build(lambda b, x: b.add("maximum", [b.add("activation", [b.add("constant", arrays={"value": value})], {"kind": "relu"}), x]))
    assert upper(graph, norm) == 1.0


def test_unsupported_and_wrong_requests():
    graph = build(lambda b, x: b.add("multiply", [x, x], name="square", source="model.square"))
    with pytest.raises(UnsupportedLayerError, match="model.square"):
        walk(graph)
    with pytest.raises(InputError, match="unknown norm"):
        walk(graph, "l7")


def test_progress_is_told_and_can_cancel():
    graph = build(lambda b, x: b.add("activation", [b.add("add", [x, x])], {"kind": "relu"}))
    seen = []
    walk(graph, progress=lambda *a: seen.append(a))
    assert seen == [(0, 2, "add"), (1, 2, "activation"), (2, 2, "done")]

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        walk(graph, progress=stop)


def test_equal_layers_are_bounded_once(monkeypatch):
    calls = []
    real = product.rule_for
    monkeypatch.setattr(product, "rule_for", lambda op, where="": calls.append(op) or real(op, where))
    weight = np.ones((3, 3), dtype=np.float32)

    def twice(b, x):
        return b.add("dense", [b.add("dense", [x], arrays={"weight": weight})], arrays={"weight": weight})

    steps = walk(build(twice))
    assert calls == ["dense"] and len(steps) == 2 and steps[0].constants == steps[1].constants


def test_overflow_is_infinite_and_never_nan():
    weight = np.diag([1e200, 1.0, 1.0])

    def huge(b, x):
        y = b.add("dense", [b.add("dense", [x], arrays={"weight": weight})], arrays={"weight": weight})
        return b.add("add", [y, b.add("scale", [y], arrays={"value": np.zeros(3)})])

    assert upper(build(huge), "l2") == math.inf
    with pytest.raises(SoundnessError):
        combined("sum", (math.nan,), (1.0,))


@norms
@given(graph=graphs(), seed=st.integers(0, 2**32 - 1))
def test_no_difference_quotient_or_jacobian_of_any_tensor_exceeds_its_running_constant(norm, graph, seed):
    rng = np.random.default_rng(seed)
    folded = fold_affine(graph)
    steps = walk(graph, norm, "fast")
    locals = {s.node: s.local for s in steps}
    first, second = pairs(rng, graph.input_shape, 8)
    for step in steps:
        sub = Graph(folded.nodes, step.node).pruned()
        assert max(proved_quotients(sub, norm, locals, first, second)) <= step.running
    if steps:
        found = jacobian_norms(graph, first[:2], norm)
        assert np.nanmax(found) <= steps[-1].running * (1 + JACOBIAN_ROOM)
