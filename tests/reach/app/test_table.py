"""The CSV of a flowpipe: exact decimals around the proved ends."""

from __future__ import annotations

import csv
from fractions import Fraction

import numpy as np
import pytest
from strategies.reach_problems import swing


@pytest.mark.parametrize("time", ["continuous", "discrete"])
def test_the_decimals_enclose_the_sets(tmp_path, time):
    pipe = swing(time)
    path = pipe.to_csv(tmp_path / "pipe.csv")
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 2 * (len(pipe) + 1) and set(rows[0]) == {"step", "time", "state", "lower", "upper", "tube lower", "tube upper"}
    for row in rows:
        k, i = int(row["step"]), pipe.loop.states.index(row["state"])
        assert float(row["time"]) == pytest.approx(k * pipe.loop.period, rel=1e-11)
        for ends, box in ((("lower", "upper"), pipe.at(k).box()), (("tube lower", "tube upper"), pipe.tube(k).box() if k and time == "continuous" else None)):
            if box is None:
                assert row[ends[0]] == row[ends[1]] == ""
                continue
            low, high = Fraction(row[ends[0]]), Fraction(row[ends[1]])
            assert low <= Fraction(float(box.lower[i])) and Fraction(float(box.upper[i])) <= high
            assert high - low <= Fraction(float(box.upper[i] - box.lower[i])) + Fraction(np.abs([float(low), float(high)]).max()) * 2 / 10**8


def test_nothing_half_written(tmp_path):
    from certify.core.errors import InputError

    with pytest.raises(InputError):
        swing().to_csv(tmp_path / "absent" / "pipe.csv")
