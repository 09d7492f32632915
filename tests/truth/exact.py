"""A second evaluator of graphs: one sample, 60 significant digits, loops written from the vocabulary table of core/graph.py.

Nothing here shares code with `certify.core.evaluate`. Every tensor is an object array of mpf.
"""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
from mpmath import mp, mpf
from truth.activations import EXACT, exact_parameters

DIGITS = 60


def to_exact(array) -> np.ndarray:
    array = np.asarray(array, dtype=np.float64)
    out = np.empty(array.shape, dtype=object)
    out[...] = np.vectorize(lambda v: mpf(float(v)), otypes=[object])(array) if array.size else out
    return out


def exact_tensors(graph, sample) -> dict[str, np.ndarray]:
    """Every tensor of the graph at one input, in exact real arithmetic up to about 1e-60 relative per operation."""
    with mp.workdps(DIGITS):
        values: dict[str, np.ndarray] = {}
        for node in graph.nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = np.asarray(to_exact(sample) if node.op == "input" else OPS[node.op](node, *inputs), dtype=object)
            assert values[node.name].shape == node.shape, (node.name, values[node.name].shape, node.shape)
        return values


def distance(computed: np.ndarray, exact: np.ndarray, norm: str) -> mpf:
    """|computed - exact|_p of a float array and an exact one."""
    with mp.workdps(DIGITS):
        return size(to_exact(computed) - exact, norm)


def size(vector, norm: str) -> mpf:
    entries = [abs(v) for v in np.asarray(vector, dtype=object).ravel()]
    if norm == "linf":
        return max(entries, default=mpf(0))
    return mpmath.fsum(entries) if norm == "l1" else mpmath.sqrt(mpmath.fsum(e * e for e in entries))


def zeros(shape) -> np.ndarray:
    out = np.empty(shape, dtype=object)
    out[...] = mpf(0)
    return out


def _total(entries) -> mpf:
    total = mpf(0)
    for entry in np.asarray(entries, dtype=object).ravel():
        total = total + entry
    return total


def _dense(node, x):
    weight, bias = to_exact(node.arrays["weight"]), node.arrays.get("bias")
    out = zeros(node.shape)
    for place in itertools.product(*map(range, x.shape[:-1])):
        for j, row in enumerate(weight):
            out[(*place, j)] = _total(row * x[place]) + (0 if bias is None else mpf(float(bias[j])))
    return out


NUMPY_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _padded(x, pads, mode, value=0.0):
    for axis, (low, high) in enumerate(pads):
        start, stop = max(-low, 0), x.shape[axis] - max(-high, 0)
        low, high = max(low, 0), max(high, 0)
        if mode in NUMPY_MODE and (low or high):
            index = np.pad(np.arange(x.shape[axis]), (low, high), mode=NUMPY_MODE[mode])
            x = np.take(x, index[start : len(index) - (x.shape[axis] - stop)], axis=axis)
            continue
        x = np.take(x, np.arange(start, stop), axis=axis)
        for count, front in ((low, True), (high, False)):
            shape = list(x.shape)
            shape[axis] = count
            border = zeros(shape)
            border[...] = mpf(float(value))
            x = np.concatenate([border, x] if front else [x, border], axis=axis)
    return x


def _conv(node, x):
    a, weight, bias = node.attrs, to_exact(node.arrays["weight"]), node.arrays.get("bias")
    x = _padded(x, [(0, 0), *a["padding"]], a.get("mode", "zeros"))
    out, per = zeros(node.shape), weight.shape[0] // a["groups"]
    c = weight.shape[1]
    for place in itertools.product(*map(range, node.shape[1:])):
        window = tuple(slice(s * o, s * o + d * (k - 1) + 1, d) for o, s, d, k in zip(place, a["stride"], a["dilation"], weight.shape[2:]))
        for j in range(weight.shape[0]):
            g = j // per
            out[(j, *place)] = _total(weight[j] * x[(slice(g * c, (g + 1) * c), *window)]) + (0 if bias is None else mpf(float(bias[j])))
    return out


