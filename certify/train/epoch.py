"""One epoch: every training input once, in an order and with random numbers that depend on nothing but seed and epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..core.errors import CertifyError, InputError, TrainingError
from .augment import augmented
from .samples import Samples, derived_seed
from .schedules import epsilon_at
from .session import ADVICE, Session, not_finite

_LOOKS = 10  # progress is told this often per epoch
_LATE = 25  # steps between two looks at the losses on a device that would have to be waited for


def steps_per_epoch(samples: Samples, batch_size: int, processes: int = 1) -> int:
    """Batches of an epoch; one with fewer inputs than processes is left out."""
    full, rest = divmod(len(samples), batch_size)
    return full + (rest >= processes)


def run_epoch(session: Session, train: Samples, tell: Callable[[int], None]) -> dict[str, Any]:
    """Train `session` for one epoch and return its row of the history: epoch, loss, penalty, learning_rate, epsilon, seconds (of CPU).

    Args:
        tell: called with the number of steps done in this epoch; what it raises ends the run.
    Raises:
        TrainingError: a loss or a weight is not finite; names epoch and step.
    """
    plan, number = session.plan, session.epoch
    began = time.process_time()
    torch.manual_seed(derived_seed(plan.seed, "noise", number, session.devices.rank))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derived_seed(plan.seed, "order", number)))
    steps = steps_per_epoch(train, plan.batch_size, session.devices.count)
    watch, factor, epsilon = _Watch(number + 1, session.devices.device.type == "cpu"), 1.0, None
    for step, batch in enumerate(order.split(plan.batch_size)[:steps]):
        factor = session.set_rates(number * steps + step, plan.epochs * steps)
        epsilon = epsilon_at(plan, number * steps + step, plan.epochs * steps)
        mine = session.devices.share(batch).to(train.labels.device)
        loss, penalty = _objective(session, augmented(train.inputs[mine], plan.augment), train.labels[mine], epsilon)
        loss = loss * session.devices.weight(len(mine), len(batch))
        watch.look(step, loss, penalty, len(batch))
        _descend(session, loss + penalty)
        if (step + 1) % max(1, steps // _LOOKS) == 0 and step + 1 < steps:
            tell(step + 1)
    watch.settle()
    session.require_finite_weights(number + 1)
    epsilon = getattr(plan.loss, "epsilon", None) if epsilon is None else epsilon
    loss, penalty = session.devices.mean(watch.means()).tolist()
    return {"epoch": number + 1, "loss": loss, "penalty": penalty, "learning_rate": plan.learning_rate * factor, "epsilon": epsilon, "seconds": time.process_time() - began}


def _objective(session: Session, inputs: Tensor, labels: Tensor, epsilon: float | None) -> tuple[Tensor, Tensor]:
    """Loss and penalty of a batch, each a scalar with its gradient. Computed weights are computed once for all who ask."""
    plan = session.plan
    loss_of = plan.loss if epsilon is None else replace(plan.loss, epsilon=epsilon)  # type: ignore[type-var]
    with parametrize.cached():
        if plan.precision == "bfloat16":
            _compute_weights(session.model)  # now, in their own precision: an orthogonal matrix made in bfloat16 would not be orthogonal
        with torch.autocast(inputs.device.type, torch.bfloat16, plan.precision == "bfloat16", cache_enabled=False):  # a cache would outlive the step: `surroundings`
            with _blamed("the model", "argument model", inputs, "a model that trains on batches of this size; BatchNorm needs at least two inputs"):
                logits = session.wrapped(inputs)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        pairs = session.pairs(session.model)
        with _blamed("the loss", "Plan.loss", inputs, "loss(logits, labels, pairs=None) -> a scalar tensor"):
            loss = loss_of(logits, labels, pairs=pairs)
        with _blamed("the penalty", "Plan.penalty", inputs, "penalty(model) -> a scalar tensor"):
            penalty = session.penalty(session.model) if session.penalty is not None else logits.new_zeros(())
    for name, value in (("loss", loss), ("penalty", penalty)):
        if not (isinstance(value, Tensor) and value.ndim == 0):
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"the {name} is not a scalar tensor", where=f"Plan.{name}", found=found, expected="one number, with a gradient")
    return loss, penalty


@contextmanager
def _blamed(what: str, where: str, inputs: Tensor, expected: str) -> Iterator[None]:
    """Says whose code failed, and on what; the error itself stays as the cause."""
    try:
        yield
    except (CertifyError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {str(error).strip()}"[:200]
        raise InputError(f"{what} failed on a batch of {len(inputs)}", where=where, found=found, expected=expected) from error


def _compute_weights(model: nn.Module) -> None:
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for name in module.parametrizations:  # type: ignore[union-attr]
                getattr(module, name)


def _descend(session: Session, objective: Tensor) -> None:
    """One step of every optimizer, back onto the manifold where a layer lives on one, and into the average."""
    from .parametrizations import retract_

    if not objective.requires_grad:
        raise InputError("the loss does not depend on the weights", where="Plan.loss", found="a tensor without a gradient", expected="a loss computed from the logits")
    for optimizer in session.optimizers:
        optimizer.zero_grad()
    session.devices.backward(objective)
    if session.plan.clip_norm is not None:
        nn.utils.clip_grad_norm_(session.model.parameters(), session.plan.clip_norm)
    for optimizer in session.optimizers:
        optimizer.step()
    retract_(session.model)
    if session.average is not None:
        session.average.update(session.model)


class _Watch:
    """Sums losses and stops at one that is not finite: before its step on a CPU, soon after it elsewhere, where looking means waiting."""

    def __init__(self, epoch: int, at_once: bool):
        self.epoch, self.every = epoch, 1 if at_once else _LATE
        self.sums: Tensor | None = None
        self.count = 0
        self.waiting: list[tuple[int, Tensor]] = []

    def look(self, step: int, loss: Tensor, penalty: Tensor, count: int) -> None:
        both = torch.stack([loss.detach(), penalty.detach().to(loss)])
        self.sums = both * count if self.sums is None else self.sums + both * count
        self.count += count
        self.waiting.append((step, both))
        if len(self.waiting) >= self.every:
            self.settle()

    def settle(self) -> None:
        """Raises TrainingError for the first loss or penalty that was not finite."""
        for step, both in self.waiting:
            if not bool(torch.isfinite(both).all()):
                what = "the loss" if not bool(torch.isfinite(both[0])) else "the penalty"
                raise TrainingError(f"{what} is not finite", where=f"epoch {self.epoch}, step {step + 1}", found=not_finite(both), hint=ADVICE)
        self.waiting.clear()

    def means(self) -> Tensor:
        """Mean loss and mean penalty per input, a tensor of two."""
        return torch.zeros(2) if self.sums is None else self.sums / self.count
