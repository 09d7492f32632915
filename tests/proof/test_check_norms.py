"""Every way to prove an operator norm, against dense singular values: a millionth below the truth is refused, a millionth above is accepted."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.certificates import matrix_of, operator_norm
from strategies.layers import Layer, conv_layer, layers, seeded

from certify.core.graph import GraphBuilder
from certify.norms.base import methods
from certify.proof import check_norms, gram, grid
from certify.proof.check_norms import linear_below
from certify.proof.windows import windows_of

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)
IMPOSSIBLE = {"by": "none"}


def truth(layer: Layer, norm: str) -> float:
    return operator_norm(matrix_of(layer.graph, "layer"), norm)


def below(layer: Layer, norm: str, stored: float, verify=IMPOSSIBLE) -> str:
    return linear_below(layer.graph["layer"], layer.input_shape, norm, stored, verify).how


@norms
@given(layer=layers())
@settings(max_examples=settings.default.max_examples * 2)
def test_a_millionth_decides(norm, layer):
    """Dense truth over 1-3 axes, strides, dilations, groups, transposed, all paddings, scales 1e-30 .. 1e30."""
    exact = truth(layer, norm)
    assert below(layer, norm, exact * (1 + 1e-6))
    assert exact == 0 or not below(layer, norm, exact * (1 - 1e-6))


@given(layer=layers())
@settings(max_examples=settings.default.max_examples * 2)
def test_grids_and_unfoldings_never_accept_what_is_below_the_truth(layer):
    a = windows_of(layer.graph["layer"], layer.input_shape) if layer.op != "dense" else None
    exact = truth(layer, "l2")
    if a is None or a.zero:
        return
    low = math.ldexp(exact, -a.exponent) * (1 - 1e-6)
    for claim in ("embedding", "any_size", "circular", "circular_rows"):
        symbol = {"circular": grid.circular, "circular_rows": grid.circular_rows}.get(claim, lambda a: None if a.copying else grid.polyphase(a))(a)
        if symbol is None:
            continue
        for tau, more in itertools.product((0, 1), (0, 1)):
            period = [(2 * (big + 1) if claim == "any_size" else least if big else 1) + (more if "circ" not in claim else 0) for big, least in symbol.axes]
            assert not check_norms._grid(a, claim, period, [tau] * len(period), low), (claim, period, tau)
    for count in range(len(a.axes) + 1):
        for subset in itertools.combinations(range(len(a.axes)), count):
            assert not check_norms._unfolding(a, list(subset), low), subset
    assert not check_norms._copies(a, low, {})


@pytest.mark.parametrize("seed", range(30))
def test_the_evidence_of_every_norm_method_carries_its_bound(seed):
    """What the prover's methods return is proved by the way they name (and the room they leave is enough)."""
    layer = seeded(seed + 1000)
    a = windows_of(layer.graph["layer"], layer.input_shape) if layer.op != "dense" else None
    for name, method in methods().items():
        if method.supports(layer.map, "l2"):
            continue
        bound = method.enclose(layer.map, "l2")
        verify = bound.evidence.get("verify")
        if verify is None or not math.isfinite(bound.upper):
            continue
        assert below(layer, "l2", bound.upper, verify), name
        if a is not None and not a.zero and verify["by"] in ("grid", "unfolding", "copies"):
            assert check_norms._evidence(a, verify)(check_norms._rescaled(bound.upper, a.exponent)), (name, verify)


# --- hypotheses of the theorems: layers for which the named statement is false ------------------------------------------------------


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_zero_padding_statements_are_refused_for_copying_paddings(mode):
    weight = np.abs(np.random.default_rng(0).normal(size=(1, 1, 3, 3)))
    layer = conv_layer(weight, 4, padding=1, mode=mode)
    a = windows_of(layer.graph["layer"], layer.input_shape)
    for claim, period in (("embedding", [9, 9]), ("any_size", [64, 64]), ("circular", [4, 4]), ("circular_rows", [4, 4])):
        assert not check_norms._grid(a, claim, period, [0, 0], 100.0)
    assert not check_norms._unfolding(a, [0], 100.0)
    assert "copies" in check_norms._copies(a, 100.0, {})


