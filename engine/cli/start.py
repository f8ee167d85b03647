"""Verbs that begin: init, up, down.

Rule: ``init`` asks nothing (``init --from``: a password at most) and writes a project that runs; ``up`` runs
a project on this machine until it is told to end; ``down`` ends it from another terminal. Only
``down --delete`` removes data, and only data that ``up`` made.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.cli import places, show
from engine.cli.compose import Call
from engine.cli.crew import Life
from engine.embedded import record
from engine.errors import Exit, StackFailed, TemplateInvalid

PANEL: Final = "Start"
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "demo"
SAMPLE_RATE: Final = 20.0
_STEP_S: Final = 0.25
_DOWN_S: Final = 60.0
_SECRET: Final = "shop_password"  # noqa: S105 - a name


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    from engine.cli import demo

    app.command("init", rich_help_panel=PANEL)(init)
    app.command("demo", rich_help_panel=PANEL)(demo.demo)
    app.command("up", rich_help_panel=PANEL)(up)
    app.command("down", rich_help_panel=PANEL)(down)


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="Its tables: postgres://USER@HOST/DATABASE.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (with --from).")] = False,
) -> None:
    """Write a project that runs: cd DIR && ecluse up.

    With --from, one of the tables that a database holds. The password comes
    from PGPASSWORD, or is asked for, and is written nowhere.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TemplateInvalid("the folder is not empty", where=str(folder), hint="ecluse init NEW_FOLDER")
    if source:
        from engine.cli import adopt

        adopt.tell(folder, adopt.adopt(context.obj, source, folder), as_json=as_json)
        return
    write_project(folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        show.line(str(path))
    show.note("the one line to change for a server of your own is marked in ecluse.yaml")
    show.note(f"next: cd {folder} && ecluse up")


def write_project(folder: Path) -> None:
    """The example's files, and a password of its own."""
    (folder / "flows").mkdir(parents=True, exist_ok=True)
    for name in ("ecluse.yaml", "database.sql", "flows/shop.yaml"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    (folder / ".gitignore").write_text(".ecluse/\nsecrets/\n", encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    path = folder / "secrets" / _SECRET
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(18) + "\n", encoding="utf-8")


def add_partner(folder: Path) -> None:
    """What the demo has beside: a folder that a partner drops files into, and a flow of them."""
    with (folder / "ecluse.yaml").open("a", encoding="utf-8") as project:
        project.write((EXAMPLE / "drop.connection").read_text(encoding="utf-8"))
    shutil.copyfile(EXAMPLE / "flows" / "relay.yaml", folder / "flows" / "relay.yaml")
    (folder / "drop" / "in").mkdir(parents=True)


def up(
    context: typer.Context,
    rate: Annotated[
        float, typer.Option("--rate", help="Changes a second in the sample database; 0: none.")
    ] = SAMPLE_RATE,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C or `ecluse down`."""
    from engine.cli.download import Meter, announce
    from engine.cli.running import Eyes, Keeper, Running
    from engine.cli.stage import Stage
    from engine.cli.traffic import Traffic
    from engine.embedded.stack import cache_folder

    call: Call = context.obj
    with ended_by_signal(), Meter() as meter:
        project = Running(call, meter)
        announce(project.download_bytes(), str(cache_folder(call.environment)))
        show.note(f"state in {project.state}, log files in {project.state / 'logs'}")
        with project, ExitStack() as stack:
            meter.close()
            project.start_workers()
            if project.samples and rate > 0:
                stack.enter_context(Traffic(call.environment, project.samples[0].app, rate=rate))
            keeper = stack.enter_context(Keeper(project.stack))
            eyes = stack.enter_context(Eyes(call, project.plan))
            stage = stack.enter_context(Stage(project.crew, eyes))
            stage.say(f"tables in {places.lake_root(call, project.plan)}")
            stage.say("Ctrl-C or ecluse down ends it")
            try:
                while not all(worker.life is Life.DOWN for worker in project.crew.workers):
                    for text in keeper.told():
                        stage.say(text, "yellow")
                    stage.step()
            except KeyboardInterrupt:
                stage.say("stopping: every worker ends its batch")
    if project.crew.workers and all(worker.exit_code for worker in project.crew.workers):
        raise typer.Exit(Exit.OPERATOR)
    show.note(f"stopped; the tables stay in {places.lake_root(call, project.plan)}")


def down(
    context: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove everything that `up` made: log, tables, sample database.")
    ] = False,
) -> None:
    """Stop what `ecluse up` runs for this project."""
    from engine.cli.running import owner

    call: Call = context.obj
    state = places.state_folder(call)
    running = owner(state)
    if running is not None:
        show.note(f"asking pid {running.pid} to end")
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_S
        while running.alive:
            if time.monotonic() > deadline:
                raise StackFailed(
                    f"pid {running.pid} does not end", where=str(state), hint=f"kill -9 {running.pid}"
                )
            time.sleep(_STEP_S)
    stopped = record.down(state, delete=delete)
    if delete and state.is_dir():
        shutil.rmtree(state)
        show.note(f"removed {state}")
    if running is None and not stopped:
        show.note("nothing was running")


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """SIGTERM ends us as Ctrl-C does: in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
