"""A real flowpipe and its certificate against ball arithmetic: fits, the network, the Picard image, and the disturbance-free motion at sampled points."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import flowpipes as small

from reach.proof.content import Content, read
from reach.proof.monomials import monomials
from reach.proof.writer import save

flint = pytest.importorskip("flint")
arb = flint.arb


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> Content:
    flint.ctx.prec = 160
    return read(save(small.flowpipe("tanh"), tmp_path_factory.mktemp("b") / "c"), (2, 1, 0), True)


def polynomial(t, row: np.ndarray, x: list):
    """The row's value at x in balls."""
    total = arb(0)
    for e, value in zip(t.exponents.tolist(), row.tolist()):
        if value:
            term = arb(value)
            for k, v in zip(e, x):
                term *= v**k
            total += term
    return total


def network(graph, x: list) -> dict[str, list]:
    """Every tensor of a dense network in balls."""
    values = {graph.input_node.name: x}
    for node in graph.nodes:
        if node.op == "dense":
            w, b = node.float64("weight"), node.float64("bias")
            z = values[node.inputs[0]]
            values[node.name] = [sum((arb(float(v)) * y for v, y in zip(row, z)), arb(float(b[i]))) for i, row in enumerate(w)]
        elif node.op == "activation":
            values[node.name] = [v.tanh() for v in values[node.inputs[0]]]
    return values


def at_most(value, bound: float) -> bool:
    """|value| <= bound, for a ball that is small enough to tell."""
    assert value.rad() < 1e-25
    return not bool(abs(value) > arb(float(bound)))


def test_fits_and_control_models(content):
    """For sampled states of every stored set: each neuron's fit is within its error, and the network's control is in the stored model."""
    graph, rng = small.flowpipe("tanh").loop.controller.graph, np.random.default_rng(3)
    t = monomials(content.variables, content.steps[0].order)
    for step in content.steps:
        for _ in range(6):
            s = [arb(float(v)) for v in rng.choice([-1.0, 1.0, 0.3, -0.7], content.variables)]
            eps = [arb(float(v)) for v in rng.choice([-1.0, 1.0, 0.5], step.generators.shape[1])]
            x = [polynomial(t, row, s) + sum((arb(float(g)) * e for g, e in zip(column, eps)), arb(0)) for row, column in zip(step.coefficients, step.generators)]
            values = network(graph, x)
            for name, fit in step.layers.items():
                z = values[graph[name].inputs[0]]
                for i, v in enumerate(z):
                    tau = (v - arb(float(fit.centre[i]))) / arb(float(fit.radius[i]))
                    q = sum((arb(float(c)) * tau**j for j, c in enumerate(fit.coefficients[i])), arb(0))
                    assert at_most(q - v.tanh(), fit.error[i]), (name, i)
                    slope = 1 / v.cosh() ** 2
                    assert not bool(slope < arb(float(fit.slope_lower[i]))) and not bool(slope > arb(float(fit.slope_upper[i])))
            u = values[graph.output][0]
            model = polynomial(t, step.control[0], s) + sum((arb(float(g)) * e for g, e in zip(step.control_generators[0], eps)), arb(0))
            assert at_most(u - model, step.control_box[0])


def test_picard_images(content):
    """The Picard operator maps sampled members of P +- I into P +- I: the integral is taken of polynomials in tau, exactly."""
    t = monomials(content.variables + 1, content.steps[0].order, True)
    space = monomials(content.variables, content.steps[0].order)
    rng = np.random.default_rng(4)
    for step in content.steps:
        for piece in step.pieces:
            s = [arb(float(v)) for v in rng.uniform(-1, 1, content.variables)]
            v = polynomial(space, step.control[0], s)
            rows = []
            for row, r in zip(piece.motion, piece.picard):  # a member: P(s, .) shifted by a constant inside the remainder
                c = [arb(0)] * (t.order + 1)
                for e, value in zip(t.exponents.tolist(), row.tolist()):
                    term = arb(value)
                    for k, y in zip(e[:-1], s):
                        term *= y**k
                    c[e[-1]] = c[e[-1]] + term
                rows.append((flint.arb_poly(c), flint.arb_poly([c[0] + arb(float(r)) * arb(float(rng.uniform(-1, 1))), *c[1:]])))
            (p1, x1), (p2, x2) = rows
            rates = x2, (1 - x1 * x1) * x2 * (arb(3) / 10) - x1 + v
            for p, rate, bound in zip((p1, p2), rates, piece.picard):
                image = flint.arb_poly([p(arb(0))]) + rate.integral() * arb(piece.length)
                for tau in (0.1, 0.5, 0.83, 1.0):
                    assert at_most(image(arb(tau)) - p(arb(tau)), bound)


def test_motions_stay_in_the_tubes(content):
    """Taylor integration in balls of motions from sampled corners: they stay in P +- I +- bound, and end in the next stored set."""
    pipe = small.flowpipe("tanh")
    graph, states = pipe.loop.controller.graph, content.steps[0]
    t, space = monomials(content.variables + 1, states.order, True), monomials(content.variables, states.order)
    for corner in ([1.0, 1.0], [-1.0, 1.0], [0.2, -1.0]):
        s = [arb(v) for v in corner]
        x = [polynomial(space, row, s) for row in states.coefficients]
        for step in content.steps:
            u = network(graph, x)[graph.output][0]
            for piece in step.pieces:
                for part in range(8):
                    x = taylor_step(x, u, arb(piece.length) / 8)
                    for i in (0, 1):
                        model = polynomial(t, piece.motion[i], [*s, arb((part + 1) / 8)])
                        assert at_most(x[i] - model, (piece.picard[i] + piece.bound[i]) * (1 + 1e-12) + 1e-20)


def taylor_step(x: list, u, h) -> list:
    """One step of order 14 of the plant x1' = x2, x2' = 0.3 (1 - x1^2) x2 - x1 + u; the remainder (below 1e-20 for these steps) is in the test's allowance."""
    flint.ctx.cap = 16
    a, b = [x[0]], [x[1]]
    for k in range(14):
        sa, sb = flint.arb_series(a, k + 1), flint.arb_series(b, k + 1)
        rate = (1 - sa * sa) * sb * (arb(3) / 10) - sa + u
        a.append(b[k] / (k + 1))
        b.append(rate[k] / (k + 1))
    return [sum((c * h**k for k, c in enumerate(row)), arb(0)) for row in (a, b)]
