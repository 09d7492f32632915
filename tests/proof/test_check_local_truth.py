"""Evidence near single inputs against the truth: enclosures and bounds against exact fractions, boxes, lines and chords against sampled runs, and a hostile loop.

Each question is a function of the checker's modules, so that broken versions of them (the source with one line changed) can be held against the same truth.
"""

from __future__ import annotations

import sys
import types
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from strategies.increments import values
from strategies.semidefinite import NETS, folded, net

from certify.core.graph import GraphBuilder

ORDER = ("local_values", "local_lines", "local_boxes", "local_rows", "check_local")


def checker(changes=()) -> dict[str, types.ModuleType]:
    """The modules executed anew in the order of their imports, with pieces of the source replaced: (file, old, new)."""
    for name in ORDER:
        __import__(f"certify.proof.{name}")
    real, made = {name: sys.modules[f"certify.proof.{name}"] for name in ORDER}, {}
    try:
        for name in ORDER:
            text = Path(real[name].__file__).read_text()
            for file, old, new in changes:
                if file == name:
                    assert text.count(old) == 1, f"{name}.py no longer has {old!r} once: adapt the mutant"
                    text = text.replace(old, new)
            module = types.ModuleType(f"certify.proof.{name}")
            module.__package__ = "certify.proof"
            sys.modules[module.__name__] = module
            exec(compile(text, f"mutant of {name}.py", "exec"), module.__dict__)
            made[name] = module
    finally:
        sys.modules.update({f"certify.proof.{name}": module for name, module in real.items()})
    return made


def mlp(rng, sizes, scale=1.0, kind="relu", bias=1.0, cancel=False, **attrs):
    """cancel: what the second layer makes of the first two neurons' linear parts is 0 but for roundings."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (sizes[0],)})
    for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
        weight = scale * rng.normal(size=(n, m)) / np.sqrt(m)
        if cancel and i == 0:
            weight[1] = 3.0 * weight[0]
        elif cancel and i == 1:
            weight[:, 1:] = 0.0
            weight[:, 1] = -weight[:, 0] / 3.0
        x = b.add("dense", [x], arrays={"weight": weight, "bias": bias * rng.normal(size=n)})
        if i < len(sizes) - 2:
            x = b.add("activation", [x], {"kind": kind, **attrs})
    return b.build(x)


def own_boxes(parts, network, norm, radius, z):
    """The checker's own boxes of a ball, outward in float32, and its state."""
    ball = parts["local_boxes"].Ball(network, norm, radius)
    lower, upper = np.zeros(network.entries, np.float32), np.zeros(network.entries, np.float32)
    for (_, block), place, into in zip(network.blocks, network.places, network.into):
        n, most = len(block.lo), ball.magnitude(into, len(block.lo))
        low = np.maximum(ball.lower(into, n), -most)
        high = np.minimum(-ball.lower({s: type(m)(-m.mid, m.rad) for s, m in into.items()}, n), most)
        lower[place], upper[place] = (
            np.nextafter(np.minimum(low * (1 + 1e-6), 0).astype(np.float32), -np.inf),
            np.nextafter(np.maximum(high * (1 + 1e-6), 0).astype(np.float32), np.inf),
        )
        ball.append((z[0][place], z[1][place]), (lower[place].astype(np.float64), upper[place].astype(np.float64)))
    return lower, upper, ball


# ---- enclosures at points


def exact_values(graph, x):
    """Fractions of every tensor of a stack of dense layers and rectifiers."""
    known = {graph.input_node.name: [Fraction(float(v)) for v in x]}
    for node in graph.nodes:
        if node.op == "dense":
            inner = known[node.inputs[0]]
            known[node.name] = [
                sum((Fraction(float(w)) * v for w, v in zip(row, inner)), Fraction(float(c)))
                for row, c in zip(np.asarray(node.float64("weight")), np.asarray(node.float64("bias")))
            ]
        elif node.op == "activation":
            known[node.name] = [max(v, Fraction(0)) for v in known[node.inputs[0]]]
    return known


