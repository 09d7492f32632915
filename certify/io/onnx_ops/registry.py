"""The table of operators that the loader knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..onnx_network import Network
from ..onnx_values import Call, Value

Handler = Callable[[Network, Call], Value | list[Value]]


@dataclass(frozen=True)
class Operator:
    """A handler and the opsets of the standard domain in which it speaks for the operator."""

    name: str
    handler: Handler
    since: int
    until: int


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, since: int = 8, until: int = 22) -> Callable[[Handler], Handler]:
    """Register a handler. It gets the network and the call, emits nodes, and returns the value (or values) of the outputs.

    A handler reads every attribute it knows through `call.attr` and friends; the loader refuses a node with others.
    """

    def register(handler: Handler) -> Handler:
        for name in names:
            OPERATORS[name] = Operator(name, handler, since, until)
        return handler

    return register
