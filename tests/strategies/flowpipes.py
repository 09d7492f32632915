"""Small closed loops with flowpipes that take a moment: what the tests of certificates start from. Each is built once per process."""

from __future__ import annotations

import functools

import numpy as np

import reach
from certify.core.graph import Graph, GraphBuilder


def network(widths: list[int], kind: str, seed: int, scale: float = 0.7) -> Graph:
    """Dense layers with one activation kind between them, weights from a seeded generator."""
    rng, b = np.random.default_rng(seed), GraphBuilder()
    x = b.add("input", attrs={"shape": (widths[0],)})
    for i, (m, n) in enumerate(zip(widths, widths[1:])):
        arrays = {"weight": rng.normal(size=(n, m)) * scale / np.sqrt(m), "bias": rng.normal(size=n) * 0.1}
        x = b.add("dense", [x], arrays=arrays, name=f"layer {i}")
        if i < len(widths) - 2:
            x = b.add("activation", [x], {"kind": kind}, name=f"{kind} {i}")
    return b.build(x)


def oscillator(gain: float = -0.5, period: float = 0.1) -> reach.ClosedLoop:
    """x1' = x2, x2' = -x1 + u with u = gain x2: every set is exact up to rounding."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    u = b.add("dense", [x], arrays={"weight": np.array([[0.0, gain]])}, name="gain")
    return reach.ClosedLoop(reach.ContinuousSystem(["x1", "x2"], ["u"], ["x2", "-x1 + u"]), b.build(u), period)


def van_der_pol(kind: str = "tanh", seed: int = 1) -> reach.ClosedLoop:
    """A nonlinear plant under a network."""
    plant = reach.ContinuousSystem(["x1", "x2"], ["u"], ["x2", "0.3*(1 - x1**2)*x2 - x1 + u"])
    return reach.ClosedLoop(plant, network([2, 6, 5, 1], kind, seed), 0.2)


def disturbed() -> reach.ClosedLoop:
    """Functions, a divisor, a disturbance that may vary in time, a period that is no float."""
    plant = reach.ContinuousSystem(["a", "b"], ["u"], ["sin(b) + w/(2 + cos(a))", "u - 0.4*a*exp(-b)"], {"w": (-0.02, 0.03)})
    return reach.ClosedLoop(plant, reach.Controller(network([1, 5, 1], "relu", 3), inputs=["a - 0.5*b"], scale=0.3, offset=0.1), 0.15)


def updates() -> reach.ClosedLoop:
    """A discrete plant."""
    plant = reach.DiscreteSystem(["h", "v"], ["u"], ["h + 0.1*v + w", "v + 0.1*(u - 0.2*h*v)"], {"w": (-0.001, 0.001)})
    return reach.ClosedLoop(plant, network([2, 6, 1], "sigmoid", 5), 0.1)


@functools.cache
def flowpipe(name: str) -> reach.Flowpipe:
    """One of: oscillator, tanh, relu, disturbed, updates, reduced (few generators), point (no free coordinate), thin (one coordinate of width zero), branches (a network with
    skip connections, products and sorting)."""
    box = reach.Box([0.9, 0.1], [1.0, 0.2])
    small = reach.Picard(columns=20)
    return {
        "oscillator": lambda: reach.solve(oscillator(), box, 0.5),
        "tanh": lambda: reach.solve(van_der_pol(), box, 0.8),
        "relu": lambda: reach.solve(van_der_pol("relu", 2), box, 0.8),
        "disturbed": lambda: reach.solve(disturbed(), box, 0.45),
        "updates": lambda: reach.solve(updates(), box, 0.5),
        "reduced": lambda: reach.solve(van_der_pol(), box, 1.6, integrator=small),
        "point": lambda: reach.solve(van_der_pol(), reach.Box([0.5, 0.1], [0.5, 0.1]), 0.4),
        "thin": lambda: reach.solve(van_der_pol(), reach.Box([0.5, 0.1], [0.6, 0.1]), 0.4),
        "branches": lambda: reach.solve(reach.ClosedLoop(van_der_pol().plant, branching(), 0.2), box, 0.4),
    }[name]()


def branching() -> Graph:
    """Every kind of node that layers can be made of: skips, products, sorting, slices, normalisation, a convolution."""
    rng, b = np.random.default_rng(9), GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    y = b.add("dense", [x], arrays={"weight": rng.normal(size=(4, 2)) * 0.5, "bias": rng.normal(size=4) * 0.1}, name="first")
    s = b.add("group_sort", [y], {"axis": 0, "size": 2, "layout": "consecutive", "descending": True}, name="sorted")
    t = b.add("activation", [y], {"kind": "softplus", "beta": 2.0}, name="soft")
    z = b.add("multiply", [s, t], name="gated")
    z = b.add("add", [z, y], name="skip")
    n = {"mean": rng.normal(size=4), "var": rng.random(4) + 0.5, "weight": rng.normal(size=4), "bias": rng.normal(size=4)}
    z = b.add("batch_norm", [z], {"eps": 1e-5}, n, name="norm")
    image = b.add("reshape", [z], {"shape": (1, 4)}, name="row")
    kernel = {"weight": rng.normal(size=(2, 1, 3)) * 0.5, "bias": rng.normal(size=2) * 0.1}
    c = b.add("conv", [image], {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1, "mode": "zeros"}, kernel, name="conv")
    c = b.add("reshape", [c], {"shape": (8,)}, name="flat")
    part = b.add("slice", [c], {"axis": 0, "start": 0, "stop": 8, "step": 2}, name="every other")
    m = b.add("maximum", [part, z], name="larger")
    both = b.add("concat", [m, t], {"axis": 0}, name="both")
    scaled = b.add("divide", [both], arrays={"value": np.linspace(3.0, 7.0, 8)}, name="scaled")
    return b.build(b.add("dense", [scaled], arrays={"weight": rng.normal(size=(1, 8)) * 0.2}, name="last"))


NAMES = ("oscillator", "tanh", "relu", "disturbed", "updates", "reduced", "point", "thin", "branches")
