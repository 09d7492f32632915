"""What training believes about radii while it runs: estimates, shown to a person and used to choose; never part of a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..core.errors import InputError
from .modes import evaluation
from .plan import Plan
from .samples import Samples

_BATCH = 1024
_DUAL = {"l2": 2.0, "linf": 1.0, "l1": torch.inf}  # |<w, d>| <= |w|_q |d|_p, 1/p + 1/q = 1
Pairs = Callable[[nn.Module], Tensor]


def head_weight(model: nn.Module, classes: int) -> Tensor:
    """The matrix (classes, features) of the last linear layer, as the model computes it, with its gradient.

    Raises:
        InputError: the last layer with a matrix has another number of rows, or there is none.

    >>> head_weight(nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3)), 3).shape
    torch.Size([3, 5])
    """
    for name, module in reversed(list(model.named_modules())):
        weight = None if "parametrizations" in name.split(".") else getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2:
            if len(weight) == classes:
                return weight
            where, found = name, f"a matrix of shape {tuple(weight.shape)}"
            break
    else:
        where, found = type(model).__name__, "no linear layer"
    expected = f"a last linear layer with {classes} rows"
    raise InputError('pairs="one" needs a linear layer at the end of the model', where=where, found=found, expected=expected, hint='pairs="estimate"')


def head_differences(weight: Tensor, norm: str = "l2") -> Tensor:
    """|w_i - w_j| (C, C) in the dual of `norm`, zero on the diagonal, with a gradient that is finite there too.

    It is the constant of z_i - z_j where the features have constant 1.

    >>> head_differences(torch.eye(2)).tolist()
    [[0.0, 1.4142135381698608], [1.4142135381698608, 0.0]]
    """
    apart = weight[:, None] - weight[None, :]
    same = torch.eye(len(weight), dtype=torch.bool, device=weight.device)
    size = torch.linalg.vector_norm(torch.where(same[..., None], torch.ones_like(apart), apart), _DUAL[norm], dim=2)
    return size.masked_fill(same, 0.0)


def pairs_for(plan: Plan, input_shape: Sequence[int], classes: int) -> Pairs:
    """model -> the constants (C, C) of its logit differences, as the plan believes them; what an estimate remembers is kept in the function returned."""
    if plan.pairs == "one":
        return lambda model: head_differences(head_weight(model, classes), plan.norm)
    from .pairs import pair_constants

    states: Any = {}
    return lambda model: pair_constants(model, input_shape, states)


def estimated_radii(logits: Tensor, labels: Tensor, pairs: Tensor) -> Tensor:
    """min over j != y of (z_y - z_j) / pairs[y, j], (n,): negative where the prediction is wrong.

    >>> estimated_radii(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0]), 2 * (1 - torch.eye(3))).item()
    1.0
    """
    rows = pairs[labels].to(logits.dtype)
    margins = (logits.gather(1, labels[:, None]) - logits) / rows
    return margins.masked_fill(torch.nn.functional.one_hot(labels, logits.shape[1]).bool(), torch.inf).amin(1)


def estimate(model: nn.Module, samples: Samples, pairs: Pairs, radii: Sequence[float]) -> dict[str, Any]:
    """Accuracy of `model` on `samples`, clean and certified as far as `pairs` can be believed. The model is evaluated and left in its mode.

    Returns:
        {"clean": share, "certified": {repr(radius): share}}; an estimate.
    """
    with evaluation(model), torch.no_grad(), parametrize.cached():  # inputs are copied: a first layer may work in place
        constants = pairs(model).detach()
        found = [estimated_radii(model(inputs.clone()), labels, constants) for inputs, labels in zip(samples.inputs.split(_BATCH), samples.labels.split(_BATCH))]
    all_radii = torch.cat(found).cpu()
    return {"clean": (all_radii > 0).double().mean().item(), "certified": {repr(r): (all_radii >= r).double().mean().item() for r in radii}}
