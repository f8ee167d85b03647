"""The verb ``fake``: files of a flow, or rows of its table, before there is anything to try it with.

Rule: what is made, and what becomes of each defect, is the connector's and the contract's to say. Today comes
from here, and from nowhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine import fake, plan, template
from engine.cli import compose, screen, show
from engine.cli.compose import Call
from engine.contract import ContractColumn, Moment, format_of
from engine.contract.making import Making, Room
from engine.errors import Missing, Unusable
from engine.plan import FlowPlan
from engine.schema import Date, Timestamp, Type, delta, from_delta
from engine.template.mistakes import count, nearest

PANEL: Final = "Start"
_QUIET_S: Final = 2.0
_EVERY: Final = 1_024  # rows between two looks at the clock
_FORMATS: Final = ("sql", "jsonl")


def add(app: typer.Typer) -> None:
    """Put this verb into the application."""
    app.command("fake", rich_help_panel=PANEL)(run)


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="A flow of the project.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where files go.")] = None,
    files: Annotated[int, typer.Option("--files", min=1, metavar="N", help="How many files.")] = 1,
    records: Annotated[
        int, typer.Option("--records", min=0, metavar="N", help="How many records in each of them.")
    ] = 100,
    defects: Annotated[
        list[str] | None,
        typer.Option(
            "--defect",
            metavar="KIND=N",
            help="bad_type=2% of the records, ragged=3 of each file; more than once.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed and day: same bytes.")] = 1,
    first: Annotated[
        int, typer.Option("--first", min=1, metavar="N", help="The number of the first file.")
    ] = 1,
    day: Annotated[
        str, typer.Option("--day", metavar="YYYY-MM-DD", help="The day of the files; default today.")
    ] = "",
    locales: Annotated[
        list[str] | None,
        typer.Option(
            "--locale", metavar="NAME", help="Of names and places: fr_FR, en_GB or another; both unless told."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=TYPE", help="Of a database's table: what its columns are."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="sql|jsonl", help="How rows of a table are written.")
    ] = "sql",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make up files of a partner's flow, or rows of a database's, good or broken as ordered.

    Every file is told with what becomes of it: accepted or refused, and how
    many of its records wait in quarantine, and why. Names, addresses and
    numbers are of one country in each row.
    """
    order = fake.Order(
        files, records, seed, first, _defects(defects or []), _day(day), tuple(locales or fake.LOCALES)
    )
    declared, planned = _flow(context.obj, flow)
    making = declared.meant.making() if declared.meant is not None else None
    try:
        if making is None:
            shape = dict(_columns(columns or []))
            _rows(planned, shape or dict(next((t.columns for t in declared.trials), {})), order, form)
        else:
            _files(planned, making, order, out, as_json=as_json)
    except ValueError as error:  # what the flow has no place for, or its files cannot hold
        raise Unusable(str(error), where=flow, hint="ecluse fake --help") from error


def _flow(call: Call, name: str) -> tuple[template.Flow, plan.FlowPlan]:
    """A flow as it is declared, and as it is planned."""
    project = compose.load(call)
    declared = next((each for each in project.flows if each.name.text == name), None)
    if declared is None:
        names = [each.name.text for each in project.flows]
        raise Missing(f"there is no flow {name}", where=str(call.folder), hint=nearest(name, names))
    return declared, next(each for each in plan.build(project).flows if each.name == name)


def _defects(given: Sequence[str]) -> dict[str, fake.Amount]:
    found = {}
    for one in given:
        name, _, said = one.partition("=")
        try:
            found[name] = fake.amount(said)
        except ValueError as error:
            raise Unusable(
                f"{one} is no defect and its amount", where="--defect", hint="--defect bad_type=2%"
            ) from error
    return found


def _day(given: str) -> date:
    try:
        return date.fromisoformat(given) if given else datetime.now(UTC).date()
    except ValueError as error:
        raise Unusable(f"{given} is no day", where="--day", hint="--day 2026-11-02") from error


@dataclass(slots=True)
class _Progress:
    """Says how far it is, where it takes longer than somebody waits without asking."""

    files: int
    rows: int
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._at = time.monotonic() + _QUIET_S

    def __call__(self, file: int, row: int) -> None:
        if row % _EVERY == 0 and time.monotonic() > self._at:
            self._at = time.monotonic() + _QUIET_S
            done = file * self.rows + row
            show.note(
                f"file {file + 1} of {self.files}, {screen.count(done)} of "
                f"{screen.count(self.files * self.rows)} records"
            )