def test_circular_beyond_the_image_is_not_the_circulant_norm():
    """m > n / s: rows repeat, so the norm of the circulant matrix is too small, and only `circular_rows` counts them."""
    layer = conv_layer(np.ones((1, 1, 3)), 4, padding=4, mode="circular")
    a, exact = windows_of(layer.graph["layer"], layer.input_shape), truth(layer, "l2")
    bound = math.ldexp(exact, -a.exponent)
    circulant = math.ldexp(truth(conv_layer(np.ones((1, 1, 3)), 4, padding=1, mode="circular"), "l2"), -a.exponent)
    assert circulant < 0.9 * bound
    assert not check_norms._grid(a, "circular", [4], [0], bound * 100)
    assert not check_norms._grid(a, "circular_rows", [4], [0], circulant * 1.001)
    assert check_norms._grid(a, "circular_rows", [4], [0], circulant * 2**0.5 * 1.5)


def test_periods_below_theorem_1_and_grids_below_theorem_2_are_refused():
    layer = conv_layer(np.ones((1, 1, 3)), 8, padding=1)
    a = windows_of(layer.graph["layer"], layer.input_shape)
    (largest, least) = grid.polyphase(a).axes[0]
    assert (largest, least) == (2, 9)
    for claim, period, fine in (("embedding", 8, False), ("embedding", 9, True), ("any_size", 2, False), ("any_size", 3, True), ("embedding", 10_000, False)):
        assert check_norms._grid(a, claim, [period], [1], 1e6) is fine, (claim, period)
    assert not check_norms._grid(a, "embedding", [9], [2], 1e6)


def test_theorem_2_needs_its_factor():
    """1 + e^{iw} sampled midway: the grid maximum alone is below the norm on long images (methods 4.4, where the factor is sharp)."""
    layer = conv_layer(np.ones((1, 1, 2)), 300)
    a, exact = windows_of(layer.graph["layer"], layer.input_shape), truth(layer, "l2")
    sampled = math.ldexp(2 * math.cos(math.pi / 8), -a.exponent)
    assert sampled < 0.95 * math.ldexp(exact, -a.exponent)
    assert not check_norms._grid(a, "any_size", [4], [1], sampled * (1 + 1e-9))
    assert check_norms._grid(a, "any_size", [4], [1], sampled / math.cos(math.pi / 8) * (1 + 1e-9))


def test_groups_are_a_maximum_and_every_group_is_checked():
    rng = np.random.default_rng(0)
    for bad in range(3):
        weight = rng.normal(size=(3, 1, 3, 3)) * 1e-3
        weight[bad] = rng.normal(size=(3, 3))
        layer = conv_layer(weight, 5, padding=1, groups=3)
        exact = truth(layer, "l2")
        for verify in (IMPOSSIBLE, {"by": "grid", "claim": "embedding", "period": [6, 6], "twist": [1, 1]}, {"by": "unfolding", "subset": [0]}):
            assert not below(layer, "l2", exact * (1 - 1e-6), verify)
        assert below(layer, "l2", exact * (1 + 1e-6))


# --- pools, folded layers, scales, exact numbers -----------------------------------------------------------------------------------


@norms
@pytest.mark.parametrize("kernel, stride, padding", [((2, 2), (2, 2), 0), ((3, 3), (2, 2), 1), ((3, 2), (1, 1), 1), ((4, 1), (3, 2), 0)])
@pytest.mark.parametrize("counted", [True, False])
def test_average_pools(norm, kernel, stride, padding, counted):
    out = [(5 + 2 * padding - k) // s + 1 for k, s in zip(kernel, stride)]
    divisor = np.full(out, float(np.prod(kernel)))
    if not counted:
        inside = [[sum(0 <= s * o - padding + t < 5 for t in range(k)) for o in range(m)] for m, k, s in zip(out, kernel, stride)]
        divisor = np.multiply.outer(*[np.array(x, dtype=float) for x in inside])
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2, 5, 5)})
    graph = b.build(b.add("avg_pool", [x], {"kernel": kernel, "stride": stride, "padding": ((padding, padding),) * 2}, {"divisor": divisor}, name="pool"))
    exact = operator_norm(matrix_of(graph, "pool"), norm)
    assert linear_below(graph["pool"], (2, 5, 5), norm, exact * (1 + 1e-6), IMPOSSIBLE).how
    assert not linear_below(graph["pool"], (2, 5, 5), norm, exact * (1 - 1e-6), IMPOSSIBLE).how


@norms
def test_a_stated_perturbation_is_paid_for(norm):
    """A folded node claims weights within k u: the same constant is refused once k is large, accepted with the room for it."""
    weight = np.random.default_rng(0).normal(size=(3, 4))
    b = GraphBuilder()
    graph = b.build(b.add("dense", [b.add("input", attrs={"shape": (4,)})], {"perturbation": 2**40}, {"weight": weight}, name="fc"))
    exact = operator_norm(weight, norm)
    assert not linear_below(graph["fc"], (4,), norm, exact * (1 + 1e-6), IMPOSSIBLE).how
    assert linear_below(graph["fc"], (4,), norm, exact * (1 + 2**-12), IMPOSSIBLE).how


