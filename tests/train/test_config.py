"""A configuration becomes a recipe, and every mistake in it is named by file, line and key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from certify.train.config import load_config
from certify.train.losses import EMMA, OffsetCrossEntropy
from certify.train.penalties import SpectralNorm
from certify.train.plan import Plan

GOOD = """name = "two layers"
[model]
name = "torch.nn:Linear"
arguments = { in_features = 2, out_features = 3 }

[data]
source = "points.npz"
scale = 2

[plan]
epochs = 3
learning_rate = 0.01
radii = [0.1, 0.3]
validation = 0.25
attack = false

[loss]
name = "OffsetCrossEntropy"
epsilon = 0.5
temperature = 0.25

[penalty]
name = "SpectralNorm"
weight = 0.05
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        (tmp_path / "train.toml").write_text(text)
        return load_config(tmp_path / "train.toml")

    return read


def test_a_good_file(read, tmp_path):
    recipe = read(GOOD)
    assert (recipe.name, recipe.model, recipe.data, recipe.scale) == ("two layers", "torch.nn:Linear", str(tmp_path / "points.npz"), 2.0)
    assert recipe.model_args == {"in_features": 2, "out_features": 3} and recipe.row == ""
    plan = recipe.plan
    assert (plan.epochs, plan.learning_rate, plan.radii, plan.validation, plan.attack) == (3, 0.01, (0.1, 0.3), 0.25, False)
    assert plan.loss == OffsetCrossEntropy(0.5, 0.25) and isinstance(plan.penalty, SpectralNorm) and plan.penalty.weight == 0.05


