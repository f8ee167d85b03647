"""When the next file of a feed is due: a day without a file is an alarm, and nothing else.

Rule: pure; the clock of a machine is asked by whoever looks. Nothing waits for a file that is due, nothing is
refused because it came late, and what is a holiday to a partner nobody here knows.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.source import Expected

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK: Final = 7
_MILLION: Final = 1_000_000
_MIDNIGHT: Final = "00:00"

_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_Time = Annotated[str, Field(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$")]


class Expect(BaseModel):
    """When the next file has to have been accepted. Unless it is said, whenever it comes.

    ``every_s``: so long after the last one. ``by``: at that time of the clocks in ``timezone``, on each of
    ``days``; a file is that of the day on which it is accepted, in time or late. Where the day's file may
    come earlier, ``since`` says from when on: no earlier than ``by``, it is a time of the day before.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    every_s: int | None = Field(default=None, ge=1)
    by: _Time | None = None
    timezone: str = Field(default="", max_length=64)
    days: Annotated[tuple[_Day, ...], Field(strict=False, min_length=1, max_length=7)] = _DAYS
    since: _Time = _MIDNIGHT

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.every_s is not None and self.by is not None:
            raise ValueError("a file is expected every so often, or by a time of the day: one of them")
        if self.by is None and (self.timezone or self.days != _DAYS or self.since != _MIDNIGHT):
            raise ValueError("timezone, days and since say more of by: by: 06:30")
        if self.by is not None and self.timezone not in available_timezones():
            what = "there is no such timezone" if self.timezone else "by needs the timezone of its clock"
            raise ValueError(f"{what}: timezone: Europe/Paris")
        if len(set(self.days)) < len(self.days):
            raise ValueError("a day is named once")
        return self

    def expected(self) -> Expected | None:
        """What people are told of it; None: nothing is expected."""
        if self.every_s is not None:
            step = self.every_s * _MILLION
            return Expected(f"every {_spelled(self.every_s)}", lambda last_us: last_us + step)
        if self.by is None:
            return None
        days = "" if self.days == _DAYS else f", {' '.join(day for day in _DAYS if day in self.days)}"
        return Expected(f"by {self.by} {self.timezone}{days}", self._due)

    def _due(self, last_us: int) -> int:
        """The first of its times that the file of ``last_us`` is not meant for."""
        by, since = time.fromisoformat(self.by or _MIDNIGHT), time.fromisoformat(self.since)
        zone = ZoneInfo(self.timezone)
        last = datetime.fromtimestamp(last_us / _MILLION, UTC)
        before = timedelta(days=1 if since >= by else 0)
        today = last.astimezone(zone).date()
        for n in range(2 * _WEEK):
            day = today + timedelta(days=n)
            if _DAYS[day.weekday()] in self.days and min(_shown(day - before, since, zone)) > last:
                return round(max(_shown(day, by, zone)).timestamp() * _MILLION)
        raise AssertionError("a week has a day of each name")


def _spelled(seconds: int) -> str:
    """A duration as it is declared.

    >>> _spelled(86_400), _spelled(5_400), _spelled(90)
    ('24h', '90m', '90s')
    """
    for unit, size in (("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _shown(day: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When a clock shows a time: of the hour that it shows twice or leaves out, both sides."""
    there = datetime.combine(day, at, zone)
    return there.astimezone(UTC), there.replace(fold=1).astimezone(UTC)
