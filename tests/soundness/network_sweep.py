"""Random small networks against the truth: `python tests/soundness/network_sweep.py --cases 2000 --seed 0`.

Each case is one random network (every operator of the vocabulary with a constant). In l2, linf and l1 it counts as violations:
- a difference quotient of any tensor, proved from below, above that tensor's running constant (zero slack);
- a Jacobian norm of the output above its constant by more than the error of autograd (2e-7 relative);
- a tensor farther from its exact value (60 digits, a second evaluator) than `forward_with_error` states;
- a lower end above the upper end.
Prints one line; exit code 1 if there was a violation.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402
from strategies.networks import random_graph, sample_inputs  # noqa: E402
from truth.exact import distance, exact_tensors  # noqa: E402
from truth.networks import JACOBIAN_ROOM, jacobians, matrix_norm, pairs  # noqa: E402

from certify.constants.forward import forward_with_error  # noqa: E402
from certify.constants.lower import lower_end  # noqa: E402
from certify.constants.product import walk  # noqa: E402
from certify.core.errors import CertifyError  # noqa: E402
from certify.core.fold import fold_affine  # noqa: E402
from certify.core.rounding import U, norm_down, norm_up  # noqa: E402

NORMS = ("l2", "linf", "l1")


def quotient_violations(values: dict, errors: dict, first: np.ndarray, second: np.ndarray, running: dict, norm: str) -> list[str]:
    """Tensors whose proved quotient over some pair exceeds their running constant; rows 0..n-1 are the first points, n.. the second."""
    n, found = len(first), []
    moved = [norm_up(first[i] - second[i], norm) * (1 + 4 * U) for i in range(n)]
    for name, constant in running.items():
        for i in range(n):
            change = values[name][i] - values[name][n + i]
            if not np.isfinite(change).all():
                continue
            numerator = norm_down(change, norm) * (1 - 4 * U) - (errors[name][i] + errors[name][n + i]) * (1 + 4 * U)
            if numerator * (1 - 4 * U) / moved[i] > constant:
                found.append(f"quotient of {name}: {numerator / moved[i]!r} > {constant!r}")
                break
    return found


def check(seed: int, with_lower: bool, ops: collections.Counter) -> tuple[list[str], int]:
    """Violations and the number of comparisons of one network."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    ops.update(node.op for node in graph.nodes)
    folded = fold_affine(graph).pruned()
    first, second = pairs(rng, graph.input_shape, 5)
    samples = np.concatenate([first, second, sample_inputs(rng, graph, 1)])
    truth = [exact_tensors(graph, samples[-1]), exact_tensors(graph, samples[0])]
    slopes = jacobians(graph, first[:2])
    found, compared = [], 0
    for norm in NORMS:
        steps = walk(graph, norm, "fast")
        locals = {s.node: s.local for s in steps}
        running = {graph.input_node.name: 1.0, **{s.node: s.running for s in steps}}
        names = [node.name for node in folded.nodes]
        values, errors = forward_with_error(folded, samples, norm, locals, names)
        found += [f"{norm} {text}" for text in quotient_violations(values, errors, first, second, running, norm)]
        for slope in slopes:
            if np.isfinite(slope).all() and not matrix_norm(slope, norm) <= running[folded.output] * (1 + JACOBIAN_ROOM):
                found.append(f"{norm} Jacobian {matrix_norm(slope, norm)!r} > {running[folded.output]!r}")
        for name in names:
            for row, exact in zip((-1, 0), truth):
                target = exact.get(name, exact.get(name.split("+")[-1].rstrip("'")))
                if np.isfinite(values[name][row]).all() and not distance(values[name][row], target, norm) <= errors[name][row]:
                    found.append(f"{norm} error of {name}: {float(distance(values[name][row], target, norm))!r} > {errors[name][row]!r}")
        compared += len(names) * (len(first) + 2) + len(slopes)
        if with_lower:
            compared += 1
            witness = lower_end(folded, norm, locals, "fast", seed)
            if not witness.value <= running[folded.output]:
                found.append(f"{norm} lower end {witness.value!r} > {running[folded.output]!r}")
    return [f"seed {seed}: {text}" for text in found], compared


def sweep(cases: int, seed: int, lower_every: int = 20) -> tuple[list[str], int, collections.Counter]:
    """All violations of networks seed * 10^6 + 0, 1, ...; an error of the toolkit on a legal network counts as one."""
    found, compared, ops = [], 0, collections.Counter()
    for case in range(cases):
        number = seed * 1_000_000 + case
        try:
            more, count = check(number, case % lower_every == 0, ops)
        except CertifyError as error:
            more, count = [f"seed {number}: {type(error).__name__}: {error}"], 0
        found += more
        compared += count
    return found, compared, ops


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.process_time()
    found, compared, ops = sweep(arguments.cases, arguments.seed)
    for text in found[:20]:
        print(text, file=sys.stderr)  # noqa: T201
    print(f"network sweep: {arguments.cases} networks, {len(ops)} operators, {compared} comparisons, {len(found)} violations, {time.process_time() - start:.1f} s CPU")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
