"""The semidefinite program of a chain in floats, in the coordinates (dx_0, psi), and products with its rows. Search only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.midrad import full
from .chain import Chain


@dataclass
class Program:
    """Rows in the coordinates (dx_0, psi): per layer (first psi, Z scaled by r), the output rows Y, and the groups of psi and z entries (None: scalar)."""

    inputs: int
    size: int
    rows: list[tuple[int, np.ndarray]]
    output: np.ndarray
    outside: np.ndarray | None
    inside: np.ndarray | None
    groups: int


def program_of(chain: Chain) -> Program:
    """The program of a chain whose slopes are all live (`reduced`)."""
    size = chain.input_size + sum(layer.inject.shape[1] for layer in chain.layers)
    state, place, rows = np.eye(chain.input_size), chain.input_size, []
    inside, outside, groups, scalar = [], [], 0, True
    for layer in chain.layers:
        rows.append((place, layer.half[:, None] * (full(layer.weight.mid) @ state)))
        count = layer.inject.shape[1]
        state = np.hstack([full(layer.through().mid) @ state, full(layer.inject.mid)])
        scalar &= layer.inside is None
        own = np.arange(count)
        inside.append(groups + (own if layer.inside is None else layer.inside))
        outside.append(groups + (own if layer.outside is None else layer.outside))
        groups, place = groups + layer.groups, place + count
    output = full(chain.last.mid) @ state
    return Program(chain.input_size, size, rows, output, None if scalar else np.concatenate(outside), None if scalar else np.concatenate(inside), groups)


class Rows:
    """Products with Z, whose layer k reads only the coordinates before its own psi."""

    def __init__(self, program: Program):
        self.rows = program.rows
        self.starts = np.concatenate([[0], np.cumsum([len(z) for _, z in program.rows])]).astype(int)
        self.count = int(self.starts[-1])

    def times(self, a: np.ndarray) -> np.ndarray:
        """Z a."""
        return np.concatenate([z @ a[: z.shape[1]] for _, z in self.rows])

    def weighted(self, d: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Z' diag(d) a for a (rows, k)."""
        out = np.zeros((self.rows[-1][1].shape[1], a.shape[1]))
        for (_, z), start, stop in zip(self.rows, self.starts, self.starts[1:]):
            out[: z.shape[1]] += z.T @ (d[start:stop, None] * a[start:stop])
        return out

    def gram(self, d: np.ndarray, size: int) -> np.ndarray:
        """Z' diag(d) Z."""
        out = np.zeros((size, size))
        for (_, z), start, stop in zip(self.rows, self.starts, self.starts[1:]):
            out[: z.shape[1], : z.shape[1]] += z.T @ (d[start:stop, None] * z)
        return out
