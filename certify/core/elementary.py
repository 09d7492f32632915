"""Ends of exp, expm1, log1p and erf: the only functions that the toolkit takes from a library, under one recorded assumption.

Assumption `LIBM`: on this platform numpy's exp, expm1, log1p return, for every float64, a value within 4 units in the last place of the true
one, SciPy's erf within 8 (relative error at most 2^-50 and 2^-49, or 4 and 8 eta where the result is subnormal). IEEE 754 promises nothing here and libraries
only document "known maximum errors" of 1 to 2 ulp (glibc manual), so this is an assumption, not a theorem. It is probed on a fixed
grid of correctly rounded values the first time that a function is used; a failing probe refuses every proof that needs it. Measured against
mpmath, 100 000 to 800 000 points each: exp 0.51 ulp, expm1 0.82, log1p 0.79, erf 2.96 (hence its 8).
Everything else (sigmoid, tanh, GELU, ...) is built from these four by interval operations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .errors import SoundnessError
from .rounding import ETA, MAX, down, exact_float64, up

LIBM = "libm within 4 ulp: numpy exp, expm1, log1p; scipy.special.erf within 8 ulp"
ULPS = {"exp": 4, "expm1": 4, "log1p": 4, "erf": 8}

Ends = tuple[np.ndarray, np.ndarray]


def exp(x: ArrayLike) -> Ends:
    """Arrays (lower, upper) with lower <= exp(x) <= upper, entry by entry, for every float64 x; exp(0) = 1 exactly, lower >= 0.

    Guarantee: under the assumption LIBM. x = inf gives (largest float, inf), x = -inf gives (0, 0). Raises SoundnessError for NaN and when the
    probe fails.

    >>> lo, hi = exp(1.0)
    >>> bool(lo < 2.718281828459045 < hi), float(hi - lo) < 1e-14
    (True, True)
    """
    lower, upper = _ends("exp", x)
    x = exact_float64(x)
    lower, upper = np.maximum(lower, 0.0), np.where(x == -math.inf, 0.0, upper)
    return np.where(x == 0, 1.0, lower), np.where(x == 0, 1.0, upper)


def expm1(x: ArrayLike) -> Ends:
    """Arrays (lower, upper) around exp(x) - 1; clipped by x <= expm1(x) and expm1 >= -1; expm1(0) = 0 exactly. As `exp`."""
    lower, upper = _ends("expm1", x)
    x = exact_float64(x)
    lower = np.maximum(lower, np.maximum(np.minimum(x, MAX), -1.0))
    return np.where(x == 0, 0.0, lower), np.where(x == 0, 0.0, np.maximum(upper, lower))


def log1p(x: ArrayLike) -> Ends:
    """Arrays (lower, upper) around log(1 + x) for x > -1; clipped by log1p(x) <= x; log1p(0) = 0 exactly. As `exp`; x <= -1 raises SoundnessError."""
    x = exact_float64(x)
    if not (x > -1).all():
        raise SoundnessError("log1p has a value above -1 only", found=float(np.min(x)))
    lower, upper = _ends("log1p", x)
    upper = np.minimum(upper, x)
    return np.where(x == 0, 0.0, lower), np.where(x == 0, 0.0, upper)


def erf(x: ArrayLike) -> Ends:
    """Arrays (lower, upper) around the error function 2 / sqrt(pi) int_0^x exp(-t^2) dt; clipped to [-1, 1]; erf(0) = 0 exactly. As `exp`."""
    lower, upper = _ends("erf", x)
    x = exact_float64(x)
    lower, upper = np.maximum(lower, -1.0), np.minimum(upper, 1.0)
    return np.where(x == 0, 0.0, lower), np.where(x == 0, 0.0, upper)


def _library(name: str) -> Callable[[np.ndarray], np.ndarray]:
    if name == "erf":
        from scipy import special

        return special.erf
    return getattr(np, name)


def _ends(name: str, x: ArrayLike) -> Ends:
    """The library value, moved by ULPS of itself and one next-up (relative, which covers both sides of a power of two)."""
    _probe(name)
    x = exact_float64(x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        y = np.asarray(_library(name)(x))
        if np.isnan(y).any():
            raise SoundnessError(f"{name} has no value", found="NaN")
        radius = np.abs(y) * (ULPS[name] * 2.0**-52 * (1 + 2.0**-40)) + ULPS[name] * ETA
        lower, upper = down(np.asarray(y - radius)), up(np.asarray(y + radius))
    top = MAX * (1 - 2.0**-48)  # overflow: the true value may still lie 4 ulp below the range
    top_lower = np.where(x == math.inf, MAX, top)
    return np.where(y == math.inf, top_lower, lower), np.where(y == math.inf, math.inf, upper)


@functools.cache
def _probe(name: str) -> None:
    """Compare the library with the stored correctly rounded values, in long arrays (vectorised loops) and one by one."""
    x, y = (np.array(c) for c in zip(*((x, float.fromhex(h)) for x, h in _GRID[name]), strict=True))
    many = _library(name)(np.tile(x, 9))
    single = np.array([_library(name)(np.array([v]))[0] for v in x])
    gap = np.spacing(np.abs(y))
    for values, truth, ulp in ((many, np.tile(y, 9), np.tile(gap, 9)), (single, y, gap)):
        bad = ~(np.abs(values - truth) <= 0.75 * ULPS[name] * ulp)
        if bad.any():
            i = int(bad.argmax())
            got, want = values[i].item().hex(), truth[i].item().hex()
            raise SoundnessError(f"this platform's {name} is not within {ULPS[name]} ulp", where=f"x = {x[i % len(x)]!r}", found=got, expected=want)


_GRID: dict[str, tuple[tuple[float, str], ...]] = {  # x and the correctly rounded value (mpmath, 400 bits)
    "exp": (
        (-745.0, "0x0.0000000000001p-1022"), (-708.3, "0x1.19e98b83de7a3p-1022"), (-300.7, "0x1.225720438e36dp-434"), (-50.3, "0x1.5979b805a3ba7p-73"),
        (-20.2, "0x1.cfdd5b598d051p-30"), (-7.77, "0x1.bab902c420358p-12"), (-3.1, "0x1.710b065fb809fp-5"), (-1.9, "0x1.325108408d817p-3"),
        (-1.0, "0x1.78b56362cef38p-2"), (-0.6, "0x1.18fdd6b9604e3p-1"), (-0.34, "0x1.6c6d28e50ebb5p-1"), (-0.1, "0x1.cf46d99d52b3ap-1"),
        (-1e-5, "0x1.fffeb07515653p-1"), (1e-10, "0x1.000000006df38p+0"), (0.05, "0x1.0d201a422a433p+0"), (0.2, "0x1.38add9e58ac8dp+0"),
        (0.3465, "0x1.6a03146cf6eadp+0"), (0.5, "0x1.a61298e1e069cp+0"), (1.0, "0x1.5bf0a8b145769p+1"), (1.7, "0x1.5e552770df8a7p+2"),
        (2.3, "0x1.3f2c80aef884dp+3"), (5.5, "0x1.e96244f21bbf6p+7"), (11.1, "0x1.027b2900cb734p+16"), (37.7, "0x1.4f5e50e4f6f14p+54"),
        (88.8, "0x1.148906c06fc8ap+128"), (250.1, "0x1.c353bf762df79p+360"), (600.4, "0x1.24ddfd47bec4fp+866"), (709.7, "0x1.d75ae7a50ee14p+1023"),
    ),
    "expm1": (
        (-40.5, "-0x1.0000000000000p+0"), (-37.0, "-0x1.fffffffffffffp-1"), (-20.1, "-0x1.ffffffeffacd5p-1"), (-5.3, "-0x1.fd71bde6d46edp-1"),
        (-2.2, "-0x1.c744cef5149dep-1"), (-1.0, "-0x1.43a54e4e98864p-1"), (-0.7, "-0x1.01bf92311555fp-1"), (-0.5, "-0x1.92e9a0720d3ecp-2"),
        (-0.3, "-0x1.0966f2c7907f6p-2"), (-0.1, "-0x1.85c933156a62cp-4"), (-0.01, "-0x1.460c0b518c09fp-7"), (-1e-5, "-0x1.4f8aea9acf2c9p-17"),
        (-1e-12, "-0x1.19799812de065p-40"), (1e-300, "0x1.56e1fc2f8f359p-997"), (1e-15, "0x1.203af9ee75619p-50"), (1e-7, "0x1.ad7f2b1414adbp-24"),
        (1e-3, "0x1.06466dfb8cf3ap-10"), (0.05, "0x1.a403484548655p-5"), (0.2, "0x1.c56ecf2c56468p-3"), (0.4, "0x1.f7a0e4beeff80p-2"),
        (0.6, "0x1.a4ecc162353dep-1"), (1.0, "0x1.b7e151628aed3p+0"), (2.5, "0x1.65d6fd931e0bbp+3"), (10.3, "0x1.d08e79b492870p+14"),
        (37.9, "0x1.999eb2c75f6f5p+54"), (100.1, "0x1.5508d07df81bbp+144"), (700.5, "0x1.8625c7d4f56c2p+1010"), (709.7, "0x1.d75ae7a50ee14p+1023"),
    ),
    "log1p": (
        (-0.9999999, "-0x1.01e3b8440ed2fp+4"), (-0.999, "-0x1.ba18a998fff9fp+2"), (-0.9, "-0x1.26bb1bbb55516p+1"), (-0.7, "-0x1.34378fcbda720p+0"),
        (-0.5, "-0x1.62e42fefa39efp-1"), (-0.4, "-0x1.058aefa811452p-1"), (-0.3, "-0x1.6d3c324e13f4ep-2"), (-0.2, "-0x1.c8ff7c79a9a22p-3"),
        (-0.1, "-0x1.af8e8210a415ep-4"), (-0.01, "-0x1.495453e6fd4b7p-7"), (-1e-6, "-0x1.0c6f82d72bfbdp-20"), (-1e-14, "-0x1.6849b86a12bbbp-47"),
        (1e-300, "0x1.56e1fc2f8f359p-997"), (1e-16, "0x1.cd2b297d889bcp-54"), (1e-9, "0x1.12e0be801f1d9p-30"), (1e-4, "0x1.a368d06580001p-14"),
        (0.02, "0x1.44723d272a7f1p-6"), (0.1, "0x1.8663f793c46c7p-4"), (0.3, "0x1.0ca937be1b9dcp-2"), (0.41421356, "0x1.62e42fd2cf8f5p-2"),
        (0.5, "0x1.9f323ecbf984cp-2"), (0.8, "0x1.2cf25fad8f1c4p-1"), (1.0, "0x1.62e42fefa39efp-1"), (3.3, "0x1.7567cb4bf2df7p+0"),
        (10.1, "0x1.3416c6fdbf42dp+1"), (1e5, "0x1.7069f7a2d94f6p+3"), (1e20, "0x1.7069e2aa2aa5bp+5"), (1e300, "0x1.5963447f87fb5p+9"),
    ),
    "erf": (
        (-5.8, "-0x1.ffffffffffffep-1"), (-3.3, "-0x1.ffff9966790c8p-1"), (-1.7, "-0x1.f7b3620b8747bp-1"), (-0.9, "-0x1.98045a6c8a2e6p-1"),
        (-0.4, "-0x1.b6ac7c4b20a05p-2"), (-1e-3, "-0x1.27cc3804d374cp-10"), (1e-300, "0x1.82e6d98711d3ap-997"), (1e-20, "0x1.aa4a230244ae0p-67"),
        (1e-10, "0x1.f044332d68161p-34"), (1e-5, "0x1.7a9f084b5e44cp-17"), (0.01, "0x1.71bc266657b66p-7"), (0.1, "0x1.cca5ea24fb334p-4"),
        (0.3, "0x1.50838881dea0fp-2"), (0.47, "0x1.f9984d7878668p-2"), (0.6, "0x1.352ca0235d4f7p-1"), (0.8, "0x1.7bf4a85b7fb83p-1"),
        (0.84375, "0x1.88d1cd474a2e0p-1"), (0.99, "0x1.ad50ee005845bp-1"), (1.0, "0x1.af767a741088bp-1"), (1.1, "0x1.c2aa3d27302c0p-1"),
        (1.25, "0x1.d8865d98abe01p-1"), (1.6, "0x1.f3e3ef6fef78ap-1"), (2.0, "0x1.fd9ae142795e3p-1"), (2.5, "0x1.ffcaa8f4c9beap-1"),
        (3.0, "0x1.fffd1ac4135f9p-1"), (4.0, "0x1.ffffff7b91176p-1"), (5.0, "0x1.fffffffffc9e8p-1"), (5.9, "0x1.fffffffffffffp-1"),
    ),
}
