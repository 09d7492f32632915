"""Jets: the first Taylor coefficients of a function of one variable, enclosed by Intervals; what the checker's activations are made of.

A Jet a holds enclosures of a_0, a_1, ... for every point of the interval that it was started from: started from one point it is the function's Taylor
polynomial there, started from a cell its last coefficient is Lagrange's remainder. Rules are the recurrences of power series (Griewank & Walther 2008, table 13.2).
"""

from __future__ import annotations

import numpy as np

from certify.core.interval import Interval

from .values import hyperbolic_secant_squared, hyperbolic_tangent, logistic, logistic_slope, trigonometric

Number = float | Interval


class Jet:
    """Coefficients a_0 .. a_K, each an Interval (B,)."""

    def __init__(self, parts: list[Interval]):
        self.parts = parts

    @classmethod
    def start(cls, x: Interval, order: int) -> Jet:
        """The variable itself on the intervals x."""
        zero = np.zeros(x.shape)
        return cls([x, *(Interval.point(zero + 1.0 if i == 1 else zero) for i in range(1, order + 1))])

    @property
    def order(self) -> int:
        return len(self.parts) - 1

    def __add__(self, other: Jet | Number) -> Jet:
        if isinstance(other, Jet):
            return Jet([a + b for a, b in zip(self.parts, other.parts)])
        return Jet([self.parts[0] + other, *self.parts[1:]])

    def __neg__(self) -> Jet:
        return Jet([-a for a in self.parts])

    def __sub__(self, other: Jet | Number) -> Jet:
        return self + -other

    def __mul__(self, other: Jet | Number) -> Jet:
        if not isinstance(other, Jet):
            return Jet([a * other for a in self.parts])
        return Jet([_total([self.parts[j] * other.parts[i - j] for j in range(i + 1)]) for i in range(self.order + 1)])

    def __truediv__(self, other: Jet) -> Jet:
        out: list[Interval] = []
        for i, a in enumerate(self.parts):
            out.append(_total([a, *(-(other.parts[j] * out[i - j]) for j in range(1, i + 1))]) / other.parts[0])
        return Jet(out)

    def _integrated(self, value: Interval, rate: list[Interval]) -> Jet:
        """b with b_0 = value and b' = rate a'; `rate` may grow while b does (it is read up to b's own order only)."""
        out = [value]
        for i in range(1, self.order + 1):
            out.append(_total([self.parts[j] * rate[i - j] * float(j) for j in range(1, i + 1)]) / float(i))
        return Jet(out)

    def exp(self) -> Jet:
        out = [self.parts[0].exp()]
        for i in range(1, self.order + 1):
            out.append(_total([self.parts[j] * out[i - j] * float(j) for j in range(1, i + 1)]) / float(i))
        return Jet(out)

    def tanh(self) -> Jet:
        """b' = (1 - b^2) a'; both b_0 and 1 - b_0^2 by their own stable formulas."""
        out, rate = [hyperbolic_tangent(self.parts[0])], [hyperbolic_secant_squared(self.parts[0])]
        for i in range(1, self.order + 1):
            out.append(_total([self.parts[j] * rate[i - j] * float(j) for j in range(1, i + 1)]) / float(i))
            rate.append(-_total([out[j] * out[i - j] for j in range(i + 1)]))
        return Jet(out)

    def sigmoid(self) -> Jet:
        """b' = (b - b^2) a'; b_0 and b_0 - b_0^2 by formulas that keep their relative accuracy where they are small."""
        out, rate = [logistic(self.parts[0])], [logistic_slope(self.parts[0])]
        for i in range(1, self.order + 1):
            out.append(_total([self.parts[j] * rate[i - j] * float(j) for j in range(1, i + 1)]) / float(i))
            rate.append(out[i] - _total([out[j] * out[i - j] for j in range(i + 1)]))
        return Jet(out)

    def softplus(self) -> Jet:
        """log(1 + e^a) = max(a, 0) + log1p(e^-|a|), its derivative the sigmoid."""
        a = self.parts[0]
        low, high = (np.maximum(e, 0.0) for e in (a.lower, a.upper))
        ends = [Interval.point(m) + Interval.point(-np.abs(e)).exp().log1p() for m, e in ((low, a.lower), (high, a.upper))]
        return self._integrated(Interval(ends[0].lower, ends[1].upper), self.sigmoid().parts)

    def erf(self) -> Jet:
        two_over_root_pi = Interval.from_text("1.128379167095512573896158903121545171688")
        return self._integrated(self.parts[0].erf(), [r * two_over_root_pi for r in (-(self * self)).exp().parts])

    def sin_cos(self) -> tuple[Jet, Jet]:
        sine, cosine = ([x] for x in trigonometric(self.parts[0]))
        for i in range(1, self.order + 1):
            s = _total([self.parts[j] * cosine[i - j] * float(j) for j in range(1, i + 1)]) / float(i)
            c = -_total([self.parts[j] * sine[i - j] * float(j) for j in range(1, i + 1)]) / float(i)
            sine.append(s)
            cosine.append(c)
        return Jet(sine), Jet(cosine)


def _total(parts: list[Interval]) -> Interval:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
