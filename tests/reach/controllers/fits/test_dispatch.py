"""The contract of `fit`, for every activation kind: no error bound and no slope range is ever beaten by the exact function."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.activations import CASES, IDS, INSTANCES

from certify.core.activation import KINDS, activation
from certify.core.activations.piecewise import Prelu
from certify.core.errors import InputError
from reach.controllers.fits import METHODS, Fits, fit
from reach.errors import ReachError

ODD = [(0.0, 1.0), (-1.0, 0.0), (-0.0, 0.0), (-0.0, 2.0), (1.0, 1.0), (-3.0, 3.0), (5e-324, 1e-320), (-1e-320, 1e-310), (-1e300, 1e300), (1e299, 1e300)]
ODD += [(1.0, 1.0 + 2**-52), (-720.0, 715.0), (19.0, 21.0), (800.0, 900.0), (-1e5, -9e4), (-1e-9, 2e-9), (1e8, 1e8 + 1e-7), (-1e300, 1.0)]


def ranges(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centre, width = rng.normal(size=count) * 10.0 ** rng.uniform(-3, 1.5, count), 10.0 ** rng.uniform(-6, 2, count)
    return centre - width, centre + width


def test_every_kind_is_tried():
    assert set(KINDS) == set(INSTANCES)


@pytest.mark.parametrize(("kind", "parameters"), CASES, ids=IDS)
def test_no_bound_is_beaten_on_random_ranges(kind, parameters, violations):
    act = activation(kind, **parameters)
    for degree in (1 + len(kind) % 3, 4, 6):
        lower, upper = ranges(degree, 6)
        fits = fit(act, lower, upper, degree)
        found, truth = violations(act, parameters, lower, upper, fits)
        assert not found
        slack = 3e-7 * fits.radius + 1e-12 * (1 + np.abs(fits.centre)) + 2 * act.rounding()[1]
        assert (fits.error <= 1.5 * truth + slack).all()


@pytest.mark.parametrize(("kind", "parameters"), CASES, ids=IDS)
def test_odd_ranges(kind, parameters, violations):
    """Subnormal, zero width, touching zero, saturated, huge; a description whose float value overflows may only refuse."""
    act = activation(kind, **parameters)
    degree = 2 + len(kind) % 4
    for lower, upper in ODD:
        try:
            fits = fit(act, [lower], [upper], degree)
        except ReachError:
            assert max(abs(lower), abs(upper)) >= 1e299 and kind not in ("relu", "tanh", "sigmoid", "leaky_relu", "hardtanh", "abs")
            continue
        if kind in ("sin", "cos") and max(abs(lower), abs(upper)) > 1e15:  # the truth itself would need 300 digits of pi
            assert fits.error[0] >= 0
            continue
        assert not violations(act, parameters, [lower], [upper], fits, slopes=upper - lower < 1e6)[0]


HUNTED = st.sampled_from(["relu", "tanh", "sigmoid", "leaky_relu", "hardtanh", "gelu", "elu", "softplus"])


@given(HUNTED, st.floats(-1e3, 1e3), st.floats(0, 1e3), st.integers(1, 8), st.integers(-40, 3))
def test_hunt(violations, kind, centre, width, degree, exponent):
    act, parameters = activation(kind, **INSTANCES[kind][0]), INSTANCES[kind][0]
    lower, upper = centre * 2.0**exponent, (centre + width) * 2.0**exponent
    fits = fit(act, [lower], [upper], degree)
    assert not violations(act, parameters, [lower], [upper], fits)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["relu", "tanh", "sigmoid", "softplus", "hardtanh"])
def test_methods(kind, method, violations):
    act, parameters = activation(kind, **INSTANCES[kind][0]), INSTANCES[kind][0]
    lower, upper = ranges(7, 5)
    if method == "taylor" and kind not in ("tanh", "sigmoid"):
        with pytest.raises(InputError, match="Taylor"):
            fit(act, [-1.0], [1.0], 3, method)
        return
    for degree in (1, 5):
        fits = fit(act, lower, upper, degree, method)
        assert not violations(act, parameters, lower, upper, fits)[0]


# methods/reach.md section 3, degree 4: the largest error of Bernstein, Taylor, and minimax or Chebyshev fits
FIGURES = [
    ("relu", -1.0, 1.0, {"bernstein": 9.4e-2, "auto": 3.4e-2}),
    ("tanh", -0.5, 0.5, {"bernstein": 8.8e-3, "taylor": 3.8e-3, "auto": 2.2e-4}),
    ("tanh", -1.0, 1.0, {"bernstein": 5.1e-2, "taylor": 9.5e-2, "auto": 4.9e-3}),
    ("tanh", 0.0, 1.0, {"bernstein": 1.1e-2, "taylor": 1.4e-3, "auto": 5.1e-5}),
    ("tanh", -2.0, 2.0, {"bernstein": 0.185, "taylor": 1.63, "auto": 0.053}),
    ("sigmoid", -2.0, 2.0, {"bernstein": 2.5e-2, "taylor": 4.8e-2, "auto": 2.4e-3}),
    ("sigmoid", 0.0, 2.0, {"bernstein": 5.4e-3, "taylor": 7.0e-4, "auto": 2.6e-5}),
]


@pytest.mark.parametrize(("kind", "lower", "upper", "figures"), FIGURES)
def test_measured_figures(kind, lower, upper, figures):
    """At most 1.15 times the published error with every method; Taylor figures were printed with two digits."""
    for method, figure in figures.items():
        assert fit(activation(kind), [lower], [upper], 4, method).error[0] <= 1.15 * figure, method


def test_bernstein_keeps_monotone():
    fits = fit(activation("tanh"), [-3.0, -1.0], [2.0, 5.0], 6, "bernstein")
    derivative = fits.coefficients[:, 1:] * np.arange(1, 7)
    assert (np.polynomial.polynomial.polyval(np.linspace(-1, 1, 201), derivative.T) >= -1e-12).all()


def test_linear_ranges_are_exact():
    fits = fit(activation("relu"), [0.0, -2.0, -0.0, 3.0, -1.0], [1.0, 0.0, 0.0, 3.0, -1.0], 3)
    assert fits.error.tolist() == [0.0] * 5
    assert fits.coefficients[1].tolist() == [0.0] * 4 and fits.slope_upper.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert fit(activation("abs"), [1.0, -4.0], [2.0, -1.0], 3).error.max() < 1e-14
    assert fit(activation("hardtanh", min=-math.inf, max=math.inf), [-5.0], [7.0], 2).error[0] == 0.0


def test_saturated_tails_cost_their_tail():
    fits = fit(activation("tanh"), [30.0, -400.0], [1e300, -300.0], 4)
    assert fits.error[0] < 2.1 * math.exp(-60) and fits.error[1] < 1e-250
    assert 0.0 <= fits.slope_lower[1] <= fits.slope_upper[1] < 1e-250


def test_prelu_has_a_slope_per_neuron(violations):
    slope, lower, upper = np.array([[0.25], [-1.0]]), np.array([[-1.0, -2.0, 0.5], [-3.0, -0.5, -4.0]]), np.array([[2.0, 1.0, 0.75], [1.0, 2.0, -1.0]])
    fits = fit(Prelu(slope), lower, upper, 4)
    for i, (lo, hi) in enumerate(zip(lower.ravel(), upper.ravel())):
        one, parameters = Fits(*(a[i : i + 1] for a in fits)), {"slope": slope[i // 3]}
        assert not violations(Prelu(slope[i // 3]), parameters, [lo], [hi], one)[0]
    with pytest.raises(InputError, match="prelu"):
        fit(Prelu([0.1, 0.2]), [0.0] * 3, [1.0] * 3, 2)


def test_no_neurons_and_many():
    for kind in ("relu", "tanh", "gelu", "hardtanh"):
        assert fit(activation(kind), [], [], 3).coefficients.shape == (0, 4)
    lower = np.linspace(-9, 8, 9000)
    many, few = fit(activation("hardtanh"), lower, lower + 3.0, 3), fit(activation("hardtanh"), lower[::3000], lower[::3000] + 3.0, 3)
    assert (many.error[::3000] == few.error).all()


def test_same_input_same_fit():
    act, (lower, upper) = activation("tanh"), ranges(3, 40)
    first, second = fit(act, lower, upper, 5), fit(pickle.loads(pickle.dumps(act)), lower[::-1], upper[::-1], 5)
    assert all((a == b[::-1]).all() for a, b in zip(first, second))


@pytest.mark.parametrize(
    ("lower", "upper", "error"),
    [
        ([math.nan], [1.0], ReachError),
        ([0.0], [math.nan], ReachError),
        ([-math.inf], [1.0], ReachError),
        ([0.0], [math.inf], ReachError),
        ([1.0], [0.0], ReachError),
        ([-1.7e308], [1.7e308], ReachError),
        ([0.0, 1.0], [1.0], InputError),
    ],
)
@pytest.mark.parametrize("kind", ["relu", "tanh", "gelu"])
def test_bad_ranges_are_refused(kind, lower, upper, error):
    with pytest.raises(error):
        fit(activation(kind), lower, upper, 3)


@pytest.mark.parametrize(("degree", "method"), [(0, "auto"), (9, "auto"), (2.5, "auto"), (-1, "auto"), (3, "best")])
def test_bad_settings_are_refused(degree, method):
    with pytest.raises(InputError):
        fit(activation("relu"), [-1.0], [1.0], degree, method)
