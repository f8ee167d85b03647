"""One seed each in ``make test``; ``make faults SEEDS=n`` runs n."""

from __future__ import annotations

import os

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, int(os.environ.get("SEEDS", "1")) + 1))
