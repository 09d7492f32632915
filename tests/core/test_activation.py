"""Every activation's constants and float errors against a dense high-precision search."""

from __future__ import annotations

import dataclasses
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from strategies.activations import CASES, IDS, INSTANCES, REFUSED
from truth.activations import EXACT, exact_parameters, exact_quotient, exact_value

from certify.core.activation import KINDS, activation, activation_of
from certify.core.activations.base import enclosure
from certify.core.errors import CertifyError, InputError, UnsupportedLayerError
from certify.core.graph import Node

SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 1e-300, -1e-160, 1e-17, -1e-9, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 20.0, -20.0, -40.0]
SPECIAL += [700.0, -745.0, 1e4, -1e5, 1e16, -1e160, 1e300, -1.7e308]
SPECIAL += [math.nextafter(x, d) for x in (-3.0, 3.0, 1.0, -1.0, 6.0) for d in (-math.inf, math.inf)]
everywhere = st.one_of(st.sampled_from(SPECIAL), st.floats(-8, 8), st.floats(-800, 800), st.floats(allow_nan=False, allow_infinity=False))
cases = pytest.mark.parametrize("kind, parameters", CASES, ids=IDS)


def parameter_scale(parameters: dict) -> float:
    """Where the function bends: a grid in units of this sees it."""
    if "beta" in parameters:
        return 1 / abs(parameters["beta"])
    return max(1.0, abs(parameters.get("alpha", 1.0)), 1 + parameters.get("lambda", 0.0))


def value_error_excess(f, kind, parameters, points) -> float:
    """Largest |fl - f| over what `rounding` allows."""
    relative, absolute = f.rounding()
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(f.value(np.asarray(points, dtype=np.float64)), dtype=np.float64)
    worst = 0.0
    for x, y in zip(points, values, strict=True):
        if not math.isfinite(y) and abs(x) > 1e300:
            continue  # an overflow: no number is claimed
        error = abs(mpf(float(y)) - exact_value(kind, parameters, x))
        allowed = mpf(relative) * abs(mpf(x)) + mpf(absolute)
        worst = max(worst, float(error / allowed) if allowed else (0.0 if error == 0 else math.inf))
    return worst


def grid(parameters) -> np.ndarray:
    return np.linspace(-12, 12, 241) * parameter_scale(parameters) + 1e-3


STEP = mpf(10) ** -25


def slopes(kind, parameters, points, h=STEP):
    with mpmath.mp.workdps(80):
        plain = exact_parameters(parameters)
        return [(EXACT[kind](mpf(x) + h, plain) - EXACT[kind](mpf(x) - h, plain)) / (2 * h) for x in points]


def refined(kind, parameters, sign):
    """The largest (sign 1) or smallest difference quotient that a dense grid, the far tails and four zooms into its best cell find."""
    tails = [-1e5 * parameter_scale(parameters), 1e5 * parameter_scale(parameters)]
    found = max(sign * v for v in slopes(kind, parameters, tails))
    points = grid(parameters)
    for _ in range(5):
        values = [sign * v for v in slopes(kind, parameters, points)]
        best = max(range(len(points)), key=lambda i: values[i])
        step = points[1] - points[0]
        points, found = np.linspace(points[best] - step, points[best] + step, 41), max(found, values[best])
    return sign * found


def test_every_kind_has_cases_and_a_truth():
    assert set(KINDS) == set(INSTANCES) == set(EXACT)


@cases
def test_value_is_within_its_stated_rounding(kind, parameters):
    f = activation(kind, **parameters)
    generator = np.random.default_rng(3)
    points = SPECIAL + list(generator.normal(size=40) * 3) + list(generator.normal(size=20) * parameter_scale(parameters)) + list(10 ** generator.uniform(-30, 3, 10))
    assert value_error_excess(f, kind, parameters, points) <= 1
    relative, absolute = f.rounding()
    if "beta" not in parameters and "alpha" not in parameters and kind != "prelu":
        assert relative <= 32 * 2**-53 and absolute <= 32 * 2**-53


@pytest.mark.parametrize("kind", sorted(INSTANCES))
@given(data=st.data())
def test_value_and_slopes_anywhere(kind, data):
    parameters = data.draw(st.sampled_from(INSTANCES[kind]))
    f = activation(kind, **parameters)
    a, b = data.draw(everywhere), data.draw(everywhere)
    if kind in ("sin", "cos"):  # the truth needs as many digits as the argument has
        a, b = math.fmod(a, 1e6), math.fmod(b, 1e6)
    assert value_error_excess(f, kind, parameters, [a]) <= 1
    if a != b:
        quotient = exact_quotient(kind, parameters, a, b)
        slack = mpf(10) ** -30  # the truth's own digits
        for lo, hi in (f.slope_range(), [float(end.item()) for end in f.slope_range_on([min(a, b)], [max(a, b)])]):
            assert mpf(lo) - slack * (1 + abs(lo)) <= quotient <= mpf(hi) + slack * (1 + abs(hi))


