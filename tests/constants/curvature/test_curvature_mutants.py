"""Broken curvature proofs must be caught: each mutant changes one line of the source, and `caught`, which the real code passes, notices."""

from __future__ import annotations

import importlib
import inspect
import types

import curvature_cases as cases
import numpy as np
import pytest
import torch

from certify.constants.curvature import bounds, curvature_bounds, dual, gradients, joint
from certify.constants.curvature.majorants import majorants
from certify.constants.sdp.chain import chain_of
from certify.core.activation import activation
from certify.core.trace import trace

MUTANTS = [
    (dual, "mu = down(1.0 - up(eta * curvature))", "mu = down(1.0 + up(eta * curvature))"),
    (dual, "q = down(value - lost)", "q = value"),
    (dual, "slope = offsets + Interval.point(safe[:, None]) * _finite(gradients)", "slope = offsets"),
    (joint, "falling, rising = np.maximum(-f[0], 0.0), np.maximum(f[1], 0.0)", "rising, falling = np.maximum(-f[0], 0.0), np.maximum(f[1], 0.0)"),
    (joint, "falling, rising = np.maximum(-f[0], 0.0), np.maximum(f[1], 0.0)", "falling, rising = 0.1 * np.maximum(-f[0], 0.0), 0.1 * np.maximum(f[1], 0.0)"),
    (joint, "_add(mid, rad, own, own, MidRad(np.diag(c)), 1.0)", "_add(mid, rad, own, own, MidRad(np.diag(50.0 * c)), 1.0)"),
    (gradients, "p = MidRad(np.asarray(rows, dtype=np.float64)) @ chain.last.dense()", "p = MidRad(0.05 * np.ones((len(rows), chain.last.shape[0]))) @ chain.last.dense()"),
    (gradients, "corners = [a * b for a in (layer.lo, layer.hi) for b in f]", "corners = [0.5 * (layer.lo + layer.hi) * b for b in f]"),
]


@pytest.mark.parametrize("mutant", range(len(MUTANTS)))
def test_mutants_are_caught(mutant, monkeypatch):
    module, old, new = MUTANTS[mutant]
    source = inspect.getsource(module)
    assert source.count(old) == 1
    changed = types.ModuleType(module.__name__)
    changed.__package__ = module.__package__
    monkeypatch.setitem(importlib.import_module("sys").modules, module.__name__, changed)  # dataclasses look their module up
    exec(compile(source.replace(old, new), module.__name__, "exec"), changed.__dict__)
    for name in ("dual_values", "weights", "gradient_ranges", "Joint"):
        for user in ("radii", "bounds"):
            where = importlib.import_module(f"certify.constants.curvature.{user}")
            if hasattr(changed, name) and hasattr(where, name) and getattr(where, name).__module__ == module.__name__:
                monkeypatch.setattr(where, name, getattr(changed, name))
    assert caught(), f"{old} -> {new} was not noticed"


def caught() -> bool:
    """Whether a bound is below a Hessian, or random evidence proves more than the truth. First a chain of single neurons whose second layer is all but linear."""
    narrow = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Softplus(), torch.nn.Linear(1, 1), torch.nn.Softplus(), torch.nn.Linear(1, 2)).double()
    with torch.no_grad():
        for p, v in zip(narrow.parameters(), (1.0, 0.0, 0.2, 20.0, [[-1.0], [0.5]], 0.0)):
            p.copy_(torch.tensor(v, dtype=torch.float64).expand(p.shape))
    graph = trace(narrow, (1,))
    truth = -cases.extremes(narrow, (1,), np.array([1.0, -1.0]))[0]
    chain = chain_of(graph)
    kinds = [majorants(activation("softplus"))] * 2
    pieces = [bounds.weights((low[0], high[0]), kind, k == 1) for k, ((low, high), kind) in enumerate(zip(bounds.gradient_ranges(chain, np.array([[1.0, -1.0]])), kinds))]
    if any(bounds.Joint(chain).least([0.95 * truth], pieces, [np.array([tau])]) is not None for tau in np.geomspace(1e-4, 10.0, 40)):
        return True
    nets = [(narrow, trace(narrow, (1,)), np.array([1.0, -1.0]))]
    nets += [(*cases.network(kind, shape, seed), np.array([1.0, -1.0, 0.0])) for kind, shape, seed in (("softplus", "1", 3), ("softplus", "2", 4))]
    for net, graph, row in nets:
        found = curvature_bounds(graph).lower
        for sign, bound in ((1.0, found[0, 1]), (-1.0, found[1, 0])):
            if -cases.extremes(net, graph.input_shape, sign * row)[0] > bound * (1 + 1e-9) + 1e-12:
                return True
    net, graph, x, labels = cases.question("softplus", "2", 4)
    return cases.beyond(net, graph, x, labels, curvature_bounds(graph))[0]


def test_the_real_code_passes_what_catches_mutants():
    assert not caught()
