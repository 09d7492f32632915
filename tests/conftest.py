"""What every test shares: one BLAS thread, the Hypothesis profiles `ci` and `deep`, and the folder of test data."""

from __future__ import annotations

import os
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy or torch starts its pool
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# ci: small and the same examples in every run, so that a red build means a change; deep: many and new ones.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", max_examples=20, deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("deep", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=_SLOW)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """`slow` tests run in the deep profile only."""
    if PROFILE != "deep":
        skip = pytest.mark.skip(reason="deep profile only: HYPOTHESIS_PROFILE=deep, or make test-deep")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of test data (`CERTIFY_DATA`, default ../shared/data); the test is skipped where it is absent."""
    folder = Path(os.environ.get("CERTIFY_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is absent; set CERTIFY_DATA to the folder that holds mnist/, nets/ and vnncomp/")
    return folder
