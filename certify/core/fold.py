"""Folding: a batch norm that directly follows a convolution or a dense layer becomes part of its weights.

|BatchNorm| |conv| can be far above |BatchNorm o conv|, so norms are taken of the folded map. Prover and checker use this one
pass. The folded weights are floats near the exact products, and the node says how near:

    attrs["perturbation"] = k        |weight - exact weight| <= k u |weight| and <= k u |exact weight|, entry by entry, u = 2^-53
    attrs["bias_perturbation"] = b   |bias - exact bias| <= b for every channel (absolute)

A node without these attributes is exact. Norms and forward errors of a folded node must add both terms.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import InputError
from .graph import Graph, Node

# Four roundings separate a folded weight from the exact one: s = fl(var + eps), r = fl(sqrt(s)), q = fl(gamma / r), w' = fl(w q).
# The one of s enters through a square root, (1 + d)^(-1/2), which lies inside (1 - u)^-1 .. (1 + u)^-1, so by Higham's Lemma 3.1
#   w' = exact (1 + t),  |t| <= gamma_4 = 4u / (1 - 4u),  hence  |w' - exact| <= gamma_4 |exact| and <= gamma_4 / (1 - gamma_4) |w'| <= 5u |w'|
# since 4 / (1 - 8u) <= 5. No result may be subnormal: `_in_range` refuses to fold then (and on overflow); a normal result has relative error u.
FOLDED_WEIGHT_ROUNDINGS = 5
_NORMAL = 2.0**-1022
_LARGE = 2.0**1000


def fold_affine(graph: Graph) -> Graph:
    """Fold every batch norm into the conv, conv_transpose or dense node that feeds it and nothing else.

    Claim: the returned graph, with each folded weight and bias moved by no more than its stated perturbation, is the same
    function as `graph`. Folded nodes are named "conv+bn" and have float64 weights; all other nodes stay as they are.
    Not folded: a layer with other consumers, a dense layer on a tensor that is not flat (its channels are not axis 0), a
    variance with var + eps <= 0, and products that overflow or underflow.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2,)})
    >>> y = b.add("dense", [x], arrays={"weight": np.eye(2, dtype=np.float32)}, name="fc")
    >>> z = b.add("batch_norm", [y], {"eps": 0.0}, {"mean": np.zeros(2), "var": np.full(2, 4.0), "weight": np.array([1.0, -6.0])}, name="bn")
    >>> folded = fold_affine(b.build(z))
    >>> folded.output, folded["fc+bn"].arrays["weight"].tolist(), folded["fc+bn"].attrs["perturbation"]
    ('fc+bn', [[0.5, 0.0], [-0.0, -3.0]], 5)
    """
    consumers: dict[str, int] = {graph.output: 1}
    for node in graph.nodes:
        for name in node.inputs:
            consumers[name] = consumers.get(name, 0) + 1
    folded: dict[str, Node] = {}  # by the name of the batch norm
    absorbed: set[str] = set()
    for node in graph.nodes:
        before = graph[node.inputs[0]] if node.op == "batch_norm" else None
        if before is not None and before.op in ("conv", "conv_transpose", "dense") and consumers[before.name] == 1 and "perturbation" not in before.attrs:
            merged = _merge(before, node)
            if merged is not None:
                folded[node.name] = merged
                absorbed.add(before.name)
    if not folded:
        return graph
    return _replaced(graph, folded, absorbed)


def _replaced(graph: Graph, folded: dict[str, Node], absorbed: set[str]) -> Graph:
    """The graph with the batch norms of `folded` replaced and the layers they absorbed left out; names stay unique."""
    taken = {node.name for node in graph.nodes} - absorbed - set(folded)
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        if node.name in absorbed:
            continue
        new = folded.get(node.name, node)
        name = new.name
        while new is not node and name in taken:
            name += "'"
        taken.add(name)
        if new is not node:
            renamed[node.name] = name
        inputs = tuple(renamed.get(i, i) for i in new.inputs)
        nodes.append(new if (name, inputs) == (new.name, new.inputs) else Node(name, new.op, inputs, new.shape, new.attrs, new.arrays, new.source))
    return Graph(tuple(nodes), renamed.get(graph.output, graph.output))


def _merge(layer: Node, norm: Node) -> Node | None:
    """`norm` after `layer` as one node, or None when it cannot be done within the stated perturbation."""
    if layer.op == "dense" and len(layer.shape) != 1:
        return None
    weight, mean, variance = layer.float64("weight"), norm.float64("mean"), norm.float64("var")
    if weight is None or mean is None or variance is None:
        raise InputError("a layer without its weights", where=f"{layer.name}, {norm.name}", expected="weight of the layer, mean and var of the batch norm")
    channels = mean.size
    gamma, beta, bias = norm.float64("weight"), norm.float64("bias"), layer.float64("bias")
    gamma = np.ones(channels) if gamma is None else gamma
    beta = np.zeros(channels) if beta is None else beta
    bias = np.zeros(channels) if bias is None else bias
    with np.errstate(all="ignore"):
        variance = variance + float(norm.attrs["eps"])
        if not (variance > 0).all():
            return None
        quotient = gamma / np.sqrt(variance)
        product = weight * _along_channels(quotient, layer)
        shifted = bias - mean
        new_bias = shifted * quotient + beta
        # bias: one rounding of b - mean, three of the quotient, one of the product, one of the sum: gamma_6 of the sum of sizes, and eta terms.
        error = 16 * 2.0**-53 * (np.abs(shifted) * np.abs(quotient) + np.abs(beta)) + 2.0**-1000
    both = (weight != 0) & (_along_channels(gamma, layer) != 0)
    if not (_in_range(quotient, gamma != 0) and _in_range(product, both) and np.isfinite(new_bias).all() and np.isfinite(error).all()):
        return None
    attrs = {**layer.attrs, "perturbation": FOLDED_WEIGHT_ROUNDINGS, "bias_perturbation": math.nextafter(float(error.max(initial=0.0)), math.inf)}
    source = " + ".join(s for s in (layer.source, norm.source) if s)
    return Node(f"{layer.name}+{norm.name}", layer.op, layer.inputs, norm.shape, attrs, {**layer.arrays, "weight": product, "bias": new_bias}, source)


def _along_channels(vector: np.ndarray, layer: Node) -> np.ndarray:
    """The vector per output channel, shaped to multiply the layer's weight."""
    weight = layer.arrays["weight"]
    if layer.op != "conv_transpose":
        return vector.reshape((-1,) + (1,) * (weight.ndim - 1))
    groups = int(layer.attrs.get("groups", 1))  # weight (c_in, c_out / groups, *kernel): rows of group g go to the channels of group g
    per_row = np.repeat(vector.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return per_row.reshape(per_row.shape + (1,) * (weight.ndim - 2))


def _in_range(values: np.ndarray, nonzero: np.ndarray) -> bool:
    """Every result of nonzero factors is a normal float of ordinary size (so each rounding was relative), every other is zero."""
    size = np.abs(values)
    return bool(((size >= _NORMAL) & (size <= _LARGE) | ~nonzero).all())
