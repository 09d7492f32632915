"""The checker's own table of activations: each kind as pieces between its corners, a piece being a short polynomial or a smooth function given by jets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from certify.core.errors import CertificateError
from certify.core.graph import Node
from certify.core.interval import Interval

from .jets import Jet

Coefficient = float | np.ndarray | Fraction


@dataclass(frozen=True, eq=False)
class Part:
    """The function on [low, high]: `powers` its coefficients of 1, z, z^2 (exact numbers, or arrays with one per neuron), or `jet` the smooth function.

    `falling`: the derivative depends on |z| alone and falls with it.
    """

    low: float
    high: float
    powers: tuple[Coefficient, ...] | None = None
    jet: Callable[[Jet], Jet] | None = None
    falling: bool = False


def parts_of(node: Node) -> tuple[Part, ...]:
    """The pieces of an activation node of flat shape (q,).

    Raises:
        CertificateError: a kind or a parameter that the checker does not know.
    """
    kind = node.attrs.get("kind")
    if kind not in _KINDS:
        raise CertificateError("the controller cannot be checked, because the checker does not know an activation", where=node.name, found=kind, expected=", ".join(sorted(_KINDS)))
    known = {"kind", *_PARAMETERS.get(kind, ())}
    if not set(node.attrs) <= known:
        unknown = ", ".join(sorted(set(node.attrs) - known))
        raise CertificateError("the controller cannot be checked, because an activation has an unknown parameter", where=node.name, found=unknown)
    return _KINDS[kind](node)


_PARAMETERS = {
    "leaky_relu": ("alpha",), "elu": ("alpha",), "celu": ("alpha",), "softplus": ("beta",), "hardtanh": ("min", "max"), "softshrink": ("lambda", "lambda_"),
    "gelu": ("approximate",),
}  # fmt: skip
_INF = math.inf


def _number(node: Node, name: str, default: float) -> float:
    value = node.attrs.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise CertificateError("an activation has a parameter that is not a number", where=f"{node.name}.{name}", found=repr(value)[:80])
    return float(value)


def _two(left: tuple[Coefficient, ...], right: tuple[Coefficient, ...]) -> tuple[Part, ...]:
    return Part(-_INF, 0.0, left), Part(0.0, _INF, right)


def _prelu(node: Node) -> tuple[Part, ...]:
    slope = node.float64("slope")
    if slope is None:
        raise CertificateError("prelu has no slopes", where=node.name)
    slope = np.broadcast_to(slope, node.shape).reshape(-1)
    return _two((0.0, slope), (0.0, 1.0))


def _hardtanh(node: Node) -> tuple[Part, ...]:
    low, high = _number(node, "min", -1.0), _number(node, "max", 1.0)
    if not low <= high:
        raise CertificateError("hardtanh needs min <= max", where=node.name, found=f"{low}, {high}")
    parts = [Part(-_INF, low, (low,)), Part(low, high, (0.0, 1.0)), Part(high, _INF, (high,))]
    return tuple(p for p in parts if p.low < p.high)


def _softshrink(node: Node) -> tuple[Part, ...]:
    s = _number(node, "lambda", _number(node, "lambda_", 0.5))
    if not 0 <= s < _INF:
        raise CertificateError("softshrink needs a threshold >= 0", where=node.name, found=s)
    return tuple(p for p in (Part(-_INF, -s, (s, 1.0)), Part(-s, s, (0.0,)), Part(s, _INF, (-s, 1.0))) if p.low < p.high)


def _smooth(jet: Callable[[Jet], Jet], falling: bool = False) -> Callable[[Node], tuple[Part, ...]]:
    return lambda node: (Part(-_INF, _INF, jet=jet, falling=falling),)


def _elu(node: Node) -> tuple[Part, ...]:
    alpha = _number(node, "alpha", 1.0)
    return Part(-_INF, 0.0, jet=lambda x: (x.exp() + -1.0) * alpha), Part(0.0, _INF, (0.0, 1.0))


def _celu(node: Node) -> tuple[Part, ...]:
    alpha = _number(node, "alpha", 1.0)
    if not 0 < alpha < _INF:
        raise CertificateError("celu needs alpha > 0", where=node.name, found=alpha)
    inverse = Interval.point(1.0) / alpha
    return Part(-_INF, 0.0, jet=lambda x: ((x * inverse).exp() + -1.0) * alpha), Part(0.0, _INF, (0.0, 1.0))


_SELU_SCALE = Fraction("1.0507009873554804934193349852946")
_SELU_PRODUCT = Interval.point(_SELU_SCALE * Fraction("1.6732632423543772848170429916717"))


def _softplus(node: Node) -> tuple[Part, ...]:
    beta = _number(node, "beta", 1.0)
    if not (0 < abs(beta) < _INF):
        raise CertificateError("softplus needs beta other than 0", where=node.name, found=beta)
    inverse = Interval.point(1.0) / beta
    return (Part(-_INF, _INF, jet=lambda x: (x * beta).softplus() * inverse),)


_ROOT_HALF = Interval.from_text("0.7071067811865475244008443621048490392848")
_GELU_TANH = Interval.from_text("0.7978845608028653558798921198687637369517")  # sqrt(2 / pi)


def _gelu(node: Node) -> tuple[Part, ...]:
    form = node.attrs.get("approximate", "none")
    if form == "none":
        return (Part(-_INF, _INF, jet=lambda x: x * ((x * _ROOT_HALF).erf() + 1.0) * 0.5),)
    if form != "tanh":
        raise CertificateError("unknown form of gelu", where=node.name, found=repr(form)[:80])
    cubic = Interval.from_text("0.044715")
    return (Part(-_INF, _INF, jet=lambda x: x * (((x + x * x * x * cubic) * _GELU_TANH).tanh() + 1.0) * 0.5),)


_SIXTH = Fraction(1, 6)
_KINDS: dict[str, Callable[[Node], tuple[Part, ...]]] = {
    "relu": lambda node: _two((0.0,), (0.0, 1.0)),
    "leaky_relu": lambda node: _two((0.0, _number(node, "alpha", 0.01)), (0.0, 1.0)),
    "prelu": _prelu,
    "abs": lambda node: _two((0.0, -1.0), (0.0, 1.0)),
    "hardtanh": _hardtanh,
    "softshrink": _softshrink,
    "hardsigmoid": lambda node: (Part(-_INF, -3.0, (0.0,)), Part(-3.0, 3.0, (0.5, _SIXTH)), Part(3.0, _INF, (1.0,))),
    "hardswish": lambda node: (Part(-_INF, -3.0, (0.0,)), Part(-3.0, 3.0, (0.0, 0.5, _SIXTH)), Part(3.0, _INF, (0.0, 1.0))),
    "elu": _elu,
    "celu": _celu,
    "selu": lambda node: (Part(-_INF, 0.0, jet=lambda x: (x.exp() + -1.0) * _SELU_PRODUCT), Part(0.0, _INF, (0.0, _SELU_SCALE))),
    "softsign": lambda node: (Part(-_INF, 0.0, jet=lambda x: x / (-x + 1.0)), Part(0.0, _INF, jet=lambda x: x / (x + 1.0))),
    "tanh": _smooth(lambda x: x.tanh(), falling=True),
    "sigmoid": _smooth(lambda x: x.sigmoid(), falling=True),
    "tanhshrink": _smooth(lambda x: x - x.tanh()),
    "logsigmoid": _smooth(lambda x: -((-x).softplus())),
    "silu": _smooth(lambda x: x * x.sigmoid()),
    "quick_gelu": _smooth(lambda x: x * (x * Interval.from_text("1.702")).sigmoid()),
    "mish": _smooth(lambda x: x * x.softplus().tanh()),
    "softplus": _softplus,
    "gelu": _gelu,
    "erf": _smooth(lambda x: x.erf(), falling=True),
    "sin": _smooth(lambda x: x.sin_cos()[0]),
    "cos": _smooth(lambda x: x.sin_cos()[1]),
}
