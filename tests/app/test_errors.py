"""Everything that cannot be asked: exit code 2, a message with what, where, found, expected or try, and nothing half-written."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from strategies.cli_models import TINY, tiny, tiny_onnx

import certify
from certify.app.cli import main

PARTS = ("where:", "found:", "expected:", "try:")


def refused(ran, *words: str) -> None:
    """Exit code 2, one message with at least one located part, and the words in it."""
    assert ran.code == 2, (ran.code, ran.out, ran.err)
    assert ran.out == "" and ran.err.startswith("error: ")
    assert any(part in ran.err for part in PARTS), ran.err
    for word in words:
        assert word.lower() in ran.err.lower(), f"{word!r} is not in:\n{ran.err}"


def data(tmp_path, images, labels, name="bad.npz"):
    np.savez(tmp_path / name, images=images, labels=labels)
    return tmp_path / name


X, Y = np.zeros((3, 2), np.float32), np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((3, 5), np.float32), Y, ["shape"]),
        (X[:0], Y[:0], ["empty"]),
        (X, np.array([0, 1, 3]), ["range", "3", "entry 2"]),
        (X, np.array([0, -1, 2]), ["range", "-1"]),
        (X, Y[:2], ["labels"]),
        (X, Y.astype(float), ["integers"]),
        (X, np.eye(3, dtype=int), ["argmax"]),
        (np.array([[0, 1], [np.nan, 0], [0, 0]], np.float32), Y, ["finite", "1"]),
        (np.array([[0, 1], [0, np.inf], [0, 0]], np.float32), Y, ["finite", "inf"]),
        (X.astype(complex), Y, ["complex"]),
        (X.astype(np.int32), Y, ["scale"]),
        (X.astype(str), Y, ["dtype"]),
    ],
    ids=["shape", "empty", "label too large", "label negative", "label missing", "label float", "one-hot", "nan", "inf", "complex", "int32", "text"],
)
def test_bad_data(certify_command, tmp_path, images, labels, words):
    refused(certify_command("radius", TINY, data(tmp_path, images, labels), "--out", "run"), *words)
    assert not list(tmp_path.glob("run/*"))


def test_data_files_that_are_none(certify_command, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    refused(certify_command("radius", TINY, "nowhere.npz", "--out", "run"), "nowhere.npz")
    refused(certify_command("radius", TINY, "text.npz", "--out", "run"), "text.npz")
    np.savez(tmp_path / "names.npz", pictures=X, labels=Y)
    refused(certify_command("radius", TINY, "names.npz", "--out", "run"), "pictures", "images")
    good = data(tmp_path, X, Y).read_bytes()
    (tmp_path / "cut.npz").write_bytes(good[: len(good) // 2])
    refused(certify_command("radius", TINY, "cut.npz", "--out", "run"), "cut.npz")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nan_weight", ["finite", "weight"]),
        ("branching", ["data"]),
        ("product", ["product"]),
        ("lstm", ["lstm"]),
        ("complex_weights", ["complex"]),
        ("no_model", ["torch.nn.Module"]),
        ("raises", ["the user's own defect"]),
        ("absent", ["absent"]),
    ],
)
def test_bad_models(certify_command, model, words):
    refused(certify_command("lipschitz", f"strategies.cli_models:{model}", "--input-shape", "2"), *words)


def test_model_references_that_name_nothing(certify_command, tmp_path):
    for reference in ("nowhere.onnx", "nowhere", "no.such.package:factory", "strategies.cli_models"):
        refused(certify_command("bound", reference, "--input-shape", "2"))
    refused(certify_command("bound", TINY), "--input-shape")
    refused(certify_command("bound", TINY, "--input-shape", "2,y"), "--input-shape", "2,y")
    refused(certify_command("bound", TINY, "--input-shape", "0"), "--input-shape")


def test_no_pickle_is_ever_opened(certify_command, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Evil(), protocol=2))
    torch.save(tiny(), tmp_path / "module.pt")
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(), protocol=2))
    for name in ("model.pkl", "module.pt", "evil.pt"):
        refused(certify_command("bound", name, "--input-shape", "2"))
        refused(certify_command("bound", TINY, "--weights", name, "--input-shape", "2"))
    assert not (tmp_path / "executed").exists()


def test_weights_that_do_not_fit(certify_command, tmp_path):
    from safetensors.numpy import save_file

    save_file({"other": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    refused(certify_command("bound", TINY, "--weights", "other.safetensors", "--input-shape", "2"), "other")


def test_a_truncated_onnx_file(certify_command, tmp_path):
    whole = tiny_onnx(tmp_path / "tiny.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(certify_command("bound", "cut.onnx"), "cut.onnx")


def test_wrong_command_lines(certify_command):
    for line in (
        ["nonsense"],
        ["bound"],
        ["radius", TINY],
        ["bound", TINY, "--norm", "l3", "--input-shape", "2"],
        ["bound", TINY, "--effort", "none", "--input-shape", "2"],
        ["bound", "--what"],
    ):
        refused(certify_command(*line))
    ran = certify_command()
    assert ran.code == 2 and "Usage: certify" in ran.out


def test_bad_settings_of_radius(certify_command, tiny_data):
    for option in (
        ["--workers", "0"],
        ["--batch-size", "0"],
        ["--device", "abacus"],
        ["--method", "magic"],
        ["--first", "0"],
        ["--norm", "L2"],
        ["--split", "half"],
        ["--scale", "0"],
    ):
        refused(certify_command("radius", TINY, tiny_data, "--out", "run", *option))


def test_certificates_that_cannot_be_asked(certify_command, tmp_path, tiny_data):
    other = tiny_onnx(tmp_path / "other.onnx", 3.0)
    assert certify_command("radius", TINY, tiny_data, "--out", "run", "--no-attack").code == 0
    path = tmp_path / "run" / "certificate"
    refused(certify_command("check", path, other), "another model")
    refused(certify_command("check", "nowhere", TINY), "nowhere")
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-50])
    refused(certify_command("check", "cut", TINY), "cut")
    refused(certify_command("check", tiny_data, TINY))
    refused(certify_command("check", path, "nowhere.onnx"), "nowhere.onnx")


def test_output_folders_that_cannot_be_used(certify_command, tmp_path, tiny_data):
    (tmp_path / "file").write_text("mine")
    refused(certify_command("radius", TINY, tiny_data, "--out", "file", "--no-attack"), "--out file")
    refused(certify_command("radius", TINY, tiny_data, "--out", "/proc/nothing", "--no-attack"), "--out /proc/nothing")
    refused(certify_command("report", "nowhere"), "nowhere")
    refused(certify_command("report", tmp_path), "run.json")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_never_overwrites_another(certify_command, tmp_path, tiny_data):
    assert certify_command("radius", TINY, tiny_data, "--out", "run", "--no-attack").code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    refused(certify_command("radius", TINY, tiny_data, "--out", "run", "--norm", "linf", "--no-attack"), "another norm")
    refused(certify_command("demo", "--out", "run"), "another run")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_errors_as_json(certify_command, tmp_path):
    for line in (["bound", "nowhere.onnx"], ["check", "nowhere", TINY], ["bound"], ["radius", TINY, "nowhere.npz", "--out", "run"], ["report", "nowhere"]):
        ran = certify_command(*line, "--json")
        assert ran.code == 2 and ran.err == ""
        assert ran.json["status"] == "error" and ran.json["what"] and ran.json["error"] == "InputError"


def test_an_unexpected_exception_is_a_short_message(certify_command, monkeypatch):
    def explode(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("certify.app.models.load", explode)
    ran = certify_command("bound", TINY, "--input-shape", "2")
    refused(ran, "ZeroDivisionError", "CERTIFY_TRACEBACK=1")
    assert json.loads(certify_command("bound", TINY, "--input-shape", "2", "--json").out)["error"] == "ZeroDivisionError"


def test_the_traceback_on_request(capsys, monkeypatch):
    monkeypatch.setenv("CERTIFY_TRACEBACK", "1")
    assert main(["bound", "nowhere.onnx"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_extra_says_what_to_install(certify_command, monkeypatch):
    def absent(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr("certify.app.models.load", absent)
    refused(certify_command("bound", "x.onnx"), "certify-reach[onnx]")


def test_errors_stay_input_errors_for_the_library():
    with pytest.raises(certify.InputError):
        certify.load_onnx("nowhere.onnx")
