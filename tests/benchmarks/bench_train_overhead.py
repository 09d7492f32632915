"""What does a penalty cost per training step (targets: reshaped spectral norm <= 5 %, Fantastic Four <= 10 %, true convolution norm <= 15 %)?

    python tests/benchmarks/bench_train_overhead.py [--batches 32 64 128] [--repeat 5] [--all]

A ResNet-18 for 32 x 32 images (20 convolutions, 11.2 million weights), SGD with momentum; the whole step with the penalty against the plain step, in turns.
One JSON row per batch and penalty. `overhead_percent` is the median over rounds of (step with penalty) / (plain step of the same round) - 1. What a penalty costs
does not depend on the batch, so it is also measured where it is not lost in the noise of a long step: `added_s`, the same difference for steps on 2 images,
and `added_percent`, that by the plain step at the batch asked for. One thread, CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402
from bench_training_value import cifar_resnet18  # noqa: E402
from common import cpu_seconds, emit, interleaved  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from certify.train.penalties import FantasticFour, Penalty, SpectralNorm  # noqa: E402

Case = tuple[Penalty, float]
"""A penalty and the overhead in percent that it may cost."""


def cases(everything: bool) -> dict[str, Case]:
    found: dict[str, Case] = {
        "spectral norm, reshaped": (SpectralNorm(1e-4, norm="reshaped", steps=1), 5.0),
        "fantastic four": (FantasticFour(1e-4), 10.0),
        "true convolution norm": (SpectralNorm(1e-4, steps=1), 15.0),
    }
    if everything:
        found["true convolution norm, 2 steps"] = SpectralNorm(1e-4), 15.0
        found["true convolution norm, by layers"] = SpectralNorm(1e-4, engine="layer", steps=1), 15.0
    return found


def rows(batch: int, repeat: int, everything: bool) -> None:
    torch.manual_seed(0)
    model = cifar_resnet18().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))

    def step(penalty: Penalty | None, count: int = batch) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[:count]), labels[:count])
        (loss if penalty is None else loss + penalty(model)).backward()
        optimizer.step()

    chosen = cases(everything)
    first = {}
    for name, (penalty, _) in chosen.items():
        if hasattr(penalty, "record"):
            penalty.record(model, (3, 32, 32))
        first[name] = cpu_seconds(lambda p=penalty: p(model))[0]
    competitors = {"plain": None} | {name: penalty for name, (penalty, _) in chosen.items()}
    done = interleaved({name: lambda p=penalty: step(p) for name, penalty in competitors.items()}, repeat, warmup=2)
    small = interleaved({name: lambda p=penalty: step(p, 2) for name, penalty in competitors.items()}, 4 * repeat, warmup=2)
    alone = interleaved({name: lambda p=penalty: p(model) for name, (penalty, _) in chosen.items()}, repeat)
    for name, (penalty, target) in chosen.items():
        pairs = [with_penalty / plain - 1 for with_penalty, plain in zip(done[name]["all"], done["plain"]["all"])]
        added = statistics.median(with_penalty - plain for with_penalty, plain in zip(small[name]["all"], small["plain"]["all"]))
        emit(
            "overhead of a penalty on a training step", model="ResNet-18, 32 x 32 images", batch=batch, case=name, penalty=repr(penalty),
            plain_s=done["plain"]["median"], step_s=done[name]["median"], value_alone_s=alone[name]["median"], first_call_s=first[name],
            overhead_percent=100 * statistics.median(pairs), added_s=added, added_percent=100 * added / done["plain"]["median"], target=target,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="other settings of the true norm too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for batch in options.batches:
        rows(batch, options.repeat, options.all)


if __name__ == "__main__":
    main()
