"""The README is true: its Python runs and prints what it says, its commands run, its files exist."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line[2:].split("  #")[0].strip() for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.startswith("$ ")]


class Near(doctest.OutputChecker):
    """Text must agree word for word; decimals within 5 %, since training ends a little elsewhere on another processor."""

    NUMBER = re.compile(r"\d+\.\d+(?:e-?\d+)?")

    def check_output(self, want, got, optionflags):
        words = [" ".join(self.NUMBER.sub("#", text).split()) for text in (want, got)]
        numbers = [[float(n) for n in self.NUMBER.findall(text)] for text in (want, got)]
        return words[0] == words[1] and all(abs(a - b) <= 0.05 * abs(a) for a, b in zip(*numbers, strict=True))


def test_python_examples_print_what_the_readme_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("".join(PYTHON), {}, "README.md", "README.md", 0)
    assert len(test.examples) > 15
    report: list[str] = []
    result = doctest.DocTestRunner(checker=Near()).run(test, out=report.append)
    assert result.failed == 0, "".join(report)


def test_the_comparison_sees_a_wrong_number():
    assert Near().check_output("upper 1.29 dense\n", "upper 1.30   dense\n", 0)
    assert not Near().check_output("upper 1.29 dense\n", "upper 1.49 dense\n", 0)
    assert not Near().check_output("upper 1.29 dense\n", "upper inf dense\n", 0)


def test_commands_run(certify_command, tmp_path):
    """In the order of the README, in one folder; the demo trains for two epochs only, for time's sake."""
    ours = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("certify ")]
    assert [line[0] for line in ours] == ["demo", "radius", "check", "report", "bound", "train"]
    for line in ours:
        ran = certify_command(*line, *(["--epochs", "2"] if line[0] == "demo" else []))
        assert ran.code == 0, (line, ran.err)


def test_the_table_of_layers_in_the_readme_is_real(certify_command, monkeypatch):
    """Its head is what `certify bound` prints, column by column."""
    monkeypatch.delenv("COLUMNS", raising=False)
    block = next(b for b in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) if "$ certify bound" in b)
    ran = certify_command("bound", "certify.app.demo_model:digits", "--input-shape", "1,8,8")
    shown, real = block.splitlines()[1:], ran.out.splitlines()
    assert shown[0].split() == real[0].split()
    for ours, theirs in zip(shown[1:], real[1:5], strict=True):
        assert ours.split("  ")[0] == theirs.split("  ")[0] and ours.split("  ")[-1] and re.findall(r"(?:conv|linear) \S+", ours) == re.findall(r"(?:conv|linear) \S+", theirs)


def test_the_demo_output_in_the_readme_is_real():
    """Every line that the demo prints stands in the README (the figures are those of a full run)."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) if "$ certify demo" in b)
    for words in (
        "l2 radius",
        "certified",
        "attacked",
        "0 (clean)",
        "median over the correct inputs",
        "certificate: checked",
        "CPU seconds",
        "files in demo-run",
        "check it again",
    ):
        assert words in block, words


def test_make_targets_and_files_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"\]\(([^)#:]+)\)", TEXT) + ["CITATION.cff", "CHANGELOG.md", "constraints.txt"]:
        assert (ROOT / name).is_file(), name
    assert len(TEXT.splitlines()) <= 140  # three jobs, each with something to run and something to see


@pytest.mark.parametrize("name", sorted(set(re.findall(r"certify\.([a-z_]+)\(", TEXT))))
def test_public_names_of_the_readme_exist(name):
    import certify

    assert callable(getattr(certify, name))
