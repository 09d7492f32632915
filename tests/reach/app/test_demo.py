"""The demo from end to end: verified, checked, repeatable, and taken up by the other commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

FILES = ["certificate", "controller.npz", "flowpipe.csv", "problem.toml", "run.json", "tube-t-angle.png", "tube.png"]


def test_the_demo(demo):
    run = json.loads((demo / "run.json").read_text())
    assert sorted(p.name for p in demo.iterdir()) == FILES == run["files"]
    assert run["status"] == "proved" and all(s["verdict"] == "VERIFIED" for s in run["specifications"]) and len(run["specifications"]) == 4
    assert run["checked"] and run["checked_steps"] > 0 and run["motions_inside"] == run["motions"] == 1000
    assert 1 < run["width_ratio"] < 3
    assert set(run["seconds"]) == {"train", "kernels", "flowpipe", "verdicts", "simulate", "files", "check"}


def test_what_it_wrote_can_be_run_again(demo, reach_command):
    ran = reach_command("run", demo / "problem.toml", "--out", "again", "--no-plot", "--json")
    first = json.loads((demo / "run.json").read_text())
    assert ran.code == 0 and ran.json["final"] == first["final"] and ran.json["digest"] == first["digest"]
    assert reach_command("check", demo / "certificate", demo / "problem.toml").code == 0
    assert reach_command("simulate", demo / "problem.toml", "--count", "50").code == 0
    assert reach_command("report", demo).code == 0


def test_the_same_seed_gives_the_same_controller(tmp_path):
    from reach.app import demo, demo_plant

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with demo_plant.one_thread():
            model = demo_plant.train(demo_plant.Recipe(epochs=3), 5, lambda *_: None)
        demo._save(tmp_path / name, demo_plant.layers(model), demo_plant.PROBLEM)
    for file in ("controller.npz", "problem.toml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_demo_overwrites_a_demo_and_nothing_else(demo, tmp_path):
    from certify.core.errors import InputError
    from reach.app.results import prepare

    run = (demo / "run.json").read_text()
    (tmp_path / "run.json").write_text(run.replace('"command": "demo"', '"command": "run"'))
    with pytest.raises(InputError, match="another run"):
        prepare(tmp_path, tmp_path / "problem.toml", "demo")
    (tmp_path / "run.json").write_text(run)
    assert prepare(tmp_path, tmp_path / "problem.toml", "demo") == tmp_path and not (tmp_path / "run.json").exists()


def test_training_changes_no_global_state():
    import torch

    from reach.app import demo_plant

    before = torch.random.get_rng_state(), torch.get_num_threads()
    with demo_plant.one_thread():
        model = demo_plant.train(demo_plant.Recipe(epochs=1), 0, lambda *_: None)
    assert (torch.random.get_rng_state() == before[0]).all() and torch.get_num_threads() == before[1]
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    weights, biases = demo_plant.layers(model)
    hidden = np.tanh(np.tanh(x @ weights[0].T + biases[0]) @ weights[1].T + biases[1]) @ weights[2].T + biases[2]
    assert np.allclose(model(torch.tensor(x)).detach().numpy(), hidden, atol=1e-6)
