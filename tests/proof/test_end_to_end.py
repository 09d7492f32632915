"""Certificates of the prover pass the checker: networks, norms, methods; and a changed weight does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.certificates import small_cnn
from strategies.classifiers import convnet, mlp
from strategies.networks import random_graph

import certify
from certify.constants.product import walk
from certify.constants.public import graph_constant
from certify.core.errors import CertificateError
from certify.core.fold import fold_affine
from certify.core.graph import Graph
from certify.proof import certificate
from certify.proof.check_steps import check_steps
from certify.robustness.radii import certify_radii

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)
NETWORKS = {
    "relu": lambda rng: mlp(rng, [6, 8, 4]),
    "gelu softmax": lambda rng: mlp(rng, [6, 8, 8, 4], kind="gelu", tail="softmax"),
    "tanh tanh": lambda rng: mlp(rng, [6, 8, 4], kind="tanh", tail="tanh"),
    "conv pool": convnet,
    "conv bn residual": small_cnn,
}


@norms
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["auto", "global"])
def test_radii_of_the_prover_are_proved_again(tmp_path, norm, name, method):
    rng = np.random.default_rng(0)
    graph = NETWORKS[name](rng)
    inputs = rng.normal(size=(12, *graph.input_shape))
    labels = graph(inputs).argmax(axis=1)
    labels[0] = (labels[0] + 1) % graph.output_shape[0]  # a wrong one: radius 0
    result = certify_radii(graph, inputs, labels, norm, method, attack=False)
    assert (result.radii > 0).sum() >= 10
    report = certify.check(result.save(tmp_path / "c"), graph)
    assert report.ok


@norms
def test_brackets_of_the_attack_are_consistent(tmp_path, norm):
    rng = np.random.default_rng(1)
    graph = mlp(rng, [5, 7, 3])
    inputs = rng.normal(size=(6, 5))
    result = certify_radii(graph, inputs, graph(inputs).argmax(axis=1), norm)
    assert np.isfinite(result.upper).any() and certify.check(result.save(tmp_path / "c"), graph).ok


@norms
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=max(5, settings.default.max_examples // 3))
def test_constants_of_random_networks_are_proved_again(tmp_path_factory, norm, seed):
    graph = random_graph(np.random.default_rng(seed))
    constant = graph_constant(graph, norm, "product", effort="fast")
    report = certify.check(constant.save(tmp_path_factory.getbasetemp() / f"c-{norm}"), graph)
    assert report.ok
    lower = next(step for step in report.steps if step.name == "lower")
    assert lower.recomputed == "proved" or lower.recomputed >= lower.stored


@norms
@given(seed=st.integers(0, 2**32 - 1))
def test_constants_of_the_prover_s_rules_are_the_least_that_pass(norm, seed):
    """Every exact rule of the prover, a millionth lower: refused. (A layer norm may be loose, then less can be true.)"""
    graph = random_graph(np.random.default_rng(seed))
    folded = fold_affine(graph).pruned()
    lines = [certificate.step(s.node, s.op, s.rule, s.method, s.inputs, s.constants, s.combine, s.running, s.evidence) for s in walk(graph, norm, "fast")]
    for i, line in enumerate(lines):
        for j, c in enumerate(line["constants"]):
            if line["op"] in ("dense", "conv", "conv_transpose", "avg_pool") or c == 0:
                continue
            wrong = {**line, "constants": [c * (1 - 1e-6) if k == j else x for k, x in enumerate(line["constants"])]}
            with pytest.raises(CertificateError, match="local constant"):
                check_steps(folded, norm, [*lines[:i], wrong], [])
        smaller = {**line, "running": line["running"] * (1 - 1e-6)}
        if line["running"] > 0:
            with pytest.raises(CertificateError, match="running constant"):
                check_steps(folded, norm, [*lines[:i], smaller], [])


@norms
def test_a_weight_that_changed_by_one_bit_is_another_model(tmp_path, norm):
    rng = np.random.default_rng(2)
    graph = mlp(rng, [4, 5, 3])
    inputs = rng.normal(size=(3, 4))
    path = certify_radii(graph, inputs, graph(inputs).argmax(axis=1), norm, attack=False).save(tmp_path / "c")
    weight = np.array(graph["fc0"].arrays["weight"])
    weight[0, 0] = np.nextafter(weight[0, 0], 9)
    nodes = [dataclasses.replace(n, arrays={**n.arrays, "weight": weight}) if n.name == "fc0" else n for n in graph.nodes]
    with pytest.raises(CertificateError, match="another model"):
        certify.check(path, Graph(tuple(nodes), graph.output))
