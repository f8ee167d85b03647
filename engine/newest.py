"""What a connector's own compacted topic holds: the newest row of each key.

Rule: a row of a newer writer is newer whatever its place is: one that was replaced may still have sent some.
What cannot be read stops whoever reads, because it may be what keeps rows from coming twice. Between reading
and giving, rows are held as the bytes that they came as.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from engine.envelope import decode, leading, schema_id
from engine.errors import GapSuspected, answers
from engine.registry import Registry
from engine.topic import Topic


def newest(
    topic: Topic, registry: Registry, name: str, end: int, capture: str, *, last_first: bool = False
) -> Iterator[Mapping[str, Any]]:
    """The rows below an offset, those of an older writer before those of a newer one; or the other way.

    Raises GapSuspected for a record that is none of ours.
    """
    first = topic.offsets([name]).get(name, {}).get(0, (0, 0))[0]
    held: dict[bytes | None, tuple[int, int, bytes]] = {}
    writer, whole = partial(leading, field="writer"), decode
    for stored in topic.read(name, 0, first, end) if first < end else ():
        value = stored.value or b""
        wrote = int(_read(value, writer, registry, f"{name}/0/{stored.offset}", capture))
        before = held.get(stored.key)
        if before is None or (wrote, stored.offset) > before[:2]:
            held[stored.key] = wrote, stored.offset, value
    for _, offset, value in sorted(held.values(), key=lambda one: one[:2], reverse=last_first):
        row: Mapping[str, Any] = _read(value, whole, registry, f"{name}/0/{offset}", capture)["after"]
        yield row


def _read(
    value: bytes, how: Callable[[bytes, str], Any], registry: Registry, where: str, capture: str
) -> Any:
    try:
        schema = registry.schema(schema_id(value))
        if schema is not None:
            return how(value, schema)
        what = "has a schema that the registry does not know"
    except ValueError as error:
        what = str(error)
    raise GapSuspected(
        f"what capture {capture} keeps cannot be read: {what}", where=where, hint=answers(capture)
    )
