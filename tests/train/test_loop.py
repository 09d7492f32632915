"""fit(): it learns, it changes nothing of the caller's, and its result is what certify.radius says about the exported weights."""

from __future__ import annotations

import copy
import dataclasses
import random
import sys

import numpy as np
import pytest
import torch
from strategies.training import Margin, clusters, dense, noisy, plan, same, seeded, weights
from torch import nn

import certify
from certify.core.errors import InputError, TrainingError, UnsupportedLayerError
from certify.train import loop
from certify.train.loop import fit


def test_it_learns_and_its_result_is_a_fresh_certificate():
    data = clusters()
    run = fit(dense(), data, plan(epochs=15, validation=9, attack=True))
    assert run.result.accuracy >= 0.9 and run.result.certified_accuracy(0.1) >= 0.8
    fresh = certify.radius(run.model, *data[1])
    assert np.array_equal(run.result.radii, fresh.radii) and np.array_equal(run.result.upper, fresh.upper)
    assert len(run.result) == len(data[1][1]), "all test inputs"
    assert run.curve() == {"0": fresh.certified_accuracy(0), "0.1": fresh.certified_accuracy(0.1), "0.3": fresh.certified_accuracy(0.3)}
    assert [row["epoch"] for row in run.history] == list(range(1, 16)) and run.history[-1]["loss"] < run.history[0]["loss"]
    assert set(run.history[0]) == {"epoch", "loss", "penalty", "learning_rate", "epsilon", "seconds", "clean", "certified", "layers"}
    assert run.folder is None and not run.model.training and run.seconds == sum(row["seconds"] for row in run.history)


def test_the_result_is_not_what_training_believes(monkeypatch):
    """A model that is far from 1-Lipschitz makes the estimate far too good; the result does not care, whatever the estimate says."""
    monkeypatch.setattr(loop, "estimate", lambda *rest: {"clean": 1.0, "certified": {"0.1": 1.0, "0.3": 1.0}})
    wild = dense()
    with torch.no_grad():
        wild[0].weight.mul_(50)
    run = fit(wild, clusters(), plan(epochs=1, learning_rate=1e-6, validation=9))
    assert run.history[-1]["certified"]["0.1"] == 1.0 > run.result.certified_accuracy(0.1)
    assert np.array_equal(run.result.radii, certify.radius(run.model, *clusters()[1], attack=False).radii)


def surroundings() -> list:
    """What a run must leave alone."""
    legacy = np.random.get_state()  # noqa: NPY002
    return [torch.get_rng_state().tolist(), torch.get_num_threads(), random.getstate(), legacy[1].tolist(), torch.is_grad_enabled(), torch.get_default_dtype()]


