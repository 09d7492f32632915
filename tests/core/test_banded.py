"""core.banded against exact rational elimination of integer banded matrices that are singular or a few ulp off, and against `definite` on dense ones."""

from __future__ import annotations

import math
from fractions import Fraction as Q

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.core import banded, cholesky
from certify.core.banded import definite_banded
from certify.core.cholesky import definite
from certify.core.errors import InputError

CASES = 12 * settings.default.max_examples
# Seeds of `near_singular`, found by a search over 60 000: not positive definite, and accepted with the shift cut to 2 %.
HARD = [188, 1724, 2332, 2838, 4507, 6698, 8272, 9786, 10046, 10268, 12408, 12506, 13488, 15346, 19366, 23816, 25618, 26164, 26832, 27042, 27564, 29518, 29666]
HARD += [30212, 31287, 34484, 35462, 45414, 45546, 46224, 50098, 59173]


def exact_pd(a) -> bool:
    """Positive definiteness over the rationals (elimination without square roots, inside the envelope)."""
    m = [[Q(float(x)) for x in row] for row in a]
    for k in range(len(m)):
        if m[k][k] <= 0:
            return False
        for i in range(k + 1, len(m)):
            f = m[i][k] / m[k][k]
            if f:
                m[i] = [x - f * y if y else x for x, y in zip(m[i], m[k], strict=True)]
    return True


def twin(h: np.ndarray) -> np.ndarray:
    return np.block([[h.real, -h.imag], [h.imag, h.real]])


