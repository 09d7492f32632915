"""Weight files and model references: nothing is executed that the user did not name."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from strategies import files

from certify.core.errors import InputError
from certify.core.graph import Graph
from certify.io.model import load_model
from certify.io.weights import load_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


def state():
    generator = torch.Generator().manual_seed(0)
    return {"0.weight": torch.randn(3, 4, generator=generator), "0.bias": torch.randn(3, generator=generator).double(), "n": torch.tensor(5), "h": torch.ones(2).bfloat16() / 3}


def test_safetensors(tmp_path):
    from safetensors.numpy import load
    from safetensors.torch import save_file

    (tmp_path / "w.safetensors").write_bytes(files.safetensors_file())
    found, expected = load_weights(tmp_path / "w.safetensors"), load(files.safetensors_file())
    assert set(found) == set(expected) and all(np.array_equal(found[k], v) and found[k].dtype == v.dtype for k, v in expected.items())
    save_file(state(), tmp_path / "t.safetensors")
    found = load_weights(tmp_path / "t.safetensors")
    assert found["h"].dtype == np.float32 and found["h"][0] == float(state()["h"][0]) and found["n"].shape == ()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}, lambda s: {"model": s}])
def test_state_dicts(tmp_path, legacy, wrap):
    torch.save(wrap(state()), tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    found = load_weights(tmp_path / "w.pt")
    assert set(found) == set(state())
    for name, tensor in state().items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy() if name == "h" else tensor.numpy())


def test_views_ties_and_parameters_of_torch_archives(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    saved = {
        "turned": base.T,
        "window": base[1:3, ::2],
        "again": base,
        "none": torch.empty(0, 3),
        "flag": torch.tensor([True, False]),
        "parameter": nn.Parameter(base[0]),
        "scalar": torch.tensor(2.5),
    }
    saved |= {str(d): torch.arange(3).to(d) for d in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64)}
    torch.save(saved, tmp_path / "w.pt")
    found = load_weights(tmp_path / "w.pt")
    assert set(found) == set(saved)
    for name, tensor in saved.items():
        expected = tensor.detach().numpy()
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)


def repacked(data: bytes, change) -> bytes:
    """A torch archive with changed entries, its checksums right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            body = change(name.partition("/")[2], old.read(name))
            if body is not None:
                new.writestr(name, body)
    return buffer.getvalue()


