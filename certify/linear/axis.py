"""One spatial axis of a convolution: which input pixel each tap of each output reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.errors import InputError

MODES = ("zeros", "circular", "reflect", "replicate")


@dataclass(frozen=True)
class Axis:
    """y[o] = sum_{t < taps} K[t] xpad[stride o + dilation t], o < outputs; xpad holds `inputs` pixels after `low` padded ones.

    Under zero padding only `low` and `outputs` matter: every position outside the pixels reads 0.
    """

    inputs: int
    outputs: int
    taps: int
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0
    mode: str = "zeros"

    def __post_init__(self):
        if min(self.inputs, self.outputs, self.taps, self.stride, self.dilation) < 1 or self.mode not in MODES:
            raise InputError("a convolution axis needs positive sizes and a known padding mode", found=self)
        if self.mode != "zeros" and (min(self.low, self.high) < 0 or self.length > self.inputs + self.low + self.high):
            raise InputError("the outputs of a convolution reach beyond its padding", found=self)

    @property
    def length(self) -> int:
        """Padded positions that some output may read."""
        return self.stride * (self.outputs - 1) + self.dilation * (self.taps - 1) + 1

    @cached_property
    def source(self) -> np.ndarray:
        """Input pixel at each of the `length` padded positions, -1 for a zero."""
        i, n = np.arange(self.length) - self.low, self.inputs
        if self.mode == "zeros":
            return np.where((i >= 0) & (i < n), i, -1)
        if self.mode == "circular":
            return i % n
        if self.mode == "replicate":
            return np.clip(i, 0, n - 1)
        period = max(2 * (n - 1), 1)  # reflect: the border pixel is not repeated
        i = np.abs(i) % period
        return np.minimum(i, period - i) if n > 1 else np.zeros_like(i)

    @cached_property
    def triples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(o, t, i): output o reads pixel i through tap t; all such triples."""
        pixel = self.source[self.stride * np.arange(self.outputs)[:, None] + self.dilation * np.arange(self.taps)]
        o, t = np.nonzero(pixel >= 0)
        return o, t, pixel[o, t]

    @cached_property
    def copies(self) -> int:
        """How often the most frequent pixel appears in the whole padded axis (Proposition 0 of layer_norms.md): ||P||^2."""
        if self.mode == "zeros":
            return 1
        whole = Axis(self.inputs, self.inputs + self.low + self.high, 1, 1, 1, self.low, self.high, self.mode)
        return int(np.bincount(whole.source).max())

    @cached_property
    def entry_sums(self) -> int:
        """How many taps of one output read the same pixel, at most."""
        if self.mode == "zeros":
            return 1
        o, _, i = self.triples
        return int(np.bincount(o * self.inputs + i).max())

    @cached_property
    def live(self) -> np.ndarray:
        """Per tap: does some output read a real pixel through it?"""
        seen = np.zeros(self.taps, dtype=bool)
        seen[self.triples[1]] = True
        return seen
