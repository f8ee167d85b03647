"""Act three: rows that have no place in their types, and a record that nobody can decode.

Rule: each bad row is legal in the source (PostgreSQL knows NaN and infinity) and no other traffic touches it,
so the verdict can name it; the corrupt record goes straight into a topic, as a stray producer would send it.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Final

import psycopg
from confluent_kafka import Producer

from examples.demo.fake import Company
from examples.demo.traffic import PARCEL

GARBAGE: Final = b"\x00\x00\x00\x00\x01this is no record of ours \xff\xfe"


def bad_rows(db: psycopg.Connection[Any]) -> None:
    """A weight that is no number, and an invoice that is paid at the end of time."""
    with db.transaction():
        now = Company(7).now()
        where = ("Nobody", "1 Nowhere Lane", "ZZ9 9ZZ", "Erewhon", "GB")
        row = ("ZZ000000005GB", 0, "Tracked 48", *where, "NaN", None, False, None, now)
        db.execute(PARCEL, row)
    with db.transaction():
        newest = "(SELECT id FROM invoices WHERE paid ORDER BY id LIMIT 1)"
        db.execute(f"UPDATE invoices SET paid_at = 'infinity' WHERE id = {newest}".encode())  # noqa: S608


def bad_record(bootstrap: str, topic: str) -> None:
    """A record that only looks like one of ours."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.timeout.ms": 15_000})
    producer.produce(topic, GARBAGE, key=b"stray", partition=0)
    if producer.flush(20):
        raise RuntimeError("the stray record was not acknowledged")


def main() -> int:
    """Write the bad rows, then the bad record."""
    parser = argparse.ArgumentParser(description="three bad rows")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    given = parser.parse_args()
    with psycopg.connect(os.environ["ECLUSE_DEMO_DSN"], autocommit=True) as db:
        bad_rows(db)
    bad_record(given.bootstrap, given.topic)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
