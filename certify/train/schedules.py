"""Learning rate, momentum and epsilon as functions of the step alone: nothing to store, so nothing that a resumed run could restore wrongly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan

_FIRST, _LAST, _SWING = 1 / 25, 1 / 25 / 1e4, 0.05  # where one cycle starts and ends, and how far the momentum moves: Smith & Topin's, as torch has them


def _cosine(start: float, end: float, share: float) -> float:
    """From start at share = 0 to end at share = 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _cycle(warmup: float, step: int, total: int) -> tuple[bool, float]:
    """Whether the rate still rises at this step, and how far through its rise or fall it is."""
    peak, end = max(warmup * total - 1, 0.0), total - 1.0
    if step < peak:
        return True, step / peak
    return False, (step - peak) / (end - peak) if end > peak else 0.0


def rate_factor(schedule: str, warmup: float | None, step: int, total: int) -> float:
    """What the learning rate is multiplied by at `step` of `total`, counted from 0; at most 1.

    "one_cycle": as torch.optim.lr_scheduler.OneCycleLR with its default factors (Smith & Topin 2018, Super-convergence). "cosine" and "linear": from 1 towards 0;
    "constant": 1; these three after a linear rise over the first `warmup` share of the steps.

    >>> [round(rate_factor("linear", 0.5, step, 4), 2) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if schedule == "one_cycle":
        rising, share = _cycle(0.3 if warmup is None else warmup, step, total)
        return _cosine(_FIRST, 1.0, share) if rising else _cosine(1.0, _LAST, share)
    rise = round((warmup or 0.0) * total)
    if step < rise:
        return (step + 1) / rise
    share = (step - rise) / (total - rise)
    return {"cosine": _cosine(1.0, 0.0, share), "linear": 1.0 - share, "constant": 1.0}[schedule]


def momentum_shift(schedule: str, warmup: float | None, step: int, total: int) -> float:
    """What is added to the momentum: under "one_cycle" it moves against the learning rate, from +0.05 to -0.05 and back; else 0."""
    if schedule != "one_cycle":
        return 0.0
    rising, share = _cycle(0.3 if warmup is None else warmup, step, total)
    return _cosine(_SWING, -_SWING, share) if rising else _cosine(-_SWING, _SWING, share)


def epsilon_at(plan: Plan, step: int, total: int) -> float | None:
    """The epsilon of the loss at a step; None where the plan leaves it to the loss.

    >>> from types import SimpleNamespace
    >>> plan = SimpleNamespace(epsilon=1.0, epsilon_schedule="log", epsilon_start=0.01, epsilon_fraction=0.5)
    >>> [round(epsilon_at(plan, step, 8), 4) for step in (0, 2, 4, 7)]
    [0.01, 0.1, 1.0, 1.0]
    """
    if plan.epsilon is None or plan.epsilon_schedule == "constant":
        return plan.epsilon
    span = plan.epsilon_fraction * total
    share = min(1.0, step / span) if span > 0 else 1.0
    start = plan.epsilon_start
    return plan.epsilon * (start + (1 - start) * share if plan.epsilon_schedule == "linear" else start ** (1 - share))
