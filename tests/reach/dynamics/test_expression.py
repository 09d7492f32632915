"""Formulas are read exactly, or refused by name, place and reason; text is never evaluated."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from reach.dynamics.builder import build_tape
from reach.dynamics.constants import enclose_number, enclose_rational
from reach.dynamics.expression import affine_rows, read_expression, read_name, read_names

x, y = sp.symbols("x y")
NAMES = ("x", "y")


def read(value, names=NAMES):
    return read_expression(value, names, "rates[0] (of x)")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.1", sp.Rational(1, 10)),
        ("0.1*3", sp.Rational(3, 10)),
        ("0.08*0.41*x", sp.Rational(41, 1250) * x),
        ("-x**2", -(x**2)),
        ("(-x)**2", x**2),
        ("2**-1*x", x / 2),
        ("2**3**2", sp.Integer(512)),
        ("x - y - 1", x - y - 1),
        ("x/y/2", x / y / 2),
        ("x/(y/2)", 2 * x / y),
        ("+x", x),
        ("1e-3*x + .5 + 1.", x / 1000 + sp.Rational(3, 2)),
        ("1_000*x + 0x10", 1000 * x + 16),
        ("sqrt(x**2 + y**2)", sp.sqrt(x**2 + y**2)),
        ("log(x, 10) + ln(y)", sp.log(x) / sp.log(10) + sp.log(y)),
        ("sigmoid(2*x)", sp.Rational(1, 2) + sp.tanh(x) / 2),
        ("arctan(x)*pi*E", sp.atan(x) * sp.pi * sp.E),
        ("  x\n + y\t", x + y),
        (x * 0.1, x / 10),
        (sp.Float("0.1", 40) * x, x / 10),
        (sp.Float(0.30000000000000004), sp.Rational("0.30000000000000004")),
        (x**0.5, sp.sqrt(x)),
        (sp.Symbol("x", real=True) ** 2, x**2),
        (0.25, sp.Rational(1, 4)),
        (0.1, sp.Rational(1, 10)),
        (np.float64(0.1), sp.Rational(1, 10)),
        (np.int32(3), sp.Integer(3)),
        (Fraction(1, 3), sp.Rational(1, 3)),
        (Decimal("0.7"), sp.Rational(7, 10)),
        (7, sp.Integer(7)),
    ],
)
def test_values_are_exact(value, expected):
    got = read(value)
    assert got == expected and not got.atoms(sp.Float)


SHADOWED = ["µ", *"E I S N Q O C beta gamma zeta lambda pi sin in is not async re oo test ß1 _ _keyword_ _keyword_lambda Abs x_1".split()]


@pytest.mark.parametrize("name", SHADOWED)
def test_any_identifier_is_a_name(name):
    plain = read_name(name, "states")
    got = read_expression(f"2*{name}**2 - {name}", (plain, "other"), "r")
    assert got == 2 * sp.Symbol(plain) ** 2 - sp.Symbol(plain)
    assert read_expression(sp.Symbol(name), (plain,), "r") == sp.Symbol(plain)


def test_keywords_do_not_meet_other_names():
    got = read_expression("lambda - 3*_keyword_lambda + 5*_keyword_*is", ("lambda", "_keyword_lambda", "_keyword_", "is"), "r")
    a, b, c, d = sp.symbols("lambda _keyword_lambda _keyword_ is")
    assert got == a - 3 * b + 5 * c * d


def test_a_declared_name_wins_over_a_constant():
    assert read_expression("E + pi", ("E",), "r") == sp.Symbol("E") + sp.pi
    assert read_expression("E*sin(pi)", ("E", "sin", "pi"), "r") == sp.Symbol("E") * sp.sin(sp.Symbol("pi"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", ("not complete",)),
        ("x +", ("grammar",)),
        ("2x", ("2*x",)),
        ("2 x", ("2*x",)),
        ("x^2", ("**",)),
        ("x(1 + y)", ("symbol, not a function", "x*(")),
        ("z", ("unknown symbol 'z'", "rates[0] (of x)", "x, y")),
        ("xx", ("did you mean 'x'",)),
        ("sinn(x)", ("unknown function", "'sin'")),
        ("sin", ("no argument",)),
        ("sin(x, y)", ("one argument",)),
        ("sin(x=1)", ("one argument",)),
        ("Abs(x)", ("Abs", "corners")),
        ("abs(x)", ("abs", "corners")),
        ("max(x, 0)", ("max", "corners", "controller")),
        ("Max(x, 0)", ("Max",)),
        ("floor(x)", ("floor",)),
        ("sign(x)", ("sign",)),
        ("asin(x)", ("asin", "no rule")),
        ("x if x > 0 else 1", ("no comparisons",)),
        ("x > 0", ("no comparisons",)),
        ("x // 2", ("known function",)),
        ("x % 2", ("known function",)),
        ("x; y", ("grammar",)),
        ("x := 2", ("grammar",)),
        ("x # + y", ("comments",)),
        ("(x, y)", ("known function",)),
        ("'x'", ("not a number",)),
        ("True", ("not a number",)),
        ("x.real", ("known function",)),
        ("x[0]", ("known function",)),
        ("__import__('os').system('true')", ("not a function",)),
        ("(lambda: x)()", ("not a function",)),
        ("sqrt(-1)*sqrt(-1)", ("complex",)),
        ("I*x", ("I", "real")),
        ("2j*x", ("imaginary",)),
        ("(-8)**(1/3)*x", ("power",)),
        ("(-2)**x", ("power",)),
        ("0**x", ("power of zero",)),
        ("1/0", ("division by zero",)),
        ("x/(y - y)", ("division by zero",)),
        ("0**(-1)", ("division by zero",)),
        ("0*log(0)", ("divides by zero",)),
        ("log(x, 0)", ("divides by zero",)),
        ("log(x, 1)", ("base",)),
        ("tan(pi/2)", ("divides by zero",)),
        ("x**100000", ("too large",)),
        ("(10**300*x)**1000", ("too large",)),
        ("9**9**9**9", ("too large",)),
        ("1e99999", ("too large",)),
        ("1e999999999", ("too large",)),
        ("9" * 500, ("too long",)),
        ("-" * 3000 + "x", ("deeply",)),
        ("(" * 500 + "x" + ")" * 500, ()),
        ("x" + "+x" * 10000, ("too long",)),
        ("x\0", ()),
        ("x\ud800", ()),
        (sp.Abs(x), ("Abs", "corners")),
        (sp.Piecewise((x, x > 0), (1, True)), ("Piecewise", "corners")),
        (sp.Max(x, y), ("Max",)),
        (sp.Heaviside(x), ("Heaviside",)),
        (sp.I * x, ("complex",)),
        (sp.zoo, ("divides by zero",)),
        (sp.nan, ("undefined",)),
        (sp.oo * x, ("infinite",)),
        (x > 0, ("not a number",)),
        (sp.true, ("not a number",)),
        (sp.Function("f")(x), ("no rule for f",)),
        (sp.Derivative(sp.Function("f")(x), x), ("Derivative",)),
        (sp.Symbol("z"), ("unknown symbol 'z'",)),
        (sp.Matrix([x]), ()),
        (x**5000, ("too large",)),
        (float("nan"), ("finite",)),
        (float("inf"), ("finite",)),
        (True, ("number",)),
        (None, ("text, a sympy expression",)),
        (1j, ("text, a sympy expression",)),
        ([x], ("text, a sympy expression",)),
    ],
)
def test_everything_else_is_refused_with_a_reason(value, words):
    with pytest.raises(InputError) as caught:
        read(value)
    assert "rates[0] (of x)" in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


@given(st.text(alphabet="xyE01.+-*/^() esinlog_,#\\'\"[]{}:;=<>!&|~@%\n", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        assert isinstance(read(text), sp.Expr)
    except InputError:
        pass


@given(st.integers(-(10**6), 10**6), st.integers(0, 12))
def test_every_decimal_is_its_rational(n, digits):
    text = f"{'-' if n < 0 else ''}{abs(n) // 10**digits}.{abs(n) % 10**digits:0{max(digits, 1)}d}"
    exact = Fraction(text)
    assert read(text) == sp.Rational(exact.numerator, exact.denominator)
    c, r = enclose_rational(exact, "t")
    assert abs(exact - Fraction(c)) <= Fraction(r) and (r == 0) == (Fraction(c) == exact)


def test_constants_beyond_float64_are_refused_and_tiny_ones_enclosed():
    c, r = enclose_rational(Fraction(1, 10**400), "t")
    assert c == 0.0 and r == 5e-324
    for value in (Fraction(10) ** 400, -(Fraction(10) ** 309)):
        with pytest.raises(InputError, match="range of float64"):
            enclose_rational(value, "t")
    assert enclose_number(sp.exp(-(10**9)), "t") == (0.0, 5e-324)
    assert enclose_number(-sp.exp(-(10**6)), "t")[1] == 5e-324
    for value in (sp.exp(10**4), sp.exp(10**12), sp.log(sp.pi - 4), sp.sqrt(1 - sp.sqrt(2)), 1 / (sp.sin(1) ** 2 + sp.cos(1) ** 2 - 1), sp.gamma(sp.pi)):
        with pytest.raises(InputError):
            enclose_number(value, "t")
    with pytest.raises(InputError, match="range of float64"):
        build_tape(NAMES, [read("x*1e400")])


def test_names_are_checked():
    assert read_names([x, "y", sp.Symbol("lambda")], "states") == ("x", "y", "lambda")
    for values, words in [
        ("x1 x2", ("list", "['x1', 'x2']")),
        ("x", ("list",)),
        (x, ("list",)),
        (3, ("list",)),
        (["x1 x2"], ("not a name", "one entry per name")),
        (["x,y"], ("one entry per name",)),
        (["1x"], ("not a name", "states[0]")),
        ([""], ("not a name",)),
        (["x", "a.b"], ("states[1]",)),
        (["True"], ("Python constant",)),
        ([x + y], ("Symbol",)),
        ([sp.Symbol("x_{1}")], ("not a name",)),
        ([3], ("Symbol",)),
    ]:
        with pytest.raises(InputError) as caught:
            read_names(values, "states")
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_affine_rows_are_exact():
    matrix, shift = affine_rows(["30", "1.4", "x_lead - x_ego", "(h - 20)/40", "0.1*(x_ego + 2)*3", 2.5], ("x_lead", "x_ego", "h"))
    assert matrix[2] == [1, -1, 0] and matrix[3] == [0, 0, Fraction(1, 40)] and matrix[4] == [0, Fraction(3, 10), 0]
    assert shift == [30, Fraction(7, 5), 0, Fraction(-1, 2), Fraction(3, 5), Fraction(5, 2)]
    assert affine_rows(["(x + 1)**2 - x**2"], ("x",)) == ([[2]], [1])
    for value, word in [("x*y", "affine"), ("sin(x)", "affine"), ("x**2", "affine"), ("pi*x", "rational"), ("sqrt(2)", "rational"), ("z", "unknown symbol")]:
        with pytest.raises(InputError, match=word):
            affine_rows([value], NAMES)
    with pytest.raises(InputError, match="list"):
        affine_rows("x", NAMES)
