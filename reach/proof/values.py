"""Values of elementary functions on intervals, by the checker's own formulas.

They rest on + - * / sqrt and on exp, expm1, log1p of `core.elementary` (within 4 ulp, an assumption of every certificate). sin, cos and atan are computed from the
arithmetic operations alone: reduction and Taylor's series.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from certify.core.errors import CertificateError
from certify.core.interval import Interval

# pi to 50 digits: pi / 2 = P1 + P2 + rest with P1, P2 of 30 bits, so that k P1 and k P2 are exact for |k| < 2^22
_PI = Fraction("3.14159265358979323846264338327950288419716939937510")
_P1 = Fraction(int(_PI / 2 * 2**29), 2**29)
_P2 = Fraction(int((_PI / 2 - _P1) * 2**60), 2**60)
_P3 = Interval.point(_PI / 2 - _P1 - _P2)
HALF_PI = Interval.point(_PI / 2)
_LN2 = Interval.from_text("0.693147180559945309417232121458176568")
_FAR = 1e6  # beyond, sine and cosine are only known to be within [-1, 1]
_ONE = Interval.point(1.0)


def _ends(x: Interval, value: Callable[[Interval], Interval], falling: bool = False) -> Interval:
    """The hull of the values at both ends, for a monotone function."""
    low, high = value(Interval.point(x.lower)), value(Interval.point(x.upper))
    return Interval(high.lower, low.upper) if falling else Interval(low.lower, high.upper)


def integer_power(x: Interval, n: int) -> Interval:
    """{x^n}, n >= 1: exact monotony, so that an interval around zero keeps its even powers nonnegative."""
    if n == 1:
        return x
    if n % 2 == 0:
        x = abs(x)
    return _ends(x, lambda y: _chain(y, n))


def _chain(x: Interval, n: int) -> Interval:
    result = x
    for _ in range(n - 1):
        result = result * x
    return result


def logarithm(x: Interval) -> Interval:
    """log of a positive interval: x = 2^e m, m in [0.7, 1.42), m - 1 exact, log x = e log 2 + log1p(m - 1)."""
    require(x.lower > 0, "log", x, "a positive argument")

    def value(y: Interval) -> Interval:
        m, e = np.frexp(y.lower)
        low = m < 0.7071
        m, e = np.where(low, 2.0 * m, m), np.where(low, e - 1, e)
        return _LN2 * e.astype(float) + Interval.point(m - 1.0).log1p()

    return _ends(x, value)


def real_power(x: Interval, p: Fraction) -> Interval:
    """{x^p} for positive x, or for an integer p and x without zero (any x for p >= 1)."""
    if p == 0:
        return Interval.point(np.ones(x.shape))
    if p.denominator == 1:
        return integer_power(x, int(p)) if p > 0 else integer_power(_ONE / x, int(-p))
    if p.denominator in (2, 4, 8):
        root = x
        for _ in range(p.denominator.bit_length() - 1):
            root = root.sqrt()
        return integer_power(root, int(p.numerator)) if p > 0 else integer_power(_ONE / root, -int(p.numerator))
    return _ends(x, lambda y: (logarithm(y) * Interval.point(p)).exp(), falling=p < 0)


def sine_cosine(x: np.ndarray) -> tuple[Interval, Interval]:
    """Enclosures of sin and cos of floats |x| <= 1e6: x = k pi / 2 + t, |t| < 0.79, Taylor's series of degree 23 and 22 (remainder below |t|^24 / 24! < 1e-26)."""
    k = np.rint(x * (2 / math.pi))
    t = ((Interval.point(x) - k * float(_P1)) - k * float(_P2)) - _P3 * k
    square = t.square()
    sine = cosine = Interval.point(np.zeros(x.shape))
    for j in range(22, 0, -2):
        sine = (_ONE - sine) * square / float((j + 1) * j)
        cosine = (_ONE - cosine) * square / float(j * (j - 1))
    rest = Interval(np.full(x.shape, -1e-26), np.full(x.shape, 1e-26))
    sine, cosine = t * (_ONE - sine) + rest * abs(t), (_ONE - cosine) + rest
    turn = np.mod(k, 4.0)
    pick = [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)]
    both = [Interval(_chosen([p[i].lower for p in pick], turn), _chosen([p[i].upper for p in pick], turn)) for i in (0, 1)]
    return _clipped(both[0]), _clipped(both[1])


def _chosen(values: list[np.ndarray], turn: np.ndarray) -> np.ndarray:
    return np.where(turn == 0, values[0], np.where(turn == 1, values[1], np.where(turn == 2, values[2], values[3])))


def _clipped(x: Interval) -> Interval:
    """Met with [-1, 1]."""
    return Interval(np.clip(x.lower, -1.0, 1.0), np.clip(x.upper, -1.0, 1.0))


