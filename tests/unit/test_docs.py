"""What the reference pages say is what the code does."""

import ast
import importlib
import pkgutil
import re
import runpy
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import connectors
import engine
from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from connectors.files.forms import RAGGED
from connectors.files.making import COUNT, DAY, ENCODING, GAP, SUM, TRUNCATED
from connectors.postgres import CONNECTOR, cells, gap, kinds, resume, session
from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Transaction
from connectors.postgres.facts import Server
from engine import errors, metrics, schema
from engine.arrivals import Standing
from engine.checks import RULES, OnFail
from engine.checks.functions import FUNCTIONS
from engine.checks.parse import parse
from engine.fake.defects import AGAIN, Defect
from engine.pump.stand import Stand
from engine.source import STREAM, Mark
from engine.template import modelled
from engine.watch.files import LANDED
from tests.support import postgres_types
from tests.support.declared import load, project
from tests.support.made import feed_of
from tests.support.made_feeds import FEEDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference"
# name → (base type's oid, modifier)
POSTGRES = {
    "boolean": (kinds.BOOL, -1),
    "smallint": (kinds.INT2, -1),
    "integer": (kinds.INT4, -1),
    "bigint": (kinds.INT8, -1),
    "real": (kinds.FLOAT4, -1),
    "double precision": (kinds.FLOAT8, -1),
    "numeric(12,2)": (kinds.NUMERIC, (12 << 16 | 2) + 4),
    "text": (kinds.TEXT, -1),
    "character varying(20)": (kinds.VARCHAR, 24),
    "character(4)": (kinds.BPCHAR, 8),
    "uuid": (kinds.UUID, -1),
    "json": (kinds.JSON, -1),
    "jsonb": (kinds.JSONB, -1),
    "bytea": (kinds.BYTEA, -1),
    "oid": (kinds.OID, -1),
    "money": (kinds.MONEY, -1),
    "date": (kinds.DATE, -1),
    "timestamp without time zone": (kinds.TIMESTAMP, -1),
    "timestamp with time zone": (kinds.TIMESTAMPTZ, -1),
}


def rows(page: str) -> list[list[str]]:
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = [line.strip("|").strip() for line in text.splitlines() if line.startswith("| `")]
    found = [re.split(r" ?\| ?", line) for line in lines]
    return [[cell.strip("` ") for cell in row] for row in found]


def avro_text(type_: schema.Type) -> str:
    said = schema.avro(type_)
    if isinstance(said, str):
        return said
    logical = said["logicalType"]
    numbers = f" {said['precision']},{said['scale']}" if logical == "decimal" else ""
    return f"{said['type']} ({logical}{numbers})"


def test_the_pages_that_are_made_from_the_code_are_what_the_code_says() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    assert sorted(made) == ["errors.md", "feeds.md"]
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, "make docs"


def test_the_page_of_feeds_has_every_key_that_may_be_declared() -> None:
    text = (DOCS / "feeds.md").read_text(encoding="utf-8")
    todo: list[type[BaseModel]] = [FilesConfig, Feed]
    for model in todo:
        todo += [inner for inner in modelled.within(model) if inner not in todo]
        for key in modelled.of_flow(model).keys() - {"project", "connection"}:
            assert f"| `{key}` | " in text, (model, key)
    assert len(todo) > 15


def test_the_page_of_made_up_files_has_every_defect_with_its_codes() -> None:
    said = {row[0]: row[3] for row in rows("fake.md")}
    of_files = {ENCODING, TRUNCATED, COUNT, SUM, DAY, GAP, AGAIN}
    assert said.keys() == {*Defect, *of_files, RAGGED}
    for layout in FEEDS.values():
        making = feed_of(layout).making()
        for kind, fate in [*making.of_files.items(), *making.of_records.items()]:
            assert fate.code in said[kind], (kind, fate)


