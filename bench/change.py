"""The work of the capture bench: a table of ten typed columns, and a fixed series of changes to it.

Rule: the series depends on nothing but its length, so every run and every machine does the same work:
insert, update, delete 60 / 35 / 5, spread evenly, in transactions of a given number of rows. A row as
plain values (``tally``) is made here from each side's own decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from bench.tally import Plain

SCHEMA: Final = "public"
TABLE: Final = "parcel"
COLUMNS: Final = (
    "id", "customer", "weight", "price", "updated_at", "day", "express", "tracking", "status", "address",
)  # fmt: skip
SCALES: Final = {"weight": 3, "price": 2}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_START_US: Final = 1_795_240_800_000_000  # 2026-11-21 06:00 UTC
_PATTERN: Final = "ccuccucucuccucucudcc"  # 12 inserts, 7 updates, 1 delete
STATES: Final = ("IN_TRANSIT", "DELIVERED", "AT_DEPOT", "RETURNED", "ANNOUNCED")
_STREETS: Final = (
    "rue de la République, 69002 Lyon",
    "Hauptstraße 7, 10827 Berlin",
    "High Street, Leeds LS1 4DY",
    "boulevard Lannes, 63000 Clermont-Ferrand",
)

_TABLE: Final = """
CREATE TABLE public.parcel (
  id bigint PRIMARY KEY, customer integer NOT NULL, weight numeric(8,3), price numeric(10,2),
  updated_at timestamptz NOT NULL, day date NOT NULL, express boolean NOT NULL,
  tracking text NOT NULL, status text NOT NULL, address text);
"""

_PROCEDURE: Final = f"""
-- updates and deletes hit rows that exist: each change is one change
CREATE PROCEDURE change(changes bigint, per_transaction bigint) LANGUAGE plpgsql AS $$
DECLARE
  pattern text[] := string_to_array('{",".join(_PATTERN)}', ',');
  states text[] := string_to_array('{";".join(STATES)}', ';');
  streets text[] := string_to_array('{";".join(_STREETS)}', ';');
  born bigint := 0; dead bigint := 0;
  w numeric(8,3); p numeric(10,2); moment timestamptz; state text; place text;
BEGIN
  FOR i IN 0 .. changes - 1 LOOP
    IF pattern[1 + i % 20] = 'd' THEN
      dead := dead + 1;
      DELETE FROM public.parcel WHERE id = dead;
    ELSE
      w := (i * 37 % 30000) * 0.001;
      p := CASE WHEN i % 97 <> 0 THEN (i * 13 % 1000000) * 0.01 END;
      moment := timestamptz '2026-11-21 06:00:00+00' + i * interval '37123 microseconds';
      state := states[1 + i % 5];
      place := CASE WHEN i % 50 <> 0 THEN (1 + i % 211) || ' ' || streets[1 + i % 4] END;
      IF pattern[1 + i % 20] = 'c' THEN
        born := born + 1;
        INSERT INTO public.parcel VALUES (born, i * 31 % 50000, w, p, moment, moment::date, i % 7 = 0,
          'FR' || lpad(born::text, 11, '0'), state, place);
      ELSE
        UPDATE public.parcel
        SET weight = w, price = p, updated_at = moment, status = state, address = place
        WHERE id = dead + 1 + (i::bigint * 7919) % (born - dead);
      END IF;
    END IF;
    IF (i + 1) % per_transaction = 0 THEN
      COMMIT;
    END IF;
  END LOOP;
  COMMIT;
END $$;
"""


def prepare(connection: psycopg.Connection[Any]) -> None:
    """The empty table, and the procedure that changes it."""
    connection.execute("SET timezone TO 'UTC'")
    connection.execute(_TABLE)
    connection.execute(_PROCEDURE)


_STANDING: Final = f"""
INSERT INTO public.parcel
SELECT i + 1, i * 31 %% 50000, (i * 37 %% 30000) * 0.001,
  CASE WHEN i %% 97 <> 0 THEN (i * 13 %% 1000000) * 0.01 END,
  moment, moment::date, i %% 7 = 0, 'FR' || lpad((i + 1)::text, 11, '0'),
  (string_to_array('{";".join(STATES)}', ';'))[1 + i %% 5],
  CASE WHEN i %% 50 <> 0
    THEN (1 + i %% 211) || ' ' || (string_to_array('{";".join(_STREETS)}', ';'))[1 + i %% 4] END
