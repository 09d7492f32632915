"""Ends of the platform's sin, cos, exp, log, tanh, atan as compiled code calls them: the assumption under every such bound of `reach`, and its probe.

Assumption `LIBM`: for every float64 the library's value is within 4 units in the last place of the true one (relative error at most 2^-50, or 4 eta
where the result is subnormal). As in `certify.core.elementary`, libraries document 1 to 2 ulp and IEEE 754 promises nothing, so this is an
assumption; it is probed once per process against correctly rounded values, and a failing probe refuses every tape that needs it.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from certify.core.errors import SoundnessError
from certify.core.scalar import MAX

from ..sets.jit import jit
from .opcodes import ATAN, COS, EXP, LOG, NAMES, SIN, TANH

LIBM = "libm within 4 ulp: sin, cos, exp, log, tanh, atan as compiled by numba"
ULPS = 4
_RELATIVE = ULPS * 2.0**-52 * (1 + 2.0**-40)
_ABSOLUTE = ULPS * 2.0**-1074


@jit
def library(op, x):
    """The library's value; NaN for another opcode."""
    if op == SIN:
        return math.sin(x)
    if op == COS:
        return math.cos(x)
    if op == EXP:
        return math.exp(x)
    if op == LOG:
        return math.log(x)
    if op == TANH:
        return math.tanh(x)
    if op == ATAN:
        return math.atan(x)
    return np.nan


@jit
def exact_value(op, x):
    """The value where it is known exactly: at 0, or at 1 for LOG; NaN elsewhere."""
    if x == 0.0:
        if op == SIN or op == TANH or op == ATAN:
            return 0.0
        if op == COS or op == EXP:
            return 1.0
    if x == 1.0 and op == LOG:
        return 0.0
    return np.nan


@jit
def value_below(op, x):
    """A float <= op(x) under LIBM, for a finite x where op is defined; the largest float where the library overflows."""
    y = exact_value(op, x)
    if y == y:
        return y
    y = library(op, x)
    if y == np.inf:
        return MAX * (1 - 2.0**-48)  # the true value may still lie 4 ulp below the range
    y = np.nextafter(y - (abs(y) * _RELATIVE + _ABSOLUTE), -np.inf)
    if op == EXP:
        return max(y, 0.0)
    return y if op == LOG or op == ATAN else max(y, -1.0)


@jit
def value_above(op, x):
    """A float >= op(x) under LIBM; infinity where the library overflows."""
    y = exact_value(op, x)
    if y == y:
        return y
    y = library(op, x)
    y = np.nextafter(y + (abs(y) * _RELATIVE + _ABSOLUTE), np.inf)
    return y if op == EXP or op == LOG or op == ATAN else min(y, 1.0)


@jit
def _values(op, x):
    y = np.empty(len(x))
    for i in range(len(x)):
        y[i] = library(op, x[i])
    return y


@functools.cache
def require_libm() -> None:
    """SoundnessError unless the library, called by compiled code, meets the stored values; once per process, under a millisecond after compilation."""
    for op, stored in _STORED.items():
        x, truth = stored_values(stored)
        many = _values(op, np.tile(x, 5)).reshape(5, -1)
        bad = ~(np.abs(many - truth) <= 0.75 * ULPS * np.spacing(np.abs(truth)))
        if bad.any():
            i = int(np.argmax(bad.any(0)))
            what = f"this platform's {NAMES[op]} is not within {ULPS} ulp"
            raise SoundnessError(what, where=f"x = {float(x[i])!r}", found=float(many[0, i]).hex(), expected=float(truth[i]).hex())


def stored_values(stored: str) -> tuple[np.ndarray, np.ndarray]:
    """Arguments and correctly rounded values, from pairs of words."""
    words = stored.split()
    return np.array([float(word) for word in words[::2]]), np.array([float.fromhex(word) for word in words[1::2]])


