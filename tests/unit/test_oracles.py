"""Every oracle is green on an honest history and red on a spoiled one: one never seen red proves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracles, oracles_log, oracles_snapshot
from tests.support.workload import COUNTERS, LISTS, Change, Mix, finals, history, transactions

BUSY = Mix(width=3, lists=5, counters=4, move=0.15, truncate=0.03)
SEEDS = st.integers(0, 10_000)
A_FEW = settings(max_examples=40)


def lists_of(seed: int, count: int = 60, mix: Mix = BUSY) -> list[Change]:
    return list(history(transactions(seed, count, mix), LISTS))


def counters_of(seed: int, count: int = 60) -> list[Change]:
    return list(history(transactions(seed, count, BUSY), COUNTERS))


def o2(changes: list[Change], honest: list[Change]) -> list[oracles.Wrong]:
    return oracles.lists_grow(changes, {k: r["items"] for k, r in finals(honest).items()})


def o3(changes: list[Change], honest: list[Change]) -> list[oracles.Wrong]:
    return oracles.counters_walk(changes, {k: r["state"] for k, r in finals(honest).items()})


def keyed(changes: list[Change]) -> list[int]:
    return [n for n, c in enumerate(changes) if c.key is not None]


def without(changes: list[Change], n: int) -> list[Change]:
    return changes[:n] + changes[n + 1 :]


def doubled(changes: list[Change], n: int) -> list[Change]:
    """The change comes again as if it were another: with an id of its own, after everything."""
    again = replace(changes[n], position=(0, changes[-1].position[1] + 8, 0))
    return [*changes, again]


def swapped(changes: list[Change], n: int) -> list[Change]:
    """A change and the next one of its key have changed places, ids and all else staying where they were."""
    other = next(m for m in range(n + 1, len(changes)) if changes[m].key == changes[n].key)
    out = list(changes)
    one, two = changes[n], changes[other]
    out[n] = replace(two, position=one.position)
    out[other] = replace(one, position=two.position)
    return out


def swappable(changes: list[Change]) -> list[int]:
    keys = [c.key for c in changes]
    return [n for n in keyed(changes) if keys[n] in keys[n + 1 :] and changes[n].position[2] % 2 == 0]


@A_FEW
@given(SEEDS)
def test_an_honest_history_is_green(seed: int) -> None:
    lists, counters = lists_of(seed), counters_of(seed)
    assert o2(lists, lists) == []
    assert o3(counters, counters) == []
    assert oracles.in_order(lists) == oracles.once(lists) == oracles.repeated_alike(lists) == []


@A_FEW
@given(SEEDS, st.data())
def test_a_history_read_again_from_any_point_is_green_on_a_topic(seed: int, data: st.DataObject) -> None:
    lists = lists_of(seed)
    end = data.draw(st.integers(1, len(lists)))
    start = data.draw(st.integers(0, end - 1))
    topic = lists[:end] + lists[start:]
    assert o2(topic, lists) == oracles.in_order(topic) == oracles.repeated_alike(topic) == []
    assert oracles.repeats(topic) == end - start
    assert oracles.once(topic) != []


@A_FEW
@given(SEEDS, st.data())
def test_a_dropped_change_turns_o2_and_o3_red(seed: int, data: st.DataObject) -> None:
    lists, counters = lists_of(seed, mix=replace(BUSY, truncate=0)), counters_of(seed)
    assert o2(without(lists, data.draw(st.sampled_from(keyed(lists)))), lists) != []
    assert o3(without(counters, data.draw(st.sampled_from(keyed(counters)))), counters) != []


@A_FEW
@given(SEEDS, st.data())
def test_a_change_told_twice_under_two_ids_turns_o2_and_o3_red(seed: int, data: st.DataObject) -> None:
    lists, counters = lists_of(seed), counters_of(seed)
    assert o2(doubled(lists, data.draw(st.sampled_from(keyed(lists)))), lists) != []
    assert o3(doubled(counters, data.draw(st.sampled_from(keyed(counters)))), counters) != []


@A_FEW
@given(SEEDS, st.data())
def test_two_changes_of_a_key_swapped_turn_o2_and_o3_red(seed: int, data: st.DataObject) -> None:
    lists, counters = lists_of(seed, 90), counters_of(seed, 90)
    assert o2(swapped(lists, data.draw(st.sampled_from(swappable(lists)))), lists) != []
    assert o3(swapped(counters, data.draw(st.sampled_from(swappable(counters)))), counters) != []


@A_FEW
@given(SEEDS, st.data())
def test_records_that_changed_places_in_a_partition_are_red(seed: int, data: st.DataObject) -> None:
    lists = [c for c in lists_of(seed, 90) if c.partition == 0]
    n = data.draw(st.integers(0, len(lists) - 2))
    spoiled = [*lists[:n], lists[n + 1], lists[n], *lists[n + 2 :]]
    assert oracles.in_order(spoiled) != []


def test_a_repeated_id_that_says_something_else_is_red() -> None:
    lists = lists_of(1)
    change = next(c for c in lists if c.op == "u")
    assert oracles.repeated_alike([*lists, replace(change, offset=9, writer=2)]) == []
    assert oracles.repeated_alike([*lists, replace(change, row={**change.row, "items": "other"})]) != []
    assert (
        oracles.repeated_alike([*lists, replace(change, row={**change.row, "note": "newer"})], ["note"]) != []
    )


def test_a_value_read_again_for_a_key_change_may_be_newer_the_second_time() -> None:
    lists = lists_of(1)
    change = next(c for c in lists if c.position[2] % 2)
    newer = replace(change, row={**change.row, "note": "newer"})
    assert oracles.repeated_alike([*lists, newer], ["note"]) == []
    assert oracles.repeated_alike([*lists, newer]) != []


def test_a_lost_truncate_is_red() -> None:
    lists = lists_of(3, 80, replace(BUSY, truncate=0.1))
    last = max(n for n, c in enumerate(lists) if c.op == "t" and finals(lists[:n]))
    assert o2(without(lists, last), lists) != []


def test_the_append_table_must_hold_what_the_topic_told() -> None:
    lists = lists_of(4)
    assert oracles.complete(lists, lists) == []
    assert oracles.complete(lists, without(lists, 7)) != []
    assert oracles.complete(lists, doubled(lists, 7)) != []


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda rows: rows.pop(1), "missing"),
        (lambda rows: rows.update({99: {"id": 99, "items": "x", "note": None}}), "extra"),
        (lambda rows: rows.update({1: {**rows[1], "note": "other"}}), "different"),
        (lambda rows: rows.update({1: {k: v for k, v in rows[1].items() if k != "note"}}), "different"),
        (lambda rows: rows.update({1: rows[2], 2: rows[1]}), "different"),
    ],
)
def test_o4_names_each_key_that_differs(spoil: Any, where: str) -> None:
    source = finals(lists_of(5, mix=Mix(move=0)))
    lake = dict(source)
    assert oracles.compare(source, lake).exact
    spoil(lake)
    told = oracles.compare(source, lake)
    assert not told.exact
    assert getattr(told, where)


def test_o4_sets_keys_apart_that_wait_in_quarantine() -> None:
    source = finals(lists_of(5, mix=Mix(move=0)))
    lake = {k: v for k, v in source.items() if k != 1}
    assert oracles.compare(source, lake, waiting=[1]).exact


def test_o9_sees_a_row_that_a_second_run_adds_or_loses() -> None:
    rows = [{"id": n, "v": "x", "_landed_at": n} for n in range(3)]
    again = [{**r, "_landed_at": 7} for r in reversed(rows)]
    assert oracles.same_state(rows, again, ignore=["_landed_at"]) == []
    assert oracles.same_state(rows, [*again, again[0]], ignore=["_landed_at"]) != []
    assert oracles.same_state(rows, again[1:], ignore=["_landed_at"]) != []


APP = "ecluse:walk.lists:1"


def commit(seq: int, start: int, end: int, **changes: Any) -> oracles_log.Commit:
    meta = {"ecluse": 1, "app": APP, "seq": seq, "topic_id": "T", "offsets": {"0": [start, end]}} | changes
    info = {"operation": "WRITE", "userMetadata": json.dumps(meta)}
    lines = [
        {"commitInfo": info},
        {"txn": {"appId": APP, "version": seq, "lastUpdated": 0}},
        {"add": {"path": f"part-{seq}", "size": 1}},
    ]
    return oracles_log.parse_commit(seq + 10, [json.dumps(line) for line in lines])


LOG = [commit(1, 0, 10), commit(2, 10, 25), commit(3, 25, 25), commit(4, 25, 40)]
COMPACTION = oracles_log.Commit(99, "OPTIMIZE", {}, {"ecluse": 1, "app": APP, "seq": 4}, ("big",))


@pytest.mark.parametrize(
    "log",
    [
        [LOG[0], *LOG[2:]],  # one dropped
        [*LOG, replace(LOG[3], version=15, added=("again",))],  # one doubled
        [LOG[0], LOG[2], LOG[1], LOG[3]],  # two swapped
        [*LOG[:3], commit(4, 20, 40)],  # an overlap
        [*LOG[:3], commit(4, 26, 40)],  # a gap
        [*LOG[:3], commit(4, 25, 40, topic_id="U")],
        [*LOG[:3], commit(4, 25, 40, app="ecluse:other:1")],
        [*LOG[:3], replace(LOG[3], ours=None)],
        [*LOG[:3], replace(LOG[3], added=LOG[1].added)],
    ],
)
def test_o7_is_red_for_every_way_to_spoil_a_log(log: list[oracles_log.Commit]) -> None:
    assert oracles_log.log_audit([*LOG, COMPACTION]) == []
    assert oracles_log.log_audit(log) != []


def test_a_deletion_vector_is_not_a_file_added_twice() -> None:
    add = {"add": {"path": "part-1", "deletionVector": {"pathOrInlineDv": "u8"}}}
    marked = oracles_log.parse_commit(20, [json.dumps(add)])
    assert oracles_log.log_audit([*LOG, marked]) == []
    assert oracles_log.log_audit([*LOG, marked, replace(marked, version=21)]) != []


def entry(seq: int, start: int, end: int, **changes: Any) -> dict[str, Any]:
    base = dict.fromkeys(oracles_log.TERMS, 0) | {"landed": end - start, "read": end - start}
    return base | {"flow": "walk.lists", "app_id": APP, "seq": seq, "offsets": {"0": [start, end]}} | changes


LEDGER = [entry(1, 0, 10), entry(2, 10, 25), entry(3, 25, 25), entry(4, 25, 40)]


@pytest.mark.parametrize("term", [*oracles_log.TERMS, "read"])
def test_i4_is_red_when_any_counter_is_off_by_one(term: str) -> None:
    assert oracles_log.ledger_balances(LEDGER) == []
    for step in (1, -1):
        spoiled = entry(4, 25, 40)
        spoiled[term] += step
        assert oracles_log.ledger_balances([*LEDGER[:3], spoiled]) != []


def test_i4_is_red_when_the_counters_agree_among_themselves_and_not_with_the_offsets() -> None:
    assert oracles_log.ledger_balances([entry(4, 25, 40, read=14, landed=14)]) != []


def test_i4_takes_a_missing_count_only_from_a_batch_that_was_booked_again() -> None:
    gap = entry(4, 25, 40, landed=None)
    assert oracles_log.ledger_balances([gap | {"state": "rebooked"}]) == []
    assert oracles_log.ledger_balances([gap | {"state": "landed"}]) != []


@pytest.mark.parametrize(
    "ledger",
    [LEDGER[:3], [*LEDGER, LEDGER[1]], [*LEDGER, entry(5, 40, 41)], [*LEDGER[:3], entry(4, 24, 40)]],
)
def test_the_ledger_tells_every_commit_once(ledger: list[dict[str, Any]]) -> None:
    assert oracles_log.ledger_tells_all(LEDGER, LOG) == []
    assert oracles_log.ledger_tells_all(ledger, LOG) != []


def read_and_changed() -> list[Change]:
    """A row that a snapshot read, and two changes of it."""
    return [
        Change((0, 7, 0), "r", 1, {"id": 1, "items": "a,b"}, "snapshot:0:0"),
        Change((0, 8, 0), "u", 1, {"id": 1, "items": "a,b,c"}),
        Change((0, 16, 0), "u", 1, {"id": 1, "items": "a,b,c,d"}),
    ]


def test_a_history_that_begins_with_a_snapshot_goes_on_from_its_rows() -> None:
    history = read_and_changed()
    early = Change((0, 1, 0), "u", 1, {"id": 1, "items": "a,b"})
    old = Change((0, 1, 0), "u", 1, {"id": 1, "items": "a"})
    assert oracles_snapshot.goes_on([early, *history], "items", {1: "a,b,c,d"}) == []
    assert oracles_snapshot.goes_on([old, *history], "items", {1: "a,b,c,d"}) != []
    assert oracles_snapshot.goes_on([history[0], history[2]], "items", {1: "a,b,c,d"}) != []
    assert oracles_snapshot.goes_on(history[:2], "items", {1: "a,b,c,d"}) != []
    assert oracles_snapshot.goes_on(history, "items", {1: "a,b,c,d", 2: "x"}) != []
    assert oracles_snapshot.read_once(history) == []
    assert oracles_snapshot.read_once([*history, history[0]]) != []
