"""core.rounding, scalar, exact, ieee: every end against rationals, one-sided; and broken copies that the same battery must catch."""

from __future__ import annotations

import math
from fractions import Fraction as Q

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.core import exact, ieee, rounding, scalar
from certify.core.errors import InputError, SoundnessError

MORE = settings(max_examples=settings.default.max_examples * 10)
finite = st.floats(allow_nan=False, allow_infinity=False)
near = st.builds(lambda m, e: math.ldexp(m, e), st.integers(-(2**53), 2**53), st.integers(-1126, 960)) | st.integers(-9, 9).map(float) | finite
SCALES = (1e-320, 1e-300, 1e-160, 1.0, 1e150, 1e300)

OPERATIONS = {
    "add": (rounding.add_up, rounding.add_down, lambda a, b: a + b),
    "sub": (rounding.sub_up, rounding.sub_down, lambda a, b: a - b),
    "mul": (rounding.mul_up, rounding.mul_down, lambda a, b: a * b),
    "div": (rounding.div_up, rounding.div_down, lambda a, b: a / b),
}


def is_tight(upper: float, lower: float, truth: Q) -> bool:
    """lower <= truth <= upper, and no float lies between an end and the truth."""
    above = upper == math.inf or Q(upper) >= truth
    below = lower == -math.inf or Q(lower) <= truth
    close_up = rounding.down(upper) == -math.inf or Q(rounding.down(upper)) < truth
    close_down = rounding.up(lower) == math.inf or Q(rounding.up(lower)) > truth
    return above and below and close_up and close_down and lower != math.inf and upper != -math.inf


@pytest.mark.parametrize("name", OPERATIONS)
@MORE
@given(a=near, b=near)
def test_operation_is_the_tightest_pair_of_floats(name, a, b):
    upward, downward, true = OPERATIONS[name]
    if name == "div" and b == 0:
        with pytest.raises(SoundnessError):
            upward(a, b)
        return
    assert is_tight(upward(a, b), downward(a, b), true(Q(a), Q(b)))


@MORE
@given(a=near.map(abs))
def test_square_root_is_tight(a):
    upper, lower = rounding.sqrt_up(a), rounding.sqrt_down(a)
    assert Q(lower) ** 2 <= Q(a) <= Q(upper) ** 2
    assert upper == lower or upper == rounding.up(lower)
    assert upper != lower or Q(upper) ** 2 == Q(a)


@MORE
@given(values=st.lists(near, max_size=12))
def test_sum_is_tight(values):
    assert is_tight(rounding.sum_up(values), rounding.sum_down(values), sum(map(Q, values), Q(0)))
    if values:
        assert rounding.sum_up(np.array(values)) == rounding.sum_up(values)


@MORE
@given(p=st.integers(-(10**400), 10**400) | st.integers(-(10**20), 10**20), q=st.integers(1, 10**400) | st.integers(1, 10**20))
def test_fraction_is_tight(p, q):
    assert is_tight(rounding.fraction_up(Q(p, q)), rounding.fraction_down(Q(p, q)), Q(p, q))


@MORE
@given(value=near, k=st.integers(-2200, 2200))
def test_ldexp_is_tight(value, k):
    assert is_tight(rounding.ldexp_up(value, k), -rounding.ldexp_up(-value, k), Q(value) * Q(2) ** k)


def test_exact_results_are_returned_unchanged():
    assert rounding.add_up(1.0, 1.0) == 2.0 == rounding.add_down(1.0, 1.0)
    assert rounding.sqrt_up(rounding.sum_up([9.0, 16.0])) == 5.0
    assert rounding.mul_up(0.1, 2.0) == 0.2 and rounding.div_up(0.3, 4.0) == 0.3 / 4
    assert rounding.fraction_up(Q(1, 8)) == 0.125 == rounding.fraction_down(Q(1, 8))
    assert rounding.sum_up([1e308, 1e308, -1e308, -1e308]) == 0.0  # a partial sum overflows, the sum does not


def test_overflow_and_infinity():
    assert rounding.add_up(rounding.MAX, rounding.MAX) == math.inf and rounding.add_down(rounding.MAX, rounding.MAX) == rounding.MAX
    assert rounding.mul_up(-1e200, 1e200) == -rounding.MAX and rounding.mul_down(-1e200, 1e200) == -math.inf
    assert rounding.add_up(math.inf, 1.0) == math.inf == rounding.add_down(math.inf, 1.0)
    assert rounding.div_up(1.0, math.inf) == 0.0 and rounding.sqrt_down(math.inf) == math.inf
    assert rounding.sum_down([math.inf, 1.0]) == math.inf and rounding.sum_down([1e308] * 9) == rounding.MAX


