"""`certify bound`: how much can each linear layer of a model stretch distances."""

from __future__ import annotations

from typing import Annotated

import typer

from ..frame import Answer
from ..options import EFFORTS, NORMS, Effort, InputShape, Json, Method, Model, Norm, Weights, one_of, parse_shape

RANK = 20
MOVES = ("reshape", "transpose")  # of norm 1, and nothing to see


def command(
    model: Model, input_shape: InputShape = None, norm: Norm = "l2", method: Method = "auto", effort: Effort = "balanced",
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Only this layer.")] = None, weights: Weights = None, json: Json = False,
) -> Answer:  # fmt: skip
    """Bound the operator norm of every linear layer, from below and above.

    Batch normalisations are folded into the layer before them. How the layers compose is `certify lipschitz`.
    """
    import math

    from ...core.fold import fold_affine
    from ..models import load
    from ..progress import bar

    one_of(norm, NORMS, "--norm")
    one_of(effort, EFFORTS, "--effort")
    graph = fold_affine(load(model, weights, parse_shape(input_shape))).pruned()
    with bar("layers") as progress:
        rows = _rows(graph, norm, method, effort, layer, progress)
    status = "proved" if all(math.isfinite(row["upper"]) for row in rows) else "not proved"
    return Answer(status, {"model": model, "digest": graph.digest, "norm": norm, "layers": rows}, (_table(rows, norm),))


def _rows(graph, norm: str, method: str, effort: str, layer: str | None, progress) -> list[dict]:
    from ...core.errors import InputError
    from ...linear.build import linear_map

    maps = {node.name: (node.op, linear_map(node, graph.input_shapes(node)[0])) for node in graph.nodes if len(node.inputs) == 1 and node.op not in MOVES}
    maps = {name: pair for name, pair in maps.items() if pair[1] is not None}
    if layer is not None and layer not in maps:
        raise InputError("the model has no linear layer of that name", where="--layer", found=layer, expected=", ".join(maps) or "a model with linear layers")
    chosen = {name: pair for name, pair in maps.items() if layer in (None, name)}
    if not chosen:
        raise InputError("the model has no linear layer", where="MODEL", found=f"operators {', '.join(sorted({n.op for n in graph.nodes}))}")
    rows = []
    for done, (name, (op, map_)) in enumerate(chosen.items()):
        progress(done, len(chosen), name)
        rows.append({"layer": name, "op": op, **_enclosed(map_, norm, method, effort)})
    return rows


def _enclosed(map_, norm: str, method: str, effort: str) -> dict:
    """Both ends of one layer; [0, inf] with the reason where the asked method does not apply."""
    from ...core.errors import InputError
    from ...norms.auto import enclose
    from ...norms.base import methods

    if method == "auto":
        bound = enclose(map_, norm, effort)
    elif method not in methods():
        raise InputError("unknown method", where="--method", found=method, expected=" or ".join(["auto", *methods()]))
    elif reason := methods()[method].supports(map_, norm):
        return {"lower": 0.0, "upper": float("inf"), "method": f"{method} does not apply: {reason}", "seconds": 0.0}
    else:
        bound = methods()[method].enclose(map_, norm)
    return {"lower": bound.lower, "upper": bound.upper, "method": bound.method, "seconds": bound.seconds}


def _table(rows: list[dict], norm: str):
    from rich.table import Table

    from ...core.decimals import decimal_down, decimal_up

    table = Table(box=None, pad_edge=False)
    for name, side in (("layer", "left"), ("op", "left"), ("lower", "right"), ("upper", "right"), ("gap", "right"), ("method", "left"), ("seconds", "right")):
        table.add_column(f"{norm} {name}" if name in ("lower", "upper") else name, justify=side)  # type: ignore[arg-type]
    for row in rows:
        gap = row["upper"] / row["lower"] - 1 if row["lower"] > 0 else (0.0 if row["upper"] == 0 else float("inf"))
        table.add_row(row["layer"], row["op"], decimal_down(row["lower"], 7), decimal_up(row["upper"], 7), f"{100 * gap:.2g} %", row["method"], f"{row['seconds']:.2f}")
    return table
