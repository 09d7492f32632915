"""The checker's table of activations: the global range of slopes of each, exact or as decimals with 29 digits rounded outward.

Found with mpmath at 60 digits, independently of `core.activation`: the extreme f' lie at 0, at infinity or at the zero of f'' that is
named; tests compare every entry with a dense high-precision search. `slope` is the largest |f'|, `slope_range` both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from ..core.graph import Node
from ..core.rounding import fraction_down, fraction_up
from . import fields

# |f'| at: sqrt 2 (gelu); 1.41850400879... (its tanh form); 2.39935728... (silu, and quick_gelu at 1/1.702 of it); 1.49057117... (mish, above
# the 0.1125... of its minimum); 0 (erf: 2/sqrt(pi)); 0- (selu: the product of its two published decimals).
_GELU = Fraction("1.12890414518515478634074444227")
_GELU_TANH = Fraction("1.12899306865877176545590447040")
_SILU = Fraction("1.09983932012886691695818492433")
_MISH = Fraction("1.08849816125172786122829362740")
_ERF = Fraction("1.12837916709551257389615890313")
_SELU = Fraction("1.0507009873554804934193349852946") * Fraction("1.6732632423543772848170429916717")
_PLAIN: dict[str, Fraction] = {
    **dict.fromkeys("relu tanh abs softsign logsigmoid tanhshrink sin cos".split(), Fraction(1)),
    "sigmoid": Fraction(1, 4), "hardsigmoid": Fraction(1, 6), "hardswish": Fraction(3, 2),
    "selu": _SELU, "silu": _SILU, "quick_gelu": _SILU, "mish": _MISH, "erf": _ERF,
}  # fmt: skip
# The least f' where it is not 0. f(x) - f(-x) = x for gelu, its tanh form, silu and quick_gelu: f'(x) + f'(-x) = 1, so it is 1 - the largest. Mish: at -2.25637639...
_LEAST: dict[str, Fraction] = {
    **dict.fromkeys("abs sin cos".split(), Fraction(-1)),
    "hardswish": Fraction(-1, 2), "silu": 1 - _SILU, "quick_gelu": 1 - _SILU, "mish": Fraction("-0.11252612238946255640732790116"),
}  # fmt: skip


def slope(node: Node) -> Fraction:
    """The least known c, exact or rounded up at the 29th digit, with |f(a) - f(b)| <= c |a - b| for all real a and b."""
    kind = node.attrs.get("kind")
    if kind in _PLAIN:
        _only(node)
        return _PLAIN[kind]
    if kind not in _WITH_PARAMETERS:
        raise fields.refuse("the checker knows no slope of this activation", node.name, kind, ", ".join(sorted([*_PLAIN, *_WITH_PARAMETERS])))
    return _WITH_PARAMETERS[kind](node)


def slope_range(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(lo, hi), each of the node's shape: lo <= (f(a) - f(b)) / (a - b) <= hi for all real a != b, entry by entry, floats rounded outward."""
    kind, most = node.attrs.get("kind"), slope(node)  # refuses what it does not know
    if kind == "prelu":
        table = np.broadcast_to(np.asarray(node.float64("slope")), node.shape)
        return np.minimum(table, 1.0), np.maximum(table, 1.0)
    least = _LEAST.get(str(kind), Fraction(0))
    if kind in ("leaky_relu", "elu"):
        alpha = Fraction(parameter(node, "alpha", 0.01 if kind == "leaky_relu" else 1.0))
        most = max(Fraction(1), alpha)
        least = min(Fraction(1) if kind == "leaky_relu" else Fraction(0), alpha)  # elu: alpha e^x comes close to 0 at -inf
    elif kind == "gelu":
        least = 1 - most
    elif _identity(node):
        least = Fraction(1)
    return np.full(node.shape, fraction_down(least)), np.full(node.shape, fraction_up(most))


