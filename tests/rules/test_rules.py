"""Contract battery of the rules: every rule is found by itself, and both claims of its local facts are tried against exact arithmetic."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.activations import INSTANCES
from strategies.networks import NODES, sample_inputs, single_node
from truth.local_facts import moves, rounding, stretch
from truth.networks import jacobians, matrix_norm

import certify.rules
from certify.core.errors import CertifyError, InputError, SoundnessError, UnsupportedLayerError
from certify.core.evaluate import evaluate
from certify.core.graph import VOCABULARY, Graph, GraphBuilder
from certify.rules.base import Local, Rule, rule_for, rules

NORMS = ("l2", "linf", "l1")
FINITE = sorted(op for r in rules() if r.finite for op in r.ops if op != "constant")
EXACT_VALUE = {"maximum", "minimum", "concat", "slice", "gather", "reshape", "transpose", "expand", "pad", "max_pool", "group_sort", "upsample"}
norms = pytest.mark.parametrize("norm", NORMS)
seeds = st.integers(0, 2**32 - 1)


def local_of(graph: Graph, norm: str, effort: str = "fast") -> Local:
    node = graph["node"]
    return rule_for(node.op).local(node, graph.input_shapes(node), norm, effort)


def computed_node(graph: Graph, sample: np.ndarray) -> np.ndarray:
    return evaluate(graph, sample[None])[0]


def test_the_rules_cover_the_vocabulary_once_each():
    ops = [op for r in rules() for op in r.ops]
    assert sorted(ops) == sorted(set(ops)) and set(ops) == VOCABULARY - {"input"}
    assert set(FINITE) <= set(NODES), "a rule without random nodes to try it on"
    modules = [importlib.import_module(f"certify.rules.{m.name}") for m in pkgutil.iter_modules(certify.rules.__path__)]
    assert {id(v) for m in modules for v in vars(m).values() if isinstance(v, Rule)} == {id(r) for r in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda r: r.name)
def test_every_rule_cites_its_proof_and_says_what_it_claims(rule):
    assert rule.cite and rule.local.__doc__


@pytest.mark.parametrize("op", FINITE)
@given(seed=seeds)
def test_the_constant_bounds_every_difference(op, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op, scale=float(rng.choice([1.0, 1e-3, 40.0])))
    pairs = moves(rng, graph, 4)
    for norm in NORMS:
        local = local_of(graph, norm)
        assert len(local.constants) == len(graph["node"].inputs) and all(math.isfinite(c) for c in local.constants) and local.cite
        assert all(stretch(local, graph, first, second, norm) <= 1 for first, second in pairs)


@pytest.mark.parametrize("op", FINITE)
@given(seed=seeds)
def test_the_rounding_term_bounds_the_float64_error(op, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op, scale=float(rng.choice([1.0, 1e-150, 1e30])))
    samples = sample_inputs(rng, graph, 2)
    for norm in NORMS:
        local = local_of(graph, norm)
        assert all(rounding(local, graph, sample, computed_node(graph, sample), norm) <= 1 for sample in samples)
        if op in EXACT_VALUE:
            assert local.absolute == 0 and set(local.relative) == {0.0}


@pytest.mark.parametrize("kind", sorted(INSTANCES))
@given(seed=seeds)
def test_every_activation_kind(kind, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, "activation", kind=kind)
    pairs = moves(rng, graph, 2)
    for norm in NORMS:
        local = local_of(graph, norm)
        for first, second in pairs:
            assert stretch(local, graph, first, second, norm) <= 1
            assert rounding(local, graph, first, computed_node(graph, first), norm) <= 1


ATTAINED = ["scale", "divide", "batch_norm", "slice", "gather", "reshape", "transpose", "expand", "upsample", "pad", "group_sort", "max_pool"]


@pytest.mark.parametrize("op", ATTAINED)
@given(seed=seeds)
@settings(max_examples=settings.default.max_examples // 2)
def test_exact_constants_are_attained(op, seed):
    """Not only true but best: a bump at some entry reaches the constant."""
    rng = np.random.default_rng(seed)
    graph = single_node(rng, op)
    base = rng.normal(size=graph.input_shape) * 0.1
    unit = np.eye(base.size)
    for norm in NORMS:
        local = local_of(graph, norm)
        best = max(stretch(local, graph, base + 51.0 * e, base + 50.0 * e, norm) for e in unit)
        assert 1 - 1e-12 <= best <= 1 or local.constants == (0.0,)


@norms
@given(seed=seeds)
def test_the_constants_of_linear_layers_are_not_far_from_the_matrix_norm(norm, seed):
    rng = np.random.default_rng(seed)
    graph = single_node(rng, str(rng.choice(["dense", "conv", "conv_transpose", "avg_pool", "reduce"])))
    truth = matrix_norm(jacobians(graph, rng.normal(size=(1, *graph.input_shape)))[0], norm)
    bound = local_of(graph, norm, "balanced").constants[0]
    assert bound >= truth * (1 - 1e-12)
    assert graph["node"].op == "reduce" and graph["node"].attrs["kind"] in ("max", "min") or bound <= truth * 4 + 1e-12


def chain(op, shapes, attrs=None, arrays=None):
    b = GraphBuilder()
    total = sum(math.prod(s) for s in shapes)
    x, start, parts = b.add("input", attrs={"shape": (total,)}), 0, []
    for shape in shapes:
        part = b.add("slice", [x], {"axis": 0, "start": start, "stop": start + math.prod(shape), "step": 1})
        parts.append(b.add("reshape", [part], {"shape": shape}))
        start += math.prod(shape)
    return b.build(b.add(op, parts, attrs, arrays, name="node"))


@norms
@pytest.mark.parametrize("op, shapes", [("multiply", [(3,), (3,)]), ("matmul", [(2, 3), (3, 2)])])
def test_products_of_two_tensors_are_refused_with_the_reason(op, shapes, norm):
    with pytest.raises(UnsupportedLayerError) as caught:
        local_of(chain(op, shapes), norm)
    text = str(caught.value)
    assert "no finite constant" in text and op in text and "try:" in text and "node" in text


def test_an_operator_without_a_rule_is_refused_by_name():
    with pytest.raises(UnsupportedLayerError, match="'einsum'"):
        rule_for("einsum", "body.2")


def test_values_outside_the_domain_are_refused():
    with pytest.raises(InputError, match="division by zero"):
        local_of(chain("divide", [(2,)], arrays={"value": np.array([1.0, 0.0])}), "l2")
    with pytest.raises(InputError, match="var"):
        local_of(chain("batch_norm", [(2, 3)], {"eps": 0.0}, {"mean": np.zeros(2), "var": np.array([1.0, 0.0])}), "l2")
    with pytest.raises(CertifyError):
        local_of(chain("dense", [(2,)], arrays={"weight": np.eye(2)}), "l3")


KNOWN = [
    ("add", [(3,), (3,)], {}, {}, {"l2": (1.0, 1.0), "l1": (1.0, 1.0), "linf": (1.0, 1.0)}),
    ("max_pool", [(1, 6)], {"kernel": (3,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,)}, {}, {"l2": (math.sqrt(3),), "l1": (3.0,), "linf": (1.0,)}),
    ("max_pool", [(1, 6)], {"kernel": (2,), "stride": (2,), "padding": ((0, 0),), "dilation": (1,)}, {}, {"l2": (1.0,), "l1": (1.0,), "linf": (1.0,)}),
    ("max_pool", [(1, 3)], {"kernel": (3,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,)}, {}, {"l2": (1.0,), "l1": (1.0,), "linf": (1.0,)}),
    ("reduce", [(4, 4)], {"kind": "mean", "axes": (0, 1), "keepdims": False}, {}, {"l2": (0.25,), "l1": (1 / 16,), "linf": (1.0,)}),
    ("reduce", [(4, 4)], {"kind": "sum", "axes": (1,), "keepdims": True}, {}, {"l2": (2.0,), "l1": (1.0,), "linf": (4.0,)}),
    ("gather", [(3,)], {"axis": 0}, {"index": np.array([0, 2, 2, 2, 2])}, {"l2": (2.0,), "l1": (4.0,), "linf": (1.0,)}),
    ("upsample", [(1, 2, 2)], {"factors": (2, 2)}, {}, {"l2": (2.0,), "l1": (4.0,), "linf": (1.0,)}),
    ("expand", [(1, 3)], {"shape": (4, 3)}, {}, {"l2": (2.0,), "l1": (4.0,), "linf": (1.0,)}),
    ("pad", [(1, 2)], {"pads": ((0, 0), (2, 2)), "mode": "circular", "value": 0.0}, {}, {"l2": (math.sqrt(3),), "l1": (3.0,), "linf": (1.0,)}),
    ("pad", [(1, 2)], {"pads": ((0, 0), (3, 0)), "mode": "replicate", "value": 0.0}, {}, {"l2": (2.0,), "l1": (4.0,), "linf": (1.0,)}),
    ("pad", [(1, 3)], {"pads": ((0, 0), (2, 2)), "mode": "constant", "value": 7.0}, {}, {"l2": (1.0,), "l1": (1.0,), "linf": (1.0,)}),
    ("softmax", [(5,)], {"axis": 0}, {}, {"l2": (0.5,), "l1": (0.5,), "linf": (0.5,)}),
    ("log_softmax", [(9,)], {"axis": 0}, {}, {"l2": (3.0,), "l1": (8.0,), "linf": (2.0,)}),
    ("logsumexp", [(5,)], {"axis": 0}, {}, {"l2": (1.0,), "l1": (1.0,), "linf": (1.0,)}),
    ("scale", [(2,)], {}, {"value": np.array([-3.0, 0.5])}, {"l2": (3.0,), "l1": (3.0,), "linf": (3.0,)}),
]


@pytest.mark.parametrize("op, shapes, attrs, arrays, expected", KNOWN, ids=[f"{k[0]}-{i}" for i, k in enumerate(KNOWN)])
def test_known_constants(op, shapes, attrs, arrays, expected):
    for norm, constants in expected.items():
        found = local_of(chain(op, shapes, attrs, arrays), norm).constants
        assert all(c <= f <= c * (1 + 4e-16) for f, c in zip(found, constants, strict=True)), (norm, found)


@norms
def test_softmax_constants_are_reached_in_the_limit(norm):
    """The suprema of the table: 1/2 at two equal entries, sqrt n, 2 and n - 1 for log-softmax at one dominant entry."""
    for op, point in (("softmax", [0.0, 0.0, -60.0, -60.0]), ("log_softmax", [40.0, 0.0, 0.0, 0.0])):
        graph = chain(op, [(4,)], {"axis": 0})
        found = matrix_norm(jacobians(graph, np.array([point]))[0], norm) if norm != "linf" or op == "softmax" else matrix_norm(jacobians(graph, np.array([point]))[0], norm)
        constant = local_of(graph, norm).constants[0]
        assert 0.999 * constant <= found <= constant * (1 + 1e-12)


# -- the battery must notice a wrong rule ----------------------------------------------------------------------------------------------------------
def worst(op, norm, change, claims=(0, 1), seeds=40) -> float:
    """Largest violation factor of a rule whose Local is altered by `change`; stops at the first violation."""
    factor = 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        graph = single_node(rng, op)
        local = change(local_of(graph, norm), graph)
        if 0 in claims:
            factor = max(factor, *(stretch(local, graph, first, second, norm) for first, second in moves(rng, graph, 6)))
        if 1 in claims:
            sample = sample_inputs(rng, graph, 1)[0]
            factor = max(factor, rounding(local, graph, sample, computed_node(graph, sample), norm))
        if factor > 1:
            break
    return factor


MUTANTS = {
    "concat by maximum in l2": ("concat", "l2", lambda l, g: dataclasses.replace(l, combine="max"), 0),
    "add by maximum": ("add", "linf", lambda l, g: dataclasses.replace(l, combine="max"), 0),
    "residual term missing": ("sub", "l1", lambda l, g: dataclasses.replace(l, constants=(1.0, 0.0)), 0),
    "max pool is 1": ("max_pool", "l2", lambda l, g: dataclasses.replace(l, constants=(1.0,)), 0),
    "copying pad is 1": ("pad", "l1", lambda l, g: dataclasses.replace(l, constants=(1.0,)), 0),
    "mean forgets the group": ("reduce", "linf", lambda l, g: dataclasses.replace(l, constants=(0.5,)), 0),
    "wrong slope": ("activation", "l2", lambda l, g: dataclasses.replace(l, constants=(min(l.constants[0], 1.0),)), 0),
    "gather without multiplicity": ("gather", "l2", lambda l, g: dataclasses.replace(l, constants=(1.0,)), 0),
    "batch norm without the gain": ("batch_norm", "linf", lambda l, g: dataclasses.replace(l, constants=(1.0,)), 0),
    "no slack on a linear layer": ("dense", "l2", lambda l, g: dataclasses.replace(l, relative=(0.0,), absolute=0.0), 1),
    "no slack on a sum": ("add", "l2", lambda l, g: dataclasses.replace(l, relative=(0.0, 0.0)), 1),
    "no slack on batch norm": ("batch_norm", "l1", lambda l, g: dataclasses.replace(l, relative=(0.0,)), 1),
    "no slack on softmax": ("softmax", "linf", lambda l, g: dataclasses.replace(l, absolute=0.0), 1),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name):
    op, norm, change, claim = MUTANTS[name]
    assert worst(op, norm, change, (claim,)) > 1
    assert worst(op, norm, lambda local, graph: local, seeds=5) <= 1


@pytest.mark.parametrize("change", [{"constants": (math.nan,)}, {"constants": (-1.0,)}, {"absolute": math.nan}, {"relative": (0.0, 0.0)}, {"combine": "product"}])
def test_a_local_fact_that_is_no_fact_is_refused(change):
    with pytest.raises(SoundnessError):
        Local(**{"constants": (1.0,), "combine": "sum", "rule": "r", "method": "m", "relative": (0.0,), "absolute": 0.0, **change})
