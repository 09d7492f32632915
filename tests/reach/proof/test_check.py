"""Certificates of flowpipes: true ones pass, those of another loop are refused by name, and what the report says is what was proved."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from strategies import flowpipes as small

import reach
from certify.core.errors import CertificateError, InputError
from certify.core.record import read_record, write_record
from reach.proof.check import check
from reach.proof.content import read
from reach.proof.writer import save


def specifications(pipe: reach.Flowpipe) -> list:
    a, b = pipe.loop.states[:2]
    return [
        reach.Arrive({a: (-20, 20)}),
        reach.Stay({a: (-20, 20), b: (-20, 20)}),
        reach.Avoid({a: (30, 40), b: (-1, 1)}),
        reach.Stay(reach.HalfSpace({a: 1, b: 0.1}, 20), at="samples"),
        reach.Stay([f"{a}**2 + sin({b}) <= 500", f"Abs({a}) <= 21"], steps=(0, 2)),
        reach.Avoid([f"Abs({a}) >= 30"]),
        reach.ArriveWithin(f"{a}**2 + {b}**2 <= 900", steps=(1, 2)),
    ]


@pytest.mark.parametrize("name", small.NAMES)
def test_true_certificates_pass(name, tmp_path):
    pipe = small.flowpipe(name)
    specs = specifications(pipe)
    report = check(save(pipe, tmp_path / "c", specs), pipe.loop)
    assert report.ok and sum(line.name == "specification" for line in report.steps) == len(specs)
    assert "every initial state" in report.claim and all(line.recomputed == "proved" for line in report.steps)


@pytest.mark.parametrize("name", ["tanh", "updates", "reduced"])
def test_a_fraction_says_what_it_checked(name, tmp_path):
    pipe = small.flowpipe(name)
    path = save(pipe, tmp_path / "c", specifications(pipe)[:1])
    report = check(path, pipe.loop, fraction=0.5, seed=4)
    assert report.ok and report.claim.startswith("Only control steps") and len(report.not_proved) == 4
    assert check(path, pipe.loop, fraction=0.5, seed=4).claim == report.claim
    assert len({check(path, pipe.loop, fraction=0.3, seed=k).claim for k in range(8)}) > 1
    with pytest.raises(InputError, match="fraction"):
        check(path, pipe.loop, fraction=0.0)


def test_equal_flowpipes_give_equal_bytes(tmp_path):
    pipe = small.flowpipe("tanh")
    again = reach.solve(small.van_der_pol(), pipe.initial, 0.8)
    assert save(pipe, tmp_path / "a").read_bytes() == save(again, tmp_path / "b").read_bytes()


OTHERS = {
    "another plant": lambda: reach.ClosedLoop(reach.ContinuousSystem(["x1", "x2"], ["u"], ["x2", "0.30001*(1 - x1**2)*x2 - x1 + u"]), small.van_der_pol().controller.model, 0.2),
    "another controller": lambda: small.van_der_pol(seed=2),
    "another period": lambda: reach.ClosedLoop(small.van_der_pol().plant, small.van_der_pol().controller.model, np.nextafter(0.2, 1)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_loop_is_refused(what, tmp_path):
    path = save(small.flowpipe("tanh"), tmp_path / "c")
    with pytest.raises(CertificateError, match=what):
        check(path, OTHERS[what]())


def test_other_numbers_of_states_or_kinds_of_time_are_refused(tmp_path):
    path = save(small.flowpipe("tanh"), tmp_path / "c")
    for loop in (small.disturbed(), small.updates()):
        with pytest.raises(CertificateError):
            check(path, loop)


def test_what_is_no_certificate_or_no_loop(tmp_path):
    pipe = small.flowpipe("tanh")
    with pytest.raises(InputError, match="no such certificate"):
        check(tmp_path / "missing", pipe.loop)
    with pytest.raises(InputError, match="not a closed loop"):
        check(tmp_path / "missing", 3)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CertificateError):
        check(tmp_path / "text", pipe.loop)
    write_record(tmp_path / "other", {"format": "certify-certificate/1"}, {})
    with pytest.raises(CertificateError, match="not a flowpipe certificate"):
        check(tmp_path / "other", pipe.loop)


def test_what_cannot_be_certified_is_said(tmp_path):
    pipe = small.flowpipe("tanh")
    with pytest.raises(InputError, match="nothing to certify"):
        save(reach.Flowpipe(pipe.loop, pipe.initial, ()), tmp_path / "c")
    black = reach.ClosedLoop(pipe.loop.plant, reach.BlackBox(lambda x: 0.1 * x[:, :1], lipschitz=0.1, outputs=1), 0.2)
    with pytest.raises(InputError, match="cannot be certified"):
        save(reach.Flowpipe(black, pipe.initial, pipe.steps), tmp_path / "c")
    with pytest.raises(CertificateError, match="black box"):
        check(save(pipe, tmp_path / "c"), black)
    with pytest.raises(InputError, match="not a specification"):
        save(pipe, tmp_path / "c", ["x1 <= 3"])
    with pytest.raises(InputError):
        save(pipe, tmp_path / "c", [reach.Stay({"x1": (0, 1)}, steps=(0, 99))])


def test_the_stored_sets_contain_the_flowpipes(tmp_path):
    """What is stored is what the flowpipe says: states, motions and bounds, number by number."""
    pipe = small.flowpipe("disturbed")
    content = read(save(pipe, tmp_path / "c"), (2, 1, 1), True)
    for step, stored in zip(pipe.steps, content.steps, strict=True):
        assert (step.state.coefficients == stored.coefficients).all() and (step.state.generators == stored.generators).all()
        assert (step.control.box == stored.control_box).all()
        for piece, own in zip(step.pieces, stored.pieces, strict=True):
            assert (piece.coefficients == own.motion).all() and (piece.picard == own.picard).all() and (piece.bound == own.bound).all() and piece.h == own.length


def test_specifications_are_exact_data(tmp_path):
    pipe = small.flowpipe("tanh")
    path = save(pipe, tmp_path / "c", [reach.Arrive({"x1": (-0.1, 20)})])
    document, _ = read_record(path)
    offsets = [c["offset"] for clause in document["specifications"][0]["clauses"] for c in clause]
    assert ["1/10", "3602879701896397/36028797018963968"] in offsets and ["20", "20"] in offsets
    assert "arrive at step 4: -1*x1 <= 1/10, x1 <= 20" in str(check(path, pipe.loop))


def test_the_checker_loads_no_solver(tmp_path):
    """In a fresh process the module of the checker brings in no prover's arithmetic, no numba and no torch."""
    ours = "('reach.sets', 'reach.integrators', 'reach.controllers', 'reach.dynamics', 'reach.solver', 'numba', 'torch')"
    code = f"import sys, reach.proof.check; print([m for m in sys.modules if m.startswith({ours})])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
