"""Exact sympy expressions -> a Tape. Equal instructions are written once, so common subexpressions, x**2 and x**4 included, are shared."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from certify.core.errors import InputError

from . import opcodes as code
from .constants import enclose_number
from .tape import Tape

_FUNCTIONS = {"sin": code.SIN, "cos": code.COS, "exp": code.EXP, "log": code.LOG, "tanh": code.TANH, "atan": code.ATAN}
_ROOTS = {2: 1, 4: 2, 8: 3}


def build_tape(names: Sequence[str], expressions: Sequence[sp.Expr], places: Sequence[str] = ()) -> Tape:
    """The Tape of exact expressions (as `read_expression` returns them) over `names`.

    Every register's true value is the exact value of its subexpression; only constants that are no floats carry a radius. Sums and products
    run in the order of their registers, so that equal parts of different formulas meet.

    Args:
        names: the inputs, in order.
        expressions: one per output.
        places: one place per expression, for messages.
    Raises:
        InputError: a constant that cannot be enclosed in float64.

    >>> x = sp.Symbol("x")
    >>> build_tape(["x"], [x**2 + x**4, x / 2])
    Tape(x -> x^2 + (x^2)^2; 0.5*x)
    """
    builder = _Builder(names)
    outputs = []
    for i, expression in enumerate(expressions):
        builder.where = places[i] if i < len(places) else f"formula {i}"
        try:
            outputs.append(builder.register(expression))
        except RecursionError:
            raise InputError("a formula is nested too deeply", where=builder.where, hint="split it") from None
    op, a, b, c, r = zip(*builder.rows, strict=True) if builder.rows else ((), (), (), (), ())
    return Tape(tuple(names), op, a, b, c, r, outputs)  # type: ignore[arg-type]


class _Builder:
    """Instructions so far, and the register of every expression met."""

    def __init__(self, names: Sequence[str]):
        self.size, self.where = len(names), ""
        self.rows: list[tuple[int, int, int, float, float]] = []
        self.known: dict[tuple[int, int, int, float, float], int] = {}
        self.memo: dict[sp.Expr, int] = {sp.Symbol(name): i for i, name in enumerate(names)}

    def emit(self, op: int, a: int = 0, b: int = 0, constant: sp.Expr | None = None) -> int:
        c, r = (0.0, 0.0) if constant is None else enclose_number(constant, self.where)
        if op in (code.ADD, code.MUL):
            a, b = min(a, b), max(a, b)
            if op == code.MUL and a == b:
                op, b = code.SQR, 0
        row = (op, a, b, c, r)
        if row not in self.known:
            self.rows.append(row)
            self.known[row] = self.size + len(self.rows) - 1
        return self.known[row]

    def register(self, e: sp.Expr) -> int:
        if e not in self.memo:
            self.memo[e] = self.build(e)
        return self.memo[e]

    def build(self, e: sp.Expr) -> int:
        if not e.free_symbols:
            return self.emit(code.CONST, constant=e)
        if e.is_Add or e.is_Mul:
            return self.chain(e)
        if e.is_Pow:
            return self.power(e.base, e.exp)
        return self.function(e)

    def chain(self, e: sp.Expr) -> int:
        """Numbers first become one exact constant; a Mul's reciprocals follow its other factors."""
        op, last = (code.ADD, code.SHIFT) if e.is_Add else (code.MUL, code.LIN)
        numbers = [part for part in e.args if not part.free_symbols]
        registers = sorted(self.register(part) for part in e.args if part.free_symbols)
        total = registers[0]
        for register in registers[1:]:
            total = self.emit(op, total, register)
        return self.emit(last, total, constant=e.func(*numbers)) if numbers else total

    def power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent.is_Rational:
            p, q = int(exponent.p), int(exponent.q)
            if q == 1 or q in _ROOTS:
                root = self.register(base)
                for _ in range(_ROOTS.get(q, 0)):
                    root = self.emit(code.SQRT, root)
                value = self.integer_power(root, abs(p))
                return value if p > 0 else self.emit(code.INV, value)
        if not base.free_symbols:
            return self.emit(code.EXP, self.scaled(self.register(exponent), sp.log(base)))
        logarithm = self.emit(code.LOG, self.register(base))
        if not exponent.free_symbols:
            return self.emit(code.EXP, self.scaled(logarithm, exponent))
        return self.emit(code.EXP, self.emit(code.MUL, logarithm, self.register(exponent)))

    def scaled(self, register: int, factor: sp.Expr) -> int:
        return register if factor == 1 else self.emit(code.LIN, register, constant=factor)

    def integer_power(self, base: int, n: int) -> int:
        """base^n, n >= 1, by squarings."""
        if n == 1:
            return base
        half = self.emit(code.SQR, self.integer_power(base, n // 2))
        return half if n % 2 == 0 else self.emit(code.MUL, half, base)

    def function(self, e: sp.Expr) -> int:
        name, x = type(e).__name__, e.args[0]
        if name in _FUNCTIONS:
            return self.emit(_FUNCTIONS[name], self.register(x))
        if name in ("sinh", "cosh"):
            sign = -1 if name == "sinh" else 1
            back = self.emit(code.EXP, self.register(-x))
            total = self.emit(code.ADD, self.register(sp.exp(x)), self.scaled(back, sp.Integer(sign)))
            return self.emit(code.LIN, total, constant=sp.Rational(1, 2))
        argument = self.register(x)
        sine, cosine = (lambda: self.emit(code.SIN, argument)), (lambda: self.emit(code.COS, argument))
        if name == "tan":
            return self.emit(code.MUL, sine(), self.emit(code.INV, cosine()))
        if name == "cot":
            return self.emit(code.MUL, cosine(), self.emit(code.INV, sine()))
        if name == "sec":
            return self.emit(code.INV, cosine())
        if name == "csc":
            return self.emit(code.INV, sine())
        raise InputError(f"there is no rule for {name}", where=self.where, found=str(e)[:80])
