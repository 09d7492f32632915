"""docs/reach.md and the README say what the commands do: every key is documented, the example file works, the demo prints what is shown."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import numpy as np

import reach
from reach.app import demo_plant
from reach.app.networks import save_npz
from reach.app.problem import SECTIONS, load_problem
from reach.app.problem_controller import CONTROLLER
from reach.app.questions import KINDS

ROOT = Path(__file__).resolve().parents[3]
GUIDE, README = (ROOT / "docs" / "reach.md").read_text(), (ROOT / "README.md").read_text()


def test_every_section_and_key_is_documented():
    plant = ("time", "states", "inputs", "rates", "updates")
    for key in (*plant, *CONTROLLER, "period", "horizon", "order", "substeps", "kind", "set", "steps", "step", "at", "name"):
        assert f"`{key}`" in GUIDE, key
    for name in SECTIONS:
        assert name == "name" or f"[{name}" in GUIDE, name
    assert all(f'`"{kind}"`' in GUIDE for kind in KINDS)
    assert {"order", "substeps"} <= {field.name for field in dataclasses.fields(reach.Picard)}


def test_the_example_of_the_guide_is_a_problem(tmp_path):
    text = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[0]
    save_npz(tmp_path / "controller.npz", [np.zeros((16, 2)), np.zeros((16, 16)), np.zeros((1, 16))], [np.zeros(16), np.zeros(16), np.zeros(1)])
    (tmp_path / "problem.toml").write_text(text)
    assert load_problem(tmp_path / "problem.toml").steps == 40
    shown, real = tomllib.loads(text), tomllib.loads(demo_plant.PROBLEM)
    assert all(shown[key] == real[key] for key in ("name", "plant", "controller", "initial", "solve")) and shown["specification"][0] in real["specification"]


def test_the_error_in_the_guide_is_the_real_one(reach_command, tmp_path):
    text = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[0].replace("0.5*speed", "0.5*sped")
    (tmp_path / "problem.toml").write_text(text)
    ran = reach_command("run", "problem.toml", "--out", "run")
    assert ran.code == 2 and ran.err.strip() in GUIDE, ran.err


def test_commands_and_files_of_the_guide_exist(reach_command):
    for name in set(re.findall(r"^\$ reach (\w+)", GUIDE, re.MULTILINE)):
        assert reach_command(name, "--help").code == 0
    for name in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / name).is_file(), name
    for name in re.findall(r"reach\.([A-Z]\w+)", GUIDE):
        assert hasattr(reach, name), name


def test_the_readme_shows_the_demo(demo_text):
    """Line by line; numbers within 10 %, since training ends a little elsewhere on another processor."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "$ reach demo" in b)
    number = re.compile(r"-?\d+\.\d+")
    real = [(number.sub("#", " ".join(line.split())), [float(n) for n in number.findall(line)]) for line in demo_text.splitlines()]
    for line in block.splitlines()[1:]:
        if line in ("...", ""):
            continue
        line = line.replace("reach-run", "RUN")
        words, numbers = number.sub("#", " ".join(line.split())), [float(n) for n in number.findall(line)]
        close = [n for w, n in real if w == words]
        assert close and all(abs(a - b) <= 0.1 * abs(a) + 1e-9 for a, b in zip(numbers, close[0], strict=True)), line
