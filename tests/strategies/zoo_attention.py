"""Models with normalisations by the sample's own statistics, and with attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from strategies.zoo import ZOO, Case, Functional, model
from torch import nn


def affine(module: nn.Module) -> nn.Module:
    """Random weights and shifts, so that no normalisation is the plain one."""
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm | nn.InstanceNorm1d | nn.InstanceNorm2d):
                for p in m.parameters():
                    p.normal_()
    return module


NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layer": (lambda: nn.LayerNorm(4), (3, 4)),
    "layer_of_two_axes": (lambda: nn.LayerNorm((3, 4), eps=1e-2), (2, 3, 4)),
    "layer_plain": (lambda: nn.LayerNorm(5, elementwise_affine=False), (5,)),
    "layer_function": (lambda: Functional(lambda m, x: F.layer_norm(x, (4,), m.w), w=nn.Parameter(torch.ones(4))), (3, 4)),
    "rms": (lambda: nn.RMSNorm(4, eps=1e-3), (3, 4)),
    "rms_default_eps": (lambda: nn.Sequential(nn.Linear(4, 4), nn.RMSNorm(4)), (4,)),
    "group": (lambda: nn.GroupNorm(2, 4), (4, 3, 2)),
    "group_function": (lambda: Functional(lambda m, x: F.group_norm(x, 2)), (4, 3)),
    "instance": (lambda: nn.InstanceNorm2d(3), (3, 2, 4)),
    "instance_affine": (lambda: nn.InstanceNorm1d(2, affine=True), (2, 5)),
    "instance_with_statistics": (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (3, 2, 2)),
    "branch_on_shape": (lambda: Functional(lambda m, x: m.n(x) if x.shape[1] > 2 else x, n=nn.LayerNorm(4)), (3, 4)),
}
for _name, (_make, _shape) in NORMS.items():
    ZOO[f"norm_{_name}"] = Case(lambda make=_make: affine(make()), _shape)


class Tokens(nn.Module):
    """x + attention of the normalised tokens, as `function` calls it."""

    def __init__(self, function: Callable, **settings):
        super().__init__()
        self.function, self.norm = function, nn.LayerNorm(4, eps=1e-2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **settings)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(3))

    def forward(self, x):
        return x + self.function(self, self.norm(x))


ATTENTION: dict[str, Callable[[], nn.Module]] = {
    "function": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(x, 2 * x, x.flip(1))),
    "function_causal": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(x, x, x[..., :2], is_causal=True, scale=0.3)),
    "function_mask": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=m.mask), mask=torch.ones(3, 3).tril().bool()),
    "function_full_mask": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=m.mask), mask=torch.zeros(3, 3)),
    "learned_queries": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(m.q, x, x), q=nn.Parameter(torch.ones(1, 2, 4))),
    "branch_on_shape": lambda: Functional(lambda m, x: F.scaled_dot_product_attention(x, x, x) if x.shape[1] > 2 else x),
    "module": lambda: Tokens(lambda m, h: m.attention(h, h, h)[0]),
    "module_without_weights": lambda: Tokens(lambda m, h: m.attention(h, h, h, need_weights=False)[0], bias=False),
    "module_causal": lambda: Tokens(lambda m, h: m.attention(h, h, value=h, attn_mask=m.mask, is_causal=True)[0]),
    "module_mask_of_bools": lambda: Tokens(lambda m, h: m.attention(h, h, h, attn_mask=m.mask < 0)[0]),
    "module_cross": lambda: Tokens(lambda m, h: m.attention(h[:, :1], h, h)[0]),
    "module_other_widths": lambda: Tokens(lambda m, h: m.attention(h, h[..., :3], h[..., :2])[0], kdim=3, vdim=2),
    "encoder_layer": lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True),
    "encoder_layer_norm_first": lambda: nn.TransformerEncoderLayer(4, 1, 6, activation="gelu", batch_first=True, norm_first=True, bias=False),
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 2, norm=nn.LayerNorm(4), enable_nested_tensor=False),
}
for _name, _build in ATTENTION.items():
    ZOO[f"attention_{_name}"] = Case(lambda make=_build: affine(make()), (3, 4), False)


class Unpacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        tokens, _ = self.attention(x, x, x)
        return F.relu(tokens)


@model(3, 4, finite=False)
def attention_unpacked():
    return Unpacked()
