"""The commands on a network whose constants a hand can check: numbers, files, JSON, exit codes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from strategies.cli_models import TINY, tiny, tiny_onnx

import certify
from certify.core.record import read_record, write_record


def test_bound(certify_command, tmp_path):
    ran = certify_command("bound", TINY, "--input-shape", "2", "--json")
    assert ran.code == 0 and ran.json["status"] == "proved"
    for row, true in zip(ran.json["layers"], (2.0, 1.0), strict=True):
        assert row["lower"] <= true <= row["upper"] <= true * (1 + 1e-6)
    text = certify_command("bound", tiny_onnx(tmp_path / "tiny.onnx"), "--norm", "l1").out
    assert "fc1" in text and "fc2" in text and "l1 bound" in text


def test_bound_says_when_nothing_is_proved(certify_command, tmp_path):
    """Power iteration has no finite upper end: asked, not proved."""
    model = tiny_onnx(tmp_path / "tiny.onnx")
    ran = certify_command("bound", model, "--method", "power_iteration", "--layer", "fc1", "--json")
    assert ran.code == 1 and ran.json["status"] == "not proved"
    assert [row["layer"] for row in ran.json["layers"]] == ["fc1"] and ran.json["layers"][0]["upper"] == "inf"
    ran = certify_command("bound", model, "--method", "fft")
    assert ran.code == 1 and "does not apply" in ran.out
    assert certify_command("bound", model, "--layer", "fc9").code == 2
    assert certify_command("bound", model, "--method", "magic").code == 2


def test_lipschitz_and_its_certificate(certify_command, tmp_path):
    ran = certify_command("lipschitz", TINY, "--input-shape", "2", "--effort", "fast", "--save", "constant", "--json")
    assert ran.code == 0 and ran.json["status"] == "proved"
    assert 1.9 < ran.json["lower"] <= 2 <= ran.json["upper"] < 2.000001
    assert certify_command("check", "constant", TINY).code == 0
    text = certify_command("lipschitz", TINY, "--input-shape", "2", "--effort", "fast").out
    assert "running constant" in text and "proved" in text


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_radius_check_and_report(certify_command, tmp_path, tiny_data, norm):
    ran = certify_command("radius", TINY, tiny_data, "--norm", norm, "--out", "run", "--json")
    out = tmp_path / "run"
    assert ran.code == 0 and ran.json["status"] == "finished" and ran.json["norm"] == norm
    assert sorted(p.name for p in out.iterdir()) == ["certificate", "curve.png", "radii.csv", "radii.npz", "run.json"]
    with np.load(out / "radii.npz") as saved:
        radii, upper, predictions, labels = (saved[name] for name in ("radii", "upper", "predictions", "labels"))
    assert (radii <= upper).all() and (radii[predictions != labels] == 0).all() and (radii > 0).sum() > 30
    rows = list(csv.DictReader((out / "radii.csv").open()))
    assert [float(row["radius"]) for row in rows] == radii.tolist() and [int(row["label"]) for row in rows] == labels.tolist()
    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "finished" and run["summary"]["clean_accuracy"] == np.mean(predictions == labels) and run["versions"]["numpy"] == np.__version__
    assert (out / "curve.png").read_bytes()[:4] == b"\x89PNG"
    library = certify.radius(tiny(), np.load(tiny_data)["images"], labels, norm)
    assert (library.radii == radii).all()
    checked = certify_command("check", out / "certificate", TINY, "--json")
    assert checked.code == 0 and checked.json["status"] == "proved" and checked.json["steps"] > 0
    assert norm in checked.json["claim"]["text"]
    (out / "curve.png").unlink()
    report = certify_command("report", out)
    assert report.code == 0 and "certified" in report.out and (out / "curve.png").exists()
    assert certify_command("report", out, "--json").json["summary"] == run["summary"]


def test_a_certificate_with_a_changed_number_is_not_proved(certify_command, tmp_path, tiny_data):
    assert certify_command("radius", TINY, tiny_data, "--out", "run", "--no-attack").code == 0
    document, arrays = read_record(tmp_path / "run" / "certificate")
    arrays["radii"] = arrays["radii"] * 1.5
    from certify.core.record import digest_array

    document["digests"]["radii"] = digest_array(arrays["radii"])
    write_record(tmp_path / "forged", document, arrays)
    ran = certify_command("check", "forged", TINY)
    assert ran.code == 1 and "NOT PROVED" in ran.out
    found = certify_command("check", "forged", TINY, "--json")
    assert found.code == 1 and found.json["status"] == "not proved" and found.json["reason"]


def test_the_same_radii_from_onnx_and_workers(certify_command, tmp_path, tiny_data):
    model = tiny_onnx(tmp_path / "tiny.onnx")
    assert certify_command("radius", TINY, tiny_data, "--out", "a", "--no-attack").code == 0
    assert certify_command("radius", model, tiny_data, "--out", "b", "--no-attack", "--batch-size", "7").code == 0
    with np.load(tmp_path / "a" / "radii.npz") as a, np.load(tmp_path / "b" / "radii.npz") as b:
        assert (a["radii"] == b["radii"]).all()
    assert certify_command("check", "b/certificate", model).code == 0


def test_first_and_scale(certify_command, tmp_path):
    """uint8 images are divided by 255 unless told otherwise; the report says so."""
    np.savez(tmp_path / "bytes.npz", images=np.array([[255, 0], [0, 255], [9, 9]], np.uint8), labels=np.array([0, 1, 0]))
    ran = certify_command("radius", TINY, "bytes.npz", "--out", "a", "--no-attack", "--first", "2", "--json")
    assert ran.json["summary"]["inputs"] == 2 and "255" in ran.json["data"]
    assert certify_command("radius", TINY, "bytes.npz", "--out", "b", "--no-attack", "--first", "2", "--scale", "1").code == 0
    with np.load(tmp_path / "a" / "radii.npz") as a, np.load(tmp_path / "b" / "radii.npz") as b:
        assert (b["radii"] > 100 * a["radii"]).all()


def test_a_finished_run_may_be_repeated(certify_command, tmp_path, tiny_data):
    for _ in range(2):
        assert certify_command("radius", TINY, tiny_data, "--out", "run", "--no-attack").code == 0
    assert not (tmp_path / "run" / "journal").exists()


def test_version_and_help(certify_command):
    assert certify_command("--version").out.strip() == f"certify {certify.__version__}"
    ran = certify_command("--help")
    assert ran.code == 0
    for name in ("demo", "bound", "lipschitz", "radius", "train", "check", "report", "doctor"):
        assert f"  {name} " in ran.out
        assert certify_command(name, "--help").code == 0
