"""The 40 plants and controllers of ../shared/data/controllers as closed loops: what every reach benchmark and several tests start from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import reach
from certify.core.graph import Graph, GraphBuilder

FOLDER = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")) / "controllers"


def load(folder: Path = FOLDER) -> dict[str, Any]:
    """benchmarks.json."""
    return json.loads((folder / "benchmarks.json").read_text())


def simulated(folder: Path = FOLDER) -> dict[str, Any]:
    """simulation_check.json: hulls by simulation."""
    return json.loads((folder / "simulation_check.json").read_text())


def network(path: Path, activations: list[str]) -> Graph:
    """The Graph of a plain .npz with W0, b0, W1, ..."""
    z = np.load(path)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (z["W0"].shape[1],)})
    for i, kind in enumerate(activations):
        x = b.add("dense", [x], arrays={"weight": z[f"W{i}"].astype(np.float64), "bias": z[f"b{i}"].astype(np.float64).reshape(-1)}, name=f"layer {i}")
        if kind != "linear":
            x = b.add("activation", [x], {"kind": kind}, name=f"{kind} {i}")
    return b.build(x)


def loop_of(entry: dict[str, Any], folder: Path = FOLDER) -> reach.ClosedLoop:
    """The closed loop of a continuous entry."""
    c = entry["controller"]
    plant = reach.ContinuousSystem(entry["states"], entry["inputs"], entry["dynamics"], {k: tuple(v) for k, v in (entry.get("disturbance") or {}).items()})
    inputs = None if entry["controller_input"] == entry["states"] else entry["controller_input"]
    controller = reach.Controller(network(folder / c["file"], c["activations"]), inputs=inputs, offset=c["out_offset"], scale=c["out_scale"])
    return reach.ClosedLoop(plant, controller, entry["control_step"])


def initial_of(entry: dict[str, Any]) -> reach.Box:
    """The initial box."""
    x = np.array(entry["X0"], np.float64)
    return reach.Box(x[:, 0], x[:, 1])


def specifications_of(entry: dict[str, Any]) -> list[tuple[str, Any, int]]:
    """(id, specification, control steps) of every specification of an entry."""
    made = []
    for s in entry["specs"]:
        steps = s.get("steps", entry["steps"])
        window = tuple(round(t / entry["control_step"]) for t in s["time"]) if "time" in s else None
        if s["kind"] == "reach_at_end":
            spec: Any = reach.Arrive(s["goal"])
        elif s["kind"] == "reach_within":
            spec = reach.ArriveWithin(s["goal"], steps=(0, steps))
        elif s["kind"] == "avoid_box":
            spec = reach.Avoid(s["unsafe"])
        else:
            spec = reach.Stay([f"{g} >= 0" for g in s["safe_ge0"]], at="samples" if s["kind"] == "always_at_control_steps" else "always", steps=window)
        made.append((s["id"], spec, steps))
    return made


def switching_of(entry: dict[str, Any], worst: bool, hdot0: float, folder: Path = FOLDER) -> tuple[reach.ClosedLoop, reach.Box]:
    """The VCAS loop with its set-valued advisory: the central acceleration of each advisory, or (worst) any of the three."""
    rule, modes = entry["switching"], entry["switching"]["advisories"]
    networks = {mode: network(folder / c["file"], c["activations"]) for mode, c in zip(modes, entry["controller"])}

    def controls(previous, new, box):
        text = rule["comply_ftmin"].get(new)
        limit = float(text.split("=")[1]) if text else 0.0
        ends = (60 * box.lower[1], 60 * box.upper[1])
        comply = {False} if text is None else {v <= limit if "<=" in text else v >= limit for v in ends}
        found = []
        for yes in comply:
            if yes and previous == new:
                found.append([0.0])
            else:
                choices = [[c * rule["g"]] for c in rule["acc_choices_in_g"][new]]
                found += choices if worst else [choices[len(choices) // 2]]
        return found

    plant = reach.DiscreteSystem(entry["states"], entry["inputs"], entry["dynamics"])
    switching = reach.Switching(networks, rule["initial"], controls, inputs=entry["controller_input"], modes=modes)
    box = np.array([entry["X0"][0], [hdot0, hdot0], entry["X0"][2]])
    return reach.ClosedLoop(plant, switching, entry["control_step"]), reach.Box(box[:, 0], box[:, 1])