def test_marks_and_line_ends_of_other_systems(read, tmp_path):
    (tmp_path / "other.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_config(tmp_path / "other.toml").plan.radii == read(GOOD).plan.radii


def test_what_is_left_out_is_as_in_plan(read):
    recipe = read('[model]\nname = "torch.nn:ReLU"\n[data]\nsource = "digits"\n')
    assert recipe.plan == Plan() and (recipe.name, recipe.data, recipe.scale, recipe.model_args) == ("train", "digits", None, {})
    assert read('[model]\nname = "torch.nn:ReLU"\n[data]\nsource = "digits"\n[loss]\nname = "EMMA"\n').plan.loss == EMMA()


def test_files_are_found_from_the_folder_of_the_configuration(read, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("import torch\ndef net():\n    return torch.nn.Linear(2, 3)\n")
    monkeypatch.chdir("/")
    assert read('[model]\nname = "net.py:net"\n[data]\nsource = "../data"\n').model == f"{tmp_path.resolve()}/net.py:net"


WRONG = [
    ("epochs = 3", "epoch = 3", "line 11 (plan.epoch)", "did you mean 'epochs'"),
    ("epochs = 3", "epochs = 0", "line 11 (plan.epochs)", "whole number"),
    ("epochs = 3", 'epochs = "3"', "line 11 (plan.epochs)", "whole number"),
    ("learning_rate = 0.01", "learning_rate = nan", "line 12 (plan.learning_rate)", "positive"),
    ("radii = [0.1, 0.3]", "radii = [0.1, -0.3]", "line 13 (plan.radii)", "positive"),
    ("validation = 0.25", "validation = 1.5", "line 14 (plan.validation)", "share"),
    ("attack = false", "attack = 0", "line 15 (plan.attack)", "True or False"),
    ("attack = false", 'optimizer = "adagrad"', "line 15 (plan.optimizer)", "adamw"),
    ("attack = false", 'out = "somewhere"', "line 15 (plan.out)", "unknown key"),
    ("attack = false", "epsilon = -1", "line 15 (plan.epsilon)", "positive"),
    ('name = "OffsetCrossEntropy"', 'name = "Offset"', "line 18 (loss.name)", "OffsetCrossEntropy"),
    ('name = "OffsetCrossEntropy"', 'name = "Loss"', "line 18 (loss.name)", "unknown loss"),
    ('name = "OffsetCrossEntropy"', "kind = 3", "line 17 (loss.name)", "missing"),
    ("temperature = 0.25", "temperature = -1.0", "line 20 (loss.temperature)", "above 0"),
    ("temperature = 0.25", "temperatur = 1.0", "line 20 (loss.temperatur)", "did you mean 'temperature'"),
    ("weight = 0.05", 'weight = "much"', "line 24 (penalty.weight)", "number"),
    ("weight = 0.05", "lambda = 1", "line 24 (penalty.lambda)", "unknown key"),
    ("weight = 0.05", 'norm = "frobenius"', "line 24 (penalty.norm)", "operator"),
    ('name = "SpectralNorm"', 'name = "LayerMemory"', "line 23 (penalty.name)", "unknown penalty"),
    ('name = "torch.nn:Linear"', 'name = "torch.nn:Lineal"', "line 3 (model.name)", "no network"),
    ('name = "torch.nn:Linear"', 'name = "no.such:thing"', "line 3 (model.name)", "cannot be imported"),
    ('name = "torch.nn:Linear"', 'name = "not_a_model"', "line 3 (model.name)", "no network"),
    ('name = "torch.nn:Linear"', "name = 3", "line 3 (model.name)", "text in quotes"),
    ("out_features = 3", "out = 3", "line 4 (model.arguments)", "does not take"),
    ('source = "points.npz"', "source = 3", "line 7 (data.source)", "text in quotes"),
    ("scale = 2", "scale = 0", "line 8 (data.scale)", "positive"),
    ('source = "points.npz"', 'source = "digits"', "line 8 (data.scale)", "no scale"),
    ("radii = [0.1, 0.3]", 'radii = "0.1"', "line 13 (plan.radii)", "a list"),
    ("scale = 2", "scales = 2", "line 8 (data.scales)", "did you mean 'scale'"),
    ('source = "points.npz"\n', "", "line 6 (data.source)", "missing"),
    ("[penalty]", "[penalti]", "line 22 (penalti)", "did you mean 'penalty'"),
    ("epochs = 3", "epochs = ", "line 11, column", "not TOML"),
    ("epochs = 3", "epochs = 3\nepochs = 4", "line 12, column", "not TOML"),
]


@pytest.mark.parametrize(("before", "after", "place", "words"), WRONG, ids=[f"{row[2]} {row[3]}" for row in WRONG])
def test_a_mistake_is_named_by_line(read, before, after, place, words):
    assert GOOD.count(before) == 1
    with pytest.raises(InputError) as error:
        read(GOOD.replace(before, after))
    assert place in str(error.value.where) and "train.toml" in str(error.value.where) and words in str(error.value), str(error.value)


def test_files_that_are_no_configuration(read, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match="UTF-8"):
        load_config(tmp_path / "bytes.toml")
    (tmp_path / "long.toml").write_text("#" * (1 << 20) + "\n")
    with pytest.raises(InputError, match="too large"):
        load_config(tmp_path / "long.toml")
    with pytest.raises(InputError, match="missing"):
        read("")
    with pytest.raises(InputError, match="a section is a table") as error:
        read('plan = 3\n[model]\nname = "torch.nn:ReLU"\n[data]\nsource = "digits"\n')
    assert "line 1 (plan)" in str(error.value.where)


@given(st.sampled_from(GOOD.splitlines()), st.text("abc=[]{}\"'.#1 \n", max_size=6), st.integers(0, 30))
def test_whatever_is_typed_there_is_an_answer_or_a_complaint(tmp_path_factory, line, typed, at):
    path = tmp_path_factory.mktemp("typed") / "train.toml"
    path.write_text(GOOD.replace(line, line[:at] + typed + line[at:], 1))
    try:
        load_config(path)
    except InputError as error:
        assert "train.toml" in str(error.where) or "points" in str(error)
