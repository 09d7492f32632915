"""Certificates written by hand: constants from dense matrices and singular values, no prover code; and ways to damage them."""

from __future__ import annotations

import copy
import io
import json
import zipfile

import numpy as np

from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.core.record import digest_array
from certify.proof import certificate

ORDER = {"l2": 2, "l1": 1, "linf": np.inf}
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
LINEAR = ("dense", "conv", "conv_transpose", "batch_norm", "avg_pool", "scale")
ROOM = 1e-7


def matrix_of(graph: Graph, name: str) -> np.ndarray:
    """The dense matrix of one affine node: its values at the unit vectors minus its value at zero."""
    node, shape = graph[name], graph.input_shapes(graph[name])[0]
    b = GraphBuilder()
    alone = b.build(b.add(node.op, [b.add("input", attrs={"shape": shape})], dict(node.attrs), dict(node.arrays)))
    size = int(np.prod(shape))
    zero = alone(np.zeros((1, *shape)))
    return (alone(np.eye(size).reshape(size, *shape)) - zero).reshape(size, -1).T


def operator_norm(matrix: np.ndarray, norm: str) -> float:
    return float(np.linalg.norm(matrix, ORDER[norm])) if matrix.size else 0.0


def local_constants(graph: Graph, name: str, norm: str) -> tuple[list[float], str]:
    """Exact constants of the operators that the tests use, and how they combine."""
    node = graph[name]
    if node.op in LINEAR:
        return [operator_norm(matrix_of(graph, name), norm) * (1 + ROOM)], "sum"
    if node.op in ("concat", "maximum"):
        return [1.0] * len(node.inputs), {"l2": "root", "l1": "sum", "linf": "max"}[norm]
    if node.op == "softmax":
        return [0.5], "sum"
    if node.op == "activation" and node.attrs["kind"] == "gelu":
        return [1.1289041451853], "sum"
    return [1.0] * len(node.inputs), "sum"  # add, relu, tanh, reshape, disjoint max pools


def steps_of(graph: Graph, norm: str) -> list[dict]:
    """One step per node of the folded graph."""
    folded, running, steps = fold_affine(graph).pruned(), {}, []
    for node in folded.nodes:
        if node.op == "input":
            running[node.name] = 1.0
            continue
        constants, combine = local_constants(folded, node.name, norm)
        parts = [c * running[x] for c, x in zip(constants, node.inputs)]
        total = {"sum": sum(parts), "max": max(parts, default=0.0), "root": float(np.hypot.reduce(parts)) if parts else 0.0}[combine]
        running[node.name] = total * (1 + 1e-12) if len(parts) else 0.0
        steps.append(certificate.step(node.name, node.op, "by hand", "dense truth", node.inputs, constants, combine, running[node.name], {"verify": {"by": "dense"}}))
    return steps


def lipschitz_certificate(graph: Graph, norm: str, witness=None, lower: float = 0.0):
    steps = steps_of(graph, norm)
    return certificate.lipschitz_document(graph, norm, steps, steps[-1]["running"], lower, witness=witness, created="2026-01-01T00:00:00")


def radius_certificate(graph: Graph, norm: str, inputs: np.ndarray, labels=None, method: str = "pairwise"):
    """Radii from float margins, a billionth below what they allow. The graph ends in a dense layer, or a softmax after one."""
    steps, folded = steps_of(graph, norm), fold_affine(graph).pruned()
    running = {folded.input_node.name: 1.0, **{s["node"]: s["running"] for s in steps}}
    last = folded[folded.output]
    stripped = [last.name] if last.op == "softmax" else []
    logits = folded[last.inputs[0]] if stripped else last
    z = Graph(folded.nodes, logits.name)(inputs.astype(np.float64)).reshape(len(inputs), logits.shape[0])
    labels = z.argmax(axis=1) if labels is None else np.asarray(labels)
    weight = logits.float64("weight")
    radii, which = np.zeros(len(inputs)), np.full(len(inputs), -1)
    for i, y in enumerate(labels):
        if method == "pairwise":
            constants = np.linalg.norm(weight[y] - weight, DUAL[norm], axis=1) * running[logits.inputs[0]]
        else:
            constants = np.full(len(weight), {"l2": 2**0.5, "linf": 2.0, "l1": 1.0}[norm] * running[logits.name])
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = np.where(constants > 0, (z[i, y] - z[i]) / constants, np.inf)
        quotients[y] = np.inf
        if quotients.min() > 0:
            radii[i], which[i] = min(quotients.min() * (1 - 1e-9), 1e300), certificate.METHODS.index(method)
    end = certificate.head(method, logits.name, logits.name if method == "pairwise" else None, running[logits.inputs[0]] if method == "pairwise" else None, stripped)
    return certificate.radius_document(
        graph, norm, steps, end, inputs=inputs, labels=labels, predictions=z.argmax(axis=1), radii=radii, method=which, created="2026-01-01T00:00:00"
    )