def six_numbers() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("change", "match"), [
    (lambda name, body: body.replace(b"K\x06tq", b"K\x7ftq") if name == "data.pkl" else body, "another size"),
    (lambda name, body: body.replace(b"K\x03K\x01\x86", b"K\x05K\x01\x86") if name == "data.pkl" else body, "more entries than it stores"),
    (lambda name, body: body.replace(b"K\x02K\x03\x86", b"K\x02K\x09\x86") if name == "data.pkl" else body, "more entries than it stores"),
    (lambda name, body: body.replace(b"FloatStorage", b"DoubleStorage") if name == "data.pkl" else body, "another size"),
    (lambda name, body: body.replace(b"FloatStorage", b"ComplexFloatStorage") if name == "data.pkl" else body, "ComplexFloatStorage"),
    (lambda name, body: body.replace(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem") if name == "data.pkl" else body, "os.system"),
    (lambda name, body: body[:-1] if name == "data/0" else body, "another size"),
    (lambda name, body: None if name == "data/0" else body, "damaged"),
    (lambda name, body: None if name == "data.pkl" else body, "not one that torch.save writes"),
    (lambda name, body: b"big" if name == "byteorder" else body, "little-endian"),
    (lambda name, body: body[:-2] if name == "data.pkl" else body, "description"),
])  # fmt: skip
def test_torch_archives_that_contradict_themselves(tmp_path, change, match):
    assert repacked(six_numbers(), change) != repacked(six_numbers(), lambda name, body: body)
    (tmp_path / "w.pt").write_bytes(repacked(six_numbers(), change))
    with pytest.raises(InputError, match=match):
        load_weights(tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(repacked(six_numbers(), lambda name, body: body))
    np.testing.assert_array_equal(load_weights(tmp_path / "w.pt")["w"], np.arange(6.0).reshape(2, 3))


def test_no_damaged_byte_of_a_torch_archive_changes_a_weight_in_silence(tmp_path):
    """torch.load returns uninitialised memory for some of these (torch 2.13); here each byte is noticed, or does not matter."""
    whole = six_numbers()
    for i in range(len(whole)):
        (tmp_path / "w.pt").write_bytes(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
        try:
            found = load_weights(tmp_path / "w.pt")
        except InputError:
            continue
        np.testing.assert_array_equal(found["w"], np.arange(6.0).reshape(2, 3))


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("value", [
    lambda folder: nn.Linear(2, 2),
    lambda folder: {"w": torch.ones(2), "x": Evil(f"touch {folder}/touched")},
    lambda folder: [torch.ones(2)],
    lambda folder: {"w": "text"},
    lambda folder: {"w": torch.ones(1).expand(1 << 40)},
    lambda folder: {"w": torch.ones(2, dtype=torch.complex64)},
    lambda folder: {"w": torch.eye(3).to_sparse()},
    lambda folder: {"w": torch.tensor([1.0, float("nan")])},
    lambda folder: {},
])  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_what_is_not_a_state_dict_is_refused_and_not_run(tmp_path, value, legacy):
    path = tmp_path / "w.pt"
    torch.save(value(tmp_path), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError) as caught:
        load_weights(path)
    assert "w.pt" in str(caught.value) and not (tmp_path / "touched").exists()


def test_a_pickled_module_says_what_to_do(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.raises(InputError, match=r"state_dict\(\)"):
        load_weights(tmp_path / "m.pt")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        files.safetensors_file()[:-1],
        files.safetensors_file() + b"!",
        b"PK\3\4",
        b"\x80\x02.",
    ],
)
def test_damaged_weight_files(tmp_path, data):
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(InputError):
        load_weights(tmp_path / "w")


def test_weights_that_expand_or_are_missing(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(30 << 20))
    with pytest.raises(InputError, match="expands"):
        load_weights(tmp_path / "bomb.pt")
    for path in (tmp_path / "missing", tmp_path, None):
        with pytest.raises(InputError):
            load_weights(path)


# --- models ----------------------------------------------------------------------------------------------------------------------
CODE = """
from torch import nn
def net():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
ready = nn.Linear(2, 2)
Small = lambda: nn.Linear(1, 1)
def fails(): raise RuntimeError("no luck")
def number(): return 3
def needs(width): return nn.Linear(width, 1)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "its_models.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_factories_with_and_without_weights(code):
    from safetensors.torch import save_file

    module = load_model("its_models:net")
    assert isinstance(module, nn.Sequential) and not module.training
    other = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    save_file(other.state_dict(), code / "w.safetensors")
    torch.save(other.state_dict(), code / "w.pt")
    for weights in ("w.safetensors", "w.pt"):
        for reference in ("its_models:net", "its_models.py:net", f"{code}/its_models.py:net"):
            loaded = load_model(reference, weights=weights)
            assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), other.state_dict().values()))
    assert load_model("its_models:ready").weight.shape == (2, 2) and load_model("its_models:Small").weight.shape == (1, 1)


@pytest.mark.parametrize(("change", "match"), [
    (lambda s: s.pop("0.bias"), "0.bias is missing"),
    (lambda s: s.update(extra=torch.ones(1)), "extra is unknown"),
    (lambda s: s.update({"0.bias": torch.ones(4)}), r"0.bias has shape \(4,\)"),
    (lambda s: s.update({"0.bias": torch.ones(3).double()}), "more precisely"),
])  # fmt: skip
def test_weights_must_fit_the_module(code, change, match):
    weights = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()).state_dict()
    change(weights)
    torch.save(weights, code / "w.pt")
    with pytest.raises(InputError, match=match):
        load_model("its_models:net", weights="w.pt")


@pytest.mark.parametrize(("reference", "match"), [
    ("its_models", "does not name a model"), ("its_models:absent", "does not define"), ("its_models:fails", "no luck"), ("its_models:number", "not a torch module"),
    ("its_models:needs", "failed"), ("no_such_package.thing:net", "cannot be imported"), ("missing.py:net", "cannot be imported"), (":net", "does not name"),
    ("", "does not name"),
    ("its_models:", "does not name"),
    ("absent.onnx", "cannot be read"),
    ("net.pt2", "can run code"), ("net.pt", "weights alone"), ("net.safetensors", "weights alone"), ("net.pkl", "pickled"), ("net.txt", "not a model"),
])  # fmt: skip
def test_references_that_name_no_model(code, reference, match):
    for name in ("net.pt2", "net.pt", "net.safetensors", "net.pkl", "net.txt"):
        (code / name).write_bytes(b"x")
    with pytest.raises(InputError, match=match):
        load_model(reference)


def test_onnx_files_are_graphs(code):
    pytest.importorskip("onnx")
    from strategies.onnx_models import model, node

    path = code / "m.onnx"
    path.write_bytes(model(node("Relu", "x"), (1, None)).SerializeToString())
    assert isinstance(load_model(path, input_shape=(3,)), Graph) and isinstance(load_model(str(path), input_shape=(3,)), Graph)
    with pytest.raises(InputError, match="weights inside"):
        load_model(path, weights="w.pt")


def test_an_exported_program_is_not_loaded_because_that_evaluates_text(code):
    """torch.export.load sympifies (evaluates) strings of the file and falls back to full unpickling; if that ever changes, .pt2 can be admitted."""
    text = (Path(torch.__file__).parent / "_export" / "serde" / "serialize.py").read_text()
    assert "sympy.sympify(" in text and "weights_only=False" in text
