"""What does a certified layer norm cost in training: its gradient against its value (target <= 0.1), and a penalty against a training step (target <= 10 %)?

    python tests/benchmarks/bench_training_value.py [--only value|penalty] [--batches 32 64] [--repeat 3] [--method auto]

One JSON row per layer of a ResNet-18 at 224 x 224 (value, search of the active frequency, backward, Euler identity), and one per batch size of a ResNet-18
for 32 x 32 images. One thread, CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import replace

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402
from common import cpu_seconds, emit, interleaved  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from certify.norms.differentiable import NormState, norm_bound  # noqa: E402
from certify.train.penalties import SpectralNorm  # noqa: E402

LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7))


class Block(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        plain = stride == 1 and inputs == outputs
        self.short = nn.Identity() if plain else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def cifar_resnet18() -> nn.Sequential:
    """20 convolutions and a classifier, 11.2 million weights, 0.56 G multiplications per image."""
    widths, blocks, inputs = (64, 128, 256, 512), [], 64
    for k, width in enumerate(widths):
        blocks += [Block(inputs, width, 1 if k == 0 else 2), Block(width, width, 1)]
        inputs = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *blocks, *head)


def value_row(channels: int, pixels: int, method: str, repeat: int) -> None:
    """Forward: the certified pass alone. Search: what the gradient adds to it (cold: the first time; warm: from the last step's peaks)."""
    torch.manual_seed(0)
    layer, shape = nn.Conv2d(channels, channels, 3, padding=1, bias=False).double(), (channels, pixels, pixels)
    forward, cold, warm, backward = [], [], [], []
    peaks: NormState | None = None
    for _ in range(repeat):
        with torch.no_grad():
            layer.weight.mul_(1.0 + 1e-3 * torch.rand_like(layer.weight))
            seconds, (_, state) = cpu_seconds(lambda: norm_bound(layer, shape, method=method))
        forward.append(seconds)
        seconds, (_, found) = cpu_seconds(lambda old=state: norm_bound(layer, shape, state=old))  # unchanged weights: no pass, only the active piece
        cold.append(seconds)
        if peaks is not None:
            state = replace(state, symbol=peaks.symbol, vector=peaks.vector)
        seconds, (value, peaks) = cpu_seconds(lambda old=state if peaks is not None else found: norm_bound(layer, shape, state=old))
        warm.append(seconds)
        layer.weight.grad = None
        backward.append(cpu_seconds(value.backward)[0])
    euler = abs(float((layer.weight.grad * layer.weight.detach()).sum()) / value.item() - 1)
    seconds = {"forward": statistics.median(forward), "search_cold": statistics.median(cold), "search_warm": statistics.median(warm), "backward": statistics.median(backward)}
    emit(
        "gradient of a certified norm against its value",
        layer=f"{channels}-{channels} 3x3 @ {pixels}", method=state.bound.method, by=state.bound.evidence["verify"]["by"], cpu_seconds=seconds,
        backward_over_forward=seconds["backward"] / seconds["forward"], euler=euler,
        search_and_backward_over_forward=(seconds["search_warm"] + seconds["backward"]) / seconds["forward"],
    )  # fmt: skip


def penalty_row(batch: int, repeat: int) -> None:
    torch.manual_seed(0)
    model = cifar_resnet18().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    penalties = {engine: SpectralNorm(1e-4, engine=engine) for engine in ("auto", "layer", "symbol")}
    first = {engine: cpu_seconds(lambda p=p: p(model, input_shape=(3, 32, 32)))[0] for engine, p in penalties.items()}

    def step(penalty: Callable[[nn.Module], Tensor] | None) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        (loss if penalty is None else loss + penalty(model)).backward()
        optimizer.step()

    def alone(penalty: SpectralNorm) -> None:
        optimizer.zero_grad()
        penalty(model).backward()

    runs = {"plain": lambda: step(None)} | {engine: lambda p=p: step(p) for engine, p in penalties.items()}
    runs |= {f"{engine} alone": lambda p=p: alone(p) for engine, p in penalties.items()}
    done = {name: run["median"] for name, run in interleaved(runs, repeat).items()}
    for engine in penalties:
        emit(
            "overhead of SpectralNorm on a training step", model="ResNet-18, 32 x 32 images", batch=batch, engine=engine, cpu_seconds=done, first_call_s=first[engine],
            overhead_percent=100 * done[f"{engine} alone"] / done["plain"], overhead_percent_by_difference=100 * (done[engine] / done["plain"] - 1), target=10,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("value", "penalty"))
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--method", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "penalty":
        for channels, pixels in LAYERS:
            value_row(channels, pixels, options.method, options.repeat)
    if options.only != "value":
        for batch in options.batches:
            penalty_row(batch, options.repeat)


if __name__ == "__main__":
    main()
