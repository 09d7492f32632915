"""Importing and asking for help is cheap and changes nothing; the checker runs without torch and prover code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "cvxpy", "sympy", "matplotlib", "scipy", "onnx", "sklearn", "dask", "numba", "flint"}


def loaded_after(code: str, root) -> set[str]:
    """Names of all modules that a fresh interpreter holds after `code`."""
    script = f"import sys, json\n{code}\nsys.stderr.write('MODULES' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert "MODULES" in done.stderr, done.stderr
    return set(json.loads(done.stderr.rsplit("MODULES", 1)[1]))


@pytest.mark.parametrize("package", ["certify", "reach"])
def test_importing_a_package_loads_nothing_heavy(package, project_root):
    assert not HEAVY & loaded_after(f"import {package}", project_root)


@pytest.mark.parametrize("package", ["certify", "reach"])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["radius", "--help"]])
def test_help_loads_nothing_heavy(package, arguments, project_root):
    if package == "reach" and arguments[0] == "radius":
        arguments = ["doctor", "--help"]
    found = loaded_after(f"from {package}.app.cli import main\nassert main({arguments!r}) == 0", project_root)
    assert not (HEAVY | {"numpy"}) & found


def test_public_names_are_lazy_and_all_there(project_root):
    code = "import certify\nassert [getattr(certify, n) for n in dir(certify)]\nassert set(certify.__all__) == set(dir(certify))"
    assert "certify.constants.public" in loaded_after(code, project_root)


def test_importing_the_checker_loads_neither_torch_nor_prover(project_root):
    found = loaded_after("import certify.proof.check, certify.proof", project_root)
    prover = {f"certify.{p}" for p in ("linear", "norms", "rules", "constants", "robustness", "train", "app")}
    assert not ({"torch", "cvxpy", "sympy", "onnx"} | prover) & found


def test_importing_everything_changes_no_global_setting(project_root):
    code = """
import warnings, pkgutil, importlib, numpy, torch, random
def state():
    return [repr(numpy.geterr()), numpy.get_printoptions(), str(torch.get_default_dtype()), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(), random.getstate(), repr(numpy.random.get_state()), torch.random.get_rng_state().tolist(), torch.get_float32_matmul_precision()]
import scipy.linalg, scipy.sparse.linalg
before, filters = state(), list(warnings.filters)
import certify, reach
for package in (certify, reach):
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
assert state() == before
ours = [f for f in warnings.filters if f not in filters and "certify" in repr(f)]
assert not ours, ours
"""
    assert "certify.app.cli" in loaded_after(code, project_root)
