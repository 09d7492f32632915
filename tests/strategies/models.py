"""A fixed zoo of torch modules, and Hypothesis strategies for random ones: everything the tracer promises to understand.

`ZOO` maps a name to a `Case`: a factory (deterministic: it seeds torch inside `fork_rng`), the input shape, and what is special. All models are
in eval mode, with random running statistics where there are any, in float32 unless said. `build(name)` makes one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune


@dataclass(frozen=True)
class Case:
    """One model: `make()` builds it, `shape` is its input without the batch; `finite` says whether a global Lipschitz constant exists."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    finite: bool = True


ZOO: dict[str, Case] = {}


def model(*shape: int, finite: bool = True):
    """Enter a factory into ZOO under its own name."""

    def register(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ZOO[make.__name__] = Case(make, shape, finite)
        return make

    return register


def build(name: str, seed: int = 0) -> nn.Module:
    """The model of that name in eval mode; the process's random numbers do not move."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomize(ZOO[name].make()).eval()


def randomize(module: nn.Module) -> nn.Module:
    """Random running statistics and affine parameters in every BatchNorm, so that none of them is the identity."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                m.running_mean.normal_()
                m.running_var.uniform_(0.2, 3.0)
                if m.affine:
                    m.weight.normal_()
                    m.bias.normal_()
    return module


class Functional(nn.Module):
    """A module whose forward is a function of (self, x); its parameters are given as modules or tensors."""

    def __init__(self, function: Callable, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            elif isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


# ---- whole networks


@model(6)
def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


@model(1, 12, 12)
def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 10)
    )


@model(3, 16, 16)
def vgg():
    def block(i, o):
        return [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return nn.Sequential(
        nn.Sequential(*block(3, 6), *block(6, 8)), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(1), nn.Dropout(0.5), nn.Linear(32, 12), nn.ReLU(True), nn.Linear(12, 10)
    )


class BasicBlock(nn.Module):
    """The residual block of torchvision: in-place ReLU, `out += identity`, one ReLU used twice."""

    def __init__(self, channels: int, out: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if (channels, stride) != (out, 1) else None

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.layers = nn.ModuleList([BasicBlock(4, 4), BasicBlock(4, 6, 2)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.fc(torch.flatten(self.pool(x), 1))


@model(3, 8, 8)
def resnet():
    return ResNet()


@model(2, 8, 8)
def autoencoder():
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.ELU(),
        nn.ConvTranspose2d(3, 2, 2, dilation=2, groups=1),
    )


@model(6, 9)
def convolutions_1d():
    return nn.Sequential(
        nn.Conv1d(6, 4, 3, padding="same", groups=2),
        nn.Softplus(),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.GELU(),
        nn.ConvTranspose1d(4, 2, 3, 2),
        nn.BatchNorm1d(2),
        nn.MaxPool1d(2, 1),
    )


@model(2, 4, 5, 4)
def convolutions_3d():
    return nn.Sequential(
        nn.Conv3d(2, 3, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1)), nn.SiLU(), nn.AvgPool3d(2, 1), nn.ConvTranspose3d(3, 2, 2), nn.BatchNorm3d(2), nn.MaxPool3d(2)
    )


@model(4, 7, 7)
def depthwise():
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=4, padding=2, dilation=2),
        nn.ReLU6(),
        nn.Conv2d(8, 4, 1),
        nn.Hardswish(),
        nn.Conv2d(4, 4, 4, padding="same", groups=2),
        nn.ConvTranspose2d(4, 4, 3, groups=2),
    )


def _padded(mode: str):
    def make():
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode),
            nn.ReLU(),
            nn.Conv2d(3, 2, 4, padding="same", padding_mode=mode, bias=False),
            nn.Conv2d(2, 2, 3, 2, padding=1, padding_mode=mode),
        )

    return make


for _mode in ("zeros", "circular", "reflect", "replicate"):
    ZOO[f"padding_{_mode}"] = Case(_padded(_mode), (2, 6, 5))


