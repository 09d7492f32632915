"""Model factories for tests of the command line, `strategies.cli_models:<name>`: good ones and each kind of bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

TINY = "strategies.cli_models:tiny"
W1, W2, B2 = [[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0, 0.1]


def tiny() -> nn.Module:
    """(2,) -> 3 logits, with constants that a hand can check: |W1| = 2, |W2| = 1."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 3)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(W1))
        model[2].weight.copy_(torch.tensor(W2))
        model[2].bias.copy_(torch.tensor(B2))
    return model


def tiny_onnx(path: Path, first: float = 2.0) -> Path:
    """The tiny model as an ONNX file; `first` is its first weight, so that another value makes another model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    w1 = np.array(W1, dtype=np.float32)
    w1[0, 0] = first
    arrays = {"w1": w1, "w2": np.array(W2, dtype=np.float32), "b2": np.array(B2, dtype=np.float32)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], transB=1, name="fc1"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1, name="fc2"),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])] for name, size in (("x", 2), ("y", 3))]
    graph = helper.make_graph(nodes, "tiny", *ends, [numpy_helper.from_array(a, name) for name, a in arrays.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def training_mode() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).train()


def nan_weight() -> nn.Module:
    model = tiny()
    with torch.no_grad():
        model[0].weight[0, 1] = float("nan")
    return model


class Branching(nn.Module):
    """The control flow depends on the data."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


def branching() -> nn.Module:
    return Branching().eval()


class Product(nn.Module):
    """A product of two activations has no finite constant."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x):
        return self.a(x) * self.b(x)


def product() -> nn.Module:
    return Product().eval()


def lstm() -> nn.Module:
    return nn.LSTM(2, 3).eval()


def complex_weights() -> nn.Module:
    return nn.Linear(2, 3, dtype=torch.complex64).eval()


def no_model() -> int:
    return 3


def raises() -> nn.Module:
    raise RuntimeError("the user's own defect")


class Convolutions(nn.Module):
    """Seven linear layers of many kinds in a row on (2, 10, 10); one of them is used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.twin = nn.Conv2d(4, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), groups=4)
        self.mirror = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.head = nn.Linear(100, 3)

    def forward(self, x):
        x = torch.relu(self.down(torch.relu(self.stem(x))))
        x = torch.relu(self.twin(torch.relu(self.twin(x))))
        return self.head(torch.relu(self.mirror(self.depthwise(x))).flatten(1))


def convolutions() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Convolutions().eval()


def normalised() -> nn.Module:
    """A convolution with its BatchNorm, and another, as children of one module."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        body = nn.Sequential()
        body.add_module("conv", nn.Conv2d(2, 4, 3, padding=1))
        body.add_module("norm", nn.BatchNorm2d(4))
        body.add_module("relu", nn.ReLU())
        body.add_module("last", nn.Conv2d(4, 3, 3))
        model = nn.Sequential()
        model.add_module("body", body)
        return model.eval()
