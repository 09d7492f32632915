"""as_graph and check: every kind of model goes in, everything else is refused by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from strategies import certificates as hand
from strategies.classifiers import linear

import certify
from certify.core.errors import CertificateError, InputError
from certify.core.record import write_record


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()


def certificate_of(graph, path, count=3):
    return write_record(path, *hand.radius_certificate(graph, "l2", np.random.default_rng(0).normal(size=(count, *graph.input_shape))))


def test_a_module_is_traced_and_checked_without_naming_its_shape(tmp_path):
    graph = certify.as_graph(module(), (4,))
    path = certificate_of(graph, tmp_path / "c")
    assert certify.check(path, module()).ok and certify.check(str(path), graph).ok


def test_another_module_is_refused_by_digest_or_shape(tmp_path):
    path = certificate_of(certify.as_graph(module(), (4,)), tmp_path / "c")
    other = module()
    with torch.no_grad():
        other[0].weight[0, 0] += 1e-3
    with pytest.raises(CertificateError, match="another model"):
        certify.check(path, other)
    with pytest.raises(CertificateError, match="another model"):
        certify.check(path, torch.nn.Sequential(torch.nn.Linear(7, 3)).eval())


@pytest.mark.parametrize("shape", [[1 << 31], [1 << 13, 1 << 13], [5], [4, 1, 1]])
def test_a_hostile_input_shape_does_not_reach_torch(tmp_path, shape):
    document, arrays = hand.radius_certificate(certify.as_graph(module(), (4,)), "l2", np.zeros((0, 4)))
    document = hand.replaced(document, ("graph", "input_shape"), shape)
    arrays = {**arrays, "inputs": np.zeros((0, *shape))}
    with pytest.raises(CertificateError):
        certify.check(write_record(tmp_path / "c", *hand.with_digests(document, arrays)), module())


def test_a_module_needs_its_input_shape():
    with pytest.raises(InputError, match="input"):
        certify.as_graph(module())


@pytest.mark.parametrize("model", [None, 3, "model.pt", "model.txt", object(), np.zeros(3), lambda x: x, b"x", [module]])
def test_what_is_no_model_is_refused_with_what_is_accepted(model):
    with pytest.raises(InputError) as error:
        certify.as_graph(model)
    assert "onnx" in str(error.value) and "torch.nn.Module" in str(error.value)


def test_shapes_are_compared():
    graph = linear(np.eye(3))
    assert certify.as_graph(graph, [3]) is graph
    for shape in ([4], (3, 1), "abc", 3):
        with pytest.raises(InputError):
            certify.as_graph(graph, shape)


def test_a_missing_onnx_file_and_a_missing_certificate(tmp_path):
    with pytest.raises(InputError):
        certify.as_graph(tmp_path / "absent.onnx")
    for model in (linear(np.eye(2)), module()):
        with pytest.raises(InputError, match="no such certificate"):
            certify.check(tmp_path / "absent", model)


def test_a_graph_goes_through_without_torch(tmp_path, project_root):
    path = certificate_of(linear(np.eye(3)), tmp_path / "c")
    code = f"""
import sys, numpy as np, certify
from certify.core.graph import GraphBuilder
b = GraphBuilder()
graph = b.build(b.add("dense", [b.add("input", attrs={{"shape": (3,)}}, name="x")], arrays={{"weight": np.eye(3)}}, name="fc"))
assert certify.check({str(path)!r}, graph).ok
packages = ("certify.norms", "certify.rules", "certify.linear", "certify.constants", "certify.robustness", "certify.core.evaluate")
prover = [m for m in sys.modules if m.startswith(packages)]
print("torch" in sys.modules, prover)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root, timeout=120)
    assert done.stdout.strip() == "False []", done.stdout + done.stderr


@pytest.mark.parametrize("shape", ["4", "12", (4.7,), (4.0,), b"4"])
def test_an_input_shape_is_not_guessed_from_text_or_fractions(shape):
    with pytest.raises(InputError, match="input_shape"):
        certify.lipschitz(module(), shape)
