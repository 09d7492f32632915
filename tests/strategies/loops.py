"""Closed loops for tests: small plants with seeded networks, and the containment check that every flowpipe must pass."""

from __future__ import annotations

import numpy as np

import reach
from certify.core.graph import Graph, GraphBuilder


def network(sizes: list[int], kind: str = "tanh", seed: int = 0, gain: float = 1.0, last: str | None = None) -> Graph:
    """A dense network with Gaussian weights, `gain` times 1 / sqrt(fan-in)."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (sizes[0],)})
    for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
        x = b.add("dense", [x], arrays={"weight": gain * rng.standard_normal((n, m)) / np.sqrt(m), "bias": 0.3 * rng.standard_normal(n)}, name=f"dense {i}")
        act = kind if i < len(sizes) - 2 else last
        if act:
            x = b.add("activation", [x], {"kind": act}, name=f"{act} {i}")
    return b.build(x)


def linear(matrix, bias=None) -> Graph:
    """The network x -> matrix x + bias."""
    w = np.atleast_2d(np.asarray(matrix, np.float64))
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (w.shape[1],)})
    return b.build(b.add("dense", [x], arrays={"weight": w, "bias": np.zeros(len(w)) if bias is None else np.asarray(bias, np.float64)}))


def pendulum(seed: int = 0, kind: str = "tanh", disturbance: dict | None = None) -> reach.ClosedLoop:
    """A damped pendulum with a small random controller."""
    force = " + w" if disturbance else ""
    plant = reach.ContinuousSystem(["angle", "speed"], ["torque"], ["speed", "-sin(angle) - 0.3*speed + torque" + force], disturbance)
    return reach.ClosedLoop(plant, network([2, 10, 10, 1], kind, seed), period=0.2)


def escapes(pipe, count: int = 400, seed: int = 0, times: int = 5, slack: float = 1e-9) -> list[str]:
    """Simulated motions (random, corners; disturbances random inside their box) that leave the sets at samples or the tube in between, as text; [] is what must be.

    `slack` is the error of the simulation, relative to the size of the states.
    """
    from reach.simulation import simulate_dense

    lower, upper = pipe.initial.lower, pipe.initial.upper
    rng = np.random.default_rng(seed)
    start = rng.uniform(lower, upper, (count, len(lower)))
    corner = rng.random(count) < 0.5
    start[corner] = np.where(rng.random((int(corner.sum()), len(lower))) < 0.5, lower, upper)
    motion = simulate_dense(pipe.loop, start, pipe.horizon, times, seed=seed)
    found = []
    for k in range(1, len(pipe) + 1):
        here = pipe.at(k).box()
        allowed = slack * (1 + np.abs(motion[:, k - 1]).max((0, 1)))
        bad = (motion[:, k - 1, -1] < here.lower - allowed) | (motion[:, k - 1, -1] > here.upper + allowed)
        if bad.any():
            found.append(f"sample {k}: {start[np.argmax(bad.any(1))].tolist()}")
        for piece in getattr(pipe.tube(k), "pieces", ()):
            t = np.linspace(0, 1, times + 1) * pipe.loop.period + (k - 1) * pipe.loop.period
            inside = (t >= piece.start - 1e-12) & (t <= piece.end + 1e-12)
            box = piece.box()
            bad = (motion[:, k - 1, inside] < box.lower - allowed) | (motion[:, k - 1, inside] > box.upper + allowed)
            if bad.any():
                found.append(f"tube {k} [{piece.start}, {piece.end}]")
    return found
