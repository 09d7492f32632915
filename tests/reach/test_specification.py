"""What a specification accepts, how it reads numbers and text, and what it refuses by name."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import reach
from certify import InputError
from reach.specification import Arrive, ArriveWithin, Avoid, HalfSpace, Stay
from reach.verification.regions import Affine, Smooth, read_region
from tests.reach.verification.systems import moving

X, Y = sp.symbols("x y")
NAMES = ("x1", "x2", "x3", "x4")


def region(value, names=("x", "y")):
    return read_region(value, names, "Stay")


@pytest.mark.parametrize(
    ("value", "clauses"),
    [
        ("x >= 0.2", 1),
        ("2*x + y <= 3", 1),
        ("0 <= x <= 1", 2),
        ("Abs(x) >= 100", 1),
        ("abs(x - 1) <= 0.1", 2),
        ("3 - 2*Abs(x - y) >= 0", 2),
        (X >= sp.Rational(1, 5), 1),
        (sp.And(X >= 0, Y <= 1), 2),
        (sp.Abs(X) <= 2, 2),
        ({"x": (0, 0.1), "y": (None, 3)}, 3),
        ({X: (0, 1)}, 2),
        (reach.Box([0, -np.inf], [np.inf, 2]), 2),
        (HalfSpace([1, -1], 0.5), 1),
        (HalfSpace({"y": 2.5}, "1/3"), 1),
        (["x >= 0", {"y": (0, 1)}, HalfSpace([1, 1], 2)], 4),
        (("x**2 + y**2 <= 1", "x >= 0"), 2),
    ],
)
def test_every_form_of_a_set(value, clauses):
    assert len(region(value).clauses) == clauses


def test_affine_inequalities_become_half_spaces_with_exact_numbers():
    found = region("0.1*x - y/3 >= 0.7").constraints[0]
    assert isinstance(found, Affine)
    assert found.exact[0] == ((Fraction(-1, 10),) * 2, (Fraction(1, 3),) * 2) and found.exact[1] == (Fraction(-7, 10),) * 2
    for c, r, (low, high) in zip(found.normal, found.spread, found.exact[0], strict=True):
        assert Fraction(c) - Fraction(r) <= low <= high <= Fraction(c) + Fraction(r)
    assert Fraction(found.low) <= Fraction(-7, 10) <= Fraction(found.high)
    assert isinstance(region("(x + 1)*2 - y >= x").constraints[0], Affine)
    assert isinstance(region("0.2 + 2*0.001027*sqrt(x**2 + y**2) >= 0").constraints[0], Smooth)
    assert isinstance(region("pi*x >= 1").constraints[0], Smooth)  # an irrational coefficient is enclosed by the tape


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
def test_a_float_means_itself_and_its_decimal(x):
    lower, upper = region({"x": (x, x)}).constraints
    for value in (Fraction(x), Fraction(repr(x))):
        assert Fraction(upper.low) <= value <= Fraction(upper.high)
        assert Fraction(-lower.high) <= value <= Fraction(-lower.low)
    face = region(HalfSpace([x, 1.0], 0)).constraints[0]
    assert all(abs(Fraction(face.normal[0]) - value) <= Fraction(face.spread[0]) for value in (Fraction(x), Fraction(repr(x))))


def test_text_is_exact_and_a_sympy_float_is_its_decimal():
    for value in ("x <= 0.1", X <= sp.Float(0.1), X <= 0.1):
        assert region(value).constraints[0].exact[1] == (Fraction(1, 10),) * 2


def test_an_absolute_value_is_either_side():
    clause = region("Abs(x) - 100 >= 0")
    assert clause.clauses == ((0, 1),) and str(clause) == "Abs(x) - 100 >= 0"
    inside = clause.violation(np.array([[100.0, 0.0], [-100.0, 0.0], [99.0, 0.0], [0.0, 0.0]])) <= 0
    assert inside.tolist() == [True, True, False, False]


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_an_estimate_of_the_violation_has_the_sign_of_the_truth(x, y):
    cases = {
        "x - 2*y <= 0.3": x - 2 * y - 0.3,
        "Abs(x) >= 1": 1 - abs(x),
        "Abs(x - y) <= 1": abs(x - y) - 1,
        "x**2 + y**2 <= 2": x * x + y * y - 2,
    }
    for text, truth in cases.items():
        assert region(text).violation(np.array([[x, y]]))[0] == pytest.approx(truth, abs=1e-12)


REFUSED = [
    ("x > 1", "strict"),
    ("x < 1", "strict"),
    (sp.Gt(X, 1), "strict"),
    ("x == 1", "equation"),
    ("x != 1", "equation"),
    ("x = 1", "equation"),
    (sp.Ne(X, 1), "equation"),
    ("x", "no relation"),
    ("x <= 1 >= 0", "direction"),
    ("x >= ", "not complete"),
    ("x >= (2", "grammar"),
    ("x >= 2 +", "grammar"),
    ("Abs(x >= 3", "parenthesis"),
    ("Abs(Abs(x)) >= 3", "absolute value"),
    ("Abs(x) + Abs(y) >= 3", "absolute value"),
    ("x*Abs(y) >= 3", "absolute value"),
    ("Max(x, y) >= 0", "Max"),
    ("xx >= 0", "unknown symbol 'xx'"),
    ("__import__('os') >= 0", "unknown function"),
    ("1 >= 0", "does not depend"),
    ("x - x >= 0", "does not depend"),
    (sp.true, "does not depend"),
    (sp.Or(X >= 0, Y >= 0), "Or"),
    ({"z": (0, 1)}, "no state 'z'"),
    ({"x": (1, 0)}, "inverted"),
    ({"x": (float("nan"), 1)}, "not a number"),
    ({"x": (np.inf, np.inf)}, "inverted or empty"),
    ({"x": 3}, "pair"),
    ({"x": "01"}, "pair"),
    ({"x": (None, None)}, "no finite end"),
    ([], "no finite end"),
    ({"x": ("a", 1)}, "not a number"),
    ({"x": (False, 1)}, "not a number"),
    (reach.Box([0], [1]), "another dimension"),
    (reach.Box([0, 0, 0], [1, 1, 1]), "another dimension"),
    (HalfSpace([1], 2), "another dimension"),
    (HalfSpace([0, 0], 2), "not zero"),
    (HalfSpace([1, 0], float("inf")), "infinite"),
    (HalfSpace({"q": 1}, 2), "no state 'q'"),
    ("1e400*x >= 1", "beyond the range"),
    (3.5, "Box, a dict, a HalfSpace or an inequality"),
    (None, "Box, a dict, a HalfSpace or an inequality"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[str(v)[:40] for v, _ in REFUSED])
def test_what_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        Stay(value).bind(moving())


def test_the_closest_state_is_named():
    with pytest.raises(InputError, match="did you mean 'theta'"):
        read_region({"thera": (0, 1)}, ("theta", "omega"), "Arrive")
    with pytest.raises(InputError, match="did you mean 'theta'"):
        read_region("thera >= 0", ("theta", "omega"), "Arrive")


def test_an_inverted_or_nan_box_is_refused_when_it_is_made():
    for low, high in (([1.0], [0.0]), ([float("nan")], [1.0])):
        with pytest.raises(InputError):
            Stay(reach.Box(low, high))


@pytest.mark.parametrize("steps", [(3, 2), (-1, 2), (0.5, 2), "ab", 3, (1, 2, 3), (True, 2), (0, None)])
def test_a_window_is_two_whole_numbers_in_order(steps):
    for kind in (Stay, Avoid, ArriveWithin):
        with pytest.raises(InputError, match="window"):
            kind("x >= 0", steps=steps)


def test_a_window_must_fit_the_horizon():
    loop = moving()
    assert Stay("x >= 0", steps=(1, 4)).bind(loop, 4)[3:5] == (1, 4)
    assert Stay("x >= 0").bind(loop, 4)[3:5] == (0, 4) == ArriveWithin("x >= 0").bind(loop, 4)[3:5]
    assert Arrive("x >= 0").bind(loop, 4)[3:5] == (4, 4) and Arrive("x >= 0", step=2).bind(loop, 4)[3:5] == (2, 2)
    for spec in (Stay("x >= 0", steps=(1, 5)), Avoid("x >= 0", steps=(5, 5)), ArriveWithin("x >= 0", steps=(0, 5)), Arrive("x >= 0", step=5)):
        with pytest.raises(InputError, match="after the horizon"):
            spec.bind(loop, 4)


@pytest.mark.parametrize("at", ["sometimes", None, 1])
def test_times_have_two_names(at):
    with pytest.raises(InputError, match="always or at samples"):
        Stay("x >= 0", at=at)


def test_specifications_print_as_they_are_written_and_travel():
    for spec, text in [
        (Arrive({"x": (0, 0.2)}), "Arrive({'x': (0, 0.2)})"),
        (Arrive("x >= 0", step=3), "Arrive('x >= 0', step=3)"),
        (Stay(reach.Box([0, 1], [2, 3]), at="samples", steps=(1, 2)), "Stay(Box([0.0, 1.0], [2.0, 3.0]), at='samples', steps=(1, 2))"),
        (Avoid(HalfSpace(np.array([1.0, 2.0]), 3)), "Avoid(HalfSpace([1.0, 2.0], 3))"),
        (ArriveWithin([X >= 0, "y >= 0"]), "ArriveWithin([x >= 0, 'y >= 0'])"),
    ]:
        assert repr(spec) == text
        assert repr(pickle.loads(pickle.dumps(spec))) == text


def test_names_that_look_like_numbers_or_functions_are_states_first():
    assert isinstance(read_region("abs >= 1", ("abs",), "Stay").constraints[0], Affine)
    assert isinstance(read_region("absolute_0 + Abs(x) >= 1", ("absolute_0", "x"), "Stay").constraints[0], Affine)
    assert isinstance(read_region({"lambda": (0, 1)}, ("lambda",), "Stay").constraints[0], Affine)
