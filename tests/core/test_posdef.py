"""core.posdef, cholesky, lanczos against exact rational elimination; broken criteria that the same battery must catch."""

from __future__ import annotations

import math
from fractions import Fraction as Q

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lapack

from certify.core import cholesky, lanczos, posdef
from certify.core.errors import InputError
from certify.core.posdef import max_eigenvalue_upper, residual_lower, spectral_radius_up, verified_pd, verified_pd_hermitian

CASES = 12 * settings.default.max_examples
# Seeds of `near_singular`, found by a search over 60 000: not positive definite, and accepted with the shift cut to 2 %.
HARD = [7457, 9050, 11212, 11406, 12813, 13294, 14210, 17920, 18108, 19078, 19978, 20482, 21348, 21786, 22128, 22850, 24387, 25088, 25296, 25464, 26096, 27006, 28296]
HARD += [28526, 28750, 28906, 29292, 29642, 30808, 30900, 31060, 31094, 35338, 35666, 35858, 36698, 36750, 36886, 38520, 40522, 40852, 41668, 42882, 42932, 43924, 44050]


def exact_pd(a) -> bool:
    """Positive definiteness over the rationals (elimination without square roots); entries may be floats or Fractions."""
    m = [[x if isinstance(x, Q) else Q(float(x)) for x in row] for row in a]
    for k in range(len(m)):
        if m[k][k] <= 0:
            return False
        for i in range(k + 1, len(m)):
            f = m[i][k] / m[k][k]
            if f:
                m[i] = [x - f * y for x, y in zip(m[i], m[k], strict=True)]
    return True


def is_upper_end(a: np.ndarray, bound: float) -> bool:
    """bound >= lambda_max(a), exactly, for a real symmetric float matrix: bound I - a + tiny I is positive definite for a rational tiny."""
    tiny = Q(1, 2**1200)
    return exact_pd([[(Q(bound) + tiny if i == j else Q(0)) - Q(float(x)) for j, x in enumerate(row)] for i, row in enumerate(a)])


def twin(h: np.ndarray) -> np.ndarray:
    return np.block([[h.real, -h.imag], [h.imag, h.real]])


def symmetric(z: np.ndarray) -> np.ndarray:
    return np.tril(z) + np.tril(z, -1).conj().T


