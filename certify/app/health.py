"""The checks behind `certify doctor`. Each answers one question; a FAIL means that proofs cannot be trusted or made here."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

NEEDED = ("torch", "numpy", "scipy", "cvxpy", "sympy", "safetensors", "rich", "typer")
EXTRAS = {"onnx": "onnx", "matplotlib": "plot", "scikit-learn": "demo", "dask": "dask"}


class Row(NamedTuple):
    """One line: state is ok, note or FAIL."""

    state: str
    name: str
    detail: str


def checks(progress: Callable[[int, int, str], None]) -> list[Row]:
    """Run every check; an unexpected exception of one is its FAIL and does not stop the others."""
    rows: list[Row] = []
    parts = (_system, _packages, _arithmetic, _linear_algebra, _torch, _proof, _disk)
    for done, part in enumerate(parts):
        name = part.__name__.strip("_").replace("_", " ")
        progress(done, len(parts), name)
        try:
            rows.extend(part())
        except Exception as error:  # a doctor who faints helps nobody
            rows.append(Row("FAIL", name, f"{type(error).__name__}: {error}".replace("\n", " ")))
    return rows


def _system() -> Iterator[Row]:
    from .. import __version__

    yield Row("ok", "certify", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    fits = sys.float_info.mant_dig == 53 and platform.machine().lower() in ("x86_64", "amd64", "arm64", "aarch64")
    yield Row(
        "ok" if fits else "FAIL", "processor", "SSE2 or ARM double precision" if fits else f"{platform.machine()}: only x86-64 and arm64 are known to round each operation once"
    )


def _packages() -> Iterator[Row]:
    for name in NEEDED:
        version = _version(name)
        yield Row("ok" if version else "FAIL", name, version or f"not installed: pip install {name}")
    for name, extra in EXTRAS.items():
        version = _version(name)
        yield Row("ok" if version else "note", name, version or f"not installed; pip install 'certify-reach[{extra}]'")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _arithmetic() -> Iterator[Row]:
    from ..core.rounding import require_ieee

    require_ieee()
    yield Row("ok", "arithmetic", "float64 rounds to nearest with gradual underflow, in numpy and in matrix products")


def _linear_algebra() -> Iterator[Row]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
    yield Row("ok", "BLAS", f"{blas.get('name', 'unknown')} {blas.get('version', '')}")


def _torch() -> Iterator[Row]:
    import torch

    devices = f"{torch.cuda.device_count()} CUDA device(s)" if torch.cuda.is_available() else "CPU only"
    yield Row("ok", "torch devices", f"{devices}; proofs run in float64 on the CPU")


def _proof() -> Iterator[Row]:
    """A network whose constant is known by hand: certified, saved, checked, and refused for another model."""
    import numpy as np

    from .. import CertificateError, check, radius
    from ..core.graph import GraphBuilder

    def graph(last: float):
        b = GraphBuilder()
        x = b.add("activation", [b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[3.0, 0.0], [0.0, 2.0]])})], {"kind": "relu"})
        return b.build(b.add("dense", [x], arrays={"weight": np.array([[1.0, 0.0], [0.0, last]])}))

    result = radius(graph(1.0), np.array([[1.0, 0.0]]), np.array([0]), attack=False)
    true = 1 / np.sqrt(2)  # margin 3, |w_0 - w_1| = sqrt 2, first layer 3
    if not 0.99 * true < result.radii[0] <= true * (1 + 1e-15):
        yield Row("FAIL", "known answer", f"radius {result.radii[0]!r}, by hand {true!r}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "certificate")
        proved = check(path, graph(1.0)).ok
        try:
            check(path, graph(1.5))
            refused = False
        except CertificateError:
            refused = True
    yield Row(
        "ok" if proved and refused else "FAIL",
        "proof and check",
        "a known radius was certified, checked, and refused for another model" if proved and refused else f"proved {proved}, refused for another model {refused}",
    )


def _disk() -> Iterator[Row]:
    import shutil

    free = shutil.disk_usage(tempfile.gettempdir()).free
    yield Row("ok" if free > 1 << 28 else "note", "temporary folder", f"{tempfile.gettempdir()}, {free >> 20} MiB free")
