"""The Makefile installs when the pins change and only then, and CI calls what a developer calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile, the pins, and a .venv that looks installed an hour ago."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    return tmp_path


def planned(folder: Path, target: str) -> str:
    """What `make target` would do, also when these tests themselves run under make."""
    plain = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    return subprocess.run(["make", "-n", target], cwd=folder, env=plain, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True, timeout=60).stdout


def test_first_use_installs_only_what_is_needed(clone):
    assert ".[demo]" in planned(clone, "demo") and ".[dev]" not in planned(clone, "demo")
    assert ".[dev]" in planned(clone, "test")


def test_nothing_is_installed_twice(clone):
    (clone / ".venv" / ".demo").touch()
    (clone / ".venv" / ".dev").touch()
    for target in ("demo", "test", "lint", "bench", "test-deep"):
        assert "pip" not in planned(clone, target), target


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_pins_are_installed(clone, name):
    (clone / ".venv" / ".demo").touch()
    (clone / ".venv" / ".dev").touch()
    os.utime(clone / name, (4e9, 4e9))
    assert ".[demo]" in planned(clone, "demo") and ".[dev]" in planned(clone, "test")


def test_make_test_is_lint_types_and_tests(clone):
    lines = planned(clone, "test")
    assert lines.index("bin/ruff check") < lines.index("bin/mypy") < lines.index("-m pytest")


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and "make test" in script.read_text()


def test_every_pin_is_exact_and_known_to_be_free_of_the_gpl():
    import importlib.metadata

    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(pins) > 60 and all("==" in pin and "+" not in pin for pin in pins)
    for pin in pins:
        name = pin.split("==")[0]
        assert name != "torchvision"
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name == "python-flint":
            continue  # parts are LGPL: an optional extra (`balls`), the oracle of tests, imported by nothing in the packages
        licence = " ".join([metadata.get("License-Expression") or "", *(c for c in metadata.get_all("Classifier") or [] if c.startswith("License"))])
        assert "GPL" not in licence and "General Public" not in licence, f"{name}: {licence}"
