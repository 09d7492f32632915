"""Who runs in the layer-norm benchmark: the project's methods, the differentiable bound and the published ones, each as a call that can be timed.

Set the thread variables before this is imported: it loads numpy and torch.
"""

from __future__ import annotations

import copy
import functools
import importlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import published
import torch
from common import cpu_seconds
from layer_set import Layer
from torch import nn

from certify.core.graph import Graph
from certify.linear.base import LinearMap
from certify.norms.any_size import AnySize
from certify.norms.auto import EFFORTS, Auto
from certify.norms.base import NormMethod, methods
from certify.norms.polyphase import convolution_of, is_block_circulant
from certify.norms.public import as_linear_graph, layer_map

WORK = {"svd": 1.2e9, "gram": 3e9}  # side^3, all blocks together, beyond which a full decomposition only wastes the benchmark's time
WARM = 0.2  # a first run below this many seconds is a warm-up, not a measurement
REPEAT = 5
ONCE = ("auto tight", "differentiable")  # long runs that no time target compares with a peer


class OutOfTime(BaseException):
    """The CPU limit of one run; no `except Exception` may swallow it."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Ends what runs inside after this many CPU seconds (at the next return from a BLAS call)."""
    start = time.process_time()

    def look(_signal, _frame):
        if time.process_time() - start > seconds:
            raise OutOfTime

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)  # not ITIMER_PROF, under which Linux reads the CPU clock in ticks of 4 ms
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Competitor:
    """`prepare()` does what is not measured and gives the call that is; the call gives (lower or None, upper or None, more fields of the row)."""

    method: str
    kind: str  # project | published
    prepare: Callable[[], Callable[[], tuple[float | None, float | None, dict[str, Any]]]]
    backend: str = ""
    times: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    answer: tuple[float | None, float | None, dict[str, Any]] = (None, None, {})
    failed: str = ""

    def run(self, first: bool, cap: float) -> None:
        work = self.prepare()
        start = time.process_time()
        try:
            with cpu_limit(cap):
                seconds, self.answer = cpu_seconds(work)
        except OutOfTime:
            self.failed = f"stopped after {time.process_time() - start:.0f} CPU seconds"
            return
        except Exception as error:  # a method that fails is a row of the result
            self.failed = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            return
        if not first or seconds > WARM:
            self.times.append(self.answer[2].get("forward_seconds", seconds))  # a gradient's share is measured inside
            self.backward.append(self.answer[2].get("backward_seconds", 0.0))

    def wants_more(self, budget: float) -> bool:
        budget = min(budget, WARM) if self.method in ONCE else budget
        return not self.failed and len(self.times) < REPEAT and sum(self.times) + sum(self.backward) < budget


def of_project(method: NormMethod, name: str, graph: Graph) -> Competitor | None:
    """A norm method on a fresh map; tracing and building the map are not measured. None if the method does not apply or is hopeless here."""
    map = layer_map(graph)
    if method.supports(map) or hopeless(method, map):
        return None

    def prepare():
        fresh = layer_map(graph)

        def work():
            bound = method.enclose(fresh)
            return bound.lower, bound.upper if math.isfinite(bound.upper) else None, {"chosen": bound.method} if method.name == "auto" else {}

        return work

    return Competitor(name, "project", prepare)


def hopeless(method: NormMethod, map: LinearMap) -> bool:
    """Would this full decomposition take minutes? (Gram iteration works per frequency under circular padding.)"""
    conv = convolution_of(map)
    if method.name == "gram" and conv is not None and not is_block_circulant(conv):
        return False
    return len(map.blocks()) * map.blocks()[0].size ** 3 > WORK.get(method.name, math.inf)


def of_published(layer: Layer) -> list[Competitor]:
    """The published methods that say something about this layer: none for reflect and replicate padding, and power iteration for every layer."""
    found: list[Competitor] = []

    def add(method: str, function: Callable[..., float], argument: Any, backends: Sequence[str] = ("",), upper: bool = True) -> None:
        for backend in backends:
            call = functools.partial(function, argument, backend) if backend else functools.partial(function, argument)
            found.append(Competitor(method, "published", lambda call=call: lambda: (None, call(), {}) if upper else (call(), None, {}), backend))

    if isinstance(layer.module, nn.Linear):
        matrix = layer.module.weight.detach().double().numpy()
        add("Gram, 10 its", published.dense_gram, matrix, published.BACKENDS if layer.side <= 2048 else ("numpy",))  # twice as fast as torch there
        if layer.side <= 2048:  # 4096: minutes
            add("FFT + SVD", published.dense_svd, matrix)
    elif layer.core.padding_mode in ("zeros", "circular"):
        conv = published.Convolution.of(layer.module, layer.shape)
        add("four unfoldings", published.fantastic_four, conv)
        add("tensor norm", published.tensor_norm, conv)
        add("Gram, 6 its", published.gram_circular, conv, published.BACKENDS)
        add("FFT + SVD", published.fourier_svd, conv)  # numpy's is the faster one at every size from 64 to 512
    add("power, 100 its", lambda module: published.power_iteration(module, layer.shape), layer.module, upper=False)
    return found


def of_training(layer: Layer) -> list[Competitor]:
    """The differentiable bound, if the library has one for this layer: without a gradient, and what the gradient costs on top, wherever it is computed."""
    try:
        norm_bound = importlib.import_module("certify.norms.differentiable").norm_bound
    except (ImportError, AttributeError):
        return []
    if layer.core is not layer.module:
        return []

    def prepare():
        module = copy.deepcopy(layer.module).double()
        weight = module.weight

        def work():
            forward, _ = cpu_seconds(lambda: norm_bound(module, layer.shape))
            weight.requires_grad_()
            whole, (value, gradient) = cpu_seconds(lambda: (value := norm_bound(module, layer.shape)[0], torch.autograd.grad(value, weight)[0]))
            value = float(value.detach())
            euler = abs(float((gradient * weight.detach()).sum()) - value) / value
            return None, value, {"forward_seconds": forward, "backward_seconds": max(0.0, whole - forward), "euler": euler}

        return work

    return [Competitor("differentiable", "project", prepare)]


def competitors(layer: Layer, quick: bool) -> list[Competitor]:
    left_out = ("auto", "svd", "gram") if quick else ("auto",)
    ours = {name: method for name, method in methods().items() if name not in left_out}
    ours |= {"any_size 16": AnySize(16)} | {f"auto {effort}": Auto(effort) for effort in EFFORTS if not (quick and effort == "tight")}
    graph = as_linear_graph(layer.module, layer.shape)
    return [c for name, method in ours.items() if (c := of_project(method, name, graph))] + of_training(layer) + of_published(layer)
