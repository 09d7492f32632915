"""Writing certificates of flowpipes: what each step needs to be proved again, as data."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from certify.core.errors import InputError
from certify.core.record import digest_array, write_record

from .claims import claim_of
from .layout import FORMAT, assumptions, claim, plant_part

__all__ = ["save"]


def save(pipe: Any, path: Any, specs: Iterable[Any] = ()) -> Path:
    """Write the certificate of a Flowpipe to exactly `path`; equal flowpipes and versions give equal bytes.

    Args:
        pipe: a `reach.Flowpipe`. path: the file. specs: specifications that `pipe.verify` proved (VERIFIED); the checker proves them again.
    Returns:
        The path written.
    Raises:
        InputError: a flowpipe without steps, one whose controller was not abstracted layer by layer, a specification of unknown form, a path that cannot be written.
    Cost: the arrays of the flowpipe, without the generators inside a period; they are recomputed.
    """
    if not isinstance(specs, Iterable):
        specs = (specs,)
    loop = pipe.loop
    graph = getattr(loop.controller, "graph", None)
    if graph is None:
        what = "this controller cannot be certified: a checker would have nothing to derive its values from"
        raise InputError(what, where="save, controller", found=type(loop.controller).__name__, expected="one network: a module, an ONNX file or a Graph")
    if not pipe.steps:
        raise InputError("a flowpipe without steps has nothing to certify", where="save", expected="at least one control step")
    continuous = loop.plant.time == "continuous"
    asked = max(len(pipe.steps), int(pipe.settings.get("steps", 0)))
    arrays = {name: _joined(parts, name) for name, parts in _arrays(pipe, continuous).items()}
    document = {
        "format": FORMAT, "kind": "flowpipe", "claim": claim(continuous), "assumptions": assumptions(), "versions": _versions(),
        "settings": {str(k): str(v) for k, v in dict(pipe.settings).items()}, "plant": plant_part(loop.plant), "controller": {"digest": graph.digest}, "period": float(loop.period),
        "initial": {"lower": pipe.initial.lower.tolist(), "upper": pipe.initial.upper.tolist()}, "variables": int(pipe.steps[0].state.ring.variables),
        "steps": [_step(step) for step in pipe.steps], "specifications": [claim_of(spec, loop, len(pipe.steps), asked) for spec in specs],
        "digests": {name: digest_array(a) for name, a in arrays.items()},
    }  # fmt: skip
    return write_record(path, document, arrays)


def _versions() -> dict[str, str]:
    from certify import __version__

    return {"reach": __version__, "numpy": np.__version__, "python": platform.python_version()}


def _step(step: Any) -> dict[str, Any]:
    layers = [[record.name, *np.shape(record.fits.coefficients)] for record in _records(step)]
    return {
        "order": int(step.state.ring.order), "columns": int(step.state.generators.shape[1]), "kept": None if step.kept is None else len(step.kept), "pieces": len(step.pieces),
        "layers": [[name, int(neurons), int(terms) - 1] for name, neurons, terms in layers],
    }  # fmt: skip


def _records(step: Any) -> list[Any]:
    records = list(step.control.evidence)
    if not all(hasattr(r, "fits") and hasattr(r, "name") for r in records):
        raise InputError(
            "the controller's abstraction leaves nothing that a checker could prove again",
            where="save",
            found=type(records[0]).__name__,
            expected="a layer-by-layer abstraction",
            hint="solve with controller=reach.Layerwise() to get a certificate",
        )
    return records


def _arrays(pipe: Any, continuous: bool) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {name: [] for name in _COMMON + (_CONTINUOUS if continuous else _DISCRETE)}
    for step in pipe.steps:
        values = [step.state.coefficients, step.state.generators, np.zeros(0, np.int64) if step.kept is None else step.kept]
        values += [step.control.coefficients, step.control.generators, step.control.box]
        records = _records(step)
        for field in ("centre", "radius", "error", "slope_lower", "slope_upper", "coefficients"):
            values.append(np.concatenate([np.zeros(0), *(np.ravel(getattr(r.fits, field)) for r in records)]))
        for name, value in zip(_COMMON, values, strict=True):
            out[name].append(value)
        for piece in step.pieces:
            if continuous:
                n = len(piece.picard)
                ends, nw = piece.end.generators, piece.jacobian.shape[1] - piece.transition.shape[1]
                first = ends.shape[1] - n - nw
                fresh = np.diagonal(ends[:, first + nw :])
                rows = [piece.h, piece.coefficients, piece.picard, piece.deviation, piece.bound, piece.transition, ends[:, first : first + nw], fresh]
            else:
                rows = [piece.end.coefficients, piece.jacobian, piece.remainder]
            for name, value in zip(_CONTINUOUS if continuous else _DISCRETE, rows, strict=True):
                out[name].append(value)
    return out


_COMMON = (
    "state_coefficients", "state_generators", "kept", "control_coefficients", "control_generators", "control_box",
    "fit_centre", "fit_radius", "fit_error", "fit_slope_lower", "fit_slope_upper", "fit_coefficients",
)  # fmt: skip
_CONTINUOUS = ("piece_length", "piece_motion", "piece_picard", "piece_deviation", "piece_bound", "piece_transition", "piece_disturbance", "piece_fresh")
_DISCRETE = ("update_coefficients", "update_jacobian", "update_fresh")


def _joined(parts: list[Any], name: str) -> np.ndarray:
    kind = np.int64 if name == "kept" else np.float64
    return np.concatenate([np.zeros(0, kind), *(np.ravel(np.asarray(p, kind)) for p in parts)])
