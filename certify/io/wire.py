"""A look at the bytes of a protobuf message before protobuf allocates anything.

Two bytes on the wire (an empty sub-message) cost protobuf about a hundred in memory, so a file of some megabytes could ask for
gigabytes. `require_modest` walks the wire format, counts messages and fields, and refuses an absurd number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..core.errors import InputError

MAX_FIELDS = 1_000_000  # networks have a few dozen fields per node: the largest of vnncomp has about 5,000


@lru_cache(maxsize=256)
def _nested(descriptor: Any) -> dict[int, Any]:
    """Field number -> descriptor, of the fields that are messages; all others cost memory in proportion to their bytes."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def require_modest(data, descriptor: Any, where: object) -> None:
    """Refuse bytes that are not the wire format of the message `descriptor`, or that hold more than `MAX_FIELDS` fields.

    Raises:
        InputError: with the byte where the format breaks.
    """
    view, stack, fields = memoryview(data), [(0, len(data), descriptor)], 0
    while stack:
        position, end, message = stack.pop()
        nested = _nested(message)
        while position < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise InputError("the file holds too many fields for a network", where=where, found=f"more than {MAX_FIELDS}", expected="some dozens per node")
            key, position = _varint(view, position, end, where)
            kind = key & 7
            if kind == 0:
                _, position = _varint(view, position, end, where)
            elif kind == 1 or kind == 5:
                position += 8 if kind == 1 else 4
            elif kind == 2:
                length, position = _varint(view, position, end, where)
                if key >> 3 in nested and length:
                    stack.append((position, min(position + length, end), nested[key >> 3]))
                position += length
            else:  # groups (3, 4) are in no ONNX file
                raise _broken(where, position, f"wire type {kind}")
            if position > end:
                raise _broken(where, end, "a field longer than what is left: the file is truncated")


def _varint(view: memoryview, position: int, end: int, where: object) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _broken(where, position, "an unfinished number: the file is truncated" if position >= end else "a number of more than ten bytes")


def _broken(where: object, position: int, found: str) -> InputError:
    return InputError(
        "the file is not an ONNX model",
        where=f"{where}, byte {position}",
        found=found,
        expected="a serialized onnx.ModelProto",
        hint="check that the file is complete and really ONNX",
    )
