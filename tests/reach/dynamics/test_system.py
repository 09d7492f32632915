"""Plants: what is accepted, what is refused by name, and that a plant is the same everywhere."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from strategies.expressions import NAMES, text, trees

from certify.core.errors import InputError
from reach.dynamics.system import ContinuousSystem, DiscreteSystem


def plant(**changes):
    parts = {"states": ["x1", "x2"], "inputs": ["u"], "rates": ["x2", "u*x2**2 - 0.1*x1 + w"], "disturbances": {"w": (-0.1, 0.1)}} | changes
    return ContinuousSystem(**parts)


def test_a_plant_has_its_attributes():
    p = plant()
    assert (p.states, p.inputs, p.disturbances, p.time) == (("x1", "x2"), ("u",), ("w",), "continuous")
    assert p.tape.names == ("x1", "x2", "u", "w") and p.tape is p.tape and len(p.tape.outputs) == 2
    x1, x2, u, w = sp.symbols("x1 x2 u w")
    assert p.expressions == (x2, u * x2**2 - x1 / 10 + w)
    assert p.disturbance_lower[0] <= -0.1 and p.disturbance_upper[0] >= 0.1 and Fraction(float(p.disturbance_upper[0])) >= Fraction(1, 10)
    assert p.evaluate([1.0, 2.0], [0.5], [0.0]).tolist() == [2.0, 1.9] and p.evaluate([1.0, 2.0], [0.5]).tolist() == [2.0, 1.9]
    assert p.evaluate(np.zeros((5, 2)), np.zeros((5, 1)), np.zeros(1)).shape == (5, 2)
    with pytest.raises(AttributeError, match="immutable"):
        p.states = ("y",)
    with pytest.raises(ValueError):
        p.disturbance_lower[0] = 0
    for bad in [([1.0],), ([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0],), ([1.0, 2.0], [1.0], [1.0, 2.0]), (3.0, [1.0])]:
        with pytest.raises(InputError, match="last axis"):
            p.evaluate(*bad)


def test_symbols_names_and_mixtures_are_one_plant():
    x1, x2, u, w = sp.symbols("x1 x2 u w")
    others = [
        plant(states=[x1, "x2"], inputs=(u,), disturbances={w: (-0.1, 0.1)}),
        plant(rates=[x2, u * x2**2 - 0.1 * x1 + w]),
        plant(rates=sp.Matrix([x2, w - x1 / 10 + u * x2 * x2])),
        plant(rates=np.array([x2, "w + u*x2**2 - x1/10"], dtype=object)),
    ]
    assert all(p == plant() and p.digest == plant().digest and p.tape.digest == plant().tape.digest for p in others)


def test_different_plants_have_different_digests():
    plants = [
        plant(),
        plant(states=["x1", "x3"], rates=["x3", "u*x3**2 - 0.1*x1 + w"]),
        plant(rates=["x2", "u*x2**2 - 0.1000000000000000055*x1 + w"]),
        plant(rates=["u*x2**2 - 0.1*x1 + w", "x2"]),
        plant(disturbances={"w": (-0.1, 0.2)}),
        plant(inputs=["u", "w"], disturbances=None),
        plant(inputs=["w"], disturbances={"u": (-0.1, 0.1)}),
        DiscreteSystem(["x1", "x2"], ["u"], ["x2", "u*x2**2 - 0.1*x1 + w"], {"w": (-0.1, 0.1)}),
        plant(states=["x1", "E"], rates=["E", "u*E**2 - 0.1*x1 + w"]),
        plant(states=["x1", "E"], rates=["E", sp.Symbol("u") * sp.E**2 - 0.1 * sp.Symbol("x1") + sp.Symbol("w")]),
    ]
    assert len({p.digest for p in plants}) == len(plants)
    assert len(set(plants)) == len(plants)


def test_a_plant_survives_pickling():
    for p in (plant(), DiscreteSystem(["lambda"], [], ["0.9*lambda"])):
        again = pickle.loads(pickle.dumps(p))
        assert again == p and again.digest == p.digest and again.tape.digest == p.tape.digest and repr(again) == repr(p)


def test_a_plant_is_the_same_in_every_process(project_root):
    rates = ["a*sin(b-c)*cos(b)**2/c", "b**4+a*b*c-u+sqrt(2)*pi", "exp(-a)*(b+c+u)/(1+a**2)"]
    here = ContinuousSystem(["a", "b", "c"], ["u"], rates, {"w": (-1, 1)})
    source = f"from reach.dynamics.system import ContinuousSystem as C; p = C(['a', 'b', 'c'], ['u'], {rates!r}, {{'w': (-1, 1)}}); print(p.digest, p.tape.digest)"
    env = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(project_root)}  # another order of sets than here
    there = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, check=True, timeout=120).stdout
    assert there.split() == [here.digest, here.tape.digest]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"states": "x1 x2"}, ("list", "['x1', 'x2']")),
        ({"states": ["x1 x2"]}, ("one entry per name",)),
        ({"states": []}, ("at least one state",)),
        ({"states": ["x1", "x1"]}, ("'x1'", "twice in states")),
        ({"inputs": ["x1"]}, ("'x1'", "in states and in inputs")),
        ({"disturbances": {"u": (0, 1)}, "rates": ["x2", "u"]}, ("'u'", "in inputs and in disturbances")),
        ({"disturbances": {"w": (0, 1), sp.Symbol("w"): (0, 1)}}, ("twice in disturbances",)),
        ({"rates": ["x2"]}, ("1 rates for 2 states",)),
        ({"rates": ["x2", "w", "u"]}, ("3 rates for 2 states",)),
        ({"rates": "x2"}, ("list",)),
        ({"rates": {"x1": "x2"}}, ("list",)),
        ({"rates": ["x2", "x3 + w"]}, ("unknown symbol 'x3'", "rates[1] (of x2)", "x1, x2, u, w")),
        ({"disturbances": None}, ("unknown symbol 'w'",)),
        ({"disturbances": {"w": (1, -1)}}, ("inverted", "'w'")),
        ({"disturbances": {"w": (math.nan, 1)}}, ("finite", "'w'")),
        ({"disturbances": {"w": (0, math.inf)}}, ("finite",)),
        ({"disturbances": {"w": ("0", "inf")}}, ("finite",)),
        ({"disturbances": {"w": (0, True)}}, ("finite",)),
        ({"disturbances": {"w": (None, 1)}}, ("finite",)),
        ({"disturbances": {"w": 3}}, ("two ends",)),
        ({"disturbances": {"w": (1, 2, 3)}}, ("two ends",)),
        ({"disturbances": {"w": ("-1e999", "0")}}, ("range of float64",)),
        ({"disturbances": [("w", 0, 1)]}, ("dict",)),
        ({"disturbances": {"1w": (0, 1)}}, ("not a name",)),
    ],
)
def test_bad_plants_are_refused_by_name(changes, words):
    with pytest.raises(InputError) as caught:
        plant(**changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_ends_of_a_disturbance_mean_the_float_and_the_decimal():
    for low, high in [(-1e-4, 1e-4), (0.1, 0.3), (-0.7, 0.7), (0, 0), (0.1, 0.1), ("1/3", "1/3"), (0.25, 0.5)]:
        p = ContinuousSystem(["x"], [], ["w"], {"w": (low, high)})
        a, b = Fraction(float(p.disturbance_lower[0])), Fraction(float(p.disturbance_upper[0]))
        for end in (low, high):
            readings = {Fraction(str(end))} | ({Fraction(end)} if isinstance(end, float) else set())
            assert all(a <= r <= b for r in readings)
    exact = ContinuousSystem(["x"], [], ["w"], {"w": (0.25, 0.5)})
    assert (exact.disturbance_lower[0], exact.disturbance_upper[0]) == (0.25, 0.5)


@given(st.lists(trees(depth=3), min_size=3, max_size=3))
def test_text_and_sympy_give_one_tape(three):
    try:
        p = ContinuousSystem(NAMES, [], [text(t) for t in three])
        tape = p.tape
    except InputError:
        return
    again = ContinuousSystem([sp.Symbol(n) for n in NAMES], [], list(p.expressions))
    assert again.digest == p.digest and again.tape.digest == tape.digest


def test_the_benchmark_plants_are_read_as_python_reads_them(data_folder):
    path = data_folder / "controllers" / "benchmarks.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    seen = set()
    for entry in json.loads(path.read_text()).values():
        if str(entry["dynamics"]) in seen:
            continue
        seen.add(str(entry["dynamics"]))
        kind = DiscreteSystem if entry["time"] == "discrete" else ContinuousSystem
        p = kind(entry["states"], entry["inputs"], entry["dynamics"], entry.get("disturbance"))
        x = np.random.default_rng(0).normal(size=len(p.tape.names)) * 0.3
        names = {**dict(zip(p.tape.names, x.tolist())), "sin": math.sin, "cos": math.cos}
        truth = np.array([eval(formula, {"__builtins__": {}}, names) for formula in entry["dynamics"]])
        box = p.tape.enclose(x, x)
        slack = 1e-12 * (1 + np.abs(truth))  # Python's floats round too
        assert (box.lower - slack <= truth).all() and (truth <= box.upper + slack).all() and (box.width <= slack).all()


def test_repr_says_the_plant():
    assert repr(plant(disturbances={"w": (-0.5, 0.5)})) == "ContinuousSystem(x1' = x2; x2' = u*x2**2 + w - x1/10; inputs u; w in [-0.5, 0.5])"
    assert len(repr(ContinuousSystem(["x"], [], ["+".join(f"sin({i}*x)" for i in range(200))]))) < 450
