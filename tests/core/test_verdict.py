"""A verdict cannot be misread: three states, truth only for a proof, no refutation without a witness."""

from __future__ import annotations

import pickle

import pytest

import certify
from certify import InputError, Verdict


def test_only_a_proof_is_true():
    assert Verdict("VERIFIED", "")
    assert not Verdict("UNKNOWN", "")
    assert not Verdict("FALSIFIED", "", witness=[1.0])
    assert Verdict("UNKNOWN", "why").witness is None


@pytest.mark.parametrize("status", ["verified", "True", "", None, True, 1])
def test_another_state_is_refused(status):
    with pytest.raises(InputError, match="three states"):
        Verdict(status, "")


def test_a_refutation_needs_its_counterexample():
    with pytest.raises(InputError, match="counterexample"):
        Verdict("FALSIFIED", "it moved")


def test_a_verdict_says_itself_and_travels():
    v = Verdict("FALSIFIED", "x <= 1 is violated", witness=(1.0, 2.0))
    assert repr(v) == "Verdict(FALSIFIED: x <= 1 is violated)"
    w = pickle.loads(pickle.dumps(v))
    assert (w.status, w.reason, w.witness) == (v.status, v.reason, v.witness)
    assert certify.Verdict is Verdict
    with pytest.raises(AttributeError):
        v.status = "VERIFIED"
