"""Evidence by lines and twists per group: honest evidence of random layers, forged evidence, and checkers with one step left out."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.layers import Layer, conv_layer, layers, seeded
from strategies.lines import Reference, honest, outer_points
from truth.norms import true_norm

from certify.core.errors import CertifyError
from certify.proof import check_norms, grid, lines, section
from certify.proof.check_norms import linear_below
from certify.proof.windows import windows_of

ABOVE, BELOW = 1 + 1e-7, 1 - 1e-7


def evidence_below(layer: Layer, verify: dict, bound: float) -> str:
    """What the named evidence alone proves, in the units of the scaled weights: none of the checker's other ways."""
    return check_norms._evidence(windows_of(layer.graph["layer"], layer.input_shape), verify)(bound)


def scaled_truth(layer: Layer, reference: Reference) -> float:
    return math.ldexp(true_norm(layer), -reference.exponent)


def zero_padded(seeds) -> list[tuple[Layer, Reference, int]]:
    """The layers of the seeds that evidence by lines is about."""
    found = []
    for seed in seeds:
        layer = seeded(seed)
        if layer.op != "dense" and layer.mode == "zeros" and not (reference := Reference(layer)).dead:
            found.append((layer, reference, seed))
    return found


# --- honest evidence ----------------------------------------------------------------------------------------------------------------


def assert_honest(layer: Layer, reference: Reference, rng: np.random.Generator) -> None:
    verify = honest(reference, rng)
    value = float(reference.values(verify).max())
    assert scaled_truth(layer, reference) <= value * (1 + 1e-9), verify  # the theorem
    assert evidence_below(layer, verify, value * ABOVE), verify
    assert not evidence_below(layer, verify, value * BELOW), verify


def test_the_theorem_and_the_checker_on_hundreds_of_layers():
    """1-3 axes, strides, dilations, groups, transposed, dead taps, scales: the norm is at most the maximum of the lines, and the checker decides at it."""
    cases = zero_padded(range(700))
    assert len(cases) > 300
    for layer, reference, seed in cases:
        assert_honest(layer, reference, np.random.default_rng(seed))
    plans = [plan for _, reference, _ in cases for plan in reference.plans]
    assert {layer.op for layer, _, _ in cases} == {"conv", "conv_transpose"} and {reference.dims for _, reference, _ in cases} == {1, 2, 3}
    assert any(p < 0 for plan in plans for _, p, _ in plan.classes) and any(len(plan.classes) > 1 for plan in plans)
    assert any(plan.shifts > 1 < plan.stride for plan in plans) and any(layer.groups > 1 for layer, _, _ in cases)


@given(layer=layers(), seed=st.integers(0, 2**32 - 1))
def test_the_checker_decides_at_the_maximum_of_the_lines(layer, seed):
    if layer.op != "dense" and layer.mode == "zeros" and not (reference := Reference(layer)).dead:
        assert_honest(layer, reference, np.random.default_rng(seed))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 3)), ((3, 2), (2, 2))])
@pytest.mark.parametrize("inner", [0, 1])
def test_wide_layers_with_both_sides_of_the_gram_matrix(transposed, stride, dilation, inner):
    """Blocks of several LAPACK tiles: more outputs than inputs and fewer."""
    for rows, columns in ((20, 3), (3, 20)):
        weight = np.random.default_rng(rows).standard_normal((rows, columns, 3, 3))
        layer = Layer("conv_transpose" if transposed else "conv", weight, (6, 5), stride, dilation, ((1, 2), (1, 1)), 1, "zeros", (0, 0) if transposed else ())
        reference = Reference(layer)
        verify = honest(reference, np.random.default_rng(0), exact=0.6, inner=inner)
        verify["lines"][0] = [0, 0]
        value = float(reference.values(verify).max())
        assert scaled_truth(layer, reference) <= value * (1 + 1e-9)
        assert evidence_below(layer, verify, value * ABOVE) and not evidence_below(layer, verify, value * BELOW)


def test_one_axis_with_the_exact_section_is_the_norm_itself():
    for layer, reference, _ in zero_padded(range(400)):
        if reference.dims == 1:
            exact = scaled_truth(layer, reference)
            verify = {"by": "lines", "inner": 0, "period": [1], "twist": [0], "lines": [[0, 0]]}
            assert evidence_below(layer, verify, exact * ABOVE) and not evidence_below(layer, verify, exact * BELOW)


