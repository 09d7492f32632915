"""Fixtures of the `reach` command-line tests: run a command in this process, and a problem small enough for a second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from strategies.reach_problems import PROBLEM

from reach.app.cli import main


@dataclass(frozen=True)
class Ran:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; anything else there is a failure."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@pytest.fixture
def reach_command(capsys, monkeypatch, tmp_path):
    """`reach_command("run", path, "--out", "run")` in a fresh folder: never a traceback, never a partial file left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CERTIFY_TRACEBACK", raising=False)

    def run(*arguments) -> Ran:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        leftovers = [p for p in tmp_path.rglob(".*") if p.is_file()]
        assert not leftovers, f"half-written: {leftovers}"
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def net(tmp_path):
    """A tanh network (2, 4, 1) in net.npz that damps a little."""
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "net.npz", W0=rng.normal(size=(4, 2)), b0=np.zeros(4), W1=-0.2 * rng.random((1, 4)), b1=np.zeros(1))
    return tmp_path / "net.npz"


@pytest.fixture
def problem(tmp_path, net):
    """`problem(("old", "new"), ...)` writes problem.toml with the replacements made, and returns its path."""

    def write(*changes: tuple[str, str]):
        text = PROBLEM
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
            text = text.replace(old, new)
        (tmp_path / "problem.toml").write_text(text)
        return tmp_path / "problem.toml"

    return write


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo as users get it, once per process: its folder."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("demo") / "run"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["demo", "--out", str(folder)]) == 0, text.getvalue()
    (folder.parent / "text").write_text(text.getvalue().replace(str(folder), "RUN"))
    return folder


@pytest.fixture
def demo_text(demo):
    """What the demo printed, its folder called RUN."""
    return (demo.parent / "text").read_text()
