"""A small problem file and a small flowpipe for the tests of `reach.app`."""

from __future__ import annotations

import numpy as np

import reach
from certify.core.graph import GraphBuilder

PROBLEM = """\
name = "slow swing"

[plant]
states = ["x", "v"]
inputs = ["u"]
rates = ["v", "-x + u + w"]

[plant.disturbances]
w = [-0.01, 0.01]

[controller]
file = "net.npz"
activations = ["tanh", "linear"]

[initial]
x = [0.9, 1.0]
v = [-0.05, 0.05]

[solve]
period = 0.2
horizon = 0.8
order = 3
substeps = 1

[[specification]]
kind = "stay"
set = { x = [-2, 2] }

[[specification]]
name = "slow"
kind = "avoid"
set = "v >= 1.5"
"""


def swing(time: str = "continuous", steps: int = 4):
    """x'' = -x + u, u = -x/2: proved for a few steps."""
    b = GraphBuilder()
    x = b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[-0.5, 0.0]])})
    if time == "continuous":
        plant = reach.ContinuousSystem(["x", "v"], ["u"], ["v", "u - x"])
    else:
        plant = reach.DiscreteSystem(["x", "v"], ["u"], ["x + 0.2*v", "v + 0.2*(u - x)"])
    loop = reach.ClosedLoop(plant, b.build(x), 0.25 if time == "continuous" else 1)
    return reach.solve(loop, reach.Box([0.9, -0.1], [1.1, 0.1]), steps * loop.period, integrator=reach.Picard(order=3))