def _conv_transpose(node, x):
    a, weight, bias = node.attrs, to_exact(node.arrays["weight"]), node.arrays.get("bias")
    out, groups = zeros(node.shape), a["groups"]
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    for i in range(weight.shape[0]):
        for place in itertools.product(*map(range, x.shape[1:])):
            for tap in itertools.product(*map(range, weight.shape[2:])):
                where = tuple(s * o - p[0] + d * t for o, s, p, d, t in zip(place, a["stride"], a["padding"], a["dilation"], tap))
                if all(0 <= w < n for w, n in zip(where, node.shape[1:])):
                    for j in range(columns):
                        out[((i // rows) * columns + j, *where)] += weight[(i, j, *tap)] * x[(i, *place)]
    return out if bias is None else out + to_exact(bias).reshape(-1, *(1,) * (out.ndim - 1))


def _batch_norm(node, x):
    shape = (-1,) + (1,) * (x.ndim - 1)
    mean, var = (to_exact(node.arrays[k]).reshape(shape) for k in ("mean", "var"))
    weight, bias = (to_exact(node.arrays[k]).reshape(shape) if k in node.arrays else d for k, d in (("weight", mpf(1)), ("bias", mpf(0))))
    root = np.vectorize(mpmath.sqrt, otypes=[object])(var + mpf(float(node.attrs["eps"])))
    return weight * (x - mean) / root + bias


def _activation(node, x):
    parameters = {k: v for k, v in node.attrs.items() if k != "kind"}
    if "slope" in node.arrays:
        slopes = np.broadcast_to(to_exact(node.arrays["slope"]), x.shape)
        return np.where(x > 0, x, slopes * x)
    plain = exact_parameters(parameters)
    out = np.empty(x.shape, dtype=object)
    for place in np.ndindex(*x.shape):
        out[place] = EXACT[node.attrs["kind"]](x[place], plain)
    return out


def _group_sort(node, x):
    a = node.attrs
    x = np.moveaxis(x, a["axis"], -1)
    n, k = x.shape[-1], a["size"]
    out = x.copy()
    for place in np.ndindex(*x.shape[:-1]):
        for g in range(n // k):
            index = [g * k + j if a["layout"] == "consecutive" else g + j * (n // k) for j in range(k)]
            for i, v in zip(index, sorted((x[(*place, i)] for i in index), reverse=bool(a["descending"]))):
                out[(*place, i)] = v
    return np.moveaxis(out, -1, a["axis"])


def _max_pool(node, x):
    a = node.attrs
    out = zeros(node.shape)
    for place in np.ndindex(*node.shape):
        best = None
        for tap in itertools.product(*map(range, a["kernel"])):
            where = tuple(s * o - p[0] + d * t for o, s, p, d, t in zip(place[1:], a["stride"], a["padding"], a["dilation"], tap))
            if all(0 <= w < n for w, n in zip(where, x.shape[1:])):
                v = x[(place[0], *where)]
                best = v if best is None or v > best else best
        out[place] = best
    return out


def _avg_pool(node, x):
    a, divisor = node.attrs, to_exact(node.arrays["divisor"])
    out = zeros(node.shape)
    for place in np.ndindex(*node.shape):
        for tap in itertools.product(*map(range, a["kernel"])):
            where = tuple(s * o - p[0] + t for o, s, p, t in zip(place[1:], a["stride"], a["padding"], tap))
            if all(0 <= w < n for w, n in zip(where, x.shape[1:])):
                out[place] += x[(place[0], *where)]
    return out / divisor


def _reduce(node, x):
    axes = tuple(a % x.ndim for a in node.attrs["axes"])
    kind = node.attrs["kind"]
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = x.transpose(*kept, *axes).reshape(*[x.shape[a] for a in kept], -1)
    out = np.empty(rows.shape[:-1], dtype=object)
    for place in np.ndindex(*out.shape):
        row = list(rows[place])
        out[place] = {"max": max, "min": min, "sum": _total, "mean": lambda r: _total(r) / len(r)}[kind](row)
    return out.reshape(node.shape)


def _along_axis(function):
    def apply(node, x):
        axis = node.attrs["axis"] % x.ndim
        rows = np.moveaxis(x, axis, -1)
        results = np.empty(rows.shape, dtype=object)
        single = np.empty(rows.shape[:-1], dtype=object)
        for place in np.ndindex(*rows.shape[:-1]):
            r = function(list(rows[place]))
            if isinstance(r, list):
                results[place] = np.array(r, dtype=object)
            else:
                single[place] = r
        return single.reshape(node.shape) if node.op == "logsumexp" else np.moveaxis(results, -1, axis)

    return apply


def _lse(row):
    top = max(row)
    return top + mpmath.log(mpmath.fsum(mpmath.exp(v - top) for v in row))


def _select(node, x):
    a = node.attrs
    if node.op == "gather":
        return np.take(x, node.arrays["index"], axis=a["axis"])
    return x[(slice(None),) * (a["axis"] % x.ndim) + (slice(a["start"], a["stop"], a["step"]),)]


def _upsample(node, x):
    for axis, factor in enumerate(node.attrs["factors"], start=1):
        x = np.repeat(x, factor, axis=axis)
    return x


def _layer_norm(node, x):
    a, count = node.attrs, int(np.prod(x.shape[x.ndim - node.attrs["dims"] :]))
    out = zeros(x.shape).reshape(-1, count)
    for row, result in zip(x.reshape(-1, count), out):
        mean = _total(row) / count if a["center"] else mpf(0)
        root = mpmath.sqrt(_total([(v - mean) ** 2 for v in row]) / count + mpf(float(a["eps"])))
        for i, v in enumerate(row):
            result[i] = (v - mean) / root
    out = out.reshape(x.shape)
    out = out * to_exact(node.arrays["weight"]) if "weight" in node.arrays else out
    return out + to_exact(node.arrays["bias"]) if "bias" in node.arrays else out


def _attention(node, q, k, v):
    out = zeros(node.shape)
    for lead in np.ndindex(*q.shape[:-2]):
        for i, query in enumerate(q[lead]):
            stop = min(i + 1, len(k[lead])) if node.attrs["causal"] else len(k[lead])
            logits = [mpf(float(node.attrs["scale"])) * _total(query * key) for key in k[lead][:stop]]
            top = _lse(logits)
            for weight, value in zip((mpmath.exp(z - top) for z in logits), v[lead]):
                out[(*lead, i)] = out[(*lead, i)] + weight * value
    return out


OPS = {
    "constant": lambda node: to_exact(node.arrays["value"]),
    "dense": _dense,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "batch_norm": _batch_norm,
    "scale": lambda node, x: x * to_exact(node.arrays["value"]),
    "divide": lambda node, x: x / to_exact(node.arrays["value"]),
    "add": lambda node, x, y: x + y,
    "sub": lambda node, x, y: x - y,
    "multiply": lambda node, x, y: x * y,
    "maximum": lambda node, x, y: np.where(x >= y, x, y),
    "minimum": lambda node, x, y: np.where(x <= y, x, y),
    "activation": _activation,
    "group_sort": _group_sort,
    "concat": lambda node, *xs: np.concatenate(xs, axis=node.attrs["axis"]),
    "slice": _select,
    "gather": _select,
    "reshape": lambda node, x: x.reshape(node.shape),
    "transpose": lambda node, x: x.transpose(node.attrs["perm"]),
    "expand": lambda node, x: np.broadcast_to(x, node.shape),
    "pad": lambda node, x: _padded(x, node.attrs["pads"], node.attrs.get("mode", "constant"), node.attrs.get("value", 0.0) or 0.0),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "reduce": _reduce,
    "softmax": _along_axis(lambda row: [mpmath.exp(v - _lse(row)) for v in row]),
    "log_softmax": _along_axis(lambda row: [v - _lse(row) for v in row]),
    "logsumexp": _along_axis(_lse),
    "upsample": _upsample,
    "layer_norm": _layer_norm,
    "attention": _attention,
}


def exact_quotient_of(graph, a, b, norm: str) -> mpf:
    """|f(a) - f(b)|_p / |a - b|_p of the exact function."""
    with mp.workdps(DIGITS):
        fa, fb = (exact_tensors(graph, x)[graph.output] for x in (a, b))
        return size(fa - fb, norm) / size(to_exact(a) - to_exact(b), norm)
