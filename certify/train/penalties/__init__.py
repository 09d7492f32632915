"""Penalties: callable on a module or a bare layer, return a scalar tensor."""

from .spectral_norm import SpectralNorm

__all__ = ["SpectralNorm"]
