"""How tight are network-wide Lipschitz constants, how long do search, proof and check take, and what do they give as radii?

    python tests/benchmarks/bench_lipschitz.py [--section bounds|reference|"first order"|radii|local] [--network NAME] [--points 60] [--out rows.jsonl]

One JSON row per answer, then every target of the issue with its verdict. `--rows FILE` reads rows of earlier runs and prints the verdicts of all together.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import lipsdp_reference  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import cpu_seconds, emit, peak_memory_bytes  # noqa: E402
from lipschitz_page import fill, page  # noqa: E402
from lipschitz_set import LARGE, RANDOM, SMALL, SMOOTH, TRAINED, Net, digits  # noqa: E402

import certify  # noqa: E402
from certify.constants.lower import lower_end  # noqa: E402
from certify.constants.product import walk  # noqa: E402
from certify.constants.public import graph_constant  # noqa: E402
from certify.constants.sdp import inequality, layers  # noqa: E402
from certify.constants.sdp.chain import Chain, chain_of  # noqa: E402
from certify.constants.sdp.recursion import closed_form  # noqa: E402
from certify.constants.sdp.solve import solve  # noqa: E402
from certify.core.errors import CertifyError  # noqa: E402
from certify.core.fold import fold_affine  # noqa: E402
from certify.core.graph import Graph  # noqa: E402
from certify.proof.certificate import read  # noqa: E402

EFFORT = {"global": "balanced", "pairwise": "balanced", "sdp": "balanced", "curvature": "balanced", "local": "fast", "auto": "tight"}  # local, fast: the linear bounds alone
RADIUS_METHODS = tuple(EFFORT)
Row = dict[str, Any]


def bounds(net: Net, seeds: int) -> Row:
    """Every rung of one network, the proof's share of the time, and what the checker takes."""
    graph = certify_graph(net)
    folded = fold_affine(graph).pruned()
    product_seconds, steps = cpu_seconds(lambda: walk(folded, "l2", "balanced"))
    chain_seconds, chain = cpu_seconds(lambda: chain_of(folded))
    row: Row = {"section": "bounds", "network": net.name, "neurons": chain.neurons, "size": chain.neurons + chain.input_size, "product": steps[-1].running}
    row |= {"product_seconds": product_seconds, "chain_seconds": chain_seconds}
    small, _ = chain.reduced()
    for name, uniform in (("eclipse_fast", True), ("closed_form", False)):
        row[f"{name}_seconds"], row[name] = cpu_seconds(lambda uniform=uniform: proved_closed_form(small, uniform))
    runs = [cpu_seconds(lambda: solve(chain, net.effort)) for _ in range(3 if net.hidden < 200 else 1)]
    found = runs[-1][1]
    row |= {"kind": found.kind, "steps": found.steps, "value": found.value, "upper": found.bound, "inflation": found.bound / found.value - 1, "notes": list(found.notes)}
    row |= {"solve_seconds": statistics.median(seconds for seconds, _ in runs), "proof_seconds": proof_seconds(chain, small, found), "gap": getattr(found, "gap", math.nan)}
    row |= {"search_seconds": row["solve_seconds"] - row["proof_seconds"], **checked(graph, net), **lower_ends(folded, steps, seeds)}
    row["over_lower"] = row["upper"] / row["lower"] if row["lower"] > 0 else math.inf
    return {**row, "peak_bytes": peak_memory_bytes()}


def certify_graph(net: Net) -> Graph:
    return certify.as_graph(net.make(), net.shape)


def proved_closed_form(small: Chain, uniform: bool) -> float:
    us, _, _ = closed_form(small, uniform=uniform)
    return layers.whole_bound(layers.prove(small, us).metrics[-1], small.last)


def proof_seconds(chain: Chain, small: Chain, found) -> float:
    """CPU seconds of the proof alone, done again from the multipliers."""
    if found.kind == "inequality":
        live = [t[a] for t, a in zip(found.taus, chain.reduced()[1], strict=True) if a.any()]
        return cpu_seconds(lambda: inequality.least(small, [found.bound], live))[0]
    return cpu_seconds(lambda: layers.whole_bound(layers.prove(chain, found.proved.us).metrics[-1], chain.last))[0]


