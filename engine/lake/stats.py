"""What a Parquet file's footer tells of its rows, as a Delta log has it.

A reader passes over a file by these bounds, so a wrong one hides rows, and one that is left out only costs
time. There are none here for decimals (their text would pass through a float), floats (NaN), local times and
long texts.

Rule: pure. A bound may be wider than the values, never narrower.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

_TEXT_MAX: Final = 32
_COLUMNS_MAX: Final = 32  # as many as Delta's own writer
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_FIRST_DAY: Final = date(1, 1, 1).toordinal() - _EPOCH.date().toordinal()
_LAST_DAY: Final = date(9999, 12, 31).toordinal() - _EPOCH.date().toordinal()


def of(footer: Any) -> str:
    """The statistics of a file as JSON; ``footer`` is pyarrow's."""
    found: dict[str, Any] = {"numRecords": footer.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    for number in range(min(footer.num_columns, _COLUMNS_MAX)):
        column = footer.schema.column(number)
        names = column.path.split(".")
        parts = [group.column(number).statistics for group in groups]
        if column.max_repetition_level or column.name != names[-1] or not all(_whole(part) for part in parts):
            continue
        _put(found["nullCount"], names, sum(part.null_count for part in parts))
        bounds = _bounds(column, [part for part in parts if part.has_min_max])
        if bounds is not None and all(
            p.has_min_max or p.null_count == g.num_rows for p, g in zip(parts, groups, strict=True)
        ):
            _put(found["minValues"], names, bounds[0])
            _put(found["maxValues"], names, bounds[1])
    return json.dumps(found, ensure_ascii=False)


def _whole(part: Any) -> bool:
    return part is not None and bool(part.has_null_count)


def _put(into: dict[str, Any], names: Sequence[str], value: Any) -> None:
    for name in names[:-1]:
        into = into.setdefault(name, {})
    into[names[-1]] = value


def _bounds(column: Any, parts: Sequence[Any]) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column; None where they are not told."""
    if not parts:
        return None
    kind = json.loads(column.logical_type.to_json())
    match column.physical_type, kind["Type"]:
        case "INT32" | "INT64", "None" | "Int":
            return _raw(parts)
        case "INT32", "Date":
            low, high = _raw(parts)
            return (_day(low), _day(high)) if low >= _FIRST_DAY and high <= _LAST_DAY else None
        case "INT64", "Timestamp" if kind["isAdjustedToUTC"] and kind["timeUnit"] == "microseconds":
            low, high = _raw(parts)
            return (
                (_instant(low // 1000), _instant(-(-high // 1000)))
                if low >= _FIRST_US and high <= _LAST_US
                else None
            )
        case "BYTE_ARRAY", "String":
            low_text, high_text = min(part.min for part in parts), max(part.max for part in parts)
            short = max(len(low_text), len(high_text)) <= _TEXT_MAX
            return (low_text, high_text) if short else None
        case _:
            return None


def _raw(parts: Sequence[Any]) -> tuple[int, int]:
    return min(part.min_raw for part in parts), max(part.max_raw for part in parts)


def _day(days: int) -> str:
    return (_EPOCH.date() + timedelta(days=days)).isoformat()


def _instant(ms: int) -> str:
    """Milliseconds as the log writes an instant.

    >>> _instant(1_500), _instant(-50_000_000_000_001)
    ('1970-01-01T00:00:01.500Z', '0385-07-25T07:06:39.999Z')
    """
    at = _EPOCH.replace(tzinfo=None) + timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds") + "Z"
