"""The checks behind `reach doctor`. Each answers one question; a FAIL means that flowpipes cannot be trusted or made here."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

NEEDED = ("numpy", "scipy", "numba", "sympy", "torch", "rich", "typer")
EXTRAS = {"onnx": "onnx", "matplotlib": "plot", "python-flint": "balls"}


class Row(NamedTuple):
    """One line: state is ok, note or FAIL."""

    state: str
    name: str
    detail: str


def checks(progress: Callable[[int, int, str], None]) -> list[Row]:
    """Run every check; an unexpected exception of one is its FAIL and does not stop the others."""
    rows: list[Row] = []
    parts = (_system, _packages, _arithmetic, _library, _kernels, _proof, _cache)
    for done, part in enumerate(parts):
        name = part.__name__.strip("_")
        progress(done, len(parts), name)
        try:
            rows.extend(part())
        except Exception as error:  # a doctor who faints helps nobody
            rows.append(Row("FAIL", name, f"{type(error).__name__}: {error}".replace("\n", " ")))
    return rows


def _system() -> Iterator[Row]:
    from .. import __version__

    yield Row("ok", "reach", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    fits = sys.float_info.mant_dig == 53 and platform.machine().lower() in ("x86_64", "amd64", "arm64", "aarch64")
    detail = "SSE2 or ARM double precision" if fits else f"{platform.machine()}: only x86-64 and arm64 are known to round each operation once"
    yield Row("ok" if fits else "FAIL", "processor", detail)


def _packages() -> Iterator[Row]:
    for name in (*NEEDED, *EXTRAS):
        try:
            yield Row("ok", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Row("note" if name in EXTRAS else "FAIL", name, f"not installed; pip install {repr(f'certify-reach[{EXTRAS[name]}]') if name in EXTRAS else name}")


def _arithmetic() -> Iterator[Row]:
    from certify.core.rounding import require_ieee

    require_ieee()
    yield Row("ok", "arithmetic", "float64 rounds to nearest with gradual underflow, in numpy and in matrix products")


def _library() -> Iterator[Row]:
    """sin, cos, exp, log, tanh and atan of the C library at arguments whose values are known to 20 digits; the test suite probes thousands."""
    known = {
        "sin(1)": (math.sin(1.0), 0.84147098480789650665), "cos(1)": (math.cos(1.0), 0.54030230586813971740), "exp(1)": (math.exp(1.0), 2.71828182845904523536),
        "log(2)": (math.log(2.0), 0.69314718055994530942), "tanh(1/2)": (math.tanh(0.5), 0.46211715726000975850), "atan(1)": (math.atan(1.0), 0.78539816339744830962),
    }  # fmt: skip
    bad = [name for name, (got, true) in known.items() if not abs(got - true) <= 5 * math.ulp(true)]
    detail = f"more than 4 ulp off: {', '.join(bad)}" if bad else "sin, cos, exp, log, tanh, atan are within 4 ulp where looked at"
    yield Row("FAIL" if bad else "ok", "functions", detail)


def _kernels() -> Iterator[Row]:
    from ..sets.jit import on_compile

    said: list[str] = []
    start = time.perf_counter()
    with on_compile(said.append):
        _pendulum()
    seconds = time.perf_counter() - start
    yield Row("ok", "kernels", f"compiled now, in {seconds:.0f} s; the next start takes them from the cache" if said else f"compiled before, ready in {seconds:.1f} s")


def _pendulum():
    """The flowpipe of x'' = -x + u with u = -x/2 held: a linear plant, so the truth is a formula."""
    import numpy as np

    from certify.core.graph import GraphBuilder

    from .. import Box, ClosedLoop, ContinuousSystem, solve

    builder = GraphBuilder()
    x = builder.add("dense", [builder.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[-0.5, 0.0]])})
    loop = ClosedLoop(ContinuousSystem(["x", "v"], ["u"], ["v", "u - x"]), builder.build(x), 0.5)
    return loop, solve(loop, Box(np.array([0.9, -0.1]), np.array([1.1, 0.1])), 1.0)


def _proof() -> Iterator[Row]:
    """The corners' motions, by formula, are inside the proved sets; the certificate is checked, and refused for another plant."""
    import numpy as np

    from certify import CertificateError

    from .. import ClosedLoop, ContinuousSystem, check

    loop, pipe = _pendulum()
    corners = np.array([[a, b] for a in (0.9, 1.1) for b in (-0.1, 0.1)])
    for k in (1, 2):
        held = -0.5 * corners[:, 0]
        offset, c, s = corners[:, 0] - held, math.cos(0.5), math.sin(0.5)
        corners = np.stack([held + offset * c + corners[:, 1] * s, corners[:, 1] * c - offset * s], axis=1)
        box = pipe.at(k).box()
        inside = (box.lower <= corners).all() and (corners <= box.upper).all() and (box.upper - box.lower <= 1.01 * np.ptp(corners, axis=0)).all()
        if not inside:
            yield Row("FAIL", "known answer", f"the set at step {k} is {box}, the corners' motions end in {corners.tolist()}")
            return
    with tempfile.TemporaryDirectory() as folder:
        path = pipe.save(Path(folder) / "certificate")
        proved = check(path, loop).ok
        try:
            check(path, ClosedLoop(ContinuousSystem(["x", "v"], ["u"], ["v", "u - 2*x"]), loop.controller, 0.5))
            refused = False
        except CertificateError:
            refused = True
    good = proved and refused
    detail = "a known flowpipe was proved, checked, and refused for another plant" if good else f"proved {proved}, refused for another plant {refused}"
    yield Row("ok" if good else "FAIL", "proof and check", detail)


def _cache() -> Iterator[Row]:
    """Where compiled kernels are kept: beside the package, else in a folder of the user."""
    import os

    place = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).resolve().parents[1])
    if os.access(place, os.W_OK):
        yield Row("ok", "kernel cache", f"{place} is writable")
    else:
        yield Row("note", "kernel cache", f"{place} is not writable: numba keeps the kernels in a folder of the user; NUMBA_CACHE_DIR names another")