_STORED = {  # x and the correctly rounded value (mpmath, 1600 bits)
    SIN: """
        -100000000.0 -0x1.dcffca623a20bp-1  -7500000.0 -0x1.c679c66e6a0e2p-2  -1234567.5 0x1.034e9d0777258p-3  -1000.25 -0x1.e1702343c0531p-1
        -22.0 0x1.220a29f6eb9f4p-7  -11.0 0x1.fffeb762e93ebp-1  -3.141592653589793 -0x1.1a62633145c07p-53  -2.5 -0x1.326af0dcfcab1p-1
        -1.5707963267948966 -0x1.0000000000000p+0  -0.8 -0x1.6f494c2bffecdp-1  -0.001 -0x1.0624da5218a62p-10  1e-300 0x1.56e1fc2f8f359p-997
        1e-09 0x1.12e0be826d695p-30  0.1 0x1.98eaecb8bcb2cp-4  0.3 0x1.2e9cd95baba33p-2  0.7853981633974483 0x1.6a09e667f3bccp-1
        1.1 0x1.c84c54c2d6338p-1  1.5 0x1.feb7a9b2c6d8bp-1  2.0 0x1.d18f6ead1b446p-1  3.0 0x1.210386db6d55bp-3
        3.2 -0x1.de33739e82d32p-5  4.7 -0x1.fff5f0f37ec52p-1  6.283185307179586 -0x1.1a62633145c07p-52  9.9 -0x1.d4844a120b670p-2
        50.5 0x1.dbe6c65612085p-3  355.0 -0x1.f9bd0307d1de3p-16  99999.125 0x1.9476a7878ad49p-1  50000000.0 0x1.a6bb2b80d0cf6p-1
    """,
    COS: """
        -100000000.0 -0x1.741b388a8c029p-2  -7500000.0 0x1.cacf74f228121p-1  -1234567.5 -0x1.fbe120ab8bbfdp-1  -1000.25 0x1.5c7d948a31cf2p-2
        -22.0 -0x1.fffadd8d4acdap-1  -11.0 0x1.220ae41ee2fdfp-8  -4.71238898038469 -0x1.a79394c9e8a0ap-53  -2.5 -0x1.9a2f7ef858b7dp-1
        -1.5707963267948966 0x1.1a62633145c07p-54  -0.8 0x1.64b6bde719865p-1  -0.001 0x1.ffffef390876cp-1  1e-300 0x1.0000000000000p+0
        1e-09 0x1.0000000000000p+0  0.1 0x1.fd712f9a817c1p-1  0.3 0x1.e921dd42f09bap-1  0.7853981633974483 0x1.6a09e667f3bcdp-1
        1.1 0x1.d07b806c76111p-2  1.5 0x1.21bd54fc5f9a7p-4  2.0 -0x1.aa22657537205p-2  3.0 -0x1.fae04be85e5d2p-1
        3.2 -0x1.ff207e2b9cbb6p-1  4.7 -0x1.95f3a43506a34p-7  6.283185307179586 0x1.0000000000000p+0  7.853981633974483 0x1.60fafbfd97309p-52
        50.5 0x1.f1fc1bef92911p-1  355.0 -0x1.fffffffc18e4cp-1  99999.125 -0x1.39ee95a09f210p-1  50000000.0 0x1.20dd2cbadfca7p-1
    """,
    EXP: """
        -745.0 0x0.0000000000001p-1022  -708.3 0x1.19e98b83de7a3p-1022  -300.7 0x1.225720438e36dp-434  -50.3 0x1.5979b805a3ba7p-73
        -20.2 0x1.cfdd5b598d051p-30  -7.77 0x1.bab902c420358p-12  -3.1 0x1.710b065fb809fp-5  -1.9 0x1.325108408d817p-3
        -1.0 0x1.78b56362cef38p-2  -0.6 0x1.18fdd6b9604e3p-1  -0.34 0x1.6c6d28e50ebb5p-1  -0.1 0x1.cf46d99d52b3ap-1
        -1e-05 0x1.fffeb07515653p-1  1e-10 0x1.000000006df38p+0  0.05 0x1.0d201a422a433p+0  0.2 0x1.38add9e58ac8dp+0
        0.3465 0x1.6a03146cf6eadp+0  0.5 0x1.a61298e1e069cp+0  1.0 0x1.5bf0a8b145769p+1  1.7 0x1.5e552770df8a7p+2
        2.3 0x1.3f2c80aef884dp+3  5.5 0x1.e96244f21bbf6p+7  11.1 0x1.027b2900cb734p+16  37.7 0x1.4f5e50e4f6f14p+54
        88.8 0x1.148906c06fc8ap+128  250.1 0x1.c353bf762df79p+360  600.4 0x1.24ddfd47bec4fp+866  709.7 0x1.d75ae7a50ee14p+1023
    """,
    LOG: """
        5e-324 -0x1.74385446d71c3p+9  1e-310 -0x1.64e69394d9508p+9  2.3e-308 -0x1.622e809940dffp+9  1e-200 -0x1.cc845b54b54f2p+8
        1e-30 -0x1.144f69ff9ffc4p+6  1e-05 -0x1.7069e2aa2aa5bp+3  0.01 -0x1.26bb1bbb55515p+2  0.3 -0x1.34378fcbda721p+0
        0.5 -0x1.62e42fefa39efp-1  0.6 -0x1.058aefa811452p-1  0.7071067811865476 -0x1.62e42fefa39eep-2  0.8 -0x1.c8ff7c79a9a20p-3
        0.9 -0x1.af8e8210a415cp-4  0.99 -0x1.495453e6fd4bcp-7  0.9999999 -0x1.ad7f2b1049b9fp-24  0.9999999999999999 -0x1.0000000000000p-53
        1.0000000000000002 0x1.fffffffffffffp-53  1.00000001 0x1.5798ede32d4d7p-27  1.01 0x1.460d6ccca367cp-7  1.1 0x1.8663f793c46ccp-4
        1.3 0x1.0ca937be1b9dcp-2  1.4142135623730951 0x1.62e42fefa39f0p-2  1.9 0x1.48a11293d785bp-1  2.0 0x1.62e42fefa39efp-1
        2.718281828459045 0x1.0000000000000p+0  7.0 0x1.f2272ae325a57p+0  10000000000.0 0x1.7069e2aa2aa5bp+4  1e+308 0x1.62991d5d62a5ep+9
    """,
    TANH: """
        -30.0 -0x1.0000000000000p+0  -19.1 -0x1.0000000000000p+0  -18.0 -0x1.ffffffffffffcp-1  -5.5 -0x1.fffb9f2fc1e91p-1
        -2.2 -0x1.f3949a819042dp-1  -1.0 -0x1.85efab514f394p-1  -0.7 -0x1.356fb17af2e91p-1  -0.55 -0x1.00442f6419203p-1
        -0.5 -0x1.d9353d7568af3p-2  -0.3 -0x1.2a4dda7d914fap-2  -0.1 -0x1.983d7795f413ap-4  -0.001 -0x1.0624d77516ce2p-10
        -1e-09 -0x1.12e0be826d695p-30  1e-300 0x1.56e1fc2f8f359p-997  1e-15 0x1.203af9ee75616p-50  1e-05 0x1.4f8b588e06854p-17
        0.02 0x1.47a2e5a063f19p-6  0.2 0x1.9439830b3a590p-3  0.4 0x1.8511573c242d6p-2  0.6 0x1.12f8292d2ccfcp-1
        0.9 0x1.6ebe982d6605dp-1  1.2 0x1.aad4c6d28dcafp-1  1.7 0x1.deedf00d3e7f5p-1  2.5 0x1.f9258260a71c2p-1
        4.0 0x1.ffa81708a0b42p-1  9.0 0x1.fffffefa59d78p-1  15.5 0x1.ffffffffffd94p-1  21.9 0x1.0000000000000p+0
    """,
    ATAN: """
        -1e+300 -0x1.921fb54442d18p+0  -1e+17 -0x1.921fb54442d18p+0  -100000.0 -0x1.921f0d7e968a8p+0  -30.5 -0x1.89bbc196ec7fep+0
        -5.0 -0x1.5f97315254857p+0  -2.4375 -0x1.2e75728833a54p+0  -1.6 -0x1.031f57e54adbep+0  -1.1875 -0x1.bde70ed439fe7p-1
        -1.0 -0x1.921fb54442d18p-1  -0.7 -0x1.38b112d7bd4adp-1  -0.6875 -0x1.345f01cce37bbp-1  -0.4375 -0x1.a64eec3cc23fdp-2
        -0.4 -0x1.85a376b677dc0p-2  -0.1 -0x1.983e282e2cc4dp-4  -0.0001 -0x1.a36e2e9a4f662p-14  1e-300 0x1.56e1fc2f8f359p-997
        1e-20 0x1.79ca10c924223p-67  1e-09 0x1.12e0be826d695p-30  0.01 0x1.47ab48b1efb5dp-7  0.2 0x1.94441f8f7260cp-3
        0.43 0x1.9fd82b5dc5e5fp-2  0.5 0x1.dac670561bb4fp-2  0.8 0x1.5977a5103ea93p-1  1.05 0x1.9e9bf3d20dc71p-1
        1.3 0x1.d488143ad8c44p-1  2.0 0x1.1b6e192ebbe44p+0  3.7 0x1.4e8c94dbf54e5p+0  1000000000.0 0x1.921fb53ff74e9p+0
    """,
}
