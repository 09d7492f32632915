"""Compiled kernels on disk: their stamp covers every file whose kernels they inline, and a first compilation is announced."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import reach.integrators.flow_kernels as flow
from reach.sets import jit

ROOT = Path(__file__).resolve().parents[3]


def test_the_stamp_covers_everything_that_is_inlined():
    names = {path.name for path in jit.sources(Path(flow.__file__))}
    assert {"flow_kernels.py", "picard_kernels.py", "deviation_kernels.py", "tape_kernels.py", "series.py", "kernels.py", "jit.py"} <= names


def test_a_change_in_an_inlined_file_is_noticed(tmp_path):
    """numba's own cache would go on with the old `inner`: it looks at the caller's file only."""
    folder = tmp_path / "pack"
    (folder / "sets").mkdir(parents=True)
    for place in (folder, folder / "sets"):
        (place / "__init__.py").touch()
    shutil.copy(ROOT / "reach" / "sets" / "jit.py", folder / "sets" / "jit.py")
    (folder / "inner.py").write_text("from .sets.jit import jit\n\n\n@jit\ndef inner(x):\n    return x + 1.0\n")
    (folder / "outer.py").write_text("from .inner import inner\nfrom .sets.jit import jit\n\n\n@jit\ndef outer(x):\n    return inner(x)\n")

    def run() -> tuple[str, bool]:
        script = "from pack.sets.jit import on_compile\nfrom pack.outer import outer\nwith on_compile(lambda text: print('COMPILING')):\n    print(outer(1.0))"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.split()
        return lines[-1], "COMPILING" in lines

    assert run() == ("2.0", True)
    assert run() == ("2.0", False)
    (folder / "inner.py").write_text((folder / "inner.py").read_text().replace("1.0", "5.0"))
    assert run() == ("6.0", True)


def test_no_kernel_is_compiled_with_fast_math_and_numba_is_imported_in_one_file():
    for path in sorted((ROOT / "reach").rglob("*.py")):
        text = path.read_text()
        assert "fastmath" not in text.replace("no fastmath", ""), path
        if path.name != "jit.py":
            assert "import numba" not in text and "from numba" not in text, path