def checked(graph: Graph, net: Net) -> Row:
    """The certificate written and proved again by `certify.check`."""
    try:
        certificate = graph_constant(graph, "l2", "sdp", effort=net.effort, lower=False)
        with tempfile.TemporaryDirectory() as folder:
            path = certificate.save(Path(folder) / "certificate")
            certify.check(path, graph)
            seconds, report = cpu_seconds(lambda: certify.check(path, graph))
            stated = read(path)[0]["constants"]["upper"]  # a file that states the product's constant does not count as a check of this one
            row = {"check_ok": report.ok, "certificate_bytes": path.stat().st_size, "certified": certificate.upper, "stated": stated}
            return {**row, "check_seconds": seconds if stated <= certificate.upper * (1 + 1e-9) else math.nan}
    except CertifyError as error:
        return {"check_seconds": math.nan, "check_ok": False, "check_error": str(error)[:300]}


def lower_ends(folded: Graph, steps, seeds: int) -> Row:
    """The lower end of effort tight, and the best of several seeds."""
    locals = {step.node: step.local for step in steps}
    seconds, first = cpu_seconds(lambda: lower_end(folded, "l2", locals, "tight").value)
    more = [lower_end(folded, "l2", locals, "tight", seed).value for seed in range(1, seeds)]
    return {"lower_tight": first, "lower_seconds": seconds, "lower": max([first, *more]), "lower_seeds": seeds}


def reference() -> Row:
    """The same program by cvxpy + Clarabel, in its own process with a time limit."""
    model = SMALL.make()
    weights = [layer.weight.detach().numpy() for layer in model if isinstance(layer, torch.nn.Linear)]
    theirs = lipsdp_reference.ask([lipsdp_reference.activation(w) for w in weights[:-1]], weights[-1], seconds=280.0)
    chain = chain_of(certify_graph(SMALL))
    runs = [cpu_seconds(lambda: solve(chain, "balanced")) for _ in range(5)]
    ours = statistics.median(seconds for seconds, _ in runs)
    row = {"section": "reference", "network": SMALL.name, "neurons": chain.neurons, "size": chain.neurons + chain.input_size, "ours": runs[-1][1].bound, "ours_seconds": ours}
    row |= {f"clarabel_{key}": value for key, value in theirs.items()}
    spent = theirs.get("seconds") or (theirs["limit"] if theirs["status"] == "stopped" else math.nan)
    return {**row, "faster": spent / ours, "at_least": theirs["status"] == "stopped"}


def first_order_method() -> Iterator[Row]:
    """The gradient method alone at 2,000 neurons against the optimum of the interior point method."""
    from certify.constants.sdp.first_order import first_order

    small, _ = chain_of(certify_graph(LARGE)).reduced()
    row: Row = {"section": "first order", "network": LARGE.name, "neurons": small.neurons}
    seconds, found = cpu_seconds(lambda: first_order(small, 25))
    proof, bound = cpu_seconds(lambda: layers.whole_bound(layers.prove(small, found.us).metrics[-1], small.last))
    row |= {"search_seconds": seconds, "proof_seconds": proof, "seconds": seconds + proof, "steps": found.steps}
    row |= {"value": found.value, "upper": bound, "inflation": bound / found.value - 1}
    yield row
    optimum_seconds, best = cpu_seconds(lambda: solve(small, "tight"))
    row |= {"optimum": best.value, "optimum_kind": best.kind, "optimum_gap": getattr(best, "gap", math.nan), "optimum_seconds": optimum_seconds}
    yield {**row, "excess": bound / best.value - 1 if best.kind == "inequality" else math.nan}


def radii(net: Net, points: int) -> Iterator[Row]:
    """Mean certified / attacked over the correctly classified points, per method; one attack for all."""
    x, y = (array[:points] for array in digits())
    graph = certify_graph(net)
    seconds, attacked = cpu_seconds(lambda: certify.radius(graph, x, y, method="global"))
    right = (attacked.predictions == attacked.labels) & np.isfinite(attacked.upper)
    row = {"section": "radii", "network": net.name, "points": int(right.sum()), "attack": float(attacked.upper[right].mean())}
    for method in RADIUS_METHODS:
        try:
            spent, found = cpu_seconds(lambda method=method: certify.radius(graph, x, y, method=method, effort=EFFORT[method], attack=method == "auto"))
        except CertifyError as error:
            yield {**row, "method": method, "reason": str(error).splitlines()[0]}
            continue
        ratio = found.radii[right] / attacked.upper[right]
        unsound = int((found.radii > attacked.upper).sum())
        won = {str(name): int(count) for name, count in zip(*np.unique(found.methods[right], return_counts=True))}
        figures = {"ratio": float(ratio.mean()), "least": float(ratio.min()), "median_radius": float(np.median(found.radii[right]))}
        yield {**row, "method": method, **figures, "seconds": spent, "won": won, "unsound": unsound}


