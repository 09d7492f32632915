"""Activations that keep the norm of gradients: MaxMin, GroupSort, Householder.

Each is continuous and, on finitely many cones that cover the space, an orthogonal matrix. So it is 1-Lipschitz in l2, and its Jacobian is orthogonal
wherever it has one: nothing of a gradient is lost, where ReLU loses half of it. While a model is recorded (torch.fx, torch.export, torch.jit) every
activation writes itself in plain operators that `certify.core.trace` knows; otherwise a faster path runs.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import InputError
from .sort_pairs import joined, pairs, sort_pairs

_LAYOUTS = ("halves", "consecutive")


class MaxMin(nn.Module):
    """(a, b) -> (max(a, b), min(a, b)) for pairs of channels.

    Claim: |f(x) - f(y)|_p <= |x - y|_p for every p; the Jacobian is a permutation where it exists. At a tie the gradient is that of (a, b) in
    order, an element of the generalised Jacobian.

    Args:
        layout: which channels (axis 1) are a pair. "halves": i and i + c / 2; "consecutive": 2 i and 2 i + 1. The larger one comes first.
    Guarantee: `certify.lipschitz` recognises the sort, with constant exactly 1 in every norm.
    Raises:
        InputError: an unknown layout; at a call, no channel axis or an odd number of channels.
    Cost: forward and backward about a fifth of the time of chunk, max, min and cat (float32, one CPU core); keeps one byte per pair.
    Source: Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML (2019), section 4.1.

    >>> MaxMin()(torch.tensor([[1.0, 5.0, 4.0, 2.0]]))
    tensor([[4., 5., 1., 2.]])
    """

    lipschitz = 1.0  # for estimates in training; `certify.lipschitz` proves it

    def __init__(self, layout: str = "halves"):
        super().__init__()
        self.layout = _require_layout(layout)

    def forward(self, x: Tensor) -> Tensor:
        if not recorded(x):
            _require_channels(x, 2, "MaxMin")
            return sort_pairs(x, self.layout)
        a, b = pairs(x, self.layout)
        return joined(torch.maximum(a, b), torch.minimum(a, b), x, self.layout)

    def extra_repr(self) -> str:
        return _shown(self.layout)


class GroupSort(nn.Module):
    """Groups of `size` channels, each sorted in falling order.

    Claim: |f(x) - f(y)|_p <= |x - y|_p for every p; the Jacobian is a permutation where it exists. GroupSort(2) is MaxMin.

    Args:
        size: entries of a group, at least 2.
        layout: "halves": group i holds the channels i + j c / size, j < size; "consecutive": the channels i size + j.
    Guarantee: `certify.lipschitz` recognises the sort, with constant exactly 1 in every norm.
    Raises:
        InputError: a size that is no integer or below 2, an unknown layout; at a call, a number of channels that `size` does not divide.
    Cost: that of torch.sort, far above MaxMin's for size > 2.
    Source: Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML (2019), section 4.1 (there in rising order).

    >>> GroupSort(3, "consecutive")(torch.tensor([[1.0, 5.0, 4.0, 2.0, 0.0, 7.0]]))
    tensor([[5., 4., 1., 7., 2., 0.]])
    """

    lipschitz = 1.0

    def __init__(self, size: int = 2, layout: str = "halves"):
        super().__init__()
        if not isinstance(size, int) or isinstance(size, bool) or size < 2:
            raise InputError("a group to sort has at least two entries", where="GroupSort, argument size", found=repr(size), expected="an integer >= 2")
        self.size, self.layout = size, _require_layout(layout)

    def forward(self, x: Tensor) -> Tensor:
        if not recorded(x):
            _require_channels(x, self.size, "GroupSort")
            if self.size == 2:
                return sort_pairs(x, self.layout)
        sizes, axis = ((self.size, -1), 1) if self.layout == "halves" else ((-1, self.size), 2)
        return x.unflatten(1, sizes).sort(dim=axis, descending=True)[0].flatten(1, 2)

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (f"size={self.size}", _shown(self.layout))))


class Householder(nn.Module):
    """Pairs of channels, reflected at a learned line where they lie behind it: z -> z if <v, z> >= 0, else z - 2 <v, z> v.

    Here v = (sin(theta / 2), -cos(theta / 2)) with one angle theta per pair, pi / 2 at the start: then it is MaxMin.

    Claim: |f(x) - f(y)|_2 <= |x - y|_2; the Jacobian is orthogonal where it exists. With w = (cos(theta / 2), sin(theta / 2)) and the symmetric
    orthogonal matrix R of rows w, v it is R diag(1, |.|) R: a 1x1 convolution, the absolute value of every other channel (a PReLU with slopes 1
    and -1), the same convolution.

    Args:
        channels: of the input, axis 1; an even number.
        layout: which channels are a pair, as in MaxMin.
        device, dtype: of the angles.
    Guarantee: recorded models contain the form above, so the certified constant is the proved ||R||^2 with the rounded sine and cosine: above 1 by
        1e-7 for float32 angles, 1e-15 for float64, and by what the norm's own method adds (1e-8 to 1e-6 was seen).
    Raises:
        InputError: channels that are no even positive integer, an unknown layout; at a call, another number of channels.
    Cost: about eight entrywise operations.
    Source: Singla, Singla, Feizi: Improved deterministic l2 robustness on CIFAR-10 and CIFAR-100, ICLR (2022), the activation of order 1; which side
        stays as it is was chosen so that the larger channel comes first at the start.

    >>> layer = Householder(2)
    >>> [round(value, 5) for value in layer(torch.tensor([[1.0, 3.0]]))[0].tolist()]
    [3.0, 1.0]
    """

    lipschitz = 1.0

    def __init__(self, channels: int, layout: str = "halves", device: Any = None, dtype: Any = None):
        super().__init__()
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 2 or channels % 2:
            raise InputError("reflections act on pairs of channels", where="Householder, argument channels", found=repr(channels), expected="an even number, at least 2")
        self.channels, self.layout = channels, _require_layout(layout)
        self.theta = nn.Parameter(torch.full((channels // 2,), math.pi / 2, device=device, dtype=dtype))
        self.dims: int | None = None  # axes after the channels at the last call: `exported` chooses its layers by it

    def forward(self, x: Tensor) -> Tensor:
        if recorded(x):
            return self._in_plain_operators(x)
        _require_channels(x, self.channels, "Householder", exactly=True)
        self.dims = x.ndim - 2
        a, b = pairs(x, self.layout)
        sine, cosine = (f(self.theta / 2).reshape(-1, *(1,) * self.dims) for f in (torch.sin, torch.cos))
        behind = 2 * F.relu(cosine * b - sine * a)
        return joined(a + behind * sine, b - behind * cosine, x, self.layout)

    def _in_plain_operators(self, x: Tensor) -> Tensor:
        """R diag(1, |.|) R whatever the number of axes, which a recorder does not tell."""
        count, rotation, halves = self.channels // 2, self._rotation().unsqueeze(-1), self.layout == "halves"
        z = x.reshape(x.shape[0], 2, count, -1).transpose(1, 2) if halves else x
        z = F.conv1d(z.reshape(x.shape[0], self.channels, -1), rotation, groups=count)
        z = F.conv1d(F.prelu(z, self._slopes()), rotation, groups=count)
        return (z.reshape(x.shape[0], count, 2, -1).transpose(1, 2) if halves else z).reshape(x.shape)

    def _rotation(self) -> Tensor:
        """The rows of R, pair after pair: (channels, 2)."""
        sine, cosine = torch.sin(self.theta / 2), torch.cos(self.theta / 2)
        return torch.stack((cosine, sine, sine, -cosine), -1).reshape(-1, 2)

    def _slopes(self) -> Tensor:
        one = torch.ones_like(self.theta)
        return torch.stack((one, -one), -1).reshape(-1)

    @torch.no_grad()
    def exported(self) -> nn.Module:
        """The same function in layers of torch, for inputs with as many axes as the last one; the module itself if it never saw one."""
        kind = {0: nn.Conv1d, 1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}.get(-1 if self.dims is None else self.dims)
        if kind is None:
            return self
        layers: list[nn.Module] = []
        for _ in range(2):
            turn = kind(self.channels, self.channels, 1, groups=self.channels // 2, bias=False, device=self.theta.device, dtype=self.theta.dtype)
            turn.weight.copy_(self._rotation().reshape(turn.weight.shape))
            layers.append(turn)
        prelu = nn.PReLU(self.channels, device=self.theta.device, dtype=self.theta.dtype)
        prelu.weight.copy_(self._slopes())
        layers.insert(1, prelu)
        if self.layout == "halves":
            layers = [nn.ChannelShuffle(2), *layers, nn.ChannelShuffle(self.channels // 2)]
        return nn.Sequential(nn.Unflatten(1, (self.channels, 1)), *layers, nn.Flatten()) if self.dims == 0 else nn.Sequential(*layers)

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (str(self.channels), _shown(self.layout))))


def recorded(x: Any) -> bool:
    """Whether a tracer, exporter or compiler is watching: then a module writes itself in plain operators."""
    return not isinstance(x, Tensor) or torch.compiler.is_compiling() or torch.jit.is_tracing()


def _shown(layout: str) -> str:
    return "" if layout == "halves" else f"layout={layout!r}"


def _require_layout(layout: str) -> str:
    if layout not in _LAYOUTS:
        raise InputError("unknown layout of the groups", where="argument layout", found=repr(layout), expected=" or ".join(map(repr, _LAYOUTS)))
    return layout


def _require_channels(x: Tensor, count: int, name: str, exactly: bool = False) -> None:
    if x.ndim >= 2 and x.shape[1] and x.shape[1] % count == 0 and (x.shape[1] == count or not exactly):
        return
    expected = f"(n, {count}, ...)" if exactly else f"(n, channels, ...), channels a positive multiple of {count}"
    raise InputError(f"{name} cannot group the channels of its input", where=name, found=tuple(x.shape), expected=expected, hint="change the width of the layer before it")