def small_cnn(rng: np.random.Generator, softmax: bool = True) -> Graph:
    """Conv, BatchNorm, ReLU, a residual branch, average pool, dense, softmax: every way a step can combine."""
    b = GraphBuilder()
    attrs = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1, "mode": "zeros"}
    norm = {"mean": rng.normal(size=2), "var": rng.uniform(0.5, 2, 2), "weight": rng.normal(size=2), "bias": rng.normal(size=2)}
    y = b.add("conv", [b.add("input", attrs={"shape": (1, 4, 4)})], attrs, {"weight": rng.normal(size=(2, 1, 3, 3)).astype(np.float32), "bias": rng.normal(size=2)}, name="conv")
    y = b.add("activation", [b.add("batch_norm", [y], {"eps": 1e-5}, norm, name="bn")], {"kind": "relu"}, name="relu")
    z = b.add("conv", [y], {**attrs, "mode": "circular"}, {"weight": rng.normal(size=(2, 2, 3, 3)) / 4}, name="branch")
    y = b.add("concat", [b.add("add", [y, z], name="sum"), z], {"axis": 0}, name="both")
    y = b.add("avg_pool", [y], {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}, {"divisor": np.full((2, 2), 4.0)}, name="pool")
    y = b.add("dense", [b.add("reshape", [y], {"shape": (16,)}, name="flat")], arrays={"weight": rng.normal(size=(3, 16)) / 4, "bias": rng.normal(size=3)}, name="fc")
    return b.build(b.add("softmax", [y], {"axis": 0}, name="soft") if softmax else y)


def with_digests(document: dict, arrays: dict) -> tuple[dict, dict]:
    """The same with digests that fit the arrays: what somebody does who wants to cheat."""
    return {**document, "digests": {name: digest_array(a) for name, a in arrays.items()}}, arrays


def leaves(value, path=()):
    """(path, leaf) of every number, text and None in JSON data."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from leaves(entry, (*path, i))
    else:
        yield path, value


def replaced(document: dict, path: tuple, value) -> dict:
    document = copy.deepcopy(document)
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return document


HOSTILE = (None, True, -1, -1.5, 0, 1e308, 1e-320, 10**400, "", "x" * 1000, [], {}, [[]], {"": {}}, [1, "a"], "NaN", 2**63, -0.0, [None] * 50)


def mutated(rng: np.random.Generator, document: dict) -> dict:
    """One place of the document changed: a number nudged or replaced, a value of another type, a key lost, deep nesting."""
    places = list(leaves(document))
    path, value = places[int(rng.integers(len(places)))]
    path = path[: int(rng.integers(1, len(path) + 1))] if rng.random() < 0.2 else path
    kind = int(rng.integers(5))
    if kind == 0 and isinstance(value, float | int) and not isinstance(value, bool) and path and abs(value) < 1e300:
        return replaced(document, path, float(value) * float(rng.choice([0.5, 0.999999, 1 + 1e-9, 1.5, -1, 1e300])))
    if kind == 1:
        deep: list = []
        for _ in range(int(rng.choice([3, 60]))):
            deep = [deep]
        return replaced(document, path, deep)
    if kind == 2:
        inside = document = copy.deepcopy(document)
        for key in path[:-1]:
            inside = inside[key]
        del inside[path[-1]]
        return document
    return replaced(document, path, HOSTILE[int(rng.integers(len(HOSTILE)))])


def as_bytes(document: dict, arrays: dict) -> bytes:
    """The file, without the writer's own checks."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("certificate.json", json.dumps(document))
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(array))
            archive.writestr(f"arrays/{name}.npy", body.getvalue())
    return buffer.getvalue()


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes changed, cut out, doubled, or the end lost."""
    out, kind = bytearray(data), int(rng.integers(4))
    a, b = sorted(int(i) for i in rng.integers(0, len(data), 2))
    if kind == 0:
        for i in rng.integers(0, len(out), int(rng.integers(1, 4))):
            out[i] = int(rng.integers(256))
    elif kind == 1:
        del out[a:b]
    elif kind == 2:
        out[a:a] = out[a:b][:5000]
    else:
        del out[a:]
    return bytes(out)
