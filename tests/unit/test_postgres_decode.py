"""Messages of pgoutput to runs of rows, told from messages made here."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from connectors.postgres import kinds, wire
from connectors.postgres.catalog import Known
from connectors.postgres.cells import cell_of, type_of
from connectors.postgres.decode import Decoder, Learn, OnTruncate
from connectors.postgres.progress import Progress
from connectors.postgres.wire import Values, WireRelation
from engine.errors import SourceRefused
from engine.schema import Column, Identity, Relation
from engine.source import UNCHANGED, Field, Rows, TableGap

HEAD = b"w" + bytes(24)
IDENTITY = {"d": Identity.DEFAULT, "i": Identity.INDEX, "f": Identity.FULL}
BASES = {"id": kinds.INT4, "name": kinds.TEXT, "big": kinds.TEXT, "at": kinds.DATE}


def begin(lsn: int, xid: int = 7) -> bytes:
    return HEAD + b"B" + struct.pack(">QqI", lsn, 1000, xid)


def commit(lsn: int) -> bytes:
    return HEAD + b"C" + struct.pack(">BQQq", 0, lsn, lsn + 48, 1000)


def described(
    relid: int = 1, table: str = "t", identity: str = "d", names: Sequence[str] = tuple(BASES)
) -> bytes:
    columns = b"".join(
        bytes([name == "id" or identity == "f"]) + name.encode() + b"\0" + struct.pack(">Ii", BASES[name], -1)
        for name in names
    )
    head = struct.pack(">I", relid) + b"public\0" + table.encode() + b"\0" + identity.encode()
    return HEAD + b"R" + head + struct.pack(">H", len(names)) + columns


def fields(*values: Field) -> bytes:
    said = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            said += b"n"
        elif value is UNCHANGED:
            said += b"u"
        else:
            said += b"b" + struct.pack(">I", len(value)) + value
    return said


def insert(*values: Field, relid: int = 1) -> bytes:
    return HEAD + b"I" + struct.pack(">I", relid) + b"N" + fields(*values)


def update(new: Sequence[Field], old: Sequence[Field] | None = None, kind: bytes = b"K") -> bytes:
    before = kind + fields(*old) if old is not None else b""
    return HEAD + b"U" + struct.pack(">I", 1) + before + b"N" + fields(*new)


def delete(*old: Field, kind: bytes = b"K") -> bytes:
    return HEAD + b"D" + struct.pack(">I", 1) + kind + fields(*old)


def truncate(*relids: int) -> bytes:
    return HEAD + b"T" + struct.pack(f">IB{len(relids)}I", len(relids), 0, *relids)


def number(n: int) -> bytes:
    return struct.pack(">i", n)


DAY = number(9000)


def relation(message: WireRelation, _: int) -> Known | str | None:
    if message.table == "other":
        return None
    if message.table == "odd":
        return "column _op has a name that the landing writes itself"
    columns = []
    for column in message.columns:
        type_ = type_of(column.type_oid, column.modifier)
        cell = cell_of(column.type_oid, type_, "binary")
        columns.append(Column(column.name, type_, nullable=True, declared="", cell=cell))
    found = Relation(
        message.id, message.schema, message.table, tuple(columns), ("id",), IDENTITY[message.identity]
    )
    return Known(found, tuple(column.type_oid for column in message.columns))


def learn(on_truncate: OnTruncate = "apply", reread: Values | None = None) -> Learn:
    return Learn(relation, lambda _, row, __: reread or row, lambda _: on_truncate, lambda *_: True)


def decoder(on_truncate: OnTruncate = "apply", reread: Values | None = None) -> Decoder:
    return Decoder(learn(on_truncate, reread), "binary", era=3)


def play(to: Decoder, *messages: bytes) -> list[Rows]:
    found: list[Rows] = []
    for message in messages:
        if to.feed(message):
            found += to.take()
    return found


def test_a_run_is_the_rows_of_one_table_in_one_transaction() -> None:
    to = decoder()
    runs = play(
        to,
        begin(100), described(1), described(2, "u"),
        insert(number(1), b"a", b"b", DAY), insert(number(9), None, b"", DAY, relid=2),
        insert(number(2), None, None, None), commit(100),
    )  # fmt: skip
    assert [(run.relation.table, run.era, run.major, run.first_minor, run.tx) for run in runs] == [
        ("t", 3, 100, 0, 7),
        ("u", 3, 100, 0, 7),
    ]
    assert runs[0].rows == [
        ("c", None, (number(1), b"a", b"b", DAY)),
        ("c", None, (number(2), None, None, None)),
    ]
    assert runs[0].committed_us == wire.EPOCH_US + 1000
    assert to.last is not None
    assert tuple(to.last) == (100, 148, 7, wire.EPOCH_US + 1000, 3)


def test_the_index_counts_per_table_and_begins_anew_with_each_transaction() -> None:
    to = decoder()
    play(to, begin(100), described(), insert(number(1), b"a", b"b", DAY))
    first = to.take()
    more = play(to, insert(number(2), b"a", b"b", DAY), truncate(1), commit(100))
    again = play(to, begin(200, 8), insert(number(3), b"a", b"b", DAY), commit(200))
    assert [run.first_minor for run in (*first, *more, *again)] == [0, 2, 0]
    assert [op for op, _, _ in more[0].rows] == ["c", "t"]


@pytest.mark.parametrize("value", [b"", b"x" * 100_000])
def test_every_kind_of_field_is_read(value: bytes) -> None:
    (run,) = play(decoder(), begin(1), described(), insert(number(1), value, UNCHANGED, None), commit(1))
    assert run.rows == [("c", None, (number(1), value, UNCHANGED, None))]


def test_an_update_under_a_default_identity_has_no_old_row() -> None:
    (run,) = play(decoder(), begin(1), described(), update([number(1), b"n", UNCHANGED, DAY]), commit(1))
    assert run.rows == [("u", None, (number(1), b"n", UNCHANGED, DAY))]


def test_a_key_change_is_one_row_with_the_old_key_alone() -> None:
    new = [number(2), b"n", b"big", DAY]
    (run,) = play(decoder(), begin(1), described(), update(new, [number(1), None, None, None]), commit(1))
    assert run.rows == [("k", (number(1), None, None, None), tuple(new))]


def test_a_key_change_with_unchanged_columns_reads_them_again() -> None:
    filled = (number(2), b"n", b"read", DAY)
    (run,) = play(
        decoder(reread=filled), begin(1), described(),
        update([number(2), b"n", UNCHANGED, DAY], [number(1), None, None, None]), commit(1),
    )  # fmt: skip
    assert run.rows == [("k", (number(1), None, None, None), filled)]


def test_a_key_that_is_stored_apart_comes_from_the_old_key() -> None:
    (run,) = play(
        decoder(), begin(1), described(),
        update([UNCHANGED, b"n", UNCHANGED, DAY], [number(1), None, None, None]), commit(1),
    )  # fmt: skip
    assert run.rows == [("u", None, (number(1), b"n", UNCHANGED, DAY))]


def test_a_full_identity_fills_unchanged_columns_from_the_old_row() -> None:
    old = (number(1), b"o", b"large", DAY)
    runs = play(
        decoder(), begin(1), described(identity="f"),
        update([number(1), b"n", UNCHANGED, DAY], old, b"O"),
        update([number(5), b"n", UNCHANGED, DAY], old, b"O"),
        delete(*old, kind=b"O"), commit(1),
    )  # fmt: skip
    assert runs[0].rows == [
        ("u", old, (number(1), b"n", b"large", DAY)),
        ("k", old, (number(5), b"n", b"large", DAY)),
        ("d", old, None),
    ]


def test_a_delete_has_its_key_and_absent_columns_are_not_null_values() -> None:
    (run,) = play(decoder(), begin(1), described(), delete(number(4), b"?", None, None), commit(1))
    assert run.rows == [("d", (number(4), None, None, None), None)]


def test_rows_of_a_large_transaction_go_out_before_its_commit() -> None:
    to = decoder()
    play(to, begin(1), described())
    runs: list[Rows] = []
    for n in range(5000):
        runs += play(to, insert(number(n), b"a", b"b", DAY))
    assert runs, "nothing went out"
    assert max(len(run.rows) for run in runs) <= 1100
    assert to.in_transaction
    runs += play(to, commit(1))
    assert [run.first_minor for run in runs] == [
        0,
        *(2 * sum(len(r.rows) for r in runs[:n]) for n in range(1, len(runs))),
    ]
    assert sum(len(run.rows) for run in runs) == 5000


def test_one_large_value_goes_out_at_once() -> None:
    to = decoder()
    play(to, begin(1), described())
    assert to.feed(insert(number(1), bytes(1 << 20), None, None))


def test_a_relation_that_changes_inside_a_transaction_ends_the_run() -> None:
    to = decoder()
    runs = play(
        to, begin(1), described(), insert(number(1), b"a", b"b", DAY),
        described(names=("id", "name")), insert(number(2), b"c"), commit(1),
    )  # fmt: skip
    assert [(len(run.relation.columns), run.first_minor, len(run.rows)) for run in runs] == [
        (4, 0, 1),
        (2, 2, 1),
    ]


def test_a_relation_said_again_is_the_same_object() -> None:
    to = decoder()
    first = play(to, begin(1), described(), insert(number(1), b"a", b"b", DAY), commit(1))
    again = play(to, begin(2), described(), insert(number(1), b"a", b"b", DAY), commit(2))
    assert first[0].relation is again[0].relation


def test_a_table_of_others_is_passed_over_and_counted() -> None:
    to = decoder()
    assert (
        play(to, begin(1), described(2, "other"), insert(number(1), b"a", b"b", DAY, relid=2), commit(1))
        == []
    )
    assert to.last is not None
    assert to.last.changes == 1
    assert to.gaps == []


def test_a_table_that_cannot_be_captured_is_a_gap_of_its_own() -> None:
    to = decoder()
    runs = play(
        to, begin(5), described(1), described(2, "odd"), insert(number(1), b"a", b"b", DAY, relid=2),
        insert(number(1), b"a", b"b", DAY), insert(number(1), b"a", b"b", DAY, relid=2), commit(5),
    )  # fmt: skip
    assert [run.relation.table for run in runs] == ["t"]
    assert to.gaps == [
        TableGap(
            "public",
            "odd",
            "source.gap-suspected",
            3,
            5,
            "column _op has a name that the landing writes itself",
        )
    ]


def test_a_table_that_fits_again_says_what_was_passed_over() -> None:
    to = decoder()
    play(to, begin(5), described(2, "odd"), insert(number(1), b"a", b"b", DAY, relid=2), commit(5))
    to.gaps.clear()
    runs = play(to, begin(9), described(2, "t"), insert(number(1), b"a", b"b", DAY, relid=2), commit(9))
    assert len(runs) == 1
    assert [(gap.table, gap.major) for gap in to.gaps] == [("odd", 9)]


def test_a_table_that_was_renamed_away_is_a_gap() -> None:
    to = decoder()
    play(to, begin(5), described(1), insert(number(1), b"a", b"b", DAY), commit(5))
    assert play(to, begin(6), described(1, "other"), insert(number(1), b"a", b"b", DAY), commit(6)) == []
    assert [(gap.table, gap.major) for gap in to.gaps] == [("t", 6)]


def test_a_truncate_is_a_row_of_each_of_its_tables() -> None:
    runs = play(decoder(), begin(1), described(1), described(2, "u"), truncate(1, 2), commit(1))
    assert [(run.relation.table, run.rows) for run in runs] == [
        ("t", [("t", None, None)]),
        ("u", [("t", None, None)]),
    ]


def test_a_truncate_that_is_ignored_renumbers_nothing() -> None:
    row = insert(number(1), b"a", b"b", DAY)
    runs = play(decoder("ignore"), begin(1), described(), row, truncate(1), row, commit(1))
    assert [(run.first_minor, len(run.rows)) for run in runs] == [(0, 1), (4, 1)]


def test_a_truncate_that_is_to_stop_is_a_gap_and_a_row() -> None:
    to = decoder("stop")
    (run,) = play(to, begin(8), described(), truncate(1), commit(8))
    assert run.rows == [("t", None, None)]
    assert [(gap.table, gap.major) for gap in to.gaps] == [("t", 8)]


@pytest.mark.parametrize(
    "message",
    [
        HEAD + b"Z",
        insert(number(1), b"a", relid=1),
        insert(number(1), b"a", b"b", DAY)[:-2],
        HEAD + b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">H", 4) + b"x" * 30,
        HEAD + b"U" + struct.pack(">I", 1) + b"X" + fields(number(1), b"a", b"b", DAY),
        insert(number(1), b"a", b"b", DAY, relid=99),
        commit(77),
    ],
    ids=["kind", "count", "short", "field", "tuple", "relation", "commit"],
)
def test_what_the_protocol_does_not_have_stops_the_capture(message: bytes) -> None:
    to = decoder()
    play(to, begin(1), described())
    with pytest.raises(SourceRefused) as caught:
        to.feed(message)
    assert "nothing was skipped" in caught.value.hint


def test_messages_and_origins_are_taken_in_silence() -> None:
    to = decoder()
    said = HEAD + b"M" + struct.pack(">BQ", 1, 5) + b"ecluse\0" + struct.pack(">I", 0)
    assert play(to, begin(1), HEAD + b"O" + bytes(8) + b"n\0", said, HEAD + b"A" + bytes(8), commit(1)) == []
    assert to.last is not None
    assert to.last.changes == 0


def test_the_text_form_is_read_by_the_same_rules() -> None:
    parse, parse_any = wire.parsers([kinds.INT4, kinds.TEXT, kinds.DATE], "text")
    said = struct.pack(">H", 3) + b"t\0\0\0\x0212" + b"n" + b"t\0\0\0\x0a2026-01-02"
    assert parse(said, 0) == (b"12", None, b"2026-01-02")
    assert parse_any(said, 0) == ((b"12", None, b"2026-01-02"), len(said))


def reading(since: int | None, *, done: bool = False) -> dict[str, Progress]:
    return {"public.t": Progress(0, since, done=done)}


def test_nothing_of_a_table_is_told_below_the_snapshot_that_brings_it() -> None:
    row = insert(number(1), b"a", b"b", DAY)
    to = Decoder(learn(), "binary", 3, reading(None))
    assert play(to, begin(8), described(), row, commit(8)) == []
    to.snapshots(reading(24))
    assert play(to, begin(16), row, commit(16)) == []
    runs = play(to, begin(24), row, row, commit(24), begin(32), row, commit(32))
    assert [(run.major, run.first_minor, len(run.rows)) for run in runs] == [(24, 0, 2), (32, 0, 1)]
    assert to.last is not None
    assert to.last.changes == 1, "what is not told counts all the same"


def test_a_snapshot_that_begins_inside_of_a_told_transaction_tells_that_one() -> None:
    row = insert(number(1), b"a", b"b", DAY)
    to = Decoder(learn(), "binary", 3, reading(None))
    play(to, begin(8), described(), row, commit(8))
    assert play(to, begin(24)) == []
    assert to.open_at == 24
    to.snapshots(reading(17))
    assert [run.major for run in play(to, row, commit(24))] == [24]


def test_an_update_that_leaves_out_a_value_of_a_row_that_is_yet_to_be_read_says_so() -> None:
    asked: list[Values] = []

    def unread(_relation: Relation, values: Values, _progress: Progress) -> bool:
        asked.append(values)
        return values[0] == number(2)

    to = Decoder(learn()._replace(unread=unread), "binary", 3, reading(1))
    whole, partial = (number(1), b"a", b"b", DAY), (number(2), b"a", UNCHANGED, DAY)
    known = (number(3), b"a", UNCHANGED, DAY)
    runs = play(to, begin(8), described(), update(whole), update(partial), update(known), commit(8))
    told = [(run.first_minor + 2 * n, row[2], run.early) for run in runs for n, row in enumerate(run.rows)]
    assert told == [(0, whole, False), (2, partial, True), (4, known, False)]
    assert asked == [partial, known]
    to.snapshots(reading(1, done=True))
    assert len(play(to, begin(16), update(partial), commit(16))[0].rows) == 1
