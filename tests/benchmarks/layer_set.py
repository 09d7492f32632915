"""The layers of the layer-norm benchmark, and their exact norms: torch alone, nothing of the library.

Weights are float32, He-normal from a seed of the layer's name, so that a selection of layers does not change them. "exact" is the largest singular
value of the real (zero-padded, strided) map: dense SVD in float64 up to `DENSE` rows or columns, else Lanczos (ARPACK) on the matrix-free map.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import nn

DENSE = 1024
TOLERANCE = 1e-7  # relative residual of the eigenpair of A'A; the value is off by its square over the gap: about 1e-11
CAP = 90.0  # CPU seconds that one exact value may take


@dataclass(frozen=True)
class Layer:
    """`build` makes the torch module (no bias); `shape` of one sample; `times`: how often ResNet-18 at 224 x 224 has it; `quick`: part of --quick."""

    name: str
    group: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    times: int = 0
    quick: bool = False

    @functools.cached_property
    def module(self) -> nn.Module:
        return self.build()

    @property
    def core(self) -> nn.Module:
        """The module with the weight."""
        return next(part for part in self.module.modules() if getattr(part, "weight", None) is not None)

    @property
    def n(self) -> int:
        """Input size of the last axis."""
        return self.shape[-1]

    @property
    def plain(self) -> bool:
        """A 2-D 3x3 convolution of the sized targets: zero padding 1, stride 1, no dilation, no groups."""
        c = self.module
        return isinstance(c, nn.Conv2d) and (c.kernel_size, c.stride, c.padding, c.dilation, c.groups, c.padding_mode) == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")

    @functools.cached_property
    def side(self) -> int:
        """min(rows, columns) of the matrix."""
        with torch.no_grad():
            return min(math.prod(self.shape), self.module(torch.zeros(1, *self.shape)).numel())


def he(make: Callable[[], nn.Module], name: str) -> nn.Module:
    module = make()
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for part in module.modules():
        if getattr(part, "weight", None) is not None:
            weight = part.weight
            fan_in = weight[0].numel() if not getattr(part, "transposed", False) else weight.numel() // (weight.shape[1] * part.groups) // math.prod(part.stride)
            weight.data = torch.from_numpy((rng.standard_normal(weight.shape) * math.sqrt(2 / fan_in)).astype(np.float32))
    return module.eval().requires_grad_(False)


def conv(
    group: str, cin: int, cout: int, k: int, n: int, s: int = 1, *, p: int | None = None, d: int = 1, g: int = 1, mode: str = "zeros", times: int = 0, quick: bool = False
) -> Layer:
    """A square 2-D convolution with "same" padding unless p is given."""
    p = d * (k // 2) if p is None else p
    parts = [f"{cin}-{cout}", f"{k}x{k}"]
    parts += [f"s{s}"] * (s > 1) + [f"dilation {d}"] * (d > 1) + ["depthwise" if g == cin else f"{g} groups"] * (g > 1)
    parts += ["valid"] * (p == 0 and k > 1) + [mode] * (mode != "zeros")
    name = " ".join(parts) + f" @{n}"
    build = functools.partial(he, lambda: nn.Conv2d(cin, cout, k, s, p, d, g, bias=False, padding_mode=mode), name)
    return Layer(name, group, build, (cin, n, n), times, quick)


def other(group: str, name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], times: int = 0, quick: bool = True) -> Layer:
    return Layer(name, group, functools.partial(he, make, name), shape, times, quick)


def layers() -> list[Layer]:
    """The whole set; modules are built when first used."""
    res, vgg, plain, more, pad, dense, learned = GROUPS
    return [
        conv(res, 3, 64, 7, 224, 2, p=3, times=1), conv(res, 64, 64, 3, 56, times=4), conv(res, 64, 128, 3, 56, 2, times=1), conv(res, 64, 128, 1, 56, 2, times=1, quick=True),
        conv(res, 128, 128, 3, 28, times=3), conv(res, 128, 256, 3, 28, 2, times=1), conv(res, 128, 256, 1, 28, 2, times=1), conv(res, 256, 256, 3, 14, times=3),
        conv(res, 256, 512, 3, 14, 2, times=1), conv(res, 256, 512, 1, 14, 2, times=1), conv(res, 512, 512, 3, 7, times=3),
        other(res, "classifier 512-1000", lambda: nn.Linear(512, 1000, bias=False), (512,), times=1),
        # not 64-64 at 112 or 224: its exact norm alone takes 1.5 to 6 minutes
        conv(vgg, 3, 64, 3, 224), conv(vgg, 64, 128, 3, 56),
        conv(plain, 64, 64, 3, 32), conv(plain, 64, 64, 3, 28, quick=True), conv(plain, 64, 64, 3, 14, quick=True), conv(plain, 64, 64, 3, 7, quick=True),
        conv(plain, 256, 256, 3, 8), conv(plain, 64, 128, 3, 16),
        conv(more, 32, 64, 3, 14, 2, quick=True), conv(more, 64, 64, 3, 28, g=64, quick=True), conv(more, 256, 256, 3, 28, g=256, quick=True),
        conv(more, 256, 256, 3, 14, g=32, quick=True), conv(more, 32, 32, 3, 28, d=2, quick=True), conv(more, 32, 32, 3, 28, 2, d=2, quick=True),
        other(more, "transposed 64-32 4x4 s2 @14", lambda: nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), (64, 14, 14)),
        other(more, "1-D 32-32 7 @256", lambda: nn.Conv1d(32, 32, 7, padding=3, bias=False), (32, 256)),
        other(more, "3-D 8-8 3x3x3 @10", lambda: nn.Conv3d(8, 8, 3, padding=1, bias=False), (8, 10, 10, 10)),
        conv(more, 32, 32, 3, 16, p=0, quick=True), conv(more, 32, 32, 4, 16, p=1, quick=True),
        other(more, "asymmetric padding 32-32 4x4 @16", lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(32, 32, 4, bias=False)), (32, 16, 16)),
        conv(more, 16, 16, 5, 3, quick=True), conv(more, 16, 16, 7, 4, quick=True),
        *(conv(pad, 32, 32, 3, 16, mode=mode, quick=True) for mode in ("circular", "reflect", "replicate")),
        *(other(dense, f"dense {n}", functools.partial(nn.Linear, n, n, bias=False), (n,), quick=n == 1024) for n in (1024, 2048, 4096)),
        *(Layer(f"digits {name}", learned, functools.partial(digits_layer, k), shape, quick=True) for k, (name, shape) in enumerate(DIGITS)),
        Layer("smooth 32-32 3x3 @28", learned, smooth, (32, 28, 28), quick=True),
    ]  # fmt: skip


GROUPS = ("ResNet-18 at 224 x 224", "VGG-like", "3x3, stride 1", "Other convolutions", "Other padding modes", "Dense", "Trained or trained-like")
DIGITS = (("1-32 3x3 @8", (1, 8, 8)), ("32-64 3x3 s2 @8", (32, 8, 8)), ("64-64 3x3 @4", (64, 4, 4)))


@functools.cache
def digits_network() -> nn.Sequential:
    """Three convolutions and a dense layer, trained for a few seconds on scikit-learn's handwritten digits with a fixed seed."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    x, y = torch.from_numpy((raw.images[:, None] / 16).astype(np.float32)), torch.from_numpy(raw.target.astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1, bias=False), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(10):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


