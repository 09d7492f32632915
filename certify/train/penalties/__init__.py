"""Penalties: callable on a module or a bare layer, return a scalar tensor."""

from .base import LayerMemory, Penalty
from .curvature import Curvature
from .fantastic_four import FantasticFour
from .orthogonality import Orthogonality
from .spectral_norm import SpectralNorm
from .stable_rank import StableRank

__all__ = ["Curvature", "FantasticFour", "LayerMemory", "Orthogonality", "Penalty", "SpectralNorm", "StableRank"]
