"""Lines, sections and groups: every choice of periods and twists is a bound, the numbers are within their stated errors, and broken variants are caught."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.layers import Layer, conv_layer, layers
from truth.norms import scale_of, true_norm

from certify.core.errors import HypothesisError
from certify.linear.conv import ConvMap
from certify.norms.cholesky import unfinished
from certify.norms.dense import Dense
from certify.norms.eigenpair import lanczos_each
from certify.norms.hybrid import Hybrid
from certify.norms.line import LineGram
from certify.norms.peaks import find_peaks
from certify.norms.pieces import Piece, outer_lines
from certify.norms.polyphase import convolution_of, embedding_plan, sections_of, symbol_taps
from certify.norms.section import Section, line_sections
from certify.norms.settle import failing_points, settle
from certify.norms.symbol import Symbol
from certify.norms.twisted import Twisted

seeds = st.integers(0, 2**32 - 1)


def zero_padded(layer: Layer) -> ConvMap | None:
    """The scaled zero-padded convolution of a layer with some live tap and some weight, else None."""
    conv = convolution_of(layer.map.scaled()[0])
    if conv is None or conv.mode != "zeros" or not conv.stored.any() or any(embedding_plan(a) is None for a in conv.axes):
        return None
    return conv


def parts_of(conv: ConvMap):
    plans = [embedding_plan(a) for a in conv.axes]
    for block in conv.parts:
        symbol = Symbol(symbol_taps(block.weight, plans), [p.shifts for p in plans])
        yield block, plans, symbol, tuple(1 if len(p.shifts) == 1 else p.period for p in plans)


def norms_of(symbol: Symbol, frequencies: np.ndarray) -> np.ndarray:
    """||F(w)|| by NumPy alone, at rows of frequencies."""
    turn = np.exp(1j * frequencies @ symbol.at.T)
    return np.linalg.norm(np.einsum("abt,wt->wab", symbol.flat, turn), 2, axis=(1, 2))


def line_frequencies(piece: Piece, option) -> np.ndarray:
    return np.pi * piece.points(option) / np.array(piece.period(option))


@given(layer=layers(60), seed=seeds)
def test_every_choice_of_lines_is_a_bound(layer: Layer, seed: int):
    """Theorem 1 line by line: any inner axis, outer periods and twists, and any period and twist on each line."""
    conv = zero_padded(layer)
    if conv is None:
        return
    rng = np.random.default_rng(seed)
    bounds = []
    for _, _, symbol, least in parts_of(conv):
        inner = int(rng.integers(symbol.dims))
        period = tuple(1 if i == inner or n == 1 else n + int(rng.integers(3)) for i, n in enumerate(least))
        twist = tuple(0 if n == 1 else int(rng.integers(2)) for n in period)
        worst = 0.0
        for piece in outer_lines(symbol, inner, period, twist, least, 0):
            option = ((least[inner] + int(rng.integers(3)), int(rng.integers(8))),) if least[inner] > 1 else ((1, 0),)
            worst = max(worst, float(norms_of(symbol, line_frequencies(piece, option)).max()))
        bounds.append(worst)
    assert math.ldexp(max(bounds), scale_of(layer)) >= true_norm(layer) * (1 - 1e-12)


def classic_mistakes() -> dict:
    """Variants of the theorem with one hypothesis missing: each must fall below the truth somewhere."""

    def lines(symbol, least, drop_period=0, skip=False, half=False):
        worst = 0.0
        inner = symbol.dims - 1
        period = tuple(1 if i == inner else n for i, n in enumerate(least))
        pieces = outer_lines(symbol, inner, period, (0,) * symbol.dims, least, 0)
        for piece in pieces[1:] if skip and len(pieces) > 1 else pieces:
            n = max(1, least[inner] - drop_period)
            w = np.pi * np.stack(np.meshgrid(*[[f[0] / f[1]] if f else 2 * np.arange(n) / n for f in piece.fixed], indexing="ij"), -1).reshape(-1, symbol.dims)
            worst = max(worst, float(norms_of(symbol, w[: len(w) // 2 + 1] if half else w).max()))
        return worst

    return {
        "a period one too small": lambda s, least: lines(s, least, drop_period=1),
        "a line left out": lambda s, least: lines(s, least, skip=True),
        "half of a line whose mirror image is another line": lambda s, least: lines(s, least, half=True),
    }


@pytest.mark.parametrize("mistake", sorted(classic_mistakes()))
def test_classic_mistakes_are_not_bounds(mistake: str):
    """The truth test above can tell: each mistake falls below the norm on some random small layer."""
    rng, low = np.random.default_rng(5), 0
    for k in range(200):
        shape, padding = (((2, 2, 3, 3), 1), ((1, 1, 4), 2), ((2, 1, 5), 2))[k % 3]
        layer = conv_layer(rng.standard_normal(shape), n=int(rng.integers(2, 6)), padding=padding)
        for _, _, symbol, least in parts_of(zero_padded(layer)):
            low += math.ldexp(classic_mistakes()[mistake](symbol, least), scale_of(layer)) < true_norm(layer) * (1 - 1e-9)
    assert low > 0


@given(layer=layers(60), seed=seeds)
def test_line_grams_agree_with_the_symbol(layer: Layer, seed: int):
    """Both ways of computing G are within the same slack of it, so within two slacks of each other."""
    conv = zero_padded(layer)
    rng = np.random.default_rng(seed)
    for _, _, symbol, _ in parts_of(conv) if conv is not None else ():
        if not symbol.by_lags:
            continue
        inner = int(rng.integers(symbol.dims))
        period = tuple(int(n) for n in rng.integers(1, 9, symbol.dims))
        points = np.tile(rng.integers(0, 16, symbol.dims), (5, 1))
        points[:, inner] = rng.integers(0, 16, 5)
        line = LineGram(symbol, inner, tuple(points[0].tolist()), period)
        got, other = line.gram(points[:, inner], period[inner]), symbol.gram(points, period)
        assert np.linalg.norm(got - other, 2, axis=(1, 2)).max() <= 2 * symbol.slack
        assert (line.gram(points[:, inner], period[inner], -1.0) == -got).all()


def section_matrix(block: ConvMap, symbol: Symbol, inner: int, fixed, which: int) -> np.ndarray:
    """B(w_outer) of one dilation class of the inner axis, straight from the definition in norms.base: rows (o, a), columns (pixel, channel and outer phases)."""
    plans = [embedding_plan(a) for a in block.axes]
    inputs, low, outputs = sections_of(block.axes[inner])[which]
    plan, weight = plans[inner], block.weight
    for k, p in enumerate(plans):
        weight = np.compress(p.keep, weight, axis=k + 2)
    outer = [i for i in range(len(plans)) if i != inner]
    phases = [range(plans[i].phases) for i in outer]
    columns = {key: c for c, key in enumerate(product(range(weight.shape[1]), *phases))}
    b = np.zeros((outputs, weight.shape[0], inputs, len(columns)), dtype=complex)
    places = [np.flatnonzero(p.keep) - np.flatnonzero(p.keep)[0] for p in plans]  # where the kept taps lie in the cropped kernel
    for kept in product(*map(range, weight.shape[2:])):
        tap = tuple(int(place[t]) for place, t in zip(places, kept))
        turn = np.exp(1j * sum(np.pi * fixed[i][0] / fixed[i][1] * (tap[i] // plans[i].phases) for i in outer))
        for c in range(weight.shape[1]):
            column = columns[(c, *(tap[i] % plans[i].phases for i in outer))]
            for o in range(outputs):
                pixel = plan.phases * o + tap[inner] - low
                if 0 <= pixel < inputs:
                    b[o, :, pixel, column] += turn * weight[(slice(None), c, *kept)]
    return b.reshape(outputs * weight.shape[0], -1)


@given(layer=layers(60), seed=seeds)
def test_sections_against_their_definition(layer: Layer, seed: int):
    """The largest eigenvalue of the blocks is that of B B*, `below` is true just above it and false below, and the sections bound the layer."""
    conv = zero_padded(layer)
    if conv is None or conv.groups > 1:
        return
    rng = np.random.default_rng(seed)
    block, plans, symbol, least = next(iter(parts_of(conv)))
    inner = int(rng.integers(symbol.dims))
    period = tuple(1 if i == inner else n for i, n in enumerate(least))
    twist = tuple(0 if n == 1 else int(rng.integers(2)) for n in period)
    make, worst = line_sections(conv, plans, symbol, inner), 0.0
    for piece in outer_lines(symbol, inner, period, twist, least, 0):
        exact = make(piece)
        for which, section in enumerate(exact.sections):
            truth = float(np.linalg.norm(section_matrix(block, symbol, inner, piece.fixed, which), 2)) ** 2
            worst = max(worst, truth)
            blocks = section.blocks
            side = blocks[0][0].shape[0]
            gram = np.zeros((len(blocks) * side,) * 2, dtype=complex)
            for i, row in enumerate(blocks):
                for d, part in enumerate(row):
                    gram[i * side : (i + 1) * side, (i - d) * side : (i - d + 1) * side] = part
            top = float(np.linalg.eigvalsh(gram)[-1])
            assert abs(top - truth) <= 1e-11 * max(truth, 1e-3) and len(gram) == section.size and section.slack < 1e-10
            assert section.below(truth * (1 + 1e-9) + 1e-12) and not section.below(truth * (1 - 1e-9) - 1e-12)
            assert section.largest() <= truth * (1 + 3.1e-4) + 1e-12
    assert math.ldexp(math.sqrt(worst), scale_of(layer)) >= true_norm(layer) * (1 - 1e-12)


def test_broken_sections_are_seen():
    """A section without its border masks, or with a block row missing, is not the map: the comparison above would see it."""
    layer = conv_layer(np.random.default_rng(3).standard_normal((3, 2, 5)), n=9, stride=2, padding=2)
    conv = zero_padded(layer)
    _, plans, symbol, least = next(iter(parts_of(conv)))
    section = line_sections(conv, plans, symbol, 0)(outer_lines(symbol, 0, (1,), (0,), least, 0)[0]).sections[0]
    truth = (true_norm(layer) / 2.0 ** scale_of(layer)) ** 2
    wide = Section(section.taps, np.ones_like(section.inside), section.rows, section.slack)
    short = Section(section.taps, section.inside[:-1], section.rows - 1, section.slack)
    values = [float(np.linalg.eigvalsh(s.apply_all())[-1]) for s in map(_with_matrix, (section, wide, short))]
    assert abs(values[0] - truth) < 1e-10 and values[1] > truth * (1 + 1e-6) and values[2] < truth * (1 - 1e-6)


def _with_matrix(section: Section):
    class Whole:
        def apply_all(self):
            return np.stack([section.apply(e.astype(complex)) for e in np.eye(section.size)], axis=1)

    return Whole()


@given(layer=layers(60))
def test_what_settle_claims_is_true(layer: Layer):
    """Every chosen option has all its eigenvalues at or below the shift (NumPy's eigenvalues decide), from good, bad and absent starting levels."""
    conv = zero_padded(layer)
    for _, _, symbol, least in parts_of(conv) if conv is not None else ():
        if not symbol.flat.any():
            continue
        lines = outer_lines(symbol, 0, (1, *least[1:]), (0,) * symbol.dims, least, 1)
        first = [line.options()[-1] for line in lines]
        for start in (1e-30, 0.5 * float(symbol.center[0, 0]) if symbol.by_lags else 1e-3):
            done = settle(lines, first, start, None)
            for line, option in zip(lines, done.chosen):
                top = norms_of(symbol, line_frequencies(line, option)).max() ** 2
                assert top <= done.shift * (1 + 1e-12) + 2 * symbol.slack
                assert not len(failing_points(line, option, done.shift))


def test_settle_prefers_the_option_and_the_section_that_are_lower():
    layer = conv_layer(np.random.default_rng(0).standard_normal((6, 6, 3, 3)), n=6, padding=1)
    plain, better, best = (m.enclose(layer.map).upper for m in (Twisted(), Hybrid(), Hybrid(extra=1)))
    assert true_norm(layer) <= best * (1 + 1e-12) and better < plain and best < plain
    rows = Hybrid().enclose(layer.map).evidence["verify"]["lines"]
    assert [0, 0] in rows
    loose = Hybrid(steps=20, tolerance=0.5).enclose(layer.map)
    assert [0, 0] not in loose.evidence["verify"]["lines"]


@given(seed=seeds, shape=st.sampled_from([(3, 3, 3), (4, 2, 3, 3), (2, 2, 2, 2, 2), (1, 3, 5), (9, 9, 3, 3)]))
def test_the_highest_peak_is_nearly_the_supremum(seed: int, shape: tuple[int, ...]):
    """A search, not a proof; but a poor one would make bounds loose: within 2 % of a fine grid's maximum, and never above it by more than rounding."""
    symbol = next(iter(parts_of(zero_padded(conv_layer(np.random.default_rng(seed).standard_normal(shape), n=5, padding=1)))))[2]
    peak = find_peaks(symbol)[0]
    axes = [np.linspace(0, 2 * np.pi, 60 if symbol.dims < 3 else 16, endpoint=False)] * symbol.dims
    fine = norms_of(symbol, np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, symbol.dims)).max() ** 2
    value = norms_of(symbol, np.pi * peak.frequency[None])[0] ** 2
    assert peak.value <= value * (1 + 1e-9) and value >= 0.96 * fine


