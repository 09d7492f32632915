"""Weights that are tied, shared or computed; subclasses, hooks, control flow on shapes, other dtypes."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from strategies.zoo import Functional, model
from torch import nn
from torch.nn.utils import parametrizations, prune


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.b.weight = self.a.weight
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x)))) + self.a(x)


@model(5)
def tied():
    return Tied()


@model(5)
def twice():
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), layer)


@model(2, 6, 6)
def parametrized():
    return nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(2, 4, 3)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Conv2d(4, 2, 3)),
        nn.Flatten(),
        parametrizations.orthogonal(nn.Linear(8, 8)),
        nn.Linear(8, 3),
    )


@model(5)
def old_hooks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these functions are deprecated, and still in use
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 6)), nn.ReLU(), nn.utils.spectral_norm(nn.Linear(6, 4)), prune.l1_unstructured(nn.Linear(4, 3), "weight", 5))


class Standardised(nn.Conv2d):
    """Overrides forward: must be traced into, never matched as a plain convolution."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / w.std((1, 2, 3), keepdim=True), self.bias, self.stride, self.padding)


class DoubledNorm(nn.BatchNorm2d):
    """Overrides forward around the original one."""

    def forward(self, x):
        return 2 * F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class PlainSubclass(nn.BatchNorm2d):
    """Changes nothing about the function."""

    def extra_repr(self):
        return "plain"


@model(2, 5, 5)
def subclasses():
    return nn.Sequential(Standardised(2, 3, 3), DoubledNorm(3), PlainSubclass(3))


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fc.register_forward_hook(lambda m, args, out: out * 3)
        self.fc.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(self.fc(x))


@model(4)
def hooked():
    return Hooked()


class Looping(nn.Module):
    """Control flow on shapes, which torch.fx refuses and torch.export resolves."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        if x.shape[1] != 3:
            raise ValueError("three, please")
        for _ in range(x.shape[1]):
            x = F.relu(self.fc(x)) + x
        return x


@model(3)
def looping():
    return Looping()


class LoopingCNN(nn.Module):
    """Everything that export writes in another way than fx: batch norm, pools, views, in-place steps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
        self.bn = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.slope = nn.PReLU(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        assert x.shape[1] == 2
        y = F.relu(self.bn(self.conv(x)), inplace=True)
        for _ in range(x.shape[1]):
            y += 0.5 * y
        y = self.slope(self.up(y))[:, :, :6, :6]
        a, b = y.chunk(2, dim=1)
        y = torch.cat([torch.max(a, b), a.min(b)], 1)
        y = F.avg_pool2d(F.max_pool2d(y, 3, 2, 1), 2, ceil_mode=True)
        y = F.adaptive_avg_pool2d(F.interpolate(F.gelu(y), scale_factor=2), 2)
        y = F.softplus(torch.sort(y, dim=1).values) + y.mean((2, 3), keepdim=True)
        return self.fc(self.drop(y).view(x.shape[0], -1))


@model(2, 6, 6)
def looping_cnn():
    return LoopingCNN()


@model(4)
def double_precision():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()


@model(4)
def half_precision():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).half()


@model(4)
def bfloat16():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).bfloat16()


@model(3)
def bare_linear():
    return nn.Linear(3, 2)


@model(3, 4, 4)
def bare_batch_norm():
    return nn.BatchNorm2d(3)


@model(2)
def empty():
    return nn.Sequential()


@model(3, 4, 4)
def pads():
    return nn.Sequential(
        nn.ZeroPad2d(1),
        nn.ReflectionPad2d((1, 2, 0, 1)),
        nn.ReplicationPad2d(1),
        nn.CircularPad2d(2),
        nn.ConstantPad2d(1, -0.5),
        nn.Conv2d(3, 2, 3),
        nn.Softmax2d(),
        nn.Upsample(scale_factor=2),
    )


@model(12)
def unflattened():
    return nn.Sequential(nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 2))


# ---- products of activations: traced, then refused by the rules


@model(4, finite=False)
def product():
    return Functional(lambda m, x: x * x.tanh() + x**2)


@model(3, 3, finite=False)
def matrix_product():
    return Functional(lambda m, x: x @ x.transpose(1, 2))
