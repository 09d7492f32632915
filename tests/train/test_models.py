"""The networks of the recipes: certified constant, difference quotients, sizes that do not fit."""

from __future__ import annotations

import math

import pytest
import torch

import certify
from certify.core.errors import InputError
from certify.train import export, models

NETWORKS = {
    "patches": (lambda method: models.patch_network((1, 8, 8), 2, 8, 2, (12, 6), 3, method), (1, 8, 8)),
    "three by three": (lambda method: models.patch_network((3, 6, 9), 3, 10, 3, (8,), 4, method), (3, 6, 9)),
    "pixels": (lambda method: models.patch_network((1, 4, 4), 1, 4, 1, (8,), 2, method), (1, 4, 4)),
    "dense": (lambda method: models.orthogonal_mlp(12, (10, 8), 3, method), (3, 2, 2)),
}


@pytest.mark.parametrize("method", ["retraction", "cayley", "bjorck"])
@pytest.mark.parametrize("name", NETWORKS)
def test_certified_constant_is_one(name, method):
    make, shape = NETWORKS[name]
    torch.manual_seed(3)
    model = make(method)
    bound = certify.lipschitz(export(model, shape), shape)
    assert bound.upper <= 1 + 1e-4
    model = model.double().eval()
    x, d = torch.rand(50, *shape, dtype=torch.float64), torch.randn(50, *shape, dtype=torch.float64)
    with torch.no_grad():
        quotients = (model(x + d) - model(x)).norm(dim=1) / d.flatten(1).norm(dim=1)
        z, moved = model(x), model(x + d)
        pairs = ((z[:, 0] - z[:, 1]) - (moved[:, 0] - moved[:, 1])).abs() / d.flatten(1).norm(dim=1)
    assert float(quotients.max()) <= bound.upper
    assert float(pairs.max()) <= math.sqrt(2) * bound.upper


def test_gradients_reach_the_input_undamped():
    """Orthogonal rows all the way: the gradient of a logit has norm 1 wherever it exists, but for the pixels that zero padding loses."""
    torch.manual_seed(0)
    model = models.orthogonal_mlp(16, (16, 8), 4).double()
    x = torch.rand(20, 16, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert float(grad.norm(dim=1).min()) >= 1 - 1e-5


@pytest.mark.parametrize(
    ("arguments", "what"),
    [({"patch": 3}, "whole patches"), ({"channels": 7}, "even"), ({"dense": (5,)}, "even"), ({"patch": 0}, "patch"), ({"classes": 0}, "classes"), ({"method": "qr"}, "method")],
)
def test_sizes_that_do_not_fit_are_named(arguments, what):
    with pytest.raises(InputError, match=what):
        models.patch_network((1, 8, 8), **{"patch": 2, "channels": 8, "dense": (6,), **arguments})


def test_an_image_has_three_axes_and_a_grey_value():
    with pytest.raises(InputError, match="center"):
        models.patch_network((1, 8, 8), patch=2, center=float("nan"))
    for shape in ((8, 8), (1, 0, 8)):
        with pytest.raises(InputError):
            models.patch_network(shape, patch=2, channels=8, dense=(6,))
