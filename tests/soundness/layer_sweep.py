"""Random small layers against their dense truth, with every norm method: python tests/soundness/layer_sweep.py --cases 20000 --seed 0

Prints one line: cases, enclosures checked, violations (0 expected), CPU seconds, median and worst ratio of `auto`. Exit code 1 if
anything was violated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from strategies.layers import Layer, seeded, wide  # noqa: E402
from truth.norms import dense_matrix, encloses, matrix_norm, scale_of  # noqa: E402

from certify.norms.base import NormMethod, methods  # noqa: E402

NORMS = ("l2", "linf", "l1")


def violations(layer: Layer, chosen: Mapping[str, NormMethod]) -> tuple[list[str], int, float]:
    """(what is wrong, enclosures checked, upper / truth of auto) for one layer."""
    matrix, scale = dense_matrix(layer), scale_of(layer)
    wrong, checked, ratio = [], 0, 1.0
    for norm in NORMS:
        truth = float(np.ldexp(matrix_norm(matrix, norm), scale))
        for name, method in chosen.items():
            if method.supports(layer.map, norm):
                continue
            bound = method.enclose(layer.map, norm)
            checked += 1
            if not encloses(bound.lower, bound.upper, truth):
                wrong.append(f"{name} {norm}: [{bound.lower!r}, {bound.upper!r}] against {truth!r}")
            if name == "auto" and norm == "l2" and truth > 0:
                ratio = bound.upper / truth
    return wrong, checked, ratio


def sweep(cases: int, seed: int, chosen: Mapping[str, NormMethod] | None = None, limit: int = 60, report=sys.stdout.write, make=seeded) -> tuple[int, int, list[float]]:
    """(violations, enclosures checked, ratios of auto) over layers number seed * 10^9 + 0 .. cases - 1."""
    chosen = methods() if chosen is None else chosen
    bad, total, ratios = 0, 0, []
    for case in range(cases):
        layer = make(seed * 10**9 + case, limit)
        wrong, checked, ratio = violations(layer, chosen)
        total += checked
        ratios.append(ratio)
        bad += len(wrong)
        for line in wrong:
            report(f"case {case}: {layer!r}\n    {line}\n")
    return bad, total, ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default="", help="comma-separated names; all by default")
    parser.add_argument("--limit", type=int, default=60, help="largest number of rows or columns of a case")
    parser.add_argument("--wide", action="store_true", help="up to 70 channels, --limit at least 300")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: method for name, method in methods().items() if not options.methods or name in options.methods.split(",")}
    began = time.process_time()
    bad, total, ratios = sweep(options.cases, options.seed, chosen, options.limit, make=wide if options.wide else seeded)
    seconds = time.process_time() - began
    worst, median = max(ratios), float(np.median(ratios))
    ratio = f"auto/truth median {median:.8f} worst {worst:.4f}"
    print(f"layer sweep: {options.cases} layers, {total} enclosures of {len(chosen)} methods, {bad} violations, {seconds:.1f} CPU s, {ratio}")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
