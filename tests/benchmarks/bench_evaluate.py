"""How fast is the numpy float64 forward pass beside torch's own float64 conv2d on the CPU, one thread each? (Target: at most 1.2x its CPU time.)

python tests/benchmarks/bench_evaluate.py [--images 10000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import emit, interleaved  # noqa: E402
from torch import nn  # noqa: E402

from certify.core.trace import trace  # noqa: E402

# name: share of the images, input shape, layers (channels in, out, kernel, stride, groups)
NETWORKS = {
    "mnist cnn 1-16-32 stride 2": (1.0, (1, 28, 28), [(1, 16, 3, 2, 1), (16, 32, 3, 2, 1)]),
    "3-64 on 32x32": (0.05, (3, 32, 32), [(3, 64, 3, 1, 1)]),
    "64-64 on 32x32": (0.005, (64, 32, 32), [(64, 64, 3, 1, 1)]),
    "512-512 on 4x4": (0.005, (512, 4, 4), [(512, 512, 3, 1, 1)]),
    "1x1 64-64 on 32x32": (0.01, (64, 32, 32), [(64, 64, 1, 1, 1)]),
    "depthwise 64 on 32x32": (0.01, (64, 32, 32), [(64, 64, 3, 1, 64)]),
}
CHUNKS = (10_000, 1_000, 250, 50)  # torch's best batch is not known beforehand: it gets the best of these


def torch_pass(model: nn.Module, x: torch.Tensor, chunk: int) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(chunk)]).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, (share, shape, layers) in NETWORKS.items():
        model = nn.Sequential(*(m for i, o, k, s, g in layers for m in (nn.Conv2d(i, o, k, s, k // 2, groups=g), nn.ReLU()))).double().eval()
        graph = trace(model, shape)
        x = np.random.default_rng(0).standard_normal((max(2, int(share * arguments.images)), *shape))
        tensor = torch.from_numpy(x)
        work = {"numpy": lambda graph=graph, x=x: graph(x)}
        work |= {f"torch {c}": lambda model=model, tensor=tensor, c=c: torch_pass(model, tensor, c) for c in CHUNKS if c <= len(x)} or {
            "torch all": lambda model=model, tensor=tensor: torch_pass(model, tensor, len(tensor))
        }
        rows = interleaved(work, repeat=arguments.repeat)
        ours, best = rows["numpy"]["min"], min(row["min"] for key, row in rows.items() if key != "numpy")
        difference = max(float(np.abs(row["result"] - rows["numpy"]["result"]).max()) for row in rows.values())
        emit(
            "CPU time of the float64 forward pass over torch's best",
            network=name,
            images=len(x),
            seconds=ours,
            torch_seconds=best,
            ratio=ours / best,
            largest_difference=difference,
        )


if __name__ == "__main__":
    main()
