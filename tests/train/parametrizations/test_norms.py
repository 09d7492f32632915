"""Every parametrized layer's norm: dense truth <= certified upper end <= 1 + slack, at the start and after the parameters have moved."""

from __future__ import annotations

import pytest
import torch
from train.parametrizations.parametrized import DEEP, LAYERS, PAIRS, VARIANTS, build, disturb, true_norm

from certify import operator_norm


@pytest.mark.parametrize(("variant", "layer"), PAIRS)
def test_the_norm_is_at_most_one(variant: str, layer: str):
    """Dense truth <= certified upper end <= 1 + slack; shapes are those of the plain layer. In the quick profile every pair has one of the two dtypes."""
    kinds = list(zip((torch.float32, torch.float64), VARIANTS[variant].slack))
    for dtype, slack in kinds if DEEP else kinds[PAIRS.index((variant, layer)) % 2 :][:1]:
        made, shape = build(variant, layer, dtype)
        upper = operator_norm(made.eval(), shape).upper
        assert true_norm(made, shape) <= upper <= 1 + slack
        x = torch.zeros(2, *shape, dtype=dtype)
        assert made(x).shape == LAYERS[layer][0]().to(dtype)(x).shape and made.weight.dtype == dtype


@pytest.mark.parametrize(("variant", "layer"), PAIRS)
def test_the_norm_stays_at_most_one(variant: str, layer: str):
    """After the parameters have moved: orthogonality is not a property of the start. Estimates follow for a few evaluations."""
    made, shape = build(variant, layer)
    for _ in range(3):
        disturb(made)
        _ = made.weight
    estimate = VARIANTS[variant].slack[0] > 1e-5  # it follows by and by
    for _ in range(40 if estimate else 0):
        _ = made.weight
    assert true_norm(made, shape) <= 1 + (0.02 if estimate else 1e-5)
