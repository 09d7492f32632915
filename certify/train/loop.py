"""fit(): train a network by a plan, export it, and certify what was exported."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import InputError, TrainingError
from .augment import require_images
from .checkpoint import Checkpoint
from .devices import devices, surroundings
from .diagnostics import layer_estimates
from .epoch import run_epoch, steps_per_epoch
from .history import message
from .live import estimate
from .plan import Plan
from .run import JOURNAL, Progress, Run, certified, exported, require_certifiable, write_record, write_result, write_weights
from .samples import Samples, halves
from .session import Session, copied

_LOOKS = 20  # epochs of a run after which the layers are measured


def fit(model: nn.Module, data: Any, plan: Plan, progress: Progress | None = None) -> Run:
    """Train a copy of `model`, export it to plain layers, and certify the exported weights on all test inputs.

    Claim: none about training. `Run.result` is what `certify.radius` proves about `Run.model`, whatever training believed.

    Args:
        model: maps (n, *input_shape) to logits (n, classes); it is copied and stays as it is. data: ((x_train, y_train), (x_test, y_test)), inputs in the units
            of the model's input. The test half is looked at once, at the end; choices belong to `plan.validation`.
        plan: see `Plan`. progress: progress(done, total, message), about ten times an epoch and while radii are found; what it raises ends the run.
    Returns:
        Run: model, history, result, folder.
    Guarantee: the same plan, model and data give the same weights, bit for bit, on one machine with one thread on the CPU; also when the run was
        interrupted anywhere and is repeated with the same `plan.out`. Random numbers, threads and modes of the process are as before.
    Raises:
        InputError: data, plan or folder that cannot be used. UnsupportedLayerError: a layer that could not be certified afterwards, named before anything is
            trained. TrainingError: a loss or a weight is not finite; the last checkpoint is kept.
    Several devices: start the script with `accelerate launch`; the first process writes and certifies, in the others `Run.result` is None.
    Source: the method is the user's choice of loss, penalty and layers; methods/training.md 2.3 says which give most.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     model = nn.Linear(2, 2)
    >>> run = fit(model, ((x, y), (x, y)), Plan(epochs=40, learning_rate=0.1, attack=False))
    >>> run.result.certified_accuracy(0.5)
    1.0
    """
    if not isinstance(plan, Plan):
        raise InputError("this is not a plan", where="argument plan", found=type(plan).__name__, expected="certify.train.Plan(...)")
    if not isinstance(model, nn.Module):
        raise InputError("this is not a torch module", where="argument model", found=type(model).__name__, expected="a torch.nn.Module")
    with surroundings(plan), devices(plan) as where:
        heads = []

        def classes_of(shape: tuple[int, ...]) -> int:
            require_images(plan.augment, shape)
            heads.append(require_certifiable(model, shape, plan.norm))
            return heads[0].classes

        known = halves(data, classes_of)
        checkpoint = Checkpoint.of(plan, model, {} if plan.out is None else known.digests())
        stored = checkpoint.read() if checkpoint is not None else None
        train, validation = known.split(plan)
        if plan.batch_size < where.count:
            raise InputError("a batch has fewer inputs than there are devices", where="Plan.batch_size", found=plan.batch_size, expected=f"at least {where.count}")
        session = Session(model, plan, where, known.input_shape, heads[0].classes)
        if stored is not None:
            session.restore(stored)
        dtype = next(session.model.parameters()).dtype
        _train(session, train.to(where.device, dtype), validation and validation.to(where.device, dtype), checkpoint if where.main else None, progress)
        return _finished(session, known.test, progress)


def _train(session: Session, train: Samples, validation: Samples | None, checkpoint: Checkpoint | None, progress: Progress | None) -> None:
    """All epochs that are still to be done."""
    plan = session.plan
    steps = steps_per_epoch(train, plan.batch_size, session.devices.count)
    text = message(session.history[-1]) if session.history else "training"

    def tell(done: int) -> None:
        if progress is not None and session.devices.main:
            progress(session.epoch * steps + done, plan.epochs * steps, text)

    tell(0)
    while session.epoch < plan.epochs:
        try:
            row = run_epoch(session, train, tell)
        except TrainingError as error:
            raise _kept(error, session, checkpoint) from None
        began = time.process_time()
        row |= _looked_at(session, validation)
        row["seconds"] += time.process_time() - began
        session.history.append(row)
        if session.epoch % plan.checkpoint_every == 0 or session.epoch == plan.epochs:
            if checkpoint is not None:
                checkpoint.write(session.snapshot())
            session.renew()
        text = message(row)
        tell(0)


def _looked_at(session: Session, validation: Samples | None) -> dict[str, Any]:
    """Estimates about the weights as they are now, for people and for choices."""
    if not session.devices.main:
        return {}
    seen: dict[str, Any] = {"clean": None, "certified": {}}
    if validation is not None:
        seen = estimate(session.best_known, validation, session.pairs, session.plan.radii)
    number, epochs = session.epoch + 1, session.plan.epochs
    if number in (1, epochs) or number % max(1, epochs // _LOOKS) == 0:
        seen["layers"] = layer_estimates(session.best_known, session.input_shape)
    return seen


def _kept(error: TrainingError, session: Session, checkpoint: Checkpoint | None) -> TrainingError:
    """The error, with what is left of the run."""
    last = session.epoch - session.epoch % session.plan.checkpoint_every
    kept = "nothing, the run has no folder" if checkpoint is None else f"{checkpoint.path}, after epoch {last}" if last else "nothing, no epoch was finished"
    return TrainingError(f"{error.what}: training has stopped; kept: {kept}", where=error.where, found=error.found, expected="finite numbers", hint=error.hint)


def _finished(session: Session, test: Any, progress: Progress | None) -> Run:
    """Export, certify, write."""
    plan = session.plan
    trained = copied(session.best_known).cpu().eval()
    model = exported(trained, session.input_shape)
    run = Run(model, session.history, None, plan.out, plan, trained)  # type: ignore[arg-type]
    if not session.devices.main:
        return run
    if plan.out is not None:
        write_weights(Path(plan.out), model)
    began = time.process_time()
    result = certified(model, test, plan, progress)
    run = Run(model, session.history, result, plan.out, plan, trained, time.process_time() - began)
    if plan.out is not None:
        write_result(Path(plan.out), run.result)
        write_record(Path(plan.out), run.record())
        shutil.rmtree(Path(plan.out) / JOURNAL, ignore_errors=True)
    return run
