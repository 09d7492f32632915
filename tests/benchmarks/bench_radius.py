"""What does certifying 10,000 MNIST images with a 4-layer CNN cost, in float64 forward passes? (Target: radii without the attack at
most 1.5 passes, plus the layer bounds once.) And what does the attack cost on 1,000 of them?

    python tests/benchmarks/bench_radius.py --out benchmarks/radius.json [--images 10000] [--attacked 1000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import cpu_seconds, emit, interleaved  # noqa: E402

from certify.constants.public import graph_constant  # noqa: E402
from certify.core.trace import trace  # noqa: E402
from certify.robustness.radii import certify_radii  # noqa: E402


def idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class Pixels(torch.nn.Module):
    """Raw pixels 0..255 to 0..1: the normalisation is the model's first layer."""

    def forward(self, x):
        return x / 255.0


def network(images: np.ndarray, labels: np.ndarray) -> torch.nn.Module:
    """1 -> 16 -> 32 (stride 2) -> 32 (stride 2) -> dense 10, one epoch on the images given, seeded."""
    torch.manual_seed(0)
    c = torch.nn.Conv2d
    model = torch.nn.Sequential(
        Pixels(), c(1, 16, 3, padding=1), torch.nn.ReLU(), c(16, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
        c(32, 32, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1568, 10),
    )  # fmt: skip
    x, y = torch.tensor(images[:, None]).float(), torch.tensor(labels).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--attacked", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "mnist"
    model = network(idx(folder / "train-images-idx3-ubyte.gz")[:6000], idx(folder / "train-labels-idx1-ubyte.gz")[:6000])
    x = idx(folder / "t10k-images-idx3-ubyte.gz")[: options.images, None].copy()
    y = idx(folder / "t10k-labels-idx1-ubyte.gz")[: options.images].astype(np.int64)
    graph = trace(model, (1, 28, 28))
    double = graph.to_torch().double()
    bounds_seconds, constants = cpu_seconds(lambda: graph_constant(graph, options.norm, "product", lower=False))

    def torch_pass():
        with torch.no_grad():
            return torch.cat([double(torch.from_numpy(x[i : i + 500].astype(np.float64))) for i in range(0, len(x), 500)])

    runs = interleaved(
        {
            "torch_float64": torch_pass,
            "graph_float64": lambda: np.concatenate([graph(x[i : i + 500].astype(np.float64)) for i in range(0, len(x), 500)]),
            "radius": lambda: certify_radii(graph, x, y, options.norm, lipschitz=constants, attack=False),
        },
        options.repeat,
    )
    attack_seconds, attacked = cpu_seconds(lambda: certify_radii(graph, x[: options.attacked], y[: options.attacked], options.norm, lipschitz=constants))
    certified = runs["radius"]["result"]
    right = attacked.predictions == attacked.labels
    figures = {name: {k: run[k] for k in ("median", "min", "all")} for name, run in runs.items()}
    ratios = {name: runs["radius"]["median"] / runs[name]["median"] for name in ("torch_float64", "graph_float64")}
    attack = {"images": options.attacked, "cpu_seconds": attack_seconds, "right": int(right.sum()), "found": int(np.isfinite(attacked.upper[right]).sum())}
    attack["mean_certified_over_attacked"] = float(np.mean(attacked.radii[right] / attacked.upper[right]))
    row = emit(
        "CPU cost of certified radii in forward passes", target=1.5, images=len(x), norm=options.norm, cpu_seconds=figures, ratio=ratios,
        layer_bounds_seconds=bounds_seconds, accuracy=certified.accuracy, median_radius=float(np.median(certified.radii)), attack=attack,
    )  # fmt: skip
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(row, default=str, indent=1) + "\n")


if __name__ == "__main__":
    main()
