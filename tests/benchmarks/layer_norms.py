"""How tight and how fast are the layer norms? Every method of the project and our own implementations of the published ones, over one set of layers.

PYTHONPATH=. .venv/bin/python tests/benchmarks/layer_norms.py [--quick] [--only PATTERN] [--markdown docs/layer_norms.md] [--json rows.jsonl]

One JSON row per layer and method: bound, exact norm, ratio, CPU seconds (median), sound. Methods take turns; one BLAS thread; each run gets a fresh
map, so that nothing is remembered from the run before. `--markdown` writes the page and, beside it, the plot.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ[_name] = "1"

import layer_page  # noqa: E402
import torch  # noqa: E402
from common import cpu_seconds, emit  # noqa: E402
from layer_competitors import REPEAT, Competitor, competitors  # noqa: E402
from layer_set import Exact, Layer, exact, layers  # noqa: E402

QUESTION = "How tight and how fast is this norm of this layer?"
BELOW = 1e-12  # what an exact value may itself be off


def measure(layer: Layer, truth: Exact, quick: bool, cap: float) -> list[dict[str, Any]]:
    """The rows of one layer: all methods in turns, each at most `REPEAT` times or for 1 (0.1) seconds, the slower of two backends only once."""
    running, budget = competitors(layer, quick), 0.1 if quick else 1.0
    for round_ in range(REPEAT + 1):
        for competitor in running:
            if round_ == 0 or competitor.wants_more(budget):
                competitor.run(round_ == 0, cap if competitor.kind == "project" else 4 * cap)
        if round_ == 0:
            running = _faster_backends(running)
    return [_row(layer, truth, c) for c in running]


def _faster_backends(running: list[Competitor]) -> list[Competitor]:
    """One warm run of each backend decides where there are two."""
    kept: dict[str, tuple[float, Competitor]] = {}
    for c in running:
        if c.backend and not c.failed:
            seconds = c.times[0] if c.times else cpu_seconds(c.prepare())[0]
            kept[c.method] = min(kept.get(c.method, (math.inf, c)), (seconds, c), key=lambda pair: pair[0])
    return [c for c in running if not c.backend or c.method not in kept or kept[c.method][1] is c]


def _row(layer: Layer, truth: Exact, c: Competitor) -> dict[str, Any]:
    lower, upper, more = c.answer if not c.failed else (None, None, {})
    known = math.isfinite(truth.value)
    room = BELOW if truth.residual == 0.0 else 1e-8  # Lanczos ends a little below the norm, which a certified lower end may show
    value = upper if upper is not None else lower if c.method.startswith("power") else None
    sound = None
    if known and not c.failed:  # a published power iteration is sold as the norm, the project's as a lower end
        above = upper if c.kind == "project" else value
        sound = (above is None or above >= truth.value * (1 - BELOW)) and (c.kind == "published" or lower is None or lower <= truth.value * (1 + room))
    return emit(
        QUESTION, layer=layer.name, group=layer.group, shape=layer.shape, side=layer.side, plain=layer.plain, times=layer.times, method=c.method, kind=c.kind,
        bound=value, lower=lower, exact=truth.value if known else None, exact_by=truth.how, exact_residual=truth.residual,
        ratio=value / truth.value if known and value is not None else None, lower_ratio=lower / truth.value if known and lower is not None else None,
        seconds=statistics.median(c.times) if c.times else None, runs=len(c.times),
        backward_seconds=statistics.median(c.backward) if "euler" in more and c.backward else None, euler=more.get("euler"),
        sound=sound, failed=c.failed or None, backend=c.backend or None, chosen=more.get("chosen"),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the cheaper layers, few runs, without auto tight, svd and gram (about a minute)")
    parser.add_argument("--only", metavar="PATTERN", help="layers whose name contains or matches this pattern")
    parser.add_argument("--markdown", type=Path, help="write the page here and the plot beside it")
    parser.add_argument("--json", type=Path, help="write the rows here, one per line")
    parser.add_argument("--cap", type=float, help="CPU seconds that one run of one method may take")
    parser.add_argument("--exact", type=Path, default=Path("bench-results/layer_norms_exact.json"), help="where exact norms are kept between runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cap = options.cap or (2.0 if options.quick else 15.0)
    chosen = [layer for layer in layers() if layer.quick or not options.quick]
    if options.only:
        chosen = [layer for layer in chosen if options.only in layer.name or fnmatch.fnmatch(layer.name, options.only)]
    rows: list[dict[str, Any]] = []
    for layer in chosen:
        try:
            truth = exact(layer, options.exact)
        except ImportError as error:  # the digits need scikit-learn
            emit("Which layers were left out?", layer=layer.name, reason=str(error))
            continue
        rows += measure(layer, truth, options.quick, cap)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    if options.markdown:
        layer_page.write(options.markdown, rows, time.process_time())


if __name__ == "__main__":
    main()
