"""Ctrl-C, a polite kill, a full disk and a closed pipe: exit code 2, nothing half-written, finished work kept and used."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from strategies.cli_models import TINY


def environment(project_root) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(project_root), str(project_root / "tests")]), "OMP_NUM_THREADS": "1"}


def cut_after(monkeypatch, units: int):
    """Make the journal raise KeyboardInterrupt when it has written so many units, as if Ctrl-C came then."""
    from certify.robustness.journal import Journal

    written = []
    original = Journal.write

    def write(self, unit, arrays):
        original(self, unit, arrays)
        written.append(unit)
        if len(written) >= units:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "write", write)
    return written


@pytest.fixture
def many_inputs(tmp_path, monkeypatch):
    """Enough inputs for several units, with blocks small enough that a unit is small."""
    monkeypatch.setattr("certify.robustness.work.block_size", lambda graph, limit=1024: 16)
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (100, 2)).astype(np.float32)
    np.savez(tmp_path / "many.npz", images=images, labels=np.zeros(100, np.int64))
    return tmp_path / "many.npz"


def test_an_interrupted_run_goes_on_where_it_stopped(certify_command, tmp_path, many_inputs, monkeypatch):
    line = ("radius", TINY, many_inputs, "--out", "run", "--no-attack", "--batch-size", "16")
    with monkeypatch.context() as patch:
        first = cut_after(patch, 3)
        ran = certify_command(*line)
    assert ran.code == 2 and ran.err.startswith("interrupted:") and "same command" in ran.err and len(first) == 3
    assert not (tmp_path / "run" / "run.json").exists() and not (tmp_path / "run" / "certificate").exists()
    asked = certify_command("report", "run")
    assert asked.code == 2 and "same command" in asked.err
    with monkeypatch.context() as patch:
        second = cut_after(patch, 10_000)
        assert certify_command(*line).code == 0
    assert len(second) == 4 and not set(first) & set(second)
    assert certify_command(*line[:3], "--out", "whole", "--no-attack").code == 0
    with np.load(tmp_path / "run" / "radii.npz") as a, np.load(tmp_path / "whole" / "radii.npz") as b:
        assert all((a[name] == b[name]).all() for name in b.files)


def test_interrupted_as_json(certify_command, many_inputs, monkeypatch):
    cut_after(monkeypatch, 1)
    ran = certify_command("radius", TINY, many_inputs, "--out", "run", "--no-attack", "--batch-size", "16", "--json")
    assert ran.code == 2 and ran.json["status"] == "interrupted"


def test_a_polite_kill_is_an_interruption(certify_command, many_inputs, monkeypatch):
    """SIGTERM, as a scheduler sends it, ends like Ctrl-C."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("certify.robustness.journal.Journal.write", lambda self, unit, arrays: os.kill(os.getpid(), signal.SIGTERM))
    ran = certify_command("radius", TINY, many_inputs, "--out", "run", "--no-attack", "--batch-size", "16")
    assert ran.code == 2 and ran.err.startswith("interrupted:")
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_in_a_real_process(project_root, tmp_path):
    """The process is stopped while it attacks; it says so, leaves no half-written file, and ends with 2."""
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "many.npz", images=rng.uniform(-1, 1, (20_000, 2)).astype(np.float32), labels=np.zeros(20_000, np.int64))
    command = [sys.executable, "-m", "certify", "radius", TINY, "many.npz", "--out", "run", "--effort", "tight"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (a shell starts background jobs, CI's too, deaf to Ctrl-C)
    with subprocess.Popen(command, cwd=tmp_path, env=environment(project_root), preexec_fn=listen, **pipes) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("run/journal/*/*.npz")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 2, (out, err)
    assert "interrupted:" in err and "Traceback" not in err and "same command" in err
    assert list(tmp_path.glob("run/journal/*/*.npz")), "finished work is gone"
    assert not list(tmp_path.glob("run/.*")) and not (tmp_path / "run" / "run.json").exists()


def test_a_full_disk(project_root, tmp_path, tiny_data):
    """No file may grow past 200 bytes: the certificate cannot be written, and the folder does not look finished."""
    run = [sys.executable, "-m", "certify", "radius", TINY, str(tiny_data), "--out", "run", "--no-attack"]

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    done = subprocess.run(run, cwd=tmp_path, env=environment(project_root), stdin=subprocess.DEVNULL, capture_output=True, text=True, preexec_fn=small_files, timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr, (done.stdout, done.stderr)
    assert "could not be written" in done.stderr or "too large" in done.stderr.lower(), done.stderr
    assert not (tmp_path / "run" / "run.json").exists() and not (tmp_path / "run" / "certificate").exists()
    assert not [p for p in (tmp_path / "run").rglob(".*") if p.is_file()], "a half-written file was left"


def test_standard_output_on_a_full_disk(project_root, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "certify", "--help"], env=environment(project_root), stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_reader_that_leaves_early(project_root, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "certify", "--help"], env=environment(project_root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 2 and "Traceback" not in err and "Exception ignored" not in err


def test_a_unit_of_another_question_is_not_used(certify_command, tmp_path, many_inputs, monkeypatch):
    """A journal that a run with other settings left behind is not read."""
    with monkeypatch.context() as patch:
        cut_after(patch, 2)
        assert certify_command("radius", TINY, many_inputs, "--out", "run", "--no-attack", "--batch-size", "16").code == 2
    with monkeypatch.context() as patch:
        second = cut_after(patch, 10_000)
        assert certify_command("radius", TINY, many_inputs, "--out", "run", "--no-attack", "--batch-size", "16", "--norm", "linf").code == 0
    assert len(second) == 7
    assert json.loads((tmp_path / "run" / "run.json").read_text())["norm"] == "linf"
