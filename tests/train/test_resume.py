"""An interrupted run that is started again ends with the same bits as one that was left alone; a folder of another run is refused."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from strategies.training import PARTS, Margin, Stop, clusters, dense, equal, noisy, outcome, plan, seeded, stop_at
from torch import nn

from certify.core.errors import InputError
from certify.train import loop
from certify.train.checkpoint import Checkpoint
from certify.train.loop import fit
from certify.train.run import write_weights
from certify.train.session import Average


def resumed(folder: Path, call: int, build: Callable[[], nn.Module] = noisy, kind: type[BaseException] = Stop, **changes: Any) -> Any:
    """The outcome of a run that was interrupted at a call of progress and then started again."""
    made = plan(**{**PARTS, **changes}, out=folder)
    with pytest.raises(kind):
        fit(build(), clusters(), made, stop_at(call, kind))
    return outcome(fit(build(), clusters(), made))


@pytest.fixture(scope="module")
def whole() -> Any:
    """The outcome of the run that nobody interrupts, without a folder."""
    return outcome(fit(noisy(), clusters(), plan(**PARTS)))


@pytest.mark.parametrize("call", [1, 2, 4, 5, 9, 11, 13, 14, 15])
def test_interrupted_anywhere(call, whole, tmp_path):
    """Before the first step, inside epochs, right after a checkpoint, after the last epoch, while radii are found."""
    assert equal(whole, resumed(tmp_path / "run", call))


def test_the_points_of_interruption_are_what_they_should_be(tmp_path):
    told = []
    fit(noisy(), clusters(), plan(**PARTS), lambda *row: told.append(row))
    assert [row[0] for row in told[:13]] == list(range(13)) and told[12][1] == 12 and len(told) >= 15


def test_interrupted_twice_and_by_ctrl_c(whole, tmp_path):
    made = plan(**PARTS, out=tmp_path)
    for call in (6, 3):
        with pytest.raises(KeyboardInterrupt):
            fit(noisy(), clusters(), made, stop_at(call, KeyboardInterrupt))
    assert equal(whole, outcome(fit(noisy(), clusters(), made)))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_other_optimizers(optimizer, tmp_path):
    alone = outcome(fit(dense(), clusters(), plan(optimizer=optimizer, weight_decay=0.01)))
    made = plan(optimizer=optimizer, weight_decay=0.01, out=tmp_path)
    with pytest.raises(Stop):
        fit(dense(), clusters(), made, stop_at(8))
    assert equal(alone, outcome(fit(dense(), clusters(), made)))


@pytest.mark.parametrize("every", [2, 3, 10])
def test_checkpoints_that_are_further_apart(every, tmp_path):
    alone = outcome(fit(noisy(), clusters(), plan(**PARTS, checkpoint_every=every)))
    assert equal(alone, resumed(tmp_path, 11, checkpoint_every=every))


def test_random_augmentation_is_resumed(tmp_path):
    data = tuple((np.random.default_rng(i).random((30, 1, 4, 4), dtype=np.float32), np.arange(30) % 2) for i in range(2))
    build = lambda: seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))  # noqa: E731
    alone = outcome(fit(build(), data, plan(augment="flip_crop:1", batch_size=10)))
    with pytest.raises(Stop):
        fit(build(), data, plan(augment="flip_crop:1", batch_size=10, out=tmp_path), stop_at(8))
    assert equal(alone, outcome(fit(build(), data, plan(augment="flip_crop:1", batch_size=10, out=tmp_path))))


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = fit(dense(), clusters(), plan(out=tmp_path))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["certificate", "checkpoint.pt", "model.safetensors", "radii.csv", "radii.npz", "training.json"]
    monkeypatch.setattr(loop, "run_epoch", lambda *rest: pytest.fail("trained again"))
    again = fit(dense(), clusters(), plan(out=tmp_path))
    assert equal(outcome(first), outcome(again)) and again.seconds == first.seconds


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Files end at `size` bytes: the system's own answer, not one that a test makes up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_that_cannot_be_written(tmp_path):
    with disk_of(100), pytest.raises(InputError, match="too large"):
        write_weights(tmp_path, dense())
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch, whole):
    original, calls = Checkpoint.write, []

    def write(self, snapshot):
        calls.append(snapshot)
        with disk_of(1000 if len(calls) == 3 else 10**7):
            original(self, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write)
        with pytest.raises(InputError, match="too large"):
            fit(noisy(), clusters(), plan(**PARTS, out=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert equal(whole, outcome(fit(noisy(), clusters(), plan(**PARTS, out=tmp_path))))


@pytest.fixture
def half(tmp_path):
    """The folder of a run that was interrupted in its third epoch."""
    with pytest.raises(Stop):
        fit(dense(), clusters(), plan(out=tmp_path / "run"), stop_at(8))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("model", "data", "changes", "words"),
    [
        (dense, clusters(), {"seed": 1}, "Plan.seed"),
        (dense, clusters(), {"loss": Margin(0.2)}, "Plan.loss"),
        (dense, clusters(), {"epochs": 5}, "Plan.epochs"),
        (dense, clusters(seed=1), {}, "data, x_train"),
        (dense, clusters(test=18), {}, "data, x_test"),
        (lambda: seeded(dense, 0).double(), clusters(), {}, "starting weights"),
        (lambda: seeded(lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)), 1), clusters(), {}, "starting weights"),
        (lambda: nn.Sequential(*[nn.Tanh() if isinstance(part, nn.ReLU) else part for part in dense()]), clusters(), {}, "starting weights"),
    ],
)
def test_the_folder_of_another_run_is_refused(half, model, data, changes, words):
    before = (half / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=words) as error:
        fit(model(), data, plan(**changes, out=half))
    assert "another folder" in str(error.value) and (half / "checkpoint.pt").read_bytes() == before


def test_a_damaged_checkpoint_is_refused_and_never_unpickled(half, tmp_path):
    path = half / "checkpoint.pt"
    good = path.read_bytes()

    class Evil:
        def __reduce__(self):
            return (tmp_path / "owned").touch, ()

    torch.save({"format": 1, "identity": Evil()}, tmp_path / "evil.pt")
    for content in (good[: len(good) // 2], b"", b"PK\x03\x04 nothing", (tmp_path / "evil.pt").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match="remove the file"):
            fit(dense(), clusters(), plan(out=half))
    assert not (tmp_path / "owned").exists()
    torch.save({**torch.load(half.parent / "evil.pt", weights_only=False), "identity": {"plan": {}, "data": {}, "model": ""}, "format": 99}, path)
    with pytest.raises(InputError, match="another version"):
        fit(dense(), clusters(), plan(out=half))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        fit(dense(), clusters(), plan(out=tmp_path / "file"))


def test_the_average_follows_its_formula():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
        average = Average(model, 0.5)
        model.weight.fill_(2.0)
        average.update(model)  # d = min(0.5, 1/10)
        assert average.model.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
        for _ in range(200):
            average.update(model)
    assert average.updates == 201 and average.model.weight.item() == pytest.approx(2.0) and not average.model.weight.requires_grad