@cases
def test_global_slopes_contain_a_dense_search_and_are_tight(kind, parameters):
    f = activation(kind, **parameters)
    lo, hi = f.slope_range()
    found = refined(kind, parameters, -1), refined(kind, parameters, 1)
    digits = mpf(10) ** -40 * (1 + abs(hi))  # of the search
    assert lo - digits <= found[0] and found[1] <= hi + digits
    assert found[0] - lo <= mpf("2e-5") * (1 + abs(lo)) and hi - found[1] <= mpf("2e-5") * (1 + abs(hi)), "a constant that nothing attains"


TABLE = {  # methods/network_lipschitz.md section 3: guaranteed digits
    "gelu-none": ("-0.1289041451853", "1.1289041451853", "-0.1079819330264", "0.7978845608029"),
    "gelu-tanh": ("-0.1289930686589", "1.1289930686589", "-0.1079135158905", "0.7978845608029"),
    "silu": ("-0.0998393201290", "1.0998393201290", "-0.0369143732000", "0.5"),
    "quick_gelu": ("-0.0998393201290", "1.0998393201290", "-0.0628282631864", "0.851"),
    "mish": ("-0.1125261223896", "1.0884981612518", "-0.0590333569540", "0.6442046372371"),
    "selu": ("0", "1.758099340847377", None, None),
    "sigmoid": ("0", "0.25", "-0.0962250448650", "0.0962250448650"),
    "tanh": ("0", "1", "-0.7698003589196", "0.7698003589196"),
    "erf": ("0", "1.1283791670956", "-0.9678828980766", "0.9678828980766"),
}


@pytest.mark.parametrize("name", TABLE)
def test_constants_are_those_of_the_methods_table(name):
    kind, _, form = name.partition("-")
    f = activation(kind, **({"approximate": form} if form else {}))
    mine = (*f.slope_range(), *(f.curvature_range() or (None, None)))
    for stated, value in zip(TABLE[name], mine, strict=True):
        assert (stated is None) == (value is None)
        assert stated is None or abs(value - float(stated)) <= 3e-13


@cases
def test_curvature_contains_second_differences(kind, parameters):
    f = activation(kind, **parameters)
    if f.curvature_range() is None:
        return
    lo, hi = f.curvature_range()
    wide = 50 * max(parameter_scale(parameters), 1.0)
    turns = [float(b.at[0]) for b in f.breaks()] if kind not in ("sin", "cos") else []
    points = [float(x) for x in grid(parameters)[::2]] + [t + side for t in turns for side in (-1e-9, 1e-9)] + [-wide, wide]
    h = mpf(10) ** -20
    second = []
    with mpmath.mp.workdps(100):
        plain = exact_parameters(parameters)
        for x in points:
            g = [EXACT[kind](mpf(x) + k * h, plain) for k in (-1, 0, 1)]
            second.append((g[0] - 2 * g[1] + g[2]) / h**2)
    slack = mpf(10) ** -15 * (1 + abs(lo) + abs(hi))
    assert mpf(lo) - slack <= min(second) and max(second) <= mpf(hi) + slack
    assert max(second) >= 0.8 * hi - 1e-9 and min(second) <= 0.8 * lo + 1e-9


@cases
def test_local_slopes_contain_the_truth_and_are_tight(kind, parameters):
    f = activation(kind, **parameters)
    generator = np.random.default_rng(11)
    for _ in range(12):
        a, b = np.sort(generator.normal(size=2) * 3 * parameter_scale(parameters))
        lo, hi = (end.item() for end in f.slope_range_on(a, b))
        points = [float(x) for x in np.linspace(a, b, 13)]
        quotients = [exact_quotient(kind, parameters, points[i], points[j]) for i, j in [(i, i + 1) for i in range(12)] + [(0, 12), (3, 9)]]
        assert lo <= min(quotients) and max(quotients) <= hi
        turns = [float(x.at[0]) for x in f.breaks()] if kind not in ("sin", "cos") else list(np.arange(-8, 9) * math.pi / 2)
        inner = [a + 1e-9, b - 1e-9, *(t + side for t in turns for side in (-1e-9, 1e-9) if a < t + side < b)]
        d = slopes(kind, parameters, inner, h=mpf(10) ** -28)
        room = mpf(10) ** -6 * (1 + abs(parameters.get("beta", 1.0)) + 1 / abs(parameters.get("alpha", 1.0) or 1.0))
        assert min(d) - lo <= room and hi - max(d) <= room


