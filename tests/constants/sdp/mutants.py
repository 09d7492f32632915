"""Broken versions of a module: its own source with a piece replaced, run in a namespace of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace


def mutant(module, *changes: tuple[str, str], **given) -> SimpleNamespace:
    """The names of `module` with pieces of its source replaced, and names from `given` in place of its imports."""
    text = Path(module.__file__).read_text()
    for old, new in changes:
        assert old in text, f"the source of {module.__name__} no longer has {old!r}: adapt the mutant"
        text = text.replace(old, new)
    space = {"__name__": module.__name__, "__package__": module.__package__, "__file__": module.__file__}
    exec(compile(text, module.__file__, "exec"), space)
    space.update(given)
    return SimpleNamespace(**space)
