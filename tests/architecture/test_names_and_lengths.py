"""House rules that a machine can read: no function hides a module of its own package, files and functions fit in the head."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for package in ("certify", "reach") for path in (ROOT / package).rglob("*.py"))
PACKAGES = sorted({".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"})
FILE_LINES, FUNCTION_LINES = 250, 60


@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_function_shares_its_name_with_a_submodule(name):
    package = importlib.import_module(name)
    submodules = {info.name for info in pkgutil.iter_modules(package.__path__)}
    clash = [n for n in dir(package) if n in submodules and not isinstance(getattr(package, n), types.ModuleType)]
    assert not clash, f"{name}: {clash} are both a name and a module"


def lengths(path: Path) -> list[tuple[int, str]]:
    """(lines, place) of the file and of each function in it."""
    text = path.read_text()
    rows = [(len(text.splitlines()), str(path.relative_to(ROOT)))]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            rows.append((node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}()"))
    return rows


def test_files_and_functions_fit_in_the_head(record_property):
    rows = [(n, place, FUNCTION_LINES if place.endswith("()") else FILE_LINES) for path in FILES for n, place in lengths(path)]
    files = sorted((r for r in rows if r[2] == FILE_LINES), reverse=True)
    record_property("longest", files[:5])
    too_long = [f"{n:5d} lines (at most {limit})  {place}" for n, place, limit in sorted(rows, reverse=True) if n > limit]
    assert not too_long, "split by concept:\n" + "\n".join(too_long)


def test_the_library_prints_nothing_and_asserts_nothing():
    """Output belongs to app; `assert` vanishes under -O and says too little, so the library raises."""
    found = []
    for path in FILES:
        if "app" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if printing or isinstance(node, ast.Assert):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found, found
