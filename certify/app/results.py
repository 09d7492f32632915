"""What a run leaves in its folder, and the table that sums it up.

certificate   the proof, for `certify check`
radii.npz     radii, upper, predictions, labels, each (n,)
radii.csv     the same and the bound that won, one line per input
curve.png     certified accuracy over the radius (if matplotlib is installed)
run.json      what was asked, the summary, versions, seconds: written last, so its presence means the folder is complete
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.decimals import decimal_down, decimal_up
from ..core.errors import InputError
from ..core.record import atomic_path
from .frame import jsonable

if TYPE_CHECKING:
    from ..robustness.result import RadiusResult

CERTIFICATE, RADII, TABLE, CURVE, RUN, JOURNAL = "certificate", "radii.npz", "radii.csv", "curve.png", "run.json", "journal"
ARRAYS = ("radii", "upper", "predictions", "labels")


def prepare(out: Path) -> Path:
    """The output folder, made if absent. Raises InputError if something else has that name or it cannot be written."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(out / ".writable") as probe:
            probe.touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise InputError("the output folder cannot be used", where=f"--out {out}", found=error.strerror or str(error), expected="a folder that can be made and written") from error
    return out


def nice_radii(radii: np.ndarray, count: int = 5) -> list[float]:
    """At most `count` round numbers that span nearly all of the radii: k * step, step in {1, 2, 2.5, 5} * 10^j.

    >>> nice_radii(np.array([0.0, 0.31, 0.52, 0.6]))
    [0.2, 0.4, 0.6]
    """
    positive = radii[(radii > 0) & np.isfinite(radii)]
    top = float(np.quantile(positive, 0.98)) if positive.size else 0.0
    if not top > 0:
        return []
    power = 10.0 ** math.floor(math.log10(top / count))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power * count >= top * (1 - 1e-12))
    marks = [float(f"{k * step:.12g}") for k in range(1, count + 1)]
    return [mark for mark in marks if mark <= positive.max()] or [float(f"{top:.3g}")]


def summary(result: RadiusResult) -> dict[str, Any]:
    """The figures of a radius result: accuracies in [0, 1], radii in the units of the model's input."""
    correct = result.predictions == result.labels
    eps = nice_radii(result.radii)
    figures: dict[str, Any] = {
        "inputs": len(result),
        "clean_accuracy": result.accuracy,
        "certified_accuracy": {repr(e): result.certified_accuracy(e) for e in eps},
        "median_radius": float(np.median(result.radii[correct])) if correct.any() else 0.0,
    }
    if np.isfinite(result.upper[correct]).any():
        figures["attacked_accuracy"] = {repr(e): result.attacked_accuracy(e) for e in eps}
        figures["median_attack"] = float(np.median(result.upper[correct]))
    return figures


def summary_table(figures: Mapping[str, Any], norm: str) -> Any:
    """A rich table of `summary(...)`: one line per radius, certified from below (rounded down) and attacked from above (rounded up)."""
    from rich.table import Table

    count, attacked = figures["inputs"], figures.get("attacked_accuracy")
    table = Table(box=None, pad_edge=False)
    for name in (f"{norm} radius", "certified", *(["attacked"] if attacked else [])):
        table.add_column(name, justify="right")
    clean = figures["clean_accuracy"]
    table.add_row("0 (clean)", *[_percent(clean, count, math.floor)] * (2 if attacked else 1))
    for eps, value in figures["certified_accuracy"].items():
        table.add_row(f"{float(eps):g}", _percent(value, count, math.floor), *([_percent(attacked[eps], count, math.ceil)] if attacked else []))
    return table


def _percent(share: float, count: int, rounded: Callable[[Fraction], int]) -> str:
    """A share of `count` inputs with one decimal, rounded as told: never to the favourable side."""
    return f"{rounded(Fraction(1000 * round(share * count), count)) / 10:.1f} %"


def bracket_line(figures: Mapping[str, Any], norm: str) -> str:
    """One sentence: where the median of the true robustness radii lies."""
    low = decimal_down(figures["median_radius"], 3)
    if "median_attack" not in figures:
        return f"median over the correct inputs: the class is kept within {norm} distance {low} (proved)"
    return f"median over the correct inputs: the class is kept within {low} (proved) and changes at {decimal_up(figures['median_attack'], 3)} or nearer (attack)"


def write_json(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a readable JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(jsonable(document), indent=1) + "\n")
    return Path(path)


def write_results(out: Path, result: Any, norm: str, run: Mapping[str, Any], title: str = "") -> dict[str, str]:
    """Write every file of a finished run; returns name -> path. `run` goes into run.json, which is written last."""
    from ..proof.certificate import versions
    from .plot import can_plot, save_curve

    (out / RUN).unlink(missing_ok=True)  # a folder is complete or has no run.json
    result.to_npz(out / RADII)
    result.to_csv(out / TABLE)
    result.save(out / CERTIFICATE)
    files = {name: str(out / name) for name in (CERTIFICATE, RADII, TABLE)}
    if can_plot():
        files[CURVE] = str(save_curve(out / CURVE, result, title))
    files[RUN] = str(out / RUN)
    torch = {"torch": importlib.metadata.version("torch")}
    write_json(out / RUN, {"status": "finished", "norm": norm, **run, "files": sorted(files), "versions": {**versions(), **torch}})
    return files


def load(out: Path) -> tuple[dict[str, Any], RadiusResult]:
    """run.json and the radii of a finished run; the result has no model, so it can be summed up and drawn but not saved.

    Raises:
        InputError: no such folder, an unfinished run, or files that do not belong together.
    """
    from ..core.regions import require_norm
    from ..robustness.result import RadiusResult

    out = Path(out)
    if not (out / RUN).is_file():
        hint = "the run was interrupted: give the same command again" if (out / JOURNAL).is_dir() else "give the folder that --out named"
        raise InputError("this is not the folder of a finished run", where=out, found="no run.json" if out.is_dir() else "no such folder", expected=f"{RUN} and {RADII}", hint=hint)
    try:
        run = json.loads((out / RUN).read_text())
        with np.load(out / RADII, allow_pickle=False) as archive:
            radii, upper, predictions, labels = (archive[name] for name in ARRAYS)
        require_norm(run["norm"])
        if not (radii.ndim == 1 and radii.size and radii.shape == upper.shape == predictions.shape == labels.shape and (radii <= upper).all()):
            raise ValueError(f"shapes {radii.shape}, {upper.shape}, {predictions.shape}, {labels.shape}, or a radius above its upper end")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            "the files of the run cannot be read",
            where=out,
            found=f"{type(error).__name__}: {error}",
            expected=f"{RUN} and {RADII} as `certify radius` wrote them",
            hint="run it again",
        ) from error
    methods = np.where(radii > 0, "certified", "none")
    return run, RadiusResult(radii, upper, predictions, labels, methods, run["norm"], None, np.empty(0), None, None)  # type: ignore[arg-type]
