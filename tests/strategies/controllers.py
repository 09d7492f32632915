"""Small controllers, sets of states, and the attack on a control model: how far can the control leave what an abstraction says about it?"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from certify.core.graph import Graph, GraphBuilder
from reach.controllers.model import ControlModel
from reach.sets.polyzonotope import PolynomialZonotope
from reach.sets.ring import ring


def exact_control(graph: Graph, x: list[Fraction]) -> list[Fraction]:
    """The value of a network of dense, relu and abs nodes in rational arithmetic."""
    values = {}
    for node in graph.nodes:
        if node.op == "input":
            values[node.name] = x
        elif node.op == "dense":
            source, bias = values[node.inputs[0]], node.arrays["bias"]
            values[node.name] = [sum((Fraction(float(w)) * v for w, v in zip(row, source)), Fraction(float(c))) for row, c in zip(node.arrays["weight"], bias)]
        else:
            values[node.name] = [max(v, Fraction(0)) if node.attrs["kind"] == "relu" else abs(v) for v in values[node.inputs[0]]]
    return values[graph.output]


class Bound:
    """The least that an abstraction needs of a network: its graph."""

    def __init__(self, graph: Graph):
        self.graph, self.hypotheses = graph, ()


def network(rng: np.random.Generator, sizes, kind: str = "tanh", scale: float = 1.0) -> Graph:
    """Dense layers with an activation between them."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (sizes[0],)})
    for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
        x = b.add("dense", [x], arrays={"weight": rng.normal(size=(m, n)) * scale / np.sqrt(n), "bias": rng.normal(size=m) * 0.3})
        if k < len(sizes) - 2:
            x = b.add("activation", [x], {"kind": kind})
    return b.build(x)


def state_set(rng: np.random.Generator, n: int, order: int = 3, free: int | None = None, symbols: int = 3, width: float = 0.4, spread: float = 0.02) -> PolynomialZonotope:
    """A curved set: one variable per free coordinate, small higher terms, generators shared by all; coordinates beyond `free` are points."""
    free = n if free is None else free
    r = ring(free, order)
    c, e = np.zeros((n, r.size)), np.zeros((n, symbols))
    c[:, 0] = rng.normal(size=n)
    if order:
        c[:free] += rng.normal(size=(free, r.size)) * 0.05 * width
        for i in range(free):
            c[i, r.variable(i)] = width * rng.uniform(0.3, 1.0)
    e[:free] = rng.normal(size=(free, symbols)) * spread
    return PolynomialZonotope(r, c, e)


def escape(model: ControlModel, state: PolynomialZonotope, control: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, count: int = 600, rounds: int = 8) -> float:
    """The largest |u(x) - P(s) - E_v eps| - box found over s and eps, by corners, random points and random ascent from the worst; rounding of the check taken off."""
    f, m = state.ring.variables, state.generators.shape[1]
    z = rng.uniform(-1, 1, (count, f + m))
    z[: count // 3] = np.sign(z[: count // 3])

    def excess(z: np.ndarray) -> np.ndarray:
        s, eps = z[:, :f], z[:, f:]
        powers = np.prod(s[:, None, :] ** state.ring.exponents[None], axis=2) if f else np.ones((len(s), 1))
        x = powers @ state.coefficients.T + eps @ state.generators.T
        u, said = control(x), powers @ model.coefficients.T + eps @ model.generators.T
        noise = 1e-12 * (1 + np.abs(u) + np.abs(powers) @ np.abs(model.coefficients).T + np.abs(x).max(axis=1, keepdims=True))
        return (np.abs(u - said) - model.box - noise).max(axis=1)

    values = excess(z)
    step = 0.3
    for _ in range(rounds):
        keep = np.argsort(-values)[: count // 4]
        near = np.clip(np.repeat(z[keep], 3, axis=0) + rng.normal(size=(3 * len(keep), f + m)) * step, -1, 1)
        z, values = np.concatenate([z[keep], near]), np.concatenate([values[keep], excess(near)])
        step *= 0.6
    return float(values.max())
