"""The methods that work input by input: what the journal remembers of them, and that what is claimed is what the checker confirms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from strategies.classifiers import mlp

import certify
from certify.core.errors import CertificateError, HypothesisError
from certify.core.graph import GraphBuilder
from certify.robustness.extensions import extensions, question
from certify.robustness.heads import find_head
from certify.robustness.journal import Journal
from certify.robustness.radii import certify_radii


def problem(kind: str = "relu", seed: int = 0):
    rng = np.random.default_rng(seed)
    graph = mlp(rng, (4, 6, 3), kind=kind)
    x = rng.standard_normal((6, 4))
    return graph, x, graph(x).argmax(1)


def test_a_journal_knows_the_effort(tmp_path):
    graph, x, y = problem(seed=3)
    journal = Journal(tmp_path)
    fast = certify_radii(graph, x, y, method="local", attack=False, effort="fast", journal=journal)
    again = certify_radii(graph, x, y, method="local", attack=False, effort="tight", journal=journal)
    fresh = certify_radii(graph, x, y, method="local", attack=False, effort="tight")
    assert (again.radii == fresh.radii).all() and (fresh.radii >= fast.radii * (1 - 1e-2)).all()
    head = find_head(graph)
    assert question(extensions(head, y, "l2", "local", "fast")) != question(extensions(head, y, "l2", "local", "tight"))


def residual():
    """z + celu(z) behind a sine: prover and checker see different ranges of the gradient."""
    rng, b = np.random.default_rng(6), GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    h = b.add("activation", [b.add("dense", [x], arrays={"weight": rng.normal(size=(5, 3))})], {"kind": "sin"})
    z = b.add("dense", [h], arrays={"weight": rng.normal(size=(2, 5))})
    s = b.add("add", [z, b.add("activation", [z], {"kind": "celu", "alpha": 2.5})])
    h = b.add("activation", [b.add("dense", [s], arrays={"weight": rng.normal(size=(4, 2))})], {"kind": "tanh"})
    return b.build(b.add("dense", [h], arrays={"weight": rng.normal(size=(2, 4))}))


@pytest.mark.parametrize("graph", [residual(), mlp(np.random.default_rng(1), (4, 6, 3), kind="softplus")], ids=["residual", "softplus"])
def test_what_is_saved_is_confirmed(graph, tmp_path):
    x = np.random.default_rng(0).standard_normal((5, *graph.input_shape))
    for method in ("curvature", "local", "auto"):
        try:
            result = certify.radius(graph, x, graph(x).argmax(1), method=method, effort="tight", attack=False)
        except HypothesisError as error:
            assert method == "curvature" and "prover and checker" in str(error)
            continue
        assert certify.check(result.save(tmp_path / method), graph).ok


def test_a_forged_radius_names_its_method(tmp_path):
    graph, x, y = problem("softplus")
    result = certify.radius(graph, x, y, method="curvature", attack=False)
    assert (result.methods == "curvature").any()
    forged = dataclasses.replace(result, radii=result.radii * 1.01)
    with pytest.raises(CertificateError, match="curvature"):
        certify.check(forged.save(tmp_path / "forged"), graph)


def test_overflow_near_an_input_is_no_crash():
    b = GraphBuilder()
    h = b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[1e100, 2e100], [-1e100, 1e100]])})
    h = b.add("activation", [h], {"kind": "hardtanh", "min": -1.0, "max": 1.0})
    h = b.add("activation", [b.add("dense", [h], arrays={"weight": np.eye(2)})], {"kind": "relu"})
    graph = b.build(b.add("dense", [h], arrays={"weight": np.array([[1.0, 2.0], [-1.0, 1.0]])}))
    near = certify.lipschitz(graph, (2,), region=certify.Ball([0.3, 0.4], 0.1), effort="fast")
    assert near.upper <= certify.lipschitz(graph, (2,), effort="fast").upper
    x = np.array([[0.3, 0.4], [-1.0, 2.0]])
    result = certify.radius(graph, x, graph(x).argmax(1), method="local")
    assert (result.radii <= result.upper).all()
