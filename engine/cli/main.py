"""The application ``ecluse``: its verbs, its global options, and how it ends.

Rule: an ``EcluseError`` becomes its explanation on stderr and its exit code, here and nowhere else;
anything unexpected is a fault of ours, exit code 70, with its place and without its text (which could hold
a secret). With ``--json`` the error on stderr is one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.cli import (
    change,
    doctor,
    drift,
    fake,
    files,
    look,
    pause,
    rehearsal,
    rejected,
    resolve,
    show,
    start,
)
from engine.cli import run as workers
from engine.cli.compose import Call
from engine.errors import Bug, EcluseError, explain

GROUPS: Final = (
    start, fake, look, doctor, rejected, files, change, rehearsal, drift, pause, resolve, workers
)  # fmt: skip
"""The modules that hold verbs, in the order of the help: each has ``add(app)``."""

app = typer.Typer(
    name="ecluse",
    help="Streaming ingestion, declared: databases through Kafka into Delta, nothing lost, nothing twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        show.line(f"ecluse {metadata.version('ecluse')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[
        Path, typer.Option("--project", "-p", metavar="DIR", help="The folder that holds ecluse.yaml.")
    ] = Path(),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every verb."""
    del version
    context.obj = Call(folder=project, environment=context.obj)


for group in GROUPS:
    group.add(app)


def main(arguments: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run one command; gives its exit code."""
    try:
        app(args=list(arguments), prog_name="ecluse", obj=environment)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except EcluseError as error:
        return _report(error, arguments)
    except Exception as error:  # noqa: BLE001 - the last door: nothing may leave as a traceback
        if environment.get("ECLUSE_TRACEBACK"):
            traceback.print_exc()
        return _report(_unexpected(error), arguments)
    return 0


def _report(error: EcluseError, arguments: Sequence[str]) -> int:
    if "--json" in arguments:
        sys.stderr.write(json.dumps({"error": error.as_dict()}, ensure_ascii=False) + "\n")
    else:
        show.note(explain(error))
    return error.exit_code


def _unexpected(error: Exception) -> EcluseError:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Bug(
        f"unexpected {type(error).__name__}: a fault of ours",
        where=where,
        hint="run it again with ECLUSE_TRACEBACK=1 and send us what it prints",
    )


def run() -> None:
    """The entry point of the distribution."""
    sys.exit(main(sys.argv[1:], environment=os.environ))
