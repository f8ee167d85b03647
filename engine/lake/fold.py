"""Mode scd1, the part without Spark: many changes of a key become one, as SQL text.

A column of a change is a value, NULL, or unset: not sent by the source (*unchanged*), or absent from the
schema that the change was written with. Folding goes column by column: the newest change that says what the
column is wins. An insert and a delete say it of every column, because what was there before is gone.

Rule: pure. ``s`` is 'set' (the value stands), 'keep' (the table's value stands), 'new' (keep, and a new row
gets the initial value) or 'lost' (nobody knows the value any more: the key's changes are quarantined).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.lake import halt
from engine.lake.append import at_most
from engine.lake.batch import Batch, Position
from engine.lake.decode import CONTROL, WITHDRAWAL, Writer, header, name, quote
from engine.lake.evolve import Target, absent, initial
from engine.lake.floors import GONE, TAKEN, taken
from engine.lake.halt import Kind
from engine.names import avro_name
from engine.schema import Binary, Boolean, Float32, Float64, Type, delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What the SQL of a batch is made from; ``three_state``: some change leaves a column unset.

    ``two_texts``: changes of one key may stand in two partitions, whose heights say nothing of each other.
    """

    target: Target
    keys: tuple[str, ...]
    writers: Sequence[Writer]
    three_state: bool
    soft: bool
    two_texts: bool = False

    @property
    def others(self) -> list[str]:
        """The columns that are not the key, in the table's order."""
        return [c for c in self.target.columns if c not in self.keys]

    def late(self, batch: Batch) -> str:
        """Whether a change is passed over; halts on what the batch was not planned for.

        It lies below a floor; or it leaves values out, and a snapshot will bring its row whole.
        """
        floor = f"op NOT IN ({CONTROL}) AND {below('_position', batch.floor)}" if batch.floor else "false"
        truncate = "" if batch.floors_in_batch else f"WHEN op IN ({CONTROL}) THEN {halt.sql(Kind.FLOOR)} "
        unset = (
            "" if self.three_state else f"WHEN op <> 'd' AND size(unchanged) > 0 THEN {halt.sql(Kind.UNSET)} "
        )
        return (
            f"CASE WHEN _reason IS NOT NULL THEN false WHEN early THEN true {truncate}{unset}ELSE {floor} END"
        )

    @property
    def signed(self) -> list[str]:
        """Columns of the key that Spark groups without the sign of zero: the image has it."""
        return [k for k in self.keys if isinstance(self.target.columns[k], Float32 | Float64)]

    def _key(self, column: str) -> str:
        return f"w.i.{name(avro_name(column))}"

    def key_columns(self) -> list[str]:
        """The key, out of the image."""
        return [f"i.{name(avro_name(k))} AS k{n}" for n, k in enumerate(self.keys)]

    def aggregates(self) -> list[str]:
        """What becomes of the changes of one key."""
        last = "max_by(named_struct('op', op, 'tx', tx, 'us', ts_us, 'head', head, 'i', i), _position) AS w"
        found = ["max(_position) AS _position", last, "count(1) AS cnt", "bool_or(NOT _again) AS fresh"]
        if self.three_state:
            for n, column in enumerate(self.others):
                found += self._column(n, column)
        return found

    def _column(self, n: int, column: str) -> list[str]:
        value, unsent = f"i.{name(avro_name(column))}", f"array_contains(unchanged, {quote(column)})"
        without = self._without(column)
        lacks = f"head IN ({', '.join(f'X{quote(h)}' for h in without)})" if without else "false"
        new = self._initial(column, "head")
        says = f"op <> 'u' OR NOT ({unsent} OR {lacks})"
        state = (
            f"CASE WHEN op = 'd' THEN 'lost' WHEN {lacks} THEN 'set' WHEN {unsent} THEN 'lost' ELSE 'set' END"
        )
        struct = f"named_struct('v', if({lacks}, {new}, {value}), 's', {state}, 'again', _again)"
        return [
            f"max_by({struct}, _position) FILTER (WHERE {says}) AS f{n}",
            f"bool_or(op = 'u' AND {unsent}) AS u{n}",
        ]

    def _without(self, column: str) -> dict[str, Writer]:
        return {header(w.schema_id): w for w in self.writers if column in absent(self.target, w)}

    def _initial(self, column: str, head: str) -> str:
        cases = [
            f"WHEN {head} = X{quote(h)} THEN {initial(self.target, w, column)}"
            for h, w in self._without(column).items()
        ]
        nothing = f"cast(NULL AS {delta(self.target.columns[column])})"
        return f"CASE {' '.join(cases)} ELSE {nothing} END" if cases else nothing

    def source(self) -> list[str]:
        """One row per key: the key, ``v0..`` the values, ``s0..`` their states, ``lost`` and ``needs``."""
        found = [f"{self._key(k)} AS k{n}" if k in self.signed else f"k{n}" for n, k in enumerate(self.keys)]
        found += ["_position", "w.op AS op", "w.tx AS tx", "w.us AS us", "cnt"]
        if not self.three_state:
            values = [f"w.i.{name(avro_name(c))} AS v{n}" for n, c in enumerate(self.others)]
            states = [f"if(w.op = 'd', 'keep', 'set') AS s{n}" for n, _ in enumerate(self.others)]
            return [*found, *values, *states, "'' AS lost", "'' AS needs"]
        lost, needs = [], []
        for n, column in enumerate(self.others):
            said, initial_ = quote(column), self._initial(column, "w.head")
            # a change that comes again beside newer ones says nothing: the table's value may be newer  # I10
            state, kept = f"if(fresh AND f{n}.again, NULL, f{n}.s)", f"(u{n} OR fresh AND f{n}.again)"
            found.append(f"if({state} = 'set', f{n}.v, {initial_}) AS v{n}")
            found.append(f"if(w.op = 'd', 'keep', coalesce({state}, if({kept}, 'keep', 'new'))) AS s{n}")
            lost.append(f"if(w.op <> 'd' AND {state} = 'lost', {said}, NULL)")
            needs.append(f"if(w.op <> 'd' AND {state} IS NULL AND {kept}, {said}, NULL)")
        join = "concat_ws(',', {})"
        return [*found, join.format(", ".join(lost) or "''") + " AS lost",
                join.format(", ".join(needs) or "''") + " AS needs"]  # fmt: skip

    def merge(self, table: str, bounds: str, batch: Batch) -> str:
        """The MERGE of a batch from the view ``ecluse_source``."""
        on = " AND ".join(f"t.{name(k)} = s.k{n}" for n, k in enumerate(self.keys))
        newer = "s._position > t._position"
        delete = "" if self.soft else f"WHEN MATCHED AND {newer} AND s.op IN ({GONE}) THEN DELETE "
        insert = "" if self.soft else f" AND s.op NOT IN ({GONE})"
        said = self._said(batch)
        sets = [f"{name(c)} = {self._updated(n, c)}" for n, c in enumerate(self.others)]
        sets += [f"{name(k)} = s.k{n}" for n, k in enumerate(self.keys) if k in self.signed]
        sets += [f"{c} = {v}" for c, v in said.items()]
        columns = [*(name(k) for k in self.keys), *(name(c) for c in self.others), *said]
        values = [f"s.k{n}" for n in range(len(self.keys))]
        values += [f"s.v{n}" for n in range(len(self.others))] + list(said.values())
        return (
            f"MERGE INTO {table} t USING ecluse_source s ON {on}{bounds} {delete}"  # noqa: S608  (names and literals are quoted by us)
            f"WHEN MATCHED AND {newer} THEN UPDATE SET {', '.join(sets)} "
            f"WHEN NOT MATCHED{insert} THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(values)})"
            f"{self._truncated(batch)}"
        )

    def _updated(self, n: int, column: str) -> str:
        if not self.three_state and not self.soft:
            return f"s.v{n}"
        return f"if(s.s{n} = 'set', s.v{n}, t.{name(column)})"

    def _said(self, batch: Batch) -> dict[str, str]:
        found = {
            "_op": f"if(s.op = '{TAKEN}', {WITHDRAWAL}, s.op)" if batch.withdrawn else "s.op",
            "_position": "s._position",
            "_tx": "s.tx",
            "_committed_at": "timestamp_micros(s.us)",
            "_landed_at": f"timestamp_micros({batch.landed_at_us}L)",
        }
        return {**found, "_deleted": f"s.op IN ({GONE})"} if self.soft else found

    def _truncated(self, batch: Batch) -> str:
        if not batch.floors_in_batch:
            return ""
        under = f" WHEN NOT MATCHED BY SOURCE AND {swept('t._position', batch)}"
        if not self.soft:
            return f"{under} THEN DELETE"
        found, landed = "", f"_landed_at = timestamp_micros({batch.landed_at_us}L)"
        if batch.floor is not None:
            era, major, minor = batch.floor
            at = f"named_struct('era', {era}L, 'major', {major}L, 'minor', {minor}L)"
            found += (
                f" WHEN NOT MATCHED BY SOURCE AND {below('t._position', batch.floor)} AND NOT t._deleted "
                f"THEN UPDATE SET _deleted = true, _op = {quote(batch.floor_op)}, _position = {at}, {landed}"
            )
        if batch.withdrawn:
            found += (
                f" WHEN NOT MATCHED BY SOURCE AND {taken('t._position', batch.withdrawn)} AND NOT t._deleted "
                f"THEN UPDATE SET _deleted = true, _op = {WITHDRAWAL}, {landed}"
            )
        return found


