"""The house's own rules: documents run, contracts hold and are seen to break."""

import doctest
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


ROOMS = [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for package in ("engine", "connectors")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("room", ROOMS)
def test_the_examples_in_docstrings_run(room: str) -> None:
    result = doctest.testmod(importlib.import_module(room))
    assert result.attempted > 0
    assert result.failed == 0


def lint_imports(folder: Path) -> str:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


BREAKS = {
    "The walk goes one way": ("engine/names.py", "import engine.plan"),
    "The engine knows no connector": ("engine/source.py", "import connectors"),
    "A connector sees only the door": ("connectors/postgres/__init__.py", "import engine.plan"),
    "Spark stays in the lake": ("engine/source.py", "import pyspark"),
    "The Kafka client stays in topic, marks, registry and watch": (
        "engine/source.py",
        "import confluent_kafka",
    ),
}


@pytest.mark.parametrize("contract", BREAKS)
def test_an_import_against_the_direction_breaks_its_contract(contract: str, tmp_path: Path) -> None:
    for part in ("engine", "connectors"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert f"{contract} KEPT" in lint_imports(tmp_path)
    path, line = BREAKS[contract]
    with (tmp_path / path).open("a") as file:
        file.write(f"\n{line}\n")
    assert f"{contract} BROKEN" in lint_imports(tmp_path)


def test_a_room_without_a_place_breaks_the_build(tmp_path: Path) -> None:
    for part in ("engine", "connectors"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "engine" / "utils.py").write_text('"""Nobody knows what is in here."""\n')
    assert "The walk goes one way BROKEN" in lint_imports(tmp_path)
