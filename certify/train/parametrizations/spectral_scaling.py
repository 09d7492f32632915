"""spectral_normalization: the weight divided by the norm of the layer as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ...core.errors import InputError
from .base import attach, full_precision, require_layer
from .followed_norm import CertifiedNorm, EstimatedNorm, LinearNorm, divisor


def spectral_normalization(layer: Any, input_shape: Sequence[int] | None = None, bound: str = "estimate", steps: int = 2, drift: float = 0.05) -> Any:
    """Parametrize a layer by weight / sigma, sigma the norm of the layer as an operator: with its stride, padding, dilation, groups; not that of the reshaped kernel.

    Claim: ||A|| = 1 for the layer A without its bias, as far as sigma = ||A(weight)||. (torch's own spectral_norm divides by the norm of the reshaped kernel: its layers have norms
    up to sqrt(prod kernel), 1.6 for a random 3x3 kernel.) A zero weight stays zero.

    Args:
        layer: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d. Without an input shape: zero padding, or circular with 2 * padding <= dilation * (kernel_size - 1).
        input_shape: of one sample. Given: sigma at this input size, any padding mode. None: the supremum of the layer's symbol, for every input size; a little
            above the norm at a given size, by O(1 / size^2).
        bound: "estimate": sigma by warm-started power steps, from below. "certified": sigma is a proved bound: a certificate, renewed as soon as the change of the weight
            since the last one can add more than `drift` (`norms.drift_bound` pays for the change until then).
        steps: power steps per update of an estimate. drift: part of the bound, for "certified".

    The state (singular vectors or the certificate, and the derivative of sigma) is in the state_dict. It moves on in training mode while gradients are recorded and
    nowhere else. Returns the same layer; its free weight is `layer.parametrizations.weight.original`.

    Guarantee: "certified": ||A|| <= 1 + 1e-6 always (the division rounds). "estimate": none; measured on fresh layers at most 1e-3 above 1, while training fast 1e-2.

    Raises:
        UnsupportedLayerError: another kind of layer. HypothesisError: a padding that copies pixels without an input shape. InputError: arguments, weights.

    Cost: estimate: `steps` power steps, independent of the batch at any size, two images more at a declared one; 64 channels, 3x3: 8 and 6 ms on one CPU thread, beside 53 ms for
    a convolution of 256 images of 7 x 7. certified: a pass over the weight (on the CPU), and where the weight moves fast a certificate at every step: there 0.2 to 0.8 s.

    Source: Miyato, Kataoka, Koyama & Yoshida, Spectral normalization for GANs, ICLR 2018; with the operator norm: layer_norms.md sections 4.3, 4.4 and 6.

    >>> import torch
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> [round(w, 4) for w in spectral_normalization(layer).weight[0].tolist()]
    [0.6, 0.8]
    """
    geometry = require_layer(layer)
    if bound not in ("estimate", "certified"):
        raise InputError("unknown kind of norm", where="argument bound", found=repr(bound), expected="'estimate' or 'certified'")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError("the number of power steps is a positive integer", where="argument steps", found=repr(steps))
    if not (isinstance(drift, int | float) and 0 <= drift < 1):
        raise InputError("the drift is a part of the bound", where="argument drift", found=repr(drift), expected="0 <= drift < 1")
    weight: Tensor = layer.weight
    norm = EstimatedNorm(geometry, weight, input_shape, steps) if bound == "estimate" else CertifiedNorm(geometry, weight, input_shape, float(drift))
    return attach(layer, SpectralScaling(norm))


class SpectralScaling(nn.Module):
    """weight -> weight / norm(weight)."""

    lipschitz = 1.0

    def __init__(self, norm: LinearNorm):
        super().__init__()
        self.norm = norm

    @full_precision
    def forward(self, weight: Tensor) -> Tensor:
        return weight / divisor(self.norm(weight))