def swept(column: str, batch: Batch) -> str:
    """Whether a row at a position is gone by a floor or a withdrawal."""
    gone = taken(column, batch.withdrawn)
    return gone if batch.floor is None else f"({below(column, batch.floor)} OR {gone})"


def below(column: str, position: Position) -> str:
    """``column < position``: floors keep what stands at them."""
    era, major, minor = position
    return at_most(column, (era, major, minor - 1))


def bounds(keys: Sequence[str], types: Mapping[str, Type], got: Mapping[str, Any]) -> str:
    """The literal bounds of a batch's keys on the target's side: Delta skips files by nothing else.

    >>> from engine.schema import Int64
    >>> bounds(["id"], {"id": Int64()}, {"lo0": "3", "hi0": "9"})
    " AND t.`id` BETWEEN cast('3' AS bigint) AND cast('9' AS bigint)"
    """
    found = ""
    for n, key in enumerate(keys):
        low, high = got[f"lo{n}"], got[f"hi{n}"]
        if low is None or high is None or isinstance(types[key], Binary | Boolean | Float32 | Float64):
            continue
        type_ = delta(types[key])
        found += (
            f" AND t.{name(key)} BETWEEN cast({quote(low)} AS {type_}) AND cast({quote(high)} AS {type_})"
        )
    return found
