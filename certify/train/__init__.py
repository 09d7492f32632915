"""Training for robustness: penalties that keep layers small, and the certified norm of a layer with its gradient. Loads torch."""

from ..norms.differentiable import NormState, drift_bound, norm_bound
from ..norms.symbol_estimate import symbol_estimate, symbol_estimates
from . import penalties

__all__ = ["NormState", "drift_bound", "norm_bound", "penalties", "symbol_estimate", "symbol_estimates"]
