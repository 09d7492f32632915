"""Whose checkpoint it is: everything that changes a run and shows in no weight; and what belongs to nobody is not written over."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from strategies.training import Stop, clusters, dense, equal, outcome, plan, same, seeded, stop_at, weights
from torch import nn

from certify.core.errors import InputError
from certify.train import loop
from certify.train.loop import fit


class Scaled(nn.Module):
    """A factor that is a plain attribute, and one that no state_dict holds and that training moves."""

    def __init__(self, factor: float = 1.0, start: float = 1.0):
        super().__init__()
        self.factor = factor
        self.register_buffer("hidden", torch.full((8,), start), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.hidden.mul_(1.01)
        return self.factor * self.hidden * x


def scaled(**settings: float) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(2, 8), Scaled(**settings), nn.ReLU(), nn.Linear(8, 3)))


def frozen(place: int) -> nn.Module:
    model = seeded(lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)))
    model[place].requires_grad_(False)
    return model


def weighted(factor: float) -> Any:
    return lambda logits, labels, pairs=None: factor * nn.functional.cross_entropy(logits, labels)


class Module(nn.Module):
    """A loss whose repr keeps its setting to itself."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, pairs: Any = None) -> torch.Tensor:
        return self.factor * nn.functional.cross_entropy(logits, labels)


CASES = {
    "frozen": lambda other, out: (frozen(int(other)), plan(out=out)),
    "attribute": lambda other, out: (scaled(factor=1.0 + other), plan(out=out)),
    "hidden": lambda other, out: (scaled(start=1.0 + other), plan(out=out)),
    "closure": lambda other, out: (dense(), plan(loss=weighted(1.0 + other), out=out)),
    "module": lambda other, out: (dense(), plan(loss=Module(1.0 + other), out=out)),
}


@pytest.mark.parametrize("name", CASES)
def test_another_run_is_refused_and_the_same_one_goes_on(name, tmp_path):
    alone = outcome(fit(CASES[name](False, None)[0], clusters(), CASES[name](False, None)[1]))
    with pytest.raises(Stop):
        model, made = CASES[name](False, tmp_path)
        fit(model, clusters(), made, stop_at(8))
    model, made = CASES[name](True, tmp_path)
    with pytest.raises(InputError, match="another run"):
        fit(model, clusters(), made)
    model, made = CASES[name](False, tmp_path)
    assert equal(alone, outcome(fit(model, clusters(), made)))


@pytest.mark.parametrize("name", ["training.json", "certificate", "model.safetensors", "radii.npz", "radii.csv"])
def test_results_without_a_checkpoint_are_not_written_over(name, tmp_path):
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(InputError, match=name):
        fit(dense(), clusters(), plan(out=tmp_path))
    assert (tmp_path / name).read_text() == "somebody's" and [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_the_caller_has_switched_on_does_not_matter(precision):
    alone = weights(fit(dense(), clusters(), plan(precision=precision)).model)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(alone, weights(fit(dense(), clusters(), plan(precision=precision)).model)) and torch.is_autocast_enabled("cpu")
    with torch.inference_mode():
        assert same(alone, weights(fit(dense(), clusters(), plan(precision=precision)).model)) and torch.is_inference_mode_enabled()


def test_whose_code_failed():
    norm = seeded(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
    for model, changes, words in (
        (norm, {}, "batch of 1"),
        (dense(), {"loss": nn.CrossEntropyLoss()}, "the loss failed"),
        (dense(), {"penalty": lambda model: model.nothing}, "the penalty failed"),
        (dense().to("meta"), {}, "no values"),
    ):
        with pytest.raises(InputError, match=words):
            fit(model, clusters(train=61), plan(**changes))


def test_an_estimate_leaves_the_inputs_as_they_are(monkeypatch):
    model = seeded(lambda: nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)))
    looked = []
    original = loop.estimate
    monkeypatch.setattr(loop, "estimate", lambda model, samples, *rest: (looked.append(samples.inputs.clone()), original(model, samples, *rest))[1])
    fit(model, clusters(), plan(validation=9, epochs=3))
    assert torch.equal(looked[0], looked[2]) and (looked[0] < 0).any()
