"""operator_norm from torch layers: single layers, chains, folded BatchNorm, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from certify.core.errors import HypothesisError, InputError, UnsupportedLayerError
from certify.core.graph import GraphBuilder
from certify.norms.base import methods
from certify.norms.public import operator_norm

LAYERS = [
    (nn.Linear(5, 3), (5,)),
    (nn.Linear(4, 2), (3, 4)),
    (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 6, 6)),
    (nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=2), (4, 5, 5)),
    (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    (nn.Conv1d(2, 3, 4, padding=2, padding_mode="circular"), (2, 8)),
    (nn.Conv3d(1, 2, 2, padding=1), (1, 3, 3, 2)),
    (nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1), (3, 3, 3)),
    (nn.AvgPool2d(2), (2, 4, 4)),
    (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 5, 5)),
    (nn.AvgPool1d(3, stride=1), (2, 6)),
    (nn.AdaptiveAvgPool2d(1), (2, 4, 4)),
    (nn.ZeroPad2d(2), (1, 3, 3)),
    (nn.ReplicationPad1d(2), (1, 3)),
    (nn.Upsample(scale_factor=2), (1, 3, 3)),
    (nn.Flatten(), (2, 3)),
    (nn.Sequential(nn.Flatten(), nn.Linear(8, 3)), (2, 2, 2)),
    (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 4)), (2, 4, 4)),
    (nn.Sequential(nn.Linear(6, 5), nn.Identity(), nn.Linear(5, 4), nn.Linear(4, 3)), (6,)),
    (weight_norm(nn.Linear(4, 3)), (4,)),
]


def dense_of(layer: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    layer = layer.double().eval()
    size = math.prod(shape)
    eye = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    with torch.no_grad():
        return (layer(eye) - layer(torch.zeros(1, *shape, dtype=torch.float64))).reshape(size, -1).T.numpy()


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: str(v).replace("\n", "")[:40])
def test_torch_layers(layer: nn.Module, shape: tuple[int, ...]):
    dense = dense_of(layer, shape)
    for norm, kind in (("l2", 2), ("linf", np.inf), ("l1", 1)):
        truth = float(np.linalg.norm(dense, kind))
        for effort in ("fast", "balanced", "tight"):
            bound = operator_norm(layer, shape, norm, effort=effort)
            assert bound.lower <= truth * (1 + 1e-12) and truth * (1 - 1e-12) <= bound.upper
            assert norm != "l2" or effort == "fast" or bound.upper <= truth * 1.0001
            assert bound.evidence["tried"] and bound.evidence["verify"]


def test_folded_batch_norm_is_smaller_than_the_product():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)).double().eval()
    norm = layer[1]
    norm.running_var.copy_(torch.tensor([0.01, 1.0, 4.0, 9.0]))
    norm.weight.data.copy_(torch.tensor([0.1, 1.0, -2.0, 3.0]))
    truth = float(np.linalg.norm(dense_of(layer, (2, 5, 5)), 2))
    bound = operator_norm(layer, (2, 5, 5))
    assert bound.lower <= truth * (1 + 1e-12) and truth * (1 - 1e-12) <= bound.upper <= truth * 1.0001
    assert bound.evidence["perturbation"]["relative"] == 5 * 2.0**-53 and bound.evidence["perturbation"]["added"] > 0


def test_every_method_by_name():
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    truth = float(np.linalg.norm(dense_of(layer, (2, 4, 4)), 2))
    for name in ("auto", "svd", "power_iteration", "frobenius", "induced", "fantastic_four", "fft", "gram", "dense", "any_size"):
        bound = operator_norm(layer, (2, 4, 4), method=name)
        assert bound.lower <= truth * (1 + 1e-12) and truth * (1 - 1e-12) <= bound.upper, name
        assert name == "auto" or bound.method == name
    with pytest.raises(HypothesisError, match="copies"):
        operator_norm(nn.Conv2d(1, 1, 3, padding=1), (1, 4, 4), method="copied_padding")
    with pytest.raises(InputError, match="fantastic_four"):
        operator_norm(layer, (2, 4, 4), method="magic")
    with pytest.raises(InputError, match="fast"):
        operator_norm(layer, (2, 4, 4), effort="quick")
    with pytest.raises(InputError):
        operator_norm(layer, (2, 4, 4), norm="fro")
    with pytest.raises(InputError):
        operator_norm(layer, (3, 4, 4))


@pytest.mark.parametrize("layer", [nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.MaxPool1d(2), nn.Softmax(dim=-1)], ids=["relu", "maxpool", "softmax"])
def test_what_is_not_linear_is_refused(layer: nn.Module):
    with pytest.raises(UnsupportedLayerError):
        operator_norm(layer, (1, 3) if isinstance(layer, nn.MaxPool1d) else (3,))


def test_two_paths_are_refused_not_guessed():
    class Twice(nn.Module):
        def forward(self, x):
            return x + x

    with pytest.raises(UnsupportedLayerError, match="one path"):
        operator_norm(Twice(), (3,))


def test_a_graph_is_accepted_and_its_shape_checked():
    builder = GraphBuilder()
    x = builder.add("input", attrs={"shape": (2,)})
    graph = builder.build(builder.add("dense", [x], arrays={"weight": np.array([[3.0, 4.0]])}))
    assert operator_norm(graph, (2,)).upper >= 5.0
    with pytest.raises(InputError, match="input shape"):
        operator_norm(graph, (3,))
    assert set(methods()) >= {"svd", "gram", "dense"}


def test_exact_closed_forms_have_no_width():
    for layer, shape, value in ((nn.Flatten(), (2, 3), 1.0), (nn.ZeroPad2d(1), (1, 2, 2), 1.0), (nn.Upsample(scale_factor=2), (1, 2, 2), 2.0), (nn.AvgPool2d(2), (1, 4, 4), 0.5)):
        bound = operator_norm(layer, shape)
        assert bound.lower == bound.upper == value, layer


@pytest.mark.parametrize(("argument", "value"), [("method", ["twisted"]), ("method", 3), ("input_shape", 3), ("input_shape", "abc"), ("input_shape", (3, 8.5, 8))])
def test_arguments_of_another_type_are_refused_by_name(argument: str, value):
    import torch

    arguments = {"input_shape": (3, 8, 8), "method": "auto", argument: value}
    with pytest.raises(InputError, match=argument if argument == "input_shape" else "method"):
        operator_norm(torch.nn.Conv2d(3, 2, 3), **arguments)
