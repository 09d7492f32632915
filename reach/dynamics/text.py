"""Formulas as text -> sympy, without ever evaluating the text: Python's grammar is parsed, and a short list of its nodes is translated.

sympy's own parser runs `eval` and reads some names as its objects (E, S, N, beta, ...). Here a declared name is that symbol, whatever it
is called, keywords such as `lambda` included; numbers are read from their characters as exact rationals, never as floats.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn

import sympy as sp

from certify.core.errors import InputError

from .refusals import refuse_head, refuse_value

MAX_TEXT, MAX_LITERAL, MAX_EXPONENT, MAX_BITS = 20_000, 400, 1_000, 50_000

CALLS: dict[str, Callable[[Any], Any]] = {
    "sin": sp.sin,
    "cos": sp.cos,
    "tan": sp.tan,
    "cot": sp.cot,
    "sec": sp.sec,
    "csc": sp.csc,
    "atan": sp.atan,
    "arctan": sp.atan,
    "exp": sp.exp,
    "log": sp.log,
    "ln": sp.log,
    "sqrt": sp.sqrt,
    "sinh": sp.sinh,
    "cosh": sp.cosh,
    "tanh": sp.tanh,
    "sigmoid": lambda x: sp.Rational(1, 2) + sp.tanh(x / 2) / 2,
}
CONSTANTS = {"pi": sp.pi, "E": sp.E}


def read_text(text: str, names: Mapping[str, sp.Symbol], where: str) -> sp.Expr:
    """The sympy expression of a formula such as "0.1*x1**2 - sin(theta)/m"; exact rationals, known names only.

    Allowed are numbers, names, + - * / **, parentheses and the functions of `CALLS`. A declared name wins over pi and E. sympy simplifies
    as it builds (x/x is 1, sqrt(x)**2 is x), so a removable gap of the domain is filled.

    Args:
        text: the formula.
        names: what every declared name stands for; keys in Unicode normal form NFKC, as Python reads identifiers.
        where: the formula's place, for messages.
    Raises:
        InputError: anything else, by name and column.
    """
    if len(text) > MAX_TEXT:
        raise InputError("a formula is too long", where=where, found=f"{len(text)} characters", expected=f"at most {MAX_TEXT}", hint="hand in sympy expressions")
    if "#" in text:  # Python would drop the rest as a comment
        raise InputError("a formula has no comments", where=where, found=_short(text))
    flat, mask = re.sub(r"\s", " ", text).strip(), "_keyword_"
    while any(name.startswith(mask) for name in names):
        mask += "_"
    masked = re.sub(r"\b(" + "|".join(keyword.kwlist) + r")\b", lambda m: mask + m[0] if m[0] in names else m[0], flat)
    try:
        return _Reader(masked.encode(), names, where, text, mask).read(ast.parse(masked, mode="eval").body)
    except SyntaxError as error:
        raise _syntax(error, flat, where, text) from None
    except (RecursionError, MemoryError):
        raise InputError("a formula is nested too deeply", where=where, hint="hand in sympy expressions") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError("a formula cannot be read", where=where, found=_short(text)) from None


def _syntax(error: SyntaxError, flat: str, where: str, text: str) -> InputError:
    hint = "write * between factors: 2*x" if re.search(r"\d\s*[A-Za-z_(]|\)\s*[\w(]|\w\s+\w", flat) else None
    place = f"{where}, column {error.offset}" if error.offset else where
    return InputError("a formula is not complete" if not flat else "a formula has a mistake in its grammar", where=place, found=_short(text) or "nothing", hint=hint)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


class _Reader:
    """Translates the nodes of one formula."""

    def __init__(self, source: bytes, names: Mapping[str, sp.Symbol], where: str, text: str, mask: str):
        self.source, self.names, self.where, self.text, self.mask = source, names, where, text, mask

    def fail(self, node: ast.AST, what: str, found: object = None, expected: object = None, hint: object = None) -> NoReturn:
        place = f"{self.where}, column {getattr(node, 'col_offset', 0) + 1}"
        raise InputError(what, where=place, found=found if found is not None else self.segment(node), expected=expected, hint=hint)

    def segment(self, node: Any) -> str:
        return _short(self.source[node.col_offset : node.end_col_offset].decode(errors="replace").replace(self.mask, ""))

    def read(self, node: ast.AST) -> sp.Expr:
        value = self.translate(node)
        refuse_value(value, f"{self.where}, column {getattr(node, 'col_offset', 0) + 1}", self.segment(node))
        return value

    def translate(self, node: ast.AST) -> sp.Expr:
        if isinstance(node, ast.Constant):
            return self.number(node)
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            value = self.read(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp):
            return self.operation(node)
        self.refuse(node)

    def refuse(self, node: ast.AST) -> NoReturn:
        hint = None
        if isinstance(node, ast.Compare | ast.BoolOp | ast.IfExp):
            hint = "a plant has smooth formulas: no comparisons and no cases"
        what = "a formula has a part that is neither arithmetic nor a known function"
        self.fail(node, what, expected="numbers, names, + - * / **, parentheses, " + ", ".join(CALLS), hint=hint)

    def number(self, node: ast.Constant) -> sp.Expr:
        literal = self.source[node.col_offset : node.end_col_offset].decode(errors="replace")
        if isinstance(node.value, complex):
            self.fail(node, "a formula has an imaginary number", hint="plants are real")
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self.fail(node, "a formula has something that is not a number", expected="a number such as 2, 0.1 or 1e-3")
        if literal.lower().startswith(("0x", "0o", "0b")):
            return sp.Integer(node.value)
        mantissa, _, exponent = literal.lower().partition("e")
        if len(mantissa) > MAX_LITERAL or len(exponent) > 5 or abs(int(exponent or 0)) > MAX_LITERAL:
            self.fail(node, "a number is too long or too large", expected=f"at most {MAX_LITERAL} digits, exponents up to {MAX_LITERAL}")
        exact = Fraction(literal)
        return sp.Rational(exact.numerator, exact.denominator)

    def name(self, node: ast.Name) -> sp.Expr:
        name = node.id.removeprefix(self.mask)
        if name in self.names:
            return self.names[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in CALLS:
            self.fail(node, f"the function {name} has no argument", hint=f"{name}(...)")
        refuse_head(name, f"{self.where}, column {node.col_offset + 1}")
        close = difflib.get_close_matches(name, [*self.names, *CONSTANTS], 1)
        hint = f"did you mean {close[0]!r}?" if close else "declare it as a state, an input or a disturbance"
        self.fail(node, f"unknown symbol {name!r}", found=_short(self.text), expected="one of: " + (", ".join(self.names) or "none"), hint=hint)

    def call(self, node: ast.Call) -> sp.Expr:
        if not isinstance(node.func, ast.Name):
            self.fail(node, "a formula calls something that is not a function", hint="write * between factors")
        name = node.func.id.removeprefix(self.mask)
        if name not in CALLS:
            if name in self.names:
                self.fail(node, f"{name} is a symbol, not a function", hint=f"write {name}*(...)")
            refuse_head(name, f"{self.where}, column {node.col_offset + 1}")
            close = difflib.get_close_matches(name, CALLS, 1)
            self.fail(node, f"unknown function {name!r}", expected=", ".join(CALLS), hint=f"did you mean {close[0]!r}?" if close else None)
        most = 2 if name == "log" else 1
        if node.keywords or not 1 <= len(node.args) <= most:
            self.fail(node, f"{name} takes one argument" + (", or log(x, base)" if most == 2 else ""))
        values = [self.read(argument) for argument in node.args]
        if len(values) == 1:
            return CALLS[name](values[0])
        logarithm = sp.log(values[1])
        refuse_value(logarithm, f"{self.where}, column {node.col_offset + 1}", self.segment(node))
        if logarithm == 0:
            self.fail(node, "the base of a logarithm is 1")
        return sp.log(values[0]) / logarithm

    def operation(self, node: ast.BinOp) -> sp.Expr:
        """A chain a + b - c or a * b / c, from the left and without recursion along the chain; or one power."""
        if isinstance(node.op, ast.Pow):
            return self.power(node)
        for family, build in (((ast.Add, ast.Sub), sp.Add), ((ast.Mult, ast.Div), sp.Mul)):
            if isinstance(node.op, family):
                terms, first = [], node
                while isinstance(first, ast.BinOp) and isinstance(first.op, family):
                    terms.append(self.operand(first))
                    first = first.left  # type: ignore[assignment]
                return build(self.read(first), *reversed(terms))
        if isinstance(node.op, ast.BitXor):
            self.fail(node, "^ is not a power here", hint="write ** for powers")
        self.refuse(node)

    def operand(self, node: ast.BinOp) -> sp.Expr:
        right = self.read(node.right)
        if isinstance(node.op, ast.Div):
            if right == 0:
                self.fail(node, "a division by zero")
            return 1 / right
        return -right if isinstance(node.op, ast.Sub) else right

    def power(self, node: ast.BinOp) -> sp.Expr:
        base, exponent = self.read(node.left), self.read(node.right)
        if exponent.is_Rational:
            size = max((max(abs(q.p).bit_length(), q.q.bit_length()) for q in base.atoms(sp.Rational)), default=1)
            if abs(exponent) > MAX_EXPONENT or exponent.q > MAX_EXPONENT or size * abs(exponent) > MAX_BITS:
                self.fail(node, "a power is too large", expected=f"exponents up to {MAX_EXPONENT}")
        if base == 0 and not (exponent.is_Rational and exponent >= 0):
            self.fail(node, "a division by zero" if exponent.is_Rational else "a power of zero")
        return base**exponent
