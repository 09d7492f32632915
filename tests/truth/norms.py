"""Ground truth for layer norms: the identity pushed through the torch layer in float64, then NumPy's norms of the dense matrix."""

from __future__ import annotations

import math

import numpy as np
import torch
from strategies.layers import Layer

SVD_ERROR = 1e-12
"""What the SVD itself may be off, relative: all that an upper end is allowed to lie below the computed truth."""


def dense_matrix(layer: Layer) -> np.ndarray:
    """The layer's matrix (outputs, inputs), from torch alone: the weight scaled by a power of two (exact), columns are images of unit vectors."""
    e = scale_of(layer)
    size = math.prod(layer.input_shape)
    eye = torch.eye(size, dtype=torch.float64).reshape(size, *layer.input_shape)
    with torch.no_grad():
        out = layer.in_torch(eye, torch.from_numpy(np.ldexp(layer.weight, -e)))
    return out.reshape(size, -1).T.numpy()


def scale_of(layer: Layer) -> int:
    top = float(np.abs(layer.weight).max(initial=0.0))
    return math.frexp(top)[1] if top > 0 else 0


def matrix_norm(matrix: np.ndarray, norm: str) -> float:
    """Computed l2, linf or l1 operator norm."""
    if matrix.size == 0 or not matrix.any():
        return 0.0
    return float(np.linalg.norm(matrix, {"l2": 2, "linf": np.inf, "l1": 1}[norm]))


def true_norm(layer: Layer, norm: str = "l2") -> float:
    return math.ldexp(matrix_norm(dense_matrix(layer), norm), scale_of(layer))


def encloses(lower: float, upper: float, truth: float) -> bool:
    """lower <= truth <= upper up to the truth's own error; NaN fails."""
    return lower <= truth * (1 + SVD_ERROR) and truth * (1 - SVD_ERROR) <= upper
