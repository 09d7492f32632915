"""What a Lipschitz constant must not be below: Jacobian norms and difference quotients of the network itself."""

from __future__ import annotations

import numpy as np

# torch differentiates hardsigmoid and hardswish with 1/6 in float32, also for float64 tensors: 3e-8 relative per layer.
JACOBIAN_ROOM = 2e-7
ORDER = {"l2": 2, "l1": 1, "linf": np.inf}


def matrix_norm(matrix: np.ndarray, norm: str) -> float:
    """||A||_p of a small dense matrix, up to float rounding of about 1e-14 relative."""
    return float(np.linalg.norm(matrix, ORDER[norm])) if matrix.size else 0.0


def jacobians(graph, points: np.ndarray) -> np.ndarray:
    """(n, outputs, inputs) by torch autograd in float64; at a kink some element of the generalised Jacobian's closure or a convention, NaN skipped by callers."""
    import torch

    module = graph.to_torch().double().eval()
    rows = []
    for point in points:
        x = torch.tensor(np.asarray(point, dtype=np.float64))[None].requires_grad_(True)
        y = module(x).reshape(-1)
        jacobian = [torch.autograd.grad(entry, x, retain_graph=True, allow_unused=True)[0] if entry.requires_grad else None for entry in y]
        rows.append(np.stack([np.zeros(x.numel()) if g is None else g.detach().numpy().ravel() for g in jacobian]))
    return np.stack(rows)


def jacobian_norms(graph, points: np.ndarray, norm: str) -> np.ndarray:
    return np.array([matrix_norm(j, norm) for j in jacobians(graph, points)])


def difference_quotients(graph, first: np.ndarray, second: np.ndarray, norm: str) -> np.ndarray:
    """|f(a) - f(b)|_p / |a - b|_p by float64 evaluation: estimates, off by about 1e-15 |f| / |a - b|."""
    change = (graph(first) - graph(second)).reshape(len(first), -1)
    moved = (first - second).reshape(len(first), -1)
    return np.linalg.norm(change, ORDER[norm], axis=1) / np.linalg.norm(moved, ORDER[norm], axis=1)


def pairs(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Near and far pairs, along axes, along sign vectors and in general position."""
    a = rng.normal(size=(count, *shape)) * 10 ** rng.uniform(-2, 1, size=(count, *(1,) * len(shape)))
    d = rng.normal(size=(count, *shape))
    flat = d.reshape(count, -1)
    for i in range(count):
        if i % 3 == 1:
            flat[i] = np.sign(flat[i])
        elif i % 3 == 2:
            flat[i] *= np.arange(flat.shape[1]) == rng.integers(flat.shape[1])
    length = 10 ** rng.uniform(-3, 1, size=(count, *(1,) * len(shape)))
    b = a + d * length
    same = (a == b).reshape(count, -1).all(axis=1)
    b[same] += 1.0
    return a, b
