"""docs/lipschitz.md is true: its Python runs and prints what it says, its commands run, its files and names exist."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import certify
from certify.app.lipschitz_rungs import METHODS
from certify.robustness import work

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "lipschitz.md").read_text()


def test_python_and_commands_of_the_guide_do_what_it_says(certify_command):
    """In the order of the guide, in one folder."""
    test = doctest.DocTestParser().get_doctest("".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)), {}, "lipschitz.md", "lipschitz.md", 0)
    assert len(test.examples) >= 8
    report: list[str] = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)

    commands = [line[2:].split("  #")[0].strip() for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.startswith("$ ")]
    assert [shlex.split(command)[1] for command in commands] == ["lipschitz", "check"]
    for command in commands:
        ran = certify_command(*shlex.split(command)[1:])
        assert ran.code == 0, (command, ran.err)


def test_files_and_names_of_the_guide_exist():
    for name in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (DOCS / name).is_file(), name
    for name in re.findall(r"certify\.([A-Za-z]\w+)\(", TEXT):
        assert callable(getattr(certify, name)), name
    for name in work.METHODS:
        assert f"`{name}`" in TEXT, name
    assert {"product", "sdp"} <= set(METHODS)
    for name in ("ladder", "radii", "targets"):
        assert len(re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)[0].splitlines()) > 5, f"{name}: the table is still to be filled"
