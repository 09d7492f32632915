"""Small networks with every kind of block, and semidefinite evidence about them from the prover's parts (closed form, one matrix, layer by layer)."""

from __future__ import annotations

import functools

import numpy as np

from certify.constants.sdp import inequality, layers
from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.recursion import absolute, closed_form, value
from certify.constants.sdp.solve import Inequality, solve
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.proof.evidence import inequality_proof, layers_proof

ROOM = 1.0 + 2.0**-34
CONV = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1, "mode": "zeros"}


class Net:
    """A graph under construction: each call appends a node and returns its name."""

    def __init__(self, rng: np.random.Generator, *shape: int):
        self.rng, self.b = rng, GraphBuilder()
        self.x = self.b.add("input", attrs={"shape": shape}, name="x")

    def dense(self, x: str, n: int) -> str:
        m = self.b[x].shape[-1]
        return self.b.add("dense", [x], arrays={"weight": self.rng.normal(size=(n, m)) / np.sqrt(m), "bias": self.rng.normal(size=n)}, name=f"fc_{x}")

    def act(self, x: str, kind: str = "relu", arrays=None, **attrs) -> str:
        return self.b.add("activation", [x], {"kind": kind, **attrs}, arrays, name=f"{kind}_{x}")

    def op(self, op: str, *inputs: str, name: str = "", arrays=None, **attrs) -> str:
        return self.b.add(op, inputs, attrs, arrays, name=name or op)

    def conv(self, x: str, channels: int, kernel: int = 3, **attrs) -> str:
        c = self.b[x].shape[0]
        weight = self.rng.normal(size=(channels, c, kernel, kernel)) / (kernel * np.sqrt(c))
        return self.b.add("conv", [x], {**CONV, **attrs}, {"weight": weight}, name=f"conv_{x}")

    def norm(self, x: str) -> str:
        c = self.b[x].shape[0]
        arrays = {"mean": self.rng.normal(size=c), "var": self.rng.uniform(0.3, 2, c), "weight": self.rng.normal(size=c), "bias": self.rng.normal(size=c)}
        return self.b.add("batch_norm", [x], {"eps": 1e-3}, arrays, name=f"bn_{x}")

    def flat(self, x: str) -> str:
        return self.b.add("reshape", [x], {"shape": (int(np.prod(self.b[x].shape)),)}, name=f"flat_{x}")

    def build(self, x: str) -> Graph:
        return self.b.build(x)


def _mlp(kind: str, **attrs):
    def make(n: Net):
        return n.dense(n.act(n.dense(n.act(n.dense(n.x, 5), kind, **attrs), 4), kind, **attrs), 3)

    return (4,), make


def _residual(n: Net):
    return n.dense(n.op("add", n.x, n.dense(n.act(n.dense(n.x, 5)), 4), name="sum"), 3)


def _twice(n: Net):
    y = n.act(n.dense(n.x, 4))
    return n.dense(n.op("sub", n.op("add", y, y, name="double"), n.x, name="less"), 2)


def _concat(n: Net):
    y = n.act(n.dense(n.x, 3))
    return n.dense(n.act(n.op("concat", y, n.x, axis=0, name="both"), "tanh"), 3)


def _convolution(n: Net):
    y = n.act(n.norm(n.conv(n.x, 2)))
    return n.dense(
        n.flat(n.op("avg_pool", n.act(n.conv(y, 2, mode="circular")), kernel=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), arrays={"divisor": np.full((2, 2), 4.0)})), 3
    )


def _circular(n: Net):
    """A kernel of 3 on an image of 2 reads pixels twice."""
    return n.dense(n.flat(n.act(n.conv(n.x, 2, mode="circular"))), 2)


def _pool(n: Net):
    y = n.op("max_pool", n.conv(n.x, 2), kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1))
    return n.dense(n.flat(y), 3)


def _sort(size: int, **attrs):
    def make(n: Net):
        return n.dense(n.op("group_sort", n.dense(n.x, 6), axis=0, size=size, layout=attrs.get("layout", "consecutive"), descending=attrs.get("descending", False)), 3)

    return (4,), make


def _extremes(n: Net):
    a, b = n.dense(n.x, 4), n.act(n.dense(n.x, 4), "softplus")
    y = n.op("concat", n.op("maximum", a, b), n.op("minimum", a, b), axis=0)
    return n.dense(
        n.op("concat", y, n.op("reduce", y, kind="max", axes=(0,), keepdims=True), n.op("reduce", y, kind="mean", axes=(0,), keepdims=True, name="mean"), axis=0, name="all"), 3
    )


def _softmax(n: Net):
    return n.dense(n.op("softmax", n.dense(n.x, 5), axis=0), 3)


def _layer_norm(n: Net):
    return n.dense(n.act(n.op("layer_norm", n.dense(n.x, 5), dims=1, eps=0.5, center=True)), 3)


def _folded(n: Net):
    return n.dense(n.act(n.norm(n.dense(n.x, 5)), "leaky_relu", alpha=0.2), 3)


def _unfolded(n: Net):
    y = n.op("scale", n.norm(n.act(n.dense(n.x, 5))), arrays={"value": np.array([3.0, 0.1, -2.0, 0.0, 1.0])})
    return n.dense(n.act(n.op("divide", y, arrays={"value": np.array([3.0])}), "abs"), 3)