def _identity(node: Node) -> bool:
    """softshrink by 0 and hardtanh without ends change nothing."""
    if node.attrs["kind"] == "softshrink":
        return shrinkage(node) == 0
    return node.attrs["kind"] == "hardtanh" and parameter(node, "min", -1.0, infinite=True) == -math.inf and parameter(node, "max", 1.0, infinite=True) == math.inf


def parameter(node: Node, name: str, default: float, infinite: bool = False) -> float:
    """A number of an activation's attributes; the framework's default where it is absent."""
    value = node.attrs.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) or (infinite and not math.isnan(value))):
        raise fields.refuse("an activation has a parameter that is not a number", f"{node.name}.{name}", value)
    return float(value)


def _only(node: Node, *names: str) -> None:
    unknown = set(node.attrs) - {"kind", *names}
    if unknown or set(node.arrays) - {"slope"}:
        raise fields.refuse("an activation has a parameter that the checker does not know", node.name, ", ".join(sorted(unknown)))


def _leaky(node: Node) -> Fraction:
    _only(node, "alpha")
    return max(Fraction(1), abs(Fraction(parameter(node, "alpha", 0.01))))


def _elu(node: Node) -> Fraction:
    _only(node, "alpha")
    return max(Fraction(1), abs(Fraction(parameter(node, "alpha", 1.0))))


def _prelu(node: Node) -> Fraction:
    _only(node)
    table = node.float64("slope")
    if table is None or not table.size or not np.isfinite(table).all():
        raise fields.refuse("prelu without finite slopes", node.name)
    return max(Fraction(1), Fraction(float(np.abs(table).max())))


def _celu(node: Node) -> Fraction:
    _only(node, "alpha")
    if not parameter(node, "alpha", 1.0) > 0:
        raise fields.refuse("celu has a finite slope for alpha > 0 only", node.name, node.attrs.get("alpha"))
    return Fraction(1)


def _softplus(node: Node) -> Fraction:
    _only(node, "beta")
    if parameter(node, "beta", 1.0) == 0:
        raise fields.refuse("softplus needs beta other than 0", node.name)
    return Fraction(1)


def _hardtanh(node: Node) -> Fraction:
    _only(node, "min", "max")
    low, high = parameter(node, "min", -1.0, infinite=True), parameter(node, "max", 1.0, infinite=True)
    if not (low <= high and low < math.inf and high > -math.inf):
        raise fields.refuse("hardtanh needs min <= max", node.name, f"{low}, {high}")
    return Fraction(0) if low == high else Fraction(1)


def _softshrink(node: Node) -> Fraction:
    _only(node, "lambda", "lambda_")
    if not shrinkage(node) >= 0:
        raise fields.refuse("softshrink jumps for lambda < 0", node.name)
    return Fraction(1)


def shrinkage(node: Node) -> float:
    return parameter(node, "lambda", parameter(node, "lambda_", 0.5))


def _gelu(node: Node) -> Fraction:
    _only(node, "approximate")
    return {"none": _GELU, "tanh": _GELU_TANH}[fields.text(node.attrs.get("approximate", "none"), f"{node.name}.approximate", ("none", "tanh"))]


_WITH_PARAMETERS: dict[str, Callable[[Node], Fraction]] = {
    "leaky_relu": _leaky, "prelu": _prelu, "elu": _elu, "celu": _celu, "softplus": _softplus, "hardtanh": _hardtanh, "softshrink": _softshrink, "gelu": _gelu,
}  # fmt: skip


def increasing(node: Node) -> bool:
    """Whether the activation is one and the same strictly increasing function on every entry, so that it changes no order of its inputs."""
    kind = node.attrs.get("kind")
    if kind in ("leaky_relu", "elu"):
        return parameter(node, "alpha", 0.01 if kind == "leaky_relu" else 1.0) > 0
    if kind == "prelu":
        table = node.arrays["slope"]
        return bool((table == table.flat[0]).all() and table.flat[0] > 0)
    return kind in ("sigmoid", "tanh", "softplus", "celu", "selu", "softsign", "logsigmoid", "tanhshrink", "erf")