@cases
def test_local_slopes_of_points_kinks_and_infinite_intervals(kind, parameters):
    f = activation(kind, **parameters)
    lo, hi = f.slope_range()
    whole = [float(np.asarray(e).reshape(-1)[0]) for e in f.slope_range_on([-np.inf], [np.inf])]
    assert lo <= whole[0] <= whole[1] <= hi
    if kind not in ("sin", "cos"):
        for b in f.breaks():
            at = float(b.at[0])
            left, right, point = (f.slope_range_on([l], [u]) for l, u in ((at - 1e-9, at), (at, at + 1e-9), (at, at)))
            assert np.all(left[0] <= np.max(b.left)) and np.all(left[1] >= np.min(b.left)) and np.all(right[0] <= np.max(b.right)) and np.all(right[1] >= np.min(b.right))
            assert np.all(point[0] <= np.minimum(b.left[1], b.right[1])) and np.all(point[1] >= np.maximum(b.left[0], b.right[0]))
    for bad in ((1.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(InputError):
            f.slope_range_on(*bad)


@cases
def test_derivative_is_within_its_rounding(kind, parameters):
    f = activation(kind, **parameters)
    points = [x for x in grid(parameters)[::3] if kind in ("sin", "cos") or all(not b.at[0] == b.at[1] or abs(x - b.at[0]) > 1e-9 for b in f.breaks())]
    truth = slopes(kind, parameters, points)
    for d, t in zip(f.derivative(np.array(points)), truth, strict=True):
        assert abs(mpf(float(d)) - t) <= mpf(f.derivative_rounding()) + mpf(10) ** -20 * (1 + abs(t))


@cases
def test_nan_stays_nan_and_overflow_is_never_a_wrong_number(kind, parameters):
    f = activation(kind, **parameters)
    with np.errstate(all="ignore"):
        assert np.isnan(f.value(np.array([math.nan]))).all()
        assert np.isnan(f.derivative(np.array([math.nan]))).all()


@pytest.mark.parametrize("kind, parameters", REFUSED, ids=[f"{k}-{p}" for k, p in REFUSED])
def test_odd_parameters_are_refused_by_name(kind, parameters):
    with pytest.raises(CertifyError) as caught:
        activation(kind, **parameters)
    assert kind in str(caught.value)


def test_a_node_names_its_place_in_the_refusal():
    node = Node("act", "activation", ("input",), (2,), {"kind": "celu", "alpha": -1.0}, source="body.3")
    with pytest.raises(UnsupportedLayerError, match="body.3"):
        activation_of(node)
    slope = np.array([[0.5], [-2.0]], dtype=np.float32)
    f = activation_of(Node("act", "activation", ("input",), (2, 3), {"kind": "prelu"}, {"slope": slope}))
    assert f.slope_range() == (-2.0, 1.0) and f.value(-np.ones((4, 2, 3)))[:, 1].tolist() == [[2.0] * 3] * 4
    lo, hi = f.slope_range_on(-np.ones((2, 3)), np.ones((2, 3)))
    assert lo[0, 0] == 0.5 and hi[0, 0] == 1.0 and lo[1, 2] == -2.0 and hi[1, 2] == 1.0


def test_enclosures_contain_every_continuation_of_their_digits():
    for digits in ("0.1", "-0.333333333333333333333333333333", "1.7580993408473768599402175208123"):
        lo, hi = enclosure(digits)
        assert lo < mpf(digits) < hi or len(digits) < 5
        assert hi - lo <= 4e-16 or digits == "0.1"


# -- the tests themselves must notice a wrong description ----------------------------------------------------------------------------------------
def wrong(cls, **methods):
    return type("Wrong" + cls.__name__, (cls,), methods)


def test_mutants_are_caught():
    gelu = dataclasses.replace(wrong(KINDS["gelu"], slope_range=lambda self: (-0.1289041451, 1.1289041451))())
    assert not (gelu.slope_range()[0] <= refined("gelu", {"approximate": "none"}, -1) and refined("gelu", {"approximate": "none"}, 1) <= gelu.slope_range()[1])
    silu = wrong(KINDS["silu"], slope_range=lambda self: (0.0, 1.0))()
    assert refined("silu", {}, 1) > silu.slope_range()[1]
    naive = wrong(KINDS["elu"], value=lambda self, x: np.where(x > 0, x, np.exp(x) - 1), rounding=lambda self: (0.0, 1e-17))()
    assert value_error_excess(naive, "elu", {"alpha": 1.0}, [-1e-3, -0.7]) > 1
    single = wrong(KINDS["tanh"], value=lambda self, x: np.tanh(x.astype(np.float32)))()
    assert value_error_excess(single, "tanh", {}, [0.3, -1.1]) > 1
    threshold = wrong(KINDS["softplus"], value=lambda self, x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))))()
    assert value_error_excess(threshold, "softplus", {"beta": 1.0}, [20.5]) > 1
    one_sided = wrong(KINDS["mish"], breaks=lambda self: ())()
    assert float(one_sided.slope_range_on(0.5, 3.0)[1]) < exact_quotient("mish", {}, 1.49, 1.491)
