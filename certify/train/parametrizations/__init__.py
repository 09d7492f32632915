"""Parametrizations: function(layer, ...) -> the same layer, its weight computed from free parameters so that the layer's l2 norm is at most 1."""

from .base import retract_
from .bjorck_matrix import bjorck
from .cayley_map import cayley
from .orthogonal_kernel import orthogonal_convolution
from .spectral_scaling import spectral_normalization
from .stable_rank import stable_rank_normalization

__all__ = ["bjorck", "cayley", "orthogonal_convolution", "retract_", "spectral_normalization", "stable_rank_normalization"]