def local(net: Net, radius: float = 0.05, points: int = 20) -> Row:
    """The constant of balls around test digits over the largest Jacobian that is found inside them."""
    graph, (x, _) = certify_graph(net), digits()
    rng = np.random.default_rng(0)
    uppers, lowers, start = [], [], time.process_time()
    for center in x[:points]:
        try:
            uppers.append(certify.lipschitz(graph, net.shape, region=certify.Ball(center, radius, "l2")).upper)
        except CertifyError as error:
            return {"section": "local", "network": net.name, "radius": radius, "reason": str(error).splitlines()[0]}
        directions = rng.normal(size=(2000, *net.shape))
        inside = center + radius * 0.999 * directions / np.linalg.norm(directions, axis=1, keepdims=True) * rng.random((2000, 1)) ** 0.1
        lowers.append(largest_slope(graph, inside))
    times = np.array(uppers) / np.array(lowers)
    row = {"section": "local", "network": net.name, "radius": radius, "points": points, "upper": float(np.mean(uppers)), "lower": float(np.mean(lowers))}
    return {**row, "times": float(np.mean(times)), "worst": float(times.max()), "seconds": (time.process_time() - start) / points}


def largest_slope(graph: Graph, points: np.ndarray) -> float:
    """The largest norm of a Jacobian among the points, by autograd."""
    module = graph.to_torch().double().eval()
    x = torch.tensor(points, requires_grad=True)
    y = module(x)
    rows = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(y.shape[1])]
    return float(torch.linalg.matrix_norm(torch.stack(rows, 1).reshape(len(points), len(rows), -1), 2).max())


def answers(section: str | None, network: str | None, points: int, seeds: int) -> Iterator[Row]:
    def wanted(name: str, net: Net) -> bool:
        return section in (None, name) and network in (None, net.name)

    tasks: list[tuple[str, Net, Callable[[], Any]]] = []
    tasks += [("bounds", net, lambda net=net: [bounds(net, seeds if net.data else 1)]) for net in (*RANDOM[:2], *TRAINED, *RANDOM[2:])]
    tasks += [("reference", SMALL, lambda: [reference()]), ("first order", LARGE, first_order_method), ("local", TRAINED[0], lambda: [local(TRAINED[0])])]
    tasks += [("radii", net, lambda net=net: radii(net, points)) for net in (*TRAINED, *SMOOTH)]
    for name, net, work in tasks:
        if wanted(name, net):
            yield from work()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", choices=("bounds", "reference", "first order", "radii", "local"))
    parser.add_argument("--network", help="only this network, by the name in lipschitz_set.py")
    parser.add_argument("--points", type=int, default=60, help="test digits per radius row")
    parser.add_argument("--seeds", type=int, default=2, help="searches of the lower end of trained networks, 10 s each")
    parser.add_argument("--out", type=Path, help="append the rows to this file")
    parser.add_argument("--rows", type=Path, action="append", help="only print the verdicts of these rows")
    parser.add_argument("--write", type=Path, help="with --rows: fill the tables of this page (docs/lipschitz.md)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.rows:
        rows = [json.loads(line) for path in options.rows for line in path.read_text().splitlines() if line.startswith("{")]
        print(page(rows))
        if options.write:
            options.write.write_text(fill(options.write.read_text(), rows))
        return
    rows = []
    for row in answers(options.section, options.network, options.points, options.seeds):
        rows.append(emit("network-wide Lipschitz constants", **row))
        if options.out:
            with options.out.open("a") as stream:
                stream.write(json.dumps(rows[-1], default=str) + "\n")
    print(page(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
