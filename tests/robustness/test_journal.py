"""The journal: a unit comes back whole or not at all, and never for another question."""

from __future__ import annotations

import numpy as np
import pytest

from certify.core.errors import InputError
from certify.robustness.journal import Journal

SHAPES = {"radii": (3,), "method": (3,)}
ARRAYS = {"radii": np.array([0.1, np.inf, 1e-300]), "method": np.array([0, -1, 1], np.int8)}


def test_a_unit_comes_back_bit_for_bit(tmp_path):
    journal = Journal(tmp_path).of({"graph": "a"})
    journal.write("u", ARRAYS)
    back = Journal(tmp_path).of({"graph": "a"}).read("u", SHAPES)
    assert back is not None and all((back[k] == ARRAYS[k]).all() and back[k].dtype == ARRAYS[k].dtype for k in ARRAYS)


@pytest.mark.parametrize("other", [{"graph": "b"}, {"graph": "a", "seed": 0}, {"graph": ["a"]}])
def test_another_question_reads_nothing(tmp_path, other):
    Journal(tmp_path).of({"graph": "a"}).write("u", ARRAYS)
    assert Journal(tmp_path).of(other).read("u", SHAPES) is None


def test_damage_counts_as_absent(tmp_path):
    journal = Journal(tmp_path).of({})
    journal.write("u", ARRAYS)
    path = journal.folder / "u.npz"
    whole = path.read_bytes()
    for bad in (b"", whole[:40], whole[: len(whole) // 2], whole[:-1], b"\x00" * 100, bytes([whole[0] ^ 1]) + whole[1:], whole[:90] + bytes([whole[90] ^ 255]) + whole[91:]):
        path.write_bytes(bad)
        back = journal.read("u", SHAPES)
        assert back is None or all((back[k] == ARRAYS[k]).all() for k in ARRAYS)
    path.write_bytes(whole)
    assert journal.read("u", {**SHAPES, "radii": (4,)}) is None
    assert journal.read("u", SHAPES) is not None


def test_pickles_are_never_loaded(tmp_path):
    journal = Journal(tmp_path).of({})
    np.savez(journal.folder / "u.npz", radii=np.array([object()] * 3, dtype=object), method=ARRAYS["method"])
    assert journal.read("u", SHAPES) is None


def test_an_unusable_folder_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="journal"):
        Journal(tmp_path / "file").of({})
