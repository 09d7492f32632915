"""Controller: a network with its pre- and post-processing, as one map from states to controls."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

import certify
from certify.core.elementary import LIBM
from certify.core.errors import InputError
from certify.core.graph import Graph, GraphBuilder

from .program import Program, compile_graph

_OWN = frozenset("relu leaky_relu prelu abs hardtanh hardsigmoid hardswish softshrink softsign tanh sigmoid".split())  # fitted without the C library


class Controller:
    """u = clamp(scale * (net(inputs(x)) - offset)).

    Args:
        model: a torch module, the path of an ONNX file or a certify.Graph; one flat input vector, one flat output vector.
        inputs: affine expressions in the states (text, sympy or numbers), one per input of the network; None: the states in order.
        offset, scale: numbers, or one per control. clamp: (low, high) or None.

    Decimals mean decimals: 0.1 is one tenth and the nearest float; the difference is part of every enclosure (of `clamp`, the nearest floats are meant).
    The processing becomes layers of the network's program, so that its rounding and its correlation are treated like any layer's.
    Raises:
        InputError: the network's input or output is not a vector of the right size, an expression is not affine or names an unknown state.
    """

    def __init__(self, model: Any, inputs: Any = None, offset: Any = 0, scale: Any = 1, clamp: Any = None):
        if inputs is not None and (isinstance(inputs, str) or not isinstance(inputs, Sequence)):
            raise InputError(
                "the controller's inputs are not a list", where="Controller.inputs", found=repr(inputs)[:80], expected='a list of expressions, e.g. ["x1", "x2 - 0.5"]'
            )
        if clamp is not None and not (isinstance(clamp, list | tuple) and len(clamp) == 2):
            raise InputError("a clamp is a pair", where="Controller.clamp", found=repr(clamp)[:80], expected="(low, high)")
        self.model, self.inputs, self.offset, self.scale, self.clamp = model, inputs, offset, scale, clamp
        self._bound: tuple[tuple[str, ...], int, Graph] | None = None

    def bind(self, states: tuple[str, ...], controls: int) -> Controller:
        """The controller of a plant with these states and so many controls: checks sizes and builds the whole graph."""
        bound = Controller(self.model, self.inputs, self.offset, self.scale, self.clamp)
        bound._bound = (states, controls, _whole_graph(self, states, controls))
        return bound

    @property
    def graph(self) -> Graph:
        """The whole controller, from states to controls, as a Graph."""
        if self._bound is None:
            raise InputError("a controller is not yet part of a closed loop", hint="reach.ClosedLoop(plant, controller, period) binds it to the plant's states")
        return self._bound[2]

    @property
    def dimension(self) -> int:
        return len(self._bound[0]) if self._bound else 0

    @functools.cached_property
    def program(self) -> Program:
        """The graph's straight-line code."""
        return compile_graph(self.graph)

    def evaluate(self, states) -> np.ndarray:
        """Controls (n, nu) for states (n, ns): float64 values, an estimate."""
        x = np.asarray(states, np.float64)
        return np.asarray(self.graph(x.reshape(-1, x.shape[-1])))

    def enclose_points(self, states) -> tuple[np.ndarray, np.ndarray]:
        """(lower, upper), each (n, nu): proved enclosures of the controls at float states."""
        from certify.constants.local import enclose_points

        return enclose_points(self.graph, np.asarray(states, np.float64))

    def column_constants(self, lower, upper) -> np.ndarray:
        """(nu, ns): bounds of |du_j / dx_i| over the box [lower, upper] of states."""
        from certify.constants.local import column_constants
        from certify.core.regions import Box

        return column_constants(self.graph, Box(lower, upper))

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """A network needs none."""
        return ()

    @property
    def library(self) -> tuple[str, ...]:
        """What is assumed of the C library, for activations whose values come from it."""
        kinds = {str(node.attrs["kind"]) for node in self.graph.nodes if node.op == "activation"}
        return () if kinds <= _OWN else (LIBM,)

    @property
    def digest(self) -> str:
        return self.graph.digest


