"""Reading data that others wrote as a pickle, without executing anything.

A pickle is a program; its dangerous instructions call functions by name. `read_plain` runs Python's own interpreter of it with a
short list of admitted names, each an inert stand-in of ours. What asks for another name is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

_BASE: Any = pickle._Unpickler  # the one in Python: its memo is a dict, so that no opcode can ask for gigabytes


class AsksForCode(pickle.UnpicklingError):
    """The pickle names something that is not plain data."""


class _Unpickler(_BASE):
    """Admits dicts, lists, tuples, numbers, text, bytes and the stand-ins."""

    def __init__(self, data: bytes, admitted: Mapping[tuple[str, str], Any], stateful: tuple[type, ...], reference: Callable[[Any], Any] | None, most: int, encoding: str):
        super().__init__(io.BytesIO(data), encoding=encoding)
        self.admitted, self.stateful, self.reference, self.left = admitted, stateful, reference, most

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise AsksForCode(f"it asks for {module}.{name}, which is code")
        return self.admitted[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self.reference is None:
            raise AsksForCode("it refers to something outside itself")
        return self.reference(pid)

    def load_build(self) -> None:
        """State is given to stand-ins only, never to a function or class of ours."""
        if type(self.stack[-2]) not in self.stateful:
            raise AsksForCode("it gives state to something that is not plain data")
        _BASE.dispatch[pickle.BUILD[0]](self)

    @staticmethod
    def counted(step: Callable[[Any], None]) -> Callable[[Any], None]:
        """An opcode makes at most one small object beyond its payload: bounding their number bounds memory and time."""

        def run(self: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise pickle.UnpicklingError("it has more parts than such a file can have")
            step(self)

        return run


_Unpickler.dispatch = {code: _Unpickler.counted(_Unpickler.load_build if code == pickle.BUILD[0] else step) for code, step in _BASE.dispatch.items()}


def read_plain(
    data: bytes,
    admitted: Mapping[tuple[str, str], Any],
    stateful: tuple[type, ...] = (),
    reference: Callable[[Any], Any] | None = None,
    most: int = 1_000_000,
    encoding: str = "bytes",
) -> Any:
    """The object that a pickle describes, from plain data and stand-ins alone.

    Args:
        admitted: (module, name) -> what stands for it; functions among these must accept any arguments without harm.
        stateful: types of stand-ins that take a state by `__setstate__`.
        reference: what a persistent id stands for; None refuses them.
        most: instructions that are executed at most.
        encoding: of texts from Python 2.

    Raises:
        AsksForCode: another name, a state for something else.
        Exception: a damaged pickle can raise anything; nothing has been executed then either.
    """
    return _Unpickler(data, admitted, stateful, reference, most, encoding).load()
