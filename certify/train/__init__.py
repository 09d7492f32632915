"""Training for robustness: penalties, 1-Lipschitz layers, losses, a loop that ends in a fresh certificate, and recipes. Loads torch."""

from ..norms.differentiable import NormState, drift_bound, norm_bound
from ..norms.symbol_estimate import symbol_estimate, symbol_estimates
from . import activations, blocks, diagnostics, losses, models, optimizers, parametrizations, penalties, recipes
from .exporting import export
from .loop import fit
from .pairs import pair_constants
from .plan import Plan
from .run import Run

__all__ = [
    "NormState",
    "Plan",
    "Run",
    "activations",
    "blocks",
    "diagnostics",
    "drift_bound",
    "export",
    "fit",
    "losses",
    "models",
    "norm_bound",
    "optimizers",
    "pair_constants",
    "parametrizations",
    "penalties",
    "recipes",
    "symbol_estimate",
    "symbol_estimates",
]
