"""exp and tanh of our own for the kernels: only + - * / on floats, so that their error is proved and not an assumption on a library.

Notation: u = 2^-53, eta = 2^-1074. With k the nearest integer to y / ln 2, y = k ln 2 + t and |t| <= 0.3466, hence exp(y) = 2^k (1 + p(t)),
p(t) = e^t - 1.

`reduced` for -700 <= y <= 0. LN2_HIGH has 42 bits and |k| <= 1010 has 10, so k LN2_HIGH is exact; y - k LN2_HIGH is rounded once (size below 0.3467), k LN2_LOW
is below 6e-11 with one rounding, their difference is rounded once, and LN2_HIGH + LN2_LOW is within 2e-31 of ln 2: |t~ - t| <= 0.7 u, and
t~ = y exactly for k = 0. The Taylor sum p = t + t^2 h(t), h = 1/2 + ... + t^11/13!, leaves out less than |t|^14 / 14! / 0.6 <= 7e-18 <= 0.07 u, less
than 0.2 u |t|. Horner with rounded coefficients gives h within 24 u h(|t|) <= 14 u; t^2 h has three roundings on t^2 h <= 0.07, and the last addition one:
|p~ - p| <= 0.7 u * 1.42 + 14 u t^2 + 0.3 u + 0.43 u <= 3.5 u for k < 0, and <= 14 u t^2 + 0.1 u |t| + 0.2 u |t| + u |p| <= 7.5 u |p| for k = 0 (as |p| >= 0.84 |t|,
|t| <= 0.3466); an underflow of t^2 h costs one eta. 2^k p~ is exact.

exp: 2^k (1 + p~) has one more rounding, 1 + p >= 0.7: within 4.5 u / 0.7 <= 8 u relative.
expm1 = (2^k - 1) + 2^k p~, k < 0: error at most 3.5 u / 2 + u / 2 (2^k - 1 is exact for k >= -53, else off by u / 2 while 2^k p~ is below u), then one rounding; its
size is at least 1 - e^-0.3465 = 0.29: within 9 u relative. Below y = -40 the value -1 is within e^-40 < 0.04 u.
tanh|x| = -m / (2 + m), m = expm1(-2|x|) in (-1, 0]: the relative condition 2 / (2 + m) is at most 2, so 18 u from m and two roundings: 20 u |tanh x| + 2 eta.
"""

from __future__ import annotations

import math

import numpy as np

from ...sets.jit import jit

TANH_ERROR = 21 * 2.0**-53  # |tanh(x) computed - tanh x| <= TANH_ERROR |tanh x computed| + 2^-1000
EXP_ERROR = 9 * 2.0**-53  # |exp(y) computed - e^y| <= EXP_ERROR * computed, -700 <= y <= 0

_INV_LN2 = 1.4426950408889634
_LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")
_LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
_POWERS = 2.0 ** -np.arange(1020.0)
_C = tuple(1.0 / math.factorial(j) for j in range(14))


@jit
def reduced(y):
    """(k, p) with exp(-y') = 2^-k (1 + p), y = -y' in [-700, 0]; error as in the module's text."""
    k = math.floor(0.5 - y * _INV_LN2)
    t = (y + k * _LN2_HIGH) + k * _LN2_LOW
    h = _C[8] + t * (_C[9] + t * (_C[10] + t * (_C[11] + t * (_C[12] + t * _C[13]))))
    h = _C[2] + t * (_C[3] + t * (_C[4] + t * (_C[5] + t * (_C[6] + t * (_C[7] + t * h)))))
    return int(k), t + (t * t) * h


@jit
def exp_negative(y):
    """e^y for -700 <= y <= 0, within EXP_ERROR relative."""
    k, p = reduced(y)
    return _POWERS[k] * (1.0 + p)


@jit
def tanh(x):
    """tanh x for every finite x, within TANH_ERROR relative (and 2^-1000); odd, never beyond +-1."""
    a = abs(x)
    if a > 20.0:
        return math.copysign(1.0, x)
    k, p = reduced(-2.0 * a)
    s = _POWERS[k]
    m = p if k == 0 else s * p + (s - 1.0)
    return math.copysign(-m / (2.0 + m), x)


@jit
def tanh_slope(x):
    """(below, above): floats around tanh'(x) = 4 e / (1 + e)^2, e = e^(-2|x|): 9 u for e, 2 * 10 u for (1 + e)^2, two roundings; 4e-15 covers them."""
    y = -2.0 * abs(x)
    if y < -700.0:
        return 0.0, 1e-303  # 4 e^-700 = 3.9e-304
    e = exp_negative(y)
    s = 4.0 * e / ((1.0 + e) * (1.0 + e))
    return s * (1.0 - 4e-15), min(1.0, s * (1.0 + 4e-15))
