"""Norms, steepest directions and projections of a batch of perturbations, in torch, for the attack. Estimates: nothing here is a bound."""

from __future__ import annotations

import torch
from torch import Tensor


def column(values: Tensor, like: Tensor) -> Tensor:
    """(n,) as (n, 1, ..., 1), to multiply a batch."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def sizes(batch: Tensor, norm: str) -> Tensor:
    """(n,) the norm of each entry of a batch, scaled against underflow and overflow."""
    flat = batch.flatten(1).abs()
    top = flat.amax(1)
    if norm == "linf":
        return top
    scaled = flat / top.clamp_min(torch.finfo(flat.dtype).tiny)[:, None]
    return top * (scaled.sum(1) if norm == "l1" else scaled.square().sum(1).sqrt())


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """The u of norm 1 with the largest inner product with the gradient: g/|g| (l2), sign g (linf), one signed unit vector (l1); 0 for g = 0."""
    flat = gradient.flatten(1)
    if norm == "linf":
        unit = flat.sign()
    elif norm == "l2":
        flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        unit = flat / flat.square().sum(1, keepdim=True).sqrt().clamp_min(0.5)  # the largest entry is 1, or all are 0
    else:
        place = flat.abs().argmax(1, keepdim=True)
        unit = torch.zeros_like(flat).scatter_(1, place, flat.gather(1, place).sign())
    return unit.view_as(gradient)


def projected(batch: Tensor, radius: Tensor, norm: str) -> Tensor:
    """The nearest point (l2 sense) of the ball of the given radius, entry by entry. l1: sorted soft threshold (Duchi et al. 2008)."""
    flat = batch.flatten(1)
    if norm == "linf":
        out = torch.minimum(torch.maximum(flat, -radius[:, None]), radius[:, None])
    elif norm == "l2":
        tiny = torch.finfo(flat.dtype).tiny
        out = flat * (radius / sizes(batch, "l2").clamp_min(tiny)).clamp(max=1.0)[:, None]
    else:
        ordered = flat.abs().sort(dim=1, descending=True).values
        counts = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
        levels = (ordered.cumsum(1) - radius[:, None]) / counts
        last = (ordered > levels).sum(1).clamp_min(1)
        level = levels.gather(1, last[:, None] - 1).clamp_min(0)
        out = flat.sign() * (flat.abs() - level).clamp_min(0)
    return out.view_as(batch)