# ---- activations: every one as a module, so that the zoo covers each handler

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.3),
    "prelu": nn.PReLU,
    "prelu_channels": lambda: nn.PReLU(4, init=-0.4),
    "rrelu": nn.RReLU,
    "elu": lambda: nn.ELU(0.7),
    "selu": nn.SELU,
    "celu": lambda: nn.CELU(1.5),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": lambda: nn.Softplus(beta=2.0),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 2.0),
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "logsigmoid": nn.LogSigmoid,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
    "softshrink": lambda: nn.Softshrink(0.3),
    "threshold": lambda: nn.Threshold(0.5, 0.5),
    "softmax": lambda: nn.Softmax(dim=1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
    "softmin": lambda: nn.Softmin(dim=1),
    "identity": nn.Identity,
    "dropout": lambda: nn.Dropout(0.4),
    "alpha_dropout": lambda: nn.AlphaDropout(0.4),
}
for _name, _make in ACTIVATIONS.items():
    ZOO[f"activation_{_name}"] = Case(lambda make=_make: nn.Sequential(nn.Linear(5, 4), make(), nn.Linear(4, 3)), (5,))

FUNCTIONS: dict[str, Callable] = {
    "erf": lambda m, x: torch.erf(x),
    "sin": lambda m, x: x.sin(),
    "cos": lambda m, x: torch.cos(x),
    "abs": lambda m, x: x.abs() - abs(x),
    "clamp": lambda m, x: x.clamp(-1, 0.5),
    "clamp_one_end": lambda m, x: torch.clamp(x, min=-0.25).clamp_max(2.0),
    "clamp_tensor": lambda m, x: torch.clamp(x, m.low, m.low + 1),
    "functional_relu": lambda m, x: F.relu(x) + x.relu(),
    "x_plus_x": lambda m, x: x + x,
    "iadd": lambda m, x: _iadd(x),
    "alpha": lambda m, x: torch.add(x, x.tanh(), alpha=-0.7) - torch.sub(x, 1, alpha=2),
    "reflected": lambda m, x: 1.5 - x,
    "scaled": lambda m, x: (2 * x / 3 - x * m.low) / m.low.abs().add(1),
    "normalised": lambda m, x: (x - m.low) / 0.3,
    "neg": lambda m, x: -x + torch.neg(x).mul(0.5),
    "python_sum": lambda m, x: sum([x, x.relu(), 2 * x]),
    "constant_right": lambda m, x: x @ m.matrix,
    "linear_without_bias": lambda m, x: F.linear(x, m.matrix.T[:3]),
    "matrix_of_parameters": lambda m, x: F.linear(x, m.matrix @ m.matrix.T / 5),
    "maximum": lambda m, x: torch.maximum(x, m.low) + torch.min(x, x.flip(1)),
    "fold_constants": lambda m, x: x * m.low.exp() + m.low.sum(),
    "zeros": lambda m, x: torch.cat([x, torch.zeros(x.shape[0], 2), torch.ones_like(x)], 1),
    "new_full": lambda m, x: x + x.new_full((x.size(0), 6), 0.5),
    "to_double_and_back": lambda m, x: x.contiguous().clone().detach(),
    "buffer_row": lambda m, x: x + m.low[None],
    "wide": lambda m, x: x.unsqueeze(-1) * m.low,
    "mask": lambda m, x: x * (m.low > 0),
}


def _iadd(x):
    y = x.relu()
    z = y
    y += x
    y *= 2
    return z - y / 3 + z


for _name, _function in FUNCTIONS.items():
    ZOO[f"function_{_name}"] = Case(
        lambda f=_function: Functional(f, low=torch.linspace(-1, 1, 6), matrix=nn.Parameter(torch.randn(6, 6))),
        (6,),
    )

# ---- shapes, on (4, 6, 5)

