"""Run: what training ends with. The exported network, its history, and a fresh certificate of the exported weights."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..core.errors import InputError, UnsupportedLayerError
from ..core.record import atomic_path
from ..facade import as_graph
from ..robustness.heads import Head, find_head
from ..robustness.journal import Journal
from ..robustness.radii import certify_radii
from ..rules.base import rule_for
from .plan import Plan

if TYPE_CHECKING:
    from ..robustness.result import RadiusResult

WEIGHTS, CERTIFICATE, RADII, TABLE, JOURNAL = "model.safetensors", "certificate", "radii.npz", "radii.csv", "journal"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run.

    Attributes:
        model: the trained network as plain torch layers, in eval mode, on the CPU. What is certified is this module and no other.
        history: one dict per epoch: epoch, loss, penalty, clean, certified (of the validation split: estimates), learning_rate, epsilon, seconds
            (of CPU), layers (name -> norm and stable rank: estimates).
        result: `certify.radius(model, x_test, y_test)`: certified radii of all test inputs, found from the exported weights. None in processes other than
            the first one under `accelerate launch`.
        folder: where the files are; None for a run without a folder.
        plan: the plan. trained: the trained network with its parametrizations, in eval mode, for whoever wants to train on.
        certify_seconds: CPU seconds of the certificate and the attack.
    """

    model: nn.Module
    history: list[dict[str, Any]]
    result: RadiusResult
    folder: str | None
    plan: Plan
    trained: nn.Module
    certify_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """CPU seconds of all epochs, whatever process they ran in."""
        return sum(row["seconds"] for row in self.history)

    def curve(self) -> dict[str, float]:
        """Certified accuracy at the radii of the plan, proved; "0" is the share that is provably right."""
        return {"0": self.result.certified_accuracy(0), **{repr(eps): self.result.certified_accuracy(eps) for eps in self.plan.radii}}

    def record(self) -> dict[str, Any]:
        """The run as JSON data: plan, versions, machine, certified curve, history."""
        from ..proof.certificate import versions

        machine = {"system": platform.platform(), "processor": platform.machine(), "threads": self.plan.threads}
        return {
            "plan": self.plan.record(),
            "versions": {**versions(), "torch": torch.__version__},
            "machine": machine,
            "accuracy": self.result.accuracy,
            "curve": self.curve(),
            "seconds": {"train": self.seconds, "certify": self.certify_seconds},
            "history": self.history,
        }

    def plot(self, axes: Any = None) -> Any:
        """Loss, accuracies and layer norms over the epochs (loads matplotlib). Returns the axes."""
        from .diagnostics_plot import plot

        return plot(self.history, axes)


def require_certifiable(model: nn.Module, input_shape: tuple[int, ...], norm: str) -> Head:
    """The head of what `model` will be exported as: what cannot be certified after training is said before it.

    Raises:
        UnsupportedLayerError: a layer without a rule or without a finite constant, named. InputError: the output is no vector of logits.
    Cost: an export and a trace; no norms are taken.
    """
    graph = as_graph(exported(model, input_shape), input_shape)
    for node in graph.nodes:
        if node.op != "input":
            rule = rule_for(node.op, node.source or node.name)
            if not rule.finite:
                rule.local(node, graph.input_shapes(node), norm, "fast")
                raise UnsupportedLayerError("a layer has no finite constant", where=node.source or node.name, found=node.op)
    return find_head(graph)


def exported(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """A plain module in eval mode on the CPU with the function of `model`, which stays as it is."""
    from .exporting import export
    from .session import copied

    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise InputError("a weight has no values", where=name, found="device meta", expected="a model with its weights", hint="model.to_empty(device='cpu'), and initialise it")
    return export(copied(model).cpu().eval(), input_shape)


def certified(model: nn.Module, test: tuple[np.ndarray, np.ndarray], plan: Plan, progress: Progress | None) -> RadiusResult:
    """`certify.radius` of the exported weights on all test inputs; finished units are kept in the folder of the run until the end.

    Nothing that training believed enters: neither its constants nor its estimates.
    """
    journal = None if plan.out is None else Journal(Path(plan.out) / JOURNAL)
    inputs, labels = test
    graph = as_graph(model, inputs.shape[1:])
    return certify_radii(graph, inputs, labels, plan.norm, attack=plan.attack, seed=plan.seed, progress=progress, journal=journal)


def write_weights(folder: Path, model: nn.Module) -> None:
    """model.safetensors: the exported weights, each tensor with storage of its own."""
    from safetensors.torch import save

    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save({name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}))


def write_result(folder: Path, result: RadiusResult) -> None:
    """The certificate and the radii."""
    result.to_npz(folder / RADII)
    result.to_csv(folder / TABLE)
    result.save(folder / CERTIFICATE)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """training.json: written last, so its presence means the folder is complete."""
    from ..core.record import canonical_json

    with atomic_path(folder / "training.json") as temporary:
        temporary.write_text(canonical_json(record) + "\n")