def trigonometric(x: Interval) -> tuple[Interval, Interval]:
    """(sin, cos) of intervals. Extrema of sin lie at (k + 1/2) pi, of cos at k pi; a k is counted when it could lie inside, which only widens."""
    far = ~((x.lower >= -_FAR) & (x.upper <= _FAR))
    a, b = np.where(far, 0.0, x.lower), np.where(far, 0.0, x.upper)
    (sa, ca), (sb, cb) = sine_cosine(a), sine_cosine(b)
    out = []
    for low, high, shift in ((sa, sb, 0.5), (ca, cb, 0.0)):
        slack = 1e-14 * (1.0 + np.maximum(np.abs(a), np.abs(b)))
        first, last = np.ceil(a / math.pi - shift - slack), np.floor(b / math.pi - shift + slack)
        some, many, even = last >= first, last > first, np.mod(first, 2.0) == 0
        point = a == b
        top, bottom = ~point & some & (many | even), ~point & some & (many | ~even)
        lower = np.where(bottom | far, -1.0, np.minimum(low.lower, high.lower))
        out.append(Interval(lower, np.where(top | far, 1.0, np.maximum(low.upper, high.upper))))
    return out[0], out[1]


def hyperbolic_tangent(x: Interval) -> Interval:
    """tanh = -e / (2 + e), e = expm1(-2 |x|), odd and increasing."""

    def value(y: Interval) -> Interval:
        e = Interval.point(-2.0 * np.abs(y.lower)).expm1()
        size = -e / (2.0 + e)
        size = Interval(np.minimum(np.maximum(size.lower, 0.0), 1.0), np.minimum(size.upper, 1.0))
        negative = y.lower < 0
        return Interval(np.where(negative, -size.upper, size.lower), np.where(negative, -size.lower, size.upper))

    return _ends(x, value)


def hyperbolic_secant_squared(x: Interval) -> Interval:
    """1 - tanh^2 = 4 e / (1 + e)^2, e = exp(-2 |x|), falling in |x|: relative accuracy where tanh is saturated."""

    def value(y: Interval) -> Interval:
        e = Interval.point(np.maximum(-2.0 * y.lower, -1400.0)).exp()
        return 4.0 * e / (1.0 + e).square()

    inner = _ends(abs(x), value, falling=True)
    return Interval(np.maximum(inner.lower, 0.0), np.minimum(inner.upper, 1.0))


def logistic(x: Interval) -> Interval:
    """1 / (1 + e^-x), increasing: e / (1 + e) with e = exp(-|x|) for x < 0, 1 / (1 + e) else, met with (1 + tanh(x / 2)) / 2, which is sharper near zero."""

    def value(y: Interval) -> Interval:
        e = Interval.point(-np.abs(y.lower)).exp()
        z = _select(y.lower < 0, e, _ONE) / (1.0 + e)
        return Interval(np.maximum(z.lower, 0.0), np.minimum(z.upper, 1.0))

    return _ends(x, value) & (hyperbolic_tangent(x * 0.5) * 0.5 + 0.5)


def logistic_slope(x: Interval) -> Interval:
    """e / (1 + e)^2, e = exp(-|x|), falling in |x|."""

    def value(y: Interval) -> Interval:
        e = Interval.point(-y.lower).exp()
        return e / (1.0 + e).square()

    inner = _ends(abs(x), value, falling=True)
    return Interval(np.maximum(inner.lower, 0.0), np.minimum(inner.upper, 0.25))


def arc_tangent(x: Interval) -> Interval:
    """atan x = 4 atan(z), z by two half-angle steps y / (1 + sqrt(1 + y^2)), |z| < 0.2; alternating series to z^27 / 27, what is left out is below 1e-20 |z|."""

    def value(y: Interval) -> Interval:
        big = np.abs(y.lower) > 1.0
        z = _select(big, _ONE / _select(big, y, _ONE), y)
        for _ in range(2):
            z = z / (1.0 + (1.0 + z.square()).sqrt())
        square = z.square()
        total = Interval.point(np.zeros(y.shape))
        for j in range(27, 0, -2):
            total = Interval.point(Fraction(1, j)) - square * total
        result = 4.0 * z * (total + Interval(np.full(y.shape, -1e-20), np.full(y.shape, 1e-20)))
        turned = HALF_PI * np.sign(y.lower) - result
        return _select(big, turned, result)

    return _ends(x, value)


def _select(mask: np.ndarray, a: Interval, b: Interval) -> Interval:
    return Interval(np.where(mask, a.lower, b.lower), np.where(mask, a.upper, b.upper))


def require(good: np.ndarray, what: str, x: Interval, expected: str) -> None:
    if not good.all():
        i = int(np.argmin(good))
        raise CertificateError(f"{what} is not defined on a stored set", found=f"[{x.lower[i]!r}, {x.upper[i]!r}]", expected=expected)
