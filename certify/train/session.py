"""The state of a training run between two steps: model, optimizers, average, history; as a snapshot and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import InputError, TrainingError
from .devices import Devices
from .live import Pairs, pairs_for
from .plan import Plan
from .schedules import momentum_shift, rate_factor


class Average:
    """Exponential moving average of a model's weights: w <- d w + (1 - d) new, d = min(decay, (1 + n) / (10 + n)) after n updates; buffers are copied."""

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.updates = copied(model).requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


class Session:
    """Everything that a step changes. `model` is a private copy of the user's, on the device of the run."""

    def __init__(self, model: nn.Module, plan: Plan, devices: Devices, input_shape: tuple[int, ...], classes: int):
        self.plan, self.devices, self.input_shape, self.classes = plan, devices, input_shape, classes
        self.model, self._first_penalty = copied((model, plan.penalty))  # together: what the penalty knows about a layer, it then knows about its copy
        self.model.train()
        self.wrapped = devices.wrapped(self.model)
        self.optimizers = optimizers_of(self.model, plan)
        for group in self._groups():
            group.setdefault("first_lr", group["lr"])
            group.setdefault("first_momentum", group["betas"][0] if "betas" in group else group.get("momentum"))
        self.average = Average(self.model, plan.average) if plan.average else None
        self.history: list[dict[str, Any]] = []
        self.renew()

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def best_known(self) -> nn.Module:
        """The weights that are validated and exported: the average, where there is one."""
        return self.model if self.average is None else self.average.model

    def renew(self) -> None:
        """Forget what penalty and pairs remember from earlier steps (warm starts): done at every checkpoint, which then need not hold it."""
        self.penalty = copied(self._first_penalty)
        if hasattr(self.penalty, "record"):
            self.penalty.record(self.model, self.input_shape)
        self.pairs: Pairs = pairs_for(self.plan, self.input_shape, self.classes)

    def set_rates(self, step: int, total: int) -> float:
        """Put the schedules' learning rate and momentum of this step into the optimizers; returns the factor of the rate."""
        factor = rate_factor(self.plan.schedule, self.plan.warmup, step, total)
        shift = momentum_shift(self.plan.schedule, self.plan.warmup, step, total)
        for group in self._groups():
            group["lr"] = group["first_lr"] * factor
            if self.plan.schedule == "one_cycle" and group["first_momentum"]:
                momentum = min(max(group["first_momentum"] + shift, 0.0), 0.999)
                group.update({"betas": (momentum, *group["betas"][1:])} if "betas" in group else {"momentum": momentum})
        return factor

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def require_finite_weights(self, epoch: int) -> None:
        """Raises TrainingError naming the first weight that is not finite."""
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingError("a weight is not finite", where=f"epoch {epoch}, '{name}'", found=not_finite(tensor), hint=ADVICE)

    def snapshot(self) -> dict[str, Any]:
        """All of it as plain containers and tensors. The tensors are the live ones: write or copy them before the next step."""
        average = None if self.average is None else {"model": dict(self.average.model.state_dict()), "updates": self.average.updates}
        buffers = dict(self.model.named_buffers())  # also those that no state_dict holds
        return {"model": dict(self.model.state_dict()), "buffers": buffers, "optimizers": [o.state_dict() for o in self.optimizers], "average": average, "history": self.history}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a session with the same model and plan.

        Raises:
            InputError: it is of another one.
        """
        try:
            self.model.load_state_dict(snapshot["model"])
            for name, buffer in self.model.named_buffers():
                buffer.copy_(snapshot["buffers"][name])
            for optimizer, state in zip(self.optimizers, snapshot["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            if self.average is not None:
                self.average.model.load_state_dict(snapshot["average"]["model"])
                self.average.updates = int(snapshot["average"]["updates"])
                for mine, theirs in zip(self.average.model.buffers(), self.model.buffers(), strict=True):
                    mine.copy_(theirs)
            self.history = list(snapshot["history"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            found = f"{type(error).__name__}: {error}"[:200]
            raise InputError("the checkpoint does not fit model and plan", where="checkpoint", found=found, hint="choose another folder, or remove this one") from error
        self.renew()


ADVICE = "a smaller learning_rate, a clip_norm, a longer warmup, or float32"


def not_finite(tensor: Tensor) -> str:
    """The first entry that is not finite, as text."""
    flat = tensor.detach().flatten()
    return str(flat[~torch.isfinite(flat)][0].item())


def copied(value: Any) -> Any:
    """A deep copy.

    Raises:
        InputError: a part of it cannot be copied.
    """
    try:
        return copy.deepcopy(value)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:200]
        hint = "copy.deepcopy must work: no locks, files or generators, and no tensors that a hook has left behind"
        raise InputError("the model or the penalty cannot be copied", where="argument model, Plan.penalty", found=found, hint=hint) from error


def optimizers_of(model: nn.Module, plan: Plan) -> list[Any]:
    """The optimizers of a plan, each with param_groups, step, zero_grad, state_dict and load_state_dict."""
    from .optimizers import build

    built = build(model, plan)
    return list(built) if isinstance(built, list | tuple) else [built]