def test_the_page_of_types_names_every_type_that_is_captured_and_no_other() -> None:
    said = {row[0]: (row[1], row[2]) for row in rows("types.md")}
    done = {}
    for name, (oid, modifier) in POSTGRES.items():
        type_ = cells.type_of(oid, modifier)
        done[name] = (avro_text(type_), schema.delta(type_))
    assert said == done
    covered = {oid for oid, _ in POSTGRES.values()}
    assert {oid for oid in range(1, 10_000) if cells.type_of(oid, -1) != schema.String()} <= covered


def test_the_page_of_types_names_every_type_of_the_corpus() -> None:
    page = (DOCS / "types.md").read_text(encoding="utf-8")
    made = {words.split()[2] for words in postgres_types.PREPARED} | {"timestamp", "timestamptz"}
    ranges = {case.declared for case in postgres_types.CASES if case.declared.endswith("range")}
    names = {case.declared.removesuffix("[]").partition("(")[0] for case in postgres_types.CASES}
    short = {"int4": "integer", "int2vector": "every other type"}
    assert [n for n in names - made - ranges if short.get(n, n.strip('"')) not in page] == []


def test_the_page_of_types_names_the_settings_of_every_session() -> None:
    page = (DOCS / "types.md").read_text(encoding="utf-8")
    others = ("client_encoding", "lock_timeout", "search_path")  # they change no value
    said = re.findall(
        r"`(\w+)` (\w+)[,.]", page[page.index("with these settings") :].partition("PostgreSQL")[0]
    )
    settings = {setting.split()[1]: setting for setting in session.SETTINGS}
    assert {name for name, _ in said} == settings.keys() - set(others)
    assert [name for name, value in said if value not in settings[name]] == []


def test_the_page_of_errors_is_what_the_code_declares() -> None:
    for package in (engine, connectors):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert page.endswith(errors.reference()), "make docs"


def invariants() -> dict[int, list[tuple[Path, str]]]:
    """The tests that the page names, by the number of their invariant."""
    page = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
    parts = re.split(r"^- \*\*I(\d+)\*\* ", page, flags=re.MULTILINE)[1:]
    named = re.compile(r"^  - `(tests/\S+)`:\s+`(\w+)`$", re.MULTILINE)
    return {
        int(number): [(ROOT / path, test) for path, test in named.findall(text)]
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    }