def test_nothing_of_the_callers_is_changed():
    model, data = noisy(), clusters()
    before, modes = weights(model), [part.training for part in model.modules()]
    inputs = [array.copy() for half in data for array in half]
    state = surroundings()
    fit(model, data, plan(threads=2, augment=None))
    assert state == surroundings()
    assert same(before, weights(model)) and modes == [part.training for part in model.modules()]
    assert all(np.array_equal(a, b) for a, b in zip(inputs, [array for half in data for array in half], strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_the_callers_state_comes_back_after_an_error():
    state = surroundings()

    def stop(done: int, total: int, message: str) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fit(dense(), clusters(), plan(threads=2), stop)
    assert state == surroundings()


def test_the_same_plan_gives_the_same_weights_and_another_seed_others():
    runs = [weights(fit(noisy(), clusters(), plan(seed=seed)).model) for seed in (3, 3, 4)]
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_the_exported_model_is_plain_and_agrees_with_the_trained_one():
    run = fit(noisy(), clusters(), plan())
    assert not any(nn.utils.parametrize.is_parametrized(part) for part in run.model.modules())
    assert nn.utils.parametrize.is_parametrized(run.trained[0])
    x = torch.from_numpy(clusters()[1][0])
    assert torch.allclose(run.model(x), run.trained(x), atol=1e-6) and not run.trained.training


def test_validation_inputs_are_kept_apart(monkeypatch):
    data = clusters(train=30)
    seen, looked = [], []
    original = loop.run_epoch
    monkeypatch.setattr(loop, "run_epoch", lambda session, train, tell: (seen.append(train), original(session, train, tell))[1])
    monkeypatch.setattr(loop, "estimate", lambda model, samples, *rest: (looked.append(samples), {"clean": 0.5, "certified": {}})[1])
    fit(dense(), data, plan(validation=0.3, epochs=1))
    rows = [{tuple(row) for row in samples.inputs.tolist()} for samples in (seen[0], looked[0])]
    assert len(rows[0]) == 21 and len(rows[1]) == 9 and not rows[0] & rows[1]
    assert rows[0] | rows[1] == {tuple(row) for row in torch.from_numpy(data[0][0]).tolist()}


def test_progress_counts_steps_and_names_the_estimate():
    told = []
    fit(dense(), clusters(), plan(validation=9), lambda *row: told.append(row))
    training = [row for row in told if row[1] == 12]
    assert [row[0] for row in training] == sorted(row[0] for row in training) and training[-1][0] == 12
    assert "estimate" in training[-1][2] and "at 0.1" in training[-1][2] and "epoch 4" in training[-1][2]


def test_averaged_weights_are_what_is_exported():
    plain, averaged = (fit(dense(), clusters(), plan(average=a)) for a in (0.0, 0.9))
    assert not same(weights(plain.model), weights(averaged.model))
    assert same(weights(averaged.model), weights(averaged.trained))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_and_precision_lowers_the_loss(optimizer, precision):
    run = fit(dense(), clusters(), plan(optimizer=optimizer, precision=precision, clip_norm=5.0, epochs=6, weight_decay=1e-4))
    assert run.history[-1]["loss"] < run.history[0]["loss"] and all(p.dtype == torch.float32 for p in run.model.parameters())


def test_double_models_stay_double():
    assert fit(dense().double(), clusters(), plan(epochs=1)).model[0].weight.dtype == torch.float64


def test_the_schedule_of_epsilon_reaches_the_loss():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy(Margin):
        def __call__(self, logits, labels, pairs=None):
            seen.append(self.epsilon)
            return super().__call__(logits, labels, pairs)

    run = fit(dense(), clusters(), plan(loss=Spy(), epsilon=0.4, epsilon_schedule="linear", epsilon_start=0.5, epsilon_fraction=1.0))
    assert seen[0] == pytest.approx(0.2) and seen == sorted(seen) and len(seen) == 12 and run.history[-1]["epsilon"] == seen[-1]


def test_pairs_are_those_of_the_last_layer():
    seen = []

    def loss(logits, labels, pairs=None):
        seen.append(pairs)
        return Margin()(logits, labels)

    model = dense()
    fit(model, clusters(), plan(loss=loss, epochs=1))
    head = model[2].weight.detach()
    assert torch.allclose(seen[0].detach(), torch.cdist(head, head), atol=1e-5) and seen[0].requires_grad and not seen[0].diagonal().any()


def wrong(where: str, index: tuple, value: float):
    data = copy.deepcopy(clusters())
    half = data[0] if where == "train" else data[1]
    half[0][index] = value
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "two pairs"),
        (clusters()[0], "two pairs"),
        (wrong("train", (3, 1), np.nan), "train half"),
        (wrong("test", (0, 0), np.inf), "test half"),
        ((clusters()[0], (np.zeros((2, 3), np.float32), [0, 1])), "test half"),
        ((clusters()[0], (clusters()[1][0], clusters()[1][1] + 1)), "out of range"),
        ((clusters()[0], (clusters()[1][0][:0], clusters()[1][1][:0])), "no inputs"),
        (((clusters()[0][0], np.eye(3)[clusters()[0][1]]), clusters()[1]), "labels"),
    ],
)
def test_data_that_cannot_be_used(data, words):
    with pytest.raises(InputError, match=words):
        fit(dense(), data, plan())


