"""Schedules are functions of the step: compared with torch's own, and with what their names promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.training import plan

from certify.train.schedules import epsilon_at, momentum_shift, rate_factor

SHARES = st.floats(0, 1)


@pytest.mark.parametrize("total", [10, 40, 333])
@pytest.mark.parametrize("warmup", [0.2, 0.3, 0.5])  # at a single step of warmup torch divides by zero
def test_one_cycle_is_that_of_torch(total, warmup):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], 0.01)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=total, pct_start=warmup)
    for step in range(total):
        assert 0.01 * rate_factor("one_cycle", warmup, step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        assert 0.9 + momentum_shift("one_cycle", warmup, step, total) == pytest.approx(optimizer.param_groups[0]["betas"][0], rel=1e-9)
        optimizer.step()
        if step + 1 < total:
            theirs.step()


@given(st.sampled_from(["one_cycle", "cosine", "linear", "constant"]), st.none() | SHARES, st.integers(1, 50))
def test_factors_lie_between_nothing_and_all(schedule, warmup, total):
    factors = [rate_factor(schedule, warmup, step, total) for step in range(total)]
    assert all(0 < f <= 1 + 1e-12 for f in factors), "a step with rate 0 would be wasted"
    rise = factors.index(max(factors))
    assert factors[: rise + 1] == sorted(factors[: rise + 1]) and factors[rise:] == sorted(factors[rise:], reverse=True)
    shifts = [momentum_shift(schedule, warmup, step, total) for step in range(total)]
    assert all(abs(s) <= 0.05 + 1e-12 for s in shifts) and (schedule == "one_cycle" or not any(shifts))


def test_linear_ends_at_nothing_and_constant_stays():
    assert [rate_factor("linear", None, step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [rate_factor("constant", 0.5, step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert rate_factor("cosine", 0.0, 5, 10) == pytest.approx(0.5)


@given(st.sampled_from(["linear", "log"]), st.floats(0.01, 2), SHARES, st.integers(1, 40))
def test_epsilon_moves_from_its_start_to_its_end(kind, start, fraction, total):
    made = plan(epsilon=2.0, epsilon_schedule=kind, epsilon_start=start, epsilon_fraction=fraction)
    values = [epsilon_at(made, step, total) for step in range(total)]
    assert values == sorted(values, reverse=start > 1) or values[0] == pytest.approx(values[-1])
    assert all(min(start, 1) * 2 * (1 - 1e-9) <= v <= max(start, 1) * 2 * (1 + 1e-9) for v in values)
    assert fraction == 0 or values[0] == pytest.approx(2 * start)
    assert all(v == pytest.approx(2.0) for step, v in enumerate(values) if step >= fraction * total)


def test_epsilon_is_left_alone_unless_it_is_asked_for():
    assert epsilon_at(plan(), 0, 10) is None
    assert epsilon_at(plan(epsilon=0.5), 0, 10) == 0.5
