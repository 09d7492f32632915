"""What training believes: for a linear network it is the certificate itself, in every norm; for any other it is named an estimate and no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies.training import clusters, dense, plan, seeded
from torch import nn

import certify
from certify.train.factory import build
from certify.train.live import estimate, estimated_radii, head_differences, pairs_for
from certify.train.loop import fit
from certify.train.samples import Samples

NORMS = {"l2": 2.0, "linf": torch.inf, "l1": 1.0}


@pytest.mark.parametrize("norm", NORMS)
def test_differences_of_rows_are_bounds_that_are_reached(norm):
    generator = torch.Generator().manual_seed(0)
    weight, moves = torch.randn(4, 5, generator=generator).double(), torch.randn(3000, 5, generator=generator).double()
    found = head_differences(weight, norm)
    apart = weight[:, None] - weight[None]
    moves = torch.cat([moves, torch.eye(5).double(), apart.sign().reshape(-1, 5), apart.reshape(-1, 5)])
    moves = moves[moves.abs().sum(1) > 0]
    slopes = (apart @ moves.T).abs() / torch.linalg.vector_norm(moves, NORMS[norm], dim=1)
    assert (slopes <= found[..., None] * (1 + 1e-12)).all() and torch.allclose(slopes.amax(2), found)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_network_is_estimated_as_it_is_certified(norm):
    model = seeded(lambda: nn.Linear(2, 3)).double()
    x, y = clusters(test=40)[1]
    proved = certify.radius(model, x, y, norm, attack=False)
    inputs, labels = torch.from_numpy(x).double(), torch.from_numpy(y)
    pairs = pairs_for(plan(norm=norm), (2,), 3)
    with torch.no_grad():
        believed = estimated_radii(model(inputs), labels, pairs(model)).numpy()
    assert ((believed > 0) == (proved.predictions == y)).all() and np.allclose(believed.clip(0), proved.radii, rtol=1e-6, atol=1e-9)
    middle = float(np.median(proved.radii))
    seen = estimate(model, Samples(inputs, labels), pairs, (middle * 0.99, middle * 1.01, 100.0))
    assert seen["clean"] == proved.accuracy and list(seen["certified"].values()) == [proved.certified_accuracy(eps) for eps in (middle * 0.99, middle * 1.01, 100.0)]


def test_an_estimate_is_made_in_evaluation_mode():
    model = seeded(lambda: nn.Sequential(nn.Dropout(0.99), nn.Linear(2, 3))).train()
    inputs, labels = (torch.from_numpy(a) for a in clusters(test=40)[1])
    expected = (model.eval()(inputs).argmax(1) == labels).double().mean().item()
    assert estimate(model.train(), Samples(inputs, labels), pairs_for(plan(), (2,), 3), ())["clean"] == expected and model[0].training


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_is_certified_in_the_norm_and_with_the_seed_of_its_plan(norm):
    run = fit(dense(), clusters(), plan(norm=norm, epochs=1, attack=True, seed=3))
    fresh = certify.radius(run.model, *clusters()[1], norm, seed=3)
    assert run.result.norm == norm and np.array_equal(run.result.radii, fresh.radii) and np.array_equal(run.result.upper, fresh.upper)


def test_starting_weights_come_from_the_seed_alone():
    first, again, other = (build("torch.nn:Linear", {"in_features": 3, "out_features": 2}, seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    state = torch.get_rng_state()
    build("torch.nn:Linear", {"in_features": 3, "out_features": 2}, 5)
    assert torch.equal(state, torch.get_rng_state())