def near_singular(seed: int) -> np.ndarray:
    """Integer Gram matrix, often exactly singular, badly scaled or a few ulp off."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    z = rng.integers(-9, 10, (n, int(rng.integers(max(1, n - 1), n + 1)))).astype(float)
    d = 2.0 ** rng.integers(-30, 31, n) if seed % 3 == 0 else np.where(rng.random(n) < 0.5, 1.0, 3.0)
    a = d[:, None] * (z @ z.T) * d[None, :]
    if seed % 2:
        k = int(rng.integers(n))
        a[k, k] *= 1 + float(rng.choice([-8, -4, -2, -1, 1, 2, 4, 8, 32, 256])) * 2.0**-52
    return a


@pytest.fixture(scope="module")
def battery() -> list[tuple[np.ndarray, bool]]:
    return [(a, exact_pd(a)) for a in map(near_singular, [*range(CASES), *HARD])]


def wrongly_accepted(battery, accept=verified_pd) -> int:
    return sum(bool(accept(a)) and not truth for a, truth in battery)


def test_criterion_accepts_no_matrix_that_is_not_definite(battery):
    assert sum(not truth for _, truth in battery) > len(battery) // 5
    assert wrongly_accepted(battery) == 0
    assert wrongly_accepted(battery, lambda a: lapack.dpotrf(a)[1] == 0) > 0  # plain float Cholesky does: the battery has teeth
    assert sum(verified_pd(a) for a, truth in battery if truth) > 0.3 * sum(truth for _, truth in battery)


def test_battery_catches_a_shift_cut_to_two_percent(battery, monkeypatch):
    full = cholesky.criterion_shift
    monkeypatch.setattr(cholesky, "criterion_shift", lambda n, trace, rho: 0.02 * full(n, trace, rho))
    assert wrongly_accepted(battery) > 0


def test_battery_catches_a_missing_shift(battery, monkeypatch):
    monkeypatch.setattr(cholesky, "criterion_shift", lambda n, trace, rho: 0.0)
    monkeypatch.setattr(cholesky, "down", lambda x: x)
    assert wrongly_accepted(battery) > 3


def test_residual_mode_holds_and_stands_in_for_an_unknown_blas(battery, monkeypatch):
    for share in (1e-14, 1e-18):
        assert wrongly_accepted(battery, lambda a, share=share: residual_lower(a, share * float(np.trace(a))) > 0) == 0
    monkeypatch.setattr(cholesky, "substitution", lambda: False)
    monkeypatch.setattr(cholesky, "cholesky_finishes", None)  # not reached
    assert wrongly_accepted(battery[-120:]) == 0
    assert verified_pd(np.array([[2.0, 1.0], [1.0, 2.0]])) and not verified_pd(np.ones((2, 2)))
    assert verified_pd(np.eye(3) * 1e-300, radius_norm=1e-301)


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.5, 0.9, 0.999999, 1.0, 1.1]))
def test_residual_lower_is_a_lower_end(seed, share):
    a = near_singular(seed) + np.eye(len(near_singular(seed)))
    low = residual_lower(a, share * float(np.linalg.eigvalsh(a)[0]))
    if low > -math.inf:
        assert is_upper_end(-a, -low)


def test_battery_catches_a_residual_mode_without_error_terms(battery, monkeypatch):
    """The float residual R'R - B can be exactly zero for a matrix that is not definite: the gamma terms carry the proof."""
    for name in ("gamma", "U", "TINY"):
        monkeypatch.setattr(cholesky, name, (lambda n: 0.0) if name == "gamma" else 0.0)
    assert wrongly_accepted(battery, lambda a: residual_lower(a, 1e-18 * float(np.trace(a))) > 0) > 0


@given(seed=st.integers(0, 10**6))
def test_hermitian_through_the_twin(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    z = rng.integers(-4, 5, (n, max(1, n - seed % 2))) + 1j * rng.integers(-4, 5, (n, max(1, n - seed % 2)))
    h = symmetric(z @ z.conj().T)
    truth = exact_pd(twin(h))
    assert not verified_pd_hermitian(h) or truth
    shifted = h + np.eye(n) * 2.0**-30
    assert verified_pd_hermitian(shifted) and not verified_pd_hermitian(shifted, radius_norm=float(np.linalg.eigvalsh(shifted)[0]) * 1.01 + 1e-9)
    assert verified_pd_hermitian(shifted.astype(np.complex64)) or shifted.astype(np.complex64)[0, 0] != shifted[0, 0]


def radius_battery(cases: int = 150) -> tuple[int, int]:
    """(accepted, accepted although a sign corner of the radius is not positive definite)."""
    rng, accepted, wrong = np.random.default_rng(1), 0, 0
    for seed in range(cases):
        a = near_singular(seed)
        a += np.diag(np.diag(a)) * 2.0**-36
        radius = np.abs(a) * 2.0 ** -float(rng.integers(36, 44))
        if not verified_pd(a, radius):
            continue
        accepted += 1
        signs = np.where(rng.random(a.shape) < 0.5, -1.0, 1.0) if seed % 2 else -np.sign(np.linalg.eigh(a)[1][:, :1] @ np.linalg.eigh(a)[1][:, :1].T)
        signs = np.triu(signs) + np.triu(signs, 1).T
        wrong += not exact_pd([[Q(float(x)) + Q(float(s)) * Q(float(r)) for x, s, r in zip(*rows, strict=True)] for rows in zip(a, signs, radius, strict=True)])
    return accepted, wrong


def test_entrywise_radius_holds():
    accepted, wrong = radius_battery()
    assert accepted > 30 and wrong == 0


def test_battery_catches_a_radius_that_is_ignored(monkeypatch):
    monkeypatch.setattr(cholesky, "spectral_radius_up", lambda r: 0.0)
    assert radius_battery()[1] > 0


def test_radius_norm_is_subtracted():
    a = np.diag([1.0, 2.0])
    assert verified_pd(a, radius_norm=0.999) and not verified_pd(a, radius_norm=1.0) and not verified_pd(a, radius_norm=math.inf)
    badly = np.diag([1e-200, 1e200])
    assert verified_pd(badly, radius_norm=9e-201) and not verified_pd(badly, radius_norm=1.1e-200)


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-320, 1e-300, 1.0, 1e300]))
def test_spectral_radius_is_an_upper_end(seed, scale):
    rng = np.random.default_rng(seed)
    r = symmetric(rng.random((4, 4)) * scale * (rng.random((4, 4)) < 0.7))
    assert is_upper_end(r, spectral_radius_up(r))
    assert scale < 1e-310 or spectral_radius_up(r) <= 4 * np.abs(r).max() * (1 + 1e-12)


