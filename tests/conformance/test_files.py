"""The source contract, kept by partner files in folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.source_contract import CHECKS, Check
from tests.support.files_world import FilesWorld


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_files_keep(check: Check, tmp_path: Path) -> None:
    check(FilesWorld(tmp_path))
