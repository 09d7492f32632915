"""The instructions of a tape. Each makes one new register from the registers a, b and the constant c: plain integers, so that kernels can read them."""

from __future__ import annotations

ADD, MUL, LIN, SHIFT, CONST, SQR, INV, SIN, COS, EXP, LOG, SQRT, TANH, ATAN = range(14)
"""a + b, a b, c a, a + c, c, a^2, 1 / a, then functions of a."""

NAMES = ("add", "mul", "lin", "shift", "const", "sqr", "inv", "sin", "cos", "exp", "log", "sqrt", "tanh", "atan")
FIRST_FUNCTION = INV
"""Opcodes from here on are smooth functions of one register: `series` has their Taylor coefficients."""

LIBRARY = frozenset({SIN, COS, EXP, LOG, TANH, ATAN})
"""Those whose values come from the platform's mathematical library, under the recorded assumption of `libm`."""

HAS_CONSTANT = frozenset({LIN, SHIFT, CONST})
