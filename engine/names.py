"""Every derived name: topics and their namespaces, slots, groups, tables, application ids, partitions.

Rule: pure and injective, so that two things never share a name and a restart finds what it made.
State is bound to connection and table (capture) and to the flow's name (landing), never to the
order of a list or the version of a template. This room does not know what the names are used for.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import PurePath
from typing import Final

OWN_FOLDER: Final = "_ecluse"
"""The folder of a lake that holds what is ours beside the tables: ledger, quarantine, plans, states."""

_IDENTIFIER_MAX: Final = 63  # bytes, PostgreSQL
_TOPIC_MAX: Final = 249  # characters, Kafka
_SAFE_AVRO: Final = re.compile(r"[A-Za-z0-9]")


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes of ASCII text; what is cut is replaced by a digest of the whole.

    >>> _cut("short", 63)
    'short'
    >>> len(_cut("x" * 100, 63)), _cut("x" * 100, 63) == _cut("x" * 101, 63)
    (63, False)
    """
    if len(text.encode()) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{text[: limit - 13]}_{digest}"


def _escape(text: str, safe: re.Pattern[str]) -> str:
    """Every character outside ``safe`` (so every ``_`` too) as ``_<hex>_``: injective and readable."""
    return "".join(c if safe.fullmatch(c) else f"_{ord(c):x}_" for c in text)


def topic(connection: str, schema: str, table: str) -> str:
    """The topic of a table: Debezium's rule, with characters that Kafka refuses escaped.

    A name that is already fit stays as it is; ``_`` is fit unless an escape could be read into it.

    >>> topic("shop", "public", "parcel_event")
    'shop.public.parcel_event'
    >>> topic("shop", "public", "pièce")
    'shop.public.pi_e8_ce'
    >>> topic("shop", "public", "pi_e8_ce")
    'shop.public.pi_5f_e8_5f_ce'
    """
    return _cut(".".join(_topic_part(part) for part in (connection, schema, table)), _TOPIC_MAX)


def _topic_part(part: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", part) and not re.search(r"_[0-9a-f]+_", part)
    return part if plain else _escape(part, re.compile(r"[A-Za-z0-9-]"))


def avro_name(name: str) -> str:
    """A column's name as an Avro name; the original travels as a property of the field.

    >>> avro_name("order_id"), avro_name("libellé"), avro_name("2nd"), avro_name("_x")
    ('order_id', 'libell_e9_', '_32_nd', '_x')
    """
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not re.search(r"_[0-9a-f]+_", name)
    if plain:
        return name
    escaped = _escape(name, _SAFE_AVRO)
    return f"_{ord(escaped[0]):x}_{escaped[1:]}" if escaped[0].isdigit() else escaped


def namespace(topic_name: str) -> str:
    """The Avro namespace of a topic's schemas: it says whose they are.

    >>> namespace("shop.public.parcel-event")
    'ecluse.shop.public.parcel_2d_event'
    """
    return "ecluse." + ".".join(avro_name(part) for part in topic_name.split("."))


def slot(project: str, connection: str) -> str:
    """The replication slot and the publication of a capture.

    >>> slot("postal", "shop")
    'ecluse_postal_shop'
    """
    text = f"ecluse_{_slot_part(project)}_{_slot_part(connection)}"
    return _cut(text, _IDENTIFIER_MAX)


def _slot_part(part: str) -> str:
    # one underscore separates the parts, so inside a part it is doubled: (a_b, c) is not (a, b_c)
    return "".join(
        c if re.fullmatch(r"[a-z0-9]", c) else "__" if c == "_" else f"_x{ord(c):x}_" for c in part
    )


def marks_topic(project: str) -> str:
    """The compacted topic that holds every capture's marks.

    >>> marks_topic("postal")
    'ecluse.postal.marks'
    """
    return f"ecluse.{_topic_part(project)}.marks"


def subject(topic_name: str, part: str, epoch: int) -> str:
    """The registry subject of a topic's ``key`` or ``value`` in a schema epoch.

    >>> subject("shop.public.parcel", "value", 1), subject("shop.public.parcel", "value", 2)
    ('shop.public.parcel-value', 'shop.public.parcel-value-e2')
    """
    return f"{topic_name}-{part}" if epoch == 1 else f"{topic_name}-{part}-e{epoch}"


def app_id(flow: str, table_epoch: int) -> str:
    """The Delta application id of a flow's writers: the fence, the same within a table epoch.

    >>> app_id("shop.parcel", 1)
    'ecluse:shop.parcel:1'
    """
    return f"ecluse:{flow}:{table_epoch}"


def table_folder(table: str) -> PurePath:
    """Where the table ``layer.name`` lies in the lake.

    >>> table_folder("bronze.parcels").as_posix()
    'bronze/parcels'
    """
    return PurePath(*table.split(".", 1))


def pause_file(flow: str) -> PurePath:
    """Where the wish lies that a flow rests, in the lake.

    >>> pause_file("shop.parcel").as_posix()
    '_ecluse/pauses/shop.parcel.json'
    """
    return PurePath(OWN_FOLDER, "pauses", f"{flow}.json")


def consumer_group(group: str, lane: str, options: str) -> str:
    """The executors' group id of a lane; one id per set of options, else Spark's cache refuses the job.

    >>> consumer_group("default", "live", "a=1")
    'ecluse-landing.default.live.c22fea5d'
    """
    return f"ecluse-landing.{group}.{lane}.{hashlib.sha256(options.encode()).hexdigest()[:8]}"


def partition(key_body: bytes, partitions: int) -> int:
    r"""The partition of a key: a stable hash of its Avro body, without the schema's id.

    With the id in the hash, a key schema registered again would move keys between partitions.

    >>> partition(b"\x02", 4) == partition(b"\x02", 4)
    True
    """
    return zlib.crc32(key_body) % partitions
