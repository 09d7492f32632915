"""trace(model)(x) is model(x): over the zoo and over random networks, in float64 and at another batch size than the traced one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies.models import TRACED, ZOO, build

from certify.core.graph import Graph
from certify.core.trace import trace
from certify.core.trace_prepare import bake, private_copy


def reference(model, x: np.ndarray) -> np.ndarray:
    """The model in float64 with the weights that it computes in its own dtype."""
    with torch.no_grad():
        double = bake(private_copy(model)).double()
        return double(torch.from_numpy(x.copy())).numpy()  # a copy: some models change their input


def assert_same(graph: Graph, model, shape, tolerance: float = 1e-10):
    rng = np.random.default_rng(1)
    for n, scale in ((4, 1.0), (1, 20.0)):
        x = scale * rng.standard_normal((n, *shape))
        expected = reference(model, x)
        value = graph(x)
        assert value.shape == expected.shape
        assert np.abs(value - expected).max(initial=0.0) <= tolerance * (1.0 + np.abs(expected).max(initial=0.0))


# torch's softplus jumps by 2e-9; where the model computes with its weights alone, in float32, the float64 model computes others.
LOOSE = {
    **dict.fromkeys(("activation_softplus", "convolutions_1d", "looping_cnn", "function_mish_by_hand"), 1e-7),
    **dict.fromkeys(("shape_batch_norm", "function_scaled", "subclasses", "function_fold_constants", "function_matrix_of_parameters"), 1e-5),
}


@pytest.mark.parametrize("name", TRACED)
def test_the_zoo(name):
    model, shape = build(name), ZOO[name].shape
    assert_same(trace(model, shape), model, shape, LOOSE.get(name, 1e-10))
