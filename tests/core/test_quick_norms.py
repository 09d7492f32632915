"""Quick norms are upper ends at any scale, and never hide a NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth.exact import size, to_exact

from certify.core.quick_norms import quick_norms_up


@pytest.mark.parametrize("norm", ("l2", "linf", "l1"))
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_are_bounded_from_above_and_closely(norm, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3, int(rng.integers(1, 40)))) * 10.0 ** rng.integers(-320, 150)
    for row, bound in zip(rows, quick_norms_up(rows, norm), strict=True):
        exact = size(to_exact(row), norm)
        assert exact <= bound and (bound <= float(exact) * (1 + 1e-12) or bound < 1e-140)


@pytest.mark.parametrize("norm", ("l2", "linf", "l1"))
def test_odd_rows(norm):
    assert quick_norms_up(np.array([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, np.nan]]), norm).tolist() == [np.inf] * 3
    assert quick_norms_up(np.zeros((2, 3)), norm).max() < 1e-149
    assert quick_norms_up(np.zeros((0, 3)), norm).shape == (0,)
    assert quick_norms_up(np.full((1, 2), 1e200), norm)[0] >= 1e200