SHAPES: dict[str, Callable] = {
    "view": lambda m, x: x.view(x.size(0), -1),
    "view_shape": lambda m, x: x.view(x.shape[0], x.shape[1] * 3, -1),
    "reshape": lambda m, x: torch.reshape(x, (-1, 8, 15)),
    "flatten": lambda m, x: x.flatten(2),
    "unflatten": lambda m, x: x.unflatten(2, (3, 2)),
    "squeeze": lambda m, x: x[:, :1].squeeze(1).unsqueeze(-1).squeeze(-1),
    "permute": lambda m, x: x.permute(0, 2, 3, 1),
    "transpose": lambda m, x: x.transpose(1, -1),
    "movedim": lambda m, x: torch.movedim(x, 1, 3),
    "mT": lambda m, x: x.mT,
    "slice": lambda m, x: x[:, 1:3, ::2, -3:],
    "index": lambda m, x: x[:, 2],
    "ellipsis": lambda m, x: x[..., 1:, None, 2],
    "negative_index": lambda m, x: x[:, -1, 2:-1],
    "index_list": lambda m, x: x[:, [0, 3, 3, 1]],
    "index_tensor": lambda m, x: x[:, :, m.index],
    "index_select": lambda m, x: torch.index_select(x, 2, m.index),
    "chunk": lambda m, x: torch.cat(x.chunk(3, dim=2)[::-1], 2),
    "split": lambda m, x: x.split([1, 2, 3], 2)[1] * 2 + x.split(2, 2)[2],
    "narrow": lambda m, x: x.narrow(1, 1, 2),
    "unbind": lambda m, x: x.unbind(1)[0] - x.unbind(1)[3],
    "select": lambda m, x: x.select(2, 3),
    "stack": lambda m, x: torch.stack([x, x.relu(), x], 2),
    "concat_twice": lambda m, x: torch.cat([x, x], dim=1),
    "flip": lambda m, x: x.flip((1, 3)),
    "roll": lambda m, x: torch.roll(x, 2, 3),
    "repeat": lambda m, x: x.repeat(1, 2, 1, 3),
    "repeat_interleave": lambda m, x: x.repeat_interleave(2, dim=1),
    "expand": lambda m, x: x[:, :1].expand(-1, 3, -1, -1),
    "unfold": lambda m, x: x.unfold(2, 3, 1),
    "broadcast": lambda m, x: x + x[:, :1] * 0.5 - x[:, :, :1],
    "mean": lambda m, x: x.mean((2, 3)),
    "mean_keep": lambda m, x: x - x.mean(1, keepdim=True),
    "sum": lambda m, x: x.sum(-1),
    "amax": lambda m, x: x.amax((2, 3)),
    "amin": lambda m, x: torch.amin(x, 1, keepdim=True),
    "max_values": lambda m, x: x.max(2).values + x.min(dim=2)[0],
    "logsumexp": lambda m, x: torch.logsumexp(x, 1),
    "softmax2d": lambda m, x: F.softmax(x, dim=-1),
    "pixel_shuffle": lambda m, x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda m, x: F.pixel_unshuffle(x[:, :, :, :4], 2),
    "channel_shuffle": lambda m, x: F.channel_shuffle(x, 2),
    "upsample": lambda m, x: F.interpolate(x, scale_factor=(2, 3)),
    "upsample_size": lambda m, x: F.interpolate(x, size=(12, 5)),
    "pad_constant": lambda m, x: F.pad(x, (1, 2, 0, 3), value=0.7),
    "pad_reflect": lambda m, x: F.pad(x, (2, 1, 3, 0), mode="reflect"),
    "pad_circular": lambda m, x: F.pad(x, (1, 1, 2, 2), mode="circular"),
    "pad_replicate": lambda m, x: F.pad(x, (4, 1, 0, 7), mode="replicate"),
    "pad_negative": lambda m, x: F.pad(x, (-1, 2, 1, -2)),
    "pad_channels": lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "left_matrix": lambda m, x: m.matrix[:, :6] @ x,
    "right_vector": lambda m, x: x @ m.matrix[0, :5],
    "max_pool": lambda m, x: F.max_pool2d(x, (3, 2), 2, padding=1),
    "max_pool_ceil": lambda m, x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max_pool_dilated": lambda m, x: F.max_pool2d(x, 2, 1, padding=1, dilation=2),
    "max_pool_indices": lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "avg_pool": lambda m, x: F.avg_pool2d(x, 2, 1),
    "avg_pool_ceil": lambda m, x: F.avg_pool2d(x, (3, 2), (2, 2), (1, 0), ceil_mode=True),
    "avg_pool_no_pad": lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False, ceil_mode=True),
    "avg_pool_divisor": lambda m, x: F.avg_pool2d(x, 3, divisor_override=4),
    "adaptive_avg": lambda m, x: F.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive_avg_dividing": lambda m, x: F.adaptive_avg_pool2d(x, (3, 1)),
    "adaptive_avg_none": lambda m, x: F.adaptive_avg_pool2d(x, (None, 2)),
    "global_avg": lambda m, x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "adaptive_max": lambda m, x: F.adaptive_max_pool2d(x, (3, 5)),
    "sort_groups": lambda m, x: x.view(x.shape[0], 2, 2, 6, 5).sort(dim=2, descending=True).values.flatten(1, 2),
    "topk": lambda m, x: x.topk(3, dim=2).values,
    "aliases": lambda m, x: _aliases(x),
    "prelu": lambda m, x: F.prelu(x, m.slopes),
    "batch_norm": lambda m, x: F.batch_norm(x, m.slopes, m.slopes.abs() + 1, m.slopes, None),
    "zero_pad_conv": lambda m, x: F.conv2d(F.pad(x, (1, 0, 2, 1)), m.kernel, padding=1),
}


