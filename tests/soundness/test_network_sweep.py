"""A slice of the sweep in every run (`python tests/soundness/network_sweep.py` for the whole), and mutants that it must catch."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
from pathlib import Path

import pytest
from hypothesis import settings

from certify.constants import product
from certify.rules.base import rule_for

SPEC = importlib.util.spec_from_file_location("network_sweep", Path(__file__).with_name("network_sweep.py"))
network_sweep = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(network_sweep)


def test_a_slice_of_the_network_sweep():
    found, compared, ops = network_sweep.sweep(2 * settings.default.max_examples, seed=77)
    assert not found, "\n".join(found[:5])
    assert compared > 500 and len(ops) > 20


def altered(ops, change):
    """A rule_for whose Locals of `ops` are changed."""

    def wrong(op, where=""):
        rule = rule_for(op, where)
        if op not in ops:
            return rule
        return dataclasses.replace(rule, local=lambda *a: change(rule.local(*a)))

    return wrong


MUTANTS = {
    "the residual's second branch is forgotten": ("add sub", lambda l: dataclasses.replace(l, constants=(1.0, 0.0))),
    "maximum instead of sum": ("add sub", lambda l: dataclasses.replace(l, combine="max")),
    "maximum instead of the root of squares": ("concat maximum minimum", lambda l: dataclasses.replace(l, combine="max")),
    "every activation has slope 1": ("activation", lambda l: dataclasses.replace(l, constants=(min(1.0, l.constants[0]),))),
    "copies are free": ("expand upsample gather pad max_pool", lambda l: dataclasses.replace(l, constants=(1.0,))),
    "a layer norm that is one per cent too small": ("dense conv", lambda l: dataclasses.replace(l, constants=(0.99 * l.constants[0],))),
    "no float slack in layers": ("dense conv conv_transpose", lambda l: dataclasses.replace(l, relative=(0.0,), absolute=0.0)),
    "no float slack in activations": ("activation", lambda l: dataclasses.replace(l, relative=(0.0,), absolute=0.0)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught_by_the_sweep(name, monkeypatch):
    ops, change = MUTANTS[name]
    monkeypatch.setattr(product, "rule_for", altered(ops.split(), change))
    monkeypatch.setattr(network_sweep, "NORMS", ("l2", "l1"))
    caught = next((seed for seed in range(150) if network_sweep.check(seed, False, collections.Counter())[0]), None)
    assert caught is not None


def test_a_walker_that_counts_a_repeated_input_once_is_caught(monkeypatch):
    real = product.combined
    monkeypatch.setattr(product, "combined", lambda combine, constants, incoming: real(combine, constants, [r if i == 0 else 0.0 for i, r in enumerate(incoming)]))
    assert any(network_sweep.check(seed, False, collections.Counter())[0] for seed in range(60))