def _numbers(value: Any, count: int, name: str) -> list[Fraction]:
    """`value` as `count` exact rationals: numbers by their shortest decimal, text as a decimal or a fraction."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    many = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(many) != count:
        raise InputError("the controller's processing has a wrong length", where=name, found=len(many), expected=f"{count}, one per control")
    try:
        return [Fraction(v) if isinstance(v, Fraction | int) and not isinstance(v, bool) else Fraction(str(v)) for v in many]
    except (ValueError, ZeroDivisionError):
        raise InputError("this is not a finite number", where=name, found=repr(value)[:80], expected="a number, or text like 0.1 or 1/3") from None


def _whole_graph(c: Controller, states: tuple[str, ...], controls: int) -> Graph:
    n = len(states)
    if c.inputs is None:
        matrix, shift = [[Fraction(int(i == j)) for j in range(n)] for i in range(n)], [Fraction(0)] * n
    else:
        from ..dynamics.expression import affine_rows

        matrix, shift = affine_rows(list(c.inputs), states)
    k = len(matrix)
    net = certify.as_graph(c.model, None if isinstance(c.model, Graph | str) or hasattr(c.model, "__fspath__") else (k,))
    if int(np.prod(net.input_shape)) != k or max(net.input_shape, default=1) != k:
        what = "inputs" if c.inputs is not None else "states"
        hint = "list what the network reads: Controller(model, inputs=[...])"
        raise InputError(
            "the controller reads another number of inputs than it is given", where="controller", found=f"input shape {net.input_shape}", expected=f"{k} {what}", hint=hint
        )
    m = int(np.prod(net.output_shape))
    if m != controls:
        raise InputError(
            "the controller gives another number of controls than the plant has",
            where="controller",
            found=f"output shape {net.output_shape}",
            expected=f"{controls} inputs of the plant",
        )
    scale, offset = _numbers(c.scale, controls, "scale"), _numbers(c.offset, controls, "offset")
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (n,)}, name="state")
    if c.inputs is not None:
        x = _processing(b, x, matrix, shift, "controller inputs")
    if net.input_shape != (k,):
        x = b.add("reshape", [x], {"shape": net.input_shape}, name="controller shape")
    names = {net.input_node.name: x}
    for node in net.nodes:
        if node.op != "input":
            names[node.name] = b.add(node.op, [names[i] for i in node.inputs], dict(node.attrs), dict(node.arrays), name=node.name, source=node.source)
    y = names[net.output]
    if net.output_shape != (m,):
        y = b.add("reshape", [y], {"shape": (m,)}, name="control shape")
    if any(s != 1 for s in scale) or any(o != 0 for o in offset):
        weight = [[scale[i] if i == j else Fraction(0) for j in range(m)] for i in range(m)]
        y = _processing(b, y, weight, [-s * o for s, o in zip(scale, offset)], "controller scaling")
    if c.clamp is not None:
        low, high = (float(v) for v in _numbers(list(c.clamp), 2, "clamp"))
        if not low <= high:
            raise InputError("a clamp is inverted", where="clamp", found=f"({low}, {high})", expected="(low, high) with low <= high")
        y = b.add("activation", [y], {"kind": "hardtanh", "min": low, "max": high}, name="controller clamp")
    return b.build(y)


def _processing(b: GraphBuilder, x: str, matrix: list[list[Fraction]], shift: list[Fraction], name: str) -> str:
    """A dense layer with the nearest floats of exact rationals; its attributes say how far they are (as `certify.core.fold` does), so that every
    enclosure holds for the rationals and for the floats."""
    for v in (*(v for row in matrix for v in row), *shift):
        if v and not Fraction(2) ** -1000 <= abs(v) <= Fraction(2) ** 1000:
            raise InputError(
                "a number of the controller's processing is out of range",
                where=name,
                found=f"about 1e{len(str(abs(v.numerator))) - len(str(v.denominator))}",
                expected="0, or a size between 1e-300 and 1e300",
            )
    weight = np.array([[float(v) for v in row] for row in matrix], np.float64)
    bias = np.array([float(v) for v in shift], np.float64)
    exact = all(Fraction(float(v)) == v for row in matrix for v in row)
    error = max((abs(Fraction(float(v)) - v) for v in shift), default=Fraction(0))
    attrs: dict[str, float] = {} if exact else {"perturbation": 1}
    if error:
        attrs = {"perturbation": 1, "bias_perturbation": float(np.nextafter(float(error), np.inf))}
    return b.add("dense", [x], attrs, {"weight": weight, "bias": bias}, name=name)


def _size(v: Fraction) -> str:
    return f"about 1e{len(str(abs(v.numerator))) - len(str(v.denominator))}"
