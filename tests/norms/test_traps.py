"""The traps of layer_norms.md, section 7, one test each; and the extremes of scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from strategies.layers import Layer, conv_layer
from truth.norms import encloses, true_norm

from certify.core.errors import HypothesisError, InputError
from certify.core.graph import GraphBuilder
from certify.linear.adjoint import AdjointMap
from certify.linear.axis import Axis
from certify.linear.conv import ConvMap
from certify.linear.dense import DenseMap
from certify.norms.auto import Auto, enclose
from certify.norms.base import methods
from certify.norms.fantastic_four import FantasticFour
from certify.norms.fft import FFT
from certify.norms.grid import grid_factor
from certify.norms.power_iteration import PowerIteration
from certify.norms.svd import SVD

RNG = np.random.default_rng(7)


def kernel(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def check_all(layer: Layer) -> dict[str, tuple[float, float]]:
    """Every method that applies encloses the truth; their ends by name."""
    truth, ends = true_norm(layer), {}
    for name, method in methods().items():
        if not method.supports(layer.map):
            bound = method.enclose(layer.map)
            assert encloses(bound.lower, bound.upper, truth), (name, bound, truth)
            ends[name] = (bound.lower, bound.upper)
    return ends


def test_power_iteration_never_has_a_finite_upper_end():
    for steps in (1, 5, 200):
        bound = PowerIteration(steps).enclose(DenseMap(kernel(5, 5)))
        assert bound.upper == math.inf and bound.lower > 0 and "verify" not in bound.evidence
    start = np.zeros(3)
    start[0] = 1.0  # orthogonal to the top singular vector: a poor lower end, still true
    bound = PowerIteration(steps=0, start=start).enclose(DenseMap(np.diag([1.0, 2.0, 3.0])))
    assert bound.lower <= 1.0 and bound.upper == math.inf


def test_circular_formula_is_refused_for_zero_padding_and_the_embedding_holds():
    layer = conv_layer(np.ones((1, 1, 3, 3)), n=8, padding=1)
    ends = check_all(layer)
    bound = FFT().enclose(layer.map)
    assert bound.evidence["verify"]["claim"] == "embedding" and bound.lower == 0.0
    assert "upper end only" in bound.evidence["statement"]
    assert ends["fft"][1] <= true_norm(layer) * 1.00001  # all ones: the twisted embedding is exact, the circular value is 1.09 too high
    ring = conv_layer(np.ones((1, 1, 3, 3)), n=8, padding=1, mode="circular")
    exact = FFT().enclose(ring.map)
    assert exact.evidence["verify"]["claim"] == "circular" and exact.lower >= 9 * (1 - 1e-9) and exact.upper <= 9 * (1 + 1e-5)
    low = conv_layer(kernel(3, 3, 3, 3), n=6, padding=1)  # circular below the zero-padded truth happens the other way round: both must hold
    check_all(low)


@pytest.mark.parametrize(("n", "stride", "padding"), [(4, 2, 3), (5, 2, 1), (6, 3, 4), (4, 1, 3)])
def test_circular_padding_with_repeated_rows(n: int, stride: int, padding: int):
    layer = conv_layer(kernel(2, 2, 3, 3), n=n, stride=stride, padding=padding, mode="circular")
    assert layer.map.output_shape[1] != n / stride
    for method in (FFT(), FantasticFour()):
        assert method.supports(layer.map)
        with pytest.raises(HypothesisError):
            method.enclose(layer.map)
    assert "copied_padding" in check_all(layer)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_copying_modes_refuse_every_zero_padding_bound(mode: str):
    layer = conv_layer(np.abs(kernel(2, 2, 3, 3)), n=4, padding=1, mode=mode)
    for name in ("fft", "fantastic_four", "any_size"):
        assert methods()[name].supports(layer.map), name
    ends = check_all(layer)
    zero = FFT().enclose(conv_layer(layer.weight, n=4, padding=1).map)
    assert zero.upper < true_norm(layer)  # the refused bound would have been false
    assert ends["copied_padding"][1] >= true_norm(layer)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_kernel_larger_than_the_image_folds(mode: str):
    layer = conv_layer(np.abs(kernel(1, 1, 5, 5)), n=3, padding=2, mode=mode)
    ends = check_all(layer)
    if mode == "circular":
        truncated = np.abs(np.fft.fft2(layer.weight[0, 0], (3, 3))).max()
        assert truncated < true_norm(layer) <= ends["fft"][1] <= true_norm(layer) * 1.00001


def test_dead_taps_and_maps_that_read_only_padding():
    wide = conv_layer(kernel(2, 2, 5), n=1, padding=2)  # only the middle tap ever meets the pixel
    assert check_all(wide)["fft"][1] <= true_norm(wide) * 1.00001
    far = ConvMap(np.ones((1, 1, 2)), (Axis(3, 3, 2, 1, 1, low=7),))
    for method in methods().values():
        for norm in ("l2", "linf", "l1"):
            if not method.supports(far, norm):
                bound = method.enclose(far, norm)
                assert bound.lower == bound.upper == 0.0, (method, bound)


def test_zero_kernels_groups_and_frequencies():
    for layer in (conv_layer(np.zeros((2, 2, 3, 3)), n=4, padding=1), conv_layer(np.zeros((2, 2, 3)), n=4, padding=1, mode="circular")):
        for method in methods().values():
            for norm in ("l2", "linf", "l1"):
                if not method.supports(layer.map, norm):
                    bound = method.enclose(layer.map, norm)
                    assert (bound.lower, bound.upper) == (0.0, 0.0), method
    half = kernel(4, 2, 3, 3)
    half[:2] = 0.0
    check_all(conv_layer(half, n=5, padding=1, groups=2))
    check_all(conv_layer(np.array([[[1.0, -1.0]]]), n=4, padding=(0, 1), mode="circular"))  # F(0) = 0


def test_groups_take_the_maximum():
    weight = kernel(6, 2, 3, 3)
    layer = conv_layer(weight, n=5, padding=1, groups=3)
    parts = [true_norm(conv_layer(weight[2 * g : 2 * g + 2], n=5, padding=1)) for g in range(3)]
    assert true_norm(layer) == pytest.approx(max(parts), rel=1e-12)
    ends = check_all(layer)
    assert ends["dense"][1] <= max(parts) * (1 + 1e-7) and ends["fft"][1] <= max(parts) * 1.3
    dense_reading = np.linalg.norm(weight.reshape(6, -1), 2)  # (c_out, c_in / g) read as one matrix
    assert dense_reading > 0 and ends["auto"][1] < math.prod(parts)


def test_stride_is_used():
    layer = conv_layer(kernel(4, 2, 3, 3), n=9, stride=2, padding=1)
    ends = check_all(layer)
    ignoring = FFT().enclose(conv_layer(layer.weight, n=9, padding=1).map).upper
    assert ends["fft"][1] < 0.9 * ignoring and ends["fft"][1] <= 1.1 * true_norm(layer)
    one = conv_layer(kernel(3, 2, 1, 1), n=9, stride=2)
    assert check_all(one)["fft"][1] <= true_norm(one) * 1.00001  # a 1x1 stride-2 kernel is one plain matrix


@pytest.mark.parametrize("extra", [0, 1])
def test_transposed_layer_and_output_padding(extra: int):
    layer = Layer("conv_transpose", kernel(3, 2, 3, 3), (4, 4), (2, 2), (1, 1), ((1, 1), (1, 1)), 1, "zeros", (extra, extra))
    assert layer.map.output_shape == (2, 7 + extra, 7 + extra)
    x, y = kernel(1, 3, 4, 4), kernel(1, *layer.map.output_shape)
    assert (layer.map.apply(x) * y).sum() == pytest.approx((x * layer.map.adjoint(y)).sum(), rel=1e-12)
    check_all(layer)
    back = AdjointMap(layer.map)
    for one, other in (("linf", "l1"), ("l1", "linf"), ("l2", "l2")):
        assert enclose(layer.map, one).upper == pytest.approx(enclose(back, other).upper, rel=1e-9)


def test_reshaped_kernel_is_not_the_norm():
    layer = conv_layer(np.ones((1, 1, 3, 3)), n=9, padding=1)
    assert np.linalg.norm(layer.weight.reshape(1, -1), 2) < 0.5 * enclose(layer.map).lower


@pytest.mark.parametrize("padding", [(0, 1), (1, 2), (2, 0)])
@pytest.mark.parametrize("taps", [2, 3, 4])
def test_asymmetric_padding_and_even_kernels(taps: int, padding: tuple[int, int]):
    for stride in (1, 2):
        check_all(conv_layer(kernel(2, 2, taps, taps), n=5, stride=stride, padding=padding))


def test_twists_other_than_zero_and_pi_are_refused():
    layer = conv_layer(kernel(2, 2, 3, 3), n=4, padding=1)
    truth = true_norm(layer)
    for twist in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert FFT(twist).enclose(layer.map).upper >= truth  # every twist is a bound
    for wrong in ((2, 0), (0.5, 0), (1,)):
        with pytest.raises(HypothesisError, match="half the spectrum"):
            FFT(wrong).enclose(layer.map)


def test_grid_factor_needs_enough_points():
    assert grid_factor((3, 1), (6, 1)) >= 1 / math.cos(math.pi / 6)
    with pytest.raises(HypothesisError, match="at least 6"):
        grid_factor((3,), (5,))


def test_not_finite_weights_are_input_errors():
    builder = GraphBuilder()
    x = builder.add("input", attrs={"shape": (2,)})
    for value in (math.nan, math.inf):
        with pytest.raises(InputError, match="not finite"):
            builder.add("dense", [x], arrays={"weight": np.array([[1.0, value]])})


def test_near_rank_one_kernels():
    """tr(G) is far below a * lambda here: a slack proportional to tr(G) would not be a proof (R3)."""
    for size in (1e-8, 1e-15, 0.0):
        weight = np.multiply.outer(kernel(6), kernel(6, 3, 3)) + size * kernel(6, 6, 3, 3)
        for mode in ("zeros", "circular"):
            check_all(conv_layer(weight, n=5, padding=1, mode=mode))


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-200, 1e-30, 1e30, 1e200, 1e300])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_extreme_scales(scale: float, mode: str):
    """Integer kernels times a power of ten: every method still encloses, without overflow, underflow or a warning."""
    weight = np.array([[[1.0, -2.0, 3.0]], [[0.0, 5.0, 1.0]]])
    layer = conv_layer(weight * scale, n=4, padding=1, mode=mode)
    plain = conv_layer(layer.weight / scale if scale > 1e-320 else weight, n=4, padding=1, mode=mode)
    for norm in ("l2", "linf", "l1"):
        truth = true_norm(layer, norm)
        assert truth == pytest.approx(true_norm(plain, norm) * scale, rel=1e-9) or scale < 1e-320
        for method in methods().values():
            if not method.supports(layer.map, norm):
                bound = method.enclose(layer.map, norm)
                assert bound.lower <= truth * (1 + 1e-12) and bound.upper >= truth * (1 - 1e-12), (method, norm, bound, truth)
                if method.name in ("auto", "dense", "svd") and scale > 1e-320:
                    assert bound.upper <= truth * 1.00001


def test_scaling_by_powers_of_two_changes_nothing_but_the_exponent():
    weight = kernel(3, 2, 3, 3).astype(np.float32).astype(np.float64)
    one, other = conv_layer(weight, n=5, padding=1).map, conv_layer(weight * 2.0**200, n=5, padding=1).map
    for method in methods().values():
        if not method.supports(one):
            a, b = method.enclose(one), method.enclose(other)
            assert (b.lower, b.upper) == (a.lower * 2.0**200, a.upper * 2.0**200), method


def test_wild_mixture_of_scales():
    """A live weight of 1e-300 beside a dead one of 1e300: the norm is the live one's, and no end is lost to underflow."""
    weight = np.zeros((1, 1, 3))
    weight[0, 0] = [1e300, 1e-300, 1e300]
    layer = conv_layer(weight, n=1, padding=1)  # only the middle tap is live
    for method in methods().values():
        if not method.supports(layer.map):
            bound = method.enclose(layer.map)
            assert bound.lower <= 1e-300 * (1 + 1e-12) and bound.upper >= 1e-300, (method, bound)


