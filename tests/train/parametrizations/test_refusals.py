"""What cannot be parametrized is refused by name, before anything is changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized
from train.parametrizations.parametrized import public_functions

from certify.core.errors import CertifyError, HypothesisError, InputError, UnsupportedLayerError
from certify.train import parametrizations
from certify.train.parametrizations import bjorck, cayley, orthogonal_convolution, spectral_normalization, stable_rank_normalization

FUNCTIONS = [getattr(parametrizations, name) for name in sorted(public_functions())]


def poisoned() -> nn.Module:
    layer = nn.Conv2d(2, 2, 1)
    layer.weight.data[0] = float("nan")
    return layer


def old_style() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Conv2d(2, 2, 1))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda: nn.BatchNorm2d(3), UnsupportedLayerError, "BatchNorm2d"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), UnsupportedLayerError, "one by one"),
        (lambda: nn.Embedding(3, 2), UnsupportedLayerError, "Embedding"),
        (lambda: torch.eye(2), UnsupportedLayerError, "Tensor"),
        (lambda: weight_norm(nn.Conv2d(2, 2, 1)), InputError, "another parametrization"),
        (lambda: spectral_normalization(nn.Conv2d(2, 2, 1)), InputError, "remove_parametrizations"),
        (lambda: nn.LazyConv2d(2, 1), InputError, "run the model once"),
        (lambda: nn.Conv2d(2, 2, 1).half(), InputError, "float16"),
        (lambda: nn.Conv2d(2, 2, 1, device="meta"), InputError, "meta"),
        (poisoned, InputError, "NaN"),
        (old_style, InputError, "another parametrization"),
    ],
)
def test_no_layer_for_any_function(function, make, error, word):
    with pytest.raises(error, match=word):
        function(make())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_that_copies_pixels(function, mode):
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    with pytest.raises(HypothesisError, match=mode):
        function(layer)
    assert not is_parametrized(layer)


@pytest.mark.parametrize("function", [bjorck, orthogonal_convolution])
def test_circular_padding_that_repeats_outputs(function):
    """Beyond the kernel's reach, or with windows that do not meet: there the norm of such a kernel exceeds 1 indeed."""
    with pytest.raises(HypothesisError, match="repeats outputs"):
        function(nn.Conv2d(2, 2, 3, padding=2, padding_mode="circular"))
    strided = nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular")
    for shape in (None, (2, 7, 8)):
        with pytest.raises(HypothesisError, match="stride"):
            function(strided, input_shape=shape)
    with pytest.raises(InputError, match="does not fit"):
        function(strided, input_shape=(3, 8, 8))


def test_orthogonal_convolution_of_other_layers():
    with pytest.raises(UnsupportedLayerError, match="cayley or bjorck"):
        orthogonal_convolution(nn.Linear(2, 2))
    for layer in (nn.Conv2d(1, 1, 3), nn.Conv2d(4, 4, 3, groups=4)):
        with pytest.raises(HypothesisError, match="shift"):
            orthogonal_convolution(layer)
    layer = orthogonal_convolution(nn.Conv2d(2, 2, 3))
    with pytest.raises(HypothesisError, match="cannot be assigned"):
        layer.weight = torch.zeros(2, 2, 3, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "word"),
    [
        (nn.Conv2d(2, 2, 3, padding=1), (2, 6, 6), "zeros"),
        (nn.ConvTranspose2d(2, 2, 3), (2, 6, 6), "transposed"),
        (nn.Conv2d(2, 2, 3, padding=1, stride=2, padding_mode="circular"), (2, 6, 6), "stride"),
        (nn.Conv2d(2, 2, 3, padding=2, dilation=2, padding_mode="circular"), (2, 6, 6), "dilation"),
        (nn.Conv2d(2, 2, 3, padding=0, padding_mode="circular"), (2, 6, 6), "keeps the image's size"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), None, "input_shape"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (2, 2, 6), "larger than the image"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (3, 6, 6), "does not fit"),
    ],
)
def test_cayley_of_other_convolutions(layer, shape, word):
    with pytest.raises(CertifyError, match=word):
        cayley(layer, shape)
    assert not is_parametrized(layer)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (bjorck, {"method": "cayley"}),
        (bjorck, {"iterations": 0}),
        (bjorck, {"iterations": True}),
        (orthogonal_convolution, {"method": "qr"}),
        (orthogonal_convolution, {"method": "bjorck", "iterations": 2.0}),
        (spectral_normalization, {"bound": "upper"}),
        (spectral_normalization, {"steps": 0}),
        (spectral_normalization, {"drift": -0.1}),
        (spectral_normalization, {"drift": float("nan")}),
        (spectral_normalization, {"input_shape": "28"}),
        (stable_rank_normalization, {"ratio": "all"}),
    ],
)
def test_arguments(function, arguments):
    layer = nn.Conv2d(2, 2, 2, stride=1)
    with pytest.raises(InputError, match=next(name for name in arguments if name != "method" or len(arguments) == 1)):
        function(layer, **arguments)
    assert not is_parametrized(layer)


def test_assigned_weights():
    """Where a weight can be assigned it is projected; another shape is refused by name."""
    layer = bjorck(nn.Linear(3, 2))
    layer.weight = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.1, 0.0]])
    assert torch.allclose(layer.weight, torch.eye(2, 3), atol=1e-6)
    with pytest.raises(InputError, match="shape"):
        layer.weight = torch.zeros(3, 3)
    circular = cayley(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (2, 5, 5))
    circular.weight = torch.zeros(2, 2, 3, 3)
    with pytest.raises(InputError, match="full-size"):
        circular.weight = torch.zeros(2, 2, 5, 5)
