"""The ground of the frequency methods: phases, Gram matrices and their stated errors, plans, batched certificates."""

from __future__ import annotations

import math
from itertools import product

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.layers import conv_layer, layers
from truth.norms import dense_matrix

from certify.core.rounding import U
from certify.linear.adjoint import AdjointMap
from certify.linear.axis import Axis
from certify.linear.conv import ConvMap
from certify.norms.cholesky import unfinished
from certify.norms.fft import FFT
from certify.norms.gram_matrix import gram_matrix
from certify.norms.grid import best_twist, find_peak, grid_factor, grid_upper, half_grid
from certify.norms.polyphase import circular_plan, embedding_plan, symbol_taps
from certify.norms.search import quotient_down
from certify.norms.symbol import Symbol, phases, roots


def symbol_of(layer, circular: bool = False) -> Symbol:
    plans = [circular_plan(a) if circular else embedding_plan(a) for a in layer.map.axes]
    return Symbol(symbol_taps(layer.map.scaled()[0].weight, plans), [p.shifts for p in plans])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 39, 57, 114])
def test_phases_are_within_the_stated_error(n: int):
    """R1: each component of exp(i pi q / n) within 4u, against 60 digits."""
    table = roots(n)
    with mpmath.workdps(60):
        for q in range(2 * n):
            angle = mpmath.pi * q / n
            assert abs(mpmath.mpf(float(table[q].real)) - mpmath.cos(angle)) <= 4 * U
            assert abs(mpmath.mpf(float(table[q].imag)) - mpmath.sin(angle)) <= 4 * U


@given(st.integers(0, 2**32 - 1))
def test_products_of_phases(seed: int):
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(1, 4))
    period = tuple(int(n) for n in rng.integers(1, 20, dims))
    numerators, vectors = rng.integers(0, 60, (3, dims)), rng.integers(-5, 6, (4, dims))
    got = phases(numerators, period, vectors)
    with mpmath.workdps(50):
        for i, j in product(range(3), range(4)):
            angle = mpmath.pi * sum(mpmath.mpf(int(q) * int(v)) / n for q, v, n in zip(numerators[i], vectors[j], period))
            assert abs(mpmath.mpc(complex(got[i, j])) - mpmath.expjpi(angle / mpmath.pi)) <= 9 * dims * U


def exact_gram(symbol: Symbol, numerators, period) -> mpmath.matrix:
    """G(w) in 40 digits, from the definition."""
    with mpmath.workdps(40):
        f = mpmath.matrix(symbol.a, symbol.b)
        for t, shift in enumerate(symbol.at):
            phase = mpmath.expjpi(sum(mpmath.mpf(int(q) * int(s)) / n for q, s, n in zip(numerators, shift, period)))
            f += phase * mpmath.matrix(symbol.flat[:, :, t].tolist())
        return f * f.H


@pytest.mark.parametrize(("shape", "by_lags"), [((3, 3, 3), True), ((4, 5, 2, 2), True), ((2, 3, 2, 3), False), ((1, 4, 3), False), ((5, 2, 4), False)])
def test_gram_is_within_its_slack(shape: tuple[int, ...], by_lags: bool):
    """R2: || fl(G) - G || <= slack at random grid points, against 40 digits; both ways of computing G."""
    rng = np.random.default_rng(0)
    layer = conv_layer(rng.standard_normal(shape), n=6, padding=1)
    symbol = symbol_of(layer)
    assert symbol.by_lags == by_lags and symbol.slack < 1e-10
    period = tuple(int(n) for n in rng.integers(5, 12, len(shape) - 2))
    points = rng.integers(0, 20, (3, len(period)))
    for point, got in zip(points, symbol.gram(points, period)):
        exact = exact_gram(symbol, point, period)
        error = max(abs(mpmath.mpc(complex(got[i, j])) - exact[i, j]) for i in range(symbol.a) for j in range(i + 1))
        assert symbol.a * error <= symbol.slack


def test_grid_certificate_is_above_every_eigenvalue():
    """R3, R4: with a good, a bad and no estimate, Lambda >= lambda_max(G) of each point; a higher estimate is kept."""
    rng = np.random.default_rng(1)
    for shape in ((3, 3, 3, 3), (30, 20, 3), (1, 6, 3, 3)):
        symbol = symbol_of(conv_layer(rng.standard_normal(shape), n=6, padding=1))
        period = (7,) * (len(shape) - 2)
        points = half_grid(period, (0,) * len(period))
        truth = max(float(np.linalg.eigvalsh(g)[-1]) for g in symbol.gram(points, period))
        for estimate in (truth, 0.0, 1e-300, 0.9 * truth, 1.5 * truth):
            top, _ = grid_upper(symbol, period, (0,) * len(period), estimate)
            assert top >= truth * (1 - 1e-14)
            assert top <= max(truth, estimate * (symbol.a > 1)) * (1 + 1e-4)


