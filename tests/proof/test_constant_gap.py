"""A logit gap that never changes (constant 0) needs its positive margin all the same: no radius follows from 0 * r <= margin."""

from __future__ import annotations

import numpy as np
import pytest

from certify.proof.check_margins import _Judge


@pytest.mark.parametrize("margin, proved", [(0.5, True), (0.0, False), (-0.0, False), (-1e-300, False), (-0.5, False), (np.nan, False)])
def test_a_gap_that_never_changes_needs_its_margin(margin, proved):
    lower, constants = np.array([[np.nan, margin, 5.0]]), np.array([[0.0, 0.0, 1.0]])
    assert _Judge._radii_hold(lower, constants, np.array([1.0]), np.array([0])).tolist() == [proved]