@given(seed=seeds)
def test_depthwise_groups_choose_their_own_twists(seed: int):
    rng = np.random.default_rng(seed)
    groups, dims = int(rng.integers(2, 7)), int(rng.integers(1, 3))
    shape = (groups * int(rng.integers(1, 3)), 1) if rng.integers(2) else (groups, int(rng.integers(1, 3)))
    weight = rng.standard_normal((*shape, *rng.integers(1, 4, dims))) * rng.choice([0.0, 1.0], (shape[0],) + (1,) * (dims + 1))
    layer = conv_layer(weight, n=int(rng.integers(2, 8)), padding=int(rng.integers(0, 3)), groups=groups, stride=int(rng.integers(1, 3)))
    bound, truth = Twisted(steps=4).enclose(layer.map), true_norm(layer)
    assert bound.lower <= truth * (1 + 1e-12) and truth <= bound.upper * (1 + 1e-12)
    if truth > 0 and bound.evidence["verify"]["by"] == "grid":
        assert len(bound.evidence["verify"]["twist"]) == groups


@given(exponent=st.integers(-1074, 1000), seed=seeds)
def test_scale_changes_nothing(exponent: int, seed: int):
    """Weights times a power of two give the bound times it, as long as no weight is lost."""
    weight = np.round(np.random.default_rng(seed).standard_normal((2, 3, 3)) * 16) / 16
    exponent = max(exponent, -1000)
    layer, scaled = (conv_layer(np.ldexp(weight, e), n=6, padding=1) for e in (0, exponent))
    for method in (Twisted(), Hybrid()):
        assert math.ldexp(method.enclose(layer.map).upper, exponent) == method.enclose(scaled.map).upper


