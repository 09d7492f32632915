"""Training for robustness: penalties that keep layers small. Loads torch."""

from . import penalties

__all__ = ["penalties"]