def test_the_whole_step_and_the_copies_of_a_padding():
    rng = np.random.default_rng(0)
    layer = conv_layer(rng.standard_normal((2, 2, 3, 3)), 5, padding=1)
    reference = Reference(layer)
    verify = honest(reference, rng)
    value = float(reference.values(verify).max())
    assert linear_below(layer.graph["layer"], layer.input_shape, "l2", math.ldexp(value * ABOVE, reference.exponent), verify).how
    copied = conv_layer(layer.weight, 5, padding=1, mode="replicate")
    inner = Reference(conv_layer(layer.weight, 7))
    of = honest(inner, rng)
    value = float(inner.values(of).max()) * 2.0  # ||P||^2 = 2 * 2: every corner pixel of an axis is read twice
    assert "lines" in evidence_below(copied, {"by": "copies", "count": [2, 2], "of": of}, value * ABOVE)
    assert "lines" not in evidence_below(copied, {"by": "copies", "count": [2, 2], "of": of}, value * BELOW)


def test_a_layer_whose_sections_lie_below_every_grid():
    """Long kernel on a short image: the exact section is what makes the evidence worth its cost, so both are compared with the truth."""
    layer = conv_layer(np.random.default_rng(1).standard_normal((2, 2, 5, 5)), 4, padding=2)
    reference = Reference(layer)
    period = [reference.plans[0].least, 1]
    count = len(outer_points(period, [1, 0], 1))
    best = {}
    for line in ([0, 0], [reference.plans[1].least, 4]):
        verify = {"by": "lines", "inner": 1, "period": period, "twist": [1, 0], "lines": [line] * count}
        best[line[0]] = float(reference.values(verify).max())
        assert evidence_below(layer, verify, best[line[0]] * ABOVE) and not evidence_below(layer, verify, best[line[0]] * BELOW)
    assert scaled_truth(layer, reference) < best[0] < 0.999 * max(best.values())


# --- twists per group -----------------------------------------------------------------------------------------------------------------


def grouped(seed: int) -> tuple[Layer, Reference, dict, float]:
    """A layer with groups, evidence with a twist per group, and the maximum over its grids."""
    rng = np.random.default_rng(seed)
    groups, dims = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    weight = rng.standard_normal((groups * int(rng.integers(1, 3)), int(rng.integers(1, 3)), *(3,) * dims))
    layer = conv_layer(weight, int(rng.integers(3, 6)), int(rng.integers(1, 3)), 1, groups=groups)
    reference = Reference(layer)
    period = [plan.least if plan.shifts > 1 else 1 for plan in reference.plans]
    twist = [[int(rng.integers(2)) for _ in range(dims)] for _ in range(groups)]
    value = 0.0
    for g in range(groups):
        for k in itertools.product(*map(range, period)):
            w = {i: math.pi * (2 * x + tau) / n for i, (x, tau, n) in enumerate(zip(k, twist[g], period))}
            value = max(value, reference.on_grid(reference.taps(g, w, 0), 0, 1, w[0]))
    return layer, reference, {"by": "grid", "claim": "embedding", "period": period, "twist": twist}, value


@pytest.mark.parametrize("seed", range(20))
def test_each_group_has_its_own_twist(seed):
    layer, reference, verify, value = grouped(seed)
    assert scaled_truth(layer, reference) <= value * (1 + 1e-9)
    assert evidence_below(layer, verify, value * ABOVE) and not evidence_below(layer, verify, value * BELOW)


def test_a_checker_that_reads_one_twist_for_all_groups_is_seen():
    """The twists matter: with those of the first group for all, some maxima differ."""
    differ = 0
    for seed in range(20):
        layer, _, verify, value = grouped(seed)
        differ += not evidence_below(layer, verify | {"twist": verify["twist"][0]}, value * ABOVE)
    assert differ > 3


MISFITS = [[[0, 1]], [[0, 1]] * 3, [[0, 1], [0]], [[0, 1], [0, 2]], [[0, 1], 1], [1, [0, 1]], [[], []], [[[0]], [[1]]], [[0, 1], [0, True]], [[0, 1], None], [], None]


