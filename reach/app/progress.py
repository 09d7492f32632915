"""A progress line on standard error: drawn by rich, silent where standard error is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[int, int, str], None]


@contextlib.contextmanager
def bar(label: str) -> Iterator[Progress]:
    """A progress callback for the library; the bar vanishes when the block ends.

    >>> with bar("working") as progress:
    ...     progress(1, 2, "half")
    """
    if not sys.stderr.isatty():
        yield lambda done, total, message: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)

        def progress(done: int, total: int, message: str = "") -> None:
            bars.update(task, completed=done, total=total, description=f"{label}: {message}" if message else label)

        yield progress