def near_singular(seed: int) -> tuple[np.ndarray, int, int]:
    """(Hermitian matrix, q, width): the Gram matrix of an integer block-banded one with few columns, so often singular; badly scaled, or a few ulp off."""
    rng = np.random.default_rng(seed)
    q, reach = int(rng.integers(1, 4)), int(rng.integers(0, 3))
    count = int(rng.integers(1, max(2, 9 // q)))
    across = max(1, int(rng.integers(q - 1, q + 1)))  # columns of a block
    z = np.zeros((count * q, (count + reach) * across), dtype=complex)
    for i in range(count):
        shape = (q, (reach + 1) * across)
        z[i * q : (i + 1) * q, i * across : (i + 1 + reach) * across] = rng.integers(-9, 10, shape) + (1j * rng.integers(-9, 10, shape) if seed % 5 == 0 else 0)
    if rng.random() < 0.7:  # circular columns cut: fewer columns than rows
        z = z[:, : max(1, count * q - 1)] if rng.random() < 0.5 else z[:, : max(1, count * q)]
    h = z @ z.conj().T
    d = 2.0 ** rng.integers(-30, 31, len(h)) if seed % 3 == 0 else np.where(rng.random(len(h)) < 0.5, 1.0, 3.0)
    h = d[:, None] * h * d[None, :]
    if seed % 2:
        k = int(rng.integers(len(h)))
        h[k, k] *= 1 + float(rng.choice([-8, -4, -2, -1, 1, 2, 4, 8, 32, 256])) * 2.0**-52
    return (h if seed % 5 == 0 else h.real.copy()), q, reach


def columns(h: np.ndarray, q: int, width: int):
    """What `definite_banded` asks for; above the diagonal of a block it may find anything."""

    def column(i: int) -> np.ndarray:
        part = h[i * q : min((i + 1 + width) * q, len(h)), i * q : (i + 1) * q].copy()
        part[:q] = np.tril(part[:q]) + np.triu(np.full((q, q), 77.0), 1)
        return part

    return column


def accepts(h: np.ndarray, q: int, width: int, step: int = 1, sign: float = 1.0) -> bool:
    return definite_banded(columns(h if sign > 0 else -h, q, width), np.diagonal(h).real.reshape(-1, q), width, sign, step)


@pytest.fixture(scope="module")
def battery() -> list[tuple[tuple[np.ndarray, int, int], bool]]:
    return [(case, exact_pd(twin(case[0]) if np.iscomplexobj(case[0]) else case[0])) for case in map(near_singular, [*range(CASES), *HARD])]


def wrongly_accepted(battery, step: int = 1) -> int:
    return sum(not truth and accepts(*case, step) for case, truth in battery)


@pytest.mark.parametrize("step", [1, 2, 5, 64])
def test_no_matrix_that_is_not_definite_is_accepted(battery, step):
    assert sum(not truth for _, truth in battery) > len(battery) // 5
    assert wrongly_accepted(battery, step) == 0
    assert sum(accepts(*case, step) for case, truth in battery if truth) > 0.6 * sum(truth for _, truth in battery)


def test_battery_catches_a_shift_cut_to_two_percent(battery, monkeypatch):
    full = cholesky.criterion_shift
    monkeypatch.setattr(banded, "criterion_shift", lambda n, trace, rho: 0.02 * full(n, trace, rho))
    assert wrongly_accepted(battery) > 0


def test_battery_catches_a_missing_shift(battery, monkeypatch):
    monkeypatch.setattr(banded, "criterion_shift", lambda n, trace, rho: 0.0)
    monkeypatch.setattr(banded, "down", lambda x: x)
    assert wrongly_accepted(battery) > 3


def test_battery_catches_a_band_that_is_cut(battery):
    """Blocks beyond the stated width are zero for the criterion: a caller who states too little proves another matrix."""
    cut = [((h, q, width - 1), truth) for (h, q, width), truth in battery if width]
    assert wrongly_accepted(cut) > 0


def test_an_unknown_blas_gets_the_residual_mode_or_nothing(battery, monkeypatch):
    monkeypatch.setattr(banded, "substitution", lambda: False)
    monkeypatch.setattr(cholesky, "substitution", lambda: False)
    monkeypatch.setattr(banded, "_finishes", None)  # not reached
    monkeypatch.setattr(cholesky, "cholesky_finishes", None)
    assert wrongly_accepted(battery[-120:]) == 0
    assert accepts(np.eye(6) * 2 - np.eye(6, k=2) - np.eye(6, k=-2), 2, 1)
    monkeypatch.setattr(banded, "_LARGEST_ASSEMBLED", 5)
    assert not accepts(np.eye(6), 2, 0)


@given(seed=st.integers(0, 10**6), step=st.sampled_from([1, 3, 7, 1000]))
@settings(max_examples=settings.default.max_examples * 3)
def test_it_decides_like_the_dense_criterion_a_little_off_the_edge(seed, step):
    """Random bands, real and complex, any number of blocks: H - lambda_min (1 -+ 1e-9) I is accepted and refused; so is its negative with sign -1."""
    rng = np.random.default_rng(seed)
    q, width, count = int(rng.integers(1, 6)), int(rng.integers(0, 5)), int(rng.integers(1, 9))
    n = q * count
    z = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)) * (seed % 2)
    block = np.arange(n) // q
    h = np.where(np.abs(block[:, None] - block) <= width, z + z.conj().T, 0)
    h = h if seed % 2 else h.real.copy()
    low = float(np.linalg.eigvalsh(h)[0])
    for off, wanted in ((1e-9, True), (-1e-9, False)):
        shifted = h + np.eye(n) * (off * np.abs(h).max() - low)
        for sign in (1.0, -1.0):
            assert accepts(shifted, q, width, step, sign) is wanted
        assert definite(shifted, np.diagonal(shifted).real.copy(), 1.0, 0) is wanted


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-500, 2.0**500, 2.0**1000])
def test_scale_changes_nothing(scale):
    a = np.eye(30) * 2 - np.eye(30, k=1) - np.eye(30, k=-1)
    assert accepts(a * scale, 1, 1) and not accepts((a - 0.011 * np.eye(30)) * scale, 1, 1)


@pytest.mark.parametrize("step", [1, 96])
def test_a_long_matrix_with_known_eigenvalues(step):
    """2 - 2 cos(pi / (n + 1)) is about 1e-7 here; a band of width 1 keeps the slack at a few roundings per column."""
    n = 3000
    low = 2 - 2 * math.cos(math.pi / (n + 1))
    for share, wanted in ((0.99, True), (1.01, False)):
        assert definite_banded(lambda i: np.array([[2.0], [-1.0]])[: n - i], np.full((n, 1), 2.0 - share * low), 1, step=step) is wanted


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_prove_nothing(bad):
    a = np.eye(4) * 3 - np.eye(4, k=1) - np.eye(4, k=-1)
    assert accepts(a, 1, 1) and accepts(a, 2, 1)
    for i, j in ((1, 0), (2, 1), (3, 2)):
        b = a.copy()
        b[i, j] = b[j, i] = bad
        for q, step in ((1, 1), (2, 1), (2, 4)):
            assert not accepts(b, q, 1, step)
            assert not accepts(b.astype(complex), q, 1, step)
    for where in range(4):
        d = np.full((4, 1), 3.0)
        d[where] = bad
        assert not definite_banded(columns(a, 1, 1), d, 1)


