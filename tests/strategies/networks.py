"""Random small networks over the whole vocabulary, as Graphs and as torch modules, and graphs of one operator.

Everything comes from a numpy generator, so that a seed is a network; `graphs()` and `single_nodes()` are the Hypothesis faces.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from strategies.activations import INSTANCES

from certify.core.graph import Graph, GraphBuilder

LARGEST = 40  # entries of a tensor


class Maker:
    """A GraphBuilder, a generator, and the size of the weights."""

    def __init__(self, rng: np.random.Generator, scale: float = 1.0):
        self.rng, self.scale, self.b = rng, scale, GraphBuilder()
        self.names: list[str] = []

    def shape(self, name: str) -> tuple[int, ...]:
        return self.b[name].shape

    def add(self, op: str, inputs=(), attrs=None, arrays=None) -> str:
        name = self.b.add(op, inputs, attrs, arrays)
        self.names.append(name)
        return name

    def weight(self, *shape: int) -> np.ndarray:
        w = np.asarray(self.rng.normal(size=shape) * self.scale)
        kind = self.rng.integers(8)
        if kind == 0:
            w[self.rng.random(shape) < 0.5] = 0.0
        elif kind == 1:
            w = np.asarray(np.abs(w))  # all positive: worst for rounding and for sqrt(l1 linf)
        elif kind == 2:
            w = np.asarray(np.round(w * 4) / 4)
        return w.astype(np.float32) if 1e-20 < self.scale < 1e35 and self.rng.random() < 0.7 else w

    def maybe(self, *shape: int) -> np.ndarray | None:
        return self.weight(*shape) if self.rng.random() < 0.7 else None

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]


def fits(shape) -> bool:
    return 0 < math.prod(shape) <= LARGEST


NODES: dict[str, Callable[[Maker, str], str | None]] = {}


def node(*ops: str):
    def register(function):
        for op in ops:
            NODES[op] = lambda m, x, op=op: function(m, x, op)
        return function

    return register


@node("constant")
def _constant(m, x, op):
    y = m.add("constant", arrays={"value": m.weight(*m.shape(x))})
    return m.add(m.pick(["add", "sub", "maximum"]), [x, y] if m.rng.random() < 0.5 else [y, x])


@node("dense")
def _dense(m, x, op):
    shape = m.shape(x)
    out = int(m.rng.integers(1, 7))
    if not shape or not fits((*shape[:-1], out)):
        return None
    return m.add(op, [x], arrays={"weight": m.weight(out, shape[-1]), "bias": m.maybe(out)})


def _spatial(m, shape):
    return [int(m.rng.integers(1, 4)) for _ in shape[1:]], [int(m.rng.integers(1, 4)) for _ in shape[1:]], [int(m.rng.integers(1, 3)) for _ in shape[1:]]


@node("conv")
def _conv(m, x, op):
    shape = m.shape(x)
    if not 2 <= len(shape) <= 4:
        return None
    kernel, stride, dilation = _spatial(m, shape)
    mode = m.pick(["zeros", "zeros", "circular", "reflect", "replicate"])
    most = {"reflect": [n - 1 for n in shape[1:]], "circular": list(shape[1:])}.get(mode, [2] * len(kernel))
    padding = [(int(m.rng.integers(0, min(2, k) + 1)), int(m.rng.integers(0, min(2, k) + 1))) for k in most]
    if any(n + lo + hi < d * (k - 1) + 1 for n, (lo, hi), d, k in zip(shape[1:], padding, dilation, kernel)):
        return None
    out = [(n + lo + hi - d * (k - 1) - 1) // s + 1 for n, (lo, hi), d, k, s in zip(shape[1:], padding, dilation, kernel, stride)]
    groups = m.pick([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    channels = groups * int(m.rng.integers(1, 3))
    if not fits((channels, *out)):
        return None
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "mode": mode}
    return m.add(op, [x], attrs, {"weight": m.weight(channels, shape[0] // groups, *kernel), "bias": m.maybe(channels)})


@node("conv_transpose")
def _conv_transpose(m, x, op):
    shape = m.shape(x)
    if not 2 <= len(shape) <= 3:
        return None
    kernel, stride, dilation = _spatial(m, shape)
    extra = [int(m.rng.integers(0, max(s, d))) for s, d in zip(stride, dilation)]
    padding = [(lo, lo) for lo in (int(m.rng.integers(0, 2)) for _ in kernel)]
    out = [(n - 1) * s - lo - hi + d * (k - 1) + e + 1 for n, s, (lo, hi), d, k, e in zip(shape[1:], stride, padding, dilation, kernel, extra)]
    groups = m.pick([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    per = int(m.rng.integers(1, 3))
    if min(out) < 1 or not fits((groups * per, *out)):
        return None
    attrs = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
    return m.add(op, [x], attrs, {"weight": m.weight(shape[0], per, *kernel), "bias": m.maybe(groups * per)})


@node("batch_norm")
def _batch_norm(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    c = shape[0]
    arrays = {"mean": m.weight(c), "var": np.abs(m.weight(c)).astype(np.float64) * m.scale, "weight": m.maybe(c), "bias": m.maybe(c)}
    return m.add(op, [x], {"eps": 1e-5 * m.scale**2}, arrays)


@node("scale", "divide")
def _scale(m, x, op):
    shape = m.shape(x)
    value = m.weight(*[n if m.rng.random() < 0.5 else 1 for n in shape])
    return m.add(op, [x], arrays={"value": value + (np.sign(value) + (value == 0)).astype(value.dtype) if op == "divide" else value})


def _partner(m, x):
    """A tensor of the same shape: an older one, x itself, or a new one."""
    same = [name for name in m.names if m.shape(name) == m.shape(x)]
    if m.rng.random() < 0.6 or not m.shape(x):
        return m.pick(same)
    return m.add("scale", [x], arrays={"value": m.weight(*m.shape(x))})


@node("add", "sub", "maximum", "minimum")
def _binary(m, x, op):
    return m.add(op, [x, _partner(m, x)] if m.rng.random() < 0.5 else [_partner(m, x), x])


@node("activation")
def _activation(m, x, op, kind=None):
    kind = kind or m.pick(sorted(INSTANCES))
    if kind == "prelu":
        shape = m.shape(x)
        slope = m.weight(shape[0], *(1,) * (len(shape) - 1)) if shape else m.weight()
        return m.add(op, [x], {"kind": kind}, {"slope": slope})
    return m.add(op, [x], {"kind": kind, **m.pick(INSTANCES[kind])})


@node("group_sort")
def _group_sort(m, x, op):
    shape = m.shape(x)
    options = [(axis, k) for axis, n in enumerate(shape) for k in range(1, n + 1) if n % k == 0]
    if not options:
        return None
    axis, size = m.pick(options)
    return m.add(op, [x], {"axis": axis, "size": size, "layout": m.pick(["consecutive", "halves"]), "descending": bool(m.rng.random() < 0.5)})


@node("concat")
def _concat(m, x, op):
    shape = m.shape(x)
    if not shape or not fits((2, *shape)):
        return None
    axis = int(m.rng.integers(len(shape)))
    others = [n for n in m.names if len(m.shape(n)) == len(shape) and all(a == b for i, (a, b) in enumerate(zip(m.shape(n), shape)) if i != axis)]
    parts = [x, m.pick(others)] if m.rng.random() < 0.7 else [x, x]
    total = math.prod(shape) + math.prod(m.shape(parts[1]))
    return m.add(op, parts, {"axis": axis}) if total <= LARGEST else None


@node("slice")
def _slice(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    axis = int(m.rng.integers(len(shape)))
    start = int(m.rng.integers(shape[axis]))
    return m.add(op, [x], {"axis": axis, "start": start, "stop": int(m.rng.integers(start + 1, shape[axis] + 1)), "step": int(m.rng.integers(1, 3))})


@node("gather")
def _gather(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    axis = int(m.rng.integers(len(shape)))
    index = m.rng.integers(0, shape[axis], size=int(m.rng.integers(1, 6)))
    out = [len(index) if i == axis else n for i, n in enumerate(shape)]
    return m.add(op, [x], {"axis": axis}, {"index": index.astype(np.int64)}) if fits(out) else None


@node("reshape")
def _reshape(m, x, op):
    total = math.prod(m.shape(x))
    first = m.pick([k for k in range(1, total + 1) if total % k == 0])
    rest = total // first
    second = m.pick([k for k in range(1, rest + 1) if rest % k == 0])
    return m.add(op, [x], {"shape": m.pick([(total,), (first, rest), (first, second, rest // second)])})


@node("transpose")
def _transpose(m, x, op):
    shape = m.shape(x)
    return m.add(op, [x], {"perm": [int(i) for i in m.rng.permutation(len(shape))]}) if shape else None


@node("expand")
def _expand(m, x, op):
    shape = m.shape(x)
    out = [int(m.rng.integers(1, 4)) if n == 1 else n for n in shape]
    out = [int(m.rng.integers(1, 3))] + out if m.rng.random() < 0.5 else out
    return m.add(op, [x], {"shape": out}) if fits(out) else None


@node("pad")
def _pad(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    mode = m.pick(["constant", "reflect", "replicate", "circular"])
    pads, spatial = [], range(1, len(shape)) if len(shape) > 1 else range(1)
    for axis, n in enumerate(shape):
        most = 0 if axis not in spatial else {"reflect": n - 1, "circular": n}.get(mode, 2)
        pads.append((int(m.rng.integers(0, min(most, 2) + 1)), int(m.rng.integers(0, min(most, 2) + 1))))
    if mode == "constant" and m.rng.random() < 0.3 and shape[-1] > 1:
        pads[-1] = (-1, pads[-1][1])  # crops
    if not fits([n + lo + hi for n, (lo, hi) in zip(shape, pads)]):
        return None
    return m.add(op, [x], {"pads": pads, "mode": mode, "value": float(m.rng.normal()) if mode == "constant" else 0.0})


@node("max_pool", "avg_pool")
def _pool(m, x, op):
    shape = m.shape(x)
    if not 2 <= len(shape) <= 4:
        return None
    kernel, stride, dilation = _spatial(m, shape)
    dilation = dilation if op == "max_pool" else [1] * len(kernel)
    padding = [(int(m.rng.integers(0, k // 2 + 1)), int(m.rng.integers(0, k // 2 + 1))) for k in kernel]
    if any(n + lo + hi < d * (k - 1) + 1 for n, (lo, hi), d, k in zip(shape[1:], padding, dilation, kernel)):
        return None
    out = [(n + lo + hi - d * (k - 1) - 1) // s + 1 for n, (lo, hi), d, k, s in zip(shape[1:], padding, dilation, kernel, stride)]
    if op == "max_pool":
        for n, o, s, (lo, _), d, k in zip(shape[1:], out, stride, padding, dilation, kernel):
            if any(all(not 0 <= s * i - lo + d * t < n for t in range(k)) for i in range(o)):
                return None  # a window of padding alone
        return m.add(op, [x], {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation})
    count = float(math.prod(kernel))
    divisor = np.full(out, count)
    if m.rng.random() < 0.5:  # padding not counted
        for place in np.ndindex(*out):
            inside = [sum(0 <= s * o - lo + t < n for t in range(k)) for o, n, s, (lo, _), k in zip(place, shape[1:], stride, padding, kernel)]
            divisor[place] = max(1, math.prod(inside))
    return m.add(op, [x], {"kernel": kernel, "stride": stride, "padding": padding}, {"divisor": divisor})


@node("reduce")
def _reduce(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    axes = sorted(int(a) for a in m.rng.choice(len(shape), size=int(m.rng.integers(1, len(shape) + 1)), replace=False))
    return m.add(op, [x], {"kind": m.pick(["mean", "sum", "max", "min"]), "axes": axes, "keepdims": bool(m.rng.random() < 0.5)})


@node("softmax", "log_softmax", "logsumexp")
def _softmax(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    return m.add(op, [x], {"axis": int(m.rng.integers(len(shape)))})


@node("layer_norm")
def _layer_norm(m, x, op):
    shape = m.shape(x)
    if not shape:
        return None
    dims = int(m.rng.integers(1, len(shape) + 1))
    attrs = {"dims": dims, "eps": m.pick([1e-5, 1e-2, 1.0]), "center": bool(m.rng.random() < 0.7)}
    return m.add(op, [x], attrs, {"weight": m.maybe(*shape[-dims:]), "bias": m.maybe(*shape[-dims:])})


@node("upsample")
def _upsample(m, x, op):
    shape = m.shape(x)
    if len(shape) < 2:
        return None
    factors = [int(m.rng.integers(1, 3)) for _ in shape[1:]]
    return m.add(op, [x], {"factors": factors}) if fits([shape[0], *(n * f for n, f in zip(shape[1:], factors))]) else None


def input_shape(rng: np.random.Generator) -> tuple[int, ...]:
    dims = int(rng.integers(1, 4))
    return {1: (int(rng.integers(1, 9)),), 2: tuple(int(n) for n in rng.integers(1, 6, 2)), 3: (int(rng.integers(1, 4)), int(rng.integers(2, 5)), int(rng.integers(1, 4)))}[dims]


def random_graph(rng: np.random.Generator, length: int | None = None, scale: float | None = None) -> Graph:
    """A chain with random side branches: each new node reads the last tensor (seldom an older one), binary nodes any older one of the same shape."""
    m = Maker(rng, float(rng.choice([1.0, 1.0, 1.0, 0.3, 3.0])) if scale is None else scale)
    x = m.add("input", attrs={"shape": input_shape(rng)})
    want, ops = int(rng.integers(2, 8)) if length is None else length, [*sorted(NODES), *["activation"] * 4, *["conv"] * 3, "dense", "dense"]
    for _ in itertools.islice(itertools.count(), 200):
        if want == 0:
            break
        y = NODES[m.pick(ops)](m, x if rng.random() < 0.85 else m.pick([n for n in m.names if m.b[n].op != "constant"]))
        if y is not None:
            x, want = y, want - 1
    return m.b.build(x)


def single_node(rng: np.random.Generator, op: str, scale: float = 1.0, kind: str | None = None) -> Graph:
    """A graph whose output is one node of `op` and whose input holds all of that node's inputs one after the other, so that they move independently."""
    for _ in range(400):
        m = Maker(rng, scale)
        x = m.add("input", attrs={"shape": input_shape(rng)})
        y = _activation(m, x, op, kind) if kind else NODES[op](m, x)
        if y is not None and m.b[y].op == op:
            return _separated(m.b[y], [m.shape(n) for n in m.b[y].inputs])
    raise AssertionError(f"no node of {op} came up")


