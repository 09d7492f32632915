"""The frame of the command: help, version, doctor, wrong command lines, errors of every kind."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import certify
from reach.app.cli import main

COMMANDS = ("demo", "run", "simulate", "check", "report", "doctor")


def test_version_and_help(reach_command):
    assert reach_command("--version").out.strip() == f"reach {certify.__version__}"
    ran = reach_command("--help")
    assert ran.code == 0 and [line.split()[0] for line in ran.out.splitlines() if line.startswith("  ") and line.split()[0] in COMMANDS] == list(COMMANDS)
    for name in COMMANDS:
        assert reach_command(name, "--help").code == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments, project_root):
    heavy = {"numpy", "torch", "sympy", "numba", "matplotlib", "scipy"}
    script = f"import sys\nfrom reach.app.cli import main\nassert main({arguments!r}) == 0\nsys.stderr.write('MODULES ' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=project_root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert not heavy & set(done.stderr.rsplit("MODULES", 1)[1].split()), done.stderr[:500]


def test_help_is_quick(project_root):
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "reach", "--help"], cwd=project_root, capture_output=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0, seconds  # 0.2 s on a free machine


def test_wrong_command_lines(reach_command):
    for line in (["nonsense"], ["run"], ["run", "p.toml"], ["simulate"], ["check", "x"], ["demo", "--what"], ["demo", "--epochs", "some"], ["demo", "--epochs", "0", "--out", "d"]):
        ran = reach_command(*line)
        assert ran.code == 2 and ran.out == "" and ran.err.startswith("error: ") and ("where:" in ran.err or "try:" in ran.err), ran
        ran = reach_command(*line, "--json")
        assert ran.code == 2 and ran.err == "" and ran.json["status"] == "error" and ran.json["what"]
    ran = reach_command()
    assert ran.code == 2 and "Usage: reach" in ran.out


def test_unexpected_errors(reach_command, problem, monkeypatch):
    def explode(*_):
        raise ZeroDivisionError("division by zero")

    path = problem()
    monkeypatch.setattr("reach.app.work.load_problem", explode)
    ran = reach_command("run", path, "--out", "run")
    assert ran.code == 2 and "ZeroDivisionError" in ran.err and "CERTIFY_TRACEBACK=1" in ran.err
    monkeypatch.setattr("reach.app.work.load_problem", lambda *_: (_ for _ in ()).throw(ModuleNotFoundError("No module named 'onnx'", name="onnx")))
    assert "certify-reach[onnx]" in reach_command("run", path, "--out", "run").err
    monkeypatch.setattr("reach.app.work.load_problem", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert "not enough memory" in reach_command("run", path, "--out", "run").err


def test_the_traceback_on_request(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CERTIFY_TRACEBACK", "1")
    assert main(["simulate", str(tmp_path / "nowhere.toml")]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_doctor(reach_command):
    ran = reach_command("doctor")
    assert ran.code == 0, ran.out
    for name in ("numba", "arithmetic", "functions", "kernels", "proof and check", "kernel cache"):
        assert name in ran.out
    assert reach_command("doctor", "--json").json["failed"] == []


def test_a_doctor_that_finds_something(reach_command, monkeypatch):
    monkeypatch.setattr("reach.app.health.math", SimpleNamespace(**{**vars(math), "exp": lambda x: 2.7}))
    monkeypatch.setattr("reach.app.health._proof", lambda: (_ for _ in ()).throw(RuntimeError("no luck")))
    ran = reach_command("doctor", "--json")
    assert ran.code == 2 and ran.json["failed"] == ["functions", "<lambda>"]


def test_a_closed_pipe_and_a_full_disk(project_root):
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "reach", "--help"], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
