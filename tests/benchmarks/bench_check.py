"""What does checking the certificate of 10,000 MNIST images cost, against making it? (Target: at most 3 times the certifying time, at
most 2 GiB.) Norms l2, linf and l1; a plain CNN and one with BatchNorm and a residual branch. The check runs in a process of its own.

    python tests/benchmarks/bench_check.py --out benchmarks/check.json [--images 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from common import cpu_seconds, emit, peak_memory_bytes  # noqa: E402


def checked(certificate: str, graph_file: str) -> None:
    """In a fresh process: check, and print CPU seconds, peak memory and the slowest steps."""
    import certify

    graph = pickle.loads(Path(graph_file).read_bytes())  # written by this very script
    seconds, report = cpu_seconds(lambda: certify.check(certificate, graph))
    slow = sorted(report.steps, key=lambda s: -s.seconds)[:4]
    print(json.dumps({"cpu_seconds": seconds, "peak_memory_bytes": peak_memory_bytes(), "steps": [[s.name, s.what, round(s.seconds, 3)] for s in slow]}))


def networks(images: np.ndarray, labels: np.ndarray) -> dict:
    """The CNN of bench_radius, and one with BatchNorm and a residual branch, both after one pass over the images given."""
    import torch
    from bench_radius import Pixels, network
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())

        def forward(self, x):
            return x + self.body(x)

    def layer(a: int, b: int, stride: int) -> list:
        return [nn.Conv2d(a, b, 3, stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]

    torch.manual_seed(1)
    model = nn.Sequential(Pixels(), *layer(1, 16, 1), *layer(16, 32, 2), Residual(32), *layer(32, 32, 2), nn.Flatten(), nn.Linear(1568, 10))
    x, y = torch.tensor(images[:, None]).float(), torch.tensor(labels).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return {"cnn": network(images, labels), "bn residual": model.eval()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--norms", nargs="*", default=["l2", "linf", "l1"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import torch
    from bench_radius import idx

    from certify.core.trace import trace
    from certify.robustness.radii import certify_radii

    torch.set_num_threads(1)
    folder = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "mnist"
    models = networks(idx(folder / "train-images-idx3-ubyte.gz")[:3000], idx(folder / "train-labels-idx1-ubyte.gz")[:3000])
    x = idx(folder / "t10k-images-idx3-ubyte.gz")[: options.images, None].copy()
    y = idx(folder / "t10k-labels-idx1-ubyte.gz")[: options.images].astype(np.int64)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, model in models.items():
            graph = trace(model, (1, 28, 28))
            Path(place, "graph").write_bytes(pickle.dumps(graph))
            for norm in options.norms:
                certifying, result = cpu_seconds(lambda graph=graph, norm=norm: certify_radii(graph, x, y, norm, attack=False))
                path = result.save(Path(place, "certificate"))
                command = [sys.executable, __file__, "--child", str(path), str(Path(place, "graph"))]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
                check = json.loads(done.stdout.splitlines()[-1])
                rows.append(
                    emit(
                        "CPU cost of a check against certifying",
                        target=3.0,
                        memory_target_bytes=2 << 30,
                        network=name,
                        norm=norm,
                        images=len(x),
                        certify_cpu_seconds=certifying,
                        check=check,
                        ratio=check["cpu_seconds"] / certifying,
                        file_bytes=path.stat().st_size,
                        accuracy=result.accuracy,
                        certified=int((result.radii > 0).sum()),
                    )
                )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, default=str, indent=1) + "\n")


if __name__ == "__main__":
    checked(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
