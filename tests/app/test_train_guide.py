"""docs/train.md is true: it has every key, its configuration loads, its complaint is real, its files are written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from certify.core.errors import InputError
from certify.train.config import SECTIONS, load_config
from certify.train.losses import OffsetCrossEntropy
from certify.train.plan import Plan

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
CONFIG = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.toml").write_text(CONFIG)
    (tmp_path / "net.py").write_text("import torch\ndef network(width):\n    return torch.nn.Linear(2, width)\n")
    return tmp_path


def test_every_key_is_described():
    rows = [line for line in TEXT.splitlines() if line.startswith(("| `[", "| | "))]
    described = set(re.findall(r"`(\w+)`", " ".join(" | ".join(row.split("|")[1:4]) for row in rows)))
    wanted = {f.name for f in dataclasses.fields(Plan)} - {"loss", "penalty", "out"} | {key for keys in SECTIONS.values() for key in keys}
    assert not wanted - described, wanted - described


def test_defaults_in_the_table_are_those_of_plan():
    for key, value in (("epochs", "20"), ("batch_size", "256"), ("learning_rate", "0.003"), ("validation", "0"), ("average", "0"), ("checkpoint_every", "1")):
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| | `{key}`") or f"| `{key}`" in line)
        assert re.search(rf"; {value}\b", row) and getattr(Plan(), key) == float(value), key


def test_the_configuration_of_the_guide_loads(folder):
    recipe = load_config(folder / "train.toml")
    assert recipe.name == "two moons" and recipe.plan.loss == OffsetCrossEntropy(0.25, 0.25) and recipe.plan.radii == (0.1, 0.25)


def test_the_complaint_of_the_guide_is_real(folder):
    path = folder / "train.toml"
    path.write_text(CONFIG.replace("epochs", "epoch"))
    with pytest.raises(InputError) as error:
        load_config(path)
    shown = re.search(r"error: (.*?)\n```", TEXT, re.DOTALL)[1].splitlines()
    real = str(error.value).replace(str(folder) + "/", "").splitlines()
    assert [line.split(",")[0] for line in shown] == [line.split(",")[0] for line in real]
    assert shown[1] == real[1]
