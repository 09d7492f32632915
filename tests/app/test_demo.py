"""The demo from end to end, with little training: what it writes can be checked, repeated and taken up by the other commands."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest


def test_demo(certify_command, tmp_path):
    ran = certify_command("demo", "--epochs", "2", "--seed", "3", "--out", "run", "--json")
    assert ran.code == 0 and ran.json["status"] == "finished" and ran.json["checked"] is True
    out = tmp_path / "run"
    assert sorted(p.name for p in out.iterdir()) == ["certificate", "curve.png", "data.npz", "model.safetensors", "radii.csv", "radii.npz", "run.json"]
    with np.load(out / "radii.npz") as saved:
        assert len(saved["radii"]) == 500 and (saved["radii"] <= saved["upper"]).all() and (saved["radii"] > 0).sum() > 200
        assert np.isfinite(saved["upper"]).all(), "the attack found nothing for some input"
    assert set(ran.json["stages"]) == {"data", "train", "certify and attack", "check"}
    assert json.loads((out / "run.json").read_text())["summary"]["inputs"] == 500
    model = ("certify.app.demo_model:digits", "--weights", "run/model.safetensors")
    assert certify_command("check", "run/certificate", *model).code == 0
    assert certify_command("bound", *model, "--input-shape", "1,8,8").code == 0
    assert certify_command("radius", model[0], "run/data.npz", *model[1:], "--out", "again", "--seed", "3").code == 0
    assert (tmp_path / "again" / "radii.csv").read_text() == (out / "radii.csv").read_text()


def test_the_same_seed_gives_the_same_demo(certify_command, tmp_path):
    for name in ("a", "b"):
        assert certify_command("demo", "--epochs", "1", "--no-attack", "--out", name).code == 0
    for file in ("model.safetensors", "radii.csv", "data.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert certify_command("demo", "--epochs", "1", "--no-attack", "--out", "a").code == 0, "a demo may overwrite a demo"


def idx_files(folder, counts):
    """The four IDX files of a small look-alike of MNIST: the class is the place of a bright bar."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label + 3 : 2 * label + 6] = 250
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def test_demo_on_idx_files(certify_command, tmp_path):
    folder = tmp_path / "bars"
    folder.mkdir()
    idx_files(folder, {"train": 600, "t10k": 50})
    ran = certify_command("demo", "--data", folder, "--epochs", "4", "--out", "run", "--no-attack", "--json")
    assert ran.code == 0 and ran.json["summary"]["inputs"] == 50 and ran.json["checked"]
    assert ran.json["summary"]["clean_accuracy"] > 0.5 and ran.json["summary"]["median_radius"] > 0
    assert certify_command("radius", "certify.app.demo_model:mnist", folder, "--weights", "run/model.safetensors", "--out", "again", "--no-attack").code == 0
    assert (tmp_path / "again" / "radii.csv").read_text() == (tmp_path / "run" / "radii.csv").read_text()


@pytest.mark.slow
def test_demo_on_mnist_itself(certify_command, data_folder):
    ran = certify_command("demo", "--data", data_folder / "mnist", "--epochs", "1", "--out", "run", "--no-attack", "--json")
    assert ran.code == 0 and ran.json["summary"]["inputs"] == 10_000 and ran.json["summary"]["certified_accuracy"]


def test_demo_refuses_what_is_not_mnist(certify_command, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("nowhere", "empty"):
        ran = certify_command("demo", "--data", folder, "--out", "run")
        assert ran.code == 2 and ran.err.startswith("error:") and folder in ran.err
    assert certify_command("demo", "--epochs", "-1", "--out", "run").code == 2
