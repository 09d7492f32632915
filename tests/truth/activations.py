"""Each activation's exact function in mpmath, written from the papers' definitions and not from our code."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
from mpmath import mp, mpf

mp.dps = 50


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _tanh_gelu(x):
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)))


def _erf_gelu(x):
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2 if abs(x) < 1000 else max(x, mpf(0))  # erfc(700) < 1e-200000


def _clip(x, lo, hi):
    return min(max(x, lo), hi)


SELU_ALPHA, SELU_SCALE = mpf("1.6732632423543772848170429916717"), mpf("1.0507009873554804934193349852946")

# kind -> function of (x, parameters); parameters are exact mpf
EXACT: dict[str, Callable] = {
    "relu": lambda x, p: max(x, mpf(0)),
    "leaky_relu": lambda x, p: x if x > 0 else p["alpha"] * x,
    "prelu": lambda x, p: x if x > 0 else p["slope"] * x,
    "elu": lambda x, p: x if x > 0 else p["alpha"] * mpmath.expm1(x),
    "celu": lambda x, p: x if x > 0 else p["alpha"] * mpmath.expm1(x / p["alpha"]),
    "selu": lambda x, p: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mpmath.expm1(x)),
    "gelu": lambda x, p: _erf_gelu(x) if p["approximate"] == "none" else _tanh_gelu(x),
    "quick_gelu": lambda x, p: x * _sigmoid(mpf("1.702") * x),
    "silu": lambda x, p: x * _sigmoid(x),
    "mish": lambda x, p: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "softplus": lambda x, p: mpmath.log1p(mpmath.exp(p["beta"] * x)) / p["beta"],
    "tanh": lambda x, p: mpmath.tanh(x),
    "sigmoid": lambda x, p: _sigmoid(x),
    "hardtanh": lambda x, p: _clip(x, p["min"], p["max"]),
    "hardswish": lambda x, p: x * _clip(x + 3, mpf(0), mpf(6)) / 6,
    "hardsigmoid": lambda x, p: _clip(x + 3, mpf(0), mpf(6)) / 6,
    "abs": lambda x, p: abs(x),
    "softsign": lambda x, p: x / (1 + abs(x)),
    "logsigmoid": lambda x, p: -mpmath.log1p(mpmath.exp(-x)),
    "tanhshrink": lambda x, p: x - mpmath.tanh(x),
    "softshrink": lambda x, p: x - _clip(x, -p["lambda"], p["lambda"]),
    "erf": lambda x, p: mpmath.erf(x),
    "sin": lambda x, p: mpmath.sin(x),
    "cos": lambda x, p: mpmath.cos(x),
}


def exact_parameters(parameters: dict) -> dict:
    return {k: v if isinstance(v, str) else mpf(float(np.asarray(v).item())) for k, v in parameters.items()}


def exact_value(kind: str, parameters: dict, x: float) -> mpf:
    """f(x) to about 50 digits, for a float x and float parameters taken as exact."""
    plain = exact_parameters(parameters)
    with mp.workdps(50 if abs(x) < 1e4 else 400):
        return EXACT[kind](mpf(float(x)), plain)


def exact_quotient(kind: str, parameters: dict, a: float, b: float) -> mpf:
    """(f(a) - f(b)) / (a - b) with enough digits that the cancellation does not matter."""
    plain, (a, b) = exact_parameters(parameters), (float(a), float(b))
    lost = max(0.0, math.log10(max(1.0, abs(a), abs(b))) - max(-330.0, math.log10(abs(a - b)) if a != b else 0.0))
    with mp.workdps(80 + int(lost) + (0 if max(abs(a), abs(b)) < 1e4 else 320)):
        x, y = mpf(float(a)), mpf(float(b))
        return (EXACT[kind](x, plain) - EXACT[kind](y, plain)) / (x - y)
