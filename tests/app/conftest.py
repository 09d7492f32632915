"""Fixtures of the command-line tests: run a command in this process, and a small data set for `strategies.cli_models:tiny`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from certify.app.cli import main


@dataclass(frozen=True)
class Ran:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; anything else there is a failure."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@pytest.fixture
def certify_command(capsys, monkeypatch, tmp_path):
    """`certify_command("check", path, model)` in a fresh folder: never a traceback, never a partial file left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CERTIFY_TRACEBACK", raising=False)

    def run(*arguments) -> Ran:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        leftovers = [p for p in tmp_path.rglob(".*") if p.is_file()]
        assert not leftovers, f"half-written: {leftovers}"
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def tiny_data(tmp_path):
    """Forty inputs for the tiny model with their true labels, one of them wrong on purpose, as data.npz."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (40, 2)).astype(np.float32)
    logits = np.stack([np.maximum(2 * images[:, 0], 0), np.maximum(images[:, 1], 0), np.full(40, 0.1)], axis=1)
    labels = logits.argmax(axis=1)
    labels[7] = (labels[7] + 1) % 3
    path = tmp_path / "data.npz"
    np.savez(path, images=images, labels=labels)
    return path
