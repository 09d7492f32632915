"""The demo: train, certify, attack, save, check, draw. Everything it does can be done by hand with the public functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.record import atomic_path
from . import results
from .frame import Answer
from .progress import bar

WEIGHTS, DATA = "model.safetensors", "data.npz"


@dataclass(frozen=True)
class Images:
    """A data set in two halves: (n, 1, size, size) float32 pixels in [0, 1] and int64 labels; `factory` names the model for it."""

    name: str
    factory: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@dataclass
class Clock:
    """CPU and wall seconds per stage."""

    stages: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        start = time.process_time(), time.perf_counter()
        with bar(name) as progress:
            yield progress
        self.stages[name] = {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}

    def line(self) -> str:
        return "CPU seconds: " + ", ".join(f"{name} {s['cpu']:.1f}" for name, s in self.stages.items()) + f"; together, with loading torch, {time.process_time():.1f}"


def digits(seed: int) -> Images:
    """scikit-learn's 1797 handwritten digits, 8 x 8 pixels: 1297 to train, 500 to test, split by the seed."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = (raw.images[:, None] / 16).astype(np.float32)  # sixteenths: exact
    labels = raw.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = order[:500], order[500:]
    return Images("scikit-learn digits (500 test images, 8 x 8)", "certify.app.demo_model:digits", (images[train], labels[train]), (images[test], labels[test]))


def idx(folder: Path) -> Images:
    """MNIST or a sibling of it from its four IDX files: the official halves, pixels divided by 255 in float32."""
    from ..io.data import load_data

    train, test = load_data(folder, split="train", classes=10), load_data(folder, split="test", classes=10)
    if not train.images.shape[1:] == test.images.shape[1:] == (1, 28, 28):
        raise InputError("the demo's network is for grey images of 28 x 28 pixels", where=folder, found=str(train.images.shape[1:]), expected="(1, 28, 28)")
    return Images(f"{folder.resolve().name} ({len(test)} test images, 28 x 28)", "certify.app.demo_model:mnist", (train.images, train.labels), (test.images, test.labels))


def run(out: Path, data: Path | None, seed: int, epochs: int | None, attack: bool = True) -> Answer:
    """Do the demo into `out`; see `certify demo --help`."""
    from .. import check
    from ..core.trace import trace
    from . import demo_model
    from .radii import Question, certify_into

    if epochs is not None and epochs < 1:
        raise InputError("there is nothing to train", where="--epochs", found=epochs, expected="at least 1")
    clock = Clock()
    out = results.prepare(out)
    _make_room(out)
    with clock.stage("data"):
        images = digits(seed) if data is None else idx(data)
    recipe = demo_model.Recipe() if data is None else demo_model.MNIST
    recipe = replace(recipe, epochs=recipe.epochs if epochs is None else epochs)
    with clock.stage("train") as progress, demo_model.one_thread():
        model = demo_model.train(*images.train, recipe, seed, progress)
    _save(out, model, images)
    x, y = images.test
    graph = trace(model, x.shape[1:])
    described = {"command": "demo", "model": f"{images.factory} --weights {out / WEIGHTS}", "data": images.name, "title": f"Certified accuracy: {images.name}"}
    with clock.stage("certify and attack" if attack else "certify"):
        finished = certify_into(out, graph, x, y, Question(seed=seed, attack=attack), described, described["title"])
    with clock.stage("check"):
        report = check(out / results.CERTIFICATE, model)
    again = f"certify check {out / results.CERTIFICATE} {described['model']}"
    show = (
        f"\n{images.name}, l2 norm, pixels in [0, 1]\n",
        *finished.show[:2],
        f"certificate: checked, {len(report.steps)} steps hold",
        clock.line(),
        finished.show[2],
        f"check it again:  {again}",
    )
    fields = {**finished.document, "checked": report.ok, "steps": len(report.steps), "stages": clock.stages}
    return Answer("finished" if report.ok else "not proved", fields, show)


def _make_room(out: Path) -> None:
    """An earlier demo in this folder may go; anything else may not."""
    path = out / results.RUN
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text()).get("command")
    except (OSError, ValueError, AttributeError):
        earlier = "something unreadable"
    if earlier != "demo":
        raise InputError(
            "the output folder holds another run", where=path, found=f"command {earlier}", expected="a new folder, or one of an earlier demo", hint="choose another --out"
        )
    path.unlink()


def _save(out: Path, model: Any, images: Images) -> None:
    """The trained weights and the test set, so that `certify radius` and `certify check` can do it all again."""
    from safetensors.torch import save_file

    with atomic_path(out / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    with atomic_path(out / DATA) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, images=images.test[0], labels=images.test[1])
