"""Some hundred mutants of every kind of file: a clear error or a right answer. `soundness/fuzz_files.py` does the same by the hundred thousand."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from pathlib import Path

import pytest

CASES = {"onnx": 700, "npz": 500, "npy": 700, "idx": 700, "safetensors": 600, "pt": 150, "cifar": 400}
SCRIPT = Path(__file__).parents[1] / "soundness" / "fuzz_files.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_files", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", CASES)
def test_mutants_give_an_error_or_a_right_answer(kind, fuzz, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnx")
    deep = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
    seeds = fuzz.KINDS[kind][0]()
    counts: Counter = Counter()
    for i in range(CASES[kind] * (20 if deep else 1)):
        status, text = fuzz.one(kind, seeds, 7, i, tmp_path)
        counts[status] += 1
        assert status in ("right", "error"), f"{kind} case {i} (--seed 7 --only {i}): {status}\n{text}"
        assert status == "right" or text.count("\n") >= 1, f"an error that says too little: {text}"
    assert counts["right"] >= 5 and counts["error"] >= 50, counts


def test_good_files_are_right(fuzz, tmp_path):
    for kind, (seeds, _, check) in fuzz.KINDS.items():
        for data in seeds():
            path = tmp_path / kind
            path.write_bytes(data)
            check(path)


def test_mutants_are_reproducible_and_differ(fuzz):
    from random import Random

    for seeds, mutate, _ in fuzz.KINDS.values():
        data = seeds()[0]
        first, again = ([mutate(data, Random(i)) for i in range(30)] for _ in range(2))
        assert first == again and sum(m != data for m in first) >= 20


def test_the_fuzzer_sees_crashes_wrong_answers_memory_and_hangs(fuzz, tmp_path, monkeypatch):
    def loop(path):
        while True:
            pass

    def wrong(path):
        raise fuzz.Wrong("no")

    cases = {"crash": lambda path: 1 / 0, "wrong answer": wrong, "memory": lambda path: bytearray(1 << 42), "hang": loop, "killed": lambda path: os.kill(os.getpid(), 9)}
    monkeypatch.setattr(fuzz, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(fuzz, "BLOCK", 2)
    for name, check in cases.items():
        monkeypatch.setitem(fuzz.KINDS, "npy", (fuzz.npy_seeds, lambda data, rng: data, check))
        counts, found = fuzz.fuzz("npy", 3, 0)
        assert counts[name] == 3 and len(found) == 3, (name, counts, found)
