"""Attacks on the checker: forged certificates are refused, every single check is needed for that, and damage of any kind gives an error by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import flowpipes as small
from strategies.forged_flowpipes import FORGERIES, forged
from strategies.mutations import mutate_bytes, mutate_npy, mutate_zip

import reach
from certify.core.errors import CertificateError, InputError
from certify.core.record import digest_array, read_record, write_record
from reach.proof import check as checker
from reach.proof import check_control, check_flow
from reach.proof.check import check
from reach.proof.content import read
from reach.proof.monomials import monomials, ranges
from reach.proof.writer import save

PIPES = ("tanh", "disturbed", "updates", "reduced")
MOST = 1 if settings.default.max_examples < 100 else len(PIPES)  # flowpipes per forgery


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    folder, out = tmp_path_factory.mktemp("certificates"), {}
    for name in PIPES:
        pipe = small.flowpipe(name)
        a = pipe.loop.states[0]
        specs = [reach.Arrive({a: (-20, 20)}), reach.Stay(f"{a}**2 <= 500"), reach.Avoid({a: (30, 40)})]
        out[name] = save(pipe, folder / name, specs)
    return out


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused(forgery, sources, tmp_path):
    applied, turn = 0, list(FORGERIES).index(forgery) % len(PIPES)
    for name in PIPES[turn:] + PIPES[:turn]:
        path = forged(sources[name], tmp_path / "forged", FORGERIES[forgery]) if applied < MOST else None
        if path is not None:
            applied += 1
            with pytest.raises(CertificateError) as caught:
                check(path, small.flowpipe(name).loop)
            assert "could not be checked" not in caught.value.what, caught.value
    assert applied, "the battery has nothing that this forgery applies to"


def test_digests_are_compared(sources, tmp_path):
    path = forged(sources["tanh"], tmp_path / "forged", FORGERIES["fresh box"], digests=False)
    with pytest.raises(CertificateError, match="digest"):
        check(path, small.flowpipe("tanh").loop)


def _no_deviation(plant, variables, step, remainders, linear, where):
    """flow_step on a certificate whose deviations were made large enough before it looks."""
    wide = [type(p)(p.length, p.motion, p.picard, p.deviation + 1e9, p.bound, p.transition, p.disturbance, p.fresh) for p in step.pieces]
    return FLOW(plant, variables, type(step)(**{**step.__dict__, "pieces": tuple(wide)}), remainders, linear, where)


FLOW = check_flow.flow_step
MUTANTS = {
    "initial set": (checker, "check_initial", lambda *a: None, "tanh", "smaller first set"),
    "identity": (checker._Check, "identity", lambda self: None, "tanh", "another controller"),
    "period": (checker, "LENGTH", 1.0, "tanh", "slightly longer"),
    "links": (checker, "check_link", lambda *a: None, "reduced", "swapped kept"),
    "axis": ("reach.proof.check_state", "_axis", lambda column, i, where: abs(float(column[i])), "reduced", "reduction tilted"),
    "fits": (check_control, "fit_errors", lambda parts, fit, low, high: fit.error, "tanh", "fit error and box"),
    "confirmed fits": (check_control._Walk, "confirm", lambda *a: None, "tanh", "fit error"),
    "slopes": (check_control._Walk, "confirm", lambda *a: None, "tanh", "fit slope lower only"),
    "control model": (checker, "check_controls", lambda *a: None, "tanh", "control box"),
    "Theorem A": (checker, "check_motions", lambda plant, f, order, motions, middle: motions.remainder, "tanh", "picard"),
    "Theorem B": (check_flow, "at_most", lambda *a: None, "tanh", "bound"),
    "strictness": (checker, "flow_step", _no_deviation, "reduced", "deviation"),
    "fresh boxes": (check_flow, "at_most", lambda *a: None, "updates", "none"),
    "claims": (checker, "check_claim", lambda *a: None, "tanh", "arrive elsewhere"),
}


def _slightly_longer(document, arrays, rng):
    arrays["piece_length"] *= 1 + 4e-15


def _steeper(document, arrays, rng):
    arrays["fit_slope_lower"] += 1e-6


EXTRA = {"none": lambda document, arrays, rng: None, "slightly longer": _slightly_longer, "fit slope lower only": _steeper}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_check_is_needed(mutant, sources, tmp_path, monkeypatch):
    """With one check removed, a forgery passes that the whole checker refuses."""
    where, attribute, replacement, name, forgery = MUTANTS[mutant]
    source = sources[name] if name in sources else save(small.flowpipe(name), tmp_path / "source")
    path = forged(source, tmp_path / "forged", {**FORGERIES, **EXTRA}[forgery])
    if forgery != "none":
        with pytest.raises(CertificateError):
            check(path, small.flowpipe(name).loop)
    monkeypatch.setattr(f"{where}.{attribute}" if isinstance(where, str) else where, *((replacement,) if isinstance(where, str) else (attribute, replacement)))
    assert check(path, small.flowpipe(name).loop).ok


def inside(path: Path, pipe: reach.Flowpipe, seed: int) -> bool:
    """Whether simulated motions stay in the boxes around the file's stored sets, up to their own error."""
    plant = pipe.loop.plant
    content = read(path, (len(plant.states), len(plant.inputs), len(plant.disturbances)), plant.time == "continuous")
    low, high = (np.array(content.document["initial"][key]) for key in ("lower", "upper"))
    rng = np.random.default_rng(seed)
    starts = np.where(rng.random((60, len(low))) < 0.5, low + (high - low) * rng.random((60, len(low))), np.where(rng.random((60, len(low))) < 0.5, low, high))
    motions = reach.simulate(pipe.loop, starts, len(pipe) * pipe.loop.period, seed=seed)
    for k, step in enumerate(content.steps):
        bottom, top = ranges(monomials(content.variables, step.order), step.coefficients.T)
        reach_ = np.abs(step.generators).sum(1) + 1e-7
        if not ((motions[:, k] >= bottom - reach_).all() and (motions[:, k] <= top + reach_).all()):
            return False
    return True