@norms
@pytest.mark.parametrize("exponent", [-1074, -1000, -530, 500, 1000])
def test_extreme_scales(norm, exponent):
    weight = np.random.default_rng(0).integers(1, 4, (2, 2, 3)).astype(float)
    exact = truth(conv_layer(weight, 4, padding=1), norm)
    layer = conv_layer(np.ldexp(weight, exponent), 4, padding=1)
    room = 0.1 if exponent == -1074 else 1e-6  # down there a float is 5e-324 wide
    assert below(layer, norm, math.ldexp(exact * (1 + room), exponent)) and not below(layer, norm, math.ldexp(exact * (1 - room), exponent))


@pytest.mark.parametrize(
    ("layer", "squares"),
    [
        (Layer("dense", np.diag([0.1, -0.3, 0.2])), dict.fromkeys(NORMS, Fraction(0.3) ** 2)),
        (Layer("dense", np.eye(4)), dict.fromkeys(NORMS, Fraction(1))),
        (conv_layer(np.full((1, 1, 1), 0.7), 5), dict.fromkeys(NORMS, Fraction(0.7) ** 2)),
        (conv_layer(np.full((2, 1, 1), 0.5), 3), {"l2": Fraction(1, 2), "l1": Fraction(1), "linf": Fraction(1, 4)}),
        (conv_layer(np.ones((1, 1, 2)), 4, stride=2), {"l2": Fraction(2), "l1": Fraction(1), "linf": Fraction(4)}),
    ],
)
@norms
def test_exactly_known_norms_need_no_room(norm, layer, squares):
    """The least float above the exact constant is accepted, its lower neighbour is not."""
    least = math.sqrt(squares[norm])
    least = math.nextafter(least, 9) if Fraction(least) ** 2 < squares[norm] else least
    assert below(layer, norm, least) and not below(layer, norm, math.nextafter(least, 0))


def test_zero_maps_have_norm_zero():
    assert below(conv_layer(np.zeros((2, 2, 3, 3)), 4), "l2", 0.0) and below(Layer("dense", np.zeros((2, 3))), "linf", 0.0)
    dead = conv_layer(np.array([[[1.0, 0.0, 1.0]]]), 1, padding=1)  # only the middle tap reads a pixel
    assert below(dead, "l2", 0.0) and below(dead, "l1", 0.0)


@pytest.mark.parametrize("verify", [{}, {"by": 3}, {"by": "grid", "claim": "any_size", "period": [9], "twist": [1]}, {"by": "copies", "of": []}])
def test_unknown_evidence_falls_back_to_other_proofs(verify):
    layer = conv_layer(np.random.default_rng(0).normal(size=(2, 1, 3)), 6, padding=1)
    exact = truth(layer, "l2")
    assert below(layer, "l2", exact * (1 + 1e-6), verify) and not below(layer, "l2", exact * (1 - 1e-6), verify)


@given(st.integers(0, 2**32 - 1))
def test_gram_matrices_are_those_of_the_assembled_map(seed):
    layer = seeded(seed, 60)
    if layer.op == "dense":
        return
    a = windows_of(layer.graph["layer"], layer.input_shape)
    for weight in a.weight:
        matrix = gram.assembled(weight, a)
        for found, wanted in ((gram.row_gram(weight, a), matrix @ matrix.T), (gram.column_gram(weight, a), matrix.T @ matrix)):
            assert np.abs(found - wanted).max(initial=0.0) <= 1e-12 * (1 + np.abs(wanted).max(initial=0.0))


@pytest.mark.parametrize("weight", [[[1.0, 5e-324]], [[1.0], [5e-324]], [[3.0, 5e-324, 5e-324]], [[2.0**1000, 2.0**-100]]])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_weights_that_scaling_loses_still_count(norm, weight):
    """Scaled to [1/2, 1) the small weight is below 2^-1074: a sum that does not see it looks exact."""
    matrix = np.array(weight)
    above = {"l2": True, "linf": matrix.shape[0] == 1, "l1": matrix.shape[1] == 1}[norm]  # the norm is larger than its largest weight
    b = GraphBuilder()
    node = b.build(b.add("dense", [b.add("input", attrs={"shape": (matrix.shape[1],)})], arrays={"weight": matrix}, name="fc"))["fc"]
    top = float(matrix.max())
    assert not (above and linear_below(node, (matrix.shape[1],), norm, top, {}).how)
    assert linear_below(node, (matrix.shape[1],), norm, top * (1 + 1e-9), {}).how
