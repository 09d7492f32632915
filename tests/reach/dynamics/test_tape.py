"""Tapes enclose the exact formula: exact rationals and ball arithmetic are the truth; broken rules must be caught."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.expressions import NAMES, ball, outside, text, trees

from certify.core.errors import CertifyError, InputError, SoundnessError
from certify.core.interval import Interval
from reach.dynamics import libm
from reach.dynamics import opcodes as code
from reach.dynamics.builder import build_tape
from reach.dynamics.expression import read_expression
from reach.dynamics.tape import Tape
from reach.errors import ReachError

flint = pytest.importorskip("flint", reason="python-flint is the oracle of the formulas")


@pytest.fixture(autouse=True)
def _precision():
    before, flint.ctx.prec = flint.ctx.prec, 400
    yield
    flint.ctx.prec = before


def tape_of(*formulas: str, names=NAMES) -> Tape:
    return build_tape(names, [read_expression(f, names, "test") for f in formulas])


POINTS = st.lists(st.one_of(st.floats(-3, 3), st.floats(-1e3, 1e3), st.sampled_from([0.0, -0.0, 0.1, 1e-300, -1.0])), min_size=3, max_size=3)
SIZES = st.one_of(st.just(0.0), st.floats(0, 1e-9), st.floats(0, 2))


@given(trees(), POINTS, SIZES, st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_random_formulas_are_enclosed_on_points_and_boxes(tree, point, size, fractions):
    try:
        tape = tape_of(text(tree))
    except InputError as error:
        assert "too large" in str(error) or "range of float64" in str(error) or "finite" in str(error) or "divides by zero" in str(error), text(tree)
        return
    lower, upper = np.array(point), np.array(point) + size
    try:
        box = tape.enclose(lower, upper)
    except ReachError as error:
        assert "finite" in error.what or "proved" in error.what or "zero" in error.what
        return
    inside = [lower, upper, *(np.clip(lower + np.array(f) * size, lower, upper) for f in (fractions[:3], fractions[3:]))]
    for x in inside:
        truth = ball(tree, {n: Fraction(v) for n, v in zip(NAMES, x.tolist())})
        if truth.is_finite():
            assert not outside(truth, float(box.lower[0]), float(box.upper[0])), text(tree)
    estimate = tape.evaluate(lower)
    if np.isfinite(estimate).all():
        width = 8 * box.width + 1e-300
        assert (box.lower - width <= estimate).all() and (estimate <= box.upper + width).all()


@given(trees(), POINTS)
def test_batches_are_their_rows(tree, point):
    try:
        tape = tape_of(text(tree), "x*y")
        x = np.array([point, point[::-1], [0.5, 0.25, -0.125]])
        together = tape.enclose(x, x + 0.01)
    except CertifyError:
        return
    for i in range(3):
        alone = tape.enclose(x[i], x[i] + 0.01)
        assert (alone.lower == together.lower[i]).all() and (alone.upper == together.upper[i]).all()
    assert tape.evaluate(x).shape == (3, 2) and np.array_equal(tape.evaluate(x)[1], tape.evaluate(x[1]), equal_nan=True)


@pytest.mark.parametrize(
    ("formula", "exact"),
    [
        ("0.1*3*x", lambda x: Fraction(3, 10) * x),
        ("9.8*0.41*x", lambda x: Fraction("4.018") * x),
        ("x/3 + 0.7", lambda x: x / 3 + Fraction(7, 10)),
        ("(0.08*0.41*(9.8*x - 2) - 0.0021*x)/0.0105", lambda x: (Fraction("0.0328") * (Fraction("9.8") * x - 2) - Fraction("0.0021") * x) / Fraction("0.0105")),
        ("(x - 0.1)**7", lambda x: (x - Fraction(1, 10)) ** 7),
        ("1/(x**2 + 0.3)**3", lambda x: 1 / (x**2 + Fraction(3, 10)) ** 3),
        ("1e-320 + x*1e-300*1e-20", lambda x: Fraction(1, 10**320) * (1 + x)),
        ("0.1", lambda x: Fraction(1, 10)),
    ],
)
def test_decimals_are_exact_rationals(formula, exact):
    tape = tape_of(formula, names=("x",))
    for x in (0.0, 0.1, -1.5, 3.0, 1e-30, 12345.678):
        assert tape.enclose([x], [x])[0].contains(exact(Fraction(x)))
    assert tape.enclose([0.0], [0.0]).width[0] <= 1e-13 * max(1, abs(float(exact(Fraction(0)))))


def test_constants_are_folded_before_they_are_enclosed():
    tape = tape_of("0.1*3*x", names=("x",))
    assert tape.op.tolist() == [code.LIN] and tape.c.tolist() == [0.3] and 0 < tape.r[0] < 6e-17
    assert abs(Fraction(3, 10) - Fraction(0.3)) <= Fraction(float(tape.r[0]))
    exact = tape_of("0.5*x + 0.25", "2*x", names=("x",))
    assert exact.r.tolist() == [0.0] * len(exact)


def test_common_parts_are_written_once():
    tape = tape_of("sin(x)**2 + sin(x)**4", "sin(x)*y", "1/sin(x)**2", names=("x", "y"))
    assert tape.op.tolist().count(code.SIN) == 1 and tape.op.tolist().count(code.SQR) == 2
    assert len(tape_of("x**2", "x**4", names=("x",))) == 2
    assert len(tape_of("(x*y)*z + x*y", "x*y")) == 3


@pytest.mark.parametrize(
    ("formula", "codes"),
    [
        ("x**3", [code.SQR, code.MUL]),
        ("x**8", [code.SQR] * 3),
        ("x**(-2)", [code.SQR, code.INV]),
        ("sqrt(x)", [code.SQRT]),
        ("x**(3/2)", [code.SQRT, code.SQR, code.MUL]),
        ("x**(-0.5)", [code.SQRT, code.INV]),
        ("x**(1/4)", [code.SQRT, code.SQRT]),
        ("x**(1/3)", [code.LOG, code.LIN, code.EXP]),
        ("x**pi", [code.LOG, code.LIN, code.EXP]),
        ("2**x", [code.LIN, code.EXP]),
        ("x**x", [code.LOG, code.MUL, code.EXP]),
        ("tan(x)", [code.SIN, code.COS, code.INV, code.MUL]),
        ("sigmoid(x)", [code.LIN, code.TANH, code.LIN, code.SHIFT]),
        ("7", [code.CONST]),
        ("x", []),
    ],
)
def test_formulas_become_the_expected_instructions(formula, codes):
    assert sorted(tape_of(formula, names=("x",)).op.tolist()) == sorted(codes)


CONSTANTS = ["pi", "E", "sqrt(2)*pi/3", "exp(1)*sin(1)", "log(2)/tanh(0.3)", "atan(3) - cosh(0.1)", "tan(1)*sinh(2)", "1/(pi - 3.14)", "2**(1/3)", "sin(1)**2 + cos(1)**2 - 1"]


@pytest.mark.parametrize("formula", CONSTANTS)
def test_symbolic_constants_are_enclosed(formula):
    tape = tape_of(formula, names=("x",))
    namespace = {"sqrt": lambda v: flint.arb(v).sqrt(), "pi": flint.arb.pi(), "E": flint.arb(1).exp()}
    for name in ("exp", "sin", "cos", "log", "tanh", "atan", "cosh", "tan", "sinh"):
        namespace[name] = lambda v, name=name: getattr(flint.arb(str(v)) if isinstance(v, float) else flint.arb(v), name)()
    source = formula.replace("3.14", "arb('3.14')").replace("2**(1/3)", "arb(2)**(arb(1)/3)").replace("0.3", "arb('0.3')").replace("cosh(0.1)", "cosh(arb('0.1'))")
    truth = eval(source, {"arb": flint.arb, **namespace})
    c, r = float(tape.c[0]), float(tape.r[0])
    assert tape.op.tolist() == [code.CONST] and r <= 2.0**-52 * abs(c) + 1e-80
    assert not bool(abs(truth - flint.arb(c)) > flint.arb(r))


def test_the_square_knows_that_its_factors_are_one_number():
    box = tape_of("x**2", names=("x",)).enclose([-1.0], [2.0])
    assert box.lower[0] == 0.0 and 4.0 <= box.upper[0] <= 4.0000001


@pytest.mark.parametrize(
    ("formula", "low", "high", "words"),
    [
        ("1/(x - 1)", 0.0, 2.0, ("division", "x - 1.0", "[0.0, 2.0]")),
        ("sin(x)/cos(x)", 1.0, 2.0, ("division", "cos(x)")),
        ("log(x*y)", 0.0, 1.0, ("log", "x*y")),
        ("sqrt(x - 2)", 1.0, 3.0, ("sqrt", "x - 2.0")),
        ("x**0.3", -1.0, 1.0, ("log", "x in")),
        ("exp(x**2)", 0.0, 100.0, ("finite enclosure", "x^2")),
    ],
)
def test_an_undefined_part_is_named(formula, low, high, words):
    tape = tape_of(formula)
    lower, upper = np.full((4, 3), 0.5), np.full((4, 3), 0.5)
    lower[2], upper[2] = low, high
    if formula.startswith(("sin", "1/", "sqrt", "exp")):
        lower[[0, 1, 3]] = upper[[0, 1, 3]] = 3.0
    with pytest.raises(ReachError) as caught:
        tape.enclose(lower, upper)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert f"x in [{low!r}, {high!r}]" in str(caught.value)


def test_boxes_that_are_none_are_refused():
    tape = tape_of("x + y", names=("x", "y"))
    with pytest.raises(InputError, match="one number per name"):
        tape.enclose([1.0], [2.0])
    with pytest.raises(SoundnessError):
        tape.enclose([1.0, 2.0], [0.0, 3.0])
    with pytest.raises(SoundnessError):
        tape.enclose([1.0, np.nan], [1.0, 3.0])
    with pytest.raises(InputError):
        tape.evaluate(["a", "b"])


def test_a_tape_is_checked_pickled_and_known_by_its_digest():
    tape = tape_of("0.1*sin(x) + y", "x", "3")
    again = pickle.loads(pickle.dumps(tape))
    assert again.digest == tape.digest != tape_of("0.1*sin(x) + z", "x", "3").digest
    assert tape.enclose([0, 0, 0], [1, 1, 1]).shape == (3,) and "sin(x)" in repr(tape)
    assert tape_of().evaluate(np.zeros((5, 3))).shape == (5, 0)
    with pytest.raises(ValueError):
        tape.c[0] = 7.0
    for broken in (
        {"op": [99], "a": [0], "b": [0], "c": [0], "r": [0], "outputs": [1]},
        {"op": [code.SQR], "a": [1], "b": [0], "c": [0], "r": [0], "outputs": [1]},
        {"op": [code.SQR], "a": [-1], "b": [0], "c": [0], "r": [0], "outputs": [1]},
        {"op": [code.SQR], "a": [0], "b": [0], "c": [0], "r": [0], "outputs": [2]},
        {"op": [code.LIN], "a": [0], "b": [0], "c": [np.nan], "r": [0], "outputs": [1]},
        {"op": [code.LIN], "a": [0], "b": [0], "c": [1], "r": [-1e-9], "outputs": [1]},
        {"op": [code.LIN], "a": [0, 0], "b": [0], "c": [1], "r": [0], "outputs": [1]},
    ):
        with pytest.raises(InputError):
            Tape(("x",), **broken)


def test_long_shared_formulas_have_short_texts():
    names, formula = ("x",), read_expression("x", ("x",), "t")
    for _ in range(9):
        formula = formula * (formula + 1)
    tape = build_tape(names, [formula])
    assert len(tape.text(int(tape.outputs[0]), 80)) <= 80


def _violations(tape: Tape) -> int:
    """How many exact values of 0.1 + (x - 0.3)^2 leave the tape's enclosure."""
    count = 0
    for low, high in ((0.0, 0.0), (-1.0, 2.0), (0.25, 0.5)):
        box = tape.enclose([low], [high])
        for k in range(33):
            x = min(Fraction(low) + Fraction(k, 32) * (Fraction(high) - Fraction(low)), Fraction(high))
            value = Fraction(1, 10) + (x - Fraction(3, 10)) ** 2
            count += not box.contains(value)
    return count


