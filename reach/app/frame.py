"""What every command of `reach` shares: how an answer is printed, which exit code it gives, and how an error reads; the conventions are certify's.

Exit codes: 0 asked and proved (or finished), 1 asked and not proved, 2 could not be asked. With `--json` standard output
holds one object with `status` and nothing else; progress and errors of the human kind go to standard error.
"""

from __future__ import annotations

import functools
import json as json_module
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

EXIT_CODES = {"proved": 0, "finished": 0, "not proved": 1, "error": 2, "interrupted": 2}
_EXTRAS = {"onnx": "onnx", "matplotlib": "plot"}


@dataclass(frozen=True)
class Answer:
    """What a command found: `status` (a key of EXIT_CODES), the fields of the JSON object, and text or rich renderables for people."""

    status: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    show: tuple[Any, ...] = ()


def framed(function: Callable[..., Answer]) -> Callable[..., None]:
    """Turn `command(...) -> Answer` into a typer callback that prints the answer and exits with its code."""
    import typer

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        raise typer.Exit(run(lambda: function(*args, **kwargs), as_json=bool(kwargs.get("json"))))

    return wrapped


def run(work: Callable[[], Answer], as_json: bool = False) -> int:
    """Do the work, print what came of it, return the exit code. No traceback leaves here unless CERTIFY_TRACEBACK=1 asks for it."""
    try:
        answer = work()
        _print_answer(answer, as_json)
        return EXIT_CODES[answer.status]
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        return fail(stop, as_json)
    except Exception as error:
        return fail(error, as_json)


def fail(error: BaseException, as_json: bool = False) -> int:
    """Print an error as its parts and return 2; the traceback too if CERTIFY_TRACEBACK=1."""
    if os.environ.get("CERTIFY_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    status = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
    message, parts = _described(error)
    if as_json:
        _write(sys.stdout, json_module.dumps({"status": status, **parts, "message": message}) + "\n")
    else:
        _write(sys.stderr, f"{'interrupted' if status == 'interrupted' else 'error'}: {message}\n")
    return EXIT_CODES[status]


def _described(error: BaseException) -> tuple[str, dict[str, Any]]:
    """The message for people and the parts for JSON."""
    from certify.core.errors import CertifyError

    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped by Ctrl-C; nothing was left half-written", {"error": "Interrupted"}
    if isinstance(error, CertifyError):
        parts = {"what": error.what, "where": error.where, "found": error.found, "expected": error.expected, "try": error.hint}
        return str(error), {"error": type(error).__name__, **{k: str(v) for k, v in parts.items() if v is not None}}
    name = type(error).__name__
    if isinstance(error, MemoryError):
        what, hint = "not enough memory", "a lower order, or fewer trajectories at once"
    elif isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").split(".")[0])):
        what, hint = f"the package '{error.name}' is needed here and not installed", f"pip install 'certify-reach[{extra}]'"
    else:
        hint = "CERTIFY_TRACEBACK=1 before the command shows where; please report it, an error without explanation is a defect of reach"
        what = f"unexpected {name}: {str(error).strip() or 'no message'}"
    return f"{what}\n  {'try:':<10}{hint}", {"error": name, "what": what, "try": hint}


def _print_answer(answer: Answer, as_json: bool) -> None:
    if as_json:
        _write(sys.stdout, json_module.dumps({"status": answer.status, **jsonable(answer.fields)}) + "\n")
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())
    for item in answer.show:
        console.print(item)
    _write(sys.stdout, "")


def _write(stream: Any, text: str) -> None:
    """Write and flush now, so that a full disk or a closed pipe behind standard output is an error here and not at exit."""
    stream.write(text)
    stream.flush()


def jsonable(value: Any) -> Any:
    """Plain JSON: numpy scalars and arrays unpacked, infinities as the strings "inf" and "-inf", since JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value if isinstance(value, str | int | float | bool | None) else str(value)
