"""What the second derivative of an activation may be where its slope is s: concave quadratics q(s) above it.

Claim: for every real z with s = f'(z), `plus` of f has q(s) >= max(f''(z), 0) and `minus` has q(s) >= max(-f''(z), 0), q(s) = a + b s - c s^2 with c >= 0,
and q <= `peak` nowhere needed more: sup max(+-f'', 0) <= peak (`curvature_range`). Where f'' jumps (CELU, ELU(1), softsign) both one-sided values count; q is
concave, so the claim survives averaging over z (mollifying f), and with it every bound on the Hessian becomes one on the modulus of semiconvexity.

Proofs, all by 2t <= 1/k + k t^2 with k = 7/4 (the best k is sqrt 3: there q touches |f''| at its largest value):
- softplus(beta): s = p, f'' = beta p (1 - p): q is exact. log-sigmoid: minus that. CELU(alpha), ELU(1): f'' = s / alpha or 0.
- tanh: s = 1 - t^2, |f''| = 2 |t| s <= s (1/k + k (1 - s)). sigmoid: s = p (1 - p), |f''| = s |1 - 2p|, (1 - 2p)^2 = 1 - 4s: <= s (1/k + k (1 - 4s)) / 2.
- tanhshrink: s = t^2, |f''| = 2 |t| (1 - s) <= (1 - s)(1/k + k s). sin, cos: |f''| = sqrt(1 - s^2) <= 1 - s^2 / 2.
- softsign: |f''| = 2 s^(3/2) <= 2 s. The others: the constant `peak`.
a and b are rounded up and c is exact; s >= 0 wherever b is not exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.activation import Activation
from ...core.errors import UnsupportedLayerError
from ...core.rounding import up

K = 1.75


@dataclass(frozen=True)
class Majorant:
    """q(s) = a + b s - c s^2 and the largest value of what it majorises; all zero: there is nothing to majorise."""

    a: float
    b: float
    c: float
    peak: float


def majorants(f: Activation, where: str = "") -> tuple[Majorant, Majorant]:
    """(plus, minus) of an activation.

    Raises:
        UnsupportedLayerError: f' jumps (a kink), so no curvature bound exists.

    >>> from certify.core.activation import activation
    >>> majorants(activation("softplus"))
    (Majorant(a=0.0, b=1.0, c=1.0, peak=0.25), Majorant(a=0.0, b=0.0, c=0.0, peak=0.0))
    """
    span = f.curvature_range()
    if span is None:
        raise UnsupportedLayerError(
            "a network with a kink has no curvature bound",
            where=where or f"activation {f.kind}",
            found=f"{f.kind}: its slope jumps, so its second derivative is unbounded",
            expected="smooth activations (softplus, tanh, sigmoid, gelu, silu, elu(1), ...)",
            hint="use method='sdp' or 'local'",
        )
    low, high = span
    quadratic = _QUADRATICS.get(f.kind, _constant)(f)
    return _with_peak(quadratic, float(high) if high > 0 else 0.0), _with_peak(quadratic, -float(low) if low < 0 else 0.0)


def _with_peak(abc: tuple[float, float, float] | None, peak: float) -> Majorant:
    return Majorant(peak, 0.0, 0.0, peak) if abc is None or peak < 1e-290 else Majorant(*abc, peak)  # peak 0, or the slack of a one-sided range: a constant


def _constant(f: Activation) -> None:
    return None


def _softplus(f) -> tuple[float, float, float]:
    return 0.0, abs(f.beta), abs(f.beta)


def _celu(f) -> tuple[float, float, float]:
    return 0.0, up(1.0 / f.alpha), 0.0


_QUADRATICS = {
    "softplus": _softplus,
    "logsigmoid": lambda f: (0.0, 1.0, 1.0),
    "celu": _celu,
    "elu": lambda f: (0.0, 1.0, 0.0),  # alpha = 1: every other has a kink
    "tanh": lambda f: (0.0, up(1.0 / K + K), K),
    "sigmoid": lambda f: (0.0, up(0.5 * (1.0 / K + K)), 2.0 * K),
    "tanhshrink": lambda f: (up(1.0 / K), up(K - 1.0 / K), K),
    "sin": lambda f: (1.0, 0.0, 0.5),
    "cos": lambda f: (1.0, 0.0, 0.5),
    "softsign": lambda f: (0.0, 2.0, 0.0),
}  # fmt: skip
