"""The numbers behind lines and sections, exactly: least periods by brute force, stated errors against exact or 40-digit arithmetic, no point left out."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.layers import conv_layer

from certify.linear.axis import Axis
from certify.norms.cholesky import with_slack
from certify.norms.groups import _scalars
from certify.norms.hybrid import Hybrid
from certify.norms.pieces import outer_lines
from certify.norms.polyphase import embedding_plan, embedding_plans, require_convolution, sections_of, symbol_taps
from certify.norms.section import line_sections
from certify.norms.settle import _Options, failing_points, settle
from certify.norms.symbol import Symbol
from certify.norms.twisted import line_ends

seeds = st.integers(0, 2**32 - 1)


@given(n=st.integers(1, 8), k=st.integers(1, 6), s=st.integers(1, 3), d=st.integers(1, 3), low=st.integers(0, 9), high=st.integers(0, 9))
def test_no_wrapped_tap_meets_a_pixel(n: int, k: int, s: int, d: int, low: int, high: int):
    """Theorem 1 (a): with the least period no tap index s o - p + t of a row meets a real input one or more turns away, and rows and columns are distinct."""
    m = (n + low + high - d * (k - 1) - 1) // s + 1
    if m < 1:
        return
    axis = Axis(n, m, k, s, d, low, high)
    plan = embedding_plan(axis)
    if plan is None:
        return
    live = np.flatnonzero(axis.live)
    for inputs, p, outputs in sections_of(axis):
        turn = plan.phases * plan.period
        read = {plan.phases * o - p + t for o in range(outputs) for t in range(int(live[-1] - live[0]) + 1)}
        assert not any((tau - i) % turn == 0 and tau != i for tau in read for i in range(inputs))
        touched = [i for i in range(inputs) if i in read]
        assert outputs <= plan.period and len({(i + p) % turn for i in touched}) == len(touched)


def one_group(weight: np.ndarray, n: int, **geometry):
    conv = require_convolution(conv_layer(weight, n=n, **geometry).map.scaled()[0])
    plans = embedding_plans(conv)
    symbol = Symbol(symbol_taps(conv.weight, plans), [plan.shifts for plan in plans])
    return conv, plans, symbol, tuple(1 if len(plan.shifts) == 1 else plan.period for plan in plans)


@pytest.mark.parametrize(("shape", "geometry"), [((3, 2, 3, 3), {"padding": 1}), ((2, 4, 3, 2), {"padding": 1, "stride": 2}), ((3, 3, 4), {"padding": 2, "dilation": 2})])
def test_section_grams_are_within_their_slack(shape: tuple[int, ...], geometry: dict):
    """|| fl(B B*) - B B* || <= slack entry by entry against 40 digits, at frequencies that are no multiples of pi / 2; and the slack is not vacuous."""
    conv, plans, symbol, least = one_group(np.random.default_rng(0).standard_normal(shape), 5, **geometry)
    inner, worst = 0, 0.0
    flat = symbol.flat.swapaxes(0, 1) if symbol.transposed else symbol.flat
    for piece in outer_lines(symbol, inner, (1, *least[1:]), (0, *(1 for _ in least[1:])), least, 0):
        for section in line_sections(conv, plans, symbol, inner)(piece).sections:
            with mpmath.workdps(40):
                taps = [mpmath.zeros(*flat.shape[:2]) for _ in section.taps]
                for t, shift in enumerate(symbol.at):
                    angle = sum(mpmath.mpf(int(j)) * f[0] / f[1] for j, f in zip(shift, piece.fixed) if f is not None)
                    taps[int(shift[inner])] += mpmath.expjpi(angle) * mpmath.matrix(flat[:, :, t].tolist())
                b = mpmath.zeros(section.rows * flat.shape[0], section.inside.size)
                for o in range(section.rows):
                    for j, tap in enumerate(taps):
                        for x in range(flat.shape[0]):
                            for y in np.flatnonzero(section.inside[o + j]):
                                b[o * flat.shape[0] + x, (o + j) * flat.shape[1] + int(y)] = tap[x, int(y)]
                exact = b * b.H if section.by_rows else b.H * b
                side = section.blocks[0][0].shape[0]
                for i, row in enumerate(section.blocks):
                    for back, block in enumerate(row):
                        for x, y in np.ndindex(block.shape):
                            worst = max(worst, abs(mpmath.mpc(complex(block[x, y])) - exact[i * side + x, (i - back) * side + y]) / section.slack)
    assert 0 < worst <= 1


@given(seed=seeds)
def test_depthwise_ends_cover_the_exact_grid(seed: int):
    """On the grid {0, pi}^D every phase is +-1, so G is a rational: the end of `_scalars` is at least its root, decided in fractions (no room has been added)."""
    rng = np.random.default_rng(seed)
    groups, b, dims = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    rows = rng.standard_normal((groups, b, *(2,) * dims))
    upper, twists, _, _ = _scalars(rows, [np.arange(2)] * dims, (2,) * dims)
    for g, twist in enumerate(twists):
        if any(twist):
            continue  # a twisted grid of two points has phases +-i: its values are sums of squares, larger than none of these
        for signs in np.ndindex(*(2,) * dims):
            total = Fraction(0)
            for c in range(b):
                value = sum((Fraction(float(rows[(g, c, *t)])) * (-1) ** sum(x * y for x, y in zip(t, signs)) for t in np.ndindex(*(2,) * dims)), Fraction(0))
                total += value * value
            assert Fraction(upper) ** 2 >= total


def test_depthwise_slack_is_needed_and_there():
    """One number per group and no frequency: the exact square decides, and without the slack about half of these ends would be below it."""
    rng, below = np.random.default_rng(0), 0
    for _ in range(200):
        rows = rng.standard_normal((1, 3, 1))
        exact = sum((Fraction(float(x)) ** 2 for x in rows.ravel()), Fraction(0))
        assert Fraction(_scalars(rows, [np.arange(1)], (1,))[0]) ** 2 >= exact
        below += Fraction(float(np.sqrt(np.square(rows).sum()))) ** 2 < exact
    assert below > 20


@pytest.mark.parametrize("seed", range(4))
def test_every_point_of_a_chosen_option_is_factorised(seed: int):
    """Wide kernels, where estimates are poor: from a low level many options are tried, and the shift must hold at all points of the chosen ones."""
    _, _, symbol, least = one_group(np.random.default_rng(seed).standard_normal((40, 40, 3, 3)), 6, padding=1)
    lines = outer_lines(symbol, 0, (1, least[1]), (0, 1), least, 0)
    for start in (0.3, 0.6):
        top = max(float(np.linalg.eigvalsh(line.gram(line.points(line.options()[0]), line.period(line.options()[0])))[:, -1].max()) for line in lines)
        done = settle(lines, [line.options()[0] for line in lines], start * top, None)
        assert not any(len(failing_points(line, option, done.shift)) for line, option in zip(lines, done.chosen))
        for line, option in zip(lines, done.chosen):
            assert np.linalg.eigvalsh(line.gram(line.points(option), line.period(option)))[:, -1].max() <= done.shift * (1 + 1e-12)


def test_the_slack_of_sections_reaches_the_bound():
    """A section with a large slack must lift the bound: it is part of what is claimed, not of the search."""
    layer = conv_layer(np.random.default_rng(0).standard_normal((6, 6, 3, 3)), n=6, padding=1)

    def coarse(conv, plans, symbol, inner):
        make = line_sections(conv, plans, symbol, inner)

        def made(piece):
            sections = make(piece)
            sections.slack = 1e4
            return sections

        return made

    assert [0, 0] in Hybrid().enclose(layer.map).evidence["verify"]["lines"]
    assert line_ends(layer.map.scaled()[0], 0, 0, coarse).upper >= math.sqrt(1e4)


@pytest.mark.parametrize("size", [2, 24, 64, 3584])
def test_the_factorisation_is_paid_for(size: int):
    """R4 in fractions: shift (1 + u) + kappa a (shift + slack) + slack, kappa = sqrt2 g / (1 - g), g = (2 a + 8) u / (1 - (2 a + 8) u)."""
    unit, root = Fraction(1, 2**53), Fraction(14142135623, 10**10)  # a lower end of the root of 2
    g = (2 * size + 8) * unit / (1 - (2 * size + 8) * unit)
    for shift, slack in ((1.0, 0.0), (0.37, 1e-14), (3.0, 1e-9), (1e-30, 1e-12)):
        needed = Fraction(shift) * (1 + unit) + root * g / (1 - g) * size * (Fraction(shift) + Fraction(slack)) + Fraction(slack)
        assert Fraction(with_slack(shift, size, slack)) >= needed


def test_a_failed_option_owes_all_its_failed_points():
    """After a failure the next attempt factorises every point that failed, not only the one that seems highest."""
    _, _, symbol, least = one_group(np.random.default_rng(0).standard_normal((30, 30, 3, 3)), 7, padding=1)
    checked = 0
    for line in outer_lines(symbol, 0, (1, least[1]), (0, 1), least, 0):
        for option in line.options():
            values = np.linalg.eigvalsh(line.gram(line.points(option), line.period(option)))[:, -1]
            low = float(np.sort(values)[-4]) * (1 + 1e-9)
            bad = failing_points(line, option, low)
            failed = values[values > low]
            options = _Options(line, option, bad, failed, np.ones((len(failed), 30), dtype=complex), low, None, 0.0)
            assert len(bad) == len(failed) == 3 and not options.below(option, low)
            between = float(np.sort(failed)[1]) * (1 + 1e-9)  # above two of the three
            assert not options.below(option, between) and options.below(option, float(failed.max()) * (1 + 1e-9))
            checked += int(failed.argmax() != 0)
    assert checked > 5