def _tampered(source: Path, target: Path, seed: int) -> Path:
    """A few numbers of one array changed by factors or terms of any size."""
    rng = np.random.default_rng(seed)
    document, arrays = read_record(source)
    names = [name for name, a in arrays.items() if a.size and a.dtype == np.float64]
    a = arrays[names[int(rng.integers(len(names)))]]
    for i in rng.integers(0, a.size, int(rng.integers(1, 4))):
        a[i] = (a[i] * rng.choice([0.0, 0.5, 0.99, 1.01, 2.0, -1.0])) if rng.random() < 0.6 else a[i] + rng.normal() * 10.0 ** rng.integers(-9, 3)
    document["digests"] = {name: digest_array(b) for name, b in arrays.items()}
    return write_record(target, document, arrays)


@settings(max_examples=max(20, settings.default.max_examples))
@given(seed=st.integers(0, 10**9))
def test_what_passes_after_tampering_is_still_true(seed, sources, tmp_path_factory):
    name = PIPES[seed % len(PIPES)]
    pipe = small.flowpipe(name)
    path = _tampered(sources[name], tmp_path_factory.mktemp("t") / "c", seed)
    try:
        assert check(path, pipe.loop).ok
    except CertificateError as error:
        assert "could not be checked" not in error.what, error
    else:
        assert inside(path, pipe, seed)


@given(seed=st.integers(0, 10**9))
def test_damaged_files_give_an_error_or_pass(seed, sources, tmp_path_factory):
    def inner(body: bytes, rng: Random) -> bytes:
        return mutate_npy(body, rng) if body[:6] == b"\x93NUMPY" else mutate_bytes(body, rng)

    path = tmp_path_factory.mktemp("d") / "c"
    path.write_bytes(mutate_zip(sources["tanh"].read_bytes(), Random(seed), inner))
    try:
        check(path, small.flowpipe("tanh").loop)
    except (CertificateError, InputError):
        pass


JUNK = [None, True, -1, 0, 1, 2, 10**30, 1.5, -0.0, 1e308, "", "x", "tanh 0", [], [[]], {}, {"a": 1}, [1, 2, 3], "1/0", "9" * 5000, 1 << 62]


@settings(max_examples=max(40, settings.default.max_examples))
@given(seed=st.integers(0, 10**9))
def test_junk_in_the_document_gives_an_error_or_passes(seed, sources, tmp_path_factory):
    rng = Random(seed)
    document, arrays = read_record(sources["reduced"])
    place = document = copy.deepcopy(document)
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if not (isinstance(place[key], dict | list) and len(place[key]) and rng.random() < 0.8):
            break
        place = place[key]
    if rng.random() < 0.15:
        del place[key]
    else:
        place[key] = rng.choice(JUNK)
    path = write_record(tmp_path_factory.mktemp("j") / "c", document, arrays)
    try:
        check(path, small.flowpipe("reduced").loop)
    except (CertificateError, InputError) as error:
        assert "could not be checked" not in error.what, error


def test_sizes_are_checked_before_memory_is_taken(sources, tmp_path):
    """Counts in the document that ask for more than the arrays hold are refused at once."""
    document, arrays = read_record(sources["tanh"])
    for key, value in (("columns", 20_000), ("pieces", 1000), ("order", 16)):
        bad = json.loads(json.dumps(document))
        for step in bad["steps"]:
            step[key] = value
        with pytest.raises(CertificateError):
            check(write_record(tmp_path / "c", bad, arrays), small.flowpipe("tanh").loop)
    bad = json.loads(json.dumps(document))
    bad["steps"] = bad["steps"] * 5_000
    with pytest.raises(CertificateError):
        check(write_record(tmp_path / "c", bad, arrays), small.flowpipe("tanh").loop)


def test_no_numbers_that_are_not_finite(sources, tmp_path):
    document, arrays = read_record(sources["tanh"])
    for name, a in arrays.items():
        if a.size and a.dtype == np.float64:
            for value in (np.nan, np.inf):
                bad = {**arrays, name: a.copy()}
                bad[name][0] = value
                document["digests"] = {k: digest_array(b) for k, b in bad.items()}
                with pytest.raises(CertificateError, match="not finite"):
                    check(write_record(tmp_path / "c", document, bad), small.flowpipe("tanh").loop)