def _separated(last, shapes) -> Graph:
    """The node `last` fed by consecutive parts of one flat input."""
    b, total = GraphBuilder(), sum(math.prod(s) for s in shapes)
    x = b.add("input", attrs={"shape": (total,)})
    parts, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        part = x if (start, stop) == (0, total) else b.add("slice", [x], {"axis": 0, "start": start, "stop": stop, "step": 1})
        parts.append(b.add("reshape", [part], {"shape": shape}))
        start = stop
    return b.build(b.add(last.op, parts, dict(last.attrs), dict(last.arrays), name="node"))


def sample_inputs(rng: np.random.Generator, graph: Graph, count: int) -> np.ndarray:
    """Inputs at scales from 1e-3 to 30, with ties and zeros."""
    x = rng.normal(size=(count, *graph.input_shape)) * 10 ** rng.uniform(-3, 1.5, size=(count, *(1,) * len(graph.input_shape)))
    x[rng.random(x.shape) < 0.1] = 0.0
    return np.round(x, 2) if rng.random() < 0.2 else x


def graphs(length: int | None = None, scale: float | None = None):
    return st.integers(0, 2**32 - 1).map(lambda seed: random_graph(np.random.default_rng(seed), length, scale))


def modules(length: int | None = None):
    """The same networks as torch modules, in evaluation mode and float64."""
    return graphs(length).map(lambda graph: graph.to_torch().double().eval())


def single_nodes(op: str, scale: float = 1.0):
    return st.integers(0, 2**32 - 1).map(lambda seed: single_node(np.random.default_rng(seed), op, scale))
