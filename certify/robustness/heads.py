"""The head of a classifier: which tensor holds the logits, and the last affine layer that makes them.

A final softmax hides the margin: it squeezes a difference of logits of 20 into one of probabilities of 1e-9, and its own constant
loses another factor. It does not change who wins, so it is stripped, and margins are measured on the logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.errors import HypothesisError, InputError
from ..core.graph import Graph, Node
from ..core.rounding import U

_INCREASING = frozenset("sigmoid tanh softplus celu selu softsign logsigmoid tanhshrink erf".split())
_INCREASING_IF_POSITIVE = {"leaky_relu": "alpha", "elu": "alpha"}


def strictly_increasing(node: Node) -> bool:
    """Whether an elementwise node applies one and the same strictly increasing function to every entry.

    Then f(z_i) > f(z_j) exactly if z_i > z_j, so the prediction is that of z. ReLU is not on the list: it makes ties.

    >>> strictly_increasing(Node("out", "activation", ("z",), (3,), {"kind": "tanh"}))
    True
    >>> strictly_increasing(Node("out", "activation", ("z",), (3,), {"kind": "relu"}))
    False
    """
    if node.op in ("scale", "divide"):
        value = node.arrays["value"]
        return bool(value.size) and bool((value == value.flat[0]).all()) and bool(value.flat[0] > 0)
    if node.op != "activation":
        return False
    kind = node.attrs.get("kind")
    if kind == "prelu":
        slope = node.arrays["slope"]
        return bool((slope == slope.flat[0]).all()) and bool(slope.flat[0] > 0)
    if kind in _INCREASING_IF_POSITIVE:
        return bool(node.attrs.get(_INCREASING_IF_POSITIVE[kind], 0.0) > 0)
    return kind in _INCREASING


def keeps_order(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a node maps a tensor of `shape` to the same entries in the same flattened order, or to an increasing function of them.

    `shape` has one axis longer than one (or none), so a reshape or a transposition leaves the flattened order as it is.
    """
    if len([n for n in shape if n != 1]) > 1 or math.prod(node.shape) != math.prod(shape):
        return False
    if node.op in ("reshape", "transpose"):
        return True
    if node.op in ("softmax", "log_softmax"):
        return shape[node.attrs["axis"]] == math.prod(shape)
    return strictly_increasing(node) and node.shape == shape


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The affine layer z = W a + b that makes the logits from a flat tensor a.

    `node` and `features` name the layer and a; `weight` (k, m) and `bias` (k,) hold W and b. Each true weight is within the relative error
    `perturbation` of the stored one, each true bias within `bias_perturbation` (core.fold; both 0 for a layer that was not folded).
    """

    node: str
    features: str
    weight: np.ndarray
    bias: np.ndarray
    perturbation: float = 0.0
    bias_perturbation: float = 0.0


@dataclass(frozen=True, eq=False)
class Head:
    """The end of a classifier, as the margins need it.

    `graph` is the network cut at its logits (node `logits`, k = `classes` entries), `body` that cut where margins start from: at the features
    of the `last` layer, or at the logits where that is None. `stripped` names what was cut off, last first; none of it changes a prediction.
    """

    graph: Graph
    body: Graph
    logits: str
    classes: int
    stripped: tuple[str, ...]
    last: LastLayer | None

    def need_last(self) -> LastLayer:
        """The last layer.

        Raises:
            HypothesisError: there is none, so no pairwise bound.
        """
        if self.last is None:
            raise HypothesisError(
                "the pairwise bound needs a last affine layer on a flat tensor",
                where=f"logits '{self.logits}'",
                found=self.graph[self.logits].op,
                expected="dense",
                hint="use method='global', or 'auto', which takes what applies",
            )
        return self.last


def find_head(graph: Graph) -> Head:
    """Strip what does not change the prediction and find the last affine layer.

    Claim: argmax of the output of `graph` is argmax of the tensor `logits`, flattened, ties included.

    Args:
        graph: the network; its output is one flat vector of at least two entries.
    Raises:
        InputError: the output is no flat vector, or has a single entry.
    Cost: a walk over the last few nodes.
    """
    shape = graph.output_shape
    if len(shape) != 1 or shape[0] < 2:
        one = "a radius is about which of several logits is largest; for one output see certify.lipschitz"
        raise InputError(
            "the model's output is not a vector of at least two logits",
            where=f"output '{graph.output}'",
            found=f"shape {shape} per input",
            expected="shape (k,), k >= 2",
            hint=one if math.prod(shape) == 1 else "flatten the output of the model to one vector of logits per input",
        )
    node, stripped = graph[graph.output], []
    while node.inputs and keeps_order(node, graph[node.inputs[0]].shape):
        stripped.append(node.name)
        node = graph[node.inputs[0]]
    cut = Graph(graph.nodes, node.name).pruned()
    weight, bias = node.float64("weight"), node.float64("bias")
    if node.op != "dense" or weight is None or len(graph[node.inputs[0]].shape) != 1:
        return Head(cut, cut, node.name, shape[0], tuple(stripped), None)
    bias = np.zeros(len(weight)) if bias is None else bias
    last = LastLayer(node.name, node.inputs[0], weight, bias, float(node.attrs.get("perturbation", 0)) * U, float(node.attrs.get("bias_perturbation", 0.0)))
    return Head(cut, Graph(cut.nodes, last.features).pruned(), node.name, shape[0], tuple(stripped), last)