def _aliases(x):
    y = F.relu(x, inplace=False)
    z = y.view(y.shape[0], -1)
    return z[:, ::2].reshape(x.shape[0], -1) + y.flatten(1)[:, 1::2]


for _name, _function in SHAPES.items():
    ZOO[f"shape_{_name}"] = Case(
        lambda f=_function: Functional(f, index=torch.tensor([4, 0, 0, 2]), matrix=torch.randn(3, 7), slopes=torch.tensor([0.3, -1.2, 2.0, 0.0]), kernel=torch.randn(2, 4, 3, 3)),
        (4, 6, 5),
    )

# ---- MaxMin and GroupSort in the forms people write

SORTS: dict[str, Callable] = {
    "halves": lambda m, x: torch.cat([torch.max(*x.chunk(2, 1)), torch.min(*x.chunk(2, 1))], 1),
    "halves_methods": lambda m, x: _halves(x),
    "ascending": lambda m, x: torch.cat([torch.minimum(x[:, :4], x[:, 4:]), torch.maximum(x[:, :4], x[:, 4:])], dim=1),
    "neighbours_joined": lambda m, x: torch.cat([torch.maximum(x[:, ::2], x[:, 1::2]), torch.minimum(x[:, ::2], x[:, 1::2])], 1),
    "neighbours_stacked": lambda m, x: torch.stack([torch.maximum(x[:, ::2], x[:, 1::2]), torch.minimum(x[:, ::2], x[:, 1::2])], 2).flatten(1, 2),
    "neighbours_in_front": lambda m, x: torch.stack([torch.maximum(x[:, ::2], x[:, 1::2]), torch.minimum(x[:, ::2], x[:, 1::2])], 1),
    "halves_stacked": lambda m, x: torch.stack([torch.maximum(x[:, :4], x[:, 4:]), torch.minimum(x[:, :4], x[:, 4:])], 1),
    "halves_behind": lambda m, x: torch.stack([torch.maximum(x[:, :4], x[:, 4:]), torch.minimum(x[:, :4], x[:, 4:])], 2),
    "groups": lambda m, x: torch.sort(x.view(x.shape[0], 2, 4, 3), dim=2).values.reshape(x.shape),
}


def _halves(x):
    a, b = torch.split(x, 4, dim=1)
    return torch.cat((a.max(b), a.min(b)), dim=1)


for _name, _function in SORTS.items():
    ZOO[f"maxmin_{_name}"] = Case(lambda f=_function: Functional(f), (8, 3))
# Looks like MaxMin and is not: the constant of a real sort would be wrong here.
NOT_SORTS: dict[str, Callable] = {
    "overlapping": lambda m, x: torch.cat([torch.maximum(x[:, :5], x[:, 3:]), torch.minimum(x[:, :5], x[:, 3:])], 1),
    "other_axis": lambda m, x: torch.cat([torch.maximum(x[:, :4], x[:, 4:]), torch.minimum(x[:, :4], x[:, 4:])], 2),
    "max_twice": lambda m, x: torch.cat([torch.maximum(x[:, :4], x[:, 4:]), torch.maximum(x[:, :4], x[:, 4:])], 1),
    "two_tensors": lambda m, x: torch.cat([torch.maximum(x, x.tanh()), torch.minimum(x, x.tanh())], 1),
}
for _name, _function in NOT_SORTS.items():
    ZOO[f"not_maxmin_{_name}"] = Case(lambda f=_function: Functional(f), (8, 3))