def test_targets_on_fixed_layers():
    """Quality, on seeds that do not change: what the method is for. Small enough for the dense truth."""
    ratios = {}
    for channels, n in ((8, 7), (8, 14), (3, 28)):
        for seed in range(3):
            layer = conv_layer(np.random.default_rng(seed).standard_normal((channels, channels, 3, 3)), n=n, padding=1)
            truth = Dense().enclose(layer.map).lower
            for method in (Twisted(), Hybrid()):
                ratios.setdefault((n, method.name), []).append(method.enclose(layer.map).upper / truth)
    limits = {(7, "twisted"): 1.05, (7, "hybrid"): 1.025, (14, "twisted"): 1.015, (14, "hybrid"): 1.008, (28, "twisted"): 1.004, (28, "hybrid"): 1.003}
    for key, limit in limits.items():
        assert 1 - 1e-12 <= min(ratios[key]) and max(ratios[key]) <= limit, (key, ratios[key])


def test_one_axis_is_exact_with_sections():
    for seed in range(5):
        layer = conv_layer(np.random.default_rng(seed).standard_normal((4, 5, 7)), n=20, padding=3, stride=1 + seed % 2, dilation=1 + seed % 3)
        assert true_norm(layer) <= Hybrid().enclose(layer.map).upper <= true_norm(layer) * (1 + 2e-4)