@pytest.mark.parametrize(
    "call",
    [
        lambda: rounding.add_up(math.nan, 1.0),
        lambda: rounding.sub_down(math.inf, math.inf),
        lambda: rounding.mul_up(0.0, math.inf),
        lambda: rounding.div_up(math.inf, math.inf),
        lambda: rounding.div_down(0.0, 0.0),
        lambda: rounding.sqrt_up(-1e-320),
        lambda: rounding.sqrt_up(math.nan),
        lambda: rounding.sum_up([1.0, math.nan]),
        lambda: rounding.sum_up([math.inf, -math.inf]),
        lambda: rounding.norm_up([1.0, math.nan], "linf"),
        lambda: rounding.norms_up(np.array([[1.0], [math.nan]]), "l2"),
    ],
)
def test_no_value_is_refused(call):
    with pytest.raises(SoundnessError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: rounding.gamma(-1),
        lambda: rounding.gamma(2**50),
        lambda: rounding.gamma(1.5),
        lambda: rounding.norm_up([1.0], "l3"),
        lambda: rounding.dual_norm("fro"),
        lambda: rounding.norm_up(np.array([2**60 + 1]), "l1"),
        lambda: rounding.norm_up(np.ones(2, dtype=complex), "l1"),
        lambda: rounding.norm_up(np.ones(2, dtype=np.longdouble), "l1"),
        lambda: rounding.norms_up(1.0, "l2"),
        lambda: rounding.add_up(2**53 + 1, 0.0),
        lambda: rounding.product_radius(-np.ones((2, 2)), np.ones(2)),
        lambda: rounding.product_radius(np.full((2, 2), math.nan), np.ones(2)),
    ],
)
def test_unusable_input_is_refused(call):
    with pytest.raises(InputError):
        call()


@given(n=st.integers(0, 2**50 - 1) | st.integers(0, 5000))
def test_gamma_is_an_upper_end(n):
    truth = Q(n) / 2**53 / (1 - Q(n) / 2**53)
    assert truth <= Q(rounding.gamma(n)) <= truth * (1 + Q(1, 2**49))


# --- norms ------------------------------------------------------------------------------------------------------------------------


def norm_excess(x: np.ndarray, norm: str) -> tuple[bool, bool]:
    """Whether norm_up lies below, norm_down above the true norm (both must be False)."""
    entries = [abs(Q(float(v))) for v in np.ravel(x)]
    upper, lower = rounding.norm_up(x, norm), rounding.norm_down(x, norm)
    if norm == "l2":
        truth, power = sum((v * v for v in entries), Q(0)), 2
    else:
        truth, power = (max(entries, default=Q(0)) if norm == "linf" else sum(entries, Q(0))), 1
    return not (upper == math.inf or Q(upper) ** power >= truth), not Q(lower) ** power <= truth


def norm_battery() -> tuple[int, int]:
    """Violations of both ends over random vectors of many scales, lengths and dynamic ranges."""
    rng, over, under = np.random.default_rng(0), 0, 0
    for scale in (*SCALES, 5e-324):
        for m in (1, 2, 3, 7, 50):
            for spread in (0, 3, 30):
                with np.errstate(over="ignore"):
                    x = np.nan_to_num(rng.standard_normal(m) * 2.0 ** -rng.uniform(0, spread + 0.01, m) * scale)
                for norm in rounding.NORMS:
                    low, high = norm_excess(x, norm)
                    over, under = over + low, under + high
    return over, under


def test_norms_hold_at_every_scale():
    assert norm_battery() == (0, 0)


@pytest.mark.parametrize("mutant", ["up", "down"])
def test_battery_catches_norms_that_are_not_rounded(monkeypatch, mutant):
    """Without the outward steps of one end, that end is crossed."""
    monkeypatch.setattr(rounding, "gamma", lambda n: 0.0)
    monkeypatch.setattr(rounding, "up", lambda x: x)
    monkeypatch.setattr(rounding, "down", lambda x: x)
    assert norm_battery()[mutant == "down"] > 0


def long_vectors(norm: str) -> int:
    """Violations over constant vectors of length 3000: there the sum's own error is far above one ulp."""
    power = 2 if norm == "l2" else 1
    return sum(Q(rounding.norm_up(np.full(3000, v), norm)) ** power < 3000 * Q(v) ** power for v in np.random.default_rng(1).random(40).tolist())


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_long_vectors_catch_a_missing_gamma(monkeypatch, norm):
    assert long_vectors(norm) == 0
    monkeypatch.setattr(rounding, "gamma", lambda n: 0.0)
    assert long_vectors(norm) > 0


@given(data=st.lists(st.lists(near, min_size=3, max_size=3), max_size=6), norm=st.sampled_from(rounding.NORMS))
def test_rows_and_single_vector_agree_and_hold(data, norm):
    rows = np.array(data, dtype=float).reshape(-1, 3)
    ends = rounding.norms_up(rows.reshape(-1, 3, 1), norm)
    assert ends.shape == (len(rows),)
    for row, end in zip(rows, ends, strict=True):
        assert norm_excess(row, norm) == (False, False)
        assert end == rounding.norm_up(row, norm)
        assert rounding.norm_down(row, norm) <= end


