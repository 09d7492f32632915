"""Which of the 40 published control systems are decided, how tight is the last set, how long does it take, and does any motion ever escape?

    python tests/benchmarks/bench_reach.py [--names b1_relu ...] [--family ReachNN] [--trajectories 10000] [--repeat 3] [--abstraction auto|bernstein]

One row per system and specification. `seconds` are CPU seconds of one warm `solve` with automatic settings, the median of the repeats; `cold_seconds` the first
call of this process (kernels from the cache on disk, tables, the network's program). `ratio` is the geometric mean over the states of the last box's width over the width of the
hull of all simulated motions: random and corner starts, and the extreme ones of every state pushed further by finite-difference ascent.
"""

from __future__ import annotations

import argparse
import os
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy starts its pool
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from common import cpu_seconds, emit  # noqa: E402
from reach_set import FOLDER, initial_of, load, loop_of, specifications_of  # noqa: E402

import reach  # noqa: E402
from reach.simulation import simulate_dense  # noqa: E402

TIMES = 4  # instants per period at which motions are compared with the tube


def starts(box: reach.Box, count: int, seed: int) -> np.ndarray:
    """Random points of the box, half of them with every coordinate at an end."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(box.lower, box.upper, (count, len(box.lower)))
    half = count // 2
    x[:half] = np.where(rng.random((half, len(box.lower))) < 0.5, box.lower, box.upper)
    return x


def pushed(loop: reach.ClosedLoop, box: reach.Box, horizon: float, x: np.ndarray, ends: np.ndarray, seed: int, rounds: int = 6) -> np.ndarray:
    """Starts whose last states are extreme: from the extreme ones found, steps along finite differences of each state, kept where they go further."""
    rng = np.random.default_rng(seed)
    width = box.upper - box.lower
    found = []
    for i in range(ends.shape[1]):
        for sign in (1.0, -1.0):
            best = x[np.argmax(sign * ends[:, i])]
            step = 0.25
            for _ in range(rounds):
                tries = np.clip(best + step * width * rng.uniform(-1, 1, (24, len(best))), box.lower, box.upper)
                values = sign * reach.simulate(loop, np.vstack([best[None], tries]), horizon, seed=seed)[:, -1, i]
                best = np.vstack([best[None], tries])[int(np.nanargmax(values))]
                step *= 0.5
            found.append(best)
    return np.array(found)


def escapes(pipe: reach.Flowpipe, motion: np.ndarray) -> tuple[int, float]:
    """(motions outside some set at a sample or in between, the largest distance by which, relative to the states' size)."""
    outside = np.zeros(len(motion), bool)
    worst = -np.inf
    scale = 1 + np.abs(motion).max((0, 1, 2))
    for k in range(1, len(pipe) + 1):
        instants = np.linspace(0, 1, TIMES + 1) * pipe.loop.period + (k - 1) * pipe.loop.period
        pairs = [(motion[:, k - 1, -1:], pipe.at(k).box())]
        for piece in pipe.tube(k).pieces:
            inside = (instants >= piece.start - 1e-12) & (instants <= piece.end + 1e-12)
            pairs.append((motion[:, k - 1, inside], piece.box(1)))
        for states, box in pairs:
            gap = np.maximum(box.lower - states, states - box.upper) / scale
            if gap.size:
                worst = max(worst, float(gap.max()))
                outside |= (gap > 1e-9).any((1, 2))  # what the simulation itself may be wrong by
    return int(outside.sum()), worst


def measure(name: str, entry: dict, arguments: argparse.Namespace) -> None:
    loop, box = loop_of(entry), initial_of(entry)
    horizon = entry["steps"] * entry["control_step"]
    options = {"controller": reach.Bernstein()} if arguments.abstraction == "bernstein" else {}
    row = {"name": name, "family": entry["family"], "abstraction": arguments.abstraction}
    try:
        cold, pipe = cpu_seconds(lambda: reach.solve(loop, box, horizon, **options))
        seconds = [cpu_seconds(lambda: reach.solve(loop, box, horizon, **options))[0] for _ in range(arguments.repeat)]
    except reach.RemainderError as error:
        emit("reach", **row | {"status": "UNKNOWN", "reason": str(error).splitlines()[0], "time": error.time, "step": error.step, "diagnosis": error.diagnosis})
        return
    row |= {"seconds": float(np.median(seconds)), "all_seconds": seconds, "cold_seconds": cold}
    began = time.process_time()
    x = starts(box, arguments.trajectories, 1)
    motion = simulate_dense(loop, x, horizon, TIMES, seed=1)
    extreme = pushed(loop, box, horizon, x, motion[:, -1, -1], 2)
    motion = np.concatenate([motion, simulate_dense(loop, extreme, horizon, TIMES, seed=1)])
    row |= {"simulation_seconds": time.process_time() - began}
    count, worst = escapes(pipe, motion)
    hull = motion[:, -1, -1].max(0) - motion[:, -1, -1].min(0)
    last = pipe.at(len(pipe)).box()
    wide = hull > 1e-12
    row |= {
        "trajectories": len(motion),
        "escapes": count,
        "largest_excess": worst,
        "ratio": float(np.exp(np.mean(np.log((last.upper - last.lower)[wide] / hull[wide])))),
        "width": (last.upper - last.lower).tolist(),
        "simulated": hull.tolist(),
        "settings": pipe.settings,
    }
    for identity, spec, end in specifications_of(entry):
        took, (verdict, shorter) = cpu_seconds(lambda spec=spec, end=end: _verdict(pipe, loop, box, spec, end, options))
        emit("reach", **row | {"specification": identity, "status": verdict.status, "reason": verdict.reason, "verify_seconds": took, "horizon": shorter})


def _verdict(pipe, loop, box, spec, end, options):
    if end != len(pipe):
        pipe = reach.solve(loop, box, end * loop.period, **options)
    return pipe.verify(spec), pipe.horizon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="*")
    parser.add_argument("--family", default="")
    parser.add_argument("--trajectories", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--abstraction", choices=["auto", "bernstein"], default="auto")
    arguments = parser.parse_args()
    if not FOLDER.is_dir():
        emit("reach", skipped=f"{FOLDER} is absent; set CERTIFY_DATA")
        return
    for name, entry in load().items():
        chosen = name in arguments.names if arguments.names else arguments.family in ("", entry["family"])
        if chosen and entry["time"] == "continuous":
            measure(name, entry, arguments)


if __name__ == "__main__":
    main()
