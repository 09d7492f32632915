"""What the layers of a network look like: stable ranks, spectra, empirical Lipschitz constants, and pictures of them. Estimates for people."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..core.errors import InputError
from ..norms.estimate import power_estimate
from .diagnostics_lipschitz import EmpiricalLipschitz, empirical_lipschitz
from .diagnostics_plot import plot
from .diagnostics_spectra import Spectrum, kernel_matrix, named_layers, spectra
from .modes import evaluation
from .penalties import SpectralNorm

__all__ = ["EmpiricalLipschitz", "Spectrum", "empirical_lipschitz", "layer_estimates", "plot", "spectra", "stable_rank"]

_LARGE = 1024  # side of a Gram matrix that is decomposed every few epochs


def stable_rank(model: nn.Module, input_shape: Sequence[int] | None = None, of: str = "matrix") -> dict[str, float]:
    """|W|_F^2 / |W|_2^2 of every linear and convolution layer, by its name: between 1 and the rank; 0 for a zero layer.

    Args:
        of: "matrix": W is the kernel as a matrix (outputs, everything else), as Sanyal, Torr & Dokania (2020) define it for networks. "operator": W is the layer
            with its stride, padding and input size, from `spectra`; needs input_shape.
    Guarantee: none; float64 singular values of numpy or torch.
    Raises:
        InputError: an unknown kind, or no input_shape for "operator".
    Cost: one SVD per layer.

    >>> layer = nn.Linear(3, 3)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    >>> stable_rank(layer)
    {'Linear': 1.5}
    """
    if of == "operator":
        if input_shape is None:
            raise InputError("the operator of a layer depends on the size of its input", where="argument input_shape", found="None", expected="for example (3, 32, 32)")
        return {name: spectrum.stable_rank for name, spectrum in spectra(model, input_shape).items()}
    if of != "matrix":
        raise InputError("unknown kind of stable rank", where="argument of", found=repr(of), expected='"matrix" or "operator"')
    with evaluation(model):
        values = {name: torch.linalg.svdvals(kernel_matrix(layer).cpu().double()) for name, layer in named_layers(model).items()}
    return {name: Spectrum(s.numpy(), "dense").stable_rank for name, s in values.items()}


def layer_estimates(model: nn.Module, input_shape: Sequence[int]) -> dict[str, dict[str, float]]:
    """name -> {"norm": of the layer as an operator, "stable_rank": of its kernel as a matrix}; by power steps, cheap enough for every epoch.

    Guarantee: none; both come from estimates of a largest singular value, which are too small rather than too large.

    >>> layer = nn.Linear(1, 1)
    >>> _ = layer.weight.data.fill_(-2.0)
    >>> layer_estimates(layer, (1,))
    {'Linear': {'norm': 2.0, 'stable_rank': 1.0}}
    """
    layers = named_layers(model)
    convolutions = [layer for layer in layers.values() if not isinstance(layer, nn.Linear)]
    estimator = SpectralNorm(steps=3, engine="layer")
    with evaluation(model), parametrize.cached():
        if convolutions:
            estimator.record(model, input_shape)
        norms = dict(zip(convolutions, (sigma.item() for sigma in estimator.sigmas(convolutions))))
        matrices = {name: kernel_matrix(layer).cpu() for name, layer in layers.items()}
    found = {}
    for name, matrix in matrices.items():
        top, size = _largest(matrix), matrix.double().square().sum().item()
        found[name] = {"norm": norms.get(layers[name], top), "stable_rank": size / top**2 if top > 0 else 0.0}
    return found


def _largest(matrix: Tensor) -> float:
    """The largest singular value: from the smaller Gram matrix, or by power steps where that is large."""
    if min(matrix.shape) > _LARGE:
        return power_estimate(F.linear, matrix, (matrix.shape[1],), None, 15)[0].item()
    tall = matrix.double() if matrix.shape[0] >= matrix.shape[1] else matrix.double().T
    return max(torch.linalg.eigvalsh(tall.T @ tall)[-1].item(), 0.0) ** 0.5
