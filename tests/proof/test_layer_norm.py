"""The checker's side of LayerNorm: its squares against the prover's constants, its values and error terms where floats hurt, broken versions, certificates."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth.exact import distance, exact_tensors

import certify
from certify.constants.product import walk
from certify.core.errors import CertificateError
from certify.core.graph import Graph, GraphBuilder
from certify.proof import certificate
from certify.proof.check_steps import check_steps
from certify.proof.forward import evaluate_node, row_norms
from certify.proof.local import local
from certify.proof.rounding_terms import terms
from certify.robustness.radii import certify_radii
from certify.rules.base import rule_for

NORMS = ("l2", "linf", "l1")
seeds = st.integers(0, 2**32 - 1)


def norm_graph(shape, dims=1, eps=1e-2, center=True, weight=None, bias=None) -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": shape})
    return b.build(b.add("layer_norm", [x], {"dims": dims, "eps": eps, "center": center}, {"weight": weight, "bias": bias}, name="node"))


@given(seeds)
def test_the_prover_is_never_below_the_checker_and_hardly_above(seed):
    rng = np.random.default_rng(seed)
    d, eps, center = int(rng.integers(1, 200)), float(10 ** rng.uniform(-12, 3)), bool(rng.integers(2))
    graph = norm_graph((2, d), eps=eps, center=center, weight=rng.normal(size=d) * 10 ** rng.uniform(-30, 30) if rng.random() < 0.7 else None)
    node, shapes = graph["node"], [(2, d)]
    for norm in NORMS:
        stored = Fraction(rule_for("layer_norm").local(node, shapes, norm, "fast").constants[0])
        (square,), combine = local(node, shapes, norm)
        assert combine == "sum" and stored**2 >= square and float(stored) <= math.sqrt(float(square)) * (1 + 1e-15)


HARD = {
    "large mean": lambda rng, d: 1e8 + rng.normal(size=d),
    "equal entries": lambda rng, d: np.full(d, 0.1),
    "tiny": lambda rng, d: rng.normal(size=d) * 1e-160,
    "squares overflow": lambda rng, d: rng.normal(size=d) * 1e200,
    "one large entry": lambda rng, d: np.where(np.arange(d) == 0, 1e170, rng.normal(size=d)),
    "ordinary": lambda rng, d: rng.normal(size=d),
}


def excess(graph: Graph, sample: np.ndarray, norm: str, change=lambda relative, absolute: (relative, absolute)) -> float:
    """True error of the checker's value over the claimed one."""
    node = graph["node"]
    value = evaluate_node(node, [sample[None]])
    relative, absolute = change(*terms(node, [sample.shape], norm))
    error = distance(value[0], exact_tensors(graph, sample)["node"], norm)
    allowed = relative[0] * float(row_norms(sample[None], norm)[0]) + absolute
    return 0.0 if error == 0 else float(error / allowed) if allowed else math.inf


@pytest.mark.parametrize("name", HARD)
@given(seed=seeds)
def test_error_terms_where_floats_hurt(name, seed):
    rng = np.random.default_rng(seed)
    d, center = int(rng.integers(1, 8)), bool(rng.integers(2))
    weight = None if rng.random() < 0.5 else rng.normal(size=d) * 10 ** rng.uniform(-150, 3)
    graph = norm_graph((2, d), eps=float(10 ** rng.uniform(-12, 1)), center=center, weight=weight, bias=rng.normal(size=d) if rng.random() < 0.5 else None)
    sample = np.stack([HARD[name](rng, d), rng.normal(size=d)])
    assert all(excess(graph, sample, norm) <= 1 for norm in NORMS)


MUTANTS = {
    "no term for the mean": lambda relative, absolute: ([0.0], absolute),
    "the mean without 1 / sqrt(eps)": lambda relative, absolute: ([relative[0] * 1e-3], absolute),
    "no absolute term": lambda relative, absolute: ([0.0], 0.0),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_error_terms_are_caught(name):
    rng, worst = np.random.default_rng(0), 0.0
    for d in (3, 7):
        graph = norm_graph((d,), eps=1e-6)
        for sample in (np.full(d, 1e6 / 3), 1e6 + 1e-4 * rng.normal(size=d), 1e6 + rng.normal(size=d), rng.normal(size=d)):
            worst = max(worst, *(excess(graph, sample, norm, MUTANTS[name]) for norm in NORMS))
            assert excess(graph, sample, "l2") <= 1
    assert worst > 1


@pytest.mark.parametrize("norm", NORMS)
def test_overflows_are_marked(norm):
    relative, _ = terms(norm_graph((4,), weight=np.full(4, 1e-100))["node"], [(4,)], norm)
    assert relative[0] * 2.0**1022 >= 2.0**900
    assert terms(norm_graph((4,), weight=np.full(4, 1e308))["node"], [(4,)], norm)[1] >= 2.0**900
    assert math.isinf(terms(norm_graph((4,), eps=1e-300)["node"], [(4,)], norm)[1])


def test_what_has_no_constant_is_refused():
    with pytest.raises(CertificateError, match="eps <= 0"):
        local(norm_graph((4,), eps=0.0)["node"], [(4,)], "l2")
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3, 2)})
    graph = b.build(b.add("attention", [x, x, x], {"scale": 1.0, "causal": True}, name="node"))
    with pytest.raises(CertificateError, match="attention, has no constant"):
        local(graph["node"], graph.input_shapes(graph["node"]), "l2")


def classifier(seed: int) -> Graph:
    """Tokens, a norm of each, a residual layer with a norm before it, and logits."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3, 4)})
    n = b.add("layer_norm", [x], {"dims": 1, "eps": 1e-2, "center": True}, {"weight": rng.normal(size=4), "bias": rng.normal(size=4)}, name="norm")
    h = b.add("activation", [b.add("dense", [n], arrays={"weight": rng.normal(size=(4, 4)), "bias": rng.normal(size=4)})], {"kind": "relu"})
    flat = b.add("reshape", [b.add("add", [x, h])], {"shape": (12,)})
    last = b.add("layer_norm", [flat], {"dims": 1, "eps": 1.0, "center": False}, name="last")
    return b.build(b.add("dense", [last], arrays={"weight": rng.normal(size=(3, 12))}))


@pytest.mark.parametrize("norm", NORMS)
def test_certificates_of_networks_with_norms(tmp_path, norm):
    graph = classifier(0)
    inputs = np.random.default_rng(1).normal(size=(6, 3, 4))
    result = certify_radii(graph, inputs, graph(inputs).argmax(axis=1), norm, "global", attack=False)
    assert (result.radii > 0).all() and certify.check(result.save(tmp_path / "c"), graph).ok


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_below_the_truth_is_refused(norm):
    graph = classifier(0)
    steps = walk(graph, norm, "fast")
    for factor, holds in ((1.0, True), (1 - 1e-9, False)):
        lines = []
        for s in steps:
            c = tuple(v * factor for v in s.constants) if s.node == "norm" else s.constants
            lines.append(certificate.step(s.node, s.op, s.rule, s.method, s.inputs, c, s.combine, s.running, s.evidence))
        if holds:
            check_steps(graph, norm, lines, [])
        else:
            with pytest.raises(CertificateError, match="local constant"):
                check_steps(graph, norm, lines, [])