def test_broken_rules_are_caught(monkeypatch):
    good = Tape(("x",), [code.SHIFT, code.SQR, code.SHIFT], [0, 1, 2], [0, 0, 0], [-0.3, 0, 0.1], [2e-17, 0, 6e-18], [3])
    assert _violations(good) == 0
    wrong = Tape(("x",), [code.SHIFT, code.SQR, code.SHIFT], [0, 1, 2], [0, 0, 0], [-0.3, 0, 0.1 + 1e-14], [2e-17, 0, 0], [3])
    assert _violations(wrong) > 0
    constant = Tape(("x",), [code.CONST], [0], [0], [0.1], [0], [1])  # the radius was forgotten
    assert not constant.enclose([0.0], [0.0])[0].contains(Fraction(1, 10))

    def ends_only(self):  # MUTANT: the square of the ends
        a, b = np.square(self.lower), np.square(self.upper)
        return Interval(np.minimum(a, b), np.maximum(a, b))

    monkeypatch.setattr(Interval, "square", ends_only)
    assert _violations(good) > 0


def test_a_library_outside_its_assumption_is_refused(monkeypatch):
    libm.require_libm.__wrapped__()
    real = libm._values
    for op in (code.SIN, code.COS, code.EXP, code.LOG, code.TANH, code.ATAN):
        monkeypatch.setattr(libm, "_values", lambda o, x, op=op: real(o, x) * (1 + (2e-15 if o == op else 0)))
        with pytest.raises(SoundnessError, match=code.NAMES[op]):
            libm.require_libm.__wrapped__()
    monkeypatch.setattr(libm, "_values", lambda o, x: real(o, x) * np.nan)
    with pytest.raises(SoundnessError):
        libm.require_libm.__wrapped__()


def test_the_stored_values_are_correctly_rounded():
    assert libm._STORED.keys() == code.LIBRARY
    for op, stored in libm._STORED.items():
        for x, y in zip(*libm.stored_values(stored)):
            value = getattr(flint.arb(float(x)), code.NAMES[op])()
            assert float(value.lower()) == float(value.upper()) == y, (op, x)