def encloses_exactly(parts) -> bool:
    """With cancellation: weights and biases so large that the last bits are all that is left."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = folded(mlp(rng, (3, 4, 4, 2), scale=10.0 ** rng.uniform(0, 8), bias=10.0 ** rng.uniform(0, 8)))
        network = parts["local_values"].Network(graph, graph.output)
        points = rng.normal(size=(4, 3))
        (low, high), logits = network.at(points)
        for i, x in enumerate(points):
            exact = exact_values(graph, x)
            z = [v for _, block in network.blocks for v in exact[block.before]]
            if not all(Fraction(float(a)) <= v <= Fraction(float(b)) for a, v, b in zip(low[i], z, high[i])):
                return False
            for label in range(2):
                found = parts["local_values"].margins(logits, label, i)
                out = exact[graph.output]
                if not all(Fraction(float(m)) <= out[label] - out[j] for j, m in enumerate(found)):
                    return False
    return True


@pytest.mark.parametrize("name", NETS)
def test_every_tensor_of_every_network_is_enclosed(name):
    from certify.proof.local_values import Network, tensors

    graph = folded(net(name))
    network = Network(graph, graph.output)
    points = np.random.default_rng(3).normal(size=(7, *graph.input_shape)) * 2
    found, truth = tensors(network.graph, network.reading, points.reshape(7, -1)), values(graph, network.reading, points)
    assert len(found) >= len(network.reading.parts) - sum(n.endswith("/rest") for n in network.reading.parts)
    for tensor, m in found.items():
        assert (np.abs(m.mid.T - truth[tensor]) <= m.radius().T + 1e-12 * (1 + np.abs(truth[tensor]))).all(), tensor
        assert m.radius().max(initial=0.0) < 1e-10


# ---- lines and chords


def lines_and_chords_hold(parts) -> bool:
    """Rectifier-like blocks in fractions: every line and every chord slope at the ends, the kink and points between, for z0 anywhere in its enclosure."""
    rng = np.random.default_rng(5)
    n = 120
    ends = np.sort(rng.normal(size=(2, n)) * 10.0 ** rng.uniform(-3, 1, n), axis=0)
    ends[1] = np.where(rng.random(n) < 0.5, ends[0], np.where(rng.random(n) < 0.5, ends[0] + 1e-3, ends[1]))
    ends[:, :20] = 0.0
    ends[0, 20:40], ends[1, 20:40] = -0.3, 0.2
    box = -(10.0 ** rng.uniform(-3, 1, n)), 10.0 ** rng.uniform(-3, 1, n)
    box[0][::7], box[1][::11] = 0.0, 0.0
    block = types.SimpleNamespace(inside=None, outside=None)
    for below, above in ((0.0, 1.0), (0.3, 1.0), (-0.7, 1.0), (1.75, 1.0), (-1.0, 1.0), (0.1, 1.0)):
        a, b = np.full(n, below), np.full(n, above)
        lines = parts["local_lines"].lines_of(("bent", a, b), block, (ends[0], ends[1]), box)
        lo, hi = parts["local_lines"].chords(("bent", a, b), block, (ends[0], ends[1]), box)
        for i in range(n):
            low, high, low0, high0, size, reach = (Fraction(float(part[i])) for part in lines)
            l, u, z, top = (Fraction(float(v[i])) for v in (*box, *ends))
            for z0 in {z, (z + top) / 2, top, min(max(Fraction(0), z), top)}:
                for d in {l, u, l / 2, u / 3, min(max(-z0, l), u)}:
                    phi, h = [(Fraction(below) if t < 0 else Fraction(above)) * t for t in (z0, z0 + d)], [max(t, Fraction(0)) for t in (z0, z0 + d)]
                    g = phi[1] - phi[0]
                    if not (low * d + low0 <= g <= high * d + high0 and abs(g) <= size and abs(d) <= reach):
                        return False
                    if d and not Fraction(float(lo[i])) <= (h[1] - h[0]) / d <= Fraction(float(hi[i])):
                        return False
    return True


def boxes_hold(parts) -> bool:
    """Increments of sampled runs, the corners of the ball among them, lie in the own boxes; rows over the logits are below what happens."""
    for name in ("relu", "leaky", "tanh", "residual", "pool", "maxmin", "groupsort", "layer_norm", "prelu", "extremes"):
        graph = folded(net(name))
        network = parts["local_values"].Network(graph, graph.output)
        size, rng = network.reading.input_size, np.random.default_rng(1)
        x0 = rng.normal(size=(1, size))
        (low, high), _ = network.at(x0)
        for norm, radius in product(("l2", "linf", "l1"), (0.05, 0.7)):
            lower, upper, ball = own_boxes(parts, network, norm, radius, (low[0], high[0]))
            d = rng.normal(size=(400, size))
            d[:200] = np.sign(d[:200]) if norm == "linf" else d[:200]
            d[200:300] = np.where(np.arange(size) == np.abs(d[200:300]).argmax(axis=1)[:, None], d[200:300], 0.0)
            order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
            d *= radius / np.linalg.norm(d, ord=order, axis=1)[:, None]
            truth = values(graph, network.reading, np.concatenate([x0, x0 + d]).reshape(-1, *graph.input_shape))
            moved = np.concatenate([truth[block.before][1:] - truth[block.before][:1] for _, block in network.blocks], axis=1)
            if not ((moved >= lower - 1e-12).all() and (moved <= upper + 1e-12).all()):
                return False
            k = network.reading.size(network.reading.output)
            for label in range(k):
                bound = ball.lower(network.pair_rows(label, np.arange(k)), k)
                gaps = truth[graph.output][:, [label]] - truth[graph.output]
                if not (gaps[1:] - gaps[:1] >= bound - 1e-12).all():
                    return False
    return True


def errors_cover_cancellation(parts) -> bool:
    """All neurons on: the second pre-activations and the logits are affine, and their least change on the cube is -r |exact row|_1. Rows cancel, so only the error
    vector makes the bound true."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph = folded(mlp(rng, (2, 3, 2, 2), 10.0 ** rng.uniform(-2, 6), cancel=seed % 2 == 1, bias=0.0))
        nodes = [node for node in graph.nodes if node.op == "dense"]
        first, second, last = (np.asarray(node.float64("weight")) for node in nodes)
        network = parts["local_values"].Network(graph, graph.output)
        z = (np.full(network.entries, 1e30), np.full(network.entries, 1e30))
        _, _, ball = own_boxes(parts, network, "linf", 1.0, z)
        rows = [[sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column)) for column in first.T] for row in second]
        found = list(ball.lower(network.into[1], 2))
        ends = [[Fraction(float(a)) - Fraction(float(b)) for a, b in zip(last[label], last[1 - label])] for label in range(2)]
        rows += [[sum(c * rows[i][j] for i, c in enumerate(end)) for j in range(2)] for end in ends]
        found += [ball.lower(network.pair_rows(label, np.array([1 - label])), 1)[0] for label in range(2)]
        if not all(Fraction(float(bound)) <= -sum(abs(v) for v in row) for bound, row in zip(found, rows)):
            return False
    return True


