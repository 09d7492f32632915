"""The walk over a plant's formulas: Taylor models and interval derivatives contain what ball arithmetic says at sampled points."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.core.errors import CertificateError
from certify.core.interval import Interval
from reach.dynamics.expression import read_expression
from reach.proof import plant
from reach.proof.monomials import monomials
from reach.proof.taylor import Model

flint = pytest.importorskip("flint")
FORMULAS = (
    "0.1*x*y**2 - x/3 + 2", "x**3*(y + 1)**2", "sin(x*y) + cos(y)**2/7", "exp(-x)*tanh(y)", "1/(3 + x*y)", "sqrt(4 + x + y)", "log(5 + x)*atan(y)", "(2 + x)**(-3/2)",
    "tan(x/4) + sinh(y) - cosh(x/2)",
    "pi*x + E*y + sqrt(2)", "(x + 3)**(y/5)", "2**x", "sec(x/3)*csc(y/9 + 1) + cot(x/9 + 1)", "x**5 - y**4 + x*y*x*y", "7", "y", "exp(sin(1))*x + tan(pi/5)",
)  # fmt: skip
FEW = max(3, settings.default.max_examples // 6)  # per formula


def ball(e: sp.Basic, at: dict):
    """The formula in ball arithmetic."""
    if e in at:
        return at[e]
    if e.is_Rational:
        return flint.arb(flint.fmpq(int(e.p), int(e.q)))
    if e is sp.pi or e is sp.E:
        return flint.arb.pi() if e is sp.pi else flint.arb(1).exp()
    parts = [ball(a, at) for a in e.args]
    if e.is_Add or e.is_Mul:
        total = parts[0]
        for p in parts[1:]:
            total = total + p if e.is_Add else total * p
        return total
    if e.is_Pow:
        return parts[0] ** int(e.exp) if e.exp.is_Integer else parts[0] ** parts[1]
    return getattr(parts[0], type(e).__name__)()


def read(text: str) -> sp.Expr:
    return read_expression(text, ("x", "y"), "here")


@pytest.mark.parametrize("text", FORMULAS)
@settings(max_examples=FEW)
@given(seed=st.integers(0, 10**6))
def test_models_contain_the_formula(text, seed):
    flint.ctx.prec = 200
    rng, e = np.random.default_rng(seed), read(text)
    t = monomials(2, 4, True)
    c = rng.normal(size=(2, t.size, 3)) * 0.15 * (rng.random((2, t.size, 3)) < 0.6)
    r = rng.random((2, 3)) * 10.0 ** rng.integers(-12, -2)
    model = plant.walk_all([e], plant.Taylor(t, 3), {"x": Model(t, c[0], r[0]), "y": Model(t, c[1], r[1])}, str)[0]
    for k in range(3):
        for _ in range(4):
            s = [flint.arb(Fraction(int(rng.integers(-8, 9)), 8).__float__()), flint.arb(int(rng.integers(0, 9)) / 8)]
            power = [s[0] ** int(a) * s[1] ** int(b) for a, b in t.exponents.tolist()]
            value = [sum((flint.arb(float(v)) * p for v, p in zip(rows[:, k], power)), flint.arb(0)) for rows in (*c, model.c)]
            x, y = (value[i] + flint.arb(float(r[i, k])) * flint.arb(float(rng.choice([-1.0, 0.5, 1.0]))) for i in (0, 1))
            truth = ball(e, {sp.Symbol("x"): x, sp.Symbol("y"): y})
            assert not bool(abs(truth - value[2]) > flint.arb(float(model.r[k])))


@pytest.mark.parametrize("text", FORMULAS)
@settings(max_examples=FEW)
@given(seed=st.integers(0, 10**6))
def test_derivatives_contain_the_formulas(text, seed):
    flint.ctx.prec = 200
    rng, e = np.random.default_rng(seed), read(text)
    low = rng.uniform(-1, 0.9, (3, 2))
    box = Interval(low, low + rng.random((3, 2)) * rng.choice([0.0, 1e-6, 0.1]))
    forward = plant.Forward(3, 2)
    found = plant.walk_all([e], forward, forward.symbols(["x", "y"], box), str)[0]
    symbols = sp.symbols("x y")
    slopes = [e, *(sp.diff(e, s) for s in symbols)]
    for k in range(3):
        w = rng.random(2)
        at = [flint.arb(float(box.lower[k, i])) * (1 - flint.arb(w[i])) + flint.arb(float(box.upper[k, i])) * flint.arb(w[i]) for i in (0, 1)]
        ends = [(found.value.lower[k], found.value.upper[k]), *((found.slope.lower[k, j], found.slope.upper[k, j]) for j in (0, 1))]
        for formula, (a, b) in zip(slopes, ends):
            truth = ball(formula, dict(zip(symbols, at)))
            assert not bool(truth < flint.arb(float(a))) and not bool(truth > flint.arb(float(b)))


@pytest.mark.parametrize("text", ["1/x", "log(x)", "sqrt(x)", "x**(1/3)", "tan(2*x)"])
def test_what_is_undefined_is_refused(text):
    t = monomials(1, 2)
    c = np.zeros((t.size, 1))
    c[1] = 1.0  # x in [-1, 1]
    with pytest.raises(CertificateError):
        plant.walk_all([read_expression(text, ("x",), "")], plant.Taylor(t, 1), {"x": Model(t, c, np.zeros(1))}, str)


def test_what_has_no_rule_is_refused():
    with pytest.raises(CertificateError, match="no rule"):
        plant.walk_all([sp.Function("mystery")(sp.Symbol("x"))], plant.Plain(), {"x": Interval.point(np.ones(1))}, str)


@pytest.mark.parametrize("text", ["1/10", "pi", "sqrt(2)*pi/3", "exp(1/7)", "tan(pi/5)", "log(3)**2", "2**(1/3)", "cosh(1)/7"])
def test_constants_are_enclosed(text):
    flint.ctx.prec = 300
    e = read_expression(text, (), "")
    c, r = plant.around(plant.number(e))
    assert bool(abs(ball(e, {}) - flint.arb(c)) <= flint.arb(r)) and r <= 1e-14 * abs(c)
