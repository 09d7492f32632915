"""The optimizers that a plan can name."""

from __future__ import annotations

import torch
from torch import nn

from ..core.errors import InputError
from .muon import Muon
from .parametrizations.frames import RetractedFrame
from .plan import Plan

_VECTOR_SHARE = 0.05  # what "muon" leaves to Adam (biases, and whatever is not kept orthogonal) moves at this share of the learning rate


def build(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """The plan's optimizer for all weights that take a gradient; the loop sets learning rate and momentum before every step.

    "muon": `Muon` for the matrices that are kept orthogonal (method="retraction"), Adam at 1/20 of the rate for all else. In a model without such matrices Muon
    takes all weights of at least two axes, as matrices (first axis, everything else).

    Raises:
        InputError: the model has nothing to train, or the optimizer is not known.

    >>> from types import SimpleNamespace
    >>> build(nn.Linear(2, 2), SimpleNamespace(optimizer="sgd", learning_rate=0.1, weight_decay=0.0, momentum=0.9))[0].defaults["nesterov"]
    True
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise InputError("the model has no weights to train", where="argument model", found=type(model).__name__)
    if plan.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
        return [kind(weights, plan.learning_rate, betas=(plan.momentum, 0.999), weight_decay=plan.weight_decay)]
    if plan.optimizer == "sgd":
        return [torch.optim.SGD(weights, plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay, nesterov=plan.momentum > 0)]
    if plan.optimizer == "muon":
        return _muon(model, weights, plan)
    raise InputError("unknown optimizer", where="Plan.optimizer", found=repr(plan.optimizer), expected="adam, adamw, sgd or muon")


def _muon(model: nn.Module, weights: list[nn.Parameter], plan: Plan) -> list[torch.optim.Optimizer]:
    if plan.weight_decay:
        raise InputError("muon has no weight decay: its matrices are kept orthogonal", where="Plan.weight_decay", found=plan.weight_decay, expected="0")
    frames = [part.raw for part in model.modules() if isinstance(part, RetractedFrame) and part.raw.requires_grad]
    matrices = frames or [weight for weight in weights if weight.ndim >= 2]
    taken = {id(matrix) for matrix in matrices}
    rest = [weight for weight in weights if id(weight) not in taken]
    built: list[torch.optim.Optimizer] = [Muon([{"params": matrices, "flatten": not frames}], plan.learning_rate, plan.momentum)] if matrices else []
    if rest:
        built.append(torch.optim.Adam(rest, _VECTOR_SHARE * plan.learning_rate, betas=(0.9, 0.99)))
    return built
