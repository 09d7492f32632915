"""The formula of a register as text, for messages."""

from __future__ import annotations

from typing import Any

from . import opcodes as code

_SUM, _PRODUCT, _POWER, _ATOM = range(4)


def render(tape: Any, register: int, limit: int = 120) -> str:
    """The formula that `register` of the tape holds, cut after `limit` characters; constants as the floats that stand for them."""
    budget = [4 * limit + 40]  # a shared subexpression is written out each time: without a budget the text could grow exponentially
    text = _text(tape, register, budget)[0]
    return text if len(text) <= limit else text[: max(0, limit - 3)] + "..."


def _text(tape: Any, register: int, budget: list[int]) -> tuple[str, int]:
    """The formula, and how tightly it binds."""
    size = len(tape.names)
    if register < size:
        budget[0] -= len(tape.names[register]) + 1
        return tape.names[register], _ATOM
    if budget[0] <= 0:
        return "...", _ATOM
    i = register - size
    op, c = int(tape.op[i]), float(tape.c[i])
    budget[0] -= 4
    if op == code.CONST:
        return repr(c), _ATOM if c >= 0 else _SUM

    def part(operand: int, tightness: int) -> str:
        text, binds = _text(tape, operand, budget)
        return text if binds >= tightness else f"({text})"

    a, b = int(tape.a[i]), int(tape.b[i])
    if op == code.ADD:
        return f"{part(a, _SUM)} + {part(b, _SUM)}", _SUM
    if op == code.SHIFT:
        return f"{part(a, _SUM)} {'-' if c < 0 else '+'} {abs(c)!r}", _SUM
    if op == code.MUL:
        return f"{part(a, _PRODUCT)}*{part(b, _PRODUCT)}", _PRODUCT
    if op == code.LIN:
        return f"-{part(a, _PRODUCT)}" if c == -1 else f"{c!r}*{part(a, _PRODUCT)}", _PRODUCT if c >= 0 else _SUM
    if op == code.SQR:
        return f"{part(a, _ATOM)}^2", _POWER
    if op == code.INV:
        return f"1/{part(a, _POWER)}", _PRODUCT
    return f"{code.NAMES[op]}({_text(tape, a, budget)[0]})", _ATOM