def test_norms_are_tight_and_exact_where_they_can_be():
    rng = np.random.default_rng(3)
    for scale in (1e-300, 1.0, 1e300):
        x = rng.standard_normal(10_000) * scale / 1e3
        for norm in ("l1", "l2"):
            assert rounding.norm_up(x, norm) <= rounding.norm_down(x, norm) * (1 + 1e-13)
        assert rounding.norm_up(x, "linf") == rounding.norm_down(x, "linf") == np.abs(x).max()
    assert rounding.norm_up([], "l2") == 0.0 and rounding.norm_up(np.zeros((3, 4)), "l1") == 0.0
    assert rounding.norms_up(np.zeros((0, 3)), "l2").shape == (0,) and rounding.norms_up(np.zeros((2, 0)), "linf").tolist() == [0.0, 0.0]
    assert rounding.norm_up([math.inf, 1.0], "l2") == math.inf and rounding.norm_up([1e308] * 4, "l1") == math.inf
    assert rounding.norm_down([1e308] * 4, "l1") == rounding.MAX


def test_norms_of_many_rows_do_not_depend_on_the_chunk(monkeypatch):
    x = np.random.default_rng(4).standard_normal((37, 5, 3))
    whole = [rounding.norms_up(x, norm) for norm in rounding.NORMS]
    monkeypatch.setattr(rounding, "_CHUNK", 40)
    for norm, expected in zip(rounding.NORMS, whole, strict=True):
        assert (rounding.norms_up(x, norm) == expected).all()
    assert (rounding.norms_up(x.astype(np.float32), "l2") == rounding.norms_up(x.astype(np.float32).astype(float), "l2")).all()


@given(x=st.lists(st.floats(-8, 8), min_size=4, max_size=4), y=st.lists(st.floats(-8, 8), min_size=4, max_size=4), norm=st.sampled_from(rounding.NORMS))
def test_dual_norm_is_hoelder(x, y, norm):
    product = sum(Q(a) * Q(b) for a, b in zip(x, y, strict=True))
    assert abs(product) <= Q(rounding.norm_up(x, norm)) * Q(rounding.norm_up(y, rounding.dual_norm(norm)))


# --- products -----------------------------------------------------------------------------------------------------------------------


def product_battery(cases: int = 36) -> int:
    """Entries of float products that lie further from the exact product than `product_radius` says."""
    rng, violations = np.random.default_rng(7), 0
    for case in range(cases):
        m, n, k = rng.integers(1, 6), rng.integers(1, 40), rng.integers(1, 4)
        scale = (1e-300, 1e-160, 1e-155, 1.0, 1e150, 3e-162)[case % 6]
        a, b = rng.standard_normal((m, n)) * scale, rng.standard_normal((n, k)) * (scale if scale < 1 else 1.0)
        computed, radius = a @ b, rounding.product_radius(np.abs(a), np.abs(b))
        for i in range(m):
            for j in range(k):
                truth = sum((Q(x) * Q(y) for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True)), Q(0))
                violations += abs(Q(float(computed[i, j])) - truth) > Q(float(radius[i, j]))
    return violations


def test_product_radius_holds():
    assert product_battery() == 0
    assert np.isinf(rounding.product_radius(np.full((1, 2), 1e300), np.full(2, 1e300))).all()
    assert rounding.product_radius(np.ones((2, 0)), np.ones((0, 3))).shape == (2, 3)


@pytest.mark.parametrize("mutant", ["eta", "gamma"])
def test_battery_catches_broken_product_radius(monkeypatch, mutant):
    if mutant == "eta":
        monkeypatch.setattr(rounding, "ETA", 0.0)
    else:
        monkeypatch.setattr(rounding, "gamma", lambda n: 0.0)
    assert product_battery() > 0


@pytest.mark.parametrize("module", [scalar, exact])
def test_battery_catches_missing_outward_rounding(monkeypatch, module):
    """With the outward step left out, a sum, a product, a fraction falls on the wrong side."""
    monkeypatch.setattr(module, "outward", lambda computed, sign, upward: computed)
    values = np.random.default_rng(5).standard_normal((50, 2)).tolist()
    if module is scalar:
        broken = [Q(rounding.mul_up(a, b)) < Q(a) * Q(b) or Q(rounding.add_down(a, b)) > Q(a) + Q(b) for a, b in values]
    else:
        broken = [Q(rounding.sum_up(v)) < sum(map(Q, v)) or Q(rounding.fraction_up(Q(v[0]) / 3)) < Q(v[0]) / 3 for v in values]
    assert any(broken)


# --- the arithmetic itself ------------------------------------------------------------------------------------------------------------


def test_this_process_is_ieee():
    rounding.require_ieee()


def test_flush_to_zero_is_refused():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        with pytest.raises(SoundnessError):
            rounding.require_ieee()
    finally:
        torch.set_flush_denormal(False)
    rounding.require_ieee()


def test_a_failing_matrix_product_is_refused(monkeypatch):
    monkeypatch.setattr(ieee, "_matmul_probe", lambda: False)
    with pytest.raises(SoundnessError):
        rounding.require_ieee()