def _prelu(n: Net):
    y = n.act(n.dense(n.x, 5), "prelu", {"slope": np.array([0.25, -0.5, 1.0, 1.75, 0.0])})
    return n.dense(n.act(y, "hardswish"), 3)


def _line(n: Net):
    """One dimension, weights 1: the closed form is the truth here, and so nothing may be left out."""
    one = np.eye(1)
    return n.op("dense", n.act(n.op("dense", n.act(n.x), arrays={"weight": one}, name="one")), arrays={"weight": np.array([[1.0], [0.0]])}, name="end")


NETS = {
    "line": ((1,), _line),
    "relu": _mlp("relu"), "leaky": _mlp("leaky_relu", alpha=0.1), "gelu": _mlp("gelu", approximate="none"), "tanh": _mlp("tanh"), "mish": _mlp("mish"),
    "residual": ((4,), _residual), "twice": ((4,), _twice), "concat": ((4,), _concat), "convolution": ((1, 4, 4), _convolution), "circular": ((1, 2, 2), _circular),
    "pool": ((1, 5, 5), _pool), "maxmin": _sort(2), "maxmin halves": _sort(2, layout="halves", descending=True), "groupsort": _sort(3),
    "groupsort halves": _sort(3, layout="halves", descending=True), "extremes": ((4,), _extremes), "softmax": ((4,), _softmax), "layer_norm": ((4,), _layer_norm),
    "folded": ((4,), _folded), "unfolded": ((4,), _unfolded), "prelu": ((4,), _prelu),
}  # fmt: skip


def net(name: str, seed: int = 0) -> Graph:
    shape, make = NETS[name]
    n = Net(np.random.default_rng(seed), *shape)
    return n.build(make(n))


def folded(graph: Graph) -> Graph:
    return fold_affine(graph).pruned()


@functools.lru_cache(maxsize=4)
def chain_from(graph: Graph):
    """One chain for all evidence about a graph."""
    return chain_of(folded(graph))


def widened(chain, alive, values) -> list[np.ndarray]:
    """Per block: the values of the live groups, 0 elsewhere."""
    given, found = iter(values), []
    for layer, live in zip(chain.layers, alive, strict=True):
        whole = np.zeros(layer.groups)
        if live.any():
            whole[live] = next(given)
        found.append(whole)
    return found


def one_matrix(graph: Graph, number: int = 0, rows="all", tight: bool = True):
    """(entry, arrays) of one inequality from the closed form; tight: the least bound that these multipliers prove, to 3e-7."""
    chain = chain_from(graph)
    if rows != "all":
        row = np.zeros((1, chain.last.shape[0]))
        row[0, rows[0]], row[0, rows[1]] = 1.0, -1.0
        chain = chain.towards(row)
    small, alive = chain.reduced()
    us, exponents, _ = closed_form(small)
    bound = value(small, us, exponents) * (1 + 1e-3)
    taus = [bound**2 / u for u in absolute(us, exponents)]
    low = 0.0
    assert inequality.holds(small, bound, taus)
    while tight and bound - low > 3e-7 * bound:
        middle = 0.5 * (low + bound)
        low, bound = (low, middle) if inequality.holds(small, middle, taus) else (middle, bound)
    return inequality_proof(number, bound * ROOM, widened(chain, alive, taus), rows)


def best_matrix(graph: Graph, number: int = 0):
    """(entry, arrays) of the inequality that the interior point method finds: there, no multiplier can be changed much."""
    found = solve(chain_from(graph), "balanced")
    assert isinstance(found, Inequality)
    return inequality_proof(number, found.bound, found.taus)


def by_layers(graph: Graph, number: int = 0, pairs: bool = True):
    """(entry, arrays) of metrics from the closed form, with the bound of the whole and of all pairs."""
    chain = chain_from(graph)
    small, alive = chain.reduced()
    us, exponents, _ = closed_form(small)
    given = iter(exponents)
    proved = layers.prove(chain, widened(chain, alive, us), 1e-6, [next(given) if live.any() else 0 for live in alive])
    k, metric = chain.last.shape[0], proved.metrics[-1]
    table = np.zeros((k, k))
    for i in range(k if pairs else 0):
        for j in range(i):
            row = np.zeros((1, k))
            row[0, i], row[0, j] = 1.0, -1.0
            table[i, j] = table[j, i] = layers.row_bound(metric, chain.towards(row).last) * ROOM
    return layers_proof(number, proved.us, proved.exponents, proved.deltas, chain.states, bound=layers.whole_bound(metric, chain.last) * ROOM, pairs=table if pairs else None)


def quotients(graph: Graph, rng: np.random.Generator, count: int = 200) -> np.ndarray:
    """Increments (count, outputs) per unit of input distance, of near and far pairs."""
    a = rng.normal(size=(count, *graph.input_shape)) * 2
    d = rng.normal(size=a.shape) * 10.0 ** rng.uniform(-4, 0.7, size=(count,) + (1,) * (a.ndim - 1))
    change = (graph(a + d) - graph(a)).reshape(count, -1)
    return change / np.linalg.norm(d.reshape(count, -1), axis=1)[:, None]