def test_degenerate_shapes():
    assert definite_banded(columns(np.zeros((0, 0)), 1, 1), np.zeros((0, 1)), 3)
    assert accepts(np.eye(1), 1, 0) and accepts(np.eye(1), 1, 9) and not accepts(-np.eye(1), 1, 0) and not accepts(np.zeros((2, 2)), 1, 1)
    assert not accepts(np.ones((2, 2)), 1, 1) and not accepts(np.ones((2, 2)), 2, 0)
    for call in (
        lambda: definite_banded(lambda i: np.ones((1, 2)), np.ones((2, 2)), 0),
        lambda: definite_banded(lambda i: np.ones((2, 2), dtype=np.float32), np.ones((1, 2)), 0),
        lambda: definite_banded(lambda i: np.ones((1, 1), dtype=complex if i else float), np.full((2, 1), 3.0), 0),
        lambda: definite_banded(lambda i: np.ones((1, 1)), np.ones(1), 0),
        lambda: definite_banded(lambda i: np.ones((1, 1)), np.ones((1, 1)), -1),
        lambda: definite_banded(lambda i: np.ones((1, 1)), np.ones((1, 1)), 0, step=0),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("seed", range(40))
def test_the_lemma_of_the_proof_in_rationals(seed, monkeypatch):
    """|R'R - B|_ij <= g / (1 - g) sqrt(b_ii b_jj), g = gamma_(K+1), K = min(n, band + step): the factor and B as they were, compared exactly."""
    columns_of_b, rows_of_r = [], []
    merged, potrf, trsm = banded._merged, banded.lapack.dpotrf, banded.blas.dtrsm

    def keep_merged(*args):
        stop, tall = merged(*args)
        columns_of_b.append((args[2], tall.copy()))
        return stop, tall

    def keep_potrf(*args, **kwargs):
        r, info = potrf(*args, **kwargs)
        rows_of_r.append([np.triu(r)])
        return r, info

    def keep_trsm(*args, **kwargs):
        x = trsm(*args, **kwargs)
        rows_of_r[-1].append(x.copy())
        return x

    monkeypatch.setattr(banded, "_merged", keep_merged)
    monkeypatch.setattr(banded, "lapack", type("L", (), {"dpotrf": staticmethod(keep_potrf)}))
    monkeypatch.setattr(banded, "blas", type("B", (), {"dtrsm": staticmethod(keep_trsm)}))
    rng = np.random.default_rng(seed)
    q, width, count, step = int(rng.integers(1, 4)), int(rng.integers(0, 3)), int(rng.integers(2, 7)), int(rng.integers(1, 6))
    n = q * count
    block = np.arange(n) // q
    z = np.where((np.abs(block[:, None] - block) <= width) & (block[:, None] >= block), rng.standard_normal((n, n)), 0.0)
    h = z @ z.T + 1e-3 * np.eye(n)
    assert accepts(h, q, width, step)
    step = q * -(-step // q)
    b, r = np.zeros((n, n)), np.zeros((n, n))
    for (start, tall), row in zip(sorted(columns_of_b, key=lambda x: x[0]), rows_of_r, strict=True):
        b[start : start + len(tall), start : start + tall.shape[1]] = tall
        r[start : start + len(row[0]), start : start + sum(part.shape[1] for part in row)] = np.concatenate(row, axis=1)
    k = min(n, width * q + step)
    g = Q(k + 1, 2**53) / (1 - Q(k + 1, 2**53))
    exact = [[Q(float(x)) for x in row] for row in r]
    for i, j in zip(*np.tril_indices(n)):
        off = sum((exact[t][i] * exact[t][j] for t in range(j + 1)), Q(0)) - Q(float(b[i, j]))
        assert off * off <= (g / (1 - g)) ** 2 * Q(float(b[i, i])) * Q(float(b[j, j])) * (1 + Q(1, 2**60))
