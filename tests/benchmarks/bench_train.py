"""How much certified accuracy does a CPU second buy? The recipes on all test inputs, several seeds, against what peers reached.

    PYTHONPATH=. python tests/benchmarks/bench_train.py [--only NAME ...] [--seeds 3]

One JSON row per recipe, budget and seed: CPU seconds of training (one thread; certifying is counted apart), clean and certified accuracy at the radii of the row, proved by
`certify.radius` from the exported weights, the largest certified constant, and the same certificate proved again by `certify.check`. Then one row per target. MNIST, the
UCI digits and the JPEG copy of CIFAR-10 come from CERTIFY_DATA; a set that is not there is skipped with a reason.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from common import emit  # noqa: E402

DATA = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))


@dataclass(frozen=True)
class Case:
    """A recipe with a budget: epochs in place of the recipe's, the folder of its data, and the targets {radius: least share}, at most `seconds` CPU seconds."""

    name: str
    recipe: str
    folder: str
    seconds: float
    targets: dict[float, float]
    epochs: int | None = None


CASES = (
    Case("digits", "digits", "optdigits", 10, {0.25: 0.89, 0.5: 0.69}),
    Case("mnist-158, 100 s", "mnist-158", "mnist", 100, {1.58: 0.56}, epochs=3),
    Case("mnist-158", "mnist-158", "mnist", 600, {0: 0.965, 0.5: 0.93, 1.58: 0.61}),
    Case("mnist-03", "mnist-03", "mnist", 600, {0: 0.985, 0.3: 0.96}),
    Case("cifar10-36", "cifar10-36", "cifar10_jpg", 393, {0: 0.543, 36 / 255: 0.384, 72 / 255: 0.251, 108 / 255: 0.150}),
)


def halves(case: Case) -> Any:
    """((x_train, y_train), (x_test, y_test)), or None where the data are absent."""
    from certify.app.training_data import load
    from certify.train.recipes import RECIPES

    folder = DATA / case.folder
    if not folder.is_dir():
        return None
    return jpegs(folder / "cifar10_jpg.zip") if case.folder == "cifar10_jpg" else load(RECIPES[case.recipe], folder).halves


def jpegs(path: Path) -> Any:
    """The JPEG copy of CIFAR-10 from its zip, in the order of the file names."""
    from PIL import Image

    found: dict[str, tuple[list, list]] = {"train": ([], []), "test": ([], [])}
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        classes = sorted({name.split("/")[1] for name in names})
        for name in names:
            half, label, _ = name.split("/")
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), dtype=np.float32) / 255
            found[half][0].append(pixels.transpose(2, 0, 1))
            found[half][1].append(classes.index(label))
    return tuple((np.stack(images), np.array(labels)) for images, labels in (found["train"], found["test"]))


def run(case: Case, data: Any, seed: int) -> dict[str, Any]:
    import certify
    from certify.train import fit
    from certify.train.factory import build
    from certify.train.recipes import RECIPES

    recipe = RECIPES[case.recipe]
    radii = tuple(sorted({*recipe.plan.radii, *(r for r in case.targets if r)}))
    plan = replace(recipe.plan, seed=seed, attack=False, epochs=case.epochs or recipe.plan.epochs, radii=radii)
    done = fit(build(recipe.model, recipe.model_args, seed), data, plan)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        checked = certify.check(done.result.save(Path(folder) / "certificate"), done.model).ok
    return {
        "case": case.name, "seed": seed, "epochs": plan.epochs, "cpu_seconds": round(done.seconds, 1), "certify_seconds": round(done.certify_seconds, 1),
        "check_seconds": round(time.process_time() - began, 1), "checked": checked, "clean": done.result.accuracy, "certified": done.curve(),
        "constant": certify.lipschitz(done.model, data[0][0].shape[1:]).upper, "weights": sum(p.numel() for p in done.model.parameters()), "inputs": len(data[1][1]),
    }  # fmt: skip


def verdict(case: Case, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds against the targets; `met` asks for the mean, `all` for every seed."""

    def at(row: dict[str, Any], radius: float) -> float:
        return row["clean"] if radius == 0 else row["certified"][repr(radius)]

    reached = {repr(r): {"least": least, "mean": round(mean(at(row, r) for row in rows), 4), "worst": min(at(row, r) for row in rows)} for r, least in case.targets.items()}
    seconds = max(row["cpu_seconds"] for row in rows)
    met = all(v["mean"] >= v["least"] for v in reached.values()) and seconds <= case.seconds
    every = met and all(v["worst"] >= v["least"] for v in reached.values())
    return {"target": case.name, "seconds": {"most": case.seconds, "slowest": seconds}, "reached": reached, "met": met, "all": every}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for case in CASES:
        if case.name not in options.only:
            continue
        data = halves(case)
        if data is None:
            emit("training", case=case.name, skipped=f"no folder {DATA / case.folder}; set CERTIFY_DATA")
            continue
        rows = []
        for seed in range(options.seeds):
            rows.append(run(case, data, seed))
            emit("training", **rows[-1])
        emit("target", **verdict(case, rows))


if __name__ == "__main__":
    main()
