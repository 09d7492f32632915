"""Univariate fits: a polynomial with a proved error in place of an activation, one per neuron.

`fit` chooses; `frame` is the variable, `hinge` and `table` the ReLU, `smooth` and `wide` tanh and sigmoid, `generic` every other activation.
"""

from .base import METHODS, Fits
from .dispatch import fit
from .table import Table, relu_table

__all__ = ["METHODS", "Fits", "Table", "fit", "relu_table"]