# ---- weights: tied, shared, computed


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
    with _quiet():
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 6)), nn.ReLU(), nn.utils.spectral_norm(nn.Linear(6, 4)), prune.l1_unstructured(nn.Linear(4, 3), "weight", 5))


def _quiet():
    import warnings

    context = warnings.catch_warnings()
    context.__enter__()
    warnings.simplefilter("ignore")
    return _Closing(context)


class _Closing:
    def __init__(self, context):
        self.context = context

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.__exit__(*error)


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


TRACED = sorted(ZOO)
FINITE = sorted(name for name, case in ZOO.items() if case.finite)


# ---- Hypothesis


@st.composite
def random_models(draw) -> tuple[nn.Module, tuple[int, ...]]:
    """A random convolutional network in eval mode with its input shape: 1 to 4 layers of random settings."""
    seed = draw(st.integers(0, 2**20))
    spatial = draw(st.integers(1, 2))
    channels, size = draw(st.integers(1, 4)), draw(st.integers(4, 7))
    shape = (channels, *[size] * spatial)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        current = shape
        for _ in range(draw(st.integers(1, 4))):
            layer = draw(st.sampled_from(_LAYERS))(draw, current, spatial)
            candidate = randomize(nn.Sequential(layer)).eval()
            try:
                out = candidate(torch.zeros(2, *current)).shape[1:]
            except RuntimeError:
                continue
            if 0 < math.prod(out) <= 2000:
                layers.append(layer)
                current = tuple(out)
    return nn.Sequential(*layers).eval(), shape


def _conv(draw, shape, spatial):
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if shape[0] % g == 0]))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    mode = draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
    padding = draw(st.sampled_from(["same", *[[draw(st.integers(0, 3)) for _ in range(spatial)]] * 3]))
    stride = 1 if padding == "same" else draw(st.integers(1, 3))
    cls = (nn.Conv1d, nn.Conv2d)[spatial - 1]
    return cls(shape[0], groups * draw(st.integers(1, 3)), kernel, stride, padding, draw(st.integers(1, 2)), groups, draw(st.booleans()), mode)


def _transposed(draw, shape, spatial):
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    stride = draw(st.integers(1, 3))
    cls = (nn.ConvTranspose1d, nn.ConvTranspose2d)[spatial - 1]
    return cls(
        shape[0],
        groups * draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        stride,
        draw(st.integers(0, 1)),
        draw(st.integers(0, stride - 1)),
        groups,
        draw(st.booleans()),
        draw(st.integers(1, 2)),
    )


def _pool(draw, shape, spatial):
    kernel = draw(st.integers(1, 3))
    padding, stride, ceil = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 3)), draw(st.booleans())
    if draw(st.booleans()):
        return (nn.MaxPool1d, nn.MaxPool2d)[spatial - 1](kernel, stride, padding, draw(st.integers(1, 2)), ceil_mode=ceil)
    return (nn.AvgPool1d, nn.AvgPool2d)[spatial - 1](kernel, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans()))


def _adaptive(draw, shape, spatial):
    return (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)[spatial - 1](draw(st.integers(1, 8)))


def _norm(draw, shape, spatial):
    return (nn.BatchNorm1d, nn.BatchNorm2d)[spatial - 1](shape[0], affine=draw(st.booleans()))


def _act(draw, shape, spatial):
    name = draw(st.sampled_from([n for n in ACTIVATIONS if n != "prelu_channels"]))
    return ACTIVATIONS[name]()


def _upsample(draw, shape, spatial):
    return nn.Upsample(scale_factor=draw(st.integers(1, 3)))


_LAYERS = [_conv, _conv, _transposed, _pool, _adaptive, _norm, _act, _upsample]