@pytest.mark.parametrize("twist", MISFITS)
def test_twists_that_do_not_fit_the_groups_are_refused(twist):
    layer = conv_layer(np.ones((2, 1, 3, 3)), 4, padding=1, groups=2)
    with pytest.raises(CertifyError):
        evidence_below(layer, {"by": "grid", "claim": "embedding", "period": [5, 5], "twist": twist}, 1e6)
    assert evidence_below(layer, {"by": "grid", "claim": "embedding", "period": [5, 5], "twist": [[0, 1], [1, 1]]}, 1e6)
    with pytest.raises(CertifyError):  # Theorem 2 and circular maps have one twist
        evidence_below(layer, {"by": "grid", "claim": "any_size", "period": [9, 9], "twist": [[0, 1], [1, 1]]}, 1e6)


# --- forged evidence ------------------------------------------------------------------------------------------------------------------

GOOD = {"by": "lines", "inner": 1, "period": [6, 1], "twist": [1, 0], "lines": [[6, 4], [0, 0], [7, 3]]}
HUGE = 10**400


@pytest.mark.parametrize(
    ("changed", "fine"),
    [
        ({}, True),
        ({"lines": [[6, 0], [6, 7], [8, 1]]}, True),
        ({"period": [5, 1]}, False),  # also three lines, but the least period is 6
        ({"period": [7, 1]}, None),  # then there are four lines
        ({"period": [5, 1], "lines": [[0, 0]] * 3}, False),
        ({"period": [7, 1], "lines": [[6, 4]] * 4}, True),
        ({"period": [6, 1], "twist": [0, 0], "lines": [[6, 4]] * 4}, True),
        ({"twist": [0, 0]}, None),
        ({"period": [6, 6]}, None),
        ({"twist": [1, 1]}, None),
        ({"period": [1, 6]}, None),
        ({"inner": 0}, None),
        ({"inner": 2}, None),
        ({"inner": -1}, None),
        ({"inner": 1.0}, None),
        ({"inner": True}, None),
        ({"inner": None}, None),
        ({"inner": [1]}, None),
        ({"inner": HUGE}, None),
        ({"inner": math.nan}, None),
        ({"lines": [[6, 4], [0, 0]]}, None),
        ({"lines": [[6, 4]] * 4}, None),
        ({"lines": []}, None),
        ({"lines": None}, None),
        ({"lines": {}}, None),
        ({"lines": "666"}, None),
        ({"lines": [[6, 4]] * 200_000}, None),
        ({"lines": [[6, 4], [0, 1], [7, 3]]}, None),
        ({"lines": [[6, 8], [0, 0], [7, 3]]}, None),
        ({"lines": [[6, -1], [0, 0], [7, 3]]}, None),
        ({"lines": [[6, 4], [0, 0], [7, 3.0]]}, None),
        ({"lines": [[6, 4], [0, 0], [math.nan, 3]]}, None),
        ({"lines": [[6, 4], [0, 0], [True, 3]]}, None),
        ({"lines": [[6, 4], [0, 0], 7]}, None),
        ({"lines": [[6, 4], [0, 0], [7]]}, None),
        ({"lines": [[6, 4], [0, 0], [7, 3, 1]]}, None),
        ({"lines": [[6, 4], [0, 0], ["7", 3]]}, None),
        ({"lines": [[6, 4], [0, 0], [-7, 3]]}, None),
        ({"lines": [[6, 4], [0, 0], [HUGE, 3]]}, None),
        ({"lines": [[6, 4], [0, 0], [5, 4]]}, False),  # below the least period
        ({"lines": [[6, 4], [0, 0], [1, 0]]}, False),
        ({"lines": [[6, 4], [0, 0], [8192, 4]]}, False),  # only costs time
        ({"period": [8192, 1]}, None),
        ({"period": [HUGE, 1]}, None),
        ({"period": [6]}, None),
        ({"period": [6, 1, 1]}, None),
        ({"period": [6.0, 1]}, None),
        ({"period": [0, 1]}, None),
        ({"twist": [2, 0]}, None),
        ({"twist": [0.5, 0]}, None),
        ({"twist": [[1, 0]]}, None),
    ],
)
def test_forged_evidence(changed, fine):
    """fine None: refused as malformed; False: proves nothing, whatever the bound; True: it is evidence."""
    layer = conv_layer(np.random.default_rng(0).standard_normal((2, 2, 3, 3)), 5, padding=1)
    verify = GOOD | changed
    if fine is None:
        with pytest.raises(CertifyError):
            evidence_below(layer, verify, 1e6)
    else:
        assert bool(evidence_below(layer, verify, 1e6)) is fine
    exact = true_norm(layer)
    for bound in (exact * (1 - 1e-6), 0.0, 5e-324):
        try:
            assert not linear_below(layer.graph["layer"], layer.input_shape, "l2", bound, verify).how
        except CertifyError:
            assert fine is None


