"""The matrix inequality near single inputs against fractions and sampled runs; radii beyond an adversarial point; broken versions of both.

Modules, networks and boxes come from `test_check_local_truth`, the file beside this one.
"""

from __future__ import annotations

import importlib.util
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from strategies.increments import values
from strategies.semidefinite import folded, net

from certify.constants.regional.radii import regional_radii
from certify.core.errors import CertificateError
from certify.proof.ends import Ending

_SPEC = importlib.util.spec_from_file_location("check_local_truth", Path(__file__).with_name("test_check_local_truth.py"))
truth = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(truth)
checker, mlp, own_boxes = truth.checker, truth.mlp, truth.own_boxes


def recorded(parts, rows, *arguments):
    """(mid, rad) of the matrix that `holds` hands to the Cholesky criterion."""
    module, seen = parts["local_rows"], []
    kept, module.verified_pd = module.verified_pd, lambda mid, rad: seen.append((mid, rad)) or True
    try:
        assert rows.holds(*arguments)
    finally:
        module.verified_pd = kept
    return seen[0]


def exact_matrix(network, graph, slopes, z0, margin, theta, rho):
    """M of two hidden layers in fractions, from its definition: the sum of theta sym(left, right)."""
    inputs, (lo, hi), size = network.reading.input_size, slopes, network.entries
    known = [bool(a == b and a in (0, 1)) for a, b in zip(lo, hi)]
    width = 1 + inputs + size - sum(known)
    unit = [[Fraction(int(i == j)) for j in range(width)] for i in range(width)]

    def plus(*terms):
        return [sum((Fraction(c) * v[i] for c, v in terms), Fraction(0)) for i in range(width)]

    total = [[Fraction(int(i == j and 0 < i <= inputs)) for j in range(width)] for i in range(width)]

    def sym(weight, left, right):
        for i in range(width):
            for j in range(width):
                total[i][j] += weight * (left[i] * right[j] + left[j] * right[i]) / 2

    state, entry, own, weights = unit[1 : 1 + inputs], 0, 1 + inputs, [Fraction(float(t)) for t in theta]
    for (_, block), kind in zip(network.blocks, network.kinds):
        after = []
        for row in np.asarray(graph[block.before].float64("weight")):
            dz = plus(*((float(c), v) for c, v in zip(row, state)))
            i = len(after)
            a, b = (Fraction(float(kind[1][i])), Fraction(float(kind[2][i]))) if kind[0] == "bent" else (Fraction(0), Fraction(1))
            if known[entry]:
                after.append(plus((a + (b - a) * Fraction(float(lo[entry])), dz)))
            else:
                q, e = unit[own], unit[0]
                after.append(plus((a, dz), (b - a, q)))
                t, p, v, x = (weights[1 + k * size + entry] for k in range(4))
                sym(t, plus((1, q), (-Fraction(float(lo[entry])), dz)), plus((1, q), (-Fraction(float(hi[entry])), dz)))
                if kind[0] == "bent":
                    value, excess = plus((1, q), (max(z0[entry], 0), e)), plus((1, q), (-1, dz), (max(-z0[entry], 0), e))
                    sym(p, value, excess)
                    sym(-v, e, value)
                    sym(-x, e, excess)
                own += 1
            entry += 1
        state = after
    last = np.asarray(graph[graph.output].float64("weight"))
    y = plus(*((Fraction(float(c)) - Fraction(float(d)), v) for c, d, v in zip(last[0], last[1], state)), (Fraction(margin), unit[0]))
    sym(weights[0], unit[0], y)
    total[0][0] -= Fraction(rho)
    return total