def test_refusals():
    assert not verified_pd(np.array([[1.0, 0.5], [0.4, 1.0]])) and not verified_pd(np.array([[math.nan]])) and not verified_pd(np.array([[math.inf]]))
    assert not verified_pd(np.zeros((2, 2))) and not verified_pd(-np.eye(2)) and verified_pd(np.zeros((0, 0)))
    assert not verified_pd_hermitian(np.array([[1.0 + 1e-30j]])) and not verified_pd_hermitian(np.array([[2.0, 1j], [1j, 2.0]]))
    assert residual_lower(np.array([[1.0, 2.0], [2.0, 1.0]]), 0.1) == -math.inf and residual_lower(np.array([[math.nan]]), 0.0) == -math.inf
    assert spectral_radius_up(np.array([[math.inf]])) == math.inf
    for call in (
        lambda: verified_pd(np.ones((2, 3))),
        lambda: verified_pd(np.eye(2) * 1j),
        lambda: verified_pd(np.eye(2), radius=-np.eye(2)),
        lambda: verified_pd(np.eye(2), radius=np.eye(3)),
        lambda: verified_pd(np.eye(2), radius=np.full((2, 2), math.nan)),
        lambda: verified_pd(np.eye(2), radius_norm=math.nan),
        lambda: max_eigenvalue_upper(np.array([[1.0, 0.5], [0.4, 1.0]])),
        lambda: max_eigenvalue_upper(np.eye(2), radius_norm=-1.0),
        lambda: max_eigenvalue_upper(np.ones(3)),
        lambda: spectral_radius_up(-np.eye(2)),
    ):
        with pytest.raises(InputError):
            call()


# --- largest eigenvalue -----------------------------------------------------------------------------------------------------------------


def families(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    z = rng.standard_normal((n, max(1, n - seed % 3)))
    g = symmetric(z @ z.T)
    d = 2.0 ** rng.integers(-40, 41, n)
    return [g, -g, symmetric(rng.standard_normal((n, n))), symmetric(d[:, None] * g * d), near_singular(seed), -near_singular(seed), np.diag(rng.integers(-3, 2, n).astype(float))]


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-310, 1e-300, 1e-160, 1.0, 1e150, 1e290]), factor=st.sampled_from([None, 0.5, 1 - 1e-12, 1.0]))
def test_max_eigenvalue_upper_is_an_upper_end(seed, scale, factor):
    for a in families(seed):
        a = a * (scale / max(1.0, np.abs(a).max() if scale > 1 else 1.0))
        lam = float(np.linalg.eigvalsh(a)[-1])
        bound = max_eigenvalue_upper(a, None if factor is None else lam - (1 - factor) * abs(lam))
        assert is_upper_end(a, bound)
        if scale > 1e-300:
            assert bound <= lam + 2e-9 * abs(lam) + 1e-13 * np.abs(a).max()