@pytest.mark.parametrize("bound", [math.nan, -math.inf, -1.0, 0.0, 5e-324, 1e-300])
def test_bounds_that_are_no_bounds(bound):
    layer = conv_layer(np.random.default_rng(0).standard_normal((2, 2, 3, 3)), 5, padding=1)
    for changed in ({}, {"lines": [[0, 0]] * 3}, {"lines": [[6, 1]] * 3}):
        assert not evidence_below(layer, GOOD | changed, bound)


@given(layer=layers(), data=st.data())
@settings(max_examples=settings.default.max_examples * 5)
def test_evidence_of_another_layer_never_accepts_what_is_below_the_truth(layer, data):
    """Also copying paddings, and integers drawn without regard to the rules: an error of our own, or no acceptance below the truth."""
    if layer.op == "dense":
        return
    d, small = len(layer.spatial), st.integers(0, 9)
    verify = {"by": "lines", "inner": data.draw(st.integers(0, d - 1)), "period": data.draw(st.lists(st.integers(1, 9), min_size=d, max_size=d))}
    verify["twist"] = data.draw(st.lists(st.integers(0, 1), min_size=d, max_size=d))
    if data.draw(st.integers(0, 9)):
        verify["period"][verify["inner"]], verify["twist"][verify["inner"]] = 1, 0
    count = lines._points(verify["period"], verify["twist"])
    line = st.one_of(st.just([0, 0]), st.tuples(st.integers(1, 20), st.integers(0, 7)).map(list), st.tuples(small, small).map(list))
    verify["lines"] = data.draw(st.lists(line, min_size=min(count, 3), max_size=3)) * count if data.draw(st.booleans()) else [data.draw(line)] * count
    verify["lines"] = verify["lines"][:count]
    exact = true_norm(layer)
    a = windows_of(layer.graph["layer"], layer.input_shape)
    for factor in (1 - 1e-6, 0.9, 0.0):
        try:
            assert a.zero or not check_norms._evidence(a, verify)(math.ldexp(exact * factor, -a.exponent))
        except CertifyError:
            pass
    if a.copying:
        try:
            assert not check_norms._evidence(a, verify)(1e300)
        except CertifyError:
            pass


def test_work_is_refused_before_it_is_begun(monkeypatch):
    """Lines and sections that a forged certificate could ask for on a layer of ordinary weights: nothing is computed."""
    for name in ("points_below", "split", "half_grid"):
        monkeypatch.setattr(lines, name, None)
    weight = np.ones((1, 1, 3, 3))
    wide = Layer("conv", weight, (4000, 4000), (1, 1), (1, 1), ((1, 1), (1, 1)))
    with pytest.raises(CertifyError):  # 8000 periods of tables, but too many lines
        evidence_below(wide, {"by": "lines", "inner": 1, "period": [8000, 1], "twist": [1, 0], "lines": [[8002, i % 8] for i in range(4001)]}, 1e6)
    assert not evidence_below(wide, {"by": "lines", "inner": 1, "period": [8000, 1], "twist": [1, 0], "lines": [[4001 + i, 1] for i in range(4000)]}, 1e6)
    channels = conv_layer(np.broadcast_to(1.0, (512, 512, 3)).copy(), 20_000, padding=1)
    assert not evidence_below(channels, {"by": "lines", "inner": 0, "period": [1], "twist": [0], "lines": [[0, 0]]}, 1e6)
    memory = conv_layer(np.broadcast_to(1.0, (64, 64, 200)).copy(), 400, padding=100)
    assert not evidence_below(memory, {"by": "lines", "inner": 0, "period": [1], "twist": [0], "lines": [[0, 0]]}, 1e6)
    sizes = section.cost((400, 100, 401), replace(_inner(memory), sections=()), 64, 64)
    assert sizes[1] > section.MOST_BYTES