def matrices_enclose(parts) -> bool:
    """The matrix against fractions, with z0 at both ends and inside its enclosure."""
    for seed in range(24):
        rng = np.random.default_rng(seed)
        kind, attrs = [("relu", {}), ("leaky_relu", {"alpha": -0.3}), ("abs", {}), ("leaky_relu", {"alpha": 0.1})][seed % 4]
        graph = folded(mlp(rng, (2, 3, 2, 2), 10.0 ** rng.uniform(-1, 4), kind, cancel=seed % 8 > 3, **attrs))
        network = parts["local_values"].Network(graph, graph.output)
        z, _ = network.at(rng.normal(size=(1, 2)))
        spread = rng.choice([0.0, 0.0, 1e-3, 0.3])
        z = z[0][0] - spread, z[1][0] + spread
        size = 10.0 ** rng.uniform(-1, 1) * np.abs(z[0]).max()
        box = -size * rng.uniform(0.1, 1, network.entries), size * rng.uniform(0.1, 1, network.entries)
        rows = parts["local_rows"].Rows(network, z, box)
        theta = 10.0 ** rng.uniform(-3, 3, 1 + 4 * network.groups) * (rng.random(1 + 4 * network.groups) < 0.8)
        margin, rho = float(rng.uniform(0.1, 2)), float(rng.uniform(0.1, 2))
        mid, rad = recorded(parts, rows, 0, 1, margin, theta, rho)
        slopes = [np.concatenate([pair[k] for pair in rows.slopes]) for k in range(2)]
        if all(a == b for a, b in zip(slopes[0][:3], slopes[1][:3])):  # then the second layer may not move at all, and is left out
            continue
        for share in (Fraction(0), Fraction(1, 3), Fraction(1)):
            z0 = [(1 - share) * Fraction(float(a)) + share * Fraction(float(b)) for a, b in zip(*z)]
            for i, exact in enumerate(exact_matrix(network, graph, slopes, z0, margin, theta, rho)):
                for j, value in enumerate(exact):
                    if not abs(value - Fraction(float(mid[i, j]))) <= Fraction(float(rad[i, j])):
                        return False
        if spread == 0 and not (rad <= 1e-10 * (1 + np.abs(mid).max())).all():  # and it is no wider than rounding asks
            return False
    return True


def forms_hold(parts) -> bool:
    """w'M w <= |dx|^2 - rho + theta_0 (m + Y v) for what really happens on the ball, for every kind of block and any theta >= 0."""
    for name in ("relu", "leaky", "tanh", "mish", "residual", "concat", "convolution", "circular", "maxmin", "groupsort", "softmax", "layer_norm", "unfolded", "prelu"):
        graph, rng = folded(net(name)), np.random.default_rng(2)
        network = parts["local_values"].Network(graph, graph.output)
        x0, size = rng.normal(size=(1, network.reading.input_size)), network.reading.input_size
        (low, high), _ = network.at(x0)
        for radius in (0.1, 0.6):
            lower, upper, _ = own_boxes(parts, network, "l2", radius, (low[0], high[0]))
            rows = parts["local_rows"].Rows(network, (low[0], high[0]), (lower.astype(np.float64), upper.astype(np.float64)))
            theta = 10.0 ** rng.uniform(-2, 2, 1 + 4 * network.groups)
            mid, rad = recorded(parts, rows, 0, 1, 0.5, theta, radius**2)
            d = rng.normal(size=(200, size))
            d *= (radius * rng.uniform(0.3, 1, 200) / np.linalg.norm(d, axis=1))[:, None]
            happened = values(graph, network.reading, np.concatenate([x0, x0 + d]).reshape(-1, *graph.input_shape))
            w = [np.ones((200, 1)), d]
            for (tensor, block), kind, (_, alive) in zip(network.blocks, network.kinds, rows.live):
                q = np.maximum(happened[block.before], 0.0) if kind[0] == "bent" else happened[tensor]
                w.append((q[1:] - q[:1])[:, alive])
            w = np.concatenate(w, axis=1)
            if w.shape[1] != len(mid):
                return False
            out = happened[graph.output]
            change = (out[1:, 0] - out[1:, 1]) - (out[0, 0] - out[0, 1])
            right = (d * d).sum(axis=1) - radius**2 + theta[0] * (0.5 + change)
            left, slack = np.einsum("ni,ij,nj->n", w, mid, w), np.einsum("ni,ij,nj->n", np.abs(w), rad, np.abs(w))
            if not (left - slack <= right + 1e-9 * theta.max()).all():
                return False
    return True


def rho_is_above(parts) -> bool:
    """The radius squared is handed on rounded up."""
    seen = []
    module = parts["check_local"]
    one = object.__new__(module._Input)
    one.network = one.z = one.box = None
    one.label, one.where, one.theta = 0, "", np.zeros((2, 5), np.float32)
    fake = types.SimpleNamespace(holds=lambda label, j, margin, theta, rho: seen.append(rho) or True)
    kept, module.Rows = module.Rows, lambda *_: fake
    try:
        for radius in np.random.default_rng(0).uniform(0.1, 3, size=50):
            one.radius = float(radius)
            one._by_matrices(np.zeros(2), np.array([1]))
            if not Fraction(seen[-1]) >= Fraction(one.radius) ** 2:
                return False
    finally:
        module.Rows = kept
    return True


