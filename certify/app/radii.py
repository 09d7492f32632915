"""A radius run into a folder: resumable, refused where another run already lives, complete or without run.json."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.graph import Graph
from ..core.record import digest_array
from ..robustness.journal import Journal
from ..robustness.radii import certify_radii
from . import results
from .progress import bar


@dataclass(frozen=True)
class Question:
    """What is asked about model and data; with their digests, the identity of a run."""

    norm: str = "l2"
    method: str = "auto"
    effort: str = "balanced"
    attack: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Finished:
    """The result, run.json's document, and what to show."""

    result: Any
    document: Mapping[str, Any]
    show: tuple[Any, ...]


def certify_into(out: Path, graph: Graph, images: np.ndarray, labels: np.ndarray, question: Question, run: Mapping[str, Any], title: str = "", **settings: Any) -> Finished:
    """Certify, write every file of `results` into `out`, and describe it.

    Raises:
        InputError: `out` holds the finished run of another question. KeyboardInterrupt: with a message that says how to go on.
    """
    identity = {"graph": graph.digest, "inputs": digest_array(images), "labels": digest_array(labels), **asdict(question)}
    _refuse_another(out, identity)
    start = time.process_time(), time.perf_counter()
    journal = out / results.JOURNAL
    try:
        with bar("certify") as progress:
            result = certify_radii(graph, images, labels, **asdict(question), progress=progress, journal=Journal(journal), **settings)
        seconds = {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}
        document = {**run, "question": identity, "summary": results.summary(result), "seconds": seconds}
        files = results.write_results(out, result, question.norm, document, title)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped before the end\n  {'kept:':<10}finished inputs, in {journal}\n  {'try:':<10}the same command again goes on from there") from None
    shutil.rmtree(journal, ignore_errors=True)  # the files hold everything now
    figures = document["summary"]
    show = (results.summary_table(figures, question.norm), results.bracket_line(figures, question.norm), f"files in {out}: {', '.join(Path(f).name for f in files.values())}")
    return Finished(result, {**document, "norm": question.norm, "files": files}, show)


def _refuse_another(out: Path, identity: Mapping[str, Any]) -> None:
    """A finished run of another question is not overwritten; one of this question is (its numbers come out the same)."""
    path = out / results.RUN
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text()).get("question", {})
    except (OSError, ValueError, AttributeError):
        before = {}
    different = [name for name, value in identity.items() if before.get(name) != value]
    if different:
        raise InputError(
            "the output folder holds the finished run of another question",
            where=path,
            found=f"another {', '.join(different)}",
            expected="a new folder, or the run of this very model, data and settings",
            hint="choose another --out, or remove the old folder",
        )