def heads(path: Path) -> dict[str, str]:
    """The text of each test of a file up to its first statement: decorators, name, comments."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    return {
        node.name: "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1])
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(("number", "tests"), invariants().items())
def test_every_invariant_is_cited_in_the_code_and_has_tests_that_carry_its_number(
    number: int, tests: list[tuple[Path, str]]
) -> None:
    code = (path for room in ("engine", "connectors") for path in (ROOT / room).rglob("*.py"))
    assert any(re.search(rf"\bI{number}\b", path.read_text(encoding="utf-8")) for path in code)
    assert tests
    for path, test in tests:
        head = heads(path)[test]
        assert f"_i{number}_" in f"{test}_" or re.search(rf"# .*\bI{number}\b", head), test


def test_the_page_of_invariants_has_all_ten() -> None:
    assert list(invariants()) == list(range(1, 11))


def test_a_stop_in_the_readme_is_what_is_printed() -> None:
    config = PostgresConfig(
        host="localhost", database="shop", user="ecluse", connection="db", slot="ecluse_shop_db"
    )
    mark = resume.Resume(
        slot=config.slot, publication=config.slot, system_id="1", timeline=1, era=0, confirmed=0x1A2B3C8,
        checked=0, last=Transaction(0x1A2B3C8, 0x1A2B3F8, 7, 0, 1), overlap="last",
        publication_print={}, table_prints={},
    )  # fmt: skip
    troubles = list(gap.of_capture(config, mark, Server("1", 1, 0x1A2B3F8, 180000), None))
    stand = Stand(CONNECTOR.show, Mark({STREAM: 0x1A2B3C8}, b""), known=True)
    printed = errors.explain(stand.tell(gap.stop(config, troubles)))
    assert f"```\n{printed}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_metric_has_its_line_in_the_decision_that_names_them() -> None:
    (page,) = (ROOT / "docs" / "adr").glob("0017-*.md")
    named = re.findall(r"^\| `(ecluse_\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    served = {value for value in vars(metrics).values() if str(value).startswith("ecluse_")}
    assert served <= set(named)


FAULTS = [
    *(f"{kind}{n}" for kind in "SF" for n in range(1, 21)), *(f"W{n}" for n in range(1, 5)),
    "K1", "K4", "K5", "K6", "K11", "K12", *(f"R{n}" for n in range(1, 5)),
    *(f"P{n}" for n in (1, 2, 3, 4, 7, 8, 9, 10, 11)),
]  # fmt: skip


def test_every_fault_of_the_matrix_names_tests_that_are_there_or_says_why_it_has_none() -> None:
    lines = (DOCS / "faults.md").read_text(encoding="utf-8").splitlines()
    shown = {line.split("**")[1]: line for line in lines if line.startswith("| **")}
    assert set(FAULTS) <= set(shown)
    for fault, line in shown.items():
        named = re.findall(r"`(tests/\S+\.py)`: ((?:`test_\w+`(?:, )?)+)", line)
        assert named or "not tried" in line or "not promised" in line, fault
        for path, tests in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            for test in re.findall(r"`(test_\w+)`", tests):
                assert f"def {test}(" in text, f"{fault}: {path} has no {test}"


_KINDS = "announced|container|control|encoding|feed|field|file|header|json|key|line|record|xml"
_MADE = {f"control.{kind}-{what}" for kind in ("header", "trailer") for what in ("missing", "twice", "unfit")}
_MADE |= {f"announced.{what}" for what in ("partner", "size", "hash")}


def test_the_page_of_refusals_lists_every_code_of_a_file_and_of_a_record() -> None:
    code = re.compile(rf"({_KINDS})\.[a-z-]+")
    said = {
        node.value
        for path in (ROOT / "connectors" / "files").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and code.fullmatch(node.value)
    }
    page = (DOCS / "refusals.md").read_text(encoding="utf-8")
    assert said | _MADE == set(re.findall(r"^\| `([a-z.-]+)` \|", page, re.MULTILINE))


def test_the_page_of_checks_lists_every_function_as_the_code_has_it() -> None:
    assert {row[0]: row[3] for row in rows("checks.md")} == {name: f.doc for name, f in FUNCTIONS.items()}
    page = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert [kind for kind in RULES if f"| {kind} |" not in page] == []
    assert [outcome for outcome in OnFail if f"| {outcome.value} |" not in page] == []
    for text in re.findall(r"expr: \"([^\"]+)\"", page):
        parse(text)


def test_the_checks_of_the_readme_are_read_with_their_tests(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Checks\n")[2]
    said = section.partition("```yaml\n")[2].partition("```")[0]
    flow = (
        "apiVersion: ecluse/v1\nkind: Flow\nmetadata: {name: orders}\nspec:\n  template: postgres_table@1\n"
        f"  params: {{connection: shop, table: public.orders}}\n{said}"
    )
    read = load(project(tmp_path, {"flows/orders.yaml": flow}))
    (mine,) = (trial for trial in read.trials if trial.about == "orders")
    assert [bound.name for bound in mine.checks] == ["item_named", "price_sane"]


def test_the_page_of_files_has_every_state_and_every_family_of_reasons() -> None:
    page = (DOCS / "files.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    told = {cell for line in lines for cell in re.findall(r"`([^`]+)`", line.split("|")[1])}
    states, codes = {cell for cell in told if "." not in cell}, {cell for cell in told if "." in cell}
    assert states == {*get_args(Standing), LANDED}
    families = {code.partition(".")[0] for code in codes}
    raised = re.compile(r'(?:Refused|_refuse|Problem|_no|No)\(\s*f?"([a-z]+)\.')
    found = {
        family
        for path in (ROOT / "connectors" / "files").glob("*.py")
        for family in raised.findall(path.read_text(encoding="utf-8"))
    }
    assert found - {"key"} <= families
    assert {"container", "control", "json", "xml"} <= found
    assert {"file.duplicate", "file.name", "file.feeds", "file.size", "file.rejected"} <= codes
