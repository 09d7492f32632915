"""`certify train`: what it writes can be checked, resumed and summed up; what it cannot do it says by name."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from strategies.training import clusters

import certify
from certify.train import loop

CONFIG = """
[model]
name = "net.py:net"
arguments = {{ width = {width} }}
[data]
source = "points.npz"
[plan]
epochs = 4
batch_size = 20
learning_rate = 0.05
validation = 9
radii = [0.1, 0.3]
attack = false
[loss]
name = "OffsetCrossEntropy"
epsilon = 0.3
"""
NET = """
from torch import nn
def net(width):
    first = nn.utils.parametrizations.orthogonal(nn.Linear(2, width), orthogonal_map="cayley")
    return nn.Sequential(first, nn.ReLU(), nn.Linear(width, 3))
"""


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
    """Drawing takes as long as everything else together: only tests with `draws` in their name do it."""
    if "draws" not in request.node.name:
        monkeypatch.setattr("certify.app.plot.can_plot", lambda: False)


@pytest.fixture
def folder(tmp_path):
    """A folder with a configuration, a network and data."""
    (tmp_path / "train.toml").write_text(CONFIG.format(width=6))
    (tmp_path / "net.py").write_text(NET)
    (x_train, y_train), (x_test, y_test) = clusters()
    np.savez(tmp_path / "points.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return tmp_path


def stop(monkeypatch, epoch: int):
    """Ctrl-C at the beginning of an epoch."""
    original = loop.run_epoch

    def run_epoch(session, train, tell):
        if session.epoch == epoch:
            raise KeyboardInterrupt
        return original(session, train, tell)

    monkeypatch.setattr(loop, "run_epoch", run_epoch)


def test_a_file_trains_draws_and_can_be_checked(certify_command, folder):
    ran = certify_command("train", "train.toml", "--out", "run", "--json")
    assert ran.code == 0 and ran.json["status"] == "finished"
    out = folder / "run"
    expected = ["certificate", "checkpoint.pt", "curve.png", "model.py", "model.safetensors", "radii.csv", "radii.npz", "run.json", "training.json", "training.png"]
    assert sorted(p.name for p in out.iterdir() if p.name != "__pycache__") == expected == sorted(ran.json["files"])
    assert certify_command("check", "run/certificate", "run/model.py:network", "--weights", "run/model.safetensors").code == 0
    assert certify_command(*ran.json["check"].split()[1:]).code == 0
    run = json.loads((out / "run.json").read_text())
    assert run["command"] == "train" and len(run["history"]) == 4 and set(run["versions"]) >= {"certify", "torch", "python"} and "system" in run["machine"]
    assert run["plan"]["epochs"] == "4" and "OffsetCrossEntropy(epsilon=0.3" in run["plan"]["loss"] and set(run["curve"]) == {"0", "0.1", "0.3"}
    with np.load(out / "radii.npz") as saved:
        assert len(saved["radii"]) == 21 and run["curve"]["0.1"] == np.mean(saved["radii"] >= 0.1) and run["accuracy"] == np.mean(saved["predictions"] == saved["labels"])
    model = certify.load_model(f"{out}/model.py:network")
    fresh = certify.radius(model, *clusters()[1], attack=False)
    with np.load(out / "radii.npz") as saved:
        assert np.array_equal(saved["radii"], fresh.radii)
    ran = certify_command("report", "run")
    assert ran.code == 0 and "l2" in ran.out


def test_another_weight_is_not_the_certified_network(certify_command, folder):
    from safetensors.numpy import load_file, save_file

    assert certify_command("train", "train.toml", "--out", "run").code == 0
    weights = load_file(folder / "run" / "model.safetensors")
    weights["2.bias"] = weights["2.bias"] + np.float32(1e-3)
    save_file(weights, folder / "other.safetensors")
    ran = certify_command("check", "run/certificate", "run/model.py:network", "--weights", "other.safetensors")
    assert ran.code == 2 and "another model" in ran.err


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interrupted_run_is_continued_by_the_same_command(certify_command, folder, monkeypatch, epoch):
    with monkeypatch.context() as patch:
        stop(patch, epoch)
        ran = certify_command("train", "train.toml", "--out", "run")
    assert ran.code == 2 and ran.err.startswith("interrupted:") and "same command" in ran.err
    assert ("last finished epoch" in ran.err) == (epoch > 0) and not (folder / "run" / "run.json").exists()
    for name in ("run", "whole"):
        assert certify_command("train", "train.toml", "--out", name).code == 0
    for file in ("model.safetensors", "radii.csv"):
        assert (folder / "run" / file).read_bytes() == (folder / "whole" / file).read_bytes()


def test_a_finished_run_may_be_repeated_and_another_one_is_refused(certify_command, folder):
    for _ in range(2):
        assert certify_command("train", "train.toml", "--out", "run").code == 0
    before = (folder / "run" / "run.json").read_bytes()
    ran = certify_command("train", "train.toml", "--out", "run", "--seed", "3")
    assert ran.code == 2 and "Plan.seed" in ran.err and (folder / "run" / "run.json").read_bytes() == before
    (folder / "train.toml").write_text(CONFIG.format(width=8))
    assert "starting weights" in certify_command("train", "train.toml", "--out", "run").err
    np.savez(folder / "test.npz", images=clusters()[1][0], labels=clusters()[1][1])
    line = ("radius", "run/model.py:network", "test.npz", "--weights", "run/model.safetensors", "--no-attack", "--out")
    (folder / "train.toml").write_text(CONFIG.format(width=6))
    assert certify_command(*line, "other").code == 0
    ran = certify_command("train", "train.toml", "--out", "other")
    assert ran.code == 2 and "another run" in ran.err and "command radius" in ran.err


def test_options_take_the_place_of_the_plan(certify_command, folder):
    ran = certify_command("train", "train.toml", "--out", "run", "--seed", "5", "--epochs", "2", "--attack", "--json")
    assert (ran.json["plan"]["seed"], ran.json["plan"]["epochs"], ran.json["plan"]["attack"]) == ("5", "2", "True")
    assert "attacked_accuracy" in ran.json["summary"] and len(json.loads((folder / "run" / "run.json").read_text())["history"]) == 2


def test_help(certify_command):
    ran = certify_command("train", "--help")
    assert ran.code == 0 and "--recipe" in ran.out and "--data" in ran.out and "\n  train " in certify_command("--help").out


def test_mistakes_are_named(certify_command, folder):
    for arguments, words in (
        (("--out", "run"), "by a file or by a recipe"),
        (("train.toml", "--recipe", "digits", "--out", "run"), "both"),
        (("--recipe", "digit", "--out", "run"), "digits"),
        (("train.toml", "--out", "run", "--epochs", "0"), "--epochs"),
        (("train.toml", "--out", "run", "--seed", "-1"), "--seed"),
        (("train.toml", "--out", "train.toml"), "--out"),
        (("nowhere.toml", "--out", "run"), "nowhere.toml"),
        (("train.toml", "--out", "run", "--data", "nowhere.npz"), "nowhere.npz"),
    ):
        ran = certify_command("train", *arguments)
        assert ran.code == 2 and words in ran.err, (arguments, ran.err)
    (folder / "train.toml").write_text(CONFIG.format(width=6).replace("epochs", "epoch"))
    assert "line 8 (plan.epoch)" in certify_command("train", "train.toml", "--out", "run").err
    (folder / "train.toml").write_text(CONFIG.format(width=6).replace("points.npz", "half.npz"))
    np.savez(folder / "half.npz", images=clusters()[0][0], labels=clusters()[0][1])
    assert "one half stands for both" in certify_command("train", "train.toml", "--out", "run").err
    monstrous = CONFIG.format(width=6).replace("learning_rate = 0.05", 'learning_rate = 1e38\nschedule = "constant"\noptimizer = "sgd"')
    (folder / "train.toml").write_text(monstrous)
    ran = certify_command("train", "train.toml", "--out", "run", "--json")
    assert ran.code == 2 and ran.json["error"] == "TrainingError" and "epoch 1" in ran.json["where"]


def test_the_recipe_digits(certify_command, tmp_path):
    ran = certify_command("train", "--recipe", "digits", "--out", "run", "--epochs", "1", "--no-attack")
    assert ran.code == 0 and "check it again:  certify check run/certificate run/model.py:network --weights run/model.safetensors" in ran.out
    with np.load(tmp_path / "run" / "radii.npz") as saved:
        assert len(saved["radii"]) == 500


def test_the_digits_of_uci(certify_command, tmp_path):
    rng = np.random.default_rng(0)
    for suffix, count in (("tra", 140), ("tes", 20)):
        rows = np.concatenate([rng.integers(0, 17, (count, 64)), np.arange(count)[:, None] % 10], axis=1)
        (tmp_path / f"optdigits.{suffix}").write_text("Block 1,Class\n" + "\n".join(",".join(map(str, row)) for row in rows))
    ran = certify_command("train", "--recipe", "digits", "--out", "run", "--epochs", "1", "--no-attack", "--data", tmp_path, "--json")
    assert ran.code == 0 and ran.json["summary"]["inputs"] == 20 and "UCI" in ran.json["data"]
    (tmp_path / "optdigits.tes").write_text("1,2,3\n")
    assert "not the UCI digits" in certify_command("train", "--recipe", "digits", "--out", "other", "--data", tmp_path).err


def test_without_accelerate_the_extra_is_named(certify_command, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    ran = certify_command("train", "train.toml", "--out", "run")
    assert ran.code == 2 and "certify-reach[train]" in ran.err


@pytest.mark.parametrize("name", ["model.py", "curve.png", "training.png", "certificate"])
def test_files_of_somebody_else_are_not_written_over(certify_command, folder, name):
    """--out . with a network in model.py once replaced the network by the file that builds it."""
    (folder / name).write_text(NET)
    (folder / "train.toml").write_text(CONFIG.format(width=6).replace("net.py", "model.py" if name == "model.py" else "net.py"))
    ran = certify_command("train", "train.toml", "--out", ".")
    assert ran.code == 2 and name in ran.err and (folder / name).read_text() == NET and not (folder / "checkpoint.pt").exists()


def test_what_model_py_cannot_say(certify_command, folder):
    good = 'name = "a \\"\\"\\" b \\\\N"\n' + CONFIG.format(width=6)
    (folder / "train.toml").write_text(good.replace("epochs = 4", "epochs = 1"))
    assert certify_command("train", "train.toml", "--out", "run").code == 0
    (folder / "net.py").write_text(NET.replace("width)", "width, other=None)", 1))
    for value in ("inf", "[nan]", "2020-01-01"):
        (folder / "train.toml").write_text(CONFIG.format(width=f"6, other = {value}"))
        ran = certify_command("train", "train.toml", "--out", "other")
        assert ran.code == 2 and "arguments.other" in ran.err and not (folder / "other").exists()


def test_a_folder_that_rebuilds_another_network_is_no_result(certify_command, folder, monkeypatch):
    from certify.app import training

    original = training._write_model

    def write(out, recipe, shape):
        original(out, recipe, shape)
        text = (out / "model.py").read_text()
        (out / "model.py").write_text(text.replace("    return rebuild(", "    return broken(").replace("def network", BROKEN + "def network"))

    monkeypatch.setattr(training, "_write_model", write)
    ran = certify_command("train", "train.toml", "--out", "run")
    assert ran.code == 2 and "not the one that was certified" in ran.err and not (folder / "run" / "run.json").exists()


BROKEN = """
def broken(*arguments):
    model = rebuild(*arguments)
    model[1] = __import__("torch").nn.Tanh()
    return model


"""
