"""A slice of the sweep in every run (`python tests/soundness/lipschitz_sweep.py` for the whole), and mutants that it must catch."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from certify.constants.sdp import layers as proofs
from certify.constants.sdp import solve as searches
from certify.constants.sdp.chain import Layer, chain_of
from certify.constants.sdp.recursion import advance
from certify.core.midrad import MidRad

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
SPEC = importlib.util.spec_from_file_location("lipschitz_sweep", HERE / "lipschitz_sweep.py")
lipschitz_sweep = importlib.util.module_from_spec(SPEC)
sys.modules["lipschitz_sweep"] = lipschitz_sweep
SPEC.loader.exec_module(lipschitz_sweep)
FAMILIES = list(lipschitz_sweep.FAMILIES)


def test_a_slice_of_the_lipschitz_sweep():
    count = settings.default.max_examples // 2
    tally = lipschitz_sweep.sweep(count, seed=77)
    assert not tally.violations, "\n".join(tally.violations[:5])
    assert tally.answered == count and tally.compared > 2000 and len(tally.operators) > 8


def test_every_family_is_answered():
    for number in range(0, 2 * len(FAMILIES), 2):  # without the semidefinite search of certify.lipschitz: it is in the slice
        tally = lipschitz_sweep.Tally()
        lipschitz_sweep.check(5_000_000 + number, tally, public=False)
        assert not tally.violations, tally.violations
        assert tally.answered or tally.refusals


def scaled(layer: Layer, factor: float) -> Layer:
    return dataclasses.replace(layer, inject=MidRad(layer.inject.mid * factor, layer.inject.rad))


def is_abs(layer: Layer) -> bool:
    return layer.inside is None and bool((layer.lo == -1).all() and (layer.hi == 1).all())


MUTANTS = {
    "a skip is forgotten": lambda l: dataclasses.replace(l, keep=None),
    "every activation has slopes in [0, 1]": lambda l: dataclasses.replace(l, lo=np.maximum(l.lo, 0.0), hi=np.minimum(l.hi, 1.0)) if l.node else l,
    "the difference behind a maximum counts half": lambda l: scaled(l, 0.5) if is_abs(l) else l,
    "a softmax has constant 1/4": lambda l: dataclasses.replace(l, lo=l.lo / 2, hi=l.hi / 2) if l.inside is not None else l,
    "weights are one per cent too small": lambda l: dataclasses.replace(l, weight=MidRad(l.weight.mid * 0.99, l.weight.rad)),
}


def caught(most: int = 60) -> int | None:
    """The first network on which the sweep objects."""
    for number in range(6_000_000, 6_000_000 + most):
        tally = lipschitz_sweep.Tally()
        lipschitz_sweep.check(number, tally, public=False)
        if any("left the toolkit" not in text for text in tally.violations):
            return number
    return None


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_chains_are_caught(name, monkeypatch):
    def wrong(graph):
        chain = chain_of(graph)
        return dataclasses.replace(chain, layers=tuple(MUTANTS[name](layer) for layer in chain.layers))

    monkeypatch.setattr(lipschitz_sweep, "chain_of", wrong)
    assert caught() is not None


def test_half_widths_that_are_too_small_are_caught(monkeypatch):
    half = Layer.half.fget
    monkeypatch.setattr(Layer, "half", property(lambda self: 0.98 * half(self)))
    assert caught() is not None


def test_a_solver_that_is_believed_is_caught(monkeypatch):
    """Two per cent below what was proved."""
    least = searches.inequality.least
    monkeypatch.setattr(searches.inequality, "least", lambda *a: None if (bound := least(*a)) is None else 0.98 * bound)
    assert caught() is not None


def test_metrics_that_are_not_verified_are_caught(monkeypatch):
    monkeypatch.setattr(proofs, "verified_pd", lambda *a, **k: True)
    monkeypatch.setattr(proofs, "advance", lambda *a: 0.9 * advance(*a))
    assert caught() is not None
