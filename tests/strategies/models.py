"""A fixed zoo of torch modules, and Hypothesis strategies for random ones: everything the tracer promises to understand.

`ZOO` maps a name to a `Case` (factory, input shape, whether a global Lipschitz constant exists); `build(name)` makes one, in eval mode, with
random running statistics, in float32 unless its name says otherwise. `TRACED` lists all names, `FINITE` those with a constant.
"""

from __future__ import annotations

from strategies import zoo_attention, zoo_networks, zoo_weights  # noqa: F401  (they fill the zoo)
from strategies.zoo import ZOO, Case, Functional, build, model, randomize
from strategies.zoo_functions import ACTIVATIONS, NOT_SORTS, SORTS
from strategies.zoo_networks import BasicBlock, ResNet
from strategies.zoo_random import random_models

TRACED = sorted(ZOO)
FINITE = sorted(name for name, case in ZOO.items() if case.finite)


__all__ = ["ACTIVATIONS", "FINITE", "NOT_SORTS", "SORTS", "TRACED", "ZOO", "BasicBlock", "Case", "Functional", "ResNet", "build", "model", "random_models", "randomize"]
