"""Closed loops with known solutions, for the tests of verdicts."""

from __future__ import annotations

import numpy as np

import reach
from certify.core.graph import Graph, GraphBuilder


def linear(weight, bias=None) -> Graph:
    """The network u = W x + b."""
    weight = np.atleast_2d(np.asarray(weight, np.float64))
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (weight.shape[1],)})
    bias = np.zeros(len(weight)) if bias is None else np.asarray(bias, np.float64)
    return b.build(b.add("dense", [x], arrays={"weight": weight, "bias": bias}))


def halving() -> reach.ClosedLoop:
    """x' = u, u = -x/2 at samples, period 1: x(t) = x0 2^-k (1 - (t - k)/2), piecewise linear and exact in Taylor arithmetic."""
    return reach.ClosedLoop(reach.ContinuousSystem(["x"], ["u"], ["u"]), linear([[-0.5]]), 1.0)


def moving(period: float = 1.0, w: tuple[float, float] | None = None) -> reach.ClosedLoop:
    """x' = 1 (+ w), y' = 0: the motion (x0 + t, y0)."""
    plant = reach.ContinuousSystem(["x", "y"], ["u"], ["1 + w" if w else "1", "0"], {"w": w} if w else None)
    return reach.ClosedLoop(plant, linear([[0.0, 0.0]]), period)


def rotation(period: float = 0.5) -> reach.ClosedLoop:
    """The harmonic oscillator x' = y, y' = -x."""
    return reach.ClosedLoop(reach.ContinuousSystem(["x", "y"], ["u"], ["y", "-x"]), linear([[0.0, 0.0]]), period)


def turning() -> reach.ClosedLoop:
    """The discrete rotation by the angle with cosine 3/5 and sine 4/5, exactly."""
    return reach.ClosedLoop(reach.DiscreteSystem(["x", "y"], ["u"], ["3/5*x - 4/5*y", "4/5*x + 3/5*y"]), linear([[0.0, 0.0]]), 1.0)


def counting() -> reach.ClosedLoop:
    """x+ = x + 1/10, exactly."""
    return reach.ClosedLoop(reach.DiscreteSystem(["x"], ["u"], ["x + 0.1"]), linear([[0.0]]), 1.0)
