"""The zoo's registry: `ZOO` maps a name to a `Case`, `model` enters a factory, `build` makes one. The animals live in `zoo_*.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Case:
    """One model: `make()` builds it, `shape` is its input without the batch; `finite` says whether a global Lipschitz constant exists."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    finite: bool = True


ZOO: dict[str, Case] = {}


def model(*shape: int, finite: bool = True):
    """Enter a factory into ZOO under its own name."""

    def register(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ZOO[make.__name__] = Case(make, shape, finite)
        return make

    return register


def build(name: str, seed: int = 0) -> nn.Module:
    """The model of that name in eval mode; the process's random numbers do not move."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomize(ZOO[name].make()).eval()


def randomize(module: nn.Module) -> nn.Module:
    """Random running statistics and affine parameters in every BatchNorm, so that none of them is the identity."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                m.running_mean.normal_()
                m.running_var.uniform_(0.2, 3.0)
                if m.affine:
                    m.weight.normal_()
                    m.bias.normal_()
    return module


class Functional(nn.Module):
    """A module whose forward is a function of (self, x); its parameters are given as modules or tensors."""

    def __init__(self, function: Callable, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            elif isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)
