"""Arguments and options that several commands share, so that the same thing has the same name, help and check everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="An ONNX file (.onnx, .onnx.gz) or package.module:factory, a function that returns a torch module.", show_default=False)
]
Weights = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Weights for package.module:factory: .safetensors, or a state_dict without code.")]
InputShape = Annotated[str | None, typer.Option("--input-shape", metavar="N,N,...", help="Shape of one input, without the batch axis: 3,32,32. An ONNX file knows its own.")]
Norm = Annotated[str, typer.Option("--norm", metavar="l2|linf|l1", help="Norm in which distances are measured, in the units of the model's input.")]
Effort = Annotated[str, typer.Option("--effort", metavar="fast|balanced|tight", help="How much time a bound may take.")]
Method = Annotated[str, typer.Option("--method", metavar="NAME", help="Which bound to use; auto intersects those that are worth their time.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if absent. The same command continues an interrupted run there.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object with `status` instead of text.")]


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """`3,32,32` as (3, 32, 32); None stays None. Raises InputError on anything but positive integers.

    >>> parse_shape("3,32,32")
    (3, 32, 32)
    """
    if text is None:
        return None
    from ..core.errors import InputError

    parts = text.strip("()[] ").removesuffix(",").replace("x", ",").split(",")
    try:
        shape = tuple(int(part) for part in parts)
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise InputError("the input shape is not a list of positive integers", where="--input-shape", found=text, expected="for example 3,32,32", hint="leave the batch axis out")
    return shape


def one_of(value: str, choices: tuple[str, ...], option: str) -> str:
    """`value` if it is one of `choices`; InputError naming the option otherwise."""
    if value not in choices:
        from ..core.errors import InputError

        raise InputError(f"unknown value for {option}", where=option, found=value, expected=" or ".join(choices))
    return value


NORMS = ("l2", "linf", "l1")
EFFORTS = ("fast", "balanced", "tight")
