"""The page and the plot of the layer-norm benchmark, from its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from layer_set import GROUPS
from layer_targets import CANDIDATES, Row, Table, table, targets, violations, whole_resnet

MAIN = (*CANDIDATES, "dense", "any_size 16", "any_size", "fantastic_four", "four unfoldings", "tensor norm", "Gram, 6 its", "Gram, 10 its", "FFT + SVD", "power, 100 its")
COMMAND = "PYTHONPATH=. .venv/bin/python tests/benchmarks/layer_norms.py"


def write(path: Path, rows: list[Row], seconds: float) -> None:
    data = table(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_suffix(".png")
    drawn = draw(picture, rows)
    parts = [_intro(rows), _targets(data), f"![ratio - 1 against CPU seconds]({picture.name})" if drawn else "", _totals(data)]
    parts += [_tables("How tight: bound / exact norm", data, _ratio), _tables("How long: CPU seconds", data, _time)]
    parts += [_others(data), _backward(data), _failed(rows), _foot(rows, path, seconds)]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")


def _grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def _ratio(row: Row | None) -> str:
    if row is None or row["failed"]:
        return "-" if row is None else "stopped" if row["failed"].startswith("stopped") else "failed"
    if row["ratio"] is None:
        return "-"
    r = row["ratio"]
    # five decimals where they tell something; a value below the truth is never rounded up to 1
    text = f"{math.floor(r * 1e5) / 1e5:.5f}" if r < 1 - 1e-12 else f"{r:.5f}" if r < 1.1 else f"{r:.3f}"
    return f"**{text}**" if row["sound"] is False else text


def _time(row: Row | None) -> str:
    return "-" if row is None or row["seconds"] is None else _seconds(row["seconds"])


def _seconds(s: float) -> str:
    return f"{s:.2f}" if s >= 1 else f"{s:.3f}" if s >= 0.02 else f"{s:.4f}"


def _intro(rows: list[Row]) -> str:
    ours = [row for row in rows if row["kind"] == "project" and row["sound"] is not None]
    wrong, theirs = violations(rows, "project"), violations(rows, "published")
    checked = sum(row["kind"] == "published" and row["sound"] is not None for row in rows)
    layers = len({row["layer"] for row in rows})
    found = "no bound of the project is below the exact norm" if not wrong else "**UNSOUND: " + "; ".join(f"{row['method']} on {row['layer']}" for row in wrong) + "**"
    return f"""# Layer norms: how tight, how fast

Written by `tests/benchmarks/layer_norms.py`; do not edit. {layers} layers, {len(ours)} enclosures: {found}.
Of {checked} values of published methods, {len(theirs)} are below it.

- **ratio** = bound / exact norm of the real map (zero-padded, strided). Exact: dense SVD in float64 up to 1024 rows or columns, else Lanczos to a
  relative residual of 1e-7 (the value is then off by about 1e-11). Values below the exact norm are **bold**: they are not bounds. Weights are
  float32, He-normal with fixed seeds, but for the trained ones.
- **seconds** are CPU seconds of one thread, the median of several runs in turns with all others (one run where it takes long), each on a fresh map;
  tracing the torch module is not counted.
- `auto` at its efforts, `twisted`, `hybrid`, `dense`, `any_size`, `fantastic_four` are the project's: guaranteed, rounding included; `auto` also
  spends time on a lower end. `any_size 16` has 16 points per axis, `any_size` 32.
