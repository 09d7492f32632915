"""Problem files: what is read, and every kind of mistake with its line, what was found and what is expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.reach_problems import PROBLEM

import reach
from certify.core.errors import CertifyError, InputError
from reach.app.problem import load_problem
from reach.app.sections import Source


def test_a_good_file(problem):
    read = load_problem(problem())
    assert read.name == "slow swing" and read.steps == 4 and read.loop.states == ("x", "v") and read.loop.plant.disturbances == ("w",)
    assert read.initial.lower.tolist() == [0.9, -0.05] and read.initial.upper.tolist() == [1.0, 0.05]
    assert read.integrator == reach.Picard(order=3, substeps=1) and read.abstraction == "auto"
    assert [(q.name, q.kind) for q in read.questions] == [("stay x in [-2, 2]", "stay"), ("slow", "avoid")]
    assert "line 25 (specification[0])" in read.questions[0].place
    by_hand = reach.ContinuousSystem(["x", "v"], ["u"], ["v", "-x + u + w"], {"w": (-0.01, 0.01)})
    assert read.loop.plant.digest == by_hand.digest


def test_what_may_be_left_out_or_written_in_another_way(problem, tmp_path):
    path = problem(
        ("horizon = 0.8", "steps = 4"), ("order = 3\n", ""), ("substeps = 1", ""), ("v = [-0.05, 0.05]", "v = 0"), ("[plant.disturbances]\nw = [-0.01, 0.01]\n", ""), (" + w", "")
    )
    path.write_text(path.read_text().split("[[specification]]")[0] + "plot_is_no_key = 1\n")
    with pytest.raises(InputError, match="unknown key 'plot_is_no_key'"):
        load_problem(path)
    path.write_text(path.read_text().replace("plot_is_no_key = 1\n", ""))
    read = load_problem(path)
    assert read.questions == () and read.integrator == "auto" and read.initial.upper[1] == 0 and read.horizon == 0.8 and read.loop.plant.disturbances == ()


LAYERWISE = 'abstraction = { method = "layerwise", degree = 4 }'


def test_discrete_plants_and_processing(problem):
    path = problem(
        ("states =", 'time = "discrete"\nstates ='), ("rates =", "updates ="), ("period = 0.2", "period = 1"), ("horizon = 0.8", "horizon = 3"), ("substeps = 1", ""),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\ninputs = ["x - v", "0.5*v + 1"]\noffset = "1/3"\nscale = [2]\nclamp = [-1, 1]\n' + LAYERWISE),
    )  # fmt: skip
    read = load_problem(path)
    assert not read.loop.continuous and read.abstraction == reach.Layerwise(degree=4) and read.settings["abstraction"] == {"method": "layerwise", "degree": 4}
    with np.load(path.parent / "net.npz") as net:
        x = np.array([0.3, -0.2])
        z = np.array([x[0] - x[1], 0.5 * x[1] + 1])
        u = np.clip(2 * (net["W1"] @ np.tanh(net["W0"] @ z) - 1 / 3), -1, 1)
    assert np.allclose(read.loop.controller.evaluate(x[None])[0], u, rtol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # syntax and sections
        ("order = 3", "order = = 3", ["not TOML", "column"]),
        ("order = 3", "order = 3\norder = 4", ["not TOML"]),
        ("[initial]", "[initials]", ["unknown key 'initials'", "did you mean 'initial'"]),
        ('file = "net.npz"', 'fil = "net.npz"', ["unknown key 'fil'", "did you mean 'file'"]),
        ("substeps = 1", "substep = 1", ["unknown key 'substep'", "did you mean 'substeps'"]),
        ('inputs = ["u"]', 'inputs = "u"', ["wrong type", "'u' (text)", "a list"]),
        ('inputs = ["u"]', "inputs = [1]", ["wrong type", "text in quotes"]),
        ("period = 0.2", 'period = "0.2"', ["'period'", "wrong type", "a number"]),
        ("period = 0.2", "period = true", ["'period'", "wrong type"]),
        ("order = 3", "order = 3.5", ["out of range", "3.5", "whole number"]),
        ("order = 3", "order = 0", ["out of range", "solve.order", "from 1 to"]),
        # the plant
        ('states = ["x", "v"]', 'states = ["x", "x"]', ["occurs twice"]),
        ('states = ["x", "v"]', 'states = ["x y", "v"]', ["not a name"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v", "-x + u + q"]', ["unknown symbol 'q'", "one of: x, v, u, w", "plant.rates[1]", "column 10"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v", "abs(x)"]', ["abs", "corners"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v", "-x + * u"]', ["grammar"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v"]', ["per state", "1 rates for 2 states"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v", true]', ["text or a number"]),
        ('rates = ["v", "-x + u + w"]', 'rates = ["v", "1/(u - u)"]', ["division by zero"]),
        ('rates = ["v", "-x + u + w"]', 'updates = ["v", "-x + u + w"]', ["continuous plant has rates"]),
        ('states = ["x", "v"]', 'time = "sometimes"\nstates = ["x", "v"]', ["sometimes", '"continuous" or "discrete"']),
        ("w = [-0.01, 0.01]", "w = [0.01, -0.01]", ["inverted", "low <= high"]),
        ("w = [-0.01, 0.01]", "w = [-inf, 0.01]", ["finite", "plant.disturbances.w"]),
        ("w = [-0.01, 0.01]", "w = [0.01]", ["[low, high]"]),
        ("w = [-0.01, 0.01]", "x = [-0.01, 0.01]", ["occurs in states and in disturbances"]),
        # the controller
        ('file = "net.npz"', 'file = "nowhere.npz"', ["no such controller file", "nowhere.npz"]),
        ('file = "net.npz"\nactivations = ["tanh", "linear"]', 'file = "problem.toml"', ["not a controller", ".onnx"]),
        ('file = "net.npz"', 'file = "torch.nn:Flatten"', [".npz only", "controller.activations"]),
        ('file = "net.npz"', 'file = "."', ["no such controller file", "a folder"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh"]', ["number of activations", "1 activations", "2, one per layer"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "sinus"]', ["unknown activation 'sinus'", "activations[1]"]),
        ('activations = ["tanh", "linear"]', "", ["needs its activations"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nweights = "w.npz"', ["weights inside"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\ninputs = ["x"]', ["another number of inputs", "controller.file"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\ninputs = ["x", "v*x"]', ["affine", "controller.inputs[1]"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\ninputs = ["x", "y"]', ["unknown symbol 'y'", "controller.inputs[1]"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nscale = [1, 2]', ["wrong length", "controller.scale"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\noffset = "half"', ["finite number", "controller.offset"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nclamp = [1, -1]', ["inverted", "controller.clamp"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nabstraction = "taylor"', ["unknown abstraction", "layerwise"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nabstraction = {method = "layerwise", degre = 3}', ["unknown key 'degre'", "did you mean 'degree'"]),
        ('activations = ["tanh", "linear"]', 'activations = ["tanh", "linear"]\nabstraction = {method = "layerwise", degree = 99}', ["degree", "99"]),
        ('inputs = ["u"]', 'inputs = ["u", "w2"]', ["another number of controls", "controller.file"]),
        # initial box and horizon
        ("x = [0.9, 1.0]", "x = [1.0, 0.9]", ["inverted", "initial.x", "[1.0, 0.9]"]),
        ("x = [0.9, 1.0]", "x = [0.9, inf]", ["unbounded", "initial.x"]),
        ("x = [0.9, 1.0]", "x = [0.9, nan]", ["not a number", "initial.x"]),
        ("x = [0.9, 1.0]", "x = [0.9, 1.0, 1.1]", ["[low, high]"]),
        ("x = [0.9, 1.0]", "y = [0.9, 1.0]", ["unknown key 'y'", "one of x, v"]),
        ("x = [0.9, 1.0]", 'x = [0.9, "1"]', ["wrong type"]),
        ("x = [0.9, 1.0]", "x = [0.9, 1.00000000000000000001]", ["more digits", "write 1.0"]),
        ("x = [0.9, 1.0]", "x = [0.9, 1e999]", ["beyond the range"]),
        ("x = [0.9, 1.0]", "x = [0.9, 9007199254740993]", ["too large"]),
        ("period = 0.2", "period = -0.2", ["period is not positive", "solve.period"]),
        ("period = 0.2", "period = 0", ["period is not positive"]),
        ("horizon = 0.8", "horizon = 0.7", ["not a multiple of the period", "solve.horizon", "0.7"]),
        ("horizon = 0.8", "horizon = 0", ["shorter than one period"]),
        ("horizon = 0.8", "horizon = -0.2", ["not a multiple"]),
        ("horizon = 0.8", "horizon = 0.8\nsteps = 4", ["both"]),
        ("horizon = 0.8", "steps = 0", ["out of range", "at least 1"]),
        # specifications
        ('kind = "stay"', 'kind = "stays"', ["unknown kind", 'did you mean "stay"']),
        ('kind = "stay"', 'kind = "arrive"\nsteps = [1, 2]', ["'arrive' has no key 'steps'"]),
        ('kind = "stay"', 'kind = "stay"\nsteps = [1, 9]', ["after the horizon", "from 0 to 4"]),
        ('kind = "stay"', 'kind = "stay"\nsteps = [1]', ["pair"]),
        ('kind = "stay"', 'kind = "stay"\nat = "noon"', ["always or at samples", "noon"]),
        ('kind = "stay"', 'kind = "stay"\nname = "slow"', ["the same name"]),
        ("set = { x = [-2, 2] }", "set = { y = [-2, 2] }", ["unknown state 'y'", "one of x, v"]),
        ("set = { x = [-2, 2] }", "set = { x = [2, -2] }", ["inverted"]),
        ("set = { x = [-2, 2] }", "set = {}", ["without any condition"]),
        ("set = { x = [-2, 2] }", "set = [[-2, 2]]", ["another dimension", "1 intervals", "2: x, v"]),
        ("set = { x = [-2, 2] }", "set = 3", ["not a set"]),
        ('set = "v >= 1.5"', 'set = "v >= y"', ["unknown symbol 'y'"]),
        ('set = "v >= 1.5"', 'set = "v > 1.5"', ["strict"]),
        ('set = "v >= 1.5"', 'set = ["v >= 1.5", "x +"]', ["specification[1].set"]),
    ],
)
def test_a_mistake_is_named_by_line(problem, old, new, words):
    path = problem((old, new))
    lines = path.read_text().splitlines()
    added = [line for line in new.splitlines() if line not in old.splitlines()] or [""]
    with pytest.raises(CertifyError) as caught:
        load_problem(path)
    message = str(caught.value)
    for word in words:
        assert word in message, f"{word!r} is not in:\n{message}"
    assert caught.value.where and str(path) in str(caught.value.where), message
    if any(word in message for word in ("another number of", "is missing", "needs its", "the same name", "occurs in states", "npz only")):
        return  # about two places: the message names one of them
    numbers = [i + 1 for i, line in enumerate(lines) if line in added]
    assert any(f"line {n}" in message for n in numbers), f"none of the lines {numbers} is in:\n{message}"


@pytest.mark.parametrize(
    ("removed", "words", "header"),
    [
        ("v = [-0.05, 0.05]\n", ["state 'v' is missing", "[low, high]"], "[initial]"),
        ("period = 0.2\n", ["'period' is missing"], "[solve]"),
        ("horizon = 0.8\n", ["neither"], "[solve]"),
        ('kind = "avoid"\n', ["'kind' is missing"], '[[specification]]\nname = "slow"'),
        ('set = "v >= 1.5"\n', ["'set' is missing"], '[[specification]]\nname = "slow"'),
        ('rates = ["v", "-x + u + w"]\n', ["'rates' is missing"], "[plant]"),
        ('file = "net.npz"\n', ["'file' is missing"], "[controller]"),
    ],
)
def test_what_is_missing_is_named_at_its_section(problem, removed, words, header):
    path = problem((removed, ""))
    line = path.read_text()[: path.read_text().index(header)].count("\n") + 1
    with pytest.raises(InputError) as caught:
        load_problem(path)
    for word in (*words, f"line {line} "):
        assert word in str(caught.value), str(caught.value)


def test_a_whole_section_that_is_missing(tmp_path):
    (tmp_path / "p.toml").write_text('[plant]\nstates = ["x"]\nrates = ["-x"]\n')
    with pytest.raises(InputError, match="'controller' is missing"):
        load_problem(tmp_path / "p.toml")


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_problem(tmp_path / "nowhere.toml")
    assert "reach demo" in str(caught.value)
    (tmp_path / "bytes.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InputError, match="UTF-8"):
        load_problem(tmp_path / "bytes.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(InputError, match="not TOML|nested too deeply"):
        load_problem(tmp_path / "deep.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(InputError, match="too large"):
        load_problem(tmp_path / "large.toml")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_can_be_written(x):
    from pathlib import Path

    for text in (repr(x), f"{x:.17g}" if float(f"{x:.17g}") == x and f"{x:.17g}".strip("-").replace("e", "").isdigit() else repr(x)):
        text = text if any(c in text for c in ".e") else text + ".0"
        text = text.replace("e", ".0e") if "e" in text and "." not in text else text
        assert float(Source(Path("p"), f"x = {text}").data["x"]) == x


VALUES = ["0", "-1", "1e400", "nan", "inf", '""', '"x"', "[]", "{}", "[[]]", "[[1, 2], [3, 4]]", "true", "1979-05-27", '["x", "v"]', "{ x = 1 }", "[1, 0]", "99999999999999999999"]


@given(st.data())
def test_no_file_makes_anything_but_our_errors(tmp_path_factory, data):
    """Lines dropped, doubled or with another value: the file is read, or refused by one of our errors that names it."""
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    if not (path.parent / "net.npz").exists():
        np.savez(path.parent / "net.npz", W0=np.eye(4, 2), b0=np.zeros(4), W1=np.ones((1, 4)), b1=np.zeros(1))
    lines = PROBLEM.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(lines) - 1))
        action = data.draw(st.sampled_from(["drop", "double", "value", "swap"]))
        key = lines[i].partition("=")[0]
        if action == "drop":
            lines[i] = ""
        elif action == "double":
            lines[i] += "\n" + lines[i]
        elif action == "value" and "=" in lines[i]:
            lines[i] = f"{key} = {data.draw(st.sampled_from(VALUES))}"
        else:
            j = data.draw(st.integers(0, len(lines) - 1))
            lines[i], lines[j] = lines[j], lines[i]
    path.write_text("\n".join(lines))
    try:
        load_problem(path)
    except CertifyError as error:
        assert str(path) in str(error.where), error