FROM generate_series(0, %s::bigint - 1) AS i,
  LATERAL (SELECT timestamptz '2026-11-21 06:00:00+00' + i * interval '37123 microseconds') AS m(moment)
"""


def fill(connection: psycopg.Connection[Any], rows: int) -> None:
    """The table, filled at once and left alone."""
    prepare(connection)
    connection.execute(_STANDING, (rows,))
    connection.execute("VACUUM (ANALYZE) public.parcel")
    connection.execute("CHECKPOINT")


def standing(rows: int) -> Iterator[Plain]:
    """What a snapshot of the filled table must have written."""
    for i in range(rows):
        moment_us = _START_US + i * 37123
        price = i * 13 % 1_000_000 if i % 97 else None
        place = f"{1 + i % 211} {_STREETS[i % 4]}" if i % 50 else None
        yield (
            *("r", i + 1, i * 31 % 50000, i * 37 % 30000, price, moment_us, moment_us // 86_400_000_000),
            *(i % 7 == 0, f"FR{i + 1:011d}", STATES[i % 5], place),
        )


class Made(NamedTuple):
    """Where the changes lie in the log: a position between the last of them and the end, and the end.

    Between the two is one transaction without rows: whoever has confirmed ``behind`` has them all.
    """

    behind: str
    end: str


def make(connection: psycopg.Connection[Any], changes: int, per_transaction: int) -> Made:
    """Do the changes."""
    connection.execute("SET timezone TO 'UTC'")
    connection.execute("SET synchronous_commit TO off")
    connection.execute(f"CALL change({changes}, {per_transaction})")
    behind = _text(connection, "SELECT pg_current_wal_insert_lsn()")
    connection.execute("SELECT pg_logical_emit_message(true, 'bench', 'end')")
    connection.execute("CHECKPOINT")  # everything is flushed, and no checkpoint falls into the first run
    return Made(behind, _text(connection, "SELECT pg_current_wal_lsn()"))


def _text(connection: psycopg.Connection[Any], query: LiteralString) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def instant_us(text: str) -> int:
    """Microseconds of an ISO instant.

    >>> instant_us("1970-01-01 00:00:01.5+00"), instant_us("1970-01-01T00:00:01.500000Z")
    (1500000, 1500000)
    """
    passed = datetime.fromisoformat(text) - _EPOCH
    return (passed.days * 86400 + passed.seconds) * 1_000_000 + passed.microseconds


def day_number(text: str) -> int:
    """Days since 1970 of an ISO date."""
    return date.fromisoformat(text).toordinal() - 719163


def unscaled(raw: bytes | None) -> int | None:
    """The unscaled integer of an Avro decimal."""
    return None if raw is None else int.from_bytes(raw, "big", signed=True)


def expected(changes: int) -> Iterator[Plain]:
    """The series again, from its definition: what every side must have written."""
    born = dead = 0
    kept: dict[int, tuple[int, int, bool, str]] = {}  # what an update leaves as it was
    for i in range(changes):
        op = _PATTERN[i % 20]
        if op == "d":
            dead += 1
            yield ("d", dead)
            continue
        moment_us = _START_US + i * 37123
        if op == "c":
            born += 1
            target = born
            kept[target] = (i * 31 % 50000, moment_us // 86_400_000_000, i % 7 == 0, f"FR{born:011d}")
        else:
            target = dead + 1 + i * 7919 % (born - dead)
        customer, day, express, tracking = kept[target]
        price = i * 13 % 1_000_000 if i % 97 else None
        place = f"{1 + i % 211} {_STREETS[i % 4]}" if i % 50 else None
        yield (
            *(op, target, customer, i * 37 % 30000, price, moment_us, day, express, tracking),
            *(STATES[i % 5], place),
        )
