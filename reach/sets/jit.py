"""The one file that imports numba: `jit` compiles a kernel at its first call and keeps the machine code on disk.

IEEE 754 arithmetic as written: no fastmath, so NaN tests work and nothing is divided by a reciprocal; `error_model="numpy"` makes 1 / 0
an infinity instead of an exception. The first compilation takes most of a minute; `on_compile` tells a listener about it.

Why not numba's own `cache=True`: it notices changes of the file that holds a kernel, not of the files whose kernels it has inlined. After
an upgrade that repairs a rounding term in one file, machine code of another file would go on proving with the old one. Here the stamp of a
cached kernel is the digest of its file and of every file of this package that it imports, directly or not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching, event

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """The function compiled by numba; its machine code is cached beside the file (or in NUMBA_CACHE_DIR, or in the user's cache folder)."""
    kernel: Any = numba.njit(error_model="numpy")(function)
    try:
        kernel._cache = _Cache(function)
    except (RuntimeError, AttributeError, TypeError) as error:  # no writable folder at all, or a numba with another inside: slower, never wrong
        warnings.warn(f"compiled kernels are not kept on disk: {error}", RuntimeWarning, stacklevel=2)
    return kernel


@functools.cache
def sources(path: Path) -> tuple[Path, ...]:
    """The file and every file of its top-level package that it imports, directly or through others, sorted."""
    found: set[Path] = set()
    todo = [path.resolve()]
    while todo:
        now = todo.pop()
        if now in found:
            continue
        found.add(now)
        for node in ast.walk(ast.parse(now.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = now.parents[node.level - 1]
                target = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
                options = [target.with_suffix(".py"), target / "__init__.py", *(target / f"{alias.name}.py" for alias in node.names)]
                todo += [option for option in options if option.is_file()]
    return tuple(sorted(found))


@functools.cache
def stamp(path: Path) -> bytes:
    """Digest of all `sources` of a file."""
    digest = hashlib.sha256()
    for source in sources(path):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.digest()


def _stamped(locator: type) -> Any:
    """numba's locator of cache folders with our stamp."""
    return type(locator.__name__, (locator,), {"get_source_stamp": lambda self: stamp(Path(self._py_file))})


class _Files(caching.CompileResultCacheImpl):
    _locator_classes = [_stamped(c) for c in (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator)]


class _Cache(caching.FunctionCache):
    _impl_class = _Files


class _Announcer(event.Listener):
    """Calls `say` at the first real compilation (code loaded from the cache does not count)."""

    def __init__(self, say: Callable[[str], None]):
        self.say, self.said = say, False

    def on_start(self, event):
        if not self.said:
            self.said = True
            self.say("compiling the numeric kernels (once per installation, about a minute)")

    def on_end(self, event):
        pass


def on_compile(say: Callable[[str], None]) -> Any:
    """A context inside which `say(text)` is called if numba has to compile something.

    >>> with on_compile(print):
    ...     pass
    """
    return event.install_listener("numba:compile", _Announcer(say))