def _inner(layer: Layer):
    found = lines.reduced(windows_of(layer.graph["layer"], layer.input_shape))
    assert found is not None
    return found[1][0]


def test_the_number_of_lines_is_that_of_the_half_grid():
    for d in (1, 2, 3):
        for period in itertools.product(range(1, 6), repeat=d):
            for twist in itertools.product((0, 1), repeat=d):
                assert lines._points(list(period), list(twist)) == len(grid.half_grid(list(period), list(twist))), (period, twist)


# --- the Gram matrix of a section -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_the_blocks_are_those_of_the_assembled_section(seed):
    """Strides, negative paddings, one block, taps that never meet; real and complex; within the stated error of the exact product."""
    rng = np.random.default_rng(seed)
    k, a, b, s = (int(rng.integers(1, high)) for high in (6, 4, 4, 4))
    n, m, p = int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.integers(-4, 5))
    x, y = rng.integers(-4, 5, (k, a, b)).astype(float), rng.integers(-4, 5, (k, a, b)).astype(float) if seed % 2 else None
    dense = np.zeros((m, a, n, b), dtype=complex)
    for o, at in np.ndindex(m, n):
        if 0 <= at - s * o + p < k:
            dense[o, :, at, :] = x[at - s * o + p] + (0 if y is None else 1j * y[at - s * o + p])
    dense = dense.reshape(m * a, n * b)
    one = section.Section(x, y, n, p, m, s)
    wanted = dense @ dense.conj().T if one.rows else dense.T @ dense.conj()
    q = len(wanted) // one.count
    found = np.zeros_like(wanted)
    for i in range(one.count):
        column = one.column(i)
        found[i * q : i * q + len(column), i * q : (i + 1) * q] = column
    assert (np.tril(found) == np.tril(wanted)).all()  # integers: exact
    top = float(np.linalg.eigvalsh(wanted)[-1])
    assert top == 0 or (one.below(top * ABOVE) and not one.below(top * BELOW))
    assert one.below(1e-3) if top == 0 else not one.below(0.0)


def test_the_stated_error_of_a_section_covers_its_rounding():
    """The same sections with the taps perturbed by what the phases may be off: within `section.error`, and not by orders of magnitude."""
    rng = np.random.default_rng(0)
    for s in (1, 2):
        taps = rng.standard_normal((3, 4, 5, 6))
        allowed = section.error(taps, s, 2)
        total, off = taps.sum(axis=0), np.abs(taps).sum(axis=0) * 2.0**-52 * rng.choice([-1, 1], taps.shape[1:])
        grams = []
        for x in (total, total + off):
            one = section.Section(x, None, 9, 1, 5, s)
            lower = np.zeros((one.count * one.x.shape[1],) * 2)
            for i in range(one.count):
                column = one.column(i)
                lower[i * one.x.shape[1] : i * one.x.shape[1] + len(column), i * one.x.shape[1] : (i + 1) * one.x.shape[1]] = column
            grams.append(np.tril(lower) + np.tril(lower, -1).T)
        moved = float(np.linalg.norm(grams[0] - grams[1], 2))
        assert 0 < moved < allowed < 1e4 * moved


# --- checkers with a step left out: this battery must see them ------------------------------------------------------------------------


def attacks(layer: Layer, reference: Reference):
    """(evidence, bound) pairs that a checker with a hole would accept: a period one too small, one line or one class of a section less."""
    for i, inner in itertools.product(range(reference.dims), repeat=2):
        plans = reference.plans
        period = [plan.least if plan.shifts > 1 and j != inner else 1 for j, plan in enumerate(plans)]
        twist = [int(n > 1) for n in period]
        n = plans[inner].least if plans[inner].shifts > 1 else 1
        if plans[i].shifts > 1 and plans[i].least > 1:
            short = [x - (j == i) if x > 1 else x for j, x in enumerate(period)]
            for tau, t in itertools.product((0, 1), (0, 4)):
                twists = [tau if x > 1 else 0 for x in short]
                count = len(outer_points(short, twists, inner))
                yield {"by": "lines", "inner": inner, "period": short, "twist": twists, "lines": [[n - (i == inner), t if n > 1 else 0]] * count}, None
        count = len(outer_points(period, twist, inner))
        for line in ([n, 4 if n > 1 else 0], [0, 0]):
            verify = {"by": "lines", "inner": inner, "period": period, "twist": twist, "lines": [line] * count}
            values = np.sort(reference.values(verify))
            if len(values) > 1:
                yield verify, values[-2]
        if len(plans[inner].classes) > 1:
            for which in range(len(plans[inner].classes)):
                norms = [float(np.linalg.norm(reference.section(reference.taps(0, w, inner), inner, which), 2)) for w in outer_points(period, twist, inner)]
                yield verify, max(norms)


