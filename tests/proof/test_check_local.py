"""Radii of single inputs through the checker: what the prover found passes for every kind of block, what was changed is refused by the step that it breaks."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from strategies.semidefinite import NETS, folded, net

from certify.constants.regional.radii import regional_radii
from certify.core.errors import CertificateError
from certify.core.fold import fold_affine
from certify.core.trace import trace
from certify.proof.check_local import proves
from certify.proof.ends import Ending
from certify.proof.local_values import Network, margins

ARRAYS = {"lower": "local_lower", "upper": "local_upper", "theta": "local_theta", "mode": "local_mode"}


def evidence(graph, inputs, norm="l2", effort="balanced", most=np.inf):
    """(folded graph, arrays of a certificate) with what the prover's search finds, the labels being the network's own."""
    graph = folded(graph)
    n = len(inputs)
    labels = graph(inputs.astype(np.float64)).reshape(n, -1).argmax(axis=1)
    _, logits = Network(graph, graph.output).at(inputs.reshape(n, -1).astype(np.float64))
    lower = np.stack([margins(logits, int(labels[i]), i) for i in range(n)])
    found = regional_radii(graph, inputs, labels, lower, np.zeros(n), np.full(n, most), norm, effort)
    return graph, {"inputs": inputs, "labels": labels, "radii": found.radii, **{ours: getattr(found, theirs) for theirs, ours in ARRAYS.items()}}


@functools.cache
def example(name, norm="l2", effort="balanced", count=1):
    graph = net(name)
    return evidence(graph, np.random.default_rng(0).normal(size=(count, *graph.input_shape)).astype(np.float32), norm, effort)


def verdict(graph, arrays, norm="l2", which=None):
    node = graph[graph.output]
    end = Ending(node, int(np.prod(node.shape)), node.name, None, None, None)
    return proves(graph, norm, end, arrays, np.flatnonzero(arrays["radii"] > 0) if which is None else np.asarray(which))


def refused(graph, arrays, match, norm="l2", which=None):
    with pytest.raises(CertificateError, match=match):
        verdict(graph, arrays, norm, which)


def changed(arrays, key, function):
    """A copy with one array changed in place."""
    copy = arrays[key].copy()
    out = function(copy)
    return {**arrays, key: copy if out is None else out}


@pytest.mark.parametrize("name", NETS)
def test_what_the_prover_finds_is_confirmed_for_every_kind_of_block(name):
    graph, arrays = example(name, "l2", "fast" if name == "pool" else "balanced")
    assert (arrays["radii"] > 0).any()
    assert verdict(graph, arrays).all()
    for i in np.flatnonzero(arrays["radii"] > 0):
        steps = np.random.default_rng(i).normal(size=(300, *graph.input_shape))
        steps *= arrays["radii"][i] / np.linalg.norm(steps.reshape(300, -1), axis=1).reshape(-1, *(1,) * len(graph.input_shape))
        assert (graph(arrays["inputs"][i].astype(np.float64) + steps).reshape(300, -1).argmax(axis=1) == arrays["labels"][i]).all()


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("name", ["relu", "leaky", "tanh", "residual", "convolution", "pool", "groupsort", "extremes", "layer_norm", "folded", "unfolded", "prelu"])
def test_linear_bounds_in_the_other_norms(name, norm):
    graph, arrays = example(name, norm, "fast", 3)
    assert verdict(graph, arrays, norm).all() and not arrays["local_mode"].any()
    refused(graph, changed(arrays, "radii", lambda r: r * 1.02), "not proved", norm)


@pytest.mark.parametrize("name", ["relu", "leaky", "tanh", "residual", "maxmin", "groupsort", "extremes", "prelu"])
def test_a_radius_that_is_a_hundredth_larger_is_refused(name):
    graph, arrays = example(name)
    for i in np.flatnonzero((arrays["radii"] > 0) & arrays["local_mode"].any(axis=1)):
        refused(graph, {**arrays, "radii": arrays["radii"] * 1.01}, f"input {i}", which=[i])


@pytest.mark.parametrize("name", ["relu", "residual", "convolution", "groupsort", "tanh"])
def test_boxes_that_were_changed_are_refused(name):
    graph, arrays = example(name, "l2", "fast")  # boxes of the radius itself; those of matrix inequalities may be of a larger ball
    one = np.flatnonzero(arrays["radii"] > 0)[:1]
    less = np.float32(1 - 1e-3)
    for key in ("local_lower", "local_upper"):
        refused(graph, changed(arrays, key, lambda a: a * less), "stored box is not proved", which=one)
        for bad in (np.inf, -np.inf, np.nan):
            refused(graph, changed(arrays, key, lambda a, bad=bad: a.fill(bad)), "not finite, or does not hold 0", which=one)
        for j in range(arrays[key].shape[1]):
            if abs(arrays[key][one[0], j]) > 1e-3:
                refused(graph, changed(arrays, key, lambda a, j=j: a.__setitem__((one, j), a[one, j] * less)), "stored box is not proved", which=one)
    refused(graph, changed(arrays, "local_lower", np.abs), "does not hold 0", which=one)
    refused(graph, {**arrays, "local_lower": arrays["local_upper"], "local_upper": arrays["local_lower"]}, "does not hold 0", which=one)
    with np.errstate(over="ignore"):
        for factor in (1e3, 1e30):  # a larger box holds, and proves less
            wide = {key: np.clip(arrays[key] * np.float32(factor), -3e38, 3e38) for key in ("local_lower", "local_upper")}
            refused(graph, {**arrays, **wide}, "not proved", which=one)


def test_boxes_of_another_input_are_refused():
    graph, arrays = example("relu", "l2", "fast", 3)
    order = np.argsort(arrays["radii"])
    swapped = {key: arrays[key].copy() for key in ("local_lower", "local_upper")}
    for key, array in swapped.items():
        array[order[-1]] = arrays[key][order[0]]
    refused(graph, {**arrays, **swapped}, "not proved", which=order[-1:])


@pytest.mark.parametrize("name", ["relu", "residual", "tanh", "groupsort"])
def test_multipliers_and_modes_that_were_changed_are_refused(name):
    graph, arrays = example(name)
    i = int(np.flatnonzero(arrays["local_mode"].any(axis=1))[0])
    j = int(np.flatnonzero(arrays["local_mode"][i])[0])
    inequality = "not proved by its matrix inequality"
    for factor in (0.0, 2.0, 0.5):
        refused(graph, changed(arrays, "local_theta", lambda t, f=factor: t.__setitem__((i, j), t[i, j] * np.float32(f))), inequality, which=[i])
    for bad in (np.nan, np.inf, -1e-3):
        refused(graph, changed(arrays, "local_theta", lambda t, b=bad: t.__setitem__((i, j, 1), b)), "negative or not finite", which=[i])
    refused(graph, changed(arrays, "local_theta", lambda t: t.__setitem__((i, j), np.roll(t[i, j], 1))), inequality, which=[i])
    refused(graph, changed(arrays, "local_theta", lambda t: t.__setitem__((i, j, 0), 0.0)), inequality, which=[i])
    refused(graph, changed(arrays, "local_mode", lambda m: m.__setitem__((i, j), 0)), "not proved by the linear bound", which=[i])
    label = int(arrays["labels"][i])
    refused(graph, changed(arrays, "local_mode", lambda m: m.__setitem__((i, label), 1)), "0 or 1, and 0 for the label", which=[i])
    for bad in (2, -1):
        refused(graph, changed(arrays, "local_mode", lambda m, b=bad: m.__setitem__((i, j), b)), "0 or 1", which=[i])
    other = [c for c in range(arrays["local_mode"].shape[1]) if c not in (j, label)]
    for c in other if name in ("relu", "tanh") else ():  # the others' classes are not far from each other
        refused(
            graph,
            changed(changed(arrays, "local_theta", lambda t, c=c: t.__setitem__((i, c), t[i, j])), "local_mode", lambda m, c=c: m.__setitem__((i, c), 1)),
            inequality,
            which=[i],
        )
    refused(graph, arrays, "l2 norm only", "linf", [i])


def test_a_class_closed_by_the_linear_bound_has_no_multipliers_to_fall_back_on():
    graph, arrays = example("twice")
    i = int(np.flatnonzero(arrays["radii"] > 0)[0])
    j = 1 - int(arrays["labels"][i])
    assert arrays["local_mode"][i, j] == 0
    refused(graph, changed(arrays, "local_mode", lambda m: m.__setitem__((i, j), 1)), "matrix inequality", which=[i])


def test_labels_and_inputs_that_were_changed_are_refused():
    graph, arrays = example("relu")
    i = int(np.flatnonzero(arrays["radii"] > 0)[0])
    for label in range(3):
        if label != arrays["labels"][i]:
            refused(graph, changed(arrays, "labels", lambda y, c=label: y.__setitem__(i, c)), "0 or 1, and 0 for the label|not proved the largest", which=[i])
            clean = changed(arrays, "local_mode", lambda m: m.fill(0))
            refused(graph, changed(clean, "labels", lambda y, c=label: y.__setitem__(i, c)), "not proved the largest", which=[i])
    for value in (np.nan, np.inf, -np.inf):
        for place in range(4):
            refused(graph, changed(arrays, "inputs", lambda x, j=place, v=value: x.__setitem__((i, j), v)), "not finite", which=[i])
    refused(graph, changed(arrays, "inputs", np.negative), "not proved", which=[i])
    for radius in (np.nan, np.inf, -1.0, 0.0, 1e300):
        refused(graph, changed(arrays, "radii", lambda r, v=radius: r.__setitem__(i, v)), "radius or label is out of range", which=[i])


def test_arrays_of_another_shape_or_type_are_refused_before_any_work():
    graph, arrays = example("relu")
    for key in ARRAYS.values():
        refused(graph, {k: a for k, a in arrays.items() if k != key}, "lacks an array")
        refused(graph, changed(arrays, key, lambda a: a[:, :-1]), "wrong dtype or shape")
        refused(graph, changed(arrays, key, lambda a: a[:0]), "wrong dtype or shape")
        refused(graph, changed(arrays, key, lambda a: a.astype(np.float64)), "wrong dtype or shape")
        refused(graph, changed(arrays, key, lambda a: a[..., None]), "wrong dtype or shape")


def test_networks_without_blocks_or_too_large_are_refused(monkeypatch):
    from certify.core.graph import GraphBuilder

    b = GraphBuilder()
    graph = b.build(b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.eye(2)}))
    refused(graph, {"radii": np.ones(1)}, "affine network", which=[0])
    graph, arrays = example("relu")
    monkeypatch.setattr("certify.proof.check_local.MOST_WORK", 1.0)
    refused(graph, arrays, "too large")
    monkeypatch.setattr("certify.proof.local_values.MOST_ENTRIES", 3)
    refused(graph, arrays, "too large")


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_network_trained_on_digits(data_folder, norm):
    folder = data_folder / "nets"
    if not (folder / "digits_2x50.safetensors").is_file():
        pytest.skip(f"no {folder}/digits_2x50.safetensors; set CERTIFY_DATA")
    from safetensors.torch import load_file
    from torch import nn

    module = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
    module.load_state_dict(load_file(folder / "digits_2x50.safetensors"))
    images = np.load(folder / "digits_test.npz")["images"][: 2 if norm == "l2" else 20].astype(np.float32)
    graph, arrays = evidence(fold_affine(trace(module.eval(), (64,))), images, norm, "balanced" if norm == "l2" else "fast")
    assert (arrays["radii"] > 0).all() and verdict(graph, arrays, norm).all()
    assert arrays["local_mode"].any() == (norm == "l2")
    refused(graph, {**arrays, "radii": arrays["radii"] * 1.01}, "not proved", norm)
