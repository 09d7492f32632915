"""Random closed loops against simulation: does any motion leave a proved set, at a sample or in between?

    python tests/soundness/reach_sweep.py [--cases 200] [--seed 0] [--trajectories 200]

Plants are random formulas (products, powers, sin, cos, exp, tanh, quotients away from zero) in one to four states with up to one disturbance, continuous or
discrete; controllers are random dense networks with skips, any activation, processing with decimals; boxes have zero to large width. One line per
escape, and a summary. Exit code 1 if anything escaped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy starts its pool
    os.environ.setdefault(_name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

import reach  # noqa: E402
from certify.core.errors import CertifyError  # noqa: E402
from certify.core.graph import Graph, GraphBuilder  # noqa: E402

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "elu", "softplus", "hardtanh", "abs", "softsign")


def term(rng: np.random.Generator, names: list[str]) -> str:
    """One random summand."""
    a, b = rng.choice(names, 2)
    c = f"{rng.uniform(-1.5, 1.5):.3f}"
    shape = rng.integers(0, 9)
    forms = (f"{a}", f"{a}*{b}", f"{a}**2", f"sin({a})", f"cos({b})*{a}", f"tanh({a} + {b})", f"{a}/(2 + {b}**2)", f"exp(-{a}**2)", f"{a}**3")
    return f"{c}*{forms[shape]}"


def plant_of(rng: np.random.Generator):
    """A random plant and its initial box."""
    n, m = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    states, inputs = [f"x{i}" for i in range(n)], [f"u{i}" for i in range(m)]
    disturbed = rng.random() < 0.4
    names = states + inputs + (["w"] if disturbed else [])
    rates = [" + ".join([*(term(rng, names) for _ in range(rng.integers(1, 4))), f"-{rng.uniform(0, 1):.2f}*x{i}"]) for i in range(n)]
    width = 10 ** rng.uniform(-3, 0)
    disturbances = {"w": (round(-0.3 * rng.random(), 3), round(0.3 * rng.random(), 3))} if disturbed else None
    kind = reach.DiscreteSystem if rng.random() < 0.25 else reach.ContinuousSystem
    centre = rng.uniform(-1, 1, n)
    half = width * rng.choice([0.0, 0.3, 1e-6, 1e-3], n, p=[0.25, 0.45, 0.1, 0.2])
    return kind(states, inputs, rates, disturbances), reach.Box(np.round(centre - half, 4), np.round(centre + half, 4))


def network_of(rng: np.random.Generator, inputs: int, outputs: int) -> Graph:
    """A random dense network, sometimes with a skip."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (inputs,)})
    width = int(rng.integers(3, 16))
    h, size = x, inputs
    for _ in range(int(rng.integers(1, 4))):
        weight = rng.standard_normal((width, size)) * rng.choice([0.5, 1.0, 2.0]) / np.sqrt(size)
        z = b.add("activation", [b.add("dense", [h], arrays={"weight": weight, "bias": 0.5 * rng.standard_normal(width)})], {"kind": str(rng.choice(ACTIVATIONS))})
        h = b.add(str(rng.choice(["add", "sub", "maximum"])), [h, z]) if size == width and rng.random() < 0.4 else z
        size = width
    return b.build(b.add("dense", [h], arrays={"weight": rng.standard_normal((outputs, size)) / np.sqrt(size)}))


def case(seed: int, trajectories: int) -> tuple[str, list[str]]:
    """(how it ended, the escapes)."""
    from strategies.loops import escapes

    rng = np.random.default_rng(seed)
    plant, box = plant_of(rng)
    controller = reach.Controller(
        network_of(rng, len(plant.states), len(plant.inputs)),
        inputs=[f"{rng.uniform(-1, 1):.2f}*{s} + 0.1" for s in plant.states] if rng.random() < 0.3 else None,
        offset=round(rng.uniform(-1, 1), 2),
        scale=round(rng.uniform(-2, 2), 2),
        clamp=(-1, 0.7) if rng.random() < 0.2 else None,
    )
    loop = reach.ClosedLoop(plant, controller, round(10 ** rng.uniform(-2, -0.3), 3))
    method = reach.Bernstein() if rng.random() < 0.2 else reach.Layerwise(int(rng.integers(1, 6)))
    order = None if rng.random() < 0.5 else int(rng.integers(1, 7))
    steps = int(rng.integers(1, 8))
    how = "proved"
    try:
        pipe = reach.solve(loop, box, steps * loop.period, method, reach.Picard(order=order, columns=int(rng.choice([30, 200]))))
    except reach.RemainderError as error:
        pipe, how = error.flowpipe, "diverged"
    return how, escapes(pipe, trajectories, seed) if len(pipe) else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trajectories", type=int, default=200)
    arguments = parser.parse_args()
    began, counts, bad = time.process_time(), {"proved": 0, "diverged": 0, "refused": 0}, 0
    for i in range(arguments.cases):
        seed = arguments.seed * 1_000_000 + i
        try:
            how, found = case(seed, arguments.trajectories)
        except CertifyError as error:
            how, found = "refused", []
            sys.stdout.write(f"seed {seed}: {type(error).__name__} {str(error).splitlines()[0]}\n")
        counts[how] += 1
        bad += bool(found)
        for text in found[:2]:
            sys.stdout.write(f"ESCAPE seed {seed}: {text}\n")
    sys.stdout.write(f"{arguments.cases} loops {counts}, {bad} with an escape, {time.process_time() - began:.0f} CPU seconds\n")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
