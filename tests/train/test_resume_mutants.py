"""A resume that forgets something changes the bits of the result: each thing that a checkpoint brings back is left out once."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from strategies.training import PARTS, Stop, clusters, dense, equal, noisy, outcome, plan, stop_at

from certify.train import epoch as epoch_module
from certify.train.loop import fit
from certify.train.session import Session


def _without_optimizer(patch):
    patch.setattr(torch.optim.Adam, "load_state_dict", lambda self, state: None)


def _without_schedule(patch):
    """The step is counted from the start of the process."""
    original, count = Session.set_rates, {}

    def set_rates(self, step, total):
        count[id(self)] = count.get(id(self), -1) + 1
        return original(self, count[id(self)], total)

    patch.setattr(Session, "set_rates", set_rates)


def _without_average(patch):
    original = Session.restore
    patch.setattr(Session, "restore", lambda self, stored: original(self, {**stored, "average": {"model": self.average.model.state_dict(), "updates": 0}}))


def _without_updates(patch):
    original = Session.restore
    patch.setattr(Session, "restore", lambda self, stored: original(self, {**stored, "average": {**stored["average"], "updates": 0}}))


def _without_random_numbers(patch):
    """One stream from the start of the process, as if its state were not brought back. Returns what makes a new process of this one."""
    seen: list[int] = []

    def manual_seed(seed):
        if not seen:
            seen.append(seed)
            torch.default_generator.manual_seed(5)

    patch.setattr(epoch_module.torch, "manual_seed", manual_seed)
    return seen.clear


def _without_buffers(patch):
    original = Session.restore

    def restore(self, stored):
        kept = {name: tensor for name, tensor in stored["model"].items() if "running" not in name}
        original(self, {**stored, "model": {**self.model.state_dict(), **kept}, "buffers": dict(self.model.named_buffers())})

    patch.setattr(Session, "restore", restore)


def _with_old_warm_starts(patch):
    """Checkpoints no longer begin anew what the penalty remembers."""
    original = Session.renew
    patch.setattr(Session, "renew", lambda self: None if hasattr(self, "penalty") and self.optimizers[0].state and self.history else original(self))


BROKEN = (_without_optimizer, _without_schedule, _without_average, _without_updates, _without_random_numbers, _without_buffers)


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_resume_is_seen(breaking, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fresh = breaking(patch) or (lambda: None)
        alone = outcome(fit(noisy(), clusters(), plan(**PARTS)))
        fresh()
        made = plan(**PARTS, out=tmp_path)
        with pytest.raises(Stop):
            fit(noisy(), clusters(), made, stop_at(8))
        fresh()
        broken = outcome(fit(noisy(), clusters(), made))
    assert not equal(alone, broken)


def test_a_memory_that_survives_checkpoints_is_seen(tmp_path):
    """Why `renew` exists: a penalty whose value depends on how often it was called before."""

    @dataclasses.dataclass
    class Counting:
        calls: int = 0

        def __call__(self, model):
            self.calls += 1
            return self.calls * 1e-3 * model[0].weight.square().sum()

        def __repr__(self):
            return "Counting()"

    kept = plan(penalty=Counting(), out=tmp_path / "a")
    alone = outcome(fit(dense(), clusters(), plan(penalty=Counting())))
    with pytest.raises(Stop):
        fit(dense(), clusters(), kept, stop_at(8))
    assert equal(alone, outcome(fit(dense(), clusters(), kept))) and kept.penalty.calls == 0
    with pytest.MonkeyPatch.context() as patch:
        _with_old_warm_starts(patch)
        alone = outcome(fit(dense(), clusters(), plan(penalty=Counting())))
        shutil.rmtree(tmp_path / "a")
        with pytest.raises(Stop):
            fit(dense(), clusters(), kept, stop_at(8))
        assert not equal(alone, outcome(fit(dense(), clusters(), kept)))
