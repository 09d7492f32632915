"""One small model per function that the tracer understands: activations, arithmetic, shapes, sorts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from strategies.zoo import ZOO, Case, Functional
from torch import nn

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
    "keywords": lambda m, x: torch.cat(tensors=[x, x], dim=-1).sum(dim=1, keepdim=True) + torch.mul(input=x, other=2.0),
    "swish": lambda m, x: x * torch.sigmoid(x),
    "quick_gelu": lambda m, x: torch.sigmoid(1.702 * x) * x,
    "mish_by_hand": lambda m, x: x * F.softplus(x).tanh(),
    "hardswish_by_hand": lambda m, x: x * F.hardsigmoid(x),
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