def test_battery_catches_an_estimate_sold_as_a_bound(monkeypatch):
    monkeypatch.setattr(posdef, "definite", lambda *args: True)
    a = families(5)[0]
    assert not is_upper_end(a, max_eigenvalue_upper(a, estimate=0.9 * float(np.linalg.eigvalsh(a)[-1])))


@given(seed=st.integers(0, 10**6))
def test_max_eigenvalue_upper_hermitian(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    h = symmetric(rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)) * (1 - np.eye(n)))
    bound = max_eigenvalue_upper(h, radius_norm=0.25)
    assert is_upper_end(twin(h), bound - 0.25 + 2.0**-50)
    assert bound <= np.linalg.eigvalsh(h)[-1] + 0.25 + 1e-8


@pytest.mark.parametrize("n", [320, 1000])
def test_large_matrices_with_known_eigenvalues(n):
    """Second difference: 2 + 2 cos(pi / (n + 1)) with mpmath; rank one: exact integer; ones; each above the dense route's size."""
    second = np.diag(np.full(n, 2.0)) - np.eye(n, k=1) - np.eye(n, k=-1)
    truth = 2 + 2 * mpmath.cos(mpmath.pi / (n + 1))
    v = np.random.default_rng(0).integers(-9, 10, n).astype(float)
    checks = [(second, truth), (np.outer(v, v), mpmath.mpf(float(v @ v))), (np.ones((n, n)), mpmath.mpf(n)), (np.eye(n), mpmath.mpf(1))]
    for a, lam in checks:
        for scale in (1.0, 2.0**-960):
            bound = max_eigenvalue_upper(a * scale)
            assert lam * scale <= bound <= lam * scale * (1 + mpmath.mpf(1e-7 if a is second else 3e-9))
    assert 0.0 <= max_eigenvalue_upper(-np.outer(v, v)) <= 1e-8 * float(v @ v)


@pytest.mark.parametrize("n", [250, 400])
def test_bound_can_be_proved_again_with_other_rounding(n):
    """The room of about 1e-9: a checker that accumulates the Gram matrix in another order still proves upper I - G > 0."""
    z = np.random.default_rng(2).standard_normal((n, 3 * n))
    g = symmetric(z @ z.T)
    bound = max_eigenvalue_upper(g)
    assert bound <= float(np.linalg.eigvalsh(g)[-1]) * (1 + 2e-9)
    other = symmetric(sum(z[:, i : i + 100] @ z[:, i : i + 100].T for i in range(0, 3 * n, 100)))
    assert not (other == g).all() and verified_pd(bound * np.eye(n) - other)


def test_degenerate_matrices():
    assert max_eigenvalue_upper(np.zeros((3, 3)), radius_norm=0.5) == 0.5 and max_eigenvalue_upper(np.zeros((0, 0))) == 0.0
    assert max_eigenvalue_upper(np.array([[math.nan]])) == math.inf == max_eigenvalue_upper(np.array([[1.0, math.inf], [math.inf, 1.0]]))
    assert max_eigenvalue_upper(np.eye(2), radius_norm=math.inf) == math.inf
    assert -1.0 <= max_eigenvalue_upper(-np.eye(4)) <= -1 + 2e-9 and max_eigenvalue_upper(np.eye(2) * 1e308) >= 1e308
    assert 1.0 <= max_eigenvalue_upper(np.eye(2, dtype=np.float32), estimate=math.nan) <= 1 + 2e-9
    assert 5e-324 <= max_eigenvalue_upper(np.eye(2) * 5e-324) <= 1e-323


def test_search_that_fails_costs_tightness_never_truth(monkeypatch):
    """Lanczos cut to 3 steps: the proof still decides."""
    monkeypatch.setattr(lanczos, "_DENSE", 1)
    monkeypatch.setattr(lanczos, "_DENSE_AFTER_ALL", 1)
    monkeypatch.setattr(lanczos, "_STEPS", 3)
    for seed in range(20):
        for a in families(seed):
            assert is_upper_end(a, max_eigenvalue_upper(a))
