"""Where training runs: one CPU, one GPU, or several devices under `accelerate launch`. The only file that knows accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from .plan import Plan


@dataclass(frozen=True)
class Devices:
    """This process among `count`, and the device it works on."""

    accelerator: Any

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def count(self) -> int:
        return self.accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process writes files, speaks and certifies."""
        return self.accelerator.is_main_process

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model on its device, its gradients averaged over all processes; with a single process the very same module."""
        return self.accelerator.prepare_model(model)

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def share(self, chosen: Tensor) -> Tensor:
        """This process's part of a batch."""
        return chosen[self.rank :: self.count]

    def mean(self, value: Tensor) -> Tensor:
        """The average over the processes."""
        return self.accelerator.reduce(value, reduction="mean")

    def weight(self, mine: int, batch: int) -> float:
        """What a mean over `mine` of `batch` inputs is multiplied by, so that the average over the processes is the mean over the batch."""
        return mine * self.count / batch


@contextmanager
def devices(plan: Plan) -> Iterator[Devices]:
    """The devices of a run; accelerate's state is forgotten again at the end where it was made here and holds no process group.

    Raises:
        InputError: accelerate is not installed, or is set up in this process in a way that does not fit the plan.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, PartialState
    except ImportError as error:
        raise InputError(
            "training needs the package 'accelerate'",
            where="certify.train.fit",
            found="not installed",
            expected="accelerate 1.0 or newer",
            hint="pip install 'certify-reach[train]'",
        ) from error
    ours = not PartialState._shared_state
    try:
        accelerator = Accelerator(cpu=plan.device == "cpu", mixed_precision="no")
    except ValueError as error:
        raise InputError(
            "accelerate is set up differently in this process", where="Plan.device", found=str(error)[:200], expected="no mixed precision: Plan.precision is what decides"
        ) from error
    try:
        yield Devices(accelerator)
    finally:
        if ours and accelerator.num_processes == 1:
            AcceleratorState._reset_state(True)


@contextmanager
def surroundings(plan: Plan) -> Iterator[None]:
    """The plan's number of threads, random numbers of its own, gradients on, no autocast; all as before afterwards."""
    threads = torch.get_num_threads()
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    plain = torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False)
    with torch.random.fork_rng(devices=gpus), ExitStack() as stack:
        for context in plain:
            stack.enter_context(context)
        torch.set_num_threads(plan.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
