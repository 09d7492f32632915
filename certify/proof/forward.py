"""The checker's own forward pass: float64 values of the network together with a proved bound on their distance from the exact ones.

Per tensor t and sample, e_t >= |fl(t) - t|_p obeys e_out = combine_i(c_i e_i) + sum_i r_i |fl(in_i)|_p + a, with the constants c_i of the
certificate's steps (verified before) and the rounding terms of `rounding_terms`. Overflow: r_i |v_i|_p is at least u times every intermediate
sum of a node, so a rounding term below 2^900 means that nothing exceeded 2^953; otherwise, and for NaN, the error is inf for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..core.graph import Graph, Node
from ..core.rounding import TINY, down, gamma, up
from . import convolve, fields
from .check_steps import Chain
from .rounding_terms import terms
from .values import value_of
from .windows import Axis

_SAFE = 2.0**900
_CHUNK = 1 << 22  # entries of the largest tensor of a chunk: about 32 MiB


def forward(graph: Graph, batch: np.ndarray, norm: str, chain: Chain, names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values (n, *shape) and errors (n,) of the named tensors of the folded graph, which all have a verified step (or are the input).

    Cost: one float64 forward pass of the part that the names depend on, and one vector norm per tensor that is multiplied; memory a few
    tensors of `_CHUNK` entries.
    """
    nodes = _needed(graph, names)
    facts = {node.name: terms(node, graph.input_shapes(node), norm) for node in nodes if node.op != "input"}
    width = max(max(math.prod(node.shape) * _spread(node) for node in nodes), 1)
    step = max(1, int(_CHUNK // width))
    parts = [_chunk(nodes, batch[i : i + step], norm, chain, facts, names) for i in range(0, max(len(batch), 1), step)]
    return tuple({name: np.concatenate([part[k][name] for part in parts]) for name in names} for k in (0, 1))  # type: ignore[return-value]


def _needed(graph: Graph, names: Sequence[str]) -> list[Node]:
    wanted, stack = set(), list(names)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(graph[name].inputs)
    return [node for node in graph.nodes if node.name in wanted]


def _spread(node: Node) -> float:
    """Entries of work space per output entry."""
    return 1.0 if node.op != "conv" else max(1.0, math.prod(node.arrays["weight"].shape[1:]) / node.arrays["weight"].shape[0])


def _chunk(nodes: list[Node], batch: np.ndarray, norm: str, chain: Chain, facts: dict, names: Sequence[str]) -> tuple[dict, dict]:
    count = len(batch)
    measured = {x for node in nodes if node.name in facts for x, r in zip(node.inputs, facts[node.name][0]) if r > 0}
    last = {x: i for i, node in enumerate(nodes) for x in node.inputs}
    values: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    norms: dict[str, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for i, node in enumerate(nodes):
            if node.op == "input":
                values[node.name], errors[node.name] = batch.astype(np.float64), np.zeros(count)
            else:
                value = evaluate_node(node, [values[x] for x in node.inputs])
                values[node.name] = np.broadcast_to(value, (count, *node.shape)) if len(value) != count else value
                errors[node.name] = _error(node, chain, facts[node.name], norms, errors, count)
            if node.name in measured:
                norms[node.name] = row_norms(values[node.name], norm)
            for x in set(node.inputs):
                if last[x] == i and x not in names:
                    del values[x]
        finite = {name: np.isfinite(values[name]).all(axis=tuple(range(1, values[name].ndim))) for name in names}
    return {name: values[name] for name in names}, {name: np.where(finite[name], errors[name], np.inf) for name in names}


def _error(node: Node, chain: Chain, facts: tuple[list[float], float], norms: dict, errors: dict, count: int) -> np.ndarray:
    """combine_i(c_i e_i) + sum_i r_i |v_i| + a, rounded up; inf for NaN or a possible overflow."""
    relative, absolute = facts
    rounding = np.full(count, absolute)
    for r, x in zip(relative, node.inputs):
        if r > 0:
            rounding = up(rounding + up(r * norms[x]))
    rounding = np.where(rounding < _SAFE, rounding, np.inf)
    combine = chain.combine[node.name]
    carried = np.zeros(count)
    for c, x in zip(chain.constants[node.name], node.inputs):
        part = np.where(errors[x] > 0, up(c * errors[x]), 0.0)
        part = np.where(errors[x] < np.inf, part, np.inf)  # also for NaN, and for c = 0
        if combine == "max":
            carried = np.maximum(carried, part)
        else:
            carried = up(carried + (up(part * part) if combine == "root" else part))
    if combine == "root":
        carried = up(np.sqrt(carried))
    total = up(rounding + carried)
    return np.where(total >= 0, total, np.inf)


def row_norms(batch: np.ndarray, norm: str) -> np.ndarray:
    """Upper ends (n,) of the norms of the rows; inf for NaN. m nonnegative terms in any order, m + 1 roundings each, underflow below m eta <= TINY."""
    size_of_one = math.prod(batch.shape[1:])
    rows = (batch if batch.ndim < 3 or batch.flags.c_contiguous else np.moveaxis(batch, 1, -1)).reshape(len(batch), size_of_one)
    if norm == "linf":
        size = np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0))
    else:
        total = np.einsum("ij,ij->i", rows, rows) if norm == "l2" else np.abs(rows).sum(axis=1)
        size = up(up(total + TINY) / down(1.0 - gamma(rows.shape[1] + 1)))
        size = up(np.sqrt(size)) if norm == "l2" else size
    return np.where(np.isnan(size), np.inf, size)


def evaluate_node(node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    """The float64 value (n, *shape) of one node; a constant comes as (1, *shape)."""
    if node.op == "constant":
        return np.asarray(node.float64("value"))[None]
    if node.op not in _OPERATORS:
        raise fields.refuse("the checker does not evaluate this operator", node.name, node.op)
    return _OPERATORS[node.op](node, *inputs)


def _dense(node: Node, x: np.ndarray) -> np.ndarray:
    weight, bias = np.asarray(node.float64("weight")), node.float64("bias")
    out = (x.reshape(-1, weight.shape[1]) @ weight.T).reshape(len(x), *node.shape)
    return out if bias is None else np.add(out, bias, out=out)


def _batch_norm(node: Node, x: np.ndarray) -> np.ndarray:
    mean, variance, weight, bias = (node.float64(name) for name in ("mean", "var", "weight", "bias"))
    column = (-1,) + (1,) * (x.ndim - 2)
    factor = (1.0 if weight is None else weight) / np.sqrt(np.asarray(variance) + float(node.attrs["eps"]))
    out = (x - np.asarray(mean).reshape(column)) * factor.reshape(column)
    return out if bias is None else out + bias.reshape(column)


def _group_sort(node: Node, x: np.ndarray) -> np.ndarray:
    axis, size = node.attrs["axis"] + 1, node.attrs["size"]
    n = x.shape[axis]
    halves = node.attrs["layout"] == "halves"
    split = (*x.shape[:axis], *((size, n // size) if halves else (n // size, size)), *x.shape[axis + 1 :])
    along = axis if halves else axis + 1
    out = np.sort(x.reshape(split), axis=along)
    return (np.flip(out, along) if node.attrs["descending"] else out).reshape(x.shape)


def _slice(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    return x[(slice(None),) * (a["axis"] + 1) + (slice(a["start"], a["stop"], a["step"]),)]


def _expand(node: Node, x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x.reshape(len(x), *(1,) * (len(node.shape) + 1 - x.ndim), *x.shape[1:]), (len(x), *node.shape))


def _pad(node: Node, x: np.ndarray) -> np.ndarray:
    mode, value = node.attrs["mode"], float(node.attrs["value"])
    for axis, (low, high) in enumerate(node.attrs["pads"], start=1):
        n = x.shape[axis]
        source = Axis(n, n + low + high, 1, 1, 1, low, high, "zeros" if mode == "constant" else mode).source[:, 0]
        x = x.take(np.maximum(source, 0), axis=axis)
        if (source < 0).any():
            x[(slice(None),) * axis + (source < 0,)] = value
    return x


def _reduce(node: Node, x: np.ndarray) -> np.ndarray:
    axes = tuple(i + 1 for i in node.attrs["axes"])
    kind = node.attrs["kind"]
    over: dict[str, Callable] = {"mean": np.sum, "sum": np.sum, "max": np.max, "min": np.min}
    out = over[kind](x, axis=axes, keepdims=node.attrs["keepdims"])
    return out / math.prod(x.shape[i] for i in axes) if kind == "mean" else out


def _softmax(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"] + 1
    top = x.max(axis=axis, keepdims=True)
    e = np.exp(x - top)
    total = e.sum(axis=axis, keepdims=True)
    if node.op == "softmax":
        return e / total
    logarithm = np.log1p(total - 1.0)
    return (x - top) - logarithm if node.op == "log_softmax" else (top + logarithm).squeeze(axis)


def _layer_norm(node: Node, x: np.ndarray) -> np.ndarray:
    """((x - mean) / s) weight + bias by rows of d entries: the mean is a product with 1/d, s a root of the mean square plus eps."""
    d = math.prod(node.shape[len(node.shape) - node.attrs["dims"] :])
    rows = x.reshape(len(x), -1, d)
    if node.attrs["center"]:
        rows = rows - rows.sum(axis=-1, keepdims=True) * (1.0 / d)
    size = np.einsum("nkd,nkd->nk", rows, rows)[..., None] * (1.0 / d)
    out = rows / np.sqrt(size + float(node.attrs["eps"]))
    weight, bias = node.float64("weight"), node.float64("bias")
    out = out if weight is None else out * weight.reshape(d)
    return (out if bias is None else out + bias.reshape(d)).reshape(x.shape)


def _upsample(node: Node, x: np.ndarray) -> np.ndarray:
    for axis, factor in enumerate(node.attrs["factors"], start=2):
        x = x.repeat(factor, axis=axis)
    return x


_OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "dense": _dense, "batch_norm": _batch_norm, "group_sort": _group_sort, "slice": _slice, "expand": _expand, "pad": _pad, "reduce": _reduce,
    "softmax": _softmax, "log_softmax": _softmax, "logsumexp": _softmax, "upsample": _upsample, "layer_norm": _layer_norm,
    "conv": convolve.conv, "conv_transpose": convolve.conv_transpose, "max_pool": convolve.max_pool, "avg_pool": convolve.avg_pool,
    "activation": lambda node, x: value_of(node)[0](x),
    "scale": lambda node, x: x * node.float64("value"),
    "divide": lambda node, x: x / node.float64("value"),
    "add": lambda node, x, y: x + y,
    "sub": lambda node, x, y: x - y,
    "maximum": lambda node, x, y: np.maximum(x, y),
    "minimum": lambda node, x, y: np.minimum(x, y),
    "concat": lambda node, *parts: np.concatenate([np.broadcast_to(p, (max(map(len, parts)), *p.shape[1:])) for p in parts], axis=node.attrs["axis"] + 1),
    "gather": lambda node, x: x.take(node.arrays["index"], axis=node.attrs["axis"] + 1),
    "reshape": lambda node, x: x.reshape(len(x), *node.shape),
    "transpose": lambda node, x: x.transpose(0, *(i + 1 for i in node.attrs["perm"])),
}  # fmt: skip