- "four unfoldings" (50 power iterations), "tensor norm" (100 alternating iterations), "Gram, 6 its" (at the input size, stride ignored), "Gram, 10
  its" (dense), "FFT + SVD" (strided circular) and "power, 100 its" (float32) are our own implementations of published methods
  (`tests/benchmarks/published.py`): groups apart, half the spectrum, Gram by numpy or torch, whichever is faster. They carry no rounding analysis; the
  Fourier ones are exact or bounds for circular padding only."""


def _targets(data: Table) -> str:
    body = []
    for target in targets():
        cells, main = {}, next((c for c in ("auto balanced", "any_size 16") if c in target.candidates), target.candidates[0])
        for candidate in target.candidates:
            found = target.measured(data, candidate)
            if found is not None:
                cells[candidate] = f"{candidate} {_figure(found[0])}{target.unit}" + ("" if target.met(found[0]) else " (misses)")
        worst = target.measured(data, main)
        if not cells:
            body.append((target.text, _limit(target), "not measured", "-", "-"))
            continue
        passed = [c for c in cells if not cells[c].endswith("(misses)")]
        verdict = "-" if worst is None else "yes" if target.met(worst[0]) else "no" if not passed else "no, but " + ", ".join(passed)
        body.append((target.text, _limit(target), "; ".join(cells.values()), worst[1] if worst and worst[1] else "-", verdict))
    note = "The verdict is that of `auto balanced` where it is a candidate; the layer is the one where it is worst. A method is judged where it has a value on\n"
    head = ("target", "limit", "measured (worst layer)", "worst at", "met")
    return "## Targets\n\n" + note + "every layer of the line.\n\n" + _grid(head, body).replace("---:", "---")


def _figure(value: float) -> str:
    return f"{value:.5f}" if 0.9 < value < 1.1 else f"{value:.3g}"


def _limit(target: Any) -> str:
    return f"{'>=' if target.at_least else '<='} {target.limit:g}{target.unit}"


def _totals(data: Table) -> str:
    chosen = {layer: methods for layer, methods in data.items() if next(iter(methods.values()))["times"] > 0}
    if not whole_resnet(data):
        return ""
    body = []
    for name in MAIN:
        rows = [methods.get(name) or (methods.get("Gram, 10 its") if name == "Gram, 6 its" else None) for methods in chosen.values()]
        have = [row for row in rows if row is not None and row["seconds"] is not None and row["ratio"] is not None]
        if not have or name == "Gram, 10 its":
            continue
        total, ratios = sum(row["times"] * row["seconds"] for row in have), [row["ratio"] for row in have]
        body.append((name, str(sum(row["times"] for row in have)), _seconds(total), f"{max(ratios):.5f}", f"{min(ratios):.5f}"))
    head = ("method", "layers", "CPU seconds", "largest ratio", "smallest")
    return "## All layers of a ResNet-18 at 224 x 224\n\n20 convolutions and the classifier, each with its multiplicity.\n\n" + _grid(head, body)


def _tables(title: str, data: Table, cell: Callable[[Row | None], str]) -> str:
    out = [f"## {title}"]
    for group in GROUPS:
        chosen = {layer: methods for layer, methods in data.items() if next(iter(methods.values()))["group"] == group}
        names = [name for name in MAIN if any(name in methods for methods in chosen.values())]
        if chosen:
            out.append(f"### {group}\n\n" + _grid(("layer", *names), [(layer, *(cell(methods.get(name)) for name in names)) for layer, methods in chosen.items()]))
    return "\n\n".join(out)


def _others(data: Table) -> str:
    names = sorted({row["method"] for methods in data.values() for row in methods.values() if row["kind"] == "project"} - {*MAIN, "differentiable"})
    body = [(layer, *(f"{_ratio(methods[name])} / {_time(methods[name])}" if name in methods else "-" for name in names)) for layer, methods in data.items()]
    return "## The project's other methods: ratio / seconds\n\n" + _grid(("layer", *names), body)


def _backward(data: Table) -> str:
    rows = [methods["differentiable"] for methods in data.values() if "differentiable" in methods and methods["differentiable"]["seconds"]]
    if not rows:
        return ""
    names = ("layer", "ratio", "value: seconds", "gradient: extra seconds", "share", "Euler error")
    body = []
    for r in rows:
        share = r["backward_seconds"] / r["seconds"]
        body.append((r["layer"], _ratio(r), _time(r), _seconds(r["backward_seconds"]), f"{share:.3f}", f"{r['euler']:.1e}"))
    note = "`certify.norms.differentiable.norm_bound`, balanced, float64, no warm start. The extra time is the search of the active piece and the backward pass."
    return f"## The differentiable value\n\n{note}\n\n" + _grid(names, body)


def _failed(rows: list[Row]) -> str:
    failed = [row for row in rows if row["failed"]]
    body = [(row["layer"], row["method"], row["failed"]) for row in failed]
    return "## Runs without an answer\n\n" + _grid(("layer", "method", "why"), body).replace("---:", "---") if failed else ""


def _foot(rows: list[Row], path: Path, seconds: float) -> str:
    machine = rows[0]["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"""## Reproduce

    {COMMAND} --markdown {path} --json bench-results/layer_norms.jsonl

`--quick` takes the cheaper layers (about a minute), `--only PATTERN` some layers. This page took {seconds:.0f} CPU seconds; exact norms are kept
between runs in `bench-results/`.

Machine: {machine["cpu"]}, {machine["cores"]} cores, one thread, {machine["system"]}, Python {machine["python"]}; {versions}."""


def draw(path: Path, rows: list[Row]) -> bool:
    """The plot: ratio - 1 against CPU seconds, one colour per method; values below the truth as crosses on the lowest line. False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = [name for name in MAIN if name not in ("auto tight", "Gram, 10 its", "any_size") and any(row["method"] == name for row in rows)]
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots()
    lowest = 1e-9
    for k, name in enumerate(names):
        known = [row for row in rows if row["method"] == name and row["ratio"] is not None and row["seconds"]]
        colour = f"C{k}" if k < 10 else ("black", "gold", "navy", "teal")[k - 10]
        for below, marker in ((False, "o" if known and known[0]["kind"] == "project" else "^"), (True, "x")):
            at = [(row["seconds"], lowest if below else max(lowest, row["ratio"] - 1)) for row in known if (row["sound"] is False) == below]
            label = name if not below else None
            axes.plot([x for x, _ in at], [y for _, y in at], marker, color=colour, label=label, markersize=5, alpha=0.75, linestyle="none", clip_on=False)
    axes.set(xscale="log", yscale="log", xlabel="CPU seconds, one thread", ylabel="bound / exact norm - 1", title="Layer norms: the lower left is better")
    axes.set_ylim(lowest, None)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="circle: guaranteed\ntriangle: published\ncross: below the truth", fontsize=9)
    figure.savefig(path, dpi=120)
    return True
