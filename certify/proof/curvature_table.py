"""The checker's own majorants of second derivatives: q(s) = a + b s - c s^2 above max(+-f''(z), 0) where f'(z) = s, and the largest values of those.

Derived here again, by rational arithmetic rounded outward. sqrt(v) <= (t + v/t)/2 for v >= 0, t > 0, with t = 4/7:
- tanh, s = 1 - T^2: |f''| = 2 s sqrt(1 - s) <= s (t + (1 - s)/t). tanhshrink has s = T^2: |f''| = 2 (1 - s) sqrt(s) <= (1 - s)(t + s/t).
- sigmoid, s = p (1 - p): |f''| = s sqrt(1 - 4s) <= s (t + (1 - 4s)/t)/2. Softplus: f'' = beta s (1 - s). sin, cos: f''^2 = 1 - s^2 <= (1 - s^2/2)^2.
- CELU, ELU with alpha = 1: below zero f'' = s / alpha, above 0. softsign: |f''| = 2 s^(3/2) <= 2 s as s <= 1.
q is concave, so where f'' jumps the claim holds for f smoothed by averaging, with the same slopes' range: m + K |x|^2/2 is a limit of convex functions.
Largest values of +-f'' of the others: at 0 (erf, gelu: q = const), or decimals rounded up at the last digit, from the zero of the third derivative.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..core.graph import Node
from ..core.rounding import fraction_up
from . import fields
from .slopes import parameter


@dataclass(frozen=True)
class Majorant:
    """q(s) = a + b s - c s^2, and peak >= what it majorises."""

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    peak: float = 0.0


_T = Fraction(4, 7)
_TANH = Fraction("0.76980035891950101934553170734")  # 4 / (3 sqrt 3)
# (largest f'', largest -f''), zeros of the third derivative; the last digit rounded up
_PEAKS: dict[str, tuple[Fraction, Fraction]] = {
    "silu": (Fraction(1, 2), Fraction("0.03691437319989318563829179")),
    "quick_gelu": (Fraction("0.851"), Fraction("0.06282826318621820195637262")),
    "mish": (Fraction("0.64420463723697242951765901"), Fraction("0.05903335695393629297877503")),
    "erf": (Fraction("0.96788289807657339919132081"), Fraction("0.96788289807657339919132081")),
}  # fmt: skip
_GELU = {"none": Fraction("0.10798193302637610390112841"), "tanh": Fraction("0.10791351589036791928618241")}
_GELU_TOP = Fraction("0.79788456080286535587989211987")  # sqrt(2 / pi)


def majorants(node: Node) -> tuple[Majorant, Majorant]:
    """(above f'', above -f'') of an activation node.

    Raises:
        CertificateError: an activation with a kink, or one that this table does not know.
    """
    kind, nothing = str(node.attrs.get("kind")), Majorant()
    if kind in ("tanh", "sigmoid", "tanhshrink", "sin", "cos", "softsign"):
        both = _SYMMETRIC[kind]
        return both, both
    if kind in ("softplus", "logsigmoid"):
        beta = Fraction(parameter(node, "beta", 1.0)) if kind == "softplus" else Fraction(-1)
        one = Majorant(0.0, float(abs(beta)), float(abs(beta)), fraction_up(abs(beta) / 4))
        return (one, nothing) if beta > 0 else (nothing, one)
    if kind in ("celu", "elu"):
        alpha = Fraction(parameter(node, "alpha", 1.0))
        if alpha > 0 and (kind == "celu" or alpha == 1):
            return Majorant(0.0, fraction_up(1 / alpha), 0.0, fraction_up(1 / alpha)), nothing
    if kind in _PEAKS or kind == "gelu":
        top, low = _PEAKS[kind] if kind != "gelu" else (_GELU_TOP, _GELU.get(str(node.attrs.get("approximate", "none")), Fraction(1)))
        return _constant(top), _constant(low)
    raise fields.refuse("an activation has a kink, or no curvature bound that the checker knows", node.name, kind, "smooth activations only")


def _constant(peak: Fraction) -> Majorant:
    return Majorant(fraction_up(peak), 0.0, 0.0, fraction_up(peak))


def _quadratic(a: Fraction, b: Fraction, c: Fraction, peak: Fraction) -> Majorant:
    return Majorant(fraction_up(a), fraction_up(b), float(c), fraction_up(peak))  # every c here is a float


_SYMMETRIC = {
    "tanh": _quadratic(Fraction(0), _T + 1 / _T, 1 / _T, _TANH),
    "sigmoid": _quadratic(Fraction(0), (_T + 1 / _T) / 2, 2 / _T, _TANH / 8),
    "tanhshrink": _quadratic(_T, 1 / _T - _T, 1 / _T, _TANH),
    "sin": _quadratic(Fraction(1), Fraction(0), Fraction(1, 2), Fraction(1)),
    "cos": _quadratic(Fraction(1), Fraction(0), Fraction(1, 2), Fraction(1)),
    "softsign": _quadratic(Fraction(0), Fraction(2), Fraction(0), Fraction(2)),
}