def test_svd_alone_is_not_the_bound():
    """The residual term is there: the upper end lies above the computed largest singular value."""
    for seed in range(20):
        w = np.random.default_rng(seed).standard_normal((6, 4))
        bound = SVD().enclose(DenseMap(w))
        assert bound.upper > np.linalg.svd(w, compute_uv=False)[0] >= bound.lower * (1 - 1e-14)


def test_unknown_effort_and_norm():
    with pytest.raises(HypothesisError, match="effort"):
        Auto("quick").enclose(DenseMap(np.eye(2)))
    with pytest.raises(InputError, match="norm"):
        enclose(DenseMap(np.eye(2)), "l3")


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_a_weight_that_scaling_loses_still_counts(norm):
    """[1, 5e-324]: scaled to [1/2, 1) the second weight underflows, and the row sum 1 + 5e-324 must not be called exactly 1."""
    for matrix in ([[1.0, 5e-324]], [[1.0], [5e-324]], [[2.0**1000, 2.0**-100]]):
        map, top = DenseMap(np.array(matrix)), float(np.max(matrix))
        above = {"l2": True, "linf": len(matrix) == 1, "l1": len(matrix) == 2}[norm]
        for method in methods().values():
            if not method.supports(map, norm):
                bound = method.enclose(map, norm)
                assert bound.lower <= top * (1 + 2.0**-52) and (bound.upper > top if above else bound.upper >= top), method.name
