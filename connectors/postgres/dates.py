"""Dates and timestamps of PostgreSQL: counted from 2000-01-01 in binary, ISO in text, to Avro's from 1970.

Rule: years 1 to 9999 and no infinity; everything else is ``Unfit`` and keeps its own text.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from struct import Struct
from typing import Final

from engine.schema import Unfit
from engine.varint import LAST, long

EPOCH_DAYS: Final = 10957  # from 1970-01-01 to 2000-01-01
EPOCH_US: Final = EPOCH_DAYS * 86400 * 1_000_000

_unpack_i: Final = Struct(">i").unpack
_unpack_q: Final = Struct(">q").unpack
_DAY_US: Final = 86400 * 1_000_000
_ORDINAL_1970: Final = 719163
FIRST_DAY: Final = 1 - _ORDINAL_1970
LAST_DAY: Final = date.max.toordinal() - _ORDINAL_1970
FIRST_US: Final = FIRST_DAY * _DAY_US
LAST_US: Final = (LAST_DAY + 1) * _DAY_US - 1
_UTC_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NTZ_1970: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock without a zone
_MICROSECOND: Final = timedelta(microseconds=1)

# The last two bytes of an eight-byte varint. Absent: what has fewer bytes, what has more, what is negative.
STAMP_TOP: Final = dict(enumerate(LAST))
del STAMP_TOP[0]


def date_from_binary(v: bytes) -> bytes:
    """A binary date as Avro days."""
    days = _unpack_i(v)[0] + EPOCH_DAYS
    if not FIRST_DAY <= days <= LAST_DAY:
        raise Unfit(date_text(v))
    return long(days)


def date_from_text(v: bytes) -> bytes:
    """An ISO date as Avro days."""
    try:
        return long(date.fromisoformat(v.decode()).toordinal() - _ORDINAL_1970)
    except ValueError:
        raise Unfit(v.decode()) from None


def stamp_from_binary(v: bytes) -> bytes:
    """A binary timestamp, with or without zone, as Avro microseconds."""
    us: int = _unpack_q(v)[0] + EPOCH_US
    if not FIRST_US <= us <= LAST_US:
        raise Unfit(timestamp_text(v))
    return long(us)


def timestamp_from_text(v: bytes) -> bytes:
    """An ISO timestamp without zone as Avro microseconds."""
    return _stamp_from_text(v, _NTZ_1970)


def timestamptz_from_text(v: bytes) -> bytes:
    """An ISO timestamp in UTC as Avro microseconds."""
    return _stamp_from_text(v, _UTC_1970)


def _stamp_from_text(v: bytes, epoch: datetime) -> bytes:
    try:
        return long((datetime.fromisoformat(v.decode()) - epoch) // _MICROSECOND)
    except ValueError:
        raise Unfit(v.decode()) from None


def date_text(v: bytes) -> str:
    """The ISO text that the server would give for a binary date."""
    days = _unpack_i(v)[0]
    if days in (2**31 - 1, -(2**31)):
        return "infinity" if days > 0 else "-infinity"
    year, month, day = _civil(days + EPOCH_DAYS)
    return f"{_year(year)}-{month:02d}-{day:02d}{' BC' if year < 1 else ''}"


def timestamp_text(v: bytes) -> str:
    """The ISO text that the server would give for a binary timestamp."""
    return _stamp_text(v, "")


def timestamptz_text(v: bytes) -> str:
    """The ISO text, in UTC, that the server would give for a binary timestamptz."""
    return _stamp_text(v, "+00")


def _stamp_text(v: bytes, zone: str) -> str:
    us = _unpack_q(v)[0]
    if us in (2**63 - 1, -(2**63)):
        return "infinity" if us > 0 else "-infinity"
    days, rest = divmod(us + EPOCH_US, _DAY_US)
    year, month, day = _civil(days)
    seconds, fraction = divmod(rest, 1_000_000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    point = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{_year(year)}-{month:02d}-{day:02d} {clock}{point}{zone}{' BC' if year < 1 else ''}"


def _year(year: int) -> str:
    return f"{year if year > 0 else 1 - year:04d}"


def _civil(days: int) -> tuple[int, int, int]:
    """Year (0 is 1 BC), month and day of a day counted from 1970-01-01, in any year.

    >>> _civil(0), _civil(-719529)
    ((1970, 1, 1), (-1, 12, 31))
    """
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9  # noqa: PLR2004 - the year starts in March here
    return (
        year_of_era + era * 400 + (month <= 2),  # noqa: PLR2004
        month,
        day_of_year - (153 * shifted + 2) // 5 + 1,
    )
