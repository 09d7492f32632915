"""Two models compared on the same inputs: equal outputs, or the first module at which they part. A test, not a proof."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import InputError, SoundnessError, UnsupportedLayerError
from ..core.trace_emit import brief, flat

# Largest difference relative to the largest value that any module computes.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 0.1}
_SIZES = tuple(dict.fromkeys((32, 28, 8, 224, 64, 16, 14, *range(1, 65))))
_LARGEST = 1 << 20  # numbers per input, while a shape is looked for


@dataclass(frozen=True)
class Changes:
    """What was done to a model: the paths of the modules that were replaced as a whole; {layer: module that was folded into its bias}."""

    replaced: frozenset[str] = frozenset()
    folded: Mapping[str, str] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether the outputs at `path` may differ while the model stays the same."""
        return path in self.folded or any(path.startswith(f"{whole}." if whole else "") and path != whole for whole in self.replaced)

    def name(self, path: str) -> str:
        """How to speak of the module at `path`."""
        return next((f"{layer} with {path} folded into its bias" for layer, other in self.folded.items() if other == path), path) or "the model"


@dataclass(frozen=True)
class Observation:
    """One run of a model: inputs, outputs, and the outputs of every module in the order in which they were computed."""

    inputs: Tensor
    outputs: list[Tensor]
    modules: list[tuple[str, list[Tensor]]]

    def largest(self) -> float:
        """The largest absolute value among all of them."""
        tensors = [self.inputs, *self.outputs, *(t for _, values in self.modules for t in values)]
        return max((float(t.detach().abs().max()) for t in tensors if t.numel()), default=0.0)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no autocast, random numbers that are put back."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), torch.random.fork_rng(devices=[]):
        yield


def observe(model: nn.Module, shape: Sequence[int] | None) -> Observation | Exception:
    """A run on five inputs of `shape`, or of the first shape on which the model runs; if there is none, why the last one failed."""
    reason = Exception("no shape to try")
    for candidate in [tuple(shape)] if shape is not None else dict.fromkeys(_candidates(model)):
        try:
            if shape is None:
                model(_inputs(model, candidate, 1))
            return _run(model, _inputs(model, candidate))
        except Exception as error:
            reason = error
    return reason


def _candidates(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes that the first layer of each kind suggests by its number of features or channels (3 or 1, if pixels are rearranged before it), then images."""
    kinds = set()
    for layer in model.modules():
        numbers = [getattr(layer, name, None) for name in ("in_features", "in_channels", "channels", "num_features")]
        kernel = getattr(layer, "kernel_size", None)
        axes = len(kernel) if isinstance(kernel, tuple) else 0
        width = next((number for number in numbers if isinstance(number, int)), None)
        if width is None or axes in kinds:
            continue
        kinds.add(axes)
        if axes == 0:
            yield (width,)
        for channels, n in product((width, 3, 1), _SIZES):
            if channels * n ** (axes or 2) <= _LARGEST:
                yield (channels, *(n,) * (axes or 2))
    yield from ((channels, n, n) for channels, n in product((3, 1, 4, 6), _SIZES))
    yield from ((n,) for n in _SIZES)


def _inputs(model: nn.Module, shape: tuple[int, ...], count: int = 5) -> Tensor:
    """Zero, uniform on [0, 1], normal with deviations 1, 1 and 0.01; in the dtype and on the device of the model's first floating tensor."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros((count, *shape), dtype=torch.float64)
    for row, scale in zip(x[1:], (0, 1, 1, 0.01)):
        row.copy_(scale * torch.randn(shape, generator=generator, dtype=torch.float64) if scale else torch.rand(shape, generator=generator, dtype=torch.float64))
    like = next((t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()), x)
    return x.to(like.device, like.dtype)


def _run(model: nn.Module, x: Tensor) -> Observation:
    modules: list[tuple[str, list[Tensor]]] = []
    hooks = []
    for path, module in model.named_modules():
        hooks.append(module.register_forward_hook(lambda _, __, value, path=path: modules.append((path, _tensors(value)))))
    try:
        return Observation(x, _tensors(model(x.clone())), modules)
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(value: Any) -> list[Tensor]:
    """The floating tensors of a module's output, copied: what follows may change them in place."""
    return [leaf.detach().clone() for leaf in flat(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def require_same(before: Observation, model: nn.Module, plain: nn.Module, changes: Changes) -> None:
    """Refuse `plain` unless its outputs on before.inputs are those of `model`.

    Raises:
        SoundnessError: they are not; names the first module that differs. UnsupportedLayerError: `plain` cannot be run.
        InputError: `model` has no outputs, outputs that are not finite, or others when it is run again.
    """
    if not before.outputs or not all(bool(t.isfinite().all()) for t in before.outputs):
        where = next((path for path, values in before.modules if not all(bool(t.isfinite().all()) for t in values)), "output")
        raise InputError("the model returns no finite numbers on an ordinary input", where=where or "output", hint="a run that has diverged cannot be exported")
    share = _TOLERANCE.get(before.outputs[0].dtype, 1e-3)
    tolerance = share * before.largest()
    try:
        after = _run(plain, before.inputs)
    except Exception as error:
        hint = "keep the model's code from reading parameters of a block; call the block instead"
        raise UnsupportedLayerError("the model does not run with its modules replaced", where=", ".join(sorted(changes.replaced)), found=brief(error), hint=hint) from error
    gap = _gap(before.outputs, after.outputs)
    if gap <= tolerance:
        return
    if not _gap(before.outputs, _run(model, before.inputs).outputs) <= tolerance:
        raise InputError("the model is random: the same input gives different outputs", where="the model", expected="a deterministic function in evaluation mode")
    expected = f"at most {tolerance:.3g}, {share:g} of the largest value in the model"
    where = _first_difference(before, after, changes, tolerance) or "the model's own code: it treats a replaced module in another way"
    raise SoundnessError("the export is not the model: they give different outputs on the same inputs", where=where, found=f"largest difference {gap:.3g}", expected=expected)


def _gap(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest difference; inf for other shapes, NaN for NaN."""
    if [t.shape for t in first] != [t.shape for t in second]:
        return float("inf")
    gaps = [float((a - b).abs().max()) for a, b in zip(first, second) if a.numel()]
    return float("nan") if any(gap != gap for gap in gaps) else max(gaps, default=0.0)


def _first_difference(before: Observation, after: Observation, changes: Changes, tolerance: float) -> str:
    """The first call of a module, in the order of the model, whose outputs differ."""
    calls: dict[str, list[list[Tensor]]] = {}
    for path, values in after.modules:
        calls.setdefault(path, []).append(values)
    for path, values in before.modules:
        same = calls.get(path)
        if not same or changes.hides(path):
            continue
        if not _gap(values, same.pop(0)) <= tolerance:
            return changes.name(path)
    return ""
