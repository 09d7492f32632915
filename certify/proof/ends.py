"""The head of a radius certificate: which tensor holds the logits, decided by the checker, and the constants of logit differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..core.graph import Graph, Node
from ..core.rounding import U, dual_norm, norms_up, up
from . import fields
from .check_steps import Chain
from .exact import covers
from .slopes import increasing

GAP = {"l2": math.nextafter(math.sqrt(2.0), math.inf), "linf": 2.0, "l1": 1.0}  # |e_i - e_j|_q for the dual q: Hoelder


@dataclass(frozen=True, eq=False)
class Ending:
    """`logits` has k entries; `layer` makes it from the flat tensor `features` (or is None, and `features` is `logits` itself)."""

    logits: Node
    classes: int
    features: str
    layer: Node | None
    weight: np.ndarray | None
    bias: np.ndarray | None

    @property
    def slack(self) -> float:
        """Relative error of every weight (a folded layer)."""
        return 0.0 if self.layer is None else float(self.layer.attrs.get("perturbation", 0)) * U

    @property
    def bias_slack(self) -> float:
        return 0.0 if self.layer is None else float(self.layer.attrs.get("bias_perturbation", 0.0))


def find_ending(graph: Graph, head: dict, chain: Chain) -> Ending:
    """Follow the certificate's head in the folded graph and refuse what changes a prediction or has no verified constant.

    Claim: the largest entry of `graph`'s output, flattened, is at the place of the largest entry of `logits`, ties included.
    """
    node = graph[graph.output]
    for name in head["stripped"]:
        if name != node.name or not node.inputs:
            raise fields.refuse("the head strips nodes that are not the end of the graph", "head.stripped", name, node.name)
        before = graph[node.inputs[0]]
        if not keeps_order(node, before.shape):
            expected = "softmax, a reshape, or one increasing function of all logits"
            raise fields.refuse("the head strips a node that may change the prediction", f"head.stripped, {name}", node.op, expected)
        node = before
    if node.name != head["logits"]:
        raise fields.refuse("the logits are not the end of the graph", "head.logits", head["logits"], node.name)
    if node.name not in chain.running:
        raise fields.refuse("no step bounds the logits", "head.logits", node.name)
    classes = math.prod(node.shape)
    if classes < 2:
        raise fields.refuse("a radius needs at least two logits", "head.logits", node.shape)
    dense = node.op == "dense" and len(node.shape) == 1
    if head["kind"] != "global":
        if not dense or head["node"] != node.name:
            raise fields.refuse("the pairwise bound needs a last dense layer on a flat tensor that makes the logits", "head.node", head["node"], node.name)
        own = chain.running[node.inputs[0]]
        if not covers(float(head["backbone"]), Fraction(own)):
            raise fields.refuse("the constant below the last layer is too small", "head.backbone", head["backbone"], own)
    if not dense:
        return Ending(node, classes, node.name, None, None, None)
    weight, bias = node.float64("weight"), node.float64("bias")
    return Ending(node, classes, node.inputs[0], node, weight, np.zeros(classes) if bias is None else bias)


def keeps_order(node: Node, shape: tuple[int, ...]) -> bool:
    """The node maps its one input of `shape` to the same entries in the same flattened order, or to one increasing function of them."""
    flat = sum(n > 1 for n in shape) <= 1
    if node.op == "reshape":
        return True
    if node.op == "transpose":
        return flat
    if node.op in ("softmax", "log_softmax"):
        return shape[node.attrs["axis"]] == math.prod(shape)
    if node.op in ("scale", "divide"):
        value = node.arrays["value"]
        return bool((value == value.flat[0]).all() and value.flat[0] > 0) and node.shape == shape
    return node.op == "activation" and increasing(node)


class PairConstants:
    """Upper ends of |w_i - w_j|_q, q dual to the norm: the constant of the difference of two logits of a last dense layer. 0 only for equal exact rows."""

    def __init__(self, end: Ending, norm: str):
        self.weight, self.q, self.slack = np.asarray(end.weight), dual_norm(norm), end.slack
        self.sizes = norms_up(self.weight, self.q)
        self.known: dict[int, np.ndarray] = {}

    def __call__(self, label: int) -> np.ndarray:
        """(k,) for one label."""
        if label not in self.known:
            difference = self.weight - self.weight[label]  # each entry rounded once, exact below 2^-1021
            row = up(norms_up(difference, self.q) * (1.0 + 4.0 * U))
            same = ~difference.any(axis=1)
            if self.slack:
                row = up(row + up(2.0 * self.slack * up(self.sizes + self.sizes[label])))
                same = np.arange(len(row)) == label
            self.known[label] = np.where(same, 0.0, row)
        return self.known[label]
