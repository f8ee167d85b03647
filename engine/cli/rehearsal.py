"""The verb ``test``: the ``tests:`` of templates and flows, through the checks as a landing runs them.

Rule: Spark and nothing else: no Kafka, no registry, no database. A row that does not come to what its author
expects ends the verb with exit code 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.cli import compose, places, show
from engine.cli.compose import Call
from engine.errors import Exit, Missing
from engine.template import Case, Trial
from engine.template.mistakes import count

if TYPE_CHECKING:
    from engine.lake.rehearse import Outcome  # with pyspark behind it

PANEL: Final = "Change"
_HEAP: Final = "1g"


def add(app: typer.Typer) -> None:
    """Put this verb into the application."""
    app.command("test", rich_help_panel=PANEL)(run)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test: each of its rows, and what became of it."""

    trial: Trial
    rows: Sequence[tuple[Case, Outcome]]

    @property
    def wrong(self) -> list[tuple[int, Case, Outcome]]:
        """The rows that came to something else than was expected, counted from 1."""
        return [
            (n, case, found)
            for n, (case, found) in enumerate(self.rows, 1)
            if (tuple(sorted(case.fails)), case.becomes, tuple(sorted(case.unfit)))
            != (found.fails, found.becomes, found.unfit)
        ]


def run(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATHS", help="Files of the project; default all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the tests of templates and flows; exit code 4 when one does not hold."""
    call: Call = context.obj
    trials = _chosen(call, compose.load(call).trials, paths or [])
    verdicts = _judged(call, trials) if trials else []
    failed = [verdict for verdict in verdicts if verdict.wrong]
    if as_json:
        show.data({"tests": [_as_dict(verdict) for verdict in verdicts]})
    else:
        for verdict in verdicts:
            _print(verdict)
    rows = sum(len(verdict.rows) for verdict in verdicts)
    said = f"{count(len(verdicts), 'test')}, {count(rows, 'row')}"
    show.note(f"{said}: {len(failed)} did not hold" if failed else f"{said}: all hold")
    if failed:
        raise typer.Exit(Exit.UNMET)


def _chosen(call: Call, trials: Sequence[Trial], paths: Sequence[str]) -> list[Trial]:
    if not paths:
        return list(trials)
    found: list[Trial] = []
    for path in paths:
        mine = [trial for trial in trials if _under(call, trial.place.path, path)]
        if not mine:
            raise Missing(
                f"no test stands in {path}", where=str(call.folder), hint="ecluse test, for all of them"
            )
        found += [trial for trial in mine if trial not in found]
    return found


def _under(call: Call, place: str, path: str) -> bool:
    """Whether a test stands in a file or folder, named from here or from the project."""
    file = call.folder.resolve() / place
    return (
        any(file.is_relative_to((base / path).resolve()) for base in (Path(), call.folder)) or place == path
    )


def _judged(call: Call, trials: Sequence[Trial]) -> list[Verdict]:
    from engine.lake.rehearse import rehearse
    from engine.lake.session import Engine, end, start

    show.note(f"{count(len(trials), 'test')}: starting Spark …")
    runtime = places.spark(call)
    session = start(
        Engine(
            java_home=Path(runtime.java_home),
            jars=[Path(jar) for jar in runtime.spark_jars],
            scratch=places.state_folder(call) / "spark" / "test",
            memory=_HEAP,
            archives=places.archives(call),
        )
    )
    try:
        return [
            Verdict(trial, list(zip(trial.rows, rehearse(session, trial), strict=True))) for trial in trials
        ]
    finally:
        end(session)


def _print(verdict: Verdict) -> None:
    trial = verdict.trial
    rows = count(len(verdict.rows), "row")
    if not verdict.wrong:
        show.line(f"ok     {trial.about}  {trial.name}  ({rows})")
        return
    show.line(f"FAILED {trial.about}  {trial.name}  ({len(verdict.wrong)} of {rows})  {trial.place}")
    for n, case, found in verdict.wrong:
        show.line(f"  row {n} at {case.place}")
        show.line(
            f"    expected  {_said(case.becomes, tuple(sorted(case.fails)), tuple(sorted(case.unfit)))}"
        )
        show.line(f"    found     {_said(found.becomes, found.fails, found.unfit)}")


def _said(becomes: str, fails: Sequence[str], unfit: Sequence[str]) -> str:
    if unfit:
        return f"{becomes}, no value in {', '.join(unfit)}"
    return f"{becomes}, fails {', '.join(fails)}" if fails else f"{becomes}, fails nothing"


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    trial, wrong = verdict.trial, {n for n, _, _ in verdict.wrong}
    return {
        "about": trial.about, "test": trial.name, "place": str(trial.place), "holds": not wrong,
        "rows": [
            {
                "place": str(case.place), "holds": n not in wrong,
                "expected": {
                    "fails": sorted(case.fails), "becomes": case.becomes, "unfit": sorted(case.unfit),
                },
                "found": asdict(found),
            }
            for n, (case, found) in enumerate(verdict.rows, 1)
        ],
    }  # fmt: skip
