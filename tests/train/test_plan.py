"""A plan refuses what makes no sense by the name of the field, and its repr is its record."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.training import Margin, plan

from certify.core.errors import InputError
from certify.train.plan import OPTIMIZERS, SCHEDULES, Plan

WRONG = {
    "epochs": [0, -1, 1.5, "3", True, None, math.nan, 10**7],
    "batch_size": [0, 2.0, None],
    "loss": [None, 3, Margin, "EMMA"],
    "penalty": [3, Margin],
    "optimizer": ["Adam", None, 3, "adagrad"],
    "learning_rate": [0, -1e-3, math.nan, math.inf, "0.1", None, True],
    "weight_decay": [-1e-9, math.nan, None],
    "momentum": [1.0, -0.1, math.nan],
    "clip_norm": [0, -1, math.inf, "1"],
    "schedule": ["cosine ", None, 0],
    "warmup": [-0.1, 1.1, math.nan],
    "epsilon": [0, -1, math.nan, "1"],
    "epsilon_schedule": ["exp", None],
    "epsilon_start": [0, -0.1, math.inf],
    "epsilon_fraction": [-0.1, 1.1],
    "augment": ["shift", "shift:", "shift:-1", "shift:1.5", "flip:2", 2, "crop:2", "shift:9999"],
    "validation": [1.0, -0.1, -1, math.nan, "10", True],
    "precision": ["float16", "bf16", None],
    "pairs": ["two", None],
    "norm": ["L2", 2, "linfinity"],
    "radii": [[0], [-1], [math.nan], 0.5, None, ["a"], "0.5", "", {}],
    "average": [1, -0.1, math.nan],
    "seed": [-1, 1.5, None, 2**63],
    "threads": [0, 1.5, None],
    "device": ["cuda:0", None],
    "attack": [0, 1, "yes", None],
    "out": [3, b"x"[0]],
    "checkpoint_every": [0, 1.5],
}


def test_every_field_is_checked():
    assert set(WRONG) == {field.name for field in dataclasses.fields(Plan)}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(InputError) as error:
        plan(**{name: value})
    assert error.value.where == f"Plan.{name}" and error.value.found is not None and error.value.expected


def test_what_is_accepted_is_kept_as_plain_python():
    made = plan(epochs=np.int64(3), learning_rate=np.float32(0.5), radii=np.array([0.5, 1.0]), seed=np.uint8(7), validation=np.float64(0.25), clip_norm=1, out=None)
    assert (type(made.epochs), type(made.learning_rate), type(made.seed), type(made.validation), type(made.clip_norm)) == (int, float, int, float, float)
    assert made.radii == (0.5, 1.0) and all(type(r) is float for r in made.radii)


def test_the_repr_is_the_plan():
    made = plan(epochs=3, epsilon=0.5, epsilon_schedule="log", augment="shift:2", out="somewhere")
    assert eval(repr(made), {"Plan": Plan, "Margin": Margin}) == made


def test_an_epsilon_needs_a_loss_that_has_one():
    with pytest.raises(InputError, match="epsilon"):
        plan(loss=lambda logits, labels, pairs=None: logits.sum(), epsilon=1.0)


def test_an_estimate_of_pairs_is_about_l2():
    with pytest.raises(InputError, match="pairs"):
        plan(pairs="estimate", norm="linf")


def test_the_record_says_everything_but_where():
    first, second = plan(out="a", penalty=lambda model: 0), plan(out="b", penalty=lambda model: 0)
    assert " at 0x" not in str(first.record()) and first.record() == second.record()
    assert set(first.record()) == {field.name for field in dataclasses.fields(Plan)} - {"out"}
    assert plan(seed=1).record() != plan(seed=2).record() and plan(loss=Margin(0.1)).record() != plan(loss=Margin(0.2)).record()


def test_a_plan_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().epochs = 3  # type: ignore[misc]


@given(st.integers(1, 10**6), st.sampled_from(OPTIMIZERS), st.sampled_from(SCHEDULES), st.floats(1e-6, 1e3), st.lists(st.floats(1e-3, 10), max_size=3))
def test_replace_keeps_a_plan(epochs, optimizer, schedule, rate, radii):
    made = plan(epochs=epochs, optimizer=optimizer, schedule=schedule, learning_rate=rate, radii=radii)
    assert dataclasses.replace(made) == made and dataclasses.replace(made, seed=1).epochs == epochs
