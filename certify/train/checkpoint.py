"""The checkpoint of a run: one file in its folder, whole or absent, read without unpickling anything, and only by the run that wrote it."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import InputError
from ..core.record import atomic_path, canonical_json, digest_array
from .plan import Plan

NAME, FORMAT = "checkpoint.pt", 1
RESULTS = ("training.json", "certificate", "radii.npz", "radii.csv", "model.safetensors")  # what a finished run leaves, and nothing may write over
_SEEN = ("training", "dims")  # attributes that a look at the model changes
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def digest_model(model: nn.Module) -> str:
    """SHA-256 of the layers as they print, of their plain attributes (numbers, text, flags), of every weight and buffer, and of what is trained: equal for two
    models that start alike. Code that changed under the same names is not seen.

    >>> digest_model(nn.ReLU()) == digest_model(nn.ReLU()) != digest_model(nn.Tanh())
    True
    """
    rows: list[Any] = []
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        plain = tensor.detach().cpu()
        array = (plain.float() if plain.dtype in (torch.bfloat16, torch.float16) else plain).numpy()
        rows.append([name, str(plain.dtype), digest_array(array), tensor.requires_grad])
    for path, part in model.named_modules():
        settings = {k: repr(v) for k, v in vars(part).items() if isinstance(v, bool | int | float | str) and not k.startswith("_") and k not in _SEEN}
        rows.append([path, settings])
    return hashlib.sha256(canonical_json([_ADDRESS.sub("", repr(model)), rows]).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one run, which its identity names: the plan's record, the digests of the data, the digest of the model before training.

    `write` replaces the file atomically, so that the last good one survives whatever interrupts. Removing the file is always safe.
    """

    folder: Path
    identity: Mapping[str, Any]

    @classmethod
    def of(cls, plan: Plan, model: nn.Module, data: Mapping[str, str]) -> Checkpoint | None:
        """That of a run in `plan.out`, which is made if absent; None for a run without a folder.

        Raises:
            InputError: the folder cannot be made.
        """
        if plan.out is None:
            return None
        folder = Path(plan.out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("the folder of the run cannot be used", where=folder, found=error.strerror or str(error), expected="a folder that can be made and written") from error
        return cls(folder, {"plan": plan.record(), "data": dict(data), "model": digest_model(model)})

    @property
    def path(self) -> Path:
        return self.folder / NAME

    def write(self, snapshot: Mapping[str, Any]) -> None:
        """Keep a snapshot; on any failure the one before stays."""
        content = io.BytesIO()  # torch's own writer tells of a full disk by an error that is no OSError
        torch.save({"format": FORMAT, "identity": dict(self.identity), **snapshot}, content)
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            stream.write(content.getbuffer())

    def read(self) -> dict[str, Any] | None:
        """The snapshot, on the CPU; None if there is none yet.

        Raises:
            InputError: a damaged file, the checkpoint of another plan, other data or another model, which is named; or the results of a run without its checkpoint.
        """
        if not self.path.exists():
            left = [name for name in RESULTS if (self.folder / name).exists()]
            if left:
                hint = "choose another folder, or remove the old one"
                raise InputError("the folder holds results and no checkpoint", where=self.folder, found=", ".join(left), expected=f"a new folder, or one with {NAME}", hint=hint)
            return None
        try:
            stored = torch.load(self.path, map_location="cpu", weights_only=True)
            found, known = stored["identity"], stored["format"] == FORMAT
            before = {"plan": dict(found["plan"]), "data": dict(found["data"]), "model": str(found["model"])}
        except Exception as error:  # torch raises many kinds; with weights_only it executes nothing
            raise InputError(
                "the checkpoint is damaged, or no checkpoint",
                where=self.path,
                found=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
                expected="what certify.train.fit wrote",
                hint="remove the file to begin anew",
            ) from error
        if not known:
            raise InputError("the checkpoint is of another version", where=self.path, found=stored["format"], expected=FORMAT, hint="remove the file to begin anew")
        self._require_same(before)
        return stored

    def _require_same(self, before: Mapping[str, Any]) -> None:
        """Refuse the checkpoint of another run, naming the first difference."""
        pairs = [(f"Plan.{name}", before["plan"].get(name), now) for name, now in self.identity["plan"].items()]
        pairs += [(f"data, {name}", before["data"].get(name), now) for name, now in self.identity["data"].items()]
        pairs += [("the model's layers and starting weights", before["model"], self.identity["model"])]
        different = [row for row in pairs if row[1] != row[2]]
        if not different:
            return
        names = ", ".join(row[0] for row in different)
        hint = "choose another folder, or remove this one" + ("; a model that starts from random weights needs a fixed seed" if "model" in names else "")
        raise InputError(f"the folder holds another run; what differs: {names}", where=self.path, found=str(different[0][1])[:120], expected=str(different[0][2])[:120], hint=hint)