QUESTIONS = (encloses_exactly, lines_and_chords_hold, boxes_hold, errors_cover_cancellation)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_real_checker(question):
    assert question(checker())


MUTANTS = {
    "error vector dropped": ([("local_boxes", "up(e * GROW) + FLOOR)) - reach", "FLOOR)) - reach")], errors_cover_cancellation),
    "error of the products dropped": ([("local_boxes", "e = e + np.abs(turned) @ self.errors[i]", "e = e + 0.0")], errors_cover_cancellation),
    "dual norm": ([("local_boxes", "dual_norm(self.norm))", "self.norm)")], boxes_hold),
    "intercept forgotten": ([("local_boxes", "c = c + (above @ lines.low0 + below @ lines.high0)", "c = c + above @ lines.low0")], boxes_hold),
    "lines swapped": ([("local_boxes", "above * lines.low + below * lines.high", "above * lines.high + below * lines.low")], boxes_hold),
    "wrong side of z0": ([("local_lines", "np.clip(down(z[0] / -l), 0.0, 1.0)", "np.clip(1.0 - down(z[0] / -l), 0.0, 1.0)")], lines_and_chords_hold),
    "sign of z0": ([("local_lines", "np.where(z[0] > 0, np.clip(down(z[0] / -l)", "np.where(z[0] != 0, np.clip(down(np.abs(z[0]) / -l)")], lines_and_chords_hold),
    "chord at the other end of z0": ([("local_lines", "np.clip(down(z[0] / -l)", "np.clip(down(z[1] / -l)")], lines_and_chords_hold),
    "upper chord at the other end": (
        [("local_lines", "np.where(z[1] < 0, np.clip(up(1.0 + up(z[1] / u))", "np.where(z[0] < 0, np.clip(up(1.0 + up(z[0] / u))")],
        lines_and_chords_hold,
    ),
    "uncertainty of z0 in the lines": ([("local_lines", "for t in z]", "for t in (z[0], z[0])]")], lines_and_chords_hold),
    "bias forgotten": ([("local_values", "mid = total.mid + shift[:, None]", "mid = total.mid")], encloses_exactly),
    "roundings of the bias": ([("local_values", "up(up(total.radius() + slack[:, None]) + U * np.abs(mid))", "0.0 * mid")], encloses_exactly),
    "margin rounded up": ([("local_values", "down(down(mid[label] - mid) - up(rad[label] + rad))", "mid[label] - mid")], encloses_exactly),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_versions_are_caught(mutant):
    changes, question = MUTANTS[mutant]
    assert not question(checker(changes))
