"""Settings of every activation kind, ordinary and odd; a kind without an entry fails the contract test."""

from __future__ import annotations

import math

import numpy as np

# kind -> parameter sets (attrs; "slope" of prelu is an array)
INSTANCES: dict[str, list[dict]] = {
    "relu": [{}],
    "leaky_relu": [{"alpha": 0.01}, {"alpha": 0.0}, {"alpha": -0.7}, {"alpha": 1.0}, {"alpha": 3.5}, {"alpha": -4.0}, {"alpha": 1e-300}],
    "prelu": [{"slope": np.array([0.25])}, {"slope": np.array([-2.5])}, {"slope": np.array([1.75])}],
    "elu": [{"alpha": 1.0}, {"alpha": 0.0}, {"alpha": 3.0}, {"alpha": -0.5}, {"alpha": 0.3}],
    "celu": [{"alpha": 1.0}, {"alpha": 0.01}, {"alpha": 50.0}],
    "selu": [{}],
    "gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "quick_gelu": [{}],
    "silu": [{}],
    "mish": [{}],
    "softplus": [{"beta": 1.0}, {"beta": 1e-3}, {"beta": 200.0}, {"beta": -2.0}],
    "tanh": [{}],
    "sigmoid": [{}],
    "hardtanh": [{"min": -1.0, "max": 1.0}, {"min": 0.0, "max": 6.0}, {"min": -math.inf, "max": 0.5}, {"min": -2.0, "max": math.inf}, {"min": 0.25, "max": 0.25}],
    "hardswish": [{}],
    "hardsigmoid": [{}],
    "abs": [{}],
    "softsign": [{}],
    "logsigmoid": [{}],
    "tanhshrink": [{}],
    "softshrink": [{"lambda": 0.5}, {"lambda": 0.0}, {"lambda": 4.0}],
    "erf": [{}],
    "sin": [{}],
    "cos": [{}],
}
CASES = [(kind, parameters) for kind, sets in INSTANCES.items() for parameters in sets]
IDS = [f"{kind}-{'-'.join(str(v) for v in parameters.values())}".rstrip("-") for kind, parameters in CASES]

# Parameters that must be refused by name: the function jumps, grows without bound, or does not exist.
REFUSED: list[tuple[str, dict]] = [
    ("celu", {"alpha": -1.0}),
    ("celu", {"alpha": 0.0}),
    ("softplus", {"beta": 0.0}),
    ("softshrink", {"lambda": -0.1}),
    ("hardtanh", {"min": 1.0, "max": -1.0}),
    ("hardtanh", {"min": math.inf, "max": math.inf}),
    ("hardtanh", {"min": math.nan, "max": 1.0}),
    ("elu", {"alpha": math.nan}),
    ("leaky_relu", {"alpha": math.inf}),
    ("gelu", {"approximate": "sigmoid"}),
    ("prelu", {}),
    ("prelu", {"slope": np.array([])}),
    ("relu", {"alpha": 1.0}),
    ("hardshrink", {"lambda": 0.5}),
    ("threshold", {}),
]