def never_beyond_an_adversarial_point(parts, count=200) -> bool:
    """Own boxes of a ball that holds a misclassified point, every mode, many multipliers: nothing may be confirmed."""
    tried = 0
    for seed in range(4 * count):
        rng = np.random.default_rng(seed)
        kind, attrs = [("relu", {}), ("leaky_relu", {"alpha": -0.3}), ("abs", {}), ("tanh", {})][seed % 4]
        graph = folded(mlp(rng, (2, int(rng.integers(1, 4)), *([2] * (seed % 2)), 2), scale=1.5, kind=kind, bias=0.5, **attrs))
        x0 = rng.normal(size=(1, 2)).astype(np.float32)
        label = int(graph(x0.astype(np.float64))[0].argmax())
        steps = rng.normal(size=(200, 2)) * 10.0 ** rng.uniform(-2, 0.5, size=(200, 1))
        out = graph(x0 + steps)
        norm = ("l2", "l2", "linf", "l1")[seed % 4 if seed % 3 else 0]
        sizes = np.linalg.norm(steps, ord={"l2": 2, "linf": np.inf, "l1": 1}[norm], axis=1)
        wrong = out[:, label] < out[:, 1 - label] - 1e-9
        if not wrong.any():
            continue
        radius = float(sizes[wrong].min()) * 1.0001
        network = parts["local_values"].Network(graph, graph.output)
        z, _ = network.at(x0.astype(np.float64))
        lower, upper, _ = own_boxes(parts, network, norm, radius, (z[0][0], z[1][0]))
        node = graph[graph.output]
        end = Ending(node, 2, node.name, None, None, None)
        tried += 1
        best = None
        if norm == "l2" and tried % 20 == 0:  # what the prover finds for the radius that it can prove
            margin = np.abs(graph(x0.astype(np.float64)) @ np.array([[1.0], [-1.0]])) * (1 - 1e-12) * np.ones((1, 2))
            best = regional_radii(graph, x0, np.array([label]), margin, np.zeros(1), np.array([radius])).theta
        for attempt in range(5):
            mode = np.zeros((1, 2), np.int8)
            mode[0, 1 - label] = attempt > 0 and norm == "l2"
            shape = (1, 2, 1 + 4 * network.groups)
            theta = best if best is not None and attempt == 1 else 10.0 ** rng.uniform(-3, 2, size=shape) * (rng.random(shape) < rng.choice([0.5, 1.0]))
            shrink = np.float32(1 if attempt < 4 else 0.5)
            arrays = {"inputs": x0, "labels": np.array([label]), "radii": np.array([radius]), "local_mode": mode, "local_theta": theta.astype(np.float32)}
            arrays |= {"local_lower": lower[None] * shrink, "local_upper": upper[None] * shrink}
            try:
                parts["check_local"].proves(graph, norm, end, arrays, np.array([0]))
            except CertificateError:
                continue
            return False
        if tried == count:
            return True
    raise AssertionError(f"only {tried} networks had an adversarial point")


QUESTIONS = (matrices_enclose, forms_hold, rho_is_above, never_beyond_an_adversarial_point)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_real_checker(question):
    assert question(checker())


MUTANTS = {
    "uncertainty of z0 in the matrix": ([("local_rows", "off = up(np.maximum(z0[1] - middle, middle - z0[0]))", "off = np.zeros_like(middle)")], matrices_enclose),
    "roundings of the cross terms": ([("local_rows", "term = scaled_rows(z, cross, slack)", "term = MidRad(scaled_rows(z, cross, slack).mid)")], matrices_enclose),
    "roundings of dz": ([("local_rows", "self.dz.append(total)", "self.dz.append(MidRad(total.mid))")], matrices_enclose),
    "p0 and n0 exchanged": ([("local_rows", "(x - p * positive))[None]", "(x - p * negative))[None]")], forms_hold),
    "value's constant": ([("local_rows", "corner.add(first, first, pair, -1.0)", "corner.add(first, first, pair, 1.0)")], forms_hold),
    "group constant": ([("local_rows", "squares = -(t[block.inside[inner]]", "squares = -0.5 * (t[block.inside[inner]]")], forms_hold),
    "folded neurons without their path": ([("local_rows", "path = np.where(alive, below, self.fixed[i])", "path = np.where(alive, below, 0.0)")], forms_hold),
    "rho not rounded up": ([("check_local", "float(up(self.radius * self.radius))", "float(self.radius * self.radius)")], rho_is_above),
    "stored box not compared": ([("local_boxes", "inside = (least >= low) & (largest <= high)", "inside = (least == least) & (high == high)")], never_beyond_an_adversarial_point),
    "half the margin's change": ([("check_local", "down(found + lower[classes]) > 0", "down(0.5 * found + lower[classes]) > 0")], never_beyond_an_adversarial_point),
    "matrix not asked": ([("local_rows", "return verified_pd(", "return True or verified_pd(")], never_beyond_an_adversarial_point),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_versions_are_caught(mutant):
    changes, question = MUTANTS[mutant]
    assert not question(checker(changes))
