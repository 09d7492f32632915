"""The command `reach`: finds the commands in `reach.app.commands`, parses, and turns whatever happens into an exit code.

Nothing heavy is imported here: `reach --help` loads neither torch nor sympy nor numba nor numpy.
"""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
from typing import Annotated, Any

import typer

from . import commands
from .frame import EXIT_CODES, fail, framed


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        sys.stdout.write(f"reach {__version__}\n")
        raise typer.Exit(0)


def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False) -> None:
    """Reachable sets of plants with neural controllers: tubes that contain every motion, verdicts on them, and a file that somebody else can check.

    Exit codes: 0 proved or finished, 1 not proved, 2 could not be asked.
    """


def build() -> typer.Typer:
    """The typer application with every command found in `reach.app.commands`."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    found = [(importlib.import_module(f"{commands.__name__}.{info.name}"), info.name) for info in pkgutil.iter_modules(commands.__path__)]
    for module, name in sorted(found, key=lambda pair: pair[0].RANK):
        app.command(name.replace("_", "-"))(framed(module.command))
    return app


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 proved or finished, 1 not proved, 2 could not be asked."""
    argv = list(sys.argv[1:] if argv is None else argv)
    usage_error: Any = typer.BadParameter.__mro__[2]  # click's ClickException, wherever this version of typer keeps click
    as_json = "--json" in argv
    previous = None
    try:
        previous = signal.signal(signal.SIGTERM, _interrupt)  # a polite kill ends like Ctrl-C: finished work is kept
    except ValueError:
        pass  # not the main thread: the signal is not ours
    try:
        code = build()(argv or ["--help"], prog_name="reach", standalone_mode=False)
        sys.stdout.flush()
        return EXIT_CODES["error"] if not argv else int(code or 0)
    except usage_error as error:
        return fail(_usage(error, argv), as_json)
    except (BrokenPipeError, SystemExit):  # typer ends the process by itself when the reader of standard output has left
        sys.stdout = open("/dev/null", "w")  # the reader has left: nothing more to say, and no second error at exit
        return EXIT_CODES["error"]
    except (OSError, KeyboardInterrupt, typer.Abort) as error:
        return fail(KeyboardInterrupt() if isinstance(error, typer.Abort) else error, as_json)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _usage(error: Any, argv: list[str]) -> Exception:
    """A wrong command line as one of our errors."""
    from certify.core.errors import InputError

    context = getattr(error, "ctx", None)
    path = context.command_path if context else "reach"
    return InputError(error.format_message().rstrip("."), where=f"command line of {path}", found=" ".join(argv), hint=f"{path} --help")
