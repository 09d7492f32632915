"""The network evaluated in float64 together with a proved bound on how far the values are from the exact real ones.

Claim: for every requested tensor t and sample i, |fl(t)_i - t_i|_p <= error_i, where t is the tensor of the network with its stored weights in
exact real arithmetic and fl(t) what `core.evaluate` computes. Proof, by induction over the graph: with v the computed inputs of a node,
    |fl(out) - out(exact)| <= |fl(out) - out(v)| + |out(v) - out(exact)| <= (sum_i relative_i |v_i| + absolute) + combine_i(constants_i e_i),
both parts by the node's `Local`. The error obeys the recursion of the Lipschitz constant itself, so it costs a radius about 1e-13 |x|, at any depth.

Overflow. The claims on sums and products hold while nothing overflows. `relative_i |v_i|` is at least u times the sum of absolute products, so a
node whose rounding term is below 2^900 has no intermediate result above 2^953; any other node, and any NaN, gets the error inf, which no
later constant makes finite again. So an overflow can end in "unknown", never in a proof.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.evaluate import cache_chunk, evaluate, require_batch
from ..core.graph import Graph, Node
from ..core.quick_norms import quick_norms_up
from ..core.regions import require_norm
from ..core.rounding import require_ieee, up
from ..rules.base import Local

_SAFE = 2.0**900


def forward_with_error(graph: Graph, batch: np.ndarray, norm: str, locals: Mapping[str, Local], outputs: str | Sequence[str] | None = None, chunk: int | None = None) -> tuple:
    """Values and error bounds of one or several tensors.

    Args:
        graph: the graph the `locals` were made for (the folded one: `core.fold.fold_affine`).
        batch: (n, *input_shape), finite.
        norm: the norm p of `locals` and of the errors.
        locals: node name -> Local, as in `{step.node: step.local for step in walk(graph, norm)}`.
        outputs: a node's name (default: the output) or several.
        chunk: samples at a time; by default as many as are best for the cache.
    Returns:
        (values (n, *shape), errors (n,)) for one name, ({name: values}, {name: errors}) for several. An error of inf means: nothing is known.
    Cost: one evaluation and one vector norm per tensor that feeds a node with a relative term.
    """
    require_norm(norm)
    require_ieee()
    names = [outputs or graph.output] if outputs is None or isinstance(outputs, str) else list(outputs)
    batch = require_batch(batch, graph.input_shape)
    measured = {name for node in graph.nodes if node.op != "input" for name, r in zip(node.inputs, locals[node.name].relative) if r > 0}
    sizes: dict[str, list[np.ndarray]] = {name: [] for name in measured}
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def observe(node: Node, value: np.ndarray) -> None:  # once per node and chunk, in the order of the samples
        if node.name in sizes:
            sizes[node.name].append(quick_norms_up(value, norm))
        if node.name in kept:
            kept[node.name].append(np.array(value))

    with np.errstate(all="ignore"):
        evaluate(graph, batch, observe=observe, chunk=chunk or cache_chunk(graph))
        found = error_bounds(graph, locals, {name: np.concatenate(parts) for name, parts in sizes.items()}, len(batch))
    values = {name: np.concatenate(parts) for name, parts in kept.items()}
    errors = {name: np.where(np.isfinite(values[name].reshape(len(batch), math.prod(graph[name].shape))).all(axis=1), found[name], np.inf) for name in names}
    if outputs is None or isinstance(outputs, str):
        return values[names[0]], errors[names[0]]
    return values, errors


def error_bounds(graph: Graph, locals: Mapping[str, Local], norms: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The recursion: error bounds (count,) of every tensor from the norms of the computed tensors that feed a relative term."""
    errors: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op == "input":
            errors[node.name] = np.zeros(count)
        else:
            errors[node.name] = node_error(locals[node.name], [norms.get(name) for name in node.inputs], [errors[name] for name in node.inputs], count)
    return errors


def node_error(local: Local, norms: list[np.ndarray | None], incoming: list[np.ndarray], count: int) -> np.ndarray:
    """combine_i(constants_i e_i) + sum_i relative_i |v_i| + absolute, rounded up, (count,); inf where it is not a number or a result may have overflowed."""
    rounding = np.full(count, local.absolute)
    for relative, size in zip(local.relative, norms):
        if relative > 0 and size is not None:
            rounding = up(rounding + up(relative * size))
    rounding = np.where(rounding < _SAFE, rounding, np.inf)  # NaN fails
    carried = np.zeros(count)
    for constant, error in zip(local.constants, incoming):
        part = up(constant * error) if constant > 0 else np.where(np.isfinite(error), 0.0, np.inf)
        part = np.where(error == 0, 0.0, part)
        if local.combine == "max":
            carried = np.where(part > carried, part, carried) if not np.isnan(part).any() else np.full(count, np.nan)
        elif local.combine == "root" and len(incoming) > 1:
            carried = up(carried + up(part * part))
        else:
            carried = up(carried + part) if carried.any() else part
    if local.combine == "root" and len(incoming) > 1:
        carried = up(np.sqrt(carried))
    total = up(rounding + carried) if carried.any() else rounding
    return np.where(total >= 0, total, np.inf)
