"""`certify train` into a folder: read what is asked, train, certify, draw, and make sure that the folder rebuilds the certified network."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, SoundnessError
from ..core.record import atomic_path
from . import results
from .frame import Answer
from .progress import bar

if TYPE_CHECKING:
    from ..train.recipes import Recipe
    from ..train.run import Run

REBUILD = "from certify.train.factory import rebuild"  # by this line our own model.py is known
MODEL, WEIGHTS, TRAINING, CHECKPOINT, RECORD = "model.py", "model.safetensors", "training.png", "checkpoint.pt", "training.json"


@dataclass(frozen=True)
class Wishes:
    """What the command line says in place of the recipe."""

    data: Path | None = None
    seed: int | None = None
    epochs: int | None = None
    attack: bool | None = None


def run(out: Path, config: Path | None, name: str | None, wishes: Wishes) -> Answer:
    """Do the run of a configuration file or of a recipe; see `certify train --help`."""
    from .training_data import load

    recipe = _asked(config, name)
    _refuse_unwritable(recipe)
    recipe = dataclasses.replace(recipe, plan=_wished(recipe, wishes, out))
    if _first():
        results.prepare(out)
    _refuse_another_command(out)
    data = load(recipe, wishes.data)
    finished = _fit(recipe, data.halves, out)
    if finished.result is None:
        return Answer("finished")  # one of several processes; the first one speaks
    _write_model(out, recipe, data.halves[0][0].shape[1:])
    model = f"{out / MODEL}:network"
    _require_rebuilt(model, out / WEIGHTS, finished)
    figures = _figures(finished)
    title = f"Certified accuracy: {recipe.name}, {data.name}"
    document = {
        "command": "train", "recipe": recipe.name, "row": recipe.row, "model": f"{model} --weights {out / WEIGHTS}", "factory": recipe.model,
        "arguments": dict(recipe.model_args), "data": data.name, "title": title, "summary": figures, **finished.record(),
    }  # fmt: skip
    files = _draw(out, finished, title)
    files = sorted([*files, results.CERTIFICATE, results.RADII, results.TABLE, WEIGHTS, MODEL, RECORD, CHECKPOINT, results.RUN])
    plan = finished.plan
    results.write_json(out / results.RUN, {"status": "finished", "norm": plan.norm, **document, "files": files})
    again = f"certify check {out / results.CERTIFICATE} {model} --weights {out / WEIGHTS}"
    show = (
        f"\n{recipe.name} on {data.name}, {plan.norm} norm, {len(finished.history)} epochs, {finished.seconds:.1f} CPU seconds of training\n",
        results.summary_table(figures, plan.norm),
        results.bracket_line(figures, plan.norm),
        f"files in {out}: {', '.join(files)}",
        f"check it again:  {again}",
    )
    fields = {key: value for key, value in document.items() if key != "history"}
    return Answer("finished", {**fields, "norm": plan.norm, "check": again, "files": {name: str(out / name) for name in files}}, show)


def _asked(config: Path | None, name: str | None) -> Recipe:
    """The recipe of the file or of the name; exactly one of them is given."""
    if (config is None) == (name is None):
        found = "neither" if config is None else "both"
        raise InputError("what is to be trained is said by a file or by a recipe", where="command line", found=found, expected="CONFIG.toml, or --recipe NAME")
    if config is not None:
        from ..train.config import load_config

        return load_config(config)
    from ..train.recipes import RECIPES

    if name not in RECIPES:
        raise InputError("there is no recipe of this name", where="--recipe", found=name, expected=", ".join(RECIPES))
    return RECIPES[name]


def _wished(recipe: Recipe, wishes: Wishes, out: Path) -> Any:
    """The plan with what the command line says; its complaints name the option."""
    changes = {name: value for name, value in dataclasses.asdict(wishes).items() if name != "data" and value is not None}
    try:
        return dataclasses.replace(recipe.plan, out=str(out), **changes)
    except InputError as error:
        where = f"--{str(error.where).removeprefix('Plan.')}"
        raise InputError(error.what, where=where, found=error.found, expected=error.expected, hint=error.hint) from None


def _refuse_another_command(out: Path) -> None:
    """A folder with files that we would write over and did not write is left alone; whether a training run there is the same one, its checkpoint knows."""
    from ..train.checkpoint import RESULTS

    present = [name for name in (results.RUN, MODEL, *RESULTS, results.CURVE, TRAINING) if (out / name).exists()]
    try:
        earlier = json.loads((out / results.RUN).read_text()).get("command") if results.RUN in present else "train"
        ours = MODEL not in present or REBUILD in (out / MODEL).read_text()
    except (OSError, ValueError, AttributeError):
        earlier, ours = "something unreadable", True
    if earlier == "train" and ours and (not present or (out / CHECKPOINT).exists()):
        return
    found = f"command {earlier}" if earlier != "train" else f"{MODEL} of somebody else" if not ours else f"{', '.join(present)} without {CHECKPOINT}"
    hint = "choose another --out, or remove the old folder"
    raise InputError("the output folder holds another run, or other files", where=out, found=found, expected="a new folder, or one of this very run", hint=hint)


def _refuse_unwritable(recipe: Recipe) -> None:
    """model.py repeats the arguments as Python text: what has none is refused before anything is trained."""
    for key, value in recipe.model_args.items():
        try:
            same = ast.literal_eval(repr(value)) == value
        except (ValueError, SyntaxError):
            same = False
        if not same:
            expected = "finite numbers, text, flags, lists, tables"
            raise InputError("this argument of the network cannot be kept", where=f"model.arguments.{key}", found=repr(value)[:80], expected=expected)


def _fit(recipe: Recipe, halves: Any, out: Path) -> Run:
    from ..train.factory import build
    from ..train.loop import fit

    model = build(recipe.model, recipe.model_args, recipe.plan.seed)
    with _resumable(out), bar(recipe.name) if _first() else nullcontext() as progress:
        return fit(model, halves, recipe.plan, progress)


def _first() -> bool:
    """Whether this is the only process, or the first one under `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Ctrl-C says what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"the last finished epoch, in {out / CHECKPOINT}" if (out / CHECKPOINT).exists() else "nothing: no epoch was finished"
        raise KeyboardInterrupt(f"stopped before the end\n  {'kept:':<10}{kept}\n  {'try:':<10}the same command again goes on from there") from None


def _write_model(out: Path, recipe: Recipe, shape: tuple[int, ...]) -> None:
    """model.py: how the plain network is built again, for `certify check` and for people."""
    title = re.sub(r'["\\\x00-\x1f\x7f]', "?", recipe.name)  # it stands in a docstring
    text = f'''"""The network that `certify train` left in this folder, as plain layers: {title}.

certify check certificate model.py:network --weights model.safetensors
"""

from pathlib import Path

{REBUILD}


def network():
    """{recipe.model} as it was exported, with the weights beside this file."""
    return rebuild({recipe.model!r}, {dict(recipe.model_args)!r}, {tuple(shape)!r}, Path(__file__).with_name({WEIGHTS!r}))
'''
    with atomic_path(out / MODEL) as temporary:
        temporary.write_text(text)


def _require_rebuilt(model: str, weights: Path, finished: Run) -> None:
    """The folder's model is the one that was certified, weight by weight."""
    from ..facade import as_graph
    from ..io.model import load_model

    graph = as_graph(load_model(model, weights), finished.result.graph.input_shape)
    if graph.digest != finished.result.graph.digest:
        raise SoundnessError(
            "the network that the folder rebuilds is not the one that was certified",
            where=model,
            found=f"graph {graph.digest[:16]}",
            expected=f"graph {finished.result.graph.digest[:16]}",
        )


def _figures(finished: Run) -> dict[str, Any]:
    """`results.summary`, at the radii of the plan where it has any."""
    figures, result = results.summary(finished.result), finished.result
    if finished.plan.radii:
        figures["certified_accuracy"] = {repr(eps): result.certified_accuracy(eps) for eps in finished.plan.radii}
        if "attacked_accuracy" in figures:
            figures["attacked_accuracy"] = {repr(eps): result.attacked_accuracy(eps) for eps in finished.plan.radii}
    return figures


def _draw(out: Path, finished: Run, title: str) -> list[str]:
    """curve.png and training.png, where matplotlib is installed; their names."""
    from .plot import can_plot, save_curve

    if not can_plot():
        return []
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    save_curve(out / results.CURVE, finished.result, title)
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    finished.plot(figure.subplots(1, 3))
    with atomic_path(out / TRAINING) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return [results.CURVE, TRAINING]
