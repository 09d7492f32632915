"""LipSDP-Neuron as a textbook writes it, in cvxpy: the readable reference for tiny networks.

    minimise rho  subject to  tau >= 0 and  M = rho E_0 - Y'Y - sum_i tau_i sym((phi_i - lo_i z_i)(hi_i z_i - phi_i)') - sum_g tau_g (r^2 z_g'z_g - phi_g'phi_g) >= 0

in the coordinates (dx_0, dphi_1, ..., dphi_k). Nothing here is shared with `certify.constants.sdp`: layers are plain arrays, written by whoever asks. A solver may
take hours or end the interpreter, so it runs in a process of its own with a time limit:

    python tests/benchmarks/lipsdp_reference.py PROBLEM.npz [--solver CLARABEL]          prints one JSON object
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402


class Layer(NamedTuple):
    """z = W s, phi between lo z and hi z entry by entry, or |phi_g| <= |hi_g z_g| for groups (inside, outside: group of each entry of z and phi); s_next = H s + G phi."""

    weight: np.ndarray
    inject: np.ndarray
    keep: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    inside: np.ndarray | None = None
    outside: np.ndarray | None = None


def activation(weight: np.ndarray, lo: float = 0.0, hi: float = 1.0) -> Layer:
    """A layer of an MLP whose activation has slopes in [lo, hi]."""
    n = len(weight)
    return Layer(weight, np.eye(n), np.zeros(weight.shape), np.full(n, lo), np.full(n, hi))


def ask(layers: Sequence[Layer], last: np.ndarray, solver: str = "CLARABEL", seconds: float = 120.0) -> dict[str, Any]:
    """The solver's answer: {"status", "value", "floor", "seconds", "formulate_seconds"}.

    status: the solver's own, or "stopped" after the time limit, "absent" without cvxpy, "ended" if it took the interpreter along.
    value: sqrt(rho) as the solver reports it; floor: what its dual solution puts below the optimum (floats). seconds: CPU of `solve`, in its own process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        arrays = {f"{name}{k}": value for k, layer in enumerate(layers) for name, value in layer._asdict().items() if value is not None}
        np.savez(path, last=last, count=len(layers), **arrays)
        try:
            done = subprocess.run([sys.executable, __file__, str(path), "--solver", solver], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"status": "stopped", "limit": seconds}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"status": "ended", "code": done.returncode, "message": done.stderr[-500:]}


def forms(layers: Sequence[Layer], last: np.ndarray) -> tuple[int, np.ndarray, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """(inputs, Y'Y, constraints): each constraint is (A, B, index): sym(A' diag(tau[index]) B) holds nonnegative forms, rows in all coordinates."""
    inputs = layers[0].weight.shape[1]
    size, place, count = inputs + sum(layer.inject.shape[1] for layer in layers), inputs, 0
    state, found = np.eye(inputs, size), []
    for layer in layers:
        z, width = layer.weight @ state, layer.inject.shape[1]
        phi = np.zeros((width, size))
        phi[np.arange(width), place + np.arange(width)] = 1.0
        if layer.inside is None or layer.outside is None:
            found.append((phi - layer.lo[:, None] * z, layer.hi[:, None] * z - phi, count + np.arange(width)))
            count += width
        else:
            wide = layer.hi[:, None] * z
            found += [(wide, wide, count + layer.inside), (phi, -phi, count + layer.outside)]
            count += int(layer.outside.max()) + 1
        state, place = layer.keep @ state + layer.inject @ phi, place + width
    y = last @ state
    return inputs, y.T @ y, found


def solve(layers: Sequence[Layer], last: np.ndarray, solver: str) -> dict[str, Any]:
    """Formulate, solve, and look at the dual solution; runs in the child."""
    import cvxpy as cp

    start = time.process_time()
    inputs, yy, constraints = forms(layers, last)
    scale = float(np.linalg.norm(yy, 2))
    size, groups = len(yy), 1 + max(int(index.max()) for _, _, index in constraints)
    corner = np.diag((np.arange(size) < inputs).astype(float))
    rho, tau = cp.Variable(), cp.Variable(groups, nonneg=True)
    whole = rho * corner - yy / scale
    for a, b, index in constraints:
        form = a.T @ cp.diag(tau[index]) @ b
        whole = whole - (form + form.T) / 2
    matrix = cp.Variable((size, size), PSD=True)
    equal = matrix == whole
    problem = cp.Problem(cp.Minimize(rho), [equal])
    data_seconds = time.process_time() - start
    start = time.process_time()
    problem.solve(solver=solver)
    seconds = time.process_time() - start
    answer = {"status": problem.status, "solver": solver, "seconds": seconds, "formulate_seconds": data_seconds, "size": size, "multipliers": groups}
    if rho.value is None or not rho.value > 0:
        return answer
    x = np.asarray(equal.dual_value)
    x = (x + x.T) / 2
    x = x * np.sign(np.trace(corner @ x))
    values, vectors = np.linalg.eigh(x)
    x = (vectors * np.maximum(values, 0)) @ vectors.T / max(float(np.trace(corner @ ((vectors * np.maximum(values, 0)) @ vectors.T))), 1e-300)
    given = np.zeros(groups)
    for a, b, index in constraints:
        np.add.at(given, index, np.einsum("ij,jk,ik->i", a, x, b))
    floor = float(np.sum(yy / scale * x)) - 2.0 * float(np.maximum(-given, 0.0) @ np.asarray(tau.value))
    return {**answer, "value": float(np.sqrt(rho.value * scale)), "floor": float(np.sqrt(max(floor, 0.0) * scale))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("--solver", default="CLARABEL")
    options = parser.parse_args()
    try:
        import cvxpy  # noqa: F401
    except ImportError:
        print(json.dumps({"status": "absent"}))
        return 0
    with np.load(options.problem) as found:
        layers = [Layer(*(found[f"{name}{k}"] if f"{name}{k}" in found else None for name in Layer._fields)) for k in range(int(found["count"]))]
        last = found["last"]
    print(json.dumps(solve(layers, last, options.solver)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
