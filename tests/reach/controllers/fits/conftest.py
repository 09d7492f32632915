"""Ground truth for fits: the exact error at the worst points that a search finds, and twins of our modules with one line broken."""

from __future__ import annotations

import types
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from truth.activations import exact_quotient, exact_value


def exact(x: Fraction) -> mpf:
    return mpf(x.numerator) / x.denominator


def true_error(kind, parameters, fits, i, z) -> mpf:
    """|q(t) - f(z)| with enough digits; t = (z - m) / w exact."""
    with mpmath.workdps(60 if max(abs(z), fits.radius[i]) < 1e4 else 420):
        t = (Fraction(float(z)) - Fraction(float(fits.centre[i]))) / Fraction(float(fits.radius[i]))
        q = Fraction(0)
        for c in fits.coefficients[i][::-1]:
            q = q * t + Fraction(float(c))
        return abs(exact(q) - exact_value(kind, parameters, float(z)))


def worst_points(act, fits, i, lower, upper, extra=()) -> np.ndarray:
    """Floats in [lower, upper]: the ends, the given points, and where a float search of two levels sees the largest errors."""
    m, w = fits.centre[i], fits.radius[i]
    points = np.unique(np.clip(np.r_[lower, upper, m + w * np.linspace(-1, 1, 801), lower, list(extra)], lower, upper))
    keep = [lower, upper, *[x for x in extra if lower <= x <= upper]]
    for _ in range(2):
        with np.errstate(all="ignore"):
            e = np.polynomial.polynomial.polyval((points - m) / w, fits.coefficients[i]) - act.value(points)
        e = np.where(np.isfinite(e), e, 0.0)
        top = points[[e.argmax(), e.argmin()]]
        keep.extend(top)
        step = w / 400
        points = np.unique(np.clip(np.concatenate([x + step * np.linspace(-1, 1, 101) for x in top]), lower, upper))
    return np.unique(np.array(keep))


@pytest.fixture(scope="session")
def violations():
    """violations(activation, parameters, lower, upper, fits) -> what is false in the claim of `Fits`, at the points tried; and the largest true errors."""

    def search(act, parameters, lower, upper, fits, slopes=True):
        found, largest = [], []
        rng = np.random.default_rng(0)
        knots = [0.0, -3.0, 3.0, *[float(v) for k, v in parameters.items() if k in ("min", "max", "lambda")]]
        for i, (lo, hi) in enumerate(zip(np.ravel(lower), np.ravel(upper))):
            m, w = Fraction(float(fits.centre[i])), Fraction(float(fits.radius[i]))
            if not (w > 0 and m - w <= Fraction(float(lo)) and Fraction(float(hi)) <= m + w):
                found.append((act.kind, i, "t beyond 1"))
            truth = [(true_error(act.kind, parameters, fits, i, z), float(z)) for z in worst_points(act, fits, i, lo, hi, knots)]
            worst, z = max(truth)
            largest.append(float(worst))
            if not worst <= mpf(float(fits.error[i])):
                found.append((act.kind, parameters, i, [lo, hi], z, float(worst), float(fits.error[i])))
            if slopes and lo < hi:
                for a, b in [(lo, hi), *np.sort(rng.uniform(0, 1, (2, 2)) * (hi / 2 - lo / 2) * 2 + lo)]:
                    a, b = max(lo, a), min(hi, b)
                    s = exact_quotient(act.kind, parameters, a, b) if a < b else None
                    if s is not None and not mpf(float(fits.slope_lower[i])) <= s <= mpf(float(fits.slope_upper[i])):
                        found.append((act.kind, parameters, "slope", [a, b], float(s), fits.slope_lower[i], fits.slope_upper[i]))
        return found, np.array(largest)

    return search


@pytest.fixture(scope="session")
def broken():
    """broken(module, (old, new), ...) -> the module with these texts exchanged, its own kernels in plain Python."""

    def twin(module, *changes):
        text = Path(module.__file__).read_text()
        for old, new in changes:
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        text = text.replace("from ...sets.jit import jit", "def jit(f):\n    return f\n")
        out = types.ModuleType(module.__name__ + "_broken")
        out.__package__ = module.__package__
        exec(compile(text, module.__file__, "exec"), out.__dict__)
        return out

    return twin
