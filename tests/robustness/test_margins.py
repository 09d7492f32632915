"""Margins and radii against rationals: one-sided, at every scale, with ties, NaN, overflow and equal rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from strategies.classifiers import NORMS, exact_margins, inside_exact_radius, linear, linear_problems

from certify.core.errors import HypothesisError
from certify.core.graph import GraphBuilder
from certify.robustness.heads import find_head
from certify.robustness.margins import PairNorms, gap_factor, margin_enclosure, radii_from_margins

DUAL = {
    "l2": lambda d: math.sqrt(sum(Fraction(float(v)) ** 2 for v in d)),
    "linf": lambda d: sum(Fraction(abs(float(v))) for v in d),
    "l1": lambda d: max(Fraction(abs(float(v))) for v in d),
}


def at(head, x, labels, norm, errors=0.0):
    return margin_enclosure(np.asarray(x, float), np.full(len(x), errors), np.asarray(labels), norm, PairNorms(head.last, norm))


@pytest.mark.parametrize("norm", NORMS)
def test_the_gap_factor_is_an_upper_end_and_attained(norm):
    rng = np.random.default_rng(0)
    v = rng.standard_normal((2000, 5))
    v[:5] = [[1, -1, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, -1, 1, 1, 1]]
    ratio = np.abs(v[:, 0] - v[:, 1]) / np.linalg.norm(v, {"l2": 2, "linf": np.inf, "l1": 1}[norm], axis=1)
    assert ratio.max() <= gap_factor(norm) and ratio.max() > gap_factor(norm) * (1 - 1e-12)
    assert Fraction(gap_factor("l2")) ** 2 >= 2


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=settings.default.max_examples * 2)
@given(problem=linear_problems())
def test_margins_of_a_linear_classifier_enclose_the_rationals(norm, problem):
    weight, bias, x, labels = problem
    found = at(find_head(linear(weight, bias)), x, labels, norm)
    for i, label in enumerate(labels):
        for j, exact in enumerate(exact_margins(weight, bias, x[i], label)):
            assert Fraction(found.lower[i, j]) <= exact <= Fraction(found.upper[i, j])
    width = found.upper - found.lower
    assert (width <= 1e-12 * (np.abs(weight).max() * np.abs(x).max() + np.abs(bias).max()) * x.shape[1] + 1e-290).all(), "the enclosure is not worth its name"


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=settings.default.max_examples * 2)
@given(problem=linear_problems())
def test_pair_norms_are_upper_ends_and_zero_exactly_for_equal_rows(norm, problem):
    weight, bias, _, _ = problem
    rows = PairNorms(find_head(linear(weight, bias)).last, norm).rows(np.arange(len(weight)))
    for i, row in enumerate(weight):
        for j, other in enumerate(weight):
            difference = [Fraction(float(a)) - Fraction(float(c)) for a, c in zip(row, other)]
            square = {"l2": sum(d * d for d in difference), "linf": sum(map(abs, difference)) ** 2, "l1": max(map(abs, difference)) ** 2}[norm]
            assert Fraction(rows[i, j]) ** 2 >= square and (rows[i, j] == 0) == (square == 0)
            assert Fraction(rows[i, j]) ** 2 <= square * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize("norm", NORMS)
def test_pair_norms_of_weights_known_only_nearly(norm):
    b = GraphBuilder()
    y = b.add("dense", [b.add("input", attrs={"shape": (2,)})], {"perturbation": 5}, {"weight": np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]])})
    rows = PairNorms(find_head(b.build(y)).last, norm).rows(np.array([0]))[0]
    assert rows[0] == 0 and 0 < rows[1] < 1e-13 and rows[2] > 2 + 5 * 2.0**-53  # two stored rows being equal does not make the true ones equal


def test_perturbed_bias_and_weights_widen_the_margin():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    exact = find_head(b.build(b.add("dense", [x], {}, {"weight": np.array([[1.0], [0.0]])})))
    moved = find_head(b.build(b.add("dense", [x], {"perturbation": 1000, "bias_perturbation": 1e-3}, {"weight": np.array([[1.0], [0.0]])})))
    assert at(exact, [[1.0]], [0], "l2").lower[0, 1] > 1 - 1e-12
    assert at(moved, [[1.0]], [0], "l2").lower[0, 1] <= 1 - 2e-3 - 1000 * 2.0**-53


def test_incoming_errors_count_in_the_dual_norm():
    head = find_head(linear([[3.0, 4.0], [0.0, 0.0]]))
    for norm, dual in (("l2", 5.0), ("linf", 7.0), ("l1", 4.0)):
        low = at(head, [[1.0, 1.0]], [0], norm, errors=0.01).lower[0, 1]
        assert low <= 7 - dual * 0.01 and low >= 7 - dual * 0.05


def test_nothing_is_known_of_overflow_and_nan():
    head = find_head(linear([[1e308, 1e308], [-1.0, 0.0], [0.0, 0.0]]))
    for x, e in (([[10.0, 10.0]], 0.0), ([[np.nan, 1.0]], 0.0), ([[np.inf, 1.0]], 0.0), ([[1.0, 1.0]], np.inf), ([[1.0, 1.0]], np.nan)):
        found = at(head, x, [0], "l2", e)
        assert not (found.lower[:, 1:] > 0).any() and not (found.upper[:, 1:] < 0).any()
        assert radii_from_margins(found.lower, np.ones((1, 3)), np.array([0]))[0] == 0


def test_without_a_last_layer():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    head = find_head(b.build(b.add("activation", [x], {"kind": "relu"})))
    found = margin_enclosure(np.array([[3.0, 1.0, 0.0]]), np.array([0.25]), np.array([0]), "linf", None)
    assert found.lower[0, 1] <= 2 - 2 * 0.25 and found.upper[0, 1] >= 2.5 and found.lower[0, 1] >= 2 - 8 * 0.25 - 1e-9
    with pytest.raises(HypothesisError, match="global"):
        head.need_last()


@pytest.mark.parametrize(
    ("lower", "constants", "expected"),
    [
        ([9.0, 1.0, 2.0], [9.0, 1.0, 4.0], 0.5),
        ([9.0, 0.0, 2.0], [9.0, 1.0, 4.0], 0.0),  # tie
        ([9.0, -1.0, 2.0], [9.0, 1.0, 4.0], 0.0),  # wrong
        ([9.0, np.nan, 2.0], [9.0, 1.0, 4.0], 0.0),
        ([9.0, 1.0, 2.0], [9.0, np.nan, 4.0], 0.0),
        ([9.0, 1.0, 2.0], [9.0, np.inf, 4.0], 0.0),
        ([9.0, 1.0, 2.0], [9.0, 0.0, 4.0], 0.5),  # a class that moves along never overtakes
        ([9.0, 1.0, 2.0], [9.0, 0.0, 0.0], np.inf),
        ([9.0, 0.0, 2.0], [9.0, 0.0, 0.0], 0.0),  # 0/0: a tie for ever
        ([9.0, 1.0, np.nan], [9.0, 0.0, 0.0], 0.0),
        ([9.0, 5e-324, 2.0], [9.0, 1e300, 4.0], 0.0),
        ([9.0, 1e300, 1e300], [9.0, 1e-300, 1e-300], np.finfo(float).max),
    ],
)
def test_radii_from_margins(lower, constants, expected):
    found = radii_from_margins(np.array([lower]), np.array([constants]), np.array([0]))[0]
    assert found <= expected and (found == expected if expected in (0, np.inf) else found >= expected * (1 - 1e-11))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=settings.default.max_examples * 2)
@given(problem=linear_problems())
def test_radii_of_a_linear_classifier_are_exact_from_below(norm, problem):
    weight, bias, x, labels = problem
    head = find_head(linear(weight, bias))
    pairs = PairNorms(head.last, norm)
    found = at(head, x, labels, norm)
    radii = radii_from_margins(found.lower, pairs.constants(labels, 1.0), labels)
    for i, label in enumerate(labels):
        exact = exact_margins(weight, bias, x[i], label)
        assert inside_exact_radius(radii[i], weight, exact, label, norm)
        others = [(m, DUAL[norm](weight[label] - weight[j])) for j, m in enumerate(exact) if j != label]
        size = max(1e-290, float(np.abs(weight).max() * (1 + np.abs(x[i]).max()) + np.abs(bias).max()))
        if all(m > 1e-9 * size for m, _ in others):  # clearly right: nothing noticeable is lost
            best = min((float(m) / float(d) if d else np.inf) for m, d in others)
            assert radii[i] >= best * (1 - 1e-4) and (radii[i] >= best * (1 - 1e-9) or min(m for m, _ in others) < 1e-4 * size)
