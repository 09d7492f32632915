"""Controller files: what each kind means, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import certify
from certify.core.errors import InputError
from reach.app.networks import load_network, load_npz, save_npz


def layers(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes], [rng.normal(size=shape[0]) for shape in shapes]


def test_npz_is_the_network_that_it_says(tmp_path):
    weights, biases = layers((5, 2), (3, 5))
    path = save_npz(tmp_path / "n.npz", weights, biases)
    graph = load_network("n.npz", tmp_path, activations=["relu", "linear"])
    x = np.random.default_rng(1).normal(size=(20, 2))
    assert np.allclose(graph(x), np.maximum(x @ weights[0].T + biases[0], 0) @ weights[1].T + biases[1], rtol=1e-13, atol=1e-13)
    first = path.read_bytes()
    assert save_npz(path, weights, biases).read_bytes() == first


def test_float32_and_integers_are_exact_columns_of_biases_too(tmp_path):
    np.savez(tmp_path / "n.npz", W0=np.array([[1, 2]], np.int32), b0=np.array([[0.1]], np.float32))
    graph = load_npz(tmp_path / "n.npz", ["linear"])
    assert graph(np.array([[1.0, 1.0]]))[0, 0] == 3 + float(np.float32(0.1))


@pytest.mark.parametrize(
    ("arrays", "activations", "words"),
    [
        ({"W0": np.ones((2, 2)), "b0": np.ones(3)}, ["relu"], "layer 0"),
        ({"W0": np.ones((2, 2)), "b0": np.ones(2), "W1": np.ones((1, 3)), "b1": np.ones(1)}, ["relu", "relu"], "layer 1"),
        ({"W0": np.ones((2, 2))}, ["relu"], "W0, b0"),
        ({"W1": np.ones((2, 2)), "b1": np.ones(2)}, ["relu"], "W0, b0"),
        ({"weight": np.ones((2, 2))}, ["relu"], "weight"),
        ({}, [], "W0, b0"),
        ({"W0": np.full((2, 2), np.nan), "b0": np.ones(2)}, ["relu"], "finite"),
        ({"W0": np.full((2, 2), 1j), "b0": np.ones(2)}, ["relu"], "finite"),
        ({"W0": np.full((2, 2), 2**60 + 1), "b0": np.ones(2)}, ["relu"], "float64"),
        ({"W0": np.full((2, 2), "1"), "b0": np.ones(2)}, ["relu"], "finite"),
        ({"W0": np.array([[None]]), "b0": np.ones(1)}, ["relu"], "cannot be read"),
        ({"W0": np.ones((2, 2)), "b0": np.ones(2)}, ["relu", "relu"], "2 activations"),
        ({"W0": np.ones((2, 2)), "b0": np.ones(2)}, ["swoosh"], "unknown activation"),
    ],
)
def test_arrays_that_are_no_network(tmp_path, arrays, activations, words):
    np.savez(tmp_path / "n.npz", **arrays)
    with pytest.raises(InputError) as caught:
        load_network("n.npz", tmp_path, activations=activations)
    assert words in str(caught.value), str(caught.value)


def test_damaged_files(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "whole.npz", W0=np.ones((2, 2)), b0=np.ones(2))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:100])
    (tmp_path / "bad.onnx").write_text("hello")
    for name, activations in (("text.npz", ["relu"]), ("cut.npz", ["relu"]), ("bad.onnx", None), ("nowhere.onnx", None)):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            load_network(name, tmp_path, activations=activations)


def test_onnx(tmp_path):
    from strategies.cli_models import tiny_onnx

    tiny_onnx(tmp_path / "tiny.onnx")
    x = np.array([[0.5, -0.25]])
    assert np.allclose(load_network("tiny.onnx", tmp_path)(x), [[1.0, 0.0, 0.1]])


needs_load_model = pytest.mark.skipif("load_model" not in dir(certify), reason="certify.load_model is not public yet")


@needs_load_model
def test_code_beside_the_problem_file(tmp_path):
    """file.py:function and package.module:function, with weights; the module search path is as before afterwards."""
    import sys

    from safetensors.numpy import save_file

    (tmp_path / "nets_of_a_test.py").write_text("from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))\n")
    weights, biases = layers((3, 2), (1, 3))
    arrays = {"0.weight": weights[0], "0.bias": biases[0], "2.weight": weights[1], "2.bias": biases[1]}
    save_file({name: array.astype(np.float32) for name, array in arrays.items()}, tmp_path / "w.safetensors")
    before = list(sys.path)
    for reference in ("nets_of_a_test.py:make", "nets_of_a_test:make"):
        module = load_network(reference, tmp_path, weights="w.safetensors")
        graph = certify.as_graph(module, (2,))
        x = np.array([[0.3, -0.2]])
        want = np.tanh(x @ weights[0].astype(np.float32).astype(float).T + biases[0].astype(np.float32)) @ weights[1].astype(np.float32).astype(float).T + biases[1].astype(
            np.float32
        )
        assert np.allclose(graph(x), want, rtol=1e-6)
    assert sys.path == before
    with pytest.raises(InputError):
        load_network("nets_of_a_test:absent", tmp_path)
