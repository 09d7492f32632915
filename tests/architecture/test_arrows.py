"""The import arrows of the design: who may know whom. Imports are read from the source, the lazy ones inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Edge:
    """One import: the module that asks, what it asks for, where, and the function around it ("" at module level)."""

    source: str
    target: str
    place: str
    function: str


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def edges_of(path: Path, root: Path) -> Iterator[Edge]:
    """Every import of a file, absolute; `from . import x` and `from p import x` give p.x too when that is a module."""
    source = module_name(path, root)
    package = source if path.name == "__init__.py" else source.rpartition(".")[0]

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue  # never executed
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, function) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) - child.level + 1]) if child.level else ""
                base = ".".join(p for p in (base, child.module) if p)
                yield base, child.lineno, function
                for alias in child.names:
                    target = root / (base + "." + alias.name).replace(".", "/")
                    if target.is_dir() or target.with_suffix(".py").exists():
                        yield f"{base}.{alias.name}", child.lineno, function
            elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module") and child.args and isinstance(child.args[0], ast.Constant):
                yield str(child.args[0].value).lstrip("."), child.lineno, function
            yield from walk(child, child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function)

    for target, line, function in walk(ast.parse(path.read_text()), ""):
        yield Edge(source, target, f"{path.relative_to(root)}:{line}", function)


def all_edges(root: Path = ROOT) -> list[Edge]:
    return [edge for package in ("certify", "reach") for path in sorted((root / package).rglob("*.py")) for edge in edges_of(path, root)]


def inside(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in packages)


UPPER = ("constants", "propagate", "verification", "robustness", "train", "app")
TORCH_FILES = ("certify.core.trace", "certify.core.to_torch")


def forbidden(edge: Edge) -> str:
    """The arrow of the design that an import breaks, or "" if it is allowed."""
    s, t = edge.source, edge.target
    ours = inside(t, "certify", "reach")
    if inside(t, "tests", "notebooks"):
        return "library -> tests, notebooks"
    if inside(s, "certify") and inside(t, "reach"):
        return "certify -> reach"
    if inside(t, "matplotlib", "rich", "typer") and not inside(s, "certify.app", "reach.app") and edge.function != "plot":
        return "anything but app and plot methods -> matplotlib, rich, typer"
    if inside(s, "certify.core"):
        if ours and not inside(t, "certify.core"):
            return "core -> anything above"
        if inside(t, "torch") and not s.startswith(TORCH_FILES):
            return "torch only inside core.trace and core.to_torch"
    if inside(s, "certify.linear", "certify.norms", "certify.rules") and inside(t, *(f"certify.{p}" for p in UPPER)):
        return "linear, norms, rules -> constants, propagate, verification, robustness, train, app"
    if inside(s, "certify.io") and t.startswith("certify.") and not inside(t, "certify.io", "certify.core"):
        return "io -> anything but core"
    return _proof(s, t, ours) or _reach(s, t)


def _proof(s: str, t: str, ours: bool) -> str:
    if not inside(s, "certify.proof"):
        return ""
    if inside(t, "torch") or t.startswith(TORCH_FILES):
        return "proof -> torch"
    if ours and t != "certify" and not inside(t, "certify.proof", "certify.core"):  # `certify` itself: its version
        return "proof -> prover code (anything but core)"
    return ""


def _reach(s: str, t: str) -> str:
    if not inside(s, "reach"):
        return ""
    if inside(s, "reach.sets", "reach.integrators", "reach.dynamics", "reach.proof") and inside(t, "torch"):
        return "reach.sets, reach.integrators, reach.dynamics, reach.proof -> torch"
    if inside(s, "reach.proof") and inside(t, "reach.solver", "reach.controllers", "reach.integrators"):
        return "reach.proof -> reach.solver, reach.controllers, reach.integrators"
    if t.startswith("certify.") and not inside(t, "certify.core", "certify.constants.local"):
        return "reach -> certify only through certify.core, certify.constants.local and certify's public names"
    return ""


def test_no_forbidden_arrow():
    edges = all_edges()
    assert len(edges) > 100, "the reader of imports found almost nothing: it is broken"
    broken = [f"{edge.place}: {edge.source} imports {edge.target} ({rule})" for edge in edges if (rule := forbidden(edge))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("certify/core/a.py", "def f():\n    from ..norms import svd"),
        ("certify/core/rounding.py", "import torch"),
        ("certify/io/a.py", "from ..proof import check"),
        ("certify/norms/a.py", "from certify.constants.product import walk"),
        ("certify/proof/a.py", "from ..linear import base"),
        ("certify/proof/a.py", "from ..core import trace"),
        ("certify/proof/a.py", "import importlib\nimportlib.import_module('torch')"),
        ("certify/robustness/a.py", "def curve():\n    import matplotlib.pyplot"),
        ("certify/robustness/a.py", "import reach"),
        ("certify/constants/a.py", "import tests.strategies"),
        ("reach/sets/a.py", "import torch.nn"),
        ("reach/solver.py", "from certify.norms import svd"),
        ("reach/proof/a.py", "from ..integrators import picard"),
    ],
)
def test_the_reader_sees_each_forbidden_arrow(tmp_path, path, text):
    for folder in (
        "certify/core",
        "certify/norms",
        "certify/linear",
        "certify/proof",
        "certify/io",
        "certify/robustness",
        "certify/constants",
        "reach/sets",
        "reach/proof",
        "reach/integrators",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "certify/core/trace.py").touch()
    (tmp_path / path).write_text(text)
    assert any(forbidden(edge) for edge in all_edges(tmp_path)), f"{text!r} in {path} went unseen"


def test_allowed_arrows_stay_allowed(tmp_path):
    for folder in ("certify/core", "certify/robustness", "reach"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "certify/core/trace_ops.py").write_text("import torch")
    (tmp_path / "certify/robustness/radii.py").write_text("from ..core import graph\ndef plot(self):\n    import matplotlib.pyplot as plt")
    (tmp_path / "reach/solver.py").write_text("import certify\nfrom certify.core import regions")
    assert [edge for edge in all_edges(tmp_path) if forbidden(edge)] == []
