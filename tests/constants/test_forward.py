"""The forward error against exact arithmetic: every tensor of random networks, deep ones, and the ways floats go wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import graphs, random_graph, sample_inputs
from truth.exact import distance, exact_tensors

from certify.constants.forward import forward_with_error, node_error
from certify.constants.product import walk
from certify.core.errors import InputError
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.rules.base import Local

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def locals_of(graph: Graph, norm: str) -> dict[str, Local]:
    return {s.node: s.local for s in walk(graph, norm, "fast")}


def excess(graph: Graph, sample: np.ndarray, norm: str, locals=None) -> float:
    """Largest true error over the claimed one, over all tensors; the truth is the unfolded network."""
    folded = fold_affine(graph)
    names = [node.name for node in folded.nodes]
    values, errors = forward_with_error(folded, sample[None], norm, locals or locals_of(graph, norm), names)
    truth = exact_tensors(graph, sample)
    worst = 0.0
    for name in names:
        exact = truth[name.split("+")[-1].rstrip("'")] if name not in truth else truth[name]
        error = distance(values[name][0], exact, norm) if np.isfinite(values[name]).all() else 0
        worst = max(worst, 0.0 if error == 0 else float(error / errors[name][0]) if errors[name][0] > 0 else np.inf)
    return worst


@norms
@given(graph=graphs(), seed=st.integers(0, 2**32 - 1))
def test_every_tensor_is_within_its_error(norm, graph, seed):
    for sample in sample_inputs(np.random.default_rng(seed), graph, 2):
        assert excess(graph, sample, norm) <= 1


@norms
@given(seed=st.integers(0, 2**32 - 1))
def test_folded_batch_norms_are_within_their_error(norm, seed):
    """Large means and small variances: what a folded bias loses by cancellation must be in the error."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 3)})
    for _ in range(2):
        attrs = {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1, "mode": "zeros"}
        x = b.add("conv", [x], attrs, {"weight": rng.normal(size=(2, 2, 3)), "bias": 1e3 + rng.normal(size=2)})
        arrays = {"mean": 1e3 + rng.normal(size=2), "var": 10 ** rng.uniform(-6, 0, 2), "weight": rng.normal(size=2), "bias": rng.normal(size=2)}
        x = b.add("batch_norm", [x], {"eps": 1e-5}, arrays)
    graph = b.build(x)
    assert any("perturbation" in node.attrs for node in fold_affine(graph).nodes)
    assert excess(graph, rng.normal(size=(2, 3)), norm) <= 1


@norms
def test_a_deep_network_keeps_a_small_error(norm):
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (6,)})
    for _ in range(30):
        weight = rng.normal(size=(6, 6))
        x = b.add("activation", [b.add("dense", [x], arrays={"weight": weight / np.linalg.norm(weight, 2), "bias": rng.normal(size=6)})], {"kind": "tanh"})
    graph = b.build(x)
    sample = rng.normal(size=6)
    assert excess(graph, sample, norm) <= 1
    _, errors = forward_with_error(graph, sample[None], norm, locals_of(graph, norm))
    assert errors[0] < {"l2": 1e-12, "l1": 1e-6, "linf": 1e-6}[norm]  # in l1 and linf the layers themselves expand


def test_chunks_and_requests_do_not_change_the_answer():
    rng = np.random.default_rng(5)
    graph = fold_affine(random_graph(rng, 5))
    locals, batch = locals_of(graph, "l2"), sample_inputs(rng, graph, 7)
    values, errors = forward_with_error(graph, batch, "l2", locals)
    parts = forward_with_error(graph, batch, "l2", locals, chunk=2)
    many = forward_with_error(graph, batch, "l2", locals, [graph.output, graph.input_node.name])
    assert np.allclose(parts[0], values, rtol=1e-12, atol=1e-300) and np.array_equal(many[0][graph.output], values)
    assert np.allclose(parts[1], errors, rtol=1e-9) and np.array_equal(many[1][graph.output], errors)
    assert np.array_equal(many[0][graph.input_node.name], batch) and not many[1][graph.input_node.name].any()


def flat(*layers, shape=(2,)):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": shape})
    for op, attrs, arrays in layers:
        x = b.add(op, [x], attrs, arrays)
    return b.build(x)


CLIP = ("activation", {"kind": "hardtanh", "min": -1.0, "max": 1.0}, None)
OVERFLOWS = {
    "product, then clipped": flat(("dense", None, {"weight": np.array([[1e300, 1e300], [1e300, -1e300]])}), CLIP),
    "product, then sigmoid": flat(("dense", None, {"weight": np.full((2, 2), 1e300)}), ("activation", {"kind": "sigmoid"}, None)),
    "inf - inf, then sliced away": flat(
        ("scale", None, {"value": np.array([1e300, 1.0])}),
        ("dense", None, {"weight": np.array([[1e10, 0.0], [0.0, 1.0]])}),
        ("slice", {"axis": 0, "start": 1, "stop": 2, "step": 1}, None),
    ),
}


@norms
@pytest.mark.parametrize("name", OVERFLOWS)
def test_overflow_is_unknown_and_nothing_makes_it_finite_again(name, norm):
    graph = OVERFLOWS[name]
    _, errors = forward_with_error(graph, np.array([[1e200, 1e199], [1.0, 1.0]]), norm, locals_of(graph, norm))
    assert errors[0] == np.inf
    assert not np.isnan(errors).any()


def test_nan_and_wrong_batches_are_refused():
    graph = flat(("activation", {"kind": "relu"}, None))
    for bad in (np.array([[np.nan, 0.0]]), np.array([[np.inf, 0.0]]), np.zeros((1, 3)), np.zeros((1, 2), dtype=complex)):
        with pytest.raises(InputError):
            forward_with_error(graph, bad, "l2", locals_of(graph, "l2"))


def test_an_empty_batch_has_no_errors():
    graph = flat(("activation", {"kind": "relu"}, None))
    values, errors = forward_with_error(graph, np.zeros((0, 2)), "l2", locals_of(graph, "l2"))
    assert values.shape == (0, 2) and errors.shape == (0,)


def test_infinite_errors_stay_infinite():
    local = Local((0.0,), "sum", "r", "m", (0.0,), 0.0)
    kept = node_error(local, [None], [np.array([np.inf, 0.0])], 2)
    assert kept[0] == np.inf and kept[1] <= 5e-324
    root = Local((1.0, 1.0), "root", "r", "m", (0.0, 0.0), 0.0)
    assert node_error(root, [None, None], [np.array([np.inf, 3.0]), np.array([1.0, 4.0])], 2)[0] == np.inf
    assert node_error(root, [None, None], [np.array([3.0]), np.array([4.0])], 1)[0] >= 5.0


# -- the tests must notice a missing term -----------------------------------------------------------------------------------------------------------
def _mutant_excess(change, seeds=60) -> float:
    worst = 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        locals = {name: change(local) for name, local in locals_of(graph, "l2").items()}
        worst = max(worst, excess(graph, sample_inputs(rng, graph, 1)[0], "l2", locals))
        if worst > 1:
            break
    return worst


def test_mutants_are_caught():
    assert _mutant_excess(lambda local: local, seeds=20) <= 1
    assert _mutant_excess(lambda local: dataclasses.replace(local, relative=tuple(0.0 for _ in local.relative))) > 1
    assert _mutant_excess(lambda local: dataclasses.replace(local, absolute=0.0)) > 1
    assert _mutant_excess(lambda local: dataclasses.replace(local, constants=tuple(0.0 for _ in local.constants))) > 1
