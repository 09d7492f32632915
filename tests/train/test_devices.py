"""Several processes share a batch without changing what is averaged; deep profile: two real ones train the same network as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.train.devices import Devices
from certify.train.epoch import steps_per_epoch


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_shares_partition_a_batch_and_their_means_average_to_its_mean(count, size, seed):
    size = max(size, count)
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=size))
    places = [Devices(SimpleNamespace(process_index=rank, num_processes=count)) for rank in range(count)]
    parts = [place.share(torch.arange(size)) for place in places]
    assert sorted(torch.cat(parts).tolist()) == list(range(size)) and all(len(part) for part in parts)
    means = [values[part].mean() * place.weight(len(part), size) for place, part in zip(places, parts, strict=True)]
    assert (sum(means) / count).item() == pytest.approx(values.mean().item(), abs=1e-12)


@given(st.integers(1, 100), st.integers(4, 30), st.integers(1, 4))
def test_no_process_is_left_without_inputs(samples, batch, processes):
    steps = steps_per_epoch(range(samples), batch, processes)
    sizes = [len(part) for part in torch.arange(samples).split(batch)[:steps]]
    assert all(size >= processes for size in sizes) and samples - sum(sizes) < processes


SCRIPT = """
import json, sys
from strategies.training import clusters, dense, plan
from certify.train.loop import fit
from certify.train.penalties import SpectralNorm
run = fit(dense(), clusters(), plan(penalty=SpectralNorm(0.05), device="cpu", out=sys.argv[1], validation=6, average=0.5))
numbers = [float(v) for p in run.model.parameters() for v in p.flatten()]
print("OUTCOME " + json.dumps({"result": run.result is not None, "numbers": numbers, "losses": [row["loss"] for row in run.history]}), flush=True)
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(project_root, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    paths = os.pathsep.join([str(project_root), str(project_root / "tests")])
    settings = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}

    def outcomes(*launcher: str) -> list[dict]:
        folder = f"run{len(launcher)}"
        line = [sys.executable, *launcher, "script.py", folder]
        done = subprocess.run(line, cwd=tmp_path, env=settings, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=280)
        assert done.returncode == 0, done.stderr
        return [json.loads(line.split("OUTCOME ")[1]) for line in done.stdout.splitlines() if "OUTCOME " in line]

    (alone,) = outcomes()
    first, second = outcomes("-m", "torch.distributed.run", "--nproc_per_node", "2")
    assert {first["result"], second["result"]} == {True, False}, "one process certifies"
    assert first["numbers"] == second["numbers"] and np.allclose(first["numbers"], alone["numbers"], atol=1e-4)
    assert first["losses"] == second["losses"] and np.allclose(first["losses"], alone["losses"], atol=1e-4)
    assert (tmp_path / "run4" / "certificate").exists()