def _files(planned: FlowPlan, making: Making, order: fake.Order, out: Path | None, *, as_json: bool) -> None:
    if out is None:
        raise Unusable("files need a folder", where=planned.name, hint="--out DIR")
    out.mkdir(parents=True, exist_ok=True)
    fields = fake.fields_of(
        planned.contract, making.rooms, keys=planned.table.said.get("keys", ()), checks=planned.checks
    )
    if unknown := fake.beyond(planned.checks, fields):
        show.note(f"not foretold, because values are made without them: checks {', '.join(unknown)}")
    made = []
    for one in fake.make(making, fields, order, out, _Progress(order.files, order.rows)):
        made.append(one)
        if not as_json:
            show.line(f"{out / one.name}  {screen.size(one.bytes)}  {_fate(one)}")
    if as_json:
        report = {
            "flow": planned.name, "out": str(out), "seed": order.seed, "day": order.day.isoformat(),
            "files": [one.as_dict() for one in made],
        }  # fmt: skip
        show.data(report)
        return
    records = sum(one.rows for one in made)
    refused = sum(one.fate.becomes == "refused" for one in made)
    said = f"{count(len(made), 'file')}, {count(records, 'record')}"
    show.note(f"{said}; {refused} of the files will be refused")


def _fate(one: fake.Made) -> str:
    if one.fate.becomes == "refused":
        return f"will be refused: {one.fate.code}"
    waits = ", ".join(f"{screen.count(n)} {code}" for code, n in sorted(one.quarantined.items()))
    lands = f"{screen.count(one.rows - sum(one.quarantined.values()))} records will land"
    told = f" ({one.fate.code})" if one.fate.code else ""
    return (
        lands
        + (f", {screen.count(sum(one.quarantined.values()))} wait in quarantine: {waits}" if waits else "")
        + told
    )


# --- rows of a table -------------------------------------------------------------------------------------


def _columns(given: Sequence[str]) -> Iterator[tuple[str, Type]]:
    for one in given:
        name, _, said = one.partition("=")
        try:
            yield name, from_delta(said)
        except ValueError as error:
            hint = "--column 'amount=decimal(10,2)'"
            raise Unusable(f"{one} is no column and its type", where="--column", hint=hint) from error


def _rows(planned: FlowPlan, shape: Mapping[str, Type], order: fake.Order, form: str) -> None:
    """Rows for the table, on stdout: it is for whoever reads them to run them."""
    if form not in _FORMATS:
        raise Unusable(f"{form} is no format", where="--format", hint=f"--format {' or '.join(_FORMATS)}")
    if not shape:
        raise Unusable(
            "what columns its table has only the database knows, and the flow has no test that says it",
            where=planned.name,
            hint="ecluse fake FLOW --column id=bigint --column city=string",
        )
    if order.defects or order.files != 1:
        what = "defects and files are for flows of partner files"
        raise Unusable(what, where=planned.name, hint=f"ecluse fake {planned.name} --records {order.rows}")
    rooms = {name: Room(never="\0", empty=True) for name in shape}
    contract = [_plain(name, type_) for name, type_ in shape.items()]
    fields = fake.fields_of(contract, rooms, checks=planned.checks)
    today = datetime.combine(order.day, clock(12), UTC)
    before = (order.first - 1) * order.rows
    values = fake.Values(fields, seed=str(order.seed), today=today, locales=order.locales, before=before)
    table = f"{_quoted(planned.table.schema)}.{_quoted(planned.table.table)}"
    head = f"INSERT INTO {table} ({', '.join(map(_quoted, shape))}) VALUES"
    progress = _Progress(1, order.rows)
    for n in range(order.rows):
        row = values.row()
        progress(0, n)
        if form == "jsonl":
            show.line(json.dumps(dict(zip(shape, row, strict=True)), ensure_ascii=False))
        else:
            literals = ", ".join("NULL" if text is None else _literal(text) for text in row)
            show.line(f"{head} ({literals});")


def _plain(name: str, type_: Type) -> ContractColumn:
    """A column as its database reads it."""
    made: Any = format_of(type_)
    if made is None:
        raise ValueError(f"{name}: no value is made up for {delta(type_)}")
    if made is Moment:
        patterns = {Date: "yyyy-MM-dd", Timestamp: "yyyy-MM-dd'T'HH:mm:ssXXX"}
        how: Any = Moment(patterns.get(type(type_), "yyyy-MM-dd'T'HH:mm:ss"))
    else:
        how = made()
    return ContractColumn(name, delta(type_), format=how)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
