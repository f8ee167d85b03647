"""The house's own rules: documents run, contracts hold and are seen to break."""

import ast
import doctest
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engine import errors

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
    "The Kafka client stays in topic and watch": ("engine/registry.py", "import confluent_kafka"),
    "Native Delta stays in watch, the book and native appends": (
        "engine/lake/land.py",
        "import deltalake",
    ),
}
# The rooms that a contract leaves free.
FREE = {
    "A connector sees only the door": {
        "source",
        "arrivals",
        "schema",
        "errors",
        "secrets",
        "varint",
        "lanes",
    },
    "Spark stays in the lake": {"lake"},
    "The Kafka client stays in topic and watch": {"topic", "watch"},
    "Native Delta stays in watch, the book and native appends": {"watch"},
}
LINES_MAX = 400
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


@pytest.mark.parametrize("name", FREE)
def test_a_contract_names_every_room_that_it_does_not_leave_free(name: str) -> None:
    contract = next(c for c in SETTINGS["importlinter"]["contracts"] if c["name"] == name)
    named = {*contract["source_modules"], *contract["forbidden_modules"]}
    rooms = {path.stem for path in (ROOT / "engine").iterdir() if not path.stem.startswith("_")}
    assert {room for room in rooms if f"engine.{room}" not in named} == FREE[name]


def test_no_file_is_as_long_as_400_lines() -> None:
    rooms = (
        path
        for room in ("engine", "connectors", "tests", "bench", "examples")
        for path in (ROOT / room).rglob("*.py")
    )
    assert [str(path) for path in rooms if path.read_text(encoding="utf-8").count("\n") >= LINES_MAX] == []


def test_every_package_of_the_wheel_holds_something() -> None:
    for package in SETTINGS["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert any((ROOT / package).rglob("*.*")), package


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


def test_a_capture_and_a_look_load_nothing_of_the_lake() -> None:
    program = "import sys, engine.cli.main, engine.pump, connectors.postgres; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"pyarrow", "numpy", "deltalake", "pyspark"}.isdisjoint(shown.stdout.split())


def test_a_capture_of_files_loads_no_driver_of_databases() -> None:
    program = (
        "import sys, engine.cli.main, engine.pump, connectors.postgres, connectors.files; print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"psycopg", "paramiko", "faker"}.isdisjoint(shown.stdout.split())


ADVISED = (
    "engine/*.py",
    "engine/cli/*.py",
    "engine/embedded/*.py",
    "engine/template/*.py",
    "engine/lake/*.py",
    "engine/pump/*.py",
    "engine/topic/*.py",
    "engine/watch/*.py",
    "connectors/**/*.py",
)


@pytest.mark.parametrize("rooms", ADVISED)
def test_an_error_that_a_person_must_act_on_says_what_to_do(rooms: str) -> None:
    theirs = {
        declared.__name__
        for declared in errors.CODES.values()
        if declared.act in (errors.Act.OPERATOR, errors.Act.AUTHOR)
    }
    silent = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted(ROOT.glob(rooms))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in theirs
        if not any(word.arg in ("hint", None) for word in call.keywords)
    ]
    assert silent == []


# Who catches which of our errors, and decides something by it: docs/adr/0016.
CATCHES = {
    "engine.supervise": {"EcluseError"},
    "engine.cli.main": {"EcluseError"},
    "engine.cli.doors": {"EcluseError"},
    "engine.cli.asking": {"EcluseError"},
    "engine.watch.observe": {"EcluseError"},
    "engine.lake.lane": {"EcluseError"},
    "engine.lake.quarantine": {"EcluseError"},
    "connectors.postgres.preflight": {"EcluseError"},
    "connectors.postgres.stream": {"SourceUnreachable"},
    "connectors.files.looking": {"EcluseError"},
    "engine.pump.loop": {"EcluseError", "TopicRefused", "RegistryRefused"},
    "engine.pump.opening": {"GapSuspected"},
    "engine.pump.routes": {"RegistryRefused"},
    "engine.cli.running": {"StackFailed"},
    "engine.lake.resolve": {"SchemaBlocked"},
}


def caught(source: str) -> set[str]:
    """The errors of ours that a module catches, or suppresses."""
    ours = {"EcluseError", *(declared.__name__ for declared in errors.CODES.values())}
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        catching: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            catching = [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            catching = node.args
        found |= {word for one in catching for word in re.findall(r"\w+", ast.unparse(one))}
    return found & ours


def test_an_error_is_caught_only_where_something_is_decided_by_it() -> None:
    for package in ("engine", "connectors"):
        for path in (ROOT / package).rglob("*.py"):
            room = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert caught(path.read_text(encoding="utf-8")) <= CATCHES.get(room, set()), room


def test_a_catch_in_any_form_is_seen() -> None:
    assert caught("try: f()\nexcept (OSError, errors.SlotBusy): pass") == {"SlotBusy"}
    assert caught("with contextlib.suppress(EcluseError): f()") == {"EcluseError"}
    assert caught("try: f()\nexcept OSError: raise EcluseError('x')") == set()


def test_a_room_without_a_place_breaks_the_build(tmp_path: Path) -> None:
    for part in ("engine", "connectors"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "engine" / "utils.py").write_text('"""Nobody knows what is in here."""\n')
    assert "The walk goes one way BROKEN" in lint_imports(tmp_path)