def test_arguments_that_are_something_else():
    with pytest.raises(InputError, match="plan"):
        fit(dense(), clusters(), {"epochs": 3})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="torch module"):
        fit(lambda x: x, clusters(), plan())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="validation"):
        fit(dense(), clusters(), plan(validation=60))
    with pytest.raises(InputError, match="images"):
        fit(dense(), clusters(), plan(augment="shift:1"))
    with pytest.raises(InputError, match="scalar"):
        fit(dense(), clusters(), plan(loss=lambda logits, labels, pairs=None: logits.sum(1)))
    with pytest.raises(InputError, match="does not depend"):
        fit(dense(), clusters(), plan(loss=lambda logits, labels, pairs=None: logits.detach().sum()))
    with pytest.raises(InputError, match="last linear layer"):
        fit(seeded(lambda: nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten())), clusters(), plan())


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x):
        return self.a(x) * self.b(x)


def test_what_cannot_be_certified_is_refused_before_it_is_trained(monkeypatch):
    monkeypatch.setattr(loop, "run_epoch", lambda *rest: pytest.fail("it was trained"))
    with pytest.raises(UnsupportedLayerError):
        fit(Product(), clusters(), plan())
    with pytest.raises(InputError, match="at least two logits"):
        fit(seeded(lambda: nn.Linear(2, 1)), clusters(), plan())


@pytest.mark.parametrize("step", [1, 5])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, step):
    calls = []

    def loss(logits, labels, pairs=None):
        calls.append(1)
        value = Margin()(logits, labels)
        return value * float("nan") if len(calls) == step else value

    with pytest.raises(TrainingError) as error:
        fit(dense(), clusters(), plan(loss=loss, out=tmp_path / "run"))
    assert error.value.where == ("epoch 1, step 1" if step == 1 else "epoch 2, step 2") and error.value.found == "nan"
    assert ("no epoch was finished" if step == 1 else "after epoch 1") in str(error.value)
    assert (tmp_path / "run" / "checkpoint.pt").exists() == (step == 5) and not (tmp_path / "run" / "certificate").exists()


def test_weights_that_are_not_finite_stop_the_run():
    with pytest.raises(TrainingError, match="not finite"):
        fit(dense(), clusters(), plan(learning_rate=1e38, schedule="constant", optimizer="sgd", epochs=1))


def test_weights_are_looked_at_after_the_last_step():
    """One step in all: no loss comes after it that could tell."""
    with pytest.raises(TrainingError, match="a weight is not finite"):
        fit(dense(), clusters(), plan(learning_rate=1e38, schedule="constant", optimizer="sgd", epochs=1, batch_size=60, loss=lambda z, y, pairs=None: 1e6 * z.square().sum()))


def test_the_gradient_is_clipped():
    model = dense()
    run = fit(model, clusters(), plan(clip_norm=1e-2, optimizer="sgd", momentum=0.0, learning_rate=1.0, schedule="constant", epochs=1, batch_size=60))
    moved = torch.cat([(a - b).flatten() for a, b in zip(run.trained.parameters(), model.parameters(), strict=True)]).detach()
    assert moved.norm().item() == pytest.approx(1e-2, rel=1e-2)


def test_it_trains_where_gradients_are_off():
    with torch.no_grad():
        run = fit(dense(), clusters(), plan(epochs=6))
        assert not torch.is_grad_enabled()
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_looking_does_not_touch_what_is_trained():
    """torch's own spectral_norm moves its vectors whenever a weight is asked for in training mode."""
    model = seeded(lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 8)), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
    seen = []
    for looks in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not looks:
                patch.setattr(loop, "layer_estimates", lambda *rest: {})
                patch.setattr(loop, "estimate", lambda *rest: {"clean": 0.0, "certified": {}})
            seen.append(weights(fit(model, clusters(), plan(validation=6)).trained))
    assert same(*seen)


def test_accelerate_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"certify-reach\[train\]"):
        fit(dense(), clusters(), plan())


def test_accelerate_is_left_as_it_was():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    fit(dense(), clusters(), plan(epochs=1))
    assert not PartialState._shared_state and not AcceleratorState._shared_state
    try:
        Accelerator(cpu=True)
        fit(dense(), clusters(), plan(epochs=1, device="cpu"))
        assert PartialState._shared_state, "made by somebody else, still there"
    finally:
        AcceleratorState._reset_state(True)
