"""The command `reach`: its version and a look at the machine. Reachability itself is not in this release, and the help says so."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        sys.stdout.write(f"reach {__version__}\n")
        raise typer.Exit(0)


def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False) -> None:
    """Reachable sets of plants with neural controllers.

    NOT IN THIS RELEASE: there is no solver here yet, and this command can neither compute nor check a reachable set. What works today is
    `certify`: certified radii of trained networks (certify --help).
    """


def doctor() -> None:
    """Check what reachability will stand on: IEEE 754 arithmetic, numpy, sympy. Exit code 0 if all is well, 2 if not."""
    import importlib.metadata

    from certify.core.errors import CertifyError
    from certify.core.rounding import require_ieee

    problems = 0
    for name in ("certify-reach", "numpy", "sympy"):
        try:
            sys.stdout.write(f"ok    {name} {importlib.metadata.version(name)}\n")
        except importlib.metadata.PackageNotFoundError:
            problems += name != "certify-reach"
            sys.stdout.write(f"{'note ' if name == 'certify-reach' else 'FAIL '} {name} is not installed as a package\n")
    try:
        require_ieee()
        sys.stdout.write("ok    float64 rounds as IEEE 754 demands\n")
    except CertifyError as error:
        problems += 1
        sys.stdout.write(f"FAIL  {error}\n")
    sys.stdout.write("note  reachability is not in this release\n")
    raise typer.Exit(2 if problems else 0)


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 well, 2 could not be asked."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    app.command("doctor")(doctor)
    arguments = list(sys.argv[1:] if argv is None else argv)
    usage_error: Any = typer.BadParameter.__mro__[2]  # click's ClickException, wherever this version of typer keeps click
    try:
        code = app(arguments or ["--help"], prog_name="reach", standalone_mode=False)
        sys.stdout.flush()
        return 2 if not arguments else int(code or 0)
    except (usage_error, typer.Abort, KeyboardInterrupt) as error:
        text = error.format_message() if hasattr(error, "format_message") else "interrupted"
    except Exception as error:
        if os.environ.get("CERTIFY_TRACEBACK") == "1":
            raise
        text = f"{type(error).__name__}: {error}\n  try:      CERTIFY_TRACEBACK=1 before the command shows where"
    sys.stderr.write(f"error: {text}\n")
    return 2