def digits_layer(k: int) -> nn.Module:
    return digits_network()[2 * k]


def smooth() -> nn.Module:
    """A trained-like kernel: noise plus a few channel patterns under wide Gaussian blurs, so that the symbol peaks smoothly at low frequencies."""
    layer = nn.Conv2d(32, 32, 3, padding=1, bias=False)
    rng = np.random.default_rng(18)
    weight = 0.3 * rng.standard_normal((32, 32, 3, 3)) * math.sqrt(2 / 288)
    for rank in range(4):
        blur = np.exp(-((np.arange(3) - 1) ** 2) / (2 * (1.0 + 0.4 * rank) ** 2))
        weight += 0.5**rank * np.multiply.outer(np.outer(_unit(rng), _unit(rng)), np.outer(blur, blur) / blur.sum() ** 2)
    layer.weight.data = torch.from_numpy(weight.astype(np.float32))
    return layer.eval().requires_grad_(False)


def _unit(rng: np.random.Generator) -> np.ndarray:
    v = rng.standard_normal(32)
    return v / np.linalg.norm(v)


@dataclass(frozen=True)
class Exact:
    """A layer's norm: `how` it was found, the relative `residual` of the eigenpair (0 for the SVD), CPU seconds; value nan if the time cap ended it."""

    value: float
    how: str
    residual: float
    seconds: float


def exact(layer: Layer, cache: Path | None = None) -> Exact:
    """The exact norm, from `cache` (a JSON file, by the digest of weight and geometry) if it is there."""
    digest = hashlib.sha256(repr((DENSE, TOLERANCE, layer.shape, layer.module)).encode() + layer.core.weight.detach().numpy().tobytes()).hexdigest()
    known = json.loads(cache.read_text()) if cache and cache.exists() else {}
    if digest not in known:
        found = _exact(layer)
        known[digest] = {"layer": layer.name, "value": found.value, "how": found.how, "residual": found.residual, "seconds": found.seconds}
        if cache and math.isfinite(found.value):
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text(json.dumps(known, indent=1) + "\n")
    row = known[digest]
    return Exact(row["value"], row["how"], row["residual"], row["seconds"])


def _exact(layer: Layer) -> Exact:
    start = time.process_time()
    module = copy.deepcopy(layer.module).double()
    size = math.prod(layer.shape)
    probe = torch.zeros(1, *layer.shape, dtype=torch.float64, requires_grad=True)
    image = module(probe)
    if min(size, image.numel()) <= DENSE:
        columns = [module(part.reshape(-1, *layer.shape)).reshape(len(part), -1) for part in torch.eye(size, dtype=torch.float64).split(256)]
        value = float(np.linalg.svd(torch.cat(columns).numpy(), compute_uv=False)[0])
        return Exact(value, "dense SVD", 0.0, time.process_time() - start)

    def image_of(x: torch.Tensor) -> torch.Tensor:
        return module(x.reshape(1, *layer.shape))

    def adjoint(y: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(image, probe, y.reshape(image.shape), retain_graph=True)[0]

    def step(v: np.ndarray) -> np.ndarray:
        if time.process_time() - start > CAP:
            raise ArpackNoConvergence("the time cap", None, None)
        x = torch.from_numpy(np.ascontiguousarray(v))
        with torch.no_grad():
            out = adjoint(image_of(x)) if size <= image.numel() else image_of(adjoint(x))
        return out.numpy().ravel()

    side = min(size, image.numel())
    try:
        v0 = np.random.default_rng(0).standard_normal(side)
        values, vectors = eigsh(LinearOperator((side, side), matvec=step, dtype=np.float64), k=1, tol=TOLERANCE, ncv=40, v0=v0)
    except ArpackNoConvergence:
        return Exact(math.nan, f"Lanczos, stopped after {CAP:.0f} s", math.nan, time.process_time() - start)
    residual = float(np.linalg.norm(step(vectors[:, 0]) - values[0] * vectors[:, 0]) / values[0])
    return Exact(math.sqrt(float(values[0])), "Lanczos", residual, time.process_time() - start)