def test_what_they_refuse():
    ring = conv_layer(np.ones((2, 2, 3, 3)), n=5, padding=1, mode="circular")
    grouped = conv_layer(np.random.default_rng(0).standard_normal((4, 2, 3, 3)), n=5, padding=1, groups=2)
    with pytest.raises(HypothesisError, match="circular"):
        Twisted().enclose(ring.map)
    with pytest.raises(HypothesisError, match="groups"):
        Hybrid().enclose(grouped.map)
    with pytest.raises(HypothesisError, match="MiB"):
        replace(Hybrid(), memory=10).enclose(conv_layer(np.random.default_rng(0).standard_normal((4, 4, 3, 3)), n=5, padding=1).map)


def test_without_a_known_library_the_real_twin_decides(monkeypatch: pytest.MonkeyPatch):
    """With a BLAS that may invert diagonal blocks the direct factorisation is not trusted: sections are given up, grids go through the real twin."""
    layer = conv_layer(np.random.default_rng(1).standard_normal((3, 3, 3, 3)), n=4, padding=1)
    for module in ("cholesky", "section"):
        monkeypatch.setattr(f"certify.norms.{module}.substitution", lambda: False)
    for method in (Twisted(), Hybrid()):
        bound = method.enclose(layer.map)
        assert true_norm(layer) <= bound.upper <= true_norm(layer) * 1.2
        assert [0, 0] not in bound.evidence["verify"]["lines"]
    gram = np.diag([1.0, 2.0]).astype(complex)
    assert unfinished(-np.stack([gram, 2 * gram]), 3.0).tolist() == [False, True]


def test_lanczos_estimates_do_not_exceed_the_eigenvalue():
    rng = np.random.default_rng(0)
    for a in (1, 5, 30):
        x = rng.standard_normal((4, a, a)) + 1j * rng.standard_normal((4, a, a))
        gram = x @ x.conj().transpose(0, 2, 1)
        values, vectors = lanczos_each(gram, 8)
        assert (values <= np.linalg.eigvalsh(gram)[:, -1] * (1 + 1e-12)).all() and vectors.shape == (4, a)