def test_a_failed_or_broken_factorisation_proves_nothing():
    good, bad = np.diag([1.0, 2.0]).astype(complex), np.diag([1.0, 5.0]).astype(complex)
    broken = np.full((2, 2), np.nan + 0j)
    assert unfinished(-np.stack([good, bad, broken, good]), 3.0).tolist() == [False, True, True, False]
    big = np.zeros((3, 40, 40), dtype=complex)
    big[1, 7, 7], big[2] = 4.0, np.nan
    assert unfinished(-big, 3.0).tolist() == [False, True, True]
    assert unfinished(-np.full((1, 2, 2), np.inf + 0j), 3.0).tolist() == [True]


@given(layers(60))
def test_half_grids_hold_every_conjugate_pair(layer):
    rng = np.random.default_rng(0)
    dims = max(1, len(layer.spatial))
    period = tuple(int(n) for n in rng.integers(1, 6, dims))
    for twist in product((0, 1), repeat=dims):
        half = {tuple(p) for p in half_grid(period, twist).tolist()}
        whole = set(product(*[[2 * k + t for k in range(n)] for n, t in zip(period, twist)]))
        mirrored = {tuple(-x % (2 * n) for x, n in zip(p, period)) for p in half}
        assert half <= whole and half | mirrored == whole


def test_grid_factor_is_an_upper_end():
    for j in range(2, 8):
        for n in (2 * j, 2 * j + 1, 32, 64):
            with mpmath.workdps(40):
                assert mpmath.mpf(grid_factor((j,), (n,))) >= 1 / mpmath.cos(mpmath.pi * (j - 1) / (2 * n))
    assert grid_factor((1, 1), (1, 1)) == 1.0


def test_any_size_factor_is_sharp():
    """1 + e^{iDw} with D | N and the peak midway between grid lines: the factor cannot be smaller (Theorem 2)."""
    n, degree = 8, 2
    values = [abs(1 - np.exp(1j * degree * 2 * math.pi * k / n)) for k in range(n)]
    shifted = [abs(1 + np.exp(1j * degree * (2 * math.pi * k + math.pi) / n)) for k in range(n)]
    assert max(shifted) * grid_factor((degree + 1,), (n,)) == pytest.approx(2.0, rel=1e-12)
    assert max(values) <= 2.0 + 1e-12


@given(layers(60))
def test_gram_matrix_of_every_map(layer):
    """(G, radius) encloses S S' of the scaled dense matrix, and G is exactly symmetric; adjoint maps too."""
    for m in (layer.map, AdjointMap(layer.map)):
        for block in m.blocks():
            scaled, _ = block.scaled()
            gram, radius, rows = gram_matrix(scaled)
            dense = scaled.dense() if rows else scaled.dense().T
            assert (gram == gram.T).all() and gram.shape == (block.size, block.size)
            assert np.abs(gram - dense @ dense.T).max() <= 4 * radius


def test_zero_padded_plan_crops_dead_taps_and_removes_the_common_factor():
    plan = embedding_plan(Axis(inputs=1, outputs=1, taps=5, low=2))
    assert plan.keep.tolist() == [False, False, True, False, False] and len(plan.shifts) == 1 and plan.period == 1
    plan = embedding_plan(Axis(inputs=8, outputs=4, taps=3, stride=2, dilation=2, low=2))
    assert plan.phases == 1 and len(plan.shifts) == 3  # stride 2 with dilation 2 is stride 1 on every other pixel
    assert embedding_plan(Axis(inputs=3, outputs=3, taps=2, low=7)) is None


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_start_vector_is_worth_its_name(mode: str, transposed: bool, stride: int):
    layer = conv_layer(np.random.default_rng(3).standard_normal((3, 2, 3, 3)), n=20, stride=stride, padding=1, mode=mode)
    m = AdjointMap(layer.map) if transposed else layer.map
    bound = FFT().enclose(m)
    assert bound.start is not None and bound.start.shape == m.input_shape
    assert quotient_down(m.scaled()[0], bound.start) * 2.0 ** m.scaled()[1] >= 0.9 * bound.upper


def test_twists_that_look_lowest_are_chosen():
    ones = conv_layer(np.ones((1, 1, 3, 3)), n=8, padding=1)
    symbol = symbol_of(ones)
    assert best_twist(symbol, find_peak(symbol), (9, 9)) == (1, 1)  # the peak at 0 is avoided on both axes
    assert FFT().enclose(ones.map).evidence["verify"]["twist"] == [1, 1]
    assert np.linalg.norm(dense_matrix(ones), 2) <= FFT().enclose(ones.map).upper


def test_direct_and_lag_grams_agree():
    layer = conv_layer(np.random.default_rng(5).standard_normal((4, 4, 3, 3)), n=6, padding=1)
    symbol = symbol_of(layer)
    assert symbol.by_lags
    points = np.array([[1, 4], [3, 0]])
    f = symbol.matrix(points, (7, 7))
    assert np.abs(f @ f.conj().transpose(0, 2, 1) - symbol.gram(points, (7, 7))).max() <= 2 * symbol.slack
    assert isinstance(layer.map, ConvMap)