def violations() -> tuple[int, int]:
    """(attacks below the truth, accepted ones)."""
    dangerous, accepted = 0, 0
    targets = [conv_layer(np.ones((1, 1, 3)), 8, padding=1), conv_layer(np.ones((1, 1, 3, 3)), 4, padding=1), conv_layer(np.ones((1, 1, 3)), 7, padding=2, dilation=2)]
    targets += [conv_layer(np.ones((1, 1, 3, 2)), 5, padding=1, dilation=3), conv_layer(np.ones((2, 1, 4)), 11, 2, 1), *(layer for layer, _, _ in zero_padded(range(60)))]
    for layer in targets:
        reference = Reference(layer)
        low = scaled_truth(layer, reference) * (1 - 1e-6)
        for verify, bound in attacks(layer, reference):
            if bound is None:
                bound = float(reference.values(verify).max()) * ABOVE
            if bound * ABOVE < low:
                dangerous += 1
                try:
                    accepted += bool(evidence_below(layer, verify, bound * ABOVE))
                except CertifyError:
                    pass
    return dangerous, accepted


def test_no_attack_succeeds():
    dangerous, accepted = violations()
    assert dangerous > 100 and accepted == 0


def test_battery_catches_a_period_one_too_small(monkeypatch):
    true = lines.Reduced.least.fget
    monkeypatch.setattr(lines.Reduced, "least", property(lambda self: max(1, true(self) - 1)))
    assert violations()[1] > 0


@pytest.mark.parametrize("which", [0, -1])
def test_battery_catches_a_dilation_class_left_out(monkeypatch, which):
    true = lines.reduced

    def short(a):
        found = true(a)
        return found and (found[0], [replace(x, sections=tuple(y for i, y in enumerate(x.sections) if i != which % len(x.sections) or len(x.sections) == 1)) for x in found[1]])

    monkeypatch.setattr(lines, "reduced", short)
    assert violations()[1] > 0


@pytest.mark.parametrize("part", ["_grids", "_sections_below"])
def test_battery_catches_a_line_left_out(monkeypatch, part):
    """The first line, nearest to frequency zero, which is the peak of a positive kernel."""
    true = getattr(lines, part)

    def short(*args):
        skipped = (0, 0) if part == "_grids" else (1, 0)
        return true(*(replace(x, lines=(skipped, *x.lines[1:])) if isinstance(x, lines.Lines) else x for x in args))

    monkeypatch.setattr(lines, part, short)
    assert violations()[1] > 0


def test_battery_catches_a_section_with_its_last_output_left_out(monkeypatch):
    class Short(section.Section):
        def __init__(self, x, y, n, p, m, s):
            super().__init__(x, y, n, p, max(1, m - 1), s)

    monkeypatch.setattr(section, "Section", Short)
    layer = conv_layer(np.ones((1, 1, 3)), 8, padding=1)
    exact = scaled_truth(layer, Reference(layer))
    assert evidence_below(layer, {"by": "lines", "inner": 0, "period": [1], "twist": [0], "lines": [[0, 0]]}, exact * (1 - 1e-6))


def test_battery_catches_phases_that_are_never_rotated(monkeypatch):
    """Sections of the bare kernel at every outer point: a maximum that is too small for kernels of mixed sign."""
    monkeypatch.setattr(lines, "phases", lambda points, shifts, denominators: (np.ones((len(points), len(shifts))), np.zeros((len(points), len(shifts)))))
    layer = conv_layer(np.array([[[[1.0], [-1.0]]]]), 4)
    exact = scaled_truth(layer, Reference(layer))
    assert exact > 0.75
    period = [Reference(layer).plans[0].least, 1]
    verify = {"by": "lines", "inner": 1, "period": period, "twist": [1, 0], "lines": [[0, 0]] * len(outer_points(period, [1, 0], 1))}
    assert evidence_below(layer, verify, exact * 0.9)
