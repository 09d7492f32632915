from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield
